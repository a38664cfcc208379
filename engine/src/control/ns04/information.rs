//! How much a set of names can carry: an upper bound by what they compress to,
//! as in Paxson et al., "Practical Comprehensive Bounds on Surreptitious
//! Communication Over DNS" (USENIX Security 2013). Memory is bounded by keeping
//! the names with the smallest hashes (k minimum values): few names are kept
//! whole, of many a fair sample is, and their number is estimated.

use foldhash::fast::FixedState;
use std::collections::BTreeMap;
use std::hash::BuildHasher as _;
use std::io::Write as _;

/// Names kept of one set; 192 estimate the number of all within 7 per cent.
const KEPT: usize = 192;
/// The same hash for every run: which names are kept must not change.
const HASHER: FixedState = FixedState::with_seed(0x6e73_6634);

/// A set of names, a sample of which is kept.
#[derive(Clone, Debug, Default)]
pub(super) struct NameSet {
    kept: BTreeMap<u64, Box<str>>,
    /// Some were left out.
    is_sample: bool,
}

impl NameSet {
    /// Takes a name; gives how many bytes more (or fewer) are held.
    pub(super) fn insert(&mut self, name: &str) -> isize {
        let hash = HASHER.hash_one(name);
        self.put(hash, || name.into())
    }

    fn put(&mut self, hash: u64, name: impl FnOnce() -> Box<str>) -> isize {
        if self.kept.contains_key(&hash) {
            return 0;
        }
        let full = self.kept.len() >= KEPT;
        if full
            && self
                .kept
                .last_key_value()
                .is_some_and(|(&last, _)| hash > last)
        {
            self.is_sample = true;
            return 0;
        }
        let name = name();
        let mut more = size(&name);
        self.kept.insert(hash, name);
        if full {
            self.is_sample = true;
            if let Some((_, gone)) = self.kept.pop_last() {
                more -= size(&gone);
            }
        }
        more
    }

    /// Takes all of another set.
    pub(super) fn merge(&mut self, other: &Self) {
        for (&hash, name) in &other.kept {
            self.put(hash, || name.clone());
        }
        self.is_sample |= other.is_sample;
    }

    /// How many different names there were.
    pub(super) fn distinct(&self) -> f64 {
        let kept = self.kept.len() as f64;
        match self.kept.last_key_value() {
            Some((&last, _)) if self.is_sample => {
                (kept - 1.0) / ((last as f64 + 1.0) / (u64::MAX as f64))
            }
            _ => kept,
        }
    }

    /// Bytes that all of them carry at most.
    pub(super) fn information(&self) -> f64 {
        let mut names: Vec<&str> = self.kept.values().map(AsRef::as_ref).collect();
        if names.is_empty() {
            return 0.0;
        }
        names.sort_unstable();
        let kept = names.len() as f64;
        let text = names.join("\n");
        let bits = compressed(&text).min(letters(&text));
        bits * self.distinct() / kept
    }

    /// Mean length of the names.
    pub(super) fn mean_length(&self) -> f64 {
        let sum: usize = self.kept.values().map(|name| name.len()).sum();
        sum as f64 / self.kept.len().max(1) as f64
    }

    /// Some of the names, the first by letters.
    pub(super) fn examples(&self, most: usize) -> Vec<&str> {
        let mut names: Vec<&str> = self.kept.values().map(AsRef::as_ref).collect();
        names.sort_unstable();
        names.truncate(most);
        names
    }
}

/// What a name takes in memory, about.
fn size(name: &str) -> isize {
    isize::try_from(name.len()).unwrap_or(isize::MAX / 2) + 48
}

/// Bytes after DEFLATE.
fn compressed(text: &str) -> f64 {
    /// An empty final block.
    const OVERHEAD: f64 = 2.0;
    let level = flate2::Compression::best();
    let mut out = flate2::write::DeflateEncoder::new(Vec::new(), level);
    let written = out.write_all(text.as_bytes()).and_then(|()| out.finish());
    written.map_or(text.len() as f64, |bytes| {
        (bytes.len() as f64 - OVERHEAD).max(0.0)
    })
}

