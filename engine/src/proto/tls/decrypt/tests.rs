//! Connections sealed here with secrets made up, and read with all, some and
//! none of them. What real programs sealed stands in `samples/decrypted`.

use super::opener::{HEADER, Kind, Opener, Protection};
use super::*;
use crate::anomaly::AnomalyKind;
use crate::proto::stage::Stage;
use crate::proto::tls::{CertVisibility, Plain, TlsHandshake, TlsSession};
use crate::proto::{Cx, Direction};
use proptest::prelude::*;
use ring::aead;
use std::io::Write as _;

const RANDOM: [u8; 32] = [7; 32];

/// One end's sealing side of TLS 1.3, AES-128-GCM.
struct Sealer {
    secret: Vec<u8>,
    sequence: u64,
}

impl Sealer {
    fn new(secret: u8) -> Self {
        Self {
            secret: vec![secret; 32],
            sequence: 0,
        }
    }

    fn derive(&self, label: &str, len: usize) -> Vec<u8> {
        let prk = ring::hkdf::Prk::new_less_safe(ring::hkdf::HKDF_SHA256, &self.secret);
        let mut out = vec![0; len];
        expand_label(&prk, label, &mut out).expect("expands");
        out
    }

    fn record(&mut self, kind: u8, content: &[u8]) -> Vec<u8> {
        let key = aead::UnboundKey::new(&aead::AES_128_GCM, &self.derive("key", 16)).expect("key");
        let mut nonce: [u8; 12] = self.derive("iv", 12).try_into().expect("12 bytes");
        for (byte, number) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= number;
        }
        self.sequence += 1;
        // Two bytes of padding, as any sender may add.
        let mut body = [content, &[kind, 0, 0]].concat();
        let len = u16::try_from(body.len() + 16).expect("short").to_be_bytes();
        let header = [23, 3, 3, len[0], len[1]];
        aead::LessSafeKey::new(key)
            .seal_in_place_append_tag(
                aead::Nonce::assume_unique_for_key(nonce),
                aead::Aad::from(header),
                &mut body,
            )
            .expect("sealed");
        [&header[..], &body].concat()
    }

    fn update(&mut self) {
        self.secret = self.derive("traffic upd", 32);
        self.sequence = 0;
    }
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len()).expect("short").to_be_bytes();
    [&[kind], &len[1..], body].concat()
}

fn clear(message: &[u8]) -> Vec<u8> {
    let len = u16::try_from(message.len()).expect("short").to_be_bytes();
    [&[22, 3, 3], &len[..], message].concat()
}

fn certificate() -> Vec<u8> {
    use base64::Engine as _;
    let pem = include_str!("../../../../../samples/pki/rsa.pem");
    let text: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .expect("base64")
}

/// A Certificate message's body with one certificate.
fn certificate_body() -> Vec<u8> {
    let der = certificate();
    let vec24 = |bytes: &[u8]| {
        let len = u32::try_from(bytes.len()).expect("short").to_be_bytes();
        [&len[1..], bytes].concat()
    };
    [&[0][..], &vec24(&[vec24(&der), vec![0, 0]].concat())].concat()
}

/// What both ends send, in turn.
struct Talk {
    turns: Vec<(Direction, Vec<u8>)>,
}

const C: Direction = Direction::Orig;
const S: Direction = Direction::Resp;

