//! DNS rows of public captures against what tshark measured, message by message:
//! names, types, identifiers and codes, each as a multiset per capture. Answers
//! stand in no measurement of tshark's here; those that Zeek logged do.

use crate::public::{self, list, number, text};
use crate::runs::{self, How, Row};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Known differences, with their reasons: capture, kind, how many messages differ.
///
/// None so far. A name's bytes beyond ASCII are compared by their places alone.
const EXPLAINED: &[(&str, &str, u64, &str)] = &[];

/// Counts by kind of fact and what it says.
type Counts = BTreeMap<(&'static str, String), u64>;

fn add(counts: &mut Counts, kind: &'static str, what: String, count: u64) {
    *counts.entry((kind, what)).or_default() += count;
}

/// What one message says.
struct Message {
    name: Option<String>,
    qtype: String,
    id: u64,
    rcode: Option<u64>,
}

impl Message {
    fn count(self, counts: &mut Counts, count: u64) {
        let Self {
            name,
            qtype,
            id,
            rcode,
        } = self;
        if let Some(name) = name {
            let whole = format!("{id:04x} {name} {qtype} {rcode:?}");
            let (by_name, by_type, all) = match rcode {
                None => ("question name", "question type", "whole question"),
                Some(_) => ("answer name", "answer type", "whole answer"),
            };
            add(counts, by_name, name, count);
            add(counts, by_type, qtype, count);
            add(counts, all, whole, count);
        }
        match rcode {
            None => add(counts, "question id", format!("{id:04x}"), count),
            Some(code) => {
                add(counts, "answer id", format!("{id:04x}"), count);
                add(counts, "answer code", code.to_string(), count);
            }
        }
    }
}

fn of_truth(truth: &Value) -> Counts {
    let mut counts = Counts::new();
    for message in list(truth, "dns") {
        let id = text(message, "id").trim_start_matches("0x");
        let name = message.get("name").and_then(Value::as_str);
        let message = Message {
            // tshark's word for the root, and names as they are compared.
            name: name.map(|name| match name {
                "<Root>" => ".".to_owned(),
                name => seen(&name.to_ascii_lowercase()),
            }),
            qtype: text(message, "type").to_owned(),
            id: u64::from_str_radix(id, 16).expect("an identifier"),
            rcode: (number(message, "response") == 1).then(|| number(message, "rcode")),
        };
        message.count(&mut counts, 1);
    }
    counts
}

/// A name as far as tshark shows it: of bytes beyond ASCII, which it takes for
/// UTF-8 by rules of its own, only where they stand.
fn seen(name: &str) -> String {
    let mut out = String::new();
    for letter in name.chars() {
        if letter.is_ascii_graphic() {
            out.push(letter);
        } else if !out.ends_with('\u{fffd}') {
            out.push('\u{fffd}');
        }
    }
    out
}

/// A name in which bytes are no longer escaped (RFC 1035 §5.1).
fn as_utf8(name: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = name.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let digits = after
            .get(..3)
            .and_then(|three| std::str::from_utf8(three).ok());
        rest = match (byte, digits.and_then(|three| three.parse().ok()), after) {
            (b'\\', Some(number), _) => {
                bytes.push(number);
                &after[3..]
            }
            (b'\\', None, [escaped, after @ ..]) => {
                bytes.push(*escaped);
                after
            }
            _ => {
                bytes.push(*byte);
                after
            }
        };
    }
    seen(&String::from_utf8_lossy(&bytes))
}

fn of_row(row: &Row, counts: &mut Counts) {
    if runs::text(row, "transport") == "nbns" {
        return;
    }
    let unsigned = |column| runs::number(row, column).and_then(|value| u64::try_from(value).ok());
    let message = |rcode| Message {
        name: row.get("query").and_then(Value::as_str).map(as_utf8),
        qtype: unsigned("qtype").unwrap_or_default().to_string(),
        id: unsigned("trans_id").unwrap_or_default(),
        rcode,
    };
    if row.get("query_seen") == Some(&Value::Bool(true)) {
        let times = 1 + unsigned("query_repeats").unwrap_or_default();
        message(None).count(counts, times);
    }
    if let Some(rcode) = unsigned("rcode") {
        message(Some(rcode)).count(counts, 1);
    }
}

