//! Where revocation is learned from beside the handshake: OCSP responses and
//! lists that passed through the capture over plain HTTP, where anybody may have
//! forged them, and lists that the user gives.

use super::cert::Cert;
use super::crl::Crl;
use super::ocsp::Response;
use super::path::Signatures;
use super::revocation::{list_is_of, response_is_of};
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// Bytes of responses and lists kept of one capture.
const MAX_EVIDENCE_BYTES: usize = 64 << 20;
/// Largest file of lists that is read, bytes.
const MAX_FILE: u64 = 256 << 20;
/// Responses kept for one serial number. Who signed them is known only with the
/// issuer's certificate, which may come later, so that forged ones are kept too.
pub(super) const MAX_RESPONSES: usize = 256;
/// Lists kept for one issuer likewise.
pub(super) const MAX_LISTS: usize = 64;

/// A response or list, and whether its issuer signed it.
#[derive(Debug)]
struct Passed<T> {
    /// The packet that made it whole, counted over all files.
    packet: u64,
    what: Arc<T>,
    /// Certificate and issuer about which it was first asked, and the answer: a
    /// flood of forged ones costs each later handshake a comparison.
    known: OnceLock<(Pair, Standing)>,
}

/// SHA-256 of a certificate and of its issuer's.
type Pair = [[u8; 32]; 2];

/// What a response or list is to a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// About another one.
    Other,
    /// About it, by nobody who may speak of it.
    Forged,
    /// About it, and its issuer vouches for it.
    Sound,
}

impl<T> Passed<T> {
    const fn new(packet: u64, what: Arc<T>) -> Self {
        Self {
            packet,
            what,
            known: OnceLock::new(),
        }
    }

    /// What it is to a certificate, by `check`.
    fn standing(&self, cert: &Cert, issuer: &Cert, check: impl Fn() -> Standing) -> Standing {
        let pair = [cert.fingerprint, issuer.fingerprint];
        let &(asked, answer) = self.known.get_or_init(|| (pair, check()));
        if asked == pair { answer } else { check() }
    }
}

impl Standing {
    const fn of(sound: bool) -> Self {
        if sound { Self::Sound } else { Self::Forged }
    }
}

/// Those of one serial number, or of one issuer.
#[derive(Debug)]
struct Kept<T> {
    all: Vec<Passed<T>>,
    /// Packet of the first that there was no room for.
    left_out: Option<u64>,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self {
            all: Vec::new(),
            left_out: None,
        }
    }
}

/// Responses and lists that passed through the capture.
#[derive(Debug, Default)]
pub struct Evidence {
    responses: BTreeMap<Box<[u8]>, Kept<Response>>,
    lists: BTreeMap<Box<[u8]>, Kept<Crl>>,
    bytes: usize,
    /// Packet of the first that the budget left out, whatever it was about.
    full: Option<u64>,
    left_out: u64,
}

impl Evidence {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.responses.is_empty() && self.lists.is_empty()
    }

    /// Responses and lists that were left out.
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }

    fn room(&mut self, packet: u64, bytes: usize) -> bool {
        let total = self.bytes.saturating_add(bytes);
        if total > MAX_EVIDENCE_BYTES {
            self.left_out = self.left_out.saturating_add(1);
            self.full.get_or_insert(packet);
            return false;
        }
        self.bytes = total;
        true
    }

    /// Adds a response; what is none is passed over.
    pub fn add_response(&mut self, packet: u64, der: &Arc<[u8]>) {
        let Some(response) = Response::parse(der).map(Arc::new) else {
            return;
        };
        let serials: Vec<Box<[u8]>> = response.serials().map(Into::into).collect();
        for serial in serials {
            if let Some(kept) = self.responses.get_mut(&serial) {
                let mut known = kept.all.iter();
                if known.any(|known| known.what.fingerprint == response.fingerprint) {
                    continue;
                }
                if kept.all.len() >= MAX_RESPONSES {
                    kept.left_out.get_or_insert(packet);
                    self.left_out = self.left_out.saturating_add(1);
                    continue;
                }
            }
            if !self.room(packet, der.len()) {
                return;
            }
            let same = self.responses.entry(serial).or_default();
            same.all.push(Passed::new(packet, Arc::clone(&response)));
        }
    }

    /// Adds a list; what is none is passed over.
    pub fn add_list(&mut self, packet: u64, der: &Arc<[u8]>) {
        let Some(list) = Crl::parse(der).map(Arc::new) else {
            return;
        };
        if let Some(kept) = self.lists.get_mut(&list.issuer_key) {
            let mut known = kept.all.iter();
            if known.any(|known| known.what.fingerprint == list.fingerprint) {
                return;
            }
            if kept.all.len() >= MAX_LISTS {
                kept.left_out.get_or_insert(packet);
                self.left_out = self.left_out.saturating_add(1);
                return;
            }
        }
        if self.room(packet, list.heap_bytes()) {
            let same = self.lists.entry(list.issuer_key.clone()).or_default();
            same.all.push(Passed::new(packet, list));
        }
    }

    /// What had passed by `until` and concerns the certificates of a path: all
    /// that their issuers signed, and one forged one where there is nothing else.
    pub(super) fn about(
        &self,
        path: &[Arc<Cert>],
        until: u64,
        signatures: &Signatures,
    ) -> Relevant {
        let mut relevant = Relevant::default();
        if self.is_empty() {
            return relevant;
        }
        let passed = |packet: Option<u64>| packet.is_some_and(|packet| packet <= until);
        for (cert, issuer) in path.iter().zip(path.iter().skip(1)) {
            if let Some(kept) = self.responses.get(cert.serial()) {
                relevant.left_out |= passed(kept.left_out);
                pick(&mut relevant.responses, kept, until, |passed| {
                    let response = &passed.what;
                    passed.standing(cert, issuer, || match response.of(cert, issuer) {
                        None => Standing::Other,
                        Some(_) => Standing::of(response_is_of(response, issuer, signatures)),
                    })
                });
            }
            if let Some(kept) = self.lists.get(&cert.issuer_key) {
                relevant.left_out |= passed(kept.left_out);
                pick(&mut relevant.lists, kept, until, |passed| {
                    let check = || Standing::of(list_is_of(&passed.what, issuer, signatures));
                    passed.standing(issuer, issuer, check)
                });
            }
        }
        relevant.left_out |= passed(self.full);
        relevant
    }
}

