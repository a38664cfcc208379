//! Functions that SQL has here besides SQLite's own.

use nsforensics_engine::policy::Cidr;
use nsforensics_engine::time::CaptureTime;
use regex::Regex;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error, Result};
use std::net::IpAddr;

/// Adds `in_network(ip, 'network')`, `matches(text, 'pattern')` and `moment(nanoseconds)`.
pub(crate) fn add(connection: &Connection) -> Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_INNOCUOUS;
    connection.create_scalar_function("in_network", 2, flags, |context| in_network(context))?;
    connection.create_scalar_function("matches", 2, flags, |context| matches(context))?;
    connection.create_scalar_function("moment", 1, flags, |context| {
        let nanos: Option<i64> = context.get(0)?;
        Ok(nanos.map(|nanos| CaptureTime::from_nanos(nanos).to_string()))
    })
}

/// Whether an address lies in a network; null for what is no address.
fn in_network(context: &Context<'_>) -> Result<Option<bool>> {
    let network = context.get_or_create_aux(1, |value: ValueRef<'_>| {
        let text = value.as_str().map_err(|error| error.to_string())?;
        Cidr::try_from(text.to_owned())
    });
    let network = network.map_err(|error| Error::UserFunctionError(error.to_string().into()))?;
    let ip = match context.get_raw(0) {
        ValueRef::Text(text) => std::str::from_utf8(text).ok(),
        _ => None,
    };
    let ip = ip.and_then(|ip| ip.parse::<IpAddr>().ok());
    Ok(ip.map(|ip| network.contains(ip)))
}

/// Whether a text holds what a regular expression says (the syntax of the crate
/// `regex`, whose time grows with text and pattern alone); null for what is no text.
fn matches(context: &Context<'_>) -> Result<Option<bool>> {
    let pattern = context.get_or_create_aux(1, |value: ValueRef<'_>| {
        let text = value.as_str().map_err(|error| error.to_string())?;
        Regex::new(text).map_err(|error| format!("no regular expression: {error}"))
    });
    let pattern = pattern.map_err(|error| Error::UserFunctionError(error.to_string().into()))?;
    let text = match context.get_raw(0) {
        ValueRef::Text(text) => std::str::from_utf8(text).ok(),
        _ => None,
    };
    Ok(text.map(|text| pattern.is_match(text)))
}
