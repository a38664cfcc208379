//! What the findings of all rules together may take. Where there are more, the
//! rules that found most give up theirs, all down to one level: a rule that fits
//! everything takes nothing from those that found little.

use super::{Problem, ProblemKind, Rule};
use crate::evidence::{FlowId, PacketRef};
use crate::finding::Finding;
use std::fmt;

/// Bytes of the findings of all rules.
const MAX_BYTES: usize = 256 << 20;

/// What is shared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    /// Findings.
    pub(super) most: usize,
    /// Their bytes.
    pub(super) bytes: usize,
}

impl Share {
    pub(super) const fn new(most: usize) -> Self {
        Self {
            most,
            bytes: MAX_BYTES,
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (most, bytes) = (self.most, self.bytes);
        write!(
            f,
            "all rules together keep {most} findings (limits.max_findings) in {bytes} bytes"
        )
    }
}

/// What one rule found.
struct Found<'r> {
    rule: &'r Rule,
    findings: Vec<Finding>,
    left_out: usize,
    told: Option<String>,
}

/// What rules found so far.
pub(super) struct Kept<'r> {
    share: Share,
    rules: Vec<Found<'r>>,
}

impl<'r> Kept<'r> {
    pub(super) const fn new(share: Share) -> Self {
        Self {
            share,
            rules: Vec::new(),
        }
    }

    /// Takes what a rule found, and what must be told of what it did not keep.
    pub(super) fn add(&mut self, rule: &'r Rule, (findings, told): (Vec<Finding>, Option<String>)) {
        if findings.is_empty() && told.is_none() {
            return;
        }
        self.rules.push(Found {
            rule,
            findings,
            left_out: 0,
            told,
        });
        self.hold(self.share.most, |_| 1);
        self.hold(self.share.bytes, bytes_of);
    }

    fn hold(&mut self, limit: usize, cost: impl Fn(&Finding) -> usize + Copy) {
        let costs = |found: &Found<'_>| found.findings.iter().map(cost).sum();
        let level = level(self.rules.iter().map(costs).collect(), limit);
        for found in &mut self.rules {
            let mut left = level;
            let kept = found.findings.iter().take_while(|finding| {
                let rest = left.checked_sub(cost(finding));
                left = rest.unwrap_or(left);
                rest.is_some()
            });
            let kept = kept.count();
            found.left_out += found.findings.len() - kept;
            found.findings.truncate(kept);
        }
    }

    /// All findings, and which rules were cut.
    pub(super) fn into_findings(self) -> (Vec<Finding>, Vec<Problem>) {
        let (mut findings, mut problems) = (Vec::new(), Vec::new());
        for found in self.rules {
            let (number, share) = (found.left_out, self.share);
            let cut = format!("{number} findings of a rule that found many are left out: {share}");
            let told = found.told.into_iter().chain((number > 0).then_some(cut));
            let told: Vec<String> = told.collect();
            if !told.is_empty() {
                let why = told.join("; ").into();
                problems.push(found.rule.problem(ProblemKind::CutShort, &why));
            }
            findings.extend(found.findings);
        }
        (findings, problems)
    }
}

/// The most that each may have so that all stay within the limit, where those that
/// have less leave the rest to the others.
fn level(mut costs: Vec<usize>, limit: usize) -> usize {
    costs.sort_unstable();
    let (mut left, mut others) = (limit, costs.len());
    for cost in costs {
        let each = left / others;
        if cost > each {
            return each;
        }
        (left, others) = (left - cost, others - 1);
    }
    usize::MAX
}

fn bytes_of(finding: &Finding) -> usize {
    let texts = [
        &finding.finding_id,
        &finding.destination,
        &finding.detail,
        &finding.title,
        &finding.explanation,
    ];
    let texts: usize = texts.iter().map(|text| text.capacity()).sum();
    size_of::<Finding>()
        + texts
        + finding.flow_ids.capacity() * size_of::<FlowId>()
        + finding.evidence.capacity() * size_of::<PacketRef>()
        + finding.attack_techniques.capacity() * size_of::<&str>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_much_gives_way_to_who_has_little() {
        for (costs, limit, expected) in [
            (vec![], 10, usize::MAX),
            (vec![3, 4, 3], 10, usize::MAX),
            (vec![11], 10, 10),
            (vec![100, 1, 2], 10, 7),
            (vec![100, 1, 200, 2], 10, 3),
            (vec![5, 5, 5, 5], 10, 2),
            (vec![1; 20], 10, 0),
        ] {
            assert_eq!(level(costs.clone(), limit), expected, "{costs:?}");
        }
    }
}
