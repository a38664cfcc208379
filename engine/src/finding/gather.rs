//! Outcomes into findings: one for each (check, source, destination, port,
//! detail), with counts, first and last time, and evidence.
//!
//! Each shard gathers for itself; the parts are merged at the end. The result
//! does not depend on the order in which outcomes or parts come: what is kept
//! under a cap is always what is smallest by time and flow.

use super::again::HandshakeBack;
use super::dance::{Attempts, Upgrades};
use super::detected;
use super::verdict;
use super::{CoverageRow, Finding, Verdict};
use crate::control::ns04::{Detected, Numbers};
use crate::control::{Amount, AuditResult, LIST, Outcome, Severity, Status, cut, meta_of};
use crate::evidence::{FlowId, PacketRef};
use crate::flow::key::put_address;
use crate::flow::{FlowHead, FlowRecord};
use crate::policy::Policy;
use crate::proto::SessionFacts;
use crate::proto::plain::http::{HttpTransaction, Text};
use crate::time::CaptureTime;
use foldhash::quality::RandomState;
use hashbrown::{HashMap, HashTable};
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher;
use std::net::IpAddr;

/// Flow ids kept for one finding.
const MAX_FLOWS: usize = 1_000;
/// Packets kept as evidence for one finding.
const MAX_EVIDENCE: usize = 20;
/// Parts of a list told in one reason.
const MAX_LISTED: usize = 6;
/// Example flows of a coverage row.
const MAX_EXAMPLES: usize = 10;

/// What makes two violations the same finding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// Severest checks first, so that the cap leaves out the mildest.
    rank: std::cmp::Reverse<Severity>,
    /// Spreads what the cap leaves out over all subjects.
    spread: u64,
    pub(super) check_id: &'static str,
    pub(super) src: IpAddr,
    pub(super) destination: String,
    pub(super) dst_port: u16,
    pub(super) detail: String,
}

/// What tells findings apart while they are gathered: cheap to compare, for
/// every violation of every flow asks. [`Key`] is made of it when parts merge.
#[derive(Debug)]
struct Quick {
    check_id: &'static str,
    src: IpAddr,
    dst: IpAddr,
    dst_port: u16,
    name: Option<Box<str>>,
    detail: String,
}

/// Longest destination name that is kept, bytes: the longest of the DNS (RFC
/// 1035 §2.3.4), and no more of what is no name at all.
const MAX_NAME: usize = 255;

/// A name from a capture, cut to what findings keep.
pub(super) fn bounded(name: &str) -> &str {
    cut(name, MAX_NAME)
}

/// Between whom, and where: what a finding takes from a flow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parties<'a> {
    pub(super) flow_id: FlowId,
    /// File of the flow's first packet.
    pub(super) capture: u32,
    pub(super) src: IpAddr,
    pub(super) dst: IpAddr,
    pub(super) dst_port: u16,
    /// Destination name, bounded.
    pub(super) name: Option<&'a str>,
    /// Payload bytes.
    pub(super) bytes: u64,
}

impl<'a> Parties<'a> {
    fn of(flow: &'a FlowRecord) -> Self {
        Self {
            flow_id: flow.flow_id,
            capture: flow.first.capture,
            src: flow.src,
            dst: flow.dst,
            dst_port: flow.dst_port,
            name: flow.server_name.as_deref().map(bounded),
            bytes: flow.orig.bytes.saturating_add(flow.resp.bytes),
        }
    }
}

impl Quick {
    fn new(flow: &Parties<'_>, outcome: &Outcome) -> Self {
        Self {
            check_id: outcome.check_id,
            src: flow.src,
            dst: flow.dst,
            dst_port: flow.dst_port,
            name: flow.name.map(Box::from),
            detail: outcome.detail.clone(),
        }
    }

    fn is(&self, flow: &Parties<'_>, outcome: &Outcome) -> bool {
        self.check_id == outcome.check_id
            && self.src == flow.src
            && self.dst == flow.dst
            && self.dst_port == flow.dst_port
            && self.name.as_deref() == flow.name
            && self.detail == outcome.detail
    }

