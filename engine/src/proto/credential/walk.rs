//! Candidates at work: from a beginning of a rule to the end of what goes on
//! like it.
//!
//! Every byte is looked at once by each candidate that is open, of which there
//! are few, and a few times more when one ends and is tested. That bounds the
//! price of any stream. All that happens depends on places in the stream alone,
//! never on how it was cut.

use super::PASSED_OVER;
use super::shapes::{LEFT, Shape, Shapes, is_gap};
use super::test::{PEM_END, Test};
use super::work::looked_at;
use crate::proto::plain::append_wiping;
use zeroize::Zeroizing;

/// Candidates that are open at a time: a text has one, seldom two. One more
/// place is kept for an address, of which only one can be open.
const MAX_OPEN: usize = 9;
/// Those of one rule, the first and the newest: what goes on without an end begins
/// where it began, and what ends is as long as its maker makes it.
const MAX_SAME: usize = 2;
/// Most bytes between a name and the secret behind it.
const MAX_GAP: u64 = 8;
/// Bytes in which the label of a PEM block stands.
const MAX_LABEL: u64 = 64;
/// Longest line that ends one, behind `-----END `.
const MAX_PEM_END: u64 = 64;
/// What a block is labelled, if it is a key (RFC 7468 §10 and §11, OpenPGP's armour).
const PEM_KEY: &[u8] = b"PRIVATE KEY";

/// A secret that was found, or a place that was passed over.
pub(super) struct Told<'a> {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) secret: &'a [u8],
    pub(super) class: &'static str,
}

/// How far a candidate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// In what tells its rule from others with the same anchor.
    Prefix,
    /// Between a name and the secret.
    Gap,
    /// In the secret.
    Body,
    /// In the label of a PEM block: how much of [`PEM_KEY`] was read last, and
    /// how many dashes.
    Label(u8, u8),
    /// In its lines: how much of [`PEM_END`] was read last.
    Lines(u8),
    /// Behind that, since this many bytes: how many dashes were read last.
    LinesEnd(u8, u8),
}

/// A candidate. Places are counted from the start of the stream.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    shape: usize,
    start: u64,
    /// Where the secret itself begins: the prefix or, behind a name, what follows.
    first: u64,
    /// Where that begins which the rule's letters are asked of.
    body: u64,
    /// Up to where it was looked at.
    read: u64,
    stage: Stage,
    /// Of the rule for passwords in addresses.
    is_address: bool,
}

/// What became of a candidate.
enum Step {
    /// It goes on behind the bytes that were given.
    Open,
    /// It ends here.
    Ends(u64),
    /// It is none.
    Nothing,
}

/// Candidates in their order, and the bytes of those that began before.
#[derive(Default)]
pub(super) struct Walk {
    open: [Option<Candidate>; MAX_OPEN],
    len: usize,
    /// What may be a secret is to be hidden, more than is told of.
    hides: bool,
    /// The first and the last beginning that was not followed, since there was none.
    passed: Option<(u64, u64)>,
    /// From `held_at` on; wiped when dropped.
    held: Zeroizing<Vec<u8>>,
    held_at: u64,
}