/// A connection: hellos, a flight with a compressed certificate, a request in
/// three records with a key update between, an answer.
fn talk() -> Talk {
    let hello = |kind: u8, middle: &[u8], extensions: &[u8]| {
        let len = u16::try_from(extensions.len())
            .expect("short")
            .to_be_bytes();
        let random = if kind == 1 { RANDOM } else { [9; 32] };
        clear(&message(
            kind,
            &[&[3, 3], &random[..], &[0], middle, &len, extensions].concat(),
        ))
    };
    let plain = certificate_body();
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    zlib.write_all(&plain).expect("written");
    let zlib = zlib.finish().expect("finished");
    let len = |bytes: &[u8]| u32::try_from(bytes.len()).expect("short").to_be_bytes();
    let compressed = [&[0, 1], &len(&plain)[1..], &len(&zlib)[1..], &zlib].concat();
    let flight = [
        // EncryptedExtensions: ALPN http/1.1.
        message(8, b"\0\x0f\0\x10\0\x0b\0\x09\x08http/1.1"),
        message(25, &compressed),
        message(15, &[8, 4, 0, 2, 1, 2]),
        message(20, &[3; 32]),
    ]
    .concat();
    let (mut server, mut client) = (Sealer::new(2), Sealer::new(1));
    let mut turns = vec![
        (C, hello(1, &[0, 2, 0x13, 1, 1, 0], &[0, 43, 0, 3, 2, 3, 4])),
        (S, hello(2, &[0x13, 1, 0], &[0, 43, 0, 2, 3, 4])),
        (S, [20, 3, 3, 0, 1, 1].to_vec()),
    ];
    // Messages that span records.
    for piece in flight.chunks(300) {
        turns.push((S, server.record(22, piece)));
    }
    turns.push((C, client.record(22, &message(20, &[4; 32]))));
    let (mut server, mut client) = (Sealer::new(4), Sealer::new(3));
    turns.push((C, client.record(23, b"first ")));
    turns.push((C, client.record(22, &message(24, &[0]))));
    client.update();
    turns.push((C, client.record(23, b"second ")));
    turns.push((C, client.record(23, b"third")));
    turns.push((
        S,
        server.record(22, &message(4, b"\0\0\0\x01\0\0\0\0\x01n\0\x06ticket\0\0")),
    ));
    turns.push((S, server.record(23, b"answer")));
    turns.push((C, client.record(21, &[1, 0])));
    Talk { turns }
}

/// The secrets of [`talk`] by their labels' letters.
fn key_log(which: &str) -> KeyLog {
    let mut log = KeyLog::default();
    for letter in which.chars() {
        let (label, secret) = match letter {
            'c' => ("CLIENT_HANDSHAKE_TRAFFIC_SECRET", "01"),
            's' => ("SERVER_HANDSHAKE_TRAFFIC_SECRET", "02"),
            'C' => ("CLIENT_TRAFFIC_SECRET_0", "03"),
            'S' => ("SERVER_TRAFFIC_SECRET_0", "04"),
            _ => ("SERVER_HANDSHAKE_TRAFFIC_SECRET", "99"),
        };
        let line = format!("{label} {} {}\n", "07".repeat(32), secret.repeat(32));
        let taken = log.add(line.as_bytes(), Source::KeyLog);
        assert_eq!(taken.malformed, 0);
    }
    log
}

/// What was handed on: bytes by direction, `*` for a gap.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard([Vec<u8>; 2]);

impl Plain for Heard {
    fn data(&mut self, _: &mut Cx<'_>, at: Direction, client: bool, _: Option<&str>, bytes: &[u8]) {
        assert_eq!(client, at == C);
        self.0[at.index()].extend_from_slice(bytes);
    }

    fn gap(&mut self, _: &mut Cx<'_>, at: Direction) {
        self.0[at.index()].push(b'*');
    }

    fn forget(&mut self) {
        *self = Self::default();
    }

    fn is_deaf(&self) -> bool {
        false
    }
}

/// Reads turns, `None` for bytes that are missing; gives handshakes, what was
/// heard, and how many records did not open.
fn read(
    turns: &[(Direction, Option<&[u8]>, u64)],
    secrets: Option<&KeyLog>,
) -> (Vec<TlsHandshake>, Heard, u64) {
    let mut stage = Stage::new((50_000, 443));
    let mut cx = stage.cx(secrets);
    let mut session = TlsSession::new("tcp".into());
    let mut heard = Heard::default();
    let mut skip = [0_u64; 2];
    for (direction, bytes, missing) in turns {
        let side = direction.index();
        let want = match bytes {
            Some(bytes) => {
                let passed = skip[side].min(bytes.len() as u64);
                skip[side] -= passed;
                session.read(&mut cx, *direction, &bytes[passed as usize..], &mut heard)
            }
            None => session.gap(&mut cx, *direction, *missing),
        };
        if let crate::proto::Want::Skip(len) = want {
            skip[side] = len;
        }
    }
    let handshakes = session.end(&mut cx);
    let failed = stage
        .anomalies
        .rows()
        .iter()
        .find(|row| row.kind == AnomalyKind::DecryptionFailed)
        .map_or(0, |row| row.count);
    (handshakes, heard, failed)
}

