//! Protocols outside TLS: recognised by content, read just far enough to say
//! what they are, whether they carried a credential, and whether they went on
//! to TLS (STARTTLS and its equivalents).

use crate::evidence::PacketRef;
use crate::proto::credential::SecretHash;
use crate::time::CaptureTime;

/// Where a secret stood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// What a protocol has for logging in.
    #[default]
    Login,
    /// A header.
    Header,
    /// A cookie that a client sent.
    Cookie,
    /// A cookie that a server set.
    SetCookie,
    /// The query of a URI.
    Query,
    /// The path of a URI.
    Path,
    /// A form.
    Form,
    /// A field of JSON.
    Json,
    /// Elsewhere in what was said.
    Payload,
}

impl Place {
    /// The name that tables use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Header => "header",
            Self::Cookie => "cookie",
            Self::SetCookie => "set_cookie",
            Self::Query => "query",
            Self::Path => "path",
            Self::Form => "form",
            Self::Json => "json",
            Self::Payload => "payload",
        }
    }
}

/// A credential seen in the clear, once for each place: never its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct CredentialSeen {
    /// `http_basic`, `http_bearer`, `cookie`, `ftp_password`, `smtp_auth_plain`, ….
    pub class: &'static str,
    /// Where it stood.
    pub place: Place,
    /// Name of the header, cookie, parameter or field.
    pub name: Option<Box<str>>,
    /// What it looks like, by the rules for secrets.
    pub shape: Option<&'static str>,
    /// Length of the secret in bytes.
    pub len: u32,
    /// Keyed hash of the secret; none where its bytes were not at hand.
    pub hash: Option<SecretHash>,
    /// Its last four characters, where they may be shown.
    pub last4: Option<[u8; 4]>,
    /// Keyed hash of the user that came with it.
    pub user: Option<SecretHash>,
    /// When first.
    pub ts: CaptureTime,
    /// Where first.
    pub packet: PacketRef,
    /// When last.
    pub ts_last: CaptureTime,
    /// How often.
    pub count: u64,
}

/// How far an upgrade to TLS came on one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StartTls {
    /// The server offered it and the client did not ask.
    OfferedNotTaken,
    /// The client asked, and the server refused.
    Refused,
    /// The server's list of capabilities was seen without it.
    NotOffered,
    /// The client asked without an offer being seen, or an offer looks mangled
    /// on the way (`250-XXXXXXXA`).
    Stripped,
    /// TLS followed.
    Taken,
}

/// One plaintext HTTP request and its answer, as far as NS-01 needs them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpExchange {
    /// When the request began.
    pub ts: CaptureTime,
    /// Its packet.
    pub packet: PacketRef,
    /// Method.
    pub method: String,
    /// Host header, lower case, port removed; or of an absolute URI.
    pub host: Option<String>,
    /// Path without query.
    pub path: String,
    /// Status code of the answer, when seen.
    pub status: Option<u16>,
    /// Whether it was answered by what certificates are judged by: an OCSP
    /// response, a revocation list, an issuer's certificate.
    pub pki: bool,
    /// For a redirect: scheme and host (lower case) of Location; path and query are dropped.
    pub location: Option<RedirectTarget>,
}

/// Where a redirect points.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedirectTarget {
    /// `http`, `https`, or empty for a relative reference.
    pub scheme: String,
    /// Host, lower case, port removed; empty for a relative reference.
    pub host: String,
}

/// What a flow said outside TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlaintextFacts {
    /// `http`, `ftp`, `telnet`, `smtp`, `imap`, `pop3`, `ldap`, `xmpp`,
    /// `postgresql`, `mysql`, `mqtt`, `redis`, `amqp`, `sip`, `irc`, `syslog`, ….
    /// Infrastructure (`dns`, `dhcp`, `ntp`, …) is named with
    /// `infrastructure` set, and is not judged as plaintext.
    pub protocol: &'static str,
    /// DNS, DHCP, NTP and the like: counted apart.
    pub infrastructure: bool,
    /// Encrypted by its own means (SSH, QUIC, DTLS, WireGuard, IKE, …): not plaintext.
    pub encrypted: bool,
    /// The packet that settled what it is.
    pub recognised: PacketRef,
    /// Credentials seen, at most 256.
    pub credentials: Vec<CredentialSeen>,
    /// Upgrade to TLS, for protocols that have one.
    pub starttls: Option<StartTls>,
    /// HTTP exchanges, at most 256; `http_exchanges` counts all.
    pub http: Vec<HttpExchange>,
    /// HTTP requests seen.
    pub http_exchanges: u64,
    /// DNS messages seen.
    pub dns_messages: u64,
}

impl PlaintextFacts {
    /// Heap bytes held, roughly.
    pub(crate) fn heap_bytes(&self) -> usize {
        let exchange = |exchange: &HttpExchange| {
            size_of::<HttpExchange>()
                + exchange.method.len()
                + exchange.path.len()
                + exchange.host.as_ref().map_or(0, String::len)
                + exchange
                    .location
                    .as_ref()
                    .map_or(0, |target| target.scheme.len() + target.host.len())
        };
        size_of::<Self>()
            + self.credentials.capacity() * size_of::<CredentialSeen>()
            + self.http.iter().map(exchange).sum::<usize>()
    }
}

// What the files below share.
pub(crate) mod reader;
pub(crate) use reader::append_wiping;
pub(crate) mod registry;
pub(crate) mod text;

// One file per protocol or small family; each has its line in `registry`.
mod dce_rpc;
mod desktop;
mod dns;
mod ftp;
pub mod http;
mod imap;
mod irc;
mod ldap;
mod messaging;
mod mysql;
mod named;
mod nntp;
mod pop3;
mod postgresql;
mod private;
mod redis;
mod smtp;
mod syslog;
mod telnet;
mod tunnels;
mod udp;
mod voice;
mod xmpp;
mod talk;

/// Credentials kept for one flow.
pub const MAX_CREDENTIALS: usize = 256;
/// HTTP exchanges kept for one flow.
pub const MAX_HTTP_EXCHANGES: usize = 256;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
