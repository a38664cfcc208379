//! What each check must say of which chains. The certificates are those of the
//! recorded samples (`samples/pki`): made by `make.sh` there.

use super::{CHECKS, Shown};
use crate::control::testing::{broken_off, flow, tls};
use crate::control::{Fact, Outcome, Status, Wants, is_enabled};
use crate::pki::{Cert, CtLogs, Evidence, Store, Surroundings, Validator};
use crate::policy::Policy;
use crate::proto::tls::{CertVisibility, TlsHandshake};
use crate::proto::x509::{Certificate, CertificateCache};
use crate::time::CaptureTime;
use std::collections::BTreeSet;
use std::sync::Arc;

const CA: &str = include_str!("../../../../samples/pki/ca.pem");
const LEAF: &str = include_str!("../../../../samples/pki/rsa.pem");
/// RSA of 1024 bits, signed with SHA-1 by the leaf, which is no CA.
const WEAK: &str = include_str!("../../../../samples/pki/weak.pem");

/// Those of `samples/certificates.py`: staples, lists and timestamps of one leaf.
const UNIT_ROOT: &str = include_str!("../../../../samples/certificates/root.pem");
const UNIT_CA: &str = include_str!("../../../../samples/certificates/unit/ca.pem");
const UNIT_LEAF: &str = include_str!("../../../../samples/certificates/unit/leaf.pem");
const MUST_STAPLE: &str = include_str!("../../../../samples/certificates/unit/must-staple.pem");
const LOGS: &str = include_str!("../../../../samples/certificates/log.pem");
const GOOD: &[u8] = include_bytes!("../../../../samples/certificates/unit/ocsp-good.der");
const REVOKED: &[u8] = include_bytes!("../../../../samples/certificates/unit/ocsp-revoked.der");
const OLD: &[u8] = include_bytes!("../../../../samples/certificates/unit/ocsp-old.der");
const CA_GOOD: &[u8] = include_bytes!("../../../../samples/certificates/unit/ocsp-of-ca.der");
const CA_REVOKED: &[u8] =
    include_bytes!("../../../../samples/certificates/unit/ocsp-ca-revoked.der");
const SCTS: &[u8] = include_bytes!("../../../../samples/certificates/unit/scts.bin");
const FORGED: &[u8] = include_bytes!("../../../../samples/certificates/unit/scts-forged.bin");

fn der(pem: &str) -> Vec<u8> {
    crate::pki::pem_certificates(pem).next().unwrap()
}

fn certificate(pem: &str) -> Arc<Certificate> {
    CertificateCache::default().get(&der(pem))
}

fn leaf() -> Cert {
    Cert::parse(&der(LEAF).into()).unwrap()
}

/// A complete handshake that shows this chain, so many days after the leaf's start.
fn showing(chain: &[&str], host: &str, day: i64) -> TlsHandshake {
    let mut shown = tls(0x0303, 0xc02f);
    let mut client = shown.client.as_deref().cloned().unwrap_or_default();
    client.server_name = (!host.is_empty()).then(|| host.to_owned());
    shown.client = Some(Arc::new(client));
    shown.chain = chain.iter().map(|pem| certificate(pem)).collect();
    shown.cert_visibility = CertVisibility::Visible;
    shown.ts = CaptureTime::from_unix(leaf().not_before + day * 86_400, 0);
    shown.app_bytes = [120, 900];
    shown
}

/// The handshake of a server that staples these responses and sends these timestamps.
fn stapling(leaf: &str, staples: &[&[u8]], scts: Option<&[u8]>) -> TlsHandshake {
    let mut shown = showing(&[leaf, UNIT_CA], "server.example", 0);
    let mut client = shown.client.as_deref().cloned().unwrap_or_default();
    client.status_request = true;
    shown.client = Some(Arc::new(client));
    // The generator's certificates began 30 days before it ran.
    let start = Cert::parse(&der(leaf).into()).unwrap().not_before;
    shown.ts = CaptureTime::from_unix(start + 30 * 86_400, 0);
    let mut staples = staples.iter().map(|&staple| Arc::from(staple));
    shown.ocsp_staple = staples.next();
    shown.ocsp_more = staples.collect();
    shown.sct_list = scts.map(Arc::from);
    shown
}

