//! What a TCP connection knows beside what every flow does, and what one
//! segment changes of it: flags, round trip, streams, duplicates.
//!
//! Which answers are believed follows RFC 9293 and RFC 5961; states and letters
//! are Zeek's (see [`crate::flow::tcp`]).

use super::Content;
use super::reader::Reader;
use crate::anomaly::AnomalyKind;
use crate::decode::Segment;
use crate::flow::history::{History, Letter};
use crate::flow::reassembly::{Arrival, Budget, Stream};
use crate::flow::tcp::{End, Ends};
use crate::proto::Direction;

/// How far the round-trip time of a connection's beginning is known.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Opening {
    #[default]
    Nothing,
    /// When the SYN was sent.
    Syn(i64),
    /// From the SYN to its answer.
    Rtt(i64),
}

/// What a TCP connection knows beside what every flow does.
#[derive(Debug, Default)]
pub(super) struct Tcp {
    pub(super) ends: Ends,
    pub(super) stream: [Stream; 2],
    pub(super) last: [LastSegment; 2],
    pub(super) retransmitted: u32,
    pub(super) duplicated: u32,
    pub(super) out_of_order: u32,
    pub(super) conflicts: u32,
    pub(super) opening: Opening,
    /// A SYN inside a live connection: a new one if it is answered.
    pub(super) pending_syn: Option<u32>,
}

/// To tell a packet captured twice from one sent twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LastSegment {
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) len: u32,
    pub(super) window: u16,
    pub(super) flags: u8,
    pub(super) ts_ns: i64,
}

/// No sender repeats a segment within this time: the smallest retransmission
/// time-out in use is 200 times as long (RFC 6298 §2.4 asks for a second).
pub(super) const DUPLICATE_NS: i64 = 1_000_000;

/// The parts of a flow that a TCP segment changes, without its content.
pub(super) struct TcpParts<'a> {
    pub(super) tcp: &'a mut Tcp,
    pub(super) history: &'a mut History,
}

