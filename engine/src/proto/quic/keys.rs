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
    packet: LessSafeKey,
    iv: [u8; aead::NONCE_LEN],
    /// One more than the largest packet number that was read.
    next: u64,
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
        let (mut key, mut hp, mut iv) = ([0; 32], [0; 32], [0; aead::NONCE_LEN]);
        let key = key.get_mut(..cipher.key_len())?;
        let hp = hp.get_mut(..header.key_len())?;
        let [key_label, iv_label, hp_label] = version.labels;
        expand_label(secret, key_label, key)?;
        expand_label(secret, iv_label, &mut iv)?;
        expand_label(secret, hp_label, hp)?;
        let keys = Self {
            header: quic::HeaderProtectionKey::new(header, hp).ok()?,
            packet: LessSafeKey::new(UnboundKey::new(cipher, key).ok()?),
            iv,
            next: 0,
        };
        zeroize::Zeroize::zeroize(key);
        zeroize::Zeroize::zeroize(hp);
        Some(keys)
    }

    /// The payload of a packet; none when its tag does not fit these keys.
    pub(super) fn open(&mut self, long: &Long<'_>) -> Option<Vec<u8>> {
        let sample = long.rest.get(4..4 + self.header.algorithm().sample_len())?;
        let [first_mask, mask @ ..] = self.header.new_mask(sample).ok()?;
        let mut header = long.header.to_vec();
        let first = header.first_mut()?;
        *first ^= first_mask & 0x0f;
        let number_len = usize::from(*first & 3) + 1;
        let (protected, payload) = long.rest.split_at_checked(number_len)?;
        let mut short = 0_u64;
        for (byte, mask) in protected.iter().zip(mask) {
            let byte = byte ^ mask;
            short = short << 8 | u64::from(byte);
            header.push(byte);
        }
        let number = full_number(self.next, short, number_len);
        let mut nonce = self.iv;
        let (_, low) = nonce.split_at_mut(aead::NONCE_LEN - 8);
        for (byte, number) in low.iter_mut().zip(number.to_be_bytes()) {
            *byte ^= number;
        }
        let mut payload = payload.to_vec();
        let len = self
            .packet
            .open_in_place(
                Nonce::assume_unique_for_key(nonce),
                aead::Aad::from(&header),
                &mut payload,
            )
            .ok()?
            .len();
        payload.truncate(len);
        self.next = self.next.max(number.saturating_add(1));
        Some(payload)
    }
}

#[cfg(test)]
impl Keys {
    /// A packet of one-byte number: what [`Self::open`] undoes.
    pub(super) fn seal(&self, header: &[u8], number: u8, payload: &[u8]) -> Vec<u8> {
        let mut header = header.to_vec();
        header.push(number);
        let mut nonce = self.iv;
        nonce[11] ^= number;
        let mut body = payload.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.packet
            .seal_in_place_append_tag(nonce, aead::Aad::from(&header), &mut body)
            .expect("sealed");
        let mask = self.header.new_mask(&body[3..19]).expect("a sample");
        header[0] ^= mask[0] & 0x0f;
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
