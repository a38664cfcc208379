//! People before hosts, and machines by the clock.

use crate::random::Random;
use crate::settings::Settings;
use crate::world::{Conn, DAY, Goal, Habit, World};
use nsforensics_engine::proto::Direction;

/// Streams of hosts, devices and the network itself.
const HOSTS: u64 = 1 << 32;
const DEVICES: u64 = 2 << 32;
const NETWORK: u64 = 3 << 32;
const SERVERS: u64 = 9 << 32;
const JOBS: u64 = 10 << 32;
const CHANNELS: u64 = 11 << 32;

/// Third parties of pages: advertisers, fonts, scripts.
const PARTIES: usize = 180;

pub fn hosts(world: &mut World<'_>) -> Result<(), String> {
    for number in 0..world.settings.hosts {
        let mut random = Random::new(world.settings.seed, HOSTS + u64::from(number));
        host(world, &mut random, number)?;
    }
    Ok(())
}

fn host(world: &mut World<'_>, random: &mut Random, number: u32) -> Result<(), String> {
    let settings: &Settings = world.settings;
    let src = world.host(number);
    let always = random.chance(0.35);
    let awake = World::awake(random, always, settings.days);
    let people = World::awake(random, false, settings.days);
    for &(from, to) in &people {
        let sessions = random.between(0.5, 1.5) * settings.sessions;
        for _ in 0..sessions as usize {
            let start = from + random.unit() * (to - from);
            session(world, random, src, start, to)?;
        }
    }
    // Time: three servers of a pool, polls between 64 and 1,024 s.
    for server in 0..3_u32 {
        let poll = f64::from(64 << random.below(5));
        let dst = 0x5bbd_5900 + (number * 3 + server) % 24;
        let goal = Goal {
            port: 123,
            udp: true,
            service: "ntp",
            ..world.bare(dst, 123)
        };
        world.habit(src, goal, Habit::Ntp);
        clock(world, random, src, goal, &awake, poll, 0.02, (48.0, 48.0))?;
    }
    let common: [(&str, f64, f64, f64, f64); 6] = [
        ("connectivity.ossupplier.com", 0.9, 300.0, 0.003, 90.0),
        ("edr.guardvendor.com", 0.9, 60.0, 0.02, 400.0),
        ("telemetry.ossupplier.com", 0.5, 900.0, 0.0, 1_500.0),
        ("events.officesuite.com", 0.6, 1_800.0, 0.2, 2_000.0),
        ("metrics.browservendor.org", 0.4, 3_600.0, 0.1, 900.0),
        ("updates.ossupplier.com", 0.9, 64_800.0, 0.33, 700.0),
    ];
    for (name, share, period, jitter, size) in common {
        if random.chance(share) {
            let goal = world.named(name);
            world.habit(src, goal, Habit::CommonClock);
            clock(
                world,
                random,
                src,
                goal,
                &awake,
                period,
                jitter,
                (size, size * 2.0),
            )?;
        }
    }
    if random.chance(0.4) {
        let goal = world.named("chat.messenger.com");
        world.habit(src, goal, Habit::SessionPoll);
        clock(
            world,
            random,
            src,
            goal,
            &people,
            58.0,
            0.08,
            (300.0, 350.0),
        )?;
    }
    if random.chance(settings.niche_agents) {
        let goal = world.named(&format!(
            "agent{number}.{}",
            World::site(9_000 + number as usize)
        ));
        world.habit(src, goal, Habit::NicheAgent);
        let period = [60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0][random.below(6)];
        clock(
            world,
            random,
            src,
            goal,
            &awake,
            period,
            0.05,
            (350.0, 200.0),
        )?;
    }
    names(world, random, src, &people)
}

