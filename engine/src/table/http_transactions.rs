//! `http_transactions`: one row per HTTP request with its answer.

use super::column::{self as col, Column, Layout, signed, signed32};
use super::place::{self, InFlow};
use super::writer::Row;
use crate::control::Outcome;
use crate::control::ns03::{self, Protection};
use crate::evidence::PacketRef;
use crate::flow::FlowHead;
use crate::policy::Policy;
use crate::proto::destination;
use crate::proto::plain::http::{Carrier, HttpCredential, HttpTransaction, Jwt, Text};
use crate::time::CaptureTime;
use std::borrow::Cow;

/// One row.
#[derive(Debug)]
pub struct HttpRow {
    /// Its flow.
    pub flow: FlowHead,
    /// What was said.
    pub tx: Box<HttpTransaction>,
    /// Whether NS-03 judges it as an API's.
    pub is_api: bool,
    /// How each check judged it.
    pub outcomes: Vec<Outcome>,
    /// Whether the policy's rate limit says that it should have been denied.
    pub rate_limit_should_deny: Option<bool>,
    jwt_state: Option<&'static str>,
    /// State of the headers of [`PROTECTIVE`].
    protection: [Option<Protection>; 5],
}

/// The headers that have a column of their own.
const PROTECTIVE: [&str; 5] = [
    "X-Content-Type-Options",
    "X-Frame-Options",
    "X-XSS-Protection",
    "Strict-Transport-Security",
    "Content-Security-Policy",
];

impl HttpRow {
    /// The row of a transaction that was judged.
    pub fn new(
        policy: &Policy,
        flow: FlowHead,
        tx: Box<HttpTransaction>,
        is_api: bool,
        outcomes: Vec<Outcome>,
    ) -> Self {
        let jwt_state = token(&tx).map(|jwt| ns03::token_state(policy, jwt, tx.ts));
        let protection = PROTECTIVE.map(|name| {
            let wanted = policy.api.response_headers.get(name)?;
            tx.status?;
            Some(ns03::protection(&tx, name, wanted))
        });
        Self {
            flow,
            tx,
            is_api,
            outcomes,
            rate_limit_should_deny: None,
            jwt_state,
            protection,
        }
    }

    /// What the request proves itself by.
    fn credential(&self) -> Option<&HttpCredential> {
        let all = &self.tx.credentials;
        all.iter()
            .find(|known| known.carrier == Carrier::Header)
            .or_else(|| all.first())
    }

    /// How the client said who it is, in the words of the table.
    fn auth_scheme(&self) -> Option<&'static str> {
        if !self.tx.has_request {
            return None;
        }
        let classes = self.tx.credentials.iter().map(|known| known.class);
        let named = classes.filter_map(|class| {
            Some(match class {
                "http_basic" => "basic",
                "http_bearer" => "bearer",
                "http_digest" => "digest",
                "http_ntlm" => "ntlm",
                "http_negotiate" => "negotiate",
                "http_authorization" => "other",
                "http_api_key" => "apikey",
                "cookie" => "cookie",
                _ => return None,
            })
        });
        Some(named.min_by_key(|name| *name == "cookie").unwrap_or("none"))
    }
}

fn text(head: col::Head, which: Text) -> Column<HttpRow> {
    col::text_opt(head, move |row: &HttpRow| row.tx.text(which)).content()
}

fn lines(head: col::Head, which: Text) -> Column<HttpRow> {
    col::list_text(head, true, move |row: &HttpRow| {
        let lines = row.tx.text(which)?;
        Some(lines.lines().map(Cow::Borrowed).collect())
    })
    .content()
}

impl InFlow for HttpRow {
    fn flow(&self) -> &FlowHead {
        &self.flow
    }

    fn began(&self) -> (CaptureTime, PacketRef) {
        (self.tx.ts, self.tx.packet)
    }
}

impl Row for HttpRow {
    const TABLE: &'static str = "http_transactions";
    const DOC: &'static str = "One row per HTTP request with its answer, as soon as both are whole; \
        bodies are measured and never kept. Values of queries and cookies, and whatever else may be \
        a secret, stand nowhere: only that they were there, and how long they were.";
    const GROUP_ROWS: usize = 1 << 14;

