//! Fragments in any order give the datagram that was sent; what is impossible
//! or contradictory is told; memory and time stay bounded.

use super::build::*;
use super::tests::{careful, packet};
use super::*;
use crate::anomaly::{AnomalyKind, AnomalyLog};
use crate::capture::LinkType;
use crate::evidence::PacketRef;
use proptest::prelude::*;

/// The serial step, with what it gave.
struct Bench {
    defragmenter: Defragmenter,
    datagrams: Datagrams,
    out: Decoded,
    log: AnomalyLog,
    frames: u64,
}

impl Bench {
    fn new(limits: &Limits) -> Self {
        Self {
            defragmenter: Defragmenter::new(limits),
            datagrams: Datagrams::default(),
            out: Decoded::new(),
            log: AnomalyLog::default(),
            frames: 0,
        }
    }

    fn push(&mut self, fragment: &Fragment, payload: &[u8]) {
        self.frames += 1;
        let at = PacketRef {
            capture: 0,
            frame: self.frames,
            offset: 0,
        };
        self.defragmenter.push(
            fragment,
            at,
            payload,
            &mut self.datagrams,
            &mut self.out,
            &mut self.log,
        );
    }

    /// The payloads of all segments so far.
    fn segments(&self) -> Vec<(Segment, &[u8])> {
        let with_bytes = |segment: Segment| {
            let len = segment.payload_len as usize;
            let bytes = self.datagrams.bytes(segment.payload_offset, len);
            (segment, bytes.expect("held"))
        };
        let all = self.out.shards.concat();
        all.into_iter().map(with_bytes).collect()
    }

    fn kinds(&self) -> Vec<AnomalyKind> {
        self.log.rows().iter().map(|row| row.kind).collect()
    }
}

fn piece(at: usize, payload: &[u8], more: bool) -> Fragment {
    let len = u32::try_from(payload.len()).expect("small");
    Fragment {
        src: SRC6,
        dst: DST6,
        ts_ns: 1_000_000_000_000,
        record_offset: 99,
        payload_offset: 0,
        payload_len: len,
        payload_wire_len: len,
        ip_len: len + 20,
        link: 1,
        data_at: 16,
        index: 5,
        id: 1,
        scope: 0,
        at: u32::try_from(at).expect("small"),
        more,
        protocol: 17,
        ip_version: 4,
        depth: 0,
        bits: 0,
    }
}

/// `datagram` in fragments that end where `cuts` (in units of eight bytes) say.
fn split(datagram: &[u8], cuts: &[usize]) -> Vec<(usize, usize, bool)> {
    let mut ends: Vec<usize> = cuts
        .iter()
        .map(|cut| cut * 8)
        .filter(|&end| end > 0 && end < datagram.len())
        .collect();
    ends.push(datagram.len());
    ends.sort_unstable();
    ends.dedup();
    let mut from = 0;
    ends.into_iter()
        .map(|end| {
            let part = (from, end, end < datagram.len());
            from = end;
            part
        })
        .collect()
}

