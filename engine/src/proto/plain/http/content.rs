//! What is read of a body, where a check needs it: the fields of JSON while it
//! passes, and bodies under a content coding, decoded within bounds.
//!
//! Nothing is kept: prompts, answers and documents leave as little as the name
//! of a method, a model, or the length of a secret.

use crate::proto::credential::redacted;
use std::io::{BufRead, Read};
use zeroize::Zeroizing;

/// A value in JSON.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    /// A string: its beginning as it stands (escapes and all), and its whole length.
    Text(&'a [u8], usize),
    /// A number or literal: its beginning.
    Scalar(&'a [u8]),
}

impl<'a> Value<'a> {
    /// A string's text as it may be shown, without what may be a secret, at most
    /// `max` bytes; of one that is longer than what is kept, its length. None for
    /// anything else.
    pub(super) fn shown(self, max: usize) -> Option<String> {
        let Self::Text(raw, len) = self else {
            return None;
        };
        if raw.len() != len {
            // Half a secret has no look.
            return Some(format!("<{len}>"));
        }
        let text = match self.whole() {
            Some(text) => text,
            None => Zeroizing::new(raw.to_vec()),
        };
        Some(super::super::text::bounded(&redacted(&text), max))
    }

    /// A string without its escapes, where all of it is there.
    pub(super) fn whole(self) -> Option<Zeroizing<Vec<u8>>> {
        let Self::Text(raw, len) = self else {
            return None;
        };
        if raw.len() != len {
            return None;
        }
        let mut quoted = Zeroizing::new(Vec::with_capacity(raw.len().saturating_add(2)));
        quoted.push(b'"');
        quoted.extend_from_slice(raw);
        quoted.push(b'"');
        let text: String = serde_json::from_slice(&quoted).ok()?;
        Some(Zeroizing::new(text.into_bytes()))
    }

    /// The bytes that are there.
    pub(super) fn raw(self) -> &'a [u8] {
        match self {
            Self::Text(raw, _) | Self::Scalar(raw) => raw,
        }
    }

    /// A number as whole seconds.
    pub(super) fn seconds(self) -> Option<i64> {
        let Self::Scalar(raw) = self else { return None };
        let number: f64 = std::str::from_utf8(raw).ok()?.parse().ok()?;
        // Beyond this, a time is none that a capture could meet.
        (number.abs() < 1e15).then_some(number as i64)
    }
}

/// Longest string or key whose text is told; of longer ones the beginning.
const MAX_TEXT: usize = 512;
/// Deepest level whose fields are told.
const MAX_DEPTH: u32 = 32;

/// Reads JSON as it passes (RFC 8259), leniently: tells the fields of objects.
#[derive(Debug, Default)]
pub(super) struct Json {
    /// Open brackets; those of objects as bits, the innermost lowest.
    depth: u32,
    objects: u64,
    state: JsonState,
    escaped: bool,
    key: Zeroizing<Vec<u8>>,
    token: Zeroizing<Vec<u8>>,
    token_len: usize,
    /// Whether the outermost value is an array.
    root_is_array: bool,
    began: bool,
    failed: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum JsonState {
    /// A value, or punctuation.
    #[default]
    Value,
    /// A key, in an object.
    Key,
    InKey,
    AfterKey,
    InText,
    InScalar,
}

/// One field of an object.
pub(super) struct Found<'a> {
    /// 1 for the outermost object, or one of an outermost array.
    pub depth: u32,
    /// Its name.
    pub key: &'a [u8],
    /// What it holds.
    pub value: Value<'a>,
}

impl Json {
    /// The next bytes; `tell` hears of each field whose value ended.
    pub(super) fn push(&mut self, bytes: &[u8], tell: &mut dyn FnMut(&Found<'_>)) {
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            if self.failed {
                return;
            }
            match self.state {
                JsonState::InKey | JsonState::InText => {
                    rest = self.within_string(rest, tell);
                    continue;
                }
                JsonState::InScalar => {
                    if !matches!(byte, b',' | b'}' | b']') && !byte.is_ascii_whitespace() {
                        self.keep(&[byte]);
                        rest = after;
                        continue;
                    }
                    self.ended(false, tell);
                    continue;
                }
                JsonState::Value => self.value(byte),
                JsonState::Key => match byte {
                    b'"' => {
                        self.begin_token(JsonState::InKey);
                        self.key.clear();
                    }
                    b'}' => self.close(),
                    b',' => {}
                    byte if byte.is_ascii_whitespace() => {}
                    _ => self.failed = true,
                },
                JsonState::AfterKey => match byte {
                    b':' => self.state = JsonState::Value,
                    byte if byte.is_ascii_whitespace() => {}
                    _ => self.failed = true,
                },
            }
            rest = after;
        }
    }

