//! Ethernet packets through an independent decoder (etherparse): wherever it
//! finds TCP or UDP, the same is found here. On generated packets always, on
//! public captures where `NSF_CAPTURES` names their folder.

use super::Segment;
use super::build::*;
use super::tests::{careful, generated, mapped, packet, payload};
use crate::capture::{LinkType, Options, Packet, discover, read_serially};
use etherparse::{LaxNetSlice, LaxSlicedPacket, SlicedPacket, TransportSlice};
use proptest::prelude::*;

/// What both decoders tell of a packet.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    ends: ([u8; 16], [u8; 16]),
    ports: (u16, u16),
    protocol: u8,
    seq: u32,
    payload_len: usize,
}

/// What etherparse tells; `None` where it finds no whole TCP or UDP header.
fn oracle(data: &[u8]) -> Option<Told> {
    let sliced = LaxSlicedPacket::from_ethernet(data).ok()?;
    if sliced.stop_err.is_some() {
        return None;
    }
    let ends = match sliced.net.as_ref()? {
        LaxNetSlice::Ipv4(ip) => (
            mapped(ip.header().source()),
            mapped(ip.header().destination()),
        ),
        LaxNetSlice::Ipv6(ip) => (ip.header().source(), ip.header().destination()),
        LaxNetSlice::Arp(_) => return None,
    };
    match sliced.transport? {
        TransportSlice::Tcp(tcp) => Some(Told {
            ends,
            ports: (tcp.source_port(), tcp.destination_port()),
            protocol: 6,
            seq: tcp.sequence_number(),
            payload_len: tcp.payload().len(),
        }),
        TransportSlice::Udp(udp) => Some(Told {
            ends,
            ports: (udp.source_port(), udp.destination_port()),
            protocol: 17,
            seq: 0,
            payload_len: udp.payload().len(),
        }),
        _ => None,
    }
}

fn ours(segment: &Segment) -> Told {
    Told {
        ends: (segment.src, segment.dst),
        ports: (segment.src_port, segment.dst_port),
        protocol: segment.protocol,
        seq: segment.seq,
        payload_len: segment.payload_len as usize,
    }
}

/// Whether both agree, and whether there was anything to compare. The first
/// segment is the outermost, which is all that etherparse looks for.
fn compare(packet: &Packet<'_>) -> Result<bool, String> {
    let Some(expected) = oracle(packet.data) else {
        return Ok(false);
    };
    let found = careful(packet);
    let told = found.segments.first().map(ours);
    if told.as_ref() == Some(&expected) {
        return Ok(true);
    }
    Err(format!(
        "expected {expected:?}, got {told:?} {:?}",
        found.reasons
    ))
}

#[test]
fn public_captures_are_decoded_alike() {
    let named = std::env::var_os("NSF_CAPTURES").map(std::path::PathBuf::from);
    let beside = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/captures");
    let folder = named.unwrap_or(beside);
    if !folder.is_dir() {
        eprintln!(
            "SKIPPED public_captures_are_decoded_alike: no public captures in {} (set NSF_CAPTURES)",
            folder.display()
        );
        return;
    }
    let mut compared = 0_u64;
    let mut differ = Vec::new();
    for mut file in discover(&[folder], &Options::default()).files {
        let path = file.path().to_owned();
        let mut number = 0_u64;
        read_serially(&mut file, |packet| {
            number += 1;
            if packet.link != LinkType(1) {
                return;
            }
            match compare(&packet) {
                Ok(something) => compared += u64::from(something),
                Err(difference) => {
                    differ.push(format!("{} {number}: {difference}", path.display()))
                }
            }
        })
        .expect("readable");
    }
    println!("{compared} packets are alike, {} differ", differ.len());
    assert!(compared > 0, "nothing was compared");
    let shown = differ.get(..differ.len().min(40)).unwrap_or_default();
    assert!(differ.is_empty(), "{}", shown.join("\n"));
}

#[test]
fn cooked_captures_that_etherparse_refuses_are_read() {
    // tcpdump -i any on the loopback interface (ARPHRD 772), a tun device (65534).
    for hardware in [772_u16, 65_534, 512, 519] {
        let data = join(&[
            &[0, 0],
            &hardware.to_be_bytes(),
            &[0; 10],
            &[8, 0],
            &v4_tcp(),
        ]);
        assert!(SlicedPacket::from_linux_sll(&data).is_err());
        let found = careful(&packet(113, &data, data.len()));
        assert_eq!(payload(&data, &found.segments[0]), PAYLOAD);
    }
}

#[test]
fn packets_that_the_strict_slicer_refuses_are_read() {
    let data = frame();
    let cut = &data[..data.len() - 3];
    assert!(SlicedPacket::from_ethernet(cut).is_err());
    let found = careful(&packet(1, cut, data.len()));
    assert_eq!(payload(cut, &found.segments[0]), &PAYLOAD[..4]);
    let mut offloaded = frame();
    offloaded[16..18].copy_from_slice(&[0, 0]);
    assert!(SlicedPacket::from_ethernet(&offloaded).is_err());
    let found = careful(&packet(1, &offloaded, offloaded.len()));
    assert_eq!(payload(&offloaded, &found.segments[0]), PAYLOAD);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn generated_packets_are_decoded_alike(data in generated(), keep in any::<prop::sample::Index>()) {
        let whole = compare(&packet(1, &data, data.len()));
        prop_assert!(whole.is_ok(), "{whole:?}");
        let cut = &data[..keep.index(data.len())];
        let part = compare(&packet(1, cut, data.len()));
        prop_assert!(part.is_ok(), "{part:?}");
    }
}
