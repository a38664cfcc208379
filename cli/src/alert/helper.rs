//! The process that delivers: started before the sandbox closes, told by a pipe.
//!
//! One line of JSON for each message, both ways. The first hands over the
//! derived keys, the folders of journals, and, where a capture will be parsed,
//! the destinations: once they are named, no later line can name others.
//! End of input ends the helper.

use super::channel::{Channel, Means, name};
use super::deliver::{Delivered, Patience, deliver};
use crate::sandbox;
use anyhow::{Context as _, Result, bail};
use nsforensics_engine::policy::AlertDestination;
use nsforensics_engine::seal::{Journal, JournalKey};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// The hidden command that this program is started with.
pub const COMMAND: [&str; 2] = ["alerts", "helper"];
/// Longest line of the pipe, bytes.
const MAX_LINE: u64 = 1 << 20;

#[derive(Serialize, Deserialize)]
struct Setup {
    keys: String,
    /// Folders that hold journals, as bytes.
    folders: Vec<Vec<u8>>,
    destinations: Option<Vec<AlertDestination>>,
    no_sandbox: bool,
    /// How long a peer may take to answer.
    answer_seconds: u64,
}

impl Drop for Setup {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.keys);
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Order {
    journal: Vec<u8>,
    destinations: Option<Vec<AlertDestination>>,
    is_waited_for: bool,
}

#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    Done(Vec<Delivered>),
    Failed(String),
}

/// What the user says of the process that delivers.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Whether it keeps all its rights.
    pub no_sandbox: bool,
    /// How long a peer may take to answer.
    pub answer_seconds: u64,
}

/// The helper as its parent holds it.
pub struct Helper {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Helper {
    /// Starts it; before the sandbox, which lets no program be started.
    /// `destinations`: those that it may ever deliver to, or `None` where each
    /// journal brings its own.
    pub fn start(
        key: &JournalKey,
        folders: &[PathBuf],
        destinations: Option<&[AlertDestination]>,
        terms: Terms,
    ) -> Result<Self> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let mut child = Command::new(program)
            .args(COMMAND)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .context("cannot start the process that delivers alerts")?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (Some(stdin), Some(stdout)) = (stdin, stdout) else {
            bail!("the process that delivers alerts has no pipes");
        };
        let mut helper = Self {
            child,
            stdin: Some(stdin),
            stdout: BufReader::new(stdout),
        };
        let folders = folders
            .iter()
            .map(|folder| absolute(folder).as_os_str().as_bytes().to_vec());
        let setup = Setup {
            keys: key.hand_over().to_string(),
            folders: folders.collect(),
            destinations: destinations.map(<[_]>::to_vec),
            no_sandbox: terms.no_sandbox,
            answer_seconds: terms.answer_seconds,
        };
        let mut line = Zeroizing::new(serde_json::to_vec(&setup)?);
        line.push(b'\n');
        helper.tell(&line)?;
        Ok(helper)
    }

    /// Lets it deliver what a journal owes, and waits for what came of it.
    pub fn deliver(
        &mut self,
        journal: &Path,
        destinations: Option<&[AlertDestination]>,
        is_waited_for: bool,
    ) -> Result<Vec<Delivered>> {
        let order = Order {
            journal: absolute(journal).as_os_str().as_bytes().to_vec(),
            destinations: destinations.map(<[_]>::to_vec),
            is_waited_for,
        };
        let mut line = serde_json::to_vec(&order)?;
        line.push(b'\n');
        self.tell(&line)?;
        let mut answer = Vec::new();
        (&mut self.stdout)
            .take(MAX_LINE)
            .read_until(b'\n', &mut answer)
            .context("cannot hear what became of the alerts")?;
        if answer.is_empty() {
            bail!(
                "the process that delivers alerts ended; what was not delivered is in the journal"
            );
        }
        match serde_json::from_slice(&answer).context("cannot read what became of the alerts")? {
            Answer::Done(delivered) => Ok(delivered),
            Answer::Failed(why) => bail!("{why}"),
        }
    }

    fn tell(&mut self, line: &[u8]) -> Result<()> {
        let stdin = self.stdin.as_mut().context("it was told to end")?;
        stdin
            .write_all(line)
            .and_then(|()| stdin.flush())
            .context("the process that delivers alerts does not listen")
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // End of input; it is waited for, so that nothing is left behind.
        self.stdin = None;
        drop(self.child.wait());
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

/// What the helper does.
pub fn run() -> Result<()> {
    let mut input = BufReader::new(std::io::stdin().lock());
    let Some(setup) = message::<Setup>(&mut input)? else {
        return Ok(());
    };
    let key = JournalKey::take_over(&setup.keys).context("no keys were handed over")?;
    let key = Arc::new(key);
    let folders: Vec<PathBuf> = setup.folders.iter().map(|bytes| path(bytes)).collect();
    let means = Means::gather(Duration::from_secs(setup.answer_seconds));
    let fixed = setup
        .destinations
        .as_ref()
        .map(|destinations| channels(&means, destinations, &key));
    if fixed.is_some() && setup.destinations.as_ref().is_none_or(Vec::is_empty) {
        return Ok(());
    }
    sandbox::enter_for_network(setup.no_sandbox, &folders);
    let fixed_destinations = setup.destinations.clone();
    drop(setup);
    let mut fixed = fixed;
    while let Some(order) = message::<Order>(&mut input)? {
        let channels = match (&fixed_destinations, order.destinations) {
            (None, Some(named)) => channels(&means, &named, &key),
            // The first order takes those that were made before any capture was opened.
            (Some(named), None) => fixed
                .take()
                .unwrap_or_else(|| channels(&means, named, &key)),
            _ => bail!("other destinations than those that were fixed"),
        };
        let patience = if order.is_waited_for {
            Patience::short()
        } else {
            Patience::long()
        };
        let answer = match Journal::open(&path(&order.journal), &key) {
            Ok((journal, contents)) => {
                Answer::Done(deliver(journal, &contents, channels, patience))
            }
            Err(error) => Answer::Failed(error.to_string()),
        };
        let mut line = serde_json::to_vec(&answer)?;
        line.push(b'\n');
        let mut out = std::io::stdout().lock();
        out.write_all(&line).and_then(|()| out.flush())?;
    }
    Ok(())
}

fn channels(
    means: &Means,
    destinations: &[AlertDestination],
    key: &Arc<JournalKey>,
) -> Vec<Result<Box<dyn Channel>, String>> {
    destinations
        .iter()
        .map(|destination| means.channel(destination, key))
        .collect()
}

/// The names of destinations, as the journal holds them.
pub fn names(destinations: &[AlertDestination]) -> Vec<String> {
    destinations
        .iter()
        .enumerate()
        .map(|(index, destination)| name(index, destination))
        .collect()
}

fn message<T: for<'a> Deserialize<'a>>(input: &mut impl BufRead) -> Result<Option<T>> {
    let mut line = Zeroizing::new(Vec::with_capacity(4_096));
    input.take(MAX_LINE).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    // What is wrong with a line is not told: it may hold a key.
    let message = serde_json::from_slice(&line)
        .map_err(|_| anyhow::anyhow!("`alerts helper` is for this program's own use"))?;
    Ok(Some(message))
}
