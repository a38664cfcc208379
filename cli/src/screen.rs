//! Colours, widths, wrapping: how text is laid out for people. Colour is only
//! ever added to words that already say the same.

use crate::args::ColorChoice;
use std::io::{IsTerminal as _, Write};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Columns where nobody tells how many there are.
const DEFAULT_COLUMNS: usize = 100;
/// Fewer than this cannot hold a finding; more is hard to read.
const COLUMNS: std::ops::RangeInclusive<usize> = 80..=120;

/// What is known about the place that output goes to.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// Whether to colour.
    pub color: bool,
    /// Columns to fit, 80 to 120.
    pub columns: usize,
}

/// What a piece of text means, and so its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Headings.
    Strong,
    /// Held, intact.
    Good,
    /// Violated, broken.
    Bad,
    /// To be looked at.
    Warning,
    /// Could not be seen.
    Unknown,
    /// Of less interest.
    Quiet,
}

impl Screen {
    /// For standard output.
    pub fn stdout(choice: ColorChoice) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let columns = if terminal {
            terminal_size::terminal_size_of(std::io::stdout())
                .map_or(DEFAULT_COLUMNS, |(width, _)| usize::from(width.0))
        } else {
            DEFAULT_COLUMNS
        };
        Self {
            color: wants_color(choice, terminal),
            columns: columns.clamp(*COLUMNS.start(), *COLUMNS.end()),
        }
    }

    /// Without colour, of a given width.
    #[cfg(test)]
    pub fn plain(columns: usize) -> Self {
        Self {
            color: false,
            columns,
        }
    }

    /// `text` in the colour of its meaning.
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        if !self.color || text.is_empty() {
            return text.to_owned();
        }
        // The eight basic colours and bold: they follow the user's palette.
        let code = match tone {
            Tone::Strong => "1",
            Tone::Good => "32",
            Tone::Bad => "1;31",
            Tone::Warning => "33",
            Tone::Unknown => "36",
            Tone::Quiet => "2",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// Whether to colour what goes to a terminal, or to something else.
///
/// <https://no-color.org>: the variable counts when present and not empty.
pub fn wants_color(choice: ColorChoice, terminal: bool) -> bool {
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => {
            let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
            terminal && !refused && !dumb
        }
    }
}

/// Writes to standard output; a reader that went away is no error.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(anyhow::Error::new(error).context("cannot write to standard output")),
        Ok(()) => Ok(()),
    }
}

/// Columns that `text` takes; it must hold no colour.
pub fn width(text: &str) -> usize {
    text.width()
}

/// `text` and as many blanks as make it `columns` wide.
pub fn pad(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

/// Blanks and `text`, right-aligned in `columns`.
pub fn pad_left(text: &str, columns: usize) -> String {
    format!("{}{text}", " ".repeat(columns.saturating_sub(width(text))))
}

/// `text`, its middle left out where it is wider than `columns`: both ends of
/// a host name or a path tell things apart.
pub fn shorten(text: &str, columns: usize) -> String {
    const MARK: &str = "...";
    if width(text) <= columns {
        return text.to_owned();
    }
    let room = columns.saturating_sub(MARK.len());
    let tail_room = room / 2;
    let head = take(text.chars(), room - tail_room);
    let tail: String = take(text.chars().rev(), tail_room).chars().rev().collect();
    format!("{head}{MARK}{tail}")
}

fn take(characters: impl Iterator<Item = char>, columns: usize) -> String {
    let mut used = 0;
    characters
        .take_while(|character| {
            used += character.width().unwrap_or(0);
            used <= columns
        })
        .collect()
}

/// `text` in lines of at most `columns`, broken at blanks; a longer word is cut.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(1);
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let mut word = word;
        if !line.is_empty() && width(&line) + 1 + width(word) > columns {
            lines.push(std::mem::take(&mut line));
        }
        while width(word) > columns {
            let head = take(word.chars(), columns);
            // A character wider than the line still has to go somewhere.
            let cut = head
                .len()
                .max(word.chars().next().map_or(1, char::len_utf8));
            let (head, rest) = word.split_at(cut);
            lines.push(head.to_owned());
            word = rest;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() || lines.is_empty() {
        lines.push(line);
    }
    lines
}

/// `12,345,678`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 flow`, `2 flows`.
pub fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// Bytes with a binary unit: `8.1 MiB`.
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if number < 1024 {
        return counted(number, "byte", "bytes");
    }
    let mut value = number as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS.get(unit).unwrap_or(&"PiB"))
}

/// A length of time in the two units that matter: `8 min 7 s`.
pub fn duration(nanos: u64) -> String {
    let seconds = nanos / 1_000_000_000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    if days > 0 {
        format!("{days} d {hours} h")
    } else if hours > 0 {
        format!("{hours} h {minutes} min")
    } else if minutes > 0 {
        format!("{minutes} min {} s", seconds % 60)
    } else if seconds >= 10 {
        format!("{:.1} s", nanos as f64 / 1e9)
    } else if nanos >= 1_000_000 {
        format!("{:.3} s", nanos as f64 / 1e9)
    } else if nanos > 0 {
        format!("{} ns", count(nanos))
    } else {
        "0 s".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_000), "1,000");
        assert_eq!(count(u64::MAX), "18,446,744,073,709,551,615");
    }

    #[test]
    fn bytes_have_binary_units() {
        assert_eq!(bytes(1), "1 byte");
        assert_eq!(bytes(1023), "1,023 bytes");
        assert_eq!(bytes(1024), "1.0 KiB");
        assert_eq!(bytes(1_048_575), "1.0 MiB");
        assert_eq!(bytes(1_048_576), "1.0 MiB");
        assert_eq!(bytes(u64::MAX), "16384.0 PiB");
    }

    #[test]
    fn lengths_of_time_read_well() {
        assert_eq!(duration(0), "0 s");
        assert_eq!(duration(1_500), "1,500 ns");
        assert_eq!(duration(1_500_000_000), "1.500 s");
        assert_eq!(duration(61_000_000_000), "1 min 1 s");
        assert_eq!(duration(90_000_000_000_000), "1 d 1 h");
    }

    #[test]
    fn shortening_keeps_both_ends() {
        assert_eq!(shorten("abcdefghij", 10), "abcdefghij");
        assert_eq!(shorten("abcdefghijk", 10), "abcd...ijk");
        assert!(
            width(&shorten(
                "\u{65e5}\u{672c}\u{65e5}\u{672c}\u{65e5}\u{672c}",
                8
            )) <= 8
        );
        assert_eq!(shorten("abcdef", 2), "...");
    }

    #[test]
    fn wrapping_loses_nothing() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("", 7), [""]);
        assert_eq!(wrap("abcdefghij k", 4), ["abcd", "efgh", "ij k"]);
        assert_eq!(
            wrap("\u{65e5}\u{672c}", 1),
            ["\u{65e5}", "\u{672c}", ""][..2].to_vec()
        );
    }

    #[test]
    fn colour_is_asked_for() {
        let screen = Screen {
            color: true,
            columns: 80,
        };
        assert_eq!(screen.paint(Tone::Good, "PASS"), "\x1b[32mPASS\x1b[0m");
        assert_eq!(Screen::plain(80).paint(Tone::Good, "PASS"), "PASS");
        assert!(wants_color(ColorChoice::Always, false));
        assert!(!wants_color(ColorChoice::Auto, false));
        assert!(!wants_color(ColorChoice::Never, true));
    }
}
