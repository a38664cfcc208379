//! HTTP/1 (RFC 9112): heads, bodies by length, by chunks or until the end, and
//! what follows an upgrade. Bodies are measured and passed over.
//!
//! ```text
//! client  head body head body ...     exchanges: a queue; requests enter at its
//! server       head body head ...     back, answers belong to its front
//! ```

mod exchanges;

use super::super::reader::{Next, Role, Scene, append_wiping};
use super::super::registry::Match;
use super::super::text::{first_line, starts_with_any_case};
use super::body::Peek;
use super::doh::Doh;
use super::facts;
use super::head::{self, Start};
use super::probe::{self, LONG_REQUEST_LINE, is_simple_request};
use super::transaction::{HttpTransaction, Oddities, Oddity};
use crate::anomaly::AnomalyKind;
use crate::evidence::PacketRef;
use crate::proto::{Cx, Want};
use crate::time::CaptureTime;
use exchanges::Exchange;
use std::collections::VecDeque;
use zeroize::Zeroizing;

/// Longest line that states a chunk's size, extensions included.
const MAX_CHUNK_LINE: usize = 4 << 10;
/// Bytes before the LF behind a chunk with which its framing is still believed:
/// the CR, and one that does not belong there.
const MAX_CHUNK_END: usize = 2;

/// The reader.
#[derive(Debug, Default)]
pub(super) struct Http1 {
    sides: [Side; 2],
    /// Requests in order; all but the first few wait for their answer.
    exchanges: VecDeque<Exchange>,
    /// Transactions that left.
    done: u64,
    /// A request was sent before the one before it was answered.
    pipelined: bool,
    doh: Doh,
    /// Answers are missing: whose the next one is has to be guessed.
    unsure: bool,
}

#[derive(Debug, Default)]
struct Side {
    state: State,
    /// An incomplete head or line.
    partial: Zeroizing<Vec<u8>>,
    /// How much of an incomplete head was searched for its end.
    searched: usize,
    /// Where the incomplete head began.
    began: Option<(CaptureTime, PacketRef)>,
    /// Bytes of the body at hand.
    body: u64,
    /// Those of them that are to be passed over and were not seen to pass yet.
    promised: u64,
    /// What is read of it.
    peek: Peek,
    /// Whether all of it is to be looked through for secrets.
    scans: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    /// So many bytes of the body are still to come.
    Fixed(u64),
    ChunkSize,
    /// So many bytes of the chunk are still to come.
    Chunk(u64),
    ChunkEnd,
    Trailers,
    /// A body until the connection closes.
    UntilEnd,
    /// Nothing more is read: another protocol.
    Ended,
    /// After a gap: waiting for a segment that begins with a head.
    Lost,
}

/// What one step of reading gave.
enum Step {
    /// Go on with the rest.
    Again,
    /// All bytes were used.
    Done(Want),
    /// Another protocol follows.
    Leave(Leave),
}

enum Leave {
    Tls,
    Tunnel,
    Http2(Option<Upgrade>),
}

enum Read {
    Next(Next),
    Leave(Leave),
}

/// What reading gave.
pub(super) enum Outcome {
    Next(Next),
    /// After so many of the bytes given, HTTP/2 begins in both directions: after
    /// an upgrade, or with the first half of the preface, which was read.
    Http2(usize, Option<Upgrade>),
}

/// What is handed over when a connection goes on in HTTP/2 (RFC 7540 §3.2).
pub(super) struct Upgrade {
    pub tx: Box<HttpTransaction>,
    /// Its place in the facts for NS-01.
    pub index: Option<usize>,
    /// The request was there to its end.
    pub request_done: bool,
    /// `HTTP2-Settings`, decoded.
    pub settings: Option<Vec<u8>>,
    /// What the client already sent beyond its request.
    pub sent: Zeroizing<Vec<u8>>,
}

