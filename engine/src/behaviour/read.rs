//! A table's file, row group by row group, with the columns that are wanted.
//! Texts to be numbered are read as dictionaries, so that each different one of
//! a row group is looked up once.

use super::COMMON;
use crate::control::ns04::{NameId, Names, Sieve};
use crate::error::{Error, Result};
use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is read of a table.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    /// Columns as they are.
    pub(super) plain: Vec<&'static str>,
    /// Texts to be numbered.
    pub(super) named: Vec<&'static str>,
}

/// An open table.
pub(super) struct Reader {
    path: PathBuf,
    file: File,
    metadata: ArrowReaderMetadata,
    mask: ProjectionMask,
}

/// Rows of one row group.
pub(super) struct Group {
    path: PathBuf,
    pub(super) batches: Vec<RecordBatch>,
}

fn failed(path: &Path, message: impl std::fmt::Display) -> Error {
    Error::Table {
        table: path.display().to_string(),
        message: message.to_string(),
    }
}

impl Reader {
    /// Opens a table; `None` when a run of an older version has no such table.
    pub(super) fn open(folder: &Path, table: &Table) -> Result<Option<Self>> {
        let path = folder.join(format!("{}.parquet", table.name));
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io(&path, "cannot open the table", error)),
        };
        let load =
            |options| ArrowReaderMetadata::load(&file, options).map_err(|e| failed(&path, e));
        let plain = load(ArrowReaderOptions::new())?;
        let fields: Vec<Arc<Field>> = plain
            .schema()
            .fields()
            .iter()
            .map(|field| {
                let is_named = table.named.iter().any(|name| name == field.name());
                if !is_named || field.data_type() != &DataType::Utf8 {
                    return Arc::clone(field);
                }
                let ty = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
                Arc::new(field.as_ref().clone().with_data_type(ty))
            })
            .collect();
        let schema = Arc::new(Schema::new(fields));
        let metadata = load(ArrowReaderOptions::new().with_schema(schema))?;
        let wanted = table.plain.iter().chain(&table.named);
        let mask = ProjectionMask::columns(metadata.parquet_schema(), wanted.copied());
        Ok(Some(Self {
            path,
            file,
            metadata,
            mask,
        }))
    }

    /// How many row groups.
    pub(super) fn groups(&self) -> usize {
        self.metadata.metadata().num_row_groups()
    }

    /// Reads one.
    pub(super) fn group(&self, index: usize) -> Result<Group> {
        let file = self
            .file
            .try_clone()
            .map_err(|e| Error::io(&self.path, "cannot read the table", e))?;
        let builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
                .with_projection(self.mask.clone())
                .with_row_groups(vec![index])
                .with_batch_size(1 << 15);
        let batches = builder
            .build()
            .map_err(|e| failed(&self.path, e))?
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| failed(&self.path, e))?;
        Ok(Group {
            path: self.path.clone(),
            batches,
        })
    }
}

impl Group {
    /// The numbers of the texts of a batch; none for hosts that the sieve holds back.
    pub(super) fn numbered(
        &self,
        batch: &RecordBatch,
        table: &Table,
        names: &mut Names,
        sieve: Option<&Sieve>,
    ) -> Result<Vec<(&'static str, Vec<NameId>)>> {
        let mut out = Vec::with_capacity(table.named.len());
        for &name in &table.named {
            let Some(array) = batch.column_by_name(name) else {
                continue;
            };
            let Some(array) = array.as_dictionary_opt::<Int32Type>() else {
                return Err(failed(&self.path, format!("column {name} is no text")));
            };
            let values = array.values().as_string_opt::<i32>();
            let values =
                values.ok_or_else(|| failed(&self.path, format!("column {name} is no text")))?;
            // Addresses of all tables stand in flows; names of some do not.
            let is_host = matches!(name, "src_ip" | "dst_ip")
                || name == "destination" && table.name == "flows";
            let sieve = sieve.filter(|_| is_host);
            let is_rare = |text: &str| sieve.is_some_and(|sieve| sieve.count(&text) < COMMON);
            let mut known: Vec<Option<NameId>> = vec![None; values.len()];
            let ids = array.keys().iter().map(|key| {
                let index = key.and_then(|key| usize::try_from(key).ok());
                let Some((index, slot)) = index.and_then(|at| Some((at, known.get_mut(at)?)))
                else {
                    return NameId::NONE;
                };
                *slot.get_or_insert_with(|| {
                    if values.is_valid(index) && !is_rare(values.value(index)) {
                        names.number(values.value(index))
                    } else {
                        NameId::NONE
                    }
                })
            });
            out.push((name, ids.collect()));
        }
        Ok(out)
    }
}
