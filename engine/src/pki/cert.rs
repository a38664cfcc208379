//! A certificate as path validation sees it (RFC 5280 §4): places in its DER,
//! dates, key, and the extensions that decide. Fields for people are in
//! [`crate::proto::x509`]; nothing is judged here.

use super::der::{Element, Reader, oid_text, tag};
use super::names::{Constraints, GeneralName};
use super::sig::{Key, SigAlg};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// A place in a certificate's DER.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) len: usize,
}

impl Span {
    /// The bytes there.
    pub(super) fn of(self, whole: &[u8]) -> &[u8] {
        whole
            .get(self.start..self.start.saturating_add(self.len))
            .unwrap_or_default()
    }
}

/// A certificate.
#[derive(Debug, PartialEq, Eq)]
pub struct Cert {
    /// As sent.
    pub der: Arc<[u8]>,
    /// SHA-256 of `der`.
    pub fingerprint: [u8; 32],
    /// SHA-256 of the SubjectPublicKeyInfo.
    pub spki_sha256: [u8; 32],
    tbs: Span,
    serial: Span,
    subject: Span,
    issuer: Span,
    signature: Span,
    /// The bits of subjectPublicKey.
    key_bits: Span,
    /// Names in the form in which they are compared (RFC 5280 §7.1).
    pub(crate) subject_key: Box<[u8]>,
    pub(crate) issuer_key: Box<[u8]>,
    /// Short name of the subject for people.
    pub(crate) label: Box<str>,
    /// 1, 2 or 3.
    pub(crate) version: u8,
    /// Seconds since 1970.
    pub(crate) not_before: i64,
    /// Seconds since 1970.
    pub(crate) not_after: i64,
    pub(crate) sig_alg: SigAlg,
    pub(crate) key: Key,
    pub(crate) ext: Extensions,
    /// What RFC 5280's syntax forbids, in words.
    pub(crate) malformed: Vec<String>,
}

/// basicConstraints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Basic {
    pub(crate) ca: bool,
    pub(crate) path_len: Option<u32>,
    pub(crate) critical: bool,
}

/// extKeyUsage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ExtKeyUsage {
    pub(crate) any: bool,
    pub(crate) server: bool,
    pub(crate) client: bool,
    pub(crate) ocsp: bool,
    /// Netscape's and Microsoft's Server Gated Crypto, which old CAs used for servers.
    pub(crate) gated_crypto: bool,
    pub(crate) critical: bool,
}

/// authorityKeyIdentifier.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AuthorityKey {
    pub(crate) key_id: Option<Box<[u8]>>,
    pub(crate) issuer_or_serial: bool,
    pub(crate) critical: bool,
}

/// The extensions that decide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extensions {
    pub(crate) basic: Option<Basic>,
    /// The named bits of RFC 5280 §4.2.1.3, bit 0 the highest.
    pub(crate) key_usage: Option<u16>,
    pub(crate) ext_key_usage: Option<ExtKeyUsage>,
    /// Names and whether the extension is critical.
    pub(crate) san: Option<(Vec<GeneralName>, bool)>,
    pub(crate) constraints: Option<(Constraints, bool)>,
    pub(crate) aki: Option<AuthorityKey>,
    pub(crate) ski: Option<(Box<[u8]>, bool)>,
    pub(crate) aia_critical: bool,
    /// Whether the authority information access names an OCSP responder.
    pub(crate) has_responder: bool,
    /// URIs of the CRL distribution points.
    pub(crate) crl_points: Vec<Box<[u8]>>,
    pub(crate) must_staple: bool,
    /// RFC 6962 §3.1: a precertificate, which no client may accept.
    pub(crate) poison: bool,
    /// RFC 6960 §4.2.2.2.1.
    pub(crate) ocsp_no_check: bool,
    /// SignedCertificateTimestampList of RFC 6962 §3.3.
    pub(crate) scts: Option<Box<[u8]>>,
    /// Critical ones that are not understood, by OID.
    pub(crate) unknown_critical: Vec<String>,
}

