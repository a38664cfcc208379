//! Feeds the tables of one run, or of several, to the detectors of NS-04.
//!
//! ```text
//! flows.parquet ... --columns that somebody wants--> batches --texts to numbers--> detectors, side by side
//! ```
//!
//! Tables are read a row group at a time, the next one while the detectors look
//! at the last. What no detector wants is not read, and a table that nobody
//! wants is not opened. Nothing here judges.
//!
//! Where there are more names than `limits.behaviour_names`, all is begun again
//! behind a sieve: hosts of few flows, none of them answered or large, get no number.

mod read;

use crate::anomaly::{Anomaly, AnomalyKind};
use crate::capture::CaptureSummary;
use crate::control::Meta;
use crate::control::ns04::{
    Behaviour, Columns, DETECTORS, Detected, Detector, Names, Population, Rows, Scene, Sieve,
};
use crate::error::Result;
use crate::evidence::PacketRef;
use crate::policy::Policy;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int16Type, Int32Type};
use arrow_array::{ArrayRef, Int32Array, RecordBatch};
use rayon::prelude::*;
use read::{Group, Table};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

/// Tables that detectors may read, in the order in which they are fed.
const TABLES: [&str; 5] = [
    "flows",
    "certificates",
    "tls_handshakes",
    "dns_queries",
    "http_transactions",
];

/// Passes after which every detector must be done: a detector needs three.
const MOST_PASSES: usize = 16;

/// The tables of one run.
#[derive(Clone, Debug)]
pub struct Source {
    /// The folder that holds them.
    pub folder: PathBuf,
    /// Captures of the runs before it: added to the rows' own.
    pub first_capture: u32,
}

/// Judges runs by every detector that the policy asks for.
///
/// # Errors
///
/// When a table cannot be read.
pub fn judge(policy: &Policy, sources: &[Source]) -> Result<Vec<Detected>> {
    judge_by(policy, sources, DETECTORS)
}

/// The same by these detectors.
///
/// # Errors
///
/// When a table cannot be read.
pub fn judge_by(
    policy: &Policy,
    sources: &[Source],
    checks: &[&dyn Behaviour],
) -> Result<Vec<Detected>> {
    let mut sieve = None;
    loop {
        match attempt(policy, sources, checks, sieve.as_ref())? {
            Some(judged) => return Ok(judged),
            None => sieve = Some(sift(sources)?),
        }
    }
}

/// Judges runs; `None` when there are more names than may be numbered, and no
/// sieve has yet told which of them can be left out.
fn attempt(
    policy: &Policy,
    sources: &[Source],
    checks: &[&dyn Behaviour],
    sieve: Option<&Sieve>,
) -> Result<Option<Vec<Detected>>> {
    let mut names = Names::new(policy.limits.behaviour_names);
    let mut rare_flows = 0;
    let mut population = Population::new(policy.limits.behaviour_subjects);
    let started: Vec<_> = checks
        .iter()
        .map(|check| {
            let is_asked = crate::control::is_enabled(policy, check.meta().id);
            let detector = if is_asked {
                check.start(policy)
            } else {
                Err("disabled by the policy")
            };
            (check.meta(), detector)
        })
        .collect();
    let mut working: Vec<Working> = started
        .into_iter()
        .map(|(meta, detector)| Working {
            meta,
            detector,
            wants: &[],
            is_done: false,
        })
        .collect();
    let mut is_first = true;
    for _ in 0..MOST_PASSES {
        let scene = Scene {
            policy,
            names: &names,
            population: &population,
        };
        for one in &mut working {
            one.wants = match &mut one.detector {
                Ok(detector) if !one.is_done => detector.next(&scene),
                _ => &[],
            };
            one.is_done = one.wants.is_empty();
        }
        if working.iter().all(|one| one.wants.is_empty()) {
            break;
        }
        for table in TABLES {
            let counts = is_first && table == "flows";
            let Some(columns) = wanted(&working, table, counts) else {
                continue;
            };
            for source in sources {
                let mut pass = Pass {
                    names: &mut names,
                    population: counts.then_some(&mut population),
                    working: &mut working,
                    first_capture: source.first_capture,
                    sieve,
                    rare_flows: &mut rare_flows,
                };
                if !pass.over(&source.folder, &columns)? {
                    return Ok(None);
                }
            }
        }
        is_first = false;
    }
    let scene = Scene {
        policy,
        names: &names,
        population: &population,
    };
    let mut judged: Vec<Detected> = working
        .into_par_iter()
        .map(|one| Detected {
            meta: one.meta,
            judgement: one.detector.map(|detector| detector.judge(&scene)),
        })
        .collect();
    let refused = names.refused();
    let first = judged
        .iter_mut()
        .find_map(|one| one.judgement.as_mut().ok());
    if let Some(judgement) = first {
        if refused > 0 {
            judgement.limits.push(format!(
                "limits.behaviour_names: {refused} rows name hosts beyond it, and were left out by every detector"
            ));
        }
        if rare_flows > 0 {
            judgement.limits.push(format!(
                "limits.behaviour_names: {rare_flows} flows were left out by every detector: one of their hosts \
                 was seen in fewer than {COMMON}, none of them answered or large"
            ));
        }
    }
    Ok(Some(judged))
}

