//! The JSON documents of `--json` and `--format json`, described in
//! `docs/cli.md`. Keys are stable: they may be added, never renamed or removed
//! without another number in `schema`.
//!
//! What was not observed is `null`. Times are RFC 3339 in UTC with
//! nanoseconds, sizes are bytes, frames count from 1 in their file.

use super::summary::total;
use super::verify::State;
use nsforensics_engine::anomaly::Anomaly;
use nsforensics_engine::capture::CaptureSummary;
use nsforensics_engine::evidence::{FlowId, PacketRef};
use nsforensics_engine::finding::{CoverageRow, Finding, Verdict};
use nsforensics_engine::indicator::Set;
use nsforensics_engine::rule::{ProblemKind, Told};
use nsforensics_engine::run::Report;
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// A document as text: indented, deceptive characters escaped, one newline at its end.
pub fn document(value: &impl Serialize) -> anyhow::Result<String> {
    let mut text = crate::escape::json(&serde_json::to_string_pretty(value)?);
    text.push('\n');
    Ok(text)
}

/// The program that wrote a document.
#[derive(Debug, Serialize)]
pub struct Tool {
    name: &'static str,
    version: &'static str,
}

/// This program.
pub const TOOL: Tool = Tool {
    name: "nsforensics",
    version: env!("CARGO_PKG_VERSION"),
};

/// What `analyze --json` prints.
#[derive(Debug, Serialize)]
pub struct AnalyzeDocument<'a> {
    schema: &'static str,
    tool: Tool,
    run_id: &'a str,
    folder: String,
    key_id: &'a str,
    elapsed_seconds: f64,
    hashed: bool,
    captures: Vec<CaptureView<'a>>,
    totals: Totals,
    verdicts: Vec<VerdictView<'a>>,
    findings: Vec<FindingView<'a>>,
    coverage: Vec<CoverageView<'a>>,
    capture_anomalies: Vec<AnomalyView<'a>>,
    /// What became of the user's rules; null where none were given.
    rules: Option<RulesView<'a>>,
    /// What became of the alerts; null where the policy names no destination.
    pub alerts: Option<&'a super::alerts::Told>,
}

impl<'a> AnalyzeDocument<'a> {
    /// Of a run.
    pub fn new(report: &'a Report, hashed: bool) -> Self {
        Self {
            schema: "nsforensics.analyze/1",
            tool: TOOL,
            run_id: &report.run_id,
            folder: report.folder.to_string_lossy().into_owned(),
            key_id: &report.key_id,
            elapsed_seconds: report.elapsed.as_secs_f64(),
            hashed,
            captures: report.captures.iter().map(CaptureView::new).collect(),
            totals: Totals {
                packets: total(report, |capture| capture.packets),
                bytes_captured: total(report, |capture| capture.bytes_captured),
                bytes_wire: total(report, |capture| capture.bytes_wire),
                flows: report.flows,
                tls_handshakes: report.tls_handshakes,
                decryption_secrets: report.secrets,
                decryption_secrets_met: report.secrets_met,
                dns_queries: report.dns_queries,
                certificates: report.certificates,
                findings: report.findings.len(),
                anomaly_rows: report.anomaly_rows,
            },
            verdicts: report.verdicts.iter().map(VerdictView::new).collect(),
            findings: report.findings.iter().map(FindingView::new).collect(),
            coverage: report.coverage.iter().map(CoverageView::new).collect(),
            capture_anomalies: report
                .capture_anomalies
                .iter()
                .map(AnomalyView::new)
                .collect(),
            rules: report
                .rules
                .as_ref()
                .map(|told| RulesView::new(told, &report.findings)),
            alerts: None,
        }
    }
}

/// What became of the user's rules.
#[derive(Debug, Serialize)]
struct RulesView<'a> {
    /// Rules whose query was answered.
    asked: u64,
    /// Of these, those with findings.
    found: usize,
    /// Rules, or whole files, that could not be read or asked.
    failed: Vec<FailedRule<'a>>,
}

#[derive(Debug, Serialize)]
struct FailedRule<'a> {
    file: &'a str,
    line: u64,
    /// Null where not even that could be read.
    check_id: Option<&'static str>,
    failed_to_be: &'static str,
    message: &'a str,
}

