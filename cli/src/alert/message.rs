//! One alert: a finding as JSON, and the same as a syslog message (RFC 5424).
//!
//! An alert holds what the finding's row holds and no more: no payload, no
//! credential ever stood there. Text from captures has its control and format
//! characters spelled out, since alerts are read on terminals and in browsers.

use crate::escape;
use crate::render::json::decimal;
use nsforensics_engine::finding::Finding;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The JSON's name.
const SCHEMA: &str = "nsforensics.alert/1";
/// Longest text from a capture in an alert, bytes: a name of the DNS, escaped.
const MAX_TEXT: usize = 1_024;
/// Flows that an alert names.
const MAX_FLOWS: usize = 20;

/// SD-ID of our parameters. RFC 5424 §7.2.2 wants a number registered by whoever
/// names them; this one is IANA's for everybody without (RFC 5612).
const SD_ID: &str = "nsforensics@32473";

/// The alert for a finding, as the text that is sent, stored and signed.
pub fn alert(run_id: &str, finding: &Finding) -> String {
    let (control_id, kind) = finding
        .check_id
        .split_once('.')
        .unwrap_or(("", finding.check_id));
    let numbers = &finding.numbers;
    let flow_ids = finding
        .flow_ids
        .get(..MAX_FLOWS)
        .unwrap_or(&finding.flow_ids);
    let mut value = json!({
        "schema": SCHEMA,
        "id": alert_id(run_id, &finding.finding_id),
        "tool": {"name": "nsforensics", "version": env!("CARGO_PKG_VERSION")},
        "run_id": run_id,
        "finding_id": finding.finding_id,
        "type": kind,
        "control_id": control_id,
        "check_id": finding.check_id,
        "severity": finding.severity.name(),
        "severity_id": finding.severity.id(),
        "title": text(&finding.title),
        "message": text(&finding.explanation),
        "source_ip": finding.src.to_string(),
        "destination": text(&finding.destination),
        "destination_ip": finding.dst.to_string(),
        "destination_port": finding.dst_port,
        "detail": text(&finding.detail),
        "first_seen": finding.ts_first.to_string(),
        "last_seen": finding.ts_last.to_string(),
        "count": finding.flow_count,
        "flow_ids": decimal(flow_ids),
        "hosts": finding.prevalence_hosts,
        "attack_techniques": finding.attack_techniques,
    });
    // What was measured, where the check measures. Of beacons, `variance` holds the
    // coefficient of variation: the name that policies have for it.
    let measure = numbers.measure.as_ref();
    let score = numbers.score.map(|score| shown(f64::from(score)));
    let known = [
        ("baseline", finding.baseline.map(Value::from)),
        ("score", score.map(Value::from)),
        ("metric", measure.map(|one| text(&one.metric).into())),
        ("observed", measure.map(|one| shown(one.observed).into())),
        ("threshold", measure.map(|one| one.threshold.into())),
        (
            "comparator",
            measure.map(|one| text(&one.comparator).into()),
        ),
        ("unit", measure.map(|one| text(&one.unit).into())),
        (
            "interval_seconds",
            numbers.interval_seconds.map(|one| shown(one).into()),
        ),
        ("variance", numbers.cv.map(|cv| shown(cv).into())),
        ("cv", numbers.cv.map(|cv| shown(cv).into())),
        ("samples", numbers.samples.map(Value::from)),
    ];
    if let Some(fields) = value.as_object_mut() {
        let known = known.into_iter();
        fields.extend(known.filter_map(|(name, value)| Some((name.to_owned(), value?))));
    }
    escape::json(&value.to_string())
}

/// Six digits after the point: what is beyond says nothing to people.
fn shown(value: f64) -> f64 {
    nsforensics_engine::control::ns04::rounded(value)
}

