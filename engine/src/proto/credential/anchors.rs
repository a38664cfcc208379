//! Where one of some dozens of short texts begins, at the speed of a few
//! instructions for two bytes.
//!
//! Every other place is looked at: the three bytes there must be the first
//! three of a text, or its second to fourth, when it began a place before (of
//! which a text of three bytes says that it is printable). A
//! bitmap answers that, with few false alarms, whatever the bytes are; vector
//! searchers for many texts drown in those of prose and JSON.

/// Bits of the bitmap: 8 KiB.
const BITS: u32 = 16;

/// Where a text begins and ends, and which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Anchor {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) group: usize,
}

/// The texts, each with other first three bytes.
pub(super) struct Anchors {
    bitmap: Box<[u64; 1 << (BITS - 6)]>,
    /// First three bytes, sorted, with the text and its number.
    texts: Vec<(u32, &'static [u8], usize)>,
}

impl Anchors {
    /// Texts of at least three bytes; shorter ones are never found.
    pub(super) fn new(texts: &[&'static [u8]]) -> Self {
        let mut this = Self {
            bitmap: Box::new([0; 1 << (BITS - 6)]),
            texts: Vec::new(),
        };
        for (number, text) in texts.iter().enumerate() {
            let &[a, b, c, ref rest @ ..] = *text else {
                continue;
            };
            this.texts.push((three(a, b, c), text, number));
            this.set(three(a, b, c));
            match rest.first() {
                Some(&d) => this.set(three(b, c, d)),
                // What follows is not known, but that it can be seen.
                None => (b'!'..=b'~').for_each(|d| this.set(three(b, c, d))),
            }
        }
        this.texts.sort_unstable();
        this
    }

    /// The next text at or behind `from`.
    pub(super) fn next(&self, bytes: &[u8], from: usize) -> Option<Anchor> {
        let mut at = from;
        // Eight bytes at once, and the one behind them: four places.
        while let Some((eight, &[ninth])) = bytes
            .get(at..at.saturating_add(9))
            .and_then(|block| block.split_first_chunk::<8>())
        {
            let word = u64::from_le_bytes(*eight);
            let last = word >> 48 | u64::from(ninth) << 16;
            let hits = [word, word >> 16, word >> 32, last].map(|three| self.has(three));
            if hits.iter().fold(0, |all, hit| all | hit) & 1 != 0
                && let Some(found) = hits
                    .iter()
                    .zip([at, at + 2, at + 4, at + 6])
                    .filter(|(hit, _)| *hit & 1 != 0)
                    .find_map(|(_, place)| self.around(bytes, place, from))
            {
                return Some(found);
            }
            at = at.saturating_add(8);
        }
        (at.saturating_sub(1).max(from)..bytes.len()).find_map(|at| self.at(bytes, at))
    }

    /// What begins at a place, or one before it.
    #[cold]
    fn around(&self, bytes: &[u8], place: usize, from: usize) -> Option<Anchor> {
        let before = place.checked_sub(1).filter(|before| *before >= from);
        before
            .and_then(|before| self.at(bytes, before))
            .or_else(|| self.at(bytes, place))
    }

    fn at(&self, bytes: &[u8], start: usize) -> Option<Anchor> {
        let here = bytes.get(start..)?;
        let &[a, b, c, ..] = here else { return None };
        let key = three(a, b, c);
        let place = self
            .texts
            .binary_search_by_key(&key, |(key, ..)| *key)
            .ok()?;
        let (_, text, group) = *self.texts.get(place)?;
        here.starts_with(text).then(|| Anchor {
            start,
            end: start.saturating_add(text.len()),
            group,
        })
    }

    fn set(&mut self, three: u32) {
        let (word, bit) = place(three);
        if let Some(word) = self.bitmap.get_mut(word) {
            *word |= 1 << bit;
        }
    }

    /// Lowest bit: whether these three bytes (of a word, the lowest) may be of a text.
    #[inline]
    fn has(&self, word: u64) -> u64 {
        let three = u32::try_from(word & 0xff_ffff).unwrap_or_default();
        let (word, bit) = place(three);
        self.bitmap.get(word).map_or(0, |word| word >> bit)
    }
}

const fn three(a: u8, b: u8, c: u8) -> u32 {
    u32::from_le_bytes([a, b, c, 0])
}

/// Word and bit of three bytes, by multiplication (Knuth's constant).
#[inline]
const fn place(three: u32) -> (usize, u32) {
    let hash = three.wrapping_mul(0x9e37_79b1) >> (32 - BITS);
    ((hash >> 6) as usize, hash & 63)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every place, one after the other.
    fn slowly(texts: &[&'static [u8]], bytes: &[u8], from: usize) -> Option<Anchor> {
        (from..bytes.len()).find_map(|start| {
            let group = texts
                .iter()
                .position(|text| bytes[start..].starts_with(text))?;
            Some(Anchor {
                start,
                end: start + texts[group].len(),
                group,
            })
        })
    }

    #[test]
    fn texts_are_found_wherever_they_stand() {
        let texts: &[&'static [u8]] = &[b"abc", b"abdefg", b"xyz_", b":AA", b"--b"];
        let anchors = Anchors::new(texts);
        let mut seed = 7_u32;
        let mut bytes = Vec::new();
        for _ in 0..20_000 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            bytes.push(b"abcdefgxyz_:A-"[(seed >> 24) as usize % 14]);
        }
        for len in (0..40_usize).chain([20_000]) {
            let (bytes, mut from, mut found) = (&bytes[..len], 0, 0);
            loop {
                let next = anchors.next(bytes, from);
                assert_eq!(next, slowly(texts, bytes, from), "from {from} of {len}");
                let Some(next) = next else { break };
                from = next.start + 1;
                found += 1;
            }
            assert!(len < 20_000 || found > 10);
        }
        for text in texts {
            for before in 0..5 {
                let bytes = [&vec![b' '; before][..], text].concat();
                assert_eq!(
                    anchors.next(&bytes, 0).map(|found| found.start),
                    Some(before)
                );
            }
        }
    }
}
