//! SMTP (RFC 5321), STARTTLS (RFC 3207) and AUTH (RFC 4954). Messages
//! themselves are passed over, so that nothing in a mail passes for a command.

use super::reader::{Reader, Role, Scene, Upgrade};
use super::registry::{Look, Match};
use super::talk::{After, Sasl, SaslClasses, Talk, TalkReader};
use super::text::{
    contains_any_case, decimal, first_line, is_beginning_of, reply, split_at_byte, split_word,
};

const CLASSES: SaslClasses = SaslClasses {
    plain: "smtp_auth_plain",
    login: "smtp_auth_login",
    token: "smtp_auth_token",
};

const HELLOS: [&[u8]; 3] = [b"EHLO", b"HELO", b"LHLO"];

/// A banner that says so, or one that a client greets; a client's greeting.
pub(super) fn probe(look: &Look<'_>) -> Match {
    match probe_hello(look.bytes) {
        Match::No => {}
        found => return found,
    }
    let bytes = look.bytes;
    if is_beginning_of(bytes, b"220 ") || is_beginning_of(bytes, b"220-") {
        return Match::NeedMore;
    }
    if !bytes.starts_with(b"220 ") && !bytes.starts_with(b"220-") {
        let refuses = bytes.starts_with(b"554 ") || bytes.starts_with(b"421 ");
        let says_so = first_line(bytes).is_some_and(|line| contains_any_case(line, b"SMTP"));
        return Match::when(refuses && says_so, Role::Server);
    }
    let Some(banner) = first_line(bytes) else {
        return Match::NeedMore;
    };
    if contains_any_case(banner, b"SMTP") {
        return Match::Yes(Role::Server);
    }
    if look.other.is_empty() {
        return Match::NeedMore;
    }
    match probe_hello(look.other) {
        Match::Yes(_) => Match::Yes(Role::Server),
        other => other,
    }
}

fn probe_hello(bytes: &[u8]) -> Match {
    for hello in HELLOS {
        let (start, rest) = bytes.split_at(bytes.len().min(hello.len()));
        if !hello
            .get(..start.len())
            .is_some_and(|hello| hello.eq_ignore_ascii_case(start))
        {
            continue;
        }
        return match rest.first() {
            None => Match::NeedMore,
            Some(b' ' | b'\r' | b'\n') => Match::Yes(Role::Client),
            Some(_) => Match::No,
        };
    }
    Match::No
}

/// The reader.
pub(super) fn open() -> Box<dyn Reader> {
    TalkReader::<Smtp>::open()
}

#[derive(Debug, Default)]
struct Smtp {
    upgrade: Upgrade,
    sasl: Sasl,
    message: Message,
    /// EHLO was sent, and its answer is not complete.
    hello: bool,
    /// STARTTLS was in this answer to EHLO.
    listed: bool,
    /// STARTTLS was sent, and not answered.
    asking: bool,
}

/// Where a mail's transfer stands (RFC 5321 §4.1.1.4).
#[derive(Debug, Default, PartialEq, Eq)]
enum Message {
    #[default]
    None,
    /// DATA was sent: the mail follows, unless the server refuses.
    Asked,
    /// Until a line with a single dot.
    Body,
}

impl Talk for Smtp {
    const TRANSPORT: &'static str = "starttls-smtp";

    fn client(&mut self, scene: &mut Scene<'_, '_>, line: &[u8]) -> After {
        match self.message {
            Message::Body if line == b"." => self.message = Message::None,
            Message::Body => return After::Line,
            // No answer was seen; a mail begins with a header line.
            Message::Asked if is_header_line(line) => {
                self.message = Message::Body;
                return After::Line;
            }
            Message::Asked | Message::None => {}
        }
        if self.sasl.client(scene, &CLASSES, line) {
            return After::Line;
        }
        let (verb, arguments) = split_word(line);
        let is = |name: &[u8]| verb.eq_ignore_ascii_case(name);
        if is(b"EHLO") || is(b"LHLO") {
            self.hello = true;
            self.listed = false;
        } else if is(b"STARTTLS") {
            self.upgrade.asked = true;
            self.asking = true;
        } else if is(b"AUTH") {
            self.upgrade.went_on = true;
            self.sasl.begin(scene, &CLASSES, arguments);
        } else if is(b"MAIL") {
            self.upgrade.went_on = true;
            self.message = Message::None;
        } else if is(b"DATA") {
            self.message = Message::Asked;
        } else if is(b"BDAT") {
            // RFC 3030 §2.
            return After::Skip(decimal(split_word(arguments).0).unwrap_or(0));
        } else if verb.len() == 4 && verb.iter().all(|byte| *byte == b'X') {
            // A firewall overwrote EHLO so that no STARTTLS is offered.
            self.upgrade.mangled = true;
        }
        After::Line
    }

