//! What `analyze` prints: what was read, the verdicts with their coverage, the
//! worst findings, what could not be seen, and where the results lie.

use super::findings::{Depth, Files, block, by_severity};
use super::{
    WARNINGS_ALONE, counts, heading, is_warnings_alone, labelled, shell_word, verdict_table,
};
use crate::escape;
use crate::screen::{self, Screen, Tone};
use nsforensics_engine::anomaly::Anomaly;
use nsforensics_engine::capture::CaptureSummary;
use nsforensics_engine::finding::{Finding, Verdict, VerdictKind};
use nsforensics_engine::indicator::Set;
use nsforensics_engine::run::Report;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Findings shown; the table holds all.
const WORST: usize = 10;
/// The check whose findings are always told, and how many of them one by one.
const INDICATOR: &str = "NS-04.indicator";
const NAMED_HITS: usize = 5;
/// Files named one by one.
const NAMED_CAPTURES: usize = 8;
/// Files that are no captures, named one by one.
const NAMED_STRAYS: usize = 3;
/// Kinds of damage named for one file.
const NAMED_ANOMALIES: usize = 6;

/// What a summary says beside the report.
#[derive(Clone, Copy, Debug)]
pub struct Beside<'a> {
    /// What it was judged by.
    pub policy: &'a str,
    /// Whether the inputs were hashed.
    pub hashed: bool,
    /// What sealed it, where that was a file.
    pub key_file: Option<&'a Path>,
    /// The section on the user's rules, where there are any.
    pub rules: &'a str,
    /// The section on alerts, where any are wanted.
    pub alerts: &'a str,
}

/// The summary of a run.
pub fn summary(report: &Report, beside: Beside<'_>, screen: &Screen) -> String {
    let mut out = String::with_capacity(8 << 10);
    headline(&mut out, report, screen);
    captures(&mut out, report, beside.hashed, screen);
    verdicts(&mut out, report, beside.policy, screen);
    findings(&mut out, report, screen);
    out.push_str(beside.rules);
    not_seen(&mut out, report, screen);
    out.push_str(beside.alerts);
    results(&mut out, report, beside.key_file, screen);
    out.trim_start_matches('\n').to_owned()
}

/// What `match` prints: the findings of each run, and how many indicators were looked for.
pub fn matches(
    set: &Set,
    runs: &[(PathBuf, Option<String>, Vec<Finding>)],
    screen: &Screen,
) -> String {
    let mut out = String::new();
    for file in set.files() {
        out.push_str(&format!(
            "{}  {}{}\n",
            escape::line(&file.path),
            screen::counted(file.indicators, "indicator", "indicators"),
            match (file.skipped, file.problem_count) {
                (0, 0) => String::new(),
                (skipped, problems) => format!(
                    ", {} passed over, {} not readable",
                    screen::count(skipped),
                    screen::count(problems)
                ),
            }
        ));
    }
    for (run, _, findings) in runs {
        let number = screen::counted(findings.len() as u64, "match", "matches");
        heading(
            &mut out,
            screen,
            &escape::line(&run.to_string_lossy()),
            &number,
        );
        for finding in findings {
            let label = finding.severity.name().to_uppercase();
            labelled(
                &mut out,
                screen,
                &label,
                8,
                &escape::line(&finding.explanation),
            );
        }
    }
    out
}

fn headline(out: &mut String, report: &Report, screen: &Screen) {
    let controls = || {
        report
            .verdicts
            .iter()
            .filter(|verdict| verdict.check_id.is_none())
    };
    let columns = controls()
        .map(|control| super::verdict_word(control.verdict).0.len())
        .max()
        .unwrap_or(0);
    for control in controls() {
        let (word, tone) = super::verdict_word(control.verdict);
        let name = format!(
            "{} {}",
            escape::line(&control.control_id),
            escape::line(&control.title)
        );
        out.push_str(&format!(
            "{}  {}\n",
            screen.paint(tone, &screen::pad(word, columns)),
            screen.paint(Tone::Strong, &name),
        ));
        let room = screen.columns.saturating_sub(columns + 2);
        for line in screen::wrap(&in_words(control), room) {
            out.push_str(&format!("{}  {line}\n", " ".repeat(columns)));
        }
    }
}

