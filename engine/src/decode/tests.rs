//! What each layer's standard says of hand-built packets; that cut and mutated
//! ones stay consistent; that the short way equals the careful one; that an
//! independent decoder sees the same.

use super::build::*;
use super::ip::Checksum;
use super::walk::{Meta, Sink, Walk};
use super::*;
use crate::anomaly::AnomalyLog;
use crate::capture::LinkType;
use crate::time::CaptureTime;
use proptest::prelude::*;
use std::net::IpAddr;

/// Where test packets lie in their imagined file.
pub(super) const DATA_OFFSET: u64 = 1_000_016;

pub(super) fn packet(link: u16, data: &[u8], wire_len: usize) -> Packet<'_> {
    Packet {
        ts: CaptureTime::from_nanos(1_700_000_000_123_456_789),
        link: LinkType(link),
        interface: 0,
        index: 3,
        record_offset: DATA_OFFSET - 16,
        data_offset: DATA_OFFSET,
        wire_len: u32::try_from(wire_len).expect("small"),
        data,
    }
}

/// Segments, in the order in which they were found, and the rest.
#[derive(Default)]
pub(super) struct Careful {
    pub(super) segments: Vec<Segment>,
    pub(super) fragments: Vec<Fragment>,
    pub(super) reasons: Vec<Undecoded>,
    checksums: u64,
}

impl Sink for Careful {
    fn segment(&mut self, segment: Segment) {
        self.segments.push(segment);
    }
    fn fragment(&mut self, fragment: Fragment) {
        self.fragments.push(fragment);
    }
    fn undecoded(&mut self, reason: Undecoded) {
        self.reasons.push(reason);
    }
    fn ip_checksum(&mut self, _checksum: Checksum) {
        self.checksums += 1;
    }
}

pub(super) fn careful(packet: &Packet<'_>) -> Careful {
    let mut found = Careful::default();
    let limits = Limits::default();
    Walk::new(
        packet.data,
        packet.data_offset,
        Meta::of(packet),
        limits.tunnel_depth,
        &mut found,
    )
    .link(packet.link, 0);
    found
}

fn walk(link: u16, data: &[u8]) -> Careful {
    careful(&packet(link, data, data.len()))
}

fn decoded(packet: &Packet<'_>) -> Decoded {
    let mut decoded = Decoded::new();
    decoded.packet(packet, &Limits::default());
    decoded
}

pub(super) fn mapped(v4: [u8; 4]) -> [u8; 16] {
    std::net::Ipv4Addr::from(v4).to_ipv6_mapped().octets()
}

pub(super) fn payload<'d>(data: &'d [u8], segment: &Segment) -> &'d [u8] {
    let from = usize::try_from(segment.payload_offset - DATA_OFFSET).expect("in the packet");
    &data[from..from + segment.payload_len as usize]
}

/// The one segment that is not a tunnel's outside, checked to be [`PAYLOAD`]
/// over TCP with all that [`tcp`] puts into the header.
#[track_caller]
fn inner(name: &str, data: &[u8], found: &Careful) -> Segment {
    let inner: Vec<_> = found
        .segments
        .iter()
        .filter(|segment| segment.bits & Segment::CARRIES_TUNNEL == 0)
        .collect();
    assert_eq!(inner.len(), 1, "{name}: {:?}", found.reasons);
    let segment = *inner[0];
    let (src, dst, header) = if segment.ip_version == 4 {
        (mapped(SRC), mapped(DST), 20)
    } else {
        (SRC6, DST6, 40)
    };
    assert_eq!((segment.src, segment.dst), (src, dst), "{name}");
    assert_eq!(
        (segment.src_port, segment.dst_port),
        (40_000, 443),
        "{name}"
    );
    assert_eq!(
        (segment.seq, segment.ack),
        (0x0102_0304, 0x0506_0708),
        "{name}"
    );
    assert_eq!((segment.tcp_flags, segment.window), (0x18, 8_192), "{name}");
    assert_eq!(segment.protocol, 6, "{name}");
    assert_eq!(segment.ts_ns, 1_700_000_000_123_456_789, "{name}");
    assert_eq!(
        (segment.index, segment.record_offset),
        (3, DATA_OFFSET - 16)
    );
    assert_eq!(payload(data, &segment), PAYLOAD, "{name}");
    assert_eq!(segment.payload_wire_len, 7, "{name}");
    assert_eq!(segment.ip_len, header + 20 + 7, "{name}");
    assert_eq!(segment.bits & Segment::CHECKSUM_BAD, 0, "{name}");
    segment
}

/// A packet and what has to be found around its one TCP segment.
struct Case {
    name: &'static str,
    link: u16,
    data: Vec<u8>,
    vlans: &'static [u16],
    /// Kind and identifier; those with addresses have the outer ones.
    tunnels: &'static [(&'static str, Option<u32>)],
    scope: u32,
}

fn plain(name: &'static str, link: u16, data: Vec<u8>) -> Case {
    tunnel(name, link, data, &[], 0)
}

fn tunnel(
    name: &'static str,
    link: u16,
    data: Vec<u8>,
    tunnels: &'static [(&'static str, Option<u32>)],
    scope: u32,
) -> Case {
    Case {
        name,
        link,
        data,
        vlans: &[],
        tunnels,
        scope,
    }
}

fn vlan(name: &'static str, data: Vec<u8>, vlans: &'static [u16]) -> Case {
    Case {
        vlans,
        ..plain(name, 1, data)
    }
}

/// Linux cooked capture, version 1 (LINKTYPE_LINUX_SLL).
fn sll(hardware: u16, protocol: u16, body: &[u8]) -> Vec<u8> {
    join(&[
        &[0, 0],
        &hardware.to_be_bytes(),
        &[0, 6],
        &SRC_MAC,
        &[0, 0],
        &protocol.to_be_bytes(),
        body,
    ])
}

/// Version 2 (LINKTYPE_LINUX_SLL2).
fn sll2(hardware: u16, protocol: u16, body: &[u8]) -> Vec<u8> {
    join(&[
        &protocol.to_be_bytes(),
        &[0, 0, 0, 0, 0, 2],
        &hardware.to_be_bytes(),
        &[0, 6],
        &SRC_MAC,
        &[0, 0],
        body,
    ])
}

