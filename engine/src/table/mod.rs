//! Rows to Parquet. Each table states name, columns and row once.
