//! The indicators of all files, and how they are looked up.

use super::FileSummary;
use super::value::{Kind, Parsed, bare_serial, comparable};
use crate::policy::number_of;
use crate::time::CaptureTime;
use foldhash::quality::RandomState;
use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Files that are named for one indicator.
const MAX_ORIGINS: usize = 8;

/// Where an indicator is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Its file, by place among [`Set::files`].
    pub file: u32,
    /// Line, from 1.
    pub line: u32,
    /// Its own id.
    pub id: Option<Box<str>>,
    /// What its author calls it.
    pub name: Option<Box<str>>,
    /// How sure its author is, of 100.
    pub confidence: Option<u8>,
    /// Until when its author stands by it.
    pub valid_until: Option<CaptureTime>,
}

/// One indicator.
#[derive(Clone, Debug)]
pub struct Indicator {
    /// What it names.
    pub kind: Kind,
    /// In the form in which it is compared.
    pub value: Box<str>,
    /// The only port that is meant.
    pub port: Option<u16>,
    /// Where it is from: the first few places.
    pub origins: Vec<Origin>,
}

/// What a text of a table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sort {
    /// An address or a name.
    Host,
    /// A URL.
    Url,
    /// Digest of a file.
    File,
    /// JA3.
    Ja3,
    /// JA3S.
    Ja3s,
    /// JA4.
    Ja4,
    /// Digest of a certificate.
    Certificate,
    /// Digest of a key.
    Key,
    /// Serial number.
    Serial,
}

const fn sort_of(kind: Kind) -> Sort {
    match kind {
        Kind::Address | Kind::Network | Kind::Domain | Kind::ExactDomain => Sort::Host,
        Kind::Url => Sort::Url,
        Kind::File => Sort::File,
        Kind::Ja3 => Sort::Ja3,
        Kind::Ja3s => Sort::Ja3s,
        Kind::Ja4 => Sort::Ja4,
        Kind::Certificate => Sort::Certificate,
        Kind::Key => Sort::Key,
        Kind::Serial => Sort::Serial,
    }
}

type Places = Vec<u32>;

/// The indicators.
#[derive(Debug, Default)]
pub struct Set {
    most: usize,
    indicators: Vec<Indicator>,
    exact: HashMap<(Sort, Box<str>), Places, RandomState>,
    /// Networks by length of prefix, IPv4 inside IPv6: one look-up for each.
    networks: BTreeMap<u32, HashMap<u128, Places, RandomState>>,
    files: Vec<FileSummary>,
}

impl Set {
    /// An empty one that takes at most so many.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            ..Self::default()
        }
    }

    /// What became of each file.
    pub fn files(&self) -> &[FileSummary] {
        &self.files
    }

    /// How many indicators there are.
    pub fn len(&self) -> usize {
        self.indicators.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.indicators.is_empty()
    }

    /// One, by its place.
    pub fn get(&self, place: u32) -> Option<&Indicator> {
        self.indicators.get(place as usize)
    }

    /// Whether one of these kinds is there.
    pub fn has(&self, kinds: &[Kind]) -> bool {
        self.indicators.iter().any(|one| kinds.contains(&one.kind))
    }

    pub(super) fn close_file(&mut self, summary: FileSummary) -> &FileSummary {
        self.files.push(summary);
        self.files.last().unwrap_or(&EMPTY)
    }

    pub(super) fn insert(&mut self, parsed: Parsed, origin: &Origin) -> Result<(), String> {
        let Parsed {
            kind,
            value,
            network,
            port,
        } = parsed;
        let place = u32::try_from(self.indicators.len()).unwrap_or(u32::MAX);
        let is_full = self.indicators.len() >= self.most;
        let places = match network {
            Some(network) => {
                let (number, length) = network.parts();
                let of_length = self.networks.entry(length).or_default();
                of_length.entry(masked(number, length)).or_default()
            }
            None => self
                .exact
                .entry((sort_of(kind), value.as_str().into()))
                .or_default(),
        };
        let known = places.iter().find(|&&place| {
            let known = self.indicators.get(place as usize);
            known.is_some_and(|known| known.kind == kind && known.port == port)
        });
        if let Some(&known) = known {
            if let Some(known) = self.indicators.get_mut(known as usize)
                && known.origins.len() < MAX_ORIGINS
            {
                known.origins.push(origin.clone());
            }
            return Ok(());
        }
        if is_full {
            return Err(format!(
                "more than limits.indicators ({}) indicators",
                self.most
            ));
        }
        places.push(place);
        self.indicators.push(Indicator {
            kind,
            value: value.into(),
            port,
            origins: vec![origin.clone()],
        });
        Ok(())
    }

    /// Calls `each` with every indicator that a text of a table is named by.
    pub fn look(&self, sort: Sort, text: &str, mut each: impl FnMut(u32)) {
        match sort {
            Sort::Host => self.look_host(text, &mut each),
            Sort::Serial => self.look_exact(sort, &bare_serial(text), &mut each),
            _ => self.look_exact(sort, text, &mut each),
        }
    }

    /// Calls `each` with every indicator that names this URL.
    pub fn look_url(
        &self,
        (scheme, host, port): (&str, &str, u16),
        path: &str,
        query: Option<&str>,
        each: impl FnMut(u32),
    ) {
        let url = comparable(scheme, host, Some(port), path, query);
        self.look(Sort::Url, &url, each);
    }

    fn look_exact(&self, sort: Sort, text: &str, each: &mut impl FnMut(u32)) {
        // A key that borrows both parts.
        struct Key<'a>(Sort, &'a str);
        impl std::hash::Hash for Key<'_> {
            fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
                self.0.hash(state);
                self.1.hash(state);
            }
        }
        impl hashbrown::Equivalent<(Sort, Box<str>)> for Key<'_> {
            fn equivalent(&self, key: &(Sort, Box<str>)) -> bool {
                self.0 == key.0 && self.1 == key.1.as_ref()
            }
        }
        if let Some(places) = self.exact.get(&Key(sort, text)) {
            places.iter().copied().for_each(each);
        }
    }

    fn look_host(&self, text: &str, each: &mut impl FnMut(u32)) {
        if let Ok(address) = text.parse::<IpAddr>() {
            self.look_exact(Sort::Host, text, each);
            let number = number_of(address);
            for (length, networks) in &self.networks {
                if let Some(places) = networks.get(&masked(number, *length)) {
                    places.iter().copied().for_each(&mut *each);
                }
            }
            return;
        }
        let lower;
        let mut name = text.trim_end_matches('.');
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            lower = name.to_ascii_lowercase();
            name = &lower;
        }
        let name = name.strip_prefix("*.").unwrap_or(name);
        self.look_exact(Sort::Host, name, each);
        let mut rest = name;
        while let Some((_, parent)) = rest.split_once('.') {
            self.look_exact(Sort::Host, parent, &mut |place| {
                // Below a public suffix anybody may register.
                let kind = self.get(place).map(|one| one.kind);
                if kind == Some(Kind::Domain) {
                    each(place);
                }
            });
            rest = parent;
        }
    }
}

static EMPTY: FileSummary = FileSummary {
    path: String::new(),
    sha256: String::new(),
    size_bytes: 0,
    format: "",
    indicators: 0,
    skipped: 0,
    problems: Vec::new(),
    problem_count: 0,
};

/// The first `length` of 128 bits.
fn masked(number: u128, length: u32) -> u128 {
    let low = 128_u32.saturating_sub(length);
    let high = number.checked_shr(low).unwrap_or(0);
    high.checked_shl(low).unwrap_or(0)
}