/// One visit: pages with pauses, what they load, and polls while they stand open.
fn session(
    world: &mut World<'_>,
    random: &mut Random,
    src: u32,
    start: f64,
    end: f64,
) -> Result<(), String> {
    let settings = world.settings;
    let sites = settings.sites as usize;
    let mut at = start;
    let mut site = random.zipf(sites);
    let pages = 1 + random.exponential(11.0) as usize;
    let polled = random.chance(0.15);
    for _ in 0..pages {
        if random.chance(0.25) {
            site = random.zipf(sites);
        }
        let name = World::site(site);
        let goal = world.named(&format!("www.{name}"));
        world.habit(src, goal, Habit::Aperiodic);
        let conn = Conn {
            at,
            lasts: random.lognormal(8.0, 1.0),
            up: random.lognormal(2_500.0, 0.9),
            down: random.lognormal(40_000.0, 1.3),
        };
        world.connect(random, src, goal, conn)?;
        if random.chance(0.2) {
            world.ask(src, at - 0.05, format!("www.{name}"), 1, 0, 90)?;
        }
        for _ in 0..1 + random.below(4) {
            let party = random.zipf(PARTIES);
            let goal = world.named(&format!("static.{}", World::site(20_000 + party)));
            world.habit(src, goal, Habit::Aperiodic);
            let conn = Conn {
                at: at + random.exponential(0.6),
                lasts: random.lognormal(5.0, 1.0),
                up: random.lognormal(1_200.0, 0.8),
                down: random.lognormal(9_000.0, 1.4),
            };
            world.connect(random, src, goal, conn)?;
        }
        if random.chance(0.08) {
            // A distribution network's host, named by a hash.
            let below = random.text(13, b"abcdefghijklmnopqrstuvwxyz0123456789");
            world.ask(src, at, format!("d{below}.cloudfront.net"), 1, 0, 120)?;
            let node = random.text(8, b"abcdefghijklmnopqrstuvwxyz0123456789");
            let place = 1 + random.below(6);
            world.ask(
                src,
                at,
                format!("r{place}---sn-{node}.googlevideo.com"),
                1,
                0,
                110,
            )?;
        }
        at += random.lognormal(settings.think[0], settings.think[1]);
        if at >= end {
            break;
        }
    }
    if polled {
        let goal = world.named(&format!("live.{}", World::site(site)));
        world.habit(src, goal, Habit::SessionPoll);
        let every = [10.0, 15.0, 30.0, 60.0][random.below(4)];
        clock(
            world,
            random,
            src,
            goal,
            &[(start, at.min(end))],
            every,
            0.02,
            (700.0, 900.0),
        )?;
    }
    Ok(())
}

/// Connections by a clock, while the host is awake.
#[allow(clippy::too_many_arguments)] // a habit is all of this
fn clock(
    world: &mut World<'_>,
    random: &mut Random,
    src: u32,
    to: Goal,
    awake: &[(f64, f64)],
    period: f64,
    jitter: f64,
    (up, down): (f64, f64),
) -> Result<(), String> {
    for &(from, until) in awake {
        let mut at = from + random.unit() * period.min(until - from);
        while at < until {
            let conn = Conn {
                at,
                lasts: random.between(0.05, 0.6),
                up: up * random.between(0.98, 1.02),
                down: down * random.between(0.9, 1.1),
            };
            world.connect(random, src, to, conn)?;
            at += period * random.between(1.0 - jitter, 1.0 + jitter);
        }
    }
    Ok(())
}

