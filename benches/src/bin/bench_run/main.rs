//! `bench-run`: `nsforensics analyze` beside a hash, a plain read and a walk over the record
//! headers, in turns over the same generated captures. README.md says how to read the result.

mod process;
mod report;

use std::fs::{self, File};
use std::io::{self, BufWriter, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use nsforensics_bench::tls::roots;
use nsforensics_bench::traffic::{Kind, generate};
use process::measure;
use report::{ANALYZE, CAT, Case, NO_HASH, NO_NS02, ONE_THREAD, OPENSSL, TWO_THREADS};

const USAGE: &str = "\
usage: bench-run [--bin NSFORENSICS] [--dir DIR] [--rounds N] [--mb-scale X] [--peers]
  --bin       the program under test [default: nsforensics beside this one]
  --dir       where the captures are made and kept [default: nsforensics-bench in the temporary folder]
  --rounds    how often each program runs [default: 5]
  --mb-scale  makes the captures larger or smaller [default: 1]
  --peers     runs tshark and ndpiReader too, where they are installed";

/// Seals the runs of the benchmark, which nobody keeps.
const TEST_KEY: &str = "benchmark only, 32 bytes or more of it";
/// Bytes the walk reads at a time.
const BLOCK: usize = 1 << 20;
/// Where the programs run: what they are given beside the capture lies there.
const TRUSTED: &str = "roots.pem";
/// The policy of [`NO_NS02`].
const WITHOUT_NS02: (&str, &str) = (
    "without-ns02.yaml",
    "network: {certificates: {validation: {enabled: false}}}\n",
);
/// The hidden command under which this program walks a capture.
const WALK: &str = "walk";
/// As the tables name it.
const WALK_NAME: &str = "record headers only";

struct Options {
    program: PathBuf,
    folder: PathBuf,
    rounds: usize,
    scale: f64,
    with_peers: bool,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.as_slice() {
        [command, path] if command == WALK => {
            walk(Path::new(path)).map(|packets| println!("{packets}"))
        }
        _ => options(&arguments).and_then(|options| run(&options)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-run: {error}");
            ExitCode::from(2)
        }
    }
}

fn options(arguments: &[String]) -> Result<Options, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut options = Options {
        program: own.with_file_name("nsforensics"),
        folder: std::env::temp_dir().join("nsforensics-bench"),
        rounds: 5,
        scale: 1.0,
        with_peers: false,
    };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if argument == "--peers" {
            options.with_peers = true;
            continue;
        }
        let value = arguments.next().ok_or(USAGE)?;
        match argument.as_str() {
            "--bin" => options.program = value.into(),
            "--dir" => options.folder = value.into(),
            "--rounds" => options.rounds = value.parse().map_err(|_| USAGE)?,
            "--mb-scale" => options.scale = value.parse().map_err(|_| USAGE)?,
            _ => return Err(USAGE.to_owned()),
        }
    }
    let is_scale_valid = options.scale.is_finite() && options.scale > 0.0;
    if !is_scale_valid || options.rounds == 0 {
        return Err(USAGE.to_owned());
    }
    // A name without a folder would be looked for along PATH.
    options.program = fs::canonicalize(&options.program)
        .map_err(|error| format!("{}: {error}; --bin names it", options.program.display()))?;
    Ok(options)
}

fn run(options: &Options) -> Result<(), String> {
    let say = |error: io::Error| format!("{}: {error}", options.folder.display());
    fs::create_dir_all(&options.folder).map_err(say)?;
    let folder = fs::canonicalize(&options.folder).map_err(say)?;
    let scratch = folder.join(format!("scratch-{}", std::process::id()));
    fs::create_dir(&scratch).map_err(say)?;
    fs::write(scratch.join(TRUSTED), pem(&roots())).map_err(say)?;
    fs::write(scratch.join(WITHOUT_NS02.0), WITHOUT_NS02.1).map_err(say)?;
    let result = measure_all(options, &scratch);
    fs::remove_dir_all(&scratch).map_err(say)?;
    let cases = result?;
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!(
        "{} rounds on {cores} cores, page cache warm; medians, ratios taken within each round.\n",
        options.rounds
    );
    println!("{}", report::measurements(&cases));
    print!("{}", report::targets(&cases));
    Ok(())
}

