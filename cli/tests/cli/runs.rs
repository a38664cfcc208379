//! A capture's way through the binary: analysed, verified, audited, sealed again.

use crate::capture;
use crate::support::{KEY, Place, text};
use serde_json::Value;

/// A folder with one analysed capture in `out`.
fn analysed(bytes: &[u8]) -> Place {
    let place = Place::new();
    place.write("evidence.pcap", bytes);
    place
        .run_keyed(&["analyze", "evidence.pcap", "--out", "out", "--quiet"])
        .code(0);
    place
}

fn json(document: &str) -> Value {
    serde_json::from_str(document).expect("one JSON document")
}

/// No byte that a terminal takes as a command.
#[track_caller]
fn is_tame(output: &str) {
    let wild: Vec<char> = output
        .chars()
        .filter(|&c| c != '\n' && (c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c)))
        .collect();
    assert_eq!(wild, Vec::<char>::new(), "{output}");
}

#[test]
fn the_summary_shows_what_matters() {
    let place = Place::new();
    place.write("evidence.pcap", capture::ftp_login());
    let ended = place.run_keyed(&["analyze", "evidence.pcap"]).code(0);
    assert_eq!(ended.stderr, "");
    for part in [
        "FAIL          NS-01",
        "NS-01.plaintext",
        "CRITICAL",
        "10.0.0.5 -> 192.0.2.7:21",
        "NOT SEEN",
        "nsforensics verify nsforensics-out/",
    ] {
        assert!(
            ended.stdout.contains(part),
            "{part} is not in\n{}",
            ended.stdout
        );
    }
    assert!(
        !ended.stdout.contains("correct-horse"),
        "a credential in the summary"
    );
    is_tame(&ended.stdout);
}

#[test]
fn fail_on_sets_the_exit_code() {
    let place = Place::new();
    place.write("evidence.pcap", capture::ftp_login());
    place
        .run_keyed(&["analyze", "evidence.pcap", "--fail-on", "critical"])
        .code(1);
    place
        .run_keyed(&["analyze", "evidence.pcap", "--fail-on", "info"])
        .code(1);
    place.write("empty.pcap", capture::empty());
    place
        .run_keyed(&["analyze", "empty.pcap", "--fail-on", "info"])
        .code(0);
}

#[test]
fn json_is_one_document() {
    let place = Place::new();
    let ended = place
        .run_fed(&["analyze", "-", "--json"], &capture::ftp_login())
        .code(0);
    let document = json(&ended.stdout);
    assert_eq!(document["schema"], "nsforensics.analyze/1");
    assert_eq!(document["captures"][0]["packets"], 13);
    assert_eq!(document["totals"]["flows"], 1);
    assert_eq!(document["verdicts"][0]["verdict"], "fail");
    assert_eq!(document["findings"][0]["severity"], "critical");
}

#[test]
fn quiet_prints_the_folder_alone() {
    let place = Place::new();
    place.write("evidence.pcap", capture::ftp_login());
    let ended = place
        .run_keyed(&["analyze", "evidence.pcap", "--quiet", "--out", "out"])
        .code(0);
    let folder = place.run_folder("out");
    assert_eq!(
        ended.stdout.trim_end().rsplit('/').next(),
        folder.file_name().and_then(|name| name.to_str())
    );
    assert_eq!(ended.stdout.lines().count(), 1);
}

#[test]
fn one_unreadable_file_of_several_is_told_and_the_rest_goes_on() {
    let place = Place::new();
    place.write("evidence.pcap", capture::ftp_login());
    place.write("notes.txt", "no capture at all, only notes of somebody");
    let ended = place
        .run_keyed(&["analyze", "evidence.pcap", "notes.txt", "--json"])
        .code(0);
    assert!(
        ended.stderr.contains("notes.txt") || ended.stdout.contains("notes.txt"),
        "{ended:#?}"
    );
}

