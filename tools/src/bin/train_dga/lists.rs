//! The names: labels of registered domains, by family or by list.

use flate2::read::GzDecoder;
use nsforensics_engine::proto::dns::{dga, suffix};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::Path;

/// Families that put words together, or change names of others by a letter or
/// two: letters cannot tell them, so they neither teach nor count as known.
pub const OF_WORDS: [&str; 6] = [
    "charbot", "fosniw", "ngioweb", "nymaim", "rovnix", "suppobox",
];

/// Labels by family (DGA) and by list (benign), sorted, each once.
pub struct Lists {
    families: BTreeMap<String, Vec<String>>,
    benign: BTreeMap<String, Vec<String>>,
}

/// Names of one family or list.
pub type Names<'a> = (&'a str, Vec<&'a str>);

impl Lists {
    /// Reads `label, family, domain, source` lines.
    pub fn read(path: &Path) -> Result<Self, String> {
        let trouble = |error: std::io::Error| format!("{}: {error}", path.display());
        let file = std::fs::File::open(path).map_err(trouble)?;
        let mut text = String::new();
        GzDecoder::new(file)
            .read_to_string(&mut text)
            .map_err(trouble)?;
        let mut families: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut benign = families.clone();
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split('\t').collect();
            let [label, family, domain, _] = fields.as_slice() else {
                return Err(format!("{}: not four fields: {line}", path.display()));
            };
            let domain = domain.to_ascii_lowercase();
            let name = suffix::registered(&domain).and_then(dga::label);
            let Some(name) = name.and_then(|name| std::str::from_utf8(name).ok()) else {
                continue;
            };
            let into = if *label == "dga" {
                &mut families
            } else {
                &mut benign
            };
            into.entry((*family).to_owned())
                .or_default()
                .insert(name.to_owned());
        }
        let sorted = |map: BTreeMap<String, BTreeSet<String>>| {
            map.into_iter()
                .map(|(name, set)| (name, set.into_iter().collect()))
                .collect()
        };
        Ok(Self {
            families: sorted(families),
            benign: sorted(benign),
        })
    }

    /// Families that teach, those that are wanted.
    pub fn families(&self, wanted: impl Fn(&str) -> bool) -> Vec<Names<'_>> {
        let known = self
            .families
            .iter()
            .filter(|(name, _)| !OF_WORDS.contains(&name.as_str()));
        known
            .filter(|(name, _)| wanted(name))
            .map(|(name, labels)| (name.as_str(), labels.iter().map(String::as_str).collect()))
            .collect()
    }

    /// Families of words.
    pub fn word_families(&self) -> Vec<Names<'_>> {
        let words = OF_WORDS
            .iter()
            .filter_map(|name| self.families.get_key_value(*name));
        words
            .map(|(name, labels)| (name.as_str(), labels.iter().map(String::as_str).collect()))
            .collect()
    }

    /// Benign lists in three parts by tenths. A name is in the same part of every
    /// list that has it, and never in two parts.
    pub fn benign_parts(&self, tenths: [u64; 3]) -> [Vec<Names<'_>>; 3] {
        let bounds = [tenths[0], tenths[0] + tenths[1], 10];
        let mut parts = [Vec::new(), Vec::new(), Vec::new()];
        for (list, labels) in &self.benign {
            let mut split = [Vec::new(), Vec::new(), Vec::new()];
            for label in labels {
                let tenth = hash(label) % 10;
                let part = bounds.iter().position(|&bound| tenth < bound).unwrap_or(2);
                split[part].push(label.as_str());
            }
            for (part, names) in parts.iter_mut().zip(split) {
                part.push((list.as_str(), names));
            }
        }
        parts
    }
}

/// FNV-1a, its lower bits left out.
fn hash(text: &str) -> u64 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash >> 17
}

/// Xorshift (Marsaglia 2003): the same numbers everywhere.
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n.max(1)
    }

    /// So many different ones of `names`.
    pub fn choose<T: Copy>(&mut self, names: &[T], many: usize) -> Vec<T> {
        let many = many.min(names.len());
        let mut taken: Vec<usize> = Vec::with_capacity(many);
        if many * 2 > names.len() {
            taken.extend(0..names.len());
            for place in 0..many {
                let other = place + self.below(names.len() - place);
                taken.swap(place, other);
            }
            taken.truncate(many);
        }
        while taken.len() < many {
            let index = self.below(names.len());
            if !taken.contains(&index) {
                taken.push(index);
            }
        }
        taken.into_iter().map(|index| names[index]).collect()
    }
}