fn whole(talk: &Talk) -> Vec<(Direction, Option<&[u8]>, u64)> {
    talk.turns
        .iter()
        .map(|(at, bytes)| (*at, Some(bytes.as_slice()), 0))
        .collect()
}

#[track_caller]
fn only(handshakes: Vec<TlsHandshake>) -> TlsHandshake {
    let [handshake] = <[_; 1]>::try_from(handshakes).expect("one handshake");
    handshake
}

#[test]
fn all_secrets_show_all() {
    let talk = talk();
    let (handshakes, heard, failed) = read(&whole(&talk), Some(&key_log("csCS")));
    let seen = only(handshakes);
    assert_eq!(
        heard.0,
        [b"first second third".to_vec(), b"answer".to_vec()]
    );
    assert_eq!(failed, 0);
    assert!(seen.decrypted && seen.established && seen.cert_compressed);
    assert_eq!(seen.decryption_source, Some("keylog"));
    assert_eq!(seen.cert_visibility, CertVisibility::Decrypted);
    assert_eq!(seen.chain.len(), 1);
    assert_eq!(*seen.chain[0].der, *certificate());
    assert_eq!(seen.key_exchange.signature, Some(0x0804));
    assert_eq!(seen.history, "CsioxyfFDPtdL");
    assert_eq!(seen.app_bytes, [18, 6]);
    assert_eq!(seen.alerts.len(), 1);
    let server = seen.server.expect("a server");
    assert_eq!(server.alpn.as_deref(), Some("http/1.1"));
    assert_eq!(
        seen.issued_ticket_hash,
        Some(crate::proto::tls::hello::short_hash(b"ticket"))
    );
}

#[test]
fn without_secrets_nothing_changes() {
    let talk = talk();
    let others = {
        let mut log = KeyLog::default();
        let line = format!("CLIENT_TRAFFIC_SECRET_0 {0} {0}\n", "08".repeat(32));
        log.add(line.as_bytes(), Source::KeyLog);
        log
    };
    let (without, heard, _) = read(&whole(&talk), None);
    let (with_others, heard_too, failed) = read(&whole(&talk), Some(&others));
    assert_eq!(heard, Heard::default());
    assert_eq!(heard, heard_too);
    assert_eq!(failed, 0);
    assert_eq!(format!("{without:?}"), format!("{with_others:?}"));
    let seen = only(without);
    assert_eq!(seen.cert_visibility, CertVisibility::Encrypted);
    assert!(!seen.decrypted && seen.decryption_source.is_none());
}

#[test]
fn some_secrets_show_some() {
    let talk = talk();
    // Of the handshake alone: the certificate.
    let (handshakes, heard, failed) = read(&whole(&talk), Some(&key_log("cs")));
    let seen = only(handshakes);
    assert_eq!(seen.cert_visibility, CertVisibility::Decrypted);
    assert_eq!((heard, failed), (Heard::default(), 0));
    assert!(seen.established);
    // Of the application alone: what was said.
    let (handshakes, heard, failed) = read(&whole(&talk), Some(&key_log("CS")));
    let seen = only(handshakes);
    assert_eq!(
        heard.0,
        [b"first second third".to_vec(), b"answer".to_vec()]
    );
    assert_eq!(seen.cert_visibility, CertVisibility::Encrypted);
    assert_eq!(failed, 0);
    assert!(seen.decrypted && seen.established);
    // Of one end alone.
    let (_, heard, failed) = read(&whole(&talk), Some(&key_log("sS")));
    assert_eq!(heard.0, [Vec::new(), b"answer".to_vec()]);
    assert_eq!(failed, 0);
}

#[test]
fn secrets_that_do_not_fit_show_nothing() {
    let talk = talk();
    let (handshakes, heard, failed) = read(&whole(&talk), Some(&key_log("x")));
    let seen = only(handshakes);
    assert_eq!(heard, Heard::default());
    assert!(!seen.decrypted && seen.chain.is_empty());
    assert_eq!(seen.cert_visibility, CertVisibility::Encrypted);
    assert!(seen.decryption_failure.is_some());
    assert!(failed > 1, "{failed}");
}

