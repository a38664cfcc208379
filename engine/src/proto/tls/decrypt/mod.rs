//! Records opened with the secrets of a key log: which keys are in force in
//! each direction, and how to find the place again after bytes were missed.
//! RFC 8446 §5 and §7, RFC 5246 §6 and §8.1.
//!
//! ```text
//! client   [early] -> handshake -> application -> updated -> ...    TLS 1.3: a secret each
//! server              handshake -> application -> updated -> ...
//! both     keys that a ChangeCipherSpec puts in force                below: one master secret
//! ```
//!
//! A record is opened in place by the keys in force. Where it is not known
//! which record it is (bytes were missed, a secret is missing, early data may
//! have been refused) a bounded number of places is tried: the tag or MAC
//! tells the right one.

mod opener;
mod prf;
#[cfg(test)]
mod tests;

use super::expand::expand_label;
use super::suites::suite;
use crate::evidence::PacketRef;
use crate::proto::Cx;
use crate::proto::secrets::{KeyLog, Label, Source};
use opener::{HEADER, Opened, Opener, Protection};
use std::ops::Range;
use zeroize::{Zeroize, Zeroizing};

/// Records that may resist, one after the other, where the place is being looked for.
const MAX_TRIALS: u32 = 64;
/// Times that keys may be tried in vain on records of one end, beyond one for
/// each record that opened: whoever makes gaps and junk pays for most of it.
const MAX_VAIN: u32 = 4_096;
/// Places that are tried for one record, for each set of keys.
const MAX_WINDOW: u64 = 32;

/// What the key exchange of a handshake showed.
#[derive(Clone, Copy, Debug)]
pub(in crate::proto) struct Keying {
    pub(in crate::proto) client_random: [u8; 32],
    pub(in crate::proto) server_random: [u8; 32],
    /// First bytes of the premaster secret as the client encrypted it.
    pub(in crate::proto) premaster: Option<[u8; 8]>,
    pub(in crate::proto) suite: u16,
    pub(in crate::proto) version: u16,
    pub(in crate::proto) etm: bool,
    pub(in crate::proto) extended: bool,
}

/// Secrets at hand, and the packet at which they are asked for.
#[derive(Clone, Copy)]
pub(in crate::proto) struct Known<'a> {
    pub(in crate::proto) secrets: &'a KeyLog,
    pub(in crate::proto) at: PacketRef,
}

/// The secrets at hand as of this packet.
pub(in crate::proto) fn known<'a>(cx: &Cx<'a>) -> Option<Known<'a>> {
    let secrets = cx.secrets?;
    Some(Known {
        secrets,
        at: cx.packet,
    })
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// It is this, there in the body.
    Is {
        /// Its true type.
        kind: u8,
        /// Where in the body.
        place: Range<usize>,
        /// Records before it were missed.
        after_gap: bool,
    },
    /// It does not open, and it may be no fault: the place is being looked for.
    Passed,
    /// It should have opened.
    Failed,
}

/// Keys of both directions.
#[derive(Debug)]
pub(super) struct Decrypt {
    random: [u8; 32],
    source: Source,
    tls13: bool,
    protection: Option<Protection>,
    /// `[client, server]`.
    ends: [End; 2],
    /// A record's copy, where several keys are tried on it.
    scratch: Vec<u8>,
}

#[derive(Debug, Default)]
struct End {
    keys: Option<Keys>,
    /// Put in force by the next ChangeCipherSpec.
    pending: Option<Opener>,
    epoch: Epoch,
    /// The place is not known: how many records may have been missed.
    unsure: Option<u64>,
    trials: u32,
    /// Times that keys were tried in vain, less those that opened a record.
    vain: u32,
    /// Nothing more is opened.
    dead: bool,
}

#[derive(Debug)]
struct Keys {
    opener: Opener,
    /// Of TLS 1.3, for the keys that follow.
    secret: Zeroizing<Vec<u8>>,
}

