//! `certificates`: one row per different certificate of a run, gathered over
//! all handshakes within a budget.

use super::column::{self as col, Column, Layout, signed, signed32};
use super::writer::Row;
use crate::pki::{Cert, lints};
use crate::proto::x509::{Certificate, Fields};
use crate::time::CaptureTime;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a certificate was seen as; the first that applies over a whole run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// First of a server's chain.
    Leaf,
    /// Further on in a chain.
    Intermediate,
    /// Further on in a chain, and self-issued.
    Root,
    /// Of a client.
    Client,
}

impl Role {
    /// The name that the table uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Leaf => "leaf",
            Self::Intermediate => "intermediate",
            Self::Root => "root",
            Self::Client => "client",
        }
    }
}

/// A certificate and how it was met.
#[derive(Clone, Debug)]
pub struct CertificateRow {
    /// The certificate.
    pub certificate: Arc<Certificate>,
    /// Packet time of the first handshake that carried it.
    pub first_seen: CaptureTime,
    /// Of the last.
    pub last_seen: CaptureTime,
    /// Handshakes that carried it.
    pub seen_count: u64,
    /// Destinations whose handshakes carried it: the first 100 by the alphabet.
    pub hosts: BTreeSet<Box<str>>,
    /// What it was seen as.
    pub role: Role,
}

/// Hosts listed for one certificate.
pub const MAX_HOSTS: usize = 100;
/// DER that the book keeps; further certificates are counted only.
const MAX_DER_BYTES: usize = 128 << 20;
/// Host names that the book keeps; beyond it, fewer per certificate.
const MAX_HOST_BYTES: usize = 32 << 20;

/// Gathers the certificates of a run.
///
/// When the budget bites, those with the largest fingerprints are left out:
/// a choice that does not depend on the order in which they came.
#[derive(Debug)]
pub struct CertificateBook {
    rows: BTreeMap<[u8; 32], CertificateRow>,
    limit: usize,
    der_bytes: usize,
    /// Certificates at or above this fingerprint were left out.
    cutoff: Option<[u8; 32]>,
    host_bytes: usize,
    host_limit: usize,
    dropped: u64,
}

impl CertificateBook {
    /// A book of at most `limit` certificates (`limits.max_certificates`).
    pub fn new(limit: usize) -> Self {
        Self {
            rows: BTreeMap::new(),
            limit: limit.max(1),
            der_bytes: 0,
            cutoff: None,
            host_bytes: 0,
            host_limit: MAX_HOSTS,
            dropped: 0,
        }
    }

    /// Notes both chains of one handshake with `destination` at `ts`.
    pub fn note_handshake(
        &mut self,
        handshake: &crate::proto::tls::TlsHandshake,
        destination: &str,
    ) {
        for (index, certificate) in handshake.chain.iter().enumerate() {
            let self_issued = matches!(&certificate.fields, Ok(fields) if fields.self_issued);
            let role = match (index, self_issued) {
                (0, _) => Role::Leaf,
                (_, true) => Role::Root,
                (_, false) => Role::Intermediate,
            };
            self.note(certificate, handshake.ts, destination, role);
        }
        for certificate in &handshake.client_chain {
            self.note(certificate, handshake.ts, destination, Role::Client);
        }
    }

