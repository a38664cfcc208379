//! `nsforensics-sql`: answers queries over tables, asked through a pipe by
//! `nsforensics`, which verifies the tables before it asks.

use nsforensics_analytics::{pipe, watch};
use std::fs::File;
use std::io::{BufWriter, ErrorKind, IsTerminal as _, Result};
use std::os::fd::AsFd as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let is_watched = arguments == [watch::ANSWER];
    if !(is_watched || arguments.is_empty()) || std::io::stdin().is_terminal() {
        eprintln!(
            "nsforensics-sql {} answers the queries of `nsforensics analyze --rules`; it takes no arguments",
            env!("CARGO_PKG_VERSION")
        );
        return ExitCode::from(2);
    }
    match serve(is_watched) {
        Ok(()) => ExitCode::SUCCESS,
        // A closed pipe is quiet.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nsforensics-sql: {error}");
            ExitCode::from(2)
        }
    }
}

fn serve(is_watched: bool) -> Result<()> {
    // The standard library's own would read ahead of whoever waits for it.
    let input = File::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    let mut out = BufWriter::new(std::io::stdout().lock());
    if is_watched {
        pipe::serve(input, &mut out)
    } else {
        watch::serve(input, &mut out)
    }
}
