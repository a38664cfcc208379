//! The cryptography that a sealed run shows in use: versions, suites, groups,
//! signature algorithms, certificates, each with its first and last time, as CSV
//! and as a CycloneDX 1.6 cryptographic bill of materials (ECMA-424). PCI DSS
//! 12.3.3 asks for such a list. Reads tables that were verified before.

use crate::error::{Error, Result};
use crate::table::read;
use crate::time::CaptureTime;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

/// Destinations counted for one asset; beyond it the count stands still.
const MAX_HOSTS: usize = 10_000;
/// Destinations named for one asset.
const SHOWN_HOSTS: usize = 8;
/// Version of the CSV's columns and of the properties in the bill.
const FORMAT: &str = "1";

/// What kind of thing is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// TLS or DTLS, by its version.
    Protocol,
    /// A cipher suite.
    Suite,
    /// A group or curve of the key exchange.
    Group,
    /// A signature algorithm of handshakes or certificates.
    Signature,
    /// A certificate.
    Certificate,
}

impl Kind {
    /// The name that the CSV uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Protocol => "protocol",
            Self::Suite => "cipher_suite",
            Self::Group => "group",
            Self::Signature => "signature_algorithm",
            Self::Certificate => "certificate",
        }
    }
}

/// How a thing stands against quantum computers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quantum {
    /// Broken by Shor's algorithm.
    Vulnerable,
    /// A hybrid with a post-quantum algorithm of this NIST category.
    Hybrid(u8),
    /// A post-quantum algorithm of this NIST category alone.
    Resistant(u8),
    /// Not a question of this asset.
    Apart,
}

impl Quantum {
    const fn name(self) -> &'static str {
        match self {
            Self::Vulnerable => "vulnerable",
            Self::Hybrid(_) => "hybrid",
            Self::Resistant(_) => "resistant",
            Self::Apart => "",
        }
    }
}

/// When, how often and where an asset was seen.
#[derive(Debug, Default)]
struct Seen {
    handshakes: u64,
    first: Option<i64>,
    last: Option<i64>,
    hosts: BTreeSet<String>,
}

impl Seen {
    fn note(&mut self, at: i64, host: &str) {
        self.handshakes = self.handshakes.saturating_add(1);
        self.first = Some(self.first.map_or(at, |first| first.min(at)));
        self.last = Some(self.last.map_or(at, |last| last.max(at)));
        if self.hosts.len() < MAX_HOSTS && !self.hosts.contains(host) {
            self.hosts.insert(host.to_owned());
        }
    }
}

/// A certificate in use.
#[derive(Debug, Default)]
struct CertificateUse {
    fields: Map<String, Value>,
    handshakes: u64,
    first: i64,
    last: i64,
    hosts: Vec<String>,
}

impl CertificateUse {
    fn text(&self, column: &str) -> &str {
        text(&self.fields, column)
    }

    /// `rsa-2048`, `ec-secp256r1`, or the name of the algorithm.
    fn key(&self) -> String {
        let (alg, curve) = (self.text("key_alg"), self.text("curve"));
        match (number(&self.fields, "key_bits"), curve) {
            (_, curve) if !curve.is_empty() => format!("{alg}-{curve}"),
            (Some(bits), _) => format!("{alg}-{bits}"),
            _ => alg.to_owned(),
        }
    }
}

/// The inventory of one run.
#[derive(Debug, Default)]
pub struct Inventory {
    versions: BTreeMap<i64, (String, Seen)>,
    /// By version and suite.
    suites: BTreeMap<(i64, i64), (String, Seen)>,
    /// With whether it is a hybrid.
    groups: BTreeMap<String, (bool, Seen)>,
    signatures: BTreeMap<String, Seen>,
    certificates: BTreeMap<String, CertificateUse>,
}

/// Columns of a certificate that the inventory needs.
const CERTIFICATE_COLUMNS: [&str; 14] = [
    "subject",
    "issuer",
    "serial",
    "not_before",
    "not_after",
    "key_alg",
    "key_bits",
    "curve",
    "sig_alg",
    "sig_weak",
    "spki_sha256_b64",
    "role",
    "is_ca",
    "self_signed",
];

