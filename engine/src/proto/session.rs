//! The parser of one flow: decides by content which protocol it is, and hands
//! the bytes to that protocol's reader.
//!
//! Detection keeps a bounded beginning of each direction, with the packet of
//! each piece, until TLS or one of [`super::plain::registry`] is sure; what
//! was kept is then replayed to the reader in the order in which it arrived.
//! Every captured byte of a direction's stream is reported by exactly one of
//! [`Session::data`] and [`Session::skipped`]; [`Session::gap`] is told of
//! missing bytes that were wanted, and of no others.

mod detect;
mod sample;

use self::detect::{Found, Hunt};
use self::sample::{SAMPLE, Sample};
use super::credential::{Scan, shapes};
use super::dtls::DtlsSession;
use super::inside::Inside;
use super::measure::Histogram;
use super::plain::PlaintextFacts;
use super::plain::StartTls;
use super::plain::reader::{Next, Reader, Role, Scene, Sealed, Services};
use super::plain::registry::{by_alpn, by_port};
use super::quic::QuicSession;
use super::tls::{self, TlsSession};
use super::{Confidence, Cx, Direction, Probe, SessionFacts, Want};
use crate::anomaly::AnomalyKind;
use crate::evidence::PacketRef;

/// The state of one flow's content. One pointer until the flow carries payload.
#[derive(Debug, Default)]
pub struct Session {
    inner: Option<Box<Inner>>,
}

impl Session {
    /// For what TLS carries: its ALPN decides early where it is known. `depth`
    /// connections are opened around it.
    pub(super) fn inside(alpn: Option<&str>, client: Direction, depth: u8) -> Self {
        let mut inner = Box::new(Inner {
            depth,
            ..Inner::default()
        });
        if let Some(protocol) = alpn.and_then(by_alpn) {
            let found = Found::Plain(protocol, Role::Client);
            inner.settle(PacketRef::default(), client, found);
        }
        Self { inner: Some(inner) }
    }

    /// The next bytes of a direction's TCP stream, in order, first copy kept.
    pub fn data(&mut self, cx: &mut Cx<'_>, direction: Direction, bytes: &[u8]) -> Want {
        if bytes.is_empty() && self.inner.is_none() {
            return Want::Bytes;
        }
        self.inner
            .get_or_insert_default()
            .stream(cx, direction, bytes)
    }

    /// `len` bytes of a direction's stream are not in the capture.
    pub fn gap(&mut self, cx: &mut Cx<'_>, direction: Direction, len: u64) -> Want {
        match &mut self.inner {
            Some(inner) => {
                inner.sampled(direction, len);
                inner.gap(cx, direction, len)
            }
            // Before anything was seen, a gap says nothing.
            None => Want::Bytes,
        }
    }

    /// `len` payload bytes of a direction were not delivered because they were
    /// not wanted ([`Want::Skip`], [`Want::Nothing`]): they count all the same.
    pub fn skipped(&mut self, direction: Direction, len: u64) {
        if let Some(inner) = &mut self.inner {
            inner.sampled(direction, len);
            inner.pass(direction, len);
        }
    }

    /// One datagram. What it returns holds for the datagrams that follow in
    /// the same direction; `Skip` counts as `Bytes`.
    pub fn datagram(&mut self, cx: &mut Cx<'_>, direction: Direction, bytes: &[u8]) -> Want {
        if bytes.is_empty() && self.inner.is_none() {
            return Want::Bytes;
        }
        self.inner
            .get_or_insert_default()
            .datagram(cx, direction, bytes)
    }

    /// Heap bytes held, roughly: what the memory budget counts.
    pub fn heap_bytes(&self) -> usize {
        self.inner
            .as_ref()
            .map_or(0, |inner| size_of::<Inner>() + inner.heap_bytes())
    }

    /// The flow has ended.
    pub fn end(self, cx: &mut Cx<'_>) -> SessionFacts {
        self.inner
            .map_or_else(SessionFacts::default, |inner| inner.end(cx))
    }
}

