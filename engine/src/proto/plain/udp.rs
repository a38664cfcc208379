//! Protocols over datagrams: infrastructure (DHCP, NTP, SSDP, …), SNMP with
//! its community, and those that are encrypted by their own means (QUIC,
//! DTLS, WireGuard, IKE, OpenVPN).

use super::ldap::Ber;
use super::reader::{Next, Reader, Role, Scene};
use super::registry::{Look, Match};
use super::text::{be16, be24, be32};
use crate::proto::Want;

/// DHCP and BOOTP (RFC 2131 §2): operation, hardware type, and the magic cookie.
pub(super) fn probe_dhcp(look: &Look<'_>) -> Match {
    let role = match look.bytes.first() {
        Some(1) => Role::Client,
        Some(2) => Role::Server,
        _ => return Match::No,
    };
    let cookie = be32(look.bytes, 236) == Some(0x6382_5363);
    // BOOTP before DHCP has no cookie, and a cut datagram has lost it: on its ports, over Ethernet.
    let on_ports = matches!(look.ports, (67, 67 | 68) | (68, 67));
    let ethernet = matches!(look.bytes, [_, 1, 6, 0..=16, ..]);
    let hardware = look.bytes.get(2).is_some_and(|len| *len <= 16);
    Match::when(cookie && hardware || on_ports && ethernet, role)
}

/// DHCPv6 (RFC 8415 §8): options that end where the datagram ends.
pub(super) fn probe_dhcpv6(look: &Look<'_>) -> Match {
    if !look.on_port(546) && !look.on_port(547) {
        return Match::No;
    }
    let (options, role) = match look.bytes.first() {
        Some(1 | 3..=6 | 8 | 9 | 11) => (look.bytes.get(4..), Role::Client),
        Some(2 | 7 | 10) => (look.bytes.get(4..), Role::Server),
        Some(12) => (look.bytes.get(34..), Role::Client),
        Some(13) => (look.bytes.get(34..), Role::Server),
        _ => return Match::No,
    };
    let mut options = options.unwrap_or_default();
    while let Some(len) = be16(options, 2) {
        let Some(rest) = options.get(4 + usize::from(len)..) else {
            return Match::No;
        };
        options = rest;
    }
    Match::when(options.is_empty() && look.bytes.len() > 8, role)
}

/// NTP (RFC 5905 §7.3): on its port by version and mode; elsewhere the fields
/// must also make sense together.
pub(super) fn probe_ntp(look: &Look<'_>) -> Match {
    let bytes = look.bytes;
    let Some(&first) = bytes.first() else {
        return Match::No;
    };
    let (version, mode) = (first >> 3 & 7, first & 7);
    let role = match mode {
        1 | 3 | 6 => Role::Client,
        2 | 4 | 5 => Role::Server,
        // Private, of old daemons: the response bit.
        7 => {
            if first & 0x80 != 0 {
                Role::Server
            } else {
                Role::Client
            }
        }
        _ => return Match::No,
    };
    let on_port = look.on_port(123);
    if !(1..=4).contains(&version) {
        return Match::No;
    }
    if matches!(mode, 6 | 7) {
        return Match::when(on_port && bytes.len() >= 8, role);
    }
    let stratum = bytes.get(1).copied().unwrap_or(255);
    let length_fits = bytes.len() >= 48 && bytes.len().is_multiple_of(4);
    if !length_fits || stratum > 16 {
        return Match::No;
    }
    if on_port {
        return Match::Yes(role);
    }
    // Precision between a second and a nanosecond or unset; delay and
    // dispersion below 16 s; a transmit time.
    let precision = bytes.get(3).copied().unwrap_or(1);
    let sane = (precision == 0 || precision >= 0xe0)
        && be32(bytes, 4).is_some_and(|delay| delay < 16 << 16)
        && be32(bytes, 8).is_some_and(|dispersion| dispersion < 16 << 16)
        && be32(bytes, 40).is_some_and(|seconds| seconds > 1 << 31)
        && bytes.len() == 48;
    Match::when(sane, role)
}

/// SNMP (RFC 1157, RFC 3416, RFC 3412): a sequence of version and community, or of version 3.
pub(super) fn probe_snmp(look: &Look<'_>) -> Match {
    match snmp(look.bytes) {
        Some(message) => Match::Yes(if message.is_response {
            Role::Server
        } else {
            Role::Client
        }),
        None => Match::No,
    }
}

