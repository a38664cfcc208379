//! A session cookie without Secure, HttpOnly or SameSite. Source: RFC 6265
//! §4.1.2; SameSite by its revision (RFC 6265bis §4.1.2.7).

use crate::control::{Audit, Fact, Meta, Outcome, Severity, Wants};
use crate::policy::Policy;

pub(super) struct Cookie;

static META: Meta = Meta {
    id: "NS-03.cookie",
    title: "Session cookie without its attributes",
    severity: Severity::Low,
    attack: &["T1539"],
    wants: Wants::Http,
    observable_with: "answers that set a session cookie",
    source: "RFC 6265 section 4.1.2",
};

impl Audit for Cookie {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn audit(&self, _policy: &Policy, fact: Fact<'_>) -> Vec<Outcome> {
        let Fact::Http(_, tx) = fact else {
            return Vec::new();
        };
        let sessions = tx.cookies.iter().filter(|cookie| cookie.session);
        sessions
            .map(|cookie| {
                // RFC 6265bis §5.6.7: a value that is not known counts as none.
                let same_site =
                    matches!(cookie.same_site.as_deref(), Some("lax" | "strict" | "none"));
                let lacks: Vec<&str> = [
                    (cookie.secure, "Secure"),
                    (cookie.http_only, "HttpOnly"),
                    (same_site, "SameSite"),
                ]
                .into_iter()
                .filter_map(|(there, name)| (!there).then_some(name))
                .collect();
                if lacks.is_empty() {
                    return Outcome::passed(&META);
                }
                let lacks = lacks.join(", ");
                let reason = format!("the session cookie {} lacks {lacks}", cookie.name);
                Outcome::violated(
                    &META,
                    Severity::Low,
                    format!("{} {lacks}", cookie.name),
                    reason,
                )
            })
            .collect()
    }
}
