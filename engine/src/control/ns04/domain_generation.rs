//! A host that asks in vain for many names which look drawn by a program: a bot
//! that looks for its master (MITRE ATT&CK T1568.002). Judged by host, never by
//! one name: different registered domains that failed within an hour or a day,
//! their scores summed up against what benign hosts reach once in 10,000 times
//! (`rules/dga`). Says nothing about names made of words.

use super::subjects::{Subjects, say_left_out};
use super::{
    Behaviour, Columns, Detector, Found, Judgement, Measure, NameId, Numbers, Rows, Scene, Seen,
    Trail, rounded,
};
use crate::control::{Meta, Severity, Wants};
use crate::policy::{C2Kind, Policy};
use crate::proto::dns::dga;
use foldhash::quality::RandomState;
use hashbrown::HashMap;
use serde_json::json;
use std::collections::BTreeSet;

pub(super) struct DomainGeneration;

static META: Meta = Meta {
    id: "NS-04.domain_generation",
    title: "Names drawn by a program",
    severity: Severity::Medium,
    attack: &["T1568.002"],
    wants: Wants::Tables,
    observable_with: "DNS questions with their answers",
    source: "policy monitoring.network.patterns.command_and_control; rules/dga",
};

/// Fewer names are no proof.
const MIN_NAMES: usize = 10;
/// Spans within which names belong together, nanoseconds: a bot's loop, and one that takes its time.
const WINDOWS: [i64; 2] = [3_600_000_000_000, 86_400_000_000_000];
/// Names that an explanation shows.
const SHOWN: usize = 5;
/// Names below which nobody outside this network could answer: search suffixes
/// and the like (RFC 6761, RFC 8375, RFC 9476 and habit).
const LOCAL: [&str; 10] = [
    "local",
    "localdomain",
    "lan",
    "home",
    "internal",
    "intranet",
    "corp",
    "arpa",
    "test",
    "invalid",
];

/// The policy's list leaves this detector out.
const NO_PATTERN: &str = "the policy names no such pattern";

impl Behaviour for DomainGeneration {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn start(&self, policy: &Policy) -> Result<Box<dyn Detector>, &'static str> {
        let patterns = &policy.monitoring.network.patterns.command_and_control;
        if !patterns
            .iter()
            .any(|known| known.pattern == C2Kind::DomainGeneration)
        {
            return Err(NO_PATTERN);
        }
        if dga::model().is_none() {
            return Err("no model");
        }
        Ok(Box::new(Looking {
            hosts: Subjects::new(policy),
            failed: Subjects::new(policy),
            ..Looking::default()
        }))
    }
}

/// A name that a host asked for in vain.
#[derive(Clone, Copy, Debug)]
struct Failed {
    first: Seen,
    score: f32,
    /// The server said that it does not exist.
    denied: bool,
}

#[derive(Debug)]
struct Host {
    capture: u32,
    server: NameId,
    first: Seen,
}

#[derive(Debug, Default)]
struct Looking {
    pass: u8,
    hosts: Subjects<NameId, Host>,
    failed: Subjects<(NameId, NameId), Failed>,
    /// After the first pass: hosts over the limit, with what they showed.
    over: HashMap<NameId, Window, RandomState>,
    /// Names that such a host got an answer for and that look drawn as well.
    located: HashMap<NameId, BTreeSet<NameId>, RandomState>,
}

/// Names of one host that failed within one span.
#[derive(Clone, Debug)]
struct Window {
    names: Vec<(NameId, Failed)>,
    span_ns: i64,
    sum: f64,
    limit: f64,
}

