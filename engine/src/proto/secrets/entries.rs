//! Secrets as they lie in memory: of a fixed size, in blocks that never move, so
//! that no copy stays behind, with an index over what they belong to.

use super::{Label, Source};
use foldhash::quality::RandomState;
use hashbrown::HashTable;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, Ordering};
use zeroize::{Zeroize, Zeroizing};

/// Longest secret but for premaster secrets: those of SHA-384 suites, and
/// master secrets.
pub(super) const MAX_SECRET: usize = 48;
/// Entries of a block: 88 KiB.
const BLOCK: usize = 1_024;

/// One secret.
#[derive(Debug)]
struct Entry {
    /// The client's random; of premaster secrets under an RSA key the first
    /// bytes of their encryption, and zeros.
    of: [u8; 32],
    bytes: [u8; MAX_SECRET],
    /// Bytes in use; beyond `MAX_SECRET`, they are a number in `long`.
    len: u8,
    label: Label,
    /// A connection of the capture had it.
    met: AtomicBool,
    source: u32,
}

// 2^20 secrets, as the limit allows, take 88 MiB.
const _: () = assert!(size_of::<Entry>() == 88);

impl Drop for Entry {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

/// Many of them.
#[derive(Default)]
pub(super) struct Entries {
    blocks: Vec<Vec<Entry>>,
    index: HashTable<u32>,
    hasher: RandomState,
    /// Premaster secrets of Diffie-Hellman groups.
    long: Vec<Zeroizing<Box<[u8]>>>,
    sources: Vec<Source>,
    len: usize,
}

/// What became of a secret.
pub(super) enum Kept {
    New,
    Known,
    /// Too many of one session.
    LeftOut,
}

impl Entries {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    fn at(&self, number: u32) -> Option<&Entry> {
        let number = usize::try_from(number).ok()?;
        self.blocks.get(number / BLOCK)?.get(number % BLOCK)
    }

    fn secret<'a>(&'a self, entry: &'a Entry) -> Option<&'a [u8]> {
        match usize::from(entry.len) {
            len @ ..=MAX_SECRET => entry.bytes.get(..len),
            _ => {
                let number = entry.bytes.first_chunk::<4>()?;
                let number = usize::try_from(u32::from_le_bytes(*number)).ok()?;
                self.long.get(number).map(|bytes| &***bytes)
            }
        }
    }

    fn source(&self, entry: &Entry) -> Source {
        let source = usize::try_from(entry.source).ok();
        source
            .and_then(|number| self.sources.get(number))
            .copied()
            .unwrap_or(Source::KeyLog)
    }

    /// Those of one connection with their numbers, in no order.
    fn of<'a>(&'a self, of: &'a [u8; 32]) -> impl Iterator<Item = (u32, &'a Entry)> {
        self.index
            .iter_hash(self.hasher.hash_one(of))
            .filter_map(|number| Some((*number, self.at(*number)?)))
            .filter(move |(_, entry)| entry.of == *of)
    }

    /// Where a connection's secrets come from, if `counts`; they count as met.
    pub(super) fn source_of(
        &self,
        of: &[u8; 32],
        counts: impl Fn(Source) -> bool,
    ) -> Option<Source> {
        let mut first: Option<(u32, Source)> = None;
        for (number, entry) in self.of(of) {
            let source = self.source(entry);
            if counts(source) {
                entry.met.store(true, Ordering::Relaxed);
                if first.is_none_or(|(other, _)| number < other) {
                    first = Some((number, source));
                }
            }
        }
        first.map(|(_, source)| source)
    }

    /// The first secret of a connection by this label whose source counts.
    pub(super) fn find(
        &self,
        of: &[u8; 32],
        label: Label,
        counts: impl Fn(Source) -> bool,
    ) -> Option<(&[u8], Source)> {
        let (_, entry) = self
            .index
            .iter_hash(self.hasher.hash_one(of))
            .filter_map(|number| Some((*number, self.at(*number)?)))
            .filter(|(_, entry)| entry.of == *of && entry.label == label)
            .filter(|(_, entry)| counts(self.source(entry)))
            .min_by_key(|(number, _)| *number)?;
        entry.met.store(true, Ordering::Relaxed);
        Some((self.secret(entry)?, self.source(entry)))
    }