#[test]
fn what_lies_beside_captures_is_one_warning() {
    let place = Place::new();
    std::fs::create_dir(place.path("in")).expect("made");
    place.write("in/evidence.pcap", capture::ftp_login());
    for number in 0..20 {
        place.write(&format!("in/notes-{number}.txt"), "only notes of somebody");
    }
    let ended = place.run_keyed(&["analyze", "in", "--quiet"]).code(0);
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:#?}");
    assert!(
        ended.stderr.contains("20 files in folders were left out"),
        "{ended:#?}"
    );
    let ended = place
        .run_keyed(&["analyze", "in", "--quiet", "--log-level", "info"])
        .code(0);
    assert!(
        ended
            .stderr
            .contains("notes-19.txt: not a readable capture"),
        "{ended:#?}"
    );
    // A folder of nothing else names a few.
    std::fs::remove_file(place.path("in/evidence.pcap")).expect("removed");
    let ended = place.run_keyed(&["analyze", "in"]).code(2);
    assert!(ended.stderr.contains("and 17 more files"), "{ended:#?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:#?}");
}

#[test]
fn a_capture_that_is_given_twice_is_read_once_and_a_copy_is_told() {
    let place = Place::new();
    std::fs::create_dir(place.path("in")).expect("made");
    place.write("in/a.pcap", capture::ftp_login());
    std::os::unix::fs::symlink("a.pcap", place.path("in/link.pcap")).expect("linked");
    let given = ["analyze", "in", "in/a.pcap", "--json"];
    let ended = place.run_keyed(&given).code(0);
    assert_eq!(json(&ended.stdout)["totals"]["packets"], 13);
    for said in ["in/link.pcap: the same file", "in/a.pcap: the same file"] {
        assert!(ended.stderr.contains(said), "{ended:#?}");
    }
    place.write("in/b.pcap", capture::ftp_login());
    let ended = place.run_keyed(&["analyze", "in", "--json"]).code(0);
    assert_eq!(json(&ended.stdout)["totals"]["packets"], 26);
    assert!(ended.stderr.contains("hold the same bytes"), "{ended:#?}");
}

#[test]
fn what_cannot_be_written_is_told_and_leaves_no_run() {
    let place = Place::new();
    place.write("evidence.pcap", capture::ftp_login());
    place.write("file", "no folder");
    place
        .run_keyed(&["analyze", "evidence.pcap", "--out", "file"])
        .code(2)
        .says("file is no folder: --out names");
    // A full disk, as a limit on the size of files gives it: the signal that
    // comes with the limit is ignored by programs that handle the error.
    let program = env!("CARGO_BIN_EXE_nsforensics");
    let command = place.shell(&format!(
        "trap '' XFSZ; ulimit -f 1; exec {program} analyze evidence.pcap --out out"
    ));
    let ended = place.ended(command).code(2);
    assert!(ended.stderr.contains("cannot be written"), "{ended:#?}");
    let left = std::fs::read_dir(place.path("out")).expect("the folder");
    assert_eq!(left.count(), 0);
}

#[test]
fn names_from_a_capture_do_not_reach_the_terminal_raw() {
    let place = Place::new();
    place.write("evidence.pcap", capture::hostile_http());
    let hostile_name = "evidence\x1b[31m\u{202e}.pcap";
    std::fs::copy(place.path("evidence.pcap"), place.path(hostile_name)).expect("copied");
    for arguments in [
        &["analyze", "evidence.pcap"][..],
        &["analyze", hostile_name, "--log-level", "trace"],
        &["analyze", hostile_name, "--json", "--log-format", "json"],
    ] {
        let ended = place.run_keyed(arguments).code(0);
        is_tame(&ended.stdout);
        is_tame(&ended.stderr);
    }
}

#[test]
fn logs_for_collectors_are_json_lines() {
    let place = Place::new();
    place.write("evidence.pcap", capture::ftp_login());
    let ended = place
        .run_keyed(&[
            "analyze",
            "evidence.pcap",
            "--log-format",
            "json",
            "--quiet",
        ])
        .code(0);
    let events: Vec<Value> = ended.stderr.lines().map(json).collect();
    let messages: Vec<&str> = events
        .iter()
        .filter_map(|event| event["message"].as_str())
        .collect();
    for message in ["start", "input", "end"] {
        assert!(
            messages.contains(&message),
            "{message} is not in {messages:?}"
        );
    }
    let end = events
        .iter()
        .find(|event| event["message"] == "end")
        .expect("an end");
    assert_eq!(end["outcome"], "sealed");
    let refused = place
        .run_keyed(&["analyze", "none.pcap", "--log-format", "json"])
        .code(2);
    let events: Vec<Value> = refused.stderr.lines().map(json).collect();
    assert_eq!(events.last().expect("an event")["level"], "ERROR");
    assert!(!ended.stderr.contains(KEY));
}

