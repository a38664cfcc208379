//! Public captures that carry their secrets, against what tshark 4.0.17 shows
//! with the same secrets: the server's certificates and what was negotiated.

use crate::public::{self, list, text};
use crate::runs::{self, How};
use serde_json::json;

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
