//! NS-03, API endpoint security: what HTTP transactions show of authentication,
//! limits and headers. One file per check; what takes several transactions to
//! see stands in [`behaviour`].

mod auth_missing;
mod authorization;
mod content_type;
mod cookie;
mod credential_in_url;
mod credential_plaintext;
mod header_size;
mod invalid_credential_accepted;
mod jwt;
mod rate_limit;
mod request_size;
mod security_headers;

pub mod behaviour;

#[cfg(test)]
mod cases;

use super::{Audit, Meta, Outcome};
use crate::flow::FlowHead;
use crate::policy::{MethodKind, Policy};
use crate::proto::plain::http::{Carrier, HttpTransaction, Text};

pub use jwt::state as token_state;
pub use security_headers::{Protection, protection};

/// The checks, sorted by id.
pub(super) const CHECKS: &[&dyn Audit] = &[
    &auth_missing::AuthMissing,
    &authorization::Authorization,
    &content_type::ContentType,
    &cookie::Cookie,
    &credential_in_url::CredentialInUrl,
    &credential_plaintext::CredentialPlaintext,
    &header_size::HeaderSize,
    &invalid_credential_accepted::InvalidCredentialAccepted,
    &jwt::Jwt,
    &rate_limit::RateLimit,
    &request_size::RequestSize,
    &security_headers::SecurityHeaders,
];

/// Those that judge what is no API as well: credentials are secrets anywhere.
pub(super) const ANYWHERE: &[&dyn Audit] = &[
    &credential_in_url::CredentialInUrl,
    &credential_plaintext::CredentialPlaintext,
];

/// Those that judge what a flow of any protocol said outside TLS.
pub(super) const IN_PLAINTEXT: &[&dyn Audit] = &[&credential_plaintext::CredentialPlaintext];

/// Whether a transaction belongs to an API: by the policy's `api.endpoints`
/// where there are any, else by what it carries or its path.
pub fn is_api(policy: &Policy, flow: &FlowHead, tx: &HttpTransaction) -> bool {
    let patterns = &policy.api.endpoints;
    if !patterns.is_empty() {
        return patterns.iter().any(|pattern| names(pattern, flow, tx));
    }
    let machine = |text| tx.text(text).is_some_and(is_machine_format);
    machine(Text::RequestType)
        || machine(Text::ResponseType)
        || tx.text(Text::AuthScheme).is_some()
        || tx
            .credentials
            .iter()
            .any(|known| known.class == "http_api_key")
        || policy
            .api
            .authentication
            .methods
            .iter()
            .any(|method| tx.has_header(&method.header.to_ascii_lowercase()))
        || tx.text(Text::Path).is_some_and(is_api_path)
}

/// Whether `host:port/path`, of which parts may be missing, names where a
/// transaction went. `*` stands for any run of characters.
fn names(pattern: &str, flow: &FlowHead, tx: &HttpTransaction) -> bool {
    let pattern = pattern
        .split_once("://")
        .map_or(pattern, |(_, pattern)| pattern);
    let (authority, path) = match pattern.find('/') {
        Some(at) => pattern.split_at(at),
        None => (pattern, ""),
    };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port),
        _ => (authority, ""),
    };
    let host_fits = host.is_empty()
        || match tx.text(Text::Host) {
            Some(name) => glob(host, name),
            None => glob(host, &flow.dst.to_string()),
        };
    let port_fits = port.is_empty() || port.parse() == Ok(flow.dst_port);
    let path_fits = path.is_empty()
        || path == "/"
        || tx
            .text(Text::Path)
            .is_some_and(|there| glob(path, there) || is_below(path.trim_end_matches('/'), there));
    host_fits && port_fits && path_fits
}

fn glob(pattern: &str, text: &str) -> bool {
    crate::policy::glob(pattern.as_bytes(), text.as_bytes())
}

