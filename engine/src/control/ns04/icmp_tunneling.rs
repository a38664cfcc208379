//! Data carried in ICMP echo messages: payloads that an ordinary ping never
//! has (marks of known tunnels), replies that do not say what was asked, and
//! payloads that are new in message after message. By source and destination,
//! over all their flows. Facts are measured in `proto/icmp.rs`.

use super::subjects::{Subjects, say_left_out};
use super::{
    Behaviour, Columns, Detector, Found, Judgement, Measure, NameId, Numbers, Rows, Scene, Trail,
    rounded,
};
use crate::control::{Meta, Severity, Wants};
use crate::policy::Policy;
use serde_json::json;

pub(super) struct IcmpTunneling;

static META: Meta = Meta {
    id: "NS-04.icmp_tunneling",
    title: "Data in ICMP echo messages",
    severity: Severity::High,
    attack: &["T1095", "T1048.003"],
    wants: Wants::Tables,
    observable_with: "ICMP echo messages with their payload",
    source: "RFC 792: the data received in the echo message must be returned in the reply",
};

/// Fewer messages are a matter of chance.
const MIN_MESSAGES: u64 = 8;
/// So many new payloads are much although they are short: of each, 32 bytes are
/// compared, so this is a KiB each way.
const NEW: u64 = 64;
const FINDING: f64 = 0.5;
const SURE: f64 = 0.8;

impl Behaviour for IcmpTunneling {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn start(&self, policy: &Policy) -> Result<Box<dyn Detector>, &'static str> {
        Ok(Box::new(Looking {
            pairs: Subjects::new(policy),
            ..Looking::default()
        }))
    }
}

#[derive(Debug)]
struct Pair {
    trail: Trail,
    capture: u32,
    first_ns: i64,
    sums: Sums,
}

/// What a pair's echo messages showed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sums {
    requests: u64,
    replies: u64,
    bytes: u64,
    unlike: u64,
    unasked: u64,
    varied: u64,
    largest: u64,
    marked: u64,
    mark: Option<NameId>,
}

#[derive(Debug, Default)]
struct Looking {
    is_fed: bool,
    pairs: Subjects<(NameId, NameId), Pair>,
}

