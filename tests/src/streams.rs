//! Reassembled TCP streams, byte for byte, against the streams that tshark
//! follows in the public captures.

use crate::public::{self, list, number, text};
use nsforensics_engine::anomaly::AnomalyLog;
use nsforensics_engine::capture::{Options, discover};
use nsforensics_engine::decode::{Datagrams, Decoded, Defragmenter, LinkContext, Segment};
use nsforensics_engine::evidence::PacketRef;
use nsforensics_engine::flow::{Content, Ended, Place, Shard};
use nsforensics_engine::policy::Limits;
use nsforensics_engine::proto::{Cx, Direction, Want};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;

/// Hashes what both directions said.
#[derive(Default)]
struct Hashes {
    hash: [Sha256; 2],
    len: [u64; 2],
    gap: bool,
}

/// Lengths, hashes, and whether bytes are missing.
#[derive(Default)]
struct Said {
    sides: [(u64, String); 2],
    gap: bool,
}

impl Content for Hashes {
    type Facts = Said;

    fn data(&mut self, _: &mut Cx<'_>, direction: Direction, bytes: &[u8]) -> Want {
        self.hash[direction.index()].update(bytes);
        self.len[direction.index()] += bytes.len() as u64;
        Want::Bytes
    }

    fn gap(&mut self, _: &mut Cx<'_>, _: Direction, _: u64) -> Want {
        self.gap = true;
        Want::Bytes
    }

    fn skipped(&mut self, _: Direction, _: u64) {}

    fn datagram(&mut self, _: &mut Cx<'_>, _: Direction, _: &[u8]) -> Want {
        Want::Nothing
    }

    fn heap_bytes(&self) -> usize {
        0
    }

    fn end(self, _: &mut Cx<'_>) -> Said {
        let hex = |hash: Sha256| {
            hash.finalize()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect()
        };
        let [a, b] = self.hash;
        Said {
            sides: [(self.len[0], hex(a)), (self.len[1], hex(b))],
            gap: self.gap,
        }
    }
}

/// Every TCP flow of a capture, in the order of their first packets.
fn follow(path: &Path) -> Vec<Ended<Said>> {
    let limits = Limits::default();
    let mut found = discover(&[path.to_owned()], &Options::default());
    let Some(mut file) = found.files.pop() else {
        return Vec::new();
    };
    let mut shard = Shard::<Hashes>::new(&Limits {
        max_flows: 1 << 24,
        ..limits.clone()
    });
    let mut defragmenter = Defragmenter::new(&limits);
    let mut datagrams = Datagrams::default();
    let (mut carried, mut log) = (Decoded::new(), AnomalyLog::default());
    let mut frames = 0;
    while let Some(batch) = file.next_batch().expect("the capture stays readable") {
        let mut end = batch.start();
        for chunk in batch.chunks() {
            let mut decoded = Decoded::new();
            let walked = chunk.walk_from(end, |packet| decoded.packet(&packet, &limits));
            end = walked.end;
            let at = |index: u32, offset| PacketRef {
                capture: 0,
                frame: frames + u64::from(index) + 1,
                offset,
            };
            datagrams.clear();
            for fragment in &decoded.fragments {
                let bytes = batch.bytes(fragment.payload_offset, fragment.payload_len as usize);
                defragmenter.push(
                    fragment,
                    at(fragment.index, fragment.record_offset),
                    bytes.unwrap_or_default(),
                    &mut datagrams,
                    &mut carried,
                    &mut log,
                );
            }
            let mut segments: Vec<Segment> = decoded.shards.concat();
            segments.extend(carried.shards.iter().flatten());
            carried.clear();
            segments.sort_by_key(|segment| segment.index);
            for segment in segments.iter().filter(|segment| segment.protocol == 6) {
                let len = segment.payload_len as usize;
                let payload = if segment.bits & Segment::DEFRAGMENTED != 0 {
                    datagrams.bytes(segment.payload_offset, len)
                } else {
                    batch.bytes(segment.payload_offset, len)
                };
                let place = Place {
                    packet: at(segment.index, segment.record_offset),
                    global: frames + u64::from(segment.index),
                };
                let payload = payload.expect("a segment's payload is in its batch");
                shard.segment(&limits, segment, place, payload, LinkContext::default);
            }
            frames += walked.packets;
            file.accept(&walked);
        }
        file.advance(end);
    }
    shard.finish(&limits);
    shard.ended.sort_by_key(|flow| flow.record.first);
    shard.ended
}

