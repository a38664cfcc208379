//! Packets of the RFCs' appendices, and conversations sealed here with the
//! keys that are public.

use super::keys::InitialKeys;
use super::packet::{Long, long, version};
use crate::proto::Direction::{Orig, Resp};
use crate::proto::plain::testing::{datagrams_on, hex};
use crate::proto::tls::{Alert, TlsHandshake};
use crate::proto::{Direction, SessionFacts};

const V1: u32 = 1;
const V2: u32 = 0x6b33_43cf;
const PORTS: (u16, u16) = (50_000, 443);

/// The server's Initial packets of RFC 9001 §A.3 and RFC 9369 §A.3: the same payload.
#[test]
fn packets_of_the_appendices_open() {
    let id = hex("8394c8f03e515708");
    let payload = hex(
        "02000000000600405a020000560303eefce7f7b37ba1d1632e96677825ddf739
         88cfc79825df566dc5430b9a045a1200130100002e00330024001d00209d3c94
         0d89690b84d08a60993c144eca684d1081287c834d5311bcf32bb9da1a002b00
         020304",
    );
    for (number, packet) in [
        (
            V1,
            "cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a
             5816b6394100f37a1c69797554780bb38cc5a99f5ede4cf73c3ec2493a1839b3
             dbcba3f6ea46c5b7684df3548e7ddeb9c3bf9c73cc3f3bded74b562bfb19fb84
             022f8ef4cdd93795d77d06edbb7aaf2f58891850abbdca3d20398c276456cbc4
             2158407dd074ee",
        ),
        (
            V2,
            "dc6b3343cf0008f067a5502a4262b5004075d92faaf16f05d8a4398c47089698
             baeea26b91eb761d9b89237bbf87263017915358230035f7fd3945d88965cf17
             f9af6e16886c61bfc703106fbaf3cb4cfa52382dd16a393e42757507698075b2
             c984c707f0a0812d8cd5a6881eaf21ceda98f4bd23f6fe1a3e2c43edd9ce7ca8
             4bed8521e2e140",
        ),
    ] {
        let packet = hex(packet);
        let mut keys = InitialKeys::new(&version(number).expect("known"), &id).expect("keys");
        let found = long(&mut &packet[..]).expect("a packet");
        assert_eq!(keys.ends[1].open(&found), Some(payload.clone()));
        assert_eq!(keys.ends[0].open(&found), None, "the other end's keys");
        let mut damaged = packet.clone();
        damaged[60] ^= 1;
        let found = long(&mut &damaged[..]).expect("a packet");
        assert_eq!(keys.ends[1].open(&found), None, "a damaged packet");
    }
}

/// One end that seals Initial packets.
struct End {
    keys: InitialKeys,
    end: usize,
    dcid: &'static [u8],
    scid: &'static [u8],
    number: u8,
}

impl End {
    fn new(number: u32, id: &[u8], end: usize, ids: (&'static [u8], &'static [u8])) -> Self {
        Self {
            keys: InitialKeys::new(&version(number).expect("known"), id).expect("keys"),
            end,
            dcid: ids.0,
            scid: ids.1,
            number: 0,
        }
    }

    /// A packet with these frames; the client's fill their datagram.
    fn seal(&mut self, frames: &[u8]) -> Vec<u8> {
        let mut payload = frames.to_vec();
        if self.end == 0 {
            payload.resize(1_200 - 16 - 60, 0);
        }
        let first = if self.keys.version == V2 { 0xd0 } else { 0xc0 };
        let mut header = vec![first];
        header.extend(self.keys.version.to_be_bytes());
        for id in [self.dcid, self.scid] {
            header.push(u8::try_from(id.len()).expect("short"));
            header.extend(id);
        }
        header.push(0);
        let len = u16::try_from(1 + payload.len() + 16).expect("short") | 0x4000;
        header.extend(len.to_be_bytes());
        self.number += 1;
        let mut packet = self.keys.ends[self.end].seal(&header, self.number, &payload);
        if self.end == 0 {
            packet.resize(packet.len().max(1_200), 0);
        }
        packet
    }
}

fn crypto(at: u16, bytes: &[u8]) -> Vec<u8> {
    let mut frame = vec![6];
    frame.extend((at | 0x4000).to_be_bytes());
    frame.extend((u16::try_from(bytes.len()).expect("short") | 0x4000).to_be_bytes());
    frame.extend(bytes);
    frame
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len()).expect("short").to_be_bytes();
    [&[kind], &len[1..], body].concat()
}

