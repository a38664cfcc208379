//! The parser of one flow: decides by content which protocol it is, and hands
//! the bytes to that protocol's reader.

use super::{Cx, Direction, SessionFacts, Want};

/// The state of one flow's content.
#[derive(Debug, Default)]
pub struct Session {
    _private: (),
}

impl Session {
    /// The next bytes of a direction's TCP stream, in order, first copy kept.
    pub fn data(&mut self, _cx: &mut Cx<'_>, _direction: Direction, _bytes: &[u8]) -> Want {
        Want::Nothing
    }

    /// `len` bytes of a direction's stream are not in the capture.
    pub fn gap(&mut self, _cx: &mut Cx<'_>, _direction: Direction, _len: u64) -> Want {
        Want::Nothing
    }

    /// `len` bytes of a direction passed that were not wanted.
    pub fn skipped(&mut self, _direction: Direction, _len: u64) {}

    /// One datagram. What it returns holds for the datagrams that follow in
    /// the same direction; `Skip` counts as `Bytes`.
    pub fn datagram(&mut self, _cx: &mut Cx<'_>, _direction: Direction, _bytes: &[u8]) -> Want {
        Want::Nothing
    }

    /// Heap bytes held, roughly: what the memory budget counts.
    pub fn heap_bytes(&self) -> usize {
        0
    }

    /// The flow has ended.
    pub fn end(self, _cx: &mut Cx<'_>) -> SessionFacts {
        SessionFacts::default()
    }
}
