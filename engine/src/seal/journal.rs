//! The delivery journal: a file beside a sealed run, `<run id>.alerts.jsonl`,
//! that holds what is to be delivered and what became of each try. It is the
//! spool and the proof in one.
//!
//! Each line is canonical JSON with a number, the HMAC of the line before (of
//! the run's manifest for the first), and its own HMAC, under a key derived for
//! journals alone. The file appears whole, with everything that is queued, and
//! only ever grows. So what was queued cannot be changed, removed, added to or
//! put in another order unseen; the newest tries alone can be cut off, which
//! looks like the crash that it may have been. A line that a crash cut short
//! has no line break: it is told, and cut off before the next one is written.
//!
//! Nothing here opens a socket: the command line delivers, this remembers.

use super::canonical::canonical;
use super::folder::{PARTIAL_PREFIX, moment, new_run_id, rename_no_replace, sync_dir};
use super::key::{HmacSha256, Key, Purpose};
use crate::error::{Error, Result};
use crate::table::column::hex;
use hmac::{KeyInit as _, Mac as _};
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use zeroize::Zeroizing;

/// What a journal's name ends in.
const SUFFIX: &str = ".alerts.jsonl";
/// The format's name.
const SCHEMA: &str = "nsforensics.alerts/1";
/// Longest line that is read or written, bytes.
const MAX_LINE: u64 = 256 << 10;
/// Most places that one journal delivers to.
const MAX_DESTINATIONS: usize = 64;

/// What writes and signs for alerts: derived from the sealing key, so that a
/// process with network rights need not hold the key that seals.
pub struct JournalKey {
    id: String,
    chain: Zeroizing<[u8; 32]>,
    signature: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for JournalKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JournalKey(…)")
    }
}

impl JournalKey {
    /// Derived from a sealing key.
    pub fn of(key: &Key) -> Self {
        let derive = |purpose| {
            let mut out = Zeroizing::new([0_u8; 32]);
            key.derive(purpose, out.as_mut_slice());
            out
        };
        Self {
            id: key.id(),
            chain: derive(Purpose::Journal),
            signature: derive(Purpose::AlertSignature),
        }
    }

    /// Id of the sealing key.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The key by which a receiver checks the signature of alerts, as text.
    pub fn signing_key(&self) -> Zeroizing<String> {
        Zeroizing::new(hex(self.signature.as_slice()))
    }

    /// `HMAC-SHA-256` of a message under the signing key, hex.
    pub fn sign(&self, message: &[u8]) -> String {
        let mut mac = mac_of(&self.signature);
        mac.update(message);
        hex(&mac.finalize().into_bytes())
    }

    /// As text, for a pipe to a process of one's own.
    pub fn hand_over(&self) -> Zeroizing<String> {
        let (chain, signature) = (hex(self.chain.as_slice()), hex(self.signature.as_slice()));
        let (chain, signature) = (Zeroizing::new(chain), Zeroizing::new(signature));
        Zeroizing::new(format!("{} {} {}", self.id, *chain, *signature))
    }

    /// From [`JournalKey::hand_over`]'s text.
    pub fn take_over(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let id = parts.next()?.to_owned();
        let mut bytes = || {
            let text = parts.next()?;
            let mut out = Zeroizing::new([0_u8; 32]);
            for (at, byte) in out.iter_mut().enumerate() {
                *byte = u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok()?;
            }
            Some(out)
        };
        Some(Self {
            id,
            chain: bytes()?,
            signature: bytes()?,
        })
    }
}

fn mac_of(key: &[u8; 32]) -> HmacSha256 {
    // HMAC pads a short key with zeros to its block of 64 bytes (RFC 2104 §2).
    let mut block = Zeroizing::new([0_u8; 64]);
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    HmacSha256::new(&(*block).into())
}

/// The journal of a run: beside its folder, under its name.
pub fn journal_path(run: &Path) -> Option<PathBuf> {
    let mut name = run.file_name()?.to_owned();
    name.push(SUFFIX);
    Some(run.with_file_name(name))
}

/// Whether a try reached its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried {
    /// Confirmed, as far as the protocol confirms anything.
    Delivered,
    /// Not, or nobody knows: it stays in the spool.
    Failed,
}

/// One queued alert.
#[derive(Clone, Debug, PartialEq)]
pub struct Queued {
    /// Its number among the queued, from 0.
    pub number: u64,
    /// When it was queued, RFC 3339.
    pub time: String,
    /// The alert: the bytes that are sent.
    pub alert: String,
}

