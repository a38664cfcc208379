//! The tests are in `main.rs`; this library is empty on purpose.
