//! An open flow: what is kept of it between its packets, and the row that it
//! becomes when it ends.

use super::connection::{Opening, Tcp};
use super::reader::Reader;
use super::waiting::Class;
use super::{Content, Ended, Live, Place, TCP, UDP};
use crate::anomaly::{AnomalyKind, AnomalyLog};
use crate::decode::{self, LinkContext, Segment, Tunnel};
use crate::evidence::FlowId;
use crate::flow::beats::Beats;
use crate::flow::community_id;
use crate::flow::history::{History, Letter};
use crate::flow::key::{self, Endpoint, FlowKey};
use crate::flow::ports;
use crate::flow::record::{ConnState, Counters, EndReason, FlowHead, FlowRecord, NameOrigin};
use crate::flow::tcp::End;
use crate::policy::Limits;
use crate::proto::credential::Redactor;
use crate::proto::icmp::Echo;
use crate::proto::secrets::KeyLog;
use crate::proto::x509::CertificateCache;
use crate::proto::{Confidence, Direction, LiveRow};
use crate::time::CaptureTime;

#[derive(Debug)]
pub(super) struct Flow<C> {
    pub(super) key: FlowKey,
    pub(super) hash: u64,
    pub(super) generation: u32,
    pub(super) class: Class,
    pub(super) ip_version: u8,
    pub(super) one_way: bool,
    pub(super) orig_is_low: bool,
    pub(super) flipped: bool,
    /// The content failed or is not read any further.
    pub(super) content_over: bool,
    /// Datagrams whose content is decoded as flows of their own, and others.
    pub(super) carries: Carries,
    /// Segments of one packet that start flows, from 0.
    pub(super) nth_of_packet: u32,
    pub(super) id_repeat: u32,
    /// 0 until it is asked for, which no id is.
    pub(super) id: FlowId,
    pub(super) first: Place,
    pub(super) first_ts_ns: i64,
    pub(super) last_ts_ns: i64,
    pub(super) history: History,
    pub(super) counters: [Counters; 2],
    /// The content wants nothing more of a direction's datagrams.
    pub(super) is_deaf: [bool; 2],
    /// Of a TCP connection; datagrams need none of it.
    pub(super) tcp: Option<Box<Tcp>>,
    pub(super) content: Option<Box<C>>,
    /// Of ICMP echo messages.
    pub(super) echo: Option<Box<Echo>>,
    /// Once it is minutes old and paused.
    pub(super) beats: Option<Box<Beats>>,
    pub(super) heap_bytes: usize,
    /// Stands in [`Shard::holders`].
    pub(super) is_holder: bool,
    /// Of `heap_bytes`, what the content held when it was last read.
    pub(super) content_bytes: usize,
    /// Captures with packets of the flow, once there are several.
    pub(super) files: Box<[u32]>,
    pub(super) anomalies: AnomalyLog,
    pub(super) link: Link,
}

/// What the datagrams of a flow carry.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Carries {
    /// A tunnel, whose content is decoded as flows of their own.
    pub(super) tunnel: bool,
    /// Anything else.
    pub(super) other: bool,
}

/// A [`LinkContext`] as an open flow keeps it: hardly any has more than addresses.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) macs: [Option<[u8; 6]>; 2],
    pub(super) layers: Option<Box<(Vec<u16>, Vec<Tunnel>)>>,
}

impl Link {
    pub(super) fn new(link: LinkContext) -> Self {
        let layers = (link.vlan_ids, link.tunnels);
        let is_plain = layers.0.is_empty() && layers.1.is_empty();
        Self {
            macs: [link.src_mac, link.dst_mac],
            layers: (!is_plain).then(|| Box::new(layers)),
        }
    }

    fn take(&mut self) -> LinkContext {
        let [src_mac, dst_mac] = self.macs;
        let (vlan_ids, tunnels) = self.layers.take().map(|layers| *layers).unwrap_or_default();
        LinkContext {
            src_mac,
            dst_mac,
            vlan_ids,
            tunnels,
        }
    }
}

