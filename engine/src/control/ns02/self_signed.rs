//! A certificate that nobody but itself vouches for, or a root of its own that is not trusted.
//! Source: RFC 5280 §3.2.

use super::Shown;
use crate::control::{Audit, Fact, Meta, Outcome, Severity, Wants};
use crate::pki::Kind;
use crate::policy::Policy;

pub(super) struct SelfSigned;

static META: Meta = Meta {
    id: "NS-02.self_signed",
    title: "Self-signed certificate",
    severity: Severity::Medium,
    attack: &["T1557"],
    wants: Wants::Certificates,
    observable_with: "the server's certificate: TLS 1.2 or below, or a key log",
    source: "RFC 5280 section 3.2",
};

impl Audit for SelfSigned {
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
    let of_its_own = validation
        .faults
        .iter()
        .filter(|fault| matches!(fault.kind, Kind::SelfSigned | Kind::UntrustedRoot));
    let outcomes = shown.faults(&META, of_its_own);
    match outcomes.is_empty() {
        true => vec![Outcome::passed(&META)],
        false => outcomes,
    }
}
