//! Certificate transparency (RFC 6962): signed timestamps of a certificate from
//! its extension, the TLS extension and the OCSP response; their signatures over
//! the certificate, or over the precertificate rebuilt from it (§3.2).

use super::cert::{Cert, SCT_LIST};
use super::der::{Element, Reader, tag};
use super::hex;
use super::path::{Clock, Signatures};
use super::sig::{Hash, Key, SigAlg, Verified, verify};
use crate::error::{Error, Result};
use base64::Engine as _;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;

const LOGS: &str = include_str!("../../../rules/ct-logs.tsv");

/// Timestamps read of one list; browsers ask for two or three.
const MAX_SCTS: usize = 16;
/// Characters kept of a log's name.
const MAX_NAME: usize = 96;
/// Largest list of logs that is read, bytes.
const MAX_LOG_LIST: u64 = 16 << 20;

/// Where a timestamp was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SctSource {
    /// In the certificate.
    Certificate,
    /// In the handshake.
    Tls,
    /// In the stapled OCSP response.
    Ocsp,
}

impl SctSource {
    /// A word for tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Tls => "tls",
            Self::Ocsp => "ocsp",
        }
    }
}

/// What a timestamp comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SctStatus {
    /// Signed by a log that is known.
    Valid,
    /// Not signed by the log that it names, or of the future.
    Invalid(&'static str),
    /// It could not be checked.
    Unverified(&'static str),
}

/// A signed certificate timestamp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sct {
    /// Where it was.
    pub source: SctSource,
    /// SHA-256 of the log's key.
    pub log_id: [u8; 32],
    /// What it comes to.
    pub status: SctStatus,
    /// Log's name, where known.
    pub log: Option<Box<str>>,
}

/// The timestamps of a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transparency {
    /// In the order of their sources.
    pub scts: Vec<Sct>,
    /// Lists that do not parse, by where they were.
    pub malformed: Vec<SctSource>,
    /// Start of the certificate's validity, in seconds since 1970.
    pub not_before: i64,
}

/// A log.
#[derive(Debug)]
struct Log {
    key: Key,
    name: Box<str>,
}

/// Logs whose keys are known.
#[derive(Debug, Default)]
pub struct CtLogs {
    logs: BTreeMap<[u8; 32], Log>,
}

impl CtLogs {
    /// Those of `rules/ct-logs.tsv`.
    pub fn built_in() -> Self {
        let mut logs = Self::default();
        for line in LOGS.lines().filter(|line| !line.starts_with('#')) {
            let mut fields = line.split('\t');
            if let (Some(key), Some(name)) = (fields.next(), fields.next()) {
                logs.add(key, name);
            }
        }
        logs
    }

    /// Adds the logs of a file: Google's or Apple's `log_list.json` of any
    /// version, or public keys in PEM; how many there were.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or names no log.
    pub fn add_file(&mut self, path: &Path) -> Result<usize> {
        let read = || {
            let len = std::fs::metadata(path)?.len();
            if len > MAX_LOG_LIST {
                return Err(std::io::Error::other(format!(
                    "is longer than {MAX_LOG_LIST} bytes"
                )));
            }
            std::fs::read_to_string(path)
        };
        let text = read().map_err(|source| Error::io(path, "cannot read the logs", source))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match self.add_text(&text, &name) {
            0 => {
                let reason = "needs a log_list.json or public keys in PEM";
                let reason = std::io::Error::other(reason);
                Err(Error::io(path, "names no log", reason))
            }
            found => Ok(found),
        }
    }

    /// Adds the logs of such a text; those of PEM are called `name`.
    pub fn add_text(&mut self, text: &str, name: &str) -> usize {
        if let Ok(json) = serde_json::from_str::<serde_json::Value>(text) {
            return self.add_json(&json);
        }
        super::store::pem_blocks(text, "PUBLIC KEY")
            .filter(|der| self.add_der(der, name))
            .count()
    }

