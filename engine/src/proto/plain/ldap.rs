//! LDAP (RFC 4511): simple binds, SASL PLAIN, and StartTLS (§4.14), over TCP;
//! connectionless LDAP over UDP is named.

use super::PlaintextFacts;
use super::reader::{Frame, Frames, Measure, Next, Reader, Role, Scene, Upgrade};
use super::registry::{Look, Match};
use super::text::be32;
use crate::proto::{Cx, Want};

const START_TLS: &[u8] = b"1.3.6.1.4.1.1466.20037";

/// Bytes of a message that are read: what a root DSE lists is long.
const MAX_READ: usize = 4096;

// protocolOp tags: [APPLICATION n], constructed unless said otherwise.
const BIND_REQUEST: u8 = 0x60;
const SEARCH_ENTRY: u8 = 0x64;
const EXTENDED_REQUEST: u8 = 0x77;
const EXTENDED_RESPONSE: u8 = 0x78;

/// An LDAPMessage: a sequence of a message id and a protocolOp.
pub(super) fn probe(look: &Look<'_>) -> Match {
    let mut message = Ber(look.bytes);
    let Some(header) = message.header() else {
        return Match::NeedMore;
    };
    let Header { tag: 0x30, len } = header else {
        return Match::No;
    };
    if !(5..=1 << 24).contains(&len) {
        return Match::No;
    }
    let (id, op) = match (message.tag_and_value(), message.0.first()) {
        (None, _) if look.bytes.len() < 16 => return plausible_so_far(look.bytes),
        (Some(id), None) => {
            return if id.0 == 2 {
                Match::NeedMore
            } else {
                Match::No
            };
        }
        (Some(id), Some(op)) => (id, *op),
        (None, _) => return Match::No,
    };
    if id.0 != 2 || !(1..=4).contains(&id.1.len()) || id.1.first().is_some_and(|sign| *sign >= 0x80)
    {
        return Match::No;
    }
    // The op must fill the message, controls aside.
    let Some(header) = message.header() else {
        return Match::NeedMore;
    };
    if header.len > len {
        return Match::No;
    }
    match op {
        // Requests: bind, unbind (primitive), search, modify, add, delete
        // (primitive), modify DN, compare, abandon (primitive), extended.
        BIND_REQUEST => {
            // version 1 to 3 stands first.
            match message.0.get(..3) {
                None => Match::NeedMore,
                Some([2, 1, 1..=3]) => Match::Yes(Role::Client),
                Some(_) => Match::No,
            }
        }
        0x42 => Match::when(header.len == 0, Role::Client),
        0x63 | 0x66 | 0x68 | 0x6c | 0x6e | EXTENDED_REQUEST => {
            let inner = if op == EXTENDED_REQUEST { 0x80 } else { 0x04 };
            first_is(message.0, inner, Role::Client)
        }
        // Results begin with an enumerated resultCode, entries and references with a string.
        0x61 | 0x65 | 0x67 | 0x69 | 0x6b | 0x6d | 0x6f | EXTENDED_RESPONSE => {
            first_is(message.0, 0x0a, Role::Server)
        }
        SEARCH_ENTRY | 0x73 => first_is(message.0, 0x04, Role::Server),
        _ => Match::No,
    }
}

fn plausible_so_far(bytes: &[u8]) -> Match {
    // Whatever is cut within the message id.
    let mut message = Ber(bytes);
    match (message.header(), message.0.first()) {
        (None, _) | (Some(_), None | Some(2)) => Match::NeedMore,
        _ => Match::No,
    }
}

fn first_is(bytes: &[u8], tag: u8, role: Role) -> Match {
    match bytes.first() {
        None => Match::NeedMore,
        Some(first) => Match::when(*first == tag, role),
    }
}

/// The reader.
pub(super) fn open() -> Box<dyn Reader> {
    Box::new(Ldap::default())
}

