//! The client answered with a certificate alert: evidence that it validates.
//! Source: RFC 8446 §6.2, RFC 5246 §7.2.2.

use super::Shown;
use crate::control::{Audit, Fact, Meta, Outcome, Severity, Wants};
use crate::policy::Policy;
use crate::proto::tls::alert_name;

pub(super) struct Refused;

static META: Meta = Meta {
    id: "NS-02.refused",
    title: "Certificate refused by the client",
    severity: Severity::Info,
    attack: &[],
    wants: Wants::Certificates,
    observable_with: "the server's certificate: TLS 1.2 or below, or a key log",
    source: "RFC 8446 section 6.2",
};

impl Audit for Refused {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn audit(&self, _policy: &Policy, fact: Fact<'_>) -> Vec<Outcome> {
        let Fact::Certificates(shown) = fact else {
            return Vec::new();
        };
        judge(shown)
    }
}

fn judge(shown: Shown<'_>) -> Vec<Outcome> {
    if let Some(alert) = shown.refused_by_client() {
        let name = alert_name(alert);
        let reason = format!("the client refused the certificate: {name}");
        return vec![Outcome::refused(&META, name, reason)];
    }
    match shown.validation() {
        // Accepted, or broken off for another reason: nothing to say.
        Ok(_) => Vec::new(),
        Err(why) => vec![Outcome::not_observed(&META, why)],
    }
}
