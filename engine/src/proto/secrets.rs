//! Key logs: the secrets of TLS sessions by the client's random, in the format
//! of SSLKEYLOGFILE (RFC 9850), from files and from Decryption Secrets Blocks.
//! They serve to decrypt and go nowhere else: wiped when dropped, shown by
//! nothing, and a line that is no secret is counted, never repeated.

mod entries;

use crate::evidence::PacketRef;
use entries::{Entries, Kept, MAX_SECRET};
use std::io::Read;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Bytes of a key log read at once.
const READ: usize = 64 << 10;
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
    /// The same, known by its encryption under the server's RSA key.
    EncryptedPremaster,
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
            Self::EncryptedPremaster => len == MAX_SECRET,
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

/// All secrets that are known: those of the blocks of captures, over those of
/// key logs.
pub struct KeyLog {
    entries: Entries,
    base: Option<Arc<KeyLog>>,
    limit: usize,
}

impl std::fmt::Debug for KeyLog {
    /// Says how much there is, never what.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyLog").field("len", &self.len()).finish()
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
            entries: Entries::default(),
            base: None,
            limit,
        }
    }

    /// More secrets over those of another, which count for the limit as well.
    pub fn over(base: Arc<Self>, limit: usize) -> Self {
        Self {
            base: Some(base),
            ..Self::new(limit)
        }
    }

    /// Takes the secrets of a key log's text.
    pub fn add(&mut self, text: &[u8], source: Source) -> Taken {
        let mut taken = Taken::default();
        for line in text.split(|byte| *byte == b'\n') {
            self.take(line, source, &mut taken);
        }
        taken
    }

    /// Takes the secrets of a key log as it is read, a line at a time: of what
    /// passes, nothing stays but secrets.
    ///
    /// # Errors
    ///
    /// When reading fails, or there is more than `max` bytes.
    pub fn read(
        &mut self,
        mut from: impl Read,
        max: u64,
        source: Source,
    ) -> std::io::Result<Taken> {
        let mut taken = Taken::default();
        let mut buffer = Zeroizing::new(vec![0; READ]);
        let (mut held, mut total, mut skips) = (0_usize, 0_u64, false);
        loop {
            let room = buffer.get_mut(held..).unwrap_or_default();
            let count = match from.read(room) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            total = total.saturating_add(count as u64);
            if total > max {
                return Err(std::io::Error::other(format!(
                    "is larger than {} MiB",
                    max >> 20
                )));
            }
            held = held.saturating_add(count);
            let filled = buffer.get(..held).unwrap_or_default();
            let ended = count == 0;
            // Whole lines; at the end the last one as well.
            let whole = match memchr::memrchr(b'\n', filled) {
                _ if ended => held,
                Some(at) => at.saturating_add(1),
                None => 0,
            };
            let mut lines = filled.get(..whole).unwrap_or_default();
            if skips && whole > 0 {
                let end =
                    memchr::memchr(b'\n', lines).map_or(lines.len(), |at| at.saturating_add(1));
                lines = lines.get(end..).unwrap_or_default();
                skips = false;
            }
            for line in lines.split(|byte| *byte == b'\n') {
                self.take(line, source, &mut taken);
            }
            if ended {
                return Ok(taken);
            }
            buffer.copy_within(whole..held, 0);
            held = held.saturating_sub(whole);
            if held == READ {
                // A line beyond every measure is none, wherever it ends.
                taken.malformed = taken.malformed.saturating_add(u64::from(!skips));
                (held, skips) = (0, true);
            }
        }
    }

    fn take(&mut self, line: &[u8], source: Source, taken: &mut Taken) {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            return;
        }
        let count = match self.line(line, source) {
            Line::Taken => &mut taken.secrets,
            Line::Known => return,
            Line::Malformed => &mut taken.malformed,
            Line::LeftOut => &mut taken.left_out,
        };
        *count = count.saturating_add(1);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        let base = self.base.as_ref().map_or(0, |base| base.len());
        self.entries.len().saturating_add(base)
    }

    /// How many belong to a connection that was asked about.
    pub fn met(&self) -> usize {
        let base = self.base.as_ref().map_or(0, |base| base.met());
        self.entries.met().saturating_add(base)
    }

    /// Where a session's secrets come from, if any is known when this packet passes.
    pub(super) fn source(&self, client_random: &[u8; 32], at: PacketRef) -> Option<Source> {
        let base = self.base.as_ref();
        // All are asked, so that all of the connection count as met.
        let base = base.and_then(|base| base.source(client_random, at));
        let own = self
            .entries
            .source_of(client_random, |source| source.is_known_at(at));
        base.or(own)
    }

    /// The secret of a session, where one is known when this packet passes.
    pub(super) fn find(
        &self,
        client_random: &[u8; 32],
        label: Label,
        at: PacketRef,
    ) -> Option<(&[u8], Source)> {
        let base = self.base.as_ref();
        base.and_then(|base| base.find(client_random, label, at))
            .or_else(|| {
                self.entries
                    .find(client_random, label, |source| source.is_known_at(at))
            })
    }

    /// The premaster secret whose encryption begins so.
    pub(super) fn premaster(&self, encryption: &[u8; 8], at: PacketRef) -> Option<(&[u8], Source)> {
        self.find(&padded(*encryption), Label::EncryptedPremaster, at)
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
        let mut room = Zeroizing::new([0; MAX_LINE / 2]);
        let (mut random, mut encryption) = ([0; 32], [0; 8]);
        let Some(bytes) = hex(secret, room.as_mut_slice()) else {
            return Line::Malformed;
        };
        let is_of = |len: usize, out: &mut [u8]| hex(key, out).is_some_and(|out| out.len() == len);
        if name == b"RSA" {
            let fits = bytes.len() == MAX_SECRET && is_of(8, &mut encryption);
            return match fits {
                true => self.keep(padded(encryption), Label::EncryptedPremaster, bytes, source),
                false => Line::Malformed,
            };
        }
        if !is_of(32, &mut random) {
            return Line::Malformed;
        }
        match Label::named(name) {
            Some(label) if label.fits(bytes.len()) => self.keep(random, label, bytes, source),
            Some(_) => Line::Malformed,
            // Exporters, ECH and the like: well-formed, and of no use here.
            None if name.iter().all(|byte| is_name(*byte)) => Line::Known,
            None => Line::Malformed,
        }
    }

    fn keep(&mut self, of: [u8; 32], label: Label, bytes: &[u8], source: Source) -> Line {
        // What a key log of the user's has is known from the start.
        if self
            .base
            .as_ref()
            .is_some_and(|base| base.entries.has(&of, label, bytes))
        {
            return Line::Known;
        }
        let max = match label {
            Label::EncryptedPremaster => 1,
            _ => MAX_OF_SESSION,
        };
        let has_room = self.len() < self.limit;
        match self.entries.keep(of, label, bytes, source, max, has_room) {
            Kept::New => Line::Taken,
            Kept::Known => Line::Known,
            Kept::LeftOut if has_room && max == 1 => Line::Known,
            Kept::LeftOut => Line::LeftOut,
        }
    }
}

