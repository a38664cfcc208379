//! Bodies under gzip or deflate, decoded while they pass and looked through for
//! secrets. Their state is small (DEFLATE looks 32 KiB back), so that a body is
//! followed to its end, within a ratio and a total (`limits.http_body_ratio`,
//! `limits.http_inflated_bytes`). Brotli and zstd look back megabytes: of those the
//! beginning is decoded once it is there, in `content`.

use super::content::{Coding, MAX_DECODED, is_zlib};
use crate::proto::credential::{Scan, shapes};
use crate::proto::plain::append_wiping;
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use std::io::Write;
use zeroize::Zeroizing;

/// Bytes that are decoded at a time: at most 1,032 times as many come of them.
const STEP: usize = 256;
/// What a decoder holds, roughly: its window, its tables and a buffer.
const HELD: usize = 96 << 10;

/// How a body goes on, or why it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// More may follow.
    Open,
    /// It is over.
    Over,
    /// It inflates beyond the ratio.
    Bomb,
    /// It is longer than is looked at.
    Long,
    /// It is not what it says.
    Broken,
}

/// A body as it is decoded.
pub(super) struct Inflate {
    decoder: Option<Box<Decoder>>,
    coding: Coding,
    /// The first byte of a deflated body, which alone does not tell its format.
    first: Option<u8>,
    scan: Scan,
    taken: u64,
    given: u64,
    state: State,
}

enum Decoder {
    Gzip(MultiGzDecoder<Sink>),
    Zlib(ZlibDecoder<Sink>),
    Deflate(DeflateDecoder<Sink>),
}

/// What was decoded and not looked at yet.
#[derive(Default)]
struct Sink(Zeroizing<Vec<u8>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        append_wiping(&mut self.0, bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Decoder {
    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Gzip(decoder) => decoder,
            Self::Zlib(decoder) => decoder,
            Self::Deflate(decoder) => decoder,
        }
    }

    fn sink(&mut self) -> &mut Sink {
        match self {
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Zlib(decoder) => decoder.get_mut(),
            Self::Deflate(decoder) => decoder.get_mut(),
        }
    }
}

impl std::fmt::Debug for Inflate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Inflate({:?})", self.state)
    }
}

impl Inflate {
    /// Whether bodies under this coding are decoded so: the state of others is large.
    pub(super) const fn reads(coding: Coding) -> bool {
        matches!(coding, Coding::Gzip | Coding::Deflate)
    }

    /// For a body under this coding, if it is one of those.
    pub(super) fn new(coding: Coding) -> Option<Self> {
        Self::reads(coding).then(|| Self {
            decoder: None,
            coding,
            first: None,
            scan: Scan::default(),
            taken: 0,
            given: 0,
            state: State::Open,
        })
    }

    /// The next bytes, of which one may inflate to `ratio`, and all to `most`.
    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        (ratio, most): (u64, u64),
        tell: &mut dyn FnMut(&[u8], &'static str),
    ) -> State {
        let mut rest = bytes;
        if self.decoder.is_none() && self.state == State::Open {
            let Some(decoder) = self.begin(&mut rest) else {
                return self.state;
            };
            self.decoder = Some(decoder);
            if let Some(first) = self.first.take() {
                self.step(&[first], (ratio, most), tell);
            }
        }
        for piece in rest.chunks(STEP) {
            if self.state != State::Open {
                break;
            }
            self.step(piece, (ratio, most), tell);
        }
        if self.state != State::Open {
            self.decoder = None;
        }
        self.state
    }

