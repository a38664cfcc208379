//! What the walk over a chunk counted.

use super::damage::{Damage, DamagePlace, Note, note};
use super::pcapng::MAX_COMMENTS;
use super::sections::text;
use crate::anomaly::AnomalyKind;
use crate::time::CaptureTime;

/// Counts of one walk over a chunk; [`CaptureFile::accept`](super::CaptureFile::accept)
/// adds them up in file order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walked {
    /// Where the first record stands: where the walk began, or the place that
    /// the search found. Equal to the chunk's end when it found none.
    pub start: u64,
    /// Where the next record stands: at or behind the chunk's end, or the end
    /// of the readable file. The next chunk is right if it started here.
    pub end: u64,
    /// Packets handed out.
    pub packets: u64,
    /// Their captured bytes (frame check sequences included).
    pub bytes_captured: u64,
    /// Their bytes on the wire.
    pub bytes_wire: u64,
    /// Packets shorter than on the wire.
    pub truncated: u64,
    /// Packets known to be lost to damage.
    pub lost: u64,
    /// Bytes that belong to no packet that was handed out, for damage.
    pub skipped: u64,
    /// First packet's time, in file order. Packets whose block states no time
    /// (pcapng simple packets) take no part in any of the times.
    pub ts_first: Option<CaptureTime>,
    /// Last packet's time, in file order.
    pub ts_last: Option<CaptureTime>,
    /// Earliest time.
    pub ts_min: Option<CaptureTime>,
    /// Latest time.
    pub ts_max: Option<CaptureTime>,
    /// Packets older than the one before, within this chunk. Also noted in
    /// `damage`, where [`CaptureFile::accept`](super::CaptureFile::accept)
    /// adds a step back from the chunk before.
    pub backward_steps: u64,
    /// Offset and number in the chunk of the first packet that has a time.
    pub first_timed: (u64, u64),
    /// Packets per interface, interfaces ascending.
    pub interfaces: Vec<(u32, u64)>,
    /// Comments on packets.
    pub comments: u64,
    /// The first of them: offset of the block, text.
    pub comment_texts: Vec<(u64, String)>,
    /// Damage, each kind once; places count packets from the chunk's first.
    pub damage: Vec<Damage>,
}

/// Collects a [`Walked`] with as little work per packet as possible.
pub(super) struct Tally {
    pub(super) walked: Walked,
    pub(super) end: u64,
    min: i64,
    max: i64,
    last: i64,
    timed: bool,
    interface: u32,
    interface_packets: u64,
}

impl Tally {
    pub(super) fn new(start: u64) -> Self {
        Self {
            walked: Walked {
                start,
                ..Walked::default()
            },
            end: start,
            min: i64::MAX,
            max: i64::MIN,
            last: i64::MIN,
            timed: false,
            interface: 0,
            interface_packets: 0,
        }
    }

    /// Number of the next packet in its chunk. A chunk is far smaller than
    /// 2^32 records of 16 bytes.
    #[inline]
    pub(super) fn index(&self) -> u32 {
        self.walked.packets as u32
    }

    /// Counts a packet with a time.
    #[inline]
    pub(super) fn count(
        &mut self,
        at: u64,
        ts: CaptureTime,
        captured: u32,
        wire: u32,
        interface: u32,
    ) {
        let nanos = ts.as_nanos();
        if nanos < self.last {
            self.step_back(at, ts);
        }
        if !self.timed {
            self.timed = true;
            self.walked.first_timed = (at, self.walked.packets);
            self.walked.ts_first = Some(ts);
        }
        self.last = nanos;
        self.min = self.min.min(nanos);
        self.max = self.max.max(nanos);
        self.count_untimed(captured, wire, interface);
    }

    /// Counts a packet whose time is unknown.
    #[inline]
    pub(super) fn count_untimed(&mut self, captured: u32, wire: u32, interface: u32) {
        self.walked.packets += 1;
        self.walked.bytes_captured += u64::from(captured);
        self.walked.bytes_wire += u64::from(wire);
        self.walked.truncated += u64::from(captured < wire);
        if interface != self.interface {
            self.change_interface(interface);
        }
        self.interface_packets += 1;
    }

    #[cold]
    fn step_back(&mut self, at: u64, ts: CaptureTime) {
        self.walked.backward_steps += 1;
        let place = DamagePlace {
            offset: at,
            packets_before: self.walked.packets,
            ts: Some(ts),
        };
        let before = CaptureTime::from_nanos(self.last);
        stepped_back(&mut self.walked.damage, place, before, ts);
    }

    #[cold]
    fn change_interface(&mut self, interface: u32) {
        let packets = std::mem::take(&mut self.interface_packets);
        add(&mut self.walked.interfaces, self.interface, packets);
        self.interface = interface;
    }

    #[cold]
    pub(super) fn comment(&mut self, at: u64, value: &[u8]) {
        self.walked.comments += 1;
        if self.walked.comment_texts.len() < MAX_COMMENTS {
            self.walked.comment_texts.push((at, text(value)));
        }
    }

    pub(super) fn note(&mut self, oddity: &Note) {
        let place = DamagePlace {
            offset: oddity.offset,
            packets_before: self.walked.packets,
            ts: oddity.ts,
        };
        note(&mut self.walked.damage, oddity.kind, place, || {
            oddity.detail.clone()
        });
    }

    pub(super) fn done(mut self) -> Walked {
        self.change_interface(0);
        if self.timed {
            self.walked.ts_last = Some(CaptureTime::from_nanos(self.last));
            self.walked.ts_min = Some(CaptureTime::from_nanos(self.min));
            self.walked.ts_max = Some(CaptureTime::from_nanos(self.max));
        }
        self.walked.end = self.end;
        self.walked
    }
}

/// Notes that `ts` is older than the packet `before`.
pub(super) fn stepped_back(
    list: &mut Vec<Damage>,
    place: DamagePlace,
    before: CaptureTime,
    ts: CaptureTime,
) {
    note(list, AnomalyKind::TimestampBackwards, place, || {
        format!("{} ns older than the packet before", before.nanos_since(ts))
    });
}

/// Adds to a list of counts that is sorted by interface.
pub(super) fn add(list: &mut Vec<(u32, u64)>, interface: u32, packets: u64) {
    if packets == 0 {
        return;
    }
    match list.binary_search_by_key(&interface, |&(known, _)| known) {
        Ok(index) => {
            if let Some((_, count)) = list.get_mut(index) {
                *count += packets;
            }
        }
        Err(index) => list.insert(index, (interface, packets)),
    }
}
