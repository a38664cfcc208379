//! DNS (RFC 1035 §4) over TCP and UDP, and its relatives of the same message:
//! mDNS (RFC 6762), LLMNR (RFC 4795), NetBIOS name service (RFC 1002 §4.2).
//! Recognised by a sane header and a question that parses. What messages say
//! is read by [`crate::proto::dns`].

use super::PlaintextFacts;
use super::reader::{Frame, Frames, Measure, Next, Reader, Role, Scene};
use super::registry::{Look, Match};
use super::text::be16;
use crate::proto::dns::Transport;
use crate::proto::dns::message::{Broken, HEADER};
use crate::proto::dns::pairs::Pairs;
use crate::proto::{Cx, Direction, Want};

/// Questions that mDNS may send at once, generously.
const MAX_QUESTIONS: u16 = 64;

/// A message after a length of two bytes (RFC 1035 §4.2.2).
pub(super) fn probe_stream(look: &Look<'_>) -> Match {
    let Some(len) = be16(look.bytes, 0) else {
        return if look.bytes.first().is_none_or(|high| *high < 0x40) {
            Match::NeedMore
        } else {
            Match::No
        };
    };
    let (len, message) = (usize::from(len), look.bytes.get(2..).unwrap_or_default());
    if len < HEADER + 5 {
        return Match::No;
    }
    let there = message.get(..len).unwrap_or(message);
    match read(there) {
        Message::Query { netbios: false } => Match::Yes(Role::Client),
        Message::Response { netbios: false } => Match::Yes(Role::Server),
        Message::Cut if there.len() < len => Match::NeedMore,
        _ => Match::No,
    }
}

/// Unicast DNS.
pub(super) fn probe_dns(look: &Look<'_>) -> Match {
    if look.on_port(5353) || look.on_port(5355) || look.on_port(137) {
        return Match::No;
    }
    probe_datagram(look, false)
}

/// NetBIOS names: known by their 32 letters from A to P.
pub(super) fn probe_nbns(look: &Look<'_>) -> Match {
    probe_datagram(look, true)
}

/// Multicast DNS: DNS on its port.
pub(super) fn probe_mdns(look: &Look<'_>) -> Match {
    if look.on_port(5353) {
        probe_datagram(look, false)
    } else {
        Match::No
    }
}

/// LLMNR: DNS on its port.
pub(super) fn probe_llmnr(look: &Look<'_>) -> Match {
    if look.on_port(5355) {
        probe_datagram(look, false)
    } else {
        Match::No
    }
}

/// The reader for datagrams of unicast DNS.
pub(super) fn open_dns() -> Box<dyn Reader> {
    Datagrams::open(Transport::Udp)
}

/// For NetBIOS names.
pub(super) fn open_nbns() -> Box<dyn Reader> {
    Datagrams::open(Transport::Nbns)
}

/// For mDNS.
pub(super) fn open_mdns() -> Box<dyn Reader> {
    Datagrams::open(Transport::Mdns)
}

/// For LLMNR.
pub(super) fn open_llmnr() -> Box<dyn Reader> {
    Datagrams::open(Transport::Llmnr)
}

/// The reader for streams.
pub(super) fn open_stream() -> Box<dyn Reader> {
    Box::new(Stream {
        pairs: Pairs::new(Transport::Tcp),
        sides: Default::default(),
    })
}

fn probe_datagram(look: &Look<'_>, wants_netbios: bool) -> Match {
    match read(look.bytes) {
        Message::Query { netbios } if netbios == wants_netbios => Match::Yes(Role::Client),
        Message::Response { netbios } if netbios == wants_netbios => Match::Yes(Role::Server),
        _ => Match::No,
    }
}

enum Message {
    Query {
        netbios: bool,
    },
    Response {
        netbios: bool,
    },
    /// As far as it goes it could be one.
    Cut,
    None,
}

