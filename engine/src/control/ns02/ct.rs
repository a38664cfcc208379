//! A publicly trusted certificate without the signed timestamps of transparency
//! logs, or with ones that their logs did not sign.
//! Source: RFC 6962 §3; Chrome's and Apple's policies ask for them since 2018.

use super::Shown;
use crate::control::{Audit, Fact, Meta, Outcome, Severity, Wants};
use crate::pki::{SctStatus, hex};
use crate::policy::{Policy, Required};
use std::collections::BTreeSet;

pub(super) struct Ct;

static META: Meta = Meta {
    id: "NS-02.ct",
    title: "Not in transparency logs",
    severity: Severity::Low,
    attack: &["T1557"],
    wants: Wants::Certificates,
    observable_with: "the server's certificate, and the keys of its logs (--ct-logs)",
    source: "RFC 6962 section 3; network.certificates.certificate_transparency",
};

/// 2018-04-30: Chrome asks for timestamps of certificates issued from then on.
const ASKED_SINCE: i64 = 1_525_046_400;

impl Audit for Ct {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn audit(&self, policy: &Policy, fact: Fact<'_>) -> Vec<Outcome> {
        let Fact::Certificates(shown) = fact else {
            return Vec::new();
        };
        let asked = &policy.network.certificates.certificate_transparency;
        judge(
            shown,
            match asked.require_scts {
                Required::Flag(false) => 0,
                Required::Flag(true) => 1,
                Required::Count(count) => usize::from(count),
            },
        )
    }
}

fn judge(shown: Shown<'_>, required: usize) -> Vec<Outcome> {
    let validation = match shown.validation() {
        Ok(validation) => validation,
        Err(why) => return vec![Outcome::not_observed(&META, why)],
    };
    let known = &validation.transparency;
    let leaf = super::leaf_detail(validation);
    let mut outcomes: Vec<Outcome> = known
        .malformed
        .iter()
        .map(|source| {
            let detail = format!("malformed {} {leaf}", source.name());
            let reason = format!("the list of timestamps is malformed ({})", source.name());
            shown.violation(&META, Severity::Low, detail, reason)
        })
        .collect();
    let (mut valid, mut seen) = (BTreeSet::new(), BTreeSet::new());
    for sct in &known.scts {
        match sct.status {
            SctStatus::Valid => {
                valid.insert(sct.log_id);
                seen.insert(sct.log_id);
            }
            SctStatus::Unverified(_) => {
                seen.insert(sct.log_id);
            }
            SctStatus::Invalid(why) if outcomes.len() < super::MAX_OUTCOMES => {
                let log = match sct.log.as_deref() {
                    Some(name) => name.to_owned(),
                    None => hex(&sct.log_id),
                };
                let source = sct.source.name();
                let detail = format!("invalid {source} {leaf}");
                let reason = format!("a timestamp of the log `{log}` ({source}) {why}");
                outcomes.push(shown.violation(&META, Severity::Low, detail, reason));
            }
            SctStatus::Invalid(_) => {}
        }
    }
    if !outcomes.is_empty() {
        return outcomes;
    }
    if seen.is_empty() {
        let why = if !validation.is_public() {
            "the chain leads to no publicly trusted root: nobody asks that its certificates be logged"
        } else if known.not_before < ASKED_SINCE {
            "the certificate was issued before browsers asked for timestamps (2018-04-30)"
        } else if required == 0 {
            "the policy asks for no timestamps, and there are none"
        } else {
            let detail = format!("missing {leaf}");
            let reason = format!(
                "the certificate has no timestamp of a transparency log; {required} asked for"
            );
            return vec![shown.violation(&META, Severity::Low, detail, reason)];
        };
        return vec![Outcome::not_observed(&META, why)];
    }
    if seen.len() < required {
        let detail = format!("too_few {leaf}");
        let reason = format!(
            "the certificate has timestamps of {} transparency logs; {required} asked for",
            seen.len()
        );
        return vec![shown.violation(&META, Severity::Low, detail, reason)];
    }
    if valid.len() < required.max(1) {
        let why = "timestamps are there and well-formed, but not enough of their logs' keys are known to check them (--ct-logs)";
        return vec![Outcome::not_observed(&META, why)];
    }
    vec![Outcome::passed(&META)]
}
