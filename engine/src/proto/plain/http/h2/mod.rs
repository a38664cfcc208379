//! HTTP/2 (RFC 9113): frames into streams, headers by HPACK, bodies measured
//! and passed over as those of HTTP/1 are. It begins with the preface, after an
//! upgrade from HTTP/1.1 (h2c), or anywhere, when the capture sets in later:
//! then what headers refer to is unknown, and said to be.
//!
//! ```text
//! side    Preface -> Head -> Gather | Data -> Head ...     frames of one direction
//! streams id -> transaction                                 requests with their answers
//! ```

mod floods;
pub(super) mod frame;
mod hpack;
mod huffman;
mod streams;

use super::super::PlaintextFacts;
use super::super::reader::{Next, Reader, Role, Scene, append_wiping};
use super::h1::Upgrade;
use super::probe::H2_PREFACE;
use crate::anomaly::AnomalyKind;
use crate::evidence::PacketRef;
use crate::proto::{Cx, Want};
use crate::time::CaptureTime;
use floods::Floods;
use frame::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, Head, PADDED, PUSH_PROMISE,
    RST_STREAM, SETTINGS,
};
use hpack::{Decoder, Fields};
use streams::{Block, Known, Streams};
use zeroize::Zeroizing;

/// RFC 9113 §6.5.2.
const SETTINGS_HEADER_TABLE_SIZE: u16 = 0x1;
const SETTINGS_MAX_FRAME_SIZE: u16 = 0x5;
/// Longest SETTINGS that is read: each of the registered ones several times.
const MAX_SETTINGS: usize = 6 * 64;

/// The reader.
#[derive(Debug)]
pub(super) struct Http2 {
    sides: [Side; 2],
    streams: Streams,
    fields: Fields,
}

#[derive(Debug)]
struct Side {
    state: State,
    /// The beginning of a frame's header, or of the preface.
    head: Zeroizing<Vec<u8>>,
    /// Where the frame at hand began.
    began: (CaptureTime, PacketRef),
    frame: Head,
    /// Of a frame that came in pieces.
    payload: Zeroizing<Vec<u8>>,
    hpack: Decoder,
    /// Why what headers refer to is unknown, until it was said.
    blinded: Option<&'static str>,
    /// A header block that goes on in CONTINUATION.
    block: Option<Block>,
    /// Bytes of a stream's body that are to pass and were not seen to, yet.
    promised: (u32, u64),
    /// Longest payload that the other side takes.
    max_frame: u32,
    /// Most bytes that the other side lets this one's table have.
    max_table: usize,
    /// Whether a frame was seen.
    started: bool,
    floods: Floods,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The preface, or a frame where the capture begins later.
    Preface,
    /// After an upgrade: the rest of a request's body, then the preface.
    Upgrading,
    /// A frame's header.
    Head,
    /// So many bytes of its payload, to be read as a whole; then so many to pass.
    Gather(usize, u32),
    /// The length of the padding of DATA.
    PadLength,
    /// So many bytes of DATA are still to come, then so much padding.
    Data(u32, u32),
    /// After a gap: waiting for a segment that begins with a frame.
    Lost,
    /// Nothing more is read.
    Ended,
}

impl Default for Side {
    fn default() -> Self {
        Self {
            state: State::Head,
            head: Zeroizing::default(),
            began: <(CaptureTime, PacketRef)>::default(),
            frame: Head::default(),
            payload: Zeroizing::default(),
            hpack: Decoder::default(),
            blinded: None,
            block: None,
            promised: (0, 0),
            max_frame: frame::DEFAULT_MAX,
            max_table: hpack::DEFAULT_SIZE,
            started: false,
            floods: Floods::default(),
        }
    }
}

impl Default for Http2 {
    fn default() -> Self {
        let client = Side {
            state: State::Preface,
            ..Side::default()
        };
        Self {
            sides: [client, Side::default()],
            streams: Streams::default(),
            fields: Fields::default(),
        }
    }
}

