//! Captures made in memory, byte by byte as their formats say.

/// A pcap variant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pcap {
    pub(super) big_endian: bool,
    pub(super) magic: u32,
    pub(super) network: u32,
    pub(super) snaplen: u32,
    pub(super) version: (u16, u16),
}

pub(super) const MICROS: Pcap = Pcap {
    big_endian: false,
    magic: 0xa1b2_c3d4,
    network: 1,
    snaplen: 65_535,
    version: (2, 4),
};

impl Pcap {
    pub(super) fn u32(&self, value: u32) -> [u8; 4] {
        if self.big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    }

    fn u16(&self, value: u16) -> [u8; 2] {
        if self.big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    }

    pub(super) fn header(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(self.u32(self.magic));
        out.extend(self.u16(self.version.0));
        out.extend(self.u16(self.version.1));
        out.extend([0; 8]);
        out.extend(self.u32(self.snaplen));
        out.extend(self.u32(self.network));
        if self.magic >> 16 == 0x1c00 {
            out.extend([0; 4]);
        }
        out
    }

    pub(super) fn record(&self, seconds: u32, fraction: u32, wire: u32, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for word in [seconds, fraction, data.len() as u32, wire] {
            out.extend(self.u32(word));
        }
        if self.magic == 0xa1b2_cd34 {
            out.extend([7; 8]);
        }
        out.extend(data);
        out
    }

    /// A file of `count` packets of different lengths whose bytes say which
    /// packet they belong to.
    pub(super) fn file(&self, count: u32) -> Vec<u8> {
        let mut out = self.header();
        for number in 0..count {
            let data = data(number);
            out.extend(self.record(
                1_700_000_000 + number,
                1_000 * number,
                data.len() as u32,
                &data,
            ));
        }
        out
    }
}

/// The bytes of packet `number`: 40 to 99 of them, none zero.
pub(super) fn data(number: u32) -> Vec<u8> {
    let len = 40 + (number * 37 % 60);
    (0..len)
        .map(|index| 0x80 | (number + index) as u8)
        .collect()
}

/// Builds a pcapng block by block.
#[derive(Clone, Debug, Default)]
pub(super) struct Ng {
    pub(super) big_endian: bool,
    pub(super) out: Vec<u8>,
}

impl Ng {
    pub(super) fn new(big_endian: bool) -> Self {
        Self {
            big_endian,
            out: Vec::new(),
        }
    }

    pub(super) fn u32(&self, value: u32) -> [u8; 4] {
        if self.big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    }

    pub(super) fn u16(&self, value: u16) -> [u8; 2] {
        if self.big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    }

    pub(super) fn u64(&self, value: u64) -> [u8; 8] {
        if self.big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    }

    /// Adds a block, padded; gives its offset.
    pub(super) fn block(&mut self, kind: u32, body: &[u8]) -> usize {
        let at = self.out.len();
        let padded = body.len().next_multiple_of(4);
        let len = self.u32(padded as u32 + 12);
        let kind = self.u32(kind);
        self.out.extend(kind);
        self.out.extend(len);
        self.out.extend(body);
        self.out.resize(at + 8 + padded, 0);
        self.out.extend(len);
        at
    }

    pub(super) fn option(&self, code: u16, value: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(self.u16(code));
        out.extend(self.u16(value.len() as u16));
        out.extend(value);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    pub(super) fn section(&mut self, options: &[u8]) -> usize {
        let mut body = Vec::new();
        body.extend(self.u32(0x1a2b_3c4d));
        body.extend(self.u16(1));
        body.extend(self.u16(0));
        body.extend(self.u64(u64::MAX));
        body.extend(options);
        self.block(0x0a0d_0d0a, &body)
    }

    pub(super) fn interface(&mut self, link: u16, snaplen: u32, options: &[u8]) -> usize {
        let mut body = Vec::new();
        body.extend(self.u16(link));
        body.extend([0; 2]);
        body.extend(self.u32(snaplen));
        body.extend(options);
        self.block(1, &body)
    }

    pub(super) fn enhanced_body(
        &self,
        interface: u32,
        ticks: u64,
        captured: u32,
        wire: u32,
        data: &[u8],
        options: &[u8],
    ) -> Vec<u8> {
        let mut body = Vec::new();
        let words = [
            interface,
            (ticks >> 32) as u32,
            ticks as u32,
            captured,
            wire,
        ];
        for word in words {
            body.extend(self.u32(word));
        }
        body.extend(data);
        body.resize(body.len().next_multiple_of(4), 0);
        body.extend(options);
        body
    }

    pub(super) fn enhanced(&mut self, interface: u32, ticks: u64, data: &[u8]) -> usize {
        let len = data.len() as u32;
        let body = self.enhanced_body(interface, ticks, len, len, data, &[]);
        self.block(6, &body)
    }

    pub(super) fn simple(&mut self, wire: u32, data: &[u8]) -> usize {
        let mut body = self.u32(wire).to_vec();
        body.extend(data);
        self.block(3, &body)
    }

    pub(super) fn obsolete(&mut self, interface: u16, ticks: u64, data: &[u8]) -> usize {
        let mut body = Vec::new();
        body.extend(self.u16(interface));
        body.extend(self.u16(3));
        let len = data.len() as u32;
        for word in [(ticks >> 32) as u32, ticks as u32, len, len] {
            body.extend(self.u32(word));
        }
        body.extend(data);
        self.block(2, &body)
    }

    /// One section, one interface, `count` packets.
    pub(super) fn file(big_endian: bool, count: u32) -> Vec<u8> {
        let mut ng = Self::new(big_endian);
        ng.section(&[]);
        ng.interface(1, 0, &[]);
        for number in 0..count {
            let ticks = (1_700_000_000 + u64::from(number)) * 1_000_000;
            ng.enhanced(0, ticks, &data(number));
        }
        ng.out
    }
}
