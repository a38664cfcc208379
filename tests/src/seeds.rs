//! The seeds and beginnings of the fuzz targets: they are what they say they are, no
//! reader of the engine is without one, and the targets' invariants hold for each of
//! their beginnings. The lists of targets agree.

use nsforensics_tests::readers::{BEGINNINGS, facts_of};
use nsforensics_tests::{dns, dns_rows, http, http_rows, seeds, targets};
use std::collections::BTreeSet;

#[test]
fn seeds_give_rows() {
    let [first, second, names] = &seeds()[..] else {
        panic!("three seeds");
    };
    // The request that every conversation begins with, a call, and an upgrade.
    assert_eq!(http_rows(first), (3, true));
    // Three requests, one of them reset, and a push.
    assert_eq!(http_rows(second), (4, true));
    // The question that every conversation begins with, and another.
    assert_eq!(dns_rows(names), (2, true));
}

#[test]
fn beginnings_of_seeds_hold() {
    for seed in seeds() {
        for len in 0..=seed.len() {
            http(&seed[..len]);
            dns(&seed[..len]);
        }
    }
}

/// Every conversation is known by how it begins, and every reader of the engine's
/// registry has a target: what reads no further than a probe needs none.
#[test]
fn every_reader_has_a_target() {
    let mut reached: BTreeSet<&str> = ["http", "dns"].into();
    for beginning in BEGINNINGS {
        let facts = facts_of(beginning, &[]);
        let service = facts.service.as_deref().unwrap_or_default();
        assert_eq!(service, beginning.service, "{beginning:?}");
        reached.insert(beginning.service);
    }
    let registry = include_str!("../../engine/src/proto/plain/registry.rs");
    let rows = registry
        .split("static STREAM")
        .nth(1)
        .expect("the registry");
    let rows = rows
        .split("pub(crate) fn by_alpn")
        .next()
        .unwrap_or_default();
    let mut readers = BTreeSet::new();
    for row in rows
        .split("row(")
        .flat_map(|row| row.split("secure("))
        .skip(1)
    {
        let row = row
            .split(')')
            .next()
            .unwrap_or_default()
            .trim()
            .trim_end_matches(',');
        let name = row.split('"').nth(1).expect("a name");
        if !row.ends_with("named") {
            readers.insert(name);
        }
    }
    assert!(readers.len() > 30, "{readers:?}");
    let without: Vec<_> = readers.difference(&reached).collect();
    assert!(without.is_empty(), "{without:?}");
}

/// libFuzzer's targets and those of test.sh are those that there are.
#[test]
fn lists_of_targets_agree() {
    let names: BTreeSet<String> = targets()
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    let list = include_str!("../../test.sh");
    let list = list
        .split("targets=(")
        .nth(1)
        .and_then(|rest| rest.split(')').next());
    let listed: BTreeSet<String> = list
        .unwrap_or_default()
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    assert_eq!(listed, names, "test.sh");
    let manifest = include_str!("../../fuzz/Cargo.toml");
    for name in &names {
        assert!(
            manifest.contains(&format!("fuzz_targets/{name}.rs")),
            "{name}"
        );
    }
}

/// What follows a beginning may be anything: each byte alone, and runs of them.
#[test]
fn anything_may_follow_a_beginning() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for beginning in BEGINNINGS {
        for round in 0..200_usize {
            let mut script = Vec::new();
            for _ in 0..random() % 6 {
                // The beginning again with some of its bytes changed, or noise.
                let turn = beginning.turns[round % beginning.turns.len()].1;
                let mut piece: Vec<u8> = turn.iter().copied().take(120).collect();
                for _ in 0..random() % 4 {
                    let at = random() as usize % piece.len();
                    piece[at] = (random() >> 8) as u8;
                }
                if random() % 4 == 0 {
                    piece.truncate(random() as usize % (piece.len() + 1));
                }
                let side = (random() >> 5) as u8 & 1;
                script.push((piece.len() as u8) << 1 | side);
                script.extend(piece);
            }
            facts_of(beginning, &script);
        }
    }
}
