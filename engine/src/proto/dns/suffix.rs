//! The registered domain of a name: its public suffix and one label more, by
//! Mozilla's list (publicsuffix.org), which is compiled in.

/// The list by the version of the crate that carries it: results change with
/// it, so it stands in the manifest.
pub const LIST: &str = concat!("psl ", "2.1.247");

/// The registered domain at the end of a lower-case name; none for a public
/// suffix itself and for names of a single label. Suffixes that are not on the
/// list count as one label, as the list's own rule has it.
pub fn registered(name: &str) -> Option<&str> {
    psl::domain_str(name)
}

/// Whether the list knows the end of a lower-case name; names of a network's
/// own end otherwise, and so do tunnels that pretend no domain.
pub fn is_listed(name: &str) -> bool {
    psl::suffix(name.as_bytes()).is_some_and(|suffix| suffix.is_known())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_listed_or_not() {
        for (name, expected) in [
            ("www.example.com", true),
            ("example.co.uk", true),
            ("printer.local", false),
            ("a.3b7f", false),
            ("", false),
        ] {
            assert_eq!(is_listed(name), expected, "{name}");
        }
    }

    #[test]
    fn the_list_is_that_of_the_lock_file() {
        let lock = include_str!("../../../../Cargo.lock");
        let entry = lock
            .split("[[package]]")
            .find(|entry| entry.contains("name = \"psl\"\n"));
        let version = LIST.strip_prefix("psl ").unwrap();
        assert!(entry.unwrap().contains(&format!("version = \"{version}\"")));
    }

    #[test]
    fn domains_are_those_of_the_list() {
        // Rules `com`, `co.uk`, `*.ck` with its exception, `github.io`, and no rule at all.
        for (name, expected) in [
            ("www.example.com", Some("example.com")),
            ("a.b.example.co.uk", Some("example.co.uk")),
            ("co.uk", None),
            ("a.b.test.ck", Some("b.test.ck")),
            ("www.ck", Some("www.ck")),
            ("me.github.io", Some("me.github.io")),
            ("printer.local", Some("printer.local")),
            ("localhost", None),
            (".", None),
            ("", None),
        ] {
            assert_eq!(registered(name), expected, "{name}");
        }
    }
}
