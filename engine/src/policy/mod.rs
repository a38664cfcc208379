//! What a run is judged by: read once from YAML, checked, then passed by
//! reference to whoever needs it.
//!
//! Keys that are left out take the defaults of the built-in policy
//! (`rules/policy.yaml`). Unknown keys and bad values are refused with file,
//! line and key: a misspelt control must not pass for a missing one.

mod alerts;
mod allowlist;
mod limits;
mod shape;
mod values;

pub use alerts::{Address, AlertDestination, AlertKind, expand, variables};
pub use allowlist::Allowlist;
pub use limits::Limits;
pub use shape::*;
pub use values::{Cidr, Pin, SuitePattern, TlsVersion};
pub(crate) use values::{glob, number as number_of};

use crate::error::{Error, Result};
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::OnceLock;

/// The built-in policy, with its comments.
pub const BUILT_IN: &str = include_str!("../../../rules/policy.yaml");

/// The full example of the controls' documents, ready to be edited.
pub const EXAMPLE: &str = include_str!("../../../rules/policies/example.yaml");

/// Largest policy that is read, bytes.
const MAX_BYTES: usize = 1 << 20;

/// A checked policy. Derefs to its [`Shape`].
#[derive(Clone, Debug, Default)]
pub struct Policy {
    shape: Shape,
    /// What the denied and allowed patterns make of each suite code; filled
    /// by the controls on first use.
    pub(crate) suite_classes: OnceLock<Box<[u8]>>,
    /// The allowlist, made on first use.
    allowlist: OnceLock<Option<Allowlist>>,
}

impl Deref for Policy {
    type Target = Shape;

    fn deref(&self) -> &Shape {
        &self.shape
    }
}

impl From<Shape> for Policy {
    fn from(shape: Shape) -> Self {
        Self {
            shape,
            suite_classes: OnceLock::new(),
            allowlist: OnceLock::new(),
        }
    }
}

impl Policy {
    /// The built-in policy: every default.
    pub fn built_in() -> Self {
        Self::default()
    }

    /// Reads a policy; `file` names it in errors.
    ///
    /// # Errors
    ///
    /// [`Error::Policy`] with line, column and key.
    pub fn from_yaml(text: &str, file: &str) -> Result<Self> {
        let refuse = |line, column, message| Error::Policy {
            file: file.to_owned(),
            line,
            column,
            message,
        };
        if text.len() > MAX_BYTES {
            return Err(refuse(0, 0, format!("is longer than {MAX_BYTES} bytes")));
        }
        // An empty file means: every default.
        let only_comments = text
            .lines()
            .all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
        let mut shape: Shape = if only_comments {
            Shape::default()
        } else {
            serde_saphyr::from_str(text).map_err(|error| {
                let at = error.location();
                let line = at.as_ref().map_or(0, |at| at.line());
                let column = at.as_ref().map_or(0, |at| at.column());
                refuse(line, column, explain(&error, text, line))
            })?
        };
        // Written out in the effective policy, whoever left it out.
        for pattern in &mut shape.monitoring.network.patterns.command_and_control {
            if pattern.pattern == C2Kind::PeriodicBeaconing {
                pattern.key.get_or_insert_default();
                pattern.explained.get_or_insert_default();
            }
        }
        let problems = problems(&shape);
        if let Some((key, _)) = problems.first() {
            let (line, column) = place_of(text, key);
            let message: Vec<String> = problems
                .iter()
                .map(|(key, message)| format!("{key}: {message}"))
                .collect();
            return Err(refuse(line, column, message.join("; ")));
        }
        Ok(shape.into())
    }

    /// The effective policy, every key written out.
    pub fn to_yaml(&self) -> String {
        serde_saphyr::to_string(&self.shape).unwrap_or_default()
    }

    /// SHA-256 over [`Policy::to_yaml`]: equal for policies that mean the same.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.to_yaml().as_bytes()).into()
    }

    /// Where traffic may go; none where the policy has no such list.
    pub fn allowlist(&self) -> Option<&Allowlist> {
        let list = || {
            let destinations = &self.monitoring.network.destinations;
            destinations.allowlist.as_deref().map(Allowlist::new)
        };
        self.allowlist.get_or_init(list).as_ref()
    }

    /// Whether an address lies in one of the local networks.
    pub fn is_local(&self, address: IpAddr) -> bool {
        let networks = &self.monitoring.network.destinations.local_networks;
        networks.iter().any(|network| network.contains(address))
    }
}

