//! What is encoded comes back through the parquet crate's own reader.

use crate::table::column::{self as col, Column, Layout};
use crate::table::read;
use crate::table::writer::{FileMeta, Row, TableWriter};
use arrow_schema::DataType;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::net::IpAddr;

/// One value of every kind; what varies comes from `seed` and a `spread`, so
/// that columns repeat much, little, or not at all.
#[derive(Clone, Debug)]
struct Sample {
    number: i64,
    small: i32,
    maybe: Option<i64>,
    float: Option<f32>,
    truth: Option<bool>,
    text: String,
    maybe_text: Option<String>,
    address: IpAddr,
    list: Option<Vec<i64>>,
    texts: Vec<String>,
    records: Option<Vec<(String, Option<i64>)>>,
}

impl Row for Sample {
    const TABLE: &'static str = "samples";
    const DOC: &'static str = "For this test.";
    const GROUP_ROWS: usize = 300;

    fn columns() -> Vec<Column<Self>> {
        let head = |name| (name, "", "x");
        let mut columns = Vec::new();
        for (layout, names) in [
            (
                Layout::Dictionary,
                ["number_d", "small_d", "maybe_d", "text_d", "maybe_text_d"],
            ),
            (
                Layout::Delta,
                ["number_e", "small_e", "maybe_e", "text_e", "maybe_text_e"],
            ),
            (
                Layout::Plain,
                ["number_p", "small_p", "maybe_p", "text_p", "maybe_text_p"],
            ),
            (
                Layout::Raw,
                ["number_r", "small_r", "maybe_r", "text_r", "maybe_text_r"],
            ),
        ] {
            // Differences are for numbers.
            let of_texts = match layout {
                Layout::Delta => Layout::Plain,
                layout => layout,
            };
            let [number, small, maybe, text, maybe_text] = names.map(head);
            columns.extend([
                col::int64(number, |s: &Self| s.number).layout(layout),
                col::int32(small, |s: &Self| s.small).layout(layout),
                col::int64_opt(maybe, |s: &Self| s.maybe).layout(layout),
                col::text(text, |s: &Self| &s.text).layout(of_texts),
                col::text_opt(maybe_text, |s: &Self| s.maybe_text.as_deref()).layout(of_texts),
            ]);
        }
        columns.extend([
            col::float32_opt(head("float"), |s: &Self| s.float),
            col::boolean_opt(head("truth"), |s: &Self| s.truth),
            col::boolean(head("positive"), |s: &Self| s.number > 0),
            col::address(head("address"), |s: &Self| s.address),
            col::list(head("list"), DataType::Int64, true, |s: &Self, items| {
                let list = s.list.as_deref();
                list.unwrap_or_default()
                    .iter()
                    .for_each(|&item| items.number(item));
                list.is_some()
            }),
            col::list_text(head("texts"), false, |s: &Self| col::items(&s.texts)),
            col::records(
                head("records"),
                true,
                &[
                    ("name", DataType::Utf8, false),
                    ("value", DataType::Int64, true),
                ],
                |s: &Self, items| {
                    for (name, value) in s.records.as_deref().unwrap_or_default() {
                        items.text(name);
                        match value {
                            Some(value) => items.number(*value),
                            None => items.null(),
                        }
                    }
                    s.records.is_some()
                },
            ),
        ]);
        columns
    }

    fn sort_key(&self) -> (i64, i64) {
        (0, 0)
    }
}

impl Sample {
    fn expected(&self) -> Value {
        let mut row = serde_json::Map::new();
        for layout in ["d", "e", "p", "r"] {
            row.insert(format!("number_{layout}"), json!(self.number));
            row.insert(format!("small_{layout}"), json!(self.small));
            row.insert(format!("maybe_{layout}"), json!(self.maybe));
            row.insert(format!("text_{layout}"), json!(self.text));
            row.insert(format!("maybe_text_{layout}"), json!(self.maybe_text));
        }
        let records = self.records.as_ref().map(|records| {
            let record =
                |(name, value): &(String, Option<i64>)| json!({"name": name, "value": value});
            records.iter().map(record).collect::<Vec<_>>()
        });
        for (name, value) in [
            ("float", json!(self.float)),
            ("truth", json!(self.truth)),
            ("positive", json!(self.number > 0)),
            ("address", json!(self.address.to_canonical().to_string())),
            ("list", json!(self.list)),
            ("texts", json!(self.texts)),
            ("records", json!(records)),
        ] {
            row.insert(name.to_owned(), value);
        }
        Value::Object(row)
    }
}

