//! The handshakes of one connection: messages in, whatever carried them (TLS
//! records, QUIC's CRYPTO frames, DTLS fragments), and what they show.
//!
//! The readers that carry the messages also say here what they see of the
//! rest: alerts, ChangeCipherSpec, and the size of what is encrypted.

use super::decrypt::Keying;
use super::fingerprint;
use super::hello::{self, short_hash};
use super::read::Read;
use super::suites::{Auth, Kx, suite};
use super::{
    Alert, CertVisibility, Ech, Resumption, SessionSeen, TlsHandshake, Version, group_bits,
    version_rank,
};
use crate::anomaly::AnomalyKind;
use crate::proto::{Cx, Direction, LiveRow};
use std::borrow::Cow;
use std::sync::Arc;

/// Smallest encrypted Finished of TLS 1.3: header, a SHA-256, content type, and
/// the 8-byte tag of the CCM_8 suites.
pub(in crate::proto) const MIN_FINISHED_13: usize = 4 + 32 + 1 + 8;
/// Alerts kept of one handshake.
const MAX_ALERTS: usize = 16;
/// Letters kept of one handshake's history.
const MAX_HISTORY: usize = 64;
/// Handshakes of one flow; further ones are not told apart.
const MAX_HANDSHAKES: usize = 8;

/// What carries the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) enum Carrier {
    /// TLS records over a stream.
    Stream,
    /// QUIC (RFC 9001).
    Quic,
    /// DTLS records (RFC 6347, RFC 9147).
    Datagrams,
}

/// The handshakes of one connection.
#[derive(Debug)]
pub(in crate::proto) struct Handshakes {
    carrier: Carrier,
    transport: Cow<'static, str>,
    /// The direction of the client, once a hello has shown it.
    client: Option<Direction>,
    done: Vec<TlsHandshake>,
    now: Option<Box<Current>>,
}

/// A handshake under way, with what only its end decides.
#[derive(Debug, Default)]
pub(super) struct Current {
    pub(super) facts: TlsHandshake,
    server_hello: bool,
    server_flight: bool,
    tls13: bool,
    /// The next ClientHello is this one again: a retry or a cookie came between.
    hello_again: bool,
    change_cipher: [bool; 2],
    /// Encrypted records of each end since: `[client, server]`.
    encrypted_handshake: [u32; 2],
    encrypted_data: [u32; 2],
    gap: bool,
    /// What keys follow from, where secrets are at hand.
    client_random: Option<[u8; 32]>,
    server_random: Option<[u8; 32]>,
    premaster: Option<[u8; 8]>,
    /// The server took the client's early data.
    pub(super) early_accepted: bool,
}

impl Handshakes {
    /// None so far. `transport` is what the rows say: `tcp`, `quic`, ….
    pub(in crate::proto) fn new(carrier: Carrier, transport: Cow<'static, str>) -> Self {
        Self {
            carrier,
            transport,
            client: None,
            done: Vec::new(),
            now: None,
        }
    }

