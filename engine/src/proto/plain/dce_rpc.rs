//! DCE/RPC over TCP (C706 §12.6, MS-RPCE §2.2.2): its messages, and which of their
//! bytes are encrypted: tickets that a bind carries, and calls at the level of
//! privacy. What is readable is named and left.

use super::reader::{Frame, Frames, Measure, Next, Reader, Role, Scene};
use super::registry::{Look, Match};
use super::text::le16;
use crate::proto::Want;

/// Longest message: fragments are below 6,000 bytes, a bind with a ticket is longer.
const MAX_MESSAGE: u16 = 16 << 10;
/// The common header.
const HEADER: u16 = 16;
/// The security trailer's fixed part (MS-RPCE §2.2.2.11).
const TRAILER: usize = 8;
/// RPC_C_AUTHN_LEVEL_PKT_PRIVACY.
const PRIVACY: u8 = 6;
/// SPNEGO, and Kerberos by itself: their tokens hold tickets.
const WITH_TICKETS: [u8; 2] = [9, 16];

/// Version 5.0 or 5.1, a known type, little endian, a length that holds.
pub(super) fn probe(look: &Look<'_>) -> Match {
    match look.bytes {
        [] | [5] | [5, 0] => Match::NeedMore,
        [5, 0, kind, ..] if *kind <= 19 => {
            let (Some(order), Some(len)) = (look.bytes.get(4..8), le16(look.bytes, 8)) else {
                return Match::NeedMore;
            };
            let fits = matches!(order, [0x10, 0, 0, 0]) && (HEADER..=MAX_MESSAGE).contains(&len);
            // bind, alter context, request and fault come from known sides.
            let role = match kind {
                2 | 3 | 12 | 13 | 15 => Role::Server,
                _ => Role::Client,
            };
            Match::when(fits, role)
        }
        _ => Match::No,
    }
}

/// Its reader.
pub(super) fn open() -> Box<dyn Reader> {
    Box::new(DceRpc::default())
}

#[derive(Debug, Default)]
struct DceRpc {
    sides: [Frames; 2],
}

fn measure(bytes: &[u8]) -> Measure {
    if bytes.first().is_some_and(|version| *version != 5) {
        return Measure::Bad;
    }
    match le16(bytes, 8) {
        None => Measure::Short,
        Some(len) if (HEADER..=MAX_MESSAGE).contains(&len) => Measure::Len(len.into()),
        Some(_) => Measure::Bad,
    }
}

/// How many bytes at the end of a whole message are encrypted.
fn sealed(message: &[u8]) -> usize {
    let token = le16(message, 10).map_or(0, usize::from);
    let trailer = message.len().checked_sub(token.saturating_add(TRAILER));
    let Some(at) = trailer.filter(|_| token > 0) else {
        return 0;
    };
    let (kind, auth) = (message.get(2), message.get(at));
    let level = message.get(at.saturating_add(1));
    match (kind, auth, level) {
        // request, response: everything behind the header.
        (Some(0 | 2), _, Some(&PRIVACY)) => message.len().saturating_sub(HEADER.into()),
        (_, Some(auth), _) if WITH_TICKETS.contains(auth) => token,
        _ => 0,
    }
}

impl Reader for DceRpc {
    fn data(&mut self, scene: &mut Scene<'_, '_>, from: Role, bytes: &[u8]) -> Next {
        let mut rest = bytes;
        loop {
            let side = &mut self.sides[from.index()];
            match side.next(&mut rest, MAX_MESSAGE.into(), measure) {
                Frame::Message(message) => {
                    let sealed = sealed(&message);
                    if sealed > 0 {
                        let readable = message.len().saturating_sub(sealed);
                        let carried = self.sides[from.index()].carried();
                        scene.sealed(carried.saturating_sub(readable), sealed as u64);
                    }
                }
                Frame::Want(want) => return Next::Want(want),
                Frame::Lost => {
                    scene.malformed("framing lost");
                    return Next::NOTHING;
                }
            }
        }
    }

    fn gap(&mut self, from: Role, _len: u64) -> Want {
        self.sides[from.index()].gap()
    }

    fn heap_bytes(&self) -> usize {
        self.sides.iter().map(Frames::heap_bytes).sum()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::testing::{Case, c, hex, stream};
    use super::*;

    pub(in super::super) fn cases() -> Vec<Case> {
        vec![
            stream(
                "dce/rpc bind",
                "dce_rpc",
                vec![c(hex("05 00 0b 03 10000000 1000 0000 01000000"))],
            ),
            stream(
                "dce/rpc call in private",
                "dce_rpc",
                vec![c(message(0, 9, PRIVACY, 400, 16))],
            ),
        ]
    }

    /// A message with so many bytes of body and of a token.
    fn message(kind: u8, auth: u8, level: u8, body: u16, token: u16) -> Vec<u8> {
        let len = HEADER + body + 8 + token;
        let mut bytes = vec![5, 0, kind, 3, 0x10, 0, 0, 0];
        bytes.extend(len.to_le_bytes());
        bytes.extend(token.to_le_bytes());
        bytes.extend([1, 0, 0, 0]);
        bytes.extend((0..body).map(|n| (n * 7) as u8));
        bytes.extend([auth, level, 0, 0, 0, 0, 0, 0]);
        bytes.extend((0..token).map(|n| (n * 13) as u8));
        bytes
    }

    #[test]
    fn tickets_and_private_calls_are_encrypted_and_nothing_else_is() {
        for (kind, auth, level, expected) in [
            // A bind with a ticket; NTLM's token is readable.
            (11, 9, 5, 3_000),
            (11, 16, 5, 3_000),
            (11, 10, 5, 0),
            // A call at the level of privacy, and one of integrity with its checksum.
            (0, 10, PRIVACY, 100 + 8 + 3_000),
            (0, 10, 5, 0),
        ] {
            let bytes = message(kind, auth, level, 100, 3_000);
            assert_eq!(sealed(&bytes), expected, "{kind} {auth} {level}");
            for split in [bytes.len(), 7, 1] {
                let turns = bytes.chunks(split).map(c).collect();
                let facts = stream("dce", "dce_rpc", turns).run();
                let all = bytes.len() as u64;
                let counted = (facts.bytes_encrypted[0], facts.bytes_plaintext[0]);
                let expected = expected as u64;
                assert_eq!(
                    counted,
                    (expected, all - expected),
                    "{kind} {auth} {level} by {split}"
                );
                // What is encrypted by design is not measured.
                assert_eq!(facts.entropy[0].is_none(), expected > 0);
            }
        }
    }
}
