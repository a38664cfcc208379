//! Bytes sent to one destination within any 3,600 seconds, and any 86,400:
//! windows that slide over packet time, across files and midnight.
//!
//! A flow's bytes count as sent evenly between its first and its latest packet,
//! which is all that the table says of it. All sources of a destination count
//! together, as the policy has it; the finding names the one that sent most and
//! lists the others. Three passes: totals of each destination, the windows of
//! those few that could exceed, the flows of those that do.

use super::{
    Behaviour, Columns, Detector, Found, Judgement, MIB, Measure, NameId, Numbers, Rows, SECOND_NS,
    Scene, Seen, Tally, Trail, is_unicast,
};
use crate::control::{Meta, Severity, Wants};
use crate::policy::{Policy, VolumeThresholds};
use crate::time::CaptureTime;
use foldhash::quality::RandomState;
use hashbrown::HashMap;
use serde_json::json;
use std::collections::BTreeMap;

/// A sliding window.
pub(super) struct SlidingVolume {
    meta: &'static Meta,
    seconds: i64,
    threshold_mb: fn(&VolumeThresholds) -> f64,
}

static HOURLY: Meta = Meta {
    id: "NS-04.volume_hourly",
    title: "More bytes to one destination within an hour than allowed",
    severity: Severity::High,
    attack: &["T1041", "T1048"],
    wants: Wants::Tables,
    observable_with: "flows that send something",
    source: "policy monitoring.network.volume.alert_thresholds.hourly_total_mb",
};

static DAILY: Meta = Meta {
    id: "NS-04.volume_daily",
    title: "More bytes to one destination within a day than allowed",
    severity: Severity::High,
    attack: &["T1041", "T1048"],
    wants: Wants::Tables,
    observable_with: "flows that send something",
    source: "policy monitoring.network.volume.alert_thresholds.daily_total_mb",
};

/// Within 3,600 seconds.
pub(super) static VOLUME_HOURLY: SlidingVolume = SlidingVolume {
    meta: &HOURLY,
    seconds: 3_600,
    threshold_mb: |thresholds| thresholds.hourly_total_mb,
};

/// Within 86,400 seconds.
pub(super) static VOLUME_DAILY: SlidingVolume = SlidingVolume {
    meta: &DAILY,
    seconds: 86_400,
    threshold_mb: |thresholds| thresholds.daily_total_mb,
};

impl Behaviour for SlidingVolume {
    fn meta(&self) -> &'static Meta {
        self.meta
    }

    fn start(&self, policy: &Policy) -> Result<Box<dyn Detector>, &'static str> {
        let volume = &policy.monitoring.network.volume;
        if !volume.track_per_destination {
            return Err("the policy does not track volume by destination");
        }
        Ok(Box::new(Looking {
            meta: self.meta,
            sent: Sent::by(policy),
            window_ns: self.seconds * SECOND_NS,
            threshold: (self.threshold_mb)(&volume.alert_thresholds) * MIB,
            alert_on_local: policy.monitoring.network.destinations.alert_on_local,
            most: policy.limits.behaviour_subjects,
            pass: Pass::Before,
            totals: Vec::new(),
            events: HashMap::default(),
            held: 0,
            folded: 0,
            exceeding: HashMap::default(),
        }))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    Before,
    Totals,
    Windows,
    Flows,
    Over,
}

/// What a destination got in all, by the first pass.
#[derive(Clone, Copy, Debug, Default)]
struct Total {
    bytes: u64,
    /// File of the first row.
    capture: u32,
    seen: bool,
}

/// Bytes over a span of time.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Span {
    start_ns: i64,
    end_ns: i64,
    bytes: f64,
}

/// The fullest window of a destination, and what lies in it.
#[derive(Debug)]
struct Exceeding {
    peak: Peak,
    trail: Trail,
    /// Bytes sent, by source: with a flow of each for its address and port.
    sources: BTreeMap<NameId, Source>,
    received: u64,
}

#[derive(Clone, Copy, Debug)]
struct Source {
    bytes: u64,
    first: Seen,
    dst: NameId,
    dst_port: u16,
}

