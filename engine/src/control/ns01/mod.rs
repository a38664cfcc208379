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

use super::{Audit, Outcome};
use crate::policy::Policy;
use crate::proto::tls::{ClientHello, TlsHandshake, Version, version_rank};

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

/// A check that asks nothing but a handshake.
type OfHandshake = fn(&Policy, &TlsHandshake) -> Vec<Outcome>;

/// Checks whose question the rows of `tls_handshakes` answer, sorted by id.
pub const OF_ROWS: &[(&str, OfHandshake)] = &[
    ("NS-01.cipher_not_allowed", cipher_not_allowed::judge),
    ("NS-01.cipher_offered", cipher_offered::judge),
    ("NS-01.cipher_suite", cipher_suite::judge),
    ("NS-01.tls_preferred", tls_preferred::judge),
    ("NS-01.tls_version", tls_version::judge),
];

/// Alerts by which a peer turns an offer down (RFC 8446 §6.2, RFC 7507 §3).
const UNEXPECTED_MESSAGE: u8 = 10;
const HANDSHAKE_FAILURE: u8 = 40;
const ILLEGAL_PARAMETER: u8 = 47;
const DECODE_ERROR: u8 = 50;
const INTERNAL_ERROR: u8 = 80;
const UNSUPPORTED_EXTENSION: u8 = 110;
const PROTOCOL_VERSION: u8 = 70;
const INSUFFICIENT_SECURITY: u8 = 71;
const INAPPROPRIATE_FALLBACK: u8 = 86;

/// A version that can be compared with the policy's: drafts of TLS 1.3 count
/// as TLS 1.3, DTLS as the TLS that it is made from (RFC 6347, RFC 9147).
/// `None` for a version that nobody defined.
fn rank(version: Version) -> Option<u16> {
    // OpenSSL's DTLS before the RFC.
    if version.0 == 0x0100 {
        return Some(0x0302);
    }
    Some(match version_rank(version)? {
        0 => 0x0002,
        above => 0x02ff + u16::from(above),
    })
}

/// The versions that the client offered, with their ranks. Without
/// supported_versions the one of the hello is the highest.
fn offered(client: &ClientHello) -> impl Iterator<Item = (u16, Version)> {
    let legacy = client
        .supported_versions
        .is_empty()
        .then_some(client.version);
    let versions = client.supported_versions.iter().copied().chain(legacy);
    versions.filter_map(|code| Some((rank(Version(code))?, Version(code))))
}

/// The highest version that the client offered, with its rank.
pub(crate) fn highest_offered(tls: &TlsHandshake) -> Option<(u16, Version)> {
    offered(tls.client.as_deref()?).max_by_key(|(rank, _)| *rank)
}

/// Whether the handshake broke off with one of these alerts from that side.
fn alerted(tls: &TlsHandshake, from_client: bool, descriptions: &[u8]) -> bool {
    !tls.established
        && tls.alerts.iter().any(|alert| {
            alert.from_client == from_client && descriptions.contains(&alert.description)
        })
}

/// Alerts by which clients refuse what a server chose. The right ones are
/// protocol_version, handshake_failure and illegal_parameter; stacks also fail
/// on it in their own ways. Those about certificates are not among them: with
/// such a one, the choice itself had been accepted.
const CLIENT_REFUSALS: &[u8] = &[
    UNEXPECTED_MESSAGE,
    HANDSHAKE_FAILURE,
    ILLEGAL_PARAMETER,
    DECODE_ERROR,
    PROTOCOL_VERSION,
    INSUFFICIENT_SECURITY,
    INTERNAL_ERROR,
    UNSUPPORTED_EXTENSION,
];

const NO_SERVER_HELLO: &str =
    "no ServerHello: the capture must hold the server's answer to the ClientHello";
const NO_CLIENT_HELLO: &str = "no ClientHello: the capture must hold the start of the connection";
const UNKNOWN_VERSION: &str = "the version is one that nobody defined";
