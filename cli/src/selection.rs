//! Which verdicts an audit asks about (by assurance level, by name), and which
//! findings a listing does.

use crate::args::Level;
use anyhow::{Result, bail};
use nsforensics_engine::control::Severity;
use nsforensics_engine::finding::{Finding, Verdict, VerdictKind};

/// A verdict of a run and whether this audit counts it.
#[derive(Clone, Debug)]
pub struct Selected {
    /// The verdict.
    pub verdict: Verdict,
    /// Whether its failure fails the audit; otherwise it is only listed.
    pub counts: bool,
}

impl Selected {
    /// Whether this fails the audit.
    pub fn fails(&self) -> bool {
        self.counts && self.verdict.verdict == VerdictKind::Fail
    }
}

/// Takes the verdicts that are asked for: those of `checks` (all where there
/// are none), counting those that `level` requires (all where there is none).
///
/// # Errors
///
/// When a name is unknown to the run, or nothing would count: an audit that
/// asks for nothing must not pass.
pub fn select(
    verdicts: Vec<Verdict>,
    level: Option<Level>,
    checks: &[String],
) -> Result<Vec<Selected>> {
    refuse_unknown(&verdicts, checks)?;
    let selected: Vec<Selected> = verdicts
        .into_iter()
        .filter(|verdict| checks.is_empty() || checks.iter().any(|name| is_named(verdict, name)))
        .map(|verdict| Selected {
            counts: level.is_none_or(|level| requires(level, &verdict)),
            verdict,
        })
        .collect();
    if selected.is_empty() {
        bail!("this run holds no verdicts");
    }
    if let Some(level) = level
        && !selected.iter().any(|selected| selected.counts)
    {
        bail!(
            "assurance level {} does not require {}, so there is nothing that could pass or fail: ask for \
             {}, or leave --level out",
            level.name(),
            asked_for(checks, &selected),
            levels_of(&selected),
        );
    }
    Ok(selected)
}

/// What was asked for, in the words of who asked.
fn asked_for(checks: &[String], selected: &[Selected]) -> String {
    if !checks.is_empty() {
        return checks
            .iter()
            .map(|name| crate::escape::line(name))
            .collect::<Vec<_>>()
            .join(", ");
    }
    let mut controls: Vec<&str> = selected
        .iter()
        .map(|selected| selected.verdict.control_id.as_str())
        .collect();
    controls.dedup();
    format!("any of {}", controls.join(", "))
}

/// The levels that require any of it.
fn levels_of(selected: &[Selected]) -> String {
    let levels: Vec<String> = [Level::L2, Level::L3]
        .into_iter()
        .filter(|&level| {
            let mut all = selected.iter();
            all.any(|selected| requires(level, &selected.verdict))
        })
        .map(|level| format!("--level {}", level.name()))
        .collect();
    if levels.is_empty() {
        "something else".to_owned()
    } else {
        levels.join(" or ")
    }
}

/// Refuses names of controls and checks that a run knows nothing of.
///
/// # Errors
///
/// With the names that it knows.
pub fn refuse_unknown(verdicts: &[Verdict], checks: &[String]) -> Result<()> {
    match checks.iter().find(|name| !is_known(verdicts, name)) {
        Some(name) => bail!(unknown(verdicts, name)),
        None => Ok(()),
    }
}

fn is_known(verdicts: &[Verdict], name: &str) -> bool {
    verdicts.iter().any(|verdict| is_named(verdict, name))
}

/// The controls that there are, and the checks of the one that was meant.
fn unknown(verdicts: &[Verdict], name: &str) -> String {
    let mut controls: Vec<&str> = verdicts
        .iter()
        .map(|verdict| verdict.control_id.as_str())
        .collect();
    controls.dedup();
    let meant = name.split('.').next().unwrap_or_default();
    let checks: Vec<&str> = verdicts
        .iter()
        .filter(|verdict| verdict.control_id.eq_ignore_ascii_case(meant))
        .filter_map(|verdict| verdict.check_id.as_deref())
        .collect();
    let shown = crate::escape::line(name);
    if checks.is_empty() {
        let known = controls.join(", ");
        return format!("--check {shown}: this run has no such control or check; it has {known}");
    }
    format!(
        "--check {shown}: this run has no such check; {meant} has\n  {}",
        checks.join("\n  ")
    )
}

/// What findings of the user's rules have for a control.
const RULE: &str = "RULE";

