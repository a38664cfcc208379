//! IP fragments put together (RFC 791 §3.2, RFC 8200 §4.5), bounded in memory
//! and time. Where fragments overlap, the bytes that came first are kept and a
//! difference is reported: hosts disagree on this, and attackers know it
//! (RFC 5722; Ptacek and Newsham 1998).

use super::walk::{Meta, Walk};
use super::{Datagrams, Decoded, Fragment, Segment, Trouble, Undecoded};
use crate::anomaly::{AnomalyKind, AnomalyLog};
use crate::evidence::PacketRef;
use crate::policy::Limits;
use crate::time::{CaptureTime, NANOS_PER_SECOND};
use foldhash::quality::RandomState;
use std::collections::{BTreeMap, HashMap, VecDeque};

/// What the fragments of one datagram have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    src: [u8; 16],
    dst: [u8; 16],
    id: u32,
    scope: u32,
    /// IPv6 leaves it out (RFC 8200 §4.5): fragments may name different headers.
    protocol: u8,
    ip_version: u8,
}

#[derive(Debug)]
struct Datagram {
    serial: u64,
    /// The clock when it began, whatever its own packets claim.
    since_ns: i64,
    first_ts_ns: i64,
    first: PacketRef,
    /// Pieces by their place, without overlaps: length on the wire, bytes.
    pieces: BTreeMap<u32, (u32, Box<[u8]>)>,
    /// Bytes on the wire so far, without overlaps.
    covered: u32,
    /// Where the datagram ends, once its last fragment was seen.
    end: Option<u32>,
    ip_len: u32,
    protocol: u8,
    cost: usize,
    /// Pieces looked at so far.
    work: usize,
}

/// Bookkeeping that one fragment costs, so that tiny ones are not free.
const FRAGMENT_OVERHEAD: usize = 96;
/// And one datagram.
const DATAGRAM_OVERHEAD: usize = 256;
/// Largest IP payload.
const MAX_DATAGRAM: u32 = 65_535;
/// Pieces that one datagram's fragments may be compared with: a multiple of
/// what 8,192 fragments of eight bytes need, in any order, many times over.
/// Without it, cut packets that claim to cover all of them cost far more than
/// their bytes.
const MAX_WORK: usize = 1 << 18;

/// Datagrams of a wild clock that one fragment moves behind the others.
const MAX_TURNED: usize = 2;

/// Puts fragments together, in packet order over all files.
#[derive(Debug)]
pub struct Defragmenter {
    datagrams: HashMap<Key, Datagram, RandomState>,
    /// By arrival; stale when the serial is no longer the datagram's.
    waiting: VecDeque<(Key, u64)>,
    serial: u64,
    bytes: usize,
    max_bytes: usize,
    timeout_ns: i64,
    previous_ts_ns: Option<i64>,
    /// The earlier one of the last two fragments' times.
    clock_ns: i64,
    max_depth: u8,
}

impl Defragmenter {
    /// With the budget of `limits.fragment_bytes` and `limits.fragment_seconds`.
    pub fn new(limits: &Limits) -> Self {
        Self {
            datagrams: HashMap::default(),
            waiting: VecDeque::new(),
            serial: 0,
            bytes: 0,
            max_bytes: limits.fragment_bytes,
            timeout_ns: limits.fragment_seconds.saturating_mul(NANOS_PER_SECOND),
            previous_ts_ns: None,
            clock_ns: i64::MIN,
            max_depth: limits.tunnel_depth,
        }
    }

    /// The next fragment, with its bytes. When it completes a datagram, the
    /// datagram's payload is appended to `datagrams` and decoded into `out`.
    pub fn push(
        &mut self,
        fragment: &Fragment,
        at: PacketRef,
        payload: &[u8],
        datagrams: &mut Datagrams,
        out: &mut Decoded,
        anomalies: &mut AnomalyLog,
    ) {
        self.expire(fragment.ts_ns, anomalies);
        self.add(fragment, at, payload, datagrams, out, anomalies);
    }

