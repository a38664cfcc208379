//! One direction's records under one set of keys: the AEAD suites of TLS 1.2
//! and 1.3, and CBC with its MAC before or after. RFC 5246 §6.2.3, RFC 5288,
//! RFC 6655, RFC 7366, RFC 7905, RFC 8446 §5.2.
//!
//! Nothing leaves here that its tag or MAC does not prove.

use super::prf::Prf;
use crate::proto::tls::suites::{Cipher, Mac, Mode, SuiteInfo};
use aes::{Aes128, Aes256};
use cbc::cipher::array::Array;
use cbc::cipher::{BlockModeDecrypt, KeyIvInit};
use ccm::Ccm;
use ccm::aead::{AeadInOut, KeyInit};
use ccm::consts::{U8, U12, U16};
use ring::aead::{self, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::{hkdf, hmac};
use std::ops::Range;
use zeroize::Zeroizing;

const BLOCK: usize = 16;
/// The part of the nonce that stands in the record (RFC 5288 §3).
const EXPLICIT: usize = 8;
pub(super) const HEADER: usize = 5;

/// A cipher that can be opened here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Gcm128,
    Gcm256,
    ChaCha20,
    /// Key of 16 or 32 bytes, tag of 8 or 16.
    Ccm {
        key: usize,
        tag: usize,
    },
    /// Key of 16 or 32 bytes; how records are authenticated.
    Cbc {
        key: usize,
        mac: Mac,
    },
}

/// What a suite says of its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Protection {
    pub(super) kind: Kind,
    pub(super) sha384: bool,
}

impl Protection {
    /// None when records of this suite cannot be opened here.
    pub(super) fn of(suite: &SuiteInfo) -> Option<Self> {
        let key = usize::from(suite.key_bits / 8);
        let name = suite.name;
        let tag = if name.contains("CCM_8") { 8 } else { 16 };
        let kind = match (suite.cipher, suite.mode) {
            (Cipher::ChaCha20, Mode::Aead) => Kind::ChaCha20,
            (Cipher::Aes, Mode::Aead) if name.contains("CCM") => Kind::Ccm { key, tag },
            (Cipher::Aes, Mode::Aead) if key == 16 => Kind::Gcm128,
            (Cipher::Aes, Mode::Aead) if key == 32 => Kind::Gcm256,
            (Cipher::Aes, Mode::Cbc) => Kind::Cbc {
                key,
                mac: suite.mac,
            },
            _ => return None,
        };
        let readable = match kind {
            Kind::Ccm { key, .. } => matches!(key, 16 | 32),
            Kind::Cbc { key, mac } => matches!(key, 16 | 32) && mac_algorithm(mac).is_some(),
            _ => true,
        };
        readable.then_some(Self {
            kind,
            sha384: name.ends_with("SHA384"),
        })
    }

    pub(super) fn hkdf(self) -> hkdf::Algorithm {
        if self.sha384 {
            hkdf::HKDF_SHA384
        } else {
            hkdf::HKDF_SHA256
        }
    }

    /// The function of TLS 1.2 for its suites, of earlier versions otherwise.
    pub(super) fn prf(self, version: u16) -> Prf {
        match (version, self.sha384) {
            (..0x0303, _) => Prf::Md5Sha1,
            (_, true) => Prf::Sha384,
            (_, false) => Prf::Sha256,
        }
    }

    pub(super) fn key_len(self) -> usize {
        match self.kind {
            Kind::Gcm128 => 16,
            Kind::Gcm256 | Kind::ChaCha20 => 32,
            Kind::Ccm { key, .. } | Kind::Cbc { key, .. } => key,
        }
    }

    /// Bytes of the IV that the key block holds, below TLS 1.3.
    fn salt_len(self, version: u16) -> usize {
        match self.kind {
            Kind::ChaCha20 => NONCE_LEN,
            Kind::Cbc { .. } if version < 0x0302 => BLOCK,
            Kind::Cbc { .. } => 0,
            _ => NONCE_LEN - EXPLICIT,
        }
    }

