//! What is measured of payload while it passes: how evenly its bytes are
//! spread, and how long a piece of it is base64. Any way of cutting the payload
//! into pieces gives the same numbers; nothing of it is kept.

/// Bytes from which on entropy says something: below, even random bytes
/// cannot come near 1 (a sample of n bytes has at most log2 n bits).
pub const MIN_SAMPLE: u64 = 1_024;

/// How often each byte occurs in the beginning of a payload.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Box<[u32; 256]>,
    len: u64,
    most: u64,
}

impl Histogram {
    /// Of the first `most` bytes.
    pub fn of_first(most: u64) -> Self {
        Self {
            counts: Box::new([0; 256]),
            len: 0,
            most: most.min(u64::from(u32::MAX)),
        }
    }

    /// The next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        let room = usize::try_from(self.most.saturating_sub(self.len)).unwrap_or(usize::MAX);
        let bytes = bytes.get(..room).unwrap_or(bytes);
        for &byte in bytes {
            self.counts[usize::from(byte)] += 1;
        }
        self.len += bytes.len() as u64;
    }

    /// Whether nothing more is taken.
    pub fn is_full(&self) -> bool {
        self.len >= self.most
    }

    /// Bytes taken.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether none was taken.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Shannon entropy in bits per byte, divided by 8: 0 to 1. None for less
    /// than [`MIN_SAMPLE`] bytes.
    pub fn entropy(&self) -> Option<f32> {
        if self.len < MIN_SAMPLE {
            return None;
        }
        let len = self.len as f64;
        let counts = self.counts.iter().filter(|&&count| count > 0);
        // A fixed order of summing: the same bits on every machine and run.
        let bits: f64 = counts
            .map(|&count| {
                let share = f64::from(count) / len;
                -share * share.log2()
            })
            .sum();
        #[expect(clippy::cast_possible_truncation, reason = "a ratio")]
        let ratio = (bits.abs() / 8.0).min(1.0) as f32;
        Some(ratio)
    }
}

/// Characters from which on a run of base64 counts: shorter ones are tokens,
/// identifiers and hashes.
pub const MIN_RUN: u64 = 1_024;

/// The same as a length in memory.
const SHORTEST: usize = 1_024;
const _: () = assert!(SHORTEST as u64 == MIN_RUN);

/// Finds runs of base64 in a payload: standard or URL-safe alphabet (RFC 4648 §4
/// and §5), in one piece or in lines of equal length (RFC 2045 §6.8), as it
/// stands, inside a JSON string (`\/`, `\r\n`) or percent-encoded in a form.
///
/// A run counts when upper case, lower case, digits and what is no hex digit
/// are each at least a hundredth of it: every base64 of a file has that, words,
/// hex and decimal numbers have not. Its length is that of the encoded characters.
#[derive(Clone, Debug, Default)]
pub struct Base64Runs {
    run: Run,
    pending: Pending,
    longest: u64,
    total: u64,
}

#[derive(Clone, Debug, Default)]
struct Run {
    len: u64,
    line: u64,
    /// Length of the lines before.
    wrap: Option<u64>,
    /// CR and LF since the last character.
    breaks: u8,
    /// Characters by [`Class`].
    classes: [u64; 5],
}

/// What an escape still wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Pending {
    #[default]
    Nothing,
    Backslash,
    Percent,
    PercentHigh(u8),
}

/// Classes of characters; those of the alphabet first.
const UPPER_HEX: u8 = 0;
const UPPER: u8 = 1;
const LOWER_HEX: u8 = 2;
const LOWER: u8 = 3;
const DIGIT: u8 = 4;
const SYMBOL: u8 = 5;
const BREAK: u8 = 6;
const BACKSLASH: u8 = 7;
const PERCENT: u8 = 8;
const OTHER: u8 = 9;

static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [OTHER; 256];
    let mut byte = 0_usize;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b'A'..=b'F' => UPPER_HEX,
            b'G'..=b'Z' => UPPER,
            b'a'..=b'f' => LOWER_HEX,
            b'g'..=b'z' => LOWER,
            b'0'..=b'9' => DIGIT,
            b'+' | b'/' | b'-' | b'_' => SYMBOL,
            b'\r' | b'\n' => BREAK,
            b'\\' => BACKSLASH,
            b'%' => PERCENT,
            _ => OTHER,
        };
        byte += 1;
    }
    table
}

