//! Names, types and records as text: the presentation form of RFC 1035 §5.1,
//! with `\DDD` for what is not printable, RFC 3597 for types without a form
//! here, and the measures of a name.

use super::message::kind;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Walks labels after their lengths.
pub fn labels(mut name: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (&len, rest) = name.split_first()?;
        let (label, rest) = rest.split_at_checked(usize::from(len))?;
        name = rest;
        Some(label)
    })
}

/// Appends a name without its last dot; `.` for the root. Printable UTF-8
/// stands as it is (RFC 6763 §4.1.3 allows it), a dot inside a label is escaped.
pub fn put_name(out: &mut String, name: &[u8]) {
    if name.is_empty() {
        out.push('.');
        return;
    }
    for (number, label) in labels(name).enumerate() {
        if number > 0 {
            out.push('.');
        }
        put_label(out, label);
    }
}

fn put_label(out: &mut String, label: &[u8]) {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'.' | b'\\');
    match std::str::from_utf8(label) {
        // The usual label needs no look at each character.
        Ok(text) if label.iter().all(plain) => out.push_str(text),
        Ok(text) => {
            for character in text.chars() {
                match character {
                    '.' | '\\' => {
                        out.push('\\');
                        out.push(character);
                    }
                    ' ' => out.push(' '),
                    _ if character.is_control() || is_invisible(character) => {
                        let mut bytes = [0; 4];
                        for byte in character.encode_utf8(&mut bytes).bytes() {
                            put_escaped(out, byte);
                        }
                    }
                    _ => out.push(character),
                }
            }
        }
        Err(_) => {
            for &byte in label {
                match byte {
                    b'.' | b'\\' => {
                        out.push('\\');
                        out.push(char::from(byte));
                    }
                    b' '..=b'~' => out.push(char::from(byte)),
                    _ => put_escaped(out, byte),
                }
            }
        }
    }
}

/// Characters that show nothing, or turn the direction of what follows.
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn put_escaped(out: &mut String, byte: u8) {
    out.push('\\');
    for digit in [byte / 100, byte / 10 % 10, byte % 10] {
        out.push(char::from(b'0'.saturating_add(digit)));
    }
}

/// Characters of a name without its last dot, as it travelled: labels and the
/// dots between them.
pub fn length(name: &[u8]) -> usize {
    // Each label's length byte stands for a dot, of which there is one less.
    name.len().saturating_sub(1)
}

/// Number of labels and length of the longest.
pub fn label_measures(name: &[u8]) -> (usize, usize) {
    labels(name).fold((0, 0), |(count, longest), label| {
        (count + 1, longest.max(label.len()))
    })
}

/// Shannon entropy of a name's characters, case and dots aside, bits per
/// character; none for the root.
pub fn entropy(name: &[u8]) -> Option<f32> {
    let mut counts = [0_u8; 256];
    let mut all = 0_u32;
    for label in labels(name) {
        for byte in label {
            // At most 254 characters in all.
            if let Some(count) = counts.get_mut(usize::from(byte.to_ascii_lowercase())) {
                *count = count.saturating_add(1);
            }
            all += 1;
        }
    }
    if all == 0 {
        return None;
    }
    let all = f64::from(all);
    let bits: f64 = counts
        .iter()
        .filter(|count| **count > 0)
        .map(|&count| {
            let share = f64::from(count) / all;
            -share * share.log2()
        })
        .sum();
    Some(bits.abs() as f32)
}

