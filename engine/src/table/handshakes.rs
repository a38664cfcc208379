//! Rows of `tls_handshakes` back as what checks ask of a handshake, for a run
//! that is judged again. What no check asks that is judged from rows is left at
//! its default.

use super::read::{Fields, projected};
use crate::control::ns02::{DECISIVE, Kept, KeptPath};
use crate::error::Result;
use crate::evidence::{FlowId, PacketRef};
use crate::finding::HandshakeBack;
use crate::policy::Pin;
use crate::proto::tls::{
    Alert, CertVisibility, ClientHello, Sentinel, ServerHello, TlsHandshake, Version,
};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Columns without which a run of an older version cannot be judged so.
const ALSO: [&str; 5] = [
    "client_ciphers_sslv2",
    "client_alerts",
    "server_alerts",
    "path_pins",
    "chain_trusted",
];

const COLUMNS: [&str; 27] = [
    "flow_id",
    "ts",
    "capture",
    "first_frame",
    "first_offset",
    "src_ip",
    "dst_ip",
    "dst_port",
    "destination",
    "version_num",
    "client_versions",
    "client_ciphers",
    "client_extensions",
    "cipher_num",
    "server_name",
    "cert_visibility",
    "leaf_fingerprint",
    "validated_at",
    "established",
    "checks",
    "downgrade_sentinel",
    "decryption_failure",
    "bytes_orig_app",
    "client_ciphers_sslv2",
    "client_alerts",
    "server_alerts",
    "path_pins",
];

/// What is known of a flow beside its handshakes.
#[derive(Default)]
struct OfFlow {
    handshakes: u32,
    capture: u32,
    bytes: u64,
    /// The name that the flow itself said, where no handshake has one.
    host: Option<String>,
}

/// Whether the table has what [`handshakes`] needs.
///
/// # Errors
///
/// This and the next: when a table cannot be read, or is not of this version.
pub fn can_be_read(run: &Path) -> Result<bool> {
    let names = super::read::columns(&run.join("tls_handshakes.parquet"))?;
    Ok(ALSO
        .iter()
        .all(|name| names.iter().any(|known| known == name)))
}

/// Calls `each` with every handshake of a run, in the table's order.
pub fn handshakes(run: &Path, mut each: impl FnMut(HandshakeBack)) -> Result<()> {
    let path = run.join("tls_handshakes.parquet");
    let mut flows: BTreeMap<i64, OfFlow> = BTreeMap::new();
    projected(&path, &["flow_id"], |row| {
        flows.entry(row.number("flow_id")?).or_default().handshakes += 1;
        Ok(())
    })?;
    let columns = [
        "flow_id",
        "capture",
        "orig_bytes",
        "resp_bytes",
        "server_name",
        "server_name_source",
    ];
    projected(&run.join("flows.parquet"), &columns, |row| {
        let Some(flow) = flows.get_mut(&row.number("flow_id")?) else {
            return Ok(());
        };
        flow.capture = row.number("capture")?;
        let [orig, resp]: [u64; 2] = [row.number("orig_bytes")?, row.number("resp_bytes")?];
        flow.bytes = orig.saturating_add(resp);
        let source = row.text_opt("server_name_source")?;
        if matches!(source.as_deref(), Some("sni" | "http_host")) {
            flow.host = row.text_opt("server_name")?;
        }
        Ok(())
    })?;
    let columns: Vec<&str> = COLUMNS.iter().chain(&ALSO).copied().collect();
    projected(&path, &columns, |row| {
        each(back(row, &flows)?);
        Ok(())
    })
}

