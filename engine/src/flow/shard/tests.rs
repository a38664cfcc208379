//! The shard against hand-made segments: one line a packet.

use super::*;
use crate::flow::ConnState;
use crate::proto::Confidence;
use std::net::{IpAddr, Ipv4Addr};

/// Keeps what both directions said, as text.
#[derive(Debug, Default)]
struct Text {
    said: [String; 2],
}

impl Content for Text {
    type Facts = [String; 2];

    fn data(&mut self, _: &mut Cx<'_>, direction: Direction, bytes: &[u8]) -> Want {
        assert!(bytes != b"panic!", "a parser that fails inside");
        self.said[direction.index()].push_str(&String::from_utf8_lossy(bytes));
        Want::Bytes
    }

    fn gap(&mut self, _: &mut Cx<'_>, direction: Direction, len: u64) -> Want {
        self.said[direction.index()].push_str(&format!("<{len}>"));
        Want::Bytes
    }

    fn skipped(&mut self, _: Direction, _: u64) {}

    fn datagram(&mut self, cx: &mut Cx<'_>, direction: Direction, bytes: &[u8]) -> Want {
        self.data(cx, direction, bytes)
    }

    fn heap_bytes(&self) -> usize {
        self.said.iter().map(String::capacity).sum()
    }

    fn end(self, _: &mut Cx<'_>) -> Self::Facts {
        self.said
    }
}

const CLIENT: u32 = 0x0a00_0001;
const SERVER: u32 = 0x0a00_0002;

fn mapped(addr: u32) -> [u8; 16] {
    Ipv4Addr::from(addr).to_ipv6_mapped().octets()
}

fn base(protocol: u8, from: (u32, u16), to: (u32, u16), ms: i64) -> Segment {
    Segment {
        src: mapped(from.0),
        dst: mapped(to.0),
        ts_ns: ms * 1_000_000,
        record_offset: 0,
        payload_offset: 0,
        payload_len: 0,
        payload_wire_len: 0,
        ip_len: 40,
        index: 0,
        seq: 0,
        ack: 0,
        scope: 0,
        src_port: from.1,
        dst_port: to.1,
        window: 1_000,
        link: 1,
        data_at: 16,
        protocol,
        ip_version: 4,
        tcp_flags: 0,
        bits: 0,
    }
}

/// A shard that takes packets one after another, and what it gave.
struct Bench {
    limits: Limits,
    shard: Shard<Text>,
    packets: u64,
}

impl Bench {
    fn new(limits: Limits) -> Self {
        Self {
            shard: Shard::new(&limits),
            limits,
            packets: 0,
        }
    }

    fn put(&mut self, segment: Segment, payload: &str) {
        let len = u32::try_from(payload.len()).unwrap();
        let segment = Segment {
            payload_len: len,
            payload_wire_len: len,
            ip_len: segment.ip_len + len,
            ..segment
        };
        let packet = PacketRef {
            capture: 0,
            frame: self.packets + 1,
            offset: self.packets * 100,
        };
        let place = Place {
            packet,
            global: self.packets,
        };
        self.packets += 1;
        let payload = payload.as_bytes();
        self.shard
            .segment(&self.limits, &segment, place, payload, LinkContext::default);
    }

    /// One TCP packet: `>` from the client, `<` from the server.
    fn tcp(&mut self, ms: i64, way: char, flags: &str, seq: u32, ack: u32, payload: &str) {
        let (client, server) = ((CLIENT, 50_000), (SERVER, 443));
        let (from, to) = if way == '>' {
            (client, server)
        } else {
            (server, client)
        };
        let tcp_flags = flags.chars().fold(0, |all, flag| {
            all | match flag {
                'S' => Segment::SYN,
                'A' => Segment::ACK,
                'F' => Segment::FIN,
                'R' => Segment::RST,
                other => panic!("{other} is no flag"),
            }
        });
        self.put(
            Segment {
                seq,
                ack,
                tcp_flags,
                ..base(6, from, to, ms)
            },
            payload,
        );
    }

