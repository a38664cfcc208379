//! Keys that can be found or forged: too short, weak curves, bad exponents,
//! and moduli with a known weakness.

use super::sig::{Curve, Key, bits};
use num_bigint::BigUint;

/// NIST SP 800-57 part 1, and the CA/Browser Forum's Baseline Requirements §6.1.5.
const MIN_RSA_BITS: u32 = 2_048;
const MIN_CURVE_BITS: u32 = 224;
/// Largest key of the library behind ROCA; a larger one would only cost time.
const MAX_ROCA_BITS: u32 = 4_096;

/// Why a key is weak, in words that follow the certificate's name.
pub(super) fn weakness(key: &Key) -> Option<String> {
    match key {
        Key::Rsa { modulus, exponent } => {
            let size = bits(modulus);
            if size < MIN_RSA_BITS {
                return Some(format!("has an RSA key of {size} bits"));
            }
            if **exponent == [1] {
                return Some("has the RSA exponent 1".to_owned());
            }
            if exponent.last().is_none_or(|last| last & 1 == 0) {
                return Some("has an even RSA exponent".to_owned());
            }
            if modulus.last().is_none_or(|last| last & 1 == 0) {
                return Some("has an even RSA modulus".to_owned());
            }
            // Infineon's library made no larger ones.
            (size <= MAX_ROCA_BITS && is_roca(modulus))
                .then(|| "has an RSA key that can be factored (ROCA, CVE-2017-15361)".to_owned())
        }
        Key::Ec { curve, .. } => match curve {
            Curve::Other(oid, Some(size)) if *size < MIN_CURVE_BITS => {
                Some(format!("has a key on a curve of {size} bits ({oid})"))
            }
            _ => None,
        },
        Key::Dsa => Some("has a DSA key".to_owned()),
        Key::Ed25519(_) | Key::Other(_) => None,
    }
}

/// Primes of the fingerprint (Nemec et al., "The Return of Coppersmith's
/// Attack", CCS 2017 §3.1): Infineon's primes are k·M + (65537^a mod M).
const PRIMES: [u32; 17] = [
    11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157,
];

/// Whether the modulus lies in the subgroup of 65537 modulo every prime.
fn is_roca(modulus: &[u8]) -> bool {
    let n = BigUint::from_bytes_be(modulus);
    PRIMES.iter().all(|&prime| {
        let rest = (&n % prime).iter_u32_digits().next().unwrap_or(0);
        let mut power = 1_u32;
        loop {
            if power == rest {
                return true;
            }
            power = power * (65_537 % prime) % prime;
            if power == 1 {
                return false;
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_keys_are_named() {
        let rsa = |len: usize, exponent: &[u8]| Key::Rsa {
            modulus: vec![0xff; len].into(),
            exponent: exponent.into(),
        };
        let weak = |key: Key| weakness(&key).is_some();
        assert!(weak(rsa(128, &[1, 0, 1])));
        assert!(weak(rsa(256, &[1])));
        assert!(weak(rsa(256, &[2])));
        assert!(!weak(rsa(256, &[1, 0, 1])));
        assert!(!weak(rsa(256, &[3])));
        assert!(weak(Key::Dsa));
        assert!(weak(Key::Ec {
            curve: Curve::Other("x".into(), Some(192)),
            point: [].into()
        }));
        assert!(!weak(Key::Ec {
            curve: Curve::P256,
            point: [].into()
        }));
    }

    /// 65537 itself is a power of 65537 modulo everything; 2 is none modulo 11, say.
    #[test]
    fn the_fingerprint_tells_the_subgroup() {
        assert!(is_roca(&[1, 0, 1]));
        assert!(!is_roca(&[0xff; 256]));
    }
}
