//! Facts and policy in, outcomes out. A check is one file and one line in its
//! control's registry; it sees no bytes and keeps no state.

pub mod basis;
pub mod docs;
pub mod ns01;
pub mod ns02;
pub mod ns03;
pub mod ns04;
pub mod suites;
#[cfg(test)]
pub(crate) mod testing;

use crate::evidence::PacketRef;
use crate::flow::{FlowHead, FlowRecord};
use crate::pki::Validation;
use crate::policy::Policy;
use crate::proto::SessionFacts;
use crate::proto::plain::PlaintextFacts;
use crate::proto::plain::http::HttpTransaction;
use crate::proto::tls::TlsHandshake;
use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

pub use crate::severity::Severity;

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
    /// What its findings are called, where the check's own title says too much
    /// or too little. The same for one detail.
    pub title: Option<&'static str>,
    /// Why, in words.
    pub reason: std::borrow::Cow<'static, str>,
    /// The number that the reason begins with; a finding of several outcomes
    /// states their sum.
    pub amount: Option<Amount>,
    /// Where in the reason a list begins, separated by [`LIST`]; a finding of
    /// several outcomes lists what any of them does. What stands before it is
    /// the same for one detail.
    pub lists: Option<usize>,
    /// The packet that shows it, where that is not where the session's
    /// evidence begins.
    pub at: Option<PacketRef>,
}

/// Between the parts of a list in a reason.
pub const LIST: &str = ", ";

/// How many of what a violation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount {
    /// How many.
    pub number: u64,
    /// Whether there were more than were counted.
    pub at_least: bool,
    /// Of what.
    pub unit: &'static Unit,
}

/// How a sentence with an amount begins.
#[derive(Debug, PartialEq, Eq)]
pub struct Unit {
    /// Before the number.
    pub before: &'static str,
    /// After the number one.
    pub one: &'static str,
    /// After every other number.
    pub many: &'static str,
}

impl Amount {
    /// Both together. Sums do not depend on the order.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            number: self.number.saturating_add(other.number),
            at_least: self.at_least || other.at_least,
            unit: self.unit,
        }
    }

    /// The same sentence about another amount.
    pub fn instead(self, total: Self, sentence: &str) -> Option<String> {
        let rest = sentence.strip_prefix(&self.to_string())?;
        Some(format!("{total}{rest}"))
    }
}

impl std::fmt::Display for Amount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Unit { before, one, many } = self.unit;
        let least = if self.at_least { "at least " } else { "" };
        let what = if self.number == 1 { one } else { many };
        write!(f, "{before}{least}{} {what}", self.number)
    }
}

/// What a check can be asked about.
#[derive(Clone, Copy, Debug)]
pub enum Fact<'a> {
    /// One TLS handshake of a flow.
    Tls(&'a FlowRecord, &'a TlsHandshake),
    /// A flow with payload that is nothing known: neither TLS nor a protocol.
    Unrecognised(&'a FlowRecord),
    /// What a flow said outside TLS.
    Plaintext(&'a FlowRecord, &'a PlaintextFacts),
    /// A handshake with what became of its certificates.
    Certificates(ns02::Shown<'a>),
    /// One HTTP transaction of a flow.
    Http(&'a FlowHead, &'a HttpTransaction),
}

/// Which facts a check wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// [`Fact::Tls`].
    Tls,
    /// [`Fact::Plaintext`].
    Plaintext,
    /// [`Fact::Http`].
    Http,
    /// Both, and [`Fact::Unrecognised`].
    Any,
    /// [`Fact::Certificates`].
    Certificates,
    /// [`Fact::Certificates`] with what the other checks said of it.
    Outcomes,
    /// Rows of a run's tables: see [`ns04`].
    Tables,
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

/// The controls that this version judges.
pub const CONTROLS: &[Control] = &[
    Control {
        id: "NS-01",
        title: "TLS enforcement",
        requirement: "MUST",
        levels: &["L2", "L3"],
        stride: &["Information Disclosure", "Tampering"],
        aatt: &["AATT-E1"],
    },
    Control {
        id: "NS-02",
        title: "Certificate validation",
        requirement: "MUST",
        levels: &["L2", "L3"],
        stride: &["Spoofing", "Tampering"],
        aatt: &["AATT-C5"],
    },
    Control {
        id: "NS-03",
        title: "API endpoint security",
        requirement: "MUST",
        levels: &["L2", "L3"],
        stride: &["Spoofing", "Tampering", "Denial of Service"],
        aatt: &["AATT-C5", "AATT-D1"],
    },
    Control {
        id: "NS-04",
        title: "Network traffic analysis",
        requirement: "MUST",
        levels: &["L3"],
        stride: &["Information Disclosure"],
        aatt: &["AATT-E1"],
    },
];

/// The control that a check belongs to.
pub fn control_of(check_id: &str) -> Option<&'static Control> {
    let id = check_id
        .split_once('.')
        .map_or(check_id, |(control, _)| control);
    CONTROLS.iter().find(|control| control.id == id)
}

