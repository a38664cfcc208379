//! MySQL's connection phase (MySQL internals, "Client/Server Protocol"): what
//! the greeting can do, the request for TLS, passwords in the clear.

use super::PlaintextFacts;
use super::reader::{Frame, Frames, Measure, Next, Reader, Role, Scene, Upgrade};
use super::registry::{Look, Match};
use super::text::{be32, le16, le32};
use crate::proto::{Cx, Want};

const CLIENT_SSL: u32 = 0x0800;
const CLIENT_PROTOCOL_41: u32 = 0x0200;
const HEADER: usize = 4;
/// Length of an SSLRequest's payload.
const SSL_REQUEST: usize = 32;
const CLEAR: &[u8] = b"mysql_clear_password";

/// A greeting of protocol 10, or the error that takes its place.
pub(super) fn probe(look: &Look<'_>) -> Match {
    let bytes = look.bytes;
    let (Some(len), Some(kind)) = (le24(bytes), bytes.get(HEADER)) else {
        let plausible = bytes.get(2).is_none_or(|high| *high == 0)
            && bytes.get(3).is_none_or(|sequence| *sequence == 0);
        return if plausible {
            Match::NeedMore
        } else {
            Match::No
        };
    };
    if bytes.get(3) != Some(&0) || !(5..=2048).contains(&len) {
        return Match::No;
    }
    let payload = bytes.get(HEADER..).unwrap_or_default();
    match kind {
        0xff => match le16(payload, 1) {
            None => Match::NeedMore,
            // Too many connections, host blocked, host not privileged.
            Some(1040 | 1129 | 1130) => Match::Yes(Role::Server),
            Some(_) => Match::No,
        },
        10 => {
            let version = payload.get(1..).unwrap_or_default();
            let Some(end) = version.iter().take(64).position(|byte| *byte == 0) else {
                let printable = version.iter().all(u8::is_ascii_graphic);
                return if version.len() < 64 && printable {
                    Match::NeedMore
                } else {
                    Match::No
                };
            };
            let printable = version
                .iter()
                .take(end)
                .all(|byte| byte.is_ascii_graphic() || *byte == b' ');
            if !printable || !version.first().is_some_and(u8::is_ascii_digit) {
                return Match::No;
            }
            // Thread id of four bytes, eight of the scramble, then a zero.
            match version.get(end + 1 + 12) {
                None => Match::NeedMore,
                Some(filler) => Match::when(*filler == 0, Role::Server),
            }
        }
        _ => Match::No,
    }
}

/// The reader.
pub(super) fn open() -> Box<dyn Reader> {
    Box::new(Mysql::default())
}

#[derive(Debug, Default)]
struct Mysql {
    upgrade: Upgrade,
    sides: [Frames; 2],
    greeted: bool,
    answered: bool,
    /// The server switched to a method that sends the password as it is.
    clear: bool,
}

impl Reader for Mysql {
    fn data(&mut self, scene: &mut Scene<'_, '_>, from: Role, bytes: &[u8]) -> Next {
        let mut rest = bytes;
        loop {
            match self.sides[from.index()].next(&mut rest, 1024, measure) {
                Frame::Message(message) => {
                    let payload = message.get(HEADER..).unwrap_or_default();
                    match from {
                        Role::Server => {
                            if self.server(payload) {
                                return Next::NOTHING;
                            }
                        }
                        Role::Client => {
                            if self.client(scene, payload) {
                                self.upgrade.accepted = true;
                                return Next::Tls {
                                    after: bytes.len() - rest.len(),
                                    transport: "starttls-mysql",
                                };
                            }
                        }
                    }
                }
                Frame::Want(want) => return Next::Want(want),
                Frame::Lost => return Next::NOTHING,
            }
        }
    }

    fn gap(&mut self, from: Role, _len: u64) -> Want {
        self.sides[from.index()].gap()
    }

    fn end(&mut self, _cx: &mut Cx<'_>, facts: &mut PlaintextFacts) {
        facts.starttls = self.upgrade.verdict();
    }

    fn heap_bytes(&self) -> usize {
        self.sides.iter().map(Frames::heap_bytes).sum()
    }
}

impl Mysql {
    /// A server's packet; whether what follows is of no interest.
    fn server(&mut self, payload: &[u8]) -> bool {
        if !self.greeted {
            self.greeted = true;
            let after_version = payload
                .iter()
                .position(|byte| *byte == 0)
                .map(|end| end + 1);
            let capabilities = after_version.and_then(|at| le16(payload, at + 13));
            if payload.first() == Some(&10)
                && let Some(capabilities) = capabilities
            {
                self.upgrade.offered = Some(u32::from(capabilities) & CLIENT_SSL != 0);
            }
            return false;
        }
        match payload.first() {
            // AuthSwitchRequest: the method's name follows.
            Some(0xfe) => {
                self.clear = payload.get(1..).is_some_and(|name| name.starts_with(CLEAR));
                false
            }
            // OK or error: the connection phase is over.
            Some(0 | 0xff) => self.answered,
            _ => false,
        }
    }

