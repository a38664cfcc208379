//! What a protocol's reader is given and may answer, and the two ways of
//! cutting a stream that nearly all of them share: lines ([`Lines`]) and
//! messages that state their length ([`Frames`]).
//!
//! Both hold a bounded beginning of what is incomplete, wiped when dropped,
//! since it may hold a password.

use super::text::{decoded, split_at_byte};
use super::{CredentialSeen, MAX_CREDENTIALS, Place, PlaintextFacts, StartTls};
use crate::anomaly::AnomalyKind;
use crate::proto::credential::{PASSED_OVER, Redacted, SecretHash, canonical, shape_of, shapes};
use crate::proto::tls::TlsHandshake;
use crate::proto::{Cx, Want};
use std::fmt;
use std::ops::Deref;
use zeroize::Zeroizing;

/// Which side of a protocol sent something; not always the flow's originator
/// and responder, since a capture may begin in the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The side that asks.
    Client,
    /// The side that answers.
    Server,
}

impl Role {
    /// 0 for the client, 1 for the server: an index into pairs.
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

/// What a reader says of the bytes it was given, and of those that follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// All were this protocol's; so many more are wanted of this side.
    Want(Want),
    /// After so many of these bytes, TLS begins in both directions.
    Tls {
        /// How many of the bytes given were still this protocol's.
        after: usize,
        /// What the TLS handshake names as its transport.
        transport: &'static str,
    },
    /// After so many of these bytes, another protocol begins in both directions.
    Tunnel {
        /// How many of the bytes given were still this protocol's.
        after: usize,
        /// What a TLS handshake inside names as its transport.
        transport: &'static str,
    },
}

impl Next {
    /// More bytes of this side, please.
    pub(crate) const BYTES: Self = Self::Want(Want::Bytes);
    /// This side has nothing more to say.
    pub(crate) const NOTHING: Self = Self::Want(Want::Nothing);
}

/// What a reader works with during one call.
pub(crate) struct Scene<'a, 'b> {
    /// The flow's context.
    pub cx: &'a mut Cx<'b>,
    /// What is known of the flow so far.
    pub facts: &'a mut PlaintextFacts,
    /// The flow's service names, outermost first.
    pub services: &'a mut Services,
    /// Whether the bytes count as encrypted, for protocols that change in their course.
    pub encrypted: &'a mut bool,
    /// Messages that are encrypted by themselves among readable ones.
    pub sealed: Sealed,
    /// Whether the reader looks for secrets by itself, since its bytes are not
    /// those of what they say.
    pub looked: bool,
}

/// How many bytes of one side count as encrypted although its protocol is readable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sealed {
    /// Of those given before this call.
    pub before: u64,
    /// Of those given by this call and from here on.
    pub from_here: u64,
}

impl Scene<'_, '_> {
    /// Notes a credential of which only the length is at hand.
    pub(crate) fn credential(&mut self, class: &'static str, len: usize) {
        self.note(CredentialSeen {
            class,
            len: u32::try_from(len).unwrap_or(u32::MAX),
            ..CredentialSeen::default()
        });
    }

    /// Notes a password of a login, with the user's hash where there is one.
    pub(crate) fn login(&mut self, class: &'static str, user: Option<SecretHash>, secret: &[u8]) {
        let Redacted { len, hash, last4 } = self.cx.redactor.password(secret);
        self.note(CredentialSeen {
            class,
            shape: shape_of(secret),
            len,
            hash: Some(hash),
            last4,
            user,
            ..CredentialSeen::default()
        });
    }

    /// Notes user and password of `user:password` as base64 (RFC 7617 §2); the
    /// whole when it is no base64.
    pub(crate) fn basic(&mut self, class: &'static str, token: &[u8]) {
        let decoded = decoded(token);
        match decoded
            .as_deref()
            .and_then(|pair| split_at_byte(pair, b':'))
        {
            Some((user, secret)) => {
                let user = self.cx.redactor.user(user);
                self.login(class, Some(user), secret);
            }
            None => self.login(class, None, token),
        }
    }

