//! A column: its name, type, unit, meaning and classification, and the closure
//! that builds its Arrow array from a slice of rows.
//!
//! One constructor per kind of value keeps a table's list one line per column.
//! Nothing here knows a particular table.

pub use crate::flow::key::put_address;
use crate::time::CaptureTime;
use arrow_array::builder::{BinaryBuilder, Int32Builder, Int64Builder, ListBuilder, StringBuilder};
use arrow_array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array,
    Int64Array, TimestampNanosecondArray,
};
use arrow_schema::{DataType, Field, Fields, TimeUnit};
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

/// How sensitive a column is, written into the file as `classification.<column>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Counted, measured or judged by the engine; says nothing about a person by itself.
    Derived,
    /// Names a host, a device, a service or a user: addresses, host names, fingerprints.
    Identifier,
    /// Text or bytes of the capture, chosen by whoever sent them: escape before printing.
    Content,
}

impl Class {
    /// The name in the file's metadata and in the documentation.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Derived => "derived",
            Self::Identifier => "identifier",
            Self::Content => "content",
        }
    }
}

/// How a column's values are laid out in Parquet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// A dictionary: values repeat.
    Dictionary,
    /// Differences to the value before: times, counters that grow.
    Delta,
    /// Values as they are, compressed.
    Plain,
    /// Values as they are, uncompressed: bits of a hash do not shrink.
    Raw,
}

type Build<R> = Box<dyn Fn(&[R]) -> ArrayRef + Send + Sync>;

/// One column of a table of `R`.
pub struct Column<R> {
    /// Name in the file: flat snake case.
    pub name: &'static str,
    /// Unit, or what kind of text; empty where there is nothing to say.
    pub unit: &'static str,
    /// What it means.
    pub doc: &'static str,
    /// How sensitive it is.
    pub class: Class,
    /// Its layout in the file.
    pub layout: Layout,
    /// Arrow type.
    pub ty: DataType,
    /// Whether a value can be missing, which always means "not observed".
    pub nullable: bool,
    build: Build<R>,
}

impl<R> std::fmt::Debug for Column<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Column")
            .field("name", &self.name)
            .field("ty", &self.ty)
            .field("nullable", &self.nullable)
            .finish_non_exhaustive()
    }
}

impl<R: 'static> Column<R> {
    /// A column from its parts; the constructors below are shorter.
    pub fn new(
        (name, unit, doc): (&'static str, &'static str, &'static str),
        ty: DataType,
        nullable: bool,
        build: impl Fn(&[R]) -> ArrayRef + Send + Sync + 'static,
    ) -> Self {
        let layout = match ty {
            DataType::Timestamp(..) => Layout::Delta,
            _ => Layout::Dictionary,
        };
        Self {
            name,
            unit,
            doc,
            class: Class::Derived,
            layout,
            ty,
            nullable,
            build: Box::new(build),
        }
    }

    /// The column's values for these rows.
    pub fn build(&self, rows: &[R]) -> ArrayRef {
        (self.build)(rows)
    }

    /// Its Arrow field.
    pub fn field(&self) -> Field {
        Field::new(self.name, self.ty.clone(), self.nullable)
    }

    /// With another layout.
    #[must_use]
    pub fn layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// Marked as naming a host, device, service or user.
    #[must_use]
    pub fn identifier(mut self) -> Self {
        self.class = Class::Identifier;
        self
    }

    /// Marked as holding what the capture's senders chose.
    #[must_use]
    pub fn content(mut self) -> Self {
        self.class = Class::Content;
        self
    }
}

