//! The TLS reader of one flow: records across segments, handshake messages
//! across records, and what they show.
//!
//! Payload that says nothing (application data, encrypted handshake) is never
//! asked for: of a bulk transfer only the five header bytes of each record are
//! read, for the counts, the alerts and renegotiation.

use super::fingerprint;
use super::hello::{self, short_hash};
use super::read::Read;
use super::suites::{Auth, Kx, suite};
use super::{Alert, CertVisibility, Ech, Resumption, TlsHandshake, Version, group_bits};
use crate::anomaly::AnomalyKind;
use crate::proto::{Cx, Direction, Want};
use std::borrow::Cow;
use std::sync::Arc;

/// Largest record body: TLS 1.2 ciphertext (RFC 5246 §6.2.3).
pub(super) const MAX_RECORD: usize = (1 << 14) + 2_048;
const HEADER: usize = 5;
/// Smallest encrypted Finished of TLS 1.3: header, a SHA-256, content type, and
/// the 8-byte tag of the CCM_8 suites.
const MIN_FINISHED_13: usize = 4 + 32 + 1 + 8;
/// Alerts kept of one handshake.
const MAX_ALERTS: usize = 16;
/// Letters kept of one handshake's history.
const MAX_HISTORY: usize = 64;
/// Handshakes of one flow; further ones are not told apart.
const MAX_HANDSHAKES: usize = 8;

pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(super) const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const APPLICATION_DATA: u8 = 23;
pub(super) const HEARTBEAT: u8 = 24;

/// The TLS reader of one flow.
#[derive(Debug)]
pub struct TlsSession {
    transport: Cow<'static, str>,
    sides: [Side; 2],
    /// The direction of the client, once a hello has shown it.
    client: Option<Direction>,
    done: Vec<TlsHandshake>,
    now: Option<Box<Current>>,
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

/// A handshake under way, with what only its end decides.
#[derive(Debug, Default)]
struct Current {
    facts: TlsHandshake,
    client_session_id: Vec<u8>,
    server_hello: bool,
    server_flight: bool,
    tls13: bool,
    change_cipher: [bool; 2],
    /// Encrypted records of each end since: `[client, server]`.
    encrypted_handshake: [u32; 2],
    encrypted_data: [u32; 2],
    gap: bool,
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
            transport,
            sides: Default::default(),
            client: None,
            done: Vec::new(),
            now: None,
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
        if let Some(now) = &mut self.now {
            now.gap = true;
        }
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
        // Ordinary chains are shared with the cache and with other flows; long
        // ones are somebody's attempt on the memory.
        let chain = |chain: &[Arc<crate::proto::x509::Certificate>]| -> usize {
            let bytes = chain
                .iter()
                .map(|certificate| certificate.der.len())
                .sum::<usize>();
            if bytes > 8_192 { 2 * bytes } else { bytes / 4 }
        };
        let facts = |facts: &TlsHandshake| {
            let client = facts.client.as_ref().map_or(0, |client| {
                let numbers = client.ciphers.len()
                    + client.extensions.len()
                    + client.sigalgs.len()
                    + client.groups.len()
                    + client.key_shares.len()
                    + 2 * client.sslv2_ciphers.len();
                256 + numbers * 2
                    + client
                        .alpn
                        .iter()
                        .map(|name| 24 + name.len())
                        .sum::<usize>()
            });
            let blobs = [&facts.ocsp_staple, &facts.sct_list];
            let blobs: usize = blobs.into_iter().flatten().map(|blob| blob.len()).sum();
            size_of::<TlsHandshake>()
                + 512
                + client
                + blobs
                + chain(&facts.chain)
                + chain(&facts.client_chain)
        };
        let now = self.now.as_ref().map_or(0, |now| facts(&now.facts) + 128);
        sides + self.done.iter().map(facts).sum::<usize>() + now
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
        self.close();
        self.done
    }

    fn side(&mut self, direction: Direction) -> &mut Side {
        let [orig, resp] = &mut self.sides;
        match direction {
            Direction::Orig => orig,
            Direction::Resp => resp,
        }
    }

    /// Whether this direction is the client's; the originator until told otherwise.
    fn is_client(&self, direction: Direction) -> bool {
        self.client.unwrap_or(Direction::Orig) == direction
    }

    /// Ends the handshake under way.
    fn close(&mut self) {
        if let Some(now) = self.now.take() {
            self.done.push(now.finish());
        }
    }

