//! A request to an API without a credential of the policy's methods, answered
//! by success. Source: RFC 9110 §11, RFC 6750. A request that brings a
//! password in its body asks for a token, and a CORS preflight never has one.

use super::{NO_ANSWER, is_authenticated, is_refused, is_served, subject};
use crate::control::{Audit, Fact, Meta, Outcome, Severity, Wants};
use crate::policy::Policy;
use crate::proto::plain::http::{Carrier, Text};

pub(super) struct AuthMissing;

static META: Meta = Meta {
    id: "NS-03.auth_missing",
    title: "API served without a credential",
    severity: Severity::High,
    attack: &["T1190"],
    wants: Wants::Http,
    observable_with: "requests to an API and their answers, in plaintext or decrypted",
    source: "RFC 9110 section 11; RFC 6750",
};

impl Audit for AuthMissing {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn audit(&self, policy: &Policy, fact: Fact<'_>) -> Vec<Outcome> {
        let Fact::Http(_, tx) = fact else {
            return Vec::new();
        };
        let asks_for_token = tx
            .credentials
            .iter()
            .any(|known| known.carrier == Carrier::Body);
        if !policy.api.authentication.required
            || !tx.has_request
            || asks_for_token
            || tx.text(Text::Method) == Some("OPTIONS")
        {
            return Vec::new();
        }
        let authenticated = is_authenticated(policy, tx);
        vec![match tx.outcome() {
            None => Outcome::not_observed(&META, NO_ANSWER),
            Some(_) if authenticated => Outcome::passed(&META),
            Some(status) if is_refused(status) => {
                Outcome::refused(&META, subject(tx), "refused without a credential")
            }
            Some(status) if is_served(status) => Outcome::violated(
                &META,
                Severity::High,
                subject(tx),
                format!("answered {status} to a request without a credential"),
            ),
            Some(_) => return Vec::new(),
        }]
    }
}
