//! Rules of the user, asked by the program that is built apart.

use crate::capture;
use crate::receivers;
use crate::support::{Ended, KEY, Place, text};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The program, where it was built; told when it was not.
fn sql() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_BIN_EXE_nsforensics")).with_file_name("nsforensics-sql");
    if beside.exists() {
        return Some(beside);
    }
    eprintln!("skipped: nsforensics-sql is not built (cargo build)");
    None
}

const RULES: &str = "\
rules:
  - id: web
    text: Web in plaintext
    severity: low
    attack: [T1071.001]
    query: |
      SELECT src_ip, dst_ip, dst_port, host AS destination, flow_id, capture, ts, first_frame,
             first_offset FROM http_transactions WHERE plaintext AND in_network(src_ip, '10.1.0.0/16')
  - id: broken
    text: Broken
    query: SELECT absent FROM flows
  - id: none
    text: Nothing
    query: SELECT src_ip, dst_ip FROM flows WHERE service = 'telnet'
";

fn findings(document: &Value) -> Vec<(String, String, String)> {
    let list = document["findings"].as_array().expect("findings");
    list.iter()
        .filter(|finding| {
            finding["check_id"]
                .as_str()
                .is_some_and(|id| id.starts_with("RULE."))
        })
        .map(|finding| {
            let text = |name: &str| finding[name].as_str().expect("a text").to_owned();
            (text("check_id"), text("src_ip"), text("severity"))
        })
        .collect()
}

#[test]
fn rules_find_in_fresh_runs_and_old_ones_and_a_broken_one_stops_none() {
    if sql().is_none() {
        return;
    }
    let place = Place::new();
    place.write("evidence.pcap", capture::many(3, 100));
    place.write("rules.yaml", RULES);
    let fresh = place
        .run_keyed(&[
            "analyze",
            "evidence.pcap",
            "--rules",
            "rules.yaml",
            "--json",
            "--out",
            "out",
        ])
        .code(0);
    assert!(
        fresh
            .stderr
            .contains("rules.yaml:11: RULE.broken: no such column: absent"),
        "{fresh:?}"
    );
    let document: Value = serde_json::from_str(&fresh.stdout).expect("JSON");
    let found = findings(&document);
    let expected: Vec<_> = (0..3)
        .map(|host| {
            (
                "RULE.web".to_owned(),
                format!("10.1.0.{host}"),
                "low".to_owned(),
            )
        })
        .collect();
    let mut sorted = found.clone();
    sorted.sort();
    assert_eq!(sorted, expected);
    let failed = serde_json::json!([{
        "file": "rules.yaml", "line": 11, "check_id": "RULE.broken", "failed_to_be": "asked",
        "message": "no such column: absent",
    }]);
    assert_eq!(
        document["rules"],
        serde_json::json!({"asked": 2, "found": 1, "failed": failed})
    );
    let run = place.run_folder("out");
    place.run_keyed(&["verify", text(&run)]).code(0);
    let manifest = std::fs::read_to_string(run.join("manifest.json")).expect("a manifest");
    let manifest: Value = serde_json::from_str(&manifest).expect("JSON");
    let errors = manifest["errors"].as_array().expect("errors");
    assert!(errors[0].as_str().expect("text").contains("RULE.broken"));
    let file = &manifest["rules"][0];
    assert_eq!(
        (&file["path"], &file["rules"], &file["problems"]),
        (&"rules.yaml".into(), &3.into(), &0.into())
    );
    // No temporary file is left.
    let left = std::fs::read_dir(place.path("out")).expect("a folder");
    assert_eq!(left.count(), 1);

    // In a run that was analysed without.
    place
        .run_keyed(&["analyze", "evidence.pcap", "--quiet", "--out", "plain"])
        .code(0);
    let plain = place.run_folder("plain");
    let again = place
        .run_keyed(&[
            "rescore",
            text(&plain),
            "--rules",
            "rules.yaml",
            "--json",
            "--out",
            "again",
        ])
        .code(0);
    let document: Value = serde_json::from_str(&again.stdout).expect("JSON");
    assert_eq!(findings(&document), found);
    let table = |run: &Path| std::fs::read(run.join("findings.parquet")).expect("a table");
    assert!(table(&run) == table(&place.run_folder("again")));
}

#[test]
fn what_rules_find_counts_for_exit_codes_and_is_told() {
    if sql().is_none() {
        return;
    }
    let place = Place::new();
    place.write("evidence.pcap", capture::many(1, 100));
    std::fs::create_dir(place.path("rules")).expect("a folder");
    place.write("rules/b.yaml", "id: [");
    place.write(
        "rules/a.yml",
        "id: all\ntext: All\nseverity: critical\nquery: SELECT src_ip, dst_ip, flow_id FROM flows\n",
    );
    place.write("rules/readme.txt", "no rule");
    let (hook, posts) = receivers::http(0, |_| (200, std::time::Duration::ZERO));
    place.write(
        "policy.yaml",
        format!(
            "verdicts:\n  fail_at: critical\nmonitoring:\n  network:\n    alerts:\n      destinations:\n        \
             - {{type: webhook, url: \"http://127.0.0.1:{hook}/\"}}\n"
        ),
    );
    let arguments = [
        "analyze",
        "evidence.pcap",
        "--policy",
        "policy.yaml",
        "--rules",
        "rules",
        "--fail-on",
        "critical",
    ];
    let ended = place.run_keyed(&arguments).code(1);
    assert!(ended.stderr.contains("rules/b.yaml:1: "), "{ended:?}");
    let told = "RULES  1 rule, 1 found something; 1 could not be read\n  CRITICAL  RULE.all All: 1 finding";
    assert!(ended.stdout.contains(told), "{}", ended.stdout);
    let posts = posts.lock().expect("unpoisoned");
    assert_eq!(posts.len(), 1);
    let alert: Value = serde_json::from_str(&posts[0].body).expect("JSON");
    assert_eq!(
        (&alert["check_id"], &alert["type"], &alert["title"]),
        (&"RULE.all".into(), &"all".into(), &"All".into())
    );
}

