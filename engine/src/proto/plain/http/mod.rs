//! HTTP/1 (RFC 9112): requests matched with their answers, bodies passed over,
//! tunnels and upgrades handed on. HTTP/2 with prior knowledge is named only.

mod head;
mod secrets;

use super::reader::{Next, Reader, Role, Scene, append_wiping};
use super::registry::{Look, Match};
use super::text::{contains_any_case, decimal, first_line, is_beginning_of, starts_with_any_case};
use super::{HttpExchange, MAX_HTTP_EXCHANGES, PlaintextFacts};
use crate::evidence::PacketRef;
use crate::proto::Want;
use crate::time::CaptureTime;
use head::{Head, Length};
use std::collections::VecDeque;
use zeroize::Zeroizing;

/// RFC 9113 §3.4.
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Longest head kept, as most servers have it or less.
const MAX_HEAD: usize = 64 << 10;
/// Longest form that is searched for passwords.
const MAX_FORM: u64 = 64 << 10;
/// Longest line that states a chunk's size, extensions included.
const MAX_CHUNK_LINE: usize = 4 << 10;
/// Requests that may be waiting for their answer.
const MAX_PENDING: usize = 1024;
/// A request line that has not ended after so many bytes is judged by its beginning.
const LONG_REQUEST_LINE: usize = 4 << 10;

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
    pending: VecDeque<Pending>,
    http2: bool,
}

#[derive(Debug, Default)]
struct Side {
    state: State,
    /// An incomplete head, line or form.
    partial: Zeroizing<Vec<u8>>,
    /// How much of an incomplete head was searched for its end.
    searched: usize,
    /// Where the incomplete head began.
    began: Option<(CaptureTime, PacketRef)>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    /// So many bytes of a form are still to come.
    Form(u64),
    ChunkSize,
    Trailers,
    /// Nothing more is read: a body until the end, another protocol.
    Ended,
    /// After a gap: waiting for a segment that begins with a head.
    Lost,
}

/// A request that waits for its answer.
#[derive(Debug, Clone, Copy)]
struct Pending {
    /// Its place in the facts, when it was kept.
    index: Option<usize>,
    kind: RequestKind,
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
    /// All bytes were used; so many of the stream's next are a body.
    Pass(u64),
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
            let step = match self.side(from).state {
                State::Head => self.head(scene, from, &mut rest),
                State::Form(left) => self.form(scene, from, &mut rest, left),
                State::ChunkSize => self.chunk_size(scene, from, &mut rest),
                State::Trailers => self.trailers(from, &mut rest),
                State::Ended | State::Lost => return Next::NOTHING,
            };
            match step {
                Step::Again => {}
                Step::Pass(len) => {
                    let there = usize::try_from(len).map_or(rest.len(), |len| len.min(rest.len()));
                    rest = rest.get(there..).unwrap_or_default();
                    let left = len - there as u64;
                    if left > 0 {
                        return Next::Want(Want::Skip(left));
                    }
                }
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

    fn gap(&mut self, from: Role, _len: u64) -> Want {
        if from == Role::Server {
            // Whole answers may be missing: which request the next one answers is not known.
            self.pending.clear();
        }
        let side = self.side(from);
        if side.state == State::Ended {
            return Want::Nothing;
        }
        *side = Side {
            state: State::Lost,
            ..Side::default()
        };
        Want::Bytes
    }

    fn heap_bytes(&self) -> usize {
        let [client, server] = &self.sides;
        client.partial.capacity()
            + server.partial.capacity()
            + self.pending.capacity() * size_of::<Pending>()
    }
}

impl Http {
    fn side(&mut self, role: Role) -> &mut Side {
        &mut self.sides[role.index()]
    }

