//! Reads the head of an HTTP/1 message: by httparse where it is as RFC 9112
//! has it, line by line where it is not. An observer must not be blinded by a
//! head that a strict parser refuses as a whole, since servers serve it; what
//! two readers may understand differently is noted as an oddity.

use super::super::RedirectTarget;
use super::super::text::{bounded, decimal, split_at_byte, starts_with_any_case};
use super::transaction::{HttpVersion, Oddities, Oddity};
use std::mem::MaybeUninit;

/// Longest host kept: a DNS name.
const MAX_HOST: usize = 255;
/// Header lines that httparse has room for; longer heads are read by lines.
const FAST_FIELDS: usize = 64;
/// Header lines read in all.
const MAX_FIELDS: usize = 512;

/// Name and value of a header.
pub(super) type Field<'a> = (&'a [u8], &'a [u8]);

/// A head: start line and headers.
pub(super) struct Head<'a> {
    pub start: Start<'a>,
    pub fields: Vec<Field<'a>>,
    pub oddities: Oddities,
}

/// A start line.
pub(super) enum Start<'a> {
    /// A request line.
    Request {
        method: &'a [u8],
        target: &'a [u8],
        version: HttpVersion,
    },
    /// A status line.
    Status {
        version: HttpVersion,
        code: u16,
        reason: &'a [u8],
    },
    /// HTTP/2's preface.
    Preface,
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

/// Reads a request's head, its empty line included; none when it is none.
pub(super) fn request(bytes: &[u8]) -> Option<Head<'_>> {
    let mut headers = [const { MaybeUninit::uninit() }; FAST_FIELDS];
    let mut parsed = httparse::Request::new(&mut []);
    let whole = parsed.parse_with_uninit_headers(bytes, &mut headers);
    if let (Ok(httparse::Status::Complete(_)), Some(method), Some(path), Some(minor)) =
        (whole, parsed.method, parsed.path, parsed.version)
    {
        let start = Start::Request {
            method: method.as_bytes(),
            target: path.as_bytes(),
            version: version(minor),
        };
        return Some(strict(bytes, start, parsed.headers));
    }
    by_lines(bytes, request_line)
}

/// Reads an answer's head; none when it is none.
pub(super) fn response(bytes: &[u8]) -> Option<Head<'_>> {
    let mut headers = [const { MaybeUninit::uninit() }; FAST_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let whole = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut parsed,
        bytes,
        &mut headers,
    );
    if let (Ok(httparse::Status::Complete(_)), Some(code), Some(minor)) =
        (whole, parsed.code, parsed.version)
    {
        let start = Start::Status {
            version: version(minor),
            code,
            reason: parsed.reason.unwrap_or_default().as_bytes(),
        };
        return Some(strict(bytes, start, parsed.headers));
    }
    by_lines(bytes, status_line)
}

const fn version(minor: u8) -> HttpVersion {
    match minor {
        0 => HttpVersion::V10,
        _ => HttpVersion::V11,
    }
}

fn strict<'a>(bytes: &'a [u8], start: Start<'a>, headers: &[httparse::Header<'a>]) -> Head<'a> {
    let mut oddities = Oddities::default();
    // httparse takes LF for CRLF, as RFC 9112 §2.2 lets a server do.
    let bare = memchr::memchr_iter(b'\n', bytes)
        .any(|at| at == 0 || bytes.get(at - 1).is_some_and(|before| *before != b'\r'));
    if bare {
        oddities.add(Oddity::BareLf);
    }
    Head {
        start,
        fields: headers
            .iter()
            .map(|header| (header.name.as_bytes(), header.value.trim_ascii()))
            .collect(),
        oddities,
    }
}

fn by_lines<'a>(
    bytes: &'a [u8],
    read_start: fn(&'a [u8], &mut Oddities) -> Option<Start<'a>>,
) -> Option<Head<'a>> {
    let mut oddities = Oddities::default();
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let mut next = || {
        let line = lines.next()?;
        let (line, bare) = match line.strip_suffix(b"\r") {
            Some(line) => (line, false),
            None => (line, true),
        };
        Some((line, bare))
    };
    let (line, bare) = next()?;
    if bare {
        oddities.add(Oddity::BareLf);
    }
    let start = read_start(line, &mut oddities)?;
    let mut fields: Vec<Field<'a>> = Vec::with_capacity(16);
    while let Some((line, bare)) = next() {
        if line.is_empty() {
            // The head's end, and what follows its last line end.
            break;
        }
        if bare {
            oddities.add(Oddity::BareLf);
        }
        if line.contains(&b'\r') {
            oddities.add(Oddity::BareCr);
        }
        if line.first().is_some_and(u8::is_ascii_whitespace) {
            // What it continues is not put together: servers differ in it.
            oddities.add(Oddity::ObsFold);
            continue;
        }
        let Some((name, value)) = split_at_byte(line, b':') else {
            oddities.add(Oddity::FieldInvalid);
            continue;
        };
        if name.last().is_some_and(u8::is_ascii_whitespace) {
            oddities.add(Oddity::SpaceBeforeColon);
        }
        let name = name.trim_ascii();
        if !is_token(name) || value.contains(&0) {
            oddities.add(Oddity::FieldInvalid);
        }
        if fields.len() >= MAX_FIELDS {
            oddities.add(Oddity::TooManyFields);
            break;
        }
        fields.push((name, value.trim_ascii()));
    }
    Some(Head {
        start,
        fields,
        oddities,
    })
}

