//! The certificate was not to be accepted, and the client went on to send data:
//! it does not validate. Source: OWASP MASVS-NETWORK-1; CWE-295.

use super::{Kept, Shown};
use crate::control::Status;
use crate::control::{Amount, Audit, Fact, Meta, Outcome, Severity, Unit, Wants};
use crate::policy::Policy;
use crate::proto::tls::TlsHandshake;

pub(super) struct AcceptedAnyway;

static META: Meta = Meta {
    id: "NS-02.accepted_anyway",
    title: "Bad certificate accepted",
    severity: Severity::Critical,
    attack: &["T1557"],
    wants: Wants::Outcomes,
    observable_with: "the server's certificate: TLS 1.2 or below, or a key log",
    source: "CWE-295; controls NS-02",
};

static SENT: Unit = Unit {
    before: "the client sent ",
    one: "byte",
    many: "bytes",
};

impl Audit for AcceptedAnyway {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn audit(&self, _policy: &Policy, fact: Fact<'_>) -> Vec<Outcome> {
        let Fact::Certificates(shown) = fact else {
            return Vec::new();
        };
        judge(shown)
    }
}

/// The checks that a validating client makes.
pub const DECISIVE: [&str; 5] = [
    "NS-02.chain",
    "NS-02.expiration",
    "NS-02.hostname",
    "NS-02.pin",
    "NS-02.revocation",
];

fn judge(shown: Shown<'_>) -> Vec<Outcome> {
    let failed = shown
        .before
        .iter()
        .filter(|outcome| outcome.status == Status::Failed)
        .map(|outcome| outcome.check_id);
    let leaf = shown.validation().map(super::leaf_detail);
    of_leaf(shown.tls, leaf, failed.collect())
}

/// The same of a row of the table.
pub(super) fn of_kept(kept: &Kept, failed: Vec<&str>) -> Vec<Outcome> {
    let leaf = kept.path().map(|path| path.leaf.clone());
    of_leaf(&kept.tls, leaf, failed)
}

fn of_leaf(
    tls: &TlsHandshake,
    leaf: Result<String, &'static str>,
    mut failed: Vec<&str>,
) -> Vec<Outcome> {
    let leaf = match leaf {
        Ok(leaf) => leaf,
        Err(why) => return vec![Outcome::not_observed(&META, why)],
    };
    failed.retain(|id| DECISIVE.contains(id));
    failed.sort_unstable();
    failed.dedup();
    if failed.is_empty() {
        return match super::refused_by_client(tls) {
            Some(_) => Vec::new(),
            None => vec![Outcome::passed(&META)],
        };
    }
    let [client_bytes, _] = tls.app_bytes;
    if !tls.established || client_bytes == 0 {
        let why = "the certificate is bad, but the client is not seen to send data after it";
        return vec![Outcome::not_observed(&META, why)];
    }
    let failed: Vec<&str> = failed
        .iter()
        .map(|id| id.trim_start_matches("NS-02."))
        .collect();
    let failed = failed.join(", ");
    let detail = format!("{failed} {leaf}");
    let amount = Amount {
        number: client_bytes,
        at_least: false,
        unit: &SENT,
    };
    let rest = format!(" of application data although the certificate fails: {failed}");
    let severity = Severity::Critical;
    vec![Outcome::counted(&META, severity, detail, amount, &rest)]
}
