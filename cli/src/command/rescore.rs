//! `rescore` and `match`: an old run judged again from its tables.

use super::alerts::Outgoing;
use super::analyze;
use super::audit::{Looked, intact, look_at};
use crate::Outcome;
use crate::args::{Match, Rescore};
use crate::escape;
use crate::interrupt::Interrupt;
use crate::render::verify::State;
use crate::render::{alerts, json, rules, summary};
use crate::sandbox;
use crate::screen::{self, Screen};
use crate::secret::{EnvironmentKey, keys_at_hand, sealing_key};
use anyhow::{Context as _, Result, bail};
use nsforensics_engine::behaviour::{self, Source};
use nsforensics_engine::control::ns04::{Indicators, with_indicators};
use nsforensics_engine::finding::found_of;
use nsforensics_engine::indicator::Set;
use nsforensics_engine::policy::Policy;
use nsforensics_engine::run::{Again, rescore};
use nsforensics_engine::seal::{MANIFEST, Manifest};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Reads files of indicators; what in them is none is told, and the rest counts.
pub fn indicators(files: &[PathBuf], policy: &Policy) -> Result<Option<Arc<Set>>> {
    if files.is_empty() {
        return Ok(None);
    }
    let mut set = Set::new(policy.limits.indicators);
    for file in files {
        set.add_file(file)?;
    }
    for file in set.files() {
        for line in file.told() {
            tracing::warn!("{line}");
        }
        tracing::info!(
            path = file.path,
            format = file.format,
            indicators = file.indicators,
            skipped = file.skipped,
            sha256 = file.sha256,
            "indicators"
        );
    }
    Ok(Some(Arc::new(set)))
}

/// The manifest and the policy of a run that was verified.
fn sealed(run: &Path) -> Result<(Manifest, Policy)> {
    let manifest = Manifest::parse(&super::alerts::document(run, MANIFEST)?)
        .map_err(|why| anyhow::anyhow!("{MANIFEST} {why}"))?;
    let text = String::from_utf8(super::alerts::document(run, "policy.yaml")?)
        .context("the policy of the run is no text")?;
    Ok((
        manifest,
        Policy::from_yaml(&text, "policy.yaml of the run")?,
    ))
}