#[test]
fn a_run_verifies_until_it_is_touched() {
    let place = analysed(&capture::ftp_login());
    let folder = place.run_folder("out");
    let run = text(&folder);
    let intact = place.run_keyed(&["verify", run]).code(0);
    assert!(intact.stdout.contains("INTACT"), "{intact:#?}");
    let document = json(&place.run_keyed(&["verify", run, "--json"]).code(0).stdout);
    assert_eq!(document["runs"][0]["state"], "intact");

    let table = folder.join("flows.parquet");
    let mut bytes = std::fs::read(&table).expect("a table");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&table, bytes).expect("tampered");
    let broken = place.run_keyed(&["verify", run]).code(1);
    assert!(
        broken.stdout.contains("BROKEN") && broken.stdout.contains("flows.parquet"),
        "{broken:#?}"
    );
    let document = json(&place.run_keyed(&["verify", run, "--json"]).code(1).stdout);
    assert_eq!(document["runs"][0]["state"], "broken");
    place
        .run_keyed(&["audit", run])
        .code(1)
        .says("flows.parquet");
}

#[test]
fn another_key_cannot_verify() {
    let place = analysed(&capture::empty());
    let run = place.run_folder("out");
    place.run(&["key", "new", "other.key"]).code(0);
    place
        .run(&["verify", text(&run), "--key-file", "other.key"])
        .code(2);
    place
        .run(&["audit", text(&run), "--key-file", "other.key"])
        .code(2);
    // With both at hand the right one is found.
    place
        .run_keyed(&["verify", text(&run), "--key-file", "other.key"])
        .code(0);
}

#[test]
fn a_folder_without_a_seal_is_broken() {
    let place = Place::new();
    std::fs::create_dir(place.path("holiday")).expect("made");
    let ended = place.run_keyed(&["verify", "holiday"]).code(1);
    assert!(
        ended.stdout.contains("manifest.json is missing"),
        "{ended:#?}"
    );
}

#[test]
fn a_file_is_no_run_and_no_broken_seal() {
    let place = Place::new();
    std::fs::write(place.path("cut.pcap"), "bytes").expect("written");
    for command in ["verify", "audit", "findings"] {
        let ended = place.run_keyed(&[command, "cut.pcap"]).code(2);
        let told = "cut.pcap is a file and no run; did you mean `nsforensics analyze cut.pcap`?";
        assert!(
            ended.stdout.contains(told) || ended.stderr.contains(told),
            "{ended:#?}"
        );
    }
}

#[test]
fn the_folder_of_all_runs_is_no_run() {
    let place = analysed(&capture::empty());
    for command in ["verify", "audit"] {
        let ended = place.run_keyed(&[command, "out"]).code(2);
        let said = ended.stdout + &ended.stderr;
        assert!(said.contains("holds runs, such as out/"), "{said}");
    }
}

#[test]
fn an_audit_fails_on_what_is_selected() {
    let place = analysed(&capture::ftp_login());
    let folder = place.run_folder("out");
    let run = text(&folder);
    let ended = place.run_keyed(&["audit", run]).code(1);
    assert!(
        ended.stdout.contains("FAIL") && ended.stdout.contains("NS-01"),
        "{ended:#?}"
    );
    place.run_keyed(&["audit", run, "--level", "L2"]).code(1);
    place
        .run_keyed(&["audit", run, "--check", "NS-01.plaintext"])
        .code(1);
    place
        .run_keyed(&["audit", run, "--check", "NS-01.tls_version"])
        .code(0);
    place
        .run_keyed(&["audit", run, "--check", "NS-99"])
        .code(2)
        .says("NS-99");
    place
        .run_keyed(&["audit", run, "--level", "L2", "--control", "NS-04"])
        .code(2)
        .says("level L2 does not require NS-04")
        .says("ask for --level L3");
    let ended = place
        .run_keyed(&["audit", run, "--level", "L1"])
        .code(2)
        .says("L1 does not require any of NS-01");
    assert_eq!(ended.stdout, "");
}

