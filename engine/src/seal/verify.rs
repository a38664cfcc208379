//! Verifying a run: what is intact, what is not, down to the row group. The
//! manifest is as hostile as the files: names stay inside the folder, links are
//! not followed, sizes are bounded.

use super::file::Output;
use super::folder::{PARTIAL_PREFIX, manifest_mac};
use super::journal::{JournalKey, check_journal, journal_key_id, journal_path};
use super::key::{HmacSha256, Key, Purpose};
use super::manifest::{MANIFEST, MAX_MANIFEST_BYTES, Manifest, is_manifest_name, later_seal_key};
use crate::error::{Error, Result};
use crate::table::column::hex;
use hmac::Mac as _;
use rayon::prelude::*;
use rustix::fs::{Mode, OFlags};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Entries of a run folder that are looked at; a run has a dozen.
const MAX_ENTRIES: usize = 65_536;

/// What is wrong with a file of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trouble {
    /// It is named by the seal and not there.
    Missing,
    /// It is there and no seal names it.
    Added,
    /// It is a link, a folder or a device.
    NotAFile,
    /// It could not be read.
    Unreadable(String),
    /// Its bytes are not those that were sealed.
    Changed {
        /// Row groups that differ, from 0.
        row_groups: Vec<usize>,
        /// Whether something outside of every row group differs.
        outside: bool,
        /// Length now, where it differs.
        bytes: Option<u64>,
    },
    /// The manifest cannot be read as one.
    NotAManifest(String),
    /// The manifest was changed, or sealed with another key of the same id.
    BadSeal,
    /// The seal names a key that was not given.
    UnknownKey(String),
    /// The manifest belongs to another run, whose id this is.
    OtherRun(String),
    /// Two seals of the run disagree about what it holds.
    SealsDisagree,
    /// The journal of alerts beside the run is not what was written.
    BrokenJournal(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("is missing"),
            Self::Added => f.write_str("was added: no seal names it"),
            Self::NotAFile => f.write_str("is no regular file"),
            Self::Unreadable(why) => write!(f, "cannot be read: {why}"),
            Self::Changed {
                row_groups,
                outside,
                bytes,
            } => {
                f.write_str("was changed")?;
                if let Some(bytes) = bytes {
                    write!(f, "; it has {bytes} bytes now")?;
                }
                if !row_groups.is_empty() {
                    let list: Vec<_> = row_groups.iter().map(usize::to_string).collect();
                    write!(f, "; in row group {}", list.join(", "))?;
                }
                if *outside {
                    f.write_str("; outside of the row groups (header or footer)")?;
                }
                Ok(())
            }
            Self::NotAManifest(why) => write!(f, "is no manifest: it {why}"),
            Self::BadSeal => f.write_str("was changed: its HMAC does not verify under its key"),
            Self::UnknownKey(id) => {
                write!(f, "is sealed with key {id}, which was not given")
            }
            Self::OtherRun(id) => write!(f, "belongs to another run, {id:?}"),
            Self::SealsDisagree => f.write_str("names other outputs than the run's other seal"),
            Self::BrokenJournal(why) => write!(f, "is no journal of this run's alerts: {why}"),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, by its name in the run folder.
    pub file: String,
    /// What is wrong with it.
    pub trouble: Trouble,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.file, self.trouble)
    }
}

/// A seal of the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealSeen {
    /// Its file.
    pub file: String,
    /// Its key, as it says.
    pub key_id: String,
    /// Whether it was checked with that key and holds.
    pub verified: bool,
}

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// The run folder.
    pub folder: PathBuf,
    /// The run's id, of a manifest whose seal holds.
    pub run_id: Option<String>,
    /// The seals.
    pub seals: Vec<SealSeen>,
    /// Outputs checked.
    pub files: usize,
    /// Bytes checked.
    pub bytes: u64,
    /// What is wrong, by file.
    pub problems: Vec<Problem>,
    /// What is not wrong but worth knowing.
    pub notes: Vec<String>,
}

impl VerifyReport {
    /// Whether a seal holds and nothing is wrong.
    pub fn is_intact(&self) -> bool {
        self.problems.is_empty() && self.seals.iter().any(|seal| seal.verified)
    }

    /// Whether all that is wrong is that the right key was not given: nothing
    /// contradicts the seal, and nothing confirms it.
    pub fn only_lacks_key(&self) -> bool {
        !self.problems.is_empty()
            && self
                .problems
                .iter()
                .all(|problem| matches!(problem.trouble, Trouble::UnknownKey(_)))
    }
}

