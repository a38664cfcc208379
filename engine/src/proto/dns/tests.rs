//! Messages as the RFCs write them, and hostile ones, against the rows they
//! must come to.

use super::message::{Broken, MAX_NAME, Message, Name, kind};
use super::names::{entropy, label_measures, length, put_data, put_name, put_netbios};
use super::pairs::Pairs;
use super::{DnsQuery, Transport};
use crate::anomaly::{AnomalyKind, AnomalyLog};
use crate::policy::Limits;
use crate::proto::Direction::{self, Orig, Resp};
use crate::proto::LiveRow;
use crate::proto::plain::testing::{deliver, hex, with_session};
use crate::proto::stage::Stage;
use crate::time::CaptureTime;
use proptest::prelude::*;

/// `www.example.com` as labels and root.
fn wire(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        out.push(u8::try_from(label.len()).expect("a label"));
        out.extend(label.as_bytes());
    }
    out.push(0);
    out
}

fn message(id: u16, flags: u16, counts: [u16; 4], sections: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for field in [id, flags].into_iter().chain(counts) {
        out.extend(field.to_be_bytes());
    }
    out.extend(sections.concat());
    out
}

fn question(name: &str, qtype: u16) -> Vec<u8> {
    [wire(name), hex(&format!("{qtype:04x} 0001"))].concat()
}

fn ask(id: u16, name: &str, qtype: u16) -> Vec<u8> {
    message(id, 0x0100, [1, 0, 0, 0], &[&question(name, qtype)])
}

/// A record whose name is the question's.
fn record(rtype: u16, data: &[u8]) -> Vec<u8> {
    let mut out = hex(&format!("c00c {rtype:04x} 0001 0000003c"));
    out.extend(u16::try_from(data.len()).expect("short").to_be_bytes());
    out.extend(data);
    out
}

fn answer(id: u16, name: &str, qtype: u16, records: &[Vec<u8>]) -> Vec<u8> {
    let count = u16::try_from(records.len()).expect("few");
    let sections = [vec![question(name, qtype)], records.to_vec()]
        .concat()
        .concat();
    message(id, 0x8180, [1, count, 0, 0], &[&sections])
}

/// What a conversation's rows are, in the order in which they leave, and the anomalies.
fn rows_of(
    transport: Transport,
    limits: &Limits,
    turns: &[(Direction, i64, Vec<u8>)],
) -> (Vec<DnsQuery>, AnomalyLog, Vec<Broken>) {
    let mut broken = Vec::new();
    let mut pairs = Pairs::new(transport);
    let mut stage = Stage::new((40_000, 53));
    stage.limits = limits.clone();
    let mut cx = stage.cx(None);
    for (number, (from, seconds, bytes)) in turns.iter().enumerate() {
        cx.ts = CaptureTime::from_unix(*seconds, 0);
        cx.packet.frame = number as u64 + 1;
        broken.extend(pairs.message(&mut cx, *from, bytes, true));
        assert!(pairs.heap_bytes() < 1 << 20);
    }
    pairs.end(&mut cx);
    let rows = stage.rows.into_iter().filter_map(dns).collect();
    (rows, stage.anomalies, broken)
}

fn dns(row: LiveRow) -> Option<DnsQuery> {
    match row {
        LiveRow::Dns(row) => Some(row),
        LiveRow::Http(_) | LiveRow::Pki(_) | LiveRow::Session(_) => None,
    }
}

/// A row as cases write it: `name type@asked->answered rcode answers`.
fn shown(row: &DnsQuery) -> String {
    let mut out = String::new();
    if let Some(question) = row.question {
        put_name(&mut out, row.name());
        out.push_str(&format!(" {}", question.qtype));
    } else {
        out.push('-');
    }
    match row.query_flags {
        Some(_) => out.push_str(&format!(" @{}", row.ts.as_nanos() / 1_000_000_000)),
        None => out.push_str(" @-"),
    }
    if row.repeats > 0 {
        out.push_str(&format!("+{}", row.repeats));
    }
    match (row.ts_response, row.rcode) {
        (Some(ts), Some(rcode)) => {
            out.push_str(&format!("->{} {rcode}", ts.as_nanos() / 1_000_000_000));
        }
        _ => out.push_str("->-"),
    }
    for answer in row.answers() {
        out.push(' ');
        if let Some(name) = answer.name {
            put_name(&mut out, name);
            out.push('=');
        }
        put_data(&mut out, answer.rtype, answer.data);
    }
    out
}

