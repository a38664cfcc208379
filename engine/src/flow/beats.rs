//! Heartbeats inside one flow: how alike the gaps are after which payload comes
//! back. Measured while packets pass, in memory of one size, and only once a flow
//! is minutes old; whether that is an implant is not for here to say.
//!
//! Gaps are counted by size, eight bins to an octave. A bin that is full halves all
//! of them: of a long flow, the latest hours weigh most.

use crate::proto::Direction;
use crate::time::NANOS_PER_SECOND;

/// Flows younger than this have no rhythm to speak of.
const AFTER_NS: i64 = 300 * NANOS_PER_SECOND;
/// Silence of both sides before a beat.
const SILENCE_NS: i64 = NANOS_PER_SECOND;
/// Payload of both sides from one beat to the next, at most: a request with its
/// answer and their frames, but no page and no piece of a film.
const SMALL: u64 = 4_096;
/// Gaps are counted in units of 2^24 ns (17 ms): a second has 59, so that the
/// three bits behind the first are known of every gap.
const UNIT: u32 = 24;
/// First octave, of 32 units.
const FIRST: u32 = 5;
/// From half a second to 73 minutes: beyond that, flows time out.
const BINS: usize = 13 * 8;
/// Bins of a band, half an octave wide at most: a sleep with a quarter of jitter.
const BAND: usize = 4;

/// The beats of a flow, by who sent them.
#[derive(Clone, Debug, Default)]
pub struct Beats([Side; 2]);

#[derive(Clone, Debug)]
struct Side {
    /// Time of the latest beat, and what both sides had sent before it.
    last: Option<(i64, u64)>,
    gaps: u32,
    /// By size; the last one holds those that are not small or too long.
    bins: [u8; BINS + 1],
}

impl Default for Side {
    fn default() -> Self {
        Self {
            last: None,
            gaps: 0,
            bins: [0; BINS + 1],
        }
    }
}

/// What the beats of one side come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rhythm {
    /// The side whose gaps are more alike.
    pub side: Direction,
    /// Gaps between its beats.
    pub gaps: u32,
    /// Middle of the band that holds most of them.
    pub gap_ns: i64,
    /// Share that lies within the band, with little sent until the next beat.
    pub share: f32,
}

impl Rhythm {
    /// The side as tables name it.
    pub const fn side_name(&self) -> &'static str {
        match self.side {
            Direction::Orig => "orig",
            Direction::Resp => "resp",
        }
    }
}

impl Beats {
    /// Whether a packet with payload may be a beat: asked of each packet.
    pub const fn may_be(first_ts_ns: i64, last_ts_ns: i64, ts_ns: i64) -> bool {
        ts_ns.saturating_sub(last_ts_ns) >= SILENCE_NS
            && ts_ns.saturating_sub(first_ts_ns) >= AFTER_NS
    }

    /// New payload of a side after silence; `sent` is the payload of both sides
    /// before it.
    pub fn note(&mut self, side: Direction, ts_ns: i64, sent: u64) {
        let side = &mut self.0[side.index()];
        let Some((last_ns, sent_before)) = side.last.replace((ts_ns, sent)) else {
            return;
        };
        side.gaps = side.gaps.saturating_add(1);
        let is_small = sent.saturating_sub(sent_before) <= SMALL;
        let bin = bin(ts_ns.saturating_sub(last_ns)).filter(|_| is_small);
        let bin = bin.unwrap_or(BINS);
        if side.bins.get(bin) == Some(&u8::MAX) {
            side.bins.iter_mut().for_each(|count| *count /= 2);
        }
        if let Some(count) = side.bins.get_mut(bin) {
            *count += 1;
        }
    }

    /// Of the side with more beats within its band; none without two beats.
    pub fn rhythm(&self) -> Option<Rhythm> {
        let [orig, resp] = [Direction::Orig, Direction::Resp].map(|side| self.of(side));
        let weight = |one: &Rhythm| f64::from(one.share) * f64::from(one.gaps);
        match (orig, resp) {
            (Some(orig), Some(resp)) if weight(&resp) > weight(&orig) => Some(resp),
            (orig, resp) => orig.or(resp),
        }
    }

    fn of(&self, side: Direction) -> Option<Rhythm> {
        let own = &self.0[side.index()];
        let all: u32 = own.bins.iter().map(|&count| u32::from(count)).sum();
        let within = |band: &[u8]| band.iter().map(|&count| u32::from(count)).sum::<u32>();
        let gaps = own.bins.get(..BINS)?;
        // The first of those that hold most.
        let (start, band) = gaps
            .windows(BAND)
            .enumerate()
            .rev()
            .max_by_key(|(_, band)| within(band))?;
        if all == 0 {
            return None;
        }
        let most = within(band);
        let middles = band.iter().zip(start..).map(|(&count, bin)| {
            let (low, high) = (edge(bin), edge(bin + 1));
            u64::from(count) * u64::midpoint(low, high)
        });
        let gap_ns = (middles.sum::<u64>() / u64::from(most.max(1))) << UNIT;
        Some(Rhythm {
            side,
            gaps: own.gaps,
            gap_ns: i64::try_from(gap_ns).unwrap_or(i64::MAX),
            share: most as f32 / all as f32,
        })
    }
}

