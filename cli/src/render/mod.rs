//! Results as people and programs read them. Only here are they put into
//! words; nothing here decides anything.

pub mod alerts;
pub mod anomalies;
pub mod audit;
pub mod findings;
pub mod json;
pub mod junit;
pub mod rules;
pub mod summary;
pub mod verify;

#[cfg(test)]
pub mod sample;

use crate::escape;
use crate::screen::{self, Screen, Tone};
use nsforensics_engine::control::Severity;
use nsforensics_engine::finding::{Finding, Verdict, VerdictKind};
use nsforensics_engine::time::CaptureTime;
use std::net::IpAddr;
use std::path::Path;

/// Blanks before every line under a heading.
const INDENT: &str = "  ";

/// A heading, after an empty line, with a remark that wraps under itself.
fn heading(out: &mut String, screen: &Screen, title: &str, rest: &str) {
    let indent = screen::width(title) + 2;
    for (number, line) in screen::wrap(rest, screen.columns.saturating_sub(indent))
        .iter()
        .enumerate()
    {
        let label = if number == 0 {
            out.push('\n');
            screen.paint(Tone::Strong, title)
        } else {
            " ".repeat(indent - 2)
        };
        out.push_str(format!("{label}  {line}").trim_end());
        out.push('\n');
    }
}

/// A label and a text that wraps beside it.
fn labelled(out: &mut String, screen: &Screen, label: &str, label_columns: usize, text: &str) {
    let label_columns = label_columns.max(screen::width(label));
    let indent = INDENT.len() + label_columns + 2;
    let lines = screen::wrap(text, screen.columns.saturating_sub(indent));
    for (number, line) in lines.iter().enumerate() {
        let label = if number == 0 { label } else { "" };
        let label = screen::pad(label, label_columns);
        out.push_str(format!("{INDENT}{label}  {line}").trim_end());
        out.push('\n');
    }
}

/// Times to the second, as `2016-03-30 19:44:03`.
fn moment(ts: CaptureTime) -> String {
    let (year, month, day, hour, minute, second, _) = ts.to_civil();
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

/// `2016-03-30 19:44:03 to 19:50:01 UTC`: the date is repeated only where it changes.
fn span(first: CaptureTime, last: CaptureTime) -> String {
    let (from, to) = (moment(first), moment(last));
    if from == to {
        return format!("{from} UTC");
    }
    match (from.split_once(' '), to.split_once(' ')) {
        (Some((from_day, _)), Some((to_day, to_time))) if from_day == to_day => {
            format!("{from} to {to_time} UTC")
        }
        _ => format!("{from} to {to} UTC"),
    }
}

/// `name:443`, `[2001:db8::1]:443`.
fn endpoint(host: &str, port: u16) -> String {
    // ICMP has none, and several are no one's.
    if port == 0 {
        escape::line(host)
    } else if matches!(host.parse(), Ok(IpAddr::V6(_))) {
        format!("[{host}]:{port}")
    } else {
        format!("{}:{port}", escape::line(host))
    }
}

/// What a finding is about: its title, and the detail where that does not hold it.
fn what(finding: &Finding) -> String {
    let (title, detail) = (escape::line(&finding.title), escape::line(&finding.detail));
    if detail.is_empty() || title.contains(&detail) {
        title
    } else if title.is_empty() {
        detail
    } else {
        format!("{title}: {detail}")
    }
}

fn verdict_word(verdict: VerdictKind) -> (&'static str, Tone) {
    match verdict {
        VerdictKind::Pass => ("PASS", Tone::Good),
        VerdictKind::Fail => ("FAIL", Tone::Bad),
        VerdictKind::NotObserved => ("NOT OBSERVED", Tone::Unknown),
    }
}

fn severity_tone(severity: Severity) -> Tone {
    match severity {
        Severity::Critical | Severity::High => Tone::Bad,
        Severity::Medium | Severity::Low => Tone::Warning,
        Severity::Info => Tone::Quiet,
    }
}

/// The part of a check's id after its control: `tls_version`.
fn short_check(check_id: &str) -> &str {
    check_id
        .split_once('.')
        .map_or(check_id, |(_, check)| check)
}

/// A path as one word of a shell's command line.
pub fn shell_word(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./-:=@%+,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.into_owned();
    }
    format!("'{}'", escape::line(&text).replace('\'', "'\\''"))
}

/// Said of a pass that rests on nothing that held.
const WARNINGS_ALONE: &str = "no more than warnings, and nothing was seen to hold";

/// Whether a verdict is a pass for want of anything worse than warnings.
fn is_warnings_alone(verdict: &Verdict) -> bool {
    verdict.verdict == VerdictKind::Pass && verdict.passed == 0 && verdict.refused == 0
}

