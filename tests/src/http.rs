//! HTTP transactions of public captures against what tshark measured:
//! methods, hosts, paths and status codes, each as a multiset per capture.

use crate::public::{self, list, number, text};
use crate::runs::{self, How};
use serde_json::Value;
use std::collections::BTreeMap;

type Counts = BTreeMap<String, u64>;

/// Known differences, with their reasons.
const EXPLAINED: &[(&str, &str)] = &[
    (
        "http1/suricata-verify/http-evader/http-evader-117/input.pcap",
        "parameters of a path segment are hidden: they may be secrets",
    ),
    (
        "http1/suricata-verify/http-evader/http-evader-121/input.pcap",
        "parameters of a path segment are hidden: they may be secrets",
    ),
    (
        "http1/suricata-verify/http-evader/http-evader-228/input.pcap",
        "parameters of a path segment are hidden: they may be secrets",
    ),
    (
        "http1/suricata-verify/http-evader/http-evader-396/input.pcap",
        "parameters of a path segment are hidden: they may be secrets",
    ),
    (
        "http1/suricata-verify/http-evader/http-evader-431/input.pcap",
        "parameters of a path segment are hidden: they may be secrets",
    ),
    (
        "certs/suricata-verify/base64-decode-5885/input.pcap",
        "a segment of capitals, small letters and digits without order is hidden: it may be a key",
    ),
    (
        "malware_c2/zeek-agenttesla-detector/db9f075c-7879-4957-923a-f79fac957a2d.pcap",
        "so is a file's name of short words and dates (MicRooCerAut2011_2011_03_22)",
    ),
    (
        "malware_c2/zeek-asyncrat-detector/9596cf60-0da6-47a7-a375-1f25ae32d843.pcap",
        "so is a file's name of short words and dates (MicRooCerAut2011_2011_03_22)",
    ),
    (
        "tcp_reassembly/zeek/tcp/miss_end_data.pcap",
        "what stands before an `@` in a path is hidden: it may be a user",
    ),
];

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
    for truth in public::truth(&folder) {
        let path = text(&truth, "path").to_owned();
        let whole = list(&truth, "http").len() < 1_000;
        if number(&truth, "n_http") == 0 || !whole || EXPLAINED.iter().any(|(p, _)| *p == path) {
            continue;
        }
        let Ok(report) = runs::run(&folder.join(&path), out.path(), &How::default()) else {
            continue;
        };
        let ours = of_run(&report.folder);
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
                let found = ours.get(kind).and_then(|all| all.get(&what)).copied();
                let found = found.unwrap_or_default().min(count);
                let score = scores.entry(label).or_default();
                score.0 += found;
                score.1 += count;
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
    for line in differ.iter().take(120) {
        println!("    {line}");
    }
    assert!(scores.contains_key("HTTP/2 status"), "no HTTP/2 compared");
    for (kind, (found, all)) in &scores {
        assert!(found * 100 >= all * 99, "{kind}: only {found} of {all}");
    }
}
