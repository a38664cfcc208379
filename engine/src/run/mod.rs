//! The conductor: from files to a sealed run folder.
//!
//! The only place with threads of its own: batches of chunks are decoded in
//! parallel, shards take their segments in file order in parallel, and what
//! they give is merged by packet number, so that nothing depends on timing.
//!
//! ```text
//! batch of chunks --par--> segments per shard --par--> finished flows --sort--> tables
//!        |                        ^
//!        +-- fragments, serial ---+          evidence hash: its own thread
//! ```

mod evidence_hash;
mod judge;
mod naming;
mod order;
mod pipeline;
mod reading;
mod secrets;
mod sessions;
mod rescore;
mod usage;
mod writing;

pub use secrets::KeyLogs;

use crate::anomaly::{Anomaly, AnomalyKind, AnomalyLog};
use crate::behaviour;
use crate::capture::{self, CaptureFile, CaptureSummary, Damage, Finished, Options};
use crate::control::Severity;
use crate::control::ns04::{Indicators, with_indicators};
use crate::decode;
use crate::error::{Error, Result};
use crate::evidence::PacketRef;
use crate::finding::{CoverageRow, Finding, Verdict};
use crate::indicator::Set;
use crate::pki::Validator;
use crate::policy::Policy;
use crate::proto::credential::Redactor;
use crate::rule::{RuleFile, RuleSet, Times, Told};
use crate::seal::{
    InputEntry, Key, ManifestInput, OutputSet, Purpose, RowCounts, RunFolder, TrustStoreEntry,
};
use crate::table::FileMeta;
use crate::table::column::hex;
use crate::time::CaptureTime;
use pipeline::Pipeline;
pub use rescore::{Again, rescore};
use secrets::Secrets;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// What to analyse, by what, and where to put it.
#[derive(Debug)]
pub struct Request {
    /// Files, folders, or `-` for standard input.
    pub inputs: Vec<PathBuf>,
    /// The folder in which the run folder is made.
    pub out_dir: PathBuf,
    /// What the run is judged by.
    pub policy: Policy,
    /// Name of the policy's file, or `built-in`.
    pub policy_name: String,
    /// Keys the seal.
    pub key: Key,
    /// Judges certificates, by the roots that it trusts.
    pub validator: Validator,
    /// Key logs to decrypt with.
    pub key_logs: KeyLogs,
    /// Threat intelligence of the user.
    pub indicators: Option<Arc<Set>>,
    /// Rules of the user.
    pub rules: Option<RuleSet>,
    /// Whether its findings are to be told as alerts: the manifest says so, for
    /// whoever delivers.
    pub alerts: bool,
    /// Worker threads; `None` for one per core.
    pub threads: Option<usize>,
    /// Bytes of a chunk; `None` for the default. Results do not depend on it.
    pub chunk_bytes: Option<usize>,
    /// Whether to hash the inputs; a run without is marked as unhashed.
    pub hash: bool,
    /// The command line, secrets removed, for the manifest.
    pub command_line: Vec<String>,
}

/// Hears how a run goes on. Called from the conductor's thread.
pub trait Observer: Sync {
    /// Reading begins; `total_bytes` is `None` for streams.
    fn started(&self, _total_bytes: Option<u64>) {}
    /// So much has been read; flows are those that have begun.
    fn progress(&self, _bytes: u64, _packets: u64, _flows: u64) {}
    /// Something that a person should know now (an unreadable file, damage).
    fn warning(&self, _message: &str) {}
    /// Something for the log, of no weight by itself.
    fn note(&self, _message: &str) {}
}

/// What a run gave.
#[derive(Debug)]
pub struct Report {
    /// The sealed folder.
    pub folder: PathBuf,
    /// Identifier of the run: the folder's name.
    pub run_id: String,
    /// Id of the key that sealed it.
    pub key_id: String,
    /// The inputs.
    pub captures: Vec<CaptureSummary>,
    /// Verdicts, controls first, then their checks.
    pub verdicts: Vec<Verdict>,
    /// Findings, worst first.
    pub findings: Vec<Finding>,
    /// What became of the rules of the user; `None` where none were given.
    pub rules: Option<Told>,
    /// Coverage.
    pub coverage: Vec<CoverageRow>,
    /// Anomalies that belong to no flow (damage of files and the like).
    pub capture_anomalies: Vec<Anomaly>,
    /// Of a run that was judged again: checks that only the capture could answer.
    pub not_judged_again: Vec<&'static str>,
    /// All anomaly rows.
    pub anomaly_rows: u64,
    /// Rows of `flows`.
    pub flows: u64,
    /// Rows of `tls_handshakes`.
    pub tls_handshakes: u64,
    /// Secrets of key logs and of Decryption Secrets Blocks.
    pub secrets: u64,
    /// Those of them that belong to a connection of the captures.
    pub secrets_met: u64,
    /// Rows of `dns_queries`.
    pub dns_queries: u64,
    /// Rows of `certificates`.
    pub certificates: u64,
    /// Wall time of the run.
    pub elapsed: Duration,
}