fn link_cases() -> Vec<Case> {
    let (v4, v6) = (v4_tcp(), v6_tcp());
    let mut cases = vec![
        plain("Ethernet, IPv4", 1, frame()),
        plain("Ethernet, IPv6", 1, ethernet(0x86dd, &v6)),
        plain("Ethernet with padding and trailer", 1, padded(0x0800, &v4)),
        plain("IPv6 with trailer", 1, padded(0x86dd, &v6)),
        plain("802.3, LLC, SNAP", 1, ethernet_802_3(&snap(0x0800, &v4))),
        plain(
            "802.3, LLC of IP",
            1,
            ethernet_802_3(&join(&[&[6, 6, 3], &v4])),
        ),
        vlan(
            "802.1Q",
            ethernet(0x8100, &join(&[&[0xe0, 42, 8, 0], &v4])),
            &[42],
        ),
        vlan(
            "QinQ",
            ethernet(
                0x88a8,
                &join(&[&[0, 7, 0x81, 0, 0x0f, 0xff, 0x86, 0xdd], &v6]),
            ),
            &[7, 4_095],
        ),
        vlan(
            "three tags, the old types",
            ethernet(
                0x9100,
                &join(&[&[0, 1, 0x92, 0, 0, 2, 0x81, 0, 0, 3, 8, 0], &v4]),
            ),
            &[1, 2, 3],
        ),
        vlan(
            "802.1Q before LLC",
            ethernet(
                0x8100,
                &join(&[&[0, 5], &ethernet_802_3(&snap(0x0800, &v4))[12..]]),
            ),
            &[5],
        ),
        plain(
            "VN-Tag",
            1,
            ethernet(0x8926, &join(&[&[0, 1, 0, 2, 8, 0], &v4])),
        ),
        plain(
            "provider backbone",
            1,
            ethernet(0x88e7, &join(&[&[0, 0, 1, 2], &frame()])),
        ),
        plain(
            "MACsec, clear, with SCI and check value",
            1,
            ethernet(
                0x88e5,
                &join(&[&[0x20, 0], &[0; 4], &[1; 8], &[8, 0], &v4, &[9; 16]]),
            ),
        ),
        plain(
            "MACsec, clear, without SCI",
            1,
            ethernet(0x88e5, &join(&[&[0, 0], &[0; 4], &[8, 0], &v4, &[9; 16]])),
        ),
        tunnel(
            "MPLS, two labels",
            1,
            ethernet(0x8847, &join(&[&[0, 1, 0x00, 64, 0, 2, 0x01, 64], &v4])),
            &[("mpls", Some(16)), ("mpls", Some(32))],
            0,
        ),
        tunnel(
            "MPLS, IPv6",
            1,
            ethernet(0x8848, &join(&[&[0, 1, 0x01, 64], &v6])),
            &[("mpls", Some(16))],
            0,
        ),
        tunnel(
            "pseudowire with control word",
            1,
            ethernet(0x8847, &join(&[&[0, 1, 0x01, 64], &[0; 4], &frame()])),
            &[("mpls", Some(16))],
            0,
        ),
        tunnel(
            "PPPoE",
            1,
            padded(
                0x8864,
                &join(&[&[0x11, 0, 0x12, 0x34, 0, 49], &[0, 0x21], &v4]),
            ),
            &[("pppoe", Some(0x1234))],
            0,
        ),
        tunnel(
            "PPPoE by link type, IPv6, compressed protocol",
            51,
            join(&[&[0x11, 0, 0, 1, 0, 68], &[0x57], &v6]),
            &[("pppoe", Some(1))],
            0,
        ),
        plain("PPP", 9, join(&[&[0, 0x21], &v4])),
        plain("PPP in HDLC framing", 9, join(&[&[0xff, 3, 0, 0x57], &v6])),
        plain(
            "PPP, protocol compressed",
            50,
            join(&[&[0xff, 3, 0x21], &v4]),
        ),
        plain(
            "Cisco HDLC on a PPP link",
            50,
            join(&[&[0x0f, 0, 8, 0], &v4]),
        ),
        plain("Cisco HDLC", 104, join(&[&[0x0f, 0, 8, 0], &v4])),
        plain(
            "PPP with direction",
            204,
            join(&[&[1, 0xff, 3, 0, 0x21], &v4]),
        ),
        plain("raw IPv4", 101, v4.clone()),
        plain("raw IPv6", 101, v6.clone()),
        plain("raw, number of OpenBSD", 14, v4.clone()),
        plain("LINKTYPE_IPV4", 228, v4.clone()),
        plain("LINKTYPE_IPV6", 229, v6.clone()),
        plain("ENC", 109, join(&[&[0; 12], &v4])),
        plain(
            "FDDI",
            10,
            join(&[&[0x50], &DST_MAC, &SRC_MAC, &snap(0x0800, &v4)]),
        ),
        plain("IP over 1394", 138, join(&[&[1; 8], &[2; 8], &[8, 0], &v4])),
        plain("DOCSIS", 143, join(&[&[0, 0, 0, 61, 0, 0], &frame()])),
        plain(
            "DOCSIS, extended",
            143,
            join(&[&[1, 3, 0, 64, 1, 2, 3, 0, 0], &frame()]),
        ),
        plain("mPacket", 274, join(&[&[0x55; 7], &[0xd5], &frame()])),
        plain("pflog", 117, join(&[&[61, 2, 0, 0], &[0; 60], &v4])),
        plain("ipnet", 226, join(&[&[1, 2], &[0; 22], &v4])),
        plain("ipnet, IPv6", 226, join(&[&[1, 26], &[0; 22], &v6])),
        plain(
            "NFLOG",
            239,
            // A prefix of five bytes, padded to eight, then the packet.
            join(&[
                &[2, 0, 0, 0],
                &[5, 0, 10, 0, 0, 0, 0, 0],
                &[51, 0, 9, 0],
                &v4,
                &[0],
            ]),
        ),
        plain("802.11", 105, ieee80211(8, 0, &[], &snap(0x0800, &v4))),
        plain(
            "802.11, to the station",
            105,
            ieee80211(8, 2, &[], &snap(0x86dd, &v6)),
        ),
        plain(
            "802.11, four addresses",
            105,
            ieee80211(8, 3, &[4; 6], &snap(0x0800, &v4)),
        ),
        plain(
            "802.11, QoS",
            105,
            ieee80211(0x88, 1, &[0, 0], &snap(0x0800, &v4)),
        ),
        plain(
            "802.11, QoS, HT control",
            105,
            ieee80211(0x88, 0x81, &[0; 6], &snap(0x0800, &v4)),
        ),
        plain(
            "802.11, QoS, aligned",
            105,
            ieee80211(0x88, 1, &[0; 4], &snap(0x0800, &v4)),
        ),
        plain(
            "radiotap",
            127,
            join(&[
                &[0, 0, 12, 0],
                &[0; 8],
                &ieee80211(8, 1, &[], &snap(0x0800, &v4)),
                &[9; 4],
            ]),
        ),
        plain(
            "Prism",
            119,
            join(&[
                &[0, 0, 0, 0x44, 144, 0, 0, 0],
                &[0; 136],
                &ieee80211(8, 1, &[], &snap(0x0800, &v4)),
            ]),
        ),
        plain(
            "AVS",
            163,
            join(&[
                &[0x80, 0x21, 0x10, 1, 0, 0, 0, 64],
                &[0; 56],
                &ieee80211(8, 1, &[], &snap(0x0800, &v4)),
            ]),
        ),
        plain(
            "PPI around Ethernet",
            192,
            join(&[&[0, 0, 12, 0, 1, 0, 0, 0], &[0; 4], &frame()]),
        ),
        plain(
            "SLL around radiotap",
            113,
            sll(
                803,
                4,
                &join(&[
                    &[0, 0, 8, 0, 0, 0, 0, 0],
                    &ieee80211(8, 1, &[], &snap(0x0800, &v4)),
                ]),
            ),
        ),
        tunnel(
            "NSH (RFC 8300) between Ethernets",
            1,
            ethernet(
                0x894f,
                &join(&[&[0x0f, 0xc2, 2, 3, 0, 1, 2, 255], &frame()]),
            ),
            &[("nsh", Some(0x102))],
            0,
        ),
        tunnel(
            "NSH with context",
            1,
            ethernet(
                0x894f,
                &join(&[&[0x0f, 0xc6, 1, 1, 0, 0, 9, 255], &[7; 16], &v4]),
            ),
            &[("nsh", Some(9))],
            0,
        ),
    ];
    // Every family number that is in use, in either byte order.
    for (family, packet) in [(2, &v4), (10, &v6), (24, &v6), (28, &v6), (30, &v6)] {
        cases.push(plain(
            "null, big-endian",
            0,
            join(&[&[0, 0, 0, family], packet]),
        ));
        cases.push(plain(
            "loop, little-endian",
            108,
            join(&[&[family, 0, 0, 0], packet]),
        ));
    }
    // The device types that etherparse refuses among them: loopback, PPP, raw, none.
    for hardware in [1, 772, 512, 519, 65_534, 778, 0xffff] {
        cases.push(plain("SLL", 113, sll(hardware, 0x0800, &v4)));
        cases.push(plain("SLL, IPv6", 113, sll(hardware, 0x86dd, &v6)));
        cases.push(plain("SLL2", 276, sll2(hardware, 0x0800, &v4)));
        cases.push(Case {
            vlans: &[9],
            ..plain(
                "SLL2, tagged",
                276,
                sll2(hardware, 0x8100, &join(&[&[0, 9, 8, 0], &v4])),
            )
        });
    }
    for hardware in [512, 519, 65_534] {
        cases.push(plain("SLL without protocol", 113, sll(hardware, 0, &v4)));
    }
    cases.push(plain("SLL, 802.2", 113, sll(1, 4, &snap(0x0800, &v4))));
    cases
}

