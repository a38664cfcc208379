//! Host names as keys: lower case, without the last dot, and in A-labels where
//! they hold other letters than ASCII's (RFC 5890 §2.3.2.1, Punycode by RFC
//! 3492). No table of what IDNA allows is consulted: what a capture holds is
//! named, whether or not it may be registered.

use std::borrow::Cow;

/// Longest label of the DNS (RFC 1035 §2.3.4).
const MAX_LABEL: usize = 63;

/// A name as tables compare it.
pub fn host_name(name: &str) -> Cow<'_, str> {
    let name = match name.strip_suffix('.') {
        Some(rest) if !rest.is_empty() && !rest.ends_with('\\') => rest,
        _ => name,
    };
    if name.is_ascii() {
        return if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(name.to_ascii_lowercase())
        } else {
            Cow::Borrowed(name)
        };
    }
    let mut out = String::with_capacity(name.len());
    // IDNA's other full stops (RFC 3490 §3.1).
    for (number, label) in name
        .split(['.', '\u{3002}', '\u{ff0e}', '\u{ff61}'])
        .enumerate()
    {
        if number > 0 {
            out.push('.');
        }
        let label = label.to_lowercase();
        match (!label.is_ascii()).then(|| punycode(&label)).flatten() {
            Some(encoded) => {
                out.push_str("xn--");
                out.push_str(&encoded);
            }
            None => out.push_str(&label),
        }
    }
    Cow::Owned(out)
}

/// RFC 3492 §5: the parameters of Punycode.
const BASE: u32 = 36;
const T_MIN: u32 = 1;
const T_MAX: u32 = 26;
const SKEW: u32 = 38;
const DAMP: u32 = 700;
const INITIAL_BIAS: u32 = 72;
const INITIAL_N: u32 = 128;

/// RFC 3492 §6.3; none for what would be no label of the DNS.
fn punycode(label: &str) -> Option<String> {
    let letters: Vec<u32> = label.chars().map(u32::from).collect();
    if letters.len() > MAX_LABEL {
        return None;
    }
    let mut out: String = label.chars().filter(char::is_ascii).collect();
    let basic = u32::try_from(out.len()).ok()?;
    if basic > 0 {
        out.push('-');
    }
    let (mut n, mut delta, mut bias, mut handled) = (INITIAL_N, 0_u32, INITIAL_BIAS, basic);
    while (handled as usize) < letters.len() {
        let next = letters
            .iter()
            .copied()
            .filter(|&letter| letter >= n)
            .min()?;
        let step = next.checked_sub(n)?.checked_mul(handled.checked_add(1)?)?;
        delta = delta.checked_add(step)?;
        n = next;
        for &letter in &letters {
            if letter < n {
                delta = delta.checked_add(1)?;
            }
            if letter == n {
                let mut rest = delta;
                let mut k = BASE;
                loop {
                    let threshold = k.saturating_sub(bias).clamp(T_MIN, T_MAX);
                    if rest < threshold {
                        break;
                    }
                    // Both at most 35: t is at most 26.
                    let span = BASE - threshold;
                    out.push(digit(threshold + (rest - threshold) % span)?);
                    rest = (rest - threshold) / span;
                    k = k.checked_add(BASE)?;
                }
                out.push(digit(rest)?);
                bias = adapt(delta, handled.checked_add(1)?, handled == basic);
                delta = 0;
                handled = handled.checked_add(1)?;
            }
        }
        delta = delta.checked_add(1)?;
        n = n.checked_add(1)?;
    }
    (out.len().saturating_add("xn--".len()) <= MAX_LABEL).then_some(out)
}

/// RFC 3492 §6.1.
fn adapt(delta: u32, points: u32, first: bool) -> u32 {
    let mut delta = if first { delta / DAMP } else { delta / 2 };
    delta = delta.saturating_add(delta / points.max(1));
    let mut k = 0;
    while delta > (BASE - T_MIN) * T_MAX / 2 {
        delta /= BASE - T_MIN;
        k += BASE;
    }
    k + (BASE - T_MIN + 1) * delta / delta.saturating_add(SKEW)
}

fn digit(value: u32) -> Option<char> {
    char::from_digit(
        match value {
            // a to z are 0 to 25, then come the digits.
            0..=25 => value.checked_add(10)?,
            26..=35 => value.checked_sub(26)?,
            _ => return None,
        },
        BASE,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn gives(name: &str, expected: &str) {
        assert_eq!(host_name(name), expected);
    }

    #[test]
    fn names_are_lower_case_a_labels() {
        gives("Example.COM.", "example.com");
        gives("a\\.b.example", "a\\.b.example");
        gives("end\\.", "end\\.");
        gives(".", ".");
        gives("", "");
        // RFC 3492 §7.1 (L), (N); the IANA test domains of 2007.
        gives(
            "3年b組金八先生.example",
            "xn--3b-ww4c5e180e575a65lsy2b.example",
        );
        gives(
            "安室奈美恵-with-super-monkeys",
            "xn---with-super-monkeys-pc58ag80a8qai00g7n9n",
        );
        gives("例え.テスト", "xn--r8jz45g.xn--zckzah");
        gives("παράδειγμα.δοκιμή", "xn--hxajbheg2az3al.xn--jxalpdlp");
        gives("BÜCHER.example", "xn--bcher-kva.example");
        gives("bücher。example", "xn--bcher-kva.example");
        // Too long for a label: as it is.
        let long = "ü".repeat(80);
        gives(&long, &long);
    }
}
