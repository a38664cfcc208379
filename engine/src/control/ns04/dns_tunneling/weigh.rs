//! How far the names of a day look like a tunnel's: the terms of the score.

use crate::control::ns04::information::NameSet;
use std::collections::BTreeMap;

/// Questions of types that only tunnels ask for.
pub(super) const MIN_ODD: u32 = 10;
/// Bytes a day at which the amount alone says neither yes nor no.
pub(super) const EVEN_BYTES: f64 = 512.0;

/// Types by what a client that surfs, mails or updates asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A, AAAA, HTTPS, SVCB.
    Address,
    /// TXT, MX, CNAME, SRV, NS, ANY: answers with room for data.
    Text,
    /// NULL (RFC 1035 calls it experimental), KEY, WKS, types for private use.
    Odd,
    /// What resolvers and mail servers ask.
    Other,
}

pub(super) fn kind(qtype: i64) -> Kind {
    match qtype {
        1 | 28 | 64 | 65 => Kind::Address,
        2 | 5 | 15 | 16 | 33 | 255 => Kind::Text,
        10 | 11 | 25 | 65_280..=65_534 => Kind::Odd,
        _ => Kind::Other,
    }
}

/// Half a day of one pair.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    pub(super) names: NameSet,
    pub(super) questions: u64,
    /// By [`Kind`].
    pub(super) kinds: [u64; 4],
    pub(super) answered: u64,
    /// Bytes of answers that have room for data, beyond the question's own.
    pub(super) down: u64,
    pub(super) longest_label: u64,
}

impl Cell {
    pub(super) fn merge(&mut self, other: &Self) {
        self.names.merge(&other.names);
        self.questions += other.questions;
        for (sum, more) in self.kinds.iter_mut().zip(other.kinds) {
            *sum += more;
        }
        self.answered += other.answered;
        self.down += other.down;
        self.longest_label = self.longest_label.max(other.longest_label);
    }

    pub(super) fn share(&self, kind: Kind) -> f64 {
        let count = self.kinds.get(kind as usize).copied().unwrap_or_default();
        count as f64 / self.questions.max(1) as f64
    }
}

/// A term of the score: what it says, the value it looked at, what it adds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Term {
    pub(super) says: &'static str,
    pub(super) value: f64,
    pub(super) points: f64,
}

/// A pair's worst day, or its whole time.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    pub(super) cell: Cell,
    pub(super) bytes: f64,
    pub(super) span: &'static str,
    pub(super) terms: Vec<Term>,
}

impl Judged {
    pub(super) fn points(&self) -> f64 {
        self.terms.iter().map(|term| term.points).sum()
    }

    pub(super) fn score(&self) -> f64 {
        1.0 / (1.0 + (-self.points()).exp())
    }
}

/// What else is known of a pair.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around {
    /// Clients that ask below the same domain.
    pub(super) clients: u32,
    /// Names below it that this client connected to.
    pub(super) goals: usize,
}

/// The day with the highest score, or several days together where they are
/// more telling: half of what three days and more carry counts.
pub(super) fn worst(cells: &BTreeMap<i64, Cell>, around: Around) -> Option<Judged> {
    let mut days = Vec::new();
    for (&step, cell) in cells {
        let mut day = cell.clone();
        if let Some(next) = step.checked_add(1).and_then(|next| cells.get(&next)) {
            day.merge(next);
        }
        days.push(weigh(day, around, 1.0, "a day"));
    }
    let active: std::collections::BTreeSet<i64> =
        cells.keys().map(|step| step.div_euclid(2)).collect();
    if active.len() >= 3 {
        let mut all = Cell::default();
        cells.values().for_each(|cell| all.merge(cell));
        days.push(weigh(all, around, 0.5, "several days"));
    }
    days.into_iter().reduce(|best, day| {
        if day.points() > best.points() {
            day
        } else {
            best
        }
    })
}

fn weigh(cell: Cell, around: Around, part: f64, span: &'static str) -> Judged {
    let bytes = cell.names.information();
    let distinct = cell.names.distinct();
    let mut terms = vec![Term {
        says: "information in the names, bytes",
        value: bytes,
        points: (1.2 * (bytes * part / EVEN_BYTES).max(1e-3).log2()).clamp(-6.0, 8.0),
    }];
    let mut term = |says, value, points, holds| {
        if holds {
            terms.push(Term {
                says,
                value,
                points,
            });
        }
    };
    let odd = cell.share(Kind::Odd);
    let odd_names = distinct * odd;
    term(
        "types that no ordinary program asks for",
        odd,
        if odd_names >= f64::from(MIN_ODD) {
            4.0
        } else {
            1.5
        },
        odd >= 0.3,
    );
    let text = cell.share(Kind::Text);
    term(
        "types whose answers have room for data",
        text,
        0.8,
        text >= 0.5,
    );
    let unique = distinct / cell.questions.max(1) as f64;
    term(
        "a new name in nearly every question",
        unique,
        0.7,
        unique >= 0.8 && cell.questions >= 20,
    );
    let mean = cell.names.mean_length();
    term("long names, characters", mean, 0.5, mean >= 30.0);
    term(
        "long labels, characters",
        cell.longest_label as f64,
        0.5,
        cell.longest_label >= 40,
    );
    term(
        "much in the answers, bytes",
        cell.down as f64,
        1.0,
        cell.down >= 16 << 10,
    );
    let address = cell.share(Kind::Address);
    let answered = cell.answered as f64 / cell.questions.max(1) as f64;
    term(
        "short names that are asked for addresses, as hosts have",
        mean,
        -0.3,
        mean < 20.0 && address >= 0.9,
    );
    let reached = around.goals as f64 / distinct.max(1.0);
    term(
        "the client then connects to hosts of these names",
        reached,
        -2.5,
        reached >= 0.3,
    );
    term(
        "several clients ask for addresses there and get them",
        f64::from(around.clients),
        -3.0,
        around.clients >= 3 && address >= 0.9 && answered >= 0.8,
    );
    Judged {
        cell,
        bytes,
        span,
        terms,
    }
}