impl<'a> RulesView<'a> {
    fn new(told: &'a Told, findings: &[Finding]) -> Self {
        let found: BTreeSet<&str> = findings
            .iter()
            .map(|finding| finding.check_id)
            .filter(|check_id| check_id.starts_with("RULE."))
            .collect();
        let failed = told.problems.iter().filter_map(|problem| {
            let failed_to_be = match problem.kind {
                ProblemKind::NotRead => "read",
                ProblemKind::NotAsked => "asked",
                // It is told among the errors of the manifest.
                ProblemKind::CutShort => return None,
            };
            Some(FailedRule {
                file: &problem.file,
                line: problem.line,
                check_id: problem.check_id,
                failed_to_be,
                message: &problem.message,
            })
        });
        Self {
            asked: told.asked,
            found: found.len(),
            failed: failed.collect(),
        }
    }
}

/// What `match --json` prints: the findings that each run would have.
pub fn matches(
    set: &Set,
    runs: &[(PathBuf, Option<String>, Vec<Finding>)],
    missed: &[(PathBuf, State, String)],
) -> anyhow::Result<String> {
    #[derive(Serialize)]
    struct Document<'a> {
        schema: &'static str,
        tool: Tool,
        indicators: Vec<FileView<'a>>,
        runs: Vec<RunView<'a>>,
        not_looked_at: Vec<MissedView<'a>>,
    }
    #[derive(Serialize)]
    struct MissedView<'a> {
        path: String,
        state: State,
        reason: &'a str,
    }
    #[derive(Serialize)]
    struct FileView<'a> {
        path: &'a str,
        sha256: &'a str,
        format: &'a str,
        indicators: u64,
        skipped: u64,
        problems: Vec<String>,
    }
    #[derive(Serialize)]
    struct RunView<'a> {
        path: String,
        run_id: Option<&'a str>,
        findings: Vec<FindingView<'a>>,
    }
    document(&Document {
        schema: "nsforensics.match/1",
        tool: TOOL,
        indicators: set
            .files()
            .iter()
            .map(|file| FileView {
                path: &file.path,
                sha256: &file.sha256,
                format: file.format,
                indicators: file.indicators,
                skipped: file.skipped,
                problems: file.told(),
            })
            .collect(),
        runs: runs
            .iter()
            .map(|(path, run_id, findings)| RunView {
                path: path.to_string_lossy().into_owned(),
                run_id: run_id.as_deref(),
                findings: findings.iter().map(FindingView::new).collect(),
            })
            .collect(),
        not_looked_at: missed
            .iter()
            .map(|(path, state, reason)| MissedView {
                path: path.to_string_lossy().into_owned(),
                state: *state,
                reason,
            })
            .collect(),
    })
}

#[derive(Debug, Serialize)]
struct Totals {
    packets: u64,
    bytes_captured: u64,
    bytes_wire: u64,
    flows: u64,
    tls_handshakes: u64,
    decryption_secrets: u64,
    decryption_secrets_met: u64,
    dns_queries: u64,
    certificates: u64,
    findings: usize,
    anomaly_rows: u64,
}

#[derive(Debug, Serialize)]
struct CaptureView<'a> {
    path: &'a str,
    file_name: &'a str,
    format: &'a str,
    size_bytes: u64,
    size_uncompressed_bytes: u64,
    sha256: Option<String>,
    link_types: &'a [u16],
    packets: u64,
    packets_truncated: u64,
    packets_malformed: u64,
    packets_unsupported: u64,
    undecoded: Vec<ReasonView>,
    bytes_captured: u64,
    bytes_wire: u64,
    bytes_skipped: u64,
    ts_first: Option<String>,
    ts_last: Option<String>,
    time_backward_steps: u64,
    order_in_set: u32,
    error: Option<&'a str>,
}

/// Why something was not decoded, and how often.
#[derive(Debug, Serialize)]
struct ReasonView {
    reason: &'static str,
    count: u64,
}

impl<'a> CaptureView<'a> {
    fn new(capture: &'a CaptureSummary) -> Self {
        Self {
            path: &capture.path,
            file_name: &capture.file_name,
            format: &capture.format,
            size_bytes: capture.size_bytes,
            size_uncompressed_bytes: capture.size_uncompressed_bytes,
            sha256: capture.sha256.as_ref().map(|digest| hex(digest)),
            link_types: &capture.link_types,
            packets: capture.packets,
            packets_truncated: capture.packets_truncated,
            packets_malformed: capture.packets_malformed,
            packets_unsupported: capture.packets_unsupported,
            undecoded: capture
                .undecoded
                .iter()
                .map(|&(reason, count)| ReasonView { reason, count })
                .collect(),
            bytes_captured: capture.bytes_captured,
            bytes_wire: capture.bytes_wire,
            bytes_skipped: capture.bytes_skipped,
            ts_first: capture.ts_first.map(|ts| ts.to_string()),
            ts_last: capture.ts_last.map(|ts| ts.to_string()),
            time_backward_steps: capture.time_backward_steps,
            order_in_set: capture.order_in_set,
            error: capture.error.as_deref(),
        }
    }
}