/// The counts of a verdict as an auditor would say them.
fn in_words(verdict: &Verdict) -> String {
    const WORDS: [&str; 5] = [
        "held",
        "with a warning",
        "violated",
        "refused by the peer",
        "not seen",
    ];
    let words: Vec<String> = WORDS
        .iter()
        .zip(counts(verdict))
        .filter(|&(_, number)| number > 0)
        .map(|(word, number)| format!("{} {word}", screen::count(number)))
        .collect();
    if words.is_empty() {
        "nothing to judge".to_owned()
    } else {
        let none_held = if is_warnings_alone(verdict) {
            "none held, "
        } else {
            ""
        };
        format!(
            "{}: {none_held}{}",
            screen::counted(verdict.evaluated, "judgement", "judgements"),
            words.join(", ")
        )
    }
}

/// Sums over the captures. Lengths on the wire are the capture's own claims.
pub fn total(report: &Report, of: fn(&CaptureSummary) -> u64) -> u64 {
    report.captures.iter().map(of).fold(0, u64::saturating_add)
}

fn captures(out: &mut String, report: &Report, hashed: bool, screen: &Screen) {
    let packets = total(report, |capture| capture.packets);
    let stored = total(report, |capture| capture.size_bytes);
    let inflated = total(report, |capture| {
        capture.size_uncompressed_bytes.max(capture.size_bytes)
    });
    let mut read = format!(
        "{}, {}",
        screen::counted(packets, "packet", "packets"),
        sizes(stored, inflated)
    );
    let first = report
        .captures
        .iter()
        .filter_map(|capture| capture.ts_first)
        .min();
    let last = report
        .captures
        .iter()
        .filter_map(|capture| capture.ts_last)
        .max();
    if let (Some(first), Some(last)) = (first, last) {
        let nanos = u64::try_from(last.nanos_since(first)).unwrap_or(0);
        read.push_str(&format!(
            ", {} ({})",
            super::span(first, last),
            screen::duration(nanos)
        ));
    }
    heading(out, screen, "READ", &read);

    // What is no capture at all stands behind the captures; many of it are told
    // together.
    let strays = report.captures.iter().filter(|capture| is_stray(capture));
    let strays: Vec<&CaptureSummary> = strays.collect();
    let read = report.captures.len() - strays.len();
    let listed = if strays.len() > NAMED_STRAYS {
        read
    } else {
        report.captures.len()
    };
    let shown = report.captures.get(..listed).unwrap_or(&report.captures);
    let named: Vec<[String; 4]> = shown.iter().take(NAMED_CAPTURES).map(columns_of).collect();
    let widest = |column: usize| {
        let cells = named.iter().filter_map(|row| row.get(column));
        cells.map(|cell| screen::width(cell)).max().unwrap_or(0)
    };
    let (formats, packets, size_columns) = (widest(1), widest(2), widest(3));
    let names = widest(0).min(
        screen
            .columns
            .saturating_sub(2 + 6 + formats + packets + size_columns)
            .max(16),
    );
    for (row, (capture, [name, format, packet_count, size])) in shown.iter().zip(&named).enumerate()
    {
        out.push_str(&format!(
            "  {}  {}  {}  {}\n",
            screen::pad(&screen::shorten(name, names), names),
            screen::pad(format, formats),
            screen::pad_left(packet_count, packets),
            screen::pad_left(size, size_columns),
        ));
        for remark in damage(row, capture, &report.capture_anomalies) {
            let mark = screen.paint(Tone::Warning, "!");
            labelled_mark(out, screen, &mark, &remark);
        }
    }
    let unnamed = shown.iter().skip(NAMED_CAPTURES);
    let (more, damaged) = unnamed
        .enumerate()
        .fold((0, 0), |(more, damaged), (row, capture)| {
            let hurt = !damage(row + NAMED_CAPTURES, capture, &report.capture_anomalies).is_empty();
            (more + 1, damaged + u64::from(hurt))
        });
    if more > 0 {
        let mut line = format!("and {}", screen::counted(more, "more file", "more files"));
        if damaged > 0 {
            line.push_str(&format!(
                ", {} damaged (see captures.parquet)",
                screen::count(damaged)
            ));
        }
        out.push_str(&format!("  {line}\n"));
    }
    if listed == read && !strays.is_empty() {
        let mark = screen.paint(Tone::Warning, "!");
        let names: Vec<String> = strays
            .iter()
            .take(NAMED_STRAYS)
            .map(|stray| escape::line(&stray.file_name))
            .collect();
        let text = format!(
            "{} files are no readable captures: {} and others (captures.parquet lists them with reasons)",
            screen::count(strays.len() as u64),
            names.join(", ")
        );
        labelled_mark(out, screen, &mark, &text);
    }
    if !hashed {
        let mark = screen.paint(Tone::Warning, "!");
        labelled_mark(
            out,
            screen,
            &mark,
            "the inputs were not hashed (--no-hash): this run is not evidence of what they held",
        );
    }
    if report.secrets > 0 {
        out.push_str(&format!(
            "  key log: {} of {} matched a connection\n",
            screen::count(report.secrets_met),
            screen::counted(report.secrets, "secret", "secrets"),
        ));
    }
    let anomalies = match report.anomaly_rows {
        0 => String::new(),
        rows => format!(", {}", screen::counted(rows, "anomaly", "anomalies")),
    };
    out.push_str(&format!(
        "  {}, {}, {}{anomalies}\n",
        screen::counted(report.flows, "flow", "flows"),
        screen::counted(report.tls_handshakes, "TLS handshake", "TLS handshakes"),
        screen::counted(report.certificates, "certificate", "certificates"),
    ));
}

