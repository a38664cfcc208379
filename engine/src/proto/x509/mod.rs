//! Certificates as the wire shows them: DER kept, fields read, nothing judged.
//! RFC 5280 for the fields, RFC 4514 for the names. Validation lives in `control`.

mod cache;
mod fields;
mod names;

pub use cache::{CertificateCache, KnownCertificates};

use crate::time::CaptureTime;
use std::sync::Arc;

/// A certificate, parsed once per shard and shared.
#[derive(Debug, PartialEq, Eq)]
pub struct Certificate {
    /// SHA-256 of `der`.
    pub fingerprint: [u8; 32],
    /// SHA-1 of `der`.
    pub fingerprint_sha1: [u8; 20],
    /// The certificate as sent.
    pub der: Arc<[u8]>,
    /// The fields, or why it does not parse.
    pub fields: Result<Box<Fields>, String>,
}

/// The fields of a certificate that parses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// SHA-256 of the SubjectPublicKeyInfo's DER: what pins are compared with (RFC 7469 §2.4).
    pub spki_sha256: [u8; 32],
    /// RFC 4514 text.
    pub subject: String,
    /// RFC 4514 text.
    pub issuer: String,
    /// First common name of the subject.
    pub subject_cn: Option<String>,
    /// First common name of the issuer.
    pub issuer_cn: Option<String>,
    /// First organisation of the issuer.
    pub issuer_o: Option<String>,
    /// Serial number, lower-case hex as in the DER (no sign byte).
    pub serial: String,
    /// 1, 2 or 3.
    pub version: u8,
    /// Start of validity.
    pub not_before: Option<CaptureTime>,
    /// End of validity; `None` when beyond what a [`CaptureTime`] can hold
    /// (RFC 5280 §4.1.2.5's 9999-12-31 among them).
    pub not_after: Option<CaptureTime>,
    /// Whole days from start to end, also where `not_after` is `None`.
    pub validity_days: Option<i64>,
    /// `rsa`, `ec`, `ed25519`, `ed448`, `dsa`, or the OID in dots.
    pub key_alg: String,
    /// Modulus or field size in bits.
    pub key_bits: Option<u32>,
    /// Curve name (`secp256r1`, …) or OID.
    pub curve: Option<String>,
    /// RSA public exponent in decimal (hex with `0x` beyond 64 bits).
    pub rsa_exponent: Option<String>,
    /// `sha256WithRSAEncryption`, …, or the OID in dots.
    pub sig_alg: String,
    /// MD2, MD5 or SHA-1 in the signature.
    pub sig_weak: bool,
    /// Subject alternative names: DNS.
    pub san_dns: Vec<String>,
    /// Subject alternative names: IP, canonical text.
    pub san_ip: Vec<String>,
    /// Subject alternative names: e-mail.
    pub san_email: Vec<String>,
    /// Subject alternative names: URI.
    pub san_uri: Vec<String>,
    /// basicConstraints CA flag; `None` without the extension.
    pub is_ca: Option<bool>,
    /// basicConstraints pathLenConstraint.
    pub path_len: Option<u32>,
    /// Names of RFC 5280 §4.2.1.3.
    pub key_usage: Vec<String>,
    /// `serverAuth`, …, or OIDs.
    pub ext_key_usage: Vec<String>,
    /// OCSP responders of the authority information access.
    pub aia_ocsp: Vec<String>,
    /// Issuer certificates of the authority information access.
    pub aia_issuers: Vec<String>,
    /// CRL distribution points.
    pub crl_dp: Vec<String>,
    /// RFC 7633 status_request.
    pub must_staple: bool,
    /// Subject key identifier, hex.
    pub ski: Option<String>,
    /// Authority key identifier, hex.
    pub aki: Option<String>,
    /// SCTs embedded (RFC 6962); `None` without the extension.
    pub embedded_scts: Option<u32>,
    /// Issuer and subject are equal and the signature verifies with its own key;
    /// `None` when the algorithm cannot be checked.
    pub self_signed: Option<bool>,
    /// Issuer and subject are equal.
    pub self_issued: bool,
    /// Extensions that did not parse, by OID.
    pub malformed_extensions: Vec<String>,
}
