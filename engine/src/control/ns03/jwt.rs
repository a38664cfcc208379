//! A JSON Web Token that was served although it should not have been: `alg`
//! none or other than the policy's, no `exp`, expired at packet time, or too
//! long-lived. Read, never trusted: no capture holds the key. Source: RFC
//! 7519 §4.1, RFC 8725 §3.

use super::{NO_ANSWER, is_refused, is_served};
use crate::control::{Audit, Fact, Meta, Outcome, Severity, Wants};
use crate::policy::Policy;
use crate::time::{CaptureTime, NANOS_PER_SECOND};

pub(super) struct Jwt;

static META: Meta = Meta {
    id: "NS-03.jwt",
    title: "Token accepted that should not be",
    severity: Severity::High,
    attack: &["T1550.001"],
    wants: Wants::Http,
    observable_with: "requests with a JSON Web Token and their answers",
    source: "RFC 7519 section 4.1; RFC 8725 section 3",
};

/// What is wrong with a token at a time, in words that tell problems apart.
fn problems(
    policy: &Policy,
    token: &crate::proto::plain::http::Jwt,
    ts: CaptureTime,
) -> Vec<(String, String)> {
    let rules = &policy.api.authentication.tokens;
    let now = ts.as_nanos().div_euclid(NANOS_PER_SECOND);
    let mut found = Vec::new();
    if token.encrypted {
        return found;
    }
    if token.alg.is_empty() || token.alg.eq_ignore_ascii_case("none") || token.unsigned {
        found.push(("alg none".to_owned(), "an unsigned token".to_owned()));
    } else if *token.alg != *rules.algorithm {
        let detail = format!("alg {}", token.alg);
        found.push((
            detail,
            format!(
                "a token with alg {} instead of {}",
                token.alg, rules.algorithm
            ),
        ));
    }
    let longest = i64::try_from(rules.expiration_seconds).unwrap_or(i64::MAX);
    match token.exp {
        None => found.push(("no exp".to_owned(), "a token that never expires".to_owned())),
        Some(exp) if exp <= now => {
            let ago = now.saturating_sub(exp);
            found.push((
                "expired".to_owned(),
                format!("a token that expired {ago} seconds before"),
            ));
        }
        // Without iat, what is left is the least that it was.
        Some(exp) if exp.saturating_sub(token.iat.unwrap_or(now)) > longest => {
            let lifetime = exp.saturating_sub(token.iat.unwrap_or(now));
            found.push((
                "lifetime".to_owned(),
                format!("a token valid for {lifetime} seconds (limit {longest})"),
            ));
        }
        Some(_) => {}
    }
    found
}

/// How the table names what a token is at a time; its signature is never verified.
pub fn state(
    policy: &Policy,
    token: &crate::proto::plain::http::Jwt,
    ts: CaptureTime,
) -> &'static str {
    if token.malformed {
        return "malformed";
    }
    match problems(policy, token, ts)
        .first()
        .map(|(detail, _)| &**detail)
    {
        None => "unverified",
        Some("alg none") => "alg_none",
        Some("no exp") => "no_exp",
        Some("expired") => "expired",
        Some("lifetime") => "too_long",
        Some(_) => "alg_not_allowed",
    }
}

impl Audit for Jwt {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn audit(&self, policy: &Policy, fact: Fact<'_>) -> Vec<Outcome> {
        let Fact::Http(_, tx) = fact else {
            return Vec::new();
        };
        let tokens = tx
            .credentials
            .iter()
            .filter_map(|known| known.jwt.as_deref());
        let mut outcomes = Vec::new();
        for token in tokens.filter(|token| !token.malformed) {
            let found = problems(policy, token, tx.ts);
            match tx.outcome() {
                None => outcomes.push(Outcome::not_observed(&META, NO_ANSWER)),
                Some(_) if found.is_empty() => outcomes.push(Outcome::passed(&META)),
                Some(status) if is_refused(status) => {
                    let (detail, _) = found.into_iter().next().unwrap_or_default();
                    outcomes.push(Outcome::refused(&META, detail, "the token was refused"));
                }
                Some(status) if is_served(status) => {
                    outcomes.extend(found.into_iter().map(|(detail, what)| {
                        let reason = format!("{what} was answered {status}");
                        Outcome::violated(&META, Severity::High, detail, reason)
                    }));
                }
                Some(_) => outcomes.push(Outcome::not_observed(
                    &META,
                    "the answer does not show whether the token was accepted",
                )),
            }
        }
        outcomes
    }
}