fn judged(policy: &str, roots: &[&str], tls: &TlsHandshake) -> Vec<Outcome> {
    let policy = Policy::from_yaml(policy, "case").unwrap();
    let ders: Vec<Vec<u8>> = roots.iter().map(|pem| der(pem)).collect();
    let store = Store::of_certificates("tests", ders.iter().map(Vec::as_slice));
    let evidence = Evidence::default();
    let around = Surroundings {
        pool: None,
        evidence: &evidence,
        until: 0,
    };
    let mut logs = CtLogs::default();
    assert_eq!(logs.add_text(LOGS, "tests"), 1);
    let validator = Validator::new(store).with_logs(logs);
    let validation = validator.handshake(tls, around);
    let flow = flow(1, 0);
    let mut shown = Shown {
        flow: &flow,
        tls,
        validation: validation.as_deref(),
        before: &[],
    };
    let of = |wants, shown| -> Vec<Outcome> {
        CHECKS
            .iter()
            .filter(|check| check.meta().wants == wants && is_enabled(&policy, check.meta().id))
            .flat_map(|check| check.audit(&policy, Fact::Certificates(shown)))
            .collect()
    };
    let first = of(Wants::Certificates, shown);
    shown.before = &first;
    let second = of(Wants::Outcomes, shown);
    first.iter().cloned().chain(second).collect()
}

/// Policy, roots, handshake, and what is expected of some checks; a check
/// expected to say nothing is `None`.
type Case = (
    &'static str,
    String,
    &'static [&'static str],
    TlsHandshake,
    &'static [(&'static str, Option<Status>)],
);

const HOST: &str = "api.llm.example";

fn pinned(host: &str, key: [u8; 32]) -> String {
    use base64::Engine as _;
    let pin = base64::engine::general_purpose::STANDARD.encode(key);
    format!(
        "network:\n  certificates:\n    pinning:\n      pins:\n        - host: {host}\n          \
         pins: [sha256/{pin}]\n          include_subdomains: true\n"
    )
}

