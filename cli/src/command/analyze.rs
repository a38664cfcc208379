//! `analyze`: everything that can be refused is refused before a capture is read.

use super::alerts::Outgoing;
use crate::Outcome;
use crate::args::Analyze;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::render::{alerts, json, rules, summary};
use crate::sandbox;
use crate::screen::{self, Screen};
use crate::secret::{EnvironmentKey, sealing_key};
use anyhow::{Context as _, Result};
use nsforensics_engine::Error;
use nsforensics_engine::pki::{CtLogs, GivenLists, Store, StoreChoice, Validator};
use nsforensics_engine::policy::Policy;
use nsforensics_engine::run::{self, KeyLogs, Request};
use std::path::Path;

pub fn run(
    arguments: Analyze,
    environment_key: EnvironmentKey,
    screen: &Screen,
) -> Result<Outcome> {
    let key = sealing_key(arguments.key.key_file.as_deref(), &environment_key)?;
    let command_line = environment_key.redacted(std::env::args_os());
    drop(environment_key);
    let policy = super::policy::load(arguments.policy.as_deref())?;
    let store = trusted(&arguments.trust_store, &policy, arguments.policy.as_deref())?;
    let mut key_logs = KeyLogs::new(&policy.limits);
    for path in &arguments.keylog {
        let shown = crate::escape::line(&path.to_string_lossy());
        std::fs::File::open(path)
            .and_then(|file| key_logs.read(shown.clone(), file))
            .with_context(|| format!("cannot read the key log {shown}"))?;
    }
    let validator = Validator::new(store)
        .with_lists(revocation_lists(&arguments.crl)?)
        .with_logs(logs(&arguments.ct_logs)?);
    refuse_missing(&arguments)?;
    let indicators = super::rescore::indicators(&arguments.known.indicators, &policy)?;

    super::make_out(&arguments.results.out)?;
    let outgoing = if arguments.results.no_alerts {
        None
    } else {
        Outgoing::prepare(
            &policy,
            &key,
            &arguments.results.out,
            &arguments.safety,
            arguments.results.alert_timeout,
        )
    };
    let asked = crate::rules::prepare(
        &arguments.rules,
        std::slice::from_ref(&arguments.results.out),
        &arguments.results.out,
        arguments.safety.no_sandbox,
    )?;
    let readable = sandbox::inputs(&arguments.captures);
    sandbox::enter(
        &arguments.safety,
        &readable,
        std::slice::from_ref(&arguments.results.out),
    );
    let interrupt = Interrupt::listen()?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        key_id = key.id(),
        out = %arguments.results.out.display(),
        threads = arguments
            .threads
            .map_or_else(cores, usize::from),
        "start"
    );
    for input in &arguments.captures {
        tracing::info!(path = %input.display(), "input");
    }
    let request = Request {
        inputs: arguments.captures,
        out_dir: arguments.results.out,
        policy,
        policy_name: super::policy::label(arguments.policy.as_deref()),
        key,
        key_logs,
        validator,
        indicators,
        rules: asked,
        alerts: outgoing.is_some(),
        threads: arguments.threads.map(usize::from),
        chunk_bytes: arguments.chunk_size,
        hash: !arguments.no_hash,
        command_line,
    };
    let progress = Progress::new(arguments.results.quiet);
    let result = run::analyze(&request, &progress, interrupt.cancel());
    drop(progress);
    let report = match result {
        Ok(report) => report,
        Err(error) => return stopped(error, &interrupt),
    };
    tracing::info!(
        outcome = "sealed",
        run_id = report.run_id,
        folder = %report.folder.display(),
        key_id = report.key_id,
        flows = report.flows,
        findings = report.findings.len(),
        elapsed_seconds = report.elapsed.as_secs_f64(),
        "end"
    );

    let told = outgoing.map(|outgoing| outgoing.send(&report, &request.policy));
    let text = if arguments.results.json.json {
        let mut document = json::AnalyzeDocument::new(&report, request.hash);
        document.alerts = told.as_ref();
        json::document(&document)?
    } else if arguments.results.quiet {
        format!(
            "{}\n",
            crate::escape::line(&report.folder.to_string_lossy())
        )
    } else {
        let key_file = arguments.key.key_file.as_deref();
        let rules = rules::sections(request.rules.as_ref(), &report, screen);
        let alerts = told
            .as_ref()
            .map(|told| alerts::section(told, key_file, screen));
        let beside = summary::Beside {
            policy: &request.policy_name,
            hashed: request.hash,
            key_file,
            rules: &rules,
            alerts: alerts.as_deref().unwrap_or_default(),
        };
        summary::summary(&report, beside, screen)
    };
    screen::print(&text)?;
    let found = arguments
        .results
        .fail_on
        .is_some_and(|severity| report.has_finding(severity));
    Ok(if found {
        Outcome::Found
    } else {
        Outcome::Clean
    })
}

/// Threads of a run that was given no number.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What is said of a run that did not come to its end.
pub fn stopped(error: Error, interrupt: &Interrupt) -> Result<Outcome> {
    if let (Error::Interrupted, Some(code)) = (&error, interrupt.exit_code()) {
        tracing::info!(outcome = "interrupted", "end");
        crate::logs::complain(&error.to_string());
        return Ok(Outcome::Interrupted(code));
    }
    tracing::info!(outcome = "failed", "end");
    Err(error.into())
}

/// The roots to judge by. Paths in a policy are relative to its file.
fn trusted(choice: &str, policy: &Policy, policy_file: Option<&Path>) -> Result<Store> {
    let of_policy = &policy.network.certificates.trust_store;
    let choice = match choice {
        _ if !of_policy.use_system => StoreChoice::Nothing,
        "mozilla-at-capture" => StoreChoice::MozillaAtCapture,
        "mozilla" => StoreChoice::Mozilla,
        "system" => StoreChoice::System,
        path => StoreChoice::Path(path.into()),
    };
    let folder = policy_file.and_then(Path::parent).unwrap_or(Path::new(""));
    let additional: Vec<_> = of_policy
        .additional_certs
        .iter()
        .map(|cert| (folder.join(&cert.path), cert.purpose.clone()))
        .collect();
    Ok(Store::load(&choice, &additional)?)
}

/// The revocation lists that the user gives.
fn revocation_lists(paths: &[std::path::PathBuf]) -> Result<GivenLists> {
    let mut lists = GivenLists::default();
    for path in paths {
        lists.add_file(path)?;
    }
    Ok(lists)
}

/// The transparency logs that are known, and those that the user names.
fn logs(paths: &[std::path::PathBuf]) -> Result<CtLogs> {
    let mut logs = CtLogs::built_in();
    for path in paths {
        logs.add_file(path)?;
    }
    Ok(logs)
}

/// One missing file of several is recorded by the run; when none is there, the
/// usual cause is a slip of the hand, which is better told at once.
fn refuse_missing(arguments: &Analyze) -> Result<()> {
    let missing =
        |input: &&std::path::PathBuf| input.as_path() != Path::new("-") && !input.exists();
    if arguments.captures.iter().all(|input| missing(&input))
        && let Some(first) = arguments.captures.first()
    {
        anyhow::bail!(
            "no readable input: {}: no such file or folder",
            crate::escape::line(&first.to_string_lossy())
        );
    }
    Ok(())
}