impl Detector for Looking {
    fn next(&mut self, scene: &Scene<'_>) -> &'static [Columns] {
        self.pass += 1;
        match self.pass {
            1 => &[Columns {
                table: "dns_queries",
                plain: &["rcode", "dga_score", "unanswered"],
                names: &["src_ip", "dst_ip", "etld1"],
            }],
            2 => {
                self.weigh(scene);
                if self.over.is_empty() {
                    return &[];
                }
                &[Columns {
                    table: "dns_queries",
                    plain: &["rcode", "dga_score"],
                    names: &["src_ip", "etld1"],
                }]
            }
            _ => &[],
        }
    }

    fn feed(&mut self, rows: &Rows<'_>) {
        let (src, domain) = (rows.ids("src_ip"), rows.ids("etld1"));
        let (rcode, score) = (rows.ints("rcode"), rows.floats("dga_score"));
        if self.pass > 1 {
            for row in 0..rows.len() {
                let is_drawn = score.get(row).is_some_and(|score| score >= 0.9);
                if is_drawn && rcode.get(row) == Some(0) && self.over.contains_key(&src.get(row)) {
                    let names = self.located.entry(src.get(row)).or_default();
                    if names.len() < MIN_NAMES {
                        names.insert(domain.get(row));
                    }
                }
            }
            return;
        }
        let (server, unanswered) = (rows.ids("dst_ip"), rows.flags("unanswered"));
        let places = rows.places();
        for row in 0..rows.len() {
            let (host, name) = (src.get(row), domain.get(row));
            let Some(score) = score.get(row).filter(|_| host.is_some() && name.is_some()) else {
                continue;
            };
            let rcode = rcode.get(row);
            // SERVFAIL: a zone that was taken away often looks like this.
            let is_failed = matches!(rcode, Some(2 | 3)) || unanswered.get(row) == Some(true);
            let seen = places.get(row);
            let Some(known) = self.hosts.entry(host, || Host {
                capture: seen.at.capture,
                server: server.get(row),
                first: seen,
            }) else {
                continue;
            };
            if seen < known.first {
                (known.first, known.capture, known.server) =
                    (seen, seen.at.capture, server.get(row));
            }
            if !is_failed {
                continue;
            }
            let fresh = Failed {
                first: seen,
                score: score as f32,
                denied: rcode == Some(3),
            };
            let Some(known) = self.failed.entry((host, name), || fresh) else {
                continue;
            };
            known.denied |= fresh.denied;
            known.first = known.first.min(seen);
        }
    }

    fn judge(self: Box<Self>, scene: &Scene<'_>) -> Judgement {
        let mut judgement = Judgement::default();
        for (id, host) in &self.hosts.map {
            match self.over.get(id) {
                Some(window) => {
                    let located = self.located.get(id);
                    judgement.found.extend(finding(
                        scene,
                        *id,
                        host,
                        window,
                        located,
                        self.over.len(),
                    ));
                }
                None => judgement.tally.pass(host.capture),
            }
        }
        say_left_out(
            &mut judgement,
            self.hosts.left_out + self.failed.left_out,
            "questions beyond it were left out",
        );
        judgement
    }
}

impl Looking {
    /// Finds the hosts over the limit.
    fn weigh(&mut self, scene: &Scene<'_>) {
        let mut by_host: HashMap<NameId, Vec<(NameId, Failed)>, RandomState> = HashMap::default();
        for ((host, name), failed) in std::mem::take(&mut self.failed.map) {
            if !is_local(scene.names.text(name)) {
                by_host.entry(host).or_default().push((name, failed));
            }
        }
        for (host, mut names) in by_host {
            if names.len() < MIN_NAMES {
                continue;
            }
            // Numbers of names depend on the order of rows: they decide nothing.
            names.sort_by(|(_, a), (_, b)| a.first.cmp(&b.first).then(a.score.total_cmp(&b.score)));
            if let Some(window) = worst(&names) {
                self.over.insert(host, window);
            }
        }
    }
}

fn is_local(domain: &str) -> bool {
    let top = domain.rsplit('.').next().unwrap_or_default();
    LOCAL.contains(&top)
}

/// The span in which the sum exceeds its limit by most; none when it never does.
fn worst(names: &[(NameId, Failed)]) -> Option<Window> {
    let model = dga::model()?;
    let shares: Vec<f64> = names
        .iter()
        .map(|(_, failed)| model.share(dga::log_odds(failed.score)))
        .collect();
    let mut best: Option<(f64, usize, usize, i64, f64, f64)> = None;
    for span_ns in WINDOWS {
        let mut start = 0;
        let mut sum = 0.0;
        for (end, (last, share)) in names.iter().zip(&shares).enumerate() {
            sum += share;
            while let Some((first, gone)) = names.get(start).zip(shares.get(start)) {
                if last.1.first.ts.nanos_since(first.1.first.ts) <= span_ns {
                    break;
                }
                sum -= gone;
                start += 1;
            }
            let count = (end + 1).saturating_sub(start);
            let Some(limit) = model.limit(count).filter(|_| count >= MIN_NAMES) else {
                continue;
            };
            if sum > limit && best.is_none_or(|(excess, ..)| sum - limit > excess) {
                best = Some((sum - limit, start, end, span_ns, sum, limit));
            }
        }
    }
    let (_, start, end, span_ns, sum, limit) = best?;
    Some(Window {
        names: names.get(start..=end)?.to_vec(),
        span_ns,
        sum,
        limit,
    })
}

fn finding(
    scene: &Scene<'_>,
    id: NameId,
    host: &Host,
    window: &Window,
    located: Option<&BTreeSet<NameId>>,
    hosts: usize,
) -> Option<Found> {
    let names = scene.names;
    let src = names.text(id).parse().ok()?;
    let dst = names.text(host.server).parse().ok()?;
    let mut trail = Trail::default();
    for (_, failed) in &window.names {
        trail.push(failed.first);
    }
    let count = window.names.len();
    let denied = window
        .names
        .iter()
        .filter(|(_, failed)| failed.denied)
        .count();
    let low = window
        .names
        .iter()
        .filter(|(_, failed)| failed.score < 0.5)
        .count();
    // The most drawn first; by text, as numbers depend on the order of rows.
    let mut shown: Vec<(f32, &str)> = window
        .names
        .iter()
        .map(|(name, failed)| (failed.score, names.text(*name)))
        .collect();
    shown.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    let model = dga::model()?;
    let examples: Vec<_> = shown
        .iter()
        .take(SHOWN)
        .map(|(score, name)| {
            let rarest = dga::label(name).map(|label| model.rarest(label, 3));
            json!({ "name": name, "score": rounded(f64::from(*score)), "rarest": rarest })
        })
        .collect();
    let mut located: Vec<&str> = located
        .into_iter()
        .flatten()
        .map(|name| names.text(*name))
        .collect();
    located.sort_unstable();
    let mut against = Vec::new();
    if low > 0 {
        against.push(format!("{low} of the names look chosen by people"));
    }
    if denied == 0 {
        against.push("no server said that a name does not exist".to_owned());
    }
    if count > 1_000 {
        against.push("so many names are what a resolver or a mail server asks for".to_owned());
    }
    let hours = window.span_ns / WINDOWS[0];
    let first = shown
        .iter()
        .take(3)
        .map(|(_, name)| *name)
        .collect::<Vec<_>>()
        .join(", ");
    let excess = (window.sum - window.limit) / (count.max(1) as f64).sqrt();
    Some(Found {
        severity: Severity::Medium,
        baseline: None,
        src,
        dst,
        dst_port: 53,
        destination: names.text(host.server).to_owned(),
        detail: String::new(),
        explanation: format!(
            "{count} different names asked for in vain within {hours} h look drawn by a program \
             (sum {:.1}, benign hosts exceed {:.1} once in 10,000 times), such as {first}",
            window.sum, window.limit
        ),
        trail,
        prevalence_hosts: u32::try_from(hosts).unwrap_or(u32::MAX),
        numbers: Numbers {
            score: Some((1.0 / (1.0 + (-excess).exp())) as f32),
            confidence: Some((count as f32 / 50.0).min(1.0)),
            measure: Some(Measure::of(
                "dga_sum",
                rounded(window.sum),
                ">",
                rounded(window.limit),
                "log-odds",
            )),
            samples: Some(count as u64),
            evidence: Some(
                json!({
                    "names": count,
                    "nxdomain": denied,
                    "window_seconds": window.span_ns / 1_000_000_000,
                    "examples": examples,
                    "answered_and_drawn": located,
                    "against": against,
                })
                .to_string(),
            ),
            ..Numbers::default()
        },
    })
}

#[cfg(test)]
mod tests {
    use super::super::tables_by_hand::{Asked, asked, judge_asked, noise};
    use super::*;

