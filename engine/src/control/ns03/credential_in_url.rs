//! A token, key or password in a request's target, where logs and referrers
//! keep it. Source: RFC 6750 §5.3, RFC 9110 §17.9.

use super::{NO_REQUEST, is_api};
use crate::control::{Audit, Fact, Meta, Outcome, Severity, Wants};
use crate::policy::Policy;
use crate::proto::plain::http::Carrier;

pub(super) struct CredentialInUrl;

static META: Meta = Meta {
    id: "NS-03.credential_in_url",
    title: "Credential in a URL",
    severity: Severity::High,
    attack: &["T1552"],
    wants: Wants::Http,
    observable_with: "requests in plaintext or decrypted",
    source: "RFC 6750 section 5.3; RFC 9110 section 17.9",
};

impl Audit for CredentialInUrl {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn audit(&self, policy: &Policy, fact: Fact<'_>) -> Vec<Outcome> {
        let Fact::Http(flow, tx) = fact else {
            return Vec::new();
        };
        let mut found: Vec<&str> = tx
            .credentials
            .iter()
            .filter(|known| matches!(known.carrier, Carrier::Query | Carrier::Path))
            .map(|known| &*known.name)
            .collect();
        if tx.has_userinfo {
            found.push("user information");
        }
        found.sort_unstable();
        found.dedup();
        if !found.is_empty() {
            let found = found.join(", ");
            let reason = format!("the URL carries a credential: {found}");
            return vec![Outcome::violated(&META, Severity::High, found, reason)];
        }
        match (is_api(policy, flow, tx), tx.has_request) {
            (false, _) => Vec::new(),
            (true, true) => vec![Outcome::passed(&META)],
            (true, false) => vec![Outcome::not_observed(&META, NO_REQUEST)],
        }
    }
}