/// RFC 9110 §5.6.2.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

fn request_line<'a>(line: &'a [u8], oddities: &mut Oddities) -> Option<Start<'a>> {
    let line = line.trim_ascii();
    let (method, rest) = split_at_byte(line, b' ')?;
    // A target with blanks is wrong and served all the same: the version is the last word.
    let at = memchr::memrchr(b' ', rest)?;
    let (target, version) = rest.split_at(at);
    let (target, version) = (target.trim_ascii(), version.trim_ascii());
    if version == b"HTTP/2.0" && method == b"PRI" {
        return Some(Start::Preface);
    }
    if !starts_with_any_case(version, b"HTTP/") || method.is_empty() {
        return None;
    }
    if target.contains(&b' ')
        || !is_token(method)
        || target.iter().any(|byte| !byte.is_ascii_graphic())
        || !matches!(version, b"HTTP/1.0" | b"HTTP/1.1")
        || line.len() != method.len() + target.len() + version.len() + 2
    {
        oddities.add(Oddity::StartLineOdd);
    }
    Some(Start::Request {
        method,
        target,
        version: if version.ends_with(b"1.0") {
            HttpVersion::V10
        } else {
            HttpVersion::V11
        },
    })
}

fn status_line<'a>(line: &'a [u8], oddities: &mut Oddities) -> Option<Start<'a>> {
    let line = line.trim_ascii();
    if !starts_with_any_case(line, b"HTTP/") {
        return None;
    }
    let (version, rest) = split_at_byte(line, b' ')?;
    let rest = rest.trim_ascii_start();
    let code = u16::try_from(decimal(rest.get(..3)?)?).ok()?;
    if !matches!(version, b"HTTP/1.0" | b"HTTP/1.1") || !matches!(rest.get(3), None | Some(b' ')) {
        oddities.add(Oddity::StartLineOdd);
    }
    Some(Start::Status {
        version: if version.ends_with(b"1.0") {
            HttpVersion::V10
        } else {
            HttpVersion::V11
        },
        code,
        reason: rest.get(3..).unwrap_or_default().trim_ascii(),
    })
}

/// The first value under this name.
pub(super) fn value<'a>(fields: &[Field<'a>], name: &[u8]) -> Option<&'a [u8]> {
    fields
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| *value)
}

/// How a body's end is told (RFC 9112 §6.3), which of two ways is believed
/// (chunked before length, the first length before others), and what is odd.
pub(super) fn length(fields: &[Field<'_>], oddities: &mut Oddities) -> Length {
    let (mut chunked, mut coded, mut length) = (false, false, None);
    for (name, value) in fields {
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            coded = true;
            let last = value
                .rsplit(|byte| *byte == b',')
                .next()
                .unwrap_or_default();
            let plain = last.trim_ascii().eq_ignore_ascii_case(b"chunked");
            if !plain || chunked || last.contains(&0x0b) {
                oddities.add(Oddity::CodingOdd);
            }
            chunked |= plain || super::super::text::contains_any_case(value, b"chunked");
        } else if name.eq_ignore_ascii_case(b"content-length") {
            // A list of equal values counts as one (RFC 9110 §8.6).
            for stated in value.split(|byte| *byte == b',') {
                match (decimal(stated.trim_ascii()), length) {
                    (None, _) => oddities.add(Oddity::LengthInvalid),
                    (Some(stated), Some(first)) if stated != first => {
                        oddities.add(Oddity::LengthTwice);
                    }
                    (Some(stated), None) => length = Some(stated),
                    (Some(_), Some(_)) => {}
                }
            }
        }
    }
    if coded && length.is_some() {
        oddities.add(Oddity::LengthAndChunked);
    }
    match (chunked, length) {
        (true, _) => Length::Chunked,
        (false, Some(length)) => Length::Fixed(length),
        (false, None) => Length::Unstated,
    }
}

/// Where a request goes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Target<'a> {
    /// Scheme of an absolute URI.
    pub scheme: Option<&'a [u8]>,
    /// Of an absolute URI, or of CONNECT.
    pub authority: Option<&'a [u8]>,
    /// Without query.
    pub path: &'a [u8],
    /// After the question mark.
    pub query: Option<&'a [u8]>,
}