/// An IP packet for one fragment, as it is on the wire.
fn on_the_wire(six: bool, datagram: &[u8], (from, end, more): (usize, usize, bool)) -> Vec<u8> {
    let place = u16::try_from(from).expect("small");
    let payload = &datagram[from..end];
    if six {
        let place = place | u16::from(more);
        let header = join(&[&[17, 0], &place.to_be_bytes(), &[0, 0, 0, 9]]);
        ethernet(0x86dd, &ipv6(44, &join(&[&header, payload])))
    } else {
        let header = V4 {
            fragment: (place / 8) | (u16::from(more) << 13),
            ..V4::new(17)
        };
        ethernet(0x0800, &header.of(payload))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_split_order_and_repetition_gives_the_datagram(
        body in prop::collection::vec(any::<u8>(), 1..3_000),
        cuts in prop::collection::vec(1..370_usize, 1..12),
        other in prop::collection::vec(1..370_usize, 0..12),
        order in any::<u64>(),
        six in any::<bool>(),
    ) {
        let datagram = udp(1_111, 2_222, &body);
        // Two ways to split, so that the parts overlap with equal bytes.
        let mut parts = split(&datagram, &cuts);
        parts.extend(split(&datagram, &other));
        parts.retain(|part| (part.0, part.2) != (0, false));
        let mut state = order;
        parts.sort_by_cached_key(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state >> 20
        });
        let mut bench = Bench::new(&Limits::default());
        for &part in &parts {
            let data = on_the_wire(six, &datagram, part);
            let found = careful(&packet(1, &data, data.len()));
            prop_assert_eq!(found.segments.len(), 0);
            let fragment = found.fragments[0];
            let from = usize::try_from(fragment.payload_offset - super::tests::DATA_OFFSET).unwrap();
            bench.push(&fragment, &data[from..from + fragment.payload_len as usize]);
        }
        let segments = bench.segments();
        // What came after completion may complete a second time, or wait.
        let whole = split(&datagram, &cuts).len() > 1 || split(&datagram, &other).len() > 1;
        prop_assert_eq!(!segments.is_empty(), whole);
        for (segment, payload) in &segments {
            prop_assert_eq!(*payload, &body[..]);
            prop_assert_eq!((segment.src_port, segment.dst_port), (1_111, 2_222));
            prop_assert_eq!(segment.payload_wire_len as usize, body.len());
            prop_assert_eq!(segment.bits, Segment::DEFRAGMENTED);
            prop_assert_eq!(segment.ip_version, if six { 6 } else { 4 });
        }
        prop_assert_eq!(bench.kinds(), vec![]);
    }

    #[test]
    fn noise_never_breaks_it(
        parts in prop::collection::vec(
            (0..12_usize, 0..80_usize, any::<bool>(), 0..3_u32, 0..100_u32, any::<u8>()),
            0..80,
        ),
        six in any::<bool>(),
    ) {
        let mut bench = Bench::new(&Limits::default());
        for (at, len, more, id, cut, fill) in parts {
            let payload = vec![fill; len];
            let mut fragment = piece(at * 8, &payload, more);
            fragment.id = id;
            fragment.payload_wire_len += cut;
            fragment.protocol = if fill & 1 == 0 { 44 } else { fill };
            fragment.ip_version = if six { 6 } else { 4 };
            bench.push(&fragment, &payload);
        }
        bench.defragmenter.end(&mut bench.log);
        prop_assert_eq!(bench.defragmenter.held(), (0, 0));
    }
}

#[test]
fn the_first_bytes_are_kept_and_a_difference_is_told() {
    let datagram = udp(1, 2, &[b'a'; 24]);
    let mut bench = Bench::new(&Limits::default());
    bench.push(&piece(0, &datagram[..16], true), &datagram[..16]);
    let evil = [b'X'; 16];
    bench.push(&piece(8, &evil, true), &evil);
    bench.push(&piece(16, &datagram[16..], false), &datagram[16..]);
    let (_, payload) = bench.segments()[0];
    assert_eq!(payload, b"aaaaaaaaXXXXXXXXaaaaaaaa");
    assert_eq!(bench.kinds(), [AnomalyKind::IpFragmentOverlap]);
    let row = &bench.log.rows()[0];
    // The second brought a difference, and the third another.
    assert_eq!((row.first.frame, row.last.frame, row.count), (2, 3, 2));
}

#[test]
fn impossible_fragments_are_told_and_left_out() {
    let malformed = |fragments: &[Fragment]| {
        let mut bench = Bench::new(&Limits::default());
        for fragment in fragments {
            bench.push(fragment, &vec![0; fragment.payload_len as usize]);
        }
        assert!(bench.segments().is_empty());
        bench.kinds()
    };
    let told = [AnomalyKind::IpFragmentMalformed];
    // Beyond the largest datagram; not a multiple of eight; empty.
    assert_eq!(malformed(&[piece(65_528, &[0; 8], false)]), told);
    assert_eq!(malformed(&[piece(8, &[0; 9], true)]), told);
    assert_eq!(malformed(&[piece(8, &[], false)]), told);
    // Bytes behind the end, whichever comes first; two ends.
    let (last, behind) = (piece(16, &[0; 8], false), piece(24, &[0; 8], true));
    assert_eq!(malformed(&[last, behind]), told);
    assert_eq!(malformed(&[behind, last]), told);
    assert_eq!(malformed(&[last, piece(32, &[0; 4], false)]), told);
}

#[test]
fn a_hole_is_never_taken_for_whole() {
    // As many bytes as the end says, but not the right ones.
    let mut bench = Bench::new(&Limits::default());
    bench.push(&piece(16, &[1; 8], true), &[1; 8]);
    bench.push(&piece(8, &[2; 8], false), &[2; 8]);
    assert!(bench.segments().is_empty());
    assert_eq!(bench.kinds(), [AnomalyKind::IpFragmentMalformed]);
}