    fn begin(&mut self, cx: &Cx<'_>) -> &mut Current {
        let transport = &self.transport;
        self.now.get_or_insert_with(|| {
            Box::new(Current {
                facts: TlsHandshake {
                    ts: cx.ts,
                    first: cx.packet,
                    transport: transport.clone(),
                    ..TlsHandshake::default()
                },
                ..Current::default()
            })
        })
    }

    /// A whole record header has been read.
    fn header(&mut self, cx: &mut Cx<'_>, direction: Direction) {
        let is_client = self.is_client(direction);
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
                if let Some(now) = &mut self.now
                    && !now.facts.established
                {
                    now.facts
                        .malformed
                        .get_or_insert_with(|| "a malformed record".to_owned());
                }
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
            self.application_data(is_client, len);
        } else if kind == HANDSHAKE && !clear {
            self.encrypted_handshake(is_client);
        } else if kind == HEARTBEAT && !clear {
            self.letter(is_client, 'b');
        }
        if len == 0 && self.side(direction).wanted {
            self.record(cx, direction, kind, &[]);
        }
    }

    /// Application data of one end: counts, and in TLS 1.3 the end of the
    /// handshake, which looks the same from outside.
    fn application_data(&mut self, is_client: bool, len: usize) {
        let Some(now) = &mut self.now else { return };
        let end = usize::from(!is_client);
        let first = now.encrypted_data[end] == 0;
        now.encrypted_data[end] += 1;
        if now.tls13 {
            // The client's first encrypted record is its Finished (RFC 8446
            // §2), early data aside; the server's come before it.
            let early = now
                .facts
                .client
                .as_deref()
                .is_some_and(|client| client.early_data);
            // An encrypted alert is shorter than any Finished.
            if is_client && now.server_hello && len >= MIN_FINISHED_13 {
                now.facts.established = true;
            }
            let handshake = if is_client {
                first && !early
            } else {
                now.encrypted_data[0] == 0
            };
            if handshake {
                return;
            }
        } else if now.change_cipher == [true; 2] {
            now.facts.established = true;
        }
        if let Some(bytes) = now.facts.app_bytes.get_mut(end) {
            *bytes += len as u64;
        }
        if first {
            self.letter(is_client, 'd');
        }
    }

    /// An encrypted handshake record: Finished at first, a renegotiation later.
    fn encrypted_handshake(&mut self, is_client: bool) {
        let Some(now) = &mut self.now else { return };
        let end = usize::from(!is_client);
        now.encrypted_handshake[end] += 1;
        if now.encrypted_handshake.iter().all(|&records| records > 0)
            && now.change_cipher == [true; 2]
        {
            if now.facts.established && now.encrypted_data != [0; 2] {
                now.facts.renegotiation = true;
            }
            now.facts.established = true;
        }
    }

    fn letter(&mut self, is_client: bool, letter: char) {
        if let Some(now) = &mut self.now
            && now.facts.history.len() < MAX_HISTORY
        {
            let letter = if is_client {
                letter.to_ascii_uppercase()
            } else {
                letter
            };
            now.facts.history.push(letter);
        }
    }

    /// A whole record whose body was wanted.
    fn record(&mut self, cx: &mut Cx<'_>, direction: Direction, kind: u8, body: &[u8]) {
        match kind {
            HANDSHAKE => self.handshake(cx, direction, body),
            ALERT => self.alert(cx, direction, body),
            CHANGE_CIPHER_SPEC => self.change_cipher_spec(direction),
            HEARTBEAT => {
                self.letter(self.is_client(direction), 'b');
                // RFC 6520 §4: the payload, and 16 bytes of padding, fit the record.
                if let &[_, high, low, ..] = body
                    && usize::from(u16::from_be_bytes([high, low])) + 3 > body.len()
                {
                    self.begin(cx).facts.heartbeat_abuse = true;
                }
            }
            _ => {}
        }
    }

    fn alert(&mut self, cx: &mut Cx<'_>, direction: Direction, body: &[u8]) {
        let from_client = self.is_client(direction);
        let &[level, description] = body else { return };
        let now = self.begin(cx);
        if now.facts.alerts.len() < MAX_ALERTS {
            now.facts.alerts.push(Alert {
                from_client,
                level,
                description,
            });
        }
        self.letter(from_client, 'l');
    }

    fn change_cipher_spec(&mut self, direction: Direction) {
        let is_client = self.is_client(direction);
        let Some(now) = &mut self.now else {
            self.side(direction).encrypted = true;
            return;
        };
        let end = usize::from(!is_client);
        let first = !now.change_cipher[end];
        now.change_cipher[end] = true;
        // In TLS 1.3 it is for show (RFC 8446 §D.4); a hello may still follow a retry.
        let tls13 = now.tls13 || now.facts.hello_retry;
        if !tls13 {
            if !is_client && !now.server_flight && now.server_hello && !now.gap {
                let facts = &mut now.facts;
                let client = facts.client.as_deref();
                let ticket = client.is_some_and(|client| client.offers_ticket);
                facts.resumed = Some(if ticket {
                    Resumption::Ticket
                } else {
                    Resumption::Id
                });
            }
            self.side(direction).encrypted = true;
        }
        if first {
            self.letter(is_client, 'i');
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
                cx.anomalies
                    .note(AnomalyKind::TlsHandshakeMalformed, cx.ts, cx.packet, || {
                        format!(
                            "a handshake message of {len} bytes exceeds limits.tls_handshake_bytes"
                        )
                    });
                let now = self.begin(cx);
                now.gap = true;
                now.facts
                    .malformed
                    .get_or_insert_with(|| format!("a handshake message of {len} bytes"));
                self.side(direction).lost = true;
                return None;
            }
            let Some(body) = rest.get(4..4 + len) else {
                return Some(rest);
            };
            if self.message(cx, direction, kind, version, body).is_none() {
                cx.anomalies
                    .note(AnomalyKind::TlsHandshakeMalformed, cx.ts, cx.packet, || {
                        format!("a handshake message of type {kind}")
                    });
                let now = self.begin(cx);
                now.facts
                    .malformed
                    .get_or_insert_with(|| format!("a malformed message of type {kind}"));
            }
            rest = rest.get(4 + len..).unwrap_or_default();
            if self.side(direction).encrypted {
                return None;
            }
        }
    }

    /// One handshake message; `None` when it is malformed.
    fn message(
        &mut self,
        cx: &mut Cx<'_>,
        direction: Direction,
        kind: u8,
        version: u16,
        body: &[u8],
    ) -> Option<()> {
        match kind {
            1 => {
                let parsed = hello::client(body, version)?;
                self.client_hello(cx, direction, parsed)?;
            }
            2 => self.server_hello(cx, direction, body)?,
            _ => {
                let is_client = self.is_client(direction);
                self.begin(cx);
                self.later_message(cx, is_client, kind, body)?;
            }
        }
        if let Some(now) = &mut self.now {
            now.facts.handshake_ns = Some(cx.ts.nanos_since(now.facts.ts).max(0));
        }
        Some(())
    }

    fn client_hello(
        &mut self,
        cx: &mut Cx<'_>,
        direction: Direction,
        parsed: hello::ParsedClient,
    ) -> Option<()> {
        let retried = self
            .now
            .as_ref()
            .is_some_and(|now| now.facts.hello_retry && !now.server_hello);
        let again = self
            .now
            .as_ref()
            .is_some_and(|now| now.facts.client.is_some());
        if again && !retried && self.done.len() < MAX_HANDSHAKES {
            // Another handshake in the clear on the same connection.
            self.close();
        }
        self.client.get_or_insert(direction);
        self.letter(true, 'c');
        let fresh = self.now.is_none();
        let now = self.begin(cx);
        if fresh {
            now.facts.history.push('C');
        }
        let hello::ParsedClient {
            hello,
            session_id,
            ticket_hash,
            malformed,
        } = parsed;
        let hello = match now.facts.client.take() {
            // The second hello of a retry changes little; ECH stays confirmed.
            Some(before) if before.ech == Some(Ech::Confirmed) => super::ClientHello {
                ech: Some(Ech::Confirmed),
                ..hello
            },
            _ => hello,
        };
        if !retried {
            now.facts.ja3 = Some(fingerprint::ja3(&hello));
            let (ja4, ja4_r) = fingerprint::ja4(&hello, 't');
            now.facts.ja4 = Some(ja4);
            now.facts.ja4_r = Some(ja4_r);
        }
        now.facts.offered_ticket_hash =
            ticket_hash.or_else(|| (!session_id.is_empty()).then(|| short_hash(&session_id)));
        now.client_session_id = session_id;
        now.facts.client = Some(Arc::new(hello));
        if now.server_hello && now.tls13 {
            self.side(direction).encrypt();
        }
        (!malformed).then_some(())
    }

    fn server_hello(&mut self, cx: &mut Cx<'_>, direction: Direction, body: &[u8]) -> Option<()> {
        let parsed = hello::server(body)?;
        self.client.get_or_insert(direction.flip());
        let hello::ParsedServer {
            hello,
            session_id,
            is_retry,
            ech,
            sct_list,
            malformed,
        } = parsed;
        let now = self.begin(cx);
        if is_retry {
            now.facts.hello_retry = true;
            if ech && let Some(client) = now.facts.client.as_mut() {
                Arc::make_mut(client).ech = Some(Ech::Confirmed);
            }
            self.letter(false, 'j');
            return (!malformed).then_some(());
        }
        let version = hello.supported_version.unwrap_or(hello.version);
        now.server_hello = true;
        now.tls13 = version == 0x0304 || version >> 8 == 0x7f || version >> 8 == 0xfb;
        let facts = &mut now.facts;
        facts.version = Some(Version(version));
        facts.ja3s = Some(fingerprint::ja3s(&hello));
        facts.sct_list = sct_list.map(Arc::from);
        if !session_id.is_empty() && !now.tls13 {
            facts.session_id_hash = Some(short_hash(&session_id));
        }
        if now.tls13 {
            facts.cert_visibility = CertVisibility::Encrypted;
            facts.key_exchange.group = hello.key_share_group;
            facts.key_exchange.bits = hello.key_share_group.and_then(group_bits);
            if hello.psk {
                facts.resumed = Some(Resumption::Psk);
            }
        }
        facts.server = Some(Arc::new(hello));
        let tls13 = now.tls13;
        self.letter(false, 's');
        if tls13 {
            // A ClientHello that was captured late is still to come.
            let has_client = self
                .now
                .as_ref()
                .is_some_and(|now| now.facts.client.is_some());
            self.side(direction).encrypt();
            if has_client {
                self.side(direction.flip()).encrypt();
            }
        }
        (!malformed).then_some(())
    }

    /// Messages of TLS 1.2 and below that follow the hellos.
    fn later_message(
        &mut self,
        cx: &mut Cx<'_>,
        is_client: bool,
        kind: u8,
        body: &[u8],
    ) -> Option<()> {
        let letter = match kind {
            0 => 'h',
            3 => 'v',
            4 => 't',
            11 => 'x',
            12 => 'k',
            13 => 'r',
            14 => 'n',
            15 => 'y',
            16 => 'g',
            20 => 'f',
            21 => 'w',
            22 => 'u',
            23 => 'a',
            _ => 'z',
        };
        self.letter(is_client, letter);
        let now = self.now.as_mut()?;
        let mut read = Read(body);
        match kind {
            4 => {
                read.take(4)?;
                let ticket = read.vec16()?;
                now.facts.issued_ticket_hash = (!ticket.is_empty()).then(|| short_hash(ticket));
            }
            11 => {
                now.server_flight |= !is_client;
                let mut list = Read(read.vec24()?);
                let mut chain = Vec::new();
                while !list.is_empty() {
                    let der = list.vec24()?;
                    if chain.len() >= cx.limits.chain_certificates {
                        cx.anomalies
                            .note(AnomalyKind::X509Limit, cx.ts, cx.packet, || {
                                "a chain is longer than limits.chain_certificates".to_owned()
                            });
                        break;
                    }
                    let certificate = cx.certificates.get(der);
                    if let Err(reason) = &certificate.fields {
                        cx.anomalies
                            .note(AnomalyKind::X509DerInvalid, cx.ts, cx.packet, || {
                                reason.clone()
                            });
                    }
                    chain.push(certificate);
                }
                if is_client {
                    now.facts.client_cert_sent = !chain.is_empty();
                    now.facts.client_chain = chain;
                } else {
                    if !chain.is_empty() {
                        now.facts.cert_visibility = CertVisibility::Visible;
                    }
                    now.facts.chain = chain;
                }
            }
            12 => {
                now.server_flight = true;
                now.server_key_exchange(body)?;
            }
            13 => {
                now.server_flight = true;
                now.facts.client_cert_requested = true;
            }
            14 => now.server_flight = true,
            15 if is_client && now.facts.version.is_some_and(|version| version.0 >= 0x0303) => {
                now.facts.key_exchange.client_signature = Some(read.u16()?);
            }
            22 => {
                // Status type, then the response (RFC 6066 §8, RFC 6961 §2.2).
                let _status_type = read.u8()?;
                let response = read.vec24()?;
                now.facts.ocsp_staple = (!response.is_empty()).then(|| response.into());
            }
            _ => {}
        }
        Some(())
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
                Some(parsed) => self.client_hello(cx, direction, parsed).is_some(),
                None => false,
            },
            _ => self.server_hello_v2(cx, direction, message).is_some(),
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

    /// An SSL 2 SERVER-HELLO: the connection stays with SSL 2.
    fn server_hello_v2(
        &mut self,
        cx: &mut Cx<'_>,
        direction: Direction,
        message: &[u8],
    ) -> Option<()> {
        let mut read = Read(message);
        read.take(3)?;
        let version = read.u16()?;
        let (certificate, ciphers, _id) = (read.u16()?, read.u16()?, read.u16()?);
        let der = read.take(usize::from(certificate))?;
        read.take(usize::from(ciphers))?;
        self.client.get_or_insert(direction.flip());
        let now = self.begin(cx);
        now.facts.version = Some(Version(version));
        if !der.is_empty() {
            let certificate = cx.certificates.get(der);
            now.facts.chain = vec![certificate];
            now.facts.cert_visibility = CertVisibility::Visible;
        }
        self.letter(false, 's');
        for side in &mut self.sides {
            side.dead = true;
        }
        Some(())
    }
}