fn client_hello() -> Vec<u8> {
    let mut body = hex("0303");
    body.extend([7; 32]);
    body.extend(hex("00 0002 1301 01 00 001d"));
    body.extend(hex("0000 0009 0007 00 0004 68 6f 73 74"));
    body.extend(hex("0010 0005 0003 02 6833"));
    body.extend(hex("002b 0003 02 0304"));
    message(1, &body)
}

fn server_hello() -> Vec<u8> {
    let mut body = hex("0303");
    body.extend([9; 32]);
    body.extend(hex("00 1301 00 0006 002b 0002 0304"));
    message(2, &body)
}

fn only(facts: &SessionFacts) -> &TlsHandshake {
    assert_eq!(facts.service.as_deref(), Some("quic"));
    let [tls] = facts.tls.as_slice() else {
        panic!("one handshake, not {:?}", facts.tls)
    };
    tls
}

#[track_caller]
fn is_complete(tls: &TlsHandshake) {
    let client = tls.client.as_deref().expect("a ClientHello");
    assert_eq!(client.server_name.as_deref(), Some("host"));
    assert_eq!(client.alpn, ["h3"]);
    assert_eq!(tls.transport, "quic");
    assert_eq!(tls.version.map(|version| version.0), Some(0x0304));
    assert!(
        tls.ja4
            .as_deref()
            .is_some_and(|ja4| ja4.starts_with("q13d0103h3_")),
        "{:?}",
        tls.ja4
    );
}

const ID: &[u8] = b"made up!";

fn both(number: u32) -> (End, End) {
    (
        End::new(number, ID, 0, (ID, b"client")),
        End::new(number, ID, 1, (b"client", b"a server")),
    )
}

fn run(turns: Vec<(Direction, Vec<u8>)>) -> SessionFacts {
    datagrams_on(PORTS, &turns)
}

#[test]
fn a_handshake_in_both_versions() {
    for number in [V1, V2] {
        let (mut client, mut server) = both(number);
        let hello = client_hello();
        let (early, late) = hello.split_at(40);
        // Its second half first, both twice, and the server's in two packets of one datagram.
        let first = client.seal(&crypto(40, late));
        let second = client.seal(&[&[1], &crypto(0, early)[..]].concat());
        let answer = server_hello();
        let mut coalesced = server.seal(&crypto(0, &answer[..20]));
        coalesced.extend(server.seal(&crypto(20, &answer[20..])));
        coalesced.extend(b"\x40 data of the connection");
        let facts = run(vec![
            (Orig, first.clone()),
            (Orig, first),
            (Orig, second),
            (Resp, coalesced),
            (Orig, b"\x40 more data".to_vec()),
        ]);
        let tls = only(&facts);
        is_complete(tls);
        assert!(tls.established);
        assert_eq!(tls.history, "CsdD");
        assert_eq!(facts.bytes_plaintext, [0, 0]);
    }
}

#[test]
fn a_retry_says_the_hello_again() {
    let (mut client, _) = both(V1);
    let hello = crypto(0, &client_hello());
    let mut retry = hex("f0 00000001 06");
    retry.extend(b"client");
    retry.extend(hex("08"));
    retry.extend(b"retried!token and a tag of the server");
    let mut again = End::new(V1, b"retried!", 0, (b"retried!", b"client"));
    let mut server = End::new(V1, b"retried!", 1, (b"client", b"a server"));
    let facts = run(vec![
        (Orig, client.seal(&hello)),
        (Resp, retry),
        (Orig, again.seal(&hello)),
        (Resp, server.seal(&crypto(0, &server_hello()))),
    ]);
    let tls = only(&facts);
    is_complete(tls);
    assert!(!tls.established, "nothing shows that the client went on");
    assert_eq!(tls.first.frame, 1);
}

#[test]
fn another_version_is_agreed_on() {
    let hello = crypto(0, &client_hello());
    // By a list of the server's, and a new attempt.
    let (mut first, _) = both(V1);
    let mut list = hex("80 00000000 06");
    list.extend(b"client");
    list.extend(hex("08"));
    list.extend([ID, &V2.to_be_bytes()].concat());
    let mut again = End::new(V2, b"otherid!", 0, (b"otherid!", b"client"));
    let mut server = End::new(V2, b"otherid!", 1, (b"client", b"a server"));
    let facts = run(vec![
        (Orig, first.seal(&hello)),
        (Resp, list),
        (Orig, again.seal(&hello)),
        (Resp, server.seal(&crypto(0, &server_hello()))),
    ]);
    is_complete(only(&facts));
    // By the server's answer alone (RFC 9368 §2.3).
    let (mut client, _) = both(V1);
    let (_, mut server) = both(V2);
    let facts = run(vec![
        (Orig, client.seal(&hello)),
        (Resp, server.seal(&crypto(0, &server_hello()))),
    ]);
    is_complete(only(&facts));
}

