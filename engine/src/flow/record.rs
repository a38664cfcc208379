//! A finished flow, as the `flows` table shows it.

use crate::decode::LinkContext;
use crate::evidence::{FlowId, PacketRef};
use crate::time::CaptureTime;
use std::net::IpAddr;

/// One direction's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Payload bytes; for TCP from sequence numbers, as Zeek counts.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
    /// IP header and payload bytes.
    pub ip_bytes: u64,
    /// Payload bytes that are not in the capture.
    pub missed_bytes: u64,
}

/// Zeek's connection states (`base/protocols/conn/main.zeek`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConnState {
    /// Connection attempt seen, no reply.
    S0,
    /// Established, not terminated.
    S1,
    /// Established, close attempt by the originator seen.
    S2,
    /// Established, close attempt by the responder seen.
    S3,
    /// Normal establishment and termination.
    Sf,
    /// Attempt rejected.
    Rej,
    /// Established, originator aborted.
    Rsto,
    /// Responder sent a RST.
    Rstr,
    /// Originator sent a SYN then a RST, no SYN-ACK seen.
    Rstos0,
    /// Responder sent a SYN-ACK then a RST, no SYN seen.
    Rstrh,
    /// Originator sent a SYN then a FIN, no SYN-ACK seen.
    Sh,
    /// Responder sent a SYN-ACK then a FIN, no SYN seen.
    Shr,
    /// No SYN seen, midstream traffic.
    #[default]
    Oth,
}

impl ConnState {
    /// Zeek's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::S0 => "S0",
            Self::S1 => "S1",
            Self::S2 => "S2",
            Self::S3 => "S3",
            Self::Sf => "SF",
            Self::Rej => "REJ",
            Self::Rsto => "RSTO",
            Self::Rstr => "RSTR",
            Self::Rstos0 => "RSTOS0",
            Self::Rstrh => "RSTRH",
            Self::Sh => "SH",
            Self::Shr => "SHR",
            Self::Oth => "OTH",
        }
    }
}

/// Why a flow's row was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndReason {
    /// Both sides closed.
    Fin,
    /// Reset.
    Rst,
    /// Idle for longer than the limit.
    Timeout,
    /// The capture ended.
    Eof,
    /// Given up early to stay within the memory budget.
    Evicted,
    /// A new connection took the same addresses and ports.
    Reused,
}

impl EndReason {
    /// The name that tables use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fin => "fin",
            Self::Rst => "rst",
            Self::Timeout => "timeout",
            Self::Eof => "eof",
            Self::Evicted => "evicted",
            Self::Reused => "reused",
        }
    }
}

/// Where a flow's destination name comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NameSource {
    /// TLS server_name.
    Sni,
    /// HTTP Host.
    HttpHost,
    /// An answer of the DNS before the flow began.
    Dns,
    /// The capture file (pcapng Name Resolution Block).
    CaptureFile,
}

impl NameSource {
    /// The name that tables use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sni => "sni",
            Self::HttpHost => "http_host",
            Self::Dns => "dns",
            Self::CaptureFile => "nrb",
        }
    }
}

/// How a flow came to its destination name.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NameOrigin {
    /// 0 to 1: how far the name says whom the flow was meant for.
    pub confidence: Option<f32>,
    /// From the DNS answer that gave the name to the flow's first packet.
    pub age_ns: Option<i64>,
    /// The flow that carried this answer.
    pub flow: Option<FlowId>,
}

/// What is known of a flow from its first packet on, for rows that leave it
/// before it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowHead {
    /// Identifier in every table.
    pub flow_id: FlowId,
    /// First packet.
    pub first: PacketRef,
    /// Originator.
    pub src: IpAddr,
    /// Responder.
    pub dst: IpAddr,
    /// Originator's port.
    pub src_port: u16,
    /// Responder's port.
    pub dst_port: u16,
    /// IP protocol number.
    pub ip_proto: u8,
    /// Overlay network (VNI plus one), 0 outside of one.
    pub scope: u32,
}

/// A finished flow.
#[derive(Clone, Debug)]
pub struct FlowRecord {
    /// Identifier in every table.
    pub flow_id: FlowId,
    /// First packet.
    pub first: PacketRef,
    /// Its time.
    pub ts: CaptureTime,
    /// Time of the latest packet.
    pub ts_end: CaptureTime,
    /// Originator.
    pub src: IpAddr,
    /// Responder.
    pub dst: IpAddr,
    /// Originator's port; ICMP type.
    pub src_port: u16,
    /// Responder's port; ICMP code.
    pub dst_port: u16,
    /// IP protocol number.
    pub ip_proto: u8,
    /// Overlay network (VNI plus one), 0 outside of one.
    pub scope: u32,
    /// Service name, when recognised.
    pub service: Option<std::borrow::Cow<'static, str>>,
    /// How.
    pub service_confidence: Option<crate::proto::Confidence>,
    /// What the originator sent.
    pub orig: Counters,
    /// What the responder sent.
    pub resp: Counters,
    /// Retransmitted segments, both directions.
    pub retrans_pkts: u32,
    /// Exact duplicates of the packet before (capture artefacts).
    pub dup_pkts: u32,
    /// Segments out of order.
    pub ooo_pkts: u32,
    /// Overlaps whose bytes differ.
    pub overlap_conflicts: u32,
    /// Zeek's state.
    pub conn_state: ConnState,
    /// Zeek's history letters; empty for none.
    pub history: super::history::Letters,
    /// Orientation was turned from that of the first packet (Zeek's `^`).
    pub direction_flipped: bool,
    /// SYN to SYN-ACK, nanoseconds.
    pub tcp_rtt_ns: Option<i64>,
    /// Why the row was written.
    pub end_reason: EndReason,
    /// What lies below IP.
    pub link: LinkContext,
    /// Community ID v1 digest: SHA-1 of the tuple, printed as `1:` and base64.
    pub community_id: [u8; 20],
    /// Destination name: what the flow itself said, else how its address was known.
    /// Lower case, without the last dot, in A-labels.
    pub server_name: Option<Box<str>>,
    /// Its source.
    pub server_name_source: Option<NameSource>,
    /// How sure that is.
    pub server_name_origin: NameOrigin,
    /// Originator in `local_networks`.
    pub local_orig: bool,
    /// Responder in `local_networks`.
    pub local_resp: bool,
    /// What ICMP echo messages carried; none for every other flow.
    pub echo: Option<Box<crate::proto::icmp::Echo>>,
    /// How evenly small payload came after silence; none for flows of few minutes.
    pub rhythm: Option<super::beats::Rhythm>,
    /// Whether the policy's allowlist names the destination; none without a list.
    pub dst_allowed: Option<bool>,
    /// How evenly the bytes of each direction's beginning are spread, `[orig, resp]`.
    pub entropy: [Option<f32>; 2],
    /// Payload bytes seen to be encrypted, both directions.
    pub bytes_encrypted: u64,
    /// Payload bytes seen to be readable, both directions.
    pub bytes_plaintext: u64,
    /// Captures (rows of `captures`) in which the flow has packets, ascending, at most
    /// 32; empty where it has none but in that of its first.
    pub files_spanned: Box<[u32]>,
}

impl FlowRecord {
    /// What findings are grouped by: the name, else the address.
    pub fn destination(&self) -> String {
        self.server_name
            .as_deref()
            .map_or_else(|| self.dst.to_string(), str::to_owned)
    }
}
