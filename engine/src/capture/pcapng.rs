//! The pcapng file format (draft-ietf-opsawg-pcapng): blocks, and the walk
//! over the packets of a chunk. Which blocks there are, what they say of
//! interfaces and how damage is passed was found before, by `sections`.

use super::damage::{Detour, Keep, Note};
use super::view::{NeedMore, View};
use super::walk::{Tally, Walked};
use super::{LinkType, Packet};
use crate::anomaly::AnomalyKind;
use crate::time::{CaptureTime, NANOS_PER_SECOND};
use pcap_parser::nom::IResult;
use pcap_parser::pcapng::PcapNGOption;

pub(super) const SECTION: u32 = 0x0a0d_0d0a;
pub(super) const INTERFACE: u32 = 1;
/// The obsolete Packet Block.
const PACKET: u32 = 2;
const SIMPLE: u32 = 3;
pub(super) const NAMES: u32 = 4;
pub(super) const STATISTICS: u32 = 5;
const ENHANCED: u32 = 6;
pub(super) const SECRETS: u32 = 10;
pub(super) const CUSTOM: u32 = 0x0bad;
pub(super) const CUSTOM_DO_NOT_COPY: u32 = 0x4000_0bad;

/// Longest block that is believed; what is longer is taken for damage.
pub(super) const MAX_BLOCK: u32 = 16 << 20;
/// Longest block that a search believes.
const MAX_SEARCHED: u32 = 1 << 20;
/// Blocks in a row that make a chain.
const CHAIN: u32 = 3;
/// Texts of packet comments kept from one chunk (and from one file).
pub(super) const MAX_COMMENTS: usize = 64;

/// An interface, as far as packets need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) link: LinkType,
    pub(super) snaplen: u32,
    /// Bytes of frame check sequence at the end of each packet.
    pub(super) fcs: u32,
    pub(super) clock: Clock,
}

/// How an interface counts time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clock {
    /// if_tsresol: a negative power of ten, or of two when the top bit is set.
    pub(super) resolution: u8,
    /// if_tsoffset, seconds.
    pub(super) offset: i64,
}

impl Clock {
    /// The moment of a time stamp. Exact in 128 bits, held at the ends of
    /// what [`CaptureTime`] covers, rounded towards the past below a
    /// nanosecond.
    pub(super) fn time(self, ticks: u64) -> CaptureTime {
        let per_second = i128::from(NANOS_PER_SECOND);
        let ticks = i128::from(ticks);
        let power = u32::from(self.resolution & 0x7f);
        // At most 2^64 * 10^9 < 2^94.
        let nanos = if self.resolution & 0x80 != 0 {
            (ticks * per_second) >> power
        } else if power <= 9 {
            ticks * 10_i128.pow(9 - power)
        } else {
            // 10^38 is the largest power of ten in an i128; beyond, any time
            // stamp is below a nanosecond.
            10_i128
                .checked_pow(power - 9)
                .map_or(0, |divisor| ticks / divisor)
        };
        let nanos = nanos + i128::from(self.offset) * per_second;
        let held = nanos.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
        CaptureTime::from_nanos(i64::try_from(held).unwrap_or(i64::MAX))
    }
}

/// What a walk must know of the section that it is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) big_endian: bool,
    /// Number, over all sections, of this section's first interface.
    pub(super) first: u32,
    /// Number of the interface that is described next.
    pub(super) next: u32,
    /// The section is of an unknown major version, which by definition cannot
    /// be read like version 1: its packets are counted as lost.
    pub(super) foreign: bool,
}

impl Section {
    /// The state behind a block that begins with `kind`.
    pub(super) fn after(mut self, block: &Block) -> Self {
        match block.kind {
            SECTION => {
                self.big_endian = block.big_endian;
                self.first = self.next;
                self.foreign = block.foreign;
            }
            INTERFACE => self.next = self.next.saturating_add(1),
            _ => {}
        }
        self
    }
}

/// A block's frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) kind: u32,
    pub(super) len: u32,
    pub(super) big_endian: bool,
    /// A section header of a major version other than 1.
    pub(super) foreign: bool,
}

