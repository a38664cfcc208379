//! What of the policy each check of single sessions looks at. Where that is the
//! same, an outcome that stands in a run's tables is what the check would say
//! again; where it is not, the packets are needed.

use super::control_of;
use crate::policy::Policy;
use serde_json::{Value, json};

/// The part of the policy on which a check's outcomes depend. A check that is
/// not named here counts as depending on all of its control's section.
pub fn basis(policy: &Policy, check_id: &str) -> Value {
    let tls = &policy.network.tls;
    let enabled = tls.enabled;
    match check_id {
        "NS-01.tls_version" => json!([enabled, tls.min_version]),
        "NS-01.tls_preferred" => json!([enabled, tls.min_version, tls.preferred_version]),
        "NS-01.plaintext" => json!([enabled, tls.required]),
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
            Some("NS-02") => json!(policy.network.certificates),
            Some("NS-03") => json!(policy.api),
            // Judged from the tables.
            _ => Value::Null,
        },
    }
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
        assert_eq!(min, ["NS-01.tls_preferred", "NS-01.tls_version"]);
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
        assert!(api.len() >= 12 && api.iter().all(|id| id.starts_with("NS-03.")));
    }

    /// A check that reads a part of the policy which its basis leaves out would
    /// be carried over wrongly: every key of `network.tls` is in some basis.
    #[test]
    fn every_key_of_the_section_counts_for_somebody() {
        for (yaml, at_least) in [
            ("min_version: TLS1.3", 1),
            ("preferred_version: TLS1.2", 1),
            ("required: false", 2),
            ("tls13_suites: []", 3),
            ("upgrade_insecure: {enabled: false}", 1),
            ("upgrade_insecure: {log_upgrades: false}", 1),
        ] {
            let found = changed(&format!("network:\n  tls:\n    {yaml}\n"));
            assert!(found.len() >= at_least, "{yaml}: {found:?}");
        }
    }
}
