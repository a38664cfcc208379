//! Gathering: the order does not matter, caps hold, verdicts follow the rules.

use super::{Gatherer, Judged, Verdict, VerdictKind};
use crate::control::testing::{
    at, broken_off, client, flow, hello, http, packet, plain, tls, tls13, with_client,
    with_credential,
};
use crate::control::{AuditResult, Meta, Outcome, Severity, audit_flow, meta_of};
use crate::evidence::FlowId;
use crate::flow::{EndReason, FlowRecord};
use crate::policy::Policy;
use crate::proto::SessionFacts;
use crate::proto::plain::PlaintextFacts;
use crate::proto::tls::TlsHandshake;
use proptest::prelude::*;

/// A flow with what it said.
type Ended = (FlowRecord, SessionFacts);

fn of_tls(id: i64, seconds: i64, handshake: TlsHandshake) -> Ended {
    let handshake = TlsHandshake {
        ts: at(seconds),
        first: packet(id.unsigned_abs()),
        ..handshake
    };
    let facts = SessionFacts {
        tls: vec![handshake],
        ..SessionFacts::default()
    };
    (flow(id, seconds), facts)
}

fn of_plain(id: i64, seconds: i64, facts: PlaintextFacts) -> Ended {
    let facts = SessionFacts {
        plaintext: Some(Box::new(facts)),
        ..SessionFacts::default()
    };
    (flow(id, seconds), facts)
}

fn add(gatherer: &mut Gatherer, policy: &Policy, (flow, facts): &Ended) {
    gatherer.add(flow, facts, &audit_flow(policy, flow, facts, &[]));
}

fn judge(policy: &Policy, ended: &[Ended]) -> Judged {
    let mut gatherer = Gatherer::new(policy);
    for one in ended {
        add(&mut gatherer, policy, one);
    }
    gatherer.finish(policy, Vec::new(), 1)
}

/// Violations of checks with these details, one flow each.
fn violations(policy: &Policy, of: &[(&'static str, Severity, String)]) -> Judged {
    let mut gatherer = Gatherer::new(policy);
    for (id, (check, severity, detail)) in (1..).zip(of) {
        let meta: &'static Meta = meta_of(check).unwrap();
        let (flow, facts) = of_plain(id, id, plain("telnet"));
        let outcome = Outcome {
            at: Some(packet(id.unsigned_abs())),
            ..Outcome::violated(meta, *severity, detail.clone(), "a reason")
        };
        let audited = AuditResult {
            tls: Vec::new(),
            plaintext: vec![outcome],
        };
        gatherer.add(&flow, &facts, &audited);
    }
    gatherer.finish(policy, Vec::new(), 1)
}

fn policy(text: &str) -> Policy {
    Policy::from_yaml(text, "test").unwrap()
}

#[track_caller]
fn verdict<'a>(judged: &'a Judged, check: Option<&str>) -> &'a Verdict {
    judged
        .verdicts
        .iter()
        .find(|verdict| verdict.check_id.as_deref() == check)
        .unwrap()
}

