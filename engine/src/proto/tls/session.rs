//! TLS records over a stream: the handshake messages in them, across segments
//! and records, for [`Handshakes`].
//!
//! Payload that says nothing (application data, encrypted handshake) is never
//! asked for: of a bulk transfer only the five header bytes of each record are
//! read, for the counts, the alerts and renegotiation. Where secrets are at
//! hand records are opened, and what they carry goes to a [`Plain`].

use super::TlsHandshake;
use super::decrypt::{Decrypt, Known, Record, UNREADABLE_SUITE, known};
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

/// Who reads what was decrypted.
pub(in crate::proto) trait Plain {
    /// The next bytes of a direction. `alpn` is what the server chose to speak,
    /// where that was seen.
    fn data(
        &mut self,
        cx: &mut Cx<'_>,
        direction: Direction,
        is_client: bool,
        alpn: Option<&str>,
        bytes: &[u8],
    );

    /// Bytes of a direction are missing, nobody knows how many.
    fn gap(&mut self, cx: &mut Cx<'_>, direction: Direction);

    /// All that came so far is void: early data that the server refused.
    fn forget(&mut self);

    /// Whether nothing more is wanted.
    fn is_deaf(&self) -> bool;
}

/// Nobody does.
struct Nobody;

impl Plain for Nobody {
    fn data(&mut self, _: &mut Cx<'_>, _: Direction, _: bool, _: Option<&str>, _: &[u8]) {}
    fn gap(&mut self, _: &mut Cx<'_>, _: Direction) {}
    fn forget(&mut self) {}
    fn is_deaf(&self) -> bool {
        true
    }
}

/// The TLS reader of one flow.
#[derive(Debug)]
pub struct TlsSession {
    sides: [Side; 2],
    handshakes: Handshakes,
    /// Where secrets of this connection are at hand.
    decrypt: Option<Box<Decrypt>>,
    /// Early data was handed on, and the server has not taken it yet.
    early_is_open: bool,
    /// Records of this direction should have opened, and did not.
    failed: [bool; 2],
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
    /// The record is to be opened.
    sealed: bool,
    /// Encrypted records that were not opened.
    unread: u64,
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
            decrypt: None,
            early_is_open: false,
            failed: [false; 2],
        }
    }

    /// The next bytes of one direction.
    pub fn data(&mut self, cx: &mut Cx<'_>, direction: Direction, bytes: &[u8]) -> Want {
        self.read(cx, direction, bytes, &mut Nobody)
    }