    fn head(&mut self, scene: &mut Scene<'_, '_>, from: Role, rest: &mut &[u8]) -> Step {
        let http2 = self.http2;
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
            if let Some(end) = head_end(rest, 0) {
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
        let room = MAX_HEAD.saturating_sub(before);
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
                scene.malformed("a head without end");
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
        let head = Head::new(bytes);
        match from {
            Role::Client => self.request(scene, &head),
            Role::Server => self.response(scene, &head),
        }
    }

    fn request(&mut self, scene: &mut Scene<'_, '_>, head: &Head<'_>) -> Step {
        let Some(request) = head.request() else {
            return self.no_head(scene, Role::Client);
        };
        if request.method == b"PRI" && request.is_http2 {
            self.http2 = true;
            self.side(Role::Client).state = State::Ended;
            return Step::Again;
        }
        let began = self.side(Role::Client).began.take();
        let (ts, packet) = began.unwrap_or((scene.cx.ts, scene.cx.packet));
        let facts = &mut *scene.facts;
        facts.http_exchanges = facts.http_exchanges.saturating_add(1);
        let kind = match request.method {
            b"HEAD" => RequestKind::Head,
            b"CONNECT" => RequestKind::Connect,
            _ => RequestKind::Other,
        };
        let index = (facts.http.len() < MAX_HTTP_EXCHANGES).then(|| {
            let target = head::target(request.target, kind == RequestKind::Connect);
            let host = target.host.or_else(|| head.host());
            facts.http.push(HttpExchange {
                ts,
                packet,
                method: super::text::bounded(request.method, head::MAX_METHOD),
                host,
                path: target.path,
                status: None,
                location: None,
            });
            facts.http.len() - 1
        });
        if self.pending.len() < MAX_PENDING {
            self.pending.push_back(Pending { index, kind });
        } else {
            // Nobody answers, or the answers are not in the capture.
            self.pending.clear();
        }
        secrets::of_request(scene, head, request.target);
        let length = head.length();
        if length.contradicts {
            scene.malformed("lengths that contradict each other");
        }
        let is_form = head
            .value(b"content-type")
            .is_some_and(|kind| contains_any_case(kind, b"x-www-form-urlencoded"));
        let side = self.side(Role::Client);
        match length.kind {
            Length::Chunked => side.state = State::ChunkSize,
            Length::Fixed(len) if is_form && len <= MAX_FORM && len > 0 => {
                side.state = State::Form(len);
            }
            Length::Fixed(len) => return Step::Pass(len),
            Length::Unstated => {}
        }
        Step::Again
    }

    /// Its answer is a body until the end, and says nothing of itself.
    fn simple_request(&mut self, scene: &mut Scene<'_, '_>, line: &[u8]) {
        let began = self.side(Role::Client).began.take();
        let (ts, packet) = began.unwrap_or((scene.cx.ts, scene.cx.packet));
        let path = line.strip_prefix(b"GET ").unwrap_or_default();
        scene.facts.http_exchanges = scene.facts.http_exchanges.saturating_add(1);
        if scene.facts.http.len() < MAX_HTTP_EXCHANGES {
            scene.facts.http.push(HttpExchange {
                ts,
                packet,
                method: "GET".to_owned(),
                path: head::target(path, false).path,
                ..HttpExchange::default()
            });
        }
        secrets::of_target(scene, path);
        for side in &mut self.sides {
            side.state = State::Ended;
        }
    }

    fn response(&mut self, scene: &mut Scene<'_, '_>, head: &Head<'_>) -> Step {
        let Some(status) = head.status() else {
            return self.no_head(scene, Role::Server);
        };
        if (100..200).contains(&status) && status != 101 {
            return Step::Again;
        }
        let request = self.pending.pop_front();
        let exchange = request
            .and_then(|request| request.index)
            .and_then(|index| scene.facts.http.get_mut(index));
        if let Some(exchange) = exchange {
            exchange.status = Some(status);
            if (300..400).contains(&status) {
                exchange.location = head.value(b"location").map(head::redirect);
            }
        }
        if status == 101 {
            return self.upgraded(scene, head);
        }
        let kind = request.map_or(RequestKind::Other, |request| request.kind);
        if kind == RequestKind::Connect && (200..300).contains(&status) {
            return Step::Leave(Leave::Tunnel);
        }
        if kind == RequestKind::Head || matches!(status, 204 | 304) {
            return Step::Again;
        }
        let length = head.length();
        if length.contradicts {
            scene.malformed("lengths that contradict each other");
        }
        let side = self.side(Role::Server);
        match length.kind {
            Length::Chunked => side.state = State::ChunkSize,
            Length::Fixed(len) => return Step::Pass(len),
            // Until the connection closes (RFC 9112 §6.3).
            Length::Unstated => side.state = State::Ended,
        }
        Step::Again
    }

    /// 101 Switching Protocols (RFC 9110 §7.8).
    fn upgraded(&mut self, scene: &mut Scene<'_, '_>, head: &Head<'_>) -> Step {
        let protocol = head.value(b"upgrade").unwrap_or_default();
        if starts_with_any_case(protocol, b"TLS/") {
            // RFC 2817 §3.3.
            return Step::Leave(Leave::Tls);
        }
        if protocol.eq_ignore_ascii_case(b"websocket") {
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

    fn form(&mut self, scene: &mut Scene<'_, '_>, from: Role, rest: &mut &[u8], left: u64) -> Step {
        let side = self.side(from);
        let there = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
        let (form, after) = rest.split_at(there);
        *rest = after;
        let left = left - there as u64;
        if left > 0 {
            append_wiping(&mut side.partial, form);
            side.state = State::Form(left);
            return Step::Again;
        }
        side.state = State::Head;
        if side.partial.is_empty() {
            secrets::of_form(scene, form);
        } else {
            append_wiping(&mut side.partial, form);
            let whole = std::mem::take(&mut side.partial);
            secrets::of_form(scene, &whole);
        }
        Step::Again
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
        let digits = line
            .iter()
            .take_while(|byte| byte.is_ascii_hexdigit())
            .count();
        let digits = line.get(..digits).unwrap_or_default();
        let size = (digits.len() <= 15)
            .then(|| std::str::from_utf8(digits).ok())
            .flatten()
            .and_then(|digits| u64::from_str_radix(digits, 16).ok());
        match size {
            Some(0) => {
                side.state = State::Trailers;
                Step::Again
            }
            // The chunk and the line end after it.
            Some(size) => Step::Pass(size + 2),
            None => {
                scene.malformed("a chunk size that is no number");
                self.lose(from, rest)
            }
        }
    }

    fn trailers(&mut self, from: Role, rest: &mut &[u8]) -> Step {
        let side = self.side(from);
        if let Some(line) = take_line(&mut side.partial, rest)
            && line.is_empty()
        {
            side.state = State::Head;
        }
        // What a trailer says is not read: do not gather it either.
        if side.partial.len() > MAX_CHUNK_LINE {
            side.partial.truncate(1);
        }
        Step::Again
    }

    fn no_head(&mut self, scene: &mut Scene<'_, '_>, from: Role) -> Step {
        if self.http2 {
            self.side(from).state = State::Ended;
            return Step::Again;
        }
        scene.malformed("a head that is none");
        self.lose(from, &mut &[][..])
    }

    fn lose(&mut self, from: Role, rest: &mut &[u8]) -> Step {
        *rest = &[];
        *self.side(from) = Side {
            state: State::Lost,
            ..Side::default()
        };
        Step::Again
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

/// The next line without its end, from what was kept and what is there.
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
    let mut line = std::mem::take(partial);
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Some(line)
}

/// The `Content-Length` of a value, as strict as RFC 9110 §8.6.
fn content_length(value: &[u8]) -> Option<u64> {
    decimal(value.trim_ascii())
}

#[cfg(test)]
pub(super) mod tests;
