//! Long headers and the frames of Initial and Handshake packets. RFC 9000
//! §17.2 and §19, RFC 9369 §3.2, RFC 8999 (what all versions share).

/// A version whose packets can be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) number: u32,
    pub(super) salt: &'static [u8],
    /// Of key, IV, header protection, and of the secret after an update.
    pub(super) labels: [&'static str; 4],
    /// Types are numbered as in version 2.
    pub(super) rotated: bool,
}

const V1: [&str; 4] = ["quic key", "quic iv", "quic hp", "quic ku"];
const V2: [&str; 4] = ["quicv2 key", "quicv2 iv", "quicv2 hp", "quicv2 ku"];

/// RFC 9001 §5.2.
const SALT_V1: &[u8] =
    b"\x38\x76\x2c\xf7\xf5\x59\x34\xb3\x4d\x17\x9a\xe6\xa4\xc8\x0c\xad\xcc\xbb\x7f\x0a";
/// RFC 9369 §3.3.1.
const SALT_V2: &[u8] =
    b"\x0d\xed\xe3\xde\xf7\x00\xa6\xdb\x81\x93\x81\xbe\x6e\x26\x9d\xcb\xf9\xbd\x2e\xd9";
/// draft-ietf-quic-v2-01 to -10.
const SALT_V2_DRAFT: &[u8] =
    b"\xa7\x07\xc2\x03\xa5\x9b\x47\x18\x4a\x1d\x62\xca\x57\x04\x06\xea\x7a\xe3\xe5\xd3";
/// draft-ietf-quic-tls-29 to -32.
const SALT_29: &[u8] =
    b"\xaf\xbf\xec\x28\x99\x93\xd2\x4c\x9e\x97\x86\xf1\x9c\x61\x11\xe0\x43\x90\xa8\x99";
/// draft-ietf-quic-tls-23 to -28.
const SALT_23: &[u8] =
    b"\xc3\xee\xf7\x12\xc7\x2e\xbb\x5a\x11\xa7\xd2\x43\x2b\xb4\x63\x65\xbe\xf9\xf5\x02";

/// What is known of a version.
pub(super) fn version(number: u32) -> Option<Version> {
    let (salt, labels) = match number {
        1 | 0xff00_0021..=0xff00_0022 => (SALT_V1, V1),
        0x6b33_43cf => (SALT_V2, V2),
        0x709a_50c4 => (SALT_V2_DRAFT, V2),
        0xff00_001d..=0xff00_0020 => (SALT_29, V1),
        // Facebook's mvfst draft 27 among them.
        0xff00_0017..=0xff00_001c | 0xface_b002 => (SALT_23, V1),
        _ => return None,
    };
    Some(Version {
        number,
        salt,
        labels,
        rotated: labels == V2,
    })
}

/// Type of a long-header packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Initial,
    ZeroRtt,
    Handshake,
    Retry,
}

/// A long-header packet, still protected.
#[derive(Debug)]
pub(super) struct Long<'a> {
    pub(super) version: u32,
    pub(super) dcid: &'a [u8],
    pub(super) scid: &'a [u8],
    /// None when the version is not known, whose packets nobody can tell apart.
    pub(super) kind: Option<Kind>,
    /// Up to the packet number.
    pub(super) header: &'a [u8],
    /// Packet number and payload.
    pub(super) rest: &'a [u8],
}

/// Longest connection id of the known versions (RFC 9000 §17.2).
const MAX_ID: usize = 20;

/// Takes the first packet off a datagram that begins with a long header.
/// Retry, version negotiation and unknown versions take it all.
pub(super) fn long<'a>(datagram: &mut &'a [u8]) -> Option<Long<'a>> {
    let whole = *datagram;
    let mut read = Read(whole);
    let first = read.u8()?;
    let number = u32::from_be_bytes(read.take(4)?.try_into().ok()?);
    let dcid = read.id()?;
    let scid = read.id()?;
    let kind = version(number).map(|version| {
        match (first >> 4 & 3).wrapping_sub(u8::from(version.rotated)) & 3 {
            0 => Kind::Initial,
            1 => Kind::ZeroRtt,
            2 => Kind::Handshake,
            _ => Kind::Retry,
        }
    });
    *datagram = &[];
    let mut found = Long {
        version: number,
        dcid,
        scid,
        kind,
        header: whole,
        rest: &[],
    };
    if matches!(kind, None | Some(Kind::Retry)) {
        return Some(found);
    }
    if kind == Some(Kind::Initial) {
        let token = read.varint()?;
        read.take(usize::try_from(token).ok()?)?;
    }
    let len = usize::try_from(read.varint()?).ok()?;
    let (header, rest) = whole.split_at_checked(whole.len() - read.0.len())?;
    let (rest, next) = rest.split_at_checked(len)?;
    (found.header, found.rest, *datagram) = (header, rest, next);
    Some(found)
}

