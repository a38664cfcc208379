//! Fuzzing without a fuzzer: seeds are mutated by a seeded generator and given
//! to every target in turn, for so many seconds. A failure names the target,
//! the seed and the round, which repeat it exactly.
//!
//! ```sh
//! cargo run -p nsforensics-tests --bin fuzz-loop -- 60 [SEED]
//! ```

use std::path::Path;
use std::time::{Duration, Instant};

/// xorshift64* (Vigna 2016): repeatable, and fast enough.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 16).unwrap_or(0) % bound.max(1)
    }
}

fn mutate(random: &mut Random, seed: &[u8]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=random.below(8) {
        let at = random.below(bytes.len());
        match random.below(6) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, random.next() as u8),
            2 => {
                let end = (at + random.below(64)).min(bytes.len());
                bytes.drain(at..end);
            }
            3 => {
                let end = (at + random.below(64)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            4 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = [0, 1, 0x7f, 0x80, 0xff][random.below(5)];
                }
            }
        }
        if bytes.is_empty() {
            bytes.push(random.next() as u8);
        }
    }
    bytes
}

fn seeds(folder: &Path, out: &mut Vec<Vec<u8>>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            seeds(&path, out);
        } else if let Ok(bytes) = std::fs::read(&path)
            && bytes.len() < 1 << 16
        {
            out.push(bytes);
        }
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let number = |text: Option<String>, otherwise| {
        text.and_then(|text| text.parse().ok()).unwrap_or(otherwise)
    };
    let seconds = number(arguments.next(), 60);
    let seed = number(arguments.next(), 0x5eed);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut corpus = nsforensics_tests::seeds();
    corpus.push(b"x".to_vec());
    for folder in ["samples", "rules"] {
        seeds(&root.join(folder), &mut corpus);
    }
    let targets = nsforensics_tests::targets();
    let mut random = Random(seed | 1);
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut rounds = 0_u64;
    while Instant::now() < until {
        let seed_file = &corpus[random.below(corpus.len())];
        let input = mutate(&mut random, seed_file);
        let (name, target) = targets[random.below(targets.len())];
        let begun = Instant::now();
        if std::panic::catch_unwind(|| target(&input)).is_err() {
            let kept = std::env::temp_dir().join(format!("fuzz-{name}-{seed}-{rounds}"));
            let told = match std::fs::write(&kept, &input) {
                Ok(()) => format!("kept as {}", kept.display()),
                Err(error) => format!("{} not written: {error}", kept.display()),
            };
            eprintln!(
                "target {name} failed: seed {seed}, round {rounds}, {} bytes, {told}",
                input.len()
            );
            std::process::exit(1);
        }
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "{name} hangs: seed {seed}, round {rounds}"
        );
        rounds += 1;
    }
    println!(
        "fuzz-loop: {rounds} inputs to {} targets, none failed",
        targets.len()
    );
}
