//! OCSP responses (RFC 6960 §4.2): what they say of which certificate, and who
//! signed them. Read within bounds; whether to believe them is [`super::revocation`]'s.

use super::cert::{Cert, Span, place};
use super::der::{Element, Reader, tag, time};
use super::sig::SigAlg;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};
use std::sync::Arc;

/// Certificates that one response speaks of; CAs answer for one at a time.
const MAX_SINGLES: usize = 64;
/// Certificates that come with a response; one is needed.
const MAX_CERTIFICATES: usize = 4;

/// An OCSPResponse.
#[derive(Debug)]
pub struct Response {
    pub(super) der: Arc<[u8]>,
    /// SHA-256 of `der`.
    pub(super) fingerprint: [u8; 32],
    /// OCSPResponseStatus; 0 is successful.
    pub(super) status: u8,
    pub(super) basic: Option<Basic>,
}

/// A BasicOCSPResponse.
#[derive(Debug)]
pub(super) struct Basic {
    signed: Span,
    signature: Span,
    pub(super) sig_alg: SigAlg,
    pub(super) responder: Responder,
    pub(super) singles: Vec<Single>,
    /// The responder's own certificates, in DER.
    pub(super) certificates: Vec<Arc<[u8]>>,
}

/// Who says to have signed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Responder {
    /// The subject, as compared.
    Name(Box<[u8]>),
    /// SHA-1 of the key.
    Key(Box<[u8]>),
}

/// What is said of one certificate.
#[derive(Debug)]
pub(super) struct Single {
    hash: CertIdHash,
    issuer_name: Box<[u8]>,
    issuer_key: Box<[u8]>,
    pub(super) serial: Box<[u8]>,
    pub(super) status: CertStatus,
    pub(super) this_update: i64,
    pub(super) next_update: Option<i64>,
    /// SignedCertificateTimestampList (RFC 6962 §3.3).
    pub(super) scts: Option<Box<[u8]>>,
}

/// CertStatus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CertStatus {
    Good,
    /// When, in seconds, and the CRLReason.
    Revoked(i64, Option<u8>),
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CertIdHash {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
    Other,
}

/// id-pkix-ocsp-basic.
const BASIC: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 48, 1, 1];
/// OID of the SCT list in a response (RFC 6962 §3.3).
const SCT_LIST: &[u8] = &[0x2b, 6, 1, 4, 1, 0xd6, 0x79, 2, 4, 5];

impl Response {
    /// Reads a response; `None` when it is none.
    pub fn parse(der: &Arc<[u8]>) -> Option<Self> {
        let mut outer = Reader(der);
        let mut fields = outer.sequence()?;
        if !outer.is_empty() {
            return None;
        }
        let status = enumerated(fields.expect(tag::ENUMERATED)?.content)?;
        let basic = match fields.optional(tag::explicit(0))? {
            Some(bytes) => {
                let mut bytes = bytes.reader().sequence()?;
                if bytes.expect(tag::OID)?.content != BASIC {
                    return None;
                }
                Some(Basic::read(der, bytes.expect(tag::OCTET_STRING)?.content)?)
            }
            None if status == 0 => return None,
            None => None,
        };
        Some(Self {
            der: Arc::clone(der),
            fingerprint: Sha256::digest(der).into(),
            status,
            basic,
        })
    }

    /// The signed part, and its signature.
    pub(super) fn signed(&self) -> Option<(&[u8], &[u8])> {
        let basic = self.basic.as_ref()?;
        Some((basic.signed.of(&self.der), basic.signature.of(&self.der)))
    }

    /// What it says of `cert`, whose issuer is `issuer`.
    pub(super) fn of(&self, cert: &Cert, issuer: &Cert) -> Option<&Single> {
        self.basic
            .as_ref()?
            .singles
            .iter()
            .find(|single| single.is_for(cert, issuer))
    }

    /// Serial numbers that it speaks of.
    pub(super) fn serials(&self) -> impl Iterator<Item = &[u8]> {
        let singles = self.basic.as_ref().map_or(&[][..], |basic| &basic.singles);
        singles.iter().map(|single| &*single.serial)
    }

