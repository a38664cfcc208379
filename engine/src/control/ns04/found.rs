//! What a detector gives back: subjects that violate, with the numbers behind
//! them and the packets to look at, and how much it could judge.

use super::rows::{NameId, Names, Seen};
use crate::control::Meta;
use crate::evidence::{FlowId, PacketRef};
use crate::policy::Policy;
use crate::severity::Severity;
use crate::time::CaptureTime;
use hashbrown::HashSet;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A measured value against its threshold.
#[derive(Clone, Debug, PartialEq)]
pub struct Measure {
    /// What was measured, such as `cv`.
    pub metric: Cow<'static, str>,
    /// Its value.
    pub observed: f64,
    /// The value that decides.
    pub threshold: f64,
    /// How the two are compared: `>`, `>=`, `<`.
    pub comparator: Cow<'static, str>,
    /// Unit, such as `byte` or `ratio`.
    pub unit: Cow<'static, str>,
}

impl Measure {
    /// Of fixed words.
    pub fn of(
        metric: &'static str,
        observed: f64,
        comparator: &'static str,
        threshold: f64,
        unit: &'static str,
    ) -> Self {
        Self {
            metric: metric.into(),
            observed,
            threshold,
            comparator: comparator.into(),
            unit: unit.into(),
        }
    }

    /// A score against the one from which on it is a finding.
    pub fn score(observed: f64, threshold: f64) -> Self {
        Self::of("score", rounded(observed), ">=", threshold, "ratio")
    }
}

/// The numbers of a finding. Null where a detector has no such number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Numbers {
    /// 0 to 1: how far it looks like what the check is after.
    pub score: Option<f32>,
    /// 0 to 1: how much evidence the score stands on.
    pub confidence: Option<f32>,
    /// What the literal rule, else the score, compares.
    pub measure: Option<Measure>,
    /// Mean gap between events, seconds.
    pub interval_seconds: Option<f64>,
    /// Coefficient of variation of the gaps.
    pub cv: Option<f64>,
    /// Events that were measured.
    pub samples: Option<u64>,
    /// Further numbers, as a JSON object; `against` lists what argues for a benign cause.
    pub evidence: Option<String>,
    /// Why it is no open finding; `None` for an open one.
    pub suppressed_by: Option<Cow<'static, str>>,
}

/// One subject that violates a check.
#[derive(Clone, Debug)]
pub struct Found {
    /// How bad.
    pub severity: Severity,
    /// Whether the literal rule fired; `None` where the check has none.
    pub baseline: Option<bool>,
    /// Source host.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Destination port; 0 for several.
    pub dst_port: u16,
    /// Destination name, else address.
    pub destination: String,
    /// What tells two problems of one check apart; usually empty.
    pub detail: String,
    /// One sentence with the numbers.
    pub explanation: String,
    /// Flows and packets.
    pub trail: Trail,
    /// How many sources do the same.
    pub prevalence_hosts: u32,
    /// The numbers.
    pub numbers: Numbers,
}

/// Flows kept for one finding.
pub const MAX_FLOWS: usize = 1_000;
/// Packets kept for one finding.
pub const MAX_PACKETS: usize = 20;

/// The rows behind a finding: all counted, the earliest kept.
#[derive(Clone, Debug)]
pub struct Trail {
    seen: Vec<Seen>,
    most: usize,
    count: u64,
    /// Flows of which no row was kept when a batch of rows went.
    gone: u64,
    /// Those of the latest such batch, ascending.
    latest: Vec<FlowId>,
    span: Option<(CaptureTime, CaptureTime)>,
}

impl Default for Trail {
    fn default() -> Self {
        Self::keeping(MAX_FLOWS)
    }
}

impl Trail {
    /// Keeps at most so many.
    pub const fn keeping(most: usize) -> Self {
        Self {
            seen: Vec::new(),
            most,
            count: 0,
            gone: 0,
            latest: Vec::new(),
            span: None,
        }
    }

    /// Takes one row.
    pub fn push(&mut self, seen: Seen) {
        self.count += 1;
        let (first, last) = self.span.unwrap_or((seen.ts, seen.ts));
        self.span = Some((first.min(seen.ts), last.max(seen.ts)));
        self.seen.push(seen);
        if self.seen.len() >= self.most.saturating_mul(2) {
            self.trim();
        }
    }

