//! An answer that lacks a header of `api.response_headers` or weakens its
//! value. Source: RFC 6797, RFC 7034, CSP Level 3, Fetch (nosniff). Outside TLS
//! `Strict-Transport-Security` is asked of nobody: servers must not send it
//! there, and clients ignore it (RFC 6797 §7.2, §8.1).

use crate::control::{Audit, Fact, Meta, Outcome, Severity, Wants};
use crate::policy::Policy;
use crate::proto::plain::http::HttpTransaction;

pub(super) struct SecurityHeaders;

static META: Meta = Meta {
    id: "NS-03.security_headers",
    title: "Answer without protective headers",
    severity: Severity::Low,
    attack: &["T1189"],
    wants: Wants::Http,
    observable_with: "answers of an API, in plaintext or decrypted",
    source: "RFC 6797 (over TLS alone: sections 7.2, 8.1); RFC 7034; CSP Level 3",
};

/// How an answer has a header that the policy asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// As asked, or stronger.
    Ok,
    /// Not there.
    Missing,
    /// There, with another value.
    Different,
}

impl Protection {
    /// The name that tables use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Missing => "missing",
            Self::Different => "different",
        }
    }
}

/// How an answer has the header `name`, of which the policy wants `wanted`.
pub fn protection(tx: &HttpTransaction, name: &str, wanted: &str) -> Protection {
    let name = name.to_ascii_lowercase();
    if !tx.has_response_header(&name) {
        return Protection::Missing;
    }
    let mut values = tx.protective(&name).peekable();
    // Of a header whose values are not kept, that it is there is all that is known.
    // Nearly every value that is as asked is so letter by letter.
    let is_enough = |value: &str| value == wanted || is_as_strong(&name, value, wanted);
    if values.peek().is_none() || values.any(is_enough) {
        Protection::Ok
    } else {
        Protection::Different
    }
}

fn is_as_strong(name: &str, value: &str, wanted: &str) -> bool {
    match name {
        "strict-transport-security" => {
            let age = |text: &str| {
                directives(text)
                    .iter()
                    .find_map(|part| {
                        part.strip_prefix("max-age=")?
                            .trim_matches('"')
                            .parse()
                            .ok()
                    })
                    .unwrap_or(0_u64)
            };
            let has = |text: &str, flag: &str| directives(text).iter().any(|part| part == flag);
            age(value) >= age(wanted)
                && ["includesubdomains", "preload"]
                    .iter()
                    .all(|flag| !has(wanted, flag) || has(value, flag))
        }
        // Every directive that is asked for; further ones only narrow it.
        "content-security-policy" | "permissions-policy" => {
            let there = directives(value);
            directives(wanted).iter().all(|part| there.contains(part))
        }
        _ => directives(value) == directives(wanted),
    }
}

/// The parts between semicolons, lower case, blanks made single.
fn directives(value: &str) -> Vec<String> {
    value
        .split(';')
        .map(|part| {
            part.split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
                .to_ascii_lowercase()
        })
        .filter(|part| !part.is_empty())
        .collect()
}

impl Audit for SecurityHeaders {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn audit(&self, policy: &Policy, fact: Fact<'_>) -> Vec<Outcome> {
        let Fact::Http(_, tx) = fact else {
            return Vec::new();
        };
        // An unchanged answer's headers stand in the one before (RFC 9110 §15.4.5).
        let Some(status) = tx.status.filter(|status| *status >= 200 && *status != 304) else {
            return Vec::new();
        };
        let headers = policy.api.response_headers.iter().filter(|(name, _)| {
            tx.decrypted || !name.eq_ignore_ascii_case("strict-transport-security")
        });
        let mut asked = headers.peekable();
        if asked.peek().is_none() {
            return Vec::new();
        }
        let outcomes: Vec<_> = asked
            .filter_map(|(name, wanted)| {
                let state = protection(tx, name, wanted);
                if state == Protection::Ok {
                    return None;
                }
                let state = state.name();
                let reason = format!(
                    "{name} is {state} in an answer with status {status} (wanted: {wanted})"
                );
                Some(Outcome::violated(
                    &META,
                    Severity::Low,
                    format!("{name} {state}"),
                    reason,
                ))
            })
            .collect();
        if outcomes.is_empty() {
            return vec![Outcome::passed(&META)];
        }
        outcomes
    }
}
