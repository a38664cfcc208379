//! Each rule just below its threshold, just above it, and with another policy;
//! across files and midnight.

use super::base64_exfiltration::Base64Exfiltration;
use super::high_entropy_payload::HighEntropyPayload;
use super::long_connection::LongConnection;
use super::periodic_beaconing::PeriodicBeaconing;
use super::testing::{Flow, judge, judge_folder, request, write, write_flows};
use super::volume::{VOLUME_DAILY, VOLUME_HOURLY};
use super::volume_single_request::VolumeSingleRequest;
use super::{Behaviour, Judgement};
use crate::control::Severity;
use crate::flow::ConnState;
use crate::policy::Policy;
use crate::proto::plain::http::Measured;

const MIB: u64 = 1 << 20;
const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;
/// Midnight, UTC.
const MIDNIGHT: i64 = 19_675 * DAY;

fn network(yaml: &str) -> Policy {
    Policy::from_yaml(&format!("monitoring:\n  network:\n{yaml}"), "test").unwrap()
}

fn volume(key: &str, mb: &str) -> Policy {
    network(&format!(
        "    volume:\n      alert_thresholds: {{{key}: {mb}}}\n"
    ))
}

/// Observed values of the findings.
#[track_caller]
fn observed(check: &dyn Behaviour, policy: &Policy, flows: &[Flow]) -> Vec<f64> {
    of(&judge(check, policy, flows))
}

fn of(judged: &Judgement) -> Vec<f64> {
    let measures = judged
        .found
        .iter()
        .filter_map(|found| found.numbers.measure.as_ref());
    measures.map(|measure| measure.observed).collect()
}

fn upload(seconds: i64, bytes: u64) -> Flow {
    let flow = Flow::to("198.51.100.7").named("up.example");
    flow.at(MIDNIGHT + seconds).lasting(0).bytes(bytes, 1_000)
}

#[test]
fn one_connection() {
    let policy = Policy::built_in();
    let check = &VolumeSingleRequest;
    assert!(observed(check, &policy, &[upload(0, 10 * MIB)]).is_empty());
    let above = (10 * MIB + 1) as f64;
    assert_eq!(
        observed(check, &policy, &[upload(0, 10 * MIB + 1)]),
        [above]
    );
    let flows = [upload(0, 10 * MIB + 1)];
    assert!(observed(check, &volume("single_request_mb", "11"), &flows).is_empty());
    let half = volume("single_request_mb", "0.5");
    assert!(observed(check, &half, &[upload(0, MIB / 2)]).is_empty());
    assert_eq!(observed(check, &half, &[upload(0, MIB / 2 + 1)]).len(), 1);
    // What is received counts when the policy says so.
    let down = upload(0, 9 * MIB).bytes(9 * MIB, 2 * MIB);
    assert!(observed(check, &policy, std::slice::from_ref(&down)).is_empty());
    let both = network("    volume:\n      both_directions: true\n");
    assert_eq!(observed(check, &both, &[down]), [(11 * MIB) as f64]);
    let folder = tempfile::tempdir().unwrap();
    let large = |bytes| request("up.example", "", Measured::default(), bytes);
    write(folder.path(), vec![large(10 * MIB), large(10 * MIB + 1)]);
    assert_eq!(of(&judge_folder(check, &policy, folder.path())), [above]);
}

/// Requests of one connection are judged one by one; what no request owns is
/// judged as the connection's, or bytes behind a broken head would be free.
#[test]
fn one_connection_of_many_requests() {
    let (policy, check) = (Policy::built_in(), &VolumeSingleRequest);
    let cases: [(&[u64], &[f64]); 4] = [
        (&[10 * MIB; 5], &[]),
        // A sixteenth may be framing.
        (&[10 * MIB; 4], &[]),
        (&[10 * MIB, 1], &[(40 * MIB - 1) as f64]),
        (&[], &[(50 * MIB) as f64]),
    ];
    let services = [
        "http",
        "ssl,http",
        "ssl,http,grpc",
        "ssl,http,doh",
        "http,websocket",
    ];
    let each = cases
        .iter()
        .flat_map(|case| services.map(|service| (case, service)));
    for (&(bodies, expected), service) in each {
        let folder = tempfile::tempdir().unwrap();
        let flow = upload(0, 50 * MIB).service(service);
        write_flows(folder.path(), &[flow]);
        let rows = bodies.iter().map(|&bytes| {
            let mut row = request("up.example", "", Measured::default(), bytes);
            row.flow.flow_id = crate::evidence::FlowId(1);
            row
        });
        write(folder.path(), rows.collect());
        let judged = judge_folder(check, &policy, folder.path());
        assert_eq!(of(&judged), expected, "{bodies:?} {service}");
    }
}

