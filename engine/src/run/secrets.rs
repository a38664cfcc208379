//! What a run may decrypt with: the key logs that the user names, and the
//! Decryption Secrets Blocks that captures carry.
//!
//! The blocks of a pcapng file are looked through before its packets are, so
//! that a block serves whatever stands before it. A stream (standard input,
//! compressed files) is read once: its blocks serve the packets behind them.

use super::Observer;
use crate::anomaly::{Anomaly, AnomalyKind, AnomalyLog, Repeats};
use crate::capture::{CaptureFile, DecryptionSecrets};
use crate::evidence::PacketRef;
use crate::proto::secrets::{KeyLog, Source, Taken};
use crate::time::CaptureTime;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The text of a key log, and what its file is called. Never shown.
pub struct KeyLogText {
    /// Name of the file, for messages.
    pub name: String,
    /// What it holds; wiped when dropped.
    pub text: Zeroizing<Vec<u8>>,
}

impl KeyLogText {
    /// A key log by its file's name and its text.
    pub fn new(name: String, text: Vec<u8>) -> Self {
        Self {
            name,
            text: Zeroizing::new(text),
        }
    }
}

impl std::fmt::Debug for KeyLogText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyLogText")
            .field("name", &self.name)
            .finish_non_exhaustive()
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
        key_logs: &[KeyLogText],
        files: &[CaptureFile],
        observer: &'o dyn Observer,
    ) -> Self {
        let mut all = Self {
            log: Arc::new(KeyLog::new(limit)),
            anomalies: AnomalyLog::default(),
            observer,
        };
        for KeyLogText { name, text } in key_logs {
            all.take(text, Source::KeyLog, PacketRef::default(), name);
        }
        for (capture, file) in (0_u32..).zip(files) {
            let name = file.path().to_string_lossy();
            all.blocks(capture, &file.secrets_ahead(), |_| Source::Block, &name);
        }
        all
    }

    /// Those of a stream's blocks that have passed since.
    pub(super) fn pass(&mut self, capture: u32, file: &mut CaptureFile) {
        let new = file.secrets_passing();
        let name = file.path().to_string_lossy().into_owned();
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

    /// What was odd about them.
    pub(super) fn into_anomalies(self) -> Vec<Anomaly> {
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
        let Taken {
            secrets,
            malformed,
            left_out,
        } = log.add(text, source);
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
