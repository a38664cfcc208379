//! Regular connections of one source to one destination: the literal rule, and
//! a score that survives jitter, missed check-ins, nights off, rotation over
//! several hosts and long sleeps.
//!
//! Literal: some trailing 24 hours hold at least ten established connections
//! whose gaps have a population coefficient of variation below the policy's
//! threshold; one finding for each (source, destination, port), or for each
//! destination where the policy asks for that. The score has its formulas in
//! [`super::timing`] and its numbers in [`super::weights`].
//!
//! Three passes: how often each source goes to each group of destinations (the
//! registered domain, or the network of an address); the times of those that
//! could be regular; the flows of those that are.

use super::catalogue::{self, Known};
use super::timing::{self, Timing};
use super::{
    Behaviour, Columns, Detector, Found, Judgement, Measure, NO_PATTERN, NameId, Numbers, Rows,
    SECOND_NS, Scene, Tally, Trail, is_established, is_unicast, rounded, weights as w,
};
use crate::control::{Meta, Severity, Wants};
use crate::policy::{Allowlist, BeaconKey, C2Kind, Policy};
use crate::proto::dns::suffix;
use crate::time::CaptureTime;
use foldhash::quality::RandomState;
use hashbrown::HashMap;
use rayon::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;
use std::net::IpAddr;

pub(super) struct PeriodicBeaconing;

static META: Meta = Meta {
    id: "NS-04.periodic_beaconing",
    title: "Regular connections to one destination",
    severity: Severity::High,
    attack: &["T1071", "T1573"],
    wants: Wants::Tables,
    observable_with: "ten or more connections to one destination within 24 hours (the score: six)",
    source: "policy monitoring.network.patterns.command_and_control.periodic_beaconing; \
             Hu et al. 2016 (BAYWATCH) for the regularity of gaps",
};

impl Behaviour for PeriodicBeaconing {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn start(&self, policy: &Policy) -> Result<Box<dyn Detector>, &'static str> {
        let patterns = &policy.monitoring.network.patterns.command_and_control;
        let pattern = patterns
            .iter()
            .find(|one| one.pattern == C2Kind::PeriodicBeaconing);
        let pattern = pattern.ok_or(NO_PATTERN)?;
        let destinations = &policy.monitoring.network.destinations;
        let allowlist = destinations.allowlist.as_deref().unwrap_or_default();
        Ok(Box::new(Looking {
            threshold: pattern.interval_variance_threshold.unwrap_or(0.1),
            by_destination: pattern.key == BeaconKey::Destination,
            alert_on_local: destinations.alert_on_local,
            allowlist: Allowlist::new(allowlist),
            most_groups: policy.limits.behaviour_subjects,
            most_events: policy.limits.behaviour_events,
            pass: Pass::Counting,
            group_of: Vec::new(),
            groups: HashMap::default(),
            networks: HashMap::default(),
            left_out: 0,
            kept: usize::MAX,
            hours: HashMap::default(),
            events: HashMap::default(),
            beacons: Vec::new(),
            trails: HashMap::default(),
            judged: Tally::default(),
        }))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    Counting,
    Times,
    Flows,
    Over,
}

/// A registered domain, or a network of addresses.
type GroupId = u32;
/// Who goes where.
type Key = (NameId, GroupId, u16);

#[derive(Clone, Copy, Debug)]
struct Count {
    flows: u32,
    first_ns: i64,
    last_ns: i64,
}

/// One connection.
#[derive(Clone, Copy, Debug)]
struct Event {
    ts_ns: i64,
    to: NameId,
    orig: u32,
    resp: u32,
    capture: u32,
    established: bool,
    udp: bool,
    service: NameId,
    dst: NameId,
}

