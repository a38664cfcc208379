//! Batches through decode and shards to rows, in an order that depends on the
//! input alone.

use super::judge::{Judged, judge, judge_http, validate};
use super::naming::{Naming, names_an_address, wants_name};
use super::order::Ordering;
use super::secrets::Secrets;
use super::sessions::Sessions;
use crate::anomaly::{Anomaly, AnomalyKind, AnomalyLog};
use crate::capture::{Batch, CaptureFile, LinkType, ResolvedName, Walked};
use crate::decode::{self, Datagrams, Decoded, Defragmenter, LinkContext, SHARDS, Segment};
use crate::error::Result;
use crate::evidence::PacketRef;
use crate::finding::Gatherer;
use crate::flow::{Ended, FlowHead, Live, Lookup, Place, Shard};
use crate::pki::{Evidence, Pool, Surroundings, Validator};
use crate::policy::Policy;
use crate::proto::credential::Redactor;
use crate::proto::session::Session;
use crate::proto::tls::SessionSeen;
use crate::proto::x509::KnownCertificates;
use crate::proto::{LiveRow, PkiBody, PkiKind, SessionFacts};
use crate::seal::OutputSet;
use crate::table::{CertificateBook, DnsRow, HttpRow};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// Issuers' certificates kept of those that passed over HTTP.
const MAX_ISSUERS: usize = 1_024;

/// Packets after which flows that ended are judged and written: each may have
/// ended one, and all of them together would leave the caches.
const ROUND_PACKETS: u64 = 8_192;

/// Segments whose flows are looked up together.
const LOOKED_UP: usize = 16;

/// Findings after which a lane gives what it gathered to the pipeline.
const LANE_FINDINGS: usize = 128;

/// Everything that lives from the first packet to the last.
pub(super) struct Pipeline<'p> {
    policy: &'p Policy,
    validator: &'p Validator,
    lanes: Vec<Lane>,
    decoded: Vec<Decoded>,
    defragmenter: Defragmenter,
    /// What the defragmenter's datagrams decode to; empty between chunks.
    of_datagrams: Decoded,
    /// Datagrams put together in this batch.
    datagrams: Datagrams,
    certificates: CertificateBook,
    /// OCSP responses and revocation lists that passed over HTTP.
    evidence: Evidence,
    /// Sessions that others may resume.
    sessions: Sessions,
    /// Issuers' certificates that did.
    issuers: Vec<Arc<[u8]>>,
    /// What the lanes gathered and gave up, so that they stay small.
    gatherer: Gatherer,
    /// By which names addresses are known.
    naming: Naming,
    /// HTTP transactions that wait for their turn in time.
    ordering: Ordering,
    secrets: Secrets<'p>,
    /// Packets of all files so far.
    packets: u64,
}

/// One shard with what it gathers.
struct Lane {
    shard: Shard<Session>,
    gatherer: Gatherer,
    /// Rows that wait for their turn, each taken once.
    judged: Vec<Option<Judged>>,
    /// HTTP transactions with the order of [`Live::order`].
    http: Vec<((u64, u64, u32), HttpRow)>,
    /// Flows whose chains wait for certificates from the rest of the capture.
    waiting: Vec<Ended<SessionFacts>>,
    dns: Vec<((u64, u64, u32), DnsRow)>,
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
struct Numbering {
    /// Packets of this file before the chunk.
    frames: u64,
    /// Packets of all files before the chunk.
    global: u64,
}

/// What all lanes gathered.
pub(super) struct Gathered<'p> {
    pub(super) secrets: Secrets<'p>,
    pub(super) gatherer: Gatherer,
    pub(super) certificates: CertificateBook,
    /// OCSP responses and revocation lists that passed and were left out.
    pub(super) revocations_left_out: u64,
}

/// What a batch's walk counted, in file order.
pub(super) struct BatchDone {
    pub(super) walked: Vec<Walked>,
    pub(super) end: u64,
}

