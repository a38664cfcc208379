//! Flows by hand for the detectors' cases: written as a table's file would hold
//! them, read as [`crate::behaviour`] reads them.

use super::{Behaviour, Judgement};
use crate::behaviour::{Source, judge_by};
use crate::evidence::{FlowId, PacketRef};
use crate::flow::{ConnState, Counters, EndReason, FlowHead, FlowRecord, NameSource, Rhythm};
use crate::policy::Policy;
use crate::proto::Direction;
use crate::proto::plain::http::{HttpTransaction, Measured, Sizes, Text, Texts};
use crate::table::{FileMeta, HttpRow, Row, TableWriter};
use crate::time::CaptureTime;
use std::path::Path;

/// A flow: from 10.0.0.5, port 443, one second long, 100 bytes each way.
#[derive(Clone, Debug)]
pub(crate) struct Flow(pub(crate) FlowRecord);

impl Flow {
    pub(crate) fn to(dst: &str) -> Self {
        let mut record = crate::table::tests::flow(1);
        record.src = "10.0.0.5".parse().unwrap();
        record.dst = dst.parse().unwrap();
        record.dst_port = 443;
        record.ip_proto = 6;
        record.service = None;
        record.entropy = [None; 2];
        record.server_name = None;
        record.server_name_source = None;
        record.conn_state = ConnState::Sf;
        record.end_reason = EndReason::Fin;
        (record.local_orig, record.local_resp) = (true, false);
        let policy = Policy::built_in();
        record.local_resp = policy.is_local(record.dst);
        let counters = Counters {
            bytes: 100,
            packets: 4,
            ip_bytes: 300,
            missed_bytes: 0,
        };
        (record.orig, record.resp) = (counters, counters);
        Self(record).at(0)
    }

    pub(crate) fn at(self, seconds: i64) -> Self {
        self.at_ns(seconds * 1_000_000_000)
    }

    pub(crate) fn at_ns(mut self, nanos: i64) -> Self {
        let len = 1_000_000_000;
        self.0.ts = CaptureTime::from_nanos(nanos);
        self.0.ts_end = CaptureTime::from_nanos(nanos + len);
        self
    }

    pub(crate) fn from(mut self, src: &str) -> Self {
        self.0.src = src.parse().unwrap();
        self
    }

    pub(crate) fn named(mut self, name: &str) -> Self {
        self.0.server_name = Some(name.into());
        self.0.server_name_source = Some(NameSource::Sni);
        self
    }

    pub(crate) fn port(mut self, port: u16) -> Self {
        self.0.dst_port = port;
        self
    }

    /// From the first to the latest packet.
    pub(crate) fn lasting(mut self, seconds: i64) -> Self {
        self.0.ts_end = self.0.ts.plus_nanos(seconds * 1_000_000_000);
        self
    }

    /// With so many heartbeats of its originator, this share of them evenly spaced.
    pub(crate) fn beating(mut self, gaps: u32, seconds: i64, share: f32) -> Self {
        self.0.rhythm = Some(Rhythm {
            side: Direction::Orig,
            gaps,
            gap_ns: seconds * 1_000_000_000,
            share,
        });
        self
    }

    pub(crate) fn bytes(mut self, orig: u64, resp: u64) -> Self {
        self.0.orig.bytes = orig;
        self.0.resp.bytes = resp;
        self
    }

    pub(crate) fn state(mut self, state: ConnState) -> Self {
        self.0.conn_state = state;
        self
    }

    pub(crate) fn service(mut self, service: &'static str) -> Self {
        self.0.service = Some(service.into());
        self
    }

    pub(crate) fn udp(mut self) -> Self {
        self.0.ip_proto = 17;
        self
    }

    /// In this row of `captures`.
    pub(crate) fn in_file(mut self, capture: u32) -> Self {
        self.0.first.capture = capture;
        self
    }

    pub(crate) fn entropy(mut self, orig: f32, resp: f32) -> Self {
        self.0.entropy = [Some(orig), Some(resp)];
        self
    }
}

/// Writes a table.
pub(crate) fn write<R: Row>(folder: &Path, rows: Vec<R>) {
    let mut writer = TableWriter::new(Vec::new(), &FileMeta::default()).unwrap();
    for row in rows {
        writer.push(row).unwrap();
    }
    let (bytes, _) = writer.finish().unwrap();
    std::fs::write(folder.join(format!("{}.parquet", R::TABLE)), bytes).unwrap();
}

/// Writes flows, numbered in their order.
pub(crate) fn write_flows(folder: &Path, flows: &[Flow]) {
    let rows = flows.iter().zip(1_u32..).map(|(flow, number)| {
        let mut record = flow.0.clone();
        record.flow_id = FlowId(i64::from(number));
        record.first = PacketRef {
            capture: record.first.capture,
            frame: u64::from(number),
            offset: u64::from(number) * 100,
        };
        record
    });
    write(folder, rows.collect());
}

/// An HTTP request of 10.0.0.5 to a host, measured so.
pub(crate) fn request(host: &str, media_type: &str, measured: Measured, body: u64) -> HttpRow {
    let policy = Policy::built_in();
    let record = Flow::to("198.51.100.7").port(80).0;
    let head = FlowHead {
        flow_id: record.flow_id,
        first: record.first,
        src: record.src,
        dst: record.dst,
        src_port: record.src_port,
        dst_port: record.dst_port,
        ip_proto: record.ip_proto,
        scope: 0,
    };
    let tx = HttpTransaction {
        ts: record.ts,
        packet: record.first,
        has_request: true,
        measured: Some(measured),
        texts: Texts::of(&[(Text::Host, host), (Text::RequestType, media_type)]),
        request: Sizes {
            body_bytes: body,
            ..Sizes::default()
        },
        ..HttpTransaction::default()
    };
    HttpRow::new(&policy, head, Box::new(tx), false, Vec::new())
}

/// What a detector says of these flows, findings sorted by destination and source.
#[track_caller]
pub(crate) fn judge(check: &dyn Behaviour, policy: &Policy, flows: &[Flow]) -> Judgement {
    let folder = tempfile::tempdir().unwrap();
    write_flows(folder.path(), flows);
    judge_folder(check, policy, folder.path())
}

/// The same of a folder of tables.
#[track_caller]
pub(crate) fn judge_folder(check: &dyn Behaviour, policy: &Policy, folder: &Path) -> Judgement {
    let source = Source {
        folder: folder.to_owned(),
        first_capture: 0,
    };
    let mut judged = judge_by(policy, &[source], &[check]).unwrap();
    let mut judgement = judged.pop().unwrap().judgement.unwrap();
    let order = |found: &super::Found| {
        let (to, src) = (found.destination.clone(), found.src);
        (to, src, found.dst_port, found.detail.clone())
    };
    judgement.found.sort_by_key(order);
    judgement
}
