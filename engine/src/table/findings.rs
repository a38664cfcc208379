//! `findings`: outcomes of one check gathered for one source, destination and
//! detail, with the evidence to look at. Ids and severities as OCSF and the
//! controls name them.

use super::column::{self as col, Column, Layout, signed, signed32};
use super::writer::Row;
use crate::control::control_of;
use crate::evidence::PacketRef;
use crate::finding::Finding;
use arrow_schema::DataType;
use std::borrow::Cow;

impl Row for Finding {
    const TABLE: &'static str = "findings";
    const DOC: &'static str = "One row per check, source, destination, port and detail that \
        violated a control, worst first.";
    const GROUP_ROWS: usize = 1 << 13;

    fn columns() -> Vec<Column<Self>> {
        vec![
            col::text(
                ("finding_id", "", "`F-` and 12 base32 characters of a hash of check, subject and `ts_first`: the same over re-runs."),
                |f: &Self| &f.finding_id,
            )
            .layout(Layout::Plain),
            col::time(("ts_first", "ns", "Packet time of the first violation."), |f: &Self| {
                f.ts_first
            }),
            col::time(("ts_last", "ns", "Of the last."), |f: &Self| f.ts_last),
            col::int32_opt(
                ("capture", "row of `captures`", "File that holds the first violation's packet; null where a rule of the user names none."),
                |f: &Self| f.first_packet().map(|at| signed32(at.capture)),
            ),
            col::int64_opt(
                ("first_frame", "", "Its number in its file, from 1; null with `capture`."),
                |f: &Self| f.first_packet().map(|at| signed(at.frame)),
            ),
            col::int64_opt(
                ("first_offset", "byte", "Place of its record in its file; null with `capture`."),
                |f: &Self| f.first_packet().map(|at| signed(at.offset)),
            ),
            col::text(
                ("type", "", "Part of `check_id` after the dot."),
                |f: &Self| f.check_id.split_once('.').map_or(f.check_id, |(_, kind)| kind),
            ),
            col::text(("control_id", "", "Control, such as `NS-01`."), |f: &Self| {
                f.check_id.split_once('.').map_or(f.check_id, |(control, _)| control)
            }),
            col::text(("check_id", "", "Check, such as `NS-01.tls_version`."), |f: &Self| {
                f.check_id
            }),
            col::text(
                ("severity", "", "Worst: `info`, `low`, `medium`, `high`, `critical`."),
                |f: &Self| f.severity.name(),
            ),
            col::int8(("severity_id", "OCSF", "The same as 1 to 5."), |f: &Self| f.severity.id()),
            col::boolean_opt(
                ("baseline", "", "The control's literal rule fired; null where it has none."),
                |f: &Self| f.baseline,
            ),
            col::float32_opt(
                ("score", "0 to 1", "How far it looks like what the check is after; null where nothing is scored."),
                |f: &Self| f.numbers.score,
            ),
            col::float32_opt(
                ("confidence", "0 to 1", "How much evidence the score stands on."),
                |f: &Self| f.numbers.confidence,
            ),
            col::text(
                ("status", "", "`open`, or `suppressed`: kept, with its reason, and left out of verdicts and exit codes."),
                |f: &Self| if f.is_open() { "open" } else { "suppressed" },
            ),
            col::address(("src_ip", "RFC 5952", "Source host."), |f: &Self| f.src),
            col::address(("dst_ip", "RFC 5952", "Destination of the first flow."), |f: &Self| {
                f.dst
            }),
            col::int32(("dst_port", "", "Destination port."), |f: &Self| i32::from(f.dst_port)),
            col::text(("destination", "", "Destination name, else address."), |f: &Self| {
                &f.destination
            })
            .content(),
            col::text(
                ("detail", "", "What tells two problems of one check apart: the suite, the version."),
                |f: &Self| &f.detail,
            )
            .content(),
            col::list_int64(("flow_ids", "", "Flows, ascending, at most 1,000."), |f: &Self, put| {
                f.flow_ids.iter().for_each(|id| put(id.0));
            }),
            col::int64(("flow_count", "", "All flows, exact up to 1,000 rows (of scores 64). Beyond them NS-01 to NS-03 count requests one by one; NS-04 counts a flow once as long as fewer than that many rows of others lie between its own. Rules count rows."), |f: &Self| signed(f.flow_count)),
            col::text(("title", "", "One sentence."), |f: &Self| &f.title).content(),
            col::text(("explanation", "", "One sentence with the numbers."), |f: &Self| {
                &f.explanation
            })
            .content(),
            col::text_opt(("metric", "", "What was measured, such as `cv`."), |f: &Self| {
                Some(f.numbers.measure.as_ref()?.metric.as_ref())
            }),
            col::float64_opt(("observed", "", "Its value, in `unit`."), |f: &Self| {
                Some(f.numbers.measure.as_ref()?.observed)
            }),
            col::float64_opt(("threshold", "", "The value that decides, in `unit`."), |f: &Self| {
                Some(f.numbers.measure.as_ref()?.threshold)
            }),
            col::text_opt(
                ("comparator", "", "How the two are compared: a finding is `observed` `comparator` `threshold`."),
                |f: &Self| Some(f.numbers.measure.as_ref()?.comparator.as_ref()),
            ),
            col::text_opt(("unit", "", "Such as `byte`, `ratio`, `character`."), |f: &Self| {
                Some(f.numbers.measure.as_ref()?.unit.as_ref())
            }),
            col::float64_opt(("interval_seconds", "s", "Mean gap between events."), |f: &Self| {
                f.numbers.interval_seconds
            }),
            col::float64_opt(
                ("variance", "ratio", "The same as `cv`, under the name that alerts use."),
                |f: &Self| f.numbers.cv,
            ),
            col::float64_opt(
                ("cv", "ratio", "Coefficient of variation of the gaps: population standard deviation by mean."),
                |f: &Self| f.numbers.cv,
            ),
            col::int64_opt(("samples", "", "Events that were measured."), |f: &Self| {
                f.numbers.samples.map(signed)
            }),
            col::text_opt(
                ("evidence", "JSON", "Further numbers of the check; `against` lists what argues for a benign cause."),
                |f: &Self| f.numbers.evidence.as_deref(),
            )
            .content(),
            evidence_column(),
            col::list_text(
                ("attack_techniques", "MITRE ATT&CK", "Techniques."),
                false,
                |f: &Self| {
                    Some(f.attack_techniques.iter().map(|&id| Cow::Borrowed(id)).collect())
                },
            ),
            col::int32(("prevalence_hosts", "", "Sources that do the same."), |f: &Self| {
                signed32(f.prevalence_hosts)
            }),
            col::list_text(("stride", "", "STRIDE classes of the control."), false, |f: &Self| {
                Some(control_of(f.check_id).map_or(&[][..], |c| c.stride).iter().map(|&s| s.into()).collect())
            }),
            col::list_text(("aatt", "", "AATT ids of the control."), false, |f: &Self| {
                Some(control_of(f.check_id).map_or(&[][..], |c| c.aatt).iter().map(|&s| s.into()).collect())
            }),
            col::text_opt(
                ("suppressed_by", "", "Why it is no open finding; null for an open one."),
                |f: &Self| f.numbers.suppressed_by.as_deref(),
            ),
        ]
    }

    fn sort_key(&self) -> (i64, i64) {
        // As they come: worst first.
        (0, 0)
    }

    fn heap_bytes(&self) -> usize {
        self.destination.len()
            + self.detail.len()
            + self.title.len()
            + self.explanation.len()
            + self.flow_ids.len() * 8
            + self.evidence.len() * size_of::<PacketRef>()
            + self.numbers.evidence.as_deref().map_or(0, str::len)
    }
}

fn evidence_column() -> Column<Finding> {
    let fields = [
        ("capture", DataType::Int32, false),
        ("frame", DataType::Int64, false),
        ("offset", DataType::Int64, false),
    ];
    let head = (
        "evidence_frames",
        "",
        "First packets of the first flows, at most 20: file, number from 1, byte offset of the record.",
    );
    col::records(head, false, &fields, |row: &Finding, items| {
        for at in &row.evidence {
            items.number(i64::from(signed32(at.capture)));
            items.number(signed(at.frame));
            items.number(signed(at.offset));
        }
        true
    })
}