/// Bits of keyUsage.
pub(crate) mod usage {
    pub(crate) const DIGITAL_SIGNATURE: u16 = 1 << 15;
    pub(crate) const KEY_ENCIPHERMENT: u16 = 1 << 13;
    pub(crate) const KEY_AGREEMENT: u16 = 1 << 11;
    pub(crate) const KEY_CERT_SIGN: u16 = 1 << 10;
    pub(crate) const CRL_SIGN: u16 = 1 << 9;
}

/// Extensions read of one certificate; more are somebody's attempt on time.
const MAX_EXTENSIONS: usize = 64;
/// Names read of one certificate.
const MAX_NAMES: usize = 4_096;

/// CRL distribution points read of one certificate.
const MAX_POINTS: usize = 16;

/// OID of the embedded SCT list (RFC 6962 §3.3).
pub(crate) const SCT_LIST: &[u8] = &[0x2b, 6, 1, 4, 1, 0xd6, 0x79, 2, 4, 2];

impl Cert {
    /// Reads a certificate; `None` when it is none.
    pub fn parse(der: &Arc<[u8]>) -> Option<Self> {
        let mut outer = Reader(der);
        let certificate = outer.expect(tag::SEQUENCE)?;
        let mut malformed = Vec::new();
        if !outer.is_empty() {
            malformed.push("bytes follow the certificate".to_owned());
        }
        let mut parts = certificate.reader();
        let tbs = parts.expect(tag::SEQUENCE)?;
        let outer_alg = parts.expect(tag::SEQUENCE)?;
        let signature = parts.octets_of_bits()?;
        let mut fields = tbs.reader();
        let version = match fields.optional(tag::explicit(0))? {
            Some(version) => version.reader().small()?.checked_add(1)?,
            None => 1,
        };
        let serial = fields.expect(tag::INTEGER)?;
        let inner_alg = fields.expect(tag::SEQUENCE)?;
        let issuer = fields.expect(tag::SEQUENCE)?;
        let mut validity = fields.sequence()?;
        let (not_before, not_after) = (validity.time()?, validity.time()?);
        let subject = fields.expect(tag::SEQUENCE)?;
        let spki = fields.expect(tag::SEQUENCE)?;
        let mut key_parts = spki.reader();
        let key_alg = key_parts.expect(tag::SEQUENCE)?;
        let key_bits = key_parts.octets_of_bits()?;
        if inner_alg.whole != outer_alg.whole {
            malformed.push(
                "the signature algorithms inside and outside of the signed part differ".to_owned(),
            );
        }
        fields.optional(tag::implicit(1))?;
        fields.optional(tag::implicit(2))?;
        let mut ext = Extensions::default();
        if let Some(extensions) = fields.optional(tag::explicit(3))? {
            read_extensions(extensions, &mut ext, &mut malformed)?;
            if version != 3 {
                malformed.push("extensions in a certificate that is not of version 3".to_owned());
            }
        }
        let subject_key = super::names::comparable(subject.content);
        let issuer_key = super::names::comparable(issuer.content);
        let span = |part: &[u8]| place(der, part);
        Some(Self {
            der: Arc::clone(der),
            fingerprint: Sha256::digest(der).into(),
            spki_sha256: Sha256::digest(spki.whole).into(),
            tbs: span(tbs.whole),
            serial: span(serial.content),
            subject: span(subject.whole),
            issuer: span(issuer.whole),
            signature: span(signature),
            key_bits: span(key_bits),
            subject_key,
            issuer_key,
            label: super::names::label(subject.content).into(),
            version: u8::try_from(version).unwrap_or(u8::MAX),
            not_before,
            not_after,
            sig_alg: SigAlg::read(inner_alg.content),
            key: Key::read(key_alg.content, key_bits),
            ext,
            malformed,
        })
    }

    fn part(&self, span: Span) -> &[u8] {
        span.of(&self.der)
    }

    /// The bits of subjectPublicKey: what responders hash (RFC 6960 §4.1.1).
    pub(crate) fn key_bits(&self) -> &[u8] {
        self.part(self.key_bits)
    }

    pub(crate) fn tbs(&self) -> &[u8] {
        self.part(self.tbs)
    }