fn tunnel_cases() -> Vec<Case> {
    let (v4, v6) = (v4_tcp(), v6_tcp());
    let over_ip = |protocol, content: &[u8]| ethernet(0x0800, &outer(protocol, content));
    let over_udp = |port, content: &[u8]| over_ip(17, &udp(50_000, port, content));
    vec![
        tunnel(
            "GRE",
            1,
            over_ip(47, &gre(0, 0x0800, &[], &v4)),
            &[("gre", None)],
            0,
        ),
        tunnel(
            "GRE with checksum, key and sequence number",
            1,
            over_ip(47, &gre(0xb000, 0x86dd, &[0, 77, 1], &v6)),
            &[("gre", Some(77))],
            0,
        ),
        tunnel(
            "GRE, bridged",
            1,
            over_ip(47, &gre(0x2000, 0x6558, &[0x1234], &frame())),
            &[("gre", Some(0x1234))],
            0,
        ),
        tunnel(
            "GRE, MPLS",
            1,
            over_ip(47, &gre(0, 0x8847, &[0x0001_0140], &v4)),
            &[("gre", None), ("mpls", Some(16))],
            0,
        ),
        tunnel(
            "PPTP (RFC 2637)",
            1,
            // Key with length and call id, sequence and acknowledgement.
            over_ip(
                47,
                &gre(
                    0x3081,
                    0x880b,
                    &[51 << 16 | 5, 1, 2],
                    &join(&[&[0xff, 3, 0, 0x21], &v4]),
                ),
            ),
            &[("pptp", Some(5))],
            0,
        ),
        tunnel(
            "ERSPAN I",
            1,
            over_ip(47, &gre(0, 0x88be, &[], &frame())),
            &[("erspan", None)],
            0,
        ),
        tunnel(
            "ERSPAN II",
            1,
            over_ip(47, &gre(0x1000, 0x88be, &[1, 0x1000_0064, 0], &frame())),
            &[("erspan", Some(100))],
            0,
        ),
        tunnel(
            "ERSPAN III",
            1,
            over_ip(47, &gre(0x1000, 0x22eb, &[1, 0x2000_0064, 0, 0], &frame())),
            &[("erspan", Some(100))],
            0,
        ),
        tunnel(
            "ERSPAN III with platform header",
            1,
            over_ip(
                47,
                &gre(0x1000, 0x22eb, &[1, 0x2000_0064, 0, 1, 0, 0], &frame()),
            ),
            &[("erspan", Some(100))],
            0,
        ),
        tunnel(
            "WCCP 2",
            1,
            over_ip(47, &gre(0, 0x883e, &[0x0001_0000], &v4)),
            &[("wccp", None)],
            0,
        ),
        tunnel("IP in IP", 1, over_ip(4, &v4), &[("ipip", None)], 0),
        tunnel("6in4", 1, over_ip(41, &v6), &[("6in4", None)], 0),
        tunnel(
            "EtherIP",
            1,
            over_ip(97, &join(&[&[0x30, 0], &frame()])),
            &[("etherip", None)],
            0,
        ),
        tunnel(
            "MPLS in IP",
            1,
            over_ip(137, &join(&[&[0, 1, 1, 64], &v4])),
            &[("mpls-in-ip", None), ("mpls", Some(16))],
            0,
        ),
        tunnel(
            "VXLAN",
            1,
            over_udp(4_789, &vxlan(5_000, &frame())),
            &[("vxlan", Some(5_000))],
            5_001,
        ),
        tunnel(
            "VXLAN, largest identifier, port of Linux",
            1,
            over_udp(8_472, &vxlan(0xff_ffff, &frame())),
            &[("vxlan", Some(0xff_ffff))],
            0x100_0000,
        ),
        tunnel(
            "VXLAN-GPE",
            1,
            over_udp(4_790, &join(&[&[0x0c, 0, 0, 1, 0, 0, 2, 0], &v4])),
            &[("vxlan-gpe", Some(2))],
            3,
        ),
        tunnel(
            "VXLAN-GPE, NSH",
            1,
            over_udp(
                4_790,
                &join(&[
                    &[0x0c, 0, 0, 4, 0, 0, 2, 0, 0x0f, 0xc2, 2, 1, 0, 0, 1, 9],
                    &v4,
                ]),
            ),
            &[("vxlan-gpe", Some(2)), ("nsh", Some(1))],
            3,
        ),
        tunnel(
            "GENEVE with options",
            1,
            over_udp(
                6_081,
                &join(&[&[2, 0, 0x65, 0x58, 0, 0, 9, 0], &[0; 8], &frame()]),
            ),
            &[("geneve", Some(9))],
            10,
        ),
        tunnel(
            "GENEVE, IPv6",
            1,
            over_udp(6_081, &join(&[&[0, 0, 0x86, 0xdd, 0, 0, 1, 0], &v6])),
            &[("geneve", Some(1))],
            2,
        ),
        tunnel(
            "GTP-U",
            1,
            over_udp(2_152, &join(&[&[0x30, 255, 0, 47, 0, 0, 1, 2], &v4])),
            &[("gtpu", Some(258))],
            0,
        ),
        tunnel(
            "GTP-U with sequence number and extension",
            1,
            over_udp(
                2_152,
                &join(&[
                    &[0x36, 255, 0, 55, 0, 0, 1, 2, 0, 1, 0, 0x85, 1, 0, 9, 0],
                    &v4,
                ]),
            ),
            &[("gtpu", Some(258))],
            0,
        ),
        tunnel("Teredo", 1, over_udp(3_544, &v6), &[("teredo", None)], 0),
        tunnel(
            "Teredo with authentication and origin",
            1,
            over_udp(
                3_544,
                // One byte of client id, two of value, nonce, confirmation; port and address.
                &join(&[
                    &[0, 1, 1, 2, 7, 8, 8],
                    &[3; 8],
                    &[0],
                    &[0, 0, 1, 1, 2, 2, 2, 2],
                    &v6,
                ]),
            ),
            &[("teredo", None)],
            0,
        ),
        tunnel(
            "L2TP, bare",
            1,
            over_udp(1_701, &join(&[&[0, 2, 0, 1, 0, 2, 0xff, 3, 0, 0x21], &v4])),
            &[("l2tp", Some(2))],
            0,
        ),
        tunnel(
            "L2TP with length, sequence and offset",
            1,
            over_udp(
                1_701,
                &join(&[
                    &[0x4a, 2, 0, 65, 0, 1, 0, 2, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0x21],
                    &v4,
                ]),
            ),
            &[("l2tp", Some(2))],
            0,
        ),
        tunnel(
            "MPLS in UDP",
            1,
            over_udp(6_635, &join(&[&[0, 1, 1, 64], &v4])),
            &[("mpls-in-udp", None), ("mpls", Some(16))],
            0,
        ),
    ]
}

