//! Rows to Parquet. Each table states name, columns and row once, in a file of
//! its own; schema, builder and `docs/tables.md` come from that list.
//!
//! Nulls mean "not observed", never 0 or "-". Nothing in a file depends on the
//! wall clock, on threads, or on where the run was made.

pub mod column;
mod constant;
mod encode;
mod checks;
mod place;
pub mod writer;
pub mod captures;
pub mod flows;
pub mod dns_queries;
pub mod credentials;
pub mod tls_handshakes;
pub mod certificates;
pub mod http_transactions;
pub mod findings;
pub mod anomalies;
pub mod verdicts;
pub mod docs;
pub mod handshakes;
pub mod read;

pub use captures::{CaptureRow, InterfaceRow};
pub use certificates::{CertificateBook, CertificateRow, Role};
pub use column::{Class, Column};
pub use credentials::CredentialRow;
pub use dns_queries::DnsRow;
pub use http_transactions::HttpRow;
pub use tls_handshakes::TlsRow;
pub use writer::{FileMeta, Row, SCHEMA_VERSION, Sink, TableWriter};

#[cfg(test)]
pub(crate) mod tests;
