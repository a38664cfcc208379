//! QUIC versions 1 and 2 and the drafts since 23: the TLS handshake inside the
//! Initial packets, whose keys are public. RFC 9000, RFC 9001, RFC 9369.
//!
//! Retry and version negotiation begin the client's handshake anew, with other
//! keys; packets of all other levels are only counted, unless a key log opens
//! them.

mod keys;
mod packet;
mod probe;
mod sight;
#[cfg(test)]
mod tests;

use super::assembly::Assembly;
use super::tls::handshake::{Carrier, Handshakes};
use super::tls::{TlsHandshake, known};
use super::{Cx, Direction, Want};
use crate::anomaly::AnomalyKind;
use keys::InitialKeys;
use packet::{Frame, Kind, Level, Long, frame, long, version};
pub(crate) use probe::{probe, probe_google};
use sight::{Sight, Waiting};

/// Sets of keys that one connection may come to: first attempt, Retry, and a
/// change of the version with each.
const MAX_KEYS: usize = 4;
/// Initial packets that may resist all keys before no more are tried.
const MAX_RESISTING: u8 = 16;
/// A client's first datagram is at least this long (RFC 9000 §14.1).
const MIN_FIRST: usize = 1_200;
/// Shortest id that a client may make up (RFC 9000 §7.2).
const MIN_FIRST_ID: usize = 8;

/// The reader of one flow.
#[derive(Debug)]
pub(crate) struct QuicSession {
    handshakes: Handshakes,
    /// The direction of the client, proven by the tag of a packet.
    client: Option<Direction>,
    keys: Vec<InitialKeys>,
    /// CRYPTO bytes of Initial packets, by direction.
    crypto: [Assembly; 2],
    /// Ids that the server chose: what goes there begins no connection.
    server_id: Vec<u8>,
    /// Length of the id that short packets to each direction's sender bear.
    id_lens: [usize; 2],
    resisting: u8,
    /// What a key log opens.
    sight: Option<Box<Sight>>,
    waiting: Waiting,
    /// Of the packet that was read last.
    version: u32,
    /// Both hellos were read: Initial packets say nothing more.
    over: bool,
}

impl QuicSession {
    /// Nothing seen so far.
    pub(crate) fn new() -> Self {
        Self {
            handshakes: Handshakes::new(Carrier::Quic, "quic".into()),
            client: None,
            keys: Vec::new(),
            crypto: Default::default(),
            server_id: Vec::new(),
            id_lens: [0; 2],
            resisting: 0,
            sight: None,
            waiting: Waiting::default(),
            version: 0,
            over: false,
        }
    }

    /// One datagram: packets one after the other.
    pub(crate) fn datagram(&mut self, cx: &mut Cx<'_>, direction: Direction, bytes: &[u8]) -> Want {
        let datagram_len = bytes.len();
        let mut rest = bytes;
        while let Some(first) = rest.first() {
            if first & 0x80 == 0 {
                // Behind a packet, what lacks the fixed bit is padding.
                if rest.len() == datagram_len || first & 0x40 != 0 {
                    self.short(cx, direction, rest);
                }
                break;
            }
            let Some(packet) = long(&mut rest) else {
                // Cut short by the capture, or padding behind the last packet.
                if rest.len() == datagram_len {
                    malformed(cx, "a long header that does not fit its datagram");
                }
                break;
            };
            self.long(cx, direction, &packet, datagram_len);
        }
        Want::Bytes
    }

    /// Heap bytes held, roughly.
    pub(crate) fn heap_bytes(&self) -> usize {
        let crypto = self.crypto.iter().map(Assembly::heap_bytes).sum::<usize>();
        let sight = self.sight.as_ref().map_or(0, |sight| sight.heap_bytes());
        let open = sight + self.waiting.heap_bytes();
        crypto + open + self.keys.len() * size_of::<InitialKeys>() + self.handshakes.heap_bytes()
    }

    /// The flow has ended.
    pub(crate) fn end(mut self, cx: &mut Cx<'_>) -> Vec<TlsHandshake> {
        if self.crypto.iter().any(Assembly::has_hole) && !self.over {
            cx.anomalies
                .note(AnomalyKind::TlsHandshakeMalformed, cx.ts, cx.packet, || {
                    "QUIC: parts of a hello are missing".to_owned()
                });
        }
        self.end_sight();
        self.handshakes.end()
    }

    /// The connection has ended: says so when none of its packets opened.
    fn end_sight(&mut self) {
        if let Some(sight) = self.sight.take()
            && sight.has_failed()
        {
            self.handshakes.decryption(sight.source(), Some(NO_FIT));
        }
    }

