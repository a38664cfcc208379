//! One value of a list, made comparable with what tables hold.
//!
//! Values are often written so that nobody clicks on them (`hxxp`, `[.]`): that
//! is undone. Names are compared in lower case without the root's dot, digests
//! in lower-case hex, serial numbers without leading zeros.

use crate::policy::Cidr;
use crate::proto::dns::suffix;
use crate::proto::plain::http::shown_uri;
use base64::Engine as _;
use std::net::IpAddr;

/// What kind of thing an indicator names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An IP address.
    Address,
    /// A network in CIDR notation.
    Network,
    /// A name of the DNS and all below it.
    Domain,
    /// A name of the DNS alone: a public suffix, below which anybody may register.
    ExactDomain,
    /// A URL.
    Url,
    /// Digest of a file.
    File,
    /// JA3 of a client.
    Ja3,
    /// JA3S of a server.
    Ja3s,
    /// JA4 of a client.
    Ja4,
    /// Digest of a certificate.
    Certificate,
    /// Digest of a certificate's key, as pins write it.
    Key,
    /// Serial number of a certificate.
    Serial,
}

impl Kind {
    /// As results name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Network => "network",
            Self::Domain | Self::ExactDomain => "domain",
            Self::Url => "url",
            Self::File => "file_hash",
            Self::Ja3 => "ja3",
            Self::Ja3s => "ja3s",
            Self::Ja4 => "ja4",
            Self::Certificate => "certificate",
            Self::Key => "certificate_key",
            Self::Serial => "certificate_serial",
        }
    }
}

/// A value in the form in which it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parsed {
    pub(super) kind: Kind,
    pub(super) value: String,
    pub(super) network: Option<Cidr>,
    /// Only traffic to this port is meant.
    pub(super) port: Option<u16>,
}

impl Parsed {
    fn new(kind: Kind, value: impl Into<String>) -> Self {
        Self {
            kind,
            value: value.into(),
            network: None,
            port: None,
        }
    }

    pub(super) fn at_port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }
}

type Read<T> = Result<T, String>;

/// Longest value that is looked at, bytes.
const MAX_VALUE: usize = 4_096;

fn undone(text: &str) -> String {
    let mut text = text.trim().to_owned();
    for (from, to) in [
        ("[.]", "."),
        ("(.)", "."),
        ("{.}", "."),
        ("[dot]", "."),
        ("[:]", ":"),
        ("[://]", "://"),
        ("[/]", "/"),
    ] {
        if text.contains(from) {
            text = text.replace(from, to);
        }
    }
    let lower = text.get(..4).map(str::to_ascii_lowercase);
    if matches!(lower.as_deref(), Some("hxxp" | "h**p")) {
        text.replace_range(..4, "http");
    }
    text
}

/// A value whose kind nobody says: what it looks like, which may be several.
pub(super) fn guess(text: &str) -> Read<Vec<Parsed>> {
    if text.len() > MAX_VALUE {
        return Err(format!("is longer than {MAX_VALUE} bytes"));
    }
    let text = undone(text);
    if let Some((kind, value)) = text.split_once(':')
        && let Some(named) = by_name(kind, value)
    {
        return named;
    }
    if text.contains("://") {
        return url(&text).map(|one| vec![one]);
    }
    if text.parse::<IpAddr>().is_ok() {
        return address(&text).map(|one| vec![one]);
    }
    if let Some((host, _)) = text.split_once('/')
        && host.parse::<IpAddr>().is_ok()
    {
        return network(&text).map(|one| vec![one]);
    }
    if is_ja4(&text) {
        return Ok(vec![ja4(&text)?]);
    }
    if text.starts_with("sha256/") {
        return key(&text).map(|one| vec![one]);
    }
    let digits = text.replace(':', "");
    if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        match digits.len() {
            // MD5 of a file, or of what JA3 and JA3S are made of.
            32 => return Ok(vec![file(&digits)?, ja3(&digits)?, ja3s(&digits)?]),
            40 | 64 => return Ok(vec![file(&digits)?, certificate(&digits)?]),
            _ => {}
        }
    }
    if let Some((host, port)) = text.rsplit_once(':')
        && let Ok(port) = port.parse::<u16>()
        && port > 0
    {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let one = address(host).or_else(|_| domain(host))?;
        return Ok(vec![one.at_port(port)]);
    }
    domain(&text).map(|one| vec![one])
}

