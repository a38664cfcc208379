//! Counts, weights, and the sums that benign names reach.

use crate::lists::{Names, Random};
use nsforensics_engine::proto::dns::dga::{Counts, MEASURE_NAMES, MEASURES, Model};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Three tables as text, as the engine reads them.
pub struct Fitted {
    pub chosen: String,
    pub drawn: String,
    pub model: String,
}

impl Fitted {
    /// The model that the engine makes of them.
    pub fn model(&self) -> Result<Model, String> {
        Model::parse(&self.chosen, &self.drawn, &self.model)
    }
}

/// Names taken of a family, so that large ones do not teach alone.
const OF_A_FAMILY: usize = 300;
/// What one name may add to a sum: a single name proves nothing either way.
const CLIP: (f64, f64) = (-4.0, 4.0);
/// Numbers of names that get a limit.
const NAMES: std::ops::RangeInclusive<usize> = 5..=200;
/// How often benign names may exceed it.
const RATE: f64 = 1e-4;
/// Measures whose weight must not fall below zero: a name that looks more
/// drawn must never score less, however unlike the known families it is.
const RISING: [bool; MEASURES] = [true, true, false, true, true, false];

/// A name's measures, whether it was drawn (1) or chosen (0), and its weight.
type Example = ([f64; MEASURES], f64, f64);

/// Counts `benign` and `families`; weighs measures and sets limits on `held`,
/// which no count has seen.
pub fn fit(
    benign: &[Names<'_>],
    held: &[Names<'_>],
    families: &[Names<'_>],
    seed: u64,
) -> Result<Fitted, String> {
    let mut chosen = Counts::default();
    for label in once(benign) {
        chosen.add(label.as_bytes(), 4);
    }
    chosen.prune(2);
    let mut random = Random::new(seed);
    let mut drawn = Counts::default();
    let mut taken = Vec::new();
    for (_, labels) in families {
        let labels = random.choose(labels, OF_A_FAMILY);
        let weight = 1.0 / (labels.len() as f64).sqrt();
        for label in labels {
            drawn.add(label.as_bytes(), 2);
            taken.push((label, weight));
        }
    }
    let mut fitted = Fitted {
        chosen: chosen.to_text(),
        drawn: drawn.to_text(),
        model: flat(),
    };
    let model = fitted.model()?;
    let mut examples: Vec<Example> = taken
        .iter()
        .map(|(label, weight)| (model.measures(label.as_bytes()), 1.0, *weight))
        .collect();
    let all: f64 = taken.iter().map(|(_, weight)| weight).sum();
    let people = once(held);
    let weight = all / people.len().max(1) as f64;
    examples.extend(
        people
            .iter()
            .map(|label| (model.measures(label.as_bytes()), 0.0, weight)),
    );
    let weights = logistic(&examples);
    fitted.model = weights.clone() + "limit\t5\t0\n";
    let limits = limits(&fitted.model()?, held);
    fitted.model = weights + &limits;
    Ok(fitted)
}

/// Labels of several lists, each once, sorted.
fn once<'a>(lists: &[Names<'a>]) -> Vec<&'a str> {
    let all: BTreeSet<&str> = lists
        .iter()
        .flat_map(|(_, labels)| labels.iter().copied())
        .collect();
    all.into_iter().collect()
}

/// A model that only measures.
fn flat() -> String {
    let mut text = String::new();
    for name in MEASURE_NAMES {
        let _ = writeln!(text, "{name}\t1\t0\t1");
    }
    text + "limit\t5\t0\n"
}

