//! The column `checks`: how each check judged a row.

use super::column::{self as col, Column};
use crate::control::Outcome;
use arrow_schema::DataType;

/// The column, described by `doc`.
pub(super) fn column<R: 'static>(
    doc: &'static str,
    get: impl Fn(&R) -> &[Outcome] + Send + Sync + 'static,
) -> Column<R> {
    let fields = [
        ("check_id", DataType::Utf8, false),
        ("outcome", DataType::Utf8, false),
        ("severity", DataType::Utf8, false),
        ("detail", DataType::Utf8, false),
        ("reason", DataType::Utf8, false),
    ];
    col::records(("checks", "", doc), false, &fields, move |row, items| {
        for outcome in get(row) {
            items.text(outcome.check_id);
            items.text(outcome.status.name());
            items.text(outcome.severity.name());
            items.text(&outcome.detail);
            items.text(&outcome.reason);
        }
        true
    })
}
