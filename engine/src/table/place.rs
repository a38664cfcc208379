//! The columns with which a row says where it began, and in which flow: the
//! same for every table whose rows leave a flow while it lives.

use super::column::{self as col, Column, Layout, signed, signed32};
use crate::evidence::PacketRef;
use crate::flow::FlowHead;
use crate::time::CaptureTime;

/// A row that began somewhere in a flow.
pub(super) trait InFlow: 'static {
    /// Its flow.
    fn flow(&self) -> &FlowHead;

    /// When and in which packet it began.
    fn began(&self) -> (CaptureTime, PacketRef);
}

/// The columns; `ts` says what the time is of.
pub(super) fn columns<R: InFlow>(ts: &'static str) -> Vec<Column<R>> {
    vec![
        col::int32(
            (
                "capture",
                "row of `captures`",
                "File that holds the first packet.",
            ),
            |row: &R| signed32(row.began().1.capture),
        ),
        col::int64(("flow_id", "", "The flow."), |row: &R| row.flow().flow_id.0)
            .layout(Layout::Raw),
        col::time(("ts", "ns", ts), |row: &R| row.began().0),
        col::int64(
            (
                "first_frame",
                "",
                "Number of the first packet in its file, from 1.",
            ),
            |row: &R| signed(row.began().1.frame),
        )
        .layout(Layout::Delta),
        col::int64(
            (
                "first_offset",
                "byte",
                "Place of that packet's record in its file.",
            ),
            |row: &R| signed(row.began().1.offset),
        )
        .layout(Layout::Delta),
        col::address(
            ("src_ip", "RFC 5952", "Originator of the flow."),
            |row: &R| row.flow().src,
        ),
        col::int32(("src_port", "", "Its port."), |row: &R| {
            i32::from(row.flow().src_port)
        })
        .layout(Layout::Delta),
        col::address(
            ("dst_ip", "RFC 5952", "Responder of the flow."),
            |row: &R| row.flow().dst,
        ),
        col::int32(("dst_port", "", "Its port."), |row: &R| {
            i32::from(row.flow().dst_port)
        }),
    ]
}
