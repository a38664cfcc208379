//! Threat intelligence of the user: addresses, networks, names, URLs, digests,
//! TLS fingerprints and certificates that somebody calls bad.
//!
//! Files are plain lists, CSV, STIX 2.1 bundles and MISP exports, told apart by
//! content. They are as hostile as captures: sizes are bounded, what cannot be
//! read is told with file and line, and the rest counts. Nothing here looks at
//! a capture: [`crate::control::ns04`] matches the set against the tables.

mod list;
mod misp;
mod set;
mod stix;
mod value;

pub use set::{Indicator, Origin, Set, Sort};
pub use value::Kind;

use crate::error::{Error, Result};
use crate::table::column::hex;
use crate::time::CaptureTime;
use sha2::{Digest as _, Sha256};
use std::io::Read as _;
use std::path::Path;
use value::Parsed;

/// Largest file that is read, bytes.
const MAX_FILE: u64 = 64 << 20;
/// Problems told one by one for one file.
const MAX_PROBLEMS: usize = 20;
/// Longest name or id that is kept, bytes.
const MAX_TEXT: usize = 200;

/// Something in a file that is no indicator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line, from 1.
    pub line: u32,
    /// What is wrong.
    pub message: String,
}

/// What became of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileSummary {
    /// As given.
    pub path: String,
    /// Digest of its bytes, hex.
    pub sha256: String,
    /// Its size.
    pub size_bytes: u64,
    /// `list`, `csv`, `stix` or `misp`.
    pub format: &'static str,
    /// Indicators taken.
    pub indicators: u64,
    /// Entries of kinds that no table shows, revoked ones, and those that their
    /// author does not mean for detection.
    pub skipped: u64,
    /// What could not be read: the first few.
    pub problems: Vec<Problem>,
    /// How many there were in all.
    pub problem_count: u64,
}

impl FileSummary {
    /// The problems as lines for people: `feed.csv:12: ...`.
    pub fn told(&self) -> Vec<String> {
        let mut lines: Vec<String> = self
            .problems
            .iter()
            .map(|problem| format!("{}:{}: {}", self.path, problem.line, problem.message))
            .collect();
        let more = self.problem_count - self.problems.len() as u64;
        if more > 0 {
            lines.push(format!(
                "{}: {more} more lines that are no indicator",
                self.path
            ));
        }
        lines
    }
}

/// Where an entry stands, and what its author says of it.
#[derive(Clone, Debug, Default)]
struct Entry<'a> {
    line: u32,
    id: Option<&'a str>,
    name: Option<&'a str>,
    confidence: Option<u8>,
    valid_until: Option<CaptureTime>,
}

/// Takes what a reader finds in one file.
struct Sink<'s> {
    set: &'s mut Set,
    file: u32,
    summary: FileSummary,
}

impl Sink<'_> {
    fn take(&mut self, entry: &Entry<'_>, parsed: Result<Vec<Parsed>, String>) {
        let parsed = match parsed {
            Ok(parsed) => parsed,
            Err(message) => return self.problem(entry.line, message),
        };
        let kept = |text: Option<&str>| text.map(|text| bounded(text).into());
        let origin = Origin {
            file: self.file,
            line: entry.line,
            id: kept(entry.id),
            name: kept(entry.name),
            confidence: entry.confidence,
            valid_until: entry.valid_until,
        };
        let mut is_new = false;
        for one in parsed {
            match self.set.insert(one, &origin) {
                Ok(()) => is_new = true,
                Err(message) => return self.problem(entry.line, message),
            }
        }
        self.summary.indicators += u64::from(is_new);
    }

    fn skip(&mut self) {
        self.summary.skipped += 1;
    }

    fn problem(&mut self, line: u32, message: impl Into<String>) {
        self.summary.problem_count += 1;
        if self.summary.problems.len() < MAX_PROBLEMS {
            self.summary.problems.push(Problem {
                line,
                message: message.into(),
            });
        }
    }
}

fn bounded(text: &str) -> &str {
    let mut end = MAX_TEXT.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

impl Set {
    /// Reads one more file.
    ///
    /// # Errors
    ///
    /// When it cannot be read, is too large, or holds no usable indicator.
    pub fn add_file(&mut self, path: &Path) -> Result<()> {
        let io = |e| Error::io(path, "cannot read the indicators", e);
        let file = std::fs::File::open(path).map_err(io)?;
        let mut bytes = Vec::new();
        file.take(MAX_FILE + 1)
            .read_to_end(&mut bytes)
            .map_err(io)?;
        let refuse = |reason: String| {
            Err(Error::Indicators {
                path: path.to_owned(),
                reason,
            })
        };
        if bytes.len() as u64 > MAX_FILE {
            return refuse(format!("longer than {MAX_FILE} bytes"));
        }
        let summary = self.add_bytes(&path.to_string_lossy(), &bytes);
        if summary.indicators == 0 {
            let first = summary.told().into_iter().next();
            return refuse(format!(
                "holds no indicator that a table could show{}",
                first.map_or(String::new(), |first| format!("; {first}"))
            ));
        }
        Ok(())
    }

    /// Takes the indicators of a file's bytes; says what became of them.
    pub fn add_bytes(&mut self, path: &str, bytes: &[u8]) -> &FileSummary {
        let file = u32::try_from(self.files().len()).unwrap_or(u32::MAX);
        let mut sink = Sink {
            set: self,
            file,
            summary: FileSummary {
                path: path.to_owned(),
                sha256: hex(&Sha256::digest(bytes)),
                size_bytes: bytes.len() as u64,
                ..FileSummary::default()
            },
        };
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        match std::str::from_utf8(bytes) {
            Ok(text) => read(text, &mut sink),
            Err(error) => {
                let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
                let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
                let line = u32::try_from(line).unwrap_or(u32::MAX);
                sink.problem(line, "is not UTF-8");
            }
        }
        let summary = sink.summary;
        self.close_file(summary)
    }
}

fn read(text: &str, sink: &mut Sink<'_>) {
    match text.trim_start().as_bytes().first() {
        Some(b'{' | b'[') => {
            if stix::is_bundle(text) {
                sink.summary.format = "stix";
                stix::read(text, sink);
            } else {
                sink.summary.format = "misp";
                misp::read(text, sink);
            }
        }
        _ => list::read(text, sink),
    }
}

/// The line on which each identifier of a JSON text stands first: JSON readers
/// give values, not places.
fn lines_of_ids(text: &str) -> std::collections::HashMap<&str, u32> {
    let mut lines = std::collections::HashMap::new();
    for (line, number) in text.lines().zip(1_u32..) {
        for part in line.split('"') {
            // A UUID alone, or one behind `indicator--`.
            let uuid = part.rsplit("--").next().unwrap_or(part);
            if uuid.len() == 36 && uuid.bytes().filter(|&b| b == b'-').count() == 4 {
                lines.entry(part).or_insert(number);
            }
        }
    }
    lines
}

/// What a JSON reader says, without the place that the problem tells itself.
fn json_problem(error: &serde_json::Error) -> (u32, String) {
    let told = error.to_string();
    let message = told.split(" at line ").next().unwrap_or(&told).to_owned();
    let line = u32::try_from(error.line()).unwrap_or(u32::MAX).max(1);
    (line, format!("is no JSON of the expected form: {message}"))
}

#[cfg(test)]
mod tests;
