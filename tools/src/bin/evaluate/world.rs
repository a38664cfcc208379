//! A week of a network: what happens in it, and what is planted. Each host,
//! device and planted thing has a random stream of its own, so that one more of
//! a kind changes nothing else.

use crate::random::Random;
use crate::settings::Settings;
use crate::tables::{Flow, Question, Tables};
use nsforensics_engine::flow::Beats;
use nsforensics_engine::proto::Direction;
use std::collections::HashMap;

pub const SECOND: f64 = 1e9;
pub const DAY: f64 = 86_400.0;
/// Monday, 2024-01-01 00:00 UTC, nanoseconds.
pub const START_NS: i64 = 1_704_067_200_000_000_000;

/// What a benign pair of source and destination is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Habit {
    /// People, and what hangs on them: no clock behind it.
    Aperiodic,
    Ntp,
    /// Many hosts do the same: connectivity checks, agents, telemetry, updates.
    CommonClock,
    /// One host alone does it.
    NicheAgent,
    /// A page or messenger that asks again while somebody looks at it.
    SessionPoll,
    Device,
    Monitoring,
    Backup,
    /// A server's own jobs, by a scheduler: on the whole minute.
    Scheduled,
}

/// Something that a detector should find.
#[derive(Clone, Debug)]
pub struct Planted {
    pub kind: &'static str,
    /// What is varied, such as `T=300 j=0.2`.
    pub cell: Vec<(&'static str, String)>,
    pub sources: Vec<u32>,
    /// Destinations, or registered domains.
    pub to: Vec<String>,
}

/// A source and a destination.
pub type Pair = (u32, u32);
/// Beginnings (ns) and bytes sent, by pair.
pub type Histories = HashMap<Pair, Vec<(i64, u64)>>;
/// Time, name and response code, by client and registered domain.
pub type Asked = HashMap<(u32, String), Vec<(i64, String, u16)>>;

/// A network's week.
pub struct World<'s> {
    pub settings: &'s Settings,
    pub names: Vec<String>,
    by_name: HashMap<String, u32>,
    pub planted: Vec<Planted>,
    pub habits: HashMap<Pair, Habit>,
    /// Benign connections that stay open, by what they are.
    pub channels: HashMap<Pair, &'static str>,
    /// Only when it is asked for.
    pub history: Option<Histories>,
    /// Likewise.
    pub asked: Option<Asked>,
    pub tables: Tables,
}

/// A connection that is about to be written.
#[derive(Clone, Copy)]
pub struct Conn {
    /// Seconds since the beginning.
    pub at: f64,
    pub lasts: f64,
    pub up: f64,
    pub down: f64,
}

/// Where connections go.
#[derive(Clone, Copy)]
pub struct Goal {
    pub dst: u32,
    pub name: Option<u32>,
    pub port: u16,
    pub udp: bool,
    pub service: &'static str,
}

const WORDS: [&str; 48] = [
    "blue", "garden", "river", "market", "travel", "photo", "cloud", "smart", "music", "house",
    "green", "city", "north", "stone", "bright", "paper", "silver", "forest", "daily", "health",
    "sport", "kitchen", "bank", "light", "design", "studio", "school", "ocean", "radio", "press",
    "media", "trade", "energy", "future", "happy", "family", "global", "island", "winter",
    "summer", "coffee", "bridge", "castle", "camera", "ticket", "hotel", "store", "forum",
];

impl<'s> World<'s> {
    pub fn new(settings: &'s Settings, tables: Tables, keeps: bool) -> Self {
        Self {
            settings,
            names: Vec::new(),
            by_name: HashMap::new(),
            planted: Vec::new(),
            habits: HashMap::new(),
            channels: HashMap::new(),
            history: keeps.then(HashMap::new),
            asked: keeps.then(HashMap::new),
            tables,
        }
    }

    /// A host with people, by number.
    pub fn host(&self, number: u32) -> u32 {
        0x0a01_0000 + number
    }

    pub fn seconds(&self) -> f64 {
        f64::from(self.settings.days) * DAY
    }

    /// A destination by name, with an address of its own.
    pub fn named(&mut self, name: &str) -> Goal {
        let id = match self.by_name.get(name) {
            Some(&id) => id,
            None => {
                let id = self.names.len() as u32;
                self.names.push(name.to_owned());
                self.by_name.insert(name.to_owned(), id);
                id
            }
        };
        Goal {
            dst: 0x1400_0000 + id,
            name: Some(id),
            port: 443,
            udp: false,
            service: "ssl",
        }
    }

    /// A destination without a name.
    pub fn bare(&mut self, dst: u32, port: u16) -> Goal {
        Goal {
            dst,
            name: None,
            port,
            udp: false,
            service: "",
        }
    }

    /// What findings call it.
    pub fn destination(&self, goal: Goal) -> String {
        goal.name.map_or_else(
            || std::net::Ipv4Addr::from(goal.dst).to_string(),
            |name| self.names[name as usize].clone(),
        )
    }

