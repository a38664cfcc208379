//! A certificate of the chain outside its dates at packet time.
//! Source: RFC 5280 §4.1.2.5.

use super::Shown;
use crate::control::{Audit, Fact, Meta, Outcome, Severity, Wants};
use crate::pki::Class;
use crate::policy::Policy;

pub(super) struct Expiration;

static META: Meta = Meta {
    id: "NS-02.expiration",
    title: "Expired or not yet valid",
    severity: Severity::High,
    attack: &["T1557"],
    wants: Wants::Certificates,
    observable_with: "the server's certificate: TLS 1.2 or below, or a key log",
    source: "RFC 5280 section 4.1.2.5",
};

impl Audit for Expiration {
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
    shown.judge(&META, Class::Expiration)
}