#[test]
fn floods_stay_within_their_budget() {
    let limits = Limits {
        fragment_bytes: 1 << 20,
        ..Limits::default()
    };
    // One small fragment far behind in each of many datagrams: other pools
    // reserve 64 KiB for each.
    let mut bench = Bench::new(&limits);
    for id in 0..100_000 {
        let mut fragment = piece(65_520, &[0; 8], false);
        fragment.id = id;
        bench.push(&fragment, &[0; 8]);
        assert!(bench.defragmenter.held().0 <= limits.fragment_bytes);
    }
    assert!(bench.log.has(AnomalyKind::LimitEvicted));
    assert!(bench.log.has(AnomalyKind::IpFragmentIncomplete));
    let (_, waiting) = bench.defragmenter.held();
    assert!(waiting < 10_000, "{waiting}");
    // One that never ends, in front of many that do.
    let mut bench = Bench::new(&limits);
    let datagram = udp(1, 2, &[0; 8]);
    let mut first = piece(8, &[0; 8], true);
    first.id = u32::MAX;
    bench.push(&first, &[0; 8]);
    for id in 0..10_000 {
        for (range, more) in [(0..8, true), (8..16, false)] {
            let mut fragment = piece(range.start, &datagram[range.clone()], more);
            fragment.id = id;
            bench.push(&fragment, &datagram[range]);
        }
        let (_, waiting) = bench.defragmenter.held();
        assert!(waiting < 100, "{waiting}");
    }
    assert_eq!(bench.segments().len(), 10_000);
}

#[test]
fn cut_packets_that_claim_everything_do_not_cost_everything() {
    let mut bench = Bench::new(&Limits::default());
    for place in 0..4_000 {
        bench.push(&piece(place * 16 + 8, &[0; 8], true), &[0; 8]);
    }
    // Each claims all bytes and brings eight.
    for _ in 0..200 {
        let mut wide = piece(8, &[0; 8], true);
        wide.payload_wire_len = 65_000;
        bench.push(&wide, &[0; 8]);
    }
    assert!(bench.log.has(AnomalyKind::IpFragmentMalformed));
    let (bytes, _) = bench.defragmenter.held();
    assert!(bytes < 1 << 18, "{bytes}");
}

#[test]
fn datagrams_are_given_up_by_the_packet_clock() {
    let limits = Limits::default();
    let datagram = udp(1, 2, &[7; 8]);
    let run = |seconds: &[i64]| {
        let mut bench = Bench::new(&limits);
        bench.push(&piece(0, &datagram[..8], true), &datagram[..8]);
        for second in seconds {
            let mut other = piece(8, &[0; 8], true);
            other.id = 99;
            other.ts_ns += second * 1_000_000_000;
            bench.push(&other, &[0; 8]);
        }
        bench.push(&piece(8, &datagram[8..], false), &datagram[8..]);
        bench.segments().len()
    };
    assert_eq!(run(&[limits.fragment_seconds]), 1);
    // One wild time stamp proves nothing; two in a row do.
    assert_eq!(run(&[1_000_000]), 1);
    assert_eq!(run(&[1_000_000, 1_000_001]), 0);
}

#[test]
fn a_pause_before_a_datagram_does_not_age_it() {
    let datagram = udp(1, 2, &[7; 8]);
    let mut bench = Bench::new(&Limits::default());
    let mut push = |id: u32, second: i64, from: usize, more: bool| {
        let bytes = if more { &datagram[..8] } else { &datagram[8..] };
        let mut fragment = piece(from, bytes, more);
        fragment.id = id;
        fragment.ts_ns += second * 1_000_000_000;
        bench.push(&fragment, bytes);
    };
    push(1, 0, 0, true);
    // An hour later, another one: its second half comes at once.
    push(2, 3_600, 0, true);
    push(2, 3_600, 8, false);
    assert_eq!(bench.segments().len(), 1);
    assert_eq!(bench.kinds(), [AnomalyKind::IpFragmentIncomplete]);
}

#[test]
fn a_wild_clock_holds_nothing_back() {
    let limits = Limits::default();
    let held_after = |wild: &[i64]| {
        let mut bench = Bench::new(&limits);
        let mut push = |id: u32, second: i64| {
            let mut fragment = piece(8, &[0; 8], true);
            fragment.id = id;
            fragment.ts_ns += second * 1_000_000_000;
            bench.push(&fragment, &[0; 8]);
        };
        push(0, 0);
        for (id, second) in (1..).zip(wild) {
            push(id, *second);
        }
        // The first of these are long over when the last arrive.
        for second in 1..200 {
            push(1_000, second);
            push(1_000 + u32::try_from(second).unwrap(), second);
        }
        bench.defragmenter.held().1
    };
    let ordinary = held_after(&[]);
    assert!(ordinary < 70, "{ordinary}");
    for wild in [
        &[1_000_000][..],
        &[1_000_000, 1_000_001],
        &[1_000_000, 1_000_001, 1_000_002, 1_000_003],
    ] {
        let held = held_after(wild);
        assert!(held <= ordinary + wild.len(), "{held} {ordinary}");
    }
}

