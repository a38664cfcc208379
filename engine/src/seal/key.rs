//! The sealing key: where it comes from, what is derived from it. The secret
//! stays in memory that is wiped, and is never printed.
//!
//! Every use has a key of its own, derived with HKDF-SHA256 (RFC 5869) under a
//! label that names the use, so that nothing made for one can pass for another.

use crate::error::{Error, Result};
use crate::table::column::hex;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::io::Read;
use std::path::Path;
use zeroize::Zeroizing;

/// HMAC-SHA-256.
pub type HmacSha256 = Hmac<Sha256>;

/// Least bytes of a secret.
pub const MIN_SECRET_BYTES: usize = 32;
/// Most bytes read from a key file: more is no key but a mistake.
const MAX_SECRET_BYTES: usize = 64 << 10;

/// What a derived key is for: the HKDF label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// HMAC over an output file.
    File,
    /// HMAC over a manifest.
    Manifest,
    /// The key's public name.
    KeyId,
    /// Keyed hash of a secret seen in a capture.
    Redaction,
    /// HMAC over the lines of a delivery journal.
    Journal,
    /// Signature of alerts: the receiver is given this derived key.
    AlertSignature,
}

impl Purpose {
    /// The label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::File => "nsforensics/v1/file",
            Self::Manifest => "nsforensics/v1/manifest",
            Self::KeyId => "nsforensics/v1/key-id",
            Self::Redaction => "nsforensics/v1/redaction",
            Self::Journal => "nsforensics/v1/journal",
            Self::AlertSignature => "nsforensics/v1/alert-signature",
        }
    }
}

