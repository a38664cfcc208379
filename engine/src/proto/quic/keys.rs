//! Packet protection: keys from secrets, header protection, AEAD. The secrets
//! of Initial packets follow from the connection id that the client made up,
//! so whoever sees it can read them. RFC 9001 §5, RFC 9369 §3.3.

use super::packet::{Long, Version};
use crate::proto::tls::expand_label;
use ring::aead::{self, LessSafeKey, Nonce, UnboundKey, quic};
use ring::hkdf;

/// Keys of one direction at one level.
pub(super) struct Keys {
    header: quic::HeaderProtectionKey,
    packet: PacketKey,
    /// One more than the largest packet number that was read.
    next: u64,
}

/// What seals payloads: the part of the keys that an update changes.
pub(super) struct PacketKey {
    key: LessSafeKey,
    iv: [u8; aead::NONCE_LEN],
}

/// A header without its protection.
pub(super) struct Bare {
    /// Up to the payload.
    header: Vec<u8>,
    number: u64,
}

impl Bare {
    /// The key phase of a short header.
    pub(super) fn phase(&self) -> bool {
        self.header.first().is_some_and(|first| first & 4 != 0)
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys")
    }
}

/// Keys of both ends for Initial packets.
#[derive(Debug)]
pub(super) struct InitialKeys {
    /// What they follow from.
    pub(super) version: u32,
    pub(super) id: Vec<u8>,
    /// `[client, server]`.
    pub(super) ends: [Keys; 2],
}

impl InitialKeys {
    /// The keys that follow from the client's first destination id.
    pub(super) fn new(version: &Version, id: &[u8]) -> Option<Self> {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, version.salt);
        let initial = salt.extract(id);
        let end = |label: &str| {
            let mut secret = [0; 32];
            expand_label(&initial, label, &mut secret)?;
            let prk = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, &secret);
            Keys::new(&prk, version, &aead::AES_128_GCM, &quic::AES_128)
        };
        Some(Self {
            version: version.number,
            id: id.to_vec(),
            ends: [end("client in")?, end("server in")?],
        })
    }
}

impl Keys {
    /// The keys that follow from a level's secret.
    pub(super) fn new(
        secret: &hkdf::Prk,
        version: &Version,
        cipher: &'static aead::Algorithm,
        header: &'static quic::Algorithm,
    ) -> Option<Self> {
        let mut hp = [0; 32];
        let hp = hp.get_mut(..header.key_len())?;
        let [_, _, hp_label, _] = version.labels;
        expand_label(secret, hp_label, hp)?;
        let keys = Self {
            header: quic::HeaderProtectionKey::new(header, hp).ok()?,
            packet: PacketKey::new(secret, version, cipher)?,
            next: 0,
        };
        zeroize::Zeroize::zeroize(hp);
        Some(keys)
    }

    /// The payload of a packet; none when its tag does not fit these keys.
    pub(super) fn open(&mut self, long: &Long<'_>) -> Option<Vec<u8>> {
        let (bare, payload) = self.bare(long.header, long.rest, 0x0f)?;
        let payload = self.packet.open(&bare, payload)?;
        self.read(&bare);
        Some(payload)
    }

    /// Takes the protection off a header that ends before `rest`, where the
    /// packet number stands; `bits` of its first byte are protected.
    pub(super) fn bare<'r>(
        &self,
        header: &[u8],
        rest: &'r [u8],
        bits: u8,
    ) -> Option<(Bare, &'r [u8])> {
        let sample = rest.get(4..4 + self.header.algorithm().sample_len())?;
        let [first_mask, mask @ ..] = self.header.new_mask(sample).ok()?;
        let mut header = header.to_vec();
        let first = header.first_mut()?;
        *first ^= first_mask & bits;
        let number_len = usize::from(*first & 3) + 1;
        let (protected, payload) = rest.split_at_checked(number_len)?;
        let mut short = 0_u64;
        for (byte, mask) in protected.iter().zip(mask) {
            let byte = byte ^ mask;
            short = short << 8 | u64::from(byte);
            header.push(byte);
        }
        let number = full_number(self.next, short, number_len);
        Some((Bare { header, number }, payload))
    }

    /// The payload behind a header, by the key in force.
    pub(super) fn open_bare(&self, bare: &Bare, payload: &[u8]) -> Option<Vec<u8>> {
        self.packet.open(bare, payload)
    }

    /// A packet was read.
    pub(super) fn read(&mut self, bare: &Bare) {
        self.next = self.next.max(bare.number.saturating_add(1));
    }

    /// Puts another key in force; gives the one before.
    pub(super) fn update(&mut self, key: PacketKey) -> PacketKey {
        std::mem::replace(&mut self.packet, key)
    }
}

