//! How much a registered name looks as if a program had drawn it: the measure
//! behind `dns_queries.dga_score`. Six numbers of one label, of which the first
//! weighs most: by how much letters drawn by machines explain the label better
//! than names that people chose. The tables are learned by `tools` from public
//! lists and stand in `rules/dga`, with their sources and results.
//! Says nothing about a host: see the detector `NS-04.domain_generation`.

use foldhash::quality::RandomState;
use hashbrown::HashMap;
use std::cell::RefCell;
use std::fmt::Write as _;
use std::hash::BuildHasher as _;
use std::sync::LazyLock;

/// Letters, digits, the hyphen (and whatever else), and the edge of a label.
const SYMBOLS: usize = 38;
const HYPHEN: usize = 36;
const EDGE: usize = 37;
/// Shorter labels say too little: three or four letters are as often an acronym.
pub const MIN_LABEL: usize = 5;
/// A label has at most 63 bytes (RFC 1035 §2.3.4).
const MAX_LABEL: usize = 63;
/// How many numbers a label is measured by.
pub const MEASURES: usize = 6;
/// What they are, in the order in which the model weighs them.
pub const MEASURE_NAMES: [&str; MEASURES] = [
    "machine_bits",
    "machine_bits_per_character",
    "no_hyphens",
    "length",
    "hexadecimal",
    "different_characters",
];

/// The model that is compiled in; none only if its tables were broken, which a
/// test rules out.
pub fn model() -> Option<&'static Model> {
    static MODEL: LazyLock<Option<Model>> = LazyLock::new(|| {
        Model::parse(
            include_str!("../../../../rules/dga/chosen.tsv"),
            include_str!("../../../../rules/dga/drawn.tsv"),
            include_str!("../../../../rules/dga/model.tsv"),
        )
        .ok()
    });
    MODEL.as_ref()
}

/// The score of a registered domain in lower case, 0 to 1; none for one too
/// short to say, for punycode (its letters are no language's) and for names
/// that are no host names.
pub fn score(registered: &str) -> Option<f32> {
    let label = label(registered)?;
    SCORED.with_borrow_mut(|scored| scored.get(label))
}

thread_local! {
    /// Most names of a capture belong to few domains.
    static SCORED: RefCell<Scored> = RefCell::default();
}

/// Labels that a thread scored lately, one to a place.
#[derive(Default)]
struct Scored {
    hasher: RandomState,
    places: Vec<(Box<[u8]>, Option<f32>)>,
}

impl Scored {
    const PLACES: usize = 512;

    fn get(&mut self, label: &[u8]) -> Option<f32> {
        if self.places.is_empty() {
            self.places.resize_with(Self::PLACES, Default::default);
        }
        let at = self.hasher.hash_one(label) as usize % Self::PLACES;
        let place = self.places.get_mut(at)?;
        if *place.0 != *label {
            let score = model().map(|model| probability(model.logit(label)));
            *place = (label.into(), score);
        }
        place.1
    }
}

/// What of a registered domain is scored: its first label.
pub fn label(registered: &str) -> Option<&[u8]> {
    let label = registered.split('.').next()?.as_bytes();
    let plain = |byte: &u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_')
    };
    let scored = (MIN_LABEL..=MAX_LABEL).contains(&label.len())
        && label.iter().all(plain)
        && !label.starts_with(b"xn--");
    scored.then_some(label)
}

/// Three decimals are more than the model knows, and the same on every machine.
fn probability(logit: f64) -> f32 {
    ((1000.0 / (1.0 + (-logit).exp())).round() / 1000.0) as f32
}

/// Log-odds of a score, as the tables keep it.
pub fn log_odds(score: f32) -> f64 {
    let score = f64::from(score).clamp(0.001, 0.999);
    (score / (1.0 - score)).ln()
}

/// Counts of letters in a row, of names in one list.
///
/// As text: a line for each run of letters, `^` and `$` for the edges of a
/// label, with how often it was seen.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// By length, from 1.
    runs: [HashMap<u32, u32>; 4],
}

impl Counts {
    /// Counts runs of up to `order` letters of a label.
    pub fn add(&mut self, label: &[u8], order: usize) {
        let text = symbols(label);
        for end in 1..text.len() {
            for (index, runs) in self.runs.iter_mut().enumerate().take(order) {
                let run = end
                    .checked_sub(index)
                    .and_then(|start| text.get(start..=end));
                if let Some(run) = run {
                    *runs.entry(key(run)).or_default() += 1;
                }
            }
        }
    }