    /// The key's place among others, without making it. `text` is scratch.
    fn order(&self, text: &mut String) -> Order {
        let ends = (self.src, self.dst, self.dst_port);
        order_of(
            self.check_id,
            ends,
            self.name.as_deref(),
            &self.detail,
            text,
        )
    }

    fn into_key(self, (rank, spread): Order) -> Key {
        let destination = self.name.map_or_else(
            || {
                let mut text = String::new();
                put_address(&mut text, self.dst);
                text
            },
            String::from,
        );
        Key {
            rank,
            spread,
            check_id: self.check_id,
            src: self.src,
            destination,
            dst_port: self.dst_port,
            detail: self.detail,
        }
    }
}

/// What keys are ordered by first.
type Order = (std::cmp::Reverse<Severity>, u64);

fn order_of(
    check_id: &str,
    (src, dst, dst_port): (IpAddr, IpAddr, u16),
    name: Option<&str>,
    detail: &str,
    text: &mut String,
) -> Order {
    let severity = meta_of(check_id).map_or(Severity::Info, |meta| meta.severity);
    text.clear();
    put_address(text, src);
    let end = text.len();
    match name {
        Some(name) => text.push_str(name),
        None => put_address(text, dst),
    }
    let (src, destination) = text.split_at_checked(end).unwrap_or_default();
    let parts = [check_id, src, destination, detail];
    (std::cmp::Reverse(severity), spread(&parts, dst_port))
}

fn quick_hash(
    hasher: &RandomState,
    check_id: &str,
    ends: (IpAddr, IpAddr, u16),
    name: Option<&str>,
    detail: &str,
) -> u64 {
    hasher.hash_one((check_id, ends, name, detail))
}

/// One occurrence: when, in which flow, in which packet.
type Seen = (CaptureTime, FlowId, PacketRef);

#[derive(Debug)]
struct Subject {
    first: CaptureTime,
    last: CaptureTime,
    severity: Severity,
    count: u64,
    dst: (CaptureTime, IpAddr),
    /// What it is called, where that is not the check's title.
    title: Option<&'static str>,
    /// The reason of the earliest, worst occurrence.
    reason: (
        std::cmp::Reverse<Severity>,
        CaptureTime,
        FlowId,
        Cow<'static, str>,
    ),
    /// Whether others have another reason.
    differs: bool,
    /// The number in that reason, and its sum over all occurrences.
    amount: Option<(Amount, Amount)>,
    listed: Listed,
    seen: Smallest<Seen>,
}

/// What the reasons of a finding list, one more than is told.
#[derive(Debug, Default)]
struct Listed {
    /// What the reasons begin with, the same for all of a subject.
    lead: Option<Box<str>>,
    parts: BTreeSet<Box<str>>,
}

impl Listed {
    fn add(&mut self, outcome: &Outcome) {
        let Some((lead, list)) = outcome
            .lists
            .and_then(|at| outcome.reason.split_at_checked(at))
        else {
            return;
        };
        self.lead.get_or_insert_with(|| lead.into());
        for one in list.split(LIST) {
            if !self.parts.contains(one) {
                self.keep(one.into());
            }
        }
    }

    fn keep(&mut self, one: Box<str>) {
        self.parts.insert(one);
        if self.parts.len() > MAX_LISTED + 1 {
            self.parts.pop_last();
        }
    }

    fn merge(&mut self, other: Self) {
        self.lead = self.lead.take().or(other.lead);
        for one in other.parts {
            self.keep(one);
        }
    }

    /// The reason with everything that is listed.
    fn in_full(&self) -> Option<String> {
        let lead = self.lead.as_deref()?;
        let parts = self.parts.iter().take(MAX_LISTED);
        let told: Vec<&str> = parts.map(AsRef::as_ref).collect();
        let is_all = self.parts.len() <= MAX_LISTED;
        let more = if is_all { "" } else { " and more" };
        Some(format!("{lead}{}{more}", told.join(LIST)))
    }
}

/// Keeps the smallest `cap` of what it is given.
#[derive(Debug)]
pub(super) struct Smallest<T> {
    items: Vec<T>,
    cap: usize,
}

