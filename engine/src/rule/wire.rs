//! What `nsforensics` and the program that asks queries say to each other, line by
//! line of JSON: a line for an order, which is one query, and lines for its answer.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::io::{Error, ErrorKind, Read, Result};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Longest query, bytes.
pub const MAX_QUERY: usize = 4 << 20;
/// Longest order, bytes: JSON writes a byte of a query as six at most.
pub const MAX_ORDER: usize = 6 * MAX_QUERY + (1 << 20);
/// Longest line of an answer, bytes.
pub const MAX_LINE: usize = 16 << 20;

/// How often who waits for a line looks at something else, milliseconds.
const LOOK: u64 = 100;
/// Bytes that are read at once.
const READ: usize = 64 << 10;

/// A row: its columns by name.
pub type Row = Map<String, Value>;

/// A query over the tables of a folder.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    /// The folder.
    pub folder: PathBuf,
    /// Tables that may be named.
    pub tables: Vec<String>,
    /// The query.
    pub query: String,
    /// What it may use up.
    pub bounds: Bounds,
}

/// What a query may use up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// Seconds that it may take.
    pub seconds: u64,
    /// Bytes of temporary files.
    pub disk_bytes: u64,
    /// Bytes of memory of the process that answers it; SQLite has half of them.
    pub memory_bytes: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            seconds: 600,
            disk_bytes: 32 << 30,
            memory_bytes: 2 << 30,
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

/// A line of an answer. The last one is [`Line::End`] or [`Line::Failed`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// One row.
    Row(Row),
    /// The rows so far do not count, it is asked again.
    Again,
    /// That was the last row.
    End,
    /// The query failed; its rows do not count.
    Failed(Trouble),
}

/// The lines that come out of a pipe, none longer than allowed. Who waits for one
/// is never stuck: it looks at something else every so often.
#[derive(Debug)]
pub struct Lines<R> {
    from: R,
    longest: usize,
    held: Vec<u8>,
    /// Where the next line begins in what is held, and how far its end was looked for.
    start: usize,
    searched: usize,
    looked: Instant,
}

impl<R: Read + AsFd> Lines<R> {
    /// Of this pipe, which nobody else reads.
    pub fn new(from: R, longest: usize) -> Self {
        Self {
            from,
            longest,
            held: Vec::new(),
            start: 0,
            searched: 0,
            looked: Instant::now(),
        }
    }

    /// The pipe.
    pub fn pipe(&self) -> &R {
        &self.from
    }

    /// The next line, its end included; `None` at the end, be it in a line. `look` ends
    /// the waiting by an error.
    ///
    /// # Errors
    ///
    /// What `look` says; when the pipe cannot be read, or a line is too long.
    pub fn next<E: From<Error>>(
        &mut self,
        look: &mut dyn FnMut() -> std::result::Result<(), E>,
    ) -> std::result::Result<Option<&[u8]>, E> {
        loop {
            if self.looked.elapsed() >= Duration::from_millis(LOOK) {
                look()?;
                self.looked = Instant::now();
            }
            let fresh = self.held.get(self.searched..).unwrap_or_default();
            let end = memchr::memchr(b'\n', fresh).map(|at| self.searched + at + 1);
            if end.unwrap_or(self.held.len()) - self.start > self.longest {
                return Err(Error::other(format!("a line beyond {} bytes", self.longest)).into());
            }
            if let Some(end) = end {
                let line = self.start..end;
                (self.start, self.searched) = (end, end);
                return Ok(self.held.get(line));
            }
            self.held.drain(..self.start);
            (self.start, self.searched) = (0, self.held.len());
            if self.is_there()? && self.read()? == 0 {
                return Ok(None);
            }
        }
    }

    /// Whether there is something to read, or nothing ever more.
    fn is_there(&self) -> Result<bool> {
        let mut pipe = [PollFd::new(&self.from, PollFlags::IN)];
        let wait = Timespec {
            tv_sec: 0,
            tv_nsec: Duration::from_millis(LOOK).subsec_nanos().into(),
        };
        match poll(&mut pipe, Some(&wait)) {
            Ok(number) => Ok(number > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn read(&mut self) -> Result<usize> {
        let held = self.held.len();
        self.held.resize(held + READ, 0);
        let room = self.held.get_mut(held..).unwrap_or_default();
        let read = loop {
            match self.from.read(room) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        let added = read.as_ref().copied().unwrap_or_default();
        self.held.truncate(held + added);
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn lines_come_whole_however_they_are_written() {
        let (read, mut write) = std::io::pipe().expect("a pipe");
        let mut lines = Lines::new(read, 200_000);
        let long = "x".repeat(150_000);
        let text = format!("a\n\n{long}\nb\nnot whole");
        let writer = std::thread::spawn(move || {
            for part in text.as_bytes().chunks(1_000) {
                write.write_all(part).expect("written");
            }
        });
        let mut next = || {
            let line = lines.next::<Error>(&mut || Ok(())).expect("readable");
            line.map(|line| String::from_utf8_lossy(line).into_owned())
        };
        assert_eq!(next().as_deref(), Some("a\n"));
        assert_eq!(next().as_deref(), Some("\n"));
        assert_eq!(next().map(|line| line.len()), Some(150_001));
        assert_eq!(next().as_deref(), Some("b\n"));
        assert_eq!(next(), None);
        writer.join().expect("written");
    }

    #[test]
    fn a_line_has_a_length_and_waiting_an_end() {
        let (read, mut write) = std::io::pipe().expect("a pipe");
        let mut lines = Lines::new(read, 1_000);
        let waited = lines.next(&mut || Err(Error::other("enough")));
        assert_eq!(waited.expect_err("no line").to_string(), "enough");
        write.write_all(&[b'x'; 5_000]).expect("written");
        let long = lines.next::<Error>(&mut || Ok(()));
        let why = long.expect_err("too long").to_string();
        assert_eq!(why, "a line beyond 1000 bytes");
    }
}
