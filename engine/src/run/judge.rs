//! From a flow that has ended to its rows: what its content said is put into
//! the row, the checks judge it, and their outcomes are gathered.

use super::sessions::{Inherited, Sessions};
use crate::anomaly::Anomaly;
use crate::control::{self, AuditResult, suites};
use crate::evidence::FlowId;
use crate::finding::Gatherer;
use crate::flow::{Ended, FlowHead, FlowRecord, NameOrigin, NameSource};
use crate::pki::{Surroundings, Validation, Validator};
use crate::policy::Policy;
use crate::proto::SessionFacts;
use crate::proto::dns::a_label::host_name;
use crate::proto::plain::PlaintextFacts;
use crate::proto::plain::http::HttpTransaction;
use crate::proto::tls::TlsHandshake;
use crate::table::{CredentialRow, HttpRow, TlsRow};
use crate::time::CaptureTime;
use std::sync::Arc;

/// A finished flow's rows.
#[derive(Debug)]
pub(super) struct Judged {
    /// See [`Ended::order`].
    pub(super) order: (u64, u64, u32),
    pub(super) flow: Box<FlowRecord>,
    pub(super) tls: Vec<TlsRow>,
    pub(super) credentials: Vec<CredentialRow>,
    pub(super) anomalies: Vec<Anomaly>,
}

/// What became of the chains of a flow's handshakes; a resumed session has that
/// of the session it points to, as of then.
pub(super) fn validate(
    policy: &Policy,
    validator: &Validator,
    sessions: &Sessions,
    ended: &Ended<SessionFacts>,
    around: Surroundings<'_>,
) -> Vec<Option<Arc<Validation>>> {
    let enabled = policy.network.certificates.validation.enabled;
    ended
        .facts
        .tls
        .iter()
        .map(|tls| match enabled {
            true if tls.chain.is_empty() => {
                let session = inherited(sessions, ended, tls, around.until)?;
                Some(validator.chain(&session.chain, session.ts, around.pool))
            }
            true => validator.handshake(tls, around),
            false => None,
        })
        .collect()
}

fn inherited(
    sessions: &Sessions,
    ended: &Ended<SessionFacts>,
    tls: &TlsHandshake,
    until: u64,
) -> Option<Inherited> {
    let server = (ended.record.dst, ended.record.dst_port);
    sessions.of(tls, server, until)
}

/// Judges one flow.
pub(super) fn judge(
    policy: &Policy,
    gatherer: &mut Gatherer,
    sessions: &Sessions,
    ended: Ended<SessionFacts>,
    validations: Vec<Option<Arc<Validation>>>,
) -> Judged {
    let until = ended.order.0;
    let resumed_from: Vec<Option<(FlowId, CaptureTime)>> = ended
        .facts
        .tls
        .iter()
        .map(|tls| {
            let session = inherited(sessions, &ended, tls, until)?;
            Some((session.flow_id, session.ts))
        })
        .collect();
    let Ended {
        order,
        record: mut flow,
        mut facts,
        anomalies,
    } = ended;
    name_service(&mut flow, &mut facts);
    (flow.local_orig, flow.local_resp) = (policy.is_local(flow.src), policy.is_local(flow.dst));
    flow.dst_allowed = policy
        .allowlist()
        .map(|list| list.allows(&flow.destination()));
    let audited = control::audit_flow(policy, &flow, &facts, &validations);
    gatherer.add(&flow, &facts, &audited);
    let AuditResult { tls: outcomes, .. } = audited;
    let tls = facts
        .tls
        .into_iter()
        .zip(outcomes)
        .zip(validations)
        .zip(resumed_from)
        .map(|(((handshake, outcomes), validation), resumed_from)| {
            let suite = handshake.server.as_deref().map(|server| server.cipher);
            let mut row = TlsRow::new(&flow, handshake, outcomes);
            row.validation = validation;
            row.resumed_from = resumed_from;
            if resumed_from.is_some() && row.validation.is_some() {
                let named = control::ns02::validated_hostname(&flow, &row.handshake);
                row.validated_hostname = named.map(|(name, source)| (name.into(), source));
            }
            if let Some(suite) = suite {
                let class = suites::class(policy, suite);
                row.cipher_class = Some(class.name());
                if class == suites::Class::Denied {
                    row.cipher_deny_pattern =
                        suites::denied_by(policy, suite).map(String::into_boxed_str);
                }
            }
            row
        })
        .collect();
    let credentials = facts
        .plaintext
        .map(|plain| credential_rows(&flow, *plain))
        .unwrap_or_default();
    Judged {
        order,
        flow,
        tls,
        credentials,
        anomalies,
    }
}

fn credential_rows(flow: &FlowRecord, plain: PlaintextFacts) -> Vec<CredentialRow> {
    let head = FlowHead {
        flow_id: flow.flow_id,
        first: flow.first,
        src: flow.src,
        dst: flow.dst,
        src_port: flow.src_port,
        dst_port: flow.dst_port,
        ip_proto: flow.ip_proto,
        scope: flow.scope,
    };
    let protocol = plain.protocol;
    let row = |seen| CredentialRow {
        flow: head,
        protocol,
        seen,
    };
    plain.credentials.into_iter().map(row).collect()
}

/// Judges one transaction by what it shows alone.
pub(super) fn judge_http(
    policy: &Policy,
    gatherer: &mut Gatherer,
    flow: FlowHead,
    tx: Box<HttpTransaction>,
) -> HttpRow {
    let (is_api, outcomes) = control::audit_http(policy, &flow, &tx);
    gatherer.add_http(&flow, &tx, &outcomes);
    HttpRow::new(policy, flow, tx, is_api, outcomes)
}

/// What a flow says of its destination: the name that its server is asked to
/// prove, and the one that its server is asked for.
const BY_SNI: f32 = 1.0;
const BY_HOST: f32 = 0.95;

/// Puts into the row what the flow's content said of it. A name that TLS
/// states outranks one of HTTP, since it is what the certificate is checked
/// against; either outranks what is known of the address.
fn name_service(flow: &mut FlowRecord, facts: &mut SessionFacts) {
    // A carrier of tunnels has its name from what was decoded, and no content.
    if flow.service.is_none() {
        flow.service = facts.service.take();
        flow.service_confidence = facts.confidence;
    }
    flow.entropy = facts.entropy;
    flow.bytes_encrypted = facts.bytes_encrypted.iter().sum();
    flow.bytes_plaintext = facts.bytes_plaintext.iter().sum();
    let sni = facts
        .tls
        .iter()
        .filter_map(|tls| tls.client.as_ref())
        .find_map(|client| client.server_name.as_deref());
    let host = || facts.plaintext.as_deref().and_then(http_host);
    let named = match sni {
        Some(name) => Some((name, NameSource::Sni)),
        None => host().map(|name| (name, NameSource::HttpHost)),
    };
    if let Some((name, source)) = named {
        let confidence = match source {
            NameSource::Sni => BY_SNI,
            _ => BY_HOST,
        };
        flow.server_name = Some(host_name(name).into());
        flow.server_name_source = Some(source);
        flow.server_name_origin = NameOrigin {
            confidence: Some(confidence),
            ..NameOrigin::default()
        };
    }
}

fn http_host(facts: &PlaintextFacts) -> Option<&str> {
    facts
        .http
        .iter()
        .find_map(|exchange| exchange.host.as_deref())
}
