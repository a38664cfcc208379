//! Conversations in HTTP/2, from RFC 9113, RFC 7541 and gRPC's description.

use super::super::super::testing::{
    Turn, c, deliver, h2_begin, h2_block as block, h2_frame as frame, hex, http_of, s, talk,
    with_rows,
};
use super::super::tests::{come_to, transactions};
use super::super::{HttpTransaction, Oddity};
use super::frame::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HAS_PRIORITY, HEADERS, PADDED, PING,
    PUSH_PROMISE, RST_STREAM, SETTINGS,
};
use crate::anomaly::AnomalyKind;
use crate::proto::Direction::{Orig, Resp};
use crate::time::CaptureTime;

const ALL: u8 = END_HEADERS | END_STREAM;

fn request<'a>(method: &'a str, path: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        (":method", method),
        (":scheme", "http"),
        (":path", path),
        (":authority", "a"),
    ]
}

fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, ALL, stream, &block(&request("GET", path)))
}

fn ok(stream: u32, flags: u8) -> Vec<u8> {
    // Index 8 of the static table: `:status: 200`.
    frame(HEADERS, END_HEADERS | flags, stream, &[0x88])
}

/// A client's first bytes.
fn hello() -> Vec<u8> {
    h2_begin().0
}

fn join(frames: &[Vec<u8>]) -> Vec<u8> {
    frames.concat()
}

// Sizes of header lists, by RFC 9113 §6.5.2: `GET` of a path of n bytes from
// host `a` has 165 + n, an answer of a status alone 42.

#[test]
fn streams_interleave() {
    let mut padded = vec![3];
    padded.extend(b"defg\0\0\0");
    let mut with_priority = hex("00000000 10");
    with_priority.extend(block(&request("GET", "/3?k=secret")));
    come_to(
        &[
            c(join(&[
                hello(),
                frame(HEADERS, END_HEADERS, 1, &block(&request("POST", "/1"))),
                frame(HEADERS, ALL | HAS_PRIORITY, 3, &with_priority),
                frame(DATA, 0, 1, b"abc"),
                frame(PING, 0, 0, b"12345678"),
                frame(DATA, PADDED | END_STREAM, 1, &padded),
            ])),
            s(join(&[
                frame(SETTINGS, 0, 0, &hex("000100001000")),
                frame(SETTINGS, ACK, 0, &[]),
                frame(HEADERS, END_HEADERS, 3, &block(&[(":status", "103")])),
                ok(3, 0),
                ok(1, 0),
                frame(DATA, 0, 3, b"three"),
                frame(DATA, 0, 1, b"one"),
                frame(0x2a, 0xff, 77, b"nobody knows this"),
                frame(DATA, END_STREAM, 3, &[]),
                frame(HEADERS, ALL, 1, &block(&[("x-trailer", "y")])),
            ])),
        ],
        &[
            "2 GET a/3 200 176+0 42+5 ?k=<6> s3",
            "1 POST a/1 200 168+7 42+3 s1",
        ],
    );
}

#[test]
fn what_hpack_remembers_is_used() {
    // RFC 7541 C.3: the second request refers to the first one's authority.
    come_to(
        &[
            c(join(&[
                hello(),
                frame(
                    HEADERS,
                    ALL,
                    1,
                    &hex("828684410f7777772e6578616d706c652e636f6d"),
                ),
                frame(HEADERS, ALL, 3, &hex("828684be58086e6f2d6361636865")),
            ])),
            s(join(&[
                frame(SETTINGS, 0, 0, &[]),
                ok(1, END_STREAM),
                ok(3, END_STREAM),
            ])),
        ],
        &[
            "1 GET www.example.com/ 200 180+0 42+0 s1",
            "2 GET www.example.com/ 200 233+0 42+0 s3",
        ],
    );
}

