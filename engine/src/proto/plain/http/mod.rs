//! HTTP: requests matched with their answers into transactions, bodies measured
//! and passed over, tunnels and upgrades handed on. `h1` and `h2` follow their
//! versions' framing; what requests, answers and bodies say is read alike.

mod body;
mod content;
mod doh;
mod facts;
mod fields;
mod h1;
mod h2;
mod head;
mod inflate;
mod jwt;
mod probe;
mod scan;
mod secrets;
mod transaction;

pub use jwt::Jwt;
pub use transaction::{
    Carrier, HttpCredential, HttpTransaction, HttpVersion, Measured, Oddities, Oddity, SetCookie,
    Sizes, Text, Texts,
};

pub(super) use h2::frame::{probe_preface, probe_within};
pub(super) use probe::probe;

use super::PlaintextFacts;
use super::reader::{Next, Reader, Role, Scene};
use crate::proto::{Cx, Want};
use h1::{Http1, Outcome};
use h2::Http2;
use probe::H2_PREFACE;

/// A path and a query as transactions show them: without what may be a secret.
pub(crate) fn shown_uri(path: &[u8], query: Option<&[u8]>) -> (String, Option<String>) {
    let mut shown = String::new();
    fields::show_path(path, &mut shown);
    let query = query.map(|query| {
        let mut shown = String::new();
        fields::redact_query(query, &mut shown);
        shown
    });
    (shown, query)
}

/// The reader, beginning with HTTP/1.
pub(super) fn open() -> Box<dyn Reader> {
    Box::new(Http::default())
}

/// The reader of HTTP/2, from its preface or from anywhere within.
pub(super) fn open_h2() -> Box<dyn Reader> {
    Box::new(Http2::default())
}

/// HTTP/1, and HTTP/2 once a connection went on to it.
#[derive(Debug, Default)]
struct Http {
    first: Http1,
    second: Option<Box<Http2>>,
}

impl Reader for Http {
    fn data(&mut self, scene: &mut Scene<'_, '_>, from: Role, bytes: &[u8]) -> Next {
        if let Some(second) = &mut self.second {
            return second.data(scene, from, bytes);
        }
        let (after, upgrade) = match self.first.data(scene, from, bytes) {
            Outcome::Next(next) => return next,
            Outcome::Http2(after, upgrade) => (after, upgrade),
        };
        let mut second = match upgrade {
            Some(upgrade) => {
                let sent = upgrade.sent.clone();
                let mut second = Http2::upgraded(scene, upgrade);
                second.data(scene, Role::Client, &sent);
                second
            }
            None => {
                let mut second = Http2::default();
                // What HTTP/1 took for a head.
                let read = H2_PREFACE.len().saturating_sub(b"SM\r\n\r\n".len());
                second.data(
                    scene,
                    Role::Client,
                    H2_PREFACE.get(..read).unwrap_or_default(),
                );
                second
            }
        };
        let next = second.data(scene, from, bytes.get(after..).unwrap_or_default());
        self.second = Some(Box::new(second));
        next
    }

    fn gap(&mut self, from: Role, len: u64) -> Want {
        match &mut self.second {
            Some(second) => second.gap(from, len),
            None => self.first.gap(from, len),
        }
    }

    fn skipped(&mut self, from: Role, len: u64) {
        match &mut self.second {
            Some(second) => second.skipped(from, len),
            None => self.first.skipped(from, len),
        }
    }

    fn end(&mut self, cx: &mut Cx<'_>, facts: &mut PlaintextFacts) {
        match &mut self.second {
            Some(second) => second.end(cx, facts),
            None => self.first.end(cx),
        }
    }

    fn heap_bytes(&self) -> usize {
        let second = self.second.as_ref();
        self.first.heap_bytes()
            + second.map_or(0, |second| size_of::<Http2>() + second.heap_bytes())
    }
}

#[cfg(test)]
pub(super) mod tests;