impl Detector for Looking {
    fn next(&mut self, _scene: &Scene<'_>) -> &'static [Columns] {
        if std::mem::replace(&mut self.is_fed, true) {
            return &[];
        }
        &[Columns {
            table: "flows",
            plain: &[
                "ip_proto",
                "orig_pkts",
                "resp_pkts",
                "orig_bytes",
                "resp_bytes",
                "icmp_unlike",
                "icmp_unasked",
                "icmp_varied",
                "icmp_largest",
                "icmp_marked",
            ],
            names: &["src_ip", "dst_ip", "icmp_mark"],
        }]
    }

    fn feed(&mut self, rows: &Rows<'_>) {
        let (proto, unlike) = (rows.ints("ip_proto"), rows.ints("icmp_unlike"));
        let (src, dst, mark) = (
            rows.ids("src_ip"),
            rows.ids("dst_ip"),
            rows.ids("icmp_mark"),
        );
        let (requests, replies) = (rows.ints("orig_pkts"), rows.ints("resp_pkts"));
        let (up, down) = (rows.ints("orig_bytes"), rows.ints("resp_bytes"));
        let (unasked, varied) = (rows.ints("icmp_unasked"), rows.ints("icmp_varied"));
        let (largest, marked) = (rows.ints("icmp_largest"), rows.ints("icmp_marked"));
        let places = rows.places();
        for row in 0..rows.len() {
            // Null for everything but echo flows.
            if !matches!(proto.or_zero(row), 1 | 58) || unlike.get(row).is_none() {
                continue;
            }
            let key = (src.get(row), dst.get(row));
            if !key.0.is_some() || !key.1.is_some() {
                continue;
            }
            let seen = places.get(row);
            let ts_ns = seen.ts.as_nanos();
            let Some(pair) = self.pairs.entry(key, || Pair {
                trail: Trail::keeping(64),
                capture: seen.at.capture,
                first_ns: ts_ns,
                sums: Sums::default(),
            }) else {
                continue;
            };
            if ts_ns < pair.first_ns {
                (pair.first_ns, pair.capture) = (ts_ns, seen.at.capture);
            }
            pair.trail.push(seen);
            let sums = &mut pair.sums;
            sums.requests += requests.count(row);
            sums.replies += replies.count(row);
            sums.bytes += up.count(row).saturating_add(down.count(row));
            sums.unlike += unlike.count(row);
            sums.unasked += unasked.count(row);
            sums.varied += varied.count(row);
            sums.largest = sums.largest.max(largest.count(row));
            sums.marked += marked.count(row);
            if mark.get(row).is_some() {
                sums.mark = Some(mark.get(row));
            }
        }
    }

    fn judge(self: Box<Self>, scene: &Scene<'_>) -> Judgement {
        let mut judgement = Judgement::default();
        let hosts = u32::try_from(self.pairs.map.len()).unwrap_or(u32::MAX);
        for (key, pair) in self.pairs.map {
            let messages = pair.sums.requests.saturating_add(pair.sums.replies);
            if messages < MIN_MESSAGES && pair.sums.marked == 0 {
                judgement.tally.pass(pair.capture);
                continue;
            }
            let terms = terms(&pair.sums);
            let score = 1.0 / (1.0 + (-terms.iter().map(|term| term.2).sum::<f64>()).exp());
            let (src, dst) = (scene.names.text(key.0), scene.names.text(key.1));
            let parsed = src.parse().ok().zip(dst.parse().ok());
            let Some((src, dst_ip)) = parsed.filter(|_| score >= FINDING) else {
                judgement.tally.pass(pair.capture);
                continue;
            };
            let sums = &pair.sums;
            let mark = sums.mark.map(|mark| scene.names.text(mark));
            let says = mark.map_or_else(String::new, |mark| {
                format!(", {} of them marked `{mark}`", sums.marked)
            });
            judgement.found.push(Found {
                severity: if score >= SURE { Severity::High } else { Severity::Medium },
                baseline: None,
                src,
                dst: dst_ip,
                dst_port: 0,
                destination: dst.to_owned(),
                detail: String::new(),
                explanation: format!(
                    "{messages} echo messages with {} bytes of payload, up to {} in one{says}; \
                     {} replies differ from their requests, {} were not asked for, {} payloads \
                     are new (score {score:.2})",
                    sums.bytes, sums.largest, sums.unlike, sums.unasked, sums.varied
                ),
                prevalence_hosts: hosts.min(1),
                numbers: Numbers {
                    score: Some(score as f32),
                    confidence: Some((messages as f64 / 50.0).min(1.0) as f32),
                    measure: Some(Measure::score(score, FINDING)),
                    samples: Some(messages),
                    evidence: Some(
                        json!({
                            "requests": sums.requests,
                            "replies": sums.replies,
                            "bytes": sums.bytes,
                            "mark": mark,
                            "terms": terms.iter().map(|(says, value, points)| {
                                json!({ "term": says, "value": rounded(*value), "log_odds": rounded(*points) })
                            }).collect::<Vec<_>>(),
                            "against": terms.iter().filter(|term| term.2 < 0.0)
                                .map(|term| term.0).collect::<Vec<_>>(),
                        })
                        .to_string(),
                    ),
                    ..Numbers::default()
                },
                trail: pair.trail,
            });
        }
        say_left_out(
            &mut judgement,
            self.pairs.left_out,
            "flows beyond it were left out",
        );
        judgement
    }
}

/// What each number says, its value, and the log-odds that it adds.
fn terms(sums: &Sums) -> Vec<(&'static str, f64, f64)> {
    let messages = sums.requests.saturating_add(sums.replies).max(1) as f64;
    let replies = sums.replies.max(1) as f64;
    let mut terms = vec![("hosts ping each other", 1.0, -4.0)];
    let mut term = |says, value, points, holds| {
        if holds {
            terms.push((says, value, points));
        }
    };
    term(
        "mark of a known tunnel",
        sums.marked as f64,
        7.0,
        sums.marked >= 2,
    );
    let varied = sums.varied as f64 / messages;
    term("payloads that are new", varied, 3.0, varied >= 0.5);
    let unlike = sums.unlike as f64 / replies;
    term(
        "replies that do not say what was asked",
        unlike,
        3.0,
        unlike >= 0.3 && sums.unlike >= 4,
    );
    let unasked = sums.unasked as f64 / replies;
    term(
        "replies that nobody asked for",
        unasked,
        1.5,
        unasked >= 0.3 && sums.unasked >= 8,
    );
    term(
        "much payload, bytes",
        sums.bytes as f64,
        1.0,
        sums.bytes >= 16 << 10 || (varied >= 0.5 && sums.varied >= NEW),
    );
    term("messages, in number", messages, 0.7, messages >= 50.0);
    // Most programs send 32 to 64 bytes.
    term(
        "large payloads, bytes",
        sums.largest as f64,
        0.5,
        sums.largest >= 100,
    );
    terms
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Flow, judge};
    use super::*;
    use crate::proto::Direction;
    use crate::proto::icmp::Echo;

