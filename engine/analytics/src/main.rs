//! `nsforensics-sql`: answers queries over tables, asked through a pipe by
//! `nsforensics`, which verifies the tables before it asks.

use std::io::{BufWriter, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let input = std::io::stdin();
    if std::env::args_os().len() > 1 || input.is_terminal() {
        eprintln!(
            "nsforensics-sql {} answers the queries of `nsforensics analyze --rules`; it takes no arguments",
            env!("CARGO_PKG_VERSION")
        );
        return ExitCode::from(2);
    }
    let mut out = BufWriter::new(std::io::stdout().lock());
    let scratch = std::env::var_os("SQLITE_TMPDIR").map_or_else(std::env::temp_dir, PathBuf::from);
    match nsforensics_analytics::pipe::serve(&mut input.lock(), &mut out, &scratch) {
        Ok(()) => ExitCode::SUCCESS,
        // A closed pipe is quiet.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nsforensics-sql: {error}");
            ExitCode::from(2)
        }
    }
}
