//! Captures that cannot be mapped: pipes, compressed files, anything else that
//! is only read once. One thread reads, hashes what is stored, inflates, and
//! hands over filled buffers; it waits while one is still unclaimed, so that
//! about two exist at a time.

use super::damage::Detour;
use super::view::View;
use crate::anomaly::AnomalyKind;
use sha2::{Digest, Sha256};
use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

/// How a capture is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// By magic (RFC 1952 section 2.3.1; RFC 8878 sections 3.1.1 and 3.1.2).
    pub(super) fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }

    /// What the format's name ends in.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => "+gz",
            Self::Zstd => "+zst",
        }
    }

    /// Bytes to ask for at once. A decoder that meets damage drops what that
    /// one call wrote, so a compressed stream is read in pieces small enough
    /// to lose little, and at places that no size of a buffer moves.
    fn piece(self) -> usize {
        match self {
            Self::None => 64 << 10,
            Self::Gzip => 4 << 10,
            Self::Zstd => 512,
        }
    }
}

/// Room before the bytes of a buffer, for the record that was cut off at the
/// end of the buffer before.
const HEADROOM: usize = 512 << 10;
/// Largest buffer that is filled at once.
const MAX_BLOCK: usize = 8 << 20;
/// Bytes read at once from what is stored.
const READ: usize = 128 << 10;
/// Compressed input may always inflate to this, whatever its ratio.
const FREE_INFLATION: u64 = 64 << 20;

/// A buffer that chunks share; goes back to the reader with the last of them.
#[derive(Debug)]
pub(super) struct Shared {
    bytes: Vec<u8>,
    from: usize,
    base: u64,
    more: bool,
    recycle: Sender<Vec<u8>>,
}

impl Shared {
    pub(super) fn view(&self) -> View<'_> {
        View {
            bytes: self.bytes.get(self.from..).unwrap_or_default(),
            base: self.base,
            more: self.more,
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The reader may be gone; then the buffer goes too.
        let _ = self.recycle.send(std::mem::take(&mut self.bytes));
    }
}

/// What is known of a stream once it ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    pub(super) stored: u64,
    pub(super) inflated: u64,
    pub(super) sha256: Option<[u8; 32]>,
    pub(super) trouble: Option<(AnomalyKind, String)>,
}

enum Message {
    Filled(Vec<u8>),
    End(Report),
}

/// How a stream is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) compression: Compression,
    pub(super) hash: bool,
    pub(super) ratio: u64,
    /// Bytes to fill a buffer with.
    pub(super) block: usize,
}

/// The consumer's end of a stream.
#[derive(Debug)]
pub(super) struct Stream {
    messages: Receiver<Message>,
    recycle: Sender<Vec<u8>>,
    /// Bytes that were handed over but not taken yet, from `base` on.
    rest: Vec<u8>,
    base: u64,
    report: Option<Report>,
}

/// What a cutter made of a window.
pub(super) struct Cut {
    pub(super) chunks: Vec<CutChunk>,
    /// Bytes before this are no longer needed by what comes later.
    pub(super) keep_from: u64,
}

/// A chunk's extent and its detours.
#[derive(Debug)]
pub(super) struct CutChunk {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) plan: Arc<[Detour]>,
}

impl Stream {
    /// Starts the thread that reads `source`.
    pub(super) fn start(source: Box<dyn Read + Send>, settings: Settings) -> io::Result<Self> {
        let (send, messages) = sync_channel(0);
        let (recycle, recycled) = channel();
        std::thread::Builder::new()
            .name("capture-reader".to_owned())
            .spawn(move || read_all(source, settings, &send, &recycled))?;
        Ok(Self {
            messages,
            recycle,
            rest: Vec::new(),
            base: 0,
            report: None,
        })
    }

    /// What is known of the whole; `None` before its end.
    pub(super) fn report(&self) -> Option<&Report> {
        self.report.as_ref()
    }