/// The bin of a gap; none beyond the last.
fn bin(gap_ns: i64) -> Option<usize> {
    let units = u64::try_from(gap_ns >> UNIT).ok()?;
    let octave = units.checked_ilog2()?.checked_sub(FIRST)?;
    let within = (units >> (octave + FIRST - 3)) & 7;
    let bin = (octave as usize) * 8 + usize::try_from(within).ok()?;
    (bin < BINS).then_some(bin)
}

/// Where a bin begins, units.
const fn edge(bin: usize) -> u64 {
    (8 + bin as u64 % 8) << (bin as u64 / 8 + FIRST as u64 - 3)
}

// What the memory budget of open flows is reckoned with.
const _: () = assert!(size_of::<Beats>() <= 288);

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Orig, Resp};

    const SECOND: i64 = NANOS_PER_SECOND;

    /// Beats of the originator: seconds since the one before, payload since then.
    fn beats(gaps: impl IntoIterator<Item = (f64, u64)>) -> Beats {
        let mut beats = Beats::default();
        let (mut at, mut sent) = (AFTER_NS, 1_000);
        beats.note(Orig, at, sent);
        for (gap, bytes) in gaps {
            at += (gap * 1e9) as i64;
            sent += bytes;
            beats.note(Orig, at, sent);
        }
        beats
    }

    #[test]
    fn bins_lie_side_by_side() {
        for number in 0..BINS {
            let low = i64::try_from(edge(number)).unwrap() << UNIT;
            assert_eq!(bin(low), Some(number));
            assert_eq!(bin(low - 1), number.checked_sub(1));
        }
        assert_eq!(bin(3_600 * SECOND), Some(101));
        for outside in [i64::MIN, -1, 0, 4_500 * SECOND, i64::MAX] {
            assert_eq!(bin(outside), None, "{outside}");
        }
    }

    #[test]
    fn only_after_silence_and_some_minutes() {
        for (last, now, expected) in [
            (299, 300, true),
            (300, 300, false),
            (298, 299, false),
            (400, 300, false),
        ] {
            assert_eq!(Beats::may_be(0, last * SECOND, now * SECOND), expected);
        }
        assert!(!Beats::may_be(i64::MAX, i64::MAX, i64::MIN));
        assert!(Beats::may_be(i64::MIN, i64::MIN, i64::MAX));
    }

    #[test]
    fn the_share_of_the_fullest_band() {
        let uneven = |n: u32| 2.0 * 1.7_f64.powi((n * 7 % 11).cast_signed());
        // What, gaps with payload, seconds of the middle, share.
        type Case = (&'static str, Vec<(f64, u64)>, f64, f32);
        let cases: [Case; 6] = [
            ("even", vec![(60.0, 80); 50], 60.0, 1.0),
            (
                "a quarter of jitter",
                (0..50).map(|n| (30.0 - f64::from(n % 8), 80)).collect(),
                26.0,
                1.0,
            ),
            (
                "every fifth is a page",
                (0..50)
                    .map(|n| (60.0, if n % 5 == 0 { 9_000 } else { 80 }))
                    .collect(),
                60.0,
                0.8,
            ),
            ("a film in pieces", vec![(5.0, 900_000); 50], 0.0, 0.0),
            (
                "uneven",
                (0..55).map(|n| (uneven(n), 80)).collect(),
                2.0,
                1.0 / 11.0,
            ),
            // Far more than a bin holds: shares stay.
            (
                "a week",
                (0..40_000)
                    .map(|n| (if n % 4 == 0 { 7.0 } else { 15.0 }, 80))
                    .collect(),
                15.0,
                0.75,
            ),
        ];
        for (what, gaps, seconds, share) in cases {
            let many = u32::try_from(gaps.len()).unwrap();
            let found = beats(gaps).rhythm().unwrap();
            assert_eq!((found.side, found.gaps), (Orig, many), "{what}");
            assert!((found.share - share).abs() < 0.01, "{what}: {found:?}");
            let middle = found.gap_ns as f64 / 1e9;
            assert!(
                (middle - seconds).abs() <= 0.06 * seconds,
                "{what}: {found:?}"
            );
        }
        assert_eq!(beats([]).rhythm(), None);
    }

    #[test]
    fn each_side_has_beats_of_its_own() {
        // A server pings every 30 s; its client speaks when it likes.
        let mut beats = Beats::default();
        for n in 0..100_i64 {
            beats.note(Resp, (300 + n * 30) * SECOND, 0);
            if n % 3 == 0 {
                beats.note(Orig, (305 + n * 30 + n * n % 17) * SECOND, 0);
            }
        }
        let found = beats.rhythm().unwrap();
        assert_eq!((found.side, found.gaps, found.share), (Resp, 99, 1.0));
        // And what goes back in time is no gap.
        beats.note(Resp, i64::MIN, 0);
        beats.note(Resp, i64::MAX, u64::MAX);
        assert!(beats.rhythm().is_some_and(|found| found.share < 1.0));
    }
}
