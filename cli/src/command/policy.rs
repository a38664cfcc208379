//! `policy init`, `check` and `show`, and the policy that `analyze` judges by.

use crate::Outcome;
use crate::args::Policy as Arguments;
use crate::escape;
use crate::render::shell_word;
use crate::screen;
use anyhow::{Context as _, Result, bail};
use nsforensics_engine::policy::{EXAMPLE, Policy};
use std::io::{Read as _, Write as _};
use std::path::Path;

/// Longest policy that is read; beyond this it is some other file.
const LONGEST_POLICY: u64 = 1 << 20;

pub fn run(arguments: Arguments) -> Result<Outcome> {
    match arguments {
        Arguments::Init { file } => init(&file)?,
        Arguments::Check { file } => {
            load(Some(&file))?;
            screen::print(&format!("{}: usable\n", name(&file)))?;
        }
        Arguments::Show { file } => {
            screen::print(&escape::block(&load(file.as_deref())?.to_yaml()))?
        }
    }
    Ok(Outcome::Clean)
}

/// The policy of a file, or the built-in one.
pub fn load(file: Option<&Path>) -> Result<Policy> {
    let Some(file) = file else {
        return Ok(Policy::built_in());
    };
    let mut text = String::new();
    std::fs::File::open(file)
        .and_then(|opened| opened.take(LONGEST_POLICY + 1).read_to_string(&mut text))
        .with_context(|| format!("cannot read the policy {}", name(file)))?;
    if text.len() as u64 > LONGEST_POLICY {
        bail!(
            "{}: longer than {LONGEST_POLICY} bytes: not a policy",
            name(file)
        );
    }
    Ok(Policy::from_yaml(&text, &name(file))?)
}

/// How results name the policy.
pub fn label(file: Option<&Path>) -> String {
    file.map_or_else(
        || "built-in".to_owned(),
        |file| file.to_string_lossy().into_owned(),
    )
}

fn init(file: &Path) -> Result<()> {
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(file)
        .and_then(|mut made| made.write_all(EXAMPLE.as_bytes()))
        .with_context(|| format!("cannot make {} (a policy is never overwritten)", name(file)))?;
    screen::print(&format!(
        "{}: example policy, ready to edit. Use it with\n  nsforensics policy check {word}\n  \
         nsforensics analyze CAPTURE --policy {word}\n",
        name(file),
        word = shell_word(file),
    ))
}

fn name(file: &Path) -> String {
    escape::line(&file.to_string_lossy())
}
