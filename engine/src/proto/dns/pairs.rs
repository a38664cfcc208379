//! Question and answer of one flow, brought together by identifier, question
//! and direction (RFC 5452 §9.1; addresses and ports are the flow's). A question
//! that is sent again waits once; one that waits too long, or for which there
//! is no room, leaves as unanswered; an answer that nobody asked for leaves as such.

use super::message::{Broken, Edns, Header, Message, Name, Question, Record, kind};
use super::{DnsQuery, Transport};
use crate::anomaly::AnomalyKind;
use crate::proto::{Cx, Direction, LiveRow};
use crate::time::NANOS_PER_SECOND;
use std::collections::VecDeque;

/// Questions of one message that become rows: mDNS asks several at once.
const MAX_QUESTIONS: u16 = 64;

/// The questions of one flow that wait for their answers.
#[derive(Debug)]
pub struct Pairs {
    transport: Transport,
    /// In the order in which they came.
    waiting: VecDeque<Waiting>,
    /// Their identifiers, apart, since every message looks for its own.
    ids: VecDeque<u16>,
    /// Heap bytes of those that wait.
    heap_bytes: usize,
    /// The zone transfer whose first message was its answer (RFC 5936 §2.2):
    /// those that follow belong to it.
    transfer: Option<u16>,
}

#[derive(Debug)]
struct Waiting {
    row: DnsQuery,
    from: Direction,
}

impl Pairs {
    /// Nothing waits.
    pub fn new(transport: Transport) -> Self {
        Self {
            transport,
            waiting: VecDeque::new(),
            ids: VecDeque::new(),
            heap_bytes: 0,
            transfer: None,
        }
    }

    /// Heap bytes held.
    pub fn heap_bytes(&self) -> usize {
        self.waiting.capacity() * size_of::<Waiting>()
            + self.ids.capacity() * size_of::<u16>()
            + self.heap_bytes
    }

    /// The next message of the flow. `whole` is false when its end was left
    /// out on purpose. Says what was wrong with it.
    pub fn message(
        &mut self,
        cx: &mut Cx<'_>,
        from: Direction,
        bytes: &[u8],
        whole: bool,
    ) -> Option<Broken> {
        let Some(mut message) = Message::new(bytes) else {
            return whole.then_some(Broken::Cut);
        };
        self.expire(cx);
        if message.header.is_response() {
            self.response(cx, from, &mut message, whole);
        } else {
            self.query(cx, from, &mut message);
        }
        match message.broken {
            Some(Broken::Cut) if !whole => None,
            broken => broken,
        }
    }

    /// The flow has ended: nothing more will be answered.
    pub fn end(&mut self, cx: &mut Cx<'_>) {
        while let Some(row) = self.take(0) {
            cx.rows.push(LiveRow::Dns(row));
        }
    }

    fn query(&mut self, cx: &mut Cx<'_>, from: Direction, message: &mut Message<'_>) {
        let header = message.header;
        let [questions, ..] = header.counts;
        let edns = edns_of(message);
        let mut name = Name::default();
        for number in 0..questions.clamp(1, MAX_QUESTIONS) {
            let read = (number < questions)
                .then(|| message.question(&mut name))
                .flatten();
            // A name that breaks off is still the one that was asked for.
            let broken_name = (number == 0 && !name.labels().is_empty()).then(Question::default);
            let question = match read.or(broken_name) {
                None if number > 0 => break,
                question => question,
            };
            self.ask(cx, from, header, question.map(|q| (q, &name)), &edns);
        }
        note_rest(message, edns);
    }

    fn ask(
        &mut self,
        cx: &mut Cx<'_>,
        from: Direction,
        header: Header,
        question: Option<(Question, &Name)>,
        edns: &Walked<'_>,
    ) {
        let again = self.transport != Transport::Mdns;
        if again && let Some(at) = self.find(header.id, from, question.as_ref(), true) {
            if let Some(waiting) = self.waiting.get_mut(at) {
                waiting.row.repeats = waiting.row.repeats.saturating_add(1);
            }
            return;
        }
        let mut row = DnsQuery::new(cx.ts, cx.packet, self.transport, header.id, question);
        row.query_flags = Some(header.flags);
        if let Some(edns) = &edns.edns {
            row.edns_udp_size = Some(edns.udp_size);
            row.put_subnet(edns.client_subnet);
        }
        // Who answers mDNS answers everyone, in a flow of its own.
        if self.transport == Transport::Mdns {
            cx.rows.push(LiveRow::Dns(row));
            return;
        }
        if self.waiting.len() >= cx.limits.dns_waiting.max(1)
            && let Some(row) = self.take(0)
        {
            cx.anomalies
                .note(AnomalyKind::LimitEvicted, cx.ts, cx.packet, || {
                    "more DNS questions wait than the limit; the oldest counts as unanswered"
                        .to_owned()
                });
            cx.rows.push(LiveRow::Dns(row));
        }
        self.heap_bytes = self.heap_bytes.saturating_add(row.heap_bytes());
        if self.waiting.capacity() == 0 {
            // Most flows ask once.
            self.waiting.reserve_exact(1);
            self.ids.reserve_exact(1);
        }
        self.ids.push_back(header.id);
        self.waiting.push_back(Waiting { row, from });
    }

