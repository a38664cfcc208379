//! Values of a column, handed over one by one, to the arrays that the parquet
//! crate's column writers take. All columns of a block of rows are filled
//! before the next block, so that a row is read from memory once.

use arrow_array::builder::BooleanBufferBuilder;
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Float32Array, Float64Array, Int8Array, Int16Array,
    Int32Array, Int64Array, ListArray, StringArray, StructArray, TimestampNanosecondArray,
};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType, Field};
use std::net::IpAddr;
use std::sync::Arc;

type Result<T> = std::result::Result<T, ArrowError>;

/// Addresses whose texts are remembered, one to a place.
const PLACES: usize = 1_024;

/// The values of one leaf column of the row group at hand.
#[derive(Debug)]
pub struct Leaf {
    ty: DataType,
    /// What all values are so far; [`Same::Varied`] once two differ.
    same: Same,
    values: Store,
    /// Which values are there; empty until one is not.
    valid: Option<BooleanBufferBuilder>,
    len: usize,
    lists: Lists,
}

/// Most columns hold one value all through a row group, mostly null: these are
/// counted, not stored.
#[derive(Debug)]
enum Same {
    /// No value yet.
    Nothing,
    Null,
    Number(i64),
    Truth(bool),
    Text(Vec<u8>),
    /// Values stand in the store.
    Varied,
}

/// What every row of a leaf column holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Constant {
    /// A list that was not observed.
    Unobserved,
    /// A list without items, in a column of lists that may be unobserved or not.
    NoItems {
        /// It may.
        list_is_optional: bool,
    },
    /// No value.
    Null,
    /// A number; of a float its bits.
    Number(i64),
    /// A truth value.
    Truth(bool),
    /// A text, or bytes.
    Text(Vec<u8>),
}

#[derive(Debug)]
enum Store {
    Bits(BooleanBufferBuilder),
    /// Numbers; those of floats as their bits.
    Numbers(Vec<i64>),
    Texts(Texts),
}

/// Texts one after the other, and where each ends.
#[derive(Debug, Default)]
struct Texts {
    ends: Vec<i32>,
    bytes: Vec<u8>,
    /// Addresses written out lately: key, start and length of the text. Made
    /// when the first one comes.
    addresses: Vec<(u128, u32, u8)>,
    scratch: String,
}

/// Where each row's items begin, and whether the row has a list at all. As
/// with values, nothing is stored while all lists have no item, or all one.
#[derive(Debug, Default)]
struct Lists {
    rows: usize,
    /// What all lists are so far; none once two differ.
    same: Option<Shape>,
    starts: Vec<i32>,
    observed: Vec<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Unobserved,
    NoItems,
    OneItem,
}

impl Leaf {
    /// For values of this type.
    pub fn new(ty: &DataType) -> Self {
        Self {
            ty: ty.clone(),
            same: Same::Nothing,
            values: Store::new(ty),
            valid: None,
            len: 0,
            lists: Lists::default(),
        }
    }

    /// The next value is a number; of a float its bits.
    #[inline]
    pub fn number(&mut self, value: i64) {
        match &self.same {
            Same::Varied => self.push_number(value),
            Same::Number(same) if *same == value => self.len += 1,
            Same::Nothing => self.begin_with(Same::Number(value)),
            _ => {
                self.vary();
                self.push_number(value);
            }
        }
    }

    #[inline]
    fn push_number(&mut self, value: i64) {
        match &mut self.values {
            Store::Numbers(values) => values.push(value),
            _ => debug_assert!(false, "{} is no number", self.ty),
        }
        self.there(true);
    }

    /// The next value is a truth value.
    #[inline]
    pub fn boolean(&mut self, value: bool) {
        match &self.same {
            Same::Varied => self.push_truth(value),
            Same::Truth(same) if *same == value => self.len += 1,
            Same::Nothing => self.begin_with(Same::Truth(value)),
            _ => {
                self.vary();
                self.push_truth(value);
            }
        }
    }

    #[inline]
    fn push_truth(&mut self, value: bool) {
        match &mut self.values {
            Store::Bits(bits) => bits.append(value),
            _ => debug_assert!(false, "{} is no truth value", self.ty),
        }
        self.there(true);
    }

    /// The next value is a text, or bytes.
    #[inline]
    pub fn text(&mut self, text: &[u8]) {
        match &self.same {
            Same::Varied => self.push_text(text),
            Same::Text(same) if same == text => self.len += 1,
            Same::Nothing => self.begin_with(Same::Text(text.to_vec())),
            _ => {
                self.vary();
                self.push_text(text);
            }
        }
    }

