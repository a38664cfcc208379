//! Every public capture, analysed, against what tshark measured of it.

use crate::public::{self, list, number, text};
use crate::runs::{self, How, Row};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Agreement of one kind of fact over all captures.
#[derive(Default)]
struct Score {
    same: u64,
    differ: Vec<String>,
}

impl Score {
    fn check(&mut self, what: impl FnOnce() -> String, expected: &str, actual: &str) {
        if expected == actual {
            self.same += 1;
        } else {
            self.differ
                .push(format!("{}: expected {expected}, got {actual}", what()));
        }
    }

    fn percent(&self) -> f64 {
        let all = self.same + self.differ.len() as u64;
        if all == 0 {
            100.0
        } else {
            self.same as f64 * 100.0 / all as f64
        }
    }
}

type Ends = [(String, u64); 2];

fn endpoint(value: &Value, key: &str) -> (String, u64) {
    let ends = list(value, key);
    let addr = ends.first().and_then(Value::as_str).unwrap_or_default();
    (
        addr.to_owned(),
        ends.get(1).and_then(Value::as_u64).unwrap_or_default(),
    )
}

fn ordered(a: (String, u64), b: (String, u64)) -> (Ends, bool) {
    if a <= b {
        ([a, b], true)
    } else {
        ([b, a], false)
    }
}

/// Packets each way for each pair of ends: lower end first.
type Packets = BTreeMap<(&'static str, Ends), [u64; 2]>;

fn packets_of_truth(capture: &Value) -> Packets {
    let mut packets = Packets::new();
    for proto in ["tcp", "udp"] {
        for stream in list(capture, proto) {
            let (key, a_is_low) = ordered(endpoint(stream, "a"), endpoint(stream, "b"));
            let entry = packets.entry((proto, key)).or_default();
            let way = |key| {
                list(stream, key)
                    .first()
                    .and_then(Value::as_u64)
                    .unwrap_or_default()
            };
            let (ab, ba) = (way("ab"), way("ba"));
            let (low, high) = if a_is_low { (ab, ba) } else { (ba, ab) };
            entry[0] += low;
            entry[1] += high;
        }
    }
    packets
}

fn flow_ends(row: &Row) -> (Ends, bool) {
    let end = |addr, port| {
        let port = runs::number(row, port).and_then(|port| u64::try_from(port).ok());
        (runs::text(row, addr).to_owned(), port.unwrap_or_default())
    };
    ordered(end("src_ip", "src_port"), end("dst_ip", "dst_port"))
}

fn packets_of_run(flows: &[Row]) -> Packets {
    let mut packets = Packets::new();
    for row in flows {
        let proto = match runs::text(row, "proto") {
            "tcp" => "tcp",
            "udp" => "udp",
            _ => continue,
        };
        let (key, orig_is_low) = flow_ends(row);
        let entry = packets.entry((proto, key)).or_default();
        let count = |column| {
            runs::number(row, column)
                .and_then(|count| u64::try_from(count).ok())
                .unwrap_or(0)
        };
        let (orig, resp) = (count("orig_pkts"), count("resp_pkts"));
        let (low, high) = if orig_is_low {
            (orig, resp)
        } else {
            (resp, orig)
        };
        entry[0] += low;
        entry[1] += high;
    }
    packets
}

/// A session as `version cipher sni`, for comparison.
fn session_of_truth(session: &Value) -> String {
    let hex = |key| {
        let digits = text(session, key).trim_start_matches("0x");
        u32::from_str_radix(digits, 16).unwrap_or_default()
    };
    format!(
        "{:04x} {:04x} {}",
        hex("version"),
        hex("cipher"),
        text(session, "sni").to_lowercase()
    )
}

/// What of a client's hello is compared for QUIC and DTLS: its protocols and,
/// where tshark gives one, JA3.
fn offer_of_truth(session: &Value) -> String {
    let alpn: Vec<&str> = list(session, "ch_alpn")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    format!("{} {}", alpn.join(","), text(session, "ja3"))
}

fn offer_of_run(row: &Row, with_ja3: bool) -> String {
    let alpn: Vec<&str> = list_of(row, "client_alpn");
    let ja3 = if with_ja3 { runs::text(row, "ja3") } else { "" };
    format!("{} {ja3}", alpn.join(","))
}

fn list_of<'r>(row: &'r Row, column: &str) -> Vec<&'r str> {
    let items = row.get(column).and_then(Value::as_array);
    let items = items.into_iter().flatten();
    items.filter_map(Value::as_str).collect()
}

