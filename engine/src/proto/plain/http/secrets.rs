//! Credentials in HTTP: class, length and keyed hash, never what they say (RFC
//! 9110 §11, RFC 6265, RFC 7617, RFC 6750). Names behind which secrets stand
//! are those of `rules/secret-names.tsv`.

use super::super::reader::Scene;
use super::super::text::{bounded, decoded, split_at_byte, split_word};
use super::super::{CredentialSeen, Place};
use super::head::Field;
use super::jwt;
use super::transaction::{
    Carrier, HttpCredential, HttpTransaction, MAX_OF_A_KIND, SetCookie, Text,
};
use crate::proto::credential::{Where, is_secret, redacted, shape_of, suggests_session};
use zeroize::Zeroizing;

/// Longest name of a header, cookie or parameter kept.
const MAX_NAME: usize = 64;
/// Longest name of a scheme that is shown.
const MAX_SCHEME: usize = 20;

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
            Some(b'a' | b'x' | b'p' | b'o' | b'j' | b'd' | b'f' | b'c')
                if is_secret(Where::Header, name, value) =>
            {
                let found = Known::token("http_api_key", Carrier::Header);
                note(scene, tx, found, name, value, value.len());
            }
            _ => {}
        }
    }
    if let Some(query) = query {
        form(
            scene,
            tx,
            query,
            Known::token("http_query_secret", Carrier::Query),
        );
    }
}

/// Notes what the segments of a path give away: those behind a word that says
/// so, and values of parameters within them.
pub(super) fn of_path(scene: &mut Scene<'_, '_>, tx: &mut HttpTransaction, path: &[u8]) {
    let mut before: &[u8] = b"";
    for segment in path.split(|byte| *byte == b'/') {
        let known = Known::token("http_path_secret", Carrier::Path);
        if is_secret(Where::Path, before, segment) {
            note(scene, tx, known, before, segment, segment.len());
        } else {
            for pair in segment.split(|byte| *byte == b';') {
                if let Some((name, value)) = split_at_byte(pair, b'=')
                    && is_secret(Where::Parameter, name, value)
                {
                    note(scene, tx, known, name, value, value.len());
                }
            }
        }
        before = segment;
    }
}

/// Notes passwords in a urlencoded form.
pub(super) fn of_form(scene: &mut Scene<'_, '_>, tx: &mut HttpTransaction, bytes: &[u8]) {
    form(
        scene,
        tx,
        bytes,
        Known::password("http_form_password", Carrier::Body),
    );
}

/// A kind of credential, and where it stands.
#[derive(Clone, Copy)]
pub(super) struct Known {
    class: &'static str,
    carrier: Carrier,
    /// Whether somebody may have thought it up: then nothing of it is shown.
    is_password: bool,
}

impl Known {
    pub(super) const fn token(class: &'static str, carrier: Carrier) -> Self {
        Self {
            class,
            carrier,
            is_password: false,
        }
    }

    pub(super) const fn password(class: &'static str, carrier: Carrier) -> Self {
        Self {
            class,
            carrier,
            is_password: true,
        }
    }

    fn place(self) -> Place {
        match self.carrier {
            Carrier::Header => Place::Header,
            Carrier::Cookie => Place::Cookie,
            Carrier::Query => Place::Query,
            Carrier::Path => Place::Path,
            Carrier::Body if self.class == "http_json_secret" => Place::Json,
            Carrier::Body => Place::Form,
        }
    }
}

/// Notes a credential of a request: what leaves is class, length and hash. `len`
/// is the length of the whole, of which `secret` may be the beginning.
pub(super) fn note(
    scene: &mut Scene<'_, '_>,
    tx: &mut HttpTransaction,
    known: Known,
    name: &[u8],
    secret: &[u8],
    len: usize,
) {
    note_of(scene, tx, known, name, (None, secret), len);
}

fn note_of(
    scene: &mut Scene<'_, '_>,
    tx: &mut HttpTransaction,
    known: Known,
    name: &[u8],
    (user, secret): (Option<&[u8]>, &[u8]),
    len: usize,
) {
    let redactor = scene.cx.redactor;
    let shape = shape_of(secret);
    // A password that has the looks of a key is one.
    let redacted = match known.is_password && shape.is_none() {
        true => redactor.password(secret),
        false => redactor.token(secret),
    };
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    // What was cut has no end to show.
    let last4 = redacted.last4.filter(|_| redacted.len == len);
    let name: Box<str> = shown_name(name).to_ascii_lowercase().into();
    let jwt = jwt::read(secret, redactor).map(Box::new);
    scene.note(CredentialSeen {
        class: known.class,
        place: known.place(),
        name: Some(name.clone()),
        shape,
        len,
        hash: Some(redacted.hash),
        last4,
        user: user.map(|user| redactor.user(user)),
        ..CredentialSeen::default()
    });
    if tx.credentials.len() < MAX_OF_A_KIND {
        tx.credentials.push(HttpCredential {
            class: known.class,
            carrier: known.carrier,
            name,
            len,
            hash: redacted.hash,
            last4,
            shape,
            jwt,
        });
    }
}

