//! MD5 or SHA-1 in the signature that authenticates the key exchange.
//! Source: RFC 9155; RFC 5246 §7.4.3 (below TLS 1.2 MD5 and SHA-1 are implied).

use super::NO_SERVER_HELLO;
use crate::control::{Audit, Fact, Meta, Outcome, Severity, Wants};
use crate::policy::Policy;
use crate::proto::tls::{Auth, Kx, sigalg_name, suite};

pub(super) struct Signature;

static META: Meta = Meta {
    id: "NS-01.signature",
    title: "MD5 or SHA-1 in a handshake signature",
    severity: Severity::Medium,
    attack: &["T1557"],
    wants: Wants::Tls,
    observable_with: "the ServerKeyExchange (TLS 1.2 and below), or a key log for TLS 1.3",
    source: "RFC 9155; RFC 5246 section 7.4.3",
};

impl Audit for Signature {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn audit(&self, _policy: &Policy, fact: Fact<'_>) -> Vec<Outcome> {
        let Fact::Tls(_, tls) = fact else {
            return Vec::new();
        };
        let Some(server) = tls.server.as_deref() else {
            return vec![Outcome::not_observed(&META, NO_SERVER_HELLO)];
        };
        let seen = [
            (tls.key_exchange.signature, "server"),
            (tls.key_exchange.client_signature, "client"),
        ];
        let mut outcomes = Vec::new();
        for (scheme, who) in seen {
            let Some(scheme) = scheme else { continue };
            outcomes.push(match weak_hash(scheme) {
                Some(hash) => {
                    let detail = format!("{who}: {hash}");
                    let reason = format!("the {who} signs with {}", sigalg_name(scheme));
                    Outcome::violated(&META, Severity::Medium, detail, reason)
                }
                None => Outcome::passed(&META),
            });
        }
        if outcomes.is_empty() {
            // Without a signing key exchange there is nothing to judge.
            let reason = match suite(server.cipher).map(|info| (info.kx, info.auth)) {
                Some((Kx::Tls13, _)) => {
                    "TLS 1.3 encrypts CertificateVerify: a key log would show it"
                }
                Some((Kx::Dhe | Kx::Ecdhe, _)) if tls.resumed.is_some() => {
                    "resumed: the session that it resumes was signed for"
                }
                Some((Kx::Dhe | Kx::Ecdhe, Auth::Rsa | Auth::Dss | Auth::Ecdsa)) => {
                    "the ServerKeyExchange is not in the capture"
                }
                _ => return outcomes,
            };
            outcomes.push(Outcome::not_observed(&META, reason));
        }
        outcomes
    }
}

/// The broken hash in a scheme (RFC 5246 §7.4.1.4.1: the high byte is the
/// hash); 0xff00 stands for the MD5 with SHA-1 that older versions imply.
fn weak_hash(scheme: u16) -> Option<&'static str> {
    match scheme >> 8 {
        0x01 => Some("MD5"),
        0x02 => Some("SHA-1"),
        0xff => Some("MD5 and SHA-1"),
        _ => None,
    }
}