/// Logistic regression by Adam over all examples at once, with a little decay
/// and the signs of [`RISING`].
fn logistic(examples: &[Example]) -> String {
    const STEPS: i32 = 500;
    const DECAY: f64 = 1e-4;
    let all: f64 = examples.iter().map(|example| example.2).sum();
    let mean: [f64; MEASURES] =
        std::array::from_fn(|k| examples.iter().map(|(x, _, w)| x[k] * w).sum::<f64>() / all);
    let sd: [f64; MEASURES] = std::array::from_fn(|k| {
        let square = examples
            .iter()
            .map(|(x, _, w)| (x[k] - mean[k]).powi(2) * w)
            .sum::<f64>();
        (square / all).sqrt().max(1e-6)
    });
    // The last place of each is the bias.
    let mut weights = [0.0; MEASURES + 1];
    let mut first = [0.0; MEASURES + 1];
    let mut second = [0.0; MEASURES + 1];
    let standard =
        |x: &[f64; MEASURES], k: usize| x.get(k).map_or(1.0, |value| (value - mean[k]) / sd[k]);
    for step in 1..=STEPS {
        let mut slope = [0.0; MEASURES + 1];
        for (x, drawn, weight) in examples {
            let logit: f64 = weights
                .iter()
                .enumerate()
                .map(|(k, w)| w * standard(x, k))
                .sum();
            let miss = (1.0 / (1.0 + (-logit).exp()) - drawn) * weight / all;
            for (k, slope) in slope.iter_mut().enumerate() {
                *slope += miss * standard(x, k);
            }
        }
        for k in 0..=MEASURES {
            let slope = slope[k] + DECAY * weights[k];
            first[k] = 0.9 * first[k] + 0.1 * slope;
            second[k] = 0.999 * second[k] + 0.001 * slope * slope;
            let momentum = first[k] / (1.0 - 0.9_f64.powi(step));
            let scale = (second[k] / (1.0 - 0.999_f64.powi(step))).sqrt() + 1e-9;
            weights[k] -= 0.1 * momentum / scale;
            if RISING.get(k) == Some(&true) {
                weights[k] = f64::max(weights[k], 0.0);
            }
        }
    }
    let mut text = String::new();
    for (k, name) in MEASURE_NAMES.iter().enumerate() {
        let _ = writeln!(
            text,
            "{name}\t{:.4}\t{:.4}\t{:.4}",
            weights[k], mean[k], sd[k]
        );
    }
    let _ = writeln!(
        text,
        "bias\t{:.4}\nclip\t{:.1}\t{:.1}",
        weights[MEASURES], CLIP.0, CLIP.1
    );
    text
}

/// For each number of names, the sum that so many names of the worst benign
/// list exceed with [`RATE`]: the distribution of the sum of independent draws,
/// by convolution on a grid, rounded up.
fn limits(model: &Model, held: &[Names<'_>]) -> String {
    const STEP: f64 = 0.05;
    let mut worst = vec![f64::MIN; *NAMES.end() + 1];
    for (_, labels) in held.iter().filter(|(_, labels)| labels.len() >= 100) {
        let mut one = vec![0.0; ((CLIP.1 - CLIP.0) / STEP) as usize + 2];
        for label in labels {
            let share = model.share(model.logit(label.as_bytes()));
            one[((share - CLIP.0) / STEP).ceil() as usize] += 1.0 / labels.len() as f64;
        }
        let mut sum = vec![1.0];
        for (names, worst) in worst.iter_mut().enumerate().skip(1) {
            sum = convolve(&sum, &one);
            let mut above = 0.0;
            let mut place = sum.len();
            while place > 0 && above + sum[place - 1] < RATE {
                place -= 1;
                above += sum[place];
            }
            *worst = worst.max(CLIP.0 * names as f64 + STEP * place as f64);
        }
    }
    let mut text = String::new();
    for names in NAMES {
        let _ = writeln!(text, "limit\t{names}\t{:.2}", worst[names]);
    }
    text
}

fn convolve(a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut out = vec![0.0; a.len() + b.len() - 1];
    for (i, x) in a.iter().enumerate().filter(|(_, x)| **x > 1e-15) {
        for (j, y) in b.iter().enumerate().filter(|(_, y)| **y > 0.0) {
            out[i + j] += x * y;
        }
    }
    out
}
