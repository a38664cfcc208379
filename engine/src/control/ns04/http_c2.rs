//! HTTP that a program speaks to its master. Each sign is weak and common by
//! itself: only several together, towards one host, make a finding. Signs are
//! stagers' URIs (checksum8), headers that a browser would send and this one
//! does not, few paths asked over and over, replies of the same size, types
//! that contradict the path.

use super::subjects::{Subjects, say_left_out};
use super::{
    Behaviour, Columns, Detector, Found, Judgement, Measure, NameId, Numbers, Rows, Scene, Trail,
    rounded,
};
use crate::control::{Meta, Severity, Wants};
use crate::policy::Policy;
use serde_json::json;
use std::collections::BTreeMap;

pub(super) struct HttpC2;

static META: Meta = Meta {
    id: "NS-04.http_c2",
    title: "HTTP as implants speak it",
    severity: Severity::High,
    attack: &["T1071.001", "T1105"],
    wants: Wants::Tables,
    observable_with: "HTTP requests with their answers",
    source: "Rex::Payloads::Meterpreter::UriChecksum; RFC 9110; RITA v5, its HTTP modifiers",
};

const FINDING: f64 = 0.5;
const SURE: f64 = 0.8;
/// Signs that must come together.
const MIN_SIGNS: usize = 3;
/// Sizes and paths that are told apart of one pair.
const KEPT: usize = 16;
/// A stage is larger than pages and scripts mostly are.
const STAGE: u64 = 100 << 10;

impl Behaviour for HttpC2 {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn start(&self, policy: &Policy) -> Result<Box<dyn Detector>, &'static str> {
        Ok(Box::new(Looking {
            pairs: Subjects::new(policy),
            ..Looking::default()
        }))
    }
}

#[derive(Debug)]
struct Pair {
    dst: NameId,
    port: u16,
    capture: u32,
    first_ns: i64,
    trail: Trail,
    sums: Sums,
}

#[derive(Debug, Default)]
struct Sums {
    requests: u64,
    posts: u64,
    answered: u64,
    stager_paths: u64,
    stages: u64,
    no_host: u64,
    no_agent: u64,
    no_accept: u64,
    posing: u64,
    referred: u64,
    contradictions: u64,
    no_server: u64,
    empire: [bool; 3],
    paths: BTreeMap<u64, u64>,
    more_paths: bool,
    sizes: BTreeMap<u64, u64>,
}

#[derive(Debug, Default)]
struct Looking {
    is_fed: bool,
    pairs: Subjects<(NameId, NameId), Pair>,
}

