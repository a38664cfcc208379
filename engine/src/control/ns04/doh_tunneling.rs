//! Data carried out in DNS over HTTPS: more bytes sent to a public resolver
//! within an hour than questions take, or more sent than received. What is
//! asked cannot be seen, so the resolver is known by name or address
//! (`rules/doh.tsv`), and only amounts speak (RFC 8484; RFC 8467: clients pad
//! questions to 128 bytes, servers answers to 468).

use super::subjects::{Subjects, say_left_out};
use super::{
    Behaviour, Columns, Detector, Found, Judgement, Measure, NameId, Numbers, Rows, Scene, Trail,
};
use crate::control::{Meta, Severity, Wants};
use crate::policy::Policy;
use foldhash::quality::RandomState;
use hashbrown::{HashMap, HashSet};
use serde_json::json;
use std::collections::BTreeMap;

pub(super) struct DohTunneling;

static META: Meta = Meta {
    id: "NS-04.doh_tunneling",
    title: "Data in DNS over HTTPS",
    severity: Severity::Medium,
    attack: &["T1071.004", "T1572", "T1048.002"],
    wants: Wants::Tables,
    observable_with: "flows to resolvers that are known by name or address",
    source: "RFC 8484; RFC 8467 section 4.1; rules/doh.tsv",
};

const HOUR_NS: i64 = 3_600_000_000_000;
/// Twice what 2,000 padded questions an hour take, with their headers.
const EVEN_BYTES: f64 = 1_048_576.0;
const FINDING: f64 = 0.5;

impl Behaviour for DohTunneling {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn start(&self, policy: &Policy) -> Result<Box<dyn Detector>, &'static str> {
        let list = include_str!("../../../../rules/doh.tsv");
        let lines = list.lines().filter(|line| !line.starts_with('#'));
        Ok(Box::new(Looking {
            resolvers: lines.filter_map(|line| line.split('\t').next()).collect(),
            pairs: Subjects::new(policy),
            ..Looking::default()
        }))
    }
}

#[derive(Debug)]
struct Pair {
    dst: NameId,
    capture: u32,
    first_ns: i64,
    trail: Trail,
    /// Bytes sent and received, by hour.
    hours: BTreeMap<i64, (u64, u64)>,
}

#[derive(Debug, Default)]
struct Looking {
    resolvers: HashSet<&'static str, RandomState>,
    /// Destinations that were looked up in the list.
    known: HashMap<NameId, bool, RandomState>,
    is_fed: bool,
    pairs: Subjects<(NameId, NameId), Pair>,
}