/// The counts of a verdict, in the words and order that all tables use.
const COUNTS: [&str; 5] = ["passed", "warned", "failed", "refused", "not seen"];

fn counts(verdict: &Verdict) -> [u64; 5] {
    [
        verdict.passed,
        verdict.warned,
        verdict.failed,
        verdict.refused,
        verdict.not_observed,
    ]
}

/// Verdicts as a table: controls flush, their checks indented below them.
/// Each with the remarks that belong below it.
fn verdict_table(out: &mut String, screen: &Screen, rows: &[(&Verdict, Vec<String>)]) {
    const VERDICT_COLUMNS: usize = "NOT OBSERVED".len();
    let number_columns: [usize; 5] = std::array::from_fn(|column| {
        let widest = rows
            .iter()
            .filter_map(|(verdict, _)| counts(verdict).get(column).map(|&n| screen::count(n).len()))
            .max()
            .unwrap_or(0);
        COUNTS.get(column).map_or(0, |name| name.len()).max(widest)
    });
    let numbers: usize = number_columns.iter().map(|columns| columns + 2).sum();
    let name_columns = screen
        .columns
        .saturating_sub(INDENT.len() + VERDICT_COLUMNS + 2 + numbers)
        .max(18);

    let mut header = format!(
        "{INDENT}{}  {}",
        screen::pad("verdict", VERDICT_COLUMNS),
        screen::pad("control and check", name_columns)
    );
    for (name, columns) in COUNTS.iter().zip(number_columns) {
        header.push_str("  ");
        header.push_str(&screen::pad_left(name, columns));
    }
    out.push_str(&screen.paint(Tone::Quiet, header.trim_end()));
    out.push('\n');

    for (verdict, notes) in rows {
        let (word, tone) = verdict_word(verdict.verdict);
        let name = match &verdict.check_id {
            None => {
                let full = format!(
                    "{} {}",
                    escape::line(&verdict.control_id),
                    escape::line(&verdict.title)
                );
                if screen::width(&full) <= name_columns {
                    full
                } else {
                    escape::line(&verdict.control_id)
                }
            }
            Some(check) => format!("  {}", escape::line(short_check(check))),
        };
        let name = screen::pad(&screen::shorten(&name, name_columns), name_columns);
        let name = match verdict.check_id {
            None => screen.paint(Tone::Strong, &name),
            Some(_) => name,
        };
        let mut row = format!(
            "{INDENT}{}  {name}",
            screen.paint(tone, &screen::pad(word, VERDICT_COLUMNS))
        );
        for (column, (number, columns)) in
            counts(verdict).into_iter().zip(number_columns).enumerate()
        {
            let text = screen::pad_left(&screen::count(number), columns);
            row.push_str("  ");
            row.push_str(&match (column, number) {
                (_, 0) => screen.paint(Tone::Quiet, &text),
                (1, _) => screen.paint(Tone::Warning, &text),
                (2, _) => screen.paint(Tone::Bad, &text),
                (4, _) => screen.paint(Tone::Unknown, &text),
                _ => text,
            });
        }
        out.push_str(&row);
        out.push('\n');
        for note in notes {
            labelled(out, screen, "", VERDICT_COLUMNS + 2, note);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_named_once() {
        let first = CaptureTime::from_unix(1_459_367_043, 1);
        assert_eq!(
            span(first, first.plus_nanos(60_000_000_000)),
            "2016-03-30 19:44:03 to 19:45:03 UTC"
        );
        assert_eq!(span(first, first.plus_nanos(5)), "2016-03-30 19:44:03 UTC");
        assert_eq!(
            span(first, first.plus_nanos(86_400_000_000_000)),
            "2016-03-30 19:44:03 to 2016-03-31 19:44:03 UTC"
        );
    }

    #[test]
    fn addresses_and_ports_can_be_told_apart() {
        assert_eq!(endpoint("2001:db8::1", 443), "[2001:db8::1]:443");
        assert_eq!(endpoint("192.0.2.1", 80), "192.0.2.1:80");
        assert_eq!(endpoint("2001:db8::1", 0), "2001:db8::1");
        assert_eq!(endpoint("a\x1b.example", 80), "a\\x1b.example:80");
    }

    #[test]
    fn a_suggested_command_can_be_pasted() {
        assert_eq!(shell_word(Path::new("out/2026-run")), "out/2026-run");
        assert_eq!(shell_word(Path::new("my run's")), "'my run'\\''s'");
        assert_eq!(shell_word(Path::new("")), "''");
    }
}
