//! The chunk of a column that holds one value all through a row group: encoded
//! once by the parquet crate, and put into every row group that is like it.

use super::encode::Constant;
use bytes::Bytes;
use parquet::column::writer::{ColumnCloseResult, ColumnWriter, get_column_writer};
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterPropertiesPtr;
use parquet::file::writer::{SerializedPageWriter, SerializedRowGroupWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;
use std::io::Write;
use std::sync::Arc;

/// An encoded chunk and what it holds.
#[derive(Debug)]
pub struct ConstantChunk {
    rows: usize,
    value: Constant,
    bytes: Bytes,
    close: ColumnCloseResult,
}

impl ConstantChunk {
    /// So many rows of a leaf column, each with this value.
    ///
    /// # Errors
    ///
    /// When the column's type has no such value.
    pub fn encode(
        column: &ColumnDescPtr,
        properties: &WriterPropertiesPtr,
        rows: usize,
        value: Constant,
    ) -> Result<Self, ParquetError> {
        let mut bytes = TrackedWrite::new(Vec::new());
        let pages = Box::new(SerializedPageWriter::new(&mut bytes));
        let mut writer = get_column_writer(Arc::clone(column), Arc::clone(properties), pages);
        fill(&mut writer, column, rows, &value)?;
        let close = writer.close()?;
        Ok(Self {
            rows,
            value,
            bytes: bytes.into_inner()?.into(),
            close,
        })
    }

    /// Whether it is that of so many rows with this value.
    pub fn is(&self, rows: usize, value: &Constant) -> bool {
        self.rows == rows && self.value == *value
    }

    /// Puts it into a row group.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn append_to<W: Write + Send>(
        &self,
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<(), ParquetError> {
        group.append_column(&self.bytes, self.close.clone())
    }
}

fn fill(
    writer: &mut ColumnWriter<'_>,
    column: &ColumnDescPtr,
    rows: usize,
    value: &Constant,
) -> Result<(), ParquetError> {
    let (most, in_list) = (column.max_def_level(), column.max_rep_level() > 0);
    // How much of the path is there: of `optional list of items` nothing, the
    // list, or an item; of an optional value in it one step more.
    let is_there = match value {
        Constant::Unobserved => 0,
        Constant::NoItems { list_is_optional } => i16::from(*list_is_optional),
        Constant::Null => most - 1,
        Constant::Number(_) | Constant::Truth(_) | Constant::Text(_) => most,
    };
    let definition = (most > 0).then(|| vec![is_there; rows]);
    let repetition = in_list.then(|| vec![0; rows]);
    let levels = (definition.as_deref(), repetition.as_deref());
    macro_rules! write {
        ($writer:expr, $value:expr) => {{
            let values = $value.map(|value| vec![value; rows]).unwrap_or_default();
            $writer.write_batch(&values, levels.0, levels.1)?
        }};
    }
    let number = match value {
        Constant::Number(number) => Some(*number),
        _ => None,
    };
    match writer {
        ColumnWriter::Int32ColumnWriter(writer) => {
            write!(writer, number.map(|number| number as i32))
        }
        ColumnWriter::Int64ColumnWriter(writer) => write!(writer, number),
        ColumnWriter::FloatColumnWriter(writer) => {
            write!(writer, number.map(|bits| f32::from_bits(bits as u32)))
        }
        ColumnWriter::DoubleColumnWriter(writer) => {
            write!(
                writer,
                number.map(|bits| f64::from_bits(bits.cast_unsigned()))
            )
        }
        ColumnWriter::BoolColumnWriter(writer) => {
            let truth = match value {
                Constant::Truth(truth) => Some(*truth),
                _ => None,
            };
            write!(writer, truth)
        }
        ColumnWriter::ByteArrayColumnWriter(writer) => {
            let text = match value {
                Constant::Text(text) => Some(ByteArray::from(text.clone())),
                _ => None,
            };
            write!(writer, text)
        }
        _ => {
            return Err(ParquetError::NYI(format!(
                "{} holds values of no kind that tables have",
                column.path()
            )));
        }
    };
    Ok(())
}