#[track_caller]
fn come_back(rows: &[Sample]) {
    let mut writer = TableWriter::<Sample, Vec<u8>>::new(Vec::new(), &FileMeta::default()).unwrap();
    for row in rows {
        writer.push(row.clone()).unwrap();
    }
    let (bytes, count) = writer.finish().unwrap();
    assert_eq!(count, rows.len() as u64);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let read = read::all_rows(file.path()).unwrap();
    assert_eq!(read.len(), rows.len());
    for (read, row) in read.into_iter().zip(rows) {
        assert_eq!(Value::Object(read), row.expected());
    }
}

fn sample(seed: u64, spread: u64) -> Sample {
    let mix = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    let value = mix % spread;
    let bits = mix >> 7;
    let signed = (value as i64).wrapping_sub((spread / 2) as i64);
    let text = format!("é{value}");
    Sample {
        number: if value == 3 {
            i64::MIN
        } else {
            signed.wrapping_mul(1 << 40)
        },
        small: if value == 2 { i32::MAX } else { signed as i32 },
        maybe: bits.is_multiple_of(2).then_some(signed),
        float: bits.is_multiple_of(3).then_some(value as f32 * 0.5),
        truth: bits.is_multiple_of(5).then_some(value.is_multiple_of(2)),
        maybe_text: bits.is_multiple_of(7).then(|| text.clone()),
        address: match value % 3 {
            0 => IpAddr::from([10, 0, 0, value as u8]),
            1 => IpAddr::from([0, 0, 0, 0, 0, 0xffff, 0x0a00, u16::from(value as u8)]),
            _ => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, value as u16]),
        },
        list: (!bits.is_multiple_of(4)).then(|| (0..value % 4).map(|n| n as i64).collect()),
        texts: (0..bits % 3).map(|n| format!("{text}{n}")).collect(),
        records: (!bits.is_multiple_of(6)).then(|| {
            (0..value % 5)
                .map(|n| (format!("{n}"), n.is_multiple_of(2).then_some(signed)))
                .collect()
        }),
        text,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn every_kind_of_column_comes_back(
        seed in any::<u32>(),
        rows in 1_u64..700,
        spread in prop::sample::select(vec![1_u64, 2, 9, 300, 1 << 40]),
    ) {
        let rows: Vec<Sample> =
            (0..rows).map(|row| sample(u64::from(seed) + row, spread)).collect();
        come_back(&rows);
    }
}

#[test]
fn runs_of_equal_rows_come_back() {
    let rows: Vec<Sample> = (0..700).map(|row| sample(row / 37, 1 << 30)).collect();
    come_back(&rows);
}

#[test]
fn extremes_of_differences_come_back() {
    let numbers = [i64::MIN, i64::MAX, 0, -1, 1, i64::MAX, i64::MIN, i64::MIN];
    let smalls = [i32::MIN, i32::MAX, 0, -1, 1, i32::MAX, i32::MIN, i32::MIN];
    let rows: Vec<Sample> = (0..300)
        .map(|row| Sample {
            number: numbers[row % 8],
            small: smalls[row % 8],
            ..sample(row as u64, 5)
        })
        .collect();
    come_back(&rows);
}

/// Groups of one value in every column, then one that ends with another: what
/// was counted must come back as if it had been stored.
#[test]
fn columns_of_one_value_come_back() {
    for seed in 0..12 {
        let row = sample(seed, 1 << 40);
        let mut rows = vec![row.clone(); 700];
        come_back(&rows);
        rows.push(sample(seed + 1, 1 << 40));
        rows.insert(0, sample(seed + 2, 1 << 40));
        come_back(&rows);
    }
    // Of every list: none, no items, one.
    for (list, texts, records) in [
        (None, vec![], None),
        (Some(vec![]), vec![], Some(vec![])),
        (
            Some(vec![7]),
            vec!["x".to_owned()],
            Some(vec![("y".to_owned(), None)]),
        ),
        (
            Some(vec![-7]),
            vec![String::new()],
            Some(vec![("z".to_owned(), Some(1))]),
        ),
    ] {
        let row = Sample {
            list,
            texts,
            records,
            ..sample(1, 9)
        };
        come_back(&vec![row; 650]);
    }
}