#[test]
fn a_wild_time_stamp_counts_once_however_deep_its_packet_nests() {
    let datagram = udp(1, 2, &[7; 8]);
    let mut bench = Bench::new(&Limits::default());
    bench.push(&piece(0, &datagram[..8], true), &datagram[..8]);
    // One wild packet that completes a datagram with a fragment inside.
    let inner = on_the_wire(false, &datagram, (0, 8, true))[14..].to_vec();
    let outer = |from: usize, to: usize, second: i64| {
        let mut fragment = piece(from, &inner[from..to], to < inner.len());
        (fragment.protocol, fragment.id) = (4, 8);
        fragment.ts_ns += second * 1_000_000_000;
        fragment
    };
    bench.push(&outer(0, 16, 0), &inner[..16]);
    bench.push(&outer(16, inner.len(), 1_000_000), &inner[16..]);
    bench.push(&piece(8, &datagram[8..], false), &datagram[8..]);
    assert_eq!(bench.segments().len(), 1);
}

#[test]
fn what_the_capture_cut_is_missing_not_made_up() {
    let datagram = udp(1, 2, &[b'a'; 40]);
    let mut bench = Bench::new(&Limits::default());
    let mut first = piece(0, &datagram[..12], true);
    first.payload_wire_len = 24;
    bench.push(&piece(24, &datagram[24..], false), &datagram[24..]);
    bench.push(&first, &datagram[..12]);
    let (segment, payload) = bench.segments()[0];
    assert_eq!(payload, b"aaaa");
    assert_eq!((segment.payload_len, segment.payload_wire_len), (4, 40));
    assert_eq!(bench.kinds(), []);
}

#[test]
fn datagrams_of_different_networks_and_protocols_are_apart() {
    let datagram = udp(1, 2, &[7; 8]);
    let run = |change: fn(&mut Fragment)| {
        let mut bench = Bench::new(&Limits::default());
        bench.push(&piece(0, &datagram[..8], true), &datagram[..8]);
        let mut last = piece(8, &datagram[8..], false);
        change(&mut last);
        bench.push(&last, &datagram[8..]);
        let count = bench.segments().len();
        bench.defragmenter.end(&mut bench.log);
        (count, bench.log.has(AnomalyKind::IpFragmentIncomplete))
    };
    assert_eq!(run(|_| {}), (1, false));
    assert_eq!(run(|last| last.scope = 1), (0, true));
    assert_eq!(run(|last| last.id = 2), (0, true));
    assert_eq!(run(|last| last.protocol = 6), (0, true));
    assert_eq!(run(|last| last.src = DST6), (0, true));
}

#[test]
fn ip_lengths_of_all_fragments_count() {
    let datagram = udp(1, 2, &[7; 24]);
    let mut bench = Bench::new(&Limits::default());
    bench.push(&piece(0, &datagram[..16], true), &datagram[..16]);
    bench.push(&piece(16, &datagram[16..], false), &datagram[16..]);
    let (segment, _) = bench.segments()[0];
    assert_eq!(segment.ip_len, 36 + 36);
    assert_eq!((segment.index, segment.record_offset), (5, 99));
}

#[test]
fn a_tunnel_in_fragments_is_followed() {
    // A fragment of the inner packet in each of two datagrams, themselves in fragments.
    let datagram = udp(1_111, 2_222, &[b'p'; 24]);
    let mut bench = Bench::new(&Limits::default());
    for (id, part) in [(0, (0, 16, true)), (1, (16, 32, false))] {
        let inner = on_the_wire(false, &datagram, part)[14..].to_vec();
        for (range, more) in [(0..24, true), (24..inner.len(), false)] {
            let mut fragment = piece(range.start, &inner[range.clone()], more);
            (fragment.protocol, fragment.id) = (4, id);
            bench.push(&fragment, &inner[range]);
        }
    }
    let (segment, payload) = bench.segments()[0];
    assert_eq!(payload, [b'p'; 24]);
    assert_eq!(segment.bits, Segment::DEFRAGMENTED | Segment::TUNNELED);
    // What the two fragments of the inner packet say, not the tunnel around.
    assert_eq!(segment.ip_len, 36 + 36);
    assert_eq!(bench.kinds(), []);
}

