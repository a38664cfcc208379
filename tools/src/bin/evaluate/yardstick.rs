//! What others do, from their formulas: the literal rules of NS-04, RITA v5's
//! beacon score, and rules for DNS. Written from the formulas alone
//! (RITA: activecm/rita at a3c51501, `analysis/beacons.go`; nothing translated).

use std::collections::{BTreeMap, HashSet};

const DAY_NS: i64 = 86_400_000_000_000;
const SECOND_NS: i64 = 1_000_000_000;

/// The literal rule: some trailing 24 h with at least 10 connections whose gaps
/// have a coefficient of variation (population) below 0.1.
pub fn literal_beacon(times_ns: &[i64]) -> bool {
    let times: Vec<f64> = times_ns.iter().map(|&time| time as f64 / 1e9).collect();
    let (mut first, mut sum, mut squares) = (0, 0.0, 0.0);
    for last in 1..times.len() {
        let gap = times[last] - times[last - 1];
        sum += gap;
        squares += gap * gap;
        while times[last] - times[first] >= 86_400.0 {
            let gone = times[first + 1] - times[first];
            sum -= gone;
            squares -= gone * gone;
            first += 1;
        }
        let gaps = (last - first) as f64;
        if last - first + 1 < 10 {
            continue;
        }
        let mean = sum / gaps;
        let variance = (squares / gaps - mean * mean).max(0.0);
        if mean > 0.0 && variance.sqrt() / mean < 0.1 {
            return true;
        }
    }
    false
}

