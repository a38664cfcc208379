//! Names of TLS versions, groups, signature schemes, alerts and extensions, as
//! IANA's registries have them. What has no name keeps its number.

use super::Version;
use std::borrow::Cow;

/// `SSLv2`, `SSLv3`, `TLS1.0` … `TLS1.3`, `DTLS1.0`, `DTLS1.2`, `DTLS1.3`;
/// drafts of TLS 1.3 as `TLS1.3-draft28`; others as `0x0305`.
pub fn version_name(version: Version) -> Cow<'static, str> {
    Cow::Borrowed(match version.0 {
        0x0002 => "SSLv2",
        0x0300 => "SSLv3",
        0x0301 => "TLS1.0",
        0x0302 => "TLS1.1",
        0x0303 => "TLS1.2",
        0x0304 => "TLS1.3",
        0xfeff => "DTLS1.0",
        0xfefd => "DTLS1.2",
        0xfefc => "DTLS1.3",
        // Facebook's experiments numbered after draft 23 and 26.
        0xfb17 | 0xfb1a => "TLS1.3-fb",
        draft if draft >> 8 == 0x7f => {
            return Cow::Owned(format!("TLS1.3-draft{}", draft & 0xff));
        }
        other => return Cow::Owned(format!("0x{other:04x}")),
    })
}

/// The version's rank, for comparisons across TLS, DTLS and drafts: 0 SSL 2,
/// 1 SSL 3, 2 TLS 1.0, 3 TLS 1.1 and DTLS 1.0 (RFC 6347 §1), 4 TLS and DTLS
/// 1.2, 5 TLS and DTLS 1.3. `None` for versions that nobody defined.
pub const fn version_rank(version: Version) -> Option<u8> {
    Some(match version.0 {
        0x0002 => 0,
        0x0300 => 1,
        0x0301 => 2,
        0x0302 | 0xfeff => 3,
        0x0303 | 0xfefd => 4,
        0x0304 | 0xfefc | 0xfb17 | 0xfb1a => 5,
        draft if draft >> 8 == 0x7f => 5,
        _ => return None,
    })
}

/// Name of a supported group: `secp256r1`, `x25519`, `X25519MLKEM768`, …
pub fn group_name(group: u16) -> Cow<'static, str> {
    match GROUPS.binary_search_by_key(&group, |row| row.0) {
        Ok(at) => Cow::Borrowed(GROUPS.get(at).map_or("", |row| row.1)),
        Err(_) => Cow::Owned(format!("0x{group:04x}")),
    }
}

/// Bits of the group's field: of the prime for finite-field groups, of the
/// classical curve for hybrids. `None` for explicit curves, pure ML-KEM and
/// groups without a name.
pub fn group_bits(group: u16) -> Option<u32> {
    let at = GROUPS.binary_search_by_key(&group, |row| row.0).ok()?;
    GROUPS.get(at).map(|row| row.2).filter(|&bits| bits > 0)
}

/// Whether the group combines a post-quantum KEM with a classical curve.
pub const fn is_pq_hybrid(group: u16) -> bool {
    matches!(
        group,
        0x11eb..=0x11ee | 0x4138 | 0x6399 | 0x639a | 0xfe30 | 0xfe31
    )
}

/// Name of a SignatureScheme, or of a TLS 1.2 (hash, signature) pair in the
/// same style; 0xff00 is TLS 1.1's MD5 and SHA-1 together.
pub fn sigalg_name(scheme: u16) -> Cow<'static, str> {
    match SIGNATURES.binary_search_by_key(&scheme, |row| row.0) {
        Ok(at) => Cow::Borrowed(SIGNATURES.get(at).map_or("", |row| row.1)),
        Err(_) => Cow::Owned(format!("0x{scheme:04x}")),
    }
}

/// Name of an AlertDescription (RFC 8446 §6 and its predecessors).
pub fn alert_name(description: u8) -> Cow<'static, str> {
    Cow::Borrowed(match description {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        21 => "decryption_failed",
        22 => "record_overflow",
        30 => "decompression_failure",
        40 => "handshake_failure",
        41 => "no_certificate",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        52 => "too_many_cids_requested",
        60 => "export_restriction",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        100 => "no_renegotiation",
        109 => "missing_extension",
        110 => "unsupported_extension",
        111 => "certificate_unobtainable",
        112 => "unrecognized_name",
        113 => "bad_certificate_status_response",
        114 => "bad_certificate_hash_value",
        115 => "unknown_psk_identity",
        116 => "certificate_required",
        117 => "general_error",
        120 => "no_application_protocol",
        121 => "ech_required",
        other => return Cow::Owned(format!("0x{other:02x}")),
    })
}