    #[inline]
    fn push_text(&mut self, text: &[u8]) {
        match &mut self.values {
            Store::Texts(texts) => texts.push(text),
            _ => debug_assert!(false, "{} is no text", self.ty),
        }
        self.there(true);
    }

    /// The next value is an address, as text.
    #[inline]
    pub fn address(&mut self, address: IpAddr) {
        if !matches!(self.same, Same::Varied) {
            self.vary();
        }
        match &mut self.values {
            Store::Texts(texts) => texts.push_address(address),
            _ => debug_assert!(false, "{} is no address", self.ty),
        }
        self.there(true);
    }

    /// There is no value.
    #[inline]
    pub fn null(&mut self) {
        match &self.same {
            Same::Varied => self.push_null(),
            Same::Null => self.len += 1,
            Same::Nothing => self.begin_with(Same::Null),
            _ => {
                self.vary();
                self.push_null();
            }
        }
    }

    #[inline]
    fn push_null(&mut self) {
        match &mut self.values {
            Store::Bits(bits) => bits.append(false),
            Store::Numbers(values) => values.push(0),
            Store::Texts(texts) => texts.push(&[]),
        }
        self.there(false);
    }

    #[cold]
    fn begin_with(&mut self, same: Same) {
        self.same = same;
        self.len = 1;
    }

    /// The next value is another one: those so far are put into the store.
    #[cold]
    fn vary(&mut self) {
        let len = self.len;
        match (
            std::mem::replace(&mut self.same, Same::Varied),
            &mut self.values,
        ) {
            (Same::Null, values) => {
                match values {
                    Store::Bits(bits) => bits.append_n(len, false),
                    Store::Numbers(values) => values.resize(len, 0),
                    Store::Texts(texts) => texts.ends.resize(len, 0),
                }
                let mut valid = BooleanBufferBuilder::new(len + 1);
                valid.append_n(len, false);
                self.valid = Some(valid);
            }
            (Same::Number(value), Store::Numbers(values)) => values.resize(len, value),
            (Same::Truth(value), Store::Bits(bits)) => bits.append_n(len, value),
            (Same::Text(text), Store::Texts(texts)) => {
                (0..len).for_each(|_| texts.push(&text));
            }
            _ => debug_assert_eq!(len, 0, "{}", self.ty),
        }
    }

    #[inline]
    fn there(&mut self, is_there: bool) {
        if !is_there && self.valid.is_none() {
            let mut valid = BooleanBufferBuilder::new(self.len + 1);
            valid.append_n(self.len, true);
            self.valid = Some(valid);
        }
        if let Some(valid) = &mut self.valid {
            valid.append(is_there);
        }
        self.len += 1;
    }

    /// An item of a list comes: the first of its row, or a further one.
    #[inline]
    pub fn item(&mut self, is_first: bool) {
        if is_first {
            self.lists.begin(Shape::OneItem, self.len);
        } else if self.lists.same.is_some() {
            self.lists.vary();
        }
    }

    /// A row's list is empty, or was not observed.
    #[inline]
    pub fn no_items(&mut self, is_observed: bool) {
        let shape = if is_observed {
            Shape::NoItems
        } else {
            Shape::Unobserved
        };
        self.lists.begin(shape, self.len);
    }

    /// What every one of so many rows holds, if it is the same.
    fn constant(&self, rows: usize, is_list: bool, is_optional: bool) -> Option<Constant> {
        if is_list {
            if self.lists.rows != rows {
                return None;
            }
            match self.lists.same? {
                Shape::Unobserved => return Some(Constant::Unobserved),
                Shape::NoItems => {
                    return Some(Constant::NoItems {
                        list_is_optional: is_optional,
                    });
                }
                Shape::OneItem => {}
            }
        }
        if self.len != rows {
            return None;
        }
        match &self.same {
            Same::Nothing | Same::Varied => None,
            Same::Null => Some(Constant::Null),
            Same::Number(value) => Some(Constant::Number(*value)),
            Same::Truth(value) => Some(Constant::Truth(*value)),
            Same::Text(text) => Some(Constant::Text(text.clone())),
        }
    }

    /// Forgets values that need not be stored.
    fn forget(&mut self) {
        self.same = Same::Nothing;
        self.len = 0;
        self.lists = Lists::default();
    }

