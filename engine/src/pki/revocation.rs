//! Whether certificates of a path were revoked at packet time, by the stapled
//! OCSP response (RFC 6066 §8, RFC 6961), by responses and lists that passed
//! through the capture, and by lists that the user gives (RFC 6960, RFC 5280 §6.3).

use super::cert::{Cert, usage};
use super::crl::Crl;
use super::moment;
use super::ocsp::{CertStatus, Response, reason_name};
use super::path::{Clock, Signatures};
use super::sig::{Verified, verify};
use crate::error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// Seconds by which a responder's clock may be ahead of the capture's: what
/// `openssl ocsp` and others allow (`-validity_period`).
const SKEW: i64 = 300;

/// What is known of the revocation of a path's certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revocation {
    /// What OCSP says of the server's certificate.
    pub ocsp: Option<OcspAnswer>,
    /// What revocation lists say of the server's certificate.
    pub crl: Option<CrlStatus>,
    /// Revoked certificates, and staples that no client may rely on.
    pub problems: Vec<Problem>,
    /// The certificate asks for a staple (RFC 7633).
    pub must_staple: bool,
    /// The certificate names a responder or a list.
    pub names_source: bool,
}

/// An answer about the server's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OcspAnswer {
    /// Where it is from.
    pub source: OcspSource,
    /// What it says.
    pub status: OcspStatus,
    /// thisUpdate, in seconds since 1970.
    pub this_update: Option<i64>,
    /// nextUpdate likewise.
    pub next_update: Option<i64>,
    /// Why it does not count, where it does not.
    pub why: String,
}

/// Where an OCSP response is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OcspSource {
    /// The server sent it in the handshake.
    Stapled,
    /// Somebody fetched it over HTTP in the capture.
    Http,
}

impl OcspSource {
    /// A word for tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stapled => "stapled",
            Self::Http => "http_in_capture",
        }
    }
}

/// What an OCSP response comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OcspStatus {
    /// Not revoked.
    Good,
    /// Revoked.
    Revoked,
    /// The responder does not know the certificate.
    Unknown,
    /// No client may rely on it.
    Invalid,
    /// Its signature cannot be checked here.
    Unverified,
}

impl OcspStatus {
    /// A word for tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Revoked => "revoked",
            Self::Unknown => "unknown",
            Self::Invalid => "invalid",
            Self::Unverified => "unverified",
        }
    }
}

/// What revocation lists come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CrlStatus {
    /// Only of forms that are not followed: indirect lists, unknown critical extensions.
    Unsupported,
    /// Not signed by the issuer, or by an algorithm that cannot be checked.
    Unverified,
    /// Only lists that do not speak of this certificate, or of another time.
    NotCovered,
    /// Not on a list that was valid.
    Good,
    /// On a list.
    Revoked,
}

impl CrlStatus {
    /// A word for tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unsupported => "unsupported",
            Self::Unverified => "unverified",
            Self::NotCovered => "not_covered",
            Self::Good => "good",
            Self::Revoked => "revoked",
        }
    }
}

/// Something wrong with a certificate or its staple.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Revoked, or a staple that does not count.
    pub revoked: bool,
    /// Of the certificate.
    pub fingerprint: [u8; 32],
    /// In words.
    pub text: String,
}

/// Bytes of responses and lists kept of one capture.
const MAX_EVIDENCE_BYTES: usize = 64 << 20;
/// Largest file of lists that is read, bytes.
const MAX_FILE: u64 = 256 << 20;
/// Responses kept for one serial number, lists for one issuer.
const MAX_SAME: usize = 16;

/// What passed, each with its packet.
type Passed<T> = Vec<(u64, Arc<T>)>;

/// Responses and lists that passed through the capture, each with the packet
/// (counted over all files) that made it whole.
#[derive(Debug, Default)]
pub struct Evidence {
    responses: BTreeMap<Box<[u8]>, Passed<Response>>,
    lists: BTreeMap<Box<[u8]>, Passed<Crl>>,
    bytes: usize,
    left_out: u64,
}