    /// Every object with a `key`, whichever version of the list it is in.
    fn add_json(&mut self, json: &serde_json::Value) -> usize {
        let mut found = 0;
        let mut left = vec![json];
        while let Some(value) = left.pop() {
            match value {
                serde_json::Value::Array(values) => left.extend(values),
                serde_json::Value::Object(fields) => {
                    let text = |name: &str| fields.get(name).and_then(serde_json::Value::as_str);
                    if let Some(key) = text("key") {
                        let name = text("description").or_else(|| text("url"));
                        found += usize::from(self.add(key, name.unwrap_or_default()));
                    }
                    left.extend(fields.values());
                }
                _ => {}
            }
        }
        found
    }

    fn add(&mut self, key: &str, name: &str) -> bool {
        base64::engine::general_purpose::STANDARD
            .decode(key)
            .is_ok_and(|der| self.add_der(&der, name))
    }

    /// Adds a log by its SubjectPublicKeyInfo.
    fn add_der(&mut self, der: &[u8], name: &str) -> bool {
        let read = || {
            let mut parts = Reader(der).sequence()?;
            let algorithm = parts.expect(tag::SEQUENCE)?;
            Some(Key::read(algorithm.content, parts.octets_of_bits()?))
        };
        let Some(key) = read() else { return false };
        let name: String = name.chars().take(MAX_NAME).collect();
        let name = name.into();
        self.logs
            .insert(Sha256::digest(der).into(), Log { key, name });
        true
    }

    /// Logs.
    pub fn len(&self) -> usize {
        self.logs.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.logs.is_empty()
    }

    /// SHA-256 over their ids.
    pub fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        self.logs.keys().for_each(|id| hash.update(id));
        hex(&hash.finalize())
    }
}

/// A SignedCertificateTimestamp as sent (RFC 6962 §3.2).
struct Raw<'a> {
    log_id: [u8; 32],
    timestamp: u64,
    extensions: &'a [u8],
    alg: Option<SigAlg>,
    signature: &'a [u8],
}

/// The timestamps of a SignedCertificateTimestampList; `None` when it is none.
fn list(bytes: &[u8]) -> Option<Vec<Option<Raw<'_>>>> {
    let (body, rest) = vec16(bytes)?;
    if !rest.is_empty() || body.is_empty() {
        return None;
    }
    let (mut left, mut found) = (body, Vec::new());
    while !left.is_empty() {
        let (one, rest) = vec16(left)?;
        left = rest;
        if found.len() < MAX_SCTS {
            found.push(timestamp(one)?);
        }
    }
    Some(found)
}

/// One; `Some(None)` when it is of a version that is not known.
fn timestamp(bytes: &[u8]) -> Option<Option<Raw<'_>>> {
    let (&version, rest) = bytes.split_first()?;
    if version != 0 {
        return Some(None);
    }
    let (&log_id, rest) = rest.split_first_chunk::<32>()?;
    let (&millis, rest) = rest.split_first_chunk::<8>()?;
    let (extensions, rest) = vec16(rest)?;
    let (&[hash, kind], rest) = rest.split_first_chunk::<2>()?;
    let (signature, rest) = vec16(rest)?;
    // RFC 6962 §2.1.4: SHA-256 with RSA or ECDSA.
    let alg = match (hash, kind) {
        (4, 1) => Some(SigAlg::RsaPkcs1(Hash::Sha256)),
        (4, 3) => Some(SigAlg::Ecdsa(Hash::Sha256)),
        _ => None,
    };
    rest.is_empty().then_some(Some(Raw {
        log_id,
        timestamp: u64::from_be_bytes(millis),
        extensions,
        alg,
        signature,
    }))
}

fn vec16(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&len, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(len)))
}

/// What was signed, apart from the timestamp: entry_type and signed_entry.
enum Entry {
    X509,
    /// issuer_key_hash and the TBSCertificate without its timestamps.
    Precert([u8; 32], Vec<u8>),
}

/// Reads and checks timestamps.
pub(super) struct Inspector<'a> {
    pub(super) logs: &'a CtLogs,
    pub(super) signatures: &'a Signatures,
    pub(super) clock: &'a mut Clock,
}

