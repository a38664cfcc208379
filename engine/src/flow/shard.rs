//! One shard of the flow table: takes the segments of its flows in capture
//! order, and gives finished flows.
//!
//! A shard shares nothing with the others and depends on nothing but its own
//! segments, so that results are the same for any number of threads and any
//! cutting of the input into batches.

use super::community_id;
use super::history::{History, Letter};
use super::key::{self, Endpoint, FlowKey};
use super::ports;
use super::reassembly::{Arrival, Budget, Event, Stream};
use super::record::{ConnState, Counters, EndReason, FlowHead, FlowRecord, NameOrigin};
use super::tcp::{End, Ends};
use crate::anomaly::{Anomaly, AnomalyKind, AnomalyLog};
use crate::decode::{LinkContext, SHARDS, Segment, Tunnel};
use crate::evidence::{FlowId, PacketRef};
use crate::policy::Limits;
use crate::proto::credential::Redactor;
use crate::proto::icmp::{self, Echo};
use crate::proto::secrets::KeyLog;
use crate::proto::x509::{CertificateCache, KnownCertificates};
use crate::proto::{Cx, Direction, LiveRow, Want};
use crate::time::{CaptureTime, NANOS_PER_SECOND};
use foldhash::quality::RandomState;
use hashbrown::HashTable;
use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::panic::{AssertUnwindSafe, catch_unwind};
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

/// Idle flows wait in one queue per class; each class has its own time-out,
/// and budgets evict from the first class to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// A TCP attempt without an answer.
    Attempt,
    /// A TCP connection that is over.
    Closing,
    Icmp,
    Datagram,
    Established,
}

const CLASSES: usize = 5;

/// A flow's place in the queue of its class. Stale when the flow has moved on.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    slot: u32,
    generation: u32,
    since_ns: i64,
}

#[derive(Debug)]
struct Flow<C> {
    key: FlowKey,
    hash: u64,
    generation: u32,
    class: Class,
    ip_version: u8,
    one_way: bool,
    orig_is_low: bool,
    flipped: bool,
    /// The content failed or is not read any further.
    content_over: bool,
    /// Segments of one packet that start flows, from 0.
    nth_of_packet: u32,
    id_repeat: u32,
    /// 0 until it is asked for, which no id is.
    id: FlowId,
    first: Place,
    first_ts_ns: i64,
    last_ts_ns: i64,
    history: History,
    counters: [Counters; 2],
    /// The content wants nothing more of a direction's datagrams.
    is_deaf: [bool; 2],
    /// Of a TCP connection; datagrams need none of it.
    tcp: Option<Box<Tcp>>,
    content: Option<Box<C>>,
    /// Of ICMP echo messages.
    echo: Option<Box<Echo>>,
    heap_bytes: usize,
    /// Stands in [`Shard::holders`].
    is_holder: bool,
    /// Of `heap_bytes`, what the content held when it was last read.
    content_bytes: usize,
    /// Captures with packets of the flow, once there are several.
    files: Box<[u32]>,
    anomalies: AnomalyLog,
    link: Link,
}

/// A [`LinkContext`] as an open flow keeps it: hardly any has more than addresses.
#[derive(Debug)]
struct Link {
    macs: [Option<[u8; 6]>; 2],
    layers: Option<Box<(Vec<u16>, Vec<Tunnel>)>>,
}

impl Link {
    fn new(link: LinkContext) -> Self {
        let layers = (link.vlan_ids, link.tunnels);
        let is_plain = layers.0.is_empty() && layers.1.is_empty();
        Self {
            macs: [link.src_mac, link.dst_mac],
            layers: (!is_plain).then(|| Box::new(layers)),
        }
    }

    fn take(&mut self) -> LinkContext {
        let [src_mac, dst_mac] = self.macs;
        let (vlan_ids, tunnels) = self.layers.take().map(|layers| *layers).unwrap_or_default();
        LinkContext {
            src_mac,
            dst_mac,
            vlan_ids,
            tunnels,
        }
    }
}

/// How far the round-trip time of a connection's beginning is known.
#[derive(Clone, Copy, Debug, Default)]
enum Opening {
    #[default]
    Nothing,
    /// When the SYN was sent.
    Syn(i64),
    /// From the SYN to its answer.
    Rtt(i64),
}