/// Flows of every kind, from a few hosts, at times that interleave.
fn some_flow() -> impl Strategy<Value = Ended> {
    (0_u8..11, 1_i64..40, 0_i64..30, 1_u8..4).prop_map(|(kind, id, seconds, host)| {
        // The same id always means the same flow.
        let id = id + 100 * i64::from(kind) + 10_000 * seconds + 1_000_000 * i64::from(host);
        let old = |version| hello(client(version, &[], &[0xc02f]));
        let mut ended = match kind {
            0 => of_tls(id, seconds, tls13()),
            1 => of_tls(id, seconds, tls(0x0301, 0x0005)),
            2 => of_tls(id, seconds, old(0x0303)),
            3 => of_tls(id, seconds, old(0x0301)),
            4 => of_tls(id, seconds, broken_off(old(0x0302), false, 70)),
            5 => of_plain(id, seconds, plain("telnet")),
            6 => of_plain(
                id,
                seconds,
                http("a.example", &[(Some(301), Some(("https", "a.example")))]),
            ),
            7 => of_plain(id, seconds, http("a.example", &[(None, None)])),
            9 => {
                let messages = id.unsigned_abs() % 7 + 1;
                let facts = PlaintextFacts {
                    dns_messages: messages,
                    ..plain("dns")
                };
                of_plain(id, seconds, facts)
            }
            8 => {
                let mut named = client(0x0303, &[0x0304], &[0x1301]);
                named.server_name = Some("a.example".to_owned());
                of_tls(id, seconds, with_client(tls13(), named))
            }
            _ => of_tls(id, seconds, tls(0x0303, 0xcca8)),
        };
        ended.0.src = [10, 0, 0, host].into();
        ended
    })
}

fn same(one: &Judged, other: &Judged) {
    assert_eq!(one.findings, other.findings);
    assert_eq!(one.coverage, other.coverage);
    assert_eq!(one.verdicts, other.verdicts);
    assert_eq!(one.dropped, other.dropped);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However flows are spread over gatherers, and in whatever order these
    /// are merged, the result is the same; also when a cap leaves some out.
    #[test]
    fn order_and_partition_do_not_matter(
        ended in prop::collection::vec((some_flow(), 0_usize..5, any::<u32>()), 0..60),
        max_findings in prop_oneof![Just(65_536), 1_usize..6],
        forwards in any::<bool>(),
    ) {
        let policy = policy(&format!("limits: {{max_findings: {max_findings}}}"));
        let mut expected = Gatherer::new(&policy);
        for (one, ..) in &ended {
            add(&mut expected, &policy, one);
        }
        let mut parts: Vec<_> = (0..5).map(|_| Gatherer::new(&policy)).collect();
        let mut shuffled: Vec<_> = ended.iter().collect();
        shuffled.sort_by_key(|(_, _, order)| *order);
        for (one, part, _) in shuffled {
            add(&mut parts[*part], &policy, one);
        }
        if forwards {
            parts.reverse();
        }
        let mut merged = Gatherer::new(&policy);
        for part in parts {
            merged.merge(part);
        }
        same(&merged.finish(&policy, Vec::new(), 1), &expected.finish(&policy, Vec::new(), 1));
    }
}

#[test]
fn the_cap_keeps_the_severest_checks_and_verdicts_know_the_rest() {
    let mut of = Vec::new();
    for number in 0..50 {
        of.push(("NS-01.cipher_offered", Severity::Info, format!("a{number}")));
        of.push(("NS-01.key_exchange", Severity::Medium, format!("b{number}")));
    }
    of.push(("NS-01.tls_version", Severity::High, "TLS1.0".to_owned()));
    let judged = violations(&policy("limits: {max_findings: 3}"), &of);
    let kept: Vec<_> = judged
        .findings
        .iter()
        .map(|finding| finding.check_id)
        .collect();
    assert_eq!(
        kept,
        [
            "NS-01.tls_version",
            "NS-01.key_exchange",
            "NS-01.key_exchange"
        ]
    );
    assert_eq!(judged.dropped, 98);
    // A failed check says what fails it: the worst of its findings.
    for finding in judged.findings.iter().take(2) {
        let told = &verdict(&judged, Some(finding.check_id)).reason;
        let (to, id) = (&finding.destination, &finding.finding_id);
        assert_eq!(*told, format!("a reason ({to}:{}, {id})", finding.dst_port));
    }
    let one = violations(&policy("limits: {max_findings: 1}"), &of);
    assert_eq!(one.findings.len(), 1);
    // No finding of it was kept, yet it fails.
    let keys = verdict(&one, Some("NS-01.key_exchange"));
    assert_eq!((keys.verdict, keys.failed), (VerdictKind::Fail, 50));
    assert_eq!(keys.worst_severity, Some(Severity::Medium));
    assert_eq!(keys.example_flow_ids.len(), 10);
    assert_eq!(keys.reason, "its findings are beyond limits.max_findings");
}