    /// Forgets runs of three and more letters seen less often than `least`: most
    /// of the table, and hardly any of what it knows.
    pub fn prune(&mut self, least: u32) {
        for runs in self.runs.iter_mut().skip(2) {
            runs.retain(|_, count| *count >= least);
        }
    }

    /// The counts as text, sorted.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        for (index, runs) in self.runs.iter().enumerate() {
            let mut sorted: Vec<_> = runs.iter().collect();
            sorted.sort_unstable();
            for (&run, count) in sorted {
                let mut rest = run as usize;
                let mut letters = [0_usize; 4];
                for place in (0..=index).rev() {
                    letters[place] = rest % SYMBOLS;
                    rest /= SYMBOLS;
                }
                for (place, &letter) in letters.iter().enumerate().take(index + 1) {
                    out.push(character(letter, place == 0 && index > 0));
                }
                let _ = writeln!(out, "\t{count}");
            }
        }
        out
    }

    /// Reads [`Counts::to_text`]; lines that begin with `#` are comments.
    ///
    /// # Errors
    ///
    /// The number of a line that is no count of at most four letters.
    pub fn parse(text: &str) -> Result<Self, usize> {
        let mut counts = Self::default();
        for (number, line) in lines(text) {
            let (run, count) = line.split_once('\t').ok_or(number)?;
            let run: Vec<usize> = run.bytes().map(symbol).collect();
            let index = run.len().checked_sub(1).ok_or(number)?;
            let runs = counts.runs.get_mut(index).ok_or(number)?;
            runs.insert(key(&run), count.parse().map_err(|_| number)?);
        }
        Ok(counts)
    }

    /// Probability of the last letter of a run after those before it, by
    /// Witten and Bell's interpolation with shorter runs.
    fn probabilities(&self, order: usize) -> Smoothed {
        let mut shorter = vec![1.0 / SYMBOLS as f32; 1];
        let mut size = 1_usize;
        for runs in self.runs.iter().take(order.min(3)) {
            let (totals, kinds) = contexts(runs);
            let mut longer = vec![0.0_f32; size * SYMBOLS];
            for (run, place) in longer.iter_mut().enumerate() {
                let context = (run / SYMBOLS) as u32;
                let back = if size == 1 {
                    shorter[0]
                } else {
                    // The same without its first letter.
                    shorter[run % size]
                };
                let total = totals.get(&context).copied().unwrap_or_default() as f32;
                let kinds = kinds.get(&context).copied().unwrap_or_default() as f32;
                let count = runs.get(&(run as u32)).copied().unwrap_or_default() as f32;
                *place = if total > 0.0 {
                    (count + kinds * back) / (total + kinds)
                } else {
                    back
                };
            }
            shorter = longer;
            size *= SYMBOLS;
        }
        let mut smoothed = Smoothed {
            order,
            dense: shorter.into(),
            back: Box::default(),
            four: HashMap::new(),
        };
        if let Some(runs) = self.runs.get(3).filter(|_| order == 4) {
            let (totals, kinds) = contexts(runs);
            let share = |context: u32| {
                let total = totals.get(&context).copied().unwrap_or_default() as f32;
                let kinds = kinds.get(&context).copied().unwrap_or_default() as f32;
                (total, kinds)
            };
            smoothed.back = (0..size as u32)
                .map(|context| match share(context) {
                    (0.0, _) => 1.0,
                    (total, kinds) => kinds / (total + kinds),
                })
                .collect();
            smoothed.four = runs
                .iter()
                .map(|(&run, &count)| {
                    let (total, kinds) = share(run / SYMBOLS as u32);
                    (run, count as f32 / (total + kinds))
                })
                .collect();
        }
        smoothed
    }
}

/// How often each run but its last letter was seen, and before how many letters.
fn contexts(runs: &HashMap<u32, u32>) -> (HashMap<u32, u32>, HashMap<u32, u32>) {
    let mut totals = HashMap::new();
    let mut kinds = HashMap::new();
    for (run, count) in runs {
        let context = run / SYMBOLS as u32;
        *totals.entry(context).or_insert(0) += count;
        *kinds.entry(context).or_insert(0) += 1;
    }
    (totals, kinds)
}

