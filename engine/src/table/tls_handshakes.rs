//! `tls_handshakes`: one row per handshake, with what was offered, what was
//! chosen, and how each check judged it. Names follow Zeek's ssl.log.

use super::column::{self as col, Column, Layout, signed, signed32};
use super::writer::Row;
use crate::control::ns02::validated_hostname;
use crate::control::{Outcome, Status};
use crate::evidence::FlowId;
use crate::flow::FlowRecord;
use crate::pki::{CrlStatus, OcspAnswer, Sct, SctStatus, Validation};
use crate::proto::tls::{
    CertVisibility, ClientHello, Ech, Resumption, Sentinel, TlsHandshake, alert_name, group_name,
    is_pq_hybrid, sigalg_name, suite_name, version_name,
};
use crate::time::CaptureTime;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

/// One handshake of a flow, judged.
#[derive(Clone, Debug)]
pub struct TlsRow {
    /// The flow.
    pub flow_id: FlowId,
    /// Its originator.
    pub src: IpAddr,
    /// Its responder.
    pub dst: IpAddr,
    /// Originator's port.
    pub src_port: u16,
    /// Responder's port.
    pub dst_port: u16,
    /// What findings are grouped by.
    pub destination: Box<str>,
    /// The facts.
    pub handshake: TlsHandshake,
    /// `allowed`, `denied` or `unlisted`; `None` without a negotiated suite.
    pub cipher_class: Option<&'static str>,
    /// The policy's pattern that denies the suite.
    pub cipher_deny_pattern: Option<Box<str>>,
    /// Every check's judgement of this handshake.
    pub outcomes: Vec<Outcome>,
    /// Name that the certificate was compared with, and its source.
    pub validated_hostname: Option<(Box<str>, &'static str)>,
    /// What became of the server's chain.
    pub validation: Option<Arc<Validation>>,
    /// The flow whose handshake showed the certificates of this resumed session,
    /// and when it did.
    pub resumed_from: Option<(FlowId, CaptureTime)>,
}

impl TlsRow {
    /// A handshake of `flow` with how it was judged; the suite's class is set apart.
    pub fn new(flow: &FlowRecord, handshake: TlsHandshake, outcomes: Vec<Outcome>) -> Self {
        let validated_hostname = match handshake.chain.is_empty() {
            true => None,
            false => {
                validated_hostname(flow, &handshake).map(|(name, source)| (name.into(), source))
            }
        };
        Self {
            flow_id: flow.flow_id,
            src: flow.src,
            dst: flow.dst,
            src_port: flow.src_port,
            dst_port: flow.dst_port,
            destination: flow.destination().into_boxed_str(),
            validated_hostname,
            validation: None,
            resumed_from: None,
            handshake,
            cipher_class: None,
            cipher_deny_pattern: None,
            outcomes,
        }
    }

    fn client(&self) -> Option<&ClientHello> {
        self.handshake.client.as_deref()
    }

    /// The negotiated group: of the key exchange, else of the server's key share.
    fn group(&self) -> Option<u16> {
        let server = self.handshake.server.as_deref();
        let share = || server.and_then(|server| server.key_share_group);
        self.handshake.key_exchange.group.or_else(share)
    }
}

impl Row for TlsRow {
    const TABLE: &'static str = "tls_handshakes";
    const DOC: &'static str = "One row per TLS handshake, complete or not; a renegotiation is a row \
        of its own. What TLS 1.3 encrypts is null. GREASE is removed from every list, order is the wire's.";
    const GROUP_ROWS: usize = 1 << 11;

    fn columns() -> Vec<Column<Self>> {
        let mut columns = identity_columns();
        columns.extend(negotiation_columns());
        columns.extend(certificate_columns());
        columns.extend(validation_columns());
        columns.extend(course_columns());
        columns
    }

    fn sort_key(&self) -> (i64, i64) {
        (self.handshake.ts.as_nanos(), self.flow_id.0)
    }

