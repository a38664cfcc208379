//! What a world is made of. Read from a file that stands beside the program and
//! was written before it ran: the answer must not choose its question.

use serde::Deserialize;
use std::path::Path;

/// One world and what hides in it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub seed: u64,
    pub days: u32,
    /// Hosts with people before them.
    pub hosts: u32,
    /// Machines without people: phones home, cameras, meters.
    pub devices: u32,
    /// Names that hosts visit.
    pub sites: u32,
    /// Visits of a host and day, in the mean.
    pub sessions: f64,
    /// Median pause between two pages, seconds, and the deviation of its logarithm.
    pub think: [f64; 2],
    /// Share of connections that the capture lost.
    pub lost: f64,
    /// Servers that call others as events come, day and night, with no clock behind it.
    pub servers: u32,
    /// Share of hosts with an agent that nobody else has.
    pub niche_agents: f64,
    pub beacons: Beacons,
    pub tunnels: Tunnels,
    pub dga: Dga,
    pub exfiltration: Exfiltration,
    pub channels: Channels,
}

/// The grid of beacons: every combination, `instances` times.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beacons {
    pub instances: u32,
    pub periods_s: Vec<f64>,
    pub jitter: Vec<f64>,
    pub missed: Vec<f64>,
    /// Instances of each of the special forms (nights off, doubled, noise, several hosts).
    pub special: u32,
}

/// Tunnels through DNS: each tool at each rate.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tunnels {
    pub instances: u32,
    pub per_day: Vec<u32>,
}

/// Bots that look for their master by names.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dga {
    pub instances: u32,
    pub names: u32,
}

/// Data carried out slowly, or at once.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exfiltration {
    pub instances: u32,
}

/// One connection that stays open, with heartbeats: each form for each of some hours.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channels {
    pub instances: u32,
    pub hours: Vec<f64>,
}

impl Settings {
    /// Reads a settings file.
    pub fn read(path: &Path) -> Result<Self, String> {
        let trouble = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| trouble(&error))?;
        serde_json::from_str(&text).map_err(|error| trouble(&error))
    }

    /// A world of people alone, to measure time and memory by.
    pub fn plain(days: u32, hosts: u32) -> Self {
        Self {
            seed: 1,
            days,
            hosts,
            devices: hosts / 20,
            sites: 4_000,
            sessions: 7.0,
            think: [35.0, 1.1],
            lost: 0.0,
            servers: hosts / 10,
            niche_agents: 0.02,
            beacons: Beacons {
                instances: 0,
                periods_s: Vec::new(),
                jitter: Vec::new(),
                missed: Vec::new(),
                special: 0,
            },
            tunnels: Tunnels {
                instances: 0,
                per_day: Vec::new(),
            },
            dga: Dga {
                instances: 0,
                names: 0,
            },
            exfiltration: Exfiltration { instances: 0 },
            channels: Channels {
                instances: 0,
                hours: Vec::new(),
            },
        }
    }
}
