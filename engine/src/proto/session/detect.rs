//! Which protocol a flow speaks, by its content: a bounded beginning of each
//! direction is kept, with the packet of each piece, until TLS or one of
//! [`crate::proto::plain::registry`] is sure, and is then replayed to its reader.

use super::{Inner, Phase};
use crate::evidence::PacketRef;
use crate::proto::dtls::DtlsSession;
use crate::proto::plain::reader::Role;
use crate::proto::plain::registry::{DATAGRAM, Look, Match, Nature, Open, Protocol, STREAM};
use crate::proto::quic::QuicSession;
use crate::proto::tls::{self, TlsSession};
use crate::proto::{Cx, Direction, Probe, Want};
use crate::time::CaptureTime;

/// Bytes that one direction's detection keeps while a protocol is not sure.
const MAX_KEPT: usize = 8 << 10;
/// Pieces that detection keeps over both directions.
const MAX_PIECES: usize = 512;
/// Bytes of one direction that may be nothing known before detection gets rare.
pub(super) const MAX_UNKNOWN: u64 = 4 << 10;
/// What is then passed over before the next look.
const UNKNOWN_STRIDE: u64 = 16 << 10;
/// How many such looks, in one direction, before the flow is given up.
const MAX_LATE_LOOKS: u8 = 8;
/// Datagrams that may be nothing known before the flow is given up.
const MAX_UNKNOWN_DATAGRAMS: u8 = 8;

/// What is kept of a flow that nobody recognised yet.
#[derive(Debug, Default)]
pub(super) struct Hunt {
    pub(super) kept: [Vec<u8>; 2],
    pub(super) pieces: Vec<Kept>,
    pub(super) unknown: [u64; 2],
    pub(super) late_looks: [u8; 2],
}

/// One piece of kept bytes: it begins where the direction's piece before it ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept {
    pub(super) direction: Direction,
    pub(super) len: usize,
    pub(super) ts: CaptureTime,
    pub(super) packet: PacketRef,
}

#[derive(Clone, Copy)]
pub(super) enum Found {
    Tls,
    Plain(&'static Protocol, Role),
}

pub(super) enum Verdict {
    Found(Found),
    NeedMore,
    Unknown,
}

impl Inner {
    /// Looks at a datagram; gives what to answer while nobody knows it.
    pub(super) fn detect_datagram(
        &mut self,
        cx: &Cx<'_>,
        direction: Direction,
        bytes: &[u8],
    ) -> Option<Want> {
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
    pub(super) fn detect(&mut self, cx: &mut Cx<'_>, direction: Direction, bytes: &[u8]) -> Want {
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
    pub(super) fn replay(
        &mut self,
        cx: &mut Cx<'_>,
        now: Direction,
        at: Direction,
        found: Found,
    ) -> Want {
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

    pub(super) fn settle(&mut self, packet: PacketRef, direction: Direction, found: Found) {
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
    pub(super) fn look(
        &mut self,
        cx: &Cx<'_>,
        first: Direction,
        last: bool,
    ) -> Option<(Direction, Found)> {
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

    pub(super) fn drop_all(&mut self, direction: Direction) {
        self.kept[direction.index()].clear();
        self.pieces.retain(|piece| piece.direction != direction);
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.kept[0].capacity()
            + self.kept[1].capacity()
            + self.pieces.capacity() * size_of::<Kept>()
    }
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