fn cases() -> Vec<Case> {
    use Status::{Failed, NotObserved, Passed, Refused, Warned};
    let none = String::new;
    let encrypted = || TlsHandshake {
        cert_visibility: CertVisibility::Encrypted,
        chain: Vec::new(),
        ..showing(&[LEAF], HOST, 1)
    };
    let silent = |mut tls: TlsHandshake| {
        tls.app_bytes = [0, 0];
        tls
    };
    vec![
        (
            "good",
            none(),
            &[CA],
            showing(&[LEAF], HOST, 1),
            &[
                ("chain", Some(Passed)),
                ("hostname", Some(Passed)),
                ("expiration", Some(Passed)),
                ("expiring_soon", Some(Passed)),
                ("self_signed", Some(Passed)),
                ("weak_key", Some(Passed)),
                ("weak_signature", Some(Passed)),
                ("accepted_anyway", Some(Passed)),
                ("pin", Some(NotObserved)),
                ("refused", None),
            ],
        ),
        (
            "unknown CA",
            none(),
            &[],
            showing(&[LEAF], HOST, 1),
            &[
                ("chain", Some(Failed)),
                ("self_signed", Some(Passed)),
                ("accepted_anyway", Some(Failed)),
            ],
        ),
        (
            "unknown CA, no data",
            none(),
            &[],
            silent(showing(&[LEAF], HOST, 1)),
            &[("accepted_anyway", Some(NotObserved))],
        ),
        (
            "unknown CA, refused",
            none(),
            &[],
            broken_off(showing(&[LEAF], HOST, 1), true, 48),
            &[
                ("chain", Some(Refused)),
                ("refused", Some(Refused)),
                ("accepted_anyway", None),
            ],
        ),
        (
            "another host",
            none(),
            &[CA],
            showing(&[LEAF], "other.example", 1),
            &[
                ("hostname", Some(Failed)),
                ("accepted_anyway", Some(Failed)),
            ],
        ),
        (
            "no name",
            none(),
            &[CA],
            showing(&[LEAF], "", 1),
            &[
                ("hostname", Some(NotObserved)),
                ("accepted_anyway", Some(Passed)),
            ],
        ),
        (
            "expired",
            none(),
            &[CA],
            showing(&[LEAF], HOST, 400),
            &[
                ("expiration", Some(Failed)),
                ("expiring_soon", None),
                ("accepted_anyway", Some(Failed)),
            ],
        ),
        (
            "not yet valid",
            none(),
            &[CA],
            showing(&[LEAF], HOST, -1),
            &[("expiration", Some(Failed))],
        ),
        (
            "about to expire",
            none(),
            &[CA],
            showing(&[LEAF], HOST, 370),
            &[
                ("expiring_soon", Some(Warned)),
                ("expiration", Some(Passed)),
            ],
        ),
        (
            "self-signed",
            none(),
            &[],
            showing(&[CA], HOST, 1),
            &[("chain", Some(Failed)), ("self_signed", Some(Failed))],
        ),
        (
            "its own root",
            none(),
            &[],
            showing(&[LEAF, CA], HOST, 1),
            &[("self_signed", Some(Failed))],
        ),
        (
            "weak",
            none(),
            &[CA],
            showing(&[WEAK, LEAF], HOST, 1),
            &[
                ("weak_signature", Some(Failed)),
                ("weak_key", Some(Failed)),
                ("chain", Some(Failed)),
            ],
        ),
        (
            "not asked to warn",
            "network:\n  certificates:\n    warn_on: []\n".to_owned(),
            &[],
            showing(&[CA], HOST, 1),
            &[
                ("self_signed", None),
                ("weak_signature", None),
                ("chain", Some(Failed)),
            ],
        ),
        (
            "pin of the leaf",
            pinned(HOST, leaf().spki_sha256),
            &[CA],
            showing(&[LEAF], HOST, 1),
            &[("pin", Some(Passed))],
        ),
        (
            "pin of a parent",
            pinned("llm.example", leaf().spki_sha256),
            &[CA],
            showing(&[LEAF], HOST, 1),
            &[("pin", Some(Passed))],
        ),
        (
            "another pin",
            pinned(HOST, [7; 32]),
            &[CA],
            showing(&[LEAF], HOST, 1),
            &[("pin", Some(Failed)), ("accepted_anyway", Some(Failed))],
        ),
        (
            "pin in a chain that is not trusted",
            pinned(HOST, leaf().spki_sha256),
            &[],
            showing(&[LEAF], HOST, 1),
            &[("pin", Some(Failed))],
        ),
        (
            "pin of another host",
            pinned("other.example", [7; 32]),
            &[CA],
            showing(&[LEAF], HOST, 1),
            &[("pin", None)],
        ),
        (
            "staple",
            none(),
            &[UNIT_ROOT],
            stapling(UNIT_LEAF, &[GOOD], Some(SCTS)),
            &[
                ("chain", Some(Passed)),
                ("revocation", Some(Passed)),
                ("ct", Some(Passed)),
                ("accepted_anyway", Some(Passed)),
            ],
        ),
        (
            "revoked",
            none(),
            &[UNIT_ROOT],
            stapling(UNIT_LEAF, &[REVOKED], Some(FORGED)),
            &[
                ("revocation", Some(Failed)),
                ("ct", Some(Warned)),
                ("accepted_anyway", Some(Failed)),
            ],
        ),
        (
            "old staple",
            none(),
            &[UNIT_ROOT],
            stapling(UNIT_LEAF, &[OLD], None),
            &[("revocation", Some(Failed)), ("ct", Some(NotObserved))],
        ),
        (
            "staples for the whole chain",
            none(),
            &[UNIT_ROOT],
            stapling(UNIT_LEAF, &[GOOD, CA_GOOD], None),
            &[("revocation", Some(Passed))],
        ),
        (
            "a CA revoked",
            none(),
            &[UNIT_ROOT],
            stapling(UNIT_LEAF, &[GOOD, CA_REVOKED], None),
            &[("revocation", Some(Failed))],
        ),
        (
            "must staple",
            none(),
            &[UNIT_ROOT],
            stapling(MUST_STAPLE, &[], None),
            &[("revocation", Some(Failed))],
        ),
        (
            "no staple",
            none(),
            &[UNIT_ROOT],
            stapling(UNIT_LEAF, &[], None),
            &[("revocation", Some(NotObserved))],
        ),
        (
            "not to be checked",
            "network:\n  certificates:\n    validation:\n      check_revocation: false\n    \
             certificate_transparency:\n      enabled: false\n"
                .to_owned(),
            &[UNIT_ROOT],
            stapling(UNIT_LEAF, &[REVOKED], Some(FORGED)),
            &[("revocation", None), ("ct", None)],
        ),
        (
            "too few timestamps",
            "network:\n  certificates:\n    certificate_transparency:\n      require_scts: 2\n"
                .to_owned(),
            &[UNIT_ROOT],
            stapling(UNIT_LEAF, &[GOOD], Some(SCTS)),
            &[("ct", Some(Warned))],
        ),
        (
            "TLS 1.3",
            none(),
            &[CA],
            encrypted(),
            &[
                ("chain", Some(NotObserved)),
                ("hostname", Some(NotObserved)),
                ("expiration", Some(NotObserved)),
                ("expiring_soon", Some(NotObserved)),
                ("self_signed", Some(NotObserved)),
                ("weak_key", Some(NotObserved)),
                ("weak_signature", Some(NotObserved)),
                ("accepted_anyway", Some(NotObserved)),
                ("refused", Some(NotObserved)),
                ("revocation", Some(NotObserved)),
                ("ct", Some(NotObserved)),
            ],
        ),
    ]
}

