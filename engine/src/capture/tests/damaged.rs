//! Damage costs only what it touches, whatever the chunks.

use super::build::{MICROS, Ng, data};
use super::formats::variants;
use super::*;
use crate::anomaly::AnomalyKind;
use proptest::prelude::*;

/// Reads in three ways and asserts that they agree.
#[track_caller]
fn read(bytes: &[u8]) -> Option<Essence> {
    let ways = [
        Options::default(),
        small_chunks(61, true),
        small_chunks(97, false),
    ];
    let mut read = ways
        .map(|options| read_file(bytes, &options).map(essence).ok())
        .into_iter();
    let first = read.next().flatten();
    for other in read {
        assert_eq!(other, first);
    }
    first
}

/// The packet without its number.
fn content(packet: &Seen) -> Seen {
    Seen {
        frame: 0,
        ..packet.clone()
    }
}

/// Flips each byte behind `from`, and asserts that every packet whose record
/// was not touched is found as before.
#[track_caller]
fn flip_each(file: &[u8], from: usize, mask: u8, record_end: impl Fn(&Seen) -> u64) {
    let (before, ..) = read(file).expect("a capture");
    for at in from..file.len() {
        let mut bytes = file.to_vec();
        bytes[at] ^= mask;
        let Some((after, damage, lost, _)) = read(&bytes) else {
            panic!("unreadable after a flip at {at}");
        };
        let after: Vec<_> = after.iter().map(content).collect();
        let mut missing = 0;
        for packet in &before {
            let touched = packet.record_offset <= at as u64 && (at as u64) < record_end(packet);
            let found = after.contains(&content(packet));
            assert!(
                found || touched,
                "flip at {at}: {packet:?} is lost; {damage:?}"
            );
            missing += u64::from(
                !after
                    .iter()
                    .any(|other| other.record_offset == packet.record_offset),
            );
        }
        let (_, finished) = read_file(&bytes, &Options::default()).expect("as before");
        // A block whose kind was hit is an unknown block.
        let lost = lost + finished.extras.unknown_blocks + finished.extras.custom_blocks;
        assert!(
            missing <= lost,
            "flip at {at}: {missing} missing, {lost} counted"
        );
    }
}

#[test]
fn a_flipped_byte_costs_one_packet_of_a_pcap() {
    for variant in variants() {
        let file = variant.file(12);
        let from = variant.header().len();
        for mask in [0xff, 0x01] {
            flip_each(&file, from, mask, |packet| {
                packet.data_offset + packet.data.len() as u64
            });
        }
    }
}

#[test]
fn a_flipped_byte_costs_one_packet_of_a_pcapng() {
    for big_endian in [false, true] {
        let file = Ng::file(big_endian, 12);
        let from = Ng::file(big_endian, 0).len();
        for mask in [0xff, 0x01] {
            flip_each(&file, from, mask, |packet| {
                packet.data_offset + (packet.data.len() as u64).next_multiple_of(4) + 4
            });
        }
    }
}

#[test]
fn flips_in_headers_never_panic_and_all_ways_agree() {
    let files = variants().into_iter().map(|variant| (variant.file(9), 28));
    let ng = [false, true].map(|big_endian| (Ng::file(big_endian, 9), 60));
    for (file, to) in files.chain(ng) {
        for at in 0..to {
            for mask in [0xff, 0x01, 0x80] {
                let mut bytes = file.clone();
                bytes[at] ^= mask;
                let _ = read(&bytes);
            }
        }
    }
}

