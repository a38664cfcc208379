//! End-to-end tests: whole captures in, sealed tables out.
//!
//! Tests that need the public captures look for them in `NSF_CAPTURES`, else
//! beside the project in `../shared/captures`, and say so when they skip.

mod behaviour;
mod cbom;
mod decrypted;
mod dns;
mod flood;
mod golden;
mod http;
mod ns04;
mod openssl;
mod planted;
mod public;
mod repeat;
mod runs;
mod secrets;
mod seeds;
mod streams;
mod truth;
mod tshark;
