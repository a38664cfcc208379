//! Requests and the answers that belong to them.

use super::super::super::reader::{Role, Scene};
use super::super::super::text::{contains_any_case, starts_with_any_case};
use super::super::body::Peek;
use super::super::content::Coding;
use super::super::head::{self, Head, Length};
use super::super::transaction::{HttpTransaction, HttpVersion, Oddity, Text};
use super::super::{facts, fields};
use super::{Http1, Leave, Side, State, Step, Upgrade};
use crate::anomaly::AnomalyKind;
use crate::evidence::PacketRef;
use crate::proto::{Cx, LiveRow};
use crate::time::CaptureTime;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A request with its answer, as far as they came.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) tx: Box<HttpTransaction>,
    pub(super) kind: RequestKind,
    /// Its place in the facts for NS-01, when it was kept there.
    pub(super) index: Option<usize>,
    /// `HTTP2-Settings` of a request that asks for HTTP/2.
    pub(super) settings: Option<Box<[u8]>>,
    pub(super) request_done: bool,
    pub(super) answering: bool,
    pub(super) response_done: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestKind {
    Head,
    Connect,
    Other,
}

impl Http1 {
    pub(super) fn request(
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
        facts::ambiguous(scene, tx.oddities);
        if let Length::Fixed(len) = length {
            tx.request.content_length = Some(len);
        }
        self.doh.target(scene, &tx, parts.query, &head.fields);
        let peek = Peek::of_request(&tx, &head.fields);
        let scans = scans(&tx, Text::RequestType, &head);
        let no_body = !matches!(length, Length::Chunked | Length::Fixed(1..));
        let index = facts::exchange(scene, &tx);
        let settings = head::value(&head.fields, b"http2-settings").map(Box::from);
        self.enqueue(
            scene,
            Exchange {
                tx,
                kind,
                index,
                settings,
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
        (side.peek, side.scans) = (peek, scans);
        side.state = match length {
            Length::Fixed(len) => State::Fixed(len),
            _ => State::ChunkSize,
        };
        Step::Again
    }

    pub(super) fn enqueue(&mut self, scene: &mut Scene<'_, '_>, exchange: Exchange) {
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
    pub(super) fn simple_request(&mut self, scene: &mut Scene<'_, '_>, line: &[u8]) {
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
        let index = facts::exchange(scene, &tx);
        self.enqueue(
            scene,
            Exchange {
                tx,
                kind: RequestKind::Other,
                index,
                settings: None,
                request_done: true,
                answering: true,
                response_done: false,
            },
        );
        self.side(Role::Client).state = State::Ended;
        self.side(Role::Server).state = State::UntilEnd;
    }

    pub(super) fn response(
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
        if status == 101
            && head::value(&head.fields, b"upgrade")
                .is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"h2c"))
        {
            return self.goes_on_in_http2(scene);
        }
        let length = head::length(&head.fields, &mut head.oddities);
        facts::ambiguous(scene, head.oddities);
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
        fields::response(scene, tx, &head.fields);
        let scans = scans(tx, Text::ResponseType, &head);
        if let Length::Fixed(len) = length {
            tx.response.content_length = Some(len);
        }
        facts::answer(scene, exchange.index, status, &head.fields);
        let (kind, peek) = (exchange.kind, Peek::of_answer(&exchange.tx, &head.fields));
        let side = self.side(Role::Server);
        (side.body, side.peek, side.scans) = (0, peek, scans);
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
    pub(super) fn match_answer(
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
            settings: None,
            request_done: true,
            answering: true,
            response_done: false,
        });
    }

    /// The connection goes on in HTTP/2, where the request's answer comes as
    /// that of stream 1 (RFC 7540 §3.2).
    fn goes_on_in_http2(&mut self, scene: &mut Scene<'_, '_>) -> Step {
        while let Some(first) = self.exchanges.front()
            && first.response_done
            && let Some(first) = self.exchanges.pop_front()
        {
            self.leave(scene.cx, first);
        }
        let Some(mut exchange) = self.exchanges.pop_front() else {
            return Step::Again;
        };
        let settings = exchange
            .settings
            .and_then(|coded| URL_SAFE_NO_PAD.decode(coded.trim_ascii()).ok());
        let client = self.side(Role::Client);
        let sent = std::mem::take(&mut client.partial);
        if !exchange.request_done {
            exchange.tx.request.body_bytes = client.so_far();
        }
        exchange.tx.depth = u32::try_from(self.done).unwrap_or(u32::MAX);
        exchange.tx.texts.set(Text::UpgradedTo, b"h2c");
        Step::Leave(Leave::Http2(Some(Upgrade {
            tx: exchange.tx,
            index: exchange.index,
            request_done: exchange.request_done,
            settings,
            sent,
        })))
    }

    /// 101 Switching Protocols (RFC 9110 §7.8).
    pub(super) fn upgraded(&mut self, scene: &mut Scene<'_, '_>, head: &Head<'_>) -> Step {
        let protocol = head::value(&head.fields, b"upgrade").unwrap_or_default();
        if let Some(exchange) = self.exchanges.iter_mut().find(|one| !one.response_done) {
            exchange.tx.texts.set_lower(Text::UpgradedTo, protocol);
        }
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
    pub(super) fn request_ends(&mut self, scene: &mut Scene<'_, '_>) -> Step {
        let side = &mut self.sides[Role::Client.index()];
        let peek = std::mem::take(&mut side.peek);
        side.state = State::Head;
        let mut doh = std::mem::take(&mut self.doh);
        if let Some(last) = self.message_ends(Role::Client) {
            peek.finish(scene, &mut last.tx, &mut doh, Role::Client);
        }
        self.doh = doh;
        self.settle(scene);
        Step::Again
    }

    pub(super) fn response_ends(&mut self, scene: &mut Scene<'_, '_>) -> Step {
        let side = self.side(Role::Server);
        side.state = State::Head;
        let peek = std::mem::take(&mut side.peek);
        let mut doh = std::mem::take(&mut self.doh);
        if let Some(exchange) = self.message_ends(Role::Server) {
            peek.finish(scene, &mut exchange.tx, &mut doh, Role::Server);
            facts::body(scene, exchange.index, &exchange.tx);
        }
        self.doh = doh;
        self.settle(scene);
        Step::Again
    }

    /// The message at hand is there to its end.
    pub(super) fn message_ends(&mut self, from: Role) -> Option<&mut Exchange> {
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
    pub(super) fn settle(&mut self, scene: &mut Scene<'_, '_>) {
        while let Some(first) = self.exchanges.front()
            && first.request_done
            && first.response_done
        {
            if let Some(exchange) = self.exchanges.pop_front() {
                self.leave(scene.cx, exchange);
            }
        }
    }

    pub(super) fn leave(&mut self, cx: &mut Cx<'_>, exchange: Exchange) {
        self.done += 1;
        let mut tx = exchange.tx;
        tx.depth = u32::try_from(self.done).unwrap_or(u32::MAX);
        cx.rows.push(LiveRow::Http(tx));
    }
}

/// Whether a body is to be looked through for secrets: one that can be read.
fn scans(tx: &HttpTransaction, media_type: Text, head: &Head<'_>) -> bool {
    let coding = Coding::of(head::value(&head.fields, b"content-encoding"));
    coding == Coding::Identity && fields::is_readable(tx.text(media_type))
}