pub fn run(
    arguments: Rescore,
    environment_key: EnvironmentKey,
    screen: &Screen,
) -> Result<Outcome> {
    let key = sealing_key(arguments.key.key_file.as_deref(), &environment_key)?;
    let mut files = arguments.old_key_files.clone();
    files.extend(arguments.key.key_file.clone());
    let keys = keys_at_hand(&files, &environment_key)?;
    let command_line = environment_key.redacted(std::env::args_os());
    drop(environment_key);
    let policy = arguments
        .policy
        .as_deref()
        .map(|file| super::policy::load(Some(file)))
        .transpose()?;
    let limits = policy.clone().unwrap_or_default();
    let set = indicators(&arguments.known.indicators, &limits)?;
    super::make_out(&arguments.results.out)?;
    // Destinations are those of the policy that judges; without one, those of
    // the run's, which is not read before it was verified.
    let outgoing = match (&policy, arguments.results.no_alerts) {
        (Some(policy), false) => Outgoing::prepare(
            policy,
            &key,
            &arguments.results.out,
            &arguments.safety,
            arguments.results.alert_timeout,
        ),
        _ => None,
    };
    let runs = std::slice::from_ref(&arguments.run);
    let asked = crate::rules::prepare(
        &arguments.rules,
        &sandbox::run_folders(runs),
        &arguments.results.out,
        arguments.safety.no_sandbox,
    )?;
    sandbox::enter(
        &arguments.safety,
        &sandbox::run_folders(runs),
        std::slice::from_ref(&arguments.results.out),
    );
    let interrupt = Interrupt::listen()?;
    let Some(report) = intact(&arguments.run, &keys)? else {
        return Ok(Outcome::Found);
    };
    let (manifest, before) = sealed(&report.folder)?;
    let policy_name = match &arguments.policy {
        Some(_) => super::policy::label(arguments.policy.as_deref()),
        None => format!("of run {}", manifest.run_id),
    };
    let request = Again {
        run: report.folder,
        manifest,
        policy: policy.unwrap_or_else(|| before.clone()),
        before,
        out_dir: arguments.results.out,
        policy_name,
        indicators: set,
        rules: asked,
        alerts: outgoing.is_some(),
        key,
        command_line,
    };
    let report = match rescore(&request, interrupt.cancel()) {
        Ok(report) => report,
        Err(error) => return analyze::stopped(error, &interrupt),
    };
    let lost = &report.not_judged_again;
    if !lost.is_empty() {
        crate::logs::warn(&format!(
            "not judged again, since the policy changed what they ask and only the capture can answer: {}",
            lost.join(", ")
        ));
    }
    let told = outgoing.map(|outgoing| outgoing.send(&report, &request.policy));
    let key_file = arguments.key.key_file.as_deref();
    let text = if arguments.results.json.json {
        let mut document = json::AnalyzeDocument::new(&report, true);
        document.alerts = told.as_ref();
        json::document(&document)?
    } else if arguments.results.quiet {
        format!("{}\n", escape::line(&report.folder.to_string_lossy()))
    } else {
        let rules = rules::sections(request.rules.as_ref(), &report, screen);
        let alerts = told
            .as_ref()
            .map(|told| alerts::section(told, key_file, screen));
        let beside = summary::Beside {
            policy: &request.policy_name,
            hashed: true,
            key_file,
            rules: &rules,
            alerts: alerts.as_deref().unwrap_or_default(),
        };
        format!(
            "Judged again from the tables of run {}\n\n{}",
            escape::line(&request.manifest.run_id),
            summary::summary(&report, beside, screen)
        )
    };
    screen::print(&text)?;
    let is_found = arguments
        .results
        .fail_on
        .is_some_and(|severity| report.has_finding(severity));
    Ok(if is_found {
        Outcome::Found
    } else {
        Outcome::Clean
    })
}

pub fn matches(
    arguments: &Match,
    environment_key: &EnvironmentKey,
    screen: &Screen,
) -> Result<Outcome> {
    let keys = keys_at_hand(&arguments.keys.key_files, environment_key)?;
    let policy = Policy::built_in();
    let Some(set) = indicators(&arguments.indicators, &policy)? else {
        bail!("no indicators: give them with --indicators FILE");
    };
    let runs = super::alerts::runs(&arguments.runs)?;
    sandbox::enter(&arguments.safety, &sandbox::run_folders(&runs), &[]);
    let check = Indicators(Some(Arc::clone(&set)));
    let checks: Vec<_> = with_indicators(&check)
        .into_iter()
        .filter(|one| one.meta().id == "NS-04.indicator")
        .collect();
    let mut seen = Vec::new();
    let mut missed = Vec::new();
    for run in runs {
        let (run_id, folder) = match look_at(&run, &keys) {
            Ok(Looked::Intact(report)) => (report.run_id, report.folder),
            Ok(Looked::Broken(why)) => {
                crate::logs::complain(&why);
                missed.push((run, State::Broken, why));
                continue;
            }
            Err(error) => {
                let why = crate::told_once(&error);
                crate::logs::complain(&why);
                missed.push((run, State::Unchecked, why));
                continue;
            }
        };
        let source = Source {
            folder,
            first_capture: 0,
        };
        let detected = behaviour::judge_by(&policy, &[source], &checks)?;
        seen.push((run, run_id, found_of(detected)));
    }
    let is_found = seen.iter().any(|(_, _, findings)| !findings.is_empty());
    let text = if arguments.json.json {
        json::matches(&set, &seen, &missed)?
    } else {
        summary::matches(&set, &seen, screen)
    };
    screen::print(&text)?;
    let any = |state| missed.iter().any(|(_, of, _)| *of == state);
    if is_found || any(State::Broken) {
        return Ok(Outcome::Found);
    }
    if any(State::Unchecked) {
        bail!("no indicator was found in the runs that could be looked at, and not all could be");
    }
    Ok(Outcome::Clean)
}
