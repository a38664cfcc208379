//! What a run may decrypt with: the key logs that the user names, and the
//! Decryption Secrets Blocks that captures carry.
//!
//! The blocks of a pcapng file are looked through before its packets are, so
//! that a block serves whatever stands before it. A stream (standard input,
//! compressed files) is read once: its blocks serve the packets behind them.

use super::Observer;
use crate::anomaly::{Anomaly, AnomalyKind, AnomalyLog, Repeats};
use crate::capture::{CaptureFile, DecryptionSecrets, text_of};
use crate::evidence::PacketRef;
use crate::policy::Limits;
use crate::proto::secrets::{KeyLog, Source, Taken};
use crate::time::CaptureTime;
use std::io::Read;
use std::sync::Arc;

/// The secrets of the key logs that the user names. Never shown.
#[derive(Debug)]
pub struct KeyLogs {
    log: Arc<KeyLog>,
    /// Name of each file, for messages, and what its lines came to.
    files: Vec<(String, Taken)>,
}

/// Largest key log: more than `limits.keylog_secrets` allows by default.
const MAX_KEY_LOG: u64 = 256 << 20;

impl KeyLogs {
    /// None so far; room for as many secrets as the limit says.
    pub fn new(limits: &Limits) -> Self {
        Self {
            log: Arc::new(KeyLog::new(limits.keylog_secrets)),
            files: Vec::new(),
        }
    }

    /// Reads a key log. Of its text only the secrets that can serve are kept.
    ///
    /// # Errors
    ///
    /// When it cannot be read, is larger than 256 MiB, or holds something and no
    /// secret: it is something else than a key log.
    pub fn read(&mut self, name: String, from: impl Read) -> std::io::Result<()> {
        let shared = || std::io::Error::other("is read while a run uses the others");
        let log = Arc::get_mut(&mut self.log).ok_or_else(shared)?;
        let taken = log.read(from, MAX_KEY_LOG, Source::KeyLog)?;
        if taken.secrets == 0 && taken.left_out == 0 && taken.malformed > 0 {
            return Err(std::io::Error::other(
                "no line of it is a secret (SSLKEYLOGFILE format)",
            ));
        }
        self.files.push((name, taken));
        Ok(())
    }
}

impl Default for KeyLogs {
    fn default() -> Self {
        Self::new(&Limits::default())
    }
}

/// Registered type of a TLS key log (pcapng §4.7).
const TLS_KEY_LOG: u32 = 0x544c_534b;

/// All secrets, shared with the shards.
pub(super) struct Secrets<'o> {
    log: Arc<KeyLog>,
    anomalies: AnomalyLog,
    observer: &'o dyn Observer,
}

impl<'o> Secrets<'o> {
    /// Those of key logs and of the blocks of mapped files.
    pub(super) fn gather(
        limit: usize,
        key_logs: &KeyLogs,
        files: &[CaptureFile],
        observer: &'o dyn Observer,
    ) -> Self {
        let mut all = Self {
            log: Arc::new(KeyLog::over(Arc::clone(&key_logs.log), limit)),
            anomalies: AnomalyLog::default(),
            observer,
        };
        for (name, taken) in &key_logs.files {
            all.note(*taken, Source::KeyLog, PacketRef::default(), name);
        }
        for (capture, file) in (0_u32..).zip(files) {
            let name = text_of(file.path());
            all.blocks(capture, &file.secrets_ahead(), |_| Source::Block, &name);
        }
        all
    }

    /// Those of a stream's blocks that have passed since.
    pub(super) fn pass(&mut self, capture: u32, file: &mut CaptureFile) {
        let new = file.secrets_passing();
        let name = text_of(file.path());
        let passing = |offset| Source::Passing { capture, offset };
        self.blocks(capture, &new, passing, &name);
    }

    /// For the shards; none when there is nothing to decrypt with. Nobody may
    /// hold it while [`Self::pass`] adds to it, or the new ones are left out.
    pub(super) fn shared(&self) -> Option<Arc<KeyLog>> {
        (!self.log.is_empty()).then(|| Arc::clone(&self.log))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.log.len()
    }

    /// How many belong to a connection of the captures.
    pub(super) fn met(&self) -> usize {
        self.log.met()
    }

    /// What was odd about them, now that all captures were read.
    pub(super) fn into_anomalies(mut self) -> Vec<Anomaly> {
        let (known, met) = (self.log.len() as u64, self.log.met());
        if known > 0 && met == 0 {
            let what = "none of the secrets belongs to a connection of the captures";
            self.observer.warning(&format!(
                "key log: 0 of {known} secrets matched a connection"
            ));
            let repeats = Repeats {
                first: PacketRef::default(),
                last: PacketRef::default(),
                count: known,
            };
            let start = CaptureTime::from_nanos(0);
            self.anomalies
                .note_repeats(AnomalyKind::KeyLogUnmatched, start, repeats, || {
                    what.to_owned()
                });
        }
        self.anomalies.into_rows(None)
    }

    fn blocks(
        &mut self,
        capture: u32,
        blocks: &[DecryptionSecrets],
        source: impl Fn(u64) -> Source,
        name: &str,
    ) {
        for block in blocks.iter().filter(|block| block.kind == TLS_KEY_LOG) {
            let at = PacketRef {
                capture,
                frame: 0,
                offset: block.offset,
            };
            self.take(&block.data, source(block.offset), at, name);
        }
    }

    fn take(&mut self, text: &[u8], source: Source, at: PacketRef, name: &str) {
        let Some(log) = Arc::get_mut(&mut self.log) else {
            return;
        };
        let taken = log.add(text, source);
        self.note(taken, source, at, name);
    }

    /// Says what lines came to.
    fn note(&mut self, taken: Taken, source: Source, at: PacketRef, name: &str) {
        let Taken {
            secrets,
            malformed,
            left_out,
        } = taken;
        tracing::debug!(secrets, malformed, left_out, "key log");
        for (kind, count, what) in [
            (
                AnomalyKind::KeyLogMalformed,
                malformed,
                "lines are no secrets",
            ),
            (
                AnomalyKind::KeyLogLimit,
                left_out,
                "secrets exceed limits.keylog_secrets",
            ),
        ] {
            if count == 0 {
                continue;
            }
            self.observer
                .warning(&format!("{name}: {count} {what} and are not used"));
            let repeats = Repeats {
                first: at,
                last: at,
                count,
            };
            let source = source.name();
            self.anomalies
                .note_repeats(kind, CaptureTime::from_nanos(0), repeats, || {
                    format!("{source}: {what}")
                });
        }
    }
}