impl Http1 {
    /// See [`super::super::reader::Reader`], for this and what follows.
    pub(super) fn data(&mut self, scene: &mut Scene<'_, '_>, from: Role, bytes: &[u8]) -> Outcome {
        let mut rest = bytes;
        let next = match self.read(scene, from, &mut rest) {
            Read::Next(next) => next,
            Read::Leave(leave) => {
                let after = bytes.len() - rest.len();
                match leave {
                    Leave::Tls => Next::Tls {
                        after,
                        transport: "http-upgrade",
                    },
                    Leave::Tunnel => Next::Tunnel {
                        after,
                        transport: "http-connect",
                    },
                    Leave::Http2(upgrade) => return Outcome::Http2(after, upgrade),
                }
            }
        };
        Outcome::Next(next)
    }

    fn read(&mut self, scene: &mut Scene<'_, '_>, from: Role, rest: &mut &[u8]) -> Read {
        loop {
            if self.side(from).state == State::Lost {
                let begins = match from {
                    Role::Client => probe::request(rest),
                    Role::Server => probe::response(rest),
                };
                if begins == Match::No {
                    return Read::Next(Next::BYTES);
                }
                self.side(from).state = State::Head;
            }
            if rest.is_empty() {
                return Read::Next(Next::BYTES);
            }
            if self.done >= scene.cx.limits.http_transactions {
                return Read::Next(self.give_up(scene));
            }
            let step = match self.side(from).state {
                State::Head => self.head(scene, from, rest),
                State::Fixed(left) | State::Chunk(left) => self.body(scene, from, rest, left),
                State::ChunkSize => self.chunk_size(scene, from, rest),
                State::ChunkEnd => self.chunk_end(scene, from, rest),
                State::Trailers => self.trailers(scene, from, rest),
                State::UntilEnd => {
                    let side = self.side(from);
                    side.body = side.body.saturating_add(rest.len() as u64);
                    return Read::Next(if side.scans {
                        Next::BYTES
                    } else {
                        Next::NOTHING
                    });
                }
                State::Ended | State::Lost => return Read::Next(Next::NOTHING),
            };
            match step {
                Step::Again => {}
                Step::Done(want) => return Read::Next(Next::Want(want)),
                Step::Leave(leave) => return Read::Leave(leave),
            }
        }
    }

    pub(super) fn gap(&mut self, from: Role, len: u64) -> Want {
        let exchange = match from {
            Role::Client => self.exchanges.back_mut().filter(|last| !last.request_done),
            Role::Server => self
                .exchanges
                .iter_mut()
                .find(|one| one.answering && !one.response_done),
        };
        if let Some(exchange) = exchange {
            exchange.tx.oddities.add(Oddity::Gap);
        }
        let side = &mut self.sides[from.index()];
        match side.state {
            State::Ended | State::UntilEnd => return Want::Nothing,
            // The body's end is known all the same.
            State::Fixed(left) | State::Chunk(left) if left >= len => {
                side.body = side.body.saturating_add(len);
                side.promised = 0;
                side.peek.gap();
                side.state = match (side.state, left - len) {
                    (State::Chunk(_), 0) => State::ChunkEnd,
                    (State::Chunk(_), left) => State::Chunk(left),
                    (_, 0) => State::Head,
                    (_, left) => State::Fixed(left),
                };
                if side.state == State::Head {
                    self.message_ends(from);
                }
                return Want::Bytes;
            }
            _ => {}
        }
        let body = side.so_far();
        *side = Side {
            state: State::Lost,
            ..Side::default()
        };
        match from {
            Role::Client => {
                if let Some(last) = self.exchanges.back_mut().filter(|last| !last.request_done) {
                    last.request_done = true;
                    last.tx.request.body_bytes = body;
                }
            }
            Role::Server => {
                self.unsure = true;
                if let Some(one) = self.exchanges.iter_mut().find(|one| !one.response_done)
                    && one.answering
                {
                    one.response_done = true;
                    one.tx.response.body_bytes = body;
                }
            }
        }
        Want::Bytes
    }

    pub(super) fn skipped(&mut self, from: Role, len: u64) {
        let side = self.side(from);
        if matches!(side.state, State::UntilEnd) {
            side.body = side.body.saturating_add(len);
        }
        side.promised = side.promised.saturating_sub(len);
    }