/// Refuses names that no finding can have. Verdicts know nothing of the user's
/// rules, and a rule that found nothing left no trace but its file.
///
/// # Errors
///
/// With the names that the run knows.
pub fn refuse_unfindable(
    verdicts: &[Verdict],
    findings: &[Finding],
    checks: &[String],
) -> Result<()> {
    for name in checks {
        let is_rule = match name.split_once('.') {
            None => name.eq_ignore_ascii_case(RULE),
            Some((control, _)) => control.eq_ignore_ascii_case(RULE),
        };
        if !is_rule {
            refuse_unknown(verdicts, std::slice::from_ref(name))?;
            continue;
        }
        let is_found = |finding: &Finding| finding.check_id.eq_ignore_ascii_case(name);
        if name.contains('.') && !findings.iter().any(is_found) {
            bail!(
                "--check {}: no rule of this name found anything in this run; --check {RULE} lists \
                 what rules found",
                crate::escape::line(name)
            );
        }
    }
    Ok(())
}

/// Which findings are listed: those that everything given here fits.
#[derive(Debug, Default)]
pub struct Wanted {
    /// Controls and checks; none for all.
    pub checks: Vec<String>,
    /// The least severity.
    pub severity: Option<Severity>,
    /// An address, or a name, of either end.
    pub host: Option<String>,
    /// Ids; none for all.
    pub ids: Vec<String>,
    /// Whether suppressed ones are listed as well.
    pub suppressed: bool,
}

impl Wanted {
    /// Whether a finding is listed. One that is asked for by its id is,
    /// suppressed or not.
    pub fn takes(&self, finding: &Finding) -> bool {
        let is = |known: &str, asked: &str| known.eq_ignore_ascii_case(asked);
        let control = finding.check_id.split('.').next().unwrap_or_default();
        let checks = &self.checks;
        let by_check = checks.is_empty()
            || checks
                .iter()
                .any(|name| is(finding.check_id, name) || is(control, name));
        let by_host = self.host.as_deref().is_none_or(|host| {
            let address = host.parse().ok();
            address == Some(finding.src)
                || address == Some(finding.dst)
                || is(&finding.destination, host)
        });
        let by_id = self.ids.iter().any(|id| is(&finding.finding_id, id));
        by_check
            && by_host
            && self.severity.is_none_or(|least| finding.severity >= least)
            && (by_id || self.ids.is_empty())
            && (by_id || self.suppressed || finding.is_open())
    }

    /// Refuses ids that no finding has: a slip of the hand must not read as
    /// "nothing was found".
    ///
    /// # Errors
    ///
    /// With the id.
    pub fn refuse_unknown_ids(&self, findings: &[Finding]) -> Result<()> {
        for id in &self.ids {
            let mut all = findings.iter();
            if !all.any(|finding| finding.finding_id.eq_ignore_ascii_case(id)) {
                bail!(
                    "--id {}: this run has no such finding",
                    crate::escape::line(id)
                );
            }
        }
        Ok(())
    }
}

/// L1 requires none of the four controls, whatever a run claims.
fn requires(level: Level, verdict: &Verdict) -> bool {
    level != Level::L1
        && verdict
            .assurance_levels
            .iter()
            .any(|name| name == level.name())
}

