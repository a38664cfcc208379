//! Rules of the user, asked by `nsforensics-sql`: a program of its own, since SQL
//! is built apart. It is looked for beside this one and on the PATH, started
//! before the sandbox closes, and confined more than its parent: it reads the
//! folder of the runs and writes into a folder for its temporary files.

use crate::sandbox;
use anyhow::{Context as _, Result, bail};
use nsforensics_engine::rule::wire::{Bounds, Line, Lines, MAX_LINE, Order, Trouble};
use nsforensics_engine::rule::{Asker, Heard, RuleSet, Rules, TABLES};
use std::io::{Error, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// The program's name.
const PROGRAM: &str = "nsforensics-sql";

/// Problems told where nothing could be read.
const TOLD: usize = 20;

/// The program at work.
#[derive(Debug)]
struct Sql {
    /// None once it has gone, or is out of step.
    pipes: Mutex<Option<Pipes>>,
    child: Child,
    scratch: PathBuf,
}

#[derive(Debug)]
struct Pipes {
    bounds: Bounds,
    orders: ChildStdin,
    answers: Lines<ChildStdout>,
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
    let asker = started.map_err(|error| {
        drop(std::fs::remove_dir(&scratch));
        error.context(format!("cannot start {PROGRAM}"))
    })?;
    Ok(Some(RuleSet {
        rules,
        asker: Box::new(asker),
    }))
}

fn start(program: &Path, readable: &[PathBuf], scratch: &Path, no_sandbox: bool) -> Result<Sql> {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("SQLITE_TMPDIR", std::path::absolute(scratch)?)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    let mut child = sandbox::spawn(command, program, readable, scratch, no_sandbox)?;
    match (child.stdin.take(), child.stdout.take()) {
        (Some(orders), Some(answers)) => Ok(Sql {
            pipes: Mutex::new(Some(Pipes {
                bounds: Bounds::default(),
                orders,
                answers: Lines::new(answers, MAX_LINE),
            })),
            child,
            scratch: scratch.to_owned(),
        }),
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
        query: &str,
        cancel: &AtomicBool,
        each: &mut dyn FnMut(Heard),
    ) -> Result<Result<(), Trouble>, String> {
        let mut pipes = self.pipes.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = match &mut *pipes {
            Some(pipes) => pipes.ask(folder, query, cancel, each),
            None => Err(Error::other("it has ended")),
        };
        answer.map_err(|error| {
            *pipes = None;
            format!("{PROGRAM}: {error}")
        })
    }
}

impl Pipes {
    fn ask(
        &mut self,
        folder: &Path,
        query: &str,
        cancel: &AtomicBool,
        each: &mut dyn FnMut(Heard),
    ) -> std::io::Result<Result<(), Trouble>> {
        let order = Order {
            folder: std::path::absolute(folder)?,
            tables: TABLES.map(str::to_owned).to_vec(),
            query: query.to_owned(),
            bounds: self.bounds,
        };
        let mut line = serde_json::to_vec(&order)?;
        line.push(b'\n');
        self.orders.write_all(&line)?;
        // Whoever interrupts is not kept waiting for a query.
        let mut look = || match cancel.load(Ordering::Relaxed) {
            true => Err(Error::other("interrupted")),
            false => Ok(()),
        };
        loop {
            let line = self.answers.next(&mut look)?;
            let line = line.ok_or_else(|| Error::other("it has ended"))?;
            let line = serde_json::from_slice(line)
                .map_err(|_| Error::other("it is of another version"))?;
            match line {
                Line::Row(row) => each(Heard::Row(row)),
                Line::Again => each(Heard::Again),
                Line::End => return Ok(Ok(())),
                Line::Failed(why) => return Ok(Err(why)),
            }
        }
    }
}

impl Drop for Sql {
    fn drop(&mut self) {
        // The sandbox lets no signal through; at the end of its input it ends, and
        // whatever it does for us with it.
        let pipes = self.pipes.get_mut().unwrap_or_else(PoisonError::into_inner);
        *pipes = None;
        drop(self.child.wait());
        drop(std::fs::remove_dir_all(&self.scratch));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    /// A program that says nothing before its input ends.
    fn silent(scratch: &Path) -> Sql {
        let programs = ["/usr/bin/tail", "/bin/tail"].map(Path::new);
        let program = programs.into_iter().find(|path| path.exists());
        start(program.expect("a system has it"), &[], scratch, true).expect("started")
    }

    #[test]
    fn an_interruption_waits_for_no_query() {
        let folder = tempfile::tempdir().expect("a folder");
        let scratch = folder.path().join("scratch");
        std::fs::create_dir(&scratch).expect("made");
        let sql = silent(&scratch);
        let since = Instant::now();
        let cancel = AtomicBool::new(false);
        let ask = || sql.ask(folder.path(), "SELECT 1", &cancel, &mut |_| {});
        let asked = std::thread::scope(|scope| {
            let asked = scope.spawn(ask);
            std::thread::sleep(Duration::from_millis(300));
            assert!(!asked.is_finished());
            cancel.store(true, Ordering::Relaxed);
            asked.join().expect("no panic")
        });
        assert_eq!(asked, Err("nsforensics-sql: interrupted".to_owned()));
        // What it says later would be taken for the answer to another query.
        assert_eq!(ask(), Err("nsforensics-sql: it has ended".to_owned()));
        drop(sql);
        assert!(since.elapsed() < Duration::from_secs(60));
        assert!(!scratch.exists());
    }

    /// The sandbox hides most files: those that a query writes are counted all the same.
    #[test]
    fn a_query_is_bounded_inside_the_sandbox() {
        let own = std::env::current_exe().expect("a path");
        let mut folders = own.ancestors().skip(1).take(2);
        let Some(program) = folders
            .by_ref()
            .map(|folder| folder.join(PROGRAM))
            .find(|path| path.is_file())
        else {
            eprintln!("skipped: {PROGRAM} is not built");
            return;
        };
        let out = tempfile::tempdir().expect("a folder");
        let scratch = out.path().join("scratch");
        std::fs::create_dir(&scratch).expect("made");
        let readable = [out.path().to_owned()];
        let mut sql = start(&program, &readable, &scratch, false).expect("started");
        let pipes = sql.pipes.get_mut().expect("one thread");
        pipes.as_mut().expect("open").bounds.disk_bytes = 16 << 20;
        let ask = |query: &str| {
            let cancel = AtomicBool::new(false);
            let mut rows = 0;
            let answer = sql.ask(out.path(), query, &cancel, &mut |_| rows += 1);
            answer.expect("asked").map(|()| rows)
        };
        let sorted = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) \
                      SELECT count(*) AS c FROM n GROUP BY hex((x * 7919) % 1000003), x";
        let why = ask(sorted).expect_err("too much");
        assert!(why.message.contains("temporary files"), "{why:?}");
        assert_eq!(ask("SELECT 1 AS x"), Ok(1));
    }
}
