//! Recall and false alerts of each detector and each yardstick, with exact
//! confidence intervals.

use crate::intervals::clopper_pearson;
use crate::settings::Settings;
use crate::world::{Habit, Known, Pair, Planted, START_NS};
use crate::yardstick::{self, DnsRules};
use nsforensics_engine::control::Severity;
use nsforensics_engine::control::ns04::{Detected, Found};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::time::Duration;

/// Score of a beacon from which on it is of medium severity by itself.
const MEDIUM: f64 = 0.6;
const DAY_NS: i64 = 86_400_000_000_000;

/// Whether a rule fires at a pair.
type Fires<'k> = Box<dyn Fn(&Pair) -> bool + 'k>;
/// A score of a pair's connections.
type Score<'k> = &'k dyn Fn(&[(i64, u64)]) -> Option<f64>;

/// One rule of somebody, and what it makes of a pair of source and destination.
struct Rule<'k> {
    name: String,
    fires: Fires<'k>,
}

pub fn write(
    settings: &Settings,
    known: &Known,
    detected: &[Detected],
    explained: &[Detected],
    took: Duration,
) -> String {
    let mut out = format!(
        "seed {}, {} days, {} hosts: {} flows, {} questions; detectors took {:.1} s\n",
        settings.seed,
        settings.days,
        settings.hosts,
        known.rows.0,
        known.rows.1,
        took.as_secs_f64()
    );
    let found = |id: &str| open(detected, id);
    beacons(
        &mut out,
        settings,
        known,
        &found("NS-04.periodic_beaconing"),
        &open(explained, "NS-04.periodic_beaconing"),
    );
    tunnels(&mut out, settings, known, &found("NS-04.dns_tunneling"));
    bots(&mut out, known, &found("NS-04.domain_generation"));
    let carried: Vec<&Found> = [
        "slow_exfiltration",
        "volume_daily",
        "volume_hourly",
        "volume_single_request",
    ]
    .into_iter()
    .flat_map(|check| found(&format!("NS-04.{check}")))
    .collect();
    carriers(&mut out, known, &carried);
    channels(&mut out, known, &found("NS-04.long_connection"));
    out
}

/// Open findings of medium severity and higher.
fn open<'d>(detected: &'d [Detected], id: &str) -> Vec<&'d Found> {
    let of_id = detected.iter().filter(|one| one.meta.id == id);
    let judged = of_id.filter_map(|one| one.judgement.as_ref().ok());
    let all = judged.flat_map(|judgement| &judgement.found);
    all.filter(|found| found.numbers.suppressed_by.is_none() && found.severity >= Severity::Medium)
        .collect()
}

fn source(found: &Found) -> Option<u32> {
    match found.src {
        std::net::IpAddr::V4(v4) => Some(v4.into()),
        std::net::IpAddr::V6(_) => None,
    }
}

/// `0.973 (0.960-0.983)`, of so many.
fn share(k: usize, n: usize) -> String {
    let (low, high) = clopper_pearson(k as u64, n as u64);
    format!(
        "{:.3} ({low:.3}-{high:.3}) {k}/{n}",
        k as f64 / n.max(1) as f64
    )
}

/// Events for each 10,000 units, with their interval.
fn rate(k: usize, n: usize) -> String {
    let (low, high) = clopper_pearson(k as u64, n as u64);
    let scale = 1e4;
    format!(
        "{:.2} ({:.2}-{:.2}) {k}/{n}",
        k as f64 / n.max(1) as f64 * scale,
        low * scale,
        high * scale
    )
}

fn cell<'p>(planted: &'p Planted, name: &str) -> &'p str {
    let value = planted.cell.iter().find(|(key, _)| *key == name);
    value.map_or("", |(_, value)| value.as_str())
}

fn number(planted: &Planted, name: &str) -> f64 {
    let text = cell(planted, name);
    text.split(' ')
        .next()
        .and_then(|text| text.parse().ok())
        .unwrap_or_default()
}

/// Days on which a pair has four connections or more: fewer are no rhythm to anybody.
fn days(history: &[(i64, u64)]) -> usize {
    let mut by_day: HashMap<i64, usize> = HashMap::new();
    for (time, _) in history {
        *by_day
            .entry((time - START_NS).div_euclid(DAY_NS))
            .or_default() += 1;
    }
    by_day.values().filter(|count| **count >= 4).count()
}