/// A value of a kind that a list names; `None` when the name is no kind of ours.
pub(super) fn by_name(kind: &str, value: &str) -> Option<Read<Vec<Parsed>>> {
    let kind = kind.trim().to_ascii_lowercase().replace(['_', ' '], "-");
    let one = |read: Read<Parsed>| Some(read.map(|one| vec![one]));
    let value = &undone(value);
    if value.len() > MAX_VALUE {
        return Some(Err(format!("is longer than {MAX_VALUE} bytes")));
    }
    match kind.as_str() {
        "ip" | "ip-src" | "ip-dst" | "ipv4" | "ipv6" | "ipv4-addr" | "ipv6-addr" | "ip-address"
        | "address" | "cidr" | "network" | "ip-range" => one(address_or_network(value)),
        "domain" | "hostname" | "host" | "fqdn" | "domain-name" => one(domain(value)),
        "url" | "uri" | "link" => one(url(value)),
        "md5" | "sha1" | "sha-1" | "sha256" | "sha-256" | "file-hash" | "hash" => one(file(value)),
        "ja3" | "ja3-fingerprint-md5" => one(ja3(value)),
        "ja3s" | "ja3s-fingerprint-md5" => one(ja3s(value)),
        "ja4" | "ja4-fingerprint" => one(ja4(value)),
        "x509-fingerprint-sha1"
        | "x509-fingerprint-sha256"
        | "certificate"
        | "cert-sha1"
        | "cert-sha256"
        | "certificate-fingerprint" => one(certificate(value)),
        "serial" | "certificate-serial" | "serial-number" | "x509-serial" => one(serial(value)),
        "spki" | "pin" | "certificate-key" => one(key(value)),
        _ => None,
    }
}

pub(super) fn address_or_network(text: &str) -> Read<Parsed> {
    if text.contains('/') {
        network(text)
    } else {
        address(text)
    }
}

pub(super) fn address(text: &str) -> Read<Parsed> {
    let address: IpAddr = text
        .parse()
        .map_err(|_| format!("`{}` is no IP address", shown(text)))?;
    Ok(Parsed::new(
        Kind::Address,
        address.to_canonical().to_string(),
    ))
}

fn network(text: &str) -> Read<Parsed> {
    let (host, length) = text.split_once('/').unwrap_or((text, ""));
    let full = match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => "32",
        _ => "128",
    };
    if length == full {
        return address(host);
    }
    if length == "0" {
        return Err(format!("`{}` holds every address", shown(text)));
    }
    let network = Cidr::try_from(text.to_owned())?;
    Ok(Parsed {
        network: Some(network),
        ..Parsed::new(Kind::Network, text)
    })
}

pub(super) fn domain(text: &str) -> Read<Parsed> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let name = name.trim_matches('.').to_ascii_lowercase();
    let refuse = |why: &str| Err(format!("`{}` {why}", shown(text)));
    if !name.is_ascii() {
        return refuse("is not ASCII: write the name as it travels (xn--…)");
    }
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    if name.len() > 253 || !name.split('.').all(is_label) {
        return refuse("is no address, name, URL or digest");
    }
    if !name.contains('.') {
        return refuse("is a single label, which would match too much");
    }
    if name
        .rsplit('.')
        .next()
        .is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()))
    {
        return refuse("is neither an address nor a name");
    }
    let kind = match suffix::registered(&name) {
        Some(_) => Kind::Domain,
        None => Kind::ExactDomain,
    };
    Ok(Parsed::new(kind, name))
}

/// A URL as transactions show it: scheme, host, port where it is not the
/// scheme's, path, and of the query the names with the lengths of the values.
pub(super) fn url(text: &str) -> Read<Parsed> {
    let refuse = |why: &str| format!("`{}` {why}", shown(text));
    let (scheme, rest) = text
        .split_once("://")
        .ok_or_else(|| refuse("is no URL: it has no scheme"))?;
    let scheme = scheme.to_ascii_lowercase();
    if scheme != "http" && scheme != "https" {
        return Err(refuse("is no URL of http or https"));
    }
    let rest = rest.split('#').next().unwrap_or_default();
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let authority = authority.rsplit('@').next().unwrap_or_default();
    let authority = authority.to_ascii_lowercase();
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host.to_owned(), Some(port.to_owned())),
        _ => (authority.clone(), None),
    };
    let host = host.trim_matches('.');
    if host.is_empty() {
        return Err(refuse("names no host"));
    }
    let port = match port {
        None => None,
        Some(port) => Some(
            port.parse::<u16>()
                .map_err(|_| refuse("has a port that is no number"))?,
        ),
    };
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let path = if path.is_empty() { "/" } else { path };
    let shown_as = shown_uri(path.as_bytes(), query.map(str::as_bytes));
    Ok(Parsed::new(
        Kind::Url,
        comparable(&scheme, host, port, &shown_as.0, shown_as.1.as_deref()),
    ))
}

