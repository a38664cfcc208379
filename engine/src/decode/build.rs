//! Builders of packets for the tests of this module: each function wraps what
//! it is given in one more layer, as the layer's standard draws it.

/// Sender and receiver of what the tests look for.
pub(super) const SRC: [u8; 4] = [10, 1, 2, 3];
pub(super) const DST: [u8; 4] = [172, 16, 9, 8];
/// Ends of a tunnel.
pub(super) const OUTER_SRC: [u8; 4] = [192, 0, 2, 1];
pub(super) const OUTER_DST: [u8; 4] = [192, 0, 2, 2];
pub(super) const SRC6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
pub(super) const DST6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
pub(super) const SRC_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(super) const DST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
pub(super) const PAYLOAD: &[u8] = b"payload";

fn short(len: usize) -> u16 {
    u16::try_from(len).expect("tests build small packets")
}

pub(super) fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

pub(super) fn tcp(payload: &[u8]) -> Vec<u8> {
    let header = [
        0x9c, 0x40, 0x01, 0xbb, // ports 40000 and 443
        0x01, 0x02, 0x03, 0x04, // sequence number
        0x05, 0x06, 0x07, 0x08, // acknowledgement
        0x50, 0x18, 0x20, 0x00, // five words; PSH ACK; window 8192
        0, 0, 0, 0,
    ];
    join(&[&header, payload])
}

pub(super) fn udp(src: u16, dst: u16, payload: &[u8]) -> Vec<u8> {
    join(&[
        &src.to_be_bytes(),
        &dst.to_be_bytes(),
        &short(payload.len() + 8).to_be_bytes(),
        &[0, 0],
        payload,
    ])
}

/// RFC 1071, over an even number of bytes.
pub(super) fn checksum(header: &[u8]) -> [u8; 2] {
    let mut sum: u32 = header
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!u16::try_from(sum).expect("folded")).to_be_bytes()
}

/// IPv4 with everything that a test may want to choose.
pub(super) struct V4 {
    pub(super) src: [u8; 4],
    pub(super) dst: [u8; 4],
    pub(super) protocol: u8,
    pub(super) id: u16,
    /// Flags and offset in words, as on the wire.
    pub(super) fragment: u16,
    pub(super) options: Vec<u8>,
}

impl V4 {
    pub(super) fn new(protocol: u8) -> Self {
        Self {
            src: SRC,
            dst: DST,
            protocol,
            id: 7,
            fragment: 0x4000,
            options: Vec::new(),
        }
    }

    pub(super) fn of(self, payload: &[u8]) -> Vec<u8> {
        let header_len = 20 + self.options.len();
        let mut header = vec![0x40 | u8::try_from(header_len / 4).expect("options fit"), 0];
        header.extend(short(header_len + payload.len()).to_be_bytes());
        header.extend(self.id.to_be_bytes());
        header.extend(self.fragment.to_be_bytes());
        header.extend([64, self.protocol, 0, 0]);
        header.extend(self.src);
        header.extend(self.dst);
        header.extend(&self.options);
        let sum = checksum(&header);
        header[10..12].copy_from_slice(&sum);
        join(&[&header, payload])
    }
}

pub(super) fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    V4::new(protocol).of(payload)
}

/// IPv4 between the ends of a tunnel.
pub(super) fn outer(protocol: u8, payload: &[u8]) -> Vec<u8> {
    V4 {
        src: OUTER_SRC,
        dst: OUTER_DST,
        ..V4::new(protocol)
    }
    .of(payload)
}

pub(super) fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    join(&[
        &[0x60, 0, 0, 0],
        &short(payload.len()).to_be_bytes(),
        &[next, 64],
        &SRC6,
        &DST6,
        payload,
    ])
}

/// The packet that most tests look for, in IPv4.
pub(super) fn v4_tcp() -> Vec<u8> {
    ipv4(6, &tcp(PAYLOAD))
}

/// The same in IPv6.
pub(super) fn v6_tcp() -> Vec<u8> {
    ipv6(6, &tcp(PAYLOAD))
}

pub(super) fn ethernet(kind: u16, payload: &[u8]) -> Vec<u8> {
    join(&[&DST_MAC, &SRC_MAC, &kind.to_be_bytes(), payload])
}

/// An Ethernet frame that ends in padding, as short ones do.
pub(super) fn padded(kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = ethernet(kind, payload);
    let end = frame.len().max(60) + 6;
    frame.resize(end, 0xee);
    frame
}

pub(super) fn frame() -> Vec<u8> {
    ethernet(0x0800, &v4_tcp())
}

/// LLC and SNAP before an EtherType.
pub(super) fn snap(kind: u16, payload: &[u8]) -> Vec<u8> {
    join(&[&[0xaa, 0xaa, 3, 0, 0, 0], &kind.to_be_bytes(), payload])
}

pub(super) fn ethernet_802_3(payload: &[u8]) -> Vec<u8> {
    ethernet(short(payload.len()), payload)
}

/// GRE of version 0 with the optional words given.
pub(super) fn gre(flags: u16, protocol: u16, words: &[u32], payload: &[u8]) -> Vec<u8> {
    let mut packet = join(&[&flags.to_be_bytes(), &protocol.to_be_bytes()]);
    for word in words {
        packet.extend(word.to_be_bytes());
    }
    packet.extend(payload);
    packet
}

/// Eight bytes of VXLAN (RFC 7348 §5).
pub(super) fn vxlan(vni: u32, payload: &[u8]) -> Vec<u8> {
    join(&[&[8, 0, 0, 0], &(vni << 8).to_be_bytes(), payload])
}

/// 802.11 data frame: frame control, flags, further header bytes after the
/// third address, body.
pub(super) fn ieee80211(control: u8, flags: u8, further: &[u8], body: &[u8]) -> Vec<u8> {
    // Duration, three addresses, sequence control.
    join(&[
        &[control, flags, 0, 0],
        &DST_MAC,
        &SRC_MAC,
        &[2; 6],
        &[0, 0],
        further,
        body,
    ])
}