impl Http2 {
    /// After 101 (RFC 7540 §3.2): the request is stream 1's, and the client's
    /// settings came with it.
    pub(super) fn upgraded(scene: &mut Scene<'_, '_>, upgrade: Upgrade) -> Self {
        let mut reader = Self::default();
        let [client, server] = &mut reader.sides;
        client.state = State::Upgrading;
        // Its settings came with the request, so that this is a beginning.
        (client.started, server.started) = (true, false);
        match &upgrade.settings {
            Some(settings) => reader.settings(Role::Client, settings),
            None => note(
                scene,
                AnomalyKind::Http2Malformed,
                "HTTP2-Settings that are none",
            ),
        }
        reader.streams.upgraded(scene, upgrade);
        reader
    }

    fn side(&mut self, role: Role) -> &mut Side {
        &mut self.sides[role.index()]
    }

    fn preface(&mut self, rest: &mut &[u8]) {
        let side = self.side(Role::Client);
        // No frame is so long that its length begins with a `P`.
        if side.head.is_empty() && rest.first() != H2_PREFACE.first() {
            side.state = State::Head;
            return;
        }
        let wanted = H2_PREFACE.get(side.head.len()..).unwrap_or_default();
        let same = wanted
            .iter()
            .zip(*rest)
            .take_while(|(wanted, there)| wanted == there)
            .count();
        side.head
            .extend_from_slice(rest.get(..same).unwrap_or_default());
        *rest = rest.get(same..).unwrap_or_default();
        if side.head.len() == H2_PREFACE.len() {
            side.head.clear();
            side.state = State::Head;
            side.started = true;
        } else if !rest.is_empty() {
            side.head.clear();
            side.state = State::Lost;
        }
    }

    /// What is left of the request that asked for the upgrade, up to the preface.
    fn upgrading(&mut self, scene: &mut Scene<'_, '_>, rest: &mut &[u8]) {
        let side = &mut self.sides[Role::Client.index()];
        let before = side.head.len();
        append_wiping(&mut side.head, rest);
        let at = memchr::memmem::find(&side.head, H2_PREFACE);
        let body = at.unwrap_or_else(|| {
            // The preface may begin at the end of what is there.
            let tail = side.head.len().saturating_sub(H2_PREFACE.len() - 1);
            (tail..side.head.len())
                .find(|at| H2_PREFACE.starts_with(side.head.get(*at..).unwrap_or_default()))
                .unwrap_or(side.head.len())
        });
        let bytes: Zeroizing<Vec<u8>> = Zeroizing::new(side.head.drain(..body).collect());
        self.streams.body(scene, Role::Client, 1, &bytes);
        if at.is_some() {
            side.head.clear();
            side.state = State::Head;
            let used = (body + H2_PREFACE.len()).saturating_sub(before);
            *rest = rest.get(used..).unwrap_or_default();
            self.streams.ends(scene, Role::Client, 1);
        } else {
            *rest = &[];
        }
    }

    fn head(&mut self, scene: &mut Scene<'_, '_>, from: Role, rest: &mut &[u8]) {
        let side = &mut self.sides[from.index()];
        if side.head.is_empty() {
            side.began = (scene.cx.ts, scene.cx.packet);
        }
        let missing = frame::HEAD.saturating_sub(side.head.len()).min(rest.len());
        let (bytes, after) = rest.split_at(missing);
        side.head.extend_from_slice(bytes);
        *rest = after;
        let Some(head) = side.head.first_chunk::<{ frame::HEAD }>().map(Head::read) else {
            return;
        };
        side.head.clear();
        self.begin(scene, from, head, rest);
    }