    /// The values so far as an array; the leaf goes on empty.
    fn take(&mut self) -> Result<ArrayRef> {
        if !matches!(self.same, Same::Varied) {
            self.vary();
        }
        self.same = Same::Nothing;
        let valid = self.valid.take();
        let nulls = valid.map(|mut valid| NullBuffer::new(valid.finish()));
        let next = self.values.next();
        let values = std::mem::replace(&mut self.values, next);
        self.len = 0;
        Ok(match (values, &self.ty) {
            (Store::Bits(mut bits), _) => Arc::new(BooleanArray::new(bits.finish(), nulls)),
            (Store::Texts(texts), DataType::Binary) => {
                let (ends, bytes) = texts.into_parts();
                Arc::new(BinaryArray::try_new(ends, bytes, nulls)?)
            }
            (Store::Texts(texts), _) => {
                let (ends, bytes) = texts.into_parts();
                Arc::new(StringArray::try_new(ends, bytes, nulls)?)
            }
            (Store::Numbers(values), ty) => numbers(values, ty, nulls)?,
        })
    }
}

impl Lists {
    #[inline]
    fn begin(&mut self, shape: Shape, items: usize) {
        if self.rows == 0 {
            self.same = Some(shape);
        }
        if self.same != Some(shape) {
            self.push(shape, items);
        }
        self.rows += 1;
    }

    fn push(&mut self, shape: Shape, items: usize) {
        if self.same.is_some() {
            self.vary();
        }
        // A row group's items are far fewer.
        self.starts.push(i32::try_from(items).unwrap_or(i32::MAX));
        self.observed.push(shape != Shape::Unobserved);
    }

    /// The next list is another one: those so far are written down.
    #[cold]
    fn vary(&mut self) {
        let Some(same) = self.same.take() else {
            return;
        };
        self.observed.resize(self.rows, same != Shape::Unobserved);
        match same {
            Shape::OneItem => {
                let rows = i32::try_from(self.rows).unwrap_or(i32::MAX);
                self.starts.extend(0..rows);
            }
            Shape::NoItems | Shape::Unobserved => self.starts.resize(self.rows, 0),
        }
    }
}

impl Store {
    fn new(ty: &DataType) -> Self {
        match ty {
            DataType::Boolean => Self::Bits(BooleanBufferBuilder::new(0)),
            DataType::Utf8 | DataType::Binary => Self::Texts(Texts::default()),
            _ => Self::Numbers(Vec::new()),
        }
    }

    /// An empty one with room for as much, since the next row group is like this one.
    fn next(&mut self) -> Self {
        match self {
            Self::Bits(bits) => Self::Bits(BooleanBufferBuilder::new(bits.len())),
            Self::Numbers(values) => Self::Numbers(Vec::with_capacity(values.len())),
            Self::Texts(texts) => {
                let mut addresses = std::mem::take(&mut texts.addresses);
                addresses.clear();
                Self::Texts(Texts {
                    ends: Vec::with_capacity(texts.ends.len()),
                    bytes: Vec::with_capacity(texts.bytes.len()),
                    addresses,
                    scratch: std::mem::take(&mut texts.scratch),
                })
            }
        }
    }
}

impl Texts {
    #[inline]
    fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.end();
    }

    fn end(&mut self) {
        // The writer ends a row group long before.
        let end = i32::try_from(self.bytes.len()).unwrap_or(i32::MAX);
        self.ends.push(end);
    }

    /// An address is written out only where its text does not stand already.
    #[inline]
    fn push_address(&mut self, address: IpAddr) {
        let key = match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        if self.addresses.is_empty() {
            self.addresses.resize(PLACES, (0, 0, 0));
        }
        let mixed = (key as u64 ^ (key >> 64) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let at = (mixed >> 54) as usize % PLACES;
        if let Some(&(known, start, len)) = self.addresses.get(at)
            && known == key
            && len > 0
        {
            let start = start as usize;
            self.bytes
                .extend_from_within(start..start + usize::from(len));
            self.end();
            return;
        }
        let start = self.bytes.len();
        self.scratch.clear();
        super::column::put_address(&mut self.scratch, address);
        self.bytes.extend_from_slice(self.scratch.as_bytes());
        let len = u8::try_from(self.scratch.len());
        if let (Some(place), Ok(start), Ok(len)) =
            (self.addresses.get_mut(at), u32::try_from(start), len)
        {
            *place = (key, start, len);
        }
        self.end();
    }

    fn into_parts(self) -> (OffsetBuffer<i32>, Buffer) {
        let mut offsets = Vec::with_capacity(self.ends.len() + 1);
        offsets.push(0);
        offsets.extend(self.ends);
        (
            OffsetBuffer::new(ScalarBuffer::from(offsets)),
            Buffer::from_vec(self.bytes),
        )
    }
}