    pub(super) fn end(&mut self, cx: &mut Cx<'_>) {
        let [client, server] = &mut self.sides;
        let cut_off = std::mem::take(&mut client.peek);
        let (request_body, response_body) = (client.so_far(), server.so_far());
        let until_end = server.state == State::UntilEnd;
        if let Some(last) = self.exchanges.back_mut().filter(|last| !last.request_done) {
            last.tx.request.body_bytes = request_body;
            last.tx.oddities.add(Oddity::BodyShort);
            cut_off.cut_off(&mut last.tx);
        }
        if let Some(one) = self.exchanges.iter_mut().find(|one| !one.response_done)
            && one.answering
        {
            one.tx.response.body_bytes = response_body;
            one.tx.response.whole = until_end;
            if !until_end {
                one.tx.oddities.add(Oddity::BodyShort);
            }
        }
        while let Some(exchange) = self.exchanges.pop_front() {
            self.leave(cx, exchange);
        }
        self.doh.end(cx);
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let of_side = |side: &Side| side.partial.capacity() + side.peek.heap_bytes();
        let [client, server] = &self.sides;
        let waiting = self
            .exchanges
            .iter()
            .take(4)
            .map(|one| one.tx.heap_bytes())
            .max();
        // Exact for a few, an estimate for many: this is asked with each packet.
        let each = size_of::<Exchange>() + size_of::<HttpTransaction>() + waiting.unwrap_or(0);
        of_side(client) + of_side(server) + self.doh.heap_bytes() + self.exchanges.len() * each
    }
}

impl Side {
    /// How much of the body at hand was there.
    fn so_far(&self) -> u64 {
        self.body.saturating_sub(self.promised)
    }
}

impl Http1 {
    fn side(&mut self, role: Role) -> &mut Side {
        &mut self.sides[role.index()]
    }

    fn give_up(&mut self, scene: &mut Scene<'_, '_>) -> Next {
        let cx = &mut *scene.cx;
        cx.anomalies
            .note(AnomalyKind::HttpLimit, cx.ts, cx.packet, || {
                "more transactions in one flow than the limits allow; the rest is not read"
                    .to_owned()
            });
        self.exchanges.clear();
        for side in &mut self.sides {
            *side = Side {
                state: State::Ended,
                ..Side::default()
            };
        }
        Next::NOTHING
    }

    fn head(&mut self, scene: &mut Scene<'_, '_>, from: Role, rest: &mut &[u8]) -> Step {
        let max_head = scene.cx.limits.http_head_bytes;
        let side = self.side(from);
        if side.partial.is_empty() {
            // Empty lines before a head are allowed (RFC 9112 §2.2).
            *rest = rest.trim_ascii_start();
            if rest.is_empty() {
                return Step::Again;
            }
            side.began = Some((scene.cx.ts, scene.cx.packet));
            let line = (from == Role::Client).then(|| first_line(rest)).flatten();
            if let Some(line) = line.filter(|line| is_simple_request(line)) {
                self.simple_request(scene, line);
                *rest = &[];
                return Step::Again;
            }
            if let Some(end) = head_end(rest, 0).filter(|end| *end <= max_head) {
                let (head, after) = rest.split_at(end);
                *rest = after;
                return self.whole_head(scene, from, head);
            }
        }
        let before = side.partial.len();
        let room = max_head.saturating_sub(before);
        append_wiping(&mut side.partial, rest.get(..room).unwrap_or(rest));
        let line = (from == Role::Client && side.searched <= LONG_REQUEST_LINE)
            .then(|| first_line(&side.partial))
            .flatten();
        if line.is_some_and(is_simple_request) {
            let whole = std::mem::take(&mut side.partial);
            self.simple_request(scene, first_line(&whole).unwrap_or_default());
            *rest = &[];
            return Step::Again;
        }
        let from_byte = side.searched.saturating_sub(3);
        match head_end(&side.partial, from_byte) {
            Some(end) => {
                let used = end.saturating_sub(before);
                *rest = rest.get(used..).unwrap_or_default();
                let mut head = std::mem::take(&mut side.partial);
                side.searched = 0;
                head.truncate(end);
                self.whole_head(scene, from, &head)
            }
            None if rest.len() >= room => {
                let cx = &mut *scene.cx;
                cx.anomalies
                    .note(AnomalyKind::HttpLimit, cx.ts, cx.packet, || {
                        format!("a head longer than {max_head} bytes, which is not read")
                    });
                self.lose(from, rest)
            }
            None => {
                side.searched = side.partial.len();
                *rest = &[];
                Step::Again
            }
        }
    }

