//! Conversations as tests write them, and what a session makes of them.

use super::http::HttpTransaction;
use super::registry::{DATAGRAM, Look, Match, STREAM};
use super::{PlaintextFacts, StartTls};
use crate::anomaly::AnomalyLog;
use crate::proto::Direction::{self, Orig, Resp};
use crate::proto::secrets::KeyLog;
use crate::proto::session::Session;
use crate::proto::stage::Stage;
use crate::proto::{Cx, LiveRow, SessionFacts, Want};

/// One side's turn.
pub(crate) type Turn = (Direction, Vec<u8>);

/// The originator says.
pub(crate) fn c(bytes: impl AsRef<[u8]>) -> Turn {
    (Orig, bytes.as_ref().to_vec())
}

/// The responder says.
pub(crate) fn s(bytes: impl AsRef<[u8]>) -> Turn {
    (Resp, bytes.as_ref().to_vec())
}

/// Bytes from hexadecimal digits; blanks are for the reader.
#[track_caller]
pub(crate) fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    digits
        .chunks(2)
        .map(|pair| {
            u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hex digits")
        })
        .collect()
}

/// Beginning of a ClientHello's record: enough for detection.
pub(crate) fn client_hello() -> Vec<u8> {
    let mut body = hex("0303");
    body.extend([7; 32]);
    body.extend(hex("00 0004 c02f 1301 01 00 0000"));
    let mut hello = vec![1, 0, 0, u8::try_from(body.len()).expect("short")];
    hello.extend(body);
    let mut record = hex("160301 00");
    record.push(u8::try_from(hello.len()).expect("short"));
    record.extend(hello);
    record
}

/// What a session makes of a TCP conversation between ports nobody knows.
pub(crate) fn talk(turns: &[Turn]) -> SessionFacts {
    talk_on((40_000, 40_001), turns)
}

/// The same between given ports.
pub(crate) fn talk_on(ports: (u16, u16), turns: &[Turn]) -> SessionFacts {
    with_session(ports, |session, cx| {
        let mut skip = [Some(0_u64); 2];
        for (number, (direction, bytes)) in turns.iter().enumerate() {
            cx.packet.frame = number as u64 + 1;
            deliver(session, cx, *direction, bytes, &mut skip[direction.index()]);
        }
    })
}

/// The same of datagrams.
pub(crate) fn datagrams_on(ports: (u16, u16), turns: &[Turn]) -> SessionFacts {
    datagrams_knowing(ports, turns, None)
}

/// The same with secrets at hand.
pub(crate) fn datagrams_knowing(
    ports: (u16, u16),
    turns: &[Turn],
    secrets: Option<&KeyLog>,
) -> SessionFacts {
    with_secrets(ports, secrets, |session, cx| {
        let mut deaf = [false; 2];
        for (number, (direction, bytes)) in turns.iter().enumerate() {
            cx.packet.frame = number as u64 + 1;
            if deaf[direction.index()] {
                session.skipped(*direction, bytes.len() as u64);
            } else {
                deaf[direction.index()] = session.datagram(cx, *direction, bytes) == Want::Nothing;
            }
        }
    })
}

/// The rows that leave a conversation between ports nobody knows.
pub(crate) fn talk_rows(turns: &[Turn]) -> Vec<LiveRow> {
    with_rows((40_000, 40_001), |session, cx| {
        let mut skip = [Some(0_u64); 2];
        for (number, (direction, bytes)) in turns.iter().enumerate() {
            cx.packet.frame = number as u64 + 1;
            deliver(session, cx, *direction, bytes, &mut skip[direction.index()]);
        }
    })
    .1
}

/// One frame of HTTP/2.
pub(crate) fn h2_frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut out = len[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// A header block: fields as literals that nobody indexes (RFC 7541 §6.2.2).
pub(crate) fn h2_block<N: AsRef<str>, V: AsRef<str>>(fields: &[(N, V)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name.as_ref(), value.as_ref()] {
            match text.len().checked_sub(127) {
                None => out.push(text.len() as u8),
                Some(mut more) => {
                    out.push(127);
                    while more >= 128 {
                        out.push(more as u8 | 0x80);
                        more >>= 7;
                    }
                    out.push(more as u8);
                }
            }
            out.extend(text.as_bytes());
        }
    }
    out
}