#[test]
fn every_case_holds() {
    let mut problems = Vec::new();
    for (name, policy, roots, tls, expected) in cases() {
        let outcomes = judged(&policy, roots, &tls);
        for (check, status) in expected {
            let id = format!("NS-02.{check}");
            let of_check: Vec<_> = outcomes.iter().filter(|o| o.check_id == id).collect();
            let holds = match status {
                Some(status) => of_check.iter().any(|o| o.status == *status),
                None => of_check.is_empty(),
            };
            if !holds {
                problems.push(format!(
                    "{name}: {id}: expected {status:?}, got {of_check:?}"
                ));
            }
        }
        for outcome in outcomes {
            if outcome.status != Status::Passed && outcome.reason.is_empty() {
                problems.push(format!("{name}: unexplained {outcome:?}"));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn every_check_has_its_cases() {
    for check in CHECKS {
        let id = check.meta().id;
        let seen: BTreeSet<Status> = cases()
            .iter()
            .flat_map(|(.., expected)| expected.iter())
            .filter(|(name, _)| id.ends_with(&format!(".{name}")))
            .filter_map(|(_, status)| *status)
            .collect();
        let violated = [Status::Failed, Status::Warned, Status::Refused];
        assert!(
            violated.iter().any(|status| seen.contains(status)),
            "{id} has no violated case"
        );
        assert!(
            seen.contains(&Status::NotObserved),
            "{id} has no case that is not observed"
        );
        // `refused` is evidence or silence.
        let passes = id == "NS-02.refused" || id == "NS-02.chain" || seen.contains(&Status::Passed);
        assert!(passes, "{id} has no passed case");
    }
}
