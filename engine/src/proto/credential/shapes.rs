//! The rules of `rules/secrets.tsv`: read once, and asked at each place where
//! one of their beginnings occurs.

use super::PASSED_OVER;
use super::anchors::{Anchor, Anchors};
use super::test::Test;
use super::walk::Walk;
use super::work::looked_at;
use std::ops::Range;
use std::sync::OnceLock;

const FILE: &str = include_str!("../../../../rules/secrets.tsv");

/// Bytes in front of a beginning that are looked at: more than a word has.
pub(super) const LEFT: usize = 16;
/// Letters of a prefix that chance does not make: once in 2^30 places of base64.
const TELLING: usize = 5;

/// A set of bytes.
type Chars = [bool; 256];

/// What a secret looks like.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) class: &'static str,
    pub(super) prefix: &'static [u8],
    /// The prefix is a name in front of the secret.
    pub(super) named: bool,
    /// Only where a word begins.
    apart: bool,
    chars: Chars,
    min: usize,
    pub(super) max: usize,
    pub(super) test: Test,
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

/// The compiled rules.
pub fn shapes() -> &'static Shapes {
    static SHAPES: OnceLock<Shapes> = OnceLock::new();
    SHAPES.get_or_init(|| Shapes::read(FILE))
}

/// The class of a secret that is all of `bytes`.
pub fn shape_of(bytes: &[u8]) -> Option<&'static str> {
    let shapes = shapes();
    shapes.anchors.first(bytes)?;
    let mut class = None;
    shapes.all(bytes, |range, found| {
        if range == (0..bytes.len()) && found != PASSED_OVER {
            class = class.or(Some(found));
        }
    });
    class
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
        let anchors = Anchors::new(&anchors, |group, byte| {
            let rules = groups
                .get(group)
                .and_then(|group| shapes.get(group.clone()));
            let mut rules = rules.unwrap_or_default().iter();
            rules.any(|rule| match rule.prefix.get(3) {
                Some(fourth) => *fourth == byte,
                None if rule.named => is_gap(byte),
                None => rule.has(byte),
            })
        });
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

    /// The rules of a group, with their numbers.
    pub(super) fn of_group(&self, group: usize) -> impl Iterator<Item = (usize, &Shape)> {
        let numbers = self.groups.get(group).cloned().unwrap_or_default();
        numbers.filter_map(|number| Some((number, self.shapes.get(number)?)))
    }

    /// A rule by its number.
    pub(super) fn get(&self, number: usize) -> Option<&Shape> {
        self.shapes.get(number)
    }

    /// Whether `behind` the beginning of an address there is no user, as is
    /// nearly always so. Candidates of that rule leave the others as they are,
    /// so that one that comes to nothing need not be begun.
    pub(super) fn is_plain_address(&self, group: usize, behind: &[u8]) -> bool {
        let mut rules = self.of_group(group).map(|(_, shape)| shape);
        let (Some(rule), None) = (rules.next(), rules.next()) else {
            return false;
        };
        if rule.test != Test::Userinfo {
            return false;
        }
        let most = behind.get(..rule.max).unwrap_or(behind);
        let len = rule.run(most);
        looked_at(len);
        len < most.len() && memchr::memchr(b'@', most.get(..len).unwrap_or_default()).is_none()
    }

    /// All secrets of a whole text, by where they end, and what was passed over.
    pub(crate) fn all(&self, bytes: &[u8], tell: impl FnMut(Range<usize>, &'static str)) {
        self.whole(bytes, Walk::default(), tell);
    }

    /// What of a text is to be hidden: placeholders as well, and what goes on
    /// longer than a secret does.
    pub(super) fn hidden(&self, bytes: &[u8], tell: impl FnMut(Range<usize>, &'static str)) {
        self.whole(bytes, Walk::hiding(), tell);
    }

    fn whole(&self, bytes: &[u8], walk: Walk, mut tell: impl FnMut(Range<usize>, &'static str)) {
        super::scan::whole(self, bytes, walk, &mut |told| {
            let place = |at| usize::try_from(at).unwrap_or(usize::MAX);
            tell(place(told.start)..place(told.end), told.class);
        });
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
        let (prefix, apart) = match prefix.strip_prefix('|') {
            Some(prefix) => (prefix, true),
            None => (prefix, false),
        };
        let (prefix, named) = match prefix.strip_suffix('~') {
            Some(name) => (name, true),
            None => (prefix, false),
        };
        Some(Self {
            class,
            prefix: prefix.as_bytes(),
            named,
            apart,
            chars: chars_of(chars)?,
            min: min.parse().ok()?,
            max: max.parse().ok()?,
            test: Test::of(test)?,
        })
    }

    /// How many bytes go on with the rule's letters.
    pub(super) fn run(&self, bytes: &[u8]) -> usize {
        bytes.iter().take_while(|byte| self.has(**byte)).count()
    }

    /// Whether it is one of the rule's letters.
    pub(super) fn has(&self, byte: u8) -> bool {
        self.chars.get(usize::from(byte)).copied().unwrap_or(false)
    }

    /// Which part of a candidate is a secret, or to be hidden. It is what is all of
    /// the text from `first` on; from `body` on, it was asked for its letters.
    pub(super) fn test_of(
        &self,
        text: &[u8],
        first: usize,
        body: usize,
        hides: bool,
    ) -> Option<Range<usize>> {
        let mut end = text.len();
        // A full stop behind a token ends a sentence, but for that of a token
        // whose last part is empty.
        let is_part = |whole: &[u8]| self.test.ends_with_stop(whole);
        while end > body && text.get(end.wrapping_sub(1)) == Some(&b'.') {
            if text.get(first..end).is_some_and(is_part) {
                break;
            }
            end = end.saturating_sub(1);
        }
        let secret = text.get(first..end)?;
        if secret.len() < self.min {
            return None;
        }
        if secret.len() > self.max {
            // Its beginning is tested, and all of it hidden.
            let tested = first.saturating_add(self.min);
            let (secret, behind) = (text.get(first..tested)?, text.get(body..tested)?);
            let holds = hides && self.test.holds(secret, behind, hides).is_some();
            return holds.then_some(first..end);
        }
        looked_at(secret.len());
        let part = self.test.holds(secret, text.get(body..end)?, hides)?;
        Some(first.saturating_add(part.start)..first.saturating_add(part.end))
    }

    /// Whether a secret may begin behind these bytes. Glued to a word it may where
    /// its rule is telling enough, and where what stands there reads as a word:
    /// not within base64 and the like. An escape of JSON or of a URI is no word.
    pub(super) fn may_follow(&self, before: &[u8; LEFT]) -> bool {
        let [.., last] = *before;
        if self.prefix.starts_with(b":AA") {
            return last.is_ascii_digit();
        }
        let begins_in_word = self.prefix.first().is_some_and(u8::is_ascii_alphanumeric);
        if !begins_in_word || !last.is_ascii_alphanumeric() && last != b'_' {
            return true;
        }
        match *before {
            [.., b'%', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => true,
            [.., b'\\', b'n' | b'r' | b't'] => true,
            _ if self.apart => false,
            _ if self.named || self.prefix.len() >= TELLING || self.test.is_telling() => true,
            // Capitals and digits alone: not behind more of them.
            _ if !self.has(b'a') => !self.has(last),
            _ => reads_as_word(before),
        }
    }
}

/// Whether what ends here is a word (or the end of one), as `bot`, `v2`, `apiToken`:
/// short, and with few changes between capitals, small letters and digits.
fn reads_as_word(before: &[u8; LEFT]) -> bool {
    let letters = before.iter().rev();
    let len = letters.take_while(|b| b.is_ascii_alphanumeric()).count();
    let word = before.get(LEFT.saturating_sub(len)..).unwrap_or_default();
    let kind = |byte: &u8| (byte.is_ascii_digit(), byte.is_ascii_uppercase());
    let changes = word
        .windows(2)
        .filter(|pair| matches!(pair, [a, b] if kind(a) != kind(b)))
        .count();
    len < LEFT && changes <= 2
}

/// What may stand between a name and its value.
pub(super) fn is_gap(byte: u8) -> bool {
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