#[test]
fn what_is_cut_off_is_all_that_is_lost() {
    let pcaps = variants().into_iter().map(|variant| variant.file(6));
    for file in pcaps.chain([Ng::file(false, 6), Ng::file(true, 6)]) {
        let (before, ..) = read(&file).expect("a capture");
        for len in 0..file.len() {
            let Some((after, damage, lost, _)) = read(&file[..len]) else {
                assert!(len < 28, "unreadable when cut to {len}");
                continue;
            };
            assert_eq!(after.as_slice(), &before[..after.len()], "cut to {len}");
            let clean = damage.is_empty();
            let whole = before
                .iter()
                .filter(|packet| {
                    packet.data_offset as usize + packet.data.len().next_multiple_of(4) + 4 <= len
                })
                .count();
            assert!(
                after.len() >= whole,
                "cut to {len}: {} of {whole}",
                after.len()
            );
            assert_eq!(clean, lost == 0, "cut to {len}: {damage:?}");
            assert!(
                damage
                    .iter()
                    .all(|damage| damage.kind == AnomalyKind::CaptureTruncated)
            );
        }
    }
}

#[test]
fn garbage_between_records_is_skipped_and_counted() {
    let pcap = MICROS.file(30);
    let (before, ..) = read(&pcap).expect("a capture");
    let ng = Ng::file(true, 30);
    let (ng_before, ..) = read(&ng).expect("a capture");
    for (file, before) in [(pcap, before), (ng, ng_before)] {
        let cut = before[13].record_offset as usize;
        for garbage in [
            vec![0; 5_000],
            vec![0xee; 77],
            vec![0; 16],
            b"GET / HTTP/1.1\r\n".to_vec(),
        ] {
            let bytes = [&file[..cut], &garbage, &file[cut..]].concat();
            let (after, damage, _, _) = read_every_way(&bytes).expect("a capture");
            assert_eq!(after.len(), 30, "{} bytes of garbage", garbage.len());
            assert_eq!(damage.len(), 1, "{damage:?}");
            assert_eq!(damage[0].first.offset, cut as u64);
            assert_eq!(damage[0].first.packets_before, 13);
            let (_, finished) = read_file(&bytes, &Options::default()).expect("a capture");
            assert_eq!(finished.summary.bytes_skipped, garbage.len() as u64);
        }
    }
}

/// A length that reaches over its successors does not swallow them.
#[test]
fn a_record_that_claims_its_successors_gives_them_back() {
    let file = MICROS.file(40);
    let (before, ..) = read(&file).expect("a capture");
    for claimed in [200_u32, 333, 1_000] {
        let mut bytes = file.clone();
        let at = before[5].record_offset as usize + 8;
        bytes[at..at + 4].copy_from_slice(&claimed.to_le_bytes());
        let (after, damage, lost, _) = read_every_way(&bytes).expect("a capture");
        // The original length still tells the true one.
        assert_eq!((&after, lost), (&before, 0), "claims {claimed}");
        assert_eq!(damage[0].kind, AnomalyKind::RecordLengthLies);
        assert_eq!(damage[0].first.packets_before, 5);
    }
}

/// Someone downloads a capture: the chains inside the packets are perfect, and
/// must neither be taken for records nor cost the packets around them.
#[test]
fn a_capture_inside_a_capture_stays_inside() {
    let inner = MICROS.file(400);
    let mut file = MICROS.header();
    for (number, part) in (0..).zip(inner.chunks(1_400)) {
        file.extend(MICROS.record(1_800_000_000 + number, 0, part.len() as u32, part));
    }
    let (before, damage, ..) = read_every_way(&file).expect("a capture");
    assert_eq!(
        (before.len(), damage.len()),
        (inner.len().div_ceil(1_400), 0)
    );
    // The header of a record in the middle is destroyed: the packet before it
    // survives although a chain of its own runs through it.
    let victim = &before[9];
    let mut bytes = file.clone();
    let at = victim.record_offset as usize;
    bytes[at..at + 16].fill(0xff);
    let (after, _, lost, _) = read_every_way(&bytes).expect("a capture");
    assert_eq!(&after[..9], &before[..9]);
    assert!(lost >= 1);
}

