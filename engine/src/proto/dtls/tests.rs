//! Flights as RFC 6347 §4.2 draws them, cut up, mixed up and repeated.

use crate::proto::Direction::{Orig, Resp};
use crate::proto::plain::testing::{datagrams_on, hex};
use crate::proto::tls::TlsHandshake;
use crate::proto::{Direction, SessionFacts};

fn record(kind: u8, epoch: u16, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len()).expect("short").to_be_bytes();
    let mut record = vec![kind, 0xfe, 0xfd];
    record.extend(epoch.to_be_bytes());
    record.extend([0; 6]);
    record.extend(len);
    record.extend(body);
    record
}

/// A fragment of a message: the `part` of its body.
fn fragment(kind: u8, sequence: u8, body: &[u8], part: std::ops::Range<usize>) -> Vec<u8> {
    let number = |number: usize| u32::try_from(number).expect("short").to_be_bytes()[1..].to_vec();
    let mut fragment = vec![kind];
    fragment.extend(number(body.len()));
    fragment.extend([0, sequence]);
    fragment.extend(number(part.start));
    fragment.extend(number(part.len()));
    fragment.extend(&body[part]);
    record(22, 0, &fragment)
}

fn whole(kind: u8, sequence: u8, body: &[u8]) -> Vec<u8> {
    fragment(kind, sequence, body, 0..body.len())
}

fn client_hello(cookie: &[u8]) -> Vec<u8> {
    let mut body = hex("fefd");
    body.extend([7; 32]);
    body.push(0);
    body.push(u8::try_from(cookie.len()).expect("short"));
    body.extend(cookie);
    body.extend(hex(
        "0002 c02f 01 00 000d 0000 0009 0007 00 0004 68 6f 73 74",
    ));
    body
}

fn server_hello() -> Vec<u8> {
    let mut body = hex("fefd");
    body.extend([9; 32]);
    body.extend(hex("00 c02f 00"));
    body
}

fn key_exchange() -> Vec<u8> {
    let mut body = hex("03 001d 20");
    body.extend([5; 32]);
    body.extend(hex("0401 0004 01020304"));
    body
}

fn run(turns: Vec<(Direction, Vec<u8>)>) -> SessionFacts {
    datagrams_on((50_000, 4433), &turns)
}

#[track_caller]
fn is_complete(facts: &SessionFacts) -> &TlsHandshake {
    assert_eq!(facts.service.as_deref(), Some("dtls"));
    let [tls] = facts.tls.as_slice() else {
        panic!("one handshake, not {:?}", facts.tls)
    };
    let client = tls.client.as_deref().expect("a ClientHello");
    assert_eq!(client.server_name.as_deref(), Some("host"));
    assert_eq!(client.ciphers, [0xc02f]);
    assert_eq!(tls.transport, "udp-dtls");
    assert_eq!(tls.version.map(|version| version.0), Some(0xfefd));
    assert_eq!(tls.key_exchange.group, Some(29));
    assert_eq!(tls.key_exchange.signature, Some(0x0401));
    assert!(tls.malformed.is_none(), "{:?}", tls.malformed);
    assert!(
        tls.ja4
            .as_deref()
            .is_some_and(|ja4| ja4.starts_with("dd2d0101")),
        "{:?}",
        tls.ja4
    );
    tls
}

/// All but the last flights of a handshake with a cookie.
fn opening() -> Vec<(Direction, Vec<u8>)> {
    vec![
        (Orig, whole(1, 0, &client_hello(b""))),
        (Resp, whole(3, 0, &hex("feff 04 c00c1e00"))),
        (Orig, whole(1, 1, &client_hello(&hex("c00c1e00")))),
    ]
}

fn closing() -> Vec<(Direction, Vec<u8>)> {
    let finish = || {
        let finished = record(22, 1, &[0x66; 40]);
        [record(20, 0, &[1]), finished].concat()
    };
    vec![
        (Orig, [whole(16, 2, &hex("01 00")), finish()].concat()),
        (Resp, finish()),
        (Orig, record(23, 1, &[0x77; 50])),
    ]
}

