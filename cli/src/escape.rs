//! The one gate between text from outside and whoever reads our output.
//!
//! Host names, header values, file names and comments are written by whoever
//! made the capture. Printed as they are, they could move the cursor, change
//! the title, hide a line or turn it round (CVE-2021-42574 and the like). What
//! passes here can do none of that: every control and format character is
//! spelled out. Layout (columns, colours) is added outside, never from data.

use std::fmt::{Arguments, Write as _};

/// Text from a capture, a file name or an error, fit for one line of a terminal.
///
/// Control characters (C0, DEL, C1), every format character of Unicode
/// (bidirectional overrides, zero-width characters, tags), line and paragraph
/// separators and invisible fillers become `\x1b` or `\u{202e}`; a backslash
/// becomes `\\`, so that what is printed can be read back in one way only.
pub fn line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            harmless if !is_deceptive(harmless) => out.push(harmless),
            low if (low as u32) < 0x100 => put(&mut out, format_args!("\\x{:02x}", low as u32)),
            high => put(&mut out, format_args!("\\u{{{:x}}}", high as u32)),
        }
    }
    out
}

/// As [`line`], for text of our own making that may hold text of others (an
/// error message, a log line): newlines stay, since the writer put them there,
/// and backslashes stay, since the parts may have been escaped before.
pub fn block(text: &str) -> String {
    if !text.chars().any(|c| c != '\n' && is_deceptive(c)) {
        return text.to_owned();
    }
    text.split('\n')
        .map(|part| part.split('\\').map(line).collect::<Vec<_>>().join("\\"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// A JSON document whose deceptive characters are spelled as `\u` escapes.
///
/// Such characters stand only inside strings, so replacing them in the text of
/// the whole document keeps its meaning; line breaks between values stay.
pub fn json(document: &str) -> String {
    let mut out = String::with_capacity(document.len());
    for character in document.chars() {
        if character == '\n' || !is_deceptive(character) {
            out.push(character);
            continue;
        }
        let mut units = [0; 2];
        for unit in character.encode_utf16(&mut units) {
            put(&mut out, format_args!("\\u{unit:04x}"));
        }
    }
    out
}

/// Text for the content or an attribute value of XML 1.0. Characters that XML
/// cannot hold even as references are spelled out as [`line`] does.
pub fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in line(text).chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            // XML 1.0 §2.2 leaves these two out of Char; they are no control
            // characters and so pass `line`.
            '\u{fffe}' | '\u{ffff}' => put(&mut out, format_args!("\\u{{{:x}}}", character as u32)),
            other => out.push(other),
        }
    }
    out
}

fn put(out: &mut String, text: Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = out.write_fmt(text);
}

/// Whether a character can change how the text around it looks.
fn is_deceptive(character: char) -> bool {
    character.is_control()
        || DECEPTIVE
            .binary_search_by(|&(first, last)| {
                if last < character {
                    std::cmp::Ordering::Less
                } else if first > character {
                    std::cmp::Ordering::Greater
                } else {
                    std::cmp::Ordering::Equal
                }
            })
            .is_ok()
}

/// Unicode's general category Cf (format), Zl and Zp (separators of lines and
/// paragraphs), the fillers that look like nothing, and variation selectors;
/// ascending. Source: Unicode 16, DerivedGeneralCategory.txt and
/// PropList.txt (Default_Ignorable_Code_Point).
const DECEPTIVE: &[(char, char)] = &[
    ('\u{00ad}', '\u{00ad}'),
    ('\u{034f}', '\u{034f}'),
    ('\u{0600}', '\u{0605}'),
    ('\u{061c}', '\u{061c}'),
    ('\u{06dd}', '\u{06dd}'),
    ('\u{070f}', '\u{070f}'),
    ('\u{0890}', '\u{0891}'),
    ('\u{08e2}', '\u{08e2}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{2028}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffb}'),
    ('\u{110bd}', '\u{110bd}'),
    ('\u{110cd}', '\u{110cd}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn reads(raw: &str, expected: &str) {
        assert_eq!(line(raw), expected);
    }

    #[test]
    fn controls_are_spelled_out() {
        reads("\x1b]0;owned\x07", "\\x1b]0;owned\\x07");
        reads("\u{9b}31m", "\\x9b31m");
        reads("a\r\nb\tc", "a\\r\\nb\\tc");
        reads("nul\0del\x7f", "nul\\x00del\\x7f");
    }

    #[test]
    fn text_cannot_be_turned_round_or_hidden() {
        reads("\u{202e}gpj.exe", "\\u{202e}gpj.exe");
        reads("a\u{2066}b\u{2069}", "a\\u{2066}b\\u{2069}");
        reads("pay\u{200b}pal", "pay\\u{200b}pal");
        reads("\u{feff}x\u{e0041}", "\\u{feff}x\\u{e0041}");
        reads("\u{2028}", "\\u{2028}");
    }

    #[test]
    fn what_people_write_stays() {
        reads(
            "b\u{fc}cher.example \u{65e5}\u{672c}",
            "b\u{fc}cher.example \u{65e5}\u{672c}",
        );
        reads("*.example.org:443", "*.example.org:443");
    }

    #[test]
    fn an_escape_in_the_data_is_told_from_one_of_ours() {
        assert_ne!(line("\\x1b"), line("\x1b"));
    }

    #[test]
    fn a_block_keeps_its_lines_and_what_was_escaped_before() {
        assert_eq!(block("one\ntwo \\x1b \x1b"), "one\ntwo \\x1b \\x1b");
        assert_eq!(block("plain \\ text"), "plain \\ text");
    }

    #[test]
    fn xml_has_no_markup_and_no_forbidden_character() {
        assert_eq!(
            xml("<a b='\"'>&\u{1}\u{ffff}"),
            "&lt;a b=&apos;&quot;&apos;&gt;&amp;\\x01\\u{ffff}"
        );
    }

    #[test]
    fn the_ranges_are_in_order() {
        assert!(DECEPTIVE.windows(2).all(|pair| pair[0].1 < pair[1].0));
        assert!(DECEPTIVE.iter().all(|&(first, last)| first <= last));
    }

    /// Bytes that a terminal takes as a command, whatever its character set.
    fn commands(text: &str) -> Vec<char> {
        text.chars()
            .filter(|&c| (c as u32) < 0x20 || (0x7f..=0x9f).contains(&(c as u32)))
            .collect()
    }

    proptest! {
        #[test]
        fn nothing_that_passes_commands_a_terminal(raw in any::<String>()) {
            prop_assert_eq!(commands(&line(&raw)), vec![]);
            prop_assert!(commands(&block(&raw)).iter().all(|&c| c == '\n'));
            prop_assert!(line(&raw).chars().all(|c| !is_deceptive(c)));
        }

        #[test]
        fn different_texts_stay_different(a in "[\\\\x1bn\u{1b}\n\u{200b}]{0,6}", b in "[\\\\x1bn\u{1b}\n\u{200b}]{0,6}") {
            prop_assert_eq!(line(&a) == line(&b), a == b);
        }

        #[test]
        fn json_keeps_its_meaning(raw in any::<String>(), marks in "[\u{0}-\u{a0}\u{2028}-\u{202e}\u{e0041}]{0,8}") {
            let value = serde_json::json!({ "text": raw + &marks, "list": [1, 2] });
            let document = json(&serde_json::to_string_pretty(&value).expect("a value of strings and numbers"));
            prop_assert!(commands(&document).iter().all(|&c| c == '\n'));
            let back: serde_json::Value = serde_json::from_str(&document).expect("still JSON");
            prop_assert_eq!(back, value);
        }
    }
}
