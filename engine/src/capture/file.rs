//! One capture file from its first batch to its summary.

use super::cut::PcapCutter;
use super::damage::{self, Damage, DamagePlace, Detour};
use super::map::Mapping;
use super::name::text_of;
use super::pcapng::{self, Interface, Section};
use super::sections::{DecryptionSecrets, Extras, NgCut, ResolvedName, Sections};
use super::stream::{self, Compression, CutChunk, Settings, Shared, Stream};
use super::view::View;
use super::walk::{self, Walked};
use super::{CaptureSummary, Options, Packet, pcap, resync};
use crate::anomaly::AnomalyKind;
use crate::error::{Error, Result};
use crate::time::CaptureTime;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Mean length up to which packets count as small, bytes.
const SMALL_PACKET: u64 = 256;
/// Most that batches of larger packets grow by.
const MAX_FACTOR: usize = 4;
/// Bytes of a file that are looked through for secrets before their pages are given back.
const SECRETS_STRIDE: u64 = 32 << 20;
/// Largest chunk.
const MAX_CHUNK: usize = 1 << 30;

/// The bytes behind a batch: shared with its chunks, given back with the last.
#[derive(Clone, Debug)]
pub(super) enum Backing {
    /// The whole file.
    Mapped(Mapping),
    /// A stream's buffer.
    Shared(Arc<Shared>),
}

impl Backing {
    fn view(&self) -> View<'_> {
        match self {
            Self::Mapped(mapping) => View::whole(mapping.bytes()),
            Self::Shared(shared) => shared.view(),
        }
    }
}

/// How the records of a chunk are laid out.
#[derive(Clone, Debug)]
enum Layout {
    Pcap(Arc<pcap::Header>),
    Ng {
        section: Section,
        interfaces: Arc<[Interface]>,
    },
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
        let Layout::Pcap(header) = &self.layout else {
            return self.walk_from(self.start, sink);
        };
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
            Layout::Ng {
                section,
                interfaces,
            } => pcapng::walk(
                self.backing.view(),
                *section,
                interfaces,
                start,
                self.end,
                self.plan.as_deref().unwrap_or_default(),
                sink,
            ),
        }
    }

    /// Where the file ends now, if that is before where it ended once.
    fn shrunk(&self) -> Option<u64> {
        match &self.backing {
            Backing::Mapped(mapping) => (!mapping.is_intact()).then(|| mapping.readable() as u64),
            Backing::Shared(_) => None,
        }
    }
}

/// What is known of a file once it was read to its end.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The file's row; the columns that decoding fills are still zero, and the
    /// hash of a mapped file is still to be filled in.
    pub summary: CaptureSummary,
    /// Damage, each kind once, in the file's order; places count packets from
    /// the file's first.
    pub damage: Vec<Damage>,
    /// Packets known to be lost to damage; at least one for each damaged place.
    pub packets_lost: u64,
    /// What a pcapng says besides packets.
    pub extras: Extras,
}

/// What the records look like, and where the cutting stands.
#[derive(Debug)]
pub(super) enum Format {
    Pcap(Arc<pcap::Header>),
    Ng,
}

/// Where the bytes come from.
pub(super) enum Source {
    /// A regular file, opened when it is its turn.
    File { size: u64 },
    /// Something that can be read only once, and is open.
    Once(Option<Box<dyn Read + Send>>),
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File { size } => f.debug_struct("File").field("size", size).finish(),
            Self::Once(_) => f.write_str("Once"),
        }
    }
}

