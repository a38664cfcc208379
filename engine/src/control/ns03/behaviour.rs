//! What takes several transactions to see: rate limits, and credentials that
//! an endpoint refused and then served. Fed in the order of time, whatever
//! table or capture the transactions come from; keeps no more subjects than
//! the limits allow, and says so where it had to leave one out.
//!
//! The rate limit is what the policy says, exactly, on packet time: a bucket of
//! `burst` tokens that fills by `requests_per_minute`, and at most
//! `requests_per_hour` in any 3,600 seconds. A request that finds no token, or
//! an hour that is full, should have been denied; it takes nothing, and neither
//! does one that was denied (429, or 503 as nginx has it).

use super::authorization::META as AUTHORIZATION;
use super::invalid_credential_accepted::META as INVALID_CREDENTIAL;
use super::rate_limit::META as RATE_LIMIT;
use super::{NO_ANSWER, credential, endpoint, is_authenticated, is_served};
use crate::control::{Amount, Meta, Outcome, Severity, Unit};
use crate::flow::FlowHead;
use crate::policy::{Policy, RateLimit};
use crate::proto::plain::http::{HttpTransaction, Text};
use crate::time::NANOS_PER_SECOND;
use foldhash::quality::RandomState;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

/// A client at an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Client {
    address: IpAddr,
    host: Box<str>,
    endpoint: Box<str>,
}

/// A credential at an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Bearer {
    host: Box<str>,
    method: Box<str>,
    path: Box<str>,
    credential: u64,
}

/// A client's tokens at an endpoint.
#[derive(Clone, Debug)]
struct Bucket {
    /// Tokens times the nanoseconds of a minute, so that nothing is rounded.
    level: u128,
    filled_ns: i64,
    /// Requests of the last hour.
    hour: VecDeque<i64>,
}

const MINUTE_NS: u128 = 60 * NANOS_PER_SECOND as u128;
const HOUR_NS: i64 = 3_600 * NANOS_PER_SECOND;

/// See the head of this file.
#[derive(Debug, Default)]
pub struct Behaviour {
    buckets: HashMap<Arc<Client>, Bucket, RandomState>,
    /// When each bucket was filled last, or a time before that, by which it is
    /// known that it is not worth a look yet. The number tells equal times apart.
    ages: BTreeMap<(i64, u64), Arc<Client>>,
    /// Buckets that there were so far.
    numbered: u64,
    /// Requests that the buckets remember.
    remembered: usize,
    /// How often the age of a bucket was looked at.
    #[cfg(test)]
    looks: u64,
    /// Status by which a credential was last refused, and since when.
    refused: HashMap<Bearer, u16, RandomState>,
}

/// What one transaction showed together with those before it.
#[derive(Debug, Default)]
pub struct Seen {
    /// Outcomes of the checks of this file.
    pub outcomes: Vec<Outcome>,
    /// Whether the rate limit says that it should have been denied.
    pub should_deny: Option<bool>,
}

impl Behaviour {
    /// Takes an API's next transaction. `late`: transactions after it were taken already.
    pub fn observe(
        &mut self,
        policy: &Policy,
        flow: &FlowHead,
        tx: &HttpTransaction,
        late: bool,
    ) -> Seen {
        let mut seen = Seen::default();
        if !tx.has_request {
            return seen;
        }
        if late {
            let why = "it took so long that its place in time was gone";
            for meta in [&AUTHORIZATION, &INVALID_CREDENTIAL, &RATE_LIMIT] {
                seen.outcomes.push(Outcome::not_observed(meta, why));
            }
            return seen;
        }
        self.rate(policy, flow, tx, &mut seen);
        self.credentials(policy, flow, tx, &mut seen);
        seen
    }

