//! The lanes: each feeds the shard of the flow table that is its own, and judges
//! what leaves it. Nothing here writes a row.

use super::judge::{judge, judge_http, validate};
use super::naming::{Naming, names_an_address, wants_name};
use super::sessions::Sessions;
use super::writing::Rows;
use crate::anomaly::{Anomaly, AnomalyKind, AnomalyLog};
use crate::capture::{Batch, LinkType, ResolvedName};
use crate::decode::{self, Datagrams, Decoded, LinkContext, SHARDS, Segment};
use crate::evidence::PacketRef;
use crate::finding::Gatherer;
use crate::flow::{Ended, FlowHead, Live, Lookup, Place, Shard};
use crate::pki::{Evidence, Pool, Surroundings, Validator};
use crate::policy::Policy;
use crate::proto::credential::Redactor;
use crate::proto::secrets::KeyLog;
use crate::proto::session::Session;
use crate::proto::tls::SessionSeen;
use crate::proto::x509::KnownCertificates;
use crate::proto::{LiveRow, PkiBody, PkiKind, SessionFacts};
use crate::table::DnsRow;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// Issuers' certificates kept of those that passed over HTTP.
const MAX_ISSUERS: usize = 1_024;

/// Segments whose flows are looked up together.
const LOOKED_UP: usize = 16;

/// Findings after which a lane gives what it gathered to the pipeline.
const LANE_FINDINGS: usize = 128;

/// All lanes, with what flows of any of them are judged by.
pub(super) struct Reading<'p> {
    policy: &'p Policy,
    validator: &'p Validator,
    pub(super) lanes: Vec<Lane>,
    /// OCSP responses and revocation lists that passed over HTTP.
    pub(super) evidence: Evidence,
    /// Sessions that others may resume.
    sessions: Sessions,
    /// Issuers' certificates that did.
    issuers: Vec<Arc<[u8]>>,
    /// What the lanes gathered and gave up, so that they stay small.
    pub(super) gatherer: Gatherer,
    /// By which names addresses are known.
    naming: Naming,
}

/// One shard with what it gathers.
pub(super) struct Lane {
    pub(super) shard: Shard<Session>,
    pub(super) gatherer: Gatherer,
    /// What this round gives.
    pub(super) rows: Rows,
    /// Flows whose chains wait for certificates from the rest of the capture.
    waiting: Vec<Ended<SessionFacts>>,
    /// Bodies of public key infrastructure, and the packet that made each whole.
    bodies: Vec<(u64, PkiBody)>,
    /// Sessions likewise.
    sessions: Vec<(u64, FlowHead, Box<SessionSeen>)>,
    /// Scratch.
    text: String,
    /// The same.
    lookups: Vec<Lookup>,
}

/// A chunk's place in the numbering of packets.
#[derive(Clone, Copy)]
pub(super) struct Numbering {
    /// Packets of this file before the chunk.
    pub(super) frames: u64,
    /// Packets of all files before the chunk.
    pub(super) global: u64,
}

impl<'p> Reading<'p> {
    pub(super) fn new(
        policy: &'p Policy,
        validator: &'p Validator,
        secrets: &Option<Arc<KeyLog>>,
        redactor: &Redactor,
    ) -> Self {
        let certificates = Arc::<KnownCertificates>::default();
        let shard = || {
            let mut shard = Shard::new(&policy.limits)
                .knowing(&certificates)
                .keyed(redactor.clone());
            shard.secrets.clone_from(secrets);
            shard
        };
        let lane = |_| Lane {
            shard: shard(),
            gatherer: Gatherer::new(policy),
            rows: Rows::default(),
            waiting: Vec::new(),
            bodies: Vec::new(),
            sessions: Vec::new(),
            text: String::new(),
            lookups: Vec::new(),
        };
        Self {
            policy,
            validator,
            lanes: (0..SHARDS).map(lane).collect(),
            evidence: Evidence::default(),
            sessions: Sessions::new(policy.limits.tls_sessions),
            issuers: Vec::new(),
            gatherer: Gatherer::new(policy),
            naming: Naming::new(policy.limits.dns_names),
        }
    }

    /// Takes the segments of a round in, shard by shard.
    pub(super) fn feed(
        &mut self,
        batch: &Batch,
        capture: u32,
        datagrams: &Datagrams,
        decoded: &[Decoded],
        numbering: &[Numbering],
    ) {
        let policy = self.policy;
        self.lanes
            .par_iter_mut()
            .enumerate()
            .for_each(|(shard, lane)| {
                for (decoded, numbering) in decoded.iter().zip(numbering) {
                    let Some(segments) = decoded.shards.get(shard) else {
                        continue;
                    };
                    for segments in segments.chunks(LOOKED_UP) {
                        lane.shard.look_up(segments, &mut lane.lookups);
                        for (segment, lookup) in segments.iter().zip(&lane.lookups) {
                            let place = Place {
                                packet: PacketRef {
                                    capture,
                                    frame: numbering.frames + u64::from(segment.index) + 1,
                                    offset: segment.record_offset,
                                },
                                global: numbering.global + u64::from(segment.index),
                            };
                            let payload = payload(batch, datagrams, segment);
                            lane.shard.looked_up(
                                &policy.limits,
                                segment,
                                lookup,
                                place,
                                payload,
                                || link_context(batch, datagrams, segment),
                            );
                        }
                    }
                }
            });
    }

