//! One HTTP request with its answer, of any version: sizes, headers that tell
//! something, credentials as class and length, oddities. Bodies are measured
//! while they pass and never kept.
//!
//! Texts of a transaction stand in one buffer, so that a row costs one
//! allocation however many headers it shows.

use crate::evidence::PacketRef;
use crate::proto::credential::{SecretHash, redact, redacted};
use crate::proto::plain::text::bounded;
use crate::time::CaptureTime;
use std::borrow::Cow;

/// The version that a transaction speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HttpVersion {
    /// HTTP/0.9 (RFC 1945 §4.1).
    V09,
    /// HTTP/1.0.
    V10,
    /// HTTP/1.1 (RFC 9112).
    #[default]
    V11,
    /// HTTP/2 (RFC 9113).
    V2,
}

impl HttpVersion {
    /// The name that tables use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V09 => "0.9",
            Self::V10 => "1.0",
            Self::V11 => "1.1",
            Self::V2 => "2",
        }
    }
}

macro_rules! oddities {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal;)+) => {
        /// What was odd about a transaction.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Oddity { $($(#[doc = $doc])+ $name,)+ }

        impl Oddity {
            /// Every oddity.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The name that tables use.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

oddities! {
    /// Two different Content-Length values (RFC 9112 §6.3).
    LengthTwice = "content_length_twice";
    /// A Content-Length that is no number.
    LengthInvalid = "content_length_invalid";
    /// Transfer-Encoding and Content-Length together (RFC 9112 §6.3).
    LengthAndChunked = "content_length_and_chunked";
    /// A Transfer-Encoding that is not plainly `chunked` at its end.
    CodingOdd = "transfer_encoding_odd";
    /// A line of the head ends with LF alone.
    BareLf = "bare_lf";
    /// A CR within the head that no LF follows.
    BareCr = "bare_cr";
    /// A folded header line (RFC 9112 §5.2).
    ObsFold = "obs_fold";
    /// Blanks between a header's name and its colon.
    SpaceBeforeColon = "space_before_colon";
    /// A header line that is none, or bytes that no header may have.
    FieldInvalid = "field_invalid";
    /// A start line with other than single blanks, or bytes that it may not have.
    StartLineOdd = "start_line_odd";
    /// More header lines than are read.
    TooManyFields = "too_many_fields";
    /// An HTTP/1.1 request without Host.
    HostMissing = "host_missing";
    /// More than one Host, or one that differs from the target.
    HostAmbiguous = "host_ambiguous";
    /// A chunk size with blanks, signs or a prefix, or a line of it with LF alone.
    ChunkSizeOdd = "chunk_size_odd";
    /// A chunk that no line end follows.
    ChunkEndOdd = "chunk_end_odd";
    /// A trailer that speaks of framing.
    TrailerOdd = "trailer_odd";
    /// The body ended before its stated length.
    BodyShort = "body_short";
    /// The body differs from its Content-Length (HTTP/2, RFC 9113 §8.1.1).
    LengthDiffers = "content_length_differs";
    /// An answer to no request of the capture.
    NoRequest = "request_not_captured";
    /// Bytes within the head or body are not in the capture.
    Gap = "gap";
    /// A body that inflates beyond every measure.
    Bomb = "decompression_bomb";
    /// A content coding that does not decode.
    CodingBroken = "content_coding_broken";
    /// The stream was reset (HTTP/2).
    Reset = "reset";
    /// The server pushed it (HTTP/2, RFC 9113 §8.4).
    Pushed = "pushed";
    /// Headers that refer to what the capture lacks: they are left out (HTTP/2, RFC 7541).
    HeadersUnknown = "h2_headers_unknown";
    /// A header that HTTP/2 forbids, or pseudo-headers that are wrong (RFC 9113 §8.2, §8.3).
    FieldsInvalidH2 = "h2_fields_invalid";
}

/// A set of oddities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Oddities(u32);

impl Oddities {
    /// Adds one.
    pub fn add(&mut self, oddity: Oddity) {
        self.0 |= 1 << oddity as u8;
    }

    /// Adds all of another set.
    pub fn extend(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Whether it is there.
    pub fn has(self, oddity: Oddity) -> bool {
        self.0 & 1 << oddity as u8 != 0
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Their names, in the order of their declaration.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Oddity::ALL
            .iter()
            .filter(move |oddity| self.has(**oddity))
            .map(|oddity| oddity.name())
    }

    /// Whether two readers of the same bytes may see different messages.
    pub fn is_ambiguous(self) -> bool {
        [
            Oddity::LengthTwice,
            Oddity::LengthInvalid,
            Oddity::LengthAndChunked,
            Oddity::CodingOdd,
            Oddity::BareLf,
            Oddity::BareCr,
            Oddity::ObsFold,
            Oddity::SpaceBeforeColon,
            Oddity::HostAmbiguous,
            Oddity::ChunkSizeOdd,
            Oddity::ChunkEndOdd,
            Oddity::TrailerOdd,
            Oddity::LengthDiffers,
            Oddity::FieldsInvalidH2,
        ]
        .into_iter()
        .any(|oddity| self.has(oddity))
    }
}

macro_rules! texts {
    ($($(#[doc = $doc:literal])+ $name:ident: $max:literal;)+) => {
        /// The texts that a transaction may have.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Text { $($(#[doc = $doc])+ $name,)+ }

        impl Text {
            const COUNT: usize = [$(Self::$name,)+].len();

            /// Most bytes kept of it.
            const fn max(self) -> usize {
                match self { $(Self::$name => $max,)+ }
            }
        }
    };
}

texts! {
    /// Method, as sent.
    Method: 32;
    /// `:scheme`, or that of an absolute target.
    Scheme: 16;
    /// Host without port, lower case.
    Host: 255;
    /// Path without query.
    Path: 1024;
    /// Names of the query's parameters; values only as lengths.
    Query: 1024;
    /// `User-Agent`.
    UserAgent: 256;
    /// `Referer` without query.
    Referrer: 512;
    /// `Origin`.
    Origin: 255;
    /// Media type of the request, lower case, without parameters.
    RequestType: 127;
    /// Name of the Authorization scheme, lower case.
    AuthScheme: 32;
    /// Names of the request's headers, lower case, a line each.
    HeaderNames: 2048;
    /// Reason phrase.
    ResponseMsg: 128;
    /// Media type of the answer, lower case, without parameters.
    ResponseType: 127;
    /// `Server`.
    Server: 128;
    /// `Location` without query.
    Location: 512;
    /// Names of the answer's headers, lower case, a line each.
    ResponseNames: 2048;
    /// Those headers of the answer that protect its readers: `name: value`, a line each.
    Protective: 2048;
    /// Method of JSON-RPC, or of gRPC.
    RpcMethod: 128;
    /// `model` of a JSON request.
    Model: 128;
    /// What a connection or stream went on with (RFC 9110 §7.8, RFC 8441), lower case.
    UpgradedTo: 64;
}

/// Texts in one buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    buffer: String,
    /// Start and length; a length of 0 and a start of 0 for none.
    spans: [(u32, u32); Text::COUNT],
}

impl Texts {
    /// The text; none when it was not there.
    pub fn get(&self, text: Text) -> Option<&str> {
        let (start, len) = self.spans.get(text as usize).copied()?;
        // The buffer begins with one byte that belongs to no text.
        (start > 0)
            .then(|| {
                self.buffer
                    .get(start as usize..(start as usize).saturating_add(len as usize))
            })
            .flatten()
    }

    /// Sets a text from bytes of the capture, bounded; the last one counts.
    pub(super) fn set(&mut self, text: Text, bytes: &[u8]) {
        let start = self.begin(text);
        // Before it is cut: half a secret has no look.
        let bytes = redacted(bytes);
        let bytes = bytes.get(..text.max()).unwrap_or(&bytes);
        match std::str::from_utf8(bytes) {
            Ok(plain) => self.buffer.push_str(plain),
            Err(_) => self.buffer.push_str(&bounded(bytes, text.max())),
        }
        self.end(text, start);
    }

    /// The same in lower case.
    pub(super) fn set_lower(&mut self, text: Text, bytes: &[u8]) {
        self.set(text, bytes);
        let (start, len) = self.spans[text as usize];
        let range = start as usize..(start as usize).saturating_add(len as usize);
        if let Some(there) = self.buffer.get_mut(range) {
            there.make_ascii_lowercase();
        }
    }

    /// Sets a text that `write` appends to the buffer.
    pub(super) fn write(&mut self, text: Text, write: impl FnOnce(&mut String)) {
        let start = self.begin(text);
        write(&mut self.buffer);
        if let Cow::Owned(shown) = redact(self.buffer.get(start..).unwrap_or_default()) {
            self.buffer.truncate(start);
            self.buffer.push_str(&shown);
        }
        let mut end = (start + text.max()).min(self.buffer.len());
        while !self.buffer.is_char_boundary(end) {
            end -= 1;
        }
        self.buffer.truncate(end);
        self.end(text, start);
    }

    fn begin(&mut self, _text: Text) -> usize {
        if self.buffer.is_empty() {
            self.buffer.reserve(256);
            self.buffer.push('\0');
        }
        self.buffer.len()
    }

    fn end(&mut self, text: Text, start: usize) {
        let len = self.buffer.len().saturating_sub(start);
        if let (Ok(start), Ok(len), Some(span)) = (
            u32::try_from(start),
            u32::try_from(len),
            self.spans.get_mut(text as usize),
        ) {
            *span = (start, len);
        }
    }

    /// Some texts, for tests.
    #[cfg(test)]
    pub(crate) fn of(texts: &[(Text, &str)]) -> Self {
        let mut out = Self::default();
        for (text, value) in texts {
            out.set(*text, value.as_bytes());
        }
        out
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.buffer.capacity()
    }
}

/// How much one side of a transaction sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Start line and headers as on the wire, trailers included; in HTTP/2 the
    /// size that RFC 9113 §6.5.2 gives (names, values, and 32 for each).
    pub header_bytes: u64,
    /// The body on the wire, without chunk sizes.
    pub body_bytes: u64,
    /// Content-Length as stated.
    pub content_length: Option<u64>,
    /// Whether the body is there to its end.
    pub whole: bool,
}

/// What was measured of a request's body of 1 KiB or more; see [`crate::proto::measure`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measured {
    /// Entropy of its first 64 KiB, 0 to 1.
    pub entropy: Option<f32>,
    /// Characters of base64 in runs that count.
    pub base64_bytes: u64,
    /// The longest of these runs.
    pub base64_max_run_bytes: u64,
    /// Whether it was under a content coding: compressed, as its sender says.
    pub coded: bool,
}

impl Eq for Measured {}

/// Where a credential stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Carrier {
    /// A header of the request.
    Header,
    /// A cookie.
    Cookie,
    /// The query.
    Query,
    /// The path.
    Path,
    /// The body.
    Body,
}

/// A credential of a request: never its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCredential {
    /// `http_basic`, `http_bearer`, `http_api_key`, `cookie`, `http_query_secret`, ….
    pub class: &'static str,
    /// Where it stood.
    pub carrier: Carrier,
    /// Name of the header, cookie or parameter, lower case.
    pub name: Box<str>,
    /// Length of the secret.
    pub len: u32,
    /// Its keyed hash.
    pub hash: SecretHash,
    /// Its last four characters, where they may be shown.
    pub last4: Option<[u8; 4]>,
    /// What it looks like, by the rules for secrets.
    pub shape: Option<&'static str>,
    /// What it says of itself, when it is a JSON Web Token.
    pub jwt: Option<Box<super::jwt::Jwt>>,
}

