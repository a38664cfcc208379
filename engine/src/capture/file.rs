//! One capture file from its first batch to its summary.

use super::damage::{self, Damage, DamagePlace, Detour};
use super::map::Mapping;
use super::view::View;
use super::walk::{self, Walked};
use super::{CaptureSummary, InterfaceSummary, Options, Packet, pcap, resync};
use crate::anomaly::AnomalyKind;
use crate::error::{Error, Result};
use crate::time::CaptureTime;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// The bytes behind a batch: shared with its chunks, given back with the last.
#[derive(Clone, Debug)]
pub(super) enum Backing {
    /// The whole file.
    Mapped(Mapping),
}

impl Backing {
    fn view(&self) -> View<'_> {
        match self {
            Self::Mapped(mapping) => View::whole(mapping.bytes()),
        }
    }
}

/// How the records of a chunk are laid out.
#[derive(Clone, Debug)]
pub(super) enum Layout {
    Pcap(Arc<pcap::Header>),
}

/// A run of chunks that may be walked at the same time, in file order. Owns
/// what it needs: it may outlive the call that made it, but holding many costs
/// memory.
#[derive(Clone, Debug)]
pub struct Batch {
    backing: Backing,
    chunks: Vec<Chunk>,
}

impl Batch {
    /// The chunks, in file order.
    pub fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// Where the first chunk begins.
    pub fn start(&self) -> u64 {
        self.chunks.first().map_or(0, Chunk::start)
    }

    /// Where the last chunk ends. Records that begin before it may end behind.
    pub fn end(&self) -> u64 {
        self.chunks.last().map_or(0, Chunk::end)
    }

    /// Bytes at an offset of the (decompressed) file, such as a packet of this
    /// batch has it; `None` when they are not at hand (any more).
    pub fn bytes(&self, offset: u64, len: usize) -> Option<&[u8]> {
        self.backing.view().get(offset, len)
    }
}

/// A part of a file that one thread walks.
#[derive(Clone, Debug)]
pub struct Chunk {
    backing: Backing,
    layout: Layout,
    start: u64,
    end: u64,
    /// Whether a record is known to begin at `start`.
    exact: bool,
    /// Detours that were decided while cutting; `None` where the walk decides.
    plan: Option<Arc<[Detour]>>,
}

impl Chunk {
    /// Where it begins: a record's start only where no search is needed.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Records that begin before this offset belong to it.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Walks the chunk from its start, or from the first record that a search
    /// finds in it.
    pub fn walk<'a, F: FnMut(Packet<'a>)>(&'a self, sink: F) -> Walked {
        if self.exact {
            return self.walk_from(self.start, sink);
        }
        let Layout::Pcap(header) = &self.layout;
        let view = self.backing.view();
        match resync::search(&view, header, self.start, self.end) {
            Ok(Some(found)) => self.walk_from(found, sink),
            _ => self.walk_from(self.end, sink),
        }
    }

    /// Walks the chunk from a record that is known to begin at `start`: the
    /// end of the chunk before. Gives an empty walk when that lies behind this
    /// chunk.
    pub fn walk_from<'a, F: FnMut(Packet<'a>)>(&'a self, start: u64, sink: F) -> Walked {
        match &self.layout {
            Layout::Pcap(header) => pcap::walk(
                self.backing.view(),
                header,
                start,
                self.end,
                self.plan.as_deref(),
                &|| self.shrunk(),
                sink,
            ),
        }
    }

    /// Where the file ends now, if that is before where it ended once.
    fn shrunk(&self) -> Option<u64> {
        match &self.backing {
            Backing::Mapped(mapping) => (!mapping.is_intact()).then(|| mapping.readable() as u64),
        }
    }
}

/// What is known of a file once it was read to its end.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The file's row; the columns that decoding fills are still zero, and the
    /// hash of a mapped file is still to be filled in.
    pub summary: CaptureSummary,
    /// Damage, each kind once; places count packets from the file's first.
    pub damage: Vec<Damage>,
    /// Packets known to be lost to damage.
    pub packets_lost: u64,
}

