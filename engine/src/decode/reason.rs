//! Why a packet, or the rest of one, was not decoded; the counts of a chunk,
//! and the packets that show what was odd.

use super::walk::Meta;
use crate::anomaly::{AnomalyKind, AnomalyLog, Repeats};
use crate::capture::CaptureSummary;
use crate::evidence::PacketRef;
use crate::time::CaptureTime;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $anomaly:expr;)+) => {
        /// Why a packet, or what it carries, gave no segment.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Undecoded { $($(#[doc = $doc])+ $variant,)+ }

        impl Undecoded {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The anomaly that it is; `None` where nothing is wrong with the
            /// packet, and only its kind is not decoded.
            pub const fn anomaly(self) -> Option<AnomalyKind> {
                match self { $(Self::$variant => $anomaly,)+ }
            }

            /// Whether the packet is cut or inconsistent, rather than of a kind
            /// that is not decoded.
            pub const fn is_malformed(self) -> bool {
                self.anomaly().is_some()
            }

            /// What it means, in words.
            pub const fn doc(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc,)+),)+ }
            }
        }
    };
}

reasons! {
    /// A link type that is not decoded.
    LinkType = "unknown_link_type", None;
    /// A frame without data: 802.11 management and control, LLC control.
    NoData = "frame_without_data", None;
    /// Encrypted at the link layer (802.11 protected, MACsec).
    LinkEncrypted = "link_encrypted", None;
    /// ARP and RARP.
    Arp = "arp", None;
    /// An EtherType or protocol id that is not decoded.
    EtherType = "unknown_ethertype", None;
    /// A tunnel whose content is not decoded.
    TunnelContent = "unknown_tunnel_content", None;
    /// A link-layer header is cut or inconsistent.
    LinkCut = "link_header_cut", Some(AnomalyKind::LinkMalformed);
    /// An IP header is cut or inconsistent.
    IpCut = "ip_header_cut", Some(AnomalyKind::IpMalformed);
    /// A transport header is cut or inconsistent.
    TransportCut = "transport_header_cut", Some(AnomalyKind::TransportMalformed);
    /// Tunnels, tags or extension headers nest too deep.
    TooDeep = "nested_too_deep", Some(AnomalyKind::TunnelTooDeep);
}

/// Counts of one chunk, or of several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets.
    pub packets: u64,
    /// Packets with a header that is cut or inconsistent.
    pub malformed: u64,
    /// Packets of a kind that is not decoded.
    pub unsupported: u64,
    /// IPv4 header checksums that were checked.
    pub ip_checksums: u64,
    /// Of these: wrong.
    pub ip_checksums_bad: u64,
    reasons: [u64; Undecoded::ALL.len()],
}

impl Counters {
    /// How often something was not decoded for this reason.
    pub fn of(&self, reason: Undecoded) -> u64 {
        self.reasons
            .get(reason as usize)
            .copied()
            .unwrap_or_default()
    }

    pub(super) fn note(&mut self, reason: Undecoded) {
        if let Some(count) = self.reasons.get_mut(reason as usize) {
            *count += 1;
        }
    }

    /// Adds another chunk's counts.
    pub fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.malformed += other.malformed;
        self.unsupported += other.unsupported;
        self.ip_checksums += other.ip_checksums;
        self.ip_checksums_bad += other.ip_checksums_bad;
        for (sum, more) in self.reasons.iter_mut().zip(&other.reasons) {
            *sum += more;
        }
    }

    /// Fills the columns of a capture's row that decoding knows.
    #[allow(clippy::cast_precision_loss)] // a ratio of counts
    pub fn fill(&self, summary: &mut CaptureSummary) {
        summary.packets_malformed = self.malformed;
        summary.packets_unsupported = self.unsupported;
        summary.undecoded = Undecoded::ALL
            .iter()
            .map(|&reason| (reason.name(), self.of(reason)))
            .filter(|(_, count)| *count > 0)
            .collect();
        summary.checksum_bad_ratio = (self.ip_checksums > 0)
            .then(|| self.ip_checksums_bad as f64 / self.ip_checksums as f64);
    }
}

/// One kind of oddity in a chunk, with the packets that show it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Oddity {
    kind: AnomalyKind,
    what: &'static str,
    count: u64,
    first: Witness,
    last: Witness,
}

/// A packet, by its place in its chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Witness {
    index: u32,
    record_offset: u64,
    ts_ns: i64,
}

/// What was odd about a chunk's packets: as many entries as there are kinds,
/// however many packets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Oddities(Vec<Oddity>);

impl Oddities {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn note(&mut self, kind: AnomalyKind, what: &'static str, meta: &Meta) {
        let here = Witness {
            index: meta.index,
            record_offset: meta.record_offset,
            ts_ns: meta.ts_ns,
        };
        self.add(&Oddity {
            kind,
            what,
            count: 1,
            first: here,
            last: here,
        });
    }

    /// Adds those of the same chunk's datagrams.
    pub fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|oddity| self.add(oddity));
    }

    fn add(&mut self, more: &Oddity) {
        let Some(known) = self.0.iter_mut().find(|known| known.kind == more.kind) else {
            self.0.push(more.clone());
            return;
        };
        known.count = known.count.saturating_add(more.count);
        if more.first.index < known.first.index {
            (known.first, known.what) = (more.first, more.what);
        }
        if more.last.index > known.last.index {
            known.last = more.last;
        }
    }

    /// Hands them to a file's log. `frames` is the number of the file's packets
    /// before the chunk.
    pub fn report(&self, capture: u32, frames: u64, log: &mut AnomalyLog) {
        let place = |witness: Witness| PacketRef {
            capture,
            frame: frames + u64::from(witness.index) + 1,
            offset: witness.record_offset,
        };
        for oddity in &self.0 {
            let repeats = Repeats {
                first: place(oddity.first),
                last: place(oddity.last),
                count: oddity.count,
            };
            let ts = CaptureTime::from_nanos(oddity.first.ts_ns);
            log.note_repeats(oddity.kind, ts, repeats, || oddity.what.trim().to_owned());
        }
    }
}
