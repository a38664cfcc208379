//! Indicators, and old runs judged again from their tables.

use crate::capture;
use crate::support::{Ended, Place, text};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A place with an analysed capture; its run.
fn analysed(arguments: &[&str]) -> (Place, PathBuf) {
    let place = Place::new();
    place.write("evidence.pcap", capture::many(6, 400));
    let base = ["analyze", "evidence.pcap", "--out", "out", "--quiet"];
    place.write("feed.txt", "# names\n192.0.2.9\nhttp://many.example/\n");
    let ended = place.run_keyed(&[&base[..], arguments].concat()).code(0);
    let run = place.path(ended.stdout.trim());
    (place, run)
}

fn json(document: &str) -> Value {
    serde_json::from_str(document).expect("one JSON document")
}

fn rescored(place: &Place, run: &Path, arguments: &[&str]) -> PathBuf {
    let base = ["rescore", text(run), "--out", "again", "--quiet"];
    let ended = place.run_keyed(&[&base[..], arguments].concat()).code(0);
    place.path(ended.stdout.trim())
}

fn bytes(run: &Path, table: &str) -> Vec<u8> {
    std::fs::read(run.join(format!("{table}.parquet"))).expect("a table")
}

fn manifest(run: &Path) -> Value {
    json(&std::fs::read_to_string(run.join("manifest.json")).expect("a manifest"))
}

const TABLES: [&str; 12] = [
    "captures",
    "captures_interfaces",
    "flows",
    "tls_handshakes",
    "dns_queries",
    "certificates",
    "http_transactions",
    "credentials",
    "anomalies",
    "findings",
    "coverage",
    "verdicts",
];

#[test]
fn the_same_policy_gives_the_same_bytes() {
    let (place, run) = analysed(&[]);
    // The captures are not needed.
    std::fs::remove_file(place.path("evidence.pcap")).expect("removed");
    let again = rescored(&place, &run, &[]);
    for table in TABLES {
        assert!(
            bytes(&run, table) == bytes(&again, table),
            "{table} differs"
        );
    }
    let (old, new) = (manifest(&run), manifest(&again));
    assert_eq!(new["previous_manifest_hmac"], old["hmac"]);
    assert_eq!(new["rescored"]["run_id"], old["run_id"]);
    assert_eq!(new["rescored"]["not_judged_again"], json!([]));
    assert_eq!(new["inputs"], old["inputs"]);
    place
        .run_keyed(&["verify", text(&run), text(&again)])
        .code(0);
    place.run_keyed(&["audit", text(&again)]).code(1);
    // And once more, of what was judged again.
    let third = rescored(&place, &again, &[]);
    assert!(bytes(&run, "findings") == bytes(&third, "findings"));
}

/// Samples that between them have findings of all four controls.
#[test]
fn runs_with_findings_of_every_control_are_judged_again_byte_for_byte() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples");
    let root = samples.join("certificates/root.pem");
    let place = Place::new();
    let mut seen = BTreeSet::new();
    for sample in [
        "agent.pcap",
        "api-open.pcap.zst",
        "certificates/expired-accepted.pcap",
        "tunnels/iodine-txt.pcap",
    ] {
        let (path, out) = (samples.join(sample), sample.replace('/', "-"));
        let arguments = [
            "analyze",
            text(&path),
            "--out",
            &out,
            "--trust-store",
            text(&root),
            "--json",
        ];
        let document = json(&place.run_keyed(&arguments).code(0).stdout);
        let findings = document["findings"].as_array().expect("findings");
        seen.extend(findings.iter().map(|finding| {
            let id = finding["check_id"].as_str().expect("an id");
            id.split('.').next().expect("a control").to_owned()
        }));
        let run = place.path(document["folder"].as_str().expect("a folder"));
        let again = rescored(&place, &run, &[]);
        for table in TABLES {
            assert!(
                bytes(&run, table) == bytes(&again, table),
                "{sample}: {table} differs"
            );
        }
        // With an indicator added it is found, and the rest is as it was.
        let host = findings[0]["dst_ip"].as_str().expect("an address");
        place.write("one.txt", format!("{host}\n"));
        let base = ["rescore", text(&run), "--out", "again", "--json"];
        let added = place.run_keyed(&[&base[..], &["--indicators", "one.txt"]].concat());
        let added = json(&added.code(0).stdout);
        let list = added["findings"].as_array().expect("findings");
        let (hits, rest): (Vec<&Value>, Vec<&Value>) = list
            .iter()
            .partition(|finding| finding["check_id"] == "NS-04.indicator");
        assert!(!hits.is_empty(), "{sample}: {host} is not found");
        assert_eq!(rest, findings.iter().collect::<Vec<_>>(), "{sample}");
    }
    assert_eq!(
        seen,
        ["NS-01", "NS-02", "NS-03", "NS-04"]
            .map(str::to_owned)
            .into()
    );
}