#[test]
fn an_hour_and_a_day_slide() {
    let policy = Policy::built_in();
    for (check, window, limit, key) in [
        (&VOLUME_HOURLY, HOUR, 100 * MIB, "hourly_total_mb"),
        (&VOLUME_DAILY, DAY, 500 * MIB, "daily_total_mb"),
    ] {
        let half = limit / 2;
        // Two files, half before midnight, half after.
        let pair = |gap: i64, more: u64| {
            let first = upload(-10, half).in_file(0);
            [first, upload(gap - 10, half + more).in_file(1)]
        };
        assert!(observed(check, &policy, &pair(60, 0)).is_empty());
        assert_eq!(observed(check, &policy, &pair(60, 1)), [(limit + 1) as f64]);
        assert_eq!(observed(check, &policy, &pair(window - 1, 1)).len(), 1);
        // The window is as long as it says, wherever it begins.
        assert!(observed(check, &policy, &pair(window, 1)).is_empty());
        let mb = (limit / MIB + 1).to_string();
        assert!(observed(check, &volume(key, &mb), &pair(60, 1)).is_empty());
        let judged = judge(check, &policy, &pair(60, 1));
        let [found] = judged.found.as_slice() else {
            panic!("{judged:?}")
        };
        assert_eq!((found.severity, found.trail.count()), (Severity::High, 2));
        // All sources of a destination count together, each other destination apart.
        let [a, b] = pair(60, 1);
        let two = [a.clone(), b.clone().from("10.0.0.6")];
        assert_eq!(observed(check, &policy, &two).len(), 1);
        let apart = [a, b.named("other.example")];
        assert!(observed(check, &policy, &apart).is_empty());
    }
}

#[test]
fn a_long_flow_counts_evenly_over_its_time() {
    let policy = Policy::built_in();
    // Ten hours at 90 MiB an hour, then at 110.
    let flow = |per_hour: u64| upload(0, 10 * per_hour * MIB).lasting(10 * HOUR);
    assert!(observed(&VOLUME_HOURLY, &policy, &[flow(90)]).is_empty());
    assert_eq!(
        observed(&VOLUME_HOURLY, &policy, &[flow(110)]),
        [(110 * MIB) as f64]
    );
    // 20 MiB at once on top of 90 an hour.
    let both = [flow(90), upload(5 * HOUR, 20 * MIB)];
    assert_eq!(
        observed(&VOLUME_HOURLY, &policy, &both),
        [(110 * MIB) as f64]
    );
}

/// Connections at these seconds.
fn connections(times: impl IntoIterator<Item = i64>) -> Vec<Flow> {
    let one = Flow::to("198.51.100.9").named("c2.example");
    let at = |ms: i64| one.clone().at_ns((MIDNIGHT * 1_000 + ms) * 1_000_000);
    times.into_iter().map(at).collect()
}

/// Gaps in milliseconds, half of them shorter and half longer by so much.
fn alternating(gaps: i64, mean: i64, by: i64) -> Vec<Flow> {
    let mut at = -4 * mean;
    let times = (0..=gaps).map(|i| {
        let now = at;
        at += if i % 2 == 0 { mean - by } else { mean + by };
        now
    });
    connections(times.collect::<Vec<_>>())
}

/// The CV of the literal finding.
#[track_caller]
fn literal(policy: &Policy, flows: &[Flow]) -> Option<f64> {
    let judged = judge(&PeriodicBeaconing, policy, flows);
    let found = judged
        .found
        .iter()
        .find(|found| found.baseline == Some(true))?;
    assert_eq!(found.severity, Severity::High);
    found.numbers.cv
}