/// Whether a file could not be read as a capture at all.
fn is_stray(capture: &CaptureSummary) -> bool {
    capture.error.is_some() && capture.format.is_empty()
}

/// Name, format, packets and size of a file.
fn columns_of(capture: &CaptureSummary) -> [String; 4] {
    let name = match capture.path.as_str() {
        "-" => "standard input".to_owned(),
        path => escape::line(path),
    };
    [
        name,
        escape::line(&capture.format),
        screen::counted(capture.packets, "packet", "packets"),
        sizes(capture.size_bytes, capture.size_uncompressed_bytes),
    ]
}

/// What is stored, and what it inflates to where that is more.
fn sizes(stored: u64, inflated: u64) -> String {
    let (text, unpacked) = (screen::bytes(stored), screen::bytes(inflated));
    if inflated > stored && unpacked != text {
        format!("{text} ({unpacked} unpacked)")
    } else {
        text
    }
}

/// What was wrong with a file, one remark each.
fn damage(row: usize, capture: &CaptureSummary, anomalies: &[Anomaly]) -> Vec<String> {
    let mut remarks = Vec::new();
    if let Some(error) = &capture.error {
        remarks.push(format!("stopped: {}", escape::line(error)));
    }
    let own = anomalies
        .iter()
        .filter(|anomaly| usize::try_from(anomaly.first.capture) == Ok(row));
    let mut more = 0;
    for (place, anomaly) in own.enumerate() {
        if place >= NAMED_ANOMALIES {
            more += 1;
            continue;
        }
        let times = if anomaly.count > 1 {
            format!(
                " ({} times, first at byte {})",
                screen::count(anomaly.count),
                screen::count(anomaly.first.offset)
            )
        } else {
            format!(" (at byte {})", screen::count(anomaly.first.offset))
        };
        remarks.push(format!(
            "{}: {}{times}",
            anomaly.kind.name(),
            escape::line(&anomaly.detail)
        ));
    }
    if more > 0 {
        remarks.push(format!(
            "and {} (see anomalies.parquet)",
            screen::counted(more, "more kind", "more kinds")
        ));
    }
    for (number, meaning) in [
        (
            capture.bytes_skipped,
            "bytes belong to no record and were skipped",
        ),
        (
            capture.packets_truncated,
            "packets were cut by the snapshot length: their payload is incomplete",
        ),
        (
            capture.packets_malformed,
            "packets have headers that are cut or inconsistent",
        ),
        (
            capture.packets_unsupported,
            "packets carry a link type or protocol that is not decoded",
        ),
        (
            capture.time_backward_steps,
            "packets are older than the one before",
        ),
    ] {
        if number > 0 {
            remarks.push(format!("{} {meaning}", screen::count(number)));
        }
    }
    let reasons: Vec<_> = capture
        .undecoded
        .iter()
        .map(|(reason, count)| format!("{reason} {}", screen::count(*count)))
        .collect();
    if !reasons.is_empty() {
        remarks.push(format!("not decoded, by reason: {}", reasons.join(", ")));
    }
    remarks
}

