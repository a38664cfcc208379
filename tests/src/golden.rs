//! The samples against what they were made to show. An expectation names only
//! what matters of its capture: the services of the flows in order, the
//! outcomes of checks by status, their worst severities, findings, the TLS handshakes,
//! the HTTP requests, the DNS questions, columns of flows.

use crate::public::list;
use crate::runs::{self, How, Row, number, text};
use nsforensics_engine::policy::Policy;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples")
}

/// Every file below `folder` whose name ends so, in the order of their paths.
fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("samples are readable") {
            let path = entry.expect("samples are readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(end) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn entries<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = (&'v String, &'v Value)> {
    value
        .get(key)
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
}

/// A table in the order of time.
fn in_time(folder: &Path, name: &str) -> Vec<Row> {
    let mut rows = runs::table(folder, name);
    rows.sort_by_key(|row| (number(row, "first_offset"), text(row, "ts").to_owned()));
    rows
}

/// Everything in which a run differs from its expectation.
fn differences(expected: &Value, folder: &Path) -> Vec<String> {
    let mut problems = Vec::new();
    let verdicts: BTreeMap<String, Row> = runs::table(folder, "verdicts")
        .into_iter()
        .map(|row| (text(&row, "check_id").to_owned(), row))
        .collect();
    let nothing = Row::new();
    for (check, counts) in entries(expected, "checks") {
        let row = verdicts.get(check).unwrap_or(&nothing);
        for (status, count) in counts.as_object().into_iter().flatten() {
            let actual = number(row, status);
            if actual != count.as_i64() {
                problems.push(format!(
                    "{check} {status}: expected {count}, got {actual:?}"
                ));
            }
        }
    }
    for (check, severity) in entries(expected, "worst") {
        let actual = text(verdicts.get(check).unwrap_or(&nothing), "worst_severity");
        if Some(actual) != severity.as_str() {
            problems.push(format!(
                "{check} worst: expected {severity}, got {actual:?}"
            ));
        }
    }
    let services: Vec<_> = in_time(folder, "flows")
        .iter()
        .map(|row| row.get("service").cloned().unwrap_or_default())
        .collect();
    if expected.get("services").is_some() && services != list(expected, "services") {
        problems.push(format!("services: got {services:?}"));
    }
    problems.extend(row_differences(
        folder,
        "tls_handshakes",
        expected.get("tls"),
    ));
    // Most samples say nothing of their requests.
    if let Some(wanted) = expected.get("http") {
        problems.extend(row_differences(folder, "http_transactions", Some(wanted)));
    }
    if let Some(wanted) = expected.get("flows") {
        problems.extend(row_differences(folder, "flows", Some(wanted)));
    }
    if let Some(wanted) = expected.get("dns") {
        problems.extend(row_differences(folder, "dns_queries", Some(wanted)));
    }
    problems.extend(finding_differences(expected, folder));
    problems
}

/// Where the open findings of medium severity or higher of a control differ from those
/// named, and the number of a check's findings by its literal rule.
fn finding_differences(expected: &Value, folder: &Path) -> Vec<String> {
    let rows = runs::table(folder, "findings");
    let mut problems = Vec::new();
    for (control, wanted) in entries(expected, "findings") {
        let counts = |row: &&Row| {
            text(row, "control_id") == control
                && text(row, "status") == "open"
                && !matches!(text(row, "severity"), "info" | "low")
        };
        let mut found: Vec<String> = rows
            .iter()
            .filter(counts)
            .map(|row| ["check_id", "severity", "destination"].map(|column| text(row, column)))
            .map(|columns| columns.join(" "))
            .collect();
        found.sort();
        if Value::from(found.clone()) != *wanted {
            problems.push(format!(
                "findings of {control}: expected {wanted}, got {found:?}"
            ));
        }
    }
    for (check, wanted) in entries(expected, "literal") {
        let fired = |row: &&Row| {
            text(row, "check_id") == check && row.get("baseline") == Some(&Value::Bool(true))
        };
        let fired = rows.iter().filter(fired).count();
        if Some(fired as u64) != wanted.as_u64() {
            problems.push(format!(
                "{check} by its literal rule: expected {wanted}, got {fired}"
            ));
        }
    }
    problems
}

/// Where the rows of a table, in the order of time, differ from what is named of them.
fn row_differences(folder: &Path, table: &str, wanted: Option<&Value>) -> Vec<String> {
    let mut problems = Vec::new();
    let rows = in_time(folder, table);
    let wanted = wanted
        .and_then(Value::as_array)
        .map_or(&[][..], |rows| rows);
    if rows.len() != wanted.len() {
        problems.push(format!(
            "{table}: expected {} rows, got {}",
            wanted.len(),
            rows.len()
        ));
    }
    for (number, (row, wanted)) in rows.iter().zip(wanted).enumerate() {
        for (column, value) in wanted.as_object().into_iter().flatten() {
            let actual = row.get(column).unwrap_or(&Value::Null);
            if actual != value {
                problems.push(format!(
                    "{table} {number} {column}: expected {value}, got {actual}"
                ));
            }
        }
    }
    problems
}

/// How an expectation wants its capture judged; files stand beside it.
fn how(expected: &Value, path: &Path) -> How {
    let beside = |key: &str| {
        expected
            .get(key)
            .and_then(Value::as_str)
            .map(|name| path.with_file_name(name))
    };
    let policy = expected.get("policy").and_then(Value::as_str);
    How {
        roots: beside("roots"),
        crl: beside("crl"),
        ct_logs: beside("ct_logs"),
        policy: policy.map_or_else(Policy::built_in, |text| {
            Policy::from_yaml(text, "expectation").expect("a policy")
        }),
        ..How::default()
    }
}

#[test]
fn samples_show_what_they_were_made_to_show() {
    let mut problems = Vec::new();
    let mut seen: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    let expectations = files(&samples(), ".expect.json");
    assert!(expectations.len() > 50, "the samples are not there");
    for path in expectations {
        let expected: Value =
            serde_json::from_slice(&std::fs::read(&path).expect("readable")).expect("JSON");
        let name = expected["capture"].as_str().expect("the capture's name");
        let out = tempfile::tempdir().expect("a temporary folder");
        let report = runs::run(
            &path.with_file_name(name),
            out.path(),
            &how(&expected, &path),
        )
        .unwrap_or_else(|error| panic!("{name}: {error}"));
        let found = differences(&expected, &report.folder);
        problems.extend(found.iter().map(|problem| format!("{name}: {problem}")));
        for row in runs::table(&report.folder, "verdicts") {
            let seen = seen.entry(text(&row, "check_id").to_owned()).or_default();
            let count = |status| number(&row, status).unwrap_or_default();
            if count("failed") + count("warned") > 0 {
                seen.insert("violated");
            }
            if count("passed") + count("refused") > 0 {
                seen.insert("passed");
            }
            if count("not_observed") > 0 || text(&row, "verdict") == "not_observed" {
                seen.insert("not observed");
            }
        }
    }
    for (check, seen) in seen.iter().filter(|(check, _)| check.starts_with("NS-01.")) {
        if seen.len() < 3 {
            problems.push(format!("{check}: the samples show only {seen:?}"));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// What an agent asks a model or a tool, and what it is answered, is in no table.
#[test]
fn prompts_and_answers_stand_nowhere() {
    let out = tempfile::tempdir().expect("a temporary folder");
    let capture = samples().join("agent-api.pcap.zst");
    let report = runs::run(&capture, out.path(), &How::default()).expect("a run");
    let mut tables = 0;
    for (name, _) in runs::table_bytes(&report.folder) {
        let name = name.trim_end_matches(".parquet");
        let rows = format!("{:?}", runs::table(&report.folder, name)).to_ascii_lowercase();
        for said in [
            "what is the weather",
            "utrecht",
            "it rains",
            "not-a-secret-of-anyone",
        ] {
            assert!(!rows.contains(said), "{said:?} stands in {name}");
        }
        tables += 1;
    }
    assert!(tables > 8, "only {tables} tables");
}

#[test]
fn crafted_samples_are_what_the_generator_writes() {
    let out = tempfile::tempdir().expect("a temporary folder");
    let made = Command::new("python3")
        .arg("-B")
        .arg(samples().join("craft.py"))
        .arg(out.path())
        .status();
    let Ok(status) = made else {
        eprintln!("SKIPPED: no python3 to write the crafted samples with");
        return;
    };
    assert!(status.success(), "craft.py failed");
    let contents = |folder: &Path| -> BTreeMap<PathBuf, Vec<u8>> {
        files(folder, "")
            .into_iter()
            .map(|path| {
                let name = path.file_name().unwrap_or_default().into();
                (name, std::fs::read(&path).expect("readable"))
            })
            .collect()
    };
    let (kept, made) = (contents(&samples().join("crafted")), contents(out.path()));
    assert_eq!(
        kept.keys().collect::<Vec<_>>(),
        made.keys().collect::<Vec<_>>()
    );
    for (name, bytes) in kept {
        assert!(
            made.get(&name) == Some(&bytes),
            "{} differs",
            name.display()
        );
    }
}
