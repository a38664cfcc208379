//! A plaintext HTTP request: was it sent on to `https://` on the same host, or
//! served? Source: RFC 6797 §7.2, RFC 9110 §15.4. Whether the redirect was
//! followed is found when flows are gathered. What certificates are judged by is
//! fetched in plaintext by design: it is signed, and TLS itself may need it (RFC
//! 5280 §8, RFC 6960 §A.1).

use crate::control::{Amount, Audit, Fact, Meta, Outcome, Severity, Unit, Wants};
use crate::policy::Policy;
use crate::proto::plain::HttpExchange;
use std::collections::BTreeMap;

pub(super) struct HttpUpgrade;

static META: Meta = Meta {
    id: "NS-01.http_upgrade",
    title: "Plaintext HTTP served, or sent on to HTTPS",
    severity: Severity::High,
    attack: &["T1557", "T1040"],
    wants: Wants::Plaintext,
    observable_with: "the answers to plaintext HTTP requests",
    source: "RFC 6797 section 7.2; RFC 9110 section 15.4; RFC 5280 section 8",
};

/// How a request in plaintext was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Answer {
    /// By a redirect to HTTPS on the same host.
    Upgraded,
    /// By an OCSP response, a revocation list or an issuer's certificate.
    Pki,
    /// By a refusal to serve plaintext.
    Refused,
    /// By content, or a redirect elsewhere.
    Served,
    /// Not in the capture.
    Unseen,
}

/// How an exchange was answered.
pub(super) fn answer(policy: &Policy, exchange: &HttpExchange) -> Answer {
    match (exchange.status, &exchange.location) {
        (None, _) => Answer::Unseen,
        (Some(300..=399), Some(target))
            if policy.network.tls.upgrade_insecure.enabled
                && target.scheme == "https"
                && Some(&target.host) == exchange.host.as_ref() =>
        {
            Answer::Upgraded
        }
        // Upgrade Required (RFC 9110 section 15.5.22). Other errors are the
        // application's own answers, given in plaintext.
        (Some(426), _) => Answer::Refused,
        _ if exchange.pki => Answer::Pki,
        _ => Answer::Served,
    }
}

static REQUESTS: Unit = Unit {
    before: "",
    one: "request was",
    many: "requests were",
};

static FETCHES: Unit = Unit {
    before: "",
    one: "answer is an OCSP response, a revocation list or an issuer's certificate",
    many: "answers are OCSP responses, revocation lists or issuers' certificates",
};

impl Audit for HttpUpgrade {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn audit(&self, policy: &Policy, fact: Fact<'_>) -> Vec<Outcome> {
        let Fact::Plaintext(_, facts) = fact else {
            return Vec::new();
        };
        let mut answers: BTreeMap<(&str, Answer), u64> = BTreeMap::new();
        for exchange in &facts.http {
            let host = exchange.host.as_deref().unwrap_or_default();
            *answers.entry((host, answer(policy, exchange))).or_default() += 1;
        }
        // Only so many exchanges of a flow are kept.
        let at_least = facts.http_exchanges > facts.http.len() as u64;
        let requests = |number| Amount {
            number,
            at_least,
            unit: &REQUESTS,
        };
        answers
            .into_iter()
            .map(|((host, answer), count)| match answer {
                Answer::Upgraded if policy.network.tls.upgrade_insecure.log_upgrades => {
                    let detail = format!("{host} upgraded");
                    let amount = requests(count);
                    Outcome::counted(&META, Severity::Low, detail, amount, " sent on to https://")
                        .titled("Plaintext HTTP sent on to HTTPS")
                }
                Answer::Upgraded => Outcome::passed(&META),
                Answer::Pki => {
                    let detail = format!("{host} pki");
                    let amount = Amount {
                        unit: &FETCHES,
                        ..requests(count)
                    };
                    let rest = ": such are signed, and fetched in plaintext by design (RFC 5280, RFC 6960)";
                    Outcome::counted(&META, Severity::Info, detail, amount, rest)
                        .titled("Certificate status fetched over plaintext HTTP, as it is meant to be")
                }
                Answer::Refused => {
                    Outcome::refused(&META, host, "the server refused plaintext HTTP")
                }
                Answer::Served => {
                    let detail = format!("{host} served");
                    let severity = if policy.network.tls.required {
                        Severity::High
                    } else {
                        Severity::Info
                    };
                    let amount = requests(count);
                    Outcome::counted(&META, severity, detail, amount, " served in plaintext")
                        .titled("Plaintext HTTP served")
                }
                Answer::Unseen => Outcome::not_observed(&META, "the answer is not in the capture"),
            })
            .collect()
    }
}