#[test]
fn a_finding_keeps_the_first_thousand_flows_and_twenty_packets() {
    let same = ("NS-01.plaintext", Severity::High, "telnet".to_owned());
    let judged = violations(&Policy::built_in(), &vec![same; 2_500]);
    let [finding] = judged.findings.as_slice() else {
        panic!("{:?}", judged.findings)
    };
    assert_eq!(finding.flow_count, 2_500);
    let expected: Vec<_> = (1..=1_000).map(FlowId).collect();
    assert_eq!(finding.flow_ids, expected);
    let expected: Vec<_> = (1..=20).map(packet).collect();
    assert_eq!(finding.evidence, expected);
    assert_eq!((finding.ts_first, finding.ts_last), (at(1), at(2_500)));
}

#[test]
fn several_requests_of_one_flow_are_one_flow() {
    let mut gatherer = Gatherer::new(&Policy::built_in());
    for (flow, seconds) in [(7, 1), (7, 2), (9, 3), (7, 4)] {
        let ended = of_plain(flow, seconds, plain("telnet"));
        add(&mut gatherer, &Policy::built_in(), &ended);
    }
    let judged = gatherer.finish(&Policy::built_in(), Vec::new(), 1);
    let [finding] = judged.findings.as_slice() else {
        panic!("{:?}", judged.findings)
    };
    assert_eq!(finding.flow_ids, [FlowId(7), FlowId(9)]);
    assert_eq!(finding.flow_count, 2);
    assert!(finding.explanation.contains("4 times"));
}

/// What a finding counts is the sum over its flows, in whatever parts they
/// were gathered: the sentence would else speak of one flow as if of all.
#[test]
fn a_number_in_a_finding_is_the_sum_over_its_flows() {
    let served = |count| http("a.example", &vec![(Some(200), None); count]);
    let asked = |count| PlaintextFacts {
        dns_messages: count,
        ..plain("dns")
    };
    let more = |count| PlaintextFacts {
        http_exchanges: 300,
        ..served(count)
    };
    let cases = [
        (
            "NS-01.http_upgrade",
            vec![served(1), served(3), served(21)],
            "25 requests were served in plaintext: ",
        ),
        (
            "NS-01.http_upgrade",
            vec![served(1), more(2), served(3)],
            "at least 6 requests were served in plaintext: ",
        ),
        (
            "NS-01.dns_plaintext",
            vec![asked(2), asked(55), asked(1)],
            "58 DNS messages in plaintext: ",
        ),
        (
            "NS-01.dns_plaintext",
            vec![asked(u64::MAX), asked(2), asked(1)],
            "18446744073709551615 DNS messages in plaintext: ",
        ),
    ];
    let policy = Policy::built_in();
    for (check, facts, begins) in cases {
        let ended: Vec<_> = (1..)
            .zip(facts)
            .map(|(id, facts)| of_plain(id, id, facts))
            .collect();
        for apart in 0..=ended.len() {
            let (left, right) = ended.split_at(apart);
            let mut whole = Gatherer::new(&policy);
            for part in [right, left] {
                let mut gatherer = Gatherer::new(&policy);
                part.iter()
                    .rev()
                    .for_each(|one| add(&mut gatherer, &policy, one));
                whole.merge(gatherer);
            }
            let judged = whole.finish(&policy, Vec::new(), 1);
            let finding = judged.findings.iter().find(|one| one.check_id == check);
            let explanation = &finding.unwrap().explanation;
            assert!(explanation.starts_with(begins), "{explanation}");
            assert!(
                explanation.contains("seen in 3 flows from "),
                "{explanation}"
            );
        }
    }
}

