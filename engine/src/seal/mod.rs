//! Manifest, HMAC, key ids, verification, re-sealing: what makes a run folder
//! evidence. `docs/seal.md` describes the format for other readers.

mod canonical;
mod copy;
mod file;
mod folder;
mod key;
mod manifest;
mod output;
mod journal;
mod verify;
mod reseal;

pub use canonical::canonical;
pub use copy::copy_output;
pub use file::{HashedFile, Output, RowGroup};
pub use folder::{PARTIAL_PREFIX, RunFolder};
pub use journal::{
    Journal, JournalContents, JournalKey, Queued, Tried, check_journal, journal_key_id,
    journal_path,
};
pub use key::{HmacSha256, Key, MIN_SECRET_BYTES, Purpose};
pub use manifest::{
    InputEntry, MANIFEST, Manifest, ManifestInput, PreviousSeal, Rescored, TrustStoreEntry,
};
pub use output::{Ledger, OutputSet, RowCounts};
pub use reseal::reseal;
pub use verify::{Problem, SealSeen, Trouble, VerifyReport, verify, verify_with_journal};

#[cfg(test)]
mod tests;
