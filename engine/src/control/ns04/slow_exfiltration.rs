//! Data that leaves in small pieces, or far beyond the host's own habit, below
//! every threshold of volume.
//!
//! Two signs, by source and destination over the whole capture: *pieces* (many
//! sessions of one size, over many hours, far more sent than received), and
//! *outlier* (what went there is far above what this host sends anywhere). Both
//! want the host to be the producer: (sent - received) / (sent + received).

use super::subjects::{Subjects, say_left_out, trail_room};
use super::{
    Behaviour, Columns, Detector, Found, Judgement, Measure, NameId, Numbers, Rows, Scene, Trail,
    is_unicast, rounded, timing, weights as w,
};
use crate::control::{Meta, Severity, Wants};
use crate::policy::Policy;
use foldhash::quality::RandomState;
use hashbrown::HashMap;
use serde_json::json;

pub(super) struct SlowExfiltration;

static META: Meta = Meta {
    id: "NS-04.slow_exfiltration",
    title: "Data leaving in pieces, or beyond the host's habit",
    severity: Severity::Medium,
    attack: &["T1030", "T1041"],
    wants: Wants::Tables,
    observable_with: "flows over eight hours or more, or twenty destinations of one host",
    source: "Bullard and Gerth 2014 for the producer/consumer ratio",
};

impl Behaviour for SlowExfiltration {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn start(&self, policy: &Policy) -> Result<Box<dyn Detector>, &'static str> {
        let network = &policy.monitoring.network;
        if !network.volume.track_per_destination {
            return Err("the policy does not track volume by destination");
        }
        Ok(Box::new(Looking {
            alert_on_local: network.destinations.alert_on_local,
            pass: 0,
            sent: Subjects::new(policy),
            subjects: Subjects::a_share(policy, 8),
            firing: HashMap::default(),
        }))
    }
}

type Key = (NameId, NameId);

/// What is known of every pair, since there may be very many.
#[derive(Clone, Copy, Debug)]
struct Sent {
    bytes: u64,
    /// File of the first row.
    capture: u32,
}

#[derive(Clone, Copy, Debug)]
struct Sums {
    sent: u64,
    received: u64,
    sessions: u64,
    /// Sum of squares of what sessions sent.
    squares: f64,
    /// Hours since the first, of the first 256, in which something was sent.
    hours: [u64; 4],
    first_hour: i64,
}

#[derive(Debug)]
struct Firing {
    sums: Sums,
    z: Option<f64>,
    in_pieces: bool,
    dst: NameId,
    dst_port: u16,
    trail: Trail,
}

/// Three passes: what each pair sent; the sums of those that sent enough to say
/// something; the flows of those that are findings.
#[derive(Debug)]
struct Looking {
    alert_on_local: bool,
    pass: u8,
    sent: Subjects<Key, Sent>,
    subjects: Subjects<Key, Sums>,
    firing: HashMap<Key, Firing, RandomState>,
}

/// Bytes sent, less than which neither sign wants.
const LEAST_BYTES: u64 = if w::SLOW_BYTES < w::SLOW_OUTLIER_BYTES {
    w::SLOW_BYTES
} else {
    w::SLOW_OUTLIER_BYTES
};
const HOUR_NS: i64 = 3_600 * super::SECOND_NS;

impl Sums {
    fn ratio(&self) -> f64 {
        let (sent, received) = (self.sent as f64, self.received as f64);
        (sent - received) / (sent + received).max(1.0)
    }

    /// Coefficient of variation of what sessions sent.
    fn cv(&self) -> f64 {
        let n = self.sessions.max(1) as f64;
        let mean = self.sent as f64 / n;
        let variance = (self.squares / n - mean * mean).max(0.0);
        if mean > 0.0 {
            variance.sqrt() / mean
        } else {
            1.0
        }
    }

    fn active_hours(&self) -> u32 {
        self.hours.iter().map(|bits| bits.count_ones()).sum()
    }

    fn is_in_pieces(&self) -> bool {
        self.sent >= w::SLOW_BYTES
            && self.sessions >= w::SLOW_SESSIONS
            && self.active_hours() as usize >= w::SLOW_HOURS
            && self.ratio() >= w::SLOW_PCR
            && self.cv() < w::SLOW_CV
    }
}