impl Report {
    /// Whether there is an open finding of at least this severity.
    pub fn has_finding(&self, at_least: Severity) -> bool {
        self.findings
            .iter()
            .any(|finding| finding.is_open() && finding.severity >= at_least)
    }
}

/// Analyses captures into a new sealed folder.
///
/// # Errors
///
/// When no input can be read, the output cannot be written, or `cancel` is
/// set. Damage and single unreadable files of several are recorded instead.
pub fn analyze(request: &Request, observer: &dyn Observer, cancel: &AtomicBool) -> Result<Report> {
    let mut pool = rayon::ThreadPoolBuilder::new().thread_name(|n| format!("nsf-{n}"));
    if let Some(threads) = request.threads {
        pool = pool.num_threads(threads.max(1));
    }
    let pool = pool.build().map_err(|source| {
        Error::io(
            "",
            "cannot start worker threads",
            std::io::Error::other(source),
        )
    })?;
    pool.install(|| {
        Run {
            request,
            observer,
            cancel,
            started: Instant::now(),
        }
        .execute()
    })
}

struct Run<'r> {
    request: &'r Request,
    observer: &'r dyn Observer,
    cancel: &'r AtomicBool,
    started: Instant,
}

impl Run<'_> {
    fn execute(&self) -> Result<Report> {
        let request = self.request;
        let policy = &request.policy;
        let started_at = SystemTime::now();
        let mut options = Options {
            hash: request.hash,
            decompression_ratio: policy.limits.decompression_ratio,
            ..Options::default()
        };
        if let Some(chunk_bytes) = request.chunk_bytes {
            options.chunk_bytes = chunk_bytes;
        }
        let discovery = capture::discover(&request.inputs, &options);
        let mut problems: Vec<String> = Vec::new();
        if let Some(set) = &request.indicators {
            problems.extend(set.files().iter().flat_map(|file| file.told()));
        }
        let indicator_problems = problems.len();
        if !discovery.files.is_empty() {
            self.tell_problems(&discovery.problems);
        }
        for path in &discovery.repeated {
            self.observer.warning(&format!(
                "{}: the same file was given before; it is read once",
                path.display()
            ));
        }
        let of_inputs = discovery.problems.iter();
        problems.extend(of_inputs.map(|(_, error)| error.to_string()));
        if discovery.files.is_empty() {
            const TOLD: usize = 3;
            return Err(match discovery.problems.into_iter().next() {
                Some((_, error)) if problems.len() == indicator_problems + 1 => error,
                Some(_) => {
                    let of_inputs = problems.get(indicator_problems..).unwrap_or_default();
                    let told = of_inputs.get(..TOLD).unwrap_or(of_inputs);
                    let more = match of_inputs.len().saturating_sub(TOLD) {
                        0 => String::new(),
                        more => format!("; and {more} more files that are no readable captures"),
                    };
                    Error::NoInput(format!("{}{more}", told.join("; ")))
                }
                None => Error::NoInput("the inputs name no capture file".to_owned()),
            });
        }
        let sizes: Vec<_> = discovery.files.iter().map(CaptureFile::size_hint).collect();
        self.observer.started(sizes.into_iter().sum());

        let mut folder = RunFolder::create(&request.out_dir, started_at)?;
        let meta = FileMeta {
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            policy_sha256: hex(&policy.digest()),
        };
        let mut outputs = OutputSet::create(&folder, &request.key, &meta)?;
        let redactor = Redactor::new(request.key.mac(Purpose::Redaction));
        let secrets = Secrets::gather(
            policy.limits.keylog_secrets,
            &request.key_logs,
            &discovery.files,
            self.observer,
        );
        let mut pipeline = Pipeline::new(policy, &request.validator, secrets, &redactor);
        let mut captures = Vec::new();
        let mut capture_anomalies = Vec::new();
        let mut fragments = AnomalyLog::default();
        let mut bytes_before = 0;
        for (capture, file) in (0_u32..).zip(discovery.files) {
            let (summary, anomalies) = self.file(
                capture,
                file,
                &mut pipeline,
                &mut fragments,
                &mut outputs,
                bytes_before,
            )?;
            bytes_before += summary.size_bytes;
            captures.push(summary);
            capture_anomalies.extend(anomalies);
        }
        self.tell_copies(&captures);
        for (path, error) in &discovery.problems {
            captures.push(unreadable(path, error));
        }
        let gathered = pipeline.finish(&mut fragments, &mut outputs)?;
        capture_anomalies.extend(fragments.into_rows(None));
        let secrets = gathered.secrets.len() as u64;
        let secrets_met = gathered.secrets.met() as u64;
        capture_anomalies.extend(gathered.secrets.into_anomalies());
        if gathered.revocations_left_out > 0 {
            capture_anomalies.push(revocations_left_out(
                gathered.revocations_left_out,
                &captures,
            ));
        }
        for row in gathered.certificates.into_rows() {
            outputs.push_certificate(row)?;
        }
        let mut outputs = outputs.close_facts(&mut folder)?;
        self.check_cancelled()?;
        let source = behaviour::Source {
            folder: folder.partial_path().to_owned(),
            first_capture: 0,
        };
        let indicators = Indicators(request.indicators.clone());
        let detected = behaviour::judge_by(policy, &[source], &with_indicators(&indicators))?;
        capture_anomalies.extend(behaviour::anomalies(&detected, &captures));
        for anomaly in &capture_anomalies {
            outputs.push_anomaly(anomaly.clone())?;
        }
        let files = u32::try_from(captures.len()).unwrap_or(u32::MAX);
        let mut judged = gathered.gatherer.finish(policy, detected, files);
        let mut rules_told = None;
        if let Some(rules) = &request.rules {
            let times = Times {
                folder: folder.partial_path(),
                captures: span(&captures),
            };
            let (findings, told) = rules.run(&times, policy.limits.max_findings, self.cancel);
            self.check_cancelled()?;
            for problem in &told.problems {
                let problem = problem.to_string();
                self.observer.warning(&problem);
                problems.push(problem);
            }
            rules_told = Some(told);
            judged.add(findings);
        }
        for (capture, summary) in (0_u32..).zip(&captures) {
            outputs.push_capture(capture, summary.clone())?;
        }
        outputs.push_findings(&judged.findings)?;
        for row in &judged.coverage {
            outputs.push_coverage(row.clone())?;
        }
        for row in &judged.verdicts {
            outputs.push_verdict(row.clone())?;
        }
        let rows = outputs.row_counts();
        outputs.finish(&mut folder)?;
        folder.add_document("policy.yaml", policy.to_yaml().as_bytes(), &request.key)?;
        self.check_cancelled()?;
        let mut manifest = self.manifest(started_at, &captures, &judged.findings, rows, problems);
        if secrets > 0 {
            let counts = &mut manifest.counts;
            counts.insert("decryption_secrets".to_owned(), secrets);
            counts.insert("decryption_secrets_met".to_owned(), secrets_met);
        }
        let run_id = folder.run_id().to_owned();
        let path = folder.seal(&manifest, &request.key)?;
        Ok(Report {
            folder: path,
            run_id,
            key_id: request.key.id(),
            captures,
            verdicts: judged.verdicts,
            findings: judged.findings,
            rules: rules_told,
            coverage: judged.coverage,
            capture_anomalies,
            not_judged_again: Vec::new(),
            anomaly_rows: rows.anomalies,
            flows: rows.flows,
            tls_handshakes: rows.tls_handshakes,
            secrets,
            secrets_met,
            dns_queries: rows.dns_queries,
            certificates: rows.certificates,
            elapsed: self.started.elapsed(),
        })
    }

    /// What was named and cannot be read is a warning each; what merely lies in
    /// a folder beside captures is one for all.
    fn tell_problems(&self, problems: &[(PathBuf, Error)]) {
        let is_stray = |path: &PathBuf, error: &Error| {
            matches!(error, Error::NotACapture { .. }) && !self.request.inputs.contains(path)
        };
        let mut strays: Vec<&PathBuf> = Vec::new();
        for (path, error) in problems {
            if is_stray(path, error) {
                self.observer.note(&error.to_string());
                strays.push(path);
            } else {
                self.observer.warning(&error.to_string());
            }
        }
        match strays.as_slice() {
            [] => {}
            [path] => self.observer.warning(&format!(
                "left out, since it is no capture: {}",
                path.display()
            )),
            [path, ..] => self.observer.warning(&format!(
                "{} files in folders were left out, since they are no captures, such as {} (captures.parquet \
                 lists them with reasons)",
                strays.len(),
                path.display()
            )),
        }
    }

    /// Copies of a capture are read as captures of their own, since nothing but
    /// their bytes says that they are none.
    fn tell_copies(&self, captures: &[CaptureSummary]) {
        let mut known: BTreeMap<[u8; 32], &str> = BTreeMap::new();
        for capture in captures.iter().filter(|capture| capture.packets > 0) {
            let Some(digest) = capture.sha256 else {
                continue;
            };
            if let Some(first) = known.insert(digest, &capture.path) {
                self.observer.warning(&format!(
                    "{} and {first} hold the same bytes: their packets count twice",
                    capture.path
                ));
            }
        }
    }

    fn manifest(
        &self,
        started: SystemTime,
        captures: &[CaptureSummary],
        findings: &[Finding],
        rows: RowCounts,
        errors: Vec<String>,
    ) -> ManifestInput {
        let request = self.request;
        let mut counts = finding_counts(findings);
        counts.insert(
            "packets".to_owned(),
            captures.iter().map(|capture| capture.packets).sum(),
        );
        counts.insert("flows".to_owned(), rows.flows);
        counts.insert("dns_queries".to_owned(), rows.dns_queries);
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
            hashed: request.hash,
            trust_store: TrustStoreEntry {
                name: request.validator.store().name().to_owned(),
                sha256: request.validator.store().sha256(),
                roots: request.validator.store().len() as u64,
                revocation_lists: request
                    .validator
                    .lists()
                    .fingerprints()
                    .map(|digest| hex(&digest))
                    .collect(),
                ct_logs_sha256: request.validator.logs().sha256(),
                ct_logs: request.validator.logs().len() as u64,
            },
            inputs: captures
                .iter()
                .map(|capture| InputEntry {
                    path: capture.path.clone(),
                    size_bytes: capture.size_bytes,
                    sha256: capture.sha256.map(|digest| hex(&digest)),
                    error: capture.error.clone(),
                })
                .collect(),
            counts,
            exit_status: 0,
            errors,
            indicators: request.indicators.clone(),
            rules: rule_files(&request.rules),
            alerts: request.alerts,
            rescored: None,
        }
    }

    /// One file, its evidence hash beside it.
    fn file(
        &self,
        capture: u32,
        mut file: CaptureFile,
        pipeline: &mut Pipeline<'_>,
        fragments: &mut AnomalyLog,
        outputs: &mut OutputSet,
        bytes_before: u64,
    ) -> Result<(CaptureSummary, Vec<Anomaly>)> {
        let mapping = self.request.hash.then(|| file.mapping()).flatten();
        let stop = AtomicBool::new(false);
        let ((counters, odd), hash) = std::thread::scope(|scope| {
            let hasher = mapping
                .as_ref()
                .map(|mapping| scope.spawn(|| evidence_hash::sha256(mapping, &stop)));
            let walked = self.walk(
                capture,
                &mut file,
                pipeline,
                fragments,
                outputs,
                bytes_before,
            );
            if walked.is_err() {
                stop.store(true, Ordering::Relaxed);
            }
            let hash = hasher.and_then(|hasher| hasher.join().ok().flatten());
            walked.map(|walked| (walked, hash))
        })?;
        let Finished {
            mut summary,
            damage,
            ..
        } = file.finish();
        summary.sha256 = summary.sha256.or(hash);
        counters.fill(&mut summary);
        let mut anomalies: Vec<_> = damage
            .into_iter()
            .map(|damage| anomaly_of(capture, damage))
            .collect();
        for anomaly in anomalies
            .iter()
            .filter(|row| row.kind != AnomalyKind::TimestampBackwards)
        {
            self.observer.warning(&format!(
                "{}: {} at byte {}, packet {}: {}",
                summary.path,
                anomaly.kind.name(),
                anomaly.first.offset,
                anomaly.first.frame,
                anomaly.detail
            ));
        }
        anomalies.extend(odd.into_rows(None));
        Ok((summary, anomalies))
    }

    fn walk(
        &self,
        capture: u32,
        file: &mut CaptureFile,
        pipeline: &mut Pipeline<'_>,
        fragments: &mut AnomalyLog,
        outputs: &mut OutputSet,
        bytes_before: u64,
    ) -> Result<(decode::Counters, AnomalyLog)> {
        let mut frames = 0;
        let mut counters = decode::Counters::default();
        let mut odd = AnomalyLog::default();
        while let Some(batch) = file.next_batch()? {
            self.check_cancelled()?;
            pipeline.learn(capture, file);
            let mut before = frames;
            pipeline.note_names(capture, file.resolved_names());
            let done = pipeline.batch(&batch, capture, &mut frames, fragments, outputs)?;
            for (walked, decoded) in done.walked.iter().zip(pipeline.decoded()) {
                file.accept(walked);
                counters.add(&decoded.counters);
                decoded.oddities.report(capture, before, &mut odd);
                before += walked.packets;
            }
            file.advance(done.end);
            self.observer.progress(
                bytes_before + done.end,
                pipeline.packets(),
                outputs.row_counts().flows + pipeline.open_flows(),
            );
        }
        Ok((counters, odd))
    }

    fn check_cancelled(&self) -> Result<()> {
        if self.cancel.load(Ordering::Relaxed) {
            Err(Error::Interrupted)
        } else {
            Ok(())
        }
    }
}