#[derive(Debug)]
struct Looking {
    threshold: f64,
    by_destination: bool,
    alert_on_local: bool,
    allowlist: Allowlist,
    most_groups: usize,
    most_events: usize,
    pass: Pass,
    /// Group of each destination, by its number.
    group_of: Vec<Option<GroupId>>,
    networks: HashMap<String, GroupId, RandomState>,
    groups: HashMap<Key, Count, RandomState>,
    left_out: u64,
    /// Events kept of one key.
    kept: usize,
    /// Flows of a source within an hour.
    hours: HashMap<(NameId, i64), u32, RandomState>,
    events: HashMap<Key, Vec<Event>, RandomState>,
    beacons: Vec<Beacon>,
    /// Where each source and destination, or group, has its place in `beacons`.
    trails: HashMap<(NameId, Target, u16), usize, RandomState>,
    judged: Tally,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Target {
    Destination(NameId),
    Group(GroupId),
    /// A destination whatever the source: the policy's other key.
    Anyone(NameId),
}

/// A series that is regular.
#[derive(Debug)]
struct Beacon {
    src: NameId,
    target: Target,
    dst_port: u16,
    literal: Option<Literal>,
    scored: Option<Scored>,
    suppressed: Option<Known>,
    destination: String,
    dst: NameId,
    hosts: u32,
    members: usize,
    trail: Trail,
}

/// What the literal rule found.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Literal {
    /// Of the most regular window.
    cv: f64,
    mean_seconds: f64,
    connections: usize,
    best_end_ns: i64,
    first_ns: i64,
    last_ns: i64,
    windows: u64,
}

#[derive(Clone, Debug)]
struct Scored {
    probability: f64,
    timing: Timing,
    cv: f64,
    mean_seconds: f64,
    /// Name, and what it adds in log-odds.
    terms: Vec<(&'static str, f64)>,
    against: Vec<String>,
}

const DAY_NS: i64 = 86_400 * SECOND_NS;
const HOUR_NS: i64 = 3_600 * SECOND_NS;
/// Connections that the literal rule needs.
const LITERAL_LEAST: usize = 10;

impl Detector for Looking {
    fn next(&mut self, scene: &Scene<'_>) -> &'static [Columns] {
        const COUNTING: &[Columns] = &[Columns {
            table: "flows",
            plain: &["dst_port", "ip_proto", "local_resp"],
            names: &["src_ip", "destination"],
        }];
        const TIMES: &[Columns] = &[Columns {
            table: "flows",
            plain: &[
                "dst_port",
                "ip_proto",
                "local_resp",
                "conn_state",
                "orig_bytes",
                "resp_bytes",
            ],
            names: &["src_ip", "dst_ip", "destination", "service"],
        }];
        const FLOWS: &[Columns] = &[Columns {
            table: "flows",
            plain: &["dst_port", "ip_proto"],
            names: &["src_ip", "destination"],
        }];
        match self.pass {
            Pass::Counting if self.groups.is_empty() && self.kept == usize::MAX => {
                self.kept = 0;
                COUNTING
            }
            Pass::Counting => {
                self.groups
                    .retain(|_, count| count.flows as usize > w::MIN_GAPS);
                if self.groups.is_empty() {
                    self.pass = Pass::Over;
                    return &[];
                }
                self.share_out();
                self.pass = Pass::Times;
                TIMES
            }
            Pass::Times => {
                self.find(scene);
                if self.beacons.is_empty() {
                    self.pass = Pass::Over;
                    return &[];
                }
                self.pass = Pass::Flows;
                FLOWS
            }
            Pass::Flows | Pass::Over => {
                self.pass = Pass::Over;
                &[]
            }
        }
    }

    fn feed(&mut self, rows: &Rows<'_>) {
        match self.pass {
            Pass::Counting => self.count(rows),
            Pass::Times => self.take(rows),
            Pass::Flows => self.trail(rows),
            Pass::Over => {}
        }
    }

    fn judge(self: Box<Self>, scene: &Scene<'_>) -> Judgement {
        let mut judgement = Judgement {
            tally: self.judged,
            ..Judgement::default()
        };
        if self.left_out > 0 {
            judgement.limits.push(format!(
                "limits.behaviour_subjects: {} flows to further destinations were not looked at",
                self.left_out
            ));
        }
        if self.kept < usize::MAX && self.groups.values().any(|c| c.flows as usize > self.kept) {
            judgement.limits.push(format!(
                "limits.behaviour_events: of each source and destination, the first {} connections were looked at",
                self.kept
            ));
        }
        for beacon in self.beacons {
            judgement
                .found
                .extend(beacon.into_found(scene, self.threshold));
        }
        judgement
    }
}

/// What a series needs to be judged.
struct Series<'e> {
    src: NameId,
    target: Target,
    dst_port: u16,
    events: &'e [Event],
    members: usize,
}

impl Looking {
    fn key(
        &mut self,
        rows: &Rows<'_>,
        src: NameId,
        to: NameId,
        port: i64,
        proto: i64,
    ) -> Option<Key> {
        if !src.is_some() || !to.is_some() || matches!(proto, 1 | 58) {
            return None;
        }
        let index = to.index();
        if self.group_of.len() <= index {
            self.group_of.resize(index + 1, None);
        }
        let known = self.group_of.get(index).copied().flatten();
        let group = match known {
            Some(group) => group,
            None => {
                let name = group_name(rows.names().text(to));
                let next = GroupId::try_from(self.networks.len()).unwrap_or(GroupId::MAX);
                let group = *self.networks.entry(name).or_insert(next);
                if let Some(slot) = self.group_of.get_mut(index) {
                    *slot = Some(group);
                }
                group
            }
        };
        // Whoever asks for the destination alone gets all sources in one series.
        if self.by_destination {
            return Some((NameId::NONE, group, 0));
        }
        Some((src, group, u16::try_from(port).unwrap_or_default()))
    }