#[test]
fn ten_connections_within_a_day_below_the_variation() {
    let policy = Policy::built_in();
    assert_eq!(literal(&policy, &alternating(9, 60_000, 0)), Some(0.0));
    assert_eq!(literal(&policy, &alternating(8, 60_000, 0)), None);
    // Ten gaps of 60 s plus and minus d have a CV of d / 60.
    let cv = literal(&policy, &alternating(10, 60_000, 5_940));
    assert!(cv.is_some_and(|cv| cv < 0.1), "{cv:?}");
    assert_eq!(literal(&policy, &alternating(10, 60_000, 6_600)), None);
    let pattern = |extra: &str| {
        network(&format!(
            "    patterns:\n      command_and_control:\n        - pattern: periodic_beaconing\n{extra}"
        ))
    };
    let wide = pattern("          interval_variance_threshold: 0.2\n");
    assert!(literal(&wide, &alternating(10, 60_000, 6_600)).is_some());
    let narrow = pattern("          interval_variance_threshold: 0.05\n");
    assert_eq!(literal(&narrow, &alternating(10, 60_000, 5_940)), None);
    // Ten of them must fit into 24 hours: nine gaps of 9,600 s do not.
    assert_eq!(literal(&policy, &alternating(20, 9_601_000, 0)), None);
    assert!(literal(&policy, &alternating(20, 9_599_000, 0)).is_some());
    // What never answers is no connection.
    let attempts: Vec<_> = alternating(20, 60_000, 0)
        .into_iter()
        .map(|flow| flow.state(ConnState::S0))
        .collect();
    assert_eq!(literal(&policy, &attempts), None);
    // Two sources, ten connections together.
    let mut shared = alternating(9, 60_000, 0);
    for flow in shared.iter_mut().step_by(2) {
        *flow = flow.clone().from("10.0.0.6");
    }
    assert_eq!(literal(&policy, &shared), None);
    let together = pattern("          key: destination\n");
    assert_eq!(literal(&together, &shared), Some(0.0));
}

#[test]
fn one_key_is_one_finding_with_its_windows() {
    let flows = alternating(40, 3_600_000, 0);
    let judged = judge(&PeriodicBeaconing, &Policy::built_in(), &flows);
    let [found] = judged.found.as_slice() else {
        panic!("{judged:?}")
    };
    assert_eq!(found.trail.count(), 41);
    assert_eq!(found.numbers.interval_seconds, Some(3_600.0));
    let evidence: serde_json::Value =
        serde_json::from_str(found.numbers.evidence.as_deref().unwrap()).unwrap();
    // The window ends with the tenth connection at the earliest.
    assert_eq!(evidence["literal"]["windows"], 32);
    // On the whole minute: the literal rule fires as it is configured, and the
    // finding says what argues against it.
    assert_eq!(found.severity, Severity::High);
    assert!(found.numbers.suppressed_by.is_none());
    assert!(evidence["against"].to_string().contains("whole minute"));
    assert!(found.numbers.score.is_some_and(|score| score < 0.6));
    // Where the policy says so, the same is kept as explained.
    let explaining = network(
        "    patterns:\n      command_and_control:\n        - {pattern: periodic_beaconing, explained: suppressed}\n",
    );
    let judged = judge(&PeriodicBeaconing, &explaining, &flows);
    let kept = &judged.found[0];
    assert_eq!((kept.baseline, kept.severity), (Some(true), Severity::High));
    let reason = kept.numbers.suppressed_by.as_deref().unwrap_or_default();
    assert!(reason.contains("whole minute"), "{reason}");
    let later: Vec<_> = (0_i64..41).map(|n| n * 3_600_000 + 37_000).collect();
    let judged = judge(&PeriodicBeaconing, &explaining, &connections(later));
    assert!(judged.found[0].numbers.suppressed_by.is_none());
    assert!(
        judged.found[0]
            .numbers
            .score
            .is_some_and(|score| score > 0.6)
    );
}