    fn finish(mut self) -> Vec<Ended<[String; 2]>> {
        self.shard.finish(&self.limits);
        assert_eq!(self.shard.open(), 0);
        self.shard.ended
    }
}

fn handshake(bench: &mut Bench, ms: i64, isn: u32) {
    bench.tcp(ms, '>', "S", isn, 0, "");
    bench.tcp(ms + 1, '<', "SA", 900, isn + 1, "");
    bench.tcp(ms + 2, '>', "A", isn + 1, 901, "");
}

#[test]
fn remains_of_an_older_connection_do_not_end_the_new_one() {
    // The server still holds the old connection and says where (RFC 9293
    // §3.10.7.3): the client resets that one and sends its SYN again.
    let mut bench = Bench::new(Limits::default());
    bench.tcp(0, '>', "S", 255_601_861, 0, "");
    bench.tcp(1, '<', "A", 3_738_406_957, 1_116_180_385, "");
    bench.tcp(2, '>', "R", 1_116_180_385, 1_116_180_385, "");
    bench.tcp(3_000, '>', "S", 255_601_861, 0, "");
    bench.tcp(3_001, '<', "SA", 4_081_086_534, 255_601_862, "");
    bench.tcp(3_002, '>', "A", 255_601_862, 4_081_086_535, "");
    bench.tcp(3_003, '>', "A", 255_601_862, 4_081_086_535, "hello");
    bench.tcp(18_000, '<', "A", 4_081_086_535, 255_601_867, "yes");
    let ended = bench.finish();
    let [flow] = &ended[..] else {
        panic!("{ended:?}")
    };
    assert_eq!(flow.facts, ["hello", "yes"]);
    assert_eq!(flow.record.conn_state, ConnState::S1);
    assert!(flow.anomalies.is_empty(), "{:?}", flow.anomalies);
}

#[test]
fn an_ordinary_connection_has_one_row() {
    let mut bench = Bench::new(Limits::default());
    handshake(&mut bench, 0, 100);
    bench.tcp(3, '>', "A", 101, 901, "hello ");
    bench.tcp(4, '>', "A", 107, 901, "world");
    bench.tcp(5, '<', "A", 901, 112, "yes");
    bench.tcp(6, '>', "FA", 112, 904, "");
    bench.tcp(7, '<', "FA", 904, 113, "");
    bench.tcp(8, '>', "A", 113, 905, "");
    let ended = bench.finish();
    let [flow] = &ended[..] else {
        panic!("{ended:?}")
    };
    assert_eq!(flow.facts, ["hello world", "yes"]);
    let row = &flow.record;
    assert_eq!(row.src, IpAddr::V4(Ipv4Addr::from(CLIENT)));
    assert_eq!((row.src_port, row.dst_port), (50_000, 443));
    assert_eq!(
        (row.conn_state, row.history.as_str()),
        (ConnState::Sf, "ShADdFf")
    );
    assert_eq!((row.orig.bytes, row.resp.bytes), (11, 3));
    assert_eq!((row.orig.packets, row.resp.packets), (6, 3));
    assert_eq!(row.tcp_rtt_ns, Some(1_000_000));
    assert_eq!(
        (row.end_reason, row.ts_end.as_nanos()),
        (EndReason::Fin, 8_000_000)
    );
    assert!(flow.anomalies.is_empty());
}

#[test]
fn a_connection_seen_from_its_answer_on_is_turned() {
    let mut bench = Bench::new(Limits::default());
    bench.tcp(0, '<', "SA", 900, 101, "");
    bench.tcp(1, '>', "A", 101, 901, "hi");
    let ended = bench.finish();
    let row = &ended[0].record;
    assert_eq!((row.src_port, row.direction_flipped), (50_000, true));
    assert_eq!(row.history.as_str(), "^hD");

    let mut bench = Bench::new(Limits::default());
    bench.tcp(0, '<', "A", 900, 101, "midstream");
    let ended = bench.finish();
    assert_eq!(
        (ended[0].record.src_port, ended[0].record.conn_state),
        (50_000, ConnState::Oth)
    );
    assert_eq!(ended[0].facts, ["", "midstream"]);
}

