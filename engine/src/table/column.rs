//! A column: its name, type, unit, meaning and classification, and the closure
//! that hands its values, row by row, to what encodes them.
//!
//! One constructor per kind of value keeps a table's list one line per column.
//! Nothing here knows a particular table.

use super::encode::Leaf;
pub use crate::flow::key::put_address;
use crate::time::CaptureTime;
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

type Feed<R> = Box<dyn Fn(&[R], &mut [Leaf]) + Send + Sync>;

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
    feed: Feed<R>,
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
    /// A column from its parts; the constructors below are shorter. `feed` gives
    /// each leaf one value, null or list for each row, in the rows' order.
    pub fn new(
        (name, unit, doc): (&'static str, &'static str, &'static str),
        ty: DataType,
        nullable: bool,
        feed: impl Fn(&[R], &mut [Leaf]) + Send + Sync + 'static,
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
            feed: Box::new(feed),
        }
    }

    /// Hands the column's values for these rows to its leaves.
    pub fn feed(&self, rows: &[R], leaves: &mut [Leaf]) {
        (self.feed)(rows, leaves);
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

/// A column of one leaf, to which `put` gives one value or null for each row.
fn flat<R: 'static>(
    head: Head,
    ty: DataType,
    nullable: bool,
    put: impl Fn(&R, &mut Leaf) + Send + Sync + 'static,
) -> Column<R> {
    Column::new(head, ty, nullable, move |rows, leaves| {
        if let [leaf] = leaves {
            rows.iter().for_each(|row| put(row, leaf));
        }
    })
}

macro_rules! number_columns {
    ($($(#[doc = $doc:literal])+ $name:ident, $optional:ident: $native:ty, $ty:expr,
        |$leaf:ident, $value:ident| $put:expr;)+) => {$(
        $(#[doc = $doc])+
        pub fn $name<R: 'static>(
            head: Head,
            get: impl Fn(&R) -> $native + Send + Sync + 'static,
        ) -> Column<R> {
            flat(head, $ty, false, move |row, $leaf| {
                let $value = get(row);
                $put;
            })
        }

        $(#[doc = $doc])+
        ///
        /// `None` stands for "not observed".
        pub fn $optional<R: 'static>(
            head: Head,
            get: impl Fn(&R) -> Option<$native> + Send + Sync + 'static,
        ) -> Column<R> {
            flat(head, $ty, true, move |row, $leaf| match get(row) {
                Some($value) => $put,
                None => $leaf.null(),
            })
        }
    )+};
}

number_columns! {
    /// 8-bit integers.
    int8, int8_opt: i8, DataType::Int8, |leaf, value| leaf.number(i64::from(value));
    /// 16-bit integers.
    int16, int16_opt: i16, DataType::Int16, |leaf, value| leaf.number(i64::from(value));
    /// 32-bit integers.
    int32, int32_opt: i32, DataType::Int32, |leaf, value| leaf.number(i64::from(value));
    /// 64-bit integers.
    int64, int64_opt: i64, DataType::Int64, |leaf, value| leaf.number(value);
    /// 32-bit floats.
    float32, float32_opt: f32, DataType::Float32, |leaf, value| leaf.number(i64::from(value.to_bits()));
    /// 64-bit floats.
    float64, float64_opt: f64, DataType::Float64, |leaf, value| leaf.number(value.to_bits().cast_signed());
    /// Truth values.
    boolean, boolean_opt: bool, DataType::Boolean, |leaf, value| leaf.boolean(value);
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
    flat(head, time_type(), false, move |row, leaf| {
        leaf.number(get(row).as_nanos());
    })
}

/// Times that may not have been observed.
pub fn time_opt<R: 'static>(
    head: Head,
    get: impl Fn(&R) -> Option<CaptureTime> + Send + Sync + 'static,
) -> Column<R> {
    flat(head, time_type(), true, move |row, leaf| match get(row) {
        Some(time) => leaf.number(time.as_nanos()),
        None => leaf.null(),
    })
}

/// Text that every row has.
pub fn text<R: 'static>(
    head: Head,
    get: impl for<'a> Fn(&'a R) -> &'a str + Send + Sync + 'static,
) -> Column<R> {
    flat(head, DataType::Utf8, false, move |row, leaf| {
        leaf.text(get(row).as_bytes());
    })
}

/// Text that may not have been observed.
pub fn text_opt<R: 'static>(
    head: Head,
    get: impl for<'a> Fn(&'a R) -> Option<&'a str> + Send + Sync + 'static,
) -> Column<R> {
    flat(head, DataType::Utf8, true, move |row, leaf| {
        match get(row) {
            Some(text) => leaf.text(text.as_bytes()),
            None => leaf.null(),
        }
    })
}

/// Text that a closure writes into one buffer for all rows; it returns whether
/// there is a value.
pub fn text_written<R: 'static>(
    head: Head,
    nullable: bool,
    put: impl Fn(&R, &mut String) -> bool + Send + Sync + 'static,
) -> Column<R> {
    Column::new(head, DataType::Utf8, nullable, move |rows, leaves| {
        let [leaf] = leaves else { return };
        let mut text = String::new();
        for row in rows {
            text.clear();
            if put(row, &mut text) {
                leaf.text(text.as_bytes());
            } else {
                leaf.null();
            }
        }
    })
}

