//! Destinations that belong together: names of one registered domain, addresses
//! of one network.

use super::rows::spread;
use super::{NameId, Names};
use crate::proto::dns::suffix;
use foldhash::quality::RandomState;
use hashbrown::HashTable;
use std::hash::BuildHasher;
use std::net::IpAddr;

/// A registered domain, or a network of addresses: the place of the first
/// destination in it among the names.
pub(super) type GroupId = u32;

/// Groups of destinations; each destination is looked at once.
#[derive(Debug, Default)]
pub(super) struct Groups {
    hasher: RandomState,
    /// By destination; `GroupId::MAX` where it was not looked at.
    of: Vec<GroupId>,
    /// Groups with half a hash of what they are called.
    known: HashTable<(u32, GroupId)>,
}

impl Groups {
    /// The group of a destination.
    pub(super) fn of(&mut self, names: &Names, destination: NameId) -> GroupId {
        let index = destination.index();
        if !destination.is_some() {
            return GroupId::MAX;
        }
        if let Some(&known) = self.of.get(index).filter(|known| **known != GroupId::MAX) {
            return known;
        }
        let name = group_name(names.text(destination));
        let half = self.hasher.hash_one(&name) as u32;
        let is_it = |&(of, group): &(u32, GroupId)| {
            of == half && group_name(names.text(NameId::at(group))) == name
        };
        let known = self.known.find(spread(half), is_it);
        let group = known.map_or(destination.number(), |&(_, group)| group);
        if known.is_none() {
            let known = &mut self.known;
            known.insert_unique(spread(half), (half, group), |&(of, _)| spread(of));
        }
        if self.of.len() <= index {
            self.of.resize(index + 1, GroupId::MAX);
        }
        if let Some(slot) = self.of.get_mut(index) {
            *slot = group;
        }
        group
    }
}

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
        let mut names = Names::new(9);
        let [a, b, c] =
            ["a.example.org", "b.example.org", "c.example.net"].map(|text| names.number(text));
        let mut groups = Groups::default();
        let [a, b, c] = [a, b, c].map(|id| groups.of(&names, id));
        assert!(a == b && a != c);
    }
}