    /// A frame's header is there.
    fn begin(&mut self, scene: &mut Scene<'_, '_>, from: Role, head: Head, rest: &mut &[u8]) {
        let max_head = scene.cx.limits.http_head_bytes;
        let side = &mut self.sides[from.index()];
        side.frame = head;
        if !std::mem::replace(&mut side.started, true) {
            // What a side says first on a connection are its settings (RFC 9113 §3.4).
            let is_first = head.kind == SETTINGS && !head.has(ACK) && head.stream == 0;
            if !is_first {
                self.blind(scene, from, "the connection began before the capture");
            }
        }
        if let Some(why) = self.side(from).blinded.take() {
            note(scene, AnomalyKind::Http2StateUnknown, why);
        }
        let side = &mut self.sides[from.index()];
        if head.len > side.max_frame {
            note(
                scene,
                AnomalyKind::Http2Malformed,
                "a frame longer than is allowed",
            );
            return self.lose(scene, from, rest);
        }
        let continues = side.block.as_ref().map(|block| block.stream);
        let is_continued = head.kind == CONTINUATION && continues == Some(head.stream);
        if (continues.is_some() || head.kind == CONTINUATION) && !is_continued {
            note(
                scene,
                AnomalyKind::Http2Malformed,
                "a header block that another frame interrupts",
            );
            side.block = None;
            self.blind(scene, from, "a header block is not there to its end");
        }
        let side = &mut self.sides[from.index()];
        if side.floods.frame(scene.cx.ts, &head) {
            note(
                scene,
                AnomalyKind::Http2Flood,
                "hundreds of frames a second that carry nothing",
            );
        }
        let whole = usize::try_from(head.len).unwrap_or(usize::MAX);
        let keep = match head.kind {
            DATA if head.has(PADDED) && head.len > 0 => {
                side.state = State::PadLength;
                return;
            }
            DATA => {
                side.state = State::Data(head.len, 0);
                return;
            }
            HEADERS | PUSH_PROMISE | CONTINUATION => {
                let before = side.block.as_ref().map_or(0, |block| block.bytes.len());
                // Priority, padding and promised stream come on top.
                whole.min(max_head.saturating_sub(before).saturating_add(10))
            }
            SETTINGS => whole.min(MAX_SETTINGS),
            RST_STREAM => whole.min(4),
            GOAWAY => whole.min(8),
            // PRIORITY, PING, WINDOW_UPDATE and what nobody knows say nothing of requests.
            _ => 0,
        };
        let passed = head
            .len
            .saturating_sub(u32::try_from(keep).unwrap_or(u32::MAX));
        side.state = State::Gather(keep, passed);
    }

    /// The payload of a frame that is read as a whole; gives what to skip.
    fn gather(
        &mut self,
        scene: &mut Scene<'_, '_>,
        from: Role,
        rest: &mut &[u8],
        keep: usize,
        passed: u32,
    ) -> u64 {
        let side = &mut self.sides[from.index()];
        let missing = keep.saturating_sub(side.payload.len());
        let Some((bytes, after)) = rest.split_at_checked(missing) else {
            append_wiping(&mut side.payload, rest);
            *rest = &[];
            return 0;
        };
        *rest = after;
        side.state = State::Head;
        let there = usize::try_from(passed).map_or(rest.len(), |n| n.min(rest.len()));
        *rest = rest.get(there..).unwrap_or_default();
        let skip = u64::from(passed) - there as u64;
        if side.payload.is_empty() {
            self.frame(scene, from, bytes);
        } else {
            append_wiping(&mut side.payload, bytes);
            let payload = std::mem::take(&mut side.payload);
            self.frame(scene, from, &payload);
        }
        skip
    }

