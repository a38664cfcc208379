//! What honest files hold, and what is said of files that are no captures.
//! Expectations come from the formats' drafts.

use super::build::{MICROS, Ng, Pcap, data};
use super::*;
use crate::anomaly::AnomalyKind;

#[track_caller]
fn sound(bytes: &[u8]) -> (Vec<Seen>, Finished) {
    let (_, damage, lost, _) = read_every_way(bytes).expect("a capture");
    assert_eq!((damage.len(), lost), (0, 0), "{damage:?}");
    read_file(bytes, &Options::default()).expect("a capture")
}

pub(super) fn variants() -> Vec<Pcap> {
    let mut all = Vec::new();
    for big_endian in [false, true] {
        for magic in [
            0xa1b2_c3d4,
            0xa1b2_3c4d,
            0xa1b2_cd34,
            0x1c00_01ac,
            0x1c00_01ab,
        ] {
            all.push(Pcap {
                big_endian,
                magic,
                ..MICROS
            });
        }
    }
    all
}

/// Trap: the crate's slice reader takes every file for little-endian.
#[test]
fn every_pcap_variant_in_both_byte_orders() {
    for variant in variants() {
        let (packets, finished) = sound(&variant.file(20));
        assert_eq!(packets.len(), 20, "{variant:?}");
        let micros = matches!(variant.magic, 0xa1b2_c3d4 | 0xa1b2_cd34);
        for (number, packet) in (0..).zip(&packets) {
            let scale = if micros { 1_000 } else { 1 };
            let ts = (1_700_000_000 + i64::from(number)) * 1_000_000_000
                + i64::from(number) * 1_000 * scale;
            assert_eq!(packet.ts, ts, "{variant:?}");
            assert_eq!(packet.data, data(number));
            assert_eq!(
                (packet.link, packet.interface, packet.frame),
                (1, 0, u64::from(number))
            );
        }
        assert_eq!(
            finished.summary.ts_precision,
            if micros { "us" } else { "ns" }
        );
        assert_eq!(finished.summary.format, "pcap");
    }
}

/// Trap: the link type is the low 16 bits of a field that says more.
#[test]
fn frame_check_sequences_are_removed() {
    // Bit 26: a length follows; bits 28 to 31: two words of 16 bits.
    let pcap = Pcap {
        network: 0x2400_0000 | 105,
        ..MICROS
    };
    let mut file = pcap.header();
    file.extend(pcap.record(1, 0, 64, &[9; 64]));
    file.extend(pcap.record(2, 0, 64, &[9; 62]));
    file.extend(pcap.record(3, 0, 64, &[9; 50]));
    let (packets, finished) = sound(&file);
    let lens: Vec<_> = packets
        .iter()
        .map(|packet| (packet.data.len(), packet.wire_len))
        .collect();
    assert_eq!(lens, [(60, 64), (60, 64), (50, 64)]);
    assert!(packets.iter().all(|packet| packet.link == 105));
    assert_eq!(finished.summary.packets_truncated, 2);
    assert_eq!(finished.summary.bytes_captured, 64 + 62 + 50);
}

/// Old versions state the original length first, 2.3 either way.
#[test]
fn old_versions_swap_the_lengths() {
    for version in [(2, 2), (2, 3), (543, 0)] {
        let pcap = Pcap { version, ..MICROS };
        let mut file = pcap.header();
        for number in 0..3 {
            for word in [5, number, 1_500, 60] {
                file.extend(pcap.u32(word));
            }
            file.extend([9; 60]);
        }
        let (packets, _) = sound(&file);
        let lens: Vec<_> = packets
            .iter()
            .map(|packet| (packet.data.len(), packet.wire_len))
            .collect();
        assert_eq!(lens, [(60, 1_500); 3], "{version:?}");
    }
}

#[test]
fn empty_records_and_short_originals_are_honest() {
    let mut file = MICROS.header();
    for number in 0..4 {
        file.extend(MICROS.record(7, number, 0, &[]));
        file.extend(MICROS.record(7, number, 10, &data(number)));
        file.extend(MICROS.record(7, number, 1_514, &[]));
    }
    let (packets, finished) = sound(&file);
    assert_eq!(packets.len(), 12);
    assert_eq!(packets[1].wire_len as usize, packets[1].data.len());
    assert_eq!(finished.summary.packets_truncated, 4);
}