struct Snmp {
    community: Option<usize>,
    is_response: bool,
    /// msgFlags of version 3: the privacy bit.
    is_encrypted: bool,
}

fn snmp(bytes: &[u8]) -> Option<Snmp> {
    let mut message = Ber(bytes);
    let outer = message.header()?;
    let fits = outer.tag == 0x30 && outer.len >= message.0.len() as u64;
    let (0x02, [version]) = message.tag_and_value()? else {
        return None;
    };
    match (version, fits) {
        (0 | 1, true) => {
            let (0x04, community) = message.tag_and_value()? else {
                return None;
            };
            let pdu = message.header()?.tag;
            (0xa0..=0xa8).contains(&pdu).then_some(Snmp {
                community: Some(community.len()),
                is_response: matches!(pdu, 0xa2),
                is_encrypted: false,
            })
        }
        (3, true) => {
            // HeaderData: id, maximum size, flags, security model.
            let (0x30, header) = message.tag_and_value()? else {
                return None;
            };
            let mut header = Ber(header);
            header.tag_and_value()?;
            header.tag_and_value()?;
            let (0x04, [flags]) = header.tag_and_value()? else {
                return None;
            };
            let is_encrypted = flags & 2 != 0;
            let (0x02, _) = header.tag_and_value()? else {
                return None;
            };
            Some(Snmp {
                community: None,
                // Requests want a report when they fail.
                is_response: flags & 4 == 0,
                is_encrypted,
            })
        }
        _ => None,
    }
}

/// SNMP's reader.
pub(super) fn open_snmp() -> Box<dyn Reader> {
    Box::new(SnmpReader { community: false })
}

#[derive(Debug)]
struct SnmpReader {
    community: bool,
}

impl Reader for SnmpReader {
    fn data(&mut self, scene: &mut Scene<'_, '_>, _from: Role, bytes: &[u8]) -> Next {
        if let Some(message) = snmp(bytes) {
            *scene.encrypted = message.is_encrypted;
            scene.facts.encrypted |= message.is_encrypted;
            if let Some(len) = message.community
                && !std::mem::replace(&mut self.community, true)
            {
                scene.credential("snmp_community", len);
            }
        }
        Next::BYTES
    }

    fn gap(&mut self, _from: Role, _len: u64) -> Want {
        Want::Bytes
    }
}

/// TFTP (RFC 1350 §5): a request with a file's name and a mode.
pub(super) fn probe_tftp(look: &Look<'_>) -> Match {
    let [0, 1 | 2, rest @ ..] = look.bytes else {
        return Match::No;
    };
    let mut fields = rest.split(|byte| *byte == 0);
    let (Some(name), Some(mode), Some(_)) = (fields.next(), fields.next(), fields.next()) else {
        return Match::No;
    };
    let known = [&b"octet"[..], b"netascii", b"mail"]
        .iter()
        .any(|known| mode.eq_ignore_ascii_case(known));
    let named = !name.is_empty() && super::text::is_text(name);
    Match::when(known && named, Role::Client)
}

/// RADIUS (RFC 2865 §3): attributes that end where the packet ends.
pub(super) fn probe_radius(look: &Look<'_>) -> Match {
    let role = match look.bytes.first() {
        Some(1 | 4 | 12 | 40 | 43) => Role::Client,
        Some(2 | 3 | 5 | 11 | 13 | 41 | 42 | 44 | 45) => Role::Server,
        _ => return Match::No,
    };
    if be16(look.bytes, 2).map(usize::from) != Some(look.bytes.len()) {
        return Match::No;
    }
    let mut attributes = look.bytes.get(20..).unwrap_or_default();
    let mut count = 0;
    while let [kind, len, ..] = attributes {
        let Some(rest) = attributes
            .get(usize::from(*len)..)
            .filter(|_| *len >= 2 && *kind != 0)
        else {
            return Match::No;
        };
        attributes = rest;
        count += 1;
    }
    // A bare header proves little; accept replies have no attributes at times.
    let enough = count > 0 || look.on_port(1812) || look.on_port(1813);
    Match::when(
        attributes.is_empty() && look.bytes.len() >= 20 && enough,
        role,
    )
}

/// SSDP (UPnP Device Architecture §1): HTTP over multicast UDP.
pub(super) fn probe_ssdp(look: &Look<'_>) -> Match {
    let bytes = look.bytes;
    let requests = bytes.starts_with(b"M-SEARCH * HTTP/1.1\r\n")
        || bytes.starts_with(b"NOTIFY * HTTP/1.1\r\n");
    if requests {
        return Match::Yes(Role::Client);
    }
    Match::when(bytes.starts_with(b"HTTP/1.1 200 OK\r\n"), Role::Server)
}

