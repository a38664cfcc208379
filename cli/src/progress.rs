//! How far a run is: a bar on standard error when that is a terminal, events
//! in the log otherwise. Hears the engine as its [`Observer`].

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nsforensics_engine::run::Observer;
use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The bar on the screen, so that log lines can step around it.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Time between two progress events in the log.
const LOG_EVERY: Duration = Duration::from_secs(5);

/// Does something to standard error with the bar out of the way.
pub fn around(write: impl FnOnce()) {
    let bar = BAR.lock().ok().and_then(|bar| bar.clone());
    match bar {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// Shows a run's progress until dropped.
pub struct Progress {
    show: bool,
    log: Mutex<LogState>,
}

#[derive(Default)]
struct LogState {
    started: Option<Instant>,
    last: Option<Instant>,
    total_bytes: Option<u64>,
}

impl Progress {
    /// Draws on standard error when it is a terminal and `quiet` is not asked for.
    pub fn new(quiet: bool) -> Self {
        Self {
            show: !quiet && std::io::stderr().is_terminal(),
            log: Mutex::default(),
        }
    }
}

impl Observer for Progress {
    fn started(&self, total_bytes: Option<u64>) {
        tracing::info!(total_bytes, "reading");
        if let Ok(mut log) = self.log.lock() {
            let now = Instant::now();
            *log = LogState {
                started: Some(now),
                last: Some(now),
                total_bytes,
            };
        }
        if !self.show {
            return;
        }
        let bar = ProgressBar::with_draw_target(total_bytes, ProgressDrawTarget::stderr_with_hz(8));
        // A template is text of ours; if it is wrong, the default one serves.
        if let Ok(style) = ProgressStyle::with_template(template(total_bytes)) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.enable_steady_tick(Duration::from_millis(250));
        if let Ok(mut slot) = BAR.lock() {
            *slot = Some(bar);
        }
    }

    fn progress(&self, bytes: u64, packets: u64, flows: u64) {
        if self.show
            && let Ok(slot) = BAR.lock()
            && let Some(bar) = slot.as_ref()
        {
            bar.set_position(bytes);
            bar.set_message(format!(
                "{}, {}",
                crate::screen::counted(packets, "packet", "packets"),
                crate::screen::counted(flows, "flow", "flows")
            ));
        }
        let Ok(mut log) = self.log.lock() else { return };
        if log.last.is_some_and(|last| last.elapsed() >= LOG_EVERY) {
            log.last = Some(Instant::now());
            let seconds = log
                .started
                .map_or(0.0, |started| started.elapsed().as_secs_f64());
            let bytes_per_second = if seconds > 0.0 {
                (bytes as f64 / seconds) as u64
            } else {
                0
            };
            tracing::info!(
                bytes,
                total_bytes = log.total_bytes,
                packets,
                flows,
                bytes_per_second,
                "progress"
            );
        }
    }

    fn warning(&self, message: &str) {
        tracing::warn!("{message}");
    }

    fn note(&self, message: &str) {
        tracing::info!("{message}");
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = BAR.lock().ok().and_then(|mut slot| slot.take()) {
            bar.finish_and_clear();
        }
    }
}

/// A stream has no end to count down to.
const fn template(total_bytes: Option<u64>) -> &'static str {
    match total_bytes {
        Some(_) => {
            "{wide_bar} {percent:>3}%  {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}  {eta} left  {msg}"
        }
        None => "{spinner} {binary_bytes}  {binary_bytes_per_sec}  {elapsed}  {msg}",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_well_formed() {
        for total in [Some(1), None] {
            assert!(ProgressStyle::with_template(template(total)).is_ok());
        }
    }
}
