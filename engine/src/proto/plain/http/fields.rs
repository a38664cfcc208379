//! From headers to a transaction's texts, for every version of HTTP alike.

use super::super::reader::Scene;
use super::super::text::{contains_any_case, split_at_byte};
use super::head::{self, Field, Target};
use super::secrets;
use super::transaction::{HttpTransaction, Oddity, Text};

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
    tx.texts.set(Text::Method, method);
    if let Some(scheme) = target.scheme {
        tx.texts.set_lower(Text::Scheme, scheme);
    }
    tx.texts.set(Text::Path, target.path);
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
            10 if is(b"user-agent") => tx.texts.set(Text::UserAgent, value),
            7 if is(b"referer") => tx.texts.set(Text::Referrer, without_query(value)),
            6 if is(b"origin") => tx.texts.set(Text::Origin, value),
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
    secrets::of_request(scene, tx, fields, target.query);
}

/// Takes an answer's headers into its transaction.
pub(super) fn response(tx: &mut HttpTransaction, fields: &[Field<'_>]) {
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
                    let shown = without_query(value);
                    let shown = without_user(shown);
                    out.push_str(&String::from_utf8_lossy(shown));
                });
            }
            10 if is(b"set-cookie") => secrets::set_cookie(tx, value),
            _ => protective |= protective_name(name).is_some(),
        }
    }
    names(tx, Text::ResponseNames, fields);
    if protective {
        tx.texts.write(Text::Protective, |out| {
            for (name, value) in fields {
                let Some(name) = protective_name(name) else {
                    continue;
                };
                let value = value.get(..256).unwrap_or(value);
                out.push_str(name);
                out.push_str(": ");
                out.push_str(&String::from_utf8_lossy(value).replace(['\n', '\r'], " "));
                out.push('\n');
            }
        });
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
            match std::str::from_utf8(name) {
                Ok(name) => out.push_str(name),
                Err(_) => out.push_str(&String::from_utf8_lossy(name)),
            }
            if let Some(name) = out.get_mut(start..) {
                name.make_ascii_lowercase();
            }
        }
    });
}

/// Names of parameters with the lengths of their values: any value may be a secret.
fn redact_query(query: &[u8], out: &mut String) {
    use std::fmt::Write as _;
    for (number, pair) in query.split(|byte| *byte == b'&').take(64).enumerate() {
        if number > 0 {
            out.push('&');
        }
        match split_at_byte(pair, b'=') {
            Some((name, value)) => {
                let name = name.get(..64).unwrap_or(name);
                out.push_str(&String::from_utf8_lossy(name));
                // Writing into a string cannot fail.
                let _ = write!(out, "=<{}>", value.len());
            }
            // Without a name, all of it is a value.
            None => {
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

/// Nothing of a URI whose authority names a user, who may come with a password.
fn without_user(uri: &[u8]) -> &[u8] {
    let authority = head::target(uri, false).authority.unwrap_or_default();
    if authority.contains(&b'@') {
        return b"";
    }
    uri
}
