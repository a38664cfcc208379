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
    values: Store,
    /// Which values are there; empty until one is not.
    valid: Option<BooleanBufferBuilder>,
    len: usize,
    lists: Lists,
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

/// Where each row's items begin, and whether the row has a list at all.
#[derive(Debug, Default)]
struct Lists {
    starts: Vec<i32>,
    observed: Vec<bool>,
}

impl Leaf {
    /// For values of this type.
    pub fn new(ty: &DataType) -> Self {
        Self {
            ty: ty.clone(),
            values: Store::new(ty),
            valid: None,
            len: 0,
            lists: Lists::default(),
        }
    }

    /// The next value is a number; of a float its bits.
    #[inline]
    pub fn number(&mut self, value: i64) {
        match &mut self.values {
            Store::Numbers(values) => values.push(value),
            _ => debug_assert!(false, "{} is no number", self.ty),
        }
        self.there(true);
    }

    /// The next value is a truth value.
    #[inline]
    pub fn boolean(&mut self, value: bool) {
        match &mut self.values {
            Store::Bits(bits) => bits.append(value),
            _ => debug_assert!(false, "{} is no truth value", self.ty),
        }
        self.there(true);
    }

    /// The next value is a text, or bytes.
    #[inline]
    pub fn text(&mut self, text: &[u8]) {
        match &mut self.values {
            Store::Texts(texts) => texts.push(text),
            _ => debug_assert!(false, "{} is no text", self.ty),
        }
        self.there(true);
    }

    /// The next value is an address, as text.
    #[inline]
    pub fn address(&mut self, address: IpAddr) {
        match &mut self.values {
            Store::Texts(texts) => texts.push_address(address),
            _ => debug_assert!(false, "{} is no address", self.ty),
        }
        self.there(true);
    }

    /// There is no value.
    #[inline]
    pub fn null(&mut self) {
        match &mut self.values {
            Store::Bits(bits) => bits.append(false),
            Store::Numbers(values) => values.push(0),
            Store::Texts(texts) => texts.push(&[]),
        }
        self.there(false);
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
            self.begin(true);
        }
    }

    /// A row's list is empty, or was not observed.
    #[inline]
    pub fn no_items(&mut self, is_observed: bool) {
        self.begin(is_observed);
    }

    fn begin(&mut self, is_observed: bool) {
        // A row group's items are far fewer.
        self.lists
            .starts
            .push(i32::try_from(self.len).unwrap_or(i32::MAX));
        self.lists.observed.push(is_observed);
    }

    /// The values so far as an array; the leaf goes on empty.
    fn take(&mut self) -> Result<ArrayRef> {
        let valid = self.valid.take();
        let nulls = valid.map(|mut valid| NullBuffer::new(valid.finish()));
        let values = std::mem::replace(&mut self.values, Store::new(&self.ty));
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

impl Store {
    fn new(ty: &DataType) -> Self {
        match ty {
            DataType::Boolean => Self::Bits(BooleanBufferBuilder::new(0)),
            DataType::Utf8 | DataType::Binary => Self::Texts(Texts::default()),
            _ => Self::Numbers(Vec::new()),
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