#[test]
fn a_beacon_at_drawn_whole_minutes_is_no_scheduler() {
    let mut at = 0;
    let drawn: Vec<_> = (0..200_i64)
        .map(|i| {
            at += 60_000 * (4 + (i * 7_919 % 31) % 5);
            at
        })
        .collect();
    let judged = judge(&PeriodicBeaconing, &Policy::built_in(), &connections(drawn));
    let [found] = judged.found.as_slice() else {
        panic!("{judged:?}")
    };
    assert_eq!(found.baseline, Some(false));
    assert!(found.severity >= Severity::Medium, "{found:?}");
    assert!(found.numbers.suppressed_by.is_none(), "{found:?}");
}

#[test]
fn jittered_and_rotating_beacons_are_scored() {
    let policy = Policy::built_in();
    // Gaps of 30 to 60 s, evenly spread: a CV of .19.
    let mut at = 0;
    let jittered: Vec<_> = (0..400_i64)
        .map(|i| {
            at += 30_000 + (i * 7_919 % 300) * 100;
            at
        })
        .collect();
    let judged = judge(&PeriodicBeaconing, &policy, &connections(jittered.clone()));
    let [found] = judged.found.as_slice() else {
        panic!("{judged:?}")
    };
    assert_eq!(found.baseline, Some(false));
    assert!(found.severity >= Severity::Medium, "{found:?}");
    // The same over five hosts of one domain in turn.
    let rotating: Vec<_> = connections(jittered)
        .into_iter()
        .zip(0_u64..)
        .map(|(flow, i)| flow.named(&format!("h{}.c2.example", ((i * 2_654_435_761) >> 13) % 5)))
        .collect();
    let judged = judge(&PeriodicBeaconing, &policy, &rotating);
    assert!(
        judged
            .found
            .iter()
            .any(|found| found.destination == "c2.example"),
        "{judged:?}"
    );
}

#[test]
fn known_services_are_kept_as_suppressed() {
    let ntp = |flow: Flow| flow.port(123).udp().service("ntp");
    let flows: Vec<_> = alternating(30, 64_000, 0).into_iter().map(ntp).collect();
    let judged = judge(&PeriodicBeaconing, &Policy::built_in(), &flows);
    let [found] = judged.found.as_slice() else {
        panic!("{judged:?}")
    };
    let reason = found.numbers.suppressed_by.as_deref().unwrap_or_default();
    assert!(reason.contains("NTP"), "{reason}");
}

#[test]
fn base64_of_so_much_in_one_request() {
    let measured = |bytes| Measured {
        base64_bytes: bytes,
        base64_max_run_bytes: bytes,
        ..Measured::default()
    };
    let judged = |policy: &Policy, bytes| {
        let folder = tempfile::tempdir().unwrap();
        write(
            folder.path(),
            vec![request("up.example", "", measured(bytes), bytes)],
        );
        of(&judge_folder(&Base64Exfiltration, policy, folder.path()))
    };
    let policy = Policy::built_in();
    assert!(judged(&policy, 51_199).is_empty());
    assert_eq!(judged(&policy, 51_200), [51_200.0]);
    let pattern = "    patterns:\n      exfiltration:\n        - {pattern: base64_encoded_large_payload, threshold_kb: 100}\n";
    assert!(judged(&network(pattern), 102_399).is_empty());
    assert_eq!(judged(&network(pattern), 102_400).len(), 1);
}