/// Chains everywhere that break just before they count: the search must stay
/// linear. (A quadratic one would not end within any patience.)
#[test]
fn hostile_chains_do_not_make_the_search_quadratic() {
    let mut file = MICROS.header();
    for number in 0..40_000_u32 {
        let len = if number % 8 == 7 { 0xffff_ffff } else { 20 };
        for word in [5, number, len, 40_u32] {
            file.extend(word.to_le_bytes());
        }
        file.extend([1, 0, 0, 0].repeat(5));
    }
    let (packets, damage, ..) = read(&file).expect("a capture");
    assert!(packets.len() as u64 + damage.iter().map(|damage| damage.count).sum::<u64>() > 0);
    let mut ng = Ng::file(false, 1);
    for number in 0..60_000_u32 {
        ng.extend([6, 0, 0, 0, 16, 0, 0, 0, number as u8, 0, 0, 0, 16, 0, 0, 0]);
    }
    assert!(read(&ng).is_some());
}

/// A hole of zeros is skipped, not read as a million empty packets.
#[test]
fn a_hole_of_zeros_holds_no_packets() {
    let mut file = MICROS.file(20);
    file.extend(vec![0; 100_000]);
    let (packets, damage, ..) = read_every_way(&file).expect("a capture");
    assert_eq!((packets.len(), damage.len()), (20, 1));
}

fn base() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(MICROS.file(25)),
        Just(variants().pop().expect("one").file(25)),
        Just(Ng::file(false, 25)),
        Just(Ng::file(true, 25)),
        Just(MICROS.header()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Any bytes behind a header, and any splice into a sound file, give the
    /// same packets and the same notes however they are cut.
    #[test]
    fn any_damage_is_the_same_for_any_chunks(
        mut file in base(),
        edits in prop::collection::vec(
            (any::<prop::sample::Index>(), 0_usize..200, prop::collection::vec(any::<u8>(), 0..120)),
            0..5,
        ),
        chunk_bytes in 1_usize..3_000,
        use_mmap in any::<bool>(),
    ) {
        for (at, remove, insert) in edits {
            let at = at.index(file.len() - 24 + 1) + 24;
            let to = (at + remove).min(file.len());
            let at = at.min(file.len());
            file.splice(at..to.max(at), insert);
        }
        let whole = read_file(&file, &Options::default()).map(essence);
        let other = read_file(&file, &small_chunks(chunk_bytes, use_mmap)).map(essence);
        prop_assert_eq!(&other, &whole);
    }

    /// Small words are what false headers are made of.
    #[test]
    fn small_words_are_walked_alike(
        words in prop::collection::vec(prop_oneof![Just(0_u32), 0_u32..100, Just(0x0a0d_0d0a), 1_u32..11], 0..400),
        chunk_bytes in 1_usize..500,
        pcapng in any::<bool>(),
        use_mmap in any::<bool>(),
    ) {
        let mut file = if pcapng { Ng::file(false, 2) } else { MICROS.file(2) };
        file.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        let whole = read_file(&file, &Options::default()).map(essence);
        let other = read_file(&file, &small_chunks(chunk_bytes, use_mmap)).map(essence);
        prop_assert_eq!(&other, &whole);
    }

    /// Any bytes at all end in an error or an end.
    #[test]
    fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..2_000), magic in 0_usize..6) {
        let mut bytes = bytes;
        let start: &[u8] = match magic {
            0 => &[],
            1 => &[0xd4, 0xc3, 0xb2, 0xa1],
            2 => &[0x0a, 0x0d, 0x0d, 0x0a, 0, 0, 0, 28, 0x1a, 0x2b, 0x3c, 0x4d],
            3 => &[0x1f, 0x8b, 8],
            4 => &[0x28, 0xb5, 0x2f, 0xfd],
            _ => &[0xa1, 0xb2, 0x3c, 0x4d],
        };
        let len = start.len().min(bytes.len());
        bytes[..len].copy_from_slice(&start[..len]);
        let _ = read_bytes(bytes, &small_chunks(100, false), |_| {});
    }
}

#[test]
fn packet_bytes_are_distinct_so_that_a_mix_up_would_show() {
    assert_ne!(data(1), data(2));
}
