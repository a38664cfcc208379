//! More bytes in one request, or one connection, than the policy allows.
//!
//! A request is an HTTP request's body where transactions are read; of every
//! other flow it is what the originator sent over the connection. What a
//! connection of HTTP carried beyond its transactions (its framing was lost, or
//! frames belonged to no stream) counts as one request of the connection.

use super::subjects::{Subjects, once, say_left_out};
use super::volume::Sent;
use super::{
    Behaviour, Columns, Detector, Found, Judgement, MIB, Measure, NameId, Numbers, Rows, Scene,
    Seen, Tally, Trail, is_unicast,
};
use crate::control::{Meta, Severity, Wants};
use crate::evidence::FlowId;
use crate::policy::Policy;
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
            subjects: Subjects::new(policy),
            beyond: Subjects::new(policy),
            tally: Tally::default(),
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

/// What is left of a connection once its transactions are taken away.
#[derive(Debug)]
struct Beyond {
    key: (NameId, NameId, u16),
    dst: NameId,
    /// Counted bytes in all, and those that no transaction carried so far.
    bytes: u64,
    left: u64,
    received: u64,
    seen: Seen,
}

/// Share of a connection's bytes that framing may take: records, frames, chunks.
const FRAMING: u64 = 16;

#[derive(Debug)]
struct Looking {
    sent: Sent,
    threshold: f64,
    alert_on_local: bool,
    subjects: Subjects<(NameId, NameId, u16), Subject>,
    /// Connections of HTTP over the threshold, less what their transactions carried.
    beyond: Subjects<FlowId, Beyond>,
    tally: Tally,
    is_fed: bool,
}

impl Detector for Looking {
    fn next(&mut self, _scene: &Scene<'_>) -> &'static [Columns] {
        once(
            &mut self.is_fed,
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
                    plain: &[
                        "dst_port",
                        "request_header_bytes",
                        "request_body_bytes",
                        "response_header_bytes",
                        "response_body_bytes",
                    ],
                    names: &["src_ip", "dst_ip", "host"],
                },
            ],
        )
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
        let heads = (
            rows.ints("request_header_bytes"),
            rows.ints("response_header_bytes"),
        );
        let places = rows.places();
        let mut passed: (u32, u64) = (0, 0);
        for row in 0..rows.len() {
            let is_local = local.get(row) == Some(true);
            if is_local && !self.alert_on_local {
                continue;
            }
            let bytes = self.sent.of(sent.count(row), received.count(row));
            let place = |to: Option<NameId>| {
                let port = u16::try_from(ports.or_zero(row)).unwrap_or_default();
                (srcs.get(row), to.unwrap_or_else(|| dsts.get(row)), port)
            };
            let to = Some(tos.get(row)).filter(|to| to.is_some());
            if is_http && !self.beyond.map.is_empty() {
                let flow = places.get(row).flow_id;
                if let Some(beyond) = self.beyond.map.get_mut(&flow) {
                    let heads = self.sent.of(heads.0.count(row), heads.1.count(row));
                    beyond.left = beyond.left.saturating_sub(bytes.saturating_add(heads));
                }
            }
            // Its requests are rows of their own, also where they carry gRPC or DNS.
            let has_requests = |service: &str| service.split(',').any(|one| one == "http");
            if !is_http && services.get(row).is_some_and(has_requests) {
                if bytes as f64 > self.threshold {
                    let seen = places.get(row);
                    let beyond = Beyond {
                        key: place(to),
                        dst: dsts.get(row),
                        bytes,
                        left: bytes,
                        received: received.count(row),
                        seen,
                    };
                    self.beyond.entry(seen.flow_id, || beyond);
                }
                continue;
            }
            if bytes as f64 <= self.threshold {
                let capture = places.capture(row);
                if passed.0 != capture {
                    self.pass(passed);
                    passed = (capture, 0);
                }
                passed.1 += 1;
                continue;
            }
            self.over(Over {
                key: place(to),
                dst: dsts.get(row),
                bytes,
                received: received.count(row),
                is_http,
                seen: places.get(row),
            });
        }
        self.pass(passed);
    }

    fn judge(mut self: Box<Self>, scene: &Scene<'_>) -> Judgement {
        self.take_beyond();
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
                    measure: Some(Measure::of(
                        "bytes",
                        subject.largest as f64,
                        ">",
                        self.threshold,
                        "byte",
                    )),
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
        say_left_out(
            &mut judgement,
            self.subjects.left_out + self.beyond.left_out,
            "further requests over the threshold are not listed",
        );
        judgement
    }
}

/// A request, or a connection, over the threshold.
struct Over {
    key: (NameId, NameId, u16),
    dst: NameId,
    bytes: u64,
    received: u64,
    is_http: bool,
    seen: Seen,
}

impl Looking {
    fn over(&mut self, over: Over) {
        let Some(subject) = self.subjects.entry(over.key, || Subject {
            dst: over.dst,
            largest: 0,
            sum: 0,
            received: 0,
            is_http: over.is_http,
            trail: Trail::default(),
        }) else {
            return;
        };
        subject.largest = subject.largest.max(over.bytes);
        subject.sum = subject.sum.saturating_add(over.bytes);
        subject.received = subject.received.saturating_add(over.received);
        subject.trail.push(over.seen);
    }

    /// Connections of HTTP that carried more than the threshold beyond their
    /// transactions, in the order of their packets.
    fn take_beyond(&mut self) {
        let mut beyond: Vec<Beyond> = std::mem::take(&mut self.beyond.map).into_values().collect();
        beyond.retain(|one| {
            let framing = one.bytes / FRAMING;
            one.left > framing && (one.left - framing) as f64 > self.threshold
        });
        beyond.sort_unstable_by_key(|one| one.seen);
        for one in beyond {
            self.over(Over {
                key: one.key,
                dst: one.dst,
                bytes: one.left,
                received: one.received,
                is_http: false,
                seen: one.seen,
            });
        }
    }

    fn pass(&mut self, (capture, count): (u32, u64)) {
        if count > 0 {
            *self.tally.passed.entry(capture).or_default() += count;
        }
    }
}
