//! The rules of `rules/secrets.tsv`: read once, and asked at each place where
//! one of their beginnings occurs.

use super::anchors::{Anchor, Anchors};
use super::test::Test;
use std::ops::Range;
use std::sync::OnceLock;

const FILE: &str = include_str!("../../../../rules/secrets.tsv");

/// Most bytes between a name and the secret behind it.
const MAX_GAP: usize = 8;

/// A set of bytes.
type Chars = [bool; 256];

/// What a secret looks like.
#[derive(Debug)]
struct Shape {
    class: &'static str,
    prefix: &'static [u8],
    /// The prefix is a name in front of the secret.
    named: bool,
    chars: Chars,
    min: usize,
    max: usize,
    test: Test,
}

/// All rules, with the searcher for their beginnings.
pub struct Shapes {
    shapes: Vec<Shape>,
    /// Beginnings that tell groups of rules apart, and which rules these are.
    groups: Vec<Range<usize>>,
    anchors: Anchors,
    /// Longest beginning.
    longest: usize,
}

impl std::fmt::Debug for Shapes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shapes")
            .field("shapes", &self.shapes.len())
            .finish_non_exhaustive()
    }
}

/// What stands at a place where a rule's beginning occurs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A secret.
    Secret(Range<usize>, &'static str),
    /// None.
    Nothing,
    /// Bytes behind the end decide.
    More,
}

/// The compiled rules.
pub fn shapes() -> &'static Shapes {
    static SHAPES: OnceLock<Shapes> = OnceLock::new();
    SHAPES.get_or_init(|| Shapes::read(FILE))
}

/// The class of a secret that is all of `bytes`.
pub fn shape_of(bytes: &[u8]) -> Option<&'static str> {
    let shapes = shapes();
    let anchor = shapes.next(bytes, 0).filter(|anchor| anchor.start == 0)?;
    match shapes.at(bytes, 0, anchor.group, &[], true) {
        Found::Secret(range, class) if range == (0..bytes.len()) => Some(class),
        _ => None,
    }
}

impl Shapes {
    /// Reads rules; lines that are none are left out, which a test forbids.
    fn read(file: &'static str) -> Self {
        let mut shapes: Vec<Shape> = file.lines().filter_map(Shape::read).collect();
        // Longer beginnings first: the most telling rule of a group decides.
        shapes.sort_by_key(|shape| (head_of(shape.prefix), std::cmp::Reverse(shape.prefix.len())));
        let (mut groups, mut anchors): (Vec<Range<usize>>, Vec<&[u8]>) = (Vec::new(), Vec::new());
        for (number, shape) in shapes.iter().enumerate() {
            let same = shapes
                .get(number.wrapping_sub(1))
                .is_some_and(|before| head_of(before.prefix) == head_of(shape.prefix));
            match (groups.last_mut(), anchors.last_mut()) {
                (Some(group), Some(anchor)) if same => {
                    group.end = number + 1;
                    *anchor = common(anchor, shape.prefix);
                }
                _ => {
                    groups.push(number..number + 1);
                    anchors.push(shape.prefix);
                }
            }
        }
        let longest = anchors.iter().map(|anchor| anchor.len()).max().unwrap_or(0);
        let anchors = Anchors::new(&anchors);
        Self {
            shapes,
            groups,
            anchors,
            longest,
        }
    }

    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.shapes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.shapes.is_empty()
    }

    /// Bytes of the longest beginning.
    pub(super) const fn longest(&self) -> usize {
        self.longest
    }

    /// The classes, sorted.
    pub fn classes(&self) -> Vec<&'static str> {
        let mut classes: Vec<_> = self.shapes.iter().map(|shape| shape.class).collect();
        classes.sort_unstable();
        classes.dedup();
        classes
    }

    /// The next beginning at or behind `from`.
    pub(super) fn next(&self, bytes: &[u8], from: usize) -> Option<Anchor> {
        self.anchors.next(bytes, from)
    }

    /// What stands at `start`, where a beginning of `group` occurs. `before` are
    /// bytes in front of `bytes`; `last` says that nothing follows them.
    pub(super) fn at(
        &self,
        bytes: &[u8],
        start: usize,
        group: usize,
        before: &[u8],
        last: bool,
    ) -> Found {
        let before = before_of(bytes, start, before);
        let of_group = self
            .groups
            .get(group)
            .and_then(|group| self.shapes.get(group.clone()));
        let mut undecided = false;
        for shape in of_group.unwrap_or_default() {
            match shape.at(bytes, start, before, last) {
                Found::Nothing => {}
                Found::More => undecided = true,
                // A more telling rule that may still come true has the word.
                secret if !undecided => return secret,
                Found::Secret(..) => {}
            }
        }
        if undecided {
            Found::More
        } else {
            Found::Nothing
        }
    }

    /// All secrets of a whole text, by place.
    pub(super) fn all(&self, bytes: &[u8], mut tell: impl FnMut(Range<usize>, &'static str)) {
        let mut from = 0;
        while let Some(Anchor { start, group, .. }) = self.next(bytes, from) {
            from = match self.at(bytes, start, group, &[], true) {
                Found::Secret(range, class) => {
                    let end = range.end;
                    tell(range, class);
                    end.max(start.saturating_add(1))
                }
                Found::Nothing | Found::More => start.saturating_add(1),
            };
        }
    }
}