    /// Notes user and password of a SASL PLAIN message (RFC 4616 §2).
    pub(crate) fn sasl_plain(&mut self, class: &'static str, message: &[u8]) {
        let mut parts = message.rsplit(|byte| *byte == 0);
        let secret = parts.next().unwrap_or_default();
        let user = parts.next().map(|user| self.cx.redactor.user(user));
        self.login(class, user, secret);
    }

    /// Notes a secret that was seen by its look, or that one may have been missed.
    pub(crate) fn shape(&mut self, secret: &[u8], class: &'static str) {
        if class == PASSED_OVER {
            let cx = &mut *self.cx;
            return cx.anomalies.note(
                AnomalyKind::SecretsPassedOver,
                cx.ts,
                cx.packet,
                || "beginnings of secrets that overlap: not each was followed to its end",
            );
        }
        let redactor = self.cx.redactor;
        let secret = &*canonical(class, secret);
        // A password in an address was thought up, a key was not.
        let redacted = match class {
            "url_password" => redactor.password(secret),
            _ => redactor.token(secret),
        };
        self.note(CredentialSeen {
            class,
            place: Place::Payload,
            shape: Some(class),
            len: redacted.len,
            hash: Some(redacted.hash),
            last4: redacted.last4,
            ..CredentialSeen::default()
        });
    }

    /// Notes the secrets of a whole text that are known by their look.
    pub(crate) fn shapes_of(&mut self, text: &[u8]) {
        shapes().all(text, |range, class| {
            self.shape(text.get(range).unwrap_or_default(), class);
        });
    }

    /// Notes a credential. What was seen in the same place before is counted; what
    /// was seen by its look alone is told by its place.
    pub(crate) fn note(&mut self, seen: CredentialSeen) {
        let (ts, packet) = (self.cx.ts, self.cx.packet);
        let known = &mut self.facts.credentials;
        let same = |known: &CredentialSeen| match seen.place {
            Place::Payload => known.hash == seen.hash,
            place => {
                known.hash == seen.hash
                    && known.len == seen.len
                    && (known.place == Place::Payload && seen.hash.is_some()
                        || known.place == place
                            && known.class == seen.class
                            && known.name == seen.name
                            && known.user == seen.user)
            }
        };
        if let Some(known) = known.iter_mut().find(|known| same(known)) {
            known.ts_last = known.ts_last.max(ts);
            if known.place == Place::Payload && seen.place != Place::Payload {
                let (ts, packet, ts_last) = (known.ts, known.packet, known.ts_last);
                *known = CredentialSeen {
                    ts,
                    packet,
                    ts_last,
                    count: known.count.max(1),
                    ..seen
                };
            } else if seen.place != Place::Payload || known.place == Place::Payload {
                known.count = known.count.saturating_add(1);
            }
            return;
        }
        if known.len() < MAX_CREDENTIALS {
            known.push(CredentialSeen {
                ts,
                packet,
                ts_last: ts,
                count: 1,
                ..seen
            });
        } else {
            self.cx
                .anomalies
                .note(AnomalyKind::LimitEvicted, ts, packet, || {
                    format!("more than {MAX_CREDENTIALS} different credentials in one flow; the rest are not listed")
                });
        }
    }

    /// Notes that a message of `len` bytes is encrypted, of which `carried` were
    /// given by earlier calls.
    pub(crate) fn sealed(&mut self, carried: usize, len: u64) {
        let carried = carried as u64;
        self.facts.encrypted = true;
        self.sealed.before = self.sealed.before.saturating_add(carried);
        let from_here = len.saturating_sub(carried);
        self.sealed.from_here = self.sealed.from_here.saturating_add(from_here);
    }