fn session_of_run(row: &Row) -> String {
    let value = |column| runs::number(row, column).unwrap_or_default();
    format!(
        "{:04x} {:04x} {}",
        value("version_num"),
        value("cipher_num"),
        runs::text(row, "server_name").to_lowercase()
    )
}

/// Disagreements that are right or cannot be helped: capture, kind, reason.
const EXPLAINED: &[(&str, &str, &str)] = &[
    (
        "broken/suricata-verify/bug-1450-05/tls_DER-incomplete-content.pcap",
        "tls",
        "a record's length lies: tshark takes it as it stands and stops behind it, we count it as \
         lost and read on, so the ServerHello in it is missing",
    ),
    (
        "broken/suricata-verify/bug-1450-05/tls_DER-incomplete-content.pcap",
        "certs",
        "as its TLS",
    ),
    (
        "malware_c2/zeek-agenttesla-detector/db9f075c-7879-4957-923a-f79fac957a2d.pcap",
        "tls",
        "the server's segments are out of order in the capture; tshark puts them together only \
         when told to",
    ),
    (
        "weak_tls/mercury/openvpn_tcp_multi.pcap",
        "tls",
        "TLS inside OpenVPN's own packets is not read",
    ),
    (
        "weak_tls/mercury/openvpn_tcp_multi.pcap",
        "certs",
        "TLS inside OpenVPN's own packets is not read",
    ),
    (
        "quic/ja4/chrome-cloudflare-quic-with-secrets.pcapng",
        "certs",
        "TLS 1.3: visible only with the secrets that were taken out of the file",
    ),
    (
        "quic/nDPI/default/quic-v2.pcapng",
        "certs",
        "TLS 1.3: visible only with the secrets that were taken out of the file",
    ),
    (
        "tls/ja4/tls-non-ascii-alpn.pcapng",
        "ja4",
        "published before the specification gave the hex digits of an ALPN that is no text",
    ),
    (
        "weak_tls/zeek/tls/ssl-v2.pcap",
        "tls",
        "tshark's field for the version is that of TLS: empty for SSL 2, which we name",
    ),
    (
        "broken/suricata-verify/bug-1450-05/tls_DER-incomplete-content.pcap",
        "packets",
        "tshark stops at a record that it does not support or finds damaged",
    ),
    (
        "broken/suricata-verify/bug-1450-05/tls_DER-incomplete-content.pcap",
        "flows",
        "tshark stops at a record that it does not support or finds damaged",
    ),
    (
        "broken/suricata-verify/smtp-to-comma/10.7.29.101_49898-178.63.41.150_25.pcap",
        "packets",
        "tshark stops at a record that it does not support or finds damaged",
    ),
    (
        "broken/suricata-verify/smtp-to-comma/10.7.29.101_49898-178.63.41.150_25.pcap",
        "flows",
        "tshark stops at a record that it does not support or finds damaged",
    ),
    (
        "pcapng/gopacket/pcapgo/tests/be/test901.pcapng",
        "packets",
        "tshark stops at a record that it does not support or finds damaged",
    ),
    (
        "pcapng/gopacket/pcapgo/tests/be/test901.pcapng",
        "flows",
        "tshark stops at a record that it does not support or finds damaged",
    ),
    (
        "pcapng/gopacket/pcapgo/tests/le/test901.pcapng",
        "packets",
        "tshark stops at a record that it does not support or finds damaged",
    ),
    (
        "pcapng/gopacket/pcapgo/tests/le/test901.pcapng",
        "flows",
        "tshark stops at a record that it does not support or finds damaged",
    ),
    (
        "broken/tcpdump/edsa.pcap",
        "packets",
        "tshark stops at a record that it does not support or finds damaged",
    ),
    (
        "broken/tcpdump/kday6.pcap",
        "packets",
        "tshark stops at a record that it does not support or finds damaged",
    ),
    (
        "broken/suricata-verify/bug-6875-01/fuzz.pcap",
        "packets",
        "its second record claims a time and a length that no capture has; it is reported as damage",
    ),
    (
        "pcapng/pcapng-test-generator/output_be/basic/test018.pcapng",
        "packets",
        "tshark counts custom blocks as packets",
    ),
    (
        "pcapng/pcapng-test-generator/output_be/difficult/test202.pcapng",
        "packets",
        "tshark counts custom blocks as packets",
    ),
    (
        "pcapng/pcapng-test-generator/output_le/advanced/test102.pcapng",
        "packets",
        "tshark counts custom blocks as packets",
    ),
    (
        "pcapng/pcapng-test-generator/output_le/difficult/test202.pcapng",
        "packets",
        "tshark counts custom blocks as packets",
    ),
    (
        "broken/zeek/nfs/nfs_write_bad_stable_how.pcap",
        "flows",
        "tshark counts RPC from several client ports as one conversation",
    ),
];

