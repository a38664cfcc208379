//! Data carried in the names of DNS questions. The literal rule: a name longer
//! than the policy's `query_length_threshold`. Beside it, by client and
//! registered domain, how much the different names of a day can carry at most
//! (Paxson et al., USENIX Security 2013) and what else a tunnel looks like:
//! a tunnel of short names is found, a CDN's long one is no tunnel.
//!
//! Two passes: the first counts every pair of client and domain in a few bytes,
//! the second gathers names of the few pairs that could carry anything.

use super::information::{NameSet, telling};
use super::{
    Behaviour, Columns, Detector, Found, Judgement, Measure, NameId, Numbers, Rows, Scene, Trail,
    rounded,
};
use crate::control::{Meta, Severity, Wants};
use crate::policy::{ExfiltrationKind, Policy};
use crate::proto::dns::suffix;
use foldhash::fast::FixedState;
use foldhash::quality::RandomState;
use hashbrown::HashMap;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher as _;

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
/// Questions of types that only tunnels ask for.
const MIN_ODD: u32 = 10;
/// Bytes a day at which the amount alone says neither yes nor no.
const EVEN_BYTES: f64 = 512.0;
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

/// Types by what a client that surfs, mails or updates asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A, AAAA, HTTPS, SVCB.
    Address,
    /// TXT, MX, CNAME, SRV, NS, ANY: answers with room for data.
    Text,
    /// NULL (RFC 1035 calls it experimental), KEY, WKS, types for private use.
    Odd,
    /// What resolvers and mail servers ask.
    Other,
}

fn kind(qtype: i64) -> Kind {
    match qtype {
        1 | 28 | 64 | 65 => Kind::Address,
        2 | 5 | 15 | 16 | 33 | 255 => Kind::Text,
        10 | 11 | 25 | 65_280..=65_534 => Kind::Odd,
        _ => Kind::Other,
    }
}

/// The policy's list leaves this detector out.
const NO_PATTERN: &str = "the policy names no such pattern";

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

/// Half a day of one pair.
#[derive(Clone, Debug, Default)]
struct Cell {
    names: NameSet,
    questions: u64,
    /// By [`Kind`].
    kinds: [u64; 4],
    answered: u64,
    /// Bytes of answers that have room for data, beyond the question's own.
    down: u64,
    longest_label: u64,
}

impl Cell {
    fn merge(&mut self, other: &Self) {
        self.names.merge(&other.names);
        self.questions += other.questions;
        for (sum, more) in self.kinds.iter_mut().zip(other.kinds) {
            *sum += more;
        }
        self.answered += other.answered;
        self.down += other.down;
        self.longest_label = self.longest_label.max(other.longest_label);
    }