impl Inventory {
    /// Reads the tables of a run, which should have been verified.
    ///
    /// # Errors
    ///
    /// When a table cannot be read.
    pub fn read(run: &Path) -> Result<Self> {
        let mut inventory = Self::default();
        read::rows(&run.join("tls_handshakes.parquet"), |row| {
            inventory.handshake(&row);
            Ok(())
        })?;
        read::rows(&run.join("certificates.parquet"), |row| {
            inventory.certificate(row);
            Ok(())
        })?;
        Ok(inventory)
    }

    fn handshake(&mut self, row: &Map<String, Value>) {
        // In use is what was settled on, not what was offered.
        let (Some(version), Some(at)) = (number(row, "version_num"), number(row, "ts")) else {
            return;
        };
        let host = text(row, "destination");
        let of_version = self.versions.entry(version).or_default();
        text(row, "version").clone_into(&mut of_version.0);
        of_version.1.note(at, host);
        if let Some(suite) = number(row, "cipher_num") {
            let of_suite = self.suites.entry((version, suite)).or_default();
            text(row, "cipher").clone_into(&mut of_suite.0);
            of_suite.1.note(at, host);
        }
        let group = text(row, "curve");
        if !group.is_empty() {
            let of_group = self.groups.entry(group.to_owned()).or_default();
            of_group.0 = row.get("pq_hybrid") == Some(&Value::Bool(true));
            of_group.1.note(at, host);
        }
        let signature = text(row, "kex_signature");
        if !signature.is_empty() {
            let of_signature = self.signatures.entry(signature.to_owned()).or_default();
            of_signature.note(at, host);
        }
    }

    fn certificate(&mut self, mut row: Map<String, Value>) {
        let take = |row: &mut Map<String, Value>, column: &str| row.remove(column);
        let (Some(first), Some(last)) = (number(&row, "first_seen"), number(&row, "last_seen"))
        else {
            return;
        };
        let hosts: Vec<String> = match take(&mut row, "hosts") {
            Some(Value::Array(hosts)) => hosts
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
            _ => Vec::new(),
        };
        let handshakes = number(&row, "seen_count").and_then(|count| u64::try_from(count).ok());
        let handshakes = handshakes.unwrap_or_default();
        let signature = text(&row, "sig_alg");
        if !signature.is_empty() {
            let of_signature = self.signatures.entry(signature.to_owned()).or_default();
            for at in [first, last] {
                of_signature.first = Some(of_signature.first.map_or(at, |first| first.min(at)));
                of_signature.last = Some(of_signature.last.map_or(at, |last| last.max(at)));
            }
            of_signature.handshakes = of_signature.handshakes.saturating_add(handshakes);
            let room = MAX_HOSTS.saturating_sub(of_signature.hosts.len());
            of_signature.hosts.extend(hosts.iter().take(room).cloned());
        }
        let fingerprint = text(&row, "fingerprint").to_owned();
        let fields = CERTIFICATE_COLUMNS
            .iter()
            .filter_map(|&column| Some((column.to_owned(), row.remove(column)?)))
            .collect();
        self.certificates.insert(
            fingerprint,
            CertificateUse {
                fields,
                handshakes,
                first,
                last,
                hosts,
            },
        );
    }

    /// How many different assets there are.
    pub fn len(&self) -> usize {
        self.versions.len()
            + self.suites.len()
            + self.groups.len()
            + self.signatures.len()
            + self.certificates.len()
    }

