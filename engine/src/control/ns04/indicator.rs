//! Traffic that the user's threat intelligence names.
//!
//! What each table shows is looked up in the set: addresses and names of flows,
//! questions and answers of DNS, hosts and URLs of HTTP, fingerprints of TLS
//! clients and servers, certificates. One finding for each indicator, pair of
//! hosts, and place where it was seen.

use super::subjects::{Subjects, say_left_out};
use super::{
    Behaviour, Columns, Detector, Found, Judgement, Measure, NameId, Numbers, Rows, Scene, Trail,
    rounded,
};
use crate::control::{Meta, Severity, Wants};
use crate::indicator::{Kind, Set, Sort};
use crate::policy::Policy;
use crate::time::CaptureTime;
use foldhash::quality::RandomState;
use hashbrown::HashMap;
use serde_json::json;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// The check; with a set where the user gave one.
#[derive(Debug)]
pub struct Indicators(pub Option<Arc<Set>>);

static META: Meta = Meta {
    id: "NS-04.indicator",
    title: "Traffic that threat intelligence names",
    severity: Severity::High,
    attack: &["T1071"],
    wants: Wants::Tables,
    observable_with: "indicators (--indicators FILE)",
    source: "STIX 2.1 §4.7; the user's lists",
};

impl Behaviour for Indicators {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn start(&self, policy: &Policy) -> Result<Box<dyn Detector>, &'static str> {
        let set = self.0.as_ref().ok_or("no indicators given")?;
        Ok(Box::new(Looking {
            set: Arc::clone(set),
            cache: HashMap::default(),
            certificates: HashMap::default(),
            subjects: Subjects::new(policy),
            passed: BTreeMap::new(),
            is_fed: false,
        }))
    }
}

/// Where in the tables a value stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Place {
    Source,
    Destination,
    ServerName,
    Question,
    Answer,
    HttpHost,
    Url,
    Body,
    Client,
    Server,
    Certificate,
}

impl Place {
    const fn words(self) -> &'static str {
        match self {
            Self::Source => "source of a flow",
            Self::Destination => "destination of a flow",
            Self::ServerName => "server name",
            Self::Question => "DNS question",
            Self::Answer => "DNS answer",
            Self::HttpHost => "HTTP host",
            Self::Url => "HTTP request",
            Self::Body => "HTTP body",
            Self::Client => "TLS client",
            Self::Server => "TLS server",
            Self::Certificate => "certificate",
        }
    }
}

/// Indicator, place, source, destination address, port.
type Key = (u32, Place, NameId, NameId, u16);

#[derive(Debug)]
struct Subject {
    trail: Trail,
    /// Name of the destination in the earliest row.
    named: (CaptureTime, Option<Box<str>>),
}

#[derive(Debug)]
struct Looking {
    set: Arc<Set>,
    /// What repeats is looked up once.
    cache: HashMap<(Sort, NameId), Box<[u32]>, RandomState>,
    /// Certificates that are named, by their SHA-256.
    certificates: HashMap<Box<str>, Box<[u32]>, RandomState>,
    subjects: Subjects<Key, Subject>,
    /// Rows that nothing names, by file.
    passed: BTreeMap<u32, u64>,
    is_fed: bool,
}

/// Flows kept for one finding.
const KEPT: usize = 64;

const COLUMNS: &[Columns] = &[
    Columns {
        table: "flows",
        plain: &["src_port", "dst_port"],
        names: &["src_ip", "dst_ip", "server_name", "destination"],
    },
    Columns {
        table: "certificates",
        plain: &[
            "fingerprint",
            "fingerprint_sha1",
            "spki_sha256_b64",
            "serial",
            "san_dns",
            "san_ip",
        ],
        names: &[],
    },
    Columns {
        table: "tls_handshakes",
        plain: &[
            "dst_port",
            "leaf_fingerprint",
            "chain_fingerprints",
            "client_chain_fingerprints",
        ],
        names: &["src_ip", "dst_ip", "destination", "ja3", "ja3s", "ja4"],
    },
    Columns {
        table: "dns_queries",
        plain: &["dst_port", "query", "answer_ips"],
        names: &["src_ip", "dst_ip"],
    },
    Columns {
        table: "http_transactions",
        plain: &[
            "dst_port",
            "host_port",
            "path",
            "query_redacted",
            "plaintext",
            "request_body_sha256",
            "response_body_sha256",
        ],
        names: &["src_ip", "dst_ip", "host", "scheme"],
    },
];