    fn share(&self, kind: Kind) -> f64 {
        let count = self.kinds.get(kind as usize).copied().unwrap_or_default();
        count as f64 / self.questions.max(1) as f64
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

    fn finding(
        &self,
        scene: &Scene<'_>,
        key: Key,
        pair: &Pair,
        judged: Option<Judged>,
    ) -> Option<Found> {
        let names = scene.names;
        let (domain, below) = match names.text(key.1) {
            "" => ("no domain", "without a domain".to_owned()),
            domain => (domain, format!("below {domain}")),
        };
        let server = names.text(pair.server);
        let baseline = self.long.get(&key);
        let score = judged.as_ref().map_or(0.0, Judged::score);
        let severity = match baseline {
            None if score < SURE => Severity::Medium,
            _ => Severity::High,
        };
        let threshold = self.threshold.unwrap_or_default();
        let mut parts = Vec::new();
        if let Some(trail) = baseline {
            parts.push(format!(
                "{} names longer than {threshold} characters, the longest of {}",
                trail.count(),
                pair.longest
            ));
        }
        if let Some(judged) = &judged {
            parts.push(format!(
                "{:.0} different names {below} that carry up to {:.0} bytes within {} (score {score:.2})",
                judged.cell.names.distinct(),
                judged.bytes,
                judged.span
            ));
        }
        let mut against = Vec::new();
        let mut evidence = json!({
            "domain": domain,
            "questions": pair.questions,
            "longest": pair.longest,
        });
        if let Some(judged) = &judged {
            for term in judged.terms.iter().filter(|term| term.points < 0.0) {
                against.push(term.says.to_owned());
            }
            let terms = judged.terms.iter().map(|term| {
                json!({ "term": term.says, "value": rounded(term.value), "log_odds": rounded(term.points) })
            });
            evidence["information_bytes"] = json!(rounded(judged.bytes));
            evidence["answer_bytes"] = json!(judged.cell.down);
            evidence["terms"] = terms.collect();
            evidence["names"] = json!(judged.cell.names.examples(3));
        } else {
            against.push("the names are too few or too much alike to carry data".to_owned());
        }
        evidence["against"] = json!(against);
        let trail = self
            .gathered
            .get(&key)
            .map(|(trail, _)| trail)
            .or(baseline)?;
        let measure = match baseline {
            Some(_) => Measure {
                metric: "query_len".into(),
                observed: f64::from(pair.longest),
                threshold: threshold as f64,
                comparator: ">".into(),
                unit: "character".into(),
            },
            None => Measure {
                metric: "score".into(),
                observed: rounded(score),
                threshold: FINDING,
                comparator: ">=".into(),
                unit: "ratio".into(),
            },
        };
        Some(Found {
            severity,
            baseline: self.threshold.map(|_| baseline.is_some()),
            src: names.text(key.0).parse().ok()?,
            dst: server.parse().ok()?,
            dst_port: 53,
            destination: server.to_owned(),
            detail: domain.to_owned(),
            explanation: parts.join("; "),
            trail: trail.clone(),
            prevalence_hosts: self.clients.get(&key.1).copied().unwrap_or(1),
            numbers: Numbers {
                score: Some(score as f32),
                confidence: Some((f64::from(pair.questions) / 50.0).min(1.0) as f32),
                measure: Some(measure),
                samples: Some(u64::from(pair.questions)),
                evidence: Some(evidence.to_string()),
                suppressed_by: explained(domain).map(Into::into),
                ..Numbers::default()
            },
        })
    }
}

/// Names that a single network resolves among itself are no way out.
fn is_unicast(transport: Option<&str>) -> bool {
    !matches!(transport, None | Some("mdns" | "llmnr" | "nbns"))
}

/// Why names below a domain are long and different by design; none when nothing says so.
fn explained(domain: &str) -> Option<String> {
    if domain.ends_with(".arpa") {
        return Some("reverse look-ups (RFC 1035 section 3.5)".to_owned());
    }
    let list = include_str!("../../../../rules/dns-lookups.tsv");
    let entries = list.lines().filter(|line| !line.starts_with('#'));
    entries
        .filter_map(|line| line.split_once('\t'))
        .find_map(|(suffix, reason)| {
            let rest = domain.strip_suffix(suffix)?;
            (rest.is_empty() || rest.ends_with('.')).then(|| format!("{suffix}: {reason}"))
        })
}

/// A term of the score: what it says, the value it looked at, what it adds.
#[derive(Clone, Copy, Debug)]
struct Term {
    says: &'static str,
    value: f64,
    points: f64,
}

/// A pair's worst day, or its whole time.
#[derive(Clone, Debug)]
struct Judged {
    cell: Cell,
    bytes: f64,
    span: &'static str,
    terms: Vec<Term>,
}

impl Judged {
    fn points(&self) -> f64 {
        self.terms.iter().map(|term| term.points).sum()
    }

