//! Files of rules, as the user wrote them: YAML with one rule, or a list of them
//! under `rules:`; a Sigma rule is told by its `detection`. What is wrong with a rule costs that rule; what is wrong with
//! a file's YAML costs the file.

use super::found::MAX_TEXT;
use super::wire::MAX_QUERY;
use super::{Problem, ProblemKind, Rule, RuleFile, Rules, sigma};
use crate::control::cut;
use crate::error::{Error, Result};
use crate::severity::Severity;
use crate::table::column::hex;
use crate::table::read::intern;
use serde::Deserialize;
use serde_json::{Map, Value};
use serde_saphyr::Spanned;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Largest file of rules, bytes.
const MAX_FILE: u64 = 1 << 20;
/// Most rules in all.
const MAX_RULES: usize = 2_000;
/// Bytes of all queries: those of Sigma rules may be longer than their files.
const MAX_QUERIES: usize = 64 << 20;
/// Most files in all.
const MAX_FILES: usize = 10_000;
/// Deepest folder that is looked into.
const MAX_DEPTH: usize = 16;
/// What a rule may hold.
const KEYS: [&str; 5] = ["attack", "id", "query", "severity", "text"];

/// A file with a list of rules.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Many {
    rules: Vec<Spanned<Value>>,
}

/// What is wrong, and where in the file.
pub(super) type Wrong = (u64, String);

impl Rules {
    /// Reads files, and the `*.yaml` and `*.yml` of folders and those in them, in the order of their names.
    ///
    /// # Errors
    ///
    /// When a path cannot be read. What is wrong inside a file is a problem.
    pub fn load(paths: &[PathBuf]) -> Result<Self> {
        let mut rules = Self::default();
        let mut known = BTreeSet::new();
        for path in paths {
            let io = |e| Error::io(path, "cannot read the rules", e);
            let mut files = Vec::new();
            if path.is_dir() {
                collect(path, 0, &mut files).map_err(io)?;
                files.sort();
            } else {
                files.push(path.clone());
            }
            for file in files {
                let io = |e| Error::io(&file, "cannot read the rules", e);
                let mut bytes = Vec::new();
                std::fs::File::open(&file)
                    .and_then(|opened| opened.take(MAX_FILE + 1).read_to_end(&mut bytes))
                    .map_err(io)?;
                rules.add(&file.to_string_lossy(), &bytes, &mut known);
            }
        }
        Ok(rules)
    }

    /// Reads one file; `name` is what problems call it.
    pub fn parse(name: &str, bytes: &[u8]) -> Self {
        let mut rules = Self::default();
        rules.add(name, bytes, &mut BTreeSet::new());
        rules
    }

    /// Takes one file; `known` are the ids so far.
    fn add(&mut self, name: &str, bytes: &[u8], known: &mut BTreeSet<String>) {
        let before = (self.rules.len() as u64, self.problems.len() as u64);
        let wrong = self.read(name, bytes, known);
        let told = wrong.into_iter().map(|(line, message)| Problem {
            file: name.to_owned(),
            line,
            check_id: None,
            kind: ProblemKind::NotRead,
            message,
        });
        self.problems.extend(told);
        self.files.push(RuleFile {
            path: name.to_owned(),
            size_bytes: bytes.len() as u64,
            sha256: hex(&Sha256::digest(bytes)),
            rules: self.rules.len() as u64 - before.0,
            problems: self.problems.len() as u64 - before.1,
        });
    }