impl Evidence {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.responses.is_empty() && self.lists.is_empty()
    }

    /// Responses and lists that the budget left out.
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }

    fn room(&mut self, bytes: usize) -> bool {
        let total = self.bytes.saturating_add(bytes);
        if total > MAX_EVIDENCE_BYTES {
            self.left_out = self.left_out.saturating_add(1);
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
            let known = self.responses.get(&serial).map_or(&[][..], Vec::as_slice);
            let again = known
                .iter()
                .any(|(_, known)| known.fingerprint == response.fingerprint);
            if again || known.len() >= MAX_SAME {
                self.left_out = self.left_out.saturating_add(u64::from(!again));
                continue;
            }
            if !self.room(der.len()) {
                return;
            }
            let same = self.responses.entry(serial).or_default();
            same.push((packet, Arc::clone(&response)));
        }
    }

    /// Adds a list; what is none is passed over.
    pub fn add_list(&mut self, packet: u64, der: &Arc<[u8]>) {
        if let Some(list) = Crl::parse(der) {
            self.add(packet, Arc::new(list));
        }
    }

    fn add(&mut self, packet: u64, list: Arc<Crl>) {
        let known = self
            .lists
            .get(&list.issuer_key)
            .map_or(&[][..], Vec::as_slice);
        let again = known
            .iter()
            .any(|(_, known)| known.fingerprint == list.fingerprint);
        if again || known.len() >= MAX_SAME {
            self.left_out = self.left_out.saturating_add(u64::from(!again));
            return;
        }
        if self.room(list.heap_bytes()) {
            let same = self.lists.entry(list.issuer_key.clone()).or_default();
            same.push((packet, list));
        }
    }

    /// What had passed before `until` and concerns the certificates of a path.
    pub(super) fn about(&self, path: &[Arc<Cert>], until: u64) -> Relevant {
        let mut relevant = Relevant::default();
        if self.is_empty() {
            return relevant;
        }
        for cert in path {
            let responses = self.responses.get(cert.serial()).into_iter().flatten();
            let lists = self.lists.get(&cert.issuer_key).into_iter().flatten();
            relevant.responses.extend(
                responses
                    .filter(|(packet, _)| *packet <= until)
                    .map(|(_, response)| Arc::clone(response)),
            );
            relevant.lists.extend(
                lists
                    .filter(|(packet, _)| *packet <= until)
                    .map(|(_, list)| Arc::clone(list)),
            );
        }
        relevant
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
}

impl Relevant {
    pub(super) fn is_empty(&self) -> bool {
        self.responses.is_empty() && self.lists.is_empty()
    }
}

/// What all sources say of one path.
pub(super) struct Inquiry<'a> {
    pub(super) signatures: &'a Signatures,
    pub(super) clock: &'a mut Clock,
    /// Staples in the order sent, the server's certificate's first; empty where there is none.
    pub(super) staples: Vec<Option<Response>>,
    /// A staple was sent for the server's certificate, whether it parses or not.
    pub(super) stapled: bool,
    pub(super) given: &'a [Arc<Crl>],
    pub(super) found: &'a Relevant,
}

