//! `manifest.json`: what a run was given, what it made, and the seal over both.
//! Canonical JSON, so that there is one sequence of bytes to compute the HMAC over.

use super::canonical::{MAX_SAFE_INTEGER, canonical};
use super::file::{Output, RowGroup};
use super::folder::{manifest_mac, moment};
use super::key::Key;
use crate::error::{Error, Result};
use crate::indicator::Set;
use crate::rule::RuleFile;
use crate::table::SCHEMA_VERSION;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

/// The manifest's file name.
pub const MANIFEST: &str = "manifest.json";
/// Longest manifest that is read.
pub const MAX_MANIFEST_BYTES: u64 = 64 << 20;
/// Most outputs that a manifest may name.
const MAX_OUTPUTS: usize = 4_096;

/// A set of trusted roots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustStoreEntry {
    /// Its name.
    pub name: String,
    /// SHA-256 over its roots and their dates, hex.
    pub sha256: String,
    /// How many roots.
    pub roots: u64,
    /// SHA-256 of each revocation list that was given, hex.
    pub revocation_lists: Vec<String>,
    /// SHA-256 over the ids of the transparency logs whose keys were known, hex.
    pub ct_logs_sha256: String,
    /// How many logs.
    pub ct_logs: u64,
}

/// One input, for the manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InputEntry {
    /// As given.
    pub path: String,
    /// Size as stored, bytes.
    pub size_bytes: u64,
    /// SHA-256 hex; `None` when the run was told not to hash.
    pub sha256: Option<String>,
    /// Why the file, or its rest, could not be read.
    pub error: Option<String>,
}

/// What only the conductor knows about a run.
#[derive(Clone, Debug)]
pub struct ManifestInput {
    /// Version of the tool.
    pub tool_version: String,
    /// Commit that it was built from, when known.
    pub git_commit: Option<String>,
    /// Command line, secrets removed.
    pub command_line: Vec<String>,
    /// Name of the policy's file, or `built-in`.
    pub policy: String,
    /// SHA-256 of the policy, hex.
    pub policy_sha256: String,
    /// Public suffix list by which registered domains were told.
    pub public_suffix_list: &'static str,
    /// Name of the machine.
    pub host: String,
    /// When the run began.
    pub started: SystemTime,
    /// When it ended.
    pub ended: SystemTime,
    /// Worker threads.
    pub threads: u64,
    /// Peak resident memory.
    pub max_rss_bytes: Option<u64>,
    /// Processor time, user and system.
    pub cpu_ns: Option<u64>,
    /// Whether the inputs were hashed.
    pub hashed: bool,
    /// The roots that certificates were judged by.
    pub trust_store: TrustStoreEntry,
    /// The inputs.
    pub inputs: Vec<InputEntry>,
    /// Findings by severity, and whatever else is worth counting.
    pub counts: BTreeMap<String, u64>,
    /// Exit status so far: 0, since a run that fails is not sealed.
    pub exit_status: u8,
    /// What went wrong without ending the run.
    pub errors: Vec<String>,
    /// Threat intelligence that the run was matched against.
    pub indicators: Option<Arc<Set>>,
    /// Files of rules that were asked.
    pub rules: Vec<RuleFile>,
    /// Whether its findings are to be told as alerts.
    pub alerts: bool,
    /// The run that this one judges again.
    pub rescored: Option<Rescored>,
}

/// The run whose tables another one judges again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rescored {
    /// Its id.
    pub run_id: String,
    /// HMAC of its manifest.
    pub manifest_hmac: String,
    /// SHA-256 of its policy, hex.
    pub policy_sha256: String,
    /// Checks that only the capture could answer under the new policy.
    pub not_judged_again: Vec<String>,
}

