//! Whatever happens to a sealed folder, `verify` names it.

use super::*;
use crate::capture::CaptureSummary;
use crate::table::tests::{coverage, finding, flow, verdict};
use crate::table::{FileMeta, read};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

const SECRET: &[u8] = b"one secret of at least 32 bytes, for tests";
const OTHER: &[u8] = b"another secret of at least 32 bytes, for tests";

fn key() -> Key {
    Key::from_secret(SECRET).unwrap()
}

fn other_key() -> Key {
    Key::from_secret(OTHER).unwrap()
}

fn input() -> ManifestInput {
    let started = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_352_645);
    ManifestInput {
        tool_version: "0.1.0".into(),
        git_commit: None,
        command_line: vec![
            "nsforensics".into(),
            "analyze".into(),
            "Grüße \u{1}\"\\.pcap".into(),
        ],
        policy: "built-in".into(),
        policy_sha256: "00".repeat(32),
        public_suffix_list: "psl 2.1.247",
        host: "analyst".into(),
        started,
        ended: started + Duration::from_nanos(1),
        threads: 2,
        max_rss_bytes: Some(1 << 20),
        cpu_ns: None,
        hashed: true,
        trust_store: TrustStoreEntry::default(),
        inputs: vec![InputEntry {
            path: "a.pcap".into(),
            size_bytes: 24,
            sha256: Some("11".repeat(32)),
            error: None,
        }],
        counts: BTreeMap::from([("high".into(), 1)]),
        exit_status: 0,
        indicators: None,
        rules: Vec::new(),
        alerts: false,
        rescored: None,
        errors: Vec::new(),
    }
}

/// A small run sealed with `key`.
fn sealed(out: &Path, key: &Key) -> PathBuf {
    let mut folder = RunFolder::create(out, input().started).unwrap();
    let mut tables = OutputSet::create(&folder, key, &FileMeta::default()).unwrap();
    for n in 0..500 {
        tables.push_flow(flow(n)).unwrap();
    }
    assert_eq!(tables.row_counts().flows, 500);
    let mut tables = tables.close_facts(&mut folder).unwrap();
    tables.push_capture(0, CaptureSummary::default()).unwrap();
    tables.push_findings(&[finding()]).unwrap();
    tables.push_coverage(coverage()).unwrap();
    tables.push_verdict(verdict()).unwrap();
    assert_eq!(tables.row_counts().flows, 500);
    tables.finish(&mut folder).unwrap();
    folder
        .add_document("policy.yaml", b"network: {}\n", key)
        .unwrap();
    folder.seal(&input(), key).unwrap()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.sort();
    files
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

#[track_caller]
fn blames(run: &Path, keys: &[Key], file: &str, expected: impl Fn(&Trouble) -> bool) {
    let report = verify(run, keys).unwrap();
    assert!(!report.is_intact());
    let found = report
        .problems
        .iter()
        .any(|p| p.file == file && expected(&p.trouble));
    assert!(found, "{file}: {:?}", report.problems);
}

#[test]
fn a_sealed_run_is_intact_and_readable() {
    let out = tempfile::tempdir().unwrap();
    let run = sealed(out.path(), &key());
    let report = verify(&run, &[other_key(), key()]).unwrap();
    assert_eq!(report.problems, []);
    assert!(report.is_intact());
    assert_eq!(report.run_id.as_deref(), Some(name(&run)));
    assert!(name(&run).starts_with("20261122T"), "{}", name(&run));
    // Twelve tables and the policy.
    assert_eq!(report.files, 13);
    assert_eq!(read::verdicts(&run).unwrap(), [verdict()]);
    assert_eq!(
        read::all_rows(&run.join("flows.parquet")).unwrap().len(),
        500
    );
    assert_eq!(files(out.path()), [run], "nothing else stays behind");
}

#[test]
fn every_flipped_bit_names_its_file() {
    let out = tempfile::tempdir().unwrap();
    let run = sealed(out.path(), &key());
    let files = files(&run);
    let total: u64 = files.iter().map(|f| f.metadata().unwrap().len()).sum();
    // A fixed walk over 1,000 places, spread over all files by size.
    let mut state: u64 = 0x1234_5678_9abc_def1;
    for _ in 0..1_000 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let mut at = state % total;
        let file = files
            .iter()
            .find(|file| {
                let len = file.metadata().unwrap().len();
                let here = at < len;
                if !here {
                    at -= len;
                }
                here
            })
            .unwrap();
        let mut bytes = std::fs::read(file).unwrap();
        let place = usize::try_from(at).unwrap();
        let bit = 1 << (state >> 60 & 7);
        bytes[place] ^= bit;
        std::fs::write(file, &bytes).unwrap();
        blames(&run, &[key()], name(file), |_| true);
        bytes[place] ^= bit;
        std::fs::write(file, &bytes).unwrap();
    }
    assert!(verify(&run, &[key()]).unwrap().is_intact());
}

