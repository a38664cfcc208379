//! Data carried in the names of DNS questions. The literal rule: a name longer
//! than the policy's `query_length_threshold`. Beside it, by client and
//! registered domain, how much the different names of a day can carry at most
//! (Paxson et al., USENIX Security 2013) and what else a tunnel looks like:
//! a tunnel of short names is found, a CDN's long one is no tunnel.
//!
//! Two passes: the first counts every pair of client and domain in a few bytes,
//! the second gathers names of the few pairs that could carry anything.

mod report;
#[cfg(test)]
mod tests;
mod weigh;

use super::information::telling;
use super::{Behaviour, Columns, Detector, Judgement, NO_PATTERN, NameId, Rows, Scene, Trail};
use crate::control::{Meta, Severity, Wants};
use crate::policy::{ExfiltrationKind, Policy};
use crate::proto::dns::suffix;
use foldhash::fast::FixedState;
use foldhash::quality::RandomState;
use hashbrown::HashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher as _;
use weigh::{Around, Cell, Kind, MIN_ODD, kind, worst};

pub(super) struct DnsTunneling;

static META: Meta = Meta {
    id: "NS-04.dns_tunneling",
    title: "Data in the names of DNS questions",
    severity: Severity::High,
    attack: &["T1071.004", "T1048.003", "T1572"],
    wants: Wants::Tables,
    observable_with: "DNS questions in plaintext",
    source: "policy monitoring.network.patterns.exfiltration; Paxson et al., USENIX Security 2013",
};

/// Half a day: two in a row are any 24 hours, within 12 of them.
const STEP_NS: i64 = 43_200_000_000_000;
/// Bytes of names, all questions counted, below which nothing is gathered.
const MIN_BYTES: u32 = 192;
/// Different names, about, below which nothing is gathered.
const MIN_DISTINCT: u32 = 8;
/// Bytes of names that are held at most over all pairs.
const MAX_HELD: isize = 256 << 20;
/// Destinations kept for one pair.
const KEPT_GOALS: usize = 256;
/// Rows kept for one pair: there may be many pairs.
const ROWS: usize = 64;
/// From here on a score is a finding by itself.
const FINDING: f64 = 0.5;
/// From here on it is as bad as the literal rule.
const SURE: f64 = 0.8;

impl Behaviour for DnsTunneling {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn start(&self, policy: &Policy) -> Result<Box<dyn Detector>, &'static str> {
        let patterns = &policy.monitoring.network.patterns.exfiltration;
        let rule = patterns
            .iter()
            .find(|known| known.pattern == ExfiltrationKind::DnsTunneling);
        let threshold = rule.ok_or(NO_PATTERN)?.query_length_threshold;
        Ok(Box::new(Looking {
            threshold: threshold.map(i64::from),
            most: policy.limits.behaviour_subjects,
            ..Looking::default()
        }))
    }
}

/// Client and registered domain; [`NameId::NONE`] for names that have none.
type Key = (NameId, NameId);

/// Whether a registered domain is none: its end is no suffix of the list, and
/// looks like no network's own either. Some tunnels speak to their server itself
/// and make up whole names (dnscat2): each would be a domain of its own.
fn is_made_up(domain: &str) -> bool {
    let end = domain.rsplit('.').next().unwrap_or_default();
    let odd = end.len() > 12 || end.bytes().any(|byte| byte.is_ascii_digit());
    odd && !suffix::is_listed(domain)
}

/// What the first pass keeps of every pair.
#[derive(Clone, Copy, Debug)]
struct Pair {
    server: NameId,
    first_ns: i64,
    capture: u32,
    questions: u32,
    bytes: u32,
    odd: u32,
    /// One bit for each value of six bits of a name's hash.
    seen: u64,
    longest: u16,
}

impl Pair {
    /// Whether the second pass is worth its while.
    fn may_carry(&self) -> bool {
        // Linear counting (Whang et al. 1990): 8 different names set about 7.5 of 64 bits.
        let distinct = self.seen.count_ones();
        self.odd >= MIN_ODD || distinct + 1 >= MIN_DISTINCT && self.bytes >= MIN_BYTES
    }
}

#[derive(Debug, Default)]
struct Looking {
    threshold: Option<i64>,
    most: usize,
    pass: u8,
    pairs: HashMap<Key, Pair, RandomState>,
    /// Names over the threshold, by pair.
    long: HashMap<Key, Trail, RandomState>,
    /// Clients by registered domain.
    clients: HashMap<NameId, u32, RandomState>,
    gathered: HashMap<Key, (Trail, BTreeMap<i64, Cell>), RandomState>,
    /// Names below a pair's domain that its client connected to, at most [`KEPT_GOALS`].
    goals: HashMap<Key, BTreeSet<NameId>, RandomState>,
    /// Registered domains of destinations, as they are numbered.
    domains: HashMap<NameId, NameId, RandomState>,
    by_text: HashMap<Box<str>, NameId, RandomState>,
    /// Registered domains that were looked at by [`is_made_up`].
    made_up: HashMap<NameId, bool, RandomState>,
    held: isize,
    left_out: u64,
    names_left_out: u64,
}

