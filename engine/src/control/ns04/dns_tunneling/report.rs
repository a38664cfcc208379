//! A pair of client and domain as a finding: its sentence, its numbers, and why
//! it may be explained.

use super::weigh::Judged;
use super::{FINDING, Key, Looking, Pair, SURE};
use crate::control::Severity;
use crate::control::ns04::{Found, Measure, Numbers, Scene, rounded};
use serde_json::json;

impl Looking {
    pub(super) fn finding(
        &self,
        scene: &Scene<'_>,
        key: Key,
        pair: &Pair,
        judged: Option<Judged>,
    ) -> Option<Found> {
        let names = scene.names;
        let (domain, below) = match names.text(key.1) {
            "" => ("no domain", "without a domain".to_owned()),
            domain => (domain, format!("below {domain}")),
        };
        let server = names.text(pair.server);
        let baseline = self.long.get(&key);
        let score = judged.as_ref().map_or(0.0, Judged::score);
        let severity = match baseline {
            None if score < SURE => Severity::Medium,
            _ => Severity::High,
        };
        let threshold = self.threshold.unwrap_or_default();
        let mut parts = Vec::new();
        if let Some(trail) = baseline {
            parts.push(format!(
                "{} names longer than {threshold} characters, the longest of {}",
                trail.count(),
                pair.longest
            ));
        }
        if let Some(judged) = &judged {
            parts.push(format!(
                "{:.0} different names {below} that carry up to {:.0} bytes within {} (score {score:.2})",
                judged.cell.names.distinct(),
                judged.bytes,
                judged.span
            ));
        }
        let mut against = Vec::new();
        let mut evidence = json!({
            "domain": domain,
            "questions": pair.questions,
            "longest": pair.longest,
        });
        if let Some(judged) = &judged {
            for term in judged.terms.iter().filter(|term| term.points < 0.0) {
                against.push(term.says.to_owned());
            }
            let terms = judged.terms.iter().map(|term| {
                json!({ "term": term.says, "value": rounded(term.value), "log_odds": rounded(term.points) })
            });
            evidence["information_bytes"] = json!(rounded(judged.bytes));
            evidence["answer_bytes"] = json!(judged.cell.down);
            evidence["terms"] = terms.collect();
            evidence["names"] = json!(judged.cell.names.examples(3));
        } else {
            against.push("the names are too few or too much alike to carry data".to_owned());
        }
        evidence["against"] = json!(against);
        let trail = self
            .gathered
            .get(&key)
            .map(|(trail, _)| trail)
            .or(baseline)?;
        let measure = match baseline {
            Some(_) => Measure::of(
                "query_len",
                f64::from(pair.longest),
                ">",
                threshold as f64,
                "character",
            ),
            None => Measure::score(score, FINDING),
        };
        Some(Found {
            severity,
            baseline: self.threshold.map(|_| baseline.is_some()),
            src: names.text(key.0).parse().ok()?,
            dst: server.parse().ok()?,
            dst_port: 53,
            destination: server.to_owned(),
            detail: domain.to_owned(),
            explanation: parts.join("; "),
            trail: trail.clone(),
            prevalence_hosts: self.clients.get(&key.1).copied().unwrap_or(1),
            numbers: Numbers {
                score: Some(score as f32),
                confidence: Some((f64::from(pair.questions) / 50.0).min(1.0) as f32),
                measure: Some(measure),
                samples: Some(u64::from(pair.questions)),
                evidence: Some(evidence.to_string()),
                suppressed_by: explained(domain).map(Into::into),
                ..Numbers::default()
            },
        })
    }
}

/// Why names below a domain are long and different by design; none when nothing says so.
fn explained(domain: &str) -> Option<String> {
    if domain.ends_with(".arpa") {
        return Some("reverse look-ups (RFC 1035 section 3.5)".to_owned());
    }
    let list = include_str!("../../../../../rules/dns-lookups.tsv");
    let entries = list.lines().filter(|line| !line.starts_with('#'));
    entries
        .filter_map(|line| line.split_once('\t'))
        .find_map(|(suffix, reason)| {
            let rest = domain.strip_suffix(suffix)?;
            (rest.is_empty() || rest.ends_with('.')).then(|| format!("{suffix}: {reason}"))
        })
}
