//! POP3 (RFC 1939), CAPA (RFC 2449), STLS (RFC 2595), AUTH (RFC 5034).

use super::reader::{Reader, Role, Scene, Upgrade};
use super::registry::{Look, Match};
use super::talk::{After, Sasl, SaslClasses, Talk, TalkReader};
use super::text::{first_line, is_beginning_of, split_word, starts_with_any_case, words};
use crate::proto::credential::SecretHash;

const CLASSES: SaslClasses = SaslClasses {
    plain: "pop3_auth_plain",
    login: "pop3_auth_login",
    token: "pop3_auth_token",
};

/// A banner; or commands that no other protocol has, or that answer one.
pub(super) fn probe(look: &Look<'_>) -> Match {
    let bytes = look.bytes;
    if is_beginning_of(bytes, b"+OK ") {
        return Match::NeedMore;
    }
    if bytes.starts_with(b"+OK ") {
        return Match::Yes(Role::Server);
    }
    if bytes.starts_with(b"+OK\r") {
        // Redis says this too, in answer to what looks quite different.
        if look.other.is_empty() {
            return Match::NeedMore;
        }
        return match probe_commands(look.other, true) {
            Match::Yes(_) => Match::Yes(Role::Server),
            other => other,
        };
    }
    match probe_commands(bytes, look.other.starts_with(b"+OK")) {
        Match::NeedMore if look.last && first_line(bytes).is_some() => {
            Match::when(look.on_port(110) && look.other.is_empty(), Role::Client)
        }
        Match::NeedMore if !look.other.is_empty() && !is_beginning_of(look.other, b"+OK") => {
            Match::No
        }
        found => found,
    }
}

fn probe_commands(bytes: &[u8], greeted: bool) -> Match {
    let mut first = true;
    for line in bytes.split_inclusive(|byte| *byte == b'\n').take(8) {
        let (verb, arguments) = split_word(line);
        if !line.ends_with(b"\n") {
            let plausible = line.len() <= 256
                && verb.len() <= 4
                && line.first().is_some_and(u8::is_ascii_alphabetic)
                && verb.iter().all(u8::is_ascii_alphabetic);
            return if plausible {
                Match::NeedMore
            } else {
                Match::No
            };
        }
        let is = |name: &[u8]| verb.eq_ignore_ascii_case(name);
        let alone = arguments.is_empty();
        let is_own = alone && (is(b"CAPA") || is(b"STLS") || (!first && is(b"STAT")))
            || is(b"APOP") && words(arguments).count() == 2
            || !first && is(b"UIDL");
        let is_user = is(b"USER") && words(arguments).count() == 1;
        if is_own || greeted && (is_user || is(b"AUTH")) {
            return Match::Yes(Role::Client);
        }
        if !is_user && (first || !is(b"PASS")) {
            return Match::No;
        }
        first = false;
    }
    Match::NeedMore
}

/// The reader.
pub(super) fn open() -> Box<dyn Reader> {
    TalkReader::<Pop3>::open()
}

#[derive(Debug, Default)]
struct Pop3 {
    upgrade: Upgrade,
    sasl: Sasl,
    waiting: Waiting,
    /// Hash of the user's name.
    user: Option<SecretHash>,
}

/// Which answer is awaited, of those that matter.
#[derive(Debug, Default, Clone, Copy)]
enum Waiting {
    #[default]
    None,
    Capa,
    /// Within the list; whether STLS was there.
    List(bool),
    Stls,
}

impl Talk for Pop3 {
    const TRANSPORT: &'static str = "starttls-pop3";

    fn client(&mut self, scene: &mut Scene<'_, '_>, line: &[u8]) -> After {
        if self.sasl.client(scene, &CLASSES, line) {
            return After::Line;
        }
        let (verb, arguments) = split_word(line);
        let is = |name: &[u8]| verb.eq_ignore_ascii_case(name);
        if is(b"PASS") && !arguments.is_empty() {
            scene.login("pop3_password", self.user, arguments);
        } else if is(b"USER") || is(b"APOP") {
            self.upgrade.went_on = true;
            let (user, _) = split_word(arguments);
            self.user = Some(scene.cx.redactor.user(user));
        } else if is(b"AUTH") && !arguments.is_empty() {
            self.upgrade.went_on = true;
            self.sasl.begin(scene, &CLASSES, arguments);
        } else if is(b"CAPA") {
            self.waiting = Waiting::Capa;
        } else if is(b"STLS") {
            self.upgrade.asked = true;
            self.waiting = Waiting::Stls;
        }
        After::Line
    }

    fn server(&mut self, _scene: &mut Scene<'_, '_>, line: &[u8]) -> After {
        let ok = starts_with_any_case(line, b"+OK");
        let error = starts_with_any_case(line, b"-ERR");
        if ok || error {
            self.sasl.ended();
        }
        self.waiting = match self.waiting {
            Waiting::Capa if ok => Waiting::List(false),
            Waiting::Capa if error => Waiting::None,
            Waiting::List(listed) if line == b"." => {
                self.upgrade.offered = Some(listed || self.upgrade.offered == Some(true));
                Waiting::None
            }
            Waiting::List(listed) => {
                Waiting::List(listed || split_word(line).0.eq_ignore_ascii_case(b"STLS"))
            }
            Waiting::Stls if ok => return After::Tls,
            Waiting::Stls if error => {
                self.upgrade.refused = true;
                Waiting::None
            }
            waiting => waiting,
        };
        After::Line
    }

    fn upgrade(&mut self) -> Option<&mut Upgrade> {
        Some(&mut self.upgrade)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::StartTls;
    use super::super::testing::{Case, c, client_hello, s, stream};

    pub(in super::super) fn cases() -> Vec<Case> {
        let greeting = || s("+OK POP3 ready <1896.697@dbc.example>\r\n");
        let capa = || c("CAPA\r\n");
        let offer = || s("+OK list\r\nTOP\r\nSTLS\r\nUSER\r\n.\r\n");
        vec![
            stream(
                "pop3: password",
                "pop3",
                vec![
                    greeting(),
                    capa(),
                    s("+OK list\r\nTOP\r\nUSER\r\n.\r\n"),
                    c("USER me\r\n"),
                    s("+OK\r\n"),
                    c("PASS my secret\r\n"),
                    s("+OK\r\n"),
                ],
            )
            .credentials("pop3_password:9")
            .starttls(StartTls::NotOffered),
            stream(
                "pop3: taken",
                "pop3,ssl",
                vec![
                    greeting(),
                    capa(),
                    offer(),
                    c("STLS\r\n"),
                    s("+OK begin\r\n"),
                    c(client_hello()),
                ],
            )
            .starttls(StartTls::Taken),
            stream(
                "pop3: refused",
                "pop3",
                vec![greeting(), capa(), offer(), c("STLS\r\n"), s("-ERR no\r\n")],
            )
            .starttls(StartTls::Refused),
            stream(
                "pop3: not taken",
                "pop3",
                vec![
                    greeting(),
                    capa(),
                    offer(),
                    c("AUTH PLAIN\r\n"),
                    s("+ \r\n"),
                    c("AHRpbQB0YW5zdGFhZnRhbnN0YWFm\r\n"),
                    s("+OK\r\n"),
                ],
            )
            .credentials("pop3_auth_plain:16")
            .starttls(StartTls::OfferedNotTaken),
            stream(
                "pop3: a banner that says nothing",
                "pop3",
                vec![s("+OK\r\n"), c("USER me\r\n")],
            ),
        ]
    }
}
