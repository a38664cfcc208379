//! A destination that no pattern of the policy's allowlist names.
//!
//! `*.example.org` matches names below `example.org` at any depth and not the
//! name itself; a plain name or address matches itself. Names are compared in
//! lower case, without the root's dot. What is no unicast destination
//! (multicast, broadcast, unspecified) goes nowhere that could be unknown.

use super::subjects::{Subjects, say_left_out, trail_room};
use super::{
    Behaviour, Columns, Detector, Found, Judgement, Measure, NameId, Numbers, Rows, Scene, Trail,
    is_unicast,
};
use crate::control::{Meta, Severity, Wants};
use crate::policy::{Allowlist, Policy};
use foldhash::quality::RandomState;
use hashbrown::HashMap;
use std::cmp::Reverse;

pub(super) struct UnknownDestination;

static META: Meta = Meta {
    id: "NS-04.unknown_destination",
    title: "Destination that the allowlist does not name",
    severity: Severity::High,
    attack: &["T1041", "T1071"],
    wants: Wants::Tables,
    observable_with: "flows, and an allowlist in the policy",
    source: "policy monitoring.network.destinations.allowlist",
};

impl Behaviour for UnknownDestination {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn start(&self, policy: &Policy) -> Result<Box<dyn Detector>, &'static str> {
        let destinations = &policy.monitoring.network.destinations;
        if !destinations.track_all {
            return Err("the policy does not track destinations");
        }
        if !destinations.alert_on_unknown {
            return Err("the policy does not ask for unknown destinations");
        }
        let list = destinations.allowlist.as_deref();
        let list = list.ok_or("no allowlist given")?;
        Ok(Box::new(Looking {
            list: Allowlist::new(list),
            alert_on_local: destinations.alert_on_local,
            most_found: policy.limits.max_findings,
            pass: 0,
            subjects: Subjects::new(policy),
            trails: HashMap::default(),
            judgement: Judgement::default(),
        }))
    }
}

/// Source, destination, port.
type Key = (NameId, NameId, u16);

#[derive(Clone, Copy, Debug)]
struct Subject {
    dst: NameId,
    local: bool,
    capture: u32,
    flows: u64,
    bytes: u64,
}

/// Two passes: who goes where, in a few bytes each, since there may be very many;
/// then the flows of those that are findings.
#[derive(Debug)]
struct Looking {
    list: Allowlist,
    alert_on_local: bool,
    most_found: usize,
    pass: u8,
    subjects: Subjects<Key, Subject>,
    trails: HashMap<Key, (Subject, Trail), RandomState>,
    judgement: Judgement,
}