    fn heap_bytes(&self) -> usize {
        let tls = &self.handshake;
        let client = self.client().map_or(0, |hello| {
            let numbers = hello.ciphers.len()
                + hello.supported_versions.len()
                + hello.groups.len()
                + hello.sigalgs.len()
                + hello.extensions.len();
            numbers * 4 + hello.alpn.iter().map(|name| name.len() + 4).sum::<usize>()
        });
        let texts = [&tls.ja3, &tls.ja3s, &tls.ja4, &tls.ja4_r];
        let texts = texts.into_iter().flatten().map(String::len).sum::<usize>();
        let blobs = [&tls.ocsp_staple, &tls.sct_list];
        let blobs = blobs
            .into_iter()
            .flatten()
            .map(|blob| blob.len())
            .sum::<usize>();
        let outcomes = self.outcomes.iter();
        let outcomes = outcomes.map(|o| size_of::<Outcome>() + o.detail.len() + o.reason.len());
        let chains = tls.chain.len() + tls.client_chain.len();
        self.destination.len()
            + client
            + texts
            + blobs
            + tls.history.len()
            + tls.malformed.as_deref().map_or(0, str::len)
            + chains * 80
            + outcomes.sum::<usize>()
    }
}

fn identity_columns() -> Vec<Column<TlsRow>> {
    vec![
        col::int32(
            ("capture", "row of `captures`", "File that holds the handshake's first packet."),
            |r: &TlsRow| signed32(r.handshake.first.capture),
        ),
        col::int64(("flow_id", "", "The flow."), |r: &TlsRow| r.flow_id.0).layout(Layout::Raw),
        col::time(("ts", "ns", "First packet of the handshake."), |r: &TlsRow| {
            r.handshake.ts
        }),
        col::int64(
            ("first_frame", "", "Its number in its file, from 1."),
            |r: &TlsRow| signed(r.handshake.first.frame),
        )
        .layout(Layout::Delta),
        col::int64(
            ("first_offset", "byte", "Place of its record in its file, in the decompressed stream where the file is compressed."),
            |r: &TlsRow| signed(r.handshake.first.offset),
        )
        .layout(Layout::Delta),
        col::address(("src_ip", "RFC 5952", "Originator."), |r: &TlsRow| r.src),
        col::address(("dst_ip", "RFC 5952", "Responder."), |r: &TlsRow| r.dst),
        col::int32(("src_port", "", "Originator's port."), |r: &TlsRow| {
            i32::from(r.src_port)
        }),
        col::int32(("dst_port", "", "Responder's port."), |r: &TlsRow| {
            i32::from(r.dst_port)
        }),
        col::text(
            ("destination", "", "What findings are grouped by: the name, else the address."),
            |r: &TlsRow| &r.destination,
        )
        .content(),
        col::text(
            ("transport", "", "`tcp`, `starttls-smtp` and the like, `http-connect`, `socks`, `tds` (in its own packets), `quic`, `udp-dtls`."),
            |r: &TlsRow| &r.handshake.transport,
        ),
        col::text_opt(
            ("starttls_protocol", "", "Protocol that was upgraded; null where TLS began at once."),
            |r: &TlsRow| r.handshake.transport.strip_prefix("starttls-"),
        ),
    ]
}

fn negotiation_columns() -> Vec<Column<TlsRow>> {
    vec![
        name_column(("version", "", "Negotiated version."), |r| {
            r.handshake.version.map(version_name)
        }),
        col::int32_opt(
            (
                "version_num",
                "wire",
                "The same as a number: 0x0303 (771) is TLS 1.2.",
            ),
            |r: &TlsRow| r.handshake.version.map(|version| i32::from(version.0)),
        ),
        numbers_column(
            (
                "client_versions",
                "wire",
                "supported_versions of the client; its legacy_version alone without that extension.",
            ),
            |hello| match hello.supported_versions.as_slice() {
                [] => std::slice::from_ref(&hello.version),
                versions => versions,
            },
        ),
        numbers_column(
            ("client_ciphers", "IANA", "Suites that the client offered."),
            |hello| &hello.ciphers,
        ),
        col::list_int32(
            (
                "client_ciphers_sslv2",
                "wire",
                "Suites of SSL 2 that the client offered, three bytes each.",
            ),
            true,
            |r: &TlsRow, put| {
                let Some(hello) = r.client() else {
                    return false;
                };
                let suites = hello.sslv2_ciphers.iter();
                suites.for_each(|&suite| put(signed32(suite)));
                true
            },
        ),
        numbers_column(
            ("client_groups", "IANA", "supported_groups of the client."),
            |hello| &hello.groups,
        ),
        numbers_column(
            (
                "client_sigalgs",
                "IANA",
                "signature_algorithms of the client.",
            ),
            |hello| &hello.sigalgs,
        ),
        numbers_column(
            ("client_extensions", "IANA", "Extensions of the client."),
            |hello| &hello.extensions,
        ),
        col::list_text(
            ("client_alpn", "", "Protocols that the client offered."),
            true,
            |r: &TlsRow| r.client().and_then(|hello| col::items(&hello.alpn)),
        )
        .content(),
        name_column(("cipher", "IANA", "Negotiated suite."), |r| {
            r.handshake
                .server
                .as_ref()
                .map(|server| suite_name(server.cipher))
        }),
        col::int32_opt(
            ("cipher_num", "IANA", "The same as a number."),
            |r: &TlsRow| {
                r.handshake
                    .server
                    .as_ref()
                    .map(|server| i32::from(server.cipher))
            },
        ),
        col::text_opt(
            (
                "cipher_class",
                "",
                "By the policy: `allowed`, `denied`, `unlisted`.",
            ),
            |r: &TlsRow| r.cipher_class,
        ),
        col::text_opt(
            (
                "cipher_deny_pattern",
                "",
                "The policy's pattern that denies it.",
            ),
            |r: &TlsRow| r.cipher_deny_pattern.as_deref(),
        ),
        name_column(("curve", "IANA", "Negotiated group or curve."), |r| {
            r.group().map(group_name)
        }),
        col::int32_opt(
            (
                "kex_bits",
                "bit",
                "Bits of the DH prime, the export RSA modulus or the group's field.",
            ),
            |r: &TlsRow| r.handshake.key_exchange.bits.map(signed32),
        ),
        col::text_written(
            (
                "kex_signature",
                "IANA",
                "Signature algorithm by which the server signed its key exchange, where visible.",
            ),
            true,
            |r: &TlsRow, out| {
                let scheme = r.handshake.key_exchange.signature;
                scheme
                    .inspect(|&scheme| out.push_str(&sigalg_name(scheme)))
                    .is_some()
            },
        ),
        col::boolean_opt(
            (
                "pq_hybrid",
                "",
                "The group is a hybrid with a post-quantum one.",
            ),
            |r: &TlsRow| r.group().map(is_pq_hybrid),
        ),
        col::text_opt(
            (
                "next_protocol",
                "ALPN",
                "Protocol that the server chose, where visible.",
            ),
            |r: &TlsRow| {
                r.handshake
                    .server
                    .as_ref()
                    .and_then(|server| server.alpn.as_deref())
            },
        )
        .content(),
        col::text_opt(
            ("server_name", "SNI", "Name that the client asked for."),
            |r: &TlsRow| r.client().and_then(|hello| hello.server_name.as_deref()),
        )
        .content(),
        col::boolean_opt(
            (
                "server_name_is_outer",
                "",
                "The name may stand for another, encrypted one (ECH).",
            ),
            |r: &TlsRow| {
                let hello = r.client()?;
                hello.server_name.as_ref().map(|_| hello.ech.is_some())
            },
        ),
        col::text_opt(
            (
                "ech",
                "",
                "Encrypted ClientHello: `none`, `outer_or_grease` (an observer cannot tell), `confirmed`.",
            ),
            |r: &TlsRow| {
                r.client().map(|hello| match hello.ech {
                    None => "none",
                    Some(Ech::OuterOrGrease) => "outer_or_grease",
                    Some(Ech::Confirmed) => "confirmed",
                })
            },
        ),
        fingerprint_column(("ja3", "MD5 hex", "JA3 of the client."), |r| {
            &r.handshake.ja3
        }),
        fingerprint_column(("ja3s", "MD5 hex", "JA3S of the server."), |r| {
            &r.handshake.ja3s
        }),
        fingerprint_column(("ja4", "", "JA4 of the client."), |r| &r.handshake.ja4),
        fingerprint_column(("ja4_r", "", "JA4 of the client, raw."), |r| {
            &r.handshake.ja4_r
        }),
    ]
}

fn certificate_columns() -> Vec<Column<TlsRow>> {
    vec![
        col::boolean(
            (
                "client_cert_requested",
                "",
                "The server asked for a certificate, in the clear or decrypted.",
            ),
            |r: &TlsRow| r.handshake.client_cert_requested,
        ),
        col::boolean(
            (
                "client_cert_sent",
                "",
                "The client sent one, in the clear or decrypted.",
            ),
            |r: &TlsRow| r.handshake.client_cert_sent,
        ),
        col::text(
            (
                "cert_visibility",
                "",
                "Certificates: `visible`, `decrypted` (with a key log), `encrypted` (TLS 1.3), `resumed` (not sent again), `none`.",
            ),
            |r: &TlsRow| match r.handshake.cert_visibility {
                CertVisibility::Visible => "visible",
                CertVisibility::Decrypted => "decrypted",
                CertVisibility::Encrypted => "encrypted",
                CertVisibility::Resumed => "resumed",
                CertVisibility::None => "none",
            },
        ),
        col::text_written(
            (
                "leaf_fingerprint",
                "SHA-256 hex",
                "The server's certificate, of a resumed session the one that it inherits; joins `certificates.fingerprint`.",
            ),
            true,
            |r: &TlsRow, out| {
                let sent = r.handshake.chain.first().map(|leaf| leaf.fingerprint);
                let inherited = || {
                    let leaf = r.validation.as_ref()?.leaf.as_ref()?;
                    Some(leaf.fingerprint)
                };
                sent.or_else(inherited)
                    .inspect(|leaf| col::put_hex(out, leaf))
                    .is_some()
            },
        )
        .identifier(),
        fingerprints_column(
            (
                "chain_fingerprints",
                "SHA-256 hex",
                "The server's chain as sent, leaf first.",
            ),
            |r| &r.handshake.chain,
        ),
        fingerprints_column(
            (
                "client_chain_fingerprints",
                "SHA-256 hex",
                "The client's chain as sent, leaf first.",
            ),
            |r| &r.handshake.client_chain,
        ),
        col::bytes_opt(
            ("ocsp_response", "DER", "Stapled OCSP response as sent."),
            |r: &TlsRow| r.handshake.ocsp_staple.as_deref(),
        )
        .content(),
        col::bytes_opt(
            (
                "sct_list",
                "RFC 6962",
                "SCT list of the TLS extension as sent.",
            ),
            |r: &TlsRow| r.handshake.sct_list.as_deref(),
        )
        .content(),
    ]
}

fn validation_columns() -> Vec<Column<TlsRow>> {
    let of_certificates = |row: &TlsRow, status: &'static [Status]| {
        row.outcomes.iter().any(|outcome| {
            outcome.check_id.starts_with("NS-02.") && status.contains(&outcome.status)
        })
    };
    vec![
        col::text_opt(
            (
                "validated_hostname",
                "",
                "Name that the certificate was compared with; null without a chain or a name.",
            ),
            |r: &TlsRow| r.validated_hostname.as_ref().map(|(name, _)| &**name),
        )
        .content(),
        col::text_opt(
            ("hostname_source", "", "Where that name comes from: `sni`, `http_host`."),
            |r: &TlsRow| r.validated_hostname.as_ref().map(|(_, source)| *source),
        ),
        col::text(
            (
                "validation_status",
                "",
                "`failed` when a check of NS-02 failed or the client refused what it would have failed for, `passed` when the chain was judged and none did, else `not_observed`.",
            ),
            move |r: &TlsRow| match &r.validation {
                Some(_) if of_certificates(r, &[Status::Failed, Status::Refused]) => "failed",
                Some(validation) if validation.is_trusted() => "passed",
                _ => "not_observed",
            },
        ),
        col::list_text(
            (
                "validation_reasons",
                "",
                "What is wrong with the chain, as `kind: words`; null without a chain.",
            ),
            true,
            |r: &TlsRow| {
                let faults = r.validation.as_ref()?.faults.iter();
                Some(
                    faults
                        .map(|fault| Cow::Owned(format!("{}: {}", fault.kind.name(), fault.text)))
                        .collect(),
                )
            },
        )
        .content(),
        col::time_opt(
            ("validated_at", "ns", "Moment by which the chain was judged: packet time, for a resumed session that of the handshake which showed it."),
            |r: &TlsRow| {
                r.validation.as_ref()?;
                Some(r.resumed_from.map_or(r.handshake.ts, |(_, ts)| ts))
            },
        ),
        col::text_opt(
            (
                "trust_store_id",
                "",
                "Where the anchor is from: `Mozilla`, the given roots, the policy and its purpose; null without an anchor.",
            ),
            |r: &TlsRow| {
                let validation = r.validation.as_ref()?;
                validation.anchored.then_some(validation.anchor_origin.as_str())
            },
        ),
        col::text_written(
            (
                "anchor_fingerprint",
                "SHA-256 hex",
                "Root at which the path ends; null without one.",
            ),
            true,
            |r: &TlsRow, out| {
                let anchor = r.validation.as_ref().filter(|validation| validation.anchored);
                let anchor = anchor.and_then(|validation| validation.path.last());
                anchor
                    .inspect(|anchor| col::put_hex(out, &anchor.fingerprint))
                    .is_some()
            },
        )
        .identifier(),
        col::list_text(
            (
                "chain_completed_by",
                "SHA-256 hex",
                "Certificates of the path that this server did not send: they are from elsewhere in the capture.",
            ),
            true,
            |r: &TlsRow| {
                let added = r.validation.as_ref()?.completed_by.iter();
                Some(added.map(|one| Cow::Owned(col::hex(one))).collect())
            },
        )
        .identifier(),
        col::list_text(
            (
                "path_pins",
                "",
                "Public keys of the validated path, leaf first, the root where there is one last, as pins are written: `sha256/` and base64; null without a chain.",
            ),
            true,
            |r: &TlsRow| {
                let path = r.validation.as_ref()?.path.iter();
                Some(path.map(|cert| Cow::Owned(col::pin(&cert.spki_sha256))).collect())
            },
        )
        .identifier(),
        col::boolean_opt(
            (
                "chain_trusted",
                "",
                "Whether that path leads to a root trusted at that moment, with nothing wrong on the way; dates, names and revocation apart. Null without a chain.",
            ),
            |r: &TlsRow| Some(r.validation.as_ref()?.is_trusted()),
        ),
        col::text_opt(
            (
                "ocsp_source",
                "",
                "OCSP response about the server's certificate: `stapled`, `http_in_capture`, `none`; null without a chain.",
            ),
            |r: &TlsRow| {
                let validation = r.validation.as_ref()?;
                let source = validation.revocation.ocsp.as_ref().map(|answer| answer.source.name());
                Some(source.unwrap_or("none"))
            },
        ),
        col::text_opt(
            (
                "ocsp_status",
                "",
                "What it comes to: `good`, `revoked`, `unknown`, `invalid` (no client may rely on it), `unverified` (cannot be checked); null without one.",
            ),
            |r: &TlsRow| ocsp(r).map(|answer| answer.status.name()),
        ),
        col::time_opt(
            ("ocsp_this_update", "ns", "Its thisUpdate; null when it says nothing of this certificate."),
            |r: &TlsRow| ocsp(r)?.this_update.map(|at| CaptureTime::from_unix(at, 0)),
        ),
        col::time_opt(
            ("ocsp_next_update", "ns", "Its nextUpdate."),
            |r: &TlsRow| ocsp(r)?.next_update.map(|at| CaptureTime::from_unix(at, 0)),
        ),
        col::text_opt(
            (
                "crl_status",
                "",
                "What revocation lists (given, or fetched over HTTP in the capture) say of the server's certificate: `good`, `revoked`, `not_covered`, `unverified`, `unsupported`; null without one of its issuer.",
            ),
            |r: &TlsRow| r.validation.as_ref()?.revocation.crl.map(CrlStatus::name),
        ),
        col::int32_opt(
            (
                "scts_valid",
                "",
                "Signed timestamps (certificate, handshake, OCSP) whose signature is their log's; null without a chain.",
            ),
            |r: &TlsRow| count_scts(r, |sct| sct.status == SctStatus::Valid),
        ),
        col::int32_opt(
            ("scts_invalid", "", "Those with another signature, or of the future."),
            |r: &TlsRow| count_scts(r, |sct| matches!(sct.status, SctStatus::Invalid(_))),
        ),
        col::int32_opt(
            ("sct_logs", "", "Different logs that the timestamps name, checked or not."),
            |r: &TlsRow| {
                let scts = &r.validation.as_ref()?.transparency.scts;
                let logs: BTreeSet<_> = scts.iter().map(|sct| sct.log_id).collect();
                i32::try_from(logs.len()).ok()
            },
        ),
        col::list_text(
            ("sct_sources", "", "Where timestamps are: `certificate`, `tls`, `ocsp`."),
            true,
            |r: &TlsRow| {
                let scts = &r.validation.as_ref()?.transparency.scts;
                let sources: BTreeSet<_> = scts.iter().map(|sct| sct.source).collect();
                Some(sources.into_iter().map(|source| Cow::Borrowed(source.name())).collect())
            },
        ),
        col::boolean_opt(
            (
                "continued_after_invalid_cert",
                "",
                "The client sent application data after a certificate that it should have refused; null where that cannot be told.",
            ),
            |r: &TlsRow| {
                let outcome = r
                    .outcomes
                    .iter()
                    .find(|outcome| outcome.check_id == "NS-02.accepted_anyway")?;
                match outcome.status {
                    Status::Failed => Some(true),
                    Status::Passed => Some(false),
                    _ => None,
                }
            },
        ),
    ]
}

