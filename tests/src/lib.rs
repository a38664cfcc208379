//! Fuzz targets: each reads any bytes and asserts its invariant. `fuzz/` runs
//! them under libFuzzer, `fuzz-loop` under a seeded mutation loop.

use nsforensics_engine::anomaly::AnomalyLog;
use nsforensics_engine::capture::{LinkType, Options, Packet, read_bytes};
use nsforensics_engine::decode::{Decoded, Undecoded, link_context};
use nsforensics_engine::evidence::PacketRef;
use nsforensics_engine::policy::{Limits, Policy};
use nsforensics_engine::proto::secrets::{KeyLog, Source};
use nsforensics_engine::proto::session::Session;
use nsforensics_engine::proto::tls::TlsSession;
use nsforensics_engine::proto::x509::CertificateCache;
use nsforensics_engine::proto::{Cx, Direction, Want};
use nsforensics_engine::seal::Manifest;
use nsforensics_engine::time::CaptureTime;

/// A target: its name, and what it does with bytes.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("capture", capture),
    ("decode", decode),
    ("tls", tls),
    ("decrypt", decrypt),
    ("keylog", keylog),
    ("session", session),
    ("datagrams", datagrams),
    ("x509", x509),
    ("policy", policy),
    ("manifest", manifest),
];

/// Any chunk size gives the same packets and the same damage.
pub fn capture(bytes: &[u8]) {
    let read = |chunk_bytes| {
        let options = Options {
            chunk_bytes,
            hash: false,
            ..Options::default()
        };
        let mut packets = Vec::new();
        let finished = read_bytes(bytes.to_vec(), &options, |packet| {
            packets.push((packet.ts, packet.record_offset, packet.data.to_vec()));
        });
        finished
            .ok()
            .map(|finished| (packets, format!("{:?}", finished.damage)))
    };
    assert_eq!(read(64), read(1 << 20));
}

/// Payloads lie within their packet, the lower layers read again without harm,
/// and what gives neither flow nor fragment gives a reason.
pub fn decode(bytes: &[u8]) {
    let Some((&[high, low, cut], data)) = bytes.split_first_chunk::<3>() else {
        return;
    };
    let link = LinkType(u16::from_be_bytes([high, low]) % 300);
    let packet = Packet {
        ts: CaptureTime::from_nanos(1),
        link,
        interface: 0,
        index: 0,
        record_offset: 0,
        data_offset: 16,
        wire_len: u32::try_from(data.len())
            .unwrap_or(u32::MAX)
            .saturating_add(u32::from(cut)),
        data,
    };
    let mut decoded = Decoded::new();
    decoded.packet(&packet, &Limits::default());
    let reasons = Undecoded::ALL
        .iter()
        .map(|&reason| decoded.counters.of(reason));
    let flows = decoded.shards.iter().map(Vec::len).sum::<usize>();
    assert!(flows + decoded.fragments.len() > 0 || reasons.sum::<u64>() > 0);
    for segment in decoded.shards.iter().flatten() {
        let end = segment.payload_offset + u64::from(segment.payload_len);
        assert!(segment.payload_len == 0 || end <= 16 + data.len() as u64);
        let _ = link_context(link, data, segment);
    }
    for fragment in &decoded.fragments {
        let end = fragment.payload_offset + u64::from(fragment.payload_len);
        assert!(fragment.payload_len == 0 || end <= 16 + data.len() as u64);
    }
}

