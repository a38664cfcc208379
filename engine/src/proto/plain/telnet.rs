//! Telnet (RFC 854), known by its option negotiation, and rlogin (RFC 1282).
//! A password is what a client types after a prompt that asks for one.

use super::reader::{Next, Reader, Role, Scene, append_wiping};
use super::registry::{Look, Match};
use crate::proto::Want;
use zeroize::Zeroizing;

/// Longest password whose bytes are held while it is typed.
const MAX_TYPED: usize = 128;

const IAC: u8 = 0xff;
const SB: u8 = 0xfa;
const SE: u8 = 0xf0;

/// Two negotiations in a row, or one and then text: `IAC WILL|WONT|DO|DONT option`.
pub(super) fn probe(look: &Look<'_>) -> Match {
    let Some(bytes) = negotiation(look.bytes) else {
        return Match::No;
    };
    match bytes {
        Rest::Cut => Match::NeedMore,
        Rest::After([]) if look.last || !look.other.is_empty() => Match::Yes(Role::Server),
        Rest::After([]) => Match::NeedMore,
        Rest::After([IAC]) => Match::NeedMore,
        Rest::After([IAC, SB, ..]) => Match::Yes(Role::Server),
        Rest::After([IAC, ..]) => Match::when(negotiation_at(bytes.bytes()), Role::Server),
        Rest::After(text) => Match::when(
            text.iter()
                .all(|byte| matches!(byte, 0 | 7..=13 | 0x1b | 0x20..=0x7e | 0x80..)),
            Role::Server,
        ),
    }
}

enum Rest<'a> {
    Cut,
    After(&'a [u8]),
}

impl<'a> Rest<'a> {
    fn bytes(&self) -> &'a [u8] {
        match self {
            Self::Cut => &[],
            Self::After(bytes) => bytes,
        }
    }
}

fn negotiation(bytes: &[u8]) -> Option<Rest<'_>> {
    match bytes {
        [] | [IAC] | [IAC, 0xfb..=0xfe] => Some(Rest::Cut),
        // Assigned options (IANA telnet-options), and the extended list.
        [IAC, 0xfb..=0xfe, 0..=49 | 138..=140 | 255, rest @ ..] => Some(Rest::After(rest)),
        _ => None,
    }
}

/// Whether a second negotiation stands here, as far as it goes.
fn negotiation_at(bytes: &[u8]) -> bool {
    negotiation(bytes).is_some()
}

/// The reader.
pub(super) fn open() -> Box<dyn Reader> {
    Box::new(Telnet::default())
}

#[derive(Debug, Default)]
struct Telnet {
    /// Who asks for passwords, once that is known: both sides negotiate alike.
    asks: Option<Role>,
    /// The last bytes that each side showed, lower case.
    shown: [Tail; 2],
    /// Where each side's stream stands between data and commands.
    states: [State; 2],
    /// A password is being typed; so many bytes so far.
    typing: Option<Zeroizing<Vec<u8>>>,
}

#[derive(Debug, Default, Clone, Copy)]
enum State {
    #[default]
    Data,
    Iac,
    Option,
    Sub,
    SubIac,
}

/// The last twelve bytes shown.
#[derive(Debug, Default)]
struct Tail([u8; 12]);

impl Tail {
    fn push(&mut self, byte: u8) {
        self.0.rotate_left(1);
        self.0[11] = byte.to_ascii_lowercase();
    }

    fn asks_for_password(&self) -> bool {
        let shown = self.0.trim_ascii_end();
        [&b"password:"[..], b"passwd:", b"passcode:", b"passwort:"]
            .iter()
            .any(|prompt| shown.ends_with(prompt))
    }
}

