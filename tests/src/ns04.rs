//! What the detectors of NS-04 find in the public captures: every open finding of
//! medium or higher stands in `ns04.tsv` with a word on whether it is right. A
//! finding that is not there fails, and so does one that is gone. Findings of any
//! severity in the captures of malware and tunnels are printed.

use crate::public;
use crate::runs::{self, How, text};
use std::collections::BTreeMap;

/// Capture and check.
type Key = (String, String);

fn judged() -> BTreeMap<Key, (usize, &'static str)> {
    let lines = include_str!("ns04.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            let [path, check, count, verdict] = fields.as_slice() else {
                panic!("not four fields: {line}");
            };
            assert!(
                ["true", "false", "literal"]
                    .iter()
                    .any(|word| verdict.starts_with(word)),
                "begins with true, false or literal: {line}"
            );
            let count = count.parse().expect("a number");
            (((*path).to_owned(), (*check).to_owned()), (count, *verdict))
        })
        .collect()
}

#[test]
fn every_finding_of_public_captures_is_judged() {
    let Some(folder) = public::folder("every_finding_of_public_captures_is_judged") else {
        return;
    };
    let out = tempfile::tempdir().expect("a folder for runs");
    let mut found: BTreeMap<Key, Vec<String>> = BTreeMap::new();
    let mut malware: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    for truth in public::truth(&folder) {
        let path = public::text(&truth, "path").to_owned();
        let Ok(report) = runs::run(&folder.join(&path), out.path(), &How::default()) else {
            continue;
        };
        for row in runs::table(&report.folder, "findings") {
            let check = text(&row, "check_id");
            let is_low = matches!(text(&row, "severity"), "info" | "low");
            if ["malware_c2/", "dns_tunnel/"]
                .iter()
                .any(|folder| path.starts_with(folder))
            {
                let (severity, status) = (text(&row, "severity"), text(&row, "status"));
                *malware
                    .entry(path.clone())
                    .or_default()
                    .entry(format!("{check} {severity} {status}"))
                    .or_default() += 1;
            }
            if check.starts_with("NS-04.") && text(&row, "status") == "open" && !is_low {
                let says = format!("{} {}", text(&row, "severity"), text(&row, "explanation"));
                found
                    .entry((path.clone(), check.to_owned()))
                    .or_default()
                    .push(says);
            }
        }
        std::fs::remove_dir_all(&report.folder).expect("the run folder can go");
    }
    let mut problems = Vec::new();
    let judged = judged();
    let mut words: BTreeMap<&str, usize> = BTreeMap::new();
    for ((path, check), says) in &found {
        match judged.get(&(path.clone(), check.clone())) {
            Some((count, verdict)) if *count == says.len() => {
                *words
                    .entry(verdict.split(':').next().unwrap_or_default())
                    .or_default() += count;
            }
            expected => problems.push(format!(
                "{path}\t{check}\t{}\texpected {expected:?}\t{says:?}",
                says.len()
            )),
        }
    }
    for key in judged.keys().filter(|key| !found.contains_key(*key)) {
        problems.push(format!("{}\t{}\t0\tis gone", key.0, key.1));
    }
    for (path, of_path) in &malware {
        println!("{path}");
        for (what, count) in of_path {
            println!("    {count} x {what}");
        }
    }
    let mut by_check: BTreeMap<&str, usize> = BTreeMap::new();
    for ((_, check), says) in &found {
        *by_check.entry(check).or_default() += says.len();
    }
    println!("findings of NS-04, medium or higher, by check: {by_check:?}");
    println!("judged by hand: {words:?}");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