#[derive(Debug)]
struct Looking {
    meta: &'static Meta,
    sent: Sent,
    window_ns: i64,
    threshold: f64,
    alert_on_local: bool,
    most: usize,
    pass: Pass,
    totals: Vec<Total>,
    events: HashMap<NameId, Vec<Span>, RandomState>,
    /// Spans held over all destinations.
    held: usize,
    /// Destinations whose spans were folded.
    folded: u64,
    exceeding: HashMap<NameId, Exceeding, RandomState>,
}

/// Spans of one destination beyond which they count by the minute.
const MAX_SPANS: usize = 16_384;
const MINUTE_NS: i64 = 60 * SECOND_NS;

impl Detector for Looking {
    fn next(&mut self, _scene: &Scene<'_>) -> &'static [Columns] {
        const TOTALS: &[Columns] = &[Columns {
            table: "flows",
            plain: &["orig_bytes", "resp_bytes", "local_resp"],
            names: &["destination"],
        }];
        const WINDOWS: &[Columns] = &[Columns {
            table: "flows",
            plain: &["ts_end", "orig_bytes", "resp_bytes", "local_resp"],
            names: &["destination"],
        }];
        const FLOWS: &[Columns] = &[Columns {
            table: "flows",
            plain: &[
                "ts_end",
                "orig_bytes",
                "resp_bytes",
                "local_resp",
                "dst_port",
            ],
            names: &["src_ip", "dst_ip", "destination"],
        }];
        match self.pass {
            Pass::Before => {
                self.pass = Pass::Totals;
                TOTALS
            }
            Pass::Totals => {
                let threshold = self.threshold;
                let could = self
                    .totals
                    .iter()
                    .any(|total| total.bytes as f64 > threshold);
                if could {
                    self.pass = Pass::Windows;
                    return WINDOWS;
                }
                self.pass = Pass::Over;
                &[]
            }
            Pass::Windows => {
                for (destination, spans) in self.events.drain() {
                    let peak = fullest(&spans, self.window_ns);
                    // Half a byte: what is added up evenly is not exact.
                    if peak.bytes > self.threshold + 0.5 {
                        let exceeding = Exceeding {
                            peak,
                            trail: Trail::default(),
                            sources: BTreeMap::new(),
                            received: 0,
                        };
                        self.exceeding.insert(destination, exceeding);
                    }
                }
                if self.exceeding.is_empty() {
                    self.pass = Pass::Over;
                    return &[];
                }
                self.pass = Pass::Flows;
                FLOWS
            }
            Pass::Flows | Pass::Over => &[],
        }
    }

    fn feed(&mut self, rows: &Rows<'_>) {
        let to = rows.ids("destination");
        let (orig, resp) = (rows.ints("orig_bytes"), rows.ints("resp_bytes"));
        let (local, ends) = (rows.flags("local_resp"), rows.ints("ts_end"));
        let places = rows.places();
        let (src, dst, ports) = (
            rows.ids("src_ip"),
            rows.ids("dst_ip"),
            rows.ints("dst_port"),
        );
        for row in 0..rows.len() {
            let destination = to.get(row);
            if !destination.is_some() || !self.alert_on_local && local.get(row) == Some(true) {
                continue;
            }
            let bytes = self.sent.of(orig.count(row), resp.count(row));
            let index = destination.index();
            match self.pass {
                Pass::Totals => {
                    if self.totals.len() <= index {
                        self.totals.resize(index + 1, Total::default());
                    }
                    if let Some(total) = self.totals.get_mut(index) {
                        total.bytes = total.bytes.saturating_add(bytes);
                        if !total.seen {
                            (total.seen, total.capture) = (true, places.capture(row));
                        }
                    }
                }
                Pass::Windows => {
                    let total = self.totals.get(index).copied().unwrap_or_default();
                    if bytes > 0 && total.bytes as f64 > self.threshold {
                        let start_ns = places.ts_ns(row);
                        let end_ns = ends.get(row).unwrap_or(start_ns).max(start_ns);
                        self.note(
                            destination,
                            Span {
                                start_ns,
                                end_ns,
                                bytes: bytes as f64,
                            },
                        );
                    }
                }
                Pass::Flows => {
                    let Some(exceeding) = self.exceeding.get_mut(&destination) else {
                        continue;
                    };
                    let seen = places.get(row);
                    let start_ns = seen.ts.as_nanos();
                    let end_ns = ends.get(row).unwrap_or(start_ns).max(start_ns);
                    if bytes == 0 || !exceeding.peak.holds(start_ns, end_ns) {
                        continue;
                    }
                    exceeding.received = exceeding.received.saturating_add(resp.count(row));
                    exceeding.trail.push(seen);
                    let source = exceeding.sources.entry(src.get(row)).or_insert(Source {
                        bytes: 0,
                        first: seen,
                        dst: dst.get(row),
                        dst_port: u16::try_from(ports.or_zero(row)).unwrap_or_default(),
                    });
                    source.bytes = source.bytes.saturating_add(bytes);
                    if seen < source.first {
                        source.first = seen;
                        source.dst = dst.get(row);
                        source.dst_port = u16::try_from(ports.or_zero(row)).unwrap_or_default();
                    }
                }
                Pass::Before | Pass::Over => {}
            }
        }
    }

    fn judge(self: Box<Self>, scene: &Scene<'_>) -> Judgement {
        let mut judgement = Judgement::default();
        let names = scene.names;
        let exceeds = |index: usize| {
            self.exceeding
                .keys()
                .any(|destination| destination.index() == index)
        };
        let mut tally = Tally::default();
        for (index, total) in self.totals.iter().enumerate() {
            if total.seen && !exceeds(index) {
                tally.pass(total.capture);
            }
        }
        judgement.tally = tally;
        if self.folded > 0 {
            judgement.limits.push(format!(
                "bytes to {} destinations with more than {MAX_SPANS} flows were counted by the minute",
                self.folded
            ));
        }
        for (destination, exceeding) in self.exceeding {
            let text = names.text(destination);
            let mut sources: Vec<_> = exceeding.sources.iter().collect();
            sources
                .sort_by_key(|(src, source)| (std::cmp::Reverse(source.bytes), names.text(**src)));
            let Some((src, source)) = sources.first() else {
                continue;
            };
            let addresses = (names.text(**src).parse(), names.text(source.dst).parse());
            let (Ok(src), Ok(dst)) = addresses else {
                continue;
            };
            if !is_unicast(dst) {
                continue;
            }
            let peak = exceeding.peak;
            let (start, end) = (
                CaptureTime::from_nanos(peak.start_ns),
                CaptureTime::from_nanos(peak.start_ns.saturating_add(self.window_ns)),
            );
            let by_source: Vec<_> = sources
                .iter()
                .take(10)
                .map(|(src, source)| json!({"src_ip": names.text(**src), "bytes": source.bytes}))
                .collect();
            let evidence = json!({
                "window_start": start.to_string(),
                "window_seconds": self.window_ns / SECOND_NS,
                "bytes": peak.bytes.round(),
                "bytes_received_by_flows": exceeding.received,
                "total_bytes": self.totals.get(destination.index()).map(|total| total.bytes),
                "sources": sources.len(),
                "by_source": by_source,
            });
            let hosts = match sources.len() {
                1 => String::new(),
                several => format!(", by {several} hosts, {src} most of them"),
            };
            judgement.found.push(Found {
                severity: self.meta.severity,
                baseline: Some(true),
                src,
                dst,
                dst_port: source.dst_port,
                destination: text.to_owned(),
                detail: String::new(),
                explanation: format!(
                    "{} bytes {} {text} from {start} to {end}{hosts}; the policy allows {} MB",
                    peak.bytes.round(),
                    self.sent.word(),
                    self.threshold / MIB,
                ),
                trail: exceeding.trail,
                prevalence_hosts: scene.population.hosts_of(destination),
                numbers: Numbers {
                    measure: Some(Measure::of(
                        "bytes",
                        peak.bytes.round(),
                        ">",
                        self.threshold,
                        "byte",
                    )),
                    evidence: Some(evidence.to_string()),
                    ..Numbers::default()
                },
            });
        }
        judgement
    }
}

impl Looking {
    fn note(&mut self, destination: NameId, span: Span) {
        let is_full = self.events.len() >= self.most;
        if is_full && !self.events.contains_key(&destination) {
            return;
        }
        let spans = self.events.entry(destination).or_default();
        spans.push(span);
        self.held += 1;
        if spans.len() >= MAX_SPANS.saturating_mul(2) {
            let before = spans.len();
            fold(spans);
            self.held = self.held.saturating_sub(before - spans.len().min(before));
            self.folded += 1;
        }
    }
}

/// Puts spans together by the minute: as many as there are minutes.
fn fold(spans: &mut Vec<Span>) {
    let mut minutes: BTreeMap<i64, f64> = BTreeMap::new();
    for span in spans.drain(..) {
        let (first, last) = (
            span.start_ns.div_euclid(MINUTE_NS),
            span.end_ns.div_euclid(MINUTE_NS),
        );
        let len = (span.end_ns - span.start_ns) as f64;
        // A span of a year is half a million minutes; flows end sooner.
        for minute in first..=last.min(first.saturating_add(600_000)) {
            let (from, to) = (minute * MINUTE_NS, (minute + 1) * MINUTE_NS);
            let share = if len > 0.0 {
                (span.end_ns.min(to) - span.start_ns.max(from)) as f64 / len
            } else {
                1.0
            };
            *minutes.entry(minute).or_default() += span.bytes * share;
        }
    }
    spans.extend(minutes.into_iter().map(|(minute, bytes)| Span {
        start_ns: minute * MINUTE_NS,
        end_ns: (minute + 1) * MINUTE_NS,
        bytes,
    }));
}

/// The window that holds most.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Peak {
    /// Where it begins.
    start_ns: i64,
    window_ns: i64,
    /// What it holds.
    bytes: f64,
}

