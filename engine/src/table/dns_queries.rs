//! `dns_queries`: one row per question with its answer, or for the one without
//! the other. Names follow Zeek's dns.log.

use super::column::{self as col, Column, Layout, signed32};
use super::place::{self, InFlow};
use super::writer::Row;
use crate::evidence::PacketRef;
use crate::flow::FlowHead;
use crate::proto::dns::{DnsQuery, Transport, dga, names, suffix};
use crate::time::CaptureTime;
use arrow_schema::DataType;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A question and its answer, in its flow.
#[derive(Clone, Debug)]
pub struct DnsRow {
    /// The flow.
    pub flow: FlowHead,
    /// What was said.
    pub query: DnsQuery,
    /// The name asked for, as five columns and more want it.
    name: Name,
}

/// A name written out once.
#[derive(Clone, Debug, Default)]
struct Name {
    /// Lower case; empty where no message says it.
    lower: Box<str>,
    has_upper: bool,
    /// Where the registered domain begins.
    domain_at: Option<u16>,
}

/// Flags of a header (RFC 1035 §4.1.1, RFC 4035 §3).
const AA: u16 = 0x0400;
const TC: u16 = 0x0200;
const RD: u16 = 0x0100;
const RA: u16 = 0x0080;
const AD: u16 = 0x0020;
const CD: u16 = 0x0010;

impl DnsRow {
    /// A question and its answer in their flow. `text` is scratch.
    pub fn new(flow: FlowHead, query: DnsQuery, text: &mut String) -> Self {
        let mut row = Self {
            flow,
            query,
            name: Name::default(),
        };
        if row.query.question.is_none() {
            return row;
        }
        text.clear();
        row.put_name(text, row.query.name());
        row.name.has_upper = text.bytes().any(|byte| byte.is_ascii_uppercase());
        text.make_ascii_lowercase();
        // Names of the link alone are no domains.
        if !matches!(row.query.transport, Transport::Nbns | Transport::Llmnr) {
            let domain = suffix::registered(text);
            let at = domain.map(|domain| text.len().saturating_sub(domain.len()));
            row.name.domain_at = at.and_then(|at| u16::try_from(at).ok());
        }
        row.name.lower = text.as_str().into();
        row
    }

    fn put_name(&self, out: &mut String, name: &[u8]) {
        if self.query.transport != Transport::Nbns || !names::put_netbios(out, name) {
            names::put_name(out, name);
        }
    }

    /// The name asked for in lower case, in which names are compared.
    fn lower(&self) -> Option<&str> {
        self.query.question.map(|_| &*self.name.lower)
    }

    /// What stands before the registered domain, and that domain.
    fn domain(&self) -> Option<(&str, &str)> {
        let at = usize::from(self.name.domain_at?);
        let (before, domain) = self.name.lower.split_at_checked(at)?;
        Some((before.strip_suffix('.').unwrap_or(before), domain))
    }

    fn put_type(&self, out: &mut String, rtype: u16) {
        match (self.query.transport, names::netbios_type_name(rtype)) {
            (Transport::Nbns, Some(name)) => out.push_str(name),
            _ => names::put_type(out, rtype),
        }
    }

    /// Measures of the name asked for.
    fn measured<T>(&self, measure: impl Fn(&[u8]) -> T) -> Option<T> {
        self.query.question.map(|_| measure(self.query.name()))
    }

    fn dga_score(&self) -> Option<f32> {
        if self.query.transport == Transport::Mdns {
            return None;
        }
        self.domain().and_then(|(_, domain)| dga::score(domain))
    }

    /// A flag of the response.
    fn response_flag(&self, bit: u16) -> Option<bool> {
        self.query.response_flags.map(|flags| flags & bit != 0)
    }

    /// A flag that the query has and the response repeats.
    fn asked_flag(&self, bit: u16) -> Option<bool> {
        let flags = self.query.query_flags.or(self.query.response_flags);
        flags.map(|flags| flags & bit != 0)
    }
}

impl InFlow for DnsRow {
    fn flow(&self) -> &FlowHead {
        &self.flow
    }

    fn began(&self) -> (CaptureTime, PacketRef) {
        (self.query.ts, self.query.packet)
    }
}

impl Row for DnsRow {
    const TABLE: &'static str = "dns_queries";
    const DOC: &'static str = "One row per DNS question with its answer in the same flow, or for the one \
        without the other; mDNS, LLMNR and NetBIOS names likewise. Names are presentation form (RFC 1035 section \
        5.1) without the last dot, `.` for the root.";
    const GROUP_ROWS: usize = 1 << 15;

    fn columns() -> Vec<Column<Self>> {
        let mut columns = identity_columns();
        columns.extend(question_columns());
        columns.extend(answer_columns());
        columns
    }

