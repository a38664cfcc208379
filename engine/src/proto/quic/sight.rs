//! Handshake and 1-RTT packets, opened with the secrets of a key log: the
//! server's certificate, tickets, alerts. RFC 9001 §5 and §6.
//!
//! What streams carry is not read. A packet that does not open may be a stray
//! one, as QUIC's receivers take it; only when none opens, the secrets are not
//! those of the connection.

use super::keys::{Bare, Keys, PacketKey};
use super::packet::{Long, Version, version};
use crate::proto::Direction;
use crate::proto::assembly::Assembly;
use crate::proto::secrets::{Label, Source};
use crate::proto::tls::{Keying, Known, expand_label};
use ring::aead::{self, quic};
use ring::hkdf;
use zeroize::Zeroizing;

/// Packets that wait for the server's hello, and their bytes.
const MAX_WAITING: usize = 16;
const MAX_WAITING_BYTES: usize = 24 << 10;
/// Short packets in a row that may resist before no more are tried.
const MAX_RESISTING: u32 = 64;

/// What is open of one connection.
#[derive(Debug)]
pub(super) struct Sight {
    source: Source,
    suite: Option<Suite>,
    random: [u8; 32],
    /// `[client, server]`.
    handshake: [Option<Keys>; 2],
    application: [Option<Phases>; 2],
    /// CRYPTO bytes of Handshake and of 1-RTT packets, by direction each.
    pub(super) crypto: [[Assembly; 2]; 2],
    /// Whether any packet opened, and whether one did not that should: of
    /// Handshake and of 1-RTT packets, `[client, server]` each.
    opened: [[bool; 2]; 2],
    failed: [[bool; 2]; 2],
    /// Short packets in a row that did not open.
    resisting: u32,
}

/// A suite as QUIC uses it.
#[derive(Clone, Copy, Debug)]
struct Suite {
    cipher: &'static aead::Algorithm,
    header: &'static quic::Algorithm,
    hash: hkdf::Algorithm,
}

/// The keys of one end's 1-RTT packets, which change under way.
#[derive(Debug)]
struct Phases {
    /// What the keys of the next phase follow from.
    secret: Zeroizing<Vec<u8>>,
    phase: bool,
    keys: Keys,
    /// Packets that are late use the key before.
    before: Option<PacketKey>,
    next: Option<PacketKey>,
}

/// Long packets that came before their keys could be known.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    packets: Vec<(Direction, Vec<u8>)>,
    bytes: usize,
}

impl Waiting {
    /// Keeps a Handshake packet, within bounds.
    pub(super) fn put(&mut self, direction: Direction, packet: &Long<'_>) {
        let len = packet.header.len().saturating_add(packet.rest.len());
        if self.packets.len() < MAX_WAITING && self.bytes.saturating_add(len) <= MAX_WAITING_BYTES {
            self.bytes += len;
            self.packets
                .push((direction, [packet.header, packet.rest].concat()));
        }
    }

    /// Gives them up.
    pub(super) fn take(&mut self) -> Vec<(Direction, Vec<u8>)> {
        self.bytes = 0;
        std::mem::take(&mut self.packets)
    }

    /// Heap bytes held.
    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes + self.packets.capacity() * size_of::<(Direction, Vec<u8>)>()
    }
}

impl Sight {
    /// Where any secret of the connection is known.
    pub(super) fn new(keying: &Keying, known: Known<'_>) -> Option<Self> {
        let source = known.secrets.source(&keying.client_random, known.at)?;
        Some(Self {
            source,
            suite: Suite::of(keying.suite),
            random: keying.client_random,
            handshake: Default::default(),
            application: Default::default(),
            crypto: Default::default(),
            opened: Default::default(),
            failed: Default::default(),
            resisting: 0,
        })
    }

