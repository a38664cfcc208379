//! A field's values as SQL. Every test is true or false, never null: `not` of a
//! field that is not there must hold.

use super::fields::{Field, Kind};
use crate::policy::Cidr;
use serde_json::Value;

/// Most values of one field.
const MAX_VALUES: usize = 10_000;

/// Expressions side by side, as a balanced tree: SQLite bounds the depth of one.
pub(super) fn joined(parts: &[String], with: &str) -> String {
    match parts {
        [] => "0".to_owned(),
        [one] => one.clone(),
        _ => {
            let (left, right) = parts.split_at(parts.len() / 2);
            format!("({}{with}{})", joined(left, with), joined(right, with))
        }
    }
}

/// A text as SQL quotes it.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// How values are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Whole,
    Contains,
    StartsWith,
    EndsWith,
    /// With this before the pattern.
    Regex(&'static str),
    Cidr,
    Exists,
    /// This operator.
    Order(&'static str),
}

/// The test of a field.
///
/// # Errors
///
/// What of it has no translation.
pub(super) fn test(field: &Field, modifiers: &[&str], values: &Value) -> Result<String, String> {
    let (mut how, mut all, mut cased, mut not) = (How::Whole, false, false, false);
    for &modifier in modifiers {
        let next = match modifier {
            "contains" => How::Contains,
            "startswith" => How::StartsWith,
            "endswith" => How::EndsWith,
            "re" => How::Regex(""),
            "cidr" => How::Cidr,
            "exists" => How::Exists,
            "lt" => How::Order("<"),
            "lte" => How::Order("<="),
            "gt" => How::Order(">"),
            "gte" => How::Order(">="),
            "all" => {
                all = true;
                continue;
            }
            "cased" => {
                cased = true;
                continue;
            }
            "neq" => {
                not = true;
                continue;
            }
            "i" | "m" | "s" if how == How::Regex("") => How::Regex(match modifier {
                "i" => "(?i)",
                "m" => "(?m)",
                _ => "(?s)",
            }),
            other => return Err(format!("modifier {other:?} is not translated")),
        };
        let refines = matches!((how, next), (How::Regex(_), How::Regex(_)));
        if how != How::Whole && !refines {
            return Err("modifiers that exclude each other".to_owned());
        }
        how = next;
    }
    let list: Vec<&Value> = match values {
        Value::Array(list) => list.iter().collect(),
        one => vec![one],
    };
    if list.is_empty() || list.len() > MAX_VALUES {
        return Err(format!("needs 1 to {MAX_VALUES} values"));
    }
    let parts: Result<Vec<String>, String> = list
        .into_iter()
        .map(|value| one(field, how, cased, value))
        .collect();
    let test = joined(&parts?, if all { " AND " } else { " OR " });
    Ok(if not { format!("NOT ({test})") } else { test })
}

/// One value against one field.
fn one(field: &Field, how: How, cased: bool, value: &Value) -> Result<String, String> {
    let tests: Result<Vec<String>, String> = field
        .sql
        .iter()
        .map(|&sql| {
            if field.kind == Kind::Items {
                let inner = compare(field, "x", how, cased, value)?;
                return Ok(format!("EXISTS (SELECT 1 FROM {sql} WHERE {inner})"));
            }
            compare(field, sql, how, cased, value)
        })
        .collect();
    Ok(joined(&tests?, " OR "))
}

fn compare(
    field: &Field,
    sql: &str,
    how: How,
    cased: bool,
    value: &Value,
) -> Result<String, String> {
    let name = &field.name;
    let text = match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    };
    match how {
        How::Exists => {
            let is_there = value.as_bool().ok_or("`exists` wants true or false")?;
            let test = if is_there { "IS NOT NULL" } else { "IS NULL" };
            return Ok(format!("({sql}) {test}"));
        }
        How::Cidr => {
            let text = text.ok_or("a network must be a text")?;
            if field.kind != Kind::Address {
                return Err(format!("{name} holds no address"));
            }
            Cidr::try_from(text.clone())?;
            return Ok(format!("in_network({sql}, {}) IS TRUE", quoted(&text)));
        }
        How::Regex(flags) => {
            let text = text.ok_or("a pattern must be a text")?;
            let pattern = quoted(&format!("{flags}{text}"));
            return Ok(format!("matches({sql}, {pattern}) IS TRUE"));
        }
        How::Order(operator) => {
            let number = number(value).ok_or("must be a number")?;
            if field.kind != Kind::Number {
                return Err(format!("{name} holds no number"));
            }
            return Ok(format!("(({sql}) {operator} {number}) IS TRUE"));
        }
        How::Whole | How::Contains | How::StartsWith | How::EndsWith => {}
    }
    let Some(text) = text else {
        return match value {
            Value::Null if how == How::Whole => Ok(format!("({sql}) IS NULL")),
            _ => Err("must be a text, a number, true, false or null".to_owned()),
        };
    };
    match field.kind {
        Kind::Number if how == How::Whole => {
            let number = number(value).ok_or_else(|| format!("{name} holds a number"))?;
            return Ok(format!("(({sql}) = {number}) IS TRUE"));
        }
        Kind::Truth if how == How::Whole => {
            let truth = match text.to_ascii_lowercase().as_str() {
                "true" | "t" | "1" | "yes" => 1,
                "false" | "f" | "0" | "no" => 0,
                _ => return Err(format!("{name} is true or false")),
            };
            return Ok(format!("(({sql}) = {truth}) IS TRUE"));
        }
        _ => {}
    }
    let pattern = Pattern::read(&text);
    if field.kind == Kind::Uri && pattern.has_query() {
        return Err(format!(
            "{}: of the query of a URL no table holds the values",
            quoted(&text)
        ));
    }
    if text.is_empty() && how == How::Whole {
        // A log writes nothing for what is not there.
        return Ok(format!("coalesce({sql}, '') = ''"));
    }
    Ok(pattern.sql(sql, how, cased))
}