/// What the keys of TLS 1.3 in force are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Epoch {
    #[default]
    Clear,
    Early,
    Handshake,
    Application,
}

impl Decrypt {
    /// For a session of which any secret is known.
    pub(super) fn new(random: [u8; 32], known: Known<'_>) -> Option<Self> {
        let source = known.secrets.source(&random, known.at)?;
        Some(Self::with(random, source))
    }

    fn with(random: [u8; 32], source: Source) -> Self {
        Self {
            random,
            source,
            tls13: false,
            protection: None,
            ends: Default::default(),
            scratch: Vec::new(),
        }
    }

    /// Where the secrets come from.
    pub(super) fn source(&self) -> Source {
        self.source
    }

    /// Whether records of this type from this end are to be given to [`Self::open`].
    pub(super) fn wants(&self, is_client: bool, kind: u8) -> bool {
        let end = self.end(is_client);
        if end.dead {
            return false;
        }
        if self.tls13 || end.epoch == Epoch::Early {
            kind == super::session::APPLICATION_DATA && (end.keys.is_some() || end.unsure.is_some())
        } else {
            end.keys.is_some()
        }
    }

    /// Heap bytes held, roughly.
    pub(super) fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.scratch.capacity() + 4 * 512
    }

    /// The client sends early data under a secret of a session before, whose
    /// suite only the length of the secret hints at.
    pub(super) fn begin_early(&mut self, known: Known<'_>) {
        if self.secret(Label::ClientEarly, known).is_some() {
            let end = self.end_mut(true);
            end.epoch = Epoch::Early;
            end.unsure = Some(0);
        }
    }

    /// The server chose TLS 1.3 and a suite. False when that cannot be opened.
    /// `unread` says how many encrypted records of client and server came
    /// before their keys could be known.
    pub(super) fn begin_13(
        &mut self,
        keying: &Keying,
        offers_early: bool,
        unread: [u64; 2],
        known: Known<'_>,
    ) -> bool {
        self.tls13 = true;
        self.protection = suite(keying.suite).as_ref().and_then(Protection::of);
        if self.protection.is_none() {
            self.end_mut(true).dead = true;
            self.end_mut(false).dead = true;
            return false;
        }
        for (is_client, unread) in [true, false].into_iter().zip(unread) {
            if self.end(is_client).epoch == Epoch::Early {
                continue;
            }
            self.enter(is_client, Epoch::Handshake, known);
            let end = self.end_mut(is_client);
            if end.keys.is_some() && is_client && offers_early {
                // Under keys that nobody gave.
                end.unsure = Some(0);
            } else if end.keys.is_some() && unread > 0 {
                end.unsure = Some(unread.min(MAX_WINDOW));
            }
        }
        true
    }

    /// An end's keys are from here on those of the application.
    pub(super) fn finished(&mut self, is_client: bool, known: Known<'_>) {
        self.enter(is_client, Epoch::Application, known);
    }

    /// The client's early data is over, or was refused.
    pub(super) fn early_ends(&mut self, known: Known<'_>) {
        if self.end(true).epoch == Epoch::Early {
            self.enter(true, Epoch::Handshake, known);
        }
    }

    /// The server refused early data: what is still under way of it is passed.
    pub(super) fn early_refused(&mut self, known: Known<'_>) {
        self.early_ends(known);
        let end = self.end_mut(true);
        if end.epoch == Epoch::Handshake {
            end.unsure = Some(0);
        }
    }

    /// An end changes to the next keys (RFC 8446 §7.2).
    pub(super) fn update(&mut self, is_client: bool) {
        let next = self.updated(is_client);
        let end = self.end_mut(is_client);
        end.dead |= next.is_none();
        end.keys = next;
    }

    /// Nobody reads on: records are only counted from here.
    pub(super) fn rest(&mut self) {
        self.end_mut(true).dead = true;
        self.end_mut(false).dead = true;
    }

    /// Bytes of an end are missing: this many records at most.
    pub(super) fn missed(&mut self, is_client: bool, records: u64) {
        let end = self.end_mut(is_client);
        if end.keys.is_some() || end.unsure.is_some() {
            let before = end.unsure.unwrap_or(0);
            end.unsure = Some(before.saturating_add(records).min(MAX_WINDOW));
        }
    }

    /// A ChangeCipherSpec below TLS 1.3: the keys that were agreed upon.
    pub(super) fn change_cipher_spec(
        now: &mut Option<Box<Self>>,
        is_client: bool,
        keying: &Keying,
        known: Known<'_>,
    ) -> Result<(), &'static str> {
        let has_pending = now
            .as_ref()
            .is_some_and(|now| now.end(is_client).pending.is_some());
        if !has_pending {
            let (openers, source) = match openers_below_13(keying, known) {
                Ok(Some(found)) => found,
                other => {
                    // A renegotiation whose secret is not known.
                    if let Some(now) = now {
                        now.end_mut(is_client).dead = true;
                    }
                    return other.map(|_| ());
                }
            };
            let now = now.get_or_insert_with(|| Box::new(Self::with(keying.client_random, source)));
            now.random = keying.client_random;
            let [client, server] = openers;
            now.end_mut(true).pending = Some(client);
            now.end_mut(false).pending = Some(server);
        }
        if let Some(now) = now {
            let end = now.end_mut(is_client);
            (end.epoch, end.unsure) = (Epoch::Clear, None);
            end.keys = end.pending.take().map(|opener| Keys {
                opener,
                secret: Zeroizing::default(),
            });
        }
        Ok(())
    }

    /// Opens a record; what it is lies in `body`, which may be another than before.
    pub(super) fn open(
        &mut self,
        is_client: bool,
        header: [u8; HEADER],
        body: &mut Vec<u8>,
        known: Option<Known<'_>>,
    ) -> Record {
        let end = self.end_mut(is_client);
        if let (None, Epoch::Clear | Epoch::Handshake | Epoch::Application) =
            (end.unsure, end.epoch)
        {
            let opened = end
                .keys
                .as_mut()
                .and_then(|keys| keys.opener.open(header, body));
            return match opened {
                Some(Opened { kind, place }) => {
                    end.vain = end.vain.saturating_sub(1);
                    Record::Is {
                        kind,
                        place,
                        after_gap: false,
                    }
                }
                None => {
                    end.dead = true;
                    Record::Failed
                }
            };
        }
        self.search(is_client, header, body, known)
    }

    /// Opens a record whose place is not known.
    fn search(
        &mut self,
        is_client: bool,
        header: [u8; HEADER],
        body: &mut Vec<u8>,
        known: Option<Known<'_>>,
    ) -> Record {
        let mut scratch = std::mem::take(&mut self.scratch);
        let end = self.end_mut(is_client);
        let window = end.unsure.unwrap_or(0);
        let mut vain = 0_u32;
        let mut found = end.keys.as_mut().and_then(|keys| {
            attempt(
                &mut keys.opener,
                header,
                body,
                &mut scratch,
                window,
                &mut vain,
            )
        });
        let mut after_gap = window > 0;
        if found.is_none() {
            for mut candidate in self.candidates(is_client, known) {
                found = attempt(
                    &mut candidate.keys.opener,
                    header,
                    body,
                    &mut scratch,
                    window,
                    &mut vain,
                );
                if found.is_some() {
                    after_gap |= candidate.keys.opener.sequence > 1;
                    let end = self.end_mut(is_client);
                    end.epoch = candidate.epoch;
                    end.keys = Some(candidate.keys);
                    break;
                }
            }
        }
        let end = self.end_mut(is_client);
        let opened = u32::from(found.is_some());
        end.vain = end.vain.saturating_add(vain).saturating_sub(opened);
        let result = match found {
            Some(Opened { kind, place }) => {
                // Early data may end, or be refused, with any record.
                end.unsure = None;
                end.trials = 0;
                std::mem::swap(body, &mut scratch);
                Record::Is {
                    kind,
                    place,
                    after_gap,
                }
            }
            None => {
                end.trials = end.trials.saturating_add(1);
                if window > 0 {
                    end.unsure = Some(window.saturating_add(1).min(MAX_WINDOW));
                }
                end.dead = end.trials >= MAX_TRIALS || end.vain >= MAX_VAIN;
                if end.dead {
                    Record::Failed
                } else {
                    Record::Passed
                }
            }
        };
        scratch.clear();
        self.scratch = scratch;
        result
    }

    /// Keys that may be in force behind those that are known to have been.
    fn candidates(&self, is_client: bool, known: Option<Known<'_>>) -> Vec<Candidate> {
        let end = self.end(is_client);
        let mut found = Vec::new();
        let Some(known) = known else {
            return found;
        };
        if end.epoch == Epoch::Early
            && end.keys.is_none()
            && let Some(secret) = self.secret(Label::ClientEarly, known)
        {
            let keys = EARLY_SUITES.into_iter().filter_map(|code| {
                let protection = Protection::of(&suite(code)?)?;
                Keys::of(protection, secret.clone())
            });
            found.extend(keys.map(|keys| Candidate {
                keys,
                epoch: Epoch::Early,
            }));
        }
        if !self.tls13 {
            return found;
        }
        let later: &[Epoch] = match end.epoch {
            Epoch::Clear | Epoch::Early => &[Epoch::Handshake, Epoch::Application],
            Epoch::Handshake => &[Epoch::Application],
            Epoch::Application => &[],
        };
        for epoch in later {
            if let Some(keys) = self.keys_of(is_client, *epoch, known) {
                found.push(Candidate {
                    keys,
                    epoch: *epoch,
                });
            }
        }
        if end.epoch == Epoch::Application
            && let Some(keys) = self.updated(is_client)
        {
            found.push(Candidate {
                keys,
                epoch: Epoch::Application,
            });
        }
        found
    }

    /// The keys of an epoch come into force, if they are known.
    fn enter(&mut self, is_client: bool, epoch: Epoch, known: Known<'_>) {
        let keys = self.keys_of(is_client, epoch, known);
        let later = epoch == Epoch::Handshake
            && keys.is_none()
            && self
                .secret(label(is_client, Epoch::Application), known)
                .is_some();
        let end = self.end_mut(is_client);
        end.epoch = epoch;
        end.trials = 0;
        // Without this one, records pass until the next one's keys fit.
        end.unsure = later.then_some(0);
        end.dead = keys.is_none() && !later;
        end.keys = keys;
    }

    fn keys_of(&self, is_client: bool, epoch: Epoch, known: Known<'_>) -> Option<Keys> {
        Keys::of(
            self.protection?,
            self.secret(label(is_client, epoch), known)?,
        )
    }

    fn updated(&self, is_client: bool) -> Option<Keys> {
        let protection = self.protection?;
        let secret = &self.end(is_client).keys.as_ref()?.secret;
        let prk = ring::hkdf::Prk::new_less_safe(protection.hkdf(), secret);
        let mut next = Zeroizing::new(vec![0; secret.len()]);
        expand_label(&prk, "traffic upd", &mut next)?;
        Keys::of(protection, next)
    }

    fn secret(&self, label: Label, known: Known<'_>) -> Option<Zeroizing<Vec<u8>>> {
        let (secret, _) = known.secrets.find(&self.random, label, known.at)?;
        Some(Zeroizing::new(secret.to_vec()))
    }

    fn end(&self, is_client: bool) -> &End {
        let [client, server] = &self.ends;
        if is_client { client } else { server }
    }

    fn end_mut(&mut self, is_client: bool) -> &mut End {
        let [client, server] = &mut self.ends;
        if is_client { client } else { server }
    }
}

