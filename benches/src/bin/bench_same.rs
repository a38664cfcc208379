//! `bench-same [CAPTURE|KIND[=MB]]... [--analyze PROGRAM] [--dir FOLDER]`: analyses each capture
//! with 1, 2 and 8 threads, with chunks of 64 KiB, and from standard input, and compares the
//! tables byte by byte. Without captures, it makes one of each kind, `https` of 1.1 GB.
//!
//! From standard input, `captures.parquet` has another name for the file, and is left out; the
//! tests compare its rows without the name.

use std::fs::{self, File};
use std::io::{BufWriter, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use nsforensics_bench::traffic::{Kind, generate};

const USAGE: &str = "usage: bench-same [CAPTURE|KIND[=MB]]... [--analyze PROGRAM] [--dir FOLDER]\n\
                     kinds: bulk, https, small, http, http-bulk";
const USUAL: [(&str, u64); 5] = [
    ("https", 1_100),
    ("bulk", 64),
    ("small", 64),
    ("http", 64),
    ("http-bulk", 64),
];
/// Name, arguments, whether the capture comes from standard input.
const WAYS: [(&str, &[&str], bool); 6] = [
    ("1 thread", &["--threads", "1"], false),
    ("2 threads", &["--threads", "2"], false),
    ("8 threads", &["--threads", "8"], false),
    (
        "8 threads, 64 KiB",
        &["--threads", "8", "--chunk-size", "64K"],
        false,
    ),
    ("standard input", &[], true),
    ("stdin, 64 KiB", &["--chunk-size", "64K"], true),
];
/// Seals nothing of worth.
const KEY: &str = "a-key-for-the-benchmark-and-nothing-else";

struct Options {
    captures: Vec<String>,
    program: PathBuf,
    dir: PathBuf,
}

fn main() -> ExitCode {
    match options(std::env::args().skip(1)).and_then(|options| run(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench-same: {error}");
            ExitCode::from(2)
        }
    }
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let beside = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut options = Options {
        captures: Vec::new(),
        program: beside.with_file_name("nsforensics"),
        dir: std::env::temp_dir().join("nsforensics-bench"),
    };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| USAGE.to_owned());
        match argument.as_str() {
            "--analyze" => options.program = value()?.into(),
            "--dir" => options.dir = value()?.into(),
            option if option.starts_with('-') => return Err(USAGE.to_owned()),
            _ => options.captures.push(argument),
        }
    }
    if options.captures.is_empty() {
        let usual = USUAL.iter().map(|(kind, mb)| format!("{kind}={mb}"));
        options.captures = usual.collect();
    }
    Ok(options)
}

/// Whether every way gave the same tables.
fn run(options: &Options) -> Result<bool, String> {
    fs::create_dir_all(&options.dir).map_err(|error| error.to_string())?;
    let mut all_same = true;
    for wanted in &options.captures {
        let (capture, is_made) = capture(wanted, &options.dir)?;
        let bytes = fs::metadata(&capture).map_err(|error| told(&capture, &error))?;
        println!("{} ({} bytes)", capture.display(), bytes.len());
        all_same &= compare(options, &capture)?;
        if is_made {
            fs::remove_file(&capture).map_err(|error| told(&capture, &error))?;
        }
    }
    println!(
        "{}",
        if all_same {
            "all the same"
        } else {
            "NOT the same"
        }
    );
    Ok(all_same)
}

/// The capture that is meant, and whether it was made for this.
fn capture(wanted: &str, dir: &Path) -> Result<(PathBuf, bool), String> {
    let path = PathBuf::from(wanted);
    if path.is_file() {
        return Ok((path, false));
    }
    let (kind, mb) = wanted.split_once('=').unwrap_or((wanted, ""));
    let parsed: Kind = kind
        .parse()
        .map_err(|_| format!("{wanted}: neither a file nor a kind"))?;
    let mb = match mb {
        "" => parsed.default_mb(),
        mb => mb.parse().map_err(|_| USAGE.to_owned())?,
    };
    let path = dir.join(format!("same-{kind}.pcap"));
    let file = File::create(&path).map_err(|error| told(&path, &error))?;
    let file = BufWriter::with_capacity(1 << 20, file);
    generate(parsed, mb.saturating_mul(1_000_000), file).map_err(|error| told(&path, &error))?;
    Ok((path, true))
}

fn compare(options: &Options, capture: &Path) -> Result<bool, String> {
    let out = options.dir.join("same-out");
    let mut first: Option<PathBuf> = None;
    let mut all_same = true;
    for (name, arguments, is_stream) in WAYS {
        let begun = Instant::now();
        let folder = analyze(options, capture, &out, arguments, is_stream)?;
        let took = begun.elapsed().as_secs_f64();
        let Some(first) = &first else {
            println!(
                "  {name:<18} {took:>7.1} s  {} tables",
                tables(&folder)?.len()
            );
            first = Some(folder);
            continue;
        };
        let mut differ = Vec::new();
        for table in tables(first)? {
            if is_stream && table == "captures.parquet" {
                continue;
            }
            if !same(&first.join(&table), &folder.join(&table))? {
                differ.push(table);
            }
        }
        if tables(&folder)? != tables(first)? {
            differ.push("the list of tables".to_owned());
        }
        all_same &= differ.is_empty();
        let verdict = match differ.is_empty() {
            true => "the same bytes".to_owned(),
            false => format!("DIFFERS: {}", differ.join(", ")),
        };
        println!("  {name:<18} {took:>7.1} s  {verdict}");
    }
    fs::remove_dir_all(&out).map_err(|error| told(&out, &error))?;
    Ok(all_same)
}

/// Analyses a capture; gives the run's folder.
fn analyze(
    options: &Options,
    capture: &Path,
    out: &Path,
    arguments: &[&str],
    is_stream: bool,
) -> Result<PathBuf, String> {
    let mut command = Command::new(&options.program);
    command
        .env("SECRET_KEY", KEY)
        .args(["analyze", "--quiet", "--out"])
        .arg(out)
        .args(arguments);
    if is_stream {
        let file = File::open(capture).map_err(|error| told(capture, &error))?;
        command.arg("-").stdin(Stdio::from(file));
    } else {
        command.arg(capture);
    }
    let output = command
        .output()
        .map_err(|error| told(&options.program, &error))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{}: {said}", capture.display()));
    }
    Ok(PathBuf::from(
        String::from_utf8_lossy(&output.stdout).trim_end(),
    ))
}

/// Names of a run's tables, sorted.
fn tables(folder: &Path) -> Result<Vec<String>, String> {
    let entries = fs::read_dir(folder).map_err(|error| told(folder, &error))?;
    let mut names: Vec<String> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".parquet"))
        .collect();
    names.sort();
    Ok(names)
}

/// Whether two files hold the same bytes.
fn same(a: &Path, b: &Path) -> Result<bool, String> {
    let open = |path: &Path| File::open(path).map_err(|error| told(path, &error));
    let (mut left, mut right) = (open(a)?, open(b)?);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    loop {
        ours.clear();
        theirs.clear();
        let read = |file: &mut File, into: &mut Vec<u8>, path: &Path| {
            let taken = file.take(1 << 20).read_to_end(into);
            taken.map_err(|error| told(path, &error))
        };
        read(&mut left, &mut ours, a)?;
        read(&mut right, &mut theirs, b)?;
        if ours != theirs {
            return Ok(false);
        }
        if ours.is_empty() {
            return Ok(true);
        }
    }
}

fn told(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}
