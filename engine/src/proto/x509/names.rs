//! Distinguished names as RFC 4514 writes them: last RDN first, special
//! characters escaped, attributes by their short names where they have one.

use x509_parser::prelude::{AttributeTypeAndValue, X509Name};

/// Short names: RFC 4514 §3, and a few more that everybody reads.
const SHORT: &[(&str, &str)] = &[
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.15", "businessCategory"),
    ("2.5.4.17", "postalCode"),
    ("2.5.4.42", "GN"),
    ("2.5.4.97", "organizationIdentifier"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
    ("1.3.6.1.4.1.311.60.2.1.1", "jurisdictionL"),
    ("1.3.6.1.4.1.311.60.2.1.2", "jurisdictionST"),
    ("1.3.6.1.4.1.311.60.2.1.3", "jurisdictionC"),
];

/// The whole name.
pub(super) fn rfc4514(name: &X509Name<'_>) -> String {
    let mut rdns: Vec<String> = name
        .iter()
        .map(|rdn| rdn.iter().map(attribute).collect::<Vec<_>>().join("+"))
        .collect();
    rdns.reverse();
    rdns.join(",")
}

/// The first attribute with this OID.
pub(super) fn first(name: &X509Name<'_>, oid: &str) -> Option<String> {
    name.iter_attributes()
        .find(|attribute| attribute.attr_type().to_id_string() == oid)
        .map(value)
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    let short = SHORT
        .iter()
        .find(|(known, _)| *known == oid)
        .map(|(_, short)| *short);
    format!("{}={}", short.unwrap_or(&oid), escaped(&value(attribute)))
}

/// The value as text; UCS-2 (BMPString) and Latin-1 (T61String) are turned into it.
fn value(attribute: &AttributeTypeAndValue<'_>) -> String {
    const BMP_STRING: u32 = 30;
    let any = attribute.attr_value();
    let bytes = any.data;
    if any.header.tag().0 == BMP_STRING {
        let units = bytes
            .chunks_exact(2)
            .filter_map(|pair| pair.try_into().ok());
        return char::decode_utf16(units.map(u16::from_be_bytes))
            .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect();
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|&byte| char::from(byte)).collect(),
    }
}

/// RFC 4514 §2.4.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let last = text.chars().count().saturating_sub(1);
    for (at, letter) in text.chars().enumerate() {
        let edge = letter == ' ' && (at == 0 || at == last) || letter == '#' && at == 0;
        match letter {
            '\0' => out.push_str("\\00"),
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => {
                out.push('\\');
                out.push(letter);
            }
            _ if edge => {
                out.push('\\');
                out.push(letter);
            }
            _ => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::escaped;

    /// The examples of RFC 4514 §4.
    #[test]
    fn values_are_escaped_as_the_rfc_shows() {
        assert_eq!(
            escaped("James \"Jim\" Smith, III"),
            "James \\\"Jim\\\" Smith\\, III"
        );
        assert_eq!(escaped(" a "), "\\ a\\ ");
        assert_eq!(escaped("#1"), "\\#1");
        assert_eq!(escaped("a#1"), "a#1");
    }
}
