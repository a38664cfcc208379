//! Judging a run again from its tables: outcomes of single sessions are carried
//! over where the policy leaves them as they were, check by check; what the rows
//! of handshakes can answer, and what takes many flows, is judged anew; and the
//! rest is not observed.

use super::detected;
use super::gather::{Gatherer, Judged, Tally, coverage_row, sort_findings};
use super::verdict;
use super::{CoverageRow, Finding, Verdict};
use crate::control::ns01::OF_ROWS;
use crate::control::ns02::{DECISIVE, Kept};
use crate::control::ns04::Detected;
use crate::control::{self, Outcome, Status, basis};
use crate::evidence::{FlowId, PacketRef};
use crate::policy::Policy;
use crate::time::CaptureTime;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

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

/// A handshake, and between whom it was.
#[derive(Clone, Debug)]
pub struct HandshakeBack {
    /// Its flow.
    pub flow_id: FlowId,
    /// File of the flow's first packet.
    pub capture: u32,
    /// Payload of the flow, both ways.
    pub bytes: u64,
    /// How many handshakes the flow has.
    pub of_flow: u32,
    /// Originator.
    pub src: IpAddr,
    /// Responder.
    pub dst: IpAddr,
    /// Responder's port.
    pub dst_port: u16,
    /// Name, else address, of the destination.
    pub destination: String,
    /// Its first packet's time.
    pub ts: CaptureTime,
    /// Its first packet.
    pub first: PacketRef,
    /// The handshake.
    pub kept: Kept,
    /// Checks that a validating client makes, and which failed.
    pub failed: Vec<&'static str>,
}

/// Why an outcome is not there.
const NEEDS_PACKETS: &str =
    "the policy changed what this check asks, and only the capture can answer: analyse it again";

const PIN: &str = "NS-02.pin";
const ACCEPTED: &str = "NS-02.accepted_anyway";

/// Checks of single sessions of which the policy changed what they ask.
fn changed(before: &Policy, now: &Policy) -> BTreeSet<&'static str> {
    let ids = control::REGISTRY.iter().map(|check| check.meta().id);
    ids.filter(|id| !basis::is_same(before, now, id)).collect()
}

/// Checks that are judged anew from rows of handshakes.
#[derive(Debug)]
pub struct FromRows {
    ids: BTreeSet<&'static str>,
    gatherer: Gatherer,
    /// What was counted already of flows with several handshakes.
    seen: BTreeSet<(FlowId, &'static str, String)>,
}

impl FromRows {
    /// For what changed between two policies and rows can answer. Their column
    /// `checks` counts only where it was written under the policy of `before`.
    pub fn new(before: &Policy, now: &Policy, checks_are_of_before: bool) -> Self {
        let changed = changed(before, now);
        let is_asked = |id: &&str| changed.contains(id) && control::is_enabled(now, id);
        let ids = OF_ROWS.iter().map(|(id, _)| *id).chain([PIN]);
        let mut ids: BTreeSet<&'static str> = ids.filter(is_asked).collect();
        if changed.contains(PIN)
            && before.network.certificates.trust_store != now.network.certificates.trust_store
        {
            // Another store may lead to another path.
            ids.remove(PIN);
        }
        // Builds on the five that a validating client makes.
        let is_known =
            |id: &&str| !control::is_enabled(now, id) || !changed.contains(id) || ids.contains(id);
        if is_asked(&ACCEPTED) && checks_are_of_before && DECISIVE.iter().all(is_known) {
            ids.insert(ACCEPTED);
        }
        Self {
            ids,
            gatherer: Gatherer::new(now),
            seen: BTreeSet::new(),
        }
    }

    /// Whether there is nothing to ask of rows.
    pub fn is_nothing(&self) -> bool {
        self.ids.is_empty()
    }

    /// Judges one.
    pub fn add(&mut self, policy: &Policy, back: &HandshakeBack) {
        let mut outcomes: Vec<Outcome> = Vec::new();
        for (id, judge) in OF_ROWS {
            if self.ids.contains(id) {
                outcomes.extend(judge(policy, &back.kept.tls));
            }
        }
        let pin = match self.ids.contains(PIN) {
            true => back.kept.pin(policy),
            false => Vec::new(),
        };
        if self.ids.contains(ACCEPTED) {
            let failed = back
                .failed
                .iter()
                .copied()
                .filter(|&id| control::is_enabled(policy, id) && !self.ids.contains(id));
            let of_pin = pin.iter().filter(|one| one.status == Status::Failed);
            let failed = failed.chain(of_pin.map(|one| one.check_id)).collect();
            outcomes.extend(back.kept.accepted_anyway(failed));
        }
        outcomes.extend(pin);
        self.gatherer.add_back(back, &outcomes, &mut self.seen);
    }
}

/// Checks of single sessions that only the capture can answer now.
pub fn not_judged_again(
    before: &Policy,
    now: &Policy,
    from_rows: Option<&FromRows>,
) -> Vec<&'static str> {
    changed(before, now)
        .into_iter()
        .filter(|id| control::is_enabled(now, id))
        .filter(|id| from_rows.is_none_or(|rows| !rows.ids.contains(id)))
        .collect()
}

/// Findings, coverage and verdicts under the policy of today.
pub fn judge_again(
    earlier: Earlier,
    before: &Policy,
    policy: &Policy,
    from_rows: Option<FromRows>,
    detected: Vec<Detected>,
    captures: u32,
) -> Judged {
    let changed = changed(before, policy);
    let lost = not_judged_again(before, policy, from_rows.as_ref());
    let is_carried = |id: &str| {
        !changed.contains(id) && control::REGISTRY.iter().any(|check| check.meta().id == id)
    };
    let mut findings: Vec<Finding> = earlier
        .findings
        .into_iter()
        .filter(|finding| is_carried(finding.check_id))
        .collect();
    let mut dropped = 0;
    let mut fresh: BTreeMap<(u32, &'static str), Tally> = BTreeMap::new();
    if let Some(rows) = from_rows {
        let (found, coverage, more) = rows.gatherer.into_parts();
        findings.extend(found);
        fresh = coverage;
        dropped = more;
    }
    detected::take(detected, captures, &mut fresh, &mut findings);
    for id in lost {
        for capture in 0..captures {
            let tally = fresh.entry((capture, id)).or_default();
            tally.count(Status::NotObserved, 1);
            tally.because(NEEDS_PACKETS, 1);
        }
    }
    dropped += detected::hold(&mut findings, policy.limits.max_findings);
    sort_findings(&mut findings);
    let carried: BTreeMap<String, Verdict> = earlier
        .verdicts
        .into_iter()
        .filter_map(|verdict| Some((verdict.check_id.clone()?, verdict)))
        .filter(|(id, _)| is_carried(id))
        .collect();
    let mut verdicts = verdict::verdicts_with(policy, &fresh, &carried);
    verdict::tell_failures(&mut verdicts, &findings);
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