    /// As [`Self::push`]; the clock of the packet has been taken already.
    fn add(
        &mut self,
        fragment: &Fragment,
        at: PacketRef,
        payload: &[u8],
        datagrams: &mut Datagrams,
        out: &mut Decoded,
        anomalies: &mut AnomalyLog,
    ) {
        let ts = CaptureTime::from_nanos(fragment.ts_ns);
        let end = fragment.at.saturating_add(fragment.payload_wire_len);
        // All but the last are multiples of eight bytes, none reaches too far.
        let uneven = fragment.more && !fragment.payload_wire_len.is_multiple_of(8);
        if end > MAX_DATAGRAM || fragment.payload_wire_len == 0 || uneven {
            anomalies.note(AnomalyKind::IpFragmentMalformed, ts, at, || {
                format!("bytes {}..{end} of a datagram", fragment.at)
            });
            return;
        }
        let key = Key {
            src: fragment.src,
            dst: fragment.dst,
            id: fragment.id,
            scope: fragment.scope,
            protocol: if fragment.ip_version == 4 {
                fragment.protocol
            } else {
                0
            },
            ip_version: fragment.ip_version,
        };
        if !self.datagrams.contains_key(&key) {
            self.serial += 1;
            self.bytes += DATAGRAM_OVERHEAD;
            self.forget_finished();
            self.waiting.push_back((key, self.serial));
        }
        let (serial, since_ns) = (self.serial, self.clock_ns);
        let datagram = self.datagrams.entry(key).or_insert_with(|| Datagram {
            serial,
            since_ns,
            first_ts_ns: fragment.ts_ns,
            first: at,
            pieces: BTreeMap::new(),
            covered: 0,
            end: None,
            ip_len: 0,
            protocol: fragment.protocol,
            cost: DATAGRAM_OVERHEAD,
            work: 0,
        });
        datagram.ip_len = datagram.ip_len.saturating_add(fragment.ip_len);
        if fragment.at == 0 {
            datagram.protocol = fragment.protocol;
        }
        let known_end = datagram.end.unwrap_or(MAX_DATAGRAM);
        let contradicts = if fragment.more {
            end > known_end
        } else {
            datagram.end.is_some_and(|known| known != end) || datagram.reach() > end
        };
        if contradicts {
            anomalies.note(AnomalyKind::IpFragmentMalformed, ts, at, || {
                "fragments disagree where their datagram ends".to_owned()
            });
        } else if !fragment.more {
            datagram.end = Some(end);
        }
        let before = datagram.cost;
        if datagram.insert(fragment.at, end.min(known_end), payload) {
            anomalies.note(AnomalyKind::IpFragmentOverlap, ts, at, || {
                "fragments overlap with different bytes; the first were kept".to_owned()
            });
        }
        self.bytes += datagram.cost - before;
        if datagram.work > MAX_WORK {
            anomalies.note(AnomalyKind::IpFragmentMalformed, ts, at, || {
                "fragments of a datagram overlap again and again; it was given up".to_owned()
            });
            if let Some(datagram) = self.datagrams.remove(&key) {
                self.bytes = self.bytes.saturating_sub(datagram.cost);
            }
        } else if datagram.end == Some(datagram.covered) {
            if let Some(whole) = self.datagrams.remove(&key) {
                self.bytes = self.bytes.saturating_sub(whole.cost);
                self.complete(&whole, fragment, at, datagrams, out, anomalies);
            }
        } else {
            self.keep_budget(at, ts, anomalies);
        }
    }

    /// What is held, bytes; and entries of the queue.
    #[cfg(test)]
    pub(super) fn held(&self) -> (usize, usize) {
        (self.bytes, self.waiting.len())
    }

    /// The input has ended: what never became whole is noted.
    pub fn end(&mut self, anomalies: &mut AnomalyLog) {
        while self.give_up_oldest(anomalies, AnomalyKind::IpFragmentIncomplete) {}
    }

    fn complete(
        &mut self,
        whole: &Datagram,
        last: &Fragment,
        at: PacketRef,
        datagrams: &mut Datagrams,
        out: &mut Decoded,
        anomalies: &mut AnomalyLog,
    ) {
        let mut missing = 0;
        let pieces = whole.pieces.values().filter_map(|(wire_len, bytes)| {
            // Bytes that the capture cut cannot be made up: the rest is missing.
            let wire_len = *wire_len as usize;
            let is_next = missing == 0;
            missing += wire_len
                - if is_next {
                    bytes.len().min(wire_len)
                } else {
                    0
                };
            is_next.then_some(&**bytes)
        });
        let start = datagrams.push(pieces, whole.protocol, whole.ip_len, last);
        let meta = Meta {
            ts_ns: last.ts_ns,
            record_offset: last.record_offset,
            index: last.index,
            link: last.link,
            data_at: last.data_at,
            cut: missing,
            bits: last.bits | Segment::DEFRAGMENTED,
            scope: last.scope,
            // A fragment header may stand in a datagram without a tunnel in
            // between: hostile senders can. Count it as one, so
            // that datagrams in datagrams end.
            depth: last.depth.saturating_add(1),
        };
        let Some((place, payload)) = datagrams.last() else {
            return;
        };
        let mut trouble = Trouble::new(out, meta);
        Walk::new(payload, start as u64, meta, self.max_depth, &mut trouble).datagram(place);
        trouble.count();
        // What is inside may be fragments again; each level of it is deeper,
        // so this ends.
        for inner in std::mem::take(&mut out.fragments) {
            if inner.depth > self.max_depth {
                out.undecoded(Undecoded::TooDeep, &meta);
                out.counters.malformed += 1;
                continue;
            }
            let bytes = datagrams
                .bytes(inner.payload_offset, inner.payload_len as usize)
                .unwrap_or_default()
                .to_vec();
            self.add(&inner, at, &bytes, datagrams, out, anomalies);
        }
    }