    pub(crate) fn serial(&self) -> &[u8] {
        self.part(self.serial)
    }

    /// The whole Name.
    pub(crate) fn subject(&self) -> &[u8] {
        self.part(self.subject)
    }

    /// The whole Name.
    pub(crate) fn issuer(&self) -> &[u8] {
        self.part(self.issuer)
    }

    pub(crate) fn signature(&self) -> &[u8] {
        self.part(self.signature)
    }

    pub(crate) fn self_issued(&self) -> bool {
        self.subject_key == self.issuer_key
    }

    /// Whether it may stand above another certificate.
    pub(crate) fn is_ca(&self) -> bool {
        self.ext.basic.is_some_and(|basic| basic.ca)
    }

    /// Whether it lets its key be used so; certificates without keyUsage let all.
    pub(crate) fn allows(&self, bit: u16) -> bool {
        self.ext.key_usage.is_none_or(|bits| bits & bit != 0)
    }

    /// The names that it was made for.
    pub(crate) fn alternative_names(&self) -> &[GeneralName] {
        self.ext.san.as_ref().map_or(&[], |(names, _)| names)
    }
}

/// Where `part` lies in `whole`, of which it is a piece.
pub(super) fn place(whole: &[u8], part: &[u8]) -> Span {
    let start = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
    Span {
        start,
        len: part.len(),
    }
}

fn read_extensions(
    extensions: Element<'_>,
    ext: &mut Extensions,
    malformed: &mut Vec<String>,
) -> Option<()> {
    let mut list = extensions.reader().sequence()?;
    let mut seen: Vec<&[u8]> = Vec::new();
    while !list.is_empty() {
        let mut fields = list.sequence()?;
        let oid = fields.expect(tag::OID)?.content;
        let critical = match fields.peek()? {
            tag::BOOLEAN => fields.boolean()?,
            _ => false,
        };
        let value = fields.expect(tag::OCTET_STRING)?.content;
        if seen.contains(&oid) {
            malformed.push(format!("extension {} is there twice", oid_text(oid)));
            continue;
        }
        if seen.len() >= MAX_EXTENSIONS {
            malformed.push(format!("more than {MAX_EXTENSIONS} extensions"));
            break;
        }
        seen.push(oid);
        if read_extension(oid, critical, value, ext).is_none() {
            malformed.push(format!("extension {} is malformed", oid_text(oid)));
        }
    }
    Some(())
}