/// The first bytes of an encrypted premaster secret, as they are looked up.
fn padded(encryption: [u8; 8]) -> [u8; 32] {
    let mut of = [0; 32];
    if let Some(start) = of.first_chunk_mut::<8>() {
        *start = encryption;
    }
    of
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

/// What hexadecimal digits say, at the start of `out`.
fn hex<'o>(digits: &[u8], out: &'o mut [u8]) -> Option<&'o [u8]> {
    if !digits.len().is_multiple_of(2) || digits.is_empty() {
        return None;
    }
    let out = out.get_mut(..digits.len() / 2)?;
    for (pair, out) in digits.chunks_exact(2).zip(out.iter_mut()) {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let [high, low] = <[u8; 2]>::try_from(pair).ok()?;
        *out = u8::try_from(digit(high)? << 4 | digit(low)?).ok()?;
    }
    Some(out)
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
        // What is known already needs no room.
        let taken = log.add(text.as_bytes(), Source::KeyLog);
        assert_eq!((taken.secrets, taken.left_out), (0, 3));
    }

    /// Those of blocks lie over those of key logs, whose copies they may be.
    #[test]
    fn blocks_lie_over_key_logs() {
        let (early, late) = ("0a".repeat(32), "0b".repeat(32));
        let mut base = KeyLog::new(3);
        base.add(
            line("CLIENT_TRAFFIC_SECRET_0", 1, &early).as_bytes(),
            Source::KeyLog,
        );
        let mut log = KeyLog::over(Arc::new(base), 3);
        let text = [
            line("CLIENT_TRAFFIC_SECRET_0", 1, &early),
            line("SERVER_TRAFFIC_SECRET_0", 1, &late),
            line("CLIENT_TRAFFIC_SECRET_0", 2, &late),
            line("CLIENT_TRAFFIC_SECRET_0", 3, &late),
        ]
        .concat();
        let taken = log.add(text.as_bytes(), Source::Block);
        assert_eq!((taken.secrets, taken.left_out, log.len()), (2, 1, 3));
        assert_eq!(log.met(), 0);
        let at = packet(0, 0);
        assert_eq!(log.source(&[1; 32], at), Some(Source::KeyLog));
        assert_eq!(log.met(), 2);
        let found = log.find(&[1; 32], Label::ServerTraffic, at);
        assert_eq!(found, Some((&[0x0b; 32][..], Source::Block)));
        assert_eq!(log.source(&[2; 32], at), Some(Source::Block));
        assert_eq!(log.source(&[3; 32], at), None);
        assert_eq!(log.met(), 3);
    }

    /// Premaster secrets may be as long as their group, beyond a fixed place.
    #[test]
    fn long_premaster_secrets_are_kept_whole() {
        let long = "c5".repeat(128);
        let mut log = KeyLog::default();
        let text =
            line("PMS_CLIENT_RANDOM", 5, &long) + &line("CLIENT_RANDOM", 5, &"0b".repeat(48));
        assert_eq!(log.add(text.as_bytes(), Source::KeyLog).secrets, 2);
        let found = log.find(&[5; 32], Label::Premaster, packet(0, 0));
        assert_eq!(found.map(|found| found.0), Some(&[0xc5; 128][..]));
    }

    /// A reader that gives a few bytes at a time.
    struct Slowly<'a>(&'a [u8], usize);

    impl Read for Slowly<'_> {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            let count = self.1.min(out.len()).min(self.0.len());
            let (now, later) = self.0.split_at(count);
            out[..count].copy_from_slice(now);
            self.0 = later;
            Ok(count)
        }
    }

    #[test]
    fn a_line_beyond_every_measure_is_one_malformed_line() {
        let secret = line("CLIENT_RANDOM", 1, &"0b".repeat(48));
        let text = "x".repeat(3 * READ + 5) + "\n" + &secret;
        let mut log = KeyLog::default();
        let taken = log.read(text.as_bytes(), 1 << 20, Source::KeyLog).unwrap();
        assert_eq!((taken.secrets, taken.malformed), (1, 1));
        let mut log = KeyLog::default();
        let too_long = log.read(text.as_bytes(), 1 << 16, Source::KeyLog);
        assert!(too_long.is_err());
    }

    proptest! {
        /// Any bytes are lines or none, and what is taken is counted.
        #[test]
        fn any_text_is_counted(text in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut log = KeyLog::default();
            let taken = log.add(&text, Source::KeyLog);
            prop_assert_eq!(taken.secrets, log.len() as u64);
        }

        /// However it comes, the same is read.
        #[test]
        fn any_pieces_give_the_same(
            text in "([A-Z_]{1,14} [0-9a-f]{4}\n|#x\n| \n|CLIENT_RANDOM (01|02){32} (0b){48}\r?\n){0,6}(y{1,9})?",
            piece in 1_usize..80,
        ) {
            let (mut whole, mut pieces) = (KeyLog::default(), KeyLog::default());
            let expected = whole.add(text.as_bytes(), Source::KeyLog);
            let taken = pieces.read(Slowly(text.as_bytes(), piece), 1 << 20, Source::KeyLog);
            prop_assert_eq!(taken.unwrap(), expected);
            prop_assert_eq!(pieces.len(), whole.len());
        }
    }
}
