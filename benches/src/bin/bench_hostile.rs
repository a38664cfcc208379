//! `bench-hostile [KIND...] [--scale X] [--analyze PROGRAM] [--dir FOLDER]`: makes hostile
//! captures, analyses each, and prints wall time, CPU time and peak RssAnon beside what the
//! policy's limits allow. Sizes at scale 1: 5 million SYNs of as many sources, 2 million UDP flows
//! of one packet, a million one-byte segments backwards, a million connections that hold a
//! ClientHello and no more, two million requests pipelined in one HTTP connection, 1 GiB of zeros
//! in a gzip file.

#[allow(dead_code, reason = "shared with bench-run, which asks for all of it")]
#[path = "bench_run/process.rs"]
mod process;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use nsforensics_bench::tls::{Variant, handshake};
use nsforensics_bench::wire::{ACK, Endpoint, PcapWriter, Random, SYN, Tcp};

const USAGE: &str = "usage: bench-hostile [syn-flood|udp-flows|backwards|client-hellos|pipelined|\
                     gzip-bomb]... [--scale X] [--analyze PROGRAM] [--dir FOLDER]";
const KINDS: [&str; 6] = [
    "syn-flood",
    "udp-flows",
    "backwards",
    "client-hellos",
    "pipelined",
    "gzip-bomb",
];
/// Seals nothing of worth.
const KEY: &str = "a-key-for-the-benchmark-and-nothing-else";
/// One open flow, roughly, with its places in table and queues: what `limits.max_flows` counts.
const FLOW_BYTES: u64 = 640;

struct Options {
    kinds: Vec<String>,
    scale: f64,
    program: PathBuf,
    dir: PathBuf,
}

fn main() -> ExitCode {
    match options(std::env::args().skip(1)).and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-hostile: {error}");
            ExitCode::from(2)
        }
    }
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let beside = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut options = Options {
        kinds: Vec::new(),
        scale: 1.0,
        program: beside.with_file_name("nsforensics"),
        dir: std::env::temp_dir().join("nsforensics-bench"),
    };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| USAGE.to_owned());
        match argument.as_str() {
            "--scale" => {
                options.scale = value()?
                    .parse()
                    .ok()
                    .filter(|scale| (1e-6..=100.0).contains(scale))
                    .ok_or(USAGE)?;
            }
            "--analyze" => options.program = value()?.into(),
            "--dir" => options.dir = value()?.into(),
            kind if KINDS.contains(&kind) => options.kinds.push(argument),
            _ => return Err(USAGE.to_owned()),
        }
    }
    if options.kinds.is_empty() {
        options.kinds = KINDS.map(str::to_owned).to_vec();
    }
    Ok(options)
}

fn run(options: &Options) -> Result<(), String> {
    fs::create_dir_all(&options.dir).map_err(|error| error.to_string())?;
    let budget = budget(&options.program)?;
    println!(
        "{:<13} {:>12} {:>8} {:>8} {:>14} {:>12}",
        "kind", "file bytes", "wall s", "CPU s", "peak RssAnon", "budget"
    );
    for kind in &options.kinds {
        let path = options.dir.join(format!("hostile-{kind}.pcap"));
        make(kind, options.scale, &path).map_err(|error| format!("{}: {error}", path.display()))?;
        let bytes = fs::metadata(&path)
            .map_err(|error| error.to_string())?
            .len();
        let out = options.dir.join("hostile-out");
        let mut analyze = Command::new(&options.program);
        analyze
            .env("SECRET_KEY", KEY)
            .args(["analyze", "--quiet", "--out"])
            .args([&out, &path]);
        let took = process::measure(analyze, &options.dir.join("hostile-errors"))?;
        println!(
            "{kind:<13} {bytes:>12} {:>8.2} {:>8.2} {:>10.1} MiB {:>8} MiB",
            took.wall,
            took.cpu,
            took.rss_anon_kib as f64 / 1024.0,
            budget >> 20
        );
        for leftover in [&out, &path] {
            // Gigabytes in all: nothing is kept.
            let removed = if leftover.is_dir() {
                fs::remove_dir_all(leftover)
            } else {
                fs::remove_file(leftover)
            };
            removed.map_err(|error| format!("{}: {error}", leftover.display()))?;
        }
    }
    Ok(())
}

/// What the built-in policy lets the engine hold: flows, early segments, parsers, fragments.
fn budget(program: &Path) -> Result<u64, String> {
    let output = Command::new(program)
        .args(["policy", "show"])
        .output()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let limit = |name: &str| -> Result<u64, String> {
        text.lines()
            .filter_map(|line| line.trim().split_once(':'))
            .find(|(key, _)| *key == name)
            .and_then(|(_, value)| value.trim().parse().ok())
            .ok_or_else(|| format!("`policy show` names no {name}"))
    };
    Ok(limit("max_flows")? * FLOW_BYTES
        + limit("reassembly_total_bytes")?
        + limit("parser_total_bytes")?
        + limit("fragment_bytes")?)
}

