//! IMAP (RFC 3501, RFC 9051): LOGIN with its literals, AUTHENTICATE, STARTTLS.

use super::reader::append_wiping;
use super::reader::{Reader, Role, Scene, Upgrade};
use super::registry::{Look, Match};
use super::talk::{After, Sasl, SaslClasses, Talk, TalkReader};
use super::text::{
    contains_any_case, decimal, first_line, is_beginning_of, split_word, starts_with_any_case,
    words,
};
use crate::proto::credential::SecretHash;
use zeroize::Zeroizing;

const CLASSES: SaslClasses = SaslClasses {
    plain: "imap_auth_plain",
    login: "imap_auth_login",
    token: "imap_auth_token",
};

const GREETINGS: [&[u8]; 3] = [b"* OK", b"* PREAUTH", b"* BYE"];
const COMMANDS: [&[u8]; 9] = [
    b"CAPABILITY",
    b"LOGIN",
    b"AUTHENTICATE",
    b"STARTTLS",
    b"ID",
    b"NOOP",
    b"SELECT",
    b"EXAMINE",
    b"LOGOUT",
];

/// A greeting, or a tagged command.
pub(super) fn probe(look: &Look<'_>) -> Match {
    let bytes = look.bytes;
    for greeting in GREETINGS {
        if is_beginning_of(bytes, greeting) {
            return Match::NeedMore;
        }
        if starts_with_any_case(bytes, greeting) {
            return match bytes.get(greeting.len()) {
                None => Match::NeedMore,
                Some(b' ' | b'\r') => Match::Yes(Role::Server),
                Some(_) => Match::No,
            };
        }
    }
    let tag = bytes
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'.')
        .count();
    match bytes.get(tag) {
        None if tag <= 16 => return Match::NeedMore,
        Some(b' ') if (1..=16).contains(&tag) => {}
        _ => return Match::No,
    }
    let Some(line) = first_line(bytes) else {
        let rest = bytes.get(tag + 1..).unwrap_or_default();
        let plausible = COMMANDS.iter().any(|command| {
            starts_with_any_case(command, rest) || starts_with_any_case(rest, command)
        });
        return if plausible && rest.len() < 512 {
            Match::NeedMore
        } else {
            Match::No
        };
    };
    let verb = split_word(line.get(tag..).unwrap_or_default()).0;
    Match::when(
        COMMANDS
            .iter()
            .any(|command| command.eq_ignore_ascii_case(verb)),
        Role::Client,
    )
}

/// The reader.
pub(super) fn open() -> Box<dyn Reader> {
    TalkReader::<Imap>::open()
}

#[derive(Debug, Default)]
struct Imap {
    upgrade: Upgrade,
    sasl: Sasl,
    /// STARTTLS was sent under this tag, and not answered.
    asking: Option<Box<[u8]>>,
    /// Within LOGIN: how many arguments were seen, when a literal cut the line.
    login: Option<u8>,
    /// Hash of the user's name.
    user: Option<SecretHash>,
    /// The client's line goes on after a literal, within another command.
    continues: bool,
}

impl Imap {
    /// Reads the arguments of LOGIN as far as this line has them.
    fn login(&mut self, scene: &mut Scene<'_, '_>, seen: u8, line: &[u8]) {
        let (mut seen, mut rest) = (seen, line.trim_ascii());
        self.login = None;
        while !rest.is_empty() && seen < 2 {
            let mut unquoted = Zeroizing::default();
            let (word, len, after) =
                if let Some(len) = literal(rest).filter(|_| rest.starts_with(b"{")) {
                    (None, usize::try_from(len).unwrap_or(usize::MAX), &[][..])
                } else if let Some(quoted) = rest.strip_prefix(b"\"") {
                    let after = unquote(quoted, &mut unquoted);
                    (Some(&unquoted[..]), unquoted.len(), after)
                } else {
                    let (word, after) = split_word(rest);
                    (Some(word), word.len(), after)
                };
            seen += 1;
            match word {
                Some(user) if seen == 1 => self.user = Some(scene.cx.redactor.user(user)),
                Some(secret) => scene.login("imap_login", self.user, secret),
                // It follows as a literal, which is passed over.
                None if seen == 2 => scene.credential("imap_login", len),
                None => {}
            }
            rest = after.trim_ascii();
        }
        if seen < 2 {
            self.login = Some(seen);
        }
    }
}

impl Talk for Imap {
    const TRANSPORT: &'static str = "starttls-imap";

