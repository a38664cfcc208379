//! Rows of a rule to findings: rows of one source, destination, port and detail
//! are one. Rows are folded as they come, so that their number does not matter;
//! the number of findings has a limit. What a row does not say of its place in the
//! captures stays unsaid: no packet, no flow, and no time of its own.

use super::Rule;
use super::share::Share;
use super::wire::Row;
use crate::control::cut;
use crate::control::ns04::{MAX_FLOWS, MAX_PACKETS, Numbers, Seen, Trail};
use crate::evidence::{FlowId, PacketRef};
use crate::finding::{Finding, id_of};
use crate::flow::key::put_address;
use crate::table::read::flow_times;
use crate::time::CaptureTime;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

/// Longest text of a row that is kept, bytes.
pub(super) const MAX_TEXT: usize = 1_024;

/// Findings of one rule that keep as many flows as others do; those beyond keep
/// few, so that a rule that fits everything stays within its memory.
const MANY: usize = 1_000;

/// Flows of one rule that are told apart when they are counted.
const MAX_DISTINCT: usize = 4_000_000;

/// Where rows that give no time of their own get one.
#[derive(Clone, Copy, Debug)]
pub struct Times<'a> {
    /// The folder of the tables.
    pub folder: &'a Path,
    /// First and last packet of the captures; `None` where they hold none.
    pub captures: Option<(CaptureTime, CaptureTime)>,
}

/// Source, destination, port, detail.
type Key = (IpAddr, String, u16, String);

struct Subject {
    dst: IpAddr,
    told: Option<String>,
    rows: u64,
    /// Of the rows that give a time.
    span: Option<(CaptureTime, CaptureTime)>,
    /// All flows that rows name.
    flows: BTreeSet<i64>,
    /// The rows that name a flow or a packet.
    trail: Trail,
}

/// What the rows of one rule come to.
pub(super) struct Subjects {
    by_key: BTreeMap<Key, Subject>,
    share: Share,
    /// Bytes that the subjects may come to.
    bytes: usize,
    left_out: u64,
    distinct: usize,
    not_told_apart: u64,
    wrong: Option<String>,
}

impl Subjects {
    pub(super) fn new(share: Share) -> Self {
        Self {
            by_key: BTreeMap::new(),
            share,
            bytes: 0,
            left_out: 0,
            distinct: 0,
            not_told_apart: 0,
            wrong: None,
        }
    }

    pub(super) fn take(&mut self, row: &Row) {
        if self.wrong.is_none()
            && let Err(why) = self.fold(row)
        {
            self.wrong = Some(why);
        }
    }