    /// Takes what flows of all shards are judged by, in the order of packets:
    /// sessions, and what passed over HTTP of certificates.
    fn gather_bodies(&mut self) {
        let lanes = self.lanes.iter_mut();
        let mut sessions: Vec<_> = lanes.flat_map(|lane| lane.sessions.drain(..)).collect();
        sessions.sort_by_key(|(packet, _, seen)| (*packet, seen.key));
        for (packet, flow, seen) in sessions {
            self.sessions.add(packet, &flow, *seen);
        }
        let lanes = self.lanes.iter_mut();
        let mut bodies: Vec<(u64, PkiBody)> =
            lanes.flat_map(|lane| lane.bodies.drain(..)).collect();
        bodies.sort_by(|(packet, body), (other, of_other)| {
            (packet, &body.bytes).cmp(&(other, &of_other.bytes))
        });
        for (packet, body) in bodies {
            match body.kind {
                PkiKind::Ocsp => self.evidence.add_response(packet, &body.bytes),
                PkiKind::Crl => self.evidence.add_list(packet, &body.bytes),
                PkiKind::Certificate if self.issuers.len() < MAX_ISSUERS => {
                    self.issuers.push(body.bytes);
                }
                PkiKind::Certificate => {}
            }
        }
    }

    /// Takes the names that the file gives to addresses.
    pub(super) fn note_names(&mut self, capture: u32, names: &[ResolvedName]) {
        self.naming.note_file(capture, names);
    }

    /// Names the destinations of flows that ended by the answers of the DNS, both
    /// in the order of their packets.
    pub(super) fn name(&mut self, odd: &mut AnomalyLog) {
        const ANSWER: bool = false;
        const FLOW: bool = true;
        let mut order = Vec::new();
        for (lane, of_lane) in self.lanes.iter().enumerate() {
            for (index, live) in of_lane.shard.live.iter().enumerate() {
                if names_an_address(live) {
                    let (packet, first, nth) = live.order;
                    order.push((packet, ANSWER, first, nth, lane, index));
                }
            }
        }
        if order.is_empty() && self.naming.is_empty() {
            return;
        }
        for (lane, of_lane) in self.lanes.iter().enumerate() {
            for (index, ended) in of_lane.shard.ended.iter().enumerate() {
                if wants_name(ended) {
                    let (packet, first, nth) = ended.order;
                    order.push((packet, FLOW, first, nth, lane, index));
                }
            }
        }
        order.par_sort_unstable();
        for (_, what, _, _, lane, index) in order {
            let Some(lane) = self.lanes.get_mut(lane) else {
                continue;
            };
            if what == ANSWER {
                if let Some(live) = lane.shard.live.get(index) {
                    self.naming.note(live, odd);
                }
            } else if let Some(ended) = lane.shard.ended.get_mut(index) {
                self.naming.name(ended);
            }
        }
    }

    /// Judges what has left the flows.
    pub(super) fn judge(&mut self) {
        let (policy, validator) = (self.policy, self.validator);
        self.lanes.par_iter_mut().for_each(|lane| {
            lane.take_live(policy);
            // Time-outs let rows of several flows go with one packet.
            lane.rows.dns.sort_by_key(|(order, _)| *order);
        });
        // What passed through one shard is evidence in all of them, and which of
        // it a flow is judged by must not depend on how packets were batched.
        self.gather_bodies();
        let (evidence, sessions) = (&self.evidence, &self.sessions);
        self.lanes
            .par_iter_mut()
            .for_each(|lane| lane.judge(policy, validator, evidence, sessions));
    }

    /// Takes from lanes with many findings what they gathered: each lane would
    /// otherwise hold its own copy of findings that flows of all lanes share.
    pub(super) fn relieve(&mut self) {
        for lane in &mut self.lanes {
            if lane.gatherer.len() > LANE_FINDINGS {
                self.gatherer.take(&mut lane.gatherer);
            }
        }
        let bound = self.gatherer.bound();
        for lane in &mut self.lanes {
            lane.gatherer.keep_within(bound);
        }
    }

    /// Ends all open flows of these lanes, and judges them.
    pub(super) fn end_lanes(&mut self, range: Range<usize>) {
        let (policy, validator) = (self.policy, self.validator);
        let (evidence, sessions) = (&self.evidence, &self.sessions);
        let (naming, bound) = (&self.naming, self.gatherer.bound());
        let lanes = self.lanes.get_mut(range).unwrap_or_default();
        lanes.par_iter_mut().for_each(|lane| {
            lane.gatherer.keep_within(bound);
            lane.shard.finish(&policy.limits);
            let ended = lane.shard.ended.iter_mut();
            ended
                .filter(|ended| wants_name(ended))
                .for_each(|ended| naming.name(ended));
            lane.take_live(policy);
            lane.judge(policy, validator, evidence, sessions);
        });
    }