/// Tunnels inside tunnels (CONNECT through SOCKS and the like).
const MAX_NESTING: u8 = 4;

#[derive(Debug)]
struct Inner {
    phase: Phase,
    facts: Option<Box<PlaintextFacts>>,
    services: Services,
    /// Payload bytes, `[orig, resp]`.
    encrypted: [u64; 2],
    plaintext: [u64; 2],
    /// Bytes of each stream to be passed over that the caller was not told of,
    /// since the answer about one direction came from the other's bytes.
    skip: [u64; 2],
    /// Bytes still to come that count as encrypted within a readable protocol.
    sealed: [u64; 2],
    /// Directions of which the reader wants nothing more.
    deaf: [bool; 2],
    /// What a TLS handshake found next is carried by.
    transport: &'static str,
    nesting: u8,
    /// Connections that a key log opened around this one.
    depth: u8,
    datagrams: bool,
    sample: Sample,
    /// Datagrams that were nothing known.
    unknown_datagrams: u8,
    /// Looks for secrets in what can be read.
    scans: Option<Box<[Scan; 2]>>,
}

#[derive(Debug)]
enum Phase {
    Detecting(Option<Box<Hunt>>),
    Tls {
        session: Box<TlsSession>,
        /// Whether TLS was seen; false just after an upgrade was agreed on.
        seen: bool,
        /// What a key log opens of it.
        inside: Option<Box<Inside>>,
    },
    Quic(Box<QuicSession>),
    Dtls(Box<DtlsSession>),
    Plain {
        reader: Box<dyn Reader>,
        client: Direction,
        /// Whether its bytes count as encrypted.
        encrypted: bool,
    },
    Opaque,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            phase: Phase::Detecting(None),
            facts: None,
            services: Services::default(),
            encrypted: [0; 2],
            plaintext: [0; 2],
            skip: [0; 2],
            sealed: [0; 2],
            deaf: [false; 2],
            transport: "tcp",
            nesting: 0,
            depth: 0,
            datagrams: false,
            sample: Sample::default(),
            unknown_datagrams: 0,
            scans: None,
        }
    }
}

impl Inner {
    /// Reads bytes of a stream, and takes a sample of them.
    fn stream(&mut self, cx: &mut Cx<'_>, direction: Direction, bytes: &[u8]) -> Want {
        let want = self.feed(cx, direction, bytes);
        self.take_sample(direction, bytes);
        let side = direction.index();
        if self.sample.off || self.sample.passed[side] >= SAMPLE || self.is_unmeasured() {
            return want;
        }
        // The sample wants what the reader does not: it is passed over within.
        if let Want::Skip(len) = want {
            self.skip[side] = len;
        }
        Want::Bytes
    }