/// One verdict.
#[derive(Debug, Serialize)]
pub struct VerdictView<'a> {
    control_id: &'a str,
    check_id: Option<&'a str>,
    title: &'a str,
    requirement: &'a str,
    assurance_levels: &'a [String],
    stride: &'a [String],
    aatt: &'a [String],
    verdict: &'static str,
    evaluated: u64,
    passed: u64,
    warned: u64,
    failed: u64,
    refused: u64,
    not_observed: u64,
    worst_severity: Option<&'static str>,
    reason: &'a str,
    example_flow_ids: Vec<String>,
}

impl<'a> VerdictView<'a> {
    /// Of a verdict.
    pub fn new(verdict: &'a Verdict) -> Self {
        Self {
            control_id: &verdict.control_id,
            check_id: verdict.check_id.as_deref(),
            title: &verdict.title,
            requirement: &verdict.requirement,
            assurance_levels: &verdict.assurance_levels,
            stride: &verdict.stride,
            aatt: &verdict.aatt,
            verdict: verdict.verdict.name(),
            evaluated: verdict.evaluated,
            passed: verdict.passed,
            warned: verdict.warned,
            failed: verdict.failed,
            refused: verdict.refused,
            not_observed: verdict.not_observed,
            worst_severity: verdict.worst_severity.map(|severity| severity.name()),
            reason: &verdict.reason,
            example_flow_ids: decimal(&verdict.example_flow_ids),
        }
    }
}

/// One finding.
#[derive(Debug, Serialize)]
pub struct FindingView<'a> {
    finding_id: &'a str,
    check_id: &'a str,
    severity: &'static str,
    title: &'a str,
    detail: &'a str,
    explanation: &'a str,
    src_ip: String,
    dst_ip: String,
    dst_port: u16,
    destination: &'a str,
    ts_first: String,
    ts_last: String,
    flow_count: u64,
    flow_ids: Vec<String>,
    /// Null where a rule of the user names no packet.
    first_frame: Option<PacketView>,
    evidence_frames: Vec<PacketView>,
    attack_techniques: &'a [&'static str],
    prevalence_hosts: u32,
    baseline: Option<bool>,
    status: &'static str,
    suppressed_by: Option<&'a str>,
    score: Option<f32>,
    confidence: Option<f32>,
    metric: Option<&'a str>,
    observed: Option<f64>,
    threshold: Option<f64>,
    comparator: Option<&'a str>,
    unit: Option<&'a str>,
    interval_seconds: Option<f64>,
    cv: Option<f64>,
    samples: Option<u64>,
    /// The numbers of the check, as an object.
    evidence: Option<serde_json::Value>,
}

impl<'a> FindingView<'a> {
    /// Of a finding.
    pub fn new(finding: &'a Finding) -> Self {
        let numbers = &finding.numbers;
        let measure = numbers.measure.as_ref();
        Self {
            finding_id: &finding.finding_id,
            check_id: finding.check_id,
            severity: finding.severity.name(),
            title: &finding.title,
            detail: &finding.detail,
            explanation: &finding.explanation,
            src_ip: finding.src.to_string(),
            dst_ip: finding.dst.to_string(),
            dst_port: finding.dst_port,
            destination: &finding.destination,
            ts_first: finding.ts_first.to_string(),
            ts_last: finding.ts_last.to_string(),
            flow_count: finding.flow_count,
            flow_ids: decimal(&finding.flow_ids),
            first_frame: finding.first_packet().map(PacketView::new),
            evidence_frames: finding
                .evidence
                .iter()
                .copied()
                .map(PacketView::new)
                .collect(),
            attack_techniques: &finding.attack_techniques,
            prevalence_hosts: finding.prevalence_hosts,
            baseline: finding.baseline,
            status: if finding.is_open() {
                "open"
            } else {
                "suppressed"
            },
            suppressed_by: numbers.suppressed_by.as_deref(),
            score: numbers.score,
            confidence: numbers.confidence,
            metric: measure.map(|measure| measure.metric.as_ref()),
            observed: measure.map(|measure| measure.observed),
            threshold: measure.map(|measure| measure.threshold),
            comparator: measure.map(|measure| measure.comparator.as_ref()),
            unit: measure.map(|measure| measure.unit.as_ref()),
            interval_seconds: numbers.interval_seconds,
            cv: numbers.cv,
            samples: numbers.samples,
            evidence: numbers
                .evidence
                .as_deref()
                .and_then(|text| serde_json::from_str(text).ok()),
        }
    }
}

