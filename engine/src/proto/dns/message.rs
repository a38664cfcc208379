//! A lenient reader of DNS messages (RFC 1035 §4.1, EDNS RFC 6891): what is
//! there is read, and what is broken is named and ends that section alone.
//!
//! Names are copied out of their compression, as labels with their lengths and
//! without the root, at most 254 bytes. Every walk is bounded: a name by its
//! length and [`MAX_JUMPS`], a section by the message, since a record takes 11
//! bytes of it at least, and copied names by the caller's budget.

/// Bytes of the header.
pub const HEADER: usize = 12;
/// Longest name, lengths included, the root's not (RFC 1035 §2.3.4).
pub const MAX_NAME: usize = 254;
/// Pointers followed in one name. A writer needs one; nobody needs more than
/// there are labels.
const MAX_JUMPS: usize = 127;

/// Types that this reader treats in their own way.
pub mod kind {
    /// IPv4 address.
    pub const A: u16 = 1;
    /// Name server.
    pub const NS: u16 = 2;
    /// Another name.
    pub const CNAME: u16 = 5;
    /// Start of a zone.
    pub const SOA: u16 = 6;
    /// Name of an address.
    pub const PTR: u16 = 12;
    /// Mail exchange.
    pub const MX: u16 = 15;
    /// Text.
    pub const TXT: u16 = 16;
    /// IPv6 address.
    pub const AAAA: u16 = 28;
    /// Service; in NBNS the status of a node.
    pub const SRV: u16 = 33;
    /// In NBNS a name's addresses.
    pub const NB: u16 = 32;
    /// Another name for all below.
    pub const DNAME: u16 = 39;
    /// EDNS (RFC 6891 §6.1).
    pub const OPT: u16 = 41;
    /// Incremental zone transfer.
    pub const IXFR: u16 = 251;
    /// Zone transfer.
    pub const AXFR: u16 = 252;
}

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// It ends inside a section.
    Cut,
    /// A label's type is one that nobody defined (RFC 1035 §4.1.4).
    Label,
    /// A name does not end within its length, or its pointers go on for ever.
    Name,
    /// Bytes follow that no section counts.
    Trailing,
}

impl Broken {
    /// In words.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Cut => "a message that ends inside a section",
            Self::Label => "a label of a type that nobody defined",
            Self::Name => "a name that does not end, or whose pointers do not",
            Self::Trailing => "bytes after the last section",
        }
    }
}

/// A header (RFC 1035 §4.1.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Identifier.
    pub id: u16,
    /// Flags as they are.
    pub flags: u16,
    /// Questions, answers, authorities, additionals, as it says.
    pub counts: [u16; 4],
}

impl Header {
    /// Whether this is a response.
    pub const fn is_response(self) -> bool {
        self.flags & 0x8000 != 0
    }

    /// What is asked for: 0 a query.
    pub const fn opcode(self) -> u8 {
        (self.flags >> 11 & 0xf) as u8
    }

    /// Its part of the response code; EDNS may add to it.
    pub const fn rcode(self) -> u16 {
        self.flags & 0xf
    }
}

/// One question; its name was written where the caller asked for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// Type.
    pub qtype: u16,
    /// Class; of mDNS with its top bit.
    pub qclass: u16,
}

/// A record's fixed parts and where its data stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Where its name begins.
    pub name_at: usize,
    /// Type.
    pub rtype: u16,
    /// Class; of OPT a size.
    pub class: u16,
    /// Time to live; of OPT flags.
    pub ttl: u32,
    /// Where its data begin.
    pub data_at: usize,
    /// Their length, held to what is there.
    pub data_len: usize,
}

/// A name out of its compression: labels after their lengths, without the root.
#[derive(Clone, Copy)]
pub struct Name {
    len: u8,
    labels: [u8; MAX_NAME],
}

impl Default for Name {
    fn default() -> Self {
        Self {
            len: 0,
            labels: [0; MAX_NAME],
        }
    }
}

impl std::fmt::Debug for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Name({})", self.labels().escape_ascii())
    }
}

impl Name {
    /// Its labels.
    pub fn labels(&self) -> &[u8] {
        self.labels.get(..usize::from(self.len)).unwrap_or_default()
    }

