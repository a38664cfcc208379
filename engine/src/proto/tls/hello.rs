//! ClientHello and ServerHello, and what their extensions say. Extensions are
//! walked by type and length alone, so that one that is malformed hides none
//! that follow it. RFC 5246 §7.4.1, RFC 8446 §4.1, RFC 6066, RFC 8701.

use super::handshake::Carrier;
use super::read::{Read, numbers};
use super::suites::is_grease;
use super::{ClientHello, Ech, Sentinel, ServerHello};
use sha2::{Digest, Sha256};

/// A ClientHello with what is needed to link sessions, but kept nowhere.
#[derive(Debug, Default)]
pub(super) struct ParsedClient {
    pub(super) hello: ClientHello,
    pub(super) session_id: Vec<u8>,
    pub(super) ticket_hash: Option<[u8; 8]>,
    pub(super) random: [u8; 32],
    /// A part did not parse; what did is kept.
    pub(super) malformed: bool,
}

/// A ServerHello likewise.
#[derive(Debug, Default)]
pub(super) struct ParsedServer {
    pub(super) hello: ServerHello,
    pub(super) session_id: Vec<u8>,
    pub(super) is_retry: bool,
    pub(super) ech: bool,
    pub(super) sct_list: Option<Box<[u8]>>,
    pub(super) random: [u8; 32],
    pub(super) malformed: bool,
}

/// The random of a HelloRetryRequest (RFC 8446 §4.1.3).
const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// Longest server name kept: a DNS name has at most 253 characters, and more
/// is somebody's joke.
const MAX_NAME: usize = 255;
/// ALPN names kept.
const MAX_ALPN: usize = 32;

const TLS_EMPTY_RENEGOTIATION_INFO_SCSV: u16 = 0x00ff;
const TLS_FALLBACK_SCSV: u16 = 0x5600;

/// The first eight bytes of a SHA-256: enough to link, not to use.
pub(super) fn short_hash(secret: &[u8]) -> [u8; 8] {
    let mut short = [0; 8];
    short.copy_from_slice(&Sha256::digest(secret)[..8]);
    short
}

fn without_grease(bytes: &[u8]) -> Vec<u16> {
    numbers(bytes)
        .filter(|&number| !is_grease(number))
        .collect()
}

/// The body of a ClientHello; `None` when not even its fixed part is there.
pub(super) fn client(body: &[u8], record_version: u16, carrier: Carrier) -> Option<ParsedClient> {
    let mut read = Read(body);
    let mut parsed = ParsedClient::default();
    parsed.hello.record_version = record_version;
    parsed.hello.version = read.u16()?;
    parsed.random = read.take(32)?.try_into().ok()?;
    parsed.session_id = read.vec8()?.to_vec();
    parsed.hello.session_id_len = u8::try_from(parsed.session_id.len()).unwrap_or(u8::MAX);
    if carrier == Carrier::Datagrams {
        // The cookie (RFC 6347 §4.2.1).
        read.vec8()?;
    }
    let ciphers = read.vec16()?;
    parsed.malformed |= ciphers.len() % 2 != 0;
    parsed.hello.ciphers = without_grease(ciphers);
    parsed.hello.secure_renegotiation = parsed
        .hello
        .ciphers
        .contains(&TLS_EMPTY_RENEGOTIATION_INFO_SCSV);
    parsed.hello.fallback_scsv = parsed.hello.ciphers.contains(&TLS_FALLBACK_SCSV);
    parsed.hello.compression = read.vec8()?.to_vec();
    if read.is_empty() {
        return Some(parsed);
    }
    match read.vec16() {
        Some(extensions) => client_extensions(extensions, &mut parsed),
        None => {
            // A length that lies: take what is there.
            parsed.malformed = true;
            client_extensions(read.0.get(2..).unwrap_or_default(), &mut parsed);
        }
    }
    Some(parsed)
}

fn client_extensions(bytes: &[u8], parsed: &mut ParsedClient) {
    let mut read = Read(bytes);
    while !read.is_empty() {
        let Some((kind, body)) = read.u16().zip(read.vec16()) else {
            parsed.malformed = true;
            return;
        };
        if is_grease(kind) {
            continue;
        }
        parsed.hello.extensions.push(kind);
        if client_extension(kind, body, parsed).is_none() {
            parsed.malformed = true;
        }
    }
}

