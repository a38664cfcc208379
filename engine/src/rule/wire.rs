//! What `nsforensics` and the program that asks queries say to each other: one
//! line of JSON for an order, many for its answer.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::PathBuf;

/// Longest order, bytes.
pub const MAX_ORDER: u64 = 64 << 20;
/// Longest line of an answer, bytes.
pub const MAX_LINE: u64 = 16 << 20;

/// A row: its columns by name.
pub type Row = Map<String, Value>;

/// Queries over the tables of one folder.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    /// The folder.
    pub folder: PathBuf,
    /// Tables that may be named.
    pub tables: Vec<String>,
    /// The queries.
    pub queries: Vec<String>,
    /// What each may use up.
    pub bounds: Bounds,
}

/// What a query may use up.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Bounds {
    /// Seconds that it may take.
    pub seconds: u64,
    /// Bytes of temporary files, roughly: what the disk has less while it runs.
    pub disk_bytes: u64,
    /// Bytes of SQLite's own memory.
    pub memory_bytes: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            seconds: 600,
            disk_bytes: 32 << 30,
            memory_bytes: 1 << 30,
        }
    }
}

/// What is wrong with a query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// In words.
    pub message: String,
    /// Byte of the query, where that is known.
    pub at: Option<usize>,
}

impl From<String> for Trouble {
    fn from(message: String) -> Self {
        Self { message, at: None }
    }
}

impl From<&str> for Trouble {
    fn from(message: &str) -> Self {
        message.to_owned().into()
    }
}

/// A line of an answer; numbers are those of the queries.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// One row.
    Row(usize, Row),
    /// The rows so far do not count, it is asked again.
    Again(usize),
    /// That was its last row.
    End(usize),
    /// It failed; its rows do not count.
    Failed(usize, Trouble),
    /// Nothing could be asked.
    NothingAsked(String),
    /// The order is done.
    Done,
}
