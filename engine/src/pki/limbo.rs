//! Every case of x509-limbo (C2SP) through this validation, beside what
//! rustls-webpki alone says. A case is left out only by a feature that it
//! declares. `NSF_LIMBO` names the folder; without it the test says so.

use super::{Class, HostMatch, Kind, Store, Validator, der, pem_certificates};
use crate::proto::x509::CertificateCache;
use crate::time::CaptureTime;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Features that ask for what a capture's policy cannot say.
const LEFT_OUT: [&str; 2] = ["max-chain-depth", "has-crl"];

/// Cases that come out otherwise: expected, actual, reason.
const EXCEPTIONS: &[(&str, &str, &str, &str)] = &[
    (
        "rfc5280::nc::permitted-dn-match",
        "SUCCESS",
        "FAILURE",
        "the release of 2023 asks for a host name that the certificate does not have; later ones do not",
    ),
    (
        "webpki::cn::ipv4-hex-mismatch",
        "FAILURE",
        "SUCCESS",
        "the common name 0xC0A80101 is no address and no host name to any client: RFC 9525 does not look at it",
    ),
    (
        "webpki::eku::ee-without-eku",
        "FAILURE",
        "SUCCESS",
        "RFC 5280 lets a server's certificate go without extKeyUsage, as clients do; only publicly trusted ones are warned of",
    ),
];

fn folder() -> Option<PathBuf> {
    let named = std::env::var_os("NSF_LIMBO").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/limbo");
    let folder = named.unwrap_or(beside);
    folder.is_dir().then_some(folder)
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn texts<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = &'v str> {
    value
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

fn ders(value: &Value, key: &str) -> Vec<Vec<u8>> {
    texts(value, key).flat_map(pem_certificates).collect()
}

/// RFC 3339; today where the case names no time.
fn time(case: &Value) -> CaptureTime {
    let text = text(case, "validation_time");
    let Some((seconds, rest)) = text.split_at_checked(19) else {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        return CaptureTime::from_unix(now.as_secs().try_into().unwrap(), 0);
    };
    let digits: String = seconds.chars().filter(char::is_ascii_digit).collect();
    let seconds = der::time(der::tag::GENERALIZED_TIME, format!("{digits}Z").as_bytes());
    let half = if rest.starts_with('.') {
        500_000_000
    } else {
        0
    };
    CaptureTime::from_unix(seconds.unwrap(), half)
}

/// Ours: whether a client may accept it, and whether anything was found at all.
fn ours(case: &Value) -> (bool, bool, Vec<String>) {
    let roots = ders(case, "trusted_certs");
    let store = Store::of_certificates("limbo", roots.iter().map(Vec::as_slice));
    let mut cache = CertificateCache::default();
    let leaf = pem_certificates(text(case, "peer_certificate"))
        .next()
        .unwrap();
    let mut chain = vec![cache.get(&leaf)];
    chain.extend(
        ders(case, "untrusted_intermediates")
            .iter()
            .map(|der| cache.get(der)),
    );
    let validation = Validator::new(store).chain(&chain, time(case), None);
    // What a server's certificate is for does not concern a client's.
    let client = text(case, "validation_kind") == "CLIENT";
    let faults: Vec<_> = validation
        .faults
        .iter()
        .filter(|fault| !(client && fault.kind == Kind::Usage))
        .collect();
    let host = case
        .get("expected_peer_name")
        .map(|name| text(name, "value"));
    let named = match host.unwrap_or_default() {
        "" => true,
        host => validation.stands_for(host) == HostMatch::Stands,
    };
    let acceptable = faults
        .iter()
        .all(|fault| fault.kind.class() == Class::Profile);
    let mut why: Vec<String> = faults.iter().map(|fault| fault.text.clone()).collect();
    if !named {
        why.push("another name".to_owned());
    }
    (acceptable && named, faults.is_empty() && named, why)
}

fn webpki_alone(case: &Value) -> bool {
    let (roots, leaf) = (
        ders(case, "trusted_certs"),
        pem_certificates(text(case, "peer_certificate"))
            .next()
            .unwrap(),
    );
    let roots: Vec<CertificateDer<'_>> = roots.iter().map(|der| der.as_slice().into()).collect();
    let between = ders(case, "untrusted_intermediates");
    let between: Vec<CertificateDer<'_>> =
        between.iter().map(|der| der.as_slice().into()).collect();
    let verify = || -> Option<()> {
        let anchors: Vec<_> = roots
            .iter()
            .filter_map(|root| webpki::anchor_from_trusted_cert(root).ok())
            .collect();
        let leaf = CertificateDer::from(leaf.as_slice());
        let leaf = webpki::EndEntityCert::try_from(&leaf).ok()?;
        let seconds = u64::try_from(time(case).as_nanos() / 1_000_000_000).ok()?;
        let usage = match text(case, "validation_kind") {
            "CLIENT" => webpki::KeyUsage::client_auth(),
            _ => webpki::KeyUsage::server_auth(),
        };
        leaf.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &anchors,
            &between,
            UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)),
            usage,
            None,
            None,
        )
        .ok()?;
        let host = case
            .get("expected_peer_name")
            .map(|name| text(name, "value"));
        match host.unwrap_or_default() {
            "" => Some(()),
            host => leaf
                .verify_is_valid_for_subject_name(&ServerName::try_from(host).ok()?)
                .ok(),
        }
    };
    verify().is_some()
}