/// Verifies a run folder, or one output file of one, with whichever of `keys`
/// its seals name.
///
/// # Errors
///
/// When `path` is neither a folder nor a file, or cannot be listed. A broken
/// seal is no error but a report.
pub fn verify(path: &Path, keys: &[Key]) -> Result<VerifyReport> {
    Ok(examine(path, keys)?.report)
}

/// As [`verify`], and the journal of alerts beside the run folder, where there is one.
///
/// # Errors
///
/// As [`verify`].
pub fn verify_with_journal(path: &Path, keys: &[Key]) -> Result<VerifyReport> {
    let mut examined = examine(path, keys)?;
    if path.is_dir() {
        verify_journal(&mut examined, keys);
    }
    Ok(examined.report)
}

/// The journal belongs to this run: it begins with the HMAC of one of its seals.
fn verify_journal(examined: &mut Examined, keys: &[Key]) {
    let Some(journal) = journal_path(&examined.report.folder) else {
        return;
    };
    if journal.symlink_metadata().is_err() {
        return;
    }
    let name = journal
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let id = journal_key_id(&journal);
    let key = keys.iter().find(|key| Some(key.id()) == id);
    let Some(key) = key else {
        let trouble = match id {
            Some(id) => Trouble::UnknownKey(id),
            None => Trouble::BrokenJournal("it does not say which key it needs".to_owned()),
        };
        examined.report.problem(&name, trouble);
        return;
    };
    let contents = match check_journal(&journal, &JournalKey::of(key)) {
        Ok(contents) => contents,
        Err(why) => {
            examined.report.problem(&name, Trouble::BrokenJournal(why));
            return;
        }
    };
    let seals = &examined.trusted;
    let of_this_run = seals.iter().any(|(_, manifest, _)| {
        manifest.run_id == contents.run_id && manifest.hmac == contents.manifest_hmac
    });
    if !of_this_run && !seals.is_empty() {
        let why = format!("it belongs to another run, {:?}", contents.run_id);
        examined.report.problem(&name, Trouble::BrokenJournal(why));
        return;
    }
    let report = &mut examined.report;
    report.notes.push(format!(
        "{name}: {} alerts for {} destinations, {} deliveries owed; its chain of {} lines holds",
        contents.queued.len(),
        contents.destinations.len(),
        contents.owed(),
        contents.lines
    ));
    if contents.torn_bytes > 0 {
        report.notes.push(format!(
            "{name}: its last line was cut short, {} bytes; the next delivery removes it",
            contents.torn_bytes
        ));
    }
}

/// A verification and the manifests that it trusts.
pub(super) struct Examined {
    pub(super) report: VerifyReport,
    /// `(file, manifest, SHA-256 of the file)` of seals that hold, first seal first.
    pub(super) trusted: Vec<(String, Manifest, String)>,
    /// Every seal's file with key id and SHA-256.
    pub(super) seal_files: Vec<(String, String, String)>,
}

pub(super) fn examine(path: &Path, keys: &[Key]) -> Result<Examined> {
    let not_a_run = |reason: &str| Error::NotARun {
        path: path.to_owned(),
        reason: reason.to_owned(),
    };
    let absolute = path
        .canonicalize()
        .map_err(|e| Error::io(path, "cannot open the run", e))?;
    let (folder, only) = if absolute.is_dir() {
        (absolute, None)
    } else {
        let name = absolute.file_name().and_then(|name| name.to_str());
        let (Some(parent), Some(name)) = (absolute.parent(), name) else {
            return Err(not_a_run("no file of a run folder"));
        };
        (parent.to_owned(), Some(name.to_owned()))
    };
    let dir = File::open(&folder).map_err(|e| Error::io(&folder, "cannot open the run", e))?;
    let entries = entries(&folder)?;
    let mut report = VerifyReport {
        folder: folder.clone(),
        ..VerifyReport::default()
    };
    let folder_name = folder.file_name().unwrap_or_default().to_string_lossy();
    let keys: BTreeMap<String, &Key> = keys.iter().map(|key| (key.id(), key)).collect();
    let seals = read_seals(&dir, &entries, &keys, &folder_name, &mut report);

    if !entries.contains(MANIFEST) {
        report.problem(MANIFEST, Trouble::Missing);
    }
    unmask_changed_key_ids(&dir, &seals, &keys, &mut report);
    let believed = check_seals_agree(&seals, &mut report);
    check_files(&dir, &believed, &keys, only.as_deref(), &mut report);
    if only.is_none() {
        let named: BTreeSet<&str> = believed
            .iter()
            .flat_map(|seal| &seal.manifest.outputs)
            .map(|output| output.name.as_str())
            .collect();
        for entry in &entries {
            if !is_manifest_name(entry) && !named.contains(entry.as_str()) {
                report.problem(entry, Trouble::Added);
            }
        }
    } else if let Some(name) = only.as_deref()
        && !is_manifest_name(name)
        && !believed
            .iter()
            .any(|seal| seal.manifest.outputs.iter().any(|o| o.name == name))
    {
        report.problem(name, Trouble::Added);
    }
    report.problems.sort_by(|a, b| a.file.cmp(&b.file));
    report.problems.dedup();
    let seal_files = seals
        .iter()
        .map(|seal| {
            let manifest = &seal.manifest;
            (
                seal.file.clone(),
                manifest.key_id.clone(),
                seal.sha256.clone(),
            )
        })
        .collect();
    let trusted = seals
        .into_iter()
        .filter(|seal| seal.verified)
        .map(|seal| (seal.file, seal.manifest, seal.sha256))
        .collect();
    Ok(Examined {
        report,
        trusted,
        seal_files,
    })
}

