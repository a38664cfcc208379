//! Windows and desktops: SMB (MS-SMB2 §2.2), RDP's negotiation (MS-RDPBCGR
//! §2.2.1.1) and ISO transport, TDS (MS-TDS §2.2.6), X11.

use super::PlaintextFacts;
use super::reader::{Frame, Frames, Measure, Next, Reader, Role, Scene, Upgrade};
use super::registry::{Look, Match};
use super::text::{be16, be24, be32, le16, le32, starts_with_any_case};
use crate::proto::tls::{self, TlsHandshake, TlsSession};
use crate::proto::{Cx, Direction, Probe, Want};

/// SMB after NetBIOS session framing (RFC 1002 §4.3.1).
pub(super) fn probe_smb(look: &Look<'_>) -> Match {
    match look.bytes {
        [] | [0] => Match::NeedMore,
        // A session request: 68 bytes with two encoded names.
        [0x81, 0, 0, 0x44, 0x20, ..] => Match::Yes(Role::Client),
        [0x81, rest @ ..] if b"\0\0\x44\x20".starts_with(rest) => Match::NeedMore,
        [0, rest @ ..] if rest.len() < 7 => {
            let kind = rest.get(3);
            let name = rest.get(4..).unwrap_or_default();
            Match::when_cut(
                rest.first().is_none_or(|high| *high < 2)
                    && kind.is_none_or(|kind| (0xfc..=0xff).contains(kind))
                    && b"SMB".starts_with(name),
            )
        }
        [0, _, _, _, 0xfc..=0xff, b'S', b'M', b'B', rest @ ..] => {
            // Flags say who speaks: SMB1's reply bit, SMB2's SERVER_TO_REDIR.
            let is_reply = match look.bytes.get(4) {
                Some(0xff) => rest.get(5).map(|flags| flags & 0x80 != 0),
                Some(0xfe) => rest.get(12).map(|flags| flags & 1 != 0),
                _ => Some(false),
            };
            match is_reply {
                None => Match::NeedMore,
                Some(true) => Match::Yes(Role::Server),
                Some(false) => Match::Yes(Role::Client),
            }
        }
        _ => Match::No,
    }
}

/// SMB's reader.
pub(super) fn open_smb() -> Box<dyn Reader> {
    Box::new(Smb::default())
}

#[derive(Debug, Default)]
struct Smb {
    sides: [Frames; 2],
}

impl Reader for Smb {
    fn data(&mut self, scene: &mut Scene<'_, '_>, from: Role, bytes: &[u8]) -> Next {
        let mut rest = bytes;
        loop {
            let frame = self.sides[from.index()].next(&mut rest, 8, |bytes| match be24(bytes, 1) {
                None => Measure::Short,
                Some(_) if !matches!(bytes.first(), Some(0 | 0x81..=0x85)) => Measure::Bad,
                Some(len) => Measure::Len(u64::from(len) + 4),
            });
            match frame {
                Frame::Message(message) => {
                    // The transform header of SMB 3's encryption (MS-SMB2 §2.2.41).
                    if message.get(4..8) == Some(b"\xfdSMB") {
                        let len = be24(&message, 1).map_or(0, u64::from) + 4;
                        scene.sealed(self.sides[from.index()].carried(), len);
                    }
                }
                Frame::Want(want) => return Next::Want(want),
                Frame::Lost => {
                    scene.malformed("framing lost");
                    return Next::NOTHING;
                }
            }
        }
    }

    fn gap(&mut self, from: Role, _len: u64) -> Want {
        self.sides[from.index()].gap()
    }

    fn heap_bytes(&self) -> usize {
        self.sides.iter().map(Frames::heap_bytes).sum()
    }
}

// X.224 TPDU codes (ISO 8073 §13).
const CONNECTION_REQUEST: u8 = 0xe0;
const CONNECTION_CONFIRM: u8 = 0xd0;

