//! Finding the next record of a damaged pcap, and deciding what the damage
//! cost. Every answer is a function of the file's bytes and its header alone,
//! so that it does not depend on where a file was cut into chunks.
//!
//! A place is a record's start when a chain of records begins there: lengths
//! that lead from header to header, each header strict in itself, and clocks
//! that agree with their neighbours. The work is linear in the bytes looked
//! at: a search never looks twice at a place that an earlier one looked at.

use super::damage::{Detour, Keep, Note};
use super::pcap::{Header, MAX_RECORD, Record};
use super::view::{NeedMore, View};
use crate::anomaly::AnomalyKind;
use crate::time::NANOS_PER_SECOND;

/// Records in a row that make a chain (measured in performance.md section 6:
/// right at every place tried in ordinary captures).
const CHAIN: u32 = 8;
/// Records in a row that make a chain when the file ends inside the next.
const CHAIN_BEFORE_CUT: u32 = 3;
/// Seconds that the clocks of neighbours may differ.
pub(super) const NEIGHBOUR_SECONDS: u32 = 86_400;

/// A search that ran out of bytes: nothing begins before `from`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unfinished {
    pub(super) from: u64,
}

/// Why a detour cannot be decided yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Undecided {
    /// The record itself needs more bytes; ask again at the same place.
    Record,
    /// The record is decided (`so_far`); behind it, from `damage_at` on, a
    /// search looked up to `from` and found nothing yet.
    Behind {
        so_far: Box<Detour>,
        damage_at: u64,
        from: u64,
    },
}

impl From<NeedMore> for Undecided {
    fn from(_: NeedMore) -> Self {
        Self::Record
    }
}

impl Header {
    /// Whether a search may believe this header.
    fn strict(&self, record: &Record) -> bool {
        let longest = match self.snaplen {
            0 => MAX_RECORD,
            snaplen => snaplen.min(MAX_RECORD),
        };
        record.captured != 0
            && record.captured <= longest
            && record.captured <= record.original
            && record.original <= MAX_RECORD
            && record.fraction < NANOS_PER_SECOND as u32
    }

    /// The length that a record should have by its other fields.
    fn expected_len(&self, record: &Record) -> u32 {
        match self.snaplen {
            0 => record.original,
            snaplen => record.original.min(snaplen),
        }
    }
}

/// Whether a chain begins at `at`.
fn is_chain(view: &View<'_>, header: &Header, at: u64) -> Result<bool, NeedMore> {
    let mut place = at;
    let mut clock = None;
    for count in 0..CHAIN {
        if place == view.end() && !view.more {
            return Ok(count > 0);
        }
        if view.read(place, header.record_len as usize)?.is_none() {
            return Ok(count >= CHAIN_BEFORE_CUT);
        }
        let Some(record) = header.record(view, place) else {
            return Ok(false);
        };
        if !header.strict(&record) || !neighbours(clock, record.seconds) {
            return Ok(false);
        }
        clock = Some(record.seconds);
        place = after(header, place, &record);
        if place > view.end() {
            return if view.more {
                Err(NeedMore)
            } else {
                Ok(count >= CHAIN_BEFORE_CUT)
            };
        }
    }
    Ok(true)
}

fn neighbours(before: Option<u32>, seconds: u32) -> bool {
    before.is_none_or(|before| before.abs_diff(seconds) <= NEIGHBOUR_SECONDS)
}

fn after(header: &Header, at: u64, record: &Record) -> u64 {
    at.saturating_add(header.record_len())
        .saturating_add(u64::from(record.captured))
}

/// Whether a record leads to the end of the file or to a possible record.
#[cold]
pub(super) fn leads_on(
    view: &View<'_>,
    header: &Header,
    at: u64,
    record: &Record,
) -> Result<bool, NeedMore> {
    let next = after(header, at, record);
    if next == view.end() && !view.more {
        return Ok(true);
    }
    view.read(next, 16)?;
    Ok(header
        .record(view, next)
        .is_some_and(|following| header.possible(&following)))
}

