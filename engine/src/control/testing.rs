//! Facts for tests: a flow, a handshake that every check passes, and what the
//! tests change of them.

use crate::evidence::{FlowId, PacketRef};
use crate::flow::{ConnState, Counters, EndReason, FlowRecord};
use crate::proto::plain::{CredentialSeen, HttpExchange, PlaintextFacts, RedirectTarget};
use crate::proto::tls::{Alert, ClientHello, KeyExchange, ServerHello, TlsHandshake, Version};
use crate::time::CaptureTime;
use std::sync::Arc;

/// A moment of the tests' captures, in seconds.
pub(crate) fn at(seconds: i64) -> CaptureTime {
    CaptureTime::from_unix(1_600_000_000 + seconds, 0)
}

/// A packet of the first capture.
pub(crate) fn packet(frame: u64) -> PacketRef {
    PacketRef {
        capture: 0,
        frame,
        offset: 24 + 100 * frame,
    }
}

/// A flow from 10.0.0.1 to 198.51.100.7, port 443.
pub(crate) fn flow(id: i64, seconds: i64) -> FlowRecord {
    FlowRecord {
        flow_id: FlowId(id),
        first: packet(id.unsigned_abs()),
        ts: at(seconds),
        ts_end: at(seconds + 1),
        src: [10, 0, 0, 1].into(),
        dst: [198, 51, 100, 7].into(),
        src_port: 50_000,
        dst_port: 443,
        ip_proto: 6,
        scope: 0,
        service: None,
        service_confidence: None,
        orig: Counters {
            bytes: 300,
            ..Counters::default()
        },
        resp: Counters {
            bytes: 700,
            ..Counters::default()
        },
        retrans_pkts: 0,
        dup_pkts: 0,
        ooo_pkts: 0,
        overlap_conflicts: 0,
        conn_state: ConnState::Sf,
        history: "ShADadFf".into(),
        direction_flipped: false,
        tcp_rtt_ns: None,
        end_reason: EndReason::Eof,
        link: crate::decode::LinkContext::default(),
        community_id: [0; 20],
        server_name: None,
        server_name_source: None,
        server_name_origin: crate::flow::NameOrigin::default(),
        local_orig: true,
        local_resp: false,
        echo: None,
        rhythm: None,
        dst_allowed: None,
        entropy: [None; 2],
        bytes_encrypted: 0,
        bytes_plaintext: 0,
        files_spanned: Box::default(),
    }
}

/// A ClientHello with this legacy_version, these supported_versions and suites.
pub(crate) fn client(version: u16, supported: &[u16], ciphers: &[u16]) -> ClientHello {
    ClientHello {
        record_version: 0x0301,
        version,
        supported_versions: supported.to_vec(),
        ciphers: ciphers.to_vec(),
        secure_renegotiation: true,
        ..ClientHello::default()
    }
}

/// A handshake of which only this ClientHello was seen.
pub(crate) fn hello(client: ClientHello) -> TlsHandshake {
    TlsHandshake {
        ts: at(0),
        first: packet(1),
        transport: "tcp".into(),
        client: Some(Arc::new(client)),
        ..TlsHandshake::default()
    }
}

/// TLS 1.3, complete, with x25519: nothing to object to.
pub(crate) fn tls13() -> TlsHandshake {
    TlsHandshake {
        server: Some(Arc::new(ServerHello {
            version: 0x0303,
            supported_version: Some(0x0304),
            cipher: 0x1301,
            key_share_group: Some(0x001d),
            ..ServerHello::default()
        })),
        version: Some(Version(0x0304)),
        established: true,
        ..hello(client(0x0303, &[0x0304, 0x0303], &[0x1301, 0xc02f]))
    }
}

/// A complete handshake below TLS 1.3 with an ECDHE key (secp256r1) that
/// rsa_pkcs1_sha256 signs; the client offers this version and suite alone.
pub(crate) fn tls(version: u16, cipher: u16) -> TlsHandshake {
    TlsHandshake {
        server: Some(Arc::new(ServerHello {
            version,
            cipher,
            secure_renegotiation: true,
            ..ServerHello::default()
        })),
        version: Some(Version(version)),
        key_exchange: KeyExchange {
            group: Some(23),
            bits: Some(256),
            signature: Some(0x0401),
            client_signature: None,
        },
        established: true,
        ..hello(client(version, &[], &[cipher]))
    }
}

/// The same with another ClientHello.
pub(crate) fn with_client(mut tls: TlsHandshake, client: ClientHello) -> TlsHandshake {
    tls.client = Some(Arc::new(client));
    tls
}

/// The same with its ServerHello changed.
pub(crate) fn with_server(
    mut tls: TlsHandshake,
    change: impl FnOnce(&mut ServerHello),
) -> TlsHandshake {
    change(Arc::make_mut(tls.server.get_or_insert_default()));
    tls
}

/// The same, broken off by this fatal alert.
pub(crate) fn broken_off(
    mut tls: TlsHandshake,
    from_client: bool,
    description: u8,
) -> TlsHandshake {
    tls.established = false;
    tls.alerts.push(Alert {
        from_client,
        level: 2,
        description,
    });
    tls
}

/// What a flow of this protocol said outside TLS.
pub(crate) fn plain(protocol: &'static str) -> PlaintextFacts {
    PlaintextFacts {
        protocol,
        recognised: packet(4),
        ..PlaintextFacts::default()
    }
}

/// The same with a credential of this class.
pub(crate) fn with_credential(mut facts: PlaintextFacts, class: &'static str) -> PlaintextFacts {
    facts.credentials.push(CredentialSeen {
        class,
        len: 8,
        ts: at(0),
        packet: packet(5),
        ..CredentialSeen::default()
    });
    facts
}

/// HTTP exchanges with a host: status code, and for redirects the scheme and
/// host of the target.
#[allow(clippy::type_complexity)] // (status, (scheme, host) of Location) reads well in a table
pub(crate) fn http(host: &str, answers: &[(Option<u16>, Option<(&str, &str)>)]) -> PlaintextFacts {
    let http: Vec<_> = answers
        .iter()
        .map(|&(status, location)| HttpExchange {
            ts: at(0),
            packet: packet(4),
            method: "GET".to_owned(),
            host: Some(host.to_owned()),
            path: "/".to_owned(),
            status,
            pki: false,
            location: location.map(|(scheme, host)| RedirectTarget {
                scheme: scheme.to_owned(),
                host: host.to_owned(),
            }),
        })
        .collect();
    PlaintextFacts {
        http_exchanges: http.len() as u64,
        http,
        ..plain("http")
    }
}
