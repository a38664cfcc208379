//! Alerts: what a sealed run found, told to the policy's destinations.
//!
//! Three parties, so that no process that reads hostile bytes has a network:
//!
//! ```text
//!  nsforensics (sandboxed)           journal              helper (network)
//!  findings -> alerts --queued--> RUN.alerts.jsonl --> syslog, webhook
//!        |                            ^    |                  |
//!        +------- "deliver" (pipe) ---|----|----------------->|
//!                                     +----+-- tried, sent ---+
//! ```
//!
//! The helper is this program again, started before the sandbox closes. It
//! learns the destinations before a capture is opened, holds keys derived for
//! journal and signature alone, and may write nothing but journals.
//!
//! Reading order: `message` (what is told), `channel` (to whom), `syslog` and
//! `webhook` (how), `deliver` (until when), `helper` (by which process).

pub mod channel;
mod deliver;
pub mod helper;
pub mod message;
mod syslog;
mod webhook;

pub use deliver::Delivered;
