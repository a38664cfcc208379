//! `anomalies`: what was odd or damaged, as facts without judgement.

use super::column::{self as col, Column, Layout, signed, signed32};
use super::writer::Row;
use crate::anomaly::Anomaly;

impl Row for Anomaly {
    const TABLE: &'static str = "anomalies";
    const DOC: &'static str = "What was odd or damaged; repeats of one kind in one flow (or file) \
        are one row with a count.";
    const GROUP_ROWS: usize = 1 << 14;

    fn columns() -> Vec<Column<Self>> {
        vec![
            col::int32(
                (
                    "capture",
                    "row of `captures`",
                    "File in which it was first seen.",
                ),
                |a: &Self| signed32(a.first.capture),
            ),
            col::int64_opt(
                (
                    "flow_id",
                    "",
                    "The flow; null where it belongs to the file.",
                ),
                |a: &Self| a.flow_id.map(|id| id.0),
            )
            .layout(Layout::Plain),
            col::time(("ts", "ns", "Packet time of the first."), |a: &Self| a.ts),
            col::int64(
                (
                    "first_frame",
                    "",
                    "Packet in which it was first seen, from 1.",
                ),
                |a: &Self| signed(a.first.frame),
            )
            .layout(Layout::Delta),
            col::int64(
                (
                    "first_offset",
                    "byte",
                    "Place of that packet's record in its file.",
                ),
                |a: &Self| signed(a.first.offset),
            )
            .layout(Layout::Delta),
            col::text(("kind", "", "What kind."), |a: &Self| a.kind.name()),
            col::text(("layer", "", "Layer that noticed."), |a: &Self| {
                a.kind.layer()
            }),
            col::text(
                ("detail", "", "What was wrong with the first, in words."),
                |a: &Self| &a.detail,
            )
            .content(),
            col::int64(("count", "", "How often."), |a: &Self| signed(a.count)),
            col::int32(
                (
                    "last_capture",
                    "row of `captures`",
                    "File in which it was last seen.",
                ),
                |a: &Self| signed32(a.last.capture),
            ),
            col::int64(
                ("last_frame", "", "Packet in which it was last seen."),
                |a: &Self| signed(a.last.frame),
            )
            .layout(Layout::Delta),
            col::int64(
                (
                    "last_offset",
                    "byte",
                    "Place of that packet's record in its file.",
                ),
                |a: &Self| signed(a.last.offset),
            )
            .layout(Layout::Delta),
        ]
    }

    fn sort_key(&self) -> (i64, i64) {
        (self.ts.as_nanos(), self.flow_id.map_or(0, |id| id.0))
    }

    fn heap_bytes(&self) -> usize {
        self.detail.len()
    }
}