/// A capture that was found readable by [`discover`](super::discover).
#[derive(Debug)]
pub struct CaptureFile {
    path: PathBuf,
    options: Options,
    first_ts: Option<CaptureTime>,
    order_in_set: u32,
    size: Option<u64>,
    header: Arc<pcap::Header>,
    mapping: OnceLock<Option<Mapping>>,
    /// Where the next batch begins, if nobody knows better.
    border: u64,
    /// Where the next record begins, as [`CaptureFile::advance`] said.
    known: Option<u64>,
    given_back: u64,
    total: Totals,
}

/// Sums over the accepted walks.
#[derive(Debug, Default)]
struct Totals {
    sum: Walked,
    damage: Vec<Damage>,
}

impl CaptureFile {
    pub(super) fn new_pcap(
        path: PathBuf,
        options: Options,
        header: pcap::Header,
        size: Option<u64>,
        first_ts: Option<CaptureTime>,
    ) -> Self {
        Self {
            border: header.len as u64,
            known: Some(header.len as u64),
            path,
            options,
            first_ts,
            order_in_set: 0,
            size,
            header: Arc::new(header),
            mapping: OnceLock::new(),
            given_back: 0,
            total: Totals::default(),
        }
    }

    /// The file as it was named; `-` for standard input.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Time of the first packet; `None` when there is none near the start.
    pub fn first_ts(&self) -> Option<CaptureTime> {
        self.first_ts
    }

    pub(super) fn set_order(&mut self, order: u32) {
        self.order_in_set = order;
    }

    /// Bytes as stored; `None` for streams.
    pub fn size_hint(&self) -> Option<u64> {
        self.size
    }

    /// The mapped bytes, so that another thread can hash them; `None` for what
    /// is read as a stream. Pages behind [`CaptureFile::advance`] are read
    /// again from the page cache should a hash lag behind.
    pub fn mapping(&self) -> Option<Mapping> {
        self.mapping
            .get_or_init(|| {
                let len = self.size.filter(|&len| len > 0 && self.options.use_mmap)?;
                Mapping::new(File::open(&self.path).ok()?, len).ok()
            })
            .clone()
    }

    /// The next chunks; `None` at the end. May be called before the batch
    /// before it was walked; then its first chunk has to search as well.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened any more.
    pub fn next_batch(&mut self) -> Result<Option<Batch>> {
        let Some(mapping) = self.mapping() else {
            return Err(Error::io(
                &self.path,
                "cannot map the capture",
                std::io::Error::other("unsupported"),
            ));
        };
        let file_end = mapping.readable() as u64;
        let known = self.known.take();
        let mut start = known.map_or(self.border, |known| known.max(self.border));
        if start >= file_end {
            return Ok(None);
        }
        let size = (self.options.chunk_bytes as u64).max(1);
        let mut chunks = Vec::new();
        while chunks.len() < self.options.batch_chunks.max(1) && start < file_end {
            let end = (start / size).saturating_add(1).saturating_mul(size);
            chunks.push(Chunk {
                backing: Backing::Mapped(mapping.clone()),
                layout: Layout::Pcap(Arc::clone(&self.header)),
                start,
                end: end.min(file_end),
                exact: chunks.is_empty() && known.is_some(),
                plan: None,
            });
            start = end;
        }
        self.border = start.min(file_end);
        Ok(Some(Batch {
            backing: Backing::Mapped(mapping),
            chunks,
        }))
    }

    /// Takes the counts of a walk. To be called for each chunk in file order,
    /// with the walk that began where the chunk before ended.
    pub fn accept(&mut self, walked: &Walked) {
        self.total.accept(walked);
    }

