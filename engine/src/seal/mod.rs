//! Manifest, HMAC, key ids, verification, re-sealing.
