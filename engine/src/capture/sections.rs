//! The serial pass over a pcapng's blocks: cuts it into chunks, keeps what its
//! sections and interfaces say of themselves, and passes damage.

use super::cut::Pieces;
use super::damage::{Detour, Keep, Note};
use super::pcapng::{self, Block, Clock, Interface, Look, Section, Unfinished};
use super::stream::Cut;
use super::view::{NeedMore, View};
use super::{CaptureSummary, InterfaceSummary, LinkType};
use crate::anomaly::AnomalyKind;
use std::net::IpAddr;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Interfaces that packets may use. A file that describes more is hostile:
/// packets on the others are counted as lost.
const MAX_INTERFACES: usize = 1 << 20;
/// Interfaces whose names are kept.
const MAX_NAMED: usize = 4_096;
/// Bytes of an interface's or section's text that are kept.
const MAX_TEXT: usize = 1_024;
/// Bytes of decryption secrets that are kept.
const MAX_SECRETS: usize = 16 << 20;
/// Resolved names that are kept.
const MAX_NAMES: usize = 65_536;

/// What a pcapng says besides packets. Empty for a pcap.
#[derive(Clone, Debug, Default)]
pub struct Extras {
    /// Names of addresses, in the file's order.
    pub names: Vec<ResolvedName>,
    /// Decryption secrets, in the file's order.
    pub secrets: Vec<DecryptionSecrets>,
    /// Comments on sections, interfaces and packets: offset of the block, text.
    pub comments: Vec<(u64, String)>,
    /// Blocks of unknown kind, skipped.
    pub unknown_blocks: u64,
    /// Custom blocks, skipped.
    pub custom_blocks: u64,
}

/// One name of a Name Resolution Block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedName {
    /// Where the block stands.
    pub offset: u64,
    /// The address.
    pub address: IpAddr,
    /// Its name, as the capture has it.
    pub name: String,
}

/// The content of a Decryption Secrets Block.
#[derive(Clone, PartialEq, Eq)]
pub struct DecryptionSecrets {
    /// Registered type: 0x544c534b is an NSS key log.
    pub kind: u32,
    /// Offset of the block.
    pub offset: u64,
    /// The secrets; wiped when dropped.
    pub data: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for DecryptionSecrets {
    /// Says how much there is, never what.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DecryptionSecrets")
            .field("kind", &self.kind)
            .field("offset", &self.offset)
            .field("len", &self.data.len())
            .finish()
    }
}

/// The pass over the blocks, and what it has seen.
#[derive(Debug, Default)]
pub(super) struct Sections {
    at: u64,
    state: Section,
    /// Where the current section began (behind its header), and the length
    /// that it declared.
    declared: Option<(u64, u64)>,
    interfaces: Vec<Interface>,
    shared: Arc<[Interface]>,
    /// A search that is still looking: where the damage begins, what is wrong
    /// there, where the search goes on.
    searching: Option<(u64, &'static str, u64)>,
    secret_bytes: usize,
    count: u32,
    dsb: u32,
    comments: u32,
    app: Option<String>,
    os: Option<String>,
    hardware: Option<String>,
    named: Vec<InterfaceSummary>,
    extras: Extras,
}

/// A cut, and what its chunks need to be walked.
pub(super) struct NgCut {
    pub(super) cut: Cut,
    /// The section's state at each chunk's start.
    pub(super) states: Vec<Section>,
    pub(super) interfaces: Arc<[Interface]>,
}

impl Sections {
    /// Cuts at most `most` chunks of about `chunk_bytes`.
    pub(super) fn cut(&mut self, view: &View<'_>, chunk_bytes: u64, most: usize) -> NgCut {
        let mut pieces = Pieces::new(self.at, chunk_bytes);
        let mut states = vec![self.state];
        let keep_from = self.run(view, &mut pieces, &mut states, most);
        if self.shared.len() != self.interfaces.len() {
            self.shared = self.interfaces.as_slice().into();
        }
        NgCut {
            cut: pieces.end(self.at, keep_from),
            states,
            interfaces: Arc::clone(&self.shared),
        }
    }

    /// Reads on for about `stride` bytes, for what the blocks say besides
    /// packets; gives where it stopped.
    pub(super) fn pass_over(&mut self, view: &View<'_>, stride: u64) -> u64 {
        let stop = self.at.saturating_add(stride);
        while self.at < stop && self.at < view.end() {
            match pcapng::behind_packet(view, self.at, self.state.big_endian) {
                Some(next) => self.at = next,
                // One block, or one damaged place.
                None => {
                    let before = self.at;
                    self.cut(view, 1, 1);
                    if self.at <= before {
                        return before;
                    }
                }
            }
        }
        self.at
    }

