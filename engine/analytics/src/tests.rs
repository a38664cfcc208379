//! Queries over tables of a handful of rows, written as a run writes them.

use super::*;
use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::{
    ArrayRef, BooleanArray, Float32Array, Int64Array, RecordBatch, StringArray,
    TimestampNanosecondArray,
};
use parquet::arrow::ArrowWriter;

fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    let mut lists = ListBuilder::new(StringBuilder::new());
    lists.append_value([Some("a"), Some("b")]);
    lists.append_value(Vec::<Option<&str>>::new());
    lists.append_null();
    let columns: [(&str, ArrayRef); 6] = [
        (
            "ts",
            Arc::new(TimestampNanosecondArray::from(vec![
                1_700_000_000_000_000_000,
                2,
                3,
            ])),
        ),
        (
            "src_ip",
            Arc::new(StringArray::from(vec![
                "10.0.0.5",
                "10.0.0.6",
                "2001:db8::1",
            ])),
        ),
        (
            "bytes",
            Arc::new(Int64Array::from(vec![Some(10), None, Some(30)])),
        ),
        ("ratio", Arc::new(Float32Array::from(vec![0.5, 1.0, 0.25]))),
        (
            "local",
            Arc::new(BooleanArray::from(vec![true, false, false])),
        ),
        ("names", Arc::new(lists.finish())),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect("a batch");
    for table in ["flows", "dns_queries"] {
        let file =
            std::fs::File::create(dir.path().join(format!("{table}.parquet"))).expect("a file");
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
        writer.write(&batch).expect("written");
        writer.close().expect("closed");
    }
    dir
}

/// All queries of one connection, so that they may meet what the ones before left.
fn ask_all(folder: &Path, queries: &[&str], bounds: Bounds) -> Vec<Result<Vec<Value>, Trouble>> {
    let mut tables = Tables::open(folder, &[], bounds).expect("tables");
    let asked = queries.iter().map(|sql| {
        let mut rows = Vec::new();
        tables.query(sql, |heard| {
            match heard {
                Heard::Row(row) => rows.push(Value::Object(row)),
                Heard::Again => rows.clear(),
            }
            Ok(())
        })?;
        Ok(rows)
    });
    asked.collect()
}

fn ask(sql: &str, bounds: Bounds) -> Result<Vec<Value>, Trouble> {
    let dir = folder();
    ask_all(dir.path(), &[sql], bounds).remove(0)
}

#[track_caller]
fn gives(sql: &str, expected: Value) {
    let rows = ask(sql, Bounds::default()).expect("an answer");
    assert_eq!(Value::Array(rows), expected, "{sql}");
}

#[track_caller]
fn fails(sql: &str, word: &str) {
    let why = ask(sql, Bounds::default()).expect_err("no answer");
    assert!(why.message.contains(word), "{sql}: {why:?}");
}

#[test]
fn columns_keep_their_types_and_nulls() {
    gives(
        "SELECT * FROM flows ORDER BY ts DESC LIMIT 1",
        serde_json::json!([{
            "ts": 1_700_000_000_000_000_000_i64, "src_ip": "10.0.0.5", "bytes": 10,
            "ratio": 0.5, "local": 1, "names": "[\"a\",\"b\"]",
        }]),
    );
    gives(
        "SELECT count(*) AS n, sum(bytes) AS b FROM flows",
        serde_json::json!([{"n": 3, "b": 40}]),
    );
    gives(
        "SELECT count(*) AS n FROM flows WHERE bytes IS NULL",
        serde_json::json!([{"n": 1}]),
    );
}

#[test]
fn tables_join_and_lists_come_apart() {
    gives(
        "SELECT f.src_ip AS a, n.value AS v FROM flows f, json_each(f.names) n ORDER BY v",
        serde_json::json!([{"a": "10.0.0.5", "v": "a"}, {"a": "10.0.0.5", "v": "b"}]),
    );
    gives(
        "SELECT count(*) AS n FROM flows JOIN dns_queries USING (src_ip)",
        serde_json::json!([{"n": 3}]),
    );
}

#[test]
fn networks_and_moments_have_functions() {
    gives(
        "SELECT src_ip FROM flows WHERE in_network(src_ip, '10.0.0.0/8') AND src_ip > '10.0.0.5'",
        serde_json::json!([{"src_ip": "10.0.0.6"}]),
    );
    gives(
        "SELECT moment(ts) AS t FROM flows WHERE local",
        serde_json::json!([{"t": "2023-11-14T22:13:20.000000000Z"}]),
    );
    fails("SELECT in_network(src_ip, 'x') FROM flows", "no network");
}

#[test]
fn queries_read_and_do_nothing_else() {
    fails("SELECT * FROM absent", "no such table");
    fails("SELECT absent FROM flows", "no such column");
    fails("SELEC 1", "syntax error");
    for sql in [
        "DELETE FROM flows",
        "DROP TABLE flows",
        "ATTACH '/etc/passwd' AS p",
        "PRAGMA writable_schema = 1",
        "CREATE TABLE x (y)",
        "INSERT INTO flows (src_ip) VALUES ('x')",
        "VACUUM INTO '/tmp/x'",
    ] {
        assert!(ask(sql, Bounds::default()).is_err(), "{sql}");
    }
    fails("SELECT load_extension('x')", "not authorized");
    // The tables of the run, and nothing of SQLite's own or of what was copied for others.
    for table in [
        "sqlite_schema",
        "temp.sqlite_schema",
        "dbstat",
        "pragma_database_list",
    ] {
        let sql = format!("SELECT count(*) FROM flows, {table}");
        let why = ask(&sql, Bounds::default()).expect_err("no answer");
        let told = ["prohibited", "not authorized"];
        let is_told = told.iter().any(|word| why.message.contains(word));
        assert!(is_told, "{sql}: {why:?}");
    }
}

