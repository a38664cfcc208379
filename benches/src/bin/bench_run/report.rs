//! Medians, ratios within the rounds, and the two Markdown tables: what was measured, and how it
//! stands to the targets.

use crate::process::Measure;

/// Who ran, as the tables name it.
pub const OPENSSL: &str = "openssl dgst -sha256";
/// The floor without a hash.
pub const CAT: &str = "cat";
/// `analyze` as a user runs it.
pub const ANALYZE: &str = "analyze";
/// Without the evidence hash.
pub const NO_HASH: &str = "analyze --no-hash";
/// On one thread.
pub const ONE_THREAD: &str = "analyze --no-hash --threads 1";
/// On two.
pub const TWO_THREADS: &str = "analyze --no-hash --threads 2";

/// Without a look at certificates.
pub const NO_NS02: &str = "analyze --no-hash --policy without-ns02.yaml";

/// All rounds of all programs over one capture.
#[derive(Debug)]
pub struct Case {
    /// Name of the capture.
    pub name: &'static str,
    /// Size of the file.
    pub bytes: u64,
    /// Packets in it.
    pub packets: u64,
    /// Each program with its rounds, in order.
    pub programs: Vec<(&'static str, Vec<Measure>)>,
}

impl Case {
    fn rounds(&self, program: &str) -> &[Measure] {
        self.programs
            .iter()
            .find(|(name, _)| *name == program)
            .map_or(&[], |(_, rounds)| rounds)
    }

    /// Median of the ratios of wall time, each within its round; none if one of them did not run.
    fn ratio(&self, program: &str, to: &str) -> Option<f64> {
        let pairs = self.rounds(program).iter().zip(self.rounds(to));
        median(pairs.map(|(one, other)| one.wall / other.wall).collect())
    }

    /// The same of CPU time, which other load on the machine disturbs far less.
    fn cpu_ratio(&self, program: &str, to: &str) -> Option<f64> {
        let pairs = self.rounds(program).iter().zip(self.rounds(to));
        median(pairs.map(|(one, other)| one.cpu / other.cpu).collect())
    }

    /// Highest private memory of all rounds, MiB.
    fn peak_mib(&self, program: &str) -> Option<f64> {
        let peak = self
            .rounds(program)
            .iter()
            .map(|run| run.rss_anon_kib)
            .max();
        peak.map(|kib| kib as f64 / 1024.0)
    }
}

/// The middle value, or the mean of the two in the middle; none of nothing.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    Some((values[values.len() / 2 - 1] + upper) / 2.0)
}

/// What was measured.
pub fn measurements(cases: &[Case]) -> String {
    let mut text = String::from(
        "| capture | program | wall s | CPU s | wall / openssl | CPU / openssl | wall / cat | GB/s | Mpackets/s | peak RssAnon MiB |\n\
         | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for case in cases {
        for (program, rounds) in &case.programs {
            let wall = median(rounds.iter().map(|run| run.wall).collect());
            let cpu = median(rounds.iter().map(|run| run.cpu).collect());
            let (Some(wall), Some(cpu)) = (wall, cpu) else {
                continue;
            };
            text.push_str(&format!(
                "| {} | {program} | {wall:.3} | {cpu:.3} | {} | {} | {} | {:.2} | {:.2} | {} |\n",
                case.name,
                figure(case.ratio(program, OPENSSL)),
                figure(case.cpu_ratio(program, OPENSSL)),
                figure(case.ratio(program, CAT)),
                case.bytes as f64 / wall / 1e9,
                case.packets as f64 / wall / 1e6,
                case.peak_mib(program)
                    .map_or_else(|| "-".to_owned(), |mib| format!("{mib:.1}")),
            ));
        }
    }
    text
}