    fn push(&mut self, label: &[u8]) {
        let at = usize::from(self.len);
        let end = at.saturating_add(label.len());
        // The walk ends a name before it is longer than this.
        if let Some(to) = self.labels.get_mut(at..end) {
            to.copy_from_slice(label);
            self.len = u8::try_from(end).unwrap_or(u8::MAX);
        }
    }
}

/// What EDNS says (RFC 6891 §6.1.2, RFC 7871 §6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Edns<'a> {
    /// Largest datagram that its sender takes.
    pub udp_size: u16,
    /// Upper bits of the response code.
    pub rcode_high: u8,
    /// Client subnet: family, prefix lengths and address, as they are.
    pub client_subnet: Option<&'a [u8]>,
}

/// Reads a message from its beginning to its end.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The header.
    pub header: Header,
    /// What was wrong first.
    pub broken: Option<Broken>,
}

impl<'a> Message<'a> {
    /// Begins with the header; none when there is not even that.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let field = |index: usize| be16(bytes, index * 2);
        Some(Self {
            bytes,
            at: HEADER,
            header: Header {
                id: field(0)?,
                flags: field(1)?,
                counts: [field(2)?, field(3)?, field(4)?, field(5)?],
            },
            broken: None,
        })
    }

    /// Length of the whole message, bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Never: a message has a header.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next question, its name put into `name`. Ask as often as the header
    /// says there are questions. A name that breaks off is kept as far as it
    /// goes, and nothing can be read behind it.
    pub fn question(&mut self, name: &mut Name) -> Option<Question> {
        *name = Name::default();
        if self.broken.is_some() {
            return None;
        }
        match read_name(self.bytes, self.at, |label| name.push(label)) {
            Ok(after) => {
                let (Some(qtype), Some(qclass)) = (
                    be16(self.bytes, after),
                    be16(self.bytes, after.saturating_add(2)),
                ) else {
                    self.broken = Some(Broken::Cut);
                    return None;
                };
                self.at = after.saturating_add(4);
                Some(Question { qtype, qclass })
            }
            Err(broken) => {
                self.broken = Some(broken);
                None
            }
        }
    }

    /// Passes over the next question.
    pub fn skip_question(&mut self) -> Option<()> {
        if self.broken.is_some() {
            return None;
        }
        match skip_name(self.bytes, self.at) {
            Ok(after) => {
                self.at = after.saturating_add(4);
                if self.at > self.bytes.len() {
                    self.broken = Some(Broken::Cut);
                    return None;
                }
                Some(())
            }
            Err(broken) => {
                self.broken = Some(broken);
                None
            }
        }
    }

    /// The next record of whatever section stands here.
    pub fn record(&mut self) -> Option<Record> {
        if self.broken.is_some() {
            return None;
        }
        let name_at = self.at;
        let after = match skip_name(self.bytes, name_at) {
            Ok(after) => after,
            Err(broken) => {
                self.broken = Some(broken);
                return None;
            }
        };
        let fixed = self
            .bytes
            .get(after..)
            .and_then(|rest| rest.first_chunk::<10>());
        let Some(&[t0, t1, c0, c1, l0, l1, l2, l3, d0, d1]) = fixed else {
            self.broken = Some(Broken::Cut);
            return None;
        };
        let data_at = after.saturating_add(10);
        let stated = usize::from(u16::from_be_bytes([d0, d1]));
        let there = self.bytes.len().saturating_sub(data_at);
        if stated > there {
            self.broken = Some(Broken::Cut);
        }
        let data_len = stated.min(there);
        self.at = data_at.saturating_add(data_len);
        Some(Record {
            name_at,
            rtype: u16::from_be_bytes([t0, t1]),
            class: u16::from_be_bytes([c0, c1]),
            ttl: u32::from_be_bytes([l0, l1, l2, l3]),
            data_at,
            data_len,
        })
    }

    /// All sections were read: notes bytes that remain.
    pub fn finish(&mut self) {
        if self.broken.is_none() && self.at < self.bytes.len() {
            self.broken = Some(Broken::Trailing);
        }
    }

    /// A record's data as they stand.
    pub fn data(&self, record: &Record) -> &'a [u8] {
        let end = record.data_at.saturating_add(record.data_len);
        self.bytes.get(record.data_at..end).unwrap_or_default()
    }

    /// The name at a place, as far as it can be read.
    pub fn name_at(&self, at: usize) -> Name {
        let mut name = Name::default();
        let _ = read_name(self.bytes, at, |label| name.push(label));
        name
    }

    /// Appends a record's data with the names in them written out
    /// (RFC 3597 §4: only the types of RFC 1035 and a few more compress).
    pub fn expanded(&self, record: &Record, out: &mut Vec<u8>) {
        let data = self.data(record);
        let (before, names) = match record.rtype {
            kind::NS | kind::CNAME | kind::PTR | kind::DNAME => (0, 1),
            kind::MX => (2, 1),
            kind::SRV => (6, 1),
            kind::SOA => (0, 2),
            _ => {
                out.extend_from_slice(data);
                return;
            }
        };
        let Some(fixed) = data.get(..before) else {
            out.extend_from_slice(data);
            return;
        };
        out.extend_from_slice(fixed);
        let end = record.data_at.saturating_add(record.data_len);
        let mut at = record.data_at.saturating_add(before);
        for _ in 0..names {
            // Within the data it may not run over; its pointers lead where they lead.
            let read = if at < end {
                read_name(self.bytes, at, |label| out.extend_from_slice(label))
            } else {
                Err(Broken::Cut)
            };
            // The root, so that what follows can be told apart.
            out.push(0);
            match read {
                Ok(after) => at = after,
                Err(_) => return,
            }
        }
        out.extend_from_slice(self.bytes.get(at..end).unwrap_or_default());
    }

    /// What an OPT record says.
    pub fn edns(&self, record: &Record) -> Edns<'a> {
        let mut edns = Edns {
            udp_size: record.class,
            rcode_high: record.ttl.to_be_bytes()[0],
            client_subnet: None,
        };
        let mut rest = self.data(record);
        while let Some((&[c0, c1, l0, l1], after)) = rest.split_first_chunk::<4>() {
            let len = usize::from(u16::from_be_bytes([l0, l1]));
            let Some(value) = after.get(..len) else { break };
            if u16::from_be_bytes([c0, c1]) == CLIENT_SUBNET {
                edns.client_subnet = Some(value);
            }
            rest = after.get(len..).unwrap_or_default();
        }
        edns
    }
}