#[test]
fn a_header_alone_is_a_capture_without_packets() {
    let (packets, finished) = sound(&MICROS.header());
    assert_eq!((packets.len(), finished.summary.ts_first), (0, None));
    let (packets, finished) = sound(&Ng::file(true, 0));
    assert_eq!((packets.len(), finished.summary.sections), (0, 1));
}

#[test]
fn sections_of_both_byte_orders_number_interfaces_on() {
    let mut first = Ng::new(false);
    let options = [
        first.option(2, b"a machine"),
        first.option(3, b"an OS"),
        first.option(4, b"an app"),
        first.option(1, b"a remark"),
        first.option(0, b""),
    ]
    .concat();
    first.section(&options);
    let name = first.option(2, b"eth0");
    first.interface(1, 0, &name);
    first.interface(101, 96, &[]);
    first.enhanced(1, 1_000_000, &data(1));
    first.enhanced(0, 2_000_000, &data(2));
    let mut second = Ng::new(true);
    second.section(&[]);
    second.interface(113, 0, &[]);
    second.enhanced(0, 3_000_000, &data(3));
    let (packets, finished) = sound(&[first.out, second.out].concat());
    let found: Vec<_> = packets
        .iter()
        .map(|packet| (packet.interface, packet.link, packet.ts / 1_000_000_000))
        .collect();
    assert_eq!(found, [(1, 101, 1), (0, 1, 2), (2, 113, 3)]);
    let summary = finished.summary;
    assert_eq!(summary.sections, 2);
    assert_eq!(summary.link_types, [1, 101, 113]);
    assert_eq!(summary.snaplen, Some(96));
    assert_eq!(summary.comments, 1);
    assert_eq!(summary.capture_hw.as_deref(), Some("a machine"));
    assert_eq!(summary.capture_os.as_deref(), Some("an OS"));
    assert_eq!(summary.capture_app.as_deref(), Some("an app"));
    assert_eq!(summary.interfaces[0].name.as_deref(), Some("eth0"));
    let packets: Vec<_> = summary
        .interfaces
        .iter()
        .map(|interface| interface.packets)
        .collect();
    assert_eq!(packets, [1, 1, 1]);
}

/// Traps: powers of two lose the time, offsets are read little-endian and
/// unsigned, seconds are cut to 32 bits.
#[test]
fn resolutions_and_offsets() {
    const SECOND: i64 = 1_000_000_000;
    let cases: [(Option<u8>, i64, u64, i64); 12] = [
        (None, 0, 1_500_000, 1_500_000_000),
        (Some(0), 0, 5_000_000_000, 5_000_000_000 * SECOND),
        (Some(3), 0, 1_234, 1_234_000_000),
        (Some(9), 0, 77, 77),
        (Some(12), 0, 1_999, 1),
        (Some(127), 0, u64::MAX, 0),
        (Some(0x80), 0, 3, 3 * SECOND),
        (Some(0x80 | 10), 0, 1_536, 1_500_000_000),
        (Some(0x80 | 32), 0, (2 << 32) | (1 << 31), 2_500_000_000),
        (Some(6), -10, 3_000_000, -7 * SECOND),
        (Some(6), 1_000_000_000, 1, 1_000_000_000 * SECOND + 1_000),
        (Some(0), i64::MAX, u64::MAX, i64::MAX),
    ];
    for big_endian in [false, true] {
        for (resolution, offset, ticks, expected) in cases {
            let mut ng = Ng::new(big_endian);
            ng.section(&[]);
            let mut options = Vec::new();
            if let Some(resolution) = resolution {
                options.extend(ng.option(9, &[resolution]));
            }
            if offset != 0 {
                options.extend(ng.option(14, &ng.u64(offset as u64)));
            }
            ng.interface(1, 0, &options);
            ng.enhanced(0, ticks, &data(1));
            let (packets, _) = sound(&ng.out);
            assert_eq!(packets[0].ts, expected, "{resolution:?} {offset} {ticks}");
        }
    }
}