    /// A frame whose payload is there (of a long one, its beginning).
    fn frame(&mut self, scene: &mut Scene<'_, '_>, from: Role, payload: &[u8]) {
        let head = self.side(from).frame;
        match head.kind {
            // The end of a block that was given up begins anywhere in it.
            CONTINUATION if self.side(from).block.is_none() => {}
            HEADERS | PUSH_PROMISE | CONTINUATION => self.block(scene, from, head, payload),
            SETTINGS if !head.has(ACK) => self.settings(from, payload),
            RST_STREAM => {
                let code = payload
                    .first_chunk::<4>()
                    .map(|code| u32::from_be_bytes(*code));
                let early = self.streams.reset(scene, from, head.stream, code);
                let side = self.side(from);
                if early && side.floods.reset(scene.cx.ts) {
                    let what = match from {
                        Role::Client => {
                            "a client asks and resets, hundreds of times a second (CVE-2023-44487)"
                        }
                        Role::Server => {
                            "a server is made to reset, hundreds of times a second (CVE-2025-8671)"
                        }
                    };
                    note(scene, AnomalyKind::Http2RapidReset, what);
                }
            }
            GOAWAY => {
                let code = payload
                    .get(4..)
                    .and_then(|code| code.first_chunk::<4>())
                    .map_or(0, |code| u32::from_be_bytes(*code));
                if code != 0 {
                    let cx = &mut *scene.cx;
                    cx.anomalies
                        .note(AnomalyKind::Http2Goaway, cx.ts, cx.packet, || {
                            format!("error code {code}")
                        });
                }
            }
            _ => {}
        }
    }

    /// What one side asks of the other (RFC 9113 §6.5).
    fn settings(&mut self, from: Role, payload: &[u8]) {
        let other = match from {
            Role::Client => Role::Server,
            Role::Server => Role::Client,
        };
        let other = self.side(other);
        for setting in payload.chunks_exact(6) {
            let [i0, i1, v0, v1, v2, v3] = *setting else {
                continue;
            };
            let value = u32::from_be_bytes([v0, v1, v2, v3]);
            match u16::from_be_bytes([i0, i1]) {
                // Both ends take what is larger until they agree, and so does who listens.
                SETTINGS_HEADER_TABLE_SIZE => {
                    let size = usize::try_from(value).unwrap_or(usize::MAX);
                    other.max_table = other.max_table.max(size);
                }
                SETTINGS_MAX_FRAME_SIZE => {
                    other.max_frame = other.max_frame.max(value.min((1 << 24) - 1));
                }
                _ => {}
            }
        }
    }

    /// A part of a header block.
    fn block(&mut self, scene: &mut Scene<'_, '_>, from: Role, head: Head, payload: &[u8]) {
        let max_head = scene.cx.limits.http_head_bytes;
        let Some((promised, part)) = head.block(payload) else {
            note(
                scene,
                AnomalyKind::Http2Malformed,
                "padding longer than its frame",
            );
            return self.blind(scene, from, "a header block that cannot be read");
        };
        let side = &mut self.sides[from.index()];
        let long = usize::try_from(head.len) != Ok(payload.len());
        if head.kind != CONTINUATION && head.has(END_HEADERS) && !long {
            let block = Block {
                stream: head.stream,
                promised,
                ends: head.has(END_STREAM) && head.kind == HEADERS,
                pushes: head.kind == PUSH_PROMISE,
                began: side.began,
                ..Block::default()
            };
            return self.headers(scene, from, &block, part);
        }
        let began = side.began;
        let block = side.block.get_or_insert_with(|| Block {
            stream: head.stream,
            promised,
            ends: head.has(END_STREAM) && head.kind == HEADERS,
            pushes: head.kind == PUSH_PROMISE,
            began,
            ..Block::default()
        });
        let room = max_head.saturating_sub(block.bytes.len());
        let kept = part.get(..room).unwrap_or(part);
        append_wiping(&mut block.bytes, kept);
        block.sent = block.sent.saturating_add(u64::from(head.len));
        block.cut |= long || kept.len() < part.len();
        block.parts = block.parts.saturating_add(1);
        if block.parts == floods::MAX_PARTS || block.cut && head.kind == CONTINUATION {
            note(
                scene,
                AnomalyKind::Http2ContinuationFlood,
                "a header block that goes on and on (CVE-2024-27316 and its kin)",
            );
        }
        if head.has(END_HEADERS)
            && let Some(block) = side.block.take()
        {
            let bytes = &block.bytes;
            self.headers(scene, from, &block, bytes);
        }
    }