    /// Whether there are flows that wait for certificates.
    pub(super) fn is_complete(&self) -> bool {
        self.lanes.iter().all(|lane| lane.waiting.is_empty())
    }

    /// Every certificate that may complete a chain: those that passed, and `known`.
    pub(super) fn pool<'c>(&self, known: impl Iterator<Item = &'c Arc<[u8]>>) -> Pool {
        let mut pool = Pool::default();
        for der in &self.issuers {
            pool.add(der);
        }
        for der in known {
            pool.add(der);
        }
        let waiting = self.lanes.iter().flat_map(|lane| &lane.waiting);
        for handshake in waiting.flat_map(|ended| &ended.facts.tls) {
            for certificate in handshake.chain.iter().skip(1) {
                pool.add(&certificate.der);
            }
        }
        pool
    }

    /// Judges the flows of these lanes that waited, now that all certificates are known.
    pub(super) fn complete_lanes(&mut self, range: Range<usize>, pool: &Pool) {
        let (policy, validator) = (self.policy, self.validator);
        let (evidence, sessions) = (&self.evidence, &self.sessions);
        let lanes = self.lanes.get_mut(range).unwrap_or_default();
        lanes.par_iter_mut().for_each(|lane| {
            for ended in std::mem::take(&mut lane.waiting) {
                let around = Surroundings {
                    pool: Some(pool),
                    evidence,
                    until: ended.order.0,
                };
                let validations = validate(policy, validator, sessions, &ended, around);
                let judged = judge(policy, &mut lane.gatherer, sessions, ended, validations);
                lane.rows.judged.push(Some(judged));
            }
        });
    }
}

impl Lane {
    /// Takes the rows that are whole.
    fn take_live(&mut self, policy: &Policy) {
        for Live { order, flow, row } in self.shard.live.drain(..) {
            match row {
                LiveRow::Http(tx) => {
                    let row = judge_http(policy, &mut self.gatherer, flow, tx);
                    self.rows.http.push((order, row));
                }
                LiveRow::Dns(query) => {
                    let row = DnsRow::new(flow, query, &mut self.text);
                    self.rows.dns.push((order, row));
                }
                LiveRow::Pki(body) => self.bodies.push((order.0, *body)),
                LiveRow::Session(seen) => self.sessions.push((order.0, flow, seen)),
            }
        }
    }

    /// Judges what has ended. A flow whose chain stops at an issuer that nobody
    /// sent waits for the end, within `limits.waiting_flows`.
    fn judge(
        &mut self,
        policy: &Policy,
        validator: &Validator,
        evidence: &Evidence,
        sessions: &Sessions,
    ) {
        let room = (policy.limits.waiting_flows / SHARDS).max(1);
        for mut ended in self.shard.ended.drain(..) {
            let around = Surroundings {
                pool: None,
                evidence,
                until: ended.order.0,
            };
            let validations = validate(policy, validator, sessions, &ended, around);
            let incomplete = validations
                .iter()
                .flatten()
                .any(|validation| validator.is_incomplete(validation));
            if incomplete && self.waiting.len() < room {
                self.waiting.push(ended);
                continue;
            }
            if incomplete {
                note_full(&mut ended);
            }
            let judged = judge(policy, &mut self.gatherer, sessions, ended, validations);
            self.rows.judged.push(Some(judged));
        }
        if self.gatherer.len() > LANE_FINDINGS {
            self.gatherer.prepare();
        }
    }
}

/// The flow could not wait for the certificates of the rest of the capture.
fn note_full(ended: &mut Ended<SessionFacts>) {
    let record = &ended.record;
    ended.anomalies.push(Anomaly {
        kind: AnomalyKind::X509Limit,
        flow_id: Some(record.flow_id),
        ts: record.ts,
        first: record.first,
        last: record.first,
        count: 1,
        detail: "limits.waiting_flows: an incomplete chain was judged by what its server sent"
            .into(),
    });
}

/// Reads a packet's lower layers once more: its bytes up to the payload.
fn link_context(batch: &Batch, datagrams: &Datagrams, segment: &Segment) -> LinkContext {
    let link = LinkType(segment.link);
    let start = segment.record_offset + u64::from(segment.data_at);
    if segment.bits & Segment::DEFRAGMENTED == 0 {
        let len = segment.payload_offset.saturating_sub(start);
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let headers = batch.bytes(start, len).unwrap_or_default();
        return decode::link_context(link, headers, segment);
    }
    // The payload is elsewhere; the headers of the fragment that completed the
    // datagram are all within its first bytes.
    let headers = (5..=8)
        .rev()
        .find_map(|power| batch.bytes(start, 1 << power))
        .unwrap_or_default();
    datagrams.link_context(link, headers, segment)
}

fn payload<'a>(batch: &'a Batch, datagrams: &'a Datagrams, segment: &Segment) -> &'a [u8] {
    let len = segment.payload_len as usize;
    let bytes = if segment.bits & Segment::DEFRAGMENTED == 0 {
        batch.bytes(segment.payload_offset, len)
    } else {
        datagrams.bytes(segment.payload_offset, len)
    };
    bytes.unwrap_or_default()
}
