//! Alerts: each one delivered once, to every destination, whatever happens to
//! receivers, to the network and to the processes in between.

use crate::capture;
use crate::receivers::{self, accepted, until};
use crate::support::{Ended, KEY, Place, text};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

const AT_ONCE: Duration = Duration::ZERO;

fn policy(destinations: &[&str]) -> String {
    let list: Vec<String> = destinations
        .iter()
        .map(|line| format!("        - {line}\n"))
        .collect();
    format!(
        "monitoring:\n  network:\n    alerts:\n      destinations:\n{}",
        list.concat()
    )
}

const WEBHOOK: &str = "{type: webhook, url: \"${ALERT_WEBHOOK_URL}\"}";

/// A place with a capture of so many hosts that speak in plaintext, and a policy.
fn place(hosts: u16, destinations: &[&str]) -> Place {
    let place = Place::new();
    place.write("evidence.pcap", capture::many(hosts, 100));
    place.write("policy.yaml", policy(destinations));
    place
}

fn analyze(place: &Place, hook: Option<u16>) -> Command {
    let mut command = place.command(&[
        "analyze",
        "evidence.pcap",
        "--policy",
        "policy.yaml",
        "--json",
        "--alert-timeout",
        "1",
    ]);
    command.env("SECRET_KEY", KEY);
    hooked(command, hook)
}

fn alerts(place: &Place, what: &str, hook: Option<u16>) -> Command {
    let mut command = place.command(&["alerts", what, "nsforensics-out", "--json"]);
    if what == "deliver" {
        command.args(["--timeout", "1"]);
    }
    command.env("SECRET_KEY", KEY);
    hooked(command, hook)
}

fn hooked(mut command: Command, hook: Option<u16>) -> Command {
    if let Some(port) = hook {
        command.env(
            "ALERT_WEBHOOK_URL",
            format!("http://127.0.0.1:{port}/t0ken"),
        );
    }
    command
}

fn ended(mut command: Command) -> Ended {
    Ended::from(command.output().expect("the binary runs"))
}

fn document(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).expect("one JSON document")
}

/// The run's folder and its journal.
fn run(place: &Place) -> (PathBuf, PathBuf) {
    let entries = std::fs::read_dir(place.path("nsforensics-out")).expect("the folder of runs");
    let paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    let folder = paths.iter().find(|path| path.is_dir()).expect("a run");
    let journal = PathBuf::from(format!("{}.alerts.jsonl", text(folder)));
    (folder.clone(), journal)
}

/// Ids of the findings that are told: medium and worse.
fn told(document: &Value) -> BTreeSet<String> {
    document["findings"]
        .as_array()
        .expect("findings")
        .iter()
        .filter(|f| !["info", "low"].contains(&f["severity"].as_str().expect("a severity")))
        .map(|f| f["finding_id"].as_str().expect("an id").to_owned())
        .collect()
}

/// `finding="F-…"` of syslog messages.
fn findings(messages: &[String]) -> Vec<String> {
    messages
        .iter()
        .map(|message| {
            let (_, rest) = message.split_once(" finding=\"").expect("a finding");
            rest.split('"').next().expect("its end").to_owned()
        })
        .collect()
}

#[track_caller]
fn each_once(messages: &[String], expected: &BTreeSet<String>) {
    let found = findings(messages);
    assert_eq!(found.len(), expected.len(), "{messages:#?}");
    assert_eq!(&found.into_iter().collect::<BTreeSet<_>>(), expected);
}