    fn feed(&mut self, cx: &mut Cx<'_>, direction: Direction, bytes: &[u8]) -> Want {
        let side = direction.index();
        let mut rest = bytes;
        loop {
            let passed = usize::try_from(self.skip[side]).map_or(rest.len(), |n| n.min(rest.len()));
            if passed > 0 {
                self.pass(direction, passed as u64);
                self.skip[side] -= passed as u64;
                rest = rest.get(passed..).unwrap_or_default();
            }
            if rest.is_empty() {
                return self.want(direction);
            }
            if self.deaf[side] {
                self.pass(direction, rest.len() as u64);
                return Want::Nothing;
            }
            let next = match &mut self.phase {
                Phase::Opaque => return Want::Nothing,
                Phase::Detecting(_) if self.datagrams => {
                    match self.detect_datagram(cx, direction, rest) {
                        None => continue,
                        Some(want) => return want,
                    }
                }
                Phase::Detecting(_) => return self.detect(cx, direction, rest),
                Phase::Quic(session) => Next::Want(session.datagram(cx, direction, rest)),
                Phase::Dtls(session) => Next::Want(session.datagram(cx, direction, rest)),
                Phase::Tls {
                    session,
                    seen,
                    inside,
                } => {
                    if !*seen {
                        if tls::probe(rest) == Probe::No {
                            // Agreed on, and then not done: look again at what this is.
                            self.nest(self.transport);
                            continue;
                        }
                        *seen = true;
                        self.services.add("ssl");
                        if let Some(facts) = &mut self.facts {
                            facts.starttls = Some(StartTls::Taken);
                        }
                    }
                    // Each connection within another is read on the stack of the outer one.
                    let is_too_deep = self.depth >= MAX_NESTING;
                    if cx.secrets.is_some() && is_too_deep {
                        cx.anomalies
                            .note(AnomalyKind::LimitEvicted, cx.ts, cx.packet, || {
                                format!("TLS within {MAX_NESTING} TLS connections is not opened")
                            });
                    }
                    Next::Want(if cx.secrets.is_some() && !is_too_deep {
                        let inside = inside.get_or_insert_with(|| Box::new(Inside::at(self.depth)));
                        session.read(cx, direction, rest, &mut **inside)
                    } else {
                        session.data(cx, direction, rest)
                    })
                }
                Phase::Plain {
                    reader,
                    client,
                    encrypted,
                } => {
                    let from = if direction == *client {
                        Role::Client
                    } else {
                        Role::Server
                    };
                    let facts = self.facts.get_or_insert_default();
                    let mut scene = Scene {
                        cx,
                        facts,
                        services: &mut self.services,
                        encrypted,
                        sealed: Sealed::default(),
                        looked: false,
                    };
                    let next = reader.data(&mut scene, from, rest);
                    if !*scene.encrypted && !scene.facts.infrastructure && !scene.looked {
                        // Behind the reader, which knows places better than looks.
                        let scans = self.scans.get_or_insert_default();
                        let own = match next {
                            Next::Tls { after, .. } | Next::Tunnel { after, .. } => {
                                rest.get(..after).unwrap_or(rest)
                            }
                            Next::Want(_) => rest,
                        };
                        scan(&mut scene, &mut scans[side], own, self.datagrams);
                    }
                    let Sealed { before, from_here } = scene.sealed;
                    let before = before.min(self.plaintext[side]);
                    self.plaintext[side] -= before;
                    self.encrypted[side] = self.encrypted[side].saturating_add(before);
                    self.sealed[side] = self.sealed[side].saturating_add(from_here);
                    next
                }
            };
            match next {
                Next::Want(want) => {
                    self.count(direction, rest.len() as u64);
                    self.note_want(direction, want);
                    return self.want(direction);
                }
                Next::Tls { after, transport } => {
                    self.leave(cx, direction, &mut rest, after);
                    self.phase = Phase::Tls {
                        session: Box::new(TlsSession::new(transport.into())),
                        seen: false,
                        inside: None,
                    };
                    self.transport = transport;
                }
                Next::Tunnel { after, transport } => {
                    self.leave(cx, direction, &mut rest, after);
                    self.nest(transport);
                }
            }
        }
    }

    fn gap(&mut self, cx: &mut Cx<'_>, direction: Direction, len: u64) -> Want {
        let side = direction.index();
        let passed = self.skip[side].min(len);
        self.skip[side] -= passed;
        let len = len - passed;
        if len == 0 || self.deaf[side] {
            return self.want(direction);
        }
        self.end_scan(cx, direction);
        let want = match &mut self.phase {
            Phase::Opaque => Want::Nothing,
            Phase::Detecting(hunt) => {
                if let Some(hunt) = hunt {
                    hunt.drop_all(direction);
                }
                Want::Bytes
            }
            Phase::Tls { session, .. } => session.gap(cx, direction, len),
            // Datagrams have no gaps.
            Phase::Quic(_) | Phase::Dtls(_) => Want::Bytes,
            Phase::Plain { reader, client, .. } => reader.gap(
                if direction == *client {
                    Role::Client
                } else {
                    Role::Server
                },
                len,
            ),
        };
        self.note_want(direction, want);
        self.want(direction)
    }