    fn count(&mut self, rows: &Rows<'_>) {
        let (srcs, tos) = (rows.ids("src_ip"), rows.ids("destination"));
        let (ports, protos) = (rows.ints("dst_port"), rows.ints("ip_proto"));
        let local = rows.flags("local_resp");
        let places = rows.places();
        for row in 0..rows.len() {
            let ts_ns = places.ts_ns(row);
            let src = srcs.get(row);
            let hour = ts_ns.div_euclid(HOUR_NS);
            if self.hours.len() < self.most_groups || self.hours.contains_key(&(src, hour)) {
                let flows = self.hours.entry((src, hour)).or_default();
                *flows = flows.saturating_add(1);
            }
            if !self.alert_on_local && local.get(row) == Some(true) {
                continue;
            }
            let (port, proto) = (ports.or_zero(row), protos.or_zero(row));
            let Some(key) = self.key(rows, src, tos.get(row), port, proto) else {
                continue;
            };
            if self.groups.len() >= self.most_groups && !self.groups.contains_key(&key) {
                self.left_out += 1;
                continue;
            }
            let count = self.groups.entry(key).or_insert(Count {
                flows: 0,
                first_ns: ts_ns,
                last_ns: ts_ns,
            });
            count.flows = count.flows.saturating_add(1);
            count.first_ns = count.first_ns.min(ts_ns);
            count.last_ns = count.last_ns.max(ts_ns);
        }
    }

    /// How many events of each key can be kept, so that all fit: what is beyond
    /// is the end of the longest series.
    fn share_out(&mut self) {
        let sum = |most: usize| -> usize {
            let kept = self
                .groups
                .values()
                .map(|count| (count.flows as usize).min(most));
            kept.fold(0, usize::saturating_add)
        };
        let (mut low, mut high) = (64_usize, 1_usize << 22);
        if sum(high) <= self.most_events {
            self.kept = high;
            return;
        }
        while low + 1 < high {
            let middle = usize::midpoint(low, high);
            if sum(middle) <= self.most_events {
                low = middle;
            } else {
                high = middle;
            }
        }
        self.kept = low;
    }