/// What a journal says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JournalContents {
    /// The run it belongs to.
    pub run_id: String,
    /// HMAC of the run's manifest.
    pub manifest_hmac: String,
    /// Names of the destinations, in the policy's order.
    pub destinations: Vec<String>,
    /// Everything queued.
    pub queued: Vec<Queued>,
    /// `(destination, number)` of what was delivered.
    pub delivered: BTreeSet<(u32, u64)>,
    /// `(destination, number)` of what was tried at least once.
    pub tried: BTreeSet<(u32, u64)>,
    /// Why the latest try of each destination failed; `None` after one that did not.
    pub last_failure: Vec<Option<String>>,
    /// Bytes of a line that a crash cut short.
    pub torn_bytes: u64,
    /// Lines.
    pub lines: u64,
}

impl JournalContents {
    /// Numbers that one destination still waits for, ascending.
    pub fn pending(&self, destination: u32) -> Vec<u64> {
        self.queued
            .iter()
            .map(|queued| queued.number)
            .filter(|&number| !self.delivered.contains(&(destination, number)))
            .collect()
    }

    /// Deliveries that are still owed, over all destinations.
    pub fn owed(&self) -> u64 {
        let all = (self.queued.len() as u64).saturating_mul(self.destinations.len() as u64);
        all.saturating_sub(self.delivered.len() as u64)
    }
}

/// A journal that is open for writing, and locked while it is.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    chain: Chain,
    failed: bool,
}

/// Where the chain stands.
#[derive(Clone, Debug)]
struct Chain {
    mac: HmacSha256,
    sequence: u64,
    previous: String,
}

impl Chain {
    fn new(key: &JournalKey, manifest_hmac: &str) -> Self {
        Self {
            mac: mac_of(&key.chain),
            sequence: 0,
            previous: manifest_hmac.to_owned(),
        }
    }

    fn seal(&self, text: &str) -> String {
        let mut mac = self.mac.clone();
        mac.update(text.as_bytes());
        hex(&mac.finalize().into_bytes())
    }

    /// The next line, with its line break.
    fn line(&mut self, mut members: Map<String, Value>) -> Result<String, String> {
        members.insert("seq".to_owned(), self.sequence.into());
        members.insert("prev".to_owned(), self.previous.as_str().into());
        let hmac = self.seal(&canonical(&Value::Object(members.clone()))?);
        members.insert("hmac".to_owned(), hmac.as_str().into());
        let mut line = canonical(&Value::Object(members))?;
        if line.len() as u64 >= MAX_LINE {
            return Err(format!("a line would be longer than {MAX_LINE} bytes"));
        }
        line.push('\n');
        self.sequence += 1;
        self.previous = hmac;
        Ok(line)
    }

    /// Takes a line that was read; gives what it says.
    fn take(&mut self, line: &[u8]) -> Result<Map<String, Value>, String> {
        let value: Value = serde_json::from_slice(line).map_err(|_| "is not JSON")?;
        if canonical(&value)?.as_bytes() != line {
            return Err("is not in canonical form".to_owned());
        }
        let Value::Object(mut members) = value else {
            return Err("is no object".to_owned());
        };
        let hmac = match members.remove("hmac") {
            Some(Value::String(hmac)) => hmac,
            _ => return Err("bears no HMAC".to_owned()),
        };
        let expected = self.seal(&canonical(&Value::Object(members.clone()))?);
        if !same(&hmac, &expected) {
            return Err("was changed: its HMAC does not verify".to_owned());
        }
        if members.get("seq").and_then(Value::as_u64) != Some(self.sequence)
            || members.get("prev").and_then(Value::as_str) != Some(&self.previous)
        {
            return Err(
                "does not follow the line before: lines were removed, added or moved".to_owned(),
            );
        }
        self.sequence += 1;
        self.previous = hmac;
        Ok(members)
    }
}

/// Compares digests in a time that does not depend on where they differ.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |d, (x, y)| d | (x ^ y)) == 0
}

