//! One shard of the flow table: takes the segments of its flows in capture
//! order, and gives finished flows.
//!
//! A shard shares nothing with the others and depends on nothing but its own
//! segments, so that results are the same for any number of threads and any
//! cutting of the input into batches.

mod connection;
mod open;
mod reader;
mod waiting;

use self::connection::TcpParts;
use self::open::{Carries, Flow, Link, orig_resp_ports, starts_flipped};
use self::reader::Reader;
use self::waiting::{CLASSES, Class, Waiting};
use super::beats::Beats;
use super::history::{History, Letter};
use super::key::{self, FlowKey};
use super::reassembly::{Budget, Stream};
use super::record::{EndReason, FlowHead, FlowRecord};
use super::tcp::End;
use crate::anomaly::{Anomaly, AnomalyKind, AnomalyLog};
use crate::decode::{LinkContext, SHARDS, Segment};
use crate::evidence::{FlowId, PacketRef};
use crate::policy::Limits;
use crate::proto::credential::Redactor;
use crate::proto::icmp;
use crate::proto::secrets::KeyLog;
use crate::proto::x509::{CertificateCache, KnownCertificates};
use crate::proto::{Cx, Direction, LiveRow, Want};
use crate::time::{CaptureTime, NANOS_PER_SECOND};
use foldhash::quality::RandomState;
use hashbrown::HashTable;
use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::Arc;

const TCP: u8 = 6;
const UDP: u8 = 17;

