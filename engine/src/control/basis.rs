//! What of the policy each check of single sessions looks at. Where that is the
//! same, an outcome that stands in a run's tables is what the check would say
//! again; where it is not, the packets are needed.

use super::ns02::DECISIVE;
use super::{control_of, is_enabled};
use crate::policy::Policy;
use serde_json::{Value, json};

/// The part of the policy on which a check's outcomes depend. A check that is
/// not named here counts as depending on all of its control's section.
pub fn basis(policy: &Policy, check_id: &str) -> Value {
    let tls = &policy.network.tls;
    let enabled = tls.enabled;
    match check_id {
        "NS-01.tls_version" => json!([enabled, tls.min_version]),
        "NS-01.tls_preferred" => json!([enabled, tls.preferred_version]),
        "NS-01.plaintext" => json!([enabled, tls.required, tls.upgrade_insecure.enabled]),
        "NS-01.http_upgrade" => json!([enabled, tls.required, tls.upgrade_insecure]),
        "NS-01.cipher_suite" | "NS-01.cipher_not_allowed" | "NS-01.cipher_offered" => {
            json!([enabled, tls.cipher_suites, tls.tls13_suites])
        }
        "NS-01.dns_plaintext"
        | "NS-01.starttls"
        | "NS-01.downgrade"
        | "NS-01.key_exchange"
        | "NS-01.signature"
        | "NS-01.handshake" => json!([enabled]),
        _ => match control_of(check_id).map(|control| control.id) {
            Some("NS-01") => json!(tls),
            Some("NS-02") => of_certificates(policy, check_id),
            Some("NS-03") => of_api(policy, check_id),
            // Judged from the tables.
            _ => Value::Null,
        },
    }
}

/// Of NS-02: whether the check is asked for, who is trusted, and what is its own.
fn of_certificates(policy: &Policy, check_id: &str) -> Value {
    let certificates = &policy.network.certificates;
    let is_enabled = is_enabled(policy, check_id);
    let trust = &certificates.trust_store;
    match check_id {
        // The server's certificate alone, or what its client said.
        "NS-02.hostname" | "NS-02.expiring_soon" | "NS-02.refused" => json!([is_enabled]),
        "NS-02.chain"
        | "NS-02.expiration"
        | "NS-02.revocation"
        | "NS-02.self_signed"
        | "NS-02.weak_key"
        | "NS-02.weak_signature" => json!([is_enabled, trust]),
        "NS-02.ct" => json!([
            is_enabled,
            trust,
            certificates.certificate_transparency.require_scts
        ]),
        "NS-02.pin" => json!([is_enabled, trust, certificates.pinning.pins]),
        "NS-02.accepted_anyway" => {
            let built_on = DECISIVE.map(|id| basis(policy, id));
            json!([is_enabled, built_on])
        }
        _ => json!(certificates),
    }
}

/// Of NS-03: what makes a transaction one of an API, and what is the check's own.
fn of_api(policy: &Policy, check_id: &str) -> Value {
    let api = &policy.api;
    let (authentication, input) = (&api.authentication, &api.input_validation);
    let own = match check_id {
        // Asked of every transaction, by no key of the policy.
        "NS-03.credential_in_url" | "NS-03.credential_plaintext" => return json!([]),
        "NS-03.authorization" | "NS-03.cookie" | "NS-03.invalid_credential_accepted" => json!([]),
        "NS-03.auth_missing" => json!(authentication.required),
        "NS-03.content_type" => json!(input.content_types),
        "NS-03.header_size" => json!(input.max_header_size_kb),
        "NS-03.jwt" => json!(authentication.tokens),
        "NS-03.rate_limit" => json!(api.rate_limiting),
        "NS-03.request_size" => json!(input.max_request_size_mb),
        "NS-03.security_headers" => json!(api.response_headers),
        _ => return json!(api),
    };
    json!([api.endpoints, authentication.methods, own])
}