    /// What a status other than successful means (RFC 6960 §4.2.1).
    pub(super) const fn refusal(&self) -> &'static str {
        match self.status {
            1 => "malformedRequest",
            2 => "internalError",
            3 => "tryLater",
            5 => "sigRequired",
            6 => "unauthorized",
            _ => "an unknown status",
        }
    }
}

impl Basic {
    /// `content` is a part of `der`.
    fn read(der: &[u8], content: &[u8]) -> Option<Self> {
        let mut outer = Reader(content);
        let mut parts = outer.sequence()?;
        if !outer.is_empty() {
            return None;
        }
        let data = parts.expect(tag::SEQUENCE)?;
        let algorithm = parts.expect(tag::SEQUENCE)?;
        let signature = parts.octets_of_bits()?;
        let mut certificates = Vec::new();
        if let Some(list) = parts.optional(tag::explicit(0))? {
            let mut list = list.reader().sequence()?;
            while !list.is_empty() {
                let certificate = list.expect(tag::SEQUENCE)?;
                if certificates.len() < MAX_CERTIFICATES {
                    certificates.push(certificate.whole.into());
                }
            }
        }
        let mut fields = data.reader();
        fields.optional(tag::explicit(0))?;
        let responder = match fields.any()? {
            Element {
                tag: 0xa1, content, ..
            } => {
                let name = Reader(content).expect(tag::SEQUENCE)?;
                Responder::Name(super::names::comparable(name.content))
            }
            Element {
                tag: 0xa2, content, ..
            } => Responder::Key(Reader(content).expect(tag::OCTET_STRING)?.content.into()),
            _ => return None,
        };
        // producedAt.
        fields.time()?;
        let mut list = fields.sequence()?;
        let mut singles = Vec::new();
        while !list.is_empty() {
            if singles.len() >= MAX_SINGLES {
                return None;
            }
            singles.push(Single::read(list.sequence()?)?);
        }
        Some(Self {
            signed: place(der, data.whole),
            signature: place(der, signature),
            sig_alg: SigAlg::read(algorithm.content),
            responder,
            singles,
            certificates,
        })
    }

    /// Whether a certificate is the responder's that it names.
    pub(super) fn is_by(&self, cert: &Cert) -> bool {
        match &self.responder {
            Responder::Name(name) => *name == cert.subject_key,
            Responder::Key(hash) => Sha1::digest(cert.key_bits()).as_slice() == &**hash,
        }
    }
}

impl Single {
    fn read(mut fields: Reader<'_>) -> Option<Self> {
        let mut id = fields.sequence()?;
        let hash = match id.sequence()?.expect(tag::OID)?.content {
            [0x2b, 0x0e, 3, 2, 26] => CertIdHash::Sha1,
            [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1] => CertIdHash::Sha256,
            [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2] => CertIdHash::Sha384,
            [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3] => CertIdHash::Sha512,
            _ => CertIdHash::Other,
        };
        let issuer_name = id.expect(tag::OCTET_STRING)?.content.into();
        let issuer_key = id.expect(tag::OCTET_STRING)?.content.into();
        let serial = id.expect(tag::INTEGER)?.content.into();
        let status = fields.any()?;
        let status = match status.tag {
            0x80 => CertStatus::Good,
            0xa1 => {
                let mut info = status.reader();
                let at = info.time()?;
                let reason = match info.optional(tag::explicit(0))? {
                    Some(reason) => {
                        let code = reason.reader().expect(tag::ENUMERATED)?.content;
                        Some(enumerated(code)?)
                    }
                    None => None,
                };
                CertStatus::Revoked(at, reason)
            }
            0x82 => CertStatus::Unknown,
            _ => return None,
        };
        let this_update = fields.time()?;
        let next_update = match fields.optional(tag::explicit(0))? {
            Some(next) => {
                let next = next.reader().any()?;
                Some(time(next.tag, next.content)?)
            }
            None => None,
        };
        let mut scts = None;
        if let Some(extensions) = fields.optional(tag::explicit(1))? {
            let mut list = extensions.reader().sequence()?;
            while !list.is_empty() {
                let mut extension = list.sequence()?;
                let oid = extension.expect(tag::OID)?.content;
                extension.optional(tag::BOOLEAN)?;
                let value = extension.expect(tag::OCTET_STRING)?.content;
                if oid == SCT_LIST {
                    scts = Some(Reader(value).expect(tag::OCTET_STRING)?.content.into());
                }
            }
        }
        Some(Self {
            hash,
            issuer_name,
            issuer_key,
            serial,
            status,
            this_update,
            next_update,
            scts,
        })
    }

