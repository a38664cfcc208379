//! SQL over the tables of a run, by SQLite.
//!
//! Each table's file is a virtual table: a query streams over its row groups and
//! reads the columns that it needs, which SQLite itself tells. A table that a
//! query goes through again and again (the inner side of a join) is copied first
//! into a temporary table on disk, those columns alone, where SQLite makes itself
//! an index. Queries read and do nothing else, and are bounded in time, memory
//! and disk. Times are nanoseconds since the epoch, lists and structs are JSON
//! (`json_each` takes them apart), truth values 0 and 1.

mod functions;
pub mod pipe;
mod table;
mod value;
pub mod watch;

use nsforensics_engine::rule::wire::{Bounds, MAX_LINE, Row, Trouble};
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use table::TableFile;

/// Tables that SQLite makes of a list or a struct.
const TAKEN_APART: [&str; 2] = ["json_each", "json_tree"];
/// Longest text, blob or row that SQL may make, bytes.
const MAX_VALUE: i32 = 64 << 20;

/// The tables of a run.
pub struct Tables {
    connection: Connection,
    files: BTreeMap<String, Arc<TableFile>>,
    /// Columns of the tables that were copied for a query, and under which name they wait.
    copied: BTreeMap<String, Vec<usize>>,
}

/// What is heard of a query.
pub enum Heard {
    /// A row.
    Row(Row),
    /// The rows so far do not count.
    Again,
}

impl Tables {
    /// Those in a folder that are among `names` (all, where there are none); none
    /// is read yet. Of the bounds it keeps that of SQLite's memory.
    ///
    /// # Errors
    ///
    /// In words, when the folder or a table cannot be opened.
    pub fn open(folder: &Path, names: &[String], bounds: Bounds) -> Result<Self, String> {
        let sql = |error: Error| told(error).message;
        let connection = Connection::open_in_memory().map_err(sql)?;
        connection
            .execute_batch(&format!(
                "PRAGMA temp_store=FILE; PRAGMA trusted_schema=OFF; PRAGMA hard_heap_limit={};",
                bounds.memory_bytes / 2
            ))
            .map_err(sql)?;
        connection
            .set_limit(Limit::SQLITE_LIMIT_LENGTH, MAX_VALUE)
            .map_err(sql)?;
        functions::add(&connection).map_err(sql)?;
        let files = table::files(folder, names)?;
        for file in files.values() {
            table::declare(&connection, file).map_err(sql)?;
        }
        Ok(Self {
            connection,
            files,
            copied: BTreeMap::new(),
        })
    }

    /// Asks; `each` hears every row, columns in their order.
    ///
    /// # Errors
    ///
    /// What SQLite says of the query, or what `each` says.
    pub fn query(
        &mut self,
        sql: &str,
        mut each: impl FnMut(Heard) -> Result<(), String>,
    ) -> Result<(), Trouble> {
        let result = self.attempts(sql, &mut each);
        let cleared = self.put_away();
        result.and(cleared)
    }

    fn attempts(
        &mut self,
        sql: &str,
        each: &mut impl FnMut(Heard) -> Result<(), String>,
    ) -> Result<(), Trouble> {
        // Each further attempt has one more table copied.
        for _ in 0..=self.files.len() {
            for file in self.files.values() {
                file.forget();
            }
            self.confine(true)?;
            let asked = ask(&self.connection, sql, each);
            self.confine(false)?;
            let again = self.files.values().find(|file| file.is_wanted_again());
            match (asked, again.cloned()) {
                (Err(_), Some(file)) => {
                    each(Heard::Again)?;
                    self.copy(&file, sql)?;
                }
                (asked, _) => return asked,
            }
        }
        Err("needs its tables in a way that cannot be answered".into())
    }

    /// Holds what is prepared from now on to reading, or no longer.
    fn confine(&mut self, is_confined: bool) -> Result<(), Trouble> {
        let tables: Vec<String> = self.files.keys().cloned().collect();
        let authorizer = move |context: AuthContext<'_>| allowed(&context.action, &tables);
        let authorizer = is_confined.then_some(authorizer);
        self.connection.authorizer(authorizer).map_err(told)
    }

