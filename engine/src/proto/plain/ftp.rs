//! FTP's control connection (RFC 959), FEAT (RFC 2389), AUTH TLS (RFC 4217).

use super::reader::{Reader, Role, Scene, Upgrade};
use super::registry::{Look, Match};
use super::talk::{After, Talk, TalkReader};
use super::text::{contains_any_case, first_line, is_beginning_of, reply, split_word, words};
use crate::proto::credential::SecretHash;

/// Commands that no other protocol with USER and PASS has.
const OWN_COMMANDS: [&[u8]; 14] = [
    b"SYST", b"FEAT", b"PASV", b"EPSV", b"PORT", b"EPRT", b"TYPE", b"CWD", b"PWD", b"MLSD",
    b"PBSZ", b"PROT", b"OPTS", b"STOR",
];

/// A banner that says so or that a client answers so; or a client's commands.
pub(super) fn probe(look: &Look<'_>) -> Match {
    let bytes = look.bytes;
    if is_beginning_of(bytes, b"220 ") || is_beginning_of(bytes, b"220-") {
        return Match::NeedMore;
    }
    if bytes.starts_with(b"220 ") || bytes.starts_with(b"220-") {
        let Some(banner) = first_line(bytes) else {
            return Match::NeedMore;
        };
        if contains_any_case(banner, b"SMTP") {
            return Match::No;
        }
        if contains_any_case(bytes, b"FTP") {
            return Match::Yes(Role::Server);
        }
        if look.other.is_empty() {
            return Match::NeedMore;
        }
        return match probe_commands(look.other, true) {
            Match::Yes(_) => Match::Yes(Role::Server),
            other => other,
        };
    }
    match probe_commands(bytes, look.other.starts_with(b"220")) {
        // USER and PASS alone are POP3's too; here a port may decide.
        Match::NeedMore if look.last && first_line(bytes).is_some() => {
            Match::when(look.on_port(21) && look.other.is_empty(), Role::Client)
        }
        Match::NeedMore if !look.other.is_empty() && !is_beginning_of(look.other, b"220") => {
            Match::No
        }
        found => found,
    }
}

fn probe_commands(bytes: &[u8], greeted: bool) -> Match {
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n').take(8);
    let whole = |line: &&[u8]| line.ends_with(b"\n");
    let mut first = true;
    loop {
        let Some(line) = lines.next() else {
            return Match::NeedMore;
        };
        let (verb, arguments) = split_word(line);
        if !whole(&line) {
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
        let is_own = OWN_COMMANDS.iter().any(|own| is(own));
        let is_auth = is(b"AUTH")
            && [&b"TLS"[..], b"SSL", b"TLS-C", b"TLS-P", b"GSSAPI"]
                .iter()
                .any(|kind| arguments.eq_ignore_ascii_case(kind));
        let is_user = is(b"USER") && words(arguments).count() == 1;
        if is_own || is_auth || (greeted && is_user) {
            return Match::Yes(Role::Client);
        }
        if !is_user && (first || !is(b"PASS")) {
            return Match::No;
        }
        first = false;
    }
}

/// The reader.
pub(super) fn open() -> Box<dyn Reader> {
    TalkReader::<Ftp>::open()
}

#[derive(Debug, Default)]
struct Ftp {
    upgrade: Upgrade,
    /// Hash of the user's name.
    user: Option<SecretHash>,
    /// The user's name is one that takes any password.
    anonymous: bool,
    /// AUTH TLS was sent, and not answered.
    asking: bool,
    /// Within the answer to FEAT: whether AUTH TLS was listed.
    features: Option<bool>,
}

impl Talk for Ftp {
    const TRANSPORT: &'static str = "starttls-ftp";

    fn client(&mut self, scene: &mut Scene<'_, '_>, line: &[u8]) -> After {
        let (verb, arguments) = split_word(line);
        let is = |name: &[u8]| verb.eq_ignore_ascii_case(name);
        if is(b"USER") {
            self.upgrade.went_on = true;
            self.user = Some(scene.cx.redactor.user(arguments));
            self.anonymous = arguments.eq_ignore_ascii_case(b"anonymous")
                || arguments.eq_ignore_ascii_case(b"ftp");
        } else if is(b"PASS") && !arguments.is_empty() && !self.anonymous {
            scene.login("ftp_password", self.user, arguments);
        } else if is(b"AUTH") && contains_any_case(arguments, b"TLS")
            || is(b"AUTH") && contains_any_case(arguments, b"SSL")
        {
            self.upgrade.asked = true;
            self.asking = true;
        }
        After::Line
    }

    fn server(&mut self, _scene: &mut Scene<'_, '_>, line: &[u8]) -> After {
        let Some((code, more)) = reply(line) else {
            if let Some(listed) = &mut self.features {
                let (keyword, arguments) = split_word(line);
                *listed |= keyword.eq_ignore_ascii_case(b"AUTH")
                    && (contains_any_case(arguments, b"TLS")
                        || contains_any_case(arguments, b"SSL"));
            }
            return After::Line;
        };
        if code == 211 {
            if more {
                self.features.get_or_insert(false);
            } else if let Some(listed) = self.features.take() {
                self.upgrade.offered = Some(listed || self.upgrade.offered == Some(true));
            }
            return After::Line;
        }
        if self.asking && !more {
            self.asking = false;
            if code == 234 {
                return After::Tls;
            }
            self.upgrade.refused = true;
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
        let login = || {
            vec![
                s("220 (vsFTPd 3.0.3)\r\n"),
                c("USER me\r\n"),
                s("331 password?\r\n"),
                c("PASS secret\r\n"),
                s("230 hello\r\n"),
            ]
        };
        vec![
            stream("ftp: password", "ftp", login()).credentials("ftp_password:6"),
            stream(
                "ftp: a banner that says nothing",
                "ftp",
                vec![
                    s("220 hello\r\n"),
                    c("USER anonymous\r\n"),
                    s("331 ?\r\n"),
                    c("PASS a@b\r\n"),
                ],
            ),
            stream(
                "ftp: only the client was heard",
                "ftp",
                vec![c("USER me\r\n"), c("PASS secret\r\n"), c("SYST\r\n")],
            )
            .credentials("ftp_password:6"),
            stream(
                "ftp: taken",
                "ftp,ssl",
                vec![
                    s("220 FTP\r\n"),
                    c("AUTH TLS\r\n"),
                    s("234 go\r\n"),
                    c(client_hello()),
                ],
            )
            .starttls(StartTls::Taken),
            stream(
                "ftp: refused",
                "ftp",
                vec![
                    s("220 FTP\r\n"),
                    c("AUTH TLS\r\n"),
                    s("530 no\r\n"),
                    c("USER me\r\n"),
                    s("331 ?\r\n"),
                    c("PASS secret\r\n"),
                ],
            )
            .credentials("ftp_password:6")
            .starttls(StartTls::Refused),
            stream(
                "ftp: listed and not taken",
                "ftp",
                vec![
                    s("220 FTP\r\n"),
                    c("FEAT\r\n"),
                    s("211-Features:\r\n AUTH TLS\r\n UTF8\r\n211 End\r\n"),
                    c("USER me\r\n"),
                ],
            )
            .starttls(StartTls::OfferedNotTaken),
            stream(
                "ftp: not listed",
                "ftp",
                vec![
                    s("220 FTP\r\n"),
                    c("FEAT\r\n"),
                    s("211-Features:\r\n UTF8\r\n211 End\r\n"),
                ],
            )
            .starttls(StartTls::NotOffered),
        ]
    }
}