    fn rate(&mut self, policy: &Policy, flow: &FlowHead, tx: &HttpTransaction, seen: &mut Seen) {
        if !policy.api.rate_limiting.enabled {
            return;
        }
        let path = tx.text(Text::Path).unwrap_or("/");
        let (limit, name) = limit_of(policy, path);
        let client = Arc::new(Client {
            address: flow.src,
            host: host(flow, tx).into(),
            endpoint: name.clone().into(),
        });
        let now = tx.ts.as_nanos();
        if !self.buckets.contains_key(&client) {
            if !self.make_room(policy, now) {
                seen.outcomes
                    .push(Outcome::not_observed(&RATE_LIMIT, TOO_MANY));
                return;
            }
            self.numbered = self.numbered.saturating_add(1);
            self.ages.insert((now, self.numbered), Arc::clone(&client));
        }
        let max_remembered = max_remembered(policy);
        let bucket = self.buckets.entry(client).or_insert_with(|| Bucket {
            level: u128::from(limit.burst) * MINUTE_NS,
            filled_ns: now,
            hour: VecDeque::new(),
        });
        let before = bucket.hour.len();
        let over = bucket.is_over(&limit, now);
        let others = self.remembered.saturating_sub(before);
        if limit.per_hour.is_some() && others.saturating_add(bucket.hour.len()) >= max_remembered {
            // Whether an hour is full cannot be known without its requests.
            self.remembered = others.saturating_add(bucket.hour.len());
            seen.outcomes
                .push(Outcome::not_observed(&RATE_LIMIT, TOO_MANY));
            return;
        }
        seen.should_deny = Some(over.is_some());
        let denied = matches!(tx.outcome(), Some(429 | 503));
        if !denied && over.is_none() {
            bucket.take(&limit, now);
        }
        self.remembered = others.saturating_add(bucket.hour.len());
        seen.outcomes.push(match (over, tx.outcome()) {
            (_, None) => Outcome::not_observed(&RATE_LIMIT, NO_ANSWER),
            (_, Some(429)) => Outcome::refused(&RATE_LIMIT, name, "429 Too Many Requests"),
            (Some(_), Some(503)) => {
                Outcome::refused(&RATE_LIMIT, name, "503, where 429 would say why")
            }
            (Some(over), Some(status)) if status < 400 => {
                let one = Amount {
                    number: 1,
                    at_least: false,
                    unit: &REQUESTS,
                };
                let rest = format!(" over {over}, and still answered {status}");
                Outcome::counted(&RATE_LIMIT, Severity::Medium, name, one, &rest)
            }
            (_, Some(_)) => Outcome::passed(&RATE_LIMIT),
        });
    }

    /// Room for one more bucket; those full again and an hour old are as good as
    /// new ones. Of every request, one bucket's age is looked at twice at most.
    fn make_room(&mut self, policy: &Policy, now: i64) -> bool {
        let is_full = |this: &Self| {
            this.buckets.len() >= policy.limits.api_subjects
                || this.remembered >= max_remembered(policy)
        };
        if !is_full(self) {
            return true;
        }
        while let Some(oldest) = self.ages.first_entry() {
            let (noted, number) = *oldest.key();
            if now.saturating_sub(noted) < HOUR_NS {
                break;
            }
            #[cfg(test)]
            {
                self.looks += 1;
            }
            let client = oldest.remove();
            let filled = self.buckets.get(&client).map(|bucket| bucket.filled_ns);
            match filled {
                // A request came since: it is as old as that.
                Some(filled) if now.saturating_sub(filled) < HOUR_NS => {
                    self.ages.insert((filled, number), client);
                }
                _ => {
                    if let Some(bucket) = self.buckets.remove(&client) {
                        self.remembered = self.remembered.saturating_sub(bucket.hour.len());
                    }
                }
            }
        }
        !is_full(self)
    }