    /// Notes one sighting.
    pub fn note(
        &mut self,
        certificate: &Arc<Certificate>,
        ts: CaptureTime,
        host: &str,
        role: Role,
    ) {
        let fingerprint = certificate.fingerprint;
        if self.cutoff.is_some_and(|cutoff| fingerprint >= cutoff) {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        let row = self.rows.entry(fingerprint).or_insert_with(|| {
            self.der_bytes = self.der_bytes.saturating_add(certificate.der.len());
            CertificateRow {
                certificate: Arc::clone(certificate),
                first_seen: ts,
                last_seen: ts,
                seen_count: 0,
                hosts: BTreeSet::new(),
                role,
            }
        });
        row.first_seen = row.first_seen.min(ts);
        row.last_seen = row.last_seen.max(ts);
        row.seen_count = row.seen_count.saturating_add(1);
        row.role = row.role.min(role);
        if !row.hosts.contains(host) {
            row.hosts.insert(host.into());
            self.host_bytes = self.host_bytes.saturating_add(host.len());
            self.host_bytes -= trim_hosts(&mut row.hosts, self.host_limit);
        }
        self.keep_budget();
    }

    /// Sightings of certificates that the budget left out.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Different certificates kept.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether none was seen.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The certificates, by fingerprint.
    pub fn certificates(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        self.rows.values().map(|row| &row.certificate)
    }

    /// The rows, by fingerprint.
    pub fn into_rows(self) -> impl Iterator<Item = CertificateRow> {
        self.rows.into_values()
    }

    fn keep_budget(&mut self) {
        while self.rows.len() > self.limit || self.der_bytes > MAX_DER_BYTES {
            let Some((fingerprint, row)) = self.rows.pop_last() else {
                break;
            };
            self.cutoff = Some(fingerprint);
            self.der_bytes = self.der_bytes.saturating_sub(row.certificate.der.len());
            let host_bytes: usize = row.hosts.iter().map(|host| host.len()).sum();
            self.host_bytes = self.host_bytes.saturating_sub(host_bytes);
            self.dropped = self.dropped.saturating_add(row.seen_count);
        }
        while self.host_bytes > MAX_HOST_BYTES && self.host_limit > 1 {
            self.host_limit /= 2;
            for row in self.rows.values_mut() {
                self.host_bytes -= trim_hosts(&mut row.hosts, self.host_limit);
            }
        }
    }
}

/// Leaves the first `limit` hosts; gives the bytes of those removed.
fn trim_hosts(hosts: &mut BTreeSet<Box<str>>, limit: usize) -> usize {
    let mut removed = 0;
    while hosts.len() > limit {
        removed += hosts.pop_last().map_or(0, |host| host.len());
    }
    removed
}

impl CertificateRow {
    fn fields(&self) -> Option<&Fields> {
        self.certificate.fields.as_deref().ok()
    }
}

impl Row for CertificateRow {
    const TABLE: &'static str = "certificates";
    const DOC: &'static str = "One row per different certificate of the run, by SHA-256 of its DER, \
        in the order of that hash. Where the DER does not parse, the parsed fields are null and \
        `parse_error` says why.";
    const GROUP_ROWS: usize = 1 << 12;