/// Probabilities of letters after those before them.
#[derive(Clone, Debug)]
struct Smoothed {
    order: usize,
    /// Of runs of up to three letters.
    dense: Box<[f32]>,
    /// With four: what weight three letters have, by the first three.
    back: Box<[f32]>,
    four: HashMap<u32, f32>,
}

impl Smoothed {
    /// Bits that the letter at `end` costs.
    fn bits(&self, text: &[usize], end: usize) -> f64 {
        // At the beginning there are fewer letters before: the edge stands in for them.
        let run = |letters: usize| {
            let mut key = 0_usize;
            for back in (0..letters).rev() {
                let letter = end.checked_sub(back).and_then(|at| text.get(at));
                key = key * SYMBOLS + letter.copied().unwrap_or(EDGE);
            }
            key
        };
        let dense = self.order.min(3);
        let mut probability = self.dense.get(run(dense)).copied().unwrap_or(1.0);
        if self.order == 4 {
            let four = run(4);
            let back = self.back.get(four / SYMBOLS).copied().unwrap_or(1.0);
            let own = self.four.get(&(four as u32)).copied().unwrap_or_default();
            probability = own + back * probability;
        }
        -f64::from(probability).log2()
    }
}

/// Tables, weights, and what sums of benign names reach.
#[derive(Clone, Debug)]
pub struct Model {
    chosen: Smoothed,
    drawn: Smoothed,
    /// Weight, mean and deviation of each measure.
    weights: [[f64; 3]; MEASURES],
    bias: f64,
    /// What one name may add to a sum.
    clip: [f64; 2],
    /// For so many names, the sum that benign ones exceed once in 10,000 times;
    /// ascending.
    limits: Vec<(usize, f64)>,
}

impl Model {
    /// Reads the three tables.
    ///
    /// # Errors
    ///
    /// What is wrong, with table and line.
    pub fn parse(chosen: &str, drawn: &str, model: &str) -> Result<Self, String> {
        let counts = |name: &str, text| {
            Counts::parse(text)
                .map_err(|line| format!("{name}, line {line}: not a run and its count"))
        };
        let mut out = Self {
            chosen: counts("chosen", chosen)?.probabilities(4),
            drawn: counts("drawn", drawn)?.probabilities(2),
            weights: [[0.0; 3]; MEASURES],
            bias: 0.0,
            clip: [0.0; 2],
            limits: Vec::new(),
        };
        for (number, line) in lines(model) {
            out.setting(line)
                .ok_or_else(|| format!("model, line {number}: not a setting"))?;
        }
        let ascending = out
            .limits
            .windows(2)
            .all(|pair| matches!(pair, [a, b] if a.0 < b.0));
        if !ascending || out.limits.is_empty() || out.weights.iter().any(|&[_, _, sd]| sd <= 0.0) {
            return Err("model: limits out of order, or a measure is missing".into());
        }
        Ok(out)
    }

    fn setting(&mut self, line: &str) -> Option<()> {
        let mut fields = line.split('\t');
        let name = fields.next()?;
        let numbers = fields.map(|field| field.parse::<f64>().ok().filter(|n| n.is_finite()));
        let numbers: Vec<f64> = numbers.collect::<Option<_>>()?;
        match (name, numbers.as_slice()) {
            ("bias", &[bias]) => self.bias = bias,
            ("clip", &[low, high]) => self.clip = [low, high],
            ("limit", &[names, sum]) => self.limits.push((names as usize, sum)),
            (name, &[weight, mean, deviation]) => {
                let index = MEASURE_NAMES.iter().position(|known| *known == name)?;
                *self.weights.get_mut(index)? = [weight, mean, deviation];
            }
            _ => return None,
        }
        Some(())
    }