/// A sentence about one of several that differ says so; a list says them all.
#[test]
fn a_finding_of_several_does_not_speak_of_one_alone() {
    let policy = Policy::built_in();
    let meta: &'static Meta = meta_of("NS-03.jwt").unwrap();
    let told = |reasons: &[&'static str]| {
        let mut whole = Gatherer::new(&policy);
        for (id, &reason) in (1_i64..=9).zip(reasons) {
            let (flow, facts) = of_plain(id, id, plain("telnet"));
            let outcome = Outcome::violated(meta, Severity::High, "expired", reason);
            let audited = AuditResult {
                tls: Vec::new(),
                plaintext: vec![outcome],
            };
            let mut part = Gatherer::new(&policy);
            part.add(&flow, &facts, &audited);
            whole.merge(part);
        }
        let mut judged = whole.finish(&policy, Vec::new(), 1);
        judged.findings.remove(0)
    };
    assert_eq!(told(&["a", "a"]).why(), "a");
    assert_eq!(told(&["a"]).why(), "a");
    assert_eq!(told(&["b", "a", "a"]).why(), "b, among 3 alike");
    assert_eq!(told(&["a", "a", "b"]).why(), "a, among 3 alike");

    let ended: Vec<_> = [&["ftp_password"][..], &[], &["cookie", "ftp_password"]]
        .iter()
        .zip(1..)
        .map(|(classes, id)| {
            let with = |facts, class: &&'static str| with_credential(facts, class);
            of_plain(id, id, classes.iter().fold(plain("ftp"), with))
        })
        .collect();
    let judged = judge(&policy, &ended);
    let is_it = |finding: &&super::Finding| finding.check_id == "NS-01.plaintext";
    assert_eq!(
        judged.findings.iter().find(is_it).unwrap().why(),
        "ftp outside TLS, with credentials: cookie, ftp_password"
    );
}

/// A credential is shown by its packet, not by where its flow was recognised.
#[test]
fn a_credential_in_plaintext_is_shown_by_its_packet() {
    let evidence = |facts| {
        let judged = judge(&Policy::built_in(), &[of_plain(1, 1, facts)]);
        let is_it = |finding: &&super::Finding| finding.check_id == "NS-01.plaintext";
        judged.findings.iter().find(is_it).unwrap().first_packet()
    };
    assert_eq!(evidence(plain("smtp")), Some(packet(4)));
    let mut facts = with_credential(plain("smtp"), "smtp_auth_plain");
    assert_eq!(evidence(facts.clone()), Some(packet(5)));
    facts = with_credential(facts, "cookie");
    facts.credentials[0].packet = packet(9);
    assert_eq!(evidence(facts), Some(packet(5)), "the first of several");
}

/// One secret in several places of several flows: all places are told, and
/// every packet once.
#[test]
fn a_finding_lists_every_place_and_every_packet_once() {
    let policy = Policy::built_in();
    let meta: &'static Meta = meta_of("NS-03.credential_plaintext").unwrap();
    let told = |of: &[(i64, &str, u64)], backwards: bool| {
        let mut parts: Vec<Gatherer> = Vec::new();
        for &(id, places, frame) in of {
            let (flow, facts) = of_plain(id, id, plain("http"));
            let reason = format!("found: {places}");
            let outcome = Outcome {
                lists: Some("found: ".len()),
                at: Some(packet(frame)),
                ..Outcome::violated(meta, Severity::Critical, "secret", reason)
            };
            let audited = AuditResult {
                tls: Vec::new(),
                plaintext: vec![outcome],
            };
            // Two flows a part.
            let begins = parts.is_empty() || id % 2 == 1;
            if begins {
                parts.push(Gatherer::new(&policy));
            }
            parts.last_mut().unwrap().add(&flow, &facts, &audited);
        }
        if backwards {
            parts.reverse();
        }
        let mut whole = Gatherer::new(&policy);
        parts.into_iter().for_each(|part| whole.merge(part));
        let mut judged = whole.finish(&policy, Vec::new(), 1);
        assert_eq!(judged.findings.len(), 1);
        let finding = judged.findings.remove(0);
        let frames: Vec<u64> = finding.evidence.iter().map(|at| at.frame).collect();
        (finding.explanation, frames)
    };
    let few = [
        (1, "key in a", 4),
        (2, "word in b, key in a", 4),
        (3, "id in c", 9),
    ];
    let many = [
        (1, "h, b", 1),
        (2, "g, a", 2),
        (3, "f", 3),
        (4, "e", 4),
        (5, "d, c", 5),
    ];
    for backwards in [false, true] {
        let (text, frames) = told(&few, backwards);
        assert!(
            text.starts_with("found: id in c, key in a, word in b: "),
            "{text}"
        );
        assert_eq!(frames, [4, 9]);
        let (text, frames) = told(&many, backwards);
        assert!(
            text.starts_with("found: a, b, c, d, e, f and more: "),
            "{text}"
        );
        assert_eq!(frames, [1, 2, 3, 4, 5]);
    }
}