impl Peak {
    /// Whether a span has a part in it.
    fn holds(&self, start_ns: i64, end_ns: i64) -> bool {
        let end = self.start_ns.saturating_add(self.window_ns);
        end_ns >= self.start_ns && start_ns < end
    }
}

/// The fullest window `[t, t + window)`. What it holds grows and shrinks evenly
/// between the points where a span enters or leaves at either end, so the most
/// is found at one of these.
fn fullest(spans: &[Span], window_ns: i64) -> Peak {
    // (end of the window, change of what it holds at once, change per nanosecond)
    let mut changes: Vec<(i64, f64, f64)> = Vec::with_capacity(spans.len() * 4);
    for span in spans {
        let len = span.end_ns - span.start_ns;
        if len <= 0 {
            changes.push((span.start_ns, span.bytes, 0.0));
            changes.push((span.start_ns.saturating_add(window_ns), -span.bytes, 0.0));
            continue;
        }
        let rate = span.bytes / len as f64;
        for (at, sign) in [
            (span.start_ns, 1.0),
            (span.end_ns, -1.0),
            (span.start_ns.saturating_add(window_ns), -1.0),
            (span.end_ns.saturating_add(window_ns), 1.0),
        ] {
            changes.push((at, 0.0, rate * sign));
        }
    }
    // What leaves goes before what comes: the window is open at its end.
    changes.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let (mut bytes, mut rate, mut at) = (0.0_f64, 0.0_f64, i64::MIN);
    let mut best = Peak {
        start_ns: 0,
        window_ns,
        bytes: 0.0,
    };
    for (when, step, slope) in changes {
        if at != i64::MIN {
            bytes += rate * (when - at) as f64;
        }
        let before = bytes;
        bytes += step;
        rate += slope;
        at = when;
        for (held, end) in [(before, when), (bytes, when.saturating_add(1))] {
            if held > best.bytes {
                best.bytes = held;
                best.start_ns = end.saturating_sub(window_ns);
            }
        }
    }
    best
}

/// Which bytes count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    both: bool,
}

impl Sent {
    /// As the policy asks.
    pub(super) fn by(policy: &Policy) -> Self {
        Self {
            both: policy.monitoring.network.volume.both_directions,
        }
    }

    /// Of a row.
    pub(super) fn of(self, sent: u64, received: u64) -> u64 {
        if self.both {
            sent.saturating_add(received)
        } else {
            sent
        }
    }

    /// For explanations.
    pub(super) fn word(self) -> &'static str {
        if self.both {
            "exchanged with"
        } else {
            "sent to"
        }
    }
}