    /// What a label is measured by, as [`MEASURE_NAMES`] says.
    pub fn measures(&self, label: &[u8]) -> [f64; MEASURES] {
        let text = symbols(label);
        let characters = label.len().max(1) as f64;
        let mut machine = 0.0;
        let mut different = [false; SYMBOLS];
        for end in 1..text.len() {
            let bits = self.chosen.bits(&text, end) - self.drawn.bits(&text, end);
            // One odd letter is no proof.
            machine += bits.clamp(-4.0, 4.0);
            if let Some(seen) = text.get(end).and_then(|&letter| different.get_mut(letter)) {
                *seen = true;
            }
        }
        let hyphens = label
            .iter()
            .filter(|&&byte| matches!(byte, b'-' | b'_'))
            .count();
        let hexadecimal = label.len() >= 8 && label.iter().all(u8::is_ascii_hexdigit);
        let kinds = different.iter().take(EDGE).filter(|&&seen| seen).count();
        [
            machine.clamp(-25.0, 40.0) / 8.0,
            machine / (characters + 1.0),
            -(hyphens.min(2) as f64),
            characters.min(24.0).ln(),
            f64::from(u8::from(hexadecimal)),
            kinds as f64 / characters,
        ]
    }

    /// Log-odds that a label was drawn by a program.
    pub fn logit(&self, label: &[u8]) -> f64 {
        let weighed = self.weights.iter().zip(self.measures(label));
        let sum: f64 = weighed
            .map(|([weight, mean, sd], value)| weight * (value - mean) / sd)
            .sum();
        self.bias + sum
    }

    /// What a name of these log-odds adds to the sum over a host's names.
    pub fn share(&self, logit: f64) -> f64 {
        logit.clamp(self.clip[0], self.clip[1])
    }

    /// The sum over so many different names that benign ones exceed once in
    /// 10,000 times; none for fewer names than the table begins with. Beyond the
    /// table it grows in proportion, which asks for more than is needed.
    pub fn limit(&self, names: usize) -> Option<f64> {
        let at = self.limits.partition_point(|&(n, _)| n <= names);
        let &(n, sum) = self.limits.get(at.checked_sub(1)?)?;
        if names > n && at == self.limits.len() {
            return Some((sum / n as f64).max(0.0) * names as f64);
        }
        Some(sum)
    }

    /// The runs of four letters that are rarest among names that people chose.
    pub fn rarest(&self, label: &[u8], most: usize) -> Vec<String> {
        let text = symbols(label);
        let mut runs: Vec<(f64, usize)> = (4..text.len())
            .map(|end| (self.chosen.bits(&text, end), end))
            .collect();
        runs.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let name = |(_, end): (f64, usize)| {
            let run = text.get(end.saturating_sub(3)..=end).unwrap_or_default();
            run.iter().map(|&letter| character(letter, false)).collect()
        };
        runs.into_iter().take(most).map(name).collect()
    }
}

/// Lines that say something, with their numbers.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered = text
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line));
    numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

fn symbols(label: &[u8]) -> Vec<usize> {
    let mut text = Vec::with_capacity(label.len().saturating_add(2));
    text.push(EDGE);
    text.extend(label.iter().map(|&byte| symbol(byte)));
    text.push(EDGE);
    text
}

fn symbol(byte: u8) -> usize {
    match byte {
        b'a'..=b'z' => usize::from(byte - b'a'),
        b'0'..=b'9' => usize::from(byte - b'0') + 26,
        b'^' | b'$' => EDGE,
        _ => HYPHEN,
    }
}

fn character(symbol: usize, first: bool) -> char {
    match symbol {
        0..26 => char::from(b'a' + symbol as u8),
        26..36 => char::from(b'0' + (symbol - 26) as u8),
        HYPHEN => '-',
        _ if first => '^',
        _ => '$',
    }
}