    /// Notes that a message of this protocol was malformed.
    pub(crate) fn malformed(&mut self, what: &'static str) {
        let (protocol, cx) = (self.facts.protocol, &mut *self.cx);
        cx.anomalies
            .note(AnomalyKind::AppMalformed, cx.ts, cx.packet, || {
                format!("{protocol}: {what}")
            });
    }
}

/// Reads one protocol of one flow, once it was recognised.
pub(crate) trait Reader: fmt::Debug + Send {
    /// The next bytes of one side's stream, or one datagram.
    fn data(&mut self, scene: &mut Scene<'_, '_>, from: Role, bytes: &[u8]) -> Next;

    /// Bytes of one side are missing where this reader wanted to read them.
    fn gap(&mut self, from: Role, len: u64) -> Want;

    /// Bytes of one side passed that were not wanted.
    fn skipped(&mut self, _from: Role, _len: u64) {}

    /// The flow has ended, or this protocol has.
    fn end(&mut self, _cx: &mut Cx<'_>, _facts: &mut PlaintextFacts) {}

    /// The TLS handshakes inside this protocol's own messages, at the end.
    fn handshakes(&mut self, _cx: &mut Cx<'_>) -> Vec<TlsHandshake> {
        Vec::new()
    }

    /// Heap bytes held, roughly.
    fn heap_bytes(&self) -> usize {
        0
    }
}

/// The reader of protocols that need only be named: wants nothing.
#[derive(Debug)]
pub(crate) struct Named;

impl Reader for Named {
    fn data(&mut self, _scene: &mut Scene<'_, '_>, _from: Role, _bytes: &[u8]) -> Next {
        Next::NOTHING
    }

    fn gap(&mut self, _from: Role, _len: u64) -> Want {
        Want::Nothing
    }
}

/// Service names of a flow, outermost first, each once, at most four.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Services([Option<&'static str>; 4]);

impl Services {
    /// Adds a name, unless it is there or the list is full.
    pub(crate) fn add(&mut self, name: &'static str) {
        for slot in &mut self.0 {
            match slot {
                Some(there) if *there == name => return,
                Some(_) => {}
                None => {
                    *slot = Some(name);
                    return;
                }
            }
        }
    }

    /// The names, outermost first.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.0.into_iter().flatten().collect()
    }

    /// The names joined by commas; none when empty.
    pub(crate) fn joined(&self) -> Option<std::borrow::Cow<'static, str>> {
        match self.0 {
            [None, ..] => None,
            [Some(only), None, ..] => Some(only.into()),
            names => Some(
                names
                    .into_iter()
                    .flatten()
                    .collect::<Vec<_>>()
                    .join(",")
                    .into(),
            ),
        }
    }
}

/// How far an upgrade to TLS came: what each protocol's reader notes, and the
/// one place that turns it into a [`StartTls`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Upgrade {
    /// Whether the server's list of capabilities had it; none when no list was seen.
    pub offered: Option<bool>,
    /// The list has an entry that looks overwritten on the way.
    pub mangled: bool,
    /// The client asked.
    pub asked: bool,
    /// The server said no.
    pub refused: bool,
    /// The server said yes, and TLS is to follow.
    pub accepted: bool,
    /// The conversation went on in the clear to where asking is too late or pointless.
    pub went_on: bool,
}

impl Upgrade {
    /// What it amounts to; none when the capture does not show it.
    pub(crate) fn verdict(&self) -> Option<StartTls> {
        match self {
            // Whoever said yes is followed by TLS, which the session checks.
            Self { accepted: true, .. } => None,
            Self { mangled: true, .. } => Some(StartTls::Stripped),
            Self {
                asked: true,
                offered: Some(false),
                ..
            } => Some(StartTls::Stripped),
            Self { refused: true, .. } => Some(StartTls::Refused),
            Self {
                asked: true,
                went_on: false,
                ..
            } => None,
            Self {
                offered: Some(true),
                ..
            } => Some(StartTls::OfferedNotTaken),
            Self {
                offered: Some(false),
                ..
            } => Some(StartTls::NotOffered),
            Self { asked: true, .. } => Some(StartTls::Stripped),
            _ => None,
        }
    }
}