/// Checks of all controls.
const CHECKS: usize = ns01::CHECKS.len() + ns02::CHECKS.len() + ns03::CHECKS.len();

/// Every check of single sessions, sorted by id. Those that take many flows to
/// see are [`ns04::DETECTORS`].
pub const REGISTRY: &[&dyn Audit] = &joined::<CHECKS>(&[ns01::CHECKS, ns02::CHECKS, ns03::CHECKS]);

/// The checks of several controls, one after the other.
const fn joined<const N: usize>(
    parts: &[&'static [&'static dyn Audit]],
) -> [&'static dyn Audit; N] {
    let mut all = [parts[0][0]; N];
    let (mut part, mut at) = (0, 0);
    while part < parts.len() {
        let mut check = 0;
        while check < parts[part].len() {
            all[at] = parts[part][check];
            at += 1;
            check += 1;
        }
        part += 1;
    }
    all
}

/// Whether the policy asks for a check, or for any of a control.
pub fn is_enabled(policy: &Policy, id: &str) -> bool {
    match control_of(id).map(|control| control.id) {
        Some("NS-01") => policy.network.tls.enabled,
        Some("NS-02") => ns02::is_enabled(policy, id),
        Some("NS-04") => policy.monitoring.network.enabled,
        _ => true,
    }
}

/// What every check is, sorted by id.
pub fn metas() -> impl Iterator<Item = &'static Meta> {
    let audits = REGISTRY.iter().map(|check| check.meta());
    audits.chain(ns04::DETECTORS.iter().map(|check| check.meta()))
}

/// What a check is, by its id.
pub fn meta_of(check_id: &str) -> Option<&'static Meta> {
    metas().find(|meta| meta.id == check_id)
}

/// Every outcome of one flow.
#[derive(Debug, Default)]
pub struct AuditResult {
    /// For each handshake, in their order.
    pub tls: Vec<Vec<Outcome>>,
    /// For what was said outside TLS.
    pub plaintext: Vec<Outcome>,
}

/// What the facts of a flow are wanted as.
const OF_TLS: &[Wants] = &[Wants::Tls, Wants::Any];
const OF_CERTIFICATES: &[Wants] = &[Wants::Certificates];
const OF_OUTCOMES: &[Wants] = &[Wants::Outcomes];
const OF_PLAINTEXT: &[Wants] = &[Wants::Plaintext, Wants::Any];
const OF_ANY: &[Wants] = &[Wants::Any];

/// The checks that want a fact, in the registry's order: looked up once, since
/// every flow asks.
fn wanting(wants: &'static [Wants]) -> &'static [&'static dyn Audit] {
    type Lists = Vec<(&'static [Wants], Vec<&'static dyn Audit>)>;
    static LISTS: LazyLock<Lists> = LazyLock::new(|| {
        let all = [OF_TLS, OF_CERTIFICATES, OF_OUTCOMES, OF_PLAINTEXT, OF_ANY];
        let of = |wants: &'static [Wants]| {
            let checks = REGISTRY.iter().copied();
            let checks = checks.filter(|check| wants.contains(&check.meta().wants));
            (wants, checks.collect())
        };
        all.into_iter().map(of).collect()
    });
    let known = LISTS.iter().find(|(of, _)| *of == wants);
    known.map_or(&[], |(_, checks)| checks)
}

