//! A table's Parquet file as a virtual table of SQLite: rows come batch by batch,
//! with the columns that the query needs and no others.

use crate::value;
use arrow_array::RecordBatch;
use arrow_schema::{DataType, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use rusqlite::vtab::{
    Context, CreateVTab, Filters, IndexInfo, Module, VTab, VTabConfig, VTabConnection, VTabCursor,
    VTabKind, sqlite3_vtab, sqlite3_vtab_cursor,
};
use rusqlite::{Connection, Error, Result};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_int};
use std::fs::File;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Rows that are decoded at once.
const BATCH: usize = 8_192;
/// How often one query may go through a file before its table is copied: as often
/// as a query of a few parts names it, far less often than a join does.
const MAX_SCANS: u64 = 8;
/// The bit of SQLite's mask that stands for its column and all behind it.
const LAST_BIT: u32 = 63;

/// A table's file, and what the query at hand asked of it.
pub(crate) struct TableFile {
    name: String,
    path: PathBuf,
    metadata: ArrowReaderMetadata,
    /// Times that the query went through it.
    scans: AtomicU64,
    /// Columns that the query needs: bit 63 stands for all from there on.
    used: AtomicU64,
}

/// The tables in a folder.
pub(crate) fn files(
    folder: &Path,
    names: &[String],
) -> std::result::Result<BTreeMap<String, Arc<TableFile>>, String> {
    let failed = |e: std::io::Error| format!("{}: {e}", folder.display());
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        let Some(name) = name.strip_suffix(".parquet").map(str::to_owned) else {
            continue;
        };
        if !names.is_empty() && !names.contains(&name) {
            continue;
        }
        let told = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
        let file = File::open(&path).map_err(|e| told(&e))?;
        let metadata =
            ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).map_err(|e| told(&e))?;
        let table = TableFile {
            name: name.clone(),
            path,
            metadata,
            scans: AtomicU64::new(0),
            used: AtomicU64::new(0),
        };
        files.insert(name, Arc::new(table));
    }
    Ok(files)
}

/// A name as SQL quotes it.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl TableFile {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn schema(&self) -> &Schema {
        self.metadata.schema()
    }

    fn rows(&self) -> i64 {
        self.metadata.metadata().file_metadata().num_rows()
    }

    /// Another query begins.
    pub(crate) fn forget(&self) {
        self.scans.store(0, Ordering::Relaxed);
        self.used.store(0, Ordering::Relaxed);
    }

    /// Whether the query goes through it again and again.
    pub(crate) fn is_wanted_again(&self) -> bool {
        self.scans.load(Ordering::Relaxed) > MAX_SCANS
    }

    /// The columns that the query needs.
    pub(crate) fn used(&self) -> Vec<usize> {
        self.columns_of(self.used.load(Ordering::Relaxed))
    }

    pub(crate) fn every_column(&self) -> Vec<usize> {
        self.columns_of(u64::MAX)
    }

    fn columns_of(&self, mask: u64) -> Vec<usize> {
        let is_used = |column: &usize| {
            let bit = u32::try_from(*column).unwrap_or(u32::MAX).min(LAST_BIT);
            mask >> bit & 1 == 1
        };
        (0..self.schema().fields().len()).filter(is_used).collect()
    }

    /// Declarations and names of these columns.
    pub(crate) fn definition_of(&self, columns: &[usize]) -> (String, String) {
        let fields = columns
            .iter()
            .filter_map(|&column| self.schema().fields().get(column));
        let (mut definition, mut list) = (Vec::new(), Vec::new());
        for field in fields {
            let name = quoted(field.name());
            definition.push(format!("{name} {}", affinity(field.data_type())));
            list.push(name);
        }
        if list.is_empty() {
            // `count(*)` alone: rows without values.
            return ("\"no column\" INTEGER".to_owned(), "NULL".to_owned());
        }
        (definition.join(", "), list.join(", "))
    }

    fn reader(&self, columns: &[usize]) -> std::result::Result<ParquetRecordBatchReader, String> {
        let told = |e: &dyn std::fmt::Display| format!("{}: {e}", self.path.display());
        let file = File::open(&self.path).map_err(|e| told(&e))?;
        let mask = ProjectionMask::roots(self.metadata.parquet_schema(), columns.iter().copied());
        ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
            .with_projection(mask)
            .with_batch_size(BATCH)
            .build()
            .map_err(|e| told(&e))
    }
}

fn affinity(of: &DataType) -> &'static str {
    match of {
        DataType::Float32 | DataType::Float64 => "REAL",
        DataType::Utf8 | DataType::List(_) | DataType::Struct(_) => "TEXT",
        DataType::Binary => "BLOB",
        _ => "INTEGER",
    }
}

/// Makes a table known to a connection.
pub(crate) fn declare(connection: &Connection, file: &Arc<TableFile>) -> Result<()> {
    // What it holds are pointers, so it can be no static.
    const MODULE: Module<'_, Table> = Module::read_only_module();
    let name = quoted(file.name());
    let module = format!("{} file", file.name());
    connection.create_module(module.as_str(), &MODULE, Some(Arc::clone(file)))?;
    connection.execute_batch(&format!(
        "CREATE VIRTUAL TABLE {name} USING {}",
        quoted(&module)
    ))
}

