//! HTTP/1 (RFC 9112): requests matched with their answers into transactions,
//! bodies measured and passed over, tunnels and upgrades handed on. HTTP/2
//! with prior knowledge is named only.
//!
//! ```text
//! client  head body head body ...     exchanges: a queue; requests enter at its
//! server       head body head ...     back, answers belong to its front
//! ```

mod content;
mod fields;
mod head;
mod jwt;
mod secrets;
mod transaction;

pub use jwt::Jwt;
pub use transaction::{
    Carrier, HttpCredential, HttpTransaction, HttpVersion, Oddities, Oddity, SetCookie, Sizes,
    Text, Texts,
};

use super::reader::{Next, Reader, Role, Scene, append_wiping};
use super::registry::{Look, Match};
use super::text::{bounded, contains_any_case, first_line, is_beginning_of, starts_with_any_case};
use super::{HttpExchange, MAX_HTTP_EXCHANGES, PlaintextFacts};
use crate::anomaly::AnomalyKind;
use crate::evidence::PacketRef;
use crate::proto::{Cx, LiveRow, Want};
use crate::time::CaptureTime;
use content::{Coding, Json, MAX_DECODED};
use head::{Head, Length, Start};
use std::collections::VecDeque;
use zeroize::Zeroizing;

/// RFC 9113 §3.4.
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Longest line that states a chunk's size, extensions included.
const MAX_CHUNK_LINE: usize = 4 << 10;
/// A request line that has not ended after so many bytes is judged by its beginning.
const LONG_REQUEST_LINE: usize = 4 << 10;
/// Bytes of a JSON body that are looked at.
const MAX_JSON: u64 = 1 << 20;

/// Whether bytes begin a request, a response, or an HTTP/2 connection.
pub(super) fn probe(look: &Look<'_>) -> Match {
    match probe_response(look.bytes) {
        Match::No => probe_request(look.bytes),
        found => found,
    }
}

/// The reader.
pub(super) fn open() -> Box<dyn Reader> {
    Box::new(Http::default())
}

fn probe_response(bytes: &[u8]) -> Match {
    const PREFIX: &[u8] = b"HTTP/1.";
    if is_beginning_of(bytes, PREFIX) {
        return Match::NeedMore;
    }
    let Some(rest) = bytes.strip_prefix(PREFIX) else {
        return Match::No;
    };
    let shape: [fn(&u8) -> bool; 5] = [
        |byte| matches!(byte, b'0' | b'1'),
        |byte| *byte == b' ',
        u8::is_ascii_digit,
        u8::is_ascii_digit,
        u8::is_ascii_digit,
    ];
    if !shape.iter().zip(rest).all(|(fits, byte)| fits(byte)) {
        return Match::No;
    }
    if rest.len() < shape.len() {
        return Match::NeedMore;
    }
    Match::Yes(Role::Server)
}

