//! Protocols over streams that are recognised and named, and not read further.

use super::reader::Role;
use super::registry::{Look, Match};
use super::text::{be16, be24, be32, is_beginning_of, le16, le32, magic, starts_with_any_case};

/// SSH (RFC 4253 §4.2): encrypted by its own means.
pub(super) fn probe_ssh(look: &Look<'_>) -> Match {
    // Both sides begin so; a version follows.
    match magic(look.bytes, b"SSH-") {
        Some(true) => match look.bytes.get(4) {
            None => Match::NeedMore,
            Some(version) => Match::when(version.is_ascii_digit(), Role::Client),
        },
        found => Match::magic(found, Role::Client),
    }
}

/// VNC (RFC 6143 §7.1.1): `RFB 003.008\n` from the server.
pub(super) fn probe_rfb(look: &Look<'_>) -> Match {
    let shape = b"RFB ddd.ddd\n";
    let fits = look
        .bytes
        .iter()
        .zip(shape)
        .all(|(byte, shape)| match shape {
            b'd' => byte.is_ascii_digit(),
            other => byte == other,
        });
    match (fits, look.bytes.len() >= shape.len()) {
        (false, _) => Match::No,
        (true, true) => Match::Yes(Role::Server),
        (true, false) => Match::NeedMore,
    }
}

/// BitTorrent (BEP 3).
pub(super) fn probe_bittorrent(look: &Look<'_>) -> Match {
    Match::magic(magic(look.bytes, b"\x13BitTorrent protocol"), Role::Client)
}

/// rsync's daemon.
pub(super) fn probe_rsync(look: &Look<'_>) -> Match {
    Match::magic(magic(look.bytes, b"@RSYNCD: "), Role::Server)
}

/// NATS: the server's INFO with JSON.
pub(super) fn probe_nats(look: &Look<'_>) -> Match {
    for start in [&b"INFO {\"server_id\""[..], b"INFO {\"server_name\""] {
        match magic(look.bytes, start) {
            Some(false) => {}
            found => return Match::magic(found, Role::Server),
        }
    }
    Match::No
}

/// Zabbix.
pub(super) fn probe_zabbix(look: &Look<'_>) -> Match {
    Match::magic(magic(look.bytes, b"ZBXD\x01"), Role::Client)
}

/// git's own protocol: `hhhhgit-upload-pack /…`.
pub(super) fn probe_git(look: &Look<'_>) -> Match {
    let digits = look.bytes.iter().take(4).all(u8::is_ascii_hexdigit);
    let Some(command) = look.bytes.get(4..).filter(|_| digits) else {
        return Match::when_cut(digits && look.bytes.len() < 4);
    };
    for service in [
        &b"git-upload-pack "[..],
        b"git-receive-pack ",
        b"git-upload-archive ",
    ] {
        match magic(command, service) {
            Some(false) => {}
            found => return Match::magic(found, Role::Client),
        }
    }
    Match::No
}

/// MongoDB's wire protocol: length, ids, OP_QUERY, OP_COMPRESSED or OP_MSG.
pub(super) fn probe_mongodb(look: &Look<'_>) -> Match {
    let bytes = look.bytes;
    let (Some(len), Some(answers), Some(opcode)) =
        (le32(bytes, 0), le32(bytes, 8), le32(bytes, 12))
    else {
        return Match::when_cut(
            bytes.get(3).is_none_or(|high| *high <= 2)
                && !bytes.is_empty()
                && bytes
                    .first()
                    .is_some_and(|low| *low >= 21 || bytes.len() > 1),
        );
    };
    if !(21..=48_000_000).contains(&len) {
        return Match::No;
    }
    match opcode {
        1 => Match::Yes(Role::Server),
        2004 => {
            let name = bytes.get(20..).unwrap_or_default();
            match name.iter().take(128).position(|byte| *byte == 0) {
                Some(end) => {
                    let name = name.get(..end).unwrap_or_default();
                    Match::when(name.contains(&b'.'), Role::Client)
                }
                None => Match::when_cut(name.len() < 128),
            }
        }
        2012 | 2013 => Match::Yes(if answers == 0 {
            Role::Client
        } else {
            Role::Server
        }),
        _ => Match::No,
    }
}

