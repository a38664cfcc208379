//! How regular the times of a series of events are: what beacons look like
//! through jitter, missed check-ins and nights off, against what a client
//! without memory would do. Pure functions over seconds; no table, no policy.
//!
//! Implants draw each sleep after the check-in before it, so their phase walks
//! at random and spectral lines die; the distribution of the gaps stays narrow.
//! Hence gaps first, counts second, and phase only to tell schedulers apart.

use super::weights as w;

/// A band of gaps that holds most of them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Band {
    /// 0 to 1: how far beyond what happens by itself.
    pub(crate) score: f64,
    /// Shortest gap of the band, seconds.
    pub(crate) low: f64,
    /// Longest.
    pub(crate) high: f64,
    /// Share of the gaps within it, multiples for missed check-ins counted half.
    pub(crate) share: f64,
    /// Seconds within explained gaps.
    pub(crate) explained: f64,
}

/// Gaps between sorted times.
pub(crate) fn gaps(times: &[f64]) -> Vec<f64> {
    times
        .iter()
        .zip(times.iter().skip(1))
        .map(|(a, b)| b - a)
        .collect()
}

/// Puts together events closer than `within` to the one before: several
/// connections of one check-in. Keeps the first of each.
pub(crate) fn collapse(times: &[f64], within: f64) -> Vec<f64> {
    let mut kept = Vec::with_capacity(times.len());
    let mut last = f64::NEG_INFINITY;
    for &time in times {
        if time - last >= within {
            kept.push(time);
        }
        last = time;
    }
    kept
}

/// Median of sorted values; 0 for none.
pub(crate) fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match (sorted.get(middle.wrapping_sub(1)), sorted.get(middle)) {
        (Some(low), Some(high)) if sorted.len().is_multiple_of(2) => f64::midpoint(*low, *high),
        (_, Some(middle)) => *middle,
        _ => 0.0,
    }
}

/// The narrow band that best explains the gaps, which are sorted.
pub(crate) fn band(sorted: &[f64]) -> Band {
    let mut best = Band::default();
    let n = sorted.len();
    if n < w::MIN_GAPS {
        return best;
    }
    for (width, by_itself) in w::BANDS {
        // The fullest window [a, a * width], by two pointers.
        let (mut end, mut most, mut at) = (0_usize, 0_usize, 0_usize);
        for (start, &low) in sorted.iter().enumerate() {
            let high = low.max(w::SHORTEST_GAP) * width;
            while sorted.get(end).is_some_and(|&gap| gap <= high) {
                end += 1;
            }
            if end - start > most {
                (most, at) = (end - start, start);
            }
        }
        let low = sorted
            .get(at)
            .copied()
            .unwrap_or_default()
            .max(w::SHORTEST_GAP);
        let high = low * width;
        let within = |from: f64, to: f64| {
            let start = sorted.partition_point(|&gap| gap < from);
            let end = sorted.partition_point(|&gap| gap <= to);
            sorted.get(start..end).unwrap_or_default()
        };
        let mut count = most as f64;
        let mut explained: f64 = within(low, high).iter().sum();
        if count / n as f64 >= 0.5 {
            let mut from = high;
            for times in [2.0, 3.0] {
                let missed = within((low * times).max(from.next_up()), high * times);
                count += 0.5 * missed.len() as f64;
                explained += missed.iter().sum::<f64>();
                from = from.max(high * times);
            }
        }
        let share = count / n as f64;
        let sure = sureness(share, n as f64, by_itself);
        let least = wilson_lower(share, n as f64);
        let score = sure * ((least - by_itself) / (1.0 - by_itself)).max(0.0);
        if score > best.score {
            best = Band {
                score,
                low,
                high,
                share,
                explained,
            };
        }
    }
    best
}

/// Lower bound of a share by Wilson's interval.
fn wilson_lower(share: f64, n: f64) -> f64 {
    let z2 = w::WILSON_Z * w::WILSON_Z;
    let centre = share + z2 / (2.0 * n);
    let spread = w::WILSON_Z
        * (share * (1.0 - share) / n + z2 / (4.0 * n * n))
            .max(0.0)
            .sqrt();
    (centre - spread) / (1.0 + z2 / n)
}

