//! The search for a path from a server's certificate to a root, and all that
//! is wrong with the best one. Depth first over what was sent, the store and
//! the rest of the capture, within a budget of signatures and steps.

use super::cert::{Cert, usage};
use super::names::{GeneralName, Within, wildcard_reaches, within};
use super::sig::{Verified, verify};
use super::store::Store;
use super::{Pool, keys, moment, profile};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What a fault means for whoever relies on the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// No client may accept it.
    Chain,
    /// Outside its dates.
    Expiration,
    /// A broken hash.
    WeakSignature,
    /// A key that can be found.
    WeakKey,
    /// Against the profile, but clients accept it.
    Profile,
    /// It could not be judged.
    Unknown,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Nobody who could have issued it is there.
    UnknownIssuer,
    /// Issued by itself, and not trusted.
    SelfSigned,
    /// The path ends at a self-issued CA that is not trusted.
    UntrustedRoot,
    /// Whoever is named as the issuer did not sign it.
    BadSignature,
    /// The store no longer, or not yet, held the root.
    RootNotTrusted,
    /// Not DER, or against RFC 5280's syntax.
    Malformed,
    /// Version 1 or 2 where extensions are needed.
    OldVersion,
    /// Issued by who is no CA.
    NotCa,
    /// keyUsage or extKeyUsage forbid this use.
    Usage,
    /// More CAs below than pathLenConstraint allows.
    PathLength,
    /// Outside the subtrees of a CA's name constraints.
    NameConstraints,
    /// A critical extension that nobody understands.
    UnknownCritical,
    /// A precertificate (RFC 6962 §3.1).
    Precertificate,
    /// The search gave up.
    Budget,
    /// After notAfter.
    Expired,
    /// Before notBefore.
    NotYetValid,
    /// MD2, MD5 or SHA-1.
    WeakSignature,
    /// Too short, a weak curve, a bad exponent, a known weakness.
    WeakKey,
    /// RFC 5280 or the CA/Browser Forum forbid it; clients let it pass.
    Profile,
    /// A signature algorithm that cannot be checked here.
    UnsupportedAlgorithm,
}

impl Kind {
    /// A word for tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnknownIssuer => "unknown_issuer",
            Self::SelfSigned => "self_signed",
            Self::UntrustedRoot => "untrusted_root",
            Self::BadSignature => "bad_signature",
            Self::RootNotTrusted => "root_not_trusted",
            Self::Malformed => "malformed",
            Self::OldVersion => "old_version",
            Self::NotCa => "not_a_ca",
            Self::Usage => "usage",
            Self::PathLength => "path_length",
            Self::NameConstraints => "name_constraints",
            Self::UnknownCritical => "unknown_critical_extension",
            Self::Precertificate => "precertificate",
            Self::Budget => "too_complex",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::WeakSignature => "weak_signature",
            Self::WeakKey => "weak_key",
            Self::Profile => "profile",
            Self::UnsupportedAlgorithm => "unsupported_algorithm",
        }
    }

    /// What it means.
    pub const fn class(self) -> Class {
        match self {
            Self::Expired | Self::NotYetValid => Class::Expiration,
            Self::WeakSignature => Class::WeakSignature,
            Self::WeakKey => Class::WeakKey,
            Self::Profile => Class::Profile,
            Self::UnsupportedAlgorithm => Class::Unknown,
            _ => Class::Chain,
        }
    }

    /// How much worse a path is for it.
    const fn weight(self) -> u64 {
        match self {
            Self::UnknownIssuer | Self::SelfSigned | Self::UntrustedRoot => 1_000_000,
            Self::BadSignature | Self::UnsupportedAlgorithm | Self::Budget => 2_000_000,
            Self::RootNotTrusted => 200_000,
            Self::Expired | Self::NotYetValid => 10_000,
            Self::WeakSignature | Self::WeakKey => 100,
            Self::Profile => 1,
            _ => 100_000,
        }
    }
}