/// A sealing key: held in memory only, wiped when dropped, never printed.
pub struct Key {
    secret: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Key {
    /// A key from the bytes of a secret, used as they are.
    ///
    /// # Errors
    ///
    /// When there are fewer than [`MIN_SECRET_BYTES`]; the message says how to
    /// make a key.
    pub fn from_secret(bytes: &[u8]) -> Result<Self> {
        if bytes.len() < MIN_SECRET_BYTES {
            return Err(Error::Key(format!(
                "the key has {} bytes, and {MIN_SECRET_BYTES} is the least; make one with `openssl rand -base64 32`",
                bytes.len()
            )));
        }
        Ok(Self {
            secret: Zeroizing::new(bytes.to_vec()),
        })
    }

    /// A key from a file; one line break at its end is not part of it, so that
    /// a file and a variable set from it hold the same key.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, is too short or absurdly long, or when
    /// everybody may write it.
    pub fn from_file(path: &Path) -> Result<Self> {
        let mut file = std::fs::File::open(path)
            .map_err(|e| Error::io(path, "cannot open the key file", e))?;
        let meta = file
            .metadata()
            .map_err(|e| Error::io(path, "cannot read the key file", e))?;
        if meta.is_file() {
            check_mode(path, &meta)?;
        }
        // One allocation, so that no copy of the secret stays behind unwiped.
        let mut secret = Zeroizing::new(Vec::with_capacity(MAX_SECRET_BYTES + 1));
        file.by_ref()
            .take(MAX_SECRET_BYTES as u64 + 1)
            .read_to_end(&mut secret)
            .map_err(|e| Error::io(path, "cannot read the key file", e))?;
        if secret.len() > MAX_SECRET_BYTES {
            return Err(Error::Key(format!(
                "{}: longer than {MAX_SECRET_BYTES} bytes: not a key file",
                path.display()
            )));
        }
        let secret = secret.strip_suffix(b"\n").unwrap_or(&secret);
        Self::from_secret(secret).map_err(|e| Error::Key(format!("{}: {e}", path.display())))
    }

    /// A new secret as text: base64 of 32 random bytes of the system.
    ///
    /// # Errors
    ///
    /// When the system has no randomness to give.
    pub fn generate() -> Result<Zeroizing<String>> {
        use base64::Engine as _;
        let mut bytes = Zeroizing::new([0_u8; MIN_SECRET_BYTES]);
        getrandom::fill(bytes.as_mut_slice())
            .map_err(|e| Error::Key(format!("the system gave no random bytes: {e}")))?;
        Ok(Zeroizing::new(
            base64::engine::general_purpose::STANDARD.encode(bytes.as_slice()),
        ))
    }

    /// The key's public name: 16 hex digits that reveal nothing of the secret.
    pub fn id(&self) -> String {
        let mut id = [0_u8; 8];
        self.derive(Purpose::KeyId, &mut id);
        hex(&id)
    }

    /// An HMAC-SHA-256 under the key of one purpose.
    pub fn mac(&self, purpose: Purpose) -> HmacSha256 {
        // HMAC pads a short key with zeros to its block of 64 bytes (RFC 2104 §2).
        let mut block = Zeroizing::new([0_u8; 64]);
        let (key, _) = block.split_at_mut(32);
        self.derive(purpose, key);
        HmacSha256::new(&(*block).into())
    }

    /// HMAC of `message`, hex.
    pub fn mac_hex(&self, purpose: Purpose, message: &[u8]) -> String {
        let mut mac = self.mac(purpose);
        mac.update(message);
        hex(&mac.finalize().into_bytes())
    }

    /// A keyed hash by which the same secret can be recognised again, and from
    /// which it cannot be found: 32 hex digits. `class` is what kind of secret
    /// it is; the same bytes of two classes give two hashes.
    pub fn redact(&self, class: &str, secret: &[u8]) -> String {
        let mut mac = self.mac(Purpose::Redaction);
        mac.update(&(class.len() as u64).to_be_bytes());
        mac.update(class.as_bytes());
        mac.update(secret);
        let mut text = hex(&mac.finalize().into_bytes());
        text.truncate(32);
        text
    }

    pub(super) fn derive(&self, purpose: Purpose, out: &mut [u8]) {
        let hkdf = hkdf::Hkdf::<Sha256>::new(None, &self.secret);
        // Fails only beyond 255 blocks of output; these are one.
        let expanded = hkdf.expand(purpose.label().as_bytes(), out);
        debug_assert!(expanded.is_ok());
    }
}

#[cfg(unix)]
fn check_mode(path: &Path, meta: &std::fs::Metadata) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = meta.permissions().mode();
    if mode & 0o002 != 0 {
        return Err(Error::Key(format!(
            "{}: everybody may write this key file, so anybody may have put the key there; `chmod 600` it",
            path.display()
        )));
    }
    if mode & 0o077 != 0 {
        tracing::warn!(
            path = %path.display(),
            mode = format_args!("{:03o}", mode & 0o777),
            "the key file is open to others than its owner; `chmod 600` it"
        );
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_mode(_path: &Path, _meta: &std::fs::Metadata) -> Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

    #[test]
    fn short_secrets_are_refused_with_the_way_to_make_one() {
        let error = Key::from_secret(&SECRET[..31]).unwrap_err().to_string();
        assert!(error.contains("31 bytes"), "{error}");
        assert!(error.contains("openssl rand -base64 32"), "{error}");
        assert!(Key::from_secret(SECRET).is_ok());
    }

    #[test]
    fn a_key_prints_nothing() {
        assert_eq!(format!("{:?}", Key::from_secret(SECRET).unwrap()), "Key(…)");
    }

    #[test]
    fn derived_keys_are_those_of_rfc_5869() {
        // Computed with Python: prk = HMAC(32 zeros, secret);
        // okm = HMAC(prk, label + b"\x01").
        let key = Key::from_secret(SECRET).unwrap();
        let mut id = [0_u8; 32];
        key.derive(Purpose::KeyId, &mut id);
        let prk = {
            let mut mac = HmacSha256::new_from_slice(&[0; 32]).unwrap();
            mac.update(SECRET);
            mac.finalize().into_bytes()
        };
        let mut mac = HmacSha256::new_from_slice(&prk).unwrap();
        mac.update(b"nsforensics/v1/key-id\x01");
        assert_eq!(hex(&mac.finalize().into_bytes()), hex(&id));
        assert_eq!(key.id(), hex(&id[..8]));
    }

    #[test]
    fn one_line_break_at_the_end_of_a_file_is_not_part_of_the_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let id = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            Key::from_file(&path).map(|key| key.id())
        };
        let plain = Key::from_secret(SECRET).unwrap().id();
        assert_eq!(id(SECRET).unwrap(), plain);
        assert_eq!(id(&[SECRET, b"\n"].concat()).unwrap(), plain);
        assert_ne!(id(&[SECRET, b"\n\n"].concat()).unwrap(), plain);
        assert!(id(&[b"x".repeat(31), b"\n".to_vec()].concat()).is_err());
        assert!(id(&vec![7; MAX_SECRET_BYTES + 1]).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_key_file_that_everybody_may_write_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, SECRET).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        assert!(matches!(Key::from_file(&path), Err(Error::Key(_))));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(Key::from_file(&path).is_ok());
    }

    #[test]
    fn redaction_recognises_a_secret_and_keeps_classes_apart() {
        let key = Key::from_secret(SECRET).unwrap();
        assert_eq!(
            key.redact("cookie", b"s3cret"),
            key.redact("cookie", b"s3cret")
        );
        assert_ne!(
            key.redact("cookie", b"s3cret"),
            key.redact("bearer", b"s3cret")
        );
        assert_ne!(key.redact("ab", b"c"), key.redact("a", b"bc"));
        assert_eq!(key.redact("cookie", b"s3cret").len(), 32);
    }

    #[test]
    fn generated_keys_are_usable_and_differ() {
        let (a, b) = (Key::generate().unwrap(), Key::generate().unwrap());
        assert_ne!(*a, *b);
        assert!(Key::from_secret(a.as_bytes()).is_ok());
    }
}
