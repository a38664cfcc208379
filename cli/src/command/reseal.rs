//! `reseal`: a second seal, under a new key, for a run that is intact.

use super::audit::intact;
use crate::Outcome;
use crate::args::Reseal;
use crate::escape;
use crate::sandbox;
use crate::screen;
use crate::secret::{EnvironmentKey, keys_at_hand, sealing_key};
use anyhow::{Result, bail};
use nsforensics_engine::seal;
use std::time::SystemTime;

pub fn run(arguments: &Reseal, environment_key: &EnvironmentKey) -> Result<Outcome> {
    if arguments.key_file.is_none() && arguments.old_key_files.is_empty() {
        bail!(
            "two keys are needed: give the new one with --key-file, the old one with --old-key-file"
        );
    }
    let new_key = sealing_key(arguments.key_file.as_deref(), environment_key)?;
    let keys = keys_at_hand(&arguments.old_key_files, environment_key)?;
    // The seal is prepared beside the run, so that it appears whole.
    let run = std::slice::from_ref(&arguments.run);
    let folders = sandbox::run_folders(run);
    let parents: Vec<_> = folders
        .iter()
        .filter_map(|folder| folder.canonicalize().ok()?.parent().map(ToOwned::to_owned))
        .collect();
    sandbox::enter(&arguments.safety, &folders, &parents);
    if intact(&arguments.run, &keys)?.is_none() {
        return Ok(Outcome::Found);
    }
    let file = seal::reseal(&arguments.run, &keys, &new_key, SystemTime::now())?;
    screen::print(&format!(
        "{}: sealed again under key id {}; the old seal stays valid\n",
        escape::line(&file.to_string_lossy()),
        new_key.id()
    ))?;
    Ok(Outcome::Clean)
}