    fn take(&mut self, rows: &Rows<'_>) {
        let (srcs, tos) = (rows.ids("src_ip"), rows.ids("destination"));
        let (ports, protos) = (rows.ints("dst_port"), rows.ints("ip_proto"));
        let (orig, resp) = (rows.ints("orig_bytes"), rows.ints("resp_bytes"));
        let (states, local) = (rows.texts("conn_state"), rows.flags("local_resp"));
        let (dsts, services) = (rows.ids("dst_ip"), rows.ids("service"));
        let places = rows.places();
        let small = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
        for row in 0..rows.len() {
            if !self.alert_on_local && local.get(row) == Some(true) {
                continue;
            }
            let (port, proto) = (ports.or_zero(row), protos.or_zero(row));
            let Some(key) = self.key(rows, srcs.get(row), tos.get(row), port, proto) else {
                continue;
            };
            let Some(count) = self.groups.get(&key) else {
                continue;
            };
            let ts_ns = places.ts_ns(row);
            if count.flows as usize > self.kept {
                // The beginning of the series, whole: thinning would fake misses.
                let span = count.last_ns.saturating_sub(count.first_ns) as f64;
                let share = self.kept as f64 / f64::from(count.flows);
                if ts_ns.saturating_sub(count.first_ns) as f64 > span * share {
                    continue;
                }
            }
            let room = self.kept.saturating_mul(2);
            let events = self.events.entry(key).or_default();
            if events.len() < room {
                events.push(Event {
                    ts_ns,
                    to: tos.get(row),
                    orig: small(orig.count(row)),
                    resp: small(resp.count(row)),
                    capture: places.capture(row),
                    established: states.get(row).is_some_and(is_established),
                    udp: proto == 17,
                    service: services.get(row),
                    dst: dsts.get(row),
                });
            }
        }
    }

    /// Judges all series, side by side.
    fn find(&mut self, scene: &Scene<'_>) {
        let mut keyed: Vec<(Key, Vec<Event>)> =
            std::mem::take(&mut self.events).into_iter().collect();
        let this = &*self;
        let judged: Vec<(Vec<Beacon>, Tally)> = keyed
            .par_iter_mut()
            .map(|((src, group, dst_port), events)| {
                events.sort_unstable_by_key(|event| {
                    (event.ts_ns, event.to, event.orig, event.resp, event.capture)
                });
                this.group(scene, *src, *group, *dst_port, events)
            })
            .collect();
        for (beacons, tally) in judged {
            self.beacons.extend(beacons);
            for (capture, count) in tally.passed {
                *self.judged.passed.entry(capture).or_default() += count;
            }
        }
        self.monitors();
        for (index, beacon) in self.beacons.iter().enumerate() {
            self.trails
                .insert((beacon.src, beacon.target, beacon.dst_port), index);
        }
    }

    /// Many targets of one source at one period: a monitor, which is recorded.
    fn monitors(&mut self) {
        if self.by_destination {
            return;
        }
        let mut targets: BTreeMap<(NameId, i64), usize> = BTreeMap::new();
        let period = |scored: &Scored| {
            #[expect(clippy::cast_possible_truncation, reason = "a class of periods")]
            let class = (scored.timing.median_gap.max(1.0).ln() * 10.0).round() as i64;
            class
        };
        for beacon in &self.beacons {
            if let Some(scored) = &beacon.scored {
                *targets.entry((beacon.src, period(scored))).or_default() += 1;
            }
        }
        for beacon in &mut self.beacons {
            let src = beacon.src;
            if let Some(scored) = &mut beacon.scored
                && targets
                    .get(&(src, period(scored)))
                    .is_some_and(|&n| n >= w::MONITOR_TARGETS)
            {
                scored.add("monitor", w::MONITOR);
                scored.against.push(
                    "the source goes to ten or more destinations at this period, as a monitor does"
                        .to_owned(),
                );
            }
        }
        self.beacons.retain(Beacon::counts);
    }

    fn group(
        &self,
        scene: &Scene<'_>,
        src: NameId,
        group: GroupId,
        dst_port: u16,
        events: &[Event],
    ) -> (Vec<Beacon>, Tally) {
        let mut tally = Tally::default();
        let mut by_destination: BTreeMap<&str, Vec<Event>> = BTreeMap::new();
        for event in events {
            by_destination
                .entry(scene.names.text(event.to))
                .or_default()
                .push(*event);
        }
        let members = by_destination.len();
        let mut beacons = Vec::new();
        for (_, own) in by_destination {
            let Some(first) = own.first() else { continue };
            let target = if self.by_destination {
                Target::Anyone(first.to)
            } else {
                Target::Destination(first.to)
            };
            let series = Series {
                src,
                target,
                dst_port,
                events: &own,
                members: 1,
            };
            match self.series(scene, &series) {
                Some(beacon) => beacons.push(beacon),
                None if own.len() >= LITERAL_LEAST => tally.pass(first.capture),
                None => {}
            }
        }
        // Several hosts in turn: regular together where none of them is.
        if members > 1 && beacons.is_empty() && !self.by_destination {
            let series = Series {
                src,
                target: Target::Group(group),
                dst_port,
                events,
                members,
            };
            beacons.extend(self.series(scene, &series));
        }
        (beacons, tally)
    }

