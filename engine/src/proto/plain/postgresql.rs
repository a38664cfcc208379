//! PostgreSQL's protocol 3 (PostgreSQL documentation, "Frontend/Backend
//! Protocol"): SSLRequest and its answer, start-up, passwords.

use super::PlaintextFacts;
use super::reader::{Frame, Frames, Measure, Next, Reader, Role, Scene, Upgrade};
use super::registry::{Look, Match};
use super::text::be32;
use crate::proto::{Cx, Probe, Want, tls};

const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;
/// Protocol 3.0; 3.2 since PostgreSQL 18.
const VERSIONS: std::ops::RangeInclusive<u32> = 0x0003_0000..=0x0003_0002;
/// Longest start-up packet that a server takes.
const MAX_STARTUP: u32 = 10_000;

/// A request for encryption, or a start-up that names its user.
pub(super) fn probe(look: &Look<'_>) -> Match {
    let Some(len) = be32(look.bytes, 0) else {
        return if look.bytes.iter().take(2).all(|byte| *byte == 0) {
            Match::NeedMore
        } else {
            Match::No
        };
    };
    if !(8..=MAX_STARTUP).contains(&len) {
        return Match::No;
    }
    let Some(code) = be32(look.bytes, 4) else {
        return Match::NeedMore;
    };
    match code {
        SSL_REQUEST | GSSENC_REQUEST => Match::when(len == 8, Role::Client),
        CANCEL_REQUEST => Match::when((16..=272).contains(&len), Role::Client),
        code if VERSIONS.contains(&code) => {
            let parameters = look.bytes.get(8..).unwrap_or_default();
            // Name and value in pairs; `user` is required, and need not stand first.
            match parameters.iter().position(|byte| *byte == 0) {
                None if parameters.len() < 64 && parameters.iter().all(u8::is_ascii_graphic) => {
                    Match::NeedMore
                }
                Some(end) if end > 0 => Match::when(
                    parameters
                        .iter()
                        .take(end)
                        .all(|byte| byte.is_ascii_graphic()),
                    Role::Client,
                ),
                _ => Match::No,
            }
        }
        _ => Match::No,
    }
}

/// The reader.
pub(super) fn open() -> Box<dyn Reader> {
    Box::new(Postgresql::default())
}

#[derive(Debug, Default)]
struct Postgresql {
    upgrade: Upgrade,
    sides: [Frames; 2],
    /// Which request the server's next single byte answers.
    asking: Asking,
    /// The start-up message was seen: messages have a type from here on.
    started: bool,
    /// What the server asked to be proven with.
    wanted: Wanted,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Asking {
    #[default]
    Nothing,
    Tls,
    Gss,
}

#[derive(Debug, Default, Clone, Copy)]
enum Wanted {
    #[default]
    Unknown,
    Cleartext,
    Md5,
    Hidden,
}

impl Reader for Postgresql {
    fn data(&mut self, scene: &mut Scene<'_, '_>, from: Role, bytes: &[u8]) -> Next {
        let mut rest = bytes;
        let secured = |after: usize| Next::Tls {
            after,
            transport: "starttls-postgresql",
        };
        if from == Role::Client && self.asking == Asking::Tls && tls::probe(rest) != Probe::No {
            self.upgrade.accepted = true;
            return secured(0);
        }
        if from == Role::Server
            && self.asking != Asking::Nothing
            && let Some((answer, after)) = rest.split_first()
        {
            match (answer, std::mem::take(&mut self.asking)) {
                (b'S', Asking::Tls) => {
                    self.upgrade.accepted = true;
                    return secured(1);
                }
                (b'G', Asking::Gss) => {
                    scene.facts.encrypted = true;
                    *scene.encrypted = true;
                    return Next::NOTHING;
                }
                (b'N', asking) => {
                    self.upgrade.refused |= asking == Asking::Tls;
                    rest = after;
                }
                // Servers before 7.1 answer with an error message.
                (_, asking) => self.upgrade.refused |= asking == Asking::Tls,
            }
        }
        loop {
            let typed = from == Role::Server || self.started;
            let frames = &mut self.sides[from.index()];
            match frames.next(&mut rest, 64, |bytes| measure(bytes, typed)) {
                Frame::Message(message) => match (from, typed) {
                    (Role::Client, false) => self.startup(&message),
                    (Role::Client, true) => {
                        if self.message(scene, &message) {
                            return Next::NOTHING;
                        }
                    }
                    (Role::Server, _) => {
                        if self.answer(&message) {
                            return Next::NOTHING;
                        }
                    }
                },
                Frame::Want(want) => return Next::Want(want),
                Frame::Lost => {
                    scene.malformed("a message that is none");
                    return Next::NOTHING;
                }
            }
        }
    }

