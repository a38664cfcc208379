//! A body over the limit, by the bytes on the wire, answered by anything but
//! 413. Source: RFC 9110 §15.5.14.

use super::NO_ANSWER;
use crate::control::{Audit, Fact, Meta, Outcome, Severity, Wants};
use crate::policy::Policy;

pub(super) struct RequestSize;

static META: Meta = Meta {
    id: "NS-03.request_size",
    title: "Request body over the limit",
    severity: Severity::Medium,
    attack: &["T1499"],
    wants: Wants::Http,
    observable_with: "requests and their answers",
    source: "RFC 9110 section 15.5.14",
};

impl Audit for RequestSize {
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
        let limit = policy.api.input_validation.max_request_size_mb * 1_048_576.0;
        // A server may refuse by what was announced, before it was sent.
        let sent = tx.request.body_bytes;
        let stated = tx.request.content_length.unwrap_or_default();
        let detail = super::subject(tx);
        vec![match tx.status {
            Some(413) if sent.max(stated) as f64 > limit => {
                Outcome::refused(&META, detail, "refused for its size")
            }
            _ if sent as f64 <= limit => Outcome::passed(&META),
            None => Outcome::not_observed(&META, NO_ANSWER),
            Some(status) => {
                let reason =
                    format!("a body of {sent} bytes (limit {limit}) was answered {status}");
                Outcome::violated(&META, Severity::Medium, detail, reason)
            }
        }]
    }
}
