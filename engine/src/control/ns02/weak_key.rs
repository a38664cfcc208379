//! A key of the chain that can be found: RSA below 2048 bits, a weak curve, a bad exponent, ROCA.
//! Source: NIST SP 800-57 part 1; CA/Browser Forum Baseline Requirements §6.1.5, §6.1.6.

use super::Shown;
use crate::control::{Audit, Fact, Meta, Outcome, Severity, Wants};
use crate::pki::Class;
use crate::policy::Policy;

pub(super) struct WeakKey;

static META: Meta = Meta {
    id: "NS-02.weak_key",
    title: "Weak key in the chain",
    severity: Severity::High,
    attack: &["T1557"],
    wants: Wants::Certificates,
    observable_with: "the server's certificate: TLS 1.2 or below, or a key log",
    source: "NIST SP 800-57 part 1; CA/Browser Forum BR section 6.1.5",
};

impl Audit for WeakKey {
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
    shown.judge(&META, Class::WeakKey)
}