/// A TPKT with an X.224 connection request that is RDP's.
pub(super) fn probe_rdp(look: &Look<'_>) -> Match {
    probe_tpkt(look.bytes, true)
}

/// A TPKT with any other X.224 connection request: S7comm, MMS and the like.
pub(super) fn probe_iso(look: &Look<'_>) -> Match {
    probe_tpkt(look.bytes, false)
}

fn probe_tpkt(bytes: &[u8], wants_rdp: bool) -> Match {
    match bytes {
        [] | [3] | [3, 0] => return Match::NeedMore,
        [3, 0, ..] => {}
        _ => return Match::No,
    }
    let (Some(len), Some(&indicator), Some(&code)) = (be16(bytes, 2), bytes.get(4), bytes.get(5))
    else {
        return Match::NeedMore;
    };
    let (len, indicator) = (usize::from(len), usize::from(indicator));
    if len < 11 || indicator < 6 || indicator + 5 > len {
        return Match::No;
    }
    let role = match code {
        CONNECTION_REQUEST => Role::Client,
        CONNECTION_CONFIRM => Role::Server,
        _ => return Match::No,
    };
    let Some(variable) = bytes.get(11..len) else {
        return if len <= 512 {
            Match::NeedMore
        } else {
            Match::No
        };
    };
    // RDP_NEG_REQ 1, RSP 2, FAILURE 3, each eight bytes; or nothing, of old clients.
    let is_rdp = match variable {
        [] => len == 11 && indicator == 6,
        [1..=3, _, 8, 0, ..] => true,
        text => starts_with_any_case(text, b"Cookie:"),
    };
    Match::when(is_rdp == wants_rdp, role)
}

/// RDP's reader.
pub(super) fn open_rdp() -> Box<dyn Reader> {
    Box::new(Rdp::default())
}

#[derive(Debug, Default)]
struct Rdp {
    upgrade: Upgrade,
    sides: [Frames; 2],
}

impl Reader for Rdp {
    fn data(&mut self, _scene: &mut Scene<'_, '_>, from: Role, bytes: &[u8]) -> Next {
        let mut rest = bytes;
        if from == Role::Client && self.upgrade.asked && tls::probe(rest) != Probe::No {
            self.upgrade.accepted = true;
            return Next::Tls {
                after: 0,
                transport: "starttls-rdp",
            };
        }
        loop {
            let frame = self.sides[from.index()].next(&mut rest, 512, |bytes| match bytes {
                [3, 0, high, low, ..] => match u16::from_be_bytes([*high, *low]) {
                    0..4 => Measure::Bad,
                    len => Measure::Len(u64::from(len)),
                },
                [3, ..] if bytes.len() < 4 => Measure::Short,
                _ => Measure::Bad,
            });
            match frame {
                Frame::Message(message) => {
                    if self.negotiates(&message) {
                        self.upgrade.accepted = true;
                        return Next::Tls {
                            after: bytes.len() - rest.len(),
                            transport: "starttls-rdp",
                        };
                    }
                }
                Frame::Want(want) => return Next::Want(want),
                // Fast-path output and input have no such header.
                Frame::Lost => return Next::NOTHING,
            }
        }
    }

    fn gap(&mut self, from: Role, _len: u64) -> Want {
        self.sides[from.index()].gap()
    }

    fn end(&mut self, _cx: &mut Cx<'_>, facts: &mut PlaintextFacts) {
        facts.starttls = self.upgrade.verdict();
    }

    fn heap_bytes(&self) -> usize {
        self.sides.iter().map(Frames::heap_bytes).sum()
    }
}

