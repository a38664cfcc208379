//! What echo messages carry (RFC 792; RFC 4443 §4): whether replies say what
//! their requests said, whether payloads vary, and marks of known tunnels. The
//! memory of one flow is fixed; no payload is kept.

use super::Direction;
use foldhash::fast::FixedState;
use std::hash::BuildHasher as _;

/// Requests whose payload is remembered until they are answered.
const WAITING: usize = 8;
/// Programs put a time stamp before their pattern: `struct timeval` of 64-bit
/// systems takes 16 bytes (iputils ping).
const STAMP: usize = 16;
/// Bytes of the pattern that are compared: sizes may vary when the pattern does not.
const PATTERN: usize = 32;
/// Programs that ping in turn: patterns that are remembered of each direction.
const PROGRAMS: usize = 4;
/// The same hash for every run.
const HASHER: FixedState = FixedState::with_seed(0x6563_686f);

/// A kind of payload that ordinary echo messages never have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// `0xD5200880`: ptunnel (`kPing_tunnel_magic`); `0xDEADC0DE`: ptunnel-ng, as
    /// its version 1.42 was recorded for `samples/tunnels`.
    Ptunnel,
    /// A whole IP packet: icmptunnel and the like.
    IpPacket,
}

impl Mark {
    /// The name that tables use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ptunnel => "ptunnel",
            Self::IpPacket => "ip_packet",
        }
    }
}

/// Whether a type is an echo request (true) or reply (false); none for others.
pub const fn is_request(ip_proto: u8, kind: u16) -> Option<bool> {
    match (ip_proto, kind) {
        (1, 8) | (58, 128) => Some(true),
        (1, 0) | (58, 129) => Some(false),
        _ => None,
    }
}

/// What one flow's echo messages showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Echo {
    /// Requests.
    pub requests: u64,
    /// Replies whose payload is not that of the request with the same identifier
    /// and number.
    pub unlike: u64,
    /// Replies to none of the latest requests, once there was one.
    pub unasked: u64,
    /// Messages whose pattern is none of the latest in their direction.
    pub varied: u64,
    /// Largest payload, bytes on the wire.
    pub largest: u32,
    /// First mark.
    pub mark: Option<Mark>,
    /// Messages with it.
    pub marked: u64,
    patterns: [[Option<u32>; PROGRAMS]; 2],
    /// Identifier and number, hash of the payload: the latest requests.
    waiting: [(u32, u32); WAITING],
    next: u32,
}

impl Echo {
    /// One message: identifier and number, what was captured of its payload, and
    /// how long that was.
    pub fn message(
        &mut self,
        direction: Direction,
        is_request: bool,
        number: u32,
        payload: &[u8],
        wire_len: u32,
    ) {
        self.largest = self.largest.max(wire_len);
        if let Some(mark) = mark(payload, wire_len) {
            self.mark.get_or_insert(mark);
            self.marked = self.marked.saturating_add(1);
        }
        if let Some(pattern) = pattern(payload) {
            let before = &mut self.patterns[direction.index()];
            if !before.contains(&Some(pattern)) {
                if before[0].is_some() {
                    self.varied = self.varied.saturating_add(1);
                }
                // The latest first; the oldest falls out.
                before.rotate_right(1);
                before[0] = Some(pattern);
            }
        }
        // What is cut cannot be compared.
        let whole = u32::try_from(payload.len()) == Ok(wire_len);
        let hash = short(payload) | 1;
        if is_request {
            self.requests = self.requests.saturating_add(1);
            // 0 stands for a payload that nobody knows.
            let place = &mut self.waiting[self.next as usize % WAITING];
            *place = (number, if whole { hash } else { 0 });
            self.next = self.next.wrapping_add(1);
        } else if self.requests > 0 {
            let filled = self
                .waiting
                .iter()
                .take(self.requests.min(WAITING as u64) as usize);
            match filled.rev().find(|(asked, _)| *asked == number) {
                Some(&(_, asked)) if asked != 0 && whole && asked != hash => {
                    self.unlike = self.unlike.saturating_add(1);
                }
                Some(_) => {}
                None => self.unasked = self.unasked.saturating_add(1),
            }
        }
    }
}

/// Hash of what should be the same in every message of one program.
fn pattern(payload: &[u8]) -> Option<u32> {
    payload.get(STAMP..STAMP + PATTERN).map(short)
}

fn short(bytes: &[u8]) -> u32 {
    (HASHER.hash_one(bytes) >> 32) as u32
}