    /// Takes the next buffer and has it cut; goes on until there are chunks.
    /// `None` at the end.
    pub(super) fn next(
        &mut self,
        mut cut: impl FnMut(&View<'_>) -> Cut,
    ) -> Option<(Arc<Shared>, Vec<CutChunk>)> {
        if self.report.is_some() {
            return None;
        }
        loop {
            // Twice what did not suffice, so that growing stays linear.
            let wanted = self.rest.len().saturating_mul(2).max(1);
            let mut bytes = Vec::new();
            let mut from = 0;
            while bytes.len() - from < wanted && self.report.is_none() {
                match self.messages.recv() {
                    Ok(Message::Filled(filled)) => {
                        if bytes.is_empty() {
                            (bytes, from) = prepend(&self.rest, filled);
                        } else {
                            bytes.extend_from_slice(filled.get(HEADROOM..).unwrap_or_default());
                        }
                    }
                    Ok(Message::End(report)) => self.report = Some(report),
                    Err(_) => {
                        self.report = Some(Report {
                            trouble: Some((
                                AnomalyKind::CaptureUnreadable,
                                "the reader stopped".to_owned(),
                            )),
                            ..Report::default()
                        });
                    }
                }
            }
            if bytes.is_empty() {
                bytes = std::mem::take(&mut self.rest);
            }
            let shared = Shared {
                bytes,
                from,
                base: self.base,
                more: self.report.is_none(),
                recycle: self.recycle.clone(),
            };
            let view = shared.view();
            let cut = cut(&view);
            let keep = view.index(cut.keep_from).unwrap_or(0).min(view.bytes.len());
            self.rest = view.bytes.get(keep..).unwrap_or_default().to_vec();
            self.base += keep as u64;
            if !cut.chunks.is_empty() {
                return Some((Arc::new(shared), cut.chunks));
            }
            if !view.more {
                return None;
            }
        }
    }
}

/// Puts the rest of the buffer before in front of a filled one.
fn prepend(rest: &[u8], mut filled: Vec<u8>) -> (Vec<u8>, usize) {
    if let Some(from) = HEADROOM.checked_sub(rest.len())
        && let Some(room) = filled.get_mut(from..HEADROOM)
    {
        room.copy_from_slice(rest);
        return (filled, from);
    }
    let mut bytes = Vec::with_capacity(rest.len() + filled.len());
    bytes.extend_from_slice(rest);
    bytes.extend_from_slice(filled.get(HEADROOM..).unwrap_or_default());
    (bytes, 0)
}

/// How much to fill at once for chunks of this size.
pub(super) fn block_bytes(chunk_bytes: usize, batch_chunks: usize) -> usize {
    chunk_bytes
        .saturating_mul(batch_chunks.max(1))
        .clamp(64, MAX_BLOCK)
}

/// The reading thread.
fn read_all(
    source: Box<dyn Read + Send>,
    settings: Settings,
    send: &SyncSender<Message>,
    recycled: &Receiver<Vec<u8>>,
) {
    let stored = Stored::new(source, settings.hash);
    let mut decoder = match Decoder::new(stored, settings.compression) {
        Ok(decoder) => decoder,
        Err(error) => {
            let _ = send.send(Message::End(Report {
                trouble: Some((AnomalyKind::CompressionDamaged, error.to_string())),
                ..Report::default()
            }));
            return;
        }
    };
    let piece = settings.compression.piece();
    // Whole pieces, so that a piece never ends where a buffer does. What is
    // not compressed is read alike in any portions.
    let block_bytes = match settings.compression {
        Compression::None => settings.block,
        Compression::Gzip | Compression::Zstd => settings.block.next_multiple_of(piece),
    };
    let mut inflated = 0_u64;
    let mut trouble = None;
    let mut ended = false;
    while !ended {
        let mut block = recycled
            .try_iter()
            .find(|block| block.capacity() >= HEADROOM + block_bytes)
            .unwrap_or_default();
        block.resize(HEADROOM + block_bytes, 0);
        let mut filled = HEADROOM;
        while let Some(room) = block.get_mut(filled..).filter(|room| !room.is_empty()) {
            let up_to_piece = piece - (inflated % piece as u64) as usize;
            let wanted = up_to_piece.min(room.len());
            match decoder.read(room.get_mut(..wanted).unwrap_or_default()) {
                Ok(0) => {
                    ended = true;
                    break;
                }
                Ok(count) => {
                    filled += count;
                    inflated += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    trouble = Some(decoder.explain(&error));
                    ended = true;
                    break;
                }
            }
            let allowed = decoder
                .stored()
                .count
                .saturating_mul(settings.ratio)
                .max(FREE_INFLATION);
            if settings.compression != Compression::None && inflated > allowed {
                trouble = Some((
                    AnomalyKind::CompressionDamaged,
                    format!(
                        "inflates to more than {} times its size; stopped after {inflated} bytes",
                        settings.ratio
                    ),
                ));
                ended = true;
                break;
            }
        }
        block.truncate(filled);
        if filled > HEADROOM && send.send(Message::Filled(block)).is_err() {
            return;
        }
    }
    let mut stored = decoder.into_stored();
    stored.drain();
    if trouble.is_none() {
        trouble = stored.failed.take().map(|error| {
            (
                AnomalyKind::CaptureUnreadable,
                format!("cannot be read any further: {error}"),
            )
        });
    }
    let _ = send.send(Message::End(Report {
        stored: stored.count,
        inflated,
        sha256: stored.hash.map(|hash| hash.finalize().into()),
        trouble,
    }));
}

/// The stored bytes, counted and hashed as they are read. Always reads in full
/// blocks, so that nothing depends on how a pipe delivers.
struct Stored {
    source: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    at: usize,
    ended: bool,
    count: u64,
    hash: Option<Sha256>,
    failed: Option<io::Error>,
}

impl Stored {
    fn new(source: Box<dyn Read + Send>, hash: bool) -> Self {
        Self {
            source,
            buffer: Vec::new(),
            at: 0,
            ended: false,
            count: 0,
            hash: hash.then(Sha256::new),
            failed: None,
        }
    }

