//! The states that Zeek gives the two ends of a TCP connection, and the
//! `conn_state` that follows from them (Zeek's `base/protocols/conn/main.zeek`).

use super::record::ConnState;
use crate::decode::Segment;
use crate::proto::Direction;

/// What an end has shown of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// Nothing.
    #[default]
    Inactive,
    /// A SYN.
    SynSent,
    /// A SYN-ACK without the other end's SYN.
    SynAckSent,
    /// Traffic without a handshake.
    Partial,
    /// The handshake is complete.
    Established,
    /// A FIN.
    Closed,
    /// A RST.
    Reset,
}

/// Both ends, `[orig, resp]`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ends {
    /// Their states.
    pub state: [End; 2],
}

impl Ends {
    /// One end sent a segment with these flags; `acceptable` when its sequence
    /// number lies where that end's stream is.
    pub fn segment(&mut self, direction: Direction, flags: u8, acceptable: bool) {
        let (me, peer) = (direction.index(), direction.flip().index());
        let has = |flag| flags & flag != 0;
        if has(Segment::RST) {
            // A RST out of place would be ignored by the other end (RFC 9293 §3.10.7.4).
            if acceptable && self.state[me] != End::Closed {
                self.state[me] = End::Reset;
            }
            return;
        }
        if has(Segment::SYN) {
            match (direction, has(Segment::ACK)) {
                (_, true) => match self.state[peer] {
                    End::SynSent | End::Established => {
                        if matches!(self.state[me], End::Inactive | End::SynSent | End::Partial) {
                            self.state[me] = End::Established;
                            self.state[peer] = End::Established;
                        }
                    }
                    End::Inactive if self.state[me] == End::Inactive => {
                        self.state[me] = if direction == Direction::Resp {
                            End::Established
                        } else {
                            End::SynAckSent
                        };
                    }
                    _ => {}
                },
                // Simultaneous open: SYN against SYN (RFC 9293 §3.5).
                (Direction::Resp, false) if self.state[peer] == End::SynSent => {
                    self.state[me] = End::Established;
                    self.state[peer] = End::Established;
                }
                (_, false) => {
                    if matches!(self.state[me], End::Inactive | End::Partial) {
                        self.state[me] = End::SynSent;
                    }
                }
            }
        }
        if self.state[me] == End::Inactive {
            self.state[me] = End::Partial;
        }
        if has(Segment::FIN) && self.state[me] != End::Reset {
            self.state[me] = End::Closed;
        }
    }

    /// Both ends are done: nothing but stragglers will follow.
    pub fn is_over(&self) -> bool {
        self.state.contains(&End::Reset) || self.state == [End::Closed; 2]
    }

    /// Zeek's `conn_state`; `empty` when neither end sent payload.
    pub fn conn_state(&self, empty: bool) -> ConnState {
        let [orig, resp] = self.state;
        let unseen = |end| matches!(end, End::Inactive | End::Partial);
        match (orig, resp) {
            (End::SynSent | End::SynAckSent, End::Reset) => ConnState::Rej,
            (End::Reset, End::Reset) if empty => ConnState::Rej,
            (orig, End::Reset) if unseen(orig) => ConnState::Rstrh,
            (_, End::Reset) => ConnState::Rstr,
            (End::Reset, resp) if unseen(resp) => ConnState::Rstos0,
            (End::Reset, _) => ConnState::Rsto,
            (End::Closed, End::Closed) => ConnState::Sf,
            (End::Closed, resp) if unseen(resp) => ConnState::Sh,
            (End::Closed, _) => ConnState::S2,
            (orig, End::Closed) if unseen(orig) => ConnState::Shr,
            (_, End::Closed) => ConnState::S3,
            (End::SynSent, End::Inactive) => ConnState::S0,
            (End::Established, End::Established) => ConnState::S1,
            _ => ConnState::Oth,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Orig, Resp};

    const S: u8 = Segment::SYN;
    const A: u8 = Segment::ACK;
    const F: u8 = Segment::FIN;
    const R: u8 = Segment::RST;

    #[track_caller]
    fn gives(segments: &[(Direction, u8)], empty: bool, expected: &str) {
        let mut ends = Ends::default();
        for &(direction, flags) in segments {
            ends.segment(direction, flags, true);
        }
        assert_eq!(ends.conn_state(empty).name(), expected);
    }

    /// One case for each line of Zeek's table of connection states.
    #[test]
    fn states_are_zeeks() {
        let open = [(Orig, S), (Resp, S | A), (Orig, A)];
        let opened = |more: &[(Direction, u8)]| [&open[..], more].concat();
        gives(&[(Orig, S)], true, "S0");
        gives(&open, true, "S1");
        gives(&opened(&[(Orig, F | A), (Resp, F | A)]), false, "SF");
        gives(&[(Orig, S), (Resp, R | A)], true, "REJ");
        gives(&opened(&[(Orig, F | A)]), false, "S2");
        gives(&opened(&[(Resp, F | A)]), false, "S3");
        gives(&opened(&[(Orig, R)]), false, "RSTO");
        gives(&opened(&[(Resp, R)]), false, "RSTR");
        gives(&[(Orig, S), (Orig, R)], true, "RSTOS0");
        gives(&[(Resp, S | A), (Resp, R)], true, "RSTRH");
        gives(&[(Orig, S), (Orig, F)], true, "SH");
        gives(&[(Resp, S | A), (Resp, F)], true, "SHR");
        gives(&[(Orig, A), (Resp, A)], false, "OTH");
    }

    #[test]
    fn a_syn_against_a_syn_opens_the_connection() {
        gives(&[(Orig, S), (Resp, S)], true, "S1");
    }

    #[test]
    fn a_reset_out_of_place_changes_nothing() {
        let mut ends = Ends::default();
        for (direction, flags) in [(Orig, S), (Resp, S | A), (Orig, A)] {
            ends.segment(direction, flags, true);
        }
        ends.segment(Resp, R, false);
        assert_eq!(ends.conn_state(true), ConnState::S1);
    }
}
