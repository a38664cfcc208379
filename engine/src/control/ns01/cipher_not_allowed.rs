//! The negotiated suite is neither denied nor listed as allowed.
//! Source: the policy's lists; RFC 9325 §4.2 for their default.

use super::NO_SERVER_HELLO;
use crate::control::suites::{Class, class};
use crate::control::{Audit, Fact, Meta, Outcome, Severity, Wants};
use crate::policy::Policy;
use crate::proto::tls::{TlsHandshake, suite_name};

pub(super) struct CipherNotAllowed;

static META: Meta = Meta {
    id: "NS-01.cipher_not_allowed",
    title: "Cipher suite negotiated that is not on the allowed list",
    severity: Severity::Medium,
    attack: &[],
    wants: Wants::Tls,
    observable_with: "the server's answer to the ClientHello",
    source: "policy: cipher_suites.allowed, tls13_suites; RFC 9325 section 4.2",
};

impl Audit for CipherNotAllowed {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn audit(&self, policy: &Policy, fact: Fact<'_>) -> Vec<Outcome> {
        match fact {
            Fact::Tls(_, tls) => judge(policy, tls),
            _ => Vec::new(),
        }
    }
}

/// What there is to say of a handshake; also asked of rows of the table.
pub(super) fn judge(policy: &Policy, tls: &TlsHandshake) -> Vec<Outcome> {
    let Some(server) = tls.server.as_deref() else {
        return vec![Outcome::not_observed(&META, NO_SERVER_HELLO)];
    };
    match class(policy, server.cipher) {
        Class::Allowed => vec![Outcome::passed(&META)],
        // Judged by NS-01.cipher_suite.
        Class::Denied => Vec::new(),
        Class::Unlisted => {
            let name = suite_name(server.cipher);
            let reason = format!("{name} is not on the policy's list");
            vec![Outcome::violated(&META, Severity::Medium, name, reason)]
        }
    }
}
