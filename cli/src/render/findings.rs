//! Findings as people read them, in the summary of a run (short) and in
//! `findings` (with everything that the table holds), and as JSON and CSV.

use super::json::{FindingView, TOOL, Tool, document};
use super::{endpoint, heading, severity_tone, span, what};
use crate::escape;
use crate::screen::{self, Screen, Tone};
use nsforensics_engine::control::Severity;
use nsforensics_engine::evidence::PacketRef;
use nsforensics_engine::finding::{Finding, Measure};
use nsforensics_engine::inventory::csv_field;
use nsforensics_engine::table::read::CaptureBrief;
use serde::Serialize;
use serde_json::Value;
use std::fmt::Write as _;

/// Flow ids named one by one.
const NAMED_FLOWS: usize = 10;

/// What `findings` lists.
#[derive(Debug)]
pub struct Listing {
    /// The run.
    pub run_id: String,
    /// Its inputs.
    pub captures: Vec<CaptureBrief>,
    /// What was asked for.
    pub findings: Vec<Finding>,
    /// All findings of the run.
    pub total: usize,
}

/// How much is said of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// What, why, who, when and the first frame.
    Short,
    /// Also the numbers, all evidence, flows and techniques.
    Full,
}

/// Names of the inputs, by their row.
#[derive(Debug)]
pub struct Files<'a>(pub Vec<&'a str>);

impl Files<'_> {
    /// A name as it is told.
    pub fn name(&self, capture: u32) -> String {
        let at = usize::try_from(capture).ok();
        match at.and_then(|at| self.0.get(at)) {
            Some(&"-") => "standard input".to_owned(),
            Some(name) => escape::line(name),
            None => "?".to_owned(),
        }
    }
}

/// The listing for people.
pub fn text(listing: &Listing, screen: &Screen) -> String {
    let mut out = String::new();
    let files = Files(
        listing
            .captures
            .iter()
            .map(|capture| capture.path.as_str())
            .collect(),
    );
    let listed = listing.findings.len();
    let mut counts = if listed == 0 {
        "none".to_owned()
    } else {
        by_severity(&listing.findings)
    };
    if listed < listing.total {
        let total = screen::count(listing.total as u64);
        let _ = write!(counts, "; {} of {total}", screen::count(listed as u64));
    }
    let _ = write!(counts, "; run {}", escape::line(&listing.run_id));
    heading(&mut out, screen, "FINDINGS", &counts);
    for (place, finding) in listing.findings.iter().enumerate() {
        if place > 0 {
            out.push('\n');
        }
        block(&mut out, finding, &files, Depth::Full, screen);
    }
    out.trim_start_matches('\n').to_owned()
}

/// `6 critical, 2 low`.
pub fn by_severity<'a>(findings: impl IntoIterator<Item = &'a Finding> + Clone) -> String {
    let words: Vec<String> = Severity::ALL
        .iter()
        .filter_map(|severity| {
            let all = findings.clone().into_iter();
            let number = all.filter(|finding| finding.severity == *severity).count();
            (number > 0).then(|| format!("{} {}", screen::count(number as u64), severity.name()))
        })
        .collect();
    words.join(", ")
}