#[test]
fn a_block_may_come_in_parts() {
    let whole = block(&request("GET", "/in/parts"));
    let (first, rest) = whole.split_at(11);
    let (second, third) = rest.split_at(5);
    let mut padded = vec![2];
    padded.extend(first);
    padded.extend([0, 0]);
    come_to(
        &[c(join(&[
            hello(),
            frame(HEADERS, END_STREAM | PADDED, 1, &padded),
            frame(CONTINUATION, 0, 1, second),
            frame(CONTINUATION, 0, 1, &[]),
            frame(CONTINUATION, END_HEADERS, 1, third),
        ]))],
        &["1 GET a/in/parts 0 174+0 0+0 s1"],
    );
}

/// A client that resets a stream may meet the answer on its way.
#[test]
fn answers_behind_a_reset_count() {
    let cancel = |stream| frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
    come_to(
        &[
            c(join(&[hello(), get(1, "/a"), get(3, "/b"), get(5, "/c")])),
            s(frame(SETTINGS, 0, 0, &[])),
            c(join(&[cancel(1), cancel(3)])),
            // An interim answer is none; what follows the answer is nobody's.
            s(join(&[
                frame(HEADERS, END_HEADERS, 1, &block(&[(":status", "103")])),
                ok(1, 0),
                frame(DATA, END_STREAM, 1, b"gone"),
                ok(5, END_STREAM),
            ])),
            s(frame(RST_STREAM, 0, 3, &[0, 0, 0, 0])),
            // Too late: it has left.
            s(ok(3, END_STREAM)),
        ],
        &[
            "1 GET a/a 200 167+0 42+0 s1 [reset]",
            "3 GET a/c 200 167+0 42+0 s5",
            "2 GET a/b 0 167+0 0+0 s3 [reset]",
        ],
    );
}

/// However many streams a client resets, few wait for their answer.
#[test]
fn few_streams_wait_behind_their_reset() {
    let mut turns = vec![c(hello()), s(frame(SETTINGS, 0, 0, &[]))];
    for stream in (1..600).step_by(2) {
        turns.push(c(join(&[
            get(stream, "/x"),
            frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]),
        ])));
    }
    // The newest ones wait, the others have left.
    turns.push(s(join(&[ok(1, END_STREAM), ok(599, END_STREAM)])));
    let (rows, _) = transactions(&turns, usize::MAX);
    let status = |id| {
        let row = rows.iter().find(|tx| tx.stream_id == Some(id));
        row.map(|tx| tx.status)
    };
    assert_eq!(rows.len(), 300);
    assert_eq!((status(1), status(599)), (Some(None), Some(Some(200))));
}

#[test]
fn pushes_resets_and_what_is_left_open() {
    let mut push = hex("00000002");
    push.extend(block(&request("GET", "/style.css")));
    come_to(
        &[
            c(join(&[
                hello(),
                get(1, "/page"),
                get(3, "/gone"),
                get(5, "/slow"),
                frame(HEADERS, END_HEADERS, 7, &block(&request("PUT", "/half"))),
                frame(DATA, 0, 7, b"half"),
                frame(RST_STREAM, 0, 3, &hex("00000008")),
            ])),
            s(join(&[
                frame(SETTINGS, 0, 0, &[]),
                frame(PUSH_PROMISE, END_HEADERS, 1, &push),
                ok(1, END_STREAM),
                ok(2, 0),
                frame(DATA, END_STREAM, 2, b"css"),
                frame(GOAWAY, 0, 0, &hex("00000005 00000000")),
            ])),
        ],
        &[
            "1 GET a/page 200 170+0 42+0 s1",
            "5 GET a/style.css 200 175+0 42+3 s2 [pushed]",
            "2 GET a/gone 0 170+0 0+0 s3 [reset]",
            "3 GET a/slow 0 170+0 0+0 s5",
            "4 PUT a/half 0 170+4 0+0 s7 [body_short]",
        ],
    );
}