/// Name, unit and meaning of a column.
pub type Head = (&'static str, &'static str, &'static str);

/// A count or size as Parquet's signed integer; saturates at 2^63 - 1.
pub fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The same for 32 bits.
pub fn signed32(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

macro_rules! number_columns {
    ($($(#[doc = $doc:literal])+ $name:ident, $optional:ident: $native:ty, $array:ident, $ty:expr;)+) => {$(
        $(#[doc = $doc])+
        pub fn $name<R: 'static>(
            head: Head,
            get: impl Fn(&R) -> $native + Send + Sync + 'static,
        ) -> Column<R> {
            Column::new(head, $ty, false, move |rows| {
                Arc::new(<$array>::from(rows.iter().map(&get).collect::<Vec<$native>>()))
            })
        }

        $(#[doc = $doc])+
        ///
        /// `None` stands for "not observed".
        pub fn $optional<R: 'static>(
            head: Head,
            get: impl Fn(&R) -> Option<$native> + Send + Sync + 'static,
        ) -> Column<R> {
            Column::new(head, $ty, true, move |rows| {
                Arc::new(rows.iter().map(&get).collect::<$array>())
            })
        }
    )+};
}

number_columns! {
    /// 8-bit integers.
    int8, int8_opt: i8, Int8Array, DataType::Int8;
    /// 16-bit integers.
    int16, int16_opt: i16, Int16Array, DataType::Int16;
    /// 32-bit integers.
    int32, int32_opt: i32, Int32Array, DataType::Int32;
    /// 64-bit integers.
    int64, int64_opt: i64, Int64Array, DataType::Int64;
    /// 32-bit floats.
    float32, float32_opt: f32, Float32Array, DataType::Float32;
    /// 64-bit floats.
    float64, float64_opt: f64, Float64Array, DataType::Float64;
    /// Truth values.
    boolean, boolean_opt: bool, BooleanArray, DataType::Boolean;
}

/// The type of every time in every table: nanoseconds since the epoch, UTC.
pub fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))
}

/// Times.
pub fn time<R: 'static>(
    head: Head,
    get: impl Fn(&R) -> CaptureTime + Send + Sync + 'static,
) -> Column<R> {
    Column::new(head, time_type(), false, move |rows| {
        let values: Vec<i64> = rows.iter().map(|row| get(row).as_nanos()).collect();
        Arc::new(TimestampNanosecondArray::from(values).with_timezone("UTC"))
    })
}

/// Times that may not have been observed.
pub fn time_opt<R: 'static>(
    head: Head,
    get: impl Fn(&R) -> Option<CaptureTime> + Send + Sync + 'static,
) -> Column<R> {
    Column::new(head, time_type(), true, move |rows| {
        let values = rows.iter().map(|row| get(row).map(CaptureTime::as_nanos));
        Arc::new(
            values
                .collect::<TimestampNanosecondArray>()
                .with_timezone("UTC"),
        )
    })
}

/// Text that every row has.
pub fn text<R: 'static>(
    head: Head,
    get: impl for<'a> Fn(&'a R) -> &'a str + Send + Sync + 'static,
) -> Column<R> {
    Column::new(head, DataType::Utf8, false, move |rows| {
        let mut out = text_builder(rows.len());
        for row in rows {
            out.append_value(get(row));
        }
        Arc::new(out.finish())
    })
}

/// Text that may not have been observed.
pub fn text_opt<R: 'static>(
    head: Head,
    get: impl for<'a> Fn(&'a R) -> Option<&'a str> + Send + Sync + 'static,
) -> Column<R> {
    Column::new(head, DataType::Utf8, true, move |rows| {
        let mut out = text_builder(rows.len());
        for row in rows {
            out.append_option(get(row));
        }
        Arc::new(out.finish())
    })
}

/// Text that a closure writes into one buffer for all rows; it returns whether
/// there is a value.
pub fn text_written<R: 'static>(
    head: Head,
    nullable: bool,
    put: impl Fn(&R, &mut String) -> bool + Send + Sync + 'static,
) -> Column<R> {
    Column::new(head, DataType::Utf8, nullable, move |rows| {
        let mut out = text_builder(rows.len());
        let mut text = String::new();
        for row in rows {
            text.clear();
            if put(row, &mut text) {
                out.append_value(&text);
            } else {
                out.append_null();
            }
        }
        Arc::new(out.finish())
    })
}

/// An address as text: dotted for IPv4 and IPv4-mapped, RFC 5952 for IPv6.
pub fn address<R: 'static>(
    head: Head,
    get: impl Fn(&R) -> IpAddr + Send + Sync + 'static,
) -> Column<R> {
    text_written(head, false, move |row, out| {
        put_address(out, get(row));
        true
    })
    .identifier()
}