impl VerifyReport {
    fn problem(&mut self, file: &str, trouble: Trouble) {
        self.problems.push(Problem {
            file: file.to_owned(),
            trouble,
        });
    }
}

struct Seal {
    file: String,
    manifest: Manifest,
    sha256: String,
    verified: bool,
}

fn entries(folder: &Path) -> Result<BTreeSet<String>> {
    let list = |e| Error::io(folder, "cannot list the run folder", e);
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(folder).map_err(list)? {
        let name = entry.map_err(list)?.file_name();
        // No file of ours has a name that is not text: what stands for it in
        // the report need only be recognisable.
        names.insert(name.to_string_lossy().into_owned());
        if names.len() > MAX_ENTRIES {
            return Err(Error::NotARun {
                path: folder.to_owned(),
                reason: format!("holds more than {MAX_ENTRIES} files"),
            });
        }
    }
    Ok(names)
}

fn read_seals(
    dir: &File,
    entries: &BTreeSet<String>,
    keys: &BTreeMap<String, &Key>,
    folder_name: &str,
    report: &mut VerifyReport,
) -> Vec<Seal> {
    let mut seals = Vec::new();
    // `manifest.json` sorts after `manifest.<hex>.json`; the first seal goes first.
    let mut names: Vec<&String> = entries
        .iter()
        .filter(|name| is_manifest_name(name))
        .collect();
    names.sort_by_key(|name| (*name != MANIFEST, *name));
    for name in names {
        let bytes = match read_small(dir, name) {
            Ok(bytes) => bytes,
            Err(trouble) => {
                report.problem(name, trouble);
                continue;
            }
        };
        let manifest = match Manifest::parse(&bytes) {
            Ok(manifest) => manifest,
            Err(why) => {
                report.problem(name, Trouble::NotAManifest(why));
                continue;
            }
        };
        let mut verified = false;
        match keys.get(&manifest.key_id) {
            None => {
                let id = manifest.key_id.clone();
                report.problem(name, Trouble::UnknownKey(id));
            }
            Some(key) => {
                verified = same(&manifest_mac(key, &manifest.sealed_text), &manifest.hmac);
                if !verified {
                    report.problem(name, Trouble::BadSeal);
                }
            }
        }
        if later_seal_key(name).is_some_and(|id| id != manifest.key_id) {
            report.problem(
                name,
                Trouble::NotAManifest("bears another key's id in its name".to_owned()),
            );
            verified = false;
        }
        if verified && manifest.run_id != folder_name {
            let trouble = if folder_name.starts_with(PARTIAL_PREFIX) {
                Trouble::NotAManifest("was never published: the run was cut off".to_owned())
            } else {
                Trouble::OtherRun(manifest.run_id.clone())
            };
            report.problem(name, trouble);
        }
        if verified && report.run_id.is_none() {
            report.run_id = Some(manifest.run_id.clone());
        }
        report.seals.push(SealSeen {
            file: name.clone(),
            key_id: manifest.key_id.clone(),
            verified,
        });
        seals.push(Seal {
            file: name.clone(),
            sha256: hex(&Sha256::digest(&bytes)),
            manifest,
            verified,
        });
    }
    seals
}