/// The manifest with its seal, as it is written.
pub(super) fn sealed_manifest(
    input: &ManifestInput,
    run_id: &str,
    outputs: &[&Output],
    key: &Key,
) -> Result<String> {
    let inputs: Vec<Value> = input
        .inputs
        .iter()
        .map(|entry| {
            json!({
                "path": entry.path,
                "size_bytes": safe(entry.size_bytes),
                "sha256": entry.sha256,
                "error": entry.error,
            })
        })
        .collect();
    let indicators: Vec<Value> = input
        .indicators
        .iter()
        .flat_map(|set| set.files())
        .map(|file| {
            json!({
                "path": file.path,
                "size_bytes": safe(file.size_bytes),
                "sha256": file.sha256,
                "format": file.format,
                "indicators": safe(file.indicators),
                "skipped": safe(file.skipped),
                "problems": safe(file.problem_count),
            })
        })
        .collect();
    let rules: Vec<Value> = input
        .rules
        .iter()
        .map(|file| {
            json!({
                "path": file.path,
                "size_bytes": safe(file.size_bytes),
                "sha256": file.sha256,
                "rules": safe(file.rules),
                "problems": safe(file.problems),
            })
        })
        .collect();
    let counts: Map<String, Value> = input
        .counts
        .iter()
        .map(|(name, &count)| (name.clone(), safe(count).into()))
        .collect();
    let body = json!({
        "schema_version": SCHEMA_VERSION,
        "run_id": run_id,
        "tool": "nsforensics",
        "tool_version": input.tool_version,
        "git_commit": input.git_commit,
        "target": format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        "command_line": input.command_line,
        "policy": { "name": input.policy, "sha256": input.policy_sha256 },
        "public_suffix_list": input.public_suffix_list,
        "host": input.host,
        "started": moment(input.started).to_string(),
        "ended": moment(input.ended).to_string(),
        "threads": safe(input.threads),
        "max_rss_bytes": input.max_rss_bytes.map(safe),
        "cpu_ns": input.cpu_ns.map(safe),
        "inputs_hashed": input.hashed,
        "trust_store": {
            "name": input.trust_store.name,
            "sha256": input.trust_store.sha256,
            "roots": safe(input.trust_store.roots),
            "revocation_lists": input.trust_store.revocation_lists,
            "ct_logs": safe(input.trust_store.ct_logs),
            "ct_logs_sha256": input.trust_store.ct_logs_sha256,
        },
        "inputs": inputs,
        "outputs": outputs.iter().map(|output| output_json(output)).collect::<Vec<_>>(),
        "previous_manifest_hmac": input.rescored.as_ref().map(|run| &run.manifest_hmac),
        "rescored": input.rescored.as_ref().map(|run| json!({
            "run_id": run.run_id,
            "manifest_hmac": run.manifest_hmac,
            "policy_sha256": run.policy_sha256,
            "not_judged_again": run.not_judged_again,
        })),
        "indicators": indicators,
        "rules": rules,
        "alerts": input.alerts,
        "previous_seals": [],
        "counts": counts,
        "exit_status": input.exit_status,
        "errors": input.errors,
    });
    seal_body(body, key)
}

/// Sets the key's id and the HMAC over everything else; gives the canonical text.
pub(super) fn seal_body(mut body: Value, key: &Key) -> Result<String> {
    let no_form = |message: String| Error::Table {
        table: MANIFEST.to_owned(),
        message,
    };
    let Some(members) = body.as_object_mut() else {
        return Err(no_form("not an object".to_owned()));
    };
    members.remove("hmac");
    members.insert("key_id".to_owned(), key.id().into());
    let hmac = manifest_mac(key, &canonical(&body).map_err(no_form)?);
    if let Some(members) = body.as_object_mut() {
        members.insert("hmac".to_owned(), hmac.into());
    }
    canonical(&body).map_err(no_form)
}

/// A count that every JSON reader keeps; beyond 2^53 - 1 it is held there.
fn safe(value: u64) -> u64 {
    value.min(MAX_SAFE_INTEGER)
}

/// An output as the manifest writes it.
pub(super) fn output_json(output: &Output) -> Value {
    let groups: Vec<Value> = output
        .row_groups
        .iter()
        .map(|group| {
            json!({
                "offset": safe(group.offset),
                "bytes": safe(group.bytes),
                "rows": safe(group.rows),
                "sha256": group.sha256,
            })
        })
        .collect();
    json!({
        "path": output.name,
        "table": output.table,
        "rows": safe(output.rows),
        "bytes": safe(output.bytes),
        "sha256": output.sha256,
        "hmac_sha256": output.hmac_sha256,
        "row_groups": groups,
    })
}

/// An earlier seal of the same run, as a later one names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviousSeal {
    /// Its file.
    pub file: String,
    /// Its key.
    pub key_id: String,
    /// SHA-256 of the file, hex.
    pub sha256: String,
}

/// A manifest as read: bounded, its names plain. Nothing in it is to be
/// believed before its HMAC was checked.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Identifier of the run.
    pub run_id: String,
    /// Key of the seal.
    pub key_id: String,
    /// The seal.
    pub hmac: String,
    /// The outputs.
    pub outputs: Vec<Output>,
    /// Earlier seals.
    pub previous_seals: Vec<PreviousSeal>,
    /// Everything.
    pub body: Value,
    /// What the seal is computed over.
    pub sealed_text: String,
}

impl Manifest {
    /// Whether the run's findings are to be told as alerts: whoever made it asked
    /// for that, and its policy says whom to tell.
    pub fn wants_alerts(&self) -> bool {
        self.body.get("alerts").and_then(Value::as_bool) == Some(true)
    }

