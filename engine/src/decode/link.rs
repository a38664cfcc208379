//! Link layers and tags, down to an EtherType or IP. The numbers are those of
//! the registries at tcpdump.org (link types), IEEE (EtherTypes) and IANA (PPP).

use super::Undecoded;
use super::walk::{Layer, Sink, Walk};
use crate::capture::LinkType;

impl<S: Sink> Walk<'_, S> {
    /// A frame of a link type.
    pub(super) fn link(&mut self, link: LinkType, at: usize) {
        match link.0 {
            0 | 108 => self.loopback(at),
            1 => self.ethernet(at),
            9 | 50 => self.ppp(at),
            10 => self.llc(at + 13),
            12 | 14 | 101 | 228 | 229 => self.ip(at),
            51 => self.pppoe(at),
            104 => self.cisco_hdlc(at),
            105 => self.ieee80211(at),
            109 => self.ip(at + 12),
            113 => self.linux_cooked(at),
            117 => self.pflog(at),
            119 => self.prism(at),
            127 => self.after_le_length(at, 2, Self::ieee80211),
            138 => self.type_at(at + 16),
            143 => self.docsis(at),
            163 => self.avs(at),
            192 => self.ppi(at),
            204 => self.ppp(at + 1),
            226 => self.ipnet(at),
            239 => self.nflog(at),
            274 => self.mpacket(at),
            276 => self.linux_cooked_2(at),
            _ => self.cut(Undecoded::LinkType),
        }
    }

    pub(super) fn ethernet(&mut self, at: usize) {
        let Some(header) = self.bytes::<14>(at) else {
            return self.cut(Undecoded::LinkCut);
        };
        let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, _, _] = header;
        self.sink.layer(Layer::Macs {
            src: [s0, s1, s2, s3, s4, s5],
            dst: [d0, d1, d2, d3, d4, d5],
        });
        if self.step() {
            self.type_at(at + 12);
        }
    }

    /// An EtherType, or an 802.3 length, at `at`, and what follows it.
    pub(super) fn type_at(&mut self, at: usize) {
        match self.u16(at) {
            Some(length @ ..=1500) => {
                if length > 0 {
                    self.limit(at + 2, usize::from(length));
                }
                self.llc(at + 2);
            }
            Some(kind) => self.ethertype(kind, at + 2),
            None => self.cut(Undecoded::LinkCut),
        }
    }

    /// What an EtherType announces.
    pub(super) fn ethertype(&mut self, kind: u16, at: usize) {
        if !self.step() {
            return;
        }
        match kind {
            0x0800 => self.ipv4(at),
            0x86dd => self.ipv6(at),
            0x0806 | 0x8035 => self.cut(Undecoded::Arp),
            // 802.1Q, 802.1ad, and two older tag types of vendors.
            0x8100 | 0x88a8 | 0x9100 | 0x9200 => {
                let Some(tag) = self.u16(at) else {
                    return self.cut(Undecoded::LinkCut);
                };
                self.sink.layer(Layer::Vlan(tag & 0x0fff));
                self.type_at(at + 2);
            }
            0x8847 | 0x8848 => self.mpls(at),
            0x8864 => self.pppoe(at),
            0x880b => self.ppp(at),
            0x6558 => self.ethernet(at),
            0x88e5 => self.macsec(at),
            // Provider backbone bridging (802.1ah): tag, then a whole frame.
            0x88e7 => self.ethernet(at + 4),
            // Cisco VN-Tag.
            0x8926 => self.type_at(at + 4),
            0x894f => self.nsh(at),
            _ => self.cut(Undecoded::EtherType),
        }
    }

    /// IEEE 802.2 LLC, with SNAP.
    fn llc(&mut self, at: usize) {
        let Some([dsap, ssap, control]) = self.bytes::<3>(at) else {
            return self.cut(Undecoded::LinkCut);
        };
        match (dsap, ssap, control) {
            (0xaa, 0xaa, 0x03) => match self.bytes::<5>(at + 3) {
                Some([0, 0, 0 | 0xf8, ..]) => self.type_at(at + 6),
                Some(_) => self.cut(Undecoded::NoData),
                None => self.cut(Undecoded::LinkCut),
            },
            (0x06, 0x06, 0x03) => self.ipv4(at + 3),
            _ => self.cut(Undecoded::NoData),
        }
    }

    /// BSD loopback: an address family in the byte order of the capturing host.
    fn loopback(&mut self, at: usize) {
        let Some(family) = self.u32(at) else {
            return self.cut(Undecoded::LinkCut);
        };
        match family.min(family.swap_bytes()) {
            2 => self.ipv4(at + 4),
            // AF_INET6 of Linux, NetBSD and OpenBSD, FreeBSD, Darwin.
            10 | 24 | 28 | 30 => self.ipv6(at + 4),
            _ => self.cut(Undecoded::EtherType),
        }
    }

    /// LINKTYPE_LINUX_SLL, with any ARPHRD.
    fn linux_cooked(&mut self, at: usize) {
        let Some(header) = self.bytes::<16>(at) else {
            return self.cut(Undecoded::LinkCut);
        };
        let [_, _, h1, h0, l1, l0, mac @ .., _, _, p1, p0] = header;
        if u16::from_be_bytes([l1, l0]) == 6 {
            self.sink.layer(Layer::SourceMac(mac));
        }
        self.cooked(
            u16::from_be_bytes([h1, h0]),
            u16::from_be_bytes([p1, p0]),
            at + 16,
        );
    }

    /// LINKTYPE_LINUX_SLL2.
    fn linux_cooked_2(&mut self, at: usize) {
        let Some(header) = self.bytes::<20>(at) else {
            return self.cut(Undecoded::LinkCut);
        };
        let [p1, p0, _, _, _, _, _, _, h1, h0, _, len, mac @ .., _, _] = header;
        if len == 6 {
            self.sink.layer(Layer::SourceMac(mac));
        }
        self.cooked(
            u16::from_be_bytes([h1, h0]),
            u16::from_be_bytes([p1, p0]),
            at + 20,
        );
    }

    fn cooked(&mut self, hardware: u16, protocol: u16, at: usize) {
        match (hardware, protocol) {
            // ARPHRD_NETLINK carries no packets; ARPHRD_IPGRE a GRE protocol
            // type; those of 802.11 a frame, with its radio header.
            (824, _) => self.cut(Undecoded::NoData),
            (801, _) => self.ieee80211(at),
            (802, _) => self.prism(at),
            (803, _) => self.after_le_length(at, 2, Self::ieee80211),
            (_, 0x0001 | 0x0003 | 0x000c) => self.cut(Undecoded::NoData),
            (_, 0x0004) => self.llc(at),
            // Devices without a type of their own: PPP, tun, none.
            (512 | 519 | 65534, 0) => self.ip(at),
            (_, kind) => self.ethertype(kind, at),
        }
    }

    /// RFC 1661 with the framing of RFC 1662, both optional.
    pub(super) fn ppp(&mut self, at: usize) {
        let mut at = at;
        if self
            .bytes::<2>(at)
            .is_some_and(|start| matches!(start, [0xff, 0x03] | [0x0f, 0x00]))
        {
            at += 2;
        }
        let Some(first) = self.u8(at) else {
            return self.cut(Undecoded::LinkCut);
        };
        // Protocol-field compression leaves out a leading zero byte.
        let protocol = if first & 1 == 1 {
            at += 1;
            u16::from(first)
        } else {
            let Some(protocol) = self.u16(at) else {
                return self.cut(Undecoded::LinkCut);
            };
            at += 2;
            protocol
        };
        match protocol {
            0x0021 | 0x0800 => self.ipv4(at),
            0x0057 | 0x86dd => self.ipv6(at),
            0x0281 | 0x0283 => self.mpls(at),
            _ => self.cut(Undecoded::NoData),
        }
    }

    /// RFC 2516, session stage.
    fn pppoe(&mut self, at: usize) {
        let Some([kind, code, session @ .., l1, l0]) = self.bytes::<6>(at) else {
            return self.cut(Undecoded::LinkCut);
        };
        if kind != 0x11 || code != 0 {
            return self.cut(Undecoded::NoData);
        }
        let session = u16::from_be_bytes(session);
        self.sink.layer(Layer::Tunnel {
            kind: "pppoe",
            id: Some(u32::from(session)),
        });
        self.limit(at + 6, usize::from(u16::from_be_bytes([l1, l0])));
        self.ppp(at + 6);
    }

    fn cisco_hdlc(&mut self, at: usize) {
        match self.u16(at + 2) {
            Some(0x8035) => self.cut(Undecoded::NoData),
            Some(kind) => self.ethertype(kind, at + 4),
            None => self.cut(Undecoded::LinkCut),
        }
    }

    /// RFC 3032: labels to the bottom of the stack, then whatever the first
    /// nibble says (RFC 4928 keeps 4 and 6 for IP).
    pub(super) fn mpls(&mut self, at: usize) {
        let mut at = at;
        loop {
            let Some(entry) = self.u32(at) else {
                return self.cut(Undecoded::LinkCut);
            };
            if !self.step() {
                return;
            }
            self.sink.layer(Layer::Tunnel {
                kind: "mpls",
                id: Some(entry >> 12),
            });
            at += 4;
            if entry & 0x100 != 0 {
                break;
            }
        }
        match self.u8(at).map(|byte| byte >> 4) {
            Some(4) => self.ipv4(at),
            Some(6) => self.ipv6(at),
            // RFC 4385: a pseudowire's control word, then the frame.
            Some(0) => self.ethernet(at + 4),
            Some(_) => self.ethernet(at),
            None => self.cut(Undecoded::LinkCut),
        }
    }

    /// IEEE 802.1AE: readable only where integrity is used without encryption.
    fn macsec(&mut self, at: usize) {
        let Some(control) = self.u8(at) else {
            return self.cut(Undecoded::LinkCut);
        };
        if control & 0x0c != 0 {
            return self.cut(Undecoded::LinkEncrypted);
        }
        let tag = if control & 0x20 != 0 { 14 } else { 6 };
        // The integrity check value ends the frame.
        let end = self.data.len().saturating_sub(16);
        if self.meta.cut == 0 && end > at + tag {
            self.limit(at, end - at);
        }
        self.type_at(at + tag);
    }

    /// RFC 8300 §2.2: base header (its length in words of four bytes), service
    /// path, context.
    pub(super) fn nsh(&mut self, at: usize) {
        let Some(base) = self.u32(at) else {
            return self.cut(Undecoded::LinkCut);
        };
        let path = self.u32(at + 4).map(|word| word >> 8);
        let len = (base >> 16 & 0x3f) as usize * 4;
        if base >> 30 != 0 || len < 8 {
            return self.cut(Undecoded::LinkCut);
        }
        if !self.enter("nsh", path) {
            return;
        }
        match base & 0xff {
            1 => self.ipv4(at + len),
            2 => self.ipv6(at + len),
            3 => self.ethernet(at + len),
            4 => self.nsh(at + len),
            5 => self.mpls(at + len),
            _ => self.cut(Undecoded::TunnelContent),
        }
    }

    /// DOCSIS MAC frames that carry a packet, with or without extended header.
    fn docsis(&mut self, at: usize) {
        match self.bytes::<2>(at) {
            Some([control, extended]) if control & 0xc0 == 0 => {
                let more = if control & 1 != 0 { extended } else { 0 };
                self.ethernet(at + 6 + usize::from(more));
            }
            Some(_) => self.cut(Undecoded::NoData),
            None => self.cut(Undecoded::LinkCut),
        }
    }

    /// IEEE 802.3br: preamble, of which the last byte tells a frame's start
    /// from its continuation.
    fn mpacket(&mut self, at: usize) {
        match self.u8(at + 7) {
            Some(0xd5 | 0xe6 | 0x4c | 0x7f | 0xb3) => self.ethernet(at + 8),
            Some(_) => self.cut(Undecoded::NoData),
            None => self.cut(Undecoded::LinkCut),
        }
    }

    /// A header whose length stands at `at + place`, little-endian.
    fn after_le_length(&mut self, at: usize, place: usize, then: impl FnOnce(&mut Self, usize)) {
        match self.bytes::<2>(at + place).map(u16::from_le_bytes) {
            Some(len) if usize::from(len) >= place + 2 => then(self, at + usize::from(len)),
            _ => self.cut(Undecoded::LinkCut),
        }
    }

    fn ppi(&mut self, at: usize) {
        let Some(link) = self.bytes::<2>(at + 4).map(u16::from_le_bytes) else {
            return self.cut(Undecoded::LinkCut);
        };
        // Once only: PPI inside PPI would be a loop.
        if link == 192 || !self.step() {
            return self.cut(Undecoded::LinkType);
        }
        self.after_le_length(at, 2, |walk, at| walk.link(LinkType(link), at));
    }

    fn prism(&mut self, at: usize) {
        // Message length; fixed at 144 but for drivers that say otherwise.
        let len = self.bytes::<4>(at + 4).map_or(144, u32::from_le_bytes);
        let len = if (8..=1_024).contains(&len) { len } else { 144 };
        self.ieee80211(at + len as usize);
    }

    fn avs(&mut self, at: usize) {
        match self.u32(at + 4) {
            Some(len @ 8..=1_024) => self.ieee80211(at + len as usize),
            _ => self.cut(Undecoded::LinkCut),
        }
    }

    /// IEEE 802.11 data frames (9.2.4 and 9.3.2 of the 2020 edition).
    fn ieee80211(&mut self, at: usize) {
        let Some([control, flags]) = self.bytes::<2>(at) else {
            return self.cut(Undecoded::LinkCut);
        };
        let (kind, subtype) = (control >> 2 & 3, control >> 4);
        // Data frames that carry data: the no-data subtypes have bit 2 set.
        if kind != 2 || subtype & 4 != 0 {
            return self.cut(Undecoded::NoData);
        }
        if flags & 0x40 != 0 {
            return self.cut(Undecoded::LinkEncrypted);
        }
        let addresses = |place: usize| self.bytes::<6>(at + place);
        let (dst, src) = match flags & 3 {
            0 => (addresses(4), addresses(10)),
            1 => (addresses(16), addresses(10)),
            2 => (addresses(4), addresses(16)),
            _ => (addresses(16), addresses(24)),
        };
        if let (Some(dst), Some(src)) = (dst, src) {
            self.sink.layer(Layer::Macs { src, dst });
        }
        let mut header = if flags & 3 == 3 { 30 } else { 24 };
        let mut several = false;
        if subtype & 8 != 0 {
            several = self.u8(at + header).is_some_and(|qos| qos & 0x80 != 0);
            header += if flags & 0x80 != 0 { 6 } else { 2 };
        }
        if several {
            self.aggregate(at + header);
        } else {
            // Some drivers align what follows to four bytes.
            let padded = header.next_multiple_of(4);
            let snap = |place: usize| self.bytes::<3>(at + place) == Some([0xaa, 0xaa, 0x03]);
            if !snap(header) && snap(padded) {
                header = padded;
            }
            self.llc(at + header);
        }
    }

    /// An A-MSDU: several frames in one, each padded to four bytes.
    fn aggregate(&mut self, at: usize) {
        let (whole, meta) = (self.data, self.meta);
        let mut at = at;
        let mut found = false;
        while let Some(len) = self.u16(at + 12).map(usize::from) {
            if !self.step() {
                return;
            }
            if len == 0 {
                return self.cut(Undecoded::NoData);
            }
            self.limit(at + 14, len);
            self.llc(at + 14);
            // One frame's tunnels and faults are not the next one's.
            (self.data, self.meta) = (whole, meta);
            at += (14 + len).next_multiple_of(4);
            found = true;
        }
        // What is left may be the frame check sequence, but not another frame.
        if !found || whole.len().saturating_sub(at) > 4 {
            self.cut(Undecoded::LinkCut);
        }
    }

    fn pflog(&mut self, at: usize) {
        match self.bytes::<2>(at) {
            Some([len, 2]) => self.ipv4(at + usize::from(len).next_multiple_of(4)),
            Some([len, 10 | 24 | 28 | 30]) => self.ipv6(at + usize::from(len).next_multiple_of(4)),
            Some(_) => self.cut(Undecoded::EtherType),
            None => self.cut(Undecoded::LinkCut),
        }
    }

    /// Solaris ipnet: address family, zone and interface, 24 bytes in all.
    fn ipnet(&mut self, at: usize) {
        match self.u8(at + 1) {
            Some(2) => self.ipv4(at + 24),
            Some(26) => self.ipv6(at + 24),
            _ => self.cut(Undecoded::EtherType),
        }
    }

    /// Linux netfilter log: attributes, of which type 9 is the packet.
    fn nflog(&mut self, at: usize) {
        let Some(family) = self.u8(at) else {
            return self.cut(Undecoded::LinkCut);
        };
        let mut at = at + 4;
        while let Some([l0, l1, k0, k1]) = self.bytes::<4>(at) {
            let (len, kind) = (u16::from_le_bytes([l0, l1]), u16::from_le_bytes([k0, k1]));
            if usize::from(len) < 4 || !self.step() {
                break;
            }
            if kind & 0x7fff == 9 {
                self.limit(at + 4, usize::from(len) - 4);
                return match family {
                    2 | 10 => self.ip(at + 4),
                    _ => self.cut(Undecoded::EtherType),
                };
            }
            at += usize::from(len).next_multiple_of(4);
        }
        self.cut(Undecoded::LinkCut);
    }
}