/// A NetBIOS name out of its 32 letters (RFC 1001 §14.1): 15 characters without
/// the blanks that fill them, and the 16th, which says what it names, as `<20>`.
/// A scope follows after a dot. False when the first label is no such name.
pub fn put_netbios(out: &mut String, name: &[u8]) -> bool {
    let mut parts = labels(name);
    let Some(first) = parts.next().filter(|label| label.len() == 32) else {
        return false;
    };
    if !first.iter().all(|byte| (b'A'..=b'P').contains(byte)) {
        return false;
    }
    let mut decoded = [0_u8; 16];
    for (to, pair) in decoded.iter_mut().zip(first.chunks_exact(2)) {
        if let [high, low] = pair {
            *to = high.wrapping_sub(b'A') << 4 | (low.wrapping_sub(b'A') & 0xf);
        }
    }
    let [text @ .., suffix] = &decoded;
    let text = text.trim_ascii_end();
    let end = text
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last.saturating_add(1));
    put_label(out, text.get(..end).unwrap_or_default());
    let _ = write!(out, "<{suffix:02x}>");
    for scope in parts {
        out.push('.');
        put_label(out, scope);
    }
    true
}

/// A type's name (IANA, DNS parameters); `TYPE65280` (RFC 3597 §5) for the rest.
pub fn put_type(out: &mut String, rtype: u16) {
    match type_name(rtype) {
        Some(name) => out.push_str(name),
        None => {
            let _ = write!(out, "TYPE{rtype}");
        }
    }
}

fn type_name(rtype: u16) -> Option<&'static str> {
    Some(match rtype {
        1 => "A",
        2 => "NS",
        5 => "CNAME",
        6 => "SOA",
        10 => "NULL",
        11 => "WKS",
        12 => "PTR",
        13 => "HINFO",
        15 => "MX",
        16 => "TXT",
        17 => "RP",
        18 => "AFSDB",
        24 => "SIG",
        25 => "KEY",
        28 => "AAAA",
        29 => "LOC",
        33 => "SRV",
        35 => "NAPTR",
        36 => "KX",
        37 => "CERT",
        39 => "DNAME",
        41 => "OPT",
        42 => "APL",
        43 => "DS",
        44 => "SSHFP",
        45 => "IPSECKEY",
        46 => "RRSIG",
        47 => "NSEC",
        48 => "DNSKEY",
        49 => "DHCID",
        50 => "NSEC3",
        51 => "NSEC3PARAM",
        52 => "TLSA",
        53 => "SMIMEA",
        55 => "HIP",
        59 => "CDS",
        60 => "CDNSKEY",
        61 => "OPENPGPKEY",
        62 => "CSYNC",
        63 => "ZONEMD",
        64 => "SVCB",
        65 => "HTTPS",
        99 => "SPF",
        108 => "EUI48",
        109 => "EUI64",
        249 => "TKEY",
        250 => "TSIG",
        251 => "IXFR",
        252 => "AXFR",
        253 => "MAILB",
        254 => "MAILA",
        255 => "ANY",
        256 => "URI",
        257 => "CAA",
        32768 => "TA",
        32769 => "DLV",
        _ => return None,
    })
}

/// NetBIOS has two types of its own, whose numbers mean something else in DNS.
pub fn netbios_type_name(rtype: u16) -> Option<&'static str> {
    match rtype {
        0x20 => Some("NB"),
        0x21 => Some("NBSTAT"),
        _ => type_name(rtype),
    }
}

/// A response code's name (IANA, DNS parameters).
pub fn rcode_name(rcode: u16) -> Option<&'static str> {
    Some(match rcode {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        6 => "YXDOMAIN",
        7 => "YXRRSET",
        8 => "NXRRSET",
        9 => "NOTAUTH",
        10 => "NOTZONE",
        11 => "DSOTYPENI",
        16 => "BADVERS",
        17 => "BADKEY",
        18 => "BADTIME",
        19 => "BADMODE",
        20 => "BADNAME",
        21 => "BADALG",
        22 => "BADTRUNC",
        23 => "BADCOOKIE",
        _ => return None,
    })
}

