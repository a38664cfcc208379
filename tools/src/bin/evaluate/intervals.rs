//! Exact confidence intervals of shares (Clopper and Pearson 1934), 95 per cent.

/// Lower and upper bound of a share of which `k` of `n` was seen.
pub fn clopper_pearson(k: u64, n: u64) -> (f64, f64) {
    if n == 0 {
        return (0.0, 1.0);
    }
    let low = if k == 0 {
        0.0
    } else {
        bisect(|p| at_least(k, n, p) < 0.025)
    };
    let high = if k == n {
        1.0
    } else {
        bisect(|p| 1.0 - at_least(k + 1, n, p) > 0.025)
    };
    (low, high)
}

/// The largest share for which `holds` does.
fn bisect(holds: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if holds(middle) {
            low = middle
        } else {
            high = middle
        }
    }
    low
}

/// Probability of `k` or more of `n`: the regularised incomplete beta function.
fn at_least(k: u64, n: u64, p: f64) -> f64 {
    beta(k as f64, (n - k + 1) as f64, p)
}

/// By Lentz's continued fraction (Numerical Recipes 6.4, from the formula).
fn beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - beta(b, a, 1.0 - x);
    }
    let front = (gamma(a + b) - gamma(a) - gamma(b) + a * x.ln() + b * (1.0 - x).ln()).exp() / a;
    let (mut c, mut d) = (1.0, 1.0 / (1.0 - (a + b) * x / (a + 1.0)));
    let mut fraction = d;
    for m in 1..400 {
        let m = f64::from(m);
        for step in [
            m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0)),
        ] {
            d = 1.0 / (1.0 + step * d);
            c = 1.0 + step / c;
            fraction *= c * d;
        }
        if (c * d - 1.0).abs() < 1e-12 {
            break;
        }
    }
    front * fraction
}

/// Logarithm of the gamma function, by Stirling's series.
fn gamma(x: f64) -> f64 {
    let mut shift = 0.0;
    let mut x = x;
    while x < 12.0 {
        shift -= x.ln();
        x += 1.0;
    }
    let square = x * x;
    let series = 1.0 / 12.0 - 1.0 / (360.0 * square) + 1.0 / (1_260.0 * square * square);
    shift + (x - 0.5) * x.ln() - x + 0.5 * std::f64::consts::TAU.ln() + series / x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn close(actual: (f64, f64), expected: (f64, f64)) {
        let near = |a: f64, b: f64| (a - b).abs() < 5e-5;
        assert!(
            near(actual.0, expected.0) && near(actual.1, expected.1),
            "{actual:?}"
        );
    }

    #[test]
    fn bounds_are_those_of_closed_forms() {
        // Without a hit the upper bound is 1 - 0.025^(1/n); with all, the lower one 0.025^(1/n).
        close(clopper_pearson(0, 10), (0.0, 1.0 - 0.025_f64.powf(0.1)));
        close(clopper_pearson(40, 40), (0.025_f64.powf(0.025), 1.0));
        close(
            clopper_pearson(0, 30_000),
            (0.0, 1.0 - 0.025_f64.powf(1.0 / 30_000.0)),
        );
        // 5 of 10, as every table has it.
        close(clopper_pearson(5, 10), (0.18709, 0.81291));
        assert_eq!(clopper_pearson(0, 0), (0.0, 1.0));
    }
}