    fn mac_len(self) -> usize {
        match self.kind {
            Kind::Cbc { mac, .. } => {
                mac_algorithm(mac).map_or(0, |algorithm| algorithm.digest_algorithm().output_len())
            }
            _ => 0,
        }
    }

    /// Cuts a key block into the openers of client and server (RFC 5246 §6.3).
    pub(super) fn openers(
        self,
        version: u16,
        etm: bool,
        fill: impl FnOnce(&mut [u8]),
    ) -> Option<[Opener; 2]> {
        let lens = [self.mac_len(), self.key_len(), self.salt_len(version)];
        let mut block = Zeroizing::new(vec![0; 2 * lens.iter().sum::<usize>()]);
        fill(&mut block);
        let mut rest = block.as_slice();
        let mut parts: [[&[u8]; 2]; 3] = Default::default();
        for (pair, len) in parts.iter_mut().zip(lens) {
            for part in pair {
                (*part, rest) = rest.split_at_checked(len)?;
            }
        }
        let [macs, keys, salts] = parts;
        let end = |end: usize| {
            Opener::below_13(
                self,
                version,
                etm,
                macs.get(end)?,
                keys.get(end)?,
                salts.get(end)?,
            )
        };
        Some([end(0)?, end(1)?])
    }
}

fn mac_algorithm(mac: Mac) -> Option<hmac::Algorithm> {
    Some(match mac {
        Mac::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        Mac::Sha256 => hmac::HMAC_SHA256,
        Mac::Sha384 => hmac::HMAC_SHA384,
        _ => return None,
    })
}

/// What a record held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Opened {
    /// Its true type.
    pub(super) kind: u8,
    /// Where in the body that was given.
    pub(super) place: Range<usize>,
}

/// Opens the records of one direction.
pub(super) struct Opener {
    cipher: Sealed,
    iv: [u8; NONCE_LEN],
    nonce: NonceForm,
    tls13: bool,
    /// Number of the record that comes next.
    pub(super) sequence: u64,
}

enum Sealed {
    Ring(Box<LessSafeKey>),
    Ccm128(Box<Ccm<Aes128, U16, U12>>),
    Ccm128Short(Box<Ccm<Aes128, U8, U12>>),
    Ccm256(Box<Ccm<Aes256, U16, U12>>),
    Ccm256Short(Box<Ccm<Aes256, U8, U12>>),
    Cbc(Box<CbcKeys>),
}