    /// Whether one whole object was read.
    pub(super) fn is_whole_object(&self) -> bool {
        self.began && !self.failed && self.depth == 0 && !self.root_is_array
    }

    /// Whether nothing more can come of it.
    pub(super) fn is_over(&self) -> bool {
        self.failed || self.began && self.depth == 0
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.key.capacity() + self.token.capacity()
    }

    fn value(&mut self, byte: u8) {
        match byte {
            b'{' | b'[' => {
                if !self.began {
                    self.began = true;
                    self.root_is_array = byte == b'[';
                }
                self.depth = self.depth.saturating_add(1);
                self.objects = self.objects << 1 | u64::from(byte == b'{');
                self.key.clear();
                self.state = self.inside();
            }
            b'}' | b']' => self.close(),
            b',' => self.state = self.inside(),
            b'"' => self.begin_token(JsonState::InText),
            byte if byte.is_ascii_whitespace() => {}
            b':' => self.failed = true,
            _ if !self.began => self.failed = true,
            byte => {
                self.begin_token(JsonState::InScalar);
                self.keep(&[byte]);
            }
        }
    }

    fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.objects >>= 1;
        self.key.clear();
        self.state = JsonState::Value;
    }

    /// What comes next at this level. Beyond 64 levels, kinds are forgotten.
    fn inside(&self) -> JsonState {
        if self.objects & 1 == 1 && self.depth <= 64 {
            JsonState::Key
        } else {
            JsonState::Value
        }
    }

    fn begin_token(&mut self, state: JsonState) {
        self.token.clear();
        self.token_len = 0;
        self.escaped = false;
        self.state = state;
    }

    fn within_string<'a>(&mut self, bytes: &'a [u8], tell: &mut dyn FnMut(&Found<'_>)) -> &'a [u8] {
        let mut at = 0;
        if self.escaped {
            self.escaped = false;
            at = 1;
        }
        loop {
            let found = bytes
                .get(at..)
                .and_then(|rest| memchr::memchr2(b'"', b'\\', rest));
            let Some(found) = found.map(|found| at + found) else {
                self.keep(bytes);
                return &[];
            };
            if bytes.get(found) == Some(&b'\\') {
                if found + 1 == bytes.len() {
                    self.escaped = true;
                    self.keep(bytes);
                    return &[];
                }
                at = found + 2;
                continue;
            }
            self.keep(bytes.get(..found).unwrap_or_default());
            self.ended(true, tell);
            return bytes.get(found + 1..).unwrap_or_default();
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.token_len = self.token_len.saturating_add(bytes.len());
        let room = MAX_TEXT.saturating_sub(self.token.len());
        let kept = bytes.get(..room).unwrap_or(bytes);
        super::super::reader::append_wiping(&mut self.token, kept);
    }

    fn ended(&mut self, is_string: bool, tell: &mut dyn FnMut(&Found<'_>)) {
        if self.state == JsonState::InKey {
            std::mem::swap(&mut self.key, &mut self.token);
            self.state = JsonState::AfterKey;
            return;
        }
        self.state = JsonState::Value;
        let depth = self.depth.saturating_sub(u32::from(self.root_is_array));
        let in_object = self.objects & 1 == 1;
        if in_object && depth > 0 && depth <= MAX_DEPTH && !self.key.is_empty() {
            let value = if is_string {
                Value::Text(&self.token, self.token_len)
            } else {
                Value::Scalar(&self.token)
            };
            tell(&Found {
                depth,
                key: &self.key,
                value,
            });
        }
        self.key.clear();
    }
}

/// Tells the fields of an object's first level; whether it was one whole object.
pub(super) fn json_texts(bytes: &[u8], mut tell: impl FnMut(&[u8], Value<'_>)) -> bool {
    let mut json = Json::default();
    json.push(bytes, &mut |found| {
        if found.depth == 1 {
            tell(found.key, found.value);
        }
    });
    json.is_whole_object()
}

/// A content coding (RFC 9110 §8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// None.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 1950, or RFC 1951 as some send it.
    Deflate,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
    /// One that is not read, or several on top of each other.
    Other,
}

impl Coding {
    /// Of a Content-Encoding.
    pub(super) fn of(value: Option<&[u8]>) -> Self {
        let Some(value) = value else {
            return Self::Identity;
        };
        let is = |name: &[u8]| value.trim_ascii().eq_ignore_ascii_case(name);
        if is(b"") || is(b"identity") {
            Self::Identity
        } else if is(b"gzip") || is(b"x-gzip") {
            Self::Gzip
        } else if is(b"deflate") {
            Self::Deflate
        } else if is(b"br") {
            Self::Brotli
        } else if is(b"zstd") {
            Self::Zstd
        } else {
            Self::Other
        }
    }
}

/// What became of a coded body.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    /// Its beginning.
    pub bytes: Zeroizing<Vec<u8>>,
    /// It inflates beyond the ratio.
    pub bomb: bool,
    /// It is not what it says.
    pub broken: bool,
}

/// Most of a body that is decoded.
pub(super) const MAX_DECODED: usize = 256 << 10;
/// Window of a zstd frame: RFC 9659 §3 allows 8 MB.
const ZSTD_WINDOW_LOG: u32 = 23;

/// Decodes the beginning of a body, at most [`MAX_DECODED`] bytes. `ratio` is
/// how many bytes one byte may inflate to before it is a bomb.
pub(super) fn decode(coding: Coding, input: &[u8], ratio: u64) -> Decoded {
    let mut counted = Counted { rest: input };
    let mut out = Decoded::default();
    let read = match coding {
        Coding::Identity | Coding::Other => return out,
        Coding::Gzip => fill(flate2::bufread::MultiGzDecoder::new(&mut counted), &mut out),
        Coding::Deflate if is_zlib(input) => {
            fill(flate2::bufread::ZlibDecoder::new(&mut counted), &mut out)
        }
        Coding::Deflate => fill(flate2::bufread::DeflateDecoder::new(&mut counted), &mut out),
        Coding::Brotli => fill(
            // A small buffer, so that what was consumed is known closely.
            brotli_decompressor::Decompressor::new(&mut counted, 256),
            &mut out,
        ),
        Coding::Zstd => match zstd::stream::read::Decoder::with_buffer(&mut counted) {
            Ok(mut decoder) => {
                let _ = decoder.window_log_max(ZSTD_WINDOW_LOG);
                fill(decoder, &mut out)
            }
            Err(_) => Filled::Broken,
        },
    };
    let consumed = (input.len() - counted.rest.len()).max(1) as u64;
    match read {
        Filled::Full => out.bomb = out.bytes.len() as u64 / consumed > ratio,
        // What is there of a body that was cut is read as far as it goes.
        Filled::Broken => out.broken = out.bytes.is_empty(),
        Filled::Ended => {}
    }
    out
}

pub(super) fn is_zlib(input: &[u8]) -> bool {
    matches!(input, [cmf, flg, ..] if cmf & 0x0f == 8 && (u16::from(*cmf) << 8 | u16::from(*flg)) % 31 == 0)
}

enum Filled {
    Ended,
    Full,
    Broken,
}

fn fill(mut from: impl Read, out: &mut Decoded) -> Filled {
    let mut piece = Zeroizing::new([0_u8; 4096]);
    loop {
        match from.read(&mut piece[..]) {
            Ok(0) => return Filled::Ended,
            Ok(len) => {
                let room = MAX_DECODED - out.bytes.len();
                let taken = piece.get(..len.min(room)).unwrap_or_default();
                super::super::reader::append_wiping(&mut out.bytes, taken);
                if len >= room {
                    return Filled::Full;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return Filled::Broken,
        }
    }
}

/// Input that says how much of it was taken.
struct Counted<'a> {
    rest: &'a [u8],
}

impl Read for Counted<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        self.rest.read(buf)
    }
}

