//! The certificate was not made for whom the client asked for.
//! Source: RFC 9525 §6. Without a name in the ClientHello the address is tried.

use super::Shown;
use crate::control::{Audit, Fact, Meta, Outcome, Severity, Wants};
use crate::pki::HostMatch;
use crate::policy::Policy;

pub(super) struct Hostname;

static META: Meta = Meta {
    id: "NS-02.hostname",
    title: "Certificate for another name",
    severity: Severity::High,
    attack: &["T1557"],
    wants: Wants::Certificates,
    observable_with: "the server's certificate: TLS 1.2 or below, or a key log",
    source: "RFC 9525 section 6",
};

impl Audit for Hostname {
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
    let validation = match shown.validation() {
        Ok(validation) => validation,
        Err(why) => return vec![Outcome::not_observed(&META, why)],
    };
    if validation.leaf.is_none() {
        return vec![Outcome::not_observed(
            &META,
            "the certificate does not parse",
        )];
    }
    const NOBODY: &str = "the client named no server (no SNI)";
    let Some(host) = shown.host() else {
        let address = shown.flow.dst.to_string();
        return vec![match validation.stands_for(&address) {
            HostMatch::Stands => Outcome::passed(&META),
            _ => Outcome::not_observed(&META, NOBODY),
        }];
    };
    let reason = match validation.stands_for(host) {
        HostMatch::Stands => return vec![Outcome::passed(&META)],
        HostMatch::NoReference => return vec![Outcome::not_observed(&META, NOBODY)],
        HostMatch::Differs(names) => format!("the certificate for `{host}` names {names}"),
        HostMatch::CommonNameOnly(name) => format!(
            "the certificate for `{host}` has the name `{name}` only as its common name, \
             which clients ignore"
        ),
    };
    let detail = super::leaf_detail(validation);
    vec![shown.violation(&META, Severity::High, detail, reason)]
}
