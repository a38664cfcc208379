//! Reads JSON Web Tokens (RFC 7519) for what they say of themselves. Nothing
//! here is trusted: no capture holds the key to check a signature with.

use super::content::json_texts;
use crate::proto::credential::{Redactor, SecretHash};
use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

/// What a token says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Jwt {
    /// `alg` of the header (RFC 7515 §4.1.1); empty when there is none.
    pub alg: Box<str>,
    /// `iss`.
    pub iss: Option<Box<str>>,
    /// Keyed hash of `sub`.
    pub sub: Option<SecretHash>,
    /// `iat`, seconds since the epoch.
    pub iat: Option<i64>,
    /// `nbf`, seconds since the epoch.
    pub nbf: Option<i64>,
    /// `exp`, seconds since the epoch.
    pub exp: Option<i64>,
    /// Encrypted (RFC 7516): its claims are not for anyone to read.
    pub encrypted: bool,
    /// It begins as a token and does not go on as one.
    pub malformed: bool,
    /// The signature is empty.
    pub unsigned: bool,
}

impl Jwt {
    pub(super) fn heap_bytes(&self) -> usize {
        self.alg.len() + self.iss.as_ref().map_or(0, |iss| iss.len())
    }
}

/// Longest token that is read.
const MAX_TOKEN: usize = 16 << 10;
/// Longest text kept of one.
const MAX_CLAIM: usize = 128;

/// RFC 7515 §2 has no padding; some issuers add it all the same.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Reads a token; none when it does not begin as one (`{"` in base64).
pub(super) fn read(token: &[u8], redactor: &Redactor) -> Option<Jwt> {
    if !token.starts_with(b"eyJ") && !token.starts_with(b"ewog") && !token.starts_with(b"eyAi") {
        return None;
    }
    let malformed = || Jwt {
        malformed: true,
        ..Jwt::default()
    };
    if token.len() > MAX_TOKEN {
        return Some(malformed());
    }
    let mut parts = token.split(|byte| *byte == b'.');
    let (header, claims, signature) = (parts.next()?, parts.next(), parts.next());
    let more = parts.count();
    // Many an opaque value is base64 of JSON; without a dot it is no token.
    let claims = claims?;
    let mut jwt = Jwt::default();
    let mut header_read = false;
    if let Some(header) = decode(header) {
        header_read = json_texts(&header, |name, value| match name {
            b"alg" => jwt.alg = value.shown(MAX_CLAIM).unwrap_or_default().into(),
            b"enc" => jwt.encrypted = true,
            _ => {}
        });
    }
    // RFC 7516 §3.1: five parts.
    if header_read && jwt.encrypted && more == 2 {
        return Some(jwt);
    }
    let Some(signature) = signature.filter(|_| header_read && more == 0) else {
        return Some(malformed());
    };
    jwt.unsigned = signature.is_empty();
    let claims_read = decode(claims).is_some_and(|claims| {
        json_texts(&claims, |name, value| match name {
            b"iss" => jwt.iss = value.shown(MAX_CLAIM).map(Into::into),
            b"sub" => jwt.sub = Some(redactor.user(value.raw())),
            b"iat" => jwt.iat = value.seconds(),
            b"nbf" => jwt.nbf = value.seconds(),
            b"exp" => jwt.exp = value.seconds(),
            _ => {}
        })
    });
    Some(if claims_read { jwt } else { malformed() })
}

fn decode(part: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut out = Zeroizing::new(Vec::with_capacity(part.len()));
    LENIENT.decode_vec(part, &mut out).ok()?;
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    fn token(header: &str, claims: &str, signature: &str) -> String {
        format!(
            "{}.{}.{signature}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims)
        )
    }

    #[test]
    fn a_token_says_what_it_is() {
        let text = token(
            r#"{"typ":"JWT","alg":"RS256"}"#,
            r#"{"iss":"https://id.example","sub":"me","iat":1600000000,"exp":1600003600.5,"nested":{"exp":1}}"#,
            "c2ln",
        );
        let jwt = read(text.as_bytes(), &Redactor::unkeyed()).expect("a token");
        assert_eq!(
            (&*jwt.alg, jwt.iss.as_deref()),
            ("RS256", Some("https://id.example"))
        );
        assert_eq!(
            (jwt.iat, jwt.exp, jwt.nbf),
            (Some(1_600_000_000), Some(1_600_003_600), None)
        );
        assert!(jwt.sub.is_some() && !jwt.unsigned && !jwt.malformed);
        // RFC 7519 §6.1: an unsecured token.
        let jwt = read(b"eyJhbGciOiJub25lIn0.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.", &Redactor::unkeyed()).expect("a token");
        assert_eq!(
            (&*jwt.alg, jwt.exp, jwt.unsigned),
            ("none", Some(1_300_819_380), true)
        );
    }

    #[test]
    fn what_begins_as_a_token_and_is_none_is_malformed() {
        for wrong in [
            "eyJhbGciOiJub25lIn0.x",
            "eyJhbGciOiJub25lIn0.!!!.x",
            "eyJx.eyJ9.z",
            "eyJhbGciOiJub25lIn0.e30.a.b",
        ] {
            assert!(
                read(wrong.as_bytes(), &Redactor::unkeyed()).is_some_and(|jwt| jwt.malformed),
                "{wrong}"
            );
        }
        for other in ["", "abc", "eyJhbGciOiJub25lIn0", "sk-1234"] {
            assert_eq!(
                read(other.as_bytes(), &Redactor::unkeyed()),
                None,
                "{other}"
            );
        }
    }
}