fn members(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

fn now() -> String {
    moment(SystemTime::now()).to_string()
}

impl Journal {
    /// Makes the journal of a sealed run, with everything that is to be
    /// delivered. It appears under its name only when all of it is on the disk.
    ///
    /// # Errors
    ///
    /// When there is one already, or it cannot be written.
    pub fn create(
        run: &Path,
        manifest_hmac: &str,
        destinations: &[String],
        alerts: impl ExactSizeIterator<Item = String>,
        key: &JournalKey,
    ) -> Result<PathBuf> {
        let refuse = |path: &Path, reason: String| Error::NotARun {
            path: path.to_owned(),
            reason,
        };
        let path = journal_path(run).ok_or_else(|| refuse(run, "has no name".to_owned()))?;
        let run_id = run.file_name().unwrap_or_default().to_string_lossy();
        if destinations.len() > MAX_DESTINATIONS {
            let reason = format!("more than {MAX_DESTINATIONS} destinations for alerts");
            return Err(refuse(&path, reason));
        }
        let beside = path.parent().unwrap_or(Path::new(""));
        let id = new_run_id(SystemTime::now())?;
        let prepared = beside.join(format!("{PARTIAL_PREFIX}alerts-{id}"));
        let mut chain = Chain::new(key, manifest_hmac);
        let write = |chain: &mut Chain| -> Result<()> {
            let io = |e| Error::io(&prepared, "cannot write the journal", e);
            let file = File::options()
                .write(true)
                .create_new(true)
                .open(&prepared)
                .map_err(io)?;
            let mut out = std::io::BufWriter::new(file);
            let time = now();
            let opened = json!({
                "event": "opened",
                "schema": SCHEMA,
                "run_id": run_id,
                "manifest_hmac": manifest_hmac,
                "key_id": key.id(),
                "destinations": destinations,
                "alerts": alerts.len(),
                "time": time,
            });
            let mut put = |chain: &mut Chain, value: Value| {
                let line = chain
                    .line(members(value))
                    .map_err(|reason| refuse(&path, reason))?;
                out.write_all(line.as_bytes()).map_err(io)
            };
            put(chain, opened)?;
            for (number, alert) in (0_u64..).zip(alerts) {
                put(
                    chain,
                    json!({"event": "queued", "number": number, "alert": alert, "time": time}),
                )?;
            }
            let file = out.into_inner().map_err(|e| io(e.into_error()))?;
            file.sync_all().map_err(io)
        };
        let published = write(&mut chain).and_then(|()| {
            rename_no_replace(&prepared, &path)
                .map_err(|e| Error::io(&path, "cannot publish the journal", e))
        });
        if published.is_err() {
            let _ = std::fs::remove_file(&prepared);
        }
        published?;
        sync_dir(beside)?;
        Ok(path)
    }

    /// Opens a journal to go on with it: locks it, verifies all of it, and cuts
    /// off what a crash left unfinished.
    ///
    /// # Errors
    ///
    /// When it cannot be read, another delivery is under way, its chain is
    /// broken, or `key` is not the one that it was opened with.
    pub fn open(path: &Path, key: &JournalKey) -> Result<(Self, JournalContents)> {
        let io = |e| Error::io(path, "cannot open the journal", e);
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| io(e.into()))?;
        let mut file = File::from(fd);
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(Error::NotARun {
                    path: path.to_owned(),
                    reason: "another delivery of these alerts is under way".to_owned(),
                });
            }
            Err(e) => return Err(io(e.into())),
        }
        let (contents, chain, whole) = read(&mut file, key).map_err(|reason| Error::NotARun {
            path: path.to_owned(),
            reason,
        })?;
        file.set_len(whole)
            .and_then(|()| file.seek(SeekFrom::Start(whole)))
            .map_err(io)?;
        Ok((
            Self {
                path: path.to_owned(),
                file,
                chain,
                failed: false,
            },
            contents,
        ))
    }

    /// Says that these numbers are about to be sent. On the disk when this
    /// returns, so that a crash in between cannot pass for "never tried".
    ///
    /// # Errors
    ///
    /// When the journal cannot be written.
    pub fn intend(&mut self, destination: u32, numbers: &[u64]) -> Result<()> {
        self.append(json!({
            "event": "attempt",
            "destination": destination,
            "numbers": numbers,
            "time": now(),
        }))?;
        self.sync()
    }

    /// Says what became of them: written when this returns, so that no end of
    /// this process loses it; on the disk after [`Journal::sync`].
    ///
    /// # Errors
    ///
    /// When the journal cannot be written.
    pub fn note(
        &mut self,
        destination: u32,
        numbers: &[u64],
        tried: Tried,
        detail: &str,
    ) -> Result<()> {
        let event = match tried {
            Tried::Delivered => "delivered",
            Tried::Failed => "failed",
        };
        self.append(json!({
            "event": event,
            "destination": destination,
            "numbers": numbers,
            "detail": detail,
            "time": now(),
        }))
    }

    fn append(&mut self, value: Value) -> Result<()> {
        let line = self
            .chain
            .line(members(value))
            .map_err(|reason| Error::NotARun {
                path: self.path.clone(),
                reason,
            })?;
        let io = |e| Error::io(&self.path, "cannot write the journal", e);
        if self.failed {
            // What follows half a line would break the chain; whoever opens the
            // journal next cuts the half off.
            return Err(io(std::io::ErrorKind::WriteZero.into()));
        }
        let written = self.file.write_all(line.as_bytes());
        self.failed = written.is_err();
        written.map_err(io)
    }

    /// Brings what was noted to the disk.
    ///
    /// # Errors
    ///
    /// When the disk refuses.
    pub fn sync(&mut self) -> Result<()> {
        self.file
            .sync_data()
            .map_err(|e| Error::io(&self.path, "cannot write the journal", e))
    }
}

