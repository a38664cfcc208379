//! What makes two packets belong to one flow: both ends, the protocol, and the
//! overlay network, whichever way the packet goes.

use crate::decode::Segment;
use crate::evidence::FlowId;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv6Addr};

/// One end of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// Address, IPv4 mapped into IPv6.
    pub addr: [u8; 16],
    /// Port; for ICMP the type, its counterpart, or the code.
    pub port: u16,
}

/// A flow's key: the lower endpoint first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowKey {
    /// The lower endpoint.
    pub low: Endpoint,
    /// The higher endpoint.
    pub high: Endpoint,
    /// Overlay network, see [`Segment::scope`].
    pub scope: u32,
    /// IP protocol number.
    pub protocol: u8,
}

impl Hash for FlowKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Whole words: a derived Hash would feed lengths and single fields.
        let word =
            |bytes: &[u8]| -> u64 { bytes.try_into().map(u64::from_le_bytes).unwrap_or_default() };
        for end in [&self.low, &self.high] {
            let (first, second) = end.addr.split_at(8);
            state.write_u64(word(first));
            state.write_u64(word(second));
        }
        let ports = u64::from(self.low.port) << 48 | u64::from(self.high.port) << 32;
        state.write_u64(ports | u64::from(self.scope));
        state.write_u8(self.protocol);
    }
}

/// ICMP, and ICMP for IPv6.
const ICMP: u8 = 1;
const ICMP6: u8 = 58;

/// The type that answers an ICMP type, for the messages that come in pairs.
/// Community ID and Zeek use the same pairs (RFC 792, 950, 1256, 4443, 4861).
fn icmp_counterpart(protocol: u8, kind: u16) -> Option<u16> {
    let pairs: &[(u16, u16)] = match protocol {
        ICMP => &[(8, 0), (13, 14), (15, 16), (10, 9), (17, 18), (37, 38)],
        ICMP6 => &[
            (128, 129),
            (133, 134),
            (135, 136),
            (130, 131),
            (139, 140),
            (144, 145),
        ],
        _ => &[],
    };
    pairs.iter().find_map(|&(ask, answer)| match kind {
        kind if kind == ask => Some(answer),
        kind if kind == answer => Some(ask),
        _ => None,
    })
}

/// A segment's two ends as its flow sees them, sender first, and whether the
/// message is one that nothing answers (ICMP errors).
pub fn ends_of(segment: &Segment) -> (Endpoint, Endpoint, bool) {
    let (mut src_port, mut dst_port) = (segment.src_port, segment.dst_port);
    let mut one_way = false;
    if matches!(segment.protocol, ICMP | ICMP6) {
        match icmp_counterpart(segment.protocol, src_port) {
            Some(counterpart) => dst_port = counterpart,
            None => one_way = true,
        }
    } else if !matches!(segment.protocol, 6 | 17 | 33 | 132 | 136) {
        (src_port, dst_port) = (0, 0);
    }
    (
        Endpoint {
            addr: segment.src,
            port: src_port,
        },
        Endpoint {
            addr: segment.dst,
            port: dst_port,
        },
        one_way,
    )
}

/// The key of the flow between two ends, and whether the sender is its lower end.
pub fn key_of(segment: &Segment, src: Endpoint, dst: Endpoint) -> (FlowKey, bool) {
    let src_is_low = src <= dst;
    let (low, high) = if src_is_low { (src, dst) } else { (dst, src) };
    (
        FlowKey {
            low,
            high,
            scope: segment.scope,
            protocol: segment.protocol,
        },
        src_is_low,
    )
}

/// An address as the tables show it: IPv4-mapped addresses of IPv4 packets are IPv4.
pub fn address(addr: &[u8; 16], ip_version: u8) -> IpAddr {
    let v6 = Ipv6Addr::from(*addr);
    match v6.to_ipv4_mapped() {
        Some(v4) if ip_version == 4 => IpAddr::V4(v4),
        _ => IpAddr::V6(v6),
    }
}

/// Appends an address as text: dotted for IPv4 and IPv4-mapped, RFC 5952 for IPv6.
pub fn put_address(out: &mut String, address: IpAddr) {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            // By hand: the standard formatter takes several times as long, and
            // two of these stand in every row.
            let [a, b, c, d] = v4.octets();
            put_octet(out, a);
            for octet in [b, c, d] {
                out.push('.');
                put_octet(out, octet);
            }
        }
        IpAddr::V6(v6) => {
            // Writing into a string cannot fail.
            let _ = write!(out, "{v6}");
        }
    }
}

fn put_octet(out: &mut String, octet: u8) {
    let digit = |value: u8| char::from(b'0' + value % 10);
    if octet >= 100 {
        out.push(digit(octet / 100));
    }
    if octet >= 10 {
        out.push(digit(octet / 10));
    }
    out.push(digit(octet));
}

/// The flow's identifier: 63 bits of SHA-256 over its ends, overlay, first
/// packet time and, where all these are equal, a counter. Nothing in it names
/// a file, so that the same packets give the same id however they are cut.
pub fn flow_id(key: &FlowKey, first_ts_ns: i64, repeat: u32) -> FlowId {
    let mut message = [0_u8; 64];
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        message[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    // One block of the hash for IPv4, two for IPv6; the lengths keep them apart.
    for end in [&key.low, &key.high] {
        match Ipv6Addr::from(end.addr).to_ipv4_mapped() {
            Some(v4) => put(&v4.octets()),
            None => put(&end.addr),
        }
    }
    put(&key.low.port.to_be_bytes());
    put(&key.high.port.to_be_bytes());
    put(&key.scope.to_be_bytes());
    put(&[key.protocol]);
    put(&first_ts_ns.to_be_bytes());
    put(&repeat.to_be_bytes());
    let digest = Sha256::digest(&message[..at]);
    let mut id = [0_u8; 8];
    id.copy_from_slice(&digest[..8]);
    // Zero is kept free: "no flow" in other tools.
    FlowId((i64::from_be_bytes(id) & i64::MAX).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn prints(address: &str, expected: &str) {
        let mut out = String::new();
        put_address(&mut out, address.parse().unwrap());
        assert_eq!(out, expected);
    }

    #[test]
    fn addresses_are_canonical_text() {
        prints("0.0.0.0", "0.0.0.0");
        prints("255.255.255.255", "255.255.255.255");
        prints("10.9.100.205", "10.9.100.205");
        // IPv4-mapped is IPv4.
        prints("::ffff:192.0.2.1", "192.0.2.1");
        // RFC 5952 §4: lower case, no leading zeros, longest run of zeros,
        // the first of equal runs, never a single zero field.
        prints("2001:DB8:0:0:0:0:2:1", "2001:db8::2:1");
        prints("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1");
        prints("2001:0:0:1:0:0:0:1", "2001:0:0:1::1");
        prints("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1");
        prints("::", "::");
    }

    #[test]
    fn every_ipv4_octet_prints_as_the_standard_library_does() {
        for octet in 0..=255_u8 {
            let address = IpAddr::from([octet, 0, 255, octet]);
            prints(&address.to_string(), &address.to_string());
        }
    }
}