#[track_caller]
fn comes_to(
    what: &str,
    transport: Transport,
    turns: &[(Direction, i64, Vec<u8>)],
    expected: &[&str],
) {
    let (rows, _, broken) = rows_of(transport, &Limits::default(), turns);
    let shown: Vec<String> = rows.iter().map(shown).collect();
    assert_eq!(shown, expected, "{what}");
    assert_eq!(broken, [], "{what}");
}

const A: u16 = kind::A;

#[test]
fn questions_and_answers_come_together() {
    use Transport::{Llmnr, Mdns, Nbns, Udp};
    let address = || record(A, &[192, 0, 2, 1]);
    let good = |id| answer(id, "www.example.com", A, &[address()]);
    let ask_it = |id| ask(id, "www.example.com", A);
    comes_to(
        "a pair",
        Udp,
        &[(Orig, 1, ask_it(7)), (Resp, 2, good(7))],
        &["www.example.com 1 @1->2 0 192.0.2.1"],
    );
    comes_to(
        "asked three times, answered twice",
        Udp,
        &[
            (Orig, 1, ask_it(7)),
            (Orig, 2, ask_it(7)),
            (Orig, 3, ask_it(7)),
            (Resp, 4, good(7)),
            (Resp, 5, good(7)),
        ],
        &[
            "www.example.com 1 @1+2->4 0 192.0.2.1",
            "www.example.com 1 @-->5 0 192.0.2.1",
        ],
    );
    comes_to(
        "two that cross",
        Udp,
        &[
            (Orig, 1, ask_it(7)),
            (Orig, 1, ask(8, "b.example", 28)),
            (Resp, 2, answer(8, "b.example", 28, &[])),
            (Resp, 3, good(7)),
        ],
        &[
            "b.example 28 @1->2 0",
            "www.example.com 1 @1->3 0 192.0.2.1",
        ],
    );
    comes_to(
        "an answer to another question does not count",
        Udp,
        &[
            (Orig, 1, ask_it(7)),
            (Resp, 2, answer(7, "evil.example", A, &[address()])),
        ],
        &[
            "evil.example 1 @-->2 0 192.0.2.1",
            "www.example.com 1 @1->-",
        ],
    );
    comes_to(
        "nor does one from the asker's own side",
        Udp,
        &[(Orig, 1, ask_it(7)), (Orig, 2, good(7))],
        &[
            "www.example.com 1 @-->2 0 192.0.2.1",
            "www.example.com 1 @1->-",
        ],
    );
    comes_to(
        "case is the asker's own (0x20), and the answer may differ in it",
        Udp,
        &[(Orig, 1, ask(7, "wWw.eXample.com", A)), (Resp, 2, good(7))],
        &["wWw.eXample.com 1 @1->2 0 www.example.com=192.0.2.1"],
    );
    comes_to(
        "an error without its question",
        Udp,
        &[
            (Orig, 1, ask_it(7)),
            (Resp, 2, message(7, 0x8185, [0; 4], &[])),
        ],
        &["www.example.com 1 @1->2 5"],
    );
    comes_to(
        "what waits for too long is let go",
        Udp,
        &[
            (Orig, 1, ask_it(7)),
            (Orig, 32, ask(8, "b.example", A)),
            (Resp, 33, good(7)),
        ],
        &[
            "www.example.com 1 @1->-",
            "www.example.com 1 @-->33 0 192.0.2.1",
            "b.example 1 @32->-",
        ],
    );
    comes_to(
        "mDNS asks everyone, and is answered without a question",
        Mdns,
        &[
            (
                Orig,
                1,
                message(
                    0,
                    0,
                    [2, 0, 0, 0],
                    &[&question("a.local", A), &question("b.local", 28)],
                ),
            ),
            (
                Orig,
                2,
                message(
                    0,
                    0x8400,
                    [0, 1, 0, 0],
                    &[&wire("a.local"), &hex("0001 8001 00000078 0004 0a000001")],
                ),
            ),
        ],
        &[
            "a.local 1 @1->-",
            "b.local 28 @1->-",
            "- @-->2 0 a.local=10.0.0.1",
        ],
    );
    comes_to(
        "LLMNR asked twice",
        Llmnr,
        &[(Orig, 1, ask(9, "wpad", A)), (Orig, 1, ask(9, "wpad", A))],
        &["wpad 1 @1+1->-"],
    );
    comes_to(
        "NetBIOS answers by identifier alone",
        Nbns,
        &[
            (
                Orig,
                1,
                message(
                    3,
                    0x0110,
                    [1, 0, 0, 0],
                    &[&wire("FHEPFCELEHFCEPFFFACACACACACACABL"), &hex("0020 0001")],
                ),
            ),
            (
                Resp,
                2,
                message(
                    3,
                    0x8500,
                    [0, 1, 0, 0],
                    &[
                        &wire("FHEPFCELEHFCEPFFFACACACACACACABL"),
                        &hex("0020 0001 00000000 0006 0000 0a000002"),
                    ],
                ),
            ),
        ],
        &["FHEPFCELEHFCEPFFFACACACACACACABL 32 @1->2 0 \\# 6 00000a000002"],
    );
}