/// Suites that early data may have: those of TLS 1.3 that are opened here.
const EARLY_SUITES: [u16; 5] = [0x1301, 0x1302, 0x1303, 0x1304, 0x1305];

struct Candidate {
    keys: Keys,
    epoch: Epoch,
}

impl Keys {
    /// Key and IV of a traffic secret (RFC 8446 §7.3).
    fn of(protection: Protection, secret: Zeroizing<Vec<u8>>) -> Option<Self> {
        // A secret of another hash's length is none of this suite.
        if (secret.len() == 48) != protection.sha384 {
            return None;
        }
        let prk = ring::hkdf::Prk::new_less_safe(protection.hkdf(), &secret);
        let (mut key, mut iv) = ([0; 32], [0; 12]);
        let of_cipher = key.get_mut(..protection.key_len())?;
        expand_label(&prk, "key", of_cipher)?;
        expand_label(&prk, "iv", &mut iv)?;
        let opener = Opener::of_13(protection, of_cipher, iv);
        key.zeroize();
        Some(Self {
            opener: opener?,
            secret,
        })
    }
}

fn label(is_client: bool, epoch: Epoch) -> Label {
    match (epoch, is_client) {
        (Epoch::Clear | Epoch::Early, _) => Label::ClientEarly,
        (Epoch::Handshake, true) => Label::ClientHandshake,
        (Epoch::Handshake, false) => Label::ServerHandshake,
        (Epoch::Application, true) => Label::ClientTraffic,
        (Epoch::Application, false) => Label::ServerTraffic,
    }
}

