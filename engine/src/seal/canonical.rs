//! Canonical JSON, the subset of RFC 8785 that a manifest needs: objects with
//! sorted keys, arrays, strings, integers of at most 53 bits, booleans, null.
//! Fractions have no place in a manifest and are refused.

use serde_json::Value;

/// Largest integer that every JSON reader keeps exactly (RFC 8785 §3.2.2.3).
pub const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// The one canonical form of `value`, or what in it has none here.
///
/// # Errors
///
/// For fractions and for integers beyond 53 bits.
pub fn canonical(value: &Value) -> Result<String, String> {
    let mut out = String::new();
    put(&mut out, value)?;
    Ok(out)
}

fn put(out: &mut String, value: &Value) -> Result<(), String> {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => {
            let magnitude = number
                .as_u64()
                .or_else(|| number.as_i64().map(i64::unsigned_abs));
            match magnitude {
                Some(magnitude) if magnitude <= MAX_SAFE_INTEGER => {
                    out.push_str(&number.to_string());
                }
                _ => return Err(format!("{number} is no integer of at most 53 bits")),
            }
        }
        Value::String(text) => put_string(out, text),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                put(out, item)?;
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            // RFC 8785 §3.2.3: by UTF-16 code units, which differs from the
            // order of UTF-8 beyond the basic plane.
            members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            out.push('{');
            for (index, (key, item)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                put_string(out, key);
                out.push(':');
                put(out, item)?;
            }
            out.push('}');
        }
    }
    Ok(())
}

/// RFC 8785 §3.2.2.2: the two-character escapes where there is one, `\u00xx`
/// in lower case for other control characters, everything else as it is.
fn put_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn becomes(json: &str, expected: &str) {
        let value: Value = serde_json::from_str(json).unwrap();
        assert_eq!(canonical(&value).unwrap(), expected);
    }

    #[test]
    fn strings_and_literals_as_in_rfc_8785_section_3_2_2() {
        // The RFC's sample without its fractions.
        becomes(
            r#"{"string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false]}"#,
            "{\"literals\":[null,true,false],\"string\":\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}",
        );
        becomes(
            r#""\u0008\u0009\u000c\u000d\u001f\u007f""#,
            "\"\\b\\t\\f\\r\\u001f\u{7f}\"",
        );
    }

    #[test]
    fn keys_sort_by_utf16_as_in_rfc_8785_section_3_2_3() {
        becomes(
            r#"{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh",
                "1":"One","\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}"#,
            "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u{80}\":\"Control\",\"ö\":\"Latin Small Letter O With Diaeresis\",\
             \"€\":\"Euro Sign\",\"😀\":\"Emoji: Grinning Face\",\"\u{fb33}\":\"Hebrew Letter Dalet With Dagesh\"}",
        );
    }

    #[test]
    fn integers_keep_53_bits() {
        becomes(
            "[9007199254740991,-9007199254740991,0,-1]",
            "[9007199254740991,-9007199254740991,0,-1]",
        );
        for json in ["9007199254740992", "1.5", "1e3", "-9007199254740992"] {
            let value: Value = serde_json::from_str(json).unwrap();
            assert!(canonical(&value).is_err(), "{json}");
        }
    }

    #[test]
    fn nested_objects_sort_too() {
        becomes(
            r#"{"b":{"z":1,"a":[{"y":1,"x":2}]},"a":{}}"#,
            r#"{"a":{},"b":{"a":[{"x":2,"y":1}],"z":1}}"#,
        );
    }
}
