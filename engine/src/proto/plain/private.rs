//! What is encrypted by its own means from its first packets on, told by their
//! structure: OpenVPN over both transports (openvpn-protocol, ssl_pkt.h), and
//! WhatsApp's chat, whose bytes are a Noise handshake or its forerunner's.

use super::reader::Role;
use super::registry::{Look, Match};
use super::text::{be16, be24};

/// P_CONTROL_HARD_RESET_CLIENT_V2 and its answer, key 0.
const CLIENT_RESET: u8 = 7 << 3;
const SERVER_RESET: u8 = 8 << 3;
/// Opcode and session.
const HEAD: usize = 9;
/// Digests of tls-auth: none at all, MD5, SHA-1, SHA-256, SHA-384, SHA-512.
const DIGESTS: [usize; 6] = [0, 16, 20, 32, 48, 64];

/// OpenVPN over datagrams.
pub(super) fn probe_openvpn(look: &Look<'_>) -> Match {
    reset(look.bytes).map_or(Match::No, Match::Yes)
}

/// OpenVPN over TCP: each packet behind its length.
pub(super) fn probe_openvpn_stream(look: &Look<'_>) -> Match {
    let (Some(len), Some(&code)) = (be16(look.bytes, 0), look.bytes.get(2)) else {
        return Match::when_cut(look.bytes.first().is_none_or(|high| *high == 0));
    };
    let len = usize::from(len);
    if !matches!(code, CLIENT_RESET | SERVER_RESET) || !(14..=128).contains(&len) {
        return Match::No;
    }
    match look.bytes.get(2..len.saturating_add(2)) {
        Some(packet) => reset(packet).map_or(Match::No, Match::Yes),
        None => Match::NeedMore,
    }
}

/// Whose first packet it is. With tls-auth a digest, the packet's number (1) and
/// the time stand before the acknowledgements; the first message has number 0.
fn reset(packet: &[u8]) -> Option<Role> {
    let (role, acknowledges) = match *packet.first()? {
        CLIENT_RESET => (Role::Client, 0),
        SERVER_RESET => (Role::Server, 1),
        _ => return None,
    };
    // Number, and the client's session behind what is acknowledged.
    let tail = 1 + 4 + acknowledges * (4 + 8);
    let fits = |digest: usize| {
        let replay = if digest == 0 { 0 } else { 8 };
        let acks = packet.get(HEAD + digest + replay..)?;
        let is_first =
            digest == 0 || packet.get(HEAD + digest..HEAD + digest + 4)? == [0, 0, 0, 1].as_slice();
        let number = acks.get(acks.len().checked_sub(4)?..)?;
        // The server acknowledges the client's packet 0.
        let counts = acks
            .first()
            .is_some_and(|count| usize::from(*count) == acknowledges);
        let acked = acks
            .get(1..1 + 4 * acknowledges)?
            .iter()
            .all(|byte| *byte == 0);
        let fits = acks.len() == tail && is_first && counts && acked;
        (fits && number == [0; 4].as_slice()).then_some(())
    };
    DIGESTS.into_iter().find_map(fits).map(|()| role)
}

/// WhatsApp: `WA`, two bytes of a version, and messages behind 24 bits of length.
/// Nothing but its own handshake is readable.
pub(super) fn probe_whatsapp(look: &Look<'_>) -> Match {
    match look.bytes {
        [] | [b'W'] | [b'W', b'A'] => Match::NeedMore,
        [b'W', b'A', major, rest @ ..] if (1..=9).contains(major) => {
            match (rest.first(), be24(look.bytes, 4)) {
                (Some(minor), _) if *minor > 9 => Match::No,
                (Some(_), Some(len)) => Match::when((8..=16 << 10).contains(&len), Role::Client),
                _ => Match::NeedMore,
            }
        }
        _ => Match::No,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::testing::{Case, c, datagrams, hex, s, stream};
    use super::*;

    const SESSION: &str = "0102030405060708";

    /// A first packet with a digest of so many bytes.
    fn first(code: u8, digest: usize) -> Vec<u8> {
        let mut packet = vec![code];
        packet.extend(hex(SESSION));
        if digest > 0 {
            packet.extend(vec![0xd1; digest]);
            packet.extend(hex("00000001 6655aa33"));
        }
        if code == SERVER_RESET {
            packet.extend(hex("01 00000000 1112131415161718 00000000"));
        } else {
            packet.extend(hex("00 00000000"));
        }
        packet
    }

    fn framed(packet: Vec<u8>) -> Vec<u8> {
        let len = u16::try_from(packet.len()).unwrap().to_be_bytes();
        [&len[..], &packet].concat()
    }

    pub(in super::super) fn cases() -> Vec<Case> {
        let mut cases = Vec::new();
        for digest in [0, 20, 64] {
            cases.push(datagrams(
                "openvpn",
                "openvpn",
                1194,
                vec![
                    c(first(CLIENT_RESET, digest)),
                    s(first(SERVER_RESET, digest)),
                ],
            ));
            cases.push(stream(
                "openvpn over tcp",
                "openvpn",
                vec![
                    c(framed(first(CLIENT_RESET, digest))),
                    s(framed(first(SERVER_RESET, digest))),
                ],
            ));
        }
        cases.push(stream(
            "whatsapp",
            "whatsapp",
            vec![c(hex(
                "57 41 06 03 000010 00112233445566778899aabbccddeeff",
            ))],
        ));
        cases
    }

    #[test]
    fn what_is_nearly_a_first_packet_is_none() {
        let yes = |packet: &[u8]| reset(packet).is_some();
        for digest in DIGESTS {
            let packet = first(CLIENT_RESET, digest);
            assert_eq!(reset(&packet), Some(Role::Client), "{digest}");
            assert_eq!(reset(&first(SERVER_RESET, digest)), Some(Role::Server));
            assert!(!yes(&packet[..packet.len() - 1]));
            assert!(!yes(&[&packet[..], &[0]].concat()));
            // Not the first of its session.
            let mut later = packet.clone();
            *later.last_mut().unwrap() = 1;
            assert!(!yes(&later));
        }
        assert!(!yes(&[]) && !yes(&[CLIENT_RESET; 14]));
    }

    #[test]
    fn what_only_begins_like_whatsapp_is_not() {
        let look = |bytes: &[u8]| {
            probe_whatsapp(&Look {
                bytes,
                other: &[],
                ports: (40_000, 443),
                last: false,
            })
        };
        assert_eq!(look(b"WA"), Match::NeedMore);
        assert_eq!(look(b"WAIT 10\r\n"), Match::No);
        assert_eq!(look(&hex("57 41 06 03 000000")), Match::No);
        assert_eq!(look(&hex("57 41 06 03 ffffff")), Match::No);
        assert_eq!(look(&hex("57 41 01 05 00001a")), Match::Yes(Role::Client));
    }
}