/// How it stands to the targets.
pub fn targets(cases: &[Case]) -> String {
    let ratio = |capture: &str, program: &str, to: &str| {
        let case = cases.iter().find(|case| case.name == capture)?;
        case.ratio(program, to)
    };
    let cpu_ratio = |capture: &str, program: &str, to: &str| {
        let case = cases.iter().find(|case| case.name == capture)?;
        case.cpu_ratio(program, to)
    };
    let speed = |capture: &str, program: &str| {
        let case = cases.iter().find(|case| case.name == capture)?;
        let walls = case.rounds(program).iter().map(|run| run.wall).collect();
        Some(case.bytes as f64 / median(walls)? / 1e9)
    };
    let peak = |capture: &str| {
        let case = cases.iter().find(|case| case.name == capture)?;
        case.peak_mib(ANALYZE)
    };
    let growth = peak("https-x3")
        .zip(peak("https"))
        .map(|(long, short)| long / short);
    let rows = [
        (
            "bulk: analyze / openssl, wall",
            true,
            1.15,
            ratio("bulk", ANALYZE, OPENSSL),
        ),
        (
            "bulk: analyze --no-hash / cat, wall",
            true,
            1.6,
            ratio("bulk", NO_HASH, CAT),
        ),
        (
            "https: analyze / openssl, wall",
            true,
            1.6,
            ratio("https", ANALYZE, OPENSSL),
        ),
        (
            "https --no-hash: with NS-02 / without, CPU",
            true,
            1.15,
            cpu_ratio("https", NO_HASH, NO_NS02),
        ),
        (
            "small: analyze / openssl, wall",
            true,
            5.0,
            ratio("small", ANALYZE, OPENSSL),
        ),
        (
            "http: analyze --no-hash, GB/s",
            false,
            1.0,
            speed("http", NO_HASH),
        ),
        (
            "http-bulk: analyze --no-hash, GB/s",
            false,
            1.0,
            speed("http-bulk", NO_HASH),
        ),
        ("http: peak RssAnon, MiB", true, 256.0, peak("http")),
        (
            "http-bulk: peak RssAnon, MiB",
            true,
            256.0,
            peak("http-bulk"),
        ),
        ("bulk: peak RssAnon, MiB", true, 256.0, peak("bulk")),
        ("https: peak RssAnon, MiB", true, 256.0, peak("https")),
        (
            "https, three times as long: peak RssAnon / that of https",
            true,
            1.1,
            growth,
        ),
        (
            "https --no-hash: 1 thread / 2 threads, wall",
            false,
            1.6,
            ratio("https", ONE_THREAD, TWO_THREADS),
        ),
    ];
    let mut text =
        String::from("| target | limit | measured | met |\n| --- | ---: | ---: | --- |\n");
    for (what, is_at_most, limit, measured) in rows {
        let met = match measured {
            None => "not measured",
            Some(value) if (value <= limit) == is_at_most || value == limit => "yes",
            Some(_) => "no",
        };
        let sign = if is_at_most { "<=" } else { ">=" };
        text.push_str(&format!(
            "| {what} | {sign} {limit} | {} | {met} |\n",
            figure(measured)
        ));
    }
    text
}

fn figure(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(walls: &[f64]) -> Vec<Measure> {
        let run = |wall: &f64| Measure {
            wall: *wall,
            cpu: *wall,
            rss_anon_kib: 2048,
        };
        walls.iter().map(run).collect()
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn ratios_are_taken_within_the_rounds_and_judged_by_their_limits() {
        // The second round was slow for both: the ratio stays 2 and 1.7.
        let case = Case {
            name: "https",
            bytes: 1_000_000_000,
            packets: 1_000_000,
            programs: vec![
                (ANALYZE, runs(&[2.0, 20.0, 2.0])),
                (OPENSSL, runs(&[1.0, 10.0, 1.0])),
                (ONE_THREAD, runs(&[1.7, 17.0, 1.7])),
                (TWO_THREADS, runs(&[1.0, 10.0, 1.0])),
            ],
        };
        let text = targets(&[case]);
        let row = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap();
        assert!(row("| https: analyze / openssl").ends_with("| 2.00 | no |"));
        assert!(row("| https --no-hash: 1 thread").ends_with("| 1.70 | yes |"));
        assert!(row("| https: peak").ends_with("| 2.00 | yes |"));
        assert!(row("| bulk: peak").ends_with("| - | not measured |"));
    }
}
