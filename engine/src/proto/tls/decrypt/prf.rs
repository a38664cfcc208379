//! The pseudorandom functions of TLS 1.0 to 1.2, from which the keys of their
//! records follow. RFC 2246 §5 (MD5 and SHA-1 together), RFC 5246 §5.

use ring::hmac;
use zeroize::Zeroizing;

/// Which function a session uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prf {
    /// TLS 1.0 and 1.1.
    Md5Sha1,
    /// TLS 1.2.
    Sha256,
    /// TLS 1.2, suites of SHA-384.
    Sha384,
}

impl Prf {
    /// Fills `out` from a secret; `seed` is the label and all that follows it.
    pub(super) fn fill(self, secret: &[u8], seed: &[&[u8]], out: &mut [u8]) {
        match self {
            Self::Sha256 => expand(hmac::HMAC_SHA256, secret, seed, out),
            Self::Sha384 => expand(hmac::HMAC_SHA384, secret, seed, out),
            Self::Md5Sha1 => {
                // The halves share the middle byte of an odd length.
                let half = secret.len().div_ceil(2);
                let first = secret.get(..half).unwrap_or_default();
                let second = secret.get(secret.len() - half..).unwrap_or_default();
                let sha1 = hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY;
                expand(sha1, second, seed, out);
                let mut other = Zeroizing::new(vec![0; out.len()]);
                expand_md5(first, seed, &mut other);
                for (byte, other) in out.iter_mut().zip(other.iter()) {
                    *byte ^= other;
                }
            }
        }
    }
}

/// P_hash (RFC 5246 §5).
fn expand(algorithm: hmac::Algorithm, secret: &[u8], seed: &[&[u8]], out: &mut [u8]) {
    let key = hmac::Key::new(algorithm, secret);
    let step = |before: Option<&[u8]>, with_seed: bool| {
        let mut context = hmac::Context::with_key(&key);
        before.into_iter().for_each(|bytes| context.update(bytes));
        if with_seed {
            seed.iter().for_each(|bytes| context.update(bytes));
        }
        context.sign()
    };
    let mut link = step(None, true);
    for piece in out.chunks_mut(algorithm.digest_algorithm().output_len()) {
        let block = step(Some(link.as_ref()), true);
        for (byte, from) in piece.iter_mut().zip(block.as_ref()) {
            *byte = *from;
        }
        link = step(Some(link.as_ref()), false);
    }
}

/// The same with MD5, which ring does not have.
fn expand_md5(secret: &[u8], seed: &[&[u8]], out: &mut [u8]) {
    use ::hmac::{Hmac, KeyInit, Mac};
    let step = |before: Option<&[u8]>, with_seed: bool| {
        // HMAC takes keys of any length.
        let mut mac = Hmac::<md5::Md5>::new_from_slice(secret).ok()?;
        before.into_iter().for_each(|bytes| mac.update(bytes));
        if with_seed {
            seed.iter().for_each(|bytes| mac.update(bytes));
        }
        Some(mac.finalize().into_bytes())
    };
    let mut link = step(None, true);
    for piece in out.chunks_mut(16) {
        let before = link.as_ref().map(AsRef::as_ref);
        if let Some(block) = step(before, true) {
            for (byte, from) in piece.iter_mut().zip(block) {
                *byte = from;
            }
        }
        link = step(before, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex"))
            .collect()
    }

    /// Vectors that went over the IETF's TLS list in 2009 ("P_hash test vectors").
    #[test]
    fn known_answers() {
        let (secret, seed) = (
            unhex("9bbe436ba940f017b17652849a71db35"),
            unhex("a0ba9f936cda311827a6f796ffd5198c"),
        );
        let mut out = [0; 100];
        Prf::Sha256.fill(&secret, &[b"test label", &seed], &mut out);
        let expected = "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a\
                        6b301791e90d35c9c9a46b4e14baf9af0fa022f7077def17abfd3797c0564bab\
                        4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff701\
                        87347b66";
        assert_eq!(out[..], unhex(expected)[..]);

        let (secret, seed) = (
            unhex("b80b733d6ceefcdc71566ea48e5567df"),
            unhex("cd665cf6a8447dd6ff8b27555edb7465"),
        );
        let mut out = [0; 148];
        Prf::Sha384.fill(&secret, &[b"test label", &seed], &mut out);
        let expected = "7b0c18e9ced410ed1804f2cfa34a336a1c14dffb4900bb5fd7942107e81c83cd\
                        e9ca0faa60be9fe34f82b1233c9146a0e534cb400fed2700884f9dc236f80edd";
        assert_eq!(out[..64], unhex(expected)[..]);
    }
}
