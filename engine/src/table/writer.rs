//! Rows to one Parquet file: cut into row groups by a rule that depends on the
//! rows alone, sorted by time within each, columns built and encoded in
//! parallel. The same rows give the same bytes for any number of threads.

use super::column::{Column, Layout};
use super::constant::ConstantChunk;
use super::encode::{self, Leaf};
use crate::error::{Error, Result};
use arrow_array::Array as _;
use arrow_schema::{FieldRef, Schema};
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnDescPtr, ColumnPath, SchemaDescriptor};
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

/// Rows whose columns are encoded one after the other, so that a row is read
/// from memory once and not once for each column.
const BLOCK_ROWS: usize = 128;

/// Parts that the columns are cut into, to be encoded side by side.
const PARTS: usize = 8;

/// Writes one table.
pub struct TableWriter<R: Row, W: Sink> {
    parts: Vec<Part<R>>,
    file: SerializedFileWriter<W>,
    properties: WriterPropertiesPtr,
    rows: Vec<R>,
    heap_bytes: usize,
    written: u64,
}

/// Columns that stand side by side.
struct Part<R> {
    columns: Vec<Filled<R>>,
}

/// A column with what it was filled with.
struct Filled<R> {
    column: Column<R>,
    field: FieldRef,
    leaves: Vec<Leaf>,
    /// The leaves in the file.
    places: Vec<ColumnDescPtr>,
    /// Makes the writers of this column alone, where they are needed.
    factory: ArrowRowGroupWriterFactory,
    /// Of each leaf, the last chunk with one value.
    constants: Vec<Option<Arc<ConstantChunk>>>,
}

