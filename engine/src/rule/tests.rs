use super::*;
use crate::evidence::FlowId;
use crate::time::CaptureTime;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::Mutex;

fn rules(text: &str) -> Rules {
    Rules::parse("r.yaml", text.as_bytes())
}

const GOOD: &str = "id: telnet\ntext: Telnet\nseverity: high\nattack: [T1021]\n\
                    query: SELECT src_ip, dst_ip FROM flows\n";

/// Answers each query of its list once, in their order, and has gone at its end.
#[derive(Debug)]
struct Fixed(Mutex<VecDeque<Answer>>);

type Answer = (Vec<Heard>, Result<(), Trouble>);

impl Asker for Fixed {
    fn ask(
        &self,
        _: &Path,
        _: &str,
        _: &AtomicBool,
        each: &mut dyn FnMut(Heard),
    ) -> Result<Result<(), Trouble>, String> {
        let answer = self.0.lock().expect("one thread").pop_front();
        let (heard, end) = answer.ok_or("it ended")?;
        heard.into_iter().for_each(each);
        Ok(end)
    }
}

fn row(value: Value) -> Heard {
    Heard::Row(value.as_object().expect("an object").clone())
}

/// What rules find whose queries are answered so.
fn answered(rules: &Rules, answers: Vec<Answer>, share: Share) -> (Vec<Finding>, Vec<Problem>) {
    let asker = Fixed(Mutex::new(answers.into()));
    rules.run(&asker, &times(), share, &AtomicBool::new(false))
}

fn run(rules: &Rules, heard: Vec<Heard>, most: usize) -> (Vec<Finding>, Vec<String>) {
    let (findings, problems) = answered(rules, vec![(heard, Ok(()))], Share::new(most));
    (findings, told(&problems))
}

const CAPTURES: (i64, i64) = (1_700_000_000, 1_700_000_060);

/// No tables, and captures of a minute.
fn times() -> Times<'static> {
    Times {
        folder: Path::new("x"),
        captures: Some((
            CaptureTime::from_nanos(CAPTURES.0),
            CaptureTime::from_nanos(CAPTURES.1),
        )),
    }
}

