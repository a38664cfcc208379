//! What secrets open, against tshark with the same secrets: HTTP requests
//! (method, host, path, status; HTTP/1 and HTTP/2) and certificates, of every
//! public capture that has secrets and of every recording of our own. tshark
//! runs here and now; without it the test says that it is skipped.
//! What wrong and partial secrets open, which is nothing that is not there.

use crate::http::{host_of, path_of};
use crate::public::{self, list, text};
use crate::runs::{self, How};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Public captures whose secrets stand in a key log beside them.
const KEY_LOGS: &[(&str, &str)] = &[
    (
        "certs/zeek/tls/tls-1.2-stream-keylog.pcap",
        "zeek-tls-1.2-stream-keylog.log",
    ),
    (
        "tls/mercury/data/test_decrypt.pcap",
        "mercury-test_decrypt.log",
    ),
];

/// Differences from tshark 4.0 that are right: capture, what tshark says, what we
/// say, and why. A side that says nothing is empty.
const EXCEPTIONS: &[(&str, &str, &str, &str)] = &[
    (
        "early-data-refused.pcapng",
        "GET api.llm.example /v1/again ",
        "",
        "early data that the server refused: no server ever got this request (RFC 8446 §4.2.10)",
    ),
    (
        "early-data-retried.pcapng",
        "GET api.llm.example /v1/again ",
        "",
        "early data that a HelloRetryRequest refuses: no server ever got this request",
    ),
    (
        "gnutls-mac-then-encrypt.pcapng",
        "GET api.llm.example /v1/answer ",
        "GET api.llm.example /v1/answer 200",
        "the answer has no length and ends with close_notify; tshark waits for more",
    ),
    (
        "gnutls-tls13.pcapng",
        "GET api.llm.example /v1/answer ",
        "GET api.llm.example /v1/answer 200",
        "the answer has no length and ends with close_notify; tshark waits for more",
    ),
    (
        "compressed-zlib.pcapng",
        "",
        "c0969e69534f9cef6eadc1ca60f54a27326c331fd8530c07a942af971fd9743b",
        "the certificate of samples/pki/rsa.pem; tshark 4.0 expands brotli alone",
    ),
    (
        "compressed-zstd.pcapng",
        "",
        "c0969e69534f9cef6eadc1ca60f54a27326c331fd8530c07a942af971fd9743b",
        "the certificate of samples/pki/rsa.pem; tshark 4.0 expands brotli alone",
    ),
];

/// Sorted, so that they can be compared.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    /// `method host path status`.
    requests: Vec<String>,
    /// Certificates of one message, the leaf first.
    chains: Vec<String>,
}

impl Seen {
    fn sorted(mut self) -> Self {
        self.requests.sort();
        self.chains.sort();
        self
    }
}

fn has_tshark(test: &str) -> bool {
    let runs = Command::new("tshark").arg("--version").output();
    let runs = runs.is_ok_and(|out| out.status.success());
    if !runs {
        eprintln!("SKIPPED {test}: no tshark to compare with");
    }
    runs
}

fn is_4_0() -> bool {
    let out = Command::new("tshark").arg("--version").output();
    out.is_ok_and(|out| String::from_utf8_lossy(&out.stdout).contains(" 4.0."))
}

/// Every value of a key below, in order.
fn below<'v>(value: &'v Value, key: &str, found: &mut Vec<&'v Value>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if name == key {
                    match value {
                        Value::Array(items) => found.extend(items),
                        one => found.push(one),
                    }
                } else {
                    below(value, key, found);
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                below(item, key, found);
            }
        }
        _ => {}
    }
}

fn all<'v>(value: &'v Value, key: &str) -> Vec<&'v Value> {
    let mut found = Vec::new();
    below(value, key, &mut found);
    found
}

fn first<'v>(value: &'v Value, key: &str) -> &'v str {
    all(value, key)
        .first()
        .and_then(|value| value.as_str())
        .unwrap_or_default()
}

fn request(method: &str, host: &str, path: &str, status: &str) -> String {
    format!("{method} {} {} {status}", host_of(host), path_of(path))
}