    /// Reads a manifest's bytes.
    ///
    /// # Errors
    ///
    /// In words, when they are no manifest of this format in canonical form.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let body: Value = serde_json::from_slice(bytes).map_err(|e| format!("is not JSON: {e}"))?;
        // One form only: else bytes could change without the seal noticing.
        if canonical(&body)?.as_bytes() != bytes {
            return Err("is not in canonical form".to_owned());
        }
        let version = body.get("schema_version").and_then(Value::as_u64);
        if version != Some(u64::from(SCHEMA_VERSION)) {
            return Err(format!(
                "has schema version {}, and this program reads {SCHEMA_VERSION}",
                version.map_or_else(|| "none".to_owned(), |v| v.to_string())
            ));
        }
        let mut unsealed = body.clone();
        if let Some(members) = unsealed.as_object_mut() {
            members.remove("hmac");
        }
        let outputs = list(&body, "outputs")?
            .iter()
            .map(parse_output)
            .collect::<Result<Vec<_>, _>>()?;
        if outputs.len() > MAX_OUTPUTS {
            return Err(format!("names more than {MAX_OUTPUTS} outputs"));
        }
        let previous_seals = list(&body, "previous_seals")?
            .iter()
            .map(|seal| {
                Ok(PreviousSeal {
                    file: plain_name(&text(seal, "file")?)?,
                    key_id: text(seal, "key_id")?,
                    sha256: text(seal, "sha256")?,
                })
            })
            .collect::<Result<_, String>>()?;
        Ok(Self {
            run_id: text(&body, "run_id")?,
            key_id: text(&body, "key_id")?,
            hmac: text(&body, "hmac")?,
            outputs,
            previous_seals,
            sealed_text: canonical(&unsealed)?,
            body,
        })
    }
}

fn parse_output(value: &Value) -> Result<Output, String> {
    let name = plain_name(&text(value, "path")?)?;
    if is_manifest_name(&name) {
        return Err(format!("names {name:?} as an output"));
    }
    let bytes = number(value, "bytes")?;
    let mut end = 0;
    let row_groups = list(value, "row_groups")?
        .iter()
        .map(|group| {
            let group = RowGroup {
                offset: number(group, "offset")?,
                bytes: number(group, "bytes")?,
                rows: number(group, "rows")?,
                sha256: text(group, "sha256")?,
            };
            let after = group.offset.checked_add(group.bytes);
            match after {
                Some(after) if group.offset >= end && after <= bytes => end = after,
                _ => return Err(format!("row groups of {name:?} overlap or leave the file")),
            }
            Ok(group)
        })
        .collect::<Result<_, String>>()?;
    Ok(Output {
        table: value
            .get("table")
            .and_then(Value::as_str)
            .map(str::to_owned),
        rows: number(value, "rows")?,
        bytes,
        sha256: text(value, "sha256")?,
        hmac_sha256: text(value, "hmac_sha256")?,
        row_groups,
        name,
    })
}

/// A name that stays inside the run folder.
fn plain_name(name: &str) -> Result<String, String> {
    let plain = !name.is_empty()
        && name.len() <= 255
        && name != "."
        && name != ".."
        && !name.contains(['/', '\\', '\0']);
    if plain {
        Ok(name.to_owned())
    } else {
        Err(format!("names {name:?}, which is no plain file name"))
    }
}

/// Whether a file of a run folder holds a seal: `manifest.json`, or
/// `manifest.<key id>.json` for a later one.
pub fn is_manifest_name(name: &str) -> bool {
    name == MANIFEST || later_seal_key(name).is_some()
}

/// The key id in the name of a later seal.
pub fn later_seal_key(name: &str) -> Option<&str> {
    let id = name.strip_prefix("manifest.")?.strip_suffix(".json")?;
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (id.len() == 16 && id.bytes().all(hex)).then_some(id)
}

fn text(value: &Value, key: &str) -> Result<String, String> {
    let text = value.get(key).and_then(Value::as_str);
    text.map(str::to_owned)
        .ok_or_else(|| format!("has no text {key:?} where it should"))
}

fn number(value: &Value, key: &str) -> Result<u64, String> {
    value
        .get(key)
        .and_then(Value::as_u64)
        .ok_or_else(|| format!("has no number {key:?} where it should"))
}

fn list<'a>(value: &'a Value, key: &str) -> Result<&'a [Value], String> {
    let list = value.get(key).and_then(Value::as_array);
    list.map(Vec::as_slice)
        .ok_or_else(|| format!("has no list {key:?} where it should"))
}