#[test]
fn records_behind_missing_ones_are_found_again() {
    let talk = talk();
    let log = key_log("csCS");
    let of_client = |nth: usize| {
        let sent = talk.turns.iter().enumerate();
        let sent: Vec<_> = sent.filter(|(_, turn)| turn.0 == C).collect();
        sent[nth].0
    };
    // Records of the client: hello, Finished, first, KeyUpdate, second, third, alert.
    for (lost, expected) in [
        (vec![2], &b"*second third"[..]),
        (vec![2, 3], b"*second third"),
        (vec![4], b"first *third"),
        (vec![1], b"first second third"),
        (vec![1, 2], b"*second third"),
        // An unknown number of key updates cannot be guessed, one can.
        (vec![3, 4], b"first *third"),
    ] {
        let mut turns = whole(&talk);
        for nth in &lost {
            let turn = &mut turns[of_client(*nth)];
            *turn = (C, None, turn.1.map_or(0, <[u8]>::len) as u64);
        }
        let (_, heard, failed) = read(&turns, Some(&log));
        let heard_client = String::from_utf8_lossy(&heard.0[0]).into_owned();
        let expected = String::from_utf8_lossy(expected);
        assert_eq!(
            heard_client.trim_start_matches('*'),
            expected.trim_start_matches('*'),
            "{lost:?}"
        );
        assert!(heard_client.matches('*').count() <= 1, "{lost:?}");
        assert_eq!(heard.0[1], b"answer", "{lost:?}");
        assert_eq!(failed, 0, "{lost:?}");
    }
}

/// Gaps and junk in turn, which costs who makes them little: what is tried on
/// them ends, though records between them open.
#[test]
fn gaps_and_junk_are_not_tried_without_end() {
    let log = key_log("csCS");
    let known = Known {
        secrets: &log,
        at: PacketRef::default(),
    };
    let keying = Keying {
        client_random: RANDOM,
        server_random: [9; 32],
        premaster: None,
        suite: 0x1301,
        version: 0x0304,
        etm: false,
        extended: false,
    };
    let junk = || ([23, 3, 3, 0, 40], vec![0xaa; 40]);
    let reading = || {
        let mut decrypt = Decrypt::new(RANDOM, known).expect("secrets");
        assert!(decrypt.begin_13(&keying, false, [0; 2], known));
        decrypt.finished(true, known);
        decrypt
    };
    // Nothing between them opens.
    let mut decrypt = reading();
    let mut tried = 0;
    while decrypt.wants(true, 23) {
        decrypt.missed(true, 1_000);
        let (header, mut body) = junk();
        let result = decrypt.open(true, header, &mut body, Some(known));
        assert!(!matches!(result, Record::Is { .. }));
        tried += 1;
        assert!(tried <= MAX_TRIALS, "junk is tried on and on");
    }
    // A record of the client between each.
    let mut decrypt = reading();
    let mut client = Sealer::new(3);
    let mut tried = 0;
    while decrypt.wants(true, 23) {
        let mut sealed = client.record(23, b"data");
        let header = *sealed.first_chunk().expect("a header");
        sealed.drain(..HEADER);
        let result = decrypt.open(true, header, &mut sealed, Some(known));
        assert!(matches!(result, Record::Is { .. }), "{tried}");
        decrypt.missed(true, 1_000);
        let (header, mut body) = junk();
        let result = decrypt.open(true, header, &mut body, Some(known));
        assert!(!matches!(result, Record::Is { .. }));
        tried += 1;
        assert!(tried < 200, "junk is tried on and on");
    }
    assert!(tried > 20, "{tried}");
}

