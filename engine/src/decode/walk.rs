//! The walk over one packet's layers: checked reads, depth, and where the
//! results go. Each layer's file adds its own part to [`Walk`].

use super::ip::Checksum;
use super::{Fragment, Segment, Undecoded};
use crate::capture::Packet;

/// Receives what a walk finds.
pub(super) trait Sink {
    fn segment(&mut self, segment: Segment);
    fn fragment(&mut self, fragment: Fragment);
    fn undecoded(&mut self, reason: Undecoded);
    fn ip_checksum(&mut self, checksum: Checksum);
    /// A layer below IP or around it; only [`super::link_context`] listens.
    fn layer(&mut self, _layer: Layer) {}
}

/// A layer that a flow's row shows.
#[derive(Clone, Copy, Debug)]
pub(super) enum Layer {
    Macs {
        src: [u8; 6],
        dst: [u8; 6],
    },
    SourceMac([u8; 6]),
    Vlan(u16),
    Tunnel {
        kind: &'static str,
        id: Option<u32>,
    },
    /// Addresses that the next tunnel layer has.
    Ip {
        src: [u8; 16],
        dst: [u8; 16],
        version: u8,
    },
}

/// What all segments of a packet have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meta {
    pub(super) ts_ns: i64,
    pub(super) record_offset: u64,
    pub(super) index: u32,
    pub(super) link: u16,
    pub(super) data_at: u16,
    /// Bytes that the capture cut off the end.
    pub(super) cut: usize,
    pub(super) bits: u8,
    pub(super) scope: u32,
    pub(super) depth: u8,
}

impl Meta {
    pub(super) fn of(packet: &Packet<'_>) -> Self {
        Self {
            ts_ns: packet.ts.as_nanos(),
            record_offset: packet.record_offset,
            index: packet.index,
            link: packet.link.0,
            data_at: header_len(packet),
            cut: (packet.wire_len as usize).saturating_sub(packet.data.len()),
            bits: 0,
            scope: 0,
            depth: 0,
        }
    }
}

/// One packet on its way through the layers. `at` in its methods is an offset
/// into `data`.
pub(super) struct Walk<'w, S> {
    pub(super) data: &'w [u8],
    /// Where `data` begins: in the file, or in the arena of datagrams.
    pub(super) data_offset: u64,
    pub(super) meta: Meta,
    pub(super) max_depth: u8,
    pub(super) sink: &'w mut S,
    /// Tags, labels and headers passed; bounds the work on one packet.
    steps: u8,
}

/// Layers of all kinds in one packet; ordinary ones have fewer than ten.
const MAX_STEPS: u8 = 64;

impl<'w, S: Sink> Walk<'w, S> {
    pub(super) fn new(
        data: &'w [u8],
        data_offset: u64,
        meta: Meta,
        max_depth: u8,
        sink: &'w mut S,
    ) -> Self {
        Self {
            data,
            data_offset,
            meta,
            max_depth,
            sink,
            steps: 0,
        }
    }

    /// Whether one more layer may be read; counts it.
    pub(super) fn step(&mut self) -> bool {
        self.steps = self.steps.saturating_add(1);
        if self.steps > MAX_STEPS {
            self.sink.undecoded(Undecoded::TooDeep);
            return false;
        }
        true
    }

    /// Enters a tunnel; `false` when they nest too deep.
    pub(super) fn enter(&mut self, kind: &'static str, id: Option<u32>) -> bool {
        if self.meta.depth >= self.max_depth {
            self.sink.undecoded(Undecoded::TooDeep);
            return false;
        }
        self.meta.depth += 1;
        self.meta.bits |= Segment::TUNNELED;
        self.sink.layer(Layer::Tunnel { kind, id });
        self.step()
    }

    pub(super) fn bytes<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.data.get(at..at.checked_add(N)?)?.try_into().ok()
    }

    pub(super) fn u8(&self, at: usize) -> Option<u8> {
        self.data.get(at).copied()
    }

    pub(super) fn u16(&self, at: usize) -> Option<u16> {
        self.bytes(at).map(u16::from_be_bytes)
    }

    pub(super) fn u32(&self, at: usize) -> Option<u32> {
        self.bytes(at).map(u32::from_be_bytes)
    }

    pub(super) fn cut(&mut self, reason: Undecoded) {
        self.sink.undecoded(reason);
    }

    /// Narrows the walk to a part that is `len` bytes long on the wire, so
    /// that padding and trailers behind it are not read as content.
    pub(super) fn limit(&mut self, at: usize, len: usize) {
        let have = self.data.len().saturating_sub(at);
        if len <= have {
            self.data = self.data.get(..at + len).unwrap_or(self.data);
            self.meta.cut = 0;
        } else {
            self.meta.cut = self.meta.cut.min(len - have);
        }
    }
}

/// Bytes between a packet's record and its data: 12 to 28 in all formats.
#[inline]
#[allow(clippy::cast_possible_truncation)]
pub(super) fn header_len(packet: &Packet<'_>) -> u16 {
    packet.data_offset.saturating_sub(packet.record_offset) as u16
}