    /// Whether the run shows no cryptography.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The inventory as CSV (RFC 4180), one row for each asset. A field that a
    /// spreadsheet would take for a formula begins with an apostrophe.
    pub fn csv(&self) -> String {
        let mut out = String::from(
            "kind,name,identifier,quantum,handshakes,hosts,first_seen,last_seen,detail,examples\r\n",
        );
        let mut row =
            |kind: Kind, name: &str, id: &str, quantum: Quantum, seen: &Seen, detail: &str| {
                let examples: Vec<&str> = seen
                    .hosts
                    .iter()
                    .take(SHOWN_HOSTS)
                    .map(String::as_str)
                    .collect();
                let fields = [
                    kind.name().to_owned(),
                    name.to_owned(),
                    id.to_owned(),
                    quantum.name().to_owned(),
                    seen.handshakes.to_string(),
                    seen.hosts.len().to_string(),
                    moment(seen.first),
                    moment(seen.last),
                    detail.to_owned(),
                    examples.join(" "),
                ];
                let fields: Vec<String> = fields.iter().map(|field| csv_field(field)).collect();
                let _ = write!(out, "{}\r\n", fields.join(","));
            };
        for (number, (name, seen)) in &self.versions {
            row(
                Kind::Protocol,
                name,
                &wire(*number),
                Quantum::Apart,
                seen,
                "",
            );
        }
        for ((version, number), (name, seen)) in &self.suites {
            let of = self.versions.get(version).map_or("", |(name, _)| name);
            row(Kind::Suite, name, &wire(*number), Quantum::Apart, seen, of);
        }
        for (name, (hybrid, seen)) in &self.groups {
            let quantum = quantum_of_group(name, *hybrid);
            row(Kind::Group, name, "", quantum, seen, "");
        }
        for (name, seen) in &self.signatures {
            row(Kind::Signature, name, "", Quantum::Vulnerable, seen, "");
        }
        for (fingerprint, cert) in &self.certificates {
            let seen = Seen {
                handshakes: cert.handshakes,
                first: Some(cert.first),
                last: Some(cert.last),
                hosts: cert.hosts.iter().cloned().collect(),
            };
            let detail = format!(
                "{}; issuer {}; serial {}; valid {} to {}; {}; {}",
                cert.text("role"),
                cert.text("issuer"),
                cert.text("serial"),
                moment(number(&cert.fields, "not_before")),
                moment(number(&cert.fields, "not_after")),
                cert.key(),
                cert.text("sig_alg"),
            );
            let subject = cert.text("subject");
            row(
                Kind::Certificate,
                subject,
                fingerprint,
                Quantum::Vulnerable,
                &seen,
                &detail,
            );
        }
        out
    }

    /// The inventory as a CycloneDX 1.6 bill of materials. Of the same run it is
    /// always the same: no time of today, no random number.
    ///
    /// # Errors
    ///
    /// When it cannot be written as JSON.
    pub fn cbom(&self, run_id: &str, tool_version: &str) -> Result<String> {
        let mut components = Vec::new();
        let mut dependencies = Vec::new();
        for name in self.signatures.keys() {
            components.push(self.signature_component(name));
        }
        for (name, (hybrid, seen)) in &self.groups {
            components.push(group_component(name, *hybrid, seen));
        }
        for (&version, (name, seen)) in &self.versions {
            components.push(self.protocol_component(version, name, seen));
        }
        let mut keys = BTreeSet::new();
        for (fingerprint, cert) in &self.certificates {
            let key = key_reference(cert);
            if keys.insert(key.clone()) {
                components.push(key_component(&key, cert));
            }
            components.push(self.certificate_component(fingerprint, cert, &key));
            dependencies.push(json!({
                "ref": certificate_reference(fingerprint),
                "dependsOn": [key],
            }));
        }
        let bill = json!({
            "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "version": 1,
            "metadata": {
                "tools": { "components": [
                    { "type": "application", "name": "nsforensics", "version": tool_version },
                ] },
                "component": { "type": "data", "bom-ref": "run", "name": run_id },
                "properties": [property("format", FORMAT)],
            },
            "components": components,
            "dependencies": dependencies,
        });
        let mut text = serde_json::to_string_pretty(&bill).map_err(|error| Error::Table {
            table: "the bill of materials".to_owned(),
            message: error.to_string(),
        })?;
        text.push('\n');
        Ok(text)
    }

    fn signature_component(&self, name: &str) -> Value {
        let seen = self.signatures.get(name);
        json!({
            "type": "cryptographic-asset",
            "bom-ref": signature_reference(name),
            "name": name,
            "cryptoProperties": {
                "assetType": "algorithm",
                "algorithmProperties": {
                    "primitive": "signature",
                    "cryptoFunctions": ["sign", "verify"],
                    "nistQuantumSecurityLevel": 0,
                },
            },
            "properties": seen.map(properties).unwrap_or_default(),
        })
    }

    fn protocol_component(&self, version: i64, name: &str, seen: &Seen) -> Value {
        let suites: Vec<Value> = self
            .suites
            .range((version, i64::MIN)..=(version, i64::MAX))
            .map(|((_, number), (name, _))| {
                let [_, _, _, _, _, _, high, low] = number.to_be_bytes();
                json!({
                    "name": name,
                    "identifiers": [format!("0x{high:02X}"), format!("0x{low:02X}")],
                })
            })
            .collect();
        json!({
            "type": "cryptographic-asset",
            "bom-ref": format!("protocol/{name}"),
            "name": name,
            "cryptoProperties": {
                "assetType": "protocol",
                "protocolProperties": {
                    "type": "tls",
                    "version": dotted_version(version),
                    "cipherSuites": suites,
                },
            },
            "properties": properties(seen),
        })
    }

