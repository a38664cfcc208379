//! Judging a run again from its tables: outcomes of single sessions are carried
//! over where the policy leaves them as they were, what takes many flows is
//! judged anew, and the rest is not observed.

use super::detected;
use super::gather::{Judged, Tally, coverage_row, sort_findings};
use super::verdict;
use super::{CoverageRow, Finding, Verdict};
use crate::control::ns04::Detected;
use crate::control::{self, Status, basis};
use crate::policy::Policy;
use std::collections::{BTreeMap, BTreeSet};

/// What an earlier run said.
#[derive(Debug, Default)]
pub struct Earlier {
    /// Its findings.
    pub findings: Vec<Finding>,
    /// Its coverage.
    pub coverage: Vec<CoverageRow>,
    /// Its verdicts.
    pub verdicts: Vec<Verdict>,
}

/// Why an outcome is not there.
const NEEDS_PACKETS: &str =
    "the policy changed what this check asks, and only the capture can answer: analyse it again";

/// Checks of single sessions whose outcomes cannot be carried over.
pub fn not_carried(before: &Policy, now: &Policy) -> Vec<&'static str> {
    let ids = control::REGISTRY.iter().map(|check| check.meta().id);
    ids.filter(|id| !basis::is_same(before, now, id)).collect()
}

/// Findings, coverage and verdicts under the policy of today.
pub fn judge_again(
    earlier: Earlier,
    before: &Policy,
    policy: &Policy,
    detected: Vec<Detected>,
    captures: u32,
) -> Judged {
    let lost: BTreeSet<&str> = not_carried(before, policy).into_iter().collect();
    let is_carried = |id: &str| {
        !lost.contains(id) && control::REGISTRY.iter().any(|check| check.meta().id == id)
    };
    let mut findings: Vec<Finding> = earlier
        .findings
        .into_iter()
        .filter(|finding| is_carried(finding.check_id))
        .collect();
    let mut fresh: BTreeMap<(u32, &'static str), Tally> = BTreeMap::new();
    detected::take(detected, captures, &mut fresh, &mut findings);
    for check in control::REGISTRY {
        let id = check.meta().id;
        if lost.contains(id) && control::is_enabled(policy, id) {
            for capture in 0..captures {
                let tally = fresh.entry((capture, id)).or_default();
                tally.count(Status::NotObserved, 1);
                tally.because(NEEDS_PACKETS, 1);
            }
        }
    }
    let dropped = detected::hold(&mut findings, policy.limits.max_findings);
    sort_findings(&mut findings);
    let carried: BTreeMap<String, Verdict> = earlier
        .verdicts
        .into_iter()
        .filter_map(|verdict| Some((verdict.check_id.clone()?, verdict)))
        .filter(|(id, _)| is_carried(id))
        .collect();
    let verdicts = verdict::verdicts_with(policy, &fresh, &carried);
    let mut coverage: Vec<CoverageRow> = earlier
        .coverage
        .into_iter()
        .filter(|row| is_carried(row.check_id))
        .collect();
    coverage.extend(
        fresh
            .into_iter()
            .map(|((capture, check_id), tally)| coverage_row(capture, check_id, tally)),
    );
    coverage.sort_by(|a, b| (a.capture, a.check_id).cmp(&(b.capture, b.check_id)));
    Judged {
        findings,
        coverage,
        verdicts,
        dropped,
    }
}