#[test]
fn every_byte_of_the_manifest_counts() {
    let out = tempfile::tempdir().unwrap();
    let run = sealed(out.path(), &key());
    let path = run.join(MANIFEST);
    let original = std::fs::read(&path).unwrap();
    for place in (0..original.len()).step_by(7) {
        let mut bytes = original.clone();
        bytes[place] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        blames(&run, &[key()], MANIFEST, |_| true);
    }
    for bytes in [
        original[..original.len() / 2].to_vec(),
        Vec::new(),
        [&original[..], b"\n"].concat(),
    ] {
        std::fs::write(&path, bytes).unwrap();
        blames(&run, &[key()], MANIFEST, |t| {
            matches!(t, Trouble::NotAManifest(_))
        });
    }
}

#[test]
fn a_change_is_found_down_to_the_row_group() {
    let out = tempfile::tempdir().unwrap();
    let run = sealed(out.path(), &key());
    let path = run.join("flows.parquet");
    let original = std::fs::read(&path).unwrap();
    let changed = |place: usize| {
        let mut bytes = original.clone();
        bytes[place] ^= 0x40;
        std::fs::write(&path, &bytes).unwrap();
    };
    changed(100);
    blames(
        &run,
        &[key()],
        "flows.parquet",
        |t| matches!(t, Trouble::Changed { row_groups, outside: false, bytes: None } if row_groups == &[0]),
    );
    changed(original.len() - 9);
    blames(
        &run,
        &[key()],
        "flows.parquet",
        |t| matches!(t, Trouble::Changed { row_groups, outside: true, bytes: None } if row_groups.is_empty()),
    );
    std::fs::write(&path, [&original[..], b"x"].concat()).unwrap();
    let longer = original.len() as u64 + 1;
    blames(
        &run,
        &[key()],
        "flows.parquet",
        |t| matches!(t, Trouble::Changed { bytes: Some(bytes), .. } if *bytes == longer),
    );
    std::fs::write(&path, &original[..50]).unwrap();
    blames(
        &run,
        &[key()],
        "flows.parquet",
        |t| matches!(t, Trouble::Changed { row_groups, bytes: Some(50), .. } if row_groups == &[0]),
    );
}

#[test]
fn removed_added_swapped_and_linked_files_are_named() {
    let out = tempfile::tempdir().unwrap();
    let run = sealed(out.path(), &key());
    let keys = [key()];
    let at = |file: &str| run.join(file);
    let aside = out.path().join("aside");

    std::fs::rename(at("findings.parquet"), &aside).unwrap();
    blames(&run, &keys, "findings.parquet", |t| *t == Trouble::Missing);
    std::os::unix::fs::symlink(&aside, at("findings.parquet")).unwrap();
    blames(&run, &keys, "findings.parquet", |t| *t == Trouble::NotAFile);
    std::fs::remove_file(at("findings.parquet")).unwrap();
    std::fs::create_dir(at("findings.parquet")).unwrap();
    blames(&run, &keys, "findings.parquet", |t| *t == Trouble::NotAFile);
    std::fs::remove_dir(at("findings.parquet")).unwrap();
    std::fs::rename(&aside, at("findings.parquet")).unwrap();

    for added in [
        "notes.txt",
        ".hidden",
        "manifest.json.bak",
        "manifest.xyz.json",
    ] {
        std::fs::write(at(added), b"").unwrap();
        blames(&run, &keys, added, |t| *t == Trouble::Added);
        std::fs::remove_file(at(added)).unwrap();
    }

    std::fs::rename(at("coverage.parquet"), &aside).unwrap();
    std::fs::rename(at("verdicts.parquet"), at("coverage.parquet")).unwrap();
    std::fs::rename(&aside, at("verdicts.parquet")).unwrap();
    for swapped in ["coverage.parquet", "verdicts.parquet"] {
        blames(&run, &keys, swapped, |t| {
            matches!(t, Trouble::Changed { .. })
        });
    }
    std::fs::rename(at("verdicts.parquet"), &aside).unwrap();
    std::fs::rename(at("coverage.parquet"), at("verdicts.parquet")).unwrap();
    std::fs::rename(&aside, at("coverage.parquet")).unwrap();
    assert!(verify(&run, &keys).unwrap().is_intact());

    std::fs::remove_file(at(MANIFEST)).unwrap();
    blames(&run, &keys, MANIFEST, |t| *t == Trouble::Missing);
}

