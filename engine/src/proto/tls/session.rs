//! TLS records over a stream: the handshake messages in them, across segments
//! and records, for [`Handshakes`].
//!
//! Payload that says nothing (application data, encrypted handshake) is never
//! asked for: of a bulk transfer only the five header bytes of each record are
//! read, for the counts, the alerts and renegotiation.

use super::TlsHandshake;
use super::handshake::{Carrier, Handshakes};
use super::hello;
use crate::anomaly::AnomalyKind;
use crate::proto::{Cx, Direction, Want};
use std::borrow::Cow;

/// Largest record body: TLS 1.2 ciphertext (RFC 5246 §6.2.3).
pub(super) const MAX_RECORD: usize = (1 << 14) + 2_048;
const HEADER: usize = 5;
pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(super) const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const APPLICATION_DATA: u8 = 23;
pub(super) const HEARTBEAT: u8 = 24;

/// The TLS reader of one flow.
#[derive(Debug)]
pub struct TlsSession {
    sides: [Side; 2],
    handshakes: Handshakes,
}

/// One direction.
#[derive(Debug, Default)]
struct Side {
    header: [u8; HEADER],
    header_len: usize,
    /// Bytes of the current record's body still to come.
    body_left: usize,
    /// The body is wanted and gathered here, unless it comes in one piece.
    body: Vec<u8>,
    wanted: bool,
    /// Handshake bytes that do not make a whole message yet.
    message: Vec<u8>,
    /// Bytes are missing: the message they belonged to is lost.
    lost: bool,
    /// Records are encrypted from here on.
    encrypted: bool,
    /// Nothing more can be read.
    dead: bool,
    /// Any record was read.
    begun: bool,
    /// Stays in step with SSL 2 framing.
    ssl2: bool,
}

impl Side {
    /// From here on nothing can be read of its handshake.
    fn encrypt(&mut self) {
        self.encrypted = true;
        self.message.clear();
    }
}

impl TlsSession {
    /// A reader for a flow whose next bytes are TLS. `transport` is `tcp`, or
    /// `starttls-smtp` and the like.
    pub fn new(transport: Cow<'static, str>) -> Self {
        Self {
            sides: Default::default(),
            handshakes: Handshakes::new(Carrier::Stream, transport),
        }
    }

    /// The next bytes of one direction.
    pub fn data(&mut self, cx: &mut Cx<'_>, direction: Direction, bytes: &[u8]) -> Want {
        let mut bytes = bytes;
        loop {
            let side = self.side(direction);
            if side.dead {
                return Want::Nothing;
            }
            if side.body_left > 0 {
                let (now, later) = bytes.split_at(side.body_left.min(bytes.len()));
                bytes = later;
                side.body_left -= now.len();
                if side.wanted {
                    if side.body_left == 0 && side.body.is_empty() {
                        let kind = side.header[0];
                        self.record(cx, direction, kind, now);
                    } else {
                        side.body.extend_from_slice(now);
                        if side.body_left == 0 {
                            let (kind, mut body) = (side.header[0], std::mem::take(&mut side.body));
                            self.record(cx, direction, kind, &body);
                            body.clear();
                            self.side(direction).body = body;
                        }
                    }
                } else if side.body_left > 0 {
                    return Want::Skip(std::mem::take(&mut side.body_left) as u64);
                }
                if bytes.is_empty() {
                    return Want::Bytes;
                }
                continue;
            }
            if bytes.is_empty() {
                return Want::Bytes;
            }
            // SSL 2 has another framing, and only at the start.
            if !side.begun && side.header_len == 0 || side.ssl2 {
                match self.ssl2(cx, direction, &mut bytes) {
                    Framing::Ssl2 => continue,
                    Framing::Wait => return Want::Bytes,
                    Framing::Tls => {}
                }
            }
            let side = self.side(direction);
            let need = HEADER - side.header_len;
            let (now, later) = bytes.split_at(need.min(bytes.len()));
            if let Some(place) = side
                .header
                .get_mut(side.header_len..side.header_len + now.len())
            {
                place.copy_from_slice(now);
            }
            side.header_len += now.len();
            bytes = later;
            if side.header_len == HEADER {
                side.header_len = 0;
                self.header(cx, direction);
            }
        }
    }