/// Flows from which on a host is looked at even where names are short: fewer are
/// no series, and what nobody answered and sent little is no transfer.
const COMMON: u8 = 6;
/// Bytes of a flow that make its hosts worth looking at.
const LARGE_BYTES: u64 = 4_096;

/// Counts the flows of each host, so that a flood of made-up addresses takes no
/// room from hosts that are there.
fn sift(sources: &[Source]) -> Result<Sieve> {
    let table = Table {
        name: "flows",
        plain: vec!["orig_bytes", "resp_bytes"],
        named: vec!["src_ip", "dst_ip", "destination"],
    };
    let (mut sieve, none) = (Sieve::default(), Names::new(0));
    for source in sources {
        let Some(file) = read::Reader::open(&source.folder, &table)? else {
            continue;
        };
        for index in 0..file.groups() {
            for batch in &file.group(index)?.batches {
                let rows = Rows::new(table.name, batch, &[], &none, 0);
                let (src, dst) = (rows.texts("src_ip"), rows.texts("dst_ip"));
                let to = rows.texts("destination");
                let (sent, received) = (rows.ints("orig_bytes"), rows.ints("resp_bytes"));
                for row in 0..rows.len() {
                    let is_rare = received.count(row) == 0 && sent.count(row) < LARGE_BYTES;
                    let times = if is_rare { 1 } else { COMMON };
                    let (src, dst, to) = (src.get(row), dst.get(row), to.get(row));
                    // A destination without a name is its address.
                    for text in [src, dst.filter(|_| dst != to), to].into_iter().flatten() {
                        sieve.add(&text, times);
                    }
                }
            }
        }
    }
    Ok(sieve)
}

/// Budgets that detectors reached: one anomaly each, at the beginning of the input.
pub fn anomalies(detected: &[Detected], captures: &[CaptureSummary]) -> Vec<Anomaly> {
    let start = captures.iter().filter_map(|capture| capture.ts_first).min();
    let reached = detected
        .iter()
        .filter_map(|one| Some((one.meta, one.judgement.as_ref().ok()?)));
    reached
        .flat_map(|(meta, judgement)| judgement.limits.iter().map(move |limit| (meta, limit)))
        .map(|(meta, limit)| Anomaly {
            kind: AnomalyKind::LimitEvicted,
            flow_id: None,
            ts: start.unwrap_or_default(),
            first: PacketRef::default(),
            last: PacketRef::default(),
            count: 1,
            detail: format!("{}: {limit}", meta.id).into(),
        })
        .collect()
}

/// A detector and what it wants of this pass.
struct Working {
    meta: &'static Meta,
    detector: std::result::Result<Box<dyn Detector>, &'static str>,
    wants: &'static [Columns],
    /// It wanted nothing more.
    is_done: bool,
}

impl Working {
    fn of(&self, table: &str) -> Option<&'static Columns> {
        self.wants.iter().find(|columns| columns.table == table)
    }
}

/// What this pass reads of a table; `None` when nobody wants any of it.
fn wanted(working: &[Working], table: &'static str, counts: bool) -> Option<Table> {
    let mut plain = BTreeSet::new();
    let mut named = BTreeSet::new();
    let mut is_wanted = false;
    for columns in working.iter().filter_map(|one| one.of(table)) {
        is_wanted = true;
        plain.extend(columns.plain);
        named.extend(columns.names);
    }
    // Flows are counted for the population by whoever reads first, and then
    // only: where nobody wants flows, nobody asks for it.
    if counts && working.iter().any(|one| !one.wants.is_empty()) {
        is_wanted = true;
        named.extend(["src_ip", "destination"]);
        plain.insert("resp_bytes");
    }
    if table == "flows" && PORTS.iter().any(|port| plain.contains(port)) {
        plain.insert("ip_proto");
    }
    plain.extend(["capture", "flow_id", "ts", "first_frame", "first_offset"]);
    is_wanted.then(|| Table {
        name: table,
        plain: plain.into_iter().collect(),
        named: named.into_iter().collect(),
    })
}