/// Severity and id at the left; check, reason, who, when and where at the right.
pub fn block(
    out: &mut String,
    finding: &Finding,
    files: &Files<'_>,
    depth: Depth,
    screen: &Screen,
) {
    const LABEL_COLUMNS: usize = "F-ABCDEFGHIJKL".len();
    let room = screen.columns.saturating_sub(2 + LABEL_COLUMNS + 2);
    let mut lines = screen::wrap(&format!("{} {}", finding.check_id, what(finding)), room);
    if let Some(first) = lines.first_mut() {
        let id = screen.paint(Tone::Strong, finding.check_id);
        *first = first.replacen(finding.check_id, &id, 1);
    }
    let why = escape::line(finding.why());
    if !why.is_empty() && why != what(finding) {
        lines.extend(screen::wrap(&why, room));
    }

    let mut who = format!(
        "{} -> {}",
        finding.src,
        endpoint(&finding.destination, finding.dst_port)
    );
    if finding.dst.to_string() != finding.destination {
        let _ = write!(who, " ({})", finding.dst);
    }
    let flows = screen::counted(finding.flow_count, "flow", "flows");
    if screen::width(&who) + 2 + screen::width(&flows) <= room {
        lines.push(format!("{who}  {flows}"));
    } else {
        lines.push(screen::shorten(&who, room));
        lines.push(flows);
    }
    let when = span(finding.ts_first, finding.ts_last);
    match depth {
        Depth::Full => {
            lines.push(when);
            more(&mut lines, finding, files, room);
        }
        Depth::Short => {
            let mut place = String::new();
            if let Some(first) = finding.first_packet() {
                let _ = write!(place, "frame {}", screen::count(first.frame));
                if files.0.len() > 1 {
                    let _ = write!(place, " of {}", files.name(first.capture));
                }
            }
            if place.is_empty() {
                lines.push(when);
            } else if screen::width(&when) + 2 + screen::width(&place) <= room {
                lines.push(format!("{when}  {place}"));
            } else {
                lines.push(when);
                lines.push(screen::shorten(&place, room));
            }
        }
    }

    let severity = screen::pad(&finding.severity.name().to_uppercase(), LABEL_COLUMNS);
    let id = screen::pad(&escape::line(&finding.finding_id), LABEL_COLUMNS);
    for (number, line) in lines.iter().enumerate() {
        let label = match number {
            0 => screen.paint(severity_tone(finding.severity), &severity),
            1 => screen.paint(Tone::Quiet, &id),
            _ => " ".repeat(LABEL_COLUMNS),
        };
        out.push_str(&format!("  {label}  {line}\n"));
    }
}

/// Numbers, evidence, flows, techniques.
fn more(lines: &mut Vec<String>, finding: &Finding, files: &Files<'_>, room: usize) {
    const LABEL: usize = "suppressed".len();
    let mut put = |label: &str, text: &str| {
        let label = escape::line(label);
        let wrapped = screen::wrap(text, room.saturating_sub(LABEL + 2));
        for (number, line) in wrapped.iter().enumerate() {
            let label = if number == 0 { label.as_str() } else { "" };
            // A long label keeps its text on the next line, in its column.
            if number == 0 && screen::width(label) > LABEL {
                lines.push(screen::shorten(label, room));
                lines.push(format!("{}  {line}", " ".repeat(LABEL)));
            } else {
                lines.push(format!("{}  {line}", screen::pad(label, LABEL)));
            }
        }
    };
    if let Some(reason) = &finding.numbers.suppressed_by {
        put("suppressed", &escape::line(reason));
    }
    let measured = measured(finding);
    if !measured.is_empty() {
        put("measured", &measured.join(", "));
    }
    let evidence = finding.numbers.evidence.as_deref();
    let evidence = evidence.and_then(|text| serde_json::from_str::<Value>(text).ok());
    if let Some(Value::Object(members)) = evidence {
        let (plain, listed): (Vec<_>, Vec<_>) =
            members.iter().partition(|(_, value)| !value.is_array());
        let plain: Vec<String> = plain
            .iter()
            .map(|(name, value)| format!("{} {}", words(name), shown(value)))
            .collect();
        if !plain.is_empty() {
            put("numbers", &plain.join(", "));
        }
        for (name, value) in listed {
            let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
            if items.iter().any(Value::is_object) {
                // One line each: the terms of a score, and the like.
                for (place, item) in items.iter().enumerate() {
                    let label = if place == 0 {
                        words(name)
                    } else {
                        String::new()
                    };
                    put(&label, &term(item));
                }
            } else if !items.is_empty() {
                let items: Vec<String> = items.iter().map(shown).collect();
                put(&words(name), &items.join("; "));
            }
        }
    }
    for (place, (capture, frames)) in by_file(&finding.evidence).into_iter().enumerate() {
        let label = if place == 0 { "evidence" } else { "" };
        let frames: Vec<String> = frames
            .iter()
            // Digits alone: they are there to be copied into other tools.
            .map(|packet| format!("frame {} at byte {}", packet.frame, packet.offset))
            .collect();
        put(
            label,
            &format!("{}: {}", files.name(capture), frames.join(", ")),
        );
    }
    let named: Vec<String> = finding
        .flow_ids
        .iter()
        .take(NAMED_FLOWS)
        .map(|id| id.0.to_string())
        .collect();
    if !named.is_empty() {
        let more = finding.flow_count.saturating_sub(named.len() as u64);
        let more = match more {
            0 => String::new(),
            more => format!(" and {} more", screen::count(more)),
        };
        put("flow ids", &format!("{}{more}", named.join(", ")));
    }
    if finding.prevalence_hosts > 1 {
        let hosts = screen::count(finding.prevalence_hosts.into());
        put("hosts", &format!("{hosts} sources do the same"));
    }
    if !finding.attack_techniques.is_empty() {
        put("ATT&CK", &finding.attack_techniques.join(", "));
    }
}

