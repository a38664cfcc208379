//! Facts and policy in, outcomes out. A check is one file and one line in its
//! control's registry; it sees no bytes and keeps no state.

use crate::flow::FlowRecord;
use crate::policy::Policy;
use crate::proto::plain::PlaintextFacts;
use crate::proto::tls::TlsHandshake;

/// How bad a violation is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing.
    #[default]
    Info,
    /// A warning.
    Low,
    /// Fails a control by default.
    Medium,
    /// Serious.
    High,
    /// Act now.
    Critical,
}

impl Severity {
    /// From worst to least.
    pub const ALL: [Self; 5] = [
        Self::Critical,
        Self::High,
        Self::Medium,
        Self::Low,
        Self::Info,
    ];

    /// The name that results, policy and reports use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// OCSF's severity_id: 1 to 5.
    pub const fn id(self) -> i8 {
        self as i8 + 1
    }

    /// From its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|severity| severity.name() == name)
    }
}

/// What became of one check on one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// The control holds.
    Passed,
    /// Violated with severity `info` or `low`.
    Warned,
    /// Violated with severity `medium` or higher.
    Failed,
    /// The peer refused what the control forbids: evidence that it works.
    Refused,
    /// This capture cannot show it.
    NotObserved,
}

impl Status {
    /// The name that tables use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Warned => "warned",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::NotObserved => "not_observed",
        }
    }
}

/// One check's judgement of one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Such as `NS-01.tls_version`.
    pub check_id: &'static str,
    /// The judgement.
    pub status: Status,
    /// Severity of a violation; `Info` where there is none.
    pub severity: Severity,
    /// What tells two problems of one check apart: the suite, the version, ….
    pub detail: String,
    /// Why, in words.
    pub reason: std::borrow::Cow<'static, str>,
}

/// What a check can be asked about.
#[derive(Clone, Copy, Debug)]
pub enum Fact<'a> {
    /// One TLS handshake of a flow.
    Tls(&'a FlowRecord, &'a TlsHandshake),
    /// What a flow said outside TLS.
    Plaintext(&'a FlowRecord, &'a PlaintextFacts),
}

/// Which facts a check wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// [`Fact::Tls`].
    Tls,
    /// [`Fact::Plaintext`].
    Plaintext,
    /// Both.
    Any,
}

/// What a check is.
#[derive(Debug)]
pub struct Meta {
    /// Such as `NS-01.tls_version`: the path of its file.
    pub id: &'static str,
    /// One line for people.
    pub title: &'static str,
    /// Severity of its usual violation.
    pub severity: Severity,
    /// MITRE ATT&CK techniques of a violation.
    pub attack: &'static [&'static str],
    /// The facts it judges.
    pub wants: Wants,
    /// What a capture must hold to make it observable.
    pub observable_with: &'static str,
    /// Where the rule comes from (RFC and section, paper, registry).
    pub source: &'static str,
}

/// One check.
pub trait Audit: Sync {
    /// What it is.
    fn meta(&self) -> &'static Meta;
    /// Its judgement of one fact; none when the fact does not concern it.
    fn audit(&self, policy: &Policy, fact: Fact<'_>) -> Vec<Outcome>;
}

/// A control.
#[derive(Debug)]
pub struct Control {
    /// Such as `NS-01`.
    pub id: &'static str,
    /// Its title.
    pub title: &'static str,
    /// Requirement level.
    pub requirement: &'static str,
    /// Assurance levels that require it.
    pub levels: &'static [&'static str],
    /// STRIDE classes.
    pub stride: &'static [&'static str],
    /// AATT ids.
    pub aatt: &'static [&'static str],
}
