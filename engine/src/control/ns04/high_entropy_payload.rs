//! Payload whose bytes are spread more evenly than the policy allows, where its
//! protocol does not declare it encrypted or compressed.
//!
//! HTTP is judged by the bodies of its requests, every other flow by the
//! beginning of each direction. What is encrypted by design has no measure; what
//! is declared compressed (a content coding, a media type of archives, images,
//! sound or film) is measured and passes.

use super::subjects::{Subjects, once, say_left_out};
use super::{
    Behaviour, Columns, Detector, Found, Judgement, Measure, NO_PATTERN, NameId, Numbers, Rows,
    Scene, Tally, Trail, rounded,
};
use crate::control::{Meta, Severity, Wants};
use crate::policy::{ExfiltrationKind, Policy};
use serde_json::json;

pub(super) struct HighEntropyPayload;

static META: Meta = Meta {
    id: "NS-04.high_entropy_payload",
    title: "Payload that looks encrypted or compressed, and is not declared so",
    severity: Severity::Medium,
    attack: &["T1048.003", "T1573"],
    wants: Wants::Tables,
    observable_with: "1 KiB or more of payload outside of encrypted protocols",
    source: "policy monitoring.network.patterns.exfiltration.high_entropy_payload; Shannon 1948",
};

impl Behaviour for HighEntropyPayload {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn start(&self, policy: &Policy) -> Result<Box<dyn Detector>, &'static str> {
        let patterns = &policy.monitoring.network.patterns.exfiltration;
        let pattern = patterns
            .iter()
            .find(|one| one.pattern == ExfiltrationKind::HighEntropyPayload);
        let pattern = pattern.ok_or(NO_PATTERN)?;
        Ok(Box::new(Looking {
            threshold: pattern.entropy_threshold.unwrap_or(0.9),
            subjects: Subjects::new(policy),
            tally: Tally::default(),
            is_fed: false,
        }))
    }
}

/// What was measured, as the finding's detail says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Part {
    Request,
    Sent,
    Received,
}

impl Part {
    const fn name(self) -> &'static str {
        match self {
            Self::Request => "request body",
            Self::Sent => "sent",
            Self::Received => "received",
        }
    }
}

#[derive(Debug)]
struct Subject {
    dst: NameId,
    highest: f64,
    bytes: u64,
    trail: Trail,
}

type Key = (NameId, NameId, u16, Part);