/// STUN over streams: there messages are not the whole of what is sent at once.
pub(super) fn probe_stun_stream(look: &Look<'_>) -> Match {
    let Some(len) = be16(look.bytes, 2) else {
        return Match::when_cut(look.bytes.first().is_none_or(|high| *high < 2));
    };
    if len % 4 != 0 || len > 2048 || look.bytes.first().is_none_or(|high| *high >= 2) {
        return Match::No;
    }
    let role = if look.bytes.first() == Some(&1) {
        Role::Server
    } else {
        Role::Client
    };
    let cookie = look.bytes.get(4..).unwrap_or_default();
    Match::magic(super::text::magic(cookie, &[0x21, 0x12, 0xa4, 0x42]), role)
}

/// STUN and TURN (RFC 8489 §5): the magic cookie and a length that fits.
pub(super) fn probe_stun(look: &Look<'_>) -> Match {
    let (Some(kind), Some(len)) = (be16(look.bytes, 0), be16(look.bytes, 2)) else {
        return Match::No;
    };
    let fits = kind & 0xc000 == 0
        && be32(look.bytes, 4) == Some(0x2112_a442)
        && len % 4 == 0
        && usize::from(len) + 20 == look.bytes.len();
    let role = if kind & 0x0100 != 0 {
        Role::Server
    } else {
        Role::Client
    };
    Match::when(fits, role)
}

/// Datagrams after which a flow that began with STUN is not looked at for DTLS.
const MAX_AFTER_STUN: u8 = 64;

/// STUN's reader: ICE finds a path with it, on which DTLS follows (RFC 5764,
/// told apart by the first byte as RFC 7983 has it).
pub(super) fn open_stun() -> Box<dyn Reader> {
    Box::new(StunReader {
        left: MAX_AFTER_STUN,
    })
}

#[derive(Debug)]
struct StunReader {
    left: u8,
}

impl Reader for StunReader {
    fn data(&mut self, scene: &mut Scene<'_, '_>, _from: Role, bytes: &[u8]) -> Next {
        let look = Look {
            bytes,
            other: &[],
            ports: scene.cx.ports,
            last: true,
        };
        if matches!(crate::proto::dtls::probe(&look), Match::Yes(_)) {
            return Next::Tunnel {
                after: 0,
                transport: "udp-dtls",
            };
        }
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            return Next::NOTHING;
        }
        Next::BYTES
    }

    fn gap(&mut self, _from: Role, _len: u64) -> Want {
        Want::Bytes
    }
}

/// WireGuard (whitepaper §5.4): three messages of fixed length, and data.
pub(super) fn probe_wireguard(look: &Look<'_>) -> Match {
    let bytes = look.bytes;
    let [kind, 0, 0, 0, ..] = bytes else {
        return Match::No;
    };
    match (kind, bytes.len()) {
        // mac2 is zero unless the peer is under load.
        (1, 148) => Match::Yes(Role::Client),
        (2, 92) => Match::Yes(Role::Server),
        (3, 64) => Match::Yes(Role::Server),
        (4, 32..) => Match::when(
            bytes.len().is_multiple_of(16) && look.on_port(51820),
            Role::Client,
        ),
        _ => Match::No,
    }
}

/// IKE (RFC 7296 §3.1, RFC 2408 §3.1), perhaps after the marker of NAT traversal.
pub(super) fn probe_ike(look: &Look<'_>) -> Match {
    let bytes = match look.bytes {
        [0, 0, 0, 0, rest @ ..] => rest,
        bytes => bytes,
    };
    let (Some(initiator), Some(responder)) = (bytes.get(..8), bytes.get(8..16)) else {
        return Match::No;
    };
    let [payload, version, exchange, flags] = *bytes.get(16..20).unwrap_or(&[255; 4]) else {
        return Match::No;
    };
    let fits = initiator.iter().any(|byte| *byte != 0)
        && be32(bytes, 24).is_some_and(|len| len as usize == bytes.len())
        && match version {
            0x10 => payload <= 20 && matches!(exchange, 1..=6 | 32..=33) && flags <= 7,
            0x20 => {
                matches!(payload, 0 | 33..=54) && (34..=43).contains(&exchange) && flags & 0xc7 == 0
            }
            _ => false,
        };
    let answers = responder.iter().any(|byte| *byte != 0) && (version == 0x10 || flags & 0x20 != 0);
    Match::when(fits, if answers { Role::Server } else { Role::Client })
}

