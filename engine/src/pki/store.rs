//! Trusted roots. The default is Mozilla's programme as it was on the day of
//! the packet (`rules/roots`, rebuilt from dated releases of certifi); others
//! are the system's bundle and PEM files.

use super::cert::Cert;
use super::path::Clock;
use super::{hex, moment};
use crate::error::{Error, Result};
use base64::Engine as _;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const HISTORY: &str = include_str!("../../../rules/roots/mozilla.tsv");
const DISTRUST: &str = include_str!("../../../rules/roots/distrust.tsv");
const ROOTS: &str = include_str!("../../../rules/roots/mozilla.pem");

/// Origin of Mozilla's roots.
pub(super) const MOZILLA: &str = "Mozilla";

/// Origin of this system's.
pub(super) const SYSTEM_ORIGIN: &str = "the system's store";

/// Beginning of the names of stores that hold them.
const MOZILLA_PREFIX: &str = "mozilla";

/// Where systems keep their roots: Debian and its kin, Fedora, SUSE, Alpine and BSD.
const SYSTEM: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Largest PEM file that is read, bytes.
const MAX_PEM: u64 = 32 << 20;

/// Which roots are trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StoreChoice {
    /// Mozilla's, as of packet time.
    #[default]
    MozillaAtCapture,
    /// Mozilla's of the latest release known.
    Mozilla,
    /// This system's.
    System,
    /// Of a PEM file, or of the files of a folder.
    Path(PathBuf),
    /// None but the policy's own.
    Nothing,
}

/// Roots of the policy: a PEM file and what it is for.
pub type AdditionalRoots = (PathBuf, String);

/// One root.
#[derive(Debug)]
pub(super) struct Anchor {
    pub(super) cert: Arc<Cert>,
    pub(super) origin: String,
    /// When it was in the store, in seconds: from, until.
    spans: Vec<(i64, i64)>,
    /// What of it browsers do not accept.
    distrust: Vec<Distrust>,
}

/// Certificates below a root that browsers do not accept although it is in the store.
#[derive(Debug)]
struct Distrust {
    /// From when on, in seconds.
    since: i64,
    /// Issued from this moment on.
    from: i64,
    /// Issued before this moment.
    before: i64,
    /// CAs whose certificates are exempt.
    except: Vec<&'static str>,
}

impl Anchor {
    /// Why it is not trusted now for what stands below it in `path`, the leaf
    /// first; `None` when it is.
    pub(super) fn trust(&self, clock: &mut Clock, path: &[Arc<Cert>]) -> Option<String> {
        self.removed(clock).or_else(|| self.distrusted(clock, path))
    }

    fn distrusted(&self, clock: &mut Clock, path: &[Arc<Cert>]) -> Option<String> {
        let leaf = path.first().filter(|_| path.len() > 1)?;
        let rule = self.distrust.iter().find(|rule| {
            (rule.from..rule.before).contains(&leaf.not_before)
                && !path.iter().any(|cert| rule.except.contains(&&*cert.label))
                && clock.reached(rule.since)
        })?;
        let label = &self.cert.label;
        let what = match (rule.from, rule.before) {
            (i64::MIN, i64::MAX) => String::new(),
            (i64::MIN, before) => format!(" issued before {}", day(before)),
            (from, _) => format!(" issued from {} on", day(from)),
        };
        Some(format!(
            "`{label}` is a root whose certificates{what} browsers did not accept any more since {}",
            day(rule.since)
        ))
    }

    /// Why the store does not hold it now.
    fn removed(&self, clock: &mut Clock) -> Option<String> {
        let mut gone = None;
        for &(from, until) in &self.spans {
            if !clock.reached(from) {
                break;
            }
            if !clock.reached(until) {
                return None;
            }
            gone = Some(until);
        }
        let label = &self.cert.label;
        Some(match (gone, self.spans.first()) {
            (Some(until), _) => format!(
                "`{label}` is a root that {} no longer held since {}",
                self.origin,
                day(until)
            ),
            (None, Some((from, _))) => format!(
                "`{label}` is a root that {} held only from {} on",
                self.origin,
                day(*from)
            ),
            (None, None) => format!("`{label}` is not trusted"),
        })
    }
}

fn day(seconds: i64) -> String {
    moment(seconds).chars().take(10).collect()
}

/// A set of trusted roots.
#[derive(Debug)]
pub struct Store {
    name: String,
    sha256: [u8; 32],
    anchors: usize,
    by_subject: HashMap<Box<[u8]>, Vec<Anchor>>,
}

impl Default for Store {
    /// Mozilla's roots as of packet time.
    fn default() -> Self {
        let mut store = Self::empty("mozilla-at-capture");
        store.add_mozilla(true);
        store.settle();
        store
    }
}