#[test]
fn a_zone_transfer_is_one_row() {
    let first = answer(
        7,
        "example.com",
        kind::AXFR,
        &[record(kind::NS, &hex("c00c"))],
    );
    let (rows, _, broken) = rows_of(
        Transport::Tcp,
        &Limits::default(),
        &[
            (Orig, 1, ask(7, "example.com", kind::AXFR)),
            (Resp, 2, first.clone()),
            (Resp, 2, first.clone()),
            (Resp, 3, first),
        ],
    );
    assert_eq!(rows.len(), 1);
    assert_eq!(shown(&rows[0]), "example.com 252 @1->2 0 example.com");
    assert_eq!(broken, []);
}

#[test]
fn edns_is_read_of_both_sides() {
    // RFC 7871 §6: family 1, source prefix 24, scope 0, 192.0.2.
    let subnet = hex("0008 0007 0001 18 00 c00002");
    let opt = [hex("00 0029 04d0 01 000000 000b"), subnet].concat();
    let query = message(7, 0x0100, [1, 0, 0, 1], &[&question("a.example", A), &opt]);
    // BADVERS is 16: one in the upper bits, zero below (RFC 6891 §9).
    let bad = message(
        7,
        0x8180,
        [1, 0, 0, 1],
        &[
            &question("a.example", A),
            &hex("00 0029 0200 01 000000 0000"),
        ],
    );
    let (rows, ..) = rows_of(
        Transport::Udp,
        &Limits::default(),
        &[(Orig, 1, query), (Resp, 1, bad)],
    );
    let [row] = rows.as_slice() else {
        panic!("{rows:?}")
    };
    assert_eq!(row.edns_udp_size, Some(1232));
    assert_eq!(row.client_subnet(), hex("0001 18 00 c00002"));
    assert_eq!(row.rcode, Some(16));
}

#[track_caller]
fn prints(rtype: u16, data: &[u8], expected: &str) {
    let mut out = String::new();
    put_data(&mut out, rtype, data);
    assert_eq!(out, expected);
}

#[test]
fn records_are_presentation_form() {
    prints(A, &[192, 0, 2, 1], "192.0.2.1");
    prints(A, &[1], "\\# 1 01");
    prints(
        kind::AAAA,
        &hex("20010db8 00000000 00000000 00000001"),
        "2001:db8::1",
    );
    prints(
        kind::MX,
        &[&hex("000a")[..], &wire("mail.example")].concat(),
        "10 mail.example",
    );
    prints(
        kind::SRV,
        &[&hex("0001 0002 0050")[..], &wire("s.example")].concat(),
        "1 2 80 s.example",
    );
    let soa = [
        wire("ns.example"),
        wire("root.example"),
        hex("00000001 00000002 00000003 00000004 00000005"),
    ]
    .concat();
    prints(kind::SOA, &soa, "ns.example root.example 1 2 3 4 5");
    prints(
        kind::TXT,
        b"\x05a\"b\\\x00\x02hi",
        "\"a\\\"b\\\\\\000\" \"hi\"",
    );
    prints(kind::TXT, b"\x05a", "\\# 2 0561");
    prints(65_280, b"", "\\# 0");
}