/// A control's name also names its checks.
fn is_named(verdict: &Verdict, name: &str) -> bool {
    verdict.control_id.eq_ignore_ascii_case(name)
        || verdict
            .check_id
            .as_deref()
            .is_some_and(|check| check.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::sample;

    /// NS-01 as in the sample, and a failed NS-04, which only L3 requires.
    fn verdicts() -> Vec<Verdict> {
        let mut all = sample::report().verdicts;
        let mut traffic = sample::verdict(
            None,
            "Network traffic analysis",
            VerdictKind::Fail,
            [0, 0, 1, 0, 0],
        );
        "NS-04".clone_into(&mut traffic.control_id);
        traffic.assurance_levels = vec!["L3".to_owned()];
        all.push(traffic);
        all
    }

    fn names(level: Option<Level>, checks: &[&str]) -> Result<Vec<(String, bool)>> {
        let checks: Vec<String> = checks.iter().map(|&check| check.to_owned()).collect();
        Ok(select(verdicts(), level, &checks)?
            .into_iter()
            .map(|selected| {
                let name = selected.verdict.check_id.clone();
                let fails = selected.fails();
                (name.unwrap_or(selected.verdict.control_id), fails)
            })
            .collect())
    }

    #[test]
    fn without_a_selection_everything_counts() {
        let all = names(None, &[]).expect("something to audit");
        assert_eq!(all.len(), verdicts().len());
        assert!(all.contains(&("NS-04".to_owned(), true)));
    }

    #[test]
    fn l2_lists_ns_04_without_failing_on_it() {
        let all = names(Some(Level::L2), &[]).expect("something to audit");
        assert!(all.contains(&("NS-01".to_owned(), true)));
        assert!(all.contains(&("NS-04".to_owned(), false)));
        assert!(
            names(Some(Level::L3), &[])
                .expect("something")
                .contains(&("NS-04".to_owned(), true))
        );
    }

    #[test]
    fn l1_says_that_it_requires_nothing() {
        let error = names(Some(Level::L1), &[])
            .expect_err("must not pass")
            .to_string();
        assert!(
            error.contains("L1 does not require any of NS-01, NS-04")
                && error.contains("--level L2 or --level L3"),
            "{error}"
        );
    }

    #[test]
    fn what_a_level_does_not_require_is_named() {
        let error = names(Some(Level::L2), &["NS-04"])
            .expect_err("must not pass")
            .to_string();
        assert_eq!(
            error,
            "assurance level L2 does not require NS-04, so there is nothing that could pass or fail: \
             ask for --level L3, or leave --level out"
        );
    }

    #[test]
    fn a_control_brings_its_checks_and_a_check_stands_alone() {
        assert_eq!(
            names(None, &["ns-01"]).expect("known").len(),
            sample::report().verdicts.len()
        );
        assert_eq!(
            names(None, &["NS-01.tls_version"]).expect("known"),
            [("NS-01.tls_version".to_owned(), true)]
        );
    }

    #[test]
    fn an_unknown_name_is_refused() {
        let error = names(None, &["NS-99"]).expect_err("unknown").to_string();
        assert!(
            error.contains("NS-99") && error.ends_with("it has NS-01, NS-04"),
            "{error}"
        );
        let error = names(None, &["ns-01.tls_versoin"])
            .expect_err("unknown")
            .to_string();
        assert!(error.contains("\n  NS-01.tls_version"), "{error}");
    }

    #[test]
    fn what_rules_found_can_be_asked_for() {
        let mut findings = sample::report().findings;
        findings[0].check_id = "RULE.alpn";
        let asked = |name: &str| refuse_unfindable(&verdicts(), &findings, &[name.to_owned()]);
        for name in ["RULE", "rule", "RULE.alpn", "rule.ALPN", "NS-01"] {
            assert!(asked(name).is_ok(), "{name}");
        }
        for (name, word) in [
            ("RULE.none", "found anything"),
            ("RULES", "no such control"),
            ("NS-99", "no such control"),
        ] {
            let error = asked(name).expect_err("unknown").to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[track_caller]
    fn lists(wanted: &Wanted, checks: &[&str]) {
        let report = sample::report();
        let listed: Vec<&str> = report
            .findings
            .iter()
            .filter(|finding| wanted.takes(finding))
            .map(|finding| finding.check_id)
            .collect();
        assert_eq!(listed, checks, "{wanted:?}");
    }

    #[test]
    fn findings_are_chosen_by_all_that_is_given() {
        let report = sample::report();
        let open = report.findings.iter().filter(|finding| finding.is_open());
        let all: Vec<&str> = open.map(|finding| finding.check_id).collect();
        lists(&Wanted::default(), &all);
        let named = |name: &str| Wanted {
            checks: vec![name.to_owned()],
            ..Wanted::default()
        };
        lists(&named("ns-01.TLS_version"), &["NS-01.tls_version"; 2]);
        lists(&named("NS-04"), &[]);
        lists(
            &Wanted {
                severity: Some(Severity::High),
                ..named("NS-01")
            },
            &["NS-01.plaintext", "NS-01.tls_version", "NS-01.tls_version"],
        );
        lists(
            &Wanted {
                host: Some("Files.example.org".to_owned()),
                ..Wanted::default()
            },
            &["NS-01.plaintext"],
        );
        let first = report.findings.first().expect("a finding");
        let by_id = Wanted {
            ids: vec![first.finding_id.to_lowercase()],
            ..Wanted::default()
        };
        lists(&by_id, &[first.check_id]);
        assert!(by_id.refuse_unknown_ids(&report.findings).is_ok());
        let slip = Wanted {
            ids: vec!["F-NOSUCHTHING1".to_owned()],
            ..Wanted::default()
        };
        assert!(slip.refuse_unknown_ids(&report.findings).is_err());
    }
}
