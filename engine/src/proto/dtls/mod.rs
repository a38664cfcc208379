//! DTLS 1.0, 1.2 and 1.3: records in datagrams, and handshake messages that
//! come in fragments, out of order and repeatedly. RFC 4347, RFC 6347, RFC 9147.
//!
//! Encrypted records are only counted.

#[cfg(test)]
mod tests;

use super::assembly::Assembly;
use super::plain::reader::Role;
use super::plain::registry::{Look, Match};
use super::plain::text::be16;
use super::tls::TlsHandshake;
use super::tls::handshake::{Carrier, Handshakes};
use super::{Cx, Direction, Want};
use crate::anomaly::AnomalyKind;
use std::collections::BTreeMap;

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
/// With a connection id, and always encrypted (RFC 9146 §4).
const TLS12_CID: u8 = 25;

const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const HELLO_VERIFY_REQUEST: u8 = 3;

/// Messages ahead of the one that is awaited: no flight has more (RFC 6347 §4.2.4).
const WINDOW: u16 = 16;

/// Whether a datagram is DTLS: a record (RFC 6347 §4.1) of a known type,
/// version and length.
pub(crate) fn probe(look: &Look<'_>) -> Match {
    let bytes = look.bytes;
    let (Some(kind), Some(version), Some(len)) = (bytes.first(), be16(bytes, 1), be16(bytes, 11))
    else {
        return Match::No;
    };
    let fits = (CHANGE_CIPHER_SPEC..=26).contains(kind)
        && is_version(version)
        && len > 0
        && bytes.len() >= 13 + usize::from(len).min(1 << 14);
    // OpenSSL's version before the standard: only with a handshake.
    let proven = version != 0x0100 || *kind == HANDSHAKE;
    let role = match (kind, bytes.get(13)) {
        (&HANDSHAKE, Some(&(SERVER_HELLO | HELLO_VERIFY_REQUEST))) => Role::Server,
        _ => Role::Client,
    };
    Match::when(fits && proven, role)
}

fn is_version(version: u16) -> bool {
    matches!(version, 0xfeff | 0xfefd | 0xfefc | 0x0100)
}

/// The reader of one flow.
#[derive(Debug)]
pub(crate) struct DtlsSession {
    handshakes: Handshakes,
    sides: [Side; 2],
}

/// One direction.
#[derive(Debug, Default)]
struct Side {
    /// Sequence number of the message that is read next.
    next: u16,
    /// Those that are not whole, or not yet their turn.
    waiting: BTreeMap<u16, Message>,
    /// The last ClientHello: the same again is a retransmission.
    hello: Option<u64>,
}

/// A message under way.
#[derive(Debug)]
struct Message {
    kind: u8,
    len: usize,
    version: u16,
    body: Assembly,
}

impl Message {
    fn is_whole(&self) -> bool {
        self.body.ready().len() >= self.len
    }
}

/// A handshake fragment (RFC 6347 §4.2.2).
struct Fragment<'a> {
    kind: u8,
    len: usize,
    sequence: u16,
    at: usize,
    bytes: &'a [u8],
}

impl DtlsSession {
    /// Nothing seen so far.
    pub(crate) fn new() -> Self {
        Self {
            handshakes: Handshakes::new(Carrier::Datagrams, "udp-dtls".into()),
            sides: Default::default(),
        }
    }