#[test]
fn grpc_is_named_and_its_status_read() {
    let mut call = request("POST", "/pkg.Service/Call");
    call.push(("content-type", "application/grpc+proto"));
    call.push(("te", "trailers"));
    let answer = block(&[(":status", "200"), ("content-type", "application/grpc")]);
    let refused = block(&[
        (":status", "200"),
        ("content-type", "application/grpc"),
        ("grpc-status", "16"),
    ]);
    let turns = [
        c(join(&[
            hello(),
            frame(HEADERS, END_HEADERS, 1, &block(&call)),
            frame(DATA, END_STREAM, 1, &hex("00 00000002 0801")),
            frame(HEADERS, ALL, 3, &block(&call)),
        ])),
        s(join(&[
            frame(SETTINGS, 0, 0, &[]),
            frame(HEADERS, END_HEADERS, 1, &answer),
            frame(DATA, 0, 1, &hex("00 00000002 0801")),
            frame(HEADERS, ALL, 1, &block(&[("grpc-status", "0")])),
            frame(HEADERS, ALL, 3, &refused),
        ])),
    ];
    come_to(
        &turns,
        &[
            "1 POST a/pkg.Service/Call 200 291+7 102+7 rpc=pkg.Service/Call s1 grpc=0",
            "2 POST a/pkg.Service/Call 200 291+0 147+0 rpc=pkg.Service/Call s3 grpc=16",
        ],
    );
    assert_eq!(talk(&turns).service.as_deref(), Some("http,grpc"));
}

#[test]
fn an_upgrade_goes_on_as_stream_1() {
    let upgrade = "GET /first HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAQAA\r\n\r\n";
    let mut answer =
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n".to_vec();
    // The client lets the table have 65,536 bytes.
    let resized = [hex("3fe1ff03"), vec![0x88]].concat();
    answer.extend(join(&[
        frame(SETTINGS, 0, 0, &[]),
        frame(HEADERS, END_HEADERS, 1, &resized),
        frame(DATA, END_STREAM, 1, b"first"),
    ]));
    come_to(
        &[
            c("GET /before HTTP/1.1\r\nHost: a\r\n\r\n"),
            s("HTTP/1.1 204 No Content\r\n\r\n"),
            c(upgrade),
            s(answer),
            c(join(&[hello(), get(3, "/second")])),
            s(ok(3, END_STREAM)),
        ],
        &[
            "1 GET a/before 204 33+0 27+0",
            &format!("2 GET a/first 200 {}+0 42+5 s1 -> h2c", upgrade.len()),
            "3 GET a/second 200 172+0 42+0 s3",
        ],
    );
}

#[test]
fn a_capture_may_begin_within_a_connection() {
    let turns = [
        // `:method: GET`, something from before, `:path: /x` as a literal.
        c(frame(HEADERS, ALL, 9, &hex("82 c1 0402 2f78"))),
        s(join(&[
            frame(HEADERS, END_HEADERS, 7, &hex("88 c0")),
            frame(DATA, END_STREAM, 7, b"seven"),
            ok(9, END_STREAM),
        ])),
    ];
    come_to(
        &turns,
        &[
            "2 - -- 200 0+0 74+5 s7 [request_not_captured h2_headers_unknown]",
            "1 GET -/x 200 113+0 42+0 s9 [h2_headers_unknown]",
        ],
    );
    let (_, anomalies) = transactions(&turns, usize::MAX);
    assert!(anomalies.has(AnomalyKind::Http2StateUnknown));
}

