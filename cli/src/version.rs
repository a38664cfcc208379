//! What `--version` says beyond the number.

/// Number, build and target.
pub const LONG: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\nlicence:  ",
    env!("CARGO_PKG_LICENSE"),
    "\nseal:     HMAC-SHA-256, keys by HKDF-SHA-256 (nsforensics/v1)",
    "\nreads:    pcap, pcapng, either compressed with gzip or zstd",
);