/// Numbers as the array of their type.
fn numbers(values: Vec<i64>, ty: &DataType, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
    /// What was pushed had this type before.
    fn narrow<T: arrow_buffer::ArrowNativeType>(
        values: &[i64],
        of: impl Fn(i64) -> T,
    ) -> ScalarBuffer<T> {
        values
            .iter()
            .map(|&value| of(value))
            .collect::<Vec<T>>()
            .into()
    }
    Ok(match ty {
        DataType::Int8 => Arc::new(Int8Array::try_new(narrow(&values, |v| v as i8), nulls)?),
        DataType::Int16 => Arc::new(Int16Array::try_new(narrow(&values, |v| v as i16), nulls)?),
        DataType::Int32 => Arc::new(Int32Array::try_new(narrow(&values, |v| v as i32), nulls)?),
        DataType::Float32 => {
            let of = |bits: i64| f32::from_bits(bits as u32);
            Arc::new(Float32Array::try_new(narrow(&values, of), nulls)?)
        }
        DataType::Float64 => {
            let of = |bits: i64| f64::from_bits(bits.cast_unsigned());
            Arc::new(Float64Array::try_new(narrow(&values, of), nulls)?)
        }
        DataType::Timestamp(..) => Arc::new(
            TimestampNanosecondArray::try_new(values.into(), nulls)?.with_data_type(ty.clone()),
        ),
        _ => Arc::new(Int64Array::try_new(values.into(), nulls)?),
    })
}

/// The leaves of a column of this type.
pub fn leaves(ty: &DataType) -> Vec<Leaf> {
    match ty {
        DataType::List(field) => leaves(field.data_type()),
        DataType::Struct(fields) => fields
            .iter()
            .flat_map(|field| leaves(field.data_type()))
            .collect(),
        ty => vec![Leaf::new(ty)],
    }
}

/// What every one of so many rows holds, leaf by leaf, if all leaves of a column
/// hold the same in each; they go on empty then.
pub fn take_constants(field: &Field, leaves: &mut [Leaf], rows: usize) -> Option<Vec<Constant>> {
    let is_list = matches!(field.data_type(), DataType::List(_));
    let constants: Vec<Constant> = leaves
        .iter()
        .map(|leaf| leaf.constant(rows, is_list, field.is_nullable()))
        .collect::<Option<_>>()?;
    // What a column must have is looked after where arrays are made.
    let is_missing = |constant: &Constant| match constant {
        Constant::Unobserved => true,
        Constant::Null => !is_list,
        _ => false,
    };
    if !field.is_nullable() && constants.iter().any(is_missing) {
        return None;
    }
    leaves.iter_mut().for_each(Leaf::forget);
    Some(constants)
}

/// What was handed over since the last time, as a column's array.
///
/// # Errors
///
/// When values were handed over that the type does not have.
pub fn take(field: &Field, leaves: &mut [Leaf]) -> Result<ArrayRef> {
    let DataType::List(item) = field.data_type() else {
        return leaves.first_mut().map_or_else(
            || Err(ArrowError::SchemaError("a column without leaves".into())),
            Leaf::take,
        );
    };
    let mut end = 0;
    let mut lists = Lists::default();
    if let Some(leaf) = leaves.first_mut() {
        end = leaf.len;
        lists = std::mem::take(&mut leaf.lists);
        lists.vary();
    }
    let mut arrays = Vec::with_capacity(leaves.len());
    for leaf in leaves {
        leaf.lists = Lists::default();
        arrays.push(leaf.take()?);
    }
    let values: ArrayRef = match item.data_type() {
        DataType::Struct(fields) => Arc::new(StructArray::try_new(fields.clone(), arrays, None)?),
        _ => arrays.swap_remove(0),
    };
    let mut offsets = lists.starts;
    offsets.push(i32::try_from(end).unwrap_or(i32::MAX));
    let nulls = (!lists.observed.iter().all(|&there| there)).then(|| lists.observed.into());
    Ok(Arc::new(ListArray::try_new(
        Arc::clone(item),
        OffsetBuffer::new(offsets.into()),
        values,
        nulls,
    )?))
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
