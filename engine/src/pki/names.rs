//! Names: how distinguished names are compared (RFC 5280 §7.1), which host
//! names a certificate stands for (RFC 9525), and the subtrees that a CA is
//! confined to (RFC 5280 §4.2.1.10).

use super::der::{Element, Reader, tag};
use std::net::IpAddr;

/// A GeneralName (RFC 5280 §4.2.1.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GeneralName {
    Email(Box<[u8]>),
    Dns(Box<[u8]>),
    /// The RDN sequence, as compared.
    Directory(Box<[u8]>),
    Uri(Box<[u8]>),
    Ip(Box<[u8]>),
    /// otherName, x400Address, ediPartyName, registeredID: by its number.
    Other(u8),
}

impl GeneralName {
    pub(crate) fn read(element: Element<'_>) -> Option<Self> {
        let text = |content: &[u8]| content.is_ascii().then(|| content.into());
        Some(match element.tag {
            0x81 => Self::Email(text(element.content)?),
            0x82 => Self::Dns(text(element.content)?),
            0x86 => Self::Uri(text(element.content)?),
            0xa4 => {
                let name = element.reader().expect(tag::SEQUENCE)?;
                Self::Directory(comparable(name.content))
            }
            0x87 => Self::Ip(element.content.into()),
            0x80 | 0xa0 => Self::Other(0),
            0x83 | 0xa3 => Self::Other(3),
            0x85 | 0xa5 => Self::Other(5),
            0x88 => Self::Other(8),
            _ => return None,
        })
    }
}

/// NameConstraints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Constraints {
    pub(crate) permitted: Vec<GeneralName>,
    pub(crate) excluded: Vec<GeneralName>,
}

/// Subtrees read of one certificate.
const MAX_SUBTREES: usize = 2_048;

impl Constraints {
    pub(crate) fn read(mut fields: Reader<'_>) -> Option<Self> {
        let permitted = fields.optional(tag::explicit(0))?;
        let excluded = fields.optional(tag::explicit(1))?;
        // RFC 5280: never empty.
        if permitted.is_none() && excluded.is_none() || !fields.is_empty() {
            return None;
        }
        Some(Self {
            permitted: subtrees(permitted)?,
            excluded: subtrees(excluded)?,
        })
    }
}

fn subtrees(list: Option<Element<'_>>) -> Option<Vec<GeneralName>> {
    let Some(list) = list else {
        return Some(Vec::new());
    };
    let (mut list, mut found) = (list.reader(), Vec::new());
    if list.is_empty() {
        return None;
    }
    while !list.is_empty() {
        let mut subtree = list.sequence()?;
        let base = GeneralName::read(subtree.any()?)?;
        // minimum is 0 and left out, maximum absent (RFC 5280 §4.2.1.10).
        if !subtree.is_empty() || !well_formed(&base) || found.len() >= MAX_SUBTREES {
            return None;
        }
        found.push(base);
    }
    Some(found)
}

/// Whether a subtree's base has a form that can be compared.
fn well_formed(base: &GeneralName) -> bool {
    match base {
        // RFC 5280 gives host names no leading dot, and no wildcards.
        GeneralName::Dns(name) => name.is_empty() || is_host(name, Wildcard::Never),
        GeneralName::Email(name) => match split_email(name) {
            Some((local, host)) => !local.is_empty() && is_host(host, Wildcard::Never),
            None => {
                let host = name.strip_prefix(b".").unwrap_or(name);
                is_host(host, Wildcard::Never)
            }
        },
        GeneralName::Uri(name) => {
            let host = name.strip_prefix(b".").unwrap_or(name);
            is_host(host, Wildcard::Never)
        }
        GeneralName::Ip(bytes) => {
            let half = bytes.len() / 2;
            let (_, mask) = bytes.split_at(half);
            // CIDR only: ones, then zeros.
            let bits = mask
                .iter()
                .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
            matches!(bytes.len(), 8 | 32) && bits.is_sorted_by(|a, b| a >= b)
        }
        GeneralName::Directory(_) | GeneralName::Other(_) => true,
    }
}

/// What one constraint says of one name.
pub(crate) enum Within {
    Yes,
    No,
    /// They are of different kinds.
    OtherKind,
    /// The name cannot be compared.
    Malformed,
}