    fn columns() -> Vec<Column<Self>> {
        vec![
            hex_column(("fingerprint", "SHA-256 hex", "Of the DER."), |r| {
                Some(&r.certificate.fingerprint)
            }),
            hex_column(("fingerprint_sha1", "SHA-1 hex", "Of the DER."), |r| {
                Some(&r.certificate.fingerprint_sha1)
            }),
            col::text_written(
                (
                    "spki_sha256_b64",
                    "",
                    "SHA-256 of the SubjectPublicKeyInfo as pins write it: `sha256/` and base64.",
                ),
                true,
                |r: &Self, out| {
                    let Some(fields) = r.fields() else {
                        return false;
                    };
                    out.push_str(&col::pin(&fields.spki_sha256));
                    true
                },
            )
            .layout(Layout::Plain)
            .identifier(),
            field_text(("subject", "RFC 4514", "Subject."), |f| Some(&f.subject)),
            field_text(("issuer", "RFC 4514", "Issuer."), |f| Some(&f.issuer)),
            field_text(
                ("subject_cn", "", "First common name of the subject."),
                |f| f.subject_cn.as_deref(),
            ),
            field_text(("issuer_cn", "", "First common name of the issuer."), |f| {
                f.issuer_cn.as_deref()
            }),
            field_text(("issuer_o", "", "First organisation of the issuer."), |f| {
                f.issuer_o.as_deref()
            }),
            field_text(("serial", "hex", "Serial number as in the DER."), |f| {
                Some(&f.serial)
            }),
            col::int8_opt(("version", "", "1, 2 or 3."), |r: &Self| {
                r.fields().and_then(|f| i8::try_from(f.version).ok())
            }),
            col::time_opt(("not_before", "ns", "Start of validity."), |r: &Self| {
                r.fields().and_then(|f| f.not_before)
            }),
            col::time_opt(
                (
                    "not_after",
                    "ns",
                    "End of validity; null also beyond the year 2262.",
                ),
                |r: &Self| r.fields().and_then(|f| f.not_after),
            ),
            col::int32_opt(
                ("validity_days", "day", "Whole days from start to end."),
                |r: &Self| {
                    let days = r.fields()?.validity_days?;
                    Some(i32::try_from(days).unwrap_or(if days < 0 { i32::MIN } else { i32::MAX }))
                },
            ),
            field_text(
                (
                    "key_alg",
                    "",
                    "`rsa`, `ec`, `ed25519`, `ed448`, `dsa`, or the OID.",
                ),
                |f| Some(&f.key_alg),
            ),
            col::int32_opt(("key_bits", "bit", "Modulus or field size."), |r: &Self| {
                r.fields().and_then(|f| f.key_bits).map(signed32)
            }),
            field_text(("curve", "", "Curve, or its OID."), |f| f.curve.as_deref()),
            field_text(
                (
                    "rsa_exponent",
                    "",
                    "Public exponent, decimal; hex beyond 64 bits.",
                ),
                |f| f.rsa_exponent.as_deref(),
            ),
            field_text(("sig_alg", "", "Signature algorithm, or its OID."), |f| {
                Some(&f.sig_alg)
            }),
            col::boolean_opt(("sig_weak", "", "MD2, MD5 or SHA-1 in it."), |r: &Self| {
                r.fields().map(|f| f.sig_weak)
            }),
            field_list(("san_dns", "", "Subject alternative names: DNS."), |f| {
                &f.san_dns
            }),
            field_list(
                ("san_ip", "", "Subject alternative names: addresses."),
                |f| &f.san_ip,
            ),
            field_list(
                ("san_email", "", "Subject alternative names: e-mail."),
                |f| &f.san_email,
            ),
            field_list(("san_uri", "", "Subject alternative names: URI."), |f| {
                &f.san_uri
            }),
            col::boolean_opt(
                ("is_ca", "", "CA flag; null without basicConstraints."),
                |r: &Self| r.fields().and_then(|f| f.is_ca),
            ),
            col::int32_opt(("path_len", "", "pathLenConstraint."), |r: &Self| {
                r.fields().and_then(|f| f.path_len).map(signed32)
            }),
            field_list(("key_usage", "RFC 5280", "Key usage."), |f| &f.key_usage),
            field_list(
                ("ext_key_usage", "", "Extended key usage: names or OIDs."),
                |f| &f.ext_key_usage,
            ),
            field_list(("aia_ocsp", "", "OCSP responders."), |f| &f.aia_ocsp),
            field_list(
                ("aia_issuers", "", "Where the issuer's certificate is."),
                |f| &f.aia_issuers,
            ),
            field_list(("crl_dp", "", "CRL distribution points."), |f| &f.crl_dp),
            col::boolean_opt(
                ("must_staple", "RFC 7633", "A staple is demanded."),
                |r: &Self| r.fields().map(|f| f.must_staple),
            ),
            field_text(("ski", "hex", "Subject key identifier."), |f| {
                f.ski.as_deref()
            }),
            field_text(("aki", "hex", "Authority key identifier."), |f| {
                f.aki.as_deref()
            }),
            col::int32_opt(
                (
                    "embedded_scts",
                    "",
                    "SCTs in the certificate; null without the extension.",
                ),
                |r: &Self| r.fields().and_then(|f| f.embedded_scts).map(signed32),
            ),
            col::boolean_opt(
                (
                    "self_signed",
                    "",
                    "Issuer is subject, and its own key verifies it; null where the algorithm cannot be checked.",
                ),
                |r: &Self| r.fields().and_then(|f| f.self_signed),
            ),
            col::boolean_opt(("self_issued", "", "Issuer is subject."), |r: &Self| {
                r.fields().map(|f| f.self_issued)
            }),
            field_list(
                (
                    "malformed_extensions",
                    "OID",
                    "Extensions that do not parse.",
                ),
                |f| &f.malformed_extensions,
            ),
            col::list_text(
                (
                    "lints",
                    "zlint",
                    "Rules of RFC 5280 and of the CA/Browser Forum of its day that it breaks, by zlint's names; null where it does not parse.",
                ),
                true,
                |r: &Self| {
                    let cert = Cert::parse(&r.certificate.der)?;
                    let broken = lints(&cert, r.role == Role::Leaf);
                    Some(broken.into_iter().map(Cow::Borrowed).collect())
                },
            ),
            col::text_opt(
                ("parse_error", "", "Why the DER does not parse."),
                |r: &Self| r.certificate.fields.as_ref().err().map(String::as_str),
            ),
            col::time(
                ("first_seen", "ns", "First handshake that carried it."),
                |r: &Self| r.first_seen,
            ),
            col::time(
                ("last_seen", "ns", "Last handshake that carried it."),
                |r: &Self| r.last_seen,
            ),
            col::int64(
                ("seen_count", "", "Handshakes that carried it."),
                |r: &Self| signed(r.seen_count),
            ),
            col::list_text(
                (
                    "hosts",
                    "",
                    "Destinations whose handshakes carried it: the first 100 by the alphabet.",
                ),
                false,
                |r: &Self| Some(r.hosts.iter().map(|host| (&**host).into()).collect()),
            )
            .content(),
            col::text(
                (
                    "role",
                    "",
                    "`leaf`, `intermediate`, `root` (self-issued), `client`; the first that applied.",
                ),
                |r: &Self| r.role.name(),
            ),
            col::int32(("der_len", "byte", "Length of the DER."), |r: &Self| {
                i32::try_from(r.certificate.der.len()).unwrap_or(i32::MAX)
            }),
            col::bytes_opt(("der", "DER", "The certificate as sent."), |r: &Self| {
                Some(&r.certificate.der)
            })
            .content(),
        ]
    }