/// Bytes that were either still in the segment or had to be put together.
#[derive(Debug)]
pub(crate) enum Piece<'a> {
    /// Within the bytes given.
    Whole(&'a [u8]),
    /// Put together from several calls; wiped when dropped.
    Joined(Zeroizing<Vec<u8>>),
}

impl Deref for Piece<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Whole(bytes) => bytes,
            Self::Joined(bytes) => bytes,
        }
    }
}

/// Longest line kept; what goes beyond is passed over.
const MAX_LINE: usize = 4096;

/// Cuts one side's stream into lines.
#[derive(Debug)]
pub(crate) struct Lines {
    delimiter: u8,
    partial: Zeroizing<Vec<u8>>,
    /// The rest of the line up to its end is passed over (after a gap).
    passing_over: bool,
}

impl Lines {
    /// Lines that end with this byte.
    pub(crate) fn until(delimiter: u8) -> Self {
        Self {
            delimiter,
            partial: Zeroizing::default(),
            passing_over: false,
        }
    }

    /// The next whole line without its line end, and `rest` moved beyond it.
    pub(crate) fn next<'a>(&mut self, rest: &mut &'a [u8]) -> Option<Piece<'a>> {
        loop {
            let Some(end) = memchr::memchr(self.delimiter, rest) else {
                if !self.passing_over {
                    self.keep(rest);
                }
                *rest = &[];
                return None;
            };
            let (line, after) = rest.split_at(end);
            *rest = after.get(1..).unwrap_or_default();
            if std::mem::take(&mut self.passing_over) {
                continue;
            }
            if self.partial.is_empty() {
                let line = line.get(..MAX_LINE).unwrap_or(line);
                return Some(Piece::Whole(line.strip_suffix(b"\r").unwrap_or(line)));
            }
            self.keep(line);
            let mut line = std::mem::take(&mut self.partial);
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            return Some(Piece::Joined(line));
        }
    }

    /// What is there of a line whose end was not seen.
    pub(crate) fn partial(&self) -> &[u8] {
        &self.partial
    }

    /// Bytes are missing: what remains of this line is no line.
    pub(crate) fn gap(&mut self) {
        self.partial.clear();
        self.passing_over = true;
    }

    /// Heap bytes held.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.partial.capacity()
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = MAX_LINE.saturating_sub(self.partial.len());
        let kept = bytes.get(..room).unwrap_or(bytes);
        append_wiping(&mut self.partial, kept);
    }
}

/// Appends without leaving a copy behind when the vector has to move.
pub(crate) fn append_wiping(to: &mut Zeroizing<Vec<u8>>, bytes: &[u8]) {
    if to.capacity() - to.len() < bytes.len() {
        let mut larger = Zeroizing::new(Vec::with_capacity(
            (to.len() + bytes.len()).max(2 * to.len()).max(64),
        ));
        larger.extend_from_slice(to);
        *to = larger;
    }
    to.extend_from_slice(bytes);
}

/// What the beginning of a message says about its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// So many bytes in all, header included.
    Len(u64),
    /// The header is not whole yet.
    Short,
    /// This is no message of the protocol.
    Bad,
}

/// Longest beginning of a message that is ever put together.
const MAX_FRAME_HEAD: usize = 16 << 10;

/// What [`Frames::next`] found.
#[derive(Debug)]
pub(crate) enum Frame<'a> {
    /// The beginning of a message: all of it, or as much as was asked for.
    Message(Piece<'a>),
    /// All bytes were taken up; this is what is wanted next.
    Want(Want),
    /// The bytes are no message: framing is lost.
    Lost,
}

