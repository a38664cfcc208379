//! Signatures and keys: what may be verified, and how. ring does what ring
//! does; RSA with MD5 or with small keys, which old captures hold, is computed
//! here (public values only, so that time tells nothing).

use super::der::{Reader, oid_text, tag};
use md5::Md5;
use num_bigint::BigUint;
use ring::signature::{self as ring_sig, RsaParameters, VerificationAlgorithm};
use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

/// Hash of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hash {
    Md2,
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Md2 => "MD2",
            Self::Md5 => "MD5",
            Self::Sha1 => "SHA-1",
            Self::Sha224 => "SHA-224",
            Self::Sha256 => "SHA-256",
            Self::Sha384 => "SHA-384",
            Self::Sha512 => "SHA-512",
        }
    }

    /// Broken for signatures (RFC 6149, RFC 6151, RFC 9155).
    pub(crate) const fn is_weak(self) -> bool {
        matches!(self, Self::Md2 | Self::Md5 | Self::Sha1)
    }
}

/// A signature algorithm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SigAlg {
    RsaPkcs1(Hash),
    RsaPss(Hash),
    Ecdsa(Hash),
    Dsa(Hash),
    Ed25519,
    Other(Box<str>),
}

impl SigAlg {
    /// From the content of an AlgorithmIdentifier.
    pub(crate) fn read(content: &[u8]) -> Self {
        let mut fields = Reader(content);
        let Some(oid) = fields.expect(tag::OID) else {
            return Self::Other("no OID".into());
        };
        let other = || Self::Other(oid_text(oid.content).into());
        match oid.content {
            // 1.2.840.113549.1.1.x
            [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, last] => match last {
                2 => Self::RsaPkcs1(Hash::Md2),
                4 => Self::RsaPkcs1(Hash::Md5),
                5 => Self::RsaPkcs1(Hash::Sha1),
                10 => pss(fields).map_or_else(other, Self::RsaPss),
                11 => Self::RsaPkcs1(Hash::Sha256),
                12 => Self::RsaPkcs1(Hash::Sha384),
                13 => Self::RsaPkcs1(Hash::Sha512),
                14 => Self::RsaPkcs1(Hash::Sha224),
                _ => other(),
            },
            // 1.3.14.3.2.29, the OIW's name for the same.
            [0x2b, 0x0e, 3, 2, 29] => Self::RsaPkcs1(Hash::Sha1),
            // 1.2.840.10045.4.x
            [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1] => Self::Ecdsa(Hash::Sha1),
            [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, last] => match last {
                1 => Self::Ecdsa(Hash::Sha224),
                2 => Self::Ecdsa(Hash::Sha256),
                3 => Self::Ecdsa(Hash::Sha384),
                4 => Self::Ecdsa(Hash::Sha512),
                _ => other(),
            },
            // 1.2.840.10040.4.3 and 2.16.840.1.101.3.4.3.x
            [0x2a, 0x86, 0x48, 0xce, 0x38, 4, 3] => Self::Dsa(Hash::Sha1),
            [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 1] => Self::Dsa(Hash::Sha224),
            [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 2] => Self::Dsa(Hash::Sha256),
            [0x2b, 0x65, 0x70] => Self::Ed25519,
            _ => other(),
        }
    }

    pub(crate) const fn hash(&self) -> Option<Hash> {
        match self {
            Self::RsaPkcs1(hash) | Self::RsaPss(hash) | Self::Ecdsa(hash) | Self::Dsa(hash) => {
                Some(*hash)
            }
            Self::Ed25519 | Self::Other(_) => None,
        }
    }
}

/// RSASSA-PSS-params (RFC 4055 §3.1): one hash for both uses, as long a salt.
fn pss(mut fields: Reader<'_>) -> Option<Hash> {
    let mut params = fields.sequence()?;
    let hash_of = |element: Reader<'_>| {
        let mut element = element;
        let mut algorithm = element.sequence()?;
        match algorithm.expect(tag::OID)?.content {
            [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1] => Some(Hash::Sha256),
            [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2] => Some(Hash::Sha384),
            [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3] => Some(Hash::Sha512),
            _ => None,
        }
    };
    let hash = hash_of(params.expect(tag::explicit(0))?.reader())?;
    let mut mask = params.expect(tag::explicit(1))?.reader().sequence()?;
    mask.expect(tag::OID)?;
    let same = hash_of(Reader(mask.0))?;
    let salt = params.expect(tag::explicit(2))?.reader().small()?;
    let len = match hash {
        Hash::Sha256 => 32,
        Hash::Sha384 => 48,
        _ => 64,
    };
    (same == hash && salt == len).then_some(hash)
}

/// A curve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Curve {
    P256,
    P384,
    P521,
    /// OID and, where known, bits.
    Other(Box<str>, Option<u32>),
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Rsa {
        modulus: Box<[u8]>,
        exponent: Box<[u8]>,
    },
    Ec {
        curve: Curve,
        point: Box<[u8]>,
    },
    Ed25519(Box<[u8]>),
    Dsa,
    /// By OID.
    Other(Box<str>),
}