#[test]
fn every_destination_gets_every_alert_once() {
    let (hook, posts) = receivers::http(0, |_| (204, AT_ONCE));
    let (tcp, by_tcp) = receivers::tcp();
    let (udp, by_udp) = receivers::udp();
    let (tls, by_tls, pem) = receivers::tls();
    let place = place(7, &[]);
    let by_socket = receivers::local(&place.path("log"));
    let socket = format!(
        "{{type: syslog, url: \"unix://{}\"}}",
        text(&place.path("log"))
    );
    place.write("roots.pem", pem);
    place.write(
        "policy.yaml",
        policy(&[
            WEBHOOK,
            &format!("{{type: syslog, facility: security, url: \"tcp://127.0.0.1:{tcp}\"}}"),
            &format!("{{type: syslog, facility: local3, url: \"udp://127.0.0.1:{udp}\"}}"),
            &format!("{{type: syslog, url: \"tls://localhost:{tls}\"}}"),
            &socket,
        ]),
    );
    let mut command = analyze(&place, Some(hook));
    command.env("SSL_CERT_FILE", place.path("roots.pem"));
    let ended = ended(command).code(0);
    let document = document(&ended);
    let expected = told(&document);
    assert!(expected.len() >= 7, "{document:#}");
    for of in document["alerts"]["destinations"]
        .as_array()
        .expect("a list")
    {
        assert_eq!(of["owed"], 0, "{of}");
        assert_eq!(of["delivered"], expected.len(), "{of}");
    }
    until("UDP arrives", || {
        by_udp.lock().expect("unpoisoned").len() == expected.len()
    });
    for kept in [&by_tcp, &by_udp, &by_tls, &by_socket] {
        each_once(&kept.lock().expect("unpoisoned"), &expected);
    }
    // Facility 4 and 19, severity 3 (high): PRI 35 and 155.
    assert!(by_tcp.lock().expect("unpoisoned")[0].starts_with("<35>1 "));
    assert!(by_udp.lock().expect("unpoisoned")[0].starts_with("<155>1 "));
    let posts = posts.lock().expect("unpoisoned").clone();
    assert_eq!(posts.len(), expected.len());
    let of_posts: BTreeSet<String> = posts
        .iter()
        .map(|post| {
            let alert: Value = serde_json::from_str(&post.body).expect("JSON");
            assert_eq!(alert["id"], post.key.as_str());
            alert["finding_id"].as_str().expect("an id").to_owned()
        })
        .collect();
    assert_eq!(of_posts, expected);

    // The seal covers the journal, and nothing is owed.
    let (folder, journal) = run(&place);
    let verified = place.run_keyed(&["verify", text(&folder)]).code(0);
    assert!(
        verified.stdout.contains("0 deliveries owed"),
        "{}",
        verified.stdout
    );
    place
        .run_keyed(&["alerts", "status", "nsforensics-out"])
        .code(0);
    // Asked again, nothing is sent again.
    let again = self::ended(alerts(&place, "deliver", Some(hook))).code(0);
    assert_eq!(self::document(&again)["runs"][0]["alerts"], expected.len());
    assert_eq!(
        accepted(&{ std::sync::Arc::new(std::sync::Mutex::new(posts)) }).len(),
        expected.len()
    );

    // A token in a URL is nowhere.
    let written = std::fs::read_to_string(journal).expect("the journal");
    for output in [
        &written,
        &ended.stdout,
        &ended.stderr,
        &again.stdout,
        &again.stderr,
    ] {
        assert!(!output.contains("t0ken"), "{output}");
    }
}

#[test]
fn a_signature_verifies_with_the_key_for_receivers() {
    let (hook, posts) = receivers::http(0, |_| (200, AT_ONCE));
    let place = place(1, &[WEBHOOK]);
    ended(analyze(&place, Some(hook))).code(0);
    let made = place
        .run_keyed(&["alerts", "signing-key", "hook.key"])
        .code(0);
    let key = std::fs::read_to_string(place.path("hook.key")).expect("a key");
    assert!(!made.stdout.contains(key.trim()));
    let post = posts.lock().expect("unpoisoned")[0].clone();
    // Checked by another implementation, where there is one.
    let checked = Command::new("python3")
        .args([
            "-c",
            "import hmac,sys\n\
             key=bytes.fromhex(sys.argv[1].strip())\n\
             parts=dict(p.split('=') for p in sys.argv[2].split(','))\n\
             mac=hmac.new(key,(parts['t']+'.'+sys.argv[3]).encode(),'sha256').hexdigest()\n\
             sys.exit(mac!=parts['v1'])",
            &key,
            &post.signature,
            &post.body,
        ])
        .status();
    match checked {
        Ok(status) => assert!(status.success(), "{post:?}"),
        Err(_) => eprintln!("skipped: no python3 to check the signature with"),
    }
    place
        .run_keyed(&["alerts", "signing-key", "hook.key"])
        .code(2);
}