    fn datagram(&mut self, cx: &mut Cx<'_>, direction: Direction, bytes: &[u8]) -> Want {
        self.datagrams = true;
        match self.stream(cx, direction, bytes) {
            Want::Nothing => Want::Nothing,
            Want::Bytes | Want::Skip(_) => {
                self.skip = [0; 2];
                Want::Bytes
            }
        }
    }

    /// The reader's protocol ends after `after` of `rest`.
    fn leave(&mut self, cx: &mut Cx<'_>, direction: Direction, rest: &mut &[u8], after: usize) {
        let after = after.min(rest.len());
        self.count(direction, after as u64);
        *rest = rest.get(after..).unwrap_or_default();
        self.deaf = [false; 2];
        self.end_scan(cx, Direction::Orig);
        self.end_scan(cx, Direction::Resp);
        if let (Phase::Plain { reader, .. }, Some(facts)) = (&mut self.phase, &mut self.facts) {
            reader.end(cx, facts);
        }
    }

    /// What follows is to be recognised anew.
    fn nest(&mut self, transport: &'static str) {
        self.transport = transport;
        self.nesting = self.nesting.saturating_add(1);
        self.phase = if self.nesting > MAX_NESTING {
            Phase::Opaque
        } else {
            Phase::Detecting(None)
        };
    }

    /// What was still open of a secret ends here.
    fn end_scan(&mut self, cx: &mut Cx<'_>, direction: Direction) {
        if let (Some(scans), Some(facts)) = (&mut self.scans, &mut self.facts) {
            let mut scene = Scene {
                cx,
                facts,
                services: &mut self.services,
                encrypted: &mut false,
                sealed: Sealed::default(),
                looked: false,
            };
            scans[direction.index()].end(shapes(), &mut |secret, class| {
                scene.shape(secret, class);
            });
        }
    }

    /// Counts bytes that the reader does not see, and tells it so.
    fn pass(&mut self, direction: Direction, len: u64) {
        self.count(direction, len);
        if let Some(scans) = &mut self.scans
            && len > 0
        {
            scans[direction.index()].cut();
        }
        if let Phase::Plain { reader, client, .. } = &mut self.phase {
            let from = if direction == *client {
                Role::Client
            } else {
                Role::Server
            };
            reader.skipped(from, len);
        }
    }

    fn count(&mut self, direction: Direction, len: u64) {
        let side = direction.index();
        let encrypted = match &self.phase {
            Phase::Detecting(_) | Phase::Opaque => return,
            Phase::Tls { .. }
            | Phase::Quic(_)
            | Phase::Dtls(_)
            | Phase::Plain {
                encrypted: true, ..
            } => len,
            Phase::Plain { .. } => {
                let sealed = self.sealed[side].min(len);
                self.sealed[side] -= sealed;
                sealed
            }
        };
        self.encrypted[side] = self.encrypted[side].saturating_add(encrypted);
        self.plaintext[side] = self.plaintext[side].saturating_add(len - encrypted);
    }

    fn note_want(&mut self, direction: Direction, want: Want) {
        match want {
            Want::Bytes => {}
            Want::Skip(len) => self.skip[direction.index()] = len,
            Want::Nothing => self.deaf[direction.index()] = true,
        }
    }

    /// What to tell the caller, who passes over what it is told to from here on.
    fn want(&mut self, direction: Direction) -> Want {
        let side = direction.index();
        match (&self.phase, std::mem::take(&mut self.skip[side])) {
            (Phase::Opaque, _) => Want::Nothing,
            _ if self.deaf[side] => Want::Nothing,
            (_, 0) => Want::Bytes,
            (_, len) => Want::Skip(len),
        }
    }

