//! From headers to a transaction's texts, for every version of HTTP alike.

use super::super::reader::Scene;
use super::super::text::{contains_any_case, split_at_byte};
use super::head::{self, Field, Target};
use super::secrets;
use super::transaction::{HttpTransaction, HttpVersion, Oddity, Text};
use crate::proto::credential::{Where, hides, redacted};

/// Headers of an answer that protect its readers: those whose values are kept.
const PROTECTIVE: &[&str] = &[
    "cache-control",
    "content-security-policy",
    "cross-origin-embedder-policy",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
    "permissions-policy",
    "referrer-policy",
    "strict-transport-security",
    "x-content-type-options",
    "x-frame-options",
    "x-permitted-cross-domain-policies",
    "x-xss-protection",
];

/// Takes a request's target and headers into its transaction.
pub(super) fn request(
    scene: &mut Scene<'_, '_>,
    tx: &mut HttpTransaction,
    method: &[u8],
    target: &Target<'_>,
    fields: &[Field<'_>],
) {
    tx.has_request = true;
    if !method.is_empty() {
        tx.texts.set(Text::Method, method);
    }
    if let Some(scheme) = target.scheme {
        tx.texts.set_lower(Text::Scheme, scheme);
    }
    if !target.path.is_empty() {
        tx.texts
            .write(Text::Path, |out| show_path(target.path, out));
    }
    if let Some(query) = target.query {
        tx.texts.write(Text::Query, |out| redact_query(query, out));
    }
    let mut host = None;
    let mut hosts = 0;
    for (name, value) in fields {
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        match name.len() {
            4 if is(b"host") => {
                hosts += 1;
                host = host.or(Some(*value));
            }
            10 if is(b"user-agent") => tx.texts.set(Text::UserAgent, without_address(value)),
            7 if is(b"referer") => tx
                .texts
                .write(Text::Referrer, |out| show_path(without_query(value), out)),
            6 if is(b"origin") => tx.texts.set(Text::Origin, without_query(value)),
            12 if is(b"content-type") => {
                tx.texts.set_lower(Text::RequestType, media_type(value));
            }
            _ => {}
        }
    }
    if hosts > 1 {
        tx.oddities.add(Oddity::HostAmbiguous);
    }
    if let Some(authority) = target.authority.or(host) {
        let (name, port, has_user) = head::authority(authority);
        if !name.is_empty() {
            tx.texts.set_lower(Text::Host, name);
        }
        tx.host_port = port;
        tx.has_userinfo = has_user;
        let differs = |stated: &[u8]| !head::authority(stated).0.eq_ignore_ascii_case(name);
        if target.authority.is_some() && host.is_some_and(differs) {
            tx.oddities.add(Oddity::HostAmbiguous);
        }
    }
    names(tx, Text::HeaderNames, fields);
    secrets::of_path(scene, tx, target.path);
    secrets::of_request(scene, tx, fields, target.query);
    if tx.version == HttpVersion::V2 {
        // Behind those that know places better than looks.
        scene.shapes_of(target.path);
        scene.shapes_of(target.query.unwrap_or_default());
        shapes_of(scene, fields);
    }
}

/// Takes an answer's headers into its transaction.
pub(super) fn response(scene: &mut Scene<'_, '_>, tx: &mut HttpTransaction, fields: &[Field<'_>]) {
    let mut protective = false;
    for (name, value) in fields {
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        match name.len() {
            12 if is(b"content-type") => {
                tx.texts.set_lower(Text::ResponseType, media_type(value));
            }
            6 if is(b"server") => tx.texts.set(Text::Server, value),
            8 if is(b"location") => {
                let target = head::redirect(value);
                tx.redirects_to_https = target.scheme == "https";
                tx.texts.write(Text::Location, |out| {
                    show_path(without_query(value), out);
                });
            }
            10 if is(b"set-cookie") => secrets::set_cookie(scene, tx, value),
            _ => protective |= protective_name(name).is_some(),
        }
    }
    names(tx, Text::ResponseNames, fields);
    if tx.version == HttpVersion::V2 {
        shapes_of(scene, fields);
    }
    if protective {
        tx.texts.write(Text::Protective, |out| {
            for (name, value) in fields {
                let Some(name) = protective_name(name) else {
                    continue;
                };
                // Before it is cut: half a secret has no look.
                let value = redacted(value);
                let value = value.get(..256).unwrap_or(&value);
                out.push_str(name);
                out.push_str(": ");
                out.push_str(&String::from_utf8_lossy(value).replace(['\n', '\r'], " "));
                out.push('\n');
            }
        });
    }
}

/// Secrets by their look in headers that the bytes of the connection do not
/// show: HTTP/2 packs them.
fn shapes_of(scene: &mut Scene<'_, '_>, fields: &[Field<'_>]) {
    for (_, value) in fields {
        scene.shapes_of(value);
    }
}

/// Media type without parameters.
pub(super) fn media_type(value: &[u8]) -> &[u8] {
    value
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii()
}

/// Whether a media type is JSON (RFC 8259, RFC 6839 §3.1).
pub(super) fn is_json(media_type: &str) -> bool {
    media_type.ends_with("/json") || media_type.ends_with("+json")
}

/// Media type of a DNS message (RFC 8484 §6).
pub(super) const DNS_MESSAGE: &str = "application/dns-message";

/// Whether a body of this type may be read for secrets: not pictures, sound,
/// archives and the like.
pub(super) fn is_readable(media_type: Option<&str>) -> bool {
    const SEALED: &[&str] = &[
        "image/",
        "video/",
        "audio/",
        "font/",
        "model/",
        "application/octet-stream",
        "application/zip",
        "application/gzip",
        "application/x-gzip",
        "application/x-tar",
        "application/x-7z",
        "application/x-rar",
        "application/x-xz",
        "application/x-bzip",
        "application/pdf",
        "application/wasm",
        "application/vnd.",
        "application/x-msdownload",
        "application/x-executable",
        "application/x-debian-package",
        "application/x-rpm",
    ];
    media_type.is_none_or(|name| {
        !SEALED.iter().any(|sealed| name.starts_with(sealed))
            || is_json(name)
            || name.ends_with("+xml")
    })
}

/// Whether it is a urlencoded form.
pub(super) fn is_form(media_type: &str) -> bool {
    contains_any_case(media_type.as_bytes(), b"x-www-form-urlencoded")
}

fn protective_name(name: &[u8]) -> Option<&'static str> {
    PROTECTIVE
        .iter()
        .copied()
        .find(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

fn names(tx: &mut HttpTransaction, text: Text, fields: &[Field<'_>]) {
    tx.texts.write(text, |out| {
        for (number, (name, _)) in fields.iter().enumerate() {
            if number > 0 {
                out.push('\n');
            }
            let start = out.len();
            // Before it is in lower case: keys have both.
            out.push_str(&String::from_utf8_lossy(&redacted(name)));
            if let Some(name) = out.get_mut(start..) {
                name.make_ascii_lowercase();
            }
        }
    });
}

/// Names of parameters with the lengths of their values: any value may be a secret.
pub(super) fn redact_query(query: &[u8], out: &mut String) {
    use std::fmt::Write as _;
    for (number, pair) in query.split(|byte| *byte == b'&').take(64).enumerate() {
        if number > 0 {
            out.push('&');
        }
        match split_at_byte(pair, b'=') {
            // Padding of base64 is no value, and what is encoded is no name.
            Some((name, value)) if is_name(name) && value.iter().any(|byte| *byte != b'=') => {
                out.push_str(&String::from_utf8_lossy(name));
                // Writing into a string cannot fail.
                let _ = write!(out, "=<{}>", value.len());
            }
            // Without a name, all of it is a value.
            _ => {
                let _ = write!(out, "<{}>", pair.len());
            }
        }
    }
}

fn without_query(uri: &[u8]) -> &[u8] {
    let end = uri
        .iter()
        .position(|byte| matches!(byte, b'?' | b'#'))
        .unwrap_or(uri.len());
    without_user(uri.get(..end).unwrap_or_default())
}

/// Nothing of a URI that names a user, who may come with a password. Clients
/// take several spellings for an authority, so any `@` counts.
fn without_user(uri: &[u8]) -> &[u8] {
    if uri.contains(&b'@') { b"" } else { uri }
}

/// Nothing of a text that quotes a URI with a user in it.
fn without_address(text: &[u8]) -> &[u8] {
    let quotes = text.windows(3).any(|three| three == b"://");
    if quotes { without_user(text) } else { text }
}

/// A parameter's name as programs write them, and no value in its place.
fn is_name(name: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.[]$~:".contains(byte);
    (1..=64).contains(&name.len()) && name.iter().all(is_plain)
}

/// A path up to where it stops being one: parameters of a segment (RFC 3986
/// §3.3), an encoded query or user hold values, of which only the length is told.
pub(super) fn show_path(path: &[u8], out: &mut String) {
    use std::fmt::Write as _;
    let encoded = |three: &[u8]| {
        three.eq_ignore_ascii_case(b"%3f")
            || three.eq_ignore_ascii_case(b"%3b")
            || three.eq_ignore_ascii_case(b"%40")
    };
    let stops = |at: usize| {
        let rest = path.get(at..).unwrap_or_default();
        matches!(rest.first(), Some(b';' | b'@')) || rest.get(..3).is_some_and(encoded)
    };
    let end = (0..path.len()).find(|at| stops(*at)).unwrap_or(path.len());
    let (shown, hidden) = path.split_at(end);
    // Before an `@` stands a user: all of that segment is hidden.
    let is_user = hidden.first() == Some(&b'@') || hidden.get(..3) == Some(b"%40");
    let shown = if is_user {
        let slash = shown.iter().rposition(|byte| *byte == b'/');
        shown
            .get(..slash.map_or(0, |at| at + 1))
            .unwrap_or_default()
    } else {
        shown
    };
    let mut before: &[u8] = b"";
    for (number, segment) in shown.split(|byte| *byte == b'/').enumerate() {
        if number > 0 {
            out.push('/');
        }
        if hides(Where::Path, before, segment) {
            let _ = write!(out, "<{}>", segment.len());
        } else if let Some((name, value)) = split_at_byte(segment, b'=')
            && hides(Where::Parameter, name, value)
        {
            out.push_str(&String::from_utf8_lossy(name));
            let _ = write!(out, "=<{}>", value.len());
        } else {
            out.push_str(&String::from_utf8_lossy(segment));
        }
        before = segment;
    }
    if !hidden.is_empty() {
        // Writing into a string cannot fail.
        let _ = write!(out, "<{}>", path.len() - shown.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn query(text: &str, expected: &str) {
        let mut out = String::new();
        redact_query(text.as_bytes(), &mut out);
        assert_eq!(out, expected, "{text}");
    }

    #[track_caller]
    fn path(text: &str, expected: &str) {
        let mut out = String::new();
        show_path(text.as_bytes(), &mut out);
        assert_eq!(out, expected, "{text}");
    }

    #[test]
    fn queries_show_names_and_never_values() {
        query("a=1&token=secret", "a=<1>&token=<6>");
        query("secret", "<6>");
        query("c2VjcmV0cw==", "<12>");
        query("password%3Dsecret=", "<18>");
        query("c2VjcmV0=", "<9>");
        query("filter[name]=x", "filter[name]=<1>");
    }

    #[test]
    fn paths_show_segments_and_never_parameters() {
        path("/api/v1/items", "/api/v1/items");
        path("/a;jsessionid=secret", "/a<18>");
        path("/a%3Fpassword=secret", "/a<18>");
        path("//user:pass@host/x", "//<16>");
        path("user:pass%40host/x", "<18>");
        path("/reset/f3K9s0Qx7LmZ2pVbA/x", "/reset/<17>/x");
        path("/reset/password/x", "/reset/password/x");
        path("/x/token=f3K9s0Qx7LmZ2pVbA/y", "/x/token=<17>/y");
        path("/x/token=short/y", "/x/token=<5>/y");
        path("/oauth/token/revoke", "/oauth/token/revoke");
        path("/token/hunter2", "/token/<7>");
        path("/invite/v2/x", "/invite/v2/x");
        path("/tokens/abcdefghijklmnopqr", "/tokens/<18>");
    }

    #[test]
    fn uris_with_a_user_are_not_shown() {
        for uri in [
            "https://u:p@h/",
            "//u:p@h/x",
            "https:/\\u:p@h/",
            "https:u:p@h/",
        ] {
            assert_eq!(without_query(uri.as_bytes()), b"", "{uri}");
        }
        assert_eq!(without_query(b"https://h/?k=secret"), b"https://h/");
        assert_eq!(without_address(b"bot (+https://u:p@h)"), b"");
        assert_eq!(without_address(b"curl/8.5"), b"curl/8.5");
    }
}