/// One thing wrong with one certificate of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What.
    pub kind: Kind,
    /// With which certificate.
    pub fingerprint: [u8; 32],
    /// In words.
    pub text: String,
}

/// Packet time in seconds, and for how long its answers stay the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    now: i64,
    pub(super) from: i64,
    pub(super) until: i64,
}

impl Clock {
    pub(super) const fn new(now: i64) -> Self {
        Self {
            now,
            from: i64::MIN,
            until: i64::MAX,
        }
    }

    /// Whether a moment has come.
    pub(super) fn reached(&mut self, moment: i64) -> bool {
        if self.now >= moment {
            self.from = self.from.max(moment);
            true
        } else {
            self.until = self.until.min(moment);
            false
        }
    }
}

/// Signatures already checked, by what is signed and the signer's key.
#[derive(Debug, Default)]
pub(super) struct Signatures(Mutex<HashMap<SignedBy, Verified>>);

/// SHA-256 of what is signed (a certificate, a response, a list), and of the signer's SPKI.
pub(super) type SignedBy = ([u8; 32], [u8; 32]);

/// Signatures remembered; beyond it the memory begins anew.
const MAX_SIGNATURES: usize = 65_536;

impl Signatures {
    fn check(&self, cert: &Cert, issuer: &Cert, budget: &mut u32) -> Option<Verified> {
        // What is remembered costs the budget as well, or a result would
        // depend on what came before.
        *budget = budget.checked_sub(1)?;
        Some(self.of_cert(cert, issuer))
    }

    /// Whether `issuer` signed `cert`.
    pub(super) fn of_cert(&self, cert: &Cert, issuer: &Cert) -> Verified {
        self.remembered((cert.fingerprint, issuer.spki_sha256), || {
            verify(&cert.sig_alg, &issuer.key, cert.tbs(), cert.signature())
        })
    }

    /// What `check` says of this pair, asked once.
    pub(super) fn remembered(&self, pair: SignedBy, check: impl FnOnce() -> Verified) -> Verified {
        let table = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&known) = table().get(&pair) {
            return known;
        }
        let verified = check();
        let mut table = table();
        if table.len() >= MAX_SIGNATURES {
            table.clear();
        }
        table.insert(pair, verified);
        verified
    }
}

/// Signatures checked for one chain.
const MAX_CHECKS: u32 = 64;
/// Certificates entered in one search.
const MAX_STEPS: u32 = 256;
/// Certificates of one path.
const MAX_PATH: usize = 12;
/// Comparisons of names with subtrees in one search, over all of its paths.
const MAX_COMPARISONS: usize = 250_000;

/// The best path.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) path: Vec<Arc<Cert>>,
    /// The anchor's origin.
    pub(super) anchor: Option<String>,
    pub(super) faults: Vec<Fault>,
}

