//! Oddities of the handshake that break what TLS promises: compression
//! (CRIME, CVE-2012-4929), insecure renegotiation (RFC 5746), heartbeat abuse
//! (CVE-2014-0160), and messages that are malformed or stop half-way.

use super::{NO_SERVER_HELLO, rank};
use crate::control::{Audit, Fact, Meta, Outcome, Severity, Wants};
use crate::flow::{EndReason, FlowRecord};
use crate::policy::Policy;
use crate::proto::tls::TlsHandshake;

pub(super) struct Handshake;

static META: Meta = Meta {
    id: "NS-01.handshake",
    title: "Unsafe or malformed TLS handshake",
    severity: Severity::High,
    attack: &["T1557", "T1190"],
    wants: Wants::Tls,
    observable_with: "both hellos",
    source: "RFC 5746; RFC 7457; CVE-2012-4929; CVE-2014-0160",
};

impl Audit for Handshake {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn audit(&self, _policy: &Policy, fact: Fact<'_>) -> Vec<Outcome> {
        let Fact::Tls(flow, tls) = fact else {
            return Vec::new();
        };
        let mut outcomes = Vec::new();
        let mut found = |severity, detail: &str, reason: String| {
            outcomes.push(Outcome::violated(&META, severity, detail, reason));
        };
        if tls.heartbeat_abuse {
            let reason = "a heartbeat message claims to be longer than its record".to_owned();
            found(Severity::High, "heartbeat", reason);
        }
        if let Some(reason) = &tls.malformed {
            found(Severity::Low, "malformed or incomplete", reason.clone());
        }
        if tls.malformed.is_none() && given_up(flow, tls) {
            let reason = "the connection was closed before the handshake was complete".to_owned();
            found(Severity::Low, "malformed or incomplete", reason);
        }
        if let Some(server) = tls.server.as_deref() {
            if server.compression != 0 {
                let reason = format!("compression method {} negotiated", server.compression);
                found(Severity::High, "compression", reason);
            }
            let below_13 = tls.version.and_then(rank).is_some_and(|rank| rank < 0x0304);
            if below_13 && !server.secure_renegotiation {
                if tls.renegotiation {
                    let reason = "renegotiated without RFC 5746's binding".to_owned();
                    found(Severity::High, "insecure renegotiation", reason);
                } else if tls
                    .client
                    .as_deref()
                    .is_some_and(|client| client.secure_renegotiation)
                {
                    let reason = "the server does not know RFC 5746".to_owned();
                    found(Severity::Low, "no secure renegotiation", reason);
                }
            }
        }
        if outcomes.is_empty() {
            outcomes.push(if tls.server.is_some() {
                Outcome::passed(&META)
            } else {
                Outcome::not_observed(&META, NO_SERVER_HELLO)
            });
        }
        outcomes
    }
}

/// Whether the ends closed the connection half-way and said nothing of why. One
/// that broke off with an alert is a refusal, and one of which bytes or its end
/// are not in the capture may have gone on.
fn given_up(flow: &FlowRecord, tls: &TlsHandshake) -> bool {
    let whole = flow.orig.missed_bytes == 0 && flow.resp.missed_bytes == 0;
    let closed = matches!(flow.end_reason, EndReason::Fin | EndReason::Rst);
    !tls.established && tls.alerts.is_empty() && closed && whole
}
