//! Streams: each is one request with its answer (RFC 9113 §8).

use super::super::super::reader::{Role, Scene};
use super::super::super::text::decimal;
use super::super::body::Peek;
use super::super::doh::Doh;
use super::super::h1::Upgrade;
use super::super::head::{self, Field, Length, Target};
use super::super::transaction::{HttpTransaction, HttpVersion, Oddity, Text};
use super::super::{facts, fields};
use super::hpack::Fields;
use crate::anomaly::AnomalyKind;
use crate::evidence::PacketRef;
use crate::proto::{Cx, LiveRow};
use crate::time::CaptureTime;
use std::collections::{BTreeMap, VecDeque};
use zeroize::Zeroizing;

/// Ids of streams that left without an answer, which may still come.
const MAX_LEFT: usize = 64;
/// Heap bytes of open streams beyond which no more bodies are decoded.
const MAX_HELD: usize = 2 << 20;
/// Streams that wait behind their reset for an answer on its way.
const MAX_RESET: usize = 64;
/// A stream that is reset so soon was asked for to be reset.
const SOON_NS: i64 = 1_000_000_000;

/// One header block.
#[derive(Debug, Default)]
pub(super) struct Block {
    pub stream: u32,
    /// The stream that a PUSH_PROMISE opens.
    pub promised: u32,
    /// The side says nothing more on this stream.
    pub ends: bool,
    pub pushes: bool,
    /// Where its first frame began.
    pub began: (CaptureTime, PacketRef),
    /// Of a block in several frames, so far.
    pub bytes: Zeroizing<Vec<u8>>,
    /// How much of it was sent.
    pub sent: u64,
    /// How many frames it came in.
    pub parts: u32,
    /// More was sent than is kept.
    pub cut: bool,
}

/// What a header block says.
pub(super) struct Known<'a> {
    pub fields: &'a Fields,
    /// It was not read to its end.
    pub unread: bool,
}

/// The open streams of a connection.
#[derive(Debug, Default)]
pub(super) struct Streams {
    open: BTreeMap<u32, Stream>,
    /// Transactions that left.
    pub done: u64,
    /// Requests that came.
    begun: u32,
    /// The last stream that the client opened.
    last: u32,
    /// Requests may lie in what the capture lacks.
    missing: bool,
    left: VecDeque<u32>,
    /// Those that the client reset before an answer, which may be on its way.
    reset: BTreeMap<u32, Stream>,
    doh: Doh,
    /// Heap bytes of what is open.
    held: usize,
}

#[derive(Debug)]
struct Stream {
    tx: Box<HttpTransaction>,
    /// What is read of its bodies: of the request's and the answer's.
    peeks: [Peek; 2],
    /// Its place in the facts for NS-01, when it was kept there.
    index: Option<usize>,
    is_head: bool,
    request_done: bool,
    answering: bool,
    response_done: bool,
    /// Heap bytes counted for it.
    held: usize,
}

impl Stream {
    fn new(tx: Box<HttpTransaction>, index: Option<usize>) -> Self {
        Self {
            is_head: tx.text(Text::Method) == Some("HEAD"),
            tx,
            peeks: [Peek::default(), Peek::default()],
            index,
            request_done: false,
            answering: false,
            response_done: false,
            held: 0,
        }
    }

    fn heap_bytes(&self) -> usize {
        size_of::<Self>()
            + size_of::<HttpTransaction>()
            + self.tx.heap_bytes()
            + self.peeks.iter().map(Peek::heap_bytes).sum::<usize>()
    }

    /// What of its body came.
    fn body(&mut self, from: Role) -> &mut u64 {
        match from {
            Role::Client => &mut self.tx.request.body_bytes,
            Role::Server => &mut self.tx.response.body_bytes,
        }
    }
}

/// Pseudo-headers (RFC 9113 §8.3) and the rest, in their order.
#[derive(Default)]
struct Parts<'a> {
    method: Option<&'a [u8]>,
    scheme: Option<&'a [u8]>,
    authority: Option<&'a [u8]>,
    path: Option<&'a [u8]>,
    protocol: Option<&'a [u8]>,
    status: Option<&'a [u8]>,
    fields: Vec<Field<'a>>,
    /// Something is other than RFC 9113 §8.2 and §8.3 have it.
    odd: bool,
}

