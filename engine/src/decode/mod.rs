//! From a captured packet to transport segments: link layers, tags, tunnels,
//! IP, fragments, transport headers. Reads headers only, never payload.
//!
//! One packet gives none, one or several [`Segment`]s (a UDP tunnel is a flow
//! of its own, and so is what it carries). What cannot be decoded is counted
//! by reason, never silently dropped.
//!
//! ```text
//! packet -> fast (Ethernet, VLAN, IP, TCP/UDP) ----------------+-> shard of segments
//!        -> link -> tag -> ip -> transport -> tunnel -> link … +-> fragments -> defrag
//! ```

#[cfg(test)]
mod build;
mod context;
mod datagram;
mod defrag;
#[cfg(test)]
mod defrag_tests;
#[cfg(test)]
mod differential;
mod fast;
mod ip;
mod link;
mod reason;
#[cfg(test)]
mod tests;
mod tunnel;
mod walk;

pub use context::link_context;
pub use datagram::Datagrams;
pub use defrag::Defragmenter;
pub use reason::{Counters, Oddities, Undecoded};
pub use tunnel::carrier;

use crate::anomaly::AnomalyKind;
use crate::capture::Packet;
use crate::policy::Limits;
use ip::Checksum;
use walk::{Meta, Sink, Walk};

/// A transport segment: fixed size, owned, without its payload.
///
/// IPv4 addresses stand as IPv4-mapped IPv6 (`::ffff:a.b.c.d`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Sender.
    pub src: [u8; 16],
    /// Receiver.
    pub dst: [u8; 16],
    /// Packet time, nanoseconds since the epoch.
    pub ts_ns: i64,
    /// Byte offset of the packet's record in the (decompressed) file.
    pub record_offset: u64,
    /// Where the payload begins: a byte offset in the (decompressed) file, or
    /// in the batch's arena of reassembled datagrams when
    /// [`Segment::DEFRAGMENTED`] is set.
    pub payload_offset: u64,
    /// Payload bytes that are in the capture.
    pub payload_len: u32,
    /// Payload bytes that were on the wire; more than `payload_len` when the
    /// capture cut the packet.
    pub payload_wire_len: u32,
    /// IP header and payload on the wire, of all fragments together; the
    /// datagram itself counts as the one packet that completes it.
    pub ip_len: u32,
    /// Number of the packet in its chunk, from 0.
    pub index: u32,
    /// TCP sequence number; SCTP verification tag; ICMP's second word, which holds
    /// identifier and number of echo messages; 0 else.
    pub seq: u32,
    /// TCP acknowledgement number; 0 else.
    pub ack: u32,
    /// Identifier of the overlay network (VXLAN or GENEVE VNI plus one) that
    /// keeps equal private addresses apart; 0 outside of one.
    pub scope: u32,
    /// Source port; for ICMP the type of the message.
    pub src_port: u16,
    /// Destination port; for ICMP the code.
    pub dst_port: u16,
    /// TCP window, unscaled.
    pub window: u16,
    /// Link type of the packet.
    pub link: u16,
    /// Bytes between the record's offset and the packet's first byte.
    pub data_at: u16,
    /// IP protocol number of the transport (6 TCP, 17 UDP, 1 ICMP, 58 ICMPv6, 132 SCTP, …).
    pub protocol: u8,
    /// 4 or 6.
    pub ip_version: u8,
    /// TCP flags as on the wire (CWR ECE URG ACK PSH RST SYN FIN).
    pub tcp_flags: u8,
    /// The `Segment::*` bits.
    pub bits: u8,
}

impl Segment {
    /// The payload lies in the batch's arena, put together from fragments.
    pub const DEFRAGMENTED: u8 = 1;
    /// A checksum that was checked is wrong.
    pub const CHECKSUM_BAD: u8 = 1 << 1;
    /// Carried inside at least one tunnel.
    pub const TUNNELED: u8 = 1 << 2;
    /// Carries a tunnel whose content is decoded as further segments.
    pub const CARRIES_TUNNEL: u8 = 1 << 3;
    /// The IPv4 header checksum is zero: left to the sender's network card, or
    /// never set. Wrong, but not worth a word in each flow.
    pub const CHECKSUM_UNSET: u8 = 1 << 5;
    /// ICMP quotes another packet's header; no flow of its own is started by the quote.
    pub const QUOTED: u8 = 1 << 4;

