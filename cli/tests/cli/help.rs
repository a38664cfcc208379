//! Help, version, completions.

use crate::support::Place;

#[track_caller]
fn help_of(name: &str, arguments: &[&str]) {
    let ended = Place::new().run(arguments).code(0);
    assert_eq!(ended.stderr, "");
    for line in ended.stdout.lines() {
        assert!(
            line.chars().count() <= 100,
            "wider than 100 columns: {line}"
        );
    }
    insta::assert_snapshot!(name, ended.stdout);
}

#[test]
fn every_command_explains_itself() {
    help_of("top", &["--help"]);
    for command in [
        "analyze",
        "verify",
        "audit",
        "findings",
        "report",
        "policy",
        "key",
        "reseal",
        "rescore",
        "match",
        "alerts",
        "completions",
    ] {
        help_of(command, &[command, "--help"]);
    }
    for command in ["init", "check", "show"] {
        help_of(&format!("policy_{command}"), &["policy", command, "--help"]);
    }
    for command in ["new", "id"] {
        help_of(&format!("key_{command}"), &["key", command, "--help"]);
    }
    for command in ["deliver", "status", "signing-key"] {
        let name = format!("alerts_{}", command.replace('-', "_"));
        help_of(&name, &["alerts", command, "--help"]);
    }
}

#[test]
fn every_leaf_has_an_example() {
    for command in [
        &["analyze"][..],
        &["verify"],
        &["audit"],
        &["findings"],
        &["report"],
        &["policy", "init"],
        &["policy", "check"],
        &["policy", "show"],
        &["key", "new"],
        &["key", "id"],
        &["reseal"],
        &["rescore"],
        &["match"],
        &["alerts", "deliver"],
        &["alerts", "status"],
        &["alerts", "signing-key"],
        &["completions"],
    ] {
        let ended = Place::new().run(&[command, &["--help"]].concat()).code(0);
        let example = format!("nsforensics {}", command.join(" "));
        let after = ended.stdout.split("Example").nth(1).unwrap_or_default();
        assert!(after.contains(&example), "no example of {example}");
    }
}

#[test]
fn the_version_tells_what_was_built() {
    let short = Place::new().run(&["-V"]).code(0).stdout;
    assert_eq!(
        short,
        concat!("nsforensics ", env!("CARGO_PKG_VERSION"), "\n")
    );
    let long = Place::new().run(&["--version"]).code(0).stdout;
    assert!(
        long.starts_with(&*short) && long.contains("HMAC-SHA-256"),
        "{long}"
    );
}

#[test]
fn completions_name_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = Place::new().run(&["completions", shell]).code(0).stdout;
        assert!(
            script.contains("analyze") && script.contains("reseal"),
            "{shell}"
        );
    }
}

#[test]
fn no_command_is_a_mistake_and_shows_help() {
    let ended = Place::new().run(&[]).code(2);
    assert!(ended.stderr.contains("Usage:"), "{ended:#?}");
}