/// What was measured, against what, and how sure that is.
fn measured(finding: &Finding) -> Vec<String> {
    let numbers = &finding.numbers;
    let mut parts = Vec::new();
    if let Some(Measure {
        metric,
        observed,
        threshold,
        comparator,
        unit,
    }) = &numbers.measure
    {
        parts.push(escape::line(&format!(
            "{} {} {comparator} {} ({unit})",
            words(metric),
            fraction(*observed),
            fraction(*threshold)
        )));
    }
    let is_the_metric =
        |name: &str| matches!(&numbers.measure, Some(measure) if measure.metric == name);
    if let Some(score) = numbers.score.filter(|_| !is_the_metric("score")) {
        parts.push(format!("score {}", fraction(score.into())));
    }
    if let Some(confidence) = numbers.confidence {
        parts.push(format!("confidence {}", fraction(confidence.into())));
    }
    if let Some(seconds) = numbers.interval_seconds {
        parts.push(format!("every {} s", fraction(seconds)));
    }
    if let Some(cv) = numbers.cv.filter(|_| !is_the_metric("cv")) {
        parts.push(format!("cv {}", fraction(cv)));
    }
    if let Some(samples) = numbers.samples {
        parts.push(screen::counted(samples, "sample", "samples"));
    }
    parts
}

/// `answer_bytes` as words.
fn words(name: &str) -> String {
    escape::line(name).replace('_', " ")
}

/// A number with at most six digits behind the point (two, where it is large),
/// and none to spare.
fn fraction(number: f64) -> String {
    let digits = if number.abs() < 100.0 { 6 } else { 2 };
    let text = format!("{number:.digits$}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text.is_empty() || text == "-0" {
        return "0".to_owned();
    }
    text.to_owned()
}

/// A value of the evidence, on one line.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(number) => match (number.as_u64(), number.as_f64()) {
            (Some(whole), _) => screen::count(whole),
            (None, Some(number)) => fraction(number),
            (None, None) => number.to_string(),
        },
        Value::String(text) => escape::line(text),
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(", "),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| format!("{} {}", words(name), shown(value)))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// What a term adds to a score, and for which value; any other object as it is.
fn term(item: &Value) -> String {
    let number = |name| item.get(name).and_then(Value::as_f64);
    let says = item.get("term").and_then(Value::as_str);
    match (says, number("value"), number("log_odds")) {
        (Some(says), Some(value), Some(odds)) => format!(
            "{}: {} ({}{})",
            escape::line(says),
            fraction(value),
            if odds < 0.0 { "" } else { "+" },
            fraction((odds * 100.0).round() / 100.0)
        ),
        _ => shown(item),
    }
}

/// Packets by their file, both in the order of the evidence.
fn by_file(packets: &[PacketRef]) -> Vec<(u32, Vec<PacketRef>)> {
    let mut files: Vec<(u32, Vec<PacketRef>)> = Vec::new();
    for packet in packets {
        match files
            .iter_mut()
            .find(|(capture, _)| *capture == packet.capture)
        {
            Some((_, known)) => known.push(*packet),
            None => files.push((packet.capture, vec![*packet])),
        }
    }
    files
}

