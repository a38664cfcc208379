//! The flow table: which packets belong together, TCP put back in order,
//! datagram flows, time-outs on packet time, and the memory budget.
//!
//! Names and letters are Zeek's, so that results join with its logs.

pub mod beats;
pub mod community_id;
pub mod history;
pub mod key;
pub mod ports;
pub mod reassembly;
pub mod record;
pub mod shard;
pub mod tcp;

pub use beats::{Beats, Rhythm};
pub use record::{ConnState, Counters, EndReason, FlowHead, FlowRecord, NameOrigin, NameSource};
pub use shard::{Content, Ended, Live, Lookup, Place, Shard};

use crate::proto::session::Session;
use crate::proto::{Cx, Direction, SessionFacts, Want};

impl Content for Session {
    type Facts = SessionFacts;

    fn data(&mut self, cx: &mut Cx<'_>, direction: Direction, bytes: &[u8]) -> Want {
        Self::data(self, cx, direction, bytes)
    }

    fn gap(&mut self, cx: &mut Cx<'_>, direction: Direction, len: u64) -> Want {
        Self::gap(self, cx, direction, len)
    }

    fn skipped(&mut self, direction: Direction, len: u64) {
        Self::skipped(self, direction, len);
    }

    fn datagram(&mut self, cx: &mut Cx<'_>, direction: Direction, bytes: &[u8]) -> Want {
        Self::datagram(self, cx, direction, bytes)
    }

    fn heap_bytes(&self) -> usize {
        Self::heap_bytes(self)
    }

    fn end(self, cx: &mut Cx<'_>) -> SessionFacts {
        Self::end(self, cx)
    }
}
