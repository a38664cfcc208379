//! NS-04 through the whole pipeline: captures made here packet by packet, so
//! that every byte and second of them is known, in one file or two, across
//! midnight.

use crate::runs::{self, How, Row, number, text};
use nsforensics_engine::finding::VerdictKind;
use nsforensics_engine::policy::Policy;
use std::path::PathBuf;

/// Midnight, UTC.
const MIDNIGHT: u64 = 19_675 * 86_400;

/// A capture that is being made: pcap, Ethernet, microseconds.
pub struct Capture {
    packets: Vec<(u64, Vec<u8>)>,
    next_port: u16,
}

impl Capture {
    pub fn new() -> Self {
        Self::from_port(20_000)
    }

    /// Whose clients take their ports from here on.
    fn from_port(next_port: u16) -> Self {
        Self {
            packets: Vec::new(),
            next_port,
        }
    }

    fn packet(&mut self, at_us: u64, ip_proto: u8, ends: ([u8; 4], [u8; 4]), transport: &[u8]) {
        let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
        let len = u16::try_from(20 + transport.len()).expect("a packet");
        let mut ip = vec![0x45, 0];
        ip.extend(len.to_be_bytes());
        ip.extend([0, 0, 0x40, 0, 64, ip_proto, 0, 0]);
        ip.extend(ends.0);
        ip.extend(ends.1);
        let sum: u32 = ip
            .chunks(2)
            .map(|two| u32::from(two[0]) << 8 | u32::from(two[1]))
            .sum();
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum =
            !(u16::try_from(sum & 0xffff).unwrap_or(0) + u16::try_from(sum >> 16).unwrap_or(0));
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        frame.extend(ip);
        frame.extend(transport);
        self.packets.push((at_us, frame));
    }

    /// A connection of 10.0.0.5 to port `port` of 198.51.100.`host` that sends
    /// `up` and gets `down`, a millisecond from packet to packet.
    pub fn connection(&mut self, at: u64, host: u8, port: u16, up: &[u8], down: &[u8]) {
        let (client, server) = ([10, 0, 0, 5], [198, 51, 100, host]);
        self.next_port += 1;
        let own = self.next_port;
        let mut now = at * 1_000_000;
        let mut send =
            |this: &mut Self, from_client: bool, seq: u32, ack: u32, flags: u8, data: &[u8]| {
                let (from, to) = if from_client {
                    (own, port)
                } else {
                    (port, own)
                };
                let mut tcp = Vec::new();
                tcp.extend(from.to_be_bytes());
                tcp.extend(to.to_be_bytes());
                tcp.extend(seq.to_be_bytes());
                tcp.extend(ack.to_be_bytes());
                tcp.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
                tcp.extend(data);
                let ends = if from_client {
                    (client, server)
                } else {
                    (server, client)
                };
                this.packet(now, 6, ends, &tcp);
                now += 1_000;
            };
        let (mut seq, mut ack) = (1_000_u32, 5_000_u32);
        send(self, true, seq, 0, 0x02, &[]);
        seq += 1;
        send(self, false, ack, seq, 0x12, &[]);
        ack += 1;
        send(self, true, seq, ack, 0x10, &[]);
        for piece in up.chunks(1_400) {
            send(self, true, seq, ack, 0x18, piece);
            seq += u32::try_from(piece.len()).expect("a piece");
        }
        for piece in down.chunks(1_400) {
            send(self, false, ack, seq, 0x18, piece);
            ack += u32::try_from(piece.len()).expect("a piece");
        }
        send(self, true, seq, ack, 0x11, &[]);
        send(self, false, ack, seq + 1, 0x11, &[]);
        send(self, true, seq + 1, ack + 1, 0x10, &[]);
    }