/// The listing as one document.
///
/// # Errors
///
/// None that text can cause.
pub fn json(listing: &Listing) -> anyhow::Result<String> {
    #[derive(Serialize)]
    struct Document<'a> {
        schema: &'static str,
        tool: Tool,
        run_id: &'a str,
        total: usize,
        captures: Vec<CaptureView<'a>>,
        findings: Vec<FindingView<'a>>,
    }
    #[derive(Serialize)]
    struct CaptureView<'a> {
        capture: u32,
        path: &'a str,
        sha256: Option<&'a str>,
        packets: u64,
        size_bytes: u64,
        error: Option<&'a str>,
    }
    document(&Document {
        schema: "nsforensics.findings/1",
        tool: TOOL,
        run_id: &listing.run_id,
        total: listing.total,
        captures: listing
            .captures
            .iter()
            .map(|capture| CaptureView {
                capture: capture.capture,
                path: &capture.path,
                sha256: capture.sha256.as_deref(),
                packets: capture.packets,
                size_bytes: capture.size_bytes,
                error: capture.error.as_deref(),
            })
            .collect(),
        findings: listing.findings.iter().map(FindingView::new).collect(),
    })
}

/// The columns of `--csv`.
const COLUMNS: &str = "finding_id,severity,check_id,status,title,detail,explanation,src_ip,dst_ip,\
    dst_port,destination,ts_first,ts_last,flow_count,file,first_frame,first_offset,evidence_frames,\
    flow_ids,metric,observed,comparator,threshold,unit,score,confidence,interval_seconds,cv,samples,\
    attack_techniques,prevalence_hosts,suppressed_by";

/// The listing for spreadsheets: RFC 4180, no formula, no control character.
pub fn csv(listing: &Listing) -> String {
    let mut out = format!("{COLUMNS}\r\n");
    let number = |value: Option<f64>| value.map(fraction).unwrap_or_default();
    for finding in &listing.findings {
        let text = |text: &str| csv_field(&escape::line(text));
        let packet = |packet: &PacketRef| format!("{}:{}", packet.capture, packet.frame);
        let first = finding.first_packet();
        let file = first
            .and_then(|first| {
                let mut captures = listing.captures.iter();
                captures.find(|capture| capture.capture == first.capture)
            })
            .map_or("", |capture| capture.path.as_str());
        let of_first = |number: fn(PacketRef) -> u64| {
            first.map(|at| number(at).to_string()).unwrap_or_default()
        };
        let numbers = &finding.numbers;
        let measure = numbers.measure.as_ref();
        let fields = [
            text(&finding.finding_id),
            finding.severity.name().to_owned(),
            text(finding.check_id),
            if finding.is_open() {
                "open"
            } else {
                "suppressed"
            }
            .to_owned(),
            text(&finding.title),
            text(&finding.detail),
            text(&finding.explanation),
            finding.src.to_string(),
            finding.dst.to_string(),
            finding.dst_port.to_string(),
            text(&finding.destination),
            finding.ts_first.to_string(),
            finding.ts_last.to_string(),
            finding.flow_count.to_string(),
            text(file),
            of_first(|at| at.frame),
            of_first(|at| at.offset),
            joined(finding.evidence.iter().map(packet)),
            joined(finding.flow_ids.iter().map(|id| id.0.to_string())),
            text(measure.map_or("", |measure| &measure.metric)),
            number(measure.map(|measure| measure.observed)),
            text(measure.map_or("", |measure| &measure.comparator)),
            number(measure.map(|measure| measure.threshold)),
            text(measure.map_or("", |measure| &measure.unit)),
            number(numbers.score.map(f64::from)),
            number(numbers.confidence.map(f64::from)),
            number(numbers.interval_seconds),
            number(numbers.cv),
            numbers
                .samples
                .map(|samples| samples.to_string())
                .unwrap_or_default(),
            joined(finding.attack_techniques.iter().map(|&id| text(id))),
            finding.prevalence_hosts.to_string(),
            text(numbers.suppressed_by.as_deref().unwrap_or_default()),
        ];
        out.push_str(&fields.join(","));
        out.push_str("\r\n");
    }
    out
}

