//! Every protocol that is recognised outside TLS, one line each: its name, its
//! nature, how its beginning is told, and who reads on.
//!
//! A probe sees what one side sent first and, where that alone does not
//! decide, what the other side sent. Ports are a hint that may confirm a weak
//! signature; they prove nothing by themselves.

use super::reader::{Named, Reader, Role};
use super::{
    dce_rpc, desktop, dns, ftp, http, imap, irc, ldap, messaging, mysql, named, nntp, pop3,
    postgresql, private, redis, smtp, syslog, telnet, tunnels, udp, voice, xmpp,
};
use crate::proto::{dtls, quic};
use Nature::{Encrypted, Infrastructure, Plain};

/// How a protocol's bytes count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nature {
    /// Readable by whoever listens.
    Plain,
    /// Readable, and counted apart: DNS, DHCP, NTP and the like.
    Infrastructure,
    /// Encrypted by its own means.
    Encrypted,
}

/// What a probe is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look<'a> {
    /// The first bytes of one direction, or one datagram.
    pub bytes: &'a [u8],
    /// What the other direction sent so far (empty for datagrams).
    pub other: &'a [u8],
    /// Ports `(of these bytes' sender, of their receiver)`.
    pub ports: (u16, u16),
    /// Nothing more will come: decide.
    pub last: bool,
}

impl Look<'_> {
    /// Whether either end uses this port.
    pub(crate) fn on_port(&self, port: u16) -> bool {
        self.ports.0 == port || self.ports.1 == port
    }
}

/// What a probe says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    /// Not this protocol.
    No,
    /// Perhaps.
    NeedMore,
    /// This protocol, and the bytes come from this side of it.
    Yes(Role),
}

impl Match {
    /// From this side when `yes`.
    pub(crate) const fn when(yes: bool, role: Role) -> Self {
        if yes { Self::Yes(role) } else { Self::No }
    }

    /// Perhaps, of bytes that are cut short and fit so far.
    pub(crate) const fn when_cut(fits: bool) -> Self {
        if fits { Self::NeedMore } else { Self::No }
    }

    /// From this side as [`super::text::magic`] says.
    pub(crate) const fn magic(found: Option<bool>, role: Role) -> Self {
        match found {
            Some(true) => Self::Yes(role),
            Some(false) => Self::No,
            None => Self::NeedMore,
        }
    }
}

