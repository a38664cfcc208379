//! A credential that an endpoint refused with 401 and later served without
//! change, or a malformed token that was served. Source: RFC 9110 §15.5.2;
//! RFC 8725 §2. Judged by [`super::behaviour`].

use crate::control::{Audit, Fact, Meta, Outcome, Severity, Wants};
use crate::policy::Policy;

pub(super) struct InvalidCredentialAccepted;

pub(super) static META: Meta = Meta {
    id: "NS-03.invalid_credential_accepted",
    title: "Invalid credential accepted",
    severity: Severity::High,
    attack: &["T1078"],
    wants: Wants::Http,
    observable_with: "requests with a credential to one endpoint over time, and their answers",
    source: "RFC 9110 section 15.5.2; RFC 8725 section 2",
};

impl Audit for InvalidCredentialAccepted {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn audit(&self, _policy: &Policy, _fact: Fact<'_>) -> Vec<Outcome> {
        Vec::new()
    }
}