/// What tshark sees.
fn of_tshark(capture: &Path, key_log: Option<&Path>) -> Seen {
    let mut command = Command::new("tshark");
    command
        .args(["-n", "-r"])
        .arg(capture)
        .args(["-T", "json", "--no-duplicate-keys"])
        .args(["-Y", "http or http2 or tls.handshake.certificate"])
        .args(["-o", "tcp.reassemble_out_of_order:TRUE"])
        .args(["-J", "tcp tls dtls http http2 quic"]);
    if let Some(path) = key_log {
        let option = format!("tls.keylog_file:{}", path.display());
        command.args(["-o", &option]);
    }
    let out = command.output().expect("tshark runs");
    let packets: Value = serde_json::from_slice(&out.stdout)
        .unwrap_or_else(|error| panic!("{}: {error}", capture.display()));
    let mut seen = Seen::default();
    // Answers of HTTP/1 come in the order of their requests, those of HTTP/2
    // name their stream.
    let mut plain: BTreeMap<String, [Vec<String>; 2]> = BTreeMap::new();
    let mut streams: BTreeMap<(String, u64), [String; 2]> = BTreeMap::new();
    for packet in packets.as_array().into_iter().flatten() {
        let layers = &packet["_source"]["layers"];
        let connection = first(&layers["tcp"], "tcp.stream").to_owned();
        for http in messages(layers, "http") {
            let [requests, answers] = plain.entry(connection.clone()).or_default();
            let method = first(http, "http.request.method");
            let status = first(http, "http.response.code");
            if !method.is_empty() {
                let host = first(http, "http.host");
                let path = first(http, "http.request.uri");
                requests.push(request(method, host, path, ""));
            } else if !status.is_empty() && (!status.starts_with('1') || status == "101") {
                answers.push(status.to_owned());
            }
        }
        for stream in all(layers, "http2.stream") {
            let number = first(stream, "http2.streamid").parse().unwrap_or_default();
            let [asked, answered] = streams.entry((connection.clone(), number)).or_default();
            let method = first(stream, "http2.headers.method");
            let status = first(stream, "http2.headers.status");
            if !method.is_empty() {
                let host = first(stream, "http2.headers.authority");
                let path = first(stream, "http2.headers.path");
                *asked = request(method, host, path, "");
            } else if !status.is_empty() && !status.starts_with('1') {
                status.clone_into(answered);
            }
        }
        for message in all(layers, "tls.handshake") {
            let chain: Vec<String> = all(message, "tls.handshake.certificate")
                .iter()
                .map(|der| runs::sha256_hex(&unhex(der.as_str().unwrap_or_default())))
                .collect();
            if !chain.is_empty() {
                seen.chains.push(chain.join(" "));
            }
        }
    }
    for [requests, answers] in plain.into_values() {
        for (at, request) in requests.into_iter().enumerate() {
            let status = answers.get(at).map(String::as_str).unwrap_or_default();
            seen.requests.push(request + status);
        }
    }
    for [asked, answered] in streams.into_values() {
        if !asked.is_empty() {
            seen.requests.push(asked + &answered);
        }
    }
    seen.sorted()
}

/// A layer of a packet, which holds it once or several times.
fn messages<'v>(layers: &'v Value, name: &str) -> Vec<&'v Value> {
    match layers.get(name) {
        Some(Value::Array(items)) => items.iter().collect(),
        Some(one) => vec![one],
        None => Vec::new(),
    }
}

fn unhex(text: &str) -> Vec<u8> {
    text.split(':')
        .filter_map(|byte| u8::from_str_radix(byte, 16).ok())
        .collect()
}

/// What we see, and the rows behind it.
struct Ours {
    seen: Seen,
    handshakes: Vec<Value>,
    requests: Vec<Value>,
}

fn of_run(capture: &Path, key_log: Option<&Path>) -> Ours {
    let out = tempfile::tempdir().expect("a temporary folder");
    let how = How {
        key_logs: key_log.map(Path::to_owned).into_iter().collect(),
        ..How::default()
    };
    let report = runs::run(capture, out.path(), &how)
        .unwrap_or_else(|error| panic!("{}: {error}", capture.display()));
    let rows = |table: &str| -> Vec<Value> {
        let rows = runs::table(&report.folder, table);
        rows.into_iter().map(Value::Object).collect()
    };
    let (requests, handshakes) = (rows("http_transactions"), rows("tls_handshakes"));
    let mut seen = Seen::default();
    for row in &requests {
        let status = row["response_status"]
            .as_i64()
            .map_or_else(String::new, |status| status.to_string());
        if !text(row, "method").is_empty() {
            let host = text(row, "host");
            seen.requests.push(format!(
                "{} {host} {} {status}",
                text(row, "method"),
                text(row, "path")
            ));
        }
    }
    for row in &handshakes {
        for column in ["chain_fingerprints", "client_chain_fingerprints"] {
            let chain: Vec<&str> = list(row, column).iter().filter_map(Value::as_str).collect();
            if !chain.is_empty() {
                seen.chains.push(chain.join(" "));
            }
        }
    }
    Ours {
        seen: seen.sorted(),
        handshakes,
        requests,
    }
}