fn course_columns() -> Vec<Column<TlsRow>> {
    vec![
        col::boolean(
            (
                "established",
                "",
                "Both sides finished, as far as an observer can tell.",
            ),
            |r: &TlsRow| r.handshake.established,
        ),
        col::boolean(
            ("resumed", "", "An earlier session was resumed."),
            |r: &TlsRow| r.handshake.resumed.is_some(),
        ),
        col::text_opt(
            ("resumption_kind", "", "How: `id`, `ticket`, `psk`."),
            |r: &TlsRow| {
                r.handshake.resumed.map(|kind| match kind {
                    Resumption::Id => "id",
                    Resumption::Ticket => "ticket",
                    Resumption::Psk => "psk",
                })
            },
        ),
        col::int64_opt(
            (
                "resumed_from_flow_id",
                "",
                "The flow whose session this one resumes, when its id or ticket was seen there; its certificates are judged as of then.",
            ),
            |r: &TlsRow| r.resumed_from.map(|(flow, _)| flow.0),
        ),
        col::boolean(
            ("renegotiation", "", "Not the flow's first handshake."),
            |r: &TlsRow| r.handshake.renegotiation,
        ),
        col::boolean(
            (
                "hello_retry",
                "",
                "The server asked for another ClientHello (RFC 8446 §4.1.4).",
            ),
            |r: &TlsRow| r.handshake.hello_retry,
        ),
        name_column(
            ("last_alert", "", "Last alert in the clear or decrypted."),
            |r| {
                r.handshake
                    .alerts
                    .last()
                    .map(|alert| alert_name(alert.description))
            },
        ),
        name_column(
            ("last_alert_level", "", "`warning`, `fatal`, or the number."),
            |r| {
                r.handshake.alerts.last().map(|alert| match alert.level {
                    1 => Cow::Borrowed("warning"),
                    2 => Cow::Borrowed("fatal"),
                    other => Cow::Owned(other.to_string()),
                })
            },
        ),
        col::text_opt(("alert_from", "", "`client` or `server`."), |r: &TlsRow| {
            let from = |client| if client { "client" } else { "server" };
            r.handshake
                .alerts
                .last()
                .map(|alert| from(alert.from_client))
        }),
        alerts_column(
            (
                "client_alerts",
                "RFC 8446 §6",
                "Alerts of the client that can be read, in their order.",
            ),
            true,
        ),
        alerts_column(
            ("server_alerts", "RFC 8446 §6", "Those of the server."),
            false,
        ),
        col::text(
            (
                "ssl_history",
                "Zeek",
                "Messages in order, one letter each; upper case is the client.",
            ),
            |r: &TlsRow| &r.handshake.history,
        ),
        col::list_text(
            (
                "checks_failed",
                "",
                "Ids of the checks that failed, as in `checks`: for quick filters.",
            ),
            false,
            |r: &TlsRow| {
                let failed = r
                    .outcomes
                    .iter()
                    .filter(|o| o.status == crate::control::Status::Failed);
                Some(
                    failed
                        .map(|outcome| Cow::Borrowed(outcome.check_id))
                        .collect(),
                )
            },
        ),
        super::checks::column(
            "How each check judged this handshake: `passed`, `warned`, `failed`, `refused`, `not_observed`, and why.",
            |row: &TlsRow| &row.outcomes,
        ),
        col::text_opt(
            (
                "downgrade_sentinel",
                "RFC 8446 §4.1.3",
                "Sentinel in the server's random: `tls12`, `tls11`; null without a ServerHello or without one in it.",
            ),
            |r: &TlsRow| {
                let server = r.handshake.server.as_ref()?;
                server.sentinel.map(|sentinel| match sentinel {
                    Sentinel::To12 => "tls12",
                    Sentinel::To11 => "tls11",
                })
            },
        ),
        col::boolean_opt(
            (
                "fallback_scsv",
                "RFC 7507",
                "The client says that it retries with a lower version.",
            ),
            |r: &TlsRow| r.client().map(|hello| hello.fallback_scsv),
        ),
        col::boolean(
            (
                "decrypted",
                "",
                "Records were opened with a key log's secrets; certificates of TLS 1.3 and `http_transactions` come from them.",
            ),
            |r: &TlsRow| r.handshake.decrypted,
        ),
        col::text_opt(
            (
                "decryption_source",
                "",
                "Where secrets of the session came from: `keylog`, `dsb` (Decryption Secrets Block); null without any.",
            ),
            |r: &TlsRow| r.handshake.decryption_source,
        ),
        col::text_opt(
            (
                "decryption_failure",
                "",
                "Why records were not opened although there are secrets.",
            ),
            |r: &TlsRow| r.handshake.decryption_failure,
        ),
        col::text_opt(
            ("malformed", "", "Where the handshake stops making sense."),
            |r: &TlsRow| r.handshake.malformed.as_deref(),
        ),
        col::int64_opt(
            (
                "handshake_ns",
                "ns",
                "From the first ClientHello to the last handshake message seen.",
            ),
            |r: &TlsRow| r.handshake.handshake_ns,
        ),
        col::int64(
            (
                "bytes_orig_app",
                "byte",
                "Application data in the client's records.",
            ),
            |r: &TlsRow| signed(r.handshake.app_bytes[0]),
        ),
        col::int64(
            (
                "bytes_resp_app",
                "byte",
                "Application data in the server's records.",
            ),
            |r: &TlsRow| signed(r.handshake.app_bytes[1]),
        ),
    ]
}

