//! Connections that stay open for hours: a channel back into the network needs
//! no new connection. By source, destination and port; tiers, heartbeats inside
//! (measured by [`crate::flow::beats`]), and what argues for and against, in
//! [`super::weights`].
//!
//! Two passes: the long connections; then, where one has heartbeats, what else its
//! source has with the same registered domain: a page that stays open was loaded.

use super::catalogue;
use super::groups::{GroupId, Groups};
use super::subjects::{Subjects, say_left_out};
use super::{
    Behaviour, Columns, Detector, Found, Judgement, Measure, NameId, Numbers, Rows, SECOND_NS,
    Scene, Tally, Trail, is_unicast, rounded, weights as w,
};
use crate::control::{Meta, Severity, Wants};
use crate::policy::{Allowlist, Policy};
use foldhash::quality::RandomState;
use hashbrown::HashMap;
use serde_json::json;

pub(super) struct LongConnection;

static META: Meta = Meta {
    id: "NS-04.long_connection",
    title: "Connection open for hours",
    severity: Severity::Low,
    attack: &["T1071", "T1572"],
    wants: Wants::Tables,
    observable_with: "flows, in a capture of an hour or more",
    source: "RITA v5 and zeek-long-connections for the tiers",
};

impl Behaviour for LongConnection {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn start(&self, policy: &Policy) -> Result<Box<dyn Detector>, &'static str> {
        let destinations = &policy.monitoring.network.destinations;
        let allowlist = destinations.allowlist.as_deref().unwrap_or_default();
        Ok(Box::new(Looking {
            alert_on_local: destinations.alert_on_local,
            allowlist: Allowlist::new(allowlist),
            subjects: Subjects::new(policy),
            groups: Groups::default(),
            visits: HashMap::default(),
            tally: Tally::default(),
            passes: 0,
        }))
    }
}

/// The heartbeats of one connection; more of them are greater.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
struct Beats {
    gaps: u64,
    share: f64,
    gap_ns: i64,
    by_source: bool,
}

#[derive(Debug)]
struct Subject {
    dst: NameId,
    service: NameId,
    longest_ns: i64,
    open_at_end: bool,
    sent: u64,
    received: u64,
    /// Of the connection that has most.
    beats: Option<Beats>,
    trail: Trail,
}

#[derive(Debug)]
struct Looking {
    alert_on_local: bool,
    allowlist: Allowlist,
    subjects: Subjects<(NameId, NameId, u16), Subject>,
    groups: Groups,
    /// Shorter connections of the sources and registered domains with heartbeats.
    visits: HashMap<(NameId, GroupId), u32, RandomState>,
    tally: Tally,
    passes: u8,
}