/// What a TCP connection knows beside what every flow does.
#[derive(Debug, Default)]
struct Tcp {
    ends: Ends,
    stream: [Stream; 2],
    last: [LastSegment; 2],
    retransmitted: u32,
    duplicated: u32,
    out_of_order: u32,
    conflicts: u32,
    opening: Opening,
    /// A SYN inside a live connection: a new one if it is answered.
    pending_syn: Option<u32>,
}

/// To tell a packet captured twice from one sent twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct LastSegment {
    seq: u32,
    ack: u32,
    len: u32,
    window: u16,
    flags: u8,
    ts_ns: i64,
}

/// No sender repeats a segment within this time: the smallest retransmission
/// time-out in use is 200 times as long (RFC 6298 §2.4 asks for a second).
const DUPLICATE_NS: i64 = 1_000_000;

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
        if place.global == self.last_global {
            self.nth_of_packet += 1;
        } else {
            self.last_global = place.global;
            self.nth_of_packet = 0;
        }
        self.expire(limits, segment.ts_ns, place);

        let (src, dst, one_way) = key::ends_of(segment);
        let (key, src_is_low) = key::key_of(segment, src, dst);
        let hash = self.hasher.hash_one(key);
        let mut slot = self.find(hash, &key);
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
            let reads = segment.protocol == UDP && segment.bits & Segment::CARRIES_TUNNEL == 0;
            if reads && !payload.is_empty() {
                let is_deaf = &mut flow.is_deaf[direction.index()];
                if *is_deaf {
                    reader.skipped(direction, payload.len() as u64);
                } else {
                    *is_deaf = reader.datagram(direction, payload) == Want::Nothing;
                }
            }
        }
        if reader.has_read {
            flow.content_bytes = flow
                .content
                .as_ref()
                .map_or(0, |content| content.heap_bytes());
        }
        let streams = flow.tcp.iter().flat_map(|tcp| &tcp.stream);
        let heap = streams.map(Stream::heap_bytes).sum::<usize>() + flow.content_bytes;
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

    /// Ends what has been idle for too long, by the packet clock. A single
    /// packet with a wild time stamp must not end everything, so the clock is
    /// the earlier one of the last two packets.
    fn expire(&mut self, limits: &Limits, ts_ns: i64, place: Place) {
        let now = ts_ns.min(self.previous_ts_ns.unwrap_or(ts_ns));
        self.previous_ts_ns = Some(ts_ns);
        self.clock_ns = now;
        for class in 0..CLASSES {
            let timeout = self.timeouts_ns[class];
            while let Some(&waiting) = self.queues[class].front() {
                if now.saturating_sub(waiting.since_ns) <= timeout {
                    break;
                }
                self.queues[class].pop_front();
                let Some(flow) = self.flow(waiting.slot) else {
                    continue;
                };
                if flow.generation != waiting.generation || flow.class as usize != class {
                    continue;
                }
                let last_ts_ns = flow.last_ts_ns;
                if now.saturating_sub(last_ts_ns) > timeout {
                    let reason = flow.end_reason(EndReason::Timeout);
                    self.end(limits, waiting.slot, reason, place);
                } else {
                    self.queues[class].push_back(Waiting {
                        since_ns: tamed(last_ts_ns, now, timeout),
                        ..waiting
                    });
                }
            }
        }
    }

    /// Puts a flow into a queue. Entries of flows that have moved on are thrown
    /// out before they outnumber the flows: a queue costs no more than its flows.
    fn wait(&mut self, class: Class, waiting: Waiting) {
        let flows = &self.flows;
        let queue = &mut self.queues[class as usize];
        let waiting = Waiting {
            since_ns: tamed(
                waiting.since_ns,
                self.clock_ns,
                self.timeouts_ns[class as usize],
            ),
            ..waiting
        };
        if queue.len() > 64 + 2 * self.table.len() {
            queue.retain(|entry| {
                flows
                    .get(entry.slot as usize)
                    .and_then(Option::as_ref)
                    .is_some_and(|flow| flow.generation == entry.generation && flow.class == class)
            });
        }
        queue.push_back(waiting);
    }

    /// Makes room for one more flow.
    fn make_room(&mut self, limits: &Limits, place: Place) {
        if self.table.len() >= self.max_flows {
            self.evict_oldest(limits, place);
        }
    }

    fn keep_heap_budget(&mut self, limits: &Limits, place: Place) {
        while self.heap_bytes > self.max_heap_bytes
            && (self.evict_holder(limits, place) || self.evict_oldest(limits, place))
        {}
    }

    /// Remembers a flow that holds memory. As in [`Self::wait`], what has ended
    /// is thrown out before it outnumbers the flows.
    fn hold(&mut self, holder: (u32, u32)) {
        if self.holders.len() > 64 + 2 * self.table.len() {
            let flows = &self.flows;
            self.holders.retain(|&(slot, generation)| {
                flows
                    .get(slot as usize)
                    .and_then(Option::as_ref)
                    .is_some_and(|flow| flow.generation == generation)
            });
        }
        self.holders.push_back(holder);
    }

    /// Gives up the flow that holds most among a few that have held longest:
    /// memory is what is short, and the oldest flows may hold none.
    fn evict_holder(&mut self, limits: &Limits, place: Place) -> bool {
        const LOOKED_AT: usize = 8;
        let mut most: Option<(usize, (u32, u32))> = None;
        let mut seen = 0;
        while seen < LOOKED_AT {
            let Some((slot, generation)) = self.holders.pop_front() else {
                break;
            };
            let Some(flow) = self
                .flow_mut(slot)
                .filter(|flow| flow.generation == generation)
            else {
                continue;
            };
            if flow.heap_bytes == 0 {
                flow.is_holder = false;
                continue;
            }
            seen += 1;
            let held = (flow.heap_bytes, (slot, generation));
            let spared = match most {
                Some(before) if before.0 >= held.0 => Some(held),
                before => {
                    most = Some(held);
                    before
                }
            };
            if let Some((_, spared)) = spared {
                self.holders.push_back(spared);
            }
        }
        if let Some((_, (slot, _))) = most {
            self.evict(limits, slot, place);
        }
        most.is_some()
    }

    /// Gives up the flow that has waited longest in the first class that has any.
    fn evict_oldest(&mut self, limits: &Limits, place: Place) -> bool {
        for class in 0..CLASSES {
            while let Some(waiting) = self.queues[class].pop_front() {
                let Some(flow) = self.flow_mut(waiting.slot) else {
                    continue;
                };
                if flow.generation != waiting.generation || flow.class as usize != class {
                    continue;
                }
                self.evict(limits, waiting.slot, place);
                return true;
            }
        }
        false
    }

    fn evict(&mut self, limits: &Limits, slot: u32, place: Place) {
        let Some(flow) = self.flow_mut(slot) else {
            return;
        };
        let reason = flow.end_reason(EndReason::Evicted);
        if reason == EndReason::Evicted {
            let at = CaptureTime::from_nanos(flow.last_ts_ns);
            flow.anomalies.note(
                AnomalyKind::LimitEvicted,
                at,
                place.packet,
                || "the flow was ended early to stay within the memory limits",
            );
        }
        self.end(limits, slot, reason, place);
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

impl<C: Content> Flow<C> {
    fn direction(&self, src_is_low: bool) -> Direction {
        if src_is_low == self.orig_is_low {
            Direction::Orig
        } else {
            Direction::Resp
        }
    }

    /// Originator and responder.
    fn ends(&self) -> (Endpoint, Endpoint) {
        let (low, high) = (self.key.low, self.key.high);
        if self.orig_is_low {
            (low, high)
        } else {
            (high, low)
        }
    }

    fn id(&mut self) -> FlowId {
        if self.id.0 == 0 {
            self.id = key::flow_id(&self.key, self.first_ts_ns, self.id_repeat);
        }
        self.id
    }

    /// Tells rows whose they are, and lets them go.
    fn give(&mut self, rows: &mut Vec<LiveRow>, live: &mut Vec<Live>, at: Place) {
        let flow_id = self.id();
        let (src, dst) = self.ends();
        let flow = FlowHead {
            flow_id,
            first: self.first.packet,
            src: key::address(&src.addr, self.ip_version),
            dst: key::address(&dst.addr, self.ip_version),
            src_port: src.port,
            dst_port: dst.port,
            ip_proto: self.key.protocol,
            scope: self.key.scope,
        };
        let order = (at.global, self.first.global, self.nth_of_packet);
        live.extend(rows.drain(..).map(|row| Live { order, flow, row }));
    }

    /// A connection that is over ended by itself, whenever its row is written.
    fn end_reason(&self, otherwise: EndReason) -> EndReason {
        match &self.tcp {
            Some(tcp) if tcp.ends.state.contains(&End::Reset) => EndReason::Rst,
            Some(tcp) if tcp.ends.is_over() => EndReason::Fin,
            _ => otherwise,
        }
    }

    fn finish(
        &mut self,
        limits: &Limits,
        (certificates, redactor): (&mut CertificateCache, &Redactor),
        rows: &mut Vec<LiveRow>,
        secrets: Option<&KeyLog>,
        reason: EndReason,
        at: Place,
    ) -> Ended<C::Facts> {
        let last = CaptureTime::from_nanos(self.last_ts_ns);
        let mut reader = Reader {
            content: &mut self.content,
            over: &mut self.content_over,
            anomalies: &mut self.anomalies,
            certificates,
            redactor,
            limits,
            ts: last,
            packet: self.first.packet,
            ports: orig_resp_ports(&self.key, self.orig_is_low),
            rows,
            secrets,
            has_read: false,
        };
        let mut tcp = self.tcp.take();
        for direction in [Direction::Orig, Direction::Resp] {
            let Some(tcp) = &mut tcp else { break };
            let stream = &mut tcp.stream[direction.index()];
            let missed = stream.missed;
            stream.finish(&mut |event| reader.event(direction, event));
            if stream.missed > missed {
                self.history.note(direction, Letter::Gap);
                reader.note(AnomalyKind::TcpGap, || "at the end of the flow".to_owned());
            }
        }
        let facts = reader.end();
        if let Some(tcp) = &tcp {
            for (counters, stream) in self.counters.iter_mut().zip(&tcp.stream) {
                counters.bytes = stream.bytes();
                counters.missed_bytes = stream.missed;
            }
        }
        let (src, dst) = self.ends();
        let flow_id = self.id();
        let [orig, resp] = self.counters;
        let conn_state = match self.key.protocol {
            TCP => tcp.as_ref().map_or(ConnState::Oth, |tcp| {
                tcp.ends.conn_state(orig.bytes == 0 && resp.bytes == 0)
            }),
            UDP => match (orig.packets > 0, resp.packets > 0) {
                (true, true) => ConnState::Sf,
                (true, false) => ConnState::S0,
                (false, _) => ConnState::Shr,
            },
            _ => ConnState::Oth,
        };
        let record = Box::new(FlowRecord {
            flow_id,
            first: self.first.packet,
            ts: CaptureTime::from_nanos(self.first_ts_ns),
            ts_end: last,
            src: key::address(&src.addr, self.ip_version),
            dst: key::address(&dst.addr, self.ip_version),
            src_port: src.port,
            dst_port: dst.port,
            ip_proto: self.key.protocol,
            scope: self.key.scope,
            service: None,
            service_confidence: None,
            orig,
            resp,
            retrans_pkts: tcp.as_ref().map_or(0, |tcp| tcp.retransmitted),
            dup_pkts: tcp.as_ref().map_or(0, |tcp| tcp.duplicated),
            ooo_pkts: tcp.as_ref().map_or(0, |tcp| tcp.out_of_order),
            overlap_conflicts: tcp.as_ref().map_or(0, |tcp| tcp.conflicts),
            conn_state,
            history: self.history.as_str().into(),
            direction_flipped: self.flipped,
            tcp_rtt_ns: match tcp.as_ref().map(|tcp| tcp.opening) {
                Some(Opening::Rtt(rtt)) => Some(rtt),
                _ => None,
            },
            end_reason: reason,
            link: self.link.take(),
            community_id: community_id::digest(
                self.ip_version,
                self.key.protocol,
                &src.addr,
                &dst.addr,
                src.port,
                dst.port,
                self.one_way,
            ),
            server_name: None,
            server_name_source: None,
            server_name_origin: NameOrigin::default(),
            local_orig: false,
            local_resp: false,
            echo: self.echo.take(),
            dst_allowed: None,
            entropy: [None; 2],
            bytes_encrypted: 0,
            bytes_plaintext: 0,
            files_spanned: if self.files.is_empty() {
                vec![self.first.packet.capture]
            } else {
                std::mem::take(&mut self.files).into_vec()
            },
        });
        Ended {
            order: (at.global, self.first.global, self.nth_of_packet),
            record,
            facts,
            anomalies: std::mem::take(&mut self.anomalies).into_rows(Some(flow_id)),
        }
    }
}

/// A time as the queues keep it: a wild one, further ahead than anything waits,
/// must not hold back those behind it.
fn tamed(ts_ns: i64, now: i64, timeout: i64) -> i64 {
    if ts_ns.saturating_sub(now) > timeout {
        now
    } else {
        ts_ns
    }
}

fn orig_resp_ports(key: &FlowKey, orig_is_low: bool) -> (u16, u16) {
    let (Endpoint { port: low, .. }, Endpoint { port: high, .. }) = (key.low, key.high);
    if orig_is_low {
        (low, high)
    } else {
        (high, low)
    }
}

/// Whether a flow's first packet comes from its responder: a SYN-ACK, or
/// traffic from a server's port whose beginning was not captured.
fn starts_flipped(segment: &Segment) -> bool {
    let (src, dst) = (segment.src_port, segment.dst_port);
    match segment.protocol {
        TCP => match segment.tcp_flags & (Segment::SYN | Segment::ACK) {
            Segment::SYN => false,
            flags if flags & Segment::SYN != 0 => true,
            _ => ports::likely_tcp_server(src) && (!ports::likely_tcp_server(dst) || src < dst),
        },
        UDP => ports::likely_udp_server(src) && !ports::likely_udp_server(dst),
        _ => false,
    }
}

/// The parts of a flow that a TCP segment changes, without its content.
struct TcpParts<'a> {
    tcp: &'a mut Tcp,
    history: &'a mut History,
}

