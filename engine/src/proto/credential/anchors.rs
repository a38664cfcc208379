//! Where one of some dozens of short texts begins, at the speed of a few
//! instructions for two bytes.
//!
//! Every other place is looked at: the three bytes there must be the first
//! three of a text, or its second to fourth, when it began a place before (of a
//! text of three bytes it is known what may follow). A table answers that,
//! with few false alarms, whatever the bytes are; vector searchers for many
//! texts drown in those of prose and JSON.

/// Bits of the table's places: 32 KiB, of which text asks for few.
const BITS: u32 = 15;
/// Bits of the places at which first bytes are looked up.
const SLOT_BITS: u32 = 9;

/// Where a text begins and ends, and which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Anchor {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) group: usize,
}

/// The texts, each with other first three bytes.
pub(super) struct Anchors {
    /// What three bytes may be: [`FIRST`], [`SECOND`] or neither.
    table: Box<[u8; 1 << BITS]>,
    /// First three bytes of a text, at the place that they have or the next one
    /// that was free, and the text's number; 0 where there is none.
    keys: Box<[(u32, u32); 1 << SLOT_BITS]>,
    texts: Vec<&'static [u8]>,
}

/// The first three bytes of a text.
const FIRST: u8 = 1;
/// The second to fourth.
const SECOND: u8 = 2;

impl Anchors {
    /// Texts of at least three bytes, at most 256; other ones are never found.
    /// `goes_on` says which bytes may follow one of three bytes.
    pub(super) fn new(texts: &[&'static [u8]], goes_on: impl Fn(usize, u8) -> bool) -> Self {
        let mut this = Self {
            table: Box::new([0; 1 << BITS]),
            keys: Box::new([(0, 0); 1 << SLOT_BITS]),
            texts: texts.iter().copied().take(1 << (SLOT_BITS - 1)).collect(),
        };
        for (number, text) in (0_u32..).zip(this.texts.clone()) {
            let &[a, b, c, ref rest @ ..] = text else {
                continue;
            };
            this.keep(three(a, b, c), number);
            this.set(three(a, b, c), FIRST);
            match rest.first() {
                Some(&d) => this.set(three(b, c, d), SECOND),
                None => (0..=u8::MAX)
                    .filter(|d| goes_on(number as usize, *d))
                    .for_each(|d| this.set(three(b, c, d), SECOND)),
            }
        }
        this
    }

    /// The next text at or behind `from`.
    pub(super) fn next(&self, bytes: &[u8], from: usize) -> Option<Anchor> {
        let mut rest = bytes.get(from..)?;
        // Eight bytes at once, and the one behind them: four places.
        while let Some(&[a, b, c, d, e, f, g, h, ninth]) = rest.first_chunk() {
            let word = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
            let last = word >> 48 | u64::from(ninth) << 16;
            if self.has(word) | self.has(word >> 16) | self.has(word >> 32) | self.has(last) != 0 {
                let at = bytes.len().saturating_sub(rest.len());
                if let Some(found) = self.among(bytes, at, from) {
                    return Some(found);
                }
            }
            rest = rest.get(8..).unwrap_or_default();
        }
        let at = bytes.len().saturating_sub(rest.len());
        (at.saturating_sub(1).max(from)..bytes.len()).find_map(|at| self.at(bytes, at))
    }

    /// The text with which `bytes` begin.
    pub(super) fn first(&self, bytes: &[u8]) -> Option<Anchor> {
        self.at(bytes, 0)
    }

    /// What begins at one of the four places from `at` on, or one before it.
    #[inline(never)]
    fn among(&self, bytes: &[u8], at: usize, from: usize) -> Option<Anchor> {
        for place in [
            at,
            at.saturating_add(2),
            at.saturating_add(4),
            at.saturating_add(6),
        ] {
            let Some(&[a, b, c]) = bytes.get(place..).and_then(<[u8]>::first_chunk) else {
                break;
            };
            let may_be = self.has(u64::from(three(a, b, c)));
            if may_be & SECOND != 0 && place > from {
                let found = self.at(bytes, place.saturating_sub(1));
                if found.is_some() {
                    return found;
                }
            }
            if may_be & FIRST != 0 {
                let found = self.at(bytes, place);
                if found.is_some() {
                    return found;
                }
            }
        }
        None
    }

    #[inline]
    fn at(&self, bytes: &[u8], start: usize) -> Option<Anchor> {
        let here = bytes.get(start..)?;
        let &[a, b, c, ..] = here else { return None };
        let key = three(a, b, c);
        let mut place = slot(key);
        // At least half of the places are free.
        loop {
            let (known, number) = *self.keys.get(place)?;
            if known == key {
                let group = number as usize;
                let text = *self.texts.get(group)?;
                return here.starts_with(text).then(|| Anchor {
                    start,
                    end: start.saturating_add(text.len()),
                    group,
                });
            }
            if known == 0 {
                return None;
            }
            place = place.wrapping_add(1) % (1 << SLOT_BITS);
        }
    }

    fn keep(&mut self, key: u32, number: u32) {
        let mut place = slot(key);
        while let Some(there) = self.keys.get_mut(place) {
            if there.0 == 0 {
                *there = (key, number);
                return;
            }
            place = place.wrapping_add(1) % (1 << SLOT_BITS);
        }
    }

    fn set(&mut self, three: u32, what: u8) {
        if let Some(place) = self.table.get_mut(place(three)) {
            *place |= what;
        }
    }

    /// What the lowest three bytes of a word may be.
    #[inline]
    fn has(&self, word: u64) -> u8 {
        // What is above them is shifted out below.
        self.table.get(place(word as u32)).copied().unwrap_or(0)
    }
}

const fn three(a: u8, b: u8, c: u8) -> u32 {
    u32::from_le_bytes([a, b, c, 0])
}

/// The place of three bytes, by multiplication (Knuth's constant). A fourth one
/// above them is shifted out.
#[inline]
const fn place(three: u32) -> usize {
    ((three << 8).wrapping_mul(0x9e37_79b1) >> (32 - BITS)) as usize
}

const fn slot(three: u32) -> usize {
    ((three << 8).wrapping_mul(0x85eb_ca6b) >> (32 - SLOT_BITS)) as usize
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
        let anchors = Anchors::new(texts, |_, byte| byte.is_ascii_graphic());
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