#[test]
fn all_findings_are_listed_with_reason_and_place() {
    let place = analysed(&capture::ftp_login());
    let folder = place.run_folder("out");
    let run = text(&folder);
    let listed = place.run_keyed(&["findings", run]).code(0);
    assert_eq!(listed.stderr, "");
    for part in [
        "CRITICAL",
        "NS-01.plaintext",
        "ftp outside TLS, with credentials",
        "10.0.0.5 -> 192.0.2.7:21",
        "evidence    evidence.pcap: frame ",
        " at byte ",
        "T1040",
    ] {
        assert!(listed.stdout.contains(part), "{part}: {listed:#?}");
    }
    assert!(!listed.stdout.contains("correct-horse"), "{listed:#?}");

    let document = json(&place.run_keyed(&["findings", run, "--json"]).code(0).stdout);
    let findings = document["findings"].as_array().expect("findings");
    assert_eq!(document["schema"], "nsforensics.findings/1");
    assert_eq!(document["total"], findings.len());
    let csv = place.run_keyed(&["findings", run, "--csv"]).code(0).stdout;
    assert_eq!(csv.split_terminator("\r\n").count(), findings.len() + 1);

    let count = |options: &[&str]| {
        let arguments = [&["findings", run, "--json"], options].concat();
        let document = json(&place.run_keyed(&arguments).code(0).stdout);
        document["findings"].as_array().expect("findings").len()
    };
    let of_plaintext = count(&["--check", "NS-01.plaintext"]);
    assert!(of_plaintext > 0 && of_plaintext <= count(&["--control", "NS-01"]));
    assert_eq!(count(&["--control", "NS-02"]), 0);
    assert!((1..=findings.len()).contains(&count(&["--severity", "critical"])));
    assert_eq!(count(&["--host", "10.0.0.5"]), findings.len());
    assert_eq!(count(&["--host", "10.0.0.6"]), 0);
    let id = findings[0]["finding_id"].as_str().expect("an id");
    assert_eq!(count(&["--id", id]), 1);

    place
        .run_keyed(&["findings", run, "--id", "F-NOSUCHTHING2"])
        .code(2)
        .says("F-NOSUCHTHING2");
    place
        .run_keyed(&["findings", run, "--check", "NS-99"])
        .code(2)
        .says("NS-99");
    place
        .run_keyed(&["findings", run, "--json", "--csv"])
        .code(2);
    std::fs::write(folder.join("findings.parquet"), "changed").expect("written");
    let broken = place.run_keyed(&["findings", run]).code(1);
    assert_eq!(broken.stdout, "");
    assert!(broken.stderr.contains("findings.parquet"), "{broken:#?}");
}

#[test]
fn the_cryptography_in_use_is_reported_of_an_intact_run() {
    let place = analysed(&capture::ftp_login());
    let folder = place.run_folder("out");
    let run = text(&folder);
    let ended = place.run_keyed(&["report", run, "--crypto"]).code(0);
    assert!(
        ended.stdout.starts_with("kind,name,identifier,"),
        "{ended:#?}"
    );
    let ended = place
        .run_keyed(&["report", run, "--crypto", "--format", "cyclonedx"])
        .code(0);
    let bill: serde_json::Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(bill.get("specVersion"), Some(&"1.6".into()));
    place.run_keyed(&["report", run]).code(2).says("--crypto");
    std::fs::write(folder.join("tls_handshakes.parquet"), "changed").expect("written");
    let ended = place.run_keyed(&["report", run, "--crypto"]).code(1);
    assert_eq!(ended.stdout, "");
}

#[test]
fn an_audit_speaks_json_and_junit() {
    let place = analysed(&capture::ftp_login());
    let folder = place.run_folder("out");
    let run = text(&folder);
    let document = json(
        &place
            .run_keyed(&["audit", run, "--format", "json"])
            .code(1)
            .stdout,
    );
    assert_eq!(
        (&document["schema"], &document["result"]),
        (&"nsforensics.audit/1".into(), &"fail".into())
    );
    let junit = place
        .run_keyed(&["audit", run, "--format", "junit"])
        .code(1)
        .stdout;
    let tree = roxmltree::Document::parse(&junit).expect("well-formed");
    assert!(tree.descendants().any(|node| node.has_tag_name("failure")));
    assert!(tree.descendants().any(|node| node.has_tag_name("skipped")));
}