impl Inspector<'_> {
    /// All timestamps of the certificate that heads `path`; `tls` and `ocsp` are
    /// lists from elsewhere.
    pub(super) fn run(
        &mut self,
        path: &[std::sync::Arc<Cert>],
        tls: Option<&[u8]>,
        ocsp: Option<&[u8]>,
    ) -> Transparency {
        let mut result = Transparency::default();
        let Some(leaf) = path.first() else {
            return result;
        };
        result.not_before = leaf.not_before;
        if let Some(scts) = &leaf.ext.scts {
            let entry = path
                .get(1)
                .and_then(|issuer| Some(Entry::Precert(issuer.spki_sha256, precertificate(leaf)?)));
            self.list(
                leaf,
                SctSource::Certificate,
                scts,
                entry.as_ref(),
                &mut result,
            );
        }
        if let Some(scts) = tls {
            self.list(leaf, SctSource::Tls, scts, Some(&Entry::X509), &mut result);
        }
        if let Some(scts) = ocsp {
            self.list(leaf, SctSource::Ocsp, scts, Some(&Entry::X509), &mut result);
        }
        result
    }

    fn list(
        &mut self,
        leaf: &Cert,
        source: SctSource,
        bytes: &[u8],
        entry: Option<&Entry>,
        result: &mut Transparency,
    ) {
        let Some(found) = list(bytes) else {
            result.malformed.push(source);
            return;
        };
        for raw in found {
            let Some(raw) = raw else {
                result.scts.push(Sct {
                    source,
                    log_id: [0; 32],
                    status: SctStatus::Unverified("of a version that is not known"),
                    log: None,
                });
                continue;
            };
            let log = self.logs.logs.get(&raw.log_id);
            let status = self.check(leaf, &raw, log, entry);
            result.scts.push(Sct {
                source,
                log_id: raw.log_id,
                status,
                log: log.map(|log| log.name.clone()),
            });
        }
    }

    fn check(
        &mut self,
        leaf: &Cert,
        raw: &Raw<'_>,
        log: Option<&Log>,
        entry: Option<&Entry>,
    ) -> SctStatus {
        let seconds = i64::try_from(raw.timestamp / 1_000).unwrap_or(i64::MAX);
        if !self.clock.reached(seconds) {
            return SctStatus::Invalid("is of the future");
        }
        let Some(log) = log else {
            return SctStatus::Unverified("names a log whose key is not known");
        };
        let Some(entry) = entry else {
            return SctStatus::Unverified("is about an issuer that is not in the chain");
        };
        let Some(alg) = &raw.alg else {
            return SctStatus::Invalid("has a signature algorithm that is not allowed");
        };
        // digitally-signed struct of RFC 6962 §3.2.
        let mut signed = vec![0, 0];
        signed.extend_from_slice(&raw.timestamp.to_be_bytes());
        let bytes = match entry {
            Entry::X509 => {
                signed.extend_from_slice(&[0, 0]);
                &leaf.der[..]
            }
            Entry::Precert(issuer, tbs) => {
                signed.extend_from_slice(&[0, 1]);
                signed.extend_from_slice(issuer);
                tbs
            }
        };
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
        signed.extend_from_slice(len.get(1..).unwrap_or_default());
        signed.extend_from_slice(bytes);
        let extensions = u16::try_from(raw.extensions.len()).unwrap_or(u16::MAX);
        signed.extend_from_slice(&extensions.to_be_bytes());
        signed.extend_from_slice(raw.extensions);
        let mut whole = Sha256::new();
        whole.update(&signed);
        whole.update(raw.signature);
        let verified = self
            .signatures
            .remembered((whole.finalize().into(), raw.log_id), || {
                verify(alg, &log.key, &signed, raw.signature)
            });
        match verified {
            Verified::Good => SctStatus::Valid,
            Verified::Bad => SctStatus::Invalid("has a signature that is not its log's"),
            Verified::Unsupported => {
                SctStatus::Unverified("has a signature that cannot be checked here")
            }
        }
    }
}

