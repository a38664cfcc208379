//! The names of `rules/secret-names.tsv`, behind which secrets stand whatever
//! these look like.

use super::redact::is_random;
use super::test::{entropy, is_placeholder};
use std::sync::OnceLock;

const FILE: &str = include_str!("../../../../rules/secret-names.tsv");

/// Longest name that is looked up.
const MAX_NAME: usize = 64;
/// Least bytes of what is taken for a secret by how mixed it is.
const MIN_LIKELY: usize = 16;

/// Where a name stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Where {
    /// A header of a request.
    Header,
    /// A part of a cookie's name.
    Cookie,
    /// A query, a form, JSON.
    Parameter,
    /// The segment of a path before the secret's own.
    Path,
}

struct Names {
    /// Sorted by place and name; whether whatever is there is a secret.
    names: Vec<(Where, &'static str, bool)>,
    /// The last three letters of those of headers and parameters, which tell
    /// nearly every other word from them.
    ends: Box<[u64; 1 << 9]>,
}

fn all() -> &'static Names {
    static NAMES: OnceLock<Names> = OnceLock::new();
    NAMES.get_or_init(|| {
        let read = |line: &'static str| {
            let mut columns = line.split('\t');
            let place = match columns.next()? {
                "header" => Where::Header,
                "cookie" => Where::Cookie,
                "parameter" => Where::Parameter,
                "path" => Where::Path,
                _ => return None,
            };
            Some((place, columns.next()?, columns.next()? == "sure"))
        };
        let mut names: Vec<_> = FILE.lines().filter_map(read).collect();
        names.sort_unstable();
        let mut ends = Box::new([0_u64; 1 << 9]);
        for (place, name, _) in &names {
            if let (Where::Header | Where::Parameter, Some((word, bit))) =
                (place, end_of(name.as_bytes()))
                && let Some(word) = ends.get_mut(word)
            {
                *word |= 1 << bit;
            }
        }
        Names { names, ends }
    })
}

/// Whether a value behind a name is a secret.
pub fn is_secret(place: Where, name: &[u8], value: &[u8]) -> bool {
    !value.is_empty()
        && known(place, name.trim_ascii())
            .is_some_and(|sure| sure || is_likely(value) || place == Where::Path && is_mixed(value))
}

/// Whether a value behind a name may be a secret, so that it is not shown: more
/// than what is taken for one.
pub(super) fn may_be_secret(place: Where, name: &[u8], value: &[u8]) -> bool {
    let is_named = |name| known(place, name).is_some();
    !value.is_empty() && is_named(name.trim_ascii()) && (place != Where::Path || !is_word(value))
}

/// Whether a word, or the end of it, is a name of a header or parameter behind
/// which a secret stands: `password`, and `db.password` and `X_API_KEY` as well.
pub(super) fn asks_for_secret(word: &[u8]) -> bool {
    let Some((at, bit)) = end_of(word) else {
        return false;
    };
    if all().ends.get(at).is_none_or(|word| word >> bit & 1 == 0) {
        return false;
    }
    let is_named =
        |name| known(Where::Parameter, name).is_some() || known(Where::Header, name).is_some();
    let mut rest = word;
    // Words of many parts are none of these.
    for _ in 0..4 {
        if is_named(rest) {
            return true;
        }
        let part = rest
            .iter()
            .position(|byte| matches!(byte, b'_' | b'-' | b'.' | b'[' | b'$'));
        let Some(part) = part else { return false };
        rest = rest.get(part.saturating_add(1)..).unwrap_or_default();
    }
    false
}

/// Place of the last three letters of a name among [`Names::ends`].
fn end_of(name: &[u8]) -> Option<(usize, u32)> {
    let end = name.last_chunk::<3>()?;
    let number = end
        .iter()
        .fold(0_u32, |number, byte| number << 5 | u32::from(byte & 0x1f));
    Some(((number >> 6) as usize, number & 63))
}

/// A name that stands in the list; whether whatever follows it is a secret.
fn known(place: Where, name: &[u8]) -> Option<bool> {
    if name.is_empty() || name.len() > MAX_NAME {
        return None;
    }
    let mut lower = [0; MAX_NAME];
    let lower = lower.get_mut(..name.len())?;
    for (to, from) in lower.iter_mut().zip(name) {
        *to = from.to_ascii_lowercase();
    }
    let names = &all().names;
    let at = names
        .binary_search_by(|(known, text, _)| (*known, text.as_bytes()).cmp(&(place, &*lower)))
        .ok()?;
    names.get(at).map(|(_, _, sure)| *sure)
}

