//! A signature of the chain made with MD2, MD5 or SHA-1; that of the root counts for nothing.
//! Source: RFC 6149, RFC 6151, RFC 9155; CA/Browser Forum ballot 118.

use super::Shown;
use crate::control::{Audit, Fact, Meta, Outcome, Severity, Wants};
use crate::pki::Class;
use crate::policy::Policy;

pub(super) struct WeakSignature;

static META: Meta = Meta {
    id: "NS-02.weak_signature",
    title: "Weak signature in the chain",
    severity: Severity::Medium,
    attack: &["T1557"],
    wants: Wants::Certificates,
    observable_with: "the server's certificate: TLS 1.2 or below, or a key log",
    source: "RFC 6149; RFC 6151; RFC 9155",
};

impl Audit for WeakSignature {
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
    shown.judge(&META, Class::WeakSignature)
}
