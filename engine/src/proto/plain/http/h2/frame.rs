//! HTTP/2's frames (RFC 9113 §4.1), and how a run of them is told from other
//! bytes where the beginning of the connection is not in the capture.
//!
//! ```text
//! length:24  type:8  flags:8  R:1 stream:31  payload:length
//! ```

use super::super::super::reader::Role;
use super::super::super::registry::{Look, Match};
use super::super::super::text::is_beginning_of;
use super::super::probe::H2_PREFACE;
use super::hpack::{Decoder, Fields};

/// Length of a frame's header.
pub(super) const HEAD: usize = 9;
/// Longest payload before anybody said otherwise (RFC 9113 §6.5.2).
pub(super) const DEFAULT_MAX: u32 = 1 << 14;

pub(super) const DATA: u8 = 0x0;
pub(super) const HEADERS: u8 = 0x1;
pub(super) const PRIORITY: u8 = 0x2;
pub(super) const RST_STREAM: u8 = 0x3;
pub(super) const SETTINGS: u8 = 0x4;
pub(super) const PUSH_PROMISE: u8 = 0x5;
pub(super) const PING: u8 = 0x6;
pub(super) const GOAWAY: u8 = 0x7;
pub(super) const WINDOW_UPDATE: u8 = 0x8;
pub(super) const CONTINUATION: u8 = 0x9;

/// Also ACK of SETTINGS and PING.
pub(super) const END_STREAM: u8 = 0x1;
pub(super) const ACK: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;
pub(super) const PADDED: u8 = 0x8;
pub(super) const HAS_PRIORITY: u8 = 0x20;

/// A frame's header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    pub len: u32,
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
}

impl Head {
    /// Reads one; the reserved bit is ignored, as it has to be.
    pub(super) fn read(bytes: &[u8; HEAD]) -> Self {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = *bytes;
        Self {
            len: u32::from_be_bytes([0, l0, l1, l2]),
            kind,
            flags,
            stream: u32::from_be_bytes([s0, s1, s2, s3]) & 0x7fff_ffff,
        }
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Whether a frame as programs send it may begin so: for finding frames
    /// among other bytes, which asks for more than the RFC does.
    fn is_likely(&self) -> bool {
        let on_stream = self.stream != 0;
        let only = |flags: u8| self.flags & !flags == 0;
        self.len <= DEFAULT_MAX
            && match self.kind {
                DATA => on_stream && only(END_STREAM | PADDED),
                HEADERS => {
                    on_stream
                        && self.len > 0
                        && only(END_STREAM | END_HEADERS | PADDED | HAS_PRIORITY)
                }
                PRIORITY => on_stream && self.len == 5 && only(0),
                RST_STREAM => on_stream && self.len == 4 && only(0),
                SETTINGS => {
                    !on_stream
                        && self.len.is_multiple_of(6)
                        && self.len <= 120
                        && only(ACK)
                        && (self.len == 0 || !self.has(ACK))
                }
                PUSH_PROMISE => on_stream && self.len > 4 && only(END_HEADERS | PADDED),
                PING => !on_stream && self.len == 8 && only(ACK),
                GOAWAY => !on_stream && self.len >= 8 && only(0),
                WINDOW_UPDATE => self.len == 4 && only(0),
                CONTINUATION => on_stream && only(END_HEADERS),
                _ => false,
            }
    }

    /// The block within a payload of HEADERS, PUSH_PROMISE or CONTINUATION:
    /// without padding, priority and promised stream. None when they exceed it.
    pub(super) fn block<'a>(&self, payload: &'a [u8]) -> Option<(u32, &'a [u8])> {
        let mut rest = payload;
        if self.kind != CONTINUATION && self.has(PADDED) {
            let (&padding, after) = rest.split_first()?;
            // A payload that was cut has its padding beyond the cut.
            let whole = usize::try_from(self.len) == Ok(payload.len());
            let padding = if whole { usize::from(padding) } else { 0 };
            rest = after.get(..after.len().checked_sub(padding)?)?;
        }
        if self.kind == HEADERS && self.has(HAS_PRIORITY) {
            rest = rest.get(5..)?;
        }
        let mut promised = 0;
        if self.kind == PUSH_PROMISE {
            let (id, after) = rest.split_first_chunk::<4>()?;
            promised = u32::from_be_bytes(*id) & 0x7fff_ffff;
            rest = after;
        }
        Some((promised, rest))
    }
}

/// Whether bytes are the preface, which every connection begins with.
pub(in super::super::super) fn probe_preface(look: &Look<'_>) -> Match {
    if look.bytes.starts_with(H2_PREFACE) {
        return Match::Yes(Role::Client);
    }
    if is_beginning_of(look.bytes, H2_PREFACE) {
        return Match::NeedMore;
    }
    let waits = look.other.is_empty() || is_beginning_of(look.other, H2_PREFACE);
    match first(look.bytes) {
        // A server may speak first (RFC 9113 §3.4).
        First::Settings if look.other.starts_with(H2_PREFACE) => Match::Yes(Role::Server),
        First::Settings | First::Perhaps if waits && !look.last => Match::NeedMore,
        _ => Match::No,
    }
}

/// Whether bytes are frames from within a connection.
pub(in super::super::super) fn probe_within(look: &Look<'_>) -> Match {
    match walk(look.bytes) {
        Walk::Frames(Some(role)) => Match::Yes(role),
        Walk::Frames(None) => Match::Yes(if look.ports.0 >= look.ports.1 {
            Role::Client
        } else {
            Role::Server
        }),
        Walk::Perhaps => Match::when_cut(!look.last),
        Walk::No => Match::No,
    }
}