    fn certificate_component(&self, fingerprint: &str, cert: &CertificateUse, key: &str) -> Value {
        let mut of_certificate = json!({
            "subjectName": cert.text("subject"),
            "issuerName": cert.text("issuer"),
            "subjectPublicKeyRef": key,
            "certificateFormat": "X.509",
        });
        if let Some(fields) = of_certificate.as_object_mut() {
            for (name, column) in [
                ("notValidBefore", "not_before"),
                ("notValidAfter", "not_after"),
            ] {
                let at = moment(number(&cert.fields, column));
                if !at.is_empty() {
                    fields.insert(name.to_owned(), at.into());
                }
            }
            let signature = cert.text("sig_alg");
            if self.signatures.contains_key(signature) {
                let reference = signature_reference(signature);
                fields.insert("signatureAlgorithmRef".to_owned(), reference.into());
            }
        }
        let subject = cert.text("subject");
        let name = if subject.is_empty() {
            fingerprint
        } else {
            subject
        };
        let mut about = seen_properties(
            cert.handshakes,
            cert.hosts.len(),
            Some(cert.first),
            Some(cert.last),
        );
        about.push(property("role", cert.text("role")));
        about.push(property("serial", cert.text("serial")));
        json!({
            "type": "cryptographic-asset",
            "bom-ref": certificate_reference(fingerprint),
            "name": name,
            "hashes": [{ "alg": "SHA-256", "content": fingerprint }],
            "cryptoProperties": {
                "assetType": "certificate",
                "certificateProperties": of_certificate,
            },
            "properties": about,
        })
    }
}

fn group_component(name: &str, hybrid: bool, seen: &Seen) -> Value {
    let (primitive, level) = match quantum_of_group(name, hybrid) {
        Quantum::Hybrid(level) => ("combiner", level),
        Quantum::Resistant(level) => ("kem", level),
        _ => ("key-agree", 0),
    };
    json!({
        "type": "cryptographic-asset",
        "bom-ref": format!("algorithm/group/{name}"),
        "name": name,
        "cryptoProperties": {
            "assetType": "algorithm",
            "algorithmProperties": {
                "primitive": primitive,
                "parameterSetIdentifier": name,
                "nistQuantumSecurityLevel": level,
            },
        },
        "properties": properties(seen),
    })
}

fn key_component(reference: &str, cert: &CertificateUse) -> Value {
    let mut material = json!({ "type": "public-key", "id": cert.text("spki_sha256_b64") });
    if let (Some(fields), Some(bits)) = (material.as_object_mut(), number(&cert.fields, "key_bits"))
    {
        fields.insert("size".to_owned(), bits.into());
    }
    json!({
        "type": "cryptographic-asset",
        "bom-ref": reference,
        "name": cert.key(),
        "cryptoProperties": {
            "assetType": "related-crypto-material",
            "relatedCryptoMaterialProperties": material,
        },
    })
}

fn key_reference(cert: &CertificateUse) -> String {
    format!("key/{}", cert.text("spki_sha256_b64"))
}

fn certificate_reference(fingerprint: &str) -> String {
    format!("certificate/{fingerprint}")
}

fn signature_reference(name: &str) -> String {
    format!("algorithm/signature/{name}")
}

fn property(name: &str, value: &str) -> Value {
    json!({ "name": format!("nsforensics:{name}"), "value": value })
}

fn properties(seen: &Seen) -> Vec<Value> {
    seen_properties(seen.handshakes, seen.hosts.len(), seen.first, seen.last)
}

fn seen_properties(
    handshakes: u64,
    hosts: usize,
    first: Option<i64>,
    last: Option<i64>,
) -> Vec<Value> {
    vec![
        property("handshakes", &handshakes.to_string()),
        property("hosts", &hosts.to_string()),
        property("first_seen", &moment(first)),
        property("last_seen", &moment(last)),
    ]
}

