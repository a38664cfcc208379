//! `alerts deliver`, `status` and `signing-key`; and what `analyze` does with
//! the alerts of the run that it sealed.

use crate::Outcome;
use crate::alert::helper::{self, Helper, Terms};
use crate::alert::{Delivered, message};
use crate::args::{AlertRuns, Alerts as Arguments, Safety};
use crate::escape;
use crate::render::alerts::{self as render, Told};
use crate::render::verify::State;
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
use std::collections::BTreeSet;
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
        Arguments::Deliver { runs, timeout } => deliver(&runs, timeout, environment_key, screen),
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
                    Err(error) => told.fail(error.into()),
                }
            }
            Err(error) => told.fail(error.into()),
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

/// Runs among what was named: they themselves, or the runs in a folder. Their
/// names are those that were given, where these say which folder is meant.
pub fn runs(given: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut runs: Vec<(PathBuf, PathBuf)> = Vec::new();
    for path in given {
        let shown = || escape::line(&path.to_string_lossy());
        let real = path
            .canonicalize()
            .with_context(|| format!("{}: cannot open the run", shown()))?;
        if real.join(MANIFEST).exists() {
            // A journal stands beside the run itself, not beside a link to it.
            let is_plain = path.file_name() == real.file_name() && !path.is_symlink();
            let name = if is_plain { path } else { &real };
            runs.push((name.clone(), real.clone()));
            continue;
        }
        let mut inside: Vec<PathBuf> = std::fs::read_dir(path)
            .with_context(|| format!("{}: neither a run nor a folder of runs", shown()))?
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.join(MANIFEST).exists())
            .collect();
        if inside.is_empty() {
            bail!("{}: holds no run", shown());
        }
        inside.sort();
        for path in inside {
            let real = path.canonicalize()?;
            let name = if path.is_symlink() { &real } else { &path };
            runs.push((name.clone(), real));
        }
    }
    let mut known = BTreeSet::new();
    let runs = runs
        .into_iter()
        .filter(|(_, real)| known.insert(real.clone()));
    Ok(runs.map(|(name, _)| name).collect())
}

fn parents(runs: &[PathBuf]) -> Vec<PathBuf> {
    let mut parents: Vec<PathBuf> = runs
        .iter()
        .filter_map(|run| run.canonicalize().ok()?.parent().map(Path::to_owned))
        .collect();
    parents.sort();
    parents.dedup();
    parents
}

/// Why nothing can be said of a run's alerts, or sent of them.
enum Failure {
    /// Something is not as it was sealed.
    Broken(String),
    /// It could not be done.
    Undone(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Undone(error)
    }
}

impl From<nsforensics_engine::Error> for Failure {
    fn from(error: nsforensics_engine::Error) -> Self {
        Self::Undone(error.into())
    }
}

fn deliver(
    arguments: &AlertRuns,
    timeout: u16,
    environment_key: &EnvironmentKey,
    screen: &Screen,
) -> Result<Outcome> {
    let keys = keys_at_hand(&arguments.keys.key_files, environment_key)?;
    let runs = runs(&arguments.runs)?;
    let parents = parents(&runs);
    let mut helpers = Vec::new();
    for key in &keys {
        let journal = JournalKey::of(key);
        let helper = Helper::start(&journal, &parents, None, terms(&arguments.safety, timeout))?;
        helpers.push((journal, helper));
    }
    sandbox::enter(&arguments.safety, &runs, &parents);
    let told: Vec<Told> = runs
        .iter()
        .map(|run| {
            let mut told = Told::new(run, None);
            if let Err(failure) = deliver_run(run, &keys, &mut helpers, &mut told) {
                told.fail(failure);
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
) -> Result<(), Failure> {
    let journal = journal_path(run).context("the run has no name")?;
    if journal.symlink_metadata().is_err() {
        let Some(unqueued) = unqueued(run, keys)? else {
            return Ok(());
        };
        let key = helpers
            .iter()
            .map(|(key, _)| key)
            .find(|key| key.id() == unqueued.key_id)
            .context("the key of the run's seal is not at hand")?;
        queue(run, &unqueued.findings, &unqueued.policy, key)?;
    }
    let (contents, at) = contents(&journal, helpers.iter().map(|(key, _)| key))?;
    told.run_id = Some(contents.run_id.clone());
    told.alerts = Some(contents.queued.len() as u64);
    told.journal = Some(journal.clone());
    if contents.owed() == 0 {
        told.destinations = standing(&contents);
        return Ok(());
    }
    let (policy, _) = sealed_policy(run, keys)?;
    let destinations: Vec<AlertDestination> = policy.monitoring.network.alerts.destinations.clone();
    let (_, helper) = helpers.get_mut(at).context("no process delivers")?;
    told.destinations = helper.deliver(&journal, Some(&destinations), false)?;
    Ok(())
}

/// What a run without a journal has to tell.
struct Unqueued {
    run_id: String,
    policy: Policy,
    findings: Vec<Finding>,
    /// The key of the seal that protects them.
    key_id: String,
}

/// A run whose alerts are wanted has a journal, unless it was cut off between
/// its seal and that; `None` where they are not wanted.
fn unqueued(run: &Path, keys: &[Key]) -> Result<Option<Unqueued>, Failure> {
    let (policy, key_id) = sealed_policy(run, keys)?;
    let manifest = Manifest::parse(&document(run, MANIFEST)?)
        .map_err(|why| Failure::Broken(format!("{MANIFEST} {why}")))?;
    let destinations = &policy.monitoring.network.alerts.destinations;
    if destinations.is_empty() || !manifest.wants_alerts() {
        return Ok(None);
    }
    intact(&run.join("findings.parquet"), keys)?;
    Ok(Some(Unqueued {
        run_id: manifest.run_id,
        findings: read::findings(run)?,
        policy,
        key_id,
    }))
}

/// The policy of a run, once its seal was verified; and the key of that seal.
fn sealed_policy(run: &Path, keys: &[Key]) -> Result<(Policy, String), Failure> {
    let key_id = intact(&run.join("policy.yaml"), keys)?;
    let text = String::from_utf8(document(run, "policy.yaml")?)
        .context("the policy of the run is no text")?;
    Ok((Policy::from_yaml(&text, "policy.yaml")?, key_id))
}

/// Verifies the seal of a run over one of its files; gives the seal's key.
fn intact(file: &Path, keys: &[Key]) -> Result<String, Failure> {
    let report = seal::verify(file, keys)?;
    let seal = report.seals.iter().find(|seal| seal.verified);
    if let (true, Some(seal)) = (report.is_intact(), seal) {
        return Ok(seal.key_id.clone());
    }
    let problems: Vec<String> = report
        .problems
        .iter()
        .map(crate::render::verify::problem)
        .collect();
    let problems = problems.join("; ");
    Err(if report.only_lacks_key() {
        Failure::Undone(anyhow::anyhow!("the run could not be verified: {problems}"))
    } else {
        Failure::Broken(format!("the run is not intact: {problems}"))
    })
}

/// What a journal says, by whichever key opens it, and which that was.
fn contents<'k>(
    journal: &Path,
    keys: impl Iterator<Item = &'k JournalKey>,
) -> Result<(JournalContents, usize), Failure> {
    let broken = |why: String| Failure::Broken(format!("the journal is broken: {why}"));
    let Some(wanted) = seal::journal_key_id(journal) else {
        return Err(broken("it does not say which key it needs".to_owned()));
    };
    let (at, key) = keys
        .enumerate()
        .find(|(_, key)| key.id() == wanted)
        .with_context(|| format!("its journal needs key {}", escape::line(&wanted)))?;
    let contents = check_journal(journal, key).map_err(broken)?;
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
                reason: (owed > 0).then(|| failure.clone().unwrap_or_else(not_tried)),
            }
        })
        .collect()
}

