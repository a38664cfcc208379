//! Key logs: the secrets of TLS sessions by the client's random, in the format
//! of SSLKEYLOGFILE (RFC 9850), from files and from Decryption Secrets Blocks.
//! They serve to decrypt and go nowhere else: wiped when dropped, shown by
//! nothing, and a line that is no secret is counted, never repeated.

use crate::evidence::PacketRef;
use foldhash::quality::RandomState;
use hashbrown::HashMap;
use zeroize::Zeroizing;

/// Longest secret: a master secret, or that of a SHA-384 suite.
const MAX_SECRET: usize = 48;
/// Longest line that can hold a secret, with room for blanks.
const MAX_LINE: usize = 512;
/// Secrets of one session; a session has eleven at most, and renewals none.
const MAX_OF_SESSION: usize = 32;

/// What a secret is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// Master secret of TLS 1.2 and below.
    Master,
    /// Premaster secret of TLS 1.2 and below.
    Premaster,
    /// Early data of the client.
    ClientEarly,
    /// Handshake of the client.
    ClientHandshake,
    /// Handshake of the server.
    ServerHandshake,
    /// First application secret of the client.
    ClientTraffic,
    /// First application secret of the server.
    ServerTraffic,
}

impl Label {
    fn named(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"CLIENT_RANDOM" => Self::Master,
            b"PMS_CLIENT_RANDOM" => Self::Premaster,
            b"CLIENT_EARLY_TRAFFIC_SECRET" => Self::ClientEarly,
            b"CLIENT_HANDSHAKE_TRAFFIC_SECRET" => Self::ClientHandshake,
            b"SERVER_HANDSHAKE_TRAFFIC_SECRET" => Self::ServerHandshake,
            b"CLIENT_TRAFFIC_SECRET_0" => Self::ClientTraffic,
            b"SERVER_TRAFFIC_SECRET_0" => Self::ServerTraffic,
            _ => return None,
        })
    }

    /// Whether a secret of so many bytes can be one of these.
    fn fits(self, len: usize) -> bool {
        match self {
            Self::Master => len == MAX_SECRET,
            // A Diffie-Hellman value of any length.
            Self::Premaster => len > 0,
            _ => matches!(len, 32 | 48),
        }
    }
}

/// Where a secret came from, and from when on it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file that the user gave.
    KeyLog,
    /// A Decryption Secrets Block of a file whose blocks were looked through
    /// before its packets.
    Block,
    /// A Decryption Secrets Block of a stream: known to what follows it.
    Passing {
        /// The stream's row in `captures`.
        capture: u32,
        /// The block's offset.
        offset: u64,
    },
}

impl Source {
    /// The name that tables use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::KeyLog => "keylog",
            Self::Block | Self::Passing { .. } => "dsb",
        }
    }

    fn is_known_at(self, packet: PacketRef) -> bool {
        match self {
            Self::KeyLog | Self::Block => true,
            Self::Passing { capture, offset } => {
                (capture, offset) < (packet.capture, packet.offset)
            }
        }
    }
}

/// What the lines of one text came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Secrets that are new and serve to decrypt.
    pub secrets: u64,
    /// Lines that are none, comments aside.
    pub malformed: u64,
    /// Secrets beyond the limit, left out.
    pub left_out: u64,
}

struct Secret {
    label: Label,
    source: Source,
    /// Of this capacity from the start, so that no copy stays behind.
    bytes: Zeroizing<Vec<u8>>,
}

/// All secrets that are known.
pub struct KeyLog {
    by_random: HashMap<[u8; 32], Vec<Secret>, RandomState>,
    /// Premaster secrets by the first eight bytes of their encryption under the
    /// server's RSA key.
    by_encryption: HashMap<[u8; 8], Secret, RandomState>,
    len: usize,
    limit: usize,
}

impl std::fmt::Debug for KeyLog {
    /// Says how much there is, never what.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyLog").field("len", &self.len).finish()
    }
}

impl Default for KeyLog {
    fn default() -> Self {
        Self::new(crate::policy::Limits::default().keylog_secrets)
    }
}

impl KeyLog {
    /// Room for so many secrets.
    pub fn new(limit: usize) -> Self {
        Self {
            by_random: HashMap::default(),
            by_encryption: HashMap::default(),
            len: 0,
            limit,
        }
    }