fn joined(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::sample;

    fn listing() -> Listing {
        let report = sample::report();
        let mut findings = report.findings;
        findings.push(sample::measured());
        findings.push(sample::indicator());
        Listing {
            run_id: report.run_id,
            total: findings.len() + 3,
            captures: (0_u32..)
                .zip(&report.captures)
                .map(|(capture, summary)| CaptureBrief {
                    capture,
                    path: summary.path.clone(),
                    sha256: Some("ab".repeat(32)),
                    packets: summary.packets,
                    size_bytes: summary.size_bytes,
                    ts_first: summary.ts_first,
                    ts_last: summary.ts_last,
                    error: None,
                })
                .collect(),
            findings,
        }
    }

    #[test]
    fn findings_for_people() {
        let text = text(&listing(), &Screen::plain(100));
        for line in text.lines() {
            assert!(screen::width(line) <= 100, "{line}");
        }
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_run_without_findings_says_so() {
        let none = Listing {
            findings: vec![],
            total: 0,
            ..listing()
        };
        let text = text(&none, &Screen::plain(80));
        assert_eq!(text, "FINDINGS  none; run 20260101T120000Z-7f3a91\n");
    }

    #[test]
    fn programs_read_what_people_do() {
        let listing = listing();
        let document: Value = serde_json::from_str(&json(&listing).unwrap()).unwrap();
        let findings = document["findings"].as_array().unwrap();
        assert_eq!(findings.len(), listing.findings.len());
        assert_eq!(document["schema"], "nsforensics.findings/1");
        assert_eq!(document["total"], listing.total);
        assert_eq!(
            document["captures"][1]["path"],
            "captures/office-tuesday.pcap.gz"
        );
        let manual = include_str!("../../../docs/cli.md");
        for key in document.as_object().unwrap().keys() {
            assert!(
                manual.contains(&format!("`{key}")),
                "{key} is not in docs/cli.md"
            );
        }
    }

    #[test]
    fn spreadsheets_get_one_line_each_and_no_formula() {
        let mut listing = listing();
        let evil = "=HYPERLINK(\"http://x\")\r\n\x1b[2J\u{202e}";
        for finding in &mut listing.findings {
            evil.clone_into(&mut finding.destination);
            evil.clone_into(&mut finding.detail);
        }
        for capture in &mut listing.captures {
            evil.clone_into(&mut capture.path);
        }
        let csv = csv(&listing);
        let lines: Vec<&str> = csv.split_terminator("\r\n").collect();
        assert_eq!(lines.len(), listing.findings.len() + 1);
        assert_eq!(lines[0].split(',').count(), 32);
        assert!(!csv.contains(['\x1b', '\u{202e}']));
        for line in &lines[1..] {
            assert!(!line.contains(",=") && !line.contains(",\"="), "{line}");
            assert_eq!(fields(line).len(), 32, "{line}");
        }
    }

    /// Fields of a line of RFC 4180.
    fn fields(line: &str) -> Vec<String> {
        let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
        for letter in line.chars() {
            match letter {
                '"' => quoted = !quoted,
                ',' if !quoted => fields.push(std::mem::take(&mut field)),
                letter => field.push(letter),
            }
        }
        fields.push(field);
        fields
    }

    #[test]
    fn nothing_from_a_capture_reaches_the_terminal_raw() {
        let evil = "\x1b]0;x\x07\u{9b}31m\u{202e}\r\n\u{200b}";
        let mut listing = listing();
        for finding in &mut listing.findings {
            for text in [
                &mut finding.destination,
                &mut finding.title,
                &mut finding.detail,
                &mut finding.explanation,
                &mut finding.finding_id,
            ] {
                evil.clone_into(text);
            }
            let evidence = serde_json::json!({ evil: [evil, { evil: evil }], "a": evil });
            finding.numbers.evidence = Some(evidence.to_string());
            finding.numbers.suppressed_by = Some(evil.into());
        }
        for capture in &mut listing.captures {
            evil.clone_into(&mut capture.path);
        }
        evil.clone_into(&mut listing.run_id);
        let text = text(&listing, &Screen::plain(100));
        let raw: Vec<char> = text
            .chars()
            .filter(|&c| c != '\n' && (c.is_control() || c == '\u{202e}' || c == '\u{200b}'))
            .collect();
        assert_eq!(raw, vec![]);
    }

    #[test]
    fn fractions_have_no_digits_to_spare() {
        for (number, text) in [
            (0.0, "0"),
            (-0.000_000_1, "0"),
            (60.0, "60"),
            (0.031_25, "0.03125"),
            (100.0, "100"),
            (1.0 / 3.0, "0.333333"),
            (-2.5, "-2.5"),
            (4_386.927_487, "4386.93"),
        ] {
            assert_eq!(fraction(number), text);
        }
    }
}
