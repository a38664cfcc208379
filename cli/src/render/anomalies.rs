//! What was odd or damaged in the captures of a run, as `findings --anomalies`
//! lists it: counted by kind, then one by one.

use super::findings::Files;
use super::json::{TOOL, Tool, document};
use super::{heading, labelled, moment};
use crate::escape;
use crate::screen::{self, Screen};
use nsforensics_engine::table::read::{AnomalyBrief, CaptureBrief};
use serde::Serialize;
use std::collections::BTreeMap;

/// Rows told one by one; the table has all.
const TOLD: usize = 10_000;

/// What is listed.
#[derive(Debug, Default)]
pub struct Anomalies {
    /// The run.
    pub run_id: String,
    /// Its inputs.
    pub captures: Vec<CaptureBrief>,
    /// Rows and occurrences of each kind.
    kinds: BTreeMap<String, (u64, u64)>,
    /// The first rows.
    rows: Vec<AnomalyBrief>,
}

impl Anomalies {
    /// Of a run.
    pub fn new(run_id: String, captures: Vec<CaptureBrief>) -> Self {
        Self {
            run_id,
            captures,
            ..Self::default()
        }
    }

    /// Takes a row.
    pub fn add(&mut self, row: AnomalyBrief) {
        let (rows, times) = self.kinds.entry(row.kind.clone()).or_default();
        *rows += 1;
        *times = times.saturating_add(row.count);
        if self.rows.len() < TOLD {
            self.rows.push(row);
        }
    }

    fn total(&self) -> u64 {
        self.kinds.values().map(|(rows, _)| rows).sum()
    }
}

/// For people.
pub fn text(anomalies: &Anomalies, screen: &Screen) -> String {
    let mut out = String::new();
    let total = anomalies.total();
    let run = escape::line(&anomalies.run_id);
    let number = match total {
        0 => "none".to_owned(),
        total => screen::counted(total, "row", "rows"),
    };
    heading(
        &mut out,
        screen,
        "ANOMALIES",
        &format!("{number}; run {run}"),
    );
    let columns = anomalies.kinds.keys().map(|kind| screen::width(kind));
    let columns = columns.max().unwrap_or(0);
    for (kind, (rows, times)) in &anomalies.kinds {
        let text = format!(
            "{} in {}",
            screen::counted(*times, "time", "times"),
            screen::counted(*rows, "row", "rows")
        );
        labelled(&mut out, screen, &escape::line(kind), columns, &text);
    }
    let files = Files(
        anomalies
            .captures
            .iter()
            .map(|capture| capture.path.as_str())
            .collect(),
    );
    for row in &anomalies.rows {
        out.push('\n');
        let mut place = match row.first.frame {
            0 => format!("byte {}", screen::count(row.first.offset)),
            frame => format!("frame {}", screen::count(frame)),
        };
        if files.0.len() > 1 {
            place.push_str(&format!(" of {}", files.name(row.first.capture)));
        }
        if row.ts.as_nanos() != 0 {
            place.push_str(&format!(", {} UTC", moment(row.ts)));
        }
        if let Some(flow) = row.flow_id {
            place.push_str(&format!(", flow {}", flow.0));
        }
        let times = match row.count {
            1 => String::new(),
            count => format!(" ({} times)", screen::count(count)),
        };
        let what = escape::line(&row.detail);
        labelled(
            &mut out,
            screen,
            &escape::line(&row.kind),
            columns,
            &format!("{what}{times}"),
        );
        labelled(&mut out, screen, "", columns, &place);
    }
    if total > anomalies.rows.len() as u64 {
        let more = total - anomalies.rows.len() as u64;
        out.push_str(&format!(
            "\n  and {} more (see anomalies.parquet)\n",
            screen::count(more)
        ));
    }
    out.trim_start_matches('\n').to_owned()
}

/// For programs.
///
/// # Errors
///
/// None that text can cause.
pub fn json(anomalies: &Anomalies) -> anyhow::Result<String> {
    #[derive(Serialize)]
    struct Document<'a> {
        schema: &'static str,
        tool: Tool,
        run_id: &'a str,
        total: u64,
        kinds: Vec<Kind<'a>>,
        anomalies: Vec<Row<'a>>,
    }
    #[derive(Serialize)]
    struct Kind<'a> {
        kind: &'a str,
        rows: u64,
        count: u64,
    }
    #[derive(Serialize)]
    struct Row<'a> {
        kind: &'a str,
        layer: &'a str,
        detail: &'a str,
        count: u64,
        flow_id: Option<String>,
        ts: Option<String>,
        capture: u32,
        frame: u64,
        offset: u64,
    }
    document(&Document {
        schema: "nsforensics.anomalies/1",
        tool: TOOL,
        run_id: &anomalies.run_id,
        total: anomalies.total(),
        kinds: anomalies
            .kinds
            .iter()
            .map(|(kind, &(rows, count))| Kind { kind, rows, count })
            .collect(),
        anomalies: anomalies
            .rows
            .iter()
            .map(|row| Row {
                kind: &row.kind,
                layer: &row.layer,
                detail: &row.detail,
                count: row.count,
                flow_id: row.flow_id.map(|id| id.0.to_string()),
                ts: (row.ts.as_nanos() != 0).then(|| row.ts.to_string()),
                capture: row.first.capture,
                frame: row.first.frame,
                offset: row.first.offset,
            })
            .collect(),
    })
}
