//! What hides in a week: beacons by every law, tunnels, bots that look for
//! their master, data carried out. None of this code is shared with a detector.

use crate::random::Random;
use crate::world::{Conn, DAY, Goal, Planted, World};
use nsforensics_engine::proto::Direction;

const BEACONS: u64 = 4 << 32;
const SPECIAL: u64 = 5 << 32;
const TUNNELS: u64 = 6 << 32;
const BOTS: u64 = 7 << 32;
const CARRIERS: u64 = 8 << 32;
const CHANNELS: u64 = 12 << 32;

/// How implants draw their sleep.
#[derive(Clone, Copy)]
enum Law {
    /// Cobalt Strike: at most the period.
    Below,
    /// Empire, Mythic: both ways.
    Around,
    /// Sliver: at least the period.
    Above,
    /// No bounds at all.
    Gamma,
    /// Both ways, and awake on the whole minute alone.
    Minutes,
}

const LAWS: [(Law, &str); 4] = [
    (Law::Below, "below"),
    (Law::Around, "around"),
    (Law::Above, "above"),
    (Law::Gamma, "gamma"),
];

fn sleep(random: &mut Random, law: Law, period: f64, jitter: f64) -> f64 {
    match law {
        _ if jitter == 0.0 => period,
        Law::Below => random.between(period * (1.0 - jitter), period),
        Law::Around => random.between(period * (1.0 - jitter), period * (1.0 + jitter)),
        Law::Above => period + random.between(0.0, period * jitter),
        Law::Minutes => {
            let drawn = random.between(period * (1.0 - jitter), period * (1.0 + jitter));
            60.0 * (drawn / 60.0).round()
        }
        // As wide as `Around` is.
        Law::Gamma => random.gamma((3.0 / (jitter * jitter)).round() as u32, period),
    }
}

/// What one beacon is.
#[derive(Clone, Copy)]
struct Beacon {
    period: f64,
    jitter: f64,
    missed: f64,
    law: Law,
    doubled: f64,
    noise: f64,
    nights_off: bool,
}

impl Beacon {
    fn run(
        self,
        world: &mut World<'_>,
        random: &mut Random,
        src: u32,
        goals: &[Goal],
        (from, until): (f64, f64),
        daily: bool,
    ) -> Result<(), String> {
        let (up, down) = (random.between(180.0, 700.0), random.between(120.0, 500.0));
        let mut at = from + random.unit() * self.period;
        if matches!(self.law, Law::Minutes) {
            at = 60.0 * (at / 60.0).round();
        }
        let mut number = 0_usize;
        while at < until {
            let hour = (at / 3_600.0) % 24.0;
            let asleep = self.nights_off && !(8.0..20.0).contains(&hour);
            if !asleep && !random.chance(self.missed) {
                let which = if daily { (at / DAY) as usize } else { number };
                let goal = goals[which % goals.len()];
                let tasked = random.chance(0.03);
                let conn = |at, random: &mut Random| Conn {
                    at,
                    lasts: random.between(0.1, 1.5),
                    up: if tasked {
                        random.lognormal(20_000.0, 1.0)
                    } else {
                        up
                    },
                    down: if tasked {
                        random.lognormal(5_000.0, 1.0)
                    } else {
                        down
                    },
                };
                let first = conn(at, random);
                world.connect(random, src, goal, first)?;
                if random.chance(self.doubled) {
                    let second = conn(at + random.between(0.1, 2.0), random);
                    world.connect(random, src, goal, second)?;
                }
                if random.chance(self.noise) {
                    let other = conn(at + random.unit() * self.period, random);
                    world.connect(random, src, goal, other)?;
                }
                number += 1;
            }
            at += sleep(random, self.law, self.period, self.jitter);
        }
        Ok(())
    }
}

fn goal(world: &mut World<'_>, random: &mut Random, number: u64) -> Goal {
    if random.chance(0.25) {
        return world.bare(0x2d00_0000 + number as u32, 443);
    }
    let name = World::site(40_000 + number as usize);
    world.named(&format!("cdn.{name}"))
}