    /// Drops the latest rows. Their flows are counted unless a row of them is
    /// kept or went with the batch before: no flow is missed, and one that comes
    /// back after as many rows of others counts again, never more often than it
    /// has rows.
    fn trim(&mut self) {
        self.seen.sort_unstable();
        if self.seen.len() <= self.most {
            return;
        }
        let mut gone = flows_of(self.seen.drain(self.most..));
        let kept = flows_of(self.seen.iter().copied());
        gone.retain(|flow| kept.binary_search(flow).is_err());
        if gone.is_empty() {
            return;
        }
        let is_new = |flow: &&FlowId| self.latest.binary_search(flow).is_err();
        self.gone += gone.iter().filter(is_new).count() as u64;
        self.latest = gone;
    }

    /// Rows taken.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Time of the first and of the last row taken.
    pub fn span(&self) -> (CaptureTime, CaptureTime) {
        self.span.unwrap_or_default()
    }

    /// Flows and packets of the earliest rows, and how many flows there are.
    pub fn into_parts(mut self) -> Parts {
        self.trim();
        let packets = self.seen.iter().take(MAX_PACKETS).map(|seen| seen.at);
        let packets = packets.collect();
        let flows = flows_of(self.seen.iter().copied());
        Parts {
            flow_count: self.gone + flows.len() as u64,
            flows,
            packets,
        }
    }
}

/// What a [`Trail`] comes to.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Flows of the kept rows, ascending.
    pub flows: Vec<FlowId>,
    /// All flows: exact while every row is kept, and as long as the rows of one
    /// flow follow each other.
    pub flow_count: u64,
    /// Packets of the earliest rows.
    pub packets: Vec<PacketRef>,
}

/// Each flow once, ascending.
fn flows_of(seen: impl Iterator<Item = Seen>) -> Vec<FlowId> {
    let mut flows: Vec<_> = seen.map(|seen| seen.flow_id).collect();
    flows.sort_unstable();
    flows.dedup();
    flows
}

/// How much was judged, file by file.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Subjects without a violation.
    pub passed: BTreeMap<u32, u64>,
    /// Subjects that could not be judged, by reason.
    pub not_observed: BTreeMap<(u32, &'static str), u64>,
}

impl Tally {
    /// A subject whose first row stands in this file holds.
    pub fn pass(&mut self, capture: u32) {
        *self.passed.entry(capture).or_default() += 1;
    }

    /// A subject whose first row stands in this file cannot be judged.
    pub fn not_observed(&mut self, capture: u32, reason: &'static str) {
        *self.not_observed.entry((capture, reason)).or_default() += 1;
    }
}

/// What a detector says in the end.
#[derive(Clone, Debug, Default)]
pub struct Judgement {
    /// Subjects that violate, in any order.
    pub found: Vec<Found>,
    /// The others.
    pub tally: Tally,
    /// Budgets that were reached, in words: each becomes an anomaly.
    pub limits: Vec<String>,
}

/// What one detector said.
#[derive(Debug)]
pub struct Detected {
    /// Its check.
    pub meta: &'static Meta,
    /// Its judgement, or why it could not look.
    pub judgement: Result<Judgement, &'static str>,
}

/// What all detectors may know of the whole, once the first pass is over.
#[derive(Debug)]
pub struct Scene<'a> {
    /// What the run is judged by.
    pub policy: &'a Policy,
    /// The texts behind the numbers.
    pub names: &'a Names,
    /// Who talks to whom.
    pub population: &'a Population,
}

impl Scene<'_> {
    /// Source and destination of a finding; `None` where one is no address.
    pub fn addresses(&self, src: NameId, dst: NameId) -> Option<(IpAddr, IpAddr)> {
        let parse = |id| self.names.text(id).parse().ok();
        Some((parse(src)?, parse(dst)?))
    }
}

/// Who talks to whom: how many sources there are, and how many each destination
/// answers. What nobody answers makes nothing common: packets with the addresses
/// of a hundred neighbours are sent in a second, by one host that has something
/// to hide, and a flood of them would fill the memory.
#[derive(Debug, Default)]
pub struct Population {
    pairs: HashSet<(NameId, NameId), foldhash::quality::RandomState>,
    sources: HashSet<NameId, foldhash::quality::RandomState>,
    of_destination: Vec<u32>,
    most: usize,
    span: Option<(i64, i64)>,
    flows: u64,
}