fn key(run: &[usize]) -> u32 {
    run.iter().fold(0_u32, |key, &letter| {
        key.wrapping_mul(SYMBOLS as u32).wrapping_add(letter as u32)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_that_are_compiled_in_are_whole() {
        let chosen = include_str!("../../../../rules/dga/chosen.tsv");
        let drawn = include_str!("../../../../rules/dga/drawn.tsv");
        let model = include_str!("../../../../rules/dga/model.tsv");
        assert_eq!(Model::parse(chosen, drawn, model).map(|_| ()), Ok(()));
    }

    #[test]
    fn names_of_people_score_low_and_drawn_ones_high() {
        // Well-known sites; letters and digits drawn with `openssl rand`.
        for name in [
            "wikipedia.org",
            "theguardian.com",
            "bbc-news.co.uk",
            "openstreetmap.org",
        ] {
            assert!(score(name).unwrap() < 0.2, "{name}: {:?}", score(name));
        }
        for name in [
            "kqzvxwjtrp.com",
            "b5f1c09e77d2.net",
            "xhqzrlwmfgtkpd.biz",
            "tq4w9zk1m7xv.ru",
        ] {
            assert!(score(name).unwrap() > 0.9, "{name}: {:?}", score(name));
        }
    }

    #[test]
    fn what_says_nothing_has_no_score() {
        for name in [
            "t.co",
            "ibm.com",
            "xn--80ak6aa92e.com",
            "a\\.b.com",
            "",
            "1.in-addr.arpa",
        ] {
            assert_eq!(score(name), None, "{name}");
        }
        assert_eq!(score(&format!("{}.com", "a".repeat(64))), None);
    }

    #[test]
    fn a_score_gives_its_log_odds_back() {
        for logit in [-5.0, -1.0, 0.0, 0.7, 4.0] {
            let back = log_odds(probability(logit));
            assert!((back - logit).abs() < 0.11, "{logit}: {back}");
        }
        assert!(log_odds(0.0).is_finite() && log_odds(1.0).is_finite());
    }

    /// Every context's letters have probabilities that sum up to one, whatever was counted.
    #[test]
    fn probabilities_sum_up_to_one() {
        let mut counts = Counts::default();
        for label in ["banana", "bandana", "an-an", "a1b2c3"] {
            counts.add(label.as_bytes(), 4);
        }
        counts.prune(2);
        for order in [2, 4] {
            let smoothed = counts.probabilities(order);
            for before in ["", "a", "an", "ban", "xyz", "dan"] {
                let mut text = vec![EDGE];
                text.extend(before.bytes().map(symbol));
                let sum: f64 = (0..SYMBOLS)
                    .map(|letter| {
                        let mut text = text.clone();
                        text.push(letter);
                        (-smoothed.bits(&text, text.len() - 1)).exp2()
                    })
                    .sum();
                assert!((sum - 1.0).abs() < 1e-4, "{order} {before}: {sum}");
            }
        }
    }

    #[test]
    fn counts_are_the_same_as_text_and_back() {
        let mut counts = Counts::default();
        counts.add(b"a-1", 4);
        let text = counts.to_text();
        // By hand: three letters and the closing edge, and the runs they make.
        assert!(
            text.contains("^a\t1\n") && text.contains("a-1$\t1\n"),
            "{text}"
        );
        assert_eq!(Counts::parse(&text).unwrap().to_text(), text);
        assert_eq!(Counts::parse("# x\nabcde\t1").map(|_| ()), Err(2));
        assert_eq!(Counts::parse("ab 1").map(|_| ()), Err(1));
        assert_eq!(Counts::parse("ab\t-1").map(|_| ()), Err(1));
    }

    #[test]
    fn broken_models_are_refused() {
        let good = "machine_bits\t1\t0\t1\nmachine_bits_per_character\t1\t0\t1\nno_hyphens\t1\t0\t1\n\
            length\t1\t0\t1\nhexadecimal\t1\t0\t1\ndifferent_characters\t1\t0\t1\nbias\t0\nclip\t-4\t4\nlimit\t5\t1\n";
        let parse = |model: &str| Model::parse("a\t1", "a\t1", model).map(|_| ());
        assert_eq!(parse(good), Ok(()));
        assert!(parse(&good.replace("bias\t0", "bias\tnan")).is_err());
        assert!(parse(&good.replace("length\t1\t0\t1\n", "")).is_err());
        assert!(parse(&good.replace("limit\t5\t1\n", "")).is_err());
        assert!(parse(&format!("{good}limit\t5\t2\n")).is_err());
        assert!(parse(&format!("{good}unknown\t1\n")).is_err());
    }

    #[test]
    fn limits_begin_with_five_names_and_never_end() {
        let model = model().unwrap();
        assert_eq!(model.limit(4), None);
        assert!(model.limit(5).is_some() && model.limit(200).is_some());
        assert!(model.limit(1_000).unwrap() >= model.limit(200).unwrap());
        assert_eq!((model.share(99.0), model.share(-99.0)), (4.0, -4.0));
    }

    #[test]
    fn the_rarest_runs_are_those_that_nobody_chooses() {
        let rarest = model().unwrap().rarest(b"googlexqzjk", 2);
        assert!(
            rarest
                .iter()
                .all(|run| run.contains('q') || run.contains('z')),
            "{rarest:?}"
        );
    }
}