/// A capture, and what runs over it.
struct Plan {
    name: &'static str,
    kind: Kind,
    /// How many times its usual size.
    times: u64,
    programs: &'static [&'static str],
    /// Given to each `analyze`.
    arguments: &'static [&'static str],
}

/// As a user has it whose servers' certificates are good, and as it is where all of
/// them are not: every connection is then a finding or several.
const TRUSTING: &[&str] = &["--trust-store", TRUSTED];
const BOTH: &[&str] = &[ANALYZE, NO_HASH];

const PLANS: &[Plan] = &[
    Plan {
        name: "bulk",
        kind: Kind::Bulk,
        times: 1,
        programs: BOTH,
        arguments: TRUSTING,
    },
    Plan {
        name: "https",
        kind: Kind::Https,
        times: 1,
        programs: &[ANALYZE, NO_HASH, ONE_THREAD, TWO_THREADS, NO_NS02],
        arguments: TRUSTING,
    },
    Plan {
        name: "https-x3",
        kind: Kind::Https,
        times: 3,
        programs: &[ANALYZE],
        arguments: TRUSTING,
    },
    Plan {
        name: "https-untrusted",
        kind: Kind::Https,
        times: 1,
        programs: BOTH,
        arguments: &[],
    },
    Plan {
        name: "small",
        kind: Kind::Small,
        times: 1,
        programs: BOTH,
        arguments: &[],
    },
    Plan {
        name: "http",
        kind: Kind::Http,
        times: 1,
        programs: BOTH,
        arguments: &[],
    },
    Plan {
        name: "http-bulk",
        kind: Kind::HttpBulk,
        times: 1,
        programs: BOTH,
        arguments: &[],
    },
];

fn measure_all(options: &Options, scratch: &Path) -> Result<Vec<Case>, String> {
    let mut cases = Vec::new();
    for plan in PLANS {
        let mut programs = plan.programs.to_vec();
        programs.extend([OPENSSL, CAT, WALK_NAME]);
        if options.with_peers {
            let installed = |program: &&'static str| is_installed(program);
            programs.extend(["tshark", "ndpiReader"].into_iter().filter(installed));
        }
        let mb = (plan.kind.default_mb() as f64 * options.scale).ceil() as u64 * plan.times;
        let folder = fs::canonicalize(&options.folder)
            .map_err(|error| format!("{}: {error}", options.folder.display()))?;
        let capture = folder.join(format!("{}-{mb}.pcap", plan.kind));
        make(plan.kind, mb, &capture)?;
        cases.push(measure_case(options, scratch, plan, &capture, &programs)?);
    }
    Ok(cases)
}

/// Certificates as PEM.
fn pem(certificates: &[&[u8]]) -> String {
    let one = |der: &&[u8]| {
        let text = BASE64_STANDARD.encode(der);
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    };
    certificates.iter().map(one).collect()
}

