//! IPv4 (RFC 791), IPv6 and its extension headers (RFC 8200), and the
//! transports: TCP (RFC 9293), UDP (RFC 768), ICMP (RFC 792, 4443), SCTP
//! (RFC 9260). What a capture cut is told from what never was there.

use super::walk::{Layer, Sink, Walk};
use super::{Fragment, Segment, Undecoded};

/// An IP packet's addresses and what they belong to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ip {
    pub(super) src: [u8; 16],
    pub(super) dst: [u8; 16],
    pub(super) version: u8,
    /// Header and payload on the wire.
    pub(super) len: u32,
}

fn mapped(v4: [u8; 4]) -> [u8; 16] {
    let mut addr = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0];
    addr[12..].copy_from_slice(&v4);
    addr
}

/// What an IPv4 header's checksum says (RFC 791 §3.1, RFC 1071).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checksum {
    Good,
    /// Wrong, and zero: the sender's network card was to fill it in, or nobody did.
    Unset,
    Bad,
}

impl Checksum {
    /// Of a whole header, options included.
    #[inline]
    pub(super) fn of(header: &[u8]) -> Self {
        let mut sum = 0_u32;
        for pair in header.chunks_exact(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], pair[1]]));
        }
        let folded = (sum & 0xffff) + (sum >> 16);
        if folded & 0xffff == 0xffff {
            Self::Good
        } else if header.get(10..12) == Some(&[0, 0]) {
            Self::Unset
        } else {
            Self::Bad
        }
    }
}

/// Longest chain of IPv6 extension headers that is followed.
const MAX_EXTENSIONS: usize = 16;