/// RFC 5280 §4.2 by the last arc of 2.5.29, and a few of other trees.
fn read_extension(oid: &[u8], critical: bool, value: &[u8], ext: &mut Extensions) -> Option<()> {
    let mut reader = Reader(value);
    match oid {
        [0x55, 0x1d, 14] => {
            let id = reader.expect(tag::OCTET_STRING)?.content;
            ext.ski = Some((id.into(), critical));
        }
        [0x55, 0x1d, 15] => {
            let (&unused, bits) = reader.expect(tag::BIT_STRING)?.content.split_first()?;
            if unused > 7 || bits.is_empty() {
                return None;
            }
            let high = bits.first().copied().unwrap_or_default();
            let low = bits.get(1).copied().unwrap_or_default();
            ext.key_usage = Some(u16::from_be_bytes([high, low]));
        }
        [0x55, 0x1d, 17] => {
            let mut names = Vec::new();
            let mut list = reader.sequence()?;
            if list.is_empty() {
                return None;
            }
            while !list.is_empty() {
                if names.len() >= MAX_NAMES {
                    return None;
                }
                names.push(GeneralName::read(list.any()?)?);
            }
            ext.san = Some((names, critical));
        }
        [0x55, 0x1d, 19] => {
            let mut fields = reader.sequence()?;
            let ca = match fields.peek() {
                Some(tag::BOOLEAN) => fields.boolean()?,
                _ => false,
            };
            let path_len = match fields.is_empty() {
                true => None,
                false => Some(fields.small()?),
            };
            ext.basic = Some(Basic {
                ca,
                path_len,
                critical,
            });
        }
        [0x55, 0x1d, 30] => {
            let constraints = Constraints::read(reader.sequence()?)?;
            ext.constraints = Some((constraints, critical));
        }
        [0x55, 0x1d, 35] => {
            let mut fields = reader.sequence()?;
            let key_id = fields.optional(tag::implicit(0))?;
            let issuer = fields.optional(tag::explicit(1))?;
            let serial = fields.optional(tag::implicit(2))?;
            ext.aki = Some(AuthorityKey {
                key_id: key_id.map(|id| id.content.into()),
                issuer_or_serial: issuer.is_some() || serial.is_some(),
                critical,
            });
        }
        [0x55, 0x1d, 37] => {
            let mut usage = ExtKeyUsage {
                critical,
                ..ExtKeyUsage::default()
            };
            let mut list = reader.sequence()?;
            if list.is_empty() {
                return None;
            }
            while !list.is_empty() {
                match list.expect(tag::OID)?.content {
                    [0x55, 0x1d, 37, 0] => usage.any = true,
                    [0x2b, 6, 1, 5, 5, 7, 3, 1] => usage.server = true,
                    [0x2b, 6, 1, 5, 5, 7, 3, 2] => usage.client = true,
                    [0x2b, 6, 1, 5, 5, 7, 3, 9] => usage.ocsp = true,
                    // 2.16.840.1.113730.4.1 and 1.3.6.1.4.1.311.10.3.3.
                    [0x60, 0x86, 0x48, 1, 0x86, 0xf8, 0x42, 4, 1]
                    | [0x2b, 6, 1, 4, 1, 0x82, 0x37, 10, 3, 3] => usage.gated_crypto = true,
                    _ => {}
                }
            }
            ext.ext_key_usage = Some(usage);
        }
        // Policies, their mappings and constraints restrict what a client asks
        // for by policy; browsers ask for none, so that any policy will do.
        [0x55, 0x1d, 32 | 33 | 36 | 54] => {
            Reader(value).any()?;
        }
        // CRL distribution points, freshest CRL, issuing distribution point:
        // where to look, not what to accept.
        [0x55, 0x1d, 31 | 46 | 18 | 9] => {
            Reader(value).any()?;
            if oid.last() == Some(&31) {
                ext.crl_points = distribution_points(reader).unwrap_or_default();
            }
        }
        [0x2b, 6, 1, 5, 5, 7, 1, 1] => {
            let mut list = reader.sequence()?;
            if list.is_empty() {
                return None;
            }
            while !list.is_empty() {
                let mut description = list.sequence()?;
                let method = description.expect(tag::OID)?.content;
                ext.has_responder |= method == [0x2b, 6, 1, 5, 5, 7, 48, 1];
                GeneralName::read(description.any()?)?;
                if !description.is_empty() {
                    return None;
                }
            }
            ext.aia_critical = critical;
        }
        [0x2b, 6, 1, 5, 5, 7, 1, 24] => {
            let mut list = reader.sequence()?;
            while !list.is_empty() {
                ext.must_staple |= list.small()? == 5;
            }
        }
        [0x2b, 6, 1, 5, 5, 7, 48, 1, 5] => ext.ocsp_no_check = true,
        [0x2b, 6, 1, 4, 1, 0xd6, 0x79, 2, 4, 3] => ext.poison = true,
        _ if oid == SCT_LIST => {
            ext.scts = Some(reader.expect(tag::OCTET_STRING)?.content.into());
        }
        _ => {
            if critical {
                ext.unknown_critical.push(oid_text(oid));
            }
            return Some(());
        }
    }
    Some(())
}

/// URIs of CRLDistributionPoints (RFC 5280 §4.2.1.13).
fn distribution_points(mut reader: Reader<'_>) -> Option<Vec<Box<[u8]>>> {
    let (mut list, mut uris) = (reader.sequence()?, Vec::new());
    while !list.is_empty() && uris.len() < MAX_POINTS {
        let mut point = list.sequence()?;
        if let Some(name) = point.optional(tag::explicit(0))? {
            uris.extend(super::crl::point_uris(name.reader()));
        }
    }
    Some(uris)
}