/// Judges a finished flow by every check. Pure: called inside the shards.
/// `validations` stand beside the handshakes.
pub fn audit_flow(
    policy: &Policy,
    flow: &FlowRecord,
    facts: &SessionFacts,
    validations: &[Option<Arc<Validation>>],
) -> AuditResult {
    let judge = |fact: Fact<'_>, wants: &'static [Wants]| -> Vec<Outcome> {
        wanting(wants)
            .iter()
            .filter(|check| is_enabled(policy, check.meta().id))
            .flat_map(|check| check.audit(policy, fact))
            .collect()
    };
    let of_handshake = |(at, tls): (usize, &TlsHandshake)| {
        let mut outcomes = judge(Fact::Tls(flow, tls), OF_TLS);
        let mut shown = ns02::Shown {
            flow,
            tls,
            validation: validations.get(at).and_then(Option::as_deref),
            before: &[],
        };
        let certificates = judge(Fact::Certificates(shown), OF_CERTIFICATES);
        shown.before = &certificates;
        outcomes.extend(judge(Fact::Certificates(shown), OF_OUTCOMES));
        outcomes.extend(certificates);
        outcomes
    };
    AuditResult {
        tls: facts.tls.iter().enumerate().map(of_handshake).collect(),
        plaintext: match facts.plaintext.as_deref() {
            Some(plain) => {
                let fact = Fact::Plaintext(flow, plain);
                let mut outcomes = judge(fact, OF_PLAINTEXT);
                let also = ns03::IN_PLAINTEXT.iter();
                outcomes.extend(also.flat_map(|check| check.audit(policy, fact)));
                outcomes
            }
            None if is_unrecognised(flow, facts) => judge(Fact::Unrecognised(flow), OF_ANY),
            None => Vec::new(),
        },
    }
}

/// Whether a flow of a transport that carries applications said something, and
/// nobody knows what.
fn is_unrecognised(flow: &FlowRecord, facts: &SessionFacts) -> bool {
    let transport = matches!(flow.ip_proto, 6 | 17 | 33 | 132 | 136);
    let said = flow.orig.bytes > 0 || flow.resp.bytes > 0;
    transport && said && facts.tls.is_empty() && flow.service.is_none() && facts.service.is_none()
}

/// Judges one HTTP transaction: whether it is an API's, and every check that it
/// can be judged by alone. Pure: called inside the shards.
pub fn audit_http(policy: &Policy, flow: &FlowHead, tx: &HttpTransaction) -> (bool, Vec<Outcome>) {
    let is_api = ns03::is_api(policy, flow, tx);
    let checks = if is_api { ns03::CHECKS } else { ns03::ANYWHERE };
    let outcomes = checks
        .iter()
        .flat_map(|check| check.audit(policy, Fact::Http(flow, tx)))
        .collect();
    (is_api, outcomes)
}

/// Longest detail or reason, bytes.
const MAX_TEXT: usize = 512;