#[test]
fn a_flow_counts_once_however_often_it_renegotiates() {
    let (flow, mut facts) = of_tls(1, 0, tls(0x0301, 0xc02f));
    facts.tls = vec![facts.tls[0].clone(), facts.tls[0].clone()];
    let judged = judge(&Policy::built_in(), &[(flow, facts)]);
    let mut versions = judged
        .findings
        .iter()
        .filter(|finding| finding.check_id == "NS-01.tls_version");
    assert_eq!(versions.next().unwrap().flow_count, 1);
    assert_eq!(verdict(&judged, Some("NS-01.tls_version")).failed, 2);
}

#[test]
fn a_findings_id_names_its_subject_and_no_file() {
    let id = |change: &dyn Fn(&mut FlowRecord)| {
        let (mut flow, mut facts) = of_plain(1, 0, plain("telnet"));
        change(&mut flow);
        facts.plaintext.as_mut().unwrap().recognised.capture = flow.first.capture;
        judge(&Policy::built_in(), &[(flow, facts)]).findings[0]
            .finding_id
            .clone()
    };
    let original = id(&|_| {});
    assert_eq!(original, id(&|_| {}));
    assert_eq!(
        original,
        id(&|flow| (flow.first.capture, flow.first.frame) = (7, 99))
    );
    assert_ne!(original, id(&|flow| flow.dst_port = 23));
    assert_ne!(original, id(&|flow| flow.ts = at(5)));
    assert_ne!(
        original,
        id(&|flow| flow.server_name = Some("a.example".into()))
    );
    let letters = original.strip_prefix("F-").unwrap();
    assert_eq!(letters.len(), 12);
    assert!(
        letters
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || (b'2'..=b'7').contains(&byte))
    );
}

#[test]
fn a_name_from_a_capture_is_bounded() {
    let (mut flow, facts) = of_plain(1, 0, plain("telnet"));
    flow.server_name = Some("é".repeat(60_000).into());
    let judged = judge(&Policy::built_in(), &[(flow, facts)]);
    assert_eq!(judged.findings[0].destination, "é".repeat(127));
}

