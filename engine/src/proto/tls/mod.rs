//! TLS over a byte stream: records, handshake messages, fingerprints.
//! SSL 2 hello to TLS 1.3 (RFC 6101, 2246, 4346, 5246, 8446), on any port.

use super::x509::Certificate;
use crate::evidence::PacketRef;
use crate::time::CaptureTime;
use std::sync::Arc;

mod certificates;
mod decrypt;
mod expand;
mod fingerprint;
pub(in crate::proto) mod handshake;
mod hello;
mod names;
mod probe;
mod read;
mod session;
mod suite_table;
mod suites;

pub(in crate::proto) use decrypt::{Keying, Known, known};
pub(in crate::proto) use expand::expand_label;
pub use names::{
    alert_name, extension_name, group_bits, group_name, is_pq_hybrid, sigalg_name, version_name,
    version_rank,
};
pub use probe::probe;
pub(in crate::proto) use session::Plain;
pub use session::TlsSession;
pub use suites::{
    Auth, Cipher, Kx, Mac, Mode, SuiteInfo, all_suites, is_grease, sslv2_cipher_name, suite,
    suite_name,
};

/// A protocol version as on the wire: 0x0002 (SSL 2), 0x0300 … 0x0304,
/// DTLS 0xfeff, 0xfefd, 0xfefc.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u16);

/// How a session was resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resumption {
    /// By session id (RFC 5246 §7.3).
    Id,
    /// By ticket (RFC 5077).
    Ticket,
    /// By pre-shared key (RFC 8446 §2.2).
    Psk,
}

/// Encrypted ClientHello, as far as an observer can tell (draft-ietf-tls-esni).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ech {
    /// The extension is there; real or GREASE cannot be told apart.
    OuterOrGrease,
    /// The server's HelloRetryRequest confirmed it.
    Confirmed,
}

/// Whether certificates could be seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CertVisibility {
    /// In the clear.
    Visible,
    /// Encrypted by TLS 1.3, and decrypted with a key log.
    Decrypted,
    /// Encrypted by TLS 1.3.
    Encrypted,
    /// Not sent, because the session was resumed.
    Resumed,
    /// Not sent, or not in the capture.
    #[default]
    None,
}

/// A downgrade sentinel in the server's random (RFC 8446 §4.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sentinel {
    /// `DOWNGRD\x01`: a TLS 1.3 server negotiated TLS 1.2.
    To12,
    /// `DOWNGRD\x00`: a TLS 1.2 or later server negotiated TLS 1.1 or below.
    To11,
}

/// An alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Alert {
    /// Whether the client sent it.
    pub from_client: bool,
    /// 1 warning, 2 fatal.
    pub level: u8,
    /// AlertDescription (RFC 8446 §6).
    pub description: u8,
}

/// What the client offered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// Record-layer version of the first record; 0x0002 for an SSL 2 hello.
    pub record_version: u16,
    /// legacy_version.
    pub version: u16,
    /// supported_versions, GREASE removed; empty without the extension.
    pub supported_versions: Vec<u16>,
    /// Cipher suites in wire order, GREASE removed, SCSVs kept.
    pub ciphers: Vec<u16>,
    /// SSL 2 cipher kinds of an SSL 2 hello that are no TLS suites.
    pub sslv2_ciphers: Vec<u32>,
    /// supported_groups, GREASE removed.
    pub groups: Vec<u16>,
    /// Groups of key_share entries, GREASE removed.
    pub key_shares: Vec<u16>,
    /// ec_point_formats.
    pub point_formats: Vec<u8>,
    /// signature_algorithms, GREASE removed.
    pub sigalgs: Vec<u16>,
    /// Extension types in wire order, GREASE removed.
    pub extensions: Vec<u16>,
    /// ALPN protocol names, lossily as text.
    pub alpn: Vec<String>,
    /// First and last byte of the first protocol name, as JA4 wants them.
    pub alpn_ends: Option<[u8; 2]>,
    /// server_name, lower case as sent otherwise.
    pub server_name: Option<String>,
    /// Compression methods.
    pub compression: Vec<u8>,
    /// compress_certificate algorithms (RFC 8879).
    pub cert_compression: Vec<u16>,
    /// Length of the session id.
    pub session_id_len: u8,
    /// A ticket extension with content.
    pub offers_ticket: bool,
    /// A pre_shared_key extension.
    pub offers_psk: bool,
    /// early_data.
    pub early_data: bool,
    /// status_request.
    pub status_request: bool,
    /// signed_certificate_timestamp.
    pub sct: bool,
    /// renegotiation_info, or its SCSV (RFC 5746).
    pub secure_renegotiation: bool,
    /// heartbeat (RFC 6520).
    pub heartbeat: bool,
    /// extended_master_secret.
    pub extended_master_secret: bool,
    /// encrypt_then_mac.
    pub encrypt_then_mac: bool,
    /// TLS_FALLBACK_SCSV (RFC 7507).
    pub fallback_scsv: bool,
    /// encrypted_client_hello.
    pub ech: Option<Ech>,
}