/// Those by `until` that are sound; where none is, the first that is about it.
fn pick<T>(
    picked: &mut Vec<Arc<T>>,
    kept: &Kept<T>,
    until: u64,
    standing: impl Fn(&Passed<T>) -> Standing,
) {
    let before = picked.len();
    let mut forged = None;
    for passed in kept.all.iter().filter(|passed| passed.packet <= until) {
        match standing(passed) {
            Standing::Sound => picked.push(Arc::clone(&passed.what)),
            Standing::Forged => {
                forged.get_or_insert(&passed.what);
            }
            Standing::Other => {}
        }
    }
    if picked.len() == before {
        picked.extend(forged.map(Arc::clone));
    }
}

/// Lists that the user gives.
#[derive(Debug, Default)]
pub struct GivenLists {
    lists: Vec<Arc<Crl>>,
}

impl GivenLists {
    /// Adds the lists of a file in PEM or DER; how many there were.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or holds no list.
    pub fn add_file(&mut self, path: &Path) -> Result<usize> {
        let read = || {
            let len = std::fs::metadata(path)?.len();
            if len > MAX_FILE {
                return Err(std::io::Error::other(format!(
                    "is longer than {MAX_FILE} bytes"
                )));
            }
            std::fs::read(path)
        };
        let cannot = "cannot read the revocation list";
        let bytes = read().map_err(|source| Error::io(path, cannot, source))?;
        match self.add(&bytes) {
            0 => {
                let reason = std::io::Error::other("needs a CRL in PEM or DER");
                Err(Error::io(path, "holds no revocation list", reason))
            }
            added => Ok(added),
        }
    }

    /// Adds the lists of bytes in PEM or DER; how many there were.
    pub fn add(&mut self, bytes: &[u8]) -> usize {
        let pem = std::str::from_utf8(bytes).ok();
        let ders: Vec<Vec<u8>> = match pem {
            Some(text) => super::store::pem_blocks(text, "X509 CRL").collect(),
            None => vec![bytes.to_vec()],
        };
        let mut added = 0;
        for list in ders.into_iter().filter_map(|der| Crl::parse(&der.into())) {
            added += 1;
            let at = self
                .lists
                .partition_point(|known| known.fingerprint < list.fingerprint);
            if self.lists.get(at).map(|known| known.fingerprint) != Some(list.fingerprint) {
                self.lists.insert(at, Arc::new(list));
            }
        }
        added
    }

    pub(super) fn lists(&self) -> &[Arc<Crl>] {
        &self.lists
    }

    /// SHA-256 of each, in their order.
    pub fn fingerprints(&self) -> impl Iterator<Item = [u8; 32]> {
        self.lists.iter().map(|list| list.fingerprint)
    }
}

/// What the capture says of one path's certificates.
#[derive(Debug, Default)]
pub(super) struct Relevant {
    pub(super) responses: Vec<Arc<Response>>,
    pub(super) lists: Vec<Arc<Crl>>,
    /// There were more than are kept.
    pub(super) left_out: bool,
}