    fn credentials(
        &mut self,
        policy: &Policy,
        flow: &FlowHead,
        tx: &HttpTransaction,
        seen: &mut Seen,
    ) {
        let path = tx.text(Text::Path).unwrap_or("/");
        let method = tx.text(Text::Method).unwrap_or_default();
        let subject = || format!("{method} {}", endpoint(path));
        let Some(known) = credential(tx) else {
            if is_administrative(path) && !is_authenticated(policy, tx) {
                seen.outcomes.push(match tx.outcome() {
                    None => Outcome::not_observed(&AUTHORIZATION, NO_ANSWER),
                    Some(status) if is_served(status) => Outcome::violated(
                        &AUTHORIZATION,
                        Severity::Medium,
                        subject(),
                        "an administrative path was served without a credential",
                    ),
                    Some(401 | 403) => {
                        Outcome::refused(&AUTHORIZATION, subject(), "refused without a credential")
                    }
                    Some(_) => return,
                });
            }
            return;
        };
        let Some(status) = tx.outcome() else {
            for meta in [&AUTHORIZATION, &INVALID_CREDENTIAL] {
                seen.outcomes.push(Outcome::not_observed(meta, NO_ANSWER));
            }
            return;
        };
        let bearer = Bearer {
            host: host(flow, tx).into(),
            method: method.into(),
            path: path.into(),
            credential: known.hash.short(),
        };
        let mut say = |meta: &'static Meta, outcome: Option<Outcome>| {
            seen.outcomes
                .push(outcome.unwrap_or_else(|| Outcome::passed(meta)));
        };
        match status {
            401 | 403 => {
                let meta = if status == 401 {
                    &INVALID_CREDENTIAL
                } else {
                    &AUTHORIZATION
                };
                say(
                    meta,
                    Some(Outcome::refused(
                        meta,
                        subject(),
                        "the credential was refused",
                    )),
                );
                if self.refused.len() < policy.limits.api_subjects
                    || self.refused.contains_key(&bearer)
                {
                    self.refused.insert(bearer, status);
                } else {
                    say(meta, Some(Outcome::not_observed(meta, TOO_MANY)));
                }
            }
            status if is_served(status) => {
                let before = self.refused.get(&bearer).copied();
                let malformed = known.jwt.as_ref().is_some_and(|jwt| jwt.malformed);
                let violated = |meta: &'static Meta, severity, reason| {
                    Some(Outcome::violated(meta, severity, subject(), reason))
                };
                say(
                    &INVALID_CREDENTIAL,
                    if before == Some(401) {
                        violated(
                            &INVALID_CREDENTIAL,
                            Severity::High,
                            "a credential that was refused with 401 was served later without change",
                        )
                    } else if malformed {
                        violated(
                            &INVALID_CREDENTIAL,
                            Severity::High,
                            "a malformed token was served",
                        )
                    } else {
                        None
                    },
                );
                say(
                    &AUTHORIZATION,
                    if before == Some(403) {
                        violated(
                            &AUTHORIZATION,
                            Severity::Medium,
                            "a resource refused with 403 was served later to the same credential",
                        )
                    } else {
                        None
                    },
                );
            }
            _ => {}
        }
    }
}

static REQUESTS: Unit = Unit {
    before: "",
    one: "request was",
    many: "requests were",
};

/// Most requests that the buckets remember together.
fn max_remembered(policy: &Policy) -> usize {
    policy.limits.api_subjects.saturating_mul(64)
}

/// A limit with everything inherited.
struct Limit {
    per_minute: Option<u32>,
    per_hour: Option<u32>,
    burst: u32,
}

impl Bucket {
    /// Which part of the limit has nothing left for a request now.
    fn is_over(&mut self, limit: &Limit, now: i64) -> Option<String> {
        let full = u128::from(limit.burst) * MINUTE_NS;
        if let Some(per_minute) = limit.per_minute {
            let passed = now.saturating_sub(self.filled_ns).max(0).unsigned_abs();
            let more = u128::from(passed).saturating_mul(u128::from(per_minute));
            self.level = self.level.saturating_add(more).min(full);
        }
        self.filled_ns = self.filled_ns.max(now);
        while self
            .hour
            .front()
            .is_some_and(|then| now.saturating_sub(*then) >= HOUR_NS)
        {
            self.hour.pop_front();
        }
        match (limit.per_minute, limit.per_hour) {
            (Some(per_minute), _) if self.level < MINUTE_NS => Some(format!(
                "{per_minute} requests per minute with a burst of {}",
                limit.burst
            )),
            (_, Some(per_hour)) if self.hour.len() >= per_hour as usize => {
                Some(format!("{per_hour} requests per hour"))
            }
            _ => None,
        }
    }

    fn take(&mut self, limit: &Limit, now: i64) {
        self.level = self.level.saturating_sub(MINUTE_NS);
        if let Some(per_hour) = limit.per_hour {
            self.hour.push_back(now);
            if self.hour.len() > per_hour as usize {
                self.hour.pop_front();
            }
        }
    }
}

/// The limit of a path, and the endpoint that it holds for: the policy's
/// longest one that the path equals or lies below, else the path itself.
fn limit_of(policy: &Policy, path: &str) -> (Limit, String) {
    let rates = &policy.api.rate_limiting;
    let own = rates
        .endpoints
        .iter()
        .filter(|(name, _)| {
            super::glob(name, path) || super::is_below(name.trim_end_matches('/'), path)
        })
        .max_by_key(|(name, _)| name.len());
    let default = &rates.default_limit;
    let none = RateLimit::default();
    let first = own.map_or(&none, |(_, limit)| limit);
    let per_minute = first.requests_per_minute.or(default.requests_per_minute);
    let limit = Limit {
        per_minute,
        per_hour: first.requests_per_hour.or(default.requests_per_hour),
        // Without a burst, a minute's worth may come at once.
        burst: first
            .burst
            .or(default.burst)
            .or(per_minute)
            .unwrap_or(1)
            .max(1),
    };
    (
        limit,
        own.map_or_else(|| endpoint(path), |(name, _)| name.clone()),
    )
}