    /// A POST of `body`, answered 200.
    fn post(&mut self, at: u64, host: u8, media_type: &str, body: &[u8]) {
        let mut request = format!(
            "POST /up HTTP/1.1\r\nHost: up{host}.example\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend(body);
        self.connection(
            at,
            host,
            80,
            &request,
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        );
    }

    /// A DNS question for a name, with the answer NXDOMAIN.
    fn question(&mut self, at: u64, name: &str) {
        self.next_port += 1;
        for (is_answer, flags) in [(false, [1, 0]), (true, [0x81, 0x83])] {
            let mut dns = vec![0, 7, flags[0], flags[1], 0, 1, 0, 0, 0, 0, 0, 0];
            for label in name.split('.') {
                dns.push(u8::try_from(label.len()).expect("a label"));
                dns.extend(label.as_bytes());
            }
            dns.extend([0, 0, 1, 0, 1]);
            let (client, server) = ([10, 0, 0, 5], [10, 0, 0, 53]);
            let mut udp = Vec::new();
            let ports = if is_answer {
                (53, self.next_port)
            } else {
                (self.next_port, 53)
            };
            udp.extend(ports.0.to_be_bytes());
            udp.extend(ports.1.to_be_bytes());
            udp.extend(
                u16::try_from(8 + dns.len())
                    .expect("a datagram")
                    .to_be_bytes(),
            );
            udp.extend([0, 0]);
            udp.extend(&dns);
            let ends = if is_answer {
                (server, client)
            } else {
                (client, server)
            };
            self.packet(at * 1_000_000 + u64::from(is_answer), 17, ends, &udp);
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut packets: Vec<_> = self.packets.iter().collect();
        packets.sort_by_key(|(at, _)| *at);
        let mut out = Vec::new();
        out.extend(0xa1b2_c3d4_u32.to_le_bytes());
        for (number, len) in [(2_u32, 2), (4, 2), (0, 4), (0, 4), (65_535, 4), (1, 4)] {
            out.extend(number.to_le_bytes().iter().take(len));
        }
        for (at, frame) in packets {
            let len = u32::try_from(frame.len()).expect("a frame");
            let seconds = u32::try_from(at / 1_000_000).expect("a time");
            let micros = u32::try_from(at % 1_000_000).expect("a part");
            for word in [seconds, micros, len, len] {
                out.extend(word.to_le_bytes());
            }
            out.extend(frame);
        }
        out
    }
}

/// What a run over these captures found by one check.
fn found(captures: &[Capture], policy: &str, check: &str) -> Vec<Row> {
    let place = tempfile::tempdir().expect("a folder");
    let paths: Vec<PathBuf> = captures
        .iter()
        .enumerate()
        .map(|(number, capture)| {
            let path = place.path().join(format!("{number}.pcap"));
            std::fs::write(&path, capture.bytes()).expect("writable");
            path
        })
        .collect();
    let how = How {
        policy: Policy::from_yaml(&format!("monitoring:\n  network:\n{policy}"), "test")
            .expect("a policy"),
        ..How::default()
    };
    let report = runs::run_all(&paths, &place.path().join("out"), &how).expect("a run");
    let id = format!("NS-04.{check}");
    let rows: Vec<_> = runs::table(&report.folder, "findings")
        .into_iter()
        .filter(|row| text(row, "check_id") == id)
        .collect();
    let verdict = report
        .verdicts
        .iter()
        .find(|verdict| verdict.check_id.as_deref() == Some(&id))
        .expect("a verdict");
    // Too little to be judged is not observed, and no failure either.
    let fails = verdict.verdict == VerdictKind::Fail;
    assert_eq!(fails, !rows.is_empty(), "{id}: {}", verdict.reason);
    rows
}

const KIB: usize = 1 << 10;

#[test]
fn volume_slides_over_two_files_and_midnight() {
    let hourly =
        "    volume:\n      alert_thresholds: {hourly_total_mb: 0.25, daily_total_mb: 0.5}\n";
    let part = |bytes| vec![b'x'; bytes];
    // 128 KiB before midnight in one file, as much after it in the next.
    let pair = |gap: u64, more: usize| {
        let (mut before, mut after) = (Capture::new(), Capture::from_port(30_000));
        before.connection(MIDNIGHT - 30, 7, 9_999, &part(128 * KIB), b"ok");
        after.connection(
            MIDNIGHT - 30 + gap,
            7,
            9_999,
            &part(128 * KIB + more),
            b"ok",
        );
        [before, after]
    };
    assert!(found(&pair(60, 0), hourly, "volume_hourly").is_empty());
    let rows = found(&pair(60, 1), hourly, "volume_hourly");
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["observed"].as_f64(), Some(262_145.0));
    assert_eq!(number(&rows[0], "flow_count"), Some(2));
    assert!(found(&pair(3_700, 1), hourly, "volume_hourly").is_empty());
    assert!(found(&pair(3_700, 0), hourly, "volume_daily").is_empty());
    let day = "    volume:\n      alert_thresholds: {hourly_total_mb: 9, daily_total_mb: 0.25}\n";
    assert_eq!(found(&pair(80_000, 1), day, "volume_daily").len(), 1);
    assert!(found(&pair(80_000, 0), day, "volume_daily").is_empty());
    assert!(found(&pair(86_500, 1), day, "volume_daily").is_empty());
    let single = "    volume:\n      alert_thresholds: {single_request_mb: 0.125}\n";
    let rows = found(&pair(60, 1), single, "volume_single_request");
    assert_eq!(rows[0]["observed"].as_f64(), Some((128 * KIB + 1) as f64));
    assert!(found(&pair(60, 0), single, "volume_single_request").is_empty());
}

#[test]
fn beacons_go_on_in_the_next_file() {
    let make = |count: u64| {
        let (mut before, mut after) = (Capture::new(), Capture::from_port(30_000));
        for i in 0..count {
            let file = if i < count / 2 {
                &mut before
            } else {
                &mut after
            };
            file.connection(
                MIDNIGHT - 1_500 + i * 300,
                9,
                443,
                b"hello",
                b"nothing to do",
            );
        }
        [before, after]
    };
    let rows = found(&make(10), "    enabled: true\n", "periodic_beaconing");
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["baseline"], true);
    assert_eq!(rows[0]["interval_seconds"].as_f64(), Some(300.0));
    assert_eq!(rows[0]["cv"].as_f64(), Some(0.0));
    assert_eq!(
        rows[0]["evidence_frames"].as_array().map(Vec::len),
        Some(10)
    );
    let rows = found(&make(9), "    enabled: true\n", "periodic_beaconing");
    assert!(rows.iter().all(|row| row["baseline"] == false), "{rows:?}");
}

