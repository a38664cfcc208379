//! Tables back from their files: what `audit` needs of a run that was verified,
//! and any table as JSON rows.

use super::column::hex;
use crate::capture::CaptureSummary;
use crate::control::Severity;
use crate::error::{Error, Result};
use crate::evidence::{FlowId, PacketRef};
use crate::finding::{CoverageRow, Finding, Measure, Numbers, Verdict, VerdictKind};
use crate::time::CaptureTime;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampNanosecondType,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;
use std::sync::Mutex;

/// Calls `each` with every row of a Parquet file as a JSON object: times as
/// nanoseconds since the epoch, bytes as hex, nulls as null.
///
/// # Errors
///
/// When the file cannot be read, or has types that no table has; and what
/// `each` returns.
pub fn rows(path: &Path, mut each: impl FnMut(Map<String, Value>) -> Result<()>) -> Result<()> {
    let failed = |message: String| Error::Table {
        table: path.display().to_string(),
        message,
    };
    let file = File::open(path).map_err(|e| Error::io(path, "cannot open the table", e))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .and_then(|builder| builder.with_batch_size(1_024).build())
        .map_err(|e| failed(e.to_string()))?;
    for batch in reader {
        let batch = batch.map_err(|e| failed(e.to_string()))?;
        for index in 0..batch.num_rows() {
            each(row(&batch, index).map_err(failed)?)?;
        }
    }
    Ok(())
}

/// All rows of a Parquet file as JSON objects; see [`rows`].
///
/// # Errors
///
/// As [`rows`].
pub fn all_rows(path: &Path) -> Result<Vec<Map<String, Value>>> {
    let mut out = Vec::new();
    rows(path, |row| {
        out.push(row);
        Ok(())
    })?;
    Ok(out)
}

/// Key-value metadata of a Parquet file.
///
/// # Errors
///
/// When the file cannot be read.
pub fn metadata(path: &Path) -> Result<Vec<(String, String)>> {
    let file = File::open(path).map_err(|e| Error::io(path, "cannot open the table", e))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| Error::Table {
        table: path.display().to_string(),
        message: e.to_string(),
    })?;
    let pairs = builder.metadata().file_metadata().key_value_metadata();
    let pairs = pairs.map(Vec::as_slice).unwrap_or_default().iter();
    Ok(pairs
        .map(|pair| (pair.key.clone(), pair.value.clone().unwrap_or_default()))
        .collect())
}

/// Names of the columns of a Parquet file.
///
/// # Errors
///
/// When the file cannot be read.
pub(super) fn columns(path: &Path) -> Result<Vec<String>> {
    let file = File::open(path).map_err(|e| Error::io(path, "cannot open the table", e))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| Error::Table {
        table: path.display().to_string(),
        message: e.to_string(),
    })?;
    let fields = builder.schema().fields().iter();
    Ok(fields.map(|field| field.name().clone()).collect())
}

/// Calls `each` with these columns of every row of a Parquet file.
///
/// # Errors
///
/// As [`rows`]; and when `each` does not understand a row.
pub(super) fn projected(
    path: &Path,
    columns: &[&str],
    mut each: impl FnMut(&Fields<'_>) -> Result<(), String>,
) -> Result<()> {
    let failed = |message: String| Error::Table {
        table: path.display().to_string(),
        message,
    };
    let file = File::open(path).map_err(|e| Error::io(path, "cannot open the table", e))?;
    let builder =
        ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| failed(e.to_string()))?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
    let reader = builder
        .with_projection(mask)
        .with_batch_size(1_024)
        .build()
        .map_err(|e| failed(e.to_string()))?;
    for batch in reader {
        let batch = batch.map_err(|e| failed(e.to_string()))?;
        for index in 0..batch.num_rows() {
            let row = row(&batch, index).map_err(failed)?;
            each(&Fields(&row)).map_err(failed)?;
        }
    }
    Ok(())
}

fn row(batch: &RecordBatch, index: usize) -> Result<Map<String, Value>, String> {
    let schema = batch.schema();
    let fields = schema.fields().iter().zip(batch.columns());
    fields
        .map(|(field, array)| Ok((field.name().clone(), value(array, index)?)))
        .collect()
}

