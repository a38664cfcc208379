//! Tunnels over IP and UDP. Those over UDP are recognised by port and checked
//! by content, since anyone may send anything to a port.

use super::Undecoded;
use super::walk::{Sink, Walk};

/// Whether datagrams of this port have to be looked at for a tunnel.
#[inline]
pub(super) const fn is_tunnel_port(port: u16) -> bool {
    matches!(
        port,
        GTP_U | L2TP | TEREDO | VXLAN | VXLAN_GPE | GENEVE | MPLS_IN_UDP | VXLAN_LINUX
    )
}

const L2TP: u16 = 1701;
const GTP_U: u16 = 2152;
const TEREDO: u16 = 3544;
const VXLAN: u16 = 4789;
const VXLAN_GPE: u16 = 4790;
const GENEVE: u16 = 6081;
const MPLS_IN_UDP: u16 = 6635;
const VXLAN_LINUX: u16 = 8472;

/// The name of the tunnel that a UDP flow between these ports carries, by the
/// port that [`Walk::udp_tunnel_at`] knew it by.
pub fn carrier(src: u16, dst: u16) -> Option<&'static str> {
    let by_server = match dst {
        VXLAN | VXLAN_LINUX => Some("vxlan"),
        VXLAN_GPE => Some("vxlan-gpe"),
        GENEVE => Some("geneve"),
        MPLS_IN_UDP => Some("mpls-in-udp"),
        _ => None,
    };
    by_server.or(match (src, dst) {
        (GTP_U, _) | (_, GTP_U) => Some("gtp"),
        (TEREDO, _) | (_, TEREDO) => Some("teredo"),
        (L2TP, _) | (_, L2TP) => Some("l2tp"),
        _ => None,
    })
}

/// A tunnel over UDP, and where its content begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UdpTunnel {
    /// RFC 7348; the VNI.
    Vxlan(u32),
    /// draft-ietf-nvo3-vxlan-gpe; next protocol and VNI.
    VxlanGpe(u8, u32),
    /// RFC 8926; length of the options, protocol type, VNI.
    Geneve(usize, u16, u32),
    /// 3GPP TS 29.281; header length and TEID.
    GtpU(usize, u32),
    /// RFC 4380; length of the headers before IPv6.
    Teredo(usize),
    /// RFC 2661; header length and session.
    L2tp(usize, u32),
    /// RFC 7510.
    Mpls,
}

