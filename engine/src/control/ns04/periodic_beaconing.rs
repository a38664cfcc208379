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
//! could be regular; the flows of those that are. Where there are more such pairs
//! than `limits.behaviour_subjects`, a pass between sieves out those that are too
//! rare to be regular, and they are counted again; where there are more times than
//! `limits.behaviour_events`, another one learns when the longest series begin.

mod around;
mod literal;
mod report;
mod score;

use super::catalogue;
use super::groups::{GroupId, Groups, group_name};
use super::sieve::Sieve;
use super::subjects::{Subjects, say_left_out, trail_room};
use super::{
    Behaviour, Columns, Detector, Judgement, NO_PATTERN, NameId, Rows, SECOND_NS, Scene, Tally,
    Trail, is_established, is_unicast, weights as w,
};
use crate::control::{Meta, Severity, Wants};
use crate::policy::{Allowlist, BeaconKey, C2Kind, Explained, Policy};
use around::{Host, is_infrastructure};
use foldhash::quality::RandomState;
use hashbrown::HashMap;
use literal::{LITERAL_LEAST, literal};
use rayon::prelude::*;
use report::{Beacon, Target};
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
            explains_literal: pattern.explained == Some(Explained::Suppressed),
            by_destination: pattern.key == Some(BeaconKey::Destination),
            alert_on_local: destinations.alert_on_local,
            allowlist: Allowlist::new(allowlist),
            most_found: policy.limits.max_findings,
            most_events: policy.limits.behaviour_events,
            pass: Pass::Before,
            sieve: None,
            groups_of: Groups::default(),
            groups: Subjects::new(policy),
            kept: usize::MAX,
            spans: HashMap::default(),
            hosts: Subjects::new(policy),
            goals: HashMap::default(),
            events: HashMap::default(),
            beacons: Vec::new(),
            trails: HashMap::default(),
            not_listed: 0,
            judged: Tally::default(),
        }))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    Before,
    Counting,
    Sieving,
    Spans,
    Times,
    Flows,
    Over,
}

/// Who goes where.
type Key = (NameId, GroupId, u16);

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
    explains_literal: bool,
    by_destination: bool,
    alert_on_local: bool,
    allowlist: Allowlist,
    most_found: usize,
    most_events: usize,
    pass: Pass,
    groups_of: Groups,
    /// Flows of each.
    groups: Subjects<Key, u32>,
    /// What there was no room for without it.
    sieve: Option<Sieve>,
    /// Events kept of one key.
    kept: usize,
    /// First and last time of those that have more.
    spans: HashMap<Key, (i64, i64), RandomState>,
    hosts: Subjects<NameId, Host>,
    /// Destinations of each source that could be regular anywhere, those of the
    /// network's own business aside.
    goals: HashMap<NameId, u32, RandomState>,
    events: HashMap<Key, Vec<Event>, RandomState>,
    beacons: Vec<Beacon>,
    /// Where each source and destination, or group, has its place in `beacons`.
    trails: HashMap<(NameId, Target, u16), usize, RandomState>,
    judged: Tally,
    /// Series beyond the limit on findings.
    not_listed: u64,
}