    fn series(&self, scene: &Scene<'_>, series: &Series<'_>) -> Option<Beacon> {
        let first = series.events.first()?;
        let destination = match series.target {
            Target::Destination(to) | Target::Anyone(to) => scene.names.text(to).to_owned(),
            Target::Group(_) => group_name(scene.names.text(first.to)),
        };
        if scene
            .names
            .text(first.dst)
            .parse()
            .is_ok_and(|dst: IpAddr| !is_unicast(dst))
        {
            return None;
        }
        let established: Vec<i64> = series
            .events
            .iter()
            .filter(|event| event.established)
            .map(|event| event.ts_ns)
            .collect();
        let is_single = !matches!(series.target, Target::Group(_));
        let literal = is_single
            .then(|| literal(&established, self.threshold))
            .flatten();
        let scored = self.score(scene, series, &established, &destination);
        let hosts = scene.population.hosts_of(first.to);
        let beacon = Beacon {
            src: series.src,
            target: series.target,
            dst_port: series.dst_port,
            suppressed: catalogue::known_periodic(
                &destination,
                series.dst_port,
                first.udp,
                scene.names.text(first.service),
            ),
            literal,
            scored,
            destination,
            dst: first.dst,
            hosts,
            members: series.members,
            trail: Trail::default(),
        };
        beacon.counts().then_some(beacon)
    }

    fn score(
        &self,
        scene: &Scene<'_>,
        series: &Series<'_>,
        established: &[i64],
        destination: &str,
    ) -> Option<Scored> {
        // What never answers is scored by its attempts.
        let is_dead = established.len() <= w::MIN_GAPS;
        let all: Vec<i64> = series.events.iter().map(|event| event.ts_ns).collect();
        let times_ns = if is_dead { &all } else { established };
        if times_ns.len() <= w::MIN_GAPS {
            return None;
        }
        let seconds: Vec<f64> = times_ns
            .iter()
            .map(|&ts| ts as f64 / SECOND_NS as f64)
            .collect();
        let events = || {
            series
                .events
                .iter()
                .filter(|event| is_dead || event.established)
        };
        let mut sent: Vec<u32> = events().map(|event| event.orig).collect();
        let mut received: Vec<u32> = events().map(|event| event.resp).collect();
        let stability =
            timing::size_stability(&mut sent).max(timing::size_stability(&mut received));
        let timing = timing::timing(&seconds, stability);
        if timing.score < 0.2 {
            return None;
        }
        let mut scored = Scored {
            probability: 0.0,
            timing,
            cv: 0.0,
            mean_seconds: 0.0,
            terms: Vec::new(),
            against: Vec::new(),
        };
        let odds = (timing.score / (1.0 - timing.score.min(0.999))).ln();
        scored.add("timing", odds);
        if is_dead {
            scored.add("unreachable", w::UNREACHABLE);
        }
        if destination.parse::<IpAddr>().is_ok() {
            scored.add("nameless", w::NAMELESS);
        }
        self.prevalence(scene, series, &mut scored);
        if self.allowlist.allows(destination) {
            scored.add("allowed", w::ALLOWED);
            scored
                .against
                .push("the policy's allowlist names the destination".to_owned());
        }
        if let Some((period, r)) = timing::schedule(&seconds, timing.median_gap) {
            scored.add("scheduled", w::SCHEDULED);
            scored.against.push(format!(
                "locked to the clock every {period} s (R {}): schedulers are, implants drift",
                rounded(r)
            ));
        }
        let (out, back): (u64, u64) = events().fold((0, 0), |(out, back), event| {
            (out + u64::from(event.orig), back + u64::from(event.resp))
        });
        let ratio = (out as f64 - back as f64) / (out + back).max(1) as f64;
        if ratio > 0.3 {
            scored.add("producer", w::PRODUCER);
        }
        self.habits(scene, series, times_ns, &mut scored);
        let gaps = timing::gaps(&seconds);
        (scored.cv, scored.mean_seconds) = variation(&gaps);
        Some(scored)
    }

