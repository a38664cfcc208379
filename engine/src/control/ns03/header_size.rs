//! A header section over the limit, answered by anything but 431 or 400.
//! Source: RFC 6585 §5.

use super::NO_ANSWER;
use crate::control::{Audit, Fact, Meta, Outcome, Severity, Wants};
use crate::policy::Policy;

pub(super) struct HeaderSize;

static META: Meta = Meta {
    id: "NS-03.header_size",
    title: "Header section over the limit",
    severity: Severity::Low,
    attack: &["T1499"],
    wants: Wants::Http,
    observable_with: "requests and their answers",
    source: "RFC 6585 section 5",
};

impl Audit for HeaderSize {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn audit(&self, policy: &Policy, fact: Fact<'_>) -> Vec<Outcome> {
        let Fact::Http(_, tx) = fact else {
            return Vec::new();
        };
        if !tx.has_request {
            return Vec::new();
        }
        let limit = policy.api.input_validation.max_header_size_kb * 1024.0;
        let size = tx.request.header_bytes;
        if size as f64 <= limit {
            return vec![Outcome::passed(&META)];
        }
        let detail = super::subject(tx);
        vec![match tx.status {
            None => Outcome::not_observed(&META, NO_ANSWER),
            Some(400 | 431) => Outcome::refused(&META, detail, "refused for its size"),
            Some(status) => {
                let reason = format!(
                    "a header section of {size} bytes (limit {limit}) was answered {status}"
                );
                Outcome::violated(&META, Severity::Low, detail, reason)
            }
        }]
    }
}