/// A table, as SQLite holds it.
#[repr(C)]
struct Table {
    base: sqlite3_vtab,
    file: Arc<TableFile>,
}

/// A passage through it.
#[repr(C)]
struct Cursor<'t> {
    base: sqlite3_vtab_cursor,
    file: Arc<TableFile>,
    reader: Option<ParquetRecordBatchReader>,
    batch: Option<RecordBatch>,
    /// For each column of the table the one of the batch.
    places: Vec<Option<usize>>,
    row: usize,
    number: i64,
    of: PhantomData<&'t Table>,
}

fn failed(why: String) -> Error {
    Error::ModuleError(why)
}

// SAFETY: what the trait asks is the layout, which `repr(C)` and the order of the
// members give.
#[expect(unsafe_code)]
unsafe impl<'t> VTab<'t> for Table {
    type Aux = Arc<TableFile>;
    type Cursor = Cursor<'t>;

    fn connect(
        connection: &mut VTabConnection,
        aux: Option<&Self::Aux>,
        _module: &[u8],
        _database: &[u8],
        _table: &[u8],
        _arguments: &[&[u8]],
    ) -> Result<(Cow<'static, CStr>, Self)> {
        connection.config(VTabConfig::Innocuous)?;
        let file = aux.ok_or_else(|| failed("no file".to_owned()))?;
        let (definition, _) = file.definition_of(&file.every_column());
        let schema = CString::new(format!("CREATE TABLE x ({definition})"))
            .map_err(|error| failed(error.to_string()))?;
        let table = Self {
            base: sqlite3_vtab::default(),
            file: Arc::clone(file),
        };
        Ok((Cow::Owned(schema), table))
    }

    fn best_index(&self, info: &mut IndexInfo) -> Result<bool> {
        let used = info.col_used();
        self.file.used.fetch_or(used, Ordering::Relaxed);
        info.set_idx_str(&used.to_string());
        let rows = self.file.rows();
        info.set_estimated_rows(rows.max(1));
        // There is one way, from the first row to the last.
        #[expect(clippy::cast_precision_loss)]
        info.set_estimated_cost(rows.max(1) as f64 * 4.0);
        Ok(true)
    }

    fn open(&'t mut self) -> Result<Cursor<'t>> {
        Ok(Cursor {
            base: sqlite3_vtab_cursor::default(),
            file: Arc::clone(&self.file),
            reader: None,
            batch: None,
            places: Vec::new(),
            row: 0,
            number: 0,
            of: PhantomData,
        })
    }
}

impl CreateVTab<'_> for Table {
    const KIND: VTabKind = VTabKind::Default;
}

impl Cursor<'_> {
    /// The next batch that has rows.
    fn advance(&mut self) -> Result<()> {
        self.row = 0;
        self.batch = None;
        let Some(reader) = &mut self.reader else {
            return Ok(());
        };
        for batch in reader {
            let batch = batch.map_err(|e| failed(format!("{}: {e}", self.file.name)))?;
            if batch.num_rows() > 0 {
                self.batch = Some(batch);
                return Ok(());
            }
        }
        Ok(())
    }
}

// SAFETY: as above.
#[expect(unsafe_code)]
unsafe impl VTabCursor for Cursor<'_> {
    fn filter(&mut self, _: c_int, used: Option<&str>, _: &Filters<'_>) -> Result<()> {
        self.file.scans.fetch_add(1, Ordering::Relaxed);
        if self.file.is_wanted_again() {
            return Err(failed(format!("{} is gone through again", self.file.name)));
        }
        let mask = used.and_then(|mask| mask.parse().ok()).unwrap_or(u64::MAX);
        let columns = self.file.columns_of(mask);
        self.places = vec![None; self.file.schema().fields().len()];
        for (place, &column) in columns.iter().enumerate() {
            if let Some(slot) = self.places.get_mut(column) {
                *slot = Some(place);
            }
        }
        self.reader = Some(self.file.reader(&columns).map_err(failed)?);
        self.number = 0;
        self.advance()
    }

    fn next(&mut self) -> Result<()> {
        self.row += 1;
        self.number += 1;
        match &self.batch {
            Some(batch) if self.row < batch.num_rows() => Ok(()),
            _ => self.advance(),
        }
    }

    fn eof(&self) -> bool {
        self.batch.is_none()
    }

    fn column(&self, context: &mut Context, column: c_int) -> Result<()> {
        let column = usize::try_from(column).unwrap_or(usize::MAX);
        let place = self.places.get(column).copied().flatten();
        let array = place.and_then(|place| self.batch.as_ref()?.columns().get(place));
        match array {
            Some(array) => value::put(context, array, self.row),
            None => Err(failed(format!("column {column} was not read"))),
        }
    }

    fn rowid(&self) -> Result<i64> {
        Ok(self.number)
    }
}
