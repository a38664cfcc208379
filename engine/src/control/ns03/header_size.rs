//! A header section over the limit, answered by anything but 431 or 400.
//! Source: RFC 6585 §5.

use super::Size;
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
        let sent = tx.request.header_bytes;
        super::sized(
            &META,
            tx,
            &Size {
                what: "header section",
                limit: policy.api.input_validation.max_header_size_kb * 1024.0,
                sent,
                stated: sent,
                refusals: &[400, 431],
            },
        )
    }
}
