//! Tunnels by hand, and what looks like one.

use super::*;
use crate::control::ns04::Found;
use crate::control::ns04::tables_by_hand::{Asked, asked, judge_asked, noise};

const BASE32: &[u8] = b"abcdefghijklmnopqrstuvwxyz234567";
const HEX: &[u8] = b"0123456789abcdef";

#[track_caller]
fn judge(rows: &[Asked]) -> Vec<Found> {
    judge_asked(&DnsTunneling, &Policy::built_in(), rows).found
}

/// So many names over a day, by a pattern.
fn day(many: u32, name: impl Fn(u32) -> String) -> Vec<Asked> {
    let step = 86_000.0 / f64::from(many);
    (0..many)
        .map(|n| asked(name(n)).at(f64::from(n) * step))
        .collect()
}

#[test]
fn the_literal_rule_fires_above_its_threshold_and_moves_with_it() {
    let name = |len: usize| format!("{}.example.com", "a".repeat(len - 12));
    for (len, threshold, expected) in [
        (50, 50, 0),
        (51, 50, 1),
        (51, 51, 0),
        (61, 60, 1),
        (60, 60, 0),
    ] {
        let yaml = format!(
            "monitoring:\n  network:\n    patterns:\n      exfiltration:\n        - pattern: dns_tunneling\n          query_length_threshold: {threshold}\n"
        );
        let policy = Policy::from_yaml(&yaml, "test").unwrap();
        let found = judge_asked(&DnsTunneling, &policy, &[asked(name(len))]).found;
        assert_eq!(found.len(), expected, "{len} against {threshold}");
        for found in found {
            assert_eq!(
                (found.severity, found.baseline),
                (Severity::High, Some(true))
            );
            assert_eq!(found.numbers.measure.unwrap().observed, len as f64);
        }
    }
}

#[test]
fn fifty_names_a_day_are_enough() {
    for (tool, rows) in [
        (
            "TXT",
            day(50, |n| {
                format!("{}.t.example.org", noise(n.into(), 30, BASE32))
            }),
        ),
        (
            "A, hexadecimal",
            day(50, |n| {
                format!("{}.t.example.org", noise(n.into(), 32, HEX))
            }),
        ),
    ] {
        let rows: Vec<_> = match tool {
            "TXT" => rows.into_iter().map(|row| row.of_type(16)).collect(),
            _ => rows,
        };
        let found = judge(&rows);
        assert_eq!(found.len(), 1, "{tool}");
        assert_eq!(found[0].detail, "example.org", "{tool}");
        assert_eq!(found[0].baseline, Some(false), "{tool}");
    }
}

#[test]
fn names_without_a_domain_are_one_tunnel() {
    // dnscat2 without a domain: every name ends in data.
    let rows = day(60, |n| {
        let data = |part: u32| noise(u64::from(n * 3 + part) + 900, 24, HEX);
        format!("dnscat.{}.{}.{}", data(0), data(1), data(2))
    });
    let found = judge(&rows);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].detail, "no domain");
    assert_eq!(found[0].baseline, Some(true));
}

#[test]
fn types_of_tunnels_need_little_information() {
    // Short and nearly equal, as dns2tcp polls.
    let rows = day(40, |n| format!("ab{n:04}aaaakwqa.t.example.org"));
    let rows: Vec<_> = rows.into_iter().map(|row| row.of_type(25)).collect();
    assert_eq!(judge(&rows).len(), 1);
}

#[test]
fn a_tunnel_across_midnight_is_one_day() {
    // 60 names from 22:00 to 02:00 of the next day.
    let rows: Vec<_> = (0..60_u32)
        .map(|n| {
            asked(format!("{}.t.example.org", noise(n.into(), 32, HEX)))
                .at(79_200.0 + f64::from(n) * 240.0)
        })
        .collect();
    assert_eq!(judge(&rows).len(), 1);
}

#[test]
fn look_alikes_are_quiet() {
    let rest: [(&str, Vec<Asked>); 7] = [
        (
            "hosts of a site",
            day(500, |n| format!("img{}.example.com", n % 40)),
        ),
        (
            "a network's nodes",
            day(120, |n| {
                format!("e{}.dscb.example.net", 1_000 + n * 37 % 9_000)
            }),
        ),
        (
            "block lists",
            day(2_000, |n| {
                format!(
                    "{}.{}.{}.{}.bl.example.net",
                    n % 251,
                    n % 7,
                    n % 13,
                    n % 199
                )
            }),
        ),
        (
            "the same long name",
            day(300, |_| format!("{}.example.com", "q7".repeat(18))),
        ),
        (
            "services",
            day(200, |n| format!("_dmarc.site{n}.com"))
                .into_iter()
                .map(|row| row.of_type(16))
                .collect(),
        ),
        (
            "a network's own names",
            day(300, |n| format!("host{}.office.corp", n % 30)),
        ),
        (
            "local names",
            day(100, |n| format!("{}.example.org", noise(n.into(), 32, HEX)))
                .into_iter()
                .map(|row| row.over("mdns"))
                .collect(),
        ),
    ];
    for (name, rows) in rest {
        assert!(judge(&rows).is_empty(), "{name}");
    }
}

#[test]
fn what_is_explained_is_kept_with_its_reason() {
    let list = day(400, |n| {
        format!("{}.hash.cymru.com", noise(n.into(), 40, HEX))
    });
    let nibbles: Vec<String> = noise(7, 32, HEX).chars().map(String::from).collect();
    let reverse = vec![asked(format!("{}.ip6.arpa", nibbles.join("."))).of_type(12)];
    for (rows, reason) in [(list, "cymru.com"), (reverse, "reverse look-ups")] {
        let found = judge(&rows);
        assert_eq!(found.len(), 1, "{reason}");
        let why = found[0].numbers.suppressed_by.as_deref().unwrap();
        assert!(why.contains(reason), "{why}");
    }
}

#[test]
fn several_clients_with_answers_speak_against_a_tunnel() {
    let clients = ["10.0.0.5", "10.0.0.6", "10.0.0.7", "10.0.0.8"];
    let of = |client: &'static str| {
        let seed = client.len() as u64 + u64::from(client.as_bytes()[client.len() - 1]);
        day(60, move |n| {
            format!(
                "{}.dev.example.com",
                noise(seed * 1_000 + u64::from(n), 16, HEX)
            )
        })
        .into_iter()
        .map(move |row| row.by(client))
    };
    let alone: Vec<_> = of(clients[0]).collect();
    let all: Vec<_> = clients.into_iter().flat_map(of).collect();
    let score = |rows: &[Asked]| {
        judge(rows)
            .first()
            .map_or(0.0, |found| found.numbers.score.unwrap())
    };
    assert!(
        score(&all) < score(&alone),
        "{} {}",
        score(&all),
        score(&alone)
    );
}

#[test]
fn few_clients_are_told_apart_when_the_limit_says_so() {
    let policy = Policy::from_yaml("limits:\n  behaviour_subjects: 1\n", "test").unwrap();
    let rows = [asked("a.example.com"), asked("a.example.org")];
    let judged = judge_asked(&DnsTunneling, &policy, &rows);
    assert_eq!(judged.limits.len(), 1);
    assert_eq!(judged.tally.passed[&0], 1);
}
