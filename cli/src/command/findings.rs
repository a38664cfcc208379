//! `findings`: the seal first, then every finding that was asked for, or every
//! anomaly.

use super::audit::intact;
use crate::Outcome;
use crate::args::Findings as Arguments;
use crate::render::anomalies::{self, Anomalies};
use crate::render::findings::{self, Listing};
use crate::sandbox;
use crate::screen::{self, Screen};
use crate::secret::{EnvironmentKey, keys_at_hand};
use crate::selection::{Wanted, refuse_unfindable};
use anyhow::Result;
use nsforensics_engine::table::read;

pub fn run(
    arguments: Arguments,
    environment_key: &EnvironmentKey,
    screen: &Screen,
) -> Result<Outcome> {
    let keys = keys_at_hand(&arguments.keys.key_files, environment_key)?;
    let run = std::slice::from_ref(&arguments.run);
    sandbox::enter(&arguments.safety, &sandbox::run_folders(run), &[]);
    let Some(report) = intact(&arguments.run, &keys)? else {
        return Ok(Outcome::Found);
    };
    if arguments.anomalies {
        let captures = read::captures(&report.folder)?;
        let mut all = Anomalies::new(report.run_id.unwrap_or_default(), captures);
        read::anomalies(&report.folder, |row| all.add(row))?;
        screen::print(&if arguments.json.json {
            anomalies::json(&all)?
        } else {
            anomalies::text(&all, screen)
        })?;
        return Ok(Outcome::Clean);
    }
    let all = read::findings(&report.folder)?;
    refuse_unfindable(&read::verdicts(&report.folder)?, &all, &arguments.checks)?;
    let wanted = Wanted {
        checks: arguments.checks,
        severity: arguments.severity,
        host: arguments.host,
        ids: arguments.ids,
        suppressed: arguments.suppressed,
    };
    wanted.refuse_unknown_ids(&all)?;
    let total = all.len();
    let listing = Listing {
        run_id: report.run_id.unwrap_or_default(),
        captures: read::captures(&report.folder)?,
        findings: all
            .into_iter()
            .filter(|finding| wanted.takes(finding))
            .collect(),
        total,
    };
    screen::print(&if arguments.json.json {
        findings::json(&listing)?
    } else if arguments.csv {
        findings::csv(&listing)
    } else {
        findings::text(&listing, screen)
    })?;
    Ok(Outcome::Clean)
}