#[test]
fn heartbeats_are_payload_after_silence_and_no_keep_alives() {
    // A ping every minute with its answer, keep-alives between; for five minutes
    // none of it counts, then 20 of them have 19 gaps.
    let mut bench = Bench::new(Limits::default());
    handshake(&mut bench, 0, 100);
    let (mut ours, mut theirs) = (101, 901);
    for minute in 1..=24 {
        let ms = minute * 60_000;
        // The byte before again, and without any.
        bench.tcp(ms - 30_000, '>', "A", ours - 1, theirs, "x");
        bench.tcp(ms - 29_900, '<', "A", theirs, ours, "");
        bench.tcp(ms - 15_000, '<', "A", theirs - 1, ours, "");
        bench.tcp(ms, '>', "A", ours, theirs, "ping");
        ours += 4;
        bench.tcp(ms + 40, '<', "A", theirs, ours, "pong");
        theirs += 4;
        bench.tcp(ms + 80, '>', "A", ours, theirs, "");
    }
    let ended = bench.finish();
    let rhythm = ended[0].record.rhythm.unwrap();
    assert_eq!((rhythm.side, rhythm.gaps), (Direction::Orig, 19));
    assert_eq!(rhythm.share, 1.0);
    let seconds = rhythm.gap_ns as f64 / 1e9;
    assert!((seconds - 60.0).abs() < 4.0, "{seconds}");
    // Of datagrams as well; a flow of four minutes has none.
    for (minutes, expected) in [(4, None), (24, Some(37))] {
        let mut bench = Bench::new(Limits::default());
        for half in 0..minutes * 2 {
            bench.put(base(17, (CLIENT, 9), (SERVER, 4_500), half * 30_000), "x");
        }
        let ended = bench.finish();
        let gaps = ended[0].record.rhythm.map(|rhythm| rhythm.gaps);
        assert_eq!(gaps, expected, "{minutes} minutes");
    }
}

#[test]
fn a_port_used_again_is_another_flow() {
    let mut bench = Bench::new(Limits::default());
    handshake(&mut bench, 0, 100);
    bench.tcp(5, '>', "FA", 101, 901, "");
    bench.tcp(6, '<', "FA", 901, 102, "");
    handshake(&mut bench, 100, 50_000);
    bench.tcp(110, '>', "A", 50_001, 901, "second");
    let ended = bench.finish();
    assert_eq!(ended.len(), 2);
    assert_ne!(ended[0].record.flow_id, ended[1].record.flow_id);
    assert_eq!(ended[1].facts[0], "second");
}

#[test]
fn a_syn_thrown_into_a_live_connection_does_not_cut_it() {
    let mut bench = Bench::new(Limits::default());
    handshake(&mut bench, 0, 100);
    bench.tcp(3, '>', "A", 101, 901, "one ");
    bench.tcp(4, '>', "S", 7_000_000, 0, "");
    bench.tcp(5, '>', "A", 105, 901, "two");
    let ended = bench.finish();
    assert_eq!(ended.len(), 1);
    assert_eq!(ended[0].facts[0], "one two");
}

#[test]
fn a_reset_out_of_window_does_not_end_a_connection() {
    let mut bench = Bench::new(Limits::default());
    handshake(&mut bench, 0, 100);
    bench.tcp(3, '<', "R", 900 + (1 << 24), 0, "");
    bench.tcp(4, '>', "A", 101, 901, "still here");
    let ended = bench.finish();
    assert_eq!(ended[0].record.conn_state, ConnState::S1);
    assert_eq!(ended[0].facts[0], "still here");
}

#[test]
fn a_reset_before_the_responder_speaks_answers_the_syn() {
    let state = |flags: &str, seq, ack| {
        let mut bench = Bench::new(Limits::default());
        bench.tcp(0, '>', "S", 100, 0, "");
        bench.tcp(1, '<', flags, seq, ack, "");
        bench.finish()[0].record.conn_state
    };
    assert_eq!(state("RA", 0, 101), ConnState::Rej);
    // Whoever sent these has not seen the SYN.
    for (flags, seq, ack) in [("R", 0, 0), ("R", 77, 0), ("RA", 0, 99), ("RA", 0, 5_000)] {
        assert_eq!(state(flags, seq, ack), ConnState::S0, "{flags} {seq} {ack}");
    }
    // And in the middle of a connection, where the client says what it expects.
    let over = |seq| {
        let mut bench = Bench::new(Limits::default());
        bench.tcp(0, '>', "A", 100, 900, "hello");
        bench.tcp(1, '<', "R", seq, 0, "");
        bench.finish()[0].record.end_reason
    };
    assert_eq!(over(900), EndReason::Rst);
    assert_eq!(over(900_000), EndReason::Eof);
}