/// Layers that [`Segment::TUNNELED`] does not count: they have no ends of their own.
fn is_tag(kind: &str) -> bool {
    matches!(kind, "mpls" | "pppoe")
}

#[test]
fn every_encapsulation_leads_to_the_segment_inside() {
    for case in link_cases().into_iter().chain(tunnel_cases()) {
        let found = walk(case.link, &case.data);
        let segment = inner(case.name, &case.data, &found);
        assert_eq!(found.reasons, [], "{}", case.name);
        assert_eq!(segment.scope, case.scope, "{}", case.name);
        let tunneled = case.tunnels.iter().any(|(kind, _)| !is_tag(kind));
        assert_eq!(
            segment.bits & Segment::TUNNELED != 0,
            tunneled,
            "{}",
            case.name
        );
        let context = link_context(LinkType(case.link), &case.data, &segment);
        assert_eq!(context.vlan_ids, case.vlans, "{}", case.name);
        let tunnels: Vec<_> = context.tunnels.iter().map(|t| (t.kind, t.id)).collect();
        assert_eq!(tunnels, case.tunnels, "{}", case.name);
        // What the rest of the engine calls gives the same.
        let whole = decoded(&packet(case.link, &case.data, case.data.len()));
        let mut all = whole.shards.concat();
        all.retain(|segment| segment.bits & Segment::CARRIES_TUNNEL == 0);
        assert_eq!(all, [segment], "{}", case.name);
        assert_eq!(
            (whole.counters.malformed, whole.counters.unsupported),
            (0, 0)
        );
    }
}

#[test]
fn tunnels_over_ip_have_the_addresses_of_their_ends() {
    for case in tunnel_cases() {
        let found = walk(case.link, &case.data);
        let segment = inner(case.name, &case.data, &found);
        let context = link_context(LinkType(case.link), &case.data, &segment);
        let ends = (Some(IpAddr::from(OUTER_SRC)), Some(IpAddr::from(OUTER_DST)));
        let first = &context.tunnels[0];
        assert_eq!((first.src, first.dst), ends, "{}", case.name);
        assert_eq!(context.src_mac, Some(SRC_MAC), "{}", case.name);
        assert_eq!(context.dst_mac, Some(DST_MAC), "{}", case.name);
        // Those over UDP are flows themselves.
        let outer = found.segments.first().expect("one at least");
        if outer.bits & Segment::CARRIES_TUNNEL != 0 {
            assert_eq!(outer.src, mapped(OUTER_SRC), "{}", case.name);
            assert_eq!((outer.protocol, outer.scope), (17, 0), "{}", case.name);
            assert_eq!(outer.bits, Segment::CARRIES_TUNNEL, "{}", case.name);
            assert_eq!(outer.src_port, 50_000, "{}", case.name);
        }
    }
}