/// The parser's message, with the likely meaning of a misspelt key.
fn explain(error: &serde_saphyr::Error, text: &str, line: u64) -> String {
    let rendered = error.to_string();
    let first = rendered.lines().next().unwrap_or_default();
    // The place is told by `Error::Policy` already.
    let first = match first.split_once(": ") {
        Some(("error", rest)) => rest.split_once(": ").map_or(rest, |(_, message)| message),
        _ => first,
    };
    let path = key_path(text, line);
    let mut message = plainly(first.trim(), text, line);
    if let Some((unknown, expected)) = message
        .strip_prefix("unknown field ")
        .and_then(|rest| rest.split_once(", expected "))
    {
        let unknown = unknown.trim_matches('`');
        let known = expected.trim_start_matches("one of ").split(", ");
        let nearest = known
            .map(|known| known.trim_matches('`'))
            .map(|known| (distance(unknown, known), known))
            .min()
            .filter(|(distance, _)| *distance <= 3);
        if let Some((_, known)) = nearest {
            message = format!("{message}; did you mean `{known}`?");
        }
    }
    if !path.is_empty() {
        message = format!("{path}: {message}");
    }
    message
}

/// The library's words about YAML, where they speak to programmers.
fn plainly(message: &str, text: &str, line: u64) -> String {
    const TWICE: &str = "duplicate mapping key: ";
    if let Some(key) = message.strip_prefix(TWICE) {
        let key = key.split(", set ").next().unwrap_or(key);
        return match line_before(text, key, line) {
            0 => format!("`{key}` is given twice"),
            first => format!("`{key}` is given twice: line {first} has it already"),
        };
    }
    for (theirs, ours) in [
        (
            "multiple YAML documents detected",
            "holds more than one document (a line `---`)",
        ),
        (
            "expected mapping start",
            "expected keys with values (`key: value`)",
        ),
        (
            "expected sequence start",
            "expected a list (`[a, b]`, or lines that begin with `- `)",
        ),
        ("invalid boolean", "expected true or false"),
        ("tabs disallowed", "a tab cannot indent: use blanks"),
        ("unexpected end of input", "ends in the middle of something"),
    ] {
        if message.starts_with(theirs) {
            return ours.to_owned();
        }
    }
    message.to_owned()
}

/// The last line before `line` with the same key, indented alike; 0 for none.
fn line_before(text: &str, key: &str, line: u64) -> u64 {
    let indent_of = |line: &str| line.len() - line.trim_start().len();
    let is_it = |text: &str| {
        let rest = text.trim_start().strip_prefix(key);
        rest.is_some_and(|rest| rest.trim_start().starts_with(':'))
    };
    let at = usize::try_from(line).unwrap_or_default();
    let Some(second) = at.checked_sub(1).and_then(|at| text.lines().nth(at)) else {
        return 0;
    };
    let lines = text.lines().take(at.saturating_sub(1)).zip(1_u64..);
    let alike = lines.filter(|(text, _)| is_it(text) && indent_of(text) == indent_of(second));
    alike.last().map_or(0, |(_, number)| number)
}

/// The line on which an item of the list below a dotted key stands; the key's
/// own line where the item is not found, 0 where neither is.
pub fn line_of_item(text: &str, key: &str, item: &str) -> u64 {
    let (start, _) = place_of(text, key);
    let skipped = usize::try_from(start.saturating_sub(1)).unwrap_or_default();
    let mut lines = text.lines().zip(1_u64..).skip(skipped);
    lines
        .find(|(line, _)| line.contains(item))
        .map_or(start, |(_, number)| number)
}

/// The keys that lead to a line, by indentation: `network.tls.min_version`.
fn key_path(text: &str, line: u64) -> String {
    let Ok(line) = usize::try_from(line) else {
        return String::new();
    };
    let mut keys: Vec<&str> = Vec::new();
    let mut indent = usize::MAX;
    for text in text
        .lines()
        .take(line)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
    {
        let trimmed = text.trim_start().trim_start_matches("- ");
        let here = text.len() - trimmed.len();
        let Some((key, _)) = trimmed.split_once(':') else {
            continue;
        };
        let plain = !key.is_empty() && !key.contains([' ', '#', '"', '\'', '{', '[']);
        if plain && here < indent {
            indent = here;
            keys.push(key);
        }
    }
    keys.reverse();
    keys.join(".")
}