#[test]
fn what_holds_memory_is_given_up_before_what_holds_none() {
    let mut bench = Bench::new(Limits {
        reassembly_total_bytes: SHARDS * 2_000,
        parser_total_bytes: SHARDS,
        reassembly_flow_bytes: 1 << 20,
        ..Limits::default()
    });
    let quiet = |port: u16| base(6, (CLIENT, port), (SERVER, 443), 0);
    // Old flows that hold nothing.
    for port in 1..=50 {
        let ack = Segment {
            tcp_flags: Segment::ACK,
            ..quiet(port)
        };
        bench.put(ack, "");
    }
    // Two that hold early segments, one of them much.
    for (port, times) in [(1_000, 1), (1_001, 40)] {
        let ack = Segment {
            tcp_flags: Segment::ACK,
            seq: 1,
            ..quiet(port)
        };
        bench.put(ack, "x");
        for nth in 1..=times {
            let early = Segment {
                tcp_flags: Segment::ACK,
                seq: nth * 10,
                ..quiet(port)
            };
            bench.put(early, "early");
        }
    }
    let ended = bench.finish();
    let evicted: Vec<_> = ended
        .iter()
        .filter(|flow| flow.record.end_reason == EndReason::Evicted)
        .map(|flow| flow.record.src_port)
        .collect();
    assert!(!evicted.is_empty());
    assert!(evicted.iter().all(|&port| port == 1_001), "{evicted:?}");
}

#[test]
fn a_wild_time_stamp_holds_back_no_flow_behind_it() {
    let mut bench = Bench::new(Limits::default());
    let ping = |port: u16, ms: i64| base(17, (CLIENT, port), (SERVER, 9_999), ms);
    // One flow from the far future, then one a second.
    bench.put(ping(1, 0), "x");
    bench.put(ping(2, 1_000_000_000), "x");
    for second in 1..1_000_u16 {
        bench.put(ping(100 + second, i64::from(second) * 1_000), "x");
    }
    let open = bench.shard.open();
    assert!(open < 250, "{open} flows are open");
}

#[test]
fn repeated_syns_are_one_attempt() {
    let mut bench = Bench::new(Limits::default());
    for second in 0..4 {
        bench.tcp(second * 1_000, '>', "S", 100, 0, "");
    }
    let ended = bench.finish();
    assert_eq!(ended.len(), 1);
    assert_eq!(
        (ended[0].record.conn_state, ended[0].record.orig.packets),
        (ConnState::S0, 4)
    );
}

#[test]
fn idle_flows_end_by_the_packet_clock() {
    let mut bench = Bench::new(Limits {
        udp_idle_seconds: 10,
        ..Limits::default()
    });
    let (a, b) = ((CLIENT, 1_111), (SERVER, 53));
    bench.put(base(17, a, b, 0), "q1");
    bench.put(base(17, b, a, 9_000), "a1");
    bench.put(base(17, a, b, 30_000), "q2");
    let ended = bench.finish();
    let facts: Vec<_> = ended.iter().map(|flow| flow.facts.concat()).collect();
    assert_eq!(facts, ["q1a1", "q2"]);
    assert_eq!(ended[0].record.end_reason, EndReason::Timeout);
    assert_eq!(ended[0].record.conn_state, ConnState::Sf);
    assert_eq!(ended[1].record.conn_state, ConnState::S0);
}

