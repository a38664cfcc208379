//! DNS over HTTP (RFC 8484): messages in bodies, or in the query of a GET, are
//! questions and answers like any others.

use super::super::reader::{Role, Scene};
use super::head::Field;
use super::transaction::{HttpTransaction, Text};
use super::{fields, head};
use crate::proto::dns::Transport;
use crate::proto::dns::pairs::Pairs;
use crate::proto::{Cx, Direction};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Longest message (RFC 8484 §6): that of DNS over TCP.
pub(super) const MAX_MESSAGE: usize = 64 << 10;

/// The messages of one connection.
#[derive(Debug, Default)]
pub(super) struct Doh(Option<Box<Pairs>>);

impl Doh {
    /// A whole message.
    pub(super) fn message(&mut self, scene: &mut Scene<'_, '_>, from: Role, bytes: &[u8]) {
        scene.services.add("doh");
        let from = match from {
            Role::Client => Direction::Orig,
            Role::Server => Direction::Resp,
        };
        let pairs = self
            .0
            .get_or_insert_with(|| Box::new(Pairs::new(Transport::Doh)));
        if let Some(broken) = pairs.message(scene.cx, from, bytes, true) {
            scene.malformed(broken.text());
        }
    }

    /// A message in the target of a GET: `?dns=` and base64url (RFC 8484 §4.1).
    pub(super) fn target(
        &mut self,
        scene: &mut Scene<'_, '_>,
        tx: &HttpTransaction,
        query: Option<&[u8]>,
        fields: &[Field<'_>],
    ) {
        let Some(query) = query else { return };
        let mut pairs = query.split(|byte| *byte == b'&');
        let Some(coded) = pairs.find_map(|pair| pair.strip_prefix(b"dns=")) else {
            return;
        };
        let accepts = head::value(fields, b"accept").is_some_and(|accept| {
            super::super::text::contains_any_case(accept, fields::DNS_MESSAGE.as_bytes())
        });
        let is_asked = tx.text(Text::Method) == Some("GET") && coded.len() <= MAX_MESSAGE;
        let by_path = tx
            .text(Text::Path)
            .is_some_and(|path| path.ends_with("/dns-query"));
        if !is_asked || !accepts && !by_path {
            return;
        }
        let end = coded.iter().position(|byte| *byte == b'=');
        let coded = coded.get(..end.unwrap_or(coded.len())).unwrap_or_default();
        if let Ok(message) = URL_SAFE_NO_PAD.decode(coded) {
            self.message(scene, Role::Client, &message);
        }
    }

    /// The connection has ended: nothing more will be answered.
    pub(super) fn end(&mut self, cx: &mut Cx<'_>) {
        if let Some(pairs) = &mut self.0 {
            pairs.end(cx);
        }
    }

    /// Heap bytes held.
    pub(super) fn heap_bytes(&self) -> usize {
        self.0
            .as_ref()
            .map_or(0, |pairs| size_of::<Pairs>() + pairs.heap_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{
        Turn, c, h2_begin, h2_block, h2_frame, hex, s, talk, talk_rows,
    };
    use super::*;
    use crate::proto::LiveRow;

    // The address of `a.example`, and 10.0.0.1.
    const ASK: &str = "0000 0100 0001 0000 0000 0000 0161 076578616d706c65 00 0001 0001";
    const ANSWER: &str = "0000 8180 0001 0001 0000 0000 0161 076578616d706c65 00 0001 0001 c00c 0001 0001 0000003c 0004 0a000001";

    #[track_caller]
    fn gives_one_answered_question(turns: &[Turn]) {
        let rows = talk_rows(turns);
        let questions: Vec<_> = rows
            .iter()
            .filter_map(|row| match row {
                LiveRow::Dns(query) => Some(query),
                _ => None,
            })
            .collect();
        assert_eq!(questions.len(), 1);
        assert_eq!(questions[0].transport, Transport::Doh);
        assert_eq!(questions[0].name(), b"\x01a\x07example");
        let addresses: Vec<_> = questions[0].answers().map(|one| one.address()).collect();
        assert_eq!(addresses, [Some([10, 0, 0, 1].into())]);
        assert_eq!(rows.len(), 2, "and its transaction");
        assert_eq!(talk(turns).service.as_deref(), Some("http,doh"));
    }

    #[test]
    fn messages_are_questions_and_answers() {
        let answer = [
            &b"HTTP/1.1 200 OK\r\nContent-Type: application/dns-message\r\nContent-Length: 43\r\n\r\n"[..],
            &hex(ANSWER),
        ]
        .concat();
        let post = [
            &b"POST /dns-query HTTP/1.1\r\nHost: a\r\nContent-Type: application/dns-message\r\nContent-Length: 27\r\n\r\n"[..],
            &hex(ASK),
        ]
        .concat();
        gives_one_answered_question(&[c(post), s(answer.clone())]);
        let coded = URL_SAFE_NO_PAD.encode(hex(ASK));
        let get = format!("GET /dns-query?dns={coded} HTTP/1.1\r\nHost: a\r\n\r\n");
        gives_one_answered_question(&[c(get), s(answer)]);
        let (client, server) = h2_begin();
        let path = format!("/q?dns={coded}");
        let get = h2_block(&[
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "a"),
            (":path", &path),
            ("accept", fields::DNS_MESSAGE),
        ]);
        let answer = h2_block(&[(":status", "200"), ("content-type", fields::DNS_MESSAGE)]);
        gives_one_answered_question(&[
            c([client, h2_frame(1, 5, 1, &get)].concat()),
            s([
                server,
                h2_frame(1, 4, 1, &answer),
                h2_frame(0, 1, 1, &hex(ANSWER)),
            ]
            .concat()),
        ]);
    }

    #[test]
    fn what_is_no_message_asks_nothing() {
        let rows = talk_rows(&[c("GET /search?dns=AAAA HTTP/1.1\r\nHost: a\r\n\r\n")]);
        assert_eq!(rows.len(), 1);
    }
}