    /// Bytes of one direction are missing.
    pub fn gap(&mut self, _cx: &mut Cx<'_>, direction: Direction, len: u64) -> Want {
        self.handshakes.gap();
        let side = self.side(direction);
        if side.dead {
            return Want::Nothing;
        }
        side.message.clear();
        side.lost = true;
        side.ssl2 = false;
        side.begun = true;
        let body_left = side.body_left as u64;
        if side.body_left > 0 && len <= body_left {
            // The next record's place is still known.
            side.body_left -= usize::try_from(len).unwrap_or(side.body_left);
            side.body.clear();
            side.wanted = false;
            return match side.body_left {
                0 => Want::Bytes,
                left => Want::Skip(left as u64),
            };
        }
        // It is not: the next segment may begin with a record, and is looked at.
        side.body_left = 0;
        side.header_len = 0;
        side.body.clear();
        Want::Bytes
    }

    /// Heap bytes held, roughly.
    pub fn heap_bytes(&self) -> usize {
        let sides: usize = self
            .sides
            .iter()
            .map(|side| side.body.capacity() + side.message.capacity())
            .sum();
        sides + self.handshakes.heap_bytes()
    }

    /// The flow has ended: the handshakes, in the order in which they began.
    pub fn end(mut self, cx: &mut Cx<'_>) -> Vec<TlsHandshake> {
        for direction in [Direction::Orig, Direction::Resp] {
            let side = self.side(direction);
            if !side.message.is_empty() && !side.lost && !side.dead {
                cx.anomalies
                    .note(AnomalyKind::TlsHandshakeMalformed, cx.ts, cx.packet, || {
                        "the flow ends inside a handshake message".to_owned()
                    });
            }
        }
        self.handshakes.end()
    }

    fn side(&mut self, direction: Direction) -> &mut Side {
        let [orig, resp] = &mut self.sides;
        match direction {
            Direction::Orig => orig,
            Direction::Resp => resp,
        }
    }

    /// A whole record header has been read.
    fn header(&mut self, cx: &mut Cx<'_>, direction: Direction) {
        let is_client = self.handshakes.is_client(direction);
        let side = self.side(direction);
        let [kind, major, minor, high, low] = side.header;
        let len = usize::from(u16::from_be_bytes([high, low]));
        let known = (CHANGE_CIPHER_SPEC..=HEARTBEAT).contains(&kind);
        let version = major == 3 && minor <= 4 || major == 0x7f || major == 0xfb;
        if !known || !version || len > MAX_RECORD {
            side.dead = true;
            // After a gap nobody knows where a record begins; before, the sender broke the rules.
            let lost = side.lost;
            let header = side.header;
            if !lost {
                cx.anomalies
                    .note(AnomalyKind::TlsRecordMalformed, cx.ts, cx.packet, || {
                        format!("a record header of {header:02x?}")
                    });
                self.handshakes.broken("a malformed record");
            }
            return;
        }
        side.begun = true;
        side.body_left = len;
        let clear = !side.encrypted;
        side.wanted = match kind {
            HANDSHAKE | ALERT | HEARTBEAT => clear,
            CHANGE_CIPHER_SPEC => true,
            _ => false,
        };
        // Early fragments of a message that was lost say nothing.
        side.body.clear();
        if kind == APPLICATION_DATA {
            self.handshakes.application_data(is_client, len);
        } else if kind == HANDSHAKE && !clear {
            self.handshakes.encrypted_handshake(is_client);
        } else if kind == HEARTBEAT && !clear {
            self.handshakes.letter(is_client, 'b');
        }
        if len == 0 && self.side(direction).wanted {
            self.record(cx, direction, kind, &[]);
        }
    }

    /// A whole record whose body was wanted.
    fn record(&mut self, cx: &mut Cx<'_>, direction: Direction, kind: u8, body: &[u8]) {
        match kind {
            HANDSHAKE => self.handshake(cx, direction, body),
            ALERT => {
                if let &[level, description] = body {
                    self.handshakes.alert(cx, direction, level, description);
                }
            }
            CHANGE_CIPHER_SPEC => {
                let encrypts = self.handshakes.change_cipher_spec(direction);
                self.side(direction).encrypted |= encrypts;
            }
            HEARTBEAT => self.handshakes.heartbeat(cx, direction, body),
            _ => {}
        }
    }

