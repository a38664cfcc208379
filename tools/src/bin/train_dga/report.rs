//! How well it does on what it has never seen.

use crate::fit::fit;
use crate::lists::{Lists, Names, Random};
use nsforensics_engine::proto::dns::dga::Model;
use std::fmt::Write as _;

/// Names that a host asks for in vain.
const NAMES: usize = 10;
/// Benign names among them in the second column.
const MIXED: usize = 3;
/// Hosts drawn of each family.
const HOSTS: usize = 4_000;
/// Benign hosts drawn of each list.
const BENIGN_HOSTS: usize = 200_000;
/// Every family is left out once.
const FOLDS: usize = 5;

/// Leaves each family out in turn; benign names in three parts that share none.
pub fn measure(lists: &Lists) -> Result<String, String> {
    let [counted, weighed, unseen] = lists.benign_parts([6, 2, 2]);
    let all: Vec<&str> = lists
        .families(|_| true)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    let mut rows = Vec::new();
    let mut false_alarms = String::new();
    let mut random = Random::new(2);
    for fold in 0..FOLDS {
        let left_out = |name: &str| {
            all.iter()
                .position(|known| *known == name)
                .is_some_and(|at| at % FOLDS == fold)
        };
        let teachers = lists.families(|name| !left_out(name));
        let model = fit(&counted, &weighed, &teachers, 100 + fold as u64)?.model()?;
        let people: Vec<f64> = unseen
            .iter()
            .flat_map(|list| shares(&model, list))
            .collect();
        for family in lists.families(left_out) {
            rows.push(row(&model, &family, &people, &mut random, "drawn"));
        }
        if fold == 0 {
            for family in lists.word_families() {
                rows.push(row(&model, &family, &people, &mut random, "words"));
            }
        }
        for list in &unseen {
            let shares = shares(&model, list);
            let over = (0..BENIGN_HOSTS)
                .filter(|_| exceeds(&model, &random.choose(&shares, NAMES)))
                .count();
            let _ = writeln!(
                false_alarms,
                "{fold}\t{}\t{}\t{over}\t{BENIGN_HOSTS}",
                list.0,
                shares.len()
            );
        }
    }
    rows.sort();
    let mut out = format!(
        "Hosts found by {NAMES} names they ask for in vain, at one false alarm in 10,000 hosts.\n\
         Each family by a model that never saw it; {HOSTS} hosts of each family.\n\n\
         kind\tfamily\tnames\tfound\tfound with {MIXED} benign names besides\n"
    );
    for row in &rows {
        let _ = writeln!(
            out,
            "{}\t{}\t{}\t{}\t{}",
            row.kind,
            row.family,
            row.names,
            percent(row.found),
            percent(row.found_mixed)
        );
    }
    for kind in ["drawn", "words"] {
        let of_kind: Vec<&Row> = rows
            .iter()
            .filter(|row| row.kind == kind && row.found.is_some())
            .collect();
        let mean = |get: fn(&Row) -> Option<f64>| {
            percent(Some(
                of_kind.iter().filter_map(|row| get(row)).sum::<f64>()
                    / of_kind.len().max(1) as f64,
            ))
        };
        let _ = writeln!(
            out,
            "\nmean over {} {kind} families: {} found, {} with {MIXED} benign names besides",
            of_kind.len(),
            mean(|row| row.found),
            mean(|row| row.found_mixed)
        );
    }
    let _ = write!(
        out,
        "\nBenign hosts of {NAMES} names that were in no table and no weight:\nfold\tlist\tnames\talarms\thosts\n{false_alarms}"
    );
    Ok(out)
}

struct Row {
    kind: &'static str,
    family: String,
    names: usize,
    /// None with fewer names than a host needs.
    found: Option<f64>,
    found_mixed: Option<f64>,
}

impl Row {
    fn key(&self) -> (&str, &str) {
        (self.kind, &self.family)
    }
}

impl PartialEq for Row {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Row {}

impl PartialOrd for Row {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Row {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

fn row(
    model: &Model,
    family: &Names<'_>,
    people: &[f64],
    random: &mut Random,
    kind: &'static str,
) -> Row {
    let own = shares(model, family);
    let mut share_found = |mixed: usize| {
        if own.len() < NAMES {
            return None;
        }
        let found = (0..HOSTS).filter(|_| {
            let mut names = random.choose(&own, NAMES);
            names.extend(random.choose(people, mixed));
            exceeds(model, &names)
        });
        Some(found.count() as f64 / HOSTS as f64)
    };
    Row {
        kind,
        family: family.0.to_owned(),
        names: own.len(),
        found: share_found(0),
        found_mixed: share_found(MIXED),
    }
}

fn shares(model: &Model, list: &Names<'_>) -> Vec<f64> {
    list.1
        .iter()
        .map(|label| model.share(model.logit(label.as_bytes())))
        .collect()
}

fn exceeds(model: &Model, shares: &[f64]) -> bool {
    model
        .limit(shares.len())
        .is_some_and(|limit| shares.iter().sum::<f64>() > limit)
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(
        || "too few names".to_owned(),
        |share| format!("{:.2} %", share * 100.0),
    )
}