#[test]
fn a_receiver_that_is_down_gets_everything_later_and_once() {
    let port = receivers::closed_port();
    let collector = receivers::closed_port();
    let syslog = format!("{{type: syslog, url: \"tcp://127.0.0.1:{collector}\"}}");
    let place = place(5, &[WEBHOOK, &syslog]);
    let first = ended(analyze(&place, Some(port))).code(0);
    let first = document(&first);
    let expected = told(&first);
    for of in first["alerts"]["destinations"].as_array().expect("a list") {
        assert_eq!(
            (&of["delivered"], &of["owed"]),
            (&0.into(), &expected.len().into())
        );
        assert!(!of["reason"].is_null(), "{of}");
    }
    ended(alerts(&place, "status", None)).code(1);
    let (folder, _) = run(&place);
    place.run_keyed(&["verify", text(&folder)]).code(0);
    let (_, posts) = receivers::http(port, |_| (200, AT_ONCE));
    // The webhook is back, the collector is not.
    let later = ended(alerts(&place, "deliver", Some(port))).code(1);
    let later = document(&later);
    assert_eq!(later["runs"][0]["destinations"][0]["owed"], 0, "{later:#}");
    assert_eq!(later["runs"][0]["destinations"][1]["owed"], expected.len());
    let by_key = accepted(&posts);
    assert_eq!(by_key.len(), expected.len());
    assert!(by_key.values().all(|&times| times == 1), "{by_key:?}");
}

#[test]
fn errors_of_a_receiver_are_tried_again() {
    // Every other request fails.
    let (hook, posts) = receivers::http(0, |number| {
        (if number % 2 == 0 { 500 } else { 200 }, AT_ONCE)
    });
    let place = place(3, &[WEBHOOK]);
    let done = document(&ended(analyze(&place, Some(hook))).code(0));
    let expected = told(&done);
    assert_eq!(
        done["alerts"]["destinations"][0]["delivered"],
        expected.len()
    );
    let by_key = accepted(&posts);
    assert_eq!(by_key.len(), expected.len());
    assert!(by_key.values().all(|&times| times == 1), "{by_key:?}");
    assert_eq!(posts.lock().expect("unpoisoned").len(), 2 * expected.len());
}

#[test]
fn a_receiver_that_always_fails_or_never_answers_keeps_nothing_from_being_sealed() {
    for (status, delay) in [
        (500, AT_ONCE),
        (401, AT_ONCE),
        (200, Duration::from_secs(3)),
    ] {
        let (hook, posts) = receivers::http(0, move |_| (status, delay));
        let place = place(2, &[WEBHOOK]);
        let done = document(&ended(analyze(&place, Some(hook))).code(0));
        let of = &done["alerts"]["destinations"][0];
        assert_eq!(
            (&of["delivered"], &of["owed"]),
            (&0.into(), &told(&done).len().into())
        );
        assert!(!posts.lock().expect("unpoisoned").is_empty());
        let (folder, _) = run(&place);
        place.run_keyed(&["verify", text(&folder)]).code(0);
    }
}

#[test]
fn a_certificate_that_does_not_verify_gets_nothing() {
    let (tls, by_tls, _) = receivers::tls();
    let (_, _, other) = receivers::tls();
    let place = place(
        1,
        &[&format!("{{type: syslog, url: \"tls://localhost:{tls}\"}}")],
    );
    place.write("roots.pem", other);
    let mut command = analyze(&place, None);
    command.env("SSL_CERT_FILE", place.path("roots.pem"));
    let done = document(&ended(command).code(0));
    let of = &done["alerts"]["destinations"][0];
    assert_eq!(of["delivered"], 0);
    let reason = of["reason"].as_str().expect("a reason");
    assert!(reason.contains("certificate"), "{reason}");
    assert!(by_tls.lock().expect("unpoisoned").is_empty());
}

/// Ends a process and the one that it started, as `kill -9` does.
fn kill_with_children(pid: u32) {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    let kill = |pid: &str| drop(Command::new("kill").args(["-9", pid]).status());
    kill(&pid.to_string());
    children.split_whitespace().for_each(kill);
}

#[test]
fn a_kill_in_the_middle_loses_nothing_and_doubles_nothing_for_who_reads_the_key() {
    let (hook, posts) = receivers::http(0, |_| (200, Duration::from_millis(60)));
    let place = place(12, &[WEBHOOK]);
    let mut child = analyze(&place, Some(hook))
        .spawn()
        .expect("the binary starts");
    until("three arrive", || {
        posts.lock().expect("unpoisoned").len() >= 3
    });
    kill_with_children(child.id());
    drop(child.wait());
    std::thread::sleep(Duration::from_millis(150));
    let before = posts.lock().expect("unpoisoned").len();
    let (folder, _) = run(&place);
    // The journal still holds, torn or not, and says that something is owed.
    place.run_keyed(&["verify", text(&folder)]).code(0);
    ended(alerts(&place, "status", None)).code(1);
    let done = document(&ended(alerts(&place, "deliver", Some(hook))).code(0));
    let number = usize::try_from(done["runs"][0]["alerts"].as_u64().expect("a number"))
        .expect("a small one");
    assert!(
        before < number,
        "the kill came in the middle: {before} of {number}"
    );
    let by_key = accepted(&posts);
    assert_eq!(by_key.len(), number, "none is lost");
    let doubled = by_key.values().filter(|&&times| times > 1).count();
    assert!(
        doubled <= 1,
        "only what was in flight is sent again: {by_key:?}"
    );
    ended(alerts(&place, "status", None)).code(0);
}