/// What stands at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// A block whose two lengths agree.
    Sound(Block),
    /// A block whose trailing length differs from the leading one.
    TrailerDiffers(Block),
    /// The file ends first.
    Cut,
    /// No block, and why.
    Bad(&'static str),
}

/// Where a sound packet block at `at` ends; `None` when another stands there.
#[inline]
pub(super) fn behind_packet(view: &View<'_>, at: u64, big_endian: bool) -> Option<u64> {
    let (kind, len) = (view.u32(at, big_endian)?, view.u32(at + 4, big_endian)?);
    if !matches!(kind, ENHANCED | SIMPLE | PACKET) || len < shortest(kind) || len % 4 != 0 {
        return None;
    }
    let next = at.checked_add(u64::from(len))?;
    (view.u32(next - 4, big_endian)? == len).then_some(next)
}

/// Looks at a place. `big_endian` is the section's.
pub(super) fn look(view: &View<'_>, at: u64, big_endian: bool) -> Result<Look, NeedMore> {
    if view.read(at, 12)?.is_none() {
        return Ok(Look::Cut);
    }
    let Some(kind) = view.u32(at, big_endian) else {
        return Ok(Look::Cut);
    };
    let big_endian = if kind == SECTION {
        match view.array::<4>(at + 8) {
            Some([0x1a, 0x2b, 0x3c, 0x4d]) => true,
            Some([0x4d, 0x3c, 0x2b, 0x1a]) => false,
            _ => return Ok(Look::Bad("a section of unknown byte order")),
        }
    } else {
        big_endian
    };
    let len = view.u32(at + 4, big_endian).unwrap_or(0);
    if len < shortest(kind) || !len.is_multiple_of(4) || len > MAX_BLOCK {
        return Ok(Look::Bad("a block of impossible length"));
    }
    let trailer_at = at + u64::from(len) - 4;
    if view.read(trailer_at, 4)?.is_none() {
        return Ok(Look::Cut);
    }
    let block = Block {
        kind,
        len,
        big_endian,
        foreign: kind == SECTION && major(view, at, big_endian) != Some(1),
    };
    Ok(if view.u32(trailer_at, big_endian) == Some(len) {
        Look::Sound(block)
    } else {
        Look::TrailerDiffers(block)
    })
}

/// Bytes of the shortest block of a kind, options aside.
fn shortest(kind: u32) -> u32 {
    match kind {
        SECTION => 28,
        INTERFACE | SECRETS => 20,
        PACKET | ENHANCED => 32,
        SIMPLE | CUSTOM | CUSTOM_DO_NOT_COPY => 16,
        STATISTICS => 24,
        _ => 12,
    }
}

/// Whether a search may believe that such a block exists.
fn known(kind: u32) -> bool {
    matches!(
        kind,
        SECTION | 1..=13 | CUSTOM | CUSTOM_DO_NOT_COPY | 0x8000_0001
    )
}

/// A search that ran out of bytes: nothing begins before this place.
pub(super) struct Unfinished(pub(super) u64);

/// The first place from `from` on at which a chain of blocks begins. With
/// `to_the_end`, only a chain that ends exactly where the file does.
pub(super) fn search(
    view: &View<'_>,
    from: u64,
    big_endian: bool,
    to_the_end: bool,
) -> Result<Option<u64>, Unfinished> {
    let mut at = from;
    loop {
        let Some(kind) = view.u32(at, big_endian) else {
            return if view.more {
                Err(Unfinished(at))
            } else {
                Ok(None)
            };
        };
        if known(kind) {
            match chain(view, at, big_endian, to_the_end) {
                Ok(None) => return Ok(Some(at)),
                // What a long chain led to was looked at; do not look again
                // from each of its links.
                Ok(Some(broken)) if to_the_end => at = at.max(broken),
                Ok(Some(_)) => {}
                Err(NeedMore) => return Err(Unfinished(at)),
            }
        }
        at += 1;
    }
}