/// A cookie that an answer sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetCookie {
    /// Its name.
    pub name: Box<str>,
    /// Whether the name suggests a session.
    pub session: bool,
    /// `Secure`.
    pub secure: bool,
    /// `HttpOnly`.
    pub http_only: bool,
    /// `SameSite`, lower case.
    pub same_site: Option<Box<str>>,
}

/// One request with its answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpTransaction {
    /// When it began.
    pub ts: CaptureTime,
    /// The packet in which it began.
    pub packet: PacketRef,
    /// When the answer began.
    pub ts_response: Option<CaptureTime>,
    /// Its place on the connection, from 1.
    pub depth: u32,
    /// HTTP/2's stream.
    pub stream_id: Option<u32>,
    /// Version.
    pub version: HttpVersion,
    /// Whether it was read out of TLS.
    pub decrypted: bool,
    /// Whether the request's head was seen.
    pub has_request: bool,
    /// Port of the Host header or authority.
    pub host_port: Option<u16>,
    /// Status of the final answer.
    pub status: Option<u16>,
    /// Status of a gRPC call.
    pub grpc_status: Option<u16>,
    /// Whether a redirect leads to `https`.
    pub redirects_to_https: bool,
    /// Whether the answer is what certificates are judged by, by its media type
    /// and its first bytes.
    pub is_pki: bool,
    /// Whether the target's authority named a user.
    pub has_userinfo: bool,
    /// What the client sent.
    pub request: Sizes,
    /// What the server sent.
    pub response: Sizes,
    /// What was measured of the request's body; none for a short one.
    pub measured: Option<Measured>,
    /// Credentials of the request, at most 16.
    pub credentials: Vec<HttpCredential>,
    /// Cookies that the answer sets, at most 16.
    pub cookies: Vec<SetCookie>,
    /// Texts.
    pub texts: Texts,
    /// What was odd.
    pub oddities: Oddities,
}