    /// RFC 6960 §4.1.1: serial number, and hashes of the issuer's name and key.
    fn is_for(&self, cert: &Cert, issuer: &Cert) -> bool {
        let same = |bytes: &[u8], expected: &[u8]| -> bool {
            match self.hash {
                CertIdHash::Sha1 => Sha1::digest(bytes).as_slice() == expected,
                CertIdHash::Sha256 => Sha256::digest(bytes).as_slice() == expected,
                CertIdHash::Sha384 => Sha384::digest(bytes).as_slice() == expected,
                CertIdHash::Sha512 => Sha512::digest(bytes).as_slice() == expected,
                CertIdHash::Other => false,
            }
        };
        *self.serial == *cert.serial()
            && same(cert.issuer(), &self.issuer_name)
            && same(issuer.key_bits(), &self.issuer_key)
    }
}

/// A small ENUMERATED.
pub(super) fn enumerated(content: &[u8]) -> Option<u8> {
    match content {
        &[value] if value < 0x80 => Some(value),
        _ => None,
    }
}

/// Name of a CRLReason (RFC 5280 §5.3.1).
pub(super) const fn reason_name(reason: u8) -> &'static str {
    match reason {
        1 => "keyCompromise",
        2 => "cACompromise",
        3 => "affiliationChanged",
        4 => "superseded",
        5 => "cessationOfOperation",
        6 => "certificateHold",
        8 => "removeFromCRL",
        9 => "privilegeWithdrawn",
        10 => "aACompromise",
        _ => "unspecified",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &[u8] = include_bytes!("../../../samples/certificates/unit/ocsp-good.der");
    const DELEGATED: &[u8] =
        include_bytes!("../../../samples/certificates/unit/ocsp-delegated.der");
    const REVOKED: &[u8] = include_bytes!("../../../samples/certificates/unit/ocsp-revoked.der");

    fn parse(der: &[u8]) -> Option<Response> {
        Response::parse(&der.into())
    }

    /// `samples/certificates.py` made them so.
    #[test]
    fn responses_say_what_they_were_made_to_say() {
        let basic = |der| parse(der).unwrap().basic.unwrap();
        assert_eq!(basic(GOOD).singles[0].status, CertStatus::Good);
        assert!(basic(GOOD).certificates.is_empty());
        assert_eq!(basic(DELEGATED).certificates.len(), 1);
        assert!(matches!(
            basic(REVOKED).singles[0].status,
            CertStatus::Revoked(_, Some(1))
        ));
        let single = &basic(GOOD).singles[0];
        assert_eq!(single.next_update, Some(single.this_update + 7 * 86_400));
    }

    /// tryLater (RFC 6960 §4.2.1), and what says to be successful and is empty.
    #[test]
    fn refusals_are_read_as_such() {
        assert_eq!(parse(&[0x30, 3, 0x0a, 1, 3]).unwrap().refusal(), "tryLater");
        assert!(parse(&[0x30, 3, 0x0a, 1, 0]).is_none());
        assert!(parse(&[0x30, 3, 0x0a, 1, 3, 0]).is_none());
        assert!(parse(b"").is_none());
    }

    /// Damage anywhere is a refusal or another response, never a panic.
    #[test]
    fn damage_does_no_harm() {
        for whole in [GOOD, DELEGATED, REVOKED] {
            for at in 0..whole.len() {
                assert!(parse(&whole[..at]).is_none());
                let mut odd = whole.to_vec();
                odd[at] ^= 0x81;
                if let Some(response) = parse(&odd) {
                    assert!(response.serials().count() <= MAX_SINGLES);
                }
            }
        }
    }
}
