//! Answers and flows in the order of their packets, and the names that follow.

use super::*;
use crate::control::testing::{at, flow};
use crate::evidence::PacketRef;
use crate::flow::FlowHead;
use crate::proto::Direction;
use crate::proto::dns::pairs::Pairs;
use crate::proto::stage::Stage;

const CLIENT: [u8; 4] = [10, 0, 0, 1];
const OTHER: [u8; 4] = [10, 0, 0, 2];
const SERVER: [u8; 4] = [198, 51, 100, 7];

/// A message with one question for an A record, and these addresses.
fn message(response: bool, name: &str, addresses: &[[u8; 4]]) -> Vec<u8> {
    let mut out = vec![0, 7, if response { 0x81 } else { 1 }, 0, 0, 1, 0];
    out.push(u8::try_from(addresses.len()).unwrap());
    out.extend([0; 4]);
    for label in name.split('.') {
        out.push(u8::try_from(label.len()).unwrap());
        out.extend(label.as_bytes());
    }
    out.extend([0, 0, 1, 0, 1]);
    for address in addresses {
        out.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        out.extend(address);
    }
    out
}

/// An answer to `client` at a packet, of the same second.
fn answer(packet: u64, client: [u8; 4], name: &str, addresses: &[[u8; 4]], asked: bool) -> Live {
    let mut stage = Stage::new((40_000, 53));
    let mut cx = stage.cx(None);
    cx.ts = at(i64::try_from(packet).unwrap());
    let mut pairs = Pairs::new(Transport::Udp);
    if asked {
        pairs.message(&mut cx, Direction::Orig, &message(false, name, &[]), true);
    }
    pairs.message(
        &mut cx,
        Direction::Resp,
        &message(true, name, addresses),
        true,
    );
    Live {
        order: (packet, packet, 0),
        flow: FlowHead {
            flow_id: FlowId(i64::try_from(packet).unwrap() + 1_000),
            first: PacketRef::default(),
            src: client.into(),
            dst: [10, 0, 0, 53].into(),
            src_port: 40_000,
            dst_port: 53,
            ip_proto: 17,
            scope: 0,
        },
        row: stage.rows.pop().unwrap(),
    }
}

/// What a flow of CLIENT to `server` that began at a packet is called.
fn called(naming: &Naming, began: u64, server: [u8; 4]) -> Option<(String, f32, i64)> {
    let mut record = flow(1, i64::try_from(began).unwrap());
    record.src = CLIENT.into();
    record.dst = server.into();
    record.first.offset = began;
    let mut ended = Ended {
        order: (10_000, began, 0),
        record: Box::new(record),
        facts: SessionFacts::default(),
        anomalies: Vec::new(),
    };
    assert!(wants_name(&ended));
    naming.name(&mut ended);
    let flow = ended.record;
    let source = flow.server_name_source.map(|source| source.name());
    let origin = flow.server_name_origin;
    assert_eq!(source == Some("dns"), origin.flow.is_some());
    Some((
        flow.server_name?.into(),
        origin.confidence.unwrap(),
        origin.age_ns.map_or(-1, |age| age / 1_000_000_000),
    ))
}

#[track_caller]
fn is_called(naming: &Naming, began: u64, expected: Option<(&str, f32, i64)>) {
    let expected = expected.map(|(name, confidence, age)| (name.to_owned(), confidence, age));
    assert_eq!(called(naming, began, SERVER), expected);
}

fn noted(answers: &[Live]) -> Naming {
    let (mut naming, mut odd) = (Naming::new(64), AnomalyLog::default());
    for live in answers.iter().filter(|live| names_an_address(live)) {
        naming.note(live, &mut odd);
    }
    assert!(odd.is_empty());
    naming
}

#[test]
fn the_clients_own_answer_before_the_flow_names_it() {
    let naming = noted(&[
        answer(10, OTHER, "other.example", &[SERVER], true),
        answer(20, CLIENT, "WWW.Example", &[[192, 0, 2, 1], SERVER], true),
        answer(30, CLIENT, "later.example", &[SERVER], true),
    ]);
    is_called(&naming, 10, None);
    is_called(&naming, 11, Some(("other.example", OTHERS, 1)));
    is_called(&naming, 20, Some(("other.example", OTHERS, 10)));
    is_called(&naming, 25, Some(("www.example", OWN, 5)));
    is_called(&naming, 37, Some(("later.example", OWN_SHARED, 7)));
}

#[test]
fn an_answer_that_comes_again_is_as_old_as_its_last() {
    let naming = noted(&[
        answer(10, CLIENT, "www.example", &[SERVER], true),
        answer(20, CLIENT, "www.example", &[SERVER], true),
    ]);
    is_called(&naming, 15, Some(("www.example", OWN, 5)));
    is_called(&naming, 22, Some(("www.example", OWN, 2)));
}

#[test]
fn answers_that_nobody_asked_for_name_nothing() {
    let naming = noted(&[
        answer(10, CLIENT, "forged.example", &[SERVER], false),
        answer(11, CLIENT, "empty.example", &[], true),
    ]);
    assert!(naming.is_empty());
    is_called(&naming, 20, None);
}

#[test]
fn what_was_not_asked_again_for_the_longest_goes_first() {
    let (mut naming, mut odd) = (Naming::new(8), AnomalyLog::default());
    for packet in 0..1_000 {
        let last = u8::try_from(packet % 251).unwrap();
        naming.note(
            &answer(packet, CLIENT, "a.example", &[[10, 1, 1, last]], true),
            &mut odd,
        );
        naming.note(
            &answer(packet, CLIENT, "kept.example", &[SERVER], true),
            &mut odd,
        );
        assert!(naming.known.len() <= 8 && naming.oldest.len() <= 100);
    }
    assert_eq!(
        naming.bytes,
        naming
            .known
            .values()
            .flat_map(|of| &of.names)
            .map(|k| k.name.len())
            .sum::<usize>()
    );
    assert!(odd.has(AnomalyKind::LimitEvicted));
    is_called(&naming, 2_000, Some(("kept.example", OWN, 1_001)));
}

#[test]
fn long_names_are_held_to_their_budget() {
    let (mut naming, mut odd) = (Naming::new(8), AnomalyLog::default());
    for packet in 0..64 {
        let last = u8::try_from(packet).unwrap();
        let label = "x".repeat(60);
        let name = format!("{label}.{label}.{label}.{packet}");
        naming.note(
            &answer(packet, CLIENT, &name, &[[10, 1, 1, last]], true),
            &mut odd,
        );
        assert!(naming.bytes <= 8 * MEAN_NAME);
    }
}

#[test]
fn a_file_names_what_comes_after_its_word() {
    let mut naming = Naming::new(8);
    let name = |offset, name: &str| ResolvedName {
        offset,
        address: SERVER.into(),
        name: name.to_owned(),
    };
    let said = [
        name(100, "192.0.2.9"),
        name(100, "Host.Example"),
        name(200, "second.example"),
    ];
    naming.note_file(0, &said[..1]);
    assert!(naming.is_empty());
    naming.note_file(0, &said);
    naming.note_file(0, &said);
    is_called(&naming, 100, None);
    is_called(&naming, 101, Some(("host.example", OF_FILE, -1)));
    // The DNS of this very input says more.
    naming.note(
        &answer(150, OTHER, "dns.example", &[SERVER], true),
        &mut AnomalyLog::default(),
    );
    is_called(&naming, 160, Some(("dns.example", OTHERS, 10)));
}