    /// Nothing follows.
    pub(super) fn end(mut self, tell: &mut dyn FnMut(&[u8], &'static str)) {
        self.scan.end(shapes(), tell);
    }

    /// Whether nothing was decoded so far.
    pub(super) fn is_new(&self) -> bool {
        self.decoder.is_none()
    }

    /// Heap bytes held.
    pub(super) fn heap_bytes(&self) -> usize {
        let decoder = if self.decoder.is_some() { HELD } else { 0 };
        size_of::<Self>() + decoder + self.scan.heap_bytes()
    }

    /// The decoder for a body whose first bytes these are; none while they are too few.
    fn begin(&mut self, rest: &mut &[u8]) -> Option<Box<Decoder>> {
        let decoder = match self.coding {
            Coding::Gzip => Decoder::Gzip(MultiGzDecoder::new(Sink::default())),
            _ => {
                // RFC 1950, or RFC 1951 as some send it: two bytes tell.
                let first = match self.first {
                    Some(first) => first,
                    None => {
                        let (&first, after) = rest.split_first()?;
                        *rest = after;
                        *self.first.insert(first)
                    }
                };
                if is_zlib(&[first, *rest.first()?]) {
                    Decoder::Zlib(ZlibDecoder::new(Sink::default()))
                } else {
                    Decoder::Deflate(DeflateDecoder::new(Sink::default()))
                }
            }
        };
        Some(Box::new(decoder))
    }

    fn step(
        &mut self,
        piece: &[u8],
        (ratio, most): (u64, u64),
        tell: &mut dyn FnMut(&[u8], &'static str),
    ) {
        let Some(decoder) = &mut self.decoder else {
            return;
        };
        self.taken = self.taken.saturating_add(piece.len() as u64);
        let written = decoder.writer().write_all(piece);
        let written = written.and_then(|()| decoder.writer().flush());
        let out = std::mem::take(&mut decoder.sink().0);
        let room = most.saturating_sub(self.given);
        self.given = self.given.saturating_add(out.len() as u64);
        let looked = usize::try_from(room).map_or(&out[..], |room| out.get(..room).unwrap_or(&out));
        self.scan.push(shapes(), looked, tell);
        self.state = if self.given > MAX_DECODED as u64 && self.given / self.taken.max(1) > ratio {
            State::Bomb
        } else if out.len() as u64 > room {
            State::Long
        } else if written.is_ok() {
            State::Open
        } else if self.given == 0 {
            State::Broken
        } else {
            // Behind its end, or damaged: what is there was read.
            State::Over
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    const KEY: &str = "AKIAO2GPDFQKSOYCO5BU";

    fn coded(text: &[u8]) -> Vec<(Coding, Vec<u8>)> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(text).unwrap();
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(text).unwrap();
        let mut deflate = DeflateEncoder::new(Vec::new(), Compression::default());
        deflate.write_all(text).unwrap();
        vec![
            (Coding::Gzip, gzip.finish().unwrap()),
            (Coding::Deflate, zlib.finish().unwrap()),
            (Coding::Deflate, deflate.finish().unwrap()),
        ]
    }

    /// How it went on, how many bytes came of it, and how many secrets.
    fn read(coding: Coding, body: &[u8], size: usize, bounds: (u64, u64)) -> (State, u64, usize) {
        let mut inflate = Inflate::new(coding).expect("a coding");
        let (mut found, mut state) = (0, State::Open);
        for piece in body.chunks(size) {
            state = inflate.push(piece, bounds, &mut |_, _| found += 1);
            assert!(inflate.heap_bytes() < 256 << 10);
        }
        let given = inflate.given;
        inflate.end(&mut |_, _| found += 1);
        (state, given, found)
    }

    #[test]
    fn any_split_finds_the_same() {
        let text = format!("{KEY} {}{KEY}", "some words; ".repeat(500));
        for (coding, body) in coded(text.as_bytes()) {
            for size in [usize::MAX, 1, 2, 7, 255, 257] {
                let read = read(coding, &body, size, (100, 1 << 20));
                assert_eq!(
                    read,
                    (State::Open, text.len() as u64, 2),
                    "{coding:?} by {size}"
                );
            }
        }
        // Members one behind the other, as RFC 1952 §2.2 allows.
        let (coding, one) = coded(format!("{KEY} ").as_bytes()).swap_remove(0);
        let many = read(coding, &one.repeat(50), 10, (100, 1 << 20));
        assert_eq!(many, (State::Open, 50 * 21, 50));
    }

    #[test]
    fn what_inflates_is_bounded() {
        for (coding, bomb) in coded(&vec![b' '; 50 << 20]) {
            let (state, given, _) = read(coding, &bomb, 1_460, (100, 1 << 30));
            assert_eq!(state, State::Bomb);
            assert!(given < 1 << 20, "{given}");
        }
        let text = format!("{}{KEY}", "0123456789abcdef;".repeat(1_000));
        for (coding, body) in coded(text.as_bytes()) {
            let (state, _, found) = read(coding, &body, 99, (1_000, 4_000));
            assert_eq!((state, found), (State::Long, 0));
        }
        for coding in [Coding::Gzip, Coding::Deflate] {
            let noise = [&b"\xff\x07no such coding at all"[..], &[0xff; 300]].concat();
            assert_eq!(read(coding, &noise, 5, (100, 100)).0, State::Broken);
        }
    }
}
