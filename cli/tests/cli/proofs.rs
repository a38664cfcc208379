//! What a sealed run promises, asked of the real program: the same tables from
//! a file and from a stream, no folder that passes for complete after `kill -9`,
//! every flipped bit named, and a capture that another process cuts off.

use crate::capture;
use crate::support::{KEY, Place, text};
use nsforensics_engine::seal::{Key, verify};
use nsforensics_engine::table::read::all_rows;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// The sample that the README's first command reads.
fn sample() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/agent.pcap");
    fs::read(path).expect("the sample")
}

/// Numbers that look random and are the same in every run of the tests.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % limit
    }
}

/// Files of a folder by name.
fn files(folder: &Path) -> Vec<(String, PathBuf)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .map(|path| {
            let name = path.file_name().expect("a name").to_string_lossy();
            (name.into_owned(), path.clone())
        })
        .collect();
    files.sort();
    files
}

/// Tables as bytes; `captures` as its rows without what names the file.
fn tables(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let tables = files(folder)
        .into_iter()
        .filter(|(name, _)| name.ends_with(".parquet"));
    tables
        .map(|(name, path)| {
            if name != "captures.parquet" {
                return (name, fs::read(path).expect("a table"));
            }
            let mut rows = all_rows(&path).expect("rows");
            for row in &mut rows {
                assert!(row.remove("path").is_some() && row.remove("file_name").is_some());
            }
            (name, format!("{rows:?}").into_bytes())
        })
        .collect()
}

#[test]
fn a_stream_gives_the_tables_of_the_file() {
    let captures = [sample(), capture::ftp_login(), capture::many(300, 700)];
    for bytes in captures {
        let place = Place::new();
        place.write("evidence.pcap", &bytes);
        place
            .run_keyed(&["analyze", "evidence.pcap", "--out", "file", "--quiet"])
            .code(0);
        let expected = tables(&place.run_folder("file"));
        assert!(expected.len() >= 9);
        let ways: [(&str, &[&str]); 3] = [
            ("stream", &[]),
            ("chunks", &["--chunk-size", "65536"]),
            ("alone", &["--chunk-size", "65536", "--threads", "1"]),
        ];
        for (out, more) in ways {
            let arguments = [&["analyze", "-", "--out", out, "--quiet"], more].concat();
            place.run_fed(&arguments, &bytes).code(0);
            for (before, now) in expected.iter().zip(tables(&place.run_folder(out))) {
                assert!(*before == now, "{out}: {} differs", before.0);
            }
        }
    }
}

#[test]
fn a_killed_run_leaves_nothing_that_passes_for_complete() {
    let place = Place::new();
    place.write("evidence.pcap", capture::many(16_000, 600));
    let analyze = |out: &str| {
        let mut command = place.command(&["analyze", "evidence.pcap", "--out", out, "--quiet"]);
        command.env("SECRET_KEY", KEY);
        command
    };
    let begun = Instant::now();
    let whole = analyze("whole").output().expect("the program runs");
    assert_eq!(whole.status.code(), Some(0));
    let usual = begun.elapsed();
    let mut numbers = Numbers(20);
    let mut killed = 0;
    for round in 0..20 {
        let permille = u32::try_from(numbers.below(1_000)).expect("small");
        let out = format!("out{round}");
        let mut child = analyze(&out)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        std::thread::sleep(usual * permille / 1_000);
        // SIGKILL; a program that has ended by itself is left alone.
        drop(child.kill());
        let ended = child.wait().expect("it ends");
        killed += u32::from(ended.code().is_none());
        let Ok(entries) = fs::read_dir(place.path(&out)) else {
            continue;
        };
        for entry in entries {
            let folder = entry.expect("an entry").path();
            let name = folder.file_name().expect("a name").to_string_lossy();
            let mut command = place.command(&["verify", text(&folder)]);
            let verified = command.env("SECRET_KEY", KEY).output().expect("it runs");
            let complete = verified.status.code() == Some(0);
            // A folder has its name if, and only if, it is whole.
            assert_eq!(
                complete,
                !name.starts_with(".partial-"),
                "round {round}, {permille} permille of {usual:?}: {name}"
            );
            assert!(complete || ended.code().is_none(), "round {round}: {name}");
        }
        // What was left is in nobody's way.
        if round % 5 == 0 {
            let again = analyze(&out).output().expect("the program runs");
            assert_eq!(again.status.code(), Some(0));
        }
    }
    assert!(killed >= 5, "only {killed} of 20 runs were killed in time");
}