/// Whether a line of ours is that of tshark, where `<24>` or `<key:24>` stands
/// for 24 characters that may be a secret.
pub fn is_same(theirs: &str, ours: &str) -> bool {
    let Some((before, rest)) = ours.split_once('<') else {
        return theirs == ours;
    };
    let Some((mark, behind)) = rest.split_once('>') else {
        return theirs == ours;
    };
    let len = mark.rsplit(':').next().and_then(|len| len.parse().ok());
    let (Some(len), Some(theirs)) = (len, theirs.strip_prefix(before)) else {
        return theirs == ours;
    };
    theirs
        .get(len..)
        .is_some_and(|theirs| is_same(theirs, behind))
}

/// What is in only one of two lists.
fn differences(theirs: &[String], ours: &[String]) -> [Vec<String>; 2] {
    let mut ours = ours.to_vec();
    let mut only = Vec::new();
    for line in theirs {
        match ours.iter().position(|our| is_same(line, our)) {
            Some(at) => drop(ours.remove(at)),
            None => only.push(line.clone()),
        }
    }
    [only, ours]
}

fn has_blocks(capture: &Value) -> bool {
    capture["file"]["blocks"]["0x0000000a"].as_u64() > Some(0)
}

/// Public captures with secrets: name, path, key log.
fn public_cases(folder: &Path) -> Vec<(String, PathBuf, Option<PathBuf>)> {
    let logs = Path::new(env!("CARGO_MANIFEST_DIR")).join("keylogs");
    public::truth(folder)
        .iter()
        .filter_map(|capture| {
            let name = text(capture, "path");
            let log = KEY_LOGS.iter().find(|(path, _)| *path == name);
            let log = log.map(|(_, log)| logs.join(log));
            (log.is_some() || has_blocks(capture))
                .then(|| (name.to_owned(), folder.join(name), log))
        })
        .collect()
}

/// Recordings of our own with secrets in them.
fn own_cases() -> Vec<(String, PathBuf, Option<PathBuf>)> {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples");
    let mut paths = vec![samples.join("http2-tls.pcapng")];
    for entry in std::fs::read_dir(samples.join("decrypted")).expect("samples are readable") {
        let path = entry.expect("samples are readable").path();
        if path.extension().is_some_and(|end| end == "pcapng") {
            paths.push(path);
        }
    }
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            (name.into_owned(), path.clone(), None)
        })
        .collect()
}

#[test]
fn secrets_open_what_they_open_for_tshark() {
    let test = "secrets_open_what_they_open_for_tshark";
    if !has_tshark(test) {
        return;
    }
    let mut cases = own_cases();
    assert!(cases.len() > 20, "the samples are not there");
    let folder = public::folder(test);
    if let Some(folder) = &folder {
        let public = public_cases(folder);
        assert!(public.len() >= 5, "only {} public captures", public.len());
        cases.extend(public);
    }
    let (mut problems, mut met) = (Vec::new(), vec![false; EXCEPTIONS.len()]);
    let (mut requests, mut chains, mut hidden) = (0, 0, 0);
    for (name, path, log) in &cases {
        let theirs = of_tshark(path, log.as_deref());
        let ours = of_run(path, log.as_deref()).seen;
        for (theirs, ours) in [
            (&theirs.requests, &ours.requests),
            (&theirs.chains, &ours.chains),
        ] {
            let [mut expected, mut actual] = differences(theirs, ours);
            for (at, (file, says, we, _)) in EXCEPTIONS.iter().enumerate() {
                let here = |lines: &[String], line: &str| {
                    line.is_empty() || lines.iter().any(|other| other == line)
                };
                if file == name && here(&expected, says) && here(&actual, we) {
                    met[at] = true;
                    expected.retain(|line| line != says);
                    actual.retain(|line| line != we);
                }
            }
            problems.extend(
                expected
                    .iter()
                    .map(|line| format!("{name}: only tshark: {line}")),
            );
            problems.extend(
                actual
                    .iter()
                    .map(|line| format!("{name}: only ours: {line}")),
            );
        }
        requests += theirs.requests.len();
        chains += theirs.chains.len();
        hidden += ours
            .requests
            .iter()
            .filter(|line| line.contains('<'))
            .count();
    }
    for (at, (file, says, we, _)) in EXCEPTIONS.iter().enumerate() {
        let here = folder.is_some() || !file.contains('/');
        // Another version may know better by now.
        if here && !met[at] && is_4_0() {
            problems.push(format!(
                "{file}: an exception that nothing needs: {says} / {we}"
            ));
        }
    }
    println!(
        "tshark with the same secrets: {} captures, {requests} requests ({hidden} with parts hidden, compared by their length), {chains} chains, {} listed exceptions",
        cases.len(),
        EXCEPTIONS.len()
    );
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(requests > 30 && chains > 30);
}

