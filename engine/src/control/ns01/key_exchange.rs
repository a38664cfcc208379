//! Keys without forward secrecy, or from a group that is too small.
//! Source: RFC 9325 §4.1 and §4.4; RFC 7919; NIST SP 800-57 part 1 (112 bits).

use super::NO_SERVER_HELLO;
use crate::control::{Audit, Fact, Meta, Outcome, Severity, Wants};
use crate::policy::Policy;
use crate::proto::tls::{Kx, Resumption, group_bits, group_name, suite, suite_name};

pub(super) struct KeyExchange;

static META: Meta = Meta {
    id: "NS-01.key_exchange",
    title: "Weak key exchange",
    severity: Severity::Medium,
    attack: &["T1040"],
    wants: Wants::Tls,
    observable_with: "the ServerHello, and the ServerKeyExchange below TLS 1.3",
    source: "RFC 9325 sections 4.1 and 4.4; RFC 7919; NIST SP 800-57 part 1",
};

/// Smallest Diffie-Hellman prime, bits.
const MIN_DH_BITS: u32 = 2_048;
/// Smallest curve, bits.
const MIN_CURVE_BITS: u32 = 224;

/// ML-KEM without a curve beside it (draft-ietf-tls-mlkem): no field, yet strong.
const PURE_ML_KEM: [u16; 3] = [0x0200, 0x0201, 0x0202];

impl Audit for KeyExchange {
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
        let Some(info) = suite(server.cipher) else {
            return vec![Outcome::not_observed(&META, "the suite is unknown")];
        };
        let weak = |detail: String, reason: String| {
            vec![Outcome::violated(&META, Severity::Medium, detail, reason)]
        };
        if info.kx == Kx::Tls13 {
            return if let Some(group) = server.key_share_group {
                judge_group(group, group_bits(group))
            } else if server.psk {
                weak(
                    "psk_ke".to_owned(),
                    "a pre-shared key alone: no forward secrecy".to_owned(),
                )
            } else {
                vec![Outcome::not_observed(
                    &META,
                    "the ServerHello shows no key_share",
                )]
            };
        }
        if !info.forward_secrecy {
            let name = suite_name(server.cipher);
            return weak(
                name.clone().into_owned(),
                format!("{name} has no forward secrecy"),
            );
        }
        // A resumed session has its suite from the one that it resumes (RFC 5246
        // §7.4.1.3), but shows no group.
        if matches!(tls.resumed, Some(Resumption::Id | Resumption::Ticket)) {
            let reason = "resumed: the keys come from the session that it resumes";
            return vec![Outcome::not_observed(&META, reason)];
        }
        let group = tls.key_exchange.group;
        let bits = tls.key_exchange.bits.or_else(|| group_bits(group?));
        match (info.kx, group, bits) {
            (Kx::Dhe | Kx::DhAnon | Kx::DhePsk, _, Some(bits)) if bits < MIN_DH_BITS => weak(
                format!("DH {bits} bits"),
                format!("a Diffie-Hellman prime of {bits} bits"),
            ),
            (Kx::Dhe | Kx::DhAnon | Kx::DhePsk, _, Some(_)) => vec![Outcome::passed(&META)],
            (_, Some(group), bits) => judge_group(group, bits),
            _ => {
                let reason = "the ServerKeyExchange is not in the capture";
                vec![Outcome::not_observed(&META, reason)]
            }
        }
    }
}

/// Whether a curve, or a finite-field group of TLS 1.3, is large enough.
fn judge_group(group: u16, bits: Option<u32>) -> Vec<Outcome> {
    let name = group_name(group);
    vec![match bits {
        Some(bits) if bits < MIN_CURVE_BITS => Outcome::violated(
            &META,
            Severity::Medium,
            name.clone(),
            format!("{name} has {bits} bits"),
        ),
        Some(_) => Outcome::passed(&META),
        None if PURE_ML_KEM.contains(&group) => Outcome::passed(&META),
        None => Outcome::not_observed(&META, "the group is unknown"),
    }]
}
