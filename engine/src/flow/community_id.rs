//! Community ID v1: a hash of the flow tuple that other tools (Zeek, Suricata,
//! Arkime, …) compute alike, for joins. Specification: corelight/community-id-spec.

use sha1::{Digest, Sha1};

/// The digest that is printed as `1:` and base64.
///
/// Addresses are IPv4-mapped where `ip_version` is 4. For ICMP, `src_port` and
/// `dst_port` are the type and its counterpart (or the code of a one-way message).
pub fn digest(
    ip_version: u8,
    protocol: u8,
    src: &[u8; 16],
    dst: &[u8; 16],
    src_port: u16,
    dst_port: u16,
    one_way: bool,
) -> [u8; 20] {
    let ports = matches!(protocol, 1 | 6 | 17 | 58 | 132);
    let (low, high) = if one_way || (src, src_port) <= (dst, dst_port) {
        ((src, src_port), (dst, dst_port))
    } else {
        ((dst, dst_port), (src, src_port))
    };
    let significant = |addr: &[u8; 16]| -> ([u8; 16], usize) {
        let mut out = [0; 16];
        if ip_version == 4 {
            out[..4].copy_from_slice(&addr[12..]);
            (out, 4)
        } else {
            (*addr, 16)
        }
    };
    // seed (2), two addresses, protocol (1), padding (1), two ports
    let mut message = [0_u8; 40];
    let mut len = 2;
    for (addr, _) in [low, high] {
        let (bytes, n) = significant(addr);
        message[len..len + n].copy_from_slice(&bytes[..n]);
        len += n;
    }
    message[len] = protocol;
    len += 2;
    if ports {
        for (_, port) in [low, high] {
            message[len..len + 2].copy_from_slice(&port.to_be_bytes());
            len += 2;
        }
    }
    Sha1::digest(&message[..len]).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use std::net::IpAddr;

    fn mapped(text: &str) -> ([u8; 16], u8) {
        match text.parse().unwrap() {
            IpAddr::V4(v4) => (v4.to_ipv6_mapped().octets(), 4),
            IpAddr::V6(v6) => (v6.octets(), 6),
        }
    }

    #[track_caller]
    fn is(protocol: u8, src: (&str, u16), dst: (&str, u16), one_way: bool, expected: &str) {
        let ((a, version), (b, _)) = (mapped(src.0), mapped(dst.0));
        let digest = digest(version, protocol, &a, &b, src.1, dst.1, one_way);
        assert_eq!(
            format!("1:{}", base64::prelude::BASE64_STANDARD.encode(digest)),
            expected
        );
    }

    // Vectors from the specification's baseline and from Zeek's and Suricata's tests.
    #[test]
    fn matches_the_published_vectors() {
        is(
            6,
            ("128.232.110.120", 34855),
            ("66.35.250.204", 80),
            false,
            "1:LQU9qZlK+B5F3KDmev6m5PMibrg=",
        );
        is(
            6,
            ("66.35.250.204", 80),
            ("128.232.110.120", 34855),
            false,
            "1:LQU9qZlK+B5F3KDmev6m5PMibrg=",
        );
        is(
            17,
            ("192.168.1.52", 54585),
            ("8.8.8.8", 53),
            false,
            "1:d/FP5EW3wiY1vCndhwleRRKHowQ=",
        );
        is(
            1,
            ("192.168.0.89", 8),
            ("192.168.0.1", 0),
            false,
            "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=",
        );
    }
}
