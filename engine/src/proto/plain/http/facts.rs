//! What every version of HTTP tells the rest of the engine alike: exchanges for
//! NS-01, and messages that two readers may understand differently.

use super::super::reader::Scene;
use super::super::{HttpExchange, MAX_HTTP_EXCHANGES};
use super::head::{self, Field};
use super::transaction::{HttpTransaction, Oddities, Text};
use crate::anomaly::AnomalyKind;

/// Notes a request for NS-01; gives its place, where it is kept.
pub(super) fn exchange(scene: &mut Scene<'_, '_>, tx: &HttpTransaction) -> Option<usize> {
    let facts = &mut *scene.facts;
    facts.http_exchanges = facts.http_exchanges.saturating_add(1);
    if facts.http.len() >= MAX_HTTP_EXCHANGES {
        return None;
    }
    let text = |text| tx.text(text).map(str::to_owned);
    facts.http.push(HttpExchange {
        ts: tx.ts,
        packet: tx.packet,
        method: text(Text::Method).unwrap_or_default(),
        host: text(Text::Host),
        path: text(Text::Path).unwrap_or_default(),
        status: None,
        pki: false,
        location: None,
    });
    Some(facts.http.len() - 1)
}

/// Notes its answer.
pub(super) fn answer(
    scene: &mut Scene<'_, '_>,
    index: Option<usize>,
    status: u16,
    fields: &[Field<'_>],
) {
    if let Some(known) = index.and_then(|at| scene.facts.http.get_mut(at)) {
        known.status = Some(status);
        if (300..400).contains(&status) {
            known.location = head::value(fields, b"location").map(head::redirect);
        }
    }
}

/// Notes what its answer's body turned out to be.
pub(super) fn body(scene: &mut Scene<'_, '_>, index: Option<usize>, tx: &HttpTransaction) {
    if let Some(known) = index.and_then(|at| scene.facts.http.get_mut(at)) {
        known.pki = tx.is_pki && asks_for_pki(tx);
    }
}

/// A request for the status of certificates with all that may be asked about in
/// one, its signature included. What is longer is an upload.
const MAX_PKI_REQUEST: u64 = 16 << 10;

/// Whether a request carries nothing but a question about certificates (RFC 6960
/// §A.1): what else was sent in the clear is no less so for its answer.
fn asks_for_pki(tx: &HttpTransaction) -> bool {
    let sent = tx.request.body_bytes;
    // The request may still be on its way.
    tx.request.whole
        && match tx.text(Text::Method) {
            Some("GET") => sent == 0,
            Some("POST") => {
                sent <= MAX_PKI_REQUEST
                    && tx.text(Text::RequestType) == Some("application/ocsp-request")
                    && tx.text(Text::ResponseType) == Some("application/ocsp-response")
            }
            _ => false,
        }
}

/// Notes a message that two readers may understand differently.
pub(super) fn ambiguous(scene: &mut Scene<'_, '_>, oddities: Oddities) {
    if oddities.is_ambiguous() {
        let cx = &mut *scene.cx;
        cx.anomalies
            .note(AnomalyKind::HttpAmbiguous, cx.ts, cx.packet, || {
                oddities.names().collect::<Vec<_>>().join(", ")
            });
    }
}