impl Rdp {
    /// Reads a connection request or confirm; whether TLS follows it.
    fn negotiates(&mut self, message: &[u8]) -> bool {
        let Some((code, variable)) = message.get(5).zip(message.get(11..)) else {
            return false;
        };
        let negotiation = if starts_with_any_case(variable, b"Cookie:") {
            memchr::memchr(b'\n', variable)
                .and_then(|end| variable.get(end + 1..))
                .unwrap_or_default()
        } else {
            variable
        };
        let protocols = le32(negotiation, 4).unwrap_or(0);
        match (*code, negotiation.first()) {
            (CONNECTION_REQUEST, kind) => {
                // Bits: TLS 1, CredSSP 2, RDSTLS 4, CredSSP with early result 8.
                self.upgrade.asked = kind == Some(&1) && protocols & 0xb != 0;
                self.upgrade.went_on = !self.upgrade.asked;
                if !self.upgrade.asked {
                    // Every client could ask since RDP 5.2.
                    self.upgrade.offered = Some(true);
                }
                false
            }
            (CONNECTION_CONFIRM, Some(2)) if protocols != 0 => true,
            (CONNECTION_CONFIRM, _) => {
                self.upgrade.refused |= self.upgrade.asked;
                false
            }
            _ => false,
        }
    }
}

const PRELOGIN: u8 = 0x12;
const LOGIN7: u8 = 0x10;
const TABULAR_RESULT: u8 = 0x04;
const TDS_HEADER: usize = 8;
/// PRELOGIN's option ENCRYPTION.
const ENCRYPTION: u8 = 1;

/// A PRELOGIN or LOGIN7 packet whose options lie within it.
pub(super) fn probe_tds(look: &Look<'_>) -> Match {
    let bytes = look.bytes;
    match bytes {
        [] | [PRELOGIN | LOGIN7 | TABULAR_RESULT] => return Match::NeedMore,
        [PRELOGIN | LOGIN7, 0 | 1, ..] | [TABULAR_RESULT, 1, ..] => {}
        _ => return Match::No,
    }
    let Some((header, body)) = bytes.split_at_checked(TDS_HEADER) else {
        return Match::NeedMore;
    };
    let len = be16(header, 2).map_or(0, usize::from);
    if len <= TDS_HEADER || header.get(7) != Some(&0) {
        return Match::No;
    }
    match bytes.first() {
        // LOGIN7 states its own length, and a version 7.0 to 7.4.
        Some(&LOGIN7) => match (le32(body, 0), body.get(4..8)) {
            (Some(stated), Some(version)) => Match::when(
                stated as usize <= len.saturating_mul(8)
                    && matches!(version, [_, _, _, 0x70..=0x74]),
                Role::Client,
            ),
            _ => Match::NeedMore,
        },
        // Tokens of five bytes, VERSION (0, of six bytes) first.
        _ => match body.get(..6) {
            None => Match::NeedMore,
            Some([0, high, low, 0, 6, _]) => {
                let offset = usize::from(u16::from_be_bytes([*high, *low]));
                let role = if bytes.first() == Some(&PRELOGIN) {
                    Role::Client
                } else {
                    Role::Server
                };
                let fits = (11..=256).contains(&offset) && (offset - 1) % 5 == 0;
                Match::when(fits && offset + 6 <= len - TDS_HEADER, role)
            }
            Some(_) => Match::No,
        },
    }
}

/// TDS's reader.
pub(super) fn open_tds() -> Box<dyn Reader> {
    Box::new(Tds::default())
}

/// Longest packet before a login has agreed on another size (MS-TDS §2.2.6.4).
const MAX_PACKET: usize = 4_096;

#[derive(Debug, Default)]
struct Tds {
    upgrade: Upgrade,
    sides: [Frames; 2],
    /// PRELOGIN's answer was seen: the server's packets are read only for TLS.
    answered: bool,
    /// Only the login is to be encrypted (MS-TDS §2.2.6.5).
    login_only: bool,
    /// Login in the clear, or after an encrypted one nothing of interest.
    settled: bool,
    /// TLS inside PRELOGIN packets, and later without them.
    tls: Option<Box<TlsSession>>,
    /// TLS without packets around it, by side.
    bare: [bool; 2],
    /// Bytes of the TLS stream that it does not want, by side.
    skip: [u64; 2],
}

