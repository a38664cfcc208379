//! Secrets seen in passing: what may leave of them, and how they are found.
//!
//! A secret leaves `proto` as class, length, at most its last four characters,
//! and a keyed hash by which it can be recognised again and not found out
//! ([`Redactor`]). Which bytes are one is known by their place (a header, a
//! login) or by their shape: [`shapes`] holds the rules, [`Scan`] applies them to
//! a stream as it passes, [`redact`] to texts that are to be shown.

mod anchors;
mod names;
mod redact;
mod scan;
mod shapes;
mod test;
mod walk;
mod work;

#[cfg(test)]
mod tests;

pub use names::{Where, is_likely, is_secret, suggests_session};
pub(crate) use redact::hides;
pub use redact::{redact, redacted};
pub use scan::Scan;
pub use shapes::{Shapes, shape_of, shapes};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::borrow::Cow;

/// In place of a class: more beginnings overlapped here than are followed, so that
/// one of them may be a secret that is not told of.
pub(crate) const PASSED_OVER: &str = "";

/// First 16 bytes of an HMAC-SHA-256 over a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretHash(pub [u8; 16]);

impl SecretHash {
    /// Its first eight bytes: tells secrets apart within a run.
    pub fn short(self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

/// The bytes of a secret that count: a private key is the same however its lines
/// are cut, also where JSON escapes their ends.
pub fn canonical<'a>(class: &str, secret: &'a [u8]) -> Cow<'a, [u8]> {
    if class != "private_key" {
        return Cow::Borrowed(secret);
    }
    let mut out = Vec::with_capacity(secret.len());
    let mut rest = secret;
    loop {
        rest = match rest {
            [] => break,
            [b'\\', b'n' | b'r' | b't', after @ ..] => after,
            [byte, after @ ..] => {
                if !byte.is_ascii_whitespace() {
                    out.push(*byte);
                }
                after
            }
        };
    }
    Cow::Owned(out)
}

/// What leaves of a secret's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Redacted {
    /// Its length in bytes.
    pub len: u32,
    /// Its keyed hash.
    pub hash: SecretHash,
    /// Its last four characters, where they give nothing away that matters.
    pub last4: Option<[u8; 4]>,
}

/// What a hash is made of: the same bytes as secret and as user give two.
#[derive(Clone, Copy)]
enum Kind {
    Secret,
    User,
}

impl Kind {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Secret => b"secret",
            Self::User => b"user",
        }
    }
}

/// Least bytes of a secret of which the last four may be shown: at least twelve
/// stay hidden.
const LAST4_FROM: usize = 16;

/// Turns secrets into what may leave of them, keyed by the run's own key.
#[derive(Clone)]
pub struct Redactor {
    mac: Hmac<Sha256>,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Redactor(…)")
    }
}

impl Redactor {
    /// Under a key that was derived for this purpose, as an HMAC that was given
    /// nothing yet.
    pub const fn new(mac: Hmac<Sha256>) -> Self {
        Self { mac }
    }

    /// Under a key that everybody knows: for tests and fuzzing alone.
    pub fn unkeyed() -> Self {
        Self::new(Hmac::new(&[0; 64].into()))
    }

    /// A key or token that was made by chance: its end may be shown.
    pub fn token(&self, secret: &[u8]) -> Redacted {
        let last4 = secret
            .last_chunk::<4>()
            .copied()
            .filter(|last| secret.len() >= LAST4_FROM && last.iter().all(u8::is_ascii_graphic));
        Redacted {
            last4,
            ..self.password(secret)
        }
    }

    /// A secret that somebody may have thought up: nothing of it is shown.
    pub fn password(&self, secret: &[u8]) -> Redacted {
        Redacted {
            len: u32::try_from(secret.len()).unwrap_or(u32::MAX),
            hash: self.hash(Kind::Secret, secret),
            last4: None,
        }
    }

    /// The name that came with a secret.
    pub fn user(&self, name: &[u8]) -> SecretHash {
        self.hash(Kind::User, name)
    }

    fn hash(&self, kind: Kind, bytes: &[u8]) -> SecretHash {
        let mut mac = self.mac.clone();
        // As `Key::redact` in `seal` has it: the label's length comes first.
        let label = kind.label();
        mac.update(&(label.len() as u64).to_be_bytes());
        mac.update(label);
        mac.update(bytes);
        let digest = mac.finalize().into_bytes();
        let mut hash = [0; 16];
        for (to, from) in hash.iter_mut().zip(digest) {
            *to = from;
        }
        SecretHash(hash)
    }
}