impl Walk {
    /// Follows what is to be hidden.
    pub(super) fn hiding() -> Self {
        Self {
            hides: true,
            ..Self::default()
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.held.capacity()
    }

    /// A beginning of a group of rules was seen, `before` it these bytes. What
    /// is open was followed up to the beginning's end.
    pub(super) fn begin(&mut self, shapes: &Shapes, group: usize, start: u64, before: &[u8; LEFT]) {
        for (number, shape) in shapes.of_group(group) {
            if !shape.may_follow(before) {
                continue;
            }
            if shape.test == Test::Pem {
                // A block begins anew: the one before has no end.
                self.retain(|other| other.shape != number);
            }
            let same = self.iter().filter(|other| other.shape == number);
            let (count, newest) = same.fold((0, 0), |(count, newest), other| {
                (count + 1, other.start.max(newest))
            });
            if count >= MAX_SAME {
                self.retain(|other| other.shape != number || other.start != newest);
                self.pass_over(newest);
            }
            let others = self.iter().filter(|other| !other.is_address).count();
            let is_address = shape.test == Test::Userinfo;
            if !is_address && others >= MAX_OPEN.saturating_sub(1) {
                self.pass_over(start);
                continue;
            }
            let Some(free) = self.open.get_mut(self.len) else {
                return;
            };
            *free = Some(Candidate {
                shape: number,
                start,
                first: start,
                body: start,
                read: start,
                stage: Stage::Prefix,
                is_address,
            });
            self.len = self.len.saturating_add(1);
        }
    }

    /// Follows what is open through `bytes`, which begin at `at`, up to `to`.
    /// Bytes before `at` are those of `tail`.
    pub(super) fn follow(
        &mut self,
        shapes: &Shapes,
        (tail, bytes): (&[u8], &[u8]),
        at: u64,
        to: u64,
        tell: &mut dyn FnMut(Told<'_>),
    ) {
        if self.is_empty() {
            return;
        }
        // Who ends first is told of first, whatever the bytes were cut into.
        let mut ends: [Option<u64>; MAX_OPEN] = [None; MAX_OPEN];
        let mut dead = [false; MAX_OPEN];
        for ((slot, end), dead) in self.open.iter_mut().zip(&mut ends).zip(&mut dead) {
            let Some(candidate) = slot else { break };
            let Some(shape) = shapes.get(candidate.shape) else {
                continue;
            };
            match candidate.step(shape, (tail, bytes), at, to, self.hides) {
                Step::Open => {}
                Step::Ends(place) => *end = Some(place),
                Step::Nothing => *dead = true,
            }
        }
        self.settle(shapes, (tail, bytes), at, (ends, dead), tell);
        self.tell_passed(to, tell);
    }

    /// Nothing follows: what is open ends at `at`.
    pub(super) fn end(
        &mut self,
        shapes: &Shapes,
        bytes: &[u8],
        at: u64,
        tell: &mut dyn FnMut(Told<'_>),
    ) {
        if self.is_empty() {
            return;
        }
        let end = at.saturating_add(bytes.len() as u64);
        let ends = self
            .open
            .map(|slot| slot.filter(|open| open.is_in_body()).map(|_| end));
        self.settle(shapes, (&[], bytes), at, (ends, [false; MAX_OPEN]), tell);
        self.open = [None; MAX_OPEN];
        self.len = 0;
        self.tell_passed(end, tell);
        self.clear();
    }

    /// Keeps what is needed of `bytes`, of which nothing will be given again.
    pub(super) fn hold(&mut self, (tail, bytes): (&[u8], &[u8]), at: u64) {
        let Some(start) = self.iter().map(|open| open.start).min() else {
            self.held = Zeroizing::default();
            return;
        };
        let end = at.saturating_add(bytes.len() as u64);
        self.hold_to((tail, bytes), at, (start, end));
        // What no candidate needs any more goes once it is the larger part.
        let unused = span(self.held_at, start);
        if unused > self.held.len() / 2 {
            let mut fewer = Zeroizing::new(Vec::new());
            append_wiping(&mut fewer, self.held.get(unused..).unwrap_or_default());
            self.held = fewer;
            self.held_at = start;
        }
    }

    /// Gives up what is open.
    pub(super) fn clear(&mut self) {
        self.open = [None; MAX_OPEN];
        self.len = 0;
        self.passed = None;
        self.held = Zeroizing::default();
        self.held_at = 0;
    }

    /// A beginning is not followed, or no longer.
    fn pass_over(&mut self, start: u64) {
        let (first, last) = self.passed.unwrap_or((start, start));
        self.passed = Some((first.min(start), last.max(start)));
    }

    /// Tells of beginnings that were passed over, once nothing is open: within a
    /// secret that was found they are part of it.
    fn tell_passed(&mut self, to: u64, tell: &mut dyn FnMut(Told<'_>)) {
        if self.is_empty()
            && let Some((start, _)) = self.passed.take()
        {
            tell(Told {
                start,
                end: to,
                secret: &[],
                class: PASSED_OVER,
            });
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Candidate> {
        self.open.iter().flatten()
    }

    fn retain(&mut self, keep: impl Fn(&Candidate) -> bool) {
        let mut kept = [None; MAX_OPEN];
        let mut len = 0_usize;
        for (to, open) in kept
            .iter_mut()
            .zip(self.open.iter().flatten().filter(|open| keep(open)))
        {
            *to = Some(*open);
            len = len.saturating_add(1);
        }
        (self.open, self.len) = (kept, len);
    }

    /// Tests those that have ended, in the order of their ends, and lets go of
    /// them and of what is none.
    fn settle(
        &mut self,
        shapes: &Shapes,
        bytes: (&[u8], &[u8]),
        at: u64,
        (mut ends, dead): ([Option<u64>; MAX_OPEN], [bool; MAX_OPEN]),
        tell: &mut dyn FnMut(Told<'_>),
    ) {
        let mut gone = dead;
        loop {
            let first = ends
                .iter()
                .enumerate()
                .filter_map(|(slot, end)| Some(((*end)?, slot)))
                .min();
            let Some((end, slot)) = first else { break };
            if let Some(end) = ends.get_mut(slot) {
                *end = None;
            }
            if let Some(gone) = gone.get_mut(slot) {
                *gone = true;
            }
            let Some(candidate) = self.open.get(slot).copied().flatten() else {
                continue;
            };
            let Some(shape) = shapes.get(candidate.shape) else {
                continue;
            };
            let hides = self.hides;
            let text = self.text(bytes, at, (candidate.start, end));
            let from = |place: u64| span(candidate.start, place).min(text.len());
            let (first, body) = (from(candidate.first), from(candidate.body));
            if let Some(range) = shape.test_of(text, first, body, hides) {
                let told = Told {
                    start: candidate.start.saturating_add(range.start as u64),
                    end: candidate.start.saturating_add(range.end as u64),
                    secret: text.get(range).unwrap_or_default(),
                    class: shape.class,
                };
                let (from, to) = (told.start, told.end);
                tell(told);
                let is_part = |&(first, last): &(u64, u64)| from <= first && last < to;
                self.passed = self.passed.filter(|passed| !is_part(passed));
            }
        }
        if gone.contains(&true) {
            let mut slot = 0;
            let mut kept = [None; MAX_OPEN];
            for (open, gone) in self.open.iter().zip(gone) {
                if let (Some(open), false, Some(to)) = (open, gone, kept.get_mut(slot)) {
                    *to = Some(*open);
                    slot = slot.saturating_add(1);
                }
            }
            (self.open, self.len) = (kept, slot);
        }
    }

    /// The bytes of a candidate in one piece.
    fn text<'a>(
        &'a mut self,
        (tail, bytes): (&[u8], &'a [u8]),
        at: u64,
        (start, end): (u64, u64),
    ) -> &'a [u8] {
        if start >= at {
            let text = bytes.get(span(at, start)..span(at, end));
            return text.unwrap_or_default();
        }
        self.hold_to((tail, bytes), at, (start, end));
        let from = span(self.held_at, start);
        self.held
            .get(from..span(self.held_at, end))
            .unwrap_or_default()
    }

    /// Sees to it that from `start` to `end` all is held.
    fn hold_to(&mut self, (tail, bytes): (&[u8], &[u8]), at: u64, (start, end): (u64, u64)) {
        if self.held.is_empty() {
            self.held_at = start;
        }
        if start < self.held_at {
            // One that began before the others, across the same border.
            let tail_at = at.saturating_sub(tail.len() as u64);
            let more = tail.get(span(tail_at, start)..span(tail_at, self.held_at));
            let mut longer = Zeroizing::new(Vec::new());
            append_wiping(&mut longer, more.unwrap_or_default());
            append_wiping(&mut longer, &self.held);
            self.held = longer;
            self.held_at = start;
        }
        let mut reached = self.held_at.saturating_add(self.held.len() as u64);
        if reached < at {
            let tail_at = at.saturating_sub(tail.len() as u64);
            let more = tail.get(span(tail_at, reached)..).unwrap_or_default();
            append_wiping(&mut self.held, more);
            reached = at;
        }
        if reached < end {
            let more = bytes
                .get(span(at, reached)..span(at, end))
                .unwrap_or_default();
            append_wiping(&mut self.held, more);
        }
    }
}

impl Candidate {
    /// Whether it may end where nothing follows.
    fn is_in_body(&self) -> bool {
        !matches!(self.stage, Stage::Prefix | Stage::Gap | Stage::Label(..))
    }

    /// Goes on to `to`. `bytes` begin at `at`, before them stand those of `tail`.
    fn step(
        &mut self,
        shape: &Shape,
        (tail, bytes): (&[u8], &[u8]),
        at: u64,
        to: u64,
        hides: bool,
    ) -> Step {
        if self.stage == Stage::Prefix {
            let done = span(self.start, self.read);
            let wanted = shape.prefix.get(done..).unwrap_or_default();
            for byte in wanted {
                if self.read >= to {
                    return Step::Open;
                }
                let read = match self.read.checked_sub(at) {
                    Some(_) => bytes.get(span(at, self.read)),
                    None => tail.get(span(at.saturating_sub(tail.len() as u64), self.read)),
                };
                if read != Some(byte) {
                    return Step::Nothing;
                }
                self.read = self.read.saturating_add(1);
            }
            self.body = self.read;
            self.stage = match (shape.named, shape.test) {
                (true, _) => Stage::Gap,
                (_, Test::Pem) => Stage::Label(0, 0),
                _ => Stage::Body,
            };
        }
        let rest = bytes.get(span(at, self.read)..span(at, to));
        let rest = rest.unwrap_or_default();
        match self.stage {
            Stage::Prefix => Step::Open,
            Stage::Gap => {
                let len = rest.iter().take_while(|byte| is_gap(**byte)).count();
                self.read = self.read.saturating_add(len as u64);
                let gap = self.read.saturating_sub(self.body);
                if gap > MAX_GAP {
                    return Step::Nothing;
                }
                let rest = rest.get(len..).unwrap_or_default();
                if rest.is_empty() {
                    return Step::Open;
                }
                if gap == 0 {
                    return Step::Nothing;
                }
                (self.first, self.body) = (self.read, self.read);
                self.stage = Stage::Body;
                self.run(shape, rest, hides)
            }
            Stage::Body => self.run(shape, rest, hides),
            Stage::Label(..) | Stage::Lines(_) | Stage::LinesEnd(..) => self.pem(shape, rest),
        }
    }

    /// Goes on as long as the rule's letters do, and not beyond what a secret has;
    /// what is to be hidden may have words glued to its end.
    fn run(&mut self, shape: &Shape, rest: &[u8], hides: bool) -> Step {
        let longest = self.first.saturating_add(shape.max as u64);
        let room = if hides {
            usize::MAX
        } else {
            span(self.read, longest)
        };
        // One more than fits, to see what goes on for too long.
        let most = rest.get(..room.saturating_add(1)).unwrap_or(rest);
        let len = shape.run(most);
        looked_at(len);
        self.read = self.read.saturating_add(len as u64);
        if len > room {
            Step::Nothing
        } else if len < most.len() {
            Step::Ends(self.read)
        } else {
            Step::Open
        }
    }

    /// The same of a PEM block (RFC 7468 §2), which ends with a line of its own.
    fn pem(&mut self, shape: &Shape, rest: &[u8]) -> Step {
        let longest = self.first.saturating_add(shape.max as u64);
        for &byte in rest {
            if !shape.has(byte) {
                return if self.is_in_body() {
                    Step::Ends(self.read)
                } else {
                    Step::Nothing
                };
            }
            if self.read >= longest {
                return Step::Nothing;
            }
            self.read = self.read.saturating_add(1);
            looked_at(1);
            match &mut self.stage {
                Stage::Label(letters, dashes) => {
                    *letters = matched(PEM_KEY, *letters, byte);
                    *dashes = if byte == b'-' {
                        dashes.saturating_add(1)
                    } else {
                        0
                    };
                    let len = self.read.saturating_sub(self.body);
                    if usize::from(*letters) == PEM_KEY.len() {
                        self.stage = Stage::Lines(0);
                    } else if *dashes >= 5 || len > MAX_LABEL {
                        return Step::Nothing;
                    }
                }
                Stage::Lines(letters) => {
                    *letters = matched(PEM_END, *letters, byte);
                    if usize::from(*letters) == PEM_END.len() {
                        self.stage = Stage::LinesEnd(0, 0);
                    }
                }
                Stage::LinesEnd(passed, dashes) => {
                    *passed = passed.saturating_add(1);
                    *dashes = if byte == b'-' {
                        dashes.saturating_add(1)
                    } else {
                        0
                    };
                    if *dashes >= 5 {
                        return Step::Ends(self.read);
                    }
                    if u64::from(*passed) >= MAX_PEM_END {
                        // No line that ends it: it ends with its letters.
                        self.stage = Stage::Lines(0);
                    }
                }
                Stage::Prefix | Stage::Gap | Stage::Body => return Step::Nothing,
            }
        }
        Step::Open
    }
}

/// How much of `text` the last bytes are, one byte on. No part of the texts that
/// are asked for begins like the whole, but for dashes.
fn matched(text: &[u8], letters: u8, byte: u8) -> u8 {
    if text.get(usize::from(letters)) == Some(&byte) {
        return letters.saturating_add(1);
    }
    let dashes = text.iter().take_while(|first| **first == b'-').count();
    if byte == b'-' && usize::from(letters) == dashes && dashes > 0 {
        return letters;
    }
    u8::from(text.first() == Some(&byte))
}

/// From one place to a later one; nothing where it is not later.
fn span(from: u64, to: u64) -> usize {
    usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX)
}
