//! A run of the kind that analysts meet, made by hand for the tests of what is
//! printed.

use nsforensics_engine::anomaly::{Anomaly, AnomalyKind};
use nsforensics_engine::capture::CaptureSummary;
use nsforensics_engine::control::Severity;
use nsforensics_engine::evidence::{FlowId, PacketRef};
use nsforensics_engine::finding::{CoverageRow, Finding, Measure, Numbers, Verdict, VerdictKind};
use nsforensics_engine::run::Report;
use nsforensics_engine::time::CaptureTime;
use std::net::IpAddr;
use std::time::Duration;

const START: i64 = 1_459_367_043;

fn at(seconds: i64) -> CaptureTime {
    CaptureTime::from_unix(START + seconds, 348_758_000)
}

fn packet(capture: u32, frame: u64) -> PacketRef {
    PacketRef {
        capture,
        frame,
        offset: 24 + frame * 512,
    }
}

/// Two captures, one damaged; a failed control with findings of every severity.
pub fn report() -> Report {
    Report {
        folder: "nsforensics-out/20260101T120000Z-7f3a91".into(),
        run_id: "20260101T120000Z-7f3a91".to_owned(),
        key_id: "k1-5c0ffee5c0ffee12".to_owned(),
        rules: None,
        captures: vec![
            CaptureSummary {
                path: "captures/office-monday.pcapng".to_owned(),
                file_name: "office-monday.pcapng".to_owned(),
                format: "pcapng".to_owned(),
                size_bytes: 84_120_004,
                size_uncompressed_bytes: 84_120_004,
                sha256: Some([0xab; 32]),
                link_types: vec![1],
                packets: 120_412,
                bytes_captured: 82_000_000,
                bytes_wire: 82_000_000,
                ts_first: Some(at(0)),
                ts_last: Some(at(487)),
                ..CaptureSummary::default()
            },
            CaptureSummary {
                path: "captures/office-tuesday.pcap.gz".to_owned(),
                file_name: "office-tuesday.pcap.gz".to_owned(),
                format: "pcap+gz".to_owned(),
                size_bytes: 1_204,
                size_uncompressed_bytes: 9_000,
                sha256: Some([0xcd; 32]),
                link_types: vec![1],
                packets: 31,
                packets_unsupported: 4,
                undecoded: vec![("arp", 3), ("unknown_ethertype", 1)],
                bytes_captured: 8_000,
                bytes_wire: 9_100,
                bytes_skipped: 212,
                ts_first: Some(at(90_000)),
                ts_last: Some(at(90_010)),
                order_in_set: 1,
                ..CaptureSummary::default()
            },
        ],
        verdicts: vec![
            verdict(
                None,
                "TLS enforcement",
                VerdictKind::Fail,
                [2_720, 9, 14, 2, 371],
            ),
            verdict(
                Some("NS-01.plaintext"),
                "Data outside TLS",
                VerdictKind::Fail,
                [400, 0, 2, 0, 0],
            ),
            verdict(
                Some("NS-01.tls_version"),
                "TLS version",
                VerdictKind::Fail,
                [300, 0, 12, 2, 18],
            ),
            verdict(
                Some("NS-01.tls_preferred"),
                "Preferred version",
                VerdictKind::Pass,
                [291, 9, 0, 0, 32],
            ),
            verdict(
                Some("NS-01.cipher_not_allowed"),
                "Suite in the list",
                VerdictKind::Pass,
                [1_729, 0, 0, 0, 9],
            ),
            verdict(
                Some("NS-01.signature"),
                "Signatures",
                VerdictKind::NotObserved,
                [0, 0, 0, 0, 312],
            ),
            verdict(
                Some("NS-01.starttls"),
                "STARTTLS",
                VerdictKind::NotObserved,
                [0; 5],
            ),
        ],
        findings: vec![
            finding(
                "NS-01.plaintext",
                Severity::Critical,
                "FTP with credentials outside TLS",
                "ftp",
                "files.example.org",
                21,
                3,
            ),
            finding(
                "NS-01.tls_version",
                Severity::High,
                "TLS below the minimum version",
                "TLS 1.0",
                "legacy-billing.internal.example.org",
                443,
                11,
            ),
            finding(
                "NS-01.tls_version",
                Severity::High,
                "TLS below the minimum version",
                "TLS 1.1",
                "2001:db8::17",
                8443,
                1,
            ),
            finding(
                "NS-01.cipher_suite",
                Severity::Medium,
                "Denied cipher suite",
                "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
                "a-very-long-label-that-somebody-chose.and-another-one-to-go-with-it.region-1.example.net",
                443,
                1_200_345,
            ),
            finding(
                "NS-01.tls_preferred",
                Severity::Low,
                "TLS 1.2 although both sides could do 1.3",
                "TLS 1.2",
                "192.0.2.7",
                443,
                9,
            ),
        ],
        coverage: vec![
            coverage(
                0,
                "NS-01.tls_version",
                15,
                "the connection began before the capture",
            ),
            coverage(1, "NS-01.tls_version", 3, "the server's side is missing"),
            coverage(0, "NS-01.tls_preferred", 32, "the server never answered"),
            coverage(0, "NS-01.signature", 312, "encrypted by TLS 1.3"),
        ],
        capture_anomalies: vec![Anomaly {
            kind: AnomalyKind::CaptureTruncated,
            flow_id: None,
            ts: at(90_010),
            first: PacketRef {
                capture: 1,
                frame: 31,
                offset: 8_788,
            },
            last: PacketRef {
                capture: 1,
                frame: 31,
                offset: 8_788,
            },
            count: 1,
            detail: "a record of 1,460 bytes, of which 212 are there".into(),
        }],
        not_judged_again: Vec::new(),
        anomaly_rows: 41,
        flows: 1_204,
        tls_handshakes: 332,
        secrets: 5,
        secrets_met: 4,
        dns_queries: 77,
        certificates: 96,
        elapsed: Duration::from_millis(1_234),
    }
}