    fn columns() -> Vec<Column<Self>> {
        let of_request = |row: &Self, value: u64| row.tx.has_request.then(|| signed(value));
        let of_answer = |row: &Self, value: u64| row.tx.ts_response.map(|_| signed(value));
        let mut columns = place::columns(
            "The request's first packet; the answer's where the request is not in the capture.",
        );
        columns.extend([
            col::time_opt(
                ("ts_response", "ns", "First packet of the final answer."),
                |row: &Self| row.tx.ts_response,
            ),
            col::int32(
                (
                    "trans_depth",
                    "",
                    "Place among the flow's transactions, from 1.",
                ),
                |row: &Self| signed32(row.tx.depth),
            ),
            col::text(
                ("http_version", "", "`0.9`, `1.0`, `1.1`, `2`."),
                |row: &Self| row.tx.version.name(),
            ),
            col::int64_opt(
                ("stream_id", "RFC 9113", "Stream of HTTP/2."),
                |row: &Self| row.tx.stream_id.map(i64::from),
            ),
            text(("method", "", "Method, as sent."), Text::Method),
            text(
                ("scheme", "", "Scheme of an absolute target."),
                Text::Scheme,
            ),
            text(
                (
                    "host",
                    "",
                    "Host of the target or the Host header, lower case, without port.",
                ),
                Text::Host,
            ),
            col::int32_opt(
                ("host_port", "", "Its port, where stated."),
                |row: &Self| row.tx.host_port.map(i32::from),
            ),
            text(("path", "", "Path, without query."), Text::Path),
            text(
                (
                    "query_redacted",
                    "",
                    "Names of the query's parameters with the lengths of their values: `a=<3>&b=<10>`.",
                ),
                Text::Query,
            ),
            col::boolean_opt(
                (
                    "url_has_credentials",
                    "",
                    "A user, a password or a key stood in the target.",
                ),
                |row: &Self| {
                    row.tx.has_request.then(|| {
                        row.tx.has_userinfo
                            || row.tx.credentials.iter().any(|known| {
                                known.carrier == crate::proto::plain::http::Carrier::Query
                            })
                    })
                },
            ),
            text(("user_agent", "", "`User-Agent`."), Text::UserAgent),
            text(
                ("referrer", "", "`Referer`, without query."),
                Text::Referrer,
            ),
            text(("origin", "", "`Origin`."), Text::Origin),
            col::int64_opt(
                (
                    "request_header_bytes",
                    "byte",
                    "The request's head, as on the wire; in HTTP/2 the size of the list (RFC 9113 §6.5.2).",
                ),
                move |row: &Self| of_request(row, row.tx.request.header_bytes),
            ),
            col::int64_opt(
                (
                    "request_body_bytes",
                    "byte",
                    "The request's body on the wire, without chunk sizes.",
                ),
                move |row: &Self| of_request(row, row.tx.request.body_bytes),
            ),
            col::int64_opt(
                ("request_content_length", "byte", "Its Content-Length."),
                |row: &Self| row.tx.request.content_length.map(signed),
            ),
            text(
                (
                    "request_content_type",
                    "",
                    "Its media type, lower case, without parameters.",
                ),
                Text::RequestType,
            ),
            col::float32_opt(
                (
                    "request_entropy",
                    "0 to 1",
                    "Shannon entropy of the first 64 KiB of the request's body, bits per byte by 8; null under 1 KiB.",
                ),
                |row: &Self| row.tx.measured?.entropy,
            ),
            col::int64_opt(
                (
                    "base64_bytes",
                    "character",
                    "Base64 in the request's body: runs of 1,024 characters and more, standard or URL-safe, wrapped, in JSON or in a form; null where the body is under 1 KiB.",
                ),
                |row: &Self| {
                    row.tx
                        .measured
                        .map(|measured| signed(measured.base64_bytes))
                },
            ),
            col::int64_opt(
                (
                    "base64_max_run_bytes",
                    "character",
                    "The longest of these runs.",
                ),
                |row: &Self| {
                    row.tx
                        .measured
                        .map(|measured| signed(measured.base64_max_run_bytes))
                },
            ),
            col::boolean_opt(
                (
                    "request_coded",
                    "",
                    "A body of 1 KiB or more was under a content coding.",
                ),
                |row: &Self| row.tx.measured.map(|measured| measured.coded),
            ),
            col::int16_opt(
                ("response_status", "", "Status of the final answer."),
                |row: &Self| {
                    row.tx
                        .status
                        .map(|status| i16::try_from(status).unwrap_or(i16::MAX))
                },
            ),
            col::int16_opt(
                (
                    "grpc_status",
                    "gRPC",
                    "Status of a gRPC call, from its trailers: 0 is success.",
                ),
                |row: &Self| {
                    row.tx
                        .grpc_status
                        .map(|status| i16::try_from(status).unwrap_or(i16::MAX))
                },
            ),
            text(
                (
                    "upgraded_to",
                    "RFC 9110",
                    "What the connection, or HTTP/2's stream, went on with: `websocket`, `h2c` (its answer is this row's), `tls/1.0` and so on.",
                ),
                Text::UpgradedTo,
            ),
            text(
                ("response_msg", "", "Its reason phrase."),
                Text::ResponseMsg,
            ),
            col::int64_opt(
                (
                    "response_header_bytes",
                    "byte",
                    "The answer's head, likewise.",
                ),
                move |row: &Self| of_answer(row, row.tx.response.header_bytes),
            ),
            col::int64_opt(
                (
                    "response_body_bytes",
                    "byte",
                    "The answer's body on the wire, without chunk sizes.",
                ),
                move |row: &Self| of_answer(row, row.tx.response.body_bytes),
            ),
            text(
                (
                    "response_content_type",
                    "",
                    "The answer's media type, lower case, without parameters.",
                ),
                Text::ResponseType,
            ),
            text(("response_server", "", "`Server`."), Text::Server),
            text(
                ("location", "", "`Location`, without query."),
                Text::Location,
            ),
            col::boolean_opt(
                ("redirects_to_https", "", "A redirect leads to `https`."),
                |row: &Self| {
                    row.tx
                        .status
                        .filter(|status| (300..400).contains(status))
                        .map(|_| row.tx.redirects_to_https)
                },
            ),
            col::boolean(
                ("plaintext", "", "It crossed the wire outside TLS."),
                |row: &Self| !row.tx.decrypted,
            ),
            col::boolean(
                ("decrypted", "", "It was read out of TLS."),
                |row: &Self| row.tx.decrypted,
            ),
            col::text_opt(
                (
                    "auth_scheme",
                    "",
                    "`none`, `basic`, `bearer`, `digest`, `ntlm`, `negotiate`, `apikey`, `cookie` or `other`.",
                ),
                |row: &Self| row.auth_scheme(),
            ),
            col::list_text(
                (
                    "credentials",
                    "class:length",
                    "Every credential of the request: its class and length.",
                ),
                false,
                |row: &Self| {
                    let shown = |known: &crate::proto::plain::http::HttpCredential| {
                        Cow::Owned(format!("{}:{}", known.class, known.len))
                    };
                    Some(row.tx.credentials.iter().map(shown).collect())
                },
            ),
            col::text_written(
                (
                    "credential_hash",
                    "hex",
                    "Keyed hash of what the request proves itself by (a header's credential, else its first): the same as in `credentials`.",
                ),
                true,
                |row: &Self, out| {
                    let known = row.credential();
                    if let Some(known) = known {
                        col::put_hex(out, &known.hash.0);
                    }
                    known.is_some()
                },
            )
            .layout(Layout::Plain),
            col::text_written(
                (
                    "credential_last4",
                    "",
                    "Its last four characters: of tokens and keys of at least 16, never of passwords.",
                ),
                true,
                |row: &Self, out| {
                    let last4 = row.credential().and_then(|known| known.last4);
                    super::credentials::put_last4(out, last4)
                },
            )
            .content(),
            col::text_written(
                (
                    "jwt_sub_hash",
                    "hex",
                    "Keyed hash of the token's `sub`, as of a user.",
                ),
                true,
                |row: &Self, out| {
                    let sub = row.jwt().and_then(|jwt| jwt.sub);
                    if let Some(sub) = sub {
                        col::put_hex(out, &sub.0);
                    }
                    sub.is_some()
                },
            )
            .layout(Layout::Plain),
            col::text_opt(
                (
                    "jwt_alg",
                    "RFC 7518",
                    "`alg` of a JSON Web Token; empty when it states none. Read, never trusted.",
                ),
                |row: &Self| row.jwt().map(|jwt| &*jwt.alg),
            )
            .content(),
            col::text_opt(("jwt_iss", "", "`iss` of the token."), |row: &Self| {
                row.jwt().and_then(|jwt| jwt.iss.as_deref())
            })
            .content(),
            col::time_opt(("jwt_iat", "ns", "`iat` of the token."), |row: &Self| {
                row.jwt()
                    .and_then(|jwt| jwt.iat)
                    .map(|at| crate::time::CaptureTime::from_unix(at, 0))
            }),
            col::time_opt(("jwt_exp", "ns", "`exp` of the token."), |row: &Self| {
                row.jwt()
                    .and_then(|jwt| jwt.exp)
                    .map(|at| crate::time::CaptureTime::from_unix(at, 0))
            }),
            col::text_opt(
                (
                    "jwt_state",
                    "",
                    "What it is at packet time by the policy: `unverified` (nothing to object to; no capture shows whether a signature holds), `expired`, `no_exp`, `too_long`, `alg_none`, `alg_not_allowed`, `malformed`.",
                ),
                |row: &Self| row.jwt_state,
            ),
            col::boolean(
                ("is_api", "", "NS-03 judges it as an API's."),
                |row: &Self| row.is_api,
            ),
            col::boolean_opt(
                (
                    "rate_limit_should_deny",
                    "",
                    "By the policy's limit for the client (the flow's source) and endpoint it should have been denied.",
                ),
                |row: &Self| row.rate_limit_should_deny,
            ),
            protection(
                (
                    "sec_nosniff",
                    "",
                    "X-Content-Type-Options as the policy has it: `ok`, `missing`, `different`.",
                ),
                0,
            ),
            protection(("sec_frame", "", "X-Frame-Options, likewise."), 1),
            protection(("sec_xss", "", "X-XSS-Protection, likewise."), 2),
            protection(("sec_hsts", "", "Strict-Transport-Security, likewise."), 3),
            protection(("sec_csp", "", "Content-Security-Policy, likewise."), 4),
            lines(
                (
                    "header_names",
                    "",
                    "Names of the request's headers in their order, lower case.",
                ),
                Text::HeaderNames,
            ),
            col::boolean_opt(
                ("body_truncated", "", "A body is not there to its end."),
                |row: &Self| {
                    let request = row.tx.has_request && !row.tx.request.whole;
                    Some(request || row.tx.ts_response.is_some() && !row.tx.response.whole)
                },
            ),
            text(
                (
                    "rpc_method",
                    "JSON-RPC 2.0, gRPC",
                    "Method of a JSON-RPC request, as the Model Context Protocol uses it, or of a gRPC call: `package.Service/Method`.",
                ),
                Text::RpcMethod,
            ),
            col::text_opt(
                (
                    "model",
                    "",
                    "The language model that a request names: `model` of its JSON, else as its path has it. Prompts and answers are not kept.",
                ),
                |row: &Self| destination::model(&row.tx),
            )
            .content(),
            col::text_opt(
                (
                    "destination_class",
                    "",
                    "Which service of those that agents talk to: `mcp` by what is spoken, else by host or path as `rules/destinations.tsv` has them; null for any other.",
                ),
                |row: &Self| destination::of_transaction(&row.tx),
            ),
            col::list_text(
                (
                    "anomalies",
                    "",
                    "What was odd: `content_length_and_chunked`, `obs_fold`, `bare_lf`, `body_short`, `gap` and so on.",
                ),
                false,
                |row: &Self| Some(row.tx.oddities.names().map(Cow::Borrowed).collect()),
            ),
            super::checks::column(
                "How each check judged this transaction: `passed`, `warned`, `failed`, `refused`, `not_observed`, and why.",
                |row: &Self| &row.outcomes,
            ),
        ]);
        columns
    }

    fn sort_key(&self) -> (i64, i64) {
        (self.tx.ts.as_nanos(), self.flow.flow_id.0)
    }

    fn heap_bytes(&self) -> usize {
        size_of::<HttpTransaction>()
            + self.tx.heap_bytes()
            + self.outcomes.capacity() * size_of::<Outcome>()
            + self
                .outcomes
                .iter()
                .map(|outcome| outcome.detail.len() + outcome.reason.len())
                .sum::<usize>()
    }
}

impl HttpRow {
    /// See [`token`].
    fn jwt(&self) -> Option<&Jwt> {
        token(&self.tx)
    }
}

/// The first token of the request that says something of itself.
fn token(tx: &HttpTransaction) -> Option<&Jwt> {
    tx.credentials.iter().find_map(|known| known.jwt.as_deref())
}

fn protection(head: col::Head, which: usize) -> Column<HttpRow> {
    col::text_opt(head, move |row: &HttpRow| {
        let state = row.protection.get(which).copied().flatten();
        state.map(Protection::name)
    })
}