#[test]
fn one_wild_time_stamp_ends_nothing() {
    let mut bench = Bench::new(Limits::default());
    handshake(&mut bench, 0, 100);
    let year_2100_ms = 4_102_444_800_000;
    bench.put(base(17, (SERVER, 9), (SERVER + 1, 10), year_2100_ms), "x");
    bench.tcp(10, '>', "A", 101, 901, "go on");
    let ended = bench.finish();
    let tcp: Vec<_> = ended
        .iter()
        .filter(|flow| flow.record.ip_proto == 6)
        .collect();
    assert_eq!(tcp.len(), 1);
    assert_eq!(tcp[0].facts[0], "go on");
}

#[test]
fn a_syn_flood_stays_within_the_budget_and_spares_real_connections() {
    let limits = Limits {
        max_flows: 64 * 100,
        ..Limits::default()
    };
    let mut bench = Bench::new(limits);
    handshake(&mut bench, 0, 100);
    for source in 0..50_000_u32 {
        let from = (0x0b00_0000 + source, 1_024);
        let syn = Segment {
            tcp_flags: Segment::SYN,
            seq: 5,
            ..base(6, from, (SERVER, 443), 3)
        };
        bench.put(syn, "");
        assert!(bench.shard.open() <= 100);
    }
    bench.tcp(4, '>', "A", 101, 901, "unharmed");
    let ended = bench.finish();
    assert_eq!(ended.len(), 50_001);
    let real = ended
        .iter()
        .find(|flow| flow.record.src_port == 50_000)
        .unwrap();
    assert_eq!(
        (real.facts[0].as_str(), real.anomalies.len()),
        ("unharmed", 0)
    );
    let evicted: Vec<_> = ended
        .iter()
        .filter(|flow| flow.record.end_reason == EndReason::Evicted)
        .collect();
    assert_eq!(evicted.len(), 50_001 - 100);
    assert!(
        evicted
            .iter()
            .all(|flow| flow.anomalies[0].kind == AnomalyKind::LimitEvicted)
    );
}

#[test]
fn a_parser_that_fails_loses_its_own_flow_only() {
    let mut bench = Bench::new(Limits::default());
    let (a, b) = ((CLIENT, 1_111), (SERVER, 53));
    bench.put(base(17, a, b, 0), "panic!");
    bench.put(base(17, a, b, 1), "more");
    bench.put(base(17, (CLIENT, 2_222), b, 2), "fine");
    let ended = bench.finish();
    assert_eq!(ended[0].anomalies[0].kind, AnomalyKind::InternalError);
    assert_eq!(ended[0].record.orig.packets, 2);
    assert_eq!(ended[1].facts[0], "fine");
}

#[test]
fn pings_and_their_answers_are_one_flow_and_errors_are_their_own() {
    let mut bench = Bench::new(Limits::default());
    let ping = |from, to, kind, code, ms| Segment {
        src_port: kind,
        dst_port: code,
        ..base(1, (from, 0), (to, 0), ms)
    };
    bench.put(ping(CLIENT, SERVER, 8, 0, 0), "ping");
    bench.put(ping(SERVER, CLIENT, 0, 0, 1), "ping");
    bench.put(ping(SERVER, CLIENT, 3, 1, 2), "unreachable");
    let ended = bench.finish();
    let rows: Vec<_> = ended
        .iter()
        .map(|flow| {
            (
                flow.record.src_port,
                flow.record.dst_port,
                flow.record.resp.packets,
            )
        })
        .collect();
    assert_eq!(rows, [(8, 0, 1), (3, 1, 0)]);
}

#[test]
fn a_packet_captured_twice_is_counted_as_such() {
    let mut bench = Bench::new(Limits::default());
    handshake(&mut bench, 0, 100);
    bench.tcp(3, '>', "A", 101, 901, "data");
    bench.tcp(3, '>', "A", 101, 901, "data");
    bench.tcp(300, '>', "A", 101, 901, "data");
    let ended = bench.finish();
    let row = &ended[0].record;
    assert_eq!((row.dup_pkts, row.retrans_pkts), (1, 1));
    assert_eq!(ended[0].facts[0], "data");
}

