//! A value of a column as SQL has it: numbers, texts and bytes as they are, truth
//! as 0 and 1, times as nanoseconds, lists and structs as JSON.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampNanosecondType,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::vtab::Context;
use rusqlite::{Error, Result};
use serde_json::{Map, Value};

/// Hands a value to SQLite.
pub(crate) fn put(context: &mut Context, array: &ArrayRef, row: usize) -> Result<()> {
    if array.is_null(row) {
        return context.set_result(ToSqlOutput::Borrowed(ValueRef::Null));
    }
    let text;
    let value = match array.data_type() {
        DataType::Utf8 => ValueRef::Text(array.as_string::<i32>().value(row).as_bytes()),
        DataType::Binary => ValueRef::Blob(array.as_binary::<i32>().value(row)),
        DataType::List(_) | DataType::Struct(_) => {
            text = json(array, row).map_err(Error::ModuleError)?.to_string();
            ValueRef::Text(text.as_bytes())
        }
        _ => match number(array, row).map_err(Error::ModuleError)? {
            Number::Integer(number) => ValueRef::Integer(number),
            Number::Real(number) => ValueRef::Real(number),
        },
    };
    context.set_result(ToSqlOutput::Borrowed(value))
}

enum Number {
    Integer(i64),
    Real(f64),
}

fn number(array: &ArrayRef, row: usize) -> std::result::Result<Number, String> {
    let whole = match array.data_type() {
        DataType::Boolean => i64::from(array.as_boolean().value(row)),
        DataType::Int8 => array.as_primitive::<Int8Type>().value(row).into(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).into(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).into(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row),
        DataType::Timestamp(..) => array
            .as_primitive_opt::<TimestampNanosecondType>()
            .ok_or("a time that is not in nanoseconds")?
            .value(row),
        DataType::Float32 => {
            return Ok(Number::Real(
                array.as_primitive::<Float32Type>().value(row).into(),
            ));
        }
        DataType::Float64 => {
            return Ok(Number::Real(array.as_primitive::<Float64Type>().value(row)));
        }
        other => return Err(format!("a column of type {other}")),
    };
    Ok(Number::Integer(whole))
}

fn json(array: &ArrayRef, row: usize) -> std::result::Result<Value, String> {
    if array.is_null(row) {
        return Ok(Value::Null);
    }
    Ok(match array.data_type() {
        DataType::Boolean => array.as_boolean().value(row).into(),
        DataType::Utf8 => array.as_string::<i32>().value(row).into(),
        DataType::Binary => {
            nsforensics_engine::table::column::hex(array.as_binary::<i32>().value(row)).into()
        }
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            let items: std::result::Result<Vec<Value>, String> =
                (0..items.len()).map(|at| json(&items, at)).collect();
            items?.into()
        }
        DataType::Struct(fields) => {
            let columns = fields.iter().zip(array.as_struct().columns());
            let members: std::result::Result<Map<String, Value>, String> = columns
                .map(|(field, column)| Ok((field.name().clone(), json(column, row)?)))
                .collect();
            members?.into()
        }
        _ => match number(array, row)? {
            Number::Integer(number) => number.into(),
            Number::Real(number) => number.into(),
        },
    })
}