impl Relevant {
    pub(super) fn is_empty(&self) -> bool {
        self.responses.is_empty() && self.lists.is_empty() && !self.left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::{Revocation, Store, Surroundings, Validator, pem_certificates};
    use crate::proto::x509::CertificateCache;
    use crate::time::CaptureTime;
    use proptest::prelude::*;

    const ROOT: &str = include_str!("../../../samples/certificates/root.pem");
    const CA: &str = include_str!("../../../samples/certificates/unit/ca.pem");
    const LEAF: &str = include_str!("../../../samples/certificates/unit/leaf.pem");
    const GOOD: &[u8] = include_bytes!("../../../samples/certificates/unit/ocsp-good.der");
    const REVOKED: &[u8] = include_bytes!("../../../samples/certificates/unit/ocsp-revoked.der");
    const LIST: &[u8] = include_bytes!("../../../samples/certificates/unit/crl.der");
    const LIST_REVOKED: &[u8] =
        include_bytes!("../../../samples/certificates/unit/crl-revoked.der");

    fn der(pem: &str) -> Vec<u8> {
        pem_certificates(pem).next().unwrap()
    }

    /// The same with another signature, which stands at its end.
    fn forged(der: &[u8], number: usize) -> Arc<[u8]> {
        let mut der = der.to_vec();
        for (at, byte) in number.to_be_bytes().iter().rev().take(2).enumerate() {
            let place = der.len() - 40 - at;
            der[place] ^= byte;
        }
        der.into()
    }

    /// What is said of the leaf by a handshake 30 days after its start, at `until`.
    fn judged(evidence: &Evidence, until: u64) -> Revocation {
        let root = der(ROOT);
        let store = Store::of_certificates("tests", [root.as_slice()]);
        let mut tls = crate::control::testing::tls(0x0303, 0xc02f);
        let mut certificates = CertificateCache::default();
        tls.chain = vec![certificates.get(&der(LEAF)), certificates.get(&der(CA))];
        let start = Cert::parse(&der(LEAF).into()).unwrap().not_before;
        tls.ts = CaptureTime::from_unix(start + 30 * 86_400, 0);
        let around = Surroundings {
            pool: None,
            evidence,
            until,
        };
        let validator = Validator::new(store);
        let validation = validator.handshake(&tls, around).unwrap();
        validation.revocation.clone()
    }

    /// Forged ones before the true one: it is found, as long as there is room.
    #[test]
    fn a_flood_of_forged_responses_does_not_hide_the_true_one() {
        for (forged_before, good) in [(0, true), (16, true), (255, true), (256, false)] {
            let mut evidence = Evidence::default();
            for number in 1..=forged_before {
                evidence.add_response(number as u64, &forged(REVOKED, number));
            }
            evidence.add_response(1_000, &GOOD.into());
            let found = judged(&evidence, 2_000);
            let status = found.ocsp.as_ref().map(|answer| answer.status);
            assert_eq!(status.is_some(), good, "{forged_before}");
            assert_eq!(found.problems, [], "{forged_before}");
            assert_eq!(found.left_out, !good, "{forged_before}");
            assert_eq!(evidence.left_out(), u64::from(!good), "{forged_before}");
            assert_eq!(found.unsound.is_some(), !good, "{forged_before}");
            // Before the true one came, only forged ones had.
            let before = judged(&evidence, 999);
            assert!(before.ocsp.is_none() && !before.left_out);
            assert_eq!(before.unsound.is_some(), forged_before > 0);
        }
    }

    #[test]
    fn a_flood_of_forged_lists_does_not_hide_the_true_one() {
        use crate::pki::CrlStatus;
        for (forged_before, status) in [
            (0, CrlStatus::Revoked),
            (63, CrlStatus::Revoked),
            (64, CrlStatus::Unverified),
        ] {
            let mut evidence = Evidence::default();
            for number in 1..=forged_before {
                evidence.add_list(number as u64, &forged(LIST, number));
            }
            evidence.add_list(1_000, &LIST_REVOKED.into());
            let found = judged(&evidence, 2_000);
            assert_eq!(found.crl, Some(status), "{forged_before}");
            assert_eq!(found.left_out, forged_before == 64);
        }
    }

    proptest! {
        /// Whatever passes among them, the true ones are found, and no forged one counts.
        #[test]
        fn true_ones_are_found_wherever_they_stand(
            order in Just((0..40_usize).collect::<Vec<_>>()).prop_shuffle(),
        ) {
            let mut evidence = Evidence::default();
            for (packet, number) in (1..).zip(&order) {
                let response = match number {
                    0 => GOOD.into(),
                    number => forged(if number % 2 == 0 { GOOD } else { REVOKED }, *number),
                };
                evidence.add_response(packet, &response);
            }
            let found = judged(&evidence, 100);
            prop_assert!(found.problems.is_empty());
            prop_assert_eq!(
                found.ocsp.map(|answer| answer.status),
                Some(crate::pki::OcspStatus::Good)
            );
        }
    }
}