    /// Writes a connection, unless the capture lost it.
    pub fn connect(
        &mut self,
        random: &mut Random,
        src: u32,
        to: Goal,
        conn: Conn,
    ) -> Result<(), String> {
        if conn.at < 0.0 || conn.at >= self.seconds() || random.chance(self.settings.lost) {
            return Ok(());
        }
        let ts_ns = START_NS + (conn.at * SECOND) as i64;
        let up = conn.up.max(1.0) as u64;
        if let Some(history) = &mut self.history {
            history.entry((src, to.dst)).or_default().push((ts_ns, up));
        }
        self.tables.flow(
            &self.names,
            Flow {
                ts_ns,
                duration_ns: (conn.lasts.max(0.001) * SECOND) as i64,
                src,
                dst: to.dst,
                name: to.name,
                port: to.port,
                udp: to.udp,
                up,
                down: conn.down.max(1.0) as u64,
                state: "SF",
                service: to.service,
                rhythm: None,
            },
        )
    }

    /// Writes one connection that stays open from one time to another: each beat
    /// is its gap before it and the bytes of both sides behind it. The engine
    /// measures it as it would packets.
    pub fn hold(
        &mut self,
        src: u32,
        to: Goal,
        (from, until): (f64, f64),
        side: Direction,
        mut beat: impl FnMut() -> (f64, f64),
    ) -> Result<(), String> {
        let until = until.min(self.seconds());
        let ns = |seconds: f64| START_NS + (seconds * SECOND) as i64;
        let (mut beats, mut sent, mut at, mut latest) = (Beats::default(), 4_000_u64, from, from);
        loop {
            let (gap, bytes) = beat();
            at += gap.max(0.001);
            if at >= until {
                break;
            }
            if Beats::may_be(ns(from), ns(latest), ns(at)) {
                beats.note(side, ns(at), sent);
            }
            sent += bytes.max(2.0) as u64;
            latest = at;
        }
        if until <= from {
            return Ok(());
        }
        self.tables.flow(
            &self.names,
            Flow {
                ts_ns: ns(from),
                duration_ns: ((until - from) * SECOND) as i64,
                src,
                dst: to.dst,
                name: to.name,
                port: to.port,
                udp: to.udp,
                up: sent / 2,
                down: sent - sent / 2,
                state: "S1",
                service: to.service,
                rhythm: beats.rhythm(),
            },
        )
    }

    /// Says what a pair is; what was said first stands.
    pub fn habit(&mut self, src: u32, to: Goal, habit: Habit) {
        self.habits.entry((src, to.dst)).or_insert(habit);
    }

    /// Writes a question.
    pub fn ask(
        &mut self,
        src: u32,
        at: f64,
        name: String,
        qtype: u16,
        rcode: u16,
        answer: u32,
    ) -> Result<(), String> {
        if at < 0.0 || at >= self.seconds() {
            return Ok(());
        }
        let ts_ns = START_NS + (at * SECOND) as i64;
        if let Some(asked) = &mut self.asked {
            let domain =
                nsforensics_engine::proto::dns::suffix::registered(&name).unwrap_or_default();
            let key = (src, domain.to_owned());
            asked
                .entry(key)
                .or_default()
                .push((ts_ns, name.clone(), rcode));
        }
        self.tables.question(Question {
            ts_ns,
            src,
            name,
            qtype,
            rcode,
            answer_bytes: answer,
        })
    }

    /// A name of two words, by number.
    pub fn site(number: usize) -> String {
        let (a, b) = (number % WORDS.len(), number / WORDS.len());
        let second = WORDS[(a * 7 + b * 5 + 3) % WORDS.len()];
        let end = ["com", "org", "net", "de", "co.uk"][number % 5];
        match b / WORDS.len() {
            0 => format!("{}{second}.{end}", WORDS[a]),
            more => format!("{}{second}{}.{end}", WORDS[a], more + 1),
        }
    }

    /// Seconds of a day, and of which days, in which a host is awake.
    pub fn awake(random: &mut Random, always: bool, days: u32) -> Vec<(f64, f64)> {
        if always {
            return vec![(0.0, f64::from(days) * DAY)];
        }
        (0..days)
            .filter(|day| day % 7 < 5)
            .map(|day| {
                let start = random.normal(9.0, 1.2).clamp(5.0, 13.0) * 3_600.0;
                let end = random.normal(18.0, 1.5).clamp(14.0, 23.5) * 3_600.0;
                (f64::from(day) * DAY + start, f64::from(day) * DAY + end)
            })
            .collect()
    }
}

/// What is known of a world once its tables are written.
pub struct Known {
    by_name: HashMap<String, u32>,
    pub planted: Vec<Planted>,
    pub habits: HashMap<Pair, Habit>,
    pub channels: HashMap<Pair, &'static str>,
    pub history: Histories,
    pub asked: Asked,
    /// Flows and questions.
    pub rows: (u64, u64),
}

impl Known {
    /// Which address a finding's destination is.
    pub fn address_of(&self, destination: &str) -> Option<u32> {
        let named = self.by_name.get(destination).map(|id| 0x1400_0000 + id);
        named.or_else(|| {
            destination
                .parse::<std::net::Ipv4Addr>()
                .ok()
                .map(u32::from)
        })
    }
}

impl World<'_> {
    /// Writes what is left, and sorts what was kept.
    pub fn close(self) -> Result<Known, String> {
        let rows = self.tables.finish(&self.names)?;
        let mut history = self.history.unwrap_or_default();
        history.values_mut().for_each(|times| times.sort_unstable());
        let mut asked = self.asked.unwrap_or_default();
        asked.values_mut().for_each(|names| names.sort_unstable());
        Ok(Known {
            by_name: self.by_name,
            planted: self.planted,
            habits: self.habits,
            channels: self.channels,
            history,
            asked,
            rows,
        })
    }
}