#[derive(Debug, Default)]
struct Ldap {
    upgrade: Upgrade,
    sides: [Frames; 2],
    /// A SASL bind was seen: what follows may be wrapped (RFC 4511 §5.2).
    sasl: bool,
    /// StartTLS was sent, and not answered.
    asking: bool,
}

impl Reader for Ldap {
    fn data(&mut self, scene: &mut Scene<'_, '_>, from: Role, bytes: &[u8]) -> Next {
        let mut rest = bytes;
        loop {
            let sasl = self.sasl;
            let measure = |bytes: &[u8]| measure(bytes, sasl);
            match self.sides[from.index()].next(&mut rest, MAX_READ, measure) {
                Frame::Message(message) if message.first() == Some(&0) => {
                    if is_sealed(&message) {
                        let len = be32(&message, 0).map_or(0, u64::from) + 4;
                        scene.sealed(self.sides[from.index()].carried(), len);
                    }
                }
                Frame::Message(message) => {
                    let starts = match from {
                        Role::Client => self.request(scene, &message),
                        Role::Server => self.response(&message),
                    };
                    if starts == Some(true) {
                        self.upgrade.accepted = true;
                        return Next::Tls {
                            after: bytes.len() - rest.len(),
                            transport: "starttls-ldap",
                        };
                    }
                }
                Frame::Want(want) => return Next::Want(want),
                Frame::Lost => {
                    if !self.sasl {
                        scene.malformed("a message that is none");
                    }
                    return Next::NOTHING;
                }
            }
        }
    }

    fn gap(&mut self, from: Role, _len: u64) -> Want {
        self.sides[from.index()].gap()
    }

    fn end(&mut self, _cx: &mut Cx<'_>, facts: &mut PlaintextFacts) {
        // Asking needs no offer (RFC 4511 §4.14.1): where none was seen, the answer alone tells.
        self.upgrade.asked &= self.upgrade.offered.is_some();
        facts.starttls = self.upgrade.verdict();
    }

    fn heap_bytes(&self) -> usize {
        self.sides.iter().map(Frames::heap_bytes).sum()
    }
}

impl Ldap {
    fn request(&mut self, scene: &mut Scene<'_, '_>, message: &[u8]) -> Option<bool> {
        let mut message = Ber(message);
        message.header()?;
        message.tag_and_value()?;
        let op = message.header()?;
        match op.tag {
            BIND_REQUEST => {
                self.upgrade.went_on = true;
                message.tag_and_value()?;
                let (_, name) = message.tag_and_value()?;
                let user = scene.cx.redactor.user(name);
                let authentication = message.header()?;
                match authentication.tag {
                    // simple [0] OCTET STRING; empty for anonymous.
                    0x80 if authentication.len > 0 => {
                        let len = usize::try_from(authentication.len).unwrap_or(usize::MAX);
                        match message.0.get(..len) {
                            Some(secret) => scene.login("ldap_simple_bind", Some(user), secret),
                            None => scene.credential("ldap_simple_bind", len),
                        }
                    }
                    // sasl [3] SaslCredentials.
                    0xa3 => {
                        self.sasl = true;
                        let (_, mechanism) = message.tag_and_value()?;
                        let (_, credentials) = message.tag_and_value()?;
                        if mechanism == b"PLAIN" {
                            scene.sasl_plain("ldap_sasl_plain", credentials);
                        }
                    }
                    _ => {}
                }
            }
            EXTENDED_REQUEST => {
                let (_, name) = message.tag_and_value()?;
                if name == START_TLS {
                    self.upgrade.asked = true;
                    self.asking = true;
                }
            }
            _ => self.upgrade.went_on = true,
        }
        None
    }

    fn response(&mut self, message: &[u8]) -> Option<bool> {
        let mut message = Ber(message);
        message.header()?;
        message.tag_and_value()?;
        match message.header()?.tag {
            EXTENDED_RESPONSE if self.asking => {}
            SEARCH_ENTRY => {
                if offers_tls(message) == Some(true) {
                    self.upgrade.offered = Some(true);
                }
                return None;
            }
            _ => return None,
        }
        self.asking = false;
        let (_, code) = message.tag_and_value()?;
        if code == [0] {
            return Some(true);
        }
        self.upgrade.refused = true;
        None
    }
}

