//! The client offers suites that the policy denies: worth knowing, since a
//! server might choose one.

use super::NO_CLIENT_HELLO;
use crate::control::suites::{Class, class, denied_by};
use crate::control::{Audit, Fact, Meta, Outcome, Severity, Wants};
use crate::policy::Policy;
use crate::proto::tls::TlsHandshake;
use std::collections::BTreeSet;

pub(super) struct CipherOffered;

static META: Meta = Meta {
    id: "NS-01.cipher_offered",
    title: "Denied cipher suites offered",
    severity: Severity::Info,
    attack: &[],
    wants: Wants::Tls,
    observable_with: "the ClientHello",
    source: "RFC 9325 section 4.1",
};

impl Audit for CipherOffered {
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
    let Some(client) = tls.client.as_deref() else {
        return vec![Outcome::not_observed(&META, NO_CLIENT_HELLO)];
    };
    let denied = || {
        client
            .ciphers
            .iter()
            .filter(|&&code| class(policy, code) == Class::Denied)
    };
    let count = denied().count() + client.sslv2_ciphers.len();
    if count == 0 {
        return vec![Outcome::passed(&META)];
    }
    let mut patterns: BTreeSet<String> = denied()
        .filter_map(|&code| denied_by(policy, code))
        .collect();
    if !client.sslv2_ciphers.is_empty() {
        patterns.insert("SSL 2".to_owned());
    }
    let detail = patterns.into_iter().collect::<Vec<_>>().join(", ");
    let reason = format!(
        "the client offers {count} denied {}",
        if count == 1 { "suite" } else { "suites" }
    );
    vec![Outcome::violated(&META, Severity::Info, detail, reason)]
}