/// Appends a record's data as text; names in them are written out, as
/// [`super::message::Message::expanded`] leaves them.
pub fn put_data(out: &mut String, rtype: u16, data: &[u8]) {
    if put_known(out, rtype, data).is_none() {
        // RFC 3597 §5.
        let _ = write!(out, "\\# {}", data.len());
        if !data.is_empty() {
            out.push(' ');
        }
        for byte in data {
            let _ = write!(out, "{byte:02x}");
        }
    }
}

fn put_known(out: &mut String, rtype: u16, data: &[u8]) -> Option<()> {
    match rtype {
        kind::A => {
            let octets: [u8; 4] = data.try_into().ok()?;
            let _ = write!(out, "{}", Ipv4Addr::from(octets));
        }
        kind::AAAA => {
            let octets: [u8; 16] = data.try_into().ok()?;
            let _ = write!(out, "{}", Ipv6Addr::from(octets));
        }
        kind::NS | kind::CNAME | kind::PTR | kind::DNAME => {
            let (name, _) = split_name(data)?;
            put_name(out, name);
        }
        kind::MX => {
            let (preference, rest) = data.split_first_chunk::<2>()?;
            let (name, _) = split_name(rest)?;
            let _ = write!(out, "{} ", u16::from_be_bytes(*preference));
            put_name(out, name);
        }
        kind::SRV => {
            let (&[p0, p1, w0, w1, q0, q1], rest) = data.split_first_chunk::<6>()?;
            let (name, _) = split_name(rest)?;
            let [priority, weight, port] = [[p0, p1], [w0, w1], [q0, q1]].map(u16::from_be_bytes);
            let _ = write!(out, "{priority} {weight} {port} ");
            put_name(out, name);
        }
        kind::SOA => {
            let (primary, rest) = split_name(data)?;
            let (mailbox, rest) = split_name(rest)?;
            let numbers: &[u8; 20] = rest.first_chunk()?;
            put_name(out, primary);
            out.push(' ');
            put_name(out, mailbox);
            for number in numbers.chunks_exact(4) {
                let number = u32::from_be_bytes(number.try_into().ok()?);
                let _ = write!(out, " {number}");
            }
        }
        // TXT, SPF: strings after their lengths.
        kind::TXT | 99 => {
            let (before, mut rest, mut first) = (out.len(), data, true);
            while let Some((&len, after)) = rest.split_first() {
                let Some((text, after)) = after.split_at_checked(usize::from(len)) else {
                    out.truncate(before);
                    return None;
                };
                if !std::mem::take(&mut first) {
                    out.push(' ');
                }
                out.push('"');
                put_string(out, text);
                out.push('"');
                rest = after;
            }
        }
        _ => return None,
    }
    Some(())
}

/// The same of NetBIOS, whose addresses stand after flags (RFC 1002 §4.2.13).
pub fn put_netbios_data(out: &mut String, rtype: u16, data: &[u8]) {
    let whole = data.len().is_multiple_of(6) && !data.is_empty();
    if rtype != kind::NB || !whole {
        // The status of a node (RFC 1002 §4.2.18) has the number of SRV.
        let rtype = if rtype == kind::SRV { 0 } else { rtype };
        return put_data(out, rtype, data);
    }
    for (number, entry) in data.chunks_exact(6).enumerate() {
        if number > 0 {
            out.push(' ');
        }
        if let [_, _, a, b, c, d] = *entry {
            let _ = write!(out, "{}", Ipv4Addr::new(a, b, c, d));
        }
    }
}

/// Up to the root that ends a name.
fn split_name(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut at = 0_usize;
    loop {
        let len = usize::from(*data.get(at)?);
        if len == 0 {
            return Some((data.get(..at)?, data.get(at.saturating_add(1)..)?));
        }
        at = at.saturating_add(1).saturating_add(len);
    }
}

fn put_string(out: &mut String, text: &[u8]) {
    for &byte in text {
        match byte {
            b'"' | b'\\' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b' '..=b'~' => out.push(char::from(byte)),
            _ => put_escaped(out, byte),
        }
    }
}
