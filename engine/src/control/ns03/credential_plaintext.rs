//! A credential that crossed the wire outside TLS: Basic, Bearer, API key,
//! session cookie, password in a form or in JSON. Answers to a challenge
//! (Digest, NTLM, Negotiate) are not the secret itself. Source: RFC 7617 §4,
//! RFC 6750 §5.3.

use super::{NO_REQUEST, is_api};
use crate::control::{Audit, Fact, LIST, Meta, Outcome, Severity, Wants};
use crate::evidence::PacketRef;
use crate::policy::Policy;
use crate::proto::credential::SecretHash;
use crate::proto::plain::{Place, PlaintextFacts};
use std::collections::BTreeMap;

pub(super) struct CredentialPlaintext;

static META: Meta = Meta {
    id: "NS-03.credential_plaintext",
    title: "Credential sent outside TLS",
    severity: Severity::Critical,
    attack: &["T1040", "T1552"],
    wants: Wants::Http,
    observable_with: "requests in plaintext or decrypted",
    source: "RFC 7617 section 4; RFC 6750 section 5.3",
};

/// What the places of a secret follow.
const REASON: &str = "a credential crossed the wire in plaintext: ";

/// The first packet with a secret where it is not the request's, and in what
/// places the secret stands.
type Places = (Option<PacketRef>, Vec<String>);

impl Audit for CredentialPlaintext {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn audit(&self, policy: &Policy, fact: Fact<'_>) -> Vec<Outcome> {
        let (flow, tx) = match fact {
            Fact::Http(flow, tx) => (flow, tx),
            Fact::Plaintext(_, plain) => return of_flow(plain),
            _ => return Vec::new(),
        };
        let mut secrets: BTreeMap<SecretHash, Places> = BTreeMap::new();
        for known in &tx.credentials {
            if !is_proof(known.class) {
                let places = secrets.entry(known.hash).or_default();
                places.1.push(format!("{} in {}", known.class, known.name));
            }
        }
        if !secrets.is_empty() && !tx.decrypted {
            return secrets.into_iter().map(violated).collect();
        }
        match (is_api(policy, flow, tx), tx.has_request) {
            (false, _) if secrets.is_empty() => Vec::new(),
            (_, true) => vec![Outcome::passed(&META)],
            (_, false) => vec![Outcome::not_observed(&META, NO_REQUEST)],
        }
    }
}

/// Answers to a challenge are not the secret itself.
fn is_proof(class: &str) -> bool {
    matches!(class, "http_digest" | "http_ntlm" | "http_negotiate")
}

/// What a flow gave away elsewhere than in requests: known by its look, or
/// as the cookie that a server set.
fn of_flow(plain: &PlaintextFacts) -> Vec<Outcome> {
    let mut secrets: BTreeMap<SecretHash, Places> = BTreeMap::new();
    for seen in &plain.credentials {
        let elsewhere = matches!(seen.place, Place::Payload | Place::SetCookie);
        if let Some(hash) = seen.hash.filter(|_| elsewhere) {
            let place = seen.name.as_deref().unwrap_or(seen.place.name());
            let places = secrets.entry(hash).or_default();
            places.0 = Some(places.0.map_or(seen.packet, |at| at.min(seen.packet)));
            places.1.push(format!("{} in {place}", seen.class));
        }
    }
    secrets.into_iter().map(violated).collect()
}

/// One outcome for a secret, in however many places it stands: findings of the
/// same secret are one.
fn violated((hash, (at, mut places)): (SecretHash, Places)) -> Outcome {
    places.sort_unstable();
    places.dedup();
    let reason = format!("{REASON}{}", places.join(LIST));
    let detail = format!("secret {:016x}", hash.short());
    Outcome {
        lists: Some(REASON.len()),
        at,
        ..Outcome::violated(&META, Severity::Critical, detail, reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::{at, packet, plain};
    use crate::proto::credential::Redactor;
    use crate::proto::plain::CredentialSeen;

    #[test]
    fn what_a_flow_gave_away_is_shown_by_the_secrets_own_packet() {
        let hash = Some(Redactor::unkeyed().password(b"s").hash);
        let seen = |place, frame| CredentialSeen {
            class: "cookie",
            place,
            hash,
            ts: at(1),
            packet: packet(frame),
            ..CredentialSeen::default()
        };
        let mut facts = plain("http");
        facts.credentials = vec![seen(Place::SetCookie, 9), seen(Place::Payload, 7)];
        let [outcome] = of_flow(&facts).try_into().unwrap();
        assert_eq!(outcome.at, Some(packet(7)));
        assert!(outcome.reason.starts_with(REASON), "{}", outcome.reason);
    }
}