impl<C: Content> Flow<C> {
    pub(super) fn direction(&self, src_is_low: bool) -> Direction {
        if src_is_low == self.orig_is_low {
            Direction::Orig
        } else {
            Direction::Resp
        }
    }

    /// Originator and responder.
    fn ends(&self) -> (Endpoint, Endpoint) {
        let (low, high) = (self.key.low, self.key.high);
        if self.orig_is_low {
            (low, high)
        } else {
            (high, low)
        }
    }

    /// Payload so far, by direction.
    pub(super) fn sent(&self) -> [u64; 2] {
        match &self.tcp {
            Some(tcp) => [tcp.stream[0].bytes(), tcp.stream[1].bytes()],
            None => [self.counters[0].bytes, self.counters[1].bytes],
        }
    }

    fn id(&mut self) -> FlowId {
        if self.id.0 == 0 {
            self.id = key::flow_id(&self.key, self.first_ts_ns, self.id_repeat);
        }
        self.id
    }

    /// Tells rows whose they are, and lets them go.
    pub(super) fn give(&mut self, rows: &mut Vec<LiveRow>, live: &mut Vec<Live>, at: Place) {
        let flow_id = self.id();
        let (src, dst) = self.ends();
        let flow = FlowHead {
            flow_id,
            first: self.first.packet,
            src: key::address(&src.addr, self.ip_version),
            dst: key::address(&dst.addr, self.ip_version),
            src_port: src.port,
            dst_port: dst.port,
            ip_proto: self.key.protocol,
            scope: self.key.scope,
        };
        let order = (at.global, self.first.global, self.nth_of_packet);
        live.extend(rows.drain(..).map(|row| Live { order, flow, row }));
    }

    /// A connection that is over ended by itself, whenever its row is written.
    pub(super) fn end_reason(&self, otherwise: EndReason) -> EndReason {
        match &self.tcp {
            Some(tcp) if tcp.ends.state.contains(&End::Reset) => EndReason::Rst,
            Some(tcp) if tcp.ends.is_over() => EndReason::Fin,
            _ => otherwise,
        }
    }

