//! Texts that are to be shown, without what may be a secret in them: what the
//! rules know by its shape, what stands behind a name that asks for one, and runs
//! of letters and digits as only chance (or a key generator) mixes them. More is
//! hidden here than is told of as a credential: a text loses little by it.

use super::names::{Where, asks_for_secret, may_be_secret};
use super::shapes::shapes;
use std::borrow::Cow;
use std::ops::Range;
use zeroize::Zeroizing;

/// Shortest run that is taken for random.
const MIN_RANDOM: usize = 20;

/// A text with its secrets replaced by their class or length: `<jwt:212>`, `<40>`.
pub fn redact(text: &str) -> Cow<'_, str> {
    let Some(hidden) = hidden_in(text.as_bytes()) else {
        return Cow::Borrowed(text);
    };
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for (range, class) in hidden {
        // Shapes and runs are made of ASCII alone, and what is named stands
        // between ASCII, so that these are borders.
        out.push_str(text.get(from..range.start).unwrap_or_default());
        put_hidden(&mut out, class, range.len());
        from = range.end;
    }
    out.push_str(text.get(from..).unwrap_or_default());
    Cow::Owned(out)
}

/// The same of bytes.
pub fn redacted(text: &[u8]) -> Cow<'_, [u8]> {
    let Some(hidden) = hidden_in(text) else {
        return Cow::Borrowed(text);
    };
    let (mut out, mut mark) = (Vec::with_capacity(text.len()), String::new());
    let mut from = 0;
    for (range, class) in hidden {
        out.extend_from_slice(text.get(from..range.start).unwrap_or_default());
        mark.clear();
        put_hidden(&mut mark, class, range.len());
        out.extend_from_slice(mark.as_bytes());
        from = range.end;
    }
    out.extend_from_slice(text.get(from..).unwrap_or_default());
    Cow::Owned(out)
}

fn put_hidden(out: &mut String, class: &str, len: usize) {
    use std::fmt::Write as _;
    // Writing into a string cannot fail.
    let _ = if class.is_empty() {
        write!(out, "<{len}>")
    } else {
        write!(out, "<{class}:{len}>")
    };
}

/// Whether a segment of a path, or a value of a parameter in one, is hidden for
/// the name before it.
pub(crate) fn hides(place: Where, name: &[u8], value: &[u8]) -> bool {
    may_be_secret(place, name, value)
}

/// What may stand behind a name that asks for a secret, in free text: behind an
/// equals sign anything; behind a colon what does not go on as an address or a
/// time does; behind the name of a scheme what has its letters.
fn named_in(text: &[u8], mut tell: impl FnMut(Range<usize>)) {
    let mut from = 0;
    while let Some(at) = text
        .get(from..)
        .and_then(|rest| memchr::memchr3(b'=', b':', b'%', rest))
        .map(|at| from.saturating_add(at))
    {
        let rest = text.get(at..).unwrap_or_default();
        let sign = match rest {
            [b'%', b'3', b'd' | b'D' | b'a' | b'A', ..] => 3,
            [b'%', ..] | [b':', b'/', ..] => {
                from = at.saturating_add(1);
                continue;
            }
            _ => 1,
        };
        from = at.saturating_add(sign);
        let word = word_before(text.get(..at).unwrap_or_default());
        if word.len() < MIN_NAME || !asks_for_secret(word) {
            continue;
        }
        let value = value_at(text, from);
        from = value.end.max(from);
        if !value.is_empty() {
            tell(value);
        }
    }
    // Authorization as it is quoted (RFC 9110 §11.4).
    for scheme in [&b"earer "[..], b"asic "] {
        for at in memchr::memmem::find_iter(text, scheme) {
            let start = at.saturating_add(scheme.len());
            let value = value_at(text, start);
            if value.len() >= MIN_TOKEN && matches!(text.get(at.wrapping_sub(1)), Some(b'b' | b'B'))
            {
                tell(value);
            }
        }
    }
}

/// Shortest name that asks for a secret, and shortest token of a scheme.
const MIN_NAME: usize = 3;
const MIN_TOKEN: usize = 8;

