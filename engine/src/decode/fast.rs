//! The short way for nearly every packet: Ethernet with at most two VLAN tags,
//! IPv4 or IPv6 without options, fragments or tunnels, TCP or UDP. Anything
//! else is left to the careful walk, which gives the same for these.

use super::Segment;
use super::ip::Checksum;
use super::tunnel::is_tunnel_port;
use super::walk::header_len;
use crate::capture::{LinkType, Packet};

const ETHERNET: LinkType = LinkType(1);

/// The packet's one segment; `None` where the careful walk has to look.
#[inline]
pub(super) fn decode(packet: &Packet<'_>) -> Option<Segment> {
    if packet.link != ETHERNET {
        return None;
    }
    let data = packet.data;
    let mut at = 14;
    let mut kind = u16_at(data, 12)?;
    for _ in 0..2 {
        if !matches!(kind, 0x8100 | 0x88a8) {
            break;
        }
        kind = u16_at(data, at + 2)?;
        at += 4;
    }
    match kind {
        0x0800 => ipv4(packet, at),
        0x86dd => ipv6(packet, at),
        _ => None,
    }
}

#[inline]
fn ipv4(packet: &Packet<'_>, at: usize) -> Option<Segment> {
    let header: &[u8; 20] = packet.data.get(at..at + 20)?.try_into().ok()?;
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    // Version 4, no options; not a fragment; a length that fits.
    let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff;
    let on_wire = (packet.wire_len as usize).checked_sub(at)?;
    if header[0] != 0x45 || fragment != 0 || total < 20 || total > on_wire {
        return None;
    }
    let bits = match Checksum::of(header) {
        Checksum::Good => 0,
        Checksum::Unset => Segment::CHECKSUM_UNSET,
        Checksum::Bad => return None,
    };
    let mut src = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0];
    let mut dst = src;
    src[12..].copy_from_slice(&header[12..16]);
    dst[12..].copy_from_slice(&header[16..20]);
    let mut segment = transport(packet, at + 20, total - 20, total, header[9], src, dst, 4)?;
    segment.bits = bits;
    Some(segment)
}

#[inline]
fn ipv6(packet: &Packet<'_>, at: usize) -> Option<Segment> {
    let header: &[u8; 40] = packet.data.get(at..at + 40)?.try_into().ok()?;
    let len = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let on_wire = (packet.wire_len as usize).checked_sub(at + 40)?;
    if header[0] >> 4 != 6 || len == 0 || len > on_wire {
        return None;
    }
    let src: [u8; 16] = header[8..24].try_into().ok()?;
    let dst: [u8; 16] = header[24..40].try_into().ok()?;
    transport(packet, at + 40, len, len + 40, header[6], src, dst, 6)
}

#[allow(clippy::too_many_arguments, clippy::cast_possible_truncation)] // lengths are below 2^17
#[inline]
fn transport(
    packet: &Packet<'_>,
    at: usize,
    wire_len: usize,
    ip_len: usize,
    protocol: u8,
    src: [u8; 16],
    dst: [u8; 16],
    ip_version: u8,
) -> Option<Segment> {
    let mut segment = Segment {
        src,
        dst,
        ts_ns: packet.ts.as_nanos(),
        record_offset: packet.record_offset,
        payload_offset: 0,
        payload_len: 0,
        payload_wire_len: 0,
        ip_len: ip_len as u32,
        index: packet.index,
        seq: 0,
        ack: 0,
        scope: 0,
        src_port: 0,
        dst_port: 0,
        window: 0,
        link: packet.link.0,
        data_at: header_len(packet),
        protocol,
        ip_version,
        tcp_flags: 0,
        bits: 0,
    };
    let header_len = match protocol {
        6 => {
            let tcp: &[u8; 20] = packet.data.get(at..at + 20)?.try_into().ok()?;
            segment.src_port = u16::from_be_bytes([tcp[0], tcp[1]]);
            segment.dst_port = u16::from_be_bytes([tcp[2], tcp[3]]);
            segment.seq = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]);
            segment.ack = u32::from_be_bytes([tcp[8], tcp[9], tcp[10], tcp[11]]);
            segment.tcp_flags = tcp[13];
            segment.window = u16::from_be_bytes([tcp[14], tcp[15]]);
            let len = usize::from(tcp[12] >> 4) * 4;
            if len < 20 {
                return None;
            }
            len
        }
        17 => {
            let udp: &[u8; 8] = packet.data.get(at..at + 8)?.try_into().ok()?;
            segment.src_port = u16::from_be_bytes([udp[0], udp[1]]);
            segment.dst_port = u16::from_be_bytes([udp[2], udp[3]]);
            let len = usize::from(u16::from_be_bytes([udp[4], udp[5]]));
            let tunnel = is_tunnel_port(segment.src_port) || is_tunnel_port(segment.dst_port);
            if len != wire_len || tunnel {
                return None;
            }
            8
        }
        _ => return None,
    };
    let payload_wire_len = wire_len.checked_sub(header_len)?;
    let payload_at = at + header_len;
    segment.payload_wire_len = payload_wire_len as u32;
    let captured = packet
        .data
        .len()
        .saturating_sub(payload_at)
        .min(payload_wire_len);
    segment.payload_len = captured as u32;
    segment.payload_offset = packet
        .data_offset
        .saturating_add(payload_at.min(packet.data.len()) as u64);
    Some(segment)
}

#[inline]
fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    data.get(at..at + 2)?
        .try_into()
        .ok()
        .map(u16::from_be_bytes)
}