/// How sure it is that a band holds more than it would by itself: 1 from
/// [`w::BAND_EVIDENCE`] on. By Chernoff's bound, so many of `n` gaps or more fall
/// into one band with a probability of at most e^(-n KL); each gap could begin
/// it, at each width.
fn sureness(share: f64, n: f64, by_itself: f64) -> f64 {
    let share = share.min(1.0);
    if share <= by_itself {
        return 0.0;
    }
    let term = |p: f64, q: f64| if p > 0.0 { p * (p / q).ln() } else { 0.0 };
    let divergence = term(share, by_itself) + term(1.0 - share, 1.0 - by_itself);
    let evidence = n * divergence - (n * w::BANDS.len() as f64).ln();
    (evidence / w::BAND_EVIDENCE).clamp(0.0, 1.0)
}

/// How much more evenly events fall into windows than by chance: 0 to 1. Sees
/// several interleaved timers, whose gaps alone look like chance.
pub(crate) fn evenness(times: &[f64], median_gap: f64) -> f64 {
    let mut best = 0.0_f64;
    if median_gap < w::SHORTEST_GAP {
        return best;
    }
    for factor in w::WINDOWS {
        let window = factor * median_gap;
        let mut counts: Vec<f64> = Vec::new();
        // Active stretches only: a night off says nothing of how even the day is.
        let mut start = 0;
        for index in 1..=times.len() {
            let is_end = match (times.get(index), times.get(index - 1)) {
                (Some(now), Some(before)) => now - before > w::PAUSE * median_gap,
                _ => true,
            };
            if is_end {
                windowed(
                    times.get(start..index).unwrap_or_default(),
                    window,
                    &mut counts,
                );
                start = index;
            }
        }
        let m = counts.len() as f64;
        if m < w::MIN_WINDOWS {
            continue;
        }
        let mean = counts.iter().sum::<f64>() / m;
        if mean <= 0.0 {
            continue;
        }
        let variance = counts.iter().map(|c| (c - mean) * (c - mean)).sum::<f64>() / (m - 1.0);
        let ratio = variance / mean;
        let upper = ratio * (m - 1.0) / chi_square_low(m - 1.0);
        best = best.max(1.0 - upper / w::EVEN);
    }
    best.max(0.0)
}

/// Counts of whole windows of a stretch.
fn windowed(stretch: &[f64], window: f64, counts: &mut Vec<f64>) {
    let (Some(&first), Some(&last)) = (stretch.first(), stretch.last()) else {
        return;
    };
    let whole = ((last - first) / window).floor();
    if !(1.0..=1e6).contains(&whole) {
        return;
    }
    let from = counts.len();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "1 to a million"
    )]
    let whole = whole as usize;
    counts.resize(from + whole, 0.0);
    for &time in stretch {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative, and bounded by what is there"
        )]
        let index = ((time - first) / window) as usize;
        if index < whole
            && let Some(count) = counts.get_mut(from + index)
        {
            *count += 1.0;
        }
    }
}

/// The 0.1 % quantile of chi-square (Wilson and Hilferty 1931).
fn chi_square_low(degrees: f64) -> f64 {
    let a = 2.0 / (9.0 * degrees);
    degrees * (1.0 - a - 3.0902 * a.sqrt()).max(0.05).powi(3)
}

/// Which clock events keep to, and Rayleigh's R: the whole minute, as schedulers
/// start them, or one time of the day; none for what drifts, or keeps to some
/// other second. Times are seconds since the epoch. A period that divides the
/// minute locks to it as well, wherever it began: only the second itself tells
/// cron from a timer. A scheduler keeps to one gap as well: an implant that draws
/// a whole number of minutes each time does not.
pub(crate) fn clock(times: &[f64], typical_gap: f64) -> Option<(&'static str, f64)> {
    const MINUTE: f64 = 60.0;
    const DAY: f64 = 86_400.0;
    if typical_gap >= DAY * 0.8 {
        let (r, _) = phase(times, DAY);
        return (r >= w::DAILY).then_some(("at one time of the day", r));
    }
    if typical_gap < MINUTE * 0.9 {
        return None;
    }
    let (r, second) = phase(times, MINUTE);
    // exp(-n R^2) is the chance of so much by itself.
    let is_locked = r >= w::LOCKED && times.len() as f64 * r * r > w::LOCK_EVIDENCE;
    let is_whole = second <= w::ON_THE_MINUTE || second >= MINUTE - 0.5;
    let is_scheduled = is_locked && is_whole && has_dominant_gap(times);
    is_scheduled.then_some(("on the whole minute", r))
}

