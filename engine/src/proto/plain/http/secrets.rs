//! Credentials in HTTP requests: how long they are and of which class, never
//! what they say (RFC 9110 §11, RFC 6265, RFC 7617, RFC 6750).

use super::super::reader::Scene;
use super::super::text::{basic_secret_len, bounded, contains_any_case, split_at_byte, split_word};
use super::content::identity;
use super::head::Field;
use super::jwt;
use super::transaction::{
    Carrier, HttpCredential, HttpTransaction, MAX_OF_A_KIND, SetCookie, Text,
};

/// Header names that carry a key by themselves.
const KEY_HEADERS: &[&[u8]] = &[
    b"x-api-key",
    b"api-key",
    b"apikey",
    b"x-apikey",
    b"x-api-token",
    b"x-auth-token",
    b"x-access-token",
    b"x-auth-key",
    b"x-amz-security-token",
    b"x-vault-token",
    b"x-goog-api-key",
    b"private-token",
    b"ocp-apim-subscription-key",
];

/// Parts of cookie names that suggest a session.
const SESSION_NAMES: &[&[u8]] = &[
    b"sess",
    b"sid",
    b"auth",
    b"token",
    b"jwt",
    b"login",
    b"logged_in",
    b"remember",
    b"sso",
    b"saml",
    b"csrf",
];

/// Names of form fields and query parameters that hold a password or a key.
const SECRET_FIELDS: &[&[u8]] = &[
    b"password",
    b"passwd",
    b"passwort",
    b"pwd",
    b"pass",
    b"passphrase",
    b"user_pass",
    b"login_password",
    b"userpassword",
    b"secret",
    b"client_secret",
    b"access_token",
    b"refresh_token",
    b"auth_token",
    b"api_key",
    b"apikey",
    b"api-key",
];

/// Longest name of a header, cookie or parameter kept.
const MAX_NAME: usize = 64;

/// Notes what a request's headers and target give away.
pub(super) fn of_request(
    scene: &mut Scene<'_, '_>,
    tx: &mut HttpTransaction,
    fields: &[Field<'_>],
    query: Option<&[u8]>,
) {
    for (name, value) in fields {
        // Nearly no header is one of these: look at the first letter first.
        match name.first().map(u8::to_ascii_lowercase) {
            Some(b'a' | b'p') if is_authorization(name) => authorization(scene, tx, name, value),
            Some(b'c') if name.eq_ignore_ascii_case(b"cookie") => cookie(scene, tx, value),
            Some(b'a' | b'x' | b'p' | b'o') if is_key_header(name) && !value.is_empty() => {
                note(
                    scene,
                    tx,
                    "http_api_key",
                    Carrier::Header,
                    name,
                    value,
                    value.len(),
                );
            }
            _ => {}
        }
    }
    if let Some(query) = query {
        form(scene, tx, query, "http_query_secret", Carrier::Query);
    }
}

/// Notes passwords in a urlencoded form.
pub(super) fn of_form(scene: &mut Scene<'_, '_>, tx: &mut HttpTransaction, bytes: &[u8]) {
    form(scene, tx, bytes, "http_form_password", Carrier::Body);
}

/// Whether a field of this name holds a password or a key.
pub(super) fn is_secret_field(name: &[u8]) -> bool {
    let name = name.trim_ascii();
    SECRET_FIELDS
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known))
}

/// Notes a credential: what leaves is class and length.
pub(super) fn note(
    scene: &mut Scene<'_, '_>,
    tx: &mut HttpTransaction,
    class: &'static str,
    carrier: Carrier,
    name: &[u8],
    secret: &[u8],
    len: usize,
) {
    scene.credential(class, len);
    if tx.credentials.len() < MAX_OF_A_KIND {
        tx.credentials.push(HttpCredential {
            class,
            carrier,
            name: bounded(name, MAX_NAME).to_ascii_lowercase().into(),
            len: u32::try_from(len).unwrap_or(u32::MAX),
            identity: identity(secret),
            jwt: jwt::read(secret).map(Box::new),
        });
    }
}

