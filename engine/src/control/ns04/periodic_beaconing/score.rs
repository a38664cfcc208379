//! The score of one series: its timing, and what is known of the pair around it,
//! term by term in log-odds. What speaks for a benign cause is kept in words.

use super::literal::variation;
use super::{DAY_NS, HOUR_NS, Looking, Series};
use crate::control::ns04::{SECOND_NS, Scene, rounded, timing, weights as w};
use std::collections::BTreeSet;
use std::net::IpAddr;
use timing::Timing;

#[derive(Clone, Debug)]
pub(super) struct Scored {
    pub(super) probability: f64,
    pub(super) timing: Timing,
    pub(super) cv: f64,
    pub(super) mean_seconds: f64,
    /// Name, and what it adds in log-odds.
    pub(super) terms: Vec<(&'static str, f64)>,
    /// What argues for a benign cause, with the log-odds that it takes.
    pub(super) against: Vec<(f64, String)>,
}

impl Scored {
    fn of(timing: Timing, (cv, mean_seconds): (f64, f64)) -> Self {
        let share = timing.score.min(w::TIMING_MOST);
        let mut scored = Self {
            probability: 0.0,
            timing,
            cv,
            mean_seconds,
            terms: Vec::new(),
            against: Vec::new(),
        };
        scored.add("timing", (share / (1.0 - share)).ln());
        scored
    }

    pub(super) fn add(&mut self, name: &'static str, log_odds: f64) {
        self.terms.push((name, log_odds));
        self.probability = probability(self.terms.iter().map(|(_, odds)| *odds));
    }

    /// A term that argues for a benign cause.
    pub(super) fn argue(&mut self, name: &'static str, log_odds: f64, says: String) {
        self.against.push((log_odds, says));
        self.add(name, log_odds);
    }

    /// Why it is no finding, where it would be one but for what argues against it:
    /// the strongest of that.
    pub(super) fn explained(&self) -> Option<(f64, &str)> {
        let least = w::BEACON_LEVELS[0];
        let taken: f64 = self.against.iter().map(|(odds, _)| *odds).sum();
        let all: f64 = self.terms.iter().map(|(_, odds)| *odds).sum();
        if self.probability >= least || probability(std::iter::once(all - taken)) < least {
            return None;
        }
        let strongest = self.against.iter().min_by(|a, b| a.0.total_cmp(&b.0));
        strongest.map(|(odds, says)| (*odds, says.as_str()))
    }
}

fn probability(log_odds: impl Iterator<Item = f64>) -> f64 {
    1.0 / (1.0 + (-log_odds.sum::<f64>()).exp())
}

/// How a series lies in its host's hours.
struct Presence {
    /// Longest stretch without a pause, and how many there are.
    longest_ns: i64,
    stretches: usize,
    /// Stretches after which the host went on without it.
    stopped: usize,
    /// Hours in which it is there, and in which the host is.
    hours: BTreeSet<i64>,
}

impl Looking {
    pub(super) fn score(
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
        if timing.score < w::TIMING_LEAST {
            return None;
        }
        let mut scored = Scored::of(timing, variation(&timing::gaps(&seconds)));
        if is_dead {
            scored.add("unreachable", w::UNREACHABLE);
        }
        if destination.parse::<IpAddr>().is_ok() {
            scored.add("nameless", w::NAMELESS);
        }
        self.prevalence(scene, series, &mut scored);
        if self.allowlist.allows(destination) {
            let says = "the policy's allowlist names the destination";
            scored.argue("allowed", w::ALLOWED, says.to_owned());
        }
        if let Some((when, r)) = timing::clock(&seconds, timing.median_gap) {
            let says = format!(
                "{when} (R {}), as cron and task schedulers start things",
                rounded(r)
            );
            scored.argue("scheduled", w::SCHEDULED, says);
        }
        let (out, back): (u64, u64) = events().fold((0, 0), |(out, back), event| {
            (out + u64::from(event.orig), back + u64::from(event.resp))
        });
        let ratio = (out as f64 - back as f64) / (out + back).max(1) as f64;
        if ratio > 0.3 {
            scored.add("producer", w::PRODUCER);
        }
        self.habits(scene, series, times_ns, &mut scored);
        Some(scored)
    }

