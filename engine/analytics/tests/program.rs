//! The built program: what one query does to the process that answers it is no
//! matter to the next one.

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use nsforensics_engine::rule::wire::{Bounds, Line, Lines, MAX_LINE, Order};
use parquet::arrow::ArrowWriter;
use std::io::{Error, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

struct Program {
    child: Child,
    orders: Option<ChildStdin>,
    answers: Lines<ChildStdout>,
    folder: tempfile::TempDir,
}

impl Program {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let columns: [(&str, ArrayRef); 2] = [
            ("src_ip", Arc::new(StringArray::from(vec!["10.0.0.5"]))),
            ("n", Arc::new(Int64Array::from(vec![7]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).expect("a batch");
        let path = folder.path().join("flows.parquet");
        let file = std::fs::File::create(path).expect("a file");
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
        writer.write(&batch).expect("written");
        writer.close().expect("closed");
        let mut child = Command::new(env!("CARGO_BIN_EXE_nsforensics-sql"))
            .env("SQLITE_TMPDIR", folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let answers = Lines::new(child.stdout.take().expect("a pipe"), MAX_LINE);
        Self {
            orders: child.stdin.take(),
            child,
            answers,
            folder,
        }
    }

    fn send(&mut self, query: &str, bounds: Bounds) {
        let order = Order {
            folder: self.folder.path().to_owned(),
            tables: Vec::new(),
            query: query.to_owned(),
            bounds,
        };
        let mut line = serde_json::to_vec(&order).expect("JSON");
        line.push(b'\n');
        let orders = self.orders.as_mut().expect("open");
        orders.write_all(&line).expect("taken");
    }

    /// The rows, or why there are none.
    fn ask(&mut self, query: &str, bounds: Bounds) -> Result<usize, String> {
        self.send(query, bounds);
        let mut rows = 0;
        loop {
            let line = self.answers.next::<Error>(&mut || Ok(())).expect("heard");
            match serde_json::from_slice(line.expect("an end")).expect("a line") {
                Line::Row(_) => rows += 1,
                Line::Again => rows = 0,
                Line::End => return Ok(rows),
                Line::Failed(why) => return Err(why.message),
            }
        }
    }

    #[track_caller]
    fn fails(&mut self, query: &str, bounds: Bounds, word: &str) {
        let why = self.ask(query, bounds).expect_err("no answer");
        assert!(why.contains(word), "{query}: {why}");
        let patient = Bounds {
            seconds: 600,
            ..bounds
        };
        let next = self.ask("SELECT * FROM flows", patient);
        assert_eq!(next, Ok(1), "after {query}");
    }

    /// Whoever answers for this program.
    fn workers(&self) -> Vec<u32> {
        let pid = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.unwrap_or_default();
        children.split_whitespace().flat_map(str::parse).collect()
    }
}

/// One call of a function, which takes hours.
const LONG_CALL: &str = "SELECT instr(zeroblob(8000000), zeroblob(4000000) || x'01') AS n";

#[test]
fn a_query_that_fails_costs_no_other() {
    let mut program = Program::start();
    let usual = Bounds {
        memory_bytes: 256 << 20,
        ..Bounds::default()
    };
    program.fails("SELECT absent FROM flows", usual, "no such column");
    program.fails(
        "SELECT hex(zeroblob(20000000)) AS detail FROM flows",
        usual,
        "a row beyond 16777216 bytes",
    );
    let quick = Bounds {
        seconds: 1,
        ..usual
    };
    for long in [
        LONG_CALL,
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n",
    ] {
        program.fails(long, quick, "took longer than 1 seconds");
    }
    let texts = "SELECT hex(zeroblob(30000000)) AS a, hex(zeroblob(30000001)) AS b, \
                 hex(zeroblob(30000002)) AS c";
    program.fails(texts, usual, "out of memory");
    // Two hundred regular expressions of megabytes each.
    let expressions: Vec<String> = (0..200)
        .map(|number| format!("matches(src_ip, '\\w{{40}}x{number}')"))
        .collect();
    let all = format!("SELECT {} FROM flows", expressions.join(" + "));
    program.fails(&all, usual, "needs more than 268435456 bytes of memory");
    let flat = Bounds {
        disk_bytes: 16 << 20,
        ..usual
    };
    // Groups of a number each are sorted, and what is sorted goes to the disk.
    let sorted = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) \
                  SELECT count(*) AS c FROM n GROUP BY hex((x * 7919) % 1000003), x";
    program.fails(sorted, flat, "needs more than 16777216 bytes of temporary");
}

#[test]
fn whoever_waits_no_longer_leaves_nobody_behind() {
    let mut program = Program::start();
    program.send(LONG_CALL, Bounds::default());
    let since = Instant::now();
    let is_late = || since.elapsed() > Duration::from_secs(60);
    while program.workers().is_empty() && !is_late() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let workers = program.workers();
    assert_eq!(workers.len(), 1);
    program.orders = None;
    let status = program.child.wait().expect("ended");
    assert!(status.success() && !is_late(), "{status}");
    for pid in workers {
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }
}
