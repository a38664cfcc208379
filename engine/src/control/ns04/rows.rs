//! Rows of a table as detectors see them: a record batch of the columns that
//! they asked for, texts that repeat as numbers.
//!
//! A column that a run of an older version lacks reads as null everywhere:
//! what was not measured was not observed.

use crate::evidence::{FlowId, PacketRef};
use crate::time::CaptureTime;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampNanosecondType,
};
use arrow_array::{
    Array, BooleanArray, DictionaryArray, ListArray, PrimitiveArray, RecordBatch, StringArray,
};
use arrow_schema::DataType;
use foldhash::quality::RandomState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

/// What a detector wants of one table. Time, flow and packet of a row
/// ([`Rows::seen`]) are always there.
#[derive(Clone, Copy, Debug)]
pub struct Columns {
    /// The table: `flows`, `certificates`, `tls_handshakes`, `dns_queries` or
    /// `http_transactions`.
    pub table: &'static str,
    /// Columns that are read as they are.
    pub plain: &'static [&'static str],
    /// Text columns that are read as [`NameId`]s.
    pub names: &'static [&'static str],
}

/// A text that was numbered: equal texts of all tables have one number. Numbers
/// depend on the order of rows, so what is put out is sorted by the texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameId(u32);

impl NameId {
    /// Null in the table, or one text more than `limits.behaviour_names`.
    pub const NONE: Self = Self(u32::MAX);

    /// Whether there is a text.
    pub const fn is_some(self) -> bool {
        self.0 != u32::MAX
    }

    /// Its place among the texts, from 0; for [`Self::NONE`] beyond them.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The text at a place.
    pub(super) const fn at(place: u32) -> Self {
        Self(place)
    }

    /// Its place as a number of 32 bits.
    pub(super) const fn number(self) -> u32 {
        self.0
    }
}

/// The numbered texts.
#[derive(Debug)]
pub struct Names {
    hasher: RandomState,
    /// Numbers with half a hash: a growing table then reads no text again.
    known: HashTable<(u32, u32)>,
    /// Where each text begins, counted over all chunks.
    starts: Vec<u32>,
    /// Texts, each behind its length in two bytes and whole in one chunk: what
    /// grew in one piece would be there twice whenever it grows.
    chunks: Vec<Vec<u8>>,
    most: usize,
    refused: u64,
}

/// Bytes of a chunk of texts; the longest text fits.
const CHUNK: usize = 1 << 18;
/// Bytes that texts may take, for each that may be numbered.
const BYTES_EACH: usize = 32;

impl Names {
    /// Numbers at most so many texts.
    pub fn new(most: usize) -> Self {
        Self {
            hasher: RandomState::default(),
            known: HashTable::new(),
            starts: Vec::new(),
            chunks: Vec::new(),
            most: most.min(u32::MAX as usize / BYTES_EACH),
            refused: 0,
        }
    }

    /// The text of a number; empty for [`NameId::NONE`].
    pub fn text(&self, id: NameId) -> &str {
        self.at(id.index()).unwrap_or_default()
    }

    fn at(&self, index: usize) -> Option<&str> {
        let start = *self.starts.get(index)? as usize;
        let rest = self.chunks.get(start / CHUNK)?.get(start % CHUNK..)?;
        let (len, rest) = rest.split_first_chunk::<2>()?;
        let text = rest.get(..usize::from(u16::from_le_bytes(*len)))?;
        std::str::from_utf8(text).ok()
    }

    /// The number of a text; [`NameId::NONE`] when there is no room for it.
    pub fn number(&mut self, text: &str) -> NameId {
        let half = self.hasher.hash_one(text) as u32;
        let is_it = |&(of, index): &(u32, u32)| of == half && self.at(index as usize) == Some(text);
        if let Some(&(_, index)) = self.known.find(spread(half), is_it) {
            return NameId(index);
        }
        let Some(index) = self.keep(text) else {
            self.refused += 1;
            return NameId::NONE;
        };
        let known = &mut self.known;
        known.insert_unique(spread(half), (half, index), |&(of, _)| spread(of));
        NameId(index)
    }

