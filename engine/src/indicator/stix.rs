//! STIX 2.1 bundles (OASIS, 2021): `indicator` objects whose pattern compares
//! one thing with one value, or with several joined by OR.
//!
//! What a pattern asks of two things at once (AND, FOLLOWEDBY) cannot be told
//! row by row: taking its parts alone would find what it does not mean, so it is
//! told as a problem. Cyber-observable objects of a bundle are no indicators.

use super::value::{self, Parsed, shown};
use super::{Entry, Sink, json_problem, lines_of_ids};
use crate::time::CaptureTime;
use serde::Deserialize;

#[derive(Deserialize)]
struct Bundle {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    objects: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    id: String,
    #[serde(default)]
    pattern: Option<String>,
    #[serde(default)]
    pattern_type: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    confidence: Option<u64>,
    #[serde(default)]
    revoked: bool,
    #[serde(default)]
    valid_until: Option<String>,
}

/// Whether a JSON text says that it is a bundle, without reading all of it.
pub(super) fn is_bundle(text: &str) -> bool {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("\"type\"") {
        let value = after.trim_start().strip_prefix(':').map(str::trim_start);
        if value.is_some_and(|value| value.starts_with("\"bundle\"")) {
            return true;
        }
        rest = after;
    }
    false
}

pub(super) fn read(text: &str, sink: &mut Sink<'_>) {
    let bundle: Bundle = match serde_json::from_str(text) {
        Ok(bundle) => bundle,
        Err(error) => {
            let (line, message) = json_problem(&error);
            return sink.problem(line, message);
        }
    };
    if bundle.kind != "bundle" {
        return sink.problem(
            1,
            format!("is a STIX `{}`, not a bundle", shown(&bundle.kind)),
        );
    }
    let lines = lines_of_ids(text);
    for object in &bundle.objects {
        if object.kind != "indicator" {
            continue;
        }
        let is_other = object
            .pattern_type
            .as_deref()
            .is_some_and(|kind| kind != "stix");
        if object.revoked || is_other {
            sink.skip();
            continue;
        }
        let entry = Entry {
            line: lines.get(object.id.as_str()).copied().unwrap_or(1),
            id: Some(&object.id),
            name: object.name.as_deref(),
            confidence: object
                .confidence
                .and_then(|of_100| u8::try_from(of_100.min(100)).ok()),
            valid_until: object.valid_until.as_deref().and_then(moment),
        };
        match comparisons(object.pattern.as_deref().unwrap_or_default()) {
            Err(why) => sink.problem(entry.line, why),
            Ok(comparisons) => {
                let mut any = false;
                let mut parsed = Vec::new();
                let mut wrong = None;
                for (path, text) in comparisons {
                    match of_path(&path, &text) {
                        None => {}
                        Some(Ok(one)) => {
                            any = true;
                            parsed.extend(one);
                        }
                        Some(Err(why)) => {
                            any = true;
                            wrong = Some(why);
                        }
                    }
                }
                match (any, wrong) {
                    (false, _) => sink.skip(),
                    (true, Some(why)) if parsed.is_empty() => sink.problem(entry.line, why),
                    (true, wrong) => {
                        sink.take(&entry, Ok(parsed));
                        if let Some(why) = wrong {
                            sink.problem(entry.line, why);
                        }
                    }
                }
            }
        }
    }
}

