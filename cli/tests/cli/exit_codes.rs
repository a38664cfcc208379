//! 0 done, 1 done and it is there, 2 could not be done.

use crate::support::{Place, text};

#[test]
fn what_cannot_be_read_is_2() {
    let place = Place::new();
    place
        .run_keyed(&["analyze", "missing.pcap"])
        .code(2)
        .says("missing.pcap");
    place.write("text.pcap", "this is no capture, whatever its name says");
    place
        .run_keyed(&["analyze", "text.pcap"])
        .code(2)
        .says("text.pcap");
    place
        .run_keyed(&["verify", "nowhere"])
        .code(2)
        .says("nowhere");
    place
        .run_keyed(&["audit", "nowhere"])
        .code(2)
        .says("nowhere");
}

#[test]
fn mistakes_are_2() {
    let place = Place::new();
    place.run_keyed(&["analyze"]).code(2).says("CAPTURE");
    place
        .run_keyed(&["analyze", "-", "--threads", "0"])
        .code(2)
        .says("--threads");
    place
        .run_keyed(&["analyze", "-", "--fail-on", "severe"])
        .code(2)
        .says("critical");
    place.run_keyed(&["analyse"]).code(2).says("analyze");
    place
        .run_keyed(&["audit", "x", "--level", "L4"])
        .code(2)
        .says("L3");
    place.run(&["verify", "x"]).code(2).says("--key-file");
}

#[test]
fn names_of_files_are_escaped() {
    let place = Place::new();
    let ended = place
        .run_keyed(&["analyze", "\x1b[2Jmissing\u{202e}.pcap"])
        .code(2);
    assert!(!ended.stderr.contains(['\x1b', '\u{202e}']), "{ended:#?}");
    assert!(
        ended.stderr.contains("\\x1b[2Jmissing\\u{202e}.pcap"),
        "{ended:#?}"
    );
}

#[test]
fn a_bad_policy_is_named_with_line_and_key() {
    let place = Place::new();
    let policy = place.write("bad.yaml", "network:\n  tls:\n    min_versoin: TLS1.2\n");
    for arguments in [
        &["policy", "check", "bad.yaml"][..],
        &["analyze", "-", "--policy", "bad.yaml"],
        &["policy", "show", text(&policy)],
    ] {
        let ended = place
            .run_keyed(arguments)
            .code(2)
            .says("bad.yaml:3")
            .says("min_versoin");
        assert_eq!(ended.stdout, "");
    }
    place
        .run_keyed(&["policy", "check", "none.yaml"])
        .code(2)
        .says("none.yaml");
}

#[test]
fn a_suite_that_there_is_not_is_refused_and_a_pattern_without_effect_told() {
    let place = Place::new();
    let suites = |allowed: &str| {
        format!(
            "network:\n  tls:\n    cipher_suites:\n      allowed:\n        - {allowed}\n      denied:\n        - \"*CBX*\"\n"
        )
    };
    place.write(
        "misspelt.yaml",
        suites("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA265"),
    );
    for arguments in [
        &["policy", "check", "misspelt.yaml"][..],
        &["analyze", "-", "--policy", "misspelt.yaml"],
    ] {
        place
            .run_keyed(arguments)
            .code(2)
            .says("misspelt.yaml:5: policy: network.tls.cipher_suites.allowed:")
            .says("did you mean `TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256`?");
    }
    place.write("idle.yaml", suites("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"));
    let ended = place.run(&["policy", "check", "idle.yaml"]).code(0).says(
        "idle.yaml:7: policy: network.tls.cipher_suites.denied: `*CBX*` fits no known cipher suite",
    );
    assert_eq!(ended.stdout, "idle.yaml: usable, with 1 warning\n");
}

#[test]
fn a_policy_is_written_once_and_can_be_used() {
    let place = Place::new();
    place.run(&["policy", "init"]).code(0);
    place
        .run(&["policy", "check", "nsforensics-policy.yaml"])
        .code(0);
    place.write("nsforensics-policy.yaml", "# mine\n");
    place
        .run(&["policy", "init"])
        .code(2)
        .says("nsforensics-policy.yaml");
    assert_eq!(
        std::fs::read(place.path("nsforensics-policy.yaml")).expect("kept"),
        b"# mine\n"
    );
    let shown = place.run(&["policy", "show"]).code(0).stdout;
    place.write("shown.yaml", &shown);
    place.run(&["policy", "check", "shown.yaml"]).code(0);
    assert_eq!(
        place.run(&["policy", "show", "shown.yaml"]).code(0).stdout,
        shown
    );
}