#[test]
fn base64_is_found_as_it_travels() {
    let noise = |len: usize| -> Vec<u8> {
        (0..len as u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 11 & 255) as u8)
            .collect()
    };
    let encoded = |characters: usize| -> String {
        const DIGITS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        noise(characters)
            .iter()
            .map(|byte| char::from(DIGITS[usize::from(byte & 63)]))
            .collect()
    };
    let one = |media_type: &str, body: String| {
        let mut capture = Capture::new();
        capture.post(MIDNIGHT, 7, media_type, body.as_bytes());
        found(&[capture], "    enabled: true\n", "base64_exfiltration")
    };
    let json = |text: &str| format!("{{\"data\":\"{text}\"}}");
    assert!(one("application/json", json(&encoded(51_199))).is_empty());
    let rows = one("application/json", json(&encoded(51_200)));
    assert_eq!(rows[0]["observed"].as_f64(), Some(51_200.0));
    let wrapped: Vec<String> = encoded(51_200)
        .as_bytes()
        .chunks(64)
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect();
    assert_eq!(one("text/plain", wrapped.join("\r\n")).len(), 1);
    let url_safe = encoded(51_200).replace('+', "-").replace('/', "_");
    assert_eq!(
        one("application/x-www-form-urlencoded", format!("d={url_safe}")).len(),
        1
    );
}

#[test]
fn entropy_is_judged_where_nothing_declares_it() {
    let mut state = 1_u64;
    let random: Vec<u8> = (0..8 * KIB)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect();
    let check = |make: &dyn Fn(&mut Capture)| {
        let mut capture = Capture::new();
        make(&mut capture);
        found(&[capture], "    enabled: true\n", "high_entropy_payload")
    };
    // Of a protocol that nobody knows; a first byte that no protocol begins with.
    let unknown = |from: &[u8]| [&[0xee, 0xee, 0xee, 0xee], from].concat();
    let rows = check(&|capture| capture.connection(MIDNIGHT, 7, 9_999, &unknown(&random), b"ok"));
    assert_eq!(rows.len(), 1);
    assert_eq!(text(&rows[0], "detail"), "sent");
    let plain = vec![b'a'; 8 * KIB];
    assert!(
        check(&|capture| capture.connection(MIDNIGHT, 7, 9_999, &unknown(&plain), b"ok"))
            .is_empty()
    );
    let octets = "application/octet-stream";
    assert_eq!(
        check(&|capture| capture.post(MIDNIGHT, 7, octets, &random)).len(),
        1
    );
    assert!(check(&|capture| capture.post(MIDNIGHT, 7, "image/png", &random)).is_empty());
}

#[test]
fn long_names_are_found_by_their_length() {
    let name = |len: usize| {
        let rest = len - ".t.example".len();
        let (head, tail) = (rest / 2, rest - rest / 2 - 1);
        format!("{}.{}.t.example", "a".repeat(head), "b".repeat(tail))
    };
    let one = |len: usize, policy: &str| {
        let mut capture = Capture::new();
        capture.question(MIDNIGHT, &name(len));
        assert_eq!(name(len).len(), len);
        found(&[capture], policy, "dns_tunneling")
    };
    assert!(one(50, "    enabled: true\n").is_empty());
    let rows = one(51, "    enabled: true\n");
    assert_eq!(rows[0]["observed"].as_f64(), Some(51.0));
    assert_eq!(text(&rows[0], "detail"), "t.example");
    let wider = "    patterns:\n      exfiltration:\n        - {pattern: dns_tunneling, query_length_threshold: 60}\n";
    assert!(one(60, wider).is_empty());
    assert_eq!(one(61, wider).len(), 1);
}

#[test]
fn destinations_off_the_allowlist_are_named_by_what_they_said() {
    let make = || {
        let mut capture = Capture::new();
        capture.post(MIDNIGHT, 7, "text/plain", b"hello");
        capture.post(MIDNIGHT + 1, 8, "text/plain", b"hello");
        capture.connection(MIDNIGHT + 2, 9, 9_999, b"hello", b"hello");
        [capture]
    };
    let list = "    destinations:\n      allowlist: [\"up7.example\", \"198.51.100.9\"]\n";
    let rows = found(&make(), list, "unknown_destination");
    let names: Vec<_> = rows.iter().map(|row| text(row, "destination")).collect();
    assert_eq!(names, ["up8.example"]);
    let wider = "    destinations:\n      allowlist: [\"*.example\", \"198.51.100.9\"]\n";
    assert!(found(&make(), wider, "unknown_destination").is_empty());
}