/// NIST's category of the post-quantum half of a hybrid (FIPS 203 §8).
fn quantum_of_group(name: &str, hybrid: bool) -> Quantum {
    let level = match name {
        _ if name.contains("1024") => 5,
        _ if name.contains("768") => 3,
        _ => 1,
    };
    match hybrid {
        true => Quantum::Hybrid(level),
        false if name.starts_with("MLKEM") => Quantum::Resistant(level),
        false => Quantum::Vulnerable,
    }
}

/// 0x0303 is 1.2, DTLS's 0xfefd likewise.
fn dotted_version(version: i64) -> String {
    match version {
        0x0002 => "SSL 2.0".to_owned(),
        0x0300 => "SSL 3.0".to_owned(),
        0x0301..=0x0304 => format!("1.{}", version - 0x0301),
        0xfeff => "1.0".to_owned(),
        0xfefd => "1.2".to_owned(),
        0xfefc => "1.3".to_owned(),
        other => wire(other),
    }
}

fn wire(number: i64) -> String {
    format!("0x{number:04X}")
}

/// RFC 3339; empty for what is not known.
fn moment(nanos: Option<i64>) -> String {
    nanos.map_or_else(String::new, |nanos| {
        CaptureTime::from_nanos(nanos).to_string()
    })
}

fn text<'r>(row: &'r Map<String, Value>, column: &str) -> &'r str {
    row.get(column).and_then(Value::as_str).unwrap_or_default()
}

fn number(row: &Map<String, Value>, column: &str) -> Option<i64> {
    row.get(column).and_then(Value::as_i64)
}

