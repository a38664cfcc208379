//! Compressed files, pipes, and files that change while they are read.

use super::build::{MICROS, Ng};
use super::*;
use crate::anomaly::AnomalyKind;
use flate2::Compression as Level;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};
use std::io::Read;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Level::default());
    encoder.write_all(bytes).expect("written");
    encoder.finish().expect("ended")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 1).expect("compressed")
}

/// Packets and damage, without what names the compression.
#[track_caller]
fn packets(bytes: &[u8], options: &Options) -> (Vec<Seen>, Finished) {
    read_file(bytes, options).expect("a capture")
}

#[test]
fn compressed_captures_read_like_plain_ones() {
    for plain in [MICROS.file(300), Ng::file(true, 300)] {
        let (expected, _) = packets(&plain, &Options::default());
        let (a, b) = plain.split_at(777);
        let cases = [
            ("gz", gzip(&plain)),
            ("gz", [gzip(a), gzip(b)].concat()),
            ("zst", zstd(&plain)),
            ("zst", [zstd(a), zstd(b)].concat()),
        ];
        for (suffix, stored) in cases {
            for options in [Options::default(), small_chunks(100, true)] {
                let (found, finished) = packets(&stored, &options);
                assert_eq!(found, expected);
                assert_eq!(finished.damage, []);
                let summary = finished.summary;
                assert!(summary.format.ends_with(suffix), "{}", summary.format);
                assert_eq!(summary.size_bytes, stored.len() as u64);
                assert_eq!(summary.size_uncompressed_bytes, plain.len() as u64);
                let digest: [u8; 32] = Sha256::digest(&stored).into();
                assert_eq!(summary.sha256, Some(digest));
            }
        }
    }
}

#[test]
fn a_cut_compressed_file_gives_all_before_the_cut() {
    // Incompressible enough that a cut in the middle leaves packets before it.
    let mut plain = MICROS.header();
    let mut state = 1_u32;
    for number in 0..20_000 {
        let data: Vec<u8> = (0..90)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        plain.extend(MICROS.record(9, number, 90, &data));
    }
    let (expected, _) = packets(&plain, &Options::default());
    for stored in [gzip(&plain), zstd(&plain)] {
        let half = &stored[..stored.len() / 2];
        let (found, finished) = packets(half, &Options::default());
        assert_eq!(found.as_slice(), &expected[..found.len()]);
        assert!(found.len() > 100, "{}", found.len());
        assert!(
            finished
                .damage
                .iter()
                .any(|damage| damage.kind == AnomalyKind::CompressionDamaged)
        );
        assert!(finished.summary.error.is_some());
        let digest: [u8; 32] = Sha256::digest(half).into();
        assert_eq!(
            finished.summary.sha256,
            Some(digest),
            "of all that is stored"
        );
    }
}

/// What a decoder wrote before it met the damage depends on how much it was
/// asked for at once; so that must not depend on the size of the chunks.
#[test]
fn damaged_compression_reads_alike_for_any_chunk_size() {
    let plain = MICROS.file(3_000);
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).expect("an encoder");
    encoder.include_checksum(true).expect("a checksum");
    encoder.write_all(&plain).expect("written");
    let mut wrong_checksum = encoder.finish().expect("ended");
    *wrong_checksum.last_mut().expect("bytes") ^= 1;
    let mut wrong_crc = gzip(&plain);
    let at = wrong_crc.len() - 8;
    wrong_crc[at] ^= 1;
    let mut wrong_middle = gzip(&plain);
    let at = wrong_middle.len() / 2;
    wrong_middle[at..at + 64].fill(0xff);
    let (all, _) = packets(&plain, &Options::default());
    for (stored, least) in [
        (wrong_checksum, 2_980),
        (wrong_crc, 3_000),
        (wrong_middle, 500),
    ] {
        let (expected, finished) = packets(&stored, &Options::default());
        assert!(expected.len() >= least, "{} of {least}", expected.len());
        assert_eq!(expected.as_slice(), &all[..expected.len()]);
        for chunk in [64, 1_000, 1 << 16] {
            let (found, again) = packets(&stored, &small_chunks(chunk, true));
            assert_eq!(found.len(), expected.len(), "chunks of {chunk}");
            assert_eq!(again.damage, finished.damage, "chunks of {chunk}");
        }
    }
}

#[test]
fn a_bomb_stops_at_its_limit() {
    let mut plain = MICROS.file(10);
    plain.resize(80 << 20, 0);
    let stored = zstd(&plain);
    let options = Options {
        decompression_ratio: 10,
        ..Options::default()
    };
    let (found, finished) = packets(&stored, &options);
    assert_eq!(found.len(), 10);
    assert!(
        finished
            .damage
            .iter()
            .any(|damage| damage.kind == AnomalyKind::CompressionDamaged)
    );
    let size = finished.summary.size_uncompressed_bytes;
    assert!(size <= (64 << 20) + (128 << 10), "{size}");
}