impl<S: Sink> Walk<'_, S> {
    /// IP of whichever version the first nibble says.
    pub(super) fn ip(&mut self, at: usize) {
        match self.u8(at).map(|byte| byte >> 4) {
            Some(4) => self.ipv4(at),
            Some(6) => self.ipv6(at),
            _ => self.cut(Undecoded::IpCut),
        }
    }

    pub(super) fn ipv4(&mut self, at: usize) {
        let Some(header) = self.bytes::<20>(at) else {
            return self.cut(Undecoded::IpCut);
        };
        let header_len = usize::from(header[0] & 0x0f) * 4;
        if header[0] >> 4 != 4 || header_len < 20 || !self.step() {
            return self.cut(Undecoded::IpCut);
        }
        let on_wire = self.data.len() - at + self.meta.cut;
        let mut total = usize::from(u16::from_be_bytes([header[2], header[3]]));
        // Segmentation offload leaves the length to the hardware.
        if total == 0 {
            total = on_wire;
        }
        if total < header_len {
            return self.cut(Undecoded::IpCut);
        }
        if total > on_wire {
            // Longer than the frame that carries it: keep what there is.
            self.cut(Undecoded::IpCut);
            total = on_wire.max(header_len);
        }
        // Where the capture cut the options there is nothing to check.
        if let Some(whole) = self.data.get(at..at + header_len) {
            let checksum = Checksum::of(whole);
            self.sink.ip_checksum(checksum);
            self.meta.bits |= match checksum {
                Checksum::Good => 0,
                Checksum::Unset => Segment::CHECKSUM_UNSET,
                Checksum::Bad => Segment::CHECKSUM_BAD,
            };
        }
        self.limit(at, total);
        let [flags_high, flags_low] = [header[6], header[7]];
        let fragment = u16::from_be_bytes([flags_high, flags_low]);
        let ip = Ip {
            src: mapped([header[12], header[13], header[14], header[15]]),
            dst: mapped([header[16], header[17], header[18], header[19]]),
            version: 4,
            len: u32::try_from(total).unwrap_or(u32::MAX),
        };
        let protocol = header[9];
        if fragment & 0x3fff != 0 {
            let id = u32::from(u16::from_be_bytes([header[4], header[5]]));
            let place = u32::from(fragment & 0x1fff) * 8;
            return self.fragment(
                ip,
                protocol,
                id,
                place,
                fragment & 0x2000 != 0,
                at + header_len,
            );
        }
        self.transport(ip, protocol, at + header_len);
    }

    pub(super) fn ipv6(&mut self, at: usize) {
        let Some(header) = self.bytes::<40>(at) else {
            return self.cut(Undecoded::IpCut);
        };
        if header[0] >> 4 != 6 || !self.step() {
            return self.cut(Undecoded::IpCut);
        }
        let on_wire = self.data.len() - at + self.meta.cut;
        let stated = usize::from(u16::from_be_bytes([header[4], header[5]]));
        // Zero is a jumbogram (RFC 2675), or segmentation offload.
        let total = if stated == 0 { on_wire } else { stated + 40 };
        if total > on_wire {
            self.cut(Undecoded::IpCut);
        }
        let total = total.min(on_wire);
        self.limit(at, total);
        let (mut src, mut dst) = ([0; 16], [0; 16]);
        src.copy_from_slice(&header[8..24]);
        dst.copy_from_slice(&header[24..40]);
        let len = u32::try_from(total).unwrap_or(u32::MAX);
        let ip = Ip {
            src,
            dst,
            version: 6,
            len,
        };
        self.extensions(ip, header[6], at + 40);
    }

    /// Follows IPv6 extension headers to the transport.
    pub(super) fn extensions(&mut self, ip: Ip, first: u8, at: usize) {
        let (mut next, mut at) = (first, at);
        for _ in 0..MAX_EXTENSIONS {
            match next {
                // Hop-by-hop, routing, destination, mobility, HIP, shim6.
                0 | 43 | 60 | 135 | 139 | 140 => {
                    let Some([following, len]) = self.bytes::<2>(at) else {
                        return self.cut(Undecoded::IpCut);
                    };
                    next = following;
                    at += (usize::from(len) + 1) * 8;
                }
                44 => {
                    let Some([following, _, high, low, id @ ..]) = self.bytes::<8>(at) else {
                        return self.cut(Undecoded::IpCut);
                    };
                    let place = u16::from_be_bytes([high, low]);
                    let more = place & 1 != 0;
                    let place = u32::from(place & 0xfff8);
                    if place == 0 && !more {
                        // An atomic fragment is a whole packet (RFC 6946).
                        next = following;
                        at += 8;
                        continue;
                    }
                    let id = u32::from_be_bytes(id);
                    return self.fragment(ip, following, id, place, more, at + 8);
                }
                _ => return self.transport(ip, next, at),
            }
        }
        self.cut(Undecoded::TooDeep);
    }

    fn fragment(&mut self, ip: Ip, protocol: u8, id: u32, place: u32, more: bool, at: usize) {
        let have = self.data.len().saturating_sub(at);
        if self.data.len() < at {
            return self.cut(Undecoded::IpCut);
        }
        let length = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        self.sink.fragment(Fragment {
            src: ip.src,
            dst: ip.dst,
            ts_ns: self.meta.ts_ns,
            record_offset: self.meta.record_offset,
            payload_offset: self.data_offset.saturating_add(at as u64),
            payload_len: length(have),
            payload_wire_len: length(have + self.meta.cut),
            ip_len: ip.len,
            index: self.meta.index,
            id,
            scope: self.meta.scope,
            link: self.meta.link,
            data_at: self.meta.data_at,
            at: place,
            more,
            protocol,
            ip_version: ip.version,
            depth: self.meta.depth,
            bits: self.meta.bits,
        });
    }

    /// What IP carries.
    pub(super) fn transport(&mut self, ip: Ip, protocol: u8, at: usize) {
        if at > self.data.len() {
            return self.cut(Undecoded::TransportCut);
        }
        match protocol {
            6 => self.tcp(ip, at),
            17 | 136 => self.udp(ip, protocol, at),
            1 | 58 => self.icmp(ip, protocol, at),
            132 | 33 => self.sctp(ip, protocol, at),
            51 => self.authentication_header(ip, at),
            _ => {
                self.sink.layer(Layer::Ip {
                    src: ip.src,
                    dst: ip.dst,
                    version: ip.version,
                });
                if !self.ip_tunnel(protocol, at) {
                    self.emit(ip, protocol, at, |_| {});
                }
            }
        }
    }

    /// RFC 4302: integrity without encryption, so what follows is readable.
    fn authentication_header(&mut self, ip: Ip, at: usize) {
        let Some([next, len]) = self.bytes::<2>(at) else {
            return self.cut(Undecoded::TransportCut);
        };
        if self.step() {
            let at = at + (usize::from(len) + 2) * 4;
            // IPv6 may have destination options behind it.
            if ip.version == 6 {
                self.extensions(ip, next, at);
            } else {
                self.transport(ip, next, at);
            }
        }
    }

    fn tcp(&mut self, ip: Ip, at: usize) {
        let Some(tcp) = self.bytes::<20>(at) else {
            return self.cut(Undecoded::TransportCut);
        };
        let header_len = usize::from(tcp[12] >> 4) * 4;
        let on_wire = self.data.len() - at + self.meta.cut;
        if header_len < 20 || header_len > on_wire {
            return self.cut(Undecoded::TransportCut);
        }
        self.emit(ip, 6, at + header_len, |segment| {
            segment.src_port = u16::from_be_bytes([tcp[0], tcp[1]]);
            segment.dst_port = u16::from_be_bytes([tcp[2], tcp[3]]);
            segment.seq = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]);
            segment.ack = u32::from_be_bytes([tcp[8], tcp[9], tcp[10], tcp[11]]);
            segment.tcp_flags = tcp[13];
            segment.window = u16::from_be_bytes([tcp[14], tcp[15]]);
        });
    }

    /// UDP, and UDP-Lite (RFC 3828), whose length field is a checksum coverage.
    fn udp(&mut self, ip: Ip, protocol: u8, at: usize) {
        let Some(udp) = self.bytes::<8>(at) else {
            return self.cut(Undecoded::TransportCut);
        };
        let stated = usize::from(u16::from_be_bytes([udp[4], udp[5]]));
        let on_wire = self.data.len() - at + self.meta.cut;
        if protocol == 17 && stated != 0 {
            if stated < 8 || stated > on_wire {
                self.cut(Undecoded::TransportCut);
            } else {
                self.limit(at, stated);
            }
        }
        let (src_port, dst_port) = (
            u16::from_be_bytes([udp[0], udp[1]]),
            u16::from_be_bytes([udp[2], udp[3]]),
        );
        let tunnel = if protocol == 17 {
            self.udp_tunnel_at(src_port, dst_port, at + 8)
        } else {
            None
        };
        self.emit(ip, protocol, at + 8, |segment| {
            segment.src_port = src_port;
            segment.dst_port = dst_port;
            if tunnel.is_some() {
                segment.bits |= Segment::CARRIES_TUNNEL;
            }
        });
        if let Some(tunnel) = tunnel {
            self.sink.layer(Layer::Ip {
                src: ip.src,
                dst: ip.dst,
                version: ip.version,
            });
            self.udp_tunnel(tunnel, at + 8);
        }
    }

    fn icmp(&mut self, ip: Ip, protocol: u8, at: usize) {
        let Some([kind, code, ..]) = self.bytes::<4>(at) else {
            return self.cut(Undecoded::TransportCut);
        };
        let header_len = 8.min(self.data.len() - at);
        // Identifier and number of an echo message; in others whatever stands there.
        let number = self.bytes::<4>(at + 4).map_or(0, u32::from_be_bytes);
        self.emit(ip, protocol, at + header_len, |segment| {
            segment.src_port = u16::from(kind);
            segment.dst_port = u16::from(code);
            segment.seq = number;
        });
    }

    /// SCTP and DCCP: ports first; SCTP's tag stands in `seq`.
    fn sctp(&mut self, ip: Ip, protocol: u8, at: usize) {
        let Some([s1, s0, d1, d0, tag @ .., _, _, _, _]) = self.bytes::<12>(at) else {
            return self.cut(Undecoded::TransportCut);
        };
        self.emit(ip, protocol, at + 12, |segment| {
            segment.src_port = u16::from_be_bytes([s1, s0]);
            segment.dst_port = u16::from_be_bytes([d1, d0]);
            segment.seq = u32::from_be_bytes(tag);
        });
    }

    /// Gives a segment whose payload begins at `at`.
    fn emit(&mut self, ip: Ip, protocol: u8, at: usize, fill: impl FnOnce(&mut Segment)) {
        let length = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        let have = self.data.len().saturating_sub(at);
        let before = at.saturating_sub(self.data.len());
        let mut segment = Segment {
            src: ip.src,
            dst: ip.dst,
            ts_ns: self.meta.ts_ns,
            record_offset: self.meta.record_offset,
            // Where header options are cut, the payload is nowhere: point to the end.
            payload_offset: self
                .data_offset
                .saturating_add(self.data.len().min(at) as u64),
            payload_len: length(have),
            payload_wire_len: length((have + self.meta.cut).saturating_sub(before)),
            ip_len: ip.len,
            index: self.meta.index,
            seq: 0,
            ack: 0,
            scope: self.meta.scope,
            src_port: 0,
            dst_port: 0,
            window: 0,
            link: self.meta.link,
            data_at: self.meta.data_at,
            protocol,
            ip_version: ip.version,
            tcp_flags: 0,
            bits: self.meta.bits,
        };
        fill(&mut segment);
        self.sink.segment(segment);
    }
}
