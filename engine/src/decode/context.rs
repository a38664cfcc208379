//! A packet's lower layers once more, for the row of the flow that it begins:
//! so the walk over all packets need not carry addresses that nobody asks for.

use super::datagram::Whole;
use super::ip::Checksum;
use super::walk::{Layer, Meta, Sink, Walk};
use super::{Fragment, LinkContext, Segment, Tunnel, Undecoded};
use crate::capture::LinkType;
use std::net::{IpAddr, Ipv6Addr};

/// What lies below and around `segment` in its packet. For one whose datagram
/// came in fragments, [`super::Datagrams::link_context`] knows more.
pub fn link_context(link: LinkType, data: &[u8], segment: &Segment) -> LinkContext {
    if let Some(context) = plain_ethernet(link, data, segment) {
        return context;
    }
    let mut finder = Finder::default();
    finder.packet(link, data, segment);
    finder.into_layers().0
}

/// The short way for IP right behind an Ethernet header.
fn plain_ethernet(link: LinkType, data: &[u8], segment: &Segment) -> Option<LinkContext> {
    let &[a, b, c, d, e, f, g, h, i, j, k, l, high, low] = data.first_chunk::<14>()?;
    let around = Segment::TUNNELED | Segment::DEFRAGMENTED;
    let kind = u16::from_be_bytes([high, low]);
    let is_plain =
        link == ETHERNET && matches!(kind, 0x0800 | 0x86dd) && segment.bits & around == 0;
    is_plain.then(|| LinkContext {
        src_mac: Some([g, h, i, j, k, l]),
        dst_mac: Some([a, b, c, d, e, f]),
        ..LinkContext::default()
    })
}

const ETHERNET: LinkType = LinkType(1);

/// Walks towards one segment and keeps the layers that it passes.
#[derive(Default)]
pub(super) struct Finder {
    wanted: Option<Wanted>,
    layers: LinkContext,
    /// Addresses of the IP header last passed.
    outer: Option<(IpAddr, IpAddr)>,
    found: Option<LinkContext>,
}

/// What is looked for: a segment, or a fragment of the datagram that carries it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Segment(Ends, [u16; 2]),
    Fragment(Ends, u32, u32),
}

/// Addresses, protocol, overlay network.
type Ends = ([u8; 16], [u8; 16], u8, u32);

impl From<&Segment> for Wanted {
    fn from(segment: &Segment) -> Self {
        let ends = (segment.src, segment.dst, segment.protocol, segment.scope);
        Self::Segment(ends, [segment.src_port, segment.dst_port])
    }
}

impl From<&Fragment> for Wanted {
    fn from(part: &Fragment) -> Self {
        let ends = (part.src, part.dst, part.protocol, part.scope);
        Self::Fragment(ends, part.id, part.at)
    }
}

impl Finder {
    /// Walks a packet.
    pub(super) fn packet(&mut self, link: LinkType, data: &[u8], wanted: impl Into<Wanted>) {
        let meta = meta(link.0, 0, 0);
        self.walk(wanted.into(), |finder| {
            Walk::new(data, 0, meta, u8::MAX, finder).link(link, 0);
        });
    }

    /// Walks on in a datagram, of which a fragment was found before.
    pub(super) fn datagram(&mut self, whole: &Whole, data: &[u8], wanted: impl Into<Wanted>) {
        let last = &whole.last;
        let meta = meta(last.link, last.scope, last.depth);
        self.walk(wanted.into(), |finder| {
            Walk::new(data, 0, meta, u8::MAX, finder).datagram(whole);
        });
    }

    /// What was passed until what was wanted last; and whether that was found.
    pub(super) fn into_layers(self) -> (LinkContext, bool) {
        let found = self.found.is_some();
        (self.found.unwrap_or(self.layers), found)
    }

    fn walk(&mut self, wanted: Wanted, walk: impl FnOnce(&mut Self)) {
        if let Some(layers) = self.found.take() {
            self.layers = layers;
        }
        self.wanted = Some(wanted);
        walk(self);
    }

    fn check(&mut self, here: Wanted) {
        if self.found.is_none() && self.wanted == Some(here) {
            self.found = Some(self.layers.clone());
        }
    }
}

fn meta(link: u16, scope: u32, depth: u8) -> Meta {
    Meta {
        ts_ns: 0,
        record_offset: 0,
        index: 0,
        link,
        data_at: 0,
        cut: usize::MAX >> 1,
        bits: 0,
        scope,
        depth,
    }
}

impl Sink for Finder {
    fn segment(&mut self, segment: Segment) {
        self.check(Wanted::from(&segment));
    }

    fn fragment(&mut self, fragment: Fragment) {
        self.check(Wanted::from(&fragment));
    }

    fn undecoded(&mut self, _reason: Undecoded) {}

    fn ip_checksum(&mut self, _checksum: Checksum) {}

    fn layer(&mut self, layer: Layer) {
        match layer {
            Layer::Macs { src, dst } => {
                // The outermost frame's; what tunnels carry has others.
                self.layers.src_mac.get_or_insert(src);
                self.layers.dst_mac.get_or_insert(dst);
            }
            Layer::SourceMac(src) => {
                self.layers.src_mac.get_or_insert(src);
            }
            Layer::Vlan(id) => self.layers.vlan_ids.push(id),
            Layer::Ip { src, dst, version } => {
                let address = |addr: [u8; 16]| {
                    let v6 = Ipv6Addr::from(addr);
                    match v6.to_ipv4_mapped() {
                        Some(v4) if version == 4 => IpAddr::V4(v4),
                        _ => IpAddr::V6(v6),
                    }
                };
                self.outer = Some((address(src), address(dst)));
            }
            Layer::Tunnel { kind, id } => {
                let outer = self.outer.take();
                self.layers.tunnels.push(Tunnel {
                    kind,
                    src: outer.map(|(src, _)| src),
                    dst: outer.map(|(_, dst)| dst),
                    id,
                });
            }
        }
    }
}