#[test]
fn entropy_above_the_ratio_where_nothing_declares_it() {
    let policy = Policy::built_in();
    let flow = |entropy| Flow::to("198.51.100.7").at(0).entropy(entropy, 0.5);
    assert!(observed(&HighEntropyPayload, &policy, &[flow(0.9)]).is_empty());
    assert_eq!(
        observed(&HighEntropyPayload, &policy, &[flow(0.91)]).len(),
        1
    );
    let pattern = "    patterns:\n      exfiltration:\n        - {pattern: high_entropy_payload, entropy_threshold: 0.95}\n";
    assert!(observed(&HighEntropyPayload, &network(pattern), &[flow(0.94)]).is_empty());
    assert_eq!(
        observed(&HighEntropyPayload, &network(pattern), &[flow(0.96)]).len(),
        1
    );
    let body = |media_type, coded| {
        let measured = Measured {
            entropy: Some(0.99),
            coded,
            ..Measured::default()
        };
        let folder = tempfile::tempdir().unwrap();
        write(
            folder.path(),
            vec![request("up.example", media_type, measured, 9_000)],
        );
        of(&judge_folder(&HighEntropyPayload, &policy, folder.path())).len()
    };
    for (media_type, coded, expected) in [
        ("application/octet-stream", false, 1),
        ("text/plain", false, 1),
        ("application/json", true, 0),
        ("image/jpeg", false, 0),
        ("application/zip", false, 0),
        ("image/svg+xml", false, 1),
    ] {
        assert_eq!(body(media_type, coded), expected, "{media_type} {coded}");
    }
    let off = network("    patterns:\n      exfiltration: []\n");
    assert!(HighEntropyPayload.start(&off).is_err());
}

#[test]
fn connections_of_an_hour_are_long() {
    let policy = Policy::built_in();
    let flow = |seconds| Flow::to("198.51.100.7").at(0).lasting(seconds);
    assert!(observed(&LongConnection, &policy, &[flow(HOUR - 1)]).is_empty());
    assert_eq!(observed(&LongConnection, &policy, &[flow(HOUR)]), [3_600.0]);
    let day = judge(&LongConnection, &policy, &[flow(13 * HOUR)]);
    assert_eq!(day.found[0].severity, Severity::Medium);
    let idle = judge(&LongConnection, &policy, &[flow(13 * HOUR).service("imap")]);
    assert!(idle.found[0].numbers.suppressed_by.is_some());
}

#[test]
fn heartbeats_make_a_long_connection_worse_unless_something_explains_them() {
    let policy = Policy::built_in();
    let six = || {
        Flow::to("198.51.100.7")
            .named("a.c2.example")
            .at(0)
            .lasting(6 * HOUR)
    };
    let beating = || six().beating(300, 60, 0.95);
    // Connections that the source has otherwise, ten minutes apart.
    let visits = |many: i64, name: &str| -> Vec<Flow> {
        let one = Flow::to("198.51.100.8").named(name);
        (0..many).map(|n| one.clone().at(n * 600)).collect()
    };
    let with = |flow: Flow, mut others: Vec<Flow>| {
        others.push(flow);
        others
    };
    let allowed = network("    destinations: {allowlist: ['*.c2.example']}\n");
    // What, policy, flows, whether it is medium, a word of what argues against it.
    type Case<'p> = (&'static str, &'p Policy, Vec<Flow>, bool, &'static str);
    let cases: [Case<'_>; 11] = [
        ("none", &policy, vec![six()], false, ""),
        ("even", &policy, vec![beating()], true, ""),
        (
            "uneven",
            &policy,
            vec![six().beating(300, 60, 0.59)],
            false,
            "",
        ),
        ("few", &policy, vec![six().beating(29, 600, 1.0)], false, ""),
        (
            "three hours",
            &policy,
            vec![beating().lasting(3 * HOUR)],
            false,
            "",
        ),
        ("ssh", &policy, vec![beating().service("ssh")], false, "SSH"),
        ("mail", &policy, vec![beating().port(993)], false, "mailbox"),
        (
            "messages",
            &policy,
            vec![beating().port(5_228)],
            false,
            "messages",
        ),
        (
            "a page",
            &policy,
            with(beating(), visits(3, "www.c2.example")),
            false,
            "3 shorter",
        ),
        (
            "elsewhere",
            &policy,
            with(beating(), visits(9, "www.other.example")),
            true,
            "",
        ),
        ("allowed", &allowed, vec![beating()], false, "allowlist"),
    ];
    for (what, policy, flows, is_medium, says) in cases {
        let judged = judge(&LongConnection, policy, &flows);
        let [found] = judged.found.as_slice() else {
            panic!("{what}: {judged:?}")
        };
        assert_eq!(
            found.severity == Severity::Medium,
            is_medium,
            "{what}: {found:?}"
        );
        assert!(found.numbers.suppressed_by.is_none(), "{what}");
        let evidence = found.numbers.evidence.as_deref().unwrap_or_default();
        let evidence: serde_json::Value = serde_json::from_str(evidence).unwrap();
        let against = evidence["against"].to_string();
        assert!(
            against.contains(says) && (against == "[]") == says.is_empty(),
            "{what}: {against}"
        );
    }
    let judged = judge(&LongConnection, &policy, &[beating()]);
    let found = &judged.found[0];
    assert_eq!(found.numbers.interval_seconds, Some(60.0));
    assert!(
        found
            .explanation
            .contains("95 % of 300 heartbeats of the source come about 60 s")
    );
    for (flow, reason) in [
        (beating().named("7-courier.push.apple.com"), "push"),
        (beating().service("mqtt"), "protocol"),
    ] {
        let judged = judge(&LongConnection, &policy, &[flow]);
        let by = judged.found[0].numbers.suppressed_by.as_deref();
        assert!(by.is_some_and(|by| by.contains(reason)), "{by:?}");
    }
    // Forty hosts, of which one, five and thirty hold such a connection.
    for (holders, is_medium) in [(1, true), (5, false), (30, false)] {
        let host = |n: i64| format!("10.0.0.{n}");
        let mut flows: Vec<Flow> = (1..=40)
            .map(|n| Flow::to("198.51.100.9").from(&host(n)))
            .collect();
        flows.extend((1..=holders).map(|n| beating().from(&host(n))));
        let judged = judge(&LongConnection, &policy, &flows);
        let worst = judged.found.iter().map(|found| found.severity).max();
        assert_eq!(worst == Some(Severity::Medium), is_medium, "{holders}");
    }
}

