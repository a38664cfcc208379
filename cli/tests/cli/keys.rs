//! Keys: made, named, refused, and never told.

use crate::support::{KEY, Place, text};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

#[test]
fn a_new_key_is_private_and_never_overwrites() {
    let place = Place::new();
    let ended = place.run(&["key", "new", "my.key"]).code(0);
    let path = place.path("my.key");
    let mode = std::fs::metadata(&path).expect("made").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let key = std::fs::read_to_string(&path).expect("text");
    assert_eq!((key.len(), key.ends_with('\n')), (45, true));
    assert!(!ended.stdout.contains(key.trim()) && !ended.stderr.contains(key.trim()));

    place
        .run(&["key", "new", "my.key"])
        .code(2)
        .says("never overwritten");
    assert_eq!(std::fs::read_to_string(&path).expect("text"), key);

    place.run(&["key", "new", "other.key"]).code(0);
    assert_ne!(
        std::fs::read_to_string(place.path("other.key")).expect("text"),
        key
    );
}

#[test]
fn an_id_is_the_same_from_file_and_environment() {
    let place = Place::new();
    place.write("with-newline.key", format!("{KEY}\n"));
    place.write("without.key", KEY);
    place.write("two-newlines.key", format!("{KEY}\n\n"));
    let from_environment = place.run_keyed(&["key", "id"]).code(0).stdout;
    assert_eq!(
        place.run(&["key", "id", "with-newline.key"]).code(0).stdout,
        from_environment
    );
    assert_eq!(
        place.run(&["key", "id", "without.key"]).code(0).stdout,
        from_environment
    );
    assert_ne!(
        place.run(&["key", "id", "two-newlines.key"]).code(0).stdout,
        from_environment
    );
    assert!(!from_environment.contains(KEY));
}

#[test]
fn a_run_without_a_key_reads_nothing_and_says_what_to_do() {
    let place = Place::new();
    let ended = place.run(&["analyze", "no-such-file.pcap"]).code(2);
    insta::assert_snapshot!("no_key", ended.stderr);
    assert!(ended.stderr.contains("openssl rand -base64 32"));
    assert!(ended.stderr.contains("nsforensics key new FILE"));
    assert!(!place.path("nsforensics-out").exists());
}

#[test]
fn a_short_key_is_refused() {
    let place = Place::new();
    let mut command = place.command(&["analyze", "-"]);
    command.env("SECRET_KEY", "too-short");
    let output = command.output().expect("runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr.contains("32") && !stderr.contains("too-short"),
        "{stderr}"
    );
    place.write("short.key", "also-too-short\n");
    let ended = place
        .run(&["analyze", "-", "--key-file", "short.key"])
        .code(2)
        .says("short.key");
    assert!(!ended.stderr.contains("also-too-short"));
}

#[test]
fn a_key_given_as_a_file_name_is_not_repeated() {
    let place = Place::new();
    let ended = place
        .run_keyed(&["analyze", "-", "--key-file", KEY])
        .code(2);
    assert!(!ended.stderr.contains(KEY), "{ended:#?}");
    let pasted = "3q2+7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let ended = place.run(&["analyze", "-", "--key-file", pasted]).code(2);
    assert!(!ended.stderr.contains(pasted), "{ended:#?}");
}

#[test]
fn a_file_that_is_no_key_is_not_read_whole() {
    let place = Place::new();
    let big = place.write("capture.pcap", vec![b'x'; 1 << 20]);
    place
        .run(&["key", "id", text(&big)])
        .code(2)
        .says("not a key file");
    place
        .run(&["key", "id", "/dev/zero"])
        .code(2)
        .says("not a key file");
}

/// `/proc/PID/environ` shows the memory in which the kernel put the environment.
#[test]
fn the_key_does_not_stay_in_the_environment() {
    let place = Place::new();
    let mut command = place.command(&["analyze", "-", "--log-level", "info"]);
    command
        .env("SECRET_KEY", KEY)
        .env("HOME", "/nowhere")
        .stdin(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    // The first log line comes after the key was taken.
    let mut stderr = child.stderr.take().expect("a pipe");
    stderr.read_exact(&mut [0]).expect("it logs its start");
    let environment = std::fs::read(format!("/proc/{}/environ", child.id())).expect("ours to read");
    let environment = String::from_utf8_lossy(&environment);
    assert!(
        environment.contains("/nowhere"),
        "the right memory: {environment:?}"
    );
    assert!(!environment.contains(KEY), "the key is still there");
    let mut stdin = child.stdin.take().expect("a pipe");
    drop(stdin.write_all(b"no capture"));
    drop(stdin);
    child.wait().expect("ends");
}