/// GTP-C versions 1 and 2 (3GPP TS 29.060, 29.274): a length that ends where the datagram ends.
pub(super) fn probe_gtp(look: &Look<'_>) -> Match {
    let (Some(first), Some(kind), Some(len)) =
        (look.bytes.first(), look.bytes.get(1), be16(look.bytes, 2))
    else {
        return Match::No;
    };
    if !look.on_port(2123) && !look.on_port(2152) && !look.on_port(3386) {
        return Match::No;
    }
    let header = match first >> 5 {
        1 if first & 0x10 != 0 => 8,
        2 => 4,
        _ => return Match::No,
    };
    Match::when(
        usize::from(len) + header == look.bytes.len() && *kind != 0,
        Role::Client,
    )
}

/// VXLAN (RFC 7348 §5) on its port: flags, zeroes, and a network id.
pub(super) fn probe_vxlan(look: &Look<'_>) -> Match {
    let on_port = look.on_port(4789) || look.on_port(8472);
    let fits = matches!(look.bytes, [8, 0, 0, 0, _, _, _, 0, ..]);
    Match::when(on_port && fits, Role::Client)
}

/// GENEVE (RFC 8926 §3.4) on its port: version 0, a known payload.
pub(super) fn probe_geneve(look: &Look<'_>) -> Match {
    let fits = look.bytes.first().is_some_and(|first| first >> 6 == 0)
        && matches!(be16(look.bytes, 2), Some(0x0600..));
    Match::when(look.on_port(6081) && fits, Role::Client)
}

/// Teredo (RFC 4380 §5.1.1) on its port: IPv6, or an indicator before it.
pub(super) fn probe_teredo(look: &Look<'_>) -> Match {
    let ipv6 = look.bytes.first().is_some_and(|first| first >> 4 == 6)
        && be16(look.bytes, 4).is_some_and(|len| usize::from(len) + 40 <= look.bytes.len());
    let indicator = matches!(look.bytes, [0, 0 | 1, ..]);
    Match::when(look.on_port(3544) && (ipv6 || indicator), Role::Client)
}

/// CoAP (RFC 7252 §3) on its port: version 1, a known code, options that parse.
pub(super) fn probe_coap(look: &Look<'_>) -> Match {
    let (Some(&first), Some(&code)) = (look.bytes.first(), look.bytes.get(1)) else {
        return Match::No;
    };
    let token = usize::from(first & 0xf);
    let fits = first >> 6 == 1
        && token <= 8
        && matches!(code, 0..=7 | 0x41..=0x5f | 0x80..=0x9f | 0xa0..=0xbf)
        && look.bytes.len() >= 4 + token
        && look.on_port(5683);
    let role = if code >= 0x40 {
        Role::Server
    } else {
        Role::Client
    };
    Match::when(fits, role)
}

/// BitTorrent's distributed hash table (BEP 5): bencoded dictionaries.
pub(super) fn probe_dht(look: &Look<'_>) -> Match {
    if look.bytes.starts_with(b"d1:ad2:id20:") {
        return Match::Yes(Role::Client);
    }
    Match::when(look.bytes.starts_with(b"d1:rd2:id20:"), Role::Server)
}

/// RIP (RFC 2453 §4) on its port.
pub(super) fn probe_rip(look: &Look<'_>) -> Match {
    let fits = matches!(look.bytes, [1 | 2, 1 | 2, 0, 0, ..])
        && look.bytes.len() % 20 == 4
        && look.on_port(520);
    Match::when(fits, Role::Client)
}

/// NetBIOS datagrams (RFC 1002 §4.4.1) on their port.
pub(super) fn probe_nbdgm(look: &Look<'_>) -> Match {
    let fits = matches!(look.bytes, [0x10..=0x16, ..]) && look.bytes.len() >= 14;
    Match::when(look.on_port(138) && fits, Role::Client)
}

/// WS-Discovery (OASIS) on its port: a SOAP envelope.
pub(super) fn probe_ws_discovery(look: &Look<'_>) -> Match {
    let xml = look.bytes.trim_ascii_start().starts_with(b"<");
    Match::when(look.on_port(3702) && xml, Role::Client)
}

