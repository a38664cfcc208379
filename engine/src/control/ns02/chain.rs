//! No path from the certificate to a root that was trusted at packet time.
//! Source: RFC 5280 §6. Dates are `expiration`, hashes `weak_signature`. What the
//! profile forbids and clients let pass is a warning.

use super::Shown;
use crate::control::{Audit, Fact, Meta, Outcome, Severity, Wants};
use crate::pki::Class;
use crate::policy::Policy;

pub(super) struct Chain;

static META: Meta = Meta {
    id: "NS-02.chain",
    title: "No trusted chain",
    severity: Severity::High,
    attack: &["T1557"],
    wants: Wants::Certificates,
    observable_with: "the server's certificate: TLS 1.2 or below, or a key log",
    source: "RFC 5280 section 6",
};

impl Audit for Chain {
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
    let mut outcomes = shown.faults(&META, validation.of(Class::Chain));
    if outcomes.is_empty() && validation.of(Class::Unknown).next().is_some() {
        let why = "a signature of the chain is of an algorithm that cannot be checked";
        return vec![Outcome::not_observed(&META, why)];
    }
    if outcomes.is_empty() {
        outcomes.extend(
            validation
                .of(Class::Profile)
                .take(super::MAX_OUTCOMES)
                .map(|fault| {
                    let detail = super::detail(fault);
                    shown.violation(&META, Severity::Low, detail, fault.text.clone())
                }),
        );
    }
    if outcomes.is_empty() {
        outcomes.push(Outcome::passed(&META));
    }
    outcomes
}
