//! A flood of forged OCSP responses in front of the true one, over plain HTTP
//! as anybody on the path can send them: it hides nothing while there is room,
//! and where there is none any more that is said.

use crate::runs::{self, How, number, text};
use std::path::Path;

/// Records of a little-endian pcap: seconds, and the packet.
fn records(file: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let mut rest = &file[24..];
    let mut found = Vec::new();
    while rest.len() >= 16 {
        let word = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().expect("four bytes"));
        let (seconds, len) = (word(0), word(8) as usize);
        found.push((seconds, rest[16..16 + len].to_vec()));
        rest = &rest[16 + len..];
    }
    found
}

/// One TCP connection between two made-up hosts.
struct Wire {
    out: Vec<u8>,
    seconds: u32,
    micros: u32,
    sequence: [u32; 2],
}

impl Wire {
    fn send(&mut self, from: usize, flags: u8, payload: &[u8]) {
        let to = 1 - from;
        let (hosts, ports) = ([[10, 0, 0, 1], [10, 0, 0, 2]], [40_000_u16, 80]);
        let mut ip = vec![0x45, 0];
        ip.extend(
            u16::try_from(40 + payload.len())
                .expect("short")
                .to_be_bytes(),
        );
        ip.extend([0, 1, 0x40, 0, 64, 6, 0, 0]);
        ip.extend(hosts[from]);
        ip.extend(hosts[to]);
        let words = ip
            .chunks(2)
            .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
        let mut sum: u32 = words.sum();
        sum = (sum >> 16) + (sum & 0xffff);
        sum = (sum >> 16) + (sum & 0xffff);
        ip[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
        let acknowledged = if flags & 16 == 0 {
            0
        } else {
            self.sequence[to]
        };
        let mut packet = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
        packet.extend(ip);
        packet.extend(ports[from].to_be_bytes());
        packet.extend(ports[to].to_be_bytes());
        packet.extend(self.sequence[from].to_be_bytes());
        packet.extend(acknowledged.to_be_bytes());
        packet.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        packet.extend(payload);
        self.micros += 1_000;
        let len = u32::try_from(packet.len()).expect("short");
        for word in [self.seconds, self.micros, len, len] {
            self.out.extend(word.to_le_bytes());
        }
        self.out.extend(packet);
        let counted = payload.len() + usize::from(flags & 3 != 0);
        self.sequence[from] += u32::try_from(counted).expect("short");
    }
}

/// The sample with so many forged responses in front.
fn flooded(sample: &[u8], forged: u16) -> Vec<u8> {
    let records = records(sample);
    // The answer's body came in a packet of its own, behind 66 bytes of headers.
    let body = records
        .iter()
        .filter_map(|(_, packet)| packet.get(66..))
        .find(|body| body.len() == 309 && body.starts_with(&[0x30, 0x82]))
        .expect("the response is in the sample");
    let mut wire = Wire {
        out: sample[..24].to_vec(),
        seconds: records[0].0 - 10,
        micros: 0,
        sequence: [1_000, 5_000],
    };
    wire.send(0, 2, b"");
    wire.send(1, 18, b"");
    wire.send(0, 16, b"");
    for number in 1..=forged {
        let mut forged = body.to_vec();
        let place = forged.len() - 40;
        for (at, byte) in number.to_be_bytes().into_iter().enumerate() {
            forged[place + at] ^= byte;
        }
        let ask = format!("GET /{number} HTTP/1.1\r\nHost: ocsp.example\r\n\r\n");
        wire.send(0, 24, ask.as_bytes());
        let mut answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/ocsp-response\r\n\
                           Content-Length: 309\r\n\r\n"
            .to_vec();
        answer.extend(forged);
        wire.send(1, 24, &answer);
    }
    wire.send(0, 17, b"");
    wire.send(1, 17, b"");
    wire.send(0, 16, b"");
    wire.out.extend(&sample[24..]);
    wire.out
}

#[test]
fn forged_responses_do_not_hide_that_a_certificate_was_revoked() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/certificates");
    let sample = std::fs::read(samples.join("fetched-response.pcap")).expect("the sample");
    let how = How {
        roots: Some(samples.join("root.pem")),
        ..How::default()
    };
    for (forged, revoked) in [(0, true), (16, true), (255, true), (256, false)] {
        let out = tempfile::tempdir().expect("a temporary folder");
        let capture = out.path().join("flood.pcap");
        std::fs::write(&capture, flooded(&sample, forged)).expect("written");
        let report = runs::run(&capture, &out.path().join("out"), &how).expect("a report");
        let rows = runs::table(&report.folder, "tls_handshakes");
        let status = text(&rows[0], "ocsp_status");
        assert_eq!(status, if revoked { "revoked" } else { "" }, "{forged}");
        let checks = rows[0]["checks"].as_array().expect("a list");
        let check = checks
            .iter()
            .find(|check| check["check_id"] == "NS-02.revocation")
            .expect("judged");
        let expected = if revoked { "failed" } else { "not_observed" };
        assert_eq!(check["outcome"], expected, "{forged}: {check}");
        let reason = check["reason"].as_str().unwrap_or_default();
        assert_eq!(reason.contains("left out"), !revoked, "{forged}: {reason}");
        let anomalies = runs::table(&report.folder, "anomalies");
        let left_out: Vec<i64> = anomalies
            .iter()
            .filter(|row| text(row, "kind") == "limit_evicted")
            .filter(|row| text(row, "detail").contains("OCSP"))
            .filter_map(|row| number(row, "count"))
            .collect();
        let expected: &[i64] = if revoked { &[] } else { &[1] };
        assert_eq!(left_out, expected, "{forged}");
    }
}