fn value(array: &ArrayRef, index: usize) -> Result<Value, String> {
    if array.is_null(index) {
        return Ok(Value::Null);
    }
    Ok(match array.data_type() {
        DataType::Boolean => array.as_boolean().value(index).into(),
        DataType::Int8 => array.as_primitive::<Int8Type>().value(index).into(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(index).into(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(index).into(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(index).into(),
        DataType::Float32 => array.as_primitive::<Float32Type>().value(index).into(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(index).into(),
        DataType::Utf8 => array.as_string::<i32>().value(index).into(),
        DataType::Binary => hex(array.as_binary::<i32>().value(index)).into(),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            let array = array.as_primitive::<TimestampNanosecondType>();
            array.value(index).into()
        }
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(index);
            let items: Result<Vec<Value>, String> =
                (0..items.len()).map(|at| value(&items, at)).collect();
            items?.into()
        }
        DataType::Struct(fields) => {
            let columns = fields.iter().zip(array.as_struct().columns());
            let members: Result<Map<String, Value>, String> = columns
                .map(|(field, column)| Ok((field.name().clone(), value(column, index)?)))
                .collect();
            members?.into()
        }
        other => {
            return Err(format!(
                "no table of this version has a column of type {other}"
            ));
        }
    })
}

/// The times of the first packets of these flows, of those that `flows` holds.
///
/// # Errors
///
/// When the table cannot be read, or is not of this version.
pub fn flow_times(run: &Path, ids: &BTreeSet<i64>) -> Result<BTreeMap<i64, CaptureTime>> {
    let path = run.join("flows.parquet");
    let failed = |message: String| Error::Table {
        table: path.display().to_string(),
        message,
    };
    let file = File::open(&path).map_err(|e| Error::io(&path, "cannot open the table", e))?;
    let builder =
        ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| failed(e.to_string()))?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), ["flow_id", "ts"]);
    let reader = builder
        .with_projection(mask)
        .build()
        .map_err(|e| failed(e.to_string()))?;
    let mut out = BTreeMap::new();
    for batch in reader {
        let batch = batch.map_err(|e| failed(e.to_string()))?;
        let column = |name: &str| {
            let column = batch.column_by_name(name);
            column.ok_or_else(|| failed(format!("column {name} is missing")))
        };
        let flows = column("flow_id")?.as_primitive_opt::<Int64Type>();
        let times = column("ts")?.as_primitive_opt::<TimestampNanosecondType>();
        let (Some(flows), Some(times)) = (flows, times) else {
            return Err(failed("flow_id or ts is of another type".to_owned()));
        };
        for (flow, ts) in flows.values().iter().zip(times.values()) {
            if ids.contains(flow) {
                out.insert(*flow, CaptureTime::from_nanos(*ts));
            }
        }
    }
    Ok(out)
}

/// The verdicts of a run.
///
/// # Errors
///
/// These and those below: when the table cannot be read, or is not of this version.
pub fn verdicts(run: &Path) -> Result<Vec<Verdict>> {
    typed(run, "verdicts", |row| {
        let verdict = match row.text("verdict")?.as_str() {
            "pass" => VerdictKind::Pass,
            "fail" => VerdictKind::Fail,
            "not_observed" => VerdictKind::NotObserved,
            other => return Err(format!("unknown verdict {other:?}")),
        };
        Ok(Verdict {
            control_id: row.text("control_id")?,
            check_id: row.text_opt("check_id")?,
            title: row.text("title")?,
            requirement: row.text("requirement")?,
            assurance_levels: row.texts("assurance_levels")?,
            stride: row.texts("stride")?,
            aatt: row.texts("aatt")?,
            verdict,
            evaluated: row.number("evaluated")?,
            passed: row.number("passed")?,
            warned: row.number("warned")?,
            failed: row.number("failed")?,
            refused: row.number("refused")?,
            not_observed: row.number("not_observed")?,
            worst_severity: row
                .text_opt("worst_severity")?
                .map(|name| severity(&name))
                .transpose()?,
            reason: row.text("reason")?,
            example_flow_ids: row.flow_ids("example_flow_ids")?,
        })
    })
}