/// Flow ids as programs keep them: JSON's numbers are exact below 2^53 only
/// (RFC 8259 section 6), and ids use 63 bits.
pub fn decimal(ids: &[FlowId]) -> Vec<String> {
    ids.iter().map(|id| id.0.to_string()).collect()
}

#[derive(Debug, Serialize)]
struct PacketView {
    capture: u32,
    frame: u64,
    offset: u64,
}

impl PacketView {
    fn new(packet: PacketRef) -> Self {
        Self {
            capture: packet.capture,
            frame: packet.frame,
            offset: packet.offset,
        }
    }
}

#[derive(Debug, Serialize)]
struct CoverageView<'a> {
    capture: u32,
    check_id: &'a str,
    passed: u64,
    warned: u64,
    failed: u64,
    refused: u64,
    not_observed: u64,
    reason: &'a str,
    bytes_affected: u64,
    example_flow_ids: Vec<String>,
}

impl<'a> CoverageView<'a> {
    fn new(row: &'a CoverageRow) -> Self {
        Self {
            capture: row.capture,
            check_id: row.check_id,
            passed: row.passed,
            warned: row.warned,
            failed: row.failed,
            refused: row.refused,
            not_observed: row.not_observed,
            reason: &row.reason,
            bytes_affected: row.bytes_affected,
            example_flow_ids: decimal(&row.example_flow_ids),
        }
    }
}

#[derive(Debug, Serialize)]
struct AnomalyView<'a> {
    kind: &'static str,
    layer: &'static str,
    detail: &'a str,
    count: u64,
    first: PacketView,
    last: PacketView,
}

impl<'a> AnomalyView<'a> {
    fn new(anomaly: &'a Anomaly) -> Self {
        Self {
            kind: anomaly.kind.name(),
            layer: anomaly.kind.layer(),
            detail: &anomaly.detail,
            count: anomaly.count,
            first: PacketView::new(anomaly.first),
            last: PacketView::new(anomaly.last),
        }
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::sample;

    #[test]
    fn a_document_has_stable_keys() {
        let document =
            document(&AnalyzeDocument::new(&sample::report(), true)).expect("serialises");
        insta::assert_snapshot!(document);
    }

    #[test]
    fn flow_ids_are_exact_for_every_reader() {
        let ids = [FlowId(9_007_199_254_740_993), FlowId(i64::MAX)];
        let expected = ["9007199254740993", "9223372036854775807"];
        let mut report = sample::report();
        report.findings[0].flow_ids = ids.to_vec();
        report.coverage[0].example_flow_ids = ids.to_vec();
        report.verdicts[0].example_flow_ids = ids.to_vec();
        let text = document(&AnalyzeDocument::new(&report, true)).expect("serialises");
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(
            value["findings"][0]["flow_ids"],
            serde_json::json!(expected)
        );
        for list in ["coverage", "verdicts"] {
            let row = &value[list][0];
            assert_eq!(
                row["example_flow_ids"],
                serde_json::json!(expected),
                "{list}"
            );
        }
    }

    /// Every key of a document, at any depth.
    fn keys(value: &serde_json::Value) -> Vec<String> {
        match value {
            serde_json::Value::Object(map) => map
                .iter()
                .flat_map(|(key, value)| std::iter::once(key.clone()).chain(keys(value)))
                .collect(),
            serde_json::Value::Array(items) => items.iter().flat_map(keys).collect(),
            _ => vec![],
        }
    }

    #[test]
    fn every_key_is_documented() {
        let manual = include_str!("../../../docs/cli.md");
        let words: Vec<&str> = manual
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .collect();
        let document = serde_json::to_value(AnalyzeDocument::new(&sample::report(), true))
            .expect("serialises");
        for key in keys(&document) {
            assert!(words.contains(&key.as_str()), "{key} is not in docs/cli.md");
        }
    }

    #[test]
    fn nothing_raw_from_a_capture_gets_through() {
        let mut report = sample::report();
        for finding in &mut report.findings {
            finding.destination = "\u{9b}2J\u{202e}\x1b[31m".to_owned();
        }
        let text = document(&AnalyzeDocument::new(&report, true)).expect("serialises");
        assert!(!text.contains(['\x1b', '\u{9b}', '\u{202e}']));
        let back: serde_json::Value = serde_json::from_str(&text).expect("still JSON");
        assert_eq!(
            back["findings"][0]["destination"],
            "\u{9b}2J\u{202e}\x1b[31m"
        );
    }
}