/// One protocol.
pub(crate) struct Protocol {
    /// Its name in `service`, as Zeek has it where Zeek knows it.
    pub name: &'static str,
    /// How its bytes count.
    pub nature: Nature,
    /// Whether bytes are its beginning.
    pub probe: fn(&Look<'_>) -> Match,
    /// Who reads on.
    pub open: Open,
}

/// Who reads a protocol on.
#[derive(Clone, Copy)]
pub(crate) enum Open {
    /// A reader of its own.
    Reader(fn() -> Box<dyn Reader>),
    /// The handshakes inside QUIC.
    Quic,
    /// Those of DTLS.
    Dtls,
}

const fn row(
    name: &'static str,
    nature: Nature,
    probe: fn(&Look<'_>) -> Match,
    open: fn() -> Box<dyn Reader>,
) -> Protocol {
    Protocol {
        name,
        nature,
        probe,
        open: Open::Reader(open),
    }
}

/// A row of a protocol that is TLS over datagrams.
const fn secure(name: &'static str, probe: fn(&Look<'_>) -> Match, open: Open) -> Protocol {
    Protocol {
        name,
        nature: Encrypted,
        probe,
        open,
    }
}

fn named() -> Box<dyn Reader> {
    Box::new(Named)
}

/// Over TCP and other streams; the first that is sure wins, so that the frequent stand first.
pub(crate) static STREAM: &[Protocol] = &[
    row("http", Plain, http::probe, http::open),
    row("http", Plain, http::probe_preface, http::open_h2),
    row("ssh", Encrypted, named::probe_ssh, named),
    row("whatsapp", Encrypted, private::probe_whatsapp, named),
    row("openvpn", Encrypted, private::probe_openvpn_stream, named),
    row("smtp", Plain, smtp::probe, smtp::open),
    row("ftp", Plain, ftp::probe, ftp::open),
    row("imap", Plain, imap::probe, imap::open),
    row("pop3", Plain, pop3::probe, pop3::open),
    row("nntp", Plain, nntp::probe, nntp::open),
    row("irc", Plain, irc::probe, irc::open),
    row("sip", Plain, voice::probe_sip, voice::open_sip),
    row("rtsp", Plain, voice::probe_rtsp, voice::open_rtsp),
    row("xmpp", Plain, xmpp::probe, xmpp::open),
    row("redis", Plain, redis::probe, redis::open),
    row("memcached", Plain, redis::probe_memcached, named),
    row("syslog", Plain, syslog::probe_stream, named),
    row("amqp", Plain, messaging::probe_amqp, messaging::open_amqp),
    row("mqtt", Plain, messaging::probe_mqtt, messaging::open_mqtt),
    row("stomp", Plain, named::probe_stomp, named),
    row("nats", Plain, named::probe_nats, named),
    row("ldap", Plain, ldap::probe, ldap::open),
    row("postgresql", Plain, postgresql::probe, postgresql::open),
    row("mysql", Plain, mysql::probe, mysql::open),
    row("mongodb", Plain, named::probe_mongodb, named),
    row("tds", Plain, desktop::probe_tds, desktop::open_tds),
    row("smb", Plain, desktop::probe_smb, desktop::open_smb),
    row("rdp", Plain, desktop::probe_rdp, desktop::open_rdp),
    row("cotp", Plain, desktop::probe_iso, named),
    row("dce_rpc", Plain, dce_rpc::probe, dce_rpc::open),
    row(
        "krb_tcp",
        Infrastructure,
        desktop::probe_kerberos_stream,
        named,
    ),
    row("x11", Plain, desktop::probe_x11, desktop::open_x11),
    row("rfb", Plain, named::probe_rfb, named),
    row("bgp", Infrastructure, named::probe_bgp, named),
    row("telnet", Plain, telnet::probe, telnet::open),
    row("rlogin", Plain, telnet::probe_rlogin, named),
    row("bittorrent", Plain, named::probe_bittorrent, named),
    row("rsync", Plain, named::probe_rsync, named),
    row("git", Plain, named::probe_git, named),
    row("zabbix", Plain, named::probe_zabbix, named),
    row("adb", Plain, named::probe_adb, named),
    row("pptp", Infrastructure, named::probe_pptp, named),
    row("rpc", Plain, named::probe_rpc_stream, named),
    row("iec104", Plain, named::probe_iec104, named),
    row("enip", Plain, named::probe_enip, named),
    row("dnp3", Plain, named::probe_dnp3, named),
    row("modbus", Plain, named::probe_modbus, named),
    row(
        "proxy",
        Infrastructure,
        tunnels::probe_proxy,
        tunnels::open_proxy,
    ),
    row(
        "socks",
        Infrastructure,
        tunnels::probe_socks5,
        tunnels::open_socks,
    ),
    row(
        "socks",
        Infrastructure,
        tunnels::probe_socks4,
        tunnels::open_socks,
    ),
    row("diameter", Plain, named::probe_diameter, named),
    row("stun", Infrastructure, udp::probe_stun_stream, named),
    row("dns", Infrastructure, dns::probe_stream, dns::open_stream),
    // Frames from within a connection are told by little: last.
    row("http", Plain, http::probe_within, http::open_h2),
];

/// Over UDP and other datagrams.
pub(crate) static DATAGRAM: &[Protocol] = &[
    row("dns", Infrastructure, dns::probe_dns, dns::open_dns),
    secure("quic", quic::probe, Open::Quic),
    row("quic", Encrypted, quic::probe_google, named),
    secure("dtls", dtls::probe, Open::Dtls),
    row("stun", Infrastructure, udp::probe_stun, udp::open_stun),
    row("ntp", Infrastructure, udp::probe_ntp, named),
    row("nbns", Infrastructure, dns::probe_nbns, dns::open_nbns),
    row("mdns", Infrastructure, dns::probe_mdns, dns::open_mdns),
    row("llmnr", Infrastructure, dns::probe_llmnr, dns::open_llmnr),
    row("ssdp", Infrastructure, udp::probe_ssdp, named),
    row("dhcp", Infrastructure, udp::probe_dhcp, named),
    row("dhcpv6", Infrastructure, udp::probe_dhcpv6, named),
    row("snmp", Plain, udp::probe_snmp, udp::open_snmp),
    row("sip", Plain, voice::probe_sip, voice::open_sip_datagram),
    row("syslog", Plain, syslog::probe_datagram, named),
    row("wireguard", Encrypted, udp::probe_wireguard, named),
    row("ike", Encrypted, udp::probe_ike, named),
    row("openvpn", Encrypted, private::probe_openvpn, named),
    row("ldap", Plain, ldap::probe, named),
    row(
        "krb",
        Infrastructure,
        desktop::probe_kerberos_datagram,
        named,
    ),
    row("radius", Infrastructure, udp::probe_radius, named),
    row("tftp", Plain, udp::probe_tftp, named),
    row("rpc", Plain, named::probe_rpc_datagram, named),
    row("memcached", Plain, redis::probe_memcached_datagram, named),
    row("bittorrent-dht", Plain, udp::probe_dht, named),
    row("l2tp", Infrastructure, udp::probe_l2tp, named),
    row("gtp", Infrastructure, udp::probe_gtp, named),
    row("vxlan", Infrastructure, udp::probe_vxlan, named),
    row("geneve", Infrastructure, udp::probe_geneve, named),
    row("teredo", Infrastructure, udp::probe_teredo, named),
    row("coap", Plain, udp::probe_coap, named),
    row("rip", Infrastructure, udp::probe_rip, named),
    row("bfd", Infrastructure, udp::probe_bfd, named),
    row("netflow", Infrastructure, udp::probe_netflow, named),
    row("nbdgm", Infrastructure, udp::probe_nbdgm, named),
    row("hsrp", Infrastructure, udp::probe_hsrp, named),
    row("ldp", Infrastructure, udp::probe_ldp, named),
    row("knx", Plain, udp::probe_knx, named),
    row("dropbox", Infrastructure, udp::probe_dropbox, named),
    row(
        "ws-discovery",
        Infrastructure,
        udp::probe_ws_discovery,
        named,
    ),
];

/// The protocol that an application-layer protocol name stands for (IANA's
/// registry of ALPN ids), of those whose readers take it from its first byte.
pub(crate) fn by_alpn(id: &str) -> Option<&'static Protocol> {
    static HTTP2: Protocol = row("http", Plain, http::probe_preface, http::open_h2);
    let name = match id {
        "h2" => return Some(&HTTP2),
        "http/0.9" | "http/1.0" | "http/1.1" => "http",
        "dot" => "dns",
        _ => return None,
    };
    STREAM.iter().find(|protocol| protocol.name == name)
}

