//! Sigma rules of the network categories (sigma-specification 2.0), translated to
//! a query over the tables: the same findings, bounds and errors as for SQL that
//! the user wrote. What has no table or column here, or no translation, is an
//! error with its line and never a rule that silently finds less.

mod condition;
mod fields;
mod value;

use super::read::{Place, Wrong, attack};
use crate::severity::Severity;
use fields::{Field, Log};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Whether a document is a Sigma rule.
pub(super) fn is_sigma(members: &Map<String, Value>) -> bool {
    ["detection", "logsource", "correlation"]
        .iter()
        .any(|key| members.contains_key(*key))
}

/// A rule, translated.
pub(super) struct Translated {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) severity: Severity,
    pub(super) attack: Vec<String>,
    pub(super) query: String,
}

/// Translates a rule; `stem` names one that has no id.
pub(super) fn translate(
    place: &Place<'_>,
    members: &Map<String, Value>,
    stem: &str,
) -> Result<Translated, Wrong> {
    for key in ["correlation", "action"] {
        if members.contains_key(key) {
            return Err(place.wrong(
                key,
                "one rule over others is not translated: write it as SQL",
            ));
        }
    }
    let title = members.get("title").and_then(Value::as_str).map(str::trim);
    let title = title
        .filter(|title| !title.is_empty())
        .ok_or_else(|| place.wrong("title", "must be a text"))?;
    let id = match members.get("id").and_then(Value::as_str) {
        Some(id) => id.to_ascii_lowercase(),
        None => plain(stem),
    };
    let severity = match members.get("level").and_then(Value::as_str) {
        None => Severity::Medium,
        Some("informational") => Severity::Info,
        Some(name) => Severity::from_name(name)
            .ok_or_else(|| place.wrong("level", "informational, low, medium, high or critical"))?,
    };
    let log = log_of(place, members)?;
    let detection = members.get("detection").and_then(Value::as_object);
    let detection = detection
        .ok_or_else(|| place.wrong("detection", "must hold selections and a condition"))?;
    let wanted = detection_of(place, detection, log)?;
    Ok(Translated {
        id,
        title: title.to_owned(),
        severity,
        attack: techniques(members.get("tags")),
        query: log.query(title, &wanted),
    })
}

/// An id of what a file is called.
fn plain(stem: &str) -> String {
    let allowed = |c: char| match c.to_ascii_lowercase() {
        c if c.is_ascii_alphanumeric() || "_-.".contains(c) => c,
        _ => '_',
    };
    stem.chars().map(allowed).take(64).collect()
}

/// `attack.t1071.001` and the like; other tags say nothing here.
fn techniques(tags: Option<&Value>) -> Vec<String> {
    let tags = tags.and_then(Value::as_array).into_iter().flatten();
    let ids = tags
        .filter_map(|tag| tag.as_str()?.strip_prefix("attack."))
        .map(|tag| Value::from(tag.to_ascii_uppercase()));
    let ids = ids.filter(|id| attack(Some(&Value::from(vec![id.clone()]))).is_some());
    ids.filter_map(|id| id.as_str().map(str::to_owned))
        .take(32)
        .collect()
}

fn log_of(place: &Place<'_>, members: &Map<String, Value>) -> Result<Log, Wrong> {
    let source = members.get("logsource").and_then(Value::as_object);
    let source = source.ok_or_else(|| place.wrong("logsource", "is missing"))?;
    let text = |key: &str| source.get(key).and_then(Value::as_str);
    let (category, product, service) = (text("category"), text("product"), text("service"));
    let log = match (category, product, service) {
        (Some("dns"), None, None) | (None, Some("zeek"), Some("dns")) => Some(Log::Dns),
        (Some("proxy" | "webserver"), None, None) | (None, Some("zeek"), Some("http")) => {
            Some(Log::Http)
        }
        (Some("firewall"), None, None) | (None, Some("zeek"), Some("conn")) => Some(Log::Flows),
        (None, Some("zeek"), Some("ssl")) => Some(Log::Tls),
        _ => None,
    };
    log.ok_or_else(|| {
        let given = [
            ("category", category),
            ("product", product),
            ("service", service),
        ];
        let given: Vec<String> = given
            .iter()
            .filter_map(|(key, value)| Some(format!("{key} {}", (*value)?)))
            .collect();
        place.wrong(
            "logsource",
            format!(
                "{}: no table holds that; there are category dns, proxy, webserver, firewall, and \
                 product zeek with service conn, dns, http, ssl",
                given.join(", ")
            ),
        )
    })
}

/// The whole detection as one SQL expression.
fn detection_of(
    place: &Place<'_>,
    detection: &Map<String, Value>,
    log: Log,
) -> Result<String, Wrong> {
    if detection.contains_key("timeframe") {
        return Err(place.wrong(
            "timeframe",
            "counting over time is not translated: write it as SQL",
        ));
    }
    let mut selections = BTreeMap::new();
    for (name, value) in detection.iter().filter(|(name, _)| *name != "condition") {
        selections.insert(name.as_str(), selection(place, name, value, log)?);
    }
    let conditions: Vec<&str> = match detection.get("condition") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if conditions.is_empty() {
        return Err(place.wrong("condition", "must be a text"));
    }
    let mut room = condition::MAX_SQL;
    let parts: Result<Vec<String>, String> = conditions
        .into_iter()
        .map(|text| condition::sql(text, &selections, &mut room))
        .collect();
    let parts = parts.map_err(|why| place.wrong("condition", why))?;
    Ok(value::joined(&parts, " OR "))
}

/// A selection: fields that must all fit, or a list of such of which one must.
fn selection(place: &Place<'_>, name: &str, of: &Value, log: Log) -> Result<String, Wrong> {
    let of_map = |map: &Map<String, Value>| -> Result<String, Wrong> {
        let parts: Result<Vec<String>, Wrong> = map
            .iter()
            .map(|(key, value)| item(key, value, log).map_err(|why| place.wrong(key, why)))
            .collect();
        let parts = parts?;
        if parts.is_empty() {
            return Err(place.wrong(name, "holds nothing"));
        }
        Ok(value::joined(&parts, " AND "))
    };
    match of {
        Value::Object(map) => of_map(map),
        Value::Array(list) if !list.is_empty() => {
            let parts: Result<Vec<String>, Wrong> = list
                .iter()
                .map(|one| match one {
                    Value::Object(map) => of_map(map),
                    _ => Err(place.wrong(
                        name,
                        "words without a field: no table holds whole lines of a log",
                    )),
                })
                .collect();
            Ok(value::joined(&parts?, " OR "))
        }
        _ => Err(place.wrong(name, "must map fields to values")),
    }
}

/// `field|modifiers: values`.
fn item(key: &str, values: &Value, log: Log) -> Result<String, String> {
    let mut parts = key.split('|');
    let name = parts.next().unwrap_or_default();
    let modifiers: Vec<&str> = parts.collect();
    let field: Field = log.field(name)?;
    value::test(&field, &modifiers, values)
}

#[cfg(test)]
mod tests;
