//! Which flows end before their time is told by their packets: what has been
//! idle for too long on the packet clock, and what has to go for the memory budget.

use super::{Content, Place, Shard};
use crate::anomaly::AnomalyKind;
use crate::flow::record::EndReason;
use crate::policy::Limits;
use crate::time::CaptureTime;

/// Idle flows wait in one queue per class; each class has its own time-out,
/// and budgets evict from the first class to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// A TCP attempt without an answer.
    Attempt,
    /// A TCP connection that is over.
    Closing,
    Icmp,
    Datagram,
    Established,
}

pub(super) const CLASSES: usize = 5;

/// A flow's place in the queue of its class. Stale when the flow has moved on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) slot: u32,
    pub(super) generation: u32,
    pub(super) since_ns: i64,
}

impl<C: Content> Shard<C> {
    /// Ends what has been idle for too long, by the packet clock. A single
    /// packet with a wild time stamp must not end everything, so the clock is
    /// the earlier one of the last two packets.
    pub(super) fn expire(&mut self, limits: &Limits, ts_ns: i64, place: Place) {
        let now = ts_ns.min(self.previous_ts_ns.unwrap_or(ts_ns));
        self.previous_ts_ns = Some(ts_ns);
        self.clock_ns = now;
        for class in 0..CLASSES {
            let timeout = self.timeouts_ns[class];
            while let Some(&waiting) = self.queues[class].front() {
                if now.saturating_sub(waiting.since_ns) <= timeout {
                    break;
                }
                self.queues[class].pop_front();
                let Some(flow) = self.flow(waiting.slot) else {
                    continue;
                };
                if flow.generation != waiting.generation || flow.class as usize != class {
                    continue;
                }
                let last_ts_ns = flow.last_ts_ns;
                if now.saturating_sub(last_ts_ns) > timeout {
                    let reason = flow.end_reason(EndReason::Timeout);
                    self.end(limits, waiting.slot, reason, place);
                } else {
                    self.queues[class].push_back(Waiting {
                        since_ns: tamed(last_ts_ns, now, timeout),
                        ..waiting
                    });
                }
            }
        }
    }

    /// Puts a flow into a queue. Entries of flows that have moved on are thrown
    /// out before they outnumber the flows: a queue costs no more than its flows.
    pub(super) fn wait(&mut self, class: Class, waiting: Waiting) {
        let flows = &self.flows;
        let queue = &mut self.queues[class as usize];
        let waiting = Waiting {
            since_ns: tamed(
                waiting.since_ns,
                self.clock_ns,
                self.timeouts_ns[class as usize],
            ),
            ..waiting
        };
        if queue.len() > 64 + 2 * self.table.len() {
            queue.retain(|entry| {
                flows
                    .get(entry.slot as usize)
                    .and_then(Option::as_ref)
                    .is_some_and(|flow| flow.generation == entry.generation && flow.class == class)
            });
        }
        queue.push_back(waiting);
    }

    /// Makes room for one more flow.
    pub(super) fn make_room(&mut self, limits: &Limits, place: Place) {
        if self.table.len() >= self.max_flows {
            self.evict_oldest(limits, place);
        }
    }

    pub(super) fn keep_heap_budget(&mut self, limits: &Limits, place: Place) {
        while self.heap_bytes > self.max_heap_bytes
            && (self.evict_holder(limits, place) || self.evict_oldest(limits, place))
        {}
    }

    /// Remembers a flow that holds memory. As in [`Self::wait`], what has ended
    /// is thrown out before it outnumbers the flows.
    pub(super) fn hold(&mut self, holder: (u32, u32)) {
        if self.holders.len() > 64 + 2 * self.table.len() {
            let flows = &self.flows;
            self.holders.retain(|&(slot, generation)| {
                flows
                    .get(slot as usize)
                    .and_then(Option::as_ref)
                    .is_some_and(|flow| flow.generation == generation)
            });
        }
        self.holders.push_back(holder);
    }

    /// Gives up the flow that holds most among a few that have held longest:
    /// memory is what is short, and the oldest flows may hold none.
    fn evict_holder(&mut self, limits: &Limits, place: Place) -> bool {
        const LOOKED_AT: usize = 8;
        let mut most: Option<(usize, (u32, u32))> = None;
        let mut seen = 0;
        while seen < LOOKED_AT {
            let Some((slot, generation)) = self.holders.pop_front() else {
                break;
            };
            let Some(flow) = self
                .flow_mut(slot)
                .filter(|flow| flow.generation == generation)
            else {
                continue;
            };
            if flow.heap_bytes == 0 {
                flow.is_holder = false;
                continue;
            }
            seen += 1;
            let held = (flow.heap_bytes, (slot, generation));
            let spared = match most {
                Some(before) if before.0 >= held.0 => Some(held),
                before => {
                    most = Some(held);
                    before
                }
            };
            if let Some((_, spared)) = spared {
                self.holders.push_back(spared);
            }
        }
        if let Some((_, (slot, _))) = most {
            self.evict(limits, slot, place);
        }
        most.is_some()
    }

    /// Gives up the flow that has waited longest in the first class that has any.
    fn evict_oldest(&mut self, limits: &Limits, place: Place) -> bool {
        for class in 0..CLASSES {
            while let Some(waiting) = self.queues[class].pop_front() {
                let Some(flow) = self.flow_mut(waiting.slot) else {
                    continue;
                };
                if flow.generation != waiting.generation || flow.class as usize != class {
                    continue;
                }
                self.evict(limits, waiting.slot, place);
                return true;
            }
        }
        false
    }

    fn evict(&mut self, limits: &Limits, slot: u32, place: Place) {
        let Some(flow) = self.flow_mut(slot) else {
            return;
        };
        let reason = flow.end_reason(EndReason::Evicted);
        if reason == EndReason::Evicted {
            let at = CaptureTime::from_nanos(flow.last_ts_ns);
            flow.anomalies.note(
                AnomalyKind::LimitEvicted,
                at,
                place.packet,
                || "the flow was ended early to stay within the memory limits",
            );
        }
        self.end(limits, slot, reason, place);
    }
}

/// A time as the queues keep it: a wild one, further ahead than anything waits,
/// must not hold back those behind it.
fn tamed(ts_ns: i64, now: i64, timeout: i64) -> i64 {
    if ts_ns.saturating_sub(now) > timeout {
        now
    } else {
        ts_ns
    }
}