    /// A packet of an established connection. Nobody can send one without the
    /// keys that the server's Finished confirms: a client's shows that it went on.
    fn short(&mut self, cx: &mut Cx<'_>, direction: Direction, packet: &[u8]) {
        let is_client = self.client == Some(direction);
        if self.client.is_none() || !self.handshakes.has_server_hello() {
            return;
        }
        if is_client {
            self.handshakes.established();
        }
        self.handshakes.application_bytes(is_client, packet.len());
        let Some((sight, known)) = self.sight.as_deref_mut().zip(known(cx)) else {
            return;
        };
        let id_len = self.id_lens[direction.flip().index()];
        let opened = sight.open_short(is_client, id_len, self.version, packet, known);
        if let Some(payload) = self.opened(cx, (1, is_client), opened) {
            self.frames(cx, direction, &payload, Some(1));
        }
    }

    /// Says what became of a packet that a key log should open.
    fn opened(
        &mut self,
        cx: &mut Cx<'_>,
        (level, is_client): (usize, bool),
        opened: Result<Option<Vec<u8>>, ()>,
    ) -> Option<Vec<u8>> {
        let sight = self.sight.as_deref()?;
        match opened {
            Ok(payload) => {
                if payload.is_some() {
                    self.handshakes.decryption(sight.source(), None);
                }
                payload
            }
            Err(()) => {
                if sight.is_blind(level, is_client) {
                    cx.anomalies
                        .note(AnomalyKind::DecryptionFailed, cx.ts, cx.packet, || {
                            NO_FIT.to_owned()
                        });
                }
                None
            }
        }
    }

    /// Both hellos were read: packets behind them open where secrets are known.
    fn begin_sight(&mut self, cx: &mut Cx<'_>) {
        let waiting = self.waiting.take();
        let Some((keying, known)) = self.handshakes.keying().zip(known(cx)) else {
            return;
        };
        self.sight = Sight::new(&keying, known).map(Box::new);
        let Some(sight) = self.sight.as_deref() else {
            return;
        };
        if !sight.is_readable() {
            self.handshakes
                .decryption(sight.source(), Some(UNREADABLE_SUITE));
        }
        for (direction, bytes) in waiting {
            if let Some(packet) = long(&mut &bytes[..]) {
                self.handshake(cx, direction, &packet);
            }
        }
    }

    /// A Handshake packet.
    fn handshake(&mut self, cx: &mut Cx<'_>, direction: Direction, packet: &Long<'_>) {
        let Some(known) = known(cx) else { return };
        if !self.handshakes.has_server_hello() {
            if self.client.is_some() {
                self.waiting.put(direction, packet);
            }
            return;
        }
        self.version = packet.version;
        let is_client = self.client == Some(direction);
        let Some(sight) = self.sight.as_deref_mut() else {
            return;
        };
        let opened = sight.open_handshake(is_client, packet, known);
        if let Some(payload) = self.opened(cx, (0, is_client), opened) {
            self.frames(cx, direction, &payload, Some(0));
        }
    }

    fn long(
        &mut self,
        cx: &mut Cx<'_>,
        direction: Direction,
        packet: &Long<'_>,
        datagram_len: usize,
    ) {
        let from_server = self.client == Some(direction.flip());
        match packet.kind {
            // Version negotiation has version 0.
            None if packet.version != 0 => {}
            None | Some(Kind::Retry) => {
                if from_server && !self.over {
                    self.begin_again();
                }
            }
            Some(Kind::Initial) => self.initial(cx, direction, packet, datagram_len),
            Some(Kind::ZeroRtt) => {
                if self.client == Some(direction) {
                    self.handshakes.application_bytes(true, packet.rest.len());
                }
            }
            Some(Kind::Handshake) => self.handshake(cx, direction, packet),
        }
    }

    fn initial(
        &mut self,
        cx: &mut Cx<'_>,
        direction: Direction,
        packet: &Long<'_>,
        datagram_len: usize,
    ) {
        let begins = datagram_len >= MIN_FIRST
            && packet.dcid.len() >= MIN_FIRST_ID
            && packet.dcid != self.server_id
            // The same again is a retransmission.
            && !self.keys.iter().any(|keys| keys.id == packet.dcid);
        if self.over && (!begins || self.client == Some(direction.flip())) {
            return;
        }
        if self.resisting >= MAX_RESISTING {
            return;
        }
        let Some(payload) = self.open(direction, packet) else {
            self.resisting += 1;
            if self.resisting == MAX_RESISTING {
                malformed(cx, "Initial packets do not fit the keys that are public");
            }
            return;
        };
        if self.client == Some(direction.flip()) {
            self.server_id.clear();
            self.server_id.extend_from_slice(packet.scid);
        }
        self.id_lens[direction.index()] = packet.scid.len();
        self.version = packet.version;
        self.frames(cx, direction, &payload, None);
    }

