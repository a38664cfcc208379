//! A body over the limit, by the bytes on the wire, answered by anything but
//! 413. Source: RFC 9110 §15.5.14.

use super::Size;
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
        super::sized(
            &META,
            tx,
            &Size {
                what: "body",
                limit: policy.api.input_validation.max_request_size_mb * 1_048_576.0,
                sent: tx.request.body_bytes,
                // A server may refuse by what was announced, before it was sent.
                stated: tx.request.content_length.unwrap_or_default(),
                refusals: &[413],
            },
        )
    }
}
