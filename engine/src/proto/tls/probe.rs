//! Whether bytes are TLS, on any port: a record header whose body begins like
//! one of its kind, or an SSL 2 hello whose lengths add up.

use super::session::{ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE, MAX_RECORD};
use crate::proto::Probe;

/// Smallest body that holds a hello.
const MIN_HELLO: usize = 38;

/// Whether a direction's first bytes (or the first of a segment, where the
/// beginning was not captured) are TLS.
pub fn probe(bytes: &[u8]) -> Probe {
    let Some(&first) = bytes.first() else {
        return Probe::NeedMore;
    };
    if first & 0x80 != 0 {
        return ssl2(bytes);
    }
    if !(CHANGE_CIPHER_SPEC..=APPLICATION_DATA).contains(&first) {
        return Probe::No;
    }
    let version_fits = match bytes.get(1..3) {
        Some(&[3, minor]) => minor <= 4,
        Some(_) => false,
        None => match bytes.get(1) {
            Some(&major) => major == 3,
            None => true,
        },
    };
    if !version_fits {
        return Probe::No;
    }
    let Some(&[high, low]) = bytes.get(3..5) else {
        return Probe::NeedMore;
    };
    let len = usize::from(u16::from_be_bytes([high, low]));
    if len == 0 || len > MAX_RECORD {
        return Probe::No;
    }
    match first {
        HANDSHAKE => match bytes.get(5..9) {
            // A message of a kind that opens or continues a handshake, no longer than any is.
            Some(&[kind, a, b, c]) => {
                let message = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                let fits = match kind {
                    1 | 2 => (MIN_HELLO..=0xffff).contains(&message),
                    0 | 14 => message == 0,
                    4 | 11..=13 | 15 | 16 | 20 | 22 => message <= 0x3_ffff,
                    _ => false,
                };
                // Encrypted handshake records look like noise, and are at least 16 bytes.
                yes_if(fits || len >= 16 && bytes.len() < len + 5 && kind > 24)
            }
            Some(_) | None => Probe::NeedMore,
        },
        ALERT => match bytes.get(5..7) {
            Some(&[level, _]) if len == 2 => yes_if(matches!(level, 1 | 2)),
            Some(_) => yes_if((16..=256).contains(&len)),
            None => Probe::NeedMore,
        },
        CHANGE_CIPHER_SPEC => match bytes.get(5) {
            Some(&body) => yes_if(len == 1 && body == 1),
            None => Probe::NeedMore,
        },
        _ => yes_if(len >= 16),
    }
}

fn yes_if(yes: bool) -> Probe {
    if yes { Probe::Yes } else { Probe::No }
}

/// RFC 5246 §E.2: the lengths inside must make up the length outside.
fn ssl2(bytes: &[u8]) -> Probe {
    match bytes.get(2) {
        Some(1) => {}
        Some(4) => return ssl2_server(bytes),
        Some(_) => return Probe::No,
        None => return Probe::NeedMore,
    }
    let Some(&[high, low, _, major, minor, c1, c0, s1, s0, h1, h0]) = bytes.get(..11) else {
        return Probe::NeedMore;
    };
    let len = u32::from(u16::from_be_bytes([high & 0x7f, low]));
    let ciphers = u32::from(u16::from_be_bytes([c1, c0]));
    let session = u32::from(u16::from_be_bytes([s1, s0]));
    let challenge = u32::from(u16::from_be_bytes([h1, h0]));
    let version = matches!((major, minor), (0, 2) | (3, 0..=4));
    yes_if(
        version
            && ciphers > 0
            && ciphers.is_multiple_of(3)
            && matches!(session, 0 | 16 | 32)
            && (16..=32).contains(&challenge)
            && len == 9 + ciphers + session + challenge,
    )
}

fn ssl2_server(bytes: &[u8]) -> Probe {
    let Some(&[high, low, _, _, _, major, minor, c1, c0, s1, s0, i1, i0]) = bytes.get(..13) else {
        return Probe::NeedMore;
    };
    let len = u32::from(u16::from_be_bytes([high & 0x7f, low]));
    let sum = [[c1, c0], [s1, s0], [i1, i0]]
        .into_iter()
        .map(|pair| u32::from(u16::from_be_bytes(pair)))
        .sum::<u32>();
    yes_if((major, minor) == (0, 2) && len == 11 + sum)
}
