//! `report`: the seal first, then what the run shows in use.

use crate::Outcome;
use crate::args::{Report as Arguments, ReportFormat};
use crate::sandbox;
use crate::screen;
use crate::secret::{EnvironmentKey, keys_at_hand};
use anyhow::Result;
use nsforensics_engine::inventory::Inventory;

pub fn run(arguments: Arguments, environment_key: &EnvironmentKey) -> Result<Outcome> {
    let keys = keys_at_hand(&arguments.keys.key_files, environment_key)?;
    let run = std::slice::from_ref(&arguments.run);
    sandbox::enter(&arguments.safety, &sandbox::run_folders(run), &[]);
    let Some(verified) = super::audit::intact(&arguments.run, &keys)? else {
        return Ok(Outcome::Found);
    };
    let inventory = Inventory::read(&verified.folder)?;
    let text = match arguments.format {
        ReportFormat::Csv => inventory.csv(),
        ReportFormat::Cyclonedx => {
            let run_id = verified.run_id.unwrap_or_default();
            inventory.cbom(&run_id, env!("CARGO_PKG_VERSION"))?
        }
    };
    screen::print(&text)?;
    Ok(Outcome::Clean)
}
