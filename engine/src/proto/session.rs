//! The parser of one flow: decides by content which protocol it is, and hands
//! the bytes to that protocol's reader.
//!
//! Detection keeps a bounded beginning of each direction, with the packet of
//! each piece, until TLS or one of [`super::plain::registry`] is sure; what
//! was kept is then replayed to the reader in the order in which it arrived.
//! Every captured byte of a direction's stream is reported by exactly one of
//! [`Session::data`] and [`Session::skipped`]; [`Session::gap`] is told of
//! missing bytes that were wanted, and of no others.

use super::credential::{Scan, canonical, shapes};
use super::dtls::DtlsSession;
use super::inside::Inside;
use super::measure::Histogram;
use super::plain::PlaintextFacts;
use super::plain::StartTls;
use super::plain::reader::{Next, Reader, Role, Scene, Sealed, Services};
use super::plain::registry::{
    DATAGRAM, Look, Match, Nature, Open, Protocol, STREAM, by_alpn, by_port,
};
use super::plain::{CredentialSeen, Place};
use super::quic::QuicSession;
use super::tls::{self, TlsSession};
use super::{Confidence, Cx, Direction, Probe, SessionFacts, Want};
use crate::anomaly::AnomalyKind;
use crate::evidence::PacketRef;
use crate::time::CaptureTime;

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

/// Bytes that one direction's detection keeps while a protocol is not sure.
const MAX_KEPT: usize = 8 << 10;
/// Pieces that detection keeps over both directions.
const MAX_PIECES: usize = 512;
/// Bytes of one direction that may be nothing known before detection gets rare.
const MAX_UNKNOWN: u64 = 4 << 10;
/// What is then passed over before the next look.
const UNKNOWN_STRIDE: u64 = 16 << 10;
/// How many such looks, in one direction, before the flow is given up.
const MAX_LATE_LOOKS: u8 = 8;
/// Datagrams that may be nothing known before the flow is given up.
const MAX_UNKNOWN_DATAGRAMS: u8 = 8;
/// Bytes at the beginning of each direction's stream whose entropy is measured:
/// enough that random bytes reach .99, and what is always there to be read of a
/// stream that nobody knows.
const SAMPLE: u64 = MAX_UNKNOWN;
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

/// The beginning of each direction, counted by its bytes.
#[derive(Debug, Default)]
struct Sample {
    /// Bytes of each stream so far, whether or not they were there to count.
    passed: [u64; 2],
    histograms: [Option<Histogram>; 2],
    /// Something here is encrypted by design: nothing is measured.
    off: bool,
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

/// What is kept of a flow that nobody recognised yet.
#[derive(Debug, Default)]
struct Hunt {
    kept: [Vec<u8>; 2],
    pieces: Vec<Kept>,
    unknown: [u64; 2],
    late_looks: [u8; 2],
}

/// One piece of kept bytes: it begins where the direction's piece before it ends.
#[derive(Debug, Clone, Copy)]
struct Kept {
    direction: Direction,
    len: usize,
    ts: CaptureTime,
    packet: PacketRef,
}

#[derive(Clone, Copy)]
enum Found {
    Tls,
    Plain(&'static Protocol, Role),
}

enum Verdict {
    Found(Found),
    NeedMore,
    Unknown,
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

    /// Whether what was recognised is not to be measured.
    fn is_unmeasured(&self) -> bool {
        match &self.phase {
            Phase::Tls { .. } | Phase::Quic(_) | Phase::Dtls(_) => true,
            Phase::Plain { encrypted, .. } => {
                // HTTP is measured by its bodies.
                let is_left_out =
                    |facts: &PlaintextFacts| facts.infrastructure || facts.protocol == "http";
                *encrypted || self.facts.as_deref().is_some_and(is_left_out)
            }
            Phase::Detecting(_) | Phase::Opaque => false,
        }
    }

    fn take_sample(&mut self, direction: Direction, bytes: &[u8]) {
        if self.sample.off {
            return;
        }
        if self.is_unmeasured() {
            self.sample = Sample {
                off: true,
                ..Sample::default()
            };
            return;
        }
        let side = direction.index();
        let room = SAMPLE.saturating_sub(self.sample.passed[side]);
        self.sampled(direction, bytes.len() as u64);
        let there = usize::try_from(room).map_or(bytes.len(), |room| room.min(bytes.len()));
        if there > 0 {
            let histogram = &mut self.sample.histograms[side];
            histogram
                .get_or_insert_with(|| Histogram::of_first(SAMPLE))
                .push(bytes.get(..there).unwrap_or_default());
        }
    }

