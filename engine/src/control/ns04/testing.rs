//! Flows by hand for the detectors' cases: written as a table's file would hold
//! them, read as [`crate::behaviour`] reads them.

use super::{Behaviour, Judgement};
use crate::behaviour::{Source, judge_by};
use crate::evidence::{FlowId, PacketRef};
use crate::flow::{ConnState, Counters, EndReason, FlowRecord, NameSource};
use crate::policy::Policy;
use crate::table::{FileMeta, Row, TableWriter};
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