impl HttpTransaction {
    /// A text; none when it was not there.
    pub fn text(&self, text: Text) -> Option<&str> {
        self.texts.get(text)
    }

    /// Status of the answer as HTTP has it; of a gRPC call, which is answered
    /// 200 however it ends, the one that `google.rpc.Code` maps its status to.
    pub fn outcome(&self) -> Option<u16> {
        let Some(status) = self.grpc_status else {
            return self.status;
        };
        Some(match status {
            0 => return self.status,
            1 => 499,
            3 | 9 | 11 => 400,
            4 => 504,
            5 => 404,
            6 | 10 => 409,
            7 => 403,
            8 => 429,
            12 => 501,
            14 => 503,
            16 => 401,
            _ => 500,
        })
    }

    /// Whether the request had a header of this name (lower case).
    pub fn has_header(&self, name: &str) -> bool {
        lines_have(self.text(Text::HeaderNames), name)
    }

    /// Whether the answer had a header of this name (lower case).
    pub fn has_response_header(&self, name: &str) -> bool {
        lines_have(self.text(Text::ResponseNames), name)
    }

    /// Values of a protective header of the answer, by its lower-case name.
    pub fn protective<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.text(Text::Protective)
            .unwrap_or_default()
            .lines()
            .filter_map(move |line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// Heap bytes held, roughly.
    pub fn heap_bytes(&self) -> usize {
        self.texts.heap_bytes()
            + self.credentials.capacity() * size_of::<HttpCredential>()
            + self.cookies.capacity() * size_of::<SetCookie>()
            + self
                .credentials
                .iter()
                .map(|credential| {
                    credential.name.len()
                        + credential
                            .jwt
                            .as_ref()
                            .map_or(0, |jwt| size_of_val(&**jwt) + jwt.heap_bytes())
                })
                .sum::<usize>()
            + self
                .cookies
                .iter()
                .map(|cookie| cookie.name.len() + cookie.same_site.as_ref().map_or(0, |s| s.len()))
                .sum::<usize>()
    }
}

fn lines_have(lines: Option<&str>, name: &str) -> bool {
    lines.is_some_and(|lines| lines.lines().any(|line| line == name))
}

/// Credentials and cookies kept of one transaction.
pub(super) const MAX_OF_A_KIND: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_bounded_and_apart() {
        let mut texts = Texts::default();
        texts.set(Text::Path, b"/a");
        texts.set_lower(Text::Host, b"A.Example");
        texts.set(Text::Query, b"");
        texts.set(Text::Method, &[b'x'; 99]);
        texts.write(Text::Origin, |out| out.push_str(&"é".repeat(200)));
        assert_eq!(texts.get(Text::Path), Some("/a"));
        assert_eq!(texts.get(Text::Host), Some("a.example"));
        assert_eq!(texts.get(Text::Query), Some(""));
        assert_eq!(texts.get(Text::Method).map(str::len), Some(32));
        assert_eq!(texts.get(Text::Origin).map(str::len), Some(254));
        assert_eq!(texts.get(Text::Server), None);
    }

