//! Cryptographic bills of materials against the official CycloneDX 1.6 schema,
//! by `tests/cbom.py`: skipped where Python has no `cyclonedx-python-lib`.

use crate::runs::{self, How};
use nsforensics_engine::inventory::Inventory;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The Python of the notebook's environment, which has the package, else the system's.
fn python() -> PathBuf {
    let notebook = std::env::var_os("NSF_NOTEBOOK_PYTHON").map(PathBuf::from);
    notebook
        .filter(|python| python.is_file())
        .unwrap_or_else(|| "python3".into())
}

/// What `tests/cbom.py` says of documents; `None` when it cannot say.
fn validated(files: &[PathBuf]) -> Option<Result<(), String>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("cbom.py");
    let out = Command::new(python()).arg(script).args(files).output();
    let out = out.ok()?;
    match out.status.code() {
        Some(0) => Some(Ok(())),
        Some(1) => Some(Err(String::from_utf8_lossy(&out.stderr).into_owned())),
        _ => None,
    }
}

#[test]
fn bills_of_materials_follow_the_official_schema() {
    let test = "bills_of_materials_follow_the_official_schema";
    if validated(&[]).is_none() {
        eprintln!("SKIPPED {test}: no Python with cyclonedx-python-lib[json-validation]");
        return;
    }
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut files = Vec::new();
    for (number, name) in [
        "agent.pcap",
        "crafted/ssl2.pcap",
        "crafted/dns.pcap",
        "crafted/unlisted-suite.pcap",
        "certificates/rsa-1024.pcap",
        "certificates/timestamp.pcap",
        "decrypted/client-certificate.pcapng",
        "decrypted/tls_rsa_with_aes_256_ccm_8.pcapng",
    ]
    .iter()
    .enumerate()
    {
        let out = folder.path().join("out");
        let report = runs::run(&samples.join(name), &out, &How::default()).expect("a report");
        let inventory = Inventory::read(&report.folder).expect("an inventory");
        let document = inventory.cbom(&report.run_id, "0").expect("a document");
        let path = folder.path().join(format!("{number}.json"));
        std::fs::write(&path, document).expect("written");
        files.push(path);
    }
    assert_eq!(validated(&files), Some(Ok(())));
    // What is none is told.
    let broken = folder.path().join("broken.json");
    let text = std::fs::read_to_string(&files[0]).expect("written above");
    std::fs::write(&broken, text.replace("\"assetType\"", "\"assetKind\"")).expect("written");
    assert!(matches!(validated(&[broken]), Some(Err(_))));
}
