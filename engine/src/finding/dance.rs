//! What only several flows together show: a client that tries lower and lower
//! versions after failed handshakes (the downgrade dance, RFC 7507 §1), and
//! whether a redirect to HTTPS was followed.

use super::gather::{Parties, bounded};
use crate::control::{Outcome, Severity, ns01};
use crate::evidence::{FlowId, PacketRef};
use crate::flow::{EndReason, FlowRecord};
use crate::proto::tls::{TlsHandshake, Version, version_name};
use crate::time::{CaptureTime, NANOS_PER_SECOND};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Longest pause between a failed attempt and its retry.
const RETRY_NS: i64 = 10 * NANOS_PER_SECOND;
/// Attempts that a gatherer remembers, and of one pair of hosts.
pub(super) const MAX_ATTEMPTS: usize = 8_192;
const MAX_OF_PAIR: usize = 64;

/// One attempt of a client.
#[derive(Clone, Debug)]
struct Attempt {
    /// The highest version offered, with its rank.
    highest: (u16, Version),
    became: Became,
    at: PacketRef,
    capture: u32,
    name: Option<Box<str>>,
}

/// How an attempt ended, as far as the capture tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Became {
    Established,
    /// An alert, or the end of the connection, cut it short.
    Failed,
    /// It merely does not go on in the capture, which proves nothing.
    Unknown,
}

/// For which name, when, and with which highest version.
type Failure = (Option<Box<str>>, CaptureTime, (u16, Version));
type Pair = (IpAddr, IpAddr, u16);
type When = (CaptureTime, FlowId);

/// Attempts that may be part of a dance: failed ones, and ones that offer less
/// than TLS 1.3. Beyond the caps the smallest are kept by pair and time, so
/// that the order in which they come does not matter.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    by_pair: BTreeMap<Pair, BTreeMap<When, Attempt>>,
    count: usize,
}

/// A retry with a lower version after a failure.
pub(super) struct Dance {
    pub(super) ts: CaptureTime,
    pub(super) at: PacketRef,
    pub(super) outcome: Outcome,
    pair: Pair,
    flow_id: FlowId,
    capture: u32,
    name: Option<Box<str>>,
}

impl Dance {
    pub(super) fn parties(&self) -> Parties<'_> {
        let (src, dst, dst_port) = self.pair;
        Parties {
            flow_id: self.flow_id,
            capture: self.capture,
            src,
            dst,
            dst_port,
            name: self.name.as_deref(),
            // Only what was not observed is measured in bytes.
            bytes: 0,
        }
    }
}

impl Attempts {
    pub(super) fn note(&mut self, flow: &FlowRecord, tls: &TlsHandshake) {
        let Some(highest) = ns01::highest_offered(tls) else {
            return;
        };
        if tls.established && highest.0 >= 0x0304 {
            return;
        }
        let became = if tls.established {
            Became::Established
        } else if !tls.alerts.is_empty()
            || matches!(flow.end_reason, EndReason::Fin | EndReason::Rst)
        {
            Became::Failed
        } else {
            Became::Unknown
        };
        let attempt = Attempt {
            highest,
            became,
            at: tls.first,
            capture: flow.first.capture,
            name: flow.server_name.as_deref().map(|name| bounded(name).into()),
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
        if self.count > MAX_ATTEMPTS
            && let Some(mut last) = self.by_pair.last_entry()
        {
            last.get_mut().pop_last();
            self.count -= 1;
            if last.get().is_empty() {
                last.remove();
            }
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (pair, attempts) in other.by_pair {
            for (when, attempt) in attempts {
                self.insert(pair, when, attempt);
            }
        }
    }

    /// Every lower attempt for a name that follows a failed higher one. One
    /// address serves many names; an attempt without one may be for any, since
    /// SSL 3.0 cannot carry it.
    pub(super) fn dances(self) -> Vec<Dance> {
        let mut dances = Vec::new();
        for (pair, attempts) in self.by_pair {
            let mut failed: Vec<Failure> = Vec::new();
            for ((ts, flow_id), attempt) in attempts {
                let same = |name: &Option<Box<str>>| match (name, &attempt.name) {
                    (Some(before), Some(now)) => before.eq_ignore_ascii_case(now),
                    _ => true,
                };
                let before = failed.iter().rev().find(|(name, ..)| same(name));
                if let Some(&(_, before, highest)) = before
                    && attempt.highest.0 < highest.0
                    && ts.nanos_since(before) <= RETRY_NS
                {
                    let from = version_name(highest.1);
                    let to = version_name(attempt.highest.1);
                    let reason = format!(
                        "after a handshake with up to {from} failed, the client retried with {to}"
                    );
                    let name = attempt.name.clone();
                    dances.push(Dance {
                        ts,
                        at: attempt.at,
                        outcome: Outcome::violated(
                            &ns01::DOWNGRADE,
                            Severity::High,
                            format!("retried with {to}"),
                            reason,
                        ),
                        pair,
                        flow_id,
                        capture: attempt.capture,
                        name,
                    });
                }
                if attempt.became != Became::Unknown {
                    failed.retain(|(name, ..)| !same(name));
                }
                if attempt.became == Became::Failed {
                    failed.push((attempt.name, ts, attempt.highest));
                }
            }
        }
        dances
    }
}

/// TLS connections that may have followed a redirect to HTTPS.
#[derive(Debug, Default)]
pub(super) struct Upgrades {
    /// Latest TLS handshake of a client with a name.
    tls: BTreeMap<(IpAddr, String), CaptureTime>,
    /// Some were left out: what is not here may have been.
    incomplete: bool,
}

/// Names that a gatherer remembers: the smallest, so that the order in which
/// they come does not matter.
pub(super) const MAX_NAMES: usize = 16_384;

impl Upgrades {
    pub(super) fn note_tls(&mut self, flow: &FlowRecord, tls: &TlsHandshake) {
        let name = tls
            .client
            .as_deref()
            .and_then(|client| client.server_name.as_deref());
        if let Some(name) = name {
            self.insert(flow.src, bounded(name).to_ascii_lowercase(), tls.ts);
        }
    }

    fn insert(&mut self, src: IpAddr, name: String, ts: CaptureTime) {
        let latest = self.tls.entry((src, name)).or_insert(ts);
        *latest = (*latest).max(ts);
        if self.tls.len() > MAX_NAMES {
            self.tls.pop_last();
            self.incomplete = true;
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.incomplete |= other.incomplete;
        for ((src, name), ts) in other.tls {
            self.insert(src, name, ts);
        }
    }

    /// Whether the client connected to this name over TLS after `since`;
    /// `None` when too many names were seen to tell.
    pub(super) fn followed(&self, src: IpAddr, name: &str, since: CaptureTime) -> Option<bool> {
        let found = self
            .tls
            .get(&(src, name.to_owned()))
            .is_some_and(|&ts| ts >= since);
        (found || !self.incomplete).then_some(found)
    }
}
