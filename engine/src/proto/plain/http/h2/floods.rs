//! Frames that cost a receiver more than their sender, by how many come within
//! one second of packet time.

use super::frame::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, Head, PING, PRIORITY, SETTINGS,
};
use crate::time::CaptureTime;

/// Parts of one header block. Five frames of the usual size hold more than any
/// server takes (nginx: 32 KiB; Go: 1 MiB in 65).
pub(super) const MAX_PARTS: u32 = 66;
/// Frames that carry nothing, a second: Go gives up at as many answers waiting
/// (CVE-2019-9512), Envoy at 1,000 of them; a browser sends some ten.
const MAX_EMPTY: u32 = 500;
/// Streams reset before an answer, a second: twice the number that servers let
/// be open (RFC 9113 §6.5.2 recommends at least 100), as Go and nginx count.
const MAX_RESETS: u32 = 200;
const SECOND: i64 = 1_000_000_000;

/// Counts of one side.
#[derive(Debug, Default)]
pub(super) struct Floods {
    empty: Rate,
    resets: Rate,
}

#[derive(Debug, Default)]
struct Rate {
    since: CaptureTime,
    count: u32,
}

impl Rate {
    /// One more; whether it is the one that makes it too many.
    fn add(&mut self, ts: CaptureTime, most: u32) -> bool {
        let passed = ts.as_nanos().saturating_sub(self.since.as_nanos());
        if self.count == 0 || !(0..SECOND).contains(&passed) {
            (self.since, self.count) = (ts, 0);
        }
        self.count = self.count.saturating_add(1);
        self.count == most
    }
}

impl Floods {
    /// A frame; whether it is one too many of those that carry nothing.
    pub(super) fn frame(&mut self, ts: CaptureTime, head: &Head) -> bool {
        let empty = match head.kind {
            DATA => head.len == 0 && !head.has(END_STREAM),
            HEADERS | CONTINUATION => head.len == 0 && !head.has(END_HEADERS),
            // An answer to the other's is not this side's doing.
            PING | SETTINGS => !head.has(ACK),
            PRIORITY => true,
            _ => false,
        };
        empty && self.empty.add(ts, MAX_EMPTY)
    }

    /// A reset before an answer; whether it is one too many.
    pub(super) fn reset(&mut self, ts: CaptureTime) -> bool {
        self.resets.add(ts, MAX_RESETS)
    }
}