    /// Where the secrets come from.
    pub(super) fn source(&self) -> &'static str {
        self.source.name()
    }

    /// Whether packets of its suite can be opened here.
    pub(super) fn is_readable(&self) -> bool {
        self.suite.is_some()
    }

    /// Whether nothing that an end sent at this level was opened so far.
    pub(super) fn is_blind(&self, level: usize, is_client: bool) -> bool {
        let opened = self.opened.get(level);
        !opened.is_some_and(|ends| ends[usize::from(!is_client)])
    }

    /// Whether all packets resisted that an end sent at a level.
    pub(super) fn has_failed(&self) -> bool {
        let opened = self.opened.iter().flatten();
        let mut all = opened.zip(self.failed.iter().flatten());
        all.any(|(opened, failed)| *failed && !opened)
    }

    /// Heap bytes held, roughly.
    pub(super) fn heap_bytes(&self) -> usize {
        let crypto = self.crypto.iter().flatten().map(Assembly::heap_bytes);
        size_of::<Self>() + 1_024 + crypto.sum::<usize>()
    }

    /// The payload of a Handshake packet; `Err` when there are keys that do not fit.
    pub(super) fn open_handshake(
        &mut self,
        is_client: bool,
        packet: &Long<'_>,
        known: Known<'_>,
    ) -> Result<Option<Vec<u8>>, ()> {
        let end = usize::from(!is_client);
        let Some(suite) = self.suite else {
            return Ok(None);
        };
        let label = if is_client {
            Label::ClientHandshake
        } else {
            Label::ServerHandshake
        };
        if let Some(slot) = self.handshake.get_mut(end)
            && slot.is_none()
            && let Some((secret, _)) = known.secrets.find(&self.random, label, known.at)
        {
            *slot = version(packet.version).and_then(|version| suite.keys(secret, &version));
        }
        let Some(Some(keys)) = self.handshake.get_mut(end) else {
            return Ok(None);
        };
        let Some(payload) = keys.open(packet) else {
            self.failed[0][end] = true;
            return Err(());
        };
        self.opened[0][end] = true;
        Ok(Some(payload))
    }

    /// The payload of a 1-RTT packet whose destination id has `id_len` bytes;
    /// `Err` as above.
    pub(super) fn open_short(
        &mut self,
        is_client: bool,
        id_len: usize,
        number: u32,
        packet: &[u8],
        known: Known<'_>,
    ) -> Result<Option<Vec<u8>>, ()> {
        let end = usize::from(!is_client);
        let Some((suite, version)) = self.suite.zip(version(number)) else {
            return Ok(None);
        };
        if self.resisting >= MAX_RESISTING {
            return Ok(None);
        }
        let label = if is_client {
            Label::ClientTraffic
        } else {
            Label::ServerTraffic
        };
        if let Some(slot) = self.application.get_mut(end)
            && slot.is_none()
            && let Some((secret, _)) = known.secrets.find(&self.random, label, known.at)
        {
            *slot = suite.keys(secret, &version).map(|keys| Phases {
                secret: Zeroizing::new(secret.to_vec()),
                phase: false,
                keys,
                before: None,
                next: None,
            });
        }
        let Some(Some(phases)) = self.application.get_mut(end) else {
            return Ok(None);
        };
        match phases.open(suite, &version, id_len, packet) {
            Some(payload) => {
                self.opened[1][end] = true;
                self.resisting = 0;
                Ok(Some(payload))
            }
            None => {
                self.failed[1][end] = true;
                self.resisting = self.resisting.saturating_add(1);
                Err(())
            }
        }
    }
}

impl Phases {
    fn open(
        &mut self,
        suite: Suite,
        version: &Version,
        id_len: usize,
        packet: &[u8],
    ) -> Option<Vec<u8>> {
        let (header, rest) = packet.split_at_checked(1_usize.checked_add(id_len)?)?;
        let (bare, payload) = self.keys.bare(header, rest, 0x1f)?;
        let opened = if bare.phase() == self.phase {
            self.keys.open_bare(&bare, payload)?
        } else {
            match self
                .before
                .as_ref()
                .and_then(|key| key.open(&bare, payload))
            {
                Some(opened) => opened,
                None => self.change(suite, version, &bare, payload)?,
            }
        };
        self.keys.read(&bare);
        Some(opened)
    }

    /// A packet of the next phase puts its key in force (RFC 9001 §6.1); the
    /// key for headers stays.
    fn change(
        &mut self,
        suite: Suite,
        version: &Version,
        bare: &Bare,
        payload: &[u8],
    ) -> Option<Vec<u8>> {
        if self.next.is_none() {
            let [_, _, _, label] = version.labels;
            let prk = hkdf::Prk::new_less_safe(suite.hash, &self.secret);
            let mut secret = Zeroizing::new(vec![0; self.secret.len()]);
            expand_label(&prk, label, &mut secret)?;
            let prk = hkdf::Prk::new_less_safe(suite.hash, &secret);
            self.next = PacketKey::new(&prk, version, suite.cipher);
            self.secret = secret;
        }
        let opened = self.next.as_ref()?.open(bare, payload)?;
        let next = self.next.take()?;
        self.before = Some(self.keys.update(next));
        self.phase = bare.phase();
        Some(opened)
    }
}

impl Suite {
    fn of(code: u16) -> Option<Self> {
        let (cipher, header, hash) = match code {
            0x1301 => (&aead::AES_128_GCM, &quic::AES_128, hkdf::HKDF_SHA256),
            0x1302 => (&aead::AES_256_GCM, &quic::AES_256, hkdf::HKDF_SHA384),
            0x1303 => (&aead::CHACHA20_POLY1305, &quic::CHACHA20, hkdf::HKDF_SHA256),
            _ => return None,
        };
        Some(Self {
            cipher,
            header,
            hash,
        })
    }

    fn keys(self, secret: &[u8], version: &Version) -> Option<Keys> {
        let prk = hkdf::Prk::new_less_safe(self.hash, secret);
        Keys::new(&prk, version, self.cipher, self.header)
    }
}