fn back(row: &Fields<'_>, flows: &BTreeMap<i64, OfFlow>) -> Result<HandshakeBack, String> {
    let flow_id: i64 = row.number("flow_id")?;
    let flow = flows.get(&flow_id).ok_or("a handshake of no flow")?;
    let tls = handshake(row)?;
    let sni = row.text_opt("server_name")?;
    let path = match row.get("validated_at")? {
        Value::Null => None,
        _ => Some(KeptPath {
            spkis: row
                .texts("path_pins")?
                .into_iter()
                .map(|pin| Pin::try_from(pin).map(|pin| pin.sha256))
                .collect::<Result<_, String>>()?,
            is_trusted: row.flag("chain_trusted")?,
            leaf: row.text_opt("leaf_fingerprint")?.unwrap_or_default(),
        }),
    };
    Ok(HandshakeBack {
        flow_id: FlowId(flow_id),
        capture: flow.capture,
        bytes: flow.bytes,
        of_flow: flow.handshakes,
        src: row.address("src_ip")?,
        dst: row.address("dst_ip")?,
        dst_port: row.number("dst_port")?,
        destination: row.text("destination")?,
        ts: tls.ts,
        first: tls.first,
        kept: Kept {
            host: sni.or_else(|| flow.host.clone()),
            path,
            tls,
        },
        failed: failed(row)?,
    })
}

/// The checks of [`DECISIVE`] that failed when the row was written.
fn failed(row: &Fields<'_>) -> Result<Vec<&'static str>, String> {
    let checks = row.list("checks")?.iter().filter_map(Value::as_object);
    let failed =
        checks.filter(|check| check.get("outcome").and_then(Value::as_str) == Some("failed"));
    let ids = failed.filter_map(|check| check.get("check_id").and_then(Value::as_str));
    Ok(ids
        .filter_map(|id| DECISIVE.iter().copied().find(|known| *known == id))
        .collect())
}

fn handshake(row: &Fields<'_>) -> Result<TlsHandshake, String> {
    /// supported_versions (RFC 8446 §4.2.1).
    const SUPPORTED_VERSIONS: u16 = 43;
    let client = match row.get("client_ciphers")? {
        Value::Null => None,
        _ => {
            let versions: Vec<u16> = row.numbers("client_versions")?;
            let extensions: Vec<u16> = row.numbers("client_extensions")?;
            let mut client = ClientHello {
                ciphers: row.numbers("client_ciphers")?,
                sslv2_ciphers: row.numbers("client_ciphers_sslv2")?,
                ..ClientHello::default()
            };
            // The column has the version of the hello where the list is not there.
            if extensions.contains(&SUPPORTED_VERSIONS) {
                client.supported_versions = versions;
            } else {
                client.version = versions.first().copied().unwrap_or_default();
            }
            client.extensions = extensions;
            Some(Arc::new(client))
        }
    };
    let server = match row.get("cipher_num")? {
        Value::Null => None,
        _ => Some(Arc::new(ServerHello {
            cipher: row.number("cipher_num")?,
            sentinel: match row.text_opt("downgrade_sentinel")?.as_deref() {
                None => None,
                Some("tls12") => Some(Sentinel::To12),
                Some("tls11") => Some(Sentinel::To11),
                Some(other) => return Err(format!("unknown sentinel {other:?}")),
            },
            ..ServerHello::default()
        })),
    };
    let version = match row.get("version_num")? {
        Value::Null => None,
        _ => Some(Version(row.number("version_num")?)),
    };
    let mut alerts = Vec::new();
    for (column, from_client) in [("client_alerts", true), ("server_alerts", false)] {
        let numbers: Vec<u8> = row.numbers(column)?;
        alerts.extend(numbers.into_iter().map(|description| Alert {
            from_client,
            level: 2,
            description,
        }));
    }
    Ok(TlsHandshake {
        ts: row.time("ts")?,
        first: PacketRef {
            capture: row.number("capture")?,
            frame: row.number("first_frame")?,
            offset: row.number("first_offset")?,
        },
        client,
        server,
        version,
        alerts,
        established: row.flag("established")?,
        cert_visibility: match row.text("cert_visibility")?.as_str() {
            "visible" => CertVisibility::Visible,
            "decrypted" => CertVisibility::Decrypted,
            "encrypted" => CertVisibility::Encrypted,
            "resumed" => CertVisibility::Resumed,
            _ => CertVisibility::None,
        },
        decryption_failure: row.text_opt("decryption_failure")?.map(|_| ""),
        app_bytes: [row.number("bytes_orig_app")?, 0],
        ..TlsHandshake::default()
    })
}