#[test]
fn limbo_agrees() {
    let Some(folder) = folder() else {
        eprintln!("SKIPPED limbo_agrees: no x509-limbo here (set NSF_LIMBO)");
        return;
    };
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().ends_with(".json.gz"))
        .collect();
    files.sort();
    let (mut all, mut out, mut agree, mut by_warning, mut webpki) = (0, 0, 0, 0, 0);
    let mut differ: BTreeMap<String, (String, String, Vec<String>)> = BTreeMap::new();
    for file in files {
        let mut json = String::new();
        flate2::read::GzDecoder::new(std::fs::File::open(file).unwrap())
            .read_to_string(&mut json)
            .unwrap();
        let suite: Value = serde_json::from_str(&json).unwrap();
        for case in suite.get("testcases").and_then(Value::as_array).unwrap() {
            all += 1;
            if texts(case, "features").any(|feature| LEFT_OUT.contains(&feature)) {
                out += 1;
                continue;
            }
            let (expected, id) = (text(case, "expected_result"), text(case, "id"));
            let success = expected == "SUCCESS";
            let (acceptable, flawless, why) = ours(case);
            webpki += usize::from(webpki_alone(case) == success);
            let actual = match (acceptable, flawless) {
                (true, true) => "SUCCESS",
                (true, false) => "WARNING",
                _ => "FAILURE",
            };
            by_warning += usize::from(!success && actual == "WARNING");
            if success == acceptable || !success && !flawless {
                agree += 1;
            } else {
                differ.insert(id.to_owned(), (expected.to_owned(), actual.to_owned(), why));
            }
        }
    }
    let applicable = all - out;
    eprintln!(
        "x509-limbo: {all} cases, {out} left out by feature; of {applicable}: {agree} agree \
         ({by_warning} of them as warnings), rustls-webpki alone {webpki}"
    );
    for (id, (expected, actual, why)) in &differ {
        eprintln!("  {id}: expected {expected}, got {actual}: {why:?}");
    }
    let known = |id: &str| EXCEPTIONS.iter().any(|(known, ..)| *known == id);
    let unknown: Vec<_> = differ.keys().filter(|id| !known(id)).collect();
    assert!(
        unknown.is_empty(),
        "not in the list of exceptions: {unknown:?}"
    );
    let settled: Vec<_> = EXCEPTIONS
        .iter()
        .filter(|(id, ..)| !differ.contains_key(*id))
        .collect();
    assert!(settled.is_empty(), "agree by now: {settled:?}");
    assert!(agree * 100 >= applicable * 97, "{agree} of {applicable}");
}