impl Store {
    fn empty(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            sha256: [0; 32],
            anchors: 0,
            by_subject: HashMap::new(),
        }
    }

    /// Reads the chosen roots and those of the policy.
    ///
    /// # Errors
    ///
    /// When a file cannot be read or holds no certificate.
    pub fn load(choice: &StoreChoice, additional: &[AdditionalRoots]) -> Result<Self> {
        let mut store = Self::empty(match choice {
            StoreChoice::MozillaAtCapture => "mozilla-at-capture",
            StoreChoice::Mozilla => "mozilla",
            StoreChoice::System => "system",
            StoreChoice::Path(_) => "file",
            StoreChoice::Nothing => "policy",
        });
        match choice {
            StoreChoice::MozillaAtCapture => store.add_mozilla(true),
            StoreChoice::Mozilla => store.add_mozilla(false),
            StoreChoice::System => {
                let found = SYSTEM.iter().map(Path::new).find(|path| path.exists());
                let Some(path) = found else {
                    return Err(Error::io(
                        SYSTEM[0],
                        "this system has no bundle of roots",
                        std::io::ErrorKind::NotFound.into(),
                    ));
                };
                store.add_file(path, SYSTEM_ORIGIN)?;
            }
            StoreChoice::Path(path) => store.add_path(path, "the given roots")?,
            StoreChoice::Nothing => {}
        }
        for (path, purpose) in additional {
            let origin = match purpose.as_str() {
                "" => "the policy".to_owned(),
                purpose => format!("the policy ({purpose})"),
            };
            store.add_path(path, &origin)?;
        }
        if !additional.is_empty() {
            store.name.push_str("+policy");
        }
        store.settle();
        Ok(store)
    }

    /// A store of these certificates alone; what does not parse is left out.
    pub fn of_certificates<'a>(name: &str, ders: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut store = Self::empty(name);
        for der in ders {
            store.add(der.into(), name, vec![(i64::MIN, i64::MAX)], Vec::new());
        }
        store.settle();
        store
    }

    /// Its name, for rows and the manifest.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// SHA-256 over its roots and their dates.
    pub fn sha256(&self) -> String {
        hex(&self.sha256)
    }

    /// Roots.
    pub const fn len(&self) -> usize {
        self.anchors
    }

    /// Whether nothing is trusted.
    pub const fn is_empty(&self) -> bool {
        self.anchors == 0
    }

    pub(super) fn of(&self, subject: &[u8]) -> &[Anchor] {
        self.by_subject.get(subject).map_or(&[], Vec::as_slice)
    }

    fn add_mozilla(&mut self, at_capture: bool) {
        let mut spans: HashMap<&str, Vec<(i64, i64)>> = HashMap::new();
        let rows = || HISTORY.lines().filter(|line| !line.starts_with('#'));
        let fields = |line: &'static str| {
            let mut fields = line.split('\t');
            Some((fields.next()?, fields.next()?, fields.next()?))
        };
        // Earlier captures are judged by the first release.
        let first = rows().filter_map(fields).map(|(_, from, _)| from).min();
        for (digest, from, until) in rows().filter_map(fields) {
            let start = match Some(from) == first {
                true => i64::MIN,
                false => midnight(from).unwrap_or(i64::MIN),
            };
            let end = midnight(until).unwrap_or(i64::MAX);
            if at_capture {
                spans.entry(digest).or_default().push((start, end));
            } else if end == i64::MAX {
                spans.insert(digest, vec![(i64::MIN, i64::MAX)]);
            }
        }
        for der in pem_certificates(ROOTS) {
            let digest = hex(&Sha256::digest(&der));
            if let Some(mut spans) = spans.remove(digest.as_str()) {
                spans.sort_unstable();
                self.add(der.into(), MOZILLA, spans, distrust_of(&digest));
            }
        }
    }

    fn add(
        &mut self,
        der: Arc<[u8]>,
        origin: &str,
        spans: Vec<(i64, i64)>,
        distrust: Vec<Distrust>,
    ) -> bool {
        let Some(cert) = Cert::parse(&der) else {
            return false;
        };
        let same = self.by_subject.entry(cert.subject_key.clone()).or_default();
        // The first origin stands, but a root that the policy adds is trusted always.
        match same
            .iter_mut()
            .find(|known| known.cert.fingerprint == cert.fingerprint)
        {
            Some(known) => {
                known.spans = spans;
                known.distrust = distrust;
                origin.clone_into(&mut known.origin);
            }
            None => {
                self.anchors += 1;
                same.push(Anchor {
                    cert: Arc::new(cert),
                    origin: origin.to_owned(),
                    spans,
                    distrust,
                });
            }
        }
        true
    }

    fn add_path(&mut self, path: &Path, origin: &str) -> Result<()> {
        if !path.is_dir() {
            return self.add_file(path, origin);
        }
        let entries = std::fs::read_dir(path)
            .map_err(|source| Error::io(path, "cannot read the folder of roots", source))?;
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        files.retain(|path| {
            path.is_file()
                && path
                    .extension()
                    .is_some_and(|end| end == "pem" || end == "crt" || end == "cer")
        });
        files.sort();
        if files.is_empty() {
            return Err(no_certificate(path));
        }
        files
            .iter()
            .try_for_each(|file| self.add_file(file, origin))
    }

    fn add_file(&mut self, path: &Path, origin: &str) -> Result<()> {
        let read = || {
            let len = std::fs::metadata(path)?.len();
            if len > MAX_PEM {
                return Err(std::io::Error::other(format!(
                    "is longer than {MAX_PEM} bytes"
                )));
            }
            std::fs::read(path)
        };
        let bytes = read().map_err(|source| Error::io(path, "cannot read the roots", source))?;
        let always = || vec![(i64::MIN, i64::MAX)];
        let mut added = false;
        match std::str::from_utf8(&bytes) {
            Ok(text) => {
                for der in pem_certificates(text) {
                    added |= self.add(der.into(), origin, always(), Vec::new());
                }
            }
            Err(_) => added = self.add(bytes.into(), origin, always(), Vec::new()),
        }
        if added {
            Ok(())
        } else {
            Err(no_certificate(path))
        }
    }

    /// All roots are there: their order and digest.
    fn settle(&mut self) {
        let mut lines: Vec<String> = Vec::with_capacity(self.anchors);
        for same in self.by_subject.values_mut() {
            same.sort_by_key(|anchor| anchor.cert.fingerprint);
            lines.extend(same.iter().map(|anchor| {
                format!(
                    "{} {:?} {}\n",
                    hex(&anchor.cert.fingerprint),
                    anchor.spans,
                    anchor.origin
                )
            }));
        }
        lines.sort_unstable();
        let mut hash = Sha256::new();
        lines.iter().for_each(|line| hash.update(line));
        if self.name.starts_with(MOZILLA_PREFIX) {
            hash.update(DISTRUST);
        }
        self.sha256 = hash.finalize().into();
    }
}