fn pairs<'a>(known: &'a Known, planted: &'a Planted) -> impl Iterator<Item = Pair> + 'a {
    let goals = planted.to.iter().filter_map(|to| known.address_of(to));
    goals.flat_map(|to| planted.sources.iter().map(move |src| (*src, to)))
}

fn beacons(
    out: &mut String,
    settings: &Settings,
    known: &Known,
    found: &[&Found],
    explained: &[&Found],
) {
    let planted: Vec<&Planted> = known
        .planted
        .iter()
        .filter(|one| one.kind == "beacon")
        .collect();
    let special: Vec<&Planted> = known
        .planted
        .iter()
        .filter(|one| one.kind == "beacon, special")
        .collect();
    let hidden: HashSet<Pair> = planted
        .iter()
        .chain(&special)
        .flat_map(|one| pairs(known, one))
        .collect();
    let benign = |habit: fn(Habit) -> bool| -> Vec<Pair> {
        let mut pairs: Vec<_> = known
            .habits
            .iter()
            .filter(|(pair, kind)| habit(**kind) && !hidden.contains(*pair))
            .map(|(pair, _)| *pair)
            .filter(|pair| known.history.contains_key(pair))
            .collect();
        pairs.sort_unstable();
        pairs
    };
    let aperiodic = benign(|habit| habit == Habit::Aperiodic);
    let clocks = benign(|habit| habit != Habit::Aperiodic);
    let pair_days = |pairs: &[(u32, u32)]| -> usize {
        pairs.iter().map(|pair| days(&known.history[pair])).sum()
    };
    let ours: HashMap<(u32, u32), f64> = found
        .iter()
        .filter_map(|found| {
            let to = known.address_of(&found.destination)?;
            Some((
                (source(found)?, to),
                f64::from(found.numbers.score.unwrap_or_default()),
            ))
        })
        .collect();
    let literal: HashSet<Pair> = found
        .iter()
        .filter(|found| found.baseline == Some(true))
        .filter_map(|found| Some((source(found)?, known.address_of(&found.destination)?)))
        .collect();
    let left: HashSet<Pair> = explained
        .iter()
        .filter_map(|found| Some((source(found)?, known.address_of(&found.destination)?)))
        .collect();
    let end = START_NS + i64::from(settings.days) * DAY_NS;
    let scores = |score: Score<'_>| -> HashMap<Pair, f64> {
        let scored = known
            .history
            .iter()
            .filter_map(|(pair, history)| Some((*pair, score(history)?)));
        scored.collect()
    };
    let last_day = scores(&|history| yardstick::rita(history, end));
    let best_day = scores(&|history| yardstick::rita_best_day(history, START_NS, settings.days));
    // A threshold that lets at most one aperiodic pair-day of 10,000 pass, chosen
    // on this very world: in the yardstick's favour.
    let allowed = pair_days(&aperiodic) / 10_000;
    let threshold = |scores: &HashMap<(u32, u32), f64>| {
        let mut high: Vec<f64> = aperiodic
            .iter()
            .filter_map(|pair| scores.get(pair))
            .copied()
            .collect();
        high.sort_by(|a, b| b.total_cmp(a));
        high.get(allowed).copied().unwrap_or_default()
    };
    let (last_limit, best_limit) = (threshold(&last_day), threshold(&best_day));
    let times = |pair: &(u32, u32)| -> Vec<i64> {
        known.history[pair].iter().map(|(time, _)| *time).collect()
    };
    let rules = [
        Rule {
            name: "ours, any open finding".into(),
            fires: Box::new(|pair| ours.contains_key(pair)),
        },
        Rule {
            name: format!("ours, by score alone ({MEDIUM} and more: medium and higher)"),
            fires: Box::new(|pair| ours.get(pair).is_some_and(|score| *score >= MEDIUM)),
        },
        Rule {
            name: format!("ours, by the literal rule alone (open, score below {MEDIUM})"),
            fires: Box::new(|pair| {
                literal.contains(pair) && ours.get(pair).is_none_or(|score| *score < MEDIUM)
            }),
        },
        Rule {
            name: "yardstick: literal rule".into(),
            fires: Box::new(|pair| yardstick::literal_beacon(&times(pair))),
        },
        Rule {
            name: format!("yardstick: RITA, last day, > {last_limit:.3}"),
            fires: Box::new(|pair| last_day.get(pair).is_some_and(|score| *score > last_limit)),
        },
        Rule {
            name: format!("yardstick: RITA, best day, > {best_limit:.3}"),
            fires: Box::new(|pair| best_day.get(pair).is_some_and(|score| *score > best_limit)),
        },
        Rule {
            name: "yardstick: RITA, best day, >= 0.9 (its highest class)".into(),
            fires: Box::new(|pair| best_day.get(pair).is_some_and(|score| *score >= 0.9)),
        },
        Rule {
            name: "ours, any open finding, under `explained: suppressed`".into(),
            fires: Box::new(|pair| left.contains(pair)),
        },
    ];
    let hit = |rule: &Rule<'_>, one: &Planted| {
        pairs(known, one).any(|pair| known.history.contains_key(&pair) && (rule.fires)(&pair))
    };
    let _ = writeln!(
        out,
        "\nBEACONS: {} planted; {} aperiodic pair-days, {} of benign clocks\n",
        planted.len(),
        pair_days(&aperiodic),
        pair_days(&clocks)
    );
    let in_reach = |one: &&&Planted| {
        (60.0..=21_600.0).contains(&number(one, "period")) && number(one, "jitter") <= 50.0
    };
    let easy = |one: &&&Planted| {
        in_reach(one) && number(one, "jitter") <= 30.0 && number(one, "period") <= 3_600.0
    };
    let long = |one: &&&Planted| number(one, "period") >= 21_600.0 && number(one, "jitter") <= 50.0;
    for rule in &rules {
        let recall = |part: &dyn Fn(&&&Planted) -> bool| {
            let part: Vec<_> = planted.iter().filter(part).collect();
            share(part.iter().filter(|one| hit(rule, one)).count(), part.len())
        };
        let alarms = |pairs: &[(u32, u32)]| pairs.iter().filter(|pair| (rule.fires)(pair)).count();
        let _ = writeln!(out, "{}", rule.name);
        let _ = writeln!(
            out,
            "  recall, 60 s to 6 h, jitter to 50 %, 20 % missed    {}",
            recall(&in_reach)
        );
        let _ = writeln!(
            out,
            "  recall, to 1 h, jitter to 30 %                      {}",
            recall(&easy)
        );
        let _ = writeln!(
            out,
            "  recall, sleeps of 6 h                               {}",
            recall(&long)
        );
        let _ = writeln!(
            out,
            "  false alerts of 10,000 aperiodic pair-days          {}",
            rate(alarms(&aperiodic), pair_days(&aperiodic))
        );
        let all = alarms(&aperiodic) + alarms(&clocks);
        let _ = writeln!(
            out,
            "  false alerts of 10,000 pair-days, clocks in         {}",
            rate(all, pair_days(&aperiodic) + pair_days(&clocks))
        );
    }
    let _ = writeln!(
        out,
        "\nfalse alerts by habit (pairs)\thabit\tpairs\tours, by score\tours, literal alone\tours, explained: suppressed\tliteral\tRITA best day >= 0.9"
    );
    let mut habits: BTreeMap<Habit, Vec<Pair>> = BTreeMap::new();
    for pair in aperiodic.iter().chain(&clocks) {
        habits.entry(known.habits[pair]).or_default().push(*pair);
    }
    for (habit, pairs) in &habits {
        let alarms = |rule: &Rule<'_>| pairs.iter().filter(|pair| (rule.fires)(pair)).count();
        let _ = writeln!(
            out,
            "\t{habit:?}\t{}\t{}\t{}\t{}\t{}\t{}",
            pairs.len(),
            alarms(&rules[1]),
            alarms(&rules[2]),
            alarms(&rules[7]),
            alarms(&rules[3]),
            alarms(&rules[6])
        );
    }
    for (rule, title) in [
        (1, "ours, by score"),
        (3, "literal rule"),
        (5, "RITA, best day"),
    ] {
        let _ = writeln!(out, "\nrecall by period and jitter, {title}");
        grid(out, &planted, "period", "jitter", &|one| {
            hit(&rules[rule], one)
        });
    }
    let _ = writeln!(out, "\nrecall by missed check-ins and law, ours, by score");
    grid(out, &planted, "missed", "law", &|one| hit(&rules[1], one));
    let _ = writeln!(
        out,
        "\nrecall of special forms\tform\tours, by score\tliteral\tRITA best day"
    );
    let mut forms: BTreeMap<&str, Vec<&Planted>> = BTreeMap::new();
    for one in &special {
        forms.entry(cell(one, "form")).or_default().push(one);
    }
    for (form, of_form) in forms {
        let recall = |rule: usize| {
            share(
                of_form.iter().filter(|one| hit(&rules[rule], one)).count(),
                of_form.len(),
            )
        };
        let _ = writeln!(out, "\t{form}\t{}\t{}\t{}", recall(1), recall(3), recall(5));
    }
}