/// Questions that are no visits: telemetry by device, reputation of files, and typing errors.
fn names(
    world: &mut World<'_>,
    random: &mut Random,
    src: u32,
    people: &[(f64, f64)],
) -> Result<(), String> {
    const HEX: &[u8] = b"0123456789abcdef";
    let scans = random.chance(0.3);
    for &(from, to) in people {
        let any = |random: &mut Random| from + random.unit() * (to - from);
        for _ in 0..2 {
            let (at, id) = (any(random), random.text(32, HEX));
            world.ask(src, at, format!("{id}.devices.ossupplier.com"), 1, 0, 100)?;
        }
        for _ in 0..random.below(4) {
            let site = World::site(random.below(4_000));
            let mut name = site.clone();
            let cut = 1 + random.below(4);
            name.remove(cut);
            let at = any(random);
            world.ask(src, at, name, 1, 3, 100)?;
        }
        if scans {
            // Every file that is opened is asked for by its hash.
            for _ in 0..random.below(12) {
                let (at, id) = (any(random), random.text(32, HEX));
                world.ask(src, at, format!("{id}.lookup.guardvendor.com"), 1, 0, 90)?;
            }
        }
        for _ in 0..random.below(3) {
            let at = any(random);
            let pages: String = (0..3)
                .map(|_| char::from(b'a' + random.below(26) as u8))
                .collect();
            world.ask(
                src,
                at,
                format!("e{}.{pages}.akamaiedge.net", 1_000 + random.below(9_000)),
                1,
                0,
                80,
            )?;
        }
    }
    Ok(())
}

pub fn devices(world: &mut World<'_>) -> Result<(), String> {
    let days = world.settings.days;
    for number in 0..world.settings.devices {
        let mut random = Random::new(world.settings.seed, DEVICES + u64::from(number));
        let src = 0x0a02_0000 + number;
        let goal = world.named(&format!("mqtt.vendor{}.io", number % 10));
        world.habit(src, goal, Habit::Device);
        let period = [25.0, 60.0, 120.0, 300.0][random.below(4)];
        let always = [(0.0, f64::from(days) * DAY)];
        clock(
            world,
            &mut random,
            src,
            goal,
            &always,
            period,
            0.02,
            (120.0, 80.0),
        )?;
    }
    Ok(())
}

/// Programs without a clock: calls come as a crowd of people or machines makes
/// them, memoryless or in bursts, often all of one size. The hardest to tell from
/// a jittered beacon, which has bounds.
pub fn servers(world: &mut World<'_>) -> Result<(), String> {
    for number in 0..world.settings.servers {
        let mut random = Random::new(world.settings.seed, SERVERS + u64::from(number));
        let src = 0x0a05_0000 + number;
        for service in 0..6_u32 {
            let goal = world.named(&format!(
                "api{service}.{}",
                World::site(30_000 + number as usize)
            ));
            world.habit(src, goal, Habit::Aperiodic);
            // From 20 seconds to an hour, in the mean.
            let mean = 20.0 * 180.0_f64.powf(random.unit());
            let (up, same) = (random.between(200.0, 2_000.0), random.chance(0.5));
            let bursts = service % 3;
            let mut at = random.exponential(mean);
            while at < world.seconds() {
                let conn = Conn {
                    at,
                    lasts: random.between(0.05, 2.0),
                    up: if same { up } else { random.lognormal(up, 0.6) },
                    down: random.lognormal(3_000.0, 0.8),
                };
                world.connect(&mut random, src, goal, conn)?;
                at += match bursts {
                    0 => random.exponential(mean),
                    1 => random.lognormal(mean * 0.6, 1.0),
                    // A crowd that sleeps at night.
                    _ => {
                        let hour = (at / 3_600.0) % 24.0;
                        let busy = 1.0 + 0.8 * ((hour - 14.0) / 24.0 * std::f64::consts::TAU).cos();
                        random.exponential(mean / busy)
                    }
                };
            }
        }
    }
    Ok(())
}