/// The first place in `from..limit` at which a chain begins.
pub(super) fn search(
    view: &View<'_>,
    header: &Header,
    from: u64,
    limit: u64,
) -> Result<Option<u64>, Unfinished> {
    let mut at = from;
    while at < limit {
        let Some(record) = header.record(view, at) else {
            return if view.more {
                Err(Unfinished { from: at })
            } else {
                Ok(None)
            };
        };
        if header.strict(&record) {
            match is_chain(view, header, at) {
                Ok(true) => return Ok(Some(at)),
                Ok(false) => {}
                Err(NeedMore) => return Err(Unfinished { from: at }),
            }
        }
        at += 1;
    }
    Ok(None)
}

/// Whether records hide in `from..next`, inside a record that claims to end at
/// `next`: the first place of a chain that leads over `next` and on. A capture
/// that merely travels inside the record leads nowhere behind its end.
fn hidden(
    view: &View<'_>,
    header: &Header,
    from: u64,
    next: u64,
    to_the_end: bool,
) -> Result<Option<u64>, NeedMore> {
    let mut from = from;
    while from < next {
        let Some(found) = search(view, header, from, next).map_err(|_| NeedMore)? else {
            return Ok(None);
        };
        let mut at = found;
        let mut clock = None;
        let broken = loop {
            if at == view.end() && !view.more {
                return Ok(Some(found));
            }
            view.read(at, header.record_len as usize)?;
            let sound = header.record(view, at).filter(|record| {
                header.strict(record)
                    && neighbours(clock, record.seconds)
                    && (view.more || after(header, at, record) <= view.end())
            });
            let Some(record) = sound else {
                break at;
            };
            if at >= next && !to_the_end {
                return Ok(Some(found));
            }
            clock = Some(record.seconds);
            at = after(header, at, &record);
        };
        from = broken.max(found) + 1;
    }
    Ok(None)
}

/// Decides how a walk goes on that left the straight path at `at`, where
/// `record` stands (`None`: no possible header is there).
pub(super) fn detour(
    view: &View<'_>,
    header: &Header,
    at: u64,
    record: Option<Record>,
) -> Result<Detour, Undecided> {
    let Some(record) = record else {
        return behind(view, header, Detour::new(at, at), at);
    };
    let next = after(header, at, &record);
    let ts = Some(header.time(&record));
    if next > view.end() {
        if view.more {
            return Err(Undecided::Record);
        }
        return Ok(match hidden(view, header, at + 1, view.end(), true)? {
            Some(found) => liar(header, at, &record, found),
            None => {
                let left = view.end().saturating_sub(at);
                Detour {
                    keep_note: Some(Note {
                        kind: AnomalyKind::CaptureTruncated,
                        offset: at,
                        ts,
                        detail: format!(
                            "the last record needs {} bytes, {left} are left",
                            next - at
                        ),
                    }),
                    lost: 1,
                    skipped: left,
                    ..Detour::new(at, view.end())
                }
            }
        });
    }
    let whole = Detour {
        keep: Keep::Whole,
        ..Detour::new(at, next)
    };
    if next == view.end() && !view.more {
        return Ok(whole);
    }
    view.read(next, 16)?;
    if let Some(following) = header.record(view, next).filter(|it| header.possible(it))
        && (header.follows(view, &record, next, &following)
            || leads_on(view, header, next, &following)?)
    {
        // Asked about a sound place: nothing to decide.
        return Ok(whole);
    }
    if let Some(found) = hidden(view, header, at + 1, next, false)? {
        return Ok(liar(header, at, &record, found));
    }
    let mut so_far = whole;
    so_far.then_note = Some(Note {
        kind: AnomalyKind::CaptureResync,
        offset: next,
        ts,
        detail: String::new(),
    });
    behind(view, header, so_far, next)
}