/// Whether `name` lies in the subtree of `base`.
pub(crate) fn within(name: &GeneralName, base: &GeneralName) -> Within {
    let yes = |yes| if yes { Within::Yes } else { Within::No };
    match (name, base) {
        (GeneralName::Dns(name), GeneralName::Dns(base)) => {
            if !is_host(name, Wildcard::Leftmost) {
                return Within::Malformed;
            }
            yes(host_below(name, base, true))
        }
        (GeneralName::Email(name), GeneralName::Email(base)) => {
            let Some((local, host)) = split_email(name) else {
                return Within::Malformed;
            };
            if local.is_empty() || local.contains(&b'@') || !is_host(host, Wildcard::Never) {
                return Within::Malformed;
            }
            yes(match split_email(base) {
                Some((wanted, of)) => wanted == local && host.eq_ignore_ascii_case(of),
                None => match base.strip_prefix(b".") {
                    Some(of) => host_below(host, of, false),
                    None => host.eq_ignore_ascii_case(base),
                },
            })
        }
        (GeneralName::Uri(name), GeneralName::Uri(base)) => match uri_host(name) {
            Some(host) => yes(match base.strip_prefix(b".") {
                Some(of) => host_below(host, of, false),
                None => host.eq_ignore_ascii_case(base),
            }),
            None => Within::Malformed,
        },
        (GeneralName::Ip(name), GeneralName::Ip(base)) => {
            if !matches!(name.len(), 4 | 16) {
                return Within::Malformed;
            }
            let (network, mask) = base.split_at(base.len() / 2);
            yes(network.len() == name.len()
                && name
                    .iter()
                    .zip(network)
                    .zip(mask)
                    .all(|((byte, network), mask)| byte & mask == network & mask))
        }
        (GeneralName::Directory(name), GeneralName::Directory(base)) => yes(name.starts_with(base)),
        _ => Within::OtherKind,
    }
}

/// Whether an excluded subtree touches a wildcard name: what the wildcard may
/// stand for lies in it although the wildcard itself does not.
pub(crate) fn wildcard_reaches(name: &GeneralName, base: &GeneralName) -> bool {
    match (name, base) {
        (GeneralName::Dns(name), GeneralName::Dns(base)) => {
            name.strip_prefix(b"*.").is_some_and(|parent| {
                let (first, rest) = split_label(base);
                !first.is_empty() && rest.is_some_and(|rest| rest.eq_ignore_ascii_case(parent))
            })
        }
        _ => false,
    }
}

/// `name` is `base` (when `equal` is allowed), or a host below it; an empty base holds all.
fn host_below(name: &[u8], base: &[u8], equal: bool) -> bool {
    if base.is_empty() {
        return true;
    }
    let Some(at) = name.len().checked_sub(base.len()) else {
        return false;
    };
    let (above, end) = name.split_at(at);
    end.eq_ignore_ascii_case(base) && (equal && above.is_empty() || above.ends_with(b"."))
}

fn split_email(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = name.iter().rposition(|&byte| byte == b'@')?;
    let (local, host) = name.split_at(at);
    Some((local, host.get(1..)?))
}

/// The host of an absolute URI (RFC 3986 §3.2).
fn uri_host(uri: &[u8]) -> Option<&[u8]> {
    let at = uri.windows(3).position(|three| three == b"://")?;
    let rest = uri.get(at + 3..)?;
    let end = rest.iter().position(|byte| b"/?#".contains(byte));
    let authority = rest.get(..end.unwrap_or(rest.len()))?;
    let host = match authority.iter().rposition(|&byte| byte == b'@') {
        Some(at) => authority.get(at + 1..)?,
        None => authority,
    };
    let end = host.iter().position(|&byte| byte == b':');
    let host = host.get(..end.unwrap_or(host.len()))?;
    is_host(host, Wildcard::Never).then_some(host)
}

fn split_label(name: &[u8]) -> (&[u8], Option<&[u8]>) {
    match name.iter().position(|&byte| byte == b'.') {
        Some(at) => {
            let (first, rest) = name.split_at(at);
            (first, rest.get(1..))
        }
        None => (name, None),
    }
}

/// Whether `*` may stand in a host name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wildcard {
    Never,
    /// Alone, as the whole leftmost label.
    Leftmost,
}

/// A host name: labels of letters, digits, hyphens and (as in practice)
/// underscores, none empty or longer than 63, in all at most 253.
pub(crate) fn is_host(name: &[u8], wildcard: Wildcard) -> bool {
    if name.is_empty() || name.len() > 253 {
        return false;
    }
    let mut labels = name.split(|&byte| byte == b'.').peekable();
    if wildcard == Wildcard::Leftmost && labels.peek() == Some(&&b"*"[..]) {
        labels.next();
        if labels.peek().is_none() {
            return false;
        }
    }
    labels.all(|label| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with(b"-")
            && !label.ends_with(b"-")
            && label
                .iter()
                .all(|&byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    })
}

/// Whom the client meant to reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reference {
    /// Lower-case A-labels without a final dot.
    Host(String),
    Ip(IpAddr),
}