/// Recall by two of the things that vary.
fn grid(
    out: &mut String,
    planted: &[&Planted],
    rows: &str,
    columns: &str,
    hit: &dyn Fn(&Planted) -> bool,
) {
    let values = |name: &str| {
        let mut values: Vec<&str> = Vec::new();
        for one in planted {
            let value = cell(one, name);
            if !values.contains(&value) {
                values.push(value);
            }
        }
        values
    };
    let heads = values(columns);
    let _ = writeln!(out, "{rows} \\ {columns}\t{}", heads.join("\t"));
    for row in values(rows) {
        let _ = write!(out, "{row}");
        for head in &heads {
            let part = planted
                .iter()
                .filter(|one| cell(one, rows) == row && cell(one, columns) == *head);
            let part: Vec<_> = part.collect();
            let hits = part.iter().filter(|one| hit(one)).count();
            let _ = write!(out, "\t{hits}/{}", part.len());
        }
        out.push('\n');
    }
}

fn tunnels(out: &mut String, settings: &Settings, known: &Known, found: &[&Found]) {
    let planted: Vec<&Planted> = known
        .planted
        .iter()
        .filter(|one| one.kind == "tunnel")
        .collect();
    let by = |least: f32| -> HashSet<(u32, &str)> {
        let enough = found
            .iter()
            .filter(|found| found.numbers.score.unwrap_or_default() >= least);
        enough
            .filter_map(|found| Some((source(found)?, found.detail.as_str())))
            .collect()
    };
    let (ours, any) = (by(0.5), by(0.0));
    let key = |one: &Planted| (one.sources[0], one.to[0].clone());
    let rules: HashMap<(u32, String), DnsRules> = planted
        .iter()
        .filter_map(|one| Some((key(one), yardstick::dns_rules(known.asked.get(&key(one))?))))
        .collect();
    let hidden: HashSet<(u32, String)> = planted.iter().map(|one| key(one)).collect();
    let mut benign: Vec<_> = known
        .asked
        .iter()
        .filter(|(pair, _)| !hidden.contains(*pair))
        .collect();
    benign.sort_by(|a, b| a.0.cmp(b.0));
    let units: usize = benign
        .iter()
        .map(|(_, names)| {
            let days: HashSet<i64> = names
                .iter()
                .map(|(time, ..)| time.div_euclid(DAY_NS))
                .collect();
            days.len()
        })
        .sum();
    let _ = writeln!(
        out,
        "\nDNS TUNNELS: {} planted; {units} benign days of client and domain over {} days\n",
        planted.len(),
        settings.days
    );
    let is_ours = |one: &Planted| ours.contains(&(one.sources[0], one.to[0].as_str()));
    type Named = (&'static str, fn(&DnsRules) -> bool);
    let others: [Named; 4] = [
        ("longer than 50 characters", |rules| rules.long),
        ("label longer than 48 (nDPI)", |rules| rules.label),
        ("9 names in an hour (zkg)", |rules| rules.hourly),
        ("100 names in a day (RITA)", |rules| rules.daily),
    ];
    let from_50 = |one: &&&Planted| number(one, "questions a day") >= 50.0;
    let part: Vec<_> = planted.iter().filter(from_50).collect();
    for (name, set) in [
        ("by score", &ours),
        ("any open finding, the literal rule's too", &any),
    ] {
        let hit = |one: &&&&Planted| set.contains(&(one.sources[0], one.to[0].as_str()));
        let alarms = benign
            .iter()
            .filter(|((src, domain), _)| set.contains(&(*src, domain.as_str())))
            .count();
        let _ = writeln!(
            out,
            "ours, {name}: recall from 50 a day {}; false alerts of 10,000 days {}",
            share(part.iter().filter(hit).count(), part.len()),
            rate(alarms, units)
        );
    }
    for (name, fires) in others {
        let hits = part
            .iter()
            .filter(|one| rules.get(&key(one)).is_some_and(fires))
            .count();
        let alarms = benign
            .iter()
            .filter(|(_, names)| fires(&yardstick::dns_rules(names)))
            .count();
        let _ = writeln!(
            out,
            "yardstick: {name}: recall {}; false alerts of 10,000 days {}",
            share(hits, part.len()),
            rate(alarms, units)
        );
    }
    let _ = writeln!(out, "\nrecall by tool and rate, ours");
    grid(out, &planted, "tool", "questions a day", &is_ours);
    for ((src, domain), names) in benign
        .iter()
        .filter(|((src, domain), _)| ours.contains(&(*src, domain.as_str())))
        .take(20)
    {
        let _ = writeln!(
            out,
            "false: {} {domain}, {} questions such as {}",
            std::net::Ipv4Addr::from(*src),
            names.len(),
            names[0].1
        );
    }
}

fn bots(out: &mut String, known: &Known, found: &[&Found]) {
    let planted: Vec<&Planted> = known
        .planted
        .iter()
        .filter(|one| one.kind == "bot")
        .collect();
    let ours: HashSet<u32> = found.iter().filter_map(|found| source(found)).collect();
    let bots: HashSet<u32> = planted.iter().map(|one| one.sources[0]).collect();
    let clients: HashSet<u32> = known
        .asked
        .keys()
        .map(|(src, _)| *src)
        .filter(|src| !bots.contains(src))
        .collect();
    let _ = writeln!(
        out,
        "\nBOTS BY NAMES: {} planted; false alerts of {} other clients: {}",
        planted.len(),
        clients.len(),
        clients.intersection(&ours).count()
    );
    let mut kinds: BTreeMap<&str, Vec<&Planted>> = BTreeMap::new();
    for one in &planted {
        kinds.entry(cell(one, "generator")).or_default().push(one);
    }
    for (kind, of_kind) in kinds {
        let hits = of_kind
            .iter()
            .filter(|one| ours.contains(&one.sources[0]))
            .count();
        let _ = writeln!(out, "{kind}\t{}", share(hits, of_kind.len()));
    }
}

fn carriers(out: &mut String, known: &Known, found: &[&Found]) {
    let planted: Vec<&Planted> = known
        .planted
        .iter()
        .filter(|one| one.kind == "exfiltration")
        .collect();
    let by_check = |check: &str| -> HashSet<Pair> {
        found
            .iter()
            .filter(|found| check.is_empty() || found.baseline == Some(true))
            .filter_map(|found| Some((source(found)?, known.address_of(&found.destination)?)))
            .collect()
    };
    let (all, literal) = (by_check(""), by_check("literal"));
    let hidden: HashSet<Pair> = known
        .planted
        .iter()
        .flat_map(|one| pairs(known, one))
        .collect();
    let _ = writeln!(
        out,
        "\nEXFILTRATION: {} planted\tform\tany check\tliteral volume alone",
        planted.len()
    );
    let mut forms: BTreeMap<&str, Vec<&Planted>> = BTreeMap::new();
    for one in &planted {
        forms.entry(cell(one, "form")).or_default().push(one);
    }
    for (form, of_form) in forms {
        let hits = |set: &HashSet<Pair>| {
            let hit = |one: &&&Planted| pairs(known, one).any(|pair| set.contains(&pair));
            share(of_form.iter().filter(hit).count(), of_form.len())
        };
        let _ = writeln!(out, "\t{form}\t{}\t{}", hits(&all), hits(&literal));
    }
    let mut wrong: BTreeMap<Option<Habit>, usize> = BTreeMap::new();
    for pair in all.difference(&hidden) {
        *wrong.entry(known.habits.get(pair).copied()).or_default() += 1;
    }
    let _ = writeln!(out, "pairs of others by habit: {wrong:?}");
}

fn channels(out: &mut String, known: &Known, found: &[&Found]) {
    let planted: Vec<&Planted> = known
        .planted
        .iter()
        .filter(|one| one.kind == "channel")
        .collect();
    let ours: HashSet<Pair> = found
        .iter()
        .filter_map(|found| Some((source(found)?, known.address_of(&found.destination)?)))
        .collect();
    let hit = |one: &Planted| pairs(known, one).any(|pair| ours.contains(&pair));
    let _ = writeln!(
        out,
        "\nLONG CONNECTIONS WITH HEARTBEATS: {} planted; recall by form and hours",
        planted.len()
    );
    grid(out, &planted, "heartbeats", "hours", &hit);
    let mut kinds: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (pair, kind) in &known.channels {
        let (all, wrong) = kinds.entry(kind).or_default();
        *all += 1;
        *wrong += usize::from(ours.contains(pair));
    }
    let _ = writeln!(out, "\nfalse alerts (pairs)\tkind\tpairs\tours");
    for (kind, (all, wrong)) in kinds {
        let _ = writeln!(out, "\t{kind}\t{all}\t{wrong}");
    }
}