/// `None` when a chain begins at `at`, else where it breaks.
fn chain(
    view: &View<'_>,
    at: u64,
    big_endian: bool,
    to_the_end: bool,
) -> Result<Option<u64>, NeedMore> {
    let mut place = at;
    let mut big_endian = big_endian;
    let mut count = 0;
    while to_the_end || count < CHAIN {
        if count > 0 && place == view.end() && !view.more {
            return Ok(None);
        }
        match look(view, place, big_endian)? {
            Look::Sound(block) if known(block.kind) && block.len <= MAX_SEARCHED => {
                big_endian = block.big_endian;
                place += u64::from(block.len);
            }
            Look::Cut if count + 1 == CHAIN && !to_the_end => return Ok(None),
            _ => return Ok(Some(place)),
        }
        count += 1;
    }
    Ok(None)
}

/// The options of a block, up to their end or the first that is damaged.
pub(super) fn options(bytes: &[u8], big_endian: bool) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        type Parsed<'a> = IResult<&'a [u8], PcapNGOption<'a>, pcap_parser::PcapError<&'a [u8]>>;
        let parsed: Parsed<'_> = if big_endian {
            pcap_parser::pcapng::parse_option_be(rest)
        } else {
            pcap_parser::pcapng::parse_option_le(rest)
        };
        let (behind, option) = parsed.ok()?;
        // The crate pads values to four bytes; the length says how many count.
        let value = rest.get(4..4 + usize::from(option.len))?;
        rest = behind;
        (option.code.0 != 0).then_some((option.code.0, value))
    })
}

/// A packet block's fields.
struct Fields<'a> {
    interface: u32,
    ticks: Option<u64>,
    original: u32,
    data: &'a [u8],
    options: &'a [u8],
}

/// Walks the blocks of `start..end`.
pub(super) fn walk<'a, F: FnMut(Packet<'a>)>(
    view: View<'a>,
    section: Section,
    interfaces: &[Interface],
    start: u64,
    end: u64,
    plan: &[Detour],
    mut sink: F,
) -> Walked {
    let mut tally = Tally::new(start);
    let mut section = section;
    let mut at = start;
    let mut plan = plan
        .get(plan.partition_point(|detour| detour.at < start)..)
        .unwrap_or_default()
        .iter()
        .peekable();
    while at < end {
        let detour = plan.next_if(|detour| detour.at == at);
        if let Some(detour) = detour {
            for note in [&detour.keep_note, &detour.then_note].into_iter().flatten() {
                tally.note(note);
            }
            tally.walked.lost += detour.lost;
            tally.walked.skipped += detour.skipped;
            if detour.keep == Keep::Nothing {
                at = detour.resume.max(at + 1);
                continue;
            }
        }
        // The frame was found sound when the file was cut.
        let Some(block) = frame(&view, at, section.big_endian) else {
            // The file shrank since.
            at = view.end().max(at + 1);
            break;
        };
        let next = at + u64::from(block.len);
        section = section.after(&block);
        if matches!(block.kind, ENHANCED | SIMPLE | PACKET) {
            let body = view
                .get(at + 8, (block.len - 12) as usize)
                .unwrap_or_default();
            let packet = fields(&block, body, section, interfaces)
                .and_then(|fields| emit(at, section, interfaces, &fields, &mut tally));
            match packet {
                Ok(packet) => sink(packet),
                Err(reason) => {
                    tally.note(&Note {
                        kind: AnomalyKind::BlockMalformed,
                        offset: at,
                        ts: None,
                        detail: reason,
                    });
                    tally.walked.lost += 1;
                    tally.walked.skipped += u64::from(block.len);
                }
            }
        }
        at = next;
    }
    tally.end = at;
    tally.done()
}

/// A block's frame, without another look at its trailer.
#[inline]
fn frame(view: &View<'_>, at: u64, big_endian: bool) -> Option<Block> {
    let kind = view.u32(at, big_endian)?;
    if kind == SECTION {
        return match look(view, at, big_endian) {
            Ok(Look::Sound(block) | Look::TrailerDiffers(block)) => Some(block),
            _ => None,
        };
    }
    let len = view.u32(at + 4, big_endian)?;
    (len >= 12).then_some(Block {
        kind,
        len,
        big_endian,
        foreign: false,
    })
}