    /// Heap bytes held, roughly.
    pub(in crate::proto) fn heap_bytes(&self) -> usize {
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
            let blobs = [&facts.ocsp_staple, &facts.sct_list].into_iter().flatten();
            let blobs: usize = blobs.chain(&facts.ocsp_more).map(|blob| blob.len()).sum();
            size_of::<TlsHandshake>()
                + 512
                + client
                + blobs
                + chain(&facts.chain)
                + chain(&facts.client_chain)
        };
        let now = self.now.as_ref().map_or(0, |now| facts(&now.facts) + 128);
        self.done.iter().map(facts).sum::<usize>() + now
    }

    /// Whether this direction is the client's; the originator until told otherwise.
    pub(in crate::proto) fn is_client(&self, direction: Direction) -> bool {
        self.client.unwrap_or(Direction::Orig) == direction
    }

    /// Ends the handshake under way.
    fn close(&mut self) {
        if let Some(now) = self.now.take() {
            self.done.push(now.finish());
        }
    }

    pub(super) fn begin(&mut self, cx: &Cx<'_>) -> &mut Current {
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

    /// Application data of one end: counts, and in TLS 1.3 the end of the
    /// handshake, which looks the same from outside.
    pub(in crate::proto) fn application_data(&mut self, is_client: bool, len: usize) {
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

    /// Application data of a carrier that tells it from the handshake.
    pub(in crate::proto) fn application_bytes(&mut self, is_client: bool, len: usize) {
        let Some(now) = &mut self.now else { return };
        let end = usize::from(!is_client);
        let first = now.encrypted_data[end] == 0;
        now.encrypted_data[end] = now.encrypted_data[end].saturating_add(1);
        if let Some(bytes) = now.facts.app_bytes.get_mut(end) {
            *bytes = bytes.saturating_add(len as u64);
        }
        if first {
            self.letter(is_client, 'd');
        }
    }

    /// An encrypted handshake record: Finished at first, a renegotiation later.
    pub(in crate::proto) fn encrypted_handshake(&mut self, is_client: bool) {
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

    pub(super) fn letter(&mut self, is_client: bool, letter: char) {
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

    /// An alert in the clear.
    pub(in crate::proto) fn alert(
        &mut self,
        cx: &Cx<'_>,
        direction: Direction,
        level: u8,
        description: u8,
    ) {
        let from_client = self.is_client(direction);
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

    /// ChangeCipherSpec of one end; whether it encrypts what follows.
    pub(in crate::proto) fn change_cipher_spec(&mut self, direction: Direction) -> bool {
        let is_client = self.is_client(direction);
        let Some(now) = &mut self.now else {
            return true;
        };
        let end = usize::from(!is_client);
        let first = !now.change_cipher[end];
        now.change_cipher[end] = true;
        // In TLS 1.3 it is for show (RFC 8446 §D.4); a hello may still follow a retry.
        let for_show = now.tls13 || now.facts.hello_retry;
        if !for_show && !is_client && !now.server_flight && now.server_hello && !now.gap {
            let facts = &mut now.facts;
            let client = facts.client.as_deref();
            let ticket = client.is_some_and(|client| client.offers_ticket);
            facts.resumed = Some(if ticket {
                Resumption::Ticket
            } else {
                Resumption::Id
            });
        }
        if first {
            self.letter(is_client, 'i');
        }
        !for_show
    }

    /// A heartbeat in the clear (RFC 6520 §4): the payload, and 16 bytes of
    /// padding, fit the record.
    pub(in crate::proto) fn heartbeat(&mut self, cx: &Cx<'_>, direction: Direction, body: &[u8]) {
        self.letter(self.is_client(direction), 'b');
        if let &[_, high, low, ..] = body
            && usize::from(u16::from_be_bytes([high, low])) + 3 > body.len()
        {
            self.begin(cx).facts.heartbeat_abuse = true;
        }
    }

    /// Bytes of a handshake may be missing from here on.
    pub(in crate::proto) fn gap(&mut self) {
        if let Some(now) = &mut self.now {
            now.gap = true;
        }
    }

    /// A record broke the rules: said of a handshake that is not over.
    pub(in crate::proto) fn broken(&mut self, what: &str) {
        if let Some(now) = &mut self.now
            && !now.facts.established
        {
            now.facts.malformed.get_or_insert_with(|| what.to_owned());
        }
    }

    /// A message that is beyond the limit: nobody reads it.
    pub(in crate::proto) fn too_long(&mut self, cx: &mut Cx<'_>, len: usize) {
        cx.anomalies
            .note(AnomalyKind::TlsHandshakeMalformed, cx.ts, cx.packet, || {
                format!("a handshake message of {len} bytes exceeds limits.tls_handshake_bytes")
            });
        let now = self.begin(cx);
        now.gap = true;
        now.facts
            .malformed
            .get_or_insert_with(|| format!("a handshake message of {len} bytes"));
    }

    /// The client will say its hello again: after a cookie (RFC 6347 §4.2.1),
    /// a Retry or another version (RFC 9000 §8.1.2, §6).
    pub(in crate::proto) fn expect_hello_again(&mut self) {
        if let Some(now) = &mut self.now {
            now.hello_again = true;
        }
    }

    /// Whether the server has chosen TLS 1.3: what follows its hello is encrypted.
    pub(in crate::proto) fn is_13(&self) -> bool {
        self.now.as_ref().is_some_and(|now| now.tls13)
    }

    /// Whether the handshake under way has its ClientHello.
    pub(in crate::proto) fn has_client(&self) -> bool {
        self.now
            .as_ref()
            .is_some_and(|now| now.facts.client.is_some())
    }

    /// The client's random, once it was seen.
    pub(super) fn client_random(&self) -> Option<[u8; 32]> {
        self.now.as_ref()?.client_random
    }

    /// What the keys follow from, once both hellos were seen.
    pub(in crate::proto) fn keying(&self) -> Option<Keying> {
        let now = self.now.as_ref()?;
        let server = now.facts.server.as_deref()?;
        Some(Keying {
            client_random: now.client_random?,
            server_random: now.server_random.filter(|_| now.server_hello)?,
            premaster: now.premaster,
            suite: server.cipher,
            version: now.facts.version?.0,
            etm: server.encrypt_then_mac,
            extended: server.extended_master_secret,
        })
    }

    /// Whether the client offers early data, as its first hello says.
    pub(super) fn offers_early(&self) -> bool {
        self.now
            .as_ref()
            .and_then(|now| now.facts.client.as_deref())
            .is_some_and(|client| client.early_data)
    }

    /// Whether the server's encrypted extensions took the early data.
    pub(super) fn early_accepted(&self) -> bool {
        self.now.as_ref().is_some_and(|now| now.early_accepted)
    }

    /// Whether the server asked for another hello, and it is still to come.
    pub(super) fn awaits_hello(&self) -> bool {
        self.now
            .as_ref()
            .is_some_and(|now| now.facts.hello_retry && !now.server_hello)
    }

    /// The application protocol that the server chose, where that could be read.
    pub(super) fn alpn(&self) -> Option<&str> {
        let now = self.now.as_ref()?;
        now.facts.server.as_deref()?.alpn.as_deref()
    }

    /// Says of the handshake under way that its records were opened, or why not.
    pub(in crate::proto) fn decryption(
        &mut self,
        source: &'static str,
        failure: Option<&'static str>,
    ) {
        if let Some(now) = &mut self.now {
            let facts = &mut now.facts;
            facts.decryption_source.get_or_insert(source);
            match failure {
                None => facts.decrypted = true,
                Some(why) => {
                    facts.decryption_failure.get_or_insert(why);
                }
            }
        }
    }

    /// Whether the server has said hello, and meant it.
    pub(in crate::proto) fn has_server_hello(&self) -> bool {
        self.now.as_ref().is_some_and(|now| now.server_hello)
    }

    /// The handshake is complete, as far as the carrier can tell.
    pub(in crate::proto) fn established(&mut self) {
        if let Some(now) = &mut self.now {
            now.facts.established = true;
        }
    }

    /// Another connection between the same ports begins.
    pub(in crate::proto) fn another(&mut self) {
        if self.done.len() < MAX_HANDSHAKES {
            self.close();
        }
    }

    /// The connection has ended: its handshakes, in the order in which they began.
    pub(in crate::proto) fn end(mut self) -> Vec<TlsHandshake> {
        self.close();
        self.done
    }

    /// One handshake message; one that is malformed is noted.
    pub(in crate::proto) fn message(
        &mut self,
        cx: &mut Cx<'_>,
        direction: Direction,
        kind: u8,
        version: u16,
        body: &[u8],
    ) {
        if self.read(cx, direction, kind, version, body).is_none() {
            cx.anomalies
                .note(AnomalyKind::TlsHandshakeMalformed, cx.ts, cx.packet, || {
                    format!("a handshake message of type {kind}")
                });
            let now = self.begin(cx);
            now.facts
                .malformed
                .get_or_insert_with(|| format!("a malformed message of type {kind}"));
        }
    }

    /// One handshake message; `None` when it is malformed.
    fn read(
        &mut self,
        cx: &mut Cx<'_>,
        direction: Direction,
        kind: u8,
        version: u16,
        body: &[u8],
    ) -> Option<()> {
        match kind {
            1 => {
                let parsed = hello::client(body, version, self.carrier)?;
                self.client_hello(cx, direction, parsed)?;
            }
            2 => self.server_hello(cx, direction, body)?,
            _ => {
                let is_client = self.is_client(direction);
                self.begin(cx);
                self.later_message(cx, is_client, kind, body)?;
            }
        }
        if let Some(now) = &mut self.now
            && !(now.tls13 && now.facts.established)
        {
            now.facts.handshake_ns = Some(cx.ts.nanos_since(now.facts.ts).max(0));
        }
        Some(())
    }

    pub(super) fn client_hello(
        &mut self,
        cx: &mut Cx<'_>,
        direction: Direction,
        parsed: hello::ParsedClient,
    ) -> Option<()> {
        let retried = self
            .now
            .as_ref()
            .is_some_and(|now| (now.facts.hello_retry || now.hello_again) && !now.server_hello);
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
        let carrier = self.carrier;
        let another = carrier == Carrier::Stream && !self.done.is_empty();
        let now = self.begin(cx);
        now.hello_again = false;
        if fresh {
            now.facts.history.push('C');
            now.facts.renegotiation = another;
        }
        let hello::ParsedClient {
            hello,
            session_id,
            ticket_hash,
            malformed,
            random,
        } = parsed;
        now.client_random = cx.secrets.is_some().then_some(random);
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
            let (ja4, ja4_r) = fingerprint::ja4(&hello, carrier);
            now.facts.ja4 = Some(ja4);
            now.facts.ja4_r = Some(ja4_r);
        }
        now.facts.offered_ticket_hash =
            ticket_hash.or_else(|| (!session_id.is_empty()).then(|| short_hash(&session_id)));
        now.facts.client = Some(Arc::new(hello));
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
            random,
        } = parsed;
        let now = self.begin(cx);
        now.server_random = cx.secrets.is_some().then_some(random);
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
        now.tls13 = version_rank(Version(version)) == Some(5) || version >> 8 == 0xfb;
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
        self.letter(false, 's');
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
            5 => 'e',
            8 => 'o',
            11 | 25 => 'x',
            12 => 'k',
            13 => 'r',
            14 => 'n',
            15 => 'y',
            16 => 'g',
            20 => 'f',
            21 => 'w',
            22 => 'u',
            23 => 'a',
            24 => 'p',
            _ => 'z',
        };
        self.letter(is_client, letter);
        let now = self.now.as_mut()?;
        if now.tls13 {
            return now.message_13(cx, is_client, kind, body);
        }
        let mut read = Read(body);
        match kind {
            4 => {
                read.take(4)?;
                let ticket = read.vec16()?;
                now.facts.issued_ticket_hash = (!ticket.is_empty()).then(|| short_hash(ticket));
                if let Some(key) = now.facts.issued_ticket_hash {
                    now.remember(cx, key);
                }
            }
            11 => {
                now.server_flight |= !is_client;
                let mut list = Read(read.vec24()?);
                let mut chain = Vec::new();
                while !list.is_empty() {
                    let der = list.vec24()?;
                    if !take_certificate(cx, &mut chain, der) {
                        break;
                    }
                }
                if is_client {
                    now.facts.client_cert_sent = !chain.is_empty();
                    now.facts.client_chain = chain;
                } else {
                    if !chain.is_empty() {
                        now.facts.cert_visibility = CertVisibility::Visible;
                    }
                    now.facts.chain = chain;
                    if let Some(key) = now.facts.session_id_hash {
                        now.remember(cx, key);
                    }
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
            // RSA key transport: the premaster secret, encrypted.
            16 => now.premaster = body.get(2..10).and_then(|start| start.try_into().ok()),
            15 if is_client && now.since_12() => {
                now.facts.key_exchange.client_signature = Some(read.u16()?);
            }
            22 => {
                let mut staples = staples(body, cx.limits.chain_certificates)?.into_iter();
                now.facts.ocsp_staple = staples.next().flatten();
                now.facts.ocsp_more = staples.flatten().collect();
            }
            _ => {}
        }
        Some(())
    }

    /// An SSL 2 SERVER-HELLO: the connection stays with SSL 2.
    pub(super) fn server_hello_v2(
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
        Some(())
    }
}

/// Adds a certificate to a chain; false when the chain is full.
pub(super) fn take_certificate(
    cx: &mut Cx<'_>,
    chain: &mut Vec<Arc<crate::proto::x509::Certificate>>,
    der: &[u8],
) -> bool {
    if chain.len() >= cx.limits.chain_certificates {
        cx.anomalies
            .note(AnomalyKind::X509Limit, cx.ts, cx.packet, || {
                "a chain is longer than limits.chain_certificates".to_owned()
            });
        return false;
    }
    let certificate = cx.certificates.get(der);
    if let Err(reason) = &certificate.fields {
        cx.anomalies
            .note(AnomalyKind::X509DerInvalid, cx.ts, cx.packet, || {
                reason.clone()
            });
    }
    chain.push(certificate);
    true
}

impl Current {
    fn since_12(&self) -> bool {
        self.facts.version.and_then(version_rank) >= Some(4)
    }

    /// Tells of a session that others may resume by its id or ticket.
    pub(super) fn remember(&self, cx: &mut Cx<'_>, key: [u8; 8]) {
        let facts = &self.facts;
        let parent = match facts.chain.is_empty() {
            true => facts.offered_ticket_hash,
            false => None,
        };
        if facts.chain.is_empty() && parent.is_none() {
            return;
        }
        let client = facts.client.as_deref();
        let server_name = client.and_then(|client| client.server_name.as_deref());
        cx.rows.push(LiveRow::Session(Box::new(SessionSeen {
            key,
            chain: facts.chain.clone(),
            parent,
            ts: facts.ts,
            server_name: server_name.map(Into::into),
        })));
    }

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
        let since_12 = facts.version.and_then(version_rank) >= Some(4);
        let signed = matches!(info.auth, Auth::Rsa | Auth::Dss | Auth::Ecdsa);
        if signed && !read.is_empty() {
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

/// The responses of a CertificateStatus in the order of the chain: one (RFC 6066
/// §8), or one for each certificate and `None` where there is none (RFC 6961
/// §2.2); at most `max`. TLS 1.3 has the same in an extension (RFC 8446 §4.4.2.1).
pub(super) fn staples(body: &[u8], max: usize) -> Option<Vec<Option<Arc<[u8]>>>> {
    let response = |bytes: &[u8]| (!bytes.is_empty()).then(|| bytes.into());
    let mut read = Read(body);
    match read.u8()? {
        1 => Some(vec![response(read.vec24()?)]),
        2 => {
            let mut list = Read(read.vec24()?);
            let mut found = Vec::new();
            while !list.is_empty() {
                let bytes = list.vec24()?;
                if found.len() < max {
                    found.push(response(bytes));
                }
            }
            Some(found)
        }
        _ => Some(Vec::new()),
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
mod tests {
    use super::staples;

    #[track_caller]
    fn reads(body: &[u8], expected: Option<&[Option<&[u8]>]>) {
        let found = staples(body, 2);
        let found: Option<Vec<Option<&[u8]>>> = found
            .as_ref()
            .map(|found| found.iter().map(Option::as_deref).collect());
        assert_eq!(found.as_deref(), expected, "{body:02x?}");
    }

    /// RFC 6066 §8 and RFC 6961 §2.2, where an empty response stands for none.
    #[test]
    fn staples_stand_in_the_order_of_the_chain() {
        reads(&[1, 0, 0, 1, 7], Some(&[Some(&[7])]));
        reads(&[1, 0, 0, 0], Some(&[None]));
        reads(&[1, 0, 0, 2, 7], None);
        reads(
            &[2, 0, 0, 7, 0, 0, 0, 0, 0, 1, 8],
            Some(&[None, Some(&[8])]),
        );
        reads(
            &[2, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            Some(&[None, None]),
        );
        reads(&[2, 0, 0, 4, 0, 0, 1, 8], Some(&[Some(&[8])]));
        reads(&[2, 0, 0, 3, 0, 0, 1], None);
        reads(&[3], Some(&[]));
        reads(&[], None);
    }
}