impl<'a> Parts<'a> {
    fn of(fields: &'a Fields) -> Self {
        let mut parts = Self::default();
        for (name, value) in fields.iter() {
            parts.odd |= value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0));
            if name.first() != Some(&b':') {
                parts.odd |= !is_allowed(name, value);
                // Names stand a line each in a table.
                if !name.contains(&b'\n') {
                    parts.fields.push((name, value));
                }
                continue;
            }
            let slot = match name {
                b":method" => &mut parts.method,
                b":scheme" => &mut parts.scheme,
                b":authority" => &mut parts.authority,
                b":path" => &mut parts.path,
                b":protocol" => &mut parts.protocol,
                b":status" => &mut parts.status,
                _ => {
                    parts.odd = true;
                    continue;
                }
            };
            // The first one counts.
            parts.odd |= slot.is_some() || !parts.fields.is_empty();
            slot.get_or_insert(value);
        }
        parts
    }

    fn asks(&self) -> bool {
        self.method.is_some() || self.path.is_some() || self.authority.is_some()
    }

    fn status(&self) -> Option<u16> {
        u16::try_from(decimal(self.status?)?).ok()
    }
}

/// RFC 9113 §8.2.1 and §8.2.2.
fn is_allowed(name: &[u8], value: &[u8]) -> bool {
    let is_connections = match name {
        b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding" | b"upgrade" => {
            true
        }
        b"te" => !value.eq_ignore_ascii_case(b"trailers"),
        _ => false,
    };
    !is_connections && head::is_token(name) && !name.iter().any(u8::is_ascii_uppercase)
}

impl Streams {
    /// The request that asked for the upgrade is stream 1's.
    pub(super) fn upgraded(&mut self, scene: &mut Scene<'_, '_>, upgrade: Upgrade) {
        let mut tx = upgrade.tx;
        (tx.version, tx.stream_id) = (HttpVersion::V2, Some(1));
        tx.depth = tx.depth.saturating_add(1);
        self.begun = tx.depth;
        self.done = u64::from(tx.depth.saturating_sub(1));
        self.last = 1;
        let mut stream = Stream::new(tx, upgrade.index);
        stream.request_done = upgrade.request_done;
        self.add(scene, 1, stream);
    }

    /// Requests may lie in what the capture lacks.
    pub(super) fn requests_missing(&mut self) {
        self.missing = true;
    }

    /// A header block of one side.
    pub(super) fn headers(
        &mut self,
        scene: &mut Scene<'_, '_>,
        from: Role,
        block: &Block,
        known: &Known<'_>,
    ) {
        let parts = Parts::of(known.fields);
        let unknown = known.unread || known.fields.unknown > 0;
        let id = block.stream;
        if block.pushes {
            return self.pushed(scene, block, known, &parts, unknown);
        }
        match (from, self.open.get_mut(&id)) {
            (Role::Client, None) if id > self.last && id % 2 == 1 => {
                self.last = id;
                if parts.asks() || unknown {
                    self.request(scene, block, known, &parts, unknown);
                }
            }
            (Role::Server, Some(stream)) => {
                let status = parts.status();
                // RFC 9110 §15.2: any number of these may come before the answer.
                if status.is_some_and(|status| (100..200).contains(&status)) {
                    return;
                }
                if !stream.answering && (status.is_some() || unknown) {
                    answer(scene, stream, block, known, &parts, unknown);
                } else {
                    grpc_status(&mut stream.tx, &parts.fields);
                }
                self.recount(id);
            }
            (Role::Server, None) if self.reset.contains_key(&id) => {
                let is_final = parts.status().is_none_or(|status| status >= 200);
                if is_final && let Some(mut stream) = self.reset.remove(&id) {
                    answer(scene, &mut stream, block, known, &parts, unknown);
                    self.leave(scene.cx, id, stream);
                }
                return;
            }
            (Role::Server, None) if self.missing && id % 2 == 1 && !self.left.contains(&id) => {
                if parts.status().is_none_or(|status| status < 200) {
                    return;
                }
                let mut tx = transaction(block);
                tx.oddities.add(Oddity::NoRequest);
                let mut stream = Stream::new(tx, None);
                stream.request_done = true;
                answer(scene, &mut stream, block, known, &parts, unknown);
                self.add(scene, id, stream);
            }
            // Trailers of a request; or a stream that is over.
            _ => {}
        }
        if block.ends {
            self.ends(scene, from, id);
        }
    }