/// Bytes that may not have been observed.
pub fn bytes_opt<R: 'static>(
    head: Head,
    get: impl for<'a> Fn(&'a R) -> Option<&'a [u8]> + Send + Sync + 'static,
) -> Column<R> {
    Column::new(head, DataType::Binary, true, move |rows| {
        let mut out = BinaryBuilder::new();
        for row in rows {
            out.append_option(get(row));
        }
        Arc::new(out.finish())
    })
    .layout(Layout::Plain)
}

/// The Arrow type of a list of `ty`, its elements never null.
pub fn list_type(ty: DataType) -> DataType {
    DataType::List(element(ty))
}

/// A list's element field, named as the Parquet specification names it.
pub fn element(ty: DataType) -> Arc<Field> {
    Arc::new(Field::new("element", ty, false))
}

/// The Arrow type of a struct with these `(name, type, nullable)` fields.
pub fn struct_fields(fields: &[(&'static str, DataType, bool)]) -> Fields {
    fields
        .iter()
        .map(|(name, ty, nullable)| Field::new(*name, ty.clone(), *nullable))
        .collect()
}

/// Lists of text; `None` from the closure is a null list ("not observed"),
/// an empty iterator an empty one ("observed, and there were none").
pub fn list_text<R: 'static>(
    head: Head,
    nullable: bool,
    get: impl for<'a> Fn(&'a R) -> Option<Vec<Cow<'a, str>>> + Send + Sync + 'static,
) -> Column<R> {
    Column::new(head, list_type(DataType::Utf8), nullable, move |rows| {
        let mut out = ListBuilder::new(StringBuilder::new()).with_field(element(DataType::Utf8));
        for row in rows {
            let items = get(row);
            let observed = items.is_some();
            for item in items.unwrap_or_default() {
                out.values().append_value(item);
            }
            out.append(observed);
        }
        Arc::new(out.finish())
    })
}

/// Lists of 32-bit integers; see [`list_text`] for null and empty.
pub fn list_int32<R: 'static>(
    head: Head,
    nullable: bool,
    mut_get: impl Fn(&R, &mut dyn FnMut(i32)) -> bool + Send + Sync + 'static,
) -> Column<R> {
    Column::new(head, list_type(DataType::Int32), nullable, move |rows| {
        let mut out = ListBuilder::new(Int32Builder::new()).with_field(element(DataType::Int32));
        for row in rows {
            let is_some = mut_get(row, &mut |value| out.values().append_value(value));
            out.append(is_some);
        }
        Arc::new(out.finish())
    })
}

/// Lists of 64-bit integers; see [`list_text`] for null and empty.
pub fn list_int64<R: 'static>(
    head: Head,
    mut_get: impl Fn(&R, &mut dyn FnMut(i64)) + Send + Sync + 'static,
) -> Column<R> {
    Column::new(head, list_type(DataType::Int64), false, move |rows| {
        let mut out = ListBuilder::new(Int64Builder::new()).with_field(element(DataType::Int64));
        for row in rows {
            mut_get(row, &mut |value| out.values().append_value(value));
            out.append(true);
        }
        Arc::new(out.finish())
    })
}

/// Borrowed text as the items of [`list_text`].
pub fn items<S: AsRef<str>>(list: &[S]) -> Option<Vec<Cow<'_, str>>> {
    Some(
        list.iter()
            .map(|item| Cow::Borrowed(item.as_ref()))
            .collect(),
    )
}

fn text_builder(rows: usize) -> StringBuilder {
    StringBuilder::with_capacity(rows, rows.saturating_mul(12))
}

/// Writes bytes as lower-case hex.
pub fn put_hex(out: &mut String, bytes: &[u8]) {
    let digit = |value: u8| {
        char::from(if value < 10 {
            b'0' + value
        } else {
            b'a' - 10 + value
        })
    };
    for byte in bytes {
        out.push(digit(byte >> 4));
        out.push(digit(byte & 15));
    }
}

/// Bytes as lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    put_hex(&mut out, bytes);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_saturate() {
        assert_eq!(signed(u64::MAX), i64::MAX);
        assert_eq!(signed32(u32::MAX), i32::MAX);
        assert_eq!(signed(7), 7);
    }
}