/// What a well-known port suggests, when content said nothing: a hint, never a proof.
pub(crate) fn by_port(datagram: bool, port: u16) -> Option<&'static str> {
    let known: &[(u16, &str)] = if datagram {
        &[
            (53, "dns"),
            (67, "dhcp"),
            (68, "dhcp"),
            (69, "tftp"),
            (88, "krb"),
            (123, "ntp"),
            (161, "snmp"),
            (162, "snmp"),
            (443, "quic"),
            (500, "ike"),
            (514, "syslog"),
            (1194, "openvpn"),
            (1812, "radius"),
            (1813, "radius"),
            (3478, "stun"),
            (4500, "ipsec-nat-t"),
            (5060, "sip"),
            (51820, "wireguard"),
        ]
    } else {
        &[
            (20, "ftp-data"),
            (21, "ftp"),
            (22, "ssh"),
            (23, "telnet"),
            (25, "smtp"),
            (53, "dns"),
            (80, "http"),
            (88, "krb_tcp"),
            (110, "pop3"),
            (143, "imap"),
            (389, "ldap"),
            (443, "ssl"),
            (445, "smb"),
            (465, "ssl"),
            (587, "smtp"),
            (636, "ssl"),
            (853, "ssl"),
            (993, "ssl"),
            (995, "ssl"),
            (1433, "tds"),
            (1883, "mqtt"),
            (3306, "mysql"),
            (3389, "rdp"),
            (5060, "sip"),
            (5222, "xmpp"),
            (5432, "postgresql"),
            (5672, "amqp"),
            (6379, "redis"),
            (6667, "irc"),
            (8883, "ssl"),
        ]
    };
    known
        .iter()
        .find(|(known, _)| *known == port)
        .map(|(_, name)| *name)
}
