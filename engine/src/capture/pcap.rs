//! The pcap file format (draft-ietf-opsawg-pcap): file header, and the walk
//! over its records. How a walk goes on behind damage is in `resync`.
//!
//! The walk looks at a record's header only once the one before has been found
//! sound, and hands a record out only once the header behind it looks like
//! one: that is how a lying length is noticed before it swallows its
//! successors.

use super::damage::{Detour, Keep, Note};
use super::map::prefetch;
use super::resync;
use super::view::View;
use super::walk::{Tally, Walked};
use super::{CaptureSummary, InterfaceSummary, LinkType, Packet};
use crate::time::{CaptureTime, NANOS_PER_SECOND};

/// Longest record that other tools accept (libpcap's and Wireshark's limit).
pub(super) const MAX_RECORD: u32 = 262_144;
/// A file may declare a longer snapshot length; it is believed up to this.
const MAX_SNAPLEN: u32 = 4 << 20;
/// Longest packet on the wire that is believed.
const MAX_WIRE: u32 = 256 << 20;
/// How far ahead of the walk the processor is asked to load: covers a memory
/// access at the pace of a walk over small records.
const PREFETCH: usize = 8 << 10;
/// Records from this size on are looked for where the next ones stand if they
/// are as long as this one, as those of a bulk transfer are: a fixed distance
/// would meet their payload.
const LARGE_RECORD: usize = 256;
/// How many of them ahead.
const RECORDS_AHEAD: usize = 6;
/// The processor's cache line.
const LINE: usize = 64;

/// In which order a record states its two lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lengths {
    /// Captured, then original: version 2.4 and nearly every file.
    CapturedFirst,
    /// Original, then captured: before version 2.3, and 543.0.
    OriginalFirst,
    /// Either: version 2.3. The smaller one is the captured length.
    Sorted,
}

/// A pcap file's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) big_endian: bool,
    pub(super) nanos: bool,
    /// Bytes of the file header.
    pub(super) len: usize,
    /// Bytes of a record's header.
    pub(super) record_len: u32,
    pub(super) snaplen: u32,
    pub(super) link: LinkType,
    /// Bytes of frame check sequence at the end of each packet.
    pub(super) fcs: u32,
    /// Longest record that is believed.
    pub(super) max_record: u32,
    lengths: Lengths,
}

/// A record's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) seconds: u32,
    pub(super) fraction: u32,
    pub(super) captured: u32,
    pub(super) original: u32,
}

/// The known magic numbers, as the bytes of a little-endian file read:
/// magic, nanoseconds, file header, record header.
const MAGICS: [(u32, bool, usize, u32); 5] = [
    (0xa1b2_c3d4, false, 24, 16),
    (0xa1b2_3c4d, true, 24, 16),
    // Kuznetzov's Linux patches: interface, protocol and packet type follow.
    (0xa1b2_cd34, false, 24, 24),
    // Ixia's hardware and software captures: nanoseconds, and a 32-bit length
    // of all records behind the file header.
    (0x1c00_01ac, true, 28, 16),
    (0x1c00_01ab, true, 28, 16),
];

impl Header {
    /// Reads a file header; `None` when the magic is not one of pcap's.
    /// `Some(Err)` when the rest is missing or of an unknown kind.
    pub(super) fn parse(start: &[u8]) -> Option<Result<Self, String>> {
        let magic = *start.first_chunk::<4>()?;
        let (big_endian, (_, nanos, len, record_len)) = MAGICS.iter().find_map(|known| {
            let (value, ..) = *known;
            (value == u32::from_le_bytes(magic))
                .then_some((false, *known))
                .or_else(|| (value == u32::from_be_bytes(magic)).then_some((true, *known)))
        })?;
        let view = View::whole(start);
        let half = |offset| {
            let bytes = *view.array::<2>(offset)?;
            Some(if big_endian {
                u16::from_be_bytes(bytes)
            } else {
                u16::from_le_bytes(bytes)
            })
        };
        let word = |offset| view.u32(offset, big_endian);
        let (Some(major), Some(minor), Some(snaplen), Some(network), Some(_)) =
            (half(4), half(6), word(16), word(20), start.get(..len))
        else {
            return Some(Err(format!(
                "the pcap file header ends after {} of {len} bytes",
                start.len()
            )));
        };
        let lengths = match (major, minor) {
            (543, 0) => Lengths::OriginalFirst,
            (2, 0..=2) => Lengths::OriginalFirst,
            (2, 3) => Lengths::Sorted,
            _ => Lengths::CapturedFirst,
        };
        // The link type is the low 16 bits; above it, bit 26 says that bits 28
        // to 31 give the frame check sequence's length in 16-bit words
        // (draft-ietf-opsawg-pcap, section 4).
        let fcs = if network & 0x0400_0000 != 0 {
            (network >> 28) * 2
        } else {
            0
        };
        Some(Ok(Self {
            big_endian,
            nanos,
            len,
            record_len,
            snaplen,
            link: LinkType((network & 0xffff) as u16),
            fcs,
            max_record: snaplen.clamp(MAX_RECORD, MAX_SNAPLEN),
            lengths,
        }))
    }

