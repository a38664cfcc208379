//! `verdicts` and `coverage`: what the run says of each control, and what it
//! does not prove.

use super::column::{self as col, Column, signed, signed32};
use super::writer::Row;
use crate::finding::{CoverageRow, Verdict};

impl Row for Verdict {
    const TABLE: &'static str = "verdicts";
    const DOC: &'static str = "One row per control and one per check of it.";
    const GROUP_ROWS: usize = 1 << 14;

    fn columns() -> Vec<Column<Self>> {
        vec![
            col::text(("control_id", "", "Such as `NS-01`."), |v: &Self| {
                &v.control_id
            }),
            col::text_opt(
                (
                    "check_id",
                    "",
                    "Such as `NS-01.tls_version`; null for the control as a whole.",
                ),
                |v: &Self| v.check_id.as_deref(),
            ),
            col::text(
                ("title", "", "Title of the control or check."),
                |v: &Self| &v.title,
            ),
            col::text(("requirement", "", "Requirement level."), |v: &Self| {
                &v.requirement
            }),
            col::list_text(
                ("assurance_levels", "", "Levels that require it."),
                false,
                |v: &Self| col::items(&v.assurance_levels),
            ),
            col::list_text(("stride", "", "STRIDE classes."), false, |v: &Self| {
                col::items(&v.stride)
            }),
            col::list_text(("aatt", "", "AATT ids."), false, |v: &Self| {
                col::items(&v.aatt)
            }),
            col::text(
                ("verdict", "", "`pass`, `fail`, `not_observed`."),
                |v: &Self| v.verdict.name(),
            ),
            col::int64(("evaluated", "", "Outcomes in all."), |v: &Self| {
                signed(v.evaluated)
            }),
            col::int64(("passed", "", "Of these: passed."), |v: &Self| {
                signed(v.passed)
            }),
            col::int64(("warned", "", "Warned."), |v: &Self| signed(v.warned)),
            col::int64(("failed", "", "Failed."), |v: &Self| signed(v.failed)),
            col::int64(
                (
                    "refused",
                    "",
                    "Refused by a peer: evidence that the control works.",
                ),
                |v: &Self| signed(v.refused),
            ),
            col::int64(
                ("not_observed", "", "Not to be told from this capture."),
                |v: &Self| signed(v.not_observed),
            ),
            col::text_opt(
                ("worst_severity", "", "Of the worst finding."),
                |v: &Self| v.worst_severity.map(|severity| severity.name()),
            ),
            col::text(
                (
                    "reason",
                    "",
                    "Why: of a check that fails, what its worst finding says, where, and its id; of one that was `not_observed`, what would make it observable.",
                ),
                |v: &Self| &v.reason,
            )
            .content(),
            col::list_int64(
                ("example_flow_ids", "", "Up to 10 flows."),
                |v: &Self, put| {
                    v.example_flow_ids.iter().for_each(|id| put(id.0));
                },
            ),
        ]
    }

    fn sort_key(&self) -> (i64, i64) {
        // As they come: controls first, then their checks.
        (0, 0)
    }
}

impl Row for CoverageRow {
    const TABLE: &'static str = "coverage";
    const DOC: &'static str = "One row per input file and check: how much of it could be judged.";
    const GROUP_ROWS: usize = 1 << 14;

    fn columns() -> Vec<Column<Self>> {
        vec![
            col::int32(("capture", "row of `captures`", "The file."), |c: &Self| {
                signed32(c.capture)
            }),
            col::text(("check_id", "", "The check."), |c: &Self| c.check_id),
            col::int64(("evaluated", "", "Outcomes in all."), |c: &Self| {
                let parts = [c.passed, c.warned, c.failed, c.refused, c.not_observed];
                signed(parts.into_iter().fold(0, u64::saturating_add))
            }),
            col::int64(("passed", "", "Of these: passed."), |c: &Self| {
                signed(c.passed)
            }),
            col::int64(("warned", "", "Warned."), |c: &Self| signed(c.warned)),
            col::int64(("failed", "", "Failed."), |c: &Self| signed(c.failed)),
            col::int64(("refused", "", "Refused by a peer."), |c: &Self| {
                signed(c.refused)
            }),
            col::int64(
                ("not_observed", "", "Not to be told from this capture."),
                |c: &Self| signed(c.not_observed),
            ),
            col::text(
                (
                    "reason",
                    "",
                    "Most frequent reason why it was not observed.",
                ),
                |c: &Self| &c.reason,
            ),
            col::int64(
                (
                    "bytes_affected",
                    "byte",
                    "Payload of the flows that were not observed.",
                ),
                |c: &Self| signed(c.bytes_affected),
            ),
            col::list_int64(
                (
                    "example_flow_ids",
                    "",
                    "Up to 10 flows that were not observed.",
                ),
                |c: &Self, put| c.example_flow_ids.iter().for_each(|id| put(id.0)),
            ),
        ]
    }

    fn sort_key(&self) -> (i64, i64) {
        (0, 0)
    }
}
