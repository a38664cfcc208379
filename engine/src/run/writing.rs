//! The rows that left the lanes in one round, written while the next round is
//! judged: which rows they are and in what order they stand depends on the input
//! alone, so that it does not matter when they are written.

use super::judge::Judged;
use super::order::Ordering;
use crate::error::Result;
use crate::finding::Gatherer;
use crate::policy::Policy;
use crate::seal::OutputSet;
use crate::table::{CertificateBook, DnsRow, HttpRow};
use rayon::prelude::*;

/// Of rows: see [`crate::flow::Ended::order`].
pub(super) type Order = (u64, u64, u32);

/// What one lane gave in a round.
#[derive(Default)]
pub(super) struct Rows {
    /// Each is taken once.
    pub(super) judged: Vec<Option<Judged>>,
    /// HTTP transactions with the order of [`crate::flow::Live::order`].
    pub(super) http: Vec<(Order, HttpRow)>,
    /// DNS rows likewise, in this order.
    pub(super) dns: Vec<(Order, DnsRow)>,
}

/// Writes rows, and keeps what is known only when they stand in their order.
pub(super) struct Writing<'p> {
    policy: &'p Policy,
    /// What the lanes gave in the round before; they take the emptied ones again.
    pub(super) rows: Vec<Rows>,
    pub(super) certificates: CertificateBook,
    /// HTTP transactions that wait for their turn in time.
    ordering: Ordering,
    /// What they showed together.
    pub(super) gatherer: Gatherer,
}

impl<'p> Writing<'p> {
    pub(super) fn new(policy: &'p Policy, lanes: usize) -> Self {
        Self {
            policy,
            rows: std::iter::repeat_with(Rows::default).take(lanes).collect(),
            certificates: CertificateBook::new(policy.limits.max_certificates),
            ordering: Ordering::default(),
            gatherer: Gatherer::new(policy),
        }
    }

    /// Flows that wait to be written.
    pub(super) fn flows(&self) -> u64 {
        self.rows.iter().map(|rows| rows.judged.len() as u64).sum()
    }

    /// Writes the rows of one round, by the packet that made them whole.
    pub(super) fn round(&mut self, outputs: &mut OutputSet) -> Result<()> {
        self.http(outputs)?;
        self.dns(outputs)?;
        let mut order: Vec<(Order, usize, usize)> = Vec::new();
        for (lane, rows) in self.rows.iter().enumerate() {
            let judged = rows.judged.iter().enumerate();
            order.extend(judged.filter_map(|(at, row)| Some((row.as_ref()?.order, lane, at))));
        }
        order.par_sort_unstable();
        for (_, lane, at) in order {
            let rows = self.rows.get_mut(lane);
            if let Some(judged) = rows.and_then(|rows| rows.judged.get_mut(at)?.take()) {
                self.flow(outputs, judged)?;
            }
        }
        for rows in &mut self.rows {
            rows.judged.clear();
        }
        Ok(())
    }

    /// Writes the rows of one lane after the other, each as they stand: for flows
    /// that end with the input.
    pub(super) fn as_they_stand(&mut self, lane: &mut Rows, outputs: &mut OutputSet) -> Result<()> {
        for (_, row) in lane.http.drain(..) {
            self.transaction(outputs, row)?;
        }
        for (_, row) in lane.dns.drain(..) {
            outputs.push_dns(row)?;
        }
        for judged in lane.judged.drain(..).flatten() {
            self.flow(outputs, judged)?;
        }
        Ok(())
    }

    /// No more transactions come: those that wait have their turn.
    pub(super) fn end(&mut self, outputs: &mut OutputSet) -> Result<()> {
        while let Some(row) = self.ordering.next(self.policy, &mut self.gatherer) {
            outputs.push_http(row)?;
        }
        Ok(())
    }

    fn dns(&mut self, outputs: &mut OutputSet) -> Result<()> {
        let mut order: Vec<(Order, usize)> = Vec::new();
        for (lane, rows) in self.rows.iter().enumerate() {
            order.extend(rows.dns.iter().map(|(order, _)| (*order, lane)));
        }
        order.par_sort_unstable();
        let lanes = self.rows.iter_mut();
        let mut rows: Vec<_> = lanes.map(|rows| rows.dns.drain(..)).collect();
        for (_, lane) in order {
            // Each lane's rows stand in this order already.
            if let Some((_, row)) = rows.get_mut(lane).and_then(Iterator::next) {
                outputs.push_dns(row)?;
            }
        }
        Ok(())
    }

    /// Takes HTTP transactions by the packet that made them whole; writes those
    /// whose turn in time it is.
    fn http(&mut self, outputs: &mut OutputSet) -> Result<()> {
        let lanes = self.rows.iter_mut();
        let mut rows: Vec<_> = lanes.flat_map(|rows| rows.http.drain(..)).collect();
        // Stable: rows of one packet keep the order in which they came.
        rows.par_sort_by_key(|(order, _)| *order);
        rows.into_iter()
            .try_for_each(|(_, row)| self.transaction(outputs, row))
    }

    fn transaction(&mut self, outputs: &mut OutputSet, row: HttpRow) -> Result<()> {
        self.ordering
            .push(self.policy, &mut self.gatherer, row, |row| {
                outputs.push_http(row)
            })
    }

    fn flow(&mut self, outputs: &mut OutputSet, judged: Judged) -> Result<()> {
        for anomaly in judged.anomalies {
            outputs.push_anomaly(anomaly)?;
        }
        for row in judged.tls {
            self.certificates
                .note_handshake(&row.handshake, &row.destination);
            outputs.push_tls(row)?;
        }
        for row in judged.credentials {
            outputs.push_credential(row)?;
        }
        outputs.push_flow(*judged.flow)
    }
}
