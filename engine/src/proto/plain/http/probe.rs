//! How the beginning of HTTP is told, by either side's first bytes.

use super::super::reader::Role;
use super::super::registry::{Look, Match};
use super::super::text::{first_line, is_beginning_of, starts_with_any_case};

/// RFC 9113 §3.4.
pub(super) const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A request line that has not ended after so many bytes is judged by its beginning.
pub(super) const LONG_REQUEST_LINE: usize = 4 << 10;

/// Whether bytes begin a request or a response of HTTP/1.
pub(in super::super) fn probe(look: &Look<'_>) -> Match {
    match response(look.bytes) {
        Match::No => request(look.bytes),
        found => found,
    }
}

/// Whether they begin an answer.
pub(super) fn response(bytes: &[u8]) -> Match {
    const PREFIX: &[u8] = b"HTTP/1.";
    if is_beginning_of(bytes, PREFIX) {
        return Match::NeedMore;
    }
    let Some(rest) = bytes.strip_prefix(PREFIX) else {
        return Match::No;
    };
    let shape: [fn(&u8) -> bool; 5] = [
        |byte| matches!(byte, b'0' | b'1'),
        |byte| *byte == b' ',
        u8::is_ascii_digit,
        u8::is_ascii_digit,
        u8::is_ascii_digit,
    ];
    if !shape.iter().zip(rest).all(|(fits, byte)| fits(byte)) {
        return Match::No;
    }
    if rest.len() < shape.len() {
        return Match::NeedMore;
    }
    Match::Yes(Role::Server)
}

/// Whether they begin a request.
pub(super) fn request(bytes: &[u8]) -> Match {
    let method_len = bytes
        .iter()
        .take_while(|byte| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_'))
        .count();
    if method_len > 20 {
        return Match::No;
    }
    match bytes.get(method_len) {
        None => return Match::NeedMore,
        Some(b' ') if method_len >= 3 => {}
        Some(_) => return Match::No,
    }
    if let Some(line) = first_line(bytes) {
        return Match::when(is_request_line(line), Role::Client);
    }
    let target = bytes.get(method_len + 1..).unwrap_or_default();
    if target.iter().any(|byte| *byte < b' ' && *byte != b'\r') {
        return Match::No;
    }
    if bytes.len() >= LONG_REQUEST_LINE {
        return Match::when(
            target.starts_with(b"/") || starts_with_any_case(target, b"http"),
            Role::Client,
        );
    }
    Match::NeedMore
}

fn is_request_line(line: &[u8]) -> bool {
    let Some((rest, version)) = line.split_at_checked(line.len().saturating_sub(9)) else {
        return false;
    };
    // HTTP/0.9 has no version and one method (RFC 1945 §4.1).
    matches!(version, b" HTTP/1.0" | b" HTTP/1.1") && rest.contains(&b' ')
        || is_simple_request(line)
}

/// `GET /path`, as HTTP/0.9 has it.
pub(super) fn is_simple_request(line: &[u8]) -> bool {
    line.strip_prefix(b"GET /")
        .is_some_and(|path| path.iter().all(u8::is_ascii_graphic))
}