    fn read(&mut self, name: &str, bytes: &[u8], known: &mut BTreeSet<String>) -> Vec<Wrong> {
        let text = match std::str::from_utf8(bytes) {
            Ok(text) if bytes.len() as u64 <= MAX_FILE => text,
            Ok(_) => return vec![(1, "is longer than 1 MiB".to_owned())],
            Err(_) => return vec![(1, "is no UTF-8".to_owned())],
        };
        let items = match items(text) {
            Ok(items) => items,
            Err(wrong) => return vec![wrong],
        };
        let mut wrong = Vec::new();
        let starts: Vec<u64> = items.iter().map(|(line, _)| *line).collect();
        // Where each line begins, and where the text ends: a rule looks at its own.
        let lines: Vec<usize> = std::iter::once(0)
            .chain(memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1))
            .collect();
        let offset = |line: u64| {
            let index = usize::try_from(line.saturating_sub(1)).ok();
            let at = index.and_then(|index| lines.get(index));
            at.copied().unwrap_or(text.len())
        };
        for (index, (start, value)) in items.into_iter().enumerate() {
            let end = starts.get(index + 1).copied().unwrap_or(u64::MAX);
            let own = text.get(offset(start)..offset(end));
            let place = Place {
                text: own.unwrap_or_default(),
                start,
            };
            if index.max(self.rules.len()) >= MAX_RULES {
                wrong.push((start, format!("is beyond {MAX_RULES} rules, and left out")));
                break;
            }
            match rule(name, &place, &value, known) {
                Ok(rule) => match self.fits(&rule) {
                    Ok(()) => self.rules.push(rule),
                    Err(why) => wrong.push((rule.line, why)),
                },
                Err(why) => wrong.push(why),
            }
        }
        wrong
    }

    /// Whether a rule's query may be asked beside those before it.
    pub(super) fn fits(&self, rule: &Rule) -> std::result::Result<(), String> {
        if rule.query.contains('\0') {
            return Err("its query holds the character NUL, at which SQL would end".to_owned());
        }
        let length = rule.query.len();
        if length > MAX_QUERY {
            return Err(format!("its query of {length} bytes is beyond {MAX_QUERY}"));
        }
        let before: usize = self.rules.iter().map(|rule| rule.query.len()).sum();
        if before + length > MAX_QUERIES {
            return Err(format!(
                "is beyond {MAX_QUERIES} bytes of queries, and left out"
            ));
        }
        Ok(())
    }
}

/// The files of rules in a folder and those in it; links to folders are not followed.
fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if depth < MAX_DEPTH {
                collect(&path, depth + 1, files)?;
            }
            continue;
        }
        let ending = path.extension().and_then(|ending| ending.to_str());
        if matches!(ending, Some("yaml" | "yml")) && path.is_file() {
            if files.len() >= MAX_FILES {
                let why = format!("more than {MAX_FILES} files of rules");
                return Err(std::io::Error::other(why));
            }
            files.push(path);
        }
    }
    Ok(())
}

/// The rules of a file, each with the line at which it begins.
fn items(text: &str) -> std::result::Result<Vec<(u64, Value)>, Wrong> {
    let told = |error: serde_saphyr::Error| {
        let line = error.location().map_or(1, |at| at.line());
        let message = error.to_string();
        let message = message.lines().next().unwrap_or_default();
        (line, message.trim_start_matches("error: ").to_owned())
    };
    if text.lines().any(|line| line.starts_with("rules:")) {
        let many: Many = serde_saphyr::from_str(text).map_err(told)?;
        let items = many.rules.into_iter();
        return Ok(items
            .map(|item| (item.referenced.line(), item.value))
            .collect());
    }
    let one: Spanned<Value> = serde_saphyr::from_str(text).map_err(told)?;
    Ok(vec![(one.referenced.line().max(1), one.value)])
}

/// Where a rule stands in its file.
pub(super) struct Place<'a> {
    /// Its lines alone.
    text: &'a str,
    /// The first of them.
    start: u64,
}

impl Place<'_> {
    /// The line of a key of the rule, and what stands behind it; the rule's own
    /// where the key is written in another way.
    fn key(&self, key: &str) -> (u64, &str) {
        let lines = self.text.lines().zip(self.start..);
        let mut found = lines.filter_map(|(text, line)| {
            let text = text.trim_start().trim_start_matches("- ").trim_start();
            let rest = text.trim_start_matches(['"', '\'']).strip_prefix(key)?;
            let rest = rest.trim_start_matches(['"', '\'']).trim_start();
            Some((line, rest.strip_prefix(':')?.trim()))
        });
        found.next().unwrap_or((self.start, ""))
    }

    pub(super) fn wrong(&self, key: &str, why: impl std::fmt::Display) -> Wrong {
        (self.key(key).0, format!("{key}: {why}"))
    }
}