#[derive(Debug)]
struct Looking {
    threshold: f64,
    subjects: Subjects<Key, Subject>,
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
                        "entropy_orig",
                        "entropy_resp",
                        "orig_bytes",
                        "resp_bytes",
                        "service",
                    ],
                    names: &["src_ip", "dst_ip", "destination"],
                },
                Columns {
                    table: "http_transactions",
                    plain: &[
                        "dst_port",
                        "request_entropy",
                        "request_body_bytes",
                        "request_content_type",
                        "request_coded",
                    ],
                    names: &["src_ip", "dst_ip", "host"],
                },
            ],
        )
    }

    fn feed(&mut self, rows: &Rows<'_>) {
        let is_http = rows.table() == "http_transactions";
        let tos = rows.ids(if is_http { "host" } else { "destination" });
        let (srcs, dsts, ports) = (
            rows.ids("src_ip"),
            rows.ids("dst_ip"),
            rows.ints("dst_port"),
        );
        let services = rows.texts("service");
        let (types, coded) = (
            rows.texts("request_content_type"),
            rows.flags("request_coded"),
        );
        let parts: &[(Part, &str, &str)] = if is_http {
            &[(Part::Request, "request_entropy", "request_body_bytes")]
        } else {
            &[
                (Part::Sent, "entropy_orig", "orig_bytes"),
                (Part::Received, "entropy_resp", "resp_bytes"),
            ]
        };
        let places = rows.places();
        for (part, entropy, bytes) in parts {
            let (entropies, bytes) = (rows.floats(entropy), rows.ints(bytes));
            for row in 0..rows.len() {
                let Some(entropy) = entropies.get(row) else {
                    continue;
                };
                // Its bodies are rows of their own.
                if !is_http
                    && services
                        .get(row)
                        .is_some_and(|service| service.contains("http"))
                {
                    continue;
                }
                let declared = coded.get(row) == Some(true)
                    || types.get(row).is_some_and(is_compressed_by_design);
                if entropy <= self.threshold || declared {
                    self.tally.pass(places.capture(row));
                    continue;
                }
                let to = Some(tos.get(row)).filter(|to| to.is_some());
                let to = to.unwrap_or_else(|| dsts.get(row));
                let port = u16::try_from(ports.or_zero(row)).unwrap_or_default();
                let key = (srcs.get(row), to, port, *part);
                let Some(subject) = self.subjects.entry(key, || Subject {
                    dst: dsts.get(row),
                    highest: 0.0,
                    bytes: 0,
                    trail: Trail::default(),
                }) else {
                    continue;
                };
                subject.highest = subject.highest.max(entropy);
                subject.bytes = subject.bytes.saturating_add(bytes.count(row));
                subject.trail.push(places.get(row));
            }
        }
    }

    fn judge(self: Box<Self>, scene: &Scene<'_>) -> Judgement {
        let names = scene.names;
        let mut judgement = Judgement {
            tally: self.tally,
            ..Judgement::default()
        };
        for ((src, to, dst_port, part), subject) in self.subjects.map {
            let Some((src, dst)) = scene.addresses(src, subject.dst) else {
                continue;
            };
            let destination = names.text(to);
            let (count, highest) = (subject.trail.count(), subject.highest);
            let what = match part {
                Part::Request => "request bodies",
                Part::Sent => "flows, sent,",
                Part::Received => "flows, received,",
            };
            judgement.found.push(Found {
                severity: META.severity,
                baseline: Some(true),
                src,
                dst,
                dst_port,
                destination: destination.to_owned(),
                detail: part.name().to_owned(),
                explanation: format!(
                    "{count} {what} between {src} and {destination} with an entropy of up to {highest:.3} of 1, \
                     {} bytes in all, which no protocol declares encrypted or compressed",
                    subject.bytes
                ),
                trail: subject.trail,
                prevalence_hosts: scene.population.hosts_of(to),
                numbers: Numbers {
                    measure: Some(Measure::of("entropy", rounded(highest), ">", self.threshold, "bits per byte / 8")),
                    samples: Some(count),
                    evidence: Some(json!({"bytes": subject.bytes}).to_string()),
                    ..Numbers::default()
                },
            });
        }
        say_left_out(
            &mut judgement,
            self.subjects.left_out,
            "further payloads are not listed",
        );
        judgement
    }
}

/// Whether a media type is that of something compressed.
fn is_compressed_by_design(media_type: &str) -> bool {
    let (kind, of) = media_type.split_once('/').unwrap_or((media_type, ""));
    match kind {
        "image" => !matches!(of, "svg+xml" | "bmp" | "x-ms-bmp" | "x-portable-pixmap"),
        "video" | "audio" => true,
        "font" => of.starts_with("woff"),
        "application" => {
            const PACKED: [&str; 22] = [
                "bzip2",
                "epub+zip",
                "gzip",
                "java-archive",
                "ogg",
                "pdf",
                "vnd.rar",
                "wasm",
                "x-7z-compressed",
                "x-bzip",
                "x-bzip2",
                "x-compress",
                "x-gtar-compressed",
                "x-gzip",
                "x-lzip",
                "x-lzma",
                "x-rar-compressed",
                "x-xz",
                "x-zip-compressed",
                "x-zstd",
                "zip",
                "zstd",
            ];
            PACKED.binary_search(&of).is_ok()
                || of.ends_with("+zip")
                || of.ends_with("+gzip")
                // Office documents are ZIP archives.
                || of.starts_with("vnd.openxmlformats-officedocument.")
                || of.starts_with("vnd.oasis.opendocument.")
        }
        _ => false,
    }
}