#[test]
fn a_manifest_of_another_run_over_the_same_input_is_named() {
    let out = tempfile::tempdir().unwrap();
    let (one, two) = (sealed(out.path(), &key()), sealed(out.path(), &key()));
    // The tables are the same byte for byte, so only the run's id tells them apart.
    assert_eq!(
        std::fs::read(one.join("flows.parquet")).unwrap(),
        std::fs::read(two.join("flows.parquet")).unwrap()
    );
    std::fs::copy(one.join(MANIFEST), two.join(MANIFEST)).unwrap();
    let other = name(&one).to_owned();
    blames(&two, &[key()], MANIFEST, |t| {
        *t == Trouble::OtherRun(other.clone())
    });
}

#[test]
fn a_wrong_key_and_an_unknown_key_are_told_apart() {
    let out = tempfile::tempdir().unwrap();
    let run = sealed(out.path(), &key());
    for keys in [vec![], vec![other_key()]] {
        let id = key().id();
        blames(&run, &keys, MANIFEST, |t| {
            *t == Trouble::UnknownKey(id.clone())
        });
        assert!(verify(&run, &keys).unwrap().only_lacks_key());
    }
    // Somebody without the key changes a count and leaves the rest.
    let path = run.join(MANIFEST);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"high\":1", "\"high\":0")).unwrap();
    blames(&run, &[key()], MANIFEST, |t| *t == Trouble::BadSeal);
    // Or hides behind a key that nobody has: the tables' own seals give it away.
    let id = key().id();
    std::fs::write(&path, text.replace(&id, "0123456789abcdef")).unwrap();
    blames(&run, &[other_key(), key()], MANIFEST, |t| {
        *t == Trouble::BadSeal
    });
    // Without the key, changed tables show all the same.
    std::fs::write(&path, &text).unwrap();
    std::fs::write(run.join("flows.parquet"), b"").unwrap();
    blames(&run, &[], "flows.parquet", |t| {
        matches!(t, Trouble::Changed { .. })
    });
    assert!(!verify(&run, &[]).unwrap().only_lacks_key());
}

#[test]
fn a_run_that_was_cut_off_cannot_pass_for_complete() {
    let out = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(out.path(), SystemTime::now()).unwrap();
    assert!(name(folder.partial_path()).starts_with(PARTIAL_PREFIX));
    let mut tables = OutputSet::create(&folder, &key(), &FileMeta::default()).unwrap();
    tables.push_flow(flow(1)).unwrap();
    blames(folder.partial_path(), &[key()], MANIFEST, |t| {
        *t == Trouble::Missing
    });

    // Cut off after the manifest and before the renaming: the worst moment.
    let run = sealed(out.path(), &key());
    let partial = out.path().join(format!("{PARTIAL_PREFIX}{}", name(&run)));
    std::fs::rename(&run, &partial).unwrap();
    blames(&partial, &[key()], MANIFEST, |t| {
        matches!(t, Trouble::NotAManifest(_))
    });

    let own = folder.partial_path().to_owned();
    drop((tables, folder));
    assert!(
        !own.exists(),
        "a run that failed takes its own folder with it"
    );
    assert!(partial.exists(), "and nobody else's");
}