/// Whether most gaps are the same whole number of minutes.
fn has_dominant_gap(times: &[f64]) -> bool {
    // A run may make several connections.
    let runs = collapse(times, 30.0);
    let mut minutes: Vec<f64> = gaps(&runs)
        .into_iter()
        .map(|gap| (gap / 60.0).round())
        .collect();
    minutes.sort_by(f64::total_cmp);
    let same = minutes.chunk_by(|a, b| a == b).map(<[f64]>::len);
    same.max()
        .is_some_and(|most| most as f64 >= w::DOMINANT * minutes.len() as f64)
}

/// Rayleigh's R of times within a period, and where in it they lie.
fn phase(times: &[f64], period: f64) -> (f64, f64) {
    let (mut x, mut y) = (0.0_f64, 0.0_f64);
    for &time in times {
        let angle = time.rem_euclid(period) / period * std::f64::consts::TAU;
        x += angle.cos();
        y += angle.sin();
    }
    let r = (x * x + y * y).sqrt() / times.len().max(1) as f64;
    let turn = std::f64::consts::TAU;
    (r, y.atan2(x).rem_euclid(turn) / turn * period)
}

/// Largest share of sizes within a window of a tenth and 32 bytes; sorts them.
pub(crate) fn size_stability(sizes: &mut [u32]) -> f64 {
    sizes.sort_unstable();
    let (mut end, mut most) = (0_usize, 0_usize);
    for (start, &low) in sizes.iter().enumerate() {
        let high = f64::from(low) * w::SIZE_WIDTH + w::SIZE_SLACK;
        while sizes.get(end).is_some_and(|&size| f64::from(size) <= high) {
            end += 1;
        }
        most = most.max(end - start);
    }
    if sizes.is_empty() {
        0.0
    } else {
        most as f64 / sizes.len() as f64
    }
}

/// Rank correlation of two series of one length (Spearman 1904); ties share ranks.
pub(crate) fn spearman(a: &[f64], b: &[f64]) -> f64 {
    let (a, b) = (ranks(a), ranks(b));
    let n = a.len().min(b.len()) as f64;
    if n < 3.0 {
        return 0.0;
    }
    let (ma, mb) = (a.iter().sum::<f64>() / n, b.iter().sum::<f64>() / n);
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (x, y) in a.iter().zip(&b) {
        ab += (x - ma) * (y - mb);
        aa += (x - ma) * (x - ma);
        bb += (y - mb) * (y - mb);
    }
    if aa <= 0.0 || bb <= 0.0 {
        return 0.0;
    }
    ab / (aa * bb).sqrt()
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    let value = |index: usize| values.get(index).copied().unwrap_or_default();
    order.sort_by(|&a, &b| value(a).total_cmp(&value(b)));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while let Some(&first) = order.get(start) {
        let same = order.get(start..).unwrap_or_default();
        let ties = same
            .iter()
            .take_while(|&&index| value(index) <= value(first))
            .count();
        let rank = start as f64 + (ties as f64 - 1.0) / 2.0;
        for &index in same.iter().take(ties) {
            if let Some(slot) = ranks.get_mut(index) {
                *slot = rank;
            }
        }
        start += ties.max(1);
    }
    ranks
}

/// The timing of a series, scored.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Timing {
    /// 0 to 1.
    pub(crate) score: f64,
    pub(crate) band: Band,
    pub(crate) evenness: f64,
    /// Share of the time that explained gaps cover.
    pub(crate) persistence: f64,
    pub(crate) size_stability: f64,
    /// How much evidence there is.
    pub(crate) confidence: f64,
    /// Check-ins after collapsing.
    pub(crate) check_ins: usize,
    pub(crate) median_gap: f64,
}