/// Line and column at which the last part of a dotted key stands, below its
/// parents where they are written out; 0 for both when it does not.
fn place_of(text: &str, key: &str) -> (u64, u64) {
    let last = key.rsplit('.').next().unwrap_or(key);
    let begins = |line: &str| {
        let line = line.trim_start().trim_start_matches("- ");
        line.strip_prefix(last)
            .is_some_and(|rest| rest.trim_start().starts_with(':'))
    };
    let numbered = || text.lines().zip(1_u64..);
    let found = numbered()
        .find(|(line, number)| begins(line) && key_path(text, *number) == key)
        .or_else(|| numbered().find(|(line, _)| begins(line)))
        .or_else(|| numbered().find(|(line, _)| names_within(line, last)));
    let Some((line, number)) = found else {
        return (0, 0);
    };
    let before = line.find(last).and_then(|at| line.get(..at));
    let column = before.map_or(0, |before| before.chars().count() as u64);
    (number, column + 1)
}

/// Whether a line has the key in a mapping on one line, `{key: value}`, or in
/// quotes.
fn names_within(line: &str, key: &str) -> bool {
    let line = line.split(" #").next().unwrap_or_default();
    if line.starts_with('#') {
        return false;
    }
    line.match_indices(key).any(|(at, _)| {
        let (before, rest) = line.split_at_checked(at).unwrap_or_default();
        let begins = before.is_empty() || before.ends_with([' ', '\t', '{', ',', '"', '\'']);
        let rest = rest.get(key.len()..).unwrap_or_default();
        let rest = rest.trim_start_matches(['"', '\'']).trim_start();
        begins && rest.starts_with(':')
    })
}

/// Edits that turn one word into another (Levenshtein 1966), for short words.
pub(crate) fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().take(64).enumerate() {
        let mut diagonal = i;
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
        for (j, &cb) in b.iter().enumerate() {
            let change = diagonal + usize::from(ca != cb);
            let (left, above) = (row.get(j).copied(), row.get(j + 1).copied());
            let best = change
                .min(left.unwrap_or(0) + 1)
                .min(above.unwrap_or(0) + 1);
            diagonal = above.unwrap_or(0);
            if let Some(cell) = row.get_mut(j + 1) {
                *cell = best;
            }
        }
    }
    row.last().copied().unwrap_or(0)
}

