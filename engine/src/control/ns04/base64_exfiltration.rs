//! Base64 of at least so much in one HTTP request: what the body's measure
//! found, whichever way it was written ([`crate::proto::measure`]).

use super::subjects::{Subjects, say_left_out};
use super::{
    Behaviour, Columns, Detector, Found, Judgement, KIB, Measure, NO_PATTERN, NameId, Numbers,
    Rows, Scene, Tally, Trail,
};
use crate::control::{Meta, Severity, Wants};
use crate::policy::{ExfiltrationKind, Policy};
use serde_json::json;

pub(super) struct Base64Exfiltration;

static META: Meta = Meta {
    id: "NS-04.base64_exfiltration",
    title: "Large base64-encoded payload in a request",
    severity: Severity::High,
    attack: &["T1132.001", "T1041"],
    wants: Wants::Tables,
    observable_with: "HTTP requests with a body, in plaintext or decrypted",
    source: "policy monitoring.network.patterns.exfiltration.base64_encoded_large_payload; RFC 4648",
};

impl Behaviour for Base64Exfiltration {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn start(&self, policy: &Policy) -> Result<Box<dyn Detector>, &'static str> {
        let patterns = &policy.monitoring.network.patterns.exfiltration;
        let pattern = patterns
            .iter()
            .find(|one| one.pattern == ExfiltrationKind::Base64EncodedLargePayload);
        let pattern = pattern.ok_or(NO_PATTERN)?;
        Ok(Box::new(Looking {
            threshold: pattern.threshold_kb.unwrap_or(50.0) * KIB,
            subjects: Subjects::new(policy),
            tally: Tally::default(),
            is_fed: false,
        }))
    }
}

#[derive(Debug)]
struct Subject {
    dst: NameId,
    /// Most in one request, and its longest run.
    most: (u64, u64),
    sum: u64,
    trail: Trail,
}

#[derive(Debug)]
struct Looking {
    threshold: f64,
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
            table: "http_transactions",
            plain: &["dst_port", "base64_bytes", "base64_max_run_bytes"],
            names: &["src_ip", "dst_ip", "host"],
        }]
    }

    fn feed(&mut self, rows: &Rows<'_>) {
        let (srcs, dsts, hosts) = (rows.ids("src_ip"), rows.ids("dst_ip"), rows.ids("host"));
        let (ports, totals) = (rows.ints("dst_port"), rows.ints("base64_bytes"));
        let runs = rows.ints("base64_max_run_bytes");
        let places = rows.places();
        for row in 0..rows.len() {
            // Null: no body that was measured.
            let Some(total) = totals.get(row) else {
                continue;
            };
            let total = total.unsigned_abs();
            if (total as f64) < self.threshold {
                self.tally.pass(places.capture(row));
                continue;
            }
            let to = Some(hosts.get(row)).filter(|to| to.is_some());
            let to = to.unwrap_or_else(|| dsts.get(row));
            let port = u16::try_from(ports.or_zero(row)).unwrap_or_default();
            let key = (srcs.get(row), to, port);
            let Some(subject) = self.subjects.entry(key, || Subject {
                dst: dsts.get(row),
                most: (0, 0),
                sum: 0,
                trail: Trail::default(),
            }) else {
                continue;
            };
            subject.most = subject.most.max((total, runs.count(row)));
            subject.sum = subject.sum.saturating_add(total);
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
            let destination = names.text(to);
            let (total, longest) = subject.most;
            let count = subject.trail.count();
            let requests = if count == 1 { "request" } else { "requests" };
            judgement.found.push(Found {
                severity: META.severity,
                baseline: Some(true),
                src,
                dst,
                dst_port,
                destination: destination.to_owned(),
                detail: String::new(),
                explanation: format!(
                    "{count} {requests} to {destination} with up to {total} characters of base64, {longest} of them in one piece"
                ),
                trail: subject.trail,
                prevalence_hosts: scene.population.hosts_of(to),
                numbers: Numbers {
                    measure: Some(Measure::of("base64_bytes", total as f64, ">=", self.threshold, "byte")),
                    samples: Some(count),
                    evidence: Some(
                        json!({"longest_run": longest, "bytes_of_all": subject.sum}).to_string(),
                    ),
                    ..Numbers::default()
                },
            });
        }
        say_left_out(
            &mut judgement,
            self.subjects.left_out,
            "further requests with base64 are not listed",
        );
        judgement
    }
}