impl Population {
    /// Tells at most so many pairs of source and destination apart.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            ..Self::default()
        }
    }

    /// A flow from `src` to `destination`, at this time; whether the destination
    /// sent anything back.
    pub fn note(&mut self, src: NameId, destination: NameId, ts_ns: i64, is_answered: bool) {
        self.flows += 1;
        let (first, last) = self.span.unwrap_or((ts_ns, ts_ns));
        self.span = Some((first.min(ts_ns), last.max(ts_ns)));
        if !is_answered || !src.is_some() || !destination.is_some() {
            return;
        }
        let is_full = self.pairs.len() >= self.most;
        if !is_full && self.pairs.insert((src, destination)) {
            self.sources.insert(src);
            let index = destination.index();
            if self.of_destination.len() <= index {
                self.of_destination.resize(index + 1, 0);
            }
            if let Some(hosts) = self.of_destination.get_mut(index) {
                *hosts += 1;
            }
        }
    }

    /// Sources that one destination answers.
    pub fn hosts_of(&self, destination: NameId) -> u32 {
        let hosts = self.of_destination.get(destination.index());
        hosts.copied().unwrap_or_default()
    }

    /// Sources that are answered at all.
    pub fn hosts(&self) -> usize {
        self.sources.len()
    }

    /// First and last beginning of a flow, nanoseconds since the epoch.
    pub fn span_ns(&self) -> Option<(i64, i64)> {
        self.span
    }

    /// Flows in all.
    pub fn flows(&self) -> u64 {
        self.flows
    }
}

/// A number that JSON can hold, with six digits after the point at most.
pub fn rounded(value: f64) -> f64 {
    if value.is_finite() {
        (value * 1e6).round() / 1e6
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(ts: i64, frame: u64) -> Seen {
        Seen {
            ts: CaptureTime::from_nanos(ts),
            flow_id: FlowId(100 - ts),
            at: PacketRef {
                capture: 0,
                frame,
                offset: 0,
            },
        }
    }

    #[test]
    fn a_trail_keeps_the_earliest_and_counts_all() {
        let mut trail = Trail::keeping(3);
        for ts in [9, 2, 7, 4, 8, 1, 3] {
            trail.push(seen(ts, u64::try_from(ts).unwrap()));
        }
        assert_eq!(trail.count(), 7);
        let (first, last) = trail.span();
        assert_eq!((first.as_nanos(), last.as_nanos()), (1, 9));
        let parts = trail.into_parts();
        assert_eq!(parts.flows, [FlowId(97), FlowId(98), FlowId(99)]);
        let frames: Vec<_> = parts.packets.iter().map(|at| at.frame).collect();
        assert_eq!(frames, [1, 2, 3]);
    }

    #[test]
    fn a_trail_counts_flows_rather_than_rows() {
        // Flows of the rows in the order of time, how many rows are kept, flows.
        let cases: [(&str, Vec<i64>, usize, u64); 6] = [
            ("nothing", vec![], 3, 0),
            ("one flow, all kept", vec![1; 3], 3, 1),
            ("one flow, far beyond", vec![1; 159], 3, 1),
            ("two at once", [1, 2].repeat(50), 4, 2),
            ("one flow a row", (0..40).collect(), 3, 40),
            (
                "one after another",
                (0..40).map(|at| at / 10).collect(),
                3,
                4,
            ),
        ];
        for (what, flows, most, expected) in cases {
            let mut trail = Trail::keeping(most);
            for (&flow, ts) in flows.iter().zip(0..) {
                trail.push(Seen {
                    flow_id: FlowId(flow),
                    ..seen(ts, 1)
                });
            }
            assert_eq!(trail.into_parts().flow_count, expected, "{what}");
        }
    }

    #[test]
    fn no_order_of_rows_makes_more_flows_than_rows_or_misses_one() {
        // What was kept gives way to earlier rows and is still counted.
        for flows in [1, 2, 7, 20_i64] {
            let mut trail = Trail::keeping(2);
            for ts in (0..20).rev() {
                trail.push(Seen {
                    flow_id: FlowId(ts % flows),
                    ..seen(ts, 1)
                });
            }
            let counted = trail.into_parts().flow_count;
            let least = u64::try_from(flows).unwrap();
            assert!((least..=20).contains(&counted), "{flows}: {counted}");
        }
    }

    #[test]
    fn each_source_of_a_destination_counts_once_and_only_if_it_was_answered() {
        let mut names = Names::new(10);
        let [a, b, c, x] = ["a", "b", "c", "x"].map(|text| names.number(text));
        let mut population = Population::new(10);
        for (src, ts, is_answered) in [
            (a, 5, true),
            (a, 3, true),
            (b, 9, true),
            (c, 4, false),
            (NameId::NONE, 11, true),
        ] {
            population.note(src, x, ts, is_answered);
        }
        assert_eq!((population.hosts_of(x), population.hosts()), (2, 2));
        assert_eq!(population.span_ns(), Some((3, 11)));
        assert_eq!(population.hosts_of(NameId::NONE), 0);
    }
}