/// `samples/api.py` asks for `/api/v1/admin/users` and `/api/v1/login` without TLS.
#[test]
fn the_examples_find_something_in_a_sample() {
    if sql().is_none() {
        return;
    }
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let place = Place::new();
    let (sample, rules) = (
        top.join("samples/api-open.pcap.zst"),
        top.join("rules/examples"),
    );
    let arguments = ["analyze", text(&sample), "--rules", text(&rules), "--json"];
    let ended = place.run_keyed(&arguments).code(0);
    let document: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    let found: Vec<_> = findings(&document).into_iter().map(|f| f.0).collect();
    // And a Sigma rule.
    let sigma = "RULE.e8fbbd58-fb7c-4881-bb94-0bc84a4648cf";
    assert_eq!(
        found,
        [
            "RULE.web_admin_in_plaintext",
            "RULE.web_admin_in_plaintext",
            sigma
        ]
    );
}

/// Rules that say less and less of where their rows stand.
const BARE: &str = "\
rules:
  - {id: bare, text: Bare, query: 'SELECT src_ip, dst_ip FROM flows'}
  - {id: flow, text: Flow, query: 'SELECT src_ip, dst_ip, flow_id FROM flows'}
  - {id: timed, text: Timed, query: 'SELECT src_ip, dst_ip, flow_id, ts FROM flows'}
";

#[test]
fn what_a_rule_does_not_say_is_not_made_up() {
    if sql().is_none() {
        return;
    }
    let place = Place::new();
    place.write("evidence.pcap", capture::many(1, 100));
    place.write("rules.yaml", BARE);
    place
        .run_keyed(&[
            "analyze",
            "evidence.pcap",
            "--rules",
            "rules.yaml",
            "--quiet",
            "--out",
            "out",
        ])
        .code(0);
    let run = place.run_folder("out");
    let list = |check: &str, format: &str| {
        place
            .run_keyed(&["findings", text(&run), "--check", check, format])
            .code(0)
            .stdout
    };
    let document: Value = serde_json::from_str(&list("RULE", "--json")).expect("JSON");
    let found = document["findings"].as_array().expect("findings");
    assert!(found.len() >= 2, "{document}");
    for finding in found {
        assert_eq!(finding["first_frame"], Value::Null);
        assert_eq!(finding["evidence_frames"], serde_json::json!([]));
        let first = finding["ts_first"].as_str().expect("a time");
        assert!(!first.starts_with("1970"), "{first}");
        let ids = finding["flow_ids"].as_array().expect("ids").len();
        assert_eq!(finding["flow_count"], ids);
        assert_eq!(ids == 0, finding["check_id"] == "RULE.bare");
    }
    // Flows begin when their rows say, and end no later than the capture.
    let times = |check: &str| {
        let document: Value = serde_json::from_str(&list(check, "--json")).expect("JSON");
        let finding = &document["findings"][0];
        (
            finding["ts_first"].to_string(),
            finding["ts_last"].to_string(),
        )
    };
    assert_eq!(times("RULE.flow"), times("RULE.timed"));
    assert!(times("RULE.flow").1 < times("RULE.bare").1);
    let only = list("RULE.bare", "--csv");
    assert!(
        only.contains("RULE.bare") && !only.contains("RULE.flow"),
        "{only}"
    );
    let (shown, short) = (list("rule.flow", "--suppressed"), "frame ");
    assert!(
        shown.contains("RULE.flow") && !shown.contains(short),
        "{shown}"
    );
    place
        .run_keyed(&["findings", text(&run), "--check", "RULE.absent"])
        .code(2)
        .says("no rule of this name");
}

#[test]
fn rules_of_which_none_can_be_read_are_refused() {
    let place = Place::new();
    place.write("evidence.pcap", capture::empty());
    place.write("rules.yaml", "id: [");
    place
        .run_keyed(&["analyze", "evidence.pcap", "--rules", "rules.yaml"])
        .code(2)
        .says("rules.yaml:1: ");
}

#[test]
fn a_folder_without_rules_and_a_missing_one_are_refused() {
    let place = Place::new();
    place.write("evidence.pcap", capture::empty());
    std::fs::create_dir(place.path("rules")).expect("a folder");
    for (path, word) in [("rules", "holds no rules"), ("absent", "absent")] {
        place
            .run_keyed(&["analyze", "evidence.pcap", "--rules", path])
            .code(2)
            .says(word);
    }
}

#[test]
fn without_the_program_it_is_said_before_anything_is_read() {
    let place = Place::new();
    place.write("evidence.pcap", capture::empty());
    place.write("rules.yaml", RULES);
    // A copy of the binary with nothing beside it.
    std::fs::create_dir(place.path("alone")).expect("a folder");
    let alone = place.path("alone/nsforensics");
    std::fs::copy(env!("CARGO_BIN_EXE_nsforensics"), &alone).expect("copied");
    let mut command = std::process::Command::new(&alone);
    command
        .current_dir(place.path("."))
        .env_clear()
        .env("SECRET_KEY", KEY)
        .args(["analyze", "evidence.pcap", "--rules", "rules.yaml"]);
    let ended = Ended::from(command.output().expect("it runs")).code(2);
    assert!(ended.stderr.contains("cargo build --release"), "{ended:?}");
}
