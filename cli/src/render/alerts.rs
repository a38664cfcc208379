//! What `alerts` prints, and what `analyze` says of the alerts of its run.

use super::json::{TOOL, Tool};
use super::verify::State;
use super::{heading, labelled, shell_word};
use crate::alert::Delivered;
use crate::escape;
use crate::screen::{self, Screen};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// What became of the alerts of one run.
#[derive(Clone, Debug, Serialize)]
pub struct Told {
    /// The run's folder.
    #[serde(serialize_with = "as_text")]
    pub run: PathBuf,
    /// Its id.
    pub run_id: Option<String>,
    /// The journal.
    #[serde(serialize_with = "as_text_too")]
    pub journal: Option<PathBuf>,
    /// Alerts queued; `None` where the run has no journal.
    pub alerts: Option<u64>,
    /// By destination.
    pub destinations: Vec<Delivered>,
    /// Whether run and journal are as they were sealed, as far as was looked.
    pub state: State,
    /// Why nothing could be delivered, or read.
    pub error: Option<String>,
}

fn as_text<S: serde::Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&path.to_string_lossy())
}

fn as_text_too<S: serde::Serializer>(path: &Option<PathBuf>, to: S) -> Result<S::Ok, S::Error> {
    match path {
        Some(path) => as_text(path, to),
        None => to.serialize_none(),
    }
}

impl Told {
    /// Of a run of which nothing is known yet.
    pub fn new(run: &Path, run_id: Option<&str>) -> Self {
        Self {
            run: run.to_owned(),
            run_id: run_id.map(str::to_owned),
            journal: None,
            alerts: None,
            destinations: Vec::new(),
            state: State::Intact,
            error: None,
        }
    }

    /// Whether something is still to be delivered.
    pub fn owes(&self) -> bool {
        let by_destination = self.destinations.iter().any(|of| of.owed > 0);
        by_destination || (self.error.is_some() && self.alerts != Some(0))
    }

    /// Tells the log.
    pub fn log(&self) {
        for of in &self.destinations {
            let (destination, delivered) = (of.destination.as_str(), of.delivered);
            if of.owed > 0 {
                let reason = of.reason.as_deref().unwrap_or_default();
                tracing::warn!(
                    destination,
                    delivered,
                    owed = of.owed,
                    reason,
                    "alerts wait in the journal"
                );
            } else {
                tracing::info!(destination, delivered, "alerts delivered");
            }
        }
        if let Some(error) = &self.error {
            tracing::warn!(run = %self.run.display(), error, "alerts were not delivered");
        }
    }

    fn lines(&self) -> Vec<(String, String)> {
        let mut lines = Vec::new();
        for of in &self.destinations {
            let mut text = format!("{} delivered", screen::count(of.delivered));
            if of.owed > 0 {
                text.push_str(&format!(", {} wait in the journal", screen::count(of.owed)));
            }
            if let Some(reason) = &of.reason {
                text.push_str(&format!(": {}", escape::line(reason)));
            }
            lines.push((escape::line(&of.destination), text));
        }
        if let Some(error) = &self.error {
            lines.push((String::new(), escape::block(error).replace('\n', " ")));
        }
        lines
    }
}

/// The section of `analyze`'s summary.
pub fn section(told: &Told, key_file: Option<&Path>, screen: &Screen) -> String {
    let mut out = String::new();
    let number = told.alerts.unwrap_or_default();
    heading(
        &mut out,
        screen,
        "ALERTS",
        &screen::counted(number, "finding to tell", "findings to tell"),
    );
    for (label, text) in told.lines() {
        labelled(&mut out, screen, &label, 10, &text);
    }
    if told.owes() {
        let key = key_file.map_or(String::new(), |file| {
            format!(" --key-file {}", shell_word(file))
        });
        labelled(
            &mut out,
            screen,
            "later",
            10,
            &format!("nsforensics alerts deliver {}{key}", shell_word(&told.run)),
        );
    }
    out
}

/// For people.
pub fn text(told: &[Told], screen: &Screen) -> String {
    let mut out = String::new();
    for run in told {
        let number = match run.alerts {
            Some(number) => screen::counted(number, "alert", "alerts"),
            None if run.error.is_some() => String::new(),
            None => "nothing to tell: its policy names no destination, or nobody was to be told"
                .to_owned(),
        };
        let name = escape::line(&run.run.to_string_lossy());
        out.push_str(format!("{name}  {number}").trim_end());
        out.push('\n');
        for (label, text) in run.lines() {
            labelled(&mut out, screen, &label, 10, &text);
        }
    }
    out
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    tool: Tool,
    runs: &'a [Told],
}

/// For programs.
pub fn json(told: &[Told]) -> anyhow::Result<String> {
    super::json::document(&Document {
        schema: "nsforensics.alerts/1",
        tool: TOOL,
        runs: told,
    })
}