/// A manifest whose key id was changed looks as if its key were not at hand.
/// The HMAC of an output says otherwise: it was made with a key that is.
fn unmask_changed_key_ids(
    dir: &File,
    seals: &[Seal],
    keys: &BTreeMap<String, &Key>,
    report: &mut VerifyReport,
) {
    let key_list: Vec<&Key> = keys.values().copied().collect();
    for problem in &mut report.problems {
        if !matches!(problem.trouble, Trouble::UnknownKey(_)) {
            continue;
        }
        let seal = seals.iter().find(|seal| seal.file == problem.file);
        let outputs = seal.map(|seal| seal.manifest.outputs.as_slice());
        let smallest = outputs
            .unwrap_or_default()
            .iter()
            .min_by_key(|output| output.bytes);
        let Some(output) = smallest else { continue };
        if let Ok(measured) = measure(dir, output, &key_list)
            && measured
                .hmac_sha256
                .iter()
                .any(|mac| same(mac, &output.hmac_sha256))
        {
            problem.trouble = Trouble::BadSeal;
        }
    }
}

/// The seals whose outputs are to be checked: those that hold, or all where
/// none does. A seal of another key beside one that holds must agree with it,
/// and is then a note instead of a problem.
fn check_seals_agree<'a>(seals: &'a [Seal], report: &mut VerifyReport) -> Vec<&'a Seal> {
    let trusted: Vec<&Seal> = seals.iter().filter(|seal| seal.verified).collect();
    let Some(first) = trusted.first() else {
        return seals.iter().collect();
    };
    let contents = |seal: &Seal| -> Vec<(String, u64, String)> {
        let outputs = seal.manifest.outputs.iter();
        outputs
            .map(|o| (o.name.clone(), o.bytes, o.sha256.clone()))
            .collect()
    };
    let expected = contents(first);
    for seal in seals {
        let agrees = seal.manifest.run_id == first.manifest.run_id && contents(seal) == expected;
        if !agrees {
            report.problem(&seal.file, Trouble::SealsDisagree);
        } else if !seal.verified {
            report
                .problems
                .retain(|p| p.file != seal.file || !matches!(p.trouble, Trouble::UnknownKey(_)));
            report.notes.push(format!(
                "{} is sealed with key {}, which was not given; it agrees with the seal that was checked",
                seal.file, seal.manifest.key_id
            ));
        }
    }
    // A later seal vouches for the earlier ones, bit by bit.
    for seal in &trusted {
        for previous in &seal.manifest.previous_seals {
            match seals.iter().find(|other| other.file == previous.file) {
                None if report.problems.iter().any(|p| p.file == previous.file) => {}
                None => report.problem(&previous.file, Trouble::Missing),
                Some(other) if other.sha256 != previous.sha256 => {
                    report.problem(&previous.file, Trouble::BadSeal);
                }
                Some(_) => {}
            }
        }
    }
    trusted
}

fn check_files(
    dir: &File,
    seals: &[&Seal],
    keys: &BTreeMap<String, &Key>,
    only: Option<&str>,
    report: &mut VerifyReport,
) {
    let Some(first) = seals.first() else { return };
    let wanted: Vec<&Output> = first
        .manifest
        .outputs
        .iter()
        .filter(|output| only.is_none_or(|only| only == output.name))
        .collect();
    let used: Vec<(&Seal, &Key)> = seals
        .iter()
        .filter_map(|seal| Some((*seal, *keys.get(&seal.manifest.key_id)?)))
        .collect();
    let checked: Vec<(u64, Option<Trouble>)> = wanted
        .par_iter()
        .map(|output| {
            let key_list: Vec<&Key> = used.iter().map(|(_, key)| *key).collect();
            let measured = match measure(dir, output, &key_list) {
                Ok(measured) => measured,
                Err(trouble) => return (0, Some(trouble)),
            };
            // The seals agree on the digests; each has HMACs of its own.
            let macs_hold = used
                .iter()
                .zip(&measured.hmac_sha256)
                .all(|((seal, _), mac)| {
                    let mut listed = seal.manifest.outputs.iter();
                    let listed = listed.find(|other| other.name == output.name);
                    !seal.verified || listed.is_some_and(|other| same(&other.hmac_sha256, mac))
                });
            let intact = measured.bytes == output.bytes
                && same(&measured.sha256, &output.sha256)
                && measured.broken_groups.is_empty()
                && macs_hold;
            let trouble = (!intact).then(|| Trouble::Changed {
                // Where every row group is whole, the change lies outside of them.
                outside: measured.broken_groups.is_empty() && !output.row_groups.is_empty(),
                row_groups: measured.broken_groups.clone(),
                bytes: (measured.bytes != output.bytes).then_some(measured.bytes),
            });
            (measured.bytes, trouble)
        })
        .collect();
    for (output, (bytes, trouble)) in wanted.into_iter().zip(checked) {
        report.files += 1;
        report.bytes = report.bytes.saturating_add(bytes);
        if let Some(trouble) = trouble {
            report.problem(&output.name, trouble);
        }
    }
}