/// Reads a cookie that an answer sets (RFC 6265 §4.1, RFC 6265bis for SameSite).
pub(super) fn set_cookie(scene: &mut Scene<'_, '_>, tx: &mut HttpTransaction, value: &[u8]) {
    if tx.cookies.len() >= MAX_OF_A_KIND {
        return;
    }
    let mut parts = value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let Some((name, value)) = parts.next().and_then(|pair| split_at_byte(pair, b'=')) else {
        return;
    };
    let mut cookie = SetCookie {
        name: shown_name(name).into(),
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
    if cookie.session {
        let redacted = scene.cx.redactor.token(value.trim_ascii());
        scene.note(CredentialSeen {
            class: "cookie",
            place: Place::SetCookie,
            name: Some(cookie.name.to_ascii_lowercase().into()),
            shape: shape_of(value.trim_ascii()),
            len: redacted.len,
            hash: Some(redacted.hash),
            last4: redacted.last4,
            ..CredentialSeen::default()
        });
    }
    tx.cookies.push(cookie);
}

/// A name without what may be a secret in it, which has to be looked for before the
/// name is cut or in lower case.
fn shown_name(name: &[u8]) -> String {
    bounded(&redacted(name.trim_ascii()), MAX_NAME)
}

fn is_authorization(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"authorization") || name.eq_ignore_ascii_case(b"proxy-authorization")
}

fn authorization(scene: &mut Scene<'_, '_>, tx: &mut HttpTransaction, name: &[u8], value: &[u8]) {
    let (scheme, token) = split_word(value);
    let own = name.eq_ignore_ascii_case(b"authorization");
    // A secret without a scheme is no scheme's name.
    let bare = token.is_empty() && !scheme.is_empty();
    let is_scheme = scheme.len() <= MAX_SCHEME
        && scheme
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
    if own {
        let shown = if bare || !is_scheme { b"none" } else { scheme };
        tx.texts.set_lower(Text::AuthScheme, shown);
    }
    if bare {
        let is_known = [
            &b"basic"[..],
            b"bearer",
            b"digest",
            b"ntlm",
            b"negotiate",
            b"token",
        ]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known));
        if !is_known {
            let known = Known::token("http_authorization", Carrier::Header);
            note(scene, tx, known, name, scheme, scheme.len());
        }
        return;
    }
    if token.is_empty() {
        return;
    }
    let is = |name: &[u8]| scheme.eq_ignore_ascii_case(name);
    let class = if is(b"Basic") {
        let pair = decoded(token);
        let pair = pair.as_deref().and_then(|pair| split_at_byte(pair, b':'));
        let known = Known::password("http_basic", Carrier::Header);
        return match pair {
            Some((user, secret)) => {
                note_of(scene, tx, known, name, (Some(user), secret), secret.len());
            }
            None => note(scene, tx, known, name, token, token.len()),
        };
    } else if is(b"Bearer") || is(b"Token") {
        "http_bearer"
    } else if is(b"Digest") {
        "http_digest"
    } else if is(b"NTLM") {
        "http_ntlm"
    } else if is(b"Negotiate") || is(b"Kerberos") {
        "http_negotiate"
    } else {
        "http_authorization"
    };
    let known = Known::token(class, Carrier::Header);
    note(scene, tx, known, name, token, token.len());
}

fn cookie(scene: &mut Scene<'_, '_>, tx: &mut HttpTransaction, value: &[u8]) {
    for pair in value.split(|byte| *byte == b';') {
        let Some((name, value)) = split_at_byte(pair, b'=') else {
            continue;
        };
        let (name, value) = (name.trim_ascii(), value.trim_ascii());
        if !value.is_empty() && suggests_session(name) {
            let known = Known::token("cookie", Carrier::Cookie);
            note(scene, tx, known, name, value, value.len());
        }
    }
}

fn form(scene: &mut Scene<'_, '_>, tx: &mut HttpTransaction, form: &[u8], known: Known) {
    for pair in form.split(|byte| *byte == b'&') {
        let Some((name, value)) = split_at_byte(pair, b'=') else {
            continue;
        };
        if is_secret(Where::Parameter, name, value) {
            let secret = url_decoded(value);
            note(scene, tx, known, name, &secret, secret.len());
        }
    }
}

/// A value in which `%41` is one byte again, and `+` a blank.
fn url_decoded(value: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(value.len()));
    let mut rest = value;
    while let Some((&byte, after)) = rest.split_first() {
        let digit = |at: usize| char::from(*after.get(at)?).to_digit(16);
        let escaped = (byte == b'%')
            .then(|| Some(digit(0)? * 16 + digit(1)?))
            .flatten();
        match escaped.and_then(|value| u8::try_from(value).ok()) {
            Some(escaped) => {
                out.push(escaped);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                out.push(if byte == b'+' { b' ' } else { byte });
                rest = after;
            }
        }
    }
    out
}
