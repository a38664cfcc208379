//! A second seal under another key, beside the first: for when keys rotate.
//! The first stays; the new one vouches for it bit by bit.

use super::folder::{PARTIAL_PREFIX, moment, new_run_id, rename_no_replace, sync_dir, write_new};
use super::key::Key;
use super::manifest::seal_body;
use super::verify::{examine, measure};
use crate::error::{Error, Result};
use serde_json::{Value, json};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Adds a seal under `new_key` to a run that verifies with `keys`. Returns the
/// new seal's file. Both seals stay valid.
///
/// # Errors
///
/// When the run is not intact, already has a seal of that key, or the folder
/// (and the one above it, in which the seal is prepared) cannot be written.
pub fn reseal(run: &Path, keys: &[Key], new_key: &Key, now: SystemTime) -> Result<PathBuf> {
    let refuse = |reason: String| Error::NotARun {
        path: run.to_owned(),
        reason,
    };
    let examined = examine(run, keys)?;
    let report = &examined.report;
    if !report.is_intact() {
        let first = report.problems.first().map(ToString::to_string);
        return Err(refuse(format!(
            "not re-sealed: {}",
            first.unwrap_or_else(|| "no seal could be checked".to_owned())
        )));
    }
    let new_id = new_key.id();
    if examined.seal_files.iter().any(|(_, id, _)| *id == new_id) {
        return Err(refuse(format!("already sealed with key {new_id}")));
    }
    let Some((_, manifest, _)) = examined.trusted.first() else {
        return Err(refuse("no seal could be checked".to_owned()));
    };

    let folder = &report.folder;
    let dir = File::open(folder).map_err(|e| Error::io(folder, "cannot open the run", e))?;
    let mut body = manifest.body.clone();
    let listed = body.get_mut("outputs").and_then(Value::as_array_mut);
    for (value, output) in listed.into_iter().flatten().zip(&manifest.outputs) {
        let measured = measure(&dir, output, &[new_key])
            .map_err(|trouble| refuse(format!("{:?} {trouble}", output.name)))?;
        // Read a second time, so it must still be what was verified.
        let [hmac] = measured.hmac_sha256.as_slice() else {
            return Err(refuse(format!("{:?} could not be sealed", output.name)));
        };
        if measured.sha256 != output.sha256 {
            return Err(refuse(format!(
                "{:?} changed while it was read",
                output.name
            )));
        }
        if let Some(members) = value.as_object_mut() {
            members.insert("hmac_sha256".to_owned(), hmac.as_str().into());
        }
    }
    if let Some(members) = body.as_object_mut() {
        let previous: Vec<Value> = examined
            .seal_files
            .iter()
            .map(|(file, key_id, sha256)| json!({"file": file, "key_id": key_id, "sha256": sha256}))
            .collect();
        members.insert("previous_seals".to_owned(), previous.into());
        members.insert("resealed".to_owned(), moment(now).to_string().into());
    }
    let text = seal_body(body, new_key)?;

    // Prepared beside the folder, since anything unfinished inside it would
    // count as added; then moved in, in one step.
    let name = format!("manifest.{new_id}.json");
    let beside = folder.parent().unwrap_or(folder);
    let prepared = beside.join(format!("{PARTIAL_PREFIX}reseal-{}", new_run_id(now)?));
    write_new(&prepared, text.as_bytes())?;
    let seal = folder.join(name);
    let moved = rename_no_replace(&prepared, &seal);
    if moved.is_err() {
        let _ = std::fs::remove_file(&prepared);
    }
    moved.map_err(|e| Error::io(&seal, "cannot add the seal", e))?;
    sync_dir(folder)?;
    Ok(seal)
}
