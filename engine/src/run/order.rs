//! Puts HTTP transactions, which come in the order in which they became whole,
//! into the order in which they began, and judges what takes several of them.
//!
//! As many wait as the limits allow, and which leave depends on their own
//! sequence alone: not on batches, chunks or threads.

use crate::control::ns03::behaviour::Behaviour;
use crate::finding::Gatherer;
use crate::policy::Policy;
use crate::table::{HttpRow, Row};
use std::collections::BTreeMap;

/// Heap bytes of transactions that wait.
const MAX_HEAP: usize = 16 << 20;

/// Transactions that wait for their turn.
#[derive(Debug, Default)]
pub(super) struct Ordering {
    behaviour: Behaviour,
    waiting: BTreeMap<(i64, u64), Box<HttpRow>>,
    heap: usize,
    taken: u64,
    /// Beginning of the latest transaction that had its turn.
    turn_ns: i64,
}

impl Ordering {
    /// Takes a transaction; `ready` hears of those whose turn it is.
    pub(super) fn push<E>(
        &mut self,
        policy: &Policy,
        gatherer: &mut Gatherer,
        row: HttpRow,
        mut ready: impl FnMut(HttpRow) -> Result<(), E>,
    ) -> Result<(), E> {
        self.taken += 1;
        self.heap += row.heap_bytes();
        let at = (row.tx.ts.as_nanos(), self.taken);
        self.waiting.insert(at, Box::new(row));
        while self.waiting.len() > policy.limits.http_ordered || self.heap > MAX_HEAP {
            let Some(row) = self.next(policy, gatherer) else {
                break;
            };
            ready(row)?;
        }
        Ok(())
    }

    /// The next in time, judged.
    pub(super) fn next(&mut self, policy: &Policy, gatherer: &mut Gatherer) -> Option<HttpRow> {
        let ((ts_ns, _), mut row) = self.waiting.pop_first()?;
        self.heap = self.heap.saturating_sub(row.heap_bytes());
        let late = ts_ns < self.turn_ns;
        self.turn_ns = self.turn_ns.max(ts_ns);
        if row.is_api {
            let seen = self.behaviour.observe(policy, &row.flow, &row.tx, late);
            gatherer.add_http(&row.flow, &row.tx, &seen.outcomes);
            row.rate_limit_should_deny = seen.should_deny;
            row.outcomes.extend(seen.outcomes);
        }
        Some(*row)
    }
}
