//! The folder of public captures, and what was measured about them.

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

/// The folder, if there is one; says that a test is skipped if not.
pub fn folder(test: &str) -> Option<PathBuf> {
    let named = std::env::var_os("NSF_CAPTURES").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/captures");
    let folder = named.unwrap_or(beside);
    if folder.join("truth.jsonl").is_file() {
        return Some(folder);
    }
    eprintln!(
        "SKIPPED {test}: no public captures in {} (set NSF_CAPTURES)",
        folder.display()
    );
    None
}

/// One line of `truth.jsonl` for each capture.
pub fn truth(folder: &Path) -> Vec<Value> {
    let text =
        std::fs::read_to_string(folder.join("truth.jsonl")).expect("truth.jsonl is readable");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
}

/// The source repositories' own expected results whose file begins with
/// `file`: path of the capture, and content.
pub fn expected(folder: &Path, file: &str) -> Vec<(String, String)> {
    let packed = std::fs::File::open(folder.join("expected.jsonl.gz")).expect("it is there");
    let lines = BufReader::new(flate2::read::GzDecoder::new(packed)).lines();
    lines
        .map(|line| serde_json::from_str(&line.expect("gzip")).expect("a line of JSON"))
        .filter(|value: &Value| text(value, "file").starts_with(file))
        .map(|value| {
            (
                text(&value, "path").to_owned(),
                text(&value, "content").to_owned(),
            )
        })
        .collect()
}

/// A field as text, empty when it is not there.
pub fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// A field as a list, empty when it is not there.
pub fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// A field as a number, 0 when it is not there.
pub fn number(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or_default()
}