/// An address as text: dotted for IPv4 and IPv4-mapped, RFC 5952 for IPv6.
pub fn address<R: 'static>(
    head: Head,
    get: impl Fn(&R) -> IpAddr + Send + Sync + 'static,
) -> Column<R> {
    flat(head, DataType::Utf8, false, move |row, leaf| {
        leaf.address(get(row));
    })
    .identifier()
}

/// Bytes that may not have been observed.
pub fn bytes_opt<R: 'static>(
    head: Head,
    get: impl for<'a> Fn(&'a R) -> Option<&'a [u8]> + Send + Sync + 'static,
) -> Column<R> {
    flat(head, DataType::Binary, true, move |row, leaf| {
        match get(row) {
            Some(bytes) => leaf.text(bytes),
            None => leaf.null(),
        }
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

/// Takes the items of one row's list, or the fields of its records one after
/// the other: where a list is of structs, each field of a record must be given.
#[derive(Debug)]
pub struct Items<'l> {
    leaves: &'l mut [Leaf],
    field: usize,
    is_first: bool,
}

impl<'l> Items<'l> {
    fn new(leaves: &'l mut [Leaf]) -> Self {
        Self {
            leaves,
            field: 0,
            is_first: true,
        }
    }

    fn put(&mut self, put: impl FnOnce(&mut Leaf)) {
        if let Some(leaf) = self.leaves.get_mut(self.field) {
            leaf.item(self.is_first);
            put(leaf);
        }
        self.field += 1;
        if self.field >= self.leaves.len() {
            self.field = 0;
            self.is_first = false;
        }
    }

    /// The next one is a text.
    pub fn text(&mut self, text: &str) {
        self.put(|leaf| leaf.text(text.as_bytes()));
    }

    /// The next one is an address.
    pub fn address(&mut self, address: IpAddr) {
        self.put(|leaf| leaf.address(address));
    }

    /// The next one is a number.
    pub fn number(&mut self, number: i64) {
        self.put(|leaf| leaf.number(number));
    }

    /// The next one was not observed.
    pub fn null(&mut self) {
        self.put(Leaf::null);
    }

    fn end(self, is_observed: bool) {
        debug_assert_eq!(self.field, 0, "a record ends with its last field");
        if self.is_first {
            for leaf in self.leaves {
                leaf.no_items(is_observed);
            }
        }
    }
}

/// Lists to which `put` gives the items; it returns whether they were observed:
/// false is a null list, true without an item an empty one.
pub fn list<R: 'static>(
    head: Head,
    element: DataType,
    nullable: bool,
    put: impl Fn(&R, &mut Items<'_>) -> bool + Send + Sync + 'static,
) -> Column<R> {
    Column::new(head, list_type(element), nullable, move |rows, leaves| {
        for row in rows {
            let mut items = Items::new(leaves);
            let is_observed = put(row, &mut items);
            items.end(is_observed);
        }
    })
}

/// Lists of records with these `(name, type, nullable)` fields; see [`list`].
pub fn records<R: 'static>(
    head: Head,
    nullable: bool,
    fields: &[(&'static str, DataType, bool)],
    put: impl Fn(&R, &mut Items<'_>) -> bool + Send + Sync + 'static,
) -> Column<R> {
    list(head, DataType::Struct(struct_fields(fields)), nullable, put)
}

/// Lists of text; `None` from the closure is a null list ("not observed"),
/// an empty iterator an empty one ("observed, and there were none").
pub fn list_text<R: 'static>(
    head: Head,
    nullable: bool,
    get: impl for<'a> Fn(&'a R) -> Option<Vec<Cow<'a, str>>> + Send + Sync + 'static,
) -> Column<R> {
    list(head, DataType::Utf8, nullable, move |row, items| {
        let texts = get(row);
        let is_observed = texts.is_some();
        for text in texts.unwrap_or_default() {
            items.text(&text);
        }
        is_observed
    })
}

/// Lists of 32-bit integers; see [`list_text`] for null and empty.
pub fn list_int32<R: 'static>(
    head: Head,
    nullable: bool,
    put: impl Fn(&R, &mut dyn FnMut(i32)) -> bool + Send + Sync + 'static,
) -> Column<R> {
    list(head, DataType::Int32, nullable, move |row, items| {
        put(row, &mut |value| items.number(i64::from(value)))
    })
}

/// Lists of 64-bit integers; see [`list_text`] for null and empty.
pub fn list_int64<R: 'static>(
    head: Head,
    put: impl Fn(&R, &mut dyn FnMut(i64)) + Send + Sync + 'static,
) -> Column<R> {
    list(head, DataType::Int64, false, move |row, items| {
        put(row, &mut |value| items.number(value));
        true
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

/// A public key's digest as pins write it.
pub fn pin(spki_sha256: &[u8; 32]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(spki_sha256);
    format!("sha256/{text}")
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