    /// Copies the columns of a table that a query needs to where SQLite can make
    /// itself an index over them; there they hide the table of the same name.
    fn copy(&mut self, file: &TableFile, sql: &str) -> Result<(), Trouble> {
        let name = table::quoted(file.name());
        let waiting = waiting(file.name());
        // A natural join asks which columns there are.
        let is_natural = sql.to_ascii_lowercase().contains("natural");
        let mut columns = if is_natural {
            file.every_column()
        } else {
            file.used()
        };
        if let Some(known) = self.copied.get(file.name()) {
            if columns.iter().all(|column| known.contains(column)) && !is_natural {
                let back = format!("ALTER TABLE temp.{waiting} RENAME TO {name}");
                return self.connection.execute_batch(&back).map_err(told);
            }
            columns.extend(known);
            columns.sort_unstable();
            columns.dedup();
            let gone = format!("DROP TABLE temp.{waiting}");
            self.connection.execute_batch(&gone).map_err(told)?;
            self.copied.remove(file.name());
        }
        file.forget();
        let (definition, list) = file.definition_of(&columns);
        let filled = self
            .connection
            .execute_batch(&format!(
                "CREATE TEMP TABLE {name} ({definition}); \
                 INSERT INTO temp.{name} SELECT {list} FROM main.{name};"
            ))
            .map_err(told);
        if filled.is_err() {
            let gone = format!("DROP TABLE IF EXISTS temp.{name}");
            self.connection.execute_batch(&gone).map_err(told)?;
        } else {
            self.copied.insert(file.name().to_owned(), columns);
        }
        filled
    }

    /// What was copied waits under another name: the next query may need other
    /// columns, and finds out over the tables as they are.
    fn put_away(&self) -> Result<(), Trouble> {
        for table in self.copied.keys() {
            let is_there = self
                .connection
                .prepare("SELECT 1 FROM temp.sqlite_schema WHERE name = ?1")
                .and_then(|mut statement| statement.exists([table]))
                .map_err(told)?;
            if is_there {
                let (name, waiting) = (table::quoted(table), waiting(table));
                self.connection
                    .execute_batch(&format!("ALTER TABLE temp.{name} RENAME TO {waiting}"))
                    .map_err(told)?;
            }
        }
        Ok(())
    }
}

/// The name under which a copied table waits.
fn waiting(table: &str) -> String {
    table::quoted(&format!("{table} as copied"))
}

fn ask(
    connection: &Connection,
    sql: &str,
    each: &mut impl FnMut(Heard) -> Result<(), String>,
) -> Result<(), Trouble> {
    let mut statement = connection.prepare(sql).map_err(told)?;
    if !statement.readonly() {
        return Err("is no query: it would write".into());
    }
    if statement.column_count() == 0 {
        return Err("gives no columns".into());
    }
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let mut rows = statement.query([]).map_err(told)?;
    while let Some(row) = rows.next().map_err(told)? {
        let mut out = Row::new();
        let mut room = MAX_LINE;
        for (index, name) in names.iter().enumerate() {
            let value = row.get_ref(index).map_err(told)?;
            let size = match value {
                ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.len(),
                _ => 0,
            };
            room = room.checked_sub(size).ok_or_else(too_long)?;
            out.insert(name.clone(), json(value));
        }
        each(Heard::Row(out))?;
    }
    Ok(())
}

/// What is told of a row that is too long to be handed on.
fn too_long() -> String {
    format!("gives a row beyond {MAX_LINE} bytes")
}

fn json(of: ValueRef<'_>) -> Value {
    match of {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
        ValueRef::Blob(bytes) => nsforensics_engine::table::column::hex(bytes).into(),
    }
}

/// Queries read tables of the run, and take JSON apart; nothing else is allowed,
/// whatever they say.
fn allowed(action: &AuthAction<'_>, tables: &[String]) -> Authorization {
    match action {
        AuthAction::Select | AuthAction::Recursive => Authorization::Allow,
        AuthAction::Read { table_name, .. } => {
            let tables = tables.iter().map(String::as_str).chain(TAKEN_APART);
            let mut same = tables.filter(|table| table.eq_ignore_ascii_case(table_name));
            same.next()
                .map_or(Authorization::Deny, |_| Authorization::Allow)
        }
        AuthAction::Function { function_name }
            if !function_name.eq_ignore_ascii_case("load_extension") =>
        {
            Authorization::Allow
        }
        _ => Authorization::Deny,
    }
}

/// What SQLite says, without the query that the reader knows.
fn told(error: Error) -> Trouble {
    match error {
        Error::SqlInputError { msg, offset, .. } => Trouble {
            message: msg,
            at: usize::try_from(offset).ok(),
        },
        Error::SqliteFailure(_, Some(message)) => message.into(),
        other => other.to_string().into(),
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod sigma_tests;