/// BGP (RFC 4271 §4.1): a marker of ones, a length, a type.
pub(super) fn probe_bgp(look: &Look<'_>) -> Match {
    match magic(look.bytes, &[0xff; 16]) {
        Some(true) => match (be16(look.bytes, 16), look.bytes.get(18)) {
            (Some(len), Some(kind)) => Match::when(
                (19..=4096).contains(&len) && (1..=5).contains(kind),
                Role::Client,
            ),
            _ => Match::NeedMore,
        },
        // Two ones are Telnet's as well; the rest tells.
        found => Match::magic(found, Role::Client),
    }
}

/// PPTP's control connection (RFC 2637 §2): magic cookie 0x1a2b3c4d.
pub(super) fn probe_pptp(look: &Look<'_>) -> Match {
    match (be16(look.bytes, 2), be32(look.bytes, 4)) {
        (Some(1), Some(cookie)) => Match::when(cookie == 0x1a2b_3c4d, Role::Client),
        (None | Some(1), None) => Match::when_cut(look.bytes.first().is_none_or(|high| *high == 0)),
        _ => Match::No,
    }
}

/// Modbus/TCP (MODBUS Messaging on TCP/IP §3.1): the length must end where the
/// bytes end, and fit the function.
pub(super) fn probe_modbus(look: &Look<'_>) -> Match {
    let bytes = look.bytes;
    let (Some(0), Some(len), Some(&function)) = (be16(bytes, 2), be16(bytes, 4), bytes.get(7))
    else {
        return Match::when_cut(
            bytes.len() < 8
                && bytes
                    .get(2..4.min(bytes.len()))
                    .is_none_or(|id| id.iter().all(|byte| *byte == 0))
                && bytes.get(4).is_none_or(|high| *high == 0),
        );
    };
    let len = usize::from(len);
    let Some(after) = bytes.get(6 + len..).filter(|_| len <= 254) else {
        return Match::No;
    };
    // Further messages may follow; they have the same shape.
    let chained = after.is_empty() || after.get(2..4).is_none_or(|id| id == [0, 0]);
    let fits = match function {
        // Reads and single writes take two words.
        8 => len == 6,
        1..=6 => {
            len == 6
                || (function <= 4
                    && bytes
                        .get(8)
                        .is_some_and(|count| len == 3 + usize::from(*count)))
        }
        15 | 16 => {
            len == 6
                || bytes
                    .get(12)
                    .is_some_and(|count| len == 7 + usize::from(*count))
        }
        43 => bytes.get(8) == Some(&14),
        0x81..=0x86 | 0x8f | 0x90 => len == 3,
        _ => false,
    };
    let is_response = match function {
        0x80.. => true,
        1..=4 => len != 6,
        _ => false,
    };
    let role = if is_response {
        Role::Server
    } else {
        Role::Client
    };
    Match::when(fits && chained, role)
}

/// DNP3 (IEEE 1815 §9.2): start bytes and a header whose CRC holds.
pub(super) fn probe_dnp3(look: &Look<'_>) -> Match {
    match look.bytes {
        [] | [5] => Match::NeedMore,
        [5, 0x64, ..] => match (look.bytes.get(..8), le16(look.bytes, 8)) {
            (Some(header), Some(crc)) => {
                let from_master = header.get(3).is_some_and(|control| control & 0x80 != 0);
                let role = if from_master {
                    Role::Client
                } else {
                    Role::Server
                };
                Match::when(dnp3_crc(header) == crc, role)
            }
            _ => Match::NeedMore,
        },
        _ => Match::No,
    }
}

/// CRC-16/DNP: polynomial 0x3d65 reflected, inverted.
fn dnp3_crc(bytes: &[u8]) -> u16 {
    let mut crc = 0_u16;
    for byte in bytes {
        crc ^= u16::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                crc >> 1 ^ 0xa6bc
            } else {
                crc >> 1
            };
        }
    }
    !crc
}

/// IEC 60870-5-104: STARTDT, STOPDT and TESTFR are six fixed bytes.
pub(super) fn probe_iec104(look: &Look<'_>) -> Match {
    match look.bytes {
        [0x68, 4, control, 0, 0, 0, rest @ ..] => {
            let role = match control {
                0x07 | 0x13 | 0x43 => Role::Client,
                0x0b | 0x23 | 0x83 => Role::Server,
                _ => return Match::No,
            };
            Match::when(rest.first().is_none_or(|next| *next == 0x68), role)
        }
        bytes => Match::when_cut(
            is_beginning_of(bytes, &[0x68, 4])
                || bytes.len() < 6
                    && bytes.starts_with(&[0x68, 4])
                    && bytes.iter().skip(3).all(|byte| *byte == 0),
        ),
    }
}

