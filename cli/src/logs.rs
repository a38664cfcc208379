//! Log lines on standard error: text for people, JSON for collectors.
//!
//! Every line passes [`escape`](crate::escape), since messages carry names
//! from captures, and steps around a progress bar that may be on the screen.

use crate::args::{Common, LogFormat, LogLevel};
use crate::{escape, progress};
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Whether standard error speaks JSON, and so must what is said without a log.
static JSON: AtomicBool = AtomicBool::new(false);

/// Says what could not be done: a line of text, or an event where standard
/// error is read by a program. Whoever closed it does not want to hear.
pub fn complain(message: &str) {
    if JSON.load(Ordering::Relaxed) {
        tracing::error!("{message}");
        return;
    }
    // A line break in a name must not pass for the end of this message.
    let text = escape::block(message.trim_end()).replace('\n', "\n    ");
    let line = format!("nsforensics: {text}\n");
    progress::around(|| drop(std::io::stderr().lock().write_all(line.as_bytes())));
}

/// Says what does not keep something from being done, but should be known.
pub fn warn(message: &str) {
    tracing::warn!("{message}");
}

/// Starts logging; call once, before anything that logs.
pub fn start(common: &Common) {
    let level = match (common.log_level, common.log_format) {
        (Some(LogLevel::Off), _) => LevelFilter::OFF,
        (Some(LogLevel::Error), _) => LevelFilter::ERROR,
        (Some(LogLevel::Warn), _) | (None, LogFormat::Text) => LevelFilter::WARN,
        (Some(LogLevel::Info), _) | (None, LogFormat::Json) => LevelFilter::INFO,
        (Some(LogLevel::Debug), _) => LevelFilter::DEBUG,
        (Some(LogLevel::Trace), _) => LevelFilter::TRACE,
    };
    JSON.store(common.log_format == LogFormat::Json, Ordering::Relaxed);
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(false)
        .log_internal_errors(false);
    // A second start (in tests) is harmless: the first one stays.
    let _ = match common.log_format {
        LogFormat::Text => builder
            .with_target(false)
            .with_writer(Lines(escape::block))
            .try_init(),
        LogFormat::Json => builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .with_writer(Lines(escape::json))
            .try_init(),
    };
}

/// Makes writers that take one event each.
struct Lines(fn(&str) -> String);

/// One event on its way to standard error, written whole when dropped.
struct Line {
    text: Vec<u8>,
    escape: fn(&str) -> String,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line;
    fn make_writer(&'a self) -> Line {
        Line {
            text: Vec::new(),
            escape: self.0,
        }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let text = one_line(&String::from_utf8_lossy(&self.text), self.escape);
        // Whoever closed standard error does not want to hear about it.
        progress::around(|| drop(std::io::stderr().lock().write_all(text.as_bytes())));
    }
}

/// The event as one line, whatever its message holds.
fn one_line(event: &str, escape: fn(&str) -> String) -> String {
    let mut line = escape(&event.trim_end_matches('\n').replace('\n', "\\n"));
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_cannot_forge_a_line_or_command_the_terminal() {
        assert_eq!(
            one_line("WARN a\nERROR \x1b[2Jb\n", escape::block),
            "WARN a\\nERROR \\x1b[2Jb\n"
        );
    }
}