/// EDNS option of the client's subnet (RFC 7871 §6).
const CLIENT_SUBNET: u16 = 8;

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    let field = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes(field.try_into().ok()?))
}

/// Gives the labels of the name at `at` one by one, and says where what
/// follows it begins.
fn read_name(bytes: &[u8], at: usize, mut put: impl FnMut(&[u8])) -> Result<usize, Broken> {
    let (mut at, mut after, mut jumps, mut length) = (at, None, 0, 0_usize);
    loop {
        let Some(&len) = bytes.get(at) else {
            return Err(Broken::Cut);
        };
        match len {
            0 => return Ok(after.unwrap_or(at.saturating_add(1))),
            1..=63 => {
                let end = at.saturating_add(1).saturating_add(usize::from(len));
                let Some(label) = bytes.get(at..end) else {
                    return Err(Broken::Cut);
                };
                length = length.saturating_add(label.len());
                if length > MAX_NAME {
                    return Err(Broken::Name);
                }
                put(label);
                at = end;
            }
            0xc0.. => {
                let Some(pointer) = be16(bytes, at) else {
                    return Err(Broken::Cut);
                };
                jumps += 1;
                if jumps > MAX_JUMPS {
                    return Err(Broken::Name);
                }
                after.get_or_insert(at.saturating_add(2));
                at = usize::from(pointer & 0x3fff);
            }
            _ => return Err(Broken::Label),
        }
    }
}

/// Where what follows the name at `at` begins, its pointers not followed.
fn skip_name(bytes: &[u8], at: usize) -> Result<usize, Broken> {
    let mut next = at;
    loop {
        match bytes.get(next) {
            None => return Err(Broken::Cut),
            Some(0) => return Ok(next.saturating_add(1)),
            Some(0xc0..) => return Ok(next.saturating_add(2)),
            Some(&len @ 1..=63) => next = next.saturating_add(1).saturating_add(usize::from(len)),
            Some(_) => return Err(Broken::Label),
        }
        // A name's own labels are bounded too, so that records cost what they take.
        if next.saturating_sub(at) > MAX_NAME {
            return Err(Broken::Name);
        }
    }
}
