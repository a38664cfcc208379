//! What readers are given in tests: all that a [`Cx`] borrows, in one place.

use super::credential::Redactor;
use super::secrets::KeyLog;
use super::x509::CertificateCache;
use super::{Cx, LiveRow};
use crate::anomaly::AnomalyLog;
use crate::evidence::PacketRef;
use crate::policy::Limits;
use crate::time::CaptureTime;

/// What stands around a reader, and what it leaves behind.
pub(crate) struct Stage {
    pub(crate) limits: Limits,
    pub(crate) anomalies: AnomalyLog,
    pub(crate) rows: Vec<LiveRow>,
    pub(crate) ports: (u16, u16),
    certificates: CertificateCache,
    redactor: Redactor,
}

impl Stage {
    /// Nothing has happened; ports of the originator and the responder.
    pub(crate) fn new(ports: (u16, u16)) -> Self {
        Self {
            limits: Limits::default(),
            anomalies: AnomalyLog::default(),
            rows: Vec::new(),
            ports,
            certificates: CertificateCache::default(),
            redactor: Redactor::unkeyed(),
        }
    }

    /// The first packet, at the beginning of time.
    pub(crate) fn cx<'a>(&'a mut self, secrets: Option<&'a KeyLog>) -> Cx<'a> {
        Cx {
            ts: CaptureTime::from_nanos(0),
            packet: PacketRef::default(),
            anomalies: &mut self.anomalies,
            limits: &self.limits,
            certificates: &mut self.certificates,
            redactor: &self.redactor,
            ports: self.ports,
            rows: &mut self.rows,
            secrets,
        }
    }
}
