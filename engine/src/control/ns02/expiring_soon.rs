//! Less than 30 days left at packet time.

use super::Shown;
use crate::control::{Audit, Fact, Meta, Outcome, Severity, Wants};
use crate::policy::Policy;

pub(super) struct ExpiringSoon;

static META: Meta = Meta {
    id: "NS-02.expiring_soon",
    title: "Certificate about to expire",
    severity: Severity::Low,
    attack: &[],
    wants: Wants::Certificates,
    observable_with: "the server's certificate: TLS 1.2 or below, or a key log",
    source: "RFC 5280 section 4.1.2.5; network.certificates.warn_on",
};

impl Audit for ExpiringSoon {
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

/// Days left below which the policy warns.
const SOON_DAYS: i64 = 30;

fn judge(shown: Shown<'_>) -> Vec<Outcome> {
    let validation = match shown.validation() {
        Ok(validation) => validation,
        Err(why) => return vec![Outcome::not_observed(&META, why)],
    };
    let Some(leaf) = validation.leaf.as_deref() else {
        return vec![Outcome::not_observed(
            &META,
            "the certificate does not parse",
        )];
    };
    let now = shown
        .tls
        .ts
        .as_nanos()
        .div_euclid(crate::time::NANOS_PER_SECOND);
    let left = leaf.not_after.saturating_sub(now);
    // Expired is another check's business.
    if left < 0 {
        return Vec::new();
    }
    if left >= SOON_DAYS * 86_400 {
        return vec![Outcome::passed(&META)];
    }
    let until = crate::pki::moment(leaf.not_after);
    let reason = format!(
        "`{}` expires {until}, in less than {SOON_DAYS} days",
        leaf.label
    );
    vec![shown.violation(&META, Severity::Low, super::leaf_detail(validation), reason)]
}