impl<T: Ord> Smallest<T> {
    pub(super) const fn new(cap: usize) -> Self {
        Self {
            items: Vec::new(),
            cap,
        }
    }

    pub(super) fn push(&mut self, item: T) {
        if self.items.capacity() == 0 {
            // Most subjects are seen once.
            self.items.reserve_exact(1);
        }
        self.items.push(item);
        if self.items.len() >= 2 * self.cap {
            self.trim();
        }
    }

    pub(super) fn append(&mut self, other: Self) {
        self.items.extend(other.items);
        if self.items.len() >= 2 * self.cap {
            self.trim();
        }
    }

    fn trim(&mut self) {
        self.items.sort_unstable();
        self.items.dedup();
        self.items.truncate(self.cap);
    }

    /// What is kept so far.
    pub(super) fn sorted(&self) -> Vec<T>
    where
        T: Clone,
    {
        let mut items = self.items.clone();
        items.sort_unstable();
        items.dedup();
        items.truncate(self.cap);
        items
    }

    pub(super) fn into_sorted(mut self) -> Vec<T> {
        self.trim();
        self.items
    }
}

/// Outcomes of one check in one capture file.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) by_status: [u64; 5],
    /// Worst violation, whether or not its finding was kept.
    pub(super) worst: Option<Severity>,
    reasons: BTreeMap<String, u64>,
    bytes_affected: u64,
    examples: Smallest<FlowId>,
    pub(super) violated: Smallest<FlowId>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            by_status: [0; 5],
            worst: None,
            reasons: BTreeMap::new(),
            bytes_affected: 0,
            examples: Smallest::new(MAX_EXAMPLES),
            violated: Smallest::new(MAX_EXAMPLES),
        }
    }
}