/// A capture with a header and nothing else.
pub fn empty_report() -> Report {
    Report {
        folder: "nsforensics-out/20260101T120000Z-000000".into(),
        run_id: "20260101T120000Z-000000".to_owned(),
        key_id: "k1-5c0ffee5c0ffee12".to_owned(),
        rules: None,
        captures: vec![CaptureSummary {
            path: "-".to_owned(),
            file_name: "-".to_owned(),
            format: "pcap".to_owned(),
            size_bytes: 24,
            size_uncompressed_bytes: 24,
            ..CaptureSummary::default()
        }],
        verdicts: vec![
            verdict(None, "TLS enforcement", VerdictKind::NotObserved, [0; 5]),
            verdict(
                Some("NS-01.tls_version"),
                "TLS version",
                VerdictKind::NotObserved,
                [0; 5],
            ),
        ],
        findings: vec![],
        coverage: vec![],
        capture_anomalies: vec![],
        not_judged_again: Vec::new(),
        anomaly_rows: 0,
        flows: 0,
        tls_handshakes: 0,
        secrets: 0,
        secrets_met: 0,
        dns_queries: 0,
        certificates: 0,
        elapsed: Duration::from_millis(12),
    }
}

/// A verdict with the given counts: passed, warned, failed, refused, not observed.
pub fn verdict(
    check: Option<&str>,
    title: &str,
    verdict: VerdictKind,
    counts: [u64; 5],
) -> Verdict {
    let [passed, warned, failed, refused, not_observed] = counts;
    Verdict {
        control_id: "NS-01".to_owned(),
        check_id: check.map(str::to_owned),
        title: title.to_owned(),
        requirement: "MUST".to_owned(),
        assurance_levels: vec!["L2".to_owned(), "L3".to_owned()],
        stride: vec!["Information Disclosure".to_owned(), "Tampering".to_owned()],
        aatt: vec!["AATT-E1".to_owned()],
        verdict,
        evaluated: counts.iter().sum(),
        passed,
        warned,
        failed,
        refused,
        not_observed,
        worst_severity: (failed > 0).then_some(Severity::High),
        reason: match verdict {
            VerdictKind::NotObserved => {
                "needs a TLS handshake from its start, both directions".to_owned()
            }
            VerdictKind::Fail => "violated with severity high".to_owned(),
            VerdictKind::Pass => String::new(),
        },
        example_flow_ids: vec![FlowId(17)],
    }
}

