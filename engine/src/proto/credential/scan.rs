//! The rules over one direction of a stream as it passes, however it is cut.
//!
//! Held between calls: a few of the last bytes, for a beginning that lies
//! across the border, and candidates whose end is still to come, wiped when
//! dropped. Nothing is allocated where there is no candidate.

use super::anchors::Anchor;
use super::shapes::{LEFT, Shapes};
use super::walk::{Told, Walk};
use zeroize::Zeroizing;

/// Last bytes that are kept: more than the longest beginning and what is looked
/// at in front of it.
const TAIL: usize = 48;

/// One direction's state.
pub struct Scan {
    /// Bytes that passed, those left out aside.
    at: u64,
    tail: [u8; TAIL],
    tail_len: usize,
    open: Option<Box<Walk>>,
}

impl Default for Scan {
    fn default() -> Self {
        Self {
            at: 0,
            tail: [0; TAIL],
            tail_len: 0,
            open: None,
        }
    }
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

impl Scan {
    /// The next bytes; `tell` hears of each secret and of its class, and of what
    /// was passed over (without its bytes).
    pub fn push(
        &mut self,
        shapes: &Shapes,
        bytes: &[u8],
        tell: &mut dyn FnMut(&[u8], &'static str),
    ) {
        if bytes.is_empty() {
            return;
        }
        let mut tell = |told: Told<'_>| tell(told.secret, told.class);
        let mut first = Walk::default();
        let mut boxed = self.open.take();
        let walk = boxed.as_deref_mut().unwrap_or(&mut first);
        let tail = self.tail.get(..self.tail_len).unwrap_or_default();
        across(shapes, walk, (tail, bytes), self.at, &mut tell);
        within(shapes, walk, (tail, bytes), self.at, &mut tell);
        walk.hold((tail, bytes), self.at);
        if !walk.is_empty() {
            self.open = boxed.or_else(|| Some(Box::new(first)));
        }
        self.remember(bytes);
    }

    /// Bytes are missing, or nothing follows: what is open ends here.
    pub fn end(&mut self, shapes: &Shapes, tell: &mut dyn FnMut(&[u8], &'static str)) {
        if let Some(mut open) = self.open.take() {
            open.end(shapes, &[], self.at, &mut |told| {
                tell(told.secret, told.class)
            });
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
            .map_or(0, |open| size_of::<Walk>() + open.heap_bytes())
    }

    fn remember(&mut self, bytes: &[u8]) {
        self.at = self.at.saturating_add(bytes.len() as u64);
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

/// All secrets of a whole text, by where they end.
pub(super) fn whole(shapes: &Shapes, text: &[u8], mut walk: Walk, tell: &mut dyn FnMut(Told<'_>)) {
    within(shapes, &mut walk, (&[], text), 0, tell);
    walk.end(shapes, text, 0, tell);
}

/// Beginnings that lie across the border between `tail` and `bytes`.
fn across(
    shapes: &Shapes,
    walk: &mut Walk,
    (tail, bytes): (&[u8], &[u8]),
    at: u64,
    tell: &mut dyn FnMut(Told<'_>),
) {
    if tail.is_empty() {
        return;
    }
    let longest = shapes.longest().min(TAIL);
    let mut joined = Zeroizing::new([0_u8; 2 * TAIL]);
    let head = bytes.get(..longest).unwrap_or(bytes);
    for (to, from) in joined.iter_mut().zip(tail.iter().chain(head)) {
        *to = *from;
    }
    let len = tail.len().saturating_add(head.len()).min(joined.len());
    let window = joined.get(..len).unwrap_or_default();
    let window_at = at.saturating_sub(tail.len() as u64);
    let mut from = tail.len().saturating_sub(longest.saturating_sub(1));
    while let Some(Anchor { start, end, group }) = shapes.next(window, from) {
        if start >= tail.len() {
            return;
        }
        from = start.saturating_add(1);
        // Those that lay wholly before were seen then.
        if end > tail.len() {
            walk.follow(
                shapes,
                (tail, bytes),
                at,
                window_at.saturating_add(end as u64),
                tell,
            );
            let start_at = window_at.saturating_add(start as u64);
            walk.begin(shapes, group, start_at, &preceding(&[], window, start));
        }
    }
}

/// Beginnings within `bytes`, and what is open up to their end.
fn within(
    shapes: &Shapes,
    walk: &mut Walk,
    (tail, bytes): (&[u8], &[u8]),
    at: u64,
    tell: &mut dyn FnMut(Told<'_>),
) {
    let mut from = 0;
    while let Some(Anchor { start, end, group }) = shapes.next(bytes, from) {
        from = start.saturating_add(1);
        if shapes.is_plain_address(group, bytes.get(end..).unwrap_or_default()) {
            continue;
        }
        walk.follow(
            shapes,
            (tail, bytes),
            at,
            at.saturating_add(end as u64),
            tell,
        );
        let before = preceding(tail, bytes, start);
        walk.begin(shapes, group, at.saturating_add(start as u64), &before);
    }
    let end = at.saturating_add(bytes.len() as u64);
    walk.follow(shapes, (tail, bytes), at, end, tell);
}

/// The bytes in front of a place; zeros where there are none.
fn preceding(before: &[u8], bytes: &[u8], start: usize) -> [u8; LEFT] {
    let here = bytes.get(..start).unwrap_or_default();
    let mut all = [0; LEFT];
    for (to, from) in all
        .iter_mut()
        .rev()
        .zip(here.iter().rev().chain(before.iter().rev()))
    {
        *to = *from;
    }
    all
}