fn labelled_mark(out: &mut String, screen: &Screen, mark: &str, text: &str) {
    for (number, line) in screen::wrap(text, screen.columns.saturating_sub(6))
        .iter()
        .enumerate()
    {
        let mark = if number == 0 { mark } else { " " };
        out.push_str(&format!("    {mark} {line}\n"));
    }
}

fn verdicts(out: &mut String, report: &Report, policy: &str, screen: &Screen) {
    let by = match policy {
        "built-in" => "by the built-in policy".to_owned(),
        file => format!("by the policy {}", escape::line(file)),
    };
    heading(out, screen, "VERDICTS", &by);
    let shown: Vec<(&Verdict, Vec<String>)> = report
        .verdicts
        .iter()
        // What was not observed at all has a section of its own.
        .filter(|verdict| verdict.check_id.is_none() || verdict.verdict != VerdictKind::NotObserved)
        .map(|verdict| {
            let alone = is_warnings_alone(verdict);
            (
                verdict,
                alone
                    .then(|| WARNINGS_ALONE.to_owned())
                    .into_iter()
                    .collect(),
            )
        })
        .collect();
    if shown.is_empty() {
        out.push_str("  none\n");
        return;
    }
    verdict_table(out, screen, &shown);
}

fn findings(out: &mut String, report: &Report, screen: &Screen) {
    let open: Vec<&Finding> = report.findings.iter().filter(|f| f.is_open()).collect();
    let suppressed = report.findings.len() - open.len();
    let kept = |text: &str| match suppressed {
        0 => text.to_owned(),
        number => format!(
            "{text}; {} suppressed, each with its reason in findings.parquet",
            screen::count(number as u64)
        ),
    };
    if open.is_empty() {
        heading(out, screen, "FINDINGS", &kept("none in what could be seen"));
    } else {
        let mut rest = kept(&by_severity(open.iter().copied()));
        if open.len() > WORST {
            let _ = write!(rest, "; the worst {WORST}:");
        }
        heading(out, screen, "FINDINGS", &rest);
    }
    let files = Files(
        report
            .captures
            .iter()
            .map(|capture| capture.file_name.as_str())
            .collect(),
    );
    let (worst, others) = open.split_at(open.len().min(WORST));
    for (place, &finding) in worst.iter().enumerate() {
        if place > 0 {
            out.push('\n');
        }
        block(out, finding, &files, Depth::Short, screen);
    }
    if !others.is_empty() {
        out.push('\n');
        let label = format!("{} more", screen::count(others.len() as u64));
        labelled(out, screen, &label, 0, &by_check(others));
    }
    let hits: Vec<&Finding> = report
        .findings
        .iter()
        .filter(|finding| finding.check_id == INDICATOR)
        .collect();
    indicators(out, &hits, screen);
}

