//! The datagrams of a batch that were put together from fragments: their
//! bytes, one behind the other, and which fragment completed each, so that
//! the layers around what they carry can be read once more.

use super::context::Finder;
use super::ip::Ip;
use super::walk::{Sink, Walk};
use super::{Fragment, LinkContext, Segment};
use crate::capture::LinkType;

/// Datagrams put together, with their bytes.
#[derive(Debug, Default)]
pub struct Datagrams {
    bytes: Vec<u8>,
    /// By their place in `bytes`.
    wholes: Vec<Whole>,
}

/// One datagram.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole {
    pub(super) start: usize,
    pub(super) end: usize,
    /// What its first fragment says that it carries.
    protocol: u8,
    /// IP bytes of all its fragments.
    ip_len: u32,
    /// The fragment that completed it.
    pub(super) last: Fragment,
}

impl Datagrams {
    /// Forgets them; the room stays.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.wholes.clear();
    }

    /// Bytes `at..at + len`, where they are held.
    pub fn bytes(&self, at: u64, len: usize) -> Option<&[u8]> {
        let at = usize::try_from(at).ok()?;
        self.bytes.get(at..at.checked_add(len)?)
    }

    /// Bytes held.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Appends a datagram's bytes; gives where they begin.
    pub(super) fn push<'b>(
        &mut self,
        pieces: impl Iterator<Item = &'b [u8]>,
        protocol: u8,
        ip_len: u32,
        last: &Fragment,
    ) -> usize {
        let start = self.bytes.len();
        pieces.for_each(|piece| self.bytes.extend_from_slice(piece));
        self.wholes.push(Whole {
            start,
            end: self.bytes.len(),
            protocol,
            ip_len,
            last: *last,
        });
        start
    }

    /// The newest one and its bytes.
    pub(super) fn last(&self) -> Option<(&Whole, &[u8])> {
        let whole = self.wholes.last()?;
        Some((whole, self.bytes.get(whole.start..whole.end)?))
    }

    /// What lies below and around a segment that one of them carries.
    /// `headers` are the first bytes of the packet that completed it.
    pub fn link_context(&self, link: LinkType, headers: &[u8], segment: &Segment) -> LinkContext {
        let mut nearest = None;
        for inner in self.around(segment.payload_offset) {
            let (context, found) = self.context_in(inner, link, headers, segment);
            if found {
                return context;
            }
            nearest.get_or_insert(context);
        }
        nearest.unwrap_or_default()
    }

    /// The datagrams in which a place may lie: two, where it is between them.
    fn around(&self, offset: u64) -> impl Iterator<Item = &Whole> {
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        let after = self.wholes.partition_point(|whole| whole.start <= at);
        let candidates = self.wholes.get(after.saturating_sub(2)..after);
        candidates
            .unwrap_or_default()
            .iter()
            .rev()
            .filter(move |whole| at <= whole.end)
    }

    fn context_in(
        &self,
        inner: &Whole,
        link: LinkType,
        headers: &[u8],
        segment: &Segment,
    ) -> (LinkContext, bool) {
        // From the innermost datagram out: a fragment may have come in
        // another datagram, which was whole before this one.
        let mut chain = vec![inner];
        let mut last = &inner.last;
        let mut before = inner.start;
        while last.bits & Segment::DEFRAGMENTED != 0 {
            let Some(outer) = self
                .around(last.payload_offset)
                .find(|outer| outer.start < before)
            else {
                break;
            };
            (last, before) = (&outer.last, outer.start);
            chain.push(outer);
        }
        let mut finder = Finder::default();
        finder.packet(link, headers, last);
        while let Some(whole) = chain.pop() {
            let bytes = self.bytes.get(whole.start..whole.end).unwrap_or_default();
            match chain.last() {
                Some(next) => finder.datagram(whole, bytes, &next.last),
                None => finder.datagram(whole, bytes, segment),
            };
        }
        finder.into_layers()
    }
}

impl<S: Sink> Walk<'_, S> {
    /// What a datagram carries, whose bytes are the walk's data.
    pub(super) fn datagram(&mut self, whole: &Whole) {
        let ip = Ip {
            src: whole.last.src,
            dst: whole.last.dst,
            version: whole.last.ip_version,
            len: whole.ip_len,
        };
        if ip.version == 6 {
            self.extensions(ip, whole.protocol, 0);
        } else {
            self.transport(ip, whole.protocol, 0);
        }
    }
}