    fn sort_key(&self) -> (i64, i64) {
        // Unique in all but chosen cases; the order of arrival, which is that
        // of the whole hash, settles those.
        let (high, _) = self.certificate.fingerprint.split_at(8);
        let high = high
            .iter()
            .fold(0_u64, |acc, &byte| acc << 8 | u64::from(byte));
        // Unsigned order in a signed key.
        ((high ^ 1 << 63) as i64, 0)
    }

    fn heap_bytes(&self) -> usize {
        let hosts: usize = self.hosts.iter().map(|host| host.len() + 4).sum();
        // Every parsed field is at most a few times what it was read from.
        self.certificate.der.len().saturating_mul(4) + hosts
    }
}

fn hex_column(
    head: col::Head,
    get: fn(&CertificateRow) -> Option<&[u8]>,
) -> Column<CertificateRow> {
    col::text_written(head, false, move |row, out| {
        get(row).inspect(|bytes| col::put_hex(out, bytes)).is_some()
    })
    .layout(Layout::Plain)
    .identifier()
}

fn field_text(head: col::Head, get: fn(&Fields) -> Option<&str>) -> Column<CertificateRow> {
    col::text_opt(head, move |row: &CertificateRow| row.fields().and_then(get)).content()
}

fn field_list(head: col::Head, get: fn(&Fields) -> &[String]) -> Column<CertificateRow> {
    col::list_text(head, true, move |row: &CertificateRow| {
        row.fields().and_then(|fields| col::items(get(fields)))
    })
    .content()
}