/// Bytes by the frequency of letters, and of the table that says so: for few
/// random names less than DEFLATE's fixed codes take.
fn letters(text: &str) -> f64 {
    let mut counts = [0_u32; 256];
    for &byte in text.as_bytes() {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
    }
    let all = text.len() as f64;
    let seen = counts.iter().filter(|&&count| count > 0);
    let bits: f64 = seen
        .clone()
        .map(|&count| f64::from(count) * (all / f64::from(count)).log2())
        .sum();
    bits / 8.0 + seen.count() as f64 / 2.0
}

/// What a name says beyond what every name of its kind says: without labels of
/// services (`_dmarc`, RFC 8552), addresses written in octets or nibbles
/// (RFC 1035 §3.5, RFC 5782), and `www`.
pub(super) fn telling(subdomain: &str) -> String {
    let labels: Vec<&str> = subdomain.split('.').collect();
    let is_octet = |label: &&str| label.parse::<u8>().is_ok();
    let is_nibble = |label: &&str| label.len() == 1 && label.bytes().all(|b| b.is_ascii_hexdigit());
    let octets = labels.iter().take_while(|label| is_octet(label)).count();
    let nibbles = labels.iter().take_while(|label| is_nibble(label)).count();
    let skip = match (octets, nibbles) {
        (_, 32) => 32,
        (4, _) => 4,
        _ => 0,
    };
    let rest = labels.iter().skip(skip);
    let rest: Vec<&str> = rest
        .filter(|label| !label.starts_with('_') && **label != "www")
        .copied()
        .collect();
    rest.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: impl Iterator<Item = String>) -> NameSet {
        let mut set = NameSet::default();
        for name in names {
            set.insert(&name);
        }
        set
    }

    /// Random letters by a linear congruence, `letters` different ones.
    fn random(seed: u64, len: usize, letters: u64) -> String {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        (0..len)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                char::from(b'a' + u8::try_from((state >> 20) % letters).unwrap())
            })
            .collect()
    }

    #[test]
    fn random_names_carry_what_their_letters_do() {
        // 100 names of 32 letters out of 16: 4 bits each, 1,600 bytes, and line ends.
        let information = set((0..100).map(|seed| random(seed, 32, 16))).information();
        assert!((1_600.0..1_800.0).contains(&information), "{information}");
    }

    #[test]
    fn the_same_names_again_carry_nothing_more() {
        let once = set((0..50).map(|seed| random(seed, 20, 16)));
        let often = set((0..500).map(|seed| random(seed % 50, 20, 16)));
        assert_eq!(once.information(), often.information());
        assert_eq!(often.distinct(), 50.0);
    }

    #[test]
    fn a_sample_stands_for_all() {
        let many = set((0..20_000).map(|seed| random(seed, 24, 16)));
        assert!(
            (18_000.0..22_000.0).contains(&many.distinct()),
            "{}",
            many.distinct()
        );
        // 24 letters of 4 bits: 12 bytes each.
        let information = many.information();
        assert!(
            (210_000.0..290_000.0).contains(&information),
            "{information}"
        );
        assert!(many.kept.len() <= KEPT);
    }

    #[test]
    fn words_carry_little() {
        let hosts = [
            "www", "mail", "api", "static1", "static2", "static3", "img", "cdn",
        ];
        let information = set(hosts.iter().map(|host| (*host).to_owned())).information();
        assert!(information < 45.0, "{information}");
    }

    #[test]
    fn a_set_of_two_halves_is_that_of_the_whole() {
        let [mut a, b] =
            [0..300, 200..600].map(|seeds| set(seeds.map(|seed| random(seed, 16, 16))));
        a.merge(&b);
        let whole = set((0..600).map(|seed| random(seed, 16, 16)));
        assert_eq!(a.kept, whole.kept);
        assert_eq!(a.distinct(), whole.distinct());
    }

    #[test]
    fn what_every_name_of_its_kind_says_tells_nothing() {
        for (name, expected) in [
            ("2.0.0.127.zen", "zen"),
            ("www", ""),
            ("_dmarc", ""),
            ("s1._domainkey.mail", "s1.mail"),
            ("1.2.3", "1.2.3"),
            (
                "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.0.0.0.0.1.2.3.4.list",
                "list",
            ),
            ("aabbcc.ddeeff", "aabbcc.ddeeff"),
        ] {
            assert_eq!(telling(name), expected, "{name}");
        }
    }

    #[test]
    fn nothing_carries_nothing() {
        assert_eq!(NameSet::default().information(), 0.0);
        assert_eq!(NameSet::default().mean_length(), 0.0);
    }
}