/// Jobs that a server's scheduler starts on the whole minute: every second one goes
/// to a place that all of them use, the others to one of their own.
pub fn jobs(world: &mut World<'_>) -> Result<(), String> {
    for number in 0..world.settings.servers {
        let mut random = Random::new(world.settings.seed, JOBS + u64::from(number));
        let src = 0x0a05_0000 + number;
        let goal = if number % 2 == 0 {
            world.named("mirror.packagesupplier.org")
        } else {
            world.named(&format!("hooks.{}", World::site(35_000 + number as usize)))
        };
        world.habit(src, goal, Habit::Scheduled);
        let period = [300.0, 600.0, 900.0, 1_800.0, 3_600.0][random.below(5)];
        let (up, down) = (random.between(200.0, 900.0), random.between(200.0, 9_000.0));
        let mut due = 0.0;
        while due < world.seconds() {
            let conn = Conn {
                at: due + random.between(0.1, 2.5),
                lasts: random.between(0.05, 3.0),
                up: up * random.between(0.98, 1.02),
                down: down * random.between(0.9, 1.1),
            };
            world.connect(&mut random, src, goal, conn)?;
            due += period;
        }
    }
    Ok(())
}

/// Monitoring, backups, a mail server, a resolver's look-ups back.
pub fn network(world: &mut World<'_>) -> Result<(), String> {
    let mut random = Random::new(world.settings.seed, NETWORK);
    let always = [(0.0, world.seconds())];
    let monitor = 0x0a00_0010;
    for target in 0..40_u32 {
        let goal = world.bare(0x0a03_0000 + target, 9_100);
        world.habit(monitor, goal, Habit::Monitoring);
        clock(
            world,
            &mut random,
            monitor,
            goal,
            &always,
            60.0,
            0.002,
            (250.0, 30_000.0),
        )?;
    }
    for server in 0..10_u32 {
        let src = 0x0a03_0000 + server;
        let goal = world.named("vault.backupsupplier.com");
        world.habit(src, goal, Habit::Backup);
        for day in 0..world.settings.days {
            let conn = Conn {
                at: f64::from(day) * DAY + 7_200.0 + random.between(0.0, 900.0),
                lasts: random.between(600.0, 3_600.0),
                up: random.lognormal(3e8, 0.3),
                down: 5e5,
            };
            world.connect(&mut random, src, goal, conn)?;
        }
    }
    let mail = 0x0a00_0019;
    for _ in 0..world.settings.days * 1_500 {
        let at = random.unit() * world.seconds();
        let octets: Vec<String> = (0..4).map(|_| random.below(256).to_string()).collect();
        world.ask(
            mail,
            at,
            format!("{}.bl.listoperator.org", octets.join(".")),
            1,
            3,
            110,
        )?;
        let domain = World::site(random.below(20_000));
        world.ask(
            mail,
            at + 0.2,
            format!("s{}._domainkey.{domain}", random.below(3)),
            16,
            0,
            400,
        )?;
        world.ask(mail, at + 0.3, format!("_dmarc.{domain}"), 16, 0, 160)?;
        world.ask(
            monitor,
            at,
            format!("{}.in-addr.arpa", octets.join(".")),
            12,
            0,
            90,
        )?;
    }
    Ok(())
}

/// Connections that stay open on purpose: messages, mailboxes, pages, terminals,
/// and pools of databases, which have no rhythm.
pub fn channels(world: &mut World<'_>) -> Result<(), String> {
    if world.settings.channels.instances == 0 {
        return Ok(());
    }
    for number in 0..world.settings.hosts {
        let mut random = Random::new(world.settings.seed, CHANNELS + u64::from(number));
        let src = world.host(number);
        for day in World::awake(&mut random, false, world.settings.days) {
            held(world, &mut random, src, number, day)?;
        }
    }
    for number in 0..world.settings.devices {
        let mut random = Random::new(
            world.settings.seed,
            CHANNELS + (1 << 20) + u64::from(number),
        );
        let goal = Goal {
            port: 8_883,
            ..world.named(&format!("broker.vendor{}.io", number % 10))
        };
        let always = (random.unit() * 60.0, world.seconds());
        hold(
            world,
            &mut random,
            "MQTT inside TLS",
            0x0a02_0000 + number,
            goal,
            always,
            60.0,
        )?;
    }
    for number in 0..world.settings.servers {
        let mut random = Random::new(
            world.settings.seed,
            CHANNELS + (2 << 20) + u64::from(number),
        );
        let goal = world.named(&format!("db.{}", World::site(36_000 + number as usize)));
        world
            .channels
            .insert((0x0a05_0000 + number, goal.dst), "pool without rhythm");
        let mean = random.between(5.0, 200.0);
        let always = (random.unit() * 60.0, world.seconds());
        let beat = || (random.exponential(mean), random.lognormal(900.0, 1.0));
        world.hold(0x0a05_0000 + number, goal, always, Direction::Orig, beat)?;
    }
    Ok(())
}