impl Detector for Looking {
    fn next(&mut self, scene: &Scene<'_>) -> &'static [Columns] {
        self.pass += 1;
        match self.pass {
            1 => &[Columns {
                table: "dns_queries",
                plain: &["transport", "query_len", "subdomain", "qtype"],
                names: &["src_ip", "dst_ip", "etld1"],
            }],
            2 if self.pairs.values().any(Pair::may_carry) => {
                self.number(scene);
                &[
                    Columns {
                        table: "flows",
                        plain: &[],
                        names: &["src_ip", "destination"],
                    },
                    Columns {
                        table: "dns_queries",
                        plain: &[
                            "transport",
                            "query_len",
                            "subdomain",
                            "qtype",
                            "rcode",
                            "answer_bytes",
                            "max_label_len",
                        ],
                        names: &["src_ip", "etld1"],
                    },
                ]
            }
            _ => &[],
        }
    }

    fn feed(&mut self, rows: &Rows<'_>) {
        match (self.pass, rows.table()) {
            (1, _) => self.count(rows),
            (_, "flows") => self.connect(rows),
            _ => self.gather(rows),
        }
    }

    fn judge(self: Box<Self>, scene: &Scene<'_>) -> Judgement {
        let mut judgement = Judgement::default();
        for (key, pair) in &self.pairs {
            let judged = self.gathered.get(key).and_then(|(_, cells)| {
                let clients = self.clients.get(&key.1).copied().unwrap_or(1);
                let goals = self.goals.get(key).map_or(0, BTreeSet::len);
                worst(cells, Around { clients, goals })
            });
            let is_long = self.long.contains_key(key);
            let found = is_long
                || judged
                    .as_ref()
                    .is_some_and(|judged| judged.score() >= FINDING);
            match found
                .then(|| self.finding(scene, *key, pair, judged))
                .flatten()
            {
                Some(found) => judgement.found.push(found),
                None => judgement.tally.pass(pair.capture),
            }
        }
        if self.left_out > 0 {
            judgement.limits.push(format!(
                "limits.behaviour_subjects: {} questions beyond it were left out",
                self.left_out
            ));
        }
        if self.names_left_out > 0 {
            judgement.limits.push(format!(
                "{} questions came when {MAX_HELD} bytes of names were held, and were left out",
                self.names_left_out
            ));
        }
        judgement
    }
}

impl Looking {
    /// Under which domain a name is counted, and whether its own is made up.
    fn domain(&mut self, domain: NameId, rows: &Rows<'_>) -> (NameId, bool) {
        let text = || rows.names().text(domain);
        let made_up = domain.is_some()
            && *self
                .made_up
                .entry(domain)
                .or_insert_with(|| is_made_up(text()));
        (if made_up { NameId::NONE } else { domain }, made_up)
    }

    fn count(&mut self, rows: &Rows<'_>) {
        let (src, server, domain) = (rows.ids("src_ip"), rows.ids("dst_ip"), rows.ids("etld1"));
        let (transport, below) = (rows.texts("transport"), rows.texts("subdomain"));
        let (length, qtype) = (rows.ints("query_len"), rows.ints("qtype"));
        let places = rows.places();
        let hasher = FixedState::with_seed(1);
        let names = rows.names();
        for row in 0..rows.len() {
            let (own, made_up) = self.domain(domain.get(row), rows);
            let key = (src.get(row), own);
            if !key.0.is_some() || !is_unicast(transport.get(row)) {
                continue;
            }
            let seen = places.get(row);
            let is_full = self.pairs.len() >= self.most && !self.pairs.contains_key(&key);
            if is_full {
                self.left_out += 1;
                continue;
            }
            let ts_ns = seen.ts.as_nanos();
            let clients = &mut self.clients;
            let pair = self.pairs.entry(key).or_insert_with(|| {
                *clients.entry(key.1).or_default() += 1;
                Pair {
                    server: server.get(row),
                    first_ns: ts_ns,
                    capture: seen.at.capture,
                    questions: 0,
                    bytes: 0,
                    odd: 0,
                    seen: 0,
                    longest: 0,
                }
            });
            if ts_ns < pair.first_ns {
                (pair.first_ns, pair.capture, pair.server) =
                    (ts_ns, seen.at.capture, server.get(row));
            }
            pair.questions = pair.questions.saturating_add(1);
            let chars = length.or_zero(row);
            pair.longest = pair.longest.max(u16::try_from(chars).unwrap_or_default());
            if self.threshold.is_some_and(|most| chars > most) {
                let fresh = || Trail::keeping(ROWS);
                self.long.entry(key).or_insert_with(fresh).push(seen);
            }
            if kind(qtype.or_zero(row)) == Kind::Odd {
                pair.odd = pair.odd.saturating_add(1);
            }
            let below = match made_up {
                true => Some(names.text(domain.get(row))),
                false => below.get(row),
            };
            if let Some(below) = below {
                let len = u32::try_from(below.len()).unwrap_or(u32::MAX);
                pair.bytes = pair.bytes.saturating_add(len);
                pair.seen |= 1 << (hasher.hash_one(below) & 63);
            }
        }
    }