/// What the first bytes of a direction are framed as.
enum Framing {
    Ssl2,
    Tls,
    Wait,
}

impl Current {
    fn finish(mut self) -> TlsHandshake {
        let facts = &mut self.facts;
        if facts.cert_visibility == CertVisibility::None && facts.resumed.is_some() {
            facts.cert_visibility = CertVisibility::Resumed;
        }
        self.facts
    }

    /// ServerKeyExchange (RFC 5246 §7.4.3, RFC 8422 §5.4, RFC 4279).
    fn server_key_exchange(&mut self, body: &[u8]) -> Option<()> {
        let facts = &mut self.facts;
        let code = facts.server.as_deref().map(|server| server.cipher)?;
        let Some(info) = suite(code) else {
            return Some(());
        };
        let mut read = Read(body);
        if matches!(info.kx, Kx::Psk | Kx::RsaPsk | Kx::DhePsk | Kx::EcdhePsk) {
            read.vec16()?;
        }
        match info.kx {
            Kx::Ecdhe | Kx::EcdhAnon | Kx::EcdhePsk => {
                // Explicit curves (types 1 and 2) are of no known size.
                if read.u8()? != 3 {
                    return Some(());
                }
                let group = read.u16()?;
                facts.key_exchange.group = Some(group);
                facts.key_exchange.bits = group_bits(group);
                read.vec8()?;
            }
            Kx::Dhe | Kx::DhAnon | Kx::DhePsk => {
                facts.key_exchange.bits = Some(bits(read.vec16()?));
                read.vec16()?;
                read.vec16()?;
            }
            // RFC 2246 §D.1: a short RSA key for export suites.
            Kx::Rsa => {
                facts.key_exchange.bits = Some(bits(read.vec16()?));
                read.vec16()?;
            }
            _ => return Some(()),
        }
        let signed = matches!(info.auth, Auth::Rsa | Auth::Dss | Auth::Ecdsa);
        if signed && !read.is_empty() {
            let since_12 = facts.version.is_some_and(|version| version.0 >= 0x0303);
            facts.key_exchange.signature = Some(match info.auth {
                _ if since_12 => read.u16()?,
                // Implied below TLS 1.2 (RFC 4346 §7.4.3).
                Auth::Rsa => 0xff00,
                Auth::Dss => 0x0202,
                _ => 0x0203,
            });
        }
        Some(())
    }
}

/// Length of a big-endian number in bits.
fn bits(number: &[u8]) -> u32 {
    let zeros = number.iter().take_while(|&&byte| byte == 0).count();
    let significant = number.get(zeros..).unwrap_or_default();
    let first = significant.first().map_or(0, |byte| byte.leading_zeros());
    u32::try_from(significant.len() * 8)
        .unwrap_or(u32::MAX)
        .saturating_sub(first)
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
