//! A TLS client of its own kind for one destination alone: among what a host's
//! browser and services do, a program that brings its own TLS and talks to one
//! place. Weak by itself, so `low`; a server without a name or with a
//! certificate that fails makes it `medium`.

use super::groups::{GroupId, Groups, group_name};
use super::subjects::{Subjects, once, say_left_out};
use super::{
    Behaviour, Columns, Detector, Found, Judgement, Measure, NameId, Numbers, Rows, Scene, Trail,
    weights as w,
};
use crate::control::{Meta, Severity, Wants};
use crate::policy::Policy;
use foldhash::quality::RandomState;
use hashbrown::HashMap;
use serde_json::json;
use std::collections::BTreeSet;

pub(super) struct RareTlsClient;

static META: Meta = Meta {
    id: "NS-04.rare_tls_client",
    title: "TLS client that talks to one destination alone",
    severity: Severity::Low,
    attack: &["T1071.001", "T1573"],
    wants: Wants::Tables,
    observable_with: "a host with TLS handshakes to several destinations",
    source: "JA4 (client); RITA v5's rare signature",
};

impl Behaviour for RareTlsClient {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn start(&self, policy: &Policy) -> Result<Box<dyn Detector>, &'static str> {
        Ok(Box::new(Looking {
            clients: Subjects::new(policy),
            ..Looking::default()
        }))
    }
}

/// Source and fingerprint.
type Key = (NameId, NameId);

/// What one source does with one fingerprint.
#[derive(Debug)]
struct Client {
    to: NameId,
    dst: NameId,
    dst_port: u16,
    group: GroupId,
    /// It goes to other destinations as well.
    several: bool,
    nameless: bool,
    fails: bool,
    first_ns: i64,
    capture: u32,
    handshakes: u64,
    trail: Trail,
}

/// What a source does with all of its fingerprints.
#[derive(Debug, Default)]
struct Host {
    handshakes: u64,
    /// Destinations, as many as make a habit.
    goals: BTreeSet<GroupId>,
}

#[derive(Debug, Default)]
struct Looking {
    groups: Groups,
    clients: Subjects<Key, Client>,
    /// A source of each fingerprint, and whether there are others.
    sources: HashMap<NameId, (NameId, bool), RandomState>,
    hosts: HashMap<NameId, Host, RandomState>,
    is_fed: bool,
}

/// Handshakes kept of a client that may yet turn out to go elsewhere.
const KEPT: usize = 32;

impl Detector for Looking {
    fn next(&mut self, _scene: &Scene<'_>) -> &'static [Columns] {
        once(
            &mut self.is_fed,
            &[Columns {
                table: "tls_handshakes",
                plain: &["dst_port", "server_name", "validation_status"],
                names: &["src_ip", "dst_ip", "destination", "ja4"],
            }],
        )
    }

    fn feed(&mut self, rows: &Rows<'_>) {
        let (srcs, dsts) = (rows.ids("src_ip"), rows.ids("dst_ip"));
        let (tos, prints) = (rows.ids("destination"), rows.ids("ja4"));
        let (ports, sni) = (rows.ints("dst_port"), rows.texts("server_name"));
        let statuses = rows.texts("validation_status");
        let places = rows.places();
        for row in 0..rows.len() {
            let (src, print, to) = (srcs.get(row), prints.get(row), tos.get(row));
            if !src.is_some() || !print.is_some() || !to.is_some() {
                continue;
            }
            let group = self.groups.of(rows.names(), to);
            let seen = places.get(row);
            let ts_ns = seen.ts.as_nanos();
            let Some(client) = self.clients.entry((src, print), || Client {
                to,
                dst: dsts.get(row),
                dst_port: u16::try_from(ports.or_zero(row)).unwrap_or_default(),
                group,
                several: false,
                nameless: false,
                fails: false,
                first_ns: ts_ns,
                capture: seen.at.capture,
                handshakes: 0,
                trail: Trail::keeping(KEPT),
            }) else {
                continue;
            };
            let host = self.hosts.entry(src).or_default();
            host.handshakes += 1;
            if host.goals.len() <= w::TLS_DESTINATIONS {
                host.goals.insert(group);
            }
            let (one, others) = self.sources.entry(print).or_insert((src, false));
            *others |= *one != src;
            client.handshakes += 1;
            if ts_ns < client.first_ns {
                (client.first_ns, client.capture) = (ts_ns, seen.at.capture);
                (client.to, client.dst) = (to, dsts.get(row));
            }
            client.several |= client.group != group;
            client.nameless |= sni.get(row).is_none();
            client.fails |= statuses.get(row) == Some("failed");
            if !client.several {
                client.trail.push(seen);
            }
        }
    }

    fn judge(self: Box<Self>, scene: &Scene<'_>) -> Judgement {
        let mut judgement = Judgement::default();
        for ((src, print), client) in self.clients.map {
            let host = self.hosts.get(&src);
            let is_shared = self.sources.get(&print).is_none_or(|(_, others)| *others);
            let has_habit = host.is_some_and(|host| {
                host.handshakes >= w::TLS_HANDSHAKES && host.goals.len() > w::TLS_DESTINATIONS
            });
            let is_one = !client.several && !is_shared && client.handshakes >= w::TLS_REPEATS;
            if !has_habit {
                let reason = "the host shows too few TLS handshakes to have a habit";
                judgement.tally.not_observed(client.capture, reason);
            } else if is_one {
                let handshakes = host.map_or(0, |host| host.handshakes);
                judgement
                    .found
                    .extend(finding(scene, (src, print), client, handshakes));
            } else {
                judgement.tally.pass(client.capture);
            }
        }
        let what = "handshakes of further clients were not looked at";
        say_left_out(&mut judgement, self.clients.left_out, what);
        judgement
    }
}

fn finding(scene: &Scene<'_>, key: Key, client: Client, handshakes: u64) -> Option<Found> {
    let names = scene.names;
    let (src, dst) = scene.addresses(key.0, client.dst)?;
    let hosts = scene.population.hosts_of(client.to);
    let mut against = vec!["programs of their own have TLS of their own"];
    let mut score = w::TLS_SCORE;
    if client.nameless {
        score += w::TLS_NAMELESS;
    }
    if client.fails {
        score += w::TLS_FAILS;
    }
    if hosts > 1 {
        score -= w::TLS_SHARED;
        against.push("other hosts go there, with other clients");
    }
    let (ja4, destination) = (names.text(key.1), names.text(client.to));
    let count = client.handshakes;
    let evidence = json!({
        "formula": w::FORMULA,
        "ja4": ja4,
        "without_server_name": client.nameless,
        "certificate_fails": client.fails,
        "handshakes_of_host": handshakes,
        "against": against,
    });
    let severity = if score >= w::TLS_MEDIUM {
        Severity::Medium
    } else {
        META.severity
    };
    Some(Found {
        severity,
        baseline: None,
        src,
        dst,
        dst_port: client.dst_port,
        destination: destination.to_owned(),
        detail: ja4.to_owned(),
        explanation: format!(
            "{count} handshakes of the client {ja4} from {src} to {} and nowhere else, by no other host",
            group_name(destination)
        ),
        trail: client.trail,
        prevalence_hosts: hosts,
        numbers: Numbers {
            #[expect(clippy::cast_possible_truncation, reason = "a ratio")]
            score: Some(score as f32),
            measure: Some(Measure::of(
                "destinations_of_client",
                1.0,
                "<",
                2.0,
                "destination",
            )),
            samples: Some(count),
            evidence: Some(evidence.to_string()),
            ..Numbers::default()
        },
    })
}

#[cfg(test)]
mod tests {
    use super::super::tables_by_hand::{ints, places, texts, write};
    use super::super::testing::{judge_folder, write_flows};
    use super::*;