/// The name that ends here, blanks and quotes aside.
fn word_before(text: &[u8]) -> &[u8] {
    const LONGEST: usize = 64;
    let text = text.trim_ascii_end();
    let text = match text {
        [before @ .., b'\\', b'"' | b'\''] | [before @ .., b'"' | b'\'' | b']'] => before,
        _ => text,
    };
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.[$".contains(byte);
    let letters = text.iter().rev().take(LONGEST);
    let len = letters.take_while(|byte| is_part(byte)).count();
    text.get(text.len().saturating_sub(len)..)
        .unwrap_or_default()
}

/// The value that begins here, behind blanks and a quote.
fn value_at(text: &[u8], at: usize) -> Range<usize> {
    let rest = text.get(at..).unwrap_or_default();
    let blanks = rest
        .iter()
        .take(3)
        .take_while(|byte| **byte == b' ')
        .count();
    let mut start = at.saturating_add(blanks);
    if matches!(text.get(start..), Some([b'\\', b'"' | b'\'', ..])) {
        start = start.saturating_add(1);
    }
    let quote = text
        .get(start)
        .copied()
        .filter(|byte| matches!(byte, b'"' | b'\''));
    if quote.is_some() {
        start = start.saturating_add(1);
    }
    let rest = text.get(start..).unwrap_or_default();
    let ends = |byte: &u8| match quote {
        Some(quote) => *byte == quote || *byte == b'\n',
        None => byte.is_ascii_whitespace() || b"&;,\"'<>()[]{}|".contains(byte),
    };
    let len = rest.iter().position(ends).unwrap_or(rest.len());
    start..start.saturating_add(len)
}

/// Places of secrets in order, without overlaps; none when there are none.
fn hidden_in(text: &[u8]) -> Option<Vec<(Range<usize>, &'static str)>> {
    if text.len() < 5 {
        return None;
    }
    let mut hidden: Vec<(Range<usize>, &'static str)> = Vec::new();
    shapes().hidden(text, |range, class| hidden.push((range, class)));
    named_in(text, |range| hidden.push((range, "")));
    if let Some((plain, places)) = unescaped(text) {
        let place = |at: usize| places.get(at).copied().unwrap_or(text.len());
        let escaped = |range: Range<usize>| place(range.start)..place(range.end);
        shapes().hidden(&plain, |range, class| hidden.push((escaped(range), class)));
        named_in(&plain, |range| hidden.push((escaped(range), "")));
        random_in(&plain, escaped, text, |range| hidden.push((range, "")));
    }
    random_in(text, |range| range, text, |range| hidden.push((range, "")));
    if hidden.is_empty() {
        return None;
    }
    hidden.sort_by_key(|(range, class)| {
        (range.start, std::cmp::Reverse(range.end), class.is_empty())
    });
    // What overlaps is hidden as one: a key may go on behind the run that it begins in.
    hidden.dedup_by(|(next, class), (range, of_range)| {
        let overlaps = next.start < range.end;
        if overlaps {
            if of_range.is_empty() {
                *of_range = class;
            }
            range.end = range.end.max(next.end);
        }
        overlaps
    });
    Some(hidden)
}

/// Random runs of what a text says, by where they stand in the text itself.
fn random_in(
    said: &[u8],
    place: impl Fn(Range<usize>) -> Range<usize>,
    text: &[u8],
    mut tell: impl FnMut(Range<usize>),
) {
    let mut public = 0..0;
    let mut from = 0;
    while let Some(start) = said
        .get(from..)
        .and_then(|rest| rest.iter().position(|byte| in_run(*byte)))
        .map(|at| from.saturating_add(at))
    {
        let run = said.get(start..).unwrap_or_default();
        let len = run.iter().take_while(|byte| in_run(**byte)).count();
        let end = start.saturating_add(len);
        if len >= MIN_RANDOM && is_random(run.get(..len).unwrap_or_default()) {
            let range = place(start..end);
            if !is_public(text, range.start, &mut public) {
                tell(range);
            }
        }
        from = end;
    }
}

/// What a text says whose bytes are escaped as in a URI (RFC 3986 §2.1), and where
/// each byte of it stands; none where nothing is.
fn unescaped(text: &[u8]) -> Option<(Zeroizing<Vec<u8>>, Vec<usize>)> {
    memchr::memchr(b'%', text)?;
    let mut plain = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut places = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let digit = |place: usize| char::from(*text.get(at.saturating_add(place))?).to_digit(16);
        let escaped = (byte == b'%')
            .then(|| u8::try_from(digit(1)? << 4 | digit(2)?).ok())
            .flatten();
        plain.push(escaped.unwrap_or(byte));
        places.push(at);
        at = at.saturating_add(if escaped.is_some() { 3 } else { 1 });
    }
    (plain.len() < text.len()).then_some((plain, places))
}

/// Whether what stands here is part of an OCSP request in a path (RFC 6960
/// appendix A.1): base64 of DER that names SHA-1, and no secret. `segment` is the
/// last one that was looked at, empty where it was no such request.
fn is_public(text: &[u8], at: usize, segment: &mut Range<usize>) -> bool {
    const SHA1: &[u8] = b"BgUrDgMCGg";
    if at < segment.end {
        return segment.start < segment.end;
    }
    // Runs stand within segments, and each begins behind the one before.
    let from = segment.end.min(at);
    let before = text.get(from..at).unwrap_or_default();
    let start = memchr::memrchr(b'/', before)
        .map_or(from, |slash| from.saturating_add(slash).saturating_add(1));
    let rest = text.get(start..).unwrap_or_default();
    let len = memchr::memchr(b'/', rest).unwrap_or(rest.len());
    let whole = rest.get(..len).unwrap_or_default();
    let end = start.saturating_add(len);
    let head = whole.get(..50).unwrap_or(whole);
    let is_request = whole.starts_with(b"M") && memchr::memmem::find(head, SHA1).is_some();
    *segment = if is_request { start..end } else { end..end };
    is_request
}

/// What random keys are made of, but for what parts the segments of a path.
fn in_run(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+' | b'=' | b'~')
}

/// Whether capitals, small letters and digits follow each other without order.
/// In words, even in `CamelCase2`, most letters are followed by one of their kind.
pub(super) fn is_random(run: &[u8]) -> bool {
    let kind = |byte: &u8| match byte {
        b'a'..=b'z' => Some(0),
        b'A'..=b'Z' => Some(1),
        b'0'..=b'9' => Some(2),
        _ => None,
    };
    let mut seen = [0_usize; 3];
    let (mut changes, mut pairs) = (0_usize, 0_usize);
    let mut last = None;
    for byte in run {
        let now = kind(byte);
        if let Some(kind) = now
            && let Some(count) = seen.get_mut(kind)
        {
            *count = count.saturating_add(1);
        }
        if let (Some(last), Some(now)) = (last, now) {
            pairs = pairs.saturating_add(1);
            changes = changes.saturating_add(usize::from(last != now));
        }
        last = now;
    }
    seen.iter().all(|count| *count >= 2) && changes.saturating_mul(5) >= pairs.saturating_mul(2)
}