fn told(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn rules_are_read_alone_and_in_lists() {
    let one = rules(GOOD);
    assert_eq!((one.rules.len(), one.problems.len()), (1, 0), "{one:?}");
    assert_eq!(one.rules[0].check_id, "RULE.telnet");
    assert_eq!(
        (one.rules[0].severity, one.rules[0].line),
        (Severity::High, 1)
    );
    assert_eq!(one.rules[0].attack, ["T1021"]);
    let many = rules(
        "# comment\nrules:\n  - id: a\n    text: A\n    query: SELECT 1\n  - text: B\n    id: b\n    query: SELECT 2\n",
    );
    let seen: Vec<_> = many
        .rules
        .iter()
        .map(|rule| (rule.check_id, rule.line))
        .collect();
    assert_eq!(seen, [("RULE.a", 3), ("RULE.b", 7)], "{many:?}");
    assert_eq!(many.rules[0].severity, Severity::Medium);
    assert_eq!((many.files[0].rules, many.files[0].problems), (2, 0));
}

#[test]
fn what_is_wrong_is_told_with_its_line_and_the_rest_stays() {
    for (text, line, word) in [
        ("id: a\ntext: A\nquery: x\nseverty: high\n", 4, "severty"),
        ("id: a\ntext: A\nseverity: bad\nquery: x\n", 3, "critical"),
        ("id: A B\ntext: A\nquery: x\n", 1, "lower-case"),
        ("id: a\ntext: A\nattack: [x y]\nquery: x\n", 3, "T1071.001"),
        ("text: A\nquery: x\n", 1, "id: is missing"),
        ("\n\nid: a\ntext: A\nquery: 7\n", 5, "must be a text"),
        ("- id: a\n", 1, "no rule"),
        ("id: a\ntext: [\nquery: x\n", 2, "bracket"),
        ("rules: 7\n", 1, ""),
        (
            "id: a\ntext: A\nquery: \"SELECT 1 WHERE 0 \\0 OR 1\"\n",
            1,
            "NUL",
        ),
        ("", 1, ""),
    ] {
        let rules = rules(text);
        assert!(rules.rules.is_empty(), "{text}");
        assert_eq!(rules.problems.len(), 1, "{text}: {rules:?}");
        let problem = rules.problems[0].to_string();
        assert!(problem.starts_with(&format!("r.yaml:{line}:")), "{problem}");
        assert!(problem.contains(word), "{problem}");
        assert_eq!((rules.files[0].rules, rules.files[0].problems), (0, 1));
    }
    // Neighbours of a broken rule stay; the second of one name is the broken one.
    let list = "rules:\n  - {id: a, text: A, query: x}\n  - id: b\n    txt: B\n  - {id: a, text: A, query: x}\n  - {id: c, text: C, query: x}\n";
    let rules = rules(list);
    let ids: Vec<_> = rules.rules.iter().map(|rule| rule.check_id).collect();
    assert_eq!(ids, ["RULE.a", "RULE.c"]);
    assert!(
        rules.problems[0].to_string().starts_with("r.yaml:4: txt"),
        "{rules:?}"
    );
    assert!(
        rules.problems[1]
            .to_string()
            .starts_with("r.yaml:5: id: a is taken")
    );
}

#[test]
fn rows_of_one_subject_are_one_finding() {
    let rules = rules(GOOD);
    let at = |ts: i64, src: &str| {
        row(json!({
            "src_ip": src, "dst_ip": "192.0.2.7", "dst_port": 23, "flow_id": ts, "ts": ts,
            "capture": 0, "first_frame": ts, "first_offset": 9, "detail": "x",
        }))
    };
    let heard = vec![at(5, "10.0.0.5"), at(3, "10.0.0.5"), at(4, "10.0.0.6")];
    let (findings, problems) = run(&rules, heard, 10);
    assert_eq!(problems, [""; 0]);
    assert_eq!(findings.len(), 2);
    let first = &findings[0];
    assert_eq!((first.flow_count, first.prevalence_hosts), (2, 2));
    assert_eq!(
        (first.ts_first.as_nanos(), first.ts_last.as_nanos()),
        (3, 5)
    );
    assert_eq!(first.flow_ids, [FlowId(3), FlowId(5)]);
    assert_eq!(first.first.frame, 3);
    assert!(first.finding_id.starts_with("F-"));
    assert_ne!(first.finding_id, findings[1].finding_id);
}

#[test]
fn rows_that_say_not_where_they_stand_have_no_evidence() {
    let bare = row(json!({"src_ip": "10.0.0.5", "dst_ip": "2001:db8::7", "dst_port": null}));
    let (findings, _) = run(&rules(GOOD), vec![bare], 10);
    let found = &findings[0];
    assert_eq!(
        (found.dst_port, found.destination.as_str()),
        (0, "2001:db8::7")
    );
    assert!(found.flow_ids.is_empty() && found.evidence.is_empty());
    assert_eq!((found.flow_count, found.first_packet()), (0, None));
    assert_eq!(found.numbers.samples, Some(1));
    assert_eq!(
        (found.ts_first.as_nanos(), found.ts_last.as_nanos()),
        CAPTURES
    );
    assert_eq!(
        found.explanation,
        "Telnet: 10.0.0.5 to 2001:db8::7 port 0, 1 row"
    );
}

#[test]
fn a_place_counts_only_whole_and_flows_once() {
    let at = |members: Value| {
        let mut row = json!({"src_ip": "10.0.0.5", "dst_ip": "192.0.2.7", "ts": 7});
        let all = row.as_object_mut().expect("an object");
        all.extend(members.as_object().expect("an object").clone());
        super::tests::row(row)
    };
    let heard = vec![
        at(json!({"flow_id": 3, "first_frame": 4})),
        at(json!({"flow_id": 3, "capture": 0, "first_frame": 0, "first_offset": 0})),
        at(json!({"capture": 1, "first_frame": 2, "first_offset": 90})),
        at(json!({"flow_id": 9})),
    ];
    let (findings, _) = run(&rules(GOOD), heard, 10);
    let found = &findings[0];
    assert_eq!(found.flow_ids, [FlowId(3), FlowId(9)]);
    assert_eq!((found.flow_count, found.numbers.samples), (2, Some(4)));
    let places: Vec<_> = found
        .evidence
        .iter()
        .map(|at| (at.capture, at.frame, at.offset))
        .collect();
    assert_eq!(places, [(1, 2, 90)]);
    assert_eq!(found.ts_first.as_nanos(), 7);
}

#[test]
fn without_a_packet_there_is_no_time_to_give() {
    let bare = row(json!({"src_ip": "10.0.0.5", "dst_ip": "192.0.2.7"}));
    let times = Times {
        captures: None,
        ..times()
    };
    let asker = Fixed(Mutex::new([(vec![bare], Ok(()))].into()));
    let rules = rules(GOOD);
    let (findings, problems) = rules.run(&asker, &times, Share::new(10), &AtomicBool::new(false));
    assert!(findings.is_empty());
    assert!(problems[0].message.contains("no ts"), "{problems:?}");
}

#[test]
fn a_broken_query_is_told_and_the_others_run() {
    let rules = rules(
        "rules:\n  - id: a\n    text: A\n    query: |\n      SELECT 1\n      FROM x\n  - id: b\n    text: B\n    query: q\n  - id: c\n    text: C\n    query: z\n",
    );
    assert_eq!(rules.rules.len(), 3, "{rules:?}");
    let good = row(json!({"src_ip": "10.0.0.5", "dst_ip": "192.0.2.7"}));
    let trouble = Trouble {
        message: "no such table: x".to_owned(),
        at: Some("SELECT 1\nFROM ".len()),
    };
    let answers = vec![
        (vec![good.clone()], Err(trouble)),
        (vec![row(json!({"src_ip": "10.0.0.5"}))], Ok(())),
        (
            vec![
                row(json!({"src_ip": "10.0.0.9", "dst_ip": "192.0.2.7"})),
                Heard::Again,
                good,
            ],
            Ok(()),
        ),
    ];
    let (findings, problems) = answered(&rules, answers, Share::new(10));
    let problems = told(&problems);
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].check_id, "RULE.c");
    assert_eq!(findings[0].src.to_string(), "10.0.0.5");
    assert_eq!(problems[0], "r.yaml:6: RULE.a: no such table: x");
    assert_eq!(problems[1], "r.yaml:7: RULE.b: the query must give dst_ip");
}