/// Between whom a row is.
#[derive(Clone, Copy)]
struct Pair<'a> {
    src: NameId,
    dst: NameId,
    port: u16,
    /// Name of the destination, where it is one.
    name: Option<&'a str>,
}

impl Detector for Looking {
    fn next(&mut self, _scene: &Scene<'_>) -> &'static [Columns] {
        if std::mem::replace(&mut self.is_fed, true) {
            return &[];
        }
        COLUMNS
    }

    fn feed(&mut self, rows: &Rows<'_>) {
        match rows.table() {
            "flows" => self.flows(rows),
            "certificates" => self.certificates(rows),
            "tls_handshakes" => self.handshakes(rows),
            "dns_queries" => self.questions(rows),
            "http_transactions" => self.transactions(rows),
            _ => {}
        }
    }

    fn judge(self: Box<Self>, scene: &Scene<'_>) -> Judgement {
        let mut judgement = Judgement::default();
        judgement.tally.passed = self.passed;
        let mut hosts: HashMap<(u32, Place), Vec<NameId>, RandomState> = HashMap::default();
        for (place, at, src, ..) in self.subjects.map.keys() {
            hosts.entry((*place, *at)).or_default().push(*src);
        }
        for sources in hosts.values_mut() {
            sources.sort_unstable();
            sources.dedup();
        }
        for (key, subject) in self.subjects.map {
            let prevalence = hosts.get(&(key.0, key.1)).map_or(1, Vec::len);
            let prevalence = u32::try_from(prevalence).unwrap_or(u32::MAX);
            judgement
                .found
                .extend(found(&self.set, scene, key, subject, prevalence));
        }
        say_left_out(
            &mut judgement,
            self.subjects.left_out,
            "rows that indicators name belong to no finding",
        );
        judgement
    }
}

impl Looking {
    /// What names a numbered text.
    fn named(&mut self, rows: &Rows<'_>, sort: Sort, id: NameId) -> Box<[u32]> {
        if !id.is_some() {
            return Box::default();
        }
        let set = &self.set;
        let found = self.cache.entry((sort, id)).or_insert_with(|| {
            let mut places = Vec::new();
            set.look(sort, rows.names().text(id), |place| places.push(place));
            places.into_boxed_slice()
        });
        // Nearly always empty, and then nothing is allocated.
        found.clone()
    }

    fn look(&self, sort: Sort, text: Option<&str>) -> Vec<u32> {
        let mut places = Vec::new();
        if let Some(text) = text {
            self.set.look(sort, text, |place| places.push(place));
        }
        places
    }

    /// What names the destination, or what is said to it.
    fn note(
        &mut self,
        rows: &Rows<'_>,
        row: usize,
        at: Place,
        pair: Pair<'_>,
        places: &[u32],
    ) -> bool {
        self.note_beside(rows, row, (at, pair.port), pair, places)
    }

    /// The same of what stands beside a port that need not be the destination's:
    /// an indicator with a port names that end of a flow alone.
    fn note_beside(
        &mut self,
        rows: &Rows<'_>,
        row: usize,
        (at, beside): (Place, u16),
        pair: Pair<'_>,
        places: &[u32],
    ) -> bool {
        let mut any = false;
        for &place in places {
            let port = self.set.get(place).and_then(|one| one.port);
            if port.is_some_and(|port| port != beside) {
                continue;
            }
            any = true;
            let key = (place, at, pair.src, pair.dst, pair.port);
            let seen = rows.places().get(row);
            let name = || pair.name.map(Box::from);
            let Some(subject) = self.subjects.entry(key, || Subject {
                trail: Trail::keeping(KEPT),
                named: (seen.ts, name()),
            }) else {
                continue;
            };
            if seen.ts < subject.named.0 {
                subject.named = (seen.ts, name());
            }
            subject.trail.push(seen);
        }
        any
    }

    fn pass(&mut self, rows: &Rows<'_>, row: usize, any: bool) {
        if !any {
            *self.passed.entry(rows.places().capture(row)).or_default() += 1;
        }
    }

    fn flows(&mut self, rows: &Rows<'_>) {
        let (src, dst) = (rows.ids("src_ip"), rows.ids("dst_ip"));
        let (names, to) = (rows.ids("server_name"), rows.ids("destination"));
        let (own_ports, ports) = (rows.ints("src_port"), rows.ints("dst_port"));
        for row in 0..rows.len() {
            let pair = Pair {
                src: src.get(row),
                dst: dst.get(row),
                port: port(ports.or_zero(row)),
                name: Some(rows.names().text(to.get(row))),
            };
            let mut any = false;
            let own_port = port(own_ports.or_zero(row));
            for (at, beside, id) in [
                (Place::Source, own_port, pair.src),
                (Place::Destination, pair.port, pair.dst),
                (Place::ServerName, pair.port, names.get(row)),
            ] {
                let places = self.named(rows, Sort::Host, id);
                any |= self.note_beside(rows, row, (at, beside), pair, &places);
            }
            self.pass(rows, row, any);
        }
    }

