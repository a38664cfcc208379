//! What is said in a TLS handshake.

use super::{Case, Expected, Input, NOT_OBSERVED, PASSED, failed, refused, warned};
use crate::control::Severity::{High, Info, Low, Medium};
use crate::control::testing::{
    broken_off, client, hello, plain, tls, tls13, with_client, with_server,
};
use crate::proto::tls::{ClientHello, KeyExchange, Resumption, Sentinel, TlsHandshake, Version};

const VERSION: &str = "NS-01.tls_version";
const PREFERRED: &str = "NS-01.tls_preferred";
const DOWNGRADE: &str = "NS-01.downgrade";
const SUITE: &str = "NS-01.cipher_suite";
const NOT_ALLOWED: &str = "NS-01.cipher_not_allowed";
const OFFERED: &str = "NS-01.cipher_offered";
const KEYS: &str = "NS-01.key_exchange";
const SIGNATURE: &str = "NS-01.signature";
const HANDSHAKE: &str = "NS-01.handshake";

const MIN_13: &str = "network: {tls: {min_version: TLS1.3}}";
const MIN_10: &str = "network: {tls: {min_version: TLS1.0}}";
const PREFERRED_12: &str = "network: {tls: {preferred_version: TLS1.2}}";

// Suites, as IANA numbers them.
const AES128_GCM: u16 = 0xc02f;
const CHACHA: u16 = 0xcca8;
const CBC: u16 = 0xc013;
const RSA_GCM: u16 = 0x009c;
const DHE_GCM: u16 = 0x009e;
const ANON_GCM: u16 = 0x00a6;
const PSK_GCM: u16 = 0x00a8;

// Alerts (RFC 8446 §6, RFC 7507 §3).
const HANDSHAKE_FAILURE: u8 = 40;
const BAD_CERTIFICATE: u8 = 42;
const PROTOCOL_VERSION: u8 = 70;
const INSUFFICIENT_SECURITY: u8 = 71;
const INAPPROPRIATE_FALLBACK: u8 = 86;

fn case(
    check: &'static str,
    name: &'static str,
    policy: &'static str,
    tls: TlsHandshake,
    expected: &[Expected],
) -> Case {
    Case {
        check,
        name,
        policy,
        input: Input::Tls(tls),
        expected: expected.to_vec(),
    }
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(of_version());
    cases.extend(of_preferred());
    cases.extend(of_downgrade());
    cases.extend(of_suite());
    cases.extend(of_offered());
    cases.extend(of_key_exchange());
    cases.extend(of_signature());
    cases.extend(of_handshake());
    // None of these has anything to say of what is said outside TLS.
    for check in [
        VERSION,
        PREFERRED,
        DOWNGRADE,
        SUITE,
        NOT_ALLOWED,
        OFFERED,
        KEYS,
        SIGNATURE,
        HANDSHAKE,
    ] {
        cases.push(Case {
            check,
            name: "plaintext",
            policy: "",
            input: Input::Plain(plain("telnet")),
            expected: Vec::new(),
        });
    }
    cases
}

/// Only the server's half was captured.
fn without_client(tls: TlsHandshake) -> TlsHandshake {
    TlsHandshake {
        client: None,
        ..tls
    }
}