    fn fold(&mut self, row: &Row) -> Result<(), String> {
        let text = |name: &str| row.get(name).and_then(Value::as_str);
        let number = |name: &str| row.get(name).and_then(Value::as_i64);
        let address = |name: &str| -> Result<IpAddr, String> {
            let text = text(name).ok_or_else(|| format!("the query must give {name}"))?;
            text.parse()
                .map_err(|_| format!("{name} holds no address: {:?}", cut(text, 64)))
        };
        let (src, dst) = (address("src_ip")?, address("dst_ip")?);
        let port = number("dst_port").and_then(|port| u16::try_from(port).ok());
        let destination = match text("destination") {
            Some(name) if !name.is_empty() => cut(name, MAX_TEXT).to_owned(),
            _ => {
                let mut text = String::new();
                put_address(&mut text, dst);
                text
            }
        };
        let detail = match row.get("detail") {
            Some(Value::String(text)) => cut(text, MAX_TEXT).to_owned(),
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        };
        let key = (src, destination, port.unwrap_or(0), detail);
        let others = self.by_key.len();
        let flows = if others < MANY {
            MAX_FLOWS
        } else {
            MAX_PACKETS
        };
        let bytes = self.bytes.saturating_add(most_bytes(&key, flows));
        let is_full = others >= self.share.most || bytes > self.share.bytes;
        let subject = match self.by_key.entry(key) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(_) if is_full => {
                self.left_out += 1;
                return Ok(());
            }
            std::collections::btree_map::Entry::Vacant(fresh) => {
                self.bytes = bytes;
                fresh.insert(Subject {
                    dst,
                    told: None,
                    rows: 0,
                    span: None,
                    flows: BTreeSet::new(),
                    trail: Trail::keeping(flows),
                })
            }
        };
        subject.dst = subject.dst.min(dst);
        subject.rows += 1;
        let ts = number("ts").map(CaptureTime::from_nanos);
        if let Some(ts) = ts {
            let (first, last) = subject.span.unwrap_or((ts, ts));
            subject.span = Some((first.min(ts), last.max(ts)));
        }
        let flow = number("flow_id").filter(|&id| id > 0);
        if let Some(id) = flow
            && !subject.flows.contains(&id)
        {
            if self.distinct < MAX_DISTINCT {
                self.distinct += 1;
                subject.flows.insert(id);
            } else {
                self.not_told_apart += 1;
            }
        }
        let at = packet(row);
        if flow.is_some() || at.is_some() {
            subject.trail.push(Seen {
                // Rows that have a time come first.
                ts: ts.unwrap_or(CaptureTime::from_nanos(i64::MAX)),
                flow_id: FlowId(flow.unwrap_or_default()),
                at: at.unwrap_or_default(),
            });
        }
        if let Some(told) = text("explanation") {
            let told = cut(told, MAX_TEXT);
            // One of several, whatever their order.
            if subject.told.as_deref().is_none_or(|known| told < known) {
                subject.told = Some(told.to_owned());
            }
        }
        Ok(())
    }

    /// The findings, and what must be told of those that are not there.
    ///
    /// # Errors
    ///
    /// When a row lacked what a finding needs.
    pub(super) fn into_findings(
        mut self,
        rule: &Rule,
        times: &Times<'_>,
    ) -> Result<(Vec<Finding>, Option<String>), String> {
        if let Some(why) = self.wrong {
            return Err(why);
        }
        self.give_times(times)?;
        let mut hosts: BTreeMap<(&str, u16, &str), BTreeSet<IpAddr>> = BTreeMap::new();
        for (src, destination, port, detail) in self.by_key.keys() {
            let same = (destination.as_str(), *port, detail.as_str());
            hosts.entry(same).or_default().insert(*src);
        }
        let hosts: Vec<usize> = self
            .by_key
            .keys()
            .map(|(_, destination, port, detail)| {
                let same = (destination.as_str(), *port, detail.as_str());
                hosts.get(&same).map_or(1, BTreeSet::len)
            })
            .collect();
        let mut told = Vec::new();
        if self.left_out > 0 {
            told.push(format!(
                "{} rows of further sources, destinations or details are left out: {}",
                self.left_out, self.share
            ));
        }
        if self.not_told_apart > 0 {
            told.push(format!(
                "{} rows name flows beyond the first {MAX_DISTINCT}, which are not counted",
                self.not_told_apart
            ));
        }
        let told = (!told.is_empty()).then(|| told.join("; "));
        let findings = self.by_key.into_iter().zip(hosts);
        let findings = findings.map(|((key, subject), hosts)| finding(rule, key, subject, hosts));
        Ok((findings.collect(), told))
    }

    /// Gives subjects none of whose rows has a time that of their flows, else that
    /// of the captures.
    fn give_times(&mut self, times: &Times<'_>) -> Result<(), String> {
        let timeless = || self.by_key.values().filter(|one| one.span.is_none());
        let ids: BTreeSet<i64> = timeless()
            .flat_map(|one| one.flows.iter().copied())
            .collect();
        let known = if ids.is_empty() {
            BTreeMap::new()
        } else {
            flow_times(times.folder, &ids).map_err(|e| e.to_string())?
        };
        for subject in self.by_key.values_mut() {
            if subject.span.is_some() {
                continue;
            }
            let of_flows = || subject.flows.iter().filter_map(|id| known.get(id).copied());
            let span = of_flows().min().zip(of_flows().max()).or(times.captures);
            let missing = "gives no ts, and the captures hold no packet";
            subject.span = Some(span.ok_or(missing)?);
        }
        Ok(())
    }
}

/// What a subject may come to, bytes: a trail has twice what it keeps. The flows
/// that are told apart have a limit of their own.
fn most_bytes((_, destination, _, detail): &Key, flows: usize) -> usize {
    let texts = destination.len() + detail.len() + MAX_TEXT;
    size_of::<(Key, Subject)>() + texts + 2 * flows * size_of::<Seen>()
}

/// The packet of a row, where it says all three parts of its place.
fn packet(row: &Row) -> Option<PacketRef> {
    let number = |name: &str| row.get(name).and_then(Value::as_i64);
    Some(PacketRef {
        capture: u32::try_from(number("capture")?).ok()?,
        // Frames count from 1.
        frame: u64::try_from(number("first_frame")?)
            .ok()
            .filter(|&frame| frame > 0)?,
        offset: u64::try_from(number("first_offset")?).ok()?,
    })
}

fn finding(
    rule: &Rule,
    (src, destination, dst_port, detail): Key,
    subject: Subject,
    hosts: usize,
) -> Finding {
    let (ts_first, ts_last) = subject.span.unwrap_or_default();
    let count = subject.rows;
    let parts = subject.trail.into_parts();
    let (mut flow_ids, mut evidence) = (parts.flows, parts.packets);
    // A row may name the one without the other.
    flow_ids.retain(|flow| flow.0 > 0);
    evidence.retain(|packet| packet.frame > 0);
    let mut source = String::new();
    put_address(&mut source, src);
    let rows = if count == 1 { "row" } else { "rows" };
    let told = subject.told.as_deref().unwrap_or(&rule.text);
    let explanation = format!("{told}: {source} to {destination} port {dst_port}, {count} {rows}");
    Finding {
        finding_id: id_of(
            &[rule.check_id, &source, &destination, &detail],
            dst_port,
            rule.check_id,
            ts_first,
        ),
        ts_first,
        ts_last,
        first: evidence.first().copied().unwrap_or_default(),
        check_id: rule.check_id,
        severity: rule.severity,
        baseline: None,
        src,
        dst: subject.dst,
        dst_port,
        destination,
        detail,
        flow_ids,
        flow_count: subject.flows.len() as u64,
        title: rule.text.clone(),
        explanation,
        attack_techniques: rule.attack.clone(),
        evidence,
        prevalence_hosts: u32::try_from(hosts).unwrap_or(u32::MAX),
        numbers: Numbers {
            samples: Some(count),
            ..Numbers::default()
        },
    }
}