#[test]
fn whatever_ends_early_is_told_of_every_rule_that_was_not_asked() {
    let rules = rules(
        "rules:\n  - {id: a, text: A, query: x}\n  - {id: b, text: B, query: q}\n  - {id: c, text: C, query: z}\n",
    );
    let (_, problems) = answered(&rules, vec![(Vec::new(), Ok(()))], Share::new(10));
    assert!(
        problems
            .iter()
            .all(|problem| problem.kind == ProblemKind::NotAsked)
    );
    assert_eq!(
        told(&problems),
        [
            "r.yaml:3: RULE.b: was not asked: it ended",
            "r.yaml:4: RULE.c: was not asked: it ended"
        ]
    );
}

#[test]
fn more_findings_than_the_limit_are_counted() {
    let (findings, problems) = run(&rules(GOOD), hosts(7, ""), 5);
    assert_eq!(findings.len(), 5);
    assert!(problems[0].contains("2 rows"), "{problems:?}");
}

/// Rows of as many hosts.
fn hosts(number: u32, detail: &str) -> Vec<Heard> {
    let of = |host: u32| {
        let src = Ipv4Addr::from(0x0a00_0000 + host).to_string();
        row(json!({"src_ip": src, "dst_ip": "192.0.2.7", "detail": detail}))
    };
    (0..number).map(of).collect()
}

