//! JA3 and JA3S (salesforce/ja3) and JA4 for TLS clients (FoxIO, BSD-3-Clause
//! part). Of the JA4 family only the TLS client's is free to use, so only that
//! one is here.

use super::handshake::Carrier;
use super::{ClientHello, ServerHello};
use md5::Md5;
use sha2::{Digest, Sha256};

/// Appends a number; by hand, since the standard formatter takes ten times as
/// long and a hello holds some fifty numbers.
fn put_decimal(out: &mut String, number: u16) {
    let mut least = 10_000;
    while least > 1 && number < least {
        least /= 10;
    }
    while least > 0 {
        out.push(digit((number / least % 10) as u8));
        least /= 10;
    }
}

fn digit(value: u8) -> char {
    char::from(b"0123456789abcdef"[usize::from(value & 15)])
}

fn put_joined(out: &mut String, numbers: impl IntoIterator<Item = u16>) {
    for (index, number) in numbers.into_iter().enumerate() {
        if index > 0 {
            out.push('-');
        }
        put_decimal(out, number);
    }
}

/// Numbers in hex, joined by commas.
fn listed(numbers: impl IntoIterator<Item = u16>) -> String {
    let mut out = String::with_capacity(160);
    for number in numbers {
        if !out.is_empty() {
            out.push(',');
        }
        put_hex(&mut out, &number.to_be_bytes());
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    put_hex(&mut out, bytes);
    out
}

fn put_hex(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        out.push(digit(byte >> 4));
        out.push(digit(byte & 15));
    }
}

/// JA3: MD5 over version, suites, extensions, groups and point formats.
pub(super) fn ja3(hello: &ClientHello) -> String {
    let mut text = String::with_capacity(320);
    put_decimal(&mut text, hello.version);
    for numbers in [&hello.ciphers, &hello.extensions, &hello.groups] {
        text.push(',');
        put_joined(&mut text, numbers.iter().copied());
    }
    text.push(',');
    put_joined(
        &mut text,
        hello.point_formats.iter().copied().map(u16::from),
    );
    hex(&Md5::digest(text.as_bytes()))
}

/// JA3S: MD5 over version, suite and extensions.
pub(super) fn ja3s(hello: &ServerHello) -> String {
    let mut text = String::with_capacity(64);
    put_decimal(&mut text, hello.version);
    text.push(',');
    put_decimal(&mut text, hello.cipher);
    text.push(',');
    put_joined(&mut text, hello.extensions.iter().copied());
    hex(&Md5::digest(text.as_bytes()))
}

/// JA4 and its raw form.
pub(super) fn ja4(hello: &ClientHello, carrier: Carrier) -> (String, String) {
    let transport = match carrier {
        Carrier::Stream => 't',
        Carrier::Quic => 'q',
        Carrier::Datagrams => 'd',
    };
    let version = hello
        .supported_versions
        .iter()
        .copied()
        .max()
        .unwrap_or(hello.version);
    let version = match version {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        0x0002 => "s2",
        0xfeff => "d1",
        0xfefd => "d2",
        0xfefc => "d3",
        _ => "00",
    };
    let sni = if hello.extensions.contains(&0) {
        'd'
    } else {
        'i'
    };
    let alpn = alpn_ends(hello.alpn_ends);
    let mut head = format!(
        "{transport}{version}{sni}{:02}{:02}",
        hello.ciphers.len().min(99),
        hello.extensions.len().min(99),
    );
    head.extend(alpn);

    let mut ciphers = hello.ciphers.clone();
    ciphers.sort_unstable();
    let ciphers = listed(ciphers);
    // Server name and ALPN are told by the head already.
    let mut extensions: Vec<u16> = hello
        .extensions
        .iter()
        .copied()
        .filter(|kind| !matches!(kind, 0 | 16))
        .collect();
    extensions.sort_unstable();
    let mut extensions = listed(extensions);
    if !hello.sigalgs.is_empty() {
        extensions.push('_');
        extensions.push_str(&listed(hello.sigalgs.iter().copied()));
    }
    let short = |text: &str, empty: bool| {
        if empty {
            return "000000000000".to_owned();
        }
        let mut digits = hex(&Sha256::digest(text.as_bytes()));
        digits.truncate(12);
        digits
    };
    let hashed = format!(
        "{head}_{}_{}",
        short(&ciphers, hello.ciphers.is_empty()),
        short(&extensions, hello.extensions.is_empty()),
    );
    (hashed, format!("{head}_{ciphers}_{extensions}"))
}

/// First and last character of the first ALPN name; of its hex digits when
/// either is no letter or digit; `00` without one.
fn alpn_ends(ends: Option<[u8; 2]>) -> [char; 2] {
    let Some([first, last]) = ends else {
        return ['0', '0'];
    };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return [char::from(first), char::from(last)];
    }
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    [digit(first >> 4), digit(last & 0x0f)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the JA4 description: Chrome, TLS 1.3, h2.
    #[test]
    fn ja4_of_the_published_example() {
        let hello = ClientHello {
            version: 0x0303,
            supported_versions: vec![0x0304, 0x0303],
            ciphers: vec![
                0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013,
                0xc014, 0x009c, 0x009d, 0x002f, 0x0035,
            ],
            extensions: vec![
                0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023,
                0x0012, 0x002b, 0xff01, 0x000b, 0x000a, 0x0015,
            ],
            sigalgs: vec![
                0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601,
            ],
            alpn: vec!["h2".to_owned(), "http/1.1".to_owned()],
            alpn_ends: Some(*b"h2"),
            ..ClientHello::default()
        };
        let (hashed, raw) = ja4(&hello, Carrier::Stream);
        assert_eq!(hashed, "t13d1516h2_8daaf6152771_e5627efa2ab1");
        assert!(raw.starts_with("t13d1516h2_002f,0035,009c,"), "{raw}");
    }

    #[test]
    fn ja4_without_anything() {
        let hello = ClientHello {
            version: 0x0301,
            ..ClientHello::default()
        };
        assert_eq!(
            ja4(&hello, Carrier::Stream).0,
            "t10i000000_000000000000_000000000000"
        );
    }

    #[test]
    fn alpn_that_is_no_text_shows_its_hex_digits() {
        assert_eq!(alpn_ends(Some(*b"h2")), ['h', '2']);
        assert_eq!(alpn_ends(Some(*b"hh")), ['h', 'h']);
        assert_eq!(alpn_ends(Some([0xab, 0xcd])), ['a', 'd']);
        assert_eq!(alpn_ends(None), ['0', '0']);
    }
}
