//! Which verdicts an audit asks about: by assurance level, by name.

use crate::args::Level;
use anyhow::{Result, bail};
use nsforensics_engine::finding::{Verdict, VerdictKind};

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
    let known = known_names(&verdicts);
    for name in checks {
        if !verdicts.iter().any(|verdict| is_named(verdict, name)) {
            bail!(
                "--check {name}: this run has no such control or check; it has {}",
                known.join(", ")
            );
        }
    }
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
        let names = known_names(selected.iter().map(|selected| &selected.verdict));
        bail!(
            "assurance level {} requires none of the controls asked for ({}), so there is nothing that could \
             pass or fail; ask for --level L2 or L3, or leave --level out",
            level.name(),
            names.join(", ")
        );
    }
    Ok(selected)
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

/// Controls, each once.
fn known_names<'a>(verdicts: impl IntoIterator<Item = &'a Verdict>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for verdict in verdicts {
        if !names.contains(&verdict.control_id) {
            names.push(verdict.control_id.clone());
        }
        if let Some(check) = &verdict.check_id {
            names.push(check.clone());
        }
    }
    names
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
            error.contains("L1 requires none of the controls"),
            "{error}"
        );
        assert!(names(Some(Level::L2), &["NS-04"]).is_err());
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
            error.contains("NS-99") && error.contains("NS-01.tls_version"),
            "{error}"
        );
    }
}