/// One extension; `None` when it is malformed.
fn client_extension(kind: u16, body: &[u8], parsed: &mut ParsedClient) -> Option<()> {
    let hello = &mut parsed.hello;
    let mut read = Read(body);
    match kind {
        0 => {
            let mut names = Read(read.vec16()?);
            while !names.is_empty() {
                let (name_type, name) = (names.u8()?, names.vec16()?);
                if name_type == 0 && hello.server_name.is_none() {
                    let name = name.get(..MAX_NAME).unwrap_or(name);
                    hello.server_name = Some(String::from_utf8_lossy(name).into_owned());
                }
            }
        }
        5 => hello.status_request = true,
        10 => hello.groups = without_grease(read.vec16()?),
        11 => hello.point_formats = read.vec8()?.to_vec(),
        13 => hello.sigalgs = without_grease(read.vec16()?),
        15 => hello.heartbeat = true,
        16 => {
            let mut names = Read(read.vec16()?);
            while !names.is_empty() {
                let name = names.vec8()?;
                let grease = matches!(name, &[a, b] if is_grease(u16::from_be_bytes([a, b])));
                if !grease && hello.alpn.len() < MAX_ALPN {
                    if let (true, Some(first), Some(last)) =
                        (hello.alpn.is_empty(), name.first(), name.last())
                    {
                        hello.alpn_ends = Some([*first, *last]);
                    }
                    hello.alpn.push(String::from_utf8_lossy(name).into_owned());
                }
            }
        }
        18 => hello.sct = true,
        22 => hello.encrypt_then_mac = true,
        23 => hello.extended_master_secret = true,
        27 => hello.cert_compression = without_grease(read.vec8()?),
        35 => {
            hello.offers_ticket = !body.is_empty();
            parsed.ticket_hash = (!body.is_empty()).then(|| short_hash(body));
        }
        41 => {
            hello.offers_psk = true;
            // The identity of a resumption is the ticket (RFC 8446 §4.2.11).
            let identity = Read(read.vec16()?).vec16()?;
            parsed.ticket_hash = Some(short_hash(identity));
        }
        42 => hello.early_data = true,
        43 => hello.supported_versions = without_grease(read.vec8()?),
        51 => {
            let mut shares = Read(read.vec16()?);
            while !shares.is_empty() {
                let (group, _) = (shares.u16()?, shares.vec16()?);
                if !is_grease(group) {
                    hello.key_shares.push(group);
                }
            }
        }
        0xfe0d => hello.ech = Some(Ech::OuterOrGrease),
        0xff01 => hello.secure_renegotiation = true,
        _ => {}
    }
    Some(())
}

/// The body of a ServerHello.
pub(super) fn server(body: &[u8]) -> Option<ParsedServer> {
    let mut read = Read(body);
    let mut parsed = ParsedServer::default();
    parsed.hello.version = read.u16()?;
    parsed.random = read.take(32)?.try_into().ok()?;
    parsed.is_retry = parsed.random == RETRY;
    parsed.hello.sentinel = match parsed.random.get(24..) {
        Some(b"DOWNGRD\x01") => Some(Sentinel::To12),
        Some(b"DOWNGRD\x00") => Some(Sentinel::To11),
        _ => None,
    };
    // Drafts of TLS 1.3 before the 22nd had neither session id nor compression.
    let old_draft = (0x7f00..0x7f16).contains(&parsed.hello.version);
    if !old_draft {
        parsed.session_id = read.vec8()?.to_vec();
        parsed.hello.session_id_len = u8::try_from(parsed.session_id.len()).unwrap_or(u8::MAX);
    }
    parsed.hello.cipher = read.u16()?;
    if !old_draft {
        parsed.hello.compression = read.u8()?;
    }
    if read.is_empty() {
        return Some(parsed);
    }
    let Some(extensions) = read.vec16() else {
        parsed.malformed = true;
        return Some(parsed);
    };
    let mut read = Read(extensions);
    while !read.is_empty() {
        let Some((kind, body)) = read.u16().zip(read.vec16()) else {
            parsed.malformed = true;
            break;
        };
        parsed.hello.extensions.push(kind);
        if server_extension(kind, body, &mut parsed).is_none() {
            parsed.malformed = true;
        }
    }
    Some(parsed)
}

fn server_extension(kind: u16, body: &[u8], parsed: &mut ParsedServer) -> Option<()> {
    let hello = &mut parsed.hello;
    let mut read = Read(body);
    match kind {
        5 => hello.status_request = true,
        15 => hello.heartbeat = true,
        16 => {
            let mut names = Read(read.vec16()?);
            hello.alpn = Some(String::from_utf8_lossy(names.vec8()?).into_owned());
        }
        18 => parsed.sct_list = Some(body.into()),
        22 => hello.encrypt_then_mac = true,
        23 => hello.extended_master_secret = true,
        41 => hello.psk = true,
        43 => hello.supported_version = Some(read.u16()?),
        51 => hello.key_share_group = Some(read.u16()?),
        0xfe0d => parsed.ech = true,
        0xff01 => hello.secure_renegotiation = true,
        _ => {}
    }
    Some(())
}

/// An SSL 2 CLIENT-HELLO: the message after its two length bytes.
pub(super) fn client_v2(message: &[u8]) -> Option<ParsedClient> {
    let mut read = Read(message);
    let mut parsed = ParsedClient::default();
    if read.u8()? != 1 {
        return None;
    }
    parsed.hello.record_version = 0x0002;
    parsed.hello.version = read.u16()?;
    let (ciphers, session_id) = (read.u16()?, read.u16()?);
    read.u16()?;
    for kind in read.take(usize::from(ciphers))?.chunks_exact(3) {
        match *kind {
            // TLS suites stand with a leading zero (RFC 5246 §E.2).
            [0, high, low] => parsed.hello.ciphers.push(u16::from_be_bytes([high, low])),
            [a, b, c] => parsed
                .hello
                .sslv2_ciphers
                .push(u32::from_be_bytes([0, a, b, c])),
            _ => {}
        }
    }
    parsed.session_id = read.take(usize::from(session_id))?.to_vec();
    parsed.hello.session_id_len = u8::try_from(session_id).unwrap_or(u8::MAX);
    parsed.hello.secure_renegotiation = parsed
        .hello
        .ciphers
        .contains(&TLS_EMPTY_RENEGOTIATION_INFO_SCSV);
    parsed.hello.fallback_scsv = parsed.hello.ciphers.contains(&TLS_FALLBACK_SCSV);
    Some(parsed)
}