/// Of a destination that the journal knows nothing of but what it is owed: it
/// could not be used, or time ran out before its turn.
fn not_tried() -> String {
    "not tried yet: `alerts deliver` tries, or says why it cannot".to_owned()
}

fn status(
    arguments: &AlertRuns,
    environment_key: &EnvironmentKey,
    screen: &Screen,
) -> Result<Outcome> {
    let keys = keys_at_hand(&arguments.keys.key_files, environment_key)?;
    let journal_keys: Vec<JournalKey> = keys.iter().map(JournalKey::of).collect();
    let runs = runs(&arguments.runs)?;
    let journals = runs.iter().filter_map(|run| journal_path(run));
    let readable: Vec<PathBuf> = runs.iter().cloned().chain(journals).collect();
    sandbox::enter(&arguments.safety, &readable, &[]);
    let told: Vec<Told> = runs
        .iter()
        .map(|run| {
            let mut told = Told::new(run, None);
            if let Err(failure) = status_of(run, &keys, &journal_keys, &mut told) {
                told.fail(failure);
            }
            told
        })
        .collect();
    finish(&told, arguments.json.json, screen)
}

fn status_of(
    run: &Path,
    keys: &[Key],
    journal_keys: &[JournalKey],
    told: &mut Told,
) -> Result<(), Failure> {
    let journal = journal_path(run).context("the run has no name")?;
    if journal.symlink_metadata().is_ok() {
        told.journal = Some(journal.clone());
        let (contents, _) = contents(&journal, journal_keys.iter())?;
        told.run_id = Some(contents.run_id.clone());
        told.alerts = Some(contents.queued.len() as u64);
        told.destinations = standing(&contents);
        return Ok(());
    }
    let Some(unqueued) = unqueued(run, keys)? else {
        return Ok(());
    };
    let owed = told_of(&unqueued.policy, &unqueued.findings).len() as u64;
    told.run_id = Some(unqueued.run_id);
    told.alerts = Some(owed);
    let destinations = &unqueued.policy.monitoring.network.alerts.destinations;
    told.destinations = helper::names(destinations)
        .into_iter()
        .map(|destination| Delivered {
            destination,
            delivered: 0,
            owed,
            reason: (owed > 0).then(|| "not queued yet".to_owned()),
        })
        .collect();
    Ok(())
}

impl Told {
    fn fail(&mut self, failure: Failure) {
        let (state, error) = match failure {
            Failure::Broken(why) => (State::Broken, why),
            Failure::Undone(error) => (State::Unchecked, crate::told_once(&error)),
        };
        self.state = state;
        self.error = Some(error);
    }
}

fn finish(told: &[Told], json: bool, screen: &Screen) -> Result<Outcome> {
    screen::print(&if json {
        render::json(told)?
    } else {
        render::text(told, screen)
    })?;
    let of = |state| told.iter().filter(move |told| told.state == state);
    let undone: Vec<String> = of(State::Unchecked)
        .map(|told| {
            let run = escape::line(&told.run.to_string_lossy());
            let why = told.error.as_deref().unwrap_or_default();
            format!("{run}: {}", escape::block(why).replace('\n', " "))
        })
        .collect();
    // What is broken or owed among those that could be looked at outweighs it.
    let is_found = of(State::Broken).next().is_some() || of(State::Intact).any(Told::owes);
    match (undone.is_empty(), is_found) {
        (true, false) => Ok(Outcome::Clean),
        (true, true) => Ok(Outcome::Found),
        (false, true) => {
            undone.iter().for_each(|why| crate::logs::complain(why));
            Ok(Outcome::Found)
        }
        (false, false) => bail!("{}", undone.join("; ")),
    }
}