#[test]
fn nothing_is_ever_overwritten() {
    let out = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(out.path(), SystemTime::now()).unwrap();
    let taken = out.path().join(folder.run_id());
    std::fs::create_dir(&taken).unwrap();
    let error = folder.seal(&input(), &key()).unwrap_err();
    assert!(error.to_string().contains("cannot publish"), "{error}");
    assert_eq!(files(&taken), [] as [PathBuf; 0]);

    let folder = RunFolder::create(out.path(), SystemTime::now()).unwrap();
    folder.create_file("flows.parquet", &key()).unwrap();
    assert!(folder.create_file("flows.parquet", &key()).is_err());
}

#[test]
fn a_resealed_run_verifies_with_either_key() {
    let out = tempfile::tempdir().unwrap();
    let run = sealed(out.path(), &key());
    let seal = reseal(&run, &[key()], &other_key(), SystemTime::now()).unwrap();
    assert_eq!(name(&seal), format!("manifest.{}.json", other_key().id()));
    for keys in [vec![key()], vec![other_key()], vec![key(), other_key()]] {
        let report = verify(&run, &keys).unwrap();
        assert_eq!(report.problems, []);
        assert!(report.is_intact());
        let verified = report.seals.iter().filter(|seal| seal.verified).count();
        assert_eq!((verified, report.seals.len()), (keys.len(), 2));
        assert_eq!(report.notes.len(), 2 - keys.len());
    }
    // Nothing prepared stays behind.
    assert_eq!(files(out.path()), std::slice::from_ref(&run));
    assert!(
        reseal(&run, &[key()], &other_key(), SystemTime::now()).is_err(),
        "twice"
    );
    assert!(
        reseal(&run, &[other_key()], &key(), SystemTime::now()).is_err(),
        "as at first"
    );

    // The new seal vouches for the old one: every bit, and that it is there.
    let first = run.join(MANIFEST);
    let original = std::fs::read(&first).unwrap();
    let text = String::from_utf8(original.clone()).unwrap();
    let hmac = text.find("\"hmac\":\"").unwrap() + 8;
    let mut bytes = original.clone();
    bytes[hmac] = if bytes[hmac] == b'0' { b'1' } else { b'0' };
    std::fs::write(&first, &bytes).unwrap();
    blames(&run, &[other_key()], MANIFEST, |t| *t == Trouble::BadSeal);
    std::fs::remove_file(&first).unwrap();
    blames(&run, &[other_key()], MANIFEST, |t| *t == Trouble::Missing);
    std::fs::write(&first, &original).unwrap();

    // With both keys a change of either seal is seen.
    let mut bytes = std::fs::read(&seal).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    std::fs::write(&seal, &bytes).unwrap();
    blames(&run, &[key(), other_key()], name(&seal), |_| true);
}

#[test]
fn a_broken_run_is_not_resealed() {
    let out = tempfile::tempdir().unwrap();
    let run = sealed(out.path(), &key());
    assert!(
        reseal(&run, &[], &other_key(), SystemTime::now()).is_err(),
        "without the old key"
    );
    std::fs::write(run.join("flows.parquet"), b"").unwrap();
    let error = reseal(&run, &[key()], &other_key(), SystemTime::now()).unwrap_err();
    assert!(error.to_string().contains("flows.parquet"), "{error}");
    assert!(
        !files(&run)
            .iter()
            .any(|file| name(file).starts_with("manifest.") && name(file) != MANIFEST)
    );
}

#[test]
fn a_forged_second_seal_is_named() {
    // Somebody with a key of their own adds a seal that says something else.
    let out = tempfile::tempdir().unwrap();
    let run = sealed(out.path(), &key());
    let seal = reseal(&run, &[key()], &other_key(), SystemTime::now()).unwrap();
    let text = std::fs::read_to_string(&seal).unwrap();
    let sealed_digest = {
        let manifest = Manifest::parse(text.as_bytes()).unwrap();
        manifest.outputs[0].sha256.clone()
    };
    let forged = text.replace(&sealed_digest, &"ab".repeat(32));
    std::fs::write(&seal, forged).unwrap();
    blames(&run, &[key()], name(&seal), |t| {
        *t == Trouble::SealsDisagree
    });
}