#[test]
fn a_run_sealed_again_verifies_with_either_key() {
    let place = analysed(&capture::ftp_login());
    let folder = place.run_folder("out");
    let run = text(&folder);
    place.run(&["key", "new", "new.key"]).code(0);
    place.run(&["verify", run, "--key-file", "new.key"]).code(2);
    // The environment holds the old key.
    place
        .run_keyed(&["reseal", run, "--key-file", "new.key"])
        .code(0);
    place.run(&["verify", run, "--key-file", "new.key"]).code(0);
    place.run_keyed(&["verify", run]).code(0);
    place.run(&["audit", run, "--key-file", "new.key"]).code(1);
}

#[test]
fn a_broken_run_is_not_sealed_again() {
    let place = analysed(&capture::empty());
    let folder = place.run_folder("out");
    place.run(&["key", "new", "new.key"]).code(0);
    std::fs::write(folder.join("flows.parquet"), "something else").expect("tampered");
    place
        .run_keyed(&["reseal", text(&folder), "--key-file", "new.key"])
        .code(1);
}

#[test]
fn a_closed_pipe_is_quiet() {
    let place = analysed(&capture::ftp_login());
    let folder = place.run_folder("out");
    for arguments in [
        &["verify", text(&folder)][..],
        &["--help"],
        &["completions", "bash"],
    ] {
        let mut command = place.command(arguments);
        command.env("SECRET_KEY", KEY);
        let mut child = command.spawn().expect("starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("ends");
        assert_eq!(
            (output.status.code(), output.stderr),
            (Some(0), vec![]),
            "{arguments:?}"
        );
    }
}

#[test]
fn ctrl_c_seals_nothing() {
    use std::io::{Read as _, Write as _};
    let place = Place::new();
    let mut command = place.command(&["analyze", "-", "--out", "out", "--log-level", "info"]);
    command
        .env("SECRET_KEY", KEY)
        .stdin(std::process::Stdio::piped());
    let mut child = command.spawn().expect("starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(&capture::ftp_login()).expect("it reads");
    // The signal handlers stand once it logs its start.
    let mut said = String::new();
    let mut stderr = child.stderr.take().expect("a pipe");
    while !said.contains("start") {
        let mut byte = [0];
        assert_eq!(
            stderr.read(&mut byte).expect("a pipe"),
            1,
            "ended early: {said}"
        );
        said.push(char::from(byte[0]));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("ours");
    // A blocked read ends with the stream; the run must still not be sealed.
    drop(stdin);
    stderr.read_to_string(&mut said).expect("a pipe");
    assert_eq!(child.wait().expect("ends").code(), Some(130), "{said}");
    assert!(said.contains("nothing was sealed"), "{said}");
    let left: Vec<_> = std::fs::read_dir(place.path("out"))
        .expect("the output folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.join("manifest.json").exists())
        .collect();
    assert_eq!(left, Vec::<std::path::PathBuf>::new());
}

/// A pcapng of a TLS 1.2 connection, its secrets beside it in a key log.
fn sample(name: &str) -> Vec<u8> {
    let samples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/decrypted");
    std::fs::read(samples.join(name)).expect("the sample is there")
}

#[test]
fn key_logs_open_tls_and_show_nowhere() {
    let place = Place::new();
    place.write("evidence.pcapng", sample("curl.pcapng"));
    let secret = "5ec2e7".repeat(16);
    let random = "c11e47".repeat(11);
    let lines = format!(
        "CLIENT_RANDOM {} {secret}\nthis line is {secret}\n",
        &random[..64]
    );
    place.write("keys.log", lines);
    let ended = place
        .run_keyed(&[
            "analyze",
            "evidence.pcapng",
            "--keylog",
            "keys.log",
            "--json",
        ])
        .code(0);
    assert!(
        ended.stderr.contains("keys.log: 1 lines are no secrets"),
        "{}",
        ended.stderr
    );
    let document = json(&ended.stdout);
    let folder = document["run"]["folder"]
        .as_str()
        .or_else(|| document["folder"].as_str())
        .expect("the run's folder")
        .to_owned();
    let bytes: Vec<u8> = std::fs::read_dir(place.path(&folder))
        .expect("the run folder")
        .flat_map(|entry| std::fs::read(entry.expect("an entry").path()).expect("readable"))
        .chain(ended.stdout.bytes())
        .chain(ended.stderr.bytes())
        .collect();
    let has = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
    assert!(has(b"keys.log") && has(b"\"decryption_secrets\":5"));
    // Neither as text nor as bytes; and none of the sample's own secrets.
    assert!(!has(&secret.as_bytes()[..16]) && !has(&[0x5e, 0xc2, 0xe7, 0x5e, 0xc2, 0xe7]));
    let own = sample("curl.pcapng");
    let label = b"CLIENT_TRAFFIC_SECRET_0 ";
    let at = own
        .windows(label.len())
        .position(|window| window == label)
        .expect("the sample has secrets");
    let own = &own[at + label.len() + 65..][..32];
    assert!(own.iter().all(u8::is_ascii_hexdigit) && !has(own));
}

#[test]
fn a_key_log_that_is_not_there_is_told_before_reading() {
    let place = Place::new();
    place.write("evidence.pcapng", sample("curl.pcapng"));
    let ended = place
        .run_keyed(&["analyze", "evidence.pcapng", "--keylog", "nowhere.log"])
        .code(2);
    assert!(ended.stderr.contains("cannot read the key log nowhere.log"));
}

/// Something else than a key log is a slip of the hand, and told as one.
#[test]
fn a_key_log_without_a_secret_is_refused() {
    let place = Place::new();
    place.write("evidence.pcapng", sample("curl.pcapng"));
    place.write("notes.txt", "these are\nno secrets\n");
    let analysed = |log| place.run_keyed(&["analyze", "evidence.pcapng", "--keylog", log]);
    analysed("notes.txt").code(2).says("notes.txt");
    // One that nobody has written to yet is one.
    place.write("empty.log", "# SSLKEYLOGFILE\n");
    analysed("empty.log").code(0);
}

/// What belongs to flows is listed as well as what belongs to files.
#[test]
fn anomalies_are_listed() {
    let place = Place::new();
    let sample = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../samples/crafted/damage-garbage.pcap");
    place.write("odd.pcap", std::fs::read(sample).expect("the sample"));
    let ended = place.run_keyed(&["analyze", "odd.pcap", "--out", "out", "--json"]);
    let document = json(&ended.code(0).stdout);
    let run = document["folder"].as_str().expect("a folder").to_owned();
    let rows = document["totals"]["anomaly_rows"].as_u64().expect("rows");
    assert!(rows > 0);
    let listed = place.run_keyed(&["findings", &run, "--anomalies", "--json"]);
    let listed = json(&listed.code(0).stdout);
    assert_eq!(listed["total"], rows);
    assert_eq!(
        listed["anomalies"].as_array().map(Vec::len),
        Some(rows as usize)
    );
    let text = place.run_keyed(&["findings", &run, "--anomalies"]).code(0);
    assert!(text.stdout.starts_with("ANOMALIES  "), "{}", text.stdout);
    assert!(text.stdout.contains("capture_resync"), "{}", text.stdout);
    place
        .run_keyed(&["findings", &run, "--anomalies", "--csv"])
        .code(2);
}

#[test]
fn a_key_log_that_fits_nothing_is_told() {
    let place = Place::new();
    let sample =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/crafted/tls13-good.pcap");
    place.write(
        "plain.pcap",
        std::fs::read(sample).expect("the sample is there"),
    );
    let line = |random: &str| format!("CLIENT_RANDOM {} {}\n", random.repeat(32), "0b".repeat(48));
    place.write("other.log", line("01") + &line("02"));
    let ended = place
        .run_keyed(&["analyze", "plain.pcap", "--keylog", "other.log"])
        .code(0);
    let told = "key log: 0 of 2 secrets matched a connection";
    assert!(ended.stderr.contains(told), "{}", ended.stderr);
    assert!(ended.stdout.contains(told), "{}", ended.stdout);
    let ended = place
        .run_keyed(&["analyze", "plain.pcap", "--keylog", "other.log", "--json"])
        .code(0);
    let document = json(&ended.stdout);
    let anomalies = document["capture_anomalies"].as_array().expect("a list");
    let unmatched: Vec<_> = anomalies
        .iter()
        .filter(|row| row["kind"] == "keylog_unmatched")
        .map(|row| &row["count"])
        .collect();
    assert_eq!(unmatched, [2]);
    // Those that do are counted.
    place.write("evidence.pcapng", self::sample("curl.pcapng"));
    let ended = place.run_keyed(&["analyze", "evidence.pcapng"]).code(0);
    let told = "key log: 4 of 4 secrets matched a connection";
    assert!(ended.stdout.contains(told), "{}", ended.stdout);
}