impl Base64Runs {
    /// The next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            // What belongs to no run ends every run, whatever came before it. No
            // run that counts begins in a stretch of the least length before the
            // last such byte of it: most of what is no base64 is passed over.
            let stretch = rest.get(..SHORTEST).unwrap_or(rest);
            let is_other = |&byte: &u8| CLASS[usize::from(byte)] == OTHER;
            let idle = self.run.len == 0 && self.pending == Pending::Nothing;
            let last = idle.then(|| stretch.iter().rposition(is_other)).flatten();
            let (looked_at, after) = rest.split_at(stretch.len());
            for &byte in looked_at.iter().skip(last.map_or(0, |last| last + 1)) {
                if self.pending == Pending::Nothing {
                    self.byte(byte);
                } else {
                    self.escaped(byte);
                }
            }
            rest = after;
        }
    }

    /// Bytes are missing here.
    pub fn gap(&mut self) {
        self.pending = Pending::Nothing;
        self.end_run();
    }

    /// Longest run that counts, and all of them together, in characters.
    pub fn finish(mut self) -> (u64, u64) {
        self.end_run();
        (self.longest, self.total)
    }

    fn byte(&mut self, byte: u8) {
        match CLASS[usize::from(byte)] {
            BREAK => self.line_break(),
            BACKSLASH if self.run.len > 0 => self.pending = Pending::Backslash,
            PERCENT if self.run.len > 0 => self.pending = Pending::Percent,
            BACKSLASH | PERCENT | OTHER => self.end_run(),
            class => self.character(class),
        }
    }

    fn character(&mut self, class: u8) {
        let run = &mut self.run;
        if run.wrap.is_some_and(|wrap| run.line >= wrap) {
            // Longer than the lines before: something else begins.
            self.end_run();
        }
        let run = &mut self.run;
        run.len += 1;
        run.line += 1;
        run.breaks = 0;
        if let Some(count) = run.classes.get_mut(usize::from(class)) {
            *count += 1;
        }
    }

    fn line_break(&mut self) {
        let run = &mut self.run;
        if run.len == 0 {
            return;
        }
        run.breaks = run.breaks.saturating_add(1);
        if run.line == 0 {
            // CR LF is one break, an empty line ends all.
            if run.breaks > 2 {
                self.end_run();
            }
            return;
        }
        match run.wrap {
            None => run.wrap = Some(run.line),
            Some(wrap) if wrap != run.line => return self.end_run(),
            Some(_) => {}
        }
        run.line = 0;
    }

    fn escaped(&mut self, byte: u8) {
        match std::mem::take(&mut self.pending) {
            Pending::Backslash => match byte {
                b'/' => self.character(SYMBOL),
                b'r' | b'n' => self.line_break(),
                _ => {
                    self.end_run();
                    self.byte(byte);
                }
            },
            Pending::Percent if byte.is_ascii_hexdigit() => {
                self.pending = Pending::PercentHigh(byte);
            }
            Pending::PercentHigh(high) => match (high, byte.to_ascii_lowercase()) {
                (b'2', b'b' | b'f' | b'd') | (b'5', b'f') => self.character(SYMBOL),
                (b'0', b'a' | b'd') => self.line_break(),
                _ => self.end_run(),
            },
            Pending::Percent | Pending::Nothing => {
                self.end_run();
                self.byte(byte);
            }
        }
    }

    fn end_run(&mut self) {
        if self.run.len >= MIN_RUN && self.run.is_base64() {
            self.longest = self.longest.max(self.run.len);
            self.total = self.total.saturating_add(self.run.len);
        }
        if self.run.len > 0 {
            self.run = Run::default();
        }
    }
}

