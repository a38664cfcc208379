//! Destinations that belong together: names of one registered domain, addresses
//! of one network.

use crate::proto::dns::suffix;
use std::net::IpAddr;

/// A registered domain, or a network of addresses.
pub(super) type GroupId = u32;

/// The registered domain of a name, the network of an address: /24 and /48.
pub(super) fn group_name(destination: &str) -> String {
    match destination.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
        Ok(IpAddr::V4(v4)) => {
            let [a, b, c, _] = v4.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        Ok(IpAddr::V6(v6)) => {
            let [a, b, c, ..] = v6.segments();
            format!("{a:x}:{b:x}:{c:x}::/48")
        }
        Err(_) => {
            suffix::registered(destination).map_or_else(|| destination.to_owned(), str::to_owned)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_have_groups() {
        for (destination, expected) in [
            ("a.b.example.org", "example.org"),
            ("x.example.co.uk", "example.co.uk"),
            ("localhost", "localhost"),
            ("192.0.2.77", "192.0.2.0/24"),
            ("::ffff:192.0.2.77", "192.0.2.0/24"),
            ("2001:db8:1:2::9", "2001:db8:1::/48"),
        ] {
            assert_eq!(group_name(destination), expected);
        }
    }
}