impl TcpParts<'_> {
    fn segment<C: Content>(
        &mut self,
        segment: &Segment,
        direction: Direction,
        payload: &[u8],
        budget: &mut Budget,
        reader: &mut Reader<'_, C>,
    ) {
        let (me, peer) = (direction.index(), direction.flip().index());
        let flags = segment.tcp_flags;
        let has = |flag| flags & flag != 0;
        let syn = has(Segment::SYN);
        let data_seq = segment.seq.wrapping_add(u32::from(syn));
        let wire_len = segment.payload_wire_len;

        let this = LastSegment {
            seq: segment.seq,
            ack: segment.ack,
            len: wire_len,
            window: segment.window,
            flags,
            ts_ns: segment.ts_ns,
        };
        let last = std::mem::replace(&mut self.tcp.last[me], this);
        let alike = LastSegment {
            ts_ns: last.ts_ns,
            ..this
        } == last;
        let soon = (0..=DUPLICATE_NS).contains(&segment.ts_ns.saturating_sub(last.ts_ns));
        if alike && soon && last.ts_ns != 0 && (wire_len > 0 || syn || has(Segment::FIN)) {
            self.tcp.duplicated = self.tcp.duplicated.saturating_add(1);
            return;
        }

        if syn {
            let letter = if has(Segment::ACK) {
                Letter::SynAck
            } else {
                Letter::Syn
            };
            self.history.note(direction, letter);
            if has(Segment::FIN) || has(Segment::RST) {
                self.history.note(direction, Letter::MultiFlag);
                reader.note(AnomalyKind::TcpFlagsOdd, || {
                    "SYN with FIN or RST".to_owned()
                });
            }
            self.tcp.stream[me].start(data_seq);
            if has(Segment::ACK) {
                self.tcp.stream[peer].restart(segment.ack);
                if let Opening::Syn(sent) = self.tcp.opening {
                    self.tcp.opening = Opening::Rtt(segment.ts_ns.saturating_sub(sent));
                }
            } else if matches!(self.tcp.opening, Opening::Nothing) {
                self.tcp.opening = Opening::Syn(segment.ts_ns);
            }
        }
        if segment.window == 0 && !has(Segment::RST) && !syn {
            self.history.note(direction, Letter::ZeroWindow);
        }
        // Before the acknowledgement is believed, which it may hang on.
        let acceptable = self.acceptable(me, peer, segment);
        if has(Segment::ACK) && (syn || !self.is_challenge(peer, segment.ack)) {
            self.tcp.stream[peer].acknowledged(segment.ack);
        }
        self.tcp.ends.segment(direction, flags, acceptable);
        if has(Segment::RST) {
            self.history.note(direction, Letter::Rst);
        } else if wire_len > 0 {
            self.history.note(direction, Letter::Data);
            let stream = &mut self.tcp.stream[me];
            let missed = stream.missed;
            let arrival = stream.segment(data_seq, wire_len, payload, budget, &mut |event| {
                reader.event(direction, event)
            });
            let missed = self.tcp.stream[me].missed - missed;
            self.arrived(direction, arrival, missed, reader);
        } else if has(Segment::ACK) && !syn && !has(Segment::FIN) {
            self.history.note(direction, Letter::Ack);
        }
        if has(Segment::FIN) {
            self.history.note(direction, Letter::Fin);
            self.tcp.stream[me].start(data_seq);
            self.tcp.stream[me].fin(data_seq.wrapping_add(wire_len));
        }
        for side in [Direction::Orig, Direction::Resp] {
            let stream = &mut self.tcp.stream[side.index()];
            let missed = stream.missed;
            stream.tick(&mut |event| reader.event(side, event));
            let missed = stream.missed - missed;
            if missed > 0 {
                self.gap(side, missed, reader);
            }
        }
    }

    /// Whether an ACK without SYN answers a SYN with what was never sent: the
    /// remains of an older connection (RFC 9293 §3.10.7.3, RFC 5961 §4.2),
    /// which the sender of the SYN answers with a RST that ends only that one.
    fn is_challenge(&self, opener: usize, ack: u32) -> bool {
        const SLACK: i64 = 1 << 17;
        let stream = &self.tcp.stream[opener];
        let sent = stream.bytes().cast_signed();
        self.tcp.ends.state[opener] == End::SynSent
            && !(0..=sent + SLACK).contains(&stream.position(ack))
    }

    /// Whether a RST lies near what its sender last sent. One that has sent
    /// nothing yet answers a SYN by acknowledging it (RFC 9293 §3.10.7.3), and
    /// else stands where the other end says that it expects it.
    fn acceptable(&self, me: usize, peer: usize, segment: &Segment) -> bool {
        const SLACK: i64 = 1 << 17;
        let stream = &self.tcp.stream[me];
        if stream.has_started() {
            let sent = stream.bytes().cast_signed();
            return (sent - SLACK..=sent + SLACK).contains(&stream.position(segment.seq));
        }
        let (opener, last) = (&self.tcp.stream[peer], &self.tcp.last[peer]);
        if self.tcp.ends.state[peer] == End::SynSent {
            let sent = opener.bytes().cast_signed();
            return segment.tcp_flags & Segment::ACK != 0
                && (0..=sent + 1).contains(&opener.position(segment.ack));
        }
        let expects = last.flags & Segment::ACK != 0;
        let ahead = i64::from(segment.seq.wrapping_sub(last.ack).cast_signed());
        !expects || (-SLACK..=SLACK).contains(&ahead)
    }

    fn arrived<C: Content>(
        &mut self,
        direction: Direction,
        arrival: Arrival,
        missed: u64,
        reader: &mut Reader<'_, C>,
    ) {
        if arrival.retransmission && !arrival.keep_alive {
            self.tcp.retransmitted = self.tcp.retransmitted.saturating_add(1);
            self.history.note(direction, Letter::Retransmission);
        }
        if arrival.early || arrival.late {
            self.tcp.out_of_order = self
                .tcp
                .out_of_order
                .saturating_add(u32::from(arrival.early));
        }
        if arrival.conflict {
            self.tcp.conflicts = self.tcp.conflicts.saturating_add(1);
            self.history.note(direction, Letter::Inconsistent);
            reader.note(AnomalyKind::TcpOverlapConflict, || {
                "segments carry different bytes for the same place; the first were kept".to_owned()
            });
        }
        if arrival.limit {
            reader.note(AnomalyKind::TcpReassemblyLimit, || {
                "early segments exceeded the budget; a hole was given up".to_owned()
            });
        }
        if missed > 0 {
            self.gap(direction, missed, reader);
        }
    }

    fn gap<C: Content>(&mut self, direction: Direction, len: u64, reader: &mut Reader<'_, C>) {
        self.history.note(direction, Letter::Gap);
        reader.note(AnomalyKind::TcpGap, || {
            let who = if direction == Direction::Orig {
                "originator"
            } else {
                "responder"
            };
            format!("{len} bytes of the {who} are not in the capture")
        });
    }
}

