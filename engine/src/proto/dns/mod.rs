//! DNS (RFC 1035) and its relatives of the same message: mDNS (RFC 6762),
//! LLMNR (RFC 4795), NetBIOS name service (RFC 1002 §4.2). [`message`] reads one
//! message, [`pairs`] brings question and answer of a flow together, and a
//! [`DnsQuery`] is what leaves: names and records as compact bytes, of which
//! text is made only when columns are built.

pub mod a_label;
pub mod dga;
pub mod message;
pub mod names;
pub mod pairs;
pub mod suffix;

#[cfg(test)]
mod tests;

use crate::evidence::PacketRef;
use crate::time::CaptureTime;
use message::{Message, Name, Question, kind};

/// How a message travelled, and by whose rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// Unicast DNS in datagrams.
    Udp,
    /// Unicast DNS in a stream.
    Tcp,
    /// DNS over TLS, decrypted (RFC 7858).
    Dot,
    /// Multicast DNS: answers need no question, and concern everyone.
    Mdns,
    /// Link-local multicast name resolution: the answer comes in another flow.
    Llmnr,
    /// NetBIOS name service: by broadcast, or from a server.
    Nbns,
    /// Within HTTP (RFC 8484).
    Doh,
}

impl Transport {
    /// The name that tables use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Dot => "dot",
            Self::Mdns => "mdns",
            Self::Llmnr => "llmnr",
            Self::Nbns => "nbns",
            Self::Doh => "doh",
        }
    }
}

/// A question with its answer, or the one without the other.
#[derive(Clone, Debug)]
pub struct DnsQuery {
    /// When the question was first seen; without one, the answer.
    pub ts: CaptureTime,
    /// That packet.
    pub packet: PacketRef,
    /// When the answer was seen.
    pub ts_response: Option<CaptureTime>,
    /// How it travelled.
    pub transport: Transport,
    /// Identifier of the messages.
    pub id: u16,
    /// What was asked; none when no message says.
    pub question: Option<Question>,
    /// Flags of the query, when it was seen.
    pub query_flags: Option<u16>,
    /// Flags of the response, when it was seen.
    pub response_flags: Option<u16>,
    /// Response code with EDNS's upper bits.
    pub rcode: Option<u16>,
    /// Largest datagram that the asker takes (EDNS).
    pub edns_udp_size: Option<u16>,
    /// How often the question was sent again before it was answered.
    pub repeats: u16,
    /// Length of the response.
    pub response_bytes: Option<u32>,
    /// Not all of its answers are kept, or could be read.
    pub answers_cut: bool,
    name_len: u8,
    subnet_len: u8,
    /// Name, client subnet, answers.
    data: Vec<u8>,
}

/// A record of the answer section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    /// Labels of its name; none when it is the question's.
    pub name: Option<&'a [u8]>,
    /// Type.
    pub rtype: u16,
    /// Time to live, seconds.
    pub ttl: u32,
    /// Data, the names in them written out.
    pub data: &'a [u8],
}

/// Stands for the question's own name.
const SAME_NAME: u8 = u8::MAX;
/// Longest client subnet: family, two prefix lengths, an IPv6 address.
const MAX_SUBNET: usize = 20;
/// Room for the answers that most questions get, so that they need no second allocation.
const USUAL_ANSWERS: usize = 48;

impl DnsQuery {
    fn new(
        ts: CaptureTime,
        packet: PacketRef,
        transport: Transport,
        id: u16,
        question: Option<(Question, &Name)>,
    ) -> Self {
        let labels = question
            .as_ref()
            .map(|(_, name)| name.labels())
            .unwrap_or_default();
        let mut data = Vec::with_capacity(labels.len().saturating_add(USUAL_ANSWERS));
        data.extend_from_slice(labels);
        Self {
            ts,
            packet,
            ts_response: None,
            transport,
            id,
            question: question.map(|(question, _)| question),
            query_flags: None,
            response_flags: None,
            rcode: None,
            edns_udp_size: None,
            repeats: 0,
            response_bytes: None,
            answers_cut: false,
            name_len: u8::try_from(labels.len()).unwrap_or(u8::MAX),
            subnet_len: 0,
            data,
        }
    }

    /// It was read out of TLS (RFC 7858).
    pub(super) fn decrypted(&mut self) {
        if self.transport == Transport::Tcp {
            self.transport = Transport::Dot;
        }
    }