impl<'p> Pipeline<'p> {
    pub(super) fn new(
        policy: &'p Policy,
        validator: &'p Validator,
        secrets: Secrets<'p>,
        redactor: &Redactor,
    ) -> Self {
        let known = secrets.shared();
        let certificates = Arc::<KnownCertificates>::default();
        let shard = || {
            let mut shard = Shard::new(&policy.limits)
                .knowing(&certificates)
                .keyed(redactor.clone());
            shard.secrets.clone_from(&known);
            shard
        };
        let lane = |_| Lane {
            shard: shard(),
            gatherer: Gatherer::new(policy),
            judged: Vec::new(),
            http: Vec::new(),
            waiting: Vec::new(),
            dns: Vec::new(),
            bodies: Vec::new(),
            sessions: Vec::new(),
            text: String::new(),
            lookups: Vec::new(),
        };
        Self {
            policy,
            validator,
            lanes: (0..SHARDS).map(lane).collect(),
            decoded: Vec::new(),
            defragmenter: Defragmenter::new(&policy.limits),
            of_datagrams: Decoded::new(),
            datagrams: Datagrams::default(),
            certificates: CertificateBook::new(policy.limits.max_certificates),
            evidence: Evidence::default(),
            sessions: Sessions::new(policy.limits.tls_sessions),
            issuers: Vec::new(),
            gatherer: Gatherer::new(policy),
            naming: Naming::new(policy.limits.dns_names),
            ordering: Ordering::default(),
            secrets,
            packets: 0,
        }
    }

    /// Takes in the secrets that passed in a stream since its last batch.
    pub(super) fn learn(&mut self, capture: u32, file: &mut CaptureFile) {
        if file.has_secrets_passing() {
            for lane in &mut self.lanes {
                lane.shard.secrets = None;
            }
            self.secrets.pass(capture, file);
            let secrets = self.secrets.shared();
            for lane in &mut self.lanes {
                lane.shard.secrets.clone_from(&secrets);
            }
        }
    }

    /// Takes one batch: decodes its chunks in parallel, puts fragments
    /// together, feeds the shards in parallel, and writes the rows of the
    /// flows that ended. `frames` counts this file's packets.
    pub(super) fn batch(
        &mut self,
        batch: &Batch,
        capture: u32,
        frames: &mut u64,
        damage: &mut AnomalyLog,
        outputs: &mut OutputSet,
    ) -> Result<BatchDone> {
        let (walked, end) = self.decode(batch);
        let mut numbering = Vec::with_capacity(walked.len());
        for chunk in &walked {
            numbering.push(Numbering {
                frames: *frames,
                global: self.packets,
            });
            *frames += chunk.packets;
            self.packets += chunk.packets;
        }
        self.defragment(batch, capture, &numbering, damage);
        let mut done = 0;
        while done < walked.len() {
            let round = done..done + round(walked.get(done..).unwrap_or_default());
            done = round.end;
            self.feed(batch, capture, &numbering, round);
            self.name(damage);
            self.judge();
            self.write(outputs)?;
            self.relieve();
        }
        Ok(BatchDone { walked, end })
    }

    /// Walks and decodes the chunks in parallel; a chunk that began in the
    /// wrong place is walked again from the right one.
    fn decode(&mut self, batch: &Batch) -> (Vec<Walked>, u64) {
        let chunks = batch.chunks();
        let limits = &self.policy.limits;
        while self.decoded.len() < chunks.len() {
            self.decoded.push(Decoded::new());
        }
        for decoded in &mut self.decoded {
            decoded.clear();
        }
        let mut walked: Vec<Walked> = chunks
            .par_iter()
            .zip(&mut self.decoded)
            .map(|(chunk, decoded)| chunk.walk(|packet| decoded.packet(&packet, limits)))
            .collect();
        let mut end = batch.start();
        for ((chunk, decoded), walked) in chunks.iter().zip(&mut self.decoded).zip(&mut walked) {
            if walked.start != end {
                decoded.clear();
                *walked = chunk.walk_from(end, |packet| decoded.packet(&packet, limits));
            }
            end = walked.end;
        }
        (walked, end)
    }

    /// Puts fragments together, serially and in packet order: a datagram
    /// belongs to the packet that completes it.
    fn defragment(
        &mut self,
        batch: &Batch,
        capture: u32,
        numbering: &[Numbering],
        damage: &mut AnomalyLog,
    ) {
        self.datagrams.clear();
        for (decoded, numbering) in self.decoded.iter_mut().zip(numbering) {
            if decoded.fragments.is_empty() {
                continue;
            }
            for fragment in &decoded.fragments {
                let at = PacketRef {
                    capture,
                    frame: numbering.frames + u64::from(fragment.index) + 1,
                    offset: fragment.record_offset,
                };
                let bytes = batch
                    .bytes(fragment.payload_offset, fragment.payload_len as usize)
                    .unwrap_or_default();
                self.defragmenter.push(
                    fragment,
                    at,
                    bytes,
                    &mut self.datagrams,
                    &mut self.of_datagrams,
                    damage,
                );
            }
            let more = &mut self.of_datagrams;
            for (shard, segments) in decoded.shards.iter_mut().zip(&mut more.shards) {
                if !segments.is_empty() {
                    shard.append(segments);
                    shard.sort_by_key(|segment| segment.index);
                }
            }
            decoded.counters.add(&more.counters);
            decoded.oddities.merge(&more.oddities);
            more.clear();
        }
    }

