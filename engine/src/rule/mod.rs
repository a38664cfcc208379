//! Rules of the user: an id, a text, a severity, and a query over the tables.
//!
//! The engine reads rules and makes findings of rows; who asks the queries is
//! another program ([`Asker`]), since SQL is built apart. A rule that cannot be
//! read, or whose query fails, is told with file and line, and the others run.

mod found;
mod read;
mod sigma;
pub mod wire;

use crate::finding::Finding;
use crate::severity::Severity;
use found::Subjects;
use std::fmt::Debug;
use std::path::Path;
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
    /// What is wrong, with file and line.
    pub problems: Vec<String>,
    /// The files.
    pub files: Vec<RuleFile>,
}

/// What is heard while queries are asked.
#[derive(Clone, Debug)]
pub enum Heard {
    /// One row.
    Row(Row),
    /// The query is asked once more: the rows so far do not count.
    Again,
    /// Its rows are all there.
    End,
    /// It failed: its rows do not count.
    Failed(Trouble),
}

/// Who answers queries.
pub trait Asker: Send + Sync + Debug {
    /// Asks each query of the tables in a folder, one after the other; `each` hears
    /// which one and what. For every query there is one [`Heard::End`] or
    /// [`Heard::Failed`].
    ///
    /// # Errors
    ///
    /// When no further one can be asked.
    fn ask(
        &self,
        folder: &Path,
        queries: &[&str],
        each: &mut dyn FnMut(usize, Heard),
    ) -> Result<(), String>;
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
    /// Asks all rules; gives what they found, at most `most` findings of each, and
    /// what was wrong, what could not be read included.
    pub fn run(&self, folder: &Path, most: usize) -> (Vec<Finding>, Vec<String>) {
        let (findings, problems) = self.rules.run(self.asker.as_ref(), folder, most);
        let all = self.rules.problems.iter().cloned().chain(problems);
        (findings, all.collect())
    }
}

impl Rules {
    fn run(&self, asker: &dyn Asker, folder: &Path, most: usize) -> (Vec<Finding>, Vec<String>) {
        let mut findings = Vec::new();
        let mut problems = Vec::new();
        if self.rules.is_empty() {
            return (findings, problems);
        }
        let queries: Vec<&str> = self.rules.iter().map(|rule| rule.query.as_str()).collect();
        let mut subjects = Subjects::new(most);
        let mut answered = 0;
        let asked = asker.ask(folder, &queries, &mut |number, heard| {
            let Some(rule) = self.rules.get(number) else {
                return;
            };
            match heard {
                Heard::Row(row) => subjects.take(&row),
                Heard::Again => subjects = Subjects::new(most),
                Heard::Failed(why) => {
                    subjects = Subjects::new(most);
                    problems.push(rule.problem(&why));
                    answered = number + 1;
                }
                Heard::End => {
                    let heard = std::mem::replace(&mut subjects, Subjects::new(most));
                    match heard.into_findings(rule) {
                        Ok((found, told)) => {
                            findings.extend(found);
                            problems.extend(told.map(|why| rule.problem(&why.into())));
                        }
                        Err(why) => problems.push(rule.problem(&why.into())),
                    }
                    answered = number + 1;
                }
            }
        });
        if let Err(why) = asked {
            for rule in self.rules.iter().skip(answered) {
                problems.push(rule.problem(&format!("was not asked: {why}").into()));
            }
        }
        (findings, problems)
    }
}

impl Rule {
    fn problem(&self, why: &Trouble) -> String {
        let in_query = why.at.zip(self.query_line).map(|(at, line)| {
            let before = self.query.get(..at).unwrap_or_default();
            line + before.matches('\n').count() as u64
        });
        let line = in_query.unwrap_or(self.line);
        let message = why.message.replace('\n', " ");
        format!("{}:{line}: {}: {message}", self.file, self.check_id)
    }
}

#[cfg(test)]
mod tests;
