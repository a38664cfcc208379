//! A client over the limit of an endpoint that was still served. Source: RFC
//! 6585 §4; token bucket by `api.rate_limiting`. Judged by [`super::behaviour`].

use crate::control::{Audit, Fact, Meta, Outcome, Severity, Wants};
use crate::policy::Policy;

pub(super) struct RateLimit;

pub(super) static META: Meta = Meta {
    id: "NS-03.rate_limit",
    title: "Rate limit not enforced",
    severity: Severity::Medium,
    attack: &["T1499"],
    wants: Wants::Http,
    observable_with: "a client's requests to an endpoint over time, and their answers",
    source: "RFC 6585 section 4; OWASP API Security API4:2023",
};

impl Audit for RateLimit {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn audit(&self, _policy: &Policy, _fact: Fact<'_>) -> Vec<Outcome> {
        Vec::new()
    }
}
