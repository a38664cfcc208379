//! Chains as of packet time: paths to a trusted root (RFC 5280 §6), who a
//! certificate stands for (RFC 9525), and all that is wrong, not only the
//! first. Gives facts; which of them violate a policy is `control`'s business.

mod cert;
mod crl;
mod ct;
mod der;
mod keys;
mod lints;
mod names;
mod ocsp;
mod path;
mod profile;
mod revocation;
mod sig;
mod sources;
mod store;

#[cfg(test)]
mod limbo;

pub use cert::Cert;
pub use crl::Crl;
pub use ct::{CtLogs, Sct, SctSource, SctStatus, Transparency};
pub use lints::lints;
pub use ocsp::Response;
pub use path::{Class, Fault, Kind};
pub use revocation::{CrlStatus, OcspAnswer, OcspSource, OcspStatus, Problem, Revocation};
pub use sources::{Evidence, GivenLists};
#[cfg(test)]
pub(crate) use store::pem_certificates;
pub use store::{AdditionalRoots, Store, StoreChoice};

use crate::proto::tls::TlsHandshake;
use crate::proto::x509::Certificate;
use crate::time::{CaptureTime, NANOS_PER_SECOND};
use foldhash::quality::RandomState;
use hashbrown::HashTable;
use names::{Reference, stands_for};
use path::{Clock, Walk};
use sha2::{Digest, Sha256};
use sources::Relevant;
use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// What became of a chain.
#[derive(Clone, Debug)]
pub struct Validation {
    /// The server's own certificate; `None` when it does not parse.
    pub leaf: Option<Arc<Cert>>,
    /// The best path, leaf first; ends with the anchor where there is one.
    pub path: Vec<Arc<Cert>>,
    /// Whether the path ends at a root of the store, trusted then or not.
    pub anchored: bool,
    /// What the store says of the anchor: its origin or purpose.
    pub anchor_origin: String,
    /// Everything wrong with the path.
    pub faults: Vec<Fault>,
    /// Certificates of the path that came from elsewhere in the capture.
    pub completed_by: Vec<[u8; 32]>,
    /// Whether certificates of the path were revoked.
    pub revocation: Revocation,
    /// The server's certificate in transparency logs.
    pub transparency: Transparency,
}

/// How the name that the client asked for compares with the certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostMatch {
    /// A name of the certificate stands for it.
    Stands,
    /// None does; these are its names, or the first of them.
    Differs(String),
    /// Only the common name would, which no client may look at (RFC 9525 §6.3).
    CommonNameOnly(String),
    /// The client named nobody who could be compared.
    NoReference,
}

impl Validation {
    /// Faults of one class.
    pub fn of(&self, class: Class) -> impl Iterator<Item = &Fault> {
        self.faults
            .iter()
            .filter(move |fault| fault.kind.class() == class)
    }

    /// Whether the path leads to a root that was trusted, with nothing wrong
    /// that a client may not pass over. Dates are apart: see [`Class::Expiration`].
    pub fn is_trusted(&self) -> bool {
        self.anchored && self.of(Class::Chain).next().is_none()
    }

    /// Whether the path leads to a root that browsers or systems ship.
    pub fn is_public(&self) -> bool {
        self.anchored && [store::MOZILLA, store::SYSTEM_ORIGIN].contains(&&*self.anchor_origin)
    }

    /// Compares the certificate's names with a host name or address.
    pub fn stands_for(&self, host: &str) -> HostMatch {
        let Some(leaf) = &self.leaf else {
            return HostMatch::NoReference;
        };
        let Some(reference) = Reference::read(host) else {
            return HostMatch::NoReference;
        };
        let names = leaf.alternative_names();
        if names.iter().any(|name| stands_for(name, &reference)) {
            return HostMatch::Stands;
        }
        let has_hosts = names
            .iter()
            .any(|name| matches!(name, names::GeneralName::Dns(_) | names::GeneralName::Ip(_)));
        if !has_hosts {
            let cn = names::GeneralName::Dns(leaf.label.as_bytes().into());
            if stands_for(&cn, &reference) {
                return HostMatch::CommonNameOnly(leaf.label.to_string());
            }
        }
        let shown: Vec<String> = names
            .iter()
            .filter_map(|name| match name {
                names::GeneralName::Dns(name) => Some(String::from_utf8_lossy(name).into_owned()),
                names::GeneralName::Ip(bytes) => ip_text(bytes),
                _ => None,
            })
            .take(4)
            .collect();
        HostMatch::Differs(match shown.as_slice() {
            [] => "no host name at all".to_owned(),
            shown => shown.join(", "),
        })
    }
}

