//! Which kind of service a destination is, of those that AI assistants and
//! agents talk to: by the names and paths of `rules/destinations.tsv`, or because
//! a request speaks the Model Context Protocol. A label, never a judgement.

use super::plain::http::{HttpTransaction, Text};
use std::collections::HashMap;
use std::sync::OnceLock;

const FILE: &str = include_str!("../../../rules/destinations.tsv");

/// Labels of a name that are looked at, from its end: more than any rule has.
const MAX_LABELS: usize = 8;

/// What the Model Context Protocol's methods begin with (specification of
/// 2025-06-18, schema); `initialize` and `ping` stand alone.
const MCP_FAMILIES: [&str; 9] = [
    "tools/",
    "resources/",
    "prompts/",
    "notifications/",
    "completion/",
    "sampling/",
    "roots/",
    "logging/",
    "elicitation/",
];

#[derive(Debug, Default)]
struct Rules {
    names: HashMap<&'static str, &'static str>,
    /// Names with a label that may be any: what is before it, behind it, and the class.
    patterns: Vec<(&'static str, &'static str, &'static str)>,
    paths: Vec<(&'static str, &'static str)>,
}

fn rules() -> &'static Rules {
    static RULES: OnceLock<Rules> = OnceLock::new();
    RULES.get_or_init(|| {
        let mut rules = Rules::default();
        for line in FILE.lines().filter(|line| !line.starts_with('#')) {
            let mut columns = line.split('\t');
            match (columns.next(), columns.next(), columns.next()) {
                (Some(class), Some("name"), Some(name)) => match name.split_once(".*.") {
                    Some((before, behind)) => rules.patterns.push((before, behind, class)),
                    None => {
                        rules.names.insert(name, class);
                    }
                },
                (Some(class), Some("path"), Some(path)) => rules.paths.push((path, class)),
                _ => {}
            }
        }
        rules
    })
}

/// The class of a name in lower case, or of the nearest name above it that has
/// one: `llm`, `package_registry`, `code_host` and so on.
pub fn of_name(name: &str) -> Option<&'static str> {
    let rules = rules();
    let name = name.trim_end_matches('.');
    let dots = name.rmatch_indices('.').take(MAX_LABELS);
    let mut above: [Option<&str>; MAX_LABELS] = [None; MAX_LABELS];
    let mut is_whole = true;
    for (slot, (at, _)) in above.iter_mut().zip(dots) {
        *slot = name.get(at.saturating_add(1)..);
        is_whole = at > 0;
    }
    let whole = is_whole.then_some(name);
    let mut nearest = whole.into_iter().chain(above.into_iter().rev().flatten());
    nearest.find_map(|name| {
        rules.names.get(name).copied().or_else(|| {
            let any = |(before, behind, _): &&(&str, &str, &str)| {
                let label = name
                    .strip_prefix(before)
                    .and_then(|rest| rest.strip_prefix('.'));
                let label = label.and_then(|rest| rest.strip_suffix(behind)?.strip_suffix('.'));
                label.is_some_and(|label| !label.is_empty() && !label.contains('.'))
            };
            rules.patterns.iter().find(any).map(|(_, _, class)| *class)
        })
    })
}