    /// FIN.
    pub const FIN: u8 = 0x01;
    /// SYN.
    pub const SYN: u8 = 0x02;
    /// RST.
    pub const RST: u8 = 0x04;
    /// ACK.
    pub const ACK: u8 = 0x10;
}

/// A layer of encapsulation around a flow, outermost first in lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// `gre`, `vxlan`, `geneve`, `gtpu`, `ipip`, `6in4`, `teredo`, `erspan`, `mpls`, `pppoe`, ….
    pub kind: &'static str,
    /// Outer sender, where the layer has addresses.
    pub src: Option<std::net::IpAddr>,
    /// Outer receiver.
    pub dst: Option<std::net::IpAddr>,
    /// VNI, GRE key, TEID, MPLS label, PPPoE session, ….
    pub id: Option<u32>,
}

/// What lies below IP; read again from a flow's first packet when the flow is
/// created, so that the packet walk need not carry it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkContext {
    /// Source MAC of the outermost frame.
    pub src_mac: Option<[u8; 6]>,
    /// Destination MAC of the outermost frame.
    pub dst_mac: Option<[u8; 6]>,
    /// VLAN ids, outermost first.
    pub vlan_ids: Vec<u16>,
    /// Tunnels, outermost first.
    pub tunnels: Vec<Tunnel>,
}

/// An IP fragment that the walk met: what the serial step needs to put
/// datagrams together. RFC 791 §3.2, RFC 8200 §4.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Sender, as in [`Segment`].
    pub src: [u8; 16],
    /// Receiver.
    pub dst: [u8; 16],
    /// Packet time, nanoseconds since the epoch.
    pub ts_ns: i64,
    /// Byte offset of the packet's record.
    pub record_offset: u64,
    /// Byte offset of the fragment's payload in the (decompressed) file.
    pub payload_offset: u64,
    /// Payload bytes in the capture.
    pub payload_len: u32,
    /// Payload bytes on the wire.
    pub payload_wire_len: u32,
    /// IP header and payload on the wire.
    pub ip_len: u32,
    /// Number of the packet in its chunk.
    pub index: u32,
    /// Identification.
    pub id: u32,
    /// Overlay network, as in [`Segment`].
    pub scope: u32,
    /// Place of the payload in the datagram, bytes.
    pub at: u32,
    /// Whether more fragments follow.
    pub more: bool,
    /// Link type of the packet.
    pub link: u16,
    /// As in [`Segment`].
    pub data_at: u16,
    /// IP protocol number of what the datagram carries.
    pub protocol: u8,
    /// 4 or 6.
    pub ip_version: u8,
    /// Tunnels around it.
    pub depth: u8,
    /// The [`Segment`] bits that its datagram inherits.
    pub bits: u8,
}

/// What one chunk's packets became. Buffers keep their capacity from batch to batch.
#[derive(Debug)]
pub struct Decoded {
    /// Segments by shard, in packet order.
    pub shards: Vec<Vec<Segment>>,
    /// Fragments, in packet order.
    pub fragments: Vec<Fragment>,
    /// What was counted.
    pub counters: Counters,
    /// What was odd, with the packets that show it.
    pub oddities: Oddities,
}