type Ends = [(String, u64); 2];

/// Both ends, the lower one first, and whether `a` is it.
fn ends(a: (String, u64), b: (String, u64)) -> (Ends, bool) {
    if a <= b {
        ([a, b], true)
    } else {
        ([b, a], false)
    }
}

fn endpoint(value: &Value, key: &str) -> (String, u64) {
    let ends = list(value, key);
    let addr = ends.first().and_then(Value::as_str).unwrap_or_default();
    (
        addr.to_owned(),
        ends.get(1).and_then(Value::as_u64).unwrap_or_default(),
    )
}

/// Streams that differ, each with the reason. (expected: tshark; actual: ours)
const EXPLAINED: &[(&str, u64, &str)] = &[
    (
        "broken/suricata-verify/bug-1450-05/tls_DER-incomplete-content.pcap",
        0,
        AFTER_DAMAGE,
    ),
    (
        "broken/suricata-verify/smtp-to-comma/10.7.29.101_49898-178.63.41.150_25.pcap",
        0,
        AFTER_DAMAGE,
    ),
    (
        "encap/suricata-verify/tcp-protodetect-bailout/input.pcap",
        0,
        BEHIND_A_GAP,
    ),
    (
        "encap/suricata-verify/tcp-rst-unacked-stream-04-gap-ips/input.pcap",
        0,
        RESET_DATA,
    ),
    (
        "fragments/zeek/tunnels/gtp/gtp9_unknown_or_too_short_payload.pcap",
        0,
        BEHIND_A_GAP,
    ),
    (
        "malware_c2/zeek/contentline/contentline-irc-5k-line.pcap",
        0,
        MARKS,
    ),
    (
        "tcp_reassembly/arkime/tcp-reassembly-synthetic.pcap",
        4,
        MARKS,
    ),
    (
        "tcp_reassembly/suricata-verify/dcerpc/dce-gap-handling/input.pcap",
        0,
        MARKS,
    ),
    (
        "tcp_reassembly/suricata-verify/http-pipeline-files-with-gap/input.pcap",
        0,
        MARKS,
    ),
    (
        "tcp_reassembly/suricata-verify/tcp-rst-unacked-stream-09/TLPW1-tcp-110.37.219.134-10.12.14.101-tcp-990-49230.pcap",
        0,
        BEHIND_A_GAP,
    ),
    (
        "tcp_reassembly/suricata-verify/tcp-rst-unacked-stream-11/TLPW1-tcp-47.32.209.86-10.11.23.101-tcp-80-49470.pcap",
        0,
        BEHIND_A_GAP,
    ),
    (
        "tcp_reassembly/suricata-verify/tcp-rst-unacked-stream-12/TLPW1-tcp-110.37.219.134-10.12.14.101-tcp-990-49254.pcap",
        0,
        BEHIND_A_GAP,
    ),
    ("tcp_reassembly/tcpdump/tcp_rst_data.pcap", 0, RESET_DATA),
    (
        "tcp_reassembly/zeek/http/content-range-gap-skip.pcap",
        0,
        MARKS,
    ),
    (
        "tcp_reassembly/zeek/http/zero-length-bodies-with-drops.pcap",
        0,
        MARKS,
    ),
    ("tls/brimcap/oneflow.pcap", 0, MARKS),
    ("tls/nDPI/default/heuristic_tcp_ack_payload.pcap", 0, MARKS),
    (
        "tls/nDPI/default/heuristic_tcp_ack_payload.pcap",
        3,
        RESET_DATA,
    ),
    ("tls/nDPI/default/tls_missing_ch_frag.pcap", 0, MARKS),
    (
        "tls/suricata-verify/mqtt-events-missing-connect/input.pcap",
        2,
        MARKS,
    ),
    (
        "tls/suricata-verify/tls/tls-bypass-missing-event/tor_bl.pcap",
        1,
        MARKS,
    ),
];

