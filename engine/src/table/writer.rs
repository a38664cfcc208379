//! Rows to one Parquet file: cut into row groups by a rule that depends on the
//! rows alone, sorted by time within each, columns built and encoded in
//! parallel. The same rows give the same bytes for any number of threads.

use super::column::{Column, Layout};
use crate::error::{Error, Result};
use arrow_array::Array;
use arrow_schema::{Schema, SchemaRef};
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;
use rayon::prelude::*;
use std::io::Write;
use std::sync::Arc;

/// The version of every table's schema, in each file's metadata.
pub const SCHEMA_VERSION: u32 = 1;

/// A kind of row, and the table made of it.
pub trait Row: Send + Sync + Sized + 'static {
    /// The table's name; its file is `<name>.parquet`.
    const TABLE: &'static str;
    /// What the table holds, in one or two sentences.
    const DOC: &'static str;
    /// Rows after which a row group ends.
    const GROUP_ROWS: usize;

    /// The columns, in the file's order.
    fn columns() -> Vec<Column<Self>>;

    /// What rows are sorted by within a row group: time, then something that
    /// tells rows of one time apart. Rows that are equal keep their order.
    fn sort_key(&self) -> (i64, i64);

    /// Bytes that the row holds outside of itself, roughly: a row group also
    /// ends when these add up to [`GROUP_BYTES`], so that hostile rows stay
    /// within the budget.
    fn heap_bytes(&self) -> usize {
        0
    }
}

/// Heap bytes of rows after which a row group ends early.
pub const GROUP_BYTES: usize = 16 << 20;

/// Where a table's bytes go. It is told where row groups begin and end, so that
/// it can hash each without reading the file again.
pub trait Sink: Write + Send {
    /// The bytes that follow belong to a row group.
    ///
    /// # Errors
    ///
    /// When what came before cannot be written.
    fn begin_group(&mut self) -> std::io::Result<()>;
    /// The row group has ended.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    fn end_group(&mut self, rows: u64) -> std::io::Result<()>;
}

impl Sink for Vec<u8> {
    fn begin_group(&mut self) -> std::io::Result<()> {
        Ok(())
    }
    fn end_group(&mut self, _rows: u64) -> std::io::Result<()> {
        Ok(())
    }
}

/// What every file says about how it came to be; nothing here differs between
/// two runs over the same input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileMeta {
    /// Version of the tool.
    pub tool_version: String,
    /// SHA-256 of the policy, hex.
    pub policy_sha256: String,
}

/// Writes one table.
pub struct TableWriter<R: Row, W: Sink> {
    columns: Vec<Column<R>>,
    schema: SchemaRef,
    file: SerializedFileWriter<W>,
    factory: ArrowRowGroupWriterFactory,
    rows: Vec<R>,
    heap_bytes: usize,
    groups: usize,
    written: u64,
}

impl<R: Row, W: Sink> std::fmt::Debug for TableWriter<R, W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableWriter")
            .field("table", &R::TABLE)
            .field("rows", &self.rows())
            .finish_non_exhaustive()
    }
}

impl<R: Row, W: Sink> TableWriter<R, W> {
    /// Begins a file in `sink`.
    ///
    /// # Errors
    ///
    /// When `sink` cannot be written.
    pub fn new(sink: W, meta: &FileMeta) -> Result<Self> {
        let columns = R::columns();
        let schema = Arc::new(Schema::new(
            columns.iter().map(Column::field).collect::<Vec<_>>(),
        ));
        let parquet_schema = ArrowSchemaConverter::new()
            .schema_root(R::TABLE)
            .convert(&schema)
            .map_err(table_error::<R>)?;
        let file = SerializedFileWriter::new(
            sink,
            parquet_schema.root_schema_ptr(),
            properties(&columns, meta),
        )
        .map_err(table_error::<R>)?;
        let factory = ArrowRowGroupWriterFactory::new(&file, Arc::clone(&schema));
        Ok(Self {
            columns,
            schema,
            file,
            factory,
            rows: Vec::new(),
            heap_bytes: 0,
            groups: 0,
            written: 0,
        })
    }

    /// Takes one row; writes a row group when there are enough.
    ///
    /// # Errors
    ///
    /// When the sink cannot be written.
    pub fn push(&mut self, row: R) -> Result<()> {
        if self.rows.capacity() == self.rows.len() {
            // In one step: growing by doubling would copy what are mostly large rows.
            let wanted = if self.rows.len() < 256 {
                256
            } else {
                R::GROUP_ROWS
            };
            self.rows
                .reserve_exact(wanted.saturating_sub(self.rows.len()).max(1));
        }
        self.heap_bytes = self.heap_bytes.saturating_add(row.heap_bytes());
        self.rows.push(row);
        if self.rows.len() >= R::GROUP_ROWS || self.heap_bytes >= GROUP_BYTES {
            self.flush_group()?;
        }
        Ok(())
    }