/// EtherNet/IP (CIP volume 2 §2-3.2): register session, list services and identity.
pub(super) fn probe_enip(look: &Look<'_>) -> Match {
    let (Some(command), Some(len), Some(status)) = (
        le16(look.bytes, 0),
        le16(look.bytes, 2),
        le32(look.bytes, 8),
    ) else {
        return Match::when_cut(
            look.bytes.get(1).is_none_or(|high| *high == 0)
                && look
                    .bytes
                    .first()
                    .is_none_or(|low| matches!(low, 4 | 0x63..=0x65 | 0x6f | 0x70)),
        );
    };
    let session = le32(look.bytes, 4).unwrap_or(1);
    if matches!(command, 0x6f | 0x70) && look.bytes.len() < 28 {
        return Match::NeedMore;
    }
    let fits = match command {
        0x65 => len == 4,
        0x04 | 0x63 | 0x64 => len == 0 && session == 0,
        // SendRRData, SendUnitData: interface handle 0, in a session.
        0x6f | 0x70 => session != 0 && len >= 16 && be32(look.bytes, 24) == Some(0),
        _ => false,
    };
    let role = if session == 0 {
        Role::Client
    } else {
        Role::Server
    };
    Match::when(fits && status == 0, role)
}

/// ONC RPC over TCP (RFC 5531 §11): a last fragment, a call of version 2.
pub(super) fn probe_rpc_stream(look: &Look<'_>) -> Match {
    let Some(mark) = be32(look.bytes, 0) else {
        return Match::when_cut(look.bytes.first().is_none_or(|high| *high == 0x80));
    };
    if !(0x8000_0018..=0x8010_0000).contains(&mark) {
        return Match::No;
    }
    rpc(look.bytes.get(4..).unwrap_or_default(), true)
}

/// ONC RPC over UDP.
pub(super) fn probe_rpc_datagram(look: &Look<'_>) -> Match {
    rpc(look.bytes, false)
}

/// `xid, CALL, 2, program, version, procedure`.
fn rpc(bytes: &[u8], stream: bool) -> Match {
    let word = |index: usize| be32(bytes, index * 4);
    let expected = [
        (1, 0..=0),
        (2, 2..=2),
        (3, 100_000..=400_000),
        (4, 1..=8),
        (5, 0..=64),
    ];
    for (index, range) in expected {
        match word(index) {
            None if stream => return Match::NeedMore,
            Some(value) if range.contains(&value) => {}
            _ => return Match::No,
        }
    }
    Match::Yes(Role::Client)
}

/// Diameter (RFC 6733 §3): version 1, a length of whole words, a base command.
pub(super) fn probe_diameter(look: &Look<'_>) -> Match {
    let bytes = look.bytes;
    let (Some(len), Some(flags), Some(command)) = (be24(bytes, 1), bytes.get(4), be24(bytes, 5))
    else {
        return Match::when_cut(
            bytes.first().is_none_or(|version| *version == 1)
                && bytes.get(1).is_none_or(|high| *high == 0),
        );
    };
    let fits = bytes.first() == Some(&1)
        && (20..=65_536).contains(&len)
        && len % 4 == 0
        && flags & 0x0f == 0
        && matches!(
            command,
            257 | 258 | 265 | 268 | 271 | 272 | 274 | 275 | 280 | 282 | 300..=329
        );
    let role = if flags & 0x80 != 0 {
        Role::Client
    } else {
        Role::Server
    };
    Match::when(fits, role)
}

/// STOMP: CONNECT or STOMP with headers of its own.
pub(super) fn probe_stomp(look: &Look<'_>) -> Match {
    let bytes = look.bytes;
    for start in [&b"CONNECT\n"[..], b"CONNECT\r\n", b"STOMP\n", b"STOMP\r\n"] {
        if let Some(headers) = bytes.strip_prefix(start) {
            let known = [
                &b"accept-version:"[..],
                b"login:",
                b"host:",
                b"heart-beat:",
                b"passcode:",
            ];
            if known.iter().any(|name| starts_with_any_case(headers, name)) {
                return Match::Yes(Role::Client);
            }
            return Match::when_cut(known.iter().any(|name| is_beginning_of(headers, name)));
        }
        if is_beginning_of(bytes, start) {
            return Match::NeedMore;
        }
    }
    Match::No
}