/// A client that only offers an old version shows nothing of what was
/// negotiated: that is told, and is no pass.
#[test]
fn warnings_alone_pass_only_where_more_was_judged_than_was_not_seen() {
    let old = |id| of_tls(id, id, hello(client(0x0301, &[], &[0xc02f])));
    let good = of_tls(9, 9, tls(0x0303, 0xc02f));
    let upgraded = |id| {
        let sent_on = [(Some(301), Some(("https", "a.example")))];
        of_plain(id, id, http("a.example", &sent_on))
    };
    let unanswered = |id| of_plain(id, id, http("a.example", &[(None, None)]));
    let (version, upgrade) = ("NS-01.tls_version", "NS-01.http_upgrade");
    for (name, check, ended, expected) in [
        ("offered", version, vec![old(1)], VerdictKind::NotObserved),
        (
            "and again",
            version,
            vec![old(1), old(2)],
            VerdictKind::NotObserved,
        ),
        ("and held", version, vec![old(1), good], VerdictKind::Pass),
        ("sent on", upgrade, vec![upgraded(1)], VerdictKind::Pass),
        (
            "sent on, and not seen",
            upgrade,
            vec![upgraded(1), unanswered(2)],
            VerdictKind::NotObserved,
        ),
        (
            "mostly sent on",
            upgrade,
            vec![upgraded(1), upgraded(2), unanswered(3)],
            VerdictKind::Pass,
        ),
    ] {
        let judged = judge(&Policy::built_in(), &ended);
        assert_eq!(verdict(&judged, Some(check)).verdict, expected, "{name}");
        assert!(
            judged.findings.iter().any(|f| f.check_id == check),
            "{name}"
        );
    }
    // Of checks that pass so, one is enough for their control.
    let mild = policy("verdicts: {fail_at: critical}");
    let judged = judge(&mild, &[unanswered(1)]);
    let plain = verdict(&judged, Some("NS-01.plaintext"));
    assert_eq!((plain.verdict, plain.failed), (VerdictKind::Pass, 1));
    assert_eq!(verdict(&judged, None).verdict, VerdictKind::Pass);
    let judged = judge(&Policy::built_in(), &[old(1)]);
    let told = judged
        .findings
        .iter()
        .find(|f| f.check_id == version)
        .unwrap();
    assert_eq!(
        told.title,
        "TLS version below the minimum offered by the client, not negotiated"
    );
}

#[test]
fn only_what_reaches_the_line_fails() {
    let low = [("NS-01.tls_preferred", Severity::Low, "TLS1.2".to_owned())];
    for (fail_at, expected) in [
        ("medium", VerdictKind::Pass),
        ("low", VerdictKind::Fail),
        ("info", VerdictKind::Fail),
        ("critical", VerdictKind::Pass),
    ] {
        let judged = violations(&policy(&format!("verdicts: {{fail_at: {fail_at}}}")), &low);
        for check in [None, Some("NS-01.tls_preferred")] {
            assert_eq!(verdict(&judged, check).verdict, expected, "{fail_at}");
        }
    }
    let judged = violations(&Policy::built_in(), &low);
    let control = verdict(&judged, None);
    assert_eq!(control.worst_severity, Some(Severity::Low));
    assert_eq!(control.reason, "warnings only: NS-01.tls_preferred");
    let high = [("NS-01.plaintext", Severity::High, "telnet".to_owned())];
    let critical = violations(&policy("verdicts: {fail_at: critical}"), &high);
    assert_eq!(verdict(&critical, None).verdict, VerdictKind::Pass);
    let failing = violations(&Policy::built_in(), &high);
    assert_eq!(verdict(&failing, None).reason, "fails NS-01.plaintext");
}

#[test]
fn a_refusal_is_evidence_and_no_finding() {
    let refused = broken_off(hello(client(0x0302, &[], &[0xc02f])), false, 70);
    let judged = judge(&Policy::built_in(), &[of_tls(1, 0, refused)]);
    let version = verdict(&judged, Some("NS-01.tls_version"));
    assert_eq!((version.verdict, version.refused), (VerdictKind::Pass, 1));
    let of_version = judged
        .findings
        .iter()
        .filter(|finding| finding.check_id == "NS-01.tls_version");
    assert_eq!(of_version.count(), 0);
}

