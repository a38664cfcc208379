//! The fields of a certificate, read with x509-parser. Extensions that do not
//! parse are listed and hide nothing else.

use super::Fields;
use super::names::{first, rfc4514};
use crate::time::CaptureTime;
use sha2::{Digest, Sha256};
use std::net::{Ipv4Addr, Ipv6Addr};
use x509_parser::extensions::{DistributionPointName, GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate, X509Extension};
use x509_parser::public_key::PublicKey;
use x509_parser::time::ASN1Time;

/// Names kept of one kind in one certificate; the rest is in the DER.
const MAX_NAMES: usize = 256;

/// Reads a certificate; the error says why it is none.
pub(super) fn parse(der: &[u8]) -> Result<Fields, String> {
    let (rest, certificate) = X509Certificate::from_der(der)
        .map_err(|error| format!("not an X.509 certificate: {error}"))?;
    let spki = certificate.public_key();
    let validity = certificate.validity();
    let (not_before, not_after) = (validity.not_before, validity.not_after);
    let mut fields = Fields {
        spki_sha256: Sha256::digest(spki.raw).into(),
        subject: rfc4514(certificate.subject()),
        issuer: rfc4514(certificate.issuer()),
        subject_cn: first(certificate.subject(), "2.5.4.3"),
        issuer_cn: first(certificate.issuer(), "2.5.4.3"),
        issuer_o: first(certificate.issuer(), "2.5.4.10"),
        serial: serial(certificate.raw_serial()),
        version: u8::try_from(certificate.version().0.saturating_add(1)).unwrap_or(u8::MAX),
        not_before: moment(not_before),
        not_after: moment(not_after),
        validity_days: Some(not_after.timestamp().saturating_sub(not_before.timestamp()) / 86_400),
        self_issued: certificate.subject().as_raw() == certificate.issuer().as_raw(),
        ..Fields::default()
    };
    key(&certificate, &mut fields);
    let sig_alg = certificate.signature_algorithm.algorithm.to_id_string();
    (fields.sig_alg, fields.sig_weak) = signature(&sig_alg);
    for extension in certificate.extensions() {
        read(extension, &mut fields);
    }
    if !rest.is_empty() {
        fields
            .malformed_extensions
            .push(format!("{} bytes after the certificate", rest.len()));
    }
    fields.self_signed = self_signed(&certificate, fields.self_issued);
    Ok(fields)
}

/// Whether the certificate's own key made its signature; `None` where the
/// algorithm is not one that can be checked.
fn self_signed(certificate: &X509Certificate<'_>, self_issued: bool) -> Option<bool> {
    use x509_parser::error::X509Error;
    if !self_issued {
        return Some(false);
    }
    match certificate.verify_signature(None) {
        Ok(()) => Some(true),
        Err(X509Error::SignatureVerificationError) => Some(false),
        Err(_) => None,
    }
}

fn moment(time: ASN1Time) -> Option<CaptureTime> {
    time.timestamp()
        .checked_mul(crate::time::NANOS_PER_SECOND)
        .map(CaptureTime::from_nanos)
}

