//! Connections that stay open for hours: a channel back into the network needs
//! no new connection. By source, destination and port; tiers and what argues for
//! and against in [`super::weights`].

use super::subjects::{Subjects, say_left_out};
use super::{
    Behaviour, Columns, Detector, Found, Judgement, Measure, NameId, Numbers, Rows, SECOND_NS,
    Scene, Tally, Trail, is_unicast, rounded, weights as w,
};
use crate::control::{Meta, Severity, Wants};
use crate::policy::Policy;
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
        Ok(Box::new(Looking {
            alert_on_local: destinations.alert_on_local,
            subjects: Subjects::new(policy),
            tally: Tally::default(),
            is_fed: false,
        }))
    }
}

#[derive(Debug)]
struct Subject {
    dst: NameId,
    service: NameId,
    longest_ns: i64,
    open_at_end: bool,
    sent: u64,
    received: u64,
    trail: Trail,
}

#[derive(Debug)]
struct Looking {
    alert_on_local: bool,
    subjects: Subjects<(NameId, NameId, u16), Subject>,
    tally: Tally,
    is_fed: bool,
}

impl Detector for Looking {
    fn next(&mut self, _scene: &Scene<'_>) -> &'static [Columns] {
        if std::mem::replace(&mut self.is_fed, true) {
            return &[];
        }
        &[Columns {
            table: "flows",
            plain: &[
                "duration_ns",
                "dst_port",
                "orig_bytes",
                "resp_bytes",
                "local_resp",
                "end_reason",
                "ip_proto",
            ],
            names: &["src_ip", "dst_ip", "destination", "service"],
        }]
    }

    fn feed(&mut self, rows: &Rows<'_>) {
        let (srcs, dsts) = (rows.ids("src_ip"), rows.ids("dst_ip"));
        let (tos, services) = (rows.ids("destination"), rows.ids("service"));
        let (durations, ports) = (rows.ints("duration_ns"), rows.ints("dst_port"));
        let (sent, received) = (rows.ints("orig_bytes"), rows.ints("resp_bytes"));
        let (local, ends) = (rows.flags("local_resp"), rows.texts("end_reason"));
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
                trail: Trail::default(),
            }) else {
                continue;
            };
            subject.longest_ns = subject.longest_ns.max(duration_ns);
            subject.open_at_end |= ends.get(row) == Some("eof");
            subject.sent = subject.sent.saturating_add(sent.count(row));
            subject.received = subject.received.saturating_add(received.count(row));
            subject.trail.push(places.get(row));
        }
    }

    fn judge(self: Box<Self>, scene: &Scene<'_>) -> Judgement {
        let names = scene.names;
        let mut judgement = Judgement {
            tally: self.tally,
            ..Judgement::default()
        };
        for ((src, to, dst_port), subject) in self.subjects.map {
            let Some((src, dst)) = scene.addresses(src, subject.dst) else {
                continue;
            };
            if !is_unicast(dst) {
                continue;
            }
            let destination = names.text(to);
            let seconds = subject.longest_ns / SECOND_NS;
            let hosts = scene.population.hosts_of(to);
            let mut against = Vec::new();
            let mut score = w::long_score(seconds);
            let all = scene.population.hosts();
            if all >= w::MIN_HOSTS {
                let share = f64::from(hosts) / all as f64;
                if share >= 0.5 {
                    score -= w::LONG_PREVALENCE;
                    against.push(format!("{hosts} of {all} hosts do the same"));
                } else if share <= 0.02 {
                    score += w::LONG_PREVALENCE;
                }
            }
            let score = score.clamp(0.0, 1.0);
            let hours = seconds as f64 / 3_600.0;
            let service = names.text(subject.service);
            let suppressed = is_meant_to_stay(service);
            judgement.found.push(Found {
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
                explanation: format!(
                    "open for {hours:.1} h{}: {} bytes to {destination} and {} back",
                    if subject.open_at_end {
                        " and at the end of the capture"
                    } else {
                        ""
                    },
                    subject.sent,
                    subject.received
                ),
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
                    samples: Some(subject.trail.count()),
                    evidence: Some(
                        json!({
                            "formula": w::FORMULA,
                            "tier_seconds": w::LONG_TIERS.iter().rfind(|&&tier| seconds >= tier),
                            "bytes_per_hour": rounded(
                                (subject.sent + subject.received) as f64 / hours.max(1.0)
                            ),
                            "open_at_end": subject.open_at_end,
                            "service": service,
                            "against": against,
                        })
                        .to_string(),
                    ),
                    suppressed_by: suppressed
                        .then(|| "its protocol keeps connections open by design".into()),
                    ..Numbers::default()
                },
                trail: subject.trail,
            });
        }
        say_left_out(
            &mut judgement,
            self.subjects.left_out,
            "further long connections are not listed",
        );
        judgement
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