    fn request(
        &mut self,
        scene: &mut Scene<'_, '_>,
        block: &Block,
        known: &Known<'_>,
        parts: &Parts<'_>,
        unknown: bool,
    ) {
        let mut tx = transaction(block);
        let length = read_request(scene, &mut tx, block, known, parts, unknown);
        let query = parts.path.and_then(|path| head::target(path, false).query);
        self.doh.target(scene, &tx, query, &parts.fields);
        let peek = if block.ends {
            Peek::default()
        } else {
            Peek::of_request(&tx, &parts.fields)
        };
        let index = facts::exchange(scene, &tx);
        tx.request.content_length = length;
        let mut stream = Stream::new(tx, index);
        stream.peeks[Role::Client.index()] = peek;
        self.add(scene, block.stream, stream);
    }

    /// The server asks itself, and answers (RFC 9113 §8.4).
    fn pushed(
        &mut self,
        scene: &mut Scene<'_, '_>,
        block: &Block,
        known: &Known<'_>,
        parts: &Parts<'_>,
        unknown: bool,
    ) {
        let id = block.promised;
        if id == 0 || id % 2 == 1 || self.open.contains_key(&id) {
            return;
        }
        let mut tx = transaction(block);
        tx.stream_id = Some(id);
        read_request(scene, &mut tx, block, known, parts, unknown);
        // No client sent it: nobody is to be judged by what it carries.
        tx.has_request = false;
        tx.credentials.clear();
        tx.oddities.add(Oddity::Pushed);
        let mut stream = Stream::new(tx, None);
        stream.request_done = true;
        self.add(scene, id, stream);
    }

    fn add(&mut self, scene: &mut Scene<'_, '_>, id: u32, mut stream: Stream) {
        if self.open.len() >= scene.cx.limits.http2_streams
            && let Some((oldest, stream)) = self.open.pop_first()
        {
            self.leave(scene.cx, oldest, stream);
            let cx = &mut *scene.cx;
            cx.anomalies
                .note(AnomalyKind::HttpLimit, cx.ts, cx.packet, || {
                    "more streams are open than the limits allow".to_owned()
                });
        }
        if stream.tx.depth == 0 {
            self.begun = self.begun.saturating_add(1);
            stream.tx.depth = self.begun;
        }
        stream.held = stream.heap_bytes();
        self.held = self.held.saturating_add(stream.held);
        self.open.insert(id, stream);
    }

    fn recount(&mut self, id: u32) {
        if let Some(stream) = self.open.get_mut(&id) {
            let held = stream.heap_bytes();
            self.held = self.held.saturating_sub(stream.held).saturating_add(held);
            stream.held = held;
        }
    }

    /// Bytes of a body; whether the next ones are wanted as well.
    pub(super) fn body(
        &mut self,
        scene: &mut Scene<'_, '_>,
        from: Role,
        id: u32,
        bytes: &[u8],
    ) -> bool {
        let Some(stream) = self.open.get_mut(&id) else {
            return false;
        };
        let body = stream.body(from);
        *body = body.saturating_add(bytes.len() as u64);
        let peek = &mut stream.peeks[from.index()];
        if peek.is_nothing() {
            return false;
        }
        if self.held > MAX_HELD {
            peek.spare(scene);
        }
        let before = peek.heap_bytes();
        let wants = peek.push(scene, &mut stream.tx, bytes);
        // What is held may be less than before: a candidate for a secret has ended.
        let after = peek.heap_bytes();
        stream.held = stream.held.saturating_sub(before).saturating_add(after);
        self.held = self.held.saturating_sub(before).saturating_add(after);
        wants
    }

    /// So many bytes of a body are to pass unseen.
    pub(super) fn passed(&mut self, from: Role, id: u32, len: u64) {
        if let Some(stream) = self.open.get_mut(&id) {
            let body = stream.body(from);
            *body = body.saturating_add(len);
        }
    }

    /// So many of them did not.
    pub(super) fn not_passed(&mut self, from: Role, id: u32, len: u64) {
        if let Some(stream) = self.open.get_mut(&id) {
            let body = stream.body(from);
            *body = body.saturating_sub(len);
        }
    }

    /// So many bytes of a body are not in the capture.
    pub(super) fn gap(&mut self, from: Role, id: u32, len: u64) {
        self.passed(from, id, len);
        if let Some(stream) = self.open.get_mut(&id) {
            stream.tx.oddities.add(Oddity::Gap);
            stream.peeks[from.index()].gap();
        }
    }