#[test]
fn hostile_manifests_stay_inside_the_folder() {
    let out = tempfile::tempdir().unwrap();
    let run = sealed(out.path(), &key());
    let path = run.join(MANIFEST);
    let text = std::fs::read_to_string(&path).unwrap();
    for name in ["../secret", "/etc/passwd", "..", "a/b", "", "manifest.json"] {
        std::fs::write(&path, text.replace("findings.parquet", name)).unwrap();
        blames(&run, &[key()], MANIFEST, |t| {
            matches!(t, Trouble::NotAManifest(_))
        });
    }
    let deep = "[".repeat(100_000);
    for bytes in [
        deep.as_bytes(),
        b"null",
        b"{}",
        b"\xff\xfe",
        b"{\"a\":1e999}",
    ] {
        std::fs::write(&path, bytes).unwrap();
        blames(&run, &[key()], MANIFEST, |t| {
            matches!(t, Trouble::NotAManifest(_))
        });
    }
    let huge = text.replace("\"offset\":4", "\"offset\":9007199254740991");
    std::fs::write(&path, huge).unwrap();
    blames(&run, &[key()], MANIFEST, |t| {
        matches!(t, Trouble::NotAManifest(_))
    });
}

#[test]
fn one_file_of_a_run_can_be_verified() {
    let out = tempfile::tempdir().unwrap();
    let run = sealed(out.path(), &key());
    std::fs::write(run.join("flows.parquet"), b"").unwrap();
    assert!(
        verify(&run.join("findings.parquet"), &[key()])
            .unwrap()
            .is_intact()
    );
    blames(&run.join("flows.parquet"), &[key()], "flows.parquet", |t| {
        matches!(t, Trouble::Changed { .. })
    });
    std::fs::write(run.join("stray"), b"").unwrap();
    blames(&run.join("stray"), &[key()], "stray", |t| {
        *t == Trouble::Added
    });
}

/// Runs the recipe over a run; `None` where Python is not installed.
fn recipe(run: &Path, secret: &[u8]) -> Option<(bool, String)> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../notebooks/verify.py");
    let python = Command::new("python3")
        .arg(script)
        .arg(run)
        .env("SECRET_KEY", std::str::from_utf8(secret).unwrap())
        .output();
    match python {
        Ok(output) => {
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said).into_owned();
            Some((output.status.success(), said))
        }
        Err(e) => {
            eprintln!("SKIPPED: python3 cannot be run: {e}");
            None
        }
    }
}

#[test]
fn the_recipe_is_thirty_lines_of_code() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../notebooks/verify.py");
    let text = std::fs::read_to_string(script).unwrap();
    let code = text.split("\"\"\"").nth(2).unwrap();
    let lines = code.lines().filter(|line| !line.trim().is_empty());
    assert!(lines.count() <= 30);
}

#[test]
fn the_recipe_without_a_run_says_how_it_is_called() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../notebooks/verify.py");
    let Ok(said) = Command::new("python3").arg(script).output() else {
        eprintln!("SKIPPED: python3 cannot be run");
        return;
    };
    assert_eq!(said.status.code(), Some(2));
    let text = String::from_utf8_lossy(&said.stderr);
    assert!(
        text.starts_with("usage: ") && text.lines().count() == 1,
        "{text}"
    );
}

#[test]
fn thirty_lines_of_python_verify_the_same_run() {
    let out = tempfile::tempdir().unwrap();
    let run = sealed(out.path(), &key());
    let Some((intact, said)) = recipe(&run, SECRET) else {
        return;
    };
    assert!(intact, "{said}");
    let fails = |secret: &[u8], named: &str| {
        let (intact, said) = recipe(&run, secret).unwrap();
        assert!(!intact && said.contains(named), "{named}: {said}");
    };
    fails(OTHER, "manifest.json");
    for file in files(&run) {
        let original = std::fs::read(&file).unwrap();
        let mut bytes = original.clone();
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        std::fs::write(&file, bytes).unwrap();
        fails(SECRET, name(&file));
        std::fs::write(&file, original).unwrap();
    }
    reseal(&run, &[key()], &other_key(), SystemTime::now()).unwrap();
    for secret in [SECRET, OTHER] {
        let (intact, said) = recipe(&run, secret).unwrap();
        assert!(intact, "{said}");
    }
    std::fs::write(run.join("stray"), b"").unwrap();
    fails(SECRET, "stray");
    std::fs::remove_file(run.join("stray")).unwrap();
    std::fs::remove_file(run.join("coverage.parquet")).unwrap();
    fails(SECRET, "coverage.parquet");
}