fn explained(path: &str, kind: &str) -> bool {
    EXPLAINED.iter().any(|(p, k, _)| *p == path && *k == kind)
}

#[test]
fn public_captures_agree_with_what_was_measured() {
    let Some(folder) = public::folder("public_captures_agree_with_what_was_measured") else {
        return;
    };
    let out = tempfile::tempdir().expect("a folder for runs");
    let mut scores: BTreeMap<&str, Score> = BTreeMap::new();
    let mut unreadable = Vec::new();
    for truth in public::truth(&folder) {
        let path = text(&truth, "path").to_owned();
        let report = match runs::run(&folder.join(&path), out.path(), &How::default()) {
            Ok(report) => report,
            Err(error) => {
                if number(&truth, "packets") > 0 {
                    unreadable.push(format!("{path}: {error}"));
                }
                continue;
            }
        };
        let captures = runs::table(&report.folder, "captures");
        let packets = runs::number(&captures[0], "packets").unwrap_or_default();
        if !explained(&path, "packets") {
            scores.entry("packets").or_default().check(
                || path.clone(),
                &number(&truth, "packets").to_string(),
                &packets.to_string(),
            );
        }
        let flows = runs::table(&report.folder, "flows");
        let ours = packets_of_run(&flows);
        if !explained(&path, "flows") && list(&truth, "udp").len() < 1_500 {
            for (key, expected) in packets_of_truth(&truth) {
                let actual = ours.get(&key).copied().unwrap_or_default();
                scores.entry("flows").or_default().check(
                    || format!("{path} {key:?}"),
                    &format!("{expected:?}"),
                    &format!("{actual:?}"),
                );
            }
        }
        let tls = runs::table(&report.folder, "tls_handshakes");
        if !explained(&path, "tls") {
            let by_flow: BTreeMap<i64, &Row> = flows
                .iter()
                .filter_map(|row| Some((runs::number(row, "flow_id")?, row)))
                .collect();
            let mut sessions: BTreeMap<(bool, Ends), Vec<&Row>> = BTreeMap::new();
            for row in &tls {
                let flow = runs::number(row, "flow_id").and_then(|id| by_flow.get(&id));
                let Some(flow) = flow else {
                    panic!("{path}: a handshake without its flow")
                };
                let (key, _) = flow_ends(flow);
                let udp = runs::text(flow, "proto") == "udp";
                sessions.entry((udp, key)).or_default().push(row);
            }
            for session in list(&truth, "tls") {
                let kind = match text(session, "proto") {
                    "tls" => "tls",
                    "dtls" => "dtls",
                    "quic" => "quic",
                    _ => continue,
                };
                let Some((carrier, stream)) = text(session, "stream").split_once(':') else {
                    continue;
                };
                let stream = list(&truth, carrier)
                    .iter()
                    .find(|tcp| number(tcp, "id").to_string() == stream);
                let Some(stream) = stream else { continue };
                let (key, _) = ordered(endpoint(stream, "a"), endpoint(stream, "b"));
                let expected = session_of_truth(session);
                let found = sessions.get(&(carrier == "udp", key.clone()));
                let found = found.map(Vec::as_slice).unwrap_or_default();
                let same = |row: &&&Row| session_of_run(row) == expected;
                let row = found.iter().find(same).or(found.first());
                let actual = row.map_or_else(|| "nothing".to_owned(), |row| session_of_run(row));
                let what = || format!("{path} {key:?}");
                scores
                    .entry(kind)
                    .or_default()
                    .check(what, &expected, &actual);
                if let Some(row) = row
                    && kind != "tls"
                {
                    let expected = offer_of_truth(session);
                    let actual = offer_of_run(row, !text(session, "ja3").is_empty());
                    scores
                        .entry("offers")
                        .or_default()
                        .check(what, &expected, &actual);
                }
            }
        }
        if !explained(&path, "certs") {
            let ours: BTreeSet<String> = runs::table(&report.folder, "certificates")
                .iter()
                .map(|row| runs::text(row, "fingerprint").to_owned())
                .collect();
            let expected: BTreeSet<&str> = list(&truth, "tls")
                .iter()
                .flat_map(|tls| list(tls, "certs"))
                .filter_map(Value::as_str)
                .collect();
            for fingerprint in expected {
                let actual = if ours.contains(fingerprint) {
                    fingerprint
                } else {
                    "nothing"
                };
                scores
                    .entry("certs")
                    .or_default()
                    .check(|| path.clone(), fingerprint, actual);
            }
        }
        std::fs::remove_dir_all(&report.folder).expect("the run folder can be removed");
    }
    print(&scores);
    println!("unreadable although tshark reads packets: {unreadable:#?}");
    for (kind, score) in &scores {
        assert!(
            score.percent() >= 99.0,
            "{kind} agree only to {:.3} %",
            score.percent()
        );
    }
    assert!(unreadable.is_empty(), "{unreadable:#?}");
}