#[test]
fn an_analysis_that_was_cut_off_before_it_queued_is_made_up_for() {
    let port = receivers::closed_port();
    let place = place(2, &[WEBHOOK]);
    let done = document(&ended(analyze(&place, Some(port))).code(0));
    let expected = told(&done).len();
    // As after an end between the seal and the journal.
    let (_, journal) = run(&place);
    std::fs::remove_file(&journal).expect("removed");
    let status = document(&ended(alerts(&place, "status", None)).code(1));
    let of = &status["runs"][0];
    assert_eq!(
        (&of["alerts"], &of["journal"]),
        (&expected.into(), &Value::Null)
    );
    assert_eq!(of["destinations"][0]["owed"], expected, "{status:#}");
    let (_, posts) = receivers::http(port, |_| (200, AT_ONCE));
    ended(alerts(&place, "deliver", Some(port))).code(0);
    assert_eq!(accepted(&posts).len(), expected);
    ended(alerts(&place, "status", None)).code(0);
}

#[test]
fn alerts_that_were_declined_stay_so() {
    let (hook, posts) = receivers::http(0, |_| (200, AT_ONCE));
    let place = place(2, &[WEBHOOK]);
    let mut command = analyze(&place, Some(hook));
    command.arg("--no-alerts");
    let done = document(&ended(command).code(0));
    assert!(done["alerts"].is_null() && !told(&done).is_empty());
    // A run judged again without a policy has that of the old one, destinations
    // included, and tells nobody; nor does one with --no-alerts.
    let (folder, _) = run(&place);
    let again = ["rescore", text(&folder), "--quiet"];
    let declined = ["--policy", "policy.yaml", "--no-alerts"];
    for arguments in [&again[..], &[&again[..], &declined].concat()] {
        let mut command = place.command(arguments);
        command.env("SECRET_KEY", KEY);
        ended(hooked(command, Some(hook))).code(0);
    }
    for what in ["status", "deliver", "status"] {
        let said = document(&ended(alerts(&place, what, Some(hook))).code(0));
        let runs = said["runs"].as_array().expect("runs");
        assert_eq!(runs.len(), 3);
        for run in runs {
            assert_eq!(
                (&run["alerts"], &run["error"]),
                (&Value::Null, &Value::Null)
            );
        }
    }
    assert!(posts.lock().expect("unpoisoned").is_empty());
    // Asked for, they are told.
    let wanted = [&again[..], &["--policy", "policy.yaml"]].concat();
    let mut command = place.command(&wanted);
    command.env("SECRET_KEY", KEY);
    ended(hooked(command, Some(hook))).code(0);
    assert_eq!(accepted(&posts).len(), told(&done).len());
}

#[test]
fn a_changed_journal_shows_and_sends_nothing() {
    let port = receivers::closed_port();
    let place = place(2, &[WEBHOOK]);
    ended(analyze(&place, Some(port))).code(0);
    let (folder, journal) = run(&place);
    let before = std::fs::read_to_string(&journal).expect("the journal");
    let changed = before.replacen("many.example", "evil.example", 1);
    assert_ne!(before, changed);
    std::fs::write(&journal, changed).expect("written");
    let verified = place.run_keyed(&["verify", text(&folder)]).code(1);
    assert!(verified.stdout.contains("HMAC"), "{}", verified.stdout);
    let (_, posts) = receivers::http(port, |_| (200, AT_ONCE));
    for what in ["deliver", "status"] {
        let said = document(&ended(alerts(&place, what, Some(port))).code(1));
        assert_eq!(said["runs"][0]["state"], "broken");
    }
    assert!(posts.lock().expect("unpoisoned").is_empty());
    // The verdicts do not depend on it.
    let audited = place.run_keyed(&["audit", text(&folder)]);
    assert_eq!(audited.code, Some(1), "{audited:?}");
}