    /// So many bytes of a direction's stream have passed.
    fn sampled(&mut self, direction: Direction, len: u64) {
        let passed = &mut self.sample.passed[direction.index()];
        *passed = passed.saturating_add(len);
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
                    };
                    let next = reader.data(&mut scene, from, rest);
                    if !*scene.encrypted && !scene.facts.infrastructure {
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

    /// Looks at a datagram; gives what to answer while nobody knows it.
    fn detect_datagram(&mut self, cx: &Cx<'_>, direction: Direction, bytes: &[u8]) -> Option<Want> {
        let look = look(cx, direction, bytes, &[], true);
        let found = DATAGRAM
            .iter()
            .find_map(|protocol| match (protocol.probe)(&look) {
                Match::Yes(role) => Some(Found::Plain(protocol, role)),
                Match::No | Match::NeedMore => None,
            });
        if let Some(found) = found {
            self.settle(cx.packet, direction, found);
            return None;
        }
        self.unknown_datagrams = self.unknown_datagrams.saturating_add(1);
        if self.unknown_datagrams >= MAX_UNKNOWN_DATAGRAMS {
            self.phase = Phase::Opaque;
            return Some(Want::Nothing);
        }
        Some(Want::Bytes)
    }

    /// Looks at a stream's beginning, together with what was kept of it.
    fn detect(&mut self, cx: &mut Cx<'_>, direction: Direction, bytes: &[u8]) -> Want {
        let Phase::Detecting(hunt) = &mut self.phase else {
            return Want::Nothing;
        };
        // Usually the first segment says it all, and nothing need be kept.
        if hunt.as_ref().is_none_or(|hunt| hunt.pieces.is_empty()) {
            match recognise(&look(cx, direction, bytes, &[], false)) {
                Verdict::Found(found) => {
                    self.settle(cx.packet, direction, found);
                    return self.feed(cx, direction, bytes);
                }
                Verdict::Unknown => return self.unknown(direction, bytes.len()),
                Verdict::NeedMore => {}
            }
        }
        let hunt = hunt.get_or_insert_default();
        hunt.keep(cx, direction, bytes);
        if let Some((at, found)) = hunt.look(cx, direction, false) {
            return self.replay(cx, direction, at, found);
        }
        let dropped = hunt.enforce_bounds(direction);
        if dropped > 0 {
            return self.unknown(direction, dropped);
        }
        Want::Bytes
    }

    /// A protocol was recognised: its reader gets what was kept.
    fn replay(&mut self, cx: &mut Cx<'_>, now: Direction, at: Direction, found: Found) -> Want {
        let Phase::Detecting(hunt) = std::mem::replace(&mut self.phase, Phase::Opaque) else {
            return Want::Nothing;
        };
        let hunt = *hunt.unwrap_or_default();
        self.settle(cx.packet, at, found);
        let mut taken = [0_usize; 2];
        for piece in &hunt.pieces {
            let taken = &mut taken[piece.direction.index()];
            let end = taken.saturating_add(piece.len);
            let bytes = hunt.kept[piece.direction.index()]
                .get(*taken..end)
                .unwrap_or_default();
            *taken = end;
            let mut then = Cx {
                ts: piece.ts,
                packet: piece.packet,
                anomalies: &mut *cx.anomalies,
                limits: cx.limits,
                certificates: &mut *cx.certificates,
                redactor: cx.redactor,
                ports: cx.ports,
                rows: &mut *cx.rows,
                secrets: cx.secrets,
            };
            let want = self.feed(&mut then, piece.direction, bytes);
            self.note_want(piece.direction, want);
        }
        self.want(now)
    }

    /// So many bytes of a direction were nothing known.
    fn unknown(&mut self, direction: Direction, len: usize) -> Want {
        let side = direction.index();
        let Phase::Detecting(hunt) = &mut self.phase else {
            return Want::Nothing;
        };
        let hunt = hunt.get_or_insert_default();
        hunt.unknown[side] = hunt.unknown[side].saturating_add(len as u64);
        if hunt.unknown[side] < MAX_UNKNOWN {
            return Want::Bytes;
        }
        hunt.late_looks[side] = hunt.late_looks[side].saturating_add(1);
        if hunt.late_looks[side] > MAX_LATE_LOOKS {
            self.phase = Phase::Opaque;
            return Want::Nothing;
        }
        Want::Skip(UNKNOWN_STRIDE)
    }

    fn settle(&mut self, packet: PacketRef, direction: Direction, found: Found) {
        match found {
            Found::Tls => {
                self.services.add("ssl");
                self.phase = Phase::Tls {
                    session: Box::new(TlsSession::new(self.transport.into())),
                    seen: true,
                    inside: None,
                };
            }
            Found::Plain(protocol, role) => {
                self.services.add(protocol.name);
                let open = match protocol.open {
                    Open::Reader(open) => open,
                    Open::Quic => {
                        self.phase = Phase::Quic(Box::new(QuicSession::new()));
                        return;
                    }
                    Open::Dtls => {
                        self.phase = Phase::Dtls(Box::new(DtlsSession::new()));
                        return;
                    }
                };
                let encrypted = protocol.nature == Nature::Encrypted;
                let facts = self.facts.get_or_insert_default();
                // Inside a tunnel, what is readable there says more than the tunnel.
                if facts.protocol.is_empty() || !encrypted {
                    facts.protocol = protocol.name;
                    facts.infrastructure = protocol.nature == Nature::Infrastructure;
                    facts.encrypted = encrypted;
                    facts.recognised = packet;
                }
                self.phase = Phase::Plain {
                    reader: open(),
                    client: match role {
                        Role::Client => direction,
                        Role::Server => direction.flip(),
                    },
                    encrypted,
                };
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
            };
            scans[direction.index()].end(shapes(), &mut |secret, class| {
                note_shape(&mut scene, secret, class);
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

impl Hunt {
    fn keep(&mut self, cx: &Cx<'_>, direction: Direction, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.kept[direction.index()].extend_from_slice(bytes);
        self.pieces.push(Kept {
            direction,
            len: bytes.len(),
            ts: cx.ts,
            packet: cx.packet,
        });
    }

    /// Looks at both directions, the one that just spoke first. What turns out
    /// to be nothing known is dropped piece by piece, but not before the other
    /// direction was looked at, which it may explain: a protocol may begin, or
    /// a capture set in, at the start of any segment.
    fn look(&mut self, cx: &Cx<'_>, first: Direction, last: bool) -> Option<(Direction, Found)> {
        loop {
            let mut unknown = None;
            for direction in [first, first.flip()] {
                let kept = &self.kept[direction.index()];
                if kept.is_empty() {
                    continue;
                }
                let other = &self.kept[direction.flip().index()];
                match recognise(&look(cx, direction, kept, other, last)) {
                    Verdict::Found(found) => return Some((direction, found)),
                    Verdict::NeedMore => {}
                    Verdict::Unknown => unknown = unknown.or(Some(direction)),
                }
            }
            self.drop_first(unknown?);
        }
    }

    /// Gives up what has waited for too long; says how many bytes.
    fn enforce_bounds(&mut self, direction: Direction) -> usize {
        let kept = self.kept[direction.index()].len();
        if kept <= MAX_KEPT && self.pieces.len() <= MAX_PIECES {
            return 0;
        }
        self.drop_all(direction);
        kept
    }

    fn drop_first(&mut self, direction: Direction) {
        let first = self
            .pieces
            .iter()
            .position(|piece| piece.direction == direction);
        let Some(first) = first else {
            return self.drop_all(direction);
        };
        let piece = self.pieces.remove(first);
        let side = direction.index();
        let len = piece.len.min(self.kept[side].len());
        self.kept[side].drain(..len);
        self.unknown[side] = self.unknown[side].saturating_add(len as u64);
    }

    fn drop_all(&mut self, direction: Direction) {
        self.kept[direction.index()].clear();
        self.pieces.retain(|piece| piece.direction != direction);
    }

    fn heap_bytes(&self) -> usize {
        self.kept[0].capacity()
            + self.kept[1].capacity()
            + self.pieces.capacity() * size_of::<Kept>()
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

fn look<'a>(
    cx: &Cx<'_>,
    direction: Direction,
    bytes: &'a [u8],
    other: &'a [u8],
    last: bool,
) -> Look<'a> {
    let ports = match direction {
        Direction::Orig => cx.ports,
        Direction::Resp => (cx.ports.1, cx.ports.0),
    };
    Look {
        bytes,
        other,
        ports,
        last,
    }
}

/// Notes the secrets in bytes that can be read.
fn scan(scene: &mut Scene<'_, '_>, scan: &mut Scan, bytes: &[u8], datagram: bool) {
    let mut tell = |secret: &[u8], class: &'static str| note_shape(scene, secret, class);
    scan.push(shapes(), bytes, &mut tell);
    if datagram {
        scan.end(shapes(), &mut tell);
    }
}

fn note_shape(scene: &mut Scene<'_, '_>, secret: &[u8], class: &'static str) {
    let redactor = scene.cx.redactor;
    let secret = &*canonical(class, secret);
    // A password in an address was thought up, a key was not.
    let redacted = match class {
        "url_password" => redactor.password(secret),
        _ => redactor.token(secret),
    };
    scene.note(CredentialSeen {
        class,
        place: Place::Payload,
        shape: Some(class),
        len: redacted.len,
        hash: Some(redacted.hash),
        last4: redacted.last4,
        ..CredentialSeen::default()
    });
}

/// TLS first, then the registry in its order. Whoever may still come to be
/// sure is waited for, so that the answer does not depend on how the stream
/// was cut into segments.
fn recognise(look: &Look<'_>) -> Verdict {
    match tls::probe(look.bytes) {
        Probe::Yes => return Verdict::Found(Found::Tls),
        Probe::NeedMore if !look.last => return Verdict::NeedMore,
        Probe::NeedMore | Probe::No => {}
    }
    for protocol in STREAM {
        match (protocol.probe)(look) {
            Match::Yes(role) => return Verdict::Found(Found::Plain(protocol, role)),
            Match::NeedMore if !look.last => return Verdict::NeedMore,
            Match::NeedMore | Match::No => {}
        }
    }
    Verdict::Unknown
}