#[test]
fn names_are_presentation_form_and_measured() {
    let labels = |name: &str| {
        let mut wire = wire(name);
        wire.pop();
        wire
    };
    for (name, expected) in [
        (labels("www.example.com"), "www.example.com"),
        (b"\x03a.b\x02\\c".to_vec(), "a\\.b.\\\\c"),
        (b"\x02\xff\x07".to_vec(), "\\255\\007"),
        ("\u{6}grün!".as_bytes().to_vec(), "grün!"),
        // Right-to-left override is written out.
        ("\u{4}a\u{202e}".as_bytes().to_vec(), "a\\226\\128\\174"),
        (Vec::new(), "."),
    ] {
        let mut out = String::new();
        put_name(&mut out, &name);
        assert_eq!(out, expected);
    }
    let name = labels("aabb.example");
    assert_eq!((length(&name), label_measures(&name)), (12, (2, 7)));
    // Two of each of two letters: one bit; all the same: none.
    assert_eq!(entropy(&labels("aA.bb")), Some(1.0));
    assert_eq!(entropy(&labels("aa.aa")), Some(0.0));
    assert_eq!(entropy(&[]), None);
    let mut out = String::new();
    // RFC 1001 §14.1's example, "The NetBIOS name", with its `h` put right.
    assert!(put_netbios(
        &mut out,
        &labels("FEGIGFCAEOGFHEECEJEPFDCAGOGBGNGF.scope")
    ));
    assert_eq!(out, "The NetBIOS nam<65>.scope");
}

#[test]
fn what_is_broken_is_named_and_the_rest_kept() {
    let whole = |sections: &[u8]| message(7, 0x8180, [1, 1, 0, 0], &[sections]);
    let loops = [hex("c00c 0001 0001")].concat();
    let reserved = hex("80 0001 0001");
    let endless: Vec<u8> = (0..5)
        .flat_map(|_| [&[63][..], &[b'a'; 63]].concat())
        .collect();
    let trailing = [answer(7, "a.example", A, &[]), vec![1, 2, 3]].concat();
    let lies = [
        question("a.example", A),
        hex("c00c 0001 0001 0000003c 00ff 0102"),
    ]
    .concat();
    for (what, bytes, expected) in [
        ("a pointer to itself", whole(&loops), Broken::Name),
        (
            "a label type that is reserved",
            whole(&reserved),
            Broken::Label,
        ),
        ("a name too long", whole(&endless), Broken::Name),
        (
            "a record that is not there",
            whole(&question("a.example", A)),
            Broken::Cut,
        ),
        ("a length that lies", whole(&lies), Broken::Cut),
        ("bytes behind", trailing, Broken::Trailing),
        ("half a header", vec![0; 7], Broken::Cut),
    ] {
        let (_, _, broken) = rows_of(Transport::Udp, &Limits::default(), &[(Resp, 1, bytes)]);
        assert_eq!(broken, [expected], "{what}");
    }
    // The labels before the break are what was asked for.
    let broken = message(7, 0x0100, [1, 0, 0, 0], &[b"\x01a\x01b\x80"]);
    let (rows, ..) = rows_of(Transport::Udp, &Limits::default(), &[(Orig, 1, broken)]);
    assert_eq!(shown(&rows[0]), "a.b 0 @1->-");
}

#[test]
fn compression_cannot_inflate_a_row() {
    // One name of 254 bytes, then as many records that point to it as 64 KiB hold.
    let long: Vec<u8> = (0..4)
        .flat_map(|n| {
            [
                &[if n < 3 { 63 } else { 61 }][..],
                &[b'a'; 63][..if n < 3 { 63 } else { 61 }],
            ]
            .concat()
        })
        .chain([0])
        .collect();
    assert_eq!(long.len(), MAX_NAME + 1);
    let mut bytes = message(7, 0x8180, [1, 5_000, 0, 0], &[&long, &hex("0002 0001")]);
    for _ in 0..4_600 {
        bytes.extend(hex("c00c 0002 0001 00000000 0002 c00c"));
    }
    bytes.truncate(65_535);
    let limits = Limits::default();
    let (rows, ..) = rows_of(Transport::Tcp, &limits, &[(Resp, 1, bytes)]);
    let [row] = rows.as_slice() else {
        panic!("one row")
    };
    assert!(row.answers_cut);
    assert!(row.answers().count() > 10);
    assert!(row.heap_bytes() <= 2 * (limits.dns_answer_bytes + 2 * MAX_NAME));
}