impl Detector for Looking {
    fn next(&mut self, scene: &Scene<'_>) -> &'static [Columns] {
        const WHO: &[Columns] = &[Columns {
            table: "flows",
            plain: &["dst_port", "orig_bytes", "local_resp", "ip_proto"],
            names: &["src_ip", "dst_ip", "destination"],
        }];
        const FLOWS: &[Columns] = &[Columns {
            table: "flows",
            plain: &["dst_port", "ip_proto"],
            names: &["src_ip", "destination"],
        }];
        self.pass = self.pass.saturating_add(1);
        match self.pass {
            1 => WHO,
            2 => {
                self.choose(scene);
                if self.trails.is_empty() { &[] } else { FLOWS }
            }
            _ => &[],
        }
    }

    fn feed(&mut self, rows: &Rows<'_>) {
        let (src, to) = (rows.ids("src_ip"), rows.ids("destination"));
        let (ports, protos) = (rows.ints("dst_port"), rows.ints("ip_proto"));
        let places = rows.places();
        let key = |row| {
            // What ICMP has in its place is a code, not a port.
            let port = match protos.or_zero(row) {
                1 | 58 => 0,
                _ => u16::try_from(ports.or_zero(row)).unwrap_or_default(),
            };
            (src.get(row), to.get(row), port)
        };
        if self.pass > 1 {
            for row in 0..rows.len() {
                if let Some((_, trail)) = self.trails.get_mut(&key(row)) {
                    trail.push(places.get(row));
                }
            }
            return;
        }
        let (dst, bytes) = (rows.ids("dst_ip"), rows.ints("orig_bytes"));
        let local = rows.flags("local_resp");
        for row in 0..rows.len() {
            let key = key(row);
            if !key.0.is_some() || !key.1.is_some() {
                continue;
            }
            let Some(subject) = self.subjects.entry(key, || Subject {
                dst: dst.get(row),
                local: local.get(row).unwrap_or(false),
                capture: places.capture(row),
                flows: 0,
                bytes: 0,
            }) else {
                continue;
            };
            subject.capture = subject.capture.min(places.capture(row));
            subject.flows += 1;
            subject.bytes = subject.bytes.saturating_add(bytes.count(row));
        }
    }

    fn judge(self: Box<Self>, scene: &Scene<'_>) -> Judgement {
        let names = scene.names;
        let mut judgement = self.judgement;
        for ((src, to, dst_port), (subject, trail)) in self.trails {
            let Some((src, dst)) = scene.addresses(src, subject.dst) else {
                continue;
            };
            let destination = names.text(to);
            let count = subject.flows;
            let flows = if count == 1 { "flow" } else { "flows" };
            judgement.found.push(Found {
                severity: META.severity,
                baseline: Some(true),
                src,
                dst,
                dst_port,
                destination: destination.to_owned(),
                detail: String::new(),
                explanation: format!(
                    "{src} to {destination} port {dst_port}, which no pattern of the allowlist names: \
                     {count} {flows}, {} bytes sent",
                    subject.bytes
                ),
                trail,
                prevalence_hosts: scene.population.hosts_of(to),
                numbers: Numbers {
                    measure: Some(Measure::of("allowlist_matches", 0.0, "<", 1.0, "pattern")),
                    samples: Some(count),
                    ..Numbers::default()
                },
            });
        }
        say_left_out(
            &mut judgement,
            self.subjects.left_out,
            "flows to further destinations were not compared with the allowlist",
        );
        judgement
    }
}

impl Looking {
    /// What the list does not name; where that is more than findings may be, what
    /// most was sent to.
    fn choose(&mut self, scene: &Scene<'_>) {
        let names = scene.names;
        let mut allowed: HashMap<NameId, bool, RandomState> = HashMap::default();
        let mut unknown: Vec<(Key, Subject)> = Vec::new();
        for (key, subject) in std::mem::take(&mut self.subjects.map) {
            let address = names.text(subject.dst).parse();
            if !address.is_ok_and(is_unicast) {
                continue;
            }
            let is_allowed = *allowed
                .entry(key.1)
                .or_insert_with(|| self.list.allows(names.text(key.1)));
            if is_allowed || subject.local && !self.alert_on_local {
                self.judgement.tally.pass(subject.capture);
            } else {
                unknown.push((key, subject));
            }
        }
        if unknown.len() > self.most_found {
            unknown.sort_unstable_by_key(|(key, subject)| {
                (Reverse((subject.bytes, subject.flows)), *key)
            });
            self.judgement.limits.push(format!(
                "limits.max_findings: {} further destinations that the allowlist does not name are not listed",
                unknown.len() - self.most_found
            ));
            unknown.truncate(self.most_found);
        }
        let room = trail_room(unknown.len());
        let fresh = |(key, subject)| (key, (subject, Trail::keeping(room)));
        self.trails = unknown.into_iter().map(fresh).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::ns04::testing::{Flow, judge};

    fn policy(list: &str) -> Policy {
        let yaml = format!("monitoring:\n  network:\n    destinations:\n{list}");
        Policy::from_yaml(&yaml, "test").unwrap()
    }

    #[test]
    fn a_destination_off_the_list_is_one_finding_for_each_source() {
        let flows = [
            Flow::to("198.51.100.7").named("www.example.org").at(1),
            Flow::to("198.51.100.8").named("evil.example").at(2),
            Flow::to("198.51.100.8").named("evil.example").at(3),
            Flow::to("198.51.100.9").from("10.0.0.9").at(4),
            Flow::to("224.0.0.251").port(5353).at(5),
        ];
        let policy = policy("      allowlist: [\"*.example.org\"]\n");
        let judged = judge(&UnknownDestination, &policy, &flows);
        let found: Vec<_> = judged
            .found
            .iter()
            .map(|found| (found.destination.as_str(), found.trail.count()))
            .collect();
        assert_eq!(found, [("198.51.100.9", 1), ("evil.example", 2)]);
        assert_eq!(judged.tally.passed[&0], 1);
    }

    #[test]
    fn local_destinations_count_unless_the_policy_spares_them() {
        let flows = [Flow::to("192.168.1.9").at(1)];
        for (spare, expected) in [("true", 1), ("false", 0)] {
            let list = format!("      allowlist: []\n      alert_on_local: {spare}\n");
            let judged = judge(&UnknownDestination, &policy(&list), &flows);
            assert_eq!(judged.found.len(), expected, "{spare}");
        }
    }

    #[test]
    fn without_a_list_nothing_is_unknown() {
        let why = |list: &str| UnknownDestination.start(&policy(list)).err();
        assert_eq!(why("      allowlist: null\n"), Some("no allowlist given"));
        assert!(why("      allowlist: []\n      alert_on_unknown: false\n").is_some());
        assert!(why("      allowlist: []\n").is_none());
    }

    #[test]
    fn the_limit_on_findings_keeps_what_most_was_sent_to() {
        let flows: Vec<Flow> = (1..=4_u64)
            .map(|n| {
                let to = format!("198.51.100.{n}");
                Flow::to(&to).at(1).bytes(n * 100, 5)
            })
            .collect();
        let yaml = "limits:\n  max_findings: 2\nmonitoring:\n  network:\n    destinations:\n      allowlist: []\n";
        let policy = Policy::from_yaml(yaml, "test").unwrap();
        let judged = judge(&UnknownDestination, &policy, &flows);
        let to: Vec<_> = judged
            .found
            .iter()
            .map(|one| one.destination.as_str())
            .collect();
        assert_eq!(to, ["198.51.100.3", "198.51.100.4"]);
        assert_eq!(judged.limits.len(), 1);
    }
}