/// `2027-01-01T00:00:00Z`, to the second.
fn moment(text: &str) -> Option<CaptureTime> {
    let digits = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (digits(0..4)?, digits(5..7)?, digits(8..10)?);
    let (hour, minute, second) = (digits(11..13)?, digits(14..16)?, digits(17..19)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || !(1970..=2262).contains(&year) {
        return None;
    }
    // Days since the epoch by Howard Hinnant's `days_from_civil`.
    let (y, m) = if month <= 2 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let (era, yoe) = (y / 400, y % 400);
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + (153 * m + 2) / 5 + day - 1;
    let days = era * 146_097 + doe - 719_468;
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second;
    seconds
        .checked_mul(1_000_000_000)
        .map(CaptureTime::from_nanos)
}

/// What a path of a pattern means for us; `None` when no table shows it.
fn of_path(path: &str, text: &str) -> Option<Result<Vec<Parsed>, String>> {
    let one = |read: Result<Parsed, String>| Some(read.map(|one| vec![one]));
    let path = path.to_ascii_lowercase().replace(['\'', '"'], "");
    let (object, property) = path.split_once(':')?;
    match (object, property) {
        ("ipv4-addr" | "ipv6-addr", "value") => one(value::address_or_network(text)),
        ("domain-name", "value") => one(value::domain(text)),
        ("url", "value") => one(value::url(text)),
        ("network-traffic", "dst_ref.value" | "src_ref.value") => {
            one(value::address_or_network(text).or_else(|_| value::domain(text)))
        }
        ("file" | "artifact", _) if property.starts_with("hashes.") => match property {
            "hashes.md5" | "hashes.sha-1" | "hashes.sha1" | "hashes.sha-256" | "hashes.sha256" => {
                one(value::file(text))
            }
            _ => None,
        },
        ("x509-certificate", "serial_number") => one(value::serial(text)),
        (
            "x509-certificate",
            "hashes.sha-1" | "hashes.sha1" | "hashes.sha-256" | "hashes.sha256",
        ) => one(value::certificate(text)),
        _ if property.contains("ja3s") => one(value::ja3s(text)),
        _ if property.contains("ja3") => one(value::ja3(text)),
        _ if property.contains("ja4") => one(value::ja4(text)),
        _ => None,
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Sign(char),
}

/// Comparisons of a pattern that are joined by OR alone: path and value.
fn comparisons(pattern: &str) -> Result<Vec<(String, String)>, String> {
    let tokens = tokens(pattern)?;
    let mut out = Vec::new();
    let mut at = 0;
    let mut is_open = false;
    let word = |at: usize| match tokens.get(at) {
        Some(Token::Word(word)) => Some(word.as_str()),
        _ => None,
    };
    while let Some(token) = tokens.get(at) {
        match token {
            Token::Sign('[') => is_open = true,
            Token::Sign(']') => is_open = false,
            Token::Sign('(' | ')') => {}
            Token::Word(joint) if joint.eq_ignore_ascii_case("OR") => {}
            Token::Word(joint)
                if [
                    "AND",
                    "FOLLOWEDBY",
                    "NOT",
                    "WITHIN",
                    "REPEATS",
                    "START",
                    "STOP",
                ]
                .iter()
                .any(|known| joint.eq_ignore_ascii_case(known)) =>
            {
                return Err(format!(
                    "its pattern uses {}, and only comparisons joined by OR can be matched row by row",
                    joint.to_ascii_uppercase()
                ));
            }
            Token::Word(path) if is_open && path.contains(':') => {
                let operator = match tokens.get(at + 1) {
                    Some(Token::Sign('=')) => "=".to_owned(),
                    Some(Token::Word(word)) => word.to_ascii_uppercase(),
                    other => return Err(format!("its pattern has {other:?} behind a path")),
                };
                at += 2;
                match (operator.as_str(), tokens.get(at)) {
                    ("=" | "ISSUBSET", Some(Token::Text(text))) => {
                        out.push((path.clone(), text.clone()));
                    }
                    ("IN", Some(Token::Sign('('))) => {
                        at += 1;
                        while let Some(Token::Text(text)) = tokens.get(at) {
                            out.push((path.clone(), text.clone()));
                            at += 1;
                            if tokens.get(at) == Some(&Token::Sign(',')) {
                                at += 1;
                            }
                        }
                        if tokens.get(at) != Some(&Token::Sign(')')) {
                            return Err("its pattern has a list without an end".to_owned());
                        }
                    }
                    (operator, _) => {
                        return Err(format!("its pattern compares with {}", shown(operator)));
                    }
                }
            }
            _ => {
                let what = word(at).map_or_else(|| format!("{token:?}"), shown);
                return Err(format!("its pattern cannot be read at {what}"));
            }
        }
        at += 1;
    }
    if out.is_empty() || is_open {
        return Err("its pattern holds no whole comparison".to_owned());
    }
    Ok(out)
}

/// Tokens of a pattern; at most this many.
const MAX_TOKENS: usize = 16_384;

fn tokens(pattern: &str) -> Result<Vec<Token>, String> {
    let mut out = Vec::new();
    let mut characters = pattern.chars().peekable();
    while let Some(character) = characters.next() {
        if out.len() >= MAX_TOKENS {
            return Err(format!("its pattern has more than {MAX_TOKENS} parts"));
        }
        match character {
            ' ' | '\t' | '\n' | '\r' => {}
            '[' | ']' | '(' | ')' | ',' | '=' => out.push(Token::Sign(character)),
            '\'' => out.push(Token::Text(quoted(&mut characters)?)),
            first => {
                // A path may hold quotes: file:hashes.'SHA-256'.
                let mut word = first.to_string();
                while let Some(&next) = characters.peek() {
                    if " \t\r\n[]()=,".contains(next) {
                        break;
                    }
                    characters.next();
                    if next == '\'' {
                        word.push_str(&quoted(&mut characters)?);
                    } else {
                        word.push(next);
                    }
                }
                out.push(Token::Word(word));
            }
        }
    }
    Ok(out)
}

/// The rest of a text in quotes; `\'` and `\\` are escapes.
fn quoted(characters: &mut impl Iterator<Item = char>) -> Result<String, String> {
    let mut out = String::new();
    while let Some(character) = characters.next() {
        match character {
            '\'' => return Ok(out),
            '\\' => out.extend(characters.next()),
            other => out.push(other),
        }
    }
    Err("its pattern has a text without an end".to_owned())
}