#[test]
fn what_could_not_be_read_is_no_broken_journal() {
    let (hook, posts) = receivers::http(0, |_| (200, AT_ONCE));
    let port = receivers::closed_port();
    let place = place(1, &[WEBHOOK]);
    // One run under another key, one under ours.
    let mut other = analyze(&place, Some(port));
    other.env("SECRET_KEY", "another-key-for-tests-that-is-long-enough");
    ended(other).code(0);
    let (foreign, _) = run(&place);
    for what in ["status", "deliver"] {
        let said = ended(alerts(&place, what, Some(hook))).code(2);
        assert!(said.stderr.contains(&name_of(&foreign)), "{said:?}");
    }
    ended(analyze(&place, Some(port))).code(0);
    // Ours is delivered; that the other could not be is said.
    let said = ended(alerts(&place, "deliver", Some(hook))).code(2);
    let said = document(&said);
    let runs = said["runs"].as_array().expect("runs");
    assert_eq!(runs.len(), 2);
    let (failed, done): (Vec<_>, Vec<_>) = runs.iter().partition(|run| !run["error"].is_null());
    assert_eq!((failed.len(), done.len()), (1, 1));
    assert_eq!(failed[0]["state"], "unchecked");
    assert_eq!(done[0]["state"], "intact");
    assert_eq!(done[0]["destinations"][0]["owed"], 0);
    assert!(!accepted(&posts).is_empty());
    // Whatever is broken outweighs it.
    let ours = done[0]["journal"].as_str().expect("a journal");
    let journal = place.path(ours);
    let before = std::fs::read_to_string(&journal).expect("the journal");
    std::fs::write(&journal, before.replacen("many.example", "evil.example", 1)).expect("written");
    let said = document(&ended(alerts(&place, "status", None)).code(1));
    let states: BTreeSet<_> = said["runs"]
        .as_array()
        .expect("runs")
        .iter()
        .map(|run| run["state"].as_str().expect("a state"))
        .collect();
    assert_eq!(states, ["broken", "unchecked"].into());
}

fn name_of(folder: &std::path::Path) -> String {
    let name = folder.file_name().expect("a name");
    name.to_string_lossy().into_owned()
}

/// Runs are named as they were given.
#[test]
fn paths_are_told_as_they_were_given() {
    let port = receivers::closed_port();
    let place = place(1, &[WEBHOOK]);
    ended(analyze(&place, Some(port))).code(0);
    let (folder, _) = run(&place);
    let run = format!("nsforensics-out/{}", name_of(&folder));
    let journal = format!("{run}.alerts.jsonl");
    for given in ["nsforensics-out", "nsforensics-out/", &run] {
        let said = place
            .run_keyed(&["alerts", "status", given, "--json"])
            .code(1);
        let said = document(&said);
        assert_eq!(said["runs"][0]["run"], run.as_str(), "{given}");
        assert_eq!(said["runs"][0]["journal"], journal.as_str(), "{given}");
    }
    place.write("feed.txt", "192.0.2.9\n");
    let said = place
        .run_keyed(&[
            "match",
            "nsforensics-out",
            "--indicators",
            "feed.txt",
            "--json",
        ])
        .code(1);
    assert_eq!(document(&said)["runs"][0]["path"], run.as_str());
    // In the folder itself there is no name to go by.
    let mut command = place.command(&["alerts", "status", ".", "--json"]);
    command.current_dir(&folder).env("SECRET_KEY", KEY);
    let said = document(&ended(command).code(1));
    let named = said["runs"][0]["run"].as_str().expect("a path");
    assert!(named.ends_with(&name_of(&folder)), "{named}");
}

#[test]
fn status_waits_for_nobody() {
    let place = place(1, &[WEBHOOK]);
    place
        .run_keyed(&["alerts", "status", "nsforensics-out", "--timeout", "1"])
        .code(2)
        .says("--timeout");
}

#[test]
fn what_cannot_be_sent_to_is_said_and_kept() {
    let place = place(1, &[WEBHOOK]);
    let done = document(&ended(analyze(&place, None)).code(0));
    let of = &done["alerts"]["destinations"][0];
    assert_eq!(of["owed"], told(&done).len());
    let reason = of["reason"].as_str().expect("a reason");
    assert!(reason.contains("ALERT_WEBHOOK_URL"), "{reason}");
    place.write(
        "policy.yaml",
        policy(&["{type: webhook, url: \"http://hooks.example/t0ken\"}"]),
    );
    let refused = ended(analyze(&place, None)).code(2).says("https");
    assert!(!refused.stderr.contains("t0ken"));
}