    /// Which certificates are named: who showed them stands in the handshakes.
    fn certificates(&mut self, rows: &Rows<'_>) {
        let (sha256, sha1) = (rows.texts("fingerprint"), rows.texts("fingerprint_sha1"));
        let (keys, serials) = (rows.texts("spki_sha256_b64"), rows.texts("serial"));
        let (names, addresses) = (rows.text_lists("san_dns"), rows.text_lists("san_ip"));
        for row in 0..rows.len() {
            let mut places = self.look(Sort::Certificate, sha256.get(row));
            places.extend(self.look(Sort::Certificate, sha1.get(row)));
            places.extend(self.look(Sort::Key, keys.get(row)));
            places.extend(self.look(Sort::Serial, serials.get(row)));
            for list in [&names, &addresses] {
                list.each(row, |name| places.extend(self.look(Sort::Host, Some(name))));
            }
            places.sort_unstable();
            places.dedup();
            if let (Some(fingerprint), false) = (sha256.get(row), places.is_empty()) {
                self.certificates.insert(fingerprint.into(), places.into());
            }
        }
    }

    fn handshakes(&mut self, rows: &Rows<'_>) {
        let (src, dst) = (rows.ids("src_ip"), rows.ids("dst_ip"));
        let (to, ports) = (rows.ids("destination"), rows.ints("dst_port"));
        let (ja3, ja3s, ja4) = (rows.ids("ja3"), rows.ids("ja3s"), rows.ids("ja4"));
        let leaf = rows.texts("leaf_fingerprint");
        let chains = [
            rows.text_lists("chain_fingerprints"),
            rows.text_lists("client_chain_fingerprints"),
        ];
        for row in 0..rows.len() {
            let pair = Pair {
                src: src.get(row),
                dst: dst.get(row),
                port: port(ports.or_zero(row)),
                name: Some(rows.names().text(to.get(row))),
            };
            let mut any = false;
            for (at, sort, id) in [
                (Place::Client, Sort::Ja3, ja3.get(row)),
                (Place::Server, Sort::Ja3s, ja3s.get(row)),
                (Place::Client, Sort::Ja4, ja4.get(row)),
            ] {
                let places = self.named(rows, sort, id);
                any |= self.note(rows, row, at, pair, &places);
            }
            if !self.certificates.is_empty() {
                let mut places: Vec<u32> = Vec::new();
                let mut take = |fingerprint: &str| {
                    places.extend(self.certificates.get(fingerprint).into_iter().flatten());
                };
                leaf.get(row).into_iter().for_each(&mut take);
                for chain in &chains {
                    chain.each(row, &mut take);
                }
                places.sort_unstable();
                places.dedup();
                any |= self.note(rows, row, Place::Certificate, pair, &places);
            }
            self.pass(rows, row, any);
        }
    }

    fn questions(&mut self, rows: &Rows<'_>) {
        let (src, dst) = (rows.ids("src_ip"), rows.ids("dst_ip"));
        let (query, ports) = (rows.texts("query"), rows.ints("dst_port"));
        let answers = rows.text_lists("answer_ips");
        for row in 0..rows.len() {
            let pair = Pair {
                src: src.get(row),
                dst: dst.get(row),
                port: port(ports.or_zero(row)),
                name: query.get(row),
            };
            let places = self.look(Sort::Host, query.get(row));
            let mut any = self.note(rows, row, Place::Question, pair, &places);
            let mut places = Vec::new();
            answers.each(row, |address| {
                places.extend(self.look(Sort::Host, Some(address)));
            });
            places.sort_unstable();
            places.dedup();
            any |= self.note(rows, row, Place::Answer, pair, &places);
            self.pass(rows, row, any);
        }
    }

