//! What `audit` prints: text and JSON. JUnit has a room of its own.

use super::json::{TOOL, Tool, VerdictView};
use super::{heading, verdict_table};
use crate::args::Level;
use crate::escape;
use crate::screen::Screen;
use crate::selection::Selected;
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