/// What a file holds now.
pub(super) struct Measured {
    pub(super) bytes: u64,
    pub(super) sha256: String,
    /// Under each key asked for.
    pub(super) hmac_sha256: Vec<String>,
    /// Row groups that differ.
    broken_groups: Vec<usize>,
}

/// Reads a file once, hashing the whole, and each row group.
pub(super) fn measure(dir: &File, output: &Output, keys: &[&Key]) -> Result<Measured, Trouble> {
    let mut file = open_plain(dir, &output.name)?;
    let unreadable = |e: std::io::Error| Trouble::Unreadable(e.to_string());
    let mut whole = Sha256::new();
    let mut macs: Vec<HmacSha256> = keys.iter().map(|key| key.mac(Purpose::File)).collect();
    let mut groups = output.row_groups.iter().enumerate().peekable();
    let mut group_digest = Sha256::new();
    let mut broken_groups = Vec::new();
    let mut buffer = vec![0_u8; 256 << 10];
    let mut at: u64 = 0;
    // One byte more than sealed shows that there is more; the rest of a file
    // that grew without end need not be read.
    let limit = output.bytes.saturating_add(1);
    while at < limit {
        let most = usize::try_from(limit - at)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let (window, _) = buffer.split_at_mut(most);
        let read = file.read(window).map_err(unreadable)?;
        let (bytes, _) = window.split_at(read);
        if bytes.is_empty() {
            break;
        }
        whole.update(bytes);
        for mac in &mut macs {
            mac.update(bytes);
        }
        let end = at + bytes.len() as u64;
        while let Some((index, group)) = groups.peek() {
            let group_end = group.offset + group.bytes;
            let from = usize::try_from(group.offset.saturating_sub(at)).unwrap_or(usize::MAX);
            let to = usize::try_from(group_end.min(end).saturating_sub(at)).unwrap_or(usize::MAX);
            group_digest.update(bytes.get(from..to).unwrap_or_default());
            if group_end > end {
                break;
            }
            if !same(&hex(&group_digest.finalize_reset()), &group.sha256) {
                broken_groups.push(*index);
            }
            groups.next();
        }
        at = end;
    }
    // Groups that the file no longer reaches.
    broken_groups.extend(groups.map(|(index, _)| index));
    let size = file.metadata().map_err(unreadable)?.len();
    Ok(Measured {
        bytes: size.max(at),
        sha256: hex(&whole.finalize()),
        hmac_sha256: macs
            .into_iter()
            .map(|mac| hex(&mac.finalize().into_bytes()))
            .collect(),
        broken_groups,
    })
}

fn read_small(dir: &File, name: &str) -> Result<Vec<u8>, Trouble> {
    let file = open_plain(dir, name)?;
    let mut bytes = Vec::new();
    file.take(MAX_MANIFEST_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| Trouble::Unreadable(e.to_string()))?;
    if bytes.len() as u64 > MAX_MANIFEST_BYTES {
        return Err(Trouble::NotAManifest("is too long for one".to_owned()));
    }
    Ok(bytes)
}

/// Opens a regular file of the folder; links are not followed, and a pipe in
/// its place does not block.
fn open_plain(dir: &File, name: &str) -> Result<File, Trouble> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match rustix::fs::openat(dir, name, flags, Mode::empty()) {
        Ok(fd) => {
            let file = File::from(fd);
            match file.metadata() {
                Ok(meta) if meta.is_file() => Ok(file),
                _ => Err(Trouble::NotAFile),
            }
        }
        Err(rustix::io::Errno::NOENT) => Err(Trouble::Missing),
        Err(rustix::io::Errno::LOOP) => Err(Trouble::NotAFile),
        Err(e) => Err(Trouble::Unreadable(e.to_string())),
    }
}

/// Compares digests in a time that does not depend on where they differ.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len()
        && a.bytes()
            .zip(b.bytes())
            .fold(0, |differs, (x, y)| differs | (x ^ y))
            == 0
}
