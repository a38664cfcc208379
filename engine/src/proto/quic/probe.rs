//! Whether a datagram is QUIC's, on any port.

use crate::proto::plain::reader::Role;
use crate::proto::plain::registry::{Look, Match};
use crate::proto::plain::text::be32;

/// A long header (RFC 9000 §17.2) of a known version, or version negotiation.
pub(crate) fn probe(look: &Look<'_>) -> Match {
    let bytes = look.bytes;
    let (Some(&first), Some(version), Some(&dcid)) = (bytes.first(), be32(bytes, 1), bytes.get(5))
    else {
        return Match::No;
    };
    if first & 0x80 == 0 {
        return Match::No;
    }
    let after = 6 + usize::from(dcid);
    let scid = bytes.get(after).copied();
    if dcid > 20 || scid.is_none_or(|scid| scid > 20) {
        return Match::No;
    }
    if version == 0 {
        // Version negotiation: a list of versions until the end.
        let list = scid.and_then(|scid| bytes.get(after + 1 + usize::from(scid)..));
        let fits = list.is_some_and(|list| {
            !list.is_empty() && list.len() % 4 == 0 && list.chunks_exact(4).any(is_version)
        });
        return Match::when(fits, Role::Server);
    }
    // An Initial of the client fills its datagram (§14.1); the server's
    // answer has the client's id, which it chose to be 8 bytes or more.
    let role = if dcid >= 8 || bytes.len() >= 1200 {
        Role::Client
    } else {
        Role::Server
    };
    let fixed_bit = first & 0x40 != 0;
    Match::when(is_version(&version.to_be_bytes()) && fixed_bit, role)
}

/// Google's QUIC before the standard, whose handshake is no TLS: its public
/// header with version flag, an id of 8 bytes, `Q0xx`; or the long header with
/// such a version.
pub(crate) fn probe_google(look: &Look<'_>) -> Match {
    let bytes = look.bytes;
    let version = match bytes.first() {
        Some(0x09 | 0x0d) => be32(bytes, 9),
        Some(first) if first & 0x80 != 0 => be32(bytes, 1),
        _ => None,
    };
    let fits = version.is_some_and(|version| {
        matches!(version.to_be_bytes(), [b'Q' | b'T', digits @ ..]
            if digits.iter().all(u8::is_ascii_digit))
    });
    Match::when(fits, Role::Client)
}

/// RFC 9000, RFC 9369, the drafts, and versions reserved to be refused.
fn is_version(version: &[u8]) -> bool {
    match version {
        [0, 0, 0, 1] | [0x6b, 0x33, 0x43, 0xcf] | [0x70, 0x9a, 0x50, 0xc4] => true,
        [0xff, 0, 0, 1..=40] | [0xfa, 0xce, 0xb0, _] => true,
        [a, b, c, d] => [a, b, c, d].iter().all(|byte| **byte & 0xf == 0xa),
        _ => false,
    }
}
