//! One file per command: takes its arguments, asks the engine, prints.

mod alerts;
mod analyze;
mod audit;
mod findings;
mod key;
mod policy;
mod report;
mod rescore;
mod reseal;
mod verify;

use crate::Outcome;
use crate::args::{Cli, Command};
use crate::screen::{self, Screen};
use crate::secret::EnvironmentKey;
use anyhow::{Context as _, Result, bail};
use std::path::Path;

/// Does what the command line asks.
pub fn run(cli: Cli, environment_key: EnvironmentKey) -> Result<Outcome> {
    let screen = Screen::stdout(cli.common.color);
    match cli.command {
        Command::Analyze(arguments) => analyze::run(arguments, environment_key, &screen),
        Command::Verify(arguments) => verify::run(arguments, &environment_key, &screen),
        Command::Audit(arguments) => audit::run(arguments, &environment_key, &screen),
        Command::Findings(arguments) => findings::run(arguments, &environment_key, &screen),
        Command::Report(arguments) => report::run(arguments, &environment_key),
        Command::Policy(arguments) => policy::run(arguments),
        Command::Key(arguments) => key::run(arguments, &environment_key),
        Command::Reseal(arguments) => reseal::run(&arguments, &environment_key),
        Command::Rescore(arguments) => rescore::run(arguments, environment_key, &screen),
        Command::Match(arguments) => rescore::matches(&arguments, &environment_key, &screen),
        Command::Alerts(arguments) => alerts::run(arguments, &environment_key, &screen),
        Command::Completions(arguments) => completions(arguments.shell),
    }
}

/// Makes the folder in which runs are made: it must be there before the sandbox
/// can name it.
fn make_out(out: &Path) -> Result<()> {
    let shown = crate::escape::line(&out.to_string_lossy());
    if out.exists() && !out.is_dir() {
        bail!("{shown} is no folder: --out names the folder in which run folders are made");
    }
    std::fs::create_dir_all(out).with_context(|| format!("cannot make the folder {shown}"))
}

fn completions(shell: clap_complete::Shell) -> Result<Outcome> {
    use clap::CommandFactory as _;
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "nsforensics", &mut script);
    screen::print(&String::from_utf8_lossy(&script))?;
    Ok(Outcome::Clean)
}
