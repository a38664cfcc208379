//! The beginning of each direction of a flow that nobody encrypts by design,
//! measured by the entropy of its bytes.

use super::detect::MAX_UNKNOWN;
use super::{Inner, Phase};
use crate::proto::Direction;
use crate::proto::measure::Histogram;
use crate::proto::plain::PlaintextFacts;

/// Bytes at the beginning of each direction's stream whose entropy is measured:
/// enough that random bytes reach .99, and what is always there to be read of a
/// stream that nobody knows.
pub(super) const SAMPLE: u64 = MAX_UNKNOWN;

/// The beginning of each direction, counted by its bytes.
#[derive(Debug, Default)]
pub(super) struct Sample {
    /// Bytes of each stream so far, whether or not they were there to count.
    pub(super) passed: [u64; 2],
    pub(super) histograms: [Option<Histogram>; 2],
    /// Something here is encrypted by design: nothing is measured.
    pub(super) off: bool,
}

impl Inner {
    /// Whether what was recognised is not to be measured.
    pub(super) fn is_unmeasured(&self) -> bool {
        match &self.phase {
            Phase::Tls { .. } | Phase::Quic(_) | Phase::Dtls(_) => true,
            Phase::Plain { encrypted, .. } => {
                // HTTP is measured by its bodies.
                let is_left_out = |facts: &PlaintextFacts| {
                    facts.infrastructure || facts.encrypted || facts.protocol == "http"
                };
                *encrypted || self.facts.as_deref().is_some_and(is_left_out)
            }
            Phase::Detecting(_) | Phase::Opaque => false,
        }
    }

    pub(super) fn take_sample(&mut self, direction: Direction, bytes: &[u8]) {
        if self.sample.off {
            return;
        }
        if self.is_unmeasured() {
            self.sample = Sample {
                off: true,
                ..Sample::default()
            };
            return;
        }
        let side = direction.index();
        let room = SAMPLE.saturating_sub(self.sample.passed[side]);
        self.sampled(direction, bytes.len() as u64);
        let there = usize::try_from(room).map_or(bytes.len(), |room| room.min(bytes.len()));
        if there > 0 {
            let histogram = &mut self.sample.histograms[side];
            histogram
                .get_or_insert_with(|| Histogram::of_first(SAMPLE))
                .push(bytes.get(..there).unwrap_or_default());
        }
    }

    /// So many bytes of a direction's stream have passed.
    pub(super) fn sampled(&mut self, direction: Direction, len: u64) {
        let passed = &mut self.sample.passed[direction.index()];
        *passed = passed.saturating_add(len);
    }
}
