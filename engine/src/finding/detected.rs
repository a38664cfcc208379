//! What detectors found, as findings and coverage.

use super::gather::{Tally, bounded, finding_id, sort_findings, spread};
use super::{Finding, PacketRef};
use crate::control::ns04::{Detected, Found, Judgement, Parts};
use crate::control::{Meta, Severity, Status};
use crate::flow::key::put_address;
use std::cmp::Reverse;
use std::collections::BTreeMap;

type Coverage = BTreeMap<(u32, &'static str), Tally>;

/// Takes what detectors said into the coverage and the findings. A check that
/// could not look is not observed in any of the `captures` files.
pub(super) fn take(
    detected: Vec<Detected>,
    captures: u32,
    coverage: &mut Coverage,
    findings: &mut Vec<Finding>,
) {
    for Detected { meta, judgement } in detected {
        match judgement {
            Err(reason) => {
                for capture in 0..captures {
                    let tally = coverage.entry((capture, meta.id)).or_default();
                    tally.count(Status::NotObserved, 1);
                    tally.because(reason, 1);
                }
            }
            Ok(judgement) => take_one(meta, judgement, coverage, findings),
        }
    }
}

fn take_one(
    meta: &'static Meta,
    judgement: Judgement,
    coverage: &mut Coverage,
    findings: &mut Vec<Finding>,
) {
    for (capture, count) in judgement.tally.passed {
        let tally = coverage.entry((capture, meta.id)).or_default();
        tally.count(Status::Passed, count);
    }
    for ((capture, reason), count) in judgement.tally.not_observed {
        let tally = coverage.entry((capture, meta.id)).or_default();
        tally.count(Status::NotObserved, count);
        tally.because(reason, count);
    }
    for found in judgement.found {
        let finding = finding(meta, found);
        let tally = coverage
            .entry((finding.first.capture, meta.id))
            .or_default();
        if !finding.is_open() {
            // Looked at, and explained.
            tally.count(Status::Passed, 1);
        } else if finding.severity >= Severity::Medium {
            tally.count(Status::Failed, 1);
        } else {
            tally.count(Status::Warned, 1);
        }
        if finding.is_open() {
            tally.violation(finding.severity, &finding.flow_ids);
        }
        findings.push(finding);
    }
}

fn finding(meta: &'static Meta, found: Found) -> Finding {
    let (ts_first, ts_last) = found.trail.span();
    // Several rows of one flow are one flow.
    let Parts {
        flows: flow_ids,
        flow_count,
        packets: evidence,
    } = found.trail.into_parts();
    let destination = bounded(&found.destination).to_owned();
    let mut src = String::new();
    put_address(&mut src, found.src);
    let parts = [meta.id, &src, &destination, &found.detail];
    Finding {
        finding_id: finding_id(spread(&parts, found.dst_port), meta.id, ts_first),
        ts_first,
        ts_last,
        first: evidence.first().copied().unwrap_or_else(PacketRef::default),
        check_id: meta.id,
        severity: found.severity,
        baseline: found.baseline,
        src: found.src,
        dst: found.dst,
        dst_port: found.dst_port,
        destination,
        detail: found.detail,
        flow_ids,
        flow_count,
        title: meta.title.to_owned(),
        explanation: found.explanation,
        attack_techniques: meta.attack.to_vec(),
        evidence,
        // The source itself does, whether or not it was answered.
        prevalence_hosts: found.prevalence_hosts.max(1),
        numbers: found.numbers,
    }
}

/// What detectors found, as findings alone, worst first.
pub fn found_of(detected: Vec<Detected>) -> Vec<Finding> {
    let mut findings = Vec::new();
    take(detected, 0, &mut Coverage::new(), &mut findings);
    sort_findings(&mut findings);
    findings
}

/// Holds findings to the policy's limit: the mildest go first, among equals
/// those that a hash picks. Gives how many went.
pub(super) fn hold(findings: &mut Vec<Finding>, most: usize) -> u64 {
    if findings.len() <= most {
        return 0;
    }
    findings.sort_by(|a, b| {
        (Reverse(a.severity), &a.finding_id).cmp(&(Reverse(b.severity), &b.finding_id))
    });
    let gone = findings.drain(most..).map(|finding| finding.flow_count);
    gone.fold(0, u64::saturating_add)
}