/// Versions, suites, pins and what is built on them are judged from the rows of
/// handshakes: by another policy they are what a fresh analysis says, byte for byte.
#[test]
fn another_policy_for_handshakes_gives_what_a_fresh_run_does() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples");
    let root = samples.join("certificates/root.pem");
    let tls = |keys: &str| format!("network: {{tls: {{{keys}}}}}\n");
    let certificates = |keys: &str| format!("network: {{certificates: {{{keys}}}}}\n");
    let pin =
        |host: &str, pin: &str| format!("pinning: {{pins: [{{host: {host}, pins: [\"{pin}\"]}}]}}");
    const NOBODYS: &str = "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    const OWN: &str = "sha256/sCEx3WPaeQBX13SMViUi/zVFItgULhJ5S7mnaLo3tSw=";
    let mut seen = BTreeSet::new();
    let (of_tls, of_pins) = (
        [
            tls("min_version: TLS1.3"),
            tls("min_version: TLS1.0, preferred_version: TLS1.0"),
            tls("cipher_suites: {denied: [\"*GCM*\"], allowed: []}"),
            tls("cipher_suites: {denied: []}, tls13_suites: []"),
        ],
        [
            certificates(&pin("server.example", NOBODYS)),
            certificates(&pin("server.example", OWN)),
            certificates("warn_on: []"),
            certificates("validation: {verify_hostname: false, check_expiration: false}"),
        ],
    );
    let crafted = [
        "tls10-cbc",
        "tls11-refused",
        "ssl2",
        "ssl3-rc4",
        "server-hello-missing",
        "client-hello-missing",
        "downgrade-sentinel",
        "tls12-good",
        "tls13-good",
        "unlisted-suite",
    ];
    let shown = [
        "good",
        "expired-accepted",
        "expired-refused",
        "pin-match",
        "self-signed",
    ];
    let crafted = crafted.map(|name| (format!("crafted/{name}.pcap"), &of_tls));
    let shown = shown.map(|name| (format!("certificates/{name}.pcap"), &of_pins));
    let decrypted = [("decrypted/renegotiation.pcapng".to_owned(), &of_tls)];
    for (sample, policies) in crafted.into_iter().chain(shown).chain(decrypted) {
        let place = Place::new();
        let path = samples.join(&sample);
        let analysed = |arguments: &[&str]| {
            let base = [
                "analyze",
                text(&path),
                "--trust-store",
                text(&root),
                "--quiet",
            ];
            let ended = place.run_keyed(&[&base[..], arguments].concat()).code(0);
            place.path(ended.stdout.trim())
        };
        let old = analysed(&["--out", "old"]);
        for policy in policies {
            place.write("new.yaml", policy);
            let fresh = analysed(&["--out", "fresh", "--policy", "new.yaml"]);
            let again = rescored(&place, &old, &["--policy", "new.yaml"]);
            assert_eq!(
                manifest(&again)["rescored"]["not_judged_again"],
                json!([]),
                "{sample}: {policy}"
            );
            let listed = place
                .run_keyed(&["findings", text(&again), "--json"])
                .code(0);
            for finding in json(&listed.stdout)["findings"].as_array().expect("a list") {
                seen.insert(finding["check_id"].as_str().expect("an id").to_owned());
            }
            for table in ["findings", "coverage", "verdicts"] {
                assert!(
                    bytes(&fresh, table) == bytes(&again, table),
                    "{sample}, {policy}: {table} differs"
                );
            }
            // And back.
            place.write("old.yaml", "verdicts: {fail_at: medium}\n");
            let back = rescored(&place, &again, &["--policy", "old.yaml"]);
            let lost = manifest(&back)["rescored"]["not_judged_again"].clone();
            if policy.contains("tls:") {
                assert_eq!(lost, json!([]), "{sample}: {policy}");
                assert!(
                    bytes(&old, "findings") == bytes(&back, "findings"),
                    "{sample}, {policy}: back again"
                );
            }
        }
    }
    for id in [
        "NS-01.cipher_not_allowed",
        "NS-01.cipher_offered",
        "NS-01.cipher_suite",
        "NS-01.tls_version",
        "NS-02.accepted_anyway",
        "NS-02.pin",
    ] {
        assert!(seen.contains(id), "{id} was never found");
    }
}

