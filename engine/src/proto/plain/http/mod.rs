//! HTTP: requests matched with their answers into transactions, bodies measured
//! and passed over, tunnels and upgrades handed on. HTTP/2 with prior knowledge
//! is named only.

mod body;
mod content;
mod facts;
mod fields;
mod h1;
mod head;
mod jwt;
mod probe;
mod secrets;
mod transaction;

pub use jwt::Jwt;
pub use transaction::{
    Carrier, HttpCredential, HttpTransaction, HttpVersion, Oddities, Oddity, SetCookie, Sizes,
    Text, Texts,
};

pub(super) use probe::probe;

use super::reader::Reader;

/// The reader.
pub(super) fn open() -> Box<dyn Reader> {
    Box::new(h1::Http1::default())
}

#[cfg(test)]
pub(super) mod tests;