/// Runs the programs over one capture, in turns.
fn measure_case(
    options: &Options,
    scratch: &Path,
    plan: &Plan,
    capture: &Path,
    programs: &[&'static str],
) -> Result<Case, String> {
    let mut case = Case {
        name: plan.name,
        bytes: warm(capture).map_err(|error| format!("{}: {error}", capture.display()))?,
        packets: walk(capture)?,
        programs: programs.iter().map(|name| (*name, Vec::new())).collect(),
    };
    for round in 1..=options.rounds {
        eprintln!(
            "bench-run: {}, round {round} of {}",
            plan.name, options.rounds
        );
        for (program, runs) in &mut case.programs {
            let out = scratch.join("out");
            let command = command(program, options, plan, capture, &out)?;
            let measured = measure(command, &scratch.join("errors"))?;
            runs.push(measured);
            if out.exists() {
                fs::remove_dir_all(&out).map_err(|error| format!("{}: {error}", out.display()))?;
            }
        }
    }
    Ok(case)
}

fn command(
    program: &str,
    options: &Options,
    plan: &Plan,
    capture: &Path,
    out: &Path,
) -> Result<Command, String> {
    if let Some(more) = program.strip_prefix(ANALYZE) {
        let mut command = Command::new(&options.program);
        command.env("SECRET_KEY", TEST_KEY);
        command.args(["analyze", "--quiet", "--out"]).arg(out);
        command.args(plan.arguments);
        command.args(more.split_whitespace()).arg(capture);
        command.current_dir(out.parent().unwrap_or(out));
        return Ok(command);
    }
    let mut command = if program == WALK_NAME {
        let own = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new(own);
        command.arg(WALK);
        command
    } else {
        let mut words = program.split_whitespace();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        match program {
            "tshark" => command.args([
                "-n",
                "-Y",
                "tls.handshake",
                "-T",
                "fields",
                "-e",
                "tls.handshake.type",
                "-e",
                "tls.handshake.extensions_server_name",
                "-e",
                "tls.handshake.ciphersuite",
                "-r",
            ]),
            "ndpiReader" => command.args(["-q", "-i"]),
            _ => &mut command,
        };
        command
    };
    command.arg(capture);
    Ok(command)
}

/// Writes the capture unless a run before has left it.
fn make(kind: Kind, mb: u64, path: &Path) -> Result<(), String> {
    if path.exists() {
        return Ok(());
    }
    eprintln!("bench-run: writing {}", path.display());
    let say = |error: io::Error| format!("{}: {error}", path.display());
    // Under its own name only when whole.
    let part = path.with_extension("part");
    let output = BufWriter::with_capacity(BLOCK, File::create(&part).map_err(say)?);
    generate(kind, mb.saturating_mul(1_000_000), output).map_err(say)?;
    fs::rename(&part, path).map_err(say)
}

/// Drops the file from the page cache and reads it once, so that every run of the benchmark meets
/// it in the same state: read-ahead's large folios, not the small ones of writing. Returns its size.
fn warm(path: &Path) -> io::Result<u64> {
    let mut file = File::open(path)?;
    // Pages that are not on the disk yet cannot be dropped.
    file.sync_all()?;
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    let mut block = vec![0; 8 * BLOCK];
    let mut bytes = 0;
    loop {
        match file.read(&mut block)? {
            0 => return Ok(bytes),
            length => bytes += length as u64,
        }
    }
}

/// Reads a capture that `make` wrote, header after header: the least that any reader must do.
/// Returns the number of packets.
fn walk(path: &Path) -> Result<u64, String> {
    let say = |error: io::Error| format!("{}: {error}", path.display());
    let mut file = File::open(path).map_err(say)?;
    let mut block = vec![0; BLOCK];
    // `at`: where the next record begins, from the block's start.
    let (mut at, mut filled, mut packets) = (24, 0, 0);
    loop {
        let length = file.read(&mut block[filled..]).map_err(say)?;
        if length == 0 {
            return Ok(packets);
        }
        filled += length;
        while let Some(header) = block[..filled].get(at..at + 16) {
            let captured = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
            at += 16 + captured as usize;
            packets += 1;
        }
        let rest = at.min(filled);
        block.copy_within(rest..filled, 0);
        filled -= rest;
        at -= rest;
    }
}

fn is_installed(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_walk_counts_the_packets_written() {
        let path = std::env::temp_dir().join(format!("bench-walk-{}.pcap", std::process::id()));
        for kind in Kind::ALL {
            let written = generate(kind, 4_000_000, File::create(&path).unwrap()).unwrap();
            assert_eq!(walk(&path).unwrap(), written.packets, "{kind}");
            assert_eq!(warm(&path).unwrap(), written.bytes, "{kind}");
        }
        fs::remove_file(path).unwrap();
    }
}
