//! HKDF-Expand-Label (RFC 8446 §7.1), from which all keys of TLS 1.3 and QUIC follow.

use ring::hkdf::{KeyType, Prk};

struct Len(usize);

impl KeyType for Len {
    fn len(&self) -> usize {
        self.0
    }
}

/// Fills `out` from a secret; none when the label is too long.
pub(in crate::proto) fn expand_label(secret: &Prk, label: &str, out: &mut [u8]) -> Option<()> {
    let len = u16::try_from(out.len()).ok()?.to_be_bytes();
    let label_len = [u8::try_from(6 + label.len()).ok()?];
    let info = [&len[..], &label_len, b"tls13 ", label.as_bytes(), &[0]];
    let expanded = secret.expand(&info, Len(out.len())).ok()?;
    expanded.fill(out).ok()
}