    fn whole_head(&mut self, scene: &mut Scene<'_, '_>, from: Role, bytes: &[u8]) -> Step {
        let began = self.side(from).began.take();
        let (ts, packet) = began.unwrap_or((scene.cx.ts, scene.cx.packet));
        let read = match from {
            Role::Client => head::request(bytes),
            Role::Server => head::response(bytes),
        };
        let Some(head) = read else {
            scene.malformed("a head that is none");
            return self.lose(from, &mut &[][..]);
        };
        match head.start {
            Start::Preface => {
                while let Some(one) = self.exchanges.pop_front() {
                    self.leave(scene.cx, one);
                }
                Step::Leave(Leave::Http2(None))
            }
            Start::Request {
                method,
                target,
                version,
            } => {
                let mut tx = Box::new(HttpTransaction {
                    ts,
                    packet,
                    version,
                    ..HttpTransaction::default()
                });
                tx.request.header_bytes = bytes.len() as u64;
                self.request(scene, tx, method, target, head)
            }
            Start::Status {
                version,
                code,
                reason,
            } => self.response(
                scene,
                (ts, packet),
                version,
                (code, reason),
                head,
                bytes.len(),
            ),
        }
    }

    /// The next bytes of a body or chunk of known length. What nobody reads of
    /// it is passed over but for its last byte, with which the body ends on time.
    fn body(&mut self, scene: &mut Scene<'_, '_>, from: Role, rest: &mut &[u8], left: u64) -> Step {
        let there = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
        let (bytes, after) = rest.split_at(there);
        *rest = after;
        let left = left - there as u64;
        let side = &mut self.sides[from.index()];
        side.body = side.body.saturating_add(there as u64);
        side.promised = 0;
        let mut wants = false;
        if !side.peek.is_nothing() {
            let exchange = match from {
                Role::Client => self.exchanges.back_mut(),
                Role::Server => self.exchanges.iter_mut().find(|one| !one.response_done),
            };
            if let Some(exchange) = exchange {
                wants = side.peek.push(scene, &mut exchange.tx, bytes);
            }
        }
        if left > 0 {
            let passed = if wants || side.scans { 0 } else { left - 1 };
            side.body = side.body.saturating_add(passed);
            side.promised = passed;
            let left = left - passed;
            side.state = match side.state {
                State::Chunk(_) => State::Chunk(left),
                _ => State::Fixed(left),
            };
            return Step::Done(if passed > 0 {
                Want::Skip(passed)
            } else {
                Want::Bytes
            });
        }
        if matches!(side.state, State::Chunk(_)) {
            side.state = State::ChunkEnd;
            return Step::Again;
        }
        self.body_ends(scene, from)
    }

    fn body_ends(&mut self, scene: &mut Scene<'_, '_>, from: Role) -> Step {
        match from {
            Role::Client => self.request_ends(scene),
            Role::Server => self.response_ends(scene),
        }
    }

    /// `chunk-size [ chunk-ext ] CRLF` (RFC 9112 §7.1).
    fn chunk_size(&mut self, scene: &mut Scene<'_, '_>, from: Role, rest: &mut &[u8]) -> Step {
        let side = self.side(from);
        let line = take_line(&mut side.partial, rest);
        if line.as_ref().unwrap_or(&side.partial).len() > MAX_CHUNK_LINE {
            scene.malformed("a chunk size without end");
            return self.lose(from, rest);
        }
        let Some(line) = line else {
            return Step::Again;
        };
        let (line, has_cr) = match line.strip_suffix(b"\r") {
            Some(line) => (line, true),
            None => (&line[..], false),
        };
        let digits = line
            .iter()
            .take_while(|byte| byte.is_ascii_hexdigit())
            .count();
        let (digits, after) = line.split_at(digits);
        let size = (digits.len() <= 15)
            .then(|| std::str::from_utf8(digits).ok())
            .flatten()
            .and_then(|digits| u64::from_str_radix(digits, 16).ok());
        let odd = !has_cr || !matches!(after.trim_ascii().first(), None | Some(b';'));
        if odd {
            self.odd(scene, from, Oddity::ChunkSizeOdd);
        }
        let side = self.side(from);
        match size {
            Some(0) => side.state = State::Trailers,
            Some(size) => side.state = State::Chunk(size),
            None => {
                scene.malformed("a chunk size that is no number");
                return self.lose(from, rest);
            }
        }
        Step::Again
    }

