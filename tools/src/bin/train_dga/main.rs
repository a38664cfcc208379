//! Learns the tables of `rules/dga` from a list of names (`label, family,
//! domain, source`, gzip), and measures them honestly: each family by a model
//! that never saw it, benign lists by names that no table and no weight saw.
//!
//! ```sh
//! cargo run --release -p nsforensics-tools --bin train-dga -- domains_dev.tsv.gz rules/dga
//! ```
//!
//! Everything is seeded: the same list gives the same files.

mod fit;
mod lists;
mod report;

use fit::{Fitted, fit};
use lists::Lists;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [list, folder] = arguments.as_slice() else {
        eprintln!("usage: train-dga LIST.tsv.gz FOLDER");
        return ExitCode::from(2);
    };
    match train(Path::new(list), Path::new(folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn train(list: &Path, folder: &Path) -> Result<(), String> {
    let lists = Lists::read(list)?;
    let measured = report::measure(&lists)?;
    // What ships has learned from every family and, but for the fifth that
    // weights and limits need, from every benign name.
    let benign = lists.benign_parts([8, 2, 0]);
    let Fitted {
        chosen,
        drawn,
        model,
    } = fit(&benign[0], &benign[1], &lists.families(|_| true), 1)?;
    for (name, head, text) in [
        (
            "chosen.tsv",
            "Runs of letters in names that people chose, and how often they were seen.",
            chosen,
        ),
        (
            "drawn.tsv",
            "Runs of letters in names that programs drew, at most 300 names of a family.",
            drawn,
        ),
        (
            "model.tsv",
            "Weight, mean and deviation of each measure; what one name may add; sums by number of names.",
            model,
        ),
    ] {
        let text = format!("# {head}\n# Learned by train-dga; sources in README.md.\n{text}");
        write(&folder.join(name), &text)?;
    }
    print!("{measured}");
    write(&folder.join("results.txt"), &measured)
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