fn host(flow: &FlowHead, tx: &HttpTransaction) -> String {
    tx.text(Text::Host)
        .map_or_else(|| flow.dst.to_string(), str::to_owned)
}

fn is_administrative(path: &str) -> bool {
    path.split('/').take(4).any(|segment| {
        matches!(
            &*segment.to_ascii_lowercase(),
            "admin"
                | "administrator"
                | "administration"
                | "actuator"
                | "manage"
                | "management"
                | "_admin"
                | "sysadmin"
        )
    })
}

const TOO_MANY: &str = "more clients, endpoints and credentials than limits.api_subjects";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing;
    use crate::time::CaptureTime;

    fn flow(number: u32) -> FlowHead {
        let base = testing::flow(1, 0);
        FlowHead {
            flow_id: base.flow_id,
            first: base.first,
            src: IpAddr::from(number.to_be_bytes()),
            dst: base.dst,
            src_port: base.src_port,
            dst_port: base.dst_port,
            ip_proto: 6,
            scope: 0,
        }
    }

    fn should_deny(
        behaviour: &mut Behaviour,
        policy: &Policy,
        flow: &FlowHead,
        at: i64,
    ) -> Option<bool> {
        let tx = HttpTransaction {
            ts: CaptureTime::from_nanos(at),
            has_request: true,
            status: Some(200),
            ..HttpTransaction::default()
        };
        behaviour.observe(policy, flow, &tx, false).should_deny
    }

    /// How many requests of strangers at these times were judged.
    fn judged(
        behaviour: &mut Behaviour,
        policy: &Policy,
        times: impl Iterator<Item = i64>,
    ) -> usize {
        (0..)
            .zip(times)
            .filter(|(number, at)| should_deny(behaviour, policy, &flow(*number), *at).is_some())
            .count()
    }

    /// Once there is no room, a stranger costs no look at everyone who is there.
    #[test]
    fn strangers_beyond_the_limit_cost_no_sweep_each() {
        let policy = Policy::from_yaml("limits:\n  api_subjects: 100\n", "p").unwrap();
        let mut behaviour = Behaviour::default();
        // All within two hours, so that those of the first make room for others.
        let times = (0..10_000).map(|number| number * 2 * HOUR_NS / 10_000);
        assert_eq!(judged(&mut behaviour, &policy, times), 200);
        assert!(behaviour.looks <= 200, "{}", behaviour.looks);
    }

    /// Each stranger comes just when one who is there has aged: all are judged,
    /// and none costs more than two looks.
    #[test]
    fn one_place_at_a_time_costs_one_look() {
        let policy = Policy::from_yaml("limits:\n  api_subjects: 1000\n", "p").unwrap();
        let mut behaviour = Behaviour::default();
        let times = (0..20_000).map(|number| number * HOUR_NS / 1_000);
        assert_eq!(judged(&mut behaviour, &policy, times), 20_000);
        assert!(behaviour.looks <= 20_000, "{}", behaviour.looks);
        assert_eq!(behaviour.ages.len(), behaviour.buckets.len());
    }

    /// One client's requests alone may fill what is remembered: then an hour's
    /// limit cannot be judged, until an hour has passed.
    #[test]
    fn what_is_remembered_is_bounded() {
        let text = "limits:\n  api_subjects: 2\napi:\n  rate_limiting:\n    default:\n      requests_per_minute: 1000000\n      requests_per_hour: 1000000\n      burst: 1000000\n";
        let policy = Policy::from_yaml(text, "p").unwrap();
        let mut behaviour = Behaviour::default();
        let client = flow(1);
        let judged = (0..1_000)
            .filter(|ns| should_deny(&mut behaviour, &policy, &client, *ns).is_some())
            .count();
        assert_eq!(judged, 128);
        assert_eq!(behaviour.remembered, 128);
        let later = should_deny(&mut behaviour, &policy, &client, HOUR_NS + 2_000);
        assert_eq!(later, Some(false));
    }
}
