//! Fuzz targets: each reads any bytes and asserts its invariant. `fuzz/` runs
//! them under libFuzzer, `fuzz-loop` under a seeded mutation loop.

pub mod readers;

use nsforensics_engine::anomaly::{AnomalyKind, AnomalyLog};
use nsforensics_engine::capture::{LinkType, Options, Packet, read_bytes};
use nsforensics_engine::decode::{Decoded, Undecoded, link_context};
use nsforensics_engine::evidence::PacketRef;
use nsforensics_engine::policy::{Limits, Policy};
use nsforensics_engine::proto::credential::Redactor;
use nsforensics_engine::proto::secrets::{KeyLog, Source};
use nsforensics_engine::proto::session::Session;
use nsforensics_engine::proto::tls::TlsSession;
use nsforensics_engine::proto::x509::CertificateCache;
use nsforensics_engine::proto::{Cx, Direction, Want};
use nsforensics_engine::seal::Manifest;
use nsforensics_engine::time::CaptureTime;

/// A target: its name, and what it does with bytes.
pub type Target = (&'static str, fn(&[u8]));

/// Every target but those of [`readers`].
const OWN: &[Target] = &[
    ("capture", capture),
    ("decode", decode),
    ("tls", tls),
    ("decrypt", decrypt),
    ("keylog", keylog),
    ("session", session),
    ("datagrams", datagrams),
    ("http", http),
    ("dns", dns),
    ("x509", x509),
    ("pki", pki),
    ("policy", policy),
    ("manifest", manifest),
    ("indicators", indicators),
    ("rules", rules),
];

/// Every target.
pub fn targets() -> Vec<Target> {
    [OWN, readers::TARGETS].concat()
}

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

/// Does something within the context of one flow.
fn with_context<R>(secrets: Option<&KeyLog>, port: u16, act: impl FnOnce(&mut Cx<'_>) -> R) -> R {
    let limits = Limits::default();
    let (mut anomalies, mut certificates) = (AnomalyLog::default(), CertificateCache::default());
    let mut rows = Vec::new();
    let redactor = Redactor::unkeyed();
    let mut cx = Cx {
        ts: CaptureTime::from_nanos(0),
        packet: PacketRef::default(),
        anomalies: &mut anomalies,
        limits: &limits,
        certificates: &mut certificates,
        redactor: &redactor,
        ports: (50_000, port),
        rows: &mut rows,
        secrets,
    };
    act(&mut cx)
}

/// The same with secrets at hand.
fn converse_knowing(
    secrets: Option<&KeyLog>,
    bytes: &[u8],
    mut act: impl FnMut(&mut Cx<'_>, Direction, Option<&[u8]>) -> Want,
) {
    with_context(secrets, 443, |cx| {
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
            match act(cx, direction, (!gap).then_some(piece)) {
                Want::Bytes => {}
                Want::Skip(len) => skip[side] = len,
                Want::Nothing => nothing[side] = true,
            }
        }
    });
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
    // The same again is known, also in pieces.
    assert_eq!(log.add(bytes, Source::KeyLog).secrets, 0);
    let mut read = KeyLog::new(64);
    let again = read.read(bytes, 1 << 20, Source::KeyLog);
    assert_eq!(again.ok(), Some(taken));
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

/// Requests and answers are the same however their streams are cut, for HTTP/1
/// and HTTP/2, as long as framing is not lost (then, what follows is looked for
/// at the beginning of a segment).
pub fn http(bytes: &[u8]) {
    http_rows(bytes);
}

/// The same; how many rows there were, and whether framing was kept.
pub fn http_rows(bytes: &[u8]) -> (usize, bool) {
    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    let preface = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", SETTINGS].concat();
    let beginnings = [
        (
            &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
            &b"HTTP/1.1 204 No Content\r\n\r\n"[..],
        ),
        (&preface, SETTINGS),
    ];
    any_split(bytes, 80, &beginnings)
}

/// So are questions and answers of DNS over TCP; and datagrams of it do no harm.
pub fn dns(bytes: &[u8]) {
    dns_rows(bytes);
    let mut session = Session::default();
    converse(bytes, |cx, direction, piece| {
        cx.ports = (50_000, 53);
        match piece {
            Some(piece) => session.datagram(cx, direction, piece),
            None => Want::Bytes,
        }
    });
    assert!(session.heap_bytes() < 4 << 20);
}

/// DNS over TCP; how many rows there were, and whether framing was kept.
pub fn dns_rows(bytes: &[u8]) -> (usize, bool) {
    // A question for the address of `a.example`, and its answer: none.
    const ASK: &[u8] = b"\0\x1b\0\x01\x01\0\0\x01\0\0\0\0\0\0\x01a\x07example\0\0\x01\0\x01";
    const ANSWER: &[u8] = b"\0\x1b\0\x01\x81\x80\0\x01\0\0\0\0\0\0\x01a\x07example\0\0\x01\0\x01";
    any_split(bytes, 53, &[(ASK, ANSWER)])
}

/// Pieces of both directions behind one of the beginnings, by which the
/// protocol is known, give the same rows whole and cut.
fn any_split(bytes: &[u8], port: u16, beginnings: &[(&[u8], &[u8])]) -> (usize, bool) {
    let Some((&first, mut rest)) = bytes.split_first() else {
        return (0, true);
    };
    let Some((client, server)) = beginnings.get(usize::from(first) % beginnings.len()) else {
        return (0, true);
    };
    let mut turns = vec![(Direction::Orig, *client), (Direction::Resp, *server)];
    while let Some((&control, more)) = rest.split_first() {
        let (piece, later) = more.split_at(usize::from(control >> 1).min(more.len()));
        let direction = if control & 1 == 0 {
            Direction::Orig
        } else {
            Direction::Resp
        };
        turns.push((direction, piece));
        rest = later;
    }
    let (whole, in_step) = rows_of(&turns, port, usize::MAX);
    let (cut, _) = rows_of(&turns, port, usize::from(first >> 1) % 13 + 1);
    if in_step {
        assert_eq!(whole, cut);
    }
    (whole.len(), in_step)
}

/// The rows that leave a conversation whose turns are cut to at most `size`
/// bytes; whether no reader lost its place.
fn rows_of(turns: &[(Direction, &[u8])], port: u16, size: usize) -> (Vec<String>, bool) {
    let limits = Limits::default();
    let (mut anomalies, mut certificates) = (AnomalyLog::default(), CertificateCache::default());
    let mut rows = Vec::new();
    let redactor = Redactor::unkeyed();
    let mut cx = Cx {
        ts: CaptureTime::from_nanos(0),
        packet: PacketRef::default(),
        anomalies: &mut anomalies,
        limits: &limits,
        certificates: &mut certificates,
        redactor: &redactor,
        ports: (50_000, port),
        secrets: None,
        rows: &mut rows,
    };
    let mut session = Session::default();
    let mut skip = [Some(0_u64); 2];
    for (direction, turn) in turns {
        for piece in turn.chunks(size) {
            let skip = &mut skip[direction.index()];
            let passed = skip.map_or(piece.len(), |skip| {
                usize::try_from(skip).map_or(piece.len(), |skip| skip.min(piece.len()))
            });
            let (over, piece) = piece.split_at(passed);
            if !over.is_empty() {
                session.skipped(*direction, over.len() as u64);
                *skip = skip.map(|skip| skip - over.len() as u64);
            }
            if !piece.is_empty() {
                *skip = match session.data(&mut cx, *direction, piece) {
                    Want::Bytes => Some(0),
                    Want::Skip(len) => Some(len),
                    Want::Nothing => None,
                };
            }
        }
        assert!(session.heap_bytes() < 4 << 20);
    }
    session.end(&mut cx);
    let lost = [
        AnomalyKind::AppMalformed,
        AnomalyKind::Http2Malformed,
        AnomalyKind::HttpLimit,
    ];
    let rows: Vec<String> = rows.iter().map(|row| format!("{row:?}")).collect();
    (rows, !lost.iter().any(|kind| anomalies.has(*kind)))
}

/// Conversations that mutation may begin with: what samples do not hold bare.
pub fn seeds() -> Vec<Vec<u8>> {
    let turn = |out: &mut Vec<u8>, side: u8, bytes: &[u8]| {
        for piece in bytes.chunks(100) {
            let len = u8::try_from(piece.len()).unwrap_or(127).min(127);
            out.push(len << 1 | side);
            out.extend_from_slice(piece);
        }
    };
    let mut first = vec![0];
    turn(
        &mut first,
        0,
        b"POST /x?k=v HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n5\r\n{\"a\":\r\n3;x\r\n1}\n\r\n0\r\nT: u\r\n\r\nGET /y HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAQAA\r\n\r\n",
    );
    turn(
        &mut first,
        1,
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x01\x01\x05\0\0\0\x01\x88",
    );
    let mut second = vec![1];
    turn(
        &mut second,
        0,
        b"\0\0\x14\x01\x25\0\0\0\x01\0\0\0\0\x10\x82\x86\x84\x41\x0awww.a.test\0\0\x04\x01\x05\0\0\0\x03\x82\x86\x84\xbe\0\0\x05\x01\0\0\0\0\x05\x83\x86\x84\xbe\x40\0\0\x04\x09\x04\0\0\0\x05\x01a\x01b\0\0\x05\0\x09\0\0\0\x05\x02{}\0\0\0\0\x04\x03\0\0\0\0\x03\0\0\0\x08",
    );
    turn(
        &mut second,
        1,
        b"\0\0\x01\x01\x04\0\0\0\x01\x88\0\0\x03\0\x01\0\0\0\x01abc\0\0\x0a\x05\x04\0\0\0\x01\0\0\0\x02\x82\x86\x84\x01\x01\x61\0\0\x08\x07\0\0\0\0\0\0\0\0\x05\0\0\0\0",
    );
    let mut names = vec![2];
    turn(
        &mut names,
        0,
        b"\0\x26\0\x02\x01\0\0\x01\0\0\0\0\0\x01\x01b\x07example\0\0\x10\0\x01\0\0\x29\x04\xd0\0\0\0\0\0",
    );
    turn(
        &mut names,
        1,
        b"\0\x2b\0\x02\x81\x80\0\x01\0\x01\0\0\0\0\x01b\x07example\0\0\x10\0\x01\xc0\x0c\0\x10\0\x01\0\0\0\x3c\0\x04\x03abc",
    );
    vec![first, second, names]
}

/// Certificates keep their bytes, whatever they say.
pub fn x509(bytes: &[u8]) {
    let certificate = CertificateCache::default().get(bytes);
    assert_eq!(&*certificate.der, bytes);
}

/// Certificates, OCSP responses, revocation lists and timestamps of anybody are
/// judged, and what nobody signed is never good.
pub fn pki(bytes: &[u8]) {
    use nsforensics_engine::pki::{
        CrlStatus, CtLogs, Evidence, GivenLists, OcspStatus, SctStatus, Store, Surroundings,
        Validator,
    };
    use nsforensics_engine::proto::tls::TlsHandshake;
    use std::sync::LazyLock;

    /// Mutations come in millions; the roots are read once.
    static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| {
        Validator::new(Store::of_certificates("none", [])).with_logs(CtLogs::default())
    });
    let mut cache = CertificateCache::default();
    let tls = TlsHandshake {
        chain: vec![cache.get(bytes), cache.get(bytes)],
        ocsp_staple: Some(bytes.into()),
        ocsp_more: vec![bytes.into()],
        sct_list: Some(bytes.into()),
        ..TlsHandshake::default()
    };
    let mut evidence = Evidence::default();
    evidence.add_response(0, &bytes.into());
    evidence.add_list(0, &bytes.into());
    GivenLists::default().add(bytes);
    let around = Surroundings {
        pool: None,
        evidence: &evidence,
        until: 0,
    };
    let validation = VALIDATOR.handshake(&tls, around).expect("there is a chain");
    assert!(!validation.is_trusted());
    let revocation = &validation.revocation;
    let good = revocation.ocsp.as_ref().map(|answer| answer.status) == Some(OcspStatus::Good);
    assert!(!good && revocation.crl != Some(CrlStatus::Good));
    let scts = &validation.transparency.scts;
    assert!(scts.len() <= 48 && scts.iter().all(|sct| sct.status != SctStatus::Valid));
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

/// A file of rules gives what it gives, however often it is read; what is wrong is
/// told with a line of the file.
pub fn rules(bytes: &[u8]) {
    use nsforensics_engine::rule::Rules;
    let rules = Rules::parse("fuzz", bytes);
    // YAML takes a carriage return alone for the end of a line (YAML 1.2.2 §5.4).
    let lines = 1 + bytes
        .iter()
        .filter(|&&byte| matches!(byte, b'\n' | b'\r'))
        .count();
    for problem in &rules.problems {
        let line = usize::try_from(problem.line).expect("a number");
        assert!((1..=lines).contains(&line), "{problem}: {lines} lines");
    }
    for rule in &rules.rules {
        assert!(rule.check_id.starts_with("RULE.") && !rule.query.is_empty());
    }
    let again = Rules::parse("fuzz", bytes);
    assert_eq!(again.problems, rules.problems);
}

/// A file of indicators gives what it gives, however often it is read, and every
/// indicator is found by its own value.
pub fn indicators(bytes: &[u8]) {
    use nsforensics_engine::indicator::{Kind, Set, Sort};
    let mut set = Set::new(1_000);
    let summary = set.add_bytes("fuzz", bytes).clone();
    assert!(summary.problems.len() as u64 <= summary.problem_count);
    for place in 0..u32::try_from(set.len()).unwrap_or(0) {
        let Some(one) = set.get(place) else { continue };
        let sort = match one.kind {
            Kind::Address | Kind::Domain | Kind::ExactDomain => Sort::Host,
            Kind::Url => Sort::Url,
            Kind::File => Sort::File,
            Kind::Ja3 => Sort::Ja3,
            Kind::Ja3s => Sort::Ja3s,
            Kind::Ja4 => Sort::Ja4,
            Kind::Certificate => Sort::Certificate,
            Kind::Key => Sort::Key,
            Kind::Serial => Sort::Serial,
            Kind::Network => continue,
        };
        let mut is_found = false;
        set.look(sort, &one.value, |found| is_found |= found == place);
        assert!(is_found, "{one:?}");
    }
    let mut again = Set::new(1_000);
    assert_eq!(again.add_bytes("fuzz", bytes), &summary);
}

/// A manifest is parsed or refused.
pub fn manifest(bytes: &[u8]) {
    let _ = Manifest::parse(bytes);
}
