//! A regular series as a finding: its severity, its sentence, its numbers.

use super::META;
use super::literal::Literal;
use super::score::Scored;
use crate::control::Severity;
use crate::control::ns04::catalogue::Known;
use crate::control::ns04::groups::GroupId;
use crate::control::ns04::{Found, Measure, NameId, Numbers, Scene, Trail, rounded, weights as w};
use crate::time::CaptureTime;
use serde_json::json;
use std::cmp::{Ordering, Reverse};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Target {
    Destination(NameId),
    Group(GroupId),
    /// A destination whatever the source: the policy's other key.
    Anyone(NameId),
}

/// A series that is regular.
#[derive(Debug)]
pub(super) struct Beacon {
    pub(super) src: NameId,
    pub(super) target: Target,
    pub(super) dst_port: u16,
    pub(super) literal: Option<Literal>,
    pub(super) scored: Option<Scored>,
    /// The policy lets strong evidence explain what the literal rule found.
    pub(super) explains_literal: bool,
    pub(super) suppressed: Option<Known>,
    pub(super) destination: String,
    pub(super) dst: NameId,
    pub(super) hosts: u32,
    pub(super) members: usize,
    /// File of its first event.
    pub(super) capture: u32,
    pub(super) trail: Trail,
}

impl Beacon {
    /// Whether it is a finding, or one that is explained.
    pub(super) fn counts(&self) -> bool {
        self.literal.is_some()
            || self.explained().is_some()
            || self.probability() >= w::BEACON_LEVELS[0]
    }

    fn probability(&self) -> f64 {
        let scored = self.scored.as_ref();
        scored.map_or(0.0, |scored| scored.probability)
    }

    /// Why the score makes no finding of it. What the literal rule finds is one
    /// whatever the score says, unless the policy lets strong evidence explain it.
    fn explained(&self) -> Option<&str> {
        let scored = self.scored.as_ref()?;
        let (odds, says) = scored.explained()?;
        let holds = self.literal.is_none() || self.explains_literal && odds <= w::STRONG;
        holds.then_some(says)
    }

    /// Open and worst first; no two are equal.
    pub(super) fn rank(&self, other: &Self) -> Ordering {
        let of = |one: &Self| {
            let is_open = one.suppressed.is_none() && one.explained().is_none();
            (Reverse(is_open), Reverse(one.severity()))
        };
        let place = |one: &Self| (one.src, one.target, one.dst_port);
        of(self)
            .cmp(&of(other))
            .then(other.probability().total_cmp(&self.probability()))
            .then(place(self).cmp(&place(other)))
    }

    pub(super) fn severity(&self) -> Severity {
        if self.literal.is_some() {
            return META.severity;
        }
        let score = self.probability();
        match w::BEACON_LEVELS {
            [_, _, high] if score >= high => Severity::High,
            [_, medium, _] if score >= medium => Severity::Medium,
            _ => Severity::Low,
        }
    }

    pub(super) fn into_found(self, scene: &Scene<'_>, threshold: f64) -> Option<Found> {
        let severity = self.severity();
        let known = self.suppressed.map(|known| known.reason.into());
        let explained = || self.explained().map(|says| says.to_owned().into());
        let suppressed_by = known.or_else(explained);
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
            let against = scored.against.iter().map(|(_, says)| says.as_str());
            evidence["against"] = against.collect();
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
                suppressed_by,
            },
        })
    }
}
