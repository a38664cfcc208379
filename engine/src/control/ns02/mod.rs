//! NS-02, certificate validation as of packet time: what the server showed,
//! whether a client may accept it, and whether this one did. One file per check.

mod accepted_anyway;
mod chain;
mod ct;
mod expiration;
mod expiring_soon;
mod hostname;
mod pin;
mod refused;
mod revocation;
mod self_signed;
mod weak_key;
mod weak_signature;

#[cfg(test)]
mod cases;

use super::{Audit, Meta, Outcome, Severity};
use crate::flow::{FlowRecord, NameSource};
use crate::pki::{Class, Fault, Validation, hex};
use crate::policy::Policy;
use crate::proto::tls::{Auth, CertVisibility, TlsHandshake, suite};

/// The checks, sorted by id.
pub(super) const CHECKS: &[&dyn Audit] = &[
    &accepted_anyway::AcceptedAnyway,
    &chain::Chain,
    &ct::Ct,
    &expiration::Expiration,
    &expiring_soon::ExpiringSoon,
    &hostname::Hostname,
    &pin::Pin,
    &refused::Refused,
    &revocation::Revocation,
    &self_signed::SelfSigned,
    &weak_key::WeakKey,
    &weak_signature::WeakSignature,
];

/// A handshake with what became of its chain.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// The flow.
    pub flow: &'a FlowRecord,
    /// The handshake.
    pub tls: &'a TlsHandshake,
    /// What became of the chain; `None` when none was seen.
    pub validation: Option<&'a Validation>,
    /// What the checks that do not build on others said of it.
    pub before: &'a [Outcome],
}

impl Shown<'_> {
    /// The server's certificate, or why it cannot be seen.
    fn validation(&self) -> Result<&Validation, &'static str> {
        self.validation.ok_or_else(|| unseen(self.tls))
    }

    /// Whom the client asked for.
    fn host(&self) -> Option<&str> {
        validated_hostname(self.flow, self.tls).map(|(name, _)| name)
    }

    /// The client broke the handshake off because of the certificate.
    fn refused_by_client(&self) -> Option<u8> {
        refused_by_client(self.tls)
    }

    /// A violation, or evidence that the client refused it.
    fn violation(
        &self,
        meta: &'static Meta,
        severity: Severity,
        detail: String,
        reason: String,
    ) -> Outcome {
        violation(self.tls, meta, severity, detail, reason)
    }

    /// One outcome for each fault of a class; passed without one.
    fn judge(&self, meta: &'static Meta, class: Class) -> Vec<Outcome> {
        let validation = match self.validation() {
            Ok(validation) => validation,
            Err(why) => return vec![Outcome::not_observed(meta, why)],
        };
        let outcomes = self.faults(meta, validation.of(class));
        if outcomes.is_empty() {
            return vec![Outcome::passed(meta)];
        }
        outcomes
    }

    fn faults<'f>(
        &self,
        meta: &'static Meta,
        faults: impl Iterator<Item = &'f Fault>,
    ) -> Vec<Outcome> {
        faults
            .take(MAX_OUTCOMES)
            .map(|fault| {
                let text = fault.text.clone();
                self.violation(meta, meta.severity, detail(fault), text)
            })
            .collect()
    }
}

/// Why the server's certificate is not to be seen.
fn unseen(tls: &TlsHandshake) -> &'static str {
    let suite = tls
        .server
        .as_deref()
        .and_then(|server| suite(server.cipher));
    let is_anonymous = suite.is_some_and(|info| matches!(info.auth, Auth::None | Auth::Psk));
    match tls.cert_visibility {
        CertVisibility::Encrypted if tls.decryption_failure.is_some() => {
            "TLS 1.3 encrypts the certificate, and the secrets at hand do not open it"
        }
        CertVisibility::Encrypted => "TLS 1.3 encrypts the certificate: a key log would show it",
        CertVisibility::Resumed => {
            "the session was resumed: the certificate was shown when it began"
        }
        _ if is_anonymous => "the suite has no certificates: nobody proved who they are",
        _ => "the server's certificate is not in the capture",
    }
}

/// The alert about certificates by which the client broke the handshake off.
fn refused_by_client(tls: &TlsHandshake) -> Option<u8> {
    if tls.established {
        return None;
    }
    let alerts = tls.alerts.iter();
    alerts
        .filter(|alert| alert.from_client)
        .map(|alert| alert.description)
        .find(|description| CERTIFICATE_ALERTS.contains(description))
}

