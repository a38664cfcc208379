//! Measures the detectors of NS-04 on weeks that nobody captured: a network is
//! drawn by settings that were fixed before, things are planted in it, the
//! tables are written as a run would have written them, and every detector and
//! every yardstick says what it found.
//!
//! ```sh
//! cargo run --release -p nsforensics-tools --bin evaluate -- tools/settings/test.json FOLDER
//! cargo run --release -p nsforensics-tools --bin evaluate -- rows 10000000 FOLDER
//! ```
//!
//! The second form measures time and memory over so many flows.

mod benign;
mod intervals;
mod planted;
mod random;
mod report;
mod settings;
mod tables;
mod world;
mod yardstick;

use nsforensics_engine::behaviour::{Source, judge};
use nsforensics_engine::policy::Policy;
use settings::Settings;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;
use tables::Tables;
use world::World;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["rows", rows, folder] => rows
            .parse()
            .map_err(|_| format!("not a number of rows: {rows}"))
            .and_then(|rows| scale(rows, Path::new(folder))),
        [settings, folder] => evaluate(Path::new(settings), Path::new(folder)),
        _ => Err("usage: evaluate SETTINGS.json FOLDER | evaluate rows N FOLDER".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

/// The other reading of the literal rule for beacons.
const EXPLAINING: &str = "monitoring: {network: {patterns: {command_and_control: [\
    {pattern: periodic_beaconing, explained: suppressed}]}}}";

fn evaluate(settings: &Path, folder: &Path) -> Result<(), String> {
    let settings = Settings::read(settings)?;
    std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    let mut world = World::new(&settings, Tables::create(folder)?, true);
    benign::hosts(&mut world)?;
    benign::devices(&mut world)?;
    benign::servers(&mut world)?;
    benign::jobs(&mut world)?;
    benign::network(&mut world)?;
    planted::beacons(&mut world)?;
    planted::tunnels(&mut world)?;
    planted::bots(&mut world)?;
    planted::carriers(&mut world)?;
    benign::channels(&mut world)?;
    planted::channels(&mut world)?;
    let known = world.close()?;
    let started = Instant::now();
    let detected =
        judge(&Policy::built_in(), &[source(folder)]).map_err(|error| error.to_string())?;
    let took = started.elapsed();
    let explaining =
        Policy::from_yaml(EXPLAINING, "explaining").map_err(|error| error.to_string())?;
    let explained = judge(&explaining, &[source(folder)]).map_err(|error| error.to_string())?;
    print!(
        "{}",
        report::write(&settings, &known, &detected, &explained, took)
    );
    Ok(())
}

/// Time and memory of all detectors over so many flows.
fn scale(rows: u64, folder: &Path) -> Result<(), String> {
    std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    // A host with people, and its share of what stands around it, makes about
    // 19,900 flows in a week, by these settings.
    let hosts = u32::try_from(rows / 19_900)
        .map_err(|_| "too many rows".to_owned())?
        .max(1);
    let settings = Settings::plain(7, hosts);
    let mut world = World::new(&settings, Tables::create(folder)?, false);
    benign::hosts(&mut world)?;
    benign::devices(&mut world)?;
    benign::servers(&mut world)?;
    benign::jobs(&mut world)?;
    benign::network(&mut world)?;
    let known = world.close()?;
    let (before, _) = memory();
    // With an allowlist, so that every detector that reads flows is at work.
    let list = "monitoring: {network: {destinations: {allowlist: ['*.ossupplier.com']}}}";
    let policy = Policy::from_yaml(list, "rows").map_err(|error| error.to_string())?;
    let started = Instant::now();
    let detected = judge(&policy, &[source(folder)]).map_err(|error| error.to_string())?;
    let took = started.elapsed();
    let (_, peak) = memory();
    println!(
        "{} flows and {} questions of {hosts} hosts: {:.1} s, peak of the process {} MiB ({} MiB before)",
        known.rows.0,
        known.rows.1,
        took.as_secs_f64(),
        peak >> 10,
        before >> 10
    );
    for one in &detected {
        match &one.judgement {
            Ok(judgement) => {
                let limits = judgement.limits.join("; ");
                println!(
                    "{}\t{} findings\t{limits}",
                    one.meta.id,
                    judgement.found.len()
                );
            }
            Err(reason) => println!("{}\t{reason}", one.meta.id),
        }
    }
    Ok(())
}

fn source(folder: &Path) -> Source {
    Source {
        folder: folder.to_owned(),
        first_capture: 0,
    }
}

/// Resident memory now and at its most, KiB, as Linux counts it.
fn memory() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    (
        field("VmRSS:").unwrap_or_default(),
        field("VmHWM:").unwrap_or_default(),
    )
}