/// A record whose length lies: the next one was found at `found`, inside it.
fn liar(header: &Header, at: u64, record: &Record, found: u64) -> Detour {
    let data_at = at + header.record_len();
    let mut detour = Detour::new(at, found);
    let Some(len) = found.checked_sub(data_at) else {
        // The next record begins inside this one's header: this is none.
        detour.lost = 1;
        detour.skipped = found - at;
        detour.keep_note = Some(Note {
            kind: AnomalyKind::CaptureResync,
            offset: at,
            ts: Some(header.time(record)),
            detail: format!(
                "{} bytes are no record; the next one was found behind them",
                found - at
            ),
        });
        return detour;
    };
    // Its true length is known when the original length says the same. Where
    // both lengths agree on more, bytes are missing from the file: what is
    // there is the packet's beginning.
    let fits = u64::from(header.expected_len(record)) == len
        || (record.captured <= record.original && len <= u64::from(record.captured));
    detour.keep_note = Some(Note {
        kind: AnomalyKind::RecordLengthLies,
        offset: at,
        ts: Some(header.time(record)),
        detail: format!(
            "the record claims {} bytes, the next one begins after {len}",
            record.captured
        ),
    });
    match u32::try_from(len) {
        Ok(len) if fits => detour.keep = Keep::Cut(len),
        _ => {
            detour.lost = 1;
            detour.skipped = found - at;
        }
    }
    detour
}

/// Goes on behind a damaged place: no record that could be trusted begins at
/// `damage_at` itself.
fn behind(
    view: &View<'_>,
    header: &Header,
    so_far: Detour,
    damage_at: u64,
) -> Result<Detour, Undecided> {
    resume(view, header, so_far, damage_at, damage_at + 1)
}

/// Goes on with a search that has looked up to `from`.
pub(super) fn resume(
    view: &View<'_>,
    header: &Header,
    so_far: Detour,
    damage_at: u64,
    from: u64,
) -> Result<Detour, Undecided> {
    let found = match search(view, header, from, u64::MAX) {
        Ok(found) => found,
        Err(Unfinished { from }) => {
            return Err(Undecided::Behind {
                so_far: Box::new(so_far),
                damage_at,
                from,
            });
        }
    };
    let mut detour = so_far;
    let ts = detour.then_note.as_ref().and_then(|note| note.ts);
    let until = found.unwrap_or(view.end());
    let skipped = until.saturating_sub(damage_at);
    detour.resume = until;
    let note = |kind, detail| {
        Some(Note {
            kind,
            offset: damage_at,
            ts,
            detail,
        })
    };
    // A header that is impossible only for its captured length is repaired
    // when the other length leads exactly to the record that was found.
    let repaired = header.record(view, damage_at).and_then(|record| {
        let len = header.expected_len(&record);
        let data_at = damage_at + header.record_len();
        (found.is_some()
            && header.strict(&Record {
                captured: len,
                ..record
            })
            && data_at + u64::from(len) == until)
            .then_some((len, record.captured))
    });
    if let Some((len, claimed)) = repaired {
        detour.repaired = Some((damage_at, len));
        detour.then_note = note(
            AnomalyKind::RecordLengthLies,
            format!("the record claims {claimed} bytes, the next one begins after {len}"),
        );
        return Ok(detour);
    }
    detour.skipped = detour.skipped.saturating_add(skipped);
    detour.lost += 1;
    detour.then_note = if found.is_some() {
        note(
            AnomalyKind::CaptureResync,
            format!("{skipped} bytes are no record; the next one was found behind them"),
        )
    } else if skipped < header.record_len() {
        note(
            AnomalyKind::CaptureTruncated,
            format!("the file ends {skipped} bytes into a record's header"),
        )
    } else {
        note(
            AnomalyKind::CaptureResync,
            format!("{skipped} bytes are no record, up to the end of the file"),
        )
    };
    Ok(detour)
}