    fn score(&self) -> f64 {
        1.0 / (1.0 + (-self.points()).exp())
    }
}

/// What else is known of a pair.
#[derive(Clone, Copy, Debug)]
struct Around {
    /// Clients that ask below the same domain.
    clients: u32,
    /// Names below it that this client connected to.
    goals: usize,
}

/// The day with the highest score, or several days together where they are
/// more telling: half of what three days and more carry counts.
fn worst(cells: &BTreeMap<i64, Cell>, around: Around) -> Option<Judged> {
    let mut days = Vec::new();
    for (&step, cell) in cells {
        let mut day = cell.clone();
        if let Some(next) = step.checked_add(1).and_then(|next| cells.get(&next)) {
            day.merge(next);
        }
        days.push(weigh(day, around, 1.0, "a day"));
    }
    let active: std::collections::BTreeSet<i64> =
        cells.keys().map(|step| step.div_euclid(2)).collect();
    if active.len() >= 3 {
        let mut all = Cell::default();
        cells.values().for_each(|cell| all.merge(cell));
        days.push(weigh(all, around, 0.5, "several days"));
    }
    days.into_iter().reduce(|best, day| {
        if day.points() > best.points() {
            day
        } else {
            best
        }
    })
}

fn weigh(cell: Cell, around: Around, part: f64, span: &'static str) -> Judged {
    let bytes = cell.names.information();
    let distinct = cell.names.distinct();
    let mut terms = vec![Term {
        says: "information in the names, bytes",
        value: bytes,
        points: (1.2 * (bytes * part / EVEN_BYTES).max(1e-3).log2()).clamp(-6.0, 8.0),
    }];
    let mut term = |says, value, points, holds| {
        if holds {
            terms.push(Term {
                says,
                value,
                points,
            });
        }
    };
    let odd = cell.share(Kind::Odd);
    let odd_names = distinct * odd;
    term(
        "types that no ordinary program asks for",
        odd,
        if odd_names >= f64::from(MIN_ODD) {
            4.0
        } else {
            1.5
        },
        odd >= 0.3,
    );
    let text = cell.share(Kind::Text);
    term(
        "types whose answers have room for data",
        text,
        0.8,
        text >= 0.5,
    );
    let unique = distinct / cell.questions.max(1) as f64;
    term(
        "a new name in nearly every question",
        unique,
        0.7,
        unique >= 0.8 && cell.questions >= 20,
    );
    let mean = cell.names.mean_length();
    term("long names, characters", mean, 0.5, mean >= 30.0);
    term(
        "long labels, characters",
        cell.longest_label as f64,
        0.5,
        cell.longest_label >= 40,
    );
    term(
        "much in the answers, bytes",
        cell.down as f64,
        1.0,
        cell.down >= 16 << 10,
    );
    let address = cell.share(Kind::Address);
    let answered = cell.answered as f64 / cell.questions.max(1) as f64;
    term(
        "short names that are asked for addresses, as hosts have",
        mean,
        -0.3,
        mean < 20.0 && address >= 0.9,
    );
    let reached = around.goals as f64 / distinct.max(1.0);
    term(
        "the client then connects to hosts of these names",
        reached,
        -2.5,
        reached >= 0.3,
    );
    term(
        "several clients ask for addresses there and get them",
        f64::from(around.clients),
        -3.0,
        around.clients >= 3 && address >= 0.9 && answered >= 0.8,
    );
    Judged {
        cell,
        bytes,
        span,
        terms,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tables_by_hand::{Asked, asked, judge_asked, noise};
    use super::*;

    const BASE32: &[u8] = b"abcdefghijklmnopqrstuvwxyz234567";
    const HEX: &[u8] = b"0123456789abcdef";

    #[track_caller]
    fn judge(rows: &[Asked]) -> Vec<Found> {
        judge_asked(&DnsTunneling, &Policy::built_in(), rows).found
    }

    /// So many names over a day, by a pattern.
    fn day(many: u32, name: impl Fn(u32) -> String) -> Vec<Asked> {
        let step = 86_000.0 / f64::from(many);
        (0..many)
            .map(|n| asked(name(n)).at(f64::from(n) * step))
            .collect()
    }

    #[test]
    fn the_literal_rule_fires_above_its_threshold_and_moves_with_it() {
        let name = |len: usize| format!("{}.example.com", "a".repeat(len - 12));
        for (len, threshold, expected) in [
            (50, 50, 0),
            (51, 50, 1),
            (51, 51, 0),
            (61, 60, 1),
            (60, 60, 0),
        ] {
            let yaml = format!(
                "monitoring:\n  network:\n    patterns:\n      exfiltration:\n        - pattern: dns_tunneling\n          query_length_threshold: {threshold}\n"
            );
            let policy = Policy::from_yaml(&yaml, "test").unwrap();
            let found = judge_asked(&DnsTunneling, &policy, &[asked(name(len))]).found;
            assert_eq!(found.len(), expected, "{len} against {threshold}");
            for found in found {
                assert_eq!(
                    (found.severity, found.baseline),
                    (Severity::High, Some(true))
                );
                assert_eq!(found.numbers.measure.unwrap().observed, len as f64);
            }
        }
    }

    #[test]
    fn fifty_names_a_day_are_enough() {
        for (tool, rows) in [
            (
                "TXT",
                day(50, |n| {
                    format!("{}.t.example.org", noise(n.into(), 30, BASE32))
                }),
            ),
            (
                "A, hexadecimal",
                day(50, |n| {
                    format!("{}.t.example.org", noise(n.into(), 32, HEX))
                }),
            ),
        ] {
            let rows: Vec<_> = match tool {
                "TXT" => rows.into_iter().map(|row| row.of_type(16)).collect(),
                _ => rows,
            };
            let found = judge(&rows);
            assert_eq!(found.len(), 1, "{tool}");
            assert_eq!(found[0].detail, "example.org", "{tool}");
            assert_eq!(found[0].baseline, Some(false), "{tool}");
        }
    }

    #[test]
    fn names_without_a_domain_are_one_tunnel() {
        // dnscat2 without a domain: every name ends in data.
        let rows = day(60, |n| {
            let data = |part: u32| noise(u64::from(n * 3 + part) + 900, 24, HEX);
            format!("dnscat.{}.{}.{}", data(0), data(1), data(2))
        });
        let found = judge(&rows);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].detail, "no domain");
        assert_eq!(found[0].baseline, Some(true));
    }

