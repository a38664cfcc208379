//! The run folder: created under a name that cannot pass for a run, published
//! under its own in one step, nothing ever overwritten.

use super::file::{HashedFile, Output};
use super::key::{Key, Purpose};
use super::manifest::{MANIFEST, ManifestInput, sealed_manifest};
use crate::error::{Error, Result};
use crate::table::column::hex;
use crate::time::CaptureTime;
use rayon::prelude::*;
use std::fs::{DirBuilder, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What the name of an unfinished run begins with.
pub const PARTIAL_PREFIX: &str = ".partial-";

/// A run folder that is being written. Dropped without being sealed, it is removed.
#[derive(Debug)]
pub struct RunFolder {
    out_dir: PathBuf,
    run_id: String,
    partial: PathBuf,
    files: Vec<(Output, File)>,
    published: bool,
}

impl RunFolder {
    /// Creates a folder of its own in `out_dir`, which is made if need be. Its
    /// name is the time `now` in UTC and a random id.
    ///
    /// # Errors
    ///
    /// When `out_dir` cannot be written.
    pub fn create(out_dir: &Path, now: SystemTime) -> Result<Self> {
        std::fs::create_dir_all(out_dir)
            .map_err(|e| Error::io(out_dir, "cannot make the output folder", e))?;
        // A name that is taken is left alone and another tried.
        for _ in 0..16 {
            let run_id = new_run_id(now)?;
            let partial = out_dir.join(format!("{PARTIAL_PREFIX}{run_id}"));
            if out_dir.join(&run_id).symlink_metadata().is_ok() {
                continue;
            }
            match DirBuilder::new().create(&partial) {
                Ok(()) => {
                    return Ok(Self {
                        out_dir: out_dir.to_owned(),
                        run_id,
                        partial,
                        files: Vec::new(),
                        published: false,
                    });
                }
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(Error::io(partial, "cannot make the run folder", e)),
            }
        }
        Err(Error::io(
            out_dir,
            "cannot find a free name for the run folder",
            std::io::ErrorKind::AlreadyExists.into(),
        ))
    }

    /// Identifier of the run: the published folder's name.
    pub fn run_id(&self) -> &str {
        &self.run_id
    }

    /// Where the files are while the run goes on.
    pub fn partial_path(&self) -> &Path {
        &self.partial
    }

    /// Creates an output file.
    ///
    /// # Errors
    ///
    /// When it exists or cannot be created.
    pub fn create_file(&self, name: &str, key: &Key) -> Result<HashedFile> {
        HashedFile::create(&self.partial.join(name), key)
    }

    /// Takes a finished file into the seal.
    pub fn add(&mut self, finished: (Output, File)) {
        self.files.push(finished);
    }

    /// Writes a document that is no table (the policy, for one) and takes it
    /// into the seal.
    ///
    /// # Errors
    ///
    /// When it exists or cannot be written.
    pub fn add_document(&mut self, name: &str, bytes: &[u8], key: &Key) -> Result<()> {
        let mut file = self.create_file(name, key)?;
        file.write_all(bytes)
            .map_err(|e| Error::io(self.partial.join(name), "cannot write", e))?;
        let finished = file.finish(None, 0)?;
        self.add(finished);
        Ok(())
    }

    /// Writes the manifest last, syncs everything and gives the folder its own
    /// name. Returns the published folder.
    ///
    /// # Errors
    ///
    /// When something cannot be written; then nothing is published.
    pub fn seal(mut self, input: &ManifestInput, key: &Key) -> Result<PathBuf> {
        self.files.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        self.files.par_iter().try_for_each(|(output, file)| {
            file.sync_all()
                .map_err(|e| Error::io(self.partial.join(&output.name), "cannot sync", e))
        })?;
        let outputs: Vec<&Output> = self.files.iter().map(|(output, _)| output).collect();
        let manifest = sealed_manifest(input, &self.run_id, &outputs, key)?;
        write_new(&self.partial.join(MANIFEST), manifest.as_bytes())?;
        sync_dir(&self.partial)?;
        let published = self.out_dir.join(&self.run_id);
        rename_no_replace(&self.partial, &published)
            .map_err(|e| Error::io(&published, "cannot publish the run folder", e))?;
        self.published = true;
        sync_dir(&self.out_dir)?;
        Ok(published)
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        if !self.published {
            // Best effort: what stays cannot pass for a run.
            let _ = std::fs::remove_dir_all(&self.partial);
        }
    }
}

/// `20261122T130405Z-1f2e3d4c`.
pub(super) fn new_run_id(now: SystemTime) -> Result<String> {
    let mut random = [0_u8; 4];
    getrandom::fill(&mut random)
        .map_err(|e| Error::Key(format!("the system gave no random bytes: {e}")))?;
    let (year, month, day, hour, minute, second, _) = moment(now).to_civil();
    Ok(format!(
        "{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z-{}",
        hex(&random)
    ))
}

/// The system's clock as nanoseconds; what it cannot hold is held at its border.
pub fn moment(at: SystemTime) -> CaptureTime {
    let nanos = match at.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => {
            i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, i64::wrapping_neg)
        }
    };
    CaptureTime::from_nanos(nanos)
}

/// Creates a file that must not exist, with these bytes, on the disk.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        let mut file = File::options().write(true).create_new(true).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|e| Error::io(path, "cannot write", e))
}

/// Makes a folder's entries durable.
pub fn sync_dir(path: &Path) -> Result<()> {
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    match File::open(path).and_then(|dir| dir.sync_all()) {
        Ok(()) => Ok(()),
        // File systems that cannot sync a folder say so; there is nothing more to do.
        Err(e) if e.kind() == std::io::ErrorKind::InvalidInput => Ok(()),
        Err(e) => Err(Error::io(path, "cannot sync the folder", e)),
    }
}

/// Renames unless something has the new name already.
pub fn rename_no_replace(from: &Path, to: &Path) -> std::io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // File systems without the flag. rename(2) replaces no folder that
        // holds anything, and for files a link is refused where the name is taken.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            if from.is_dir() {
                if to.symlink_metadata().is_ok() {
                    return Err(std::io::ErrorKind::AlreadyExists.into());
                }
                std::fs::rename(from, to)
            } else {
                std::fs::hard_link(from, to)?;
                std::fs::remove_file(from)
            }
        }
        other => Ok(other?),
    }
}

/// The id of the key, the purpose it is used for here: what a manifest is checked with.
pub fn manifest_mac(key: &Key, canonical: &str) -> String {
    key.mac_hex(Purpose::Manifest, canonical.as_bytes())
}
