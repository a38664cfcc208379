//! Every protocol that is recognised outside TLS, one line each: its name, its
//! nature, how its beginning is told, and who reads on.
//!
//! A probe sees what one side sent first and, where that alone does not
//! decide, what the other side sent. Ports are a hint that may confirm a weak
//! signature; they prove nothing by themselves.

use super::reader::{Named, Reader, Role};
use super::{dns, http};

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
    pub open: fn() -> Box<dyn Reader>,
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
        open,
    }
}

#[allow(dead_code)]
fn named() -> Box<dyn Reader> {
    Box::new(Named)
}

/// Over TCP and other streams; the first that is sure wins, so that the frequent stand first.
pub(crate) static STREAM: &[Protocol] = &[
    row("http", Nature::Plain, http::probe, http::open),
    row(
        "dns",
        Nature::Infrastructure,
        dns::probe_stream,
        dns::open_stream,
    ),
];

/// Over UDP and other datagrams.
pub(crate) static DATAGRAM: &[Protocol] = &[
    row(
        "dns",
        Nature::Infrastructure,
        dns::probe_dns,
        dns::open_datagram,
    ),
    row(
        "nbns",
        Nature::Infrastructure,
        dns::probe_nbns,
        dns::open_datagram,
    ),
    row(
        "mdns",
        Nature::Infrastructure,
        dns::probe_mdns,
        dns::open_datagram,
    ),
    row(
        "llmnr",
        Nature::Infrastructure,
        dns::probe_llmnr,
        dns::open_datagram,
    ),
];

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