fn ip_text(bytes: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(v4).to_string());
    }
    let v6 = <[u8; 16]>::try_from(bytes).ok()?;
    Some(IpAddr::from(v6).to_string())
}

/// Certificates from elsewhere in the capture, by their subjects.
#[derive(Debug, Default)]
pub struct Pool {
    by_subject: BTreeMap<Box<[u8]>, Vec<Arc<Cert>>>,
}

/// Certificates tried for one subject.
const MAX_SAME_SUBJECT: usize = 16;

impl Pool {
    /// Adds what can stand above another certificate; the rest is passed over.
    pub fn add(&mut self, der: &Arc<[u8]>) {
        let Some(cert) = Cert::parse(der).filter(Cert::is_ca) else {
            return;
        };
        let same = self.by_subject.entry(cert.subject_key.clone()).or_default();
        let at = same.partition_point(|known| known.fingerprint < cert.fingerprint);
        if same
            .get(at)
            .is_none_or(|known| known.fingerprint != cert.fingerprint)
        {
            same.insert(at, Arc::new(cert));
            same.truncate(MAX_SAME_SUBJECT);
        }
    }

    fn of(&self, subject: &[u8]) -> &[Arc<Cert>] {
        self.by_subject.get(subject).map_or(&[], Vec::as_slice)
    }
}

/// What one handshake is judged with beside its own chain.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// CAs of the whole capture, once all of it is known.
    pub pool: Option<&'a Pool>,
    /// Responses and lists of the capture.
    pub evidence: &'a Evidence,
    /// Of those, what had passed by this packet.
    pub until: u64,
}

/// What a result depends on apart from the chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct With {
    pooled: bool,
    /// SHA-256 over staples, timestamps and evidence; `None` without any.
    extra: Option<[u8; 32]>,
}

/// A result and the seconds for which it holds.
#[derive(Debug)]
struct Remembered {
    chain: Box<[[u8; 32]]>,
    with: With,
    from: i64,
    until: i64,
    validation: Arc<Validation>,
}

/// Results kept; beyond it the memory begins anew, which changes no result.
const MAX_REMEMBERED: usize = 16_384;

/// Validates chains, each once for each span of time in which nothing changes.
///
/// Shared by all shards: what it remembers is what it would compute again.
#[derive(Debug)]
pub struct Validator {
    store: Store,
    lists: GivenLists,
    logs: CtLogs,
    hasher: RandomState,
    remembered: Mutex<HashTable<Remembered>>,
    signatures: path::Signatures,
}

impl Validator {
    /// A validator that trusts this store.
    pub fn new(store: Store) -> Self {
        Self {
            store,
            lists: GivenLists::default(),
            logs: CtLogs::built_in(),
            hasher: RandomState::default(),
            remembered: Mutex::default(),
            signatures: path::Signatures::default(),
        }
    }

    /// The same with revocation lists of the user.
    #[must_use]
    pub fn with_lists(self, lists: GivenLists) -> Self {
        Self { lists, ..self }
    }

    /// The same with other transparency logs.
    #[must_use]
    pub fn with_logs(self, logs: CtLogs) -> Self {
        Self { logs, ..self }
    }

    /// What it trusts.
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// Revocation lists of the user.
    pub const fn lists(&self) -> &GivenLists {
        &self.lists
    }

    /// Transparency logs that it knows.
    pub const fn logs(&self) -> &CtLogs {
        &self.logs
    }

