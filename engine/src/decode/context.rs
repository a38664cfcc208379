//! A packet's lower layers once more, for the row of the flow that it begins:
//! so the walk over all packets need not carry addresses that nobody asks for.

use super::walk::{Layer, Meta, Sink, Walk};
use super::{Fragment, LinkContext, Segment, Tunnel, Undecoded};
use crate::capture::LinkType;
use std::net::{IpAddr, Ipv6Addr};

/// What lies below and around `segment` in its packet.
///
/// For a datagram that was put together from fragments: what lies below the
/// fragment that completed it.
pub fn link_context(link: LinkType, data: &[u8], segment: &Segment) -> LinkContext {
    let mut found = Finder {
        wanted: *segment,
        layers: LinkContext::default(),
        outer: None,
        found: None,
    };
    let meta = Meta {
        ts_ns: 0,
        record_offset: 0,
        index: 0,
        link: link.0,
        data_at: 0,
        cut: usize::MAX >> 1,
        ip_len: None,
        bits: 0,
        scope: 0,
        depth: 0,
    };
    Walk::new(data, 0, meta, u8::MAX, &mut found).link(link, 0);
    found.found.unwrap_or(found.layers)
}

struct Finder {
    wanted: Segment,
    layers: LinkContext,
    /// Addresses of the IP header last passed.
    outer: Option<(IpAddr, IpAddr)>,
    found: Option<LinkContext>,
}

impl Finder {
    fn check(&mut self, same: bool) {
        if same && self.found.is_none() {
            self.found = Some(self.layers.clone());
        }
    }
}

impl Sink for Finder {
    fn segment(&mut self, segment: Segment) {
        let of = |s: &Segment| (s.src, s.dst, s.src_port, s.dst_port, s.protocol, s.scope);
        self.check(of(&segment) == of(&self.wanted));
    }

    fn fragment(&mut self, fragment: Fragment) {
        self.check((fragment.src, fragment.dst) == (self.wanted.src, self.wanted.dst));
    }

    fn undecoded(&mut self, _reason: Undecoded) {}

    fn ip_checksum(&mut self, _good: bool) {}

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
