//! `alerts deliver`, `status` and `signing-key`; and what `analyze` does with
//! the alerts of the run that it sealed.

use crate::Outcome;
use crate::alert::helper::{self, Helper, Terms};
use crate::alert::{Delivered, message};
use crate::args::{AlertRuns, Alerts as Arguments, Safety};
use crate::escape;
use crate::render::alerts::{self as render, Told};
use crate::sandbox;
use crate::screen::{self, Screen};
use crate::secret::{EnvironmentKey, keys_at_hand, sealing_key, write_new_secret};
use anyhow::{Context as _, Result, bail};
use nsforensics_engine::finding::Finding;
use nsforensics_engine::policy::{AlertDestination, Policy};
use nsforensics_engine::run::Report;
use nsforensics_engine::seal::{
    self, Journal, JournalContents, JournalKey, Key, MANIFEST, Manifest, check_journal,
    journal_path,
};
use nsforensics_engine::table::read;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Longest document of a run that is read here: the manifest of a run with
/// thousands of row groups.
const MAX_DOCUMENT: u64 = 64 << 20;

pub fn run(
    arguments: Arguments,
    environment_key: &EnvironmentKey,
    screen: &Screen,
) -> Result<Outcome> {
    match arguments {
        Arguments::Deliver(arguments) => deliver(&arguments, environment_key, screen),
        Arguments::Status(arguments) => status(&arguments, environment_key, screen),
        Arguments::SigningKey { file, key } => {
            let key = sealing_key(key.key_file.as_deref(), environment_key)?;
            let journal = JournalKey::of(&key);
            write_new_secret(&file, &journal.signing_key())?;
            screen::print(&format!(
                "{}: signing key of alerts, of sealing key {}; give it to the receiver\n",
                escape::line(&file.to_string_lossy()),
                journal.id()
            ))?;
            Ok(Outcome::Clean)
        }
        Arguments::Helper => helper::run().map(|()| Outcome::Clean),
    }
}

fn terms(safety: &Safety, timeout: u16) -> Terms {
    Terms {
        no_sandbox: safety.no_sandbox,
        answer_seconds: timeout.into(),
    }
}

/// What `analyze` holds for the alerts of its run.
pub struct Outgoing {
    key: JournalKey,
    /// None where the process could not be started.
    helper: Option<Helper>,
}

impl Outgoing {
    /// Gets ready before the sandbox closes; `None` where the policy names no
    /// destination.
    pub fn prepare(
        policy: &Policy,
        key: &Key,
        out: &Path,
        safety: &Safety,
        timeout: u16,
    ) -> Option<Self> {
        let destinations = &policy.monitoring.network.alerts.destinations;
        if destinations.is_empty() {
            return None;
        }
        let key = JournalKey::of(key);
        let folders = [out.to_owned()];
        let terms = terms(safety, timeout);
        let helper = Helper::start(&key, &folders, Some(destinations), terms);
        if let Err(error) = &helper {
            tracing::warn!(error = %format!("{error:#}"), "alerts will wait in the journal");
        }
        Some(Self {
            key,
            helper: helper.ok(),
        })
    }

    /// Queues the alerts of a sealed run and has them delivered. Never fails:
    /// what went wrong is in what is told.
    pub fn send(mut self, report: &Report, policy: &Policy) -> Told {
        let mut told = Told::new(&report.folder, Some(&report.run_id));
        let queued = queue(&report.folder, &report.findings, policy, &self.key);
        match queued {
            Ok((journal, alerts)) => {
                told.alerts = Some(alerts);
                let delivered = match &mut self.helper {
                    Some(helper) => helper.deliver(&journal, None, true),
                    None => Err(anyhow::anyhow!("the process that delivers did not start")),
                };
                told.journal = Some(journal);
                match delivered {
                    Ok(delivered) => told.destinations = delivered,
                    Err(error) => told.error = Some(format!("{error:#}")),
                }
            }
            Err(error) => told.error = Some(format!("{error:#}")),
        }
        told.log();
        told
    }
}

/// The findings that are told: open ones at or above the policy's line.
fn told_of<'a>(policy: &Policy, findings: &'a [Finding]) -> Vec<&'a Finding> {
    findings
        .iter()
        .filter(|finding| finding.is_open() && finding.severity >= policy.verdicts.fail_at)
        .collect()
}

