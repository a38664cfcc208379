//! A credential that crossed the wire outside TLS: Basic, Bearer, API key,
//! session cookie, password in a form or in JSON. Answers to a challenge
//! (Digest, NTLM, Negotiate) are not the secret itself. Source: RFC 7617 §4,
//! RFC 6750 §5.3.

use super::{NO_REQUEST, is_api};
use crate::control::{Audit, Fact, Meta, Outcome, Severity, Wants};
use crate::policy::Policy;

pub(super) struct CredentialPlaintext;

static META: Meta = Meta {
    id: "NS-03.credential_plaintext",
    title: "Credential sent outside TLS",
    severity: Severity::Critical,
    attack: &["T1040", "T1552"],
    wants: Wants::Http,
    observable_with: "requests in plaintext or decrypted",
    source: "RFC 7617 section 4; RFC 6750 section 5.3",
};

impl Audit for CredentialPlaintext {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn audit(&self, policy: &Policy, fact: Fact<'_>) -> Vec<Outcome> {
        let Fact::Http(flow, tx) = fact else {
            return Vec::new();
        };
        let mut classes: Vec<&'static str> = tx
            .credentials
            .iter()
            .map(|known| known.class)
            .filter(|class| !matches!(*class, "http_digest" | "http_ntlm" | "http_negotiate"))
            .collect();
        classes.sort_unstable();
        classes.dedup();
        if !classes.is_empty() && !tx.decrypted {
            let violated = |class: &'static str| {
                let reason = format!("a credential ({class}) crossed the wire in plaintext");
                Outcome::violated(&META, Severity::Critical, class, reason)
            };
            return classes.into_iter().map(violated).collect();
        }
        match (is_api(policy, flow, tx), tx.has_request) {
            (false, _) if classes.is_empty() => Vec::new(),
            (_, true) => vec![Outcome::passed(&META)],
            (_, false) => vec![Outcome::not_observed(&META, NO_REQUEST)],
        }
    }
}
