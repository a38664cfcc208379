//! One direction of a TCP connection put back in order.
//!
//! In-order bytes go straight from the capture to the parser; only what came
//! early is copied, and only where the parser will want it. Where two segments
//! carry the same place, the first bytes are kept and a difference is noted.
//! Bytes that never came are delivered as a gap.
//!
//! Positions are 64-bit offsets from the first byte of the stream, so that
//! sequence numbers may wrap any number of times (RFC 9293 §3.4).

use crate::proto::Want;
use std::collections::BTreeMap;
use std::num::NonZeroU64;

/// What the stream gives, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The next bytes.
    Data(&'a [u8]),
    /// So many bytes that nobody wants; they are in the capture.
    Skipped(u64),
    /// So many bytes are not in the capture.
    Gap(u64),
}

/// What one segment turned out to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrival {
    /// Carried at least one byte that had been sent before.
    pub retransmission: bool,
    /// Came before bytes that precede it.
    pub early: bool,
    /// Filled a hole that later segments had passed.
    pub late: bool,
    /// Its bytes differ from those that had been sent for the same place.
    pub conflict: bool,
    /// A keep-alive probe (RFC 9293 §3.8.4): at most one byte, the last one again.
    pub keep_alive: bool,
    /// Early bytes were given up because the budget was spent.
    pub limit: bool,
}

/// What early segments may hold in memory.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Bytes for one direction.
    pub stream: usize,
    /// Bytes left for all streams that share this budget.
    pub shared_left: usize,
}

/// Bookkeeping that one early segment costs, counted so that many tiny ones
/// cannot exceed the budget.
const SEGMENT_OVERHEAD: usize = 96;

/// Bytes already delivered that are kept to compare retransmissions with,
/// while a parser is reading.
const RECENT_BYTES: usize = 2_048;

/// Packets of the flow after which a hole that the receiver acknowledged is a
/// gap: a capture may hold packets slightly out of order.
const HOLE_PATIENCE: u8 = 16;

/// How far a segment may lie from the expected place. A receive window cannot
/// exceed 1 GiB (RFC 7323 §2.3).
const MAX_WINDOW: i64 = 1 << 30;

/// How far beyond what is known of a stream one packet alone is believed:
/// more than systems let be in flight (Linux lets receive buffers grow to
/// 6 MiB, `tcp_rmem`). Anyone can send a segment or an acknowledgement further
/// ahead that its receiver ignores: a second packet has to agree, as one does
/// wherever the capture lost that much.
const IN_FLIGHT: u64 = 8 << 20;

#[derive(Debug)]
struct Early {
    /// Bytes on the wire.
    len: u64,
    /// The bytes in the capture; shorter than `len` when the capture cut the
    /// packet or nobody will want them.
    data: Box<[u8]>,
    /// Nobody wants it, and `data` is empty: so many bytes are in the capture.
    unwanted: Option<u64>,
}

#[derive(Debug, Default)]
struct EarlySegments {
    /// By position, without overlaps.
    by_position: BTreeMap<u64, Early>,
    bytes: usize,
    /// Held segments that later ones overlapped, so far.
    overlapped: usize,
}

/// Overlaps with held segments after which the holes are given up: a segment
/// over many tiny ones, again and again, is an attack on the reader.
const MAX_OVERLAPPED: usize = 1 << 17;

/// Bytes delivered last. Boxed, for most streams have none.
#[derive(Debug, Default)]
struct Recent {
    bytes: Vec<u8>,
}

/// One direction of a connection.
#[derive(Debug, Default)]
pub struct Stream {
    /// Sequence number of position 0.
    base: u32,
    started: bool,
    /// Deliveries are over.
    pub finished: bool,
    nothing: bool,
    /// The next position to deliver.
    next: u64,
    /// Positions to pass over untouched.
    skip: u64,
    /// Highest position that was sent.
    highest: u64,
    /// Highest position that the other end acknowledged.
    acked: u64,
    /// A position that one packet claims, too far ahead to be believed; 0 for none.
    claimed: u64,
    /// Patience left with the hole before `next`; 0 when there is none.
    hole_age: u8,
    /// Position of the FIN, plus one: see [`Stream::fin_at`].
    after_fin: Option<NonZeroU64>,
    early: Option<Box<EarlySegments>>,
    /// What was delivered last, while a parser is reading.
    recent: Option<Box<Recent>>,
    /// Bytes missing so far.
    pub missed: u64,
}

impl Stream {
    fn fin_at(&self) -> Option<u64> {
        self.after_fin.map(|after| after.get() - 1)
    }

    /// Whether the first sequence number is known.
    pub fn has_started(&self) -> bool {
        self.started
    }

    /// The stream's first byte carries this sequence number.
    pub fn start(&mut self, first_seq: u32) {
        if !self.started {
            self.started = true;
            self.base = first_seq;
        }
    }

