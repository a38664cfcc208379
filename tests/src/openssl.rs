//! Every chain that the public captures show, against `openssl verify -attime`
//! with the roots of that day: whether a client may accept it, by path and dates.
//! Differences stand in a list with their reasons; one that agrees fails as well.

use crate::public::{self, text as field};
use crate::runs::{self, How, Row, number, text};
use base64::Engine as _;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

/// Capture, beginning of the leaf's SHA-256, what `openssl` says, and why we differ.
const EXCEPTIONS: &[(&str, &str, &str, &str)] = &[];

fn has_openssl() -> bool {
    let version = Command::new("openssl").arg("version").output();
    version.is_ok_and(|out| String::from_utf8_lossy(&out.stdout).starts_with("OpenSSL 3"))
}

fn pem(der: &[u8]) -> String {
    let digits = base64::engine::general_purpose::STANDARD.encode(der);
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in digits.as_bytes().chunks(64) {
        let _ = writeln!(text, "{}", String::from_utf8_lossy(line));
    }
    text + "-----END CERTIFICATE-----\n"
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

/// Mozilla's roots of a day (`2020-01-31`), as `rules/roots` has them.
fn roots_of(day: &str) -> String {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rules/roots");
    let read = |name: &str| std::fs::read_to_string(rules.join(name)).expect("the rules are there");
    let history = read("mozilla.tsv");
    let rows: Vec<Vec<&str>> = history
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split('\t').collect())
        .collect();
    let oldest = rows.iter().map(|row| row[1]).min().unwrap_or_default();
    let trusted: BTreeSet<&str> = rows
        .iter()
        .filter(|row| (row[1] == oldest || row[1] <= day) && (row[2].is_empty() || day < row[2]))
        .map(|row| row[0])
        .collect();
    let pems = read("mozilla.pem");
    let mut out = String::new();
    for block in pems.split_inclusive("-----END CERTIFICATE-----") {
        let Some((_, digits)) = block.split_once("-----BEGIN CERTIFICATE-----") else {
            continue;
        };
        let digits = digits.trim_end_matches("-----END CERTIFICATE-----");
        let digits: String = digits.split_whitespace().collect();
        let der = base64::engine::general_purpose::STANDARD
            .decode(digits)
            .expect("the rules decode");
        let fingerprint = runs::sha256_hex(&der);
        if trusted.contains(fingerprint.as_str()) {
            out.push_str(&pem(&der));
        }
    }
    out
}

fn texts<'r>(row: &'r Row, column: &str) -> Vec<&'r str> {
    let list = row.get(column).and_then(serde_json::Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(serde_json::Value::as_str)
        .collect()
}

/// What keeps a client from accepting a chain, as far as `openssl verify` looks.
fn is_decisive(reason: &str) -> bool {
    let kind = reason.split(':').next().unwrap_or_default();
    // What browsers stopped accepting of roots in the store, openssl does not know.
    let browsers = reason.contains("browsers did not accept any more");
    !["weak_signature", "weak_key", "profile"].contains(&kind) && !browsers
}

#[test]
fn chains_are_judged_as_openssl_judges_them() {
    let test = "chains_are_judged_as_openssl_judges_them";
    let Some(folder) = public::folder(test) else {
        return;
    };
    if !has_openssl() {
        eprintln!("SKIPPED {test}: no openssl 3");
        return;
    }
    let work = tempfile::tempdir().expect("a temporary folder");
    let mut roots: BTreeMap<String, std::path::PathBuf> = BTreeMap::new();
    let (mut agree, mut differ) = (0_u32, Vec::new());
    let mut met: BTreeSet<(&str, &str)> = BTreeSet::new();
    let mut judged: BTreeSet<(Vec<String>, String)> = BTreeSet::new();
    for line in public::truth(&folder) {
        let capture = field(&line, "path").to_owned();
        let out = tempfile::tempdir().expect("a temporary folder");
        let Ok(report) = runs::run(&folder.join(&capture), out.path(), &How::default()) else {
            continue;
        };
        let certificates: BTreeMap<String, Vec<u8>> = runs::table(&report.folder, "certificates")
            .iter()
            .map(|row| (text(row, "fingerprint").to_owned(), unhex(text(row, "der"))))
            .collect();
        for row in runs::table(&report.folder, "tls_handshakes") {
            let chain = texts(&row, "chain_fingerprints");
            let Some(leaf) = chain.first() else { continue };
            let seconds = number(&row, "ts")
                .unwrap_or_default()
                .div_euclid(1_000_000_000);
            let day = runs::day(seconds);
            let names = chain.iter().map(|&name| name.to_owned()).collect();
            if !judged.insert((names, day.clone())) {
                continue;
            }
            let store = roots.entry(day.clone()).or_insert_with(|| {
                let path = work.path().join(format!("{day}.pem"));
                std::fs::write(&path, roots_of(&day)).expect("written");
                path
            });
            // Incomplete chains are completed from the rest of the capture.
            let completed = texts(&row, "chain_completed_by");
            let others = chain.iter().skip(1).chain(&completed);
            let others: String = others
                .filter_map(|name| certificates.get(*name))
                .map(|der| pem(der))
                .collect();
            let (untrusted, target) =
                (work.path().join("others.pem"), work.path().join("leaf.pem"));
            std::fs::write(&untrusted, others).expect("written");
            let der = certificates
                .get(*leaf)
                .map(Vec::as_slice)
                .unwrap_or_default();
            std::fs::write(&target, pem(der)).expect("written");
            let said = Command::new("openssl")
                .args([
                    "verify",
                    "-purpose",
                    "sslserver",
                    "-auth_level",
                    "0",
                    "-attime",
                ])
                .arg(seconds.to_string())
                .args(["-no-CApath", "-no-CAstore", "-CAfile"])
                .arg(&*store)
                .arg("-untrusted")
                .arg(&untrusted)
                .arg(&target)
                .output()
                .expect("openssl runs");
            let theirs = said.status.success();
            let reasons = texts(&row, "validation_reasons");
            let ours = !reasons.iter().any(|reason| is_decisive(reason));
            let words = String::from_utf8_lossy(&said.stderr);
            let error = words
                .lines()
                .find(|line| line.contains("error"))
                .unwrap_or("");
            let known = EXCEPTIONS.iter().find(|(file, leaf_of, says, _)| {
                *file == capture && leaf.starts_with(leaf_of) && (*says == "OK") == theirs
            });
            match (theirs == ours, known) {
                (true, None) => agree += 1,
                (false, Some((file, leaf, ..))) => {
                    met.insert((file, leaf));
                }
                (true, Some(_)) => differ.push(format!("{capture} {leaf}: agrees by now")),
                (false, None) => differ.push(format!(
                    "{capture} {leaf} {day}: openssl {}, ours {reasons:?}",
                    if theirs { "OK" } else { error }
                )),
            }
        }
    }
    for (file, leaf, ..) in EXCEPTIONS {
        if !met.contains(&(file, leaf)) {
            differ.push(format!("{file} {leaf}: an exception that nothing needs"));
        }
    }
    eprintln!(
        "openssl verify: {agree} chains agree, {} listed exceptions",
        met.len()
    );
    assert!(differ.is_empty(), "{}", differ.join("\n"));
    assert!(agree > 50, "only {agree} chains");
}
