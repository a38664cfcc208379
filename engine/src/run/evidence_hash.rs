//! SHA-256 of a mapped capture on a thread of its own, beside the analysis.
//!
//! An examiner hashes evidence anyway, and a whole-file SHA-256 is serial: it
//! bounds the run from below, so nothing may hold it up. It reads the same
//! mapping as the packet walk, and so faults the pages in for it.

use crate::capture::Mapping;
use sha2::{Digest, Sha256};
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes hashed between two looks at the cancel flag.
const PIECE: usize = 1 << 20;

/// The hash of all bytes of the mapping; `None` when the run was cancelled.
pub(super) fn sha256(mapping: &Mapping, cancel: &AtomicBool) -> Option<[u8; 32]> {
    let mut hash = Sha256::new();
    for piece in mapping.bytes().chunks(PIECE) {
        if cancel.load(Ordering::Relaxed) {
            return None;
        }
        hash.update(piece);
    }
    Some(hash.finalize().into())
}