    /// Whether this very secret is there.
    pub(super) fn has(&self, of: &[u8; 32], label: Label, bytes: &[u8]) -> bool {
        self.of(of)
            .any(|(_, entry)| entry.label == label && self.secret(entry) == Some(bytes))
    }

    /// How many a connection of the capture had.
    pub(super) fn met(&self) -> usize {
        let entries = self.blocks.iter().flatten();
        entries
            .filter(|entry| entry.met.load(Ordering::Relaxed))
            .count()
    }

    fn number_of(&mut self, source: Source) -> Option<u32> {
        if self.sources.last() != Some(&source) {
            self.sources.push(source);
        }
        u32::try_from(self.sources.len().checked_sub(1)?).ok()
    }

    /// Keeps a secret; one that is known already gets `source` where that is
    /// known from the start.
    pub(super) fn keep(
        &mut self,
        of: [u8; 32],
        label: Label,
        bytes: &[u8],
        source: Source,
        max_of_session: usize,
        has_room: bool,
    ) -> Kept {
        let hash = self.hasher.hash_one(of);
        let (mut same, mut session) = (None, 0_usize);
        for &number in self.index.iter_hash(hash) {
            let Some(entry) = self.at(number).filter(|entry| entry.of == of) else {
                continue;
            };
            session = session.saturating_add(1);
            if entry.label == label && self.secret(entry) == Some(bytes) {
                same = Some(number);
            }
        }
        if let Some(number) = same {
            if !matches!(source, Source::Passing { .. })
                && let Some(source) = self.number_of(source)
                && let Ok(number) = usize::try_from(number)
                && let Some(block) = self.blocks.get_mut(number / BLOCK)
                && let Some(entry) = block.get_mut(number % BLOCK)
            {
                entry.source = source;
            }
            return Kept::Known;
        }
        if !has_room || session >= max_of_session {
            return Kept::LeftOut;
        }
        self.push(hash, of, label, bytes, source)
            .map_or(Kept::LeftOut, |()| Kept::New)
    }

    fn push(
        &mut self,
        hash: u64,
        of: [u8; 32],
        label: Label,
        bytes: &[u8],
        source: Source,
    ) -> Option<()> {
        let number = u32::try_from(self.len).ok()?;
        let source = self.number_of(source)?;
        let mut entry = Entry {
            of,
            bytes: [0; MAX_SECRET],
            len: u8::try_from(bytes.len()).unwrap_or(u8::MAX),
            label,
            met: AtomicBool::new(false),
            source,
        };
        match entry.bytes.get_mut(..bytes.len()) {
            Some(place) => place.copy_from_slice(bytes),
            None => {
                let number = u32::try_from(self.long.len()).ok()?;
                entry
                    .bytes
                    .first_chunk_mut::<4>()?
                    .copy_from_slice(&number.to_le_bytes());
                self.long.push(Zeroizing::new(bytes.into()));
            }
        }
        if self.blocks.last().is_none_or(|block| block.len() >= BLOCK) {
            self.blocks.push(Vec::with_capacity(BLOCK));
        }
        self.blocks.last_mut()?.push(entry);
        self.len = self.len.saturating_add(1);
        let (blocks, hasher) = (&self.blocks, &self.hasher);
        self.index.insert_unique(hash, number, |number| {
            let number = usize::try_from(*number).unwrap_or(usize::MAX);
            let entry = blocks
                .get(number / BLOCK)
                .and_then(|block| block.get(number % BLOCK));
            hasher.hash_one(entry.map_or([0; 32], |entry| entry.of))
        });
        Some(())
    }
}