proptest! {
    /// Any cutting of the streams gives the same.
    #[test]
    fn any_cutting_gives_the_same(cut in 1_usize..700) {
        let talk = talk();
        let log = key_log("csCS");
        let turns: Vec<_> = talk
            .turns
            .iter()
            .flat_map(|(at, bytes)| bytes.chunks(cut).map(|piece| (*at, Some(piece), 0)))
            .collect();
        let (handshakes, heard, failed) = read(&turns, Some(&log));
        let (expected, expected_heard, _) = read(&whole(&talk), Some(&log));
        prop_assert_eq!(format!("{handshakes:?}"), format!("{expected:?}"));
        prop_assert_eq!(heard, expected_heard);
        prop_assert_eq!(failed, 0);
    }

    /// Whatever is sealed with the right keys does no harm.
    #[test]
    fn any_content_is_taken(
        contents in proptest::collection::vec(
            (0_u8..30, proptest::collection::vec(any::<u8>(), 0..80)), 1..6),
    ) {
        let mut talk = talk();
        let mut server = Sealer::new(2);
        talk.turns.truncate(3);
        for (kind, content) in &contents {
            talk.turns.push((S, server.record(*kind, content)));
        }
        let (handshakes, ..) = read(&whole(&talk), Some(&key_log("csCS")));
        prop_assert!(!handshakes.is_empty());
    }

    /// A record that was changed anywhere does not open, whatever seals it.
    #[test]
    fn no_changed_record_opens(
        suite_code in prop::sample::select(vec![
            0x1301_u16, 0x1302, 0x1303, 0x1304, 0x1305, 0xc02f, 0xc030, 0xcca8, 0xc09c, 0xc0a1,
            0x002f, 0xc013, 0xc027, 0xc028,
        ]),
        etm in any::<bool>(),
        body in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let protection = Protection::of(&suite(suite_code).expect("known")).expect("readable");
        for version in [0x0301, 0x0302, 0x0303, 0x0304] {
            let opener = if version == 0x0304 {
                if let Kind::Cbc { .. } = protection.kind { continue };
                Opener::of_13(protection, &[5; 32][..protection.key_len()], [6; 12])
            } else {
                let openers = protection.openers(version, etm, |block| block.fill(5));
                openers.map(|[client, _]| client)
            };
            let mut opener = opener.expect("keys");
            let len = u16::try_from(body.len()).expect("short").to_be_bytes();
            let header: [u8; HEADER] = [23, 3, 3, len[0], len[1]];
            let opened = opener.open(header, &mut body.clone());
            prop_assert_eq!(opened, None);
            prop_assert_eq!(opener.sequence, 0);
        }
    }
}

/// Early data of a connection within early data of another: every level needs
/// stack, and a key log of the attacker's has the secrets of all.
#[test]
fn connections_within_connections_are_opened_to_a_depth() {
    let mut log = KeyLog::default();
    let mut inner = b"GET /within HTTP/1.1\r\nHost: a.example\r\n\r\n".to_vec();
    let mut levels = Vec::new();
    for level in 0_u8..40 {
        let random = [level; 32];
        let line = format!(
            "CLIENT_EARLY_TRAFFIC_SECRET {} {}\n",
            format!("{level:02x}").repeat(32),
            format!("{level:02x}").repeat(32)
        );
        assert_eq!(log.add(line.as_bytes(), Source::KeyLog).secrets, 1);
        // TLS_AES_128_GCM_SHA256; supported_versions 1.3, early_data.
        let hello = [
            &[3, 3][..],
            &random,
            &[0, 0, 2, 0x13, 1, 1, 0, 0, 11],
            &[0, 43, 0, 3, 2, 3, 4, 0, 42, 0, 0],
        ]
        .concat();
        inner = [
            clear(&message(1, &hello)),
            Sealer::new(level).record(23, &inner),
        ]
        .concat();
        levels.push(inner.clone());
    }
    let opened = |stream: &[u8]| {
        let mut stage = Stage::new((50_000, 443));
        let mut cx = stage.cx(Some(&log));
        let mut session = crate::proto::session::Session::default();
        session.data(&mut cx, C, stream);
        let facts = session.end(&mut cx);
        let limited = stage
            .anomalies
            .rows()
            .iter()
            .any(|row| row.kind == AnomalyKind::LimitEvicted);
        (facts.tls.len(), limited)
    };
    assert_eq!(opened(&levels[0]), (1, false));
    assert_eq!(opened(&levels[2]), (3, false));
    assert_eq!(opened(&levels[39]), (5, true));
}
