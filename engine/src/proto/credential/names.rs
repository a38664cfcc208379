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
        Names { names }
    })
}

/// Whether a value behind a name is a secret.
pub fn is_secret(place: Where, name: &[u8], value: &[u8]) -> bool {
    let name = name.trim_ascii();
    if value.is_empty() || name.is_empty() || name.len() > MAX_NAME {
        return false;
    }
    let mut lower = [0; MAX_NAME];
    let Some(lower) = lower.get_mut(..name.len()) else {
        return false;
    };
    for (to, from) in lower.iter_mut().zip(name) {
        *to = from.to_ascii_lowercase();
    }
    let names = &all().names;
    let found = names
        .binary_search_by(|(known, text, _)| (*known, text.as_bytes()).cmp(&(place, &*lower)))
        .ok()
        .and_then(|at| names.get(at));
    found.is_some_and(|(_, _, sure)| {
        *sure || is_likely(value) || place == Where::Path && is_mixed(value)
    })
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
    }
}
