//! Whether certificates of a path were revoked at packet time, by the stapled
//! OCSP response (RFC 6066 §8, RFC 6961), by responses and lists that passed
//! through the capture, and by lists that the user gives (RFC 6960, RFC 5280 §6.3).

use super::cert::{Cert, usage};
use super::crl::Crl;
use super::moment;
use super::ocsp::{CertStatus, Response, reason_name};
use super::path::{Clock, Signatures};
use super::sig::{Verified, verify};
use super::sources::Relevant;
use std::collections::BTreeSet;
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
    /// A response about the server's certificate passed through the capture, and
    /// why it does not count; `None` where one that counts did, or none at all.
    pub unsound: Option<String>,
    /// More responses or lists passed through the capture than are kept.
    pub left_out: bool,
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
        result.left_out = self.found.left_out;
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
            let mut unsound = None;
            let ocsp = self.by_ocsp(at, cert, issuer, &mut result.problems, &mut unsound);
            let crl = self.by_lists(cert, issuer, &mut result.problems);
            if at == 0 {
                result.unsound = unsound.filter(|_| ocsp.is_none());
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
        unsound: &mut Option<String>,
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
                OcspStatus::Invalid | OcspStatus::Unverified => {
                    unsound.get_or_insert(judged.why);
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

/// Whether a response bears a signature of who may give one, at whatever time:
/// what others may have forged in plain HTTP does not.
pub(super) fn response_is_of(response: &Response, issuer: &Cert, signatures: &Signatures) -> bool {
    let (Some(basic), Some((signed, signature))) = (&response.basic, response.signed()) else {
        return false;
    };
    let by = |who: &Cert| {
        let verified = signatures.remembered((response.fingerprint, who.spki_sha256), || {
            verify(&basic.sig_alg, &who.key, signed, signature)
        });
        verified != Verified::Bad
    };
    if basic.is_by(issuer) && by(issuer) {
        return true;
    }
    basic.certificates.iter().any(|der| {
        Cert::parse(der)
            .filter(|cert| basic.is_by(cert) && cert.issuer_key == issuer.subject_key)
            .is_some_and(|delegate| {
                signatures.of_cert(&delegate, issuer) != Verified::Bad && by(&delegate)
            })
    })
}

/// Whether a list bears its issuer's signature, or one that cannot be checked.
pub(super) fn list_is_of(list: &Crl, issuer: &Cert, signatures: &Signatures) -> bool {
    let (signed, signature) = list.signed();
    let verified = signatures.remembered((list.fingerprint, issuer.spki_sha256), || {
        verify(&list.sig_alg, &issuer.key, signed, signature)
    });
    verified != Verified::Bad
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