#[test]
fn a_refusal_is_an_alert() {
    let (mut client, mut server) = both(V1);
    let facts = run(vec![
        (Orig, client.seal(&crypto(0, &client_hello()))),
        (Resp, server.seal(&hex("1c 4146 00 00"))),
    ]);
    let expected = Alert {
        from_client: false,
        level: 2,
        description: 70,
    };
    assert_eq!(only(&facts).alerts, [expected]);
}

#[test]
fn another_connection_between_the_same_ports() {
    let (mut client, mut server) = both(V1);
    let mut next = End::new(V1, b"nextone!", 0, (b"nextone!", b"client"));
    let mut answer = End::new(V1, b"nextone!", 1, (b"client", b"a server"));
    let facts = run(vec![
        (Orig, client.seal(&crypto(0, &client_hello()))),
        (Resp, server.seal(&crypto(0, &server_hello()))),
        // A retransmission is none.
        (Orig, client.seal(&crypto(0, &client_hello()))),
        (Orig, next.seal(&crypto(0, &client_hello()))),
        (Resp, answer.seal(&crypto(0, &server_hello()))),
    ]);
    assert_eq!(facts.tls.len(), 2);
    facts.tls.iter().for_each(is_complete);
}

#[test]
fn what_does_not_open_says_nothing() {
    // A server's side alone, and noise behind a header.
    let (_, mut server) = both(V1);
    let facts = run(vec![(Resp, server.seal(&crypto(0, &server_hello())))]);
    assert!(facts.tls.is_empty());
    let mut noise = hex("c3 00000001 08 0102030405060708 00 00 4496");
    noise.resize(1_200, 0x55);
    let facts = run(vec![(Orig, noise); 40]);
    assert!(facts.tls.is_empty());
    assert_eq!(facts.service.as_deref(), Some("quic"));
    assert_eq!(facts.bytes_encrypted[0], 48_000);
}

#[test]
fn a_short_header_is_never_taken_for_a_long_one() {
    let found: Option<Long<'_>> = long(&mut &b"\xc0\0\0\0\x01\x08short"[..]);
    assert!(found.is_none());
}

/// A connection with a key log: a certificate in Handshake packets that come
/// before the server's hello as well, tickets, a key update, an alert.
mod with_a_key_log {
    use super::*;
    use crate::proto::plain::testing::{datagrams_knowing, hex};
    use crate::proto::secrets::{KeyLog, Source};
    use crate::proto::tls::{CertVisibility, expand_label};
    use ring::{aead, hkdf};