pub fn beacons(world: &mut World<'_>) -> Result<(), String> {
    let settings = world.settings;
    let mut number = 0_u64;
    for &period in &settings.beacons.periods_s {
        for &jitter in &settings.beacons.jitter {
            for &missed in &settings.beacons.missed {
                for instance in 0..settings.beacons.instances {
                    number += 1;
                    let mut random = Random::new(settings.seed, BEACONS + number);
                    let (law, law_name) = LAWS[instance as usize % LAWS.len()];
                    let src = world.host(random.below(settings.hosts as usize) as u32);
                    let to = goal(world, &mut random, number);
                    let beacon = Beacon {
                        period,
                        jitter,
                        missed,
                        law,
                        doubled: 0.0,
                        noise: 0.0,
                        nights_off: false,
                    };
                    // A long sleep is planted for the whole week, others for a day and more.
                    let all = world.seconds();
                    let lasts = if period >= 7_200.0 {
                        all
                    } else {
                        random.between(DAY, all.max(DAY))
                    };
                    let from = random.unit() * (all - lasts).max(0.0);
                    beacon.run(world, &mut random, src, &[to], (from, from + lasts), false)?;
                    let to = vec![world.destination(to)];
                    world.planted.push(Planted {
                        kind: "beacon",
                        cell: vec![
                            ("period", format!("{period} s")),
                            ("jitter", format!("{:.0} %", jitter * 100.0)),
                            ("missed", format!("{:.0} %", missed * 100.0)),
                            ("law", law_name.to_owned()),
                        ],
                        sources: vec![src],
                        to,
                    });
                }
            }
        }
    }
    special(world)
}

/// Beacons that are more than a period: 300 s and 20 % of jitter each.
fn special(world: &mut World<'_>) -> Result<(), String> {
    let settings = world.settings;
    let plain = Beacon {
        period: 300.0,
        jitter: 0.2,
        missed: 0.05,
        law: Law::Below,
        doubled: 0.0,
        noise: 0.0,
        nights_off: false,
    };
    let forms: [(&str, Beacon, usize, usize, bool); 9] = [
        (
            "nights off",
            Beacon {
                nights_off: true,
                ..plain
            },
            1,
            1,
            false,
        ),
        (
            "doubled 30 %",
            Beacon {
                doubled: 0.3,
                ..plain
            },
            1,
            1,
            false,
        ),
        (
            "doubled always",
            Beacon {
                doubled: 1.0,
                ..plain
            },
            1,
            1,
            false,
        ),
        (
            "noise 10 %",
            Beacon {
                noise: 0.1,
                ..plain
            },
            1,
            1,
            false,
        ),
        (
            "noise 50 %",
            Beacon {
                noise: 0.5,
                ..plain
            },
            1,
            1,
            false,
        ),
        ("five destinations in turn", plain, 1, 5, false),
        ("another destination every day", plain, 1, 7, true),
        ("five hosts, one master", plain, 5, 1, false),
        (
            "drawn whole minutes",
            Beacon {
                jitter: 0.5,
                law: Law::Minutes,
                ..plain
            },
            1,
            1,
            false,
        ),
    ];
    let mut number = 0_u64;
    for (form, beacon, sources, goals, daily) in forms {
        for _ in 0..settings.beacons.special {
            number += 1;
            let mut random = Random::new(settings.seed, SPECIAL + number);
            let goals: Vec<Goal> = (0..goals)
                .map(|which| goal(world, &mut random, 100_000 + number * 8 + which as u64))
                .collect();
            let all = world.seconds();
            let sources: Vec<u32> = (0..sources)
                .map(|_| world.host(random.below(settings.hosts as usize) as u32))
                .collect();
            for &src in &sources {
                beacon.run(world, &mut random, src, &goals, (0.0, all), daily)?;
            }
            let to = goals.iter().map(|goal| world.destination(*goal)).collect();
            world.planted.push(Planted {
                kind: "beacon, special",
                cell: vec![("form", form.to_owned())],
                sources,
                to,
            });
        }
    }
    Ok(())
}