/// Makes the journal of a run; gives it and the number of alerts in it.
fn queue(
    folder: &Path,
    findings: &[Finding],
    policy: &Policy,
    key: &JournalKey,
) -> Result<(PathBuf, u64)> {
    let manifest = Manifest::parse(&document(folder, MANIFEST)?)
        .map_err(|why| anyhow::anyhow!("{MANIFEST} {why}"))?;
    let told = told_of(policy, findings);
    let alerts = told.len() as u64;
    let names = helper::names(&policy.monitoring.network.alerts.destinations);
    let texts = told
        .into_iter()
        .map(|finding| message::alert(&manifest.run_id, finding));
    let journal = Journal::create(folder, &manifest.hmac, &names, texts, key)?;
    Ok((journal, alerts))
}

pub fn document(folder: &Path, name: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(folder.join(name))
        .and_then(|file| file.take(MAX_DOCUMENT).read_to_end(&mut bytes))
        .with_context(|| format!("cannot read {name} of the run"))?;
    Ok(bytes)
}

/// Runs among what was named: they themselves, or the runs in a folder.
pub fn runs(given: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut runs = Vec::new();
    for path in given {
        let shown = || escape::line(&path.to_string_lossy());
        let path = path
            .canonicalize()
            .with_context(|| format!("{}: cannot open the run", shown()))?;
        if path.join(MANIFEST).exists() {
            runs.push(path);
            continue;
        }
        let mut inside: Vec<PathBuf> = std::fs::read_dir(&path)
            .with_context(|| format!("{}: neither a run nor a folder of runs", shown()))?
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.join(MANIFEST).exists())
            .collect();
        if inside.is_empty() {
            bail!("{}: holds no run", shown());
        }
        inside.sort();
        runs.extend(inside);
    }
    runs.dedup();
    Ok(runs)
}

fn parents(runs: &[PathBuf]) -> Vec<PathBuf> {
    let mut parents: Vec<PathBuf> = runs
        .iter()
        .filter_map(|run| run.parent().map(Path::to_owned))
        .collect();
    parents.sort();
    parents.dedup();
    parents
}

fn deliver(
    arguments: &AlertRuns,
    environment_key: &EnvironmentKey,
    screen: &Screen,
) -> Result<Outcome> {
    let keys = keys_at_hand(&arguments.keys.key_files, environment_key)?;
    let runs = runs(&arguments.runs)?;
    let parents = parents(&runs);
    let mut helpers = Vec::new();
    for key in &keys {
        let journal = JournalKey::of(key);
        let helper = Helper::start(
            &journal,
            &parents,
            None,
            terms(&arguments.safety, arguments.timeout),
        )?;
        helpers.push((journal, helper));
    }
    sandbox::enter(&arguments.safety, &runs, &parents);
    let told: Vec<Told> = runs
        .iter()
        .map(|run| {
            let mut told = Told::new(run, None);
            if let Err(error) = deliver_run(run, &keys, &mut helpers, &mut told) {
                told.error = Some(format!("{error:#}"));
            }
            told.log();
            told
        })
        .collect();
    finish(&told, arguments.json.json, screen)
}

fn deliver_run(
    run: &Path,
    keys: &[Key],
    helpers: &mut [(JournalKey, Helper)],
    told: &mut Told,
) -> Result<()> {
    let journal = journal_path(run).context("the run has no name")?;
    if journal.symlink_metadata().is_err() {
        // Cut off before its alerts were queued, or analysed without: what the
        // seal protects says what there is to tell.
        let (policy, key_id) = sealed_policy(run, run, keys)?;
        if policy.monitoring.network.alerts.destinations.is_empty() {
            return Ok(());
        }
        let key = helpers
            .iter()
            .map(|(key, _)| key)
            .find(|key| key.id() == key_id)
            .context("the key of the run's seal is not at hand")?;
        queue(run, &read::findings(run)?, &policy, key)?;
    }
    let (contents, at) = contents(&journal, helpers.iter().map(|(key, _)| key))?;
    told.run_id = Some(contents.run_id.clone());
    told.alerts = Some(contents.queued.len() as u64);
    told.journal = Some(journal.clone());
    if contents.owed() == 0 {
        told.destinations = standing(&contents);
        return Ok(());
    }
    let (policy, _) = sealed_policy(run, &run.join("policy.yaml"), keys)?;
    let destinations: Vec<AlertDestination> = policy.monitoring.network.alerts.destinations.clone();
    let (_, helper) = helpers.get_mut(at).context("no process delivers")?;
    told.destinations = helper.deliver(&journal, Some(&destinations), false)?;
    Ok(())
}

