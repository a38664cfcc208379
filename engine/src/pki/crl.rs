//! Certificate revocation lists (RFC 5280 §5), found in the capture or given by
//! the user. Entries stay in the DER; an index over them finds a serial number.

use super::cert::{Cert, Span, place};
use super::der::{Reader, tag};
use super::ocsp::enumerated;
use super::sig::SigAlg;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Entries of one list: Let's Encrypt's and DigiCert's largest hold a tenth of it.
const MAX_ENTRIES: usize = 4_000_000;

/// A CertificateList.
#[derive(Debug)]
pub struct Crl {
    der: Arc<[u8]>,
    /// SHA-256 of the DER.
    pub(super) fingerprint: [u8; 32],
    signed: Span,
    signature: Span,
    pub(super) sig_alg: SigAlg,
    /// The issuer's name, as compared.
    pub(super) issuer_key: Box<[u8]>,
    /// The issuer's name for people.
    pub(super) issuer_label: Box<str>,
    pub(super) this_update: i64,
    pub(super) next_update: Option<i64>,
    pub(super) scope: Scope,
    /// Where the entries' serial numbers lie, in the order of their bytes.
    index: Vec<Serial>,
}

/// Which certificates a list speaks of.
#[derive(Debug, Default)]
pub(super) struct Scope {
    /// It holds only what changed since another list (RFC 5280 §5.2.4).
    pub(super) delta: bool,
    /// It names certificates of other issuers (RFC 5280 §5.2.5).
    pub(super) indirect: bool,
    pub(super) only_users: bool,
    pub(super) only_cas: bool,
    pub(super) only_attributes: bool,
    pub(super) only_some_reasons: bool,
    /// URIs of the distribution point that it is for; `Some` and empty when it
    /// is for one that is named otherwise.
    pub(super) points: Option<Vec<Box<[u8]>>>,
    /// A critical extension that is not understood.
    pub(super) unknown_critical: bool,
}

/// Place of a serial number: start and length.
type Serial = (u32, u32);

/// An entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// revocationDate, in seconds.
    pub(super) at: i64,
    /// CRLReason.
    pub(super) reason: Option<u8>,
}

impl Crl {
    /// Reads a list; `None` when it is none.
    pub fn parse(der: &Arc<[u8]>) -> Option<Self> {
        let mut outer = Reader(der);
        let mut parts = outer.sequence()?;
        if !outer.is_empty() {
            return None;
        }
        let tbs = parts.expect(tag::SEQUENCE)?;
        let algorithm = parts.expect(tag::SEQUENCE)?;
        let signature = parts.octets_of_bits()?;
        if !parts.is_empty() {
            return None;
        }
        let mut fields = tbs.reader();
        fields.optional(tag::INTEGER)?;
        fields.expect(tag::SEQUENCE)?;
        let issuer = fields.expect(tag::SEQUENCE)?;
        let this_update = fields.time()?;
        let next_update = match fields.peek() {
            Some(tag::UTC_TIME | tag::GENERALIZED_TIME) => Some(fields.time()?),
            _ => None,
        };
        let mut index = Vec::new();
        if let Some(entries) = fields.optional(tag::SEQUENCE)? {
            let mut entries = entries.reader();
            while !entries.is_empty() {
                let serial = entries.sequence()?.expect(tag::INTEGER)?.content;
                if index.len() >= MAX_ENTRIES {
                    return None;
                }
                let place = place(der, serial);
                index.push((
                    u32::try_from(place.start).ok()?,
                    u32::try_from(place.len).ok()?,
                ));
            }
        }
        let mut scope = Scope::default();
        if let Some(extensions) = fields.optional(tag::explicit(0))? {
            scope.read(extensions.reader().sequence()?)?;
        }
        if !fields.is_empty() {
            return None;
        }
        index.sort_unstable_by(|&one, &other| bytes(der, one).cmp(bytes(der, other)));
        Some(Self {
            der: Arc::clone(der),
            fingerprint: Sha256::digest(der).into(),
            signed: place(der, tbs.whole),
            signature: place(der, signature),
            sig_alg: SigAlg::read(algorithm.content),
            issuer_key: super::names::comparable(issuer.content),
            issuer_label: super::names::label(issuer.content).into(),
            this_update,
            next_update,
            scope,
            index,
        })
    }