const BASE32: &[u8] = b"abcdefghijklmnopqrstuvwxyz234567";
const HEX: &[u8] = b"0123456789abcdef";

/// A tool's next name and type, and the size of its answer.
fn tunnel_name(random: &mut Random, tool: usize, count: u32) -> (String, u16, u32) {
    match tool {
        0 => (format!("pa{}", random.text(6, BASE32)), 10, 60),
        1 => {
            let parts: Vec<String> = (0..3).map(|_| random.text(50, BASE32)).collect();
            (parts.join("."), 16, 320)
        }
        2 => {
            let parts: Vec<String> = (0..2).map(|_| random.text(40, HEX)).collect();
            (parts.join("."), [5, 15, 16][random.below(3)], 160)
        }
        // Number and fixed parts: hardly anything new in a name.
        3 => (
            format!(
                "{}aaaa{:04x}aaaakwqa",
                random.text(2, BASE32),
                count % 65_536
            ),
            25,
            90,
        ),
        4 => (random.text(16, HEX), 1, 80),
        _ => (
            format!("{}.{}", random.text(40, BASE32), random.text(40, BASE32)),
            1,
            100,
        ),
    }
}

const TOOLS: [&str; 6] = [
    "NULL, short names",
    "TXT, long names",
    "CNAME, MX and TXT, hexadecimal",
    "KEY, counters",
    "A, 8 bytes a name",
    "A, 50 bytes a name",
];

pub fn tunnels(world: &mut World<'_>) -> Result<(), String> {
    let settings = world.settings;
    let mut number = 0_u64;
    for (tool, name) in TOOLS.iter().enumerate() {
        for &per_day in &settings.tunnels.per_day {
            for _ in 0..settings.tunnels.instances {
                number += 1;
                let mut random = Random::new(settings.seed, TUNNELS + number);
                let src = world.host(random.below(settings.hosts as usize) as u32);
                let domain = World::site(60_000 + number as usize);
                let from = random.unit() * (world.seconds() - DAY).max(0.0);
                for count in 0..per_day {
                    let at = from + random.unit() * DAY;
                    let (below, qtype, answer) = tunnel_name(&mut random, tool, count);
                    let rcode = if tool == 5 { 3 } else { 0 };
                    world.ask(src, at, format!("{below}.t.{domain}"), qtype, rcode, answer)?;
                }
                world.planted.push(Planted {
                    kind: "tunnel",
                    cell: vec![
                        ("tool", (*name).to_owned()),
                        ("questions a day", per_day.to_string()),
                    ],
                    sources: vec![src],
                    to: vec![domain],
                });
            }
        }
    }
    Ok(())
}

/// Generators of names, made up for this program: no family's, so none that taught.
const GENERATORS: [&str; 5] = [
    "letters",
    "hexadecimal",
    "letters and digits",
    "syllables",
    "two words",
];

fn drawn(random: &mut Random, generator: usize) -> String {
    let label = match generator {
        0 => {
            let len = 8 + random.below(7);
            random.text(len, b"abcdefghijklmnopqrstuvwxyz")
        }
        1 => random.text(12, HEX),
        2 => {
            let len = 10 + random.below(7);
            random.text(len, b"abcdefghijklmnopqrstuvwxyz0123456789")
        }
        3 => (0..4 + random.below(2))
            .map(|_| random.text(1, b"bcdfghjklmnpqrstvwxz") + &random.text(1, b"aeiouy"))
            .collect(),
        _ => World::site(random.below(40_000))
            .split('.')
            .next()
            .unwrap_or_default()
            .to_owned(),
    };
    let end = ["com", "net", "biz", "info", "ru"][random.below(5)];
    format!("{label}.{end}")
}

