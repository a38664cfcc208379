//! The rules over one direction of a stream as it passes, however it is cut.
//!
//! Held between calls: a few of the last bytes, for a beginning that lies
//! across the border, and one candidate whose end is still to come, wiped when
//! dropped. Nothing is allocated where there is no candidate.

use super::anchors::Anchor;
use super::shapes::{Found, Shapes};
use crate::proto::plain::append_wiping;
use zeroize::Zeroizing;

/// Last bytes that are kept: more than the longest beginning.
const TAIL: usize = 32;
/// Longest candidate, bytes: the longest secret of the rules and some more.
const MAX_OPEN: usize = 17 << 10;

/// One direction's state.
#[derive(Default)]
pub struct Scan {
    tail: [u8; TAIL],
    tail_len: usize,
    open: Option<Box<Open>>,
}

impl std::fmt::Debug for Scan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scan(…)")
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.tail);
    }
}

/// A candidate whose end is not there yet.
struct Open {
    bytes: Zeroizing<Vec<u8>>,
    before: [u8; 3],
    group: usize,
}

impl Scan {
    /// The next bytes; `tell` hears of each secret, and of its class.
    pub fn push(
        &mut self,
        shapes: &Shapes,
        bytes: &[u8],
        tell: &mut dyn FnMut(&[u8], &'static str),
    ) {
        if bytes.is_empty() {
            return;
        }
        if let Some(mut open) = self.open.take() {
            let room = MAX_OPEN.saturating_sub(open.bytes.len());
            append_wiping(&mut open.bytes, bytes.get(..room).unwrap_or(bytes));
            let full = open.bytes.len() >= MAX_OPEN;
            match shapes.at(&open.bytes, 0, open.group, &open.before, full) {
                Found::Secret(range, class) => {
                    tell(open.bytes.get(range).unwrap_or_default(), class);
                }
                Found::More => self.open = Some(open),
                Found::Nothing => {}
            }
        }
        if self.open.is_none() {
            self.across(shapes, bytes, tell);
        }
        let mut from = 0;
        while let Some(Anchor { start, group, .. }) = shapes.next(bytes, from) {
            let before = self.tail.get(..self.tail_len).unwrap_or_default();
            from = start.saturating_add(1);
            match shapes.at(bytes, start, group, before, false) {
                Found::Secret(range, class) => {
                    from = range.end.max(from);
                    tell(bytes.get(range).unwrap_or_default(), class);
                }
                Found::Nothing => {}
                // What lies within another candidate may be told of twice, but
                // the first is not given up for it.
                Found::More if self.open.is_none() => {
                    self.open(
                        bytes.get(start..).unwrap_or_default(),
                        preceding(before, bytes, start),
                        group,
                    );
                }
                Found::More => {}
            }
        }
        self.remember(bytes);
    }

    /// Bytes are missing, or nothing follows: what is open ends here.
    pub fn end(&mut self, shapes: &Shapes, tell: &mut dyn FnMut(&[u8], &'static str)) {
        if let Some(open) = self.open.take()
            && let Found::Secret(range, class) =
                shapes.at(&open.bytes, 0, open.group, &open.before, true)
        {
            tell(open.bytes.get(range).unwrap_or_default(), class);
        }
        self.tail_len = 0;
    }

    /// Bytes were passed over: what is open does not go on behind them.
    pub fn cut(&mut self) {
        self.open = None;
        self.tail_len = 0;
    }

    /// Heap bytes held.
    pub fn heap_bytes(&self) -> usize {
        self.open
            .as_ref()
            .map_or(0, |open| size_of::<Open>() + open.bytes.capacity())
    }

    /// A beginning that lies across the border to `bytes`.
    fn across(&mut self, shapes: &Shapes, bytes: &[u8], tell: &mut dyn FnMut(&[u8], &'static str)) {
        let longest = shapes.longest().min(TAIL);
        let tail_len = self.tail_len.min(TAIL);
        if tail_len == 0 {
            return;
        }
        let mut joined = Zeroizing::new([0_u8; 2 * TAIL]);
        let head = bytes.get(..longest).unwrap_or(bytes);
        let tail = self.tail.get(..tail_len).unwrap_or_default();
        for (to, from) in joined.iter_mut().zip(tail.iter().chain(head)) {
            *to = *from;
        }
        let len = tail_len.saturating_add(head.len()).min(joined.len());
        let window = joined.get(..len).unwrap_or_default();
        let mut from = tail_len.saturating_sub(longest.saturating_sub(1));
        while let Some(Anchor { start, end, group }) = shapes.next(window, from) {
            if start >= tail_len {
                return;
            }
            from = start.saturating_add(1);
            // Those that lay wholly before were seen then.
            if end <= tail_len {
                continue;
            }
            let before = preceding(&[], window, start);
            let mut open = Box::new(Open {
                bytes: Zeroizing::default(),
                before,
                group,
            });
            append_wiping(&mut open.bytes, tail.get(start..).unwrap_or_default());
            append_wiping(
                &mut open.bytes,
                bytes.get(..MAX_OPEN.saturating_sub(TAIL)).unwrap_or(bytes),
            );
            match shapes.at(&open.bytes, 0, group, &before, false) {
                Found::Secret(range, class) => {
                    tell(open.bytes.get(range).unwrap_or_default(), class)
                }
                Found::More => {
                    self.open = Some(open);
                    return;
                }
                Found::Nothing => {}
            }
        }
    }

    fn open(&mut self, bytes: &[u8], before: [u8; 3], group: usize) {
        let mut open = Box::new(Open {
            bytes: Zeroizing::default(),
            before,
            group,
        });
        append_wiping(&mut open.bytes, bytes.get(..MAX_OPEN).unwrap_or(bytes));
        self.open = Some(open);
    }

    fn remember(&mut self, bytes: &[u8]) {
        let kept = self
            .tail_len
            .min(TAIL.saturating_sub(bytes.len().min(TAIL)));
        let from = self.tail_len.saturating_sub(kept);
        self.tail.copy_within(from..self.tail_len, 0);
        let new = bytes
            .get(bytes.len().saturating_sub(TAIL)..)
            .unwrap_or(bytes);
        for (to, byte) in self.tail.iter_mut().skip(kept).zip(new) {
            *to = *byte;
        }
        self.tail_len = kept.saturating_add(new.len()).min(TAIL);
    }
}

/// The three bytes in front of a place.
fn preceding(before: &[u8], bytes: &[u8], start: usize) -> [u8; 3] {
    let here = bytes.get(..start).unwrap_or_default();
    let mut three = [0; 3];
    for (to, from) in three
        .iter_mut()
        .rev()
        .zip(here.iter().rev().chain(before.iter().rev()))
    {
        *to = *from;
    }
    three
}
