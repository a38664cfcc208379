//! The TLS reader against hellos made by hand (RFC 8446 §4.1).

use super::*;
use crate::proto::stage::Stage;
use crate::proto::tls::Version;

fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len()).expect("small").to_be_bytes();
    [&[kind, 3, 3], &len[..], body].concat()
}

/// A hello: type, and what stands between the session id and the extensions.
fn hello(kind: u8, middle: &[u8], extensions: &[u8]) -> Vec<u8> {
    let len = |bytes: &[u8]| u16::try_from(bytes.len()).expect("small").to_be_bytes();
    let body = [
        &[3, 3],
        &[7; 32][..],
        &[0],
        middle,
        &len(extensions),
        extensions,
    ]
    .concat();
    record(HANDSHAKE, &[&[kind, 0], &len(&body)[..], &body].concat())
}

/// What each direction says in turn, and the handshakes that are seen.
fn read(turns: &[(Direction, Vec<u8>)]) -> Vec<TlsHandshake> {
    let mut stage = Stage::new((50_000, 443));
    let mut cx = stage.cx(None);
    let mut session = TlsSession::new("tcp".into());
    for (direction, bytes) in turns {
        session.data(&mut cx, *direction, bytes);
    }
    session.end(&mut cx)
}

#[test]
fn a_server_hello_that_was_captured_first_hides_no_client() {
    // TLS_AES_128_GCM_SHA256, no compression; supported_versions: TLS 1.3.
    let from_client = hello(1, &[0, 2, 0x13, 1, 1, 0], &[0, 43, 0, 3, 2, 3, 4]);
    let from_server = hello(2, &[0x13, 1, 0], &[0, 43, 0, 2, 3, 4]);
    let finished = record(APPLICATION_DATA, &[9; 60]);
    let client = (Direction::Orig, from_client);
    let server = (Direction::Resp, from_server);
    let rest = (Direction::Orig, finished);
    let usual = read(&[client.clone(), server.clone(), rest.clone()]);
    let turned = read(&[server, client, rest]);
    for seen in [&usual, &turned] {
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].version, Some(Version(0x0304)));
        assert!(seen[0].established, "{:?}", seen[0]);
    }
    assert!(usual[0].client.is_some());
    assert_eq!(turned[0].client, usual[0].client);
    assert_eq!(
        (&turned[0].ja3, &turned[0].ja4),
        (&usual[0].ja3, &usual[0].ja4)
    );
}