impl Reader for Tds {
    fn data(&mut self, scene: &mut Scene<'_, '_>, from: Role, bytes: &[u8]) -> Next {
        let side = from.index();
        let mut rest = bytes;
        loop {
            let offered = self.upgrade.offered == Some(true);
            if self.settled || from == Role::Server && self.answered && !offered {
                return Next::NOTHING;
            }
            if self.bare[side] {
                let want = self.sealed(scene, from, rest);
                let skipped = if let Want::Skip(len) = want { len } else { 0 };
                count_sealed(scene, 0, skipped.saturating_add(rest.len() as u64));
                return Next::Want(want);
            }
            let (before, keep) = (rest, if self.answered { MAX_PACKET } else { 512 });
            let frame = self.sides[side].next(&mut rest, keep, |bytes| {
                match (bytes.first(), be16(bytes, 2)) {
                    // A TLS record, whose types no packet has.
                    (Some(0x14..=0x17), _) => Measure::Bad,
                    (_, None) => Measure::Short,
                    (_, Some(len)) if usize::from(len) < TDS_HEADER => Measure::Bad,
                    (_, Some(len)) => Measure::Len(u64::from(len)),
                }
            });
            match frame {
                Frame::Message(message) => self.packet(scene, from, &message),
                Frame::Want(want) => return Next::Want(want),
                Frame::Lost if self.tls.is_some() && matches!(before, [0x14..=0x17, ..]) => {
                    // Behind a login that alone is encrypted, packets go on in the clear.
                    self.settled |= self.login_only;
                    self.bare[side] = true;
                    rest = before;
                }
                Frame::Lost => return Next::NOTHING,
            }
        }
    }

    fn handshakes(&mut self, cx: &mut Cx<'_>) -> Vec<TlsHandshake> {
        self.tls.take().map(|tls| tls.end(cx)).unwrap_or_default()
    }

    fn gap(&mut self, from: Role, _len: u64) -> Want {
        self.sides[from.index()].gap()
    }

    fn end(&mut self, _cx: &mut Cx<'_>, facts: &mut PlaintextFacts) {
        facts.starttls = if self.tls.is_some() {
            Some(super::StartTls::Taken)
        } else {
            self.upgrade.verdict()
        };
    }

    fn heap_bytes(&self) -> usize {
        let tls = self.tls.as_ref().map_or(0, |tls| tls.heap_bytes());
        self.sides.iter().map(Frames::heap_bytes).sum::<usize>() + tls
    }
}

impl Tds {
    /// Bytes of the TLS stream.
    fn sealed(&mut self, scene: &mut Scene<'_, '_>, from: Role, bytes: &[u8]) -> Want {
        let skip = &mut self.skip[from.index()];
        let passed = usize::try_from(*skip).map_or(bytes.len(), |skip| skip.min(bytes.len()));
        *skip -= passed as u64;
        let rest = bytes.get(passed..).unwrap_or_default();
        let tls = self
            .tls
            .get_or_insert_with(|| Box::new(TlsSession::new("tds".into())));
        let direction = match from {
            Role::Client => Direction::Orig,
            Role::Server => Direction::Resp,
        };
        let want = tls.data(scene.cx, direction, rest);
        if !self.bare[from.index()]
            && let Want::Skip(len) = want
        {
            *skip = len;
        }
        want
    }

    /// A packet around bytes of the TLS stream.
    fn sealed_packet(&mut self, scene: &mut Scene<'_, '_>, from: Role, header: &[u8], body: &[u8]) {
        self.sealed(scene, from, body);
        let len = be16(header, 2).map_or(0, u64::from);
        let carried = self.sides[from.index()].carried() as u64;
        count_sealed(scene, carried, len.saturating_sub(carried));
    }

