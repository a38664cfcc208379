//! A certificate of the chain was revoked at packet time, or the proof that it
//! was not is none: a stapled OCSP response that no client may rely on, or none
//! although the certificate asks for one.
//! Source: RFC 6960, RFC 5280 §6.3, RFC 6066 §8, RFC 7633.

use super::Shown;
use crate::control::{Audit, Fact, Meta, Outcome, Severity, Wants};
use crate::pki::{CrlStatus, OcspSource, OcspStatus, Validation, hex};
use crate::policy::Policy;
use crate::proto::tls::{CertVisibility, version_rank};

pub(super) struct Revocation;

static META: Meta = Meta {
    id: "NS-02.revocation",
    title: "Revoked, or no valid proof that it is not",
    severity: Severity::Critical,
    attack: &["T1557"],
    wants: Wants::Certificates,
    observable_with: "a stapled OCSP response, OCSP or revocation lists over HTTP in the capture, or --crl",
    source: "RFC 6960; RFC 5280 section 6.3; RFC 6066 section 8; RFC 7633",
};

impl Audit for Revocation {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn audit(&self, _policy: &Policy, fact: Fact<'_>) -> Vec<Outcome> {
        let Fact::Certificates(shown) = fact else {
            return Vec::new();
        };
        judge(shown)
    }
}

fn judge(shown: Shown<'_>) -> Vec<Outcome> {
    let validation = match shown.validation() {
        Ok(validation) => validation,
        Err(why) => return vec![Outcome::not_observed(&META, why)],
    };
    let known = &validation.revocation;
    let mut outcomes: Vec<Outcome> = known
        .problems
        .iter()
        .take(super::MAX_OUTCOMES)
        .map(|problem| {
            let (severity, what) = match problem.revoked {
                true => (Severity::Critical, "revoked"),
                false => (Severity::Medium, "invalid_staple"),
            };
            let detail = format!("{what} {}", hex(&problem.fingerprint));
            shown.violation(&META, severity, detail, problem.text.clone())
        })
        .collect();
    if lacks_staple(shown, validation) {
        let detail = format!("must_staple {}", super::leaf_detail(validation));
        let reason = "the certificate asks for a stapled OCSP response (RFC 7633), the client did as well, and the server sent none";
        outcomes.push(shown.violation(&META, Severity::Medium, detail, reason.to_owned()));
    }
    if !outcomes.is_empty() {
        return outcomes;
    }
    let ocsp = known.ocsp.as_ref().map(|answer| answer.status);
    let stapled = known
        .ocsp
        .as_ref()
        .is_some_and(|answer| answer.source == OcspSource::Stapled);
    let good = ocsp == Some(OcspStatus::Good) || known.crl == Some(CrlStatus::Good);
    if good && known.left_out && !(stapled && ocsp == Some(OcspStatus::Good)) {
        // One that was left out may say that it was revoked since.
        return vec![Outcome::not_observed(&META, TOO_MANY)];
    }
    if good {
        return vec![Outcome::passed(&META)];
    }
    let why = match (ocsp, known.crl) {
        (Some(OcspStatus::Unverified), _) => {
            "the stapled OCSP response cannot be checked: its signature's algorithm, or the issuer, is not known"
        }
        (Some(_), _) => "the responder does not know the certificate",
        (None, Some(CrlStatus::Unsupported)) => {
            "only an indirect revocation list, or one with unknown critical extensions, is there"
        }
        (None, Some(CrlStatus::Unverified)) => {
            "the revocation list at hand is not signed by the certificate's issuer"
        }
        (None, Some(_)) => "no revocation list at hand speaks of the certificate at packet time",
        (None, None) if known.left_out => TOO_MANY,
        (None, None) if known.unsound.is_some() => {
            "OCSP responses about it passed through the capture, and no client could rely on any: forged, expired, or by who may not answer for its issuer"
        }
        (None, None) if !known.names_source => {
            "the certificate names no OCSP responder and no revocation list"
        }
        (None, None) => {
            "no OCSP response was stapled or passed through the capture, and no revocation list was given (--crl)"
        }
    };
    vec![Outcome::not_observed(&META, why)]
}

/// What passes in plain HTTP is cheap to forge, and only so much of it is kept.
const TOO_MANY: &str = "more OCSP responses or revocation lists about it passed through the capture than are kept: one that was left out may speak of it (see anomalies)";

/// Whether a staple is missing that had to be there.
fn lacks_staple(shown: Shown<'_>, validation: &Validation) -> bool {
    const STATUS_REQUEST_V2: u16 = 17;
    let tls = shown.tls;
    let stapled = validation
        .revocation
        .ocsp
        .as_ref()
        .is_some_and(|answer| answer.source == OcspSource::Stapled);
    let asked = tls.client.as_deref().is_some_and(|client| {
        client.status_request || client.extensions.contains(&STATUS_REQUEST_V2)
    });
    // In TLS 1.3 it comes with the certificate, before it in a message of its own.
    let whole_flight = tls.version.and_then(version_rank) == Some(5)
        || tls.established
        || tls.history.contains(['k', 'n']);
    validation.revocation.must_staple
        && !stapled
        && tls.ocsp_staple.is_none()
        && asked
        && whole_flight
        && matches!(
            tls.cert_visibility,
            CertVisibility::Visible | CertVisibility::Decrypted
        )
}