    /// Whether it says to be signed by an algorithm that is known.
    pub(crate) const fn is_signed_as_known(&self) -> bool {
        !matches!(self.sig_alg, SigAlg::Other(_))
    }

    /// The signed part, and its signature.
    pub(super) fn signed(&self) -> (&[u8], &[u8]) {
        (self.signed.of(&self.der), self.signature.of(&self.der))
    }

    /// The entry of a serial number.
    pub(super) fn entry(&self, serial: &[u8]) -> Option<Entry> {
        let found = self
            .index
            .binary_search_by(|&known| bytes(&self.der, known).cmp(serial))
            .ok()?;
        let &(start, len) = self.index.get(found)?;
        let after = usize::try_from(u64::from(start) + u64::from(len)).ok()?;
        // The date follows the serial number; further entries follow the last field.
        let mut fields = Reader(self.der.get(after..)?);
        let at = fields.time()?;
        let reason = match fields.peek() {
            // crlEntryExtensions, unless it is the next entry: that one begins
            // with an INTEGER.
            Some(tag::SEQUENCE) => reason_of(fields.sequence()?),
            _ => None,
        };
        Some(Entry { at, reason })
    }

    /// Bytes held.
    pub(super) fn heap_bytes(&self) -> usize {
        self.der
            .len()
            .saturating_add(self.index.len().saturating_mul(size_of::<Serial>()))
    }

    /// Whether a certificate that is not on the list is thereby not revoked.
    pub(super) fn speaks_of(&self, cert: &Cert) -> bool {
        let scope = &self.scope;
        let is_ca = cert.is_ca();
        let at_point = match &scope.points {
            None => true,
            Some(points) => points
                .iter()
                .any(|point| cert.ext.crl_points.contains(point)),
        };
        let of_kind = match is_ca {
            true => !scope.only_users,
            false => !scope.only_cas,
        };
        let partial = scope.delta || scope.only_attributes || scope.only_some_reasons;
        at_point && of_kind && !partial
    }
}

fn bytes(der: &[u8], (start, len): Serial) -> &[u8] {
    let (start, len) = (start as usize, len as usize);
    der.get(start..start.saturating_add(len))
        .unwrap_or_default()
}

/// reasonCode (RFC 5280 §5.3.1) of an entry's extensions.
fn reason_of(mut extensions: Reader<'_>) -> Option<u8> {
    while !extensions.is_empty() {
        let mut extension = extensions.sequence()?;
        let oid = extension.expect(tag::OID)?.content;
        extension.optional(tag::BOOLEAN)?;
        let value = extension.expect(tag::OCTET_STRING)?.content;
        if oid == [0x55, 0x1d, 21] {
            return enumerated(Reader(value).expect(tag::ENUMERATED)?.content);
        }
    }
    None
}

impl Scope {
    fn read(&mut self, mut extensions: Reader<'_>) -> Option<()> {
        while !extensions.is_empty() {
            let mut extension = extensions.sequence()?;
            let oid = extension.expect(tag::OID)?.content;
            let critical = match extension.peek()? {
                tag::BOOLEAN => extension.boolean()?,
                _ => false,
            };
            let value = extension.expect(tag::OCTET_STRING)?.content;
            match oid {
                [0x55, 0x1d, 27] => self.delta = true,
                [0x55, 0x1d, 28] => self.distribution_point(Reader(value).sequence()?)?,
                // authorityKeyIdentifier, CRL number, freshest CRL, authority access.
                [0x55, 0x1d, 35 | 20 | 46] => {}
                _ => self.unknown_critical |= critical,
            }
        }
        Some(())
    }