    /// Fills in what the file header says.
    pub(super) fn describe(&self, summary: &mut CaptureSummary) {
        let resolution = if self.nanos { 9 } else { 6 };
        summary.link_types = vec![self.link.0];
        summary.snaplen = (self.snaplen != 0).then_some(self.snaplen);
        summary.ts_precision = if self.nanos { "ns" } else { "us" }.to_owned();
        summary.interfaces = vec![InterfaceSummary {
            link_type: self.link.0,
            snaplen: self.snaplen,
            ts_resolution: format!("10^-{resolution}"),
            packets: summary.packets,
            ..InterfaceSummary::default()
        }];
    }

    /// Bytes of a record's header, for offsets.
    pub(super) fn record_len(&self) -> u64 {
        u64::from(self.record_len)
    }

    /// The header at `offset`, if it is at hand.
    #[inline]
    pub(super) fn record(&self, view: &View<'_>, offset: u64) -> Option<Record> {
        Some(self.decode(view.array::<16>(offset)?))
    }

    #[inline]
    fn decode(&self, bytes: &[u8; 16]) -> Record {
        let [a, b, c, d] = words(bytes).map(|word| {
            if self.big_endian {
                u32::from_be_bytes(word)
            } else {
                u32::from_le_bytes(word)
            }
        });
        let (captured, original) = match self.lengths {
            Lengths::CapturedFirst => (c, d),
            Lengths::OriginalFirst => (d, c),
            Lengths::Sorted => (c.min(d), c.max(d)),
        };
        Record {
            seconds: a,
            fraction: b,
            captured,
            original,
        }
    }

    /// Whether this can be a record's header at all. Honest files hold empty
    /// records and ones longer than their original length, so neither counts
    /// against it; sixteen zero bytes are a hole, not a record.
    #[inline]
    pub(super) fn possible(&self, record: &Record) -> bool {
        record.captured <= self.max_record
            && record.fraction < NANOS_PER_SECOND as u32
            && record.original <= MAX_WIRE
            && (record.seconds | record.fraction | record.captured | record.original) != 0
    }

    /// Whether `following`, at `next`, can be the record behind `record`. One
    /// that looks unlike its neighbour (as a header read a byte too early or
    /// too late does) must itself lead to a possible record.
    #[inline]
    pub(super) fn follows(
        &self,
        view: &View<'_>,
        record: &Record,
        next: u64,
        following: &Record,
    ) -> bool {
        self.possible(following)
            && ((following.captured <= following.original
                && following.seconds.abs_diff(record.seconds) <= resync::NEIGHBOUR_SECONDS)
                || resync::leads_on(view, self, next, following) == Ok(true))
    }

    /// The record's time.
    #[inline]
    pub(super) fn time(&self, record: &Record) -> CaptureTime {
        let scale = if self.nanos { 1 } else { 1_000 };
        // At most 2^32 * 10^9 + 2^32 * 10^3: fits.
        CaptureTime::from_nanos(
            i64::from(record.seconds) * NANOS_PER_SECOND + i64::from(record.fraction) * scale,
        )
    }
}

#[inline]
fn words(bytes: &[u8; 16]) -> [[u8; 4]; 4] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *bytes;
    [[a, b, c, d], [e, f, g, h], [i, j, k, l], [m, n, o, p]]
}

/// Walks the records that begin in `start..end`. `plan` holds the detours
/// where they were decided ahead (streams); without one they are decided here.
pub(super) fn walk<'a, F: FnMut(Packet<'a>)>(
    view: View<'a>,
    header: &Header,
    start: u64,
    end: u64,
    plan: Option<&[Detour]>,
    shrunk: &dyn Fn() -> Option<u64>,
    sink: F,
) -> Walked {
    let mut walk = Walk {
        view,
        header,
        plan,
        shrunk,
        tally: Tally::new(start),
        sink,
    };
    walk.run(start, end);
    walk.tally.done()
}

struct Walk<'a, 'h, F> {
    view: View<'a>,
    header: &'h Header,
    plan: Option<&'h [Detour]>,
    /// Asks whether the file is shorter than it was, and where it ends now.
    shrunk: &'h dyn Fn() -> Option<u64>,
    tally: Tally,
    sink: F,
}

