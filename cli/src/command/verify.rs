//! `verify`.

use crate::Outcome;
use crate::args::Verify;
use crate::render::verify::{self, Checked, State};
use crate::sandbox;
use crate::screen::{self, Screen};
use crate::secret::{EnvironmentKey, keys_at_hand};
use anyhow::{Result, bail};
use nsforensics_engine::seal;

pub fn run(
    arguments: Verify,
    environment_key: &EnvironmentKey,
    screen: &Screen,
) -> Result<Outcome> {
    let keys = keys_at_hand(&arguments.keys.key_files, environment_key)?;
    sandbox::enter(
        &arguments.safety,
        &sandbox::run_folders(&arguments.runs),
        &[],
    );
    let runs: Vec<Checked> = arguments
        .runs
        .into_iter()
        .map(|path| Checked {
            result: seal::verify(&path, &keys).map_err(|error| error.to_string()),
            path,
        })
        .collect();
    screen::print(&if arguments.json {
        verify::json(&runs)?
    } else {
        verify::text(&runs, arguments.quiet, screen)
    })?;
    match verify::overall(&runs) {
        State::Intact => Ok(Outcome::Clean),
        State::Broken => Ok(Outcome::Found),
        State::Unchecked => {
            let unchecked: Vec<String> = runs
                .iter()
                .filter(|run| run.state() == State::Unchecked)
                .map(|run| crate::escape::line(&run.path.to_string_lossy()))
                .collect();
            bail!("could not be verified: {}", unchecked.join(", "))
        }
    }
}
