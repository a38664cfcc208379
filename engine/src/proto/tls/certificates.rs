//! Messages of TLS 1.3 that are encrypted, once a key log has opened them:
//! extensions, certificates (also compressed), signatures, tickets. RFC 8446
//! §4.3 to §4.6, RFC 8879.

use super::handshake::{Current, take_certificate};
use super::hello::short_hash;
use super::read::Read;
use super::{CertVisibility, Resumption};
use crate::anomaly::AnomalyKind;
use crate::proto::Cx;
use std::io::Read as _;
use std::sync::Arc;

impl Current {
    /// One message; `None` when it is malformed.
    pub(super) fn message_13(
        &mut self,
        cx: &mut Cx<'_>,
        is_client: bool,
        kind: u8,
        body: &[u8],
    ) -> Option<()> {
        let mut read = Read(body);
        match kind {
            4 => {
                // Lifetime and age_add, then nonce and ticket.
                read.take(8)?;
                read.vec8()?;
                let ticket = read.vec16()?;
                self.facts.issued_ticket_hash = (!ticket.is_empty()).then(|| short_hash(ticket));
                if let Some(key) = self.facts.issued_ticket_hash {
                    self.remember(cx, key);
                }
            }
            8 if !is_client => {
                let mut extensions = Read(read.vec16()?);
                while !extensions.is_empty() {
                    let (kind, body) = (extensions.u16()?, extensions.vec16()?);
                    self.encrypted_extension(kind, body)?;
                }
            }
            11 => self.certificate_13(cx, is_client, body)?,
            13 => self.facts.client_cert_requested = true,
            15 => {
                let scheme = Some(read.u16()?);
                let exchange = &mut self.facts.key_exchange;
                if is_client {
                    exchange.client_signature = scheme;
                } else {
                    exchange.signature = scheme;
                }
            }
            20 if !is_client => {
                let facts = &mut self.facts;
                if facts.chain.is_empty() && facts.resumed == Some(Resumption::Psk) {
                    facts.cert_visibility = CertVisibility::Resumed;
                }
            }
            25 => {
                self.facts.cert_compressed = true;
                let (algorithm, len, compressed) = (read.u16()?, read.u24()?, read.vec24()?);
                if len > cx.limits.tls_handshake_bytes {
                    cx.anomalies
                        .note(AnomalyKind::X509Limit, cx.ts, cx.packet, || {
                            format!(
                                "a compressed certificate of {len} bytes exceeds limits.tls_handshake_bytes"
                            )
                        });
                    return Some(());
                }
                let whole = expand(algorithm, compressed, len)?;
                self.certificate_13(cx, is_client, &whole)?;
            }
            _ => {}
        }
        Some(())
    }

    fn encrypted_extension(&mut self, kind: u16, body: &[u8]) -> Option<()> {
        match kind {
            16 => {
                let name = Read(Read(body).vec16()?).vec8()?;
                if let Some(server) = &mut self.facts.server {
                    Arc::make_mut(server).alpn = Some(String::from_utf8_lossy(name).into_owned());
                }
            }
            42 => self.early_accepted = true,
            _ => {}
        }
        Some(())
    }

    /// Certificate (RFC 8446 §4.4.2): each with extensions of its own.
    fn certificate_13(&mut self, cx: &mut Cx<'_>, is_client: bool, body: &[u8]) -> Option<()> {
        let mut read = Read(body);
        read.vec8()?;
        let mut list = Read(read.vec24()?);
        let mut chain = Vec::new();
        let (mut staple, mut scts) = (None, None);
        while !list.is_empty() {
            let der = list.vec24()?;
            let mut extensions = Read(list.vec16()?);
            while !extensions.is_empty() {
                let (kind, body) = (extensions.u16()?, extensions.vec16()?);
                // Of the leaf alone: the others' say nothing of it.
                match kind {
                    5 if chain.is_empty() => {
                        let mut status = Read(body);
                        status.u8()?;
                        let response = status.vec24()?;
                        staple = (!response.is_empty()).then(|| Arc::from(response));
                    }
                    18 if chain.is_empty() => scts = Some(Arc::from(body)),
                    _ => {}
                }
            }
            if !take_certificate(cx, &mut chain, der) {
                break;
            }
        }
        let facts = &mut self.facts;
        if is_client {
            facts.client_cert_sent = !chain.is_empty();
            facts.client_chain = chain;
            return Some(());
        }
        if !chain.is_empty() {
            facts.cert_visibility = CertVisibility::Decrypted;
        }
        facts.chain = chain;
        facts.ocsp_staple = staple;
        facts.sct_list = scts;
        Some(())
    }
}

/// What a CompressedCertificate holds (RFC 8879 §4): exactly `len` bytes.
fn expand(algorithm: u16, compressed: &[u8], len: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let most = u64::try_from(len).ok()?.saturating_add(1);
    match algorithm {
        1 => flate2::bufread::ZlibDecoder::new(compressed)
            .take(most)
            .read_to_end(&mut out),
        2 => brotli_decompressor::Decompressor::new(compressed, 4_096)
            .take(most)
            .read_to_end(&mut out),
        3 => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(compressed).ok()?;
            // A window beyond the message is somebody's attempt on the memory.
            decoder.window_log_max(20).ok()?;
            decoder.take(most).read_to_end(&mut out)
        }
        _ => return None,
    }
    .ok()?;
    (out.len() == len).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn compressed_certificates_are_expanded_within_their_length() {
        let plain: Vec<u8> = b"certificate ".repeat(300);
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        zlib.write_all(&plain).expect("written");
        let zlib = zlib.finish().expect("finished");
        let zstd = zstd::stream::encode_all(plain.as_slice(), 3).expect("encoded");
        for (algorithm, bytes) in [(1, &zlib), (3, &zstd)] {
            assert_eq!(expand(algorithm, bytes, plain.len()).as_ref(), Some(&plain));
            // A length that lies either way is no certificate.
            assert_eq!(expand(algorithm, bytes, plain.len() - 1), None);
            assert_eq!(expand(algorithm, bytes, plain.len() + 1), None);
            assert_eq!(
                expand(algorithm, &bytes[..bytes.len() - 9], plain.len()),
                None
            );
        }
        // RFC 7932: an uncompressed meta-block of "abc", then an empty last one.
        let brotli = [0x21, 0x08, 0x00, 0x80, 0x61, 0x62, 0x63, 0x03];
        let expanded = expand(2, &brotli, 3);
        assert!(expanded.is_none() || expanded.as_deref() == Some(b"abc"));
        assert_eq!(expand(9, &zlib, plain.len()), None);
    }
}