/// Whether an entry, as far as it is at hand, is the root DSE and lists StartTLS
/// among its supportedExtension (RFC 4512 §5.1).
fn offers_tls(mut entry: Ber<'_>) -> Option<bool> {
    let (_, name) = entry.tag_and_value()?;
    if !name.is_empty() {
        return Some(false);
    }
    entry.header()?;
    while let Some(Header { tag: 0x30, .. }) = entry.header() {
        let (_, attribute) = entry.tag_and_value()?;
        let len = usize::try_from(entry.header()?.len).ok()?;
        let (values, rest) = entry.0.split_at(len.min(entry.0.len()));
        entry = Ber(rest);
        if attribute.eq_ignore_ascii_case(b"supportedExtension") {
            let mut values = Ber(values);
            while let Some((_, value)) = values.tag_and_value() {
                if value == START_TLS {
                    return Some(true);
                }
            }
        }
    }
    Some(false)
}

/// Whether what a security layer of SASL wrapped (RFC 4422 §3.7: a length, then
/// the token) is encrypted, and not only signed.
fn is_sealed(wrapped: &[u8]) -> bool {
    match wrapped.get(4..) {
        // Kerberos (RFC 4121 §4.2.6.2): the flag Sealed.
        Some([5, 4, flags, ..]) => flags & 2 != 0,
        // NTLM (MS-NLMP §2.2.2.9): 16 bytes of signature, then LDAP if it is only signed.
        Some([1, 0, 0, 0, rest @ ..]) => rest.get(12) != Some(&0x30),
        _ => false,
    }
}

fn measure(bytes: &[u8], sasl: bool) -> Measure {
    if sasl && bytes.first() == Some(&0) {
        return match be32(bytes, 0) {
            None => Measure::Short,
            Some(len) => Measure::Len(u64::from(len) + 4),
        };
    }
    let mut message = Ber(bytes);
    match message.header() {
        None if bytes.len() < 6 => Measure::Short,
        Some(Header { tag: 0x30, len }) if len <= 1 << 28 => {
            Measure::Len(len + (bytes.len() - message.0.len()) as u64)
        }
        _ => Measure::Bad,
    }
}

/// Reads BER (X.690 §8.1): definite lengths of at most four bytes.
pub(super) struct Ber<'a>(pub(super) &'a [u8]);

/// Identifier and length of an element.
pub(super) struct Header {
    /// Identifier byte.
    pub(super) tag: u8,
    /// Length of the contents.
    pub(super) len: u64,
}

impl<'a> Ber<'a> {
    /// Reads an identifier and a length.
    pub(super) fn header(&mut self) -> Option<Header> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (len, rest) = match first {
            0..=0x7f => (u64::from(first), rest),
            0x81..=0x84 => {
                let (len, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let len = len
                    .iter()
                    .fold(0_u64, |len, byte| len << 8 | u64::from(*byte));
                (len, rest)
            }
            // Indefinite, or longer than anything here: no length that is believed.
            _ => (u64::MAX, rest),
        };
        self.0 = rest;
        Some(Header { tag, len })
    }