#[test]
fn no_more_wait_than_the_limit() {
    let limits = Limits {
        dns_waiting: 4,
        ..Limits::default()
    };
    let turns: Vec<_> = (0..10)
        .map(|id| (Orig, 1, ask(id, "a.example", A)))
        .collect();
    let (rows, anomalies, _) = rows_of(Transport::Udp, &limits, &turns);
    assert_eq!(
        rows.iter().map(|row| row.id).collect::<Vec<_>>(),
        (0..10).collect::<Vec<_>>()
    );
    assert!(anomalies.has(AnomalyKind::LimitEvicted));
}

/// The rows that leave a session over TCP whose stream comes in these pieces.
fn rows_in_pieces(turns: &[(Direction, Vec<u8>)], lengths: &[usize]) -> String {
    let mut shown_rows = String::new();
    with_session((40_000, 53), |session, cx| {
        let mut skip = [Some(0_u64); 2];
        let mut lengths = lengths.iter().cycle();
        for (direction, bytes) in turns {
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(rest.len().min(*lengths.next().unwrap_or(&1)));
                deliver(session, cx, *direction, piece, &mut skip[direction.index()]);
                rest = after;
            }
        }
        for row in cx.rows.drain(..).filter_map(dns) {
            shown_rows.push_str(&shown(&row));
            shown_rows.push('\n');
        }
    });
    shown_rows
}

fn with_length(message: Vec<u8>) -> Vec<u8> {
    [
        u16::try_from(message.len())
            .expect("short")
            .to_be_bytes()
            .to_vec(),
        message,
    ]
    .concat()
}

proptest! {
    #[test]
    fn any_cut_of_a_stream_gives_the_same_rows(lengths in prop::collection::vec(1_usize..40, 1..20)) {
        let turns = [
            (Orig, [with_length(ask(1, "a.example", A)), with_length(ask(2, "b.example", 16))].concat()),
            (Resp, [
                with_length(answer(2, "b.example", 16, &[record(16, b"\x02hi")])),
                with_length(answer(1, "a.example", A, &[record(A, &[10, 0, 0, 1])])),
            ].concat()),
        ];
        let whole = rows_in_pieces(&turns, &[usize::MAX]);
        prop_assert_eq!(&whole, "b.example 16 @0->0 0 \"hi\"\na.example 1 @0->0 0 10.0.0.1\n");
        prop_assert_eq!(rows_in_pieces(&turns, &lengths), whole);
    }

    /// Whatever comes: what a row holds can be walked, printed, and is bounded.
    #[test]
    fn hostile_messages_do_no_harm(
        noise in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..120)), 0..12),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let mut good = answer(7, "www.example.com", kind::SOA, &[
            record(kind::SOA, &[&wire("ns.example")[..], &hex("c00c"), &[0; 20]].concat()),
            record(kind::MX, &hex("000a c00c")),
        ]);
        for (place, byte) in damage {
            let at = place.index(good.len());
            good[at] = byte;
        }
        let mut turns: Vec<_> = noise
            .into_iter()
            .map(|(orig, bytes)| (if orig { Orig } else { Resp }, 1, bytes))
            .collect();
        turns.push((Orig, 1, ask(7, "www.example.com", kind::SOA)));
        turns.push((Resp, 2, good));
        for transport in [Transport::Udp, Transport::Mdns, Transport::Nbns] {
            let (rows, ..) = rows_of(transport, &Limits::default(), &turns);
            for row in &rows {
                prop_assert!(row.name().len() <= MAX_NAME);
                prop_assert!(!shown(row).is_empty());
            }
        }
    }

    #[test]
    fn a_name_reads_back_as_it_was_written(labels in prop::collection::vec("[a-z0-9-]{1,20}", 1..8)) {
        let name = labels.join(".");
        let bytes = message(0, 0, [1, 0, 0, 0], &[&question(&name, A)]);
        let mut read = Name::default();
        let mut message = Message::new(&bytes).expect("a header");
        prop_assert!(message.question(&mut read).is_some());
        let mut out = String::new();
        put_name(&mut out, read.labels());
        prop_assert_eq!(&out, &name);
        prop_assert_eq!(length(read.labels()), name.len());
    }
}