    /// One datagram: records one after the other.
    pub(crate) fn datagram(&mut self, cx: &mut Cx<'_>, direction: Direction, bytes: &[u8]) -> Want {
        let mut rest = bytes;
        loop {
            match rest {
                [] => break,
                // The unified header of DTLS 1.3 (RFC 9147 §4): encrypted.
                [first, ..] if first & 0xe0 == 0x20 => {
                    self.unified(direction, first & 3, rest.len());
                    break;
                }
                // Demultiplexed by the first byte (RFC 7983): STUN, RTP and others.
                [first, ..] if !(CHANGE_CIPHER_SPEC..=26).contains(first) => break,
                [TLS12_CID, ..] => {
                    let is_client = self.handshakes.is_client(direction);
                    self.handshakes.application_data(is_client, rest.len());
                    break;
                }
                _ => {}
            }
            let header = (be16(rest, 1), be16(rest, 3), be16(rest, 11));
            let (&[kind, ..], (Some(version), Some(epoch), Some(len))) = (rest, header) else {
                malformed(cx, "a record header that is cut");
                break;
            };
            let Some(body) = rest.get(13..13 + usize::from(len)) else {
                malformed(cx, "a record longer than its datagram");
                break;
            };
            if !is_version(version) {
                malformed(cx, "a record of unknown version");
                break;
            }
            rest = rest.get(13 + usize::from(len)..).unwrap_or_default();
            self.record(cx, direction, kind, version, epoch, body);
        }
        Want::Bytes
    }

    /// Heap bytes held, roughly.
    pub(crate) fn heap_bytes(&self) -> usize {
        let waiting = self.sides.iter().flat_map(|side| side.waiting.values());
        let waiting = waiting.map(|message| size_of::<Message>() + 64 + message.body.heap_bytes());
        waiting.sum::<usize>() + self.handshakes.heap_bytes()
    }

    /// The flow has ended: what never became whole is lost.
    pub(crate) fn end(mut self, cx: &mut Cx<'_>) -> Vec<TlsHandshake> {
        let mut lost = false;
        for direction in [Direction::Orig, Direction::Resp] {
            lost |= self.skip_holes(cx, direction);
        }
        if lost {
            cx.anomalies
                .note(AnomalyKind::TlsHandshakeMalformed, cx.ts, cx.packet, || {
                    "DTLS: fragments of a handshake message are missing".to_owned()
                });
        }
        self.handshakes.end()
    }

    fn side(&mut self, direction: Direction) -> &mut Side {
        direction.of(&mut self.sides)
    }

    /// An encrypted record of DTLS 1.3, with the low bits of its epoch: 2 is the
    /// handshake's, 3 and above that of application data.
    fn unified(&mut self, direction: Direction, epoch: u8, len: usize) {
        let is_client = self.handshakes.is_client(direction);
        if epoch == 2 || !self.handshakes.is_13() {
            return;
        }
        // Epoch 1 is early data, which proves nothing.
        if epoch != 1 && (is_client || epoch == 3) {
            self.handshakes.established();
        }
        self.handshakes.application_bytes(is_client, len);
    }

    fn record(
        &mut self,
        cx: &mut Cx<'_>,
        direction: Direction,
        kind: u8,
        version: u16,
        epoch: u16,
        body: &[u8],
    ) {
        let is_client = self.handshakes.is_client(direction);
        match kind {
            _ if epoch > 0 => {
                // What this side said in the clear is complete.
                self.skip_holes(cx, direction);
                match kind {
                    HANDSHAKE => self.handshakes.encrypted_handshake(is_client),
                    APPLICATION_DATA => self.handshakes.application_data(is_client, body.len()),
                    _ => {}
                }
            }
            HANDSHAKE => {
                let mut rest = body;
                while let Some(fragment) = fragment(&mut rest) {
                    self.fragment(cx, direction, version, &fragment);
                }
                if !rest.is_empty() {
                    malformed(cx, "a handshake fragment longer than its record");
                }
            }
            ALERT => {
                if let &[level, description] = body {
                    self.handshakes.alert(cx, direction, level, description);
                }
            }
            CHANGE_CIPHER_SPEC => {
                self.skip_holes(cx, direction);
                self.handshakes.change_cipher_spec(direction);
            }
            _ => {}
        }
    }

