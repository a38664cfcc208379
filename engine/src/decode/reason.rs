//! Why a packet, or the rest of one, was not decoded; and the counts of a chunk.

use crate::capture::CaptureSummary;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $malformed:literal;)+) => {
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

            /// Whether the packet is cut or inconsistent, rather than of a kind
            /// that is not decoded.
            pub const fn is_malformed(self) -> bool {
                match self { $(Self::$variant => $malformed,)+ }
            }
        }
    };
}

reasons! {
    /// A link type that is not decoded.
    LinkType = "unknown_link_type", false;
    /// A frame without data: 802.11 management and control, LLC control.
    NoData = "frame_without_data", false;
    /// Encrypted at the link layer (802.11 protected, MACsec).
    LinkEncrypted = "link_encrypted", false;
    /// ARP and RARP.
    Arp = "arp", false;
    /// An EtherType or protocol id that is not decoded.
    EtherType = "unknown_ethertype", false;
    /// A tunnel whose content is not decoded.
    TunnelContent = "unknown_tunnel_content", false;
    /// A link-layer header is cut or inconsistent.
    LinkCut = "link_header_cut", true;
    /// An IP header is cut or inconsistent.
    IpCut = "ip_header_cut", true;
    /// A transport header is cut or inconsistent.
    TransportCut = "transport_header_cut", true;
    /// Tunnels, tags or extension headers nest too deep.
    TooDeep = "nested_too_deep", true;
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
        summary.checksum_bad_ratio = (self.ip_checksums > 0)
            .then(|| self.ip_checksums_bad as f64 / self.ip_checksums as f64);
    }
}
