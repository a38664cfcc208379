//! Connections of one kind, many at a time, packet by packet in a mixed order, until the capture
//! has its size. Those open by then run to their end, so that every flow is whole.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write};
use std::ops::Range;
use std::str::FromStr;

use crate::tls::{self, LEAVES, RECORD, Variant};
use crate::wire::{ACK, Endpoint, FIN, PSH, PcapWriter, Random, SYN, Tcp};

/// First second of every capture: 2026-12-01, within the certificates' validity.
const START_S: u64 = 1_796_083_200;
/// Data in a full segment: an Ethernet frame less IPv4, TCP and time stamps.
const SEGMENT: usize = 1448;
/// Bytes of noise that stand in for encrypted data.
const NOISE: usize = 1 << 20;
/// Names that the small HTTPS connections ask for.
const NAMES: u64 = 200;

/// What kind of traffic a capture holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Six large TLS flows at once.
    Bulk,
    /// Many HTTPS connections of about 20 KB.
    Https,
    /// DNS look-ups and TCP flows without data.
    Small,
    /// Calls of an API over plaintext HTTP, dozens on a connection.
    Http,
    /// Large bodies over plaintext HTTP, both ways.
    HttpBulk,
}

impl Kind {
    /// All kinds, in the order of the report.
    pub const ALL: [Self; 5] = [
        Self::Bulk,
        Self::Https,
        Self::Small,
        Self::Http,
        Self::HttpBulk,
    ];

    /// Usual size of such a capture, in MB (10^6 bytes).
    pub fn default_mb(self) -> u64 {
        match self {
            Self::Bulk | Self::HttpBulk => 1024,
            Self::Https | Self::Http => 512,
            Self::Small => 256,
        }
    }

    /// Connections open at a time.
    fn slots(self) -> usize {
        match self {
            Self::Bulk | Self::HttpBulk => 6,
            // Each carries some 300 kB: what is open at the end runs over the size asked for.
            Self::Http => 64,
            Self::Https => 600,
            Self::Small => 2000,
        }
    }

    /// Speed of the line. Small packets come at some 6,500 a second, so that the look-ups within
    /// a UDP time-out are tens of thousands, as at a busy resolver, and not the whole capture.
    fn bits_per_second(self) -> u64 {
        match self {
            Self::Bulk | Self::HttpBulk => 1_000_000_000,
            Self::Https | Self::Http => 250_000_000,
            Self::Small => 6_000_000,
        }
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.to_string() == text)
            .ok_or_else(|| format!("{text}: not one of bulk, https, small, http, http-bulk"))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Bulk => "bulk",
            Self::Https => "https",
            Self::Small => "small",
            Self::Http => "http",
            Self::HttpBulk => "http-bulk",
        })
    }
}

/// What a written capture holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Bytes of the file.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
    /// Connections and look-ups.
    pub flows: u64,
}

/// Writes a capture of about `size` bytes; the same bytes for the same arguments.
pub fn generate<W: Write>(kind: Kind, size: u64, output: W) -> io::Result<Written> {
    let mut writer = PcapWriter::new(output, START_S, kind.bits_per_second())?;
    let mut random = Random::new(kind as u64);
    let mut noise = vec![0; NOISE + 2 * RECORD];
    random.fill(&mut noise);
    let mut flows = 0;
    let mut open: Vec<Connection> = Vec::with_capacity(kind.slots());
    loop {
        while open.len() < kind.slots() && writer.written() < size {
            if matches!(kind, Kind::Bulk | Kind::HttpBulk) && flows >= kind.slots() as u64 {
                break;
            }
            open.push(Connection::open(kind, flows, size, &noise));
            flows += 1;
        }
        if open.is_empty() {
            break;
        }
        let chosen = random.below(open.len() as u64) as usize;
        // A few packets of one connection come together, as they do from a sender's queue.
        let burst = 1 + random.below(3);
        for _ in 0..burst {
            if !open[chosen].step(&mut writer, &noise)? {
                open.swap_remove(chosen);
                break;
            }
        }
    }
    writer.flush()?;
    Ok(Written {
        bytes: writer.written(),
        packets: writer.packets(),
        flows,
    })
}

/// A packet still to be sent.
#[derive(Debug)]
struct Step {
    from_server: bool,
    flags: u8,
    data: Range<usize>,
}