/// The policy of a run, once the seal over `what` was verified; and the key of that seal.
fn sealed_policy(run: &Path, what: &Path, keys: &[Key]) -> Result<(Policy, String)> {
    let report = seal::verify(what, keys)?;
    let seal = report.seals.iter().find(|seal| seal.verified);
    let (true, Some(seal)) = (report.is_intact(), seal) else {
        let problems: Vec<String> = report
            .problems
            .iter()
            .map(crate::render::verify::problem)
            .collect();
        bail!(
            "not delivered, since the run is not intact: {}",
            problems.join("; ")
        );
    };
    let text = String::from_utf8(document(run, "policy.yaml")?)
        .context("the policy of the run is no text")?;
    let policy = Policy::from_yaml(&text, "policy.yaml")?;
    Ok((policy, seal.key_id.clone()))
}

/// What a journal says, by whichever key opens it, and which that was.
fn contents<'k>(
    journal: &Path,
    keys: impl Iterator<Item = &'k JournalKey>,
) -> Result<(JournalContents, usize)> {
    let wanted = seal::journal_key_id(journal).unwrap_or_default();
    let (at, key) = keys
        .enumerate()
        .find(|(_, key)| key.id() == wanted)
        .with_context(|| format!("its journal needs key {}", escape::line(&wanted)))?;
    let contents = check_journal(journal, key)
        .map_err(|why| anyhow::anyhow!("the journal is broken: {why}"))?;
    Ok((contents, at))
}

/// Where each destination stands.
fn standing(contents: &JournalContents) -> Vec<Delivered> {
    (0_u32..)
        .zip(&contents.destinations)
        .zip(&contents.last_failure)
        .map(|((index, name), failure)| {
            let owed = contents.pending(index).len() as u64;
            Delivered {
                destination: name.clone(),
                delivered: contents.queued.len() as u64 - owed,
                owed,
                reason: failure.clone().filter(|_| owed > 0),
            }
        })
        .collect()
}

fn status(
    arguments: &AlertRuns,
    environment_key: &EnvironmentKey,
    screen: &Screen,
) -> Result<Outcome> {
    let keys = keys_at_hand(&arguments.keys.key_files, environment_key)?;
    let keys: Vec<JournalKey> = keys.iter().map(JournalKey::of).collect();
    let runs = runs(&arguments.runs)?;
    let journals = runs.iter().filter_map(|run| journal_path(run));
    let readable: Vec<PathBuf> = runs.iter().cloned().chain(journals).collect();
    sandbox::enter(&arguments.safety, &readable, &[]);
    let told: Vec<Told> = runs
        .iter()
        .map(|run| {
            let mut told = Told::new(run, None);
            let Some(journal) = journal_path(run).filter(|path| path.symlink_metadata().is_ok())
            else {
                return told;
            };
            match contents(&journal, keys.iter()) {
                Ok((contents, _)) => {
                    told.run_id = Some(contents.run_id.clone());
                    told.alerts = Some(contents.queued.len() as u64);
                    told.destinations = standing(&contents);
                }
                Err(error) => told.error = Some(format!("{error:#}")),
            }
            told.journal = Some(journal);
            told
        })
        .collect();
    finish(&told, arguments.json.json, screen)
}

fn finish(told: &[Told], json: bool, screen: &Screen) -> Result<Outcome> {
    screen::print(&if json {
        render::json(told)?
    } else {
        render::text(told, screen)
    })?;
    let failed: Vec<&Told> = told.iter().filter(|told| told.error.is_some()).collect();
    if failed.len() == told.len()
        && let Some(first) = failed.first()
    {
        bail!("{}", first.error.as_deref().unwrap_or_default());
    }
    Ok(if !failed.is_empty() || told.iter().any(Told::owes) {
        Outcome::Found
    } else {
        Outcome::Clean
    })
}