fn round3(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

fn median(sorted: &[f64]) -> f64 {
    let n = sorted.len();
    match n {
        0 => 0.0,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

/// Half Bowley's skewness, half the median absolute deviation, of sorted values.
fn statistical(sorted: &[f64], without_median: f64) -> f64 {
    let n = sorted.len();
    let (low, high) = (&sorted[..n / 2], &sorted[n.div_ceil(2)..]);
    let (q1, q2, q3) = (median(low), median(sorted), median(high));
    let skew = if q3 - q1 >= 10.0 && q2 != q1 && q2 != q3 {
        (q1 + q3 - 2.0 * q2) / (q3 - q1)
    } else {
        0.0
    };
    let mut distances: Vec<f64> = sorted.iter().map(|value| (value - q2).abs()).collect();
    distances.sort_by(f64::total_cmp);
    let deviation = if q2 >= 1.0 {
        ((q2 - median(&distances)) / q2).max(0.0)
    } else {
        without_median
    };
    round3((1.0 - skew.abs() + deviation) / 2.0)
}

/// Counts of 24 bins: one minus the coefficient of variation, or how much two heights explain.
fn histogram(counts: &[f64; 24]) -> f64 {
    let mean = counts.iter().sum::<f64>() / 24.0;
    let variance = counts
        .iter()
        .map(|count| (count - mean).powi(2))
        .sum::<f64>()
        / 24.0;
    let cv = if mean > 0.0 {
        variance.sqrt() / mean
    } else {
        f64::MAX
    };
    let even = if cv > 1.0 { 0.0 } else { round3(1.0 - cv) };
    let bars = counts.iter().filter(|count| **count > 0.0).count();
    if bars < 11 {
        return even;
    }
    let highest = counts.iter().fold(0.0_f64, |a, b| a.max(*b));
    let size = (highest * 0.05).ceil().max(1.0);
    let mut heights: BTreeMap<i64, f64> = BTreeMap::new();
    for count in counts.iter().filter(|count| **count > 0.0) {
        *heights.entry((count / size).floor() as i64).or_default() += 1.0;
    }
    let mut most: Vec<f64> = heights.into_values().collect();
    most.sort_by(|a, b| b.total_cmp(a));
    let two = most.iter().take(2).sum::<f64>();
    let bimodal = round3((two / (bars as f64 - 1.0).max(1.0)).min(1.0));
    even.max(bimodal)
}

fn duration(counts: &[f64; 24], covered: f64) -> f64 {
    if counts.iter().filter(|count| **count > 0.0).count() < 6 {
        return 0.0;
    }
    let ceil3 = |value: f64| (value * 1e3).ceil() / 1e3;
    let (mut run, mut longest) = (0_usize, 0_usize);
    for hour in 0..48 {
        run = if counts[hour % 24] > 0.0 { run + 1 } else { 0 };
        longest = longest.max(run.min(24));
    }
    let consistency = ceil3(longest as f64 / 12.0).min(1.0);
    ceil3(covered).min(1.0).max(consistency)
}

/// RITA's beacon score of one pair over the 24 hours before `end_ns`; none where
/// it does not score (fewer than four moments, three gaps, or three sizes).
pub fn rita(history: &[(i64, u64)], end_ns: i64) -> Option<f64> {
    let start_ns = end_ns - DAY_NS;
    let day: Vec<(i64, u64)> = history
        .iter()
        .filter(|(time, _)| (start_ns..=end_ns).contains(time))
        .map(|&(time, size)| (time.div_euclid(SECOND_NS), size))
        .collect();
    let moments: HashSet<i64> = day.iter().map(|(time, _)| *time).collect();
    if moments.len() < 4 || day.len() >= 86_400 {
        return None;
    }
    let mut gaps: Vec<f64> = day
        .windows(2)
        .map(|two| (two[1].0 - two[0].0) as f64)
        .collect();
    gaps.retain(|gap| *gap > 0.0);
    if gaps.len() < 3 {
        return None;
    }
    gaps.sort_by(f64::total_cmp);
    let mut sizes: Vec<f64> = day.iter().map(|(_, size)| *size as f64).collect();
    sizes.sort_by(f64::total_cmp);
    let (from, to) = (
        start_ns.div_euclid(SECOND_NS) as f64,
        end_ns.div_euclid(SECOND_NS) as f64,
    );
    let mut counts = [0.0; 24];
    for (time, _) in &day {
        let bin = ((*time as f64 - from) / (to - from) * 24.0) as usize;
        counts[bin.min(23)] += 1.0;
    }
    let covered = (day[day.len() - 1].0 - day[0].0) as f64 / (to - from);
    let parts = [
        statistical(&gaps, 1.0),
        statistical(&sizes, 0.0),
        duration(&counts, covered),
        histogram(&counts),
    ];
    Some(round3(parts.iter().sum::<f64>() / 4.0))
}

/// The best of all whole days: kinder than RITA, which looks at the last alone.
pub fn rita_best_day(history: &[(i64, u64)], start_ns: i64, days: u32) -> Option<f64> {
    let ends = (1..=i64::from(days)).map(|day| start_ns + day * DAY_NS);
    ends.filter_map(|end| rita(history, end))
        .max_by(f64::total_cmp)
}

/// Rules for DNS, of one client's questions below one domain.
pub struct DnsRules {
    /// A name longer than 50 characters (NS-04).
    pub long: bool,
    /// A first label longer than 48 (nDPI).
    pub label: bool,
    /// More than 8 different names in an hour (zkg anomalous-dns).
    pub hourly: bool,
    /// 100 different names in a day (RITA).
    pub daily: bool,
}

pub fn dns_rules(asked: &[(i64, String, u16)]) -> DnsRules {
    let most = |span_ns: i64| {
        let mut spans: BTreeMap<i64, HashSet<&str>> = BTreeMap::new();
        for (time, name, _) in asked {
            spans
                .entry(time.div_euclid(span_ns))
                .or_default()
                .insert(name);
        }
        spans.values().map(HashSet::len).max().unwrap_or_default()
    };
    let first = |name: &str| name.split('.').next().map_or(0, str::len);
    DnsRules {
        long: asked.iter().any(|(_, name, _)| name.len() > 50),
        label: asked.iter().any(|(_, name, _)| first(name) > 48),
        hourly: most(3_600 * SECOND_NS) > 8,
        daily: most(DAY_NS) >= 100,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every(seconds: f64, many: usize) -> Vec<(i64, u64)> {
        (0..many)
            .map(|n| ((n as f64 * seconds * 1e9) as i64, 300))
            .collect()
    }

    #[test]
    fn a_clock_has_rita_s_full_score() {
        // Every 60 s for a day, all of one size.
        let history = every(60.0, 1_440);
        assert_eq!(rita(&history, DAY_NS), Some(1.0));
    }

    #[test]
    fn long_sleeps_score_half_at_most() {
        // Four connections in a day: no duration, no histogram.
        let history = every(21_600.0, 4);
        assert_eq!(rita(&history, DAY_NS), Some(0.5));
        assert_eq!(rita(&every(21_600.0, 3), DAY_NS), None);
    }

    #[test]
    fn sub_scores_are_those_of_the_formulas() {
        // 1..9: quartiles 2.5, 5, 7.5, no skew; deviations 0 1 1 2 2 3 3 4 4: median 2, (5 - 2) / 5.
        let sorted: Vec<f64> = (1..=9).map(f64::from).collect();
        assert_eq!(statistical(&sorted, 1.0), 0.8);
        // All bins alike.
        assert_eq!(histogram(&[7.0; 24]), 1.0);
        // Twelve bars of one height, and twelve empty: CV 1; two heights explain 12 of 11: 1.
        let half: [f64; 24] = std::array::from_fn(|n| if n % 2 == 0 { 5.0 } else { 0.0 });
        assert_eq!(histogram(&half), 1.0);
        assert_eq!(duration(&half, 0.4), 0.4);
    }

    #[test]
    fn statistical_scores_by_hand() {
        // Sorted values, the score without a median, the score.
        let cases: [(&[f64], f64, f64); 7] = [
            // Quartiles 20, 40, 110: skew 50/90. Deviations 0 10 20 30 60 70 80:
            // 10/40. (0.4444 + 0.25) / 2.
            (&[10.0, 20.0, 30.0, 40.0, 100.0, 110.0, 120.0], 1.0, 0.347),
            // 20, 60, 100: no skew. 20 20 40 40 50 140: 20/60. (1 + 0.3333) / 2.
            (&[10.0, 20.0, 40.0, 80.0, 100.0, 200.0], 1.0, 0.667),
            // 1.5, 3, 6.5: less than ten apart counts as none. 0 1 1 2 6: 2/3.
            (&[1.0, 2.0, 3.0, 4.0, 9.0], 1.0, 0.833),
            // 10, 10, 60: nor does a median on a quartile. No deviation.
            (&[10.0, 10.0, 10.0, 10.0, 50.0, 60.0, 70.0], 1.0, 1.0),
            // 20, 100, 110: skew -70/90. 0 5 10 40 60 80 90: 60/100. (0.2222 + 0.6) / 2.
            (&[10.0, 20.0, 40.0, 100.0, 105.0, 110.0, 140.0], 1.0, 0.411),
            // A median below one: half of what stands for it.
            (&[0.0, 0.0, 0.0], 0.0, 0.5),
            (&[0.0, 0.0, 0.0], 1.0, 1.0),
        ];
        for (sorted, without, expected) in cases {
            assert_eq!(statistical(sorted, without), expected, "{sorted:?}");
        }
    }

    #[test]
    fn histogram_and_duration_scores_by_hand() {
        let bars = |of: fn(usize) -> f64| -> [f64; 24] { std::array::from_fn(of) };
        // 12 of 10 and 12 of 14: CV 1/6; two heights explain 24 of 23.
        let two = bars(|hour| if hour < 12 { 10.0 } else { 14.0 });
        assert_eq!(histogram(&two), 1.0);
        // The same in six bars each and nothing else: CV of 1.0137; 12 of 11.
        let apart = bars(|hour| [10.0, 0.0, 14.0, 0.0][hour % 4]);
        assert_eq!(histogram(&apart), 1.0);
        // 1 to 12 and nothing: CV 1.2507; two of twelve heights, by eleven.
        let stairs = bars(|hour| if hour < 12 { hour as f64 + 1.0 } else { 0.0 });
        assert_eq!(histogram(&stairs), 0.182);
        // 1 to 24: mean 12.5, deviation 6.9222, CV 0.5538; bins of two hold two each: 4/23.
        assert_eq!(histogram(&bars(|hour| hour as f64 + 1.0)), 0.446);
        // One bar: CV 4.8, and too few for heights.
        assert_eq!(
            histogram(&bars(|hour| if hour == 5 { 9.0 } else { 0.0 })),
            0.0
        );
        // Six hours across midnight: half of twelve.
        let night = bars(|hour| if !(3..21).contains(&hour) { 1.0 } else { 0.0 });
        assert_eq!(duration(&night, 0.2), 0.5);
        // Six hours apart: one in twelve, and what is covered, both rounded up.
        let apart = bars(|hour| if hour % 4 == 0 { 1.0 } else { 0.0 });
        assert_eq!(duration(&apart, 0.0), 0.084);
        assert_eq!(duration(&apart, 0.230_1), 0.231);
        // Five are none.
        assert_eq!(
            duration(&bars(|hour| if hour < 5 { 1.0 } else { 0.0 }), 1.0),
            0.0
        );
    }

    #[test]
    fn whole_scores_by_hand() {
        // Every three hours: gaps 1, sizes 1, duration 75,600 of 86,400 s; CV of the
        // histogram 1.414. (1 + 1 + 0.875 + 0) / 4.
        assert_eq!(rita(&every(10_800.0, 8), DAY_NS), Some(0.719));
        // Every hour, sizes 100 and 300 in turn: quartiles 100, 200, 300 have no
        // skew, deviations of 100 all: (1 + 0.5) / 2. (1 + 0.75 + 1 + 1) / 4.
        let sizes: Vec<(i64, u64)> = (0..24)
            .map(|n| (n * 3_600 * SECOND_NS, if n % 2 == 0 { 100 } else { 300 }))
            .collect();
        assert_eq!(rita(&sizes, DAY_NS), Some(0.938));
        // Four connections in two seconds: two moments.
        let at_once: Vec<(i64, u64)> = (0..4).map(|n| (n * SECOND_NS / 2, 300)).collect();
        assert_eq!(rita(&at_once, DAY_NS), None);
        // The last day alone, against the best of two.
        let first: Vec<(i64, u64)> = every(60.0, 1_440);
        assert_eq!(rita(&first, 3 * DAY_NS), None);
        assert_eq!(rita_best_day(&first, 0, 3), Some(1.0));
    }

    #[test]
    fn the_literal_rule_needs_ten_and_a_low_variation() {
        let times =
            |history: &[(i64, u64)]| history.iter().map(|(time, _)| *time).collect::<Vec<_>>();
        assert!(!literal_beacon(&times(&every(60.0, 9))));
        assert!(literal_beacon(&times(&every(60.0, 10))));
        // Alternately 50 and 70 s: CV 1/6.
        let mut at = 0_i64;
        let uneven: Vec<i64> = (0..50)
            .map(|n| {
                at += if n % 2 == 0 { 50 } else { 70 } * SECOND_NS;
                at
            })
            .collect();
        assert!(!literal_beacon(&uneven));
        // 60 s plus and minus d in turn: d/60 over ten gaps, a little less over nine.
        let swing = |d: i64| -> Vec<i64> {
            let gap = |n: i64| 60_000 + if n % 2 == 0 { -d } else { d };
            let mut at = 0;
            let mut next = |n| {
                at += gap(n) * 1_000_000;
                at
            };
            (0..11).map(&mut next).collect()
        };
        assert!(literal_beacon(&swing(5_940)));
        assert!(!literal_beacon(&swing(6_200)));
        // Ten must fit into a day.
        assert!(!literal_beacon(&times(&every(9_700.0, 60))));
        assert!(literal_beacon(&times(&every(9_000.0, 60))));
    }
}