    #[track_caller]
    fn judge(rows: &[Asked]) -> Judgement {
        judge_asked(&DomainGeneration, &Policy::built_in(), rows)
    }

    fn drawn(n: u32) -> String {
        format!(
            "{}.com",
            noise(u64::from(n) + 77, 12, b"abcdefghijklmnopqrstuvwxyz")
        )
    }

    /// So many names in vain, one every so many seconds.
    fn in_vain(many: u32, every: f64, name: impl Fn(u32) -> String) -> Vec<Asked> {
        (0..many)
            .map(|n| asked(name(n)).at(f64::from(n) * every).denied())
            .collect()
    }

    #[test]
    fn ten_drawn_names_in_vain_are_a_finding_and_nine_are_not() {
        for (many, expected) in [(9, 0), (10, 1)] {
            let found = judge(&in_vain(many, 30.0, drawn)).found;
            assert_eq!(found.len(), expected, "{many}");
            for found in found {
                assert_eq!(found.severity, Severity::Medium);
                assert_eq!(found.src.to_string(), "10.0.0.5");
                assert_eq!(found.numbers.samples, Some(10));
                assert_eq!(found.trail.count(), 10);
            }
        }
    }

    #[test]
    fn the_same_name_again_is_no_other_name() {
        assert!(
            judge(&in_vain(200, 10.0, |n| drawn(n % 9)))
                .found
                .is_empty()
        );
    }