impl Detector for Looking {
    fn next(&mut self, _scene: &Scene<'_>) -> &'static [Columns] {
        if std::mem::replace(&mut self.is_fed, true) {
            return &[];
        }
        &[Columns {
            table: "http_transactions",
            plain: &[
                "method",
                "http_version",
                "host",
                "dst_port",
                "path",
                "user_agent",
                "referrer",
                "header_names",
                "response_status",
                "response_body_bytes",
                "response_content_type",
                "response_server",
            ],
            names: &["src_ip", "dst_ip"],
        }]
    }

    fn feed(&mut self, rows: &Rows<'_>) {
        let (src, dst) = (rows.ids("src_ip"), rows.ids("dst_ip"));
        let port = rows.ints("dst_port");
        let (method, version) = (rows.texts("method"), rows.texts("http_version"));
        let (host, path) = (rows.texts("host"), rows.texts("path"));
        let (agent, referrer) = (rows.texts("user_agent"), rows.texts("referrer"));
        let headers = rows.text_lists("header_names");
        let (status, body) = (
            rows.ints("response_status"),
            rows.ints("response_body_bytes"),
        );
        let (ctype, server) = (
            rows.texts("response_content_type"),
            rows.texts("response_server"),
        );
        let places = rows.places();
        for row in 0..rows.len() {
            let key = (src.get(row), dst.get(row));
            let Some(method) = method
                .get(row)
                .filter(|_| key.0.is_some() && key.1.is_some())
            else {
                continue;
            };
            let seen = places.get(row);
            let ts_ns = seen.ts.as_nanos();
            let Some(pair) = self.pairs.entry(key, || Pair {
                dst: key.1,
                port: u16::try_from(port.or_zero(row)).unwrap_or_default(),
                capture: seen.at.capture,
                first_ns: ts_ns,
                trail: Trail::keeping(64),
                sums: Sums::default(),
            }) else {
                continue;
            };
            if ts_ns < pair.first_ns {
                (pair.first_ns, pair.capture) = (ts_ns, seen.at.capture);
            }
            pair.trail.push(seen);
            // A run that did not keep names says of no header that it is missing.
            let has = |name: &str| headers.has(row, name).unwrap_or(true);
            let path = path.get(row).unwrap_or_default();
            let ctype = ctype.get(row);
            let size = body.count(row);
            let sums = &mut pair.sums;
            sums.requests += 1;
            sums.posts += u64::from(method == "POST");
            let is_stager = is_stager(path);
            sums.stager_paths += u64::from(is_stager);
            let is_blob = matches!(ctype, None | Some("application/octet-stream"));
            let is_ok = status.get(row) == Some(200);
            sums.stages += u64::from(is_stager && is_blob && is_ok && size >= STAGE);
            sums.no_host += u64::from(version.get(row) == Some("1.1") && host.get(row).is_none());
            let agent = agent.get(row);
            sums.no_agent += u64::from(agent.is_none());
            sums.no_accept += u64::from(!has("accept"));
            // Every browser says which languages and encodings it takes.
            let says_browser = agent.is_some_and(|agent| agent.starts_with("Mozilla/"));
            sums.posing +=
                u64::from(says_browser && !has("accept-language") && !has("accept-encoding"));
            sums.referred += u64::from(referrer.get(row).is_some());
            sums.contradictions += u64::from(is_ok && size > 0 && contradicts(path, ctype));
            if status.get(row).is_some() {
                sums.answered += 1;
                sums.no_server += u64::from(server.get(row).is_none());
                count(&mut sums.sizes, size);
            }
            let defaults = ["/admin/get.php", "/news.php", "/login/process.php"];
            for (seen, default) in sums.empire.iter_mut().zip(defaults) {
                *seen |= path == default;
            }
            sums.more_paths |= !count(&mut sums.paths, hash(path));
        }
    }

    fn judge(self: Box<Self>, scene: &Scene<'_>) -> Judgement {
        let mut judgement = Judgement::default();
        for (key, pair) in self.pairs.map {
            let terms = terms(&pair.sums);
            let signs = terms.iter().filter(|term| term.2 > 0.0).count();
            let score = 1.0 / (1.0 + (-terms.iter().map(|term| term.2).sum::<f64>()).exp());
            let (src, dst) = (scene.names.text(key.0), scene.names.text(pair.dst));
            let is_it = score >= FINDING && signs >= MIN_SIGNS;
            let Some((from, to)) = src.parse().ok().zip(dst.parse().ok()).filter(|_| is_it) else {
                judgement.tally.pass(pair.capture);
                continue;
            };
            let says: Vec<&str> = terms
                .iter()
                .filter(|term| term.2 > 0.0)
                .map(|term| term.0)
                .collect();
            judgement.found.push(Found {
                severity: if score >= SURE { Severity::High } else { Severity::Medium },
                baseline: None,
                src: from,
                dst: to,
                dst_port: pair.port,
                destination: dst.to_owned(),
                detail: String::new(),
                explanation: format!(
                    "{} requests (score {score:.2}): {}",
                    pair.sums.requests,
                    says.join("; ")
                ),
                trail: pair.trail,
                prevalence_hosts: scene.population.hosts_of(pair.dst).max(1),
                numbers: Numbers {
                    score: Some(score as f32),
                    confidence: Some((pair.sums.requests as f64 / 20.0).min(1.0) as f32),
                    measure: Some(Measure::score(score, FINDING)),
                    samples: Some(pair.sums.requests),
                    evidence: Some(
                        json!({
                            "terms": terms.iter().map(|(says, value, points)| {
                                json!({ "term": says, "value": rounded(*value), "log_odds": rounded(*points) })
                            }).collect::<Vec<_>>(),
                            "against": terms.iter().filter(|term| term.2 < 0.0)
                                .map(|term| term.0).collect::<Vec<_>>(),
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
            "requests beyond it were left out",
        );
        judgement
    }
}

/// Counts a value among at most [`KEPT`] different ones; false when there is no room.
fn count(counts: &mut BTreeMap<u64, u64>, value: u64) -> bool {
    if counts.len() >= KEPT && !counts.contains_key(&value) {
        return false;
    }
    *counts.entry(value).or_default() += 1;
    true
}

fn hash(text: &str) -> u64 {
    use std::hash::BuildHasher as _;
    foldhash::fast::FixedState::with_seed(2).hash_one(text)
}

/// A stager's path: `/` and letters or digits whose sum, modulo 256, is one of
/// those that Metasploit and Cobalt Strike look for. One in 37 paths is, by chance.
fn is_stager(path: &str) -> bool {
    /// Native and Windows, Windows 64 (Cobalt Strike), Python, Java, new and existing sessions.
    const SUMS: [u8; 6] = [92, 93, 80, 88, 95, 98];
    let Some(name) = path.strip_prefix('/').map(str::as_bytes) else {
        return false;
    };
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let sum = path
        .bytes()
        .skip(1)
        .fold(0_u8, |sum, byte| sum.wrapping_add(byte));
    let fits = match name.len() {
        4 => name.iter().all(u8::is_ascii_alphanumeric),
        30..=256 => name.iter().all(plain),
        _ => false,
    };
    fits && SUMS.contains(&sum)
}

/// A picture, script or style sheet that is answered by something else.
fn contradicts(path: &str, content_type: Option<&str>) -> bool {
    let expected = match path.rsplit_once('.').map(|(_, end)| end) {
        Some("gif" | "png" | "jpg" | "jpeg" | "ico" | "webp") => "image/",
        Some("css") => "text/css",
        Some("woff" | "woff2") => "font/",
        _ => return false,
    };
    content_type.is_some_and(|ty| {
        let may_be =
            ty.starts_with(expected) || ty.starts_with("application/font") || ty.contains("icon");
        !may_be
            && matches!(
                ty,
                "application/octet-stream" | "text/html" | "text/plain" | "application/json"
            )
    })
}

/// What each number says, its value, and the log-odds that it adds.
fn terms(sums: &Sums) -> Vec<(&'static str, f64, f64)> {
    let requests = sums.requests.max(1) as f64;
    let share = |count: u64| count as f64 / requests;
    let mut terms = vec![("programs speak HTTP", 1.0, -4.0)];
    let mut term = |says, value, points, holds| {
        if holds {
            terms.push((says, value, points));
        }
    };
    term(
        "a stager's URI answered by a large binary",
        sums.stages as f64,
        4.0,
        sums.stages > 0,
    );
    term(
        "a stager's URI",
        sums.stager_paths as f64,
        0.7,
        sums.stager_paths > 0,
    );
    let empire = sums.empire.iter().filter(|seen| **seen).count();
    term(
        "several of Empire's default URIs",
        empire as f64,
        3.5,
        empire >= 2,
    );
    term(
        "no Host header",
        share(sums.no_host),
        1.5,
        share(sums.no_host) >= 0.5,
    );
    term(
        "no Accept header",
        share(sums.no_accept),
        0.5,
        share(sums.no_accept) >= 0.8,
    );
    term(
        "no User-Agent",
        share(sums.no_agent),
        0.7,
        share(sums.no_agent) >= 0.8,
    );
    term(
        "a browser's User-Agent without the headers that browsers send",
        share(sums.posing),
        1.2,
        share(sums.posing) >= 0.8,
    );
    let few = sums.requests >= 10 && !sums.more_paths && sums.paths.len() <= 3;
    term(
        "few paths, asked over and over",
        sums.paths.len() as f64,
        1.2,
        few && sums.referred == 0,
    );
    term(
        "mostly POST",
        share(sums.posts),
        0.7,
        share(sums.posts) >= 0.6 && sums.requests >= 5,
    );
    let same = sums.sizes.values().max().copied().unwrap_or_default() as f64;
    let same = same / sums.answered.max(1) as f64;
    term(
        "answers of one size",
        same,
        0.8,
        same >= 0.7 && sums.answered >= 8,
    );
    term(
        "pictures or styles that are something else",
        share(sums.contradictions),
        1.5,
        share(sums.contradictions) >= 0.5 && sums.contradictions >= 2,
    );
    let bare = sums.no_server as f64 / sums.answered.max(1) as f64;
    term(
        "a server that does not name itself",
        bare,
        0.3,
        bare >= 0.8 && sums.answered > 0,
    );
    term(
        "pages that refer to each other",
        share(sums.referred),
        -1.5,
        share(sums.referred) >= 0.3,
    );
    terms
}

#[cfg(test)]
mod tests {
    use super::super::tables_by_hand::{ints, lists, places, texts, write};
    use super::super::testing::judge_folder;
    use super::*;

    /// A request and its answer.
    #[derive(Clone, Copy)]
    struct Said {
        method: &'static str,
        host: Option<&'static str>,
        path: &'static str,
        agent: Option<&'static str>,
        referrer: Option<&'static str>,
        headers: &'static [&'static str],
        size: i32,
        ctype: &'static str,
    }

    const BROWSER: Said = Said {
        method: "GET",
        host: Some("www.example.org"),
        path: "/index.html",
        agent: Some("Mozilla/5.0 (X11; Linux x86_64)"),
        referrer: Some("https://www.example.org/"),
        headers: &[
            "host",
            "user-agent",
            "accept",
            "accept-language",
            "accept-encoding",
        ],
        size: 20_000,
        ctype: "text/html",
    };

    const IMPLANT: Said = Said {
        method: "POST",
        host: Some("198.51.100.7"),
        path: "/submit.php",
        agent: Some("Mozilla/5.0 (compatible; MSIE 9.0)"),
        referrer: None,
        headers: &["host", "user-agent", "content-length"],
        size: 48,
        ctype: "application/octet-stream",
    };

    #[track_caller]
    fn severity(rows: &[Said]) -> Option<Severity> {
        let folder = tempfile::tempdir().unwrap();
        let times: Vec<i64> = (0..).take(rows.len()).collect();
        let mut columns = places(&times);
        let each = |get: fn(&Said) -> Option<&'static str>| texts(rows.iter().map(get));
        columns.extend([
            ("src_ip", each(|_| Some("10.0.0.5"))),
            ("dst_ip", each(|_| Some("198.51.100.7"))),
            ("dst_port", ints(rows.iter().map(|_| Some(80)))),
            ("method", each(|row| Some(row.method))),
            ("http_version", each(|_| Some("1.1"))),
            ("host", each(|row| row.host)),
            ("path", each(|row| Some(row.path))),
            ("user_agent", each(|row| row.agent)),
            ("referrer", each(|row| row.referrer)),
            ("header_names", lists(rows.iter().map(|row| row.headers))),
            ("response_status", ints(rows.iter().map(|_| Some(200)))),
            (
                "response_body_bytes",
                ints(rows.iter().map(|row| Some(row.size))),
            ),
            ("response_content_type", each(|row| Some(row.ctype))),
            ("response_server", each(|_| Some("nginx"))),
        ]);
        write(folder.path(), "http_transactions", columns);
        let judged = judge_folder(&HttpC2, &Policy::built_in(), folder.path());
        judged.found.first().map(|found| found.severity)
    }

    #[test]
    fn people_are_quiet() {
        assert_eq!(severity(&[BROWSER; 40]), None);
        let pages: Vec<_> = ["/a", "/b", "/c", "/d", "/e"]
            .map(|path| Said { path, ..BROWSER })
            .into();
        assert_eq!(severity(&pages), None);
    }

    #[test]
    fn one_sign_alone_is_none() {
        // A program that polls, and says honestly what it is.
        let poll = Said {
            agent: Some("agent/1.2"),
            headers: &["host", "user-agent", "accept"],
            referrer: None,
            path: "/api/status",
            ..BROWSER
        };
        assert_eq!(severity(&[poll; 200]), None);
        assert_eq!(
            severity(&[Said {
                host: None,
                headers: &["accept"],
                ..BROWSER
            }]),
            None
        );
        // `/aaa9` sums up to 92 by modulo 256: chance, without a stage behind it.
        let path = "/aaa9";
        assert!(is_stager(path));
        assert_eq!(severity(&[Said { path, ..BROWSER }]), None);
    }

    #[test]
    fn an_implant_shows_several() {
        assert_eq!(severity(&[IMPLANT; 20]), Some(Severity::Medium));
        let stage = Said {
            method: "GET",
            path: "/aaa9",
            size: 210_000,
            ..IMPLANT
        };
        let rows: Vec<_> = std::iter::once(stage).chain([IMPLANT; 20]).collect();
        assert_eq!(severity(&rows), Some(Severity::High));
    }

    #[test]
    fn stagers_are_told_by_their_sum() {
        // By hand: 97 + 97 + 97 + 57 = 348 = 256 + 92.
        for (path, expected) in [
            ("/aaa9", true),
            ("/aaaa", false),
            ("/aaa9/", false),
            ("aaa9", false),
            ("/aaa.9", false),
            ("/", false),
            ("", false),
        ] {
            assert_eq!(is_stager(path), expected, "{path}");
        }
    }

    #[test]
    fn contradictions_are_between_the_end_of_a_path_and_its_type() {
        assert!(contradicts("/pixel.gif", Some("application/octet-stream")));
        assert!(!contradicts("/pixel.gif", Some("image/gif")));
        assert!(!contradicts("/pixel.gif", None));
        assert!(!contradicts("/page", Some("text/html")));
    }
}
