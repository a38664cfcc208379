//! `bench-gen KIND OUT.pcap [--mb N]`: writes one capture for the benchmark.

use std::fs::File;
use std::io::BufWriter;
use std::process::ExitCode;

use nsforensics_bench::traffic::{Kind, generate};

const USAGE: &str = "usage: bench-gen bulk|https|small|http|http-bulk OUT.pcap [--mb N]";

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-gen: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: Vec<String>) -> Result<(), String> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (kind, path, mb) = match arguments[..] {
        [kind, path] => (kind, path, None),
        [kind, path, "--mb", mb] | ["--mb", mb, kind, path] => (kind, path, Some(mb)),
        _ => return Err(USAGE.to_owned()),
    };
    let kind: Kind = kind.parse()?;
    let mb = match mb {
        Some(text) => text.parse::<u64>().map_err(|_| USAGE.to_owned())?,
        None => kind.default_mb(),
    };
    let file = File::create(path).map_err(|error| format!("{path}: {error}"))?;
    let written = generate(
        kind,
        mb.saturating_mul(1_000_000),
        BufWriter::with_capacity(1 << 20, file),
    )
    .map_err(|error| format!("{path}: {error}"))?;
    println!(
        "{path}: {} bytes, {} packets, {} flows",
        written.bytes, written.packets, written.flows
    );
    Ok(())
}