/// Name of an extension type.
pub fn extension_name(extension: u16) -> Cow<'static, str> {
    match EXTENSIONS.binary_search_by_key(&extension, |row| row.0) {
        Ok(at) => Cow::Borrowed(EXTENSIONS.get(at).map_or("", |row| row.1)),
        Err(_) => Cow::Owned(format!("0x{extension:04x}")),
    }
}

/// IANA "TLS Supported Groups", and experiments that were deployed: code, name,
/// bits (0: none to tell).
#[rustfmt::skip]
static GROUPS: &[(u16, &str, u32)] = &[
    (1, "sect163k1", 163), (2, "sect163r1", 163), (3, "sect163r2", 163),
    (4, "sect193r1", 193), (5, "sect193r2", 193), (6, "sect233k1", 233),
    (7, "sect233r1", 233), (8, "sect239k1", 239), (9, "sect283k1", 283),
    (10, "sect283r1", 283), (11, "sect409k1", 409), (12, "sect409r1", 409),
    (13, "sect571k1", 571), (14, "sect571r1", 571), (15, "secp160k1", 160),
    (16, "secp160r1", 160), (17, "secp160r2", 160), (18, "secp192k1", 192),
    (19, "secp192r1", 192), (20, "secp224k1", 224), (21, "secp224r1", 224),
    (22, "secp256k1", 256), (23, "secp256r1", 256), (24, "secp384r1", 384),
    (25, "secp521r1", 521), (26, "brainpoolP256r1", 256), (27, "brainpoolP384r1", 384),
    (28, "brainpoolP512r1", 512), (29, "x25519", 255), (30, "x448", 448),
    (31, "brainpoolP256r1tls13", 256), (32, "brainpoolP384r1tls13", 384),
    (33, "brainpoolP512r1tls13", 512), (34, "GC256A", 256), (35, "GC256B", 256),
    (36, "GC256C", 256), (37, "GC256D", 256), (38, "GC512A", 512),
    (39, "GC512B", 512), (40, "GC512C", 512), (41, "curveSM2", 256),
    (0x0100, "ffdhe2048", 2048), (0x0101, "ffdhe3072", 3072), (0x0102, "ffdhe4096", 4096),
    (0x0103, "ffdhe6144", 6144), (0x0104, "ffdhe8192", 8192),
    (0x0200, "MLKEM512", 0), (0x0201, "MLKEM768", 0), (0x0202, "MLKEM1024", 0),
    (0x11eb, "SecP256r1MLKEM768", 256), (0x11ec, "X25519MLKEM768", 255),
    (0x11ed, "SecP384r1MLKEM1024", 384), (0x11ee, "curveSM2MLKEM768", 256),
    (0x4138, "CECPQ2", 255),
    (0x6399, "X25519Kyber768Draft00", 255), (0x639a, "SecP256r1Kyber768Draft00", 256),
    (0xfe30, "X25519Kyber512Draft00", 255), (0xfe31, "X25519Kyber768Draft00Old", 255),
    (0xff01, "arbitrary_explicit_prime_curves", 0),
    (0xff02, "arbitrary_explicit_char2_curves", 0),
];

/// IANA "TLS SignatureScheme", and RFC 5246 pairs (hash, signature).
#[rustfmt::skip]
static SIGNATURES: &[(u16, &str)] = &[
    (0x0001, "rsa_none"), (0x0101, "rsa_pkcs1_md5"), (0x0102, "dsa_md5"),
    (0x0103, "ecdsa_md5"), (0x0201, "rsa_pkcs1_sha1"), (0x0202, "dsa_sha1"),
    (0x0203, "ecdsa_sha1"), (0x0301, "rsa_pkcs1_sha224"), (0x0302, "dsa_sha224"),
    (0x0303, "ecdsa_sha224"), (0x0401, "rsa_pkcs1_sha256"), (0x0402, "dsa_sha256"),
    (0x0403, "ecdsa_secp256r1_sha256"), (0x0420, "rsa_pkcs1_sha256_legacy"),
    (0x0501, "rsa_pkcs1_sha384"), (0x0502, "dsa_sha384"),
    (0x0503, "ecdsa_secp384r1_sha384"), (0x0520, "rsa_pkcs1_sha384_legacy"),
    (0x0601, "rsa_pkcs1_sha512"), (0x0602, "dsa_sha512"),
    (0x0603, "ecdsa_secp521r1_sha512"), (0x0620, "rsa_pkcs1_sha512_legacy"),
    (0x0704, "eccsi_sha256"), (0x0705, "iso_ibs1"), (0x0706, "iso_ibs2"),
    (0x0707, "iso_chinese_ibs"), (0x0708, "sm2sig_sm3"), (0x0709, "gostr34102012_256a"),
    (0x070a, "gostr34102012_256b"), (0x070b, "gostr34102012_256c"),
    (0x070c, "gostr34102012_256d"), (0x070d, "gostr34102012_512a"),
    (0x070e, "gostr34102012_512b"), (0x070f, "gostr34102012_512c"),
    (0x0804, "rsa_pss_rsae_sha256"), (0x0805, "rsa_pss_rsae_sha384"),
    (0x0806, "rsa_pss_rsae_sha512"), (0x0807, "ed25519"), (0x0808, "ed448"),
    (0x0809, "rsa_pss_pss_sha256"), (0x080a, "rsa_pss_pss_sha384"),
    (0x080b, "rsa_pss_pss_sha512"), (0x081a, "ecdsa_brainpoolP256r1tls13_sha256"),
    (0x081b, "ecdsa_brainpoolP384r1tls13_sha384"),
    (0x081c, "ecdsa_brainpoolP512r1tls13_sha512"),
    (0x0904, "mldsa44"), (0x0905, "mldsa65"), (0x0906, "mldsa87"),
    (0xff00, "rsa_pkcs1_md5_sha1"),
];

