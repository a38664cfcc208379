//! Measures the body of a request while it passes: see [`crate::proto::measure`].

use super::content::Coding;
use super::head::{self, Field};
use super::transaction::{HttpTransaction, Measured};
use crate::proto::measure::{Base64Runs, Histogram, MIN_RUN};

/// Bytes of a body that its entropy is of.
const SAMPLE: u64 = 64 << 10;

/// A body at work.
#[derive(Debug, Default)]
pub(super) enum Scan {
    /// Too short for any measure, or none that is measured.
    #[default]
    Off,
    /// Nothing of it came yet; whether it is under a content coding.
    Waiting(bool),
    /// Something of it came.
    On(Box<BodyScan>),
}

/// What is counted of a body.
#[derive(Debug)]
pub(super) struct BodyScan {
    histogram: Histogram,
    base64: Base64Runs,
    coded: bool,
}

impl Scan {
    /// For a request with these headers.
    pub(super) fn of_request(tx: &HttpTransaction, fields: &[Field<'_>]) -> Self {
        if tx.request.content_length.is_some_and(|len| len < MIN_RUN) {
            return Self::Off;
        }
        let coding = Coding::of(head::value(fields, b"content-encoding"));
        Self::Waiting(coding != Coding::Identity)
    }

    /// The next bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if let Self::Waiting(coded) = *self {
            *self = Self::On(Box::new(BodyScan {
                histogram: Histogram::of_first(SAMPLE),
                base64: Base64Runs::default(),
                coded,
            }));
        }
        if let Self::On(scan) = self {
            scan.histogram.push(bytes);
            scan.base64.push(bytes);
        }
    }

    /// Bytes are missing here.
    pub(super) fn gap(&mut self) {
        if let Self::On(scan) = self {
            scan.base64.gap();
        }
    }

    /// The body has ended.
    pub(super) fn finish(self, tx: &mut HttpTransaction) {
        let Self::On(scan) = self else { return };
        let scan = *scan;
        if scan.histogram.len() < MIN_RUN {
            return;
        }
        let (longest, total) = scan.base64.finish();
        tx.measured = Some(Measured {
            entropy: scan.histogram.entropy(),
            base64_bytes: total,
            base64_max_run_bytes: longest,
            coded: scan.coded,
        });
    }

    /// Heap bytes held.
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::On(_) => size_of::<BodyScan>() + 1_024,
            Self::Off | Self::Waiting(_) => 0,
        }
    }
}