    /// The same, with somebody who reads what can be decrypted.
    pub(in crate::proto) fn read(
        &mut self,
        cx: &mut Cx<'_>,
        direction: Direction,
        bytes: &[u8],
        plain: &mut dyn Plain,
    ) -> Want {
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
                    if side.body_left == 0 && side.body.is_empty() && !side.sealed {
                        let kind = side.header[0];
                        self.record(cx, direction, kind, now, plain);
                    } else {
                        side.body.extend_from_slice(now);
                        if side.body_left == 0 {
                            let (kind, mut body) = (side.header[0], std::mem::take(&mut side.body));
                            if side.sealed {
                                self.open(cx, direction, kind, &mut body, plain);
                            } else {
                                self.record(cx, direction, kind, &body, plain);
                            }
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
                match self.ssl2(cx, direction, &mut bytes, plain) {
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
                self.header(cx, direction, plain);
            }
        }
    }

    /// Bytes of one direction are missing.
    pub fn gap(&mut self, _cx: &mut Cx<'_>, direction: Direction, len: u64) -> Want {
        self.handshakes.gap();
        let is_client = self.handshakes.is_client(direction);
        let side = self.side(direction);
        if side.dead {
            return Want::Nothing;
        }
        let within = side.body_left > 0 && len <= side.body_left as u64;
        if let Some(decrypt) = &mut self.decrypt {
            decrypt.missed(is_client, if within { 1 } else { len / SHORTEST + 2 });
        }
        let side = self.side(direction);
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
        let decrypt = self.decrypt.as_ref();
        sides + self.handshakes.heap_bytes() + decrypt.map_or(0, |decrypt| decrypt.heap_bytes())
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
        direction.of(&mut self.sides)
    }

    /// A whole record header has been read.
    fn header(&mut self, cx: &mut Cx<'_>, direction: Direction, plain: &mut dyn Plain) {
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
        if let Some(decrypt) = &self.decrypt
            && decrypt.wants(is_client, kind)
        {
            let side = self.side(direction);
            side.body.clear();
            (side.wanted, side.sealed) = (true, true);
            if len == 0 {
                self.open(cx, direction, kind, &mut Vec::new(), plain);
            }
            return;
        }
        let side = self.side(direction);
        side.sealed = false;
        let clear = !side.encrypted;
        side.wanted = match kind {
            HANDSHAKE | ALERT | HEARTBEAT => clear,
            CHANGE_CIPHER_SPEC => true,
            _ => false,
        };
        // Early fragments of a message that was lost say nothing.
        side.body.clear();
        self.unread(cx, direction, kind, len, clear);
        if len == 0 && self.side(direction).wanted {
            self.record(cx, direction, kind, &[], plain);
        }
    }

    /// What a record says whose body is not read.
    fn unread(&mut self, cx: &mut Cx<'_>, direction: Direction, kind: u8, len: usize, clear: bool) {
        let is_client = self.handshakes.is_client(direction);
        if kind == APPLICATION_DATA {
            let side = self.side(direction);
            side.unread = side.unread.saturating_add(1);
            self.handshakes.application_data(is_client, len);
        } else if kind == HANDSHAKE && !clear {
            self.handshakes.encrypted_handshake(is_client);
        } else if kind == HEARTBEAT && !clear {
            self.handshakes.letter(is_client, 'b');
        }
        let encrypted = kind == APPLICATION_DATA || !clear && kind != CHANGE_CIPHER_SPEC;
        if encrypted && self.failed[direction.index()] {
            cx.anomalies
                .note(AnomalyKind::DecryptionFailed, cx.ts, cx.packet, || {
                    NO_FIT.to_owned()
                });
        }
    }

    /// A whole record that is encrypted, and for which there are keys.
    fn open(
        &mut self,
        cx: &mut Cx<'_>,
        direction: Direction,
        kind: u8,
        body: &mut Vec<u8>,
        plain: &mut dyn Plain,
    ) {
        let is_client = self.handshakes.is_client(direction);
        let header = self.side(direction).header;
        let len = body.len();
        let known = known(cx);
        let Some(decrypt) = &mut self.decrypt else {
            return;
        };
        let source = decrypt.source().name();
        match decrypt.open(is_client, header, body, known) {
            Record::Is {
                kind,
                place,
                after_gap,
            } => {
                self.handshakes.decryption(source, None);
                if after_gap {
                    self.side(direction).message.clear();
                    plain.gap(cx, direction);
                }
                let content = body.get(place).unwrap_or_default();
                self.content(cx, direction, kind, content, plain);
            }
            Record::Passed => self.unread(cx, direction, kind, len, false),
            Record::Failed => {
                self.handshakes.decryption(source, Some(NO_FIT));
                self.failed[direction.index()] = true;
                self.unread(cx, direction, kind, len, false);
            }
        }
    }

    /// What a record held.
    fn content(
        &mut self,
        cx: &mut Cx<'_>,
        direction: Direction,
        kind: u8,
        content: &[u8],
        plain: &mut dyn Plain,
    ) {
        let is_client = self.handshakes.is_client(direction);
        match kind {
            APPLICATION_DATA => {
                if self.handshakes.is_13() || !self.handshakes.has_server_hello() {
                    self.early_is_open |= !self.handshakes.has_server_hello();
                    self.handshakes.application_bytes(is_client, content.len());
                } else {
                    self.handshakes.application_data(is_client, content.len());
                }
                if !content.is_empty() {
                    let alpn = self.handshakes.alpn();
                    plain.data(cx, direction, is_client, alpn, content);
                    if plain.is_deaf()
                        && let Some(decrypt) = &mut self.decrypt
                    {
                        decrypt.rest();
                    }
                }
            }
            HANDSHAKE => {
                self.handshake(cx, direction, content, true, plain);
            }
            _ => self.record(cx, direction, kind, content, plain),
        }
    }

    /// A whole record whose body was wanted.
    fn record(
        &mut self,
        cx: &mut Cx<'_>,
        direction: Direction,
        kind: u8,
        body: &[u8],
        plain: &mut dyn Plain,
    ) {
        match kind {
            HANDSHAKE => self.handshake(cx, direction, body, false, plain),
            ALERT => {
                if let &[level, description] = body {
                    self.handshakes.alert(cx, direction, level, description);
                }
            }
            CHANGE_CIPHER_SPEC => {
                let encrypts = self.handshakes.change_cipher_spec(direction);
                self.side(direction).encrypted |= encrypts;
                if encrypts {
                    self.change_keys(cx, direction);
                }
            }
            HEARTBEAT => self.handshakes.heartbeat(cx, direction, body),
            _ => {}
        }
    }

    /// Handshake bytes: whole messages are read where they lie, the rest waits.
    /// They were `opened` or in the clear.
    fn handshake(
        &mut self,
        cx: &mut Cx<'_>,
        direction: Direction,
        body: &[u8],
        opened: bool,
        plain: &mut dyn Plain,
    ) {
        let version = {
            let side = self.side(direction);
            u16::from_be_bytes([side.header[1], side.header[2]])
        };
        let mut held = std::mem::take(&mut self.side(direction).message);
        let rest = if held.is_empty() {
            self.messages(cx, direction, version, body, opened, plain)
        } else {
            held.extend_from_slice(body);
            let len = held.len();
            let rest = self
                .messages(cx, direction, version, &held, opened, plain)
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
        opened: bool,
        plain: &mut dyn Plain,
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
                let usual = matches!(kind, 1 | 2 | 4 | 11 | 12 | 13 | 14 | 16 | 22);
                let opened = opened && matches!(kind, 5 | 8 | 15 | 20 | 24 | 25);
                let plausible = (usual || opened) && len + 4 <= rest.len();
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
            if cx.secrets.is_some() {
                self.keys(cx, direction, kind, opened, plain);
            }
            if self.handshakes.is_13() && !opened {
                // All that follows the server's hello is encrypted; but a
                // ClientHello that was captured late is still to come.
                self.side(direction).encrypt();
                if self.handshakes.has_client() {
                    self.side(direction.flip()).encrypt();
                }
            }
            rest = rest.get(4 + len..).unwrap_or_default();
            if self.side(direction).encrypted && !opened {
                return None;
            }
        }
    }

    /// What a message means for the keys, where secrets are at hand.
    fn keys(
        &mut self,
        cx: &Cx<'_>,
        direction: Direction,
        kind: u8,
        opened: bool,
        plain: &mut dyn Plain,
    ) {
        let is_client = self.handshakes.is_client(direction);
        let Some(known) = known(cx) else { return };
        if !opened {
            let is_13 = self.handshakes.is_13();
            match kind {
                // A hello that was captured late is as good.
                1 | 2 if is_13 => self.begin_13(known),
                1 if self.handshakes.offers_early() && self.decrypt.is_none() => {
                    let random = self.handshakes.client_random();
                    self.decrypt = random
                        .and_then(|random| Decrypt::new(random, known))
                        .map(Box::new);
                    if let Some(decrypt) = &mut self.decrypt {
                        decrypt.begin_early(known);
                    }
                }
                2 if self.handshakes.awaits_hello() => self.refuse_early(known, plain),
                _ => {}
            }
            return;
        }
        if !self.handshakes.is_13() {
            if kind == 20 {
                self.handshakes.encrypted_handshake(is_client);
            }
            return;
        }
        match kind {
            8 if !self.handshakes.early_accepted() => self.refuse_early(known, plain),
            8 => self.early_is_open = false,
            20 if is_client => self.handshakes.established(),
            _ => {}
        }
        let Some(decrypt) = &mut self.decrypt else {
            return;
        };
        match kind {
            5 if is_client => decrypt.early_ends(known),
            20 => decrypt.finished(is_client, known),
            24 => decrypt.update(is_client),
            _ => {}
        }
    }

    fn begin_13(&mut self, known: Known<'_>) {
        let Some(keying) = self.handshakes.keying() else {
            return;
        };
        if self.decrypt.is_none() {
            self.decrypt = Decrypt::new(keying.client_random, known).map(Box::new);
        }
        let client = usize::from(!self.handshakes.is_client(Direction::Orig));
        let mut unread = [self.sides[0].unread, self.sides[1].unread];
        if client == 1 {
            unread.reverse();
        }
        let offers_early = self.handshakes.offers_early();
        if let Some(decrypt) = &mut self.decrypt
            && !decrypt.begin_13(&keying, offers_early, unread, known)
        {
            let source = decrypt.source().name();
            self.handshakes.decryption(source, Some(UNREADABLE_SUITE));
        }
    }

    fn refuse_early(&mut self, known: Known<'_>, plain: &mut dyn Plain) {
        if !self.handshakes.offers_early() && !self.early_is_open {
            return;
        }
        if std::mem::take(&mut self.early_is_open) {
            plain.forget();
        }
        if let Some(decrypt) = &mut self.decrypt {
            decrypt.early_refused(known);
        }
    }

    /// A ChangeCipherSpec below TLS 1.3.
    fn change_keys(&mut self, cx: &Cx<'_>, direction: Direction) {
        let Some((known, keying)) = known(cx).zip(self.handshakes.keying()) else {
            return;
        };
        let is_client = self.handshakes.is_client(direction);
        let changed = Decrypt::change_cipher_spec(&mut self.decrypt, is_client, &keying, known);
        if let Err(why) = changed {
            let source = known.secrets.source(&keying.client_random, known.at);
            let source = source.map_or("keylog", |source| source.name());
            self.handshakes.decryption(source, Some(why));
        }
    }

    /// SSL 2 framing: a hello in it may open a connection of any version.
    fn ssl2(
        &mut self,
        cx: &mut Cx<'_>,
        direction: Direction,
        bytes: &mut &[u8],
        plain: &mut dyn Plain,
    ) -> Framing {
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
            match self.read(cx, direction, &rest, plain) {
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

/// The shortest encrypted record: header, one byte, and the tag of CCM_8.
const SHORTEST: u64 = 5 + 1 + 8;
/// Why records were not opened.
const NO_FIT: &str = "the secrets at hand do not open its records";

/// What the first bytes of a direction are framed as.
enum Framing {
    Ssl2,
    Tls,
    Wait,
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