/// The class of a transaction's destination: by what it speaks (`mcp`), else by
/// its host, else by its path.
pub fn of_transaction(tx: &HttpTransaction) -> Option<&'static str> {
    if speaks_mcp(tx) {
        return Some("mcp");
    }
    let by_name = tx.text(Text::Host).and_then(of_name);
    by_name.or_else(|| {
        let path = tx.text(Text::Path)?;
        let known = rules().paths.iter().find(|(beginning, _)| {
            path.strip_prefix(beginning)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        known.map(|(_, class)| *class)
    })
}

/// Whether a transaction speaks the Model Context Protocol: its transport's
/// headers, or its methods in JSON-RPC.
fn speaks_mcp(tx: &HttpTransaction) -> bool {
    const SESSION: &str = "mcp-session-id";
    tx.has_header("mcp-protocol-version")
        || tx.has_header(SESSION)
        || tx.has_response_header(SESSION)
        || tx.text(Text::RpcMethod).is_some_and(|method| {
            method == "initialize" || MCP_FAMILIES.iter().any(|family| method.starts_with(family))
        })
}

/// The language model that a request names: in its body, else in its path as
/// Gemini (`/models/NAME:generateContent`), Azure (`/openai/deployments/NAME/…`)
/// and Bedrock (`/model/NAME/invoke`) have it.
pub fn model(tx: &HttpTransaction) -> Option<&str> {
    tx.text(Text::Model)
        .or_else(|| model_in(tx.text(Text::Path)?))
}

fn model_in(path: &str) -> Option<&str> {
    let segment = |behind: &str| {
        let (_, rest) = path.split_once(behind)?;
        Some(rest.split_once('/').unwrap_or((rest, "")))
    };
    if let Some((named, "")) = segment("/models/")
        && let Some((name, verb)) = named.rsplit_once(':')
        && verb.ends_with("Content")
    {
        return Some(name).filter(|name| !name.is_empty());
    }
    let named = segment("/openai/deployments/").or_else(|| {
        let verbs = ["invoke", "converse"];
        segment("/model/").filter(|(_, verb)| verbs.iter().any(|known| verb.starts_with(known)))
    });
    named.map(|(name, _)| name).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::plain::testing::{c, http_of, talk_rows};
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_line_is_read() {
        let lines: Vec<Vec<&str>> = FILE
            .lines()
            .filter(|line| !line.starts_with('#') && !line.starts_with("class\t"))
            .map(|line| line.split('\t').collect())
            .collect();
        let rules = rules();
        let read = rules.names.len() + rules.patterns.len() + rules.paths.len();
        assert_eq!(read, lines.len());
        let whats: BTreeSet<&str> = lines.iter().map(|line| line[2]).collect();
        assert_eq!(whats.len(), lines.len(), "each once");
        for line in &lines {
            let what = line[2];
            assert_eq!(line.len(), 3, "{what}");
            assert_eq!(line[1] == "path", what.starts_with('/'), "{what}");
            assert_eq!(what, what.to_ascii_lowercase());
            assert!(!what.ends_with('/') && !what.ends_with('.'), "{what}");
            assert!(what.split('.').count() <= MAX_LABELS, "{what}");
        }
    }

    #[test]
    fn names_have_the_class_of_the_nearest_name_above() {
        for (name, class) in [
            ("api.openai.com", Some("llm")),
            ("mine.openai.azure.com", Some("llm")),
            ("api-inference.huggingface.co", Some("llm")),
            ("huggingface.co", Some("code_host")),
            ("raw.githubusercontent.com.", Some("code_host")),
            ("bedrock-runtime.eu-west-1.amazonaws.com", Some("llm")),
            ("vpce.bedrock-runtime.eu-west-1.amazonaws.com", Some("llm")),
            ("bedrock-runtime.a.b.amazonaws.com", None),
            ("bedrock-runtime..amazonaws.com", None),
            ("index.crates.io", Some("package_registry")),
            ("a.b.c.d.e.f.g.h.i.j.k.github.com", Some("code_host")),
            ("notgithub.com", None),
            ("github.com.example", None),
            ("com", None),
            (".", None),
            ("", None),
        ] {
            assert_eq!(of_name(name), class, "{name}");
        }
    }

    fn told(head: &str, body: &str) -> (Option<&'static str>, Option<String>) {
        let request = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let rows = http_of(talk_rows(&[c(request)]));
        (of_transaction(&rows[0]), model(&rows[0]).map(str::to_owned))
    }

    #[test]
    fn transactions_have_the_class_of_what_they_speak() {
        let json = "HTTP/1.1\r\nContent-Type: application/json\r\nHost:";
        let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}"#;
        let other = r#"{"jsonrpc":"2.0","id":1,"method":"eth_call","params":[]}"#;
        let asks = r#"{"messages":[{"role":"user","content":"x"}],"model":"m-1"}"#;
        for (head, body, class, model) in [
            (
                format!("POST /v1/chat/completions {json} 10.0.0.5"),
                asks,
                Some("llm"),
                Some("m-1"),
            ),
            (format!("POST /v1/messagesX {json} a"), "{}", None, None),
            (format!("POST /rpc {json} a"), call, Some("mcp"), None),
            (format!("POST /rpc {json} a"), other, None, None),
            (
                "GET /mcp HTTP/1.1\r\nHost: a".to_owned(),
                "",
                Some("mcp"),
                None,
            ),
            (
                "POST /x HTTP/1.1\r\nMcp-Session-Id: 1\r\nHost: api.openai.com".to_owned(),
                "",
                Some("mcp"),
                None,
            ),
            (
                "GET /serde HTTP/1.1\r\nHost: static.crates.io".to_owned(),
                "",
                Some("package_registry"),
                None,
            ),
            (
                format!(
                    "POST /v1beta/models/gemini-2.0-flash:streamGenerateContent {json} generativelanguage.googleapis.com"
                ),
                "{}",
                Some("llm"),
                Some("gemini-2.0-flash"),
            ),
            (
                format!("POST /openai/deployments/mine/chat/completions {json} a"),
                "{}",
                Some("llm"),
                Some("mine"),
            ),
            (
                format!(
                    "POST /model/vendor.name-v2:0/invoke {json} bedrock-runtime.us-east-1.amazonaws.com"
                ),
                "{}",
                Some("llm"),
                Some("vendor.name-v2:0"),
            ),
            (
                "GET /model/x/y HTTP/1.1\r\nHost: a".to_owned(),
                "",
                None,
                None,
            ),
        ] {
            assert_eq!(
                told(&head, body),
                (class, model.map(str::to_owned)),
                "{head}"
            );
        }
    }
}