/// What a message of HTTP/1, lines ending with LF, says in HTTP/2 on stream 1.
pub(crate) fn h2_message(text: &str) -> Vec<u8> {
    let (head, body) = text.split_once("\n\n").expect("an empty line");
    let mut lines = head.lines();
    let start: Vec<&str> = lines.next().unwrap_or_default().splitn(3, ' ').collect();
    let mut fields: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, value: &str| fields.push((name.to_owned(), value.to_owned()));
    let (target, authority) = match start[1].split_once("://") {
        Some((_, rest)) => {
            let (authority, _) = rest.split_once('/').unwrap_or((rest, ""));
            (&rest[authority.len()..], Some(authority))
        }
        None => (start[1], None),
    };
    if start[0].starts_with("HTTP/") {
        add(":status", start[1]);
    } else {
        add(":method", start[0]);
        add(":scheme", "http");
        add(":path", target);
    }
    for line in lines {
        let (name, value) = line.split_once(": ").expect("a header");
        match &*name.to_ascii_lowercase() {
            "host" => add(":authority", authority.unwrap_or(value)),
            name => add(name, value),
        }
    }
    // Pseudo-headers first.
    fields.sort_by_key(|(name, _)| !name.starts_with(':'));
    let mut out = h2_frame(0x1, 0x4, 1, &h2_block(&fields));
    out.extend(h2_frame(0x0, 0x1, 1, body.as_bytes()));
    out
}

/// Both sides' beginnings of an HTTP/2 connection: preface and settings.
pub(crate) fn h2_begin() -> (Vec<u8>, Vec<u8>) {
    let settings = h2_frame(0x4, 0, 0, &[]);
    let client = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings[..]].concat();
    (client, settings)
}

/// The HTTP transactions among rows.
pub(crate) fn http_of(rows: Vec<LiveRow>) -> Vec<HttpTransaction> {
    rows.into_iter()
        .filter_map(|row| match row {
            LiveRow::Http(tx) => Some(*tx),
            #[allow(unreachable_patterns)] // rows of other kinds
            _ => None,
        })
        .collect()
}