    /// Handshake bytes: whole messages are read where they lie, the rest waits.
    fn handshake(&mut self, cx: &mut Cx<'_>, direction: Direction, body: &[u8]) {
        let version = {
            let side = self.side(direction);
            u16::from_be_bytes([side.header[1], side.header[2]])
        };
        let mut held = std::mem::take(&mut self.side(direction).message);
        let rest = if held.is_empty() {
            self.messages(cx, direction, version, body)
        } else {
            held.extend_from_slice(body);
            let len = held.len();
            let rest = self
                .messages(cx, direction, version, &held)
                .map(<[u8]>::len);
            held.drain(..len - rest.unwrap_or(0));
            if rest.is_some() {
                self.side(direction).message = held;
            }
            return;
        };
        if let Some(rest) = rest {
            self.side(direction).message.extend_from_slice(rest);
        }
    }

    /// Reads whole messages; gives what is left, or `None` when the side is done.
    fn messages<'m>(
        &mut self,
        cx: &mut Cx<'_>,
        direction: Direction,
        version: u16,
        bytes: &'m [u8],
    ) -> Option<&'m [u8]> {
        let mut rest = bytes;
        loop {
            let &[kind, a, b, c, ..] = rest else {
                return Some(rest);
            };
            let len = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            if self.side(direction).lost {
                // What was lost may have ended anywhere: go on only where a
                // message plainly begins.
                let plausible = matches!(kind, 1 | 2 | 4 | 11 | 12 | 13 | 14 | 16 | 22)
                    && len + 4 <= rest.len();
                if !plausible {
                    return None;
                }
                self.side(direction).lost = false;
            }
            if len > cx.limits.tls_handshake_bytes {
                self.handshakes.too_long(cx, len);
                self.side(direction).lost = true;
                return None;
            }
            let Some(body) = rest.get(4..4 + len) else {
                return Some(rest);
            };
            self.handshakes.message(cx, direction, kind, version, body);
            if self.handshakes.is_13() {
                // All that follows the server's hello is encrypted; but a
                // ClientHello that was captured late is still to come.
                self.side(direction).encrypt();
                if self.handshakes.has_client() {
                    self.side(direction.flip()).encrypt();
                }
            }
            rest = rest.get(4 + len..).unwrap_or_default();
            if self.side(direction).encrypted {
                return None;
            }
        }
    }

    /// SSL 2 framing: a hello in it may open a connection of any version.
    fn ssl2(&mut self, cx: &mut Cx<'_>, direction: Direction, bytes: &mut &[u8]) -> Framing {
        let side = self.side(direction);
        if !side.ssl2 {
            // A TLS record type never has its high bit set.
            if bytes.first().is_none_or(|first| first & 0x80 == 0) {
                return Framing::Tls;
            }
            side.ssl2 = true;
        }
        side.body.extend_from_slice(bytes);
        *bytes = &[];
        let &[high, low, kind, ..] = side.body.as_slice() else {
            return Framing::Wait;
        };
        let len = usize::from(u16::from_be_bytes([high & 0x7f, low]));
        if high & 0x80 == 0 || !matches!(kind, 1 | 4) {
            // Encrypted from here on, or nothing that is known.
            side.dead = true;
            return Framing::Wait;
        }
        if side.body.len() < 2 + len {
            return Framing::Wait;
        }
        let held = std::mem::take(&mut side.body);
        side.ssl2 = false;
        side.begun = true;
        let message = held.get(2..2 + len).unwrap_or_default();
        let known = match kind {
            1 => match hello::client_v2(message) {
                Some(parsed) => self
                    .handshakes
                    .client_hello(cx, direction, parsed)
                    .is_some(),
                None => false,
            },
            _ => {
                let stays = self.handshakes.server_hello_v2(cx, direction, message);
                for side in &mut self.sides {
                    side.dead |= stays.is_some();
                }
                stays.is_some()
            }
        };
        if !known {
            cx.anomalies
                .note(AnomalyKind::TlsHandshakeMalformed, cx.ts, cx.packet, || {
                    "an SSL 2 hello".to_owned()
                });
        }
        let rest = held.get(2 + len..).unwrap_or_default().to_vec();
        if !rest.is_empty() {
            match self.data(cx, direction, &rest) {
                Want::Nothing => self.side(direction).dead = true,
                // Not yet told to the reassembler: passed over here.
                Want::Skip(left) => {
                    let side = self.side(direction);
                    side.body_left = usize::try_from(left).unwrap_or(usize::MAX);
                    side.wanted = false;
                }
                Want::Bytes => {}
            }
        }
        Framing::Ssl2
    }
}

/// What the first bytes of a direction are framed as.
enum Framing {
    Ssl2,
    Tls,
    Wait,
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
