//! What flows say: recognised by content, parsed, measured. Gives owned facts
//! and no opinions; a secret seen in passing leaves only as class and length.
//!
//! [`session::Session`] holds the parser of one flow. It is fed stream bytes in order,
//! gaps, and the end; what it says about the next bytes ([`Want`]) keeps the
//! reassembler from touching payload that nobody reads.

use crate::anomaly::AnomalyLog;
use crate::evidence::PacketRef;
use crate::pki::{Cert, Crl, Response};
use crate::policy::Limits;
use crate::time::CaptureTime;

pub mod x509;
pub mod credential;
pub mod tls;
mod assembly;
pub mod secrets;
pub mod measure;
pub mod dns;
pub mod icmp;
pub mod plain;
pub mod destination;
mod dtls;
mod quic;
mod inside;
pub mod session;
#[cfg(test)]
pub(crate) mod stage;

/// Which end of the flow sent something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// From the originator to the responder.
    Orig,
    /// From the responder to the originator.
    Resp,
}

impl Direction {
    /// The other end.
    pub const fn flip(self) -> Self {
        match self {
            Self::Orig => Self::Resp,
            Self::Resp => Self::Orig,
        }
    }

    /// 0 for the originator, 1 for the responder: an index into pairs.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// This end's of a pair that has one for each.
    pub const fn of<T>(self, [orig, resp]: &mut [T; 2]) -> &mut T {
        match self {
            Self::Orig => orig,
            Self::Resp => resp,
        }
    }
}

/// What a parser wants of the bytes that follow in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Deliver them.
    Bytes,
    /// The next so many bytes of this direction's stream say nothing; count
    /// them without touching them, then deliver again.
    Skip(u64),
    /// Nothing more of this direction.
    Nothing,
}

/// Whether bytes are a protocol's beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// They are.
    Yes,
    /// They are not.
    No,
    /// More bytes are needed to tell.
    NeedMore,
}

/// What a parser is told along with the bytes.
pub struct Cx<'a> {
    /// Time of the packet that completed these bytes.
    pub ts: CaptureTime,
    /// That packet.
    pub packet: PacketRef,
    /// Oddities of this flow.
    pub anomalies: &'a mut AnomalyLog,
    /// The policy's limits.
    pub limits: &'a Limits,
    /// Certificates already seen by this shard.
    pub certificates: &'a mut x509::CertificateCache,
    /// Turns secrets into what may leave of them.
    pub redactor: &'a credential::Redactor,
    /// Ports `(originator, responder)`: a hint, never a proof.
    pub ports: (u16, u16),
    /// Where rows go that are whole before their flow ends.
    pub rows: &'a mut Vec<LiveRow>,
    /// Secrets to decrypt with, where there are any.
    pub secrets: Option<&'a secrets::KeyLog>,
}

/// A row that is whole while its flow goes on. It leaves the flow at once, so
/// that a flow which lives for days does not hold millions of them.
#[derive(Debug)]
pub enum LiveRow {
    /// For `http_transactions`.
    Http(Box<plain::http::HttpTransaction>),
    /// For `dns_queries`.
    Dns(dns::DnsQuery),
    /// What the checks of certificates are told.
    Pki(Box<PkiBody>),
    /// A session that later ones may resume.
    Session(Box<tls::SessionSeen>),
}

/// A body that speaks of certificates, fetched over HTTP in the clear.
#[derive(Debug)]
pub struct PkiBody {
    /// What it says to be.
    pub kind: PkiKind,
    /// As it passed.
    pub bytes: std::sync::Arc<[u8]>,
}

/// What a body is, by its media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PkiKind {
    /// An OCSP response (RFC 6960 §A.2).
    Ocsp,
    /// A revocation list (RFC 2585 §4.2).
    Crl,
    /// A certificate (RFC 2585 §4.1).
    Certificate,
}

impl PkiKind {
    /// Whether a body is what its media type says.
    pub(crate) fn is(self, body: &std::sync::Arc<[u8]>) -> bool {
        match self {
            Self::Ocsp => Response::parse(body).is_some(),
            Self::Crl => Crl::parse(body).is_some(),
            Self::Certificate => Cert::parse(body).is_some_and(|cert| cert.malformed.is_empty()),
        }
    }

    /// Whether a body of `len` bytes, too long to be kept, begins as a revocation
    /// list does: one SEQUENCE over all of it, in which the first element is what
    /// is signed (X.690 §8.1; RFC 5280 §5.1). Nothing else is as long.
    pub(crate) fn is_begun_by(self, bytes: &[u8], len: u64) -> bool {
        self == Self::Crl && self.length(bytes) == Some(len)
    }

    /// How long a body that begins so says to be, where it begins as its kind
    /// does: with a SEQUENCE, in which the first element is the status of an OCSP
    /// response, or what is signed of a list or a certificate (X.690 §8.1; RFC
    /// 6960 §4.2.1, RFC 5280 §4.1 and §5.1).
    pub(crate) fn length(self, bytes: &[u8]) -> Option<u64> {
        const SEQUENCE: u8 = 0x30;
        const ENUMERATED: u8 = 0x0a;
        let (head, content) = match bytes {
            [SEQUENCE, short @ ..=0x7f, ..] => (2, u64::from(*short)),
            [SEQUENCE, long @ 0x81..=0x84, rest @ ..] => {
                let octets = usize::from(long & 0x7f);
                let octets = rest.get(..octets)?;
                let number = |sum: u64, octet: &u8| sum << 8 | u64::from(*octet);
                (2 + octets.len(), octets.iter().fold(0, number))
            }
            _ => return None,
        };
        let first = match self {
            Self::Ocsp => ENUMERATED,
            Self::Crl | Self::Certificate => SEQUENCE,
        };
        (bytes.get(head) == Some(&first)).then_some(head as u64 + content)
    }
}

/// How a service was recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Confidence {
    /// By its content.
    Content,
    /// By its port alone.
    Port,
}

impl Confidence {
    /// The name that tables use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Content => "dpi",
            Self::Port => "port",
        }
    }
}

/// Everything that a flow's content said, once the flow has ended.
#[derive(Debug, Default)]
pub struct SessionFacts {
    /// Zeek-like service names, outermost first, joined by `,` when several
    /// (`smtp,ssl` after STARTTLS).
    pub service: Option<std::borrow::Cow<'static, str>>,
    /// The same names one by one, of those that content showed.
    pub services: Vec<&'static str>,
    /// How it was recognised.
    pub confidence: Option<Confidence>,
    /// TLS handshakes in the order in which they began.
    pub tls: Vec<tls::TlsHandshake>,
    /// What was said outside TLS.
    pub plaintext: Option<Box<plain::PlaintextFacts>>,
    /// How evenly the bytes of each direction's beginning are spread, `[orig, resp]`;
    /// none for what is encrypted by design, for infrastructure, and for HTTP.
    pub entropy: [Option<f32>; 2],
    /// Payload bytes that were seen to be encrypted, `[orig, resp]`.
    pub bytes_encrypted: [u64; 2],
    /// Payload bytes that were seen to be readable, `[orig, resp]`.
    pub bytes_plaintext: [u64; 2],
}
