//! NS-01, TLS enforcement: what was negotiated, what was offered, and what was
//! said outside TLS. One file per check.

mod cipher_not_allowed;
mod cipher_offered;
mod cipher_suite;
mod dns_plaintext;
mod downgrade;
mod handshake;
mod http_upgrade;
mod key_exchange;
mod plaintext;
mod signature;
mod starttls;
mod tls_preferred;
mod tls_version;

#[cfg(test)]
mod cases;

use super::Audit;
use crate::proto::tls::{TlsHandshake, Version};

pub use downgrade::META as DOWNGRADE;

/// The checks, sorted by id.
pub(super) const CHECKS: &[&dyn Audit] = &[
    &cipher_not_allowed::CipherNotAllowed,
    &cipher_offered::CipherOffered,
    &cipher_suite::CipherSuite,
    &dns_plaintext::DnsPlaintext,
    &downgrade::Downgrade,
    &handshake::Handshake,
    &http_upgrade::HttpUpgrade,
    &key_exchange::KeyExchange,
    &plaintext::Plaintext,
    &signature::Signature,
    &starttls::StartTlsUpgrade,
    &tls_preferred::TlsPreferred,
    &tls_version::TlsVersion,
];

/// Alerts by which a peer turns an offer down (RFC 8446 §6.2, RFC 7507 §3).
const HANDSHAKE_FAILURE: u8 = 40;
const PROTOCOL_VERSION: u8 = 70;
const INSUFFICIENT_SECURITY: u8 = 71;
const INAPPROPRIATE_FALLBACK: u8 = 86;

/// A version that can be compared with the policy's: drafts of TLS 1.3 count
/// as TLS 1.3, DTLS as the TLS that it is made from (RFC 6347, RFC 9147).
fn rank(version: Version) -> u16 {
    match version.0 {
        0x7f00..=0x7fff | 0xfefc => 0x0304,
        0xfefd => 0x0303,
        0xfeff | 0x0100 => 0x0302,
        other => other,
    }
}

/// The highest version that the client offered.
fn highest_offered(tls: &TlsHandshake) -> Option<u16> {
    let client = tls.client.as_deref()?;
    let listed = client
        .supported_versions
        .iter()
        .map(|&code| rank(Version(code)))
        .max();
    Some(listed.unwrap_or_else(|| rank(Version(client.version))))
}

/// Whether the handshake broke off with one of these alerts from that side.
fn alerted(tls: &TlsHandshake, from_client: bool, descriptions: &[u8]) -> bool {
    !tls.established
        && tls.alerts.iter().any(|alert| {
            alert.from_client == from_client && descriptions.contains(&alert.description)
        })
}

const NO_SERVER_HELLO: &str =
    "no ServerHello: the capture must hold the server's answer to the ClientHello";
const NO_CLIENT_HELLO: &str = "no ClientHello: the capture must hold the start of the connection";