/// The rules of a root in `rules/roots/distrust.tsv`.
fn distrust_of(digest: &str) -> Vec<Distrust> {
    let rule = |line: &'static str| {
        let mut fields = line.split('\t');
        let mut next = || fields.next();
        if next()? != digest {
            return None;
        }
        let (since, from, before, except) = (next()?, next()?, next()?, next()?);
        Some(Distrust {
            since: midnight(since)?,
            from: midnight(from).unwrap_or(i64::MIN),
            before: midnight(before).unwrap_or(i64::MAX),
            except: except.split('|').filter(|name| !name.is_empty()).collect(),
        })
    };
    DISTRUST.lines().filter_map(rule).collect()
}

fn no_certificate(path: &Path) -> Error {
    let reason = "needs a certificate in PEM or DER";
    Error::io(path, "holds no root", std::io::Error::other(reason))
}

/// `2022-12-07` as seconds since 1970.
fn midnight(date: &str) -> Option<i64> {
    let mut parts = date.split('-').map(str::parse::<i64>);
    let mut next = || parts.next()?.ok();
    let (year, month, day) = (next()?, next()?, next()?);
    Some(super::der::days_from_civil(year, month, day) * 86_400)
}

/// The certificates of PEM text (RFC 7468 §5); what does not decode is passed over.
pub(crate) fn pem_certificates(text: &str) -> impl Iterator<Item = Vec<u8>> {
    pem_blocks(text, "CERTIFICATE")
}

