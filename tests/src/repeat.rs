//! The same input gives the same table bytes, however it is read.

use crate::public;
use crate::runs::{self, How};
use std::path::{Path, PathBuf};

fn samples(folder: &Path, out: &mut Vec<PathBuf>) {
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("samples")
        .flatten()
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    for path in paths {
        let kind = path
            .extension()
            .and_then(|end| end.to_str())
            .unwrap_or_default();
        if path.is_dir() {
            samples(&path, out);
        } else if matches!(kind, "pcap" | "pcapng" | "gz" | "zst") {
            out.push(path);
        }
    }
}

/// Asserts that every way of reading gives the tables of the first way.
fn same(capture: &Path, ways: &[How]) {
    let out = tempfile::tempdir().expect("a folder for runs");
    let mut expected: Option<Vec<(String, Vec<u8>)>> = None;
    for (number, how) in ways.iter().enumerate() {
        let Ok(report) = runs::run(capture, out.path(), how) else {
            assert!(
                expected.is_none(),
                "{}: way {number} cannot read it",
                capture.display()
            );
            return;
        };
        let tables = runs::table_bytes(&report.folder);
        assert_eq!(tables.len(), 12, "{}", capture.display());
        match &expected {
            None => expected = Some(tables),
            Some(expected) => {
                for ((name, before), (_, now)) in expected.iter().zip(&tables) {
                    let file = capture.display();
                    assert!(before == now, "{file}: {name} differs with way {number}");
                }
            }
        }
    }
}

fn way(threads: usize, chunk_bytes: Option<usize>) -> How {
    How {
        threads: Some(threads),
        chunk_bytes,
        ..How::default()
    }
}

#[test]
fn samples_give_the_same_tables_for_any_threads_and_chunks() {
    let mut captures = Vec::new();
    samples(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples"),
        &mut captures,
    );
    assert!(!captures.is_empty(), "the project has samples");
    let ways = [
        way(1, None),
        way(2, None),
        way(8, None),
        way(2, Some(65_536)),
        way(8, Some(1_000)),
    ];
    for capture in captures {
        same(&capture, &ways);
    }
}

#[test]
fn public_captures_give_the_same_tables_for_any_threads_and_chunks() {
    let test = "public_captures_give_the_same_tables_for_any_threads_and_chunks";
    let Some(folder) = public::folder(test) else {
        return;
    };
    let ways = [way(1, None), way(2, Some(65_536)), way(8, Some(65_536))];
    for truth in public::truth(&folder) {
        same(&folder.join(public::text(&truth, "path")), &ways);
    }
}