#[test]
fn macs_are_those_of_sender_and_receiver() {
    let of = |link, data: &[u8]| {
        let segment = inner("macs", data, &walk(link, data));
        let context = link_context(LinkType(link), data, &segment);
        (context.src_mac, context.dst_mac)
    };
    let v4 = snap(0x0800, &v4_tcp());
    assert_eq!(of(1, &frame()), (Some(SRC_MAC), Some(DST_MAC)));
    assert_eq!(of(113, &sll(1, 0x0800, &v4_tcp())), (Some(SRC_MAC), None));
    assert_eq!(of(276, &sll2(1, 0x0800, &v4_tcp())), (Some(SRC_MAC), None));
    assert_eq!(of(101, &v4_tcp()), (None, None));
    // IEEE 802.11, table 9-60: which address is whose depends on To DS and From DS.
    let (first, second, third) = (Some(DST_MAC), Some(SRC_MAC), Some([2; 6]));
    assert_eq!(of(105, &ieee80211(8, 0, &[], &v4)), (second, first));
    assert_eq!(of(105, &ieee80211(8, 1, &[], &v4)), (second, third));
    assert_eq!(of(105, &ieee80211(8, 2, &[], &v4)), (third, first));
    assert_eq!(
        of(105, &ieee80211(8, 3, &[4; 6], &v4)),
        (Some([4; 6]), third)
    );
}

#[test]
fn cuts_at_every_length_cost_only_what_is_missing() {
    for case in link_cases().into_iter().chain(tunnel_cases()) {
        let full = case.data.len();
        let whole = inner(case.name, &case.data, &walk(case.link, &case.data));
        for keep in 0..full {
            let data = &case.data[..keep];
            let found = careful(&packet(case.link, data, full));
            for segment in &found.segments {
                let _ = payload(data, segment);
                let _ = link_context(LinkType(case.link), data, segment);
                assert!(segment.payload_len <= segment.payload_wire_len);
                if segment.protocol == 6 {
                    assert_eq!(segment.payload_wire_len, 7, "{} at {keep}", case.name);
                    let begins = usize::try_from(whole.payload_offset - DATA_OFFSET).unwrap();
                    let have = keep.saturating_sub(begins).min(7);
                    assert_eq!(segment.payload_len as usize, have, "{}", case.name);
                    assert_eq!(segment.ip_len, whole.ip_len, "{}", case.name);
                }
            }
            // Either the segment is there, or it is said why not.
            assert!(
                !found.reasons.is_empty() || found.segments.iter().any(|s| s.protocol == 6)
                    // A tunnel whose own header is cut cannot be told from data.
                    || found.segments.iter().any(|s| s.protocol == 17),
                "{} at {keep}",
                case.name
            );
        }
    }
}

#[test]
fn a_cut_among_tcp_options_points_to_no_bytes_outside() {
    let mut segment = tcp(&[1; 40]);
    segment[12] = 0xf0;
    let data = ethernet(0x0800, &ipv4(6, &segment));
    for keep in 54..data.len() {
        for found in [
            careful(&packet(1, &data[..keep], data.len())).segments[0],
            fast::decode(&packet(1, &data[..keep], data.len())).expect("plain"),
        ] {
            assert_eq!((found.payload_len, found.payload_wire_len), (0, 0));
            assert!(found.payload_offset <= DATA_OFFSET + keep as u64);
        }
    }
}

/// Checks what is found in an Ethernet frame: payload lengths, reasons.
#[track_caller]
fn lies(data: &[u8], expected: &[(u8, u32)], reasons: &[Undecoded]) {
    let found = walk(1, data);
    let segments: Vec<_> = found
        .segments
        .iter()
        .map(|segment| (segment.protocol, segment.payload_wire_len))
        .collect();
    assert_eq!(segments, expected);
    assert_eq!(found.reasons, reasons);
}

#[test]
fn lengths_that_lie_are_told_and_bounded() {
    use Undecoded::{IpCut, TransportCut};
    let with = |at: usize, value: u16| {
        let mut data = ethernet(0x0800, &ipv4(17, &udp(1, 2, PAYLOAD)));
        data[at..at + 2].copy_from_slice(&value.to_be_bytes());
        data[24..26].copy_from_slice(&[0, 0]);
        data
    };
    // UDP: shorter is a trailer; zero is unknown (RFC 2675); longer and below eight are wrong.
    lies(&with(38, 12), &[(17, 4)], &[]);
    lies(&with(38, 0), &[(17, 7)], &[]);
    lies(&with(38, 16), &[(17, 7)], &[TransportCut]);
    lies(&with(38, 7), &[(17, 7)], &[TransportCut]);
    // IPv4: zero is left to the hardware; longer than the frame; shorter than itself.
    lies(&with(16, 0), &[(17, 7)], &[]);
    lies(&with(16, 900), &[(17, 7)], &[IpCut]);
    lies(&with(16, 19), &[], &[IpCut]);
    lies(&with(16, 27), &[], &[TransportCut]);
    // TCP: header shorter than itself, or longer than the packet.
    let tcp_offset = |words: u8| {
        let mut data = frame();
        data[46] = words << 4;
        data
    };
    lies(&tcp_offset(4), &[], &[TransportCut]);
    lies(&tcp_offset(6), &[(6, 3)], &[]);
    lies(&tcp_offset(7), &[], &[TransportCut]);
    // IPv6: longer than the frame; zero.
    let six = |value: u16| {
        let mut data = ethernet(0x86dd, &v6_tcp());
        data[18..20].copy_from_slice(&value.to_be_bytes());
        data
    };
    lies(&six(900), &[(6, 7)], &[IpCut]);
    lies(&six(0), &[(6, 7)], &[]);
    lies(&six(19), &[], &[TransportCut]);
}

#[test]
fn segmentation_offload_takes_the_length_of_the_frame() {
    let big = vec![0x17; 65_530];
    let mut data = join(&[&ethernet(0x0800, &v4_tcp())[..54], &big]);
    data[16..18].copy_from_slice(&[0, 0]);
    data[24..26].copy_from_slice(&[0, 0]);
    let found = walk(1, &data);
    assert_eq!(found.segments.len(), 1);
    assert_eq!(found.segments[0].payload_len, 65_530);
    assert_eq!(found.segments[0].ip_len, 65_570);
    // And so where the capture cut it.
    let cut = careful(&packet(1, &data[..100], data.len()));
    assert_eq!(cut.segments[0].payload_len, 46);
    assert_eq!(cut.segments[0].payload_wire_len, 65_530);
}

