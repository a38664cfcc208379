//! Large captures for the benchmark, the same bytes at every run: `wire` writes packets, `tls`
//! builds handshakes, `traffic` lets connections of one kind overlap until a size is reached.

pub mod wire;
pub mod tls;
pub mod traffic;
