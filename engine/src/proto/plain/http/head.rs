//! Reads the head of an HTTP/1 message as lenient servers do: an observer must
//! not be blinded by a head that a strict parser refuses as a whole (a header
//! name with a blank, more headers than expected), so the lines are read here.

use super::super::RedirectTarget;
use super::super::text::{bounded, contains_any_case, split_at_byte, starts_with_any_case};

/// Longest method kept.
pub(super) const MAX_METHOD: usize = 32;
/// Longest host kept: a DNS name.
const MAX_HOST: usize = 255;
/// Longest path kept.
const MAX_PATH: usize = 1024;

/// A head: start line and header lines, with the empty line at the end.
pub(super) struct Head<'a> {
    start_line: &'a [u8],
    fields: &'a [u8],
}

/// A request line.
pub(super) struct Request<'a> {
    /// Method.
    pub method: &'a [u8],
    /// Target as sent.
    pub target: &'a [u8],
    /// Whether the version is 2, as in the preface of HTTP/2.
    pub is_http2: bool,
}

/// How a body's end is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// `Content-Length`.
    Fixed(u64),
    /// Neither.
    Unstated,
}

/// How a body's end is told, and whether the head contradicts itself.
pub(super) struct BodyLength {
    /// What is believed (RFC 9112 §6.3: chunked before length, first length before others).
    pub kind: Length,
    /// Both ways, or two lengths: how requests are smuggled.
    pub contradicts: bool,
}

/// Where a request goes.
#[derive(Default)]
pub(super) struct Target {
    /// Of an absolute URI, or of CONNECT.
    pub host: Option<String>,
    /// Without query.
    pub path: String,
}

impl<'a> Head<'a> {
    /// Of the bytes up to and including the empty line.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let (start_line, fields) = split_at_byte(bytes, b'\n').unwrap_or((bytes, &[]));
        Self {
            start_line: start_line.trim_ascii(),
            fields,
        }
    }

    /// The request line; none when it is none.
    pub(super) fn request(&self) -> Option<Request<'a>> {
        let (method, rest) = split_at_byte(self.start_line, b' ')?;
        // A target with blanks is wrong and served all the same: the version is the last word.
        let at = memchr::memrchr(b' ', rest)?;
        let (target, version) = rest.split_at(at);
        let version = version.trim_ascii();
        if !starts_with_any_case(version, b"HTTP/") || method.is_empty() {
            return None;
        }
        Some(Request {
            method,
            target: target.trim_ascii(),
            is_http2: version == b"HTTP/2.0",
        })
    }

    /// The status code; none when this is no status line.
    pub(super) fn status(&self) -> Option<u16> {
        if !starts_with_any_case(self.start_line, b"HTTP/") {
            return None;
        }
        let (_, rest) = split_at_byte(self.start_line, b' ')?;
        let code = super::decimal(rest.trim_ascii_start().get(..3)?)?;
        u16::try_from(code).ok()
    }

    /// Names and values of the header lines; folded lines belong to none.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        self.fields.split(|byte| *byte == b'\n').filter_map(|line| {
            if line.first().is_none_or(u8::is_ascii_whitespace) {
                return None;
            }
            let (name, value) = split_at_byte(line, b':')?;
            Some((name.trim_ascii(), value.trim_ascii()))
        })
    }

    /// The first value under this name.
    pub(super) fn value(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.fields()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// The Host header.
    pub(super) fn host(&self) -> Option<String> {
        self.value(b"host").and_then(host_of_authority)
    }

    /// How the body's end is told.
    pub(super) fn length(&self) -> BodyLength {
        let (mut chunked, mut length, mut contradicts) = (false, None, false);
        for (name, value) in self.fields() {
            if name.eq_ignore_ascii_case(b"transfer-encoding") {
                chunked |= contains_any_case(value, b"chunked");
            } else if name.eq_ignore_ascii_case(b"content-length") {
                let stated = super::content_length(value);
                contradicts |=
                    stated.is_none() || length.is_some_and(|first| Some(first) != stated);
                length = length.or(stated);
            }
        }
        let kind = match (chunked, length) {
            (true, length) => {
                contradicts |= length.is_some();
                Length::Chunked
            }
            (false, Some(length)) => Length::Fixed(length),
            (false, None) => Length::Unstated,
        };
        BodyLength { kind, contradicts }
    }
}

/// Reads a request target (RFC 9112 §3.2).
pub(super) fn target(target: &[u8], is_connect: bool) -> Target {
    if is_connect {
        return Target {
            host: host_of_authority(target),
            path: String::new(),
        };
    }
    let (host, path) = match absolute(target) {
        Some((_, authority, path)) => (host_of_authority(authority), path),
        None => (None, target),
    };
    let end = path
        .iter()
        .position(|byte| matches!(byte, b'?' | b'#'))
        .unwrap_or(path.len());
    let path = path.get(..end).unwrap_or_default();
    let path = if path.is_empty() { b"/" } else { path };
    Target {
        host,
        path: bounded(path, MAX_PATH),
    }
}

/// Reads where a Location points (RFC 9110 §10.2.2).
pub(super) fn redirect(location: &[u8]) -> RedirectTarget {
    if let Some((scheme, authority, _)) = absolute(location) {
        return RedirectTarget {
            scheme: bounded(scheme, 16).to_ascii_lowercase(),
            host: host_of_authority(authority).unwrap_or_default(),
        };
    }
    let authority = location.strip_prefix(b"//").map(authority_of);
    RedirectTarget {
        scheme: String::new(),
        host: authority.and_then(host_of_authority).unwrap_or_default(),
    }
}

/// Scheme, authority and what follows of `scheme://authority…`.
fn absolute(uri: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (scheme, rest) = split_at_byte(uri, b':')?;
    let is_scheme = scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    let rest = rest.strip_prefix(b"//")?;
    if !is_scheme {
        return None;
    }
    let authority = authority_of(rest);
    let path = rest.get(authority.len()..).unwrap_or_default();
    Some((scheme, authority, path))
}

fn authority_of(bytes: &[u8]) -> &[u8] {
    let end = bytes
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?' | b'#' | b'\\'))
        .unwrap_or(bytes.len());
    bytes.get(..end).unwrap_or_default()
}

/// The host of `[userinfo@]host[:port]`, lower case; none when empty.
fn host_of_authority(authority: &[u8]) -> Option<String> {
    let host = authority
        .rsplit(|byte| *byte == b'@')
        .next()
        .unwrap_or_default()
        .trim_ascii();
    let host = match host.strip_prefix(b"[") {
        Some(literal) => literal.split(|byte| *byte == b']').next(),
        None => host.split(|byte| *byte == b':').next(),
    };
    let host = host.filter(|host| !host.is_empty())?;
    Some(bounded(host, MAX_HOST).to_ascii_lowercase())
}
