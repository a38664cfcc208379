//! Tests over whole files: made in memory, read in every way there is.

mod build;
mod captures;
mod damaged;
mod formats;
mod streams;

use super::*;
use std::io::Write;
use std::path::PathBuf;

/// A packet, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) frame: u64,
    pub(super) ts: i64,
    pub(super) link: u16,
    pub(super) interface: u32,
    pub(super) record_offset: u64,
    pub(super) data_offset: u64,
    pub(super) wire_len: u32,
    pub(super) data: Vec<u8>,
}

fn seen(packet: &Packet<'_>, before: u64) -> Seen {
    Seen {
        frame: before + u64::from(packet.index),
        ts: packet.ts.as_nanos(),
        link: packet.link.0,
        interface: packet.interface,
        record_offset: packet.record_offset,
        data_offset: packet.data_offset,
        wire_len: packet.wire_len,
        data: packet.data.to_vec(),
    }
}

/// Reads a file as the conductor does: every chunk walked on its own, those
/// that do not meet the one before walked again.
pub(super) fn drive(mut file: CaptureFile) -> (Vec<Seen>, Finished) {
    let mut packets = Vec::new();
    let mut at = None;
    while let Some(batch) = file.next_batch().expect("opens") {
        let mut accepted = Vec::new();
        for chunk in batch.chunks() {
            let mut own = Vec::new();
            let mut walked = chunk.walk(|packet| own.push(seen(&packet, 0)));
            if let Some(at) = at.filter(|&at| at != walked.start) {
                own.clear();
                walked = chunk.walk_from(at, |packet| own.push(seen(&packet, 0)));
            }
            for packet in &own {
                let found = batch.bytes(packet.data_offset, packet.data.len());
                assert_eq!(found, Some(packet.data.as_slice()), "found again by offset");
            }
            let before = packets.len() as u64;
            packets.extend(own.into_iter().map(|mut packet| {
                packet.frame += before;
                packet
            }));
            at = Some(walked.end);
            accepted.push(walked);
        }
        drop(batch);
        for walked in &accepted {
            file.accept(walked);
        }
        file.advance(at.unwrap_or(0));
    }
    (packets, file.finish())
}

pub(super) fn small_chunks(chunk_bytes: usize, use_mmap: bool) -> Options {
    Options {
        chunk_bytes,
        batch_chunks: 3,
        use_mmap,
        ..Options::default()
    }
}

/// Writes the bytes to a file and reads that.
pub(super) fn read_file(bytes: &[u8], options: &Options) -> Result<(Vec<Seen>, Finished), String> {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(bytes).expect("written");
    let mut found = discover(&[file.path().to_owned()], options);
    match found.files.pop() {
        Some(file) => Ok(drive(file)),
        None => Err(found
            .problems
            .pop()
            .map_or_else(String::new, |(_, error)| error.to_string())),
    }
}

/// What must not depend on how a file was cut: packets, damage, counts.
pub(super) type Essence = (Vec<Seen>, Vec<Damage>, u64, String);

pub(super) fn essence((packets, finished): (Vec<Seen>, Finished)) -> Essence {
    let mut summary = finished.summary;
    // What names the file or only one way of reading fills in.
    summary.path = String::new();
    summary.file_name = String::new();
    summary.sha256 = None;
    (
        packets,
        finished.damage,
        finished.packets_lost,
        format!("{summary:?} {:?}", finished.extras),
    )
}

/// Reads the bytes in several ways and asserts that all agree.
#[track_caller]
pub(super) fn read_every_way(bytes: &[u8]) -> Result<Essence, String> {
    let whole = read_file(bytes, &Options::default()).map(essence);
    for (chunk_bytes, use_mmap) in [
        (1, true),
        (61, true),
        (509, true),
        (97, false),
        (4096, false),
    ] {
        let other = read_file(bytes, &small_chunks(chunk_bytes, use_mmap)).map(essence);
        if other != whole {
            if let (Ok(other), Ok(whole)) = (&other, &whole) {
                assert_eq!(
                    other.1, whole.1,
                    "damage: chunks of {chunk_bytes}, mapped {use_mmap}"
                );
                assert_eq!(
                    other.3, whole.3,
                    "summary: chunks of {chunk_bytes}, mapped {use_mmap}"
                );
            }
            assert_eq!(other, whole, "chunks of {chunk_bytes}, mapped: {use_mmap}");
        }
    }
    whole
}

/// The path of a folder that a test may read captures from.
pub(super) fn captures_folder() -> Option<PathBuf> {
    std::env::var_os("NSF_CAPTURES").map(PathBuf::from)
}