    /// A header block is whole.
    fn headers(&mut self, scene: &mut Scene<'_, '_>, from: Role, block: &Block, bytes: &[u8]) {
        let limits = scene.cx.limits;
        let side = &mut self.sides[from.index()];
        let max_table = side.max_table;
        self.fields.clear(limits.http_head_bytes);
        let cap = limits.http2_table_bytes;
        let read = side.hpack.decode(bytes, max_table, cap, &mut self.fields);
        if block.cut {
            let cx = &mut *scene.cx;
            cx.anomalies
                .note(AnomalyKind::HttpLimit, cx.ts, cx.packet, || {
                    format!(
                        "a header block longer than {} bytes, which is read so far",
                        limits.http_head_bytes
                    )
                });
            self.blind(scene, from, "a header block that was not read to its end");
        } else if let Err(hpack::Broken(why)) = read {
            let cx = &mut *scene.cx;
            cx.anomalies
                .note(AnomalyKind::Http2Malformed, cx.ts, cx.packet, || {
                    format!("a header block with {why}")
                });
        }
        if self.fields.cut {
            let sent = (bytes.len() as u64).max(1);
            let listed = self.fields.listed;
            let cx = &mut *scene.cx;
            if listed / sent > limits.http_body_ratio {
                cx.anomalies
                    .note(AnomalyKind::HpackBomb, cx.ts, cx.packet, || {
                        format!("{sent} bytes stand for headers of {listed}")
                    });
            } else {
                cx.anomalies
                    .note(AnomalyKind::HttpLimit, cx.ts, cx.packet, || {
                        "more headers than are read".to_owned()
                    });
            }
        }
        let unread = block.cut || read.is_err();
        let known = Known {
            fields: &self.fields,
            unread,
        };
        self.streams.headers(scene, from, block, &known);
    }

    /// What headers of one side refer to is not known from here on.
    fn blind(&mut self, scene: &mut Scene<'_, '_>, from: Role, why: &'static str) {
        self.side(from).hpack.blind();
        if from == Role::Client {
            self.streams.requests_missing();
        }
        note(scene, AnomalyKind::Http2StateUnknown, why);
    }

    /// Framing is lost.
    fn lose(&mut self, scene: &mut Scene<'_, '_>, from: Role, rest: &mut &[u8]) {
        *rest = &[];
        self.forget(from);
        self.blind(scene, from, "frames of this side could not be followed");
    }

    fn forget(&mut self, from: Role) {
        let side = self.side(from);
        side.state = State::Lost;
        side.started = true;
        side.head.clear();
        side.payload = Zeroizing::default();
        side.block = None;
    }

    /// Bytes of DATA; gives how many may be skipped.
    fn data_bytes(
        &mut self,
        scene: &mut Scene<'_, '_>,
        from: Role,
        rest: &mut &[u8],
        left: u32,
        padding: u32,
    ) -> u64 {
        let there = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
        let (bytes, after) = rest.split_at(there);
        *rest = after;
        let mut left = left.saturating_sub(u32::try_from(there).unwrap_or(u32::MAX));
        let head = self.side(from).frame;
        let wants = self.streams.body(scene, from, head.stream, bytes);
        if left > 0 {
            let side = self.side(from);
            // The last byte is waited for: with it, the frame ends on time.
            let passed = if wants { 0 } else { left - 1 };
            left -= passed;
            side.promised = (head.stream, u64::from(passed));
            side.state = State::Data(left, padding);
            if passed > 0 {
                self.streams.passed(from, head.stream, u64::from(passed));
            }
            return u64::from(passed);
        }
        let there = usize::try_from(padding).map_or(rest.len(), |n| n.min(rest.len()));
        *rest = rest.get(there..).unwrap_or_default();
        self.side(from).state = State::Head;
        if head.has(END_STREAM) {
            self.streams.ends(scene, from, head.stream);
        }
        u64::from(padding) - there as u64
    }
}