impl Inquiry<'_> {
    pub(super) fn run(&mut self, path: &[Arc<Cert>], anchored: bool) -> Revocation {
        let mut result = Revocation::default();
        let Some(leaf) = path.first() else {
            return result;
        };
        result.must_staple = leaf.ext.must_staple;
        result.names_source = leaf.ext.has_responder || !leaf.ext.crl_points.is_empty();
        // Nobody revokes the anchor but the store.
        let judged = path.len() - usize::from(anchored);
        for (at, cert) in path.iter().enumerate().take(judged) {
            let Some(issuer) = path.get(at.saturating_add(1)) else {
                if self.stapled && at == 0 {
                    result.ocsp = Some(OcspAnswer {
                        source: OcspSource::Stapled,
                        status: OcspStatus::Unverified,
                        this_update: None,
                        next_update: None,
                        why: "the issuer, which would have to vouch for it, is not known"
                            .to_owned(),
                    });
                }
                break;
            };
            let ocsp = self.by_ocsp(at, cert, issuer, &mut result.problems);
            let crl = self.by_lists(cert, issuer, &mut result.problems);
            if at == 0 {
                (result.ocsp, result.crl) = (ocsp, crl);
            }
        }
        // Once revoked is enough, whoever says so.
        let mut seen = BTreeSet::new();
        result
            .problems
            .retain(|problem| seen.insert((problem.revoked, problem.fingerprint)));
        result
    }

    fn by_ocsp(
        &mut self,
        at: usize,
        cert: &Cert,
        issuer: &Cert,
        problems: &mut Vec<Problem>,
    ) -> Option<OcspAnswer> {
        let mut problem = |revoked, text: String| {
            problems.push(Problem {
                revoked,
                fingerprint: cert.fingerprint,
                text: format!("`{}` {text}", cert.label),
            });
        };
        let staple = match at {
            0 => self.staples.first(),
            // Servers list what they have; which is about whom, it says itself.
            _ => self.staples.iter().skip(1).find(|staple| {
                staple
                    .as_ref()
                    .is_some_and(|staple| staple.of(cert, issuer).is_some())
            }),
        };
        let mut answer = None;
        if staple.is_some() || at == 0 && self.stapled {
            let judged = match staple.and_then(Option::as_ref) {
                Some(response) => judge(
                    response,
                    cert,
                    issuer,
                    OcspSource::Stapled,
                    self.signatures,
                    self.clock,
                ),
                None => OcspAnswer {
                    source: OcspSource::Stapled,
                    status: OcspStatus::Invalid,
                    this_update: None,
                    next_update: None,
                    why: "is no OCSP response".to_owned(),
                },
            };
            match judged.status {
                OcspStatus::Revoked => problem(true, judged.why.clone()),
                OcspStatus::Invalid | OcspStatus::Unknown => {
                    problem(false, format!("has a stapled response that {}", judged.why));
                }
                OcspStatus::Good | OcspStatus::Unverified => {}
            }
            answer = Some(judged);
        }
        // What others fetched counts only where it holds.
        for response in &self.found.responses {
            if response.of(cert, issuer).is_none() {
                continue;
            }
            let judged = judge(
                response,
                cert,
                issuer,
                OcspSource::Http,
                self.signatures,
                self.clock,
            );
            let known = answer.as_ref().map(|known| (known.source, known.status));
            match judged.status {
                OcspStatus::Revoked if known.map(|(_, status)| status) != Some(judged.status) => {
                    problem(true, judged.why.clone());
                    if known.is_none_or(|(source, _)| source == OcspSource::Http) {
                        answer = Some(judged);
                    }
                }
                OcspStatus::Good | OcspStatus::Unknown if known.is_none() => {
                    answer = Some(judged);
                }
                _ => {}
            }
        }
        answer
    }

    fn by_lists(
        &mut self,
        cert: &Cert,
        issuer: &Cert,
        problems: &mut Vec<Problem>,
    ) -> Option<CrlStatus> {
        let mut best: Option<CrlStatus> = None;
        for list in self.given.iter().chain(&self.found.lists) {
            if list.issuer_key != cert.issuer_key {
                continue;
            }
            let (status, why) = consult(list, cert, issuer, self.signatures, self.clock);
            if status == CrlStatus::Revoked && best != Some(CrlStatus::Revoked) {
                problems.push(Problem {
                    revoked: true,
                    fingerprint: cert.fingerprint,
                    text: format!("`{}` {why}", cert.label),
                });
            }
            best = best.max(Some(status));
        }
        best
    }
}

/// What one response says of a certificate, and whether to believe it (RFC 6960 §3.2).
fn judge(
    response: &Response,
    cert: &Cert,
    issuer: &Cert,
    source: OcspSource,
    signatures: &Signatures,
    clock: &mut Clock,
) -> OcspAnswer {
    let mut answer = OcspAnswer {
        source,
        status: OcspStatus::Invalid,
        this_update: None,
        next_update: None,
        why: String::new(),
    };
    if response.status != 0 {
        answer.why = format!("is a refusal ({})", response.refusal());
        return answer;
    }
    let Some(single) = response.of(cert, issuer) else {
        "is about another certificate".clone_into(&mut answer.why);
        return answer;
    };
    answer.this_update = Some(single.this_update);
    answer.next_update = single.next_update;
    match signer(response, issuer, signatures, clock) {
        Ok(Verified::Good) => {}
        Ok(Verified::Unsupported) => {
            answer.status = OcspStatus::Unverified;
            "is signed by an algorithm that cannot be checked here".clone_into(&mut answer.why);
            return answer;
        }
        Ok(Verified::Bad) => {
            "has a signature that is not its responder's".clone_into(&mut answer.why);
            return answer;
        }
        Err(why) => {
            why.clone_into(&mut answer.why);
            return answer;
        }
    }
    if let CertStatus::Revoked(at, reason) = single.status {
        // What is revoked stays so, also when the response is old.
        answer.status = OcspStatus::Revoked;
        let reason = reason.map_or("", reason_name);
        let space = if reason.is_empty() { "" } else { " for " };
        answer.why = format!(
            "was revoked {}{space}{reason} ({})",
            moment(at),
            match source {
                OcspSource::Stapled => "stapled OCSP response",
                OcspSource::Http => "OCSP response in the capture",
            }
        );
        return answer;
    }
    if !clock.reached(single.this_update.saturating_sub(SKEW)) {
        answer.why = format!("is valid only from {}", moment(single.this_update));
        return answer;
    }
    if let Some(next) = single.next_update
        && clock.reached(next.saturating_add(1))
    {
        answer.why = format!("expired {}", moment(next));
        return answer;
    }
    if single.status == CertStatus::Unknown {
        answer.status = OcspStatus::Unknown;
        "says that the responder does not know it".clone_into(&mut answer.why);
        return answer;
    }
    answer.status = OcspStatus::Good;
    answer
}