    /// A client's packet; whether TLS follows it.
    fn client(&mut self, scene: &mut Scene<'_, '_>, payload: &[u8]) -> bool {
        if std::mem::take(&mut self.clear) {
            let secret = payload.strip_suffix(b"\0").unwrap_or(payload);
            scene.login("mysql_clear_password", None, secret);
            return false;
        }
        if self.answered {
            return false;
        }
        self.answered = true;
        let capabilities = le32(payload, 0).unwrap_or(0);
        if capabilities & CLIENT_SSL != 0 && payload.len() == SSL_REQUEST {
            self.upgrade.asked = true;
            return true;
        }
        self.upgrade.went_on = true;
        if capabilities & CLIENT_PROTOCOL_41 != 0
            && let Some((user, secret)) = clear_password(payload)
        {
            let user = scene.cx.redactor.user(user);
            scene.login("mysql_clear_password", Some(user), secret);
        }
        false
    }
}

/// Of a HandshakeResponse41 whose plug-in sends the password as it is.
fn clear_password(payload: &[u8]) -> Option<(&[u8], &[u8])> {
    let user = payload.get(SSL_REQUEST..)?;
    let user_len = user.iter().position(|byte| *byte == 0)?;
    let (&len, rest) = user.get(user_len + 1..)?.split_first()?;
    let (secret, rest) = rest.split_at_checked(usize::from(len))?;
    let uses_clear = rest.split(|byte| *byte == 0).any(|name| name == CLEAR);
    let user = user.get(..user_len)?;
    uses_clear.then(|| (user, secret.strip_suffix(b"\0").unwrap_or(secret)))
}

fn measure(bytes: &[u8]) -> Measure {
    match (le24(bytes), bytes.get(3)) {
        (Some(len), Some(_)) => Measure::Len(u64::from(len) + HEADER as u64),
        _ => Measure::Short,
    }
}

fn le24(bytes: &[u8]) -> Option<u32> {
    let [low, middle, high] = *bytes.first_chunk()?;
    be32(&[0, high, middle, low], 0)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::StartTls;
    use super::super::testing::{Case, Turn, c, client_hello, hex, s, stream};

    /// Version 8.0, thread 1, eight bytes of scramble, and these capabilities.
    fn greeting(capabilities: &str) -> Turn {
        let payload = hex(&format!(
            "0a 382e3000 01000000 4142434445464748 00 {capabilities} 21 0200 0000 15 00000000000000000000 4142434445464748494a4b4c 00"
        ));
        s(packet(0, &payload))
    }

    fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
        let len = u8::try_from(payload.len()).expect("short");
        [&[len, 0, 0, sequence], payload].concat()
    }

    fn response(plugin: &str, secret: &[u8]) -> Turn {
        let mut payload = hex("00820800 00000001 21");
        payload.extend([0; 23]);
        payload.extend(b"me\0");
        payload.push(u8::try_from(secret.len()).expect("short"));
        payload.extend(secret);
        payload.extend(plugin.as_bytes());
        payload.push(0);
        c(packet(1, &payload))
    }

    pub(in super::super) fn cases() -> Vec<Case> {
        let mut request = hex("00aa0800 00000001 21");
        request.extend([0; 23]);
        vec![
            stream(
                "mysql: taken",
                "mysql,ssl",
                vec![greeting("ffff"), c(packet(1, &request)), c(client_hello())],
            )
            .starttls(StartTls::Taken),
            stream(
                "mysql: not taken",
                "mysql",
                vec![
                    greeting("fff7"),
                    response("mysql_native_password", &[1; 20]),
                    s(packet(2, &[0, 0, 0, 2, 0])),
                ],
            )
            .starttls(StartTls::NotOffered),
            stream(
                "mysql: clear password",
                "mysql",
                vec![
                    greeting("ffff"),
                    response("mysql_clear_password", b"secret\0"),
                    s(packet(2, b"\xfemysql_clear_password\0")),
                    c(packet(3, b"secret2\0")),
                ],
            )
            .credentials("mysql_clear_password:6 mysql_clear_password:7")
            .starttls(StartTls::OfferedNotTaken),
            stream(
                "mysql: host not allowed",
                "mysql",
                vec![s(packet(0, b"\xff\x6a\x04Host is not allowed"))],
            ),
        ]
    }
}
