//! The version both sides settled on is below `network.tls.min_version`.
//! Source: RFC 8996, RFC 7568, RFC 6176; RFC 8446 §4.2.1. Not observed without
//! a ServerHello; a client that only offers an old version is worth knowing.

use super::{CLIENT_REFUSALS, UNKNOWN_VERSION, alerted, highest_offered, offered, rank};
use super::{HANDSHAKE_FAILURE, INSUFFICIENT_SECURITY, NO_SERVER_HELLO, PROTOCOL_VERSION};
use crate::control::{Audit, Fact, Meta, Outcome, Severity, Wants};
use crate::policy::Policy;
use crate::proto::tls::{TlsHandshake, Version, version_name};

pub(super) struct TlsVersion;

static META: Meta = Meta {
    id: "NS-01.tls_version",
    title: "Negotiated TLS version below the minimum",
    severity: Severity::High,
    attack: &["T1557", "T1040"],
    wants: Wants::Tls,
    observable_with: "the server's answer to the ClientHello",
    source: "RFC 8996, RFC 7568, RFC 6176; RFC 8446 section 4.2.1",
};

impl Audit for TlsVersion {
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
    let min = policy.network.tls.min_version.0;
    let Some(version) = tls.version else {
        let unseen = Outcome::not_observed(&META, NO_SERVER_HELLO);
        return match highest_offered(tls) {
            Some((highest, version)) if highest < min => {
                let name = version_name(version);
                let turned_down = [PROTOCOL_VERSION, HANDSHAKE_FAILURE, INSUFFICIENT_SECURITY];
                if alerted(tls, false, &turned_down) {
                    let reason = "the server refused the client's version";
                    return vec![Outcome::refused(&META, name, reason)];
                }
                // What was offered is told; what came of it is not known.
                let reason = "the client offers nothing newer; no ServerHello was captured";
                vec![unseen, only_offered(version, reason)]
            }
            _ => vec![unseen],
        };
    };
    let name = version_name(version);
    let Some(negotiated) = rank(version) else {
        return vec![Outcome::not_observed(&META, UNKNOWN_VERSION)];
    };
    if negotiated < min {
        return vec![if alerted(tls, true, CLIENT_REFUSALS) {
            Outcome::refused(&META, name, "the client refused the server's version")
        } else {
            let min = String::from(policy.network.tls.min_version);
            let reason = format!("negotiated {name}; the policy asks for {min} or newer");
            Outcome::violated(&META, Severity::High, name, reason)
        }];
    }
    let mut outcomes = vec![Outcome::passed(&META)];
    // Only a client that lists its versions says what else it would accept.
    let lowest = tls
        .client
        .as_deref()
        .filter(|client| !client.supported_versions.is_empty())
        .and_then(|client| offered(client).min_by_key(|(rank, _)| *rank));
    if let Some((_, lowest)) = lowest.filter(|&(rank, _)| rank < min) {
        let reason = "the client would accept an older version";
        outcomes.push(only_offered(lowest, reason));
    }
    outcomes
}

/// Worth knowing of the client, whatever is negotiated.
fn only_offered(version: Version, reason: &'static str) -> Outcome {
    let detail = format!("{} offered", version_name(version));
    let told = Outcome::violated(&META, Severity::Info, detail, reason);
    told.titled("TLS version below the minimum offered by the client, not negotiated")
}