impl Default for Decoded {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoded {
    /// Empty buffers.
    pub fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Vec::new()).collect(),
            fragments: Vec::new(),
            counters: Counters::default(),
            oddities: Oddities::default(),
        }
    }

    /// Empties the buffers.
    pub fn clear(&mut self) {
        for shard in &mut self.shards {
            shard.clear();
        }
        self.fragments.clear();
        self.counters = Counters::default();
        self.oddities.clear();
    }

    /// Decodes one packet.
    #[inline]
    pub fn packet(&mut self, packet: &Packet<'_>, limits: &Limits) {
        self.counters.packets += 1;
        if let Some(segment) = fast::decode(packet) {
            self.counters.ip_checksums += u64::from(segment.ip_version == 4);
            if segment.bits & Segment::CHECKSUM_UNSET != 0 {
                self.checksum_unset(&Meta::of(packet));
            }
            self.push(segment);
        } else {
            self.slow(packet, limits);
        }
    }

    #[cold]
    #[inline(never)]
    fn slow(&mut self, packet: &Packet<'_>, limits: &Limits) {
        let meta = Meta::of(packet);
        let mut trouble = Trouble::new(self, meta);
        Walk::new(
            packet.data,
            packet.data_offset,
            meta,
            limits.tunnel_depth,
            &mut trouble,
        )
        .link(packet.link, 0);
        trouble.count();
    }

    #[cold]
    #[inline(never)]
    fn checksum_unset(&mut self, meta: &Meta) {
        self.counters.ip_checksums_bad += 1;
        let what = "an IPv4 header checksum is zero: left to the network card, or never set";
        self.oddities.note(AnomalyKind::ChecksumBad, what, meta);
    }

    fn undecoded(&mut self, reason: Undecoded, meta: &Meta) {
        self.counters.note(reason);
        if let Some(kind) = reason.anomaly() {
            self.oddities.note(kind, reason.doc(), meta);
        }
    }

    #[inline]
    fn push(&mut self, segment: Segment) {
        if let Some(shard) = self.shards.get_mut(shard_of(&segment)) {
            shard.push(segment);
        }
    }
}

/// Takes what the walk finds in one packet, and whether it was wrong.
struct Trouble<'d> {
    decoded: &'d mut Decoded,
    meta: Meta,
    malformed: bool,
    unsupported: bool,
}

impl<'d> Trouble<'d> {
    fn new(decoded: &'d mut Decoded, meta: Meta) -> Self {
        Self {
            decoded,
            meta,
            malformed: false,
            unsupported: false,
        }
    }

    /// The packet has been walked: it counts once, whatever was wrong with it.
    fn count(self) {
        let counters = &mut self.decoded.counters;
        counters.malformed += u64::from(self.malformed);
        counters.unsupported += u64::from(self.unsupported && !self.malformed);
    }
}

impl Sink for Trouble<'_> {
    fn segment(&mut self, segment: Segment) {
        self.decoded.push(segment);
    }

    fn fragment(&mut self, fragment: Fragment) {
        self.decoded.fragments.push(fragment);
    }

    fn undecoded(&mut self, reason: Undecoded) {
        self.decoded.undecoded(reason, &self.meta);
        self.malformed |= reason.is_malformed();
        self.unsupported |= !reason.is_malformed();
    }

    fn ip_checksum(&mut self, checksum: Checksum) {
        self.decoded.counters.ip_checksums += 1;
        match checksum {
            Checksum::Good => {}
            Checksum::Unset => self.decoded.checksum_unset(&self.meta),
            Checksum::Bad => self.decoded.counters.ip_checksums_bad += 1,
        }
    }
}

/// The shards that flows are spread over: a fixed number, so that results do
/// not depend on the machine.
pub const SHARDS: usize = 64;

/// The shard of a flow: symmetric in the two ends, the same on every machine.
pub fn shard_of(segment: &Segment) -> usize {
    let end = |addr: &[u8; 16], port: u16| {
        let (high, low) = addr.split_at(8);
        let word = |bytes: &[u8]| {
            bytes
                .iter()
                .fold(0_u64, |acc, &byte| acc << 8 | u64::from(byte))
        };
        (word(high).rotate_left(29) ^ word(low) ^ u64::from(port) << 48)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
    };
    // ICMP's type and code are no ports and differ between the directions.
    let ports = matches!(segment.protocol, 6 | 17 | 132 | 33 | 136);
    let (src_port, dst_port) = if ports {
        (segment.src_port, segment.dst_port)
    } else {
        (0, 0)
    };
    let both = end(&segment.src, src_port).wrapping_add(end(&segment.dst, dst_port));
    let mixed = (both ^ u64::from(segment.protocol) ^ u64::from(segment.scope) << 8)
        .wrapping_mul(0xff51_afd7_ed55_8ccd);
    (mixed >> 58) as usize
}