fn read(bytes: &[u8]) -> Message {
    let field = |at| be16(bytes, at);
    let (Some(flags), Some(questions)) = (field(2), field(4)) else {
        return Message::Cut;
    };
    let opcode = flags >> 11 & 0xf;
    let is_response = flags & 0x8000 != 0;
    // Query, inverse query, status, notify, update, DSO; NetBIOS: registration 5 to
    // refresh 9 (RFC 1002 §4.2.1.1), multi-homed registration 15.
    if matches!(opcode, 3 | 10..=14) || questions > MAX_QUESTIONS {
        return Message::None;
    }
    // A query's RCODE is zero; the Z bit is zero except in NetBIOS (its broadcast bit stands lower).
    if (!is_response && flags & 0x000f != 0 && opcode != 5) || flags & 0x0040 != 0 {
        return Message::None;
    }
    let (Some(answers), Some(authorities), Some(additionals)) = (field(6), field(8), field(10))
    else {
        return Message::Cut;
    };
    // Each record takes at least 11 bytes of a message of at most 64 KiB.
    let records = u32::from(answers) + u32::from(authorities) + u32::from(additionals);
    if records > 65_535 / 11 {
        return Message::None;
    }
    if questions == 0 && (!is_response && answers == 0 || records == 0) {
        // DSO, or a response that is nothing but a header: too little to tell it by.
        return Message::None;
    }
    let mut at = HEADER;
    let mut netbios = false;
    for index in 0..questions.max(1) {
        let name = match name(bytes, at) {
            Name::Ends { at, netbios } => (at, netbios),
            Name::Cut => return Message::Cut,
            Name::None => return Message::None,
        };
        let (Some(kind), Some(class)) = (field(name.0), field(name.0 + 2)) else {
            return Message::Cut;
        };
        // The top bit is mDNS's: unicast answer wanted, or cache flush. OPT states a size there.
        let known_class = matches!(class & 0x7fff, 1 | 3 | 4 | 254 | 255) || kind == 41;
        if kind == 0 || !known_class {
            return Message::None;
        }
        if index == 0 {
            netbios = name.1 && matches!(kind, 0x20 | 0x21);
        }
        at = name.0 + 4;
    }
    // Opcodes above update (5) and DSO (6) exist in NetBIOS only.
    if opcode > 6 && !netbios {
        return Message::None;
    }
    if is_response {
        Message::Response { netbios }
    } else {
        Message::Query { netbios }
    }
}

enum Name {
    Ends { at: usize, netbios: bool },
    Cut,
    None,
}

/// Walks a name; a pointer ends it, and is not followed.
fn name(bytes: &[u8], mut at: usize) -> Name {
    let mut len = 0;
    let mut netbios = false;
    loop {
        let Some(label) = bytes.get(at) else {
            return Name::Cut;
        };
        match label {
            0 => {
                return Name::Ends {
                    at: at + 1,
                    netbios,
                };
            }
            0xc0.. => {
                return Name::Ends {
                    at: at + 2,
                    netbios,
                };
            }
            1..=63 => {
                let size = usize::from(*label);
                if len == 0 && size == 32 {
                    netbios = bytes
                        .get(at + 1..at + 33)
                        .is_some_and(|label| label.iter().all(|byte| (b'A'..=b'P').contains(byte)));
                }
                at += size + 1;
                len += size + 1;
                if len > 254 {
                    return Name::None;
                }
            }
            _ => return Name::None,
        }
    }
}

/// Longest beginning of a message in a stream that is read.
const MAX_MESSAGE: usize = 16 << 10;

/// Counts a message and has it read.
fn message(pairs: &mut Pairs, scene: &mut Scene<'_, '_>, from: Role, bytes: &[u8], whole: bool) {
    // A reader knows roles, not directions; all that counts is that they differ.
    let from = match from {
        Role::Client => Direction::Orig,
        Role::Server => Direction::Resp,
    };
    if bytes.len() >= HEADER {
        scene.facts.dns_messages = scene.facts.dns_messages.saturating_add(1);
    }
    let broken = pairs.message(scene.cx, from, bytes, whole);
    if let Some(broken) = broken {
        scene.malformed(Broken::text(broken));
    }
}

#[derive(Debug)]
struct Datagrams {
    pairs: Pairs,
}

impl Datagrams {
    fn open(transport: Transport) -> Box<dyn Reader> {
        Box::new(Self {
            pairs: Pairs::new(transport),
        })
    }
}

impl Reader for Datagrams {
    fn data(&mut self, scene: &mut Scene<'_, '_>, from: Role, bytes: &[u8]) -> Next {
        message(&mut self.pairs, scene, from, bytes, true);
        Next::BYTES
    }

    fn gap(&mut self, _from: Role, _len: u64) -> Want {
        Want::Bytes
    }

    fn end(&mut self, cx: &mut Cx<'_>, _facts: &mut PlaintextFacts) {
        self.pairs.end(cx);
    }