fn of_version() -> Vec<Case> {
    let offers = |versions: &[u16]| hello(client(0x0303, versions, &[AES128_GCM]));
    let old = || hello(client(0x0302, &[], &[AES128_GCM]));
    let low_offer = client(0x0303, &[0x0304, 0x0303, 0x0301], &[0x1301]);
    vec![
        case(
            VERSION,
            "SSL 2",
            "",
            tls(0x0002, AES128_GCM),
            &[failed(High, "SSLv2")],
        ),
        case(
            VERSION,
            "SSL 3",
            "",
            tls(0x0300, AES128_GCM),
            &[failed(High, "SSLv3")],
        ),
        case(
            VERSION,
            "TLS 1.0",
            "",
            tls(0x0301, AES128_GCM),
            &[failed(High, "TLS1.0")],
        ),
        case(
            VERSION,
            "TLS 1.1",
            "",
            tls(0x0302, AES128_GCM),
            &[failed(High, "TLS1.1")],
        ),
        case(
            VERSION,
            "DTLS 1.0",
            "",
            tls(0xfeff, AES128_GCM),
            &[failed(High, "DTLS1.0")],
        ),
        case(VERSION, "TLS 1.2", "", tls(0x0303, AES128_GCM), &[PASSED]),
        case(VERSION, "DTLS 1.2", "", tls(0xfefd, AES128_GCM), &[PASSED]),
        case(VERSION, "TLS 1.3", "", tls13(), &[PASSED]),
        case(
            VERSION,
            "a draft of TLS 1.3",
            MIN_13,
            TlsHandshake {
                version: Some(Version(0x7f1c)),
                ..tls13()
            },
            &[PASSED, warned(Info, "TLS1.2 offered")],
        ),
        case(
            VERSION,
            "a version that nobody defined",
            "",
            tls(0x0309, AES128_GCM),
            &[NOT_OBSERVED],
        ),
        case(
            VERSION,
            "TLS 1.2, asked for 1.3",
            MIN_13,
            tls(0x0303, AES128_GCM),
            &[failed(High, "TLS1.2")],
        ),
        case(
            VERSION,
            "TLS 1.0, allowed",
            MIN_10,
            tls(0x0301, AES128_GCM),
            &[PASSED],
        ),
        case(
            VERSION,
            "offers TLS 1.0 too",
            "",
            with_client(tls13(), low_offer),
            &[PASSED, warned(Info, "TLS1.0 offered")],
        ),
        case(
            VERSION,
            "offers TLS 1.1 at most, no answer",
            "",
            old(),
            &[NOT_OBSERVED, warned(Info, "TLS1.1 offered")],
        ),
        case(
            VERSION,
            "offers TLS 1.1 at most, refused",
            "",
            broken_off(old(), false, PROTOCOL_VERSION),
            &[refused("TLS1.1")],
        ),
        case(
            VERSION,
            "offers DTLS 1.0 at most, refused",
            "",
            broken_off(hello(client(0xfeff, &[], &[CBC])), false, HANDSHAKE_FAILURE),
            &[refused("DTLS1.0")],
        ),
        case(
            VERSION,
            "the client refuses TLS 1.0",
            "",
            broken_off(tls(0x0301, AES128_GCM), true, PROTOCOL_VERSION),
            &[refused("TLS1.0")],
        ),
        case(
            VERSION,
            "an alert about something else",
            "",
            broken_off(tls(0x0301, AES128_GCM), true, BAD_CERTIFICATE),
            &[failed(High, "TLS1.0")],
        ),
        case(
            VERSION,
            "no answer",
            "",
            offers(&[0x0304, 0x0303]),
            &[NOT_OBSERVED],
        ),
        case(
            VERSION,
            "an invented version among the offers",
            "",
            offers(&[0x0999, 0x0301]),
            &[NOT_OBSERVED, warned(Info, "TLS1.0 offered")],
        ),
        case(
            VERSION,
            "the server's half",
            "",
            without_client(tls(0x0303, AES128_GCM)),
            &[PASSED],
        ),
        case(
            VERSION,
            "nothing",
            "",
            TlsHandshake::default(),
            &[NOT_OBSERVED],
        ),
    ]
}

fn of_preferred() -> Vec<Case> {
    let offers_13 = || client(0x0303, &[0x0304, 0x0303], &[AES128_GCM]);
    let settled = |version, sentinel| {
        with_server(
            with_client(tls(version, AES128_GCM), offers_13()),
            |server| server.sentinel = sentinel,
        )
    };
    vec![
        case(PREFERRED, "TLS 1.3", "", tls13(), &[PASSED]),
        case(
            PREFERRED,
            "both know TLS 1.3",
            "",
            settled(0x0303, Some(Sentinel::To12)),
            &[warned(Low, "TLS1.2")],
        ),
        case(
            PREFERRED,
            "a server that may not know TLS 1.3",
            "",
            settled(0x0303, None),
            &[NOT_OBSERVED],
        ),
        case(
            PREFERRED,
            "a server that knows TLS 1.2 at least",
            "",
            settled(0x0302, Some(Sentinel::To11)),
            &[NOT_OBSERVED],
        ),
        case(
            PREFERRED,
            "both know TLS 1.2, which is preferred",
            PREFERRED_12,
            settled(0x0302, Some(Sentinel::To11)),
            &[warned(Low, "TLS1.1")],
        ),
        case(
            PREFERRED,
            "TLS 1.2 is preferred",
            PREFERRED_12,
            settled(0x0303, Some(Sentinel::To12)),
            &[PASSED],
        ),
        case(
            PREFERRED,
            "the client does not know it",
            "",
            tls(0x0303, AES128_GCM),
            &[PASSED],
        ),
        case(
            PREFERRED,
            "the server's half",
            "",
            without_client(settled(0x0303, Some(Sentinel::To12))),
            &[NOT_OBSERVED],
        ),
        case(
            PREFERRED,
            "no answer",
            "",
            hello(offers_13()),
            &[NOT_OBSERVED],
        ),
    ]
}