    fn prevalence(&self, scene: &Scene<'_>, series: &Series<'_>, scored: &mut Scored) {
        let hosts = scene.population.hosts();
        let Some(first) = series.events.first() else {
            return;
        };
        if hosts >= w::MIN_HOSTS {
            let others = scene.population.hosts_of(first.to);
            let share = f64::from(others) / hosts as f64;
            let says = || format!("{others} of {hosts} hosts go there");
            if share >= 0.5 {
                scored.argue("widespread", w::WIDESPREAD, says());
            } else if share >= 0.1 {
                scored.argue("common", w::COMMON, says());
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

    /// Whether the series comes and goes with people, by the hours of its host.
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
        let span = end.saturating_sub(begin);
        let Some(host) = self.hosts.map.get(&series.src) else {
            return;
        };
        if span < DAY_NS || self.by_destination {
            return;
        }
        let (Some(&first), Some(&last)) = (times_ns.first(), times_ns.last()) else {
            return;
        };
        let presence = presence(times_ns, scored.timing.median_gap, |hour| host.flows(hour));
        // One purpose, before the capture began and after it ended: a device's.
        let is_always = (last.saturating_sub(first)) as f64 >= w::ALWAYS * span as f64;
        let goals = self.goals.get(&series.src).copied().unwrap_or_default();
        if is_always && goals <= w::DEVICE_GOALS && scene.population.hosts() >= w::MIN_HOSTS {
            let says = format!(
                "the source goes to {goals} destinations in all, here from the capture's beginning to its end: a device"
            );
            scored.argue("device", w::DEVICE, says);
            return;
        }
        let mut own: std::collections::BTreeMap<i64, f64> = std::collections::BTreeMap::new();
        for ts in times_ns {
            *own.entry(ts.div_euclid(HOUR_NS)).or_default() += 1.0;
        }
        // Hours in which the host is there at all: that it sleeps says nothing.
        let (mut mine, mut others) = (Vec::new(), Vec::new());
        let mut alone = 0.0_f64;
        for (hour, all) in host.hours() {
            let here = own.get(&hour).copied().unwrap_or_default();
            let other = (f64::from(all) - here).max(0.0);
            if here > 0.0 && other < 3.0 {
                alone += 1.0;
            }
            mine.push(here);
            others.push(other);
        }
        let active = own.len() as f64;
        let is_short = presence.longest_ns < w::SITTING_HOURS * HOUR_NS;
        let coverage = active / mine.len().max(1) as f64;
        if is_short && presence.stopped > 0 && coverage < w::SITTING_COVERAGE {
            let says = format!(
                "{} times, for {} minutes at most, and the host went on without it: a page that somebody looked at",
                presence.stretches,
                presence.longest_ns / (60 * SECOND_NS)
            );
            scored.argue("sittings", w::SITTINGS, says);
            return;
        }
        // A host that says nothing else has no habit to compare with.
        if others.iter().sum::<f64>() < 2.0 * times_ns.len() as f64 / active.max(1.0) {
            return;
        }
        let together = timing::spearman(&mine, &others);
        if together > 0.6 && alone / active.max(1.0) < 0.1 {
            let says = format!(
                "comes and goes with the host's other traffic (rank correlation by the hour {})",
                rounded(together)
            );
            scored.argue("follows_people", w::FOLLOWS_PEOPLE, says);
        } else if alone / active.max(1.0) >= 0.3 {
            scored.add("goes_on_alone", w::GOES_ON_ALONE);
        }
    }
}

/// Stretches of a series between pauses, and whether the host outlives them.
fn presence(times_ns: &[i64], median_gap: f64, host: impl Fn(i64) -> u32) -> Presence {
    #[expect(clippy::cast_possible_truncation, reason = "saturates")]
    let gaps = (w::SITTING_PAUSE * median_gap * SECOND_NS as f64) as i64;
    let pause = gaps.max(HOUR_NS);
    let mut presence = Presence {
        longest_ns: 0,
        stretches: 0,
        stopped: 0,
        hours: times_ns.iter().map(|ts| ts.div_euclid(HOUR_NS)).collect(),
    };
    let mut start = times_ns.first().copied().unwrap_or_default();
    for (index, &at) in times_ns.iter().enumerate() {
        let next = times_ns.get(index + 1).copied();
        if next.is_some_and(|next| next.saturating_sub(at) <= pause) {
            continue;
        }
        presence.stretches += 1;
        presence.longest_ns = presence.longest_ns.max(at.saturating_sub(start));
        // The hour of the last one may be its own: what counts is the two behind it.
        let hour = at.div_euclid(HOUR_NS);
        let behind = |hour| host(hour) > 0 && !presence.hours.contains(&hour);
        if behind(hour + 1) || behind(hour + 2) {
            presence.stopped += 1;
        }
        start = next.unwrap_or(at);
    }
    presence
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times in minutes.
    fn minutes(times: impl IntoIterator<Item = i64>) -> Vec<i64> {
        times.into_iter().map(|at| at * 60 * SECOND_NS).collect()
    }

    #[test]
    fn stretches_are_told_apart_and_whether_the_host_outlives_them() {
        // Twenty minutes from 00:10 and from 05:10; the host is there until 06:00.
        let times = minutes((10..=30).chain(310..=330));
        let until_six = |hour| u32::from(hour < 6);
        let found = presence(&times, 60.0, until_six);
        assert_eq!((found.stretches, found.stopped), (2, 1));
        assert_eq!(found.longest_ns, 20 * 60 * SECOND_NS);
        let always = presence(&times, 60.0, |_| 1);
        assert_eq!(always.stopped, 2);
        // What comes every six hours does not pause.
        let rare = presence(&minutes((0..28).map(|n| n * 360)), 21_600.0, |_| 1);
        assert_eq!((rare.stretches, rare.hours.len()), (1, 28));
    }

    #[test]
    fn what_only_a_reason_keeps_from_being_a_finding_is_explained_by_the_strongest() {
        let timing = Timing {
            score: 0.9,
            ..Timing::default()
        };
        let mut scored = Scored::of(timing, (0.0, 60.0));
        assert_eq!(scored.explained(), None);
        scored.argue("common", -1.0, "others too".into());
        scored.argue("device", -5.0, "a device".into());
        assert_eq!(scored.explained(), Some((-5.0, "a device")));
        // Too irregular to be one anyway.
        let timing = Timing {
            score: 0.2,
            ..Timing::default()
        };
        let mut scored = Scored::of(timing, (0.9, 60.0));
        scored.argue("device", -5.0, "a device".into());
        assert_eq!(scored.explained(), None);
    }
}