/// Scores sorted times (seconds) with the stability of their sizes.
pub(crate) fn timing(times: &[f64], size_stability: f64) -> Timing {
    let mut best = Timing::default();
    for within in w::COLLAPSE {
        let kept = collapse(times, within);
        let mut gaps = gaps(&kept);
        gaps.sort_by(f64::total_cmp);
        let median_gap = median(&gaps);
        if gaps.len() < w::MIN_GAPS || within * 2.0 > median_gap {
            continue;
        }
        let band = band(&gaps);
        let evenness = evenness(&kept, median_gap);
        let span = match (kept.first(), kept.last()) {
            (Some(first), Some(last)) => last - first,
            _ => 0.0,
        };
        let n = kept.len() as f64;
        let persistence = if evenness > band.score {
            1.0
        } else {
            (band.explained / span.max(f64::MIN_POSITIVE)).min(1.0)
        };
        let confidence = (span / w::ENOUGH_SECONDS)
            .max(n / w::ENOUGH_EVENTS)
            .min(1.0)
            .sqrt();
        let score = band.score.max(evenness)
            * (w::BASE_SHARE + w::SIZE_SHARE * size_stability + w::PERSISTENCE_SHARE * persistence)
            * confidence;
        if score > best.score {
            best = Timing {
                score,
                band,
                evenness,
                persistence,
                size_stability,
                confidence,
                check_ins: kept.len(),
                median_gap,
            };
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look random and are the same every time (splitmix64).
    struct Noise(u64);

    impl Noise {
        fn next(&mut self) -> f64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
        }
    }

    /// Times whose gaps `gap` draws.
    fn series(n: usize, seed: u64, mut gap: impl FnMut(&mut Noise) -> f64) -> Vec<f64> {
        let mut noise = Noise(seed);
        let mut at = 0.0;
        (0..n)
            .map(|_| {
                at += gap(&mut noise);
                at
            })
            .collect()
    }

    #[track_caller]
    fn scores(times: &[f64], expected: std::ops::RangeInclusive<f64>) {
        let timing = timing(times, 1.0);
        assert!(expected.contains(&timing.score), "{timing:?}");
    }

    #[test]
    fn beacons_stand_out_through_jitter_misses_doubles_and_nights() {
        scores(&series(400, 1, |_| 60.0), 0.9..=1.0);
        scores(
            &series(400, 2, |n| 60.0 * (1.0 - 0.3 * n.next())),
            0.75..=1.0,
        );
        scores(
            &series(400, 3, |n| 60.0 * (1.0 - 0.5 * n.next())),
            0.55..=1.0,
        );
        // A fifth of the check-ins missed.
        let missed = |n: &mut Noise| {
            let times = if n.next() < 0.2 { 2.0 } else { 1.0 };
            times * 60.0 * (1.0 - 0.2 * n.next())
        };
        scores(&series(400, 4, missed), 0.5..=1.0);
        // Each check-in is two connections.
        let mut flip = false;
        let doubled = |n: &mut Noise| {
            flip = !flip;
            if flip {
                300.0 * (1.0 - 0.2 * n.next())
            } else {
                0.2
            }
        };
        scores(&series(400, 5, doubled), 0.75..=1.0);
        // Six hours of sleep for a week.
        scores(
            &series(28, 6, |n| 21_600.0 * (1.0 - 0.2 * n.next())),
            0.5..=1.0,
        );
        // Off for 14 hours every 40 check-ins.
        let mut count = 0;
        let nights = |n: &mut Noise| {
            count += 1;
            let night = if count % 40 == 0 { 50_000.0 } else { 0.0 };
            900.0 * (1.0 - 0.2 * n.next()) + night
        };
        scores(&series(280, 7, nights), 0.6..=1.0);
    }

    #[test]
    fn chance_does_not() {
        for seed in 10..60 {
            // Without memory, and with think times that spread over decades.
            scores(
                &series(500, seed, |n| -60.0 * (1.0 - n.next()).ln()),
                0.0..=0.4,
            );
            let normal = |n: &mut Noise| (0..12).map(|_| n.next()).sum::<f64>() - 6.0;
            scores(
                &series(500, seed, |n| (4.0 + 1.2 * normal(n)).exp()),
                0.0..=0.4,
            );
        }
    }

    #[test]
    fn interleaved_timers_are_even() {
        // Three timers of 5 s each: gaps look like chance, counts do not.
        let mut times = Vec::new();
        for (seed, phase) in [(1, 0.0), (2, 1.7), (3, 3.1)] {
            times.extend(
                series(400, seed, |n| 5.0 * (0.95 + 0.1 * n.next()))
                    .iter()
                    .map(|t| t + phase),
            );
        }
        times.sort_by(f64::total_cmp);
        scores(&times, 0.5..=1.0);
    }

    #[test]
    fn schedulers_start_on_the_minute_and_implants_drift() {
        let every = |start: f64| -> Vec<f64> {
            (0..200)
                .map(|i| f64::from(i) * 300.0 + start + f64::from(i % 3))
                .collect()
        };
        assert!(clock(&every(0.0), 300.0).is_some_and(|(_, r)| r > 0.99));
        // A timer that began at some other second, and one without a clock.
        assert_eq!(clock(&every(37.0), 300.0), None);
        let jittered = series(200, 9, |n| 300.0 * (1.0 - 0.2 * n.next()));
        assert_eq!(clock(&jittered, 270.0), None);
        // Each night at two, and a sleep of a day that drifts.
        let nights: Vec<f64> = (0..7)
            .map(|day| f64::from(day) * 86_400.0 + 7_200.0)
            .collect();
        assert!(clock(&nights, 86_400.0).is_some_and(|(says, _)| says.contains("day")));
        let drifts = series(7, 3, |n| 86_400.0 * (0.7 + 0.6 * n.next()));
        assert_eq!(clock(&drifts, 86_400.0), None);
    }

    #[test]
    fn whole_minutes_are_no_schedule_without_a_gap_that_most_have() {
        let minutes = |gaps: &mut dyn FnMut(u32) -> f64| -> Vec<f64> {
            let mut at = 0.0;
            let mut time = |n| {
                at += 60.0 * gaps(n);
                at + f64::from(n % 3)
            };
            (0..200).map(&mut time).collect()
        };
        let mut noise = Noise(5);
        for least in [1.0, 4.0, 20.0] {
            // Drawn each time from three, or from many.
            for many in [3.0, 12.0] {
                let drawn = minutes(&mut |_| least + (many * noise.next()).floor());
                assert_eq!(clock(&drawn, 60.0 * least), None, "{least} {many}");
            }
        }
        let scheduled: [(&str, &mut dyn FnMut(u32) -> f64); 4] = [
            ("all alike", &mut |_| 5.0),
            ("a fifth missed", &mut |n| {
                if n % 5 == 0 { 10.0 } else { 5.0 }
            }),
            // */7 starts again with the hour.
            ("cut by the hour", &mut |n| {
                if n % 9 == 0 { 4.0 } else { 7.0 }
            }),
            ("by day alone", &mut |n| {
                if n % 40 == 0 { 840.0 } else { 15.0 }
            }),
        ];
        for (what, gaps) in scheduled {
            assert!(clock(&minutes(gaps), 300.0).is_some(), "{what}");
        }
        // Each run is two connections.
        let mut doubled = minutes(&mut |_| 5.0);
        doubled.extend(doubled.clone().iter().map(|at| at + 0.2));
        doubled.sort_by(f64::total_cmp);
        assert!(clock(&doubled, 300.0).is_some());
    }

    #[test]
    fn few_gaps_say_little_and_many_say_all() {
        let near = |value: f64, expected: f64| assert!((value - expected).abs() < 0.01, "{value}");
        near(sureness(0.9, 22.0, 0.25), 1.0);
        // Five of five within an octave happens; 27 of 27 does not.
        assert!(sureness(1.0, 5.0, 0.45) < 0.15);
        near(sureness(1.0, 27.0, 0.45), 1.0);
        near(sureness(0.45, 1e6, 0.45), 0.0);
    }

    #[test]
    fn sizes_and_ranks() {
        let near = |value: f64, expected: f64| assert!((value - expected).abs() < 1e-9, "{value}");
        near(size_stability(&mut [500, 510, 505, 9_000]), 0.75);
        near(size_stability(&mut []), 0.0);
        near(
            spearman(&[1.0, 2.0, 3.0, 4.0], &[10.0, 20.0, 30.0, 40.0]),
            1.0,
        );
        near(spearman(&[1.0, 2.0, 3.0, 4.0], &[4.0, 3.0, 2.0, 1.0]), -1.0);
        near(spearman(&[1.0, 1.0, 1.0], &[1.0, 2.0, 3.0]), 0.0);
        near(median(&[1.0, 2.0, 4.0]), 2.0);
        near(median(&[1.0, 2.0, 4.0, 9.0]), 3.0);
    }
}
