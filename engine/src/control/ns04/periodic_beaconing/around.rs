//! What stands around the series: the hours of each host, and what all regular
//! series together say of one of them (a monitor, a fleet).

use super::Looking;
use super::report::{Beacon, Target};
use crate::control::ns04::{NameId, Scene, weights as w};
use std::collections::{BTreeMap, VecDeque};

/// Flows of a host by the hour.
#[derive(Debug, Default)]
pub(super) struct Host {
    first: i64,
    flows: VecDeque<u32>,
}

/// Hours kept of a host: a year.
const MOST_HOURS: usize = 8_784;

impl Host {
    pub(super) fn note(&mut self, hour: i64) {
        if self.flows.is_empty() {
            self.first = hour;
        }
        // Flows come as they end: an earlier hour may follow.
        let early = self.first.saturating_sub(hour).max(0);
        let late = hour.saturating_sub(self.first).max(0);
        let far = usize::try_from(early.max(late)).unwrap_or(usize::MAX);
        if far >= MOST_HOURS || early > 0 && self.flows.len() + far > MOST_HOURS {
            return;
        }
        for _ in 0..early {
            self.flows.push_front(0);
            self.first -= 1;
        }
        let index = usize::try_from(hour.saturating_sub(self.first)).unwrap_or(usize::MAX);
        if index >= self.flows.len() {
            self.flows.resize(index + 1, 0);
        }
        if let Some(count) = self.flows.get_mut(index) {
            *count = count.saturating_add(1);
        }
    }

    pub(super) fn flows(&self, hour: i64) -> u32 {
        let index = usize::try_from(hour.saturating_sub(self.first)).ok();
        let flows = index.and_then(|index| self.flows.get(index));
        flows.copied().unwrap_or_default()
    }

    /// Hours in which there is anything.
    pub(super) fn hours(&self) -> impl Iterator<Item = (i64, u32)> + '_ {
        let numbered = (self.first..).zip(self.flows.iter().copied());
        numbered.filter(|(_, flows)| *flows > 0)
    }
}

/// Whether a port is the network's own business: names, time, leases, discovery.
pub(super) fn is_infrastructure(port: u16) -> bool {
    matches!(
        port,
        53 | 67 | 68 | 123 | 137 | 138 | 546 | 547 | 853 | 1_900 | 5_353 | 5_355
    )
}

impl Looking {
    /// What the regular series say of each other.
    pub(super) fn together(&mut self, scene: &Scene<'_>) {
        if self.by_destination {
            return;
        }
        let mut by_source: BTreeMap<NameId, Vec<f64>> = BTreeMap::new();
        let mut by_target: BTreeMap<(Target, u16), Vec<f64>> = BTreeMap::new();
        for beacon in &self.beacons {
            if let Some(scored) = &beacon.scored {
                let gap = scored.timing.median_gap;
                by_source.entry(beacon.src).or_default().push(gap);
                let to = (beacon.target, beacon.dst_port);
                by_target.entry(to).or_default().push(gap);
            }
        }
        by_source.retain(|_, gaps| gaps.len() >= w::MONITOR_TARGETS);
        by_target.retain(|_, gaps| gaps.len() >= w::FLEET_LEAST);
        let all = by_source.values_mut().chain(by_target.values_mut());
        all.for_each(|gaps| gaps.sort_by(f64::total_cmp));
        let hosts = scene.population.hosts();
        for beacon in &mut self.beacons {
            let Some(scored) = &mut beacon.scored else {
                continue;
            };
            let gap = scored.timing.median_gap;
            let alike = |gaps: Option<&Vec<f64>>, width: f64| {
                gaps.map_or(0, |gaps| {
                    let from = gaps.partition_point(|&other| other < gap / width);
                    gaps.partition_point(|&other| other <= gap * width) - from
                })
            };
            let targets = alike(by_source.get(&beacon.src), w::MONITOR_WIDTH);
            if targets >= w::MONITOR_TARGETS {
                let address = scene.names.text(beacon.dst).parse();
                let is_near = address.is_ok_and(|address| scene.policy.is_local(address));
                let odds = if is_near { w::MONITOR } else { w::MONITOR_FAR };
                let says = format!(
                    "the source goes to {targets} destinations at this period, as a monitor does"
                );
                scored.argue("monitor", odds, says);
            }
            let to = (beacon.target, beacon.dst_port);
            let peers = alike(by_target.get(&to), w::FLEET_WIDTH);
            let share = peers as f64 / hosts.max(1) as f64;
            if hosts >= w::MIN_HOSTS && peers >= w::FLEET_LEAST && share >= w::FLEET_SHARE {
                let says = format!(
                    "{peers} of {hosts} hosts do the same at this period: what is installed on all of them"
                );
                scored.argue("fleet", w::FLEET, says);
            }
        }
    }

    /// Keeps the worst, where there are more than findings may be.
    pub(super) fn choose(&mut self) {
        self.beacons.sort_by(Beacon::rank);
        for beacon in self
            .beacons
            .drain(self.most_found.min(self.beacons.len())..)
        {
            self.not_listed += 1;
            if beacon.literal.is_none() {
                self.judged.pass(beacon.capture);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_counted_whatever_their_order() {
        let mut host = Host::default();
        for hour in [100, 103, 98, 100, 100 + i64::try_from(MOST_HOURS).unwrap()] {
            host.note(hour);
        }
        let hours: Vec<_> = host.hours().collect();
        assert_eq!(hours, [(98, 1), (100, 2), (103, 1)]);
        assert_eq!((host.flows(100), host.flows(99), host.flows(9)), (2, 0, 0));
    }
}