#[test]
fn indicators_are_found_in_a_fresh_run_and_in_an_old_one() {
    let (place, run) = analysed(&[]);
    let again = rescored(&place, &run, &["--indicators", "feed.txt"]);
    let base = [
        "analyze",
        "evidence.pcap",
        "--out",
        "fresh",
        "--quiet",
        "--indicators",
        "feed.txt",
    ];
    let fresh = place.run_keyed(&base).code(0);
    let fresh = place.path(fresh.stdout.trim());
    assert!(bytes(&again, "findings") == bytes(&fresh, "findings"));
    assert!(bytes(&again, "verdicts") == bytes(&fresh, "verdicts"));
    let file = &manifest(&again)["indicators"][0];
    assert_eq!(
        (&file["path"], &file["indicators"]),
        (&json!("feed.txt"), &json!(2))
    );
    assert_eq!(file["format"], "list");

    // Six hosts, each with an address and a URL that are named.
    let found = place
        .run_keyed(&["match", text(&run), "--indicators", "feed.txt", "--json"])
        .code(1);
    let found = json(&found.stdout);
    let findings = found["runs"][0]["findings"].as_array().expect("findings");
    let of = |detail: &str| {
        let matching = findings
            .iter()
            .filter(|finding| finding["detail"] == detail);
        matching.count()
    };
    assert_eq!(
        of("address 192.0.2.9 as destination of a flow"),
        6,
        "{found:#}"
    );
    assert_eq!(of("url http://many.example/ as HTTP request"), 6);
    assert_eq!(findings.len(), 12);
    assert!(
        findings
            .iter()
            .all(|f| f["check_id"] == "NS-04.indicator" && f["severity"] == "high")
    );

    place.write("other.txt", "203.0.113.77\n");
    place
        .run_keyed(&["match", text(&run), "--indicators", "other.txt"])
        .code(0);
}

#[test]
fn what_is_no_indicator_is_told_and_a_file_of_nothing_else_is_refused() {
    let (place, run) = analysed(&[]);
    place.write("feed.txt", "192.0.2.9\nlocalhost\n");
    place
        .run_keyed(&["match", text(&run), "--indicators", "feed.txt"])
        .code(1)
        .says("feed.txt:2: ");
    place.write("feed.txt", "localhost\n");
    place
        .run_keyed(&["match", text(&run), "--indicators", "feed.txt"])
        .code(2)
        .says("no indicator");
    place
        .run_keyed(&["match", text(&run), "--indicators", "absent.txt"])
        .code(2)
        .says("absent.txt");
}

