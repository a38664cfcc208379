//! Small captures, made byte by byte: pcap (draft-ietf-opsawg-pcap §4, §5),
//! Ethernet II, IPv4 (RFC 791), TCP (RFC 9293).

/// A pcap in the making: microseconds, little-endian, Ethernet.
pub struct Capture {
    bytes: Vec<u8>,
    packets: u32,
}

/// One side of a conversation, IPv4 address and port.
pub type Side = ([u8; 4], u16);

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;

impl Capture {
    pub fn new() -> Self {
        let mut bytes = 0xa1b2_c3d4_u32.to_le_bytes().to_vec();
        bytes.extend(2_u16.to_le_bytes());
        bytes.extend(4_u16.to_le_bytes());
        bytes.extend([0; 8]);
        bytes.extend(65_535_u32.to_le_bytes());
        bytes.extend(1_u32.to_le_bytes());
        Self { bytes, packets: 0 }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A whole TCP connection; each turn is said by the client (true) or the
    /// server, and acknowledged with the next one.
    pub fn conversation(mut self, client: Side, server: Side, turns: &[(bool, &[u8])]) -> Self {
        let mut next = [1_000_u32, 9_000_u32];
        let mut say = |capture: &mut Self, from_client: bool, flags: u8, data: &[u8]| {
            let (from, to) = if from_client {
                (client, server)
            } else {
                (server, client)
            };
            let (own, other) = if from_client { (0, 1) } else { (1, 0) };
            let acknowledged = if flags & ACK == 0 { 0 } else { next[other] };
            capture.tcp(from, to, next[own], acknowledged, flags, data);
            let length = u32::try_from(data.len()).expect("a short turn");
            next[own] += length + u32::from(flags & (SYN | FIN) != 0);
        };
        say(&mut self, true, SYN, &[]);
        say(&mut self, false, SYN | ACK, &[]);
        say(&mut self, true, ACK, &[]);
        for (from_client, data) in turns {
            say(&mut self, *from_client, PSH | ACK, data);
        }
        say(&mut self, true, FIN | ACK, &[]);
        say(&mut self, false, FIN | ACK, &[]);
        say(&mut self, true, ACK, &[]);
        self
    }

    fn tcp(
        &mut self,
        from: Side,
        to: Side,
        sequence: u32,
        acknowledged: u32,
        flags: u8,
        data: &[u8],
    ) {
        let mut segment = Vec::new();
        segment.extend(from.1.to_be_bytes());
        segment.extend(to.1.to_be_bytes());
        segment.extend(sequence.to_be_bytes());
        segment.extend(acknowledged.to_be_bytes());
        segment.extend([5 << 4, flags]);
        segment.extend(64_000_u16.to_be_bytes());
        segment.extend([0; 4]);
        segment.extend(data);
        let length = u16::try_from(segment.len()).expect("a short segment");
        let mut pseudo = [from.0, to.0].concat();
        pseudo.extend([0, 6]);
        pseudo.extend(length.to_be_bytes());
        pseudo.extend(&segment);
        segment[16..18].copy_from_slice(&checksum(&pseudo).to_be_bytes());

        let mut packet = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00];
        let mut header = vec![0x45, 0];
        header.extend((length + 20).to_be_bytes());
        header.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
        header.extend(from.0);
        header.extend(to.0);
        let sum = checksum(&header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        packet.extend(header);
        packet.extend(segment);
        self.record(&packet);
    }

    fn record(&mut self, packet: &[u8]) {
        let length = u32::try_from(packet.len())
            .expect("a short packet")
            .to_le_bytes();
        let (seconds, ms) = (self.packets / 1_000, self.packets % 1_000);
        self.bytes.extend((1_700_000_000 + seconds).to_le_bytes());
        self.bytes.extend((ms * 1_000).to_le_bytes());
        self.bytes.extend(length);
        self.bytes.extend(length);
        self.bytes.extend(packet);
        self.packets += 1;
    }
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded")
}

/// A login by FTP: a credential in plain text, which NS-01 calls critical.
pub fn ftp_login() -> Vec<u8> {
    Capture::new()
        .conversation(
            ([10, 0, 0, 5], 40_000),
            ([192, 0, 2, 7], 21),
            &[
                (false, b"220 ready\r\n"),
                (true, b"USER anna\r\n"),
                (false, b"331 password please\r\n"),
                (true, b"PASS correct-horse-battery\r\n"),
                (false, b"230 logged in\r\n"),
                (true, b"QUIT\r\n"),
                (false, b"221 bye\r\n"),
            ],
        )
        .bytes()
        .to_vec()
}

/// Plain HTTP to a host whose name tries to command the terminal.
pub fn hostile_http() -> Vec<u8> {
    Capture::new()
        .conversation(
            ([10, 0, 0, 5], 40_001),
            ([192, 0, 2, 8], 80),
            &[
                (true, b"GET / HTTP/1.1\r\nHost: a\x1b]0;owned\x07\xc2\x9b31m\xe2\x80\xae.example\r\n\r\n"),
                (false, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
            ],
        )
        .bytes()
        .to_vec()
}

/// A header and no packet.
pub fn empty() -> Vec<u8> {
    Capture::new().bytes().to_vec()
}

/// So many conversations, each with an answer of so many bytes.
pub fn many(conversations: u16, answer: usize) -> Vec<u8> {
    let body = vec![b'x'; answer];
    let segments: Vec<(bool, &[u8])> = body.chunks(1_400).map(|part| (false, part)).collect();
    let mut capture = Capture::new();
    for number in 0..conversations {
        let [high, low] = number.to_be_bytes();
        let mut turns: Vec<(bool, &[u8])> =
            vec![(true, b"GET / HTTP/1.1\r\nHost: many.example\r\n\r\n")];
        turns.extend(&segments);
        capture = capture.conversation(
            ([10, 1, high, low], 40_000 + number),
            ([192, 0, 2, 9], 80),
            &turns,
        );
    }
    capture.bytes().to_vec()
}