fn head_of(prefix: &[u8]) -> &[u8] {
    prefix.get(..3).unwrap_or(prefix)
}

fn common<'a>(one: &'a [u8], other: &[u8]) -> &'a [u8] {
    let len = one.iter().zip(other).take_while(|(a, b)| a == b).count();
    one.get(..len).unwrap_or_default()
}

impl Shape {
    fn read(line: &'static str) -> Option<Self> {
        let mut columns = line.split('\t');
        let mut next = || columns.next();
        let (class, prefix, chars, length, test) = (next()?, next()?, next()?, next()?, next()?);
        let (min, max) = length.split_once('-')?;
        let (prefix, named) = match prefix.strip_suffix('~') {
            Some(name) => (name, true),
            None => (prefix, false),
        };
        Some(Self {
            class,
            prefix: prefix.as_bytes(),
            named,
            chars: chars_of(chars)?,
            min: min.parse().ok()?,
            max: max.parse().ok()?,
            test: Test::of(test)?,
        })
    }

    fn at(&self, bytes: &[u8], start: usize, before: [u8; 3], last: bool) -> Found {
        let here = bytes.get(start..).unwrap_or_default();
        if !here.starts_with(self.prefix) {
            let may_come = !last && self.prefix.starts_with(here);
            return if may_come {
                Found::More
            } else {
                Found::Nothing
            };
        }
        if !self.may_follow(before) {
            return Found::Nothing;
        }
        let mut body = start.saturating_add(self.prefix.len());
        let mut first = start;
        if self.named {
            let gap = bytes.get(body..).unwrap_or_default();
            let gap = gap.iter().take(MAX_GAP.saturating_add(1));
            let len = gap.take_while(|byte| is_gap(**byte)).count();
            body = body.saturating_add(len);
            first = body;
            if body >= bytes.len() && !last && len <= MAX_GAP {
                return Found::More;
            }
            if len == 0 || len > MAX_GAP {
                return Found::Nothing;
            }
        }
        let run = bytes.get(body..).unwrap_or_default();
        let room = self.max.saturating_sub(body.saturating_sub(first));
        // One more than fits, to see what goes on for too long.
        let run = run.get(..room.saturating_add(1)).unwrap_or(run);
        let len = self.test.run(run, &self.chars);
        if body.saturating_add(len) >= bytes.len() && len <= room && !last {
            return Found::More;
        }
        if len > room {
            return Found::Nothing;
        }
        let mut end = body.saturating_add(len);
        // A full stop behind a token ends a sentence, but for that of a token
        // whose last part is empty.
        let is_part = |whole: &[u8]| self.test.ends_with_stop(whole);
        while end > body && bytes.get(end.wrapping_sub(1)) == Some(&b'.') {
            if bytes.get(first..end).is_some_and(is_part) {
                break;
            }
            end -= 1;
        }
        let (Some(secret), Some(behind)) = (bytes.get(first..end), bytes.get(body..end)) else {
            return Found::Nothing;
        };
        if secret.len() < self.min {
            return Found::Nothing;
        }
        match self.test.holds(secret, behind) {
            Some(part) => Found::Secret(
                first.saturating_add(part.start)..first.saturating_add(part.end),
                self.class,
            ),
            None => Found::Nothing,
        }
    }