#[test]
fn what_was_not_observed_says_what_would_show_it() {
    let judged = judge(&Policy::built_in(), &[]);
    assert!(judged.findings.is_empty() && judged.coverage.is_empty());
    for verdict in &judged.verdicts {
        assert_eq!(verdict.verdict, VerdictKind::NotObserved);
        assert!(verdict.reason.len() > 20, "{verdict:?}");
    }
    // Half a handshake: neither passed nor failed.
    let half = judge(
        &Policy::built_in(),
        &[of_tls(1, 0, hello(client(0x0303, &[0x0304], &[0x1301])))],
    );
    let version = verdict(&half, Some("NS-01.tls_version"));
    assert_eq!(version.verdict, VerdictKind::NotObserved);
    assert!(version.reason.contains("ServerHello"), "{}", version.reason);
    let row = half
        .coverage
        .iter()
        .find(|row| row.check_id == "NS-01.tls_version")
        .unwrap();
    assert_eq!((row.not_observed, row.bytes_affected), (1, 1_000));
    assert_eq!(row.example_flow_ids, [FlowId(1)]);
}

#[test]
fn a_control_that_the_policy_disables_is_not_observed() {
    let disabled = policy("network: {tls: {enabled: false}}");
    let judged = judge(
        &disabled,
        &[
            of_tls(1, 0, tls(0x0300, 0x0005)),
            of_plain(2, 0, plain("telnet")),
        ],
    );
    assert!(judged.findings.is_empty());
    let of_tls = judged
        .verdicts
        .iter()
        .filter(|verdict| verdict.control_id == "NS-01");
    for verdict in of_tls {
        assert_eq!(verdict.verdict, VerdictKind::NotObserved);
        if verdict.control_id == "NS-01" {
            assert_eq!(verdict.reason, "disabled by the policy");
        }
    }
}

/// A failed attempt with one version, and another attempt this much later.
fn retried(first: TlsHandshake, second: TlsHandshake, later: i64) -> Vec<String> {
    let judged = judge(
        &Policy::built_in(),
        &[of_tls(2, later, second), of_tls(1, 0, first)],
    );
    let of_downgrade = judged
        .findings
        .into_iter()
        .filter(|finding| finding.check_id == "NS-01.downgrade");
    of_downgrade.map(|finding| finding.detail).collect()
}

#[test]
fn a_retry_with_less_after_a_failure_is_a_downgrade() {
    let offer = |version| hello(client(version, &[], &[0xc02f]));
    let failed = |version| broken_off(offer(version), false, 70);
    let done = |version| tls(version, 0xc02f);
    assert_eq!(
        retried(failed(0x0303), offer(0x0301), 10),
        ["retried with TLS1.0"]
    );
    assert_eq!(
        retried(failed(0x0303), done(0x0301), 1),
        ["retried with TLS1.0"]
    );
    let modern = hello(client(0x0303, &[0x0304, 0x0303], &[0x1301]));
    let modern = broken_off(modern, false, 40);
    assert_eq!(retried(modern, done(0x0303), 1), ["retried with TLS1.2"]);
    assert_eq!(
        retried(failed(0xfefd), offer(0xfeff), 1),
        ["retried with DTLS1.0"]
    );
    // Too late, after a success, no lower, higher.
    let none: [String; 0] = [];
    assert_eq!(retried(failed(0x0303), offer(0x0301), 11), none);
    assert_eq!(retried(done(0x0303), offer(0x0301), 1), none);
    assert_eq!(retried(failed(0x0303), offer(0x0303), 1), none);
    assert_eq!(retried(failed(0x0301), offer(0x0303), 1), none);
}

/// What is told of attempts in turn: the name, the version, and how the
/// connection ended.
#[track_caller]
fn attempts(of: &[(Option<&str>, u16, EndReason)], expected: &[&str]) {
    let ended: Vec<_> = (1..)
        .zip(of)
        .map(|(id, (name, version, end))| {
            let mut offered = client(*version, &[], &[0xc02f]);
            offered.server_name = name.map(str::to_owned);
            let (mut flow, facts) = of_tls(id, id, hello(offered));
            flow.server_name = name.map(Into::into);
            flow.end_reason = *end;
            (flow, facts)
        })
        .collect();
    let judged = judge(&Policy::built_in(), &ended);
    let told: Vec<_> = judged
        .findings
        .iter()
        .filter(|finding| finding.check_id == "NS-01.downgrade")
        .map(|finding| &*finding.detail)
        .collect();
    assert_eq!(told, expected);
}