    /// Labels of the name asked for, each after its length, without the root.
    pub fn name(&self) -> &[u8] {
        self.data
            .get(..usize::from(self.name_len))
            .unwrap_or_default()
    }

    /// The EDNS client subnet as it was sent (RFC 7871 §6).
    pub fn client_subnet(&self) -> &[u8] {
        let start = usize::from(self.name_len);
        self.data
            .get(start..start.saturating_add(usize::from(self.subnet_len)))
            .unwrap_or_default()
    }

    /// The records of the answer section, in their order.
    pub fn answers(&self) -> Answers<'_> {
        let start = usize::from(self.name_len).saturating_add(usize::from(self.subnet_len));
        Answers {
            rest: self.data.get(start..).unwrap_or_default(),
        }
    }

    /// Whether somebody in particular was asked, so that an answer is owed in
    /// the same flow.
    pub fn expects_answer(&self) -> bool {
        /// To everyone in reach (RFC 1002 §4.2.1.1).
        const BROADCAST: u16 = 0x0010;
        match (self.transport, self.query_flags) {
            (Transport::Udp | Transport::Tcp | Transport::Dot | Transport::Doh, Some(_)) => true,
            (Transport::Nbns, Some(flags)) => flags & BROADCAST == 0,
            _ => false,
        }
    }

    /// Heap bytes held.
    pub fn heap_bytes(&self) -> usize {
        self.data.capacity()
    }

    fn put_subnet(&mut self, subnet: Option<&[u8]>) {
        let Some(subnet) = subnet.filter(|subnet| subnet.len() <= MAX_SUBNET) else {
            return;
        };
        if self.subnet_len == 0 {
            self.subnet_len = u8::try_from(subnet.len()).unwrap_or_default();
            self.data.extend_from_slice(subnet);
        }
    }

    /// Appends an answer; gives up where there is no room for it.
    fn put_answer(&mut self, message: &Message<'_>, record: &message::Record, room: usize) {
        let start = usize::from(self.name_len).saturating_add(usize::from(self.subnet_len));
        let before = self.data.len();
        let name = message.name_at(record.name_at);
        if name.labels() == self.name() && self.question.is_some() {
            self.data.push(SAME_NAME);
        } else {
            // At most 254, which no `SAME_NAME` is.
            let len = u8::try_from(name.labels().len()).unwrap_or_default();
            self.data.push(len);
            self.data.extend_from_slice(name.labels());
        }
        self.data.extend_from_slice(&record.rtype.to_be_bytes());
        self.data.extend_from_slice(&record.ttl.to_be_bytes());
        let len_at = self.data.len();
        self.data.extend_from_slice(&[0, 0]);
        message.expanded(record, &mut self.data);
        let len = self.data.len().saturating_sub(len_at.saturating_add(2));
        match u16::try_from(len) {
            Ok(len) if self.data.len().saturating_sub(start) <= room => {
                if let Some(place) = self.data.get_mut(len_at..len_at.saturating_add(2)) {
                    place.copy_from_slice(&len.to_be_bytes());
                }
            }
            _ => {
                self.data.truncate(before);
                self.answers_cut = true;
            }
        }
    }
}

/// Walks a row's answers.
#[derive(Clone, Copy, Debug)]
pub struct Answers<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Answers<'a> {
    type Item = Answer<'a>;

    fn next(&mut self) -> Option<Answer<'a>> {
        let (&name_len, rest) = self.rest.split_first()?;
        let (name, rest) = match name_len {
            SAME_NAME => (None, rest),
            len => {
                let (name, rest) = rest.split_at_checked(usize::from(len))?;
                (Some(name), rest)
            }
        };
        let (&[t0, t1, l0, l1, l2, l3, d0, d1], rest) = rest.split_first_chunk::<8>()?;
        let len = usize::from(u16::from_be_bytes([d0, d1]));
        let (data, rest) = rest.split_at_checked(len)?;
        self.rest = rest;
        Some(Answer {
            name,
            rtype: u16::from_be_bytes([t0, t1]),
            ttl: u32::from_be_bytes([l0, l1, l2, l3]),
            data,
        })
    }
}

impl Answer<'_> {
    /// The address that it gives.
    pub fn address(&self) -> Option<std::net::IpAddr> {
        match self.rtype {
            kind::A => <[u8; 4]>::try_from(self.data).ok().map(Into::into),
            kind::AAAA => <[u8; 16]>::try_from(self.data).ok().map(Into::into),
            _ => None,
        }
    }
}
