//! What is read of a body while it passes, for every version of HTTP alike:
//! forms for passwords, JSON for methods, models and passwords, DNS messages.
//! Of bodies themselves only those are kept that certificates are judged by.

use super::super::reader::{Role, Scene, append_wiping};
use super::content::{self, Coding, Json, MAX_DECODED};
use super::doh::{Doh, MAX_MESSAGE};
use super::inflate::{Inflate, State};
use super::scan::Scan;
use super::transaction::{Carrier, HttpTransaction, HttpVersion, Oddity, Text};
use super::{fields, head, secrets};
use crate::anomaly::AnomalyKind;
use crate::pki::Crl;
use crate::proto::credential::{self, Where, is_secret, shapes};
use crate::proto::{LiveRow, PkiBody, PkiKind};
use zeroize::Zeroizing;

/// Bytes of a method or model that are shown.
const MAX_SHOWN: usize = 128;
/// Bytes of a JSON body that are looked at.
const MAX_JSON: u64 = 1 << 20;

/// What is done with a body while it passes: read, measured, or neither.
#[derive(Debug, Default)]
pub(super) struct Peek {
    reading: Reading,
    scan: Scan,
    secrets: Secrets,
}

/// What is looked through for secrets because the bytes of the connection do
/// not show it.
#[derive(Debug, Default)]
enum Secrets {
    /// Nothing: it is no text, or is looked at as it passes.
    #[default]
    Nothing,
    /// A body of HTTP/2, which comes in frames among those of others.
    Plain(Box<credential::Scan>),
    /// A body that is decoded as it passes, and who sends it.
    Inflate(Box<Inflate>, Role),
    /// A body under another coding: its beginning.
    Coded {
        kept: Zeroizing<Vec<u8>>,
        coding: Coding,
    },
}

/// What is read of a body.
#[derive(Debug, Default)]
enum Reading {
    #[default]
    Nothing,
    /// A form, or a body under a coding: its beginning.
    Whole {
        kept: Zeroizing<Vec<u8>>,
        coding: Coding,
        json: bool,
    },
    Json(Box<JsonPeek>),
    /// A DNS message.
    Dns(Zeroizing<Vec<u8>>),
    /// What speaks of certificates, whole or not at all.
    Pki {
        kept: Vec<u8>,
        kind: PkiKind,
    },
    /// Bytes of no type that may be a revocation list, as long as they may.
    List(Vec<u8>),
}

#[derive(Debug, Default)]
struct JsonPeek {
    json: Json,
    taken: u64,
    method: Option<String>,
    model: Option<String>,
    is_rpc: bool,
}