struct CbcKeys {
    key: Zeroizing<Vec<u8>>,
    mac: hmac::Key,
    etm: bool,
    /// TLS 1.0: the IV of the next record is the last block of the one before.
    chained: Option<[u8; BLOCK]>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum NonceForm {
    /// The IV, and the sequence number over it.
    Sequence,
    /// Salt, then eight bytes of the record.
    Explicit,
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opener")
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

impl Opener {
    /// Of a traffic secret of TLS 1.3.
    pub(super) fn of_13(protection: Protection, key: &[u8], iv: [u8; NONCE_LEN]) -> Option<Self> {
        Some(Self {
            cipher: sealed(protection.kind, key)?,
            iv,
            nonce: NonceForm::Sequence,
            tls13: true,
            sequence: 0,
        })
    }

    fn below_13(
        protection: Protection,
        version: u16,
        etm: bool,
        mac: &[u8],
        key: &[u8],
        salt: &[u8],
    ) -> Option<Self> {
        let mut iv = [0; NONCE_LEN];
        let mut nonce = NonceForm::Explicit;
        let cipher = match protection.kind {
            Kind::Cbc { mac: kind, .. } => Sealed::Cbc(Box::new(CbcKeys {
                key: Zeroizing::new(key.to_vec()),
                mac: hmac::Key::new(mac_algorithm(kind)?, mac),
                etm,
                chained: match version {
                    ..0x0302 => Some(salt.try_into().ok()?),
                    _ => None,
                },
            })),
            kind => {
                if kind == Kind::ChaCha20 {
                    nonce = NonceForm::Sequence;
                }
                iv.get_mut(..salt.len())?.copy_from_slice(salt);
                sealed(kind, key)?
            }
        };
        Some(Self {
            cipher,
            iv,
            nonce,
            tls13: false,
            sequence: 0,
        })
    }

    /// Opens a record in place. After a failure the body is of no use.
    pub(super) fn open(&mut self, header: [u8; HEADER], body: &mut [u8]) -> Option<Opened> {
        let opened = match &mut self.cipher {
            Sealed::Cbc(keys) => keys.open(header, self.sequence, body),
            _ => self.open_aead(header, body),
        }?;
        self.sequence = self.sequence.saturating_add(1);
        Some(opened)
    }

    fn open_aead(&self, header: [u8; HEADER], body: &mut [u8]) -> Option<Opened> {
        let [kind, major, minor, _, _] = header;
        let mut nonce = self.iv;
        let start = match self.nonce {
            NonceForm::Sequence => {
                let (_, low) = nonce.split_at_mut(NONCE_LEN - EXPLICIT);
                for (byte, number) in low.iter_mut().zip(self.sequence.to_be_bytes()) {
                    *byte ^= number;
                }
                0
            }
            NonceForm::Explicit => {
                let (_, low) = nonce.split_at_mut(NONCE_LEN - EXPLICIT);
                low.copy_from_slice(body.get(..EXPLICIT)?);
                EXPLICIT
            }
        };
        let sealed = body.get_mut(start..)?;
        let len = if self.tls13 {
            self.cipher.open(nonce, &header, sealed)?
        } else {
            let plain = sealed.len().checked_sub(self.cipher.tag_len())?;
            let [high, low] = u16::try_from(plain).ok()?.to_be_bytes();
            let mut aad = [0; 13];
            let (number, rest) = aad.split_at_mut(8);
            number.copy_from_slice(&self.sequence.to_be_bytes());
            rest.copy_from_slice(&[kind, major, minor, high, low]);
            self.cipher.open(nonce, &aad, sealed)?
        };
        if !self.tls13 {
            return Some(Opened {
                kind,
                place: start..start + len,
            });
        }
        // Content, its type, and zeros (RFC 8446 §5.2).
        let inner = body.get(..len)?;
        let end = inner.iter().rposition(|byte| *byte != 0)?;
        Some(Opened {
            kind: *inner.get(end)?,
            place: 0..end,
        })
    }
}

fn sealed(kind: Kind, key: &[u8]) -> Option<Sealed> {
    let ring = |algorithm| {
        let key = UnboundKey::new(algorithm, key).ok()?;
        Some(Sealed::Ring(Box::new(LessSafeKey::new(key))))
    };
    match kind {
        Kind::Gcm128 => ring(&aead::AES_128_GCM),
        Kind::Gcm256 => ring(&aead::AES_256_GCM),
        Kind::ChaCha20 => ring(&aead::CHACHA20_POLY1305),
        Kind::Ccm { key: 16, tag: 16 } => {
            Some(Sealed::Ccm128(Box::new(Ccm::new_from_slice(key).ok()?)))
        }
        Kind::Ccm { key: 16, .. } => Some(Sealed::Ccm128Short(Box::new(
            Ccm::new_from_slice(key).ok()?,
        ))),
        Kind::Ccm { tag: 16, .. } => Some(Sealed::Ccm256(Box::new(Ccm::new_from_slice(key).ok()?))),
        Kind::Ccm { .. } => Some(Sealed::Ccm256Short(Box::new(
            Ccm::new_from_slice(key).ok()?,
        ))),
        Kind::Cbc { .. } => None,
    }
}

impl Sealed {
    fn tag_len(&self) -> usize {
        match self {
            Self::Ccm128Short(_) | Self::Ccm256Short(_) => 8,
            _ => 16,
        }
    }

    /// Opens in place; gives the length of what was sealed.
    fn open(&self, nonce: [u8; NONCE_LEN], aad: &[u8], body: &mut [u8]) -> Option<usize> {
        let plain = body.len().checked_sub(self.tag_len())?;
        if let Self::Ring(key) = self {
            let nonce = Nonce::assume_unique_for_key(nonce);
            key.open_in_place(nonce, aead::Aad::from(aad), body).ok()?;
            return Some(plain);
        }
        let (text, tag) = body.split_at_mut_checked(plain)?;
        let nonce = Array::from(nonce);
        let text = text.into();
        match self {
            Self::Ccm128(key) => {
                key.decrypt_inout_detached(&nonce, aad, text, &Array::try_from(&*tag).ok()?)
            }
            Self::Ccm128Short(key) => {
                key.decrypt_inout_detached(&nonce, aad, text, &Array::try_from(&*tag).ok()?)
            }
            Self::Ccm256(key) => {
                key.decrypt_inout_detached(&nonce, aad, text, &Array::try_from(&*tag).ok()?)
            }
            Self::Ccm256Short(key) => {
                key.decrypt_inout_detached(&nonce, aad, text, &Array::try_from(&*tag).ok()?)
            }
            Self::Ring(_) | Self::Cbc(_) => return None,
        }
        .ok()?;
        Some(plain)
    }
}

impl CbcKeys {
    fn open(&mut self, header: [u8; HEADER], sequence: u64, body: &mut [u8]) -> Option<Opened> {
        let kind = *header.first()?;
        let mac_len = self.mac.algorithm().digest_algorithm().output_len();
        let explicit = if self.chained.is_some() { 0 } else { BLOCK };
        let mut end = body.len();
        if self.etm {
            // The MAC is over all that stands before it (RFC 7366 §3).
            end = end.checked_sub(mac_len)?;
            let (sealed, mac) = body.split_at_checked(end)?;
            self.verify(sequence, header, sealed, mac)?;
        }
        let sealed = body.get(..end)?;
        let iv: [u8; BLOCK] = match self.chained {
            Some(iv) => iv,
            None => *sealed.first_chunk()?,
        };
        let last = *sealed.last_chunk::<BLOCK>()?;
        let sealed = body.get_mut(explicit..end)?;
        if sealed.is_empty() {
            return None;
        }
        decrypt(&self.key, iv, sealed)?;
        // Padding: so many bytes of this value, and this byte (RFC 5246 §6.2.3.2).
        let padding = *sealed.last()?;
        let mut len = sealed.len().checked_sub(usize::from(padding) + 1)?;
        if sealed.get(len..)?.iter().any(|byte| *byte != padding) {
            return None;
        }
        if !self.etm {
            len = len.checked_sub(mac_len)?;
            let (content, rest) = sealed.split_at_checked(len)?;
            self.verify(sequence, header, content, rest.get(..mac_len)?)?;
        }
        if let Some(chained) = &mut self.chained {
            *chained = last;
        }
        Some(Opened {
            kind,
            place: explicit..explicit + len,
        })
    }

    fn verify(&self, sequence: u64, header: [u8; HEADER], bytes: &[u8], mac: &[u8]) -> Option<()> {
        let [kind, major, minor, _, _] = header;
        let [high, low] = u16::try_from(bytes.len()).ok()?.to_be_bytes();
        let mut context = hmac::Context::with_key(&self.mac);
        context.update(&sequence.to_be_bytes());
        context.update(&[kind, major, minor, high, low]);
        context.update(bytes);
        (context.sign().as_ref() == mac).then_some(())
    }
}

/// AES in CBC mode, in place.
fn decrypt(key: &[u8], iv: [u8; BLOCK], bytes: &mut [u8]) -> Option<()> {
    let (blocks, rest) = Array::<u8, U16>::slice_as_chunks_mut(bytes);
    if !rest.is_empty() {
        return None;
    }
    match key.len() {
        16 => cbc::Decryptor::<Aes128>::new_from_slices(key, &iv)
            .ok()?
            .decrypt_blocks(blocks),
        _ => cbc::Decryptor::<Aes256>::new_from_slices(key, &iv)
            .ok()?
            .decrypt_blocks(blocks),
    }
    Some(())
}