#[test]
fn a_retry_is_for_the_same_name_and_after_a_sign_of_failure() {
    use EndReason::{Eof, Fin, Rst, Timeout};
    let (a, b) = (Some("a.example"), Some("b.example"));
    for end in [Fin, Rst] {
        attempts(
            &[(a, 0x0303, end), (a, 0x0301, Eof)],
            &["retried with TLS1.0"],
        );
    }
    // The capture ends, or nothing more was captured: no failure.
    for end in [Eof, Timeout] {
        attempts(&[(a, 0x0303, end), (a, 0x0301, Eof)], &[]);
    }
    // Another name at the same address is another server.
    attempts(&[(a, 0x0303, Rst), (b, 0x0301, Eof)], &[]);
    let between = [(a, 0x0303, Rst), (b, 0x0303, Rst), (a, 0x0301, Eof)];
    attempts(&between, &["retried with TLS1.0"]);
    // SSL 3.0 has no name to send.
    attempts(
        &[(a, 0x0303, Rst), (None, 0x0300, Eof)],
        &["retried with SSLv3"],
    );
}

#[test]
fn an_upgrade_says_whether_it_was_followed() {
    let sent_on = || {
        of_plain(
            1,
            5,
            http("a.example", &[(Some(301), Some(("https", "a.example")))]),
        )
    };
    let over_tls = |name: &str, seconds| {
        let mut named = client(0x0303, &[0x0304], &[0x1301]);
        named.server_name = Some(name.to_owned());
        of_tls(2, seconds, with_client(tls13(), named))
    };
    let explained = |ended: &[Ended]| {
        let judged = judge(&Policy::built_in(), ended);
        let of_upgrade = judged
            .findings
            .iter()
            .find(|finding| finding.check_id == "NS-01.http_upgrade");
        of_upgrade.unwrap().explanation.clone()
    };
    let followed = "then connected over TLS";
    let not = "no TLS connection to it followed";
    assert!(explained(&[sent_on(), over_tls("A.example", 6)]).contains(followed));
    assert!(explained(&[sent_on()]).contains(not));
    assert!(explained(&[sent_on(), over_tls("a.example", 4)]).contains(not));
    assert!(explained(&[sent_on(), over_tls("b.example", 6)]).contains(not));
}

/// What is beyond the caps is left out the same way whatever comes first.
#[test]
fn caps_of_what_several_flows_show_do_not_depend_on_the_order() {
    use super::dance::{MAX_NAMES, Upgrades};
    let count = i64::try_from(MAX_NAMES).unwrap() + 10;
    let handshakes: Vec<_> = (1..=count)
        .map(|id| {
            let mut named = client(0x0303, &[0x0304], &[0x1301]);
            named.server_name = Some(format!("{id:06}.example"));
            of_tls(id, id, with_client(tls13(), named))
        })
        .collect();
    let (mut forwards, mut backwards) = (Upgrades::default(), Upgrades::default());
    for (flow, facts) in &handshakes {
        forwards.note_tls(flow, &facts.tls[0]);
    }
    for (flow, facts) in handshakes.iter().rev() {
        backwards.note_tls(flow, &facts.tls[0]);
    }
    for upgrades in [forwards, backwards] {
        let src = [10, 0, 0, 1].into();
        assert_eq!(upgrades.followed(src, "000001.example", at(0)), Some(true));
        // Left out, so that nothing can be said of it.
        assert_eq!(
            upgrades.followed(src, &format!("{count:06}.example"), at(0)),
            None
        );
    }
}