/// A section's major version.
fn major(view: &View<'_>, at: u64, big_endian: bool) -> Option<u16> {
    let bytes = *view.array::<2>(at + 12)?;
    Some(if big_endian {
        u16::from_be_bytes(bytes)
    } else {
        u16::from_le_bytes(bytes)
    })
}

/// Reads a packet block. The body is as long as its kind's shortest.
fn fields<'a>(
    block: &Block,
    body: &'a [u8],
    section: Section,
    interfaces: &[Interface],
) -> Result<Fields<'a>, String> {
    let view = View::whole(body);
    let word = |offset| {
        view.u32(offset, block.big_endian)
            .ok_or_else(|| "a packet block is too short".to_owned())
    };
    let (interface, ticks, captured, original, data_at) = match block.kind {
        SIMPLE => {
            let original = word(0)?;
            let snaplen = interfaces
                .get(section.first as usize)
                .map_or(0, |interface| interface.snaplen);
            let captured = match snaplen {
                0 => original,
                snaplen => original.min(snaplen),
            };
            (0, None, captured, original, 4)
        }
        kind => {
            // The obsolete block's interface has 16 bits, drops follow.
            let first = word(0)?;
            let interface = match (kind, block.big_endian) {
                (PACKET, true) => first >> 16,
                (PACKET, false) => first & 0xffff,
                _ => first,
            };
            let ticks = u64::from(word(4)?) << 32 | u64::from(word(8)?);
            (interface, Some(ticks), word(12)?, word(16)?, 20)
        }
    };
    let rest = body.get(data_at..).unwrap_or_default();
    // A whole block with a lying captured length costs one packet, not the
    // rest of the file.
    let Some(data) = rest.get(..captured as usize) else {
        return Err(format!(
            "a packet claims {captured} bytes, its block holds {}",
            rest.len()
        ));
    };
    let padded = data.len().next_multiple_of(4);
    Ok(Fields {
        interface,
        ticks,
        original,
        data,
        options: if block.kind == SIMPLE {
            &[]
        } else {
            rest.get(padded..).unwrap_or_default()
        },
    })
}

/// Counts a packet and makes it ready to be handed out.
fn emit<'a>(
    at: u64,
    section: Section,
    interfaces: &[Interface],
    fields: &Fields<'a>,
    tally: &mut Tally,
) -> Result<Packet<'a>, String> {
    if section.foreign {
        return Err("a packet in a section of an unknown version".to_owned());
    }
    let described = section.next - section.first;
    let number = section.first.saturating_add(fields.interface);
    let known = (fields.interface < described)
        .then(|| interfaces.get(number as usize))
        .flatten();
    let Some(interface) = known else {
        return Err(format!(
            "a packet names interface {}, its section has described {described}",
            fields.interface
        ));
    };
    let captured = fields.data.len() as u32;
    let wire_len = fields.original.max(captured);
    let data = match interface.fcs {
        0 => fields.data,
        fcs => {
            let without = wire_len.saturating_sub(fcs).min(captured);
            fields.data.get(..without as usize).unwrap_or(fields.data)
        }
    };
    for comment in comments(fields.options, section.big_endian) {
        tally.comment(at, comment);
    }
    let index = tally.index();
    let ts = match fields.ticks {
        Some(ticks) => {
            let ts = interface.clock.time(ticks);
            tally.count(at, ts, captured, wire_len, number);
            ts
        }
        None => {
            tally.count_untimed(captured, wire_len, number);
            CaptureTime::default()
        }
    };
    // Packet data begins behind the block's frame and its fixed fields.
    let fixed = if fields.ticks.is_some() { 28 } else { 12 };
    Ok(Packet {
        ts,
        link: interface.link,
        interface: number,
        index,
        record_offset: at,
        data_offset: at + fixed,
        wire_len,
        data,
    })
}

/// The comments among a block's options.
pub(super) fn comments(bytes: &[u8], big_endian: bool) -> impl Iterator<Item = &[u8]> {
    options(bytes, big_endian).filter_map(|(code, value)| (code == 1).then_some(value))
}