/// Flows of a pair that say nothing of how regular it is.
const MOST_RARE: u8 = {
    assert!(w::MIN_GAPS < u8::MAX as usize, "a sieve counts to 255");
    w::MIN_GAPS as u8
};
const DAY_NS: i64 = 86_400 * SECOND_NS;
const HOUR_NS: i64 = 3_600 * SECOND_NS;
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
        const SPANS: &[Columns] = &[Columns {
            table: "flows",
            plain: &["dst_port", "ip_proto", "local_resp"],
            names: &["src_ip", "destination"],
        }];
        match self.pass {
            Pass::Before => {
                self.pass = Pass::Counting;
                COUNTING
            }
            Pass::Counting if self.groups.left_out > 0 && self.sieve.is_none() => {
                self.sieve = Some(Sieve::default());
                self.groups.clear();
                self.pass = Pass::Sieving;
                COUNTING
            }
            Pass::Sieving => {
                self.pass = Pass::Counting;
                COUNTING
            }
            Pass::Counting => {
                self.choose_groups();
                if self.groups.map.is_empty() {
                    self.pass = Pass::Over;
                    return &[];
                }
                self.share_out();
                if self.is_cut() {
                    self.pass = Pass::Spans;
                    return SPANS;
                }
                self.pass = Pass::Times;
                TIMES
            }
            Pass::Spans => {
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
            Pass::Sieving => self.sieve(rows),
            Pass::Spans => self.span(rows),
            Pass::Times => self.take(rows),
            Pass::Flows => self.trail(rows),
            Pass::Before | Pass::Over => {}
        }
    }

    fn judge(self: Box<Self>, scene: &Scene<'_>) -> Judgement {
        let is_cut = self.is_cut();
        let mut judgement = Judgement {
            tally: self.judged,
            ..Judgement::default()
        };
        say_left_out(
            &mut judgement,
            self.groups.left_out,
            "flows to further destinations were not looked at",
        );
        if is_cut {
            judgement.limits.push(format!(
                "limits.behaviour_events: of each source and destination, the first {} connections were looked at",
                self.kept
            ));
        }
        if self.not_listed > 0 {
            judgement.limits.push(format!(
                "limits.max_findings: {} further regular series are not listed",
                self.not_listed
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
        let group = self.groups_of.of(rows.names(), to);
        // Whoever asks for the destination alone gets all sources in one series.
        if self.by_destination {
            return Some((NameId::NONE, group, 0));
        }
        Some((src, group, u16::try_from(port).unwrap_or_default()))
    }

    /// Calls `each` with the key and the time of every row that has one.
    fn keyed(&mut self, rows: &Rows<'_>, mut each: impl FnMut(&mut Self, Key, i64)) {
        let (srcs, tos) = (rows.ids("src_ip"), rows.ids("destination"));
        let (ports, protos) = (rows.ints("dst_port"), rows.ints("ip_proto"));
        let local = rows.flags("local_resp");
        let places = rows.places();
        for row in 0..rows.len() {
            if !self.alert_on_local && local.get(row) == Some(true) {
                continue;
            }
            let (port, proto) = (ports.or_zero(row), protos.or_zero(row));
            if let Some(key) = self.key(rows, srcs.get(row), tos.get(row), port, proto) {
                each(self, key, places.ts_ns(row));
            }
        }
    }

    fn count(&mut self, rows: &Rows<'_>) {
        self.keyed(rows, |this, key, _| {
            let is_rare = |sieve: &Sieve| sieve.count(&key) <= MOST_RARE;
            if this.sieve.as_ref().is_some_and(is_rare) {
                return;
            }
            if let Some(flows) = this.groups.entry(key, || 0) {
                *flows = flows.saturating_add(1);
            }
        });
    }

    fn sieve(&mut self, rows: &Rows<'_>) {
        self.keyed(rows, |this, key, _| {
            if let Some(sieve) = &mut this.sieve {
                sieve.add(&key, 1);
            }
        });
    }

    /// When the series begin and end that are longer than can be kept.
    fn span(&mut self, rows: &Rows<'_>) {
        self.keyed(rows, |this, key, ts_ns| {
            let flows = this.groups.map.get(&key).copied().unwrap_or_default();
            if flows as usize > this.kept {
                let (first, last) = this.spans.entry(key).or_insert((ts_ns, ts_ns));
                *first = ts_ns.min(*first);
                *last = ts_ns.max(*last);
            }
        });
    }

    /// Keeps the pairs that could be regular, and counts where else their sources go.
    fn choose_groups(&mut self) {
        let could = |flows: u32| flows as usize > w::MIN_GAPS;
        for (&(src, ..), &flows) in &self.groups.map {
            if could(flows) {
                self.goals.insert(src, 0);
            }
        }
        for &(src, _, port) in self.groups.map.keys() {
            if let Some(goals) = self.goals.get_mut(&src)
                && !is_infrastructure(port)
            {
                *goals += 1;
            }
        }
        // With the rare ones sieved out nobody knows: a device has few.
        if self.sieve.take().is_some() {
            self.goals.values_mut().for_each(|goals| *goals = u32::MAX);
        }
        self.groups.map.retain(|_, flows| could(*flows));
        self.groups.map.shrink_to_fit();
    }

    /// Whether some series are judged by their beginning alone.
    fn is_cut(&self) -> bool {
        let flows = self.groups.map.values();
        self.kept < usize::MAX && flows.copied().any(|flows| flows as usize > self.kept)
    }

    /// How many events of each key can be kept, so that all fit: what is beyond
    /// is the end of the longest series.
    fn share_out(&mut self) {
        let sum = |most: usize| -> usize {
            let kept = self
                .groups
                .map
                .values()
                .map(|&flows| (flows as usize).min(most));
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
            let src = srcs.get(row);
            let ts_ns = places.ts_ns(row);
            if self.goals.contains_key(&src)
                && let Some(host) = self.hosts.entry(src, Host::default)
            {
                host.note(ts_ns.div_euclid(HOUR_NS));
            }
            if !self.alert_on_local && local.get(row) == Some(true) {
                continue;
            }
            let (port, proto) = (ports.or_zero(row), protos.or_zero(row));
            let Some(key) = self.key(rows, src, tos.get(row), port, proto) else {
                continue;
            };
            let Some(&flows) = self.groups.map.get(&key) else {
                continue;
            };
            if let Some(&(first, last)) = self.spans.get(&key) {
                // The beginning of the series, whole: thinning would fake misses.
                let span = last.saturating_sub(first) as f64;
                let share = self.kept as f64 / f64::from(flows);
                if ts_ns.saturating_sub(first) as f64 > span * share {
                    continue;
                }
            }
            let room = self.kept.saturating_mul(2);
            // The room is known: a vector that doubles would take it twice.
            let most = (flows as usize).min(self.kept).saturating_add(1);
            let fresh = || Vec::with_capacity(most);
            let events = self.events.entry(key).or_insert_with(fresh);
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
        keyed.sort_unstable_by_key(|(key, _)| *key);
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
        self.together(scene);
        self.choose();
        let room = trail_room(self.beacons.len());
        for (index, beacon) in self.beacons.iter_mut().enumerate() {
            beacon.trail = Trail::keeping(room);
            self.trails
                .insert((beacon.src, beacon.target, beacon.dst_port), index);
        }
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
            explains_literal: self.explains_literal,
            destination,
            dst: first.dst,
            hosts,
            members: series.members,
            capture: first.capture,
            trail: Trail::default(),
        };
        beacon.counts().then_some(beacon)
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