fn probe_request(bytes: &[u8]) -> Match {
    if is_beginning_of(bytes, H2_PREFACE) {
        return Match::NeedMore;
    }
    if bytes.starts_with(H2_PREFACE) {
        return Match::Yes(Role::Client);
    }
    let method_len = bytes
        .iter()
        .take_while(|byte| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_'))
        .count();
    if method_len > 20 {
        return Match::No;
    }
    match bytes.get(method_len) {
        None => return Match::NeedMore,
        Some(b' ') if method_len >= 3 => {}
        Some(_) => return Match::No,
    }
    if let Some(line) = first_line(bytes) {
        return Match::when(is_request_line(line), Role::Client);
    }
    let target = bytes.get(method_len + 1..).unwrap_or_default();
    if target.iter().any(|byte| *byte < b' ' && *byte != b'\r') {
        return Match::No;
    }
    if bytes.len() >= LONG_REQUEST_LINE {
        return Match::when(
            target.starts_with(b"/") || starts_with_any_case(target, b"http"),
            Role::Client,
        );
    }
    Match::NeedMore
}

fn is_request_line(line: &[u8]) -> bool {
    let Some((rest, version)) = line.split_at_checked(line.len().saturating_sub(9)) else {
        return false;
    };
    // HTTP/0.9 has no version and one method (RFC 1945 §4.1).
    matches!(version, b" HTTP/1.0" | b" HTTP/1.1") && rest.contains(&b' ')
        || is_simple_request(line)
}

/// `GET /path`, as HTTP/0.9 has it.
fn is_simple_request(line: &[u8]) -> bool {
    line.strip_prefix(b"GET /")
        .is_some_and(|path| path.iter().all(u8::is_ascii_graphic))
}

#[derive(Debug, Default)]
struct Http {
    sides: [Side; 2],
    /// Requests in order; all but the first few wait for their answer.
    exchanges: VecDeque<Exchange>,
    /// Transactions that left.
    done: u64,
    /// A request was sent before the one before it was answered.
    pipelined: bool,
    /// Answers are missing: whose the next one is has to be guessed.
    unsure: bool,
    http2: bool,
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

/// What is read of a body while it passes.
#[derive(Debug, Default)]
enum Peek {
    #[default]
    Nothing,
    /// A form, or a body under a coding: its beginning.
    Whole {
        kept: Zeroizing<Vec<u8>>,
        coding: Coding,
        json: bool,
    },
    Json(Box<JsonPeek>),
}

#[derive(Debug, Default)]
struct JsonPeek {
    json: Json,
    taken: u64,
    method: Option<String>,
    model: Option<String>,
    is_rpc: bool,
}

/// A request with its answer, as far as they came.
#[derive(Debug)]
struct Exchange {
    tx: Box<HttpTransaction>,
    kind: RequestKind,
    /// Its place in the facts for NS-01, when it was kept there.
    index: Option<usize>,
    request_done: bool,
    answering: bool,
    response_done: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RequestKind {
    Head,
    Connect,
    Other,
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

#[derive(Clone, Copy)]
enum Leave {
    Tls,
    Tunnel,
}

impl Reader for Http {
    fn data(&mut self, scene: &mut Scene<'_, '_>, from: Role, bytes: &[u8]) -> Next {
        let mut rest = bytes;
        loop {
            if self.side(from).state == State::Lost {
                let begins = match from {
                    Role::Client => probe_request(rest),
                    Role::Server => probe_response(rest),
                };
                if begins == Match::No {
                    return Next::BYTES;
                }
                self.side(from).state = State::Head;
            }
            if rest.is_empty() {
                return Next::BYTES;
            }
            if self.done >= scene.cx.limits.http_transactions {
                return self.give_up(scene);
            }
            let step = match self.side(from).state {
                State::Head => self.head(scene, from, &mut rest),
                State::Fixed(left) | State::Chunk(left) => self.body(scene, from, &mut rest, left),
                State::ChunkSize => self.chunk_size(scene, from, &mut rest),
                State::ChunkEnd => self.chunk_end(from, &mut rest),
                State::Trailers => self.trailers(scene, from, &mut rest),
                State::UntilEnd => {
                    let side = self.side(from);
                    side.body = side.body.saturating_add(rest.len() as u64);
                    return Next::NOTHING;
                }
                State::Ended | State::Lost => return Next::NOTHING,
            };
            match step {
                Step::Again => {}
                Step::Done(want) => return Next::Want(want),
                Step::Leave(Leave::Tls) => {
                    return Next::Tls {
                        after: bytes.len() - rest.len(),
                        transport: "http-upgrade",
                    };
                }
                Step::Leave(Leave::Tunnel) => {
                    return Next::Tunnel {
                        after: bytes.len() - rest.len(),
                        transport: "http-connect",
                    };
                }
            }
        }
    }

    fn gap(&mut self, from: Role, len: u64) -> Want {
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
                side.peek = Peek::Nothing;
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

    fn skipped(&mut self, from: Role, len: u64) {
        let side = self.side(from);
        if matches!(side.state, State::UntilEnd) {
            side.body = side.body.saturating_add(len);
        }
        side.promised = side.promised.saturating_sub(len);
    }

    fn end(&mut self, cx: &mut Cx<'_>, _facts: &mut PlaintextFacts) {
        let [client, server] = &self.sides;
        let (request_body, response_body) = (client.so_far(), server.so_far());
        let until_end = server.state == State::UntilEnd;
        if let Some(last) = self.exchanges.back_mut().filter(|last| !last.request_done) {
            last.tx.request.body_bytes = request_body;
            last.tx.oddities.add(Oddity::BodyShort);
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
    }

    fn heap_bytes(&self) -> usize {
        let of_side = |side: &Side| {
            side.partial.capacity()
                + match &side.peek {
                    Peek::Nothing => 0,
                    Peek::Whole { kept, .. } => kept.capacity(),
                    Peek::Json(peek) => size_of::<JsonPeek>() + peek.json.heap_bytes(),
                }
        };
        let [client, server] = &self.sides;
        let waiting = self
            .exchanges
            .iter()
            .take(4)
            .map(|one| one.tx.heap_bytes())
            .max();
        // Exact for a few, an estimate for many: this is asked with each packet.
        let each = size_of::<Exchange>() + size_of::<HttpTransaction>() + waiting.unwrap_or(0);
        of_side(client) + of_side(server) + self.exchanges.len() * each
    }
}

impl Side {
    /// How much of the body at hand was there.
    fn so_far(&self) -> u64 {
        self.body.saturating_sub(self.promised)
    }
}

impl Http {
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
        let http2 = self.http2;
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
        // HTTP/2's answer has no head; do not gather it.
        if http2 {
            side.state = State::Ended;
            return Step::Again;
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
            if self.http2 {
                self.side(from).state = State::Ended;
                return Step::Again;
            }
            scene.malformed("a head that is none");
            return self.lose(from, &mut &[][..]);
        };
        match head.start {
            Start::Preface => {
                self.http2 = true;
                self.side(Role::Client).state = State::Ended;
                Step::Again
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

    fn request(
        &mut self,
        scene: &mut Scene<'_, '_>,
        mut tx: Box<HttpTransaction>,
        method: &[u8],
        target: &[u8],
        head: Head<'_>,
    ) -> Step {
        let kind = match method {
            b"HEAD" => RequestKind::Head,
            b"CONNECT" => RequestKind::Connect,
            _ => RequestKind::Other,
        };
        tx.oddities.extend(head.oddities);
        let length = head::length(&head.fields, &mut tx.oddities);
        let parts = head::target(target, kind == RequestKind::Connect);
        fields::request(scene, &mut tx, method, &parts, &head.fields);
        if tx.version == HttpVersion::V11 && head::value(&head.fields, b"host").is_none() {
            tx.oddities.add(Oddity::HostMissing);
        }
        self.note_ambiguous(scene, tx.oddities);
        if let Length::Fixed(len) = length {
            tx.request.content_length = Some(len);
        }
        let peek = Peek::of_request(&tx, &head.fields);
        let no_body = !matches!(length, Length::Chunked | Length::Fixed(1..));
        let index = self.note_exchange(scene, &tx);
        self.enqueue(
            scene,
            Exchange {
                tx,
                kind,
                index,
                request_done: false,
                answering: false,
                response_done: false,
            },
        );
        let side = self.side(Role::Client);
        side.body = 0;
        if no_body {
            return self.request_ends(scene);
        }
        side.peek = peek;
        side.state = match length {
            Length::Fixed(len) => State::Fixed(len),
            _ => State::ChunkSize,
        };
        Step::Again
    }

    /// What NS-01 needs of a request in plaintext.
    fn note_exchange(&mut self, scene: &mut Scene<'_, '_>, tx: &HttpTransaction) -> Option<usize> {
        let facts = &mut *scene.facts;
        facts.http_exchanges = facts.http_exchanges.saturating_add(1);
        if facts.http.len() >= MAX_HTTP_EXCHANGES {
            return None;
        }
        let text = |text| tx.text(text).map(str::to_owned);
        facts.http.push(HttpExchange {
            ts: tx.ts,
            packet: tx.packet,
            method: text(Text::Method).unwrap_or_default(),
            host: text(Text::Host),
            path: text(Text::Path).unwrap_or_default(),
            status: None,
            location: None,
        });
        Some(facts.http.len() - 1)
    }

    fn note_ambiguous(&self, scene: &mut Scene<'_, '_>, oddities: Oddities) {
        if oddities.is_ambiguous() {
            let cx = &mut *scene.cx;
            cx.anomalies
                .note(AnomalyKind::HttpAmbiguous, cx.ts, cx.packet, || {
                    oddities.names().collect::<Vec<_>>().join(", ")
                });
        }
    }

    fn enqueue(&mut self, scene: &mut Scene<'_, '_>, exchange: Exchange) {
        if let Some(last) = self.exchanges.back_mut() {
            // A request follows only what was sent whole.
            last.request_done = true;
        }
        self.settle(scene);
        let unanswered = self.exchanges.iter().any(|one| !one.response_done);
        if self.unsure && !self.pipelined {
            // Their answers lay in what is missing.
            while let Some(one) = self.exchanges.pop_front() {
                self.leave(scene.cx, one);
            }
            self.unsure = false;
        } else if unanswered {
            self.pipelined = true;
        }
        if self.exchanges.len() >= scene.cx.limits.http_waiting {
            // Nobody answers, or the answers are not in the capture.
            while let Some(one) = self.exchanges.pop_front() {
                self.leave(scene.cx, one);
            }
            let cx = &mut *scene.cx;
            cx.anomalies
                .note(AnomalyKind::HttpLimit, cx.ts, cx.packet, || {
                    "more requests wait for an answer than the limits allow".to_owned()
                });
        }
        self.exchanges.push_back(exchange);
    }

    /// `GET /path` (RFC 1945 §4.1). Its answer is a body until the end, and says
    /// nothing of itself.
    fn simple_request(&mut self, scene: &mut Scene<'_, '_>, line: &[u8]) {
        let began = self.side(Role::Client).began.take();
        let (ts, packet) = began.unwrap_or((scene.cx.ts, scene.cx.packet));
        let target = line.strip_prefix(b"GET ").unwrap_or_default();
        let mut tx = Box::new(HttpTransaction {
            ts,
            packet,
            version: HttpVersion::V09,
            ..HttpTransaction::default()
        });
        tx.request.header_bytes = line.len() as u64;
        fields::request(scene, &mut tx, b"GET", &head::target(target, false), &[]);
        tx.request.whole = true;
        let index = self.note_exchange(scene, &tx);
        self.enqueue(
            scene,
            Exchange {
                tx,
                kind: RequestKind::Other,
                index,
                request_done: true,
                answering: true,
                response_done: false,
            },
        );
        self.side(Role::Client).state = State::Ended;
        self.side(Role::Server).state = State::UntilEnd;
    }

    fn response(
        &mut self,
        scene: &mut Scene<'_, '_>,
        began: (CaptureTime, PacketRef),
        version: HttpVersion,
        (status, reason): (u16, &[u8]),
        mut head: Head<'_>,
        header_bytes: usize,
    ) -> Step {
        // RFC 9110 §15.2: any number of these may come before the answer.
        if (100..200).contains(&status) && status != 101 {
            return Step::Again;
        }
        self.match_answer(scene, began, version);
        let length = head::length(&head.fields, &mut head.oddities);
        self.note_ambiguous(scene, head.oddities);
        let Some(exchange) = self.exchanges.iter_mut().find(|one| !one.response_done) else {
            return Step::Again;
        };
        exchange.answering = true;
        let tx = &mut *exchange.tx;
        tx.ts_response = Some(began.0);
        tx.status = Some(status);
        tx.response.header_bytes = header_bytes as u64;
        tx.texts.set(Text::ResponseMsg, reason);
        tx.oddities.extend(head.oddities);
        fields::response(tx, &head.fields);
        if let Length::Fixed(len) = length {
            tx.response.content_length = Some(len);
        }
        if let Some(known) = exchange.index.and_then(|at| scene.facts.http.get_mut(at)) {
            known.status = Some(status);
            if (300..400).contains(&status) {
                known.location = head::value(&head.fields, b"location").map(head::redirect);
            }
        }
        let kind = exchange.kind;
        self.side(Role::Server).body = 0;
        if status == 101 {
            return self.upgraded(scene, &head);
        }
        if kind == RequestKind::Connect && (200..300).contains(&status) {
            self.response_ends(scene);
            return Step::Leave(Leave::Tunnel);
        }
        let side = self.side(Role::Server);
        // RFC 9112 §6.3.
        match length {
            _ if kind == RequestKind::Head || matches!(status, 204 | 304) => {
                return self.response_ends(scene);
            }
            Length::Chunked => side.state = State::ChunkSize,
            Length::Fixed(0) => return self.response_ends(scene),
            Length::Fixed(len) => side.state = State::Fixed(len),
            Length::Unstated => side.state = State::UntilEnd,
        }
        Step::Again
    }

    /// Sees to it that the first unanswered exchange is the one that an answer
    /// belongs to; makes one where the request is not in the capture.
    fn match_answer(
        &mut self,
        scene: &mut Scene<'_, '_>,
        began: (CaptureTime, PacketRef),
        version: HttpVersion,
    ) {
        if std::mem::take(&mut self.unsure) {
            // Without pipelining, an answer is to the last request. With it,
            // nobody can tell.
            let keep = usize::from(!self.pipelined);
            let unanswered = self
                .exchanges
                .iter()
                .filter(|one| !one.response_done)
                .count();
            for _ in keep..unanswered {
                if let Some(mut one) = self.exchanges.pop_front() {
                    one.response_done = true;
                    self.leave(scene.cx, one);
                }
            }
        }
        if self.exchanges.iter().any(|one| !one.response_done) {
            return;
        }
        let mut tx = Box::new(HttpTransaction {
            ts: began.0,
            packet: began.1,
            version,
            ..HttpTransaction::default()
        });
        tx.oddities.add(Oddity::NoRequest);
        self.exchanges.push_back(Exchange {
            tx,
            kind: RequestKind::Other,
            index: None,
            request_done: true,
            answering: true,
            response_done: false,
        });
    }

    /// 101 Switching Protocols (RFC 9110 §7.8).
    fn upgraded(&mut self, scene: &mut Scene<'_, '_>, head: &Head<'_>) -> Step {
        let protocol = head::value(&head.fields, b"upgrade").unwrap_or_default();
        self.response_ends(scene);
        if starts_with_any_case(protocol, b"TLS/") {
            // RFC 2817 §3.3.
            return Step::Leave(Leave::Tls);
        }
        if contains_any_case(protocol, b"websocket") {
            scene.services.add("websocket");
        }
        for side in &mut self.sides {
            *side = Side {
                state: State::Ended,
                ..Side::default()
            };
        }
        Step::Again
    }

    /// Bytes of a body, of which so many are still to come. What no check needs
    /// is passed over but for its last byte, with which the body ends on time.
    fn body(&mut self, scene: &mut Scene<'_, '_>, from: Role, rest: &mut &[u8], left: u64) -> Step {
        let there = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
        let (bytes, after) = rest.split_at(there);
        *rest = after;
        let left = left - there as u64;
        let side = &mut self.sides[from.index()];
        side.body = side.body.saturating_add(there as u64);
        side.promised = 0;
        let mut wants = false;
        if !matches!(side.peek, Peek::Nothing) {
            let exchange = match from {
                Role::Client => self.exchanges.back_mut(),
                Role::Server => self.exchanges.iter_mut().find(|one| !one.response_done),
            };
            if let Some(exchange) = exchange {
                wants = side.peek.push(scene, &mut exchange.tx, bytes);
            }
        }
        if left > 0 {
            let passed = if wants { 0 } else { left - 1 };
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

    fn request_ends(&mut self, scene: &mut Scene<'_, '_>) -> Step {
        let side = &mut self.sides[Role::Client.index()];
        let peek = std::mem::take(&mut side.peek);
        side.state = State::Head;
        if let Some(last) = self.message_ends(Role::Client) {
            peek.finish(scene, &mut last.tx);
        }
        self.settle(scene);
        Step::Again
    }

    fn response_ends(&mut self, scene: &mut Scene<'_, '_>) -> Step {
        self.side(Role::Server).state = State::Head;
        self.message_ends(Role::Server);
        self.settle(scene);
        Step::Again
    }

    /// The message at hand is there to its end.
    fn message_ends(&mut self, from: Role) -> Option<&mut Exchange> {
        let body = self.side(from).body;
        let exchange = match from {
            Role::Client => self.exchanges.back_mut().filter(|last| !last.request_done),
            Role::Server => self.exchanges.iter_mut().find(|one| !one.response_done),
        }?;
        let sizes = match from {
            Role::Client => {
                exchange.request_done = true;
                &mut exchange.tx.request
            }
            Role::Server => {
                exchange.response_done = true;
                &mut exchange.tx.response
            }
        };
        sizes.body_bytes = body;
        sizes.whole = true;
        Some(exchange)
    }

    /// Lets go of what is whole.
    fn settle(&mut self, scene: &mut Scene<'_, '_>) {
        while let Some(first) = self.exchanges.front()
            && first.request_done
            && first.response_done
        {
            if let Some(exchange) = self.exchanges.pop_front() {
                self.leave(scene.cx, exchange);
            }
        }
    }

    fn leave(&mut self, cx: &mut Cx<'_>, exchange: Exchange) {
        self.done += 1;
        let mut tx = exchange.tx;
        tx.depth = u32::try_from(self.done).unwrap_or(u32::MAX);
        cx.rows.push(LiveRow::Http(tx));
    }

    /// `chunk-size [ chunk-ext ] CRLF` (RFC 9112 §7.1).
    fn chunk_size(&mut self, scene: &mut Scene<'_, '_>, from: Role, rest: &mut &[u8]) -> Step {
        let side = self.side(from);
        let Some(line) = take_line(&mut side.partial, rest) else {
            if side.partial.len() > MAX_CHUNK_LINE {
                scene.malformed("a chunk size without end");
                return self.lose(from, rest);
            }
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

    fn chunk_end(&mut self, from: Role, rest: &mut &[u8]) -> Step {
        let side = self.side(from);
        let Some(line) = take_line(&mut side.partial, rest) else {
            if side.partial.len() > 2 {
                self.mark(from, Oddity::ChunkEndOdd);
                return self.lose(from, rest);
            }
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
            // What a long trailer says is not read: do not gather it either.
            if side.partial.len() > MAX_CHUNK_LINE {
                side.partial.truncate(1);
            }
            return Step::Again;
        };
        let line = line.trim_ascii_end();
        if line.is_empty() {
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
        self.note_ambiguous(scene, one);
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

impl Peek {
    /// What of a request's body is read: forms for passwords, JSON for methods,
    /// models and passwords.
    fn of_request(tx: &HttpTransaction, fields: &[head::Field<'_>]) -> Self {
        let Some(media_type) = tx.text(Text::RequestType) else {
            return Self::Nothing;
        };
        let (form, json) = (fields::is_form(media_type), fields::is_json(media_type));
        match Coding::of(head::value(fields, b"content-encoding")) {
            Coding::Identity if json => Self::Json(Box::default()),
            Coding::Other => Self::Nothing,
            coding if form || json => Self::Whole {
                kept: Zeroizing::default(),
                coding,
                json,
            },
            _ => Self::Nothing,
        }
    }

    /// The next bytes; whether more are wanted.
    fn push(&mut self, scene: &mut Scene<'_, '_>, tx: &mut HttpTransaction, bytes: &[u8]) -> bool {
        match self {
            Self::Nothing => false,
            Self::Whole { kept, .. } => {
                let max = usize::try_from(scene.cx.limits.http_body_bytes).unwrap_or(usize::MAX);
                let room = max.saturating_sub(kept.len());
                append_wiping(kept, bytes.get(..room).unwrap_or(bytes));
                kept.len() < max
            }
            Self::Json(peek) => {
                peek.push(scene, tx, bytes);
                peek.taken < MAX_JSON && !peek.json.is_over()
            }
        }
    }

    /// The body has ended.
    fn finish(self, scene: &mut Scene<'_, '_>, tx: &mut HttpTransaction) {
        match self {
            Self::Nothing => {}
            Self::Json(peek) => peek.finish(tx),
            Self::Whole {
                mut kept,
                coding,
                json,
            } => {
                if coding != Coding::Identity {
                    let decoded = content::decode(coding, &kept, scene.cx.limits.http_body_ratio);
                    if decoded.bomb {
                        tx.oddities.add(Oddity::Bomb);
                        let cx = &mut *scene.cx;
                        cx.anomalies
                            .note(AnomalyKind::HttpBomb, cx.ts, cx.packet, || {
                                format!("a request's body; {MAX_DECODED} bytes of it were read")
                            });
                    }
                    if decoded.broken {
                        tx.oddities.add(Oddity::CodingBroken);
                    }
                    kept = decoded.bytes;
                }
                if json {
                    let mut peek = JsonPeek::default();
                    peek.push(scene, tx, &kept);
                    peek.finish(tx);
                } else {
                    secrets::of_form(scene, tx, &kept);
                }
            }
        }
    }
}

impl JsonPeek {
    fn push(&mut self, scene: &mut Scene<'_, '_>, tx: &mut HttpTransaction, bytes: &[u8]) {
        self.taken = self.taken.saturating_add(bytes.len() as u64);
        let Self {
            json,
            method,
            model,
            is_rpc,
            ..
        } = self;
        json.push(bytes, &mut |found| {
            if found.depth == 1 {
                match found.key {
                    // JSON-RPC 2.0 §4.
                    b"jsonrpc" => *is_rpc = true,
                    b"method" if method.is_none() => *method = found.value.text(128),
                    b"model" if model.is_none() => *model = found.value.text(128),
                    _ => {}
                }
            }
            if let content::Value::Text(raw, len) = found.value
                && len > 0
                && secrets::is_secret_field(found.key)
            {
                let class = "http_json_secret";
                secrets::note(scene, tx, class, Carrier::Body, found.key, raw, len);
            }
        });
    }

    fn finish(self, tx: &mut HttpTransaction) {
        if let Some(method) = self.method.filter(|_| self.is_rpc) {
            tx.texts.set(Text::RpcMethod, method.as_bytes());
        }
        if let Some(model) = self.model {
            tx.texts
                .set(Text::Model, bounded(model.as_bytes(), 128).as_bytes());
        }
    }
}

impl PlaintextFacts {
    /// Heap bytes held, roughly.
    pub(crate) fn heap_bytes(&self) -> usize {
        let exchange = |exchange: &HttpExchange| {
            size_of::<HttpExchange>()
                + exchange.method.len()
                + exchange.path.len()
                + exchange.host.as_ref().map_or(0, String::len)
                + exchange
                    .location
                    .as_ref()
                    .map_or(0, |target| target.scheme.len() + target.host.len())
        };
        size_of::<Self>()
            + self.credentials.capacity() * size_of::<super::CredentialSeen>()
            + self.http.iter().map(exchange).sum::<usize>()
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

/// The next line, its CR included and its LF not, from what was kept and what is there.
fn take_line(partial: &mut Zeroizing<Vec<u8>>, rest: &mut &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let Some(end) = memchr::memchr(b'\n', rest) else {
        let kept = rest.get(..=MAX_CHUNK_LINE).unwrap_or(rest);
        append_wiping(partial, kept);
        *rest = &[];
        return None;
    };
    let (line, after) = rest.split_at(end);
    let kept = line.get(..=MAX_CHUNK_LINE).unwrap_or(line);
    append_wiping(partial, kept);
    *rest = after.get(1..).unwrap_or_default();
    Some(std::mem::take(partial))
}

#[cfg(test)]
pub(super) mod tests;