#[test]
fn options_and_extension_headers_are_passed() {
    let options = V4 {
        options: vec![7, 7, 4, 0, 0, 0, 0, 0],
        ..V4::new(6)
    };
    let data = ethernet(0x0800, &options.of(&tcp(PAYLOAD)));
    let found = walk(1, &data);
    assert_eq!(payload(&data, &found.segments[0]), PAYLOAD);
    let six =
        |first: u8, chain: &[u8]| ethernet(0x86dd, &ipv6(first, &join(&[chain, &tcp(PAYLOAD)])));
    let cases: [(u8, &[u8]); 8] = [
        (0, &[6, 0, 5, 2, 0, 0, 0, 0]),
        (43, &[6, 1, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]),
        (60, &[135, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0]),
        // Atomic fragment (RFC 6946).
        (44, &[6, 0, 0, 0, 0, 0, 0, 1]),
        // Authentication header of 24 bytes (RFC 4302), alone, and before options.
        (
            51,
            &[
                6, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9,
            ],
        ),
        (
            51,
            &[60, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 6, 0, 0, 0, 0, 0, 0, 0],
        ),
        (139, &[6, 0, 0, 0, 0, 0, 0, 0]),
        (140, &[6, 0, 0, 0, 0, 0, 0, 0]),
    ];
    for (first, chain) in cases {
        let data = six(first, chain);
        let found = walk(1, &data);
        assert_eq!(found.segments.len(), 1, "{first}: {:?}", found.reasons);
        assert_eq!(payload(&data, &found.segments[0]), PAYLOAD, "{first}");
        assert_eq!(found.segments[0].dst_port, 443);
    }
    let ah = join(&[&[6, 4, 0, 0], &[0; 20], &tcp(PAYLOAD)]);
    let data = ethernet(0x0800, &ipv4(51, &ah));
    assert_eq!(payload(&data, &walk(1, &data).segments[0]), PAYLOAD);
    // A chain without end is cut off, and said to be.
    let endless = [0, 0, 1, 4, 0, 0, 0, 0].repeat(100);
    let found = walk(1, &six(0, &endless));
    assert!(found.segments.is_empty());
    assert_eq!(found.reasons, [Undecoded::TooDeep]);
}

#[test]
fn other_transports_are_flows_too() {
    let one = |protocol, content: &[u8]| {
        let data = ethernet(0x0800, &ipv4(protocol, content));
        let found = walk(1, &data);
        assert_eq!(found.segments.len(), 1, "{protocol}");
        let segment = found.segments[0];
        (
            segment.src_port,
            segment.dst_port,
            segment.seq,
            payload(&data, &segment).to_vec(),
        )
    };
    assert_eq!(
        one(1, &[8, 0, 1, 2, 0, 9, 0, 1, 5, 5]),
        (8, 0, 0x0009_0001, vec![5, 5])
    );
    let sctp = [0, 80, 1, 0, 0, 0, 0, 77, 0, 0, 0, 0, 3, 3];
    assert_eq!(one(132, &sctp), (80, 256, 77, vec![3, 3]));
    assert_eq!(one(50, &[1, 2, 3]), (0, 0, 0, vec![1, 2, 3]));
    // UDP-Lite's length is what the checksum covers (RFC 3828).
    assert_eq!(
        one(136, &[0, 1, 0, 2, 0, 8, 0, 0, 9, 9]),
        (1, 2, 0, vec![9, 9])
    );
    // GRE that carries something unknown stays itself.
    assert_eq!(one(47, &[0, 0, 0x12, 0x34, 1]).3, [0, 0, 0x12, 0x34, 1]);
}

#[test]
fn what_is_not_decoded_is_counted_by_its_reason() {
    use Undecoded::*;
    let cases: Vec<(u16, Vec<u8>, Undecoded)> = vec![
        (9_999, frame(), LinkType),
        (1, ethernet(0x0806, &[0; 28]), Arp),
        (1, ethernet(0x88cc, &[0; 28]), EtherType),
        (1, ethernet_802_3(&[0x42, 0x42, 3, 0]), NoData),
        (1, ethernet(0x88e5, &[0x2c; 40]), LinkEncrypted),
        (1, vec![0; 13], LinkCut),
        (1, ethernet(0x0800, &[0x45; 19]), IpCut),
        (1, ethernet(0x0800, &v6_tcp()), IpCut),
        (
            1,
            ethernet(0x894f, &[0x0f, 0xc1, 2, 1, 0, 0, 0, 0]),
            LinkCut,
        ),
        (105, ieee80211(0x48, 1, &[], &[]), NoData),
        (105, ieee80211(0x80, 0, &[], &[]), NoData),
        (105, ieee80211(8, 0x41, &[], &[0; 20]), LinkEncrypted),
        (192, vec![0, 0, 8, 0, 192, 0, 0, 0], LinkType),
        (0, vec![0, 0, 0, 7, 1], EtherType),
        (113, sll(824, 0, &[0; 20]), NoData),
        (239, vec![2, 0, 0, 0, 0, 0, 0, 0], LinkCut),
        (
            274,
            join(&[&[0x55; 6], &[0x61, 0xe6, 0x61], &frame()]),
            NoData,
        ),
        (143, join(&[&[0xc2, 0, 0, 0, 0, 0], &frame()]), NoData),
    ];
    for (link, data, reason) in cases {
        let got = decoded(&packet(link, &data, data.len()));
        assert_eq!(got.counters.of(reason), 1, "{link} {reason:?}");
        assert!(got.shards.iter().all(Vec::is_empty));
        assert_eq!(got.counters.malformed, u64::from(reason.is_malformed()));
        assert_eq!(got.counters.unsupported, u64::from(!reason.is_malformed()));
    }
}