    fn keys(secret: &[u8]) -> super::super::keys::Keys {
        let prk = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, secret);
        let version = version(V1).expect("known");
        super::super::keys::Keys::new(&prk, &version, &aead::AES_128_GCM, &aead::quic::AES_128)
            .expect("keys")
    }

    fn updated(secret: u8) -> super::super::keys::Keys {
        let prk = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, &[secret; 32]);
        let mut next = [0; 32];
        expand_label(&prk, "quic ku", &mut next).expect("expands");
        let version = version(V1).expect("known");
        let prk = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, &next);
        let key = super::super::keys::PacketKey::new(&prk, &version, &aead::AES_128_GCM);
        let mut keys = keys(&[secret; 32]);
        keys.update(key.expect("a key"));
        keys
    }

    fn handshake(secret: u8, dcid: &[u8], scid: &[u8], number: u8, frames: &[u8]) -> Vec<u8> {
        let mut header = hex("e0 00000001");
        for id in [dcid, scid] {
            header.push(u8::try_from(id.len()).expect("short"));
            header.extend(id);
        }
        let len = u16::try_from(1 + frames.len() + 16).expect("short") | 0x4000;
        header.extend(len.to_be_bytes());
        keys(&[secret; 32]).seal(&header, number, frames)
    }

    fn short(
        keys: &super::super::keys::Keys,
        phase: u8,
        dcid: &[u8],
        number: u8,
        frames: &[u8],
    ) -> Vec<u8> {
        let frames = [frames, &[0; 8]].concat();
        keys.seal(&[&[0x40 | phase << 2], dcid].concat(), number, &frames)
    }

    fn key_log(secrets: [&str; 4]) -> KeyLog {
        let mut log = KeyLog::default();
        let labels = [
            "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
            "SERVER_HANDSHAKE_TRAFFIC_SECRET",
            "CLIENT_TRAFFIC_SECRET_0",
            "SERVER_TRAFFIC_SECRET_0",
        ];
        for (label, secret) in labels.into_iter().zip(secrets) {
            let line = format!("{label} {} {}\n", "07".repeat(32), secret.repeat(32));
            log.add(line.as_bytes(), Source::KeyLog);
        }
        log
    }

    fn turns(early: bool) -> Vec<(Direction, Vec<u8>)> {
        let (mut client, mut server) = both(V1);
        // A DER that is none: the reader keeps it all the same.
        let der = hex("30 03 02 01 05");
        let list = [&[0, 0, 5][..], &der, &[0, 0]].concat();
        let body = [&[0, 0, 0, 10][..], &list].concat();
        let flight = [
            message(8, &hex("0009 0010 0005 0003 02 6833")),
            message(11, &body),
            message(15, &hex("0804 0002 0102")),
            message(20, &[9; 32]),
        ]
        .concat();
        let hello = server.seal(&crypto(0, &server_hello()));
        let first = handshake(2, b"client", b"a server", 0, &crypto(0, &flight[..30]));
        let second = handshake(2, b"client", b"a server", 1, &crypto(30, &flight[30..]));
        let finished = handshake(
            1,
            b"a server",
            b"client",
            0,
            &crypto(0, &message(20, &[8; 32])),
        );
        let mut turns = vec![(Orig, client.seal(&crypto(0, &client_hello())))];
        if early {
            turns.push((Resp, first));
            turns.push((Resp, [hello, second].concat()));
        } else {
            turns.push((Resp, [hello, first].concat()));
            turns.push((Resp, second));
        }
        let ticket = message(4, b"\0\0\0\x01\0\0\0\0\x01n\0\x06ticket\0\0");
        let (client, server) = (keys(&[3; 32]), keys(&[4; 32]));
        turns.push((Orig, finished));
        turns.push((
            Orig,
            short(&client, 0, b"a server", 0, &hex("0e 00 00 03 616263")),
        ));
        turns.push((
            Resp,
            short(
                &server,
                0,
                b"client",
                0,
                &[&hex("1e")[..], &crypto(0, &ticket)].concat(),
            ),
        ));
        // Both change their keys; a packet that is late uses the ones before.
        turns.push((Resp, short(&updated(4), 1, b"client", 2, &hex("01"))));
        turns.push((Resp, short(&server, 0, b"client", 1, &hex("01"))));
        turns.push((
            Orig,
            short(&updated(3), 1, b"a server", 1, &hex("1c 412a 00 00")),
        ));
        turns
    }

    #[test]
    fn the_certificate_is_read() {
        for early in [false, true] {
            let log = key_log(["01", "02", "03", "04"]);
            let facts = datagrams_knowing(PORTS, &turns(early), Some(&log));
            let tls = only(&facts);
            is_complete(tls);
            assert!(tls.decrypted && tls.established, "{tls:?}");
            assert_eq!(tls.decryption_source, Some("keylog"));
            assert_eq!(tls.decryption_failure, None);
            assert_eq!(tls.cert_visibility, CertVisibility::Decrypted);
            assert_eq!(*tls.chain[0].der, *hex("30 03 02 01 05"));
            assert_eq!(tls.key_exchange.signature, Some(0x0804));
            let server = tls.server.as_deref().expect("a server");
            assert_eq!(server.alpn.as_deref(), Some("h3"));
            assert!(tls.issued_ticket_hash.is_some());
            // The alert stood behind the key update.
            assert_eq!(tls.alerts.last().map(|alert| alert.description), Some(0x2a));
        }
    }

    #[test]
    fn secrets_that_do_not_fit_show_nothing() {
        let without = datagrams_knowing(PORTS, &turns(false), None);
        let expected = only(&without);
        for secrets in [["99"; 4], ["01", "99", "03", "04"]] {
            let facts = datagrams_knowing(PORTS, &turns(false), Some(&key_log(secrets)));
            let tls = only(&facts);
            assert!(tls.chain.is_empty() && tls.decryption_failure.is_some());
            assert_eq!(tls.cert_visibility, CertVisibility::Encrypted);
            assert_eq!(tls.version, expected.version);
        }
    }
}