/// Verifies a journal without opening it for writing.
///
/// # Errors
///
/// In words that make a sentence of their own, when it cannot be read or its
/// chain is broken.
pub fn check_journal(path: &Path, key: &JournalKey) -> Result<JournalContents, String> {
    check(path, key).map_err(|why| match why.starts_with("line ") {
        true => why,
        false => format!("it {why}"),
    })
}

fn check(path: &Path, key: &JournalKey) -> Result<JournalContents, String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let fd = rustix::fs::open(path, flags, Mode::empty())
        .map_err(|e| format!("cannot be read: {}", std::io::Error::from(e)))?;
    let mut file = File::from(fd);
    Ok(read(&mut file, key)?.0)
}

/// The key id that a journal says it was opened with; not to be believed.
pub fn journal_key_id(path: &Path) -> Option<String> {
    let mut line = Vec::new();
    BufReader::new(File::open(path).ok()?)
        .take(MAX_LINE)
        .read_until(b'\n', &mut line)
        .ok()?;
    let value: Value = serde_json::from_slice(&line).ok()?;
    value
        .get("key_id")
        .and_then(Value::as_str)
        .map(str::to_owned)
}

/// Everything a journal says, its chain, and the length of its whole lines.
fn read(file: &mut File, key: &JournalKey) -> Result<(JournalContents, Chain, u64), String> {
    let unreadable = |e: std::io::Error| format!("cannot be read: {e}");
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err("is no regular file".to_owned());
    }
    file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    let mut reader = BufReader::with_capacity(64 << 10, file);
    let mut contents = JournalContents::default();
    let mut chain: Option<Chain> = None;
    let mut announced = 0;
    let mut whole = 0;
    let mut line = Vec::new();
    loop {
        line.clear();
        (&mut reader)
            .take(MAX_LINE + 1)
            .read_until(b'\n', &mut line)
            .map_err(unreadable)?;
        if line.is_empty() {
            break;
        }
        let at = contents.lines + 1;
        if line.len() as u64 > MAX_LINE {
            return Err(format!("line {at} is longer than {MAX_LINE} bytes"));
        }
        if line.last() != Some(&b'\n') {
            contents.torn_bytes = line.len() as u64;
            break;
        }
        whole += line.len() as u64;
        line.pop();
        let told = |why: String| format!("line {at} {why}");
        let chain = match &mut chain {
            Some(chain) => chain,
            None => {
                let first: Value =
                    serde_json::from_slice(&line).map_err(|_| told("is not JSON".to_owned()))?;
                let text = |name| first.get(name).and_then(Value::as_str).unwrap_or_default();
                if text("schema") != SCHEMA {
                    return Err("is no journal of alerts that this program reads".to_owned());
                }
                if text("key_id") != key.id() {
                    return Err(format!(
                        "was opened with key {}, which was not given",
                        text("key_id")
                    ));
                }
                chain.insert(Chain::new(key, text("manifest_hmac")))
            }
        };
        let members = chain.take(&line).map_err(told)?;
        contents.lines = at;
        understand(&mut contents, &mut announced, Value::Object(members)).map_err(told)?;
    }
    let chain = chain.ok_or("is empty")?;
    if contents.queued.len() as u64 != announced {
        return Err(format!(
            "holds {} queued alerts of the {announced} that it was made with",
            contents.queued.len()
        ));
    }
    Ok((contents, chain, whole))
}