    fn sort_key(&self) -> (i64, i64) {
        (self.query.ts.as_nanos(), self.flow.flow_id.0)
    }

    fn heap_bytes(&self) -> usize {
        self.query.heap_bytes() + self.name.lower.len()
    }
}

fn identity_columns() -> Vec<Column<DnsRow>> {
    type R = DnsRow;
    let mut columns = place::columns("When the question was first seen; without one, the answer.");
    columns.extend([
        col::text(
            (
                "transport",
                "",
                "`udp`, `tcp`, `dot` (decrypted), `doh` (within HTTP), `mdns`, `llmnr`, `nbns`.",
            ),
            |r: &R| r.query.transport.name(),
        ),
        col::int32(("trans_id", "", "Identifier of the messages."), |r: &R| {
            i32::from(r.query.id)
        })
        .layout(Layout::Delta),
    ]);
    columns
}

fn question_columns() -> Vec<Column<DnsRow>> {
    type R = DnsRow;
    vec![
        col::boolean(("query_seen", "", "The question itself was seen."), |r: &R| {
            r.query.query_flags.is_some()
        }),
        col::text_opt(
            ("query", "", "Name asked for, in lower case; null where no message says it."),
            R::lower,
        )
        .content(),
        col::text_written(
            ("query_original_case", "", "The same in its own case; null where that is lower."),
            true,
            |r: &R, out| {
                if r.name.has_upper {
                    r.put_name(out, r.query.name());
                }
                r.name.has_upper
            },
        )
        .content(),
        col::int32_opt(
            ("query_len", "characters", "Length of the name as it travelled, without its last dot."),
            |r: &R| r.measured(|name| int(names::length(name))),
        ),
        col::int32_opt(("label_count", "", "Its labels."), |r: &R| {
            r.measured(|name| int(names::label_measures(name).0))
        }),
        col::int32_opt(("max_label_len", "byte", "Its longest label."), |r: &R| {
            r.measured(|name| int(names::label_measures(name).1))
        }),
        col::float32_opt(
            ("query_entropy", "bit per character", "Shannon entropy of its characters, case and dots aside."),
            |r: &R| r.measured(names::entropy).flatten(),
        ),
        col::text_opt(
            ("etld1", "", "Registered domain: public suffix and one label (Mozilla's list, its version in the manifest); null where there is none."),
            |r: &R| r.domain().map(|(_, domain)| domain),
        )
        .content(),
        col::text_opt(
            ("subdomain", "", "What stands before the registered domain; null where nothing does."),
            |r: &R| r.domain().map(|(before, _)| before).filter(|before| !before.is_empty()),
        )
        .content(),
        col::float32_opt(
            (
                "dga_score",
                "0 to 1",
                "How much the first label of `etld1` looks drawn by a program; one name proves nothing. Null for \
                 labels below five characters, punycode, and names of a link.",
            ),
            R::dga_score,
        ),
        col::int32_opt(("qtype", "IANA", "Type asked for."), |r: &R| {
            r.query.question.map(|question| i32::from(question.qtype))
        }),
        col::text_written(
            ("qtype_name", "IANA", "Its name; `TYPE65280` where it has none."),
            true,
            |r: &R, out| match r.query.question {
                Some(question) => {
                    r.put_type(out, question.qtype);
                    true
                }
                None => false,
            },
        ),
        col::int32_opt(
            ("qclass", "IANA", "Class asked for, without the bit that mDNS puts on top."),
            |r: &R| {
                let mask = if r.query.transport == Transport::Mdns { 0x7fff } else { 0xffff };
                r.query.question.map(|question| i32::from(question.qclass & mask))
            },
        ),
        col::int16(("opcode", "IANA", "Kind of message: 0 a query."), |r: &R| {
            let flags = r.query.query_flags.or(r.query.response_flags);
            (flags.unwrap_or_default() >> 11 & 0xf) as i16
        }),
        col::boolean_opt(("rd", "", "Recursion was asked for."), |r: &R| r.asked_flag(RD)),
        col::boolean_opt(("cd", "", "The asker checks signatures itself."), |r: &R| {
            r.asked_flag(CD)
        }),
        col::int32_opt(
            ("edns_udp_size", "byte", "Largest datagram that the asker takes (EDNS)."),
            |r: &R| r.query.edns_udp_size.map(i32::from),
        ),
        col::text_written(
            ("edns_client_subnet", "", "Network for whose sake was asked (RFC 7871)."),
            true,
            |r: &R, out| put_subnet(out, r.query.client_subnet()).is_some(),
        )
        .identifier(),
        col::int32(
            ("query_repeats", "", "How often the question was sent again before it was answered."),
            |r: &R| i32::from(r.query.repeats),
        ),
    ]
}