#[test]
fn a_gap_is_told_where_it_is() {
    let mut bench = Bench::new(Limits::default());
    handshake(&mut bench, 0, 100);
    bench.tcp(3, '>', "A", 101, 901, "abc");
    bench.tcp(4, '>', "A", 109, 901, "xyz");
    bench.tcp(5, '<', "A", 901, 112, "");
    let ended = bench.finish();
    assert_eq!(ended[0].facts[0], "abc<5>xyz");
    assert_eq!(ended[0].record.orig.missed_bytes, 5);
    assert_eq!(ended[0].anomalies[0].kind, AnomalyKind::TcpGap);
    assert!(ended[0].record.history.as_str().contains('G'));
}

/// An echo message of a client (`>`) or its answer.
fn echo(bench: &mut Bench, ms: i64, way: char, number: u32, payload: &str) {
    let (client, server) = ((CLIENT, 8), (SERVER, 0));
    let mut segment = match way {
        '>' => base(1, client, server, ms),
        _ => base(1, (SERVER, 0), (CLIENT, 0), ms),
    };
    segment.seq = number;
    bench.put(segment, payload);
}

#[test]
fn echo_messages_are_measured_in_their_flow() {
    let mut bench = Bench::new(Limits::default());
    let pattern = "0123456789abcdef".repeat(4);
    for number in 0..3 {
        echo(&mut bench, i64::from(number) * 1_000, '>', number, &pattern);
        let answer = if number == 2 {
            "something else"
        } else {
            &pattern
        };
        echo(
            &mut bench,
            i64::from(number) * 1_000 + 5,
            '<',
            number,
            answer,
        );
    }
    bench.shard.finish(&bench.limits);
    let flows: Vec<_> = bench
        .shard
        .ended
        .iter()
        .map(|ended| &ended.record)
        .collect();
    assert_eq!(flows.len(), 1);
    let facts = flows[0].echo.as_deref().unwrap();
    assert_eq!(
        (facts.requests, facts.unlike, facts.unasked, facts.varied),
        (3, 1, 0, 0)
    );
    assert_eq!(facts.largest, 64);
}

#[test]
fn other_flows_have_no_echo() {
    let mut bench = Bench::new(Limits::default());
    bench.put(base(17, (CLIENT, 50_000), (SERVER, 53), 0), "x");
    // Destination unreachable.
    bench.put(base(1, (SERVER, 3), (CLIENT, 3), 1), "x");
    bench.shard.finish(&bench.limits);
    assert!(
        bench
            .shard
            .ended
            .iter()
            .all(|ended| ended.record.echo.is_none())
    );
}

#[test]
fn a_flow_that_carries_a_tunnel_alone_is_named_for_it() {
    const INNER: u8 = Segment::CARRIES_TUNNEL;
    let of = |ports: (u16, u16), datagrams: &[(u8, &str)]| {
        let mut bench = Bench::new(Limits::default());
        for &(bits, payload) in datagrams {
            let datagram = Segment {
                bits,
                ..base(UDP, (CLIENT, ports.0), (SERVER, ports.1), 0)
            };
            bench.put(datagram, payload);
        }
        let ended = bench.finish();
        let record = &ended[0].record;
        assert_eq!(
            record.service.is_some(),
            record.service_confidence == Some(Confidence::Content)
        );
        record.service.as_deref().map(str::to_owned)
    };
    let named = |name: &str| Some(name.to_owned());
    for (port, name) in [
        (4789, "vxlan"),
        (8472, "vxlan"),
        (4790, "vxlan-gpe"),
        (6081, "geneve"),
        (2152, "gtp"),
        (3544, "teredo"),
        (1701, "l2tp"),
        (6635, "mpls-in-udp"),
    ] {
        assert_eq!(
            of((50_000, port), &[(INNER, "x"), (INNER, "y")]),
            named(name)
        );
    }
    // Replies of a GTP-U peer, and an empty datagram, change nothing.
    assert_eq!(of((2152, 50_000), &[(INNER, "x"), (0, "")]), named("gtp"));
    // What is not decoded within may be anything.
    assert_eq!(of((50_000, 4789), &[(INNER, "x"), (0, "y")]), None);
    assert_eq!(of((50_000, 4789), &[(0, "y")]), None);
}
