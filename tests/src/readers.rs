//! Targets for the readers of protocols, each of which begins with bytes by which
//! its protocol is known: what follows goes to that reader and no other.

use crate::{Target, with_context};
use nsforensics_engine::proto::icmp::Echo;
use nsforensics_engine::proto::session::Session;
use nsforensics_engine::proto::{Direction, SessionFacts, Want};

/// How a conversation begins.
#[derive(Clone, Copy, Debug)]
pub struct Beginning {
    /// The target that uses it.
    pub target: &'static str,
    /// The service that it is.
    pub service: &'static str,
    /// Over datagrams.
    pub datagrams: bool,
    /// Who says what.
    pub turns: &'static [(Direction, &'static [u8])],
    /// The server's port.
    pub port: u16,
}

/// The targets of this module.
pub const TARGETS: &[Target] = &[
    ("dce_rpc", dce_rpc),
    ("desktop", desktop),
    ("tunnels", tunnels),
    ("quic", quic),
    ("messages", messages),
    ("lines", lines),
    ("icmp", icmp),
];

use Direction::{Orig as C, Resp as S};

const fn stream(
    target: &'static str,
    service: &'static str,
    turns: &'static [(Direction, &'static [u8])],
) -> Beginning {
    Beginning {
        target,
        service,
        datagrams: false,
        turns,
        port: 40_000,
    }
}

const fn datagrams(
    target: &'static str,
    service: &'static str,
    port: u16,
    turns: &'static [(Direction, &'static [u8])],
) -> Beginning {
    Beginning {
        target,
        service,
        datagrams: true,
        turns,
        port,
    }
}

/// An Initial of QUIC 1 is at least as long (RFC 9000 §14.1).
const INITIAL: [u8; 1200] = {
    let mut packet = [0x55; 1200];
    let head = *b"\xc3\0\0\0\x01\x08\x01\x02\x03\x04\x05\x06\x07\x08\0\0\x44\x96";
    let mut at = 0;
    while at < head.len() {
        packet[at] = head[at];
        at += 1;
    }
    packet
};