#[test]
fn another_line_for_verdicts_moves_them_and_another_rule_needs_the_capture() {
    let (place, run) = analysed(&[]);
    let verdict = |run: &Path, id: &str| {
        let ended = place.run_keyed(&["audit", text(run), "--format", "json"]);
        let document = json(&ended.stdout);
        let verdicts = document["verdicts"].as_array().expect("verdicts").clone();
        verdicts
            .into_iter()
            .find(|verdict| verdict["check_id"] == id)
            .expect("a verdict")
    };
    let id = "NS-01.plaintext";
    assert_eq!(verdict(&run, id)["verdict"], "fail");
    place.write("mild.yaml", "verdicts:\n  fail_at: critical\n");
    let mild = rescored(&place, &run, &["--policy", "mild.yaml"]);
    assert_eq!(verdict(&mild, id)["verdict"], "pass");
    assert_eq!(verdict(&mild, id)["worst_severity"], "high");

    place.write("other.yaml", "network:\n  tls:\n    required: false\n");
    let options = ["--policy", "other.yaml", "--out", "again", "--quiet"];
    let ended = place
        .run_keyed(&[&["rescore", text(&run)][..], &options].concat())
        .code(0)
        .says("only the capture can answer: NS-01.http_upgrade, NS-01.plaintext");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:#?}");
    let other = place.path(ended.stdout.trim());
    let lost = verdict(&other, id);
    assert_eq!(lost["verdict"], "not_observed");
    assert!(
        lost["reason"]
            .as_str()
            .expect("a reason")
            .contains("analyse it again")
    );
    let listed = &manifest(&other)["rescored"]["not_judged_again"];
    assert_eq!(listed, &json!(["NS-01.http_upgrade", "NS-01.plaintext"]));
    // What does not depend on it is as it was.
    assert_eq!(
        verdict(&other, "NS-01.starttls"),
        verdict(&run, "NS-01.starttls")
    );

    // NS-04 is judged anew: with an allowlist every destination is known or not.
    place.write(
        "list.yaml",
        "monitoring:\n  network:\n    destinations:\n      allowlist: [\"*.example.org\"]\n",
    );
    let listed = rescored(&place, &run, &["--policy", "list.yaml"]);
    assert_eq!(
        verdict(&run, "NS-04.unknown_destination")["verdict"],
        "not_observed"
    );
    assert_eq!(
        verdict(&listed, "NS-04.unknown_destination")["verdict"],
        "fail"
    );
}

#[test]
fn a_broken_run_is_not_judged_again() {
    let (place, run) = analysed(&[]);
    let table = run.join("flows.parquet");
    let mut bytes = std::fs::read(&table).expect("a table");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&table, bytes).expect("written");
    for command in [
        &["rescore", text(&run), "--out", "again"][..],
        &["match", text(&run), "--indicators", "feed.txt"],
    ] {
        place.run_keyed(command).code(1).says("seal is broken");
    }
    assert!(std::fs::read_dir(place.path("again")).map_or(true, |mut dir| dir.next().is_none()));
}

#[test]
fn a_run_under_another_key_or_broken_keeps_no_other_from_being_looked_at() {
    let (place, run) = analysed(&[]);
    let mut command = place.command(&["analyze", "evidence.pcap", "--out", "out", "--quiet"]);
    command.env("SECRET_KEY", "another-key-for-tests-that-is-long-enough");
    let foreign = Ended::from(command.output().expect("it runs")).code(0);
    let foreign = foreign.stdout.trim().to_owned();
    let matched = |code| {
        let arguments = ["match", "out", "--indicators", "feed.txt", "--json"];
        let ended = place.run_keyed(&arguments).code(code);
        assert!(ended.stderr.contains(&foreign), "{ended:?}");
        json(&ended.stdout)
    };
    let found = matched(1);
    assert_eq!(found["runs"].as_array().expect("runs").len(), 1);
    let missed = &found["not_looked_at"];
    assert_eq!(missed.as_array().expect("a list").len(), 1, "{found:#}");
    assert_eq!(
        (&missed[0]["path"], &missed[0]["state"]),
        (&json!(foreign), &json!("unchecked"))
    );
    // Nothing found: that one could not be looked at is what is left to say.
    place.write("feed.txt", "203.0.113.77\n");
    matched(2);
    // And a broken one outweighs it.
    let table = run.join("flows.parquet");
    let mut bytes = std::fs::read(&table).expect("a table");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&table, bytes).expect("written");
    let found = matched(1);
    assert_eq!(found["runs"], json!([]));
    assert_eq!(found["not_looked_at"].as_array().expect("a list").len(), 2);
}