/// Hex of the serial number without the byte that only keeps it positive.
fn serial(raw: &[u8]) -> String {
    let digits = match raw {
        [0, rest @ ..] if !rest.is_empty() => rest,
        _ => raw,
    };
    hex(digits)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn key(certificate: &X509Certificate<'_>, fields: &mut Fields) {
    let spki = certificate.public_key();
    let oid = spki.algorithm.algorithm.to_id_string();
    fields.key_alg = match oid.as_str() {
        "1.2.840.113549.1.1.1" | "1.2.840.113549.1.1.10" => "rsa",
        "1.2.840.10045.2.1" => "ec",
        "1.2.840.10040.4.1" => "dsa",
        "1.3.101.112" => "ed25519",
        "1.3.101.113" => "ed448",
        "2.16.840.1.101.3.4.3.17" => "ml-dsa-44",
        "2.16.840.1.101.3.4.3.18" => "ml-dsa-65",
        "2.16.840.1.101.3.4.3.19" => "ml-dsa-87",
        _ => &oid,
    }
    .to_owned();
    match spki.parsed() {
        Ok(PublicKey::RSA(rsa)) => {
            fields.key_bits = Some(bits(rsa.modulus));
            fields.rsa_exponent = Some(exponent(rsa.exponent));
        }
        Ok(PublicKey::EC(_)) => {
            let curve = spki
                .algorithm
                .parameters
                .as_ref()
                .and_then(|parameters| parameters.as_oid().ok())
                .map(|oid| oid.to_id_string());
            let known = curve.as_deref().and_then(|oid| {
                CURVES
                    .iter()
                    .find(|(known, ..)| *known == oid)
                    .map(|&(_, name, bits)| (name, bits))
            });
            fields.key_bits = known.map(|(_, bits)| bits);
            fields.curve = known.map(|(name, _)| name.to_owned()).or(curve);
        }
        Ok(PublicKey::DSA(value)) => fields.key_bits = Some(bits(value)),
        _ => {
            fields.key_bits = match fields.key_alg.as_str() {
                "ed25519" => Some(256),
                "ed448" => Some(456),
                _ => None,
            }
        }
    }
}

/// Curves by OID, with the bits of their fields (SEC 2, RFC 5639).
const CURVES: &[(&str, &str, u32)] = &[
    ("1.2.840.10045.3.1.1", "secp192r1", 192),
    ("1.2.840.10045.3.1.7", "secp256r1", 256),
    ("1.3.132.0.10", "secp256k1", 256),
    ("1.3.132.0.33", "secp224r1", 224),
    ("1.3.132.0.34", "secp384r1", 384),
    ("1.3.132.0.35", "secp521r1", 521),
    ("1.3.36.3.3.2.8.1.1.7", "brainpoolP256r1", 256),
    ("1.3.36.3.3.2.8.1.1.11", "brainpoolP384r1", 384),
    ("1.3.36.3.3.2.8.1.1.13", "brainpoolP512r1", 512),
    ("1.2.156.10197.1.301", "sm2p256v1", 256),
];

fn bits(number: &[u8]) -> u32 {
    let zeros = number.iter().take_while(|&&byte| byte == 0).count();
    let significant = number.get(zeros..).unwrap_or_default();
    let first = significant.first().map_or(0, |byte| byte.leading_zeros());
    u32::try_from(significant.len() * 8)
        .unwrap_or(u32::MAX)
        .saturating_sub(first)
}

fn exponent(bytes: &[u8]) -> String {
    let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
    let significant = bytes.get(zeros..).unwrap_or_default();
    if significant.len() <= 8 {
        let value = significant
            .iter()
            .fold(0_u64, |value, &byte| value << 8 | u64::from(byte));
        value.to_string()
    } else {
        format!("0x{}", hex(significant))
    }
}

/// Name of a signature algorithm, and whether its hash is broken.
fn signature(oid: &str) -> (String, bool) {
    const KNOWN: &[(&str, &str, bool)] = &[
        ("1.2.840.113549.1.1.2", "md2WithRSAEncryption", true),
        ("1.2.840.113549.1.1.3", "md4WithRSAEncryption", true),
        ("1.2.840.113549.1.1.4", "md5WithRSAEncryption", true),
        ("1.2.840.113549.1.1.5", "sha1WithRSAEncryption", true),
        ("1.3.14.3.2.29", "sha1WithRSAEncryption", true),
        ("1.2.840.113549.1.1.10", "rsassaPss", false),
        ("1.2.840.113549.1.1.11", "sha256WithRSAEncryption", false),
        ("1.2.840.113549.1.1.12", "sha384WithRSAEncryption", false),
        ("1.2.840.113549.1.1.13", "sha512WithRSAEncryption", false),
        ("1.2.840.113549.1.1.14", "sha224WithRSAEncryption", false),
        ("1.2.840.10040.4.3", "dsaWithSha1", true),
        ("2.16.840.1.101.3.4.3.2", "dsaWithSha256", false),
        ("1.2.840.10045.4.1", "ecdsaWithSHA1", true),
        ("1.2.840.10045.4.3.1", "ecdsaWithSHA224", false),
        ("1.2.840.10045.4.3.2", "ecdsaWithSHA256", false),
        ("1.2.840.10045.4.3.3", "ecdsaWithSHA384", false),
        ("1.2.840.10045.4.3.4", "ecdsaWithSHA512", false),
        ("1.3.101.112", "ed25519", false),
        ("1.3.101.113", "ed448", false),
        ("1.2.156.10197.1.501", "sm2WithSM3", false),
    ];
    KNOWN.iter().find(|(known, ..)| *known == oid).map_or_else(
        || (oid.to_owned(), false),
        |&(_, name, weak)| (name.to_owned(), weak),
    )
}

/// RFC 7633: the TLS feature extension.
const TLS_FEATURE: &str = "1.3.6.1.5.5.7.1.24";

fn read(extension: &X509Extension<'_>, fields: &mut Fields) {
    match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(san) => {
            for name in &san.general_names {
                alternative(name, fields);
            }
        }
        ParsedExtension::BasicConstraints(constraints) => {
            fields.is_ca = Some(constraints.ca);
            fields.path_len = constraints.path_len_constraint;
        }
        ParsedExtension::KeyUsage(usage) => {
            let bits = [
                (usage.digital_signature(), "digitalSignature"),
                (usage.non_repudiation(), "nonRepudiation"),
                (usage.key_encipherment(), "keyEncipherment"),
                (usage.data_encipherment(), "dataEncipherment"),
                (usage.key_agreement(), "keyAgreement"),
                (usage.key_cert_sign(), "keyCertSign"),
                (usage.crl_sign(), "cRLSign"),
                (usage.encipher_only(), "encipherOnly"),
                (usage.decipher_only(), "decipherOnly"),
            ];
            fields.key_usage = chosen(&bits);
        }
        ParsedExtension::ExtendedKeyUsage(usage) => {
            let bits = [
                (usage.any, "anyExtendedKeyUsage"),
                (usage.server_auth, "serverAuth"),
                (usage.client_auth, "clientAuth"),
                (usage.code_signing, "codeSigning"),
                (usage.email_protection, "emailProtection"),
                (usage.time_stamping, "timeStamping"),
                (usage.ocsp_signing, "OCSPSigning"),
            ];
            fields.ext_key_usage = chosen(&bits);
            let others = usage
                .other
                .iter()
                .take(MAX_NAMES)
                .map(|oid| oid.to_id_string());
            fields.ext_key_usage.extend(others);
        }
        ParsedExtension::AuthorityInfoAccess(access) => {
            for description in access.accessdescs.iter().take(MAX_NAMES) {
                let GeneralName::URI(uri) = &description.access_location else {
                    continue;
                };
                match description.access_method.to_id_string().as_str() {
                    "1.3.6.1.5.5.7.48.1" => fields.aia_ocsp.push((*uri).to_owned()),
                    "1.3.6.1.5.5.7.48.2" => fields.aia_issuers.push((*uri).to_owned()),
                    _ => {}
                }
            }
        }
        ParsedExtension::CRLDistributionPoints(points) => {
            for point in points.points.iter().take(MAX_NAMES) {
                if let Some(DistributionPointName::FullName(names)) = &point.distribution_point {
                    let uris = names.iter().filter_map(|name| match name {
                        GeneralName::URI(uri) => Some((*uri).to_owned()),
                        _ => None,
                    });
                    fields.crl_dp.extend(uris.take(MAX_NAMES));
                }
            }
        }
        ParsedExtension::SubjectKeyIdentifier(id) => fields.ski = Some(hex(id.0)),
        ParsedExtension::AuthorityKeyIdentifier(id) => {
            fields.aki = id.key_identifier.as_ref().map(|id| hex(id.0));
        }
        ParsedExtension::SCT(scts) => {
            fields.embedded_scts = Some(u32::try_from(scts.len()).unwrap_or(u32::MAX));
        }
        ParsedExtension::ParseError { .. } => {
            fields
                .malformed_extensions
                .push(extension.oid.to_id_string());
        }
        _ => {
            if extension.oid.to_id_string() == TLS_FEATURE {
                // SEQUENCE OF INTEGER; 5 is status_request.
                fields.must_staple = extension.value.windows(3).any(|der| der == [2, 1, 5]);
            }
        }
    }
}

fn chosen(bits: &[(bool, &str)]) -> Vec<String> {
    bits.iter()
        .filter(|(set, _)| *set)
        .map(|(_, name)| (*name).to_owned())
        .collect()
}

fn alternative(name: &GeneralName<'_>, fields: &mut Fields) {
    let (list, text) = match name {
        GeneralName::DNSName(name) => (&mut fields.san_dns, (*name).to_owned()),
        GeneralName::RFC822Name(name) => (&mut fields.san_email, (*name).to_owned()),
        GeneralName::URI(uri) => (&mut fields.san_uri, (*uri).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let text = if let Ok(v4) = <[u8; 4]>::try_from(*bytes) {
                Ipv4Addr::from(v4).to_string()
            } else if let Ok(v6) = <[u8; 16]>::try_from(*bytes) {
                Ipv6Addr::from(v6).to_string()
            } else {
                fields
                    .malformed_extensions
                    .push(format!("IP address of {} bytes", bytes.len()));
                return;
            };
            (&mut fields.san_ip, text)
        }
        _ => return,
    };
    if list.len() < MAX_NAMES {
        list.push(text);
    }
}