/// One connection, or one look-up: what is still to be sent.
#[derive(Debug)]
struct Connection {
    kind: Kind,
    is_udp: bool,
    /// Client and server.
    ends: [Endpoint; 2],
    /// Next number of each side.
    sequences: [u32; 2],
    /// What each side sends; steps point into it.
    streams: [Vec<u8>; 2],
    steps: VecDeque<Step>,
    /// Bytes that a bulky server has yet to send.
    remaining: u64,
    /// Bytes at the end of a bulky server's stream that fill no segment yet.
    unsent: usize,
    random: Random,
}

impl Connection {
    fn open(kind: Kind, number: u64, size: u64, noise: &[u8]) -> Self {
        let mut random = Random::new(number << 8 | kind as u64);
        let is_udp = kind == Kind::Small && number.is_multiple_of(2);
        let service = match kind {
            _ if is_udp => 53,
            Kind::Http | Kind::HttpBulk => 80,
            _ => 443,
        };
        let name = number.wrapping_mul(7) % NAMES;
        let mut connection = Self {
            kind,
            is_udp,
            ends: endpoints(kind, number, name, service),
            sequences: [random.next() as u32, random.next() as u32],
            streams: [Vec::new(), Vec::new()],
            steps: VecDeque::new(),
            remaining: 0,
            unsent: 0,
            random,
        };
        match kind {
            Kind::Bulk => {
                connection.greet();
                let variant = if number.is_multiple_of(2) {
                    Variant::Tls13
                } else {
                    Variant::Tls12Rsa
                };
                connection.shake_hands(variant, name);
                connection.data(false, 420, noise);
                connection.remaining = size / kind.slots() as u64;
            }
            Kind::Https => {
                connection.greet();
                let variant = match number % 3 {
                    0 => Variant::Tls12Rsa,
                    1 => Variant::Tls12Ecdsa,
                    _ => Variant::Tls13,
                };
                connection.shake_hands(variant, name);
                let answers = 1 + connection.random.below(3);
                for _ in 0..answers {
                    let asked = 300 + connection.random.below(400) as usize;
                    connection.data(false, asked, noise);
                    let answered = 1200 + connection.random.below(12_000) as usize;
                    connection.data(true, answered, noise);
                }
                connection.part();
            }
            Kind::Http => {
                connection.greet();
                let calls = 12 + connection.random.below(24);
                for call in 0..calls {
                    let answered = 2_000 + connection.random.below(18_000) as usize;
                    connection.call(name, call, answered);
                }
                connection.part();
            }
            Kind::HttpBulk => {
                connection.greet();
                connection.remaining = size / kind.slots() as u64;
            }
            Kind::Small if is_udp => connection.look_up(number),
            Kind::Small => {
                connection.greet();
                connection.part();
            }
        }
        connection
    }

    /// Sends the next packet; false if there was none left.
    fn step<W: Write>(&mut self, writer: &mut PcapWriter<W>, noise: &[u8]) -> io::Result<bool> {
        if self.steps.is_empty() && self.remaining > 0 {
            match self.kind {
                Kind::HttpBulk => self.exchange(noise),
                _ => self.refill(noise),
            }
        }
        let Some(step) = self.steps.pop_front() else {
            return Ok(false);
        };
        let from = usize::from(step.from_server);
        let length = step.data.len();
        let data = &self.streams[from][step.data];
        if self.is_udp {
            writer.udp(self.ends[from], self.ends[1 - from], data)?;
            return Ok(true);
        }
        let tcp = Tcp {
            sequence: self.sequences[from],
            acknowledged: self.sequences[1 - from],
            flags: step.flags,
        };
        writer.tcp(self.ends[from], self.ends[1 - from], tcp, data)?;
        let counted = length as u32 + u32::from(step.flags & (SYN | FIN) != 0);
        self.sequences[from] = self.sequences[from].wrapping_add(counted);
        Ok(true)
    }

    fn bare(&mut self, from_server: bool, flags: u8) {
        let data = 0..0;
        self.steps.push_back(Step {
            from_server,
            flags,
            data,
        });
    }

    /// SYN, SYN+ACK, ACK.
    fn greet(&mut self) {
        self.bare(false, SYN);
        self.bare(true, SYN | ACK);
        self.bare(false, ACK);
    }

    /// FIN from both sides.
    fn part(&mut self) {
        self.bare(false, FIN | ACK);
        self.bare(true, FIN | ACK);
        self.bare(false, ACK);
    }

    fn shake_hands(&mut self, variant: Variant, name: u64) {
        let leaf = name as usize % LEAVES;
        let kind = if variant == Variant::Tls12Ecdsa {
            "ecdsa"
        } else {
            "rsa"
        };
        let host = format!("site-{name}.{kind}{leaf}.bench.example");
        let made = tls::handshake(variant, leaf, &host, &mut self.random);
        for (from_server, flight) in made.flights {
            let start = self.streams[usize::from(from_server)].len();
            self.streams[usize::from(from_server)].extend_from_slice(&flight);
            self.send(from_server, start);
        }
    }

