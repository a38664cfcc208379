//! Batches through decode and shards to rows, in an order that depends on the
//! input alone.

use super::reading::{Numbering, Reading};
use super::secrets::Secrets;
use super::writing::Writing;
use crate::anomaly::AnomalyLog;
use crate::capture::{Batch, CaptureFile, ResolvedName, Walked};
use crate::decode::{Datagrams, Decoded, Defragmenter, SHARDS};
use crate::error::Result;
use crate::evidence::PacketRef;
use crate::finding::Gatherer;
use crate::pki::Validator;
use crate::policy::Policy;
use crate::proto::credential::Redactor;
use crate::seal::OutputSet;
use crate::table::CertificateBook;
use rayon::prelude::*;
use std::ops::Range;

/// Packets after which flows that ended are judged and written: each may have
/// ended one, and all of them together would leave the caches.
const ROUND_PACKETS: u64 = 8_192;

/// Lanes whose open flows end together with the input.
const LANES_ENDED: usize = 8;

/// Everything that lives from the first packet to the last.
pub(super) struct Pipeline<'p> {
    policy: &'p Policy,
    decoded: Vec<Decoded>,
    defragmenter: Defragmenter,
    /// What the defragmenter's datagrams decode to; empty between chunks.
    of_datagrams: Decoded,
    /// Datagrams put together in this batch.
    datagrams: Datagrams,
    reading: Reading<'p>,
    /// The rows of the round before, and where they go.
    writing: Writing<'p>,
    secrets: Secrets<'p>,
    /// Packets of all files so far.
    packets: u64,
}

/// What all lanes gathered.
pub(super) struct Gathered<'p> {
    pub(super) secrets: Secrets<'p>,
    pub(super) gatherer: Gatherer,
    pub(super) certificates: CertificateBook,
    /// OCSP responses and revocation lists that passed and were left out.
    pub(super) revocations_left_out: u64,
}

/// What a batch's walk counted, in file order.
pub(super) struct BatchDone {
    pub(super) walked: Vec<Walked>,
    pub(super) end: u64,
}

impl<'p> Pipeline<'p> {
    pub(super) fn new(
        policy: &'p Policy,
        validator: &'p Validator,
        secrets: Secrets<'p>,
        redactor: &Redactor,
    ) -> Self {
        Self {
            policy,
            decoded: Vec::new(),
            defragmenter: Defragmenter::new(&policy.limits),
            of_datagrams: Decoded::new(),
            datagrams: Datagrams::default(),
            reading: Reading::new(policy, validator, &secrets.shared(), redactor),
            writing: Writing::new(policy, SHARDS),
            secrets,
            packets: 0,
        }
    }

    /// Takes the names that the file gives to addresses.
    pub(super) fn note_names(&mut self, capture: u32, names: &[ResolvedName]) {
        self.reading.note_names(capture, names);
    }

    /// Takes in the secrets that passed in a stream since its last batch.
    pub(super) fn learn(&mut self, capture: u32, file: &mut CaptureFile) {
        if file.has_secrets_passing() {
            for lane in &mut self.reading.lanes {
                lane.shard.secrets = None;
            }
            self.secrets.pass(capture, file);
            let secrets = self.secrets.shared();
            for lane in &mut self.reading.lanes {
                lane.shard.secrets.clone_from(&secrets);
            }
        }
    }

    /// Takes one batch: decodes its chunks in parallel, puts fragments
    /// together, and reads and writes round by round. `frames` counts this file's packets.
    pub(super) fn batch(
        &mut self,
        batch: &Batch,
        capture: u32,
        frames: &mut u64,
        damage: &mut AnomalyLog,
        outputs: &mut OutputSet,
    ) -> Result<BatchDone> {
        let (walked, end) = self.decode(batch);
        let mut numbering = Vec::with_capacity(walked.len());
        for chunk in &walked {
            numbering.push(Numbering {
                frames: *frames,
                global: self.packets,
            });
            *frames += chunk.packets;
            self.packets += chunk.packets;
        }
        self.defragment(batch, capture, &numbering, damage);
        let mut done = 0;
        while done < walked.len() {
            let round = done..done + round(walked.get(done..).unwrap_or_default());
            done = round.end;
            self.round(batch, capture, &numbering, round, damage, outputs)?;
        }
        Ok(BatchDone { walked, end })
    }

    /// Walks and decodes the chunks in parallel; a chunk that began in the
    /// wrong place is walked again from the right one.
    fn decode(&mut self, batch: &Batch) -> (Vec<Walked>, u64) {
        let chunks = batch.chunks();
        let limits = &self.policy.limits;
        while self.decoded.len() < chunks.len() {
            self.decoded.push(Decoded::new());
        }
        for decoded in &mut self.decoded {
            decoded.clear();
        }
        let mut walked: Vec<Walked> = chunks
            .par_iter()
            .zip(&mut self.decoded)
            .map(|(chunk, decoded)| chunk.walk(|packet| decoded.packet(&packet, limits)))
            .collect();
        let mut end = batch.start();
        for ((chunk, decoded), walked) in chunks.iter().zip(&mut self.decoded).zip(&mut walked) {
            if walked.start != end {
                decoded.clear();
                *walked = chunk.walk_from(end, |packet| decoded.packet(&packet, limits));
            }
            end = walked.end;
        }
        (walked, end)
    }

