//! DNS outside TLS: counted apart from other plaintext, since a host can
//! hardly avoid it. Source: RFC 7858 (DoT), RFC 8484 (DoH), RFC 9250 (DoQ).

use crate::control::{Amount, Audit, Fact, Meta, Outcome, Severity, Unit, Wants};
use crate::policy::Policy;

pub(super) struct DnsPlaintext;

static META: Meta = Meta {
    id: "NS-01.dns_plaintext",
    title: "DNS outside TLS",
    severity: Severity::Info,
    attack: &["T1071.004"],
    wants: Wants::Any,
    observable_with: "DNS messages, or TLS to a DNS-over-TLS port",
    source: "RFC 7858; RFC 8484; RFC 9250",
};

static MESSAGES: Unit = Unit {
    before: "",
    one: "DNS message",
    many: "DNS messages",
};

/// DNS over TLS (RFC 7858 §3.1).
const DOT_PORT: u16 = 853;

impl Audit for DnsPlaintext {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn audit(&self, _policy: &Policy, fact: Fact<'_>) -> Vec<Outcome> {
        match fact {
            Fact::Plaintext(_, facts) if facts.protocol == "dns" && facts.dns_messages > 0 => {
                let amount = Amount {
                    number: facts.dns_messages,
                    at_least: false,
                    unit: &MESSAGES,
                };
                let rest = " in plaintext";
                vec![Outcome::counted(&META, Severity::Info, "dns", amount, rest)]
            }
            Fact::Plaintext(_, facts) if facts.protocol == "dns" => {
                vec![Outcome::not_observed(
                    &META,
                    "no whole DNS message was captured",
                )]
            }
            Fact::Tls(flow, tls) if flow.dst_port == DOT_PORT && tls.established => {
                vec![Outcome::passed(&META)]
            }
            _ => Vec::new(),
        }
    }
}