    /// Application data of that many bytes.
    fn data(&mut self, from_server: bool, length: usize, noise: &[u8]) {
        let start = self.streams[usize::from(from_server)].len();
        self.append_record(from_server, length, noise);
        self.send(from_server, start);
    }

    fn append_record(&mut self, from_server: bool, length: usize, noise: &[u8]) {
        let at = self.random.below(NOISE as u64) as usize;
        let stream = &mut self.streams[usize::from(from_server)];
        stream.extend_from_slice(&tls::data_header(length));
        stream.extend_from_slice(&noise[at..at + length]);
    }

    /// Plans segments for what a side's stream holds from `start` on.
    fn send(&mut self, from_server: bool, start: usize) {
        let end = self.streams[usize::from(from_server)].len();
        self.send_range(from_server, start..end);
        self.bare(!from_server, ACK);
    }

    /// Plans segments, and an acknowledgement after every second one.
    fn send_range(&mut self, from_server: bool, range: Range<usize>) {
        let mut at = range.start;
        let mut unacknowledged = 0;
        while at < range.end {
            let next = range.end.min(at + SEGMENT);
            let flags = if next == range.end { ACK | PSH } else { ACK };
            if unacknowledged == 2 {
                self.bare(!from_server, ACK);
                unacknowledged = 0;
            }
            self.steps.push_back(Step {
                from_server,
                flags,
                data: at..next,
            });
            unacknowledged += 1;
            at = next;
        }
    }

    /// Plans the next records of a bulky server; segments run across their borders.
    fn refill(&mut self, noise: &[u8]) {
        // What did not fill a segment last time is still at the end.
        let kept = self.unsent;
        let stream = &mut self.streams[1];
        stream.drain(..stream.len() - kept);
        for _ in 0..4 {
            self.append_record(true, RECORD + 17, noise);
        }
        let length = self.streams[1].len();
        let sent = (length - kept) as u64;
        self.remaining = self.remaining.saturating_sub(sent);
        if self.remaining == 0 {
            self.send(true, 0);
            self.part();
        } else {
            self.unsent = length % SEGMENT;
            self.send_range(true, 0..length - self.unsent);
            self.bare(false, ACK);
        }
    }

