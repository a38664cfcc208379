//! QUIC versions 1 and 2 and the drafts since 23: the TLS handshake inside the
//! Initial packets, whose keys are public. RFC 9000, RFC 9001, RFC 9369.
//!
//! Retry and version negotiation begin the client's handshake anew, with other
//! keys; packets of all other levels are only counted.

mod keys;
mod packet;
mod probe;
#[cfg(test)]
mod tests;

use super::assembly::Assembly;
use super::tls::TlsHandshake;
use super::tls::handshake::{Carrier, Handshakes};
use super::{Cx, Direction, Want};
use crate::anomaly::AnomalyKind;
use keys::InitialKeys;
use packet::{Frame, Kind, Long, frame, long, version};
pub(crate) use probe::{probe, probe_google};

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
    resisting: u8,
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
            resisting: 0,
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
                    self.short(direction, rest.len());
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
        crypto + self.keys.len() * size_of::<InitialKeys>() + self.handshakes.heap_bytes()
    }

    /// The flow has ended.
    pub(crate) fn end(self, cx: &mut Cx<'_>) -> Vec<TlsHandshake> {
        if self.crypto.iter().any(Assembly::has_hole) && !self.over {
            cx.anomalies
                .note(AnomalyKind::TlsHandshakeMalformed, cx.ts, cx.packet, || {
                    "QUIC: parts of a hello are missing".to_owned()
                });
        }
        self.handshakes.end()
    }

    /// A packet of an established connection. Nobody can send one without the
    /// keys that the server's Finished confirms: a client's shows that it went on.
    fn short(&mut self, direction: Direction, len: usize) {
        let is_client = self.client == Some(direction);
        if self.client.is_none() || !self.handshakes.has_server_hello() {
            return;
        }
        if is_client {
            self.handshakes.established();
        }
        self.handshakes.application_bytes(is_client, len);
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
            Some(Kind::Handshake) => {}
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
        self.frames(cx, direction, &payload);
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

    fn frames(&mut self, cx: &mut Cx<'_>, direction: Direction, payload: &[u8]) {
        let mut rest = payload;
        loop {
            match frame(&mut rest) {
                Ok(None) => return,
                Ok(Some(Frame::Crypto { at, bytes })) => self.crypto(cx, direction, at, bytes),
                Ok(Some(Frame::Close { code })) => {
                    // RFC 9001 §4.8: a TLS alert.
                    if let Some(alert) = code.checked_sub(0x100)
                        && let Ok(description) = u8::try_from(alert)
                    {
                        self.handshakes.alert(cx, direction, 2, description);
                    }
                }
                Err(()) => return malformed(cx, "a frame that Initial packets do not have"),
            }
        }
    }

    fn crypto(&mut self, cx: &mut Cx<'_>, direction: Direction, at: u64, bytes: &[u8]) {
        let [orig, resp] = &mut self.crypto;
        let stream = match direction {
            Direction::Orig => orig,
            Direction::Resp => resp,
        };
        // A hello with the header of its message.
        let limit = cx.limits.tls_handshake_bytes.saturating_add(4);
        if !stream.put(at, bytes, limit) {
            malformed(cx, "CRYPTO frames beyond limits.tls_handshake_bytes");
            return;
        }
        while let &[kind, a, b, c, ..] = stream.ready() {
            let len = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            if len > cx.limits.tls_handshake_bytes {
                self.handshakes.too_long(cx, len);
                self.over = true;
                break;
            }
            let Some(body) = stream.ready().get(4..4 + len) else {
                break;
            };
            // No records, and so no version of one.
            self.handshakes.message(cx, direction, kind, 0, body);
            stream.consume(4 + len);
        }
        if self.handshakes.has_server_hello() {
            self.over = true;
            self.crypto = Default::default();
        }
    }
}

fn malformed(cx: &mut Cx<'_>, what: &'static str) {
    cx.anomalies
        .note(AnomalyKind::QuicPacketMalformed, cx.ts, cx.packet, || {
            what.to_owned()
        });
}
