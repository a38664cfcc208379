//! Every number of the scores over flows, in one place, with what it stands on.
//! A change here changes [`FORMULA`], which stands in every finding's evidence.

/// Version of the formulas, in the evidence of every scored finding.
pub(crate) const FORMULA: &str = "flows-4";

// Beacons: timing.

/// Gaps from which on a series is scored.
pub(crate) const MIN_GAPS: usize = 5;
/// Shorter gaps are parallel connections, seconds.
pub(crate) const SHORTEST_GAP: f64 = 0.05;
/// Events closer than this are one check-in, seconds; the best of them counts.
pub(crate) const COLLAPSE: [f64; 3] = [0.5, 5.0, 30.0];
/// Widths of the band of gaps, as a ratio, and the share of the gaps that such a
/// band holds by itself. A client without memory has at most .035, .110 and .267
/// (e^(-a)(1 - 1/w) at a = ln w/(w - 1)); what stands here leaves room for think
/// times that are less spread. A band of more than an octave tells nothing apart.
pub(crate) const BANDS: [(f64, f64); 3] = [(1.1, 0.10), (1.35, 0.25), (2.1, 0.45)];
/// Standard deviations of the lower bound of that share. Whether it is chance at
/// all is [`BAND_EVIDENCE`]'s part.
pub(crate) const WILSON_Z: f64 = 1.5;
/// Evidence from which on a band is no chance, in natural logarithms (e^-14 is a
/// millionth): there are that many pairs of hosts.
pub(crate) const BAND_EVIDENCE: f64 = 14.0;
/// Windows for counting, in median gaps.
pub(crate) const WINDOWS: [f64; 4] = [3.0, 6.0, 12.0, 24.0];
/// Windows from which on counts say something.
pub(crate) const MIN_WINDOWS: f64 = 15.0;
/// Variance by mean of the counts at which evenness is nothing: chance has 1,
/// people far more, a timer the square of its gaps' variation.
pub(crate) const EVEN: f64 = 0.6;
/// A gap of so many median gaps is a pause.
pub(crate) const PAUSE: f64 = 20.0;
/// Timing is regularity times these: what is regular alone, with equal sizes,
/// over all of its time.
pub(crate) const BASE_SHARE: f64 = 0.55;
/// See [`BASE_SHARE`].
pub(crate) const SIZE_SHARE: f64 = 0.15;
/// See [`BASE_SHARE`].
pub(crate) const PERSISTENCE_SHARE: f64 = 0.30;
/// Sizes within a tenth ...
pub(crate) const SIZE_WIDTH: f64 = 1.1;
/// ... and so many bytes are equal.
pub(crate) const SIZE_SLACK: f64 = 32.0;
/// Seconds, or events, from which on there is all the evidence that is needed.
pub(crate) const ENOUGH_SECONDS: f64 = 21_600.0;
/// See [`ENOUGH_SECONDS`].
pub(crate) const ENOUGH_EVENTS: f64 = 200.0;
/// Timing below this is none, and above this does not grow more certain: that a
/// series is regular does not say whose it is.
pub(crate) const TIMING_LEAST: f64 = 0.2;
/// See [`TIMING_LEAST`].
pub(crate) const TIMING_MOST: f64 = 0.95;
/// Rayleigh's R from which on events are locked to the clock.
pub(crate) const LOCKED: f64 = 0.99;
/// Seconds within which a scheduler has started what is due.
pub(crate) const ON_THE_MINUTE: f64 = 3.0;
/// Share of a scheduler's gaps that are one number of minutes: a job every seven
/// minutes has eight in nine, one that misses a fifth of its runs four in five.
pub(crate) const DOMINANT: f64 = 0.7;
/// Rayleigh's R of the time of the day (an hour's spread or so).
pub(crate) const DAILY: f64 = 0.95;
/// n R^2 from which on that is no chance (e^-14 is a millionth).
pub(crate) const LOCK_EVIDENCE: f64 = 14.0;

// Beacons: context, in log-odds added to those of the timing.

/// On the whole minute, or at one time of the day: what cron and task schedulers
/// do. Of timers that do not drift, one in seventeen begins there by chance.
pub(crate) const SCHEDULED: f64 = -4.0;
/// The destination has no name: neither SNI nor Host.
pub(crate) const NAMELESS: f64 = 0.5;
/// Half of the hosts or more go there.
pub(crate) const WIDESPREAD: f64 = -2.0;
/// A tenth do.
pub(crate) const COMMON: f64 = -1.0;
/// At most a fiftieth of the hosts do.
pub(crate) const RARE: f64 = 0.5;
/// Hosts from which on prevalence says anything.
pub(crate) const MIN_HOSTS: usize = 20;
/// First seen a day or more after the capture began.
pub(crate) const NEW: f64 = 0.5;
/// More is sent than received (producer/consumer ratio above .3).
pub(crate) const PRODUCER: f64 = 0.5;
/// Comes and goes with everything else that the host does.
pub(crate) const FOLLOWS_PEOPLE: f64 = -1.5;
/// Goes on while the host does nothing else.
pub(crate) const GOES_ON_ALONE: f64 = 0.5;
/// The policy's allowlist names the destination.
pub(crate) const ALLOWED: f64 = -2.0;
/// Destinations of a source at one period: a monitor probing its targets.
pub(crate) const MONITOR_TARGETS: usize = 10;
/// Periods within this ratio are the same.
pub(crate) const MONITOR_WIDTH: f64 = 1.15;
/// A monitor of local hosts ...
pub(crate) const MONITOR: f64 = -5.0;
/// ... and of others, which may be an implant's many masters.
pub(crate) const MONITOR_FAR: f64 = -2.0;
/// Hosts that do the same at one period, and their share of all, from which on it
/// is an agent that somebody installed everywhere ...
pub(crate) const FLEET_LEAST: usize = 8;
/// See [`FLEET_LEAST`].
pub(crate) const FLEET_SHARE: f64 = 0.05;
/// ... where periods within this ratio are the same.
pub(crate) const FLEET_WIDTH: f64 = 1.25;
/// A fleet. Stronger than all that speaks for a beacon together.
pub(crate) const FLEET: f64 = -5.0;
/// Destinations that a device of one purpose has at most ...
pub(crate) const DEVICE_GOALS: u32 = 3;
/// ... and the share of the capture's span over which it goes there.
pub(crate) const ALWAYS: f64 = 0.95;
/// A device.
pub(crate) const DEVICE: f64 = -5.0;
/// A gap of so many median gaps, and of an hour, ends a sitting.
pub(crate) const SITTING_PAUSE: f64 = 6.0;
/// Hours below which a stretch is somebody's sitting ...
pub(crate) const SITTING_HOURS: i64 = 4;
/// ... where the series is there in less than this share of its host's hours.
pub(crate) const SITTING_COVERAGE: f64 = 0.25;
/// In sittings: an implant goes on while its host does.
pub(crate) const SITTINGS: f64 = -5.0;
/// No connection was ever made: the other end is gone.
pub(crate) const UNREACHABLE: f64 = -0.5;

