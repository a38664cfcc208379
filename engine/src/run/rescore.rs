//! Judging an old run again, from its tables alone, into a new sealed folder
//! that names the old one. The captures are not touched.
//!
//! Tables of facts are copied byte for byte and sealed anew; their key-value
//! metadata, and outcomes in their `checks` columns, are those of the policy
//! under which they were written. Findings, coverage and verdicts are new: NS-04
//! is judged by the same detectors as in a fresh run, outcomes of NS-01 to NS-03
//! are carried over where the policy leaves them as they were, versions, suites
//! and pins are judged from the rows of handshakes, and what only the packets can
//! answer is `not_observed`.

use super::{Report, usage};
use crate::behaviour::{self, Source};
use crate::control::ns04::{Indicators, with_indicators};
use crate::error::{Error, Result};
use crate::finding::{Earlier, Finding, FromRows, judge_again, not_judged_again};
use crate::indicator::Set;
use crate::policy::Policy;
use crate::rule::{RuleSet, Times};
use crate::seal::{
    InputEntry, Key, Ledger, Manifest, ManifestInput, Rescored, RunFolder, TrustStoreEntry,
    copy_output,
};
use crate::table::column::hex;
use crate::table::{FileMeta, handshakes, read};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime};

/// Tables that are copied as they are.
const FACTS: [&str; 9] = [
    "captures",
    "captures_interfaces",
    "flows",
    "tls_handshakes",
    "dns_queries",
    "certificates",
    "http_transactions",
    "credentials",
    "anomalies",
];

/// What to judge again, and by what.
#[derive(Debug)]
pub struct Again {
    /// Folder of a run whose seal was verified.
    pub run: PathBuf,
    /// Its manifest, of a seal that holds.
    pub manifest: Manifest,
    /// Its policy.
    pub before: Policy,
    /// The folder in which the new run folder is made.
    pub out_dir: PathBuf,
    /// What it is judged by now.
    pub policy: Policy,
    /// Name of the policy's file.
    pub policy_name: String,
    /// Threat intelligence.
    pub indicators: Option<Arc<Set>>,
    /// Rules of the user.
    pub rules: Option<RuleSet>,
    /// Whether its findings are to be told as alerts.
    pub alerts: bool,
    /// Keys the new seal.
    pub key: Key,
    /// The command line, secrets removed, for the manifest.
    pub command_line: Vec<String>,
}

/// Judges a run again.
///
/// # Errors
///
/// When its tables cannot be read, the output cannot be written, or `cancel` is set.
pub fn rescore(request: &Again, cancel: &AtomicBool) -> Result<Report> {
    let started = Instant::now();
    let started_at = SystemTime::now();
    let check_cancelled = || {
        if cancel.load(Ordering::Relaxed) {
            Err(Error::Interrupted)
        } else {
            Ok(())
        }
    };
    let policy = &request.policy;
    let captures = read::capture_summaries(&request.run)?;
    let mut folder = RunFolder::create(&request.out_dir, started_at)?;
    let mut rows: BTreeMap<String, u64> = BTreeMap::new();
    for output in &request.manifest.outputs {
        check_cancelled()?;
        let table = output.table.as_deref().unwrap_or_default();
        if FACTS.contains(&table) {
            copy_output(&request.run, output, &mut folder, &request.key)?;
            rows.insert(table.to_owned(), output.rows);
        }
    }
    let indicators = Indicators(request.indicators.clone());
    let checks = with_indicators(&indicators);
    let source = Source {
        folder: request.run.clone(),
        first_capture: 0,
    };
    let detected = behaviour::judge_by(policy, &[source], &checks)?;
    check_cancelled()?;
    let mut errors: Vec<String> = behaviour::anomalies(&detected, &captures)
        .into_iter()
        .map(|anomaly| anomaly.detail.to_string())
        .collect();
    let earlier = Earlier {
        findings: read::findings(&request.run)?,
        coverage: read::coverage(&request.run)?,
        verdicts: read::verdicts(&request.run)?,
    };
    let files = u32::try_from(captures.len()).unwrap_or(u32::MAX);
    let from_rows = from_rows(request, &check_cancelled)?;
    let not_judged_again = not_judged_again(&request.before, policy, from_rows.as_ref());
    let mut judged = judge_again(earlier, &request.before, policy, from_rows, detected, files);
    let mut rules_told = None;
    if let Some(rules) = &request.rules {
        let times = Times {
            folder: &request.run,
            captures: super::span(&captures),
        };
        let (findings, told) = rules.run(&times, policy.limits.max_findings, cancel);
        check_cancelled()?;
        for problem in &told.problems {
            tracing::warn!("{problem}");
            errors.push(problem.to_string());
        }
        rules_told = Some(told);
        judged.add(findings);
    }
    let meta = FileMeta {
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        policy_sha256: hex(&policy.digest()),
    };
    Ledger::write_judgement(&mut folder, &request.key, &meta, &judged)?;
    folder.add_document("policy.yaml", policy.to_yaml().as_bytes(), &request.key)?;
    if let Some(set) = &request.indicators {
        errors.extend(set.files().iter().flat_map(|file| file.told()));
    }
    let manifest = manifest(
        request,
        started_at,
        &judged.findings,
        errors,
        &not_judged_again,
    );
    let run_id = folder.run_id().to_owned();
    let path = folder.seal(&manifest, &request.key)?;
    let count = |table: &str| rows.get(table).copied().unwrap_or_default();
    Ok(Report {
        folder: path,
        run_id,
        key_id: request.key.id(),
        captures,
        verdicts: judged.verdicts,
        findings: judged.findings,
        rules: rules_told,
        coverage: judged.coverage,
        capture_anomalies: Vec::new(),
        not_judged_again,
        anomaly_rows: count("anomalies"),
        flows: count("flows"),
        tls_handshakes: count("tls_handshakes"),
        secrets: 0,
        secrets_met: 0,
        dns_queries: count("dns_queries"),
        certificates: count("certificates"),
        elapsed: started.elapsed(),
    })
}

