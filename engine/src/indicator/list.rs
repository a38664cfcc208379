//! Plain lists, one value a line, and CSV (RFC 4180) with a header.
//!
//! Lists: `#`, `;` and `//` begin comments; hosts files (`0.0.0.0 name`) are
//! read as lists of names; `kind:value` names a kind where the value alone could
//! be taken for another. CSV: the column of values is `value`, `indicator`,
//! `ioc` and the like, that of kinds `type`; or a column is named by its kind.

use super::value::{by_name, guess, shown};
use super::{Entry, Sink};

/// Columns that hold the value.
const VALUES: [&str; 7] = [
    "value",
    "indicator",
    "ioc",
    "ioc_value",
    "observable",
    "indicator_value",
    "pattern",
];
/// Columns that hold its kind.
const KINDS: [&str; 5] = [
    "type",
    "ioc_type",
    "indicator_type",
    "kind",
    "observable_type",
];
/// Columns that identify it.
const IDS: [&str; 4] = ["id", "uuid", "indicator_id", "ioc_id"];
/// Columns that say what it is about.
const NAMES: [&str; 8] = [
    "name",
    "description",
    "comment",
    "threat",
    "malware",
    "malware_printable",
    "tags",
    "event_info",
];

pub(super) fn read(text: &str, sink: &mut Sink<'_>) {
    let first = text
        .lines()
        .zip(1_u32..)
        .find(|(line, _)| !is_comment(line));
    let Some((header, at)) = first else {
        sink.summary.format = "list";
        return;
    };
    // abuse.ch and others write the header as a comment.
    let commented = text.lines().zip(1_u32..).find(|(line, number)| {
        *number < at && line.starts_with('#') && columns(line.trim_start_matches('#')).is_some()
    });
    let (header, at) = match commented {
        Some((line, number)) if header.contains(',') => (line.trim_start_matches('#'), number),
        _ => (header, at),
    };
    match columns(header) {
        Some(columns) => {
            sink.summary.format = "csv";
            table(text, at, &columns, sink);
        }
        None => {
            sink.summary.format = "list";
            lines(text, sink);
        }
    }
}

fn is_comment(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with(['#', ';']) || line.starts_with("//")
}

fn lines(text: &str, sink: &mut Sink<'_>) {
    for (line, number) in text.lines().zip(1_u32..) {
        if is_comment(line) {
            continue;
        }
        // A comment behind the value needs a blank before it: `#` may stand in URLs.
        let value = match line.find(" #").or_else(|| line.find("\t#")) {
            Some(end) => line.get(..end).unwrap_or(line),
            None => line,
        };
        let mut words = value.split_whitespace();
        let (first, second) = (words.next().unwrap_or_default(), words.next());
        let value = match (first, second) {
            ("0.0.0.0" | "127.0.0.1" | "::" | "::1", Some(name)) => name,
            (_, Some(_)) => {
                sink.problem(
                    number,
                    format!("`{}` is more than one value", shown(value.trim())),
                );
                continue;
            }
            (first, None) => first.trim_matches(['"', '\'', ',']),
        };
        let entry = Entry {
            line: number,
            ..Entry::default()
        };
        sink.take(&entry, guess(value));
    }
}

/// What a CSV's columns are.
struct Columns {
    /// Column and kind; no kind where another column says it, or nobody does.
    values: Vec<(usize, Option<String>)>,
    kind: Option<usize>,
    id: Option<usize>,
    name: Option<usize>,
    wanted: Option<usize>,
}

fn columns(header: &str) -> Option<Columns> {
    if !header.contains(',') {
        return None;
    }
    let mut fields = Records::new(header).next()?.1;
    for field in &mut fields {
        *field = field.trim().to_ascii_lowercase();
    }
    let find = |names: &[&str]| {
        fields
            .iter()
            .position(|field| names.contains(&field.as_str()))
    };
    let values = match find(&VALUES) {
        Some(column) => vec![(column, None)],
        None => {
            let by_kind = fields.iter().enumerate().filter(|(_, field)| {
                // `id` and the like are no kinds; a value that none takes tells.
                by_name(field, "").is_some() && !KINDS.contains(&field.as_str())
            });
            by_kind
                .map(|(column, field)| (column, Some(field.clone())))
                .collect()
        }
    };
    (!values.is_empty()).then(|| Columns {
        values,
        kind: find(&KINDS),
        id: find(&IDS),
        name: find(&NAMES),
        wanted: find(&["to_ids"]),
    })
}

fn table(text: &str, header: u32, columns: &Columns, sink: &mut Sink<'_>) {
    for (line, fields) in Records::new(text) {
        if line <= header || fields.first().is_some_and(|field| field.starts_with('#')) {
            continue;
        }
        if fields.iter().all(|field| field.trim().is_empty()) {
            continue;
        }
        let field = |column: Option<usize>| {
            let text = fields.get(column?)?.trim();
            (!text.is_empty()).then_some(text)
        };
        if matches!(field(columns.wanted), Some("0" | "false" | "False")) {
            sink.skip();
            continue;
        }
        let entry = Entry {
            line,
            id: field(columns.id),
            name: field(columns.name),
            ..Entry::default()
        };
        let mut any = false;
        for (column, kind) in &columns.values {
            let Some(value) = field(Some(*column)) else {
                continue;
            };
            any = true;
            let kind = kind.as_deref().or_else(|| field(columns.kind));
            match kind.map(|kind| (kind, by_name(kind, value))) {
                Some((_, Some(parsed))) => sink.take(&entry, parsed),
                Some((kind, None)) if kind.contains([':', '|']) || is_of_misp(kind) => {
                    super::misp::value(&entry, kind, value, sink);
                }
                // Some lists have columns such as `type` for other things.
                _ => sink.take(&entry, guess(value)),
            }
        }
        if !any {
            sink.problem(line, "has no value");
        }
    }
}

/// Types of MISP that say that the value is nothing a capture shows.
fn is_of_misp(kind: &str) -> bool {
    [
        "filename",
        "email",
        "regkey",
        "mutex",
        "comment",
        "text",
        "vulnerability",
        "btc",
        "yara",
    ]
    .iter()
    .any(|known| kind.starts_with(known))
}

/// Records of a CSV with the line on which each begins; quotes may hold line
/// breaks and, doubled, themselves.
struct Records<'a> {
    rest: &'a str,
    line: u32,
}

/// Fields of a record that are kept.
const MAX_FIELDS: usize = 256;

impl<'a> Records<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            rest: text,
            line: 1,
        }
    }
}

impl Iterator for Records<'_> {
    type Item = (u32, Vec<String>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let start = self.line;
        let mut fields = Vec::new();
        let mut field = String::new();
        let mut is_quoted = false;
        let mut end = self.rest.len();
        let mut characters = self.rest.char_indices().peekable();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' if is_quoted && characters.peek().is_some_and(|(_, next)| *next == '"') => {
                    characters.next();
                    field.push('"');
                }
                '"' if is_quoted => is_quoted = false,
                '"' if field.trim().is_empty() => {
                    field.clear();
                    is_quoted = true;
                }
                ',' if !is_quoted => {
                    if fields.len() < MAX_FIELDS {
                        fields.push(std::mem::take(&mut field));
                    }
                }
                '\n' => {
                    self.line = self.line.saturating_add(1);
                    if !is_quoted {
                        end = at + 1;
                        break;
                    }
                    field.push('\n');
                }
                '\r' if !is_quoted => {}
                other => field.push(other),
            }
        }
        fields.push(field);
        self.rest = self.rest.get(end..).unwrap_or_default();
        Some((start, fields))
    }
}
