//! What a walk lost and where: folded by kind, so that the notes stay few and
//! are the same however the file was cut.

use crate::anomaly::AnomalyKind;
use crate::time::CaptureTime;

/// One place in a file, as a walk knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DamagePlace {
    /// Byte offset in the (decompressed) file.
    pub offset: u64,
    /// Packets before it: in its chunk while in a [`Walked`](super::Walked),
    /// in its file once accepted.
    pub packets_before: u64,
    /// Time of the damaged record, or of the one before it; `None` if unknown.
    pub ts: Option<CaptureTime>,
}

/// Damage of one kind, repeats folded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// What kind.
    pub kind: AnomalyKind,
    /// How often.
    pub count: u64,
    /// The first place.
    pub first: DamagePlace,
    /// The last place.
    pub last: DamagePlace,
    /// What was wrong at the first place, in words.
    pub detail: String,
}

/// Adds one oddity to a list that holds each kind once.
pub(super) fn note(
    list: &mut Vec<Damage>,
    kind: AnomalyKind,
    place: DamagePlace,
    detail: impl FnOnce() -> String,
) {
    if let Some(known) = list.iter_mut().find(|known| known.kind == kind) {
        known.count = known.count.saturating_add(1);
        known.last = place;
        return;
    }
    list.push(Damage {
        kind,
        count: 1,
        first: place,
        last: place,
        detail: detail(),
    });
}

/// Appends what a later chunk noted; `packets_before` counts the packets of
/// the chunks before it.
pub(super) fn append(list: &mut Vec<Damage>, later: &[Damage], packets_before: u64) {
    for damage in later {
        let mut damage = damage.clone();
        for place in [&mut damage.first, &mut damage.last] {
            place.packets_before = place.packets_before.saturating_add(packets_before);
        }
        match list.iter_mut().find(|known| known.kind == damage.kind) {
            Some(known) => {
                known.count = known.count.saturating_add(damage.count);
                known.last = damage.last;
            }
            None => list.push(damage),
        }
    }
}

/// One oddity that was decided on before its packets are handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) kind: AnomalyKind,
    pub(super) offset: u64,
    pub(super) ts: Option<CaptureTime>,
    pub(super) detail: String,
}

/// What to do with the record at which a walk left the straight path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// There is no such record.
    Nothing,
    /// It is whole.
    Whole,
    /// Its length lied; it has this many bytes.
    Cut(u32),
}

/// How a walk goes on where the next record does not simply follow. Decided
/// once per place, from the file's bytes alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Detour {
    /// Where the walk left the straight path.
    pub(super) at: u64,
    /// What that record is worth, and what was odd about it.
    pub(super) keep: Keep,
    pub(super) keep_note: Option<Note>,
    /// What was odd behind it.
    pub(super) then_note: Option<Note>,
    /// A record behind it whose length was repaired: offset and true length.
    pub(super) repaired: Option<(u64, u32)>,
    /// Records known to be lost.
    pub(super) lost: u64,
    /// Bytes that belong to no record that was kept.
    pub(super) skipped: u64,
    /// Where the next record stands, or the end of the file.
    pub(super) resume: u64,
}

impl Detour {
    /// Nothing to keep, nothing wrong yet, going on at `resume`.
    pub(super) fn new(at: u64, resume: u64) -> Self {
        Self {
            at,
            keep: Keep::Nothing,
            keep_note: None,
            then_note: None,
            repaired: None,
            lost: 0,
            skipped: 0,
            resume,
        }
    }
}