#[test]
fn a_handshake_with_a_cookie() {
    let mut turns = opening();
    turns.push((
        Resp,
        [
            whole(2, 1, &server_hello()),
            whole(12, 2, &key_exchange()),
            whole(14, 3, b""),
        ]
        .concat(),
    ));
    turns.extend(closing());
    let facts = run(turns);
    let tls = is_complete(&facts);
    assert!(tls.established && tls.resumed.is_none());
    assert_eq!(tls.app_bytes, [50, 0]);
    assert_eq!(tls.first.frame, 1);
}

#[test]
fn fragments_in_any_order_overlapping_and_repeated() {
    let keys = key_exchange();
    let mut turns = opening();
    // The flight's end comes first; the key exchange in three overlapping pieces.
    turns.extend([
        (Resp, whole(14, 3, b"")),
        (Resp, fragment(12, 2, &keys, 30..keys.len())),
        (Resp, whole(2, 1, &server_hello())),
        (Resp, fragment(12, 2, &keys, 0..10)),
        (Resp, fragment(12, 2, &keys, 0..10)),
        (Orig, whole(1, 1, &client_hello(&hex("c00c1e00")))),
        (Resp, fragment(12, 2, &keys, 5..35)),
        (Resp, whole(2, 1, &server_hello())),
    ]);
    turns.extend(closing());
    let facts = run(turns);
    assert!(is_complete(&facts).established);
}

#[test]
fn a_message_that_never_became_whole_hides_none_behind_it() {
    let mut turns = opening();
    turns.extend([
        (Resp, whole(2, 1, &server_hello())),
        (Resp, fragment(11, 2, &[0; 900], 0..400)),
        (Resp, whole(12, 3, &key_exchange())),
    ]);
    turns.extend(closing());
    let facts = run(turns);
    let tls = is_complete(&facts);
    assert!(tls.established && tls.chain.is_empty() && tls.resumed.is_none());
}

#[test]
fn two_associations_between_the_same_ports() {
    let one = |mut hello: Vec<u8>| {
        hello[10] ^= 1;
        vec![
            (Orig, whole(1, 0, &hello)),
            (Resp, whole(2, 0, &server_hello())),
            (Resp, whole(12, 1, &key_exchange())),
        ]
    };
    let mut turns = one(client_hello(b""));
    let mut other = client_hello(b"");
    other[20] ^= 1;
    turns.extend(one(other));
    assert_eq!(run(turns).tls.len(), 2);
}

#[test]
fn after_stun_on_the_same_path() {
    let stun = hex("0001 0000 2112a442 000102030405060708090a0b");
    let mut turns = vec![(Orig, stun.clone()), (Resp, stun.clone())];
    turns.extend(opening());
    turns.extend([
        (Resp, whole(2, 1, &server_hello())),
        (Orig, stun),
        (Resp, whole(12, 2, &key_exchange())),
    ]);
    let facts = run(turns);
    assert_eq!(facts.service.as_deref(), Some("stun,dtls"));
    assert_eq!(facts.tls.len(), 1);
    assert_eq!(facts.tls[0].key_exchange.group, Some(29));
}

#[test]
fn encrypted_records_of_13_count_by_their_epoch() {
    let mut hello = server_hello();
    hello.extend(hex("0006 002b 0002 fefc"));
    let sealed = |epoch: u8| [&[0x20 | epoch], &[0x44; 60][..]].concat();
    let facts = run(vec![
        (Orig, whole(1, 0, &client_hello(b""))),
        (Resp, [whole(2, 0, &hello), sealed(2)].concat()),
        (Orig, sealed(2)),
    ]);
    let tls = &facts.tls[0];
    assert_eq!(tls.version.map(|version| version.0), Some(0xfefc));
    assert!(!tls.established && tls.app_bytes == [0, 0]);
    let facts = run(vec![
        (Orig, whole(1, 0, &client_hello(b""))),
        (Resp, [whole(2, 0, &hello), sealed(2)].concat()),
        (Orig, sealed(3)),
    ]);
    assert!(facts.tls[0].established);
    assert_eq!(facts.tls[0].app_bytes, [61, 0]);
}
