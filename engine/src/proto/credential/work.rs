//! How many bytes were looked at, counted in tests alone: what the readers of
//! secrets cost is asserted, not timed.

#[cfg(test)]
thread_local! {
    static BYTES: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Notes that so many bytes were looked at.
#[inline]
pub(super) fn looked_at(bytes: usize) {
    #[cfg(test)]
    BYTES.with(|count| count.set(count.get() + bytes as u64));
    #[cfg(not(test))]
    let _ = bytes;
}

/// What was counted since the last call.
#[cfg(test)]
pub(super) fn taken() -> u64 {
    BYTES.with(|count| count.replace(0))
}