#[test]
fn every_flipped_bit_of_a_run_is_named() {
    let place = Place::new();
    place.write("evidence.pcap", sample());
    place
        .run_keyed(&["analyze", "evidence.pcap", "--out", "out", "--quiet"])
        .code(0);
    let folder = place.run_folder("out");
    let keys = [Key::from_secret(KEY.as_bytes()).expect("long enough")];
    assert!(verify(&folder, &keys).expect("readable").is_intact());
    let originals: Vec<_> = files(&folder)
        .into_iter()
        .map(|(name, path)| {
            let bytes = fs::read(&path).expect("readable");
            (name, path, bytes)
        })
        .collect();
    assert!(originals.len() >= 11, "tables, policy, manifest");
    let all: usize = originals.iter().map(|(_, _, bytes)| bytes.len()).sum();
    let mut numbers = Numbers(1_000);
    for round in 0..1_000 {
        let mut at = numbers.below(all);
        let bit = numbers.below(8);
        let file = originals.iter().find(|(_, _, bytes)| {
            let inside = at < bytes.len();
            at -= if inside { 0 } else { bytes.len() };
            inside
        });
        let (name, path, bytes) = file.expect("a place in one of them");
        let mut changed = bytes.clone();
        changed[at] ^= 1 << bit;
        overwrite(path, &changed);
        let report = verify(&folder, &keys);
        let named: Vec<String> = match &report {
            Ok(report) => report.problems.iter().map(|p| p.file.clone()).collect(),
            Err(error) => vec![error.to_string()],
        };
        assert!(
            named.iter().any(|told| told.contains(name.as_str())),
            "round {round}: bit {bit} of byte {at} of {name}, and told is {named:?}"
        );
        // The program itself says the same, now and then.
        if round % 50 == 0 {
            let ended = place.run_keyed(&["verify", text(&folder)]);
            let said = format!("{}{}", ended.stdout, ended.stderr);
            assert!(
                ended.code != Some(0) && said.contains(name.as_str()),
                "{said}"
            );
        }
        overwrite(path, bytes);
    }
    assert!(verify(&folder, &keys).expect("readable").is_intact());
}

/// Writes a file of a run anew, whatever its mode.
fn overwrite(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).expect("removed");
    fs::write(path, bytes).expect("written");
}

#[test]
fn added_removed_swapped_and_foreign_files_are_named() {
    let run = || {
        let place = Place::new();
        place.write("evidence.pcap", sample());
        place
            .run_keyed(&["analyze", "evidence.pcap", "--out", "out", "--quiet"])
            .code(0);
        let folder = place.run_folder("out");
        (place, folder)
    };
    let named = |place: &Place, folder: &Path, names: &[&str]| {
        let ended = place.run_keyed(&["verify", text(folder)]).code(1);
        for name in names {
            let said = format!("{}{}", ended.stdout, ended.stderr);
            assert!(said.contains(name), "{name} is not in {said}");
        }
    };
    let (place, folder) = run();
    fs::write(folder.join("more.parquet"), "x").expect("written");
    named(&place, &folder, &["more.parquet"]);
    fs::remove_file(folder.join("more.parquet")).expect("removed");
    place.run_keyed(&["verify", text(&folder)]).code(0);
    // Swapped: each is a whole table, in the other's place.
    let (flows, anomalies) = (
        folder.join("flows.parquet"),
        folder.join("findings.parquet"),
    );
    fs::rename(&flows, folder.join("aside")).expect("renamed");
    fs::rename(&anomalies, &flows).expect("renamed");
    fs::rename(folder.join("aside"), &anomalies).expect("renamed");
    named(&place, &folder, &["flows.parquet", "findings.parquet"]);
    fs::remove_file(&flows).expect("removed");
    named(&place, &folder, &["flows.parquet"]);
    // Another run of the same capture under the same key: its manifest is
    // sealed well, but is not this run's.
    let ((place, folder), (_other_place, other)) = (run(), run());
    let manifest = fs::read(other.join("manifest.json")).expect("readable");
    overwrite(&folder.join("manifest.json"), &manifest);
    named(&place, &folder, &["manifest.json"]);
}

#[test]
fn a_capture_that_is_cut_off_meanwhile_ends_with_a_warning() {
    let place = Place::new();
    let bytes = capture::many(1_500, 40_000);
    let path = place.write("evidence.pcap", &bytes);
    let mut command = place.command(&["analyze", "evidence.pcap", "--out", "out"]);
    command.env("SECRET_KEY", KEY);
    let child = command.spawn().expect("the program starts");
    // From the moment on at which it has mapped the file, and before it can
    // have read it all.
    let maps = format!("/proc/{}/maps", child.id());
    let begun = Instant::now();
    while !fs::read_to_string(&maps).is_ok_and(|maps| maps.contains("evidence.pcap")) {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "it never maps the file"
        );
        std::thread::yield_now();
    }
    let file = OpenOptions::new().write(true).open(&path).expect("opened");
    file.set_len(70_000).expect("cut");
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(
        said.contains("capture_unreadable") || said.contains("capture_truncated"),
        "no warning in {said:?}"
    );
    let folder = place.run_folder("out");
    place.run_keyed(&["verify", text(&folder)]).code(0);
    let flows = all_rows(&folder.join("flows.parquet")).expect("rows").len();
    assert!(
        (1..1_500).contains(&flows),
        "{flows} flows of what was left"
    );
}
