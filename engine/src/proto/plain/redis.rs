//! Redis (RESP, redis.io/docs/reference/protocol-spec): AUTH and HELLO … AUTH.

use super::reader::{Reader, Role, Scene};
use super::registry::{Look, Match};
use super::talk::{After, Talk, TalkReader};
use super::text::{decimal, first_line, is_beginning_of, split_at_byte, split_word, words};

/// A command as an array of strings, or a server that says it is Redis.
pub(super) fn probe(look: &Look<'_>) -> Match {
    let bytes = look.bytes;
    for refusal in [&b"-NOAUTH "[..], b"-DENIED Redis"] {
        if bytes.starts_with(refusal) {
            return Match::Yes(Role::Server);
        }
        if is_beginning_of(bytes, refusal) {
            return Match::NeedMore;
        }
    }
    // `*2\r\n$4\r\nAUTH\r\n…`
    let Some(array) = bytes.strip_prefix(b"*") else {
        return Match::No;
    };
    match header(array) {
        Header::Cut => Match::NeedMore,
        Header::None => Match::No,
        Header::Value(count, _) if count == 0 || count > 1 << 20 => Match::No,
        Header::Value(_, rest) => {
            let Some((b'$', rest)) = rest.split_first().map(|(first, rest)| (*first, rest)) else {
                return if rest.is_empty() {
                    Match::NeedMore
                } else {
                    Match::No
                };
            };
            match header(rest) {
                Header::Cut => Match::NeedMore,
                Header::None => Match::No,
                Header::Value(len, name) if (1..=32).contains(&len) => {
                    let len = usize::try_from(len).unwrap_or(usize::MAX);
                    let name = name.get(..len).unwrap_or(name);
                    let is_name = name
                        .iter()
                        .all(|byte| byte.is_ascii_alphanumeric() || b"._|-".contains(byte));
                    match (is_name, name.len() == len) {
                        (false, _) => Match::No,
                        (true, true) => Match::Yes(Role::Client),
                        (true, false) => Match::NeedMore,
                    }
                }
                Header::Value(..) => Match::No,
            }
        }
    }
}

enum Header<'a> {
    Value(u64, &'a [u8]),
    Cut,
    None,
}

/// `digits CR LF`.
fn header(bytes: &[u8]) -> Header<'_> {
    match split_at_byte(bytes, b'\n') {
        Some((digits, rest)) => match digits.strip_suffix(b"\r").and_then(decimal) {
            Some(value) => Header::Value(value, rest),
            None => Header::None,
        },
        None => {
            let digits = bytes.strip_suffix(b"\r").unwrap_or(bytes);
            if digits.len() <= 10 && digits.iter().all(u8::is_ascii_digit) {
                Header::Cut
            } else {
                Header::None
            }
        }
    }
}

/// The reader.
pub(super) fn open() -> Box<dyn Reader> {
    TalkReader::<Redis>::open()
}

#[derive(Debug, Default)]
struct Redis {
    /// Strings of the command that are still to come.
    left: u64,
    command: Command,
    /// The next line is a string's text and not a header.
    text: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Command {
    #[default]
    Unknown,
    Auth,
    Hello,
    Other,
}

impl Talk for Redis {
    const TRANSPORT: &'static str = "starttls-redis";

    fn client(&mut self, scene: &mut Scene<'_, '_>, line: &[u8]) -> After {
        if std::mem::take(&mut self.text) {
            self.command = match (self.command, line) {
                (Command::Unknown, name) if name.eq_ignore_ascii_case(b"AUTH") => Command::Auth,
                (Command::Unknown, name) if name.eq_ignore_ascii_case(b"HELLO") => Command::Hello,
                (Command::Unknown, _) => Command::Other,
                // HELLO 3 AUTH user password
                (Command::Hello, option) if option.eq_ignore_ascii_case(b"AUTH") => {
                    self.left = self.left.min(2);
                    Command::Auth
                }
                (command, _) => command,
            };
            return After::Line;
        }
        match line.split_first() {
            Some((b'*', count)) => {
                self.left = decimal(count).unwrap_or(0);
                self.command = Command::Unknown;
            }
            Some((b'$', len)) if self.left > 0 => {
                let len = decimal(len).unwrap_or(0);
                self.left -= 1;
                if self.command == Command::Auth && self.left == 0 {
                    scene.credential("redis_auth", usize::try_from(len).unwrap_or(usize::MAX));
                }
                let reads = matches!(self.command, Command::Unknown | Command::Hello) && len <= 64;
                if !reads {
                    return After::Skip(len.saturating_add(2));
                }
                self.text = true;
            }
            // Inline: AUTH [user] password
            Some(_) => {
                let (verb, arguments) = split_word(line);
                if verb.eq_ignore_ascii_case(b"AUTH") {
                    let secret = words(arguments).last().unwrap_or_default();
                    scene.login("redis_auth", None, secret);
                }
            }
            None => {}
        }
        After::Line
    }

