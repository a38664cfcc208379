//! More bytes in one request, or one connection, than the policy allows.
//!
//! A request is an HTTP request's body where transactions are read; of every
//! other flow it is what the originator sent over the connection.

use super::volume::Sent;
use super::{
    Behaviour, Columns, Detector, Found, Judgement, MIB, Measure, NameId, Numbers, Rows, Scene,
    Tally, Trail, is_unicast,
};
use crate::control::{Meta, Severity, Wants};
use crate::policy::Policy;
use foldhash::quality::RandomState;
use hashbrown::HashMap;
use serde_json::json;

pub(super) struct VolumeSingleRequest;

static META: Meta = Meta {
    id: "NS-04.volume_single_request",
    title: "More bytes in one request than allowed",
    severity: Severity::High,
    attack: &["T1041", "T1048"],
    wants: Wants::Tables,
    observable_with: "flows or HTTP requests",
    source: "policy monitoring.network.volume.alert_thresholds.single_request_mb",
};

impl Behaviour for VolumeSingleRequest {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn start(&self, policy: &Policy) -> Result<Box<dyn Detector>, &'static str> {
        let volume = &policy.monitoring.network.volume;
        Ok(Box::new(Looking {
            sent: Sent::by(policy),
            threshold: volume.alert_thresholds.single_request_mb * MIB,
            alert_on_local: policy.monitoring.network.destinations.alert_on_local,
            most: policy.limits.behaviour_subjects,
            subjects: HashMap::default(),
            tally: Tally::default(),
            left_out: 0,
            is_fed: false,
        }))
    }
}

#[derive(Debug)]
struct Subject {
    dst: NameId,
    largest: u64,
    sum: u64,
    received: u64,
    is_http: bool,
    trail: Trail,
}

#[derive(Debug)]
struct Looking {
    sent: Sent,
    threshold: f64,
    alert_on_local: bool,
    most: usize,
    subjects: HashMap<(NameId, NameId, u16), Subject, RandomState>,
    tally: Tally,
    left_out: u64,
    is_fed: bool,
}

impl Detector for Looking {
    fn next(&mut self, _scene: &Scene<'_>) -> &'static [Columns] {
        if std::mem::replace(&mut self.is_fed, true) {
            return &[];
        }
        &[
            Columns {
                table: "flows",
                plain: &[
                    "dst_port",
                    "orig_bytes",
                    "resp_bytes",
                    "local_resp",
                    "service",
                ],
                names: &["src_ip", "dst_ip", "destination"],
            },
            Columns {
                table: "http_transactions",
                plain: &["dst_port", "request_body_bytes", "response_body_bytes"],
                names: &["src_ip", "dst_ip", "host"],
            },
        ]
    }

    fn feed(&mut self, rows: &Rows<'_>) {
        let is_http = rows.table() == "http_transactions";
        let (to, sent, received) = if is_http {
            ("host", "request_body_bytes", "response_body_bytes")
        } else {
            ("destination", "orig_bytes", "resp_bytes")
        };
        let (srcs, dsts, tos) = (rows.ids("src_ip"), rows.ids("dst_ip"), rows.ids(to));
        let (sent, received) = (rows.ints(sent), rows.ints(received));
        let (ports, local, services) = (
            rows.ints("dst_port"),
            rows.flags("local_resp"),
            rows.texts("service"),
        );
        let places = rows.places();
        let mut passed: (u32, u64) = (0, 0);
        for row in 0..rows.len() {
            let is_local = local.get(row) == Some(true);
            // Its requests are rows of their own.
            let by_transaction = !is_http && matches!(services.get(row), Some("http" | "ssl,http"));
            if by_transaction || is_local && !self.alert_on_local {
                continue;
            }
            let bytes = self.sent.of(sent.count(row), received.count(row));
            if bytes as f64 <= self.threshold {
                let capture = places.capture(row);
                if passed.0 != capture {
                    self.pass(passed);
                    passed = (capture, 0);
                }
                passed.1 += 1;
                continue;
            }
            let to = Some(tos.get(row)).filter(|to| to.is_some());
            let to = to.unwrap_or_else(|| dsts.get(row));
            let port = u16::try_from(ports.or_zero(row)).unwrap_or_default();
            let key = (srcs.get(row), to, port);
            if self.subjects.len() >= self.most && !self.subjects.contains_key(&key) {
                self.left_out += 1;
                continue;
            }
            let subject = self.subjects.entry(key).or_insert_with(|| Subject {
                dst: dsts.get(row),
                largest: 0,
                sum: 0,
                received: 0,
                is_http,
                trail: Trail::default(),
            });
            subject.largest = subject.largest.max(bytes);
            subject.sum = subject.sum.saturating_add(bytes);
            subject.received = subject.received.saturating_add(received.count(row));
            subject.trail.push(places.get(row));
        }
        self.pass(passed);
    }

    fn judge(self: Box<Self>, scene: &Scene<'_>) -> Judgement {
        let names = scene.names;
        let mut judgement = Judgement {
            tally: self.tally,
            ..Judgement::default()
        };
        for ((src, to, dst_port), subject) in self.subjects {
            let addresses = (names.text(src).parse(), names.text(subject.dst).parse());
            let (Ok(src), Ok(dst)) = addresses else {
                continue;
            };
            if !is_unicast(dst) {
                continue;
            }
            let destination = names.text(to);
            let what = if subject.is_http {
                "request"
            } else {
                "connection"
            };
            let count = subject.trail.count();
            let often = if count == 1 {
                String::new()
            } else {
                format!(", the largest of {count} such")
            };
            judgement.found.push(Found {
                severity: META.severity,
                baseline: Some(true),
                src,
                dst,
                dst_port,
                destination: destination.to_owned(),
                detail: String::new(),
                explanation: format!(
                    "{} bytes {} {destination} in one {what}{often}; the policy allows {} MB",
                    subject.largest,
                    self.sent.word(),
                    self.threshold / MIB
                ),
                trail: subject.trail,
                prevalence_hosts: scene.population.hosts_of(to),
                numbers: Numbers {
                    measure: Some(Measure {
                        metric: "bytes".into(),
                        observed: subject.largest as f64,
                        threshold: self.threshold,
                        comparator: ">".into(),
                        unit: "byte".into(),
                    }),
                    samples: Some(count),
                    evidence: Some(
                        json!({
                            "unit": what,
                            "bytes_of_all": subject.sum,
                            "bytes_received": subject.received,
                        })
                        .to_string(),
                    ),
                    ..Numbers::default()
                },
            });
        }
        if self.left_out > 0 {
            judgement.limits.push(format!(
                "limits.behaviour_subjects: {} further requests over the threshold are not listed",
                self.left_out
            ));
        }
        judgement
    }
}

impl Looking {
    fn pass(&mut self, (capture, count): (u32, u64)) {
        if count > 0 {
            *self.tally.passed.entry(capture).or_default() += count;
        }
    }
}
