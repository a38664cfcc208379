//! Decryption with real captures: samples whose packets or secrets are moved or
//! lost, and public captures that carry their secrets, against what tshark 4.0.17 shows
//! with the same secrets: the server's certificates and what was negotiated.

use crate::public::{self, list, text};
use crate::runs::{self, How};
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::Path;

/// Capture, then transport, chain and ALPN of each handshake that tshark decrypts.
type Seen = (
    &'static str,
    &'static [(&'static str, &'static [&'static str], &'static str)],
);

const CLOUDFLARE: &[&str] = &[
    "31bd22783c4dba6fc20c976f3aa8d69344c0f38bd03f02c64602279d832995eb",
    "3abbe63daf756c5016b6b85f52015fd8e8acbe277c5087b127a60563a841ed8a",
];
const CLOUD_WITH_QUIC: &[&str] =
    &["bd6d42aacb34d73ee2a812669bbc2cdafb02d596cc86f1511e436dbbeaf6610c"];

const EXPECTED: &[Seen] = &[
    (
        "pcapng/nDPI/default/quic-33.pcapng",
        &[("quic", CLOUD_WITH_QUIC, "h3-33")],
    ),
    (
        "quic/ja4/chrome-cloudflare-quic-with-secrets.pcapng",
        &[("tcp", CLOUDFLARE, "h2"), ("quic", CLOUDFLARE, "h3")],
    ),
    (
        "quic/nDPI/default/quic-v2.pcapng",
        &[("quic", CLOUD_WITH_QUIC, "h3")],
    ),
];

#[test]
fn certificates_are_those_that_tshark_decrypts() {
    let Some(folder) = public::folder("certificates_are_those_that_tshark_decrypts") else {
        return;
    };
    for (path, expected) in EXPECTED {
        let out = tempfile::tempdir().expect("a temporary folder");
        let report = runs::run(&folder.join(path), out.path(), &How::default())
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut rows = runs::table(&report.folder, "tls_handshakes");
        rows.sort_by_key(|row| text(&json!(row), "ts").to_owned());
        let seen: Vec<_> = rows
            .iter()
            .map(|row| {
                let row = json!(row);
                assert_eq!(row["decrypted"], true, "{path}: {row}");
                assert_eq!(row["decryption_source"], "dsb", "{path}");
                assert_eq!(row["cert_visibility"], "decrypted", "{path}");
                let chain: Vec<_> = list(&row, "chain_fingerprints")
                    .iter()
                    .map(|value| value.as_str().unwrap_or_default().to_owned())
                    .collect();
                let (transport, alpn) = (text(&row, "transport"), text(&row, "next_protocol"));
                (transport.to_owned(), chain, alpn.to_owned())
            })
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(transport, chain, alpn)| {
                let chain: Vec<_> = chain.iter().map(|&print| print.to_owned()).collect();
                ((*transport).to_owned(), chain, (*alpn).to_owned())
            })
            .collect();
        assert_eq!(seen, expected, "{path}");
    }
}

fn blocks(name: &str) -> Vec<Vec<u8>> {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/decrypted");
    blocks_of(&samples.join(name))
}

/// A little-endian pcapng's blocks.
pub fn blocks_of(path: &Path) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(path).expect("the sample is there");
    let mut rest = bytes.as_slice();
    let mut blocks = Vec::new();
    while let Some(len) = rest.get(4..8) {
        let len = u32::from_le_bytes(len.try_into().expect("four bytes")) as usize;
        let (block, behind) = rest.split_at(len);
        blocks.push(block.to_vec());
        rest = behind;
    }
    blocks
}

const SECRETS: [u8; 4] = [10, 0, 0, 0];
const PACKET: [u8; 4] = [6, 0, 0, 0];

/// HTTP requests and handshakes of a capture of these bytes.
fn seen(bytes: &[u8], name: &str) -> (Vec<Value>, Vec<Value>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let capture = folder.path().join(name);
    std::fs::write(&capture, bytes).expect("written");
    let report =
        runs::run(&capture, &folder.path().join("out"), &How::default()).expect("a report");
    let rows = |table: &str| -> Vec<Value> {
        let mut rows: Vec<_> = runs::table(&report.folder, table)
            .iter()
            .map(|row| json!(row))
            .collect();
        rows.sort_by_key(|row| text(row, "ts").to_owned());
        rows
    };
    (rows("http_transactions"), rows("tls_handshakes"))
}

#[test]
fn a_file_may_have_its_secrets_behind_its_packets_and_a_stream_before() {
    let mut early = blocks("curl.pcapng");
    let at = early
        .iter()
        .position(|block| block.starts_with(&SECRETS))
        .expect("secrets");
    let mut late = early.clone();
    let secrets = late.remove(at);
    late.push(secrets);
    let zipped = |blocks: &[Vec<u8>]| {
        let mut zip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        zip.write_all(&blocks.concat()).expect("written");
        zip.finish().expect("finished")
    };
    let paths = |rows: &[Value]| -> Vec<String> {
        rows.iter()
            .map(|row| text(row, "path").to_owned())
            .collect()
    };
    let all = ["/v1/answer", "/v1/ask"];
    for (name, bytes) in [
        ("early.pcapng", early.concat()),
        ("late.pcapng", late.concat()),
        ("early.pcapng.gz", zipped(&early)),
    ] {
        let (http, tls) = seen(&bytes, name);
        assert_eq!(paths(&http), all, "{name}");
        assert_eq!(tls[0]["cert_visibility"], "decrypted", "{name}");
    }
    let (http, tls) = seen(&zipped(&late), "late.pcapng.gz");
    assert!(http.is_empty());
    assert_eq!(tls[0]["cert_visibility"], "encrypted");
    assert_eq!(tls[0]["decryption_source"], Value::Null);
    // Secrets of others change nothing.
    let last = early[at].len() - 40;
    early[at][last] ^= 1;
    let (http, _) = seen(&early.concat(), "other.pcapng");
    assert!(http.len() <= all.len());
}

#[test]
fn whatever_packet_is_lost_nothing_is_made_up() {
    for (name, paths) in [
        (
            "key-update.pcapng",
            &["/v1/answer", "/v1/second", "/v1/third", "/v1/fourth"][..],
        ),
        (
            "tls_ecdhe_rsa_with_aes_128_cbc_sha256.pcapng",
            &["/v1/answer"][..],
        ),
    ] {
        let whole = blocks(name);
        let (_, tls) = seen(&whole.concat(), "whole.pcapng");
        let leaf = tls[0]["leaf_fingerprint"].clone();
        assert!(leaf.is_string());
        for lost in (0..whole.len()).filter(|&at| whole[at].starts_with(&PACKET)) {
            let mut blocks = whole.clone();
            blocks.remove(lost);
            let (http, tls) = seen(&blocks.concat(), "cut.pcapng");
            for row in &http {
                let path = text(row, "path");
                // An answer whose request is lost has no path.
                assert!(
                    path.is_empty() || paths.contains(&path),
                    "{name} {lost}: {row}"
                );
                assert_eq!(row["decrypted"], true, "{name} {lost}: {row}");
            }
            for row in &tls {
                let shown = &row["leaf_fingerprint"];
                assert!(shown.is_null() || *shown == leaf, "{name} {lost}: {row}");
            }
        }
    }
}