    fn chunk_end(&mut self, scene: &mut Scene<'_, '_>, from: Role, rest: &mut &[u8]) -> Step {
        let side = self.side(from);
        let line = take_line(&mut side.partial, rest);
        if line.as_ref().unwrap_or(&side.partial).len() > MAX_CHUNK_END {
            scene.malformed("a chunk that no line end follows");
            self.mark(from, Oddity::ChunkEndOdd);
            return self.lose(from, rest);
        }
        let Some(line) = line else {
            return Step::Again;
        };
        side.state = State::ChunkSize;
        if &line[..] != b"\r" {
            self.mark(from, Oddity::ChunkEndOdd);
        }
        Step::Again
    }

    fn trailers(&mut self, scene: &mut Scene<'_, '_>, from: Role, rest: &mut &[u8]) -> Step {
        let side = self.side(from);
        let Some(line) = take_line(&mut side.partial, rest) else {
            return Step::Again;
        };
        let is_cut = line.len() > MAX_CHUNK_LINE;
        let line = line.trim_ascii_end();
        if line.is_empty() && !is_cut {
            return self.body_ends(scene, from);
        }
        if [&b"content-length"[..], b"transfer-encoding", b"host"]
            .iter()
            .any(|name| starts_with_any_case(line, name))
        {
            self.odd(scene, from, Oddity::TrailerOdd);
        }
        Step::Again
    }

    /// Marks the message at hand.
    fn mark(&mut self, from: Role, oddity: Oddity) {
        let exchange = match from {
            Role::Client => self.exchanges.back_mut(),
            Role::Server => self.exchanges.iter_mut().find(|one| !one.response_done),
        };
        if let Some(exchange) = exchange {
            exchange.tx.oddities.add(oddity);
        }
    }

    fn odd(&mut self, scene: &mut Scene<'_, '_>, from: Role, oddity: Oddity) {
        let mut one = Oddities::default();
        one.add(oddity);
        facts::ambiguous(scene, one);
        self.mark(from, oddity);
    }

    /// Framing is lost: what follows is read again from a segment that begins a head.
    fn lose(&mut self, from: Role, rest: &mut &[u8]) -> Step {
        *rest = &[];
        let body = self.side(from).so_far();
        *self.side(from) = Side {
            state: State::Lost,
            ..Side::default()
        };
        match from {
            Role::Client => {
                if let Some(last) = self.exchanges.back_mut().filter(|last| !last.request_done) {
                    last.request_done = true;
                    last.tx.request.body_bytes = body;
                }
            }
            Role::Server => {
                if let Some(one) = self.exchanges.iter_mut().find(|one| !one.response_done)
                    && one.answering
                {
                    one.response_done = true;
                    one.tx.response.body_bytes = body;
                }
            }
        }
        Step::Again
    }
}

/// Where the head that begins `bytes` ends, its empty line included; bytes
/// before `from` are known to have no end.
fn head_end(bytes: &[u8], from: usize) -> Option<usize> {
    let searched = bytes.get(from..)?;
    memchr::memchr_iter(b'\n', searched).find_map(|at| {
        let after = from + at + 1;
        match bytes.get(after..)? {
            [b'\n', ..] => Some(after + 1),
            [b'\r', b'\n', ..] => Some(after + 2),
            _ => None,
        }
    })
}

/// The next line, its CR included and its LF not, from what was kept and what
/// is there. Of a line longer than [`MAX_CHUNK_LINE`], so much and one byte more.
fn take_line(partial: &mut Zeroizing<Vec<u8>>, rest: &mut &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let end = memchr::memchr(b'\n', rest);
    let (line, after) = rest.split_at(end.unwrap_or(rest.len()));
    let room = (MAX_CHUNK_LINE + 1).saturating_sub(partial.len());
    append_wiping(partial, line.get(..room).unwrap_or(line));
    *rest = after.get(1..).unwrap_or_default();
    end.map(|_| std::mem::take(partial))
}