/// L2TP control messages (RFC 2661 §3.1): version 2 with length and sequence.
pub(super) fn probe_l2tp(look: &Look<'_>) -> Match {
    let fits = matches!(look.bytes, [0xc8, 2, ..])
        && be16(look.bytes, 2).is_some_and(|len| usize::from(len) == look.bytes.len());
    Match::when(fits, Role::Client)
}

/// NetFlow 5 and 9, and IPFIX (RFC 3954, RFC 7011), on their ports.
pub(super) fn probe_netflow(look: &Look<'_>) -> Match {
    let on_port = [2055, 4739, 9995, 9996]
        .iter()
        .any(|port| look.on_port(*port));
    let count = be16(look.bytes, 2).map(usize::from);
    let fits = match (be16(look.bytes, 0), count) {
        (Some(5), Some(count)) => count > 0 && look.bytes.len() == 24 + 48 * count,
        (Some(9), Some(count)) => count > 0 && look.bytes.len() >= 24,
        (Some(10), Some(len)) => len == look.bytes.len(),
        _ => false,
    };
    Match::when(on_port && fits, Role::Client)
}

/// HSRP (RFC 2281 §5) on its port: version 0 in 20 bytes, or the TLVs of version 2.
pub(super) fn probe_hsrp(look: &Look<'_>) -> Match {
    let fits = matches!(look.bytes, [0, 0..=3, ..]) && look.bytes.len() >= 16
        || matches!(look.bytes, [1, 40, 2, ..]);
    Match::when(look.on_port(1985) && fits, Role::Client)
}

/// LDP hellos (RFC 5036 §3.1) on their port.
pub(super) fn probe_ldp(look: &Look<'_>) -> Match {
    let fits = be16(look.bytes, 0) == Some(1) && look.bytes.len() >= 10;
    Match::when(look.on_port(646) && fits, Role::Client)
}

/// KNXnet/IP (ISO 22510): a header of six bytes with the datagram's length.
pub(super) fn probe_knx(look: &Look<'_>) -> Match {
    let fits = matches!(look.bytes, [6, 0x10, 2..=9, ..])
        && be16(look.bytes, 4).map(usize::from) == Some(look.bytes.len());
    Match::when(fits, Role::Client)
}

/// Dropbox's announcement of itself on the local network.
pub(super) fn probe_dropbox(look: &Look<'_>) -> Match {
    let fits = look.bytes.starts_with(b"{\"host_int\": ");
    Match::when(fits && look.on_port(17500), Role::Client)
}