    fn packet(&mut self, scene: &mut Scene<'_, '_>, from: Role, packet: &[u8]) {
        let Some((header, body)) = packet.split_at_checked(TDS_HEADER) else {
            return;
        };
        match (from, header.first()) {
            (Role::Client, Some(&PRELOGIN)) if self.tls.is_none() && is_tls(body) => {
                scene.services.add("ssl");
                self.sealed_packet(scene, from, header, body);
            }
            // Servers answer in PRELOGIN packets, some in those of results.
            (_, Some(&PRELOGIN)) | (Role::Server, Some(&TABULAR_RESULT)) if self.tls.is_some() => {
                self.sealed_packet(scene, from, header, body);
            }
            // 0 off (login only), 1 on, 2 not supported, 3 required (MS-TDS §2.2.6.5).
            (Role::Client, Some(&PRELOGIN)) => {
                self.upgrade.asked = matches!(encryption(body), Some(0 | 1 | 3));
            }
            (Role::Server, Some(&TABULAR_RESULT)) => {
                self.answered = true;
                self.login_only = encryption(body) == Some(0);
                match encryption(body) {
                    Some(2) => {
                        self.upgrade.offered = (!self.upgrade.asked).then_some(false);
                        self.upgrade.refused = self.upgrade.asked;
                    }
                    Some(_) => self.upgrade.offered = Some(true),
                    None => {}
                }
            }
            (Role::Client, Some(&LOGIN7)) => {
                self.settled = true;
                self.upgrade.went_on = true;
                // ibPassword and cchPassword stand at 44 and 46; UTF-16, merely scrambled.
                if let Some(len @ 1..) = le16(body, 46) {
                    scene.credential("tds_login7_password", usize::from(len));
                }
            }
            _ => {}
        }
    }
}

/// Bytes that count as encrypted, although the protocol is readable.
fn count_sealed(scene: &mut Scene<'_, '_>, before: u64, from_here: u64) {
    scene.sealed.before = scene.sealed.before.saturating_add(before);
    scene.sealed.from_here = scene.sealed.from_here.saturating_add(from_here);
}

fn is_tls(body: &[u8]) -> bool {
    tls::probe(body) == Probe::Yes
}

/// The value of ENCRYPTION among PRELOGIN's options.
fn encryption(body: &[u8]) -> Option<u8> {
    for option in body.chunks_exact(5) {
        match *option {
            [0xff, ..] => return None,
            [ENCRYPTION, high, low, _, _] => {
                return body
                    .get(usize::from(u16::from_be_bytes([high, low])))
                    .copied();
            }
            _ => {}
        }
    }
    None
}

/// X11's connection set-up (X protocol, appendix B): byte order, version 11.0,
/// name and data of the authorization.
pub(super) fn probe_x11(look: &Look<'_>) -> Match {
    let expected = match look.bytes.first() {
        None => return Match::NeedMore,
        Some(b'l') => [b'l', 0, 11, 0, 0, 0],
        Some(b'B') => [b'B', 0, 0, 11, 0, 0],
        Some(_) => return Match::No,
    };
    Match::magic(super::text::magic(look.bytes, &expected), Role::Client)
}

/// X11's reader.
pub(super) fn open_x11() -> Box<dyn Reader> {
    Box::new(X11::default())
}

#[derive(Debug, Default)]
struct X11 {
    client: Frames,
}

impl Reader for X11 {
    fn data(&mut self, scene: &mut Scene<'_, '_>, from: Role, bytes: &[u8]) -> Next {
        if from == Role::Server {
            return Next::NOTHING;
        }
        let mut rest = bytes;
        match self.client.next(&mut rest, 12, |_| Measure::Len(12)) {
            Frame::Message(setup) => {
                let read = if setup.first() == Some(&b'l') {
                    le16
                } else {
                    be16
                };
                if let Some(len @ 1..) = read(&setup, 8) {
                    scene.credential("x11_cookie", usize::from(len));
                }
                Next::NOTHING
            }
            Frame::Want(want) => Next::Want(want),
            Frame::Lost => Next::NOTHING,
        }
    }

    fn gap(&mut self, _from: Role, _len: u64) -> Want {
        Want::Nothing
    }