    #[test]
    fn names_that_are_there_are_no_sign() {
        let rows: Vec<_> = (0..50).map(|n| asked(drawn(n)).at(f64::from(n))).collect();
        let judged = judge(&rows);
        assert!(judged.found.is_empty());
        assert_eq!(judged.tally.passed[&0], 1);
    }

    #[test]
    fn names_of_people_in_vain_are_no_sign() {
        // Well-known names, a letter left out.
        let typos = [
            "facbook", "wikpedia", "amazn", "youtub", "linkdin", "instgram", "netlix", "gogle",
            "microsft", "twiter", "pinteres", "wordpres", "spotfy", "dropbx", "airbb",
        ];
        let rows = in_vain(15, 60.0, |n| format!("{}.com", typos[n as usize]));
        assert!(judge(&rows).found.is_empty());
    }

    #[test]
    fn names_spread_over_weeks_do_not_belong_together() {
        assert!(judge(&in_vain(20, 90_000.0, drawn)).found.is_empty());
    }

    #[test]
    fn a_local_domain_says_nothing() {
        assert!(
            judge(&in_vain(30, 10.0, |n| drawn(n).replace(".com", ".lan")))
                .found
                .is_empty()
        );
    }

    #[test]
    fn a_name_that_was_answered_at_last_is_told() {
        let mut rows = in_vain(12, 30.0, drawn);
        rows.push(asked("kqzvxwjtrp.com").at(400.0));
        let found = judge(&rows).found;
        assert!(
            found[0]
                .numbers
                .evidence
                .as_deref()
                .unwrap()
                .contains("kqzvxwjtrp.com")
        );
    }
}