pub fn bots(world: &mut World<'_>) -> Result<(), String> {
    let settings = world.settings;
    let mut number = 0_u64;
    for (generator, name) in GENERATORS.iter().enumerate() {
        for _ in 0..settings.dga.instances {
            number += 1;
            let mut random = Random::new(settings.seed, BOTS + number);
            // Hosts of their own: one host in two bots says nothing about either.
            let src = 0x0a04_0000 + number as u32;
            let from = random.unit() * (world.seconds() - 3_600.0);
            for _ in 0..settings.dga.names {
                let at = from + random.unit() * 1_800.0;
                let name = drawn(&mut random, generator);
                world.ask(src, at, name, 1, 3, 100)?;
            }
            world.planted.push(Planted {
                kind: "bot",
                cell: vec![("generator", (*name).to_owned())],
                sources: vec![src],
                to: Vec::new(),
            });
        }
    }
    Ok(())
}

pub fn carriers(world: &mut World<'_>) -> Result<(), String> {
    const MB: f64 = 1_048_576.0;
    /// What, connections a day, bytes of each, days.
    const FORMS: [(&str, u32, f64, f64); 4] = [
        ("1 GB at once", 1, 1_024.0 * MB, 1.0),
        ("just below 10 MB, 20 times a day", 20, 9.9 * MB, 3.0),
        ("400 MB a day in 40 pieces", 40, 10.0 * MB, 3.0),
        ("100 KB every 15 minutes for 5 days", 96, 102_400.0, 5.0),
    ];
    let settings = world.settings;
    let mut number = 0_u64;
    for (form, per_day, bytes, days) in FORMS {
        for _ in 0..settings.exfiltration.instances {
            number += 1;
            let mut random = Random::new(settings.seed, CARRIERS + number);
            let src = world.host(random.below(settings.hosts as usize) as u32);
            let to = goal(world, &mut random, 200_000 + number);
            let from = random.unit() * (world.seconds() - days * DAY).max(0.0);
            let gap = DAY / f64::from(per_day);
            for piece in 0..(f64::from(per_day) * days) as u32 {
                let conn = Conn {
                    at: from + (f64::from(piece) + random.between(0.0, 0.8)) * gap,
                    lasts: random.between(1.0, 60.0),
                    up: bytes * random.between(0.95, 1.0),
                    down: 3_000.0,
                };
                world.connect(&mut random, src, to, conn)?;
            }
            let to = vec![world.destination(to)];
            world.planted.push(Planted {
                kind: "exfiltration",
                cell: vec![("form", form.to_owned())],
                sources: vec![src],
                to,
            });
        }
    }
    Ok(())
}

/// How an implant keeps its one connection: period, jitter, share of beats that
/// are a task with its result.
const HELD: [(&str, f64, f64, f64); 5] = [
    ("30 s", 30.0, 0.0, 0.0),
    ("60 s, 20 % of jitter", 60.0, 0.2, 0.0),
    ("60 s, 50 % of jitter", 60.0, 0.5, 0.0),
    ("60 s, a tenth tasks", 60.0, 0.1, 0.1),
    ("5 minutes", 300.0, 0.1, 0.02),
];

/// One connection for hours with heartbeats inside.
pub fn channels(world: &mut World<'_>) -> Result<(), String> {
    let settings = world.settings;
    let mut number = 0_u64;
    for (form, period, jitter, tasks) in HELD {
        for &hours in &settings.channels.hours {
            for _ in 0..settings.channels.instances {
                number += 1;
                let mut random = Random::new(settings.seed, CHANNELS + number);
                let src = world.host(random.below(settings.hosts as usize) as u32);
                let to = goal(world, &mut random, 300_000 + number);
                let lasts = hours * 3_600.0;
                let from = random.unit() * (world.seconds() - lasts).max(0.0);
                let size = random.between(60.0, 900.0);
                let beat = || {
                    let bytes = if random.chance(tasks) {
                        random.lognormal(30_000.0, 1.0)
                    } else {
                        size
                    };
                    (sleep(&mut random, Law::Below, period, jitter), bytes)
                };
                world.hold(src, to, (from, from + lasts), Direction::Orig, beat)?;
                world.planted.push(Planted {
                    kind: "channel",
                    cell: vec![
                        ("heartbeats", form.to_owned()),
                        ("hours", hours.to_string()),
                    ],
                    sources: vec![src],
                    to: vec![world.destination(to)],
                });
            }
        }
    }
    Ok(())
}