    /// By the packet clock; a single wild time stamp gives nothing up.
    fn expire(&mut self, ts_ns: i64, anomalies: &mut AnomalyLog) {
        let now = ts_ns.min(self.previous_ts_ns.unwrap_or(ts_ns));
        self.previous_ts_ns = Some(ts_ns);
        self.clock_ns = now;
        let mut turned = 0;
        while let Some((key, serial)) = self.waiting.front() {
            let Some(datagram) = self
                .datagrams
                .get_mut(key)
                .filter(|datagram| datagram.serial == *serial)
            else {
                self.waiting.pop_front();
                continue;
            };
            // Behind a pause the clock was still that of the fragment before; a
            // time of its own that the clock has reached by now is no claim.
            if now >= datagram.first_ts_ns {
                datagram.since_ns = datagram.since_ns.max(datagram.first_ts_ns);
            }
            let age = now.saturating_sub(datagram.since_ns);
            if age > self.timeout_ns {
                self.give_up_oldest(anomalies, AnomalyKind::IpFragmentIncomplete);
            } else if age < self.timeout_ns.saturating_neg() && turned < MAX_TURNED {
                // The clock was wild when it began, and must not hold back
                // those behind it. A few at a time: a clock that keeps falling
                // would have all of them turned for each fragment.
                datagram.since_ns = now;
                turned += 1;
                self.waiting.rotate_left(1);
            } else {
                break;
            }
        }
    }

    /// Datagrams that became whole leave their place in the queue behind; an
    /// old one in front must not let these pile up.
    fn forget_finished(&mut self) {
        if self.waiting.len() > 64 + 2 * self.datagrams.len() {
            let datagrams = &self.datagrams;
            self.waiting.retain(|(key, serial)| {
                datagrams
                    .get(key)
                    .is_some_and(|datagram| datagram.serial == *serial)
            });
        }
    }

    fn keep_budget(&mut self, at: PacketRef, ts: CaptureTime, anomalies: &mut AnomalyLog) {
        while self.bytes > self.max_bytes
            && self.give_up_oldest(anomalies, AnomalyKind::IpFragmentIncomplete)
        {
            anomalies.note(AnomalyKind::LimitEvicted, ts, at, || {
                "fragments exceeded limits.fragment_bytes; the oldest were given up".to_owned()
            });
        }
    }

    fn give_up_oldest(&mut self, anomalies: &mut AnomalyLog, kind: AnomalyKind) -> bool {
        while let Some((key, serial)) = self.waiting.pop_front() {
            if self
                .datagrams
                .get(&key)
                .is_none_or(|datagram| datagram.serial != serial)
            {
                continue;
            }
            if let Some(datagram) = self.datagrams.remove(&key) {
                self.bytes = self.bytes.saturating_sub(datagram.cost);
                let ts = CaptureTime::from_nanos(datagram.first_ts_ns);
                anomalies.note(kind, ts, datagram.first, || {
                    format!(
                        "{} bytes of a datagram never became whole",
                        datagram.covered
                    )
                });
                return true;
            }
        }
        false
    }
}

impl Datagram {
    /// Where the furthest piece ends.
    fn reach(&self) -> u32 {
        self.pieces
            .last_key_value()
            .map_or(0, |(start, (len, _))| start + len)
    }

    /// Adds bytes `from..end`, where nothing is held yet; whether they differ
    /// from what is.
    fn insert(&mut self, from: u32, end: u32, payload: &[u8]) -> bool {
        if from >= end {
            return false;
        }
        let part = |low: u32, high: u32| {
            let at = |place: u32| ((place - from) as usize).min(payload.len());
            payload.get(at(low)..at(high)).unwrap_or_default()
        };
        let mut conflict = false;
        let mut holes = Vec::new();
        let mut at = from;
        let first = self
            .pieces
            .range(..=from)
            .next_back()
            .filter(|(start, (len, _))| *start + len > from)
            .map_or(from, |(&start, _)| start);
        for (&start, (len, bytes)) in self.pieces.range(first..end) {
            self.work += 1;
            if start > at {
                holes.push((at, start.min(end)));
            }
            let (low, high) = (start.max(from), (start + len).min(end));
            let held = |place: u32| ((place - start) as usize).min(bytes.len());
            let kept = bytes.get(held(low)..held(high)).unwrap_or_default();
            let again = part(low, high);
            let both = kept.len().min(again.len());
            conflict |= kept.get(..both) != again.get(..both);
            at = at.max(start + len);
        }
        if at < end {
            holes.push((at, end));
        }
        for (low, high) in holes {
            let bytes: Box<[u8]> = part(low, high).into();
            self.covered += high - low;
            self.cost += bytes.len() + FRAGMENT_OVERHEAD;
            self.pieces.insert(low, (high - low, bytes));
        }
        conflict
    }
}