/// What stands between the lines of one label in PEM text (RFC 7468 §3).
pub(super) fn pem_blocks<'t>(text: &'t str, label: &str) -> impl Iterator<Item = Vec<u8>> + 't {
    let (begin, end) = (
        format!("-----BEGIN {label}-----"),
        format!("-----END {label}-----"),
    );
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let (_, after) = rest.split_once(begin.as_str())?;
            let Some((digits, after)) = after.split_once(end.as_str()) else {
                rest = "";
                continue;
            };
            rest = after;
            let digits: String = digits.split_whitespace().collect();
            let block = base64::engine::general_purpose::STANDARD.decode(digits);
            if let Ok(block) = block {
                return Some(block);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether Mozilla's store of that day trusted the root whose SHA-256 begins so.
    #[track_caller]
    fn trusted(store: &Store, digest: &str, date: &str, expected: bool) {
        let anchor = store
            .by_subject
            .values()
            .flatten()
            .find(|anchor| hex(&anchor.cert.fingerprint).starts_with(digest))
            .expect("the root is known");
        let mut clock = Clock::new(midnight(date).expect("a date"));
        assert_eq!(
            anchor.trust(&mut clock, &[]).is_none(),
            expected,
            "{digest} on {date}"
        );
    }

    /// Days on which releases of certifi took roots in or out; the events are
    /// public: TrustCor (2022-12-07), E-Tugra (2023-07-22), GLOBALTRUST
    /// (2024-07-04), and ISRG Root X2 and the Baltimore root's removal.
    #[test]
    fn verdicts_change_on_the_day_of_a_release() {
        let store = Store::default();
        for (digest, before, on, from_in_to_in) in [
            ("d40e9c86cd8f", "2022-12-06", "2022-12-07", (true, false)),
            ("b0bfd52bb0d7", "2023-07-21", "2023-07-22", (true, false)),
            ("9a296a5182d1", "2024-07-03", "2024-07-04", (true, false)),
            ("16af57a9f676", "2025-04-25", "2025-04-26", (true, false)),
            ("9a296a5182d1", "2021-05-29", "2021-05-30", (false, true)),
            ("db3517d1f673", "2019-11-27", "2019-11-28", (false, true)),
        ] {
            trusted(&store, digest, before, from_in_to_in.0);
            trusted(&store, digest, on, from_in_to_in.1);
        }
        // Before the first release, the first release stands.
        trusted(&store, "16af57a9f676", "2009-01-01", true);
    }

    /// A leaf issued on `issued`, below the root whose SHA-256 begins so.
    #[track_caller]
    fn accepted(digest: &str, issued: &str, below: &str, date: &str, expected: bool) {
        let store = Store::default();
        let anchor = store
            .by_subject
            .values()
            .flatten()
            .find(|anchor| hex(&anchor.cert.fingerprint).starts_with(digest))
            .expect("the root is known");
        let named = |label: &str, not_before| {
            let mut cert = Cert::parse(&anchor.cert.der).expect("it parses");
            (cert.label, cert.not_before) = (label.into(), not_before);
            Arc::new(cert)
        };
        let leaf = named("a server", midnight(issued).expect("a date"));
        let path = [leaf, named(below, 0), Arc::clone(&anchor.cert)];
        let mut clock = Clock::new(midnight(date).expect("a date"));
        assert_eq!(
            anchor.trust(&mut clock, &path).is_none(),
            expected,
            "{digest}, issued {issued}, on {date}"
        );
    }

    /// The dates are the browsers' announcements, named in the file.
    #[test]
    fn browsers_distrust_some_certificates_of_roots_in_the_store() {
        // Entrust: issued after 2024-11-30.
        accepted("43df5774b03e", "2024-11-30", "x", "2025-02-01", true);
        accepted("43df5774b03e", "2024-12-02", "x", "2025-02-01", false);
        // Symantec: issued before 2016-06-01 since Firefox 60, all since Firefox 64.
        accepted("9acfab7e43c8", "2016-05-01", "x", "2018-05-08", true);
        accepted("9acfab7e43c8", "2016-05-01", "x", "2018-05-09", false);
        accepted("9acfab7e43c8", "2017-05-01", "x", "2018-05-09", true);
        accepted("9acfab7e43c8", "2017-05-01", "x", "2018-12-11", false);
        accepted(
            "ff856a2d251d",
            "2017-05-01",
            "Apple IST CA 2 - G1",
            "2018-12-11",
            true,
        );
        // WoSign: issued after 2016-10-21, since Firefox 51.
        accepted("4b22d5a6aec9", "2016-11-01", "x", "2017-01-23", true);
        accepted("4b22d5a6aec9", "2016-11-01", "x", "2017-01-24", false);
        accepted("4b22d5a6aec9", "2016-10-21", "x", "2017-02-01", true);
    }

    #[test]
    fn the_store_of_today_has_today_s_roots_only() {
        let (then, now) = (
            Store::default(),
            Store::load(&StoreChoice::Mozilla, &[]).unwrap(),
        );
        assert!(now.len() > 100 && now.len() < then.len());
        assert_ne!(now.sha256(), then.sha256());
        assert_eq!(then.sha256(), Store::default().sha256());
    }

    #[test]
    fn files_without_a_root_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let choose = |path: &Path| Store::load(&StoreChoice::Path(path.to_owned()), &[]);
        assert!(choose(folder.path()).is_err());
        let file = folder.path().join("a.pem");
        assert!(choose(&file).is_err());
        std::fs::write(&file, "nothing").unwrap();
        assert!(choose(&file).is_err());
        let first = ROOTS
            .split_inclusive("-----END CERTIFICATE-----")
            .next()
            .unwrap();
        std::fs::write(&file, first).unwrap();
        assert_eq!(choose(&file).unwrap().len(), 1);
        assert_eq!(choose(folder.path()).unwrap().len(), 1);
        let both = Store::load(&StoreChoice::Nothing, &[(file, "tests".to_owned())]).unwrap();
        assert_eq!((both.len(), both.name()), (1, "policy+policy"));
    }
}