/// A search.
pub(super) struct Walk<'a> {
    store: &'a Store,
    signatures: &'a Signatures,
    sent: &'a [Arc<Cert>],
    pool: Option<&'a Pool>,
    clock: &'a mut Clock,
    path: Vec<Arc<Cert>>,
    checks_left: u32,
    steps_left: u32,
    comparisons_left: usize,
    best: Option<(u64, Found)>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        store: &'a Store,
        signatures: &'a Signatures,
        sent: &'a [Arc<Cert>],
        pool: Option<&'a Pool>,
        clock: &'a mut Clock,
    ) -> Self {
        Self {
            store,
            signatures,
            sent,
            pool,
            clock,
            path: Vec::new(),
            checks_left: MAX_CHECKS,
            steps_left: MAX_STEPS,
            comparisons_left: MAX_COMPARISONS,
            best: None,
        }
    }

    pub(super) fn run(mut self, leaf: &Arc<Cert>) -> Found {
        self.path.push(Arc::clone(leaf));
        self.extend();
        self.best.map(|(_, found)| found).unwrap_or_default()
    }

    /// Whether nothing better can be found.
    fn is_done(&self) -> bool {
        matches!(&self.best, Some((cost, _)) if *cost < 10)
    }

    fn extend(&mut self) {
        let Some(top) = self.path.last().cloned() else {
            return;
        };
        let Some(left) = self.steps_left.checked_sub(1) else {
            return self.dead_end(Kind::Budget, "the chain has too many possible paths");
        };
        self.steps_left = left;
        // The certificate itself may be trusted, or stand for a trusted key.
        for anchor in self.store.of(&top.subject_key) {
            if anchor.cert.spki_sha256 == top.spki_sha256 {
                if anchor.cert.fingerprint != top.fingerprint {
                    continue;
                }
                let distrust = anchor.trust(self.clock, &self.path);
                self.complete(distrust, anchor.origin.clone());
                return;
            }
        }
        let (mut bad, mut unsupported, mut known) = (false, false, false);
        let store = self.store;
        for anchor in store.of(&top.issuer_key) {
            known = true;
            match self
                .signatures
                .check(&top, &anchor.cert, &mut self.checks_left)
            {
                Some(Verified::Good) => {
                    self.path.push(Arc::clone(&anchor.cert));
                    let distrust = anchor.trust(self.clock, &self.path);
                    self.complete(distrust, anchor.origin.clone());
                    self.path.pop();
                }
                Some(Verified::Bad) => bad = true,
                Some(Verified::Unsupported) => unsupported = true,
                None => return self.dead_end(Kind::Budget, "the chain has too many signatures"),
            }
            if self.is_done() {
                return;
            }
        }
        let sent = self.sent;
        let pooled = self.pool.map_or(&[][..], |pool| pool.of(&top.issuer_key));
        let mut entered = false;
        for issuer in sent.iter().chain(pooled) {
            if issuer.subject_key != top.issuer_key {
                continue;
            }
            let is_known = |on_path: &Arc<Cert>| {
                on_path.spki_sha256 == issuer.spki_sha256
                    && on_path.subject_key == issuer.subject_key
            };
            if self.path.iter().any(is_known) {
                continue;
            }
            known = true;
            match self.signatures.check(&top, issuer, &mut self.checks_left) {
                Some(Verified::Good) if self.path.len() < MAX_PATH => {
                    entered = true;
                    self.path.push(Arc::clone(issuer));
                    self.extend();
                    self.path.pop();
                }
                Some(Verified::Good) => {
                    return self.dead_end(Kind::Budget, "the path is too long");
                }
                Some(Verified::Bad) => bad = true,
                Some(Verified::Unsupported) => unsupported = true,
                None => return self.dead_end(Kind::Budget, "the chain has too many signatures"),
            }
            if self.is_done() {
                return;
            }
        }
        if entered {
            return;
        }
        let what = if top.self_issued() {
            match self.signatures.check(&top, &top, &mut self.checks_left) {
                Some(Verified::Good | Verified::Unsupported) if self.path.len() == 1 => {
                    (Kind::SelfSigned, "is self-signed, and not trusted")
                }
                Some(Verified::Good | Verified::Unsupported) => {
                    (Kind::UntrustedRoot, "is a root that is not trusted")
                }
                _ => (
                    Kind::BadSignature,
                    "names itself as its issuer, but did not sign itself",
                ),
            }
        } else if unsupported {
            (
                Kind::UnsupportedAlgorithm,
                "is signed by an algorithm that cannot be checked here",
            )
        } else if known && bad {
            (
                Kind::BadSignature,
                "was not signed by the certificate that bears its issuer's name",
            )
        } else {
            (
                Kind::UnknownIssuer,
                "was issued by who is neither in the chain nor trusted",
            )
        };
        self.dead_end(what.0, what.1);
    }

    fn dead_end(&mut self, kind: Kind, text: &str) {
        let Some(top) = self.path.last() else { return };
        let mut text = format!("`{}` {text}", top.label);
        if kind == Kind::UnknownIssuer {
            let issuer = super::names::issuer_label(top);
            text = format!("{text}: `{issuer}`");
        }
        let fault = Fault {
            kind,
            fingerprint: top.fingerprint,
            text,
        };
        self.offer(vec![fault], None);
    }

    /// The path ends at an anchor; `distrust` says why it is not trusted now.
    fn complete(&mut self, distrust: Option<String>, origin: String) {
        let fingerprint = self.path.last().map(|top| top.fingerprint);
        let faults = distrust
            .map(|text| Fault {
                kind: Kind::RootNotTrusted,
                fingerprint: fingerprint.unwrap_or_default(),
                text,
            })
            .into_iter()
            .collect();
        self.offer(faults, Some(origin));
    }

    /// Judges the path and keeps it when it is better than what was found.
    fn offer(&mut self, mut faults: Vec<Fault>, anchor: Option<String>) {
        inspect(&self.path, anchor.is_some(), self.clock, &mut faults);
        constraints(&self.path, &mut self.comparisons_left, &mut faults);
        let public = anchor
            .as_deref()
            .is_some_and(|origin| origin == super::store::MOZILLA);
        profile::inspect(&self.path, anchor.is_some(), public, &mut faults);
        let cost = faults
            .iter()
            .fold(0_u64, |sum, fault| sum.saturating_add(fault.kind.weight()));
        if self.best.as_ref().is_none_or(|(best, _)| cost < *best) {
            let path = self.path.clone();
            self.best = Some((
                cost,
                Found {
                    path,
                    anchor,
                    faults,
                },
            ));
        }
    }
}

