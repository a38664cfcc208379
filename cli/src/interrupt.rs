//! Ctrl-C and SIGTERM: the first asks the run to stop cleanly, a second one
//! ends the process at once.

use anyhow::{Context as _, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Which signal came, and the flag that the engine watches.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    cancel: Arc<AtomicBool>,
    signal: Arc<AtomicUsize>,
}

impl Interrupt {
    /// Listens from now on. Starts a thread, so it comes after the sandbox.
    pub fn listen() -> Result<Self> {
        let interrupt = Self::default();
        for signal in [SIGINT, SIGTERM] {
            let status = exit_code(signal);
            // Order matters: this one acts only when the flag is already up.
            signal_hook::flag::register_conditional_shutdown(
                signal,
                status,
                Arc::clone(&interrupt.cancel),
            )
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&interrupt.cancel)))
            .and_then(|_| {
                signal_hook::flag::register_usize(
                    signal,
                    Arc::clone(&interrupt.signal),
                    usize::try_from(signal).unwrap_or_default(),
                )
            })
            .context("cannot listen for Ctrl-C")?;
        }
        // A read from a pipe on which nothing arrives cannot be stopped; say
        // at once what a person can do about it.
        let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot listen for Ctrl-C")?;
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                if signals.forever().next().is_some() {
                    tracing::info!("interrupted");
                    crate::logs::complain("stopping; interrupt again to end at once");
                }
            })
            .context("cannot listen for Ctrl-C")?;
        Ok(interrupt)
    }

    /// Up when the run shall stop.
    pub fn cancel(&self) -> &AtomicBool {
        &self.cancel
    }

    /// The exit code of the signal that came, if one came.
    pub fn exit_code(&self) -> Option<u8> {
        match i32::try_from(self.signal.load(Ordering::SeqCst)) {
            Ok(0) | Err(_) => None,
            Ok(signal) => u8::try_from(exit_code(signal)).ok(),
        }
    }
}

/// As shells report a process that a signal ended: 128 and its number.
const fn exit_code(signal: i32) -> i32 {
    128 + signal
}