/// A violation, or evidence that the client refused it.
fn violation(
    tls: &TlsHandshake,
    meta: &'static Meta,
    severity: Severity,
    detail: String,
    reason: String,
) -> Outcome {
    match refused_by_client(tls) {
        Some(_) => Outcome::refused(meta, detail, format!("{reason}; the client refused it")),
        None => Outcome::violated(meta, severity, detail, reason),
    }
}

/// What `tls_handshakes` keeps of a handshake and its chain: enough for pins,
/// and for whether a bad certificate was accepted.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The handshake, as far as these ask.
    pub tls: TlsHandshake,
    /// Whom the client asked for.
    pub host: Option<String>,
    /// The chain; `None` when none was seen.
    pub path: Option<KeptPath>,
}

/// A validated path, as the table keeps it.
#[derive(Clone, Debug)]
pub struct KeptPath {
    /// SHA-256 of its public keys.
    pub spkis: Vec<[u8; 32]>,
    /// Whether it leads to a root that was trusted, with nothing wrong.
    pub is_trusted: bool,
    /// Fingerprint of the server's certificate, hex; empty when it does not parse.
    pub leaf: String,
}

impl Kept {
    fn path(&self) -> Result<&KeptPath, &'static str> {
        self.path.as_ref().ok_or_else(|| unseen(&self.tls))
    }

    /// What `NS-02.pin` says.
    pub fn pin(&self, policy: &Policy) -> Vec<Outcome> {
        pin::of_kept(policy, self)
    }

    /// What `NS-02.accepted_anyway` says, where these checks failed.
    pub fn accepted_anyway(&self, failed: Vec<&str>) -> Vec<Outcome> {
        accepted_anyway::of_kept(self, failed)
    }
}

pub use accepted_anyway::DECISIVE;

/// Outcomes of one check for one handshake.
const MAX_OUTCOMES: usize = 8;

/// bad_certificate, unsupported_certificate, certificate_revoked,
/// certificate_expired, certificate_unknown, unknown_ca,
/// bad_certificate_status_response (RFC 8446 §6.2).
const CERTIFICATE_ALERTS: [u8; 7] = [42, 43, 44, 45, 46, 48, 113];

/// What tells findings of one check apart: the fault and the certificate.
fn detail(fault: &Fault) -> String {
    format!("{} {}", fault.kind.name(), hex(&fault.fingerprint))
}

fn leaf_detail(validation: &Validation) -> String {
    validation
        .leaf
        .as_deref()
        .map(|leaf| hex(&leaf.fingerprint))
        .unwrap_or_default()
}

/// The name that the certificate is compared with, and where it comes from.
pub fn validated_hostname<'a>(
    flow: &'a FlowRecord,
    tls: &'a TlsHandshake,
) -> Option<(&'a str, &'static str)> {
    let sni = tls
        .client
        .as_deref()
        .and_then(|client| client.server_name.as_deref());
    match sni {
        Some(name) => Some((name, "sni")),
        None => {
            // What an address is called by others is nothing to prove.
            let source = flow
                .server_name_source
                .filter(|source| matches!(source, NameSource::Sni | NameSource::HttpHost))?;
            Some((flow.server_name.as_deref()?, source.name()))
        }
    }
}

/// Whether the policy asks for a check of this control.
pub(super) fn is_enabled(policy: &Policy, check_id: &str) -> bool {
    use crate::policy::WarnOn;
    let certificates = &policy.network.certificates;
    let validation = &certificates.validation;
    let warns = |what| certificates.warn_on.contains(&what);
    validation.enabled
        && match check_id {
            "NS-02.chain" => validation.verify_chain,
            "NS-02.hostname" => validation.verify_hostname,
            "NS-02.expiration" => validation.check_expiration,
            "NS-02.expiring_soon" => validation.check_expiration && warns(WarnOn::ExpiringSoon),
            "NS-02.ct" => certificates.certificate_transparency.enabled,
            "NS-02.revocation" => validation.check_revocation,
            "NS-02.pin" => certificates.pinning.enabled,
            "NS-02.self_signed" => warns(WarnOn::SelfSigned),
            "NS-02.weak_signature" => warns(WarnOn::WeakSignature),
            _ => true,
        }
}
