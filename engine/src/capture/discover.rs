//! From what was named on the command line to captures that can be read.

use super::file::CaptureFile;
use super::view::View;
use super::{Options, pcap};
use crate::error::Error;
use crate::time::CaptureTime;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Bytes at a file's start that are looked at to tell what it is and when its
/// first packet was captured.
const PEEK: u64 = 256 << 10;

/// What the inputs hold.
#[derive(Debug, Default)]
pub struct Discovery {
    /// Captures, by the time of their first packet, then by name.
    pub files: Vec<CaptureFile>,
    /// What could not be read, and why.
    pub problems: Vec<(PathBuf, Error)>,
}

/// Finds the captures among `inputs`: files, folders (with what is in them,
/// sorted by name), `-` for standard input.
pub fn discover(inputs: &[PathBuf], options: &Options) -> Discovery {
    let mut found = Discovery::default();
    for input in inputs {
        visit(input, options, &mut found);
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

fn visit(path: &Path, options: &Options, found: &mut Discovery) {
    if path.is_dir() {
        match std::fs::read_dir(path) {
            Ok(entries) => {
                let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
                paths.sort();
                for path in paths {
                    visit(&path, options, found);
                }
            }
            Err(source) => found.problems.push((
                path.to_owned(),
                Error::io(path, "cannot list the folder", source),
            )),
        }
        return;
    }
    match open(path, options) {
        Ok(file) => found.files.push(file),
        Err(error) => found.problems.push((path.to_owned(), error)),
    }
}

fn open(path: &Path, options: &Options) -> Result<CaptureFile, Error> {
    let cannot = |source| Error::io(path, "cannot open the capture", source);
    let file = File::open(path).map_err(cannot)?;
    let size = file.metadata().map_err(cannot)?.len();
    let mut start = Vec::new();
    file.take(PEEK).read_to_end(&mut start).map_err(cannot)?;
    let not_a_capture = |reason| Error::NotACapture {
        path: path.to_owned(),
        reason,
    };
    match pcap::Header::parse(&start) {
        Some(Ok(header)) => {
            let first_ts = first_ts(&start, &header);
            Ok(CaptureFile::new_pcap(
                path.to_owned(),
                options.clone(),
                header,
                Some(size),
                first_ts,
            ))
        }
        Some(Err(reason)) => Err(not_a_capture(reason)),
        None => Err(not_a_capture("its magic number is unknown".to_owned())),
    }
}

fn first_ts(start: &[u8], header: &pcap::Header) -> Option<CaptureTime> {
    let mut first = None;
    let _ = pcap::walk(
        View::whole(start),
        header,
        header.len as u64,
        header.len as u64 + 1,
        None,
        &|| None,
        |packet| first = first.or(Some(packet.ts)),
    );
    first
}