    /// Validates the chain of a handshake at its time; `None` without a chain.
    pub fn handshake(
        &self,
        tls: &TlsHandshake,
        around: Surroundings<'_>,
    ) -> Option<Arc<Validation>> {
        if tls.chain.is_empty() {
            return None;
        }
        let plain = tls.ocsp_staple.is_none() && tls.sct_list.is_none();
        if plain && around.evidence.is_empty() {
            return Some(self.chain(&tls.chain, tls.ts, around.pool));
        }
        let now = seconds(tls.ts);
        let (base, from, until) = self.base(&tls.chain, now, around.pool);
        let relevant = around
            .evidence
            .about(&base.path, around.until, &self.signatures);
        if plain && relevant.is_empty() {
            return Some(base);
        }
        let with = With {
            pooled: around.pool.is_some(),
            extra: Some(extra(tls, &relevant)),
        };
        let judge = || {
            let mut clock = Clock::new(now);
            (clock.from, clock.until) = (from, until);
            let mut validation = Validation::clone(&base);
            self.inquire(&mut validation, Some(tls), &relevant, &mut clock);
            (validation, clock)
        };
        Some(self.remember(&tls.chain, with, now, judge).0)
    }

    /// Validates a chain, leaf first, at a moment, by itself.
    pub fn chain(
        &self,
        chain: &[Arc<Certificate>],
        at: CaptureTime,
        pool: Option<&Pool>,
    ) -> Arc<Validation> {
        self.base(chain, seconds(at), pool).0
    }

    fn base(
        &self,
        chain: &[Arc<Certificate>],
        now: i64,
        pool: Option<&Pool>,
    ) -> (Arc<Validation>, i64, i64) {
        let with = With {
            pooled: pool.is_some(),
            extra: None,
        };
        self.remember(chain, with, now, || {
            let mut clock = Clock::new(now);
            let mut validation = self.validate(chain, &mut clock, pool);
            self.inquire(&mut validation, None, &Relevant::default(), &mut clock);
            (validation, clock)
        })
    }

