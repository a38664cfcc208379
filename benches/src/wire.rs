//! A pcap file (microseconds, Ethernet) and the headers of its IPv4 packets, with right checksums.

use std::io::{self, Write};

/// FIN of a TCP header's flags (RFC 9293, section 3.1).
pub const FIN: u8 = 0x01;
/// SYN.
pub const SYN: u8 = 0x02;
/// PSH.
pub const PSH: u8 = 0x08;
/// ACK.
pub const ACK: u8 = 0x10;

/// Preamble, checksum and gap of an Ethernet frame: bytes on the wire that no capture shows.
const WIRE_EXTRA: u64 = 24;

/// Numbers that look random and are the same at every run (xorshift64*).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A sequence of its own for every seed, zero included.
    pub fn new(seed: u64) -> Self {
        // splitmix64, since neighbouring seeds would else give similar starts.
        let mut state = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self((state ^ (state >> 31)) | 1)
    }

    /// The next number, all bits usable.
    #[allow(
        clippy::should_implement_trait,
        reason = "an endless sequence, no iterator"
    )]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `limit`, which must not be 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for part in bytes.chunks_mut(8) {
            let word = self.next().to_le_bytes();
            part.copy_from_slice(&word[..part.len()]);
        }
    }
}

/// An IPv4 address and a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// The address, in the order of the wire.
    pub address: [u8; 4],
    /// The port.
    pub port: u16,
}

/// What a TCP header says beside the endpoints.
#[derive(Debug, Clone, Copy)]
pub struct Tcp {
    /// Number of the first byte.
    pub sequence: u32,
    /// Number expected from the other side; written if `ACK` is among the flags.
    pub acknowledged: u32,
    /// Flags.
    pub flags: u8,
}

/// Writes packets one after the other, at the pace of a line.
#[derive(Debug)]
pub struct PcapWriter<W> {
    output: W,
    record: Vec<u8>,
    clock_ns: u64,
    bits_per_second: u64,
    written: u64,
    packets: u64,
    ip_id: u16,
}

impl<W: Write> PcapWriter<W> {
    /// Starts a capture at `start_s` (Unix time) on a line of that speed.
    pub fn new(mut output: W, start_s: u64, bits_per_second: u64) -> io::Result<Self> {
        let mut header = Vec::with_capacity(24);
        header.extend_from_slice(&0xa1b2_c3d4_u32.to_le_bytes());
        header.extend_from_slice(&2_u16.to_le_bytes());
        header.extend_from_slice(&4_u16.to_le_bytes());
        header.extend_from_slice(&[0; 8]);
        header.extend_from_slice(&262_144_u32.to_le_bytes());
        header.extend_from_slice(&1_u32.to_le_bytes());
        output.write_all(&header)?;
        Ok(Self {
            output,
            record: Vec::with_capacity(2048),
            clock_ns: start_s * 1_000_000_000,
            bits_per_second,
            written: 24,
            packets: 0,
            ip_id: 0,
        })
    }

    /// Bytes written, the file's header included.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Packets written.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// Writes a TCP segment, with the options a Linux host sends.
    pub fn tcp(&mut self, from: Endpoint, to: Endpoint, tcp: Tcp, data: &[u8]) -> io::Result<()> {
        let is_syn = tcp.flags & SYN != 0;
        let header_length = if is_syn { 40 } else { 32 };
        let start = self.begin(from, to, 6, header_length + data.len());
        let clock_ms = (self.clock_ns / 1_000_000) as u32;
        let has_ack = tcp.flags & ACK != 0;
        let acknowledged = if has_ack { tcp.acknowledged } else { 0 };
        let echo = if has_ack { clock_ms.wrapping_sub(1) } else { 0 };
        let packet = &mut self.record;
        packet.extend_from_slice(&from.port.to_be_bytes());
        packet.extend_from_slice(&to.port.to_be_bytes());
        packet.extend_from_slice(&tcp.sequence.to_be_bytes());
        packet.extend_from_slice(&acknowledged.to_be_bytes());
        packet.extend_from_slice(&[(header_length as u8 / 4) << 4, tcp.flags, 0xfa, 0xf0]);
        packet.extend_from_slice(&[0; 4]);
        if is_syn {
            // Maximum segment size, SACK, time stamps, window scale (RFC 9293, 2018, 7323).
            packet.extend_from_slice(&[2, 4, 5, 0xb4, 4, 2, 8, 10]);
        } else {
            packet.extend_from_slice(&[1, 1, 8, 10]);
        }
        packet.extend_from_slice(&clock_ms.to_be_bytes());
        packet.extend_from_slice(&echo.to_be_bytes());
        if is_syn {
            packet.extend_from_slice(&[1, 3, 3, 7]);
        }
        packet.extend_from_slice(data);
        let sum = checksum(&packet[start..], pseudo_header(from, to, 6));
        packet[start + 16..start + 18].copy_from_slice(&sum.to_be_bytes());
        self.finish()
    }