    /// Rows taken so far.
    pub fn rows(&self) -> u64 {
        self.written + self.rows.len() as u64
    }

    /// Writes what is left and the footer; gives the sink back with the number of rows.
    ///
    /// # Errors
    ///
    /// When the sink cannot be written.
    pub fn finish(mut self) -> Result<(W, u64)> {
        self.flush_group()?;
        let written = self.written;
        let sink = self.file.into_inner().map_err(table_error::<R>)?;
        Ok((sink, written))
    }

    fn flush_group(&mut self) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        // Stable, so that the order of equal rows is the order of arrival.
        self.rows.par_sort_by_cached_key(R::sort_key);
        let rows = self.rows.as_slice();
        let count = rows.len() as u64;
        let mut leaves = self
            .factory
            .create_column_writers(self.groups)
            .map_err(table_error::<R>)?
            .into_iter();
        let jobs: Vec<_> = self
            .columns
            .iter()
            .zip(self.schema.fields())
            .map(|(column, field)| {
                let writers: Vec<_> = leaves
                    .by_ref()
                    .take(leaf_count(field.data_type()))
                    .collect();
                (column, field, writers)
            })
            .collect();
        let chunks: Vec<Vec<ArrowColumnChunk>> = jobs
            .into_par_iter()
            .with_max_len(1)
            .map(|(column, field, mut writers)| {
                let array = column.build(rows);
                debug_assert_eq!(array.data_type(), field.data_type(), "{}", column.name);
                for (leaf, writer) in compute_leaves(field, &array)?.iter().zip(&mut writers) {
                    writer.write(leaf)?;
                }
                writers.into_iter().map(|writer| writer.close()).collect()
            })
            .collect::<Result<_, ParquetError>>()
            .map_err(table_error::<R>)?;
        self.write_group(chunks, count).map_err(table_error::<R>)?;
        self.groups += 1;
        self.written += count;
        self.rows.clear();
        self.heap_bytes = 0;
        Ok(())
    }

    fn write_group(
        &mut self,
        chunks: Vec<Vec<ArrowColumnChunk>>,
        rows: u64,
    ) -> Result<(), ParquetError> {
        // Flushed on both sides, so that the sink's border is the group's.
        self.file.flush()?;
        self.file.inner_mut().begin_group()?;
        let mut group = self.file.next_row_group()?;
        for chunk in chunks.into_iter().flatten() {
            chunk.append_to_row_group(&mut group)?;
        }
        group.close()?;
        self.file.flush()?;
        self.file.inner_mut().end_group(rows)?;
        Ok(())
    }
}

/// Leaf columns that Parquet makes of an Arrow type.
fn leaf_count(ty: &arrow_schema::DataType) -> usize {
    use arrow_schema::DataType;
    match ty {
        DataType::List(field) => leaf_count(field.data_type()),
        DataType::Struct(fields) => fields.iter().map(|f| leaf_count(f.data_type())).sum(),
        _ => 1,
    }
}

fn properties<R: Row>(columns: &[Column<R>], meta: &FileMeta) -> WriterPropertiesPtr {
    let entry = |key: String, value: &str| KeyValue::new(key, value.to_owned());
    let mut key_values = vec![
        entry("nsforensics.schema".to_owned(), &SCHEMA_VERSION.to_string()),
        entry("nsforensics.table".to_owned(), R::TABLE),
        entry("nsforensics.tool_version".to_owned(), &meta.tool_version),
        entry("nsforensics.policy_sha256".to_owned(), &meta.policy_sha256),
    ];
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap_or_default()))
        .set_created_by(format!("nsforensics version {}", meta.tool_version));
    for column in columns {
        key_values.push(entry(
            format!("classification.{}", column.name),
            column.class.name(),
        ));
        let path = ColumnPath::from(column.name);
        builder = match column.layout {
            Layout::Dictionary => builder,
            Layout::Delta => builder
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED),
            Layout::Plain => builder.set_column_dictionary_enabled(path, false),
            Layout::Raw => builder
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_compression(path, Compression::UNCOMPRESSED),
        };
    }
    Arc::new(builder.set_key_value_metadata(Some(key_values)).build())
}

fn table_error<R: Row>(error: impl std::fmt::Display) -> Error {
    Error::Table {
        table: R::TABLE.to_owned(),
        message: error.to_string(),
    }
}