    /// What an Initial packet holds. Keys that are known are tried first; those
    /// that follow from the packet's own id begin a connection, or begin it anew.
    fn open(&mut self, direction: Direction, packet: &Long<'_>) -> Option<Vec<u8>> {
        let end = match self.client {
            Some(client) => usize::from(client != direction),
            None => 0,
        };
        if !self.over {
            for keys in self.keys.iter_mut().rev() {
                if keys.version == packet.version
                    && let Some(payload) = keys.ends.get_mut(end)?.open(packet)
                {
                    return Some(payload);
                }
            }
        }
        let version = version(packet.version)?;
        // The version may change under way (RFC 9368 §2.3); the id stays.
        let newest = self.keys.last().filter(|_| !self.over);
        if let Some(newest) = newest
            && newest.version != packet.version
            && self.keys.len() < MAX_KEYS
        {
            let mut keys = InitialKeys::new(&version, &newest.id)?;
            if let Some(payload) = keys.ends.get_mut(end)?.open(packet) {
                self.keys.push(keys);
                return Some(payload);
            }
        }
        // Only a client makes an id up.
        let known = self.client.is_some();
        let tried = |keys: &InitialKeys| (keys.version, &*keys.id) == (packet.version, packet.dcid);
        if end != 0 || self.keys.iter().any(tried) {
            return None;
        }
        let mut keys = InitialKeys::new(&version, packet.dcid)?;
        let payload = keys.ends.get_mut(0)?.open(packet)?;
        if self.over {
            self.end_sight();
            self.handshakes.another();
            self.crypto = Default::default();
            self.keys.clear();
            self.server_id.clear();
            self.over = false;
        } else if known {
            self.begin_again();
        }
        self.client = Some(direction);
        self.resisting = 0;
        if self.keys.len() >= MAX_KEYS {
            self.keys.remove(0);
        }
        self.keys.push(keys);
        Some(payload)
    }

    /// The client says its hello again: after a Retry or in another version.
    fn begin_again(&mut self) {
        self.handshakes.expect_hello_again();
        self.crypto = Default::default();
    }

    /// Frames of an Initial packet, or of the level whose CRYPTO stream
    /// [`Sight::crypto`] has there.
    fn frames(
        &mut self,
        cx: &mut Cx<'_>,
        direction: Direction,
        payload: &[u8],
        sight: Option<usize>,
    ) {
        let level = match sight {
            Some(1) => Level::Application,
            _ => Level::Handshake,
        };
        let mut rest = payload;
        loop {
            match frame(&mut rest, level) {
                Ok(None) => return,
                Ok(Some(Frame::Crypto { at, bytes })) => {
                    self.crypto(cx, direction, at, bytes, sight);
                }
                Ok(Some(Frame::Close { code })) => {
                    // RFC 9001 §4.8: a TLS alert.
                    if let Some(alert) = code.checked_sub(0x100)
                        && let Ok(description) = u8::try_from(alert)
                    {
                        self.handshakes.alert(cx, direction, 2, description);
                    }
                }
                Err(()) => return malformed(cx, "a frame that its packet cannot have"),
            }
        }
    }

    /// The CRYPTO stream of a direction at a level.
    fn stream(&mut self, direction: Direction, sight: Option<usize>) -> Option<&mut Assembly> {
        match sight {
            None => self.crypto.get_mut(direction.index()),
            Some(level) => {
                let levels = &mut self.sight.as_deref_mut()?.crypto;
                levels.get_mut(level)?.get_mut(direction.index())
            }
        }
    }

    fn crypto(
        &mut self,
        cx: &mut Cx<'_>,
        direction: Direction,
        at: u64,
        bytes: &[u8],
        sight: Option<usize>,
    ) {
        // A hello with the header of its message.
        let limit = cx.limits.tls_handshake_bytes.saturating_add(4);
        let Some(stream) = self.stream(direction, sight) else {
            return;
        };
        if !stream.put(at, bytes, limit) {
            malformed(cx, "CRYPTO frames beyond limits.tls_handshake_bytes");
            return;
        }
        // Out of its place, so that a message can be read where it lies.
        let mut ready = std::mem::take(stream);
        while let &[kind, a, b, c, ..] = ready.ready() {
            let len = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            if len > cx.limits.tls_handshake_bytes {
                self.handshakes.too_long(cx, len);
                self.over = true;
                break;
            }
            let Some(body) = ready.ready().get(4..4 + len) else {
                break;
            };
            // No records, and so no version of one.
            self.handshakes.message(cx, direction, kind, 0, body);
            if sight.is_some() && kind == FINISHED && self.client == Some(direction) {
                self.handshakes.established();
            }
            ready.consume(4 + len);
        }
        if let Some(stream) = self.stream(direction, sight) {
            *stream = ready;
        }
        if sight.is_none() && !self.over && self.handshakes.has_server_hello() {
            self.over = true;
            self.crypto = Default::default();
            self.begin_sight(cx);
        }
    }
}

const FINISHED: u8 = 20;
/// Why packets were not opened.
const NO_FIT: &str = "the secrets at hand do not open its packets";
const UNREADABLE_SUITE: &str = "packets of this suite cannot be decrypted";

fn malformed(cx: &mut Cx<'_>, what: &'static str) {
    cx.anomalies
        .note(AnomalyKind::QuicPacketMalformed, cx.ts, cx.packet, || {
            what.to_owned()
        });
}
