//! The negotiated suite is denied: by a pattern of the policy, or because it
//! proves nobody's identity (anonymous, PSK only). Source: RFC 7465, RFC 9325 §4.1.

use super::{CLIENT_REFUSALS, HANDSHAKE_FAILURE, INSUFFICIENT_SECURITY, NO_SERVER_HELLO, alerted};
use crate::control::suites::{Class, class, denied_by};
use crate::control::{Audit, Fact, Meta, Outcome, Severity, Wants};
use crate::policy::Policy;
use crate::proto::tls::{TlsHandshake, suite_name};

pub(super) struct CipherSuite;

static META: Meta = Meta {
    id: "NS-01.cipher_suite",
    title: "Denied cipher suite negotiated",
    severity: Severity::High,
    attack: &["T1557", "T1040"],
    wants: Wants::Tls,
    observable_with: "the server's answer to the ClientHello",
    source: "RFC 7465; RFC 9325 section 4.1",
};

impl Audit for CipherSuite {
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
        let only_denied = tls.client.as_deref().is_some_and(|client| {
            let mut suites = client
                .ciphers
                .iter()
                .filter(|&&code| is_suite(code))
                .peekable();
            suites.peek().is_some() && suites.all(|&code| class(policy, code) == Class::Denied)
        });
        let turned_down = [HANDSHAKE_FAILURE, INSUFFICIENT_SECURITY];
        return vec![if only_denied && alerted(tls, false, &turned_down) {
            Outcome::refused(
                &META,
                "",
                "the server refused a client with denied suites only",
            )
        } else {
            Outcome::not_observed(&META, NO_SERVER_HELLO)
        }];
    };
    if class(policy, server.cipher) != Class::Denied {
        return vec![Outcome::passed(&META)];
    }
    let name = suite_name(server.cipher);
    vec![if alerted(tls, true, CLIENT_REFUSALS) {
        Outcome::refused(&META, name, "the client refused the server's suite")
    } else {
        let by = denied_by(policy, server.cipher).unwrap_or_default();
        let reason = format!("{name} is denied by `{by}`");
        Outcome::violated(&META, Severity::High, name, reason)
    }]
}

/// Whether a code is a suite rather than a signalling value.
pub(super) fn is_suite(code: u16) -> bool {
    crate::proto::tls::suite(code).is_some_and(|info| !info.scsv)
}
