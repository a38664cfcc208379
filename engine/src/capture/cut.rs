//! Cutting a streamed pcap into chunks: a serial walk over the headers of what
//! is at hand, deciding every detour, so that chunks need no bytes beyond
//! their buffer.

use super::damage::{Detour, Keep};
use super::pcap::{Header, MAX_RECORD};
use super::resync::{self, Undecided};
use super::stream::{Cut, CutChunk};
use super::view::View;

/// Where a streamed pcap's cutter stands.
#[derive(Debug)]
pub(super) struct PcapCutter {
    at: u64,
    /// A search that is still looking: what is decided so far, where the
    /// damage begins, and where the search goes on.
    searching: Option<(Detour, u64)>,
}

impl PcapCutter {
    pub(super) fn new(at: u64) -> Self {
        Self {
            at,
            searching: None,
        }
    }

    pub(super) fn cut(&mut self, view: &View<'_>, header: &Header, chunk_bytes: u64) -> Cut {
        let mut pieces = Pieces::new(self.at, chunk_bytes);
        if let Some((so_far, from)) = self.searching.take() {
            let damage_at = so_far.at;
            match resync::resume(view, header, so_far, damage_at, from) {
                Ok(detour) => self.at = pieces.detour(detour),
                Err(undecided) => return self.wait(undecided, pieces, header),
            }
        }
        loop {
            pieces.reach(self.at);
            if self.at >= view.end() && !view.more {
                break;
            }
            let record = header.record(view, self.at);
            if record.is_none() && view.more {
                break;
            }
            let record = record.filter(|record| header.possible(record));
            if let Some(record) = &record {
                let next = self.at + header.record_len() + u64::from(record.captured);
                if header
                    .record(view, next)
                    .is_some_and(|following| header.follows(view, record, next, &following))
                {
                    self.at = next;
                    continue;
                }
            }
            match resync::detour(view, header, self.at, record) {
                Ok(detour) => self.at = pieces.detour(detour),
                Err(undecided) => return self.wait(undecided, pieces, header),
            }
        }
        pieces.end(self.at, self.at)
    }

    /// Ends the cut at a place that needs more bytes.
    fn wait(&mut self, undecided: Undecided, mut pieces: Pieces, header: &Header) -> Cut {
        let Undecided::Behind {
            so_far,
            damage_at,
            from,
        } = undecided
        else {
            return pieces.end(self.at, self.at);
        };
        let mut later = Detour::new(damage_at, damage_at);
        later.then_note.clone_from(&so_far.then_note);
        if so_far.keep != Keep::Nothing || so_far.keep_note.is_some() {
            pieces.detour(Detour {
                then_note: None,
                resume: damage_at,
                ..*so_far
            });
        }
        self.at = damage_at;
        self.searching = Some((later, from));
        // The damaged record may yet be repaired, if the next one is found
        // within the longest length a search believes.
        let repairable = damage_at + header.record_len() + u64::from(MAX_RECORD);
        let keep_from = if from <= repairable { damage_at } else { from };
        pieces.end(damage_at, keep_from)
    }
}

/// Collects chunks of about the wanted size.
pub(super) struct Pieces {
    start: u64,
    size: u64,
    plan: Vec<Detour>,
    done: Vec<CutChunk>,
}

impl Pieces {
    pub(super) fn new(start: u64, size: u64) -> Self {
        Self {
            start,
            size: size.max(1),
            plan: Vec::new(),
            done: Vec::new(),
        }
    }

    /// Adds a detour; gives where the walk goes on.
    pub(super) fn detour(&mut self, detour: Detour) -> u64 {
        let resume = detour.resume.max(detour.at.saturating_add(1));
        self.plan.push(detour);
        resume
    }

    /// Says that a record begins at `at`, behind all that was added. Gives
    /// whether a chunk ended there.
    pub(super) fn reach(&mut self, at: u64) -> bool {
        let full = at.saturating_sub(self.start) >= self.size;
        if full {
            self.close(at);
        }
        full
    }

    pub(super) fn count(&self) -> usize {
        self.done.len()
    }

    fn close(&mut self, at: u64) {
        if at > self.start {
            self.done.push(CutChunk {
                start: self.start,
                end: at,
                plan: std::mem::take(&mut self.plan).into(),
            });
            self.start = at;
        }
    }

    /// Ends the last chunk at `at`.
    pub(super) fn end(mut self, at: u64, keep_from: u64) -> Cut {
        self.close(at);
        Cut {
            chunks: self.done,
            keep_from,
        }
    }
}