/// JA4 as its authors published it for their own captures: address and port of
/// the client with the value, of each stream.
fn published_ja4(snapshot: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let (mut source, mut port) = ("", "");
    for line in snapshot.lines() {
        let line = line.trim_start_matches(['-', ' ']);
        match line.split_once(": ") {
            Some(("src", value)) => source = value,
            Some(("src_port", value)) => port = value,
            Some(("ja4", value)) => found.push((format!("{source} {port}"), value.to_owned())),
            _ => {}
        }
    }
    found
}

#[test]
fn ja4_is_as_published() {
    let Some(folder) = public::folder("ja4_is_as_published") else {
        return;
    };
    let out = tempfile::tempdir().expect("a folder for runs");
    let mut scores: BTreeMap<&str, Score> = BTreeMap::new();
    for (path, snapshot) in public::expected(&folder, "rust/ja4/src/snapshots/") {
        if explained(&path, "ja4") {
            continue;
        }
        let Ok(report) = runs::run(&folder.join(&path), out.path(), &How::default()) else {
            continue;
        };
        let rows = runs::table(&report.folder, "tls_handshakes");
        let ours: BTreeSet<(String, &str)> = rows
            .iter()
            .map(|row| {
                let port = runs::number(row, "src_port").unwrap_or_default();
                (
                    format!("{} {port}", runs::text(row, "src_ip")),
                    runs::text(row, "ja4"),
                )
            })
            .collect();
        for (client, ja4) in published_ja4(&snapshot) {
            let kind = if ja4.starts_with('q') { "quic" } else { "tcp" };
            let of_client = ours.iter().filter(|(ends, _)| *ends == client);
            let mut of_client = of_client.map(|(_, ja4)| *ja4);
            let actual = if ours.contains(&(client.clone(), ja4.as_str())) {
                ja4.as_str()
            } else {
                of_client.next().unwrap_or("nothing")
            };
            let what = || format!("{path} {client}");
            scores.entry(kind).or_default().check(what, &ja4, actual);
        }
    }
    print(&scores);
    assert!(scores.contains_key("quic"));
    for (kind, score) in &scores {
        assert!(score.differ.is_empty(), "{kind}: {:#?}", score.differ);
    }
}

fn print(scores: &BTreeMap<&str, Score>) {
    for (kind, score) in scores {
        println!(
            "{kind}: {:.3} % ({} equal, {} differ)",
            score.percent(),
            score.same,
            score.differ.len()
        );
        for line in score.differ.iter().take(60) {
            println!("    {line}");
        }
    }
}
