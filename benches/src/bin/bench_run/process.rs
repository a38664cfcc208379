//! One measured child: wall time, CPU time of all its threads, peak of its private memory.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How often the private memory is looked at.
const INTERVAL: Duration = Duration::from_millis(10);

/// What one run of a program took.
#[derive(Debug, Clone, Copy)]
pub struct Measure {
    /// From before the start to after the end, s.
    pub wall: f64,
    /// User and system time of the process and the children it waited for, s.
    pub cpu: f64,
    /// Highest RssAnon seen, KiB; a peak shorter than 10 ms may be missed.
    pub rss_anon_kib: u64,
}

/// Runs `command` to its end; what it prints is thrown away. Fails if it does not exit with 0,
/// with the end of what it wrote to `errors`.
pub fn measure(mut command: Command, errors: &Path) -> Result<Measure, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let say = |error: io::Error| format!("{name}: {error}");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(errors).map_err(say)?);
    let start = Instant::now();
    let child = command.spawn().map_err(say)?;
    let status = format!("/proc/{}/status", child.id());
    let done = AtomicBool::new(false);
    let (ended, wall, rss_anon_kib) = thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut peak = 0;
            while !done.load(Ordering::Relaxed) {
                peak = peak.max(rss_anon(&status).unwrap_or(0));
                thread::sleep(INTERVAL);
            }
            peak
        });
        let ended = wait(child);
        let wall = start.elapsed().as_secs_f64();
        done.store(true, Ordering::Relaxed);
        (ended, wall, watch.join().unwrap_or(0))
    });
    let (code, cpu) = ended.map_err(say)?;
    if code != Some(0) {
        let text = fs::read_to_string(errors).unwrap_or_default();
        let last: Vec<&str> = text.lines().rev().take(5).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        return Err(format!(
            "{command:?} ended with {code:?}: {}",
            last.join(" / ")
        ));
    }
    Ok(Measure {
        wall,
        cpu,
        rss_anon_kib,
    })
}

/// Waits for `child`: its exit code (none if a signal ended it) and its CPU time, s.
#[allow(
    unsafe_code,
    reason = "no safe interface returns a child's CPU time with its end"
)]
fn wait(child: Child) -> io::Result<(Option<i32>, f64)> {
    let process = child.id() as libc::pid_t;
    let mut status = 0;
    loop {
        // SAFETY: all zeros is a valid rusage, which consists of integers.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: both pointers are to live local variables of the types that wait4 writes. The
        // child is ours and has not been waited for: `child` is owned here and never asked.
        let got = unsafe { libc::wait4(process, &mut status, 0, &mut usage) };
        if got == process {
            let code = libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status));
            return Ok((code, seconds(usage.ru_utime) + seconds(usage.ru_stime)));
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

fn seconds(time: libc::timeval) -> f64 {
    time.tv_sec as f64 + time.tv_usec as f64 / 1e6
}

fn rss_anon(status: &str) -> Option<u64> {
    let text = fs::read_to_string(status).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_measured_and_a_failing_one_reported() {
        let errors = std::env::temp_dir().join(format!("bench-run-test-{}", std::process::id()));
        let mut busy = Command::new("sh");
        busy.args(["-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"]);
        let measured = measure(busy, &errors).unwrap();
        assert!(measured.wall > 0.0 && measured.cpu > 0.0);
        assert!(measured.cpu < measured.wall * 2.0);
        assert!(measured.rss_anon_kib > 0);
        let mut failing = Command::new("sh");
        failing.args(["-c", "echo broken >&2; exit 3"]);
        let error = measure(failing, &errors).unwrap_err();
        assert!(
            error.contains("Some(3)") && error.contains("broken"),
            "{error}"
        );
        fs::remove_file(errors).unwrap();
    }
}