    fn feed(&mut self, batch: &Batch, capture: u32, numbering: &[Numbering], round: Range<usize>) {
        let policy = self.policy;
        let datagrams = &self.datagrams;
        let decoded = self.decoded.get(round.clone()).unwrap_or_default();
        let numbering = numbering.get(round).unwrap_or_default();
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
    fn name(&mut self, odd: &mut AnomalyLog) {
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
    fn judge(&mut self) {
        let (policy, validator) = (self.policy, self.validator);
        self.lanes.par_iter_mut().for_each(|lane| {
            lane.take_live(policy);
            // Time-outs let rows of several flows go with one packet.
            lane.dns.sort_by_key(|(order, _)| *order);
        });
        // What passed through one shard is evidence in all of them, and which of
        // it a flow is judged by must not depend on how packets were batched.
        self.gather_bodies();
        let (evidence, sessions) = (&self.evidence, &self.sessions);
        self.lanes
            .par_iter_mut()
            .for_each(|lane| lane.judge(policy, validator, evidence, sessions));
    }

    /// Writes the DNS rows, by the packet that made them whole.
    fn write_dns(&mut self, outputs: &mut OutputSet) -> Result<()> {
        let mut order: Vec<((u64, u64, u32), usize)> = Vec::new();
        for (lane, of_lane) in self.lanes.iter().enumerate() {
            order.extend(of_lane.dns.iter().map(|(order, _)| (*order, lane)));
        }
        order.par_sort_unstable();
        let mut rows: Vec<_> = self
            .lanes
            .iter_mut()
            .map(|lane| lane.dns.drain(..))
            .collect();
        for (_, lane) in order {
            // Each lane's rows stand in this order already.
            if let Some((_, row)) = rows.get_mut(lane).and_then(Iterator::next) {
                outputs.push_dns(row)?;
            }
        }
        Ok(())
    }

    /// Writes the rows of flows that ended, by the packet that ended them.
    fn write(&mut self, outputs: &mut OutputSet) -> Result<()> {
        self.write_http(outputs)?;
        self.write_dns(outputs)?;
        let mut order: Vec<(u64, u64, u32, usize, usize)> = Vec::new();
        for (lane, of_lane) in self.lanes.iter().enumerate() {
            for (row, judged) in of_lane.judged.iter().enumerate() {
                let Some(judged) = judged else { continue };
                let (ended, first, nth) = judged.order;
                order.push((ended, first, nth, lane, row));
            }
        }
        order.par_sort_unstable();
        for (_, _, _, lane, row) in order {
            let judged = self
                .lanes
                .get_mut(lane)
                .and_then(|lane| lane.judged.get_mut(row)?.take());
            if let Some(judged) = judged {
                push(outputs, &mut self.certificates, judged)?;
            }
        }
        for lane in &mut self.lanes {
            lane.judged.clear();
        }
        Ok(())
    }

    /// Takes HTTP transactions by the packet that made them whole; writes those
    /// whose turn in time it is.
    fn write_http(&mut self, outputs: &mut OutputSet) -> Result<()> {
        let mut rows: Vec<_> = self
            .lanes
            .iter_mut()
            .flat_map(|lane| lane.http.drain(..))
            .collect();
        // Stable: rows of one packet keep the order in which they came.
        rows.par_sort_by_key(|(order, _)| *order);
        let (policy, gatherer) = (self.policy, &mut self.gatherer);
        rows.into_iter().try_for_each(|(_, row)| {
            self.ordering
                .push(policy, gatherer, row, |row| outputs.push_http(row))
        })
    }

    /// Takes from lanes with many findings what they gathered: each lane would
    /// otherwise hold its own copy of findings that flows of all lanes share.
    fn relieve(&mut self) {
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

    /// The input has ended: so do all open flows, shard by shard.
    pub(super) fn finish(
        mut self,
        damage: &mut AnomalyLog,
        outputs: &mut OutputSet,
    ) -> Result<Gathered<'p>> {
        self.defragmenter.end(damage);
        let (policy, validator) = (self.policy, self.validator);
        let naming = &self.naming;
        let (evidence, sessions) = (&self.evidence, &self.sessions);
        // A few shards at a time, so that the rows of all open flows never
        // stand in memory together.
        for lanes in self.lanes.chunks_mut(8) {
            let bound = self.gatherer.bound();
            lanes.par_iter_mut().for_each(|lane| {
                lane.gatherer.keep_within(bound);
                lane.shard.finish(&policy.limits);
                for ended in lane
                    .shard
                    .ended
                    .iter_mut()
                    .filter(|ended| wants_name(ended))
                {
                    naming.name(ended);
                }
                lane.take_live(policy);
                lane.judge(policy, validator, evidence, sessions);
            });
            for lane in lanes {
                for (_, row) in lane.http.drain(..) {
                    self.ordering.push(policy, &mut self.gatherer, row, |row| {
                        outputs.push_http(row)
                    })?;
                }
                for (_, row) in lane.dns.drain(..) {
                    outputs.push_dns(row)?;
                }
                for judged in lane.judged.drain(..).flatten() {
                    push(outputs, &mut self.certificates, judged)?;
                }
                self.gatherer.take(&mut lane.gatherer);
            }
        }
        self.complete(outputs)?;
        while let Some(row) = self.ordering.next(policy, &mut self.gatherer) {
            outputs.push_http(row)?;
        }
        let mut gatherer = self.gatherer;
        for lane in self.lanes {
            gatherer.merge(lane.gatherer);
        }
        Ok(Gathered {
            secrets: self.secrets,
            gatherer,
            certificates: self.certificates,
            revocations_left_out: self.evidence.left_out(),
        })
    }

    /// Judges the flows that waited, now that all certificates are known. Which
    /// they are, and their order, depends on the input alone.
    fn complete(&mut self, outputs: &mut OutputSet) -> Result<()> {
        let (policy, validator) = (self.policy, self.validator);
        if self.lanes.iter().all(|lane| lane.waiting.is_empty()) {
            return Ok(());
        }
        let mut pool = Pool::default();
        for der in &self.issuers {
            pool.add(der);
        }
        for certificate in self.certificates.certificates() {
            pool.add(&certificate.der);
        }
        let waiting = self.lanes.iter().flat_map(|lane| &lane.waiting);
        for handshake in waiting.flat_map(|ended| &ended.facts.tls) {
            for certificate in handshake.chain.iter().skip(1) {
                pool.add(&certificate.der);
            }
        }
        let (evidence, sessions) = (&self.evidence, &self.sessions);
        for lanes in self.lanes.chunks_mut(8) {
            lanes.par_iter_mut().for_each(|lane| {
                for ended in std::mem::take(&mut lane.waiting) {
                    let around = Surroundings {
                        pool: Some(&pool),
                        evidence,
                        until: ended.order.0,
                    };
                    let validations = validate(policy, validator, sessions, &ended, around);
                    let judged = judge(policy, &mut lane.gatherer, sessions, ended, validations);
                    lane.judged.push(Some(judged));
                }
            });
            for lane in lanes {
                for judged in lane.judged.drain(..).flatten() {
                    push(outputs, &mut self.certificates, judged)?;
                }
            }
        }
        Ok(())
    }

    /// Packets of all files so far.
    pub(super) fn packets(&self) -> u64 {
        self.packets
    }

    /// Flows that have begun and not ended.
    pub(super) fn open_flows(&self) -> u64 {
        let open = self.lanes.iter().map(|lane| lane.shard.open() as u64);
        open.sum()
    }

    /// What was decoded of the last batch's chunks, in file order.
    pub(super) fn decoded(&self) -> &[Decoded] {
        &self.decoded
    }
}

impl Lane {
    /// Takes the rows that are whole.
    fn take_live(&mut self, policy: &Policy) {
        for Live { order, flow, row } in self.shard.live.drain(..) {
            match row {
                LiveRow::Http(tx) => {
                    let row = judge_http(policy, &mut self.gatherer, flow, tx);
                    self.http.push((order, row));
                }
                LiveRow::Dns(query) => {
                    let row = DnsRow::new(flow, query, &mut self.text);
                    self.dns.push((order, row));
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
            self.judged.push(Some(judged));
        }
        if self.gatherer.len() > LANE_FINDINGS {
            self.gatherer.prepare();
        }
    }
}

/// How many chunks make the next round.
fn round(walked: &[Walked]) -> usize {
    let mut packets = 0_u64;
    let fits = walked.iter().take_while(|chunk| {
        packets = packets.saturating_add(chunk.packets);
        packets <= ROUND_PACKETS
    });
    fits.count().max(1)
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

fn push(outputs: &mut OutputSet, certificates: &mut CertificateBook, judged: Judged) -> Result<()> {
    for anomaly in judged.anomalies {
        outputs.push_anomaly(anomaly)?;
    }
    for row in judged.tls {
        certificates.note_handshake(&row.handshake, &row.destination);
        outputs.push_tls(row)?;
    }
    for row in judged.credentials {
        outputs.push_credential(row)?;
    }
    outputs.push_flow(*judged.flow)
}
