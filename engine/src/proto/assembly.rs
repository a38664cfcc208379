//! Bytes that come in any order and more than once, put together: QUIC's
//! CRYPTO stream and the fragments of DTLS messages. Of two copies the first
//! is kept. What is held is bounded by what was really sent, and by a limit.

use std::collections::BTreeMap;

/// Pieces that may wait for those before them.
const MAX_PIECES: usize = 256;

/// A stream from 0 on.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    /// Where `ready` begins: what lies before was consumed.
    base: u64,
    /// Without a hole from `base` on, behind `done` bytes that were consumed.
    ready: Vec<u8>,
    done: usize,
    /// Behind a hole: disjoint, by their place.
    early: BTreeMap<u64, Vec<u8>>,
    early_bytes: usize,
    /// Bytes that were moved to the front, over all.
    #[cfg(test)]
    moved: usize,
}

impl Assembly {
    /// Takes the bytes at `at`; false when they are beyond what may be held.
    pub(super) fn put(&mut self, at: u64, bytes: &[u8], limit: usize) -> bool {
        let (mut at, mut rest) = (at, bytes);
        let ready_end = self.base.saturating_add(self.ready().len() as u64);
        if at < ready_end {
            let known = usize::try_from(ready_end - at).unwrap_or(usize::MAX);
            rest = rest.get(known..).unwrap_or_default();
            at = ready_end;
        }
        if rest.is_empty() {
            return true;
        }
        let room = at
            .checked_add(rest.len() as u64)
            .is_some_and(|end| end - self.base <= limit as u64);
        if !room {
            return false;
        }
        let mut next_ready = ready_end;
        while !rest.is_empty() {
            let before = self.early.range(..=at).next_back();
            let known = before.map_or(0, |(start, piece)| {
                (start + piece.len() as u64).saturating_sub(at)
            });
            if known > 0 {
                let known = usize::try_from(known).map_or(rest.len(), |n| n.min(rest.len()));
                at += known as u64;
                rest = rest.get(known..).unwrap_or_default();
                continue;
            }
            let hole = self
                .early
                .range(at..)
                .next()
                .map_or(u64::MAX, |(start, _)| start - at);
            let fits = usize::try_from(hole).map_or(rest.len(), |n| n.min(rest.len()));
            let (now, later) = rest.split_at(fits);
            if at == next_ready {
                self.ready.extend_from_slice(now);
                next_ready += now.len() as u64;
            } else {
                if self.early.len() >= MAX_PIECES {
                    return false;
                }
                self.early_bytes += now.len();
                self.early.insert(at, now.to_vec());
            }
            at += now.len() as u64;
            rest = later;
        }
        while let Some(entry) = self.early.first_entry() {
            if *entry.key() != next_ready {
                break;
            }
            let piece = entry.remove();
            self.early_bytes = self.early_bytes.saturating_sub(piece.len());
            next_ready += piece.len() as u64;
            self.ready.extend_from_slice(&piece);
        }
        true
    }

    /// What is there without a hole and not consumed.
    pub(super) fn ready(&self) -> &[u8] {
        self.ready.get(self.done..).unwrap_or_default()
    }

    /// The first `len` ready bytes are done with. They are given up once they
    /// are as many as those behind them, so that many small messages cost one
    /// move of each byte, and not one of all bytes for each message.
    pub(super) fn consume(&mut self, len: usize) {
        let len = len.min(self.ready().len());
        self.done += len;
        self.base += len as u64;
        let left = self.ready.len() - self.done;
        if self.done >= left {
            #[cfg(test)]
            {
                self.moved += left;
            }
            self.ready.drain(..self.done);
            self.done = 0;
        }
    }

    /// Whether bytes wait behind a hole.
    pub(super) fn has_hole(&self) -> bool {
        !self.early.is_empty()
    }

    /// Heap bytes held, roughly.
    pub(super) fn heap_bytes(&self) -> usize {
        self.ready.capacity() + self.early_bytes + self.early.len() * 64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_copy_is_kept_and_holes_wait() {
        let mut stream = Assembly::default();
        assert!(stream.put(4, b"EF", 64));
        assert!(stream.put(2, b"cdXX", 64));
        assert!(stream.ready().is_empty() && stream.has_hole());
        assert!(stream.put(0, b"abYYY", 64));
        assert_eq!(stream.ready(), b"abcdEF");
        stream.consume(4);
        assert!(stream.put(0, b"ZZZZZZg", 64));
        assert_eq!(stream.ready(), b"EFg");
    }

    #[test]
    fn many_small_messages_cost_one_move_of_each_byte() {
        let mut stream = Assembly::default();
        let bytes: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
        assert!(stream.put(0, &bytes, 1 << 20));
        for at in 0..bytes.len() {
            assert_eq!(stream.ready().first(), bytes.get(at));
            stream.consume(1);
        }
        assert!(stream.ready().is_empty() && stream.ready.is_empty());
        assert!(stream.moved <= bytes.len(), "{}", stream.moved);
        // And what comes next is found at its place.
        assert!(stream.put(bytes.len() as u64, b"next", 1 << 20));
        assert_eq!(stream.ready(), b"next");
    }

    #[test]
    fn bounds_hold() {
        let mut stream = Assembly::default();
        assert!(!stream.put(60, b"12345", 64));
        assert!(!stream.put(u64::MAX, b"12", 64));
        for piece in 0..MAX_PIECES as u64 {
            assert!(stream.put(1 + 2 * piece, b"x", 1 << 20));
        }
        assert!(!stream.put(1 + 2 * MAX_PIECES as u64, b"x", 1 << 20));
        assert!(stream.heap_bytes() < 64 << 10);
    }

    proptest! {
        /// Any cutting, order and repetition gives the stream.
        #[test]
        fn any_order_gives_the_stream(
            len in 1_usize..300,
            mut cuts in proptest::collection::vec((0_usize..300, 1_usize..80), 0..40),
            order in any::<u64>(),
        ) {
            let bytes: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
            cuts.extend((0..len).step_by(50).map(|at| (at, 50)));
            let turn = (order % cuts.len() as u64) as usize;
            cuts.rotate_left(turn);
            let mut stream = Assembly::default();
            for (at, size) in cuts {
                if let Some(piece) = bytes.get(at..(at + size).min(len)) {
                    prop_assert!(stream.put(at as u64, piece, 1_000));
                }
            }
            prop_assert_eq!(stream.ready(), &bytes[..]);
            prop_assert!(!stream.has_hole());
        }
    }
}