    /// The result for this chain, judged once; and the seconds for which it holds.
    fn remember(
        &self,
        chain: &[Arc<Certificate>],
        with: With,
        now: i64,
        judge: impl FnOnce() -> (Validation, Clock),
    ) -> (Arc<Validation>, i64, i64) {
        let key = || chain.iter().map(|certificate| certificate.fingerprint);
        let hash = self.hash(with, key());
        let remembered = || {
            self.remembered
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        if let Some(known) = remembered().find(hash, |known| {
            (known.from..known.until).contains(&now)
                && known.with == with
                && known.chain.iter().copied().eq(key())
        }) {
            return (Arc::clone(&known.validation), known.from, known.until);
        }
        let (validation, clock) = judge();
        let validation = Arc::new(validation);
        let mut table = remembered();
        if table.len() >= MAX_REMEMBERED {
            table.clear();
        }
        let entry = Remembered {
            chain: key().collect(),
            with,
            from: clock.from,
            until: clock.until,
            validation: Arc::clone(&validation),
        };
        table.insert_unique(hash, entry, |known| {
            self.hash(known.with, known.chain.iter().copied())
        });
        (validation, clock.from, clock.until)
    }

    fn hash(&self, with: With, chain: impl Iterator<Item = [u8; 32]>) -> u64 {
        chain.fold(self.hasher.hash_one(with), |hash, fingerprint| {
            self.hasher.hash_one((hash, fingerprint))
        })
    }

    /// Asks what is known of the path beside its certificates: revocation and
    /// transparency.
    fn inquire(
        &self,
        validation: &mut Validation,
        tls: Option<&TlsHandshake>,
        found: &Relevant,
        clock: &mut Clock,
    ) {
        let staple = tls.and_then(|tls| tls.ocsp_staple.as_ref());
        let more = tls.map_or(&[][..], |tls| &tls.ocsp_more);
        let read = |der: &Arc<[u8]>| Response::parse(der);
        let staples: Vec<Option<Response>> = match staple.is_some() || !more.is_empty() {
            true => std::iter::once(staple.and_then(read))
                .chain(more.iter().map(read))
                .collect(),
            false => Vec::new(),
        };
        let scts_of_staple = validation
            .path
            .first()
            .zip(validation.path.get(1))
            .and_then(|(leaf, issuer)| {
                let single = staples.first()?.as_ref()?.of(leaf, issuer)?;
                single.scts.clone()
            });
        validation.transparency = ct::Inspector {
            logs: &self.logs,
            signatures: &self.signatures,
            clock,
        }
        .run(
            &validation.path,
            tls.and_then(|tls| tls.sct_list.as_deref()),
            scts_of_staple.as_deref(),
        );
        validation.revocation = revocation::Inquiry {
            signatures: &self.signatures,
            clock,
            staples,
            stapled: staple.is_some(),
            given: self.lists.lists(),
            found,
        }
        .run(&validation.path, validation.anchored);
    }

    fn validate(
        &self,
        chain: &[Arc<Certificate>],
        clock: &mut Clock,
        pool: Option<&Pool>,
    ) -> Validation {
        let mut certs: Vec<Option<Arc<Cert>>> = chain
            .iter()
            .map(|certificate| Cert::parse(&certificate.der).map(Arc::new))
            .collect();
        let Some(leaf) = certs.first_mut().and_then(Option::take) else {
            let fingerprint = chain.first().map(|leaf| leaf.fingerprint);
            return Validation {
                leaf: None,
                path: Vec::new(),
                anchored: false,
                anchor_origin: String::new(),
                faults: vec![Fault {
                    kind: Kind::Malformed,
                    fingerprint: fingerprint.unwrap_or_default(),
                    text: "the server's certificate does not parse".to_owned(),
                }],
                completed_by: Vec::new(),
                revocation: Revocation::default(),
                transparency: Transparency::default(),
            };
        };
        let sent: Vec<Arc<Cert>> = certs.into_iter().flatten().collect();
        let found = Walk::new(&self.store, &self.signatures, &sent, pool, clock).run(&leaf);
        let was_sent = |cert: &Arc<Cert>| {
            chain
                .iter()
                .any(|sent| sent.fingerprint == cert.fingerprint)
        };
        let inner =
            found.path.len() - usize::from(found.anchor.is_some() && !found.path.is_empty());
        let completed_by = found
            .path
            .iter()
            .take(inner)
            .filter(|cert| !was_sent(cert))
            .map(|cert| cert.fingerprint)
            .collect();
        Validation {
            leaf: Some(leaf),
            anchored: found.anchor.is_some(),
            anchor_origin: found.anchor.unwrap_or_default(),
            path: found.path,
            faults: found.faults,
            completed_by,
            revocation: Revocation::default(),
            transparency: Transparency::default(),
        }
    }

    /// Whether other certificates of the capture could complete this chain.
    pub fn is_incomplete(&self, validation: &Validation) -> bool {
        !validation.anchored
            && validation
                .faults
                .iter()
                .any(|fault| fault.kind == Kind::UnknownIssuer)
    }
}

/// Packet time in whole seconds.
fn seconds(at: CaptureTime) -> i64 {
    at.as_nanos().div_euclid(NANOS_PER_SECOND)
}

/// What tells handshakes of one chain apart: staples, timestamps, evidence.
fn extra(tls: &TlsHandshake, relevant: &Relevant) -> [u8; 32] {
    let mut hash = Sha256::new();
    let staples = tls.ocsp_staple.iter().chain(&tls.ocsp_more);
    let blobs = staples.map(|staple| (b's', &**staple));
    let scts = tls.sct_list.iter().map(|scts| (b't', &**scts));
    let responses = relevant.responses.iter();
    let responses = responses.map(|response| (b'r', &response.fingerprint[..]));
    let lists = relevant
        .lists
        .iter()
        .map(|list| (b'l', &list.fingerprint[..]));
    hash.update([u8::from(relevant.left_out)]);
    for (kind, bytes) in blobs.chain(scts).chain(responses).chain(lists) {
        hash.update([kind]);
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    }
    hash.finalize().into()
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// A moment in whole seconds, for people.
pub(crate) fn moment(seconds: i64) -> String {
    let text = CaptureTime::from_unix(seconds, 0).to_string();
    match text.split_once('.') {
        Some((whole, _)) => format!("{whole}Z"),
        None => text,
    }
}
