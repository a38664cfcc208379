//! 0 done, 1 done and it is there, 2 could not be done.

use crate::support::Place;

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
