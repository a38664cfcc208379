//! NS-04, network traffic analysis: what takes many flows to see.
//!
//! A detector reads columns of a run's tables and nothing else, so that the same
//! code judges a fresh run, the runs of a week, and an old run again. It is fed
//! rows in the order of the tables and must not depend on it, keeps no more
//! subjects than `limits.behaviour_subjects`, and may ask for several passes: a
//! first one to find the few subjects that matter, another for their details.
//! [`crate::behaviour`] does the reading.

mod base64_exfiltration;
pub(crate) mod catalogue;
mod dns_tunneling;
mod doh_tunneling;
mod domain_generation;
mod found;
mod groups;
mod high_entropy_payload;
mod http_c2;
mod icmp_tunneling;
mod indicator;
mod information;
mod known_c2;
mod long_connection;
mod periodic_beaconing;
mod rare_tls_client;
mod rows;
mod sieve;
mod slow_exfiltration;
mod subjects;
pub(crate) mod timing;
mod unknown_destination;
mod volume;
mod volume_single_request;
pub(crate) mod weights;

#[cfg(test)]
mod cases;
#[cfg(test)]
mod tables_by_hand;
#[cfg(test)]
pub(crate) mod testing;

pub use found::{
    Detected, Found, Judgement, MAX_FLOWS, MAX_PACKETS, Measure, Numbers, Parts, Population, Scene,
    Tally, Trail, rounded,
};
pub use indicator::Indicators;
pub use rows::{
    Columns, Flags, Floats, Ids, Ints, Lists, NameId, Names, Places, Rows, Seen, Texts,
};
pub use sieve::Sieve;

use super::Meta;
use crate::policy::Policy;
use std::fmt::Debug;
use std::net::IpAddr;

/// A check over many flows.
pub trait Behaviour: Sync {
    /// What it is.
    fn meta(&self) -> &'static Meta;

    /// What looks for it under this policy, or why nothing can: the reason of
    /// a `not_observed`.
    ///
    /// # Errors
    ///
    /// The reason, when the policy does not ask for it or does not say how.
    fn start(&self, policy: &Policy) -> Result<Box<dyn Detector>, &'static str>;
}

/// One check at work.
pub trait Detector: Send + Debug {
    /// What the coming pass over the tables shall bring; nothing to end.
    /// `scene` is that of the passes before: nothing in the first.
    fn next(&mut self, scene: &Scene<'_>) -> &'static [Columns];

    /// Takes some rows of a table that [`Self::next`] asked for.
    fn feed(&mut self, rows: &Rows<'_>);

    /// All passes are over.
    fn judge(self: Box<Self>, scene: &Scene<'_>) -> Judgement;
}

static NO_INDICATORS: Indicators = Indicators(None);

/// [`DETECTORS`] with the user's indicators.
pub fn with_indicators(indicators: &Indicators) -> Vec<&dyn Behaviour> {
    let id = indicators.meta().id;
    DETECTORS
        .iter()
        .map(|&check| {
            if check.meta().id == id {
                indicators as &dyn Behaviour
            } else {
                check
            }
        })
        .collect()
}

/// The detectors, sorted by id.
pub static DETECTORS: &[&dyn Behaviour] = &[
    &base64_exfiltration::Base64Exfiltration,
    &dns_tunneling::DnsTunneling,
    &doh_tunneling::DohTunneling,
    &domain_generation::DomainGeneration,
    &high_entropy_payload::HighEntropyPayload,
    &http_c2::HttpC2,
    &icmp_tunneling::IcmpTunneling,
    &NO_INDICATORS,
    &known_c2::KnownC2,
    &long_connection::LongConnection,
    &periodic_beaconing::PeriodicBeaconing,
    &rare_tls_client::RareTlsClient,
    &slow_exfiltration::SlowExfiltration,
    &unknown_destination::UnknownDestination,
    &volume::VOLUME_DAILY,
    &volume::VOLUME_HOURLY,
    &volume_single_request::VolumeSingleRequest,
];

/// Reason of a detector that the policy's list of patterns leaves out.
pub(crate) const NO_PATTERN: &str = "the policy names no such pattern";

/// Bytes of a policy's KB.
pub(crate) const KIB: f64 = 1_024.0;
/// Bytes of a policy's MB.
pub(crate) const MIB: f64 = 1_048_576.0;
/// Nanoseconds.
pub(crate) const SECOND_NS: i64 = crate::time::NANOS_PER_SECOND;

/// Whether a connection was made, by Zeek's states: both sides took part.
pub(crate) fn is_established(conn_state: &str) -> bool {
    matches!(conn_state, "S1" | "S2" | "S3" | "SF" | "RSTO" | "RSTR")
}

/// Whether an address is one host's.
pub(crate) fn is_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !(v4.is_multicast() || v4.is_broadcast() || v4.is_unspecified()),
        IpAddr::V6(v6) => !(v6.is_multicast() || v6.is_unspecified()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_detectors_are_sorted_by_id_and_belong_to_ns_04() {
        let ids: Vec<_> = DETECTORS.iter().map(|check| check.meta().id).collect();
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
        assert!(ids.iter().all(|id| id.starts_with("NS-04.")), "{ids:?}");
    }

    #[test]
    fn a_capture_of_nothing_shows_nothing() {
        for check in DETECTORS {
            let Ok(mut detector) = check.start(&Policy::built_in()) else {
                continue;
            };
            let (names, population) = (Names::new(9), Population::new(9));
            let scene = Scene {
                policy: &Policy::built_in(),
                names: &names,
                population: &population,
            };
            let passes = (0..9)
                .take_while(|_| !detector.next(&scene).is_empty())
                .count();
            assert!(passes < 9, "{} never ends", check.meta().id);
            let judgement = detector.judge(&scene);
            assert!(judgement.found.is_empty() && judgement.tally.passed.is_empty());
        }
    }
}