fn answer_columns() -> Vec<Column<DnsRow>> {
    type R = DnsRow;
    vec![
        col::time_opt(
            ("ts_response", "ns", "When the answer was seen."),
            |r: &R| r.query.ts_response,
        ),
        col::int64_opt(
            (
                "rtt_ns",
                "ns",
                "From the first question to the answer; null where either was not seen.",
            ),
            |r: &R| {
                let asked = r.query.query_flags.map(|_| r.query.ts)?;
                Some(r.query.ts_response?.nanos_since(asked))
            },
        )
        .layout(Layout::Plain),
        col::boolean_opt(
            (
                "unanswered",
                "",
                "No answer came, although one is owed in this flow; null for questions to everyone.",
            ),
            |r: &R| {
                (r.query.expects_answer() && !r.flow.dst.is_multicast())
                    .then_some(r.query.ts_response.is_none())
            },
        ),
        col::int32_opt(
            ("rcode", "IANA", "Response code, with EDNS's upper bits."),
            |r: &R| r.query.rcode.map(i32::from),
        ),
        col::text_opt(("rcode_name", "IANA", "Its name."), |r: &R| {
            r.query.rcode.and_then(names::rcode_name)
        }),
        col::boolean_opt(
            (
                "rejected",
                "",
                "The answer has a code other than NOERROR and NXDOMAIN: the server did not say whether the name is there.",
            ),
            |r: &R| r.query.rcode.map(|rcode| !matches!(rcode, 0 | 3)),
        ),
        col::boolean_opt(("aa", "", "The server is the name's own."), |r: &R| {
            r.response_flag(AA)
        }),
        col::boolean_opt(
            ("tc", "", "The answer was cut to fit a datagram."),
            |r: &R| r.response_flag(TC),
        ),
        col::boolean_opt(("ra", "", "Recursion is to be had."), |r: &R| {
            r.response_flag(RA)
        }),
        col::boolean_opt(
            ("ad", "", "The server says that it checked signatures."),
            |r: &R| r.response_flag(AD),
        ),
        col::int32_opt(
            ("answer_bytes", "byte", "Length of the response message."),
            |r: &R| r.query.response_bytes.map(signed32),
        ),
        col::boolean_opt(
            (
                "answers_cut",
                "",
                "Not all answers are here: the message broke off, or `limits.dns_answer_bytes` was reached.",
            ),
            |r: &R| r.query.response_flags.map(|_| r.query.answers_cut),
        ),
        answers_column(),
        col::list(
            ("answer_ips", "RFC 5952", "Addresses among the answers."),
            DataType::Utf8,
            true,
            |r: &R, items| {
                let addresses = r.query.answers().filter_map(|answer| answer.address());
                addresses.for_each(|address| items.address(address));
                r.query.response_flags.is_some()
            },
        )
        .identifier(),
    ]
}

/// `192.0.2.0/24`, from family, prefix lengths and as many bytes as these need.
fn put_subnet(out: &mut String, subnet: &[u8]) -> Option<()> {
    let (&[_, family, prefix, _], bytes) = subnet.split_first_chunk::<4>()?;
    let mut octets = [0_u8; 16];
    octets.get_mut(..bytes.len())?.copy_from_slice(bytes);
    let address = match family {
        1 => {
            let [a, b, c, d, ..] = octets;
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        }
        2 => IpAddr::V6(Ipv6Addr::from(octets)),
        _ => return None,
    };
    let _ = write!(out, "{address}/{prefix}");
    Some(())
}

fn answers_column() -> Column<DnsRow> {
    let fields = [
        ("name", DataType::Utf8, false),
        ("type", DataType::Utf8, false),
        ("data", DataType::Utf8, false),
        ("ttl", DataType::Int64, false),
    ];
    let head = (
        "answers",
        "",
        "Records of the answer section; null where no response was seen. `ttl` in seconds.",
    );
    col::records(head, true, &fields, |row: &DnsRow, items| {
        let mut text = String::new();
        for answer in row.query.answers() {
            let mut put = |write: &dyn Fn(&mut String)| {
                text.clear();
                write(&mut text);
                items.text(&text);
            };
            let name = answer.name.unwrap_or(row.query.name());
            put(&|text| row.put_name(text, name));
            put(&|text| row.put_type(text, answer.rtype));
            put(&|text| match row.query.transport {
                Transport::Nbns => names::put_netbios_data(text, answer.rtype, answer.data),
                _ => names::put_data(text, answer.rtype, answer.data),
            });
            items.number(i64::from(answer.ttl));
        }
        row.query.response_flags.is_some()
    })
    .content()
}

fn int(value: usize) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}