impl Peek {
    /// What is done with a request's body.
    pub(super) fn of_request(tx: &HttpTransaction, fields: &[head::Field<'_>]) -> Self {
        let reading = Reading::of_request(tx, fields);
        Self {
            secrets: Secrets::of(tx, Role::Client, fields, &reading),
            scan: Scan::of_request(tx, fields),
            reading,
        }
    }

    /// What is done with an answer's.
    pub(super) fn of_answer(tx: &HttpTransaction, fields: &[head::Field<'_>]) -> Self {
        let reading = Reading::of_answer(tx);
        Self {
            secrets: Secrets::of(tx, Role::Server, fields, &reading),
            scan: Scan::Off,
            reading,
        }
    }

    /// Whether it may pass unseen.
    pub(super) fn is_nothing(&self) -> bool {
        matches!(
            (&self.reading, &self.scan, &self.secrets),
            (Reading::Nothing, Scan::Off, Secrets::Nothing)
        )
    }

    /// Does without a decoder that has not begun, since much is held already.
    pub(super) fn spare(&mut self, scene: &mut Scene<'_, '_>) {
        if let Secrets::Inflate(inflate, _) = &self.secrets
            && inflate.is_new()
        {
            self.secrets = Secrets::Nothing;
            let cx = &mut *scene.cx;
            cx.anomalies
                .note(AnomalyKind::HttpLimit, cx.ts, cx.packet, || {
                    "more compressed bodies at once than are looked through".to_owned()
                });
        }
    }

    /// The next bytes; whether more are wanted.
    pub(super) fn push(
        &mut self,
        scene: &mut Scene<'_, '_>,
        tx: &mut HttpTransaction,
        bytes: &[u8],
    ) -> bool {
        self.scan.push(bytes);
        let is_read = self.reading.push(scene, tx, bytes);
        let is_searched = self.secrets.push(scene, tx, bytes);
        is_read || is_searched || !matches!(self.scan, Scan::Off)
    }

    /// Bytes are missing: what is left cannot be read, but measured.
    pub(super) fn gap(&mut self) {
        self.reading = Reading::Nothing;
        self.scan.gap();
        self.secrets.gap();
    }

    /// The body has ended, which this side sent.
    pub(super) fn finish(
        self,
        scene: &mut Scene<'_, '_>,
        tx: &mut HttpTransaction,
        doh: &mut Doh,
        from: Role,
    ) {
        self.scan.finish(tx);
        self.secrets.finish(scene, tx, from);
        self.reading.finish(scene, tx, doh, from);
    }

    /// The capture ends within the body: what was measured of it counts.
    pub(super) fn cut_off(self, tx: &mut HttpTransaction) {
        self.scan.finish(tx);
    }

    /// Heap bytes held.
    pub(super) fn heap_bytes(&self) -> usize {
        self.reading.heap_bytes() + self.scan.heap_bytes() + self.secrets.heap_bytes()
    }
}

impl Secrets {
    /// For a body of one side with these headers.
    fn of(tx: &HttpTransaction, from: Role, fields: &[head::Field<'_>], reading: &Reading) -> Self {
        let media_type = match from {
            Role::Client => Text::RequestType,
            Role::Server => Text::ResponseType,
        };
        if !fields::is_readable(tx.text(media_type)) {
            return Self::Nothing;
        }
        match Coding::of(head::value(fields, b"content-encoding")) {
            Coding::Identity if tx.version == HttpVersion::V2 => Self::Plain(Box::default()),
            Coding::Identity | Coding::Other => Self::Nothing,
            coding => match Inflate::new(coding) {
                Some(inflate) => Self::Inflate(Box::new(inflate), from),
                // It is decoded there.
                None if matches!(reading, Reading::Whole { .. }) => Self::Nothing,
                None => Self::Coded {
                    kept: Zeroizing::default(),
                    coding,
                },
            },
        }
    }

    /// The next bytes; whether more are wanted.
    fn push(&mut self, scene: &mut Scene<'_, '_>, tx: &mut HttpTransaction, bytes: &[u8]) -> bool {
        match self {
            Self::Nothing => false,
            Self::Plain(scan) => {
                scan.push(shapes(), bytes, &mut |secret, class| {
                    scene.shape(secret, class);
                });
                true
            }
            Self::Inflate(inflate, from) => {
                let limits = scene.cx.limits;
                let bounds = (limits.http_body_ratio, limits.http_inflated_bytes);
                let state = inflate.push(bytes, bounds, &mut |secret, class| {
                    scene.shape(secret, class);
                });
                match state {
                    State::Open => return true,
                    State::Over => {}
                    State::Bomb => bomb(scene, tx, *from),
                    State::Long => longer(scene, limits.http_inflated_bytes),
                    State::Broken => tx.oddities.add(Oddity::CodingBroken),
                }
                if let Self::Inflate(inflate, _) = std::mem::take(self) {
                    inflate.end(&mut |secret, class| scene.shape(secret, class));
                }
                false
            }
            Self::Coded { kept, .. } => {
                let max = usize::try_from(scene.cx.limits.http_body_bytes).unwrap_or(usize::MAX);
                let room = max.saturating_sub(kept.len());
                append_wiping(kept, bytes.get(..room).unwrap_or(bytes));
                kept.len() < max
            }
        }
    }

    /// Bytes are missing here: nothing that was open goes on behind them.
    fn gap(&mut self) {
        match self {
            Self::Nothing => {}
            Self::Plain(scan) => scan.cut(),
            Self::Inflate(..) | Self::Coded { .. } => *self = Self::Nothing,
        }
    }

    /// The body has ended, which this side sent.
    fn finish(self, scene: &mut Scene<'_, '_>, tx: &mut HttpTransaction, from: Role) {
        match self {
            Self::Nothing => {}
            Self::Plain(mut scan) => scan.end(shapes(), &mut |secret, class| {
                scene.shape(secret, class);
            }),
            Self::Inflate(inflate, _) => inflate.end(&mut |secret, class| {
                scene.shape(secret, class);
            }),
            Self::Coded { kept, coding } if !kept.is_empty() => {
                let decoded = decoded(scene, tx, coding, &kept, from);
                scene.shapes_of(&decoded);
            }
            Self::Coded { .. } => {}
        }
    }

    /// Heap bytes held.
    fn heap_bytes(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Plain(scan) => size_of::<credential::Scan>() + scan.heap_bytes(),
            Self::Inflate(inflate, _) => inflate.heap_bytes(),
            Self::Coded { kept, .. } => kept.capacity(),
        }
    }
}

/// The beginning of a body under a coding, decoded, and what was odd about it.
fn decoded(
    scene: &mut Scene<'_, '_>,
    tx: &mut HttpTransaction,
    coding: Coding,
    kept: &[u8],
    from: Role,
) -> Zeroizing<Vec<u8>> {
    let decoded = content::decode(coding, kept, scene.cx.limits.http_body_ratio);
    let most = scene.cx.limits.http_body_bytes;
    if decoded.bomb {
        bomb(scene, tx, from);
    } else if !Inflate::reads(coding)
        && (decoded.bytes.len() >= MAX_DECODED || kept.len() as u64 >= most)
    {
        longer(scene, most.min(MAX_DECODED as u64));
    }
    if decoded.broken {
        tx.oddities.add(Oddity::CodingBroken);
    }
    decoded.bytes
}

/// A body inflates beyond the ratio.
fn bomb(scene: &mut Scene<'_, '_>, tx: &mut HttpTransaction, from: Role) {
    if tx.oddities.has(Oddity::Bomb) {
        return;
    }
    tx.oddities.add(Oddity::Bomb);
    let cx = &mut *scene.cx;
    let whose = match from {
        Role::Client => "a request's body",
        Role::Server => "an answer's body",
    };
    cx.anomalies
        .note(AnomalyKind::HttpBomb, cx.ts, cx.packet, || {
            format!("{whose}; some {MAX_DECODED} bytes of it were read")
        });
}

/// A body under a coding is longer than is looked through.
fn longer(scene: &mut Scene<'_, '_>, most: u64) {
    let cx = &mut *scene.cx;
    cx.anomalies
        .note(AnomalyKind::HttpLimit, cx.ts, cx.packet, || {
            format!(
                "a compressed body; what is behind some {most} bytes of it was not looked through"
            )
        });
}

impl Reading {
    /// What of a request's body is read: forms for passwords, JSON for methods,
    /// models and passwords.
    fn of_request(tx: &HttpTransaction, fields: &[head::Field<'_>]) -> Self {
        let Some(media_type) = tx.text(Text::RequestType) else {
            return Self::Nothing;
        };
        let (form, json) = (fields::is_form(media_type), fields::is_json(media_type));
        if media_type == fields::DNS_MESSAGE {
            return Self::Dns(Zeroizing::default());
        }
        match Coding::of(head::value(fields, b"content-encoding")) {
            Coding::Identity if json => Self::Json(Box::default()),
            Coding::Other => Self::Nothing,
            coding if form || json => Self::Whole {
                kept: Zeroizing::default(),
                coding,
                json,
            },
            _ => Self::Nothing,
        }
    }

    /// What of an answer's body is read: DNS messages, and what speaks of
    /// certificates (RFC 2585 §4, RFC 6960 §A.2).
    fn of_answer(tx: &HttpTransaction) -> Self {
        let kind = match tx.text(Text::ResponseType) {
            Some(fields::DNS_MESSAGE) => return Self::Dns(Zeroizing::default()),
            Some("application/ocsp-response") => PkiKind::Ocsp,
            Some("application/pkix-crl" | "application/x-pkcs7-crl") => PkiKind::Crl,
            Some("application/pkix-cert" | "application/x-x509-ca-cert") => PkiKind::Certificate,
            // Many serve lists so.
            None | Some("application/octet-stream") if tx.status == Some(200) => {
                return Self::List(Vec::new());
            }
            _ => return Self::Nothing,
        };
        match tx.status {
            Some(200) => Self::Pki {
                kept: Vec::new(),
                kind,
            },
            _ => Self::Nothing,
        }
    }

    /// The next bytes; whether more are wanted.
    fn push(&mut self, scene: &mut Scene<'_, '_>, tx: &mut HttpTransaction, bytes: &[u8]) -> bool {
        match self {
            Self::Nothing => false,
            Self::Whole { kept, .. } => {
                let max = usize::try_from(scene.cx.limits.http_body_bytes).unwrap_or(usize::MAX);
                let room = max.saturating_sub(kept.len());
                append_wiping(kept, bytes.get(..room).unwrap_or(bytes));
                kept.len() < max
            }
            Self::Dns(kept) => {
                let room = MAX_MESSAGE.saturating_sub(kept.len());
                append_wiping(kept, bytes.get(..room).unwrap_or(bytes));
                kept.len() < MAX_MESSAGE
            }
            Self::Json(peek) => {
                peek.push(scene, tx, bytes);
                peek.taken < MAX_JSON && !peek.json.is_over()
            }
            Self::Pki { kept, kind } => {
                let cx = &mut *scene.cx;
                if bytes.len() > cx.limits.pki_body_bytes.saturating_sub(kept.len()) {
                    let kind = *kind;
                    let begins = if kept.is_empty() { bytes } else { &**kept };
                    let stated = tx.response.content_length;
                    tx.is_pki = stated.is_some_and(|len| kind.is_begun_by(begins, len));
                    cx.anomalies
                        .note(AnomalyKind::HttpLimit, cx.ts, cx.packet, || {
                            format!("a body ({kind:?}) longer than limits.pki_body_bytes")
                        });
                    *self = Self::Nothing;
                    return false;
                }
                kept.extend_from_slice(bytes);
                true
            }
            Self::List(kept) => {
                let max = scene.cx.limits.pki_body_bytes;
                // Of what is none, which may be secret, nothing is kept.
                let may_begin = !kept.is_empty() || may_be_list(bytes, max);
                if may_begin && bytes.len() <= max.saturating_sub(kept.len()) {
                    kept.extend_from_slice(bytes);
                    if may_be_list(kept, max) {
                        return true;
                    }
                }
                *self = Self::Nothing;
                false
            }
        }
    }

    /// The body has ended, which this side sent.
    fn finish(
        self,
        scene: &mut Scene<'_, '_>,
        tx: &mut HttpTransaction,
        doh: &mut Doh,
        from: Role,
    ) {
        match self {
            Self::Nothing => {}
            Self::Dns(message) => doh.message(scene, from, &message),
            Self::Json(peek) => peek.finish(tx),
            Self::Pki { kept, kind } => {
                if !kept.is_empty() {
                    let bytes = kept.into();
                    tx.is_pki = kind.is(&bytes);
                    let body = Box::new(PkiBody { kind, bytes });
                    scene.cx.rows.push(LiveRow::Pki(body));
                }
            }
            Self::List(kept) => {
                let bytes = kept.into();
                if Crl::parse(&bytes).is_some_and(|list| list.is_signed_as_known()) {
                    tx.is_pki = true;
                    let kind = PkiKind::Crl;
                    let body = Box::new(PkiBody { kind, bytes });
                    scene.cx.rows.push(LiveRow::Pki(body));
                }
            }
            Self::Whole {
                mut kept,
                coding,
                json,
            } => {
                if coding != Coding::Identity {
                    kept = decoded(scene, tx, coding, &kept, from);
                    // Others were looked through as they passed.
                    if !Inflate::reads(coding) {
                        scene.shapes_of(&kept);
                    }
                }
                if json {
                    let mut peek = JsonPeek::default();
                    peek.push(scene, tx, &kept);
                    peek.finish(tx);
                } else {
                    secrets::of_form(scene, tx, &kept);
                }
            }
        }
    }

    /// Heap bytes held.
    fn heap_bytes(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Whole { kept, .. } => kept.capacity(),
            Self::Dns(kept) => kept.capacity(),
            Self::Pki { kept, .. } | Self::List(kept) => kept.capacity(),
            Self::Json(peek) => size_of::<JsonPeek>() + peek.json.heap_bytes(),
        }
    }
}

/// Whether these may be the first bytes of a revocation list of at most `max` bytes.
fn may_be_list(begins: &[u8], max: usize) -> bool {
    // Identifier and length of the list, then the identifier of what is signed.
    const HEAD: usize = 7;
    match PkiKind::Crl.length(begins) {
        Some(len) => (begins.len() as u64..=max as u64).contains(&len),
        None => begins.len() < HEAD && matches!(begins, [] | [0x30, ..]),
    }
}

impl JsonPeek {
    fn push(&mut self, scene: &mut Scene<'_, '_>, tx: &mut HttpTransaction, bytes: &[u8]) {
        self.taken = self.taken.saturating_add(bytes.len() as u64);
        let Self {
            json,
            method,
            model,
            is_rpc,
            ..
        } = self;
        json.push(bytes, &mut |found| {
            if found.depth == 1 {
                match found.key {
                    // JSON-RPC 2.0 §4.
                    b"jsonrpc" => *is_rpc = true,
                    b"method" if method.is_none() => *method = found.value.shown(MAX_SHOWN),
                    b"model" if model.is_none() => *model = found.value.shown(MAX_SHOWN),
                    _ => {}
                }
            }
            if let content::Value::Text(raw, len) = found.value
                && len > 0
                && is_secret(Where::Parameter, found.key, raw)
            {
                let known = secrets::Known::password("http_json_secret", Carrier::Body);
                match found.value.whole() {
                    Some(text) => secrets::note(scene, tx, known, found.key, &text, text.len()),
                    None => secrets::note(scene, tx, known, found.key, raw, len),
                }
            }
        });
    }

    fn finish(self, tx: &mut HttpTransaction) {
        if let Some(method) = self.method.filter(|_| self.is_rpc) {
            tx.texts.set(Text::RpcMethod, method.as_bytes());
        }
        if let Some(model) = self.model {
            tx.texts.set(Text::Model, model.as_bytes());
        }
    }
}