    fn heap_bytes(&self) -> usize {
        self.client.heap_bytes()
    }
}

/// Kerberos over TCP (RFC 4120 §7.2.2): a length, then a message.
pub(super) fn probe_kerberos_stream(look: &Look<'_>) -> Match {
    let Some(len) = be32(look.bytes, 0) else {
        return Match::when_cut(look.bytes.iter().take(2).all(|byte| *byte == 0));
    };
    if !(32..=1 << 16).contains(&len) {
        return Match::No;
    }
    kerberos(look.bytes.get(4..).unwrap_or_default(), true)
}

/// Kerberos over UDP.
pub(super) fn probe_kerberos_datagram(look: &Look<'_>) -> Match {
    kerberos(look.bytes, false)
}

/// [APPLICATION n] around a sequence with pvno 5 in its first field.
fn kerberos(bytes: &[u8], stream: bool) -> Match {
    let cut = if stream { Match::NeedMore } else { Match::No };
    let mut message = super::ldap::Ber(bytes);
    let Some(outer) = message.header() else {
        return cut;
    };
    let role = match outer.tag {
        0x6a | 0x6c => Role::Client,
        0x6b | 0x6d | 0x7e => Role::Server,
        _ => return Match::No,
    };
    let Some(sequence) = message.header() else {
        return cut;
    };
    let field = message.0.get(..5);
    match field {
        None if stream && message.0.len() < 5 => Match::NeedMore,
        // [0] or [1], three bytes: INTEGER 5.
        Some([0xa0 | 0xa1, 3, 2, 1, 5]) => Match::when(sequence.tag == 0x30, role),
        _ => Match::No,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::StartTls;
    use super::super::testing::{Case, c, client_hello, datagrams, hex, s, stream};

    pub(in super::super) fn cases() -> Vec<Case> {
        let negotiate = "fe534d42 4000 0000 00000000 0000 0000 00000000 00000000";
        let request = || c(hex("03 00 0013 0e e0 0000 0000 00 01 00 0800 0b000000"));
        let mut tls = client_hello();
        let len = u8::try_from(tls.len() + 8).expect("short");
        tls.splice(0..0, [0x12, 1, 0, len, 0, 0, 0, 0]);
        let prelogin = |kind: &str, encryption: &str| {
            hex(&format!(
                "{kind} 01 001a 0000 00 00 00 000b 0006 01 0011 0001 ff 0f0007d00000 {encryption}"
            ))
        };
        let mut login = hex("10 01 0066 0000 01 00 5e000000 04000074");
        login.extend([0; 36]);
        login.extend(hex("5600 0400"));
        login.extend([0; 46]);
        let as_req = hex("6a 30 30 2e a1 03 02 01 05 a2 03 02 01 0a");
        let mut over_tcp = hex("00000032");
        over_tcp.extend(&as_req);
        vec![
            stream(
                "smb 2",
                "smb",
                vec![c([hex("00 000018"), hex(negotiate)].concat())],
            ),
            stream(
                "smb 3 that turns to encryption",
                "smb",
                vec![
                    c([hex("00 000018"), hex(negotiate)].concat()),
                    c([&hex("00 000028 fd534d42")[..], &[0x77; 36]].concat()),
                ],
            ),
            stream(
                "rdp: taken",
                "rdp,ssl",
                vec![
                    request(),
                    s(hex("03 00 0013 0e d0 0000 1234 00 02 00 0800 01000000")),
                    c(client_hello()),
                ],
            )
            .starttls(StartTls::Taken),
            stream(
                "rdp: refused",
                "rdp",
                vec![
                    request(),
                    s(hex("03 00 0013 0e d0 0000 1234 00 03 00 0800 02000000")),
                ],
            )
            .starttls(StartTls::Refused),
            stream(
                "rdp: not taken",
                "rdp",
                vec![
                    c(hex("03 00 000b 06 e0 0000 0000 00")),
                    s(hex("03 00 000b 06 d0 0000 1234 00")),
                ],
            )
            .starttls(StartTls::OfferedNotTaken),
            stream(
                "iso transport of a controller",
                "cotp",
                vec![c(hex(
                    "03 00 0016 11 e0 0000 0001 00 c0 01 0a c1 02 0100 c2 02 0102",
                ))],
            ),
            stream(
                "tds: taken",
                "tds,ssl",
                vec![c(prelogin("12", "01")), s(prelogin("04", "01")), c(tls)],
            )
            .starttls(StartTls::Taken),
            stream(
                "tds: refused, and a password",
                "tds",
                vec![c(prelogin("12", "00")), s(prelogin("04", "02")), c(login)],
            )
            .credentials("tds_login7_password:4")
            .starttls(StartTls::Refused),
            stream(
                "x11: cookie",
                "x11",
                vec![c(hex(
                    "6c 00 0b00 0000 0012 1000 0000 4d49542d4d414749432d434f4f4b49452d31",
                ))],
            )
            .credentials("x11_cookie:16"),
            stream("kerberos over tcp", "krb_tcp", vec![c(over_tcp)]),
            datagrams("kerberos", "krb", 88, vec![c(as_req)]),
        ]
    }

    /// TLS in PRELOGIN packets while it shakes hands, and without them afterwards.
    #[test]
    fn tds_carries_a_handshake_in_its_own_packets() {
        let packet = |kind: u8, body: &[u8]| {
            let len = u16::try_from(body.len() + 8).expect("short").to_be_bytes();
            [&[kind, 1, len[0], len[1], 0, 0, 0, 0], body].concat()
        };
        let prelogin = |kind: &str| {
            hex(&format!(
                "{kind} 01 001a 0000 00 00 00 000b 0006 01 0011 0001 ff 0f0007d00000 01"
            ))
        };
        let mut hello = hex("02 000026 0303");
        hello.extend([9; 32]);
        hello.extend(hex("00 c02f 00"));
        let server_hello = [hex("160303 002a"), hello].concat();
        let finish = || [hex("140303 0001 01 160303 0028"), vec![0x66; 40]].concat();
        let data = || [hex("170303 0064"), vec![0x77; 100]].concat();
        for server_kind in [0x12, 0x04] {
            let client = client_hello();
            let (early, late) = client.split_at(20);
            let mut turns = vec![c(prelogin("12")), s(prelogin("04"))];
            turns.extend([c(packet(0x12, early)), c(packet(0x12, late))]);
            turns.push(s(packet(server_kind, &server_hello)));
            turns.push(c(packet(0x12, &finish())));
            turns.push(s(packet(server_kind, &finish())));
            turns.extend([c([data(), data()].concat()), s(data())]);
            for whole in [true, false] {
                let turns: Vec<_> = turns
                    .iter()
                    .flat_map(|(direction, bytes)| {
                        let size = if whole { bytes.len() } else { 1 };
                        bytes.chunks(size).map(|part| (*direction, part.to_vec()))
                    })
                    .collect();
                let facts = stream("tds", "tds,ssl", turns).run();
                let [tls] = facts.tls.as_slice() else {
                    panic!("one handshake, not {:?}", facts.tls)
                };
                assert_eq!(tls.transport, "tds");
                assert_eq!(tls.version.map(|version| version.0), Some(0x0303));
                assert!(tls.established, "whole {whole}, answered in {server_kind}");
                assert_eq!(tls.app_bytes, [200, 100]);
            }
        }
    }

    #[test]
    fn smb_3_encryption_counts_as_encrypted() {
        let mut bytes = hex("00 000028 fd534d42");
        bytes.extend([0x77; 36]);
        let facts = stream("smb 3", "smb", vec![c(bytes)]).run();
        assert_eq!(
            (facts.bytes_encrypted[0], facts.bytes_plaintext[0]),
            (44, 0)
        );
        assert!(facts.plaintext.expect("recognised").encrypted);
    }
}