/// The coverage of a run.
pub fn coverage(run: &Path) -> Result<Vec<CoverageRow>> {
    typed(run, "coverage", |row| {
        Ok(CoverageRow {
            capture: row.number("capture")?,
            check_id: intern(&row.text("check_id")?)?,
            passed: row.number("passed")?,
            warned: row.number("warned")?,
            failed: row.number("failed")?,
            refused: row.number("refused")?,
            not_observed: row.number("not_observed")?,
            reason: row.text("reason")?,
            bytes_affected: row.number("bytes_affected")?,
            example_flow_ids: row.flow_ids("example_flow_ids")?,
        })
    })
}

/// The findings of a run, worst first.
pub fn findings(run: &Path) -> Result<Vec<Finding>> {
    typed(run, "findings", |row| {
        Ok(Finding {
            finding_id: row.text("finding_id")?,
            ts_first: row.time("ts_first")?,
            ts_last: row.time("ts_last")?,
            first: match row.get("first_frame")? {
                Value::Null => PacketRef::default(),
                _ => PacketRef {
                    capture: row.number("capture")?,
                    frame: row.number("first_frame")?,
                    offset: row.number("first_offset")?,
                },
            },
            check_id: intern(&row.text("check_id")?)?,
            severity: severity(&row.text("severity")?)?,
            baseline: match row.get("baseline")? {
                Value::Null => None,
                value => Some(value.as_bool().ok_or("baseline is no truth value")?),
            },
            src: row.address("src_ip")?,
            dst: row.address("dst_ip")?,
            dst_port: row.number("dst_port")?,
            destination: row.text("destination")?,
            detail: row.text("detail")?,
            flow_ids: row.flow_ids("flow_ids")?,
            flow_count: row.number("flow_count")?,
            title: row.text("title")?,
            explanation: row.text("explanation")?,
            attack_techniques: row
                .texts("attack_techniques")?
                .iter()
                .map(|id| intern(id))
                .collect::<Result<_, String>>()?,
            evidence: row
                .list("evidence_frames")?
                .iter()
                .map(|frame| {
                    let frame = Fields(frame.as_object().ok_or("evidence is no struct")?);
                    Ok(PacketRef {
                        capture: frame.number("capture")?,
                        frame: frame.number("frame")?,
                        offset: frame.number("offset")?,
                    })
                })
                .collect::<Result<_, String>>()?,
            prevalence_hosts: row.number("prevalence_hosts")?,
            numbers: numbers(&row)?,
        })
    })
}

/// The numbers of a finding.
fn numbers(row: &Fields<'_>) -> Result<Numbers, String> {
    #[expect(clippy::cast_possible_truncation, reason = "they were written as such")]
    let ratio = |key| {
        row.fraction(key)
            .map(|value| value.map(|value| value as f32))
    };
    let measure = match row.text_opt("metric")? {
        None => None,
        Some(metric) => {
            let missing = || format!("{metric} has no value");
            Some(Measure {
                observed: row.fraction("observed")?.ok_or_else(missing)?,
                threshold: row.fraction("threshold")?.ok_or_else(missing)?,
                comparator: row.text("comparator")?.into(),
                unit: row.text("unit")?.into(),
                metric: metric.into(),
            })
        }
    };
    Ok(Numbers {
        score: ratio("score")?,
        confidence: ratio("confidence")?,
        measure,
        interval_seconds: row.fraction("interval_seconds")?,
        cv: row.fraction("cv")?,
        samples: match row.get("samples")? {
            Value::Null => None,
            _ => Some(row.number("samples")?),
        },
        evidence: row.text_opt("evidence")?,
        suppressed_by: row.text_opt("suppressed_by")?.map(Into::into),
    })
}

/// What an audit says of the inputs of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct CaptureBrief {
    /// Row number.
    pub capture: u32,
    /// As given on the command line.
    pub path: String,
    /// SHA-256, hex.
    pub sha256: Option<String>,
    /// Packets read.
    pub packets: u64,
    /// Size as stored.
    pub size_bytes: u64,
    /// Earliest packet.
    pub ts_first: Option<CaptureTime>,
    /// Latest packet.
    pub ts_last: Option<CaptureTime>,
    /// Why the file, or its rest, could not be read.
    pub error: Option<String>,
}