/// The form in which URLs are compared.
pub(super) fn comparable(
    scheme: &str,
    host: &str,
    port: Option<u16>,
    path: &str,
    query: Option<&str>,
) -> String {
    let usual = if scheme == "https" { 443 } else { 80 };
    let mut out = format!("{scheme}://{host}");
    if let Some(port) = port.filter(|&port| port != usual) {
        out.push_str(&format!(":{port}"));
    }
    out.push_str(path);
    if let Some(query) = query.filter(|query| !query.is_empty()) {
        out.push('?');
        out.push_str(query);
    }
    out
}

fn hex_of(text: &str, lengths: &[usize], what: &str) -> Read<String> {
    let digits = text.replace([':', ' '], "").to_ascii_lowercase();
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex && lengths.contains(&digits.len()) {
        Ok(digits)
    } else {
        Err(format!("`{}` is no {what}", shown(text)))
    }
}

pub(super) fn file(text: &str) -> Read<Parsed> {
    let value = hex_of(text, &[32, 40, 64], "MD5, SHA-1 or SHA-256")?;
    Ok(Parsed::new(Kind::File, value))
}

pub(super) fn ja3(text: &str) -> Read<Parsed> {
    Ok(Parsed::new(Kind::Ja3, hex_of(text, &[32], "JA3")?))
}

pub(super) fn ja3s(text: &str) -> Read<Parsed> {
    Ok(Parsed::new(Kind::Ja3s, hex_of(text, &[32], "JA3S")?))
}

pub(super) fn certificate(text: &str) -> Read<Parsed> {
    let value = hex_of(text, &[40, 64], "SHA-1 or SHA-256 of a certificate")?;
    Ok(Parsed::new(Kind::Certificate, value))
}

pub(super) fn serial(text: &str) -> Read<Parsed> {
    let digits = text.trim_start_matches("0x").replace([':', ' '], "");
    let digits = digits.to_ascii_lowercase();
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    // RFC 5280 §4.1.2.2: 20 octets; some use a few more. Short ones are shared
    // by many authorities.
    if !is_hex || !(1..=64).contains(&digits.len()) {
        return Err(format!("`{}` is no serial number in hex", shown(text)));
    }
    let value = bare_serial(&digits);
    if value.len() < 8 {
        return Err(format!(
            "serial number `{}` is too short to name one certificate",
            shown(text)
        ));
    }
    Ok(Parsed::new(Kind::Serial, value))
}

/// A serial number without leading zeros.
pub(super) fn bare_serial(hex: &str) -> String {
    hex.trim_start_matches('0').to_owned()
}

fn key(text: &str) -> Read<Parsed> {
    let digits = text.strip_prefix("sha256/").unwrap_or(text);
    let bytes = base64::engine::general_purpose::STANDARD.decode(digits);
    match bytes {
        Ok(bytes) if bytes.len() == 32 => Ok(Parsed::new(Kind::Key, format!("sha256/{digits}"))),
        _ => Err(format!("`{}` is no sha256/BASE64 of 32 bytes", shown(text))),
    }
}

fn is_ja4(text: &str) -> bool {
    ja4(text).is_ok()
}

/// `t13d1516h2_8daaf6152771_b186095e22b6` (FoxIO's JA4, TLS client).
pub(super) fn ja4(text: &str) -> Read<Parsed> {
    let text = text.to_ascii_lowercase();
    let parts: Vec<&str> = text.split('_').collect();
    let is_hex = |part: &str| part.len() == 12 && part.bytes().all(|b| b.is_ascii_hexdigit());
    let is_ja4 = match parts.as_slice() {
        [a, b, c] => {
            a.len() == 10
                && a.is_ascii()
                && a.starts_with(['t', 'q', 'd'])
                && a.bytes().all(|b| b.is_ascii_alphanumeric())
                && is_hex(b)
                && is_hex(c)
        }
        _ => false,
    };
    if is_ja4 {
        Ok(Parsed::new(Kind::Ja4, text))
    } else {
        Err(format!("`{}` is no JA4", shown(&text)))
    }
}

/// A value in a message: short, and without what moves a cursor.
pub(super) fn shown(text: &str) -> String {
    let short: String = text.chars().take(60).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    format!("{}{more}", short.escape_debug())
}