/// Whether a check would say the same under both policies.
pub fn is_same(before: &Policy, now: &Policy, check_id: &str) -> bool {
    basis(before, check_id) == basis(now, check_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::REGISTRY;

    fn changed(yaml: &str) -> Vec<&'static str> {
        let (before, now) = (Policy::built_in(), Policy::from_yaml(yaml, "test").unwrap());
        REGISTRY
            .iter()
            .map(|check| check.meta().id)
            .filter(|id| !is_same(&before, &now, id))
            .collect()
    }

    #[test]
    fn a_check_depends_on_what_it_reads() {
        assert_eq!(changed(""), [""; 0]);
        assert_eq!(changed("verdicts:\n  fail_at: low\n"), [""; 0]);
        let min = changed("network:\n  tls:\n    min_version: TLS1.3\n");
        assert_eq!(min, ["NS-01.tls_version"]);
        let denied = changed("network:\n  tls:\n    cipher_suites:\n      denied: [\"*CBC*\"]\n");
        assert_eq!(
            denied,
            [
                "NS-01.cipher_not_allowed",
                "NS-01.cipher_offered",
                "NS-01.cipher_suite"
            ]
        );
        let off = changed("network:\n  tls:\n    enabled: false\n");
        assert!(off.len() >= 13 && off.iter().all(|id| id.starts_with("NS-01.")));
        let api = changed("api:\n  input_validation:\n    max_request_size_mb: 1\n");
        assert_eq!(api, ["NS-03.request_size"]);
        let endpoints = changed("api:\n  endpoints: [api.example]\n");
        assert_eq!(endpoints.len(), 10, "{endpoints:?}");
        let warn = "network:\n  certificates:\n    warn_on: [self_signed, expiring_soon]\n";
        assert_eq!(changed(warn), ["NS-02.weak_signature"]);
        let pin = "network:\n  certificates:\n    pinning:\n      pins:\n        - {host: a.example, pins: [sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=]}\n";
        assert_eq!(changed(pin), ["NS-02.accepted_anyway", "NS-02.pin"]);
    }

    /// A check that reads a part of the policy which its basis leaves out would
    /// be carried over wrongly: every key of these sections is in some basis.
    #[test]
    fn every_key_of_the_sections_counts_for_somebody() {
        for (section, yaml, at_least) in [
            ("network: {tls:", "min_version: TLS1.3", 1),
            ("network: {tls:", "preferred_version: TLS1.2", 1),
            ("network: {tls:", "required: false", 2),
            ("network: {tls:", "tls13_suites: []", 3),
            ("network: {tls:", "upgrade_insecure: {enabled: false}", 2),
            (
                "network: {tls:",
                "upgrade_insecure: {log_upgrades: false}",
                1,
            ),
            (
                "network: {certificates:",
                "validation: {enabled: false}",
                12,
            ),
            (
                "network: {certificates:",
                "validation: {verify_chain: false}",
                2,
            ),
            (
                "network: {certificates:",
                "validation: {verify_hostname: false}",
                2,
            ),
            (
                "network: {certificates:",
                "validation: {check_expiration: false}",
                3,
            ),
            (
                "network: {certificates:",
                "validation: {check_revocation: false}",
                2,
            ),
            (
                "network: {certificates:",
                "trust_store: {use_system: false}",
                9,
            ),
            ("network: {certificates:", "pinning: {enabled: false}", 2),
            (
                "network: {certificates:",
                "certificate_transparency: {enabled: false}",
                1,
            ),
            (
                "network: {certificates:",
                "certificate_transparency: {require_scts: 3}",
                1,
            ),
            ("network: {certificates:", "warn_on: []", 3),
            ("{api:", "endpoints: [a]", 10),
            ("{api:", "authentication: {required: false}", 1),
            ("{api:", "authentication: {methods: []}", 10),
            ("{api:", "authentication: {tokens: {algorithm: ES256}}", 1),
            (
                "{api:",
                "authentication: {tokens: {expiration_seconds: 9}}",
                1,
            ),
            ("{api:", "rate_limiting: {enabled: false}", 1),
            (
                "{api:",
                "rate_limiting: {default: {requests_per_minute: 9}}",
                1,
            ),
            ("{api:", "rate_limiting: {endpoints: {}}", 1),
            ("{api:", "input_validation: {max_header_size_kb: 1}", 1),
            ("{api:", "input_validation: {max_request_size_mb: 1}", 1),
            (
                "{api:",
                "input_validation: {content_types: {allowed: []}}",
                1,
            ),
            ("{api:", "response_headers: {}", 1),
        ] {
            let found = changed(&format!("{section} {{{yaml}}}}}"));
            assert!(found.len() >= at_least, "{yaml}: {found:?}");
        }
    }
}
