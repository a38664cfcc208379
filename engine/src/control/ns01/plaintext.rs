//! Application data outside TLS, found by content and not by port. HTTP that
//! is only sent on to HTTPS, or is the status of certificates, is judged by
//! `http_upgrade` alone.
//! Source: RFC 8314, RFC 7258, RFC 9325 §3.2.

use super::http_upgrade::{Answer, answer};
use crate::control::{Audit, Fact, LIST, Meta, Outcome, Severity, Wants};
use crate::policy::Policy;
use crate::proto::plain::{PlaintextFacts, StartTls};
use std::collections::BTreeSet;

pub(super) struct Plaintext;

static META: Meta = Meta {
    id: "NS-01.plaintext",
    title: "Application data outside TLS",
    severity: Severity::High,
    attack: &["T1040", "T1557"],
    wants: Wants::Any,
    observable_with: "payload that can be recognised",
    source: "RFC 7258; RFC 8314; RFC 9325 section 3.2",
};

impl Audit for Plaintext {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn audit(&self, policy: &Policy, fact: Fact<'_>) -> Vec<Outcome> {
        let facts = match fact {
            Fact::Tls(_, tls) if tls.established => return vec![Outcome::passed(&META)],
            Fact::Tls(..) => {
                let reason = "the TLS handshake did not complete: no application data was seen";
                return vec![Outcome::not_observed(&META, reason)];
            }
            Fact::Unrecognised(_) => {
                let reason =
                    "payload of no known protocol: neither TLS nor plaintext was recognised";
                return vec![Outcome::not_observed(&META, reason)];
            }
            Fact::Plaintext(_, facts) => facts,
            Fact::Certificates(_) | Fact::Http(..) => return Vec::new(),
        };
        if facts.infrastructure || facts.encrypted {
            return Vec::new();
        }
        let credentials: BTreeSet<&str> = facts
            .credentials
            .iter()
            .map(|credential| credential.class)
            .collect();
        if credentials.is_empty() {
            if facts.starttls == Some(StartTls::Taken) {
                return vec![Outcome::passed(&META)];
            }
            match only_answered(policy, facts) {
                Some(Answer::Upgraded | Answer::Pki) => return Vec::new(),
                Some(Answer::Refused) => {
                    let reason = "the server refused plaintext HTTP";
                    return vec![Outcome::refused(&META, facts.protocol, reason)];
                }
                _ => {}
            }
        }
        let severity = match (credentials.is_empty(), policy.network.tls.required) {
            (false, _) => Severity::Critical,
            (true, true) => Severity::High,
            (true, false) => Severity::Info,
        };
        let mut reason = format!("{} outside TLS", facts.protocol);
        let mut lists = None;
        if !credentials.is_empty() {
            reason.push_str(", with credentials: ");
            lists = Some(reason.len());
            reason.push_str(&credentials.into_iter().collect::<Vec<_>>().join(LIST));
        }
        vec![Outcome {
            lists,
            at: facts.credentials.iter().map(|seen| seen.packet).min(),
            ..Outcome::violated(&META, severity, facts.protocol, reason)
        }]
    }
}

/// What became of a flow whose HTTP exchanges were all sent on, refused or about
/// certificates, and none served; refused, when any was.
fn only_answered(policy: &Policy, facts: &PlaintextFacts) -> Option<Answer> {
    let complete = facts.http_exchanges == facts.http.len() as u64;
    let answers = facts.http.iter().map(|exchange| answer(policy, exchange));
    let worst = answers.max().filter(|_| complete)?;
    matches!(worst, Answer::Upgraded | Answer::Pki | Answer::Refused).then_some(worst)
}