/// IANA "TLS ExtensionType Values", and unregistered ones in wide use.
#[rustfmt::skip]
static EXTENSIONS: &[(u16, &str)] = &[
    (0, "server_name"), (1, "max_fragment_length"), (2, "client_certificate_url"),
    (3, "trusted_ca_keys"), (4, "truncated_hmac"), (5, "status_request"),
    (6, "user_mapping"), (7, "client_authz"), (8, "server_authz"), (9, "cert_type"),
    (10, "supported_groups"), (11, "ec_point_formats"), (12, "srp"),
    (13, "signature_algorithms"), (14, "use_srtp"), (15, "heartbeat"),
    (16, "application_layer_protocol_negotiation"), (17, "status_request_v2"),
    (18, "signed_certificate_timestamp"), (19, "client_certificate_type"),
    (20, "server_certificate_type"), (21, "padding"), (22, "encrypt_then_mac"),
    (23, "extended_master_secret"), (24, "token_binding"), (25, "cached_info"),
    (26, "tls_lts"), (27, "compress_certificate"), (28, "record_size_limit"),
    (29, "pwd_protect"), (30, "pwd_clear"), (31, "password_salt"), (32, "ticket_pinning"),
    (33, "tls_cert_with_extern_psk"), (34, "delegated_credential"), (35, "session_ticket"),
    (36, "TLMSP"), (37, "TLMSP_proxying"), (38, "TLMSP_delegate"),
    (39, "supported_ekt_ciphers"), (41, "pre_shared_key"), (42, "early_data"),
    (43, "supported_versions"), (44, "cookie"), (45, "psk_key_exchange_modes"),
    (47, "certificate_authorities"), (48, "oid_filters"), (49, "post_handshake_auth"),
    (50, "signature_algorithms_cert"), (51, "key_share"), (52, "transparency_info"),
    (53, "connection_id_deprecated"), (54, "connection_id"), (55, "external_id_hash"),
    (56, "external_session_id"), (57, "quic_transport_parameters"), (58, "ticket_request"),
    (59, "dnssec_chain"), (60, "sequence_number_encryption_algorithms"), (61, "rrc"),
    (13_172, "next_protocol_negotiation"), (17_513, "application_settings_old"),
    (17_613, "application_settings"), (30_032, "channel_id"), (51_764, "trust_anchors"),
    (64_768, "ech_outer_extensions"), (65_037, "encrypted_client_hello"),
    (65_281, "renegotiation_info"), (65_445, "quic_transport_parameters_draft"),
    (65_486, "encrypted_server_name"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted() {
        assert!(GROUPS.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!(SIGNATURES.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!(EXTENSIONS.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn known_values_have_names_and_others_numbers() {
        assert_eq!(group_name(29), "x25519");
        assert_eq!(group_name(0x11ec), "X25519MLKEM768");
        assert_eq!(group_name(0x1234), "0x1234");
        assert_eq!(
            (group_bits(23), group_bits(0x0100)),
            (Some(256), Some(2048))
        );
        assert_eq!((group_bits(0x0201), group_bits(0x1234)), (None, None));
        assert!(is_pq_hybrid(0x11ec) && !is_pq_hybrid(29) && !is_pq_hybrid(0x0201));
        assert_eq!(sigalg_name(0x0403), "ecdsa_secp256r1_sha256");
        assert_eq!(alert_name(70), "protocol_version");
        assert_eq!(alert_name(255), "0xff");
        assert_eq!(extension_name(65_037), "encrypted_client_hello");
    }

    #[test]
    fn versions_rank_across_families() {
        for (version, name, rank) in [
            (0x0002, "SSLv2", Some(0)),
            (0x0303, "TLS1.2", Some(4)),
            (0x7f1c, "TLS1.3-draft28", Some(5)),
            (0xfeff, "DTLS1.0", Some(3)),
            (0x0305, "0x0305", None),
        ] {
            assert_eq!(version_name(Version(version)), name);
            assert_eq!(version_rank(Version(version)), rank);
        }
    }
}