    /// The decryption secrets so far.
    pub(super) fn take_secrets(self) -> Vec<DecryptionSecrets> {
        self.extras.secrets
    }

    /// How many there are so far.
    pub(super) fn secret_count(&self) -> usize {
        self.extras.secrets.len()
    }

    /// Those from this one on.
    pub(super) fn secrets_from(&self, first: usize) -> Vec<DecryptionSecrets> {
        let secrets = self.extras.secrets.get(first..).unwrap_or_default();
        secrets.to_vec()
    }

    fn run(
        &mut self,
        view: &View<'_>,
        pieces: &mut Pieces,
        states: &mut Vec<Section>,
        most: usize,
    ) -> u64 {
        if let Some((damage_at, reason, from)) = self.searching.take()
            && let Some(keep_from) = self.pass(view, pieces, damage_at, reason, from)
        {
            return keep_from;
        }
        loop {
            if pieces.reach(self.at) {
                states.push(self.state);
            }
            if pieces.count() >= most || (self.at >= view.end() && !view.more) {
                return self.at;
            }
            match self.step(view, pieces) {
                Ok(None) => {}
                Ok(Some(keep_from)) => return keep_from,
                Err(NeedMore) => return self.at,
            }
        }
    }

    /// One block, or one damaged place. Gives what to keep when it has to wait.
    fn step(&mut self, view: &View<'_>, pieces: &mut Pieces) -> Result<Option<u64>, NeedMore> {
        let at = self.at;
        match pcapng::look(view, at, self.state.big_endian)? {
            Look::Sound(block) => {
                if let Some(detour) = self.oddity(view, at, &block) {
                    pieces.detour(detour);
                }
                self.take(view, at, &block);
                Ok(None)
            }
            Look::TrailerDiffers(block) => {
                let next = at + u64::from(block.len);
                let followed = (next == view.end() && !view.more)
                    || matches!(pcapng::look(view, next, block.big_endian)?, Look::Sound(_));
                if !followed {
                    return Ok(self.pass(
                        view,
                        pieces,
                        at,
                        "a block whose two lengths differ",
                        at + 1,
                    ));
                }
                pieces.detour(Detour {
                    keep: Keep::Whole,
                    keep_note: Some(Note {
                        kind: AnomalyKind::BlockMalformed,
                        offset: at,
                        ts: None,
                        detail: "a block's trailing length differs from its leading one".to_owned(),
                    }),
                    ..Detour::new(at, next)
                });
                self.take(view, at, &block);
                Ok(None)
            }
            Look::Cut => {
                let found = pcapng::search(view, at + 1, self.state.big_endian, true);
                let Ok(Some(found)) = found else {
                    let left = view.end().saturating_sub(at);
                    pieces.detour(Detour {
                        keep_note: Some(Note {
                            kind: AnomalyKind::CaptureTruncated,
                            offset: at,
                            ts: None,
                            detail: format!("the file ends {left} bytes into a block"),
                        }),
                        lost: 1,
                        skipped: left,
                        ..Detour::new(at, view.end())
                    });
                    self.at = view.end();
                    return Ok(None);
                };
                self.skip(pieces, at, Some(found), found, "a block of lying length");
                Ok(None)
            }
            Look::Bad(reason) => Ok(self.pass(view, pieces, at, reason, at + 1)),
        }
    }

    /// Looks for the next block behind `damage_at`, from `from` on. Gives what
    /// to keep when more bytes are needed.
    fn pass(
        &mut self,
        view: &View<'_>,
        pieces: &mut Pieces,
        damage_at: u64,
        reason: &'static str,
        from: u64,
    ) -> Option<u64> {
        match pcapng::search(view, from, self.state.big_endian, false) {
            Ok(found) => {
                self.skip(pieces, damage_at, found, view.end(), reason);
                None
            }
            Err(Unfinished(from)) => {
                self.at = damage_at;
                self.searching = Some((damage_at, reason, from));
                Some(from)
            }
        }
    }

    fn skip(&mut self, pieces: &mut Pieces, at: u64, found: Option<u64>, end: u64, reason: &str) {
        let resume = found.unwrap_or(end);
        let skipped = resume.saturating_sub(at);
        let behind = if found.is_some() {
            "the next one was found behind them"
        } else {
            "up to the end of the file"
        };
        pieces.detour(Detour {
            keep_note: Some(Note {
                kind: AnomalyKind::BlockMalformed,
                offset: at,
                ts: None,
                detail: format!("{reason}: {skipped} bytes were skipped, {behind}"),
            }),
            lost: 1,
            skipped,
            ..Detour::new(at, resume)
        });
        self.at = resume;
    }