    /// Puts fragments together, serially and in packet order: a datagram
    /// belongs to the packet that completes it.
    fn defragment(
        &mut self,
        batch: &Batch,
        capture: u32,
        numbering: &[Numbering],
        damage: &mut AnomalyLog,
    ) {
        self.datagrams.clear();
        for (decoded, numbering) in self.decoded.iter_mut().zip(numbering) {
            if decoded.fragments.is_empty() {
                continue;
            }
            for fragment in &decoded.fragments {
                let at = PacketRef {
                    capture,
                    frame: numbering.frames + u64::from(fragment.index) + 1,
                    offset: fragment.record_offset,
                };
                let bytes = batch
                    .bytes(fragment.payload_offset, fragment.payload_len as usize)
                    .unwrap_or_default();
                self.defragmenter.push(
                    fragment,
                    at,
                    bytes,
                    &mut self.datagrams,
                    &mut self.of_datagrams,
                    damage,
                );
            }
            let more = &mut self.of_datagrams;
            for (shard, segments) in decoded.shards.iter_mut().zip(&mut more.shards) {
                if !segments.is_empty() {
                    shard.append(segments);
                    shard.sort_by_key(|segment| segment.index);
                }
            }
            decoded.counters.add(&more.counters);
            decoded.oddities.merge(&more.oddities);
            more.clear();
        }
    }

    /// Reads one round, and judges it while the rows of the one before are written.
    fn round(
        &mut self,
        batch: &Batch,
        capture: u32,
        numbering: &[Numbering],
        round: Range<usize>,
        damage: &mut AnomalyLog,
        outputs: &mut OutputSet,
    ) -> Result<()> {
        let decoded = self.decoded.get(round.clone()).unwrap_or_default();
        let numbering = numbering.get(round).unwrap_or_default();
        let (reading, writing) = (&mut self.reading, &mut self.writing);
        let datagrams = &self.datagrams;
        reading.feed(batch, capture, datagrams, decoded, numbering);
        // What is done in the order of packets keeps one thread busy in either.
        let (written, ()) = rayon::join(
            || writing.round(outputs),
            || {
                reading.name(damage);
                reading.judge();
                reading.relieve();
            },
        );
        written?;
        for (lane, rows) in reading.lanes.iter_mut().zip(&mut writing.rows) {
            std::mem::swap(&mut lane.rows, rows);
        }
        Ok(())
    }

    /// Packets of all files so far.
    pub(super) fn packets(&self) -> u64 {
        self.packets
    }

    /// Flows that have begun and are not written yet.
    pub(super) fn open_flows(&self) -> u64 {
        let lanes = self.reading.lanes.iter();
        let open = lanes.map(|lane| lane.shard.open() as u64).sum::<u64>();
        open + self.writing.flows()
    }

    /// What was decoded of the last batch's chunks, in file order.
    pub(super) fn decoded(&self) -> &[Decoded] {
        &self.decoded
    }

    /// The input has ended: so do all open flows, shard by shard.
    pub(super) fn finish(
        mut self,
        damage: &mut AnomalyLog,
        outputs: &mut OutputSet,
    ) -> Result<Gathered<'p>> {
        self.defragmenter.end(damage);
        let (reading, writing) = (&mut self.reading, &mut self.writing);
        writing.round(outputs)?;
        for range in few_lanes() {
            reading.end_lanes(range.clone());
            for lane in reading.lanes.get_mut(range).unwrap_or_default() {
                writing.as_they_stand(&mut lane.rows, outputs)?;
                reading.gatherer.take(&mut lane.gatherer);
            }
        }
        if !reading.is_complete() {
            let known = writing.certificates.certificates();
            let pool = reading.pool(known.map(|certificate| &certificate.der));
            for range in few_lanes() {
                reading.complete_lanes(range.clone(), &pool);
                for lane in reading.lanes.get_mut(range).unwrap_or_default() {
                    writing.as_they_stand(&mut lane.rows, outputs)?;
                }
            }
        }
        writing.end(outputs)?;
        let mut gatherer = self.reading.gatherer;
        for lane in self.reading.lanes {
            gatherer.merge(lane.gatherer);
        }
        gatherer.merge(self.writing.gatherer);
        Ok(Gathered {
            secrets: self.secrets,
            gatherer,
            certificates: self.writing.certificates,
            revocations_left_out: self.reading.evidence.left_out(),
        })
    }
}

/// A few lanes at a time, so that the rows of all open flows never stand in
/// memory together.
fn few_lanes() -> impl Iterator<Item = Range<usize>> {
    (0..SHARDS)
        .step_by(LANES_ENDED)
        .map(|first| first..SHARDS.min(first + LANES_ENDED))
}

/// How many chunks make the next round.
fn round(walked: &[Walked]) -> usize {
    let mut packets = 0_u64;
    let fits = walked.iter().take_while(|chunk| {
        packets = packets.saturating_add(chunk.packets);
        packets <= ROUND_PACKETS
    });
    fits.count().max(1)
}