#[test]
fn what_is_wrong_is_said() {
    #[track_caller]
    fn odd(fields: &[(&str, &str)], expected: &[&str]) {
        let turns = [c(join(&[hello(), frame(HEADERS, ALL, 1, &block(fields))]))];
        let (rows, _) = transactions(&turns, usize::MAX);
        let names: Vec<_> = rows[0].oddities.names().collect();
        assert_eq!(names, expected, "{fields:?}");
    }
    let with = |name, value| {
        let mut fields = request("GET", "/");
        fields.push((name, value));
        fields
    };
    odd(&request("GET", "/"), &[]);
    odd(&with("te", "trailers"), &[]);
    for (name, value) in [
        ("X-Upper", "1"),
        ("connection", "close"),
        ("x", "a\r\nb: c"),
        (":method", "PUT"),
        (":other", "x"),
        ("a b", "x"),
    ] {
        odd(&with(name, value), &["h2_fields_invalid"]);
    }
    odd(
        &with("transfer-encoding", "gzip"),
        &["transfer_encoding_odd", "h2_fields_invalid"],
    );
    odd(&with("host", "b"), &["host_ambiguous"]);
    odd(
        &request("GET", "/")[..2],
        &["host_missing", "h2_fields_invalid"],
    );
    odd(&[(":method", "CONNECT"), (":authority", "a:1")], &[]);
    // RFC 9113 §8.1.1: how requests are smuggled through a proxy.
    come_to(
        &[c(join(&[
            hello(),
            frame(
                HEADERS,
                END_HEADERS,
                1,
                &block(&with("content-length", "9")),
            ),
            frame(DATA, END_STREAM, 1, b"short"),
        ]))],
        &["1 GET a/ 0 213+5 0+0 s1 [content_length_differs]"],
    );
}

#[track_caller]
fn anomaly(turns: &[Turn], kind: AnomalyKind) -> Vec<HttpTransaction> {
    let (rows, anomalies) = transactions(turns, 1_400);
    assert!(anomalies.has(kind), "{:?}", anomalies.rows());
    rows
}

#[test]
fn floods_are_anomalies() {
    let mut rapid = hello();
    for stream in (1..=401).step_by(2) {
        rapid.extend(get(stream, "/"));
        rapid.extend(frame(RST_STREAM, 0, stream, &hex("00000008")));
    }
    let rows = anomaly(&[c(rapid)], AnomalyKind::Http2RapidReset);
    assert_eq!(rows.len(), 201);
    let mut endless = hello();
    endless.extend(frame(HEADERS, 0, 1, &block(&request("GET", "/"))));
    for _ in 0..100 {
        endless.extend(frame(CONTINUATION, 0, 1, &[]));
    }
    anomaly(&[c(endless)], AnomalyKind::Http2ContinuationFlood);
    let mut empty = hello();
    empty.extend(frame(HEADERS, END_HEADERS, 1, &block(&request("PUT", "/"))));
    for _ in 0..600 {
        empty.extend(frame(DATA, 0, 1, &[]));
    }
    anomaly(&[c(empty)], AnomalyKind::Http2Flood);
    let quiet: Vec<u8> = (0..60).flat_map(|_| frame(PING, 0, 0, &[0; 8])).collect();
    let (_, anomalies) = transactions(&[c(join(&[hello(), quiet]))], usize::MAX);
    assert!(anomalies.is_empty());
}

#[test]
fn bombs_stay_within_memory_and_are_named() {
    // An entry of 4,000 bytes, then in each stream as often as a frame holds it.
    let mut first = block(&request("GET", "/"));
    first.extend(hex("400161 7fa11e"));
    first.extend([b'v'; 4_000]);
    let mut bomb = block(&request("GET", "/"));
    bomb.extend([0xbe; 16_000]);
    let mut client = join(&[hello(), frame(HEADERS, ALL, 1, &first)]);
    for stream in (3..=401).step_by(2) {
        client.extend(frame(HEADERS, ALL, stream, &bomb));
    }
    let mut most = 0;
    let (_, rows, anomalies) = with_rows((40_000, 80), |session, cx| {
        let mut skip = Some(0);
        for piece in client.chunks(1_400) {
            deliver(session, cx, Orig, piece, &mut skip);
            most = most.max(session.heap_bytes());
        }
    });
    assert!(anomalies.has(AnomalyKind::HpackBomb));
    let rows = http_of(rows);
    assert_eq!(rows.len(), 201);
    assert_eq!(rows[9].request.header_bytes, 166 + 16_000 * 4_033);
    assert!(rows[9].oddities.has(Oddity::TooManyFields));
    assert!(most < 2 << 20, "{most}");
}