/// Reads a request target (RFC 9112 §3.2).
pub(super) fn target(target: &[u8], is_connect: bool) -> Target<'_> {
    if is_connect {
        return Target {
            authority: Some(target),
            ..Target::default()
        };
    }
    let (scheme, authority, path) = match absolute(target) {
        Some((scheme, authority, path)) => (Some(scheme), Some(authority), path),
        None => (None, None, target),
    };
    let path = path.split(|byte| *byte == b'#').next().unwrap_or_default();
    let (path, query) = match split_at_byte(path, b'?') {
        Some((path, query)) => (path, Some(query)),
        None => (path, None),
    };
    Target {
        scheme,
        authority,
        path: if path.is_empty() { b"/" } else { path },
        query,
    }
}

/// Reads where a Location points (RFC 9110 §10.2.2).
pub(super) fn redirect(location: &[u8]) -> RedirectTarget {
    if let Some((scheme, authority, _)) = absolute(location) {
        return RedirectTarget {
            scheme: bounded(scheme, 16).to_ascii_lowercase(),
            host: host_of(authority),
        };
    }
    let authority = location.strip_prefix(b"//").map(authority_of);
    RedirectTarget {
        scheme: String::new(),
        host: authority.map(host_of).unwrap_or_default(),
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

/// Host, port and whether a user stands before them in `[userinfo@]host[:port]`.
pub(super) fn authority(authority: &[u8]) -> (&[u8], Option<u16>, bool) {
    // A Host header may hold a whole URI, with what nobody should see in it.
    let authority = authority_of(authority);
    let (has_user, host) = match memchr::memrchr(b'@', authority) {
        Some(at) => (true, authority.get(at + 1..).unwrap_or_default()),
        None => (false, authority),
    };
    let host = host.trim_ascii();
    let (host, after) = match host.strip_prefix(b"[") {
        Some(literal) => split_at_byte(literal, b']').unwrap_or((literal, &[])),
        None => match memchr::memchr(b':', host) {
            Some(colon) => host.split_at(colon),
            None => (host, &[][..]),
        },
    };
    let port = after
        .strip_prefix(b":")
        .and_then(decimal)
        .and_then(|port| u16::try_from(port).ok());
    (host, port, has_user)
}

fn host_of(bytes: &[u8]) -> String {
    bounded(authority(bytes).0, MAX_HOST).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn odd(head: &str, expected: &[&str]) {
        let head = head.as_bytes();
        let mut read = if head.starts_with(b"HTTP") {
            response(head)
        } else {
            request(head)
        }
        .expect("a head");
        length(&read.fields, &mut read.oddities);
        let names: Vec<_> = read.oddities.names().collect();
        assert_eq!(names, expected, "{}", String::from_utf8_lossy(head));
    }

    #[test]
    fn what_two_readers_may_understand_differently_is_odd() {
        odd("GET / HTTP/1.1\r\nHost: a\r\n\r\n", &[]);
        odd("GET / HTTP/1.1\nHost: a\n\n", &["bare_lf"]);
        odd(
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            &["space_before_colon"],
        );
        odd("GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", &["obs_fold"]);
        odd("GET / HTTP/1.1\r\nA b\r\n\r\n", &["field_invalid"]);
        odd("GET /a b HTTP/1.1\r\n\r\n", &["start_line_odd"]);
        odd("GET / HTTP/1.2\r\n\r\n", &["start_line_odd"]);
        odd("GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", &["bare_cr"]);
        odd(
            "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            &["content_length_twice"],
        );
        odd("POST / HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\n", &[]);
        odd(
            "POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\n",
            &["content_length_invalid"],
        );
        odd(
            "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            &["content_length_and_chunked"],
        );
        odd(
            "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            &[],
        );
        odd(
            "POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n",
            &["transfer_encoding_odd"],
        );
        odd(
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked, identity\r\n\r\n",
            &["transfer_encoding_odd"],
        );
        odd("HTTP/1.1  200 OK\r\n\r\n", &[]);
        odd("HTTP/1.1 200\r\nA\0: b\r\n\r\n", &["field_invalid"]);
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(600));
        odd(&many, &["too_many_fields"]);
    }

    #[test]
    fn targets_are_taken_apart() {
        #[track_caller]
        fn is(given: &str, authority: Option<&str>, path: &str, query: Option<&str>) {
            let read = target(given.as_bytes(), false);
            assert_eq!(read.authority, authority.map(str::as_bytes), "{given}");
            assert_eq!(
                (read.path, read.query),
                (path.as_bytes(), query.map(str::as_bytes)),
                "{given}"
            );
        }
        is("/a?b=c#d", None, "/a", Some("b=c"));
        is("*", None, "*", None);
        is(
            "http://A.example:81?x",
            Some("A.example:81"),
            "/",
            Some("x"),
        );
        is("/a:b://c", None, "/a:b://c", None);
        assert_eq!(
            authority(b"u:p@H.example:443"),
            (&b"H.example"[..], Some(443), true)
        );
        assert_eq!(
            authority(b"[2001:db8::1]:80"),
            (&b"2001:db8::1"[..], Some(80), false)
        );
        assert_eq!(authority(b"h:99999"), (&b"h"[..], None, false));
    }
}
