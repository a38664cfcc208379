//! From what was named on the command line to captures that can be read: what
//! a file is by its magic, when its first packet was captured, and for what is
//! no capture, what it is instead and what to do.

use super::damage::Detour;
use super::file::{CaptureFile, Format, Source};
use super::pcapng;
use super::sections::Sections;
use super::stream::{self, Compression};
use super::view::View;
use super::{Options, pcap};
use crate::error::Error;
use crate::time::CaptureTime;
use std::collections::HashSet;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes at a file's start that are looked at to tell what it is and when its
/// first packet was captured: more than the longest record.
const PEEK: usize = 512 << 10;

/// What the inputs hold.
#[derive(Debug, Default)]
pub struct Discovery {
    /// Captures, by the time of their first packet, then by name; those
    /// without a packet last.
    pub files: Vec<CaptureFile>,
    /// What could not be read, and why.
    pub problems: Vec<(PathBuf, Error)>,
    /// Files that were named or found again, by whatever name: read once.
    pub repeated: Vec<PathBuf>,
    /// Device and inode of the files so far.
    seen: HashSet<(u64, u64)>,
}

/// Finds the captures among `inputs`: files, folders (with all that is in
/// them, sorted by name), `-` for standard input. Links to folders inside of a
/// folder are not followed.
pub fn discover(inputs: &[PathBuf], options: &Options) -> Discovery {
    let mut found = Discovery::default();
    for input in inputs {
        if input.is_dir() {
            visit_folder(input, options, &mut found);
        } else {
            visit(input, true, options, &mut found);
        }
    }
    found.files.sort_by(|a, b| {
        let key = |file: &CaptureFile| (file.first_ts().is_none(), file.first_ts());
        key(a).cmp(&key(b)).then_with(|| a.path().cmp(b.path()))
    });
    for (file, order) in found.files.iter_mut().zip(0..) {
        file.set_order(order);
    }
    found
}

fn visit_folder(folder: &Path, options: &Options, found: &mut Discovery) {
    // A stack instead of recursion: folders nest as deep as someone likes.
    let mut waiting = vec![folder.to_owned()];
    while let Some(path) = waiting.pop() {
        let is_folder = path == folder
            || path
                .symlink_metadata()
                .is_ok_and(|metadata| metadata.is_dir());
        if !is_folder {
            visit(&path, false, options, found);
            continue;
        }
        let listed = std::fs::read_dir(&path).and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<io::Result<Vec<_>>>()
        });
        match listed {
            Ok(mut paths) => {
                paths.sort_unstable_by(|a, b| b.cmp(a));
                waiting.append(&mut paths);
            }
            Err(source) => {
                let error = Error::io(&path, "cannot list the folder", source);
                found.problems.push((path, error));
            }
        }
    }
}

fn visit(path: &Path, named: bool, options: &Options, found: &mut Discovery) {
    // A folder and a file in it, a pattern that fits twice, a link: packets that
    // count twice look like retransmissions and double every volume.
    let metadata = path.metadata().ok().filter(Metadata::is_file);
    if let Some(metadata) = metadata
        && !found.seen.insert((metadata.dev(), metadata.ino()))
    {
        found.repeated.push(path.to_owned());
        return;
    }
    match open(path, named, options) {
        Ok(file) => found.files.push(file),
        Err(error) => found.problems.push((path.to_owned(), error)),
    }
}

fn open(path: &Path, named: bool, options: &Options) -> Result<CaptureFile, Error> {
    let cannot = |source| Error::io(path, "cannot open the capture", source);
    let not_a_capture = |reason| Error::NotACapture {
        path: path.to_owned(),
        reason,
    };
    let (reader, size): (Box<dyn Read + Send>, _) = if path.as_os_str() == "-" {
        (Box::new(io::stdin()), None)
    } else {
        // What is no regular file is opened only when it was named: opening a
        // pipe that merely lies in a folder would wait for its writer.
        let metadata = path.metadata().map_err(cannot)?;
        if !metadata.is_file() && !named {
            return Err(not_a_capture("it is no regular file".to_owned()));
        }
        let file = File::open(path).map_err(cannot)?;
        (Box::new(file), metadata.is_file().then_some(metadata.len()))
    };
    from_reader(path, reader, size, options)
}

/// Recognises what a reader gives; `size` for regular files, which are opened
/// again when it is their turn.
pub(super) fn from_reader(
    path: &Path,
    mut reader: Box<dyn Read + Send>,
    size: Option<u64>,
    options: &Options,
) -> Result<CaptureFile, Error> {
    let cannot = |source| Error::io(path, "cannot read the capture", source);
    let not_a_capture = |reason| Error::NotACapture {
        path: path.to_owned(),
        reason,
    };
    let mut stored = Vec::new();
    (&mut reader)
        .take(PEEK as u64)
        .read_to_end(&mut stored)
        .map_err(cannot)?;
    let compression = Compression::of(&stored);
    let inflated = match compression {
        Compression::None => None,
        _ => Some(stream::inflate_start(stored.clone(), compression, PEEK)),
    };
    let start = inflated.as_deref().unwrap_or(&stored);
    let (format, first_ts) = recognise(start).map_err(|reason| {
        not_a_capture(match compression {
            Compression::None => reason,
            Compression::Gzip => format!("a gzip file, but inside: {reason}"),
            Compression::Zstd => format!("a zstd file, but inside: {reason}"),
        })
    })?;
    let source = match size {
        Some(size) => Source::File { size },
        None => Source::Once(Some(Box::new(io::Cursor::new(stored).chain(reader)))),
    };
    Ok(CaptureFile::new(
        path.to_owned(),
        options.clone(),
        source,
        compression,
        format,
        first_ts,
    ))
}