/// A number in SQL's words, from a number or its digits.
fn number(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => {
            let number: f64 = text.trim().parse().ok()?;
            match text.trim().parse::<i64>() {
                Ok(whole) => Some(whole.to_string()),
                Err(_) if number.is_finite() => Some(number.to_string()),
                Err(_) => None,
            }
        }
        _ => None,
    }
}

/// A text with Sigma's wildcards: `*` any characters, `?` one; a backslash takes
/// their meaning, and that of another backslash.
struct Pattern(Vec<Part>);

#[derive(PartialEq, Eq)]
enum Part {
    One(char),
    Any,
    AnyOne,
}

impl Pattern {
    fn read(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            parts.push(match c {
                '*' => Part::Any,
                '?' => Part::AnyOne,
                '\\' => match chars.next_if(|&next| matches!(next, '*' | '?' | '\\')) {
                    Some(next) => Part::One(next),
                    None => Part::One('\\'),
                },
                other => Part::One(other),
            });
        }
        Self(parts)
    }

    /// Whether it asks for a part of a URL's query.
    fn has_query(&self) -> bool {
        let is_of_query = |part: &Part| matches!(part, Part::One('?' | '=' | '&'));
        self.0.iter().any(is_of_query)
    }

    fn sql(&self, sql: &str, how: How, cased: bool) -> String {
        let is_plain = self.0.iter().all(|part| matches!(part, Part::One(_)));
        if is_plain && how == How::Whole && cased {
            let text: String = self.0.iter().filter_map(Part::text).collect();
            return format!("(({sql}) = {}) IS TRUE", quoted(&text));
        }
        let (any, one) = if cased { ('*', '?') } else { ('%', '_') };
        let mut pattern = String::new();
        if matches!(how, How::Contains | How::EndsWith) {
            pattern.push(any);
        }
        for part in &self.0 {
            match part {
                Part::Any => pattern.push(any),
                Part::AnyOne => pattern.push(one),
                // GLOB knows no escape but a class of one character.
                Part::One(c @ ('*' | '?' | '[')) if cased => {
                    pattern.push('[');
                    pattern.push(*c);
                    pattern.push(']');
                }
                Part::One(c @ ('%' | '_' | '\\')) if !cased => {
                    pattern.push('\\');
                    pattern.push(*c);
                }
                Part::One(c) => pattern.push(*c),
            }
        }
        if matches!(how, How::Contains | How::StartsWith) {
            pattern.push(any);
        }
        let pattern = quoted(&pattern);
        if cased {
            format!("(({sql}) GLOB {pattern}) IS TRUE")
        } else {
            format!("(({sql}) LIKE {pattern} ESCAPE '\\') IS TRUE")
        }
    }
}

impl Part {
    fn text(&self) -> Option<char> {
        match self {
            Self::One(c) => Some(*c),
            Self::Any | Self::AnyOne => None,
        }
    }
}
