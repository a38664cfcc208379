//! None of the host's pinned keys in the validated chain.
//! Source: RFC 7469 §2.6 for what a pin is and what it is compared with.

use super::{Kept, KeptPath as Path, Shown};
use crate::control::{Audit, Fact, Meta, Outcome, Severity, Wants};
use crate::policy::{HostPins, Policy};
use crate::proto::tls::TlsHandshake;

pub(super) struct Pin;

static META: Meta = Meta {
    id: "NS-02.pin",
    title: "Pinned key missing",
    severity: Severity::Critical,
    attack: &["T1557"],
    wants: Wants::Certificates,
    observable_with: "pins in the policy, and the server's certificate",
    source: "RFC 7469 section 2.6; network.certificates.pinning",
};

impl Audit for Pin {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn audit(&self, policy: &Policy, fact: Fact<'_>) -> Vec<Outcome> {
        let Fact::Certificates(shown) = fact else {
            return Vec::new();
        };
        let pins = &policy.network.certificates.pinning.pins;
        if pins.is_empty() {
            return vec![Outcome::not_observed(&META, NO_PINS)];
        }
        judge(shown, pins)
    }
}

const NO_PINS: &str = "no pins given";

fn judge(shown: Shown<'_>, pins: &[HostPins]) -> Vec<Outcome> {
    let validation = shown.validation();
    let path = validation.map(|validation| Path {
        spkis: validation
            .path
            .iter()
            .map(|cert| cert.spki_sha256)
            .collect(),
        is_trusted: validation.is_trusted(),
        leaf: super::leaf_detail(validation),
    });
    of_path(
        shown.tls,
        shown.host(),
        path.as_ref().map_err(|why| *why),
        pins,
    )
}

/// The same of a row of the table.
pub(super) fn of_kept(policy: &Policy, kept: &Kept) -> Vec<Outcome> {
    let pins = &policy.network.certificates.pinning.pins;
    if pins.is_empty() {
        return vec![Outcome::not_observed(&META, NO_PINS)];
    }
    of_path(&kept.tls, kept.host.as_deref(), kept.path(), pins)
}

fn of_path(
    tls: &TlsHandshake,
    host: Option<&str>,
    path: Result<&Path, &'static str>,
    pins: &[HostPins],
) -> Vec<Outcome> {
    let Some(host) = host else {
        let why = "the client named no server (no SNI) that pins could be looked up for";
        return vec![Outcome::not_observed(&META, why)];
    };
    let mut of_host = pins.iter().filter(|pins| applies(pins, host)).peekable();
    // Hosts without pins are not this check's business.
    if of_host.peek().is_none() {
        return Vec::new();
    }
    let path = match path {
        Ok(path) => path,
        Err(why) => return vec![Outcome::not_observed(&META, why)],
    };
    let pinned: Vec<[u8; 32]> = of_host
        .flat_map(|pins| &pins.pins)
        .map(|pin| pin.sha256)
        .collect();
    let matches = path.spkis.iter().any(|spki| pinned.contains(spki));
    if matches && path.is_trusted {
        return vec![Outcome::passed(&META)];
    }
    let reason = match matches {
        true => format!("a pinned key of `{host}` is in the chain, but the chain is not trusted"),
        false => format!("no certificate of the chain has a pinned key of `{host}`"),
    };
    let detail = path.leaf.clone();
    vec![super::violation(
        tls,
        &META,
        Severity::Critical,
        detail,
        reason,
    )]
}

/// Whether these pins are for this host, or for its parents.
fn applies(pins: &HostPins, host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.eq_ignore_ascii_case(&pins.host) {
        return true;
    }
    let parent = host.len().checked_sub(pins.host.len()).and_then(|at| {
        let (above, end) = host.split_at_checked(at)?;
        (end.eq_ignore_ascii_case(&pins.host) && above.ends_with('.')).then_some(())
    });
    pins.include_subdomains && parent.is_some()
}