#[test]
fn dns_agrees_with_what_was_measured() {
    let Some(folder) = public::folder("dns_agrees_with_what_was_measured") else {
        return;
    };
    let out = tempfile::tempdir().expect("a folder for runs");
    let mut scores: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    let mut missing: BTreeMap<(String, &str), (u64, String)> = BTreeMap::new();
    for truth in public::truth(&folder) {
        let path = text(&truth, "path").to_owned();
        if number(&truth, "n_dns") == 0 {
            continue;
        }
        let Ok(report) = runs::run(&folder.join(&path), out.path(), &How::default()) else {
            continue;
        };
        let mut ours = Counts::new();
        for row in runs::table(&report.folder, "dns_queries") {
            of_row(&row, &mut ours);
        }
        for ((kind, what), count) in of_truth(&truth) {
            let found = ours.get(&(kind, what.clone())).copied();
            let found = found.unwrap_or_default().min(count);
            let score = scores.entry(kind).or_default();
            score.0 += found;
            score.1 += count;
            if found < count {
                let entry = missing.entry((path.clone(), kind)).or_default();
                entry.0 += count - found;
                if entry.1.len() < 200 {
                    entry.1 += &format!(" {what:?}: {found} of {count};");
                }
            }
        }
        std::fs::remove_dir_all(&report.folder).expect("the run folder can be removed");
    }
    let expected: BTreeMap<(String, &str), u64> = EXPLAINED
        .iter()
        .map(|(path, kind, count, _)| (((*path).to_owned(), *kind), *count))
        .collect();
    for (kind, (found, all)) in &scores {
        let percent = *found as f64 * 100.0 / (*all).max(1) as f64;
        println!("dns {kind}: {percent:.2} % ({found} of {all})");
    }
    for (path, kind, count, reason) in EXPLAINED {
        println!("    {path}: {count} of {kind}: {reason}");
    }
    let mut problems = Vec::new();
    for (key, (count, what)) in &missing {
        if expected.get(key) != Some(count) {
            problems.push(format!("{} {}: {count} missing:{what}", key.0, key.1));
        }
    }
    // An exception that is none any more goes.
    for (key, count) in &expected {
        if missing.get(key).is_none_or(|(found, _)| found != count) {
            problems.push(format!("{} {}: {count} expected to miss", key.0, key.1));
        }
    }
    for (kind, (found, all)) in &scores {
        if found * 100 < all * 99 {
            problems.push(format!("{kind}: only {found} of {all}"));
        }
    }
    assert!(scores.contains_key("whole answer"), "no answers compared");
    assert!(problems.is_empty(), "{problems:#?}");
}

/// Identifier, name, type, code and number of answers of each line of a log.
fn logged(log: &str) -> Vec<String> {
    let mut columns: Vec<&str> = Vec::new();
    let mut lines = Vec::new();
    for line in log.lines() {
        if let Some(names) = line.strip_prefix("#fields\t") {
            columns = names.split('\t').collect();
        } else if !line.starts_with('#') {
            let values: Vec<&str> = line.split('\t').collect();
            let value = |name: &str| {
                let at = columns.iter().position(|column| *column == name);
                at.and_then(|at| values.get(at)).copied().unwrap_or("-")
            };
            let answers = match value("TTLs") {
                "-" => 0,
                list => list.split(',').count(),
            };
            let name = value("query").to_ascii_lowercase();
            let (id, kind, code) = (value("trans_id"), value("qtype"), value("rcode"));
            lines.push(format!("{id} {name} {kind} {code} {answers}"));
        }
    }
    lines.sort();
    lines
}

fn rows_of(folder: &Path) -> Vec<String> {
    let mut lines: Vec<String> = runs::table(folder, "dns_queries")
        .iter()
        .map(|row| {
            let number = |column| {
                runs::number(row, column).map_or_else(|| "-".to_owned(), |value| value.to_string())
            };
            let name = match runs::text(row, "query") {
                "" => "-",
                name => name,
            };
            let answers = row.get("answers").and_then(Value::as_array);
            let answers = answers.map_or(0, Vec::len);
            format!(
                "{} {name} {} {} {answers}",
                number("trans_id"),
                number("qtype"),
                number("rcode")
            )
        })
        .collect();
    lines.sort();
    lines
}

/// Logs of Zeek's that differ, and why.
const ZEEK_DIFFERS: &[(&str, &str)] = &[
    (
        "dns/zeek/dns-txt-multiple.pcap",
        "its log leaves out the type of a question of which the capture has only the answer; \
         the answer repeats it",
    ),
    (
        "dns/zeek/dns/mdns-no-assoc.pcap",
        "of answers that nobody asked for, which repeat no question, it takes the name of the \
         first record for that of one",
    ),
    (
        "fragments/zeek/ipv6-fragmented-dns.pcap",
        "a question that was sent again before it was answered is a line of its own there, and \
         one row with a repeat here",
    ),
];

#[test]
fn answers_agree_with_zeek() {
    let Some(folder) = public::folder("answers_agree_with_zeek") else {
        return;
    };
    let out = tempfile::tempdir().expect("a folder for runs");
    let (mut same, mut problems) = (0, Vec::new());
    for (path, content) in public::expected(&folder, "") {
        if !content.contains("#path\tdns\n") {
            continue;
        }
        let Ok(report) = runs::run(&folder.join(&path), out.path(), &How::default()) else {
            continue;
        };
        let (ours, theirs) = (rows_of(&report.folder), logged(&content));
        let explained = ZEEK_DIFFERS.iter().any(|(known, _)| *known == path);
        if ours == theirs && !explained {
            same += theirs.len();
        } else if (ours == theirs) == explained {
            problems.push(format!("{path}:\n  ours {ours:#?}\n  Zeek {theirs:#?}"));
        }
    }
    println!("dns rows as Zeek logged them: {same}");
    for (path, reason) in ZEEK_DIFFERS {
        println!("    {path}: {reason}");
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(same > 0, "no log of Zeek's compared");
}