/// A leaf column of one row group, encoded.
enum Chunk {
    Varied(Box<ArrowColumnChunk>),
    Constant(Arc<ConstantChunk>),
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
        let schema = Schema::new(columns.iter().map(Column::field).collect::<Vec<_>>());
        let parquet_schema = parquet_schema::<R>(&schema)?;
        let properties = properties(&columns, &parquet_schema, meta);
        let mut places = parquet_schema.columns().iter();
        let filled = |(column, field): (Column<R>, &FieldRef)| {
            let leaves = encode::leaves(&column.ty);
            Ok(Filled {
                places: places.by_ref().take(leaves.len()).cloned().collect(),
                constants: vec![None; leaves.len()],
                factory: factory::<R>(field, &properties)?,
                field: Arc::clone(field),
                leaves,
                column,
            })
        };
        let mut columns: Vec<_> = columns
            .into_iter()
            .zip(schema.fields())
            .map(filled)
            .collect::<Result<_>>()?;
        let per_part = columns.len().div_ceil(PARTS).max(1);
        let mut parts = Vec::new();
        while !columns.is_empty() {
            let rest = columns.split_off(per_part.min(columns.len()));
            parts.push(Part {
                columns: std::mem::replace(&mut columns, rest),
            });
        }
        let root = parquet_schema.root_schema_ptr();
        let file = SerializedFileWriter::new(sink, root, Arc::clone(&properties));
        Ok(Self {
            parts,
            file: file.map_err(table_error::<R>)?,
            properties,
            rows: Vec::new(),
            heap_bytes: 0,
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

    /// Takes rows that are in their order already and stay with the caller:
    /// nothing is copied.
    ///
    /// # Errors
    ///
    /// When the sink cannot be written.
    pub fn push_all(&mut self, rows: &[R]) -> Result<()> {
        self.flush_group()?;
        let mut rest = rows;
        while !rest.is_empty() {
            let mut heap_bytes = 0_usize;
            let fits = rest.iter().take(R::GROUP_ROWS).take_while(|row| {
                let fits = heap_bytes < GROUP_BYTES;
                heap_bytes = heap_bytes.saturating_add(row.heap_bytes());
                fits
            });
            let (group, more) = rest.split_at(fits.count().max(1));
            self.write_rows(group)?;
            rest = more;
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
        // Stable, so that the order of equal rows is the order of arrival. The rows
        // themselves move, since every part of the columns passes over them.
        self.rows.par_sort_by_cached_key(R::sort_key);
        let rows = std::mem::take(&mut self.rows);
        let written = self.write_rows(&rows);
        // Their memory is used again.
        self.rows = rows;
        self.rows.clear();
        self.heap_bytes = 0;
        written
    }

    fn write_rows(&mut self, rows: &[R]) -> Result<()> {
        let properties = &self.properties;
        let chunks: Vec<Vec<Chunk>> = self
            .parts
            .par_iter_mut()
            .with_max_len(1)
            .map(|part| part.encode(rows, properties))
            .collect::<Result<_, ParquetError>>()
            .map_err(table_error::<R>)?;
        let count = rows.len() as u64;
        self.write_group(chunks, count).map_err(table_error::<R>)?;
        self.written += count;
        Ok(())
    }

    fn write_group(&mut self, chunks: Vec<Vec<Chunk>>, rows: u64) -> Result<(), ParquetError> {
        // Flushed on both sides, so that the sink's border is the group's.
        self.file.flush()?;
        self.file.inner_mut().begin_group()?;
        let mut group = self.file.next_row_group()?;
        for chunk in chunks.into_iter().flatten() {
            match chunk {
                Chunk::Varied(chunk) => chunk.append_to_row_group(&mut group)?,
                Chunk::Constant(chunk) => chunk.append_to(&mut group)?,
            }
        }
        group.close()?;
        self.file.flush()?;
        self.file.inner_mut().end_group(rows)?;
        Ok(())
    }
}

impl<R: 'static> Part<R> {
    fn encode(
        &mut self,
        rows: &[R],
        properties: &WriterPropertiesPtr,
    ) -> Result<Vec<Chunk>, ParquetError> {
        for block in rows.chunks(BLOCK_ROWS) {
            for filled in &mut self.columns {
                filled.column.feed(block, &mut filled.leaves);
            }
        }
        let mut chunks = Vec::with_capacity(self.columns.len());
        for filled in &mut self.columns {
            filled.encode(rows.len(), properties, &mut chunks)?;
        }
        Ok(chunks)
    }
}

impl<R: 'static> Filled<R> {
    fn encode(
        &mut self,
        rows: usize,
        properties: &WriterPropertiesPtr,
        chunks: &mut Vec<Chunk>,
    ) -> Result<(), ParquetError> {
        if let Some(values) = encode::take_constants(&self.field, &mut self.leaves, rows) {
            let leaves = self.places.iter().zip(&mut self.constants);
            for ((place, last), value) in leaves.zip(values) {
                let chunk = match last {
                    Some(last) if last.is(rows, &value) => last,
                    last => last.insert(Arc::new(ConstantChunk::encode(
                        place, properties, rows, value,
                    )?)),
                };
                chunks.push(Chunk::Constant(Arc::clone(chunk)));
            }
            return Ok(());
        }
        let array = encode::take(&self.field, &mut self.leaves)?;
        debug_assert_eq!(array.data_type(), &self.column.ty, "{}", self.column.name);
        let leaves = compute_leaves(&self.field, &array)?;
        let writers = self.factory.create_column_writers(0)?;
        for (leaf, mut writer) in leaves.iter().zip(writers) {
            writer.write(leaf)?;
            chunks.push(Chunk::Varied(Box::new(writer.close()?)));
        }
        Ok(())
    }
}

fn parquet_schema<R: Row>(schema: &Schema) -> Result<SchemaDescriptor> {
    ArrowSchemaConverter::new()
        .schema_root(R::TABLE)
        .convert(schema)
        .map_err(table_error::<R>)
}

/// What makes the writers of one column: the crate has none for a part of a
/// file's columns, so it is that of a file of this column, which nobody writes.
fn factory<R: Row>(
    field: &FieldRef,
    properties: &WriterPropertiesPtr,
) -> Result<ArrowRowGroupWriterFactory> {
    let schema = Schema::new(vec![Arc::clone(field)]);
    let root = parquet_schema::<R>(&schema)?.root_schema_ptr();
    let file = SerializedFileWriter::new(std::io::sink(), root, Arc::clone(properties));
    let file = file.map_err(table_error::<R>)?;
    Ok(ArrowRowGroupWriterFactory::new(&file, Arc::new(schema)))
}

fn properties<R: Row>(
    columns: &[Column<R>],
    schema: &SchemaDescriptor,
    meta: &FileMeta,
) -> WriterPropertiesPtr {
    let entry = |key: String, value: &str| KeyValue::new(key, value.to_owned());
    let mut key_values = vec![
        entry("nsforensics.schema".to_owned(), &SCHEMA_VERSION.to_string()),
        entry("nsforensics.table".to_owned(), R::TABLE),
        entry("nsforensics.tool_version".to_owned(), &meta.tool_version),
        entry("nsforensics.policy_sha256".to_owned(), &meta.policy_sha256),
    ];
    // One page a column of a row group: a page index would say what its
    // statistics say.
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap_or_default()))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .set_data_page_row_count_limit(usize::MAX)
        .set_write_batch_size(1 << 13)
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
                .set_column_statistics_enabled(path.clone(), EnabledStatistics::None)
                .set_column_compression(path, Compression::UNCOMPRESSED),
        };
    }
    // Readers skip row groups by the statistics of flat columns alone, and comparing
    // the many items of lists with the least and the greatest is what they cost.
    let of_lists = schema
        .columns()
        .iter()
        .filter(|leaf| leaf.max_rep_level() > 0);
    for leaf in of_lists {
        let path = leaf.path().clone();
        builder = builder.set_column_statistics_enabled(path, EnabledStatistics::None);
    }
    Arc::new(builder.set_key_value_metadata(Some(key_values)).build())
}

fn table_error<R: Row>(error: impl std::fmt::Display) -> Error {
    // Parquet's own word for what the system said.
    let said = error.to_string();
    let said = said.strip_prefix("External: ").unwrap_or(&said);
    Error::Table {
        table: format!("{}.parquet", R::TABLE),
        message: format!("cannot be written: {said}"),
    }
}
