//! Outcomes gathered into findings, coverage and verdicts.

mod again;
mod dance;
mod detected;
mod gather;
mod verdict;

#[cfg(test)]
mod tests;

pub use crate::control::ns04::{Measure, Numbers};
pub use again::{Earlier, FromRows, HandshakeBack, judge_again, not_judged_again};
pub use detected::found_of;
pub use gather::{Gatherer, Judged};

use crate::control::Severity;
use crate::evidence::{FlowId, PacketRef};
use crate::time::CaptureTime;
use std::net::IpAddr;

/// One row of the `findings` table.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// `F-` and 12 base32 characters of a hash of check, subject and `ts_first`.
    pub finding_id: String,
    /// Packet time of the first violation.
    pub ts_first: CaptureTime,
    /// Of the last.
    pub ts_last: CaptureTime,
    /// Packet of the first violation; frame 0 where a rule of the user names none.
    pub first: PacketRef,
    /// Such as `NS-01.tls_version`.
    pub check_id: &'static str,
    /// Worst severity.
    pub severity: Severity,
    /// Whether the literal rule of the control fired.
    pub baseline: Option<bool>,
    /// Source host.
    pub src: IpAddr,
    /// Destination address of the first flow.
    pub dst: IpAddr,
    /// Destination port.
    pub dst_port: u16,
    /// Destination name or address.
    pub destination: String,
    /// What tells it apart: the suite, the version, ….
    pub detail: String,
    /// Flows, ascending, at most 1,000.
    pub flow_ids: Vec<FlowId>,
    /// All flows.
    pub flow_count: u64,
    /// One sentence.
    pub title: String,
    /// One sentence with the numbers.
    pub explanation: String,
    /// MITRE ATT&CK.
    pub attack_techniques: Vec<&'static str>,
    /// First packets of the first flows, at most 20.
    pub evidence: Vec<PacketRef>,
    /// How many sources do the same.
    pub prevalence_hosts: u32,
    /// What a detector measured.
    pub numbers: Numbers,
}

impl Finding {
    /// Whether nothing speaks for leaving it out of verdicts and exit codes.
    pub fn is_open(&self) -> bool {
        self.numbers.suppressed_by.is_none()
    }

    /// The packet of the first violation, where one is known: frames count from 1.
    pub fn first_packet(&self) -> Option<PacketRef> {
        (self.first.frame > 0).then_some(self.first)
    }

    /// The explanation without who, where and when, for output that says those
    /// itself.
    pub fn why(&self) -> &str {
        let place = place_of(self.src, &self.destination, self.dst_port);
        let explanation = self.explanation.as_str();
        explanation
            .rfind(&place)
            .and_then(|at| explanation.get(..at))
            .unwrap_or(explanation)
    }
}

/// How explanations go on after the reason.
fn place_of(src: IpAddr, destination: &str, dst_port: u16) -> String {
    // ICMP has no ports, and several are none in particular.
    match dst_port {
        0 => format!(": {src} to {destination}, seen "),
        port => format!(": {src} to {destination} port {port}, seen "),
    }
}

/// The id of a finding about this subject.
pub(crate) fn id_of(
    parts: &[&str; 4],
    dst_port: u16,
    check_id: &str,
    first: CaptureTime,
) -> String {
    gather::finding_id(gather::spread(parts, dst_port), check_id, first)
}

/// One row of the `coverage` table: a check over one capture file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoverageRow {
    /// Row of the file in `captures`.
    pub capture: u32,
    /// The check.
    pub check_id: &'static str,
    /// Outcomes by status.
    pub passed: u64,
    /// Warned.
    pub warned: u64,
    /// Failed.
    pub failed: u64,
    /// Refused.
    pub refused: u64,
    /// Not observed.
    pub not_observed: u64,
    /// The most frequent reason why it was not observed.
    pub reason: String,
    /// Payload bytes of the flows that were not observed.
    pub bytes_affected: u64,
    /// Up to 10 flows that were not observed.
    pub example_flow_ids: Vec<FlowId>,
}

/// A control's or a check's verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VerdictKind {
    /// Observable, and nothing failed.
    Pass,
    /// Something failed at or above the policy's line.
    Fail,
    /// This capture cannot show it.
    NotObserved,
}

impl VerdictKind {
    /// The name that results use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::NotObserved => "not_observed",
        }
    }
}

/// One row of the `verdicts` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Such as `NS-01`.
    pub control_id: String,
    /// Such as `NS-01.tls_version`; `None` for the control as a whole.
    pub check_id: Option<String>,
    /// Title of the control or check.
    pub title: String,
    /// Requirement level: `MUST`.
    pub requirement: String,
    /// Assurance levels.
    pub assurance_levels: Vec<String>,
    /// STRIDE classes.
    pub stride: Vec<String>,
    /// AATT ids.
    pub aatt: Vec<String>,
    /// The verdict.
    pub verdict: VerdictKind,
    /// Outcomes in all.
    pub evaluated: u64,
    /// Passed.
    pub passed: u64,
    /// Warned.
    pub warned: u64,
    /// Failed.
    pub failed: u64,
    /// Refused.
    pub refused: u64,
    /// Not observed.
    pub not_observed: u64,
    /// Severity of the worst finding; `None` without one.
    pub worst_severity: Option<Severity>,
    /// Why; for `not_observed` what would make it observable.
    pub reason: String,
    /// Up to 10 flows.
    pub example_flow_ids: Vec<FlowId>,
}