impl<S: Sink> Walk<'_, S> {
    /// Whether the UDP payload at `at` is a tunnel's.
    pub(super) fn udp_tunnel_at(&self, src: u16, dst: u16, at: usize) -> Option<UdpTunnel> {
        match (src, dst) {
            (_, VXLAN | VXLAN_LINUX) => {
                let word = self.u32(at)?;
                (word & 0x0800_0000 != 0).then_some(())?;
                Some(UdpTunnel::Vxlan(self.u32(at + 4)? >> 8))
            }
            (_, VXLAN_GPE) => {
                let [flags, _, _, next] = self.bytes::<4>(at)?;
                (flags & 0x0c == 0x0c).then_some(())?;
                Some(UdpTunnel::VxlanGpe(next, self.u32(at + 4)? >> 8))
            }
            (_, GENEVE) => {
                let [first, _, p1, p0] = self.bytes::<4>(at)?;
                (first >> 6 == 0).then_some(())?;
                let options = usize::from(first & 0x3f) * 4;
                let protocol = u16::from_be_bytes([p1, p0]);
                Some(UdpTunnel::Geneve(options, protocol, self.u32(at + 4)? >> 8))
            }
            (GTP_U, _) | (_, GTP_U) => self.gtp_u(at),
            (TEREDO, _) | (_, TEREDO) => self.teredo(at),
            (L2TP, _) | (_, L2TP) => self.l2tp(at),
            (_, MPLS_IN_UDP) => Some(UdpTunnel::Mpls),
            _ => None,
        }
    }

    fn gtp_u(&self, at: usize) -> Option<UdpTunnel> {
        let [flags, kind, _, _] = self.bytes::<4>(at)?;
        // Version 1, protocol type GTP, message type G-PDU.
        if flags & 0xf0 != 0x30 || kind != 0xff {
            return None;
        }
        let teid = self.u32(at + 4)?;
        let mut header = 8;
        if flags & 0x07 != 0 {
            let mut extension = if flags & 0x04 != 0 {
                self.u8(at + 11)?
            } else {
                0
            };
            header = 12;
            while extension != 0 {
                let len = usize::from(self.u8(at + header)?) * 4;
                if len == 0 || header > 256 {
                    return None;
                }
                header += len;
                extension = self.u8(at + header - 1)?;
            }
        }
        matches!(self.u8(at + header)? >> 4, 4 | 6).then_some(UdpTunnel::GtpU(header, teid))
    }

    fn teredo(&self, at: usize) -> Option<UdpTunnel> {
        let mut header = 0;
        if self.bytes::<2>(at)? == [0, 1] {
            let [client, value] = self.bytes::<2>(at + 2)?;
            header = 13 + usize::from(client) + usize::from(value);
        }
        if self.bytes::<2>(at + header)? == [0, 0] {
            header += 8;
        }
        let ip = self.bytes::<6>(at + header)?;
        let len = usize::from(u16::from_be_bytes([ip[4], ip[5]])) + 40;
        let on_wire = (self.data.len() + self.meta.cut).checked_sub(at + header)?;
        (ip[0] >> 4 == 6 && len <= on_wire).then_some(UdpTunnel::Teredo(header))
    }

    fn l2tp(&self, at: usize) -> Option<UdpTunnel> {
        let flags = self.u16(at)?;
        // A data message of version 2.
        if flags & 0x8000 != 0 || flags & 0x000f != 2 {
            return None;
        }
        let mut header = 2;
        if flags & 0x4000 != 0 {
            header += 2;
        }
        let session = u32::from(self.u16(at + header + 2)?);
        header += 4;
        if flags & 0x0800 != 0 {
            header += 4;
        }
        if flags & 0x0200 != 0 {
            header += 2 + usize::from(self.u16(at + header)?);
        }
        Some(UdpTunnel::L2tp(header, session))
    }

    /// Decodes what a UDP tunnel carries.
    pub(super) fn udp_tunnel(&mut self, tunnel: UdpTunnel, at: usize) {
        match tunnel {
            UdpTunnel::Vxlan(vni) => {
                if self.overlay("vxlan", vni) {
                    self.ethernet(at + 8);
                }
            }
            UdpTunnel::VxlanGpe(next, vni) => {
                if self.overlay("vxlan-gpe", vni) {
                    match next {
                        1 => self.ipv4(at + 8),
                        2 => self.ipv6(at + 8),
                        3 => self.ethernet(at + 8),
                        4 => self.nsh(at + 8),
                        _ => self.cut(Undecoded::TunnelContent),
                    }
                }
            }
            UdpTunnel::Geneve(options, protocol, vni) => {
                if self.overlay("geneve", vni) {
                    self.ethertype(protocol, at + 8 + options);
                }
            }
            UdpTunnel::GtpU(header, teid) => {
                if self.enter("gtpu", Some(teid)) {
                    self.ip(at + header);
                }
            }
            UdpTunnel::Teredo(header) => {
                if self.enter("teredo", None) {
                    self.ipv6(at + header);
                }
            }
            UdpTunnel::L2tp(header, session) => {
                if self.enter("l2tp", Some(session)) {
                    self.ppp(at + header);
                }
            }
            UdpTunnel::Mpls => {
                if self.enter("mpls-in-udp", None) {
                    self.mpls(at);
                }
            }
        }
    }

    /// Enters an overlay network: its addresses are its own.
    fn overlay(&mut self, kind: &'static str, vni: u32) -> bool {
        self.meta.scope = vni.saturating_add(1);
        self.enter(kind, Some(vni))
    }

    /// Decodes a tunnel straight over IP; `false` when the protocol is none.
    pub(super) fn ip_tunnel(&mut self, protocol: u8, at: usize) -> bool {
        match protocol {
            4 => {
                if self.enter("ipip", None) {
                    self.ipv4(at);
                }
            }
            41 => {
                if self.enter("6in4", None) {
                    self.ipv6(at);
                }
            }
            47 => return self.gre(at),
            // RFC 3378: version 3 and reserved bits, then a frame.
            97 => {
                if self.enter("etherip", None) {
                    self.ethernet(at + 2);
                }
            }
            // RFC 4023.
            137 => {
                if self.enter("mpls-in-ip", None) {
                    self.mpls(at);
                }
            }
            _ => return false,
        }
        true
    }

    /// RFC 2784 and 2890 (version 0), RFC 2637 (version 1, PPTP). `false` when
    /// the content is none that is decoded: then GRE itself is the flow.
    fn gre(&mut self, at: usize) -> bool {
        let Some([f1, f0, p1, p0]) = self.bytes::<4>(at) else {
            self.cut(Undecoded::TransportCut);
            return true;
        };
        let (flags, protocol) = (u16::from_be_bytes([f1, f0]), u16::from_be_bytes([p1, p0]));
        let version = flags & 7;
        // Routing (RFC 1701) was never deployed, and cannot be skipped blindly.
        if version > 1 || flags & 0x4000 != 0 {
            return false;
        }
        let mut header = 4;
        if flags & 0x8000 != 0 {
            header += 4;
        }
        let mut key = None;
        if flags & 0x2000 != 0 {
            key = self.u32(at + header);
            header += 4;
        }
        let sequenced = flags & 0x1000 != 0;
        if sequenced {
            header += 4;
        }
        if version == 1 && flags & 0x0080 != 0 {
            header += 4;
        }
        if version == 1 {
            if flags & 0x2000 != 0 && key.is_none() {
                self.cut(Undecoded::TransportCut);
                return true;
            }
            // Payload length and call id share the key field.
            let [len, call] = key.map_or([0, 0], |key| [key >> 16, key & 0xffff]);
            if protocol != 0x880b || len == 0 {
                return false;
            }
            if self.enter("pptp", Some(call)) {
                self.limit(at + header, len as usize);
                self.ppp(at + header);
            }
            return true;
        }
        match protocol {
            // ERSPAN type II has a sequence number and its own header, type I neither.
            0x88be => {
                let session = self
                    .u32(at + header)
                    .filter(|_| sequenced)
                    .map(|word| word & 0x3ff);
                if self.enter("erspan", session) {
                    self.ethernet(at + header + if sequenced { 8 } else { 0 });
                }
            }
            // ERSPAN type III: 12 bytes, and 8 more when the last bit says so.
            0x22eb => {
                let session = self.u32(at + header).map(|word| word & 0x3ff);
                let more = self.u8(at + header + 11).is_some_and(|byte| byte & 1 != 0);
                if self.enter("erspan", session) {
                    self.ethernet(at + header + if more { 20 } else { 12 });
                }
            }
            // WCCP version 2 puts a redirect header before IP.
            0x883e => {
                if self.enter("wccp", None) {
                    let redirect = self.u8(at + header).is_some_and(|byte| byte >> 4 != 4);
                    self.ip(at + header + if redirect { 4 } else { 0 });
                }
            }
            0x0800 | 0x86dd | 0x6558 | 0x8847 | 0x8848 | 0x880b | 0x8100 => {
                if self.enter("gre", key) {
                    self.ethertype(protocol, at + header);
                }
            }
            _ => return false,
        }
        true
    }
}