/// Kinds, identifiers and senders of the tunnels around the one segment inside.
#[track_caller]
fn tunnels_of(bench: &Bench, headers: &[u8]) -> Vec<(&'static str, Option<u32>, String)> {
    let all = bench.segments();
    let inner = all
        .iter()
        .find(|(segment, _)| segment.bits & Segment::CARRIES_TUNNEL == 0);
    let (segment, _) = inner.expect("a segment inside");
    let context = bench.datagrams.link_context(LinkType(1), headers, segment);
    assert_eq!(context.src_mac, Some(SRC_MAC));
    let told = |tunnel: &Tunnel| {
        let src = tunnel.src.map(|src| src.to_string()).unwrap_or_default();
        (tunnel.kind, tunnel.id, src)
    };
    context.tunnels.iter().map(told).collect()
}

#[test]
fn tunnels_around_and_inside_fragments_are_told() {
    let around = |tunnel: &[u8], part: (usize, usize, bool)| {
        let header = V4 {
            src: OUTER_SRC,
            dst: OUTER_DST,
            fragment: u16::try_from(part.0 / 8).unwrap() | (u16::from(part.2) << 13),
            ..V4::new(17)
        };
        header.of(&tunnel[part.0..part.1])
    };
    let mut bench = Bench::new(&Limits::default());
    let push = |bench: &mut Bench, frame: &[u8]| {
        let found = careful(&packet(1, frame, frame.len()));
        let fragment = found.fragments[0];
        let from = usize::try_from(fragment.payload_offset - super::tests::DATA_OFFSET).unwrap();
        bench.push(
            &fragment,
            &frame[from..from + fragment.payload_len as usize],
        );
    };
    // VXLAN in a datagram that came in fragments.
    let tunnel = udp(9, 4_789, &vxlan(77, &frame()));
    let mut last = Vec::new();
    for part in split(&tunnel, &[3]) {
        last = ethernet(0x0800, &around(&tunnel, part));
        push(&mut bench, &last);
    }
    let outer = OUTER_SRC.map(|byte| byte.to_string()).join(".");
    assert_eq!(
        tunnels_of(&bench, &last),
        [("vxlan", Some(77), outer.clone())]
    );
    // The same inside another tunnel, whose datagrams came in fragments too.
    let mut bench = Bench::new(&Limits::default());
    for (nth, part) in (0..).zip(split(&tunnel, &[3])) {
        let whole = around(&tunnel, part);
        for (from, to, more) in split(&whole, &[2]) {
            let header = V4 {
                src: SRC,
                dst: DST,
                id: 100 + nth,
                fragment: u16::try_from(from / 8).unwrap() | (u16::from(more) << 13),
                ..V4::new(4)
            };
            last = ethernet(0x0800, &header.of(&whole[from..to]));
            push(&mut bench, &last);
        }
    }
    let sender = SRC.map(|byte| byte.to_string()).join(".");
    assert_eq!(
        tunnels_of(&bench, &last),
        [("ipip", None, sender), ("vxlan", Some(77), outer)]
    );
}

#[test]
fn what_is_wrong_inside_a_datagram_is_told_with_its_packet() {
    // TCP of ten bytes.
    let mut bench = Bench::new(&Limits::default());
    for (range, more) in [(0..8, true), (8..10, false)] {
        let mut fragment = piece(range.start, &[0; 10][range.clone()], more);
        fragment.protocol = 6;
        bench.push(&fragment, &[0; 10][range]);
    }
    let mut log = AnomalyLog::default();
    bench.out.oddities.report(2, 40, &mut log);
    let [row] = log.rows() else { panic!("{log:?}") };
    assert_eq!(row.kind, AnomalyKind::TransportMalformed);
    assert_eq!(
        (row.first.capture, row.first.frame, row.first.offset),
        (2, 46, 99)
    );
    assert_eq!((row.count, bench.out.counters.malformed), (1, 1));
}

#[test]
fn datagrams_in_datagrams_end() {
    // Every first half begins with a fragment header for the next datagram:
    // completing one completes the next. Unbounded, this is a stack overflow.
    let mut bench = Bench::new(&Limits::default());
    let chained = |next: u32| {
        let mut header = vec![44, 0, 0, 16];
        header.extend(next.to_be_bytes());
        header.extend([0; 8]);
        header
    };
    let levels = 20_000_u32;
    for id in 1..levels {
        let first = chained(id + 1);
        let mut fragment = piece(0, &first, true);
        (fragment.id, fragment.ip_version, fragment.protocol) = (id, 6, 44);
        bench.push(&fragment, &first);
    }
    let mut last = piece(16, &[0; 8], false);
    (last.id, last.ip_version, last.protocol) = (1, 6, 44);
    bench.push(&last, &[0; 8]);
    assert_eq!(bench.out.counters.of(Undecoded::TooDeep), 1);
    assert!(bench.datagrams.len() < 10_000);
}