/// Whether a path is another, or lies below it.
fn is_below(above: &str, path: &str) -> bool {
    path.strip_prefix(above)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn is_machine_format(media_type: &str) -> bool {
    const TYPES: &[&str] = &[
        "application/json",
        "application/xml",
        "text/xml",
        "application/x-ndjson",
        "application/jsonl",
        "application/graphql",
        "application/x-protobuf",
        "application/protobuf",
        "application/msgpack",
        "application/x-msgpack",
        "application/cbor",
    ];
    TYPES.contains(&media_type)
        || media_type.starts_with("application/grpc")
        || (media_type.starts_with("application/")
            && ["+json", "+xml", "+cbor"].iter().any(|end| media_type.ends_with(end))
            // Pages and feeds for browsers.
            && !matches!(media_type, "application/xhtml+xml" | "application/rss+xml" | "application/atom+xml" | "application/manifest+json"))
}

fn is_api_path(path: &str) -> bool {
    let first = path.trim_start_matches('/').split('/').next();
    let first = first.unwrap_or_default().to_ascii_lowercase();
    let version = first.strip_prefix('v').is_some_and(|rest| {
        rest.starts_with(|first: char| first.is_ascii_digit()) && rest.len() <= 8
    });
    version || first.starts_with("api") || matches!(&*first, "graphql" | "rpc" | "mcp")
}

/// Whether a request names itself by one of the policy's methods.
fn is_authenticated(policy: &Policy, tx: &HttpTransaction) -> bool {
    policy.api.authentication.methods.iter().any(|method| {
        let header = method.header.to_ascii_lowercase();
        let scheme = method
            .format
            .as_deref()
            .and_then(|format| format.split_once(' '))
            .map(|(scheme, _)| scheme);
        match (method.kind, scheme) {
            (MethodKind::BearerToken, scheme) if header == "authorization" => {
                let scheme = scheme.unwrap_or("Bearer");
                let same = |there: &str| there.eq_ignore_ascii_case(scheme);
                tx.text(Text::AuthScheme).is_some_and(same)
                    && credential(tx).is_some_and(|known| known.carrier == Carrier::Header)
            }
            _ => tx.has_header(&header),
        }
    })
}

/// What a request proves itself by: a token, key or password in a header.
fn credential(tx: &HttpTransaction) -> Option<&crate::proto::plain::http::HttpCredential> {
    tx.credentials
        .iter()
        .find(|known| known.carrier == Carrier::Header)
}

/// A size that the policy limits.
struct Size {
    what: &'static str,
    limit: f64,
    /// Bytes on the wire.
    sent: u64,
    /// Bytes that were announced.
    stated: u64,
    /// Statuses by which a server refuses it.
    refusals: &'static [u16],
}

/// How a request was answered of which something is limited.
fn sized(meta: &'static Meta, tx: &HttpTransaction, size: &Size) -> Vec<Outcome> {
    let Size {
        what, limit, sent, ..
    } = *size;
    if !tx.has_request {
        return Vec::new();
    }
    // gRPC says RESOURCE_EXHAUSTED of what is too large.
    let refuses = |status| size.refusals.contains(&status) || tx.grpc_status == Some(8);
    vec![match tx.outcome() {
        Some(status) if sent.max(size.stated) as f64 > limit && refuses(status) => {
            Outcome::refused(meta, subject(tx), "refused for its size")
        }
        _ if sent as f64 <= limit => Outcome::passed(meta),
        None => Outcome::not_observed(meta, NO_ANSWER),
        Some(status) => Outcome::violated(
            meta,
            meta.severity,
            subject(tx),
            format!("a {what} of {sent} bytes (limit {limit}) was answered {status}"),
        ),
    }]
}

/// Success (RFC 9110 §15.3).
fn is_served(status: u16) -> bool {
    (200..300).contains(&status)
}

/// Refused for want of a right (RFC 9110 §15.5.2, §15.5.4).
fn is_refused(status: u16) -> bool {
    matches!(status, 401 | 403)
}

/// A path with what names one thing of many put aside, so that the requests
/// for all of them are one endpoint's.
pub(super) fn endpoint(path: &str) -> String {
    let is_name_of_one = |segment: &str| {
        let hex = segment
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        let digits = segment.bytes().all(|byte| byte.is_ascii_digit());
        !segment.is_empty() && (digits || hex && segment.len() >= 16)
    };
    let segments = path.split('/').map(|segment| {
        if is_name_of_one(segment) {
            "{id}"
        } else {
            segment
        }
    });
    segments.collect::<Vec<_>>().join("/")
}

/// Method and endpoint: what tells findings of one API apart.
fn subject(tx: &HttpTransaction) -> String {
    let method = tx.text(Text::Method).unwrap_or_default();
    format!("{method} {}", endpoint(tx.text(Text::Path).unwrap_or("/")))
}

const NO_ANSWER: &str = "the answer is not in the capture";
const NO_REQUEST: &str = "the request is not in the capture";