/// What the rows of handshakes say to checks that ask something else now.
fn from_rows(
    request: &Again,
    check_cancelled: &dyn Fn() -> Result<()>,
) -> Result<Option<FromRows>> {
    let table = request.run.join("tls_handshakes.parquet");
    // Tables are copied from run to run: their outcomes may be of an older policy.
    let written_under = read::metadata(&table)?
        .into_iter()
        .find_map(|(key, value)| (key == "nsforensics.policy_sha256").then_some(value));
    let is_of_before = written_under == Some(hex(&request.before.digest()));
    let mut rows = FromRows::new(&request.before, &request.policy, is_of_before);
    if rows.is_nothing() || !handshakes::can_be_read(&request.run)? {
        return Ok(None);
    }
    check_cancelled()?;
    handshakes::handshakes(&request.run, |back| rows.add(&request.policy, &back))?;
    Ok(Some(rows))
}

fn manifest(
    request: &Again,
    started: SystemTime,
    findings: &[Finding],
    errors: Vec<String>,
    not_judged_again: &[&str],
) -> ManifestInput {
    let old = &request.manifest.body;
    let text = |value: &Value, key: &str| {
        let text = value.get(key).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let number = |value: &Value, key: &str| value.get(key).and_then(Value::as_u64);
    let store = old.get("trust_store").cloned().unwrap_or_default();
    let lists = store.get("revocation_lists").and_then(Value::as_array);
    let inputs = old.get("inputs").and_then(Value::as_array);
    let mut counts: BTreeMap<String, u64> = super::finding_counts(findings);
    for table in ["flows", "dns_queries", "packets"] {
        let before = old.get("counts").and_then(|counts| number(counts, table));
        counts.insert(table.to_owned(), before.unwrap_or_default());
    }
    let policy_sha256 = old.get("policy").map(|policy| text(policy, "sha256"));
    let usage = usage::of_this_process();
    ManifestInput {
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        git_commit: option_env!("NSF_GIT_COMMIT").map(str::to_owned),
        command_line: request.command_line.clone(),
        policy: request.policy_name.clone(),
        policy_sha256: hex(&request.policy.digest()),
        public_suffix_list: crate::proto::dns::suffix::LIST,
        host: usage::host_name(),
        started,
        ended: SystemTime::now(),
        threads: rayon::current_num_threads() as u64,
        max_rss_bytes: usage.max_rss_bytes,
        cpu_ns: usage.cpu_ns,
        hashed: old.get("inputs_hashed").and_then(Value::as_bool) == Some(true),
        trust_store: TrustStoreEntry {
            name: text(&store, "name"),
            sha256: text(&store, "sha256"),
            roots: number(&store, "roots").unwrap_or_default(),
            revocation_lists: lists
                .into_iter()
                .flatten()
                .filter_map(|digest| digest.as_str().map(str::to_owned))
                .collect(),
            ct_logs_sha256: text(&store, "ct_logs_sha256"),
            ct_logs: number(&store, "ct_logs").unwrap_or_default(),
        },
        inputs: inputs
            .into_iter()
            .flatten()
            .map(|input| InputEntry {
                path: text(input, "path"),
                size_bytes: number(input, "size_bytes").unwrap_or_default(),
                sha256: input
                    .get("sha256")
                    .and_then(Value::as_str)
                    .map(str::to_owned),
                error: input
                    .get("error")
                    .and_then(Value::as_str)
                    .map(str::to_owned),
            })
            .collect(),
        counts,
        exit_status: 0,
        errors,
        indicators: request.indicators.clone(),
        rules: super::rule_files(&request.rules),
        alerts: request.alerts,
        rescored: Some(Rescored {
            run_id: request.manifest.run_id.clone(),
            manifest_hmac: request.manifest.hmac.clone(),
            policy_sha256: policy_sha256.unwrap_or_default(),
            not_judged_again: not_judged_again.iter().map(|&id| id.to_owned()).collect(),
        }),
    }
}