    fn gap(&mut self, from: Role, _len: u64) -> Want {
        self.sides[from.index()].gap()
    }

    fn end(&mut self, _cx: &mut Cx<'_>, facts: &mut PlaintextFacts) {
        // Nothing is ever offered, only asked for: the answer alone tells.
        facts.starttls = self.upgrade.verdict();
    }

    fn heap_bytes(&self) -> usize {
        self.sides.iter().map(Frames::heap_bytes).sum()
    }
}

impl Postgresql {
    fn startup(&mut self, message: &[u8]) {
        match be32(message, 4) {
            Some(SSL_REQUEST) => self.asking = Asking::Tls,
            Some(GSSENC_REQUEST) => self.asking = Asking::Gss,
            Some(code) if VERSIONS.contains(&code) => self.started = true,
            _ => {}
        }
    }

    /// A client's message; whether what follows is of no interest.
    fn message(&mut self, scene: &mut Scene<'_, '_>, message: &[u8]) -> bool {
        match message.first() {
            Some(b'p') => {
                // Type, length of four bytes, the password and its NUL.
                let len = be32(message, 1).map_or(0, |len| len.saturating_sub(5));
                let len = usize::try_from(len).unwrap_or(usize::MAX);
                let class = match self.wanted {
                    Wanted::Cleartext => "postgresql_password",
                    Wanted::Md5 => "postgresql_md5",
                    Wanted::Unknown | Wanted::Hidden => return false,
                };
                // Of an absurdly long one, only the beginning is at hand.
                match message.get(5..).and_then(|rest| rest.get(..len)) {
                    Some(secret) => scene.login(class, None, secret),
                    None => scene.credential(class, len),
                }
                false
            }
            // Simple query, parse: the session has begun.
            Some(b'Q' | b'P') => true,
            _ => false,
        }
    }

    /// A server's message; whether what follows is of no interest.
    fn answer(&mut self, message: &[u8]) -> bool {
        if message.first() == Some(&b'R') {
            self.wanted = match be32(message, 5) {
                Some(3) => Wanted::Cleartext,
                Some(5) => Wanted::Md5,
                _ => Wanted::Hidden,
            };
        }
        // ReadyForQuery.
        message.first() == Some(&b'Z')
    }
}

fn measure(bytes: &[u8], typed: bool) -> Measure {
    let (at, shortest) = if typed { (1, 4) } else { (0, 8) };
    match be32(bytes, at) {
        None => Measure::Short,
        Some(len) if len < shortest || (!typed && len > MAX_STARTUP) => Measure::Bad,
        Some(_) if typed && !bytes.first().is_some_and(u8::is_ascii_alphanumeric) => Measure::Bad,
        Some(len) => Measure::Len(u64::from(len) + at as u64),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::StartTls;
    use super::super::testing::{Case, c, client_hello, hex, s, stream};

    pub(in super::super) fn cases() -> Vec<Case> {
        let ask = || c(hex("00000008 04d2162f"));
        // user=me
        let start = || c(hex("00000011 00030000 75736572 00 6d65 00 00"));
        let cleartext = || s(hex("52 00000008 00000003"));
        let password = || c(hex("70 0000000b 736563726574 00"));
        vec![
            stream(
                "postgresql: cleartext password",
                "postgresql",
                vec![start(), cleartext(), password(), s(hex("52 00000008 00000000"))],
            )
            .credentials("postgresql_password:6"),
            stream(
                "postgresql: refused, and md5",
                "postgresql",
                vec![
                    ask(),
                    s("N"),
                    start(),
                    s(hex("52 0000000c 00000005 01020304")),
                    c(hex("70 00000028 6d6435 3030303030303030303030303030303030303030303030303030303030303030 00")),
                ],
            )
            .credentials("postgresql_md5:35")
            .starttls(StartTls::Refused),
            stream(
                "postgresql: taken",
                "postgresql,ssl",
                vec![ask(), s("S"), c(client_hello())],
            )
            .starttls(StartTls::Taken),
            stream(
                "postgresql: scram",
                "postgresql",
                vec![
                    start(),
                    s(hex("52 00000017 0000000a 534352414d2d5348412d323536 00 00")),
                    password(),
                ],
            ),
            stream(
                "postgresql: asked, and the answer not seen",
                "postgresql",
                vec![ask(), start()],
            ),
        ]
    }
}