    fn server(&mut self, _scene: &mut Scene<'_, '_>, line: &[u8]) -> After {
        let Some((code, more)) = reply(line) else {
            return After::Line;
        };
        if code == 250 && (self.hello || more) {
            let keyword = split_word(line.get(4..).unwrap_or_default()).0;
            self.listed |= keyword.eq_ignore_ascii_case(b"STARTTLS");
            // Eight letters overwritten, as `STARTTLS` has.
            let overwritten = keyword.len() == b"STARTTLS".len() && keyword.starts_with(b"XXXX");
            self.upgrade.mangled |= overwritten;
            self.hello |= more;
            if !more {
                self.hello = false;
                let before = self.upgrade.offered.unwrap_or(false);
                self.upgrade.offered = Some(before || self.listed);
            }
            return After::Line;
        }
        if more {
            return After::Line;
        }
        self.hello &= code < 400;
        if self.asking && code != 250 {
            self.asking = false;
            if code == 220 {
                return After::Tls;
            }
            self.upgrade.refused = true;
            return After::Line;
        }
        if code != 334 {
            self.sasl.ended();
        }
        // Commands may be pipelined (RFC 2920): other answers are of those before.
        if code == 354 && self.message == Message::Asked {
            self.message = Message::Body;
        }
        After::Line
    }

    fn upgrade(&mut self) -> Option<&mut Upgrade> {
        Some(&mut self.upgrade)
    }
}

/// `Name: …`, without a blank in the name as commands have it.
fn is_header_line(line: &[u8]) -> bool {
    split_at_byte(line, b':')
        .is_some_and(|(name, _)| !name.is_empty() && name.iter().all(u8::is_ascii_graphic))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::StartTls;
    use super::super::testing::{Case, c, client_hello, s, stream};

    pub(in super::super) fn cases() -> Vec<Case> {
        let greeting = || s("220 mail.example ESMTP\r\n");
        let ehlo = || c("EHLO me.example\r\n");
        let plain = || s("250-mail.example\r\n250-SIZE 1000\r\n250 PIPELINING\r\n");
        let offer = || s("250-mail.example\r\n250-STARTTLS\r\n250 PIPELINING\r\n");
        let mail = || c("MAIL FROM:<a@me.example>\r\n");
        let conversation = |name, turns: Vec<_>| {
            let mut all = vec![greeting(), ehlo()];
            all.extend(turns);
            stream(name, "smtp", all)
        };
        let secured = |name, turns: Vec<_>| {
            let mut case = conversation(name, turns);
            case.turns.push(c(client_hello()));
            Case {
                service: "smtp,ssl",
                ..case
            }
        };
        vec![
            secured(
                "smtp: taken",
                vec![offer(), c("STARTTLS\r\n"), s("220 go ahead\r\n")],
            )
            .starttls(StartTls::Taken),
            secured(
                "smtp: taken, answer not seen",
                vec![offer(), c("starttls\r\n")],
            )
            .starttls(StartTls::Taken),
            conversation(
                "smtp: refused",
                vec![offer(), c("STARTTLS\r\n"), s("454 not now\r\n"), mail()],
            )
            .starttls(StartTls::Refused),
            conversation("smtp: not taken", vec![offer(), mail(), s("250 ok\r\n")])
                .starttls(StartTls::OfferedNotTaken),
            conversation("smtp: not offered", vec![plain(), mail(), s("250 ok\r\n")])
                .starttls(StartTls::NotOffered),
            conversation(
                "smtp: offer overwritten",
                vec![
                    s("250-mail.example\r\n250-XXXXXXXA\r\n250 HELP\r\n"),
                    mail(),
                ],
            )
            .starttls(StartTls::Stripped),
            conversation(
                "smtp: asked although not offered",
                vec![plain(), c("STARTTLS\r\n"), s("500 what?\r\n")],
            )
            .starttls(StartTls::Stripped),
            // RFC 4954 §4: tim, tanstaaftanstaaf; user name and password of LOGIN.
            conversation(
                "smtp: passwords",
                vec![
                    plain(),
                    c("AUTH PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm\r\n"),
                    s("535 no\r\n"),
                    c("AUTH PLAIN\r\n"),
                    s("334 \r\n"),
                    c("AHRpbQB0YW5zdGFhZnRhbnN0YWFm\r\n"),
                    s("535 no\r\n"),
                    c("AUTH LOGIN\r\n"),
                    s("334 VXNlcm5hbWU6\r\n"),
                    c("dGlt\r\n"),
                    s("334 UGFzc3dvcmQ6\r\n"),
                    c("c2VjcmV0\r\n"),
                    s("235 welcome\r\n"),
                    c("AUTH CRAM-MD5\r\n"),
                    s("334 PDE4OT4=\r\n"),
                    c("dGltIGI5MTM=\r\n"),
                    s("235 welcome\r\n"),
                ],
            )
            .credentials("smtp_auth_plain:16 smtp_auth_plain:16 smtp_auth_login:6")
            .starttls(StartTls::NotOffered),
            conversation(
                "smtp: commands within a mail are none",
                vec![
                    offer(),
                    c("MAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\n"),
                    s("250 ok\r\n250 ok\r\n354 go\r\n"),
                    c("Subject: x\r\n\r\nSTARTTLS\r\nAUTH PLAIN AHRpbQBh\r\n.\r\nQUIT\r\n"),
                    s("250 ok\r\n221 bye\r\n"),
                ],
            )
            .starttls(StartTls::OfferedNotTaken),
            stream(
                "smtp: a banner that says nothing",
                "smtp",
                vec![s("220 hello\r\n"), c("HELO x\r\n"), s("250 hi\r\n")],
            ),
        ]
    }
}