const AFTER_DAMAGE: &str = "tshark stops at the damaged record; packets behind it are read here";
const BEHIND_A_GAP: &str = "tshark leaves out text behind a gap";
const MARKS: &str = "tshark writes `[n bytes missing in capture file]` into the text";
const RESET_DATA: &str = "tshark shows the text of a reset (RFC 9293 §3.5.3) as the stream's";

#[test]
fn streams_are_those_that_tshark_follows() {
    let Some(folder) = public::folder("streams_are_those_that_tshark_follows") else {
        return;
    };
    let (mut same, mut differ) = (0_u64, Vec::new());
    for capture in public::truth(&folder) {
        let follows = list(&capture, "follow");
        if follows
            .iter()
            .all(|follow| follow.get("gap") == Some(&Value::Bool(true)))
        {
            continue;
        }
        let path = text(&capture, "path");
        let mut ours: BTreeMap<Ends, Vec<(bool, Said)>> = BTreeMap::new();
        for flow in follow(&folder.join(path)) {
            let row = &flow.record;
            let (key, orig_is_low) = ends(
                (row.src.to_string(), u64::from(row.src_port)),
                (row.dst.to_string(), u64::from(row.dst_port)),
            );
            ours.entry(key).or_default().push((orig_is_low, flow.facts));
        }
        // Streams of equal ends are told apart by their order.
        let mut nth: BTreeMap<Ends, usize> = BTreeMap::new();
        for stream in list(&capture, "tcp") {
            let id = number(stream, "id");
            let (key, a_is_low) = ends(endpoint(stream, "a"), endpoint(stream, "b"));
            let index = nth.entry(key.clone()).or_default();
            let flow = ours.get(&key).and_then(|flows| flows.get(*index));
            *index += 1;
            let Some(expected) = follows.iter().find(|follow| number(follow, "stream") == id)
            else {
                continue;
            };
            if expected.get("gap") == Some(&Value::Bool(true)) {
                continue;
            }
            let said = flow.map(|(orig_is_low, said)| {
                let [orig, resp] = &said.sides;
                if *orig_is_low == a_is_low {
                    (orig, resp)
                } else {
                    (resp, orig)
                }
            });
            let a = (
                number(expected, "a_len"),
                text(expected, "a_sha256").to_owned(),
            );
            let b = (
                number(expected, "b_len"),
                text(expected, "b_sha256").to_owned(),
            );
            let empty = (0, hex_of_nothing());
            let said = said.map(|(a, b)| {
                let or_empty = |side: &(u64, String)| {
                    if side.0 == 0 {
                        empty.clone()
                    } else {
                        side.clone()
                    }
                };
                (or_empty(a), or_empty(b))
            });
            // Which end `a` is differs from the same file's packet counts now
            // and then (IPv6 above all); the text says it just as well.
            let turned = said == Some((b.clone(), a.clone()));
            if turned || said == Some((a.clone(), b.clone())) {
                same += 1;
            } else if !EXPLAINED
                .iter()
                .any(|(p, stream, _)| *p == path && *stream == id)
            {
                let gap = flow.is_some_and(|(_, said)| said.gap);
                let got = said.map(|(a, b)| (a.0, b.0));
                differ.push(format!(
                    "{path} stream {id}: expected {:?}, got {got:?}{}",
                    (a.0, b.0),
                    if gap { " with a gap" } else { "" },
                ));
            }
        }
    }
    println!(
        "{same} streams equal, {} differ, {} explained",
        differ.len(),
        EXPLAINED.len()
    );
    assert!(differ.is_empty(), "{}", differ.join("\n"));
    assert!(same > 0, "no stream was compared");
}

fn hex_of_nothing() -> String {
    Sha256::digest([])
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