    fn fill(&mut self) {
        self.at = 0;
        self.buffer.clear();
        if self.ended {
            return;
        }
        let mut source = (&mut self.source).take(READ as u64);
        // Keeps what came before an error.
        match source.read_to_end(&mut self.buffer) {
            Ok(count) => self.ended = count < READ,
            Err(error) => {
                self.ended = true;
                self.failed = Some(error);
            }
        }
        self.count += self.buffer.len() as u64;
        if let Some(hash) = &mut self.hash {
            hash.update(&self.buffer);
        }
    }

    /// Reads on to the end: the evidence hash covers the whole file.
    fn drain(&mut self) {
        while !self.ended {
            self.fill();
        }
    }
}

impl Read for Stored {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut ready = self.fill_buf()?;
        let count = ready.read(out)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Stored {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at >= self.buffer.len() {
            self.fill();
        }
        Ok(self.buffer.get(self.at..).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.at = self.at.saturating_add(count).min(self.buffer.len());
    }
}

enum Decoder {
    Plain(Stored),
    Gzip(Box<flate2::bufread::MultiGzDecoder<Stored>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, Stored>>),
}

impl Decoder {
    fn new(stored: Stored, compression: Compression) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Self::Plain(stored),
            Compression::Gzip => Self::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(stored))),
            Compression::Zstd => {
                Self::Zstd(Box::new(zstd::stream::read::Decoder::with_buffer(stored)?))
            }
        })
    }

    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stored) => stored.read(out),
            Self::Gzip(decoder) => decoder.read(out),
            Self::Zstd(decoder) => decoder.read(out),
        }
    }

    fn stored(&self) -> &Stored {
        match self {
            Self::Plain(stored) => stored,
            Self::Gzip(decoder) => decoder.get_ref(),
            Self::Zstd(decoder) => decoder.get_ref(),
        }
    }

    fn into_stored(self) -> Stored {
        match self {
            Self::Plain(stored) => stored,
            Self::Gzip(decoder) => decoder.into_inner(),
            Self::Zstd(decoder) => decoder.finish(),
        }
    }

    fn explain(&self, error: &io::Error) -> (AnomalyKind, String) {
        let stored = self.stored();
        if stored.failed.is_some() {
            return (
                AnomalyKind::CaptureUnreadable,
                format!("cannot be read any further: {error}"),
            );
        }
        let detail = if error.kind() == io::ErrorKind::UnexpectedEof {
            "the compressed data ends too early".to_owned()
        } else {
            format!("the compressed data is damaged: {error}")
        };
        (AnomalyKind::CompressionDamaged, detail)
    }
}

/// Inflates the start of a compressed file, as far as it goes.
pub(super) fn inflate_start(start: Vec<u8>, compression: Compression, limit: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let stored = Stored::new(Box::new(io::Cursor::new(start)), false);
    if let Ok(mut decoder) = Decoder::new(stored, compression) {
        let mut piece = vec![0; compression.piece()];
        while out.len() < limit {
            match decoder.read(&mut piece) {
                Ok(count) if count > 0 => {
                    out.extend_from_slice(piece.get(..count).unwrap_or_default());
                }
                _ => break,
            }
        }
    }
    out
}
