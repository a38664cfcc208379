//! Rows of a rule to findings: rows of one source, destination, port and detail
//! are one. Rows are folded as they come, so that their number does not matter;
//! the number of findings has a limit.

use super::Rule;
use super::wire::Row;
use crate::control::cut;
use crate::control::ns04::{MAX_FLOWS, MAX_PACKETS, Numbers, Seen, Trail};
use crate::evidence::{FlowId, PacketRef};
use crate::finding::{Finding, id_of};
use crate::flow::key::put_address;
use crate::time::CaptureTime;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Longest text of a row that is kept, bytes.
pub(super) const MAX_TEXT: usize = 1_024;

/// Findings of one rule that keep as many flows as others do; those beyond keep
/// few, so that a rule that fits everything stays within its memory.
const MANY: usize = 1_000;

/// Source, destination, port, detail.
type Key = (IpAddr, String, u16, String);

struct Subject {
    dst: IpAddr,
    told: Option<String>,
    trail: Trail,
}

/// What the rows of one rule come to.
pub(super) struct Subjects {
    by_key: BTreeMap<Key, Subject>,
    most: usize,
    left_out: u64,
    wrong: Option<String>,
}

impl Subjects {
    pub(super) fn new(most: usize) -> Self {
        Self {
            by_key: BTreeMap::new(),
            most,
            left_out: 0,
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
        let is_full = self.by_key.len() >= self.most;
        let is_early = self.by_key.len() < MANY;
        let subject = match self.by_key.entry(key) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(_) if is_full => {
                self.left_out += 1;
                return Ok(());
            }
            std::collections::btree_map::Entry::Vacant(fresh) => fresh.insert(Subject {
                dst,
                told: None,
                trail: Trail::keeping(if is_early { MAX_FLOWS } else { MAX_PACKETS }),
            }),
        };
        subject.dst = subject.dst.min(dst);
        let count = |name: &str| {
            let number = number(name).and_then(|number| u64::try_from(number).ok());
            number.unwrap_or_default()
        };
        let capture = number("capture").and_then(|row| u32::try_from(row).ok());
        subject.trail.push(Seen {
            ts: CaptureTime::from_nanos(number("ts").unwrap_or_default()),
            flow_id: FlowId(number("flow_id").unwrap_or_default()),
            at: PacketRef {
                capture: capture.unwrap_or_default(),
                frame: count("first_frame"),
                offset: count("first_offset"),
            },
        });
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
        self,
        rule: &Rule,
    ) -> Result<(Vec<Finding>, Option<String>), String> {
        if let Some(why) = self.wrong {
            return Err(why);
        }
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
        let told = (self.left_out > 0).then(|| {
            format!(
                "{} rows of further sources, destinations or details are left out: limits.max_findings is {}",
                self.left_out, self.most
            )
        });
        let findings = self.by_key.into_iter().zip(hosts);
        let findings = findings.map(|((key, subject), hosts)| finding(rule, key, subject, hosts));
        Ok((findings.collect(), told))
    }
}

fn finding(
    rule: &Rule,
    (src, destination, dst_port, detail): Key,
    subject: Subject,
    hosts: usize,
) -> Finding {
    let (ts_first, ts_last) = subject.trail.span();
    let count = subject.trail.count();
    let parts = subject.trail.into_parts();
    let (mut flow_ids, mut evidence) = (parts.flows, parts.packets);
    // A query need not say where its rows stand.
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
        flow_count: count,
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
