//! Certificates that have been met, so that each is hashed and parsed once: a
//! few dozen chains make up nearly all the handshakes of a capture. Each shard
//! has its own, and asks the one that all share for what it does not know.

use super::{Certificate, fields};
use foldhash::quality::RandomState;
use hashbrown::HashTable;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, PoisonError};

/// Certificates and bytes of DER that a cache keeps; beyond either it begins
/// anew, which costs time and changes no result.
const MAX_ENTRIES: usize = 512;
const MAX_BYTES: usize = 1 << 20;

/// Certificates that any shard has met. What it holds is what would be parsed
/// again: results do not depend on it.
#[derive(Debug, Default)]
pub struct KnownCertificates(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    hasher: RandomState,
    table: HashTable<Arc<Certificate>>,
    bytes: usize,
}

/// Certificates that a shard has met.
#[derive(Debug, Default)]
pub struct CertificateCache {
    own: Known,
    shared: Arc<KnownCertificates>,
}

impl CertificateCache {
    /// An empty one that asks `shared` for what it does not know.
    pub fn sharing(shared: &Arc<KnownCertificates>) -> Self {
        Self {
            own: Known::default(),
            shared: Arc::clone(shared),
        }
    }

    /// The certificate with this DER, parsed now or before.
    pub fn get(&mut self, der: &[u8]) -> Arc<Certificate> {
        let hash = self.own.hasher.hash_one(der);
        if let Some(known) = self.own.find(hash, der) {
            return known;
        }
        let certificate = self.shared.get(der);
        self.own.insert(hash, &certificate);
        certificate
    }
}

impl KnownCertificates {
    fn get(&self, der: &[u8]) -> Arc<Certificate> {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let hash = {
            let known = lock();
            let hash = known.hasher.hash_one(der);
            if let Some(known) = known.find(hash, der) {
                return known;
            }
            hash
        };
        // Without the lock: another shard may parse it too, with the same result.
        let certificate = Arc::new(Certificate {
            fingerprint: Sha256::digest(der).into(),
            fingerprint_sha1: Sha1::digest(der).into(),
            der: der.into(),
            fields: fields::parse(der).map(Box::new),
        });
        let mut known = lock();
        if known.find(hash, der).is_none() {
            known.insert(hash, &certificate);
        }
        certificate
    }
}

impl Known {
    fn find(&self, hash: u64, der: &[u8]) -> Option<Arc<Certificate>> {
        let known = self.table.find(hash, |known| *known.der == *der);
        known.map(Arc::clone)
    }

    fn insert(&mut self, hash: u64, certificate: &Arc<Certificate>) {
        if self.table.len() >= MAX_ENTRIES || self.bytes + certificate.der.len() > MAX_BYTES {
            self.table.clear();
            self.bytes = 0;
        }
        self.bytes += certificate.der.len();
        let hasher = &self.hasher;
        self.table
            .insert_unique(hash, Arc::clone(certificate), |known| {
                hasher.hash_one(&*known.der)
            });
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
            for known in [&cache.own, &*cache.shared.0.lock().unwrap()] {
                assert!(known.table.len() <= MAX_ENTRIES && known.bytes <= MAX_BYTES);
            }
        }
    }
}
