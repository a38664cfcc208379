//! What only several flows together show: a client that tries lower and lower
//! versions after failed handshakes (the downgrade dance, RFC 7507 §1), and
//! whether a redirect to HTTPS was followed.

use crate::control::{Outcome, Severity, ns01};
use crate::evidence::PacketRef;
use crate::flow::FlowRecord;
use crate::proto::tls::{TlsHandshake, Version, version_name};
use crate::time::{CaptureTime, NANOS_PER_SECOND};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Longest pause between a failed attempt and its retry.
const RETRY_NS: i64 = 10 * NANOS_PER_SECOND;
/// Attempts that one shard remembers between merges, and for one pair of hosts.
const MAX_ATTEMPTS: usize = 1_024;
const MAX_OF_PAIR: usize = 64;

/// One attempt of a client.
#[derive(Clone, Debug)]
struct Attempt {
    highest: u16,
    established: bool,
    at: PacketRef,
    flow: FlowRecord,
}

type Pair = (IpAddr, IpAddr, u16);
type When = (CaptureTime, crate::evidence::FlowId);

/// Attempts that may be part of a dance: failed ones, and ones that offer less
/// than TLS 1.3.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    by_pair: BTreeMap<Pair, BTreeMap<When, Attempt>>,
    count: usize,
}

/// A retry with a lower version after a failure.
pub(super) struct Dance {
    pub(super) ts: CaptureTime,
    pub(super) at: PacketRef,
    pub(super) flow: FlowRecord,
    pub(super) outcome: Outcome,
}

impl Attempts {
    pub(super) fn note(&mut self, flow: &FlowRecord, tls: &TlsHandshake) {
        let Some(client) = tls.client.as_deref() else {
            return;
        };
        let highest = client
            .supported_versions
            .iter()
            .copied()
            .max()
            .unwrap_or(client.version);
        if (tls.established && highest >= 0x0304) || self.count >= MAX_ATTEMPTS {
            return;
        }
        let attempt = Attempt {
            highest,
            established: tls.established,
            at: tls.first,
            flow: flow.clone(),
        };
        let pair = (flow.src, flow.dst, flow.dst_port);
        self.insert(pair, (tls.ts, flow.flow_id), attempt);
    }

    fn insert(&mut self, pair: Pair, when: When, attempt: Attempt) {
        let attempts = self.by_pair.entry(pair).or_default();
        if attempts.insert(when, attempt).is_none() {
            self.count += 1;
        }
        if attempts.len() > MAX_OF_PAIR {
            attempts.pop_last();
            self.count -= 1;
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (pair, attempts) in other.by_pair {
            for (when, attempt) in attempts {
                self.insert(pair, when, attempt);
            }
        }
    }

    /// Every lower attempt that follows a failed higher one.
    pub(super) fn dances(self) -> Vec<Dance> {
        let mut dances = Vec::new();
        for attempts in self.by_pair.into_values() {
            let mut failed: Option<(CaptureTime, u16)> = None;
            for ((ts, _), attempt) in attempts {
                if let Some((before, highest)) = failed
                    && attempt.highest < highest
                    && ts.nanos_since(before) <= RETRY_NS
                {
                    let (from, to) = (
                        version_name(Version(highest)),
                        version_name(Version(attempt.highest)),
                    );
                    dances.push(Dance {
                        ts,
                        at: attempt.at,
                        outcome: Outcome::violated(
                            &ns01::DOWNGRADE,
                            Severity::High,
                            format!("retried with {to}"),
                            format!("after a handshake with up to {from} failed, the client retried with {to}"),
                        ),
                        flow: attempt.flow,
                    });
                }
                failed = (!attempt.established).then_some((ts, attempt.highest));
            }
        }
        dances
    }
}

/// TLS connections that may have followed a redirect to HTTPS.
#[derive(Debug, Default)]
pub(super) struct Upgrades {
    /// Latest TLS handshake of a client with a name, for names that it was sent to.
    tls: BTreeMap<(IpAddr, String), CaptureTime>,
}

/// Names that one shard remembers between merges, and all shards together.
const MAX_NAMES: usize = 65_536;

impl Upgrades {
    pub(super) fn note_tls(&mut self, flow: &FlowRecord, tls: &TlsHandshake) {
        let name = tls
            .client
            .as_deref()
            .and_then(|client| client.server_name.as_deref());
        if let Some(name) = name {
            self.insert(flow.src, name.to_ascii_lowercase(), tls.ts);
        }
    }

    fn insert(&mut self, src: IpAddr, name: String, ts: CaptureTime) {
        if self.tls.len() >= MAX_NAMES && !self.tls.contains_key(&(src, name.clone())) {
            return;
        }
        let latest = self.tls.entry((src, name)).or_insert(ts);
        *latest = (*latest).max(ts);
    }

    pub(super) fn merge(&mut self, other: Self) {
        for ((src, name), ts) in other.tls {
            self.insert(src, name, ts);
        }
    }

    /// Whether the client connected to this name over TLS after `since`.
    pub(super) fn followed(&self, src: IpAddr, name: &str, since: CaptureTime) -> bool {
        self.tls
            .get(&(src, name.to_owned()))
            .is_some_and(|&ts| ts >= since)
    }
}