/// First and last packet of the captures.
fn span(captures: &[CaptureSummary]) -> Option<(CaptureTime, CaptureTime)> {
    let first = captures.iter().filter_map(|capture| capture.ts_first).min();
    let last = captures.iter().filter_map(|capture| capture.ts_last).max();
    first.zip(last)
}

/// The files that rules came from.
fn rule_files(rules: &Option<RuleSet>) -> Vec<RuleFile> {
    let files = rules.as_ref().map(|set| set.rules.files.clone());
    files.unwrap_or_default()
}

/// Open findings by severity, and those that are not open.
fn finding_counts(findings: &[Finding]) -> BTreeMap<String, u64> {
    let mut counts: BTreeMap<String, u64> = Severity::ALL
        .iter()
        .map(|&severity| {
            let of_severity = findings
                .iter()
                .filter(|finding| finding.is_open() && finding.severity == severity);
            (
                format!("findings_{}", severity.name()),
                of_severity.count() as u64,
            )
        })
        .collect();
    let suppressed = findings.iter().filter(|finding| !finding.is_open());
    counts.insert("findings_suppressed".to_owned(), suppressed.count() as u64);
    counts
}

/// What passes in plain HTTP is cheap to forge: that some was not looked at must
/// be said, since it may have told of a revocation.
fn revocations_left_out(count: u64, captures: &[CaptureSummary]) -> Anomaly {
    let start = captures.iter().filter_map(|capture| capture.ts_first).min();
    Anomaly {
        kind: AnomalyKind::LimitEvicted,
        flow_id: None,
        ts: start.unwrap_or_default(),
        first: PacketRef::default(),
        last: PacketRef::default(),
        count,
        detail: "more OCSP responses or revocation lists for one certificate or issuer than are \
                 kept: what the others say of a revocation is not known"
            .into(),
    }
}

fn anomaly_of(capture: u32, damage: Damage) -> Anomaly {
    let at = |place: capture::DamagePlace| PacketRef {
        capture,
        frame: place.packets_before + 1,
        offset: place.offset,
    };
    Anomaly {
        kind: damage.kind,
        flow_id: None,
        ts: damage.first.ts.unwrap_or(CaptureTime::from_nanos(0)),
        first: at(damage.first),
        last: at(damage.last),
        count: damage.count,
        detail: damage.detail.into(),
    }
}

fn unreadable(path: &std::path::Path, error: &Error) -> CaptureSummary {
    let path = crate::capture::text_of(path);
    let file_name = path.rsplit('/').next().unwrap_or(&path).to_owned();
    CaptureSummary {
        path,
        file_name,
        error: Some(error.to_string()),
        ..CaptureSummary::default()
    }
}