impl Key {
    /// From an AlgorithmIdentifier's content and the bits of subjectPublicKey.
    pub(crate) fn read(algorithm: &[u8], bits: &[u8]) -> Self {
        let mut fields = Reader(algorithm);
        let Some(oid) = fields.expect(tag::OID) else {
            return Self::Other("no OID".into());
        };
        let other = || Self::Other(oid_text(oid.content).into());
        match oid.content {
            [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1 | 10] => {
                let numbers = || {
                    let mut key = Reader(bits).sequence()?;
                    // Lenient: a sign byte too many is the signer's business.
                    let (n, e) = (key.expect(tag::INTEGER)?, key.expect(tag::INTEGER)?);
                    Some(Self::Rsa {
                        modulus: unsigned(n.content).into(),
                        exponent: unsigned(e.content).into(),
                    })
                };
                numbers().unwrap_or_else(other)
            }
            [0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1] => Self::Ec {
                curve: curve(fields),
                point: bits.into(),
            },
            [0x2b, 0x65, 0x70] => Self::Ed25519(bits.into()),
            [0x2a, 0x86, 0x48, 0xce, 0x38, 4, 1] => Self::Dsa,
            _ => other(),
        }
    }
}

fn curve(mut fields: Reader<'_>) -> Curve {
    let Some(oid) = fields.expect(tag::OID) else {
        return Curve::Other("explicit parameters".into(), None);
    };
    match oid.content {
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7] => Curve::P256,
        [0x2b, 0x81, 4, 0, 34] => Curve::P384,
        [0x2b, 0x81, 4, 0, 35] => Curve::P521,
        content => {
            let bits = match content {
                [0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 1] => Some(192),
                [0x2b, 0x81, 4, 0, last] => match last {
                    1 | 2 => Some(163),
                    8 | 9 | 30 => Some(160),
                    31 => Some(192),
                    32 | 33 => Some(224),
                    10 => Some(256),
                    _ => None,
                },
                // Brainpool (RFC 5639).
                [0x2b, 0x24, 3, 3, 2, 8, 1, 1, last] => match last {
                    1 | 2 => Some(160),
                    3 | 4 => Some(192),
                    5 | 6 => Some(224),
                    7 | 8 => Some(256),
                    9 | 10 => Some(320),
                    11 | 12 => Some(384),
                    13 | 14 => Some(512),
                    _ => None,
                },
                [0x2a, 0x81, 0x1c, 0xcf, 0x55, 1, 0x82, 0x2d] => Some(256),
                _ => None,
            };
            Curve::Other(oid_text(content).into(), bits)
        }
    }
}

/// An INTEGER's content without leading zeros.
pub(crate) fn unsigned(content: &[u8]) -> &[u8] {
    let zeros = content.iter().take_while(|&&byte| byte == 0).count();
    content.get(zeros..).unwrap_or_default()
}

/// What became of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verified {
    Good,
    Bad,
    /// Nobody here can check it.
    Unsupported,
}

/// Longest RSA key that is computed with: ring's limit.
const MAX_RSA_BYTES: usize = 8_192 / 8;

/// Verifies `signature` over `message`.
pub(crate) fn verify(alg: &SigAlg, key: &Key, message: &[u8], signature: &[u8]) -> Verified {
    match (alg, key) {
        (SigAlg::RsaPkcs1(hash), Key::Rsa { modulus, exponent }) => {
            if modulus.len() > MAX_RSA_BYTES || exponent.len() > 8 {
                return Verified::Unsupported;
            }
            match ring_pkcs1(*hash, modulus.len()) {
                Some(params) if odd_and_common(exponent) => {
                    by_ring_rsa(params, modulus, exponent, message, signature)
                }
                _ => pkcs1(*hash, modulus, exponent, message, signature),
            }
        }
        (SigAlg::RsaPss(hash), Key::Rsa { modulus, exponent }) => {
            let params = match hash {
                Hash::Sha256 => &ring_sig::RSA_PSS_2048_8192_SHA256,
                Hash::Sha384 => &ring_sig::RSA_PSS_2048_8192_SHA384,
                Hash::Sha512 => &ring_sig::RSA_PSS_2048_8192_SHA512,
                _ => return Verified::Unsupported,
            };
            if !(256..=MAX_RSA_BYTES).contains(&modulus.len()) || !odd_and_common(exponent) {
                return Verified::Unsupported;
            }
            by_ring_rsa(params, modulus, exponent, message, signature)
        }
        (SigAlg::Ecdsa(hash), Key::Ec { curve, point }) => {
            let algorithm: &dyn VerificationAlgorithm = match (curve, hash) {
                (Curve::P256, Hash::Sha256) => &ring_sig::ECDSA_P256_SHA256_ASN1,
                (Curve::P256, Hash::Sha384) => &ring_sig::ECDSA_P256_SHA384_ASN1,
                (Curve::P384, Hash::Sha256) => &ring_sig::ECDSA_P384_SHA256_ASN1,
                (Curve::P384, Hash::Sha384) => &ring_sig::ECDSA_P384_SHA384_ASN1,
                _ => return Verified::Unsupported,
            };
            by_ring(algorithm, point, message, signature)
        }
        (SigAlg::Ed25519, Key::Ed25519(point)) => {
            by_ring(&ring_sig::ED25519, point, message, signature)
        }
        (SigAlg::Other(_) | SigAlg::Dsa(_), _) | (_, Key::Other(_)) => Verified::Unsupported,
        // A key of one kind never makes a signature of another.
        _ => Verified::Bad,
    }
}