/// Counts by check, worst first: `2 NS-01.http_upgrade (high, low)`.
fn by_check(findings: &[&Finding]) -> String {
    let mut checks: Vec<(&str, Vec<&Finding>)> = Vec::new();
    for &finding in findings {
        match checks.iter_mut().find(|(id, _)| *id == finding.check_id) {
            Some((_, known)) => known.push(finding),
            None => checks.push((finding.check_id, vec![finding])),
        }
    }
    let words: Vec<String> = checks
        .iter()
        .map(|(id, of_check)| format!("{id} {}", by_severity(of_check.iter().copied())))
        .collect();
    words.join("; ")
}

/// What the user asked to look for is never lost among the rest, however mild
/// it is or for whatever reason it was suppressed.
fn indicators(out: &mut String, hits: &[&Finding], screen: &Screen) {
    if hits.is_empty() {
        return;
    }
    let hosts: BTreeSet<_> = hits.iter().map(|hit| hit.src).collect();
    let text = format!(
        "{} on {}: {}",
        screen::counted(hits.len() as u64, "match", "matches"),
        screen::counted(hosts.len() as u64, "host", "hosts"),
        by_severity(hits.iter().copied())
    );
    heading(out, screen, "INDICATORS", &text);
    for &hit in hits.iter().take(NAMED_HITS) {
        let label = hit.severity.name().to_uppercase();
        labelled(out, screen, &label, 8, &escape::line(hit.why()));
    }
    if hits.len() > NAMED_HITS {
        let more = screen::count((hits.len() - NAMED_HITS) as u64);
        labelled(out, screen, "", 8, &format!("and {more} more"));
    }
}

/// What this capture did not show, check by check, and what would have.
fn not_seen(out: &mut String, report: &Report, screen: &Screen) {
    let rows: Vec<&Verdict> = report
        .verdicts
        .iter()
        .filter(|verdict| verdict.check_id.is_some())
        .filter(|verdict| verdict.not_observed > 0 || verdict.verdict == VerdictKind::NotObserved)
        .collect();
    if report.verdicts.is_empty() {
        heading(
            out,
            screen,
            "NOT SEEN",
            "anything: no check judged this capture",
        );
        return;
    }
    if rows.is_empty() {
        heading(
            out,
            screen,
            "NOT SEEN",
            "nothing: every check could judge everything that concerned it",
        );
        return;
    }
    heading(out, screen, "NOT SEEN", "a pass says nothing about these");
    let name = |verdict: &Verdict| {
        verdict
            .check_id
            .as_deref()
            .map(escape::line)
            .unwrap_or_default()
    };
    // Checks that miss the same are told together.
    let mut missing: Vec<(String, Vec<String>)> = Vec::new();
    let mut needs: Vec<(String, Vec<String>)> = Vec::new();
    for verdict in rows {
        let (seen, groups) = match (verdict.not_observed, verdict.evaluated) {
            (0, _) => (name(verdict), &mut needs),
            (all, evaluated) if all >= evaluated => (
                format!("{} (all {})", name(verdict), screen::count(all)),
                &mut missing,
            ),
            (some, of) => (
                format!(
                    "{} ({} of {})",
                    name(verdict),
                    screen::count(some),
                    screen::count(of)
                ),
                &mut missing,
            ),
        };
        let why = escape::line(&reason(report, verdict));
        match groups.iter_mut().find(|(known, _)| *known == why) {
            Some((_, names)) => names.push(seen),
            None => groups.push((why, vec![seen])),
        }
    }
    let mut group = |why: &str, names: &[String]| {
        for line in screen::wrap(why, screen.columns.saturating_sub(2)) {
            out.push_str(&format!("  {line}\n"));
        }
        for line in screen::wrap(&names.join(", "), screen.columns.saturating_sub(6)) {
            out.push_str(&screen.paint(Tone::Quiet, &format!("      {line}")));
            out.push('\n');
        }
    };
    for (why, names) in &missing {
        group(why, names);
    }
    for (why, names) in &needs {
        group(&format!("nothing to judge; {why}"), names);
    }
}