#[test]
fn frames_of_an_aggregate_are_apart() {
    let sub = |body: &[u8]| {
        let len = u16::try_from(body.len()).expect("small").to_be_bytes();
        let mut sub = join(&[&DST_MAC, &SRC_MAC, &len, body]);
        sub.resize(sub.len().next_multiple_of(4), 0);
        sub
    };
    let tunneled = outer(17, &udp(1, 4_789, &vxlan(5, &frame())));
    let mut bad = ipv4(17, &udp(1, 2, b"x"));
    bad[8] ^= 1;
    let frames = join(&[
        &sub(&snap(0x0800, &tunneled)),
        &sub(&snap(0x0800, &bad)),
        &sub(&snap(0x0800, &v4_tcp())),
    ]);
    let data = ieee80211(0x88, 1, &[0x80, 0], &frames);
    let found = walk(105, &data);
    let seen: Vec<_> = found
        .segments
        .iter()
        .map(|segment| (segment.protocol, segment.scope, segment.bits))
        .collect();
    let expected = [
        (17, 0, Segment::CARRIES_TUNNEL),
        (6, 6, Segment::TUNNELED),
        (17, 0, Segment::CHECKSUM_BAD),
        (6, 0, 0),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn tunnels_nest_only_so_deep() {
    let depth = usize::from(Limits::default().tunnel_depth);
    let nested = |levels: usize| {
        let mut content = v4_tcp();
        for _ in 0..levels {
            content = outer(4, &content);
        }
        ethernet(0x0800, &content)
    };
    let data = nested(depth);
    let segment = inner("deepest", &data, &walk(1, &data));
    let context = link_context(LinkType(1), &data, &segment);
    assert_eq!(context.tunnels.len(), depth);
    let found = walk(1, &nested(depth + 1));
    assert!(found.segments.is_empty());
    assert_eq!(found.reasons, [Undecoded::TooDeep]);
    // Tags without end are cut off as well.
    let found = walk(1, &ethernet(0x8100, &[0, 1, 0x81, 0].repeat(16_000)));
    assert_eq!(found.reasons, [Undecoded::TooDeep]);
    let found = walk(1, &ethernet(0x8847, &[0; 64_000]));
    assert_eq!(found.reasons, [Undecoded::TooDeep]);
}

#[test]
fn ports_alone_make_no_tunnel() {
    for port in [1_701, 2_152, 3_544, 4_789, 4_790, 8_472] {
        let data = ethernet(0x0800, &ipv4(17, &udp(9, port, &[0xc0; 30])));
        let found = walk(1, &data);
        assert_eq!(found.segments.len(), 1, "{port}");
        assert_eq!(found.segments[0].bits, 0, "{port}");
        assert_eq!(found.reasons, [], "{port}");
    }
}

#[test]
fn fragments_are_described_not_decoded() {
    let first = V4 {
        fragment: 0x2000,
        id: 0xbeef,
        ..V4::new(17)
    };
    let data = padded(0x0800, &first.of(&udp(1, 2, &[5; 16])));
    let found = walk(1, &data);
    assert!(found.segments.is_empty());
    let fragment = found.fragments[0];
    assert_eq!((fragment.id, fragment.at, fragment.more), (0xbeef, 0, true));
    assert_eq!((fragment.payload_len, fragment.payload_wire_len), (24, 24));
    assert_eq!(fragment.ip_len, 44);
    let six = [17, 0, 0x05, 0xb8, 0, 0, 0x12, 0x34];
    let data = ethernet(0x86dd, &ipv6(44, &join(&[&six, &[5; 10]])));
    let cut = careful(&packet(1, &data[..data.len() - 4], data.len()));
    let fragment = cut.fragments[0];
    assert_eq!(
        (fragment.id, fragment.at, fragment.more),
        (0x1234, 1_464, false)
    );
    assert_eq!((fragment.payload_len, fragment.payload_wire_len), (6, 10));
    assert_eq!((fragment.protocol, fragment.ip_version), (17, 6));
}

/// How many header checksums were read and wrong, what the segment's bits say,
/// and how often that is an anomaly of the file.
#[track_caller]
fn checksums(data: &[u8], captured: usize, expected: (u64, u64, u8, u64)) {
    let got = decoded(&packet(1, &data[..captured], data.len()));
    let mut log = AnomalyLog::default();
    got.oddities.report(0, 0, &mut log);
    let noted = log
        .rows()
        .iter()
        .filter(|row| row.kind == AnomalyKind::ChecksumBad);
    let counters = &got.counters;
    let told = (
        counters.ip_checksums,
        counters.ip_checksums_bad,
        got.shards
            .concat()
            .first()
            .map_or(0, |segment| segment.bits),
        noted.map(|row| row.count).sum(),
    );
    assert_eq!(told, expected);
}

#[test]
fn wrong_checksums_are_counted_and_marked() {
    let (bad, unset) = (Segment::CHECKSUM_BAD, Segment::CHECKSUM_UNSET);
    let options = V4 {
        options: vec![7, 7, 4, 0, 0, 0, 0, 0],
        ..V4::new(6)
    };
    let options = ethernet(0x0800, &options.of(&tcp(PAYLOAD)));
    for good in [frame(), options] {
        checksums(&good, good.len(), (1, 0, 0, 0));
        let mut wrong = good.clone();
        wrong[22] ^= 1;
        checksums(&wrong, wrong.len(), (1, 1, bad, 0));
        // Left to the network card: wrong, but told of the file, not of each flow.
        let mut zero = good.clone();
        zero[24..26].copy_from_slice(&[0, 0]);
        checksums(&zero, zero.len(), (1, 1, unset, 1));
    }
    // Zero is right where all else sums up to minus zero.
    let mut right = frame();
    let sum = u16::from_be_bytes([right[24], right[25]]);
    let id = u16::from_be_bytes([right[18], right[19]]);
    let (id, carry) = id.overflowing_add(sum);
    right[18..20].copy_from_slice(&(id + u16::from(carry)).to_be_bytes());
    right[24..26].copy_from_slice(&[0, 0]);
    checksums(&right, right.len(), (1, 0, 0, 0));
    // A wrong option, of a header with a right rest; options that the capture cut.
    let mut wrong = ethernet(
        0x0800,
        &V4 {
            options: vec![1; 8],
            ..V4::new(6)
        }
        .of(&tcp(PAYLOAD)),
    );
    wrong[36] = 0;
    checksums(&wrong, wrong.len(), (1, 1, bad, 0));
    checksums(&wrong, 14 + 24, (0, 0, 0, 0));
}

#[test]
fn what_is_malformed_names_its_packets() {
    let mut decoded = Decoded::new();
    let short = ethernet(0x0800, &ipv4(6, &[0; 10]));
    for (index, data) in (10..).zip([frame(), short.clone(), frame(), short]) {
        let packet = Packet {
            index,
            record_offset: u64::from(index) * 100,
            ..packet(1, &data, data.len())
        };
        decoded.packet(&packet, &Limits::default());
    }
    let mut log = AnomalyLog::default();
    // Of two chunks with 1,000 packets before the first and 20 in it.
    decoded.oddities.report(7, 1_000, &mut log);
    decoded.oddities.report(7, 1_020, &mut log);
    let [row] = log.rows() else { panic!("{log:?}") };
    assert_eq!(row.kind, AnomalyKind::TransportMalformed);
    assert_eq!(
        (row.first.capture, row.first.frame, row.first.offset),
        (7, 1_012, 1_100)
    );
    assert_eq!(
        (row.last.frame, row.last.offset, row.count),
        (1_034, 1_300, 4)
    );
    assert_eq!(&*row.detail, "A transport header is cut or inconsistent.");
}

#[test]
fn both_directions_share_a_shard() {
    let there = walk(1, &frame()).segments[0];
    let back = Segment {
        src: there.dst,
        dst: there.src,
        src_port: there.dst_port,
        dst_port: there.src_port,
        ..there
    };
    assert_eq!(shard_of(&there), shard_of(&back));
    let echo = |src, dst, kind| Segment {
        src,
        dst,
        src_port: kind,
        dst_port: 0,
        protocol: 1,
        ..there
    };
    assert_eq!(
        shard_of(&echo(there.src, there.dst, 8)),
        shard_of(&echo(there.dst, there.src, 0))
    );
}

/// Whatever the short way gives, the careful one gives, and nothing else.
#[track_caller]
fn ways_agree(packet: &Packet<'_>) {
    if let Some(segment) = fast::decode(packet) {
        let found = careful(packet);
        assert_eq!(found.segments, [segment]);
        assert_eq!(found.fragments, []);
        assert_eq!(found.reasons, []);
        assert_eq!(found.checksums, u64::from(segment.ip_version == 4));
    }
}

/// Frames of the shapes that the short way takes, or nearly.
pub(super) fn generated() -> impl Strategy<Value = Vec<u8>> {
    let body = prop::collection::vec(any::<u8>(), 0..60);
    let port = prop_oneof![Just(443_u16), Just(4_789), Just(2_152), any::<u16>()];
    (
        any::<[bool; 3]>(),
        0..3_usize,
        port.clone(),
        port,
        body,
        0..12_usize,
        5..9_u8,
    )
        .prop_map(
            |([six, stream, more], tags, src, dst, body, trailer, words)| {
                let transport = if stream {
                    let mut segment = tcp(&body);
                    segment[12] = words << 4;
                    segment[..2].copy_from_slice(&src.to_be_bytes());
                    segment
                } else {
                    udp(src, dst, &body)
                };
                let protocol = if stream { 6 } else { 17 };
                let (kind, ip) = if six {
                    (0x86dd_u16, ipv6(protocol, &transport))
                } else {
                    let header = V4 {
                        fragment: if more { 0 } else { 0x4000 },
                        ..V4::new(protocol)
                    };
                    (0x0800, header.of(&transport))
                };
                let mut frame = join(&[&DST_MAC, &SRC_MAC]);
                for tag in 0..tags {
                    frame.extend(if tag == 0 && tags == 2 {
                        [0x88, 0xa8]
                    } else {
                        [0x81, 0]
                    });
                    frame.extend([0, 9]);
                }
                frame.extend(kind.to_be_bytes());
                frame.extend(ip);
                frame.extend(vec![0xee; trailer]);
                frame
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn the_short_way_equals_the_careful_one(
        data in generated(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        keep in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        ways_agree(&packet(1, &data, data.len()));
        let full = data.len();
        let mut data = data;
        for (at, value) in changes {
            // Headers are what matters.
            let at = at.index(full.min(70));
            data[at] = value;
        }
        ways_agree(&packet(1, &data, full));
        if cut {
            ways_agree(&packet(1, &data[..keep.index(full)], full));
        }
    }

    #[test]
    fn plain_packets_take_the_short_way(data in generated()) {
        let found = careful(&packet(1, &data, data.len()));
        let plain = found.segments.len() == 1
            && found.reasons.is_empty()
            && found.segments[0].bits == 0
            && ![found.segments[0].src_port, found.segments[0].dst_port]
                .iter()
                .any(|&port| found.segments[0].protocol == 17 && tunnel::is_tunnel_port(port));
        if plain {
            prop_assert!(fast::decode(&packet(1, &data, data.len())).is_some());
        }
    }

    #[test]
    fn mutations_and_cuts_never_break_the_walk(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        keep in any::<prop::sample::Index>(),
        longer in 0..4_usize,
    ) {
        let cases: Vec<_> = link_cases().into_iter().chain(tunnel_cases()).collect();
        let case = which.get(&cases);
        let mut data = case.data.clone();
        for (at, value) in changes {
            let at = at.index(data.len());
            data[at] = value;
        }
        let data = &data[..keep.index(data.len() + 1)];
        let packet = packet(case.link, data, data.len() + longer * 500);
        let found = careful(&packet);
        for segment in &found.segments {
            let _ = payload(data, segment);
            prop_assert!(segment.payload_len <= segment.payload_wire_len);
            prop_assert!(segment.payload_wire_len <= packet.wire_len);
            let _ = link_context(packet.link, data, segment);
        }
        for fragment in &found.fragments {
            let from = usize::try_from(fragment.payload_offset - DATA_OFFSET).unwrap();
            prop_assert!(from + fragment.payload_len as usize <= data.len());
        }
        let whole = decoded(&packet);
        prop_assert_eq!(whole.shards.iter().map(Vec::len).sum::<usize>(), found.segments.len());
    }

    #[test]
    fn noise_never_breaks_the_walk(
        link in prop::sample::select(vec![
            0_u16, 1, 9, 10, 12, 50, 51, 101, 104, 105, 108, 109, 113, 117, 119, 127, 138, 143,
            163, 192, 204, 226, 228, 229, 239, 274, 276,
        ]),
        data in prop::collection::vec(any::<u8>(), 0..300),
        more in 0..100_usize,
    ) {
        let found = careful(&packet(link, &data, data.len() + more));
        for segment in &found.segments {
            let _ = payload(&data, segment);
        }
        // Nothing is dropped in silence.
        let told = found.segments.len() + found.fragments.len() + found.reasons.len();
        prop_assert!(told > 0);
    }
}