    /// Whether a secret may begin behind these bytes: not within a word, but
    /// for those that begin with a mark of their own. An escape of JSON or of a
    /// URI is no word.
    fn may_follow(&self, before: [u8; 3]) -> bool {
        let in_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if self.prefix.starts_with(b":AA") {
            return before[2].is_ascii_digit();
        }
        if !self.prefix.first().is_some_and(u8::is_ascii_alphanumeric) {
            return true;
        }
        match before {
            [b'%', high, low] => high.is_ascii_hexdigit() && low.is_ascii_hexdigit(),
            [_, b'\\', b'n' | b'r' | b't'] => true,
            [.., last] => !in_word(last),
        }
    }
}

/// The three bytes in front of a place; zeros where there are none.
fn before_of(bytes: &[u8], start: usize, before: &[u8]) -> [u8; 3] {
    let here = bytes.get(..start).unwrap_or_default();
    let mut three = [0; 3];
    let last = here.iter().rev().chain(before.iter().rev());
    for (to, from) in three.iter_mut().rev().zip(last) {
        *to = *from;
    }
    three
}

/// What may stand between a name and its value.
fn is_gap(byte: u8) -> bool {
    matches!(
        byte,
        b'"' | b'\'' | b' ' | b'\t' | b':' | b'=' | b'>' | b'\\' | b'&' | b';'
    )
}

fn chars_of(name: &str) -> Option<Chars> {
    let holds: fn(u8) -> bool = match name {
        "word" => |b| b.is_ascii_alphanumeric(),
        "word_" => |b| b.is_ascii_alphanumeric() || b == b'_',
        "url" => |b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'),
        "url." => |b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'),
        "url=" => |b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'='),
        "b64" => |b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='),
        "b64_" => |b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=' | b'_' | b'-'),
        "hex" => |b| b.is_ascii_hexdigit(),
        "hex-" => |b| b.is_ascii_hexdigit() || b == b'-',
        "base32" => |b| b.is_ascii_uppercase() || (b'2'..=b'7').contains(&b),
        "base36" => |b| b.is_ascii_uppercase() || b.is_ascii_digit(),
        "path" => |b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'/'),
        // Base64 in lines, which JSON escapes, and what stands in the headers.
        "pem" => |b| {
            b.is_ascii_alphanumeric()
                || matches!(
                    b,
                    b'+' | b'/'
                        | b'='
                        | b'-'
                        | b' '
                        | b'\r'
                        | b'\n'
                        | b'\\'
                        | b':'
                        | b','
                        | b'.'
                        | b'('
                        | b')'
                )
        },
        "userinfo" => |b| {
            b.is_ascii_graphic()
                && !matches!(
                    b,
                    b'/' | b'?'
                        | b'#'
                        | b'"'
                        | b'\''
                        | b'<'
                        | b'>'
                        | b'\\'
                        | b'`'
                        | b','
                        | b')'
                        | b'('
                        | b'{'
                        | b'}'
                )
        },
        _ => return None,
    };
    Some(std::array::from_fn(|byte| {
        holds(u8::try_from(byte).unwrap_or_default())
    }))
}