/// Reads what one flow carries. Implemented by the protocol session; tests
/// read streams through it too.
pub trait Content: Default {
    /// What it knows when the flow has ended.
    type Facts: Default;
    /// The next bytes of a TCP stream, in order.
    fn data(&mut self, cx: &mut Cx<'_>, direction: Direction, bytes: &[u8]) -> Want;
    /// `len` bytes of a TCP stream are not in the capture.
    fn gap(&mut self, cx: &mut Cx<'_>, direction: Direction, len: u64) -> Want;
    /// `len` bytes passed that were not wanted.
    fn skipped(&mut self, direction: Direction, len: u64);
    /// One datagram.
    fn datagram(&mut self, cx: &mut Cx<'_>, direction: Direction, bytes: &[u8]) -> Want;
    /// Heap bytes held, roughly.
    fn heap_bytes(&self) -> usize;
    /// The flow has ended.
    fn end(self, cx: &mut Cx<'_>) -> Self::Facts;
}

/// Where a segment stands in the whole input.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Its packet.
    pub packet: PacketRef,
    /// Number of the packet over all files, from 0.
    pub global: u64,
}

/// Whose a segment is, looked up before its turn. The flow may have ended since,
/// or begun.
#[derive(Clone, Copy, Debug)]
pub struct Lookup {
    key: FlowKey,
    hash: u64,
    src_is_low: bool,
    one_way: bool,
    slot: Option<u32>,
}

/// A flow that has ended.
#[derive(Debug)]
pub struct Ended<F> {
    /// Rows are written in this order: by the packet that ended the flow, then
    /// by the flow's first packet and its place within that packet.
    pub order: (u64, u64, u32),
    /// The row, without what content and policy add to it. Boxed: it is
    /// handed on a few times before it is written.
    pub record: Box<FlowRecord>,
    /// What its content said.
    pub facts: F,
    /// What was odd about it.
    pub anomalies: Vec<Anomaly>,
}

/// A row that left its flow, which may well go on.
#[derive(Debug)]
pub struct Live {
    /// As [`Ended::order`], by the packet that made the row whole. Rows of one
    /// packet and flow keep the order in which they came.
    pub order: (u64, u64, u32),
    /// The flow.
    pub flow: FlowHead,
    /// The row.
    pub row: LiveRow,
}

/// One shard of the flow table.
#[derive(Debug)]
pub struct Shard<C: Content> {
    hasher: RandomState,
    table: HashTable<u32>,
    /// Boxed: a growing table then moves pointers, and what it keeps free is small.
    flows: Vec<Option<Box<Flow<C>>>>,
    free: Vec<u32>,
    generation: u32,
    queues: [VecDeque<Waiting>; CLASSES],
    /// Flows that hold memory, each at most once: slot and generation.
    holders: VecDeque<(u32, u32)>,
    timeouts_ns: [i64; CLASSES],
    max_flows: usize,
    max_heap_bytes: usize,
    heap_bytes: usize,
    previous_ts_ns: Option<i64>,
    /// The earlier one of the last two packets' times.
    clock_ns: i64,
    last_global: u64,
    nth_of_packet: u32,
    certificates: CertificateCache,
    redactor: Redactor,
    /// Secrets to decrypt with, where there are any.
    pub secrets: Option<Arc<KeyLog>>,
    /// Rows of the content at hand, before they are told whose they are.
    fresh: Vec<LiveRow>,
    /// Rows that are whole, for the conductor to take.
    pub live: Vec<Live>,
    /// Finished flows, for the conductor to take.
    pub ended: Vec<Ended<C::Facts>>,
}

impl<C: Content> Shard<C> {
    /// A shard with its part of the limits, that hashes secrets under no key:
    /// see [`Shard::keyed`].
    pub fn new(limits: &Limits) -> Self {
        let part = |all: usize| (all / SHARDS).max(1);
        let seconds = |seconds: i64| seconds.saturating_mul(NANOS_PER_SECOND);
        Self {
            hasher: RandomState::default(),
            table: HashTable::new(),
            flows: Vec::new(),
            free: Vec::new(),
            generation: 0,
            queues: Default::default(),
            holders: VecDeque::new(),
            timeouts_ns: [
                seconds(limits.tcp_attempt_seconds),
                seconds(limits.tcp_close_seconds),
                seconds(limits.icmp_idle_seconds),
                seconds(limits.udp_idle_seconds),
                seconds(limits.tcp_idle_seconds),
            ],
            max_flows: part(limits.max_flows),
            max_heap_bytes: part(
                limits
                    .reassembly_total_bytes
                    .saturating_add(limits.parser_total_bytes),
            ),
            heap_bytes: 0,
            previous_ts_ns: None,
            clock_ns: i64::MIN,
            last_global: 0,
            nth_of_packet: 0,
            certificates: CertificateCache::default(),
            redactor: Redactor::unkeyed(),
            secrets: None,
            fresh: Vec::new(),
            live: Vec::new(),
            ended: Vec::new(),
        }
    }

    /// Shares what other shards parsed of certificates.
    #[must_use]
    pub fn knowing(mut self, certificates: &Arc<KnownCertificates>) -> Self {
        self.certificates = CertificateCache::sharing(certificates);
        self
    }

    /// The same, hashing secrets under the run's key.
    pub fn keyed(mut self, redactor: Redactor) -> Self {
        self.redactor = redactor;
        self
    }

    /// Open flows.
    pub fn open(&self) -> usize {
        self.table.len()
    }

    /// Looks up the flows of segments to come. Most of a flow table is in no cache:
    /// look-ups that do not wait for each other fetch several flows at a time.
    pub fn look_up(&self, segments: &[Segment], found: &mut Vec<Lookup>) {
        found.clear();
        found.extend(segments.iter().map(|segment| self.lookup(segment)));
    }

    fn lookup(&self, segment: &Segment) -> Lookup {
        let (src, dst, one_way) = key::ends_of(segment);
        let (key, src_is_low) = key::key_of(segment, src, dst);
        let hash = self.hasher.hash_one(key);
        Lookup {
            key,
            hash,
            src_is_low,
            one_way,
            slot: self.find(hash, &key),
        }
    }

    /// The next segment. `link` reads the packet's lower layers again, for the
    /// row of a flow that begins with it.
    pub fn segment(
        &mut self,
        limits: &Limits,
        segment: &Segment,
        place: Place,
        payload: &[u8],
        link: impl FnOnce() -> LinkContext,
    ) {
        let lookup = self.lookup(segment);
        self.looked_up(limits, segment, &lookup, place, payload, link);
    }

    /// The next segment, with what [`Self::look_up`] said of it.
    pub fn looked_up(
        &mut self,
        limits: &Limits,
        segment: &Segment,
        lookup: &Lookup,
        place: Place,
        payload: &[u8],
        link: impl FnOnce() -> LinkContext,
    ) {
        if place.global == self.last_global {
            self.nth_of_packet += 1;
        } else {
            self.last_global = place.global;
            self.nth_of_packet = 0;
        }
        self.expire(limits, segment.ts_ns, place);

        let &Lookup {
            key,
            hash,
            src_is_low,
            one_way,
            slot,
        } = lookup;
        let has_key = |slot: &u32| self.flow(*slot).is_some_and(|flow| flow.key == key);
        let mut slot = slot.filter(has_key).or_else(|| self.find(hash, &key));
        let mut repeat = 0;
        if let Some(found) = slot
            && let Some(reason) = self.must_end(found, segment, src_is_low)
        {
            repeat = self.end_replaced(limits, found, reason, segment, place);
            slot = None;
        }
        let slot = match slot {
            Some(slot) => slot,
            None => {
                self.make_room(limits, place);
                let flow = self.new_flow(
                    key,
                    hash,
                    one_way,
                    src_is_low,
                    segment,
                    place,
                    repeat,
                    link(),
                );
                self.insert(flow)
            }
        };
        self.update(limits, slot, segment, src_is_low, place, payload);
        self.keep_heap_budget(limits, place);
    }

    /// The input has ended: every open flow ends, in the order of their beginnings.
    pub fn finish(&mut self, limits: &Limits) {
        let at = Place {
            packet: PacketRef::default(),
            global: u64::MAX,
        };
        let mut open: Vec<(u64, u32, u32)> = (0_u32..)
            .zip(&self.flows)
            .filter_map(|(slot, flow)| {
                flow.as_ref()
                    .map(|flow| (flow.first.global, flow.nth_of_packet, slot))
            })
            .collect();
        open.sort_unstable();
        for (_, _, slot) in open {
            self.end(limits, slot, EndReason::Eof, at);
        }
    }

    fn find(&self, hash: u64, key: &FlowKey) -> Option<u32> {
        let same = |&slot: &u32| self.flow(slot).is_some_and(|flow| flow.key == *key);
        self.table.find(hash, same).copied()
    }

    fn flow(&self, slot: u32) -> Option<&Flow<C>> {
        self.flows.get(slot as usize).and_then(Option::as_deref)
    }

    fn flow_mut(&mut self, slot: u32) -> Option<&mut Flow<C>> {
        self.flows
            .get_mut(slot as usize)
            .and_then(Option::as_deref_mut)
    }

    /// Whether a segment cannot belong to the flow that has its key.
    fn must_end(&mut self, slot: u32, segment: &Segment, src_is_low: bool) -> Option<EndReason> {
        let timeouts = self.timeouts_ns;
        let flow = self.flow_mut(slot)?;
        let direction = flow.direction(src_is_low);
        let answered = flow.counters[direction.flip().index()].packets > 0;
        if let Some(tcp) = &mut flow.tcp
            && segment.tcp_flags & Segment::RST == 0
        {
            let stream = &tcp.stream[direction.index()];
            let first_seq = segment.seq.wrapping_add(1);
            let opening = segment.tcp_flags & (Segment::SYN | Segment::ACK);
            if opening == Segment::SYN {
                let again = stream.has_started() && stream.position(first_seq) == 0;
                if !again && stream.has_started() {
                    if tcp.ends.is_over() || !answered {
                        return Some(EndReason::Reused);
                    }
                    tcp.pending_syn = Some(first_seq);
                }
            } else if let Some(pending) = tcp.pending_syn {
                // The SYN was answered, or followed by its own data: it was real.
                let answered = opening == (Segment::SYN | Segment::ACK) && segment.ack == pending;
                if answered && stream.position(first_seq) != 0 {
                    return Some(EndReason::Reused);
                }
            }
        }
        let idle = segment.ts_ns.saturating_sub(flow.last_ts_ns);
        // Stragglers of a closed connection are still its own.
        let class = if flow.class == Class::Closing {
            Class::Established
        } else {
            flow.class
        };
        (idle > timeouts[class as usize]).then_some(EndReason::Timeout)
    }

    /// Ends a flow whose key a new one takes; gives the new one's counter, which
    /// keeps ids apart where even the first packet's time is equal.
    fn end_replaced(
        &mut self,
        limits: &Limits,
        slot: u32,
        reason: EndReason,
        segment: &Segment,
        place: Place,
    ) -> u32 {
        let repeat = self
            .flow(slot)
            .filter(|flow| flow.first_ts_ns == segment.ts_ns)
            .map_or(0, |flow| flow.id_repeat + 1);
        self.end(limits, slot, reason, place);
        repeat
    }

    #[allow(clippy::too_many_arguments)] // all of it is what a flow begins with
    fn new_flow(
        &mut self,
        key: FlowKey,
        hash: u64,
        one_way: bool,
        src_is_low: bool,
        segment: &Segment,
        place: Place,
        id_repeat: u32,
        link: LinkContext,
    ) -> Box<Flow<C>> {
        let flipped = starts_flipped(segment);
        let class = match segment.protocol {
            TCP => Class::Attempt,
            1 | 58 => Class::Icmp,
            _ => Class::Datagram,
        };
        let mut history = History::default();
        if flipped {
            history.flipped();
        }
        self.generation = self.generation.wrapping_add(1);
        Box::new(Flow {
            key,
            hash,
            generation: self.generation,
            class,
            ip_version: segment.ip_version,
            one_way,
            orig_is_low: src_is_low != flipped,
            flipped,
            content_over: false,
            carries: Carries::default(),
            nth_of_packet: self.nth_of_packet,
            id_repeat,
            id: FlowId(0),
            first: place,
            first_ts_ns: segment.ts_ns,
            last_ts_ns: segment.ts_ns,
            history,
            counters: Default::default(),
            is_deaf: [false; 2],
            tcp: (segment.protocol == TCP).then(Box::default),
            content: None,
            echo: None,
            beats: None,
            heap_bytes: 0,
            is_holder: false,
            content_bytes: 0,
            files: Box::default(),
            anomalies: AnomalyLog::default(),
            link: Link::new(link),
        })
    }

    fn insert(&mut self, flow: Box<Flow<C>>) -> u32 {
        let (hash, class, generation, since_ns) =
            (flow.hash, flow.class, flow.generation, flow.last_ts_ns);
        let slot = match self.free.pop() {
            Some(slot) => {
                if let Some(place) = self.flows.get_mut(slot as usize) {
                    *place = Some(flow);
                }
                slot
            }
            None => {
                self.flows.push(Some(flow));
                u32::try_from(self.flows.len() - 1).unwrap_or(u32::MAX)
            }
        };
        let flows = &self.flows;
        self.table.insert_unique(hash, slot, |&slot| {
            flows
                .get(slot as usize)
                .and_then(Option::as_ref)
                .map_or(0, |flow| flow.hash)
        });
        self.wait(
            class,
            Waiting {
                slot,
                generation,
                since_ns,
            },
        );
        slot
    }

    fn update(
        &mut self,
        limits: &Limits,
        slot: u32,
        segment: &Segment,
        src_is_low: bool,
        place: Place,
        payload: &[u8],
    ) {
        let Some(flow) = self
            .flows
            .get_mut(slot as usize)
            .and_then(Option::as_deref_mut)
        else {
            return;
        };
        let direction = flow.direction(src_is_low);
        let may_beat = segment.payload_wire_len > 0
            && Beats::may_be(flow.first_ts_ns, flow.last_ts_ns, segment.ts_ns);
        let sent = may_beat.then(|| flow.sent());
        flow.last_ts_ns = flow.last_ts_ns.max(segment.ts_ns);
        let counters = &mut flow.counters[direction.index()];
        counters.packets += 1;
        counters.ip_bytes += u64::from(segment.ip_len);
        let (capture, first) = (place.packet.capture, flow.first.packet.capture);
        if capture != first && flow.files.last() != Some(&capture) && flow.files.len() < 32 {
            let mut files = std::mem::take(&mut flow.files).into_vec();
            if files.is_empty() {
                files.push(first);
            }
            files.push(capture);
            flow.files = files.into();
        }
        let mut reader = Reader {
            content: &mut flow.content,
            over: &mut flow.content_over,
            anomalies: &mut flow.anomalies,
            certificates: &mut self.certificates,
            redactor: &self.redactor,
            limits,
            ts: CaptureTime::from_nanos(segment.ts_ns),
            packet: place.packet,
            ports: orig_resp_ports(&flow.key, flow.orig_is_low),
            rows: &mut self.fresh,
            secrets: self.secrets.as_deref(),
            has_read: false,
        };
        if segment.bits & Segment::CHECKSUM_BAD != 0 {
            flow.history.note(direction, Letter::Checksum);
            reader.note(AnomalyKind::ChecksumBad, || "IP header checksum".to_owned());
        }
        let mut moved = None;
        if let Some(tcp) = &mut flow.tcp {
            let mut budget = Budget {
                stream: limits.reassembly_flow_bytes,
                shared_left: self.max_heap_bytes.saturating_sub(self.heap_bytes),
            };
            let mut parts = TcpParts {
                tcp,
                history: &mut flow.history,
            };
            parts.segment(segment, direction, payload, &mut budget, &mut reader);
            let ends = &tcp.ends;
            let class = if ends.is_over() {
                Class::Closing
            } else if flow.counters[1].packets == 0 && ends.state[0] == End::SynSent {
                Class::Attempt
            } else {
                Class::Established
            };
            if class != flow.class {
                if class == Class::Closing {
                    tcp.stream.iter_mut().for_each(Stream::forget_recent);
                }
                flow.class = class;
                let waiting = Waiting {
                    slot,
                    generation: flow.generation,
                    since_ns: flow.last_ts_ns,
                };
                moved = Some((class, waiting));
            }
        } else {
            let counters = &mut flow.counters[direction.index()];
            counters.bytes += u64::from(segment.payload_wire_len);
            let cut = u64::from(segment.payload_wire_len).saturating_sub(payload.len() as u64);
            counters.missed_bytes += cut;
            if segment.payload_wire_len > 0 {
                flow.history.note(direction, Letter::Data);
            }
            if let Some(is_request) = icmp::is_request(segment.protocol, segment.src_port) {
                let (number, len) = (segment.seq, segment.payload_wire_len);
                let echo = flow.echo.get_or_insert_default();
                echo.message(direction, is_request, number, payload, len);
            }
            let is_carrier = segment.bits & Segment::CARRIES_TUNNEL != 0;
            flow.carries.tunnel |= is_carrier;
            flow.carries.other |= !is_carrier && segment.payload_wire_len > 0;
            let reads = segment.protocol == UDP && !is_carrier;
            if reads && !payload.is_empty() {
                let is_deaf = &mut flow.is_deaf[direction.index()];
                if *is_deaf {
                    reader.skipped(direction, payload.len() as u64);
                } else {
                    *is_deaf = reader.datagram(direction, payload) == Want::Nothing;
                }
            }
        }
        let has_read = reader.has_read;
        // What was sent before is no beat: keep-alives and retransmissions are not.
        if let Some(before) = sent
            && flow.sent()[direction.index()] > before[direction.index()]
        {
            let beats = flow.beats.get_or_insert_default();
            beats.note(
                direction,
                segment.ts_ns,
                before[0].saturating_add(before[1]),
            );
        }
        if has_read {
            flow.content_bytes = flow
                .content
                .as_ref()
                .map_or(0, |content| content.heap_bytes());
        }
        let streams = flow.tcp.iter().flat_map(|tcp| &tcp.stream);
        let beats = flow.beats.as_ref().map_or(0, |_| size_of::<Beats>());
        let heap = streams.map(Stream::heap_bytes).sum::<usize>() + flow.content_bytes + beats;
        self.heap_bytes = (self.heap_bytes + heap).saturating_sub(flow.heap_bytes);
        flow.heap_bytes = heap;
        if !self.fresh.is_empty() {
            flow.give(&mut self.fresh, &mut self.live, place);
        }
        let is_new = heap > 0 && !flow.is_holder;
        flow.is_holder |= is_new;
        let holder = (slot, flow.generation);
        if is_new {
            self.hold(holder);
        }
        if let Some((class, waiting)) = moved {
            self.wait(class, waiting);
        }
    }

    fn end(&mut self, limits: &Limits, slot: u32, reason: EndReason, at: Place) {
        let Some(place) = self.flows.get_mut(slot as usize) else {
            return;
        };
        let Some(flow) = place else { return };
        if let Ok(entry) = self.table.find_entry(flow.hash, |&other| other == slot) {
            entry.remove();
        }
        self.heap_bytes = self.heap_bytes.saturating_sub(flow.heap_bytes);
        let reason = flow.end_reason(reason);
        let shared = (&mut self.certificates, &self.redactor);
        let ended = flow.finish(
            limits,
            shared,
            &mut self.fresh,
            self.secrets.as_deref(),
            reason,
            at,
        );
        if !self.fresh.is_empty() {
            flow.give(&mut self.fresh, &mut self.live, at);
        }
        *place = None;
        self.free.push(slot);
        self.ended.push(ended);
    }
}

#[cfg(test)]
mod tests;