    /// Echo messages and their answers, as a flow.
    fn pings(many: u32, ask: impl Fn(u32) -> Vec<u8>, answer: impl Fn(u32) -> Vec<u8>) -> Flow {
        let mut echo = Echo::default();
        let mut bytes = [0_u64; 2];
        for number in 0..many {
            for (direction, payload) in [
                (Direction::Orig, ask(number)),
                (Direction::Resp, answer(number)),
            ] {
                let len = u32::try_from(payload.len()).unwrap();
                echo.message(
                    direction,
                    direction == Direction::Orig,
                    number,
                    &payload,
                    len,
                );
                bytes[direction.index()] += u64::from(len);
            }
        }
        let mut flow = Flow::to("198.51.100.9").port(0);
        (flow.0.orig.bytes, flow.0.resp.bytes) = (bytes[0], bytes[1]);
        flow.0.ip_proto = 1;
        (flow.0.orig.packets, flow.0.resp.packets) = (many.into(), many.into());
        flow.0.echo = Some(Box::new(echo));
        flow
    }

    fn pattern(_: u32) -> Vec<u8> {
        (0..56).collect()
    }

    /// Bytes that differ from message to message.
    fn data(number: u32, salt: u32, len: usize) -> Vec<u8> {
        let mut state = number.wrapping_mul(2_654_435_761).wrapping_add(salt) | 1;
        (0..len)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                (state >> 8) as u8
            })
            .collect()
    }

    #[track_caller]
    fn severity(flow: Flow) -> Option<Severity> {
        let judged = judge(&IcmpTunneling, &Policy::built_in(), &[flow]);
        judged.found.first().map(|found| found.severity)
    }

    #[test]
    fn pings_are_quiet_however_many() {
        assert_eq!(severity(pings(5, pattern, pattern)), None);
        assert_eq!(severity(pings(5_000, pattern, pattern)), None);
        let large = |_| vec![7; 1_400];
        assert_eq!(severity(pings(100, large, large)), None);
    }

    #[test]
    fn tunnels_are_found() {
        let both = pings(60, |n| data(n, 1, 300), |n| data(n, 2, 900));
        assert_eq!(severity(both), Some(Severity::High));
        let one_way = pings(40, |n| data(n, 1, 200), |n| data(n, 1, 200));
        assert_eq!(severity(one_way), Some(Severity::Medium));
    }

    #[test]
    fn a_file_in_the_patterns_of_pings_is_found() {
        // Sixteen bytes in each ping of 56, repeated as `ping -p` does; 1 KiB of them.
        let asked = |n| data(n, 3, 16).repeat(4)[..56].to_vec();
        assert_eq!(severity(pings(64, asked, asked)), Some(Severity::Medium));
        // A little of it is what other programs do.
        assert_eq!(severity(pings(30, asked, asked)), None);
    }

    #[test]
    fn programs_that_ping_in_turn_are_quiet() {
        let asked = |n| vec![if n % 2 == 0 { b'a' } else { b'b' }; 56];
        assert_eq!(severity(pings(500, asked, asked)), None);
    }

    #[test]
    fn marks_are_enough() {
        let mark = |_| [vec![0xd5, 0x20, 0x08, 0x80], vec![0; 24]].concat();
        assert_eq!(severity(pings(3, mark, mark)), Some(Severity::High));
    }

    #[test]
    fn flows_that_are_no_echo_are_left_alone() {
        let judged = judge(
            &IcmpTunneling,
            &Policy::built_in(),
            &[Flow::to("198.51.100.9")],
        );
        assert!(judged.found.is_empty() && judged.tally.passed.is_empty());
    }
}
