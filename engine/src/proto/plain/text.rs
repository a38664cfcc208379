//! Small readers of text that arrives as bytes: case, words, bounded copies,
//! and the lengths of secrets in base64 without keeping what they say.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

/// Standard alphabet; padding may be there or not.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Whether `bytes` begin with `prefix`, ASCII case aside.
pub(crate) fn starts_with_any_case(bytes: &[u8], prefix: &[u8]) -> bool {
    bytes
        .get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// Whether `needle` occurs in `bytes`, ASCII case aside.
pub(crate) fn contains_any_case(bytes: &[u8], needle: &[u8]) -> bool {
    bytes
        .windows(needle.len().max(1))
        .any(|window| window.eq_ignore_ascii_case(needle))
}

/// The first word and what follows it, blanks removed.
pub(crate) fn split_word(bytes: &[u8]) -> (&[u8], &[u8]) {
    let bytes = bytes.trim_ascii_start();
    let end = bytes
        .iter()
        .position(u8::is_ascii_whitespace)
        .unwrap_or(bytes.len());
    let (word, rest) = bytes.split_at(end);
    (word, rest.trim_ascii())
}

/// The words of a line.
pub(crate) fn words(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
}

/// Before and after the first `byte`.
pub(crate) fn split_at_byte(bytes: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(byte, bytes)?;
    Some((bytes.get(..at)?, bytes.get(at + 1..)?))
}

/// The first line without its end, once its end is there.
pub(crate) fn first_line(bytes: &[u8]) -> Option<&[u8]> {
    let (line, _) = split_at_byte(bytes, b'\n')?;
    Some(line.strip_suffix(b"\r").unwrap_or(line))
}

/// Whether all bytes are printable ASCII, tabs or (UTF-8 or Latin-1) letters beyond it.
pub(crate) fn is_text(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .all(|&byte| byte == b'\t' || (0x20..0x7f).contains(&byte) || byte >= 0x80)
}

/// Whether all bytes are printable ASCII.
pub(crate) fn is_ascii_text(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .all(|&byte| byte == b'\t' || (0x20..0x7f).contains(&byte))
}

/// At most `max` bytes as text; what is not UTF-8 becomes U+FFFD.
pub(crate) fn bounded(bytes: &[u8], max: usize) -> String {
    let mut text = String::from_utf8_lossy(bytes.get(..max).unwrap_or(bytes)).into_owned();
    // U+FFFD is longer than the byte it stands for.
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

/// A decimal number of at most 19 digits.
pub(crate) fn decimal(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() || bytes.len() > 19 {
        return None;
    }
    bytes.iter().try_fold(0_u64, |value, byte| {
        byte.is_ascii_digit()
            .then(|| value * 10 + u64::from(byte - b'0'))
    })
}

/// The three digits of a reply (`220`), and whether more lines follow (`220-`).
pub(crate) fn reply(line: &[u8]) -> Option<(u16, bool)> {
    let code = u16::try_from(decimal(line.get(..3)?)?).ok()?;
    match line.get(3) {
        None | Some(b' ') => Some((code, false)),
        Some(b'-') => Some((code, true)),
        Some(_) => None,
    }
}

/// Length of the password in a SASL PLAIN message: the part after the last NUL
/// (RFC 4616 §2).
pub(crate) fn sasl_plain_raw_secret_len(message: &[u8]) -> usize {
    message
        .rsplit(|&byte| byte == 0)
        .next()
        .map_or(0, <[u8]>::len)
}

/// What base64 stands for, wiped when dropped.
pub(crate) fn decoded(token: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    // Room for all of it at once, so that nothing is left behind by growing.
    let mut out = Zeroizing::new(Vec::with_capacity(token.len()));
    LENIENT.decode_vec(token, &mut out).ok()?;
    Some(out)
}

/// Whether a request cannot be more than the beginning of `word`, so that more
/// bytes are needed to tell.
pub(crate) fn is_beginning_of(bytes: &[u8], word: &[u8]) -> bool {
    bytes.len() < word.len() && word.get(..bytes.len()) == Some(bytes)
}

/// Whether bytes begin with `magic`, may still come to, or do not.
pub(crate) fn magic(bytes: &[u8], magic: &[u8]) -> Option<bool> {
    if bytes.starts_with(magic) {
        Some(true)
    } else if is_beginning_of(bytes, magic) {
        None
    } else {
        Some(false)
    }
}

/// Big-endian 16 bits at `at`.
pub(crate) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    let field = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes(field.try_into().ok()?))
}

/// Big-endian 24 bits at `at`.
pub(crate) fn be24(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from(*bytes.get(at)?) << 16 | u32::from(be16(bytes, at.checked_add(1)?)?))
}

/// Big-endian 32 bits at `at`.
pub(crate) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(field.try_into().ok()?))
}

/// Little-endian 16 bits at `at`.
pub(crate) fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    be16(bytes, at).map(u16::swap_bytes)
}

/// Little-endian 32 bits at `at`.
pub(crate) fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    be32(bytes, at).map(u32::swap_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_with_and_without_padding() {
        // RFC 7617 §2; RFC 4616 §4.
        for token in [
            &b"QWxhZGRpbjpvcGVuIHNlc2FtZQ=="[..],
            b"QWxhZGRpbjpvcGVuIHNlc2FtZQ",
        ] {
            let pair = decoded(token).expect("base64");
            assert_eq!(
                split_at_byte(&pair, b':').map(|(_, secret)| secret.len()),
                Some(11)
            );
        }
        let message = decoded(b"AHRpbQB0YW5zdGFhZnRhbnN0YWFm").expect("base64");
        assert_eq!(sasl_plain_raw_secret_len(&message), 16);
        assert!(decoded(b"!!").is_none());
    }

    #[test]
    fn numbers_and_replies_are_strict() {
        assert_eq!(decimal(b"0042"), Some(42));
        assert_eq!(decimal(b""), None);
        assert_eq!(decimal(b"4x"), None);
        assert_eq!(decimal(b"99999999999999999999"), None);
        assert_eq!(reply(b"220-first"), Some((220, true)));
        assert_eq!(reply(b"220 last"), Some((220, false)));
        assert_eq!(reply(b"220x"), None);
        assert_eq!(reply(b"22"), None);
    }

    #[test]
    fn text_is_cut_at_a_character() {
        assert_eq!(bounded("aé".as_bytes(), 2), "a");
        assert_eq!(bounded(b"\xff\xff\xff", 3), "\u{fffd}");
        assert_eq!(bounded(b"abc", 10), "abc");
    }
}