#[test]
fn open_streams_are_bounded() {
    let mut client = hello();
    for stream in (1..=6_001).step_by(2) {
        client.extend(get(stream, "/"));
    }
    let rows = anomaly(&[c(client)], AnomalyKind::HttpLimit);
    assert_eq!(rows.len(), 3_001);
    assert!(rows.iter().map(|tx| tx.depth).eq(1..=3_001));
}

#[test]
fn broken_frames_lose_what_they_touch() {
    // A block that is none, then one that is: its fields are read all the same.
    let rows = anomaly(
        &[c(join(&[
            hello(),
            frame(HEADERS, ALL, 1, &hex("82 80")),
            get(3, "/after"),
        ]))],
        AnomalyKind::Http2Malformed,
    );
    let paths: Vec<_> = rows
        .iter()
        .map(|tx| tx.text(super::super::Text::Path))
        .collect();
    assert_eq!(paths, [None, Some("/after")]);
    // A block that another frame interrupts, and an end that began elsewhere.
    let rows = anomaly(
        &[c(join(&[
            hello(),
            frame(HEADERS, END_STREAM, 1, &block(&request("GET", "/lost"))),
            get(3, "/after"),
            frame(CONTINUATION, END_HEADERS, 1, &hex("0001610162")),
        ]))],
        AnomalyKind::Http2Malformed,
    );
    assert_eq!(rows.len(), 1);
    // A frame of megabytes that nobody allowed.
    anomaly(
        &[c(join(&[hello(), hex("400000 00 00 00000001")]))],
        AnomalyKind::Http2Malformed,
    );
}

/// A stream of days holds what is open of it, not what ever was.
#[test]
fn what_a_body_held_is_given_back() {
    with_rows((40_000, 80), |session, cx| {
        let call = frame(HEADERS, END_HEADERS, 1, &block(&request("POST", "/1")));
        session.data(cx, Orig, &join(&[hello(), call]));
        for _ in 0..500 {
            session.data(cx, Orig, &frame(DATA, 0, 1, b"a token eyJhbGciOi"));
            assert!(session.heap_bytes() < 32 << 10, "{}", session.heap_bytes());
            session.data(cx, Orig, &frame(DATA, 0, 1, b" that was none"));
        }
    });
}

#[test]
fn bodies_are_passed_over_and_gaps_are_said() {
    let (facts, rows, anomalies) = with_rows((40_000, 80), |session, cx| {
        session.data(cx, Orig, &join(&[hello(), get(1, "/1"), get(3, "/3")]));
        // A picture is not looked through for secrets.
        let picture = [&[0x88][..], &block(&[("content-type", "image/png")])].concat();
        let picture = frame(HEADERS, END_HEADERS, 1, &picture);
        session.data(cx, Resp, &join(&[frame(SETTINGS, 0, 0, &[]), picture]));
        let data = frame(DATA, END_STREAM, 1, &[b'x'; 16_384]);
        assert_eq!(
            session.data(cx, Resp, &data[..10]),
            crate::proto::Want::Skip(16_382)
        );
        session.skipped(Resp, 16_382);
        session.data(cx, Resp, &data[16_392..]);
        // Within a body that is read, a gap costs nothing but its bytes.
        let mut call = request("POST", "/5");
        call.push(("content-type", "application/json"));
        session.data(cx, Orig, &frame(HEADERS, END_HEADERS, 5, &block(&call)));
        session.data(cx, Orig, &frame(DATA, END_STREAM, 5, &[b' '; 16])[..10]);
        assert_eq!(session.gap(cx, Orig, 14), crate::proto::Want::Bytes);
        session.data(cx, Orig, b" ");
        // Elsewhere, what headers refer to.
        session.gap(cx, Resp, 100);
        session.data(cx, Resp, &frame(HEADERS, ALL, 3, &hex("88be")));
        cx.ts = CaptureTime::from_nanos(5);
        session.gap(cx, Orig, 100);
        session.data(cx, Orig, &frame(HEADERS, ALL, 9, &hex("82be84")));
    });
    assert!(anomalies.has(AnomalyKind::Http2StateUnknown));
    assert_eq!(facts.plaintext.map(|plain| plain.http_exchanges), Some(4));
    let shown: Vec<_> = http_of(rows)
        .iter()
        .map(|tx| {
            let odd: Vec<_> = tx.oddities.names().collect();
            {
                let bodies = (tx.request.body_bytes, tx.response.body_bytes);
                (tx.stream_id, tx.status, bodies, odd.join(" "))
            }
        })
        .collect();
    assert_eq!(
        shown,
        [
            (Some(1), Some(200), (0, 16_384), String::new()),
            (Some(3), Some(200), (0, 0), "h2_headers_unknown".to_owned()),
            (Some(5), None, (16, 0), "gap".to_owned()),
            (Some(9), None, (0, 0), "h2_headers_unknown".to_owned()),
        ]
    );
}