impl Detector for Looking {
    fn next(&mut self, _scene: &Scene<'_>) -> &'static [Columns] {
        if std::mem::replace(&mut self.is_fed, true) {
            return &[];
        }
        &[Columns {
            table: "flows",
            plain: &["dst_port", "orig_bytes", "resp_bytes", "duration_ns"],
            names: &["src_ip", "dst_ip", "destination"],
        }]
    }

    fn feed(&mut self, rows: &Rows<'_>) {
        let (src, dst, to) = (
            rows.ids("src_ip"),
            rows.ids("dst_ip"),
            rows.ids("destination"),
        );
        let (port, lasted) = (rows.ints("dst_port"), rows.ints("duration_ns"));
        let (up, down) = (rows.ints("orig_bytes"), rows.ints("resp_bytes"));
        let places = rows.places();
        for row in 0..rows.len() {
            // DoH, and DoT and DoQ (RFC 7858, RFC 9250), which say as little.
            if !matches!(port.or_zero(row), 443 | 853) || !src.get(row).is_some() {
                continue;
            }
            let resolvers = &self.resolvers;
            let names = rows.names();
            let mut is_known = |id: NameId| {
                *self
                    .known
                    .entry(id)
                    .or_insert_with(|| resolvers.contains(names.text(id)))
            };
            if !is_known(to.get(row)) && !is_known(dst.get(row)) {
                continue;
            }
            let key = (src.get(row), to.get(row));
            let seen = places.get(row);
            let ts_ns = seen.ts.as_nanos();
            let Some(pair) = self.pairs.entry(key, || Pair {
                dst: dst.get(row),
                capture: seen.at.capture,
                first_ns: ts_ns,
                trail: Trail::keeping(64),
                hours: BTreeMap::new(),
            }) else {
                continue;
            };
            if ts_ns < pair.first_ns {
                (pair.first_ns, pair.capture, pair.dst) = (ts_ns, seen.at.capture, dst.get(row));
            }
            pair.trail.push(seen);
            // What a flow sent is spread evenly over the hours that it lasted, at
            // most a week of them.
            let first = ts_ns.div_euclid(HOUR_NS);
            let last = ts_ns
                .saturating_add(lasted.or_zero(row).max(0))
                .div_euclid(HOUR_NS);
            let last = last.min(first.saturating_add(167));
            let hours = u64::try_from(last - first).unwrap_or_default() + 1;
            for hour in first..=last {
                let sums = pair.hours.entry(hour).or_default();
                sums.0 = sums.0.saturating_add(up.count(row) / hours);
                sums.1 = sums.1.saturating_add(down.count(row) / hours);
            }
        }
    }

    fn judge(self: Box<Self>, scene: &Scene<'_>) -> Judgement {
        let mut judgement = Judgement::default();
        for (key, pair) in self.pairs.map {
            let worst = pair
                .hours
                .values()
                .max_by(|a, b| score(**a).total_cmp(&score(**b)));
            let &(up, down) = worst.unwrap_or(&(0, 0));
            let score = score((up, down));
            let (src, dst) = (scene.names.text(key.0), scene.names.text(pair.dst));
            let parsed = src.parse().ok().zip(dst.parse().ok());
            let Some((src, dst)) = parsed.filter(|_| score >= FINDING) else {
                judgement.tally.pass(pair.capture);
                continue;
            };
            let to = scene.names.text(key.1);
            judgement.found.push(Found {
                severity: Severity::Medium,
                baseline: None,
                src,
                dst,
                dst_port: 443,
                destination: to.to_owned(),
                detail: String::new(),
                explanation: format!(
                    "{up} bytes sent to the resolver {to} within an hour, {down} received: \
                     more than questions take (score {score:.2})"
                ),
                trail: pair.trail,
                prevalence_hosts: scene.population.hosts_of(key.1).max(1),
                numbers: Numbers {
                    score: Some(score as f32),
                    measure: Some(Measure::score(score, FINDING)),
                    samples: Some(pair.hours.len() as u64),
                    evidence: Some(
                        json!({
                            "bytes_sent": up,
                            "bytes_received": down,
                            "hours": pair.hours.len(),
                            "against": ["what was asked cannot be seen"],
                        })
                        .to_string(),
                    ),
                    ..Numbers::default()
                },
            });
        }
        say_left_out(
            &mut judgement,
            self.pairs.left_out,
            "flows beyond it were left out",
        );
        judgement
    }
}

/// By how much an hour's bytes exceed what questions take, and whether more
/// goes out than comes back.
fn score((up, down): (u64, u64)) -> f64 {
    let amount = 1.5 * (up as f64 / EVEN_BYTES).max(1e-3).log2();
    let ratio = up as f64 / down.max(1) as f64;
    let outward = if ratio >= 1.0 { 1.5 } else { 0.0 };
    1.0 / (1.0 + (-(amount + outward)).exp())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Flow, judge};
    use super::*;

    /// A flow that lasts so long, with so many bytes out and back.
    fn flow(dst: &str, name: &str, port: u16, seconds: i64, (up, down): (u64, u64)) -> Flow {
        let mut flow = Flow::to(dst).named(name).port(port);
        flow.0.ts_end = flow.0.ts.plus_nanos(seconds * 1_000_000_000);
        (flow.0.orig.bytes, flow.0.resp.bytes) = (up, down);
        flow
    }

    #[track_caller]
    fn found(flow: Flow) -> usize {
        judge(&DohTunneling, &Policy::built_in(), &[flow])
            .found
            .len()
    }

    fn resolver(seconds: i64, bytes: (u64, u64)) -> Flow {
        flow("9.9.9.9", "dns.quad9.net", 443, seconds, bytes)
    }

    #[test]
    fn amounts_beyond_questions_are_found() {
        // An hour of questions; and the same as a tunnel would carry.
        assert_eq!(found(resolver(3_600, (300_000, 700_000))), 0);
        assert_eq!(found(resolver(3_000, (8_000_000, 4_000_000))), 1);
        assert_eq!(found(resolver(3_000, (900_000, 300_000))), 1);
    }

    #[test]
    fn a_long_session_is_spread_over_its_hours() {
        assert_eq!(found(resolver(24 * 3_600, (6_000_000, 20_000_000))), 0);
    }

    #[test]
    fn others_than_resolvers_are_left_alone() {
        let all = (1 << 30, 10);
        assert_eq!(
            found(flow("198.51.100.7", "www.example.org", 443, 60, all)),
            0
        );
        assert_eq!(found(flow("9.9.9.9", "dns.quad9.net", 53, 60, all)), 0);
    }
}
