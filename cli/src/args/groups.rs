//! Sets of options that several commands take, each once.

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{Args, ValueEnum, ValueHint};
use nsforensics_engine::control::Severity;
use std::path::PathBuf;

/// What every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Display and logs")]
pub struct Common {
    /// Colours: auto (on a terminal, unless NO_COLOR is set), always, never
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        global = true,
        hide_possible_values = true
    )]
    pub color: ColorChoice,
    /// Log lines on standard error: text, or json with one object per line
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "text",
        global = true,
        hide_possible_values = true
    )]
    pub log_format: LogFormat,
    /// Least level that is logged: off, error, warn, info, debug, trace [default: warn; with json: info]
    #[arg(long, value_name = "LEVEL", global = true, hide_possible_values = true)]
    pub log_level: Option<LogLevel>,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always, also into files and pipes
    Always,
    /// Never
    Never,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One line of text per event
    Text,
    /// One JSON object per line
    Json,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Nothing
    Off,
    /// What kept something from being done
    Error,
    /// What a reader of the results must know
    Warn,
    /// Start, inputs, progress, end
    Info,
    /// What the stages decide
    Debug,
    /// Everything
    Trace,
}

/// Keys that may have sealed a run.
#[derive(Debug, Args)]
pub struct VerifyingKeys {
    /// File that holds a key; may be repeated, SECRET_KEY counts too
    #[arg(long = "key-file", value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Key")]
    pub key_files: Vec<PathBuf>,
}

/// The key that seals what a command writes.
#[derive(Debug, Args)]
pub struct SealingKey {
    /// File that holds the sealing key [default: the environment's SECRET_KEY]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Key")]
    pub key_file: Option<PathBuf>,
}

/// What the user knows to be bad.
#[derive(Debug, Args)]
pub struct Known {
    /// Indicators to look for (list, CSV, STIX 2.1, MISP); may be repeated
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Policy and indicators")]
    pub indicators: Vec<PathBuf>,
}

/// Where a new run goes, and what is said of it.
#[derive(Debug, Args)]
pub struct NewRun {
    /// Folder in which the run folder is made
    #[arg(short, long, value_name = "DIR", default_value = "nsforensics-out", value_hint = ValueHint::DirPath, help_heading = "Results")]
    pub out: PathBuf,
    /// Send no alerts, whatever the policy says
    #[arg(long, help_heading = "Results")]
    pub no_alerts: bool,
    /// How long a receiver of alerts may take to answer
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=300), help_heading = "Results")]
    pub alert_timeout: u16,
    /// Exit with 1 when there is a finding of this severity or worse
    #[arg(long, value_name = "SEVERITY", value_parser = severity(), help_heading = "Results")]
    pub fail_on: Option<Severity>,
    /// As a document or as text.
    #[command(flatten)]
    pub json: Json,
    /// Print nothing but the run folder (with --json: the document); no progress
    #[arg(short, long, help_heading = "Results")]
    pub quiet: bool,
}

/// Whether the result is printed for programs.
#[derive(Debug, Args)]
pub struct Json {
    /// Print the result as one JSON document
    #[arg(long, help_heading = "Results")]
    pub json: bool,
}

/// Rights that a command keeps.
#[derive(Debug, Args)]
pub struct Safety {
    /// Keep all rights of this user while reading hostile input, and say so in the log
    #[arg(long, help_heading = "Safety")]
    pub no_sandbox: bool,
}

/// Names of severities, as values of an option.
pub fn severity() -> impl clap::builder::TypedValueParser<Value = Severity> {
    PossibleValuesParser::new(Severity::ALL.map(Severity::name))
        .try_map(|name| Severity::from_name(&name).ok_or("not a severity"))
}