/// The beginning of a text from a capture: whole characters, at most so many bytes.
pub(crate) fn cut(text: &str, max: usize) -> &str {
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

impl Outcome {
    /// The control holds.
    pub fn passed(meta: &'static Meta) -> Self {
        Self::new(meta, Status::Passed, Severity::Info, String::new(), "")
    }

    /// Violated: `failed` from `medium` on, `warned` below.
    pub fn violated(
        meta: &'static Meta,
        severity: Severity,
        detail: impl Into<String>,
        reason: impl Into<Cow<'static, str>>,
    ) -> Self {
        let status = if severity >= Severity::Medium {
            Status::Failed
        } else {
            Status::Warned
        };
        Self::new(meta, status, severity, detail.into(), reason)
    }

    /// Violated so many times: the reason is the amount and the `rest`.
    pub fn counted(
        meta: &'static Meta,
        severity: Severity,
        detail: impl Into<String>,
        amount: Amount,
        rest: &str,
    ) -> Self {
        let reason = format!("{amount}{rest}");
        Self {
            amount: Some(amount),
            ..Self::violated(meta, severity, detail, reason)
        }
    }

    /// The same, whose findings are called so.
    #[must_use]
    pub fn titled(self, title: &'static str) -> Self {
        Self {
            title: Some(title),
            ..self
        }
    }

    /// The peer refused what the control forbids.
    pub fn refused(
        meta: &'static Meta,
        detail: impl Into<String>,
        reason: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(meta, Status::Refused, Severity::Info, detail.into(), reason)
    }

    /// This capture cannot show it.
    pub fn not_observed(meta: &'static Meta, reason: &'static str) -> Self {
        Self::new(
            meta,
            Status::NotObserved,
            Severity::Info,
            String::new(),
            reason,
        )
    }

    fn new(
        meta: &'static Meta,
        status: Status,
        severity: Severity,
        mut detail: String,
        reason: impl Into<Cow<'static, str>>,
    ) -> Self {
        let mut reason = reason.into();
        // Both may quote a capture, whose texts have no length of their own.
        if detail.len() > MAX_TEXT {
            detail.truncate(cut(&detail, MAX_TEXT).len());
        }
        if reason.len() > MAX_TEXT {
            let end = cut(&reason, MAX_TEXT).len();
            reason.to_mut().truncate(end);
        }
        Self {
            check_id: meta.id,
            status,
            severity,
            detail,
            title: None,
            reason,
            amount: None,
            lists: None,
            at: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_from_captures_are_cut_between_characters() {
        for (text, max, expected) in [
            ("abc", 3, "abc"),
            ("abc", 2, "ab"),
            ("aé", 2, "a"),
            ("é", 1, ""),
            ("", 0, ""),
        ] {
            assert_eq!(cut(text, max), expected, "{text} {max}");
        }
        let meta = REGISTRY[0].meta();
        let long = Outcome::violated(meta, Severity::High, "é".repeat(600), "x".repeat(600));
        assert_eq!((long.detail.len(), long.reason.len()), (512, 512));
    }

    #[test]
    fn a_carrier_of_tunnels_is_judged_by_the_flows_within() {
        let policy = Policy::built_in();
        let judged = |service: Option<&'static str>| {
            let mut flow = testing::flow(1, 0);
            flow.ip_proto = 17;
            flow.orig.bytes = 1_000;
            flow.service = service.map(Into::into);
            let audited = audit_flow(&policy, &flow, &SessionFacts::default(), &[]);
            let outcomes = audited.plaintext.iter();
            outcomes.map(|outcome| outcome.status).collect::<Vec<_>>()
        };
        assert_eq!(judged(None), [Status::NotObserved]);
        assert_eq!(judged(Some("vxlan")), []);
    }

    #[test]
    fn the_registry_is_sorted_unique_and_documented() {
        let ids: Vec<_> = metas().map(|meta| meta.id).collect();
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
        for meta in metas() {
            assert!(control_of(meta.id).is_some(), "{} has no control", meta.id);
            for text in [meta.title, meta.observable_with, meta.source] {
                assert!(text.len() > 8, "{}: {text:?}", meta.id);
            }
        }
    }

    /// The severities of the controls' document, written down apart from the code.
    #[test]
    fn severities_are_those_of_the_control() {
        let expected = [
            ("NS-01.cipher_not_allowed", "medium"),
            ("NS-01.cipher_offered", "info"),
            ("NS-01.cipher_suite", "high"),
            ("NS-01.dns_plaintext", "info"),
            ("NS-01.downgrade", "high"),
            ("NS-01.handshake", "high"),
            ("NS-01.http_upgrade", "high"),
            ("NS-01.key_exchange", "medium"),
            ("NS-01.plaintext", "high"),
            ("NS-01.signature", "medium"),
            ("NS-01.starttls", "medium"),
            ("NS-01.tls_preferred", "low"),
            ("NS-01.tls_version", "high"),
            ("NS-02.accepted_anyway", "critical"),
            ("NS-02.chain", "high"),
            ("NS-02.ct", "low"),
            ("NS-02.expiration", "high"),
            ("NS-02.expiring_soon", "low"),
            ("NS-02.hostname", "high"),
            ("NS-02.pin", "critical"),
            ("NS-02.refused", "info"),
            ("NS-02.revocation", "critical"),
            ("NS-02.self_signed", "medium"),
            ("NS-02.weak_key", "high"),
            ("NS-02.weak_signature", "medium"),
            ("NS-03.auth_missing", "high"),
            ("NS-03.authorization", "medium"),
            ("NS-03.content_type", "low"),
            ("NS-03.cookie", "low"),
            ("NS-03.credential_in_url", "high"),
            ("NS-03.credential_plaintext", "critical"),
            ("NS-03.header_size", "low"),
            ("NS-03.invalid_credential_accepted", "high"),
            ("NS-03.jwt", "high"),
            ("NS-03.rate_limit", "medium"),
            ("NS-03.request_size", "medium"),
            ("NS-03.security_headers", "low"),
            ("NS-04.base64_exfiltration", "high"),
            ("NS-04.dns_tunneling", "high"),
            ("NS-04.doh_tunneling", "medium"),
            ("NS-04.domain_generation", "medium"),
            ("NS-04.high_entropy_payload", "medium"),
            ("NS-04.http_c2", "high"),
            ("NS-04.icmp_tunneling", "high"),
            ("NS-04.indicator", "high"),
            ("NS-04.known_c2", "critical"),
            ("NS-04.long_connection", "low"),
            ("NS-04.periodic_beaconing", "high"),
            ("NS-04.rare_tls_client", "low"),
            ("NS-04.slow_exfiltration", "medium"),
            ("NS-04.unknown_destination", "high"),
            ("NS-04.volume_daily", "high"),
            ("NS-04.volume_hourly", "high"),
            ("NS-04.volume_single_request", "high"),
        ];
        let actual: Vec<_> = metas()
            .map(|meta| (meta.id, meta.severity.name()))
            .collect();
        assert_eq!(actual, expected);
    }
}