    #[test]
    fn types_of_tunnels_need_little_information() {
        // Short and nearly equal, as dns2tcp polls.
        let rows = day(40, |n| format!("ab{n:04}aaaakwqa.t.example.org"));
        let rows: Vec<_> = rows.into_iter().map(|row| row.of_type(25)).collect();
        assert_eq!(judge(&rows).len(), 1);
    }

    #[test]
    fn a_tunnel_across_midnight_is_one_day() {
        // 60 names from 22:00 to 02:00 of the next day.
        let rows: Vec<_> = (0..60_u32)
            .map(|n| {
                asked(format!("{}.t.example.org", noise(n.into(), 32, HEX)))
                    .at(79_200.0 + f64::from(n) * 240.0)
            })
            .collect();
        assert_eq!(judge(&rows).len(), 1);
    }

    #[test]
    fn look_alikes_are_quiet() {
        let rest: [(&str, Vec<Asked>); 7] = [
            (
                "hosts of a site",
                day(500, |n| format!("img{}.example.com", n % 40)),
            ),
            (
                "a network's nodes",
                day(120, |n| {
                    format!("e{}.dscb.example.net", 1_000 + n * 37 % 9_000)
                }),
            ),
            (
                "block lists",
                day(2_000, |n| {
                    format!(
                        "{}.{}.{}.{}.bl.example.net",
                        n % 251,
                        n % 7,
                        n % 13,
                        n % 199
                    )
                }),
            ),
            (
                "the same long name",
                day(300, |_| format!("{}.example.com", "q7".repeat(18))),
            ),
            (
                "services",
                day(200, |n| format!("_dmarc.site{n}.com"))
                    .into_iter()
                    .map(|row| row.of_type(16))
                    .collect(),
            ),
            (
                "a network's own names",
                day(300, |n| format!("host{}.office.corp", n % 30)),
            ),
            (
                "local names",
                day(100, |n| format!("{}.example.org", noise(n.into(), 32, HEX)))
                    .into_iter()
                    .map(|row| row.over("mdns"))
                    .collect(),
            ),
        ];
        for (name, rows) in rest {
            assert!(judge(&rows).is_empty(), "{name}");
        }
    }

    #[test]
    fn what_is_explained_is_kept_with_its_reason() {
        let list = day(400, |n| {
            format!("{}.hash.cymru.com", noise(n.into(), 40, HEX))
        });
        let nibbles: Vec<String> = noise(7, 32, HEX).chars().map(String::from).collect();
        let reverse = vec![asked(format!("{}.ip6.arpa", nibbles.join("."))).of_type(12)];
        for (rows, reason) in [(list, "cymru.com"), (reverse, "reverse look-ups")] {
            let found = judge(&rows);
            assert_eq!(found.len(), 1, "{reason}");
            let why = found[0].numbers.suppressed_by.as_deref().unwrap();
            assert!(why.contains(reason), "{why}");
        }
    }

    #[test]
    fn several_clients_with_answers_speak_against_a_tunnel() {
        let clients = ["10.0.0.5", "10.0.0.6", "10.0.0.7", "10.0.0.8"];
        let of = |client: &'static str| {
            let seed = client.len() as u64 + u64::from(client.as_bytes()[client.len() - 1]);
            day(60, move |n| {
                format!(
                    "{}.dev.example.com",
                    noise(seed * 1_000 + u64::from(n), 16, HEX)
                )
            })
            .into_iter()
            .map(move |row| row.by(client))
        };
        let alone: Vec<_> = of(clients[0]).collect();
        let all: Vec<_> = clients.into_iter().flat_map(of).collect();
        let score = |rows: &[Asked]| {
            judge(rows)
                .first()
                .map_or(0.0, |found| found.numbers.score.unwrap())
        };
        assert!(
            score(&all) < score(&alone),
            "{} {}",
            score(&all),
            score(&alone)
        );
    }

    #[test]
    fn few_clients_are_told_apart_when_the_limit_says_so() {
        let policy = Policy::from_yaml("limits:\n  behaviour_subjects: 1\n", "test").unwrap();
        let rows = [asked("a.example.com"), asked("a.example.org")];
        let judged = judge_asked(&DnsTunneling, &policy, &rows);
        assert_eq!(judged.limits.len(), 1);
        assert_eq!(judged.tally.passed[&0], 1);
    }
}