/// The inputs of a run.
pub fn captures(run: &Path) -> Result<Vec<CaptureBrief>> {
    typed(run, "captures", |row| {
        Ok(CaptureBrief {
            capture: row.number("capture")?,
            path: row.text("path")?,
            sha256: row.text_opt("sha256")?,
            packets: row.number("packets")?,
            size_bytes: row.number("size_bytes")?,
            ts_first: row.time_opt("ts_first")?,
            ts_last: row.time_opt("ts_last")?,
            error: row.text_opt("error")?,
        })
    })
}

/// A row of `anomalies`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnomalyBrief {
    /// What kind.
    pub kind: String,
    /// Layer that noticed.
    pub layer: String,
    /// What was wrong with the first.
    pub detail: String,
    /// How often.
    pub count: u64,
    /// The flow; `None` where it belongs to the file.
    pub flow_id: Option<FlowId>,
    /// Packet time of the first.
    pub ts: CaptureTime,
    /// The first.
    pub first: PacketRef,
}

/// Calls `each` with every anomaly of a run, in the table's order.
pub fn anomalies(run: &Path, mut each: impl FnMut(AnomalyBrief)) -> Result<()> {
    let path = run.join("anomalies.parquet");
    rows(&path, |row| {
        let row = Fields(&row);
        let brief = || -> Result<AnomalyBrief, String> {
            Ok(AnomalyBrief {
                kind: row.text("kind")?,
                layer: row.text("layer")?,
                detail: row.text("detail")?,
                count: row.number("count")?,
                flow_id: row.get("flow_id")?.as_i64().map(FlowId),
                ts: row.time("ts")?,
                first: PacketRef {
                    capture: row.number("capture")?,
                    frame: row.number("first_frame")?,
                    offset: row.number("first_offset")?,
                },
            })
        };
        each(brief().map_err(|message| Error::Table {
            table: path.display().to_string(),
            message,
        })?);
        Ok(())
    })
}

/// The inputs of a run as their summaries; interfaces are left out.
pub fn capture_summaries(run: &Path) -> Result<Vec<CaptureSummary>> {
    typed(run, "captures", |row| {
        let digest = row.text_opt("sha256")?.and_then(|text| {
            let mut digest = [0_u8; 32];
            for (at, byte) in digest.iter_mut().enumerate() {
                *byte = u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok()?;
            }
            Some(digest)
        });
        Ok(CaptureSummary {
            path: row.text("path")?,
            file_name: row.text("file_name")?,
            size_bytes: row.number("size_bytes")?,
            size_uncompressed_bytes: row.number("size_uncompressed_bytes")?,
            sha256: digest,
            format: row.text("format")?,
            link_types: row
                .list("link_types")?
                .iter()
                .filter_map(|link| u16::try_from(link.as_i64()?).ok())
                .collect(),
            ts_precision: row.text("ts_precision")?,
            packets: row.number("packets")?,
            packets_truncated: row.number("packets_truncated")?,
            packets_malformed: row.number("packets_malformed")?,
            packets_unsupported: row.number("packets_unsupported")?,
            undecoded: row
                .list("undecoded")?
                .iter()
                .map(|entry| {
                    let entry = Fields(entry.as_object().ok_or("undecoded is no struct")?);
                    Ok((intern(&entry.text("reason")?)?, entry.number("count")?))
                })
                .collect::<Result<_, String>>()?,
            bytes_captured: row.number("bytes_captured")?,
            bytes_wire: row.number("bytes_wire")?,
            bytes_skipped: row.number("bytes_skipped")?,
            ts_first: row.time_opt("ts_first")?,
            ts_last: row.time_opt("ts_last")?,
            time_backward_steps: row.number("time_backward_steps")?,
            order_in_set: row.number("order_in_set")?,
            error: row.text_opt("error")?,
            ..CaptureSummary::default()
        })
    })
}

