//! A resource refused with 403 to a credential and served to the same one
//! unchanged, or an administrative path served without any. Source: RFC 9110
//! §15.5.4; OWASP API5:2023. Judged by [`super::behaviour`].

use crate::control::{Audit, Fact, Meta, Outcome, Severity, Wants};
use crate::policy::Policy;

pub(super) struct Authorization;

pub(super) static META: Meta = Meta {
    id: "NS-03.authorization",
    title: "Access refused and then granted, or administration open to all",
    severity: Severity::Medium,
    attack: &["T1190", "T1078"],
    wants: Wants::Http,
    observable_with: "requests with one credential for one resource over time, and their answers",
    source: "RFC 9110 section 15.5.4; OWASP API Security API5:2023",
};

impl Audit for Authorization {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn audit(&self, _policy: &Policy, _fact: Fact<'_>) -> Vec<Outcome> {
        Vec::new()
    }
}