impl Detector for Looking {
    fn next(&mut self, scene: &Scene<'_>) -> &'static [Columns] {
        self.passes += 1;
        if self.passes == 1 {
            return &[Columns {
                table: "flows",
                plain: &[
                    "duration_ns",
                    "dst_port",
                    "orig_bytes",
                    "resp_bytes",
                    "local_resp",
                    "end_reason",
                    "ip_proto",
                    "beats",
                    "beat_side",
                    "beat_gap_ns",
                    "beat_share",
                ],
                names: &["src_ip", "dst_ip", "destination", "service"],
            }];
        }
        if self.passes > 2 {
            return &[];
        }
        for (&(src, to, _), subject) in &self.subjects.map {
            if subject.beats.is_some() {
                let group = self.groups.of(scene.names, to);
                self.visits.insert((src, group), 0);
            }
        }
        if self.visits.is_empty() {
            return &[];
        }
        &[Columns {
            table: "flows",
            plain: &["duration_ns", "resp_bytes"],
            names: &["src_ip", "destination"],
        }]
    }

    fn feed(&mut self, rows: &Rows<'_>) {
        if self.passes == 1 {
            self.find(rows);
        } else {
            self.visit(rows);
        }
    }

    fn judge(mut self: Box<Self>, scene: &Scene<'_>) -> Judgement {
        let mut judgement = Judgement::default();
        for (key, subject) in std::mem::take(&mut self.subjects.map) {
            judgement.found.extend(self.finding(scene, key, subject));
        }
        judgement.tally = self.tally;
        say_left_out(
            &mut judgement,
            self.subjects.left_out,
            "further long connections are not listed",
        );
        judgement
    }
}

impl Looking {
    fn find(&mut self, rows: &Rows<'_>) {
        let (srcs, dsts) = (rows.ids("src_ip"), rows.ids("dst_ip"));
        let (tos, services) = (rows.ids("destination"), rows.ids("service"));
        let (durations, ports) = (rows.ints("duration_ns"), rows.ints("dst_port"));
        let (sent, received) = (rows.ints("orig_bytes"), rows.ints("resp_bytes"));
        let (local, ends) = (rows.flags("local_resp"), rows.texts("end_reason"));
        let (gaps, gap_ns) = (rows.ints("beats"), rows.ints("beat_gap_ns"));
        let (shares, sides) = (rows.floats("beat_share"), rows.texts("beat_side"));
        let protos = rows.ints("ip_proto");
        let places = rows.places();
        for row in 0..rows.len() {
            let is_spared = !self.alert_on_local && local.get(row) == Some(true);
            // A ping that runs all day is no connection.
            if is_spared || matches!(protos.or_zero(row), 1 | 58) {
                continue;
            }
            let duration_ns = durations.or_zero(row);
            let is_long = duration_ns >= w::LONG_TIERS[0] * SECOND_NS;
            // Both sides must speak: datagrams to nobody are none either.
            if !is_long || sent.count(row) == 0 || received.count(row) == 0 {
                if sent.count(row) > 0 && received.count(row) > 0 {
                    self.tally.pass(places.capture(row));
                }
                continue;
            }
            let port = u16::try_from(ports.or_zero(row)).unwrap_or_default();
            let key = (srcs.get(row), tos.get(row), port);
            let Some(subject) = self.subjects.entry(key, || Subject {
                dst: dsts.get(row),
                service: services.get(row),
                longest_ns: 0,
                open_at_end: false,
                sent: 0,
                received: 0,
                beats: None,
                trail: Trail::default(),
            }) else {
                continue;
            };
            subject.longest_ns = subject.longest_ns.max(duration_ns);
            subject.open_at_end |= ends.get(row) == Some("eof");
            subject.sent = subject.sent.saturating_add(sent.count(row));
            subject.received = subject.received.saturating_add(received.count(row));
            subject.trail.push(places.get(row));
            let beats = Beats {
                gaps: gaps.count(row),
                share: shares.get(row).unwrap_or_default(),
                gap_ns: gap_ns.or_zero(row),
                by_source: sides.get(row) == Some("orig"),
            };
            let is_rhythm = beats.gaps >= w::BEATS && beats.share >= w::BEAT_SHARE;
            if is_rhythm && subject.beats.is_none_or(|before| beats > before) {
                subject.beats = Some(beats);
            }
        }
    }

    fn visit(&mut self, rows: &Rows<'_>) {
        let (srcs, tos) = (rows.ids("src_ip"), rows.ids("destination"));
        let (durations, received) = (rows.ints("duration_ns"), rows.ints("resp_bytes"));
        for row in 0..rows.len() {
            let is_long = durations.or_zero(row) >= w::LONG_TIERS[0] * SECOND_NS;
            if is_long || received.count(row) == 0 {
                continue;
            }
            let group = self.groups.of(rows.names(), tos.get(row));
            if let Some(visits) = self.visits.get_mut(&(srcs.get(row), group)) {
                *visits = visits.saturating_add(1);
            }
        }
    }

