//! A body of a media type that is not allowed, answered by success. Source:
//! RFC 9110 §8.3, §15.5.16.

use super::{NO_ANSWER, is_served};
use crate::control::{Audit, Fact, Meta, Outcome, Severity, Wants};
use crate::policy::Policy;
use crate::proto::plain::http::Text;

pub(super) struct ContentType;

static META: Meta = Meta {
    id: "NS-03.content_type",
    title: "Media type not allowed",
    severity: Severity::Low,
    attack: &["T1190"],
    wants: Wants::Http,
    observable_with: "requests with a body and their answers",
    source: "RFC 9110 sections 8.3 and 15.5.16",
};

impl Audit for ContentType {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn audit(&self, policy: &Policy, fact: Fact<'_>) -> Vec<Outcome> {
        let Fact::Http(_, tx) = fact else {
            return Vec::new();
        };
        if !tx.has_request || tx.request.body_bytes == 0 {
            return Vec::new();
        }
        let there = tx.text(Text::RequestType).unwrap_or("none");
        let allowed = &policy.api.input_validation.content_types.allowed;
        let is_allowed = allowed.iter().any(|kind| kind.eq_ignore_ascii_case(there));
        vec![match tx.outcome() {
            _ if is_allowed => Outcome::passed(&META),
            None => Outcome::not_observed(&META, NO_ANSWER),
            Some(400 | 415) => Outcome::refused(&META, there, "refused"),
            Some(status) if is_served(status) => {
                let reason = format!("a body of media type {there} was answered {status}");
                Outcome::violated(&META, Severity::Low, there, reason)
            }
            Some(_) => return Vec::new(),
        }]
    }
}