/// Reads a cookie that an answer sets (RFC 6265 §4.1, RFC 6265bis for SameSite).
pub(super) fn set_cookie(tx: &mut HttpTransaction, value: &[u8]) {
    if tx.cookies.len() >= MAX_OF_A_KIND {
        return;
    }
    let mut parts = value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let Some((name, value)) = parts.next().and_then(|pair| split_at_byte(pair, b'=')) else {
        return;
    };
    let mut cookie = SetCookie {
        name: bounded(name.trim_ascii(), MAX_NAME).into(),
        // An empty value takes a cookie back.
        session: suggests_session(name) && !value.trim_ascii().is_empty(),
        secure: false,
        http_only: false,
        same_site: None,
    };
    for part in parts {
        let (name, value) = split_at_byte(part, b'=').unwrap_or((part, &[]));
        let is = |known: &[u8]| name.trim_ascii().eq_ignore_ascii_case(known);
        if is(b"secure") {
            cookie.secure = true;
        } else if is(b"httponly") {
            cookie.http_only = true;
        } else if is(b"samesite") {
            let value = bounded(value.trim_ascii(), 16).to_ascii_lowercase();
            cookie.same_site = Some(value.into());
        }
    }
    tx.cookies.push(cookie);
}

fn is_authorization(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"authorization") || name.eq_ignore_ascii_case(b"proxy-authorization")
}

fn is_key_header(name: &[u8]) -> bool {
    KEY_HEADERS
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known))
}

fn authorization(scene: &mut Scene<'_, '_>, tx: &mut HttpTransaction, name: &[u8], value: &[u8]) {
    let (scheme, token) = split_word(value);
    let own = name.eq_ignore_ascii_case(b"authorization");
    if own {
        tx.texts.set_lower(Text::AuthScheme, scheme);
    }
    if token.is_empty() {
        return;
    }
    let is = |name: &[u8]| scheme.eq_ignore_ascii_case(name);
    let (class, len) = if is(b"Basic") {
        ("http_basic", basic_secret_len(token))
    } else if is(b"Bearer") || is(b"Token") {
        ("http_bearer", token.len())
    } else if is(b"Digest") {
        ("http_digest", token.len())
    } else if is(b"NTLM") {
        ("http_ntlm", token.len())
    } else if is(b"Negotiate") || is(b"Kerberos") {
        ("http_negotiate", token.len())
    } else {
        ("http_authorization", token.len())
    };
    note(scene, tx, class, Carrier::Header, name, token, len);
}

fn cookie(scene: &mut Scene<'_, '_>, tx: &mut HttpTransaction, value: &[u8]) {
    for pair in value.split(|byte| *byte == b';') {
        let Some((name, value)) = split_at_byte(pair, b'=') else {
            continue;
        };
        let (name, value) = (name.trim_ascii(), value.trim_ascii());
        if suggests_session(name) && !value.is_empty() {
            note(
                scene,
                tx,
                "cookie",
                Carrier::Cookie,
                name,
                value,
                value.len(),
            );
        }
    }
}

fn suggests_session(name: &[u8]) -> bool {
    SESSION_NAMES
        .iter()
        .any(|part| contains_any_case(name, part))
}

fn form(
    scene: &mut Scene<'_, '_>,
    tx: &mut HttpTransaction,
    form: &[u8],
    class: &'static str,
    carrier: Carrier,
) {
    for pair in form.split(|byte| *byte == b'&') {
        let Some((name, value)) = split_at_byte(pair, b'=') else {
            continue;
        };
        if is_secret_field(name) && !value.is_empty() {
            note(
                scene,
                tx,
                class,
                carrier,
                name.trim_ascii(),
                value,
                url_decoded_len(value),
            );
        }
    }
}

/// Length of a value once `%41` is one byte again.
fn url_decoded_len(value: &[u8]) -> usize {
    let escapes = value
        .windows(3)
        .filter(|window| {
            matches!(window, [b'%', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit())
        })
        .count();
    value.len().saturating_sub(2 * escapes)
}