    /// What is odd about a sound block, as a detour that keeps it.
    fn oddity(&mut self, view: &View<'_>, at: u64, block: &Block) -> Option<Detour> {
        if block.kind != pcapng::SECTION {
            return None;
        }
        let detail = match self.declared {
            Some((began, len)) if began.saturating_add(len) != at => format!(
                "the section before declares {len} bytes and has {}",
                at.saturating_sub(began)
            ),
            _ => {
                let version = view.u32(at + 12, block.big_endian)?;
                let (major, minor) = if block.big_endian {
                    (version >> 16, version & 0xffff)
                } else {
                    (version & 0xffff, version >> 16)
                };
                if !block.foreign {
                    return None;
                }
                format!("a section of unknown version {major}.{minor}, which is not read")
            }
        };
        Some(Detour {
            keep: Keep::Whole,
            keep_note: Some(Note {
                kind: AnomalyKind::BlockMalformed,
                offset: at,
                ts: None,
                detail,
            }),
            ..Detour::new(at, at + u64::from(block.len))
        })
    }

    /// Takes in what a block says.
    fn take(&mut self, view: &View<'_>, at: u64, block: &Block) {
        self.at = at + u64::from(block.len);
        self.state = self.state.after(block);
        if matches!(block.kind, 2 | 3 | 6) {
            return;
        }
        let body = view
            .get(at + 8, (block.len - 12) as usize)
            .unwrap_or_default();
        match block.kind {
            pcapng::SECTION => self.section(at, block, body),
            pcapng::INTERFACE => self.interface(at, block, body),
            pcapng::NAMES => self.names(at, block, body),
            pcapng::STATISTICS => {
                self.comment(at, body.get(12..).unwrap_or_default(), block.big_endian);
            }
            pcapng::SECRETS => self.secrets(at, block, body),
            pcapng::CUSTOM | pcapng::CUSTOM_DO_NOT_COPY => self.extras.custom_blocks += 1,
            _ => self.extras.unknown_blocks += 1,
        }
    }

    fn section(&mut self, at: u64, block: &Block, body: &[u8]) {
        self.count = self.count.saturating_add(1);
        let len = body.get(8..16).and_then(|bytes| {
            let bytes = <[u8; 8]>::try_from(bytes).ok()?;
            Some(if block.big_endian {
                i64::from_be_bytes(bytes)
            } else {
                i64::from_le_bytes(bytes)
            })
        });
        let began = at + u64::from(block.len);
        self.declared = len
            .and_then(|len| u64::try_from(len).ok())
            .map(|len| (began, len));
        let options = body.get(16..).unwrap_or_default();
        for (code, value) in pcapng::options(options, block.big_endian) {
            let place = match code {
                2 => &mut self.hardware,
                3 => &mut self.os,
                4 => &mut self.app,
                _ => continue,
            };
            place.get_or_insert_with(|| text(value));
        }
        self.comment(at, options, block.big_endian);
    }

    fn interface(&mut self, at: u64, block: &Block, body: &[u8]) {
        let view = View::whole(body);
        let head = view.u32(0, block.big_endian).unwrap_or(0);
        let link = if block.big_endian {
            head >> 16
        } else {
            head & 0xffff
        };
        let mut interface = Interface {
            link: LinkType(link as u16),
            snaplen: view.u32(4, block.big_endian).unwrap_or(0),
            fcs: 0,
            clock: Clock {
                resolution: 6,
                offset: 0,
            },
        };
        let mut summary = InterfaceSummary::default();
        let options = body.get(8..).unwrap_or_default();
        for (code, value) in pcapng::options(options, block.big_endian) {
            match (code, value) {
                (2, _) => summary.name = Some(text(value)),
                (3, _) => summary.description = Some(text(value)),
                (9, &[resolution]) => interface.clock.resolution = resolution,
                // if_fcslen counts bits or bytes, by writer; no link has a
                // check sequence of more than 8 bytes or fewer than 8 bits.
                (13, &[len]) => {
                    interface.fcs = u32::from(if len > 8 { len / 8 } else { len });
                }
                (14, _) => {
                    if let Ok(bytes) = <[u8; 8]>::try_from(value) {
                        interface.clock.offset = if block.big_endian {
                            i64::from_be_bytes(bytes)
                        } else {
                            i64::from_le_bytes(bytes)
                        };
                    }
                }
                _ => {}
            }
        }
        self.comment(at, options, block.big_endian);
        if self.named.len() < MAX_NAMED {
            let clock = interface.clock;
            summary.link_type = interface.link.0;
            summary.snaplen = interface.snaplen;
            summary.ts_resolution = resolution_text(clock.resolution);
            summary.ts_offset = clock.offset;
            self.named.push(summary);
        }
        if self.interfaces.len() < MAX_INTERFACES {
            self.interfaces.push(interface);
        }
    }

