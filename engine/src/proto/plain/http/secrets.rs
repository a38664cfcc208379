//! Credentials in HTTP requests: how long they are and of which class, never
//! what they say (RFC 9110 §11, RFC 6265, RFC 7617, RFC 6750).

use super::super::reader::Scene;
use super::super::text::{basic_secret_len, contains_any_case, split_at_byte, split_word};
use super::head::Head;

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

/// Notes what a request's head gives away.
pub(super) fn of_request(scene: &mut Scene<'_, '_>, head: &Head<'_>, target: &[u8]) {
    for (name, value) in head.fields() {
        if name.eq_ignore_ascii_case(b"authorization")
            || name.eq_ignore_ascii_case(b"proxy-authorization")
        {
            authorization(scene, value);
        } else if name.eq_ignore_ascii_case(b"cookie") {
            cookie(scene, value);
        } else if !value.is_empty()
            && KEY_HEADERS
                .iter()
                .any(|known| name.eq_ignore_ascii_case(known))
        {
            scene.credential("http_api_key", value.len());
        }
    }
    of_target(scene, target);
}

/// Notes secrets in a target's query.
pub(super) fn of_target(scene: &mut Scene<'_, '_>, target: &[u8]) {
    if let Some((_, query)) = split_at_byte(target, b'?') {
        fields(scene, query, "http_query_secret");
    }
}

/// Notes passwords in a urlencoded form.
pub(super) fn of_form(scene: &mut Scene<'_, '_>, form: &[u8]) {
    fields(scene, form, "http_form_password");
}

fn authorization(scene: &mut Scene<'_, '_>, value: &[u8]) {
    let (scheme, token) = split_word(value);
    if token.is_empty() {
        return;
    }
    let is = |name: &[u8]| scheme.eq_ignore_ascii_case(name);
    if is(b"Basic") {
        scene.credential("http_basic", basic_secret_len(token));
    } else if is(b"Bearer") || is(b"Token") {
        scene.credential("http_bearer", token.len());
    } else if is(b"Digest") {
        scene.credential("http_digest", token.len());
    } else if is(b"NTLM") {
        scene.credential("http_ntlm", token.len());
    } else if is(b"Negotiate") || is(b"Kerberos") {
        scene.credential("http_negotiate", token.len());
    } else {
        scene.credential("http_authorization", token.len());
    }
}

fn cookie(scene: &mut Scene<'_, '_>, value: &[u8]) {
    for pair in value.split(|byte| *byte == b';') {
        let Some((name, value)) = split_at_byte(pair, b'=') else {
            continue;
        };
        let (name, value) = (name.trim_ascii(), value.trim_ascii());
        let suggests = SESSION_NAMES
            .iter()
            .any(|part| contains_any_case(name, part));
        if suggests && !value.is_empty() {
            scene.credential("cookie", value.len());
        }
    }
}

fn fields(scene: &mut Scene<'_, '_>, form: &[u8], class: &'static str) {
    for pair in form.split(|byte| *byte == b'&') {
        let Some((name, value)) = split_at_byte(pair, b'=') else {
            continue;
        };
        let holds_secret = SECRET_FIELDS
            .iter()
            .any(|known| name.trim_ascii().eq_ignore_ascii_case(known));
        if holds_secret && !value.is_empty() {
            scene.credential(class, url_decoded_len(value));
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
