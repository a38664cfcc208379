//! What `verify` prints, and what `audit` and `reseal` say of a broken seal.

use super::json::{TOOL, Tool};
use super::labelled;
use crate::escape;
use crate::screen::{self, Screen, Tone};
use nsforensics_engine::seal::{Problem, Trouble, VerifyReport};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// What became of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// A seal holds and nothing contradicts it.
    Intact,
    /// Something is not as it was sealed.
    Broken,
    /// It could not be checked: no key for it, or no such run.
    Unchecked,
}

impl State {
    /// Of what the engine found.
    pub fn of(report: &VerifyReport) -> Self {
        if report.is_intact() {
            Self::Intact
        } else if report.only_lacks_key() {
            Self::Unchecked
        } else {
            Self::Broken
        }
    }

    const fn word(self) -> (&'static str, Tone) {
        match self {
            Self::Intact => ("INTACT", Tone::Good),
            Self::Broken => ("BROKEN", Tone::Bad),
            Self::Unchecked => ("UNCHECKED", Tone::Unknown),
        }
    }
}

/// One run as it was named, and what came of it.
#[derive(Debug)]
pub struct Checked {
    /// As given.
    pub path: PathBuf,
    /// What was found, or why nothing could be.
    pub result: Result<VerifyReport, String>,
}

impl Checked {
    /// What became of it.
    pub fn state(&self) -> State {
        self.result.as_ref().map_or(State::Unchecked, State::of)
    }
}

/// The worst over all runs: one broken seal outweighs what could not be checked.
pub fn overall(runs: &[Checked]) -> State {
    let any = |state| runs.iter().any(|run| run.state() == state);
    if any(State::Broken) {
        State::Broken
    } else if any(State::Unchecked) {
        State::Unchecked
    } else {
        State::Intact
    }
}

/// For people; with `quiet` only what is not intact.
pub fn text(runs: &[Checked], quiet: bool, screen: &Screen) -> String {
    let mut out = String::new();
    for run in runs
        .iter()
        .filter(|run| !quiet || run.state() != State::Intact)
    {
        let (word, tone) = run.state().word();
        let name = escape::line(&run.path.to_string_lossy());
        out.push_str(&format!(
            "{}  {}\n",
            screen.paint(tone, &screen::pad(word, 9)),
            name
        ));
        for line in details(&run.result) {
            labelled(&mut out, screen, "", 7, &line);
        }
    }
    out
}

/// Everything there is to say about a run, a line each.
fn details(result: &Result<VerifyReport, String>) -> Vec<String> {
    let report = match result {
        Err(why) => return vec![escape::block(why).replace('\n', " ")],
        Ok(report) => report,
    };
    let mut lines: Vec<String> = report.problems.iter().map(problem).collect();
    for seal in &report.seals {
        let held = if seal.verified {
            "holds"
        } else {
            "was not confirmed"
        };
        lines.push(format!(
            "the seal of {} under key id {} {held}",
            escape::line(&seal.file),
            escape::line(&seal.key_id)
        ));
    }
    lines.push(format!(
        "{} checked, {}",
        screen::counted(report.files as u64, "file", "files"),
        screen::bytes(report.bytes)
    ));
    lines.extend(report.notes.iter().map(|note| escape::line(note)));
    lines
}

/// `flows.parquet was changed; in row group 3`.
pub fn problem(problem: &Problem) -> String {
    format!(
        "{} {}",
        escape::line(&problem.file),
        escape::line(&problem.trouble.to_string())
    )
}

#[derive(Debug, Serialize)]
struct VerifyDocument<'a> {
    schema: &'static str,
    tool: Tool,
    result: State,
    runs: Vec<RunView<'a>>,
}

#[derive(Debug, Serialize)]
struct RunView<'a> {
    path: String,
    state: State,
    run_id: Option<&'a str>,
    seals: Vec<SealView<'a>>,
    files: Option<usize>,
    bytes: Option<u64>,
    problems: Vec<ProblemView<'a>>,
    notes: &'a [String],
    error: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct SealView<'a> {
    file: &'a str,
    key_id: &'a str,
    verified: bool,
}

#[derive(Debug, Serialize)]
struct ProblemView<'a> {
    file: &'a str,
    kind: &'static str,
    message: String,
    row_groups: &'a [usize],
}

/// For programs.
pub fn json(runs: &[Checked]) -> anyhow::Result<String> {
    super::json::document(&VerifyDocument {
        schema: "nsforensics.verify/1",
        tool: TOOL,
        result: overall(runs),
        runs: runs.iter().map(run_view).collect(),
    })
}

