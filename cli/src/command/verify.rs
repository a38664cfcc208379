//! `verify`.

use crate::Outcome;
use crate::args::Verify;
use crate::render::verify::{self, Checked, State};
use crate::sandbox;
use crate::screen::{self, Screen};
use crate::secret::{EnvironmentKey, keys_at_hand};
use anyhow::{Result, bail};
use nsforensics_engine::seal::{self, Key, MANIFEST, VerifyReport};
use std::path::{Path, PathBuf};

pub fn run(
    arguments: Verify,
    environment_key: &EnvironmentKey,
    screen: &Screen,
) -> Result<Outcome> {
    let keys = keys_at_hand(&arguments.keys.key_files, environment_key)?;
    let named = with_journals_as_their_runs(arguments.runs);
    let folders = sandbox::run_folders(&named);
    let journals = folders.iter().filter_map(|run| seal::journal_path(run));
    let readable: Vec<_> = folders.iter().cloned().chain(journals).collect();
    sandbox::enter(&arguments.safety, &readable, &[]);
    let runs: Vec<Checked> = named
        .into_iter()
        .map(|path| Checked {
            result: examine(&path, &keys, seal::verify_with_journal)
                .map_err(|error| crate::told_once(&error)),
            path,
        })
        .collect();
    screen::print(&if arguments.json.json {
        verify::json(&runs)?
    } else {
        verify::text(&runs, arguments.quiet, screen)
    })?;
    match verify::overall(&runs) {
        State::Intact => Ok(Outcome::Clean),
        State::Broken => Ok(Outcome::Found),
        State::Unchecked => {
            let unchecked: Vec<String> = runs
                .iter()
                .filter(|run| run.state() == State::Unchecked)
                .map(|run| crate::escape::line(&run.path.to_string_lossy()))
                .collect();
            bail!("could not be verified: {}", unchecked.join(", "))
        }
    }
}

/// A journal of alerts is verified with its run, also where `nsforensics-out/*`
/// names both.
fn with_journals_as_their_runs(named: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut runs: Vec<PathBuf> = Vec::with_capacity(named.len());
    for path in named {
        let run = run_of_journal(&path).unwrap_or(path);
        if !runs.contains(&run) {
            runs.push(run);
        }
    }
    runs
}

fn run_of_journal(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?.strip_suffix(".alerts.jsonl")?;
    let run = path.with_file_name(name);
    let is_its = seal::journal_path(&run)?.file_name() == path.file_name();
    (is_its && run.join(MANIFEST).exists()).then_some(run)
}

/// Verifies a run, or tells somebody who named the folder of all runs so.
pub fn examine(
    path: &Path,
    keys: &[Key],
    verify: fn(&Path, &[Key]) -> nsforensics_engine::error::Result<VerifyReport>,
) -> Result<VerifyReport> {
    let name = |path: &Path| crate::escape::line(&path.to_string_lossy());
    if path.is_file() {
        let name = name(path);
        bail!("{name} is a file and no run; did you mean `nsforensics analyze {name}`?");
    }
    if path.is_dir() && !path.join(MANIFEST).exists() {
        let inside: Vec<_> = std::fs::read_dir(path)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.join(MANIFEST).exists())
            .collect();
        if let Some(example) = inside.iter().min() {
            bail!(
                "{} is no run but holds runs, such as {}",
                name(path),
                name(example)
            );
        }
    }
    Ok(verify(path, keys)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_beside_its_run_is_no_run() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("run")).unwrap();
        std::fs::write(at("run").join(MANIFEST), "{}").unwrap();
        for (named, checked) in [
            (vec!["run", "run.alerts.jsonl"], vec!["run"]),
            (vec!["run.alerts.jsonl"], vec!["run"]),
            (vec!["other.alerts.jsonl"], vec!["other.alerts.jsonl"]),
            (vec!["run", "run"], vec!["run"]),
        ] {
            let paths = |names: &[&str]| names.iter().map(|name| at(name)).collect::<Vec<_>>();
            assert_eq!(
                with_journals_as_their_runs(paths(&named)),
                paths(&checked),
                "{named:?}"
            );
        }
    }
}