/// A frame that says something.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    Crypto { at: u64, bytes: &'a [u8] },
    Close { code: u64 },
}

/// Which frames a packet may hold (RFC 9000 §12.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// Initial and Handshake packets.
    Handshake,
    /// 1-RTT packets.
    Application,
}

/// The next frame that says something; `Err` when the rest is no frame of
/// these packets, `None` at their end.
pub(super) fn frame<'a>(payload: &mut &'a [u8], level: Level) -> Result<Option<Frame<'a>>, ()> {
    loop {
        let Some(at) = payload.iter().position(|byte| *byte != 0) else {
            *payload = &[];
            return Ok(None);
        };
        let mut read = Read(payload.get(at..).unwrap_or_default());
        let found = read.frame(level).ok_or(())?;
        *payload = read.0;
        if found.is_some() {
            return Ok(found);
        }
    }
}

struct Read<'a>(&'a [u8]);

impl<'a> Read<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn id(&mut self) -> Option<&'a [u8]> {
        let len = usize::from(self.u8()?);
        (len <= MAX_ID).then(|| self.take(len))?
    }

    /// RFC 9000 §16.
    fn varint(&mut self) -> Option<u64> {
        let first = self.u8()?;
        let more = self.take((1 << (first >> 6)) - 1)?;
        let start = u64::from(first & 0x3f);
        Some(
            more.iter()
                .fold(start, |number, byte| number << 8 | u64::from(*byte)),
        )
    }

    /// One frame: none when it says nothing of interest.
    fn frame(&mut self, level: Level) -> Option<Option<Frame<'a>>> {
        match self.u8()? {
            // PADDING and PING.
            0 | 1 => {}
            kind @ (2 | 3) => {
                self.varint()?;
                self.varint()?;
                let ranges = self.varint()?;
                self.varint()?;
                // Each takes bytes, so that a lying count ends with them.
                for _ in 0..ranges {
                    self.varint()?;
                    self.varint()?;
                }
                if kind == 3 {
                    for _ in 0..3 {
                        self.varint()?;
                    }
                }
            }
            6 => {
                let (at, len) = (self.varint()?, self.varint()?);
                let bytes = self.take(usize::try_from(len).ok()?)?;
                return Some(Some(Frame::Crypto { at, bytes }));
            }
            kind @ (0x1c | 0x1d) => {
                let code = self.varint()?;
                if kind == 0x1c {
                    self.varint()?;
                }
                let len = self.varint()?;
                self.take(usize::try_from(len).ok()?)?;
                return Some((kind == 0x1c).then_some(Frame::Close { code }));
            }
            kind if level == Level::Application => self.pass(kind)?,
            _ => return None,
        }
        Some(None)
    }

    /// Passes over a frame of 1-RTT packets (RFC 9000 §19, RFC 9221).
    fn pass(&mut self, kind: u8) -> Option<()> {
        let numbers = match kind {
            4 => 3,
            5 | 0x11 | 0x15 => 2,
            0x10 | 0x12..=0x14 | 0x16 | 0x17 | 0x19 => 1,
            7 => {
                let len = self.varint()?;
                self.take(usize::try_from(len).ok()?)?;
                0
            }
            // Stream: offset and length are there or not; without a length to the end.
            8..=15 => {
                self.varint()?;
                if kind & 4 != 0 {
                    self.varint()?;
                }
                self.data(kind & 2 != 0)?;
                0
            }
            0x18 => {
                self.varint()?;
                self.varint()?;
                self.id()?;
                self.take(16)?;
                0
            }
            0x1a | 0x1b => {
                self.take(8)?;
                0
            }
            0x1e => 0,
            0x30 | 0x31 => {
                self.data(kind == 0x31)?;
                0
            }
            _ => return None,
        };
        for _ in 0..numbers {
            self.varint()?;
        }
        Some(())
    }

    fn data(&mut self, has_len: bool) -> Option<()> {
        let len = if has_len {
            usize::try_from(self.varint()?).ok()?
        } else {
            self.0.len()
        };
        self.take(len)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_variable_length() {
        // The examples of RFC 9000 §A.1.
        for (bytes, number) in [
            (
                &b"\xc2\x19\x7c\x5e\xff\x14\xe8\x8c"[..],
                151_288_809_941_952_652,
            ),
            (b"\x9d\x7f\x3e\x7d", 494_878_333),
            (b"\x7b\xbd", 15_293),
            (b"\x25", 37),
        ] {
            assert_eq!(Read(bytes).varint(), Some(number));
            let cut = bytes.split_last().map_or(&[][..], |(_, cut)| cut);
            assert_eq!(Read(cut).varint(), None);
        }
    }

    #[test]
    fn frames_are_read_until_one_is_unknown() {
        let mut payload: &[u8] =
            b"\0\0\x01\x02\x05\x00\x01\x00\x00\x02\x06\x03\x02ab\0\x1c\x41\x2a\x06\x01x\x0a";
        let found = frame(&mut payload, Level::Handshake);
        let expected = Frame::Crypto {
            at: 3,
            bytes: b"ab",
        };
        assert_eq!(found, Ok(Some(expected)));
        assert_eq!(
            frame(&mut payload, Level::Handshake),
            Ok(Some(Frame::Close { code: 0x12a }))
        );
        assert_eq!(frame(&mut payload, Level::Handshake), Err(()));
        assert_eq!(frame(&mut &b"\0\0\x01"[..], Level::Handshake), Ok(None));
        assert_eq!(
            frame(&mut &b"\x06\x00\x05ab"[..], Level::Handshake),
            Err(())
        );
        // Those of 1-RTT packets are passed there, and refused here.
        let payload =
            b"\x0e\x04\x05\x02ab\x1e\x18\x01\x00\x02id0123456789abcdef\x06\x00\x01x\x08\x04rest";
        let mut rest = &payload[..];
        let crypto = Frame::Crypto { at: 0, bytes: b"x" };
        assert_eq!(frame(&mut rest, Level::Application), Ok(Some(crypto)));
        assert_eq!(frame(&mut rest, Level::Application), Ok(None));
        assert_eq!(frame(&mut &payload[..], Level::Handshake), Err(()));
        // A count of ranges that lies ends with the bytes.
        assert_eq!(
            frame(
                &mut &b"\x02\x05\x00\xbf\xff\xff\xff\x00"[..],
                Level::Handshake
            ),
            Err(())
        );
    }

    #[test]
    fn coalesced_packets_come_apart() {
        let mut datagram: &[u8] =
            b"\xc0\0\0\0\x01\x02ab\x01c\x00\x03xyz\xe0\0\0\0\x01\x02ab\x01c\x02uv\x40rest";
        let initial = long(&mut datagram).expect("a packet");
        assert_eq!(initial.kind, Some(Kind::Initial));
        assert_eq!((initial.dcid, initial.scid), (&b"ab"[..], &b"c"[..]));
        assert_eq!(initial.rest, b"xyz");
        let handshake = long(&mut datagram).expect("a packet");
        assert_eq!(handshake.kind, Some(Kind::Handshake));
        assert_eq!((handshake.rest, datagram), (&b"uv"[..], &b"\x40rest"[..]));
        // Version 2 numbers them anew.
        let v2 = long(&mut &b"\xd0\x6b\x33\x43\xcf\x00\x00\x00\x01x"[..]).expect("a packet");
        assert_eq!((v2.kind, v2.rest), (Some(Kind::Initial), &b"x"[..]));
        assert!(long(&mut &b"\xc0\0\0\0\x01\x15"[..]).is_none());
        assert!(long(&mut &b"\xc0\0\0\0\x01\0\0\0\x44\x00x"[..]).is_none());
    }
}