/// So many flows, each of another source to another port, and then a beacon.
fn behind_a_flood(many: u32, bytes: u64) -> Vec<Flow> {
    let noise = |n: u32| {
        let src = std::net::Ipv4Addr::from(0xc100_0000 + n).to_string();
        let port = u16::try_from(1_024 + n).unwrap();
        let flow = Flow::to("10.0.0.8").from(&src).port(port).at(MIDNIGHT);
        flow.bytes(0, bytes).state(ConnState::S0)
    };
    let beacon = connections((0..30).map(|n| n * 60_000));
    (0..many).map(noise).chain(beacon).collect()
}

#[test]
fn a_flood_of_made_up_hosts_hides_no_beacon() {
    let policy = Policy::from_yaml("limits:\n  behaviour_names: 1024\n", "test").unwrap();
    let quiet = judge(&PeriodicBeaconing, &policy, &behind_a_flood(0, 0));
    assert!(quiet.found.len() == 1 && quiet.limits.is_empty());
    // Silent hosts are left out and told; those that somebody answered are there.
    let flooded = judge(&PeriodicBeaconing, &policy, &behind_a_flood(3_000, 0));
    assert_eq!(flooded.found.len(), 1);
    assert_eq!(flooded.found[0].numbers, quiet.found[0].numbers);
    let [told] = flooded.limits.as_slice() else {
        panic!("{:?}", flooded.limits)
    };
    assert!(told.starts_with("limits.behaviour_names: 3000 flows were left out"));
    let answered = judge(&PeriodicBeaconing, &policy, &behind_a_flood(3_000, 1));
    let told = &answered.limits;
    assert!(
        told.iter()
            .any(|told| told.contains("rows name hosts beyond it"))
    );
}

#[test]
fn a_flood_of_pairs_hides_no_beacon() {
    let yaml = "limits:\n  behaviour_subjects: 100\nmonitoring:\n  network:\n    destinations:\n      alert_on_local: true\n";
    let policy = Policy::from_yaml(yaml, "test").unwrap();
    let judged = judge(&PeriodicBeaconing, &policy, &behind_a_flood(3_000, 1));
    assert_eq!(judged.found.len(), 1);
    assert!(judged.limits.is_empty(), "{:?}", judged.limits);
}
