//! Rules of the user: an id, a text, a severity, and a query over the tables.
//!
//! The engine reads rules and makes findings of rows; who asks the queries is
//! another program ([`Asker`]), since SQL is built apart. A rule that cannot be
//! read, or whose query fails, is told with file and line, and the others run.

mod found;
mod read;
mod share;
mod sigma;
pub mod wire;

use crate::control::cut;
use crate::finding::Finding;
use crate::severity::Severity;
pub use found::Times;
use found::{MAX_TEXT, Subjects};
use share::{Kept, Share};
use std::fmt::{self, Debug};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use wire::{Row, Trouble};

/// Tables that a rule may name: those that are whole before anything is judged.
pub const TABLES: [&str; 6] = [
    "flows",
    "tls_handshakes",
    "dns_queries",
    "certificates",
    "http_transactions",
    "credentials",
];

/// A rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// `RULE.` and its id.
    pub check_id: &'static str,
    /// What it finds, one line.
    pub text: String,
    /// How bad.
    pub severity: Severity,
    /// MITRE ATT&CK.
    pub attack: Vec<&'static str>,
    /// The query.
    pub query: String,
    /// Its file.
    pub file: String,
    /// The line of its id.
    pub line: u64,
    /// The line of the query's first character, where its lines are lines of the file.
    query_line: Option<u64>,
}

/// A file of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleFile {
    /// As given.
    pub path: String,
    /// Bytes.
    pub size_bytes: u64,
    /// SHA-256, hex.
    pub sha256: String,
    /// Rules that were read.
    pub rules: u64,
    /// Rules, or files, that could not be.
    pub problems: u64,
}

/// The rules of a run, and what of their files could not be read.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// By file, in their order.
    pub rules: Vec<Rule>,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// The files.
    pub files: Vec<RuleFile>,
}

/// What is wrong with a rule, or with a file of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// The line in it.
    pub line: u64,
    /// Which rule, where it could be read.
    pub check_id: Option<&'static str>,
    /// What became of it.
    pub kind: ProblemKind,
    /// Why.
    pub message: String,
}

/// What a problem did to a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// It could not be read.
    NotRead,
    /// It was read, and its query failed: it found nothing because of that.
    NotAsked,
    /// It was asked, and some of what it found is left out.
    CutShort,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if let Some(check_id) = self.check_id {
            write!(f, "{check_id}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// What became of the rules of a run.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Rules whose query was answered.
    pub asked: u64,
    /// All that was wrong, with files and queries.
    pub problems: Vec<Problem>,
}

impl Told {
    /// Rules, or files of them, that this happened to.
    pub fn count(&self, kind: ProblemKind) -> u64 {
        let of_kind = self.problems.iter().filter(|problem| problem.kind == kind);
        of_kind.count() as u64
    }
}

/// What is heard while a query is asked.
#[derive(Clone, Debug)]
pub enum Heard {
    /// One row.
    Row(Row),
    /// The query is asked once more: the rows so far do not count.
    Again,
}

/// Who answers queries.
pub trait Asker: Send + Sync + Debug {
    /// Asks a query of the tables in a folder, until `cancel` is set; `each` hears the
    /// rows. Gives what is wrong with the query, in which case its rows do not count.
    ///
    /// # Errors
    ///
    /// When it was not asked, and no further one can be.
    fn ask(
        &self,
        folder: &Path,
        query: &str,
        cancel: &AtomicBool,
        each: &mut dyn FnMut(Heard),
    ) -> Result<Result<(), Trouble>, String>;
}

/// Rules, and who asks their queries.
#[derive(Debug)]
pub struct RuleSet {
    /// The rules.
    pub rules: Rules,
    /// Who asks.
    pub asker: Box<dyn Asker>,
}

impl RuleSet {
    /// Asks all rules, until `cancel` is set; gives what they found, at most `most`
    /// findings, and what became of them, those that could not be read included.
    pub fn run(&self, times: &Times<'_>, most: usize, cancel: &AtomicBool) -> (Vec<Finding>, Told) {
        let share = Share::new(most);
        let (findings, problems) = self.rules.run(self.asker.as_ref(), times, share, cancel);
        let failed = problems
            .iter()
            .filter(|one| one.kind == ProblemKind::NotAsked);
        let asked = self.rules.rules.len().saturating_sub(failed.count()) as u64;
        let read = self.rules.problems.iter().cloned();
        let told = Told {
            asked,
            problems: read.chain(problems).collect(),
        };
        (findings, told)
    }
}

impl Rules {
    fn run(
        &self,
        asker: &dyn Asker,
        times: &Times<'_>,
        share: Share,
        cancel: &AtomicBool,
    ) -> (Vec<Finding>, Vec<Problem>) {
        let mut kept = Kept::new(share);
        let mut problems = Vec::new();
        let mut gone = None;
        for rule in &self.rules {
            if let Some(why) = &gone {
                let why = format!("was not asked: {why}");
                problems.push(rule.problem(ProblemKind::NotAsked, &why.into()));
                continue;
            }
            let mut subjects = Subjects::new(share);
            let asked = asker.ask(
                times.folder,
                &rule.query,
                cancel,
                &mut |heard| match heard {
                    Heard::Row(row) => subjects.take(&row),
                    Heard::Again => subjects = Subjects::new(share),
                },
            );
            let found = match asked {
                Ok(Ok(())) => subjects.into_findings(rule, times).map_err(Trouble::from),
                Ok(Err(trouble)) => Err(trouble),
                Err(why) => {
                    let trouble = format!("was not asked: {why}").into();
                    gone = Some(why);
                    Err(trouble)
                }
            };
            match found {
                Ok(found) => kept.add(rule, found),
                Err(why) => problems.push(rule.problem(ProblemKind::NotAsked, &why)),
            }
        }
        let (findings, cut) = kept.into_findings();
        problems.extend(cut);
        (findings, problems)
    }
}

impl Rule {
    fn problem(&self, kind: ProblemKind, why: &Trouble) -> Problem {
        let in_query = why.at.zip(self.query_line).map(|(at, line)| {
            let before = self.query.get(..at).unwrap_or_default();
            line + before.matches('\n').count() as u64
        });
        Problem {
            file: self.file.clone(),
            line: in_query.unwrap_or(self.line),
            check_id: Some(self.check_id),
            kind,
            message: cut(&why.message, MAX_TEXT).replace('\n', " "),
        }
    }
}

#[cfg(test)]
mod tests;