fn mark(payload: &[u8], wire_len: u32) -> Option<Mark> {
    const PTUNNEL: [[u8; 4]; 2] = [[0xd5, 0x20, 0x08, 0x80], [0xde, 0xad, 0xc0, 0xde]];
    if PTUNNEL.iter().any(|magic| payload.starts_with(magic)) {
        return Some(Mark::Ptunnel);
    }
    let &[version, _, l1, l0, ..] = payload else {
        return None;
    };
    let length = u32::from(u16::from_be_bytes([l1, l0]));
    let is_header = (0x45..=0x4f).contains(&version) && length == wire_len && length >= 28;
    // Time to live and protocol of the transports that tunnels carry.
    let carries =
        matches!(payload.get(9), Some(1 | 6 | 17)) && payload.get(8).is_some_and(|&ttl| ttl > 0);
    (is_header && carries).then_some(Mark::IpPacket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Orig, Resp};

    /// As Linux sends it: 16 bytes of time, then 0x10, 0x11, ….
    fn ping(time: u8, len: usize) -> Vec<u8> {
        let mut payload = vec![time; STAMP];
        payload
            .extend((0..len.saturating_sub(STAMP)).map(|i| 0x10 + u8::try_from(i % 200).unwrap()));
        payload
    }

    fn feed(echo: &mut Echo, request: bool, number: u32, payload: &[u8]) {
        let direction = if request { Orig } else { Resp };
        let len = u32::try_from(payload.len()).unwrap();
        echo.message(direction, request, number, payload, len);
    }

    #[test]
    fn an_ordinary_ping_varies_in_nothing() {
        let mut echo = Echo::default();
        for number in 0..40_u8 {
            // Sizes change as in a search for the largest that passes.
            let payload = ping(number, 56 + usize::from(number));
            feed(&mut echo, true, number.into(), &payload);
            feed(&mut echo, false, number.into(), &payload);
        }
        assert_eq!(
            (echo.requests, echo.unlike, echo.varied, echo.mark),
            (40, 0, 0, None)
        );
        assert_eq!(echo.largest, 95);
    }

    #[test]
    fn programs_in_turn_vary_in_nothing_new() {
        let mut echo = Echo::default();
        for number in 0..40_u8 {
            // Linux's pattern, and a monitor's.
            let payload = match number % 2 {
                0 => ping(number, 56),
                _ => vec![b'm'; 56],
            };
            feed(&mut echo, true, number.into(), &payload);
            feed(&mut echo, false, number.into(), &payload);
        }
        // The second program's first message, each way.
        assert_eq!((echo.unlike, echo.varied), (0, 2));
    }

    #[test]
    fn replies_late_by_some_requests_are_still_alike() {
        let mut echo = Echo::default();
        let payloads: Vec<_> = (0..8_u8).map(|n| ping(n, 64)).collect();
        for (number, payload) in payloads.iter().enumerate() {
            feed(&mut echo, true, number as u32, payload);
        }
        for (number, payload) in payloads.iter().enumerate() {
            feed(&mut echo, false, number as u32, payload);
        }
        assert_eq!(echo.unlike, 0);
    }

    #[test]
    fn a_tunnel_answers_something_else() {
        let mut echo = Echo::default();
        for number in 0..20_u8 {
            feed(&mut echo, true, number.into(), &[number ^ 0x5a; 100]);
            feed(&mut echo, false, number.into(), &[number ^ 0xa5; 300]);
        }
        // A reply that nobody asked for.
        feed(&mut echo, false, 9_999, &[1; 64]);
        assert_eq!((echo.unlike, echo.unasked), (20, 1));
        // All but the first of each direction.
        assert_eq!(echo.varied, 39);
    }

    #[test]
    fn what_is_not_there_is_not_compared() {
        let mut only_replies = Echo::default();
        feed(&mut only_replies, false, 1, &ping(1, 64));
        assert_eq!((only_replies.unlike, only_replies.unasked), (0, 0));
        let mut cut = Echo::default();
        cut.message(Orig, true, 1, &ping(1, 20), 1_000);
        cut.message(Resp, false, 1, &ping(2, 20), 1_000);
        assert_eq!((cut.unlike, cut.varied), (0, 0));
    }

    #[test]
    fn marks_of_tunnels_are_seen() {
        let mut echo = Echo::default();
        feed(&mut echo, true, 1, &[0xd5, 0x20, 0x08, 0x80, 0, 0, 0, 0]);
        assert_eq!((echo.mark, echo.marked), (Some(Mark::Ptunnel), 1));
        // An IPv4 header by RFC 791: 40 bytes long, time to live 64, TCP.
        let mut packet = vec![0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6];
        packet.resize(40, 7);
        let mut echo = Echo::default();
        feed(&mut echo, true, 1, &packet);
        assert_eq!(echo.mark, Some(Mark::IpPacket));
        packet.push(0);
        let mut echo = Echo::default();
        feed(&mut echo, true, 1, &packet);
        assert_eq!(echo.mark, None);
    }

    #[test]
    fn types_are_those_of_the_rfcs() {
        for (proto, kind, expected) in [
            (1, 8, Some(true)),
            (1, 0, Some(false)),
            (58, 128, Some(true)),
            (58, 129, Some(false)),
            (1, 3, None),
            (58, 135, None),
        ] {
            assert_eq!(is_request(proto, kind), expected, "{proto} {kind}");
        }
    }
}
