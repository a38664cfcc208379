//! Sigma rules, translated by the engine and asked of tables of a few rows: what
//! must be found is written from the rows, by what Sigma's specification says.

use crate::{Heard, Tables};
use arrow_array::builder::{ListBuilder, StringBuilder, StructBuilder};
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Fields};
use nsforensics_engine::rule::Rules;
use nsforensics_engine::rule::wire::Bounds;
use parquet::arrow::ArrowWriter;
use std::path::Path;
use std::sync::Arc;

/// A table of text columns, number columns, and those that every query asks for.
fn table(dir: &Path, name: &str, columns: Vec<(&str, ArrayRef)>) {
    let rows = columns[0].1.len();
    let count = i64::try_from(rows).expect("few");
    let mut all: Vec<(&str, ArrayRef)> =
        ["dst_port", "capture", "ts", "first_frame", "first_offset"]
            .into_iter()
            .map(|name| (name, Arc::new(Int64Array::from(vec![0; rows])) as ArrayRef))
            .collect();
    all.push(("flow_id", Arc::new(Int64Array::from_iter_values(0..count))));
    all.push((
        "dst_ip",
        Arc::new(StringArray::from(vec!["192.0.2.53"; rows])),
    ));
    all.extend(columns);
    let batch = RecordBatch::try_from_iter(all).expect("a batch");
    let file = std::fs::File::create(dir.join(format!("{name}.parquet"))).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
}

