//! Why the engine cannot go on. Oddities of a capture are not errors but
//! [anomalies](crate::anomaly); violated controls are findings.

use std::path::PathBuf;

/// Everything that ends a run, or keeps one from starting.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be opened, read or written.
    #[error("{}: {doing}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was being done, as in "cannot open the capture".
        doing: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The input is no capture that can be read.
    #[error("{}: not a readable capture: {reason}", path.display())]
    NotACapture {
        /// The file.
        path: PathBuf,
        /// What was found instead, and what would be accepted.
        reason: String,
    },
    /// The policy is unusable.
    #[error("{file}:{line}:{column}: policy: {message}")]
    Policy {
        /// The policy's file, or `built-in policy`.
        file: String,
        /// Line, from 1 (0: unknown).
        line: u64,
        /// Column, from 1 (0: unknown).
        column: u64,
        /// What is wrong, which key, and what is accepted.
        message: String,
    },
    /// No key, or one that cannot be used.
    #[error("{0}")]
    Key(String),
    /// A sealed run cannot be read as one.
    #[error("{}: {reason}", path.display())]
    NotARun {
        /// The folder or file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A table could not be encoded or decoded.
    #[error("{table}: {message}")]
    Table {
        /// The table, or its file.
        table: String,
        /// What the Parquet library said.
        message: String,
    },
    /// A file of indicators cannot be used.
    #[error("{}: indicators: {reason}", path.display())]
    Indicators {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// No input could be read at all.
    #[error("no readable input: {0}")]
    NoInput(String),
    /// The user interrupted the run.
    #[error("interrupted; nothing was sealed")]
    Interrupted,
}

impl Error {
    /// An [`Error::Io`] about `path`.
    pub fn io(path: impl Into<PathBuf>, doing: &'static str, source: std::io::Error) -> Self {
        Self::Io {
            path: path.into(),
            doing,
            source,
        }
    }
}

/// The engine's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;
