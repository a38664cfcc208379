//! What a run shows of each control and check.

use super::gather::{Smallest, Tally};
use super::{Finding, Verdict, VerdictKind};
use crate::control::{CONTROLS, Control, Severity, Status, control_of, is_enabled, metas};
use crate::policy::Policy;
use std::collections::BTreeMap;

/// A check that fails says what fails it, and not why others could not be judged:
/// its worst open finding, the first of these.
pub(super) fn tell_failures(verdicts: &mut [Verdict], findings: &[Finding]) {
    for verdict in verdicts {
        let (VerdictKind::Fail, Some(id)) = (verdict.verdict, verdict.check_id.as_deref()) else {
            continue;
        };
        let mut of_check = findings.iter().filter(|found| found.check_id == id);
        verdict.reason = match of_check.find(|found| found.is_open()) {
            Some(worst) => {
                let port = match worst.dst_port {
                    0 => String::new(),
                    port => format!(":{port}"),
                };
                let (why, to, id) = (worst.why(), &worst.destination, &worst.finding_id);
                format!("{why} ({to}{port}, {id})")
            }
            None => "its findings are beyond limits.max_findings".to_owned(),
        };
    }
}

/// Sums of one check or control.
struct Sum {
    by_status: [u64; 5],
    worst: Option<Severity>,
    reason: String,
    examples: Smallest<crate::evidence::FlowId>,
}

impl Sum {
    fn carried(verdict: &Verdict) -> Self {
        let mut examples = Smallest::new(10);
        for &flow in &verdict.example_flow_ids {
            examples.push(flow);
        }
        Self {
            by_status: [
                verdict.passed,
                verdict.warned,
                verdict.failed,
                verdict.refused,
                verdict.not_observed,
            ],
            worst: verdict.worst_severity,
            reason: verdict.reason.clone(),
            examples,
        }
    }

    fn of(&self, status: Status) -> u64 {
        self.by_status
            .get(status as usize)
            .copied()
            .unwrap_or_default()
    }

    fn observed(&self) -> u64 {
        self.by_status.iter().sum::<u64>() - self.of(Status::NotObserved)
    }

    /// What the control was seen to do.
    fn held(&self) -> u64 {
        self.of(Status::Passed) + self.of(Status::Refused)
    }

    /// Whether nothing that failed it is a pass. Warnings alone are one while
    /// more was judged than was not seen: a remark on what a client offers says
    /// nothing of what became of it.
    fn is_pass(&self) -> bool {
        self.held() > 0 || self.observed() > self.of(Status::NotObserved)
    }
}