impl BufRead for Counted<'_> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        // Little at a time: decoders that read ahead must not hide a ratio.
        Ok(self.rest.get(..256).unwrap_or(self.rest))
    }

    fn consume(&mut self, amount: usize) {
        self.rest = self.rest.get(amount..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[track_caller]
    fn fields(json: &str) -> String {
        let whole = read(json, json.len().max(1));
        // However it is cut, it says the same.
        for size in 1..=3 {
            assert_eq!(read(json, size), whole, "in pieces of {size}");
        }
        whole
    }

    fn read(json: &str, size: usize) -> String {
        let (mut scanner, mut out) = (Json::default(), Vec::new());
        for piece in json.as_bytes().chunks(size) {
            scanner.push(piece, &mut |found| {
                let value = match found.value {
                    Value::Text(..) => format!("'{}'", found.value.shown(99).unwrap_or_default()),
                    Value::Scalar(raw) => String::from_utf8_lossy(raw).into_owned(),
                };
                let key = String::from_utf8_lossy(found.key);
                out.push(format!("{}{key}={value}", found.depth));
            });
        }
        out.push(if scanner.is_whole_object() { "." } else { "?" }.to_owned());
        out.join(" ")
    }

    #[test]
    fn fields_are_told_with_their_level() {
        assert_eq!(
            fields(r#"{"a":"b","c":1,"d":[true,"x",{"e":null}],"f":{"g":"h"}}"#),
            "1a='b' 1c=1 3e=null 2g='h' ."
        );
        assert_eq!(
            fields(r#" { "a" : "q\"\\u" , "b":"é" } "#),
            "1a='q\"\\u' 1b='é' ."
        );
        assert_eq!(
            fields(r#"[{"method":"x"},{"method":"y"}]"#),
            "1method='x' 1method='y' ?"
        );
        assert_eq!(fields(r#"{"a":{}}"#), ".");
        assert_eq!(fields(r#"{"a":"#), "?");
        assert_eq!(fields("no json"), "?");
        assert_eq!(fields(r#"{"a" "b"}"#), "?");
    }

    #[test]
    fn depth_and_length_are_bounded() {
        let deep = format!("{}{}", "[{\"a\":".repeat(5_000), "1");
        let mut scanner = Json::default();
        scanner.push(deep.as_bytes(), &mut |_| {});
        assert!(scanner.heap_bytes() < 4096);
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(100_000));
        let mut told = Vec::new();
        Json::default().push(long.as_bytes(), &mut |found| {
            if let Value::Text(raw, len) = found.value {
                told.push((raw.len(), len));
            }
        });
        assert_eq!(told, [(MAX_TEXT, 100_000)]);
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    fn deflate(bytes: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    #[test]
    fn codings_decode() {
        let text = b"{\"model\":\"m\"}";
        // `printf '{"model":"m"}' | brotli -c` and RFC 7932's own rules.
        let brotli = [
            0x0b, 0x06, 0x80, 0x7b, 0x22, 0x6d, 0x6f, 0x64, 0x65, 0x6c, 0x22, 0x3a, 0x22, 0x6d,
            0x22, 0x7d, 0x03,
        ];
        for (coding, bytes) in [
            (Coding::Gzip, gzip(text)),
            (Coding::Deflate, zlib(text)),
            (Coding::Deflate, deflate(text)),
            (Coding::Zstd, zstd::encode_all(&text[..], 3).unwrap()),
            (Coding::Brotli, brotli.to_vec()),
        ] {
            let decoded = decode(coding, &bytes, 100);
            assert_eq!(&decoded.bytes[..], text, "{coding:?}");
            assert!(!decoded.bomb && !decoded.broken);
            let cut = decode(coding, &bytes[..bytes.len() - 1], 100);
            assert!(!cut.bomb, "{coding:?}");
        }
        assert!(decode(Coding::Gzip, b"not gzip at all", 100).broken);
        assert!(decode(Coding::Zstd, b"not zstd at all", 100).broken);
    }

    #[test]
    fn bombs_are_bounded_and_named() {
        let zeros = vec![0_u8; 50 << 20];
        let zstd = zstd::encode_all(&zeros[..], 19).unwrap();
        for (coding, bomb) in [
            (Coding::Gzip, gzip(&zeros)),
            (Coding::Deflate, zlib(&zeros)),
            (Coding::Zstd, zstd),
        ] {
            let decoded = decode(coding, &bomb, 100);
            assert!(decoded.bomb, "{coding:?}");
            assert_eq!(decoded.bytes.len(), MAX_DECODED);
        }
        // Text that compresses well is none.
        let text: String = (0..60_000)
            .map(|n| format!("{{\"row\":{}}}", n * 7919))
            .collect();
        assert!(!decode(Coding::Gzip, &gzip(text.as_bytes()), 100).bomb);
    }
}
