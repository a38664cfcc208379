//! NNTP (RFC 3977), AUTHINFO (RFC 4643), STARTTLS (RFC 4642).

use super::reader::{Reader, Role, Scene, Upgrade};
use super::registry::{Look, Match};
use super::talk::{After, Sasl, SaslClasses, Talk, TalkReader};
use super::text::{
    contains_any_case, first_line, is_beginning_of, reply, split_word, starts_with_any_case,
};

const CLASSES: SaslClasses = SaslClasses {
    plain: "nntp_sasl_plain",
    login: "nntp_sasl_login",
    token: "nntp_sasl_token",
};

const COMMANDS: [&[u8]; 5] = [
    b"MODE READER",
    b"AUTHINFO ",
    b"CAPABILITIES",
    b"GROUP ",
    b"XOVER ",
];

/// A greeting that says so or that a client answers so; or a client's commands.
pub(super) fn probe(look: &Look<'_>) -> Match {
    let bytes = look.bytes;
    for command in COMMANDS {
        if starts_with_any_case(bytes, command) {
            return Match::Yes(Role::Client);
        }
        if starts_with_any_case(command, bytes) {
            return Match::NeedMore;
        }
    }
    if is_beginning_of(bytes, b"200 ") || is_beginning_of(bytes, b"201 ") {
        return Match::NeedMore;
    }
    if !bytes.starts_with(b"200 ") && !bytes.starts_with(b"201 ") {
        return Match::No;
    }
    let Some(line) = first_line(bytes) else {
        return if bytes.len() < 512 {
            Match::NeedMore
        } else {
            Match::No
        };
    };
    if contains_any_case(line, b"NNTP") || contains_any_case(line, b"InterNetNews") {
        return Match::Yes(Role::Server);
    }
    // Commands: the answer to a greeting that says nothing; a beginning of one waits.
    let known = |known: &&[u8]| starts_with_any_case(look.other, known);
    let begins = |known: &&[u8]| starts_with_any_case(known, look.other);
    if COMMANDS.iter().any(known) {
        Match::Yes(Role::Server)
    } else {
        Match::when_cut(COMMANDS.iter().any(begins))
    }
}

/// The reader.
pub(super) fn open() -> Box<dyn Reader> {
    TalkReader::<Nntp>::open()
}

#[derive(Debug, Default)]
struct Nntp {
    upgrade: Upgrade,
    sasl: Sasl,
    asking: bool,
    /// Within the list of capabilities: whether STARTTLS was there.
    list: Option<bool>,
}

impl Talk for Nntp {
    const TRANSPORT: &'static str = "starttls-nntp";

    fn client(&mut self, scene: &mut Scene<'_, '_>, line: &[u8]) -> After {
        if self.sasl.client(scene, &CLASSES, line) {
            return After::Line;
        }
        let (verb, arguments) = split_word(line);
        if verb.eq_ignore_ascii_case(b"STARTTLS") {
            self.upgrade.asked = true;
            self.asking = true;
        } else if verb.eq_ignore_ascii_case(b"AUTHINFO") {
            self.upgrade.went_on = true;
            let (kind, secret) = split_word(arguments);
            if kind.eq_ignore_ascii_case(b"PASS") {
                scene.login("nntp_password", None, secret);
            } else if kind.eq_ignore_ascii_case(b"SASL") {
                self.sasl.begin(scene, &CLASSES, secret);
            }
        } else if verb.eq_ignore_ascii_case(b"GROUP") {
            self.upgrade.went_on = true;
        }
        After::Line
    }

    fn server(&mut self, _scene: &mut Scene<'_, '_>, line: &[u8]) -> After {
        if let Some(listed) = &mut self.list {
            if line == b"." {
                let listed = *listed || self.upgrade.offered == Some(true);
                self.upgrade.offered = Some(listed);
                self.list = None;
            } else {
                *listed |= split_word(line).0.eq_ignore_ascii_case(b"STARTTLS");
            }
            return After::Line;
        }
        match reply(line) {
            Some((101, _)) => self.list = Some(false),
            Some((382, _)) if self.asking => return After::Tls,
            Some((400.., _)) if self.asking => {
                self.asking = false;
                self.upgrade.refused = true;
            }
            Some((281.., _)) => self.sasl.ended(),
            _ => {}
        }
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
        vec![
            stream(
                "nntp: password",
                "nntp",
                vec![
                    s("200 news.example InterNetNews NNRP server ready\r\n"),
                    c("AUTHINFO USER me\r\n"),
                    s("381 more\r\n"),
                    c("AUTHINFO PASS secret\r\n"),
                    s("281 ok\r\n"),
                ],
            )
            .credentials("nntp_password:6"),
            stream(
                "nntp: taken",
                "nntp,ssl",
                vec![
                    s("201 hello\r\n"),
                    c("CAPABILITIES\r\n"),
                    s("101 list\r\nVERSION 2\r\nSTARTTLS\r\n.\r\n"),
                    c("STARTTLS\r\n"),
                    s("382 go\r\n"),
                    c(client_hello()),
                ],
            )
            .starttls(StartTls::Taken),
            stream(
                "nntp: refused",
                "nntp",
                vec![
                    s("200 NNTP\r\n"),
                    c("STARTTLS\r\n"),
                    s("580 no\r\n"),
                    c("GROUP x\r\n"),
                ],
            )
            .starttls(StartTls::Refused),
        ]
    }
}