/// What the server chose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerHello {
    /// legacy_version.
    pub version: u16,
    /// supported_versions, when there.
    pub supported_version: Option<u16>,
    /// The suite.
    pub cipher: u16,
    /// Extension types in wire order.
    pub extensions: Vec<u16>,
    /// Compression method.
    pub compression: u8,
    /// key_share group (TLS 1.3).
    pub key_share_group: Option<u16>,
    /// ALPN, where visible (TLS 1.2 and below).
    pub alpn: Option<String>,
    /// Length of the session id.
    pub session_id_len: u8,
    /// pre_shared_key accepted.
    pub psk: bool,
    /// renegotiation_info.
    pub secure_renegotiation: bool,
    /// heartbeat.
    pub heartbeat: bool,
    /// extended_master_secret.
    pub extended_master_secret: bool,
    /// encrypt_then_mac.
    pub encrypt_then_mac: bool,
    /// status_request acknowledged.
    pub status_request: bool,
    /// Downgrade sentinel in the random.
    pub sentinel: Option<Sentinel>,
}

/// What the key exchange showed (TLS 1.2 and below, ServerKeyExchange; 1.3 from key_share).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyExchange {
    /// Named group or curve.
    pub group: Option<u16>,
    /// Bits of the DH prime, RSA_EXPORT modulus, or the group's field.
    pub bits: Option<u32>,
    /// SignatureScheme or (hash, signature) pair of the ServerKeyExchange;
    /// below TLS 1.2 the implied MD5+SHA-1 is 0xff00 (RSA) or SHA-1 0x02xx.
    pub signature: Option<u16>,
    /// SignatureScheme of the client's CertificateVerify, where visible.
    pub client_signature: Option<u16>,
}

/// A session that can be resumed: what later handshakes name it by, and the
/// certificates that its server showed.
#[derive(Clone, Debug)]
pub struct SessionSeen {
    /// Of its id or ticket, as in [`TlsHandshake::offered_ticket_hash`].
    pub key: [u8; 8],
    /// The server's chain; empty for a ticket that a resumed session was given.
    pub chain: Vec<Arc<Certificate>>,
    /// What the session itself resumed.
    pub parent: Option<[u8; 8]>,
    /// Time of the handshake.
    pub ts: CaptureTime,
    /// Whom its client asked for.
    pub server_name: Option<Box<str>>,
}

/// One TLS handshake, complete or not.
#[derive(Clone, Debug, Default)]
pub struct TlsHandshake {
    /// Time of its first packet.
    pub ts: CaptureTime,
    /// Its first packet.
    pub first: PacketRef,
    /// `tcp`, `starttls-smtp` and the like, `quic`, `udp-dtls`.
    pub transport: std::borrow::Cow<'static, str>,
    /// What the client offered, shared between equal hellos where possible.
    pub client: Option<Arc<ClientHello>>,
    /// What the server chose.
    pub server: Option<Arc<ServerHello>>,
    /// Whether the server asked for another ClientHello (RFC 8446 §4.1.4).
    pub hello_retry: bool,
    /// Negotiated version.
    pub version: Option<Version>,
    /// Key exchange.
    pub key_exchange: KeyExchange,
    /// The server's chain in the order sent, leaf first.
    pub chain: Vec<Arc<Certificate>>,
    /// The client's chain.
    pub client_chain: Vec<Arc<Certificate>>,
    /// Whether certificates could be seen.
    pub cert_visibility: CertVisibility,
    /// A compressed certificate was seen (RFC 8879).
    pub cert_compressed: bool,
    /// CertificateRequest seen.
    pub client_cert_requested: bool,
    /// The client sent a certificate (not an empty list).
    pub client_cert_sent: bool,
    /// Stapled OCSP response as sent.
    pub ocsp_staple: Option<Arc<[u8]>>,
    /// Those for the further certificates of the chain (RFC 6961), where there are any.
    pub ocsp_more: Vec<Arc<[u8]>>,
    /// SCT list of the TLS extension as sent.
    pub sct_list: Option<Arc<[u8]>>,
    /// Both sides finished, as far as an observer can tell (Zeek's `established`).
    pub established: bool,
    /// Resumed, and how.
    pub resumed: Option<Resumption>,
    /// The first handshake of the flow, or a renegotiation of an earlier one.
    pub renegotiation: bool,
    /// Alerts in the clear or decrypted, in order, at most 16.
    pub alerts: Vec<Alert>,
    /// Zeek's `ssl_history` letters.
    pub history: String,
    /// JA3 (salesforce/ja3), MD5 hex.
    pub ja3: Option<String>,
    /// JA3S, MD5 hex.
    pub ja3s: Option<String>,
    /// JA4 (TLS client), as published by FoxIO under BSD-3.
    pub ja4: Option<String>,
    /// JA4 in its raw form.
    pub ja4_r: Option<String>,
    /// A heartbeat message whose claimed length exceeds its record (CVE-2014-0160).
    pub heartbeat_abuse: bool,
    /// The handshake stops before it is complete although the flow goes on or ended in order.
    pub malformed: Option<String>,
    /// First ClientHello to the last handshake message seen, nanoseconds.
    pub handshake_ns: Option<i64>,
    /// Application-data bytes in records, `[client, server]`.
    pub app_bytes: [u64; 2],
    /// Whether any of its encrypted records was opened.
    pub decrypted: bool,
    /// Where secrets of it came from: `keylog`, `dsb`.
    pub decryption_source: Option<&'static str>,
    /// Why records were not opened although there are secrets.
    pub decryption_failure: Option<&'static str>,
    /// SHA-256 (first 8 bytes) of the session id that the server issued or echoed, and of
    /// the ticket that it issued, to link resumptions later.
    pub session_id_hash: Option<[u8; 8]>,
    /// Of the ticket or session id that the client offered.
    pub offered_ticket_hash: Option<[u8; 8]>,
    /// Of the ticket that the server issued in the clear.
    pub issued_ticket_hash: Option<[u8; 8]>,
}
