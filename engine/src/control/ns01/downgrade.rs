//! Someone made both sides use less than they can: a downgrade sentinel in
//! the server's random although the client offered more (RFC 8446 §4.1.3), or
//! a client that had to fall back (TLS_FALLBACK_SCSV, RFC 7507). The retry
//! dance itself, over several connections, is found when flows are gathered.

use super::{
    INAPPROPRIATE_FALLBACK, NO_CLIENT_HELLO, NO_SERVER_HELLO, UNKNOWN_VERSION, alerted,
    highest_offered, rank,
};
use crate::control::{Audit, Fact, Meta, Outcome, Severity, Wants};
use crate::policy::Policy;
use crate::proto::tls::{Sentinel, version_name};

pub(super) struct Downgrade;

/// What the check is.
pub static META: Meta = Meta {
    id: "NS-01.downgrade",
    title: "TLS downgrade",
    severity: Severity::High,
    attack: &["T1557", "T1562.010"],
    wants: Wants::Tls,
    observable_with: "both hellos",
    source: "RFC 8446 section 4.1.3; RFC 7507",
};

impl Audit for Downgrade {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn audit(&self, _policy: &Policy, fact: Fact<'_>) -> Vec<Outcome> {
        let Fact::Tls(_, tls) = fact else {
            return Vec::new();
        };
        let Some(client) = tls.client.as_deref() else {
            return vec![Outcome::not_observed(&META, NO_CLIENT_HELLO)];
        };
        if client.fallback_scsv {
            return vec![if alerted(tls, false, &[INAPPROPRIATE_FALLBACK]) {
                Outcome::refused(
                    &META,
                    "TLS_FALLBACK_SCSV",
                    "the server refused an inappropriate fallback",
                )
            } else {
                Outcome::violated(
                    &META,
                    Severity::High,
                    "TLS_FALLBACK_SCSV",
                    "the client fell back to an older version after a failed attempt",
                )
            }];
        }
        let (Some(version), Some(server)) = (tls.version, tls.server.as_deref()) else {
            return vec![Outcome::not_observed(&META, NO_SERVER_HELLO)];
        };
        let Some(negotiated) = rank(version) else {
            return vec![Outcome::not_observed(&META, UNKNOWN_VERSION)];
        };
        let offered = highest_offered(tls).map_or(0, |(rank, _)| rank);
        let could = match server.sentinel {
            Some(Sentinel::To12) => 0x0304,
            Some(Sentinel::To11) => 0x0303,
            None => 0,
        };
        vec![if could > negotiated && offered > negotiated {
            let name = version_name(version);
            let reason = format!(
                "the server's random says that it was made to use {name} although the client \
                 offered more"
            );
            Outcome::violated(&META, Severity::High, format!("sentinel, {name}"), reason)
        } else {
            Outcome::passed(&META)
        }]
    }
}
