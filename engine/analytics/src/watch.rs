//! Watches over who answers. Queries are asked of a second process of this program:
//! SQLite looks up only between two steps, and one call of a function may take
//! hours or all memory. Where a query takes more time or disk than it may, or ends
//! that process, the process goes and the query has failed; the next one is asked
//! of a new process. It goes as well when nobody waits for the answer any more.

use crate::pipe::MAX_FILES;
use nsforensics_engine::rule::wire::{Bounds, Line, Lines, MAX_LINE, MAX_ORDER, Order, Trouble};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{Error, Read, Result, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// The argument by which the second process knows what it is.
pub const ANSWER: &str = "answer";

/// Bytes of what a process said when it ended that are told.
const MAX_SAID: u64 = 512;
/// What Rust's allocator says when there is no more memory.
const NO_MEMORY: &str = "memory allocation of";

/// Takes orders until the input ends, and has them answered.
///
/// # Errors
///
/// When an order cannot be read or an answer not be written.
pub fn serve(input: impl Read + AsFd, out: &mut impl Write) -> Result<()> {
    let mut orders = Lines::new(input, MAX_ORDER);
    let mut worker = None;
    loop {
        let Some(text) = orders.next(&mut || Ok::<_, Error>(()))? else {
            return Ok(());
        };
        let text = text.to_vec();
        let order: Order = serde_json::from_slice(&text)?;
        let end = answer(&mut worker, &text, order.bounds, orders.pipe(), out);
        match end {
            Ok(()) => {}
            Err(Ended::Query(why)) => {
                worker = None;
                serde_json::to_writer(&mut *out, &Line::Failed(why))?;
                out.write_all(b"\n")?;
            }
            Err(Ended::All(error)) => return Err(error),
        }
        out.flush()?;
    }
}

/// What ended.
enum Ended {
    /// The query, and the process with it.
    Query(Trouble),
    /// Whoever asked has gone.
    All(Error),
}

/// What is wrong with the process is wrong with the query that it was asked.
impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self::Query(format!("cannot be answered: {error}").into())
    }
}

/// Has one query answered, up to the last line.
fn answer(
    worker: &mut Option<Worker>,
    order: &[u8],
    bounds: Bounds,
    asker: &impl AsFd,
    out: &mut impl Write,
) -> std::result::Result<(), Ended> {
    let end = Instant::now() + Duration::from_secs(bounds.seconds);
    let worker = match worker {
        Some(worker) => worker,
        None => worker.insert(Worker::start()?),
    };
    if worker.orders.write_all(order).is_err() {
        return Err(worker.gone(bounds));
    }
    let pid = worker.child.id();
    // What queries before had copied is not this one's.
    let before = temporary_files(pid);
    let mut look = || {
        if has_gone(asker) {
            return Err(Ended::All(std::io::ErrorKind::BrokenPipe.into()));
        }
        if Instant::now() >= end {
            let why = format!("took longer than {} seconds", bounds.seconds);
            return Err(Ended::Query(why.into()));
        }
        if temporary_files(pid).saturating_sub(before) > bounds.disk_bytes {
            let most = bounds.disk_bytes;
            let why = format!("needs more than {most} bytes of temporary files");
            return Err(Ended::Query(why.into()));
        }
        Ok(())
    };
    loop {
        let Some(line) = worker.answers.next(&mut look)? else {
            return Err(worker.gone(bounds));
        };
        out.write_all(line).map_err(Ended::All)?;
        // Most lines are rows, which need not be taken apart.
        if !line.starts_with(br#"{"row":"#) {
            match serde_json::from_slice(line).map_err(Error::from)? {
                Line::Row(_) | Line::Again => {}
                Line::End | Line::Failed(_) => return Ok(()),
            }
        }
    }
}

/// Whether nobody writes into this pipe any more.
fn has_gone(asker: &impl AsFd) -> bool {
    let mut pipe = [PollFd::new(asker, PollFlags::empty())];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    matches!(poll(&mut pipe, Some(&now)), Ok(number) if number > 0)
}

/// Bytes of the temporary files that a process has open: SQLite takes their names
/// away at once, so that they stand in no folder.
fn temporary_files(pid: u32) -> u64 {
    let open = (0..MAX_FILES).filter_map(|number| {
        let file = std::fs::metadata(format!("/proc/{pid}/fd/{number}")).ok()?;
        (file.is_file() && file.nlink() == 0).then_some(file.len())
    });
    open.sum()
}

/// A process that answers.
struct Worker {
    child: Child,
    orders: ChildStdin,
    answers: Lines<ChildStdout>,
}

impl Worker {
    fn start() -> Result<Self> {
        let mut child = Command::new("/proc/self/exe")
            .arg(ANSWER)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(orders), Some(answers)) => Ok(Self {
                child,
                orders,
                answers: Lines::new(answers, MAX_LINE),
            }),
            _ => Err(Error::other("it has no pipes")),
        }
    }

    /// Why it has ended.
    fn gone(&mut self, bounds: Bounds) -> Ended {
        drop(self.child.kill());
        let status = match self.child.wait() {
            Ok(status) => status,
            Err(error) => return error.into(),
        };
        let mut said = Vec::new();
        if let Some(pipe) = self.child.stderr.take() {
            drop(pipe.take(MAX_SAID).read_to_end(&mut said));
        }
        let said = String::from_utf8_lossy(&said);
        if said.contains(NO_MEMORY) {
            let why = format!("needs more than {} bytes of memory", bounds.memory_bytes);
            return Ended::Query(why.into());
        }
        let how = match status.signal() {
            Some(number) => format!("signal {number}"),
            None => format!("exit code {}", status.code().unwrap_or_default()),
        };
        let said: Vec<&str> = said.split_whitespace().collect();
        let why = format!(
            "ended the process that answered it ({how}): {}",
            said.join(" ")
        );
        Ended::Query(why.trim_end_matches(": ").into())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