/// Why a check saw nothing: the verdict's words, else those of the file where
/// it missed most.
fn reason(report: &Report, verdict: &Verdict) -> String {
    let most_missed = report
        .coverage
        .iter()
        .filter(|row| Some(row.check_id) == verdict.check_id.as_deref() && !row.reason.is_empty())
        .max_by_key(|row| row.not_observed);
    match most_missed {
        Some(row) if verdict.verdict != VerdictKind::NotObserved || verdict.reason.is_empty() => {
            row.reason.clone()
        }
        _ if verdict.reason.is_empty() => "no reason was recorded".to_owned(),
        _ => verdict.reason.clone(),
    }
}

fn results(out: &mut String, report: &Report, key_file: Option<&Path>, screen: &Screen) {
    heading(out, screen, "RESULTS", "");
    let folder = shell_word(&report.folder);
    let key = key_file.map_or_else(String::new, |file| {
        format!(" --key-file {}", shell_word(file))
    });
    let listed = format!("nsforensics findings {folder}{key}");
    let mut lines = vec![
        ("folder", escape::line(&report.folder.to_string_lossy())),
        (
            "sealed",
            format!(
                "under key id {} in {:.1} s",
                report.key_id,
                report.elapsed.as_secs_f64()
            ),
        ),
        ("verify", format!("nsforensics verify {folder}{key}")),
        ("findings", listed.clone()),
        ("audit", format!("nsforensics audit {folder}{key}")),
    ];
    if report.anomaly_rows > 0 {
        lines.insert(4, ("anomalies", format!("{listed} --anomalies")));
    }
    // Names to copy: never wrapped, never shortened.
    for (label, text) in lines {
        out.push_str(&format!("  {label:<9}  {text}\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::sample;

    const BESIDE: Beside<'_> = Beside {
        policy: "built-in",
        hashed: true,
        key_file: None,
        rules: "",
        alerts: "",
    };

    #[track_caller]
    fn fits(text: &str, columns: usize) {
        for line in text.lines() {
            // Names that are there to be copied may be longer.
            let copied = ["folder", "verify", "findings", "anomalies", "audit"]
                .iter()
                .any(|label| line.trim_start().starts_with(label));
            assert!(
                copied || screen::width(line) <= columns,
                "{} columns: {line}",
                screen::width(line)
            );
        }
    }

    #[test]
    fn a_run_at_a_glance() {
        let text = summary(
            &sample::report(),
            Beside {
                key_file: Some(Path::new("my.key")),
                ..BESIDE
            },
            &Screen::plain(100),
        );
        fits(&text, 100);
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_narrow_terminal_loses_nothing_of_weight() {
        let text = summary(
            &sample::report(),
            Beside {
                hashed: false,
                ..BESIDE
            },
            &Screen::plain(80),
        );
        fits(&text, 80);
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_run_that_saw_nothing_says_so() {
        let text = summary(&sample::empty_report(), BESIDE, &Screen::plain(80));
        fits(&text, 80);
        insta::assert_snapshot!(text);
    }

    #[test]
    fn what_is_not_among_the_worst_is_counted_and_indicators_are_told() {
        let mut report = sample::report();
        let worst = report.findings[0].clone();
        report.findings.splice(0..0, vec![worst; WORST]);
        report.findings.push(sample::indicator());
        report.findings.push(Finding {
            numbers: nsforensics_engine::finding::Numbers {
                suppressed_by: Some("allowed".into()),
                ..Default::default()
            },
            ..sample::indicator()
        });
        let text = summary(&report, BESIDE, &Screen::plain(100));
        fits(&text, 100);
        let section = text.split("\nFINDINGS").nth(1).unwrap();
        let section = section.split("\nNOT SEEN").next().unwrap();
        assert!(
            section.contains("6 more  NS-01.plaintext 1 critical; NS-01.tls_version 2 high;"),
            "{section}"
        );
        assert!(
            section.contains("\nINDICATORS  2 matches on 1 host: 2 low\n"),
            "{section}"
        );
        assert!(section.contains("which feed.csv line 7 names"), "{section}");
    }

    #[test]
    fn what_is_no_capture_is_told_together() {
        let mut report = sample::report();
        report.captures.extend((0..9).map(|number| CaptureSummary {
            path: format!("captures/notes-{number}.txt"),
            file_name: format!("notes-{number}.txt"),
            error: Some("not a readable capture".to_owned()),
            ..CaptureSummary::default()
        }));
        let text = summary(&report, BESIDE, &Screen::plain(100));
        fits(&text, 100);
        let said =
            "! 9 files are no readable captures: notes-0.txt, notes-1.txt, notes-2.txt and others";
        assert!(text.contains(said), "{text}");
        assert!(
            !text.contains("notes-3.txt") && !text.contains("stopped:"),
            "{text}"
        );
    }

    #[test]
    fn findings_say_why() {
        let report = sample::report();
        let text = summary(&report, BESIDE, &Screen::plain(120));
        for finding in &report.findings {
            assert!(text.contains(finding.why()), "{}\n{text}", finding.why());
        }
    }

    #[test]
    fn colour_adds_nothing_but_colour() {
        let plain = summary(&sample::report(), BESIDE, &Screen::plain(100));
        let colored = summary(
            &sample::report(),
            BESIDE,
            &Screen {
                color: true,
                columns: 100,
            },
        );
        let mut stripped = String::new();
        let mut rest = colored.as_str();
        while let Some((before, after)) = rest.split_once("\x1b[") {
            stripped.push_str(before);
            rest = after.split_once('m').map_or("", |(_, text)| text);
        }
        stripped.push_str(rest);
        assert_eq!(stripped, plain);
    }

    #[test]
    fn nothing_from_a_capture_reaches_the_terminal_raw() {
        let evil = "\x1b]0;x\x07\u{9b}31m\u{202e}\r\n\u{200b}";
        let mut report = sample::report();
        for finding in &mut report.findings {
            evil.clone_into(&mut finding.destination);
            evil.clone_into(&mut finding.title);
            evil.clone_into(&mut finding.detail);
            evil.clone_into(&mut finding.explanation);
        }
        for capture in &mut report.captures {
            evil.clone_into(&mut capture.path);
            evil.clone_into(&mut capture.file_name);
            evil.clone_into(&mut capture.format);
            capture.error = Some(evil.to_owned());
        }
        for anomaly in &mut report.capture_anomalies {
            anomaly.detail = evil.into();
        }
        for row in &mut report.coverage {
            evil.clone_into(&mut row.reason);
        }
        for verdict in &mut report.verdicts {
            evil.clone_into(&mut verdict.reason);
            evil.clone_into(&mut verdict.title);
        }
        report.folder = evil.into();
        report.findings.push(Finding {
            explanation: evil.to_owned(),
            ..sample::indicator()
        });
        let beside = Beside {
            policy: evil,
            key_file: Some(Path::new(evil)),
            ..BESIDE
        };
        let text = summary(&report, beside, &Screen::plain(100));
        let raw: Vec<char> = text
            .chars()
            .filter(|&c| c != '\n' && (c.is_control() || c == '\u{202e}' || c == '\u{200b}'))
            .collect();
        assert_eq!(raw, vec![]);
    }
}