/// The TBSCertificate without its timestamps (RFC 6962 §3.2), as the log signed it.
fn precertificate(cert: &Cert) -> Option<Vec<u8>> {
    let tbs = Reader(cert.tbs()).expect(tag::SEQUENCE)?;
    let mut fields = tbs.reader();
    let mut content = Vec::with_capacity(tbs.content.len());
    while !fields.is_empty() {
        let field = fields.any()?;
        if field.tag != tag::explicit(3) {
            content.extend_from_slice(field.whole);
            continue;
        }
        let mut kept = Vec::with_capacity(field.content.len());
        let mut list = field.reader().sequence()?;
        while !list.is_empty() {
            let extension = list.expect(tag::SEQUENCE)?;
            if !is_sct_list(extension)? {
                kept.extend_from_slice(extension.whole);
            }
        }
        if !kept.is_empty() {
            let list = encode(tag::SEQUENCE, &kept);
            content.extend_from_slice(&encode(tag::explicit(3), &list));
        }
    }
    Some(encode(tag::SEQUENCE, &content))
}

fn is_sct_list(extension: Element<'_>) -> Option<bool> {
    Some(extension.reader().expect(tag::OID)?.content == SCT_LIST)
}

/// An element in DER.
fn encode(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let len = content.len().to_be_bytes();
    let zeros = len.iter().take_while(|&&byte| byte == 0).count();
    let digits = len.get(zeros..).unwrap_or_default();
    match digits {
        [] => out.push(0),
        &[short] if short < 0x80 => out.push(short),
        digits => {
            out.push(0x80 | u8::try_from(digits.len()).unwrap_or(8));
            out.extend_from_slice(digits);
        }
    }
    out.extend_from_slice(content);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCTS: &[u8] = include_bytes!("../../../samples/certificates/unit/scts.bin");

    #[test]
    fn lists_are_read_whole_or_not_at_all() {
        assert_eq!(list(SCTS).map(|found| found.len()), Some(1));
        for at in 0..SCTS.len() {
            assert!(list(&SCTS[..at]).is_none(), "{at}");
        }
        // RFC 6962 §3.3: never empty; a version that is not known is passed over.
        assert!(list(&[0, 0]).is_none());
        assert!(matches!(list(&[0, 4, 0, 2, 9, 9]).as_deref(), Some([None])));
    }

    /// X.690 §8.1.3.
    #[test]
    fn lengths_are_written_in_their_shortest_form() {
        for (len, head) in [
            (0_usize, &[4, 0][..]),
            (127, &[4, 127]),
            (128, &[4, 0x81, 128]),
            (256, &[4, 0x82, 1, 0]),
        ] {
            let whole = encode(4, &vec![7; len]);
            assert_eq!(&whole[..head.len()], head);
            assert_eq!(Reader(&whole).any().map(|e| e.content.len()), Some(len));
        }
    }

    #[track_caller]
    fn logs(text: &str, expected: usize) {
        assert_eq!(
            CtLogs::default().add_text(text, "a file"),
            expected,
            "{text}"
        );
    }

    #[test]
    fn logs_are_read_from_any_version_of_the_list() {
        let built_in = CtLogs::built_in();
        assert!(built_in.len() > 130, "{}", built_in.len());
        // Ids as Google's list has them: of Argon2021 and Argon2026h1.
        for id in [
            "9lyUL9F3MCIUVBgIMJRWjuNNExkzv98MLyALzE7xZOM=",
            "DleUvPOuqT4zGyyZB7P3kN+bwj1xMiXdIaklrGHFTiE=",
        ] {
            let id = base64::engine::general_purpose::STANDARD.decode(id);
            let id: [u8; 32] = id.unwrap().try_into().unwrap();
            assert!(built_in.logs.contains_key(&id));
        }
        let key = LOGS.lines().last().and_then(|line| line.split('\t').next());
        let key = key.unwrap_or_default();
        logs(&format!(r#"{{"logs":[{{"key":"{key}","url":"x"}}]}}"#), 1);
        logs(
            &format!(
                r#"{{"operators":[{{"name":"o","logs":[{{"description":"d","key":"{key}"}}]}}]}}"#
            ),
            1,
        );
        logs(
            &format!("-----BEGIN PUBLIC KEY-----\n{key}\n-----END PUBLIC KEY-----\n"),
            1,
        );
        logs(r#"{"logs":[{"key":"AAAA"}]}"#, 0);
        logs("", 0);
    }
}