    /// Keeps a text that is new; `None` when there is no room.
    fn keep(&mut self, text: &str) -> Option<u32> {
        let index = u32::try_from(self.starts.len()).ok()?;
        let len = u16::try_from(text.len()).ok()?;
        let needs = text.len() + 2;
        let has_room = |chunk: &Vec<u8>| CHUNK - chunk.len() >= needs;
        let is_full = self.starts.len() >= self.most;
        if is_full || !self.chunks.last().is_some_and(has_room) {
            let most_chunks = (self.most * BYTES_EACH).div_ceil(CHUNK);
            if is_full || self.chunks.len() >= most_chunks {
                return None;
            }
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let before = (self.chunks.len() - 1) * CHUNK;
        let chunk = self.chunks.last_mut()?;
        let start = u32::try_from(before + chunk.len()).ok()?;
        chunk.extend_from_slice(&len.to_le_bytes());
        chunk.extend_from_slice(text.as_bytes());
        self.starts.push(start);
        Some(index)
    }

    /// How many texts there are.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// How often there was no room for one.
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

/// A hash of 64 bits from half of one: tables look at both ends of it.
pub(super) fn spread(half: u32) -> u64 {
    u64::from(half) << 32 | u64::from(half)
}

/// Some rows of one table, in the order of the table: by time within a row
/// group, by the end of flows across them. Detectors must not depend on it.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    table: &'static str,
    batch: &'a RecordBatch,
    ids: &'a [(&'static str, Vec<NameId>)],
    names: &'a Names,
    first_capture: u32,
}

impl<'a> Rows<'a> {
    /// A batch of `table` with its numbered columns. `first_capture` is added to
    /// the rows' own: several runs have their files one after the other.
    pub fn new(
        table: &'static str,
        batch: &'a RecordBatch,
        ids: &'a [(&'static str, Vec<NameId>)],
        names: &'a Names,
        first_capture: u32,
    ) -> Self {
        Self {
            table,
            batch,
            ids,
            names,
            first_capture,
        }
    }

    /// The table.
    pub fn table(&self) -> &'static str {
        self.table
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.batch.num_rows()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The texts behind the numbers.
    pub fn names(&self) -> &'a Names {
        self.names
    }

    /// A column of [`Columns::names`], as long as there are rows.
    pub fn ids(&self, column: &str) -> Ids<'a> {
        let found = self.ids.iter().find(|(name, _)| *name == column);
        Ids(found.map_or(&[], |(_, ids)| ids.as_slice()))
    }

    /// A column of whole numbers or times (nanoseconds since the epoch).
    pub fn ints(&self, column: &str) -> Ints<'a> {
        let Some(array) = self.batch.column_by_name(column) else {
            return Ints::Absent;
        };
        match array.data_type() {
            DataType::Int8 => Ints::I8(array.as_primitive()),
            DataType::Int16 => Ints::I16(array.as_primitive()),
            DataType::Int32 => Ints::I32(array.as_primitive()),
            DataType::Int64 => Ints::I64(array.as_primitive()),
            DataType::Timestamp(..) => array
                .as_primitive_opt::<TimestampNanosecondType>()
                .map_or(Ints::Absent, Ints::Time),
            _ => Ints::Absent,
        }
    }

    /// A column of fractions.
    pub fn floats(&self, column: &str) -> Floats<'a> {
        let Some(array) = self.batch.column_by_name(column) else {
            return Floats::Absent;
        };
        match array.data_type() {
            DataType::Float32 => Floats::F32(array.as_primitive()),
            DataType::Float64 => Floats::F64(array.as_primitive()),
            _ => Floats::Absent,
        }
    }

    /// A column of truth values.
    pub fn flags(&self, column: &str) -> Flags<'a> {
        let array = self.batch.column_by_name(column);
        Flags(array.and_then(|array| array.as_boolean_opt()))
    }

    /// A column of texts.
    pub fn texts(&self, column: &str) -> Texts<'a> {
        let Some(array) = self.batch.column_by_name(column) else {
            return Texts::Absent;
        };
        // Another detector may have asked for the same column as numbers.
        match (array.as_string_opt::<i32>(), array.as_dictionary_opt()) {
            (Some(array), _) => Texts::Plain(array),
            (None, Some(array)) => match array.values().as_string_opt::<i32>() {
                Some(values) => Texts::Numbered(array, values),
                None => Texts::Absent,
            },
            (None, None) => Texts::Absent,
        }
    }

    /// A column of lists of texts.
    pub fn text_lists(&self, column: &str) -> Lists<'a> {
        let array = self.batch.column_by_name(column);
        Lists(array.and_then(|array| array.as_list_opt::<i32>()))
    }

    /// Columns that say where each row stands in the capture.
    pub fn places(&self) -> Places<'a> {
        Places {
            first_capture: self.first_capture,
            capture: self.ints("capture"),
            flow_id: self.ints("flow_id"),
            ts: self.ints("ts"),
            frame: self.ints("first_frame"),
            offset: self.ints("first_offset"),
        }
    }
}

