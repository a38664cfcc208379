//! A destination that no pattern of the policy's allowlist names.
//!
//! `*.example.org` matches names below `example.org` at any depth and not the
//! name itself; a plain name or address matches itself. Names are compared in
//! lower case, without the root's dot. What is no unicast destination
//! (multicast, broadcast, unspecified) goes nowhere that could be unknown.

use super::subjects::{Subjects, say_left_out};
use super::{
    Behaviour, Columns, Detector, Found, Judgement, Measure, NameId, Numbers, Rows, Scene, Tally,
    Trail, is_unicast,
};
use crate::control::{Meta, Severity, Wants};
use crate::policy::{Allowlist, Policy};
use foldhash::quality::RandomState;
use hashbrown::HashMap;

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
            subjects: Subjects::new(policy),
            is_fed: false,
        }))
    }
}

type Key = (NameId, NameId, u16);

#[derive(Debug)]
struct Subject {
    trail: Trail,
    dst: NameId,
    local: bool,
    bytes: u64,
}

#[derive(Debug)]
struct Looking {
    list: Allowlist,
    alert_on_local: bool,
    subjects: Subjects<Key, Subject>,
    is_fed: bool,
}

/// Flows kept for one destination: there may be very many destinations.
const KEPT: usize = 32;

impl Detector for Looking {
    fn next(&mut self, _scene: &Scene<'_>) -> &'static [Columns] {
        if std::mem::replace(&mut self.is_fed, true) {
            return &[];
        }
        &[Columns {
            table: "flows",
            plain: &["dst_port", "orig_bytes", "local_resp", "ip_proto"],
            names: &["src_ip", "dst_ip", "destination"],
        }]
    }

    fn feed(&mut self, rows: &Rows<'_>) {
        let (src, dst, to) = (
            rows.ids("src_ip"),
            rows.ids("dst_ip"),
            rows.ids("destination"),
        );
        let (ports, bytes) = (rows.ints("dst_port"), rows.ints("orig_bytes"));
        let (protos, local) = (rows.ints("ip_proto"), rows.flags("local_resp"));
        let places = rows.places();
        for row in 0..rows.len() {
            // What ICMP has in its place is a code, not a port.
            let port = match protos.or_zero(row) {
                1 | 58 => 0,
                _ => u16::try_from(ports.or_zero(row)).unwrap_or_default(),
            };
            let key = (src.get(row), to.get(row), port);
            if !key.0.is_some() || !key.1.is_some() {
                continue;
            }
            let Some(subject) = self.subjects.entry(key, || Subject {
                trail: Trail::keeping(KEPT),
                dst: dst.get(row),
                local: local.get(row).unwrap_or(false),
                bytes: 0,
            }) else {
                continue;
            };
            subject.trail.push(places.get(row));
            subject.bytes = subject.bytes.saturating_add(bytes.count(row));
        }
    }

    fn judge(self: Box<Self>, scene: &Scene<'_>) -> Judgement {
        let names = scene.names;
        let mut judgement = Judgement::default();
        let mut allowed: HashMap<NameId, bool, RandomState> = HashMap::default();
        for ((src, to, dst_port), subject) in self.subjects.map {
            let destination = names.text(to);
            let Some((src, dst)) = scene.addresses(src, subject.dst) else {
                continue;
            };
            if !is_unicast(dst) {
                continue;
            }
            let is_allowed = *allowed
                .entry(to)
                .or_insert_with(|| self.list.allows(destination));
            let spared = subject.local && !self.alert_on_local;
            if is_allowed || spared {
                pass(&mut judgement.tally, subject.trail);
                continue;
            }
            let count = subject.trail.count();
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
                trail: subject.trail,
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

fn pass(tally: &mut Tally, trail: Trail) {
    let (_, packets) = trail.into_parts();
    tally.pass(packets.first().map_or(0, |at| at.capture));
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
}