    fn fragment(
        &mut self,
        cx: &mut Cx<'_>,
        direction: Direction,
        version: u16,
        fragment: &Fragment<'_>,
    ) {
        if fragment.len > cx.limits.tls_handshake_bytes {
            return self.handshakes.too_long(cx, fragment.len);
        }
        let whole = fragment.bytes.len() == fragment.len;
        let side = self.side(direction);
        if whole && fragment.kind == CLIENT_HELLO {
            let hash = hash(fragment.bytes);
            if side.hello.replace(hash) == Some(hash) {
                return;
            }
            if fragment.sequence < side.next {
                // Another association between the same ports (RFC 6347 §4.2.8).
                self.handshakes.another();
                self.sides = Default::default();
                self.side(direction).hello = Some(hash);
            }
        }
        let side = self.side(direction);
        // A hello opens a flight, and says where the counting stands.
        let opens = matches!(
            fragment.kind,
            CLIENT_HELLO | SERVER_HELLO | HELLO_VERIFY_REQUEST
        );
        if opens && fragment.sequence > side.next {
            side.next = fragment.sequence;
            side.waiting
                .retain(|sequence, _| *sequence >= fragment.sequence);
        }
        let ahead = fragment.sequence.wrapping_sub(side.next);
        if fragment.sequence < side.next || ahead >= WINDOW {
            return;
        }
        let message = side
            .waiting
            .entry(fragment.sequence)
            .or_insert_with(|| Message {
                kind: fragment.kind,
                len: fragment.len,
                version,
                body: Assembly::default(),
            });
        if message.kind != fragment.kind || message.len != fragment.len {
            return malformed(cx, "fragments of one message that do not agree");
        }
        if !message
            .body
            .put(fragment.at as u64, fragment.bytes, message.len)
        {
            return malformed(cx, "fragments beyond their message, or too many");
        }
        self.deliver(cx, direction);
    }

    /// Reads the messages whose turn it is.
    fn deliver(&mut self, cx: &mut Cx<'_>, direction: Direction) {
        loop {
            let side = self.side(direction);
            let next = side.next;
            if !side.waiting.get(&next).is_some_and(Message::is_whole) {
                return;
            }
            let Some(message) = side.waiting.remove(&next) else {
                return;
            };
            side.next = next.saturating_add(1);
            let Message {
                kind,
                len,
                version,
                body,
            } = message;
            let body = body.ready().get(..len).unwrap_or_default();
            self.handshakes.message(cx, direction, kind, version, body);
            if kind == HELLO_VERIFY_REQUEST {
                self.handshakes.expect_hello_again();
            }
        }
    }

    /// Reads what is whole although messages before it are missing; says
    /// whether any were.
    fn skip_holes(&mut self, cx: &mut Cx<'_>, direction: Direction) -> bool {
        let mut lost = false;
        loop {
            let side = self.side(direction);
            let Some(mut first) = side.waiting.first_entry() else {
                return lost;
            };
            side.next = *first.key();
            if first.get_mut().is_whole() {
                self.deliver(cx, direction);
            } else {
                first.remove();
                self.handshakes.gap();
                lost = true;
            }
        }
    }
}

/// Takes a fragment off a record's body.
fn fragment<'a>(rest: &mut &'a [u8]) -> Option<Fragment<'a>> {
    let &[
        kind,
        l0,
        l1,
        l2,
        s0,
        s1,
        a0,
        a1,
        a2,
        n0,
        n1,
        n2,
        ref body @ ..,
    ] = *rest
    else {
        return None;
    };
    let number = |a: u8, b: u8, c: u8| usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
    let bytes = body.get(..number(n0, n1, n2))?;
    *rest = body.get(bytes.len()..)?;
    Some(Fragment {
        kind,
        len: number(l0, l1, l2),
        sequence: u16::from_be_bytes([s0, s1]),
        at: number(a0, a1, a2),
        bytes,
    })
}

/// Tells a repeated hello from another one.
fn hash(bytes: &[u8]) -> u64 {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(bytes);
    digest
        .iter()
        .take(8)
        .fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

fn malformed(cx: &mut Cx<'_>, what: &'static str) {
    cx.anomalies
        .note(AnomalyKind::TlsRecordMalformed, cx.ts, cx.packet, || {
            format!("DTLS: {what}")
        });
}