impl PacketKey {
    /// The key that follows from a secret.
    pub(super) fn new(
        secret: &hkdf::Prk,
        version: &Version,
        cipher: &'static aead::Algorithm,
    ) -> Option<Self> {
        let (mut key, mut iv) = ([0; 32], [0; aead::NONCE_LEN]);
        let key = key.get_mut(..cipher.key_len())?;
        let [key_label, iv_label, _, _] = version.labels;
        expand_label(secret, key_label, key)?;
        expand_label(secret, iv_label, &mut iv)?;
        let sealing = UnboundKey::new(cipher, key).ok();
        zeroize::Zeroize::zeroize(key);
        Some(Self {
            key: LessSafeKey::new(sealing?),
            iv,
        })
    }

    /// The payload of a packet; none when its tag does not fit.
    pub(super) fn open(&self, bare: &Bare, payload: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = self.iv;
        let (_, low) = nonce.split_at_mut(aead::NONCE_LEN - 8);
        for (byte, number) in low.iter_mut().zip(bare.number.to_be_bytes()) {
            *byte ^= number;
        }
        let mut payload = payload.to_vec();
        let len = self
            .key
            .open_in_place(
                Nonce::assume_unique_for_key(nonce),
                aead::Aad::from(&bare.header),
                &mut payload,
            )
            .ok()?
            .len();
        payload.truncate(len);
        Some(payload)
    }
}

impl std::fmt::Debug for PacketKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PacketKey")
    }
}

#[cfg(test)]
impl Keys {
    /// A packet of one-byte number: what [`Self::open`] undoes.
    pub(super) fn seal(&self, header: &[u8], number: u8, payload: &[u8]) -> Vec<u8> {
        let short = header.first().is_some_and(|first| first & 0x80 == 0);
        let mut header = header.to_vec();
        header.push(number);
        let mut nonce = self.packet.iv;
        nonce[11] ^= number;
        let mut body = payload.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.packet
            .key
            .seal_in_place_append_tag(nonce, aead::Aad::from(&header), &mut body)
            .expect("sealed");
        let mask = self.header.new_mask(&body[3..19]).expect("a sample");
        header[0] ^= mask[0] & if short { 0x1f } else { 0x0f };
        if let Some(last) = header.last_mut() {
            *last ^= mask[1];
        }
        header.extend(body);
        header
    }
}

/// RFC 9000 §A.3: the number nearest to the one that is expected.
fn full_number(expected: u64, short: u64, len: usize) -> u64 {
    let window = 1_u64 << (8 * len);
    let candidate = expected & !(window - 1) | short;
    if candidate.saturating_add(window / 2) <= expected && candidate < (1 << 62) - window {
        candidate + window
    } else if candidate > expected.saturating_add(window / 2) && candidate >= window {
        candidate - window
    } else {
        candidate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packet_numbers_are_completed() {
        // The example of RFC 9000 §A.3.
        assert_eq!(full_number(0xa82f_30eb, 0x9b32, 2), 0xa82f_9b32);
        assert_eq!(full_number(0, 0, 1), 0);
        assert_eq!(full_number(255, 0, 1), 256);
        assert_eq!(full_number(256, 255, 1), 255);
    }
}