    fn transactions(&mut self, rows: &Rows<'_>) {
        let (src, dst) = (rows.ids("src_ip"), rows.ids("dst_ip"));
        let (hosts, schemes) = (rows.ids("host"), rows.ids("scheme"));
        let (ports, stated) = (rows.ints("dst_port"), rows.ints("host_port"));
        let (paths, queries) = (rows.texts("path"), rows.texts("query_redacted"));
        let plaintext = rows.flags("plaintext");
        let bodies = [
            rows.texts("request_body_sha256"),
            rows.texts("response_body_sha256"),
        ];
        let has_urls = self.set.has(&[Kind::Url]);
        for row in 0..rows.len() {
            let host = rows.names().text(hosts.get(row));
            let pair = Pair {
                src: src.get(row),
                dst: dst.get(row),
                port: port(ports.or_zero(row)),
                name: (!host.is_empty()).then_some(host),
            };
            let places = self.named(rows, Sort::Host, hosts.get(row));
            let mut any = self.note(rows, row, Place::HttpHost, pair, &places);
            if has_urls && let (Some(path), Some(host)) = (paths.get(row), pair.name) {
                // A proxy is told the scheme; others speak that of the connection.
                let scheme = match rows.names().text(schemes.get(row)) {
                    "" if plaintext.get(row) == Some(false) => "https",
                    "" => "http",
                    stated => stated,
                };
                let usual = if scheme == "https" { 443 } else { 80 };
                let is_absolute = schemes.get(row).is_some();
                let at = match stated.get(row) {
                    Some(stated) => port(stated),
                    None if is_absolute => usual,
                    None => pair.port,
                };
                let mut places = Vec::new();
                self.set
                    .look_url((scheme, host, at), path, queries.get(row), |place| {
                        places.push(place);
                    });
                any |= self.note(rows, row, Place::Url, pair, &places);
            }
            for body in &bodies {
                let places = self.look(Sort::File, body.get(row));
                any |= self.note(rows, row, Place::Body, pair, &places);
            }
            self.pass(rows, row, any);
        }
    }
}

fn port(value: i64) -> u16 {
    u16::try_from(value).unwrap_or_default()
}

fn found(
    set: &Set,
    scene: &Scene<'_>,
    (place, at, src, dst, dst_port): Key,
    subject: Subject,
    prevalence_hosts: u32,
) -> Option<Found> {
    let one = set.get(place)?;
    let names = scene.names;
    let src: IpAddr = names.text(src).parse().ok()?;
    let dst: IpAddr = names.text(dst).parse().ok()?;
    let (first, _) = subject.trail.span();
    let count = subject.trail.count();
    let rows = if count == 1 { "row" } else { "rows" };
    let kind = one.kind.name();
    let value = one.value.as_ref();
    let origin = one.origins.first()?;
    let file = |index: u32| set.files().get(index as usize);
    let path = file(origin.file).map_or("", |file| file.path.as_str());
    let called = origin
        .name
        .as_deref()
        .map_or(String::new(), |name| format!(" (\"{name}\")"));
    let is_over = one
        .origins
        .iter()
        .all(|origin| origin.valid_until.is_some_and(|until| until < first));
    let over = if is_over {
        "; its author stood by it only until before that"
    } else {
        ""
    };
    let destination = match &subject.named.1 {
        Some(name) => name.to_string(),
        None => dst.to_string(),
    };
    let confidence = one
        .origins
        .iter()
        .filter_map(|origin| origin.confidence)
        .max();
    let origins: Vec<_> = one
        .origins
        .iter()
        .map(|origin| {
            json!({
                "file": file(origin.file).map(|file| file.path.as_str()),
                "line": origin.line,
                "id": origin.id.as_deref(),
                "name": origin.name.as_deref(),
                "valid_until": origin.valid_until.map(|until| until.to_string()),
            })
        })
        .collect();
    let against: &[&str] = if is_over {
        &["the indicator was out of date at packet time"]
    } else {
        &[]
    };
    let evidence = json!({
        "indicator": {"type": kind, "value": value, "port": one.port, "origins": origins},
        "seen_as": at.words(),
        "against": against,
    });
    Some(Found {
        severity: if is_over {
            Severity::Low
        } else {
            META.severity
        },
        baseline: None,
        src,
        dst,
        dst_port,
        detail: format!("{kind} {value} as {}", at.words()),
        explanation: format!(
            "{src} and {destination} port {dst_port}: {} is {kind} {value}, which {path} line {} names{called}: \
             {count} {rows}, first at {first}{over}",
            at.words(),
            origin.line,
        ),
        destination,
        trail: subject.trail,
        prevalence_hosts,
        numbers: Numbers {
            confidence: confidence.map(rounded_confidence),
            measure: Some(Measure::of(
                "rows",
                rounded(count_of(count)),
                ">=",
                1.0,
                "row",
            )),
            samples: Some(count),
            evidence: Some(evidence.to_string()),
            ..Numbers::default()
        },
    })
}

fn rounded_confidence(of_100: u8) -> f32 {
    f32::from(of_100.min(100)) / 100.0
}

fn count_of(count: u64) -> f64 {
    u32::try_from(count).map_or(f64::from(u32::MAX), f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::ns04::testing::{Flow, judge};

    fn check(feed: &str) -> Indicators {
        let mut set = Set::new(100);
        set.add_bytes("feed.txt", feed.as_bytes());
        Indicators(Some(Arc::new(set)))
    }

    #[test]
    fn flows_to_and_from_what_is_named_are_findings() {
        let flows = [
            Flow::to("198.51.100.7").named("www.evil.example").at(1),
            Flow::to("198.51.100.7").named("www.evil.example").at(2),
            Flow::to("198.51.100.8").at(3),
            Flow::to("10.0.0.9").from("203.0.113.5").at(4),
            Flow::to("198.51.100.9").named("fine.example").at(5),
        ];
        let check = check("evil.example\n198.51.100.8\n203.0.113.0/24\n");
        let judged = judge(&check, &Policy::built_in(), &flows);
        let found: Vec<_> = judged
            .found
            .iter()
            .map(|found| (found.detail.as_str(), found.trail.count()))
            .collect();
        assert_eq!(
            found,
            [
                ("network 203.0.113.0/24 as source of a flow", 1),
                ("address 198.51.100.8 as destination of a flow", 1),
                ("domain evil.example as server name", 2),
            ]
        );
        assert_eq!(judged.tally.passed[&0], 1);
        let told = &judged.found[2].explanation;
        assert!(told.contains("feed.txt line 1"), "{told}");
    }

    #[test]
    fn a_port_that_is_named_must_be_that_of_the_flow() {
        let flows = [
            Flow::to("198.51.100.8").port(443).at(1),
            Flow::to("198.51.100.8").port(8_443).at(2),
        ];
        let judged = judge(&check("198.51.100.8:8443\n"), &Policy::built_in(), &flows);
        let ports: Vec<_> = judged.found.iter().map(|found| found.dst_port).collect();
        assert_eq!(ports, [8_443]);
    }

    #[test]
    fn an_address_of_a_flow_is_named_with_its_own_port_alone() {
        let found = |feed: &str| {
            let mut flow = Flow::to("198.51.100.8").from("10.20.0.7").port(443).at(1);
            flow.0.src_port = 50_001;
            let judged = judge(&check(feed), &Policy::built_in(), &[flow]);
            let passed = judged.tally.passed.get(&0).copied().unwrap_or_default();
            assert_eq!(judged.found.len() as u64 + passed, 1, "{feed}");
            let mut found = judged.found.into_iter().map(|found| found.detail);
            found.next().unwrap_or_default()
        };
        for (feed, detail) in [
            // The port of the other end.
            ("10.20.0.7:443\n", ""),
            ("198.51.100.8:50001\n", ""),
            ("10.20.0.7:50001\n", "address 10.20.0.7 as source of a flow"),
            (
                "198.51.100.8:443\n",
                "address 198.51.100.8 as destination of a flow",
            ),
            ("10.20.0.7:8443\n", ""),
            ("10.20.0.7\n", "address 10.20.0.7 as source of a flow"),
        ] {
            assert_eq!(found(feed), detail, "{feed}");
        }
    }

    #[test]
    fn what_was_out_of_date_at_packet_time_is_low() {
        let bundle = |until: &str| {
            json!({"type": "bundle", "objects": [{
                "type": "indicator", "id": "indicator--1", "valid_until": until, "confidence": 70,
                "pattern": "[domain-name:value = 'evil.example']",
            }]})
            .to_string()
        };
        let flows = [Flow::to("198.51.100.7")
            .named("evil.example")
            .at(1_700_000_000)];
        for (until, severity) in [
            ("2023-11-14T22:13:21Z", Severity::High),
            ("2023-11-14T22:13:19Z", Severity::Low),
        ] {
            let judged = judge(&check(&bundle(until)), &Policy::built_in(), &flows);
            assert_eq!(judged.found[0].severity, severity, "{until}");
            assert_eq!(judged.found[0].numbers.confidence, Some(0.7));
        }
    }

    #[test]
    fn without_indicators_nothing_is_observed() {
        let why = Indicators(None).start(&Policy::built_in()).err();
        assert_eq!(why, Some("no indicators given"));
    }
}
