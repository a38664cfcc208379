//! What is too rare to matter, told from the rest in memory that does not grow.

use foldhash::fast::FixedState;
use std::hash::{BuildHasher, Hash};

/// Counts keys, never too low: a key shares its two counters with others, and the
/// lower one counts (Cormode and Muthukrishnan 2005). Up to 255 each. The hash is
/// the same in every run, since what passes decides what is found; whoever makes
/// keys collide lets more of them pass.
#[derive(Debug)]
pub struct Sieve {
    hasher: FixedState,
    counters: Box<[u8]>,
}

/// Counters: of a million keys, once each, fewer than ten pass as six, and the more
/// the more keys there are.
const COUNTERS: usize = 1 << 23;

impl Default for Sieve {
    fn default() -> Self {
        Self {
            hasher: FixedState::with_seed(0),
            counters: vec![0; COUNTERS].into_boxed_slice(),
        }
    }
}

impl Sieve {
    fn places(&self, key: &impl Hash) -> [usize; 2] {
        let hash = self.hasher.hash_one(key);
        [hash as u32, (hash >> 32) as u32].map(|half| half as usize % COUNTERS)
    }

    /// Counts a key.
    pub fn add(&mut self, key: &impl Hash, times: u8) {
        for place in self.places(key) {
            if let Some(counter) = self.counters.get_mut(place) {
                *counter = counter.saturating_add(times);
            }
        }
    }

    /// How often, at most, a key was counted.
    pub fn count(&self, key: &impl Hash) -> u8 {
        let [one, other] = self.places(key).map(|place| self.counters.get(place));
        one.min(other).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_counted_too_low_and_few_too_high() {
        let mut sieve = Sieve::default();
        for key in 0..1_000_000_u32 {
            sieve.add(&key, 1);
        }
        for _ in 0..6 {
            sieve.add(&"often", 1);
        }
        sieve.add(&"at once", u8::MAX);
        assert!(sieve.count(&"often") >= 6 && sieve.count(&"at once") == u8::MAX);
        let counts: Vec<u8> = (0..1_000_000_u32).map(|key| sieve.count(&key)).collect();
        assert!(counts.iter().all(|count| *count >= 1));
        let high = counts.iter().filter(|count| **count >= 6).count();
        assert!(high < 10, "{high}");
    }
}
