//! The command line of nsforensics: arguments in, the engine's answers out.
//!
//! Reading order: `args` (what can be asked), `command` (what is done), `render`
//! (how it is said). Exit codes are those of the controls: 0 done, 1 done and
//! what was asked not to be is there, 2 it could not be done; 130 and 143 when
//! a signal ended it.

mod alert;
mod args;
mod command;
mod escape;
mod interrupt;
mod logs;
mod progress;
mod render;
mod rules;
mod sandbox;
mod screen;
mod secret;
mod selection;
mod version;

/// Flows and rows are many small allocations from several threads; measured on
/// captures of small packets against the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use clap::Parser as _;
use logs::complain;
use secret::EnvironmentKey;
use std::process::ExitCode;

/// What a command that could be done found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Done, and nothing that was asked not to be is there.
    Clean,
    /// Done, and it is there.
    Found,
    /// A signal ended it; its exit code.
    Interrupted(u8),
}

fn main() -> ExitCode {
    // First of all, while there is one thread and nothing has been logged.
    let environment_key = EnvironmentKey::take();
    keep_secrets_out_of_core_dumps();
    keep_pages_small();
    escape_panics();

    let cli = match args::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    logs::start(&cli.common);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        command::run(cli, environment_key)
    }));
    // The hook has told what happened.
    let Ok(outcome) = outcome else {
        return ExitCode::from(2);
    };
    match outcome {
        Ok(Outcome::Clean) => ExitCode::SUCCESS,
        Ok(Outcome::Found) => ExitCode::from(1),
        Ok(Outcome::Interrupted(code)) => ExitCode::from(code),
        Err(error) => {
            complain(&told_once(&error));
            ExitCode::from(2)
        }
    }
}

/// An error and its causes, without a cause that the text before it ends in:
/// the engine's errors tell theirs themselves.
fn told_once(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// Help and version go to standard output, mistakes to standard error.
fn usage(error: &clap::Error) -> ExitCode {
    // A closed pipe is quiet.
    drop(error.print());
    if error.use_stderr() {
        ExitCode::from(2)
    } else {
        ExitCode::SUCCESS
    }
}

/// The allocator asks for pages of 2 MiB, each zeroed whole when one byte of it is
/// touched. Small pages take no more time here, and a fifth less memory.
fn keep_pages_small() {
    // Where the system refuses, it costs memory and nothing else.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

fn keep_secrets_out_of_core_dumps() {
    let none = rustix::process::Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    // Where the system refuses, the user's own limit stands.
    let _ = rustix::process::setrlimit(rustix::process::Resource::Core, none);
}

/// A defect must not be a way to the terminal for text from a capture.
fn escape_panics() {
    std::panic::set_hook(Box::new(|panic| {
        complain(&format!(
            "internal error, please report it with this line: {} {panic}",
            env!("CARGO_PKG_VERSION")
        ));
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
        let engine = nsforensics_engine::Error::io("x", "cannot open", missing);
        let told = told_once(&anyhow::Error::new(engine).context("outer"));
        assert_eq!(told, "outer: x: cannot open: entity not found");
    }
}
