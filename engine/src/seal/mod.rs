//! Manifest, HMAC, key ids, verification, re-sealing.

/// A sealing key: held in memory only, wiped when dropped, never printed.
pub struct Key {
    _secret: zeroize::Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}