/// Runs `body` on a fresh session and ends it.
pub(crate) fn with_session(
    ports: (u16, u16),
    body: impl FnOnce(&mut Session, &mut Cx<'_>),
) -> SessionFacts {
    with_rows(ports, body).0
}

/// The same, with the rows that left before the end, and what was odd.
pub(crate) fn with_rows(
    ports: (u16, u16),
    body: impl FnOnce(&mut Session, &mut Cx<'_>),
) -> (SessionFacts, Vec<LiveRow>, AnomalyLog) {
    with_all(ports, None, body)
}

/// The facts, with secrets at hand.
fn with_secrets(
    ports: (u16, u16),
    secrets: Option<&KeyLog>,
    body: impl FnOnce(&mut Session, &mut Cx<'_>),
) -> SessionFacts {
    with_all(ports, secrets, body).0
}

fn with_all(
    ports: (u16, u16),
    secrets: Option<&KeyLog>,
    body: impl FnOnce(&mut Session, &mut Cx<'_>),
) -> (SessionFacts, Vec<LiveRow>, AnomalyLog) {
    let mut stage = Stage::new(ports);
    let mut cx = stage.cx(secrets);
    let mut session = Session::default();
    body(&mut session, &mut cx);
    let facts = session.end(&mut cx);
    (facts, stage.rows, stage.anomalies)
}

/// As the reassembler does: what is not wanted is only counted. `skip` is none
/// once nothing more is wanted.
pub(crate) fn deliver(
    session: &mut Session,
    cx: &mut Cx<'_>,
    direction: Direction,
    bytes: &[u8],
    skip: &mut Option<u64>,
) {
    let passed = skip.map_or(bytes.len(), |skip| bytes.len().min(skip as usize));
    if passed > 0 {
        session.skipped(direction, passed as u64);
        if let Some(skip) = skip {
            *skip -= passed as u64;
        }
    }
    if passed < bytes.len() {
        *skip = match session.data(cx, direction, &bytes[passed..]) {
            Want::Bytes => Some(0),
            Want::Skip(len) => Some(len),
            Want::Nothing => None,
        };
    }
}

/// A conversation and what it must come to.
pub(crate) struct Case {
    /// What the conversation shows.
    pub name: &'static str,
    /// Whether the turns are datagrams.
    pub datagrams: bool,
    /// Ports `(originator, responder)`.
    pub ports: (u16, u16),
    /// The conversation.
    pub turns: Vec<Turn>,
    /// Service names.
    pub service: &'static str,
    /// Credentials, `class:length`, joined by blanks.
    pub credentials: &'static str,
    /// Upgrade to TLS.
    pub starttls: Option<StartTls>,
}

/// A TCP conversation without credentials or upgrade.
pub(crate) fn stream(name: &'static str, service: &'static str, turns: Vec<Turn>) -> Case {
    Case {
        name,
        datagrams: false,
        ports: (40_000, 40_001),
        turns,
        service,
        credentials: "",
        starttls: None,
    }
}

/// Datagrams without credentials.
pub(crate) fn datagrams(
    name: &'static str,
    service: &'static str,
    port: u16,
    turns: Vec<Turn>,
) -> Case {
    Case {
        datagrams: true,
        ports: (40_000, port),
        ..stream(name, service, turns)
    }
}

impl Case {
    /// With one datagram from this port of the originator's.
    pub(crate) fn from(self, port: u16, datagram: Vec<u8>) -> Self {
        Self {
            ports: (port, self.ports.1),
            turns: vec![(Orig, datagram)],
            ..self
        }
    }

    /// With these credentials.
    pub(crate) fn credentials(self, credentials: &'static str) -> Self {
        Self {
            credentials,
            ..self
        }
    }

    /// With this outcome of the upgrade.
    pub(crate) fn starttls(self, starttls: StartTls) -> Self {
        Self {
            starttls: Some(starttls),
            ..self
        }
    }

    /// Runs it as written.
    pub(crate) fn run(&self) -> SessionFacts {
        if self.datagrams {
            datagrams_on(self.ports, &self.turns)
        } else {
            talk_on(self.ports, &self.turns)
        }
    }

    /// Fails unless it comes to what it must.
    #[track_caller]
    pub(crate) fn check(&self) {
        let facts = self.run();
        assert_eq!(
            facts.service.as_deref().unwrap_or_default(),
            self.service,
            "service: {}",
            self.name
        );
        let plain = facts.plaintext.unwrap_or_default();
        assert_eq!(
            credentials(&plain),
            self.credentials,
            "credentials: {}",
            self.name
        );
        assert_eq!(plain.starttls, self.starttls, "upgrade: {}", self.name);
    }

    /// The names of the protocols that claim the first turn, knowing no port.
    pub(crate) fn claimed_by(&self) -> Vec<&'static str> {
        let Some((direction, bytes)) = self.turns.first() else {
            return Vec::new();
        };
        let other: Vec<u8> = self
            .turns
            .iter()
            .filter(|(from, _)| !self.datagrams && from != direction)
            .flat_map(|(_, bytes)| bytes.clone())
            .collect();
        let bytes: Vec<u8> = if self.datagrams {
            bytes.clone()
        } else {
            let same = self.turns.iter().filter(|(from, _)| from == direction);
            same.flat_map(|(_, bytes)| bytes.clone()).collect()
        };
        let ports = match direction {
            Orig => self.ports,
            Resp => (self.ports.1, self.ports.0),
        };
        let registry = if self.datagrams { DATAGRAM } else { STREAM };
        registry
            .iter()
            .filter(|protocol| {
                let look = Look {
                    bytes: &bytes,
                    other: &other,
                    ports,
                    last: true,
                };
                matches!((protocol.probe)(&look), Match::Yes(_))
            })
            .map(|protocol| protocol.name)
            .collect()
    }
}

/// Credentials as cases write them.
pub(crate) fn credentials(facts: &PlaintextFacts) -> String {
    let shown = |credential: &super::CredentialSeen| {
        let times = usize::try_from(credential.count).expect("few");
        vec![format!("{}:{}", credential.class, credential.len); times]
    };
    let all: Vec<String> = facts.credentials.iter().flat_map(shown).collect();
    all.join(" ")
}
