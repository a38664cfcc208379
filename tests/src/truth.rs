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
            let mut sessions: BTreeMap<Ends, Vec<String>> = BTreeMap::new();
            for row in &tls {
                let flow = runs::number(row, "flow_id").and_then(|id| by_flow.get(&id));
                let Some(flow) = flow else {
                    panic!("{path}: a handshake without its flow")
                };
                let (key, _) = flow_ends(flow);
                sessions.entry(key).or_default().push(session_of_run(row));
            }
            for session in list(&truth, "tls") {
                // DTLS and QUIC come with a later version.
                if text(session, "proto") != "tls" {
                    continue;
                }
                let stream = text(session, "stream").trim_start_matches("tcp:");
                let stream = list(&truth, "tcp")
                    .iter()
                    .find(|tcp| number(tcp, "id").to_string() == stream);
                let Some(stream) = stream else { continue };
                let (key, _) = ordered(endpoint(stream, "a"), endpoint(stream, "b"));
                let expected = session_of_truth(session);
                let found = sessions.get(&key).map(Vec::as_slice).unwrap_or_default();
                let actual = found
                    .iter()
                    .find(|session| **session == expected)
                    .or(found.first())
                    .map_or("nothing", String::as_str);
                scores.entry("tls").or_default().check(
                    || format!("{path} {key:?}"),
                    &expected,
                    actual,
                );
            }
        }
        if !explained(&path, "certs") {
            let ours: BTreeSet<String> = runs::table(&report.folder, "certificates")
                .iter()
                .map(|row| runs::text(row, "fingerprint").to_owned())
                .collect();
            let of_tls = list(&truth, "tls")
                .iter()
                .filter(|tls| text(tls, "proto") == "tls");
            let expected: BTreeSet<&str> = of_tls
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
    for (kind, score) in &scores {
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
