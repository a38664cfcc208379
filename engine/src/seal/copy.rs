//! A table of one run as a file of another: the same bytes under a new seal.

use super::file::Output;
use super::folder::RunFolder;
use super::key::Key;
use crate::error::{Error, Result};
use crate::table::Sink as _;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

/// Copies an output of a verified run; the row groups stay the row groups.
///
/// # Errors
///
/// When it cannot be read or written, or is no longer what was sealed.
pub fn copy_output(run: &Path, output: &Output, folder: &mut RunFolder, key: &Key) -> Result<()> {
    let path = run.join(&output.name);
    let io = |e| Error::io(&path, "cannot copy the table", e);
    let mut from = File::open(&path).map_err(io)?;
    let mut to = folder.create_file(&output.name, key)?;
    let mut at = 0;
    let mut copy = |to: &mut super::file::HashedFile, until: u64, at: &mut u64| -> Result<()> {
        let mut left = until.saturating_sub(*at);
        let mut buffer = vec![0_u8; 256 << 10];
        while left > 0 {
            let most = usize::try_from(left)
                .unwrap_or(usize::MAX)
                .min(buffer.len());
            let read = from
                .read(buffer.get_mut(..most).unwrap_or_default())
                .map_err(io)?;
            if read == 0 {
                break;
            }
            to.write_all(buffer.get(..read).unwrap_or_default())
                .map_err(io)?;
            left -= read as u64;
            *at += read as u64;
        }
        Ok(())
    };
    for group in &output.row_groups {
        copy(&mut to, group.offset, &mut at)?;
        to.begin_group().map_err(io)?;
        copy(&mut to, group.offset.saturating_add(group.bytes), &mut at)?;
        to.end_group(group.rows).map_err(io)?;
    }
    copy(&mut to, output.bytes, &mut at)?;
    let (copied, file) = to.finish(output.table.as_deref(), output.rows)?;
    if copied.sha256 != output.sha256 {
        return Err(Error::NotARun {
            path,
            reason: "changed while it was copied".to_owned(),
        });
    }
    folder.add((copied, file));
    Ok(())
}