/// Gives one byte at a time, as a slow pipe may. Trap: the crate decides what
/// a file is after one read.
struct Dribble(std::io::Cursor<Vec<u8>>);

impl Read for Dribble {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let len = out.len().min(1);
        self.0.read(&mut out[..len])
    }
}

#[test]
fn a_slow_pipe_gives_the_same() {
    for plain in [MICROS.file(50), Ng::file(false, 50), gzip(&MICROS.file(50))] {
        let (expected, _) = packets(&plain, &Options::default());
        let reader = Box::new(Dribble(std::io::Cursor::new(plain)));
        let file = discover::from_reader(
            std::path::Path::new("-"),
            reader,
            None,
            &small_chunks(64, true),
        )
        .expect("a capture");
        assert_eq!(file.size_hint(), None);
        assert!(file.mapping().is_none());
        let (found, finished) = drive(file);
        assert_eq!(found, expected);
        assert_eq!(finished.summary.file_name, "-");
    }
}

#[test]
fn records_larger_than_a_buffer_are_whole() {
    let mut file = MICROS.header();
    for number in 0..12 {
        file.extend(MICROS.record(5, number, 60_000, &vec![number as u8 | 0x80; 60_000]));
    }
    let (expected, _) = packets(&file, &Options::default());
    assert_eq!(expected.len(), 12);
    let (found, _) = packets(&file, &small_chunks(100, false));
    assert_eq!(found, expected);
}

/// A reader that fails in the middle: what came before is kept.
#[test]
fn a_failing_disk_ends_the_readable_part() {
    struct Failing(std::io::Cursor<Vec<u8>>);
    impl Read for Failing {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            match self.0.read(out)? {
                0 => Err(std::io::Error::other("medium error")),
                count => Ok(count),
            }
        }
    }
    // Longer than what is looked at to recognise it.
    let mut plain = MICROS.header();
    for number in 0..20_000 {
        plain.extend(MICROS.record(5, number, 60, &[0x99; 60]));
    }
    let reader = Box::new(Failing(std::io::Cursor::new(plain)));
    let file = discover::from_reader(std::path::Path::new("-"), reader, None, &Options::default())
        .expect("a capture");
    let (found, finished) = drive(file);
    assert_eq!(found.len(), 20_000);
    assert_eq!(finished.damage[0].kind, AnomalyKind::CaptureUnreadable);
    assert!(
        finished
            .summary
            .error
            .is_some_and(|error| error.contains("medium error"))
    );
}

/// Another process cuts a mapped file short while it is read: the packets
/// before the new end survive, the rest is said to be unreadable.
#[test]
fn a_mapped_file_may_shrink() {
    let mut bytes = MICROS.header();
    for number in 0..40_000 {
        bytes.extend(MICROS.record(5, number, 84, &[0x77; 84]));
    }
    for keep in [1_000_000, 1_000_024, 1_003_520] {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(&bytes).expect("written");
        let options = Options {
            chunk_bytes: 300_000,
            batch_chunks: 2,
            ..Options::default()
        };
        let mut found = discover(&[file.path().to_owned()], &options);
        let mut capture = found.files.pop().expect("a capture");
        assert!(capture.mapping().is_some());
        let first = capture.next_batch().expect("opens").expect("a batch");
        file.as_file().set_len(keep).expect("cut");
        let mut at = 24;
        let mut packets = 0_u64;
        let mut batch = Some(first);
        while let Some(now) = batch {
            for chunk in now.chunks() {
                let mut walked = chunk.walk(|packet| assert_eq!(packet.data, [0x77; 84]));
                if walked.start != at {
                    walked = chunk.walk_from(at, |packet| assert_eq!(packet.data, [0x77; 84]));
                }
                at = walked.end;
                packets += walked.packets;
                capture.accept(&walked);
            }
            drop(now);
            capture.advance(at);
            batch = capture.next_batch().expect("opens");
        }
        assert_eq!(packets, (keep - 24) / 100, "kept {keep}");
        let finished = capture.finish();
        assert_eq!(finished.summary.packets, packets);
        assert!(
            finished
                .damage
                .iter()
                .any(|damage| damage.kind == AnomalyKind::CaptureUnreadable),
            "{:?}",
            finished.damage
        );
        assert!(finished.summary.error.is_some());
    }
}

#[test]
fn bytes_behind_the_end_are_not_at_hand() {
    let file = MICROS.file(3);
    let mut temporary = tempfile::NamedTempFile::new().expect("a temporary file");
    temporary.write_all(&file).expect("written");
    let mut capture = discover(&[temporary.path().to_owned()], &Options::default())
        .files
        .pop()
        .expect("a capture");
    let batch = capture.next_batch().expect("opens").expect("a batch");
    assert!(batch.bytes(0, file.len()).is_some());
    assert!(batch.bytes(0, file.len() + 1).is_none());
    assert!(batch.bytes(u64::MAX, 2).is_none());
}