fn rule(
    file: &str,
    place: &Place<'_>,
    value: &Value,
    known: &mut BTreeSet<String>,
) -> std::result::Result<Rule, Wrong> {
    let Some(members) = value.as_object() else {
        let expected = "is no rule: a rule has id, text and query";
        return Err((place.start, expected.to_owned()));
    };
    if sigma::is_sigma(members) {
        return of_sigma(file, place, members, known);
    }
    let mut strange = members.keys().filter(|key| !KEYS.contains(&key.as_str()));
    if let Some(key) = strange.next() {
        let known = KEYS.join(", ");
        return Err(place.wrong(cut(key, 64), format!("is no part of a rule ({known})")));
    }
    let id = text(place, members, "id")?;
    let (line, _) = place.key("id");
    free(place, id, known)?;
    let summary = cut(text(place, members, "text")?, MAX_TEXT).to_owned();
    let severity = match members.get("severity") {
        None => Severity::Medium,
        Some(value) => value
            .as_str()
            .and_then(Severity::from_name)
            .ok_or_else(|| place.wrong("severity", "info, low, medium, high or critical"))?,
    };
    let attack = attack(members.get("attack"))
        .ok_or_else(|| place.wrong("attack", "a list of techniques, such as [T1071.001]"))?;
    let query = text(place, members, "query")?.to_owned();
    let (query_line, style) = place.key("query");
    // Folded and quoted texts have other lines than the file.
    let query_line = match style.chars().next() {
        Some('|') => Some(query_line + 1),
        Some('>' | '"' | '\'') | None => None,
        Some(_) => Some(query_line),
    };
    let too_many = |why| (line, why);
    let rule = Rule {
        check_id: intern(&format!("RULE.{id}")).map_err(too_many)?,
        text: summary,
        severity,
        attack: attack
            .into_iter()
            .map(intern)
            .collect::<std::result::Result<_, String>>()
            .map_err(too_many)?,
        query,
        file: file.to_owned(),
        line,
        query_line,
    };
    known.insert(id.to_owned());
    Ok(rule)
}

/// Refuses what is no id, and one that is taken.
fn free(place: &Place<'_>, id: &str, known: &BTreeSet<String>) -> std::result::Result<(), Wrong> {
    let is_plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.".contains(&byte);
    if id.is_empty() || id.len() > 64 || !id.bytes().all(is_plain) {
        let allowed = "lower-case letters, digits, `_`, `-` and `.`, 64 at most";
        return Err(place.wrong("id", allowed));
    }
    if known.contains(id) {
        return Err(place.wrong("id", format!("{id} is taken by another rule")));
    }
    Ok(())
}

fn of_sigma(
    file: &str,
    place: &Place<'_>,
    members: &Map<String, Value>,
    known: &mut BTreeSet<String>,
) -> std::result::Result<Rule, Wrong> {
    let stem = Path::new(file).file_stem().unwrap_or_default();
    let translated = sigma::translate(place, members, &stem.to_string_lossy())?;
    free(place, &translated.id, known)?;
    let (line, _) = place.key("title");
    let too_many = |why| (line, why);
    let attack = translated.attack.iter().map(|id| intern(id));
    let rule = Rule {
        check_id: intern(&format!("RULE.{}", translated.id)).map_err(too_many)?,
        text: cut(&translated.title, MAX_TEXT).to_owned(),
        severity: translated.severity,
        attack: attack
            .collect::<std::result::Result<_, String>>()
            .map_err(too_many)?,
        query: translated.query,
        file: file.to_owned(),
        line,
        // The query is of our making.
        query_line: None,
    };
    known.insert(translated.id);
    Ok(rule)
}

fn text<'v>(
    place: &Place<'_>,
    members: &'v Map<String, Value>,
    key: &str,
) -> std::result::Result<&'v str, Wrong> {
    match members.get(key) {
        None => Err((place.start, format!("{key}: is missing"))),
        Some(value) => match value.as_str().map(str::trim) {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(place.wrong(key, "must be a text")),
        },
    }
}

/// Technique ids; `None` where one is none.
pub(super) fn attack(value: Option<&Value>) -> Option<Vec<&str>> {
    let Some(value) = value else {
        return Some(Vec::new());
    };
    let is_technique = |id: &&str| {
        let digits = id.strip_prefix('T').unwrap_or_default();
        let is_number = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        match digits.split_once('.') {
            Some((of, sub)) => of.len() == 4 && sub.len() == 3 && is_number(of) && is_number(sub),
            None => digits.len() == 4 && is_number(digits),
        }
    };
    let list = value.as_array()?;
    let ids = list.iter().map(|id| id.as_str().filter(is_technique));
    ids.take(32).collect()
}