    /// Says that everything before `end` has been walked and is done with:
    /// the last accepted walk's [`Walked::end`]. Pages before it are given back.
    pub fn advance(&mut self, end: u64) {
        self.known = Some(end);
        if let Some(mapping) = self.mapping() {
            mapping.give_back(self.given_back, end);
            self.given_back = end;
        }
    }

    /// The file's summary, after its last batch.
    pub fn finish(mut self) -> Finished {
        let mut error = None;
        let mut size_uncompressed = self.size.unwrap_or(0);
        if let Some(mapping) = self.mapping()
            && !mapping.is_intact()
        {
            let readable = mapping.readable() as u64;
            let detail = format!(
                "the file could be read up to byte {readable} of {}",
                self.size.unwrap_or(0)
            );
            let place = DamagePlace {
                offset: readable,
                packets_before: self.total.sum.packets,
                ts: self.total.sum.ts_last,
            };
            damage::note(
                &mut self.total.damage,
                AnomalyKind::CaptureUnreadable,
                place,
                || detail.clone(),
            );
            error = Some(detail);
            size_uncompressed = readable;
        }
        let sum = &self.total.sum;
        let header = &self.header;
        let path = self.path.to_string_lossy().into_owned();
        let file_name = self
            .path
            .file_name()
            .map_or_else(|| path.clone(), |name| name.to_string_lossy().into_owned());
        let summary = CaptureSummary {
            file_name,
            path,
            size_bytes: self.size.unwrap_or(0),
            size_uncompressed_bytes: size_uncompressed,
            format: "pcap".to_owned(),
            link_types: vec![header.link.0],
            snaplen: (header.snaplen != 0).then_some(header.snaplen),
            ts_precision: if header.nanos { "ns" } else { "us" }.to_owned(),
            packets: sum.packets,
            packets_truncated: sum.truncated,
            bytes_captured: sum.bytes_captured,
            bytes_wire: sum.bytes_wire,
            bytes_skipped: sum.skipped,
            ts_first: sum.ts_min,
            ts_last: sum.ts_max,
            time_backward_steps: sum.backward_steps,
            sections: 0,
            interfaces: vec![InterfaceSummary {
                link_type: header.link.0,
                snaplen: header.snaplen,
                ts_resolution: if header.nanos { "10^-9" } else { "10^-6" }.to_owned(),
                packets: sum.packets,
                ..InterfaceSummary::default()
            }],
            order_in_set: self.order_in_set,
            error,
            ..CaptureSummary::default()
        };
        Finished {
            summary,
            damage: self.total.damage,
            packets_lost: self.total.sum.lost,
        }
    }
}

impl Totals {
    fn accept(&mut self, walked: &Walked) {
        let sum = &mut self.sum;
        let before = sum.packets;
        // A step back over the border between two chunks.
        if let (Some(last), Some(first)) = (sum.ts_last, walked.ts_first)
            && first < last
        {
            let (offset, index) = walked.first_timed;
            let place = DamagePlace {
                offset,
                packets_before: before.saturating_add(index),
                ts: Some(first),
            };
            sum.backward_steps += 1;
            walk::stepped_back(&mut self.damage, place, last, first);
        }
        damage::append(&mut self.damage, &walked.damage, before);
        sum.end = walked.end;
        sum.packets += walked.packets;
        sum.bytes_captured += walked.bytes_captured;
        sum.bytes_wire += walked.bytes_wire;
        sum.truncated += walked.truncated;
        sum.lost += walked.lost;
        sum.skipped += walked.skipped;
        sum.comments += walked.comments;
        sum.backward_steps += walked.backward_steps;
        sum.ts_first = sum.ts_first.or(walked.ts_first);
        sum.ts_last = walked.ts_last.or(sum.ts_last);
        sum.ts_min = [sum.ts_min, walked.ts_min].into_iter().flatten().min();
        sum.ts_max = sum.ts_max.max(walked.ts_max);
        for &(interface, packets) in &walked.interfaces {
            walk::add(&mut sum.interfaces, interface, packets);
        }
    }
}
