//! `key new` and `key id`.

use crate::Outcome;
use crate::args::Key;
use crate::escape;
use crate::screen;
use crate::secret::{EnvironmentKey, key_from_file, sealing_key, write_new_key};
use anyhow::Result;

pub fn run(arguments: Key, environment_key: &EnvironmentKey) -> Result<Outcome> {
    match arguments {
        Key::New { file } => {
            let key = write_new_key(&file)?;
            screen::print(&format!(
                "{}: new key, id {}\nKeep it: what it seals can be verified with it alone. Use it with\n  \
                 nsforensics analyze CAPTURE --key-file {}\n",
                escape::line(&file.to_string_lossy()),
                key.id(),
                crate::render::shell_word(&file),
            ))?;
        }
        Key::Id { file } => {
            let key = match file {
                Some(file) => key_from_file(&file, environment_key)?,
                None => sealing_key(None, environment_key)?,
            };
            screen::print(&format!("{}\n", key.id()))?;
        }
    }
    Ok(Outcome::Clean)
}