    /// A header that is repeated is kept each time until the last one counts, and
    /// a text is whole before it is cut: what comes behind keeps its place.
    #[test]
    fn texts_behind_64_kib_keep_their_place() {
        let mut texts = Texts::default();
        texts.write(Text::Path, |out| out.push_str(&"/p".repeat(100_000)));
        for number in 0..300 {
            let value = format!("{number:03} {}", "w ".repeat(300));
            texts.set(Text::Referrer, value.as_bytes());
        }
        assert!(texts.buffer.len() > 1 << 16);
        texts.set(Text::UserAgent, b"last");
        texts.write(Text::Protective, |out| {
            out.push_str(&"x: y\n".repeat(50_000))
        });
        texts.set(Text::Server, b"behind");
        assert_eq!(texts.get(Text::UserAgent), Some("last"));
        assert_eq!(texts.get(Text::Server), Some("behind"));
        assert!(
            texts
                .get(Text::Referrer)
                .is_some_and(|text| text.starts_with("299 w w"))
        );
        assert_eq!(texts.get(Text::Path).map(str::len), Some(Text::Path.max()));
    }

    #[test]
    fn oddities_have_names_of_their_own() {
        let mut all = Oddities::default();
        for oddity in Oddity::ALL {
            all.add(*oddity);
        }
        let names: std::collections::BTreeSet<_> = all.names().collect();
        assert_eq!(names.len(), Oddity::ALL.len());
        assert!(Oddity::ALL.len() <= 32);
    }
}