    fn heap_bytes(&self) -> usize {
        let phase = match &self.phase {
            Phase::Detecting(Some(hunt)) => size_of::<Hunt>() + hunt.heap_bytes(),
            Phase::Tls {
                session, inside, ..
            } => {
                let inside = inside.as_ref().map_or(0, |inside| inside.heap_bytes());
                size_of::<TlsSession>() + session.heap_bytes() + inside
            }
            Phase::Quic(session) => size_of::<QuicSession>() + session.heap_bytes(),
            Phase::Dtls(session) => size_of::<DtlsSession>() + session.heap_bytes(),
            Phase::Plain { reader, .. } => size_of_val(&**reader) + reader.heap_bytes(),
            Phase::Detecting(None) | Phase::Opaque => 0,
        };
        let sampled = self.sample.histograms.iter().flatten().count() * 1_024;
        let scans = self.scans.as_ref().map_or(0, |scans| {
            size_of_val(&**scans) + scans.iter().map(Scan::heap_bytes).sum::<usize>()
        });
        phase + sampled + scans + self.facts.as_ref().map_or(0, |facts| facts.heap_bytes())
    }

    fn end(mut self, cx: &mut Cx<'_>) -> SessionFacts {
        // What was waiting for more bytes is decided without them. A tunnel
        // that is recognised so may leave bytes waiting in its turn.
        for _ in 0..=MAX_NESTING {
            let Phase::Detecting(Some(hunt)) = &mut self.phase else {
                break;
            };
            match hunt.look(cx, Direction::Orig, true) {
                Some((at, found)) => self.replay(cx, Direction::Orig, at, found),
                None => break,
            };
        }
        let measures = if self.sample.off || self.is_unmeasured() {
            [None; 2]
        } else {
            let [orig, resp] = &self.sample.histograms;
            [orig, resp].map(|one| one.as_ref().and_then(Histogram::entropy))
        };
        self.end_scan(cx, Direction::Orig);
        self.end_scan(cx, Direction::Resp);
        let tls = match self.phase {
            Phase::Tls {
                session, inside, ..
            } => {
                let mut tls = session.end(cx);
                if let Some(inside) = inside.and_then(|inside| inside.end(cx)) {
                    for name in inside.services {
                        self.services.add(name);
                    }
                    tls.extend(inside.tls);
                }
                tls
            }
            Phase::Quic(session) => session.end(cx),
            Phase::Dtls(session) => session.end(cx),
            Phase::Plain { mut reader, .. } => {
                if let Some(facts) = &mut self.facts {
                    reader.end(cx, facts);
                }
                reader.handshakes(cx)
            }
            Phase::Detecting(_) | Phase::Opaque => Vec::new(),
        };
        for handshake in &tls {
            if let Some(name) = dns_within(handshake, self.datagrams, cx.ports) {
                self.services.add(name);
            }
        }
        let services = self.services.names();
        let by_content = self.services.joined();
        let (service, confidence) = match by_content {
            Some(names) => (Some(names), Some(Confidence::Content)),
            None => match by_port(self.datagrams, cx.ports.1) {
                Some(name) => (Some(name.into()), Some(Confidence::Port)),
                None => (None, None),
            },
        };
        SessionFacts {
            service,
            confidence,
            services,
            tls,
            plaintext: self.facts,
            entropy: measures,
            bytes_encrypted: self.encrypted,
            bytes_plaintext: self.plaintext,
        }
    }
}

/// DNS within TLS, by the protocol that both ends agreed on, else, for DoT, by
/// its port alone (RFC 7858 §3.1): `dot`, `doq` (RFC 9250).
fn dns_within(
    handshake: &tls::TlsHandshake,
    datagrams: bool,
    ports: (u16, u16),
) -> Option<&'static str> {
    const PORT: u16 = 853;
    let offered = |name: &str| {
        let client = handshake.client.as_ref();
        client.is_some_and(|client| client.alpn.iter().any(|alpn| alpn == name))
    };
    if offered("doq") {
        return Some("doq");
    }
    let by_port = !datagrams && ports.1 == PORT;
    (offered("dot") || by_port).then_some("dot")
}

/// Notes the secrets in bytes that can be read.
fn scan(scene: &mut Scene<'_, '_>, scan: &mut Scan, bytes: &[u8], datagram: bool) {
    let mut tell = |secret: &[u8], class: &'static str| scene.shape(secret, class);
    scan.push(shapes(), bytes, &mut tell);
    if datagram {
        scan.end(shapes(), &mut tell);
    }
}
