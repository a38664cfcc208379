//! Public captures with measured truth, where a folder of them is at hand
//! (`NSF_CAPTURES`): packets, bytes and times against tshark's, and the same
//! essence for small chunks and for a stream.

use super::*;

/// Takes a scalar field out of a JSON line without parsing all of it.
fn field<'a>(value: &'a serde_json::Value, name: &str) -> &'a serde_json::Value {
    value.get(name).unwrap_or(&serde_json::Value::Null)
}

fn nanos(value: &serde_json::Value) -> Option<i64> {
    let text = value.as_str()?;
    let (seconds, fraction) = text.split_once('.')?;
    let sign = if seconds.starts_with('-') { -1 } else { 1 };
    let seconds: i64 = seconds.parse().ok()?;
    let fraction: i64 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    Some(seconds * 1_000_000_000 + sign * fraction)
}

#[test]
fn public_captures_agree_with_tshark() {
    let Some(folder) = captures_folder() else {
        eprintln!("SKIPPED: NSF_CAPTURES does not name a folder of captures");
        return;
    };
    let truth = std::fs::read_to_string(folder.join("truth.jsonl")).expect("truth.jsonl");
    let mut differ = 0;
    let mut lines = 0;
    for line in truth.lines() {
        let truth: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let name = field(&truth, "path").as_str().expect("a path").to_owned();
        lines += 1;
        let path = folder.join(&name);
        let read = |options: &Options| {
            let mut found = discover(std::slice::from_ref(&path), options);
            found.files.pop().map(drive).ok_or(found.problems)
        };
        let expected = [
            field(&truth, "packets").as_u64(),
            field(&truth, "bytes_captured").as_u64(),
            field(&truth, "bytes_wire").as_u64(),
            field(&truth, "truncated_packets").as_u64(),
        ];
        let times = [
            nanos(field(&truth, "min_ts")),
            nanos(field(&truth, "max_ts")),
        ];
        match read(&Options::default()) {
            Err(problems) => {
                differ += 1;
                eprintln!("{name}: {expected:?} but {problems:?}");
            }
            Ok((packets, finished)) => {
                let summary = &finished.summary;
                let found = [
                    summary.packets,
                    summary.bytes_captured,
                    summary.bytes_wire,
                    summary.packets_truncated,
                ]
                .map(Some);
                let found_times =
                    [summary.ts_first, summary.ts_last].map(|ts| ts.map(CaptureTime::as_nanos));
                if found != expected || found_times != times {
                    differ += 1;
                    eprintln!(
                        "{name}: expected {expected:?} {times:?} found {found:?} {found_times:?} {:?} tshark {}",
                        finished.damage,
                        field(&truth, "tshark"),
                    );
                }
                let whole = essence((packets, finished));
                for options in [
                    small_chunks(64 << 10, true),
                    small_chunks(3_001, true),
                    small_chunks(64 << 10, false),
                    small_chunks(700, false),
                ] {
                    let other = essence(read(&options).expect("readable as before"));
                    assert!(other == whole, "{name}: {options:?} differs");
                }
            }
        }
    }
    eprintln!("{differ} of {lines} differ");
}
