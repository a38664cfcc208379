//! nsforensics engine: hostile packet captures in, sealed evidence tables out.
//!
//! The modules stand in the order in which data flows; each uses only those
//! above it. Nothing here opens a socket. Start reading at [`run`].

pub mod time;
pub mod error;
pub mod evidence;
pub mod anomaly;
pub mod severity;
pub mod policy;
pub mod capture;
pub mod decode;
pub mod proto;
pub mod pki;
pub mod flow;
pub mod indicator;
pub mod control;
pub mod finding;
pub mod table;
pub mod behaviour;
pub mod rule;
pub mod seal;
pub mod inventory;
pub mod run;

pub use error::Error;
