//! IRC (RFC 1459, RFC 2812), with the passwords it knows and the STARTTLS of
//! IRCv3 (numerics 670 and 691).

use super::reader::{Reader, Role, Scene, Upgrade};
use super::registry::{Look, Match};
use super::talk::{After, Sasl, SaslClasses, Talk, TalkReader};
use super::text::{contains_any_case, is_ascii_text, split_word, starts_with_any_case, words};

const CLASSES: SaslClasses = SaslClasses {
    plain: "irc_sasl_plain",
    login: "irc_sasl_login",
    token: "irc_sasl_token",
};

/// What a client registers with, or what a server says of itself.
pub(super) fn probe(look: &Look<'_>) -> Match {
    for line in look.bytes.split_inclusive(|byte| *byte == b'\n').take(4) {
        if !line.ends_with(b"\n") {
            let first = line.first().copied().unwrap_or_default();
            let plausible = line.len() <= 512
                && (first == b':' || first.is_ascii_uppercase())
                && is_ascii_text(line.trim_ascii_end());
            return if plausible && could_begin(line) {
                Match::NeedMore
            } else {
                Match::No
            };
        }
        let line = line.trim_ascii();
        let (verb, arguments) = split_word(line);
        if let Some(server) = verb.strip_prefix(b":") {
            let (numeric, _) = split_word(arguments);
            let known = [
                &b"NOTICE"[..],
                b"670",
                b"691",
                b"001",
                b"020",
                b"CAP",
                b"433",
                b"451",
                b"PING",
                b"PRIVMSG",
                b"JOIN",
                b"MODE",
            ];
            return Match::when(!server.is_empty() && known.contains(&numeric), Role::Server);
        }
        let count = words(arguments).count();
        match verb {
            b"NICK" if (1..=2).contains(&count) => return Match::Yes(Role::Client),
            b"USER" if count >= 4 => return Match::Yes(Role::Client),
            b"CAP"
                if starts_with_any_case(arguments, b"LS")
                    || starts_with_any_case(arguments, b"REQ") =>
            {
                return Match::Yes(Role::Client);
            }
            b"PRIVMSG" if split_word(arguments).1.starts_with(b":") => {
                return Match::Yes(Role::Client);
            }
            b"JOIN" | b"PRIVMSG" if arguments.starts_with(b"#") => return Match::Yes(Role::Client),
            b"NOTICE"
                if starts_with_any_case(arguments, b"AUTH :")
                    || starts_with_any_case(arguments, b"* :") =>
            {
                return Match::Yes(Role::Server);
            }
            // A password, or a wish for TLS, comes before a name.
            b"PASS" | b"STARTTLS" => {}
            _ => return Match::No,
        }
    }
    Match::NeedMore
}

fn could_begin(line: &[u8]) -> bool {
    let words: [&[u8]; 8] = [
        b"NICK ",
        b"USER ",
        b"CAP ",
        b"JOIN #",
        b"PRIVMSG ",
        b"NOTICE ",
        b"PASS ",
        b"STARTTLS",
    ];
    line.starts_with(b":")
        || words
            .iter()
            .any(|word| word.starts_with(line) || line.starts_with(word))
}

/// The reader.
pub(super) fn open() -> Box<dyn Reader> {
    TalkReader::<Irc>::open()
}

#[derive(Debug, Default)]
struct Irc {
    upgrade: Upgrade,
    sasl: Sasl,
}

impl Talk for Irc {
    const TRANSPORT: &'static str = "starttls-irc";

    fn client(&mut self, scene: &mut Scene<'_, '_>, line: &[u8]) -> After {
        let (verb, arguments) = split_word(line);
        let is = |name: &[u8]| verb.eq_ignore_ascii_case(name);
        if is(b"PASS") && !arguments.is_empty() {
            let secret = arguments.strip_prefix(b":").unwrap_or(arguments);
            scene.login("irc_password", None, secret);
        } else if is(b"OPER") {
            let (user, secret) = split_word(arguments);
            let user = scene.cx.redactor.user(user);
            scene.login("irc_oper_password", Some(user), secret);
        } else if is(b"AUTHENTICATE") {
            if self.sasl == Sasl::None {
                self.sasl.begin(scene, &CLASSES, arguments);
            } else {
                self.sasl.client(scene, &CLASSES, arguments);
            }
        } else if is(b"PRIVMSG") && starts_with_any_case(arguments, b"NickServ :IDENTIFY ") {
            let secret = words(arguments).last().unwrap_or_default();
            scene.login("irc_nickserv_password", None, secret);
        } else if is(b"STARTTLS") {
            self.upgrade.asked = true;
        } else if is(b"JOIN") || is(b"PRIVMSG") {
            self.upgrade.went_on = true;
        }
        After::Line
    }

    fn server(&mut self, _scene: &mut Scene<'_, '_>, line: &[u8]) -> After {
        if !line.starts_with(b":") {
            return After::Line;
        }
        let (_, rest) = split_word(line);
        let (command, arguments) = split_word(rest);
        match command {
            b"670" => return After::Tls,
            b"691" => self.upgrade.refused = true,
            b"CAP" if contains_any_case(arguments, b" LS ") => {
                let listed = words(arguments).any(|word| {
                    let word = word.strip_prefix(b":").unwrap_or(word);
                    word == b"tls"
                });
                self.upgrade.offered = Some(listed || self.upgrade.offered == Some(true));
            }
            b"900" | b"903" | b"904" | b"905" | b"906" => self.sasl.ended(),
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
                "irc: TLS before anything else",
                "irc,ssl",
                vec![
                    c("STARTTLS\r\n"),
                    s(":irc.example 670 :STARTTLS successful, go ahead\r\n"),
                    c(client_hello()),
                ],
            )
            .starttls(StartTls::Taken),
            stream(
                "irc: in its midst",
                "irc",
                vec![c("PRIVMSG bob :hello\r\n")],
            ),
            stream(
                "irc: passwords",
                "irc",
                vec![
                    c("PASS secret\r\nNICK me\r\nUSER me 0 * :Me\r\n"),
                    s(":irc.example 001 me :Welcome\r\n"),
                    c("PRIVMSG NickServ :IDENTIFY hunter2\r\nOPER me word\r\n"),
                ],
            )
            .credentials("irc_password:6 irc_nickserv_password:7 irc_oper_password:4"),
            stream(
                "irc: sasl",
                "irc",
                vec![
                    c("CAP LS 302\r\n"),
                    s(":irc.example CAP * LS :sasl tls multi-prefix\r\n"),
                    c("AUTHENTICATE PLAIN\r\n"),
                    s("AUTHENTICATE +\r\n"),
                    c("AUTHENTICATE AHRpbQB0YW5zdGFhZnRhbnN0YWFm\r\n"),
                    s(":irc.example 903 me :ok\r\n"),
                ],
            )
            .credentials("irc_sasl_plain:16")
            .starttls(StartTls::OfferedNotTaken),
            stream(
                "irc: taken",
                "irc,ssl",
                vec![
                    s(":irc.example NOTICE * :*** Looking up your hostname\r\n"),
                    c("STARTTLS\r\n"),
                    s(":irc.example 670 * :STARTTLS successful\r\n"),
                    c(client_hello()),
                ],
            )
            .starttls(StartTls::Taken),
            stream(
                "irc: refused",
                "irc",
                vec![
                    c("STARTTLS\r\nNICK me\r\n"),
                    s(":irc.example 691 me :STARTTLS failed\r\n"),
                ],
            )
            .starttls(StartTls::Refused),
        ]
    }
}
