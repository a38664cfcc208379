//! Both sides could have used `network.tls.preferred_version` and did not.
//! Source: RFC 8446 §4.1.3: a server that knows TLS 1.3 and settles for less
//! says so in its random. Without that sign the server's ability is unknown.

use super::{NO_CLIENT_HELLO, NO_SERVER_HELLO, UNKNOWN_VERSION, highest_offered, rank};
use crate::control::{Audit, Fact, Meta, Outcome, Severity, Wants};
use crate::policy::Policy;
use crate::proto::tls::{Sentinel, TlsHandshake, version_name};

pub(super) struct TlsPreferred;

static META: Meta = Meta {
    id: "NS-01.tls_preferred",
    title: "Preferred TLS version not used although both sides could",
    severity: Severity::Low,
    attack: &[],
    wants: Wants::Tls,
    observable_with: "both hellos, and a server that shows what it could do",
    source: "RFC 8446 section 4.1.3",
};

impl Audit for TlsPreferred {
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
    let preferred = policy.network.tls.preferred_version.0;
    let Some(version) = tls.version else {
        return vec![Outcome::not_observed(&META, NO_SERVER_HELLO)];
    };
    let Some(negotiated) = rank(version) else {
        return vec![Outcome::not_observed(&META, UNKNOWN_VERSION)];
    };
    if negotiated >= preferred {
        return vec![Outcome::passed(&META)];
    }
    let Some((offered, _)) = highest_offered(tls) else {
        return vec![Outcome::not_observed(&META, NO_CLIENT_HELLO)];
    };
    if offered < preferred {
        // The client could not have: nothing that both sides gave away.
        return vec![Outcome::passed(&META)];
    }
    // What the server knows at least.
    let sentinel = tls.server.as_deref().and_then(|server| server.sentinel);
    let known = sentinel.map(|sentinel| match sentinel {
        Sentinel::To12 => 0x0304,
        Sentinel::To11 => 0x0303,
    });
    vec![match known {
        Some(known) if known >= preferred => {
            let name = version_name(version);
            let wanted = String::from(policy.network.tls.preferred_version);
            let reason = format!("negotiated {name} although both sides know {wanted}");
            Outcome::violated(&META, Severity::Low, name, reason)
        }
        _ => Outcome::not_observed(
            &META,
            "nothing shows whether the server knows the preferred version",
        ),
    }]
}