    fn prevalence(&self, scene: &Scene<'_>, series: &Series<'_>, scored: &mut Scored) {
        let hosts = scene.population.hosts();
        let Some(first) = series.events.first() else {
            return;
        };
        if hosts >= w::MIN_HOSTS {
            let share = f64::from(scene.population.hosts_of(first.to)) / hosts as f64;
            if share >= 0.5 {
                scored.add("widespread", w::WIDESPREAD);
                scored.against.push(format!(
                    "{} of {hosts} hosts do the same",
                    scene.population.hosts_of(first.to)
                ));
            } else if share <= 0.02 {
                scored.add("rare", w::RARE);
            }
        }
        if let Some((begin, _)) = scene.population.span_ns()
            && first.ts_ns.saturating_sub(begin) >= DAY_NS
        {
            scored.add("new", w::NEW);
        }
    }

    /// Whether the series comes and goes with the host's other traffic.
    fn habits(
        &self,
        scene: &Scene<'_>,
        series: &Series<'_>,
        times_ns: &[i64],
        scored: &mut Scored,
    ) {
        let Some((begin, end)) = scene.population.span_ns() else {
            return;
        };
        if end.saturating_sub(begin) < DAY_NS || self.by_destination {
            return;
        }
        let mut own: BTreeMap<i64, f64> = BTreeMap::new();
        for ts in times_ns {
            *own.entry(ts.div_euclid(HOUR_NS)).or_default() += 1.0;
        }
        let (mut mine, mut others) = (Vec::new(), Vec::new());
        let mut alone = 0.0_f64;
        // A year of hours at most.
        let last = end
            .div_euclid(HOUR_NS)
            .min(begin.div_euclid(HOUR_NS).saturating_add(8_784));
        for hour in begin.div_euclid(HOUR_NS)..=last {
            let here = own.get(&hour).copied().unwrap_or_default();
            let all = self
                .hours
                .get(&(series.src, hour))
                .copied()
                .unwrap_or_default();
            let other = (f64::from(all) - here).max(0.0);
            if here > 0.0 && other < 3.0 {
                alone += 1.0;
            }
            mine.push(here);
            others.push(other);
        }
        let active = own.len() as f64;
        // A host that says nothing else has no habit to compare with.
        if others.iter().sum::<f64>() < 2.0 * times_ns.len() as f64 / active.max(1.0) {
            return;
        }
        let together = timing::spearman(&mine, &others);
        if together > 0.6 && alone / active.max(1.0) < 0.1 {
            scored.add("follows_people", w::FOLLOWS_PEOPLE);
            scored.against.push(format!(
                "comes and goes with the host's other traffic (rank correlation by the hour {})",
                rounded(together)
            ));
        } else if alone / active.max(1.0) >= 0.3 {
            scored.add("goes_on_alone", w::GOES_ON_ALONE);
        }
    }

