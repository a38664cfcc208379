//! The content of one flow with what it needs at hand, for the time of one
//! segment. A parser that panics loses its flow's facts, not the run.

use super::Content;
use crate::anomaly::{AnomalyKind, AnomalyLog};
use crate::evidence::PacketRef;
use crate::flow::reassembly::Event;
use crate::policy::Limits;
use crate::proto::credential::Redactor;
use crate::proto::secrets::KeyLog;
use crate::proto::x509::CertificateCache;
use crate::proto::{Cx, Direction, LiveRow, Want};
use crate::time::CaptureTime;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A flow's content with what it needs at hand. A parser that panics loses its
/// flow's facts, not the run.
pub(super) struct Reader<'a, C: Content> {
    pub(super) content: &'a mut Option<Box<C>>,
    pub(super) over: &'a mut bool,
    pub(super) anomalies: &'a mut AnomalyLog,
    pub(super) certificates: &'a mut CertificateCache,
    pub(super) redactor: &'a Redactor,
    pub(super) limits: &'a Limits,
    pub(super) ts: CaptureTime,
    pub(super) packet: PacketRef,
    pub(super) ports: (u16, u16),
    pub(super) rows: &'a mut Vec<LiveRow>,
    pub(super) secrets: Option<&'a KeyLog>,
    /// The content was given something, and may hold more or less than before.
    pub(super) has_read: bool,
}

impl<C: Content> Reader<'_, C> {
    pub(super) fn note(&mut self, kind: AnomalyKind, detail: impl FnOnce() -> String) {
        self.anomalies.note(kind, self.ts, self.packet, detail);
    }

    pub(super) fn event(&mut self, direction: Direction, event: Event<'_>) -> Want {
        match event {
            Event::Data(bytes) => self.read(|content, cx| content.data(cx, direction, bytes)),
            // A gap before anything was seen says nothing about the content yet.
            Event::Gap(len) => self.read(|content, cx| content.gap(cx, direction, len)),
            Event::Skipped(len) => {
                self.skipped(direction, len);
                Want::Bytes
            }
        }
    }

    pub(super) fn datagram(&mut self, direction: Direction, bytes: &[u8]) -> Want {
        self.read(|content, cx| content.datagram(cx, direction, bytes))
    }

    pub(super) fn skipped(&mut self, direction: Direction, len: u64) {
        if let Some(content) = self.content {
            content.skipped(direction, len);
        }
    }

    fn read(&mut self, act: impl FnOnce(&mut C, &mut Cx<'_>) -> Want) -> Want {
        if *self.over {
            return Want::Nothing;
        }
        self.has_read = true;
        let content = self.content.get_or_insert_default();
        let mut cx = Cx {
            ts: self.ts,
            packet: self.packet,
            anomalies: self.anomalies,
            limits: self.limits,
            certificates: self.certificates,
            redactor: self.redactor,
            ports: self.ports,
            rows: self.rows,
            secrets: self.secrets,
        };
        match catch_unwind(AssertUnwindSafe(|| act(content, &mut cx))) {
            Ok(want) => want,
            Err(_) => {
                self.failed();
                Want::Nothing
            }
        }
    }

    pub(super) fn end(&mut self) -> C::Facts {
        let Some(content) = self.content.take() else {
            return C::Facts::default();
        };
        let mut cx = Cx {
            ts: self.ts,
            packet: self.packet,
            anomalies: self.anomalies,
            limits: self.limits,
            certificates: self.certificates,
            redactor: self.redactor,
            ports: self.ports,
            rows: self.rows,
            secrets: self.secrets,
        };
        catch_unwind(AssertUnwindSafe(|| content.end(&mut cx))).unwrap_or_else(|_| {
            self.failed();
            C::Facts::default()
        })
    }

    fn failed(&mut self) {
        *self.over = true;
        *self.content = None;
        self.note(AnomalyKind::InternalError, || {
            "a parser failed inside; this flow has no facts of its content".to_owned()
        });
    }
}