/// A flow's content with what it needs at hand. A parser that panics loses its
/// flow's facts, not the run.
struct Reader<'a, C: Content> {
    content: &'a mut Option<Box<C>>,
    over: &'a mut bool,
    anomalies: &'a mut AnomalyLog,
    certificates: &'a mut CertificateCache,
    redactor: &'a Redactor,
    limits: &'a Limits,
    ts: CaptureTime,
    packet: PacketRef,
    ports: (u16, u16),
    rows: &'a mut Vec<LiveRow>,
    secrets: Option<&'a KeyLog>,
    /// The content was given something, and may hold more or less than before.
    has_read: bool,
}

impl<C: Content> Reader<'_, C> {
    fn note(&mut self, kind: AnomalyKind, detail: impl FnOnce() -> String) {
        self.anomalies.note(kind, self.ts, self.packet, detail);
    }

    fn event(&mut self, direction: Direction, event: Event<'_>) -> Want {
        match event {
            Event::Data(bytes) => self.read(|content, cx| content.data(cx, direction, bytes)),
            // A gap before anything was seen says nothing about the content yet.
            Event::Gap(len) => self.read(|content, cx| content.gap(cx, direction, len)),
            Event::Skipped(len) => {
                self.skipped(direction, len);
                Want::Bytes
            }
        }
    }

    fn datagram(&mut self, direction: Direction, bytes: &[u8]) -> Want {
        self.read(|content, cx| content.datagram(cx, direction, bytes))
    }

    fn skipped(&mut self, direction: Direction, len: u64) {
        if let Some(content) = self.content {
            content.skipped(direction, len);
        }
    }

    fn read(&mut self, act: impl FnOnce(&mut C, &mut Cx<'_>) -> Want) -> Want {
        if *self.over {
            return Want::Nothing;
        }
        self.has_read = true;
        let content = self.content.get_or_insert_default();
        let mut cx = Cx {
            ts: self.ts,
            packet: self.packet,
            anomalies: self.anomalies,
            limits: self.limits,
            certificates: self.certificates,
            redactor: self.redactor,
            ports: self.ports,
            rows: self.rows,
            secrets: self.secrets,
        };
        match catch_unwind(AssertUnwindSafe(|| act(content, &mut cx))) {
            Ok(want) => want,
            Err(_) => {
                self.failed();
                Want::Nothing
            }
        }
    }

    fn end(&mut self) -> C::Facts {
        let Some(content) = self.content.take() else {
            return C::Facts::default();
        };
        let mut cx = Cx {
            ts: self.ts,
            packet: self.packet,
            anomalies: self.anomalies,
            limits: self.limits,
            certificates: self.certificates,
            redactor: self.redactor,
            ports: self.ports,
            rows: self.rows,
            secrets: self.secrets,
        };
        catch_unwind(AssertUnwindSafe(|| content.end(&mut cx))).unwrap_or_else(|_| {
            self.failed();
            C::Facts::default()
        })
    }

    fn failed(&mut self) {
        *self.over = true;
        *self.content = None;
        self.note(AnomalyKind::InternalError, || {
            "a parser failed inside; this flow has no facts of its content".to_owned()
        });
    }
}

// What the memory budget of open flows is reckoned with: 640 bytes each.
const _: () = assert!(size_of::<Flow<crate::proto::session::Session>>() <= 384);
const _: () = assert!(size_of::<Tcp>() <= 256);

#[cfg(test)]
#[path = "shard_tests.rs"]
mod tests;