/// Whether a segment of a path is a word of an interface (`revoke`,
/// `reset-password`, `index.html`) or a version.
fn is_word(segment: &[u8]) -> bool {
    let is_version = matches!(segment, [b'v', digits @ ..] if digits.len() <= 2 && digits.iter().all(u8::is_ascii_digit));
    let mut parts = segment.split(|byte| matches!(byte, b'-' | b'_' | b'.'));
    let is_part = |part: &[u8]| {
        let capitals = part.iter().filter(|byte| byte.is_ascii_uppercase()).count();
        part.len() <= 16
            && part.iter().all(u8::is_ascii_alphabetic)
            && capitals.saturating_mul(4) <= part.len().saturating_add(3)
    };
    is_version || segment.len() <= 40 && parts.all(is_part)
}

/// Whether a part of a cookie's name suggests a session.
pub fn suggests_session(name: &[u8]) -> bool {
    all()
        .names
        .iter()
        .filter(|(place, ..)| *place == Where::Cookie)
        .any(|(_, part, _)| {
            name.windows(part.len())
                .any(|window| window.eq_ignore_ascii_case(part.as_bytes()))
        })
}

/// Whether a value is long and mixed enough to be made by chance.
pub fn is_likely(value: &[u8]) -> bool {
    let has = |class: fn(&u8) -> bool| value.iter().any(class);
    let plain = value
        .iter()
        .all(|b| b.is_ascii_alphanumeric() || b"_-.+/=~%:".contains(b));
    let mixed = has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic);
    value.len() >= MIN_LIKELY
        && plain
        && !is_placeholder(value)
        && (is_random(value) || mixed && entropy(value) >= 3.0 && words(value) < 3)
}

/// Letters of both cases without order: behind a word that asks for a secret,
/// that is one.
fn is_mixed(value: &[u8]) -> bool {
    let changes = value
        .windows(2)
        .filter(|pair| matches!(pair, [a, b] if a.is_ascii_uppercase() != b.is_ascii_uppercase()))
        .count();
    value.len() >= MIN_LIKELY
        && value.iter().all(u8::is_ascii_alphanumeric)
        && changes.saturating_mul(3) >= value.len()
}

/// Words of four letters or more between digits and marks.
fn words(value: &[u8]) -> usize {
    value
        .split(|byte| !byte.is_ascii_alphabetic())
        .filter(|word| word.len() >= 4)
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read() {
        let lines = FILE
            .lines()
            .filter(|line| !line.starts_with('#') && !line.starts_with("where\t"))
            .count();
        assert_eq!(all().names.len(), lines);
        let mut names = all().names.clone();
        names.dedup_by_key(|(place, name, _)| (*place, *name));
        assert_eq!(names.len(), lines);
    }

    #[test]
    fn names_and_values_decide_together() {
        let sure = |name: &str, value: &str| {
            is_secret(Where::Parameter, name.as_bytes(), value.as_bytes())
        };
        assert!(sure("password", "x") && sure(" PassWord ", "x"));
        assert!(!sure("password", "") && !sure("passwords", "x"));
        assert!(sure("key", "f3K9s0Qx7LmZ2pVb") && !sure("key", "Content-Type"));
        assert!(!sure("token", "the-first-word-of-2-long-sentences"));
        assert!(sure("sig", "0f3ac9d28e7b41560f3ac9d28e7b4156"));
        assert!(is_secret(Where::Header, b"X-Api-Key", b"1"));
        assert!(suggests_session(b"PHPSESSID") && !suggests_session(b"theme"));
        for word in [
            "password",
            "PASSWORD",
            "db.password",
            "X_API_KEY",
            "user[password",
            "token",
        ] {
            assert!(asks_for_secret(word.as_bytes()), "{word}");
        }
        for word in [
            "passwords",
            "rv",
            "monkey",
            "charset",
            "max-age",
            "a.b.c.d.e.token",
        ] {
            assert!(!asks_for_secret(word.as_bytes()), "{word}");
        }
    }
}