/// Gathers the outcomes of flows.
#[derive(Debug)]
pub struct Gatherer {
    hasher: RandomState,
    /// What flows brought since the last merge.
    fresh: HashTable<(Quick, Box<Subject>)>,
    /// What was merged, held to the cap.
    /// Boxed: the tree moves what it holds.
    findings: BTreeMap<Key, Box<Subject>>,
    max_findings: usize,
    /// Beyond which nothing is kept any more; none while there is room.
    bound: Option<Order>,
    /// Scratch.
    text: String,
    /// Occurrences of findings beyond the cap.
    dropped: u64,
    fresh_coverage: Vec<((u32, &'static str), Tally)>,
    coverage: BTreeMap<(u32, &'static str), Tally>,
    attempts: Attempts,
    upgrades: Upgrades,
}

/// What a run's outcomes amount to.
#[derive(Debug, Default)]
pub struct Judged {
    /// Worst first.
    pub findings: Vec<Finding>,
    /// By capture and check.
    pub coverage: Vec<CoverageRow>,
    /// Controls first, each followed by its checks.
    pub verdicts: Vec<Verdict>,
    /// Occurrences that belong to no finding, since there were too many.
    pub dropped: u64,
}

impl Judged {
    /// Takes findings that no check of ours made. They have a limit of their own, so
    /// that neither kind pushes the other out.
    pub fn add(&mut self, findings: Vec<Finding>) {
        self.findings.extend(findings);
        sort_findings(&mut self.findings);
    }
}

impl Gatherer {
    /// Gathers by this policy.
    pub fn new(policy: &Policy) -> Self {
        Self {
            hasher: RandomState::default(),
            fresh: HashTable::new(),
            findings: BTreeMap::new(),
            max_findings: policy.limits.max_findings,
            bound: None,
            text: String::new(),
            dropped: 0,
            fresh_coverage: Vec::new(),
            coverage: BTreeMap::new(),
            attempts: Attempts::default(),
            upgrades: Upgrades::default(),
        }
    }

    /// Takes the outcomes of one flow.
    pub fn add(&mut self, flow: &FlowRecord, facts: &SessionFacts, audited: &AuditResult) {
        let parties = Parties::of(flow);
        // A flow counts once in a finding, however often it renegotiates.
        let mut counted: BTreeSet<(&str, &str)> = BTreeSet::new();
        let renegotiates = facts.tls.len() > 1;
        for (tls, outcomes) in facts.tls.iter().zip(&audited.tls) {
            for outcome in outcomes {
                let first = !renegotiates
                    || !matches!(outcome.status, Status::Warned | Status::Failed)
                    || counted.insert((outcome.check_id, &outcome.detail));
                let times = u64::from(first);
                self.outcome(&parties, tls.ts, tls.first, outcome, times);
            }
            self.attempts.note(flow, tls);
            self.upgrades.note_tls(flow, tls);
        }
        for outcome in &audited.plaintext {
            let plain = facts.plaintext.as_deref();
            let begins = plain.map_or(flow.first, |plain| plain.recognised);
            let at = outcome.at.unwrap_or(begins);
            self.outcome(&parties, flow.ts, at, outcome, 1);
        }
    }

    /// Takes what was said of a handshake that stands in a run's tables. `seen`:
    /// what was counted already of flows with several.
    pub(super) fn add_back(
        &mut self,
        back: &HandshakeBack,
        outcomes: &[Outcome],
        seen: &mut BTreeSet<(FlowId, &'static str, String)>,
    ) {
        let parties = Parties {
            flow_id: back.flow_id,
            capture: back.capture,
            src: back.src,
            dst: back.dst,
            dst_port: back.dst_port,
            // An address is the same text, named or not.
            name: Some(bounded(&back.destination)),
            bytes: back.bytes,
        };
        for outcome in outcomes {
            let first = back.of_flow < 2
                || !matches!(outcome.status, Status::Warned | Status::Failed)
                || seen.insert((back.flow_id, outcome.check_id, outcome.detail.clone()));
            self.outcome(&parties, back.ts, back.first, outcome, u64::from(first));
        }
    }

    /// Takes the outcomes of one HTTP transaction.
    pub fn add_http(&mut self, flow: &FlowHead, tx: &HttpTransaction, outcomes: &[Outcome]) {
        let parties = Parties {
            flow_id: flow.flow_id,
            capture: tx.packet.capture,
            src: flow.src,
            dst: flow.dst,
            dst_port: flow.dst_port,
            name: tx.text(Text::Host).map(bounded),
            bytes: tx.request.body_bytes.saturating_add(tx.response.body_bytes),
        };
        for outcome in outcomes {
            self.outcome(&parties, tx.ts, tx.packet, outcome, 1);
        }
    }

    /// `times`: how often the flow counts for it, 0 when it has already.
    fn outcome(
        &mut self,
        flow: &Parties<'_>,
        ts: CaptureTime,
        at: PacketRef,
        outcome: &Outcome,
        times: u64,
    ) {
        let tally = self.tally(flow.capture, outcome.check_id);
        tally.by_status[outcome.status as usize] += 1;
        match outcome.status {
            Status::NotObserved => {
                // Reasons of what was not observed are fixed texts: few.
                if let Some(count) = tally.reasons.get_mut(outcome.reason.as_ref()) {
                    *count += 1;
                } else if tally.reasons.len() < 64 {
                    tally.reasons.insert(outcome.reason.clone().into_owned(), 1);
                }
                tally.bytes_affected = tally.bytes_affected.saturating_add(flow.bytes);
                tally.examples.push(flow.flow_id);
            }
            Status::Warned | Status::Failed => {
                tally.violated.push(flow.flow_id);
                tally.worst = tally.worst.max(Some(outcome.severity));
                self.violation(flow, ts, at, outcome, times);
            }
            Status::Passed | Status::Refused => {}
        }
    }

    fn violation(
        &mut self,
        flow: &Parties<'_>,
        ts: CaptureTime,
        at: PacketRef,
        outcome: &Outcome,
        times: u64,
    ) {
        let ends = (flow.src, flow.dst, flow.dst_port);
        let name = flow.name;
        let hash = quick_hash(&self.hasher, outcome.check_id, ends, name, &outcome.detail);
        let rank = (std::cmp::Reverse(outcome.severity), ts, flow.flow_id);
        if let Some((_, known)) = self
            .fresh
            .find_mut(hash, |(quick, _)| quick.is(flow, outcome))
        {
            known.first = known.first.min(ts);
            known.last = known.last.max(ts);
            known.severity = known.severity.max(outcome.severity);
            known.count += times;
            known.dst = known.dst.min((ts, flow.dst));
            let total = sum(known.amount.map(|(_, total)| total), outcome.amount);
            let mut stated = known.amount.map(|(stated, _)| stated);
            known.differs |= outcome.reason != known.reason.3;
            if rank < (known.reason.0, known.reason.1, known.reason.2) {
                known.reason = (rank.0, rank.1, rank.2, outcome.reason.clone());
                stated = outcome.amount;
            }
            known.amount = stated.zip(total);
            known.listed.add(outcome);
            known.seen.push((ts, flow.flow_id, at));
            return;
        }
        if let Some(bound) = self.bound
            && order_of(
                outcome.check_id,
                ends,
                name,
                &outcome.detail,
                &mut self.text,
            ) > bound
        {
            self.dropped = self.dropped.saturating_add(times);
            return;
        }
        let mut listed = Listed::default();
        listed.add(outcome);
        let mut seen = Smallest::new(MAX_FLOWS);
        seen.push((ts, flow.flow_id, at));
        let subject = Box::new(Subject {
            first: ts,
            last: ts,
            severity: outcome.severity,
            count: times,
            dst: (ts, flow.dst),
            title: outcome.title,
            reason: (rank.0, rank.1, rank.2, outcome.reason.clone()),
            differs: false,
            amount: outcome.amount.zip(outcome.amount),
            listed,
            seen,
        });
        let hasher = &self.hasher;
        self.fresh
            .insert_unique(hash, (Quick::new(flow, outcome), subject), |(quick, _)| {
                let ends = (quick.src, quick.dst, quick.dst_port);
                quick_hash(
                    hasher,
                    quick.check_id,
                    ends,
                    quick.name.as_deref(),
                    &quick.detail,
                )
            });
    }

    /// The tally of a check in a file. Ids are the registry's own texts, so their
    /// addresses tell them apart, and the latest file's stand at the end.
    fn tally(&mut self, capture: u32, check_id: &'static str) -> &mut Tally {
        let known = self
            .fresh_coverage
            .iter()
            .rposition(|((file, id), _)| *file == capture && std::ptr::eq(*id, check_id));
        let at = known.unwrap_or(self.fresh_coverage.len());
        if known.is_none() {
            self.fresh_coverage
                .push(((capture, check_id), Tally::default()));
        }
        &mut self.fresh_coverage[at].1
    }

    fn settle_coverage(&mut self, fresh: Vec<((u32, &'static str), Tally)>) {
        for (key, tally) in fresh {
            self.coverage.entry(key).or_default().merge(tally);
        }
    }

    /// Makes the keys of what is fresh, so that whoever takes it need not.
    pub fn prepare(&mut self) {
        let mut fresh = std::mem::take(&mut self.fresh);
        self.settle(&mut fresh);
        self.fresh = fresh;
    }

    /// What a full gatherer keeps no more, and its parts need not begin with:
    /// what it has only gets smaller.
    pub fn bound(&self) -> Option<Order> {
        let is_full = self.findings.len() >= self.max_findings;
        let last = self.findings.last_key_value().filter(|_| is_full);
        last.map(|(key, _)| (key.rank, key.spread))
    }

    /// Begins nothing beyond what [`Self::bound`] said of who takes the rest.
    pub fn keep_within(&mut self, bound: Option<Order>) {
        self.bound = bound;
    }

    /// Brings what is fresh under the cap.
    fn settle(&mut self, fresh: &mut HashTable<(Quick, Box<Subject>)>) {
        let mut text = String::new();
        for (quick, subject) in fresh.drain() {
            let order = quick.order(&mut text);
            let is_full = self.findings.len() >= self.max_findings;
            let beyond = |last: &Key| order > (last.rank, last.spread);
            if is_full
                && self
                    .findings
                    .last_key_value()
                    .is_some_and(|(last, _)| beyond(last))
            {
                self.dropped += subject.count;
            } else {
                self.merge_subject(quick.into_key(order), subject);
            }
        }
    }

    fn merge_subject(&mut self, key: Key, subject: Box<Subject>) {
        match self.findings.get_mut(&key) {
            Some(known) => known.merge(*subject),
            None => {
                self.findings.insert(key, subject);
                if self.findings.len() > self.max_findings
                    && let Some((_, last)) = self.findings.pop_last()
                {
                    self.dropped += last.count;
                }
            }
        }
    }

    /// Different findings so far; those that differ in the address behind one
    /// name may count several times until they are merged.
    pub fn len(&self) -> usize {
        self.findings.len() + self.fresh.len()
    }

    /// Whether there is no finding yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes what another shard gathered.
    pub fn merge(&mut self, mut other: Self) {
        self.take(&mut other);
    }

    /// Takes what another one gathered so far; it goes on empty, with the room
    /// that it has already.
    pub fn take(&mut self, other: &mut Self) {
        self.dropped += std::mem::take(&mut other.dropped);
        for (key, subject) in std::mem::take(&mut other.findings) {
            self.merge_subject(key, subject);
        }
        self.settle(&mut other.fresh);
        for (key, tally) in std::mem::take(&mut other.coverage) {
            self.coverage.entry(key).or_default().merge(tally);
        }
        self.settle_coverage(std::mem::take(&mut other.fresh_coverage));
        self.attempts.merge(std::mem::take(&mut other.attempts));
        self.upgrades.merge(std::mem::take(&mut other.upgrades));
    }

    /// Everything has been taken, and the detectors have spoken of so many
    /// `captures`: the findings, the coverage, the verdicts.
    pub fn finish(self, policy: &Policy, detected: Vec<Detected>, captures: u32) -> Judged {
        let max_findings = self.max_findings;
        let (mut findings, mut coverage, mut dropped) = self.into_parts();
        detected::take(detected, captures, &mut coverage, &mut findings);
        dropped += detected::hold(&mut findings, max_findings);
        sort_findings(&mut findings);
        let mut verdicts = verdict::verdicts(policy, &coverage);
        verdict::tell_failures(&mut verdicts, &findings);
        let coverage = coverage
            .into_iter()
            .map(|((capture, check_id), tally)| coverage_row(capture, check_id, tally))
            .collect();
        Judged {
            findings,
            coverage,
            verdicts,
            dropped,
        }
    }

    /// Findings, coverage and how many occurrences were left out.
    #[allow(clippy::type_complexity)] // told in the line above
    pub(super) fn into_parts(
        mut self,
    ) -> (Vec<Finding>, BTreeMap<(u32, &'static str), Tally>, u64) {
        for dance in std::mem::take(&mut self.attempts).dances() {
            self.outcome(&dance.parties(), dance.ts, dance.at, &dance.outcome, 1);
        }
        let mut fresh = std::mem::take(&mut self.fresh);
        self.settle(&mut fresh);
        let fresh = std::mem::take(&mut self.fresh_coverage);
        self.settle_coverage(fresh);
        // How many hosts do the same. Keys are unique, and the host is the one
        // part of a key that is left out here: each key is another host.
        let mut places: HashMap<Same<'_>, usize, RandomState> = HashMap::default();
        let mut prevalence: Vec<u32> = Vec::new();
        let mut place_of: Vec<usize> = Vec::with_capacity(self.findings.len());
        for key in self.findings.keys() {
            let place = *places.entry(key.same()).or_insert_with(|| {
                prevalence.push(0);
                prevalence.len() - 1
            });
            if let Some(hosts) = prevalence.get_mut(place) {
                *hosts += 1;
            }
            place_of.push(place);
        }
        drop(places);
        let upgrades = &self.upgrades;
        let gathered: Vec<_> = self.findings.into_iter().zip(place_of).collect();
        let findings: Vec<Finding> = gathered
            .into_par_iter()
            .map(|((key, subject), place)| {
                let hosts = prevalence.get(place).copied().unwrap_or(1);
                finding(key, *subject, hosts, upgrades)
            })
            .collect();
        (findings, self.coverage, self.dropped)
    }
}

/// Open ones first, worst first.
pub(super) fn sort_findings(findings: &mut [Finding]) {
    findings.par_sort_by(|a, b| {
        let (left, right) = (b.is_open(), a.is_open());
        (left, b.severity, a.check_id, a.ts_first, &a.finding_id).cmp(&(
            right,
            a.severity,
            b.check_id,
            b.ts_first,
            &b.finding_id,
        ))
    });
}

/// 64 bits of SHA-256 over what makes two violations the same finding: nobody
/// can choose which of them a cap keeps without trying many.
pub(super) fn spread(parts: &[&str; 4], dst_port: u16) -> u64 {
    let mut hash = Sha256::new();
    // Lengths first, in one piece with the port: short subjects are one block.
    let mut head = [0_u8; 10];
    for (place, part) in head.chunks_exact_mut(2).zip(parts) {
        let len = u16::try_from(part.len()).unwrap_or(u16::MAX);
        place.copy_from_slice(&len.to_be_bytes());
    }
    if let Some(place) = head.get_mut(8..) {
        place.copy_from_slice(&dst_port.to_be_bytes());
    }
    hash.update(head);
    for part in parts {
        hash.update(part);
    }
    let digest = hash.finalize();
    digest
        .iter()
        .take(8)
        .fold(0, |bits, &byte| bits << 8 | u64::from(byte))
}

/// What two hosts do alike: check, destination, port, detail.
type Same<'k> = (&'static str, &'k str, u16, &'k str);

impl Key {
    fn same(&self) -> Same<'_> {
        let (destination, detail) = (self.destination.as_str(), self.detail.as_str());
        (self.check_id, destination, self.dst_port, detail)
    }
}

/// Of two occurrences' amounts; a check has one for all or for none.
fn sum(one: Option<Amount>, other: Option<Amount>) -> Option<Amount> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.and(other)),
        _ => one.or(other),
    }
}

impl Subject {
    fn merge(&mut self, other: Self) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.severity = self.severity.max(other.severity);
        self.count += other.count;
        self.dst = self.dst.min(other.dst);
        let [mine, others] = [self.amount, other.amount].map(|both| both.map(|(_, total)| total));
        let mut stated = self.amount.map(|(stated, _)| stated);
        self.differs |= other.differs || other.reason.3 != self.reason.3;
        if other.reason < self.reason {
            self.reason = other.reason;
            stated = other.amount.map(|(stated, _)| stated);
        }
        self.amount = stated.zip(sum(mine, others));
        self.listed.merge(other.listed);
        self.seen.append(other.seen);
    }
}

fn finding(key: Key, subject: Subject, hosts: u32, upgrades: &Upgrades) -> Finding {
    let meta = meta_of(key.check_id);
    let title = meta.map_or(key.check_id, |meta| meta.title);
    let seen = subject.seen.into_sorted();
    let mut flow_ids: Vec<FlowId> = seen.iter().map(|(_, flow, _)| *flow).collect();
    let kept = flow_ids.len() as u64;
    flow_ids.sort_unstable();
    flow_ids.dedup();
    // Several requests of one flow are one flow; what is beyond those that are
    // kept is counted one by one.
    let flow_count = flow_ids.len() as u64 + subject.count.saturating_sub(kept);
    let mut told = BTreeSet::new();
    let evidence = seen
        .iter()
        .map(|(_, _, at)| *at)
        .filter(|at| told.insert(*at))
        .take(MAX_EVIDENCE)
        .collect();
    let (_, _, _, mut reason) = subject.reason;
    let summed = subject
        .amount
        .and_then(|(stated, total)| stated.instead(total, &reason));
    let is_sum = summed.is_some();
    if let Some(summed) = summed {
        reason = summed.into();
    }
    if let Some(listed) = subject.listed.in_full() {
        reason = listed.into();
    } else if subject.differs && !is_sum {
        reason = format!("{reason}, among {} alike", subject.count).into();
    }
    let seen_when = if subject.count == 1 {
        format!("once at {}", subject.first)
    } else {
        let (first, last, count) = (subject.first, subject.last, subject.count);
        match (is_sum, flow_count) {
            (true, 1) => format!("in one flow from {first} to {last}"),
            (true, flows) => format!("in {flows} flows from {first} to {last}"),
            (false, _) => format!("{count} times from {first} to {last}"),
        }
    };
    let upgraded = key.detail.strip_suffix(" upgraded");
    let followed = match upgraded.filter(|_| key.check_id == "NS-01.http_upgrade") {
        Some(host) => match upgrades.followed(key.src, host, subject.first) {
            Some(true) => "; the client then connected over TLS",
            Some(false) => "; no TLS connection to it followed in the capture",
            None => "",
        },
        None => "",
    };
    let place = super::place_of(key.src, &key.destination, key.dst_port);
    let explanation = format!("{reason}{followed}{place}{seen_when}");
    Finding {
        finding_id: finding_id(key.spread, key.check_id, subject.first),
        ts_first: subject.first,
        ts_last: subject.last,
        first: seen.first().map(|(_, _, at)| *at).unwrap_or_default(),
        check_id: key.check_id,
        severity: subject.severity,
        baseline: Some(true),
        src: key.src,
        dst: subject.dst.1,
        dst_port: key.dst_port,
        title: subject.title.unwrap_or(title).to_owned(),
        explanation,
        attack_techniques: meta.map(|meta| meta.attack.to_vec()).unwrap_or_default(),
        evidence,
        flow_ids,
        flow_count,
        destination: key.destination,
        detail: key.detail,
        prevalence_hosts: hosts,
        numbers: Numbers::default(),
    }
}

/// `F-` and 12 base32 characters (RFC 4648 §6) of a hash of the subject.
pub(super) fn finding_id(spread: u64, check_id: &str, first: CaptureTime) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut hash = Sha256::new();
    hash.update(spread.to_be_bytes());
    hash.update(check_id);
    hash.update(first.as_nanos().to_be_bytes());
    let digest = hash.finalize();
    let bits = digest
        .iter()
        .take(8)
        .fold(0_u64, |bits, &byte| bits << 8 | u64::from(byte));
    let letters = (0..12).map(|letter| {
        let index = (bits >> (59 - letter * 5) & 31) as usize;
        char::from(ALPHABET.get(index).copied().unwrap_or(b'A'))
    });
    std::iter::once('F').chain(['-']).chain(letters).collect()
}