/// Columns that hold type and code of an ICMP flow.
const PORTS: [&str; 2] = ["src_port", "dst_port"];

/// The same rows with port 0 for what has none: type and code of ICMP are no
/// place that a finding could name.
fn without_icmp_ports(batch: &RecordBatch) -> Cow<'_, RecordBatch> {
    const ICMP: [i16; 2] = [1, 58];
    let Some(protos) = batch
        .column_by_name("ip_proto")
        .and_then(|column| column.as_primitive_opt::<Int16Type>())
        .filter(|protos| protos.values().iter().any(|proto| ICMP.contains(proto)))
    else {
        return Cow::Borrowed(batch);
    };
    let schema = batch.schema();
    let columns = schema
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| {
            let ports = column.as_primitive_opt::<Int32Type>();
            match ports.filter(|_| PORTS.contains(&field.name().as_str())) {
                Some(ports) => {
                    let ports = ports.iter().zip(protos.values());
                    let ports = ports.map(|(port, proto)| match ICMP.contains(proto) {
                        true => Some(0),
                        false => port,
                    });
                    Arc::new(ports.collect::<Int32Array>()) as ArrayRef
                }
                None => Arc::clone(column),
            }
        });
    RecordBatch::try_new(Arc::clone(&schema), columns.collect())
        .map_or(Cow::Borrowed(batch), Cow::Owned)
}

/// One pass over one table of one run.
struct Pass<'p> {
    names: &'p mut Names,
    population: Option<&'p mut Population>,
    working: &'p mut [Working],
    first_capture: u32,
    sieve: Option<&'p Sieve>,
    /// Flows of hosts that it holds back.
    rare_flows: &'p mut u64,
}

impl Pass<'_> {
    /// Reads a table; `false` when names are short and a sieve would help.
    fn over(&mut self, folder: &std::path::Path, table: &Table) -> Result<bool> {
        let Some(file) = read::Reader::open(folder, table)? else {
            return Ok(true);
        };
        let mut next = (file.groups() > 0).then(|| file.group(0)).transpose()?;
        let mut index = 0;
        while let Some(group) = next.take() {
            index += 1;
            let more = index < file.groups();
            let (fed, read) = rayon::join(
                || self.feed(table, &group),
                || more.then(|| file.group(index)).transpose(),
            );
            fed?;
            if self.sieve.is_none() && self.names.refused() > 0 {
                return Ok(false);
            }
            next = read?;
        }
        Ok(true)
    }

    fn feed(&mut self, table: &Table, group: &Group) -> Result<()> {
        for batch in &group.batches {
            let ids = group.numbered(batch, table, self.names, self.sieve)?;
            if self.sieve.is_none() && self.names.refused() > 0 {
                return Ok(());
            }
            let batch = without_icmp_ports(batch);
            let rows = Rows::new(table.name, &batch, &ids, self.names, self.first_capture);
            if let Some(population) = &mut self.population {
                let (src, to) = (rows.ids("src_ip"), rows.ids("destination"));
                let (answer, places) = (rows.ints("resp_bytes"), rows.places());
                for row in 0..rows.len() {
                    let is_answered = answer.count(row) > 0;
                    let (src, to) = (src.get(row), to.get(row));
                    population.note(src, to, places.ts_ns(row), is_answered);
                    if self.sieve.is_some() && !(src.is_some() && to.is_some()) {
                        *self.rare_flows += 1;
                    }
                }
            }
            self.working.par_iter_mut().for_each(|one| {
                if one.of(table.name).is_some()
                    && let Ok(detector) = &mut one.detector
                {
                    detector.feed(&rows);
                }
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::Int16Array;

    #[test]
    fn type_and_code_of_icmp_are_no_ports() {
        let columns = |protos: Vec<i16>| {
            let ports: ArrayRef = Arc::new(Int32Array::from(vec![3, 443, 128]));
            let protos: ArrayRef = Arc::new(Int16Array::from(protos));
            let flow: ArrayRef = Arc::new(Int32Array::from(vec![7, 8, 9]));
            let columns = [("dst_port", ports), ("ip_proto", protos), ("flow", flow)];
            RecordBatch::try_from_iter(columns).unwrap()
        };
        let told = |protos| {
            let batch = columns(protos);
            let without = without_icmp_ports(&batch);
            let column = |name| {
                let column = without.column_by_name(name).unwrap();
                column.as_primitive::<Int32Type>().values().to_vec()
            };
            (column("dst_port"), column("flow"))
        };
        assert_eq!(told(vec![1, 6, 58]), (vec![0, 443, 0], vec![7, 8, 9]));
        assert_eq!(told(vec![17, 6, 6]), (vec![3, 443, 128], vec![7, 8, 9]));
    }
}