#[test]
fn a_rule_that_finds_much_takes_nothing_from_the_others() {
    let rules = rules(
        "rules:\n  - {id: a, text: A, query: x}\n  - {id: b, text: B, query: q}\n  - {id: c, text: C, query: z}\n",
    );
    let long = "x".repeat(1_000);
    let many = || [hosts(90, &long), hosts(4, &long), hosts(500, &long)];
    let answers = many().map(|heard| (heard, Ok(())));
    let by_number = answered(&rules, answers.into(), Share::new(100));
    let few_bytes = Share {
        bytes: 200_000,
        ..Share::new(1_000)
    };
    let mut kept = Kept::new(few_bytes);
    for (rule, heard) in rules.rules.iter().zip(many()) {
        let alone = Rules {
            rules: vec![rule.clone()],
            ..Rules::default()
        };
        let (found, _) = answered(&alone, vec![(heard, Ok(()))], Share::new(1_000));
        kept.add(rule, (found, None));
    }
    for ((findings, problems), of_all) in [
        (by_number, "100 findings"),
        (kept.into_findings(), "200000 bytes"),
    ] {
        let of = |id: &str| findings.iter().filter(|found| found.check_id == id).count();
        let (a, b, c) = (of("RULE.a"), of("RULE.b"), of("RULE.c"));
        assert_eq!((a, b), (c, 4), "{of_all}");
        assert!((10..90).contains(&a), "{of_all}: {a}");
        let told = told(&problems);
        assert_eq!(told.len(), 2, "{told:?}");
        for (told, rule) in told
            .iter()
            .zip(["r.yaml:2: RULE.a: ", "r.yaml:4: RULE.c: "])
        {
            assert!(told.starts_with(rule) && told.contains(of_all), "{told}");
        }
        assert!(problems.iter().all(|one| one.kind == ProblemKind::CutShort));
    }
}

#[test]
fn queries_have_a_length_each_and_together() {
    let query = |bytes: usize| Rule {
        query: "x".repeat(bytes),
        ..rules(GOOD).rules.remove(0)
    };
    let none = Rules::default();
    assert_eq!(none.fits(&query(wire::MAX_QUERY)), Ok(()));
    let long = none
        .fits(&query(wire::MAX_QUERY + 1))
        .expect_err("too long");
    assert!(long.contains("is beyond 4194304"), "{long}");
    let full = Rules {
        rules: vec![query(wire::MAX_QUERY); 16],
        ..Rules::default()
    };
    let more = full.fits(&query(1)).expect_err("too many");
    assert!(more.contains("left out"), "{more}");
}

#[test]
fn what_is_told_of_a_rule_is_short() {
    let trouble = Trouble::from("no such column: ".to_owned() + &"x".repeat(1 << 20));
    let (_, problems) = answered(
        &rules(GOOD),
        vec![(Vec::new(), Err(trouble))],
        Share::new(1),
    );
    assert_eq!(problems[0].message.len(), 1_024);
}

#[test]
fn the_examples_are_rules() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rules/examples");
    let rules = Rules::load(&[folder]).expect("readable");
    assert!(
        rules.rules.len() >= 2 && rules.problems.is_empty(),
        "{rules:?}"
    );
}

/// A file of nothing but wrong rules costs no more than a full one.
#[test]
fn wrong_rules_are_looked_at_as_many_as_right_ones() {
    let text = format!("rules:\n{}", "- q: b\n".repeat(5_000));
    let rules = Rules::parse("r.yaml", text.as_bytes());
    assert_eq!(rules.rules.len(), 0);
    assert_eq!(rules.problems.len(), 2_001);
    let last = rules.problems.last().expect("told");
    let said = (last.line, last.message.as_str());
    assert_eq!(said, (2_002, "is beyond 2000 rules, and left out"));
}