impl Reader for Http2 {
    fn data(&mut self, scene: &mut Scene<'_, '_>, from: Role, bytes: &[u8]) -> Next {
        let mut rest = bytes;
        scene.looked = true;
        self.side(from).promised = (0, 0);
        loop {
            if self.streams.done >= scene.cx.limits.http_transactions {
                return self.give_up(scene);
            }
            let state = self.side(from).state;
            if state == State::Ended {
                return Next::NOTHING;
            }
            // A frame without payload is read although nothing follows it.
            if rest.is_empty() && !matches!(state, State::Gather(0, _) | State::Data(0, _)) {
                return Next::BYTES;
            }
            let skip = match state {
                State::Preface => {
                    self.preface(&mut rest);
                    0
                }
                State::Upgrading => {
                    self.upgrading(scene, &mut rest);
                    0
                }
                State::Head => {
                    self.head(scene, from, &mut rest);
                    0
                }
                State::Gather(keep, passed) => self.gather(scene, from, &mut rest, keep, passed),
                State::PadLength => {
                    let side = self.side(from);
                    if let Some((&padding, after)) = rest.split_first() {
                        rest = after;
                        let len = side.frame.len.saturating_sub(1);
                        let padding = u32::from(padding).min(len);
                        side.state = State::Data(len - padding, padding);
                    }
                    0
                }
                State::Data(left, padding) => {
                    self.data_bytes(scene, from, &mut rest, left, padding)
                }
                State::Lost => {
                    if !matches!(frame::walk(rest), frame::Walk::Frames(_)) {
                        return Next::BYTES;
                    }
                    self.side(from).state = State::Head;
                    0
                }
                State::Ended => return Next::NOTHING,
            };
            if skip > 0 {
                return Next::Want(Want::Skip(skip));
            }
        }
    }

    fn gap(&mut self, from: Role, len: u64) -> Want {
        let side = self.side(from);
        match side.state {
            State::Ended => return Want::Nothing,
            State::Data(left, padding) if u64::from(left) > len => {
                let stream = side.frame.stream;
                let missing = u32::try_from(len).unwrap_or(u32::MAX);
                side.state = State::Data(left.saturating_sub(missing), padding);
                side.promised = (0, 0);
                self.streams.gap(from, stream, len);
                return Want::Bytes;
            }
            State::Data(..) => {
                let stream = side.frame.stream;
                self.streams.gap(from, stream, 0);
            }
            _ => {}
        }
        self.forget(from);
        let side = self.side(from);
        side.promised = (0, 0);
        side.hpack.blind();
        side.blinded = Some("bytes of the connection are not in the capture");
        if from == Role::Client {
            self.streams.requests_missing();
        }
        Want::Bytes
    }

    fn skipped(&mut self, from: Role, len: u64) {
        let promised = &mut self.side(from).promised.1;
        *promised = promised.saturating_sub(len);
    }

    fn end(&mut self, cx: &mut Cx<'_>, _facts: &mut PlaintextFacts) {
        for (side, from) in self.sides.iter().zip([Role::Client, Role::Server]) {
            let (stream, missing) = side.promised;
            self.streams.not_passed(from, stream, missing);
        }
        self.streams.end(cx);
    }

    fn heap_bytes(&self) -> usize {
        let of_side = |side: &Side| {
            side.head.capacity()
                + side.payload.capacity()
                + side
                    .block
                    .as_ref()
                    .map_or(0, |block| block.bytes.capacity())
                + side.hpack.heap_bytes()
        };
        self.sides.iter().map(of_side).sum::<usize>()
            + self.fields.heap_bytes()
            + self.streams.heap_bytes()
    }
}

impl Http2 {
    fn give_up(&mut self, scene: &mut Scene<'_, '_>) -> Next {
        note(
            scene,
            AnomalyKind::HttpLimit,
            "more transactions in one flow than the limits allow; the rest is not read",
        );
        *self = Self::default();
        for side in &mut self.sides {
            side.state = State::Ended;
        }
        Next::NOTHING
    }
}

fn note(scene: &mut Scene<'_, '_>, kind: AnomalyKind, what: &'static str) {
    let cx = &mut *scene.cx;
    cx.anomalies
        .note(kind, cx.ts, cx.packet, || what.to_owned());
}

#[cfg(test)]
mod tests;