impl Run {
    fn is_base64(&self) -> bool {
        let [upper_hex, upper, lower_hex, lower, digit] = self.classes;
        let hundredth = self.len / 100;
        [upper_hex + upper, lower_hex + lower, digit, upper + lower]
            .into_iter()
            .all(|count| count >= hundredth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    fn runs(bytes: &[u8]) -> (u64, u64) {
        let mut runs = Base64Runs::default();
        runs.push(bytes);
        runs.finish()
    }

    /// Bytes with the look of a file: structure, then noise.
    fn file(len: usize) -> Vec<u8> {
        (0..len)
            .map(|i| {
                let mixed = (i as u32).wrapping_mul(2_654_435_761) >> 13;
                if i % 3 == 0 { 0 } else { (mixed & 255) as u8 }
            })
            .collect()
    }

    fn wrapped(text: &str, at: usize, line_end: &str) -> String {
        let lines: Vec<_> = text
            .as_bytes()
            .chunks(at)
            .map(String::from_utf8_lossy)
            .collect();
        lines.join(line_end)
    }

    #[test]
    fn every_way_of_writing_base64_is_one_run() {
        let plain = file(40_000);
        let text = STANDARD.encode(&plain);
        let bare = text.trim_end_matches('=').len() as u64;
        let percent = text
            .replace('+', "%2B")
            .replace('/', "%2f")
            .replace('=', "%3D");
        for (what, body) in [
            ("as it stands", text.clone()),
            ("url-safe", URL_SAFE_NO_PAD.encode(&plain)),
            (
                "json",
                format!("{{\"name\":\"a.bin\",\"data\":\"{text}\"}}"),
            ),
            (
                "json, slashes",
                format!("{{\"d\":\"{}\"}}", text.replace('/', "\\/")),
            ),
            (
                "json, wrapped",
                format!("{{\"d\":\"{}\"}}", wrapped(&text, 76, "\\r\\n")),
            ),
            ("form", format!("name=a.bin&data={percent}&x=1")),
            (
                "form, wrapped",
                format!("d={}", wrapped(&text, 64, "%0D%0A")),
            ),
            ("mime", wrapped(&text, 76, "\r\n")),
            ("pem", wrapped(&text, 64, "\n")),
        ] {
            let (longest, total) = runs(body.as_bytes());
            // A JSON or form field may lend a character or two at its border.
            assert!(longest.abs_diff(bare) <= 2, "{what}: {longest} of {bare}");
            assert_eq!(longest, total, "{what}");
        }
    }

    #[test]
    fn what_is_no_base64_is_no_run() {
        let words = "alpha\nbeta\ngamma\ndelta\nepsilon\n".repeat(2_000);
        let hex: String = file(20_000)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let numbers = "0123456789".repeat(3_000);
        let text = "The quick brown fox jumps over 13 lazy dogs. ".repeat(1_000);
        let script = "function a(b){return b.c+1};var X9=a(this);".repeat(1_000);
        let upper = "ABCDEFGH".repeat(5_000);
        for body in [words, hex.to_uppercase(), hex, numbers, text, script, upper] {
            let shown = body.get(..20).unwrap();
            assert_eq!(runs(body.as_bytes()), (0, 0), "{shown}");
        }
        let noise: Vec<u8> = (0..100_000_u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        assert_eq!(runs(&noise), (0, 0));
    }

    #[test]
    fn short_runs_do_not_count_and_several_add_up() {
        let one = STANDARD.encode(file(3_000));
        let token = STANDARD.encode(file(300));
        let body = format!("[\"{one}\",\"{token}\",\"{one}\"]");
        assert_eq!(runs(body.as_bytes()), (4_000, 8_000));
    }

    #[test]
    fn entropy_is_that_of_the_definition() {
        let mut even = Histogram::of_first(1 << 20);
        for _ in 0..8 {
            even.push(&(0..=255).collect::<Vec<u8>>());
        }
        assert_eq!(even.entropy(), Some(1.0));
        let mut two = Histogram::of_first(1 << 20);
        two.push(&[7, 9].repeat(512));
        assert_eq!(two.entropy(), Some(0.125));
        let mut one = Histogram::of_first(1 << 20);
        one.push(&[0; 1_023]);
        assert_eq!(one.entropy(), None);
        one.push(&[0]);
        assert_eq!(one.entropy(), Some(0.0));
    }

    proptest! {
        #[test]
        fn what_is_passed_over_holds_no_run(
            pieces in prop::collection::vec((0..7_usize, 1_usize..1_400), 1..9),
        ) {
            let text = STANDARD.encode(file(3_000));
            let mut body = Vec::new();
            for (kind, len) in pieces {
                match kind {
                    0 => body.extend(text.bytes().take(len)),
                    1 => body.extend(wrapped(&text, 76, "\r\n").bytes().take(len)),
                    2 => body.extend(std::iter::repeat_n(b'\n', len)),
                    3 => body.extend("%2B%2f\\/%0a".bytes().cycle().take(len)),
                    4 => body.extend(file(len)),
                    5 => body.extend(text.bytes().take(len).chain([b' '])),
                    _ => body.extend([b'\\', b'%', b'"']),
                }
            }
            // One at a time, nothing is passed over.
            let mut singly = Base64Runs::default();
            body.iter().for_each(|&byte| singly.push(&[byte]));
            prop_assert_eq!(runs(&body), singly.finish());
        }

        #[test]
        fn any_split_gives_the_same_numbers(
            cuts in prop::collection::vec(0_usize..60_000, 0..40),
            style in 0..4_usize,
            noise in any::<Vec<u8>>(),
        ) {
            let text = STANDARD.encode(file(30_000));
            let mut body = match style {
                0 => text.into_bytes(),
                1 => wrapped(&text, 76, "\r\n").into_bytes(),
                2 => wrapped(&text.replace('/', "\\/"), 60, "\\n").into_bytes(),
                _ => text.replace('+', "%2B").replace('/', "%2F").into_bytes(),
            };
            body.extend(noise);
            let mut cuts = cuts;
            cuts.push(body.len());
            cuts.sort_unstable();
            let mut pieces = Base64Runs::default();
            let mut counted = Histogram::of_first(20_000);
            let mut start = 0;
            for cut in cuts {
                let cut = cut.min(body.len());
                pieces.push(&body[start..cut]);
                counted.push(&body[start..cut]);
                start = cut;
            }
            prop_assert_eq!(pieces.finish(), runs(&body));
            let mut whole = Histogram::of_first(20_000);
            whole.push(&body);
            prop_assert_eq!(counted.entropy(), whole.entropy());
        }
    }
}
