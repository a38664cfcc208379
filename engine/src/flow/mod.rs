//! The flow table: TCP reassembly, datagram flows, time-outs, budgets.

pub mod record;
pub use record::{ConnState, Counters, EndReason, FlowRecord, NameSource};
