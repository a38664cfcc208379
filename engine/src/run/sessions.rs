//! Sessions of a run that later ones resume: a resumed session shows no
//! certificate, and inherits that of the session it points to (RFC 5246 §7.3,
//! RFC 5077). Only hashes of ids and tickets are kept.

use crate::evidence::FlowId;
use crate::flow::FlowHead;
use crate::proto::tls::{SessionSeen, TlsHandshake};
use crate::proto::x509::Certificate;
use crate::time::CaptureTime;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;

/// Sessions by what resumes them.
#[derive(Debug)]
pub(super) struct Sessions {
    by_key: HashMap<[u8; 8], Known>,
    /// What each server last showed: many sessions share it.
    latest: HashMap<(IpAddr, u16), Arc<Service>>,
    limit: usize,
}

#[derive(Debug)]
struct Known {
    /// Packet that showed it, counted over all files.
    packet: u64,
    flow_id: FlowId,
    ts: CaptureTime,
    parent: Option<[u8; 8]>,
    service: Arc<Service>,
}

/// Whose session it is, and by which certificates.
#[derive(Debug)]
struct Service {
    server: (IpAddr, u16),
    name: Option<Box<str>>,
    chain: Vec<Arc<Certificate>>,
}

impl Service {
    fn is_of(&self, seen: &SessionSeen) -> bool {
        let mut pairs = self.chain.iter().zip(&seen.chain);
        self.name == seen.server_name
            && self.chain.len() == seen.chain.len()
            && pairs.all(|(one, other)| Arc::ptr_eq(one, other))
    }
}

/// What a resumed session inherits.
#[derive(Clone, Debug)]
pub(super) struct Inherited {
    /// The flow whose handshake showed the certificates.
    pub(super) flow_id: FlowId,
    pub(super) chain: Vec<Arc<Certificate>>,
    /// When it showed them: the client judged them then, and not since.
    pub(super) ts: CaptureTime,
}

/// Sessions in a row, each resumed from the one before by a fresh ticket.
const MAX_STEPS: usize = 32;

impl Sessions {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            by_key: HashMap::new(),
            latest: HashMap::new(),
            limit,
        }
    }

    /// Adds a session; the first to use an id or ticket keeps it.
    pub(super) fn add(&mut self, packet: u64, flow: &FlowHead, seen: SessionSeen) {
        if self.by_key.len() >= self.limit {
            return;
        }
        let Entry::Vacant(place) = self.by_key.entry(seen.key) else {
            return;
        };
        let server = (flow.dst, flow.dst_port);
        let latest = self.latest.get(&server);
        let service = match latest.filter(|service| service.is_of(&seen)) {
            Some(service) => Arc::clone(service),
            None => {
                let service = Arc::new(Service {
                    server,
                    name: seen.server_name,
                    chain: seen.chain,
                });
                self.latest.insert(server, Arc::clone(&service));
                service
            }
        };
        place.insert(Known {
            packet,
            flow_id: flow.flow_id,
            ts: seen.ts,
            parent: seen.parent,
            service,
        });
    }

    /// What a handshake with this server inherits, of what had passed by `until`.
    pub(super) fn of(
        &self,
        tls: &TlsHandshake,
        server: (IpAddr, u16),
        until: u64,
    ) -> Option<Inherited> {
        if tls.resumed.is_none() || !tls.chain.is_empty() {
            return None;
        }
        let client = tls.client.as_deref();
        let name = client.and_then(|client| client.server_name.as_deref());
        let mut key = tls.offered_ticket_hash?;
        for _ in 0..MAX_STEPS {
            let known = self.by_key.get(&key)?;
            // Anybody may offer what somebody else was given; only the same
            // service takes it.
            let service = &*known.service;
            let same_name = name.is_some() && name == service.name.as_deref();
            if known.packet > until || service.server != server && !same_name {
                return None;
            }
            if !service.chain.is_empty() {
                return Some(Inherited {
                    flow_id: known.flow_id,
                    chain: service.chain.clone(),
                    ts: known.ts,
                });
            }
            key = known.parent.filter(|parent| *parent != key)?;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing;
    use crate::proto::tls::Resumption;
    use crate::proto::x509::CertificateCache;

    fn head(id: i64, last: u8) -> FlowHead {
        FlowHead {
            flow_id: FlowId(id),
            first: testing::packet(1),
            src: [10, 0, 0, 1].into(),
            dst: [198, 51, 100, last].into(),
            src_port: 50_000,
            dst_port: 443,
            ip_proto: 6,
            scope: 0,
        }
    }

    fn seen(key: u8, chain: bool, parent: Option<u8>) -> SessionSeen {
        let certificate = CertificateCache::default().get(b"a certificate");
        SessionSeen {
            key: [key; 8],
            chain: chain.then_some(certificate).into_iter().collect(),
            parent: parent.map(|parent| [parent; 8]),
            ts: testing::at(5),
            server_name: Some("api.example".into()),
        }
    }

    fn resuming(key: u8, name: &str) -> TlsHandshake {
        let mut tls = testing::tls(0x0303, 0xc02f);
        let mut client = tls.client.as_deref().cloned().unwrap_or_default();
        client.server_name = Some(name.to_owned());
        tls.client = Some(Arc::new(client));
        tls.resumed = Some(Resumption::Ticket);
        tls.offered_ticket_hash = Some([key; 8]);
        tls
    }

    #[track_caller]
    fn inherits(sessions: &Sessions, key: u8, host: (u8, &str), until: u64, from: Option<i64>) {
        let server = ([198, 51, 100, host.0].into(), 443);
        let found = sessions.of(&resuming(key, host.1), server, until);
        assert_eq!(found.map(|found| found.flow_id.0), from);
    }

    #[test]
    fn the_session_that_showed_the_certificate_is_found() {
        let mut sessions = Sessions::new(8);
        sessions.add(10, &head(1, 7), seen(1, true, None));
        sessions.add(20, &head(2, 7), seen(2, false, Some(1)));
        sessions.add(30, &head(3, 7), seen(3, false, Some(3)));
        let here = (7, "api.example");
        inherits(&sessions, 1, here, 10, Some(1));
        inherits(&sessions, 1, here, 9, None);
        // A ticket that the resumed session was given.
        inherits(&sessions, 2, here, 20, Some(1));
        inherits(&sessions, 3, here, 99, None);
        inherits(&sessions, 4, here, 99, None);
        // Another address of the same name, or the same address; nobody else.
        inherits(&sessions, 1, (8, "api.example"), 99, Some(1));
        inherits(&sessions, 1, (7, "other.example"), 99, Some(1));
        inherits(&sessions, 1, (8, "other.example"), 99, None);
    }

    #[test]
    fn no_more_are_kept_than_the_limit_allows() {
        let mut sessions = Sessions::new(1);
        sessions.add(1, &head(1, 7), seen(1, true, None));
        sessions.add(2, &head(2, 7), seen(2, true, None));
        inherits(&sessions, 2, (7, "api.example"), 9, None);
    }
}