    fn finding(
        &mut self,
        scene: &Scene<'_>,
        (src_id, to, dst_port): (NameId, NameId, u16),
        subject: Subject,
    ) -> Option<Found> {
        let names = scene.names;
        let (src, dst) = scene.addresses(src_id, subject.dst)?;
        if !is_unicast(dst) {
            return None;
        }
        let destination = names.text(to);
        let service = names.text(subject.service);
        let seconds = subject.longest_ns / SECOND_NS;
        let hosts = scene.population.hosts_of(to);
        let all = scene.population.hosts();
        let share = (all >= w::MIN_HOSTS).then(|| f64::from(hosts) / all as f64);
        let mut against = Vec::new();
        let mut score = w::long_score(seconds);
        match share {
            Some(share) if share >= 0.5 => {
                score -= w::LONG_PREVALENCE;
                against.push(format!("{hosts} of {all} hosts do the same"));
            }
            Some(share) if share <= 0.02 => score += w::LONG_PREVALENCE,
            _ => {}
        }
        if subject.beats.is_some() {
            let group = self.groups.of(names, to);
            let visits = self.visits.get(&(src_id, group)).copied();
            let before = against.len();
            if share.is_some_and(|share| (w::BEAT_HOSTS..0.5).contains(&share)) {
                against.push(format!("{hosts} of {all} hosts go there"));
            }
            if self.allowlist.allows(destination) {
                against.push("the policy's allowlist names the destination".to_owned());
            }
            if let Some(says) = keeps_alive(service, dst_port) {
                against.push(says.to_owned());
            }
            if let Some(visits) = visits.filter(|&visits| visits >= w::BEAT_VISITS) {
                against.push(format!(
                    "the source made {visits} shorter connections to its domain, as a page that stays open does"
                ));
            }
            let is_widespread = share.is_some_and(|share| share >= 0.5);
            if against.len() == before && !is_widespread {
                score += w::LONG_BEATS;
            }
        }
        let score = score.clamp(0.0, 1.0);
        let hours = seconds as f64 / 3_600.0;
        let suppressed_by = if is_meant_to_stay(service) {
            Some("its protocol keeps connections open by design".into())
        } else if catalogue::is_push(destination) {
            Some("known service: push messages come over connections that stay".into())
        } else {
            None
        };
        let mut explanation = format!(
            "open for {hours:.1} h{}: {} bytes to {destination} and {} back",
            if subject.open_at_end {
                " and at the end of the capture"
            } else {
                ""
            },
            subject.sent,
            subject.received
        );
        let mut evidence = json!({
            "formula": w::FORMULA,
            "tier_seconds": w::LONG_TIERS.iter().rfind(|&&tier| seconds >= tier),
            "bytes_per_hour": rounded((subject.sent + subject.received) as f64 / hours.max(1.0)),
            "open_at_end": subject.open_at_end,
            "service": service,
            "against": against,
        });
        let mut interval_seconds = None;
        if let Some(beats) = subject.beats {
            let every = beats.gap_ns as f64 / SECOND_NS as f64;
            let side = if beats.by_source {
                "the source"
            } else {
                "the destination"
            };
            explanation.push_str(&format!(
                "; {:.0} % of {} heartbeats of {side} come about {every:.0} s after the one before",
                beats.share * 100.0,
                beats.gaps
            ));
            evidence["beats"] = json!({
                "gaps": beats.gaps,
                "share": rounded(beats.share),
                "seconds": rounded(every),
                "by": if beats.by_source { "orig" } else { "resp" },
            });
            interval_seconds = Some(every);
        }
        Some(Found {
            severity: if score >= w::LONG_MEDIUM {
                Severity::Medium
            } else {
                META.severity
            },
            baseline: None,
            src,
            dst,
            dst_port,
            destination: destination.to_owned(),
            detail: String::new(),
            explanation,
            prevalence_hosts: hosts,
            numbers: Numbers {
                #[expect(clippy::cast_possible_truncation, reason = "a ratio")]
                score: Some(score as f32),
                measure: Some(Measure::of(
                    "duration",
                    seconds as f64,
                    ">=",
                    w::LONG_TIERS[0] as f64,
                    "second",
                )),
                interval_seconds,
                samples: Some(subject.trail.count()),
                evidence: Some(evidence.to_string()),
                suppressed_by,
                ..Numbers::default()
            },
            trail: subject.trail,
        })
    }
}

/// Protocols whose clients hold a connection for as long as they run.
fn is_meant_to_stay(service: &str) -> bool {
    let known = [
        "amqp",
        "imap",
        "irc",
        "ldap",
        "mqtt",
        "mysql",
        "ntp",
        "postgresql",
        "redis",
        "syslog",
        "xmpp",
    ];
    service.split(',').any(|part| known.contains(&part))
}

/// Why heartbeats say nothing here. A port is no proof: the connection is listed as
/// any other of its length.
fn keeps_alive(service: &str, port: u16) -> Option<&'static str> {
    if service.split(',').any(|part| part == "ssh") {
        return Some("SSH sends such heartbeats by itself (ServerAliveInterval)");
    }
    match port {
        993 | 995 => Some("its port is that of a mailbox, whose clients wait on it"),
        5_222 | 5_223 | 5_228..=5_230 | 6_697 | 8_883 | 1_883 => {
            Some("its port is that of messages, whose clients send heartbeats")
        }
        _ => None,
    }
}