/// Everything that RFC 5280 §6.1 asks of a path.
fn inspect(path: &[Arc<Cert>], anchored: bool, clock: &mut Clock, faults: &mut Vec<Fault>) {
    let last = path.len().saturating_sub(1);
    // CAs between the one at hand and the leaf that are not self-issued.
    let mut between = 0_u32;
    for (at, cert) in path.iter().enumerate() {
        let is_anchor = anchored && at == last;
        let mut note = |kind, text: String| {
            faults.push(Fault {
                kind,
                fingerprint: cert.fingerprint,
                text: format!("`{}` {text}", cert.label),
            });
        };
        if !is_anchor || at == 0 {
            if clock.reached(cert.not_after.saturating_add(1)) {
                note(Kind::Expired, format!("expired {}", moment(cert.not_after)));
            }
            if !clock.reached(cert.not_before) {
                let from = moment(cert.not_before);
                note(Kind::NotYetValid, format!("is valid only from {from}"));
            }
        }
        let self_signed_end = at == last && cert.self_issued();
        if let Some(hash) = cert.sig_alg.hash().filter(|hash| hash.is_weak())
            && !is_anchor
            && !self_signed_end
        {
            note(
                Kind::WeakSignature,
                format!("is signed with {}", hash.name()),
            );
        }
        if let Some(why) = keys::weakness(&cert.key) {
            note(Kind::WeakKey, why);
        }
        for what in &cert.malformed {
            note(Kind::Malformed, format!("is malformed: {what}"));
        }
        for oid in &cert.ext.unknown_critical {
            note(
                Kind::UnknownCritical,
                format!("has an unknown critical extension {oid}"),
            );
        }
        if cert.ext.poison {
            note(
                Kind::Precertificate,
                "is a precertificate (RFC 6962 §3.1)".to_owned(),
            );
        }
        if at == 0 {
            leaf(cert, path.len() == 1, &mut note);
        } else {
            ca(cert, is_anchor, between, &mut note);
            if !cert.self_issued() {
                between = between.saturating_add(1);
            }
        }
    }
}

fn leaf(cert: &Cert, alone: bool, note: &mut impl FnMut(Kind, String)) {
    if cert.version != 3 && !alone {
        note(
            Kind::OldVersion,
            format!("is of X.509 version {}", cert.version),
        );
    }
    if let Some(usage) = cert.ext.ext_key_usage
        && !usage.server
        && !usage.any
        && !usage.gated_crypto
    {
        note(Kind::Usage, "is not for servers (extKeyUsage)".to_owned());
    }
    let handshake = usage::DIGITAL_SIGNATURE | usage::KEY_ENCIPHERMENT | usage::KEY_AGREEMENT;
    if !cert.allows(handshake) && !cert.is_ca() {
        note(
            Kind::Usage,
            "may not take part in a handshake (keyUsage)".to_owned(),
        );
    }
}