    /// The other end confirmed the first sequence number: what it confirms
    /// outweighs a SYN that anyone may have forged, while nothing was sent.
    pub fn restart(&mut self, first_seq: u32) {
        if self.next == 0 && self.highest == 0 && self.early.is_none() {
            self.started = true;
            self.base = first_seq;
            self.after_fin = None;
        }
    }

    /// Sequence number of the next byte to deliver.
    pub fn next_seq(&self) -> u32 {
        self.seq_at(self.next)
    }

    /// Payload bytes that were sent, by sequence numbers: what was seen, or
    /// acknowledged by the other end.
    pub fn bytes(&self) -> u64 {
        let sent = self.highest.max(self.acked);
        // An acknowledged FIN takes one number (RFC 9293 §3.4).
        match self.fin_at() {
            Some(fin) if sent == fin + 1 => fin,
            _ => sent,
        }
    }

    /// Whether everything up to the FIN was delivered.
    pub fn is_complete(&self) -> bool {
        self.fin_at().is_some_and(|fin| self.next >= fin)
    }

    /// Bytes held in memory.
    pub fn heap_bytes(&self) -> usize {
        let early = self.early.as_ref().map_or(0, |early| early.bytes);
        let recent = self.recent.as_ref();
        early + recent.map_or(0, |recent| size_of::<Recent>() + recent.bytes.capacity())
    }

    #[allow(clippy::cast_possible_truncation)] // sequence numbers are modulo 2^32
    fn seq_at(&self, position: u64) -> u32 {
        self.base.wrapping_add(position as u32)
    }

    /// The position of a sequence number, nearest to the expected one;
    /// negative before the stream's start.
    #[allow(clippy::cast_possible_wrap)]
    pub fn position(&self, seq: u32) -> i64 {
        let ahead = seq.wrapping_sub(self.seq_at(self.next)) as i32;
        (self.next as i64).saturating_add(i64::from(ahead))
    }

    /// A FIN whose sequence number (after its payload) is `seq`.
    pub fn fin(&mut self, seq: u32) {
        if let Ok(position) = u64::try_from(self.position(seq))
            // One that lies where nothing is known to be gives way.
            && self.fin_at().is_none_or(|fin| fin > self.reach().max(self.highest))
        {
            self.after_fin = NonZeroU64::new(position.saturating_add(1));
        }
    }

    /// The other end acknowledged everything before `seq`.
    pub fn acknowledged(&mut self, seq: u32) {
        if !self.started {
            return;
        }
        let position = self.position(seq);
        if position > 0 && position - (self.next.cast_signed()) < MAX_WINDOW {
            let position = position.unsigned_abs();
            if position > self.reach().max(self.highest) && !self.has_data_near(position) {
                let agreed = self.claim(position);
                self.acked = self.acked.max(agreed);
                if position > self.reach() {
                    return;
                }
            }
            self.acked = self.acked.max(position);
        }
    }

    /// The furthest position that one packet alone is believed.
    fn reach(&self) -> u64 {
        // What the other end acknowledges outweighs what is sent, where it is seen.
        let known = match self.acked {
            0 => self.highest,
            acked => acked,
        };
        self.next.max(known).saturating_add(IN_FLIGHT)
    }

    /// Notes a claim; gives what it and the one before agree on, 0 for nothing.
    fn claim(&mut self, position: u64) -> u64 {
        let before = std::mem::replace(&mut self.claimed, position);
        if before > 0 && position.saturating_add(IN_FLIGHT) >= before {
            before.min(position)
        } else {
            0
        }
    }

    /// Whether early segments end near a position.
    fn has_data_near(&self, position: u64) -> bool {
        let early = self.early.as_ref();
        let last = early.and_then(|early| early.by_position.last_key_value());
        last.is_some_and(|(&start, held)| {
            (start.saturating_add(held.len)).abs_diff(position) <= IN_FLIGHT
        })
    }

    /// Takes the end of a segment beyond [`Stream::reach`].
    #[cold]
    fn sent_far_ahead(&mut self, end: u64) {
        if self.acked > 0 {
            // An acknowledgement that was not believed either may speak of it.
            if self.claimed.abs_diff(end) <= IN_FLIGHT {
                self.acked = self.acked.max(self.claimed);
                self.highest = self.highest.max(end);
            }
            return;
        }
        let agreed = self.claim(end);
        self.highest = self.highest.max(agreed);
        if end <= self.reach() {
            self.highest = self.highest.max(end);
        }
    }