pub(super) fn coverage_row(capture: u32, check_id: &'static str, tally: Tally) -> CoverageRow {
    let [passed, warned, failed, refused, not_observed] = tally.by_status;
    let reason = tally
        .reasons
        .into_iter()
        .max_by(|a, b| (a.1, &b.0).cmp(&(b.1, &a.0)))
        .map(|(reason, _)| reason)
        .unwrap_or_default();
    CoverageRow {
        capture,
        check_id,
        passed,
        warned,
        failed,
        refused,
        not_observed,
        reason,
        bytes_affected: tally.bytes_affected,
        example_flow_ids: tally.examples.into_sorted(),
    }
}

impl Tally {
    /// So many more outcomes of this status.
    pub(super) fn count(&mut self, status: Status, more: u64) {
        if let Some(count) = self.by_status.get_mut(status as usize) {
            *count = count.saturating_add(more);
        }
    }

    /// So many were not observed for this reason.
    pub(super) fn because(&mut self, reason: &str, more: u64) {
        *self.reasons.entry(reason.to_owned()).or_default() += more;
    }

    /// A violation in these flows.
    pub(super) fn violation(&mut self, severity: Severity, flows: &[FlowId]) {
        self.worst = self.worst.max(Some(severity));
        for &flow in flows.iter().take(MAX_EXAMPLES) {
            self.violated.push(flow);
        }
    }

    fn merge(&mut self, other: Self) {
        for (sum, more) in self.by_status.iter_mut().zip(other.by_status) {
            *sum += more;
        }
        for (reason, count) in other.reasons {
            *self.reasons.entry(reason).or_default() += count;
        }
        self.worst = self.worst.max(other.worst);
        self.bytes_affected = self.bytes_affected.saturating_add(other.bytes_affected);
        self.examples.append(other.examples);
        self.violated.append(other.violated);
    }

    pub(super) fn main_reason(&self) -> Option<(&str, u64)> {
        let best = self
            .reasons
            .iter()
            .max_by(|a, b| (a.1, b.0).cmp(&(b.1, a.0)));
        best.map(|(reason, &count)| (reason.as_str(), count))
    }
}