fn typed<T>(
    run: &Path,
    table: &str,
    make: impl Fn(Fields<'_>) -> Result<T, String>,
) -> Result<Vec<T>> {
    let path = run.join(format!("{table}.parquet"));
    let mut out = Vec::new();
    rows(&path, |row| {
        let made = make(Fields(&row)).map_err(|message| Error::Table {
            table: path.display().to_string(),
            message,
        })?;
        out.push(made);
        Ok(())
    })?;
    Ok(out)
}

/// A row by the names of its columns.
pub(super) struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    pub(super) fn get(&self, key: &str) -> Result<&Value, String> {
        self.0.get(key).ok_or_else(|| format!("no column {key}"))
    }

    pub(super) fn text_opt(&self, key: &str) -> Result<Option<String>, String> {
        match self.get(key)? {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text.clone())),
            _ => Err(format!("column {key} is no text")),
        }
    }

    pub(super) fn text(&self, key: &str) -> Result<String, String> {
        let text = self.text_opt(key)?;
        text.ok_or_else(|| format!("column {key} is null"))
    }

    pub(super) fn number<T: TryFrom<i64>>(&self, key: &str) -> Result<T, String> {
        let number = self.get(key)?.as_i64().and_then(|n| T::try_from(n).ok());
        number.ok_or_else(|| format!("column {key} is no number in its range"))
    }

    pub(super) fn fraction(&self, key: &str) -> Result<Option<f64>, String> {
        match self.get(key)? {
            Value::Null => Ok(None),
            value => match value.as_f64() {
                Some(value) => Ok(Some(value)),
                None => Err(format!("column {key} is no number")),
            },
        }
    }

    pub(super) fn time_opt(&self, key: &str) -> Result<Option<CaptureTime>, String> {
        match self.get(key)? {
            Value::Null => Ok(None),
            value => {
                let nanos = value
                    .as_i64()
                    .ok_or_else(|| format!("column {key} is no time"))?;
                Ok(Some(CaptureTime::from_nanos(nanos)))
            }
        }
    }

    pub(super) fn time(&self, key: &str) -> Result<CaptureTime, String> {
        let time = self.time_opt(key)?;
        time.ok_or_else(|| format!("column {key} is null"))
    }

    pub(super) fn address(&self, key: &str) -> Result<std::net::IpAddr, String> {
        let text = self.text(key)?;
        text.parse()
            .map_err(|_| format!("column {key} holds no address: {text:?}"))
    }

    pub(super) fn list(&self, key: &str) -> Result<&[Value], String> {
        let list = self.get(key)?.as_array();
        list.map(Vec::as_slice)
            .ok_or_else(|| format!("column {key} is no list"))
    }

    pub(super) fn texts(&self, key: &str) -> Result<Vec<String>, String> {
        let texts = self
            .list(key)?
            .iter()
            .map(|item| item.as_str().map(str::to_owned));
        texts
            .collect::<Option<_>>()
            .ok_or_else(|| format!("column {key} holds something else than text"))
    }

    pub(super) fn flow_ids(&self, key: &str) -> Result<Vec<FlowId>, String> {
        let ids = self.list(key)?.iter().map(|item| item.as_i64().map(FlowId));
        ids.collect::<Option<_>>()
            .ok_or_else(|| format!("column {key} holds something else than flow ids"))
    }

    pub(super) fn flag(&self, key: &str) -> Result<bool, String> {
        let flag = self.get(key)?.as_bool();
        flag.ok_or_else(|| format!("column {key} is no truth value"))
    }

    pub(super) fn numbers<T: TryFrom<i64>>(&self, key: &str) -> Result<Vec<T>, String> {
        let items = self.list(key)?.iter();
        let numbers = items.map(|item| item.as_i64().and_then(|n| T::try_from(n).ok()));
        numbers
            .collect::<Option<_>>()
            .ok_or_else(|| format!("column {key} holds something else than numbers in its range"))
    }
}

fn severity(name: &str) -> Result<Severity, String> {
    Severity::from_name(name).ok_or_else(|| format!("unknown severity {name:?}"))
}

/// Check and technique ids are `&'static str` in the engine, where they come
/// from its own lists. Read back, each different one is kept for good; a bound
/// keeps a forged table from making that a leak.
pub(crate) fn intern(text: &str) -> Result<&'static str, String> {
    const MOST: usize = 4_096;
    static KNOWN: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut known = KNOWN
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(found) = known.get(text) {
        return Ok(found);
    }
    if known.len() >= MOST || text.len() > 256 {
        return Err(format!(
            "more than {MOST} different ids, or one beyond 256 bytes"
        ));
    }
    let kept: &'static str = Box::leak(text.to_owned().into_boxed_str());
    known.insert(kept);
    Ok(kept)
}