impl Reference {
    /// From a name as SNI or Host give it; `None` for what is no name.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let bare = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(text);
        if let Ok(address) = bare.parse() {
            return Some(Self::Ip(address));
        }
        is_host(text.as_bytes(), Wildcard::Never).then(|| Self::Host(text.to_ascii_lowercase()))
    }
}

/// Whether a name of a certificate stands for whom the client meant (RFC 9525
/// §6.3: a wildcard is the whole leftmost label and stands for one label).
pub(crate) fn stands_for(name: &GeneralName, reference: &Reference) -> bool {
    match (name, reference) {
        (GeneralName::Dns(name), Reference::Host(host)) => {
            if !is_host(name, Wildcard::Leftmost) {
                return false;
            }
            let host = host.as_bytes();
            match name.strip_prefix(b"*.") {
                // A wildcard right below a top-level domain stands for nothing.
                Some(parent) => {
                    let (label, rest) = split_label(host);
                    parent.contains(&b'.')
                        && !label.is_empty()
                        // An A-label is one character sequence of its own (RFC 6125 §7.2).
                        && rest.is_some_and(|rest| rest.eq_ignore_ascii_case(parent))
                }
                None => name.eq_ignore_ascii_case(host),
            }
        }
        (GeneralName::Ip(bytes), Reference::Ip(address)) => match address {
            IpAddr::V4(v4) => **bytes == v4.octets(),
            IpAddr::V6(v6) => **bytes == v6.octets(),
        },
        _ => false,
    }
}

/// A Name's content in the form in which names are compared: attribute by
/// attribute, texts in lower case with single spaces, whatever their string
/// type (RFC 5280 §7.1, as OpenSSL and browsers do it). What does not read as
/// a Name is compared as it stands.
pub(crate) fn comparable(name: &[u8]) -> Box<[u8]> {
    let mut out = Vec::with_capacity(name.len());
    match attributes(name, &mut out) {
        Some(()) => out.into(),
        None => name.into(),
    }
}

fn attributes(name: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut rdns = Reader(name);
    while !rdns.is_empty() {
        let mut rdn = rdns.expect(tag::SET)?.reader();
        out.push(tag::SET);
        while !rdn.is_empty() {
            let mut attribute = rdn.sequence()?;
            out.extend_from_slice(attribute.expect(tag::OID)?.whole);
            let value = attribute.any()?;
            let text = match value.tag {
                // UTF8String, NumericString, PrintableString, TeletexString, IA5String, VisibleString.
                0x0c | 0x12 | 0x13 | 0x14 | 0x16 | 0x1a => Some(folded(value.content)),
                _ => None,
            };
            match text {
                Some(text) => {
                    out.push(0x0c);
                    out.extend_from_slice(&u32::try_from(text.len()).ok()?.to_be_bytes());
                    out.extend_from_slice(&text);
                }
                None => out.extend_from_slice(value.whole),
            }
        }
    }
    Some(())
}

fn folded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for word in text
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
    {
        if !out.is_empty() {
            out.push(b' ');
        }
        out.extend(word.iter().map(u8::to_ascii_lowercase));
    }
    out
}

/// The first common name of a Name, as text.
pub(crate) fn common_name(name: &[u8]) -> Option<String> {
    let mut rdns = Reader(Reader(name).any()?.content);
    while let Some(rdn) = rdns.any() {
        let mut rdn = rdn.reader();
        while let Some(mut attribute) = rdn.sequence() {
            if attribute.expect(tag::OID)?.content == [0x55, 4, 3] {
                let value = attribute.any()?.content;
                return Some(String::from_utf8_lossy(value).into_owned());
            }
        }
    }
    None
}

/// The label of a certificate's issuer.
pub(crate) fn issuer_label(cert: &super::Cert) -> String {
    Reader(cert.issuer())
        .any()
        .map(|name| label(name.content))
        .unwrap_or_default()
}

/// Characters of a label.
const MAX_LABEL: usize = 96;