    /// One side says nothing more on a stream.
    pub(super) fn ends(&mut self, scene: &mut Scene<'_, '_>, from: Role, id: u32) {
        let Some(stream) = self.open.get_mut(&id) else {
            return;
        };
        let done = match from {
            Role::Client => &mut stream.request_done,
            Role::Server => &mut stream.response_done,
        };
        if std::mem::replace(done, true) {
            return;
        }
        let gap = stream.tx.oddities.has(Oddity::Gap);
        let peek = std::mem::take(&mut stream.peeks[from.index()]);
        peek.finish(scene, &mut stream.tx, &mut self.doh, from);
        facts::body(scene, stream.index, &stream.tx);
        let sizes = match from {
            Role::Client => &mut stream.tx.request,
            Role::Server => &mut stream.tx.response,
        };
        sizes.whole = true;
        // RFC 9113 §8.1.1; an answer without a body may state the length of one.
        let bare =
            from == Role::Server && (stream.is_head || matches!(stream.tx.status, Some(204 | 304)));
        let differs = sizes
            .content_length
            .is_some_and(|stated| stated != sizes.body_bytes);
        if differs && !bare && !gap {
            stream.tx.oddities.add(Oddity::LengthDiffers);
            facts::ambiguous(scene, stream.tx.oddities);
        }
        if stream.request_done
            && stream.response_done
            && let Some(stream) = self.open.remove(&id)
        {
            self.leave(scene.cx, id, stream);
        }
    }

    /// A stream is reset; whether that was soon, and before any answer.
    pub(super) fn reset(
        &mut self,
        scene: &mut Scene<'_, '_>,
        from: Role,
        id: u32,
        code: Option<u32>,
    ) -> bool {
        let Some(mut stream) = self.open.remove(&id) else {
            // Both sides give it up.
            if let Some(stream) = self.reset.remove(&id) {
                self.leave(scene.cx, id, stream);
            }
            return false;
        };
        // A server that has answered may so refuse the rest of a body (RFC 9113 §8.1).
        let is_polite = from == Role::Server && stream.response_done && code == Some(0);
        if !is_polite {
            stream.tx.oddities.add(Oddity::Reset);
        }
        let age = scene
            .cx
            .ts
            .as_nanos()
            .saturating_sub(stream.tx.ts.as_nanos());
        let early = !stream.answering && age < SOON_NS;
        if from == Role::Client && !stream.answering {
            self.wait(scene.cx, id, stream);
        } else {
            self.leave(scene.cx, id, stream);
        }
        early
    }

    /// Waits for the answer to what the client reset (RFC 9113 §5.1: `closed`).
    fn wait(&mut self, cx: &mut Cx<'_>, id: u32, mut stream: Stream) {
        // Nothing more is read of its bodies.
        stream.peeks = [Peek::default(), Peek::default()];
        let held = stream.heap_bytes();
        self.held = self.held.saturating_sub(stream.held).saturating_add(held);
        stream.held = held;
        if self.reset.len() >= MAX_RESET
            && let Some((oldest, stream)) = self.reset.pop_first()
        {
            self.leave(cx, oldest, stream);
        }
        self.reset.insert(id, stream);
    }

    /// The connection has ended: what is open is as whole as it gets.
    pub(super) fn end(&mut self, cx: &mut Cx<'_>) {
        while let Some((id, stream)) = self.reset.pop_first() {
            self.leave(cx, id, stream);
        }
        while let Some((id, mut stream)) = self.open.pop_first() {
            if !stream.request_done || stream.answering && !stream.response_done {
                stream.tx.oddities.add(Oddity::BodyShort);
            }
            self.leave(cx, id, stream);
        }
        self.doh.end(cx);
    }

    fn leave(&mut self, cx: &mut Cx<'_>, id: u32, stream: Stream) {
        self.done = self.done.saturating_add(1);
        self.held = self.held.saturating_sub(stream.held);
        if !stream.answering {
            if self.left.len() >= MAX_LEFT {
                self.left.pop_front();
            }
            self.left.push_back(id);
        }
        cx.rows.push(LiveRow::Http(stream.tx));
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.held + self.doh.heap_bytes() + self.left.capacity() * size_of::<u32>()
    }
}

fn transaction(block: &Block) -> Box<HttpTransaction> {
    Box::new(HttpTransaction {
        ts: block.began.0,
        packet: block.began.1,
        version: HttpVersion::V2,
        stream_id: Some(block.stream),
        ..HttpTransaction::default()
    })
}