    fn trail(&mut self, rows: &Rows<'_>) {
        let (srcs, tos) = (rows.ids("src_ip"), rows.ids("destination"));
        let (ports, protos) = (rows.ints("dst_port"), rows.ints("ip_proto"));
        let places = rows.places();
        for row in 0..rows.len() {
            let to = tos.get(row);
            let src = srcs.get(row);
            let Some((key_src, group, port)) =
                self.key(rows, src, to, ports.or_zero(row), protos.or_zero(row))
            else {
                continue;
            };
            for target in [
                Target::Destination(to),
                Target::Group(group),
                Target::Anyone(to),
            ] {
                let Some(&index) = self.trails.get(&(key_src, target, port)) else {
                    continue;
                };
                if let Some(beacon) = self.beacons.get_mut(index) {
                    if beacon.src == NameId::NONE {
                        // All sources in one series: the finding names the first.
                        beacon.src = src;
                    }
                    beacon.trail.push(places.get(row));
                }
            }
        }
    }
}

impl Scored {
    fn add(&mut self, name: &'static str, log_odds: f64) {
        self.terms.push((name, log_odds));
        let sum: f64 = self.terms.iter().map(|(_, odds)| odds).sum();
        self.probability = 1.0 / (1.0 + (-sum).exp());
    }
}

impl Beacon {
    /// Whether it is a finding.
    fn counts(&self) -> bool {
        self.literal.is_some()
            || self
                .scored
                .as_ref()
                .is_some_and(|scored| scored.probability >= w::BEACON_LEVELS[0])
    }

    fn severity(&self) -> Severity {
        if self.literal.is_some() {
            return META.severity;
        }
        let score = self
            .scored
            .as_ref()
            .map_or(0.0, |scored| scored.probability);
        match w::BEACON_LEVELS {
            [_, _, high] if score >= high => Severity::High,
            [_, medium, _] if score >= medium => Severity::Medium,
            _ => Severity::Low,
        }
    }