    fn names(&mut self, at: u64, block: &Block, body: &[u8]) {
        // Records look like options: type, length, value padded to four bytes.
        let mut used = 0_usize;
        for (kind, value) in pcapng::options(body, block.big_endian) {
            used = used
                .saturating_add(4)
                .saturating_add(value.len().next_multiple_of(4));
            let (address, names): (IpAddr, _) = match kind {
                1 => match value.split_first_chunk::<4>() {
                    Some((bytes, names)) => ((*bytes).into(), names),
                    None => continue,
                },
                2 => match value.split_first_chunk::<16>() {
                    Some((bytes, names)) => ((*bytes).into(), names),
                    None => continue,
                },
                _ => continue,
            };
            for name in names
                .split(|&byte| byte == 0)
                .filter(|name| !name.is_empty())
            {
                if self.extras.names.len() < MAX_NAMES {
                    self.extras.names.push(ResolvedName {
                        offset: at,
                        address,
                        name: text(name),
                    });
                }
            }
        }
        // Behind the end-of-records mark come options.
        let options = body.get(used.saturating_add(4)..).unwrap_or_default();
        self.comment(at, options, block.big_endian);
    }

    fn secrets(&mut self, at: u64, block: &Block, body: &[u8]) {
        self.dsb = self.dsb.saturating_add(1);
        let view = View::whole(body);
        let (Some(kind), Some(len)) =
            (view.u32(0, block.big_endian), view.u32(4, block.big_endian))
        else {
            return;
        };
        // The length counts; the block is padded.
        let Some(data) = view.get(8, len as usize) else {
            return;
        };
        let total = self.secret_bytes.saturating_add(data.len());
        if total <= MAX_SECRETS {
            self.secret_bytes = total;
            self.extras.secrets.push(DecryptionSecrets {
                kind,
                offset: at,
                data: Zeroizing::new(data.to_vec()),
            });
        }
        let options = body
            .get((len as usize).next_multiple_of(4).saturating_add(8)..)
            .unwrap_or_default();
        self.comment(at, options, block.big_endian);
    }

    fn comment(&mut self, at: u64, options: &[u8], big_endian: bool) {
        for value in pcapng::comments(options, big_endian) {
            self.comments = self.comments.saturating_add(1);
            if self.extras.comments.len() < pcapng::MAX_COMMENTS {
                self.extras.comments.push((at, text(value)));
            }
        }
    }

    /// Names of addresses so far, in the file's order.
    pub(super) fn resolved_names(&self) -> &[ResolvedName] {
        &self.extras.names
    }

    /// Fills in what sections and interfaces say; gives the rest.
    pub(super) fn describe(
        mut self,
        summary: &mut CaptureSummary,
        packets: &[(u32, u64)],
    ) -> Extras {
        summary.sections = self.count;
        summary.dsb_secrets = self.dsb;
        summary.comments = self.comments;
        summary.capture_app = self.app.take();
        summary.capture_os = self.os.take();
        summary.capture_hw = self.hardware.take();
        summary.link_types = self.interfaces.iter().map(|known| known.link.0).collect();
        summary.link_types.sort_unstable();
        summary.link_types.dedup();
        summary.snaplen = self
            .interfaces
            .iter()
            .map(|known| known.snaplen)
            .filter(|&snaplen| snaplen != 0)
            .max();
        summary.ts_precision = self
            .interfaces
            .iter()
            .map(|known| known.clock.resolution)
            .max_by_key(|&resolution| fineness(resolution))
            .map_or_else(String::new, precision);
        for &(interface, packets) in packets {
            if let Some(named) = self.named.get_mut(interface as usize) {
                named.packets = packets;
            }
        }
        summary.interfaces = self.named;
        self.extras
    }
}

/// Orders resolutions: the decimal digits behind the second, times 100,000.
fn fineness(resolution: u8) -> u32 {
    let power = u32::from(resolution & 0x7f);
    if resolution & 0x80 == 0 {
        power * 100_000
    } else {
        // log10(2) = 0.30103
        power * 30_103
    }
}

fn precision(resolution: u8) -> String {
    match resolution {
        0 => "s".to_owned(),
        3 => "ms".to_owned(),
        6 => "us".to_owned(),
        9 => "ns".to_owned(),
        _ => resolution_text(resolution),
    }
}

/// `10^-6` and the like.
fn resolution_text(resolution: u8) -> String {
    let base = if resolution & 0x80 == 0 { 10 } else { 2 };
    format!("{base}^-{}", resolution & 0x7f)
}

/// Text of the capture, cut to a sensible length. Whoever prints it escapes it.
pub(super) fn text(value: &[u8]) -> String {
    let value = value.get(..MAX_TEXT).unwrap_or(value);
    String::from_utf8_lossy(value)
        .trim_end_matches('\0')
        .to_owned()
}