    /// One call of an API: every third sends JSON, all are answered in JSON.
    fn call(&mut self, name: u64, call: u64, answered: usize) {
        let (id, user) = (self.random.below(1 << 40), self.random.below(5_000));
        let body = match call % 3 {
            0 => format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"items/list\",\"params\":{{\"user\":{user},\"page\":{call},\"sort\":\"name\",\"filter\":\"state:open and owner:me\"}}}}"
            ),
            _ => String::new(),
        };
        let (method, content) = if body.is_empty() {
            ("GET", String::new())
        } else {
            let length = body.len();
            (
                "POST",
                format!("Content-Type: application/json\r\nContent-Length: {length}\r\n"),
            )
        };
        let request = format!(
            "{method} /api/v1/users/{user}/items?page={call}&limit=50 HTTP/1.1\r\n\
             Host: api-{name}.bench.example\r\nUser-Agent: bench-client/1.4 (linux; x86_64)\r\n\
             Accept: application/json\r\nAccept-Encoding: identity\r\nConnection: keep-alive\r\n\
             Authorization: Bearer {id:032x}{user:032x}\r\nX-Request-Id: {id:016x}\r\n{content}\r\n{body}"
        );
        let row = format!(
            "{{\"id\":{id},\"name\":\"item of user {user}\",\"state\":\"open\",\"tags\":[\"a\",\"b\"]}},"
        );
        let mut answer = String::from("[");
        while answer.len() + row.len() < answered {
            answer.push_str(&row);
        }
        answer.push_str("null]");
        let length = answer.len();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nServer: bench\r\nDate: Tue, 01 Dec 2026 00:00:00 GMT\r\n\
             Content-Type: application/json; charset=utf-8\r\nContent-Length: {length}\r\n\
             Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\n\
             Strict-Transport-Security: max-age=31536000; includeSubDomains\r\n\r\n{answer}"
        );
        self.say(false, request.as_bytes());
        self.say(true, answer.as_bytes());
    }

    fn say(&mut self, from_server: bool, bytes: &[u8]) {
        let stream = &mut self.streams[usize::from(from_server)];
        let start = stream.len();
        stream.extend_from_slice(bytes);
        self.send(from_server, start);
    }

    /// The next exchange of a bulky connection: three downloads, then an upload,
    /// of 4 MiB each.
    fn exchange(&mut self, noise: &[u8]) {
        const BODY: usize = 4 << 20;
        for stream in &mut self.streams {
            stream.clear();
        }
        let body: Vec<u8> = noise.iter().copied().cycle().take(BODY).collect();
        let number = self.random.below(1 << 32);
        let head = "Host: files.bench.example\r\nUser-Agent: bench-client/1.4\r\n";
        let typed =
            format!("Content-Type: application/octet-stream\r\nContent-Length: {BODY}\r\n\r\n");
        if number.is_multiple_of(4) {
            let request = format!("PUT /files/{number} HTTP/1.1\r\n{head}{typed}");
            self.say(false, &[request.as_bytes(), &body].concat());
            self.say(true, b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
        } else {
            let request = format!("GET /files/{number} HTTP/1.1\r\n{head}\r\n");
            self.say(false, request.as_bytes());
            let answer = format!("HTTP/1.1 200 OK\r\n{typed}");
            self.say(true, &[answer.as_bytes(), &body].concat());
        }
        self.remaining = self.remaining.saturating_sub(BODY as u64);
        if self.remaining == 0 {
            self.part();
        }
    }

    /// A question for an address and its answer (RFC 1035, section 4).
    fn look_up(&mut self, number: u64) {
        let mut question = Vec::with_capacity(80);
        question.extend_from_slice(&(self.random.next() as u16).to_be_bytes());
        question.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        let host = format!("host{}", number % 1_000_003);
        for label in [host.as_str(), "bench", "example"] {
            question.push(label.len() as u8);
            question.extend_from_slice(label.as_bytes());
        }
        question.extend_from_slice(&[0, 0, 1, 0, 1]);
        let mut answer = question.clone();
        answer[2..8].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1]);
        answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 0x2c, 0, 4, 198, 18]);
        answer.extend_from_slice(&(self.random.next() as u16).to_be_bytes());
        for (from_server, message) in [(false, question), (true, answer)] {
            self.steps.push_back(Step {
                from_server,
                flags: 0,
                data: 0..message.len(),
            });
            self.streams[usize::from(from_server)] = message;
        }
    }
}

/// Client and server of a connection. Hosts and ports advance by turns of lengths without a common
/// factor, so no pair comes again within three thousand million connections.
fn endpoints(kind: Kind, number: u64, name: u64, service: u16) -> [Endpoint; 2] {
    let host = (number.wrapping_mul(7919) % 50_021) as u32 + 0x0a01_0000;
    let server = match kind {
        Kind::Small => (number.wrapping_mul(31) % 4_093) as u32 + 0xc612_0000,
        _ => name as u32 + 0xc633_6401,
    };
    let client = Endpoint {
        address: host.to_be_bytes(),
        port: 1024 + (number % 64_500) as u16,
    };
    let server = Endpoint {
        address: server.to_be_bytes(),
        port: service,
    };
    [client, server]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_come_at_every_run_and_the_size_is_kept() {
        for kind in Kind::ALL {
            let size = 3_000_000;
            let (mut first, mut second) = (Vec::new(), Vec::new());
            let written = generate(kind, size, &mut first).unwrap();
            generate(kind, size, &mut second).unwrap();
            assert!(first == second, "{kind}");
            assert_eq!(written.bytes, first.len() as u64);
            assert!(
                written.bytes >= size && written.bytes < size * 10,
                "{kind}: {written:?}"
            );
        }
    }

    #[test]
    fn every_record_of_a_bulky_stream_follows_the_one_before() {
        let noise = vec![0; NOISE + 2 * RECORD];
        let mut connection = Connection::open(Kind::Bulk, 0, 6_000_000, &noise);
        let mut sent = Vec::new();
        loop {
            if connection.steps.is_empty() && connection.remaining > 0 {
                connection.refill(&noise);
            }
            let Some(step) = connection.steps.pop_front() else {
                break;
            };
            if step.from_server {
                sent.extend_from_slice(&connection.streams[1][step.data]);
            }
        }
        assert!(sent.len() > 1_000_000);
        let mut rest = sent.as_slice();
        while !rest.is_empty() {
            assert!(matches!(rest[0], 20..=23) && rest[1] == 3);
            let length = usize::from(u16::from_be_bytes([rest[3], rest[4]]));
            rest = &rest[5 + length..];
        }
    }
}