/// The part of a Name that people know it by: common name, else organisation
/// unit, else organisation.
pub(crate) fn label(name: &[u8]) -> String {
    let mut found: [Option<&[u8]>; 3] = [None; 3];
    let mut rdns = Reader(name);
    while let Some(rdn) = rdns.any() {
        let mut rdn = rdn.reader();
        while let Some(mut attribute) = rdn.sequence() {
            let rank = match attribute.expect(tag::OID).map(|oid| oid.content) {
                Some([0x55, 4, 3]) => 0,
                Some([0x55, 4, 11]) => 1,
                Some([0x55, 4, 10]) => 2,
                _ => continue,
            };
            if let (Some(value), Some(place)) = (attribute.any(), found.get_mut(rank)) {
                place.get_or_insert(value.content);
            }
        }
    }
    let best = found.into_iter().flatten().next().unwrap_or_default();
    String::from_utf8_lossy(best)
        .chars()
        .take(MAX_LABEL)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn stands(name: &str, reference: &str, expected: bool) {
        let name = match name.parse::<IpAddr>() {
            Ok(IpAddr::V4(v4)) => GeneralName::Ip(v4.octets().into()),
            Ok(IpAddr::V6(v6)) => GeneralName::Ip(v6.octets().into()),
            Err(_) => GeneralName::Dns(name.as_bytes().into()),
        };
        let actual = Reference::read(reference).is_some_and(|whom| stands_for(&name, &whom));
        assert_eq!(actual, expected, "{name:?} for {reference}");
    }

    /// RFC 9525 §6.3, RFC 6125 §6.4.3.
    #[test]
    fn names_stand_for_hosts_by_the_rules() {
        stands("example.com", "example.com", true);
        stands("example.com", "EXAMPLE.com.", true);
        stands("*.example.com", "www.example.com", true);
        stands("*.example.com", "example.com", false);
        stands("*.example.com", "a.b.example.com", false);
        stands("w*.example.com", "www.example.com", false);
        stands("www.*.com", "www.example.com", false);
        stands("*.com", "example.com", false);
        stands("*", "localhost", false);
        stands("xn--bcher-kva.example", "xn--bcher-kva.example", true);
        stands("*.example", "xn--bcher-kva.example", false);
        stands("192.0.2.1", "192.0.2.1", true);
        stands("192.0.2.1", "192.0.2.2", false);
        stands("2001:db8::1", "[2001:db8:0::1]", true);
        stands("example.com", "192.0.2.1", false);
        stands("a b.example", "a b.example", false);
    }

    #[track_caller]
    fn below(name: GeneralName, base: GeneralName, expected: Option<bool>) {
        let actual = match within(&name, &base) {
            Within::Yes => Some(true),
            Within::No => Some(false),
            Within::OtherKind | Within::Malformed => None,
        };
        assert_eq!(actual, expected, "{name:?} in {base:?}");
    }

    /// RFC 5280 §4.2.1.10.
    #[test]
    fn subtrees_hold_what_lies_in_them() {
        let dns = |text: &str| GeneralName::Dns(text.as_bytes().into());
        let mail = |text: &str| GeneralName::Email(text.as_bytes().into());
        let uri = |text: &str| GeneralName::Uri(text.as_bytes().into());
        let ip = |bytes: &[u8]| GeneralName::Ip(bytes.into());
        below(dns("host.example.com"), dns("example.com"), Some(true));
        below(dns("example.com"), dns("EXAMPLE.com"), Some(true));
        below(dns("badexample.com"), dns("example.com"), Some(false));
        below(dns("*.example.com"), dns("example.com"), Some(true));
        below(dns("anything"), dns(""), Some(true));
        below(dns("bad..example"), dns("example"), None);
        below(mail("a@example.com"), mail("example.com"), Some(true));
        below(mail("a@host.example.com"), mail("example.com"), Some(false));
        below(mail("a@host.example.com"), mail(".example.com"), Some(true));
        below(mail("A@example.com"), mail("a@example.com"), Some(false));
        below(
            uri("https://u@host.example.com:1/x"),
            uri(".example.com"),
            Some(true),
        );
        below(uri("https://example.com"), uri("example.com"), Some(true));
        below(uri("urn:x"), uri("example.com"), None);
        below(
            ip(&[192, 0, 2, 1]),
            ip(&[192, 0, 2, 0, 255, 255, 255, 0]),
            Some(true),
        );
        below(
            ip(&[192, 0, 3, 1]),
            ip(&[192, 0, 2, 0, 255, 255, 255, 0]),
            Some(false),
        );
        below(ip(&[192, 0, 2, 1]), dns("example.com"), None);
        assert!(wildcard_reaches(
            &dns("*.example.com"),
            &dns("foo.example.com")
        ));
        assert!(!wildcard_reaches(
            &dns("*.example.com"),
            &dns("foo.example.org")
        ));
    }

    #[test]
    fn names_are_compared_as_people_read_them() {
        let name = |kind: u8, text: &[u8]| {
            let len = |bytes: &[u8]| u8::try_from(bytes.len()).unwrap();
            let attribute = [&[6, 3, 0x55, 4, 3, kind, len(text)][..], text].concat();
            let sequence = [&[0x30, len(&attribute)][..], &attribute].concat();
            [&[0x31, len(&sequence)][..], &sequence].concat()
        };
        let same = comparable(&name(0x13, b"Example  CA "));
        assert_eq!(same, comparable(&name(0x0c, b"example ca")));
        assert_ne!(same, comparable(&name(0x0c, b"example cb")));
        assert_eq!(label(&name(0x0c, b"Example CA")), "Example CA");
    }
}
