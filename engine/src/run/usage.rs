//! What the run itself used, for the manifest: processor time, memory, host.

/// Resources of this process so far; `None` where the system does not say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    pub(super) max_rss_bytes: Option<u64>,
    pub(super) cpu_ns: Option<u64>,
}

/// Reads `/proc/self`: kernel documentation `filesystems/proc.rst`.
pub(super) fn of_this_process() -> Usage {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let max_rss_bytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())
        .map(|kib| kib * 1024);
    let usage = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let cpu_ns = u64::try_from(usage.tv_sec)
        .ok()
        .zip(u64::try_from(usage.tv_nsec).ok())
        .and_then(|(seconds, nanos)| seconds.checked_mul(1_000_000_000)?.checked_add(nanos));
    Usage {
        max_rss_bytes,
        cpu_ns,
    }
}

/// The machine's name, or an empty text.
pub(super) fn host_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_process_has_used_something() {
        let usage = super::of_this_process();
        assert!(usage.cpu_ns.is_some_and(|ns| ns > 0));
        assert!(usage.max_rss_bytes.is_some_and(|bytes| bytes > 1 << 20));
        assert!(!super::host_name().is_empty());
    }
}