/// The same for every try and every destination, and for nothing else: by it a
/// receiver knows an alert that it has already.
fn alert_id(run_id: &str, finding_id: &str) -> String {
    let mut hash = Sha256::new();
    hash.update("nsforensics/v1/alert\0");
    hash.update(run_id);
    hash.update("\0");
    hash.update(finding_id);
    let digest = hash.finalize();
    digest
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn text(text: &str) -> String {
    cut(&escape::line(text), MAX_TEXT).to_owned()
}

/// At most `max` bytes, whole characters.
fn cut(text: &str, max: usize) -> &str {
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// What a syslog message needs beside the alert.
#[derive(Clone, Debug)]
pub struct Header<'a> {
    /// Facility code.
    pub facility: u8,
    /// When the alert was queued, RFC 3339.
    pub time: &'a str,
    /// This machine.
    pub host: &'a str,
    /// Longest message, bytes.
    pub limit: usize,
}

/// The alert as a message of RFC 5424.
pub fn syslog(alert: &Value, header: &Header<'_>) -> String {
    let field = |name: &str| match alert.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    let severity = match field("severity").as_str() {
        "critical" => 2,
        "high" => 3,
        "medium" => 4,
        "low" => 5,
        _ => 6,
    };
    let mut out = format!(
        "<{}>1 {} {} nsforensics - {} [{SD_ID}",
        u16::from(header.facility) * 8 + severity,
        timestamp(header.time),
        printable(header.host, 255),
        printable(&field("type"), 32),
    );
    for (name, key) in [
        ("id", "id"),
        ("run", "run_id"),
        ("finding", "finding_id"),
        ("check", "check_id"),
        ("severity", "severity"),
        ("src", "source_ip"),
        ("dst", "destination_ip"),
        ("dpt", "destination_port"),
        ("dest", "destination"),
        ("first", "first_seen"),
        ("last", "last_seen"),
        ("count", "count"),
    ] {
        out.push_str(&format!(" {name}=\"{}\"", parameter(&field(key), 255)));
    }
    for (name, key) in [
        ("score", "score"),
        ("interval", "interval_seconds"),
        ("variance", "variance"),
        ("cv", "cv"),
        ("samples", "samples"),
    ] {
        if alert.get(key).is_some() {
            out.push_str(&format!(" {name}=\"{}\"", parameter(&field(key), 255)));
        }
    }
    out.push_str("] ");
    let message = format!("{}: {}", field("title"), field("message"));
    // RFC 5424 §6.4: a message of UTF-8 begins with the mark, one of ASCII need not.
    if !message.is_ascii() {
        out.push('\u{feff}');
    }
    let room = header.limit.saturating_sub(out.len());
    out.push_str(cut(&message, room));
    out
}

/// RFC 5424 §6.2.3 takes six digits of a second at most.
fn timestamp(time: &str) -> String {
    let Some((seconds, fraction)) = time.strip_suffix('Z').and_then(|time| time.split_once('.'))
    else {
        return time.to_owned();
    };
    format!("{seconds}.{}Z", cut(fraction, 6))
}

/// `PRINTUSASCII`, or the nil value.
fn printable(text: &str, max: usize) -> String {
    let text: String = text
        .chars()
        .filter(|c| ('!'..='~').contains(c))
        .take(max)
        .collect();
    if text.is_empty() {
        "-".to_owned()
    } else {
        text
    }
}

/// RFC 5424 §6.3.3: `"`, `\` and `]` are escaped.
fn parameter(text: &str, max: usize) -> String {
    let mut out = String::new();
    for character in cut(text, max).chars() {
        if matches!(character, '"' | '\\' | ']') {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use nsforensics_engine::control::Severity;
    use nsforensics_engine::time::CaptureTime;

    fn finding() -> Finding {
        let mut finding = crate::render::sample::report().findings.remove(0);
        finding.check_id = "NS-01.plaintext";
        finding.severity = Severity::High;
        finding.finding_id = "F-ABCDEFGHIJKL".to_owned();
        finding.destination = "ev\"il]\\.example\u{202e}\n".to_owned();
        finding.ts_first = CaptureTime::from_nanos(1_700_000_000_123_456_789);
        finding
    }

    fn header(limit: usize) -> Header<'static> {
        Header {
            facility: 4,
            time: "2026-01-02T03:04:05.123456789Z",
            host: "ho st\u{e9}",
            limit,
        }
    }

    #[test]
    fn an_alert_holds_the_finding_and_its_text_is_harmless() {
        let text = alert("20260101T000000Z-00000000", &finding());
        assert!(!text.contains('\n') && !text.contains('\u{202e}'), "{text}");
        let value: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value["type"], "plaintext");
        assert_eq!(value["control_id"], "NS-01");
        assert_eq!(value["severity_id"], 4);
        assert_eq!(value["first_seen"], "2023-11-14T22:13:20.123456789Z");
        assert_eq!(value["destination"], "ev\"il]\\\\.example\\u{202e}\\n");
    }

    #[test]
    fn flow_ids_are_decimal_strings_and_few() {
        use nsforensics_engine::evidence::FlowId;
        let mut finding = finding();
        finding.flow_ids = (0..30)
            .map(|more| FlowId(9_007_199_254_740_993 + more))
            .collect();
        let value: Value = serde_json::from_str(&alert("run", &finding)).expect("JSON");
        let ids = value["flow_ids"].as_array().expect("a list");
        assert_eq!((ids.len(), ids[0].as_str()), (20, Some("9007199254740993")));
    }

    #[test]
    fn a_beacons_alert_has_its_interval_and_variation_under_both_names() {
        let mut finding = finding();
        let value = |finding: &Finding| -> Value {
            serde_json::from_str(&alert("run", finding)).expect("JSON")
        };
        let plain = value(&finding);
        assert!(plain.get("variance").is_none() && plain.get("cv").is_none());
        finding.check_id = "NS-04.periodic_beaconing";
        finding.numbers.cv = Some(0.031_250_000_4);
        finding.numbers.interval_seconds = Some(60.5);
        finding.numbers.samples = Some(48);
        finding.numbers.score = Some(0.75);
        let beacon = value(&finding);
        for (name, expected) in [
            ("variance", 0.031_25),
            ("cv", 0.031_25),
            ("interval_seconds", 60.5),
            ("score", 0.75),
        ] {
            assert_eq!(beacon[name], expected, "{name}");
        }
        assert_eq!(beacon["samples"], 48);
        let message = syslog(&beacon, &header(8_192));
        let fields =
            r#" score="0.75" interval="60.5" variance="0.03125" cv="0.03125" samples="48"] "#;
        assert!(message.contains(fields), "{message}");
    }

    #[test]
    fn ids_tell_runs_and_findings_apart_and_nothing_else() {
        let id = |run: &str, finding: &str| alert_id(run, finding);
        assert_eq!(id("a", "b"), id("a", "b"));
        assert_ne!(id("a", "b"), id("b", "b"));
        assert_ne!(id("a", "b"), id("a", "c"));
        assert_eq!(id("a", "b").len(), 32);
        // printf 'nsforensics/v1/alert\0a\0b' | sha256sum | cut -c1-32
        assert_eq!(id("a", "b"), "2fb3ddc3f12b7b78bb1879ecd98d4ad3");
    }

    #[test]
    fn syslog_messages_are_those_of_rfc_5424() {
        let value: Value = serde_json::from_str(&alert("run", &finding())).expect("JSON");
        let message = syslog(&value, &header(8_192));
        assert!(
            message.starts_with(
                "<35>1 2026-01-02T03:04:05.123456Z host nsforensics - plaintext \
                 [nsforensics@32473 id=\""
            ),
            "{message}"
        );
        // Spelled out once by `escape`, then escaped as a parameter.
        assert!(
            message.contains(r#" dest="ev\"il\]\\\\.example\\u{202e}\\n" "#),
            "{message}"
        );
        assert!(!message.contains('\n'));
        for (severity, code) in [("critical", 34), ("medium", 36), ("low", 37), ("info", 38)] {
            let message = syslog(&json!({"severity": severity}), &header(8_192));
            assert!(message.starts_with(&format!("<{code}>1 ")), "{message}");
        }
    }

    #[test]
    fn messages_keep_to_their_limit_in_whole_characters() {
        let value = json!({"title": "t", "message": "\u{e9}".repeat(9_000), "severity": "low"});
        for limit in 2_000..2_004 {
            let message = syslog(&value, &header(limit));
            assert!(message.len() <= limit && message.len() + 2 > limit);
            assert!(message.contains("] \u{feff}t: \u{e9}"));
        }
    }
}