/// Android's debug bridge: CNXN with its complement.
pub(super) fn probe_adb(look: &Look<'_>) -> Match {
    match magic(look.bytes, b"CNXN") {
        Some(true) => match look.bytes.get(20..24) {
            None => Match::NeedMore,
            Some(complement) => Match::when(complement == [0xbc, 0xb1, 0xa7, 0xb1], Role::Client),
        },
        found => Match::magic(found, Role::Client),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::testing::{Case, c, datagrams, hex, s, stream};

    pub(in super::super) fn cases() -> Vec<Case> {
        let mut bgp = vec![0xff; 16];
        bgp.extend(hex("001d 01 04 fe09 00b4 0a000001 00"));
        let call = "00000001 00000000 00000002 000186a0 00000002 00000003";
        vec![
            stream(
                "ssh",
                "ssh",
                vec![s("SSH-2.0-OpenSSH_9.2\r\n"), c("SSH-2.0-x\r\n")],
            ),
            stream("vnc", "rfb", vec![s("RFB 003.008\n"), c("RFB 003.008\n")]),
            stream(
                "bittorrent",
                "bittorrent",
                vec![c(b"\x13BitTorrent protocol\0\0\0\0\0\0\0\0")],
            ),
            stream("rsync", "rsync", vec![s("@RSYNCD: 31.0\n")]),
            stream("nats", "nats", vec![s("INFO {\"server_id\":\"x\"}\r\n")]),
            stream("zabbix", "zabbix", vec![c(b"ZBXD\x01\x02\0\0\0\0\0\0\0{}")]),
            stream(
                "git",
                "git",
                vec![c("0033git-upload-pack /x.git\0host=a\0")],
            ),
            stream(
                "mongodb",
                "mongodb",
                vec![c(hex(
                    "1a000000 01000000 00000000 dd070000 00000000 00 05000000 00",
                ))],
            ),
            stream("bgp", "bgp", vec![c(bgp)]),
            stream("pptp", "pptp", vec![c(hex("009c 0001 1a2b3c4d 0001 0000"))]),
            stream(
                "modbus",
                "modbus",
                vec![c(hex("0001 0000 0006 01 03 0000 000a"))],
            ),
            // The example frame of many DNP3 guides: reset link, master 1 to outstation 1024.
            stream("dnp3", "dnp3", vec![c(hex("0564 05c0 0100 0004 e921"))]),
            stream("iec 104", "iec104", vec![c(hex("68 04 07 00 00 00"))]),
            stream(
                "ethernet/ip",
                "enip",
                vec![c(hex(
                    "6500 0400 00000000 00000000 0000000000000000 00000000 0100 0000",
                ))],
            ),
            stream(
                "ethernet/ip in its midst",
                "enip",
                vec![c(hex(
                    "7000 1000 00021101 00000000 0000000000000000 00000000 00000000 0000",
                ))],
            ),
            stream(
                "diameter",
                "diameter",
                vec![c(hex("01000014 80 000118 00000000 00000001 00000002"))],
            ),
            stream(
                "stun over tcp",
                "stun",
                vec![c(hex(
                    "0003 0008 2112a442 000102030405060708090a0b 0019000411000000",
                ))],
            ),
            stream(
                "portmap over tcp",
                "rpc",
                vec![c(hex(&format!("80000018 {call}")))],
            ),
            datagrams("portmap", "rpc", 111, vec![c(hex(call))]),
            stream(
                "stomp",
                "stomp",
                vec![c("CONNECT\naccept-version:1.2\n\n\0")],
            ),
            stream(
                "adb",
                "adb",
                vec![c(hex(
                    "434e584e 00000001 00100000 07000000 32020000 bcb1a7b1",
                ))],
            ),
        ]
    }

    #[test]
    fn ssh_counts_as_encrypted() {
        let facts = cases()[0].run();
        assert_eq!(facts.bytes_encrypted, [11, 21]);
        assert_eq!(facts.bytes_plaintext, [0, 0]);
        assert!(facts.plaintext.expect("recognised").encrypted);
    }
}
