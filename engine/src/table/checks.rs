//! The column `checks`: how each check judged a row.

use super::column::{self as col, Column, list_type, struct_fields};
use crate::control::Outcome;
use arrow_array::builder::{ListBuilder, StringBuilder, StructBuilder};
use arrow_schema::DataType;
use std::sync::Arc;

/// The column, described by `doc`.
pub(super) fn column<R: 'static>(
    doc: &'static str,
    get: impl Fn(&R) -> &[Outcome] + Send + Sync + 'static,
) -> Column<R> {
    let fields = struct_fields(&[
        ("check_id", DataType::Utf8, false),
        ("outcome", DataType::Utf8, false),
        ("severity", DataType::Utf8, false),
        ("detail", DataType::Utf8, false),
        ("reason", DataType::Utf8, false),
    ]);
    let ty = DataType::Struct(fields.clone());
    let head = ("checks", "", doc);
    Column::new(head, list_type(ty.clone()), false, move |rows: &[R]| {
        let outcomes = StructBuilder::from_fields(fields.clone(), 0);
        let mut out = ListBuilder::new(outcomes).with_field(col::element(ty.clone()));
        for row in rows {
            for outcome in get(row) {
                let values = out.values();
                let texts = [
                    outcome.check_id,
                    outcome.status.name(),
                    outcome.severity.name(),
                    &outcome.detail,
                    &outcome.reason,
                ];
                for (index, text) in texts.into_iter().enumerate() {
                    if let Some(field) = values.field_builder::<StringBuilder>(index) {
                        field.append_value(text);
                    }
                }
                values.append(true);
            }
            out.append(true);
        }
        Arc::new(out.finish())
    })
}