impl<'a, F: FnMut(Packet<'a>)> Walk<'a, '_, F> {
    fn run(&mut self, start: u64, end: u64) {
        let mut at = start;
        self.tally.end = at;
        'again: while at < end && (at < self.view.end() || self.planned(at).is_some()) {
            let Some(mut record) = self
                .header
                .record(&self.view, at)
                .filter(|record| self.header.possible(record))
            else {
                at = self.leave(at, None);
                continue;
            };
            // The straight path: a sound record, and a possible one behind it.
            loop {
                let data_at = at + self.header.record_len();
                let next = data_at + u64::from(record.captured);
                let following = match self.header.record(&self.view, next) {
                    Some(following)
                        if self.header.follows(&self.view, &record, next, &following) =>
                    {
                        following
                    }
                    _ => {
                        at = self.leave(at, Some(record));
                        continue 'again;
                    }
                };
                if let Some(index) = self.view.index(next) {
                    let bytes = self.view.bytes;
                    let len = (record.captured + self.header.record_len) as usize;
                    if len < LARGE_RECORD {
                        prefetch(bytes, index.saturating_add(PREFETCH));
                    } else {
                        // The record's header and the packet's.
                        let ahead = index.saturating_add(len.saturating_mul(RECORDS_AHEAD));
                        prefetch(bytes, ahead);
                        prefetch(bytes, ahead.saturating_add(LINE));
                    }
                }
                self.emit(at, &record, record.captured);
                at = next;
                record = following;
                if at >= end {
                    break;
                }
            }
        }
        self.tally.end = at;
    }

    fn planned(&self, at: u64) -> Option<&Detour> {
        let plan = self.plan?;
        let index = plan.binary_search_by_key(&at, |detour| detour.at).ok()?;
        plan.get(index)
    }

    /// Leaves the straight path at `at`; gives where the next record stands.
    #[cold]
    fn leave(&mut self, at: u64, record: Option<Record>) -> u64 {
        let detour = match self.plan {
            // A plan holds every place that is not straight; what it does not
            // hold is a chunk cut short, which cannot be walked further.
            Some(_) => match self.planned(at) {
                Some(detour) => detour.clone(),
                None => Detour::new(at, self.view.end().max(at + 1)),
            },
            None => {
                if let Some(now) = (self.shrunk)() {
                    let keep = self.view.index(now).unwrap_or(0);
                    let bytes = self.view.bytes;
                    self.view.bytes = bytes.get(..keep).unwrap_or(bytes);
                    if at >= now {
                        return now.max(at);
                    }
                }
                // Nothing lies behind the view of a whole file, so the
                // question is always answered.
                match resync::detour(&self.view, self.header, at, record) {
                    Ok(detour) => detour,
                    Err(_) => Detour::new(at, self.view.end()),
                }
            }
        };
        self.follow(&detour, record);
        detour.resume.max(at + 1)
    }

    fn follow(&mut self, detour: &Detour, record: Option<Record>) {
        self.note(detour.keep_note.as_ref());
        match (detour.keep, record) {
            (Keep::Whole, Some(record)) => self.emit(detour.at, &record, record.captured),
            (Keep::Cut(len), Some(record)) => self.emit(detour.at, &record, len),
            _ => {}
        }
        self.note(detour.then_note.as_ref());
        if let Some((at, len)) = detour.repaired
            && let Some(record) = self.header.record(&self.view, at)
        {
            self.emit(at, &record, len);
        }
        self.tally.walked.lost += detour.lost;
        self.tally.walked.skipped += detour.skipped;
    }

    fn note(&mut self, note: Option<&Note>) {
        if let Some(note) = note {
            self.tally.note(note);
        }
    }

    #[inline]
    fn emit(&mut self, at: u64, record: &Record, captured: u32) {
        let data_offset = at + self.header.record_len();
        let Some(data) = self.view.get(data_offset, captured as usize) else {
            return;
        };
        let wire_len = record.original.max(captured);
        let data = if self.header.fcs == 0 {
            data
        } else {
            let without = wire_len.saturating_sub(self.header.fcs).min(captured);
            data.get(..without as usize).unwrap_or(data)
        };
        let packet = Packet {
            ts: self.header.time(record),
            link: self.header.link,
            interface: 0,
            index: self.tally.index(),
            record_offset: at,
            data_offset,
            wire_len,
            data,
        };
        self.tally.count(at, packet.ts, captured, wire_len, 0);
        (self.sink)(packet);
    }
}
