//! `policy init`, `check` and `show`, and the policy that `analyze` judges by.

use crate::Outcome;
use crate::args::Policy as Arguments;
use crate::escape;
use crate::logs;
use crate::render::shell_word;
use crate::screen;
use anyhow::{Context as _, Result, bail};
use nsforensics_engine::control::suites::unmatched;
use nsforensics_engine::policy::{EXAMPLE, Policy, line_of_item};
use std::io::{Read as _, Write as _};
use std::path::Path;

/// Longest policy that is read; beyond this it is some other file.
const LONGEST_POLICY: u64 = 1 << 20;

pub fn run(arguments: Arguments) -> Result<Outcome> {
    match arguments {
        Arguments::Init { file } => init(&file)?,
        Arguments::Check { file } => {
            let (_, warnings) = read(&file)?;
            warnings.iter().for_each(|warning| logs::warn(warning));
            let number = warnings.len() as u64;
            let but = match number {
                0 => String::new(),
                _ => format!(", with {}", screen::counted(number, "warning", "warnings")),
            };
            screen::print(&format!("{}: usable{but}\n", name(&file)))?;
        }
        Arguments::Show { file } => {
            screen::print(&escape::block(&load(file.as_deref())?.to_yaml()))?
        }
    }
    Ok(Outcome::Clean)
}

/// The policy of a file, or the built-in one; warnings go to the log.
pub fn load(file: Option<&Path>) -> Result<Policy> {
    let Some(file) = file else {
        return Ok(Policy::built_in());
    };
    let (policy, warnings) = read(file)?;
    warnings.iter().for_each(|warning| logs::warn(warning));
    Ok(policy)
}

/// The policy of a file, and what in it has no effect.
///
/// # Errors
///
/// When it cannot be read, or names a cipher suite that there is not: a
/// misspelt name must not pass for a suite that nobody uses.
fn read(file: &Path) -> Result<(Policy, Vec<String>)> {
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
    let policy = Policy::from_yaml(&text, &name(file))?;
    let mut warnings = Vec::new();
    for one in unmatched(&policy) {
        let line = line_of_item(&text, one.key, one.pattern);
        let place = format!("{}:{line}: policy: {}", name(file), one.key);
        if one.is_name {
            let nearest = one.nearest.map_or_else(String::new, |nearest| {
                format!("; did you mean `{nearest}`?")
            });
            bail!(
                "{place}: `{}` is no known cipher suite{nearest}",
                one.pattern
            );
        }
        warnings.push(format!(
            "{place}: `{}` fits no known cipher suite",
            one.pattern
        ));
    }
    Ok((policy, warnings))
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
