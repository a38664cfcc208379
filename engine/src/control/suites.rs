//! What the policy makes of a cipher suite: denied before allowed, by the
//! suite's IANA name. Judged once per policy for every code, since clients
//! offer dozens of suites in each handshake.

use crate::policy::{Policy, SuitePattern, distance};
use crate::proto::tls::{suite, suite_name};

/// A suite's class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Listed as allowed.
    Allowed,
    /// Matches a denied pattern, or proves nobody's identity.
    Denied,
    /// Neither.
    Unlisted,
}

impl Class {
    /// The name that tables use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Unlisted => "unlisted",
        }
    }
}

/// What stands for the pattern when a suite is denied for what it is.
const ANONYMOUS: &str = "anonymous key exchange";
const PSK_ONLY: &str = "PSK-only key exchange";

/// The class of a suite.
pub fn class(policy: &Policy, code: u16) -> Class {
    let classes = policy.suite_classes.get_or_init(|| {
        (0..=u16::MAX)
            .map(|code| judge(policy, code).0 as u8)
            .collect()
    });
    match classes.get(usize::from(code)) {
        Some(0) => Class::Allowed,
        Some(1) => Class::Denied,
        _ => Class::Unlisted,
    }
}

/// The pattern that denies a suite.
pub fn denied_by(policy: &Policy, code: u16) -> Option<String> {
    judge(policy, code).1
}

/// A pattern of the policy that no known suite fits.
#[derive(Debug, PartialEq, Eq)]
pub struct Unmatched<'p> {
    /// The key of its list, dotted.
    pub key: &'static str,
    /// The pattern.
    pub pattern: &'p str,
    /// Whether it is a name, without `*`: then it is misspelt.
    pub is_name: bool,
    /// The name of a suite that is nearly the same.
    pub nearest: Option<String>,
}

/// Patterns of the policy that have no effect, since no suite fits them.
pub fn unmatched(policy: &Policy) -> Vec<Unmatched<'_>> {
    let names: Vec<_> = (0..=u16::MAX)
        .filter(|&code| suite(code).is_some_and(|info| !info.scsv))
        .map(suite_name)
        .collect();
    let tls = &policy.network.tls;
    let lists = [
        (
            "network.tls.cipher_suites.allowed",
            &tls.cipher_suites.allowed,
        ),
        (
            "network.tls.cipher_suites.denied",
            &tls.cipher_suites.denied,
        ),
        ("network.tls.tls13_suites", &tls.tls13_suites),
    ];
    let mut found = Vec::new();
    for (key, patterns) in lists {
        for pattern in patterns {
            if names.iter().any(|name| pattern.matches(name)) {
                continue;
            }
            let text = pattern.as_str();
            let nearest = names
                .iter()
                .map(|name| (distance(text, name), name))
                .min()
                .filter(|(distance, _)| *distance <= 4)
                .map(|(_, name)| name.to_string());
            found.push(Unmatched {
                key,
                pattern: text,
                is_name: !text.contains('*'),
                nearest,
            });
        }
    }
    found
}

fn judge(policy: &Policy, code: u16) -> (Class, Option<String>) {
    let Some(info) = suite(code) else {
        return (Class::Unlisted, None);
    };
    // Signalling values are no suites, whatever their names look like.
    if info.scsv {
        return (Class::Unlisted, None);
    }
    let tls = &policy.network.tls;
    let name = suite_name(code);
    let matches = |pattern: &&SuitePattern| pattern.matches(&name);
    if let Some(pattern) = tls.cipher_suites.denied.iter().find(matches) {
        return (Class::Denied, Some(pattern.as_str().to_owned()));
    }
    if info.anonymous {
        return (Class::Denied, Some(ANONYMOUS.to_owned()));
    }
    if info.psk_only {
        return (Class::Denied, Some(PSK_ONLY.to_owned()));
    }
    let allowed = tls.cipher_suites.allowed.iter().chain(&tls.tls13_suites);
    let class = if allowed.into_iter().any(|pattern| pattern.matches(&name)) {
        Class::Allowed
    } else {
        Class::Unlisted
    };
    (class, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn is(code: u16, expected: Class, by: Option<&str>) {
        let policy = Policy::built_in();
        assert_eq!(class(&policy, code), expected, "{}", suite_name(code));
        assert_eq!(
            denied_by(&policy, code).as_deref(),
            by,
            "{}",
            suite_name(code)
        );
    }

    #[test]
    fn classes_of_the_built_in_policy() {
        is(0x1301, Class::Allowed, None);
        is(0x1303, Class::Allowed, None);
        is(0xc02f, Class::Allowed, None);
        is(0xcca8, Class::Unlisted, None);
        is(0x009c, Class::Unlisted, None);
        is(0x002f, Class::Denied, Some("*CBC*"));
        is(0x000a, Class::Denied, Some("*CBC*"));
        is(0x0005, Class::Denied, Some("*RC4*"));
        is(0x003b, Class::Denied, Some("*NULL*"));
        is(0x00a6, Class::Denied, Some("anonymous key exchange"));
        is(0x00a8, Class::Denied, Some("PSK-only key exchange"));
        // Signalling values (RFC 5746, RFC 7507), GREASE, nothing assigned.
        is(0x00ff, Class::Unlisted, None);
        is(0x5600, Class::Unlisted, None);
        is(0x0a0a, Class::Unlisted, None);
    }

    #[test]
    fn the_policy_moves_a_suite() {
        let text = "network: {tls: {cipher_suites: {allowed: [\"*CCM*\"], denied: [\"*GCM*\"]}}}";
        let policy = Policy::from_yaml(text, "test").unwrap();
        assert_eq!(class(&policy, 0xc02f), Class::Denied);
        assert_eq!(class(&policy, 0xc0ac), Class::Allowed);
        assert_eq!(class(&policy, 0x002f), Class::Unlisted);
    }

    #[test]
    fn patterns_without_an_effect_are_found() {
        assert_eq!(unmatched(&Policy::built_in()), []);
        let text = "network: {tls: {cipher_suites: {allowed: [\"*CCM*\", \
                    \"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA265\"], denied: [\"*CBX*\"]}, \
                    tls13_suites: [TLS_GREASE, TLS_EMPTY_RENEGOTIATION_INFO_SCSV]}}";
        let policy = Policy::from_yaml(text, "test").unwrap();
        let found: Vec<_> = unmatched(&policy)
            .into_iter()
            .map(|one| (one.key, one.pattern, one.is_name, one.nearest))
            .collect();
        let nearly = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256".to_owned();
        let (allowed, denied) = (
            "network.tls.cipher_suites.allowed",
            "network.tls.cipher_suites.denied",
        );
        let tls13 = "network.tls.tls13_suites";
        assert_eq!(
            found,
            [
                (
                    allowed,
                    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA265",
                    true,
                    Some(nearly)
                ),
                (denied, "*CBX*", false, None),
                (tls13, "TLS_GREASE", true, None),
                (tls13, "TLS_EMPTY_RENEGOTIATION_INFO_SCSV", true, None),
            ]
        );
    }
}