/// Cuts one side's stream into messages that state their own length, and
/// passes over what is beyond the beginning of each.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    partial: Zeroizing<Vec<u8>>,
    skip: u64,
    carried: usize,
    lost: bool,
}

impl Frames {
    /// The next message's beginning (at most `keep` bytes of it), and `rest`
    /// moved beyond the message.
    pub(crate) fn next<'a>(
        &mut self,
        rest: &mut &'a [u8],
        keep: usize,
        measure: impl Fn(&[u8]) -> Measure,
    ) -> Frame<'a> {
        if self.lost {
            *rest = &[];
            return Frame::Want(Want::Nothing);
        }
        self.carried = self.partial.len();
        if self.skip > 0 {
            let passed = usize::try_from(self.skip).map_or(rest.len(), |skip| skip.min(rest.len()));
            *rest = rest.get(passed..).unwrap_or_default();
            self.skip -= passed as u64;
        }
        let keep = keep.min(MAX_FRAME_HEAD);
        loop {
            if rest.is_empty() {
                let skip = std::mem::take(&mut self.skip);
                return Frame::Want(if skip > 0 {
                    Want::Skip(skip)
                } else {
                    Want::Bytes
                });
            }
            if self.partial.is_empty() {
                match measure(rest) {
                    Measure::Len(len) => {
                        let wanted = usize::try_from(len)
                            .map_or(keep, |len| len.min(keep))
                            .max(1);
                        if let Some(head) = rest.get(..wanted) {
                            self.pass(rest, len.max(1));
                            return Frame::Message(Piece::Whole(head));
                        }
                    }
                    Measure::Short => {}
                    Measure::Bad => return self.lose(rest),
                }
                // The rest of the message, or of its header, is still to come.
                let kept = rest.get(..keep.max(64)).unwrap_or(rest);
                append_wiping(&mut self.partial, kept);
                *rest = rest.get(kept.len()..).unwrap_or_default();
                continue;
            }
            // Byte counts below: `partial` holds the message's first bytes, `rest` follows.
            match measure(&self.partial) {
                Measure::Short => {
                    if self.partial.len() >= MAX_FRAME_HEAD {
                        return self.lose(rest);
                    }
                    let (first, after) = rest.split_at(1);
                    append_wiping(&mut self.partial, first);
                    *rest = after;
                }
                Measure::Bad => return self.lose(rest),
                Measure::Len(len) => {
                    let len = len.max(1);
                    let wanted = usize::try_from(len)
                        .map_or(keep, |len| len.min(keep))
                        .max(1);
                    let missing = wanted.saturating_sub(self.partial.len());
                    let taken = missing.min(rest.len());
                    append_wiping(&mut self.partial, rest.get(..taken).unwrap_or_default());
                    *rest = rest.get(taken..).unwrap_or_default();
                    if taken == missing {
                        let head = std::mem::take(&mut self.partial);
                        self.pass(rest, len.saturating_sub(head.len() as u64));
                        return Frame::Message(Piece::Joined(head));
                    }
                }
            }
        }
    }

    /// How much of the message just found came with earlier calls.
    pub(crate) fn carried(&self) -> usize {
        self.carried
    }

    /// Bytes are missing where a message was to be read: framing is lost.
    pub(crate) fn gap(&mut self) -> Want {
        self.lost = true;
        self.partial.clear();
        Want::Nothing
    }

    /// Heap bytes held.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.partial.capacity()
    }

    /// Moves `rest` past `len` bytes; what is not there yet is skipped later.
    fn pass(&mut self, rest: &mut &[u8], len: u64) {
        let there = usize::try_from(len).map_or(rest.len(), |len| len.min(rest.len()));
        *rest = rest.get(there..).unwrap_or_default();
        self.skip = len - there as u64;
    }

    fn lose<'a>(&mut self, rest: &mut &'a [u8]) -> Frame<'a> {
        *rest = &[];
        self.lost = true;
        self.partial.clear();
        Frame::Lost
    }
}