    /// Reads a whole element.
    pub(super) fn tag_and_value(&mut self) -> Option<(u8, &'a [u8])> {
        let before = self.0;
        let header = self.header()?;
        let len = usize::try_from(header.len).ok()?;
        match self.0.split_at_checked(len) {
            Some((value, rest)) => {
                self.0 = rest;
                Some((header.tag, value))
            }
            None => {
                self.0 = before;
                None
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::StartTls;
    use super::super::testing::{Case, c, client_hello, hex, s, stream};

    pub(in super::super) fn cases() -> Vec<Case> {
        // cn=a, password secret.
        let bind = || {
            c(hex(
                "30 14 02 01 01 60 0f 02 01 03 04 04 636e3d61 80 04 73656372",
            ))
        };
        let bound = || s(hex("30 0c 02 01 01 61 07 0a 01 00 04 00 04 00"));
        let start = || {
            c(hex(
                "30 1d 02 01 01 77 18 80 16 312e332e362e312e342e312e313436362e3230303337",
            ))
        };
        // Of the root DSE, and an entry with supportedExtension: the name's
        // length and bytes, and how the only OID ends.
        let search = || {
            c(hex(
                "30 25 02 01 02 63 20 04 00 0a 01 00 0a 01 00 02 01 00 02 01 00 01 01 00 87 0b 6f626a656374436c617373 30 00",
            ))
        };
        let root_dse = |name: &str, ends: &str| {
            let longer = u8::from(name.len() > 2);
            s(hex(&format!(
                "30 {:02x} 02 01 02 64 {:02x} 04 {name} 30 30 30 2e 04 12 737570706f72746564457874656e73696f6e 31 18 04 16 312e332e362e312e342e312e313436362e32303033{ends}",
                0x39 + longer,
                0x34 + longer,
            )))
        };
        let plain = || {
            c(hex(
                "30 1e 02 01 01 60 19 02 01 03 04 00 a3 12 04 05 504c41494e 04 09 00 6d65 00 77 6f 72 64 73",
            ))
        };
        vec![
            stream("ldap: simple bind", "ldap", vec![bind(), bound()])
                .credentials("ldap_simple_bind:4"),
            stream("ldap: sasl plain", "ldap", vec![plain(), bound()])
                .credentials("ldap_sasl_plain:5"),
            stream(
                "ldap: sealed by Kerberos",
                "ldap",
                vec![
                    c(hex(
                        "30 1a 02 01 01 60 15 02 01 03 04 00 a3 0e 04 06 475353415049 04 04 00000000",
                    )),
                    bound(),
                    c(hex("00000010 0504 02 ff 000000000000000000000001")),
                ],
            ),
            stream(
                "ldap: offered by the root DSE, not taken",
                "ldap",
                vec![search(), root_dse("00", "37"), bind(), bound()],
            )
            .credentials("ldap_simple_bind:4")
            .starttls(StartTls::OfferedNotTaken),
            stream(
                "ldap: the root DSE lists another extension",
                "ldap",
                vec![search(), root_dse("00", "38"), bind(), bound()],
            )
            .credentials("ldap_simple_bind:4"),
            stream(
                "ldap: an entry that is not the root lists it",
                "ldap",
                vec![search(), root_dse("01 61", "37"), bind(), bound()],
            )
            .credentials("ldap_simple_bind:4"),
            stream(
                "ldap: asked, and the answer not seen",
                "ldap",
                vec![start(), bind()],
            )
            .credentials("ldap_simple_bind:4"),
            stream(
                "ldap: taken",
                "ldap,ssl",
                vec![
                    start(),
                    s(hex("30 0c 02 01 01 78 07 0a 01 00 04 00 04 00")),
                    c(client_hello()),
                ],
            )
            .starttls(StartTls::Taken),
            stream(
                "ldap: refused",
                "ldap",
                vec![
                    start(),
                    s(hex("30 0c 02 01 01 78 07 0a 01 02 04 00 04 00")),
                    bind(),
                ],
            )
            .credentials("ldap_simple_bind:4")
            .starttls(StartTls::Refused),
        ]
    }

    #[test]
    fn sealed_messages_count_as_encrypted() {
        let case = cases()
            .into_iter()
            .find(|case| case.name.contains("sealed"))
            .expect("listed");
        let facts = case.run();
        assert_eq!(
            (facts.bytes_encrypted, facts.bytes_plaintext),
            ([20, 0], [28, 14])
        );
        assert!(facts.plaintext.expect("recognised").encrypted);
    }
}
