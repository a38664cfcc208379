//! Verdicts as JUnit XML, as build servers read it: a suite for each control,
//! a case for each check. What was not observed is skipped, never passed.
//!
//! JUnit has no specification; this keeps to what Jenkins, GitLab and GitHub's
//! reporters read: `testsuites/testsuite/testcase` with `failure` or `skipped`.

use super::audit::Audit;
use crate::escape::xml;
use crate::selection::Selected;
use nsforensics_engine::finding::VerdictKind;

/// The document.
pub fn document(audit: &Audit) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let (tests, failures, skipped) = tally(&cases(audit, None));
    out.push_str(&format!(
        "<testsuites name=\"nsforensics\" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\">\n"
    ));
    for control in controls(audit) {
        let cases = cases(audit, Some(&control));
        let (tests, failures, skipped) = tally(&cases);
        let title = cases
            .iter()
            .find(|case| case.verdict.check_id.is_none())
            .map_or_else(
                || control.clone(),
                |case| format!("{control} {}", case.verdict.title),
            );
        out.push_str(&format!(
            "  <testsuite name=\"{}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\">\n",
            xml(&title)
        ));
        out.push_str(&format!(
            "    <properties>\n      <property name=\"run_id\" value=\"{}\"/>\n      <property name=\"key_id\" value=\"{}\"/>\n    </properties>\n",
            xml(&audit.run_id),
            xml(&audit.key_id)
        ));
        for case in cases {
            out.push_str(&test_case(case));
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

fn test_case(case: &Selected) -> String {
    let verdict = &case.verdict;
    let name = verdict.check_id.as_deref().unwrap_or(&verdict.control_id);
    let numbers = format!(
        "evaluated {}, passed {}, warned {}, failed {}, refused {}, not observed {}",
        verdict.evaluated,
        verdict.passed,
        verdict.warned,
        verdict.failed,
        verdict.refused,
        verdict.not_observed
    );
    let body = match (outcome(case), verdict.verdict) {
        (Outcome::Failed, _) => format!(
            "      <failure type=\"{}\" message=\"{}\">{}</failure>\n",
            verdict
                .worst_severity
                .map_or("fail", |severity| severity.name()),
            xml(&verdict.reason),
            xml(&numbers)
        ),
        (Outcome::Skipped, VerdictKind::NotObserved) => {
            format!(
                "      <skipped message=\"{}\"/>\n",
                xml(&format!("not observed: {}", verdict.reason))
            )
        }
        (Outcome::Skipped, kind) => format!(
            "      <skipped message=\"{}\"/>\n",
            xml(&format!(
                "{}, but the assurance level does not require it",
                kind.name()
            ))
        ),
        (Outcome::Passed, _) => String::new(),
    };
    format!(
        "    <testcase classname=\"nsforensics.{}\" name=\"{}\">\n{body}      <system-out>{}</system-out>\n    </testcase>\n",
        xml(&verdict.control_id),
        xml(&format!("{name} {}", verdict.title)),
        xml(&numbers)
    )
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    Skipped,
}

fn outcome(case: &Selected) -> Outcome {
    match case.verdict.verdict {
        VerdictKind::NotObserved => Outcome::Skipped,
        _ if !case.counts => Outcome::Skipped,
        VerdictKind::Fail => Outcome::Failed,
        VerdictKind::Pass => Outcome::Passed,
    }
}

fn controls(audit: &Audit) -> Vec<String> {
    let mut controls: Vec<String> = Vec::new();
    for selected in &audit.selected {
        if !controls.contains(&selected.verdict.control_id) {
            controls.push(selected.verdict.control_id.clone());
        }
    }
    controls
}

fn cases<'a>(audit: &'a Audit, control: Option<&str>) -> Vec<&'a Selected> {
    audit
        .selected
        .iter()
        .filter(|case| control.is_none_or(|control| case.verdict.control_id == control))
        .collect()
}

fn tally(cases: &[&Selected]) -> (usize, usize, usize) {
    let of = |wanted| cases.iter().filter(|case| outcome(case) == wanted).count();
    (cases.len(), of(Outcome::Failed), of(Outcome::Skipped))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Level;
    use crate::render::sample;

    fn audit(reason: &str) -> Audit {
        let mut verdicts = sample::report().verdicts;
        for verdict in &mut verdicts {
            reason.clone_into(&mut verdict.reason);
        }
        Audit {
            run_id: "20260101T120000Z-7f3a91".to_owned(),
            key_id: "k1-5c0ffee5c0ffee12".to_owned(),
            level: Some(Level::L2),
            rules: Vec::new(),
            selected: crate::selection::select(verdicts, Some(Level::L2), &[]).expect("something"),
        }
    }

    #[test]
    fn a_parser_finds_what_was_judged() {
        let text = document(&audit("because"));
        insta::assert_snapshot!(text);
        let tree = roxmltree::Document::parse(&text).expect("well-formed");
        let count = |name: &str| {
            tree.descendants()
                .filter(|node| node.has_tag_name(name))
                .count()
        };
        let root = tree.root_element();
        assert_eq!(
            root.attribute("tests"),
            Some(count("testcase").to_string().as_str())
        );
        assert_eq!(
            root.attribute("failures"),
            Some(count("failure").to_string().as_str())
        );
        assert_eq!(
            root.attribute("skipped"),
            Some(count("skipped").to_string().as_str())
        );
        assert_eq!(
            (count("testcase"), count("failure"), count("skipped")),
            (7, 3, 2)
        );
    }

    #[test]
    fn hostile_text_stays_text() {
        let evil = "]]></failure><x a='\"'>&\u{0}\u{1b}\u{202e}\u{ffff}";
        let text = document(&audit(evil));
        let tree = roxmltree::Document::parse(&text).expect("well-formed");
        assert!(!tree.descendants().any(|node| node.has_tag_name("x")));
        assert!(!text.contains(['\u{0}', '\u{1b}', '\u{202e}', '\u{ffff}']));
    }
}