fn understand(
    contents: &mut JournalContents,
    announced: &mut u64,
    value: Value,
) -> Result<(), String> {
    let text = |name: &str| {
        let text = value.get(name).and_then(Value::as_str);
        text.map(str::to_owned)
            .ok_or_else(|| format!("lacks {name}"))
    };
    let number = |name: &str| {
        let number = value.get(name).and_then(Value::as_u64);
        number.ok_or_else(|| format!("lacks {name}"))
    };
    let event = text("event")?;
    if (event == "opened") != (contents.lines == 1) {
        return Err("opens a journal in its middle".to_owned());
    }
    match event.as_str() {
        "opened" => {
            contents.run_id = text("run_id")?;
            contents.manifest_hmac = text("manifest_hmac")?;
            let names = value.get("destinations").and_then(Value::as_array);
            contents.destinations = names
                .into_iter()
                .flatten()
                .filter_map(|name| name.as_str().map(str::to_owned))
                .collect();
            contents.last_failure = vec![None; contents.destinations.len()];
            *announced = number("alerts")?;
        }
        "queued" => {
            let expected = contents.queued.len() as u64;
            if number("number")? != expected {
                return Err("queues an alert out of turn".to_owned());
            }
            contents.queued.push(Queued {
                number: expected,
                time: text("time")?,
                alert: text("alert")?,
            });
        }
        "attempt" | "delivered" | "failed" => {
            let destination = u32::try_from(number("destination")?)
                .ok()
                .filter(|&index| (index as usize) < contents.destinations.len())
                .ok_or("names no destination")?;
            let numbers = value.get("numbers").and_then(Value::as_array);
            for number in numbers.into_iter().flatten() {
                let number = number
                    .as_u64()
                    .filter(|&number| number < contents.queued.len() as u64)
                    .ok_or("names an alert that was not queued")?;
                if event == "delivered" {
                    contents.delivered.insert((destination, number));
                }
                contents.tried.insert((destination, number));
            }
            if let Some(last) = contents.last_failure.get_mut(destination as usize)
                && event != "attempt"
            {
                *last = (event == "failed").then(|| text("detail")).transpose()?;
            }
        }
        other => return Err(format!("tells of an unknown event, {other:?}")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Place {
        dir: tempfile::TempDir,
        key: JournalKey,
    }

    impl Place {
        fn new() -> Self {
            Self {
                dir: tempfile::tempdir().unwrap(),
                key: JournalKey::of(
                    &Key::from_secret(b"0123456789abcdef0123456789abcdef").unwrap(),
                ),
            }
        }

        fn run(&self) -> PathBuf {
            self.dir.path().join("20260101T000000Z-00000000")
        }

        fn make(&self) -> PathBuf {
            let alerts: Vec<String> = (0..3).map(|n| format!("alert {n}")).collect();
            let to = ["syslog-1".to_owned(), "webhook-2".to_owned()];
            Journal::create(&self.run(), "aa", &to, alerts.into_iter(), &self.key).unwrap()
        }

        fn check(&self) -> Result<JournalContents, String> {
            check_journal(&journal_path(&self.run()).unwrap(), &self.key)
        }
    }

    #[test]
    fn what_is_queued_is_owed_until_it_is_delivered() {
        let place = Place::new();
        let path = place.make();
        let contents = place.check().unwrap();
        assert_eq!(contents.owed(), 6);
        assert_eq!(contents.run_id, "20260101T000000Z-00000000");
        let (mut journal, _) = Journal::open(&path, &place.key).unwrap();
        journal.intend(0, &[0, 1]).unwrap();
        journal.note(0, &[0], Tried::Delivered, "sent").unwrap();
        journal.note(0, &[1], Tried::Failed, "refused").unwrap();
        drop(journal);
        let (mut journal, contents) = Journal::open(&path, &place.key).unwrap();
        assert_eq!(contents.pending(0), [1, 2]);
        assert_eq!(contents.pending(1), [0, 1, 2]);
        assert_eq!(contents.last_failure, [Some("refused".to_owned()), None]);
        assert!(contents.tried.contains(&(0, 1)) && !contents.tried.contains(&(1, 1)));
        journal.note(0, &[1, 2], Tried::Delivered, "sent").unwrap();
        drop(journal);
        let contents = place.check().unwrap();
        assert_eq!((contents.owed(), contents.pending(0).len()), (3, 0));
        assert_eq!(contents.last_failure, [None, None]);
    }

    #[test]
    fn a_journal_is_made_once_and_written_by_one() {
        let place = Place::new();
        let path = place.make();
        let again = Journal::create(&place.run(), "aa", &[], Vec::new().into_iter(), &place.key);
        assert!(again.is_err());
        let names: Vec<_> = std::fs::read_dir(place.dir.path()).unwrap().collect();
        assert_eq!(names.len(), 1, "nothing unfinished stays: {names:?}");
        let open = Journal::open(&path, &place.key).unwrap();
        let second = Journal::open(&path, &place.key).unwrap_err().to_string();
        assert!(second.contains("under way"), "{second}");
        drop(open);
        assert!(Journal::open(&path, &place.key).is_ok());
    }

    #[test]
    fn a_line_that_a_crash_cut_short_is_told_and_cut_off() {
        let place = Place::new();
        let path = place.make();
        let whole = std::fs::read(&path).unwrap();
        for torn in ["{", "{\"event\":\"deliv"] {
            std::fs::write(&path, [&whole, torn.as_bytes()].concat()).unwrap();
            assert_eq!(place.check().unwrap().torn_bytes, torn.len() as u64);
            let (mut journal, _) = Journal::open(&path, &place.key).unwrap();
            journal.note(1, &[0], Tried::Delivered, "HTTP 200").unwrap();
            drop(journal);
            let contents = place.check().unwrap();
            assert_eq!((contents.torn_bytes, contents.owed()), (0, 5));
        }
    }

    #[test]
    fn every_change_of_what_was_queued_shows() {
        let place = Place::new();
        let path = place.make();
        let (mut journal, _) = Journal::open(&path, &place.key).unwrap();
        journal.intend(0, &[0]).unwrap();
        journal.note(0, &[0], Tried::Delivered, "sent").unwrap();
        drop(journal);
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 6);
        let broken = |lines: &[&str]| {
            std::fs::write(&path, format!("{}\n", lines.join("\n"))).unwrap();
            place.check().expect_err("a broken chain")
        };
        // Any line removed but the newest of tries, two exchanged, one twice.
        for gone in 0..5 {
            let mut less = lines.clone();
            less.remove(gone);
            broken(&less);
        }
        let mut swapped = lines.clone();
        swapped.swap(2, 3);
        assert!(broken(&swapped).starts_with("line 3 "));
        broken(&[&lines[..], &lines[5..]].concat());
        // The end of what was queued cut off.
        assert!(broken(&lines[..3]).contains("it holds 2 queued alerts of the 3"));
        for (line, from, to) in [
            (0, "syslog-1", "syslog-9"),
            (1, "alert 0", "alert 9"),
            (5, "\"numbers\":[0]", "\"numbers\":[1]"),
            (5, "delivered", "failed"),
        ] {
            let changed = lines[line].replace(from, to);
            assert_ne!(changed, lines[line]);
            let mut with = lines.clone();
            with[line] = &changed;
            assert!(broken(&with).contains("HMAC"), "{changed}");
        }
        std::fs::write(&path, "").unwrap();
        assert!(place.check().unwrap_err().contains("empty"));
    }

    #[test]
    fn another_key_is_named_and_does_not_verify() {
        let place = Place::new();
        let path = place.make();
        let other = JournalKey::of(&Key::from_secret(&[7; 32]).unwrap());
        let error = check_journal(&path, &other).unwrap_err();
        assert!(error.contains(place.key.id()), "{error}");
        assert_eq!(journal_key_id(&path), Some(place.key.id().to_owned()));
    }

    #[test]
    fn derived_keys_pass_through_a_pipe() {
        let sealing = Key::from_secret(&[7; 32]).unwrap();
        let key = JournalKey::of(&sealing);
        let again = JournalKey::take_over(&key.hand_over()).unwrap();
        assert_eq!(again.id(), sealing.id());
        assert_eq!(again.sign(b"x"), key.sign(b"x"));
        assert_eq!(again.chain, key.chain);
        assert_ne!(*key.chain, *key.signature);
        assert_eq!(
            key.sign(b"x"),
            sealing.mac_hex(Purpose::AlertSignature, b"x")
        );
        assert_eq!(format!("{key:?}"), "JournalKey(…)");
        for broken in ["", "id", "id 00", "id zz zz"] {
            assert!(JournalKey::take_over(broken).is_none());
        }
    }

    #[test]
    fn lines_without_end_are_refused() {
        let place = Place::new();
        let path = place.make();
        std::fs::write(&path, vec![b'['; MAX_LINE as usize + 2]).unwrap();
        assert!(place.check().unwrap_err().contains("longer"));
    }
}