enum First {
    Settings,
    Perhaps,
    No,
}

/// Whether a server's first frame stands here.
fn first(bytes: &[u8]) -> First {
    // Length up to 120, type, no flags, stream 0.
    let fixed: [fn(u8) -> bool; HEAD] = [
        |byte| byte == 0,
        |byte| byte == 0,
        |byte| byte % 6 == 0 && byte <= 120,
        |byte| byte == SETTINGS,
        |byte| byte == 0,
        |byte| byte == 0,
        |byte| byte == 0,
        |byte| byte == 0,
        |byte| byte == 0,
    ];
    if !fixed.iter().zip(bytes).all(|(fits, byte)| fits(*byte)) {
        First::No
    } else if bytes.len() < HEAD {
        First::Perhaps
    } else {
        First::Settings
    }
}

/// What bytes look like.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Walk {
    /// Frames, from this side where they tell.
    Frames(Option<Role>),
    /// Too few to tell.
    Perhaps,
    /// Something else.
    No,
}

/// Frames walked before the answer has to be there.
const MAX_WALK: usize = 8;

/// Looks at bytes that may begin with a frame: every frame of theirs has to be
/// likely, and either headers have to read as such or three frames follow each
/// other.
pub(super) fn walk(bytes: &[u8]) -> Walk {
    let (mut rest, mut whole, mut kinds) = (bytes, 0_usize, 0_u16);
    let mut role = None;
    for _ in 0..MAX_WALK {
        let Some((head, after)) = rest.split_first_chunk::<HEAD>() else {
            // Of a header that is cut, its length is likely or not.
            let likely = match rest {
                [] => true,
                [high, ..] if *high != 0 => false,
                [_, middle, ..] if *middle > 0x40 => false,
                [_, _, _, kind, ..] if *kind > CONTINUATION => false,
                _ => true,
            };
            if !likely {
                return Walk::No;
            }
            break;
        };
        let head = Head::read(head);
        if !head.is_likely() {
            return Walk::No;
        }
        let len = usize::try_from(head.len).unwrap_or(usize::MAX);
        let Some((payload, after)) = after.split_at_checked(len) else {
            break;
        };
        whole += 1;
        kinds |= 1 << head.kind.min(15);
        if head.kind == HEADERS && head.has(END_HEADERS) {
            match side_of(&head, payload) {
                Some(from) => role = role.or(from),
                None => return Walk::No,
            }
        }
        rest = after;
    }
    // Data alone could be anything that counts.
    if role.is_some() || whole >= 3 && kinds & !1 != 0 {
        Walk::Frames(role)
    } else if whole >= MAX_WALK {
        Walk::No
    } else {
        Walk::Perhaps
    }
}

/// Who sent these headers, where they tell (trailers do not); none when they
/// do not read as headers.
fn side_of(head: &Head, payload: &[u8]) -> Option<Option<Role>> {
    let (_, block) = head.block(payload)?;
    let mut decoder = Decoder::default();
    decoder.blind();
    let mut fields = Fields::default();
    fields.clear(64 << 10);
    decoder.decode(block, 0, 4096, &mut fields).ok()?;
    let mut role = None;
    for (name, _) in fields.iter() {
        match name {
            b":method" | b":path" | b":scheme" | b":authority" => role = Some(Role::Client),
            b":status" => role = Some(Role::Server),
            _ if name.first() == Some(&b':') || !super::super::head::is_token(name) => {
                return None;
            }
            _ => {}
        }
    }
    Some(role)
}

#[cfg(test)]
mod tests {
    use super::super::super::super::testing::hex;
    use super::*;

    #[test]
    fn frames_are_told_from_other_bytes() {
        #[track_caller]
        fn is(bytes: &str, expected: Walk) {
            assert_eq!(walk(&hex(bytes)), expected, "{bytes}");
        }
        // HEADERS: GET / of an unknown authority.
        is(
            "000004 01 05 00000007 828684be",
            Walk::Frames(Some(Role::Client)),
        );
        is(
            "000001 01 04 00000007 88 000003 00 01 00000007 616263",
            Walk::Frames(Some(Role::Server)),
        );
        is(
            "000004 08 00 00000000 00010000 000008 06 00 00000000 0102030405060708 000004 08 00 00000003 00010000",
            Walk::Frames(None),
        );
        is("000003 00 00 00000001 616263", Walk::Perhaps);
        is("0000", Walk::Perhaps);
        // A block that is none, a type and a length that nobody sends.
        is("000004 01 05 00000007 80808080", Walk::No);
        is("000004 2a 00 00000000 00010000", Walk::No);
        is("100000 00 00 00000001", Walk::No);
    }

    #[test]
    fn blocks_lose_what_surrounds_them() {
        let head = |kind, flags, len| Head {
            len,
            kind,
            flags,
            stream: 1,
        };
        let padded = hex("02 00000000 10 8286 0000");
        assert_eq!(
            head(HEADERS, PADDED | HAS_PRIORITY, 10).block(&padded),
            Some((0, &padded[6..8]))
        );
        assert_eq!(head(HEADERS, PADDED, 2).block(&[9, 1]), None);
        assert_eq!(
            head(PUSH_PROMISE, 0, 5).block(&hex("8000000282")),
            Some((2, &[0x82][..]))
        );
    }
}