/// ring's parameters for keys of so many bytes.
fn ring_pkcs1(hash: Hash, len: usize) -> Option<&'static RsaParameters> {
    match hash {
        Hash::Sha1 if len >= 128 => Some(&ring_sig::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY),
        Hash::Sha256 if len >= 128 => {
            Some(&ring_sig::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY)
        }
        Hash::Sha512 if len >= 128 => {
            Some(&ring_sig::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY)
        }
        Hash::Sha384 if len >= 256 => Some(&ring_sig::RSA_PKCS1_2048_8192_SHA384),
        _ => None,
    }
}

/// Exponents that ring takes: odd, at least 3, at most 33 bits.
fn odd_and_common(exponent: &[u8]) -> bool {
    exponent.len() <= 4 && exponent.last().is_some_and(|last| last & 1 == 1) && *exponent != [1]
}

fn by_ring_rsa(
    params: &'static RsaParameters,
    modulus: &[u8],
    exponent: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Verified {
    let key = ring_sig::RsaPublicKeyComponents {
        n: modulus,
        e: exponent,
    };
    match key.verify(params, message, signature) {
        Ok(()) => Verified::Good,
        Err(_) => Verified::Bad,
    }
}

fn by_ring(
    algorithm: &'static dyn VerificationAlgorithm,
    key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Verified {
    let key = ring_sig::UnparsedPublicKey::new(algorithm, key);
    match key.verify(message, signature) {
        Ok(()) => Verified::Good,
        Err(_) => Verified::Bad,
    }
}

/// RSASSA-PKCS1-v1_5 (RFC 8017 §8.2.2) where ring does not do it.
fn pkcs1(
    hash: Hash,
    modulus: &[u8],
    exponent: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Verified {
    // DigestInfo up to the digest (RFC 8017 §9.2, note 1).
    let (prefix, digest): (&[u8], Vec<u8>) = match hash {
        Hash::Md2 => return Verified::Unsupported,
        Hash::Md5 => (
            &[
                0x30, 0x20, 0x30, 0x0c, 6, 8, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2, 5, 5, 0, 4, 16,
            ],
            Md5::digest(message).to_vec(),
        ),
        Hash::Sha1 => (
            &[
                0x30, 0x21, 0x30, 9, 6, 5, 0x2b, 0x0e, 3, 2, 0x1a, 5, 0, 4, 20,
            ],
            Sha1::digest(message).to_vec(),
        ),
        Hash::Sha224 => (
            &[
                0x30, 0x2d, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 4, 5, 0, 4, 28,
            ],
            Sha224::digest(message).to_vec(),
        ),
        Hash::Sha256 => (
            &[
                0x30, 0x31, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0, 4, 32,
            ],
            Sha256::digest(message).to_vec(),
        ),
        Hash::Sha384 => (
            &[
                0x30, 0x41, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2, 5, 0, 4, 48,
            ],
            Sha384::digest(message).to_vec(),
        ),
        Hash::Sha512 => (
            &[
                0x30, 0x51, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3, 5, 0, 4, 64,
            ],
            Sha512::digest(message).to_vec(),
        ),
    };
    let len = modulus.len();
    if signature.len() != len || len < prefix.len() + digest.len() + 11 {
        return Verified::Bad;
    }
    let n = BigUint::from_bytes_be(modulus);
    let s = BigUint::from_bytes_be(signature);
    if s >= n {
        return Verified::Bad;
    }
    let message = s
        .modpow(&BigUint::from_bytes_be(exponent), &n)
        .to_bytes_be();
    let padding = len - 3 - prefix.len() - digest.len();
    let mut expected = vec![0x01];
    expected.resize(1 + padding, 0xff);
    expected.push(0);
    expected.extend_from_slice(prefix);
    expected.extend_from_slice(&digest);
    if message == expected {
        Verified::Good
    } else {
        Verified::Bad
    }
}

/// Bits of a number without leading zeros.
pub(crate) fn bits(number: &[u8]) -> u32 {
    let first = number.first().map_or(0, |byte| byte.leading_zeros());
    u32::try_from(number.len())
        .unwrap_or(u32::MAX / 8)
        .saturating_mul(8)
        .saturating_sub(first)
}