    /// Takes the secrets of a key log's text.
    pub fn add(&mut self, text: &[u8], source: Source) -> Taken {
        let mut taken = Taken::default();
        for line in text.split(|byte| *byte == b'\n') {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            match self.line(line, source) {
                Line::Taken => taken.secrets += 1,
                Line::Known => {}
                Line::Malformed => taken.malformed += 1,
                Line::LeftOut => taken.left_out += 1,
            }
        }
        taken
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Where a session's secrets come from, if any is known when this packet passes.
    pub(super) fn source(&self, client_random: &[u8; 32], at: PacketRef) -> Option<Source> {
        let secrets = self.by_random.get(client_random)?;
        secrets
            .iter()
            .map(|secret| secret.source)
            .find(|source| source.is_known_at(at))
    }

    /// The secret of a session, where one is known when this packet passes.
    pub(super) fn find(
        &self,
        client_random: &[u8; 32],
        label: Label,
        at: PacketRef,
    ) -> Option<(&[u8], Source)> {
        let secrets = self.by_random.get(client_random)?;
        secrets
            .iter()
            .find(|secret| secret.label == label && secret.source.is_known_at(at))
            .map(|secret| (&**secret.bytes, secret.source))
    }

    /// The premaster secret whose encryption begins so.
    pub(super) fn premaster(&self, encryption: &[u8; 8], at: PacketRef) -> Option<(&[u8], Source)> {
        let secret = self.by_encryption.get(encryption)?;
        let known = secret.source.is_known_at(at);
        known.then_some((&**secret.bytes, secret.source))
    }

    fn line(&mut self, line: &[u8], source: Source) -> Line {
        let mut words = line
            .get(..MAX_LINE)
            .unwrap_or(line)
            .split(|byte| byte.is_ascii_whitespace())
            .filter(|word| !word.is_empty());
        let (Some(name), Some(key), Some(secret), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Line::Malformed;
        };
        let mut bytes = Zeroizing::new(Vec::with_capacity(secret.len() / 2));
        if hex(secret, &mut bytes).is_none() {
            return Line::Malformed;
        }
        let mut random = Zeroizing::new(Vec::with_capacity(32));
        if hex(key, &mut random).is_none() {
            return Line::Malformed;
        }
        if name == b"RSA" {
            return match <[u8; 8]>::try_from(random.as_slice()) {
                Ok(encryption) if bytes.len() == MAX_SECRET => {
                    self.keep_premaster(encryption, bytes, source)
                }
                _ => Line::Malformed,
            };
        }
        let Ok(random) = <[u8; 32]>::try_from(random.as_slice()) else {
            return Line::Malformed;
        };
        match Label::named(name) {
            Some(label) if label.fits(bytes.len()) => self.keep(random, label, bytes, source),
            Some(_) => Line::Malformed,
            // Exporters, ECH and the like: well-formed, and of no use here.
            None if name.iter().all(|byte| is_name(*byte)) => Line::Known,
            None => Line::Malformed,
        }
    }

    fn keep(
        &mut self,
        random: [u8; 32],
        label: Label,
        bytes: Zeroizing<Vec<u8>>,
        source: Source,
    ) -> Line {
        let secrets = self.by_random.entry(random).or_default();
        // The same again, as a file given twice has it; one that is known
        // from the start takes the place of one that passes.
        let same = secrets
            .iter_mut()
            .find(|secret| secret.label == label && secret.bytes == bytes);
        if let Some(same) = same {
            if !matches!(source, Source::Passing { .. }) {
                same.source = source;
            }
            return Line::Known;
        }
        if self.len >= self.limit || secrets.len() >= MAX_OF_SESSION {
            if secrets.is_empty() {
                self.by_random.remove(&random);
            }
            return Line::LeftOut;
        }
        secrets.push(Secret {
            label,
            source,
            bytes,
        });
        self.len += 1;
        Line::Taken
    }

    fn keep_premaster(
        &mut self,
        encryption: [u8; 8],
        bytes: Zeroizing<Vec<u8>>,
        source: Source,
    ) -> Line {
        if self.by_encryption.contains_key(&encryption) {
            return Line::Known;
        }
        if self.len >= self.limit {
            return Line::LeftOut;
        }
        let secret = Secret {
            label: Label::Premaster,
            source,
            bytes,
        };
        self.by_encryption.insert(encryption, secret);
        self.len += 1;
        Line::Taken
    }
}

/// What a line came to.
enum Line {
    Taken,
    /// Known already, or of no use.
    Known,
    Malformed,
    LeftOut,
}

/// Labels are made of these (RFC 9850 §2).
fn is_name(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_'
}

/// Appends what hexadecimal digits say, within the capacity.
fn hex(digits: &[u8], out: &mut Vec<u8>) -> Option<()> {
    if !digits.len().is_multiple_of(2) || digits.is_empty() {
        return None;
    }
    for pair in digits.chunks_exact(2) {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let [high, low] = <[u8; 2]>::try_from(pair).ok()?;
        let byte = digit(high)? << 4 | digit(low)?;
        if out.len() == out.capacity() {
            return None;
        }
        out.push(u8::try_from(byte).ok()?);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(capture: u32, offset: u64) -> PacketRef {
        PacketRef {
            capture,
            frame: 1,
            offset,
        }
    }

    fn line(label: &str, random: u8, secret: &str) -> String {
        format!(
            "{label} {} {secret}\r\n",
            format!("{random:02x}").repeat(32)
        )
    }

    #[test]
    fn lines_are_read_and_others_counted() {
        let (short, long) = ("0a".repeat(32), "0B".repeat(48));
        let text = [
            "# a comment\n\n".to_owned(),
            line("CLIENT_RANDOM", 1, &long),
            line("CLIENT_RANDOM", 1, &long),
            line("CLIENT_HANDSHAKE_TRAFFIC_SECRET", 2, &short),
            line("EXPORTER_SECRET", 2, &short),
            line("CLIENT_RANDOM", 3, &short),
            line("CLIENT_TRAFFIC_SECRET_0", 3, "0a0"),
            line("what is this", 3, &short),
            "CLIENT_RANDOM 00\n".to_owned(),
            format!("RSA 0011223344556677 {long}\n"),
            "RSA 0011223344556688 00\n".to_owned(),
        ]
        .concat();
        let mut log = KeyLog::default();
        let taken = Taken {
            secrets: 3,
            malformed: 5,
            left_out: 0,
        };
        assert_eq!(log.add(text.as_bytes(), Source::KeyLog), taken);
        assert_eq!(log.len(), 3);
        let found = log.find(&[1; 32], Label::Master, packet(0, 0));
        assert_eq!(found, Some((&[0x0b; 48][..], Source::KeyLog)));
        let none = log.find(&[1; 32], Label::ClientTraffic, packet(0, 0));
        assert!(none.is_none());
        let premaster = log.premaster(&0x0011_2233_4455_6677_u64.to_be_bytes(), packet(0, 0));
        assert!(premaster.is_some());
        assert_eq!(format!("{log:?}"), "KeyLog { len: 3 }");
    }

    #[test]
    fn a_block_of_a_stream_serves_the_packets_behind_it() {
        let source = Source::Passing {
            capture: 1,
            offset: 500,
        };
        let mut log = KeyLog::default();
        let text = line("CLIENT_TRAFFIC_SECRET_0", 7, &"0c".repeat(48));
        assert_eq!(log.add(text.as_bytes(), source).secrets, 1);
        for (at, known) in [
            (packet(0, 900), false),
            (packet(1, 400), false),
            (packet(1, 600), true),
            (packet(2, 0), true),
        ] {
            let found = log.find(&[7; 32], Label::ClientTraffic, at);
            assert_eq!(found.is_some(), known, "{at:?}");
            assert_eq!(log.source(&[7; 32], at).is_some(), known, "{at:?}");
        }
        // A file's copy of it is known from the beginning.
        log.add(text.as_bytes(), Source::KeyLog);
        let found = log.find(&[7; 32], Label::ClientTraffic, packet(0, 0));
        assert_eq!(found.map(|found| found.1), Some(Source::KeyLog));
    }

    #[test]
    fn the_limit_holds() {
        let mut log = KeyLog::new(2);
        let text: String = (0..5)
            .map(|n| line("CLIENT_RANDOM", n, &"0b".repeat(48)))
            .collect();
        let taken = log.add(text.as_bytes(), Source::KeyLog);
        assert_eq!((taken.secrets, taken.left_out, log.len()), (2, 3, 2));
        assert_eq!(log.by_random.len(), 2);
    }

    proptest! {
        /// Any bytes are lines or none, and what is taken is counted.
        #[test]
        fn any_text_is_counted(text in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut log = KeyLog::default();
            let taken = log.add(&text, Source::KeyLog);
            prop_assert_eq!(taken.secrets, log.len() as u64);
        }
    }
}