/// A capture that was found readable by [`discover`](super::discover).
#[derive(Debug)]
pub struct CaptureFile {
    path: PathBuf,
    options: Options,
    first_ts: Option<CaptureTime>,
    order_in_set: u32,
    source: Source,
    compression: Compression,
    format: Format,
    mapping: OnceLock<Option<Mapping>>,
    stream: Option<Stream>,
    cutter: PcapCutter,
    sections: Box<Sections>,
    /// Decryption secrets that were handed out while they passed.
    secrets_given: usize,
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
    pub(super) fn new(
        path: PathBuf,
        options: Options,
        source: Source,
        compression: Compression,
        format: Format,
        first_ts: Option<CaptureTime>,
    ) -> Self {
        let mut options = options;
        // Packets of a chunk are numbered in 32 bits.
        options.chunk_bytes = options.chunk_bytes.clamp(1, MAX_CHUNK);
        let border = match &format {
            Format::Pcap(header) => header.len as u64,
            Format::Ng => 0,
        };
        Self {
            path,
            options,
            first_ts,
            order_in_set: 0,
            source,
            compression,
            format,
            mapping: OnceLock::new(),
            stream: None,
            cutter: PcapCutter::new(border),
            sections: Box::default(),
            secrets_given: 0,
            border,
            known: Some(border),
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

    /// Names that the file gave to addresses in what was cut into batches.
    pub fn resolved_names(&self) -> &[ResolvedName] {
        self.sections.resolved_names()
    }

    pub(super) fn set_order(&mut self, order: u32) {
        self.order_in_set = order;
    }

    /// Bytes as stored; `None` for streams.
    pub fn size_hint(&self) -> Option<u64> {
        match self.source {
            Source::File { size } => Some(size),
            Source::Once(_) => None,
        }
    }

    /// The mapped bytes, so that another thread can hash them; `None` for what
    /// is read as a stream (and hashed there). Pages behind
    /// [`CaptureFile::advance`] are read again from the page cache should a
    /// hash lag behind.
    pub fn mapping(&self) -> Option<Mapping> {
        self.mapping
            .get_or_init(|| {
                let plain = self.compression == Compression::None && self.options.use_mmap;
                let len = self.size_hint().filter(|&len| plain && len > 0)?;
                Mapping::new(File::open(&self.path).ok()?, len).ok()
            })
            .clone()
    }

    /// The decryption secrets of a mapped pcapng, wherever they stand in it; of
    /// all others none are known yet. Reads the frames of all blocks.
    pub fn secrets_ahead(&self) -> Vec<DecryptionSecrets> {
        let Format::Ng = self.format else {
            return Vec::new();
        };
        let Some(mapping) = self.mapping() else {
            return Vec::new();
        };
        let view = View::whole(mapping.bytes());
        let mut sections = Sections::default();
        let mut given_back = 0;
        loop {
            let end = sections.pass_over(&view, SECRETS_STRIDE);
            mapping.give_back(given_back, end);
            if end <= given_back {
                break;
            }
            given_back = end;
        }
        sections.take_secrets()
    }

    /// Whether decryption secrets have passed in a stream that
    /// [`Self::secrets_passing`] has not given yet.
    pub fn has_secrets_passing(&self) -> bool {
        self.sections.secret_count() > self.secrets_given && self.mapping().is_none()
    }

    /// The decryption secrets of a stream's last batch and those before that
    /// were not asked for.
    pub fn secrets_passing(&mut self) -> Vec<DecryptionSecrets> {
        let new = self.sections.secrets_from(self.secrets_given);
        self.secrets_given += new.len();
        new
    }

    /// The next chunks; `None` at the end. A mapped file may be asked again
    /// before the batch before was walked; then the first chunk has to search
    /// as well.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened any more.
    pub fn next_batch(&mut self) -> Result<Option<Batch>> {
        match (self.mapping(), &self.format) {
            (Some(mapping), Format::Pcap(header)) => {
                let header = Arc::clone(header);
                Ok(self.next_mapped(mapping, &header))
            }
            (Some(mapping), Format::Ng) => Ok(self.next_mapped_ng(mapping)),
            (None, _) => self.next_streamed(),
        }
    }

    fn next_mapped(&mut self, mapping: Mapping, header: &Arc<pcap::Header>) -> Option<Batch> {
        let file_end = mapping.readable() as u64;
        let known = self.known.take();
        let mut start = known.map_or(self.border, |known| known.max(self.border));
        let size = (self.options.chunk_bytes as u64).max(1);
        let mut chunks = Vec::new();
        let most = self.options.batch_chunks.max(1) * self.batch_factor();
        while chunks.len() < most && start < file_end {
            let end = (start / size).saturating_add(1).saturating_mul(size);
            chunks.push(Chunk {
                backing: Backing::Mapped(mapping.clone()),
                layout: Layout::Pcap(Arc::clone(header)),
                start,
                end: end.min(file_end),
                exact: chunks.is_empty() && known.is_some(),
                plan: None,
            });
            start = end;
        }
        self.border = start.min(file_end);
        (!chunks.is_empty()).then_some(Batch {
            backing: Backing::Mapped(mapping),
            chunks,
        })
    }

    /// How many times the usual chunks make a batch: packets cost memory until
    /// their batch is done, bytes do not, and every batch costs waiting. So
    /// captures of large packets are taken in larger steps.
    fn batch_factor(&self) -> usize {
        let sum = &self.total.sum;
        let mean = sum.bytes_captured.checked_div(sum.packets).unwrap_or(0);
        usize::try_from(mean / SMALL_PACKET)
            .map_or(MAX_FACTOR, |factor| factor.clamp(1, MAX_FACTOR))
    }

    fn next_mapped_ng(&mut self, mapping: Mapping) -> Option<Batch> {
        let _ = mapping.look_again();
        let view = View::whole(mapping.bytes());
        let chunk_bytes = self.options.chunk_bytes as u64;
        let cut = self
            .sections
            .cut(&view, chunk_bytes, self.options.batch_chunks.max(1));
        let backing = Backing::Mapped(mapping.clone());
        let NgCut {
            cut,
            states,
            interfaces,
        } = cut;
        let chunks = ng_chunks(&backing, cut.chunks, &states, &interfaces);
        (!chunks.is_empty()).then_some(Batch { backing, chunks })
    }

    fn next_streamed(&mut self) -> Result<Option<Batch>> {
        if self.stream.is_none() {
            self.stream = Some(self.open_stream()?);
        }
        let Some(stream) = &mut self.stream else {
            return Ok(None);
        };
        let block = stream::block_bytes(self.options.chunk_bytes, self.options.batch_chunks);
        let chunk_bytes = (block / self.options.batch_chunks.max(1)).max(1) as u64;
        Ok(match &self.format {
            Format::Pcap(header) => {
                let cutter = &mut self.cutter;
                stream
                    .next(|view| cutter.cut(view, header, chunk_bytes))
                    .map(|(shared, cuts)| {
                        let backing = Backing::Shared(shared);
                        let chunks = cuts
                            .into_iter()
                            .map(|cut| Chunk {
                                backing: backing.clone(),
                                layout: Layout::Pcap(Arc::clone(header)),
                                start: cut.start,
                                end: cut.end,
                                exact: true,
                                plan: Some(cut.plan),
                            })
                            .collect();
                        Batch { backing, chunks }
                    })
            }
            Format::Ng => {
                let sections = &mut self.sections;
                let mut known = None;
                let batch = stream.next(|view| {
                    let NgCut {
                        cut,
                        states,
                        interfaces,
                    } = sections.cut(view, chunk_bytes, usize::MAX);
                    known = Some((states, interfaces));
                    cut
                });
                batch
                    .zip(known)
                    .map(|((shared, cuts), (states, interfaces))| {
                        let backing = Backing::Shared(shared);
                        let chunks = ng_chunks(&backing, cuts, &states, &interfaces);
                        Batch { backing, chunks }
                    })
            }
        })
    }

    fn open_stream(&mut self) -> Result<Stream> {
        let cannot = |source| Error::io(&self.path, "cannot open the capture", source);
        let source: Box<dyn Read + Send> = match &mut self.source {
            Source::File { .. } => Box::new(File::open(&self.path).map_err(cannot)?),
            Source::Once(reader) => match reader.take() {
                Some(reader) => reader,
                None => Box::new(std::io::empty()),
            },
        };
        let settings = Settings {
            compression: self.compression,
            hash: self.options.hash,
            ratio: self.options.decompression_ratio,
            block: stream::block_bytes(self.options.chunk_bytes, self.options.batch_chunks),
        };
        Stream::start(source, settings)
            .map_err(|source| Error::io(&self.path, "cannot start reading", source))
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
        let (size_bytes, size_uncompressed_bytes, sha256, trouble) = self.ending();
        if let Some((kind, detail)) = &trouble {
            let place = DamagePlace {
                offset: size_uncompressed_bytes,
                packets_before: self.total.sum.packets,
                ts: self.total.sum.ts_last,
            };
            damage::note(&mut self.total.damage, *kind, place, || detail.clone());
        }
        self.total
            .damage
            .sort_by_key(|damage| (damage.first.offset, damage.kind));
        let Totals { sum, damage } = self.total;
        let path = text_of(&self.path);
        let file_name = self
            .path
            .file_name()
            .map_or_else(|| path.clone(), |name| text_of(Path::new(name)));
        let mut summary = CaptureSummary {
            file_name,
            path,
            size_bytes,
            size_uncompressed_bytes,
            sha256,
            packets: sum.packets,
            packets_truncated: sum.truncated,
            bytes_captured: sum.bytes_captured,
            bytes_wire: sum.bytes_wire,
            bytes_skipped: sum.skipped,
            ts_first: sum.ts_min,
            ts_last: sum.ts_max,
            time_backward_steps: sum.backward_steps,
            order_in_set: self.order_in_set,
            error: trouble.map(|(_, detail)| detail),
            ..CaptureSummary::default()
        };
        let mut extras = Extras::default();
        let suffix = self.compression.suffix();
        match &self.format {
            Format::Pcap(header) => {
                summary.format = format!("pcap{suffix}");
                header.describe(&mut summary);
            }
            Format::Ng => {
                summary.format = format!("pcapng{suffix}");
                let packet_comments = u32::try_from(sum.comments).unwrap_or(u32::MAX);
                extras = self.sections.describe(&mut summary, &sum.interfaces);
                summary.comments = summary.comments.saturating_add(packet_comments);
                extras.comments.extend(sum.comment_texts);
                extras.comments.sort_by_key(|&(offset, _)| offset);
            }
        }
        Finished {
            summary,
            damage,
            packets_lost: sum.lost,
            extras,
        }
    }

    /// Sizes as stored and inflated, hash, and why not all could be read.
    #[allow(clippy::type_complexity)]
    fn ending(&self) -> (u64, u64, Option<[u8; 32]>, Option<(AnomalyKind, String)>) {
        let stored = self.size_hint().unwrap_or(0);
        if let Some(report) = self.stream.as_ref().and_then(Stream::report) {
            return (
                report.stored,
                report.inflated,
                report.sha256,
                report.trouble.clone(),
            );
        }
        match self.mapping() {
            Some(mapping) if !mapping.is_intact() => {
                let readable = mapping.readable() as u64;
                let detail =
                    format!("the file could be read up to byte {readable} of {stored} only");
                (
                    stored,
                    readable,
                    None,
                    Some((AnomalyKind::CaptureUnreadable, detail)),
                )
            }
            _ => (stored, stored, None, None),
        }
    }
}

fn ng_chunks(
    backing: &Backing,
    cuts: Vec<CutChunk>,
    states: &[Section],
    interfaces: &Arc<[Interface]>,
) -> Vec<Chunk> {
    cuts.into_iter()
        .zip(states)
        .map(|(cut, &section)| Chunk {
            backing: backing.clone(),
            layout: Layout::Ng {
                section,
                interfaces: Arc::clone(interfaces),
            },
            start: cut.start,
            end: cut.end,
            exact: true,
            plan: Some(cut.plan),
        })
        .collect()
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
        let room = pcapng::MAX_COMMENTS.saturating_sub(sum.comment_texts.len());
        sum.comment_texts
            .extend(walked.comment_texts.iter().take(room).cloned());
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
