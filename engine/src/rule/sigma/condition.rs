//! A rule's condition: names of selections, `and`, `or`, `not`, brackets, and
//! `1 of`, `any of`, `all of` some or `them`.

use super::value::joined;
use std::collections::BTreeMap;

/// Deepest nesting of brackets and `not`.
const MAX_DEPTH: usize = 64;
/// Longest condition, bytes.
const MAX_LENGTH: usize = 16 << 10;
/// Most SQL that the conditions of one rule become, selections repeated. Each
/// mention repeats its selection: short files would become very long queries.
pub(super) const MAX_SQL: usize = 256 << 10;

/// The condition as SQL, each selection in its place; `room` is what is left of
/// [`MAX_SQL`].
pub(super) fn sql(
    text: &str,
    selections: &BTreeMap<&str, String>,
    room: &mut usize,
) -> Result<String, String> {
    if text.len() > MAX_LENGTH {
        return Err(format!("is longer than {MAX_LENGTH} bytes"));
    }
    if text.contains('|') {
        return Err("counting and aggregation is not translated: write it as SQL".to_owned());
    }
    let spaced = text.replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut reader = Reader {
        words: &words,
        selections,
        at: 0,
        room,
    };
    let sql = reader.any(0)?;
    match reader.peek() {
        None => Ok(sql),
        Some(word) => Err(format!("{word:?} was not expected")),
    }
}

struct Reader<'a> {
    words: &'a [&'a str],
    selections: &'a BTreeMap<&'a str, String>,
    at: usize,
    room: &'a mut usize,
}

impl Reader<'_> {
    /// A selection's SQL once more.
    fn copy(&mut self, sql: &str) -> Result<String, String> {
        let left = self.room.checked_sub(sql.len());
        *self.room = left.ok_or_else(|| format!("becomes more than {MAX_SQL} bytes of SQL"))?;
        Ok(sql.to_owned())
    }

    fn peek(&self) -> Option<&str> {
        self.words.get(self.at).copied()
    }

    fn take(&mut self, word: &str) -> bool {
        let is_next = self
            .peek()
            .is_some_and(|next| next.eq_ignore_ascii_case(word));
        self.at += usize::from(is_next);
        is_next
    }

    fn any(&mut self, depth: usize) -> Result<String, String> {
        let mut parts = vec![self.all(depth)?];
        while self.take("or") {
            parts.push(self.all(depth)?);
        }
        Ok(joined(&parts, " OR "))
    }

    fn all(&mut self, depth: usize) -> Result<String, String> {
        let mut parts = vec![self.one(depth)?];
        while self.take("and") {
            parts.push(self.one(depth)?);
        }
        Ok(joined(&parts, " AND "))
    }

    fn one(&mut self, depth: usize) -> Result<String, String> {
        if depth > MAX_DEPTH {
            return Err(format!("is nested deeper than {MAX_DEPTH}"));
        }
        if self.take("not") {
            return Ok(format!("NOT ({})", self.one(depth + 1)?));
        }
        if self.take("(") {
            let inner = self.any(depth + 1)?;
            return if self.take(")") {
                Ok(format!("({inner})"))
            } else {
                Err("a bracket is not closed".to_owned())
            };
        }
        let word = self.peek().ok_or("ends too early")?.to_owned();
        self.at += 1;
        if self.take("of") {
            let of = self.peek().ok_or("ends after `of`")?.to_owned();
            self.at += 1;
            let parts = self.named(&of)?;
            return match word.to_ascii_lowercase().as_str() {
                "1" | "any" => Ok(joined(&parts, " OR ")),
                "all" => Ok(joined(&parts, " AND ")),
                _ => Err(format!("`{word} of` is neither `1 of` nor `all of`")),
            };
        }
        match self.selections.get(word.as_str()) {
            Some(sql) => self.copy(sql),
            None => Err(format!("there is no selection {word:?}")),
        }
    }

    /// The selections that a pattern names; `them` are all but those that begin
    /// with an underscore.
    fn named(&mut self, pattern: &str) -> Result<Vec<String>, String> {
        let is_named = |name: &str| match pattern {
            "them" => !name.starts_with('_'),
            _ => match pattern.split_once('*') {
                Some((before, after)) => {
                    name.len() >= before.len() + after.len()
                        && name.starts_with(before)
                        && name.ends_with(after)
                }
                None => name == pattern,
            },
        };
        let selections = self.selections;
        let named = selections.iter().filter(|(name, _)| is_named(name));
        let named: Vec<String> = named
            .map(|(_, sql)| self.copy(sql))
            .collect::<Result<_, _>>()?;
        if named.is_empty() {
            Err(format!("no selection is called {pattern:?}"))
        } else {
            Ok(named)
        }
    }
}