fn texts(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn numbers(values: &[Option<i64>]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

/// Answers as the engine has them, of which tests name the data alone.
fn answers(rows: &[Option<&[&str]>]) -> ArrayRef {
    let fields = Fields::from(vec![Field::new("data", DataType::Utf8, true)]);
    let builder = StructBuilder::new(fields, vec![Box::new(StringBuilder::new())]);
    let mut list = ListBuilder::new(builder);
    for row in rows {
        for data in row.unwrap_or_default() {
            let of = list.values();
            of.field_builder::<StringBuilder>(0)
                .expect("a text")
                .append_value(data);
            of.append(true);
        }
        list.append(row.is_some());
    }
    Arc::new(list.finish())
}

fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    let queries = [
        Some("www.example.org"),
        Some("aGVsbG8==.evil.example"),
        Some("100%.example"),
        None,
    ];
    table(
        dir.path(),
        "dns_queries",
        vec![
            (
                "src_ip",
                texts(&[
                    Some("10.0.0.5"),
                    Some("10.9.0.5"),
                    Some("2001:db8::5"),
                    Some("10.0.0.6"),
                ]),
            ),
            ("query", texts(&queries)),
            (
                "etld1",
                texts(&[Some("example.org"), Some("evil.example"), None, None]),
            ),
            (
                "qtype_name",
                texts(&[Some("A"), Some("TXT"), Some("A"), Some("NULL")]),
            ),
            ("query_len", numbers(&[Some(15), Some(22), Some(12), None])),
            (
                "answers",
                answers(&[Some(&["192.0.2.1", "cmd.exe /c"]), Some(&[]), None, None]),
            ),
        ],
    );
    table(
        dir.path(),
        "http_transactions",
        vec![
            ("src_ip", texts(&[Some("10.0.0.5"); 3])),
            ("method", texts(&[Some("GET"), Some("POST"), Some("GET")])),
            (
                "host",
                texts(&[Some("onedrive.live.com"), Some("tools.example"), None]),
            ),
            (
                "path",
                texts(&[Some("/a/b.exe"), Some("/oscp/x"), Some("/")]),
            ),
            (
                "user_agent",
                texts(&[Some("curl/8.5"), Some("Mozilla/5.0 (X; MANM; MANM)"), None]),
            ),
            ("plaintext", numbers(&[Some(1), Some(0), Some(1)])),
            ("response_status", numbers(&[Some(200), Some(404), None])),
        ],
    );
    dir
}

/// Rows that a rule finds, by their number.
#[track_caller]
fn finds(logsource: &str, detection: &str, expected: &[i64]) {
    let text = format!("title: It's a test\nlogsource: {logsource}\ndetection:\n{detection}\n");
    let rules = Rules::parse("t.yml", text.as_bytes());
    assert!(rules.problems.is_empty(), "{detection}: {rules:?}");
    let dir = folder();
    let mut tables = Tables::open(dir.path(), &[], Bounds::default()).expect("tables");
    let mut found = Vec::new();
    tables
        .query(&rules.rules[0].query, |heard| {
            if let Heard::Row(row) = heard {
                found.push(row["flow_id"].as_i64().expect("a number"));
                let told = row["explanation"].as_str().expect("a text");
                assert!(told.starts_with("It's a test"), "{told}");
            }
            Ok(())
        })
        .unwrap_or_else(|why| panic!("{detection}: {why:?}\n{}", rules.rules[0].query));
    found.sort_unstable();
    assert_eq!(found, expected, "{detection}\n{}", rules.rules[0].query);
}

#[test]
fn rules_find_what_sigma_says() {
    for (detection, expected) in [
        ("  s: {query: WWW.example.ORG}\n  condition: s", &[0][..]),
        ("  s: {query: '*.example'}\n  condition: s", &[1, 2]),
        ("  s: {query: 'www.example.or?'}\n  condition: s", &[0]),
        ("  s: {'query|contains': '==.'}\n  condition: s", &[1]),
        ("  s: {'query|contains': '%'}\n  condition: s", &[2]),
        (
            "  s: {'query|endswith': [.org, .example]}\n  condition: s",
            &[0, 1, 2],
        ),
        (
            "  s: {'query|contains|all': [example, '100']}\n  condition: s",
            &[2],
        ),
        ("  s: {'query|cased': WWW.example.ORG}\n  condition: s", &[]),
        ("  s: {'query|cased|startswith': aGV}\n  condition: s", &[1]),
        (
            "  s: {'query|re': '^[A-Za-z0-9]+==\\.'}\n  condition: s",
            &[1],
        ),
        ("  s: {'query|re|i': '^WWW'}\n  condition: s", &[0]),
        ("  s: {query: null}\n  condition: s", &[3]),
        ("  s: {record_type: ['NULL', TXT]}\n  condition: s", &[1, 3]),
        ("  s: {'question_length|gt': 12}\n  condition: s", &[0, 1]),
        (
            "  s: {'src_ip|cidr': [10.0.0.0/16, '2001:db8::/32']}\n  condition: s",
            &[0, 2, 3],
        ),
        ("  s: {'answer|contains': cmd.exe}\n  condition: s", &[0]),
        // What is not there does not fit, so its opposite does.
        ("  s: {'query|contains': example}\n  condition: not s", &[3]),
        (
            "  s: {'answer|contains': cmd.exe}\n  condition: not s",
            &[1, 2, 3],
        ),
        (
            "  a: {'query|contains': example}\n  b: {record_type: TXT}\n  condition: a and not b",
            &[0, 2],
        ),
        (
            "  s_a: {record_type: TXT}\n  s_b: {record_type: 'NULL'}\n  condition: 1 of s_*",
            &[1, 3],
        ),
    ] {
        finds("{category: dns}", detection, expected);
    }
    for (detection, expected) in [
        (
            "  s: {c-useragent|endswith: '; MANM; MANM)'}\n  condition: s",
            &[1][..],
        ),
        ("  s: {c-useragent: ''}\n  condition: s", &[2]),
        ("  s: {c-uri|contains: '/OSCP/'}\n  condition: s", &[1]),
        (
            "  s: {c-uri|startswith: 'http://onedrive'}\n  condition: s",
            &[0],
        ),
        ("  s: {c-uri|startswith: '/'}\n  condition: s", &[0, 1, 2]),
        ("  s: {c-uri-extension: [exe, dll]}\n  condition: s", &[0]),
        (
            "  s: {sc-status: [404, 500], cs-method: POST}\n  condition: s",
            &[1],
        ),
        (
            "  s: {cs-host|endswith: .example}\n  f: {sc-status: 404}\n  condition: s and not f",
            &[],
        ),
    ] {
        finds("{category: proxy}", detection, expected);
    }
}

#[test]
fn what_is_no_pattern_is_told() {
    let text = "title: T\nlogsource: {category: dns}\ndetection: {s: {'query|re': '(?=x)'}, condition: s}\n";
    let rules = Rules::parse("t.yml", text.as_bytes());
    let dir = folder();
    let mut tables = Tables::open(dir.path(), &[], Bounds::default()).expect("tables");
    let asked = tables.query(&rules.rules[0].query, |_| Ok(()));
    let why = asked.expect_err("look-ahead");
    assert!(why.message.contains("no regular expression"), "{why:?}");
}