impl Detector for Looking {
    fn next(&mut self, scene: &Scene<'_>) -> &'static [Columns] {
        const SENT: &[Columns] = &[Columns {
            table: "flows",
            plain: &["orig_bytes", "local_resp"],
            names: &["src_ip", "destination"],
        }];
        const SUMS: &[Columns] = &[Columns {
            table: "flows",
            plain: &["orig_bytes", "resp_bytes", "local_resp"],
            names: &["src_ip", "destination"],
        }];
        const FLOWS: &[Columns] = &[Columns {
            table: "flows",
            plain: &["orig_bytes", "dst_port"],
            names: &["src_ip", "dst_ip", "destination"],
        }];
        self.pass = self.pass.saturating_add(1);
        match self.pass {
            1 => SENT,
            2 => {
                let sent = self.sent.map.values();
                let mut enough = sent.map(|sent| sent.bytes >= LEAST_BYTES);
                if enough.any(|enough| enough) {
                    SUMS
                } else {
                    &[]
                }
            }
            3 => {
                self.find(scene);
                if self.firing.is_empty() { &[] } else { FLOWS }
            }
            _ => &[],
        }
    }

    fn feed(&mut self, rows: &Rows<'_>) {
        let (srcs, tos) = (rows.ids("src_ip"), rows.ids("destination"));
        let (sent, received) = (rows.ints("orig_bytes"), rows.ints("resp_bytes"));
        let (local, places) = (rows.flags("local_resp"), rows.places());
        let (dsts, ports) = (rows.ids("dst_ip"), rows.ints("dst_port"));
        for row in 0..rows.len() {
            let key = (srcs.get(row), tos.get(row));
            let bytes = sent.count(row);
            if self.pass > 2 {
                if bytes > 0
                    && let Some(firing) = self.firing.get_mut(&key)
                {
                    if !firing.dst.is_some() {
                        firing.dst = dsts.get(row);
                        firing.dst_port = u16::try_from(ports.or_zero(row)).unwrap_or_default();
                    }
                    firing.trail.push(places.get(row));
                }
                continue;
            }
            let is_spared = !self.alert_on_local && local.get(row) == Some(true);
            if is_spared || bytes == 0 || !key.0.is_some() || !key.1.is_some() {
                continue;
            }
            if self.pass == 1 {
                let capture = places.capture(row);
                let fresh = || Sent { bytes: 0, capture };
                if let Some(sent) = self.sent.entry(key, fresh) {
                    sent.bytes = sent.bytes.saturating_add(bytes);
                }
                continue;
            }
            let all = self.sent.map.get(&key);
            if all.is_none_or(|all| all.bytes < LEAST_BYTES) {
                continue;
            }
            let hour = places.ts_ns(row).div_euclid(HOUR_NS);
            let Some(sums) = self.subjects.entry(key, || Sums {
                sent: 0,
                received: 0,
                sessions: 0,
                squares: 0.0,
                hours: [0; 4],
                first_hour: hour,
            }) else {
                continue;
            };
            sums.sent = sums.sent.saturating_add(bytes);
            sums.received = sums.received.saturating_add(received.count(row));
            sums.sessions += 1;
            sums.squares += bytes as f64 * bytes as f64;
            // Flows end out of order: hours before the first are folded in as well.
            let since = hour
                .wrapping_sub(sums.first_hour)
                .rem_euclid(256)
                .unsigned_abs();
            if let Some(bits) = sums.hours.get_mut((since / 64) as usize) {
                *bits |= 1 << (since % 64);
            }
        }
    }

    fn judge(self: Box<Self>, scene: &Scene<'_>) -> Judgement {
        let names = scene.names;
        let mut judgement = Judgement::default();
        for (key, sent) in &self.sent.map {
            if !self.firing.contains_key(key) {
                judgement.tally.pass(sent.capture);
            }
        }
        for ((src, to), firing) in self.firing {
            let Some((src, dst)) = scene.addresses(src, firing.dst) else {
                continue;
            };
            if !is_unicast(dst) {
                continue;
            }
            let destination = names.text(to);
            let hosts = scene.population.hosts_of(to);
            let all = scene.population.hosts();
            let is_common = all >= w::MIN_HOSTS && f64::from(hosts) / all as f64 >= 0.5;
            let sums = firing.sums;
            let mut against = Vec::new();
            if is_common {
                against.push(format!("{hosts} of {all} hosts go there"));
            }
            let both = firing.in_pieces && firing.z.is_some();
            let severity = match (both, is_common) {
                (_, true) => Severity::Low,
                (true, false) => Severity::High,
                (false, false) => META.severity,
            };
            let pieces = if firing.in_pieces {
                format!(
                    " in {} sessions of about {} bytes over {} hours",
                    sums.sessions,
                    sums.sent / sums.sessions.max(1),
                    sums.active_hours()
                )
            } else {
                String::new()
            };
            let habit = firing.z.map_or_else(String::new, |z| {
                format!("; {z:.1} deviations above what the host sends elsewhere")
            });
            let (metric, observed, threshold) = match firing.z {
                Some(z) => ("deviations", rounded(z), w::SLOW_Z),
                None => ("bytes_in_pieces", sums.sent as f64, w::SLOW_BYTES as f64),
            };
            judgement.found.push(Found {
                severity,
                baseline: None,
                src,
                dst,
                dst_port: firing.dst_port,
                destination: destination.to_owned(),
                detail: String::new(),
                explanation: format!(
                    "{} bytes sent to {destination} and {} received{pieces}{habit}",
                    sums.sent, sums.received
                ),
                trail: firing.trail,
                prevalence_hosts: hosts,
                numbers: Numbers {
                    score: Some(if both { 0.9 } else { 0.7 }),
                    measure: Some(Measure {
                        metric: metric.into(),
                        observed,
                        threshold,
                        comparator: ">=".into(),
                        unit: if firing.z.is_some() {
                            "deviation"
                        } else {
                            "byte"
                        }
                        .into(),
                    }),
                    samples: Some(sums.sessions),
                    evidence: Some(
                        json!({
                            "formula": w::FORMULA,
                            "bytes_sent": sums.sent,
                            "bytes_received": sums.received,
                            "producer_ratio": rounded(sums.ratio()),
                            "session_cv": rounded(sums.cv()),
                            "active_hours": sums.active_hours(),
                            "deviations": firing.z.map(rounded),
                            "against": against,
                        })
                        .to_string(),
                    ),
                    ..Numbers::default()
                },
            });
        }
        say_left_out(
            &mut judgement,
            self.sent.left_out + self.subjects.left_out,
            "flows to further destinations were not added up",
        );
        judgement
    }
}

impl Looking {
    fn find(&mut self, _scene: &Scene<'_>) {
        let far = |sums: &Sums| sums.sent >= w::SLOW_OUTLIER_BYTES && sums.ratio() >= w::SLOW_PCR;
        // The habits of those alone that may be far from theirs.
        let mut habits: HashMap<NameId, Vec<f64>, RandomState> = HashMap::default();
        for ((src, _), _) in self.subjects.map.iter().filter(|(_, sums)| far(sums)) {
            habits.entry(*src).or_default();
        }
        for ((src, _), sent) in &self.sent.map {
            if let Some(habit) = habits.get_mut(src) {
                habit.push((1.0 + sent.bytes as f64).log10());
            }
        }
        let habits: HashMap<NameId, (f64, f64), RandomState> = habits
            .into_iter()
            .filter(|(_, all)| all.len() >= w::SLOW_DESTINATIONS)
            .map(|(src, mut all)| {
                all.sort_by(f64::total_cmp);
                let middle = timing::median(&all);
                let mut off: Vec<f64> = all.iter().map(|value| (value - middle).abs()).collect();
                off.sort_by(f64::total_cmp);
                (src, (middle, timing::median(&off)))
            })
            .collect();
        for (key, sums) in &self.subjects.map {
            let z = habits.get(&key.0).map(|(middle, off)| {
                ((1.0 + sums.sent as f64).log10() - middle) / (1.4826 * off + w::SLOW_SPREAD)
            });
            let z = z.filter(|z| *z >= w::SLOW_Z && far(sums));
            let in_pieces = sums.is_in_pieces();
            if z.is_some() || in_pieces {
                let firing = Firing {
                    sums: *sums,
                    z,
                    in_pieces,
                    dst: NameId::NONE,
                    dst_port: 0,
                    trail: Trail::default(),
                };
                self.firing.insert(*key, firing);
            }
        }
        let room = trail_room(self.firing.len());
        for firing in self.firing.values_mut() {
            firing.trail = Trail::keeping(room);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::ns04::testing::{Flow, judge};

    const MIB: u64 = 1 << 20;

    #[track_caller]
    fn found(flows: &[Flow]) -> Vec<(String, Severity)> {
        let judged = judge(&SlowExfiltration, &Policy::built_in(), flows);
        judged
            .found
            .into_iter()
            .map(|one| (one.destination, one.severity))
            .collect()
    }

    /// So many sessions, so far apart, of so much sent and received.
    fn sessions(to: &str, n: i64, every: i64, sent: u64, received: u64) -> Vec<Flow> {
        let one = |i: i64| Flow::to("198.51.100.7").named(to).at(i * every);
        (0..n)
            .map(|i| one(i).bytes(sent + (i as u64 % 7) * 900, received))
            .collect()
    }

    #[test]
    fn pieces_over_hours_are_found_and_less_is_not() {
        let slow = sessions("drop.example", 96, 900, 300_000, 2_000);
        assert_eq!(
            found(&slow),
            [("drop.example".to_owned(), Severity::Medium)]
        );
        // Less in all, too short a time, or as much received.
        assert!(found(&sessions("a.example", 60, 900, 300_000, 2_000)).is_empty());
        assert!(found(&sessions("b.example", 96, 200, 300_000, 2_000)).is_empty());
        assert!(found(&sessions("c.example", 96, 900, 300_000, 300_000)).is_empty());
    }

    #[test]
    fn what_is_beyond_the_hosts_habit_is_found() {
        let mut flows: Vec<Flow> = (0..30)
            .map(|i| {
                Flow::to("203.0.113.9")
                    .named(&format!("s{i}.example"))
                    .at(i)
                    .bytes(1_500 + i as u64 * 40, 40_000)
            })
            .collect();
        assert!(found(&flows).is_empty());
        flows.push(
            Flow::to("198.51.100.9")
                .named("upload.example")
                .at(50)
                .bytes(6 * MIB, 5_000),
        );
        assert_eq!(
            found(&flows),
            [("upload.example".to_owned(), Severity::Medium)]
        );
    }
}