    /// Source, fingerprint, name, whether its certificate fails.
    type Hello = (&'static str, &'static str, Option<&'static str>, bool);

    const BROWSER: [Hello; 7] = [
        ("10.0.0.5", "browser", Some("a.example"), false),
        ("10.0.0.5", "browser", Some("b.example"), false),
        ("10.0.0.5", "browser", Some("c.example"), false),
        ("10.0.0.5", "browser", Some("www.d.example"), false),
        ("10.0.0.5", "browser", Some("static.d.example"), false),
        ("10.0.0.5", "browser", Some("e.example"), false),
        ("10.0.0.5", "browser", Some("f.example"), false),
    ];

    /// A browser's day of 21 handshakes, and these.
    #[track_caller]
    fn found(more: &[Hello]) -> Vec<(String, Severity)> {
        let folder = tempfile::tempdir().unwrap();
        write_flows(folder.path(), &[]);
        let hellos: Vec<Hello> = BROWSER
            .into_iter()
            .cycle()
            .take(21)
            .chain(more.iter().copied())
            .collect();
        let times: Vec<i64> = (0..)
            .map(|n| n * 1_000_000_000)
            .take(hellos.len())
            .collect();
        let mut columns = places(&times);
        let text = |get: fn(&Hello) -> Option<&'static str>| texts(hellos.iter().map(get));
        columns.extend([
            ("src_ip", text(|hello| Some(hello.0))),
            ("dst_ip", text(|_| Some("198.51.100.7"))),
            (
                "destination",
                text(|hello| hello.2.or(Some("198.51.100.7"))),
            ),
            ("ja4", text(|hello| Some(hello.1))),
            ("server_name", text(|hello| hello.2)),
            (
                "validation_status",
                text(|hello| Some(if hello.3 { "failed" } else { "passed" })),
            ),
            ("dst_port", ints(hellos.iter().map(|_| Some(443)))),
        ]);
        write(folder.path(), "tls_handshakes", columns);
        let judged = judge_folder(&RareTlsClient, &Policy::built_in(), folder.path());
        let found = judged.found.into_iter();
        found.map(|one| (one.destination, one.severity)).collect()
    }

    #[test]
    fn a_client_of_one_destination_is_found_from_its_third_handshake() {
        let own = ("10.0.0.5", "own", Some("c2.example"), false);
        assert_eq!(found(&[own; 3]), [("c2.example".to_owned(), Severity::Low)]);
        assert!(found(&[own; 2]).is_empty());
        // Names below one domain are one destination; two domains are two.
        let below = ("10.0.0.5", "own", Some("x.c2.example"), false);
        assert_eq!(found(&[own, own, below]).len(), 1);
        let other = ("10.0.0.5", "own", Some("else.example"), false);
        assert!(found(&[own, own, own, other]).is_empty());
    }

    #[test]
    fn a_server_without_a_name_or_that_fails_makes_it_worse() {
        let nameless = ("10.0.0.5", "own", None, false);
        let failing = ("10.0.0.5", "own", Some("c2.example"), true);
        for (hello, to) in [(nameless, "198.51.100.7"), (failing, "c2.example")] {
            assert_eq!(found(&[hello; 3]), [(to.to_owned(), Severity::Medium)]);
        }
    }

    #[test]
    fn what_others_have_as_well_is_no_sign_and_a_host_without_habit_none() {
        let own = ("10.0.0.5", "own", Some("c2.example"), false);
        let theirs = ("10.0.0.6", "own", Some("c2.example"), false);
        assert!(found(&[own, own, own, theirs]).is_empty());
        let lonely = ("10.0.0.9", "lonely", Some("c2.example"), false);
        assert!(found(&[lonely; 5]).is_empty());
    }
}