/// When, in which flow, in which packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    /// Packet time.
    pub ts: CaptureTime,
    /// The flow.
    pub flow_id: FlowId,
    /// The packet.
    pub at: PacketRef,
}

/// Where rows stand in the capture.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    first_capture: u32,
    capture: Ints<'a>,
    flow_id: Ints<'a>,
    ts: Ints<'a>,
    frame: Ints<'a>,
    offset: Ints<'a>,
}

impl Places<'_> {
    /// Of one row.
    pub fn get(&self, row: usize) -> Seen {
        let count = |value: Option<i64>| u64::try_from(value.unwrap_or_default()).unwrap_or(0);
        Seen {
            ts: CaptureTime::from_nanos(self.ts.or_zero(row)),
            flow_id: FlowId(self.flow_id.or_zero(row)),
            at: PacketRef {
                capture: self.capture(row),
                frame: count(self.frame.get(row)),
                offset: count(self.offset.get(row)),
            },
        }
    }

    /// Its time, nanoseconds since the epoch.
    pub fn ts_ns(&self, row: usize) -> i64 {
        self.ts.or_zero(row)
    }

    /// Its file.
    pub fn capture(&self, row: usize) -> u32 {
        let own = u32::try_from(self.capture.or_zero(row)).unwrap_or_default();
        self.first_capture.saturating_add(own)
    }
}

/// Numbered texts of a column.
#[derive(Clone, Copy, Debug)]
pub struct Ids<'a>(&'a [NameId]);

impl Ids<'_> {
    /// Of one row.
    pub fn get(&self, row: usize) -> NameId {
        self.0.get(row).copied().unwrap_or(NameId::NONE)
    }
}

/// Whole numbers of a column.
#[derive(Clone, Copy, Debug)]
pub enum Ints<'a> {
    /// The run has no such column.
    Absent,
    /// 8 bits.
    I8(&'a PrimitiveArray<Int8Type>),
    /// 16 bits.
    I16(&'a PrimitiveArray<Int16Type>),
    /// 32 bits.
    I32(&'a PrimitiveArray<Int32Type>),
    /// 64 bits.
    I64(&'a PrimitiveArray<Int64Type>),
    /// Nanoseconds since the epoch.
    Time(&'a PrimitiveArray<TimestampNanosecondType>),
}

impl Ints<'_> {
    /// Of one row; `None` for null.
    pub fn get(&self, row: usize) -> Option<i64> {
        fn value<T: arrow_array::ArrowPrimitiveType>(
            array: &PrimitiveArray<T>,
            row: usize,
        ) -> Option<T::Native> {
            (row < array.len() && array.is_valid(row)).then(|| array.value(row))
        }
        match self {
            Self::Absent => None,
            Self::I8(array) => value(array, row).map(i64::from),
            Self::I16(array) => value(array, row).map(i64::from),
            Self::I32(array) => value(array, row).map(i64::from),
            Self::I64(array) => value(array, row),
            Self::Time(array) => value(array, row),
        }
    }

    /// Of one row; 0 for null.
    pub fn or_zero(&self, row: usize) -> i64 {
        self.get(row).unwrap_or_default()
    }

    /// A count or size of one row; 0 for null.
    pub fn count(&self, row: usize) -> u64 {
        u64::try_from(self.or_zero(row)).unwrap_or_default()
    }
}

/// Fractions of a column.
#[derive(Clone, Copy, Debug)]
pub enum Floats<'a> {
    /// The run has no such column.
    Absent,
    /// 32 bits.
    F32(&'a PrimitiveArray<Float32Type>),
    /// 64 bits.
    F64(&'a PrimitiveArray<Float64Type>),
}

impl Floats<'_> {
    /// Of one row; `None` for null.
    pub fn get(&self, row: usize) -> Option<f64> {
        match self {
            Self::Absent => None,
            Self::F32(array) => {
                (row < array.len() && array.is_valid(row)).then(|| f64::from(array.value(row)))
            }
            Self::F64(array) => {
                (row < array.len() && array.is_valid(row)).then(|| array.value(row))
            }
        }
    }
}

/// Truth values of a column.
#[derive(Clone, Copy, Debug)]
pub struct Flags<'a>(Option<&'a BooleanArray>);

impl Flags<'_> {
    /// Of one row; `None` for null.
    pub fn get(&self, row: usize) -> Option<bool> {
        let array = self.0?;
        (row < array.len() && array.is_valid(row)).then(|| array.value(row))
    }
}

/// Texts of a column.
#[derive(Clone, Copy, Debug)]
pub enum Texts<'a> {
    /// The run has no such column.
    Absent,
    /// As they stand in the table.
    Plain(&'a StringArray),
    /// By number, where they repeat.
    Numbered(&'a DictionaryArray<Int32Type>, &'a StringArray),
}

impl<'a> Texts<'a> {
    /// Of one row; `None` for null.
    pub fn get(&self, row: usize) -> Option<&'a str> {
        let value = |array: &'a StringArray, row: usize| {
            (row < array.len() && array.is_valid(row)).then(|| array.value(row))
        };
        match *self {
            Self::Absent => None,
            Self::Plain(array) => value(array, row),
            Self::Numbered(array, values) => {
                if row >= array.len() || array.is_null(row) {
                    return None;
                }
                let number = array.keys().value(row);
                value(values, usize::try_from(number).ok()?)
            }
        }
    }
}