    fn client(&mut self, scene: &mut Scene<'_, '_>, line: &[u8]) -> After {
        let literal = literal(line);
        let after = literal.map_or(After::Line, After::Skip);
        if let Some(seen) = self.login.take() {
            self.login(scene, seen, line);
            return after;
        }
        if std::mem::replace(&mut self.continues, literal.is_some()) {
            return after;
        }
        if self.sasl.client(scene, &CLASSES, line) {
            return after;
        }
        let (tag, rest) = split_word(line);
        let (verb, arguments) = split_word(rest);
        let is = |name: &[u8]| verb.eq_ignore_ascii_case(name);
        if is(b"LOGIN") {
            self.upgrade.went_on = true;
            self.continues = false;
            self.login(scene, 0, arguments);
        } else if is(b"AUTHENTICATE") {
            self.upgrade.went_on = true;
            self.sasl.begin(scene, &CLASSES, arguments);
        } else if is(b"STARTTLS") {
            self.upgrade.asked = true;
            self.asking = Some(tag.into());
        } else if is(b"SELECT") || is(b"EXAMINE") {
            self.upgrade.went_on = true;
        }
        after
    }

    fn server(&mut self, _scene: &mut Scene<'_, '_>, line: &[u8]) -> After {
        if let Some(len) = literal(line) {
            return After::Skip(len);
        }
        let (tag, rest) = split_word(line);
        let (status, text) = split_word(rest);
        if tag == b"*" || starts_with_any_case(text, b"[CAPABILITY") {
            let listing = status.eq_ignore_ascii_case(b"CAPABILITY")
                || starts_with_any_case(text, b"[CAPABILITY");
            if listing {
                let listed = words(line).any(|word| {
                    let word = word.strip_suffix(b"]").unwrap_or(word);
                    word.eq_ignore_ascii_case(b"STARTTLS")
                });
                self.upgrade.offered = Some(listed || self.upgrade.offered == Some(true));
                self.upgrade.mangled |= contains_any_case(line, b" XXXXXXX");
            }
        }
        if tag != b"*" && tag != b"+" {
            self.sasl.ended();
            if self.asking.as_deref() == Some(tag) {
                self.asking = None;
                if status.eq_ignore_ascii_case(b"OK") {
                    return After::Tls;
                }
                self.upgrade.refused = true;
            }
        }
        After::Line
    }

    fn upgrade(&mut self) -> Option<&mut Upgrade> {
        Some(&mut self.upgrade)
    }
}

/// `{n}` or `{n+}` at the end of a line (RFC 7888).
fn literal(line: &[u8]) -> Option<u64> {
    let inner = line.strip_suffix(b"}")?;
    let at = memchr::memrchr(b'{', inner)?;
    let digits = inner.get(at + 1..)?;
    decimal(digits.strip_suffix(b"+").unwrap_or(digits))
}

/// Length of what stands before the closing quote, and what follows it.
fn unquote<'a>(quoted: &'a [u8], out: &mut Zeroizing<Vec<u8>>) -> &'a [u8] {
    let mut rest = quoted;
    while let Some((&byte, after)) = rest.split_first() {
        let (byte, after) = match (byte, after.split_first()) {
            (b'"', _) => return after,
            (b'\\', Some((&escaped, after))) => (escaped, after),
            _ => (byte, after),
        };
        append_wiping(out, &[byte]);
        rest = after;
    }
    &[]
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::StartTls;
    use super::super::testing::{Case, c, client_hello, s, stream};

    pub(in super::super) fn cases() -> Vec<Case> {
        let offer = || s("* OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN] ready\r\n");
        let none = || s("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] ready\r\n");
        vec![
            stream(
                "imap: login",
                "imap",
                vec![
                    none(),
                    c("a1 LOGIN me \"my \\\"secret\"\r\n"),
                    s("a1 NO\r\n"),
                    c("a2 login {2}\r\n"),
                    s("+ go\r\n"),
                    c("me {6}\r\n"),
                    s("+ go\r\n"),
                    c("secret\r\n"),
                    s("a2 OK\r\n"),
                    c("a3 LOGIN me secret\r\n"),
                ],
            )
            .credentials("imap_login:10 imap_login:6 imap_login:6")
            .starttls(StartTls::NotOffered),
            stream(
                "imap: taken",
                "imap,ssl",
                vec![
                    offer(),
                    c("a1 STARTTLS\r\n"),
                    s("a1 OK begin\r\n"),
                    c(client_hello()),
                ],
            )
            .starttls(StartTls::Taken),
            stream(
                "imap: refused",
                "imap",
                vec![offer(), c("a1 STARTTLS\r\n"), s("a1 BAD no\r\n")],
            )
            .starttls(StartTls::Refused),
            stream(
                "imap: not taken",
                "imap",
                vec![
                    s("* OK ready\r\n"),
                    c("1 CAPABILITY\r\n"),
                    s("* CAPABILITY IMAP4rev1 STARTTLS\r\n1 OK\r\n"),
                    c("2 AUTHENTICATE PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm\r\n"),
                    s("2 OK\r\n"),
                ],
            )
            .credentials("imap_auth_plain:16")
            .starttls(StartTls::OfferedNotTaken),
            stream(
                "imap: a mail that is appended is no command",
                "imap",
                vec![
                    none(),
                    c("a APPEND x {22}\r\na LOGIN me secret\r\n. \r\nb NOOP\r\n"),
                    s("a OK\r\nb OK\r\n"),
                ],
            )
            .starttls(StartTls::NotOffered),
        ]
    }
}
