//! By which name an address was known when a flow to it began: from answers of
//! the DNS in the same input, the client's own before those of others, and from
//! what a capture file itself says (pcapng Name Resolution Blocks).
//!
//! Answers and flows live in different shards; both are taken here in the order
//! of their packets, so that what is found depends on the input alone. The cost
//! is one look-up for a flow, and none where there are no answers.

use crate::anomaly::{AnomalyKind, AnomalyLog};
use crate::capture::ResolvedName;
use crate::evidence::FlowId;
use crate::flow::{Ended, FlowRecord, Live, NameOrigin, NameSource};
use crate::proto::dns::a_label::host_name;
use crate::proto::dns::{DnsQuery, Transport, names};
use crate::proto::{LiveRow, SessionFacts};
use crate::time::CaptureTime;
use foldhash::quality::RandomState;
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

/// Overlay network, client (none for anybody's), address.
type Key = (u32, Option<IpAddr>, IpAddr);

/// Names of one address that are kept: a flow may have begun before the latest.
const MAX_NAMES: usize = 4;
/// Bytes of names that are kept for one address of one client, on average.
const MEAN_NAME: usize = 128;
/// Names that capture files give to addresses, over all files.
const MAX_FILE_NAMES: usize = 65_536;
/// Longest of them, bytes (RFC 1035 §2.3.4).
const MAX_FILE_NAME: usize = 253;

/// How far a name is believed. The client's own question says what it looked
/// for, but several names may share the address (hosting, CDNs); what another
/// client asked for says less; what a file says may be from any time.
const OWN: f32 = 0.9;
const OWN_SHARED: f32 = 0.6;
const OTHERS: f32 = 0.5;
const OTHERS_SHARED: f32 = 0.3;
const OF_FILE: f32 = 0.2;

/// The names by which clients know addresses.
#[derive(Debug)]
pub(super) struct Naming {
    known: HashMap<Key, Names, RandomState>,
    /// Keys with the packet that touched them; stale when touched again.
    oldest: VecDeque<(Key, u64)>,
    /// Entries, and bytes of names, that are kept.
    max: usize,
    bytes: usize,
    /// By the files' own word: where the block stands, and the name.
    of_files: HashMap<IpAddr, ((u32, u64), Box<str>), RandomState>,
    files_taken: (u32, usize),
}

/// The names of one address, the latest last.
#[derive(Debug, Default)]
struct Names {
    names: Vec<Known>,
    /// The packet that touched them last.
    touched: u64,
}

/// A name, and the first and the latest answer that gave it.
#[derive(Debug)]
struct Known {
    name: Arc<str>,
    first: At,
    last: At,
}

/// An answer: its packet's number, its time, its flow.
#[derive(Clone, Copy, Debug)]
struct At {
    packet: u64,
    ts: CaptureTime,
    flow: FlowId,
}

/// Whether a row says under which name somebody knows an address.
pub(super) fn names_an_address(live: &Live) -> bool {
    let LiveRow::Dns(query) = &live.row else {
        return false;
    };
    // An answer that nobody asked for is not believed.
    let asked = query.query_flags.is_some() && query.ts_response.is_some();
    asked
        && matches!(query.transport, Transport::Udp | Transport::Tcp)
        && query.answers().any(|answer| answer.address().is_some())
}

/// Whether another's word may say more of a flow than its address: not of the
/// look-ups themselves, which go to whoever the host was told to ask.
pub(super) fn wants_name(ended: &Ended<SessionFacts>) -> bool {
    let plain = ended.facts.plaintext.as_deref();
    plain.is_none_or(|plain| plain.dns_messages == 0)
}