/// Trap: the crate hands out a packet's padding and reads the obsolete block
/// as unknown.
#[test]
fn simple_and_obsolete_packets() {
    for big_endian in [false, true] {
        let mut ng = Ng::new(big_endian);
        ng.section(&[]);
        ng.interface(1, 50, &[]);
        ng.simple(33, &[1; 33]);
        ng.simple(2_000, &[2; 50]);
        ng.obsolete(0, 9_000_000, &[3; 45]);
        let (packets, finished) = sound(&ng.out);
        let found: Vec<_> = packets
            .iter()
            .map(|packet| (packet.ts, packet.data.len(), packet.wire_len))
            .collect();
        assert_eq!(
            found,
            [(0, 33, 33), (0, 50, 2_000), (9_000_000_000, 45, 45)]
        );
        // A simple packet has no time, so it takes no part in the file's.
        let nine = Some(CaptureTime::from_nanos(9_000_000_000));
        assert_eq!(
            (finished.summary.ts_first, finished.summary.ts_last),
            (nine, nine)
        );
        assert_eq!(finished.summary.time_backward_steps, 0);
    }
}

#[test]
fn names_secrets_comments_and_unknown_blocks_are_kept() {
    for big_endian in [false, true] {
        let mut ng = Ng::new(big_endian);
        ng.section(&[]);
        ng.interface(1, 0, &[]);
        let mut names = ng.option(1, b"\x0a\x00\x00\x01one\0uno\0");
        names.extend(ng.option(2, &[&[0xfe_u8; 16][..], b"six\0"].concat()));
        names.extend([0; 4]);
        names.extend(ng.option(1, b"about names"));
        ng.block(4, &names);
        let mut secrets = ng.u32(0x544c_534b).to_vec();
        secrets.extend(ng.u32(5));
        secrets.extend(b"12345");
        ng.block(10, &secrets);
        ng.block(0x0bad, &[1; 8]);
        ng.block(0x7777_7777, &[1; 8]);
        let comment = ng.option(1, b"look here");
        let body = ng.enhanced_body(0, 1, 3, 3, &[1; 3], &comment);
        ng.block(6, &body);
        let (packets, finished) = sound(&ng.out);
        assert_eq!(packets.len(), 1);
        let extras = finished.extras;
        let names: Vec<_> = extras
            .names
            .iter()
            .map(|known| known.name.as_str())
            .collect();
        assert_eq!(names, ["one", "uno", "six"]);
        // Trap: the block pads what its length field counts.
        assert_eq!(extras.secrets[0].data.as_slice(), b"12345");
        assert!(!format!("{:?}", extras.secrets).contains("12345"));
        assert_eq!((extras.custom_blocks, extras.unknown_blocks), (1, 1));
        let comments: Vec<_> = extras
            .comments
            .iter()
            .map(|(_, text)| text.as_str())
            .collect();
        assert_eq!(comments, ["about names", "look here"]);
        assert_eq!(
            (finished.summary.comments, finished.summary.dsb_secrets),
            (2, 1)
        );
    }
}

#[test]
fn secrets_of_a_file_are_known_before_its_packets() {
    for big_endian in [false, true] {
        let mut ng = Ng::new(big_endian);
        ng.section(&[]);
        ng.interface(1, 0, &[]);
        let body = ng.enhanced_body(0, 1, 3, 3, &[1; 3], &[]);
        ng.block(6, &body);
        // Damage in between hides none that follow.
        ng.out.extend([0x55; 21]);
        ng.block(6, &body);
        ng.block(6, &body);
        ng.block(6, &body);
        for text in [b"one!", b"two!"] {
            let mut secrets = ng.u32(0x544c_534b).to_vec();
            secrets.extend(ng.u32(4));
            secrets.extend(text);
            ng.block(10, &secrets);
            ng.block(6, &body);
        }
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), &ng.out).expect("written");
        let found = discover(&[file.path().to_owned()], &Options::default());
        let texts: Vec<_> = found.files[0]
            .secrets_ahead()
            .iter()
            .map(|secrets| secrets.data.to_vec())
            .collect();
        assert_eq!(texts, [b"one!", b"two!"]);
    }
}