/// Whether somebody signed the response who may: the issuer, or who has its
/// certificate for it (RFC 6960 §4.2.2.2).
fn signer(
    response: &Response,
    issuer: &Cert,
    signatures: &Signatures,
    clock: &mut Clock,
) -> Result<Verified, &'static str> {
    let (Some(basic), Some((signed, signature))) = (&response.basic, response.signed()) else {
        return Err("says nothing");
    };
    let by = |who: &Cert| {
        signatures.remembered((response.fingerprint, who.spki_sha256), || {
            verify(&basic.sig_alg, &who.key, signed, signature)
        })
    };
    let mut verdict = Err("is signed by who is neither the issuer nor authorised by it");
    if basic.is_by(issuer) {
        verdict = Ok(by(issuer));
        if verdict == Ok(Verified::Good) {
            return verdict;
        }
    }
    for der in &basic.certificates {
        let Some(delegate) = Cert::parse(der).filter(|cert| basic.is_by(cert)) else {
            continue;
        };
        if delegate.spki_sha256 == issuer.spki_sha256 {
            continue;
        }
        if delegate.issuer_key != issuer.subject_key {
            continue;
        }
        match signatures.of_cert(&delegate, issuer) {
            Verified::Good => {}
            Verified::Unsupported => return Ok(Verified::Unsupported),
            Verified::Bad => continue,
        }
        if !delegate.ext.ext_key_usage.is_some_and(|usage| usage.ocsp) {
            verdict = Err("is signed by a certificate that is not for OCSP (id-kp-OCSPSigning)");
            continue;
        }
        if !delegate.allows(usage::DIGITAL_SIGNATURE) {
            verdict = Err("is signed by a certificate that may not sign (keyUsage)");
            continue;
        }
        let expired = clock.reached(delegate.not_after.saturating_add(1));
        if expired || !clock.reached(delegate.not_before.saturating_sub(SKEW)) {
            verdict = Err("is signed by a responder outside of its certificate's dates");
            continue;
        }
        match by(&delegate) {
            Verified::Good => return Ok(Verified::Good),
            other => verdict = Ok(other),
        }
    }
    verdict
}

/// What one list says of a certificate at packet time.
fn consult(
    list: &Crl,
    cert: &Cert,
    issuer: &Cert,
    signatures: &Signatures,
    clock: &mut Clock,
) -> (CrlStatus, String) {
    let none = String::new;
    if list.scope.indirect || list.scope.unknown_critical {
        return (CrlStatus::Unsupported, none());
    }
    let (signed, signature) = list.signed();
    let verified = signatures.remembered((list.fingerprint, issuer.spki_sha256), || {
        verify(&list.sig_alg, &issuer.key, signed, signature)
    });
    if verified != Verified::Good || !issuer.allows(usage::CRL_SIGN) {
        return (CrlStatus::Unverified, none());
    }
    let begun = clock.reached(list.this_update.saturating_sub(SKEW));
    let over = list
        .next_update
        .is_some_and(|next| clock.reached(next.saturating_add(1)));
    if let Some(entry) = list.entry(cert.serial()) {
        // removeFromCRL ends a hold; a hold that an old list knows may have ended.
        let released = entry.reason == Some(8) || entry.reason == Some(6) && over;
        // A list of later says what was revoked by packet time as well.
        if !released && (begun || clock.reached(entry.at)) {
            let reason = entry.reason.map_or("", reason_name);
            let space = if reason.is_empty() { "" } else { " for " };
            let text = format!(
                "was revoked {}{space}{reason} (list of `{}`, {})",
                moment(entry.at),
                list.issuer_label,
                moment(list.this_update)
            );
            return (CrlStatus::Revoked, text);
        }
        let status = match released {
            true => CrlStatus::NotCovered,
            // Revoked after packet time.
            false => CrlStatus::Good,
        };
        return (status, none());
    }
    let covered = list.speaks_of(cert)
        && match begun {
            true => !over,
            // Lists drop certificates that have expired.
            false => cert.not_after >= list.this_update,
        };
    let status = match covered {
        true => CrlStatus::Good,
        false => CrlStatus::NotCovered,
    };
    (status, none())
}