fn finding(
    check_id: &'static str,
    severity: Severity,
    title: &str,
    detail: &str,
    destination: &str,
    dst_port: u16,
    flow_count: u64,
) -> Finding {
    let dst: IpAddr = destination.parse().unwrap_or(IpAddr::from([192, 0, 2, 7]));
    let src: IpAddr = match dst {
        IpAddr::V4(_) => [10, 0, 0, 5].into(),
        IpAddr::V6(_) => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 5]),
    };
    Finding {
        finding_id: format!("F-ABCDEFG{dst_port:05}"),
        ts_first: at(1),
        ts_last: at(if flow_count > 1 { 301 } else { 1 }),
        first: packet(0, 120),
        check_id,
        severity,
        baseline: None,
        src,
        dst,
        dst_port,
        destination: destination.to_owned(),
        detail: detail.to_owned(),
        flow_ids: vec![FlowId(17)],
        flow_count,
        title: title.to_owned(),
        explanation: format!(
            "{detail} is not what the policy asks for: {src} to {destination} port {dst_port}, seen {}",
            match flow_count {
                1 => format!("once at {}", at(1)),
                _ => format!("{flow_count} times from {} to {}", at(1), at(301)),
            }
        ),
        attack_techniques: vec!["T1557"],
        evidence: vec![packet(0, 120)],
        prevalence_hosts: 1,
        numbers: Numbers::default(),
    }
}

/// An indicator that matched, of low severity: last among all.
pub fn indicator() -> Finding {
    Finding {
        explanation:
            "10.0.0.5 and 192.0.2.7 port 443: name is name bad.example, which feed.csv line 7 names"
                .to_owned(),
        ..finding(
            "NS-04.indicator",
            Severity::Low,
            "Indicator of compromise",
            "bad.example",
            "bad.example",
            443,
            2,
        )
    }
}

/// What a detector found, with its numbers.
pub fn measured() -> Finding {
    Finding {
        explanation: "24 connections within 24 h, every 60.0 s".to_owned(),
        evidence: vec![packet(0, 7), packet(0, 9), packet(1, 3)],
        numbers: Numbers {
            score: Some(0.93),
            confidence: Some(0.5),
            measure: Some(Measure {
                metric: "cv".into(),
                observed: 0.031_25,
                threshold: 0.15,
                comparator: "<".into(),
                unit: "ratio".into(),
            }),
            interval_seconds: Some(60.0),
            cv: Some(0.031_25),
            samples: Some(24),
            evidence: Some(
                r#"{"against":["3 of 9 hosts do the same"],"phase":1.5,"terms":[{"term":"regular","value":0.031,"log_odds":2.4},{"term":"many hosts","value":9,"log_odds":-1}]}"#
                    .to_owned(),
            ),
            suppressed_by: None,
        },
        ..finding(
            "NS-04.periodic_beaconing",
            Severity::High,
            "Connections at regular intervals",
            "",
            "bad.example",
            8080,
            24,
        )
    }
}

fn coverage(capture: u32, check_id: &'static str, not_observed: u64, reason: &str) -> CoverageRow {
    CoverageRow {
        capture,
        check_id,
        passed: 10,
        warned: 0,
        failed: 0,
        refused: 0,
        not_observed,
        reason: reason.to_owned(),
        bytes_affected: 1_000,
        example_flow_ids: vec![FlowId(17)],
    }
}
