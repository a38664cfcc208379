//! What detectors share: subjects by key, as many as the policy lets each keep,
//! and the count of the rows that came when there was no room.

use super::{Columns, Judgement};
use crate::policy::Policy;
use foldhash::quality::RandomState;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use std::hash::Hash;

/// Subjects by key, at most `limits.behaviour_subjects` of them.
#[derive(Debug)]
pub(super) struct Subjects<K, V> {
    pub(super) map: HashMap<K, V, RandomState>,
    most: usize,
    /// Rows of subjects beyond the limit.
    pub(super) left_out: u64,
}

impl<K, V> Default for Subjects<K, V> {
    /// Has room for none.
    fn default() -> Self {
        Self {
            map: HashMap::default(),
            most: 0,
            left_out: 0,
        }
    }
}

impl<K: Eq + Hash, V> Subjects<K, V> {
    pub(super) fn new(policy: &Policy) -> Self {
        Self {
            most: policy.limits.behaviour_subjects,
            ..Self::default()
        }
    }

    /// Room for a part of the limit alone: for what is large, and wanted of few.
    pub(super) fn a_share(policy: &Policy, of: usize) -> Self {
        Self {
            most: (policy.limits.behaviour_subjects / of).max(1),
            ..Self::default()
        }
    }

    /// Forgets all of them, and what was left out.
    pub(super) fn clear(&mut self) {
        self.map = HashMap::default();
        self.left_out = 0;
    }

    /// The subject of a row, a fresh one where it is new; `None`, which is
    /// counted, where there is no room for another one.
    pub(super) fn entry(&mut self, key: K, fresh: impl FnOnce() -> V) -> Option<&mut V> {
        let is_full = self.map.len() >= self.most;
        match self.map.entry(key) {
            Entry::Occupied(known) => Some(known.into_mut()),
            Entry::Vacant(_) if is_full => {
                self.left_out += 1;
                None
            }
            Entry::Vacant(place) => Some(place.insert(fresh())),
        }
    }
}

/// Says that the limit was reached, if it was: so many rows of `what` were left out.
pub(super) fn say_left_out(judgement: &mut Judgement, left_out: u64, what: &str) {
    if left_out > 0 {
        let limit = format!("limits.behaviour_subjects: {left_out} {what}");
        judgement.limits.push(limit);
    }
}

/// Rows that all trails of one detector hold together, once it knows how many
/// findings there will be.
const TRAIL_ROWS: usize = 2 << 20;

/// Rows kept of each of so many findings.
pub(super) fn trail_room(findings: usize) -> usize {
    (TRAIL_ROWS / findings.max(1)).clamp(super::MAX_PACKETS, super::MAX_FLOWS)
}

/// What a detector of one pass asks for: `columns`, and nothing the second time.
pub(super) fn once(is_fed: &mut bool, columns: &'static [Columns]) -> &'static [Columns] {
    if std::mem::replace(is_fed, true) {
        return &[];
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_counted_and_said() {
        let policy = Policy::from_yaml("limits:\n  behaviour_subjects: 2\n", "test").unwrap();
        let mut subjects: Subjects<u8, u32> = Subjects::new(&policy);
        for key in [1, 2, 3, 1, 4] {
            if let Some(count) = subjects.entry(key, || 0) {
                *count += 1;
            }
        }
        assert_eq!((subjects.map[&1], subjects.map[&2]), (2, 1));
        assert_eq!((subjects.map.len(), subjects.left_out), (2, 2));
        let mut judgement = Judgement::default();
        say_left_out(&mut judgement, 0, "rows");
        say_left_out(&mut judgement, subjects.left_out, "rows were left out");
        let said = "limits.behaviour_subjects: 2 rows were left out";
        assert_eq!(judgement.limits, [said]);
    }
}