/// Cuts bytes into pieces for both directions and hands them to a reader, as a
/// reassembler would: what is to be skipped is skipped.
fn converse(bytes: &[u8], act: impl FnMut(&mut Cx<'_>, Direction, Option<&[u8]>) -> Want) {
    converse_knowing(None, bytes, act);
}

/// The same with secrets at hand.
fn converse_knowing(
    secrets: Option<&KeyLog>,
    bytes: &[u8],
    mut act: impl FnMut(&mut Cx<'_>, Direction, Option<&[u8]>) -> Want,
) {
    let limits = Limits::default();
    let (mut anomalies, mut certificates) = (AnomalyLog::default(), CertificateCache::default());
    let mut rows = Vec::new();
    let mut cx = Cx {
        ts: CaptureTime::from_nanos(0),
        packet: PacketRef::default(),
        anomalies: &mut anomalies,
        limits: &limits,
        certificates: &mut certificates,
        ports: (50_000, 443),
        rows: &mut rows,
        secrets,
    };
    let mut skip = [0_u64; 2];
    let mut nothing = [false; 2];
    let mut rest = bytes;
    while let Some((&control, more)) = rest.split_first() {
        let direction = if control & 1 == 0 {
            Direction::Orig
        } else {
            Direction::Resp
        };
        let (piece, later) = more.split_at(usize::from(control >> 2).min(more.len()));
        rest = later;
        let side = direction.index();
        if nothing[side] {
            continue;
        }
        let passed = skip[side].min(piece.len() as u64);
        skip[side] -= passed;
        let piece = piece
            .get(usize::try_from(passed).unwrap_or(0)..)
            .unwrap_or_default();
        if piece.is_empty() {
            continue;
        }
        let gap = control & 2 != 0;
        cx.rows.clear();
        match act(&mut cx, direction, (!gap).then_some(piece)) {
            Want::Bytes => {}
            Want::Skip(len) => skip[side] = len,
            Want::Nothing => nothing[side] = true,
        }
    }
}

/// The TLS reader takes anything.
pub fn tls(bytes: &[u8]) {
    let mut session = TlsSession::new("tcp".into());
    converse(bytes, |cx, direction, piece| match piece {
        Some(piece) => session.data(cx, direction, piece),
        None => session.gap(cx, direction, 7),
    });
    assert!(session.heap_bytes() < 4 << 20);
}

/// And with secrets of its session: the first byte chooses version and suite,
/// the rest follows the hellos.
pub fn decrypt(bytes: &[u8]) {
    let Some((&choice, rest)) = bytes.split_first() else {
        return;
    };
    let suites: [u16; 8] = [
        0x1301, 0x1302, 0x1303, 0x1305, 0xc02f, 0xc0a1, 0xc013, 0xc028,
    ];
    let suite = suites[usize::from(choice) % suites.len()];
    let is_13 = suite >> 8 == 0x13;
    let mut secrets = KeyLog::default();
    for (label, len) in [
        ("CLIENT_RANDOM", 48),
        ("CLIENT_EARLY_TRAFFIC_SECRET", 32),
        ("CLIENT_HANDSHAKE_TRAFFIC_SECRET", 32),
        ("SERVER_HANDSHAKE_TRAFFIC_SECRET", 48),
        ("CLIENT_TRAFFIC_SECRET_0", 48),
        ("SERVER_TRAFFIC_SECRET_0", 32),
    ] {
        let line = format!("{label} {} {}\n", "07".repeat(32), "01".repeat(len));
        secrets.add(line.as_bytes(), Source::KeyLog);
    }
    let hello = |kind: u8, middle: &[u8], extensions: &[u8]| {
        let len = u8::try_from(extensions.len()).unwrap_or(u8::MAX);
        let body = [&[3, 3], &[7; 32][..], &[0], middle, &[0, len], extensions].concat();
        let len = u8::try_from(body.len()).unwrap_or(u8::MAX);
        [&[22, 3, 3, 0, len + 4, kind, 0, 0, len], &body[..]].concat()
    };
    let [high, low] = suite.to_be_bytes();
    let versions: &[u8] = if is_13 { &[0, 43, 0, 3, 2, 3, 4] } else { &[] };
    let early: &[u8] = if choice & 0x80 == 0 {
        &[]
    } else {
        &[0, 42, 0, 0]
    };
    let version: &[u8] = if is_13 { &[0, 43, 0, 2, 3, 4] } else { &[] };
    let client = hello(1, &[0, 2, high, low, 1, 0], &[versions, early].concat());
    let server = hello(2, &[high, low, 0], version);
    let change = [20, 3, 3, 0, 1, 1];
    let mut script = Vec::new();
    for (control, piece) in [(0, &client), (1, &server)] {
        for part in piece.chunks(60) {
            script.push(u8::try_from(part.len()).unwrap_or(0) << 2 | control);
            script.extend_from_slice(part);
        }
    }
    for control in [0, 1] {
        script.push(6 << 2 | control);
        script.extend_from_slice(&change);
    }
    script.extend_from_slice(rest);
    let mut session = Session::default();
    converse_knowing(
        Some(&secrets),
        &script,
        |cx, direction, piece| match piece {
            Some(piece) => session.data(cx, direction, piece),
            None => session.gap(cx, direction, 7),
        },
    );
    assert!(session.heap_bytes() < 4 << 20);
}

/// A key log gives what it counts, and shows none of it.
pub fn keylog(bytes: &[u8]) {
    let mut log = KeyLog::new(64);
    let taken = log.add(bytes, Source::KeyLog);
    assert_eq!(taken.secrets, log.len() as u64);
    assert!(log.len() <= 64);
    assert_eq!(
        format!("{log:?}"),
        format!("KeyLog {{ len: {} }}", log.len())
    );
    // The same again is known.
    assert_eq!(log.add(bytes, Source::KeyLog).secrets, 0);
}

/// So does the session that decides by content.
pub fn session(bytes: &[u8]) {
    let mut session = Session::default();
    converse(bytes, |cx, direction, piece| match piece {
        Some(piece) => session.data(cx, direction, piece),
        None => session.gap(cx, direction, 7),
    });
    assert!(session.heap_bytes() < 4 << 20);
}

/// And so do the readers of datagrams, QUIC and DTLS among them.
pub fn datagrams(bytes: &[u8]) {
    let mut session = Session::default();
    converse(bytes, |cx, direction, piece| match piece {
        Some(piece) => session.datagram(cx, direction, piece),
        None => Want::Bytes,
    });
    assert!(session.heap_bytes() < 4 << 20);
}

/// Certificates keep their bytes, whatever they say.
pub fn x509(bytes: &[u8]) {
    let certificate = CertificateCache::default().get(bytes);
    assert_eq!(&*certificate.der, bytes);
}

/// A policy that is read means the same when it is written and read again.
pub fn policy(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(policy) = Policy::from_yaml(text, "fuzz") {
        let again = Policy::from_yaml(&policy.to_yaml(), "again").expect("what is written reads");
        assert_eq!(again.digest(), policy.digest());
    }
}

/// A manifest is parsed or refused.
pub fn manifest(bytes: &[u8]) {
    let _ = Manifest::parse(bytes);
}
