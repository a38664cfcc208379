//! The literal rule: a trailing day of at least ten connections whose gaps have
//! a population coefficient of variation below the policy's threshold.

use super::DAY_NS;
use crate::control::ns04::SECOND_NS;

/// What the literal rule found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Literal {
    /// Of the most regular window.
    pub(super) cv: f64,
    pub(super) mean_seconds: f64,
    pub(super) connections: usize,
    pub(super) best_end_ns: i64,
    pub(super) first_ns: i64,
    pub(super) last_ns: i64,
    pub(super) windows: u64,
}

/// Connections that the literal rule needs.
pub(super) const LITERAL_LEAST: usize = 10;

/// Mean and population coefficient of variation of gaps; 1 where the mean is 0.
pub(super) fn variation(gaps: &[f64]) -> (f64, f64) {
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
pub(super) fn literal(times_ns: &[i64], threshold: f64) -> Option<Literal> {
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
