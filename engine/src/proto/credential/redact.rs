//! Texts that are to be shown, without what may be a secret in them: what the
//! rules know by its shape, and runs of letters and digits as only chance (or a
//! key generator) mixes them.

use super::shapes::shapes;
use std::borrow::Cow;
use std::ops::Range;

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
        // Shapes and runs are made of ASCII alone, so that these are borders.
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

/// Places of secrets in order, without overlaps; none when there are none.
fn hidden_in(text: &[u8]) -> Option<Vec<(Range<usize>, &'static str)>> {
    if text.len() < 8 {
        return None;
    }
    let mut hidden: Vec<(Range<usize>, &'static str)> = Vec::new();
    shapes().all(text, |range, class| hidden.push((range, class)));
    let mut from = 0;
    while let Some(start) = text
        .get(from..)
        .and_then(|rest| rest.iter().position(|byte| in_run(*byte)))
        .map(|at| from.saturating_add(at))
    {
        let run = text.get(start..).unwrap_or_default();
        let len = run.iter().take_while(|byte| in_run(**byte)).count();
        let end = start.saturating_add(len);
        if len >= MIN_RANDOM
            && is_random(run.get(..len).unwrap_or_default())
            && !is_public(text, start)
        {
            hidden.push((start..end, ""));
        }
        from = end;
    }
    if hidden.is_empty() {
        return None;
    }
    hidden.sort_by_key(|(range, class)| {
        (range.start, std::cmp::Reverse(range.end), class.is_empty())
    });
    let mut end = 0;
    hidden.retain(|(range, _)| {
        let apart = range.start >= end;
        end = end.max(range.end);
        apart
    });
    Some(hidden)
}

/// Whether what stands here is part of an OCSP request in a path (RFC 6960
/// appendix A.1): base64 of DER that names SHA-1, and no secret.
fn is_public(text: &[u8], at: usize) -> bool {
    const SHA1: &[u8] = b"BgUrDgMCGg";
    let start = memchr::memrchr(b'/', text.get(..at).unwrap_or_default());
    let segment = text.get(start.map_or(0, |at| at.saturating_add(1))..);
    let segment = segment.unwrap_or_default();
    let end = memchr::memchr(b'/', segment).unwrap_or(segment.len());
    let segment = segment.get(..end).unwrap_or_default();
    segment.starts_with(b"M") && memchr::memmem::find(segment, SHA1).is_some_and(|at| at < 40)
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