    fn response(
        &mut self,
        cx: &mut Cx<'_>,
        from: Direction,
        message: &mut Message<'_>,
        whole: bool,
    ) {
        let header = message.header;
        let [questions, answers, ..] = header.counts;
        let edns = edns_of(message);
        let mut name = Name::default();
        let mut first = None;
        for number in 0..questions.clamp(1, MAX_QUESTIONS) {
            let question = (number < questions)
                .then(|| message.question(&mut name))
                .flatten();
            let question = question.map(|question| (question, &name));
            if number > 0 && question.is_none() {
                break;
            }
            let asked = self
                .find(header.id, from.flip(), question.as_ref(), false)
                .and_then(|at| self.take(at));
            if asked.is_none() && self.transfer == Some(header.id) {
                return;
            }
            let mut row = match asked {
                Some(row) => row,
                // What follows the first question nobody asked for is no row of its own.
                None if number > 0 => continue,
                None => DnsQuery::new(cx.ts, cx.packet, self.transport, header.id, question),
            };
            row.ts_response = Some(cx.ts);
            row.response_flags = Some(header.flags);
            row.response_bytes = u32::try_from(message.len()).ok();
            let high = edns.edns.as_ref().map_or(0, |edns| edns.rcode_high);
            row.rcode = Some(header.rcode() | u16::from(high) << 4);
            if first.is_none() {
                first = Some(row);
            } else {
                cx.rows.push(LiveRow::Dns(row));
            }
        }
        let Some(mut row) = first else { return };
        let is_transfer = row
            .question
            .is_some_and(|question| matches!(question.qtype, kind::AXFR | kind::IXFR));
        self.transfer = is_transfer.then_some(header.id);
        row.put_subnet(edns.edns.as_ref().and_then(|edns| edns.client_subnet));
        for _ in 0..answers {
            let Some(record) = message.record() else {
                row.answers_cut = true;
                break;
            };
            row.put_answer(message, &record, cx.limits.dns_answer_bytes);
            if row.answers_cut {
                break;
            }
        }
        row.answers_cut |= !whole;
        cx.rows.push(LiveRow::Dns(row));
        note_rest(message, edns);
    }

    /// The place of what waits for this, asked by `from`.
    fn find(
        &self,
        id: u16,
        from: Direction,
        question: Option<&(Question, &Name)>,
        strictly: bool,
    ) -> Option<usize> {
        let same = |row: &DnsQuery| match (question, row.question) {
            (Some((question, name)), Some(asked)) => {
                *question == asked && row.name().eq_ignore_ascii_case(name.labels())
            }
            // An answer may leave the question out (NBNS always does).
            (None, _) => !strictly || row.question.is_none(),
            (Some(_), None) => false,
        };
        let ids = self.ids.iter().zip(&self.waiting).enumerate();
        ids.filter(|(_, (waiting, _))| **waiting == id)
            .find(|(_, (_, waiting))| waiting.from == from && same(&waiting.row))
            .map(|(at, _)| at)
    }

    fn take(&mut self, at: usize) -> Option<DnsQuery> {
        self.ids.remove(at);
        let row = self.waiting.remove(at)?.row;
        self.heap_bytes = self.heap_bytes.saturating_sub(row.heap_bytes());
        if self.waiting.capacity() == 1 {
            // Most flows ask once, and then stay open for a minute.
            self.waiting = VecDeque::new();
            self.ids = VecDeque::new();
        }
        Some(row)
    }

    /// Lets go of what has waited for too long.
    fn expire(&mut self, cx: &mut Cx<'_>) {
        let longest = cx
            .limits
            .dns_answer_seconds
            .saturating_mul(NANOS_PER_SECOND);
        while let Some(oldest) = self.waiting.front()
            && cx.ts.nanos_since(oldest.row.ts) > longest
            && let Some(row) = self.take(0)
        {
            cx.rows.push(LiveRow::Dns(row));
        }
    }
}

/// What a walk over a message's records found, ahead of reading it.
struct Walked<'a> {
    edns: Option<Edns<'a>>,
    broken: Option<Broken>,
}

/// Walks a message to its end, for its EDNS record and for what is broken.
fn edns_of<'a>(message: &Message<'a>) -> Walked<'a> {
    let mut walk = message.clone();
    let [questions, answers, authorities, additionals] = walk.header.counts;
    for _ in 0..questions {
        if walk.skip_question().is_none() {
            break;
        }
    }
    let before = u32::from(answers) + u32::from(authorities);
    let mut edns = None;
    for number in 0..before + u32::from(additionals) {
        let Some(record) = walk.record() else { break };
        let Record { rtype, .. } = record;
        if number >= before && rtype == kind::OPT && edns.is_none() {
            edns = Some(walk.edns(&record));
        }
    }
    walk.finish();
    Walked {
        edns,
        broken: walk.broken,
    }
}

/// What was wrong behind what was read.
fn note_rest(message: &mut Message<'_>, walked: Walked<'_>) {
    message.broken = message.broken.or(walked.broken);
}