    /// Domains of pairs that may carry, by text: destinations are looked up in it.
    fn number(&mut self, scene: &Scene<'_>) {
        let carrying = self.pairs.iter().filter(|(_, pair)| pair.may_carry());
        self.by_text = carrying
            .map(|((_, domain), _)| (scene.names.text(*domain).into(), *domain))
            .collect();
    }

    /// Where a client connects to is a host, not a message.
    fn connect(&mut self, rows: &Rows<'_>) {
        let (src, to) = (rows.ids("src_ip"), rows.ids("destination"));
        let names = rows.names();
        for row in 0..rows.len() {
            let goal = to.get(row);
            let by_text = &self.by_text;
            let domain = *self.domains.entry(goal).or_insert_with(|| {
                let domain = suffix::registered(names.text(goal));
                let known = domain.and_then(|domain| by_text.get(domain).copied());
                known.unwrap_or(NameId::NONE)
            });
            let key = (src.get(row), domain);
            if domain.is_some() && self.pairs.get(&key).is_some_and(Pair::may_carry) {
                let goals = self.goals.entry(key).or_default();
                if goals.len() < KEPT_GOALS {
                    goals.insert(goal);
                }
            }
        }
    }

    fn gather(&mut self, rows: &Rows<'_>) {
        let (src, domain) = (rows.ids("src_ip"), rows.ids("etld1"));
        let (transport, below) = (rows.texts("transport"), rows.texts("subdomain"));
        let (length, qtype) = (rows.ints("query_len"), rows.ints("qtype"));
        let (rcode, answer) = (rows.ints("rcode"), rows.ints("answer_bytes"));
        let labels = rows.ints("max_label_len");
        let names = rows.names();
        let places = rows.places();
        for row in 0..rows.len() {
            let (own, made_up) = self.domain(domain.get(row), rows);
            let key = (src.get(row), own);
            let carries = self.pairs.get(&key).is_some_and(Pair::may_carry);
            let has_name = domain.get(row).is_some();
            if !carries || !has_name || !is_unicast(transport.get(row)) {
                continue;
            }
            let fresh = || (Trail::keeping(ROWS), BTreeMap::new());
            let (trail, cells) = self.gathered.entry(key).or_insert_with(fresh);
            let seen = places.get(row);
            let step = seen.ts.as_nanos().div_euclid(STEP_NS);
            let cell: &mut Cell = cells.entry(step).or_default();
            trail.push(seen);
            cell.questions += 1;
            let kind = kind(qtype.or_zero(row));
            if let Some(count) = cell.kinds.get_mut(kind as usize) {
                *count += 1;
            }
            if rcode.get(row) == Some(0) {
                cell.answered += 1;
            }
            if matches!(kind, Kind::Text | Kind::Odd) {
                // Header, question, and an answer's fixed part (RFC 1035 §4.1).
                let own = length.count(row).saturating_add(2 + 4 + 12 + 12);
                cell.down = cell
                    .down
                    .saturating_add(answer.count(row).saturating_sub(own));
            }
            cell.longest_label = cell.longest_label.max(labels.count(row));
            let whole;
            let below = match (below.get(row), made_up) {
                (Some(below), false) => below,
                (None, false) => continue,
                (below, true) => {
                    let end = names.text(domain.get(row));
                    whole = below.map_or_else(|| end.to_owned(), |below| format!("{below}.{end}"));
                    &whole
                }
            };
            if self.held >= MAX_HELD {
                self.names_left_out += 1;
                continue;
            }
            let telling = telling(below);
            if !telling.is_empty() {
                self.held += cell.names.insert(&telling);
            }
        }
    }
}

/// Names that a single network resolves among itself are no way out.
fn is_unicast(transport: Option<&str>) -> bool {
    !matches!(transport, None | Some("mdns" | "llmnr" | "nbns"))
}
