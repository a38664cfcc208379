//! The score of one series: its timing, and what is known of the pair around it,
//! term by term in log-odds.

use super::literal::variation;
use super::{DAY_NS, HOUR_NS, Looking, Series};
use crate::control::ns04::{SECOND_NS, Scene, rounded, timing, weights as w};
use std::collections::BTreeMap;
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
    pub(super) against: Vec<String>,
}

impl Scored {
    pub(super) fn add(&mut self, name: &'static str, log_odds: f64) {
        self.terms.push((name, log_odds));
        let sum: f64 = self.terms.iter().map(|(_, odds)| odds).sum();
        self.probability = 1.0 / (1.0 + (-sum).exp());
    }
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

    pub(super) fn prevalence(&self, scene: &Scene<'_>, series: &Series<'_>, scored: &mut Scored) {
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
    pub(super) fn habits(
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
}