/// What one host keeps open on one working day.
fn held(
    world: &mut World<'_>,
    random: &mut Random,
    src: u32,
    number: u32,
    (from, until): (f64, f64),
) -> Result<(), String> {
    let own = World::site(70_000 + number as usize);
    // Who does, what, to whom, port, service, period, whether pages were loaded.
    type Held = (f64, &'static str, String, u16, &'static str, f64, bool);
    let all: [Held; 8] = [
        (
            0.6,
            "push, by name",
            "mtalk.google.com".into(),
            5_228,
            "ssl",
            900.0,
            false,
        ),
        (
            0.4,
            "messenger",
            "ws.messenger.com".into(),
            443,
            "ssl",
            30.0,
            true,
        ),
        (
            0.3,
            "mailbox",
            "imap.mailsupplier.com".into(),
            993,
            "ssl",
            120.0,
            false,
        ),
        (
            0.2,
            "page of many",
            format!("live.{}", World::site(number as usize % 20)),
            443,
            "ssl",
            25.0,
            true,
        ),
        (
            0.1,
            "page of one",
            format!("socket.{own}"),
            443,
            "ssl",
            54.0,
            true,
        ),
        (
            0.05,
            "terminal",
            format!("build.{}", World::site(71_000 + number as usize)),
            22,
            "ssh",
            60.0,
            false,
        ),
        (
            0.02,
            "program of one",
            format!("sync.{}", World::site(72_000 + number as usize)),
            443,
            "ssl",
            45.0,
            false,
        ),
        (
            0.02,
            "MQTT",
            format!("mqtt.{}", World::site(73_000 + number as usize)),
            1_883,
            "mqtt",
            60.0,
            false,
        ),
    ];
    for (which, (share, what, name, port, service, period, is_page)) in all.into_iter().enumerate()
    {
        // The same hosts every day.
        let mut same = Random::new(
            world.settings.seed,
            CHANNELS + (3 << 20) + u64::from(number) * 16 + which as u64,
        );
        if !same.chance(share) {
            continue;
        }
        let goal = Goal {
            port,
            service,
            ..world.named(&name)
        };
        let start = from + random.unit() * 3_600.0;
        if is_page {
            let domain = name.split_once('.').map_or("", |(_, rest)| rest);
            for _ in 0..3 + random.below(9) {
                let page = world.named(&format!("app.{domain}"));
                world.habit(src, page, Habit::Aperiodic);
                let conn = Conn {
                    at: start + random.exponential(1_200.0),
                    lasts: random.lognormal(8.0, 1.0),
                    up: random.lognormal(2_500.0, 0.9),
                    down: random.lognormal(40_000.0, 1.3),
                };
                world.connect(random, src, page, conn)?;
            }
        }
        hold(world, random, what, src, goal, (start, until), period)?;
    }
    Ok(())
}

/// One benign connection with heartbeats and some messages between them.
fn hold(
    world: &mut World<'_>,
    random: &mut Random,
    what: &'static str,
    src: u32,
    goal: Goal,
    time: (f64, f64),
    period: f64,
) -> Result<(), String> {
    world.channels.insert((src, goal.dst), what);
    let beat = || {
        if random.chance(0.05) {
            (random.unit() * period, random.lognormal(1_500.0, 1.0))
        } else {
            (period * random.between(0.99, 1.01), 120.0)
        }
    };
    world.hold(src, goal, time, Direction::Orig, beat)
}
