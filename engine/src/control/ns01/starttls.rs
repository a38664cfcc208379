//! An upgrade to TLS that was offered and not taken, refused, or stripped on
//! the way. Source: RFC 3207, RFC 8314 §3, RFC 7457 §2.1.

use crate::control::{Audit, Fact, Meta, Outcome, Severity, Wants};
use crate::policy::Policy;
use crate::proto::plain::StartTls;

pub(super) struct StartTlsUpgrade;

static META: Meta = Meta {
    id: "NS-01.starttls",
    title: "Upgrade to TLS not taken, refused or stripped",
    severity: Severity::Medium,
    attack: &["T1557"],
    wants: Wants::Plaintext,
    observable_with: "the start of a connection whose protocol can be upgraded",
    source: "RFC 3207; RFC 8314 section 3; RFC 7457 section 2.1",
};

impl Audit for StartTlsUpgrade {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn audit(&self, _policy: &Policy, fact: Fact<'_>) -> Vec<Outcome> {
        let Fact::Plaintext(_, facts) = fact else {
            return Vec::new();
        };
        let violated = |what: &str, reason: &'static str| {
            let detail = format!("{}: {what}", facts.protocol);
            vec![Outcome::violated(&META, Severity::Medium, detail, reason)]
        };
        match facts.starttls {
            None => Vec::new(),
            Some(StartTls::Taken) => vec![Outcome::passed(&META)],
            Some(StartTls::OfferedNotTaken) => violated(
                "offered, not taken",
                "the client went on without the upgrade",
            ),
            Some(StartTls::Refused) => violated("refused", "the server refused the upgrade"),
            Some(StartTls::Stripped) => {
                violated("stripped", "the offer was changed or removed on the way")
            }
            Some(StartTls::NotOffered) => vec![Outcome::not_observed(
                &META,
                "the server offers no upgrade; NS-01.plaintext judges what was said",
            )],
        }
    }
}