fn ocsp(row: &TlsRow) -> Option<&OcspAnswer> {
    row.validation.as_ref()?.revocation.ocsp.as_ref()
}

fn count_scts(row: &TlsRow, of: impl Fn(&Sct) -> bool) -> Option<i32> {
    let scts = row.validation.as_ref()?.transparency.scts.iter();
    i32::try_from(scts.filter(|sct| of(sct)).count()).ok()
}

fn alerts_column(head: col::Head, of_client: bool) -> Column<TlsRow> {
    col::list_int32(head, false, move |row: &TlsRow, put| {
        let alerts = row.handshake.alerts.iter();
        alerts
            .filter(|alert| alert.from_client == of_client)
            .for_each(|alert| put(i32::from(alert.description)));
        true
    })
}

fn name_column(head: col::Head, get: fn(&TlsRow) -> Option<Cow<'static, str>>) -> Column<TlsRow> {
    col::text_written(head, true, move |row, out| match get(row) {
        Some(name) => {
            out.push_str(&name);
            true
        }
        None => false,
    })
}

fn fingerprint_column(head: col::Head, get: fn(&TlsRow) -> &Option<String>) -> Column<TlsRow> {
    col::text_opt(head, move |row| get(row).as_deref()).identifier()
}

fn numbers_column(head: col::Head, get: fn(&ClientHello) -> &[u16]) -> Column<TlsRow> {
    col::list_int32(head, true, move |row: &TlsRow, put| {
        let Some(hello) = row.client() else {
            return false;
        };
        get(hello).iter().for_each(|&value| put(i32::from(value)));
        true
    })
}

fn fingerprints_column(
    head: col::Head,
    get: fn(&TlsRow) -> &[Arc<crate::proto::x509::Certificate>],
) -> Column<TlsRow> {
    col::list_text(head, false, move |row| {
        let chain = get(row).iter();
        Some(
            chain
                .map(|certificate| Cow::Owned(col::hex(&certificate.fingerprint)))
                .collect(),
        )
    })
    .identifier()
}