impl Naming {
    pub(super) fn new(max: usize) -> Self {
        Self {
            known: HashMap::default(),
            oldest: VecDeque::new(),
            max: max.max(1),
            bytes: 0,
            of_files: HashMap::default(),
            files_taken: (0, 0),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty() && self.of_files.is_empty()
    }

    /// Takes what a file has said so far of addresses; the first word counts.
    pub(super) fn note_file(&mut self, capture: u32, names: &[ResolvedName]) {
        if self.files_taken.0 != capture {
            self.files_taken = (capture, 0);
        }
        for name in names.iter().skip(self.files_taken.1) {
            if self.of_files.len() < MAX_FILE_NAMES && is_name(&name.name) {
                let place = (capture, name.offset);
                self.of_files
                    .entry(name.address.to_canonical())
                    .or_insert_with(|| (place, host_name(&name.name).into()));
            }
        }
        self.files_taken.1 = self.files_taken.1.max(names.len());
    }

    /// Takes an answer; they must come in the order of their packets.
    pub(super) fn note(&mut self, live: &Live, odd: &mut AnomalyLog) {
        let LiveRow::Dns(query) = &live.row else {
            return;
        };
        let at = At {
            packet: live.order.0,
            ts: query.ts_response.unwrap_or(query.ts),
            flow: live.flow.flow_id,
        };
        let Some(name) = name_of(query) else { return };
        for address in query.answers().filter_map(|answer| answer.address()) {
            for client in [Some(live.flow.src), None] {
                self.note_address((live.flow.scope, client, address), &name, at);
            }
        }
        if self.make_room() {
            odd.note(AnomalyKind::LimitEvicted, at.ts, live.flow.first, || {
                "limits.dns_names: the names of addresses asked for long ago are forgotten"
                    .to_owned()
            });
        }
    }

    fn note_address(&mut self, key: Key, name: &Arc<str>, at: At) {
        let of_address = self.known.entry(key).or_default();
        let names = &mut of_address.names;
        match names.last_mut() {
            Some(latest) if latest.name == *name => latest.last = at,
            _ => {
                if names.len() >= MAX_NAMES {
                    let gone = names.remove(0);
                    self.bytes = self.bytes.saturating_sub(gone.name.len());
                }
                names.reserve_exact(1);
                self.bytes = self.bytes.saturating_add(name.len());
                names.push(Known {
                    name: Arc::clone(name),
                    first: at,
                    last: at,
                });
            }
        }
        of_address.touched = at.packet;
        self.oldest.push_back((key, at.packet));
    }

    /// Forgets what was not asked for again for the longest time. Says whether
    /// anything had to go.
    fn make_room(&mut self) -> bool {
        if self.oldest.len() > self.max.saturating_mul(2).saturating_add(64) {
            let known = &self.known;
            self.oldest
                .retain(|(key, packet)| is_latest(known.get(key), *packet));
        }
        let mut evicted = false;
        while (self.known.len() > self.max || self.bytes > self.max.saturating_mul(MEAN_NAME))
            && let Some((key, packet)) = self.oldest.pop_front()
        {
            if is_latest(self.known.get(&key), packet)
                && let Some(gone) = self.known.remove(&key)
            {
                let bytes: usize = gone.names.iter().map(|known| known.name.len()).sum();
                self.bytes = self.bytes.saturating_sub(bytes);
                evicted = true;
            }
        }
        evicted
    }

    /// Names the destination of a flow by what was known before it began.
    pub(super) fn name(&self, ended: &mut Ended<SessionFacts>) {
        let (_, began, _) = ended.order;
        let flow = &mut *ended.record;
        let of = |client| self.known.get(&(flow.scope, client, flow.dst));
        let found = [
            (Some(flow.src), OWN, OWN_SHARED),
            (None, OTHERS, OTHERS_SHARED),
        ]
        .into_iter()
        .find_map(|(client, sure, shared)| {
            let names = &of(client)?.names;
            let mut before = names
                .iter()
                .rev()
                .filter(|known| known.first.packet < began);
            let known = before.next()?;
            let is_shared = before.any(|other| other.name != known.name);
            Some((known, if is_shared { shared } else { sure }))
        });
        if let Some((known, confidence)) = found {
            let at = if known.last.packet < began {
                known.last
            } else {
                known.first
            };
            let origin = NameOrigin {
                confidence: Some(confidence),
                age_ns: Some(flow.ts.nanos_since(at.ts)),
                flow: Some(at.flow),
            };
            return set(flow, &known.name, NameSource::Dns, origin);
        }
        let place = (flow.first.capture, flow.first.offset);
        if let Some((said_at, name)) = self.of_files.get(&flow.dst.to_canonical())
            && *said_at < place
        {
            let origin = NameOrigin {
                confidence: Some(OF_FILE),
                ..NameOrigin::default()
            };
            set(flow, name, NameSource::CaptureFile, origin);
        }
    }
}

fn set(flow: &mut FlowRecord, name: &str, source: NameSource, origin: NameOrigin) {
    flow.server_name = Some(name.into());
    flow.server_name_source = Some(source);
    flow.server_name_origin = origin;
}

fn is_latest(known: Option<&Names>, packet: u64) -> bool {
    known.is_some_and(|names| names.touched == packet)
}

/// The name that was asked for, lower-case.
fn name_of(query: &DnsQuery) -> Option<Arc<str>> {
    if query.name().is_empty() {
        return None;
    }
    let mut text = String::new();
    names::put_name(&mut text, query.name());
    Some(host_name(&text).into())
}

/// A file may name an address by itself.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_FILE_NAME && name.parse::<IpAddr>().is_err()
}

#[cfg(test)]
mod tests;
