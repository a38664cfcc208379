//! Rules of the user, asked by `nsforensics-sql`: a program of its own, since SQL
//! is built apart. It is looked for beside this one and on the PATH, started
//! before the sandbox closes, and confined more than its parent: it reads the
//! folder of the runs and writes into a folder for its temporary files.

use crate::sandbox;
use anyhow::{Context as _, Result, bail};
use nsforensics_engine::rule::wire::{Bounds, Line, MAX_LINE, Order};
use nsforensics_engine::rule::{Asker, Heard, RuleSet, Rules, TABLES};
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// The program's name.
const PROGRAM: &str = "nsforensics-sql";

/// Problems told where nothing could be read.
const TOLD: usize = 20;

/// The program at work.
#[derive(Debug)]
struct Sql {
    pipes: Mutex<Option<(ChildStdin, BufReader<ChildStdout>)>>,
    child: Child,
    scratch: PathBuf,
}

/// Reads rules and starts what asks them; `None` where no rules are given.
///
/// # Errors
///
/// When a path cannot be read, no rule can be, or the program is not there.
pub fn prepare(
    paths: &[PathBuf],
    readable: &[PathBuf],
    out: &Path,
    no_sandbox: bool,
) -> Result<Option<RuleSet>> {
    if paths.is_empty() {
        return Ok(None);
    }
    let rules = Rules::load(paths)?;
    for file in &rules.files {
        tracing::info!(
            path = file.path,
            rules = file.rules,
            problems = file.problems,
            sha256 = file.sha256,
            "rules"
        );
    }
    if rules.files.is_empty() {
        let given = paths.first().map(PathBuf::as_path).unwrap_or(Path::new(""));
        bail!(
            "{}: holds no rules (*.yaml, *.yml)",
            crate::escape::line(&given.to_string_lossy())
        );
    }
    if rules.rules.is_empty() {
        let mut told: Vec<String> = rules
            .problems
            .iter()
            .take(TOLD)
            .map(|problem| crate::escape::line(&problem.to_string()))
            .collect();
        if let Some(more) = rules.problems.len().checked_sub(TOLD + 1) {
            told.push(format!("and {} more", more + 1));
        }
        bail!("no rule could be read: {}", told.join("\n  "));
    }
    let program = find()?;
    let scratch = out.join(format!(".sql-{}", std::process::id()));
    std::fs::create_dir(&scratch).context("cannot make a folder for temporary files")?;
    let started = start(&program, readable, &scratch, no_sandbox);
    let (child, stdin, stdout) = match started {
        Ok(started) => started,
        Err(error) => {
            drop(std::fs::remove_dir(&scratch));
            return Err(error.context(format!("cannot start {PROGRAM}")));
        }
    };
    let asker = Sql {
        pipes: Mutex::new(Some((stdin, BufReader::new(stdout)))),
        child,
        scratch,
    };
    Ok(Some(RuleSet {
        rules,
        asker: Box::new(asker),
    }))
}

fn start(
    program: &Path,
    readable: &[PathBuf],
    scratch: &Path,
    no_sandbox: bool,
) -> Result<(Child, ChildStdin, ChildStdout)> {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("SQLITE_TMPDIR", std::path::absolute(scratch)?)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    let mut child = sandbox::spawn(command, program, readable, scratch, no_sandbox)?;
    match (child.stdin.take(), child.stdout.take()) {
        (Some(stdin), Some(stdout)) => Ok((child, stdin, stdout)),
        _ => bail!("it has no pipes"),
    }
}

fn find() -> Result<PathBuf> {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|own| Some(own.parent()?.join(PROGRAM)));
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let places = beside
        .into_iter()
        .chain(std::env::split_paths(&on_path).map(|folder| folder.join(PROGRAM)));
    let mut places = places.filter(|path| path.is_file());
    let found = places.next().with_context(|| {
        format!(
            "rules need {PROGRAM}, which is neither beside nsforensics nor on the PATH; \
             `cargo build --release` builds both"
        )
    })?;
    Ok(std::path::absolute(found)?)
}

impl Asker for Sql {
    fn ask(
        &self,
        folder: &Path,
        queries: &[&str],
        each: &mut dyn FnMut(usize, Heard),
    ) -> Result<(), String> {
        let mut pipes = self.pipes.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((stdin, stdout)) = &mut *pipes else {
            return Err(format!("{PROGRAM} has ended"));
        };
        let order = Order {
            folder: std::path::absolute(folder).map_err(|e| e.to_string())?,
            tables: TABLES.map(str::to_owned).to_vec(),
            queries: queries.iter().map(|&query| query.to_owned()).collect(),
            bounds: Bounds::default(),
        };
        let mut line = serde_json::to_vec(&order).map_err(|e| e.to_string())?;
        line.push(b'\n');
        stdin
            .write_all(&line)
            .and_then(|()| stdin.flush())
            .map_err(|e| format!("{PROGRAM} does not listen: {e}"))?;
        let mut line = Vec::new();
        loop {
            line.clear();
            (&mut *stdout)
                .take(MAX_LINE)
                .read_until(b'\n', &mut line)
                .map_err(|e| format!("{PROGRAM} cannot be heard: {e}"))?;
            if line.last() != Some(&b'\n') {
                return Err(format!("{PROGRAM} ended, or gave a row beyond 16 MiB"));
            }
            let line: Line = serde_json::from_slice(&line)
                .map_err(|_| format!("{PROGRAM} is of another version"))?;
            match line {
                Line::Row(number, row) => each(number, Heard::Row(row)),
                Line::Again(number) => each(number, Heard::Again),
                Line::End(number) => each(number, Heard::End),
                Line::Failed(number, why) => each(number, Heard::Failed(why)),
                Line::NothingAsked(why) => return Err(why),
                Line::Done => return Ok(()),
            }
        }
    }
}

impl Drop for Sql {
    fn drop(&mut self) {
        // End of input ends it. The sandbox lets no signal through, so it is not
        // killed: it ends when it next writes, and a query is bounded in time.
        let pipes = self.pipes.get_mut().unwrap_or_else(PoisonError::into_inner);
        *pipes = None;
        drop(self.child.wait());
        drop(std::fs::remove_dir_all(&self.scratch));
    }
}