/// Trap: a whole block whose captured length lies looks incomplete to the
/// crate, which a reader takes for the end of the file.
#[test]
fn a_lying_captured_length_costs_one_packet() {
    let mut ng = Ng::new(false);
    ng.section(&[]);
    ng.interface(1, 0, &[]);
    ng.enhanced(0, 1, &data(1));
    let body = ng.enhanced_body(0, 2, 4_000, 4_000, &data(2), &[]);
    let at = ng.block(6, &body);
    ng.enhanced(0, 3, &data(3));
    let no_interface = ng.enhanced_body(5, 2, 4, 4, &[1; 4], &[]);
    ng.block(6, &no_interface);
    ng.enhanced(0, 4, &data(4));
    let (packets, damage, lost, _) = read_every_way(&ng.out).expect("a capture");
    let found: Vec<_> = packets.iter().map(|packet| packet.data.clone()).collect();
    assert_eq!(found, [data(1), data(3), data(4)]);
    assert_eq!(lost, 2);
    assert_eq!(damage[0].kind, AnomalyKind::BlockMalformed);
    assert_eq!((damage[0].count, damage[0].first.offset), (2, at as u64));
    assert_eq!(damage[0].first.packets_before, 1);
}

#[test]
fn a_section_of_another_version_is_not_read() {
    let mut ng = Ng::new(false);
    ng.out = Ng::file(false, 2);
    let at = ng.section(&[]);
    ng.out[at + 12] = 2;
    ng.interface(1, 0, &[]);
    ng.enhanced(0, 3, &data(3));
    ng.out.extend(Ng::file(true, 2));
    let (packets, damage, lost, _) = read_every_way(&ng.out).expect("a capture");
    assert_eq!((packets.len(), lost), (4, 1));
    assert!(damage[0].detail.contains("version 2.0"), "{damage:?}");
}

#[test]
fn a_lying_section_length_is_noted_and_ignored() {
    let mut ng = Ng::new(true);
    let at = ng.section(&[]);
    let lie = ng.u64(12_345);
    ng.out[at + 16..at + 24].copy_from_slice(&lie);
    ng.interface(1, 0, &[]);
    ng.enhanced(0, 1, &data(1));
    ng.out.extend(Ng::file(false, 3));
    let (packets, damage, lost, _) = read_every_way(&ng.out).expect("a capture");
    assert_eq!((packets.len(), lost, damage.len()), (4, 0, 1));
}

#[track_caller]
fn refused(bytes: &[u8], word: &str) {
    let error = read_file(bytes, &Options::default())
        .map(|_| ())
        .expect_err("refused");
    assert!(error.contains(word), "{error}");
}

#[test]
fn what_is_no_capture_is_named() {
    refused(b"", "empty");
    refused(b"PK\x03\x04rest", "zip");
    refused(b"\xfd7zXZ\0rest", "xz -d");
    refused(b"snoop\0\0\0\0\0\0\x02", "editcap");
    refused(b"<!DOCTYPE html><p>404", "HTML");
    refused(b"time,src,dst\n", "text");
    refused(b"\x01\x02\x03\x04\0\0", "01 02 03 04");
    refused(&MICROS.header()[..20], "ends after 20 of 24 bytes");
    refused(&Ng::file(false, 0)[..20], "first block");
}

#[test]
fn files_are_ordered_by_their_first_packet() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        std::fs::write(path, bytes).expect("written");
    };
    let at = |seconds| [MICROS.header(), MICROS.record(seconds, 0, 4, &[1; 4])].concat();
    write("a.pcap", &at(300));
    write("b/later.pcap", &at(100));
    write("c.pcap", &MICROS.header());
    write("d.pcapng", &Ng::file(false, 1));
    write("notes.txt", b"not a capture");
    let found = discover(
        &[folder.path().to_owned(), "/does/not/exist".into()],
        &Options::default(),
    );
    let names: Vec<_> = found
        .files
        .iter()
        .map(|file| {
            file.path()
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    assert_eq!(names, ["later.pcap", "a.pcap", "d.pcapng", "c.pcap"]);
    let problems: Vec<_> = found
        .problems
        .iter()
        .map(|(_, error)| error.to_string())
        .collect();
    assert_eq!(problems.len(), 2, "{problems:?}");
}
