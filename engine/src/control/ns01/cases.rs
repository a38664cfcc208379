//! What each check must say of which facts, written down from the controls'
//! document apart from the code. `docs/controls.md` lists the checks.

mod plaintext;
mod tls;

use crate::control::testing::flow;
use crate::control::{Fact, REGISTRY, Severity, Status};
use crate::policy::Policy;
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
    let check = REGISTRY
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
    for check in REGISTRY {
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
    for check in REGISTRY {
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
