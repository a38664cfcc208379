//! An output file that is hashed while it is written: SHA-256 and HMAC of the
//! whole, SHA-256 of each row group, never read again.

use super::key::{HmacSha256, Key, Purpose};
use crate::error::{Error, Result};
use crate::table::Sink;
use crate::table::column::hex;
use hmac::Mac as _;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A row group's place and digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowGroup {
    /// First byte.
    pub offset: u64,
    /// Length.
    pub bytes: u64,
    /// Rows.
    pub rows: u64,
    /// SHA-256 of those bytes, hex.
    pub sha256: String,
}

/// What the manifest says of one output file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its name in the run folder.
    pub name: String,
    /// The table in it; `None` for other documents.
    pub table: Option<String>,
    /// Rows.
    pub rows: u64,
    /// Length.
    pub bytes: u64,
    /// SHA-256, hex.
    pub sha256: String,
    /// HMAC-SHA-256 under the key for files, hex.
    pub hmac_sha256: String,
    /// Row groups in order.
    pub row_groups: Vec<RowGroup>,
}

/// Bytes hashed at a time: enough to be worth handing to another thread.
const CHUNK: usize = 256 << 10;

/// The file while it is written.
#[derive(Debug)]
pub struct HashedFile {
    path: PathBuf,
    file: File,
    buffer: Vec<u8>,
    drained: u64,
    whole: Sha256,
    mac: HmacSha256,
    group: Option<(u64, Sha256)>,
    groups: Vec<RowGroup>,
}

impl HashedFile {
    /// Creates `path`, which must not exist.
    ///
    /// # Errors
    ///
    /// When it exists or cannot be created.
    pub fn create(path: &Path, key: &Key) -> Result<Self> {
        let file = File::options()
            .write(true)
            .create_new(true)
            .open(path)
            .map_err(|e| Error::io(path, "cannot create", e))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            buffer: Vec::with_capacity(CHUNK),
            drained: 0,
            whole: Sha256::new(),
            mac: key.mac(Purpose::File),
            group: None,
            groups: Vec::new(),
        })
    }

    /// Writes the rest and gives the file's line of the manifest. The file is
    /// not yet synced: that is done for all at once, by who publishes them.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn finish(mut self, table: Option<&str>, rows: u64) -> Result<(Output, File)> {
        let written = self.drain();
        written.map_err(|e| Error::io(&self.path, "cannot write", e))?;
        let name = self.path.file_name().unwrap_or_default();
        let output = Output {
            name: name.to_string_lossy().into_owned(),
            table: table.map(str::to_owned),
            rows,
            bytes: self.drained,
            sha256: hex(&self.whole.finalize()),
            hmac_sha256: hex(&self.mac.finalize().into_bytes()),
            row_groups: self.groups,
        };
        Ok((output, self.file))
    }

    fn drain(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.file.write_all(&self.buffer)?;
        let (bytes, whole, mac, group) = (
            self.buffer.as_slice(),
            &mut self.whole,
            &mut self.mac,
            &mut self.group,
        );
        // Three passes over the same bytes, so side by side where cores are free.
        rayon::join(
            || whole.update(bytes),
            || {
                rayon::join(
                    || mac.update(bytes),
                    || {
                        if let Some((_, digest)) = group {
                            digest.update(bytes);
                        }
                    },
                )
            },
        );
        self.drained += bytes.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

impl Write for HashedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK {
            self.drain()?;
        }
        Ok(bytes.len())
    }

    /// Does nothing: the buffer is this type's own affair, and is written when
    /// a row group begins or ends and when the file is finished.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for HashedFile {
    fn begin_group(&mut self) -> io::Result<()> {
        self.drain()?;
        self.group = Some((self.drained, Sha256::new()));
        Ok(())
    }

    fn end_group(&mut self, rows: u64) -> io::Result<()> {
        self.drain()?;
        if let Some((offset, digest)) = self.group.take() {
            self.groups.push(RowGroup {
                offset,
                bytes: self.drained - offset,
                rows,
                sha256: hex(&digest.finalize()),
            });
        }
        Ok(())
    }
}