    fn into_found(self, scene: &Scene<'_>, threshold: f64) -> Option<Found> {
        let severity = self.severity();
        let names = scene.names;
        let src = names.text(self.src).parse().ok()?;
        let dst = names.text(self.dst).parse().ok()?;
        let mut evidence = json!({"formula": w::FORMULA, "destinations": self.members});
        let mut explanation = String::new();
        let (mut cv, mut interval, mut samples) = (None, None, None);
        if let Some(literal) = &self.literal {
            let time = |ns: i64| CaptureTime::from_nanos(ns).to_string();
            evidence["literal"] = json!({
                "cv": rounded(literal.cv),
                "interval_seconds": rounded(literal.mean_seconds),
                "connections": literal.connections,
                "best_window_end": time(literal.best_end_ns),
                "first_window_end": time(literal.first_ns),
                "last_window_end": time(literal.last_ns),
                "windows": literal.windows,
            });
            explanation = format!(
                "{} connections within 24 h, every {:.1} s with a coefficient of variation of {:.4} (below {threshold})",
                literal.connections, literal.mean_seconds, literal.cv
            );
            (cv, interval) = (Some(literal.cv), Some(literal.mean_seconds));
            samples = Some(literal.connections as u64);
        }
        let mut score = None;
        let mut confidence = None;
        if let Some(scored) = &self.scored {
            let timing = &scored.timing;
            let terms: serde_json::Map<_, _> = scored
                .terms
                .iter()
                .map(|(name, odds)| ((*name).to_owned(), rounded(*odds).into()))
                .collect();
            evidence["score"] = json!({
                "timing": rounded(timing.score),
                "band_seconds": [rounded(timing.band.low), rounded(timing.band.high)],
                "band_share": rounded(timing.band.share),
                "band_score": rounded(timing.band.score),
                "evenness": rounded(timing.evenness),
                "persistence": rounded(timing.persistence),
                "size_stability": rounded(timing.size_stability),
                "check_ins": timing.check_ins,
                "median_gap_seconds": rounded(timing.median_gap),
                "log_odds": terms,
            });
            evidence["against"] = json!(scored.against);
            if !explanation.is_empty() {
                explanation.push_str("; ");
            }
            explanation.push_str(&format!(
                "{:.0} % of {} gaps lie within {:.1} to {:.1} s, score {:.2}",
                timing.band.share * 100.0,
                timing.check_ins.saturating_sub(1),
                timing.band.low,
                timing.band.high,
                scored.probability
            ));
            #[expect(clippy::cast_possible_truncation, reason = "ratios")]
            {
                score = Some(scored.probability as f32);
                confidence = Some(timing.confidence as f32);
            }
            cv = cv.or(Some(scored.cv));
            interval = interval.or(Some(scored.mean_seconds));
            samples = samples.or(Some(timing.check_ins as u64));
        }
        if self.members > 1 {
            explanation.push_str(&format!(", over {} hosts in turn", self.members));
        }
        let measure = match (&self.literal, &self.scored) {
            (Some(literal), _) => Some(("cv", literal.cv, threshold, "<")),
            (None, Some(scored)) => Some(("score", scored.probability, w::BEACON_LEVELS[0], ">=")),
            (None, None) => None,
        };
        Some(Found {
            severity,
            baseline: Some(self.literal.is_some()),
            src,
            dst,
            dst_port: self.dst_port,
            destination: self.destination,
            detail: String::new(),
            explanation,
            trail: self.trail,
            prevalence_hosts: self.hosts,
            numbers: Numbers {
                score,
                confidence,
                measure: measure.map(|(metric, observed, threshold, comparator)| Measure {
                    metric: metric.into(),
                    observed,
                    threshold,
                    comparator: comparator.into(),
                    unit: "ratio".into(),
                }),
                interval_seconds: interval,
                cv,
                samples,
                evidence: Some(evidence.to_string()),
                suppressed_by: self.suppressed.map(|known| known.reason.into()),
            },
        })
    }
}

/// Mean and population coefficient of variation of gaps; 1 where the mean is 0.
fn variation(gaps: &[f64]) -> (f64, f64) {
    let n = gaps.len().max(1) as f64;
    let mean = gaps.iter().sum::<f64>() / n;
    let variance = gaps
        .iter()
        .map(|gap| (gap - mean) * (gap - mean))
        .sum::<f64>()
        / n;
    let cv = if mean > 0.0 {
        variance.sqrt() / mean
    } else {
        1.0
    };
    (cv, mean)
}

/// The literal rule over sorted times: windows of 24 hours that end with each
/// connection, by whole nanoseconds, so that nothing is rounded before the last step.
fn literal(times_ns: &[i64], threshold: f64) -> Option<Literal> {
    let mut found: Option<Literal> = None;
    let (mut sum, mut squares) = (0_i128, 0_i128);
    let mut start = 0_usize;
    let gap = |index: usize| -> i128 {
        match (times_ns.get(index.wrapping_sub(1)), times_ns.get(index)) {
            (Some(&before), Some(&at)) => i128::from(at) - i128::from(before),
            _ => 0,
        }
    };
    for (index, &end_ns) in times_ns.iter().enumerate() {
        if index > 0 {
            sum += gap(index);
            squares += gap(index) * gap(index);
        }
        // The window is open at its old end: t > now - 24 h.
        while times_ns
            .get(start)
            .is_some_and(|&at| at <= end_ns.saturating_sub(DAY_NS))
        {
            start += 1;
            if start <= index {
                sum -= gap(start);
                squares -= gap(start) * gap(start);
            }
        }
        let connections = index + 1 - start;
        if connections < LITERAL_LEAST {
            continue;
        }
        let gaps = (connections - 1) as i128;
        let cv = if sum > 0 {
            let spread = (gaps * squares - sum * sum).max(0) as f64;
            spread.sqrt() / sum as f64
        } else {
            1.0
        };
        if cv >= threshold {
            continue;
        }
        let one = found.get_or_insert(Literal {
            cv,
            mean_seconds: 0.0,
            connections,
            best_end_ns: end_ns,
            first_ns: end_ns,
            last_ns: end_ns,
            windows: 0,
        });
        one.last_ns = end_ns;
        one.windows += 1;
        if cv <= one.cv || one.windows == 1 {
            one.cv = cv;
            one.connections = connections;
            one.mean_seconds = sum as f64 / gaps as f64 / SECOND_NS as f64;
            one.best_end_ns = end_ns;
        }
    }
    found
}

/// The registered domain of a name, the network of an address: /24 and /48.
fn group_name(destination: &str) -> String {
    match destination.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
        Ok(IpAddr::V4(v4)) => {
            let [a, b, c, _] = v4.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        Ok(IpAddr::V6(v6)) => {
            let [a, b, c, ..] = v6.segments();
            format!("{a:x}:{b:x}:{c:x}::/48")
        }
        Err(_) => {
            suffix::registered(destination).map_or_else(|| destination.to_owned(), str::to_owned)
        }
    }
}
