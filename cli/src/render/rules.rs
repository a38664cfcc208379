//! What the user's own rules found, one by one: the worst findings of a run may
//! all be others.

use super::{heading, labelled};
use crate::escape;
use crate::screen::{self, Screen};
use nsforensics_engine::finding::Finding;
use nsforensics_engine::rule::{ProblemKind, RuleSet, Rules, Told};
use nsforensics_engine::run::Report;
use std::cmp::Reverse;

/// Rules that are listed.
const LISTED: usize = 20;

/// The section of a run's summary; nothing where no rules were given.
pub fn sections(asked: Option<&RuleSet>, report: &Report, screen: &Screen) -> String {
    let both = asked.zip(report.rules.as_ref());
    both.map_or_else(String::new, |(asked, told)| {
        section(&asked.rules, told, &report.findings, screen)
    })
}

/// The section of the summary.
pub fn section(rules: &Rules, told: &Told, findings: &[Finding], screen: &Screen) -> String {
    let mut found: Vec<_> = rules
        .rules
        .iter()
        .map(|rule| {
            let of_rule = findings.iter().filter(|f| f.check_id == rule.check_id);
            (rule, of_rule.count() as u64)
        })
        .filter(|(_, number)| *number > 0)
        .collect();
    found.sort_by_key(|(rule, _)| (Reverse(rule.severity), rule.check_id));
    let mut text = format!(
        "{}, {} found something",
        screen::counted(rules.rules.len() as u64, "rule", "rules"),
        screen::count(found.len() as u64)
    );
    // A rule that was not asked found nothing for another reason than the rest.
    let failed: Vec<String> = [
        (ProblemKind::NotRead, "read"),
        (ProblemKind::NotAsked, "asked"),
    ]
    .into_iter()
    .map(|(kind, what)| (told.count(kind), what))
    .filter(|(number, _)| *number > 0)
    .map(|(number, what)| format!("{} could not be {what}", screen::count(number)))
    .collect();
    let cut = told.count(ProblemKind::CutShort);
    let cut = (cut > 0).then(|| format!("{} cut short", screen::count(cut)));
    let told: Vec<String> = failed.into_iter().chain(cut).collect();
    if !told.is_empty() {
        text.push_str(&format!("; {}", told.join(", ")));
    }
    let mut out = String::new();
    heading(&mut out, screen, "RULES", &text);
    for (rule, number) in found.iter().take(LISTED) {
        let text = format!(
            "{} {}: {}",
            escape::line(rule.check_id),
            escape::line(&rule.text),
            screen::counted(*number, "finding", "findings")
        );
        let label = rule.severity.name().to_uppercase();
        labelled(&mut out, screen, &label, 8, &text);
    }
    if found.len() > LISTED {
        let more = screen::count((found.len() - LISTED) as u64);
        labelled(&mut out, screen, "", 8, &format!("and {more} rules more"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::sample;
    use nsforensics_engine::rule::Problem;

    #[test]
    fn rules_are_listed_worst_first() {
        let rules = Rules::parse(
            "r.yaml",
            b"rules:\n  - {id: mild, text: Mild, severity: low, query: x}\n  \
              - {id: bad, text: \"Bad\\e[31m\", severity: high, query: x}\n  \
              - {id: none, text: None, query: x}\n  - {id: broken}\n",
        );
        let finding = |check_id| Finding {
            check_id,
            ..sample::report().findings.remove(0)
        };
        let found = ["RULE.mild", "RULE.bad", "RULE.bad", "NS-01.plaintext"].map(finding);
        let told = Told {
            asked: 2,
            problems: vec![
                rules.problems[0].clone(),
                Problem {
                    file: "r.yaml".to_owned(),
                    line: 4,
                    check_id: Some("RULE.none"),
                    kind: ProblemKind::NotAsked,
                    message: "no such column: x".to_owned(),
                },
                Problem {
                    file: "r.yaml".to_owned(),
                    line: 3,
                    check_id: Some("RULE.bad"),
                    kind: ProblemKind::CutShort,
                    message: "7 findings are left out".to_owned(),
                },
            ],
        };
        let text = section(&rules, &told, &found, &Screen::plain(100));
        assert_eq!(
            text,
            "\nRULES  3 rules, 2 found something; 1 could not be read, 1 could not be asked, \
             1 cut short\n  \
             HIGH      RULE.bad Bad\\x1b[31m: 2 findings\n  LOW       RULE.mild Mild: 1 finding\n"
        );
    }
}