/// Log-odds from which on a benign cause is strong enough to explain what the
/// literal rule finds, where the policy asks for that: a scheduler, a fleet, a
/// device, sittings, a monitor of local hosts.
pub(crate) const STRONG: f64 = -4.0;

/// Score from which on a beacon is a finding of low, medium, high severity.
pub(crate) const BEACON_LEVELS: [f64; 3] = [0.45, 0.6, 0.8];

// Long connections.

/// Seconds from which on a connection is long, and the tiers that a finding names.
pub(crate) const LONG_TIERS: [i64; 5] = [3_600, 14_400, 28_800, 43_200, 86_400];

// Slow exfiltration: over the days of a capture, by source and destination.

/// Bytes sent from which on it is looked at.
pub(crate) const SLOW_BYTES: u64 = 20 << 20;
/// Sessions.
pub(crate) const SLOW_SESSIONS: u64 = 24;
/// Producer/consumer ratio.
pub(crate) const SLOW_PCR: f64 = 0.3;
/// Variation of the sessions' sizes: pieces of one size.
pub(crate) const SLOW_CV: f64 = 0.5;
/// Hours in which something was sent.
pub(crate) const SLOW_HOURS: usize = 8;

/// Half of the hosts or more, or a fiftieth at most, keep such a connection.
pub(crate) const LONG_PREVALENCE: f64 = 0.15;
/// Score from which on a long connection is a finding of medium severity: eight
/// hours to a rare destination, or twelve.
pub(crate) const LONG_MEDIUM: f64 = 0.75;

/// Heartbeats inside the connection.
pub(crate) const LONG_BEATS: f64 = 0.25;
/// Gaps between them from which on they say something ...
pub(crate) const BEATS: u64 = 30;
/// ... and the share of the gaps that lie within one band. Without memory, half an
/// octave holds .15 of them: thirty of which .6 do have a chance of e^-16.
pub(crate) const BEAT_SHARE: f64 = 0.6;
/// Other hosts, as a share of all, from which on its heartbeats are a program's
/// that many have.
pub(crate) const BEAT_HOSTS: f64 = 0.1;
/// Shorter connections of the same host to the same registered domain, from which
/// on they are those of a page that somebody opened.
pub(crate) const BEAT_VISITS: u32 = 3;

/// How far a duration is one of a channel: 0.2 at the first tier, 0.8 at the fourth.
pub(crate) fn long_score(seconds: i64) -> f64 {
    let mut score = 0.0;
    let mut before = 0_i64;
    for (tier, at) in LONG_TIERS.into_iter().zip([0.2, 0.4, 0.6, 0.8, 0.9]) {
        if seconds < tier {
            let share = (seconds - before) as f64 / (tier - before).max(1) as f64;
            let floor: f64 = score;
            return if before == 0 {
                0.0
            } else {
                floor + (at - floor) * share
            };
        }
        score = at;
        before = tier;
    }
    score
}

// Slow exfiltration: against the host's habit.

/// Robust deviations of the logarithm of what was sent, from which on it is far.
pub(crate) const SLOW_Z: f64 = 4.0;
/// What keeps a host of one habit from having none: a factor of 1.8.
pub(crate) const SLOW_SPREAD: f64 = 0.25;
/// Destinations from which on a host has a habit.
pub(crate) const SLOW_DESTINATIONS: usize = 20;
/// Bytes sent from which on being far says something.
pub(crate) const SLOW_OUTLIER_BYTES: u64 = 1 << 20;

// Rare TLS clients.

/// Handshakes of a host from which on it has a habit ...
pub(crate) const TLS_HANDSHAKES: u64 = 20;
/// ... and destinations beyond this one.
pub(crate) const TLS_DESTINATIONS: usize = 5;
/// Handshakes of the client: once is chance.
pub(crate) const TLS_REPEATS: u64 = 3;
/// Score of a client for one destination alone.
pub(crate) const TLS_SCORE: f64 = 0.4;
/// Its server has no name.
pub(crate) const TLS_NAMELESS: f64 = 0.2;
/// Its server's certificate fails.
pub(crate) const TLS_FAILS: f64 = 0.2;
/// Other hosts go there as well.
pub(crate) const TLS_SHARED: f64 = 0.2;
/// Score from which on it is of medium severity.
pub(crate) const TLS_MEDIUM: f64 = 0.6;