/// BFD control packets (RFC 5880 §4.1) on their ports.
pub(super) fn probe_bfd(look: &Look<'_>) -> Match {
    let fits = look.bytes.first().is_some_and(|first| first >> 5 == 1)
        && look
            .bytes
            .get(3)
            .is_some_and(|len| usize::from(*len) == look.bytes.len());
    let on_port = look.on_port(3784) || look.on_port(4784);
    // Lengths fit in 24 bytes, or more with authentication.
    Match::when(
        on_port && fits && be24(look.bytes, 1).is_some(),
        Role::Client,
    )
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::testing::{Case, c, datagrams, hex, s};

    pub(in super::super) fn cases() -> Vec<Case> {
        let mut dhcp = hex("01 01 06 00 12345678");
        dhcp.resize(236, 0);
        dhcp.extend(hex("63825363 350101 ff"));
        let mut ntp = hex("23 00 06 ec 00000000 00000100");
        ntp.resize(40, 0);
        ntp.extend(hex("e1234567 89abcdef"));
        let mut quic = hex("c3 00000001 08 0102030405060708 00 00 4496");
        quic.resize(1200, 0x55);
        let mut wireguard = hex("01000000");
        wireguard.resize(148, 0x77);
        let ike = hex("0102030405060708 0000000000000000 21 20 22 08 00000000 0000001c");
        let dtls = hex("16 feff 0000 000000000000 0004 01000000");
        let community = hex("30 0f 02 01 01 04 06 7075626c6963 a0 02 0500");
        vec![
            datagrams("dhcp", "dhcp", 67, vec![c(dhcp)]),
            datagrams(
                "dhcpv6",
                "dhcpv6",
                547,
                vec![c(hex("01 123456 0001 0004 00030001 0008 0002 0000"))],
            ),
            datagrams("ntp", "ntp", 123, vec![c(&ntp)]),
            datagrams("ntp on another port", "ntp", 12_300, vec![c(&ntp)]),
            datagrams("snmp 2c", "snmp", 161, vec![c(&community), c(&community)])
                .credentials("snmp_community:6"),
            datagrams(
                "snmp 3",
                "snmp",
                161,
                vec![c(hex(
                    "30 20 02 01 03 30 0d 02 01 01 02 02 0578 04 01 07 02 01 03 04 00 04 0a 00000000000000000000",
                ))],
            ),
            datagrams("tftp", "tftp", 69, vec![c(b"\0\x01boot.img\0octet\0")]),
            datagrams(
                "radius",
                "radius",
                1812,
                vec![c(hex(
                    "01 05 0018 00112233445566778899aabbccddeeff 01 04 6d65",
                ))],
            ),
            datagrams(
                "ssdp",
                "ssdp",
                1900,
                vec![c(
                    "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n\r\n",
                )],
            ),
            datagrams(
                "stun",
                "stun",
                3478,
                vec![c(hex("0001 0000 2112a442 000102030405060708090a0b"))],
            ),
            datagrams("quic", "quic", 443, vec![c(quic)]),
            datagrams(
                "quic version negotiation",
                "quic",
                443,
                vec![s(hex(
                    "80 00000000 00 08 0102030405060708 00000001 6b3343cf",
                ))],
            ),
            datagrams(
                "google's quic",
                "quic",
                443,
                vec![c(hex("0d 0102030405060708 51303433 01"))],
            ),
            datagrams("dtls", "dtls", 4433, vec![c(dtls)]),
            datagrams("wireguard", "wireguard", 51_820, vec![c(wireguard)]),
            datagrams("ike", "ike", 500, vec![c(&ike)]),
            datagrams(
                "ike behind nat",
                "ike",
                4500,
                vec![c([hex("00000000"), ike].concat())],
            ),
            datagrams(
                "gtp",
                "gtp",
                2123,
                vec![c(hex("32 01 0004 00000000 00010000"))],
            ),
            datagrams(
                "vxlan",
                "vxlan",
                4789,
                vec![c(hex("08000000 00007b00 ffffffffffff"))],
            ),
            datagrams(
                "geneve",
                "geneve",
                6081,
                vec![c(hex("00 00 6558 00007b00"))],
            ),
            datagrams("coap", "coap", 5683, vec![c(hex("40 01 1234 b3 666f6f"))]),
            datagrams(
                "dht",
                "bittorrent-dht",
                6881,
                vec![c(
                    "d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe",
                )],
            ),
            datagrams(
                "geneve with ARP",
                "geneve",
                6081,
                vec![c(hex("00 00 0806 00000100 00010800"))],
            ),
            datagrams("bootp, cut", "dhcp", 67, vec![]).from(68, hex("01 01 06 00 00003d1d 0000")),
            datagrams(
                "hsrp",
                "hsrp",
                1985,
                vec![c(hex("00 00 10 03 0a 64 00 00 636973636f000000 0ac86501"))],
            ),
            datagrams("ldp", "ldp", 646, vec![c(hex("0001 001e 0a000001 0000"))]),
            datagrams(
                "knxnet/ip",
                "knx",
                3671,
                vec![c(hex("0610 0201 000e 08 01 c0a801021234"))],
            ),
            datagrams("dropbox", "dropbox", 17_500, vec![c("{\"host_int\": 1}")]),
            datagrams(
                "rip",
                "rip",
                520,
                vec![c(hex(
                    "01 01 0000 0000 0000 00000000 00000000 00000000 00000010",
                ))],
            ),
            datagrams(
                "l2tp",
                "l2tp",
                1701,
                vec![c(hex("c802 000c 0000 0000 0000 0000"))],
            ),
            datagrams(
                "ws-discovery",
                "ws-discovery",
                3702,
                vec![c("<?xml version='1.0'?><soap:Envelope/>")],
            ),
        ]
    }

    #[test]
    fn encrypted_ones_count_as_encrypted() {
        for case in cases() {
            let facts = case.run();
            let encrypted = ["quic", "dtls", "wireguard", "ike"].contains(&case.service)
                || case.name == "snmp 3";
            // TLS over datagrams is no plaintext, whatever it is called.
            if let Some(plain) = &facts.plaintext {
                assert_eq!(plain.encrypted, encrypted, "{}", case.name);
            }
            let counted = facts.bytes_encrypted[0] + facts.bytes_encrypted[1] > 0;
            assert_eq!(counted, encrypted, "{}", case.name);
        }
    }
}