fn ca(cert: &Cert, is_anchor: bool, between: u32, note: &mut impl FnMut(Kind, String)) {
    if cert.version != 3 {
        // Old roots are of version 1; what makes them CAs is the store.
        if !is_anchor {
            note(
                Kind::OldVersion,
                format!("is a CA of X.509 version {}", cert.version),
            );
        }
        return;
    }
    match cert.ext.basic {
        Some(basic) if basic.ca => {
            if basic.path_len.is_some_and(|most| between > most) {
                note(
                    Kind::PathLength,
                    format!("allows fewer CAs below it than {between}"),
                );
            }
        }
        _ => note(
            Kind::NotCa,
            "issued a certificate, but is no CA (basicConstraints)".to_owned(),
        ),
    }
    if !cert.allows(usage::KEY_CERT_SIGN) {
        note(
            Kind::Usage,
            "may not sign certificates (keyUsage)".to_owned(),
        );
    }
    if let Some(usage) = cert.ext.ext_key_usage
        && !is_anchor
        && !usage.server
        && !usage.any
        && !usage.gated_crypto
    {
        note(
            Kind::Usage,
            "may not issue for servers (extKeyUsage)".to_owned(),
        );
    }
}

/// RFC 5280 §6.1.3 (b) and (c), §6.1.4 (g): names against the subtrees of every CA above.
fn constraints(path: &[Arc<Cert>], comparisons_left: &mut usize, faults: &mut Vec<Fault>) {
    for (at, ca) in path.iter().enumerate().skip(1) {
        let Some((subtrees, _)) = &ca.ext.constraints else {
            continue;
        };
        for (below, cert) in path.iter().enumerate().take(at) {
            if below > 0 && cert.self_issued() {
                continue;
            }
            let mut problem = None;
            // An empty name lies in every subtree, and is none.
            let subject = (!cert.subject_key.is_empty())
                .then(|| GeneralName::Directory(cert.subject_key.clone()));
            for name in cert.alternative_names().iter().chain(&subject) {
                let wanted = subtrees
                    .permitted
                    .len()
                    .saturating_add(subtrees.excluded.len());
                let left = comparisons_left.checked_sub(wanted);
                *comparisons_left = left.unwrap_or(0);
                if left.is_none() {
                    problem = Some((Kind::Budget, "has too many names for its CA's constraints"));
                    break;
                }
                if !allowed(name, &subtrees.permitted, &subtrees.excluded) {
                    problem = Some((
                        Kind::NameConstraints,
                        "has a name that its CA may not certify (name constraints)",
                    ));
                    break;
                }
            }
            if let Some((kind, text)) = problem {
                faults.push(Fault {
                    kind,
                    fingerprint: cert.fingerprint,
                    text: format!("`{}` {text}", cert.label),
                });
            }
        }
    }
}

fn allowed(name: &GeneralName, permitted: &[GeneralName], excluded: &[GeneralName]) -> bool {
    let same_other = |base: &GeneralName| matches!((name, base), (GeneralName::Other(a), GeneralName::Other(b)) if a == b);
    let mut of_kind = false;
    let mut inside = false;
    for base in permitted {
        match within(name, base) {
            Within::Yes => (of_kind, inside) = (true, true),
            Within::No => of_kind = true,
            Within::Malformed => return false,
            // What form the other names have is not known: none can be permitted.
            Within::OtherKind if same_other(base) => return false,
            Within::OtherKind => {}
        }
    }
    for base in excluded {
        match within(name, base) {
            Within::Yes | Within::Malformed => return false,
            Within::OtherKind if same_other(base) => return false,
            Within::No | Within::OtherKind => {}
        }
        if wildcard_reaches(name, base) {
            return false;
        }
    }
    inside || !of_kind
}