/// What a capture is by its start, and when its first packet was captured.
pub(super) fn recognise(start: &[u8]) -> Result<(Format, Option<CaptureTime>), String> {
    let mut first = None;
    let view = View::whole(start);
    if let Some(header) = pcap::Header::parse(start) {
        let header = header?;
        let from = header.len as u64;
        let _ = pcap::walk(view, &header, from, from + 1, None, &|| None, |packet| {
            first = first.or(Some(packet.ts));
        });
        return Ok((Format::Pcap(Arc::new(header)), first));
    }
    if start.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]) {
        match pcapng::look(&view, 0, false) {
            Ok(pcapng::Look::Bad(reason)) => {
                return Err(format!("it begins like a pcapng, with {reason}"));
            }
            Ok(pcapng::Look::Sound(_) | pcapng::Look::TrailerDiffers(_)) => {}
            _ => {
                return Err(format!(
                    "a pcapng that ends inside its first block, after {} bytes",
                    start.len()
                ));
            }
        }
        let mut sections = Sections::default();
        let cut = sections.cut(&view, u64::MAX, 1);
        for (chunk, &section) in cut.cut.chunks.iter().zip(&cut.states) {
            let plan: &[Detour] = &chunk.plan;
            let (from, to) = (chunk.start, chunk.end);
            let walked = pcapng::walk(view, section, &cut.interfaces, from, to, plan, |_| {});
            first = first.or(walked.ts_first);
        }
        return Ok((Format::Ng, first));
    }
    Err(describe(start))
}

/// What a file is that is no capture, and what to do about it.
fn describe(start: &[u8]) -> String {
    const ACCEPTED: &str = "accepted are pcap and pcapng, also compressed with gzip or zstd";
    if start.is_empty() {
        return format!("it is empty; {ACCEPTED}");
    }
    let known = KNOWN
        .iter()
        .find(|(magic, at, _)| start.get(*at..).is_some_and(|rest| rest.starts_with(magic)))
        .map(|&(_, _, advice)| advice);
    if let Some(advice) = known {
        return advice.to_owned();
    }
    let head = start.get(..512).unwrap_or(start);
    if head
        .iter()
        .all(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0x7e | 0x80..))
    {
        let lower = head.to_ascii_lowercase();
        let word = lower.trim_ascii_start();
        let kind = if word.starts_with(b"<!doctype") || word.starts_with(b"<html") {
            "an HTML page (a download that failed?)"
        } else {
            "text"
        };
        return format!("it is {kind}; {ACCEPTED}");
    }
    let magic: Vec<String> = start
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!(
        "it begins with {}, which is no known magic; {ACCEPTED}",
        magic.join(" ")
    )
}

/// Other kinds of file: magic, where it stands, what to do.
const KNOWN: &[(&[u8], usize, &str)] = &[
    (b"PK\x03\x04", 0, "a zip archive: unpack it first (unzip)"),
    (
        b"\xfd7zXZ\0",
        0,
        "compressed with xz: decompress it first (xz -d)",
    ),
    (
        b"BZh",
        0,
        "compressed with bzip2: decompress it first (bzip2 -d)",
    ),
    (
        b"\x04\x22\x4d\x18",
        0,
        "compressed with lz4: decompress it first (lz4 -d)",
    ),
    (
        b"7z\xbc\xaf\x27\x1c",
        0,
        "a 7-Zip archive: unpack it first (7z x)",
    ),
    (b"Rar!\x1a\x07", 0, "a RAR archive: unpack it first"),
    (b"ustar", 257, "a tar archive: unpack it first (tar -x)"),
    (
        b"snoop\0\0\0",
        0,
        "a snoop capture: convert it first (editcap -F pcap)",
    ),
    (
        b"GMBU",
        0,
        "a Network Monitor capture: convert it first (editcap -F pcapng)",
    ),
    (
        b"RTSS",
        0,
        "a Network Monitor 1 capture: convert it first (editcap -F pcapng)",
    ),
    (
        b"XCP\0",
        0,
        "a NetXRay or Sniffer capture: convert it first (editcap -F pcap)",
    ),
    (
        b"TRSNIFF data",
        0,
        "a Sniffer capture: convert it first (editcap -F pcap)",
    ),
    (b"PAR1", 0, "a Parquet table, not a capture"),
    (b"\x7fELF", 0, "a program, not a capture"),
    (b"%PDF", 0, "a PDF document, not a capture"),
];