/// What types cannot say: ranges, and values that contradict each other.
fn problems(shape: &Shape) -> Vec<(&'static str, String)> {
    let mut problems = Vec::new();
    let mut check = |good: bool, key: &'static str, message: &str| {
        if !good {
            problems.push((key, message.to_owned()));
        }
    };
    let tls = &shape.network.tls;
    check(
        tls.preferred_version >= tls.min_version,
        "network.tls.preferred_version",
        "is below min_version",
    );
    let above_zero = |value: f64| value.is_finite() && value > 0.0;
    let input = &shape.api.input_validation;
    check(
        above_zero(input.max_request_size_mb),
        "api.input_validation.max_request_size_mb",
        "must be above 0",
    );
    check(
        above_zero(input.max_header_size_kb),
        "api.input_validation.max_header_size_kb",
        "must be above 0",
    );
    let monitoring = &shape.monitoring.network;
    let volume = &monitoring.volume.alert_thresholds;
    for (key, value) in [
        (
            "monitoring.network.volume.alert_thresholds.single_request_mb",
            volume.single_request_mb,
        ),
        (
            "monitoring.network.volume.alert_thresholds.hourly_total_mb",
            volume.hourly_total_mb,
        ),
        (
            "monitoring.network.volume.alert_thresholds.daily_total_mb",
            volume.daily_total_mb,
        ),
    ] {
        check(above_zero(value), key, "must be above 0");
    }
    for pattern in &monitoring.patterns.exfiltration {
        check(
            pattern.threshold_kb.is_none_or(above_zero),
            "monitoring.network.patterns.exfiltration.threshold_kb",
            "must be above 0",
        );
        check(
            pattern
                .entropy_threshold
                .is_none_or(|value| (0.0..=1.0).contains(&value)),
            "monitoring.network.patterns.exfiltration.entropy_threshold",
            "is a ratio: 0 to 1 (bits per byte / 8)",
        );
    }
    for pattern in &monitoring.patterns.command_and_control {
        check(
            pattern.interval_variance_threshold.is_none_or(above_zero),
            "monitoring.network.patterns.command_and_control.interval_variance_threshold",
            "must be above 0",
        );
    }
    for (key, message) in monitoring
        .alerts
        .destinations
        .iter()
        .filter_map(AlertDestination::problem)
    {
        check(false, key, &message);
    }
    let limits = &shape.limits;
    for (key, value) in [
        ("limits.tcp_idle_seconds", limits.tcp_idle_seconds),
        ("limits.tcp_attempt_seconds", limits.tcp_attempt_seconds),
        ("limits.tcp_close_seconds", limits.tcp_close_seconds),
        ("limits.udp_idle_seconds", limits.udp_idle_seconds),
        ("limits.icmp_idle_seconds", limits.icmp_idle_seconds),
        ("limits.fragment_seconds", limits.fragment_seconds),
        ("limits.dns_answer_seconds", limits.dns_answer_seconds),
    ] {
        check(
            (1..=31_536_000).contains(&value),
            key,
            "is seconds: 1 to 31536000 (a year)",
        );
    }
    for (key, value, least) in [
        ("limits.max_flows", limits.max_flows, 1_024),
        (
            "limits.reassembly_flow_bytes",
            limits.reassembly_flow_bytes,
            4_096,
        ),
        (
            "limits.reassembly_total_bytes",
            limits.reassembly_total_bytes,
            1 << 20,
        ),
        (
            "limits.parser_total_bytes",
            limits.parser_total_bytes,
            1 << 20,
        ),
        ("limits.fragment_bytes", limits.fragment_bytes, 65_536),
        (
            "limits.tls_handshake_bytes",
            limits.tls_handshake_bytes,
            16_384,
        ),
        ("limits.keylog_secrets", limits.keylog_secrets, 1),
        ("limits.chain_certificates", limits.chain_certificates, 1),
        ("limits.waiting_flows", limits.waiting_flows, 64),
        ("limits.max_certificates", limits.max_certificates, 1),
        ("limits.max_findings", limits.max_findings, 1),
        ("limits.http_waiting", limits.http_waiting, 1),
        ("limits.http_head_bytes", limits.http_head_bytes, 1_024),
        ("limits.http_ordered", limits.http_ordered, 1),
        ("limits.api_subjects", limits.api_subjects, 1),
        ("limits.behaviour_names", limits.behaviour_names, 1_024),
        ("limits.behaviour_subjects", limits.behaviour_subjects, 1),
        ("limits.dns_names", limits.dns_names, 1),
        ("limits.indicators", limits.indicators, 1),
        ("limits.behaviour_events", limits.behaviour_events, 1_024),
        ("limits.dns_waiting", limits.dns_waiting, 1),
        ("limits.dns_answer_bytes", limits.dns_answer_bytes, 512),
    ] {
        check(value >= least, key, &format!("must be at least {least}"));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_policy_says_what_the_defaults_are() {
        let read = Policy::from_yaml(BUILT_IN, "rules/policy.yaml").unwrap();
        assert_eq!(*read, *Policy::built_in());
    }

    #[test]
    fn the_example_is_valid() {
        let example = Policy::from_yaml(EXAMPLE, "rules/policies/example.yaml").unwrap();
        let allowlist = example.monitoring.network.destinations.allowlist.as_deref();
        assert!(allowlist.is_some_and(|list| list.iter().any(|host| host == "*.npmjs.org")));
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        for policy in [Policy::built_in(), Policy::from_yaml(EXAMPLE, "x").unwrap()] {
            let again = Policy::from_yaml(&policy.to_yaml(), "again").unwrap();
            assert_eq!((*again).clone(), (*policy).clone());
            assert_eq!(again.digest(), policy.digest());
        }
    }

    #[test]
    fn an_empty_policy_is_the_built_in_one() {
        for text in ["", "# nothing\n\n", "network:\n  tls:\n    enabled: true\n"] {
            assert_eq!(*Policy::from_yaml(text, "x").unwrap(), *Policy::built_in());
        }
    }

    #[test]
    fn a_problem_is_told_with_its_place() {
        for (text, place) in [
            (
                "network:\n  tls:\n    min_version: TLS1.3\n    preferred_version: TLS1.2\n",
                (4, 5),
            ),
            ("limits:\n    udp_idle_seconds: 0\n", (2, 5)),
            ("limits: {udp_idle_seconds: 0}\n", (1, 10)),
            (
                "# udp_idle_seconds: 1\n\nlimits:\n  udp_idle_seconds: 0\n",
                (4, 3),
            ),
        ] {
            let error = Policy::from_yaml(text, "p.yaml").unwrap_err();
            let Error::Policy { line, column, .. } = error else {
                panic!("{error}")
            };
            assert_eq!((line, column), place, "{text}");
        }
    }

    /// The key by which beacons are grouped is told, also where it was left out.
    #[test]
    fn the_effective_policy_has_every_key() {
        let beacons = "monitoring:\n  network:\n    patterns:\n      command_and_control:\n        - pattern: periodic_beaconing\n";
        for text in ["", beacons] {
            let yaml = Policy::from_yaml(text, "p").unwrap().to_yaml();
            for key in ["key: source_destination_port", "explained: open"] {
                assert_eq!(yaml.matches(key).count(), 1, "{key} in {yaml}");
            }
        }
        let built_in = Policy::built_in().to_yaml();
        assert_eq!(
            Policy::from_yaml(&built_in, "p").unwrap().to_yaml(),
            built_in
        );
    }

    #[track_caller]
    fn refused(text: &str, line: u64, words: &[&str]) {
        let error = Policy::from_yaml(text, "p.yaml").unwrap_err();
        let Error::Policy { line: at, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!(*at, line, "{error}");
        let shown = error.to_string();
        for word in words {
            assert!(shown.contains(word), "{shown} lacks {word}");
        }
    }

    #[test]
    fn errors_name_file_line_and_key() {
        refused(
            "network:\n  tls:\n    min_verson: TLS1.2\n",
            3,
            &["p.yaml:3:", "min_verson", "did you mean `min_version`?"],
        );
        refused(
            "network:\n  tls:\n    min_version: TLS9\n",
            3,
            &["TLS9", "TLS1.2", "network.tls"],
        );
        refused(
            "network:\n  tls:\n    enabled: maybe\n",
            3,
            &["network.tls.enabled"],
        );
        refused(
            "limits:\n  max_flows: 7\n",
            2,
            &["limits.max_flows", "at least 1024"],
        );
        refused("limits:\n  max_flows: -1\n", 2, &["max_flows"]);
        refused("\nlimits: {max_flows: 0}\n", 2, &["limits.max_flows"]);
        refused(
            "# max_flows: 0\nlimits: {max_findings: 9, \"max_flows\": 0}\n",
            2,
            &["limits.max_flows"],
        );
        refused(
            "monitoring:\n  network:\n    alerts:\n      destinations:\n        - {type: webhook, url: \"http://example.org\"}\n",
            5,
            &["https"],
        );
        refused(
            "network:\n  tls:\n    preferred_version: TLS1.1\n",
            3,
            &["preferred_version", "below min_version"],
        );
        refused(
            "network:\n  certificates:\n    pinning:\n      pins:\n        - host: a\n          \
             pins: [\"sha256/AAAA\"]\n",
            6,
            &["sha256/AAAA", "32 bytes"],
        );
        refused("verdicts:\n  fail_at: terrible\n", 2, &["fail_at"]);
        refused("network: [\n", 1, &["p.yaml"]);
    }

    #[test]
    fn errors_speak_to_who_writes_policies() {
        refused(
            "network:\n  tls:\n    min_version: TLS1.2\n    min_version: TLS1.3\n",
            4,
            &[
                "network.tls.min_version",
                "`min_version` is given twice: line 3 has it already",
            ],
        );
        refused(
            "network: {tls: {}}\n---\napi: {}\n",
            3,
            &["more than one document"],
        );
        refused("network:\n  tls: [1\n", 2, &["`key: value`"]);
        refused("network:\n\ttls: 1\n", 2, &["a tab cannot indent"]);
        refused(
            "network:\n  tls:\n    enabled: maybe\n",
            3,
            &["expected true or false"],
        );
        refused("hello\n", 1, &["`key: value`"]);
    }

    #[test]
    fn items_of_lists_are_found() {
        let text = "a:\n  allowed: [X]\n  denied:\n    - X\n    - Y\n";
        assert_eq!(line_of_item(text, "a.denied", "X"), 4);
        assert_eq!(line_of_item(text, "a.denied", "Y"), 5);
        assert_eq!(line_of_item(text, "a.allowed", "X"), 2);
        assert_eq!(line_of_item(text, "a.denied", "Z"), 3);
        assert_eq!(line_of_item(text, "a.none", "Z"), 0);
    }

    #[test]
    fn a_yaml_bomb_is_refused() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..20 {
            let reference = format!("*a{}, ", level - 1).repeat(10);
            bomb.push_str(&format!("a{level}: &a{level} [{reference}]\n"));
        }
        assert!(Policy::from_yaml(&bomb, "bomb").is_err());
    }

    #[test]
    fn private_addresses_are_local() {
        let policy = Policy::built_in();
        assert!(policy.is_local("192.168.1.1".parse().unwrap()));
        assert!(policy.is_local("fe80::1".parse().unwrap()));
        assert!(!policy.is_local("93.184.216.34".parse().unwrap()));
    }
}
