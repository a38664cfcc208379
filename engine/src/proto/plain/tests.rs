//! Every protocol's conversations, and what must hold for all of them.

use super::http::tests as http;
use super::testing::{Case, c, stream};
use crate::proto::Direction::{self, Orig, Resp};
use crate::proto::{Probe, SessionFacts};
use proptest::prelude::*;

fn all_cases() -> Vec<Case> {
    let tls_is_read = crate::proto::tls::probe(&super::testing::client_hello()) == Probe::Yes;
    [
        http::cases(),
        super::dce_rpc::tests::cases(),
        super::desktop::tests::cases(),
        super::dns::tests::cases(),
        super::ftp::tests::cases(),
        super::imap::tests::cases(),
        super::irc::tests::cases(),
        super::ldap::tests::cases(),
        super::messaging::tests::cases(),
        super::mysql::tests::cases(),
        super::named::tests::cases(),
        super::nntp::tests::cases(),
        super::pop3::tests::cases(),
        super::postgresql::tests::cases(),
        super::private::tests::cases(),
        super::redis::tests::cases(),
        super::smtp::tests::cases(),
        super::syslog::tests::cases(),
        super::telnet::tests::cases(),
        super::tunnels::tests::cases(),
        super::udp::tests::cases(),
        super::voice::tests::cases(),
        super::xmpp::tests::cases(),
    ]
    .into_iter()
    .flatten()
    .filter(|case| tls_is_read || !case.service.contains("ssl"))
    .collect()
}

#[test]
fn conversations_come_to_what_they_must() {
    for case in all_cases() {
        case.check();
    }
}

#[test]
fn no_protocol_claims_anothers_conversation() {
    for case in all_cases() {
        let outermost = case.service.split(',').next().unwrap_or_default();
        for name in case.claimed_by() {
            assert_eq!(name, outermost, "claims {}", case.name);
        }
    }
}

#[test]
fn nobody_claims_tls_or_what_compression_and_ciphers_make() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut noise = || {
        (0..64)
            .flat_map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_be_bytes()
            })
            .collect::<Vec<u8>>()
    };
    let mut samples: Vec<Vec<u8>> = (0..2_000).map(|_| noise()).collect();
    samples.push(super::testing::client_hello());
    for sample in samples {
        for datagrams in [false, true] {
            let case = Case {
                datagrams,
                ..stream("noise", "", vec![c(&sample)])
            };
            let claimed = case.claimed_by();
            assert!(claimed.is_empty(), "{claimed:?} claims {:02x?}", case.turns);
        }
    }
}

#[test]
fn what_nobody_knows_stays_unknown() {
    let facts = stream("unknown", "", vec![c(b"\x93\x01\xfe\x80 unknown \x88")]).run();
    assert_eq!(facts.service, None);
    assert_eq!(facts.bytes_plaintext, [0, 0]);
    assert_eq!(facts.bytes_encrypted, [0, 0]);
}

/// What of a session's facts must not depend on how a stream was cut.
fn summary(mut facts: SessionFacts) -> impl PartialEq + std::fmt::Debug {
    let plain = facts.plaintext.take().map(|mut plain| {
        plain.recognised = Default::default();
        for credential in &mut plain.credentials {
            credential.packet = Default::default();
        }
        for exchange in &mut plain.http {
            exchange.packet = Default::default();
        }
        plain
    });
    (
        facts.service,
        facts.confidence,
        plain,
        facts.bytes_encrypted,
        facts.bytes_plaintext,
        facts.tls.len(),
    )
}

fn cut(turns: &[(Direction, Vec<u8>)], lengths: &[usize]) -> Vec<(Direction, Vec<u8>)> {
    let mut lengths = lengths.iter().cycle();
    let mut pieces = Vec::new();
    for (direction, bytes) in turns {
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.len().min(*lengths.next().unwrap_or(&1)));
            pieces.push((*direction, piece.to_vec()));
            rest = after;
        }
    }
    pieces
}

proptest! {
    #[test]
    fn any_cut_of_a_stream_gives_the_same_facts(
        lengths in proptest::collection::vec(1_usize..40, 1..20),
    ) {
        for case in all_cases().into_iter().filter(|case| !case.datagrams) {
            let whole = summary(case.run());
            let pieces = Case { turns: cut(&case.turns, &lengths), ..case };
            prop_assert_eq!(summary(pieces.run()), whole, "{}", pieces.name);
        }
    }

    #[test]
    fn hostile_bytes_do_no_harm(
        turns in proptest::collection::vec(
            (any::<bool>(), proptest::collection::vec(any::<u8>(), 0..200)), 0..12),
        datagrams in any::<bool>(),
    ) {
        let turns = turns
            .into_iter()
            .map(|(orig, bytes)| (if orig { Orig } else { Resp }, bytes))
            .collect();
        let case = Case { datagrams, ..stream("random", "", turns) };
        case.run();
    }

    /// Bytes changed, lost and repeated in conversations that are understood.
    #[test]
    fn damaged_conversations_do_no_harm(
        which in any::<prop::sample::Index>(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        lost in any::<prop::sample::Index>(),
    ) {
        let cases = all_cases();
        let mut turns = which.get(&cases).turns.clone();
        for (place, byte) in damage {
            let (_, bytes) = &mut turns[place.index(which.get(&cases).turns.len())];
            if !bytes.is_empty() {
                let at = place.index(bytes.len());
                bytes[at] = byte;
            }
        }
        let lost = lost.index(turns.len());
        let ports = which.get(&cases).ports;
        super::testing::with_session(ports, |session, cx| {
            for (number, (direction, bytes)) in turns.iter().enumerate() {
                if which.get(&cases).datagrams {
                    session.datagram(cx, *direction, bytes);
                } else if number == lost {
                    session.gap(cx, *direction, bytes.len() as u64);
                } else {
                    session.data(cx, *direction, bytes);
                }
            }
        });
    }
}
