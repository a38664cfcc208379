//! How a path is told in tables, results and messages. Paths are bytes; what of
//! them is no UTF-8 is spelled out, so that two different files stay two.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// The path as text. One that is no UTF-8 has its bad bytes as `\xff`, and its
/// backslashes doubled.
pub fn text_of(path: &Path) -> String {
    if let Some(text) = path.to_str() {
        return text.to_owned();
    }
    let mut out = String::new();
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        out.push_str(&chunk.valid().replace('\\', "\\\\"));
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    #[test]
    fn different_names_stay_different() {
        let told = |bytes: &[u8]| text_of(Path::new(OsStr::from_bytes(bytes)));
        for (name, expected) in [
            (&b"a/b.pcap"[..], "a/b.pcap"),
            ("é".as_bytes(), "é"),
            (b"a\\b", "a\\b"),
            (b"a\xff", "a\\xff"),
            (b"a\xfe", "a\\xfe"),
            (b"\\\xc3", "\\\\\\xc3"),
            ("é\u{fffd}".as_bytes(), "é\u{fffd}"),
        ] {
            assert_eq!(told(name), expected);
        }
    }
}