/// Of every reader, one. A test holds them against the engine's registry.
pub const BEGINNINGS: &[Beginning] = &[
    stream(
        "dce_rpc",
        "dce_rpc",
        &[
            (C, b"\x05\0\x0b\x03\x10\0\0\0\x10\0\0\0\x01\0\0\0"),
            (S, b"\x05\0\x0c\x03\x10\0\0\0\x10\0\0\0\x01\0\0\0"),
        ],
    ),
    stream(
        "desktop",
        "smb",
        &[(
            C,
            b"\0\0\0\x18\xfeSMB\x40\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        )],
    ),
    stream(
        "desktop",
        "rdp",
        &[(
            C,
            b"\x03\0\0\x13\x0e\xe0\0\0\0\0\0\x01\0\x08\0\x0b\0\0\0",
        )],
    ),
    stream(
        "desktop",
        "tds",
        &[(
            C,
            b"\x12\x01\0\x1a\0\0\0\0\0\0\x0b\0\x06\x01\0\x11\0\x01\xff\x0f\0\x07\xd0\0\0\x02",
        )],
    ),
    stream("desktop", "x11", &[(C, b"l\0\x0b\0\0\0\0\0\0\0\0\0")]),
    stream(
        "tunnels",
        "socks",
        &[(C, b"\x05\x02\0\x02"), (S, b"\x05\x02")],
    ),
    stream(
        "tunnels",
        "socks",
        &[
            (C, b"\x04\x01\x01\xbb\x0a\0\0\x01me\0"),
            (S, b"\0\x5a\0\0\0\0\0\0"),
        ],
    ),
    stream(
        "tunnels",
        "proxy",
        &[(C, b"PROXY TCP4 192.0.2.1 192.0.2.2 50000 443\r\n")],
    ),
    datagrams("quic", "quic", 443, &[(C, &INITIAL)]),
    datagrams(
        "quic",
        "quic",
        443,
        &[
            (C, &INITIAL),
            // A Retry: ids of eight bytes and none, a token, a tag (RFC 9000 §17.2.5).
            (
                S,
                b"\xf0\0\0\0\x01\0\x08retried!token and a tag of the server",
            ),
        ],
    ),
    datagrams(
        "quic",
        "dtls",
        443,
        &[(
            C,
            b"\x16\xfe\xff\0\0\0\0\0\0\0\0\0\x10\x01\0\0\x04\0\0\0\0\0\0\0\x04\xfe\xfd\0\0",
        )],
    ),
    stream(
        "messages",
        "ldap",
        &[(
            C,
            b"\x30\x14\x02\x01\x01\x60\x0f\x02\x01\x03\x04\x04cn=a\x80\x04secr",
        )],
    ),
    stream(
        "messages",
        "postgresql",
        &[(C, b"\0\0\0\x11\0\x03\0\0user\0me\0\0")],
    ),
    stream(
        "messages",
        "mysql",
        &[(
            S,
            b"\x4a\0\0\0\x0a8.0\0\x01\0\0\0ABCDEFGH\0\xff\xff\x21\x02\0\0\0\x15\0\0\0\0\0\0\0\0\0\0ABCDEFGHIJKL\0mysql_native_password\0\0",
        )],
    ),
    stream(
        "messages",
        "amqp",
        &[
            (C, b"AMQP\0\0\x09\x01"),
            (S, b"\x01\0\0\0\0\0\x04\0\x0a\0\x0a\xce"),
        ],
    ),
    stream(
        "messages",
        "mqtt",
        &[(C, b"\x10\x0e\0\x06MQIsdp\x03\x02\0\x3c\0\0")],
    ),
    stream(
        "messages",
        "telnet",
        &[(S, b"\xff\xfd\x18\xff\xfd\x20\r\nlogin: "), (C, b"\xff\xfb\x18")],
    ),
    stream("messages", "redis", &[(C, b"*1\r\n$4\r\nPING\r\n")]),
    datagrams(
        "messages",
        "snmp",
        161,
        &[(
            C,
            b"\x30\x0f\x02\x01\x01\x04\x06public\xa0\x02\x05\0",
        )],
    ),
    datagrams(
        "messages",
        "stun",
        3478,
        &[(C, b"\0\x01\0\0\x21\x12\xa4\x42abcdefghijkl")],
    ),
    datagrams(
        "messages",
        "mdns",
        5353,
        &[(
            C,
            b"\0\0\x84\0\0\0\0\x01\0\0\0\0\x03foo\x05local\0\0\x01\x80\x01\0\0\0\x78\0\x04\x0a\0\0\x01",
        )],
    ),
    datagrams(
        "messages",
        "llmnr",
        5355,
        &[(C, b"\x12\x34\0\0\0\x01\0\0\0\0\0\0\x01a\x07example\0\0\x01\0\x01")],
    ),
    datagrams(
        "messages",
        "nbns",
        137,
        &[(
            C,
            b"\x80\x01\x01\x10\0\x01\0\0\0\0\0\0\x20FHEPFCELEHFCEPFFFACACACACACACABL\0\0\x20\0\x01",
        )],
    ),
    stream(
        "lines",
        "smtp",
        &[(S, b"220 a.example ESMTP\r\n"), (C, b"EHLO b\r\n")],
    ),
    stream("lines", "ftp", &[(S, b"220 FTP server\r\n"), (C, b"USER me\r\n")]),
    stream(
        "lines",
        "imap",
        &[(S, b"* OK IMAP4rev1 ready\r\n"), (C, b"a CAPABILITY\r\n")],
    ),
    stream("lines", "pop3", &[(S, b"+OK POP3 ready\r\n"), (C, b"USER me\r\n")]),
    stream(
        "lines",
        "nntp",
        &[(S, b"200 news.example InterNetNews NNRP server ready\r\n")],
    ),
    stream("lines", "irc", &[(C, b"NICK me\r\nUSER me 0 * :Me\r\n")]),
    stream(
        "lines",
        "xmpp",
        &[(
            C,
            b"<?xml version='1.0'?><stream:stream to='a.example' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>",
        )],
    ),
    stream(
        "lines",
        "sip",
        &[(C, b"REGISTER sip:a.example SIP/2.0\r\nVia: SIP/2.0/TCP x\r\n\r\n")],
    ),
    stream(
        "lines",
        "rtsp",
        &[(C, b"OPTIONS rtsp://a.example/x RTSP/1.0\r\nCSeq: 1\r\n\r\n")],
    ),
    datagrams(
        "lines",
        "sip",
        5060,
        &[(C, b"REGISTER sip:a.example SIP/2.0\r\nVia: SIP/2.0/UDP x\r\n\r\n")],
    ),
];

/// What a conversation comes to that begins so: the first byte chooses, pieces of
/// both sides follow. What was counted was there, what is held is bounded.
fn converse_from(target: &str, bytes: &[u8]) {
    let Some((&choice, rest)) = bytes.split_first() else {
        return;
    };
    let all: Vec<&Beginning> = BEGINNINGS
        .iter()
        .filter(|one| one.target == target)
        .collect();
    facts_of(all[usize::from(choice) % all.len()], rest);
}

/// The facts of a conversation that begins so and goes on with pieces of bytes.
pub fn facts_of(beginning: &Beginning, bytes: &[u8]) -> SessionFacts {
    let mut session = Session::default();
    let mut given = [0_u64; 2];
    let mut turns: Vec<(Direction, &[u8])> = beginning.turns.to_vec();
    let mut rest = bytes;
    while let Some((&control, more)) = rest.split_first() {
        let (piece, later) = more.split_at(usize::from(control >> 1).min(more.len()));
        turns.push((if control & 1 == 0 { C } else { S }, piece));
        rest = later;
    }
    let facts = with_context(None, beginning.port, |cx| {
        // What is to be passed over of each side; none once nothing is wanted.
        let mut skip = [Some(0_u64); 2];
        for (direction, turn) in turns {
            let skip = &mut skip[direction.index()];
            given[direction.index()] += turn.len() as u64;
            let passed = skip.map_or(turn.len(), |skip| {
                usize::try_from(skip).map_or(turn.len(), |skip| skip.min(turn.len()))
            });
            let (over, piece) = turn.split_at(passed);
            if !over.is_empty() {
                session.skipped(direction, over.len() as u64);
                *skip = skip.map(|skip| skip - over.len() as u64);
            }
            if !piece.is_empty() {
                let want = match beginning.datagrams {
                    true => session.datagram(cx, direction, piece),
                    false => session.data(cx, direction, piece),
                };
                *skip = match want {
                    Want::Bytes => Some(0),
                    Want::Skip(len) => Some(len),
                    Want::Nothing => None,
                };
            }
            assert!(session.heap_bytes() < 4 << 20);
        }
        session.end(cx)
    });
    let counts = facts.bytes_plaintext.iter().zip(facts.bytes_encrypted);
    for ((plain, encrypted), given) in counts.zip(given) {
        assert!(
            plain + encrypted <= given,
            "{plain} and {encrypted} of {given}"
        );
    }
    facts
}

/// DCE/RPC, whose calls may be encrypted one by one.
pub fn dce_rpc(bytes: &[u8]) {
    converse_from("dce_rpc", bytes);
}

/// SMB, RDP, TDS and X11.
pub fn desktop(bytes: &[u8]) {
    converse_from("desktop", bytes);
}

/// SOCKS 4 and 5, and the PROXY protocol.
pub fn tunnels(bytes: &[u8]) {
    converse_from("tunnels", bytes);
}

/// QUIC behind an Initial or a Retry, and DTLS.
pub fn quic(bytes: &[u8]) {
    converse_from("quic", bytes);
}

/// Protocols of messages that state their length.
pub fn messages(bytes: &[u8]) {
    converse_from("messages", bytes);
}

/// Protocols of lines.
pub fn lines(bytes: &[u8]) {
    converse_from("lines", bytes);
}

/// Echo messages are counted once each, whatever they carry.
pub fn icmp(bytes: &[u8]) {
    let mut echo = Echo::default();
    let (mut asked, mut answered, mut rest) = (0_u64, 0_u64, bytes);
    while let Some((&[control, number, more], behind)) = rest.split_first_chunk::<3>() {
        let (payload, later) = behind.split_at(usize::from(more).min(behind.len()));
        rest = later;
        let is_request = control & 1 == 0;
        let direction = if control & 2 == 0 { C } else { S };
        let cut = u32::from(control >> 4);
        let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        echo.message(direction, is_request, number.into(), payload, len + cut);
        if is_request {
            asked += 1;
        } else {
            answered += 1;
        }
        assert!(echo.largest >= len);
    }
    assert_eq!(echo.requests, asked);
    assert!(echo.unlike + echo.unasked <= answered);
    assert!(echo.varied + echo.marked <= 2 * (asked + answered));
    assert_eq!(echo.mark.is_some(), echo.marked > 0);
}
