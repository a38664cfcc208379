//! Certificates that a shard has met, so that each is hashed and parsed once:
//! a few dozen chains make up nearly all the handshakes of a capture.

use super::{Certificate, fields};
use foldhash::quality::RandomState;
use hashbrown::HashTable;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::hash::BuildHasher;
use std::sync::Arc;

/// Certificates and bytes of DER that a cache keeps; beyond either it begins
/// anew, which costs time and changes no result.
const MAX_ENTRIES: usize = 512;
const MAX_BYTES: usize = 1 << 20;

/// Certificates that a shard has met.
#[derive(Debug, Default)]
pub struct CertificateCache {
    hasher: RandomState,
    known: HashTable<Arc<Certificate>>,
    bytes: usize,
}

impl CertificateCache {
    /// The certificate with this DER, parsed now or before.
    pub fn get(&mut self, der: &[u8]) -> Arc<Certificate> {
        let hash = self.hasher.hash_one(der);
        if let Some(known) = self.known.find(hash, |known| *known.der == *der) {
            return Arc::clone(known);
        }
        if self.known.len() >= MAX_ENTRIES || self.bytes + der.len() > MAX_BYTES {
            self.known.clear();
            self.bytes = 0;
        }
        let certificate = Arc::new(Certificate {
            fingerprint: Sha256::digest(der).into(),
            fingerprint_sha1: Sha1::digest(der).into(),
            der: der.into(),
            fields: fields::parse(der).map(Box::new),
        });
        self.bytes += der.len();
        let hasher = &self.hasher;
        self.known
            .insert_unique(hash, Arc::clone(&certificate), |known| {
                hasher.hash_one(&*known.der)
            });
        certificate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_parsed_once_and_others_are_told_apart() {
        let mut cache = CertificateCache::default();
        let (a, again, b) = (cache.get(b"a"), cache.get(b"a"), cache.get(b"b"));
        assert!(Arc::ptr_eq(&a, &again) && !Arc::ptr_eq(&a, &b));
        assert!(a.fields.is_err());
    }

    #[test]
    fn many_different_certificates_stay_within_the_budget() {
        let mut cache = CertificateCache::default();
        for number in 0..5_000_u32 {
            cache.get(&[number.to_be_bytes().as_slice(), &[0; 1_000]].concat());
            assert!(cache.known.len() <= MAX_ENTRIES && cache.bytes <= MAX_BYTES);
        }
    }
}