fn run_view(run: &Checked) -> RunView<'_> {
    let report = run.result.as_ref().ok();
    RunView {
        path: path_text(&run.path),
        state: run.state(),
        run_id: report.and_then(|report| report.run_id.as_deref()),
        seals: report
            .into_iter()
            .flat_map(|report| &report.seals)
            .map(|seal| SealView {
                file: &seal.file,
                key_id: &seal.key_id,
                verified: seal.verified,
            })
            .collect(),
        files: report.map(|report| report.files),
        bytes: report.map(|report| report.bytes),
        problems: report
            .into_iter()
            .flat_map(|report| &report.problems)
            .map(|problem| ProblemView {
                file: &problem.file,
                kind: kind(&problem.trouble),
                message: problem.trouble.to_string(),
                row_groups: match &problem.trouble {
                    Trouble::Changed { row_groups, .. } => row_groups,
                    _ => &[],
                },
            })
            .collect(),
        notes: report
            .map(|report| report.notes.as_slice())
            .unwrap_or_default(),
        error: run.result.as_ref().err().map(String::as_str),
    }
}

fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Stable names of what can be wrong.
fn kind(trouble: &Trouble) -> &'static str {
    match trouble {
        Trouble::Missing => "missing",
        Trouble::Added => "added",
        Trouble::NotAFile => "not_a_file",
        Trouble::Unreadable(_) => "unreadable",
        Trouble::Changed { .. } => "changed",
        Trouble::NotAManifest(_) => "not_a_manifest",
        Trouble::BadSeal => "bad_seal",
        Trouble::UnknownKey(_) => "unknown_key",
        Trouble::OtherRun(_) => "other_run",
        Trouble::SealsDisagree => "seals_disagree",
        Trouble::BrokenJournal(_) => "broken_journal",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nsforensics_engine::seal::SealSeen;

    fn report(problems: Vec<Problem>, verified: bool) -> VerifyReport {
        VerifyReport {
            folder: "/evidence/out/20260101T120000Z-7f3a91".into(),
            run_id: verified.then(|| "20260101T120000Z-7f3a91".to_owned()),
            seals: vec![SealSeen {
                file: "manifest.json".to_owned(),
                key_id: "0123456789abcdef".to_owned(),
                verified,
            }],
            files: 11,
            bytes: 1_234_567,
            problems,
            notes: vec![],
        }
    }

    fn wrong(file: &str, trouble: Trouble) -> Problem {
        Problem {
            file: file.to_owned(),
            trouble,
        }
    }

    fn runs() -> Vec<Checked> {
        let changed = Trouble::Changed {
            row_groups: vec![0, 3],
            outside: true,
            bytes: None,
        };
        [
            ("out/good", Ok(report(vec![], true))),
            (
                "out/bad",
                Ok(report(
                    vec![
                        wrong("flows.parquet", changed),
                        wrong("x\x1b[2J", Trouble::Added),
                        wrong("verdicts.parquet", Trouble::Missing),
                    ],
                    true,
                )),
            ),
            (
                "out/foreign",
                Ok(report(
                    vec![wrong(
                        "manifest.json",
                        Trouble::UnknownKey("0123456789abcdef".to_owned()),
                    )],
                    false,
                )),
            ),
            (
                "out/none",
                Err(
                    "out/none: cannot open the run: No such file or directory (os error 2)"
                        .to_owned(),
                ),
            ),
        ]
        .map(|(path, result)| Checked {
            path: path.into(),
            result,
        })
        .into()
    }

    #[test]
    fn seals_for_people() {
        let text = text(&runs(), false, &Screen::plain(100));
        assert!(!text.contains('\x1b'));
        insta::assert_snapshot!(text);
    }

    #[test]
    fn quiet_names_only_what_is_not_intact() {
        let text = text(&runs(), true, &Screen::plain(100));
        assert!(!text.contains("out/good") && text.contains("out/bad"));
    }

    #[test]
    fn seals_for_programs() {
        insta::assert_snapshot!(json(&runs()).expect("serialises"));
    }

    #[test]
    fn a_broken_seal_outweighs_a_missing_key() {
        let mut runs = runs();
        assert_eq!(overall(&runs), State::Broken);
        runs.remove(1);
        assert_eq!(overall(&runs), State::Unchecked);
        runs.truncate(1);
        assert_eq!(overall(&runs), State::Intact);
    }
}
