//! HTTP transactions of public captures against what tshark measured:
//! methods, hosts, paths and status codes, each as a multiset per capture. Parts of
//! a text that may be a secret are compared by their length.

use crate::public::{self, list, number, text};
use crate::runs::{self, How};
use crate::tshark::is_same;
use serde_json::Value;
use std::collections::BTreeMap;

type Counts = BTreeMap<String, u64>;

/// Takes up to `count` of a text out of ours; how many there were, and how many of
/// these have parts hidden.
fn take(ours: &mut Counts, what: &str, count: u64) -> (u64, u64) {
    let (mut found, mut hidden) = (0, 0);
    for (our, left) in ours.iter_mut() {
        // The text itself stands before what hides parts of it, or is it.
        if is_same(what, our) {
            let taken = (*left).min(count - found);
            *left -= taken;
            found += taken;
            if our != what {
                hidden += taken;
            }
        }
    }
    (found, hidden)
}

fn add(counts: &mut Counts, what: &str) {
    *counts.entry(what.to_owned()).or_default() += 1;
}

/// Path of a target, without what our tables leave out of it.
pub fn path_of(uri: &str) -> &str {
    let path = match uri.split_once("://") {
        Some((scheme, rest)) if !scheme.contains(['/', '?', '#']) => {
            rest.find('/').map_or("/", |at| &rest[at..])
        }
        _ => uri,
    };
    let end = path.find(['?', '#']).unwrap_or(path.len());
    let path = &path[..end];
    if path.is_empty() { "/" } else { path }
}

pub fn host_of(host: &str) -> String {
    let host = host.trim();
    // A user before the host is no part of it.
    let host = host.rsplit('@').next().unwrap_or_default();
    let name = match host.strip_prefix('[') {
        Some(literal) => literal.split(']').next(),
        None => host.split(':').next(),
    };
    name.unwrap_or_default().to_ascii_lowercase()
}

fn of_truth(truth: &Value) -> BTreeMap<&'static str, Counts> {
    let mut all: BTreeMap<&'static str, Counts> = BTreeMap::new();
    let messages = list(truth, "http");
    let is_h2 = |message: &Value| number(message, "ver") == 2;
    // Within TLS, tshark had the keys.
    let is_plain = text(truth, "path").starts_with("http2/");
    for message in messages {
        // SSDP over UDP is read elsewhere.
        let stream = text(message, "stream");
        if !stream.starts_with("tcp:") || is_h2(message) && !is_plain {
            continue;
        }
        // Of an upgrade to HTTP/2, the answer that follows is the row's.
        let goes_on = |other: &Value| is_h2(other) && text(other, "stream") == stream;
        if number(message, "status") == 101 && messages.iter().any(goes_on) {
            continue;
        }
        let method = text(message, "method");
        if text(message, "kind") == "req" {
            add(all.entry("method").or_default(), method);
            // The target of CONNECT is a host, not a path.
            if method != "CONNECT" {
                add(
                    all.entry("path").or_default(),
                    path_of(text(message, "uri")),
                );
            }
            if !text(message, "host").is_empty() {
                add(
                    all.entry("host").or_default(),
                    &host_of(text(message, "host")),
                );
            }
        } else {
            // Interim answers have no row of their own.
            let status = number(message, "status");
            if status >= 200 || status == 101 {
                add(all.entry("status").or_default(), &status.to_string());
            }
        }
    }
    all
}

fn of_run(folder: &std::path::Path) -> BTreeMap<&'static str, Counts> {
    let mut all: BTreeMap<&'static str, Counts> = BTreeMap::new();
    for row in runs::table(folder, "http_transactions") {
        let method = runs::text(&row, "method");
        if !method.is_empty() {
            add(all.entry("method").or_default(), method);
            if method != "CONNECT" {
                add(all.entry("path").or_default(), runs::text(&row, "path"));
            }
            add(all.entry("host").or_default(), runs::text(&row, "host"));
        }
        if let Some(status) = runs::number(&row, "response_status") {
            add(all.entry("status").or_default(), &status.to_string());
        }
    }
    all
}

#[test]
fn http_agrees_with_what_was_measured() {
    let Some(folder) = public::folder("http_agrees_with_what_was_measured") else {
        return;
    };
    let out = tempfile::tempdir().expect("a folder for runs");
    let mut scores: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    let mut differ = Vec::new();
    let (mut captures, mut hidden) = (0_u64, 0_u64);
    for truth in public::truth(&folder) {
        let path = text(&truth, "path").to_owned();
        let whole = list(&truth, "http").len() < 1_000;
        if number(&truth, "n_http") == 0 || !whole {
            continue;
        }
        let Ok(report) = runs::run(&folder.join(&path), out.path(), &How::default()) else {
            continue;
        };
        let mut ours = of_run(&report.folder);
        captures += 1;
        let is_h2 = path.starts_with("http2/");
        for (kind, expected) in of_truth(&truth) {
            let label = match kind {
                "method" if is_h2 => "HTTP/2 method",
                "path" if is_h2 => "HTTP/2 path",
                "host" if is_h2 => "HTTP/2 host",
                "status" if is_h2 => "HTTP/2 status",
                kind => kind,
            };
            for (what, count) in expected {
                let ours = ours.entry(kind).or_default();
                let (found, masked) = take(ours, &what, count);
                let score = scores.entry(label).or_default();
                score.0 += found;
                score.1 += count;
                hidden += masked;
                if found < count {
                    differ.push(format!("{path} {kind} {what:?}: {found} of {count}"));
                }
            }
        }
        std::fs::remove_dir_all(&report.folder).expect("the run folder can be removed");
    }
    for (kind, (found, all)) in &scores {
        let percent = *found as f64 * 100.0 / (*all).max(1) as f64;
        println!("http {kind}: {percent:.2} % ({found} of {all})");
    }
    println!(
        "http: {captures} captures, none left out, {hidden} texts compared by the length of what they hide"
    );
    for line in differ.iter().take(120) {
        println!("    {line}");
    }
    assert!(scores.contains_key("HTTP/2 status"), "no HTTP/2 compared");
    assert!(hidden > 0, "no hidden part compared");
    for (kind, (found, all)) in &scores {
        assert!(found * 100 >= all * 99, "{kind}: only {found} of {all}");
    }
}