/// Each line of a key log with its last digits changed.
fn spoiled(log: &str) -> String {
    log.lines()
        .map(|line| {
            let digit = if line.ends_with('0') { '1' } else { '0' };
            let mut line = line.to_owned();
            line.pop();
            line.push(digit);
            line + "\n"
        })
        .collect()
}

/// The same capture without its secrets, and these as a key log.
fn apart(path: &Path, into: &Path) -> (PathBuf, String) {
    let mut log = String::new();
    let mut without = Vec::new();
    for block in crate::decrypted::blocks_of(path) {
        if block.starts_with(&[10, 0, 0, 0]) {
            // Type, length, kind of secrets, their length; then they.
            let len = u32::from_le_bytes(block[12..16].try_into().expect("four bytes"));
            log += &String::from_utf8_lossy(&block[16..16 + len as usize]);
        } else {
            without.extend(block);
        }
    }
    let capture = into.join(path.file_name().expect("a file"));
    std::fs::write(&capture, without).expect("written");
    (capture, log)
}

/// Nothing is seen with wrong secrets that is not seen without any, and it is
/// said; a part of the right ones shows a part of the same. Gives what all of
/// them show, and what each label alone does.
fn spoil(name: &str, capture: &Path, log: &str) -> (Seen, Vec<(&'static str, Seen)>) {
    let work = tempfile::tempdir().expect("a temporary folder");
    let file = work.path().join("keys.log");
    std::fs::write(&file, log).expect("written");
    let whole = of_run(capture, Some(&file));
    let without = of_run(capture, None);
    std::fs::write(&file, spoiled(log)).expect("written");
    let wrong = of_run(capture, Some(&file));
    assert_eq!(wrong.seen, without.seen, "{name}");
    assert_eq!(wrong.requests.len(), without.requests.len(), "{name}");
    let mut failures = 0;
    for row in &wrong.handshakes {
        assert_eq!(row["decrypted"], json!(false), "{name}: {row}");
        failures += usize::from(row["decryption_failure"].is_string());
        if row["version_num"] == json!(0x0304) && row["resumed"] != json!(true) {
            assert_eq!(row["cert_visibility"], "encrypted", "{name}");
            let chain = list(row, "checks")
                .iter()
                .find(|check| check["check_id"] == "NS-02.chain");
            let outcome = chain.map(|check| text(check, "outcome"));
            assert_eq!(outcome, Some("not_observed"), "{name}: {row}");
        }
    }
    assert!(failures > 0, "{name}: no failure is said");
    let labels = [
        "CLIENT_EARLY",
        "CLIENT_HANDSHAKE",
        "SERVER_HANDSHAKE",
        "CLIENT_TRAFFIC",
        "SERVER_TRAFFIC",
    ];
    let mut parts = Vec::new();
    for label in labels.into_iter().filter(|label| log.contains(label)) {
        let part: Vec<&str> = log.lines().filter(|line| line.starts_with(label)).collect();
        std::fs::write(&file, part.join("\n")).expect("written");
        let part = of_run(capture, Some(&file)).seen;
        let [_, more] = differences(&whole.seen.chains, &part.chains);
        assert!(more.is_empty(), "{name} {label}: {more:?}");
        for line in &part.requests {
            // Of a request whose answer stays closed, the status is missing.
            let (asked, status) = line.rsplit_once(' ').unwrap_or_default();
            let known = whole.seen.requests.iter().any(|whole| {
                whole == line || status.is_empty() && whole.starts_with(&format!("{asked} "))
            });
            // Early data that was refused is told only by who knows the answer.
            let early = label == "CLIENT_EARLY";
            assert!(known || early, "{name} {label}: {line}");
        }
        parts.push((label, part));
    }
    (whole.seen, parts)
}

#[test]
fn wrong_and_partial_secrets_show_nothing_that_is_not_there() {
    let work = tempfile::tempdir().expect("a temporary folder");
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples");
    for name in [
        "http2-tls.pcapng",
        "decrypted/client-certificate.pcapng",
        "decrypted/compressed-brotli.pcapng",
        "decrypted/curl.pcapng",
        "decrypted/early-data.pcapng",
        "decrypted/key-update.pcapng",
        "decrypted/renegotiation.pcapng",
        "decrypted/resumption-psk.pcapng",
        "decrypted/tls10-cbc.pcapng",
        "decrypted/tls_ecdhe_rsa_with_aes_128_cbc_sha256.pcapng",
        "decrypted/tls_ecdhe_rsa_with_aes_128_gcm_sha256.pcapng",
        "decrypted/tls_ecdhe_rsa_with_chacha20_poly1305_sha256.pcapng",
    ] {
        let (capture, log) = apart(&samples.join(name), work.path());
        assert!(!log.is_empty(), "{name}");
        let (whole, _) = spoil(name, &capture, &log);
        assert!(!whole.requests.is_empty(), "{name}");
    }
    let Some(folder) = public::folder("wrong and partial secrets of public captures") else {
        return;
    };
    for (name, path, log) in public_cases(&folder) {
        let Some(log) = log else { continue };
        let log = std::fs::read_to_string(log).expect("the key log is readable");
        let (whole, parts) = spoil(&name, &path, &log);
        for (label, part) in parts {
            // The server's handshake secret alone opens its certificates, the
            // client's first application secret its requests.
            let [closed, _] = differences(&whole.chains, &part.chains);
            assert_eq!(
                closed.is_empty(),
                label == "SERVER_HANDSHAKE",
                "{name} {label}"
            );
            assert_eq!(
                !part.requests.is_empty(),
                label == "CLIENT_TRAFFIC",
                "{name} {label}"
            );
        }
    }
}

/// A client's certificate in the clear (TLS 1.2): recorded with its handshake, and
/// in `certificates` as a client's. tshark tells who sent it by the port.
#[test]
fn certificates_of_clients_are_told_from_those_of_servers() {
    let test = "certificates_of_clients_are_told_from_those_of_servers";
    let Some(folder) = public::folder(test).filter(|_| has_tshark(test)) else {
        return;
    };
    let capture = folder.join("certs/zeek/tls/client-certificate.pcap");
    let out = Command::new("tshark")
        .args(["-n", "-r"])
        .arg(&capture)
        .args(["-Y", "tls.handshake.certificate", "-T", "fields"])
        .args(["-e", "tcp.dstport", "-e", "tls.handshake.certificate"])
        .output()
        .expect("tshark runs");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let of_client: Vec<String> = text
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .filter(|(to, _)| *to == "443")
        .flat_map(|(_, ders)| ders.split(','))
        .map(|der| {
            let bytes: Vec<u8> = (0..der.len() / 2)
                .filter_map(|at| u8::from_str_radix(der.get(2 * at..2 * at + 2)?, 16).ok())
                .collect();
            runs::sha256_hex(&bytes)
        })
        .collect();
    assert!(
        !of_client.is_empty(),
        "tshark shows no client's certificate"
    );
    let out = tempfile::tempdir().expect("a temporary folder");
    let report = runs::run(&capture, out.path(), &How::default()).expect("a report");
    let handshakes = runs::table(&report.folder, "tls_handshakes");
    let sent: Vec<String> = handshakes
        .iter()
        .flat_map(|row| row["client_chain_fingerprints"].as_array().cloned())
        .flatten()
        .filter_map(|print| print.as_str().map(str::to_owned))
        .collect();
    assert_eq!(sent, of_client);
    assert!(
        handshakes
            .iter()
            .any(|row| row["client_cert_requested"] == json!(true))
    );
    let mut roles: Vec<String> = runs::table(&report.folder, "certificates")
        .iter()
        .filter(|row| runs::text(row, "role") == "client")
        .map(|row| runs::text(row, "fingerprint").to_owned())
        .collect();
    roles.sort();
    let mut expected = of_client;
    expected.sort();
    expected.dedup();
    assert_eq!(roles, expected);
}