/// Lists of texts of a column.
#[derive(Clone, Copy, Debug)]
pub struct Lists<'a>(Option<&'a ListArray>);

impl Lists<'_> {
    /// Whether the list of one row has this text; `None` for null.
    pub fn has(&self, row: usize, text: &str) -> Option<bool> {
        let array = self.0?;
        if row >= array.len() || array.is_null(row) {
            return None;
        }
        let values = array.value(row);
        let values = values.as_string_opt::<i32>()?;
        Some(values.iter().any(|value| value == Some(text)))
    }

    /// Calls `each` with the texts of one row.
    pub fn each(&self, row: usize, mut each: impl FnMut(&str)) {
        let Some(array) = self
            .0
            .filter(|array| row < array.len() && array.is_valid(row))
        else {
            return;
        };
        let items = array.value(row);
        let Some(texts) = items.as_string_opt::<i32>() else {
            return;
        };
        for index in 0..texts.len() {
            if texts.is_valid(index) {
                each(texts.value(index));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_have_one_number_and_the_limit_holds() {
        let mut names = Names::new(3);
        let ids: Vec<_> = ["a", "bc", "a", "", "d", "bc"]
            .iter()
            .map(|text| names.number(text))
            .collect();
        assert_eq!(ids[0], ids[2]);
        assert_eq!(ids[1], ids[5]);
        assert_eq!(ids[4], NameId::NONE);
        let texts: Vec<_> = ids.iter().map(|&id| names.text(id)).collect();
        assert_eq!(texts, ["a", "bc", "a", "", "", "bc"]);
        assert_eq!((names.len(), names.refused()), (3, 1));
    }

    #[test]
    fn texts_are_bounded_by_their_bytes_as_well() {
        // Two chunks: the limit of ten thousand texts of 32 bytes is beyond one.
        let mut names = Names::new(10_000);
        let long = |n: u32| format!("{n:0>60000}");
        let ids: Vec<_> = (0..10).map(|n| names.number(&long(n))).collect();
        let kept = ids.iter().filter(|id| id.is_some()).count();
        assert_eq!((kept, names.refused()), (8, 2));
        for (n, id) in (0..8).zip(&ids) {
            assert_eq!(names.text(*id), long(n));
            assert_eq!(names.number(&long(n)), *id);
        }
        assert!(!names.number(&long(0).repeat(2)).is_some(), "too long");
    }
}