fn of_downgrade() -> Vec<Case> {
    let offers = |highest: u16| client(0x0303, &[highest, 0x0301], &[AES128_GCM]);
    let settled = |highest, version, sentinel| {
        with_server(
            with_client(tls(version, AES128_GCM), offers(highest)),
            |server| server.sentinel = sentinel,
        )
    };
    let fallback = || ClientHello {
        fallback_scsv: true,
        ..client(0x0302, &[], &[AES128_GCM, 0x5600])
    };
    vec![
        case(
            DOWNGRADE,
            "sentinel for TLS 1.2",
            "",
            settled(0x0304, 0x0303, Some(Sentinel::To12)),
            &[failed(High, "sentinel, TLS1.2")],
        ),
        case(
            DOWNGRADE,
            "sentinel for TLS 1.1",
            "",
            settled(0x0303, 0x0301, Some(Sentinel::To11)),
            &[failed(High, "sentinel, TLS1.0")],
        ),
        case(
            DOWNGRADE,
            "sentinel, but the client knows no more",
            "",
            settled(0x0303, 0x0303, Some(Sentinel::To12)),
            &[PASSED],
        ),
        case(
            DOWNGRADE,
            "no sentinel",
            "",
            settled(0x0304, 0x0303, None),
            &[PASSED],
        ),
        case(DOWNGRADE, "TLS 1.3", "", tls13(), &[PASSED]),
        case(
            DOWNGRADE,
            "fallback",
            "",
            with_client(tls(0x0302, AES128_GCM), fallback()),
            &[failed(High, "TLS_FALLBACK_SCSV")],
        ),
        case(
            DOWNGRADE,
            "fallback refused",
            "",
            broken_off(hello(fallback()), false, INAPPROPRIATE_FALLBACK),
            &[refused("TLS_FALLBACK_SCSV")],
        ),
        case(
            DOWNGRADE,
            "no answer",
            "",
            hello(offers(0x0304)),
            &[NOT_OBSERVED],
        ),
        case(
            DOWNGRADE,
            "the server's half",
            "",
            without_client(tls13()),
            &[NOT_OBSERVED],
        ),
    ]
}

