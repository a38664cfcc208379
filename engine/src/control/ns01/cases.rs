//! What each check must say of which facts, written down from the controls'
//! document apart from the code. `docs/controls.md` lists the checks.

mod plaintext;
mod tls;

use super::CHECKS;
use crate::control::testing::{broken_off, client, flow, hello, tls, tls13};
use crate::control::{Fact, Severity, Status, audit_flow};
use crate::flow::EndReason;
use crate::policy::Policy;
use crate::proto::SessionFacts;
use crate::proto::plain::PlaintextFacts;
use crate::proto::tls::TlsHandshake;
use std::collections::BTreeSet;

/// What a check is asked about.
enum Input {
    Tls(TlsHandshake),
    /// The same on another port than 443.
    TlsOn(u16, TlsHandshake),
    Plain(PlaintextFacts),
}

/// One expected outcome: status, severity, detail.
type Expected = (Status, Severity, &'static str);

/// One row of the tables.
struct Case {
    check: &'static str,
    /// What the facts show.
    name: &'static str,
    /// Policy in YAML; empty for the built-in one.
    policy: &'static str,
    input: Input,
    expected: Vec<Expected>,
}

const PASSED: Expected = (Status::Passed, Severity::Info, "");
const NOT_OBSERVED: Expected = (Status::NotObserved, Severity::Info, "");

/// A violation that fails its control by default.
const fn failed(severity: Severity, detail: &'static str) -> Expected {
    (Status::Failed, severity, detail)
}

/// A violation that does not.
const fn warned(severity: Severity, detail: &'static str) -> Expected {
    (Status::Warned, severity, detail)
}

/// Evidence that the control works.
const fn refused(detail: &'static str) -> Expected {
    (Status::Refused, Severity::Info, detail)
}

fn all() -> Vec<Case> {
    let mut cases = plaintext::cases();
    cases.extend(tls::cases());
    cases
}

/// What is wrong with a case; nothing when it holds.
fn problem(case: &Case) -> Option<String> {
    let policy = Policy::from_yaml(case.policy, case.name).unwrap();
    let check = CHECKS
        .iter()
        .find(|check| check.meta().id == case.check)
        .unwrap();
    let mut flow = flow(1, 0);
    let outcomes = match &case.input {
        Input::Tls(tls) => check.audit(&policy, Fact::Tls(&flow, tls)),
        Input::TlsOn(port, tls) => {
            flow.dst_port = *port;
            check.audit(&policy, Fact::Tls(&flow, tls))
        }
        Input::Plain(facts) => check.audit(&policy, Fact::Plaintext(&flow, facts)),
    };
    let actual: Vec<_> = outcomes
        .iter()
        .map(|outcome| (outcome.status, outcome.severity, outcome.detail.as_str()))
        .collect();
    let unexplained = outcomes
        .iter()
        .any(|outcome| outcome.status != Status::Passed && outcome.reason.is_empty());
    let foreign = outcomes
        .iter()
        .any(|outcome| outcome.check_id != case.check);
    (actual != case.expected || unexplained || foreign).then(|| {
        format!(
            "{}, {}:\n  expected {:?}\n  but got  {outcomes:?}",
            case.check, case.name, case.expected
        )
    })
}

#[test]
fn every_case_holds() {
    let problems: Vec<_> = all().iter().filter_map(problem).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn every_check_has_a_violated_a_passed_and_a_not_observed_case() {
    let cases = all();
    for check in CHECKS {
        let seen: BTreeSet<Status> = cases
            .iter()
            .filter(|case| case.check == check.meta().id)
            .flat_map(|case| case.expected.iter().map(|(status, ..)| *status))
            .collect();
        let id = check.meta().id;
        let violated = seen.contains(&Status::Failed) || seen.contains(&Status::Warned);
        assert!(violated, "{id} has no violated case");
        assert!(seen.contains(&Status::Passed), "{id} has no passed case");
        let unknown = seen.contains(&Status::NotObserved);
        assert!(unknown, "{id} has no case that is not observed");
    }
}

#[test]
fn every_usual_severity_occurs() {
    let cases = all();
    for check in CHECKS {
        let meta = check.meta();
        let occurs = cases
            .iter()
            .filter(|case| case.check == meta.id)
            .flat_map(|case| &case.expected)
            .any(|(status, severity, _)| {
                matches!(status, Status::Failed | Status::Warned) && *severity == meta.severity
            });
        assert!(occurs, "{}: {}", meta.id, meta.severity.name());
    }
}

#[test]
fn a_handshake_that_its_ends_gave_up_is_incomplete() {
    let policy = Policy::built_in();
    let check = CHECKS
        .iter()
        .find(|check| check.meta().id == "NS-01.handshake")
        .unwrap();
    let half = || hello(client(0x0303, &[0x0304], &[0x1301]));
    let told = |end_reason, missed_bytes, handshake: &TlsHandshake| {
        let mut flow = flow(1, 0);
        flow.end_reason = end_reason;
        flow.resp.missed_bytes = missed_bytes;
        let outcomes = check.audit(&policy, Fact::Tls(&flow, handshake));
        outcomes[0].status
    };
    assert_eq!(told(EndReason::Fin, 0, &half()), Status::Warned);
    assert_eq!(told(EndReason::Rst, 0, &half()), Status::Warned);
    // The capture ends, bytes are missing: it may have gone on.
    assert_eq!(told(EndReason::Eof, 0, &half()), Status::NotObserved);
    assert_eq!(told(EndReason::Timeout, 0, &half()), Status::NotObserved);
    assert_eq!(told(EndReason::Fin, 100, &half()), Status::NotObserved);
    // A refusal is no accident.
    let refused = broken_off(half(), false, 70);
    assert_eq!(told(EndReason::Fin, 0, &refused), Status::NotObserved);
    assert_eq!(told(EndReason::Fin, 0, &tls13()), Status::Passed);
}

#[test]
fn clients_refuse_in_many_words() {
    let policy = Policy::built_in();
    let told = |check_id, alert| {
        let check = CHECKS.iter().find(|check| check.meta().id == check_id);
        let handshake = broken_off(tls(0x0301, 0x0005), true, alert);
        let flow = flow(1, 0);
        let outcomes = check.unwrap().audit(&policy, Fact::Tls(&flow, &handshake));
        outcomes[0].status
    };
    for check in ["NS-01.tls_version", "NS-01.cipher_suite"] {
        for alert in [10, 40, 47, 50, 70, 71, 80, 110] {
            assert_eq!(told(check, alert), Status::Refused, "{check} {alert}");
        }
        // Something else was wrong: close_notify, certificates, the user.
        for alert in [0, 42, 45, 48, 90] {
            assert_eq!(told(check, alert), Status::Failed, "{check} {alert}");
        }
    }
}

#[test]
fn payload_that_nobody_knows_is_not_observed_to_be_plaintext() {
    let told = |change: fn(&mut crate::flow::FlowRecord, &mut SessionFacts)| {
        let (mut flow, mut facts) = (flow(1, 0), SessionFacts::default());
        change(&mut flow, &mut facts);
        let audited = audit_flow(&Policy::built_in(), &flow, &facts, &[]);
        let plain = audited.plaintext.iter();
        plain
            .map(|outcome| (outcome.check_id, outcome.status))
            .collect::<Vec<_>>()
    };
    let unknown = [("NS-01.plaintext", Status::NotObserved)];
    assert_eq!(told(|_, _| {}), unknown);
    assert_eq!(told(|flow, _| flow.ip_proto = 17), unknown);
    // Pings, tunnels, attempts that said nothing, services that are known.
    assert_eq!(told(|flow, _| flow.ip_proto = 1), []);
    assert_eq!(told(|flow, _| flow.ip_proto = 47), []);
    let silent = |flow: &mut crate::flow::FlowRecord, _: &mut SessionFacts| {
        (flow.orig.bytes, flow.resp.bytes) = (0, 0);
    };
    assert_eq!(told(silent), []);
    assert_eq!(told(|flow, _| flow.service = Some("quic".into())), []);
    assert_eq!(told(|_, facts| facts.tls.push(tls13())).len(), 0);
}