impl TcpParts<'_> {
    pub(super) fn segment<C: Content>(
        &mut self,
        segment: &Segment,
        direction: Direction,
        payload: &[u8],
        budget: &mut Budget,
        reader: &mut Reader<'_, C>,
    ) {
        let (me, peer) = (direction.index(), direction.flip().index());
        let flags = segment.tcp_flags;
        let has = |flag| flags & flag != 0;
        let syn = has(Segment::SYN);
        let data_seq = segment.seq.wrapping_add(u32::from(syn));
        let wire_len = segment.payload_wire_len;

        let this = LastSegment {
            seq: segment.seq,
            ack: segment.ack,
            len: wire_len,
            window: segment.window,
            flags,
            ts_ns: segment.ts_ns,
        };
        let last = std::mem::replace(&mut self.tcp.last[me], this);
        let alike = LastSegment {
            ts_ns: last.ts_ns,
            ..this
        } == last;
        let soon = (0..=DUPLICATE_NS).contains(&segment.ts_ns.saturating_sub(last.ts_ns));
        if alike && soon && last.ts_ns != 0 && (wire_len > 0 || syn || has(Segment::FIN)) {
            self.tcp.duplicated = self.tcp.duplicated.saturating_add(1);
            return;
        }

        if syn {
            let letter = if has(Segment::ACK) {
                Letter::SynAck
            } else {
                Letter::Syn
            };
            self.history.note(direction, letter);
            if has(Segment::FIN) || has(Segment::RST) {
                self.history.note(direction, Letter::MultiFlag);
                reader.note(AnomalyKind::TcpFlagsOdd, || {
                    "SYN with FIN or RST".to_owned()
                });
            }
            self.tcp.stream[me].start(data_seq);
            if has(Segment::ACK) {
                self.tcp.stream[peer].restart(segment.ack);
                if let Opening::Syn(sent) = self.tcp.opening {
                    self.tcp.opening = Opening::Rtt(segment.ts_ns.saturating_sub(sent));
                }
            } else if matches!(self.tcp.opening, Opening::Nothing) {
                self.tcp.opening = Opening::Syn(segment.ts_ns);
            }
        }
        if segment.window == 0 && !has(Segment::RST) && !syn {
            self.history.note(direction, Letter::ZeroWindow);
        }
        // Before the acknowledgement is believed, which it may hang on.
        let acceptable = self.acceptable(me, peer, segment);
        if has(Segment::ACK) && (syn || !self.is_challenge(peer, segment.ack)) {
            self.tcp.stream[peer].acknowledged(segment.ack);
        }
        self.tcp.ends.segment(direction, flags, acceptable);
        if has(Segment::RST) {
            self.history.note(direction, Letter::Rst);
        } else if wire_len > 0 {
            self.history.note(direction, Letter::Data);
            let stream = &mut self.tcp.stream[me];
            let missed = stream.missed;
            let arrival = stream.segment(data_seq, wire_len, payload, budget, &mut |event| {
                reader.event(direction, event)
            });
            let missed = self.tcp.stream[me].missed - missed;
            self.arrived(direction, arrival, missed, reader);
        } else if has(Segment::ACK) && !syn && !has(Segment::FIN) {
            self.history.note(direction, Letter::Ack);
        }
        if has(Segment::FIN) {
            self.history.note(direction, Letter::Fin);
            self.tcp.stream[me].start(data_seq);
            self.tcp.stream[me].fin(data_seq.wrapping_add(wire_len));
        }
        for side in [Direction::Orig, Direction::Resp] {
            let stream = &mut self.tcp.stream[side.index()];
            let missed = stream.missed;
            stream.tick(&mut |event| reader.event(side, event));
            let missed = stream.missed - missed;
            if missed > 0 {
                self.gap(side, missed, reader);
            }
        }
    }

    /// Whether an ACK without SYN answers a SYN with what was never sent: the
    /// remains of an older connection (RFC 9293 §3.10.7.3, RFC 5961 §4.2),
    /// which the sender of the SYN answers with a RST that ends only that one.
    fn is_challenge(&self, opener: usize, ack: u32) -> bool {
        const SLACK: i64 = 1 << 17;
        let stream = &self.tcp.stream[opener];
        let sent = stream.bytes().cast_signed();
        self.tcp.ends.state[opener] == End::SynSent
            && !(0..=sent + SLACK).contains(&stream.position(ack))
    }

    /// Whether a RST lies near what its sender last sent. One that has sent
    /// nothing yet answers a SYN by acknowledging it (RFC 9293 §3.10.7.3), and
    /// else stands where the other end says that it expects it.
    fn acceptable(&self, me: usize, peer: usize, segment: &Segment) -> bool {
        const SLACK: i64 = 1 << 17;
        let stream = &self.tcp.stream[me];
        if stream.has_started() {
            let sent = stream.bytes().cast_signed();
            return (sent - SLACK..=sent + SLACK).contains(&stream.position(segment.seq));
        }
        let (opener, last) = (&self.tcp.stream[peer], &self.tcp.last[peer]);
        if self.tcp.ends.state[peer] == End::SynSent {
            let sent = opener.bytes().cast_signed();
            return segment.tcp_flags & Segment::ACK != 0
                && (0..=sent + 1).contains(&opener.position(segment.ack));
        }
        let expects = last.flags & Segment::ACK != 0;
        let ahead = i64::from(segment.seq.wrapping_sub(last.ack).cast_signed());
        !expects || (-SLACK..=SLACK).contains(&ahead)
    }

    fn arrived<C: Content>(
        &mut self,
        direction: Direction,
        arrival: Arrival,
        missed: u64,
        reader: &mut Reader<'_, C>,
    ) {
        if arrival.retransmission && !arrival.keep_alive {
            self.tcp.retransmitted = self.tcp.retransmitted.saturating_add(1);
            self.history.note(direction, Letter::Retransmission);
        }
        if arrival.early || arrival.late {
            self.tcp.out_of_order = self
                .tcp
                .out_of_order
                .saturating_add(u32::from(arrival.early));
        }
        if arrival.conflict {
            self.tcp.conflicts = self.tcp.conflicts.saturating_add(1);
            self.history.note(direction, Letter::Inconsistent);
            reader.note(AnomalyKind::TcpOverlapConflict, || {
                "segments carry different bytes for the same place; the first were kept".to_owned()
            });
        }
        if arrival.limit {
            reader.note(AnomalyKind::TcpReassemblyLimit, || {
                "early segments exceeded the budget; a hole was given up".to_owned()
            });
        }
        if missed > 0 {
            self.gap(direction, missed, reader);
        }
    }

    fn gap<C: Content>(&mut self, direction: Direction, len: u64, reader: &mut Reader<'_, C>) {
        self.history.note(direction, Letter::Gap);
        reader.note(AnomalyKind::TcpGap, || {
            let who = if direction == Direction::Orig {
                "originator"
            } else {
                "responder"
            };
            format!("{len} bytes of the {who} are not in the capture")
        });
    }
}

// What the memory budget of open flows is reckoned with.
const _: () = assert!(size_of::<Tcp>() <= 256);