    /// IssuingDistributionPoint (RFC 5280 §5.2.5).
    fn distribution_point(&mut self, mut fields: Reader<'_>) -> Option<()> {
        while !fields.is_empty() {
            let field = fields.any()?;
            let yes = field.content == [0xff];
            match field.tag {
                0xa0 => self.points = Some(point_uris(field.reader())),
                0x81 => self.only_users = yes,
                0x82 => self.only_cas = yes,
                0x83 => self.only_some_reasons = true,
                0x84 => self.indirect = yes,
                0x85 => self.only_attributes = yes,
                _ => return None,
            }
        }
        Some(())
    }
}

/// URIs kept of one distribution point.
const MAX_URIS: usize = 16;

/// The URIs of a DistributionPointName (RFC 5280 §4.2.1.13).
pub(super) fn point_uris(mut name: Reader<'_>) -> Vec<Box<[u8]>> {
    let mut uris = Vec::new();
    if let Some(Some(full)) = name.optional(tag::explicit(0)) {
        let mut names = full.reader();
        while let Some(name) = names.any() {
            if name.tag == 0x86 && uris.len() < MAX_URIS {
                uris.push(name.content.into());
            }
        }
    }
    uris
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &[u8] = include_bytes!("../../../samples/certificates/unit/crl.der");
    const REVOKED: &[u8] = include_bytes!("../../../samples/certificates/unit/crl-revoked.der");
    const LEAF: &str = include_str!("../../../samples/certificates/unit/leaf.pem");

    /// `samples/certificates.py`: three entries, the leaf's among them or not.
    #[test]
    fn entries_are_found_by_their_serial_numbers() {
        let leaf = super::super::pem_certificates(LEAF).next().unwrap();
        let leaf = Cert::parse(&leaf.into()).unwrap();
        let list = Crl::parse(&LIST.into()).unwrap();
        assert_eq!((list.index.len(), list.entry(leaf.serial())), (3, None));
        let list = Crl::parse(&REVOKED.into()).unwrap();
        assert_eq!(list.index.len(), 3);
        let entry = list.entry(leaf.serial()).unwrap();
        assert_eq!(
            (entry.at, entry.reason),
            (list.this_update - 86_400, Some(1))
        );
        assert!(list.speaks_of(&leaf));
        assert_eq!(list.entry(&[]), None);
    }

    #[track_caller]
    fn scope(point: &[u8], speaks_of_a_leaf: bool) {
        let leaf = super::super::pem_certificates(LEAF).next().unwrap();
        let leaf = Cert::parse(&leaf.into()).unwrap();
        let mut list = Crl::parse(&LIST.into()).unwrap();
        list.scope.distribution_point(Reader(point)).unwrap();
        assert_eq!(list.speaks_of(&leaf), speaks_of_a_leaf, "{point:02x?}");
    }

    /// IssuingDistributionPoint (RFC 5280 §5.2.5).
    #[test]
    fn lists_speak_of_what_they_say_to() {
        scope(&[0x81, 1, 0xff], true);
        scope(&[0x82, 1, 0xff], false);
        scope(&[0x83, 2, 6, 0x40], false);
        scope(&[0x85, 1, 0xff], false);
        // Another distribution point than the certificate names.
        scope(&[0xa0, 5, 0xa0, 3, 0x86, 1, b'x'], false);
    }

    #[test]
    fn damage_does_no_harm() {
        for at in 0..REVOKED.len() {
            assert!(Crl::parse(&REVOKED[..at].into()).is_none());
            let mut odd = REVOKED.to_vec();
            odd[at] ^= 0x81;
            if let Some(list) = Crl::parse(&odd.into()) {
                let _ = list.entry(&[1]);
            }
        }
    }
}