/// Tries a record as the next one and as those behind it; what fits lies in
/// `scratch`, and the opener is then behind it. What failed is counted.
fn attempt(
    opener: &mut Opener,
    header: [u8; HEADER],
    body: &[u8],
    scratch: &mut Vec<u8>,
    window: u64,
    vain: &mut u32,
) -> Option<Opened> {
    let first = opener.sequence;
    for missed in 0..=window.min(MAX_WINDOW) {
        opener.sequence = first.saturating_add(missed);
        scratch.clear();
        scratch.extend_from_slice(body);
        if let Some(opened) = opener.open(header, scratch) {
            return Some(opened);
        }
        *vain = vain.saturating_add(1);
    }
    opener.sequence = first;
    None
}

/// The keys of a session below TLS 1.3; `Ok(None)` when no secret is known,
/// an error when one is and cannot serve.
fn openers_below_13(
    keying: &Keying,
    known: Known<'_>,
) -> Result<Option<([Opener; 2], Source)>, &'static str> {
    let random = &keying.client_random;
    let master = known.secrets.find(random, Label::Master, known.at);
    let premaster = known
        .secrets
        .find(random, Label::Premaster, known.at)
        .or_else(|| known.secrets.premaster(&keying.premaster?, known.at));
    let Some((secret, source)) = master.or(premaster) else {
        return Ok(None);
    };
    let protection = suite(keying.suite)
        .as_ref()
        .and_then(Protection::of)
        .filter(|_| (0x0301..=0x0303).contains(&keying.version))
        .ok_or(UNREADABLE_SUITE)?;
    let prf = protection.prf(keying.version);
    let mut derived = Zeroizing::new([0; 48]);
    let master = if master.is_some() {
        secret
    } else {
        if keying.extended {
            return Err("a premaster secret does not open sessions with extended_master_secret");
        }
        let seed: [&[u8]; 3] = [b"master secret", random, &keying.server_random];
        prf.fill(secret, &seed, derived.as_mut_slice());
        derived.as_slice()
    };
    let seed: [&[u8]; 3] = [b"key expansion", &keying.server_random, random];
    let openers = protection
        .openers(keying.version, keying.etm, |block| {
            prf.fill(master, &seed, block);
        })
        .ok_or(UNREADABLE_SUITE)?;
    Ok(Some((openers, source)))
}

/// Why records with known secrets are not opened.
pub(super) const UNREADABLE_SUITE: &str = "records of this suite cannot be decrypted";