/// A field of CSV (RFC 4180): quoted where it has to be, never a formula, no
/// control characters of a capture.
pub fn csv_field(field: &str) -> String {
    let formula = field.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let mut safe = String::with_capacity(field.len() + 2);
    if formula {
        safe.push('\'');
    }
    for letter in field.chars() {
        match letter {
            letter if letter.is_control() => {
                let _ = write!(safe, "\\u{{{:x}}}", u32::from(letter));
            }
            letter => safe.push(letter),
        }
    }
    if safe.contains(['"', ',', '\'']) {
        return format!("\"{}\"", safe.replace('"', "\"\""));
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap_or_default()
    }

    fn handshake(ts: i64, host: &str, group: (&str, bool)) -> Map<String, Value> {
        row(json!({
            "version": "TLSv13", "version_num": 0x0304, "ts": ts, "destination": host,
            "cipher": "TLS_AES_128_GCM_SHA256", "cipher_num": 0x1301, "curve": group.0,
            "pq_hybrid": group.1, "kex_signature": "ecdsa_secp256r1_sha256",
        }))
    }

    fn sample() -> Inventory {
        let mut inventory = Inventory::default();
        inventory.handshake(&handshake(2_000_000_000, "b.example", ("x25519", false)));
        inventory.handshake(&handshake(1_000_000_000, "a.example", ("x25519", false)));
        let hybrid = ("X25519MLKEM768", true);
        inventory.handshake(&handshake(3_000_000_000, "a.example", hybrid));
        // A hello that nobody answered is no use of anything.
        inventory.handshake(&row(
            json!({ "ts": 1, "destination": "x", "version_num": null }),
        ));
        inventory.certificate(row(json!({
            "fingerprint": "ab".repeat(32), "subject": "=CN,\"x\"", "issuer": "CN=CA",
            "serial": "01", "not_before": 0, "not_after": null, "key_alg": "rsa",
            "key_bits": 2048, "curve": null, "sig_alg": "sha256WithRSAEncryption",
            "spki_sha256_b64": "sha256/AA==", "role": "leaf", "first_seen": 1_000_000_000,
            "last_seen": 2_000_000_000, "seen_count": 2, "hosts": ["a.example"],
        })));
        inventory
    }

    #[test]
    fn the_csv_has_a_row_for_each_asset() {
        let csv = sample().csv();
        let lines: Vec<&str> = csv.split("\r\n").collect();
        let expected = [
            "protocol,TLSv13,0x0304,,3,2,1970-01-01T00:00:01.000000000Z,1970-01-01T00:00:03.000000000Z,,a.example b.example",
            "cipher_suite,TLS_AES_128_GCM_SHA256,0x1301,,3,2,1970-01-01T00:00:01.000000000Z,1970-01-01T00:00:03.000000000Z,TLSv13,a.example b.example",
            "group,X25519MLKEM768,,hybrid,1,1,1970-01-01T00:00:03.000000000Z,1970-01-01T00:00:03.000000000Z,,a.example",
            "group,x25519,,vulnerable,2,2,1970-01-01T00:00:01.000000000Z,1970-01-01T00:00:02.000000000Z,,a.example b.example",
        ];
        assert_eq!(lines.get(1..5), Some(&expected[..]), "{csv}");
        // Neither quotes nor formulas of a subject reach a spreadsheet as such.
        let certificate = lines.iter().find(|line| line.starts_with("certificate,"));
        assert!(
            certificate.is_some_and(|line| line.starts_with("certificate,\"'=CN,\"\"x\"\"\",")),
            "{csv}"
        );
    }

    /// Objects of the bill, with the keys and words that the schema of CycloneDX
    /// 1.6 (bom-1.6.schema.json, cryptoProperties) allows where they stand.
    #[test]
    fn the_bill_is_built_as_its_schema_says() {
        let text = sample().cbom("a-run", "1").unwrap();
        let bill: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(bill["bomFormat"], "CycloneDX");
        assert_eq!(bill["specVersion"], "1.6");
        let keys = |value: &Value, allowed: &[&str]| {
            for key in value.as_object().unwrap().keys() {
                assert!(allowed.contains(&key.as_str()), "{key} in {value}");
            }
        };
        keys(
            &bill,
            &[
                "$schema",
                "bomFormat",
                "specVersion",
                "version",
                "metadata",
                "components",
                "dependencies",
            ],
        );
        let mut references = BTreeSet::from(["run".to_owned()]);
        for component in bill["components"].as_array().unwrap() {
            keys(
                component,
                &[
                    "type",
                    "bom-ref",
                    "name",
                    "hashes",
                    "cryptoProperties",
                    "properties",
                ],
            );
            assert_eq!(component["type"], "cryptographic-asset");
            let reference = component["bom-ref"].as_str().unwrap();
            assert!(
                references.insert(reference.to_owned()),
                "{reference} is there twice"
            );
            let crypto = &component["cryptoProperties"];
            match crypto["assetType"].as_str().unwrap() {
                "algorithm" => {
                    let of = &crypto["algorithmProperties"];
                    keys(
                        of,
                        &[
                            "primitive",
                            "parameterSetIdentifier",
                            "cryptoFunctions",
                            "nistQuantumSecurityLevel",
                        ],
                    );
                    let primitive = of["primitive"].as_str().unwrap();
                    assert!(["signature", "key-agree", "kem", "combiner"].contains(&primitive));
                    assert!((0..=6).contains(&of["nistQuantumSecurityLevel"].as_i64().unwrap()));
                }
                "protocol" => {
                    let of = &crypto["protocolProperties"];
                    keys(of, &["type", "version", "cipherSuites"]);
                    assert_eq!(
                        (of["type"].as_str(), of["version"].as_str()),
                        (Some("tls"), Some("1.3"))
                    );
                    let suite = json!({ "name": "TLS_AES_128_GCM_SHA256", "identifiers": ["0x13", "0x01"] });
                    assert_eq!(of["cipherSuites"], json!([suite]));
                }
                "certificate" => keys(
                    &crypto["certificateProperties"],
                    &[
                        "subjectName",
                        "issuerName",
                        "notValidBefore",
                        "notValidAfter",
                        "signatureAlgorithmRef",
                        "subjectPublicKeyRef",
                        "certificateFormat",
                    ],
                ),
                "related-crypto-material" => {
                    let of = &crypto["relatedCryptoMaterialProperties"];
                    keys(of, &["type", "id", "size"]);
                    assert_eq!(of["type"], "public-key");
                }
                other => panic!("{other}"),
            }
        }
        for component in bill["components"].as_array().unwrap() {
            let of = &component["cryptoProperties"]["certificateProperties"];
            for field in ["signatureAlgorithmRef", "subjectPublicKeyRef"] {
                if let Some(reference) = of[field].as_str() {
                    assert!(references.contains(reference), "{reference} is nowhere");
                }
            }
        }
        let hybrid = bill["components"].as_array().unwrap().iter();
        let hybrid = { hybrid }
            .find(|one| one["name"] == "X25519MLKEM768")
            .unwrap();
        let of = &hybrid["cryptoProperties"]["algorithmProperties"];
        assert_eq!(of["nistQuantumSecurityLevel"], 3);
        assert_eq!(text, sample().cbom("a-run", "1").unwrap());
    }
}
