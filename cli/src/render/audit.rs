//! What `audit` prints: text and JSON. JUnit has a room of its own.

use super::json::{TOOL, Tool, VerdictView};
use super::{WARNINGS_ALONE, heading, is_warnings_alone, labelled, verdict_table};
use crate::args::Level;
use crate::escape;
use crate::screen::{self, Screen};
use crate::selection::Selected;
use nsforensics_engine::control::Severity;
use nsforensics_engine::finding::{Verdict, VerdictKind};
use serde::Serialize;

/// A run whose seal was verified, and the verdicts asked for.
#[derive(Debug)]
pub struct Audit {
    /// Identifier of the run.
    pub run_id: String,
    /// Id of the key under which its seal was verified.
    pub key_id: String,
    /// As asked for.
    pub level: Option<Level>,
    /// In the run's order: controls, each with its checks.
    pub selected: Vec<Selected>,
    /// What the user's rules found, worst first: listed, never counted, since no
    /// control asks for it.
    pub rules: Vec<FoundByRule>,
}

/// What one of the user's rules found.
#[derive(Clone, Debug)]
pub struct FoundByRule {
    /// Such as `RULE.name`.
    pub check_id: &'static str,
    /// What it is called.
    pub title: String,
    /// Of its findings.
    pub worst_severity: Severity,
    /// How many, open ones.
    pub findings: u64,
}

impl Audit {
    /// Whether a verdict that counts is a failure.
    pub fn fails(&self) -> bool {
        self.selected.iter().any(Selected::fails)
    }

    /// `fail`, `pass`, or `not_observed` when nothing that counts was observable.
    fn result(&self) -> VerdictKind {
        let counted = || self.selected.iter().filter(|selected| selected.counts);
        if self.fails() {
            VerdictKind::Fail
        } else if counted().any(|selected| selected.verdict.verdict == VerdictKind::Pass) {
            VerdictKind::Pass
        } else {
            VerdictKind::NotObserved
        }
    }
}

/// For people.
pub fn text(audit: &Audit, screen: &Screen) -> String {
    let (word, tone) = super::verdict_word(audit.result());
    let mut out = format!(
        "{}  run {}, seal intact under key {}{}\n",
        screen.paint(tone, word),
        escape::line(&audit.run_id),
        escape::line(&audit.key_id),
        audit.level.map_or_else(String::new, |level| format!(
            ", assurance level {}",
            level.name()
        )),
    );
    heading(&mut out, screen, "VERDICTS", "");
    let rows: Vec<(&Verdict, Vec<String>)> = audit
        .selected
        .iter()
        .map(|selected| (&selected.verdict, remarks(audit, selected)))
        .collect();
    verdict_table(&mut out, screen, &rows);
    if !audit.rules.is_empty() {
        let told = "what rules of your own found; no verdict counts it";
        heading(&mut out, screen, "RULES", told);
        for rule in &audit.rules {
            let text = format!(
                "{} {}: {}",
                escape::line(rule.check_id),
                escape::line(&rule.title),
                screen::counted(rule.findings, "finding", "findings")
            );
            let label = rule.worst_severity.name().to_uppercase();
            labelled(&mut out, screen, &label, 8, &text);
        }
    }
    out
}

/// What a reader must know beside the numbers of a row.
fn remarks(audit: &Audit, selected: &Selected) -> Vec<String> {
    let verdict = &selected.verdict;
    let mut remarks = Vec::new();
    if verdict.check_id.is_none() {
        remarks.push(format!(
            "{} at {}; {}; {}",
            escape::line(&verdict.requirement),
            escape::line(&verdict.assurance_levels.join(", ")),
            escape::line(&verdict.stride.join(", ")),
            escape::line(&verdict.aatt.join(", ")),
        ));
        if let (false, Some(level)) = (selected.counts, audit.level) {
            remarks.push(format!("listed only: {} does not require it", level.name()));
        }
    }
    if is_warnings_alone(verdict) {
        remarks.push(WARNINGS_ALONE.to_owned());
    }
    if verdict.verdict != VerdictKind::Pass && !verdict.reason.is_empty() {
        remarks.push(escape::line(&verdict.reason));
    }
    remarks
}

#[derive(Debug, Serialize)]
struct AuditDocument<'a> {
    schema: &'static str,
    tool: Tool,
    run_id: &'a str,
    key_id: &'a str,
    level: Option<&'static str>,
    result: &'static str,
    verdicts: Vec<SelectedView<'a>>,
    rules: Vec<RuleView<'a>>,
}

#[derive(Debug, Serialize)]
struct RuleView<'a> {
    check_id: &'a str,
    title: &'a str,
    worst_severity: &'static str,
    findings: u64,
}

#[derive(Debug, Serialize)]
struct SelectedView<'a> {
    counts: bool,
    #[serde(flatten)]
    verdict: VerdictView<'a>,
}

/// For programs.
pub fn json(audit: &Audit) -> anyhow::Result<String> {
    super::json::document(&AuditDocument {
        schema: "nsforensics.audit/1",
        tool: TOOL,
        run_id: &audit.run_id,
        key_id: &audit.key_id,
        level: audit.level.map(Level::name),
        result: audit.result().name(),
        verdicts: audit
            .selected
            .iter()
            .map(|selected| SelectedView {
                counts: selected.counts,
                verdict: VerdictView::new(&selected.verdict),
            })
            .collect(),
        rules: audit
            .rules
            .iter()
            .map(|rule| RuleView {
                check_id: rule.check_id,
                title: &rule.title,
                worst_severity: rule.worst_severity.name(),
                findings: rule.findings,
            })
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::sample;

    fn audit(level: Option<Level>) -> Audit {
        let mut verdicts = sample::report().verdicts;
        let mut traffic = sample::verdict(
            None,
            "Network traffic analysis",
            VerdictKind::Fail,
            [0, 0, 1, 0, 0],
        );
        "NS-04".clone_into(&mut traffic.control_id);
        traffic.assurance_levels = vec!["L3".to_owned()];
        verdicts.push(traffic);
        Audit {
            run_id: "20260101T120000Z-7f3a91".to_owned(),
            key_id: "k1-5c0ffee5c0ffee12".to_owned(),
            level,
            selected: crate::selection::select(verdicts, level, &[]).expect("something to audit"),
            rules: vec![FoundByRule {
                check_id: "RULE.night_uploads",
                title: "Uploads at night".to_owned(),
                worst_severity: Severity::High,
                findings: 2,
            }],
        }
    }

    #[test]
    fn verdicts_for_people() {
        insta::assert_snapshot!(text(&audit(Some(Level::L2)), &Screen::plain(100)));
    }

    #[test]
    fn verdicts_for_programs() {
        insta::assert_snapshot!(json(&audit(Some(Level::L2))).expect("serialises"));
    }

    #[test]
    fn nothing_observed_is_no_pass() {
        let verdicts = sample::empty_report().verdicts;
        let audit = Audit {
            selected: crate::selection::select(verdicts, None, &[]).expect("something"),
            ..audit(None)
        };
        assert_eq!(audit.result(), VerdictKind::NotObserved);
        assert!(!audit.fails());
    }
}
