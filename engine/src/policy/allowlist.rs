//! Where traffic may go: names, names below a name, addresses.

use std::collections::HashSet;
use std::net::IpAddr;

/// Names and addresses that traffic may go to.
#[derive(Clone, Debug, Default)]
pub struct Allowlist {
    exact: HashSet<String>,
    /// What names end with: `.example.org`.
    below: Vec<String>,
}

impl Allowlist {
    /// From the policy's patterns.
    pub fn new(patterns: &[String]) -> Self {
        let mut list = Self::default();
        for pattern in patterns {
            let pattern = pattern.trim().trim_end_matches('.').to_ascii_lowercase();
            match pattern.strip_prefix("*.") {
                Some(parent) => list.below.push(format!(".{parent}")),
                None => {
                    let address = pattern.parse::<IpAddr>().map(|ip| ip.to_canonical());
                    list.exact
                        .insert(address.map_or(pattern, |ip| ip.to_string()));
                }
            }
        }
        list
    }

    /// Whether traffic may go to a name or address.
    pub fn allows(&self, destination: &str) -> bool {
        let name = destination.trim_end_matches('.').to_ascii_lowercase();
        self.exact.contains(&name)
            || self
                .below
                .iter()
                .any(|end| name.len() > end.len() && name.ends_with(end.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn allows(patterns: &[&str], destination: &str, expected: bool) {
        let patterns: Vec<_> = patterns.iter().map(|&text| text.to_owned()).collect();
        let list = Allowlist::new(&patterns);
        assert_eq!(
            list.allows(destination),
            expected,
            "{patterns:?} {destination}"
        );
    }

    #[test]
    fn patterns_are_those_of_the_controls() {
        allows(&["*.example.org"], "www.example.org", true);
        allows(&["*.example.org"], "a.b.example.org", true);
        allows(&["*.example.org"], "example.org", false);
        allows(&["*.example.org"], "badexample.org", false);
        allows(&["*.Example.ORG."], "WWW.example.org.", true);
        allows(&["api.example.org"], "api.example.org", true);
        allows(&["api.example.org"], "x.api.example.org", false);
        allows(&["192.0.2.7"], "192.0.2.7", true);
        allows(&["2001:DB8::1"], "2001:db8::1", true);
        allows(&["::ffff:192.0.2.7"], "192.0.2.7", true);
        allows(&[], "example.org", false);
    }
}
