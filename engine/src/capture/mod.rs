//! Captures as files: recognised by magic, cut into chunks, walked record by
//! record. Knows pcap and pcapng, gzip and zstd, regular files and streams;
//! knows nothing of what the packets carry.
//!
//! A chunk is walked by one thread; many chunks of a [`Batch`] are walked at
//! once. In a memory-mapped pcap only the first chunk's start is known: the
//! others look for their first record, and whoever drives the walk accepts a
//! chunk only if the one before it ended exactly where this one began, else
//! walks it again from the true place ([`Chunk::walk_from`]). So the result
//! always equals a serial walk, whatever the chunk size.
//!
//! ```text
//! discover -> CaptureFile -> next_batch -> Batch -> chunks, each: walk -> Walked
//!                  ^                                                       |
//!                  +---------- accept (in file order), advance ------------+
//! ```

mod cut;
mod damage;
mod discover;
mod file;
mod map;
mod name;
mod pcap;
mod pcapng;
mod resync;
mod sections;
mod stream;
mod view;
mod walk;

pub use damage::{Damage, DamagePlace};
pub use discover::{Discovery, discover};
pub use file::{Batch, CaptureFile, Chunk, Finished};
pub use map::Mapping;
pub use name::text_of;
pub use sections::{DecryptionSecrets, Extras, ResolvedName};
pub use walk::Walked;

use crate::time::CaptureTime;

/// How captures are read. Results do not depend on any of it, but for how far
/// a compression bomb inflates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bytes of a chunk.
    pub chunk_bytes: usize,
    /// Chunks of a batch.
    pub batch_chunks: usize,
    /// Whether streams are hashed as they are read. (Mapped files are hashed
    /// by whoever wants it, over [`CaptureFile::mapping`].)
    pub hash: bool,
    /// Bytes that compressed input may inflate to, as a multiple of the bytes
    /// read; 64 MiB are always allowed.
    pub decompression_ratio: u64,
    /// Whether regular files are mapped rather than read.
    pub use_mmap: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            chunk_bytes: 1 << 19,
            batch_chunks: 8,
            hash: true,
            decompression_ratio: 1_000,
            use_mmap: true,
        }
    }
}

/// A link type of the registry at tcpdump.org (LINKTYPE_…), without FCS bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkType(pub u16);

/// One captured packet, borrowed from its chunk.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// When it was captured.
    pub ts: CaptureTime,
    /// How the bytes are to be read.
    pub link: LinkType,
    /// pcapng interface, numbered over all sections of the file; 0 in pcap.
    pub interface: u32,
    /// Number in its chunk, from 0.
    pub index: u32,
    /// Byte offset of the record (or block) in the (decompressed) file.
    pub record_offset: u64,
    /// Byte offset of `data` in the (decompressed) file.
    pub data_offset: u64,
    /// Length on the wire; at least `data.len()`.
    pub wire_len: u32,
    /// The captured bytes, from the link-layer header on, frame check
    /// sequence removed where the capture declares one.
    pub data: &'a [u8],
}

/// One row of the `captures` table.
#[derive(Clone, Debug, Default)]
pub struct CaptureSummary {
    /// As given on the command line.
    pub path: String,
    /// Last part of `path`; `-` for standard input.
    pub file_name: String,
    /// Size as stored.
    pub size_bytes: u64,
    /// Size after decompression; equal to `size_bytes` when not compressed.
    pub size_uncompressed_bytes: u64,
    /// SHA-256 of the file as stored; `None` with `--no-hash`.
    pub sha256: Option<[u8; 32]>,
    /// `pcap`, `pcapng`, with `+gz` or `+zst`.
    pub format: String,
    /// Link types, ascending.
    pub link_types: Vec<u16>,
    /// Largest snapshot length; `None` where the file does not say.
    pub snaplen: Option<u32>,
    /// `us`, `ns`, or the finest of several.
    pub ts_precision: String,
    /// Packets read.
    pub packets: u64,
    /// Of these: cut by the snapshot length.
    pub packets_truncated: u64,
    /// Of these: headers cut or inconsistent.
    pub packets_malformed: u64,
    /// Of these: a link type or protocol that is not decoded.
    pub packets_unsupported: u64,
    /// What was not decoded, by reason: how often. A packet may give several
    /// reasons, and still a flow.
    pub undecoded: Vec<(&'static str, u64)>,
    /// Captured bytes.
    pub bytes_captured: u64,
    /// Bytes on the wire.
    pub bytes_wire: u64,
    /// Bytes of the file that are no record and were skipped.
    pub bytes_skipped: u64,
    /// Earliest packet.
    pub ts_first: Option<CaptureTime>,
    /// Latest packet.
    pub ts_last: Option<CaptureTime>,
    /// Packets older than the one before.
    pub time_backward_steps: u64,
    /// pcapng sections.
    pub sections: u32,
    /// Interfaces, in the file's order.
    pub interfaces: Vec<InterfaceSummary>,
    /// Decryption Secrets Blocks.
    pub dsb_secrets: u32,
    /// Comments.
    pub comments: u32,
    /// Section header: application.
    pub capture_app: Option<String>,
    /// Section header: operating system.
    pub capture_os: Option<String>,
    /// Section header: hardware.
    pub capture_hw: Option<String>,
    /// Checked checksums that were wrong, of all checked; `None` when none was checked.
    pub checksum_bad_ratio: Option<f64>,
    /// Place in the order of the set.
    pub order_in_set: u32,
    /// Why the file, or its rest, could not be read.
    pub error: Option<String>,
}

/// One interface of a pcapng file (or the one of a pcap).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterfaceSummary {
    /// if_name.
    pub name: Option<String>,
    /// if_description.
    pub description: Option<String>,
    /// Link type.
    pub link_type: u16,
    /// Snapshot length, 0 for unlimited.
    pub snaplen: u32,
    /// Ticks per second as a power: `10^-6` and the like.
    pub ts_resolution: String,
    /// Seconds added to every time stamp.
    pub ts_offset: i64,
    /// Packets.
    pub packets: u64,
}

/// Reads any bytes as a capture, cut as told: the entry point for fuzzing.
/// Gives the packets and what was read, or why it is no capture.
///
/// # Errors
///
/// When the bytes are no capture, or the system refuses a thread.
pub fn read_bytes(
    bytes: Vec<u8>,
    options: &Options,
    mut sink: impl FnMut(&Packet<'_>),
) -> crate::error::Result<Finished> {
    let mut file = discover::from_reader(
        std::path::Path::new("-"),
        Box::new(std::io::Cursor::new(bytes)),
        None,
        options,
    )?;
    read_serially(&mut file, |packet| sink(&packet))?;
    Ok(file.finish())
}

/// Drives a file to its end in one thread, repairing chunks that did not meet.
///
/// # Errors
///
/// When the file cannot be opened any more.
pub fn read_serially(
    file: &mut CaptureFile,
    mut sink: impl FnMut(Packet<'_>),
) -> crate::error::Result<()> {
    let mut at = None;
    while let Some(batch) = file.next_batch()? {
        let mut accepted = Vec::new();
        for chunk in batch.chunks() {
            let walked = match at {
                Some(at) => chunk.walk_from(at, &mut sink),
                None => chunk.walk(&mut sink),
            };
            at = Some(walked.end);
            accepted.push(walked);
        }
        drop(batch);
        accepted.iter().for_each(|walked| file.accept(walked));
        file.advance(at.unwrap_or(0));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