    pub(super) fn finish(
        &mut self,
        limits: &Limits,
        (certificates, redactor): (&mut CertificateCache, &Redactor),
        rows: &mut Vec<LiveRow>,
        secrets: Option<&KeyLog>,
        reason: EndReason,
        at: Place,
    ) -> Ended<C::Facts> {
        let last = CaptureTime::from_nanos(self.last_ts_ns);
        let mut reader = Reader {
            content: &mut self.content,
            over: &mut self.content_over,
            anomalies: &mut self.anomalies,
            certificates,
            redactor,
            limits,
            ts: last,
            packet: self.first.packet,
            ports: orig_resp_ports(&self.key, self.orig_is_low),
            rows,
            secrets,
            has_read: false,
        };
        let mut tcp = self.tcp.take();
        for direction in [Direction::Orig, Direction::Resp] {
            let Some(tcp) = &mut tcp else { break };
            let stream = &mut tcp.stream[direction.index()];
            let missed = stream.missed;
            let is_doubted = stream.finish(&mut |event| reader.event(direction, event));
            if is_doubted {
                reader.note(AnomalyKind::TcpFarAhead, || {
                    "one packet far ahead of the stream, which nothing else speaks for".to_owned()
                });
            }
            if stream.missed > missed {
                self.history.note(direction, Letter::Gap);
                reader.note(AnomalyKind::TcpGap, || "at the end of the flow".to_owned());
            }
        }
        let facts = reader.end();
        if let Some(tcp) = &tcp {
            for (counters, stream) in self.counters.iter_mut().zip(&tcp.stream) {
                counters.bytes = stream.bytes();
                counters.missed_bytes = stream.missed;
            }
        }
        let (src, dst) = self.ends();
        let flow_id = self.id();
        let [orig, resp] = self.counters;
        let conn_state = match self.key.protocol {
            TCP => tcp.as_ref().map_or(ConnState::Oth, |tcp| {
                tcp.ends.conn_state(orig.bytes == 0 && resp.bytes == 0)
            }),
            UDP => match (orig.packets > 0, resp.packets > 0) {
                (true, true) => ConnState::Sf,
                (true, false) => ConnState::S0,
                (false, _) => ConnState::Shr,
            },
            _ => ConnState::Oth,
        };
        // One that carries a tunnel and nothing else says nothing of its own: what
        // is in it stands in the flows within.
        let is_carrier = self.carries.tunnel && !self.carries.other;
        let carrier = is_carrier
            .then(|| decode::carrier(src.port, dst.port))
            .flatten();
        let record = Box::new(FlowRecord {
            flow_id,
            first: self.first.packet,
            ts: CaptureTime::from_nanos(self.first_ts_ns),
            ts_end: last,
            src: key::address(&src.addr, self.ip_version),
            dst: key::address(&dst.addr, self.ip_version),
            src_port: src.port,
            dst_port: dst.port,
            ip_proto: self.key.protocol,
            scope: self.key.scope,
            service: carrier.map(Into::into),
            service_confidence: carrier.map(|_| Confidence::Content),
            orig,
            resp,
            retrans_pkts: tcp.as_ref().map_or(0, |tcp| tcp.retransmitted),
            dup_pkts: tcp.as_ref().map_or(0, |tcp| tcp.duplicated),
            ooo_pkts: tcp.as_ref().map_or(0, |tcp| tcp.out_of_order),
            overlap_conflicts: tcp.as_ref().map_or(0, |tcp| tcp.conflicts),
            conn_state,
            history: self.history.letters(),
            direction_flipped: self.flipped,
            tcp_rtt_ns: match tcp.as_ref().map(|tcp| tcp.opening) {
                Some(Opening::Rtt(rtt)) => Some(rtt),
                _ => None,
            },
            end_reason: reason,
            link: self.link.take(),
            community_id: community_id::digest(
                self.ip_version,
                self.key.protocol,
                &src.addr,
                &dst.addr,
                src.port,
                dst.port,
                self.one_way,
            ),
            server_name: None,
            server_name_source: None,
            server_name_origin: NameOrigin::default(),
            local_orig: false,
            local_resp: false,
            echo: self.echo.take(),
            rhythm: self.beats.take().and_then(|beats| beats.rhythm()),
            dst_allowed: None,
            entropy: [None; 2],
            bytes_encrypted: 0,
            bytes_plaintext: 0,
            files_spanned: std::mem::take(&mut self.files),
        });
        Ended {
            order: (at.global, self.first.global, self.nth_of_packet),
            record,
            facts,
            anomalies: std::mem::take(&mut self.anomalies).into_rows(Some(flow_id)),
        }
    }
}

pub(super) fn orig_resp_ports(key: &FlowKey, orig_is_low: bool) -> (u16, u16) {
    let (Endpoint { port: low, .. }, Endpoint { port: high, .. }) = (key.low, key.high);
    if orig_is_low {
        (low, high)
    } else {
        (high, low)
    }
}

/// Whether a flow's first packet comes from its responder: a SYN-ACK, or
/// traffic from a server's port whose beginning was not captured.
pub(super) fn starts_flipped(segment: &Segment) -> bool {
    let (src, dst) = (segment.src_port, segment.dst_port);
    match segment.protocol {
        TCP => match segment.tcp_flags & (Segment::SYN | Segment::ACK) {
            Segment::SYN => false,
            flags if flags & Segment::SYN != 0 => true,
            _ => ports::likely_tcp_server(src) && (!ports::likely_tcp_server(dst) || src < dst),
        },
        UDP => ports::likely_udp_server(src) && !ports::likely_udp_server(dst),
        _ => false,
    }
}

// What the memory budget of open flows is reckoned with: 640 bytes each, with
// what a TCP connection adds.
const _: () = assert!(size_of::<Flow<crate::proto::session::Session>>() <= 384);