#[test]
fn what_was_copied_for_one_query_is_no_table_for_the_next() {
    let dir = tempfile::tempdir().expect("a folder");
    numbers(dir.path(), "a", 100);
    numbers(dir.path(), "b", 100);
    let queries = [
        "SELECT count(*) AS n FROM a JOIN b ON a.n = b.half",
        "SELECT count(*) AS n FROM \"b as copied\"",
        "SELECT count(*) AS n FROM B",
    ];
    let answers = ask_all(dir.path(), &queries, Bounds::default());
    assert!(answers[0].is_ok() && answers[2].is_ok(), "{answers:?}");
    let why = answers[1].as_ref().expect_err("no table");
    assert_eq!(why.message, "not authorized");
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let sql = "SELECT src_ip\nFROM flows\nWHERE absent = 1";
    let why = ask(sql, Bounds::default()).expect_err("no answer");
    assert_eq!(why.at, sql.find("absent"), "{why:?}");
}

#[test]
fn texts_and_rows_have_bounds() {
    fails(
        "SELECT length(replace(hex(zeroblob(30000000)), '0', '00000000')) AS n",
        "too big",
    );
    fails(
        "SELECT zeroblob(9000000) AS a, zeroblob(9000000) AS b",
        "gives a row beyond 16777216 bytes",
    );
}

/// A table of this many rows: `n` from 0, `half` of it, and a text of each.
fn numbers(dir: &Path, table: &str, rows: i64) {
    let n: Vec<i64> = (0..rows).collect();
    let texts: Vec<String> = n.iter().map(|n| format!("text {n}")).collect();
    let half: Vec<i64> = n.iter().map(|n| n / 2).collect();
    let columns: [(&str, ArrayRef); 3] = [
        ("n", Arc::new(Int64Array::from(n))),
        ("half", Arc::new(Int64Array::from(half))),
        ("said", Arc::new(StringArray::from(texts))),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect("a batch");
    let file = std::fs::File::create(dir.join(format!("{table}.parquet"))).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
}

/// What is small by a copy and an index is 10,000,000,000 steps without.
#[test]
fn joins_of_large_tables_end() {
    let dir = tempfile::tempdir().expect("a folder");
    numbers(dir.path(), "a", 100_000);
    numbers(dir.path(), "b", 100_000);
    let join = "SELECT count(*) AS n, max(b.said) AS t FROM a JOIN b ON a.n = b.half";
    let expected = serde_json::json!([{"n": 100_000, "t": "text 99999"}]);
    let queries = [
        join,
        // Other columns of what was copied, the same again, and as it is.
        "SELECT sum(b.n) AS s FROM a, b WHERE b.half = a.n AND a.said = 'text 7'",
        join,
        "SELECT * FROM b WHERE n = 41",
        "SELECT count(*) AS n FROM a NATURAL JOIN b",
        "SELECT count(*) AS n FROM a WHERE EXISTS (SELECT 1 FROM b WHERE b.half = a.n + 49999)",
        "SELECT count(*) AS n FROM a WHERE n IN (SELECT half FROM b)",
    ];
    let answers: Vec<Value> = ask_all(dir.path(), &queries, Bounds::default())
        .into_iter()
        .map(|answer| Value::Array(answer.expect("an answer")))
        .collect();
    assert_eq!(answers[0], expected);
    assert_eq!(answers[1], serde_json::json!([{"s": 14 + 15}]));
    assert_eq!(answers[2], expected);
    let row = serde_json::json!([{"n": 41, "half": 20, "said": "text 41"}]);
    assert_eq!(answers[3], row);
    assert_eq!(answers[4], serde_json::json!([{"n": 100_000}]));
    assert_eq!(answers[5], serde_json::json!([{"n": 1}]));
    assert_eq!(answers[6], serde_json::json!([{"n": 50_000}]));
}

/// Tables have more columns than SQLite's mask has bits.
#[test]
fn columns_beyond_the_sixty_third_are_there() {
    let dir = tempfile::tempdir().expect("a folder");
    let names: Vec<String> = (0..70).map(|n| format!("c{n}")).collect();
    let columns = (0_i64..70).map(|n| -> ArrayRef { Arc::new(Int64Array::from(vec![n])) });
    let batch = RecordBatch::try_from_iter(names.iter().zip(columns)).expect("a batch");
    let file = std::fs::File::create(dir.path().join("wide.parquet")).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
    let queries = ["SELECT c0, c62, c63, c69 FROM wide WHERE c68 = 68"];
    let answer = ask_all(dir.path(), &queries, Bounds::default()).remove(0);
    let row = serde_json::json!({"c0": 0, "c62": 62, "c63": 63, "c69": 69});
    assert_eq!(answer.expect("an answer"), [row]);
}
