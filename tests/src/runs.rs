//! Runs for the tests: analyse, then read the tables back.

use nsforensics_engine::pki::{CtLogs, GivenLists, Store, StoreChoice, Validator};
use nsforensics_engine::policy::Policy;
use nsforensics_engine::run::{KeyLogs, Observer, Report, Request, analyze};
use nsforensics_engine::seal::Key;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// A row of a table as it was read back.
pub type Row = Map<String, Value>;

/// A key for tests, and only for them.
pub const SECRET: &[u8] = b"a secret for the tests, 32 bytes or more";

/// Hears nothing.
pub struct Quiet;

impl Observer for Quiet {}

/// How a test wants a run.
#[derive(Clone)]
pub struct How {
    pub threads: Option<usize>,
    pub chunk_bytes: Option<usize>,
    pub policy: Policy,
    /// PEM file of the only trusted roots; Mozilla's without one.
    pub roots: Option<PathBuf>,
    /// Key logs to decrypt with.
    pub key_logs: Vec<PathBuf>,
    /// Revocation list.
    pub crl: Option<PathBuf>,
    /// Transparency logs beyond the built-in ones.
    pub ct_logs: Option<PathBuf>,
}

impl How {
    fn store(&self) -> Store {
        match &self.roots {
            Some(path) => {
                Store::load(&StoreChoice::Path(path.clone()), &[]).expect("readable roots")
            }
            None => Store::default(),
        }
    }

    fn validator(&self) -> Validator {
        let (mut lists, mut logs) = (GivenLists::default(), CtLogs::built_in());
        if let Some(path) = &self.crl {
            lists.add_file(path).expect("a readable list");
        }
        if let Some(path) = &self.ct_logs {
            logs.add_file(path).expect("readable logs");
        }
        Validator::new(self.store())
            .with_lists(lists)
            .with_logs(logs)
    }
}

impl Default for How {
    fn default() -> Self {
        Self {
            threads: Some(2),
            chunk_bytes: None,
            policy: Policy::built_in(),
            roots: None,
            key_logs: Vec::new(),
            crl: None,
            ct_logs: None,
        }
    }
}

/// Analyses one capture into `out`.
pub fn run(capture: &Path, out: &Path, how: &How) -> nsforensics_engine::error::Result<Report> {
    run_all(&[capture.to_owned()], out, how)
}

/// Analyses captures as one into `out`.
pub fn run_all(
    captures: &[PathBuf],
    out: &Path,
    how: &How,
) -> nsforensics_engine::error::Result<Report> {
    let mut key_logs = KeyLogs::new(&how.policy.limits);
    for path in &how.key_logs {
        let file = std::fs::File::open(path).expect("the key log is there");
        let name = path.to_string_lossy().into_owned();
        key_logs.read(name, file).expect("the key log is readable");
    }
    let request = Request {
        inputs: captures.to_vec(),
        out_dir: out.to_owned(),
        policy: how.policy.clone(),
        policy_name: "built-in".to_owned(),
        key: Key::from_secret(SECRET).expect("the test key is long enough"),
        indicators: None,
        rules: None,
        key_logs,
        alerts: false,
        validator: how.validator(),
        threads: how.threads,
        chunk_bytes: how.chunk_bytes,
        hash: true,
        command_line: Vec::new(),
    };
    analyze(&request, &Quiet, &AtomicBool::new(false))
}

/// All rows of a table of a run.
pub fn table(folder: &Path, name: &str) -> Vec<Row> {
    nsforensics_engine::table::read::all_rows(&folder.join(format!("{name}.parquet")))
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The tables of a run by name, as bytes.
pub fn table_bytes(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the run folder is readable")
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "parquet"))
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|path| {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            (name, std::fs::read(&path).expect("the table is readable"))
        })
        .collect()
}

/// A column as text, empty where it is null.
pub fn text<'r>(row: &'r Row, column: &str) -> &'r str {
    row.get(column).and_then(Value::as_str).unwrap_or_default()
}

/// A column as a number, `None` where it is null.
pub fn number(row: &Row, column: &str) -> Option<i64> {
    row.get(column).and_then(Value::as_i64)
}

/// SHA-256 as the tables write it.
pub fn sha256_hex(bytes: &[u8]) -> String {
    use sha2::{Digest as _, Sha256};
    use std::fmt::Write as _;
    let digest = Sha256::digest(bytes);
    digest.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// The day of a moment in seconds, as `2020-01-31`.
pub fn day(seconds: i64) -> String {
    let text = nsforensics_engine::time::CaptureTime::from_unix(seconds, 0).to_string();
    text.chars().take(10).collect()
}