    /// Writes a UDP datagram.
    pub fn udp(&mut self, from: Endpoint, to: Endpoint, data: &[u8]) -> io::Result<()> {
        let start = self.begin(from, to, 17, 8 + data.len());
        let packet = &mut self.record;
        packet.extend_from_slice(&from.port.to_be_bytes());
        packet.extend_from_slice(&to.port.to_be_bytes());
        packet.extend_from_slice(&(8 + data.len() as u16).to_be_bytes());
        packet.extend_from_slice(&[0; 2]);
        packet.extend_from_slice(data);
        let sum = checksum(&packet[start..], pseudo_header(from, to, 17));
        // Zero would mean "no checksum" (RFC 768).
        let sum = if sum == 0 { 0xffff } else { sum };
        packet[start + 6..start + 8].copy_from_slice(&sum.to_be_bytes());
        self.finish()
    }

    /// Hands the last bytes to the operating system.
    pub fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }

    /// Writes the headers up to IPv4; returns where the transport begins.
    fn begin(&mut self, from: Endpoint, to: Endpoint, protocol: u8, payload: usize) -> usize {
        let total = 20 + payload;
        let frame = (14 + total) as u32;
        self.clock_ns +=
            (u64::from(frame.max(60)) + WIRE_EXTRA) * 8_000_000_000 / self.bits_per_second;
        self.ip_id = self.ip_id.wrapping_add(1);
        let packet = &mut self.record;
        packet.clear();
        packet.extend_from_slice(&((self.clock_ns / 1_000_000_000) as u32).to_le_bytes());
        packet.extend_from_slice(&((self.clock_ns / 1000 % 1_000_000) as u32).to_le_bytes());
        packet.extend_from_slice(&frame.to_le_bytes());
        packet.extend_from_slice(&frame.to_le_bytes());
        for end in [to, from] {
            packet.extend_from_slice(&[2, 0]);
            packet.extend_from_slice(&end.address);
        }
        packet.extend_from_slice(&[8, 0]);
        let ip = packet.len();
        packet.extend_from_slice(&[0x45, 0]);
        packet.extend_from_slice(&(total as u16).to_be_bytes());
        packet.extend_from_slice(&self.ip_id.to_be_bytes());
        packet.extend_from_slice(&[0x40, 0, 64, protocol, 0, 0]);
        packet.extend_from_slice(&from.address);
        packet.extend_from_slice(&to.address);
        let sum = checksum(&packet[ip..], 0);
        packet[ip + 10..ip + 12].copy_from_slice(&sum.to_be_bytes());
        packet.len()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.written += self.record.len() as u64;
        self.packets += 1;
        self.output.write_all(&self.record)
    }
}

/// The part of the pseudo header's sum that does not depend on the length (RFC 9293, section
/// 3.1), in the machine's order of bytes as `checksum` adds.
fn pseudo_header(from: Endpoint, to: Endpoint, protocol: u8) -> u64 {
    u64::from(u32::from_ne_bytes(from.address))
        + u64::from(u32::from_ne_bytes(to.address))
        + u64::from(u16::from_ne_bytes([0, protocol]))
}

/// The internet checksum (RFC 1071) over `bytes`; with a pseudo header's sum, the length is added.
fn checksum(bytes: &[u8], pseudo: u64) -> u16 {
    let mut sum = pseudo;
    if pseudo != 0 {
        sum += u64::from(u16::from_ne_bytes((bytes.len() as u16).to_be_bytes()));
    }
    let (words, rest) = bytes.as_chunks::<4>();
    sum += words
        .iter()
        .map(|word| u64::from(u32::from_ne_bytes(*word)))
        .sum::<u64>();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    sum += u64::from(u32::from_ne_bytes(last));
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::from_be_bytes((!(sum as u16)).to_ne_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_rfc_1071() {
        // The example of RFC 1071, section 3: the sum is ddf2.
        let example = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(checksum(&example, 0), !0xddf2);
        assert_eq!(checksum(&[0xff], 0), !0xff00);
    }

    #[test]
    fn a_written_packet_sums_to_zero() {
        let mut bytes = Vec::new();
        let mut writer = PcapWriter::new(&mut bytes, 1, 1_000_000_000).unwrap();
        let from = Endpoint {
            address: [10, 1, 2, 3],
            port: 4097,
        };
        let to = Endpoint {
            address: [10, 9, 8, 7],
            port: 53,
        };
        writer.udp(from, to, b"odd").unwrap();
        assert_eq!(writer.written(), bytes.len() as u64);
        let ip = 24 + 16 + 14;
        assert_eq!(checksum(&bytes[ip..ip + 20], 0), 0);
        assert_eq!(checksum(&bytes[ip + 20..], pseudo_header(from, to, 17)), 0);
    }

    #[test]
    fn numbers_stay_below_their_limit_and_repeat() {
        let (mut first, mut second) = (Random::new(7), Random::new(7));
        for _ in 0..1000 {
            let number = first.below(10);
            assert!(number < 10);
            assert_eq!(number, second.below(10));
        }
    }
}
