//! `audit`: the seal first, then the verdicts that it protects.

use crate::Outcome;
use crate::args::{Audit as Arguments, AuditFormat};
use crate::render::audit::{self, Audit, FoundByRule};
use crate::render::junit;
use crate::sandbox;
use crate::screen::{self, Screen};
use crate::secret::{EnvironmentKey, keys_at_hand};
use crate::selection::select;
use anyhow::Result;
use nsforensics_engine::finding::Finding;
use nsforensics_engine::seal::{self, Key};
use nsforensics_engine::table::read;
use std::path::Path;

pub fn run(
    arguments: Arguments,
    environment_key: &EnvironmentKey,
    screen: &Screen,
) -> Result<Outcome> {
    let keys = keys_at_hand(&arguments.keys.key_files, environment_key)?;
    let run = std::slice::from_ref(&arguments.run);
    sandbox::enter(&arguments.safety, &sandbox::run_folders(run), &[]);
    let Some(report) = intact(&arguments.run, &keys)? else {
        return Ok(Outcome::Found);
    };
    let verdicts = read::verdicts(&report.folder)?;
    let rules = if arguments.checks.is_empty() {
        found_by_rules(&read::findings(&report.folder)?)
    } else {
        Vec::new()
    };
    let audit = Audit {
        rules,
        run_id: report.run_id.unwrap_or_default(),
        key_id: report
            .seals
            .into_iter()
            .find(|seal| seal.verified)
            .map(|seal| seal.key_id)
            .unwrap_or_default(),
        level: arguments.level,
        selected: select(verdicts, arguments.level, &arguments.checks)?,
    };
    screen::print(&match arguments.format {
        AuditFormat::Text => audit::text(&audit, screen),
        AuditFormat::Json => audit::json(&audit)?,
        AuditFormat::Junit => junit::document(&audit),
    })?;
    Ok(if audit.fails() {
        Outcome::Found
    } else {
        Outcome::Clean
    })
}

/// What rules of the user found, open, by rule.
fn found_by_rules(findings: &[Finding]) -> Vec<FoundByRule> {
    let mut rules: Vec<FoundByRule> = Vec::new();
    let of_rules = findings
        .iter()
        .filter(|finding| finding.check_id.starts_with("RULE."));
    for finding in of_rules.filter(|finding| finding.is_open()) {
        match rules
            .iter_mut()
            .find(|rule| rule.check_id == finding.check_id)
        {
            Some(rule) => {
                rule.findings += 1;
                rule.worst_severity = rule.worst_severity.max(finding.severity);
            }
            None => rules.push(FoundByRule {
                check_id: finding.check_id,
                title: finding.title.clone(),
                worst_severity: finding.severity,
                findings: 1,
            }),
        }
    }
    rules.sort_by_key(|rule| (std::cmp::Reverse(rule.worst_severity), rule.check_id));
    rules
}

/// What became of a run's verification.
pub enum Looked {
    /// It is as it was sealed.
    Intact(seal::VerifyReport),
    /// It is not, and why.
    Broken(String),
}

/// The verification of an intact run; nothing, said on standard error, of a
/// broken one.
///
/// # Errors
///
/// When it could not be verified: no such run, no key for it.
pub fn intact(run: &Path, keys: &[Key]) -> Result<Option<seal::VerifyReport>> {
    Ok(match look_at(run, keys)? {
        Looked::Intact(report) => Some(report),
        Looked::Broken(why) => {
            crate::logs::complain(&why);
            None
        }
    })
}

/// Verifies a run.
///
/// # Errors
///
/// As [`intact`].
pub fn look_at(run: &Path, keys: &[Key]) -> Result<Looked> {
    use crate::render::verify::{State, problem};

    let report = super::verify::examine(run, keys, seal::verify)?;
    let problems: Vec<String> = report.problems.iter().map(problem).collect();
    let problems = problems.join("; ");
    let name = crate::escape::line(&run.to_string_lossy());
    match State::of(&report) {
        State::Intact => Ok(Looked::Intact(report)),
        State::Unchecked => anyhow::bail!("{name}: could not be verified: {problems}"),
        State::Broken => Ok(Looked::Broken(format!(
            "{name}: the seal is broken: {problems}"
        ))),
    }
}