    fn heap_bytes(&self) -> usize {
        self.pairs.heap_bytes()
    }
}

#[derive(Debug)]
struct Stream {
    pairs: Pairs,
    sides: [Frames; 2],
}

impl Reader for Stream {
    fn data(&mut self, scene: &mut Scene<'_, '_>, from: Role, bytes: &[u8]) -> Next {
        let mut rest = bytes;
        let frames = &mut self.sides[from.index()];
        loop {
            match frames.next(&mut rest, MAX_MESSAGE, measure) {
                Frame::Message(piece) => {
                    let stated = be16(&piece, 0).map(usize::from).unwrap_or_default();
                    let there = piece.get(2..).unwrap_or_default();
                    let whole = there.len() >= stated;
                    message(&mut self.pairs, scene, from, there, whole);
                }
                Frame::Want(want) => return Next::Want(want),
                Frame::Lost => {
                    scene.malformed("a message shorter than its header");
                    return Next::NOTHING;
                }
            }
        }
    }

    fn gap(&mut self, from: Role, _len: u64) -> Want {
        self.sides[from.index()].gap()
    }

    fn end(&mut self, cx: &mut Cx<'_>, _facts: &mut PlaintextFacts) {
        self.pairs.end(cx);
    }

    fn heap_bytes(&self) -> usize {
        self.sides.iter().map(Frames::heap_bytes).sum::<usize>() + self.pairs.heap_bytes()
    }
}

fn measure(bytes: &[u8]) -> Measure {
    match be16(bytes, 0) {
        None => Measure::Short,
        Some(len) if usize::from(len) < HEADER => Measure::Bad,
        Some(len) => Measure::Len(u64::from(len) + 2),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::testing::{Case, c, datagrams, hex, s, stream};

    /// A query for `example.com` and its answer (RFC 1035 §4.1).
    fn query() -> Vec<u8> {
        hex("1234 0100 0001 0000 0000 0000 07 6578616d706c65 03 636f6d 00 0001 0001")
    }

    fn answer() -> Vec<u8> {
        hex(
            "1234 8180 0001 0001 0000 0000 07 6578616d706c65 03 636f6d 00 0001 0001
             c00c 0001 0001 00000e10 0004 5db8d822",
        )
    }

    fn with_length(message: &[u8]) -> Vec<u8> {
        let mut bytes = u16::try_from(message.len())
            .expect("short")
            .to_be_bytes()
            .to_vec();
        bytes.extend(message);
        bytes
    }

    pub(in super::super) fn cases() -> Vec<Case> {
        let mdns = hex(
            "0000 8400 0000 0001 0000 0000 03 666f6f 05 6c6f63616c 00 0001 8001 00000078 0004 0a000001",
        );
        let mut nbns = hex("8001 0110 0001 0000 0000 0000 20");
        nbns.extend(b"FHEPFCELEHFCEPFFFACACACACACACABL");
        nbns.extend(hex("00 0020 0001"));
        let two = [with_length(&query()), with_length(&query())].concat();
        vec![
            datagrams("dns", "dns", 53, vec![c(query()), s(answer())]),
            datagrams(
                "dns on another port",
                "dns",
                5300,
                vec![c(query()), s(answer())],
            ),
            datagrams("mdns", "mdns", 5353, vec![c(mdns)]),
            datagrams("llmnr", "llmnr", 5355, vec![c(query())]),
            datagrams("nbns", "nbns", 137, vec![c(nbns)]),
            stream(
                "dns over tcp",
                "dns",
                vec![c(two), s(with_length(&answer()))],
            ),
        ]
    }

    #[test]
    fn messages_are_counted() {
        for case in cases()
            .into_iter()
            .filter(|case| case.name.starts_with("dns"))
        {
            let facts = case.run().plaintext.expect("recognised");
            let expected = if case.datagrams { 2 } else { 3 };
            assert_eq!(facts.dns_messages, expected, "{}", case.name);
            assert!(facts.infrastructure && !facts.encrypted, "{}", case.name);
        }
    }

    #[test]
    fn a_name_of_endless_labels_is_none() {
        let mut message = hex("1234 0100 0001 0000 0000 0000");
        for _ in 0..20 {
            message.push(63);
            message.extend([b'a'; 63]);
        }
        let facts = datagrams("long", "", 5300, vec![c(message)]).run();
        assert_eq!(facts.service, None);
    }
}