fn make(kind: &str, scale: f64, path: &Path) -> std::io::Result<()> {
    let count = |of: u32| ((f64::from(of) * scale) as u32).max(1);
    if kind == "gzip-bomb" {
        return bomb(u64::from(count(1 << 30)), path);
    }
    let file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut pcap = PcapWriter::new(file, 1_700_000_000, 1_000_000_000)?;
    let server = |port| Endpoint {
        address: [198, 51, 100, 7],
        port,
    };
    let source = |number: u32| Endpoint {
        // Every number another address, spread as random sources are.
        address: number.wrapping_mul(0x9e37_79b1).to_be_bytes(),
        port: 1024 + (number % 60_000) as u16,
    };
    match kind {
        "syn-flood" => {
            for number in 0..count(5_000_000) {
                let syn = Tcp {
                    sequence: number,
                    acknowledged: 0,
                    flags: SYN,
                };
                pcap.tcp(source(number), server(443), syn, &[])?;
            }
        }
        "udp-flows" => {
            for number in 0..count(2_000_000) {
                pcap.udp(source(number), server(9_999), b"one packet")?;
            }
        }
        "client-hellos" => client_hellos(count(1_000_000), &mut pcap, source, server(443))?,
        "pipelined" => pipelined(count(2_000_000), &mut pcap, source(1), server(80))?,
        _ => {
            let client = source(1);
            for number in (0..count(1_000_000)).rev() {
                let one = Tcp {
                    sequence: number + 1,
                    acknowledged: 1,
                    flags: ACK,
                };
                pcap.tcp(client, server(443), one, b"x")?;
            }
        }
    }
    pcap.flush()
}

/// Connections whose server never says more than that it is there: each holds a handshake that
/// waits for the rest. Every client, and every name, is another one.
fn client_hellos<W: Write>(
    many: u32,
    pcap: &mut PcapWriter<W>,
    source: impl Fn(u32) -> Endpoint,
    server: Endpoint,
) -> std::io::Result<()> {
    let mut random = Random::new(1);
    let segment = |sequence, acknowledged, flags| Tcp {
        sequence,
        acknowledged,
        flags,
    };
    for number in 0..many {
        let client = source(number);
        let name = format!("host-{number}.example.org");
        let hello = handshake(Variant::Tls13, 0, &name, &mut random).flights;
        let hello = hello.first().map_or(&[][..], |(_, bytes)| bytes);
        pcap.tcp(client, server, segment(0, 0, SYN), &[])?;
        pcap.tcp(server, client, segment(0, 1, SYN | ACK), &[])?;
        pcap.tcp(client, server, segment(1, 1, ACK), hello)?;
    }
    Ok(())
}

/// Requests of one connection, twenty or so to a segment, and no answer to any.
fn pipelined<W: Write>(
    many: u32,
    pcap: &mut PcapWriter<W>,
    client: Endpoint,
    server: Endpoint,
) -> std::io::Result<()> {
    const SEGMENT: usize = 1_400;
    let mut next = Tcp {
        sequence: 0,
        acknowledged: 0,
        flags: SYN,
    };
    pcap.tcp(client, server, next, &[])?;
    let answer = Tcp {
        acknowledged: 1,
        flags: SYN | ACK,
        ..next
    };
    pcap.tcp(server, client, answer, &[])?;
    (next.sequence, next.acknowledged, next.flags) = (1, 1, ACK);
    let mut data = Vec::with_capacity(2 * SEGMENT);
    for number in 0..many {
        write!(
            data,
            "GET /path/{number} HTTP/1.1\r\nHost: api.example.org\r\n\r\n"
        )?;
        if data.len() >= SEGMENT || number + 1 == many {
            pcap.tcp(client, server, next, &data)?;
            next.sequence = next.sequence.wrapping_add(data.len() as u32);
            data.clear();
        }
    }
    Ok(())
}

/// A capture whose one packet is followed by zeros, compressed a thousand times.
fn bomb(zeros: u64, path: &Path) -> std::io::Result<()> {
    let mut gzip = Command::new("gzip")
        .arg("-9c")
        .stdin(Stdio::piped())
        .stdout(File::create(path)?)
        .spawn()?;
    if let Some(mut input) = gzip.stdin.take() {
        PcapWriter::new(&mut input, 1_700_000_000, 1_000_000_000)?;
        let block = [0; 1 << 16];
        for _ in 0..zeros.div_ceil(block.len() as u64) {
            input.write_all(&block)?;
        }
    }
    gzip.wait()?;
    Ok(())
}