impl Reader for Telnet {
    fn data(&mut self, scene: &mut Scene<'_, '_>, from: Role, bytes: &[u8]) -> Next {
        let side = from.index();
        for &byte in bytes {
            let Some(byte) = self.states[side].step(byte) else {
                continue;
            };
            if self.asks == Some(other(from))
                && let Some(typed) = &mut self.typing
            {
                match byte {
                    b'\r' | b'\n' => {
                        let typed = std::mem::take(typed);
                        self.typing = None;
                        if typed.len() >= MAX_TYPED {
                            scene.credential("telnet_password", typed.len());
                        } else if !typed.is_empty() {
                            scene.login("telnet_password", None, &typed);
                        }
                    }
                    0 => {}
                    8 | 0x7f => {
                        typed.pop();
                    }
                    _ if typed.len() < MAX_TYPED => append_wiping(typed, &[byte]),
                    _ => {}
                }
                continue;
            }
            if self.asks.is_none_or(|asks| asks == from) {
                self.shown[side].push(byte);
                if byte == b':' && self.shown[side].asks_for_password() {
                    self.asks = Some(from);
                    self.typing = Some(Zeroizing::default());
                }
            }
        }
        Next::BYTES
    }

    fn gap(&mut self, from: Role, _len: u64) -> Want {
        self.states[from.index()] = State::Data;
        self.typing = None;
        Want::Bytes
    }
}

impl State {
    /// Takes a byte in; gives it back when it is data.
    fn step(&mut self, byte: u8) -> Option<u8> {
        let (next, data) = match (*self, byte) {
            (Self::Data, IAC) => (Self::Iac, None),
            (Self::Data, byte) => (Self::Data, Some(byte)),
            (Self::Iac, IAC) => (Self::Data, Some(IAC)),
            (Self::Iac, SB) => (Self::Sub, None),
            (Self::Iac, 0xfb..=0xfe) => (Self::Option, None),
            (Self::Iac | Self::Option, _) => (Self::Data, None),
            (Self::Sub, IAC) => (Self::SubIac, None),
            (Self::Sub, _) => (Self::Sub, None),
            (Self::SubIac, SE) => (Self::Data, None),
            (Self::SubIac, _) => (Self::Sub, None),
        };
        *self = next;
        data
    }
}

const fn other(role: Role) -> Role {
    match role {
        Role::Client => Role::Server,
        Role::Server => Role::Client,
    }
}

/// rlogin: a NUL, then `user NUL user NUL terminal/speed NUL`.
pub(super) fn probe_rlogin(look: &Look<'_>) -> Match {
    let Some(rest) = look.bytes.strip_prefix(b"\0") else {
        return if look.bytes.is_empty() {
            Match::NeedMore
        } else {
            Match::No
        };
    };
    let mut fields = rest.split(|byte| *byte == 0);
    let mut names = 0;
    for field in fields.by_ref().take(3) {
        let printable = field.iter().all(u8::is_ascii_graphic);
        if !printable || field.len() > 64 || (names < 2 && field.is_empty() && !rest.is_empty()) {
            return Match::No;
        }
        names += 1;
        if names == 3 {
            let speed = field.contains(&b'/') && field.last().is_some_and(u8::is_ascii_digit);
            return match (fields.next(), speed) {
                (Some(_), true) => Match::Yes(Role::Client),
                (Some(_), false) => Match::No,
                (None, _) => Match::NeedMore,
            };
        }
    }
    Match::NeedMore
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::testing::{Case, c, hex, s, stream};

    pub(in super::super) fn cases() -> Vec<Case> {
        let mut prompt = hex("fffd18 fffd20");
        prompt.extend(b"\r\nlogin: ");
        vec![
            stream(
                "telnet: password",
                "telnet",
                vec![
                    s(prompt),
                    c(hex("fffb18 fffc20")),
                    c("m"),
                    s("m"),
                    c("e\r\0"),
                    s("e\r\nPassword: "),
                    c("sec"),
                    c("x\x7fret\r\0"),
                    s("\r\n$ "),
                    c("ls\r\0"),
                ],
            )
            .credentials("telnet_password:6"),
            stream(
                "telnet: the client negotiates first",
                "telnet",
                vec![c(hex("fffb25 fffd03")), s(hex("fffd18"))],
            ),
            stream(
                "rlogin",
                "rlogin",
                vec![c(b"\0me\0root\0xterm/38400\0"), s(b"\0")],
            ),
        ]
    }
}