fn of_suite() -> Vec<Case> {
    const DENY_GCM: &str = "network: {tls: {cipher_suites: {denied: [\"*GCM*\"]}}}";
    const ONLY_AES256: &str =
        "network: {tls: {cipher_suites: {allowed: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]}}}";
    let suite =
        |name, code, detail| case(SUITE, name, "", tls(0x0303, code), &[failed(High, detail)]);
    let only_denied = || hello(client(0x0303, &[], &[0x0005, 0x000a, 0x00ff]));
    let mixed = || hello(client(0x0303, &[], &[0x0005, AES128_GCM]));
    vec![
        suite("CBC", CBC, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
        suite("RC4", 0x0005, "TLS_RSA_WITH_RC4_128_SHA"),
        suite("triple DES", 0x000a, "TLS_RSA_WITH_3DES_EDE_CBC_SHA"),
        suite("NULL", 0x003b, "TLS_RSA_WITH_NULL_SHA256"),
        suite("export", 0x0003, "TLS_RSA_EXPORT_WITH_RC4_40_MD5"),
        suite("DES", 0x0009, "TLS_RSA_WITH_DES_CBC_SHA"),
        suite("MD5", 0x0004, "TLS_RSA_WITH_RC4_128_MD5"),
        suite("anonymous", ANON_GCM, "TLS_DH_anon_WITH_AES_128_GCM_SHA256"),
        suite("PSK alone", PSK_GCM, "TLS_PSK_WITH_AES_128_GCM_SHA256"),
        case(SUITE, "GCM", "", tls(0x0303, AES128_GCM), &[PASSED]),
        case(
            SUITE,
            "GCM, denied",
            DENY_GCM,
            tls(0x0303, AES128_GCM),
            &[failed(High, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256")],
        ),
        case(
            SUITE,
            "CBC, no longer denied",
            DENY_GCM,
            tls(0x0303, CBC),
            &[PASSED],
        ),
        case(
            SUITE,
            "anonymous, whatever the patterns",
            DENY_GCM,
            tls(0x0303, 0x0034),
            &[failed(High, "TLS_DH_anon_WITH_AES_128_CBC_SHA")],
        ),
        case(
            SUITE,
            "neither denied nor allowed",
            "",
            tls(0x0303, CHACHA),
            &[PASSED],
        ),
        case(
            SUITE,
            "denied suites only, refused",
            "",
            broken_off(only_denied(), false, HANDSHAKE_FAILURE),
            &[refused("")],
        ),
        case(
            SUITE,
            "others too, refused",
            "",
            broken_off(mixed(), false, HANDSHAKE_FAILURE),
            &[NOT_OBSERVED],
        ),
        case(
            SUITE,
            "denied suites only, no answer",
            "",
            only_denied(),
            &[NOT_OBSERVED],
        ),
        case(
            SUITE,
            "the client refuses",
            "",
            broken_off(tls(0x0303, CBC), true, INSUFFICIENT_SECURITY),
            &[refused("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA")],
        ),
        case(
            NOT_ALLOWED,
            "allowed",
            "",
            tls(0x0303, AES128_GCM),
            &[PASSED],
        ),
        case(NOT_ALLOWED, "TLS 1.3", "", tls13(), &[PASSED]),
        case(
            NOT_ALLOWED,
            "no longer allowed",
            ONLY_AES256,
            tls(0x0303, AES128_GCM),
            &[failed(Medium, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256")],
        ),
        case(
            NOT_ALLOWED,
            "unlisted",
            "",
            tls(0x0303, CHACHA),
            &[failed(
                Medium,
                "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
            )],
        ),
        case(
            NOT_ALLOWED,
            "unknown",
            "",
            tls(0x0303, 0xabcd),
            &[failed(Medium, "0xabcd")],
        ),
        case(
            NOT_ALLOWED,
            "denied, judged elsewhere",
            "",
            tls(0x0303, CBC),
            &[],
        ),
        case(NOT_ALLOWED, "no answer", "", only_denied(), &[NOT_OBSERVED]),
    ]
}

fn of_offered() -> Vec<Case> {
    const DENY_MORE: &str = "network: {tls: {cipher_suites: {denied: [\"*CHACHA20*\"]}}}";
    let offer = |suites: &[u16]| hello(client(0x0303, &[], suites));
    let ssl2 = ClientHello {
        sslv2_ciphers: vec![0x01_0080],
        ..client(0x0002, &[], &[AES128_GCM])
    };
    vec![
        case(
            OFFERED,
            "good suites",
            "",
            offer(&[0x1301, AES128_GCM, 0x00ff, 0x5600]),
            &[PASSED],
        ),
        case(
            OFFERED,
            "CBC and RC4",
            "",
            offer(&[0x0005, CBC, AES128_GCM, 0x002f]),
            &[warned(Info, "*CBC*, *RC4*")],
        ),
        case(
            OFFERED,
            "anonymous",
            "",
            offer(&[ANON_GCM, PSK_GCM]),
            &[warned(
                Info,
                "PSK-only key exchange, anonymous key exchange",
            )],
        ),
        case(
            OFFERED,
            "a pattern more",
            DENY_MORE,
            offer(&[CHACHA]),
            &[warned(Info, "*CHACHA20*")],
        ),
        case(
            OFFERED,
            "SSL 2 kinds",
            "",
            hello(ssl2),
            &[warned(Info, "SSL 2")],
        ),
        case(
            OFFERED,
            "the server's half",
            "",
            without_client(tls13()),
            &[NOT_OBSERVED],
        ),
    ]
}

fn of_key_exchange() -> Vec<Case> {
    let keys = |cipher, group, bits| TlsHandshake {
        key_exchange: KeyExchange {
            group,
            bits,
            ..KeyExchange::default()
        },
        ..tls(0x0303, cipher)
    };
    let share = |group, psk| {
        with_server(tls13(), |server| {
            (server.key_share_group, server.psk) = (group, psk)
        })
    };
    let resumed = |cipher| TlsHandshake {
        resumed: Some(Resumption::Ticket),
        ..keys(cipher, None, None)
    };
    vec![
        case(
            KEYS,
            "x25519",
            "",
            keys(AES128_GCM, Some(29), Some(255)),
            &[PASSED],
        ),
        case(
            KEYS,
            "secp224r1",
            "",
            keys(AES128_GCM, Some(21), Some(224)),
            &[PASSED],
        ),
        case(
            KEYS,
            "a weak curve",
            "",
            keys(AES128_GCM, Some(19), Some(192)),
            &[failed(Medium, "secp192r1")],
        ),
        case(
            KEYS,
            "a weak curve, by its name alone",
            "",
            keys(AES128_GCM, Some(19), None),
            &[failed(Medium, "secp192r1")],
        ),
        case(
            KEYS,
            "an unknown group",
            "",
            keys(AES128_GCM, Some(0xff01), None),
            &[NOT_OBSERVED],
        ),
        case(
            KEYS,
            "DH 1024",
            "",
            keys(DHE_GCM, None, Some(1_024)),
            &[failed(Medium, "DH 1024 bits")],
        ),
        case(
            KEYS,
            "DH 2047",
            "",
            keys(DHE_GCM, None, Some(2_047)),
            &[failed(Medium, "DH 2047 bits")],
        ),
        case(
            KEYS,
            "DH 2048",
            "",
            keys(DHE_GCM, None, Some(2_048)),
            &[PASSED],
        ),
        case(
            KEYS,
            "RSA key transport",
            "",
            keys(RSA_GCM, None, None),
            &[failed(Medium, "TLS_RSA_WITH_AES_128_GCM_SHA256")],
        ),
        case(
            KEYS,
            "RSA key transport, resumed",
            "",
            resumed(RSA_GCM),
            &[failed(Medium, "TLS_RSA_WITH_AES_128_GCM_SHA256")],
        ),
        case(
            KEYS,
            "ECDHE, resumed",
            "",
            resumed(AES128_GCM),
            &[NOT_OBSERVED],
        ),
        case(
            KEYS,
            "no ServerKeyExchange",
            "",
            keys(AES128_GCM, None, None),
            &[NOT_OBSERVED],
        ),
        case(KEYS, "TLS 1.3", "", tls13(), &[PASSED]),
        case(
            KEYS,
            "TLS 1.3, post-quantum hybrid",
            "",
            share(Some(0x11ec), false),
            &[PASSED],
        ),
        case(
            KEYS,
            "TLS 1.3, a weak curve",
            "",
            share(Some(19), false),
            &[failed(Medium, "secp192r1")],
        ),
        case(
            KEYS,
            "TLS 1.3, PSK with a key",
            "",
            share(Some(29), true),
            &[PASSED],
        ),
        case(
            KEYS,
            "TLS 1.3, PSK alone",
            "",
            share(None, true),
            &[failed(Medium, "psk_ke")],
        ),
        case(
            KEYS,
            "TLS 1.3, nothing shown",
            "",
            share(None, false),
            &[NOT_OBSERVED],
        ),
        case(
            KEYS,
            "an unknown suite",
            "",
            keys(0xabcd, None, None),
            &[NOT_OBSERVED],
        ),
        case(
            KEYS,
            "no answer",
            "",
            hello(client(0x0303, &[], &[])),
            &[NOT_OBSERVED],
        ),
    ]
}

fn of_signature() -> Vec<Case> {
    let signed = |server, client| TlsHandshake {
        key_exchange: KeyExchange {
            group: Some(23),
            bits: Some(256),
            signature: server,
            client_signature: client,
        },
        ..tls(0x0303, AES128_GCM)
    };
    let resumed = TlsHandshake {
        resumed: Some(Resumption::Id),
        ..signed(None, None)
    };
    let key_transport = TlsHandshake {
        key_exchange: KeyExchange::default(),
        ..tls(0x0303, RSA_GCM)
    };
    vec![
        case(
            SIGNATURE,
            "SHA-256",
            "",
            signed(Some(0x0401), None),
            &[PASSED],
        ),
        case(
            SIGNATURE,
            "RSA-PSS, Ed25519",
            "",
            signed(Some(0x0804), Some(0x0807)),
            &[PASSED, PASSED],
        ),
        case(
            SIGNATURE,
            "SHA-1 with RSA",
            "",
            signed(Some(0x0201), None),
            &[failed(Medium, "server: SHA-1")],
        ),
        case(
            SIGNATURE,
            "SHA-1 with ECDSA",
            "",
            signed(Some(0x0203), None),
            &[failed(Medium, "server: SHA-1")],
        ),
        case(
            SIGNATURE,
            "MD5",
            "",
            signed(Some(0x0101), None),
            &[failed(Medium, "server: MD5")],
        ),
        case(
            SIGNATURE,
            "TLS 1.1",
            "",
            signed(Some(0xff00), None),
            &[failed(Medium, "server: MD5 and SHA-1")],
        ),
        case(
            SIGNATURE,
            "the client's",
            "",
            signed(Some(0x0401), Some(0x0201)),
            &[PASSED, failed(Medium, "client: SHA-1")],
        ),
        case(
            SIGNATURE,
            "no ServerKeyExchange",
            "",
            signed(None, None),
            &[NOT_OBSERVED],
        ),
        case(SIGNATURE, "resumed", "", resumed, &[NOT_OBSERVED]),
        case(SIGNATURE, "TLS 1.3", "", tls13(), &[NOT_OBSERVED]),
        case(SIGNATURE, "nothing to sign", "", key_transport, &[]),
        case(
            SIGNATURE,
            "no answer",
            "",
            hello(client(0x0303, &[], &[])),
            &[NOT_OBSERVED],
        ),
    ]
}

fn of_handshake() -> Vec<Case> {
    let good = || tls(0x0303, AES128_GCM);
    let insecure = || with_server(good(), |server| server.secure_renegotiation = false);
    let old_client = ClientHello {
        secure_renegotiation: false,
        ..client(0x0303, &[], &[AES128_GCM])
    };
    vec![
        case(HANDSHAKE, "TLS 1.2", "", good(), &[PASSED]),
        case(HANDSHAKE, "TLS 1.3", "", tls13(), &[PASSED]),
        case(
            HANDSHAKE,
            "compression",
            "",
            with_server(good(), |server| server.compression = 1),
            &[failed(High, "compression")],
        ),
        case(
            HANDSHAKE,
            "heartbeat",
            "",
            TlsHandshake {
                heartbeat_abuse: true,
                ..good()
            },
            &[failed(High, "heartbeat")],
        ),
        case(
            HANDSHAKE,
            "renegotiated without RFC 5746",
            "",
            TlsHandshake {
                renegotiation: true,
                ..insecure()
            },
            &[failed(High, "insecure renegotiation")],
        ),
        case(
            HANDSHAKE,
            "renegotiated with RFC 5746",
            "",
            TlsHandshake {
                renegotiation: true,
                ..good()
            },
            &[PASSED],
        ),
        case(
            HANDSHAKE,
            "a server without RFC 5746",
            "",
            insecure(),
            &[warned(Low, "no secure renegotiation")],
        ),
        case(
            HANDSHAKE,
            "nobody asked for RFC 5746",
            "",
            with_client(insecure(), old_client),
            &[PASSED],
        ),
        case(
            HANDSHAKE,
            "broken off",
            "",
            TlsHandshake {
                malformed: Some("ends inside a ClientHello".to_owned()),
                ..TlsHandshake::default()
            },
            &[warned(Low, "malformed or incomplete")],
        ),
        case(
            HANDSHAKE,
            "several at once",
            "",
            TlsHandshake {
                heartbeat_abuse: true,
                ..with_server(good(), |server| server.compression = 64)
            },
            &[failed(High, "heartbeat"), failed(High, "compression")],
        ),
        case(
            HANDSHAKE,
            "no answer",
            "",
            hello(client(0x0303, &[], &[])),
            &[NOT_OBSERVED],
        ),
    ]
}
