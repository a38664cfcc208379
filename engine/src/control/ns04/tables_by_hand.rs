//! Tables of questions, requests and handshakes by hand, for detectors' cases:
//! only the columns that detectors read, as an old run may have them.

use super::testing::judge_folder;
use super::{Behaviour, Judgement};
use crate::policy::Policy;
use crate::proto::dns::{dga, suffix};
use arrow_array::builder::{ListBuilder, StringBuilder, TimestampNanosecondBuilder};
use arrow_array::{
    ArrayRef, BooleanArray, Float32Array, Int32Array, Int64Array, RecordBatch, StringArray,
};
use parquet::arrow::ArrowWriter;
use std::path::Path;
use std::sync::Arc;

/// Named columns, all of one length.
pub(super) type Columns = Vec<(&'static str, ArrayRef)>;

/// Where rows stand: one a second apart where no time is given.
pub(super) fn places(times_ns: &[i64]) -> Columns {
    let mut ts = TimestampNanosecondBuilder::new().with_timezone("UTC");
    times_ns.iter().for_each(|&time| ts.append_value(time));
    let numbers: Vec<i64> = (1..).take(times_ns.len()).collect();
    vec![
        (
            "capture",
            Arc::new(Int32Array::from(vec![0; times_ns.len()])),
        ),
        ("flow_id", Arc::new(Int64Array::from(numbers.clone()))),
        ("ts", Arc::new(ts.finish())),
        ("first_frame", Arc::new(Int64Array::from(numbers.clone()))),
        ("first_offset", Arc::new(Int64Array::from(numbers))),
    ]
}

pub(super) fn texts<'a>(values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

pub(super) fn ints(values: impl Iterator<Item = Option<i32>>) -> ArrayRef {
    Arc::new(values.collect::<Int32Array>())
}

pub(super) fn lists<'a>(values: impl Iterator<Item = &'a [&'a str]>) -> ArrayRef {
    let mut out = ListBuilder::new(StringBuilder::new());
    for list in values {
        list.iter().for_each(|text| out.values().append_value(text));
        out.append(true);
    }
    Arc::new(out.finish())
}

/// Writes a table of these columns.
pub(super) fn write(folder: &Path, table: &str, columns: Columns) {
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let file = std::fs::File::create(folder.join(format!("{table}.parquet"))).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// A question with its answer: A, NOERROR, 80 bytes, from 10.0.0.5, at 0 seconds.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    name: String,
    src: &'static str,
    at: f64,
    qtype: i32,
    rcode: i32,
    answer: i32,
    transport: &'static str,
}

pub(super) fn asked(name: impl Into<String>) -> Asked {
    Asked {
        name: name.into(),
        src: "10.0.0.5",
        at: 0.0,
        qtype: 1,
        rcode: 0,
        answer: 80,
        transport: "udp",
    }
}

impl Asked {
    pub(super) fn at(mut self, seconds: f64) -> Self {
        self.at = seconds;
        self
    }

    pub(super) fn by(mut self, src: &'static str) -> Self {
        self.src = src;
        self
    }

    pub(super) fn of_type(mut self, qtype: i32) -> Self {
        self.qtype = qtype;
        self
    }

    pub(super) fn denied(mut self) -> Self {
        self.rcode = 3;
        self
    }

    pub(super) fn over(mut self, transport: &'static str) -> Self {
        self.transport = transport;
        self
    }
}

/// What a check says of these questions.
#[track_caller]
pub(super) fn judge_asked(check: &dyn Behaviour, policy: &Policy, rows: &[Asked]) -> Judgement {
    let folder = tempfile::tempdir().unwrap();
    let times: Vec<i64> = rows.iter().map(|row| (row.at * 1e9) as i64).collect();
    let mut columns = places(&times);
    let length = |text: &str| Some(i32::try_from(text.len()).unwrap());
    let domain = |row: &Asked| suffix::registered(&row.name).map(str::to_owned);
    let domains: Vec<_> = rows.iter().map(domain).collect();
    let below = rows.iter().zip(&domains).map(|(row, domain)| {
        let before = row.name.strip_suffix(domain.as_deref()?)?;
        before.strip_suffix('.')
    });
    let labels = |row: &Asked| {
        row.name
            .split('.')
            .max_by_key(|label| label.len())
            .and_then(length)
    };
    let scores: Float32Array = domains
        .iter()
        .map(|domain| dga::score(domain.as_deref()?))
        .collect();
    columns.extend([
        ("src_ip", texts(rows.iter().map(|row| Some(row.src)))),
        ("dst_ip", texts(rows.iter().map(|_| Some("10.0.0.53")))),
        ("dst_port", ints(rows.iter().map(|_| Some(53)))),
        (
            "transport",
            texts(rows.iter().map(|row| Some(row.transport))),
        ),
        (
            "query",
            texts(rows.iter().map(|row| Some(row.name.as_str()))),
        ),
        ("query_len", ints(rows.iter().map(|row| length(&row.name)))),
        ("max_label_len", ints(rows.iter().map(labels))),
        ("subdomain", texts(below)),
        ("etld1", texts(domains.iter().map(Option::as_deref))),
        ("qtype", ints(rows.iter().map(|row| Some(row.qtype)))),
        ("rcode", ints(rows.iter().map(|row| Some(row.rcode)))),
        (
            "answer_bytes",
            ints(rows.iter().map(|row| Some(row.answer))),
        ),
        ("dga_score", Arc::new(scores)),
        (
            "unanswered",
            Arc::new(BooleanArray::from(vec![false; rows.len()])),
        ),
    ]);
    write(folder.path(), "dns_queries", columns);
    judge_folder(check, policy, folder.path())
}

/// Letters by a linear congruence: the same every time, and no word.
pub(super) fn noise(seed: u64, len: usize, alphabet: &[u8]) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            char::from(alphabet[usize::try_from(state >> 20).unwrap() % alphabet.len()])
        })
        .collect()
}