proptest::proptest! {
    #[test]
    fn any_split_gives_the_same_transactions(
        picks in proptest::collection::vec(0_usize..12, 1..16),
        size in 1_usize..60,
    ) {
        let (mut client, mut server) = (hello(), frame(SETTINGS, 0, 0, &[]));
        let mut stream = 1;
        for pick in picks {
            let json = [request("POST", "/j"), vec![("content-type", "application/json")]].concat();
            client.extend(match pick {
                0 => get(stream, "/x?token=abc"),
                1 => join(&[
                    frame(HEADERS, END_HEADERS, stream, &block(&json)),
                    frame(DATA, 0, stream, b"{\"model\":"),
                    frame(DATA, PADDED | END_STREAM, stream, b"\x02\"m\"}\0\0"),
                ]),
                2 => join(&[get(stream, "/r"), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])]),
                3 => join(&[
                    frame(HEADERS, END_STREAM, stream, &block(&request("GET", "/"))),
                    frame(CONTINUATION, END_HEADERS, stream, &block(&[("a", "b")])),
                ]),
                4 => frame(HEADERS, ALL, stream, &hex("80")),
                5 => frame(CONTINUATION, END_HEADERS, stream, b"x"),
                6 => frame(PING, 0, 0, &[7; 8]),
                7 => frame(0xbe, 0xff, 1, b"unknown"),
                8 => frame(DATA, 0, stream, &[]),
                9 => frame(HEADERS, ALL, stream, &hex("828684410f7777772e6578616d706c652e636f6d")),
                10 => frame(HEADERS, ALL, stream, &hex("828684be")),
                _ => frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 2, b'd']),
            });
            server.extend(ok(stream, if pick % 2 == 0 { END_STREAM } else { 0 }));
            server.extend(frame(DATA, END_STREAM, stream, b"body"));
            stream += 2;
        }
        let turns = [c(client), s(server)];
        let whole = transactions(&turns, usize::MAX).0;
        proptest::prop_assert_eq!(transactions(&turns, size).0, whole);
    }

    /// Any bytes behind a preface do no harm, and hold no more than the limits.
    #[test]
    fn hostile_frames_do_no_harm(
        frames in proptest::collection::vec((0_u8..12, proptest::prelude::any::<u8>(), 0_u32..6, proptest::collection::vec(proptest::prelude::any::<u8>(), 0..60)), 0..60),
        size in 1_usize..200,
    ) {
        let all: Vec<u8> = frames.iter().flat_map(|(kind, flags, stream, payload)| frame(*kind, *flags, *stream, payload)).collect();
        let turns = [c(join(&[hello(), all.clone()])), s(join(&[frame(SETTINGS, 0, 0, &[]), all]))];
        let whole = transactions(&turns, usize::MAX).0;
        proptest::prop_assert_eq!(transactions(&turns, size).0, whole);
    }
}