/// Size of a header list (RFC 9113 §6.5.2), or of what was sent of one that was not read.
fn size(block: &Block, known: &Known<'_>) -> u64 {
    known.fields.listed.max(block.sent)
}

/// Takes a request's headers into its transaction; gives its Content-Length.
fn read_request(
    scene: &mut Scene<'_, '_>,
    tx: &mut HttpTransaction,
    block: &Block,
    known: &Known<'_>,
    parts: &Parts<'_>,
    unknown: bool,
) -> Option<u64> {
    let is_connect = parts.method == Some(b"CONNECT");
    let is_tunnel = is_connect && parts.protocol.is_none();
    let mut target = match parts.path {
        Some(path) => head::target(path, false),
        None => Target::default(),
    };
    target.scheme = parts.scheme.or(target.scheme);
    target.authority = parts.authority.or(target.authority);
    let length = head::length(&parts.fields, &mut tx.oddities);
    fields::request(
        scene,
        tx,
        parts.method.unwrap_or_default(),
        &target,
        &parts.fields,
    );
    tx.request.header_bytes = size(block, known);
    let lacks = parts.method.is_none()
        || parts.scheme.is_none() != is_tunnel
        || parts.path.is_none() != is_tunnel;
    if parts.odd || parts.status.is_some() || lacks && !unknown {
        tx.oddities.add(Oddity::FieldsInvalidH2);
    }
    if !unknown && tx.text(Text::Host).is_none() {
        tx.oddities.add(Oddity::HostMissing);
    }
    note_gaps(tx, known, unknown);
    facts::ambiguous(scene, tx.oddities);
    if let Some(protocol) = parts.protocol {
        // RFC 8441.
        tx.texts.set_lower(Text::UpgradedTo, protocol);
        if protocol == b"websocket" {
            scene.services.add("websocket");
        }
    }
    name_grpc(scene, tx, Text::RequestType);
    match length {
        Length::Fixed(length) => Some(length),
        Length::Chunked | Length::Unstated => None,
    }
}

/// Takes an answer's headers into its transaction.
fn answer(
    scene: &mut Scene<'_, '_>,
    stream: &mut Stream,
    block: &Block,
    known: &Known<'_>,
    parts: &Parts<'_>,
    unknown: bool,
) {
    let Stream { tx, index, .. } = stream;
    tx.ts_response = Some(block.began.0);
    tx.status = parts.status();
    tx.response.header_bytes = size(block, known);
    fields::response(scene, tx, &parts.fields);
    if let Length::Fixed(length) = head::length(&parts.fields, &mut tx.oddities) {
        tx.response.content_length = Some(length);
    }
    if parts.odd || parts.asks() {
        tx.oddities.add(Oddity::FieldsInvalidH2);
    }
    note_gaps(tx, known, unknown);
    facts::ambiguous(scene, tx.oddities);
    if let Some(status) = tx.status {
        facts::answer(scene, *index, status, &parts.fields);
    }
    name_grpc(scene, tx, Text::ResponseType);
    grpc_status(tx, &parts.fields);
    stream.peeks[Role::Server.index()] = Peek::of_answer(tx, &parts.fields);
    stream.answering = true;
}

fn note_gaps(tx: &mut HttpTransaction, known: &Known<'_>, unknown: bool) {
    if unknown {
        tx.oddities.add(Oddity::HeadersUnknown);
    }
    if known.fields.cut {
        tx.oddities.add(Oddity::TooManyFields);
    }
}

/// gRPC is named where its media type says so (gRPC over HTTP/2: `application/grpc`).
fn name_grpc(scene: &mut Scene<'_, '_>, tx: &mut HttpTransaction, text: Text) {
    let is_grpc = tx
        .text(text)
        .is_some_and(|kind| kind.starts_with("application/grpc"));
    if !is_grpc {
        return;
    }
    scene.services.add("grpc");
    // Path → "/" Service-Name "/" {method name}
    let method = tx.text(Text::Path).and_then(|path| path.strip_prefix('/'));
    if let Some(method) = method.map(str::to_owned) {
        tx.texts.set(Text::RpcMethod, method.as_bytes());
    }
}

/// Status and, where there is no answer but trailers, both in one.
fn grpc_status(tx: &mut HttpTransaction, fields: &[Field<'_>]) {
    if let Some(status) = head::value(fields, b"grpc-status").and_then(decimal) {
        tx.grpc_status = u16::try_from(status).ok();
    }
}