    fn server(&mut self, _scene: &mut Scene<'_, '_>, _line: &[u8]) -> After {
        After::Nothing
    }
}

/// memcached's text and binary protocols (memcached, doc/protocol.txt).
pub(super) fn probe_memcached(look: &Look<'_>) -> Match {
    let bytes = look.bytes;
    // Binary: magic, opcode, key length, extras length, data type 0, …, body length.
    if let [0x80 | 0x81, rest @ ..] = bytes {
        if bytes.len() < 24 {
            return if rest.first().is_none_or(|opcode| *opcode <= 0x25) {
                Match::NeedMore
            } else {
                Match::No
            };
        }
        let key = super::text::be16(bytes, 2).map_or(0, u32::from);
        let extras = bytes.get(4).map_or(0, |extras| u32::from(*extras));
        let body = super::text::be32(bytes, 8).unwrap_or(0);
        let fits = rest.first().is_some_and(|opcode| *opcode <= 0x25)
            && key <= 250
            && extras <= 20
            && key + extras <= body
            && body <= 1 << 20
            && bytes.get(5) == Some(&0);
        let role = if bytes.first() == Some(&0x80) {
            Role::Client
        } else {
            Role::Server
        };
        // A request's reserved bucket is nearly always zero; a response's status is small.
        let quiet = super::text::be16(bytes, 6).is_some_and(|bucket| bucket <= 0x86);
        return Match::when(fits && quiet, role);
    }
    let could = [
        &b"get "[..],
        b"gets ",
        b"set ",
        b"add ",
        b"stats",
        b"version",
        b"VALUE ",
        b"STAT ",
    ];
    let Some(line) = first_line(bytes) else {
        let plausible = could
            .iter()
            .any(|word| word.starts_with(bytes) || bytes.starts_with(word));
        return if plausible && bytes.len() <= 512 {
            Match::NeedMore
        } else {
            Match::No
        };
    };
    if !bytes
        .get(line.len()..)
        .is_some_and(|end| end.starts_with(b"\r\n"))
    {
        return Match::No;
    }
    let (verb, arguments) = split_word(line);
    let count = words(arguments).count();
    let numbers = |skip: usize| {
        words(arguments)
            .skip(skip)
            .all(|word| decimal(word).is_some())
    };
    match verb {
        b"get" | b"gets" => Match::when(count >= 1, Role::Client),
        b"set" | b"add" | b"replace" | b"append" | b"prepend" => {
            let reply = arguments.strip_suffix(b" noreply").unwrap_or(arguments);
            let fits = words(reply).count() == 4
                && words(reply).skip(1).all(|word| decimal(word).is_some());
            Match::when(fits, Role::Client)
        }
        b"stats" => Match::when(count <= 2, Role::Client),
        b"version" => Match::when(count == 0, Role::Client),
        b"VALUE" => Match::when((3..=4).contains(&count) && numbers(1), Role::Server),
        b"STAT" => Match::when(count >= 2 && arguments.starts_with(b"pid "), Role::Server),
        _ => Match::No,
    }
}

/// The same over UDP, after a frame header of eight bytes: request id,
/// sequence, number of datagrams, zero.
pub(super) fn probe_memcached_datagram(look: &Look<'_>) -> Match {
    let Some((header, rest)) = look.bytes.split_at_checked(8) else {
        return Match::No;
    };
    let [_, _, _, _, count_high, count_low, 0, 0] = *header else {
        return Match::No;
    };
    if (count_high, count_low) == (0, 0) || rest.is_empty() {
        return Match::No;
    }
    probe_memcached(&Look {
        bytes: rest,
        ..*look
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::testing::{Case, c, datagrams, hex, s, stream};

    pub(in super::super) fn cases() -> Vec<Case> {
        let mut framed = hex("0001 0000 0001 0000");
        framed.extend(b"stats\r\n");
        vec![
            stream(
                "redis: passwords",
                "redis",
                vec![
                    c("*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n"),
                    s("+OK\r\n"),
                    c("*3\r\n$4\r\nauth\r\n$2\r\nme\r\n$8\r\nsec\r\nret\r\n"),
                    c("*5\r\n$5\r\nHELLO\r\n$1\r\n3\r\n$4\r\nAUTH\r\n$2\r\nme\r\n$4\r\nword\r\n"),
                    c("*3\r\n$3\r\nSET\r\n$4\r\nAUTH\r\n$4\r\nx\r\ny\r\nAUTH inline\r\n"),
                ],
            )
            .credentials("redis_auth:6 redis_auth:8 redis_auth:4 redis_auth:6"),
            stream(
                "redis: only the server was heard",
                "redis",
                vec![s("-NOAUTH Authentication required.\r\n")],
            ),
            stream(
                "memcached: text",
                "memcached",
                vec![c("set key 0 60 5\r\nhello\r\n"), s("STORED\r\n")],
            ),
            stream(
                "memcached: binary",
                "memcached",
                vec![c(hex(
                    "80 00 0005 00 00 0000 00000005 00000000 0000000000000000 48656c6c6f",
                ))],
            ),
            datagrams("memcached: datagram", "memcached", 11_211, vec![c(framed)]),
        ]
    }
}
