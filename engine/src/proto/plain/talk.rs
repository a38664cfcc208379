//! What the protocols of lines share: commands one way, replies the other,
//! an upgrade to TLS between two lines, and SASL exchanges (RFC 4422).

use super::PlaintextFacts;
use super::reader::{Lines, Next, Reader, Role, Scene, Upgrade};
use super::text::{decoded, split_word};
use crate::proto::{Cx, Probe, Want, tls};
use std::fmt;

/// What follows a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// More lines.
    Line,
    /// So many bytes that are no lines, then lines again.
    Skip(u64),
    /// TLS, both ways.
    Tls,
    /// Nothing more of this side is of interest.
    Nothing,
}

/// A protocol of lines.
pub(super) trait Talk: fmt::Debug + Default + Send {
    /// What a TLS handshake after the upgrade names as its transport.
    const TRANSPORT: &'static str;

    /// Where lines end: after a line feed, or for XML after each tag.
    const DELIMITER: u8 = b'\n';

    /// A line from the client.
    fn client(&mut self, scene: &mut Scene<'_, '_>, line: &[u8]) -> After;

    /// A line from the server.
    fn server(&mut self, scene: &mut Scene<'_, '_>, line: &[u8]) -> After;

    /// How far the upgrade came; none for a protocol without one.
    fn upgrade(&mut self) -> Option<&mut Upgrade> {
        None
    }
}

/// Reads a protocol of lines.
#[derive(Debug)]
pub(super) struct TalkReader<T> {
    talk: T,
    sides: [Lines; 2],
}

impl<T: Talk + 'static> TalkReader<T> {
    /// A fresh reader.
    pub(super) fn open() -> Box<dyn Reader> {
        Box::new(Self {
            talk: T::default(),
            sides: [Lines::until(T::DELIMITER), Lines::until(T::DELIMITER)],
        })
    }
}

impl<T: Talk> Reader for TalkReader<T> {
    fn data(&mut self, scene: &mut Scene<'_, '_>, from: Role, bytes: &[u8]) -> Next {
        let mut rest = bytes;
        loop {
            if rest.is_empty() {
                return Next::BYTES;
            }
            let lines = &mut self.sides[from.index()];
            // The server's answer may be missing from the capture, or come late.
            if from == Role::Client
                && lines.partial().is_empty()
                && let Some(upgrade) = self.talk.upgrade()
                && upgrade.asked
                && !upgrade.refused
                && tls::probe(rest) != Probe::No
            {
                upgrade.accepted = true;
                return Next::Tls {
                    after: bytes.len() - rest.len(),
                    transport: T::TRANSPORT,
                };
            }
            let Some(line) = lines.next(&mut rest) else {
                return Next::BYTES;
            };
            let after = match from {
                Role::Client => self.talk.client(scene, &line),
                Role::Server => self.talk.server(scene, &line),
            };
            match after {
                After::Line => {}
                After::Nothing => return Next::NOTHING,
                After::Tls => {
                    if let Some(upgrade) = self.talk.upgrade() {
                        upgrade.accepted = true;
                    }
                    return Next::Tls {
                        after: bytes.len() - rest.len(),
                        transport: T::TRANSPORT,
                    };
                }
                After::Skip(len) => {
                    let there = usize::try_from(len).map_or(rest.len(), |len| len.min(rest.len()));
                    rest = rest.get(there..).unwrap_or_default();
                    let left = len - there as u64;
                    if left > 0 {
                        return Next::Want(Want::Skip(left));
                    }
                }
            }
        }
    }

    fn gap(&mut self, from: Role, _len: u64) -> Want {
        self.sides[from.index()].gap();
        Want::Bytes
    }

    fn end(&mut self, _cx: &mut Cx<'_>, facts: &mut PlaintextFacts) {
        if let Some(upgrade) = self.talk.upgrade() {
            facts.starttls = upgrade.verdict();
        }
    }

    fn heap_bytes(&self) -> usize {
        self.sides.iter().map(Lines::heap_bytes).sum()
    }
}

/// Names of the classes that a protocol's SASL exchanges come to.
#[derive(Debug)]
pub(super) struct SaslClasses {
    /// PLAIN (RFC 4616).
    pub plain: &'static str,
    /// LOGIN (draft-murchison-sasl-login).
    pub login: &'static str,
    /// OAUTHBEARER (RFC 7628) and XOAUTH2.
    pub token: &'static str,
}

/// Where a SASL exchange stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sasl {
    /// None under way.
    #[default]
    None,
    /// The client's next line is the whole message of PLAIN.
    Plain,
    /// The client's next line is the user's name.
    LoginUser,
    /// The client's next line is the password.
    LoginPassword,
    /// The client's next line is a token.
    Token,
    /// The client's next lines are of a mechanism that hides the secret.
    Hidden,
}

impl Sasl {
    /// Begins an exchange: `MECHANISM [initial-response]`.
    pub(super) fn begin(
        &mut self,
        scene: &mut Scene<'_, '_>,
        classes: &SaslClasses,
        arguments: &[u8],
    ) {
        let (mechanism, initial) = split_word(arguments);
        let is = |name: &[u8]| mechanism.eq_ignore_ascii_case(name);
        *self = if is(b"PLAIN") {
            Self::Plain
        } else if is(b"LOGIN") {
            Self::LoginUser
        } else if is(b"OAUTHBEARER") || is(b"XOAUTH2") {
            Self::Token
        } else {
            Self::Hidden
        };
        // "=" is an initial response that is empty (RFC 4954 §4).
        if !initial.is_empty() && initial != b"=" {
            self.client(scene, classes, initial);
        }
    }

    /// A client's line: whether it belonged to the exchange.
    pub(super) fn client(
        &mut self,
        scene: &mut Scene<'_, '_>,
        classes: &SaslClasses,
        line: &[u8],
    ) -> bool {
        let line = line.trim_ascii();
        if line == b"*" {
            *self = Self::None;
            return true;
        }
        *self = match self {
            Self::None => return false,
            Self::Plain => {
                match decoded(line) {
                    Some(message) => scene.sasl_plain(classes.plain, &message),
                    None => scene.login(classes.plain, None, line),
                }
                Self::None
            }
            Self::LoginUser => Self::LoginPassword,
            Self::LoginPassword => {
                scene.login(
                    classes.login,
                    None,
                    decoded(line).as_deref().map_or(line, Vec::as_slice),
                );
                Self::None
            }
            Self::Token => {
                scene.login(
                    classes.token,
                    None,
                    decoded(line).as_deref().map_or(line, Vec::as_slice),
                );
                Self::None
            }
            Self::Hidden => Self::Hidden,
        };
        true
    }

    /// The server ended the exchange, with success or without.
    pub(super) fn ended(&mut self) {
        *self = Self::None;
    }
}
