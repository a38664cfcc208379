//! Values with rules of their own, checked where they are read, so that an
//! error names the place.

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv6Addr};

/// A TLS version in the policy's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct TlsVersion(
    /// As on the wire: 0x0300 to 0x0304.
    pub u16,
);

const VERSIONS: &[(&str, u16)] = &[
    ("SSLv3", 0x0300),
    ("TLS1.0", 0x0301),
    ("TLS1.1", 0x0302),
    ("TLS1.2", 0x0303),
    ("TLS1.3", 0x0304),
];

impl TryFrom<String> for TlsVersion {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        VERSIONS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(&text))
            .map(|&(_, code)| Self(code))
            .ok_or_else(|| {
                format!("`{text}` is no TLS version; use SSLv3, TLS1.0, TLS1.1, TLS1.2 or TLS1.3")
            })
    }
}

impl From<TlsVersion> for String {
    fn from(version: TlsVersion) -> Self {
        let named = VERSIONS.iter().find(|(_, code)| *code == version.0);
        named.map_or_else(
            || format!("{:#06x}", version.0),
            |(name, _)| (*name).to_owned(),
        )
    }
}

/// A pattern over IANA cipher suite names, with `*` for any run of characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct SuitePattern(String);

impl SuitePattern {
    /// The pattern's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a suite's name matches, letter case aside.
    pub fn matches(&self, name: &str) -> bool {
        glob(self.0.as_bytes(), name.as_bytes())
    }
}

impl TryFrom<String> for SuitePattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_*".contains(&byte);
        if text.is_empty() || text.len() > 128 || !text.bytes().all(allowed) {
            return Err(format!(
                "`{text}` is no pattern of IANA suite names; use letters, digits, `_` and `*`, \
                 as in `TLS_AES_128_GCM_SHA256` or `*CBC*`"
            ));
        }
        Ok(Self(text))
    }
}

impl From<SuitePattern> for String {
    fn from(pattern: SuitePattern) -> Self {
        pattern.0
    }
}

/// Matches `*` against any run; linear but for one step back per star.
pub(crate) fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(&byte) = text.get(t) {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(want) if want.eq_ignore_ascii_case(&byte) => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((star_p, star_t)) => {
                    star = Some((star_p, star_t + 1));
                    p = star_p + 1;
                    t = star_t + 1;
                }
                None => return false,
            },
        }
    }
    pattern
        .get(p..)
        .unwrap_or_default()
        .iter()
        .all(|&byte| byte == b'*')
}

/// A network in CIDR notation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    text: String,
    network: u128,
    bits: u32,
}

impl Cidr {
    /// The network as a number, IPv4 as mapped into IPv6, and the bits of it that count.
    pub(crate) fn parts(&self) -> (u128, u32) {
        (self.network, self.bits)
    }

    /// Whether the address lies in the network.
    pub fn contains(&self, address: IpAddr) -> bool {
        let shift = 128 - self.bits;
        self.bits == 0 || number(address) >> shift == self.network >> shift
    }
}

/// An address as a number; IPv4 as mapped into IPv6.
pub(crate) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => Ipv6Addr::to_bits(v4.to_ipv6_mapped()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

impl TryFrom<String> for Cidr {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no network; write `10.0.0.0/8` or `fd00::/8`");
        let (address, bits) = text.split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let bits: u32 = bits.parse().map_err(|_| wrong())?;
        let (offset, most) = if address.is_ipv4() {
            (96, 32)
        } else {
            (0, 128)
        };
        if bits > most {
            return Err(wrong());
        }
        Ok(Self {
            network: number(address),
            bits: bits + offset,
            text,
        })
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> Self {
        cidr.text
    }
}

/// A public-key pin: SHA-256 of a SubjectPublicKeyInfo (RFC 7469 §2.4).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pin {
    text: String,
    /// The digest.
    pub sha256: [u8; 32],
}

/// Pins are compared as bytes: padding and unused bits do not matter.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

impl TryFrom<String> for Pin {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = text.strip_prefix("sha256/").unwrap_or(&text);
        let sha256 = LENIENT
            .decode(digits)
            .ok()
            .and_then(|bytes| bytes.try_into().ok());
        match sha256 {
            Some(sha256) => Ok(Self { text, sha256 }),
            None => Err(format!(
                "pin `{text}` does not decode to the 32 bytes of a SHA-256"
            )),
        }
    }
}

impl From<Pin> for String {
    fn from(pin: Pin) -> Self {
        pin.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn matches(pattern: &str, name: &str, expected: bool) {
        let pattern = SuitePattern::try_from(pattern.to_owned()).unwrap();
        assert_eq!(
            pattern.matches(name),
            expected,
            "{} against {name}",
            pattern.as_str()
        );
    }

    #[test]
    fn patterns_match_whole_names() {
        matches("*CBC*", "TLS_RSA_WITH_AES_128_CBC_SHA", true);
        matches("*CBC*", "TLS_AES_128_GCM_SHA256", false);
        matches("*DES*", "TLS_RSA_WITH_3DES_EDE_CBC_SHA", true);
        matches("TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256", true);
        matches("TLS_AES_128", "TLS_AES_128_GCM_SHA256", false);
        matches("*_SHA", "TLS_RSA_WITH_AES_128_CBC_SHA", true);
        matches("*_SHA", "TLS_RSA_WITH_AES_128_CBC_SHA256", false);
        matches("*a*b*c*", "xxaxxbxxc", true);
        matches("*", "anything", true);
    }

    #[test]
    fn networks_hold_their_addresses() {
        let net = |text: &str| Cidr::try_from(text.to_owned()).unwrap();
        assert!(net("10.0.0.0/8").contains("10.200.3.4".parse().unwrap()));
        assert!(!net("10.0.0.0/8").contains("11.0.0.0".parse().unwrap()));
        assert!(net("0.0.0.0/0").contains("8.8.8.8".parse().unwrap()));
        assert!(!net("0.0.0.0/0").contains("2001:db8::1".parse().unwrap()));
        assert!(net("fd00::/8").contains("fd12::1".parse().unwrap()));
        for wrong in ["10.0.0.0", "10.0.0.0/33", "fd00::/129", "x/8", ""] {
            assert!(Cidr::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn pins_are_compared_as_bytes() {
        let zeros = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        for text in [
            format!("sha256/{zeros}="),
            zeros.to_owned(),
            format!("sha256/{zeros}"),
        ] {
            assert_eq!(Pin::try_from(text).unwrap().sha256, [0; 32]);
        }
        for wrong in ["sha256/AAAA", "not base64!", ""] {
            let error = Pin::try_from(wrong.to_owned()).unwrap_err();
            assert!(error.contains("32 bytes"), "{error}");
        }
    }
}