    /// Called once per packet of the flow: a hole that was acknowledged long
    /// enough ago is a gap. Returns the bytes of memory that were freed.
    pub fn tick(&mut self, deliver: &mut impl FnMut(Event<'_>) -> Want) -> usize {
        let Some(early) = &self.early else { return 0 };
        let Some((&first, _)) = early.by_position.first_key_value() else {
            return 0;
        };
        if self.acked < first {
            self.hole_age = 0;
            return 0;
        }
        self.hole_age += 1;
        if self.hole_age < HOLE_PATIENCE {
            return 0;
        }
        let before = self.heap_bytes();
        self.pass_hole(deliver);
        before.saturating_sub(self.heap_bytes())
    }

    /// A segment's payload: `wire_len` bytes from `seq` on, of which `data`
    /// are in the capture.
    pub fn segment(
        &mut self,
        seq: u32,
        wire_len: u32,
        data: &[u8],
        budget: &mut Budget,
        deliver: &mut impl FnMut(Event<'_>) -> Want,
    ) -> Arrival {
        let mut arrival = Arrival::default();
        if wire_len == 0 {
            return arrival;
        }
        self.start(seq);
        let position = self.position(seq);
        let expected = self.next.cast_signed();
        if (position - expected).abs() > MAX_WINDOW {
            // No receiver could have had room for it: not of this stream.
            arrival.retransmission = true;
            return arrival;
        }
        let end = position.saturating_add(i64::from(wire_len));
        if end <= expected {
            arrival.retransmission = true;
            arrival.keep_alive = wire_len == 1 && end == expected;
            arrival.conflict = self.differs_from_recent(position, data);
            return arrival;
        }
        if (end - expected).unsigned_abs() <= IN_FLIGHT || end.unsigned_abs() <= self.reach() {
            self.highest = self.highest.max(end.unsigned_abs());
        } else {
            self.sent_far_ahead(end.unsigned_abs());
        }
        let (mut data, mut wire_len) = (data, u64::from(wire_len));
        if position < expected {
            arrival.retransmission = true;
            let seen = (expected - position).unsigned_abs();
            let (old, fresh) = split(data, seen);
            arrival.conflict = self.differs_from_recent(position, old);
            data = fresh;
            wire_len -= seen;
        } else if position > expected {
            arrival.early = true;
            self.keep(
                position.unsigned_abs(),
                wire_len,
                data,
                budget,
                &mut arrival,
                deliver,
            );
            return arrival;
        }
        if self.early.is_some() {
            arrival.late = true;
            self.fill(wire_len, data, &mut arrival, deliver);
            let held = self.early.as_ref().map_or(0, |early| early.bytes);
            self.drain(deliver);
            let now = self.early.as_ref().map_or(0, |early| early.bytes);
            budget.shared_left += held.saturating_sub(now);
        } else {
            self.deliver(wire_len, data, None, deliver);
        }
        arrival
    }

    /// Nothing more will come: what is held is delivered, with its gaps. Says
    /// whether something was left out that nothing else spoke for.
    pub fn finish(&mut self, deliver: &mut impl FnMut(Event<'_>) -> Want) -> bool {
        let end = self.reach().max(self.highest);
        let mut is_doubted = self.claimed > self.highest.max(self.acked);
        while let Some(early) = &self.early {
            let first = early.by_position.first_key_value();
            if first.is_some_and(|(&first, _)| first > end) {
                is_doubted = true;
                self.early = None;
                break;
            }
            self.pass_hole(deliver);
        }
        // Acknowledged, so it was sent, but nothing after it was captured.
        let end = self.fin_at().unwrap_or(self.acked).min(self.acked);
        if end > self.next {
            self.gap(end - self.next, deliver);
        }
        self.recent = None;
        self.finished = true;
        is_doubted
    }

    /// Bytes that fill the place up to the next early segment, which may
    /// already hold some of them.
    fn fill(
        &mut self,
        wire_len: u64,
        data: &[u8],
        arrival: &mut Arrival,
        deliver: &mut impl FnMut(Event<'_>) -> Want,
    ) {
        let end = self.next + wire_len;
        let mut data = data;
        while self.next < end {
            let hole_end = self
                .early
                .as_ref()
                .and_then(|early| early.by_position.first_key_value())
                .map_or(end, |(&first, _)| first.min(end));
            if hole_end > self.next {
                let len = hole_end - self.next;
                let (now, later) = split(data, len);
                data = later;
                self.deliver(len, now, None, deliver);
            } else {
                let Some((_, held)) = self
                    .early
                    .as_mut()
                    .and_then(|early| early.by_position.pop_first())
                else {
                    return;
                };
                let (same, later) = split(data, held.len);
                data = later;
                arrival.retransmission = true;
                arrival.conflict |= differ(&held.data, same);
                self.release(&held);
                self.deliver(held.len, &held.data, held.unwanted, deliver);
            }
        }
    }

    /// Keeps an early segment, without the places that are held already.
    fn keep(
        &mut self,
        position: u64,
        wire_len: u64,
        data: &[u8],
        budget: &mut Budget,
        arrival: &mut Arrival,
        deliver: &mut impl FnMut(Event<'_>) -> Want,
    ) {
        let skip_end = if self.nothing {
            u64::MAX
        } else {
            self.next.saturating_add(self.skip)
        };
        let early = self.early.get_or_insert_default();
        let end = position + wire_len;
        // What overlaps: possibly one that begins before, and those that begin inside.
        let mut holes = Vec::new();
        let mut overlapped = 0;
        let mut at = position;
        let from = early
            .by_position
            .range(..=position)
            .next_back()
            .filter(|(start, held)| *start + held.len > position)
            .map_or(position, |(&start, _)| start);
        for (&start, held) in early.by_position.range(from..end) {
            if start > at {
                holes.push((at, start.min(end)));
            }
            let held_end = start + held.len;
            overlapped += 1;
            let (low, high) = (start.max(position), held_end.min(end));
            arrival.retransmission = true;
            arrival.conflict |= differ(
                range(&held.data, low - start, high - start),
                range(data, low - position, high - position),
            );
            at = at.max(held_end);
        }
        if at < end {
            holes.push((at, end));
        }
        let mut cost = 0;
        for (low, high) in holes {
            let wanted = high > skip_end;
            let captured = range(data, low - position, high - position);
            let held = Early {
                len: high - low,
                data: if wanted { captured.into() } else { [].into() },
                unwanted: (!wanted).then_some(captured.len() as u64),
            };
            cost += held.data.len() + SEGMENT_OVERHEAD;
            early.by_position.insert(low, held);
        }
        early.bytes += cost;
        early.overlapped += overlapped;
        budget.shared_left = budget.shared_left.saturating_sub(cost);
        // Over the budget: what is missing is given up, oldest hole first.
        while self
            .early
            .as_ref()
            .is_some_and(|early| early.bytes > budget.stream || early.overlapped > MAX_OVERLAPPED)
            || (budget.shared_left == 0 && self.early.is_some())
        {
            arrival.limit = true;
            let held = self.early.as_ref().map_or(0, |early| early.bytes);
            let end = self.reach().max(self.highest);
            let early = self.early.as_ref();
            let first = early.and_then(|early| early.by_position.first_key_value());
            if first.is_some_and(|(&first, _)| first > end) {
                // Nobody speaks for it: no reason to give up the stream before it.
                self.early = None;
            } else {
                self.pass_hole(deliver);
            }
            let now = self.early.as_ref().map_or(0, |early| early.bytes);
            budget.shared_left += held.saturating_sub(now);
        }
    }

    /// Gives up the bytes before the first early segment.
    fn pass_hole(&mut self, deliver: &mut impl FnMut(Event<'_>) -> Want) {
        self.hole_age = 0;
        let first = self
            .early
            .as_ref()
            .and_then(|early| early.by_position.first_key_value())
            .map(|(&first, _)| first);
        match first {
            Some(first) => {
                if first > self.next {
                    self.gap(first - self.next, deliver);
                }
                self.drain(deliver);
            }
            None => self.early = None,
        }
    }

    /// Delivers early segments for as long as they are next.
    fn drain(&mut self, deliver: &mut impl FnMut(Event<'_>) -> Want) {
        while let Some(early) = &mut self.early {
            let Some(entry) = early.by_position.first_entry() else {
                self.early = None;
                self.hole_age = 0;
                return;
            };
            if *entry.key() > self.next {
                return;
            }
            let (start, held) = entry.remove_entry();
            self.release(&held);
            // `fill` and `keep` leave no overlap, so this is always the next byte.
            debug_assert_eq!(start, self.next);
            self.deliver(held.len, &held.data, held.unwanted, deliver);
        }
    }

    fn release(&mut self, held: &Early) {
        if let Some(early) = &mut self.early {
            early.bytes = early
                .bytes
                .saturating_sub(held.data.len() + SEGMENT_OVERHEAD);
        }
    }

    fn gap(&mut self, len: u64, deliver: &mut impl FnMut(Event<'_>) -> Want) {
        self.next += len;
        self.missed += len;
        if let Some(recent) = &mut self.recent {
            recent.bytes.clear();
        }
        if self.nothing {
            return;
        }
        let passed = len.min(self.skip);
        self.skip -= passed;
        if len > passed {
            let want = deliver(Event::Gap(len - passed));
            self.follow(want);
        }
    }

    /// Delivers `len` bytes of which `data` are at hand.
    fn deliver(
        &mut self,
        len: u64,
        data: &[u8],
        unwanted: Option<u64>,
        deliver: &mut impl FnMut(Event<'_>) -> Want,
    ) {
        if let Some(captured) = unwanted {
            self.next += len;
            self.skip = self.skip.saturating_sub(len);
            self.missed += len.saturating_sub(captured);
            deliver(Event::Skipped(captured));
            return;
        }
        let mut data = data;
        let mut left = len;
        while left > 0 {
            if self.nothing || self.skip > 0 {
                let passed = if self.nothing {
                    left
                } else {
                    left.min(self.skip)
                };
                let (here, later) = split(data, passed);
                data = later;
                left -= passed;
                self.next += passed;
                self.skip = self.skip.saturating_sub(passed);
                let captured = here.len() as u64;
                self.missed += passed - captured;
                deliver(Event::Skipped(captured));
            } else if data.is_empty() {
                self.gap(left, deliver);
                left = 0;
            } else {
                let captured = data.len() as u64;
                self.next += captured;
                left = left.saturating_sub(captured);
                let want = deliver(Event::Data(data));
                self.follow(want);
                if !self.nothing && self.skip == 0 {
                    self.remember(data);
                }
                data = &[];
            }
        }
    }

    fn follow(&mut self, want: Want) {
        match want {
            Want::Bytes => {}
            Want::Skip(len) => self.skip = len,
            Want::Nothing => self.nothing = true,
        }
        if self.nothing || self.skip > 0 {
            self.recent = None;
        }
    }

    fn remember(&mut self, data: &[u8]) {
        let recent = &mut self.recent.get_or_insert_default().bytes;
        let tail = data
            .get(data.len().saturating_sub(RECENT_BYTES)..)
            .unwrap_or(data);
        let surplus = (recent.len() + tail.len()).saturating_sub(RECENT_BYTES);
        recent.drain(..surplus.min(recent.len()));
        // No more than is needed: this is most of what a small connection holds.
        recent.reserve_exact(tail.len());
        recent.extend_from_slice(tail);
    }

    /// Lets go of what later segments would be compared with: the connection is over.
    pub fn forget_recent(&mut self) {
        self.recent = None;
    }

    /// Whether bytes that were sent before differ from what was delivered.
    fn differs_from_recent(&self, position: i64, data: &[u8]) -> bool {
        let Some(Recent { bytes: recent }) = self.recent.as_deref() else {
            return false;
        };
        let recent_start = self.next.cast_signed() - recent.len() as i64;
        let ahead = usize::try_from(recent_start - position).unwrap_or(0);
        let Some(data) = data.get(ahead..) else {
            return false;
        };
        let from = usize::try_from(position - recent_start).unwrap_or(0);
        recent
            .iter()
            .skip(from)
            .zip(data)
            .any(|(kept, again)| kept != again)
    }
}

/// The first `len` bytes, or as many as there are, and the rest.
fn split(data: &[u8], len: u64) -> (&[u8], &[u8]) {
    let at = usize::try_from(len).map_or(data.len(), |len| len.min(data.len()));
    data.split_at(at)
}

/// Bytes `from..to`, as many of them as there are.
fn range(data: &[u8], from: u64, to: u64) -> &[u8] {
    let len = data.len();
    let at = |position: u64| usize::try_from(position).map_or(len, |position| position.min(len));
    data.get(at(from)..at(to)).unwrap_or_default()
}

/// Whether two copies differ where both have bytes.
fn differ(a: &[u8], b: &[u8]) -> bool {
    let len = a.len().min(b.len());
    a.get(..len) != b.get(..len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a stream delivered, gaps as `None` per missing byte.
    #[derive(Default)]
    struct Sink {
        bytes: Vec<Option<u8>>,
        skipped: u64,
    }

    impl Sink {
        fn take(&mut self, event: Event<'_>) -> Want {
            match event {
                Event::Data(data) => self.bytes.extend(data.iter().map(|&byte| Some(byte))),
                Event::Gap(len) => self.bytes.extend((0..len).map(|_| None)),
                Event::Skipped(len) => self.skipped += len,
            }
            Want::Bytes
        }

        fn text(&self) -> String {
            self.bytes
                .iter()
                .map(|byte| byte.map_or('_', char::from))
                .collect()
        }
    }

    const AMPLE: Budget = Budget {
        stream: 1 << 20,
        shared_left: 1 << 20,
    };

    /// Feeds `(offset, text)` segments to a stream that begins at `isn`, and
    /// gives what came out with the arrivals.
    fn feed(isn: u32, segments: &[(u32, &str)]) -> (String, Vec<Arrival>, Stream) {
        let (mut stream, mut sink, mut budget) = (Stream::default(), Sink::default(), AMPLE);
        stream.start(isn);
        let arrivals = segments
            .iter()
            .map(|(offset, text)| {
                let seq = isn.wrapping_add(*offset);
                let len = u32::try_from(text.len()).unwrap();
                stream.segment(seq, len, text.as_bytes(), &mut budget, &mut |e| {
                    sink.take(e)
                })
            })
            .collect();
        stream.finish(&mut |e| sink.take(e));
        (sink.text(), arrivals, stream)
    }

    #[track_caller]
    fn gives(segments: &[(u32, &str)], expected: &str) {
        for isn in [0, 1_000, u32::MAX - 3] {
            assert_eq!(feed(isn, segments).0, expected, "ISN {isn}");
        }
    }

    #[test]
    fn puts_segments_in_order() {
        gives(&[(0, "abc"), (3, "def")], "abcdef");
        gives(&[(3, "def"), (0, "abc")], "abcdef");
        gives(&[(6, "ghi"), (3, "def"), (0, "abc")], "abcdefghi");
        gives(&[(0, "abc"), (6, "ghi"), (3, "def")], "abcdefghi");
    }

    #[test]
    fn the_first_copy_of_a_byte_is_kept() {
        gives(&[(0, "abc"), (0, "XYZ"), (3, "d")], "abcd");
        gives(&[(0, "abc"), (1, "XYdef")], "abcdef");
        gives(&[(2, "cd"), (0, "abXYef")], "abcdef");
        gives(&[(4, "ef"), (2, "cdXY"), (0, "ab")], "abcdef");
        gives(&[(1, "bc"), (5, "fg"), (0, "aXXdeXXh")], "abcdefgh");
        gives(&[(2, "c"), (4, "e"), (1, "bXdXf"), (0, "a")], "abcdef");
    }

    #[test]
    fn bytes_that_never_came_are_a_gap() {
        gives(&[(0, "abc"), (5, "fg")], "abc__fg");
        gives(&[(2, "c"), (4, "e")], "__c_e");
    }

    #[test]
    fn differences_are_told_from_repetitions() {
        let arrival = |segments: &[(u32, &str)]| *feed(7, segments).1.last().unwrap();
        let same = arrival(&[(0, "abc"), (0, "abc")]);
        assert!(same.retransmission && !same.conflict);
        let other = arrival(&[(0, "abc"), (0, "abX")]);
        assert!(other.retransmission && other.conflict);
        assert!(arrival(&[(3, "def"), (3, "dXf")]).conflict);
        assert!(arrival(&[(3, "def"), (0, "abcX")]).conflict);
        assert!(!arrival(&[(3, "def"), (0, "abcd")]).conflict);
        assert!(arrival(&[(0, "abc"), (2, "Xd")]).conflict);
        assert!(arrival(&[(0, "abc"), (2, "c")]).keep_alive);
    }

    #[test]
    fn a_capture_that_cuts_packets_gives_gaps_and_keeps_its_place() {
        let (mut stream, mut sink, mut budget) = (Stream::default(), Sink::default(), AMPLE);
        stream.segment(100, 6, b"abc", &mut budget, &mut |e| sink.take(e));
        stream.segment(106, 2, b"gh", &mut budget, &mut |e| sink.take(e));
        assert_eq!(
            (sink.text().as_str(), stream.missed, stream.bytes()),
            ("abc___gh", 3, 8)
        );
    }

    #[test]
    fn what_is_not_wanted_is_counted_and_not_touched() {
        let (mut stream, mut budget) = (Stream::default(), AMPLE);
        let mut seen = Vec::new();
        let mut skipped = 0;
        let mut deliver = |event: Event<'_>| match event {
            Event::Data(data) => {
                seen.push(String::from_utf8_lossy(data).into_owned());
                Want::Skip(5)
            }
            Event::Skipped(len) => {
                skipped += len;
                Want::Bytes
            }
            Event::Gap(_) => Want::Bytes,
        };
        for (seq, data) in [(0, "ab"), (2, "...."), (6, ".cd"), (20, "x"), (9, "....")] {
            let len = u32::try_from(data.len()).unwrap();
            stream.segment(seq, len, data.as_bytes(), &mut budget, &mut deliver);
        }
        stream.finish(&mut deliver);
        assert_eq!(seen, ["ab", "cd", "x"]);
        assert_eq!(skipped, 5 + 4);
    }

    #[test]
    fn early_bytes_that_nobody_wants_and_the_capture_cut_are_missed() {
        let (mut stream, mut budget) = (Stream::default(), AMPLE);
        let (mut skipped, mut wants) = (0, vec![Want::Nothing]);
        let mut deliver = |event: Event<'_>| {
            if let Event::Skipped(len) = event {
                skipped += len;
            }
            wants.pop().unwrap_or(Want::Bytes)
        };
        stream.segment(0, 2, b"ab", &mut budget, &mut deliver);
        // Ten bytes of which the capture has four, before the ones that precede them.
        stream.segment(6, 10, b"cdef", &mut budget, &mut deliver);
        stream.segment(2, 4, b"ghij", &mut budget, &mut deliver);
        assert_eq!((stream.bytes(), stream.missed, skipped), (16, 6, 8));
    }

    #[test]
    fn a_hole_that_the_receiver_acknowledged_is_given_up_in_time() {
        let (mut stream, mut sink, mut budget) = (Stream::default(), Sink::default(), AMPLE);
        stream.start(0);
        stream.segment(4, 2, b"ef", &mut budget, &mut |e| sink.take(e));
        for _ in 0..2 * HOLE_PATIENCE {
            stream.tick(&mut |e| sink.take(e));
        }
        assert_eq!(sink.text(), "", "nobody acknowledged the hole");
        stream.acknowledged(6);
        for _ in 0..HOLE_PATIENCE {
            stream.tick(&mut |e| sink.take(e));
        }
        assert_eq!(sink.text(), "____ef");
    }

    #[test]
    fn a_million_early_bytes_stay_within_the_budget() {
        let mut stream = Stream::default();
        let mut delivered = 0_u64;
        stream.start(0);
        for position in (1..1_000_000_u32)
            .rev()
            .filter(|position| position % 2 == 1)
        {
            let mut budget = Budget {
                stream: 1 << 16,
                shared_left: 1 << 20,
            };
            let arrival = stream.segment(position, 1, b"x", &mut budget, &mut |event| {
                if let Event::Data(data) = event {
                    delivered += data.len() as u64;
                }
                Want::Bytes
            });
            assert!(stream.heap_bytes() <= (1 << 16) + 8_192, "{arrival:?}");
        }
        stream.finish(&mut |event| {
            if let Event::Data(data) = event {
                delivered += data.len() as u64;
            }
            Want::Bytes
        });
        assert!(delivered > 0);
    }

    #[test]
    fn bytes_count_what_was_acknowledged_but_not_the_fin() {
        let (mut stream, mut sink, mut budget) = (Stream::default(), Sink::default(), AMPLE);
        stream.start(10);
        stream.segment(10, 5, b"hello", &mut budget, &mut |e| sink.take(e));
        stream.fin(15);
        stream.acknowledged(16);
        assert_eq!(stream.bytes(), 5);
    }

    /// What happens to a stream that begins at 1,000.
    #[derive(Clone, Copy)]
    enum Seen {
        /// One byte at this position.
        Sent(u64),
        /// An acknowledgement of everything before it.
        Acked(u64),
    }

    /// Bytes of the stream, bytes that were missed, and whether something was
    /// left out, once it ended after these.
    #[track_caller]
    fn after(seen: &[Seen], expected: (u64, u64, bool)) {
        for isn in [1_000, u32::MAX - 3] {
            let (mut stream, mut budget) = (Stream::default(), AMPLE);
            stream.start(isn);
            #[allow(clippy::cast_possible_truncation)] // modulo 2^32
            let seq = |position: u64| isn.wrapping_add(position as u32);
            for &one in seen {
                match one {
                    Seen::Sent(at) => {
                        stream.segment(seq(at), 1, b"x", &mut budget, &mut |_| Want::Bytes);
                    }
                    Seen::Acked(at) => stream.acknowledged(seq(at)),
                }
                stream.tick(&mut |_| Want::Bytes);
            }
            let is_doubted = stream.finish(&mut |_| Want::Bytes);
            assert_eq!(
                (stream.bytes(), stream.missed, is_doubted),
                expected,
                "ISN {isn}"
            );
        }
    }

    #[test]
    fn one_packet_far_ahead_claims_nothing() {
        use Seen::{Acked, Sent};
        const FAR: u64 = 500 << 20;
        // As far as any window in use: believed, as ever.
        after(
            &[Sent(0), Sent(1 << 20)],
            ((1 << 20) + 1, (1 << 20) - 1, false),
        );
        after(&[Sent(0), Acked(1 << 20)], (1 << 20, (1 << 20) - 1, false));
        // Alone: neither counted nor missed, but told.
        after(
            &[Sent(0), Acked(1), Sent(FAR), Sent(1), Acked(2)],
            (2, 0, true),
        );
        after(&[Sent(0), Acked(FAR), Sent(1), Acked(2)], (2, 0, true));
        after(&[Sent(0), Sent(FAR), Sent(1)], (2, 0, true));
        // Sent again and again, and never acknowledged: no more than once.
        after(
            &[
                Sent(0),
                Acked(1),
                Sent(FAR),
                Sent(FAR + 1),
                Sent(FAR + 2),
                Sent(1),
            ],
            (2, 0, true),
        );
        // Steps of what one packet is believed do not add up.
        after(
            &[
                Sent(0),
                Acked(1),
                Sent(IN_FLIGHT),
                Sent(2 * IN_FLIGHT),
                Sent(3 * IN_FLIGHT),
            ],
            (IN_FLIGHT + 1, IN_FLIGHT - 1, true),
        );
    }

    #[test]
    fn what_the_capture_lost_is_believed_when_two_packets_agree() {
        use Seen::{Acked, Sent};
        const FAR: u64 = 500 << 20;
        // Data, then its acknowledgement; the other way round; two of each.
        after(
            &[Sent(0), Acked(1), Sent(FAR), Acked(FAR + 1)],
            (FAR + 1, FAR - 1, false),
        );
        after(
            &[Sent(0), Acked(1), Acked(FAR), Sent(FAR)],
            (FAR + 1, FAR - 1, false),
        );
        after(
            &[Sent(0), Acked(FAR), Acked(FAR + 9)],
            (FAR + 9, FAR + 8, false),
        );
        // The other direction is not in the capture.
        after(
            &[Sent(0), Sent(FAR), Sent(FAR + 1)],
            (FAR + 2, FAR - 1, false),
        );
        // Only now and then a packet is in the capture: all but the last count.
        after(
            &[Sent(0), Sent(FAR / 4), Sent(FAR / 2), Sent(FAR)],
            (FAR / 2 + 1, FAR / 2 - 2, true),
        );
    }

    #[test]
    fn a_claim_that_nobody_speaks_for_does_not_cost_the_stream() {
        // Over the budget, with a forged segment held first in line.
        let (mut stream, mut sink) = (Stream::default(), Sink::default());
        let mut budget = Budget {
            stream: 64,
            shared_left: 1 << 20,
        };
        stream.start(0);
        stream.segment(0, 1, b"a", &mut budget, &mut |e| sink.take(e));
        stream.acknowledged(1);
        let arrival = stream.segment(500 << 20, 9, b"forgeries", &mut budget, &mut |e| {
            sink.take(e)
        });
        assert!(arrival.limit);
        stream.segment(1, 2, b"bc", &mut budget, &mut |e| sink.take(e));
        stream.finish(&mut |e| sink.take(e));
        assert_eq!((sink.text().as_str(), stream.bytes()), ("abc", 3));
        // A forged FIN does not keep the true one from counting.
        let mut stream = Stream::default();
        stream.start(0);
        stream.segment(0, 1, b"a", &mut budget, &mut |e| sink.take(e));
        stream.fin(500 << 20);
        stream.fin(1);
        stream.acknowledged(2);
        assert_eq!(stream.bytes(), 1);
        assert!(stream.is_complete());
    }

    proptest! {
        /// Any split, order and duplication of segments gives the same stream.
        #[test]
        fn any_split_order_and_duplication_gives_the_same_stream(
            isn in any::<u32>(),
            payload in proptest::collection::vec(any::<u8>(), 1..300),
            cuts in proptest::collection::vec(0_usize..300, 0..20),
            extra in proptest::collection::vec((0_usize..300, 1_usize..80), 0..20),
            order in any::<u64>(),
        ) {
            let mut borders: Vec<usize> = cuts.iter().map(|cut| cut % payload.len()).collect();
            borders.extend([0, payload.len()]);
            borders.sort_unstable();
            borders.dedup();
            let mut segments: Vec<(usize, usize)> =
                borders.windows(2).map(|pair| (pair[0], pair[1])).collect();
            for (start, len) in extra {
                let start = start % payload.len();
                segments.push((start, (start + len).min(payload.len())));
            }
            let mut state = order | 1;
            for at in (1..segments.len()).rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                segments.swap(at, (state >> 33) as usize % (at + 1));
            }
            let (mut stream, mut sink, mut budget) = (Stream::default(), Sink::default(), AMPLE);
            stream.start(isn);
            for (start, end) in segments {
                let seq = isn.wrapping_add(start as u32);
                let arrival = stream.segment(
                    seq, (end - start) as u32, &payload[start..end], &mut budget,
                    &mut |e| sink.take(e));
                prop_assert!(!arrival.conflict);
            }
            stream.finish(&mut |e| sink.take(e));
            let got: Vec<u8> = sink.bytes.iter().map(|byte| byte.unwrap_or(0)).collect();
            prop_assert_eq!(got, payload);
            prop_assert_eq!(stream.missed, 0);
        }

        /// Whatever arrives, every byte is accounted for and nothing panics.
        #[test]
        fn hostile_segments_never_break_the_books(
            segments in proptest::collection::vec(
                (any::<u32>(), 0_u32..70_000, 0_usize..100, any::<bool>()), 0..60),
        ) {
            let (mut stream, mut events) = (Stream::default(), 0_u64);
            let mut budget = Budget { stream: 4_096, shared_left: 8_192 };
            for (seq, wire_len, captured, near) in segments {
                let seq = if near { seq % 5_000 } else { seq };
                let data = vec![7; captured.min(wire_len as usize)];
                stream.segment(seq, wire_len, &data, &mut budget, &mut |event| {
                    events += match event {
                        Event::Data(data) => data.len() as u64,
                        Event::Gap(len) | Event::Skipped(len) => len,
                    };
                    Want::Bytes
                });
            }
            stream.finish(&mut |event| {
                events += match event {
                    Event::Data(data) => data.len() as u64,
                    Event::Gap(len) | Event::Skipped(len) => len,
                };
                Want::Bytes
            });
            prop_assert_eq!(events, stream.next);
        }
    }
}