/// The verdicts: each control, followed by its checks.
pub(super) fn verdicts(
    policy: &Policy,
    coverage: &BTreeMap<(u32, &'static str), Tally>,
) -> Vec<Verdict> {
    verdicts_with(policy, coverage, &BTreeMap::new())
}

/// The same, where the sums of some checks are those of an earlier verdict.
pub(super) fn verdicts_with(
    policy: &Policy,
    coverage: &BTreeMap<(u32, &'static str), Tally>,
    carried: &BTreeMap<String, Verdict>,
) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for control in CONTROLS {
        let mut total = Sum {
            by_status: [0; 5],
            worst: None,
            reason: String::new(),
            examples: Smallest::new(10),
        };
        let mut rows = Vec::new();
        for meta in metas() {
            if control_of(meta.id).is_none_or(|of| of.id != control.id) {
                continue;
            }
            let sum = match carried.get(meta.id) {
                Some(verdict) => Sum::carried(verdict),
                None => sum_of(meta.id, meta.observable_with, coverage),
            };
            for (total, more) in total.by_status.iter_mut().zip(sum.by_status) {
                *total += more;
            }
            total.worst = total.worst.max(sum.worst);
            rows.push(verdict(policy, control, Some(meta.id), meta.title, sum));
        }
        let mut failing: Vec<&str> = Vec::new();
        let mut warning: Vec<&str> = Vec::new();
        for row in &rows {
            if row.verdict == VerdictKind::Fail {
                failing.extend(row.check_id.as_deref());
                for &flow in &row.example_flow_ids {
                    total.examples.push(flow);
                }
            } else if row.worst_severity.is_some() {
                warning.extend(row.check_id.as_deref());
            }
        }
        if !failing.is_empty() {
            total.reason = format!("fails {}", failing.join(", "));
        } else if !warning.is_empty() {
            let only = if total.held() > 0 {
                "with warnings"
            } else {
                "warnings only"
            };
            total.reason = format!("{only}: {}", warning.join(", "));
        } else if total.observed() == 0 {
            total.reason = match control.id {
                "NS-02" => "no server's certificate can be seen in the capture",
                "NS-03" => "the capture holds no HTTP request to an API, in plaintext or decrypted",
                "NS-04" => "the capture holds no flow that a detector could judge",
                _ => {
                    "the capture holds no TLS handshake and no protocol outside TLS that could be \
                     recognised"
                }
            }
            .to_owned();
        }
        let mut whole = verdict(policy, control, None, control.title, total);
        // The sums may tip the scale of warnings another way than any check's.
        if whole.verdict == VerdictKind::NotObserved
            && rows.iter().any(|row| row.verdict == VerdictKind::Pass)
        {
            whole.verdict = VerdictKind::Pass;
        }
        verdicts.push(whole);
        verdicts.extend(rows);
    }
    verdicts
}

fn sum_of(
    check_id: &str,
    observable_with: &str,
    coverage: &BTreeMap<(u32, &'static str), Tally>,
) -> Sum {
    let mut sum = Sum {
        by_status: [0; 5],
        worst: None,
        reason: String::new(),
        examples: Smallest::new(10),
    };
    let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
    for ((_, id), tally) in coverage.iter() {
        if *id != check_id {
            continue;
        }
        for (total, more) in sum.by_status.iter_mut().zip(tally.by_status) {
            *total += more;
        }
        // Not from the findings: the cap may have left some out.
        sum.worst = sum.worst.max(tally.worst);
        for flow in tally.violated.sorted() {
            sum.examples.push(flow);
        }
        if let Some((reason, count)) = tally.main_reason() {
            *reasons.entry(reason.to_owned()).or_default() += count;
        }
    }
    if sum.of(Status::NotObserved) > 0 || sum.observed() == 0 {
        let main = reasons
            .into_iter()
            .max_by(|a, b| (a.1, &b.0).cmp(&(b.1, &a.0)));
        sum.reason = main.map_or_else(
            || format!("would be shown by: {observable_with}"),
            |(reason, _)| reason,
        );
    }
    sum
}

fn verdict(
    policy: &Policy,
    control: &Control,
    check_id: Option<&str>,
    title: &str,
    sum: Sum,
) -> Verdict {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let line = policy.verdicts.fail_at;
    let enabled = is_enabled(policy, check_id.unwrap_or(control.id));
    let kind = if sum.worst.is_some_and(|worst| worst >= line) {
        VerdictKind::Fail
    } else if sum.is_pass() {
        VerdictKind::Pass
    } else {
        VerdictKind::NotObserved
    };
    Verdict {
        control_id: control.id.to_owned(),
        check_id: check_id.map(str::to_owned),
        title: title.to_owned(),
        requirement: control.requirement.to_owned(),
        assurance_levels: owned(control.levels),
        stride: owned(control.stride),
        aatt: owned(control.aatt),
        verdict: kind,
        evaluated: sum.by_status.iter().sum(),
        passed: sum.of(Status::Passed),
        warned: sum.of(Status::Warned),
        failed: sum.of(Status::Failed),
        refused: sum.of(Status::Refused),
        not_observed: sum.of(Status::NotObserved),
        worst_severity: sum.worst,
        reason: if enabled {
            sum.reason
        } else {
            "disabled by the policy".to_owned()
        },
        example_flow_ids: sum.examples.into_sorted(),
    }
}
