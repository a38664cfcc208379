//! What stands in the files is what was pushed, in bytes that depend on nothing else.

use super::*;
use crate::anomaly::{Anomaly, AnomalyKind};
use crate::control::{Outcome, Severity, Status};
use crate::decode::{LinkContext, Tunnel};
use crate::evidence::{FlowId, PacketRef};
use crate::finding::{CoverageRow, Finding, Verdict, VerdictKind};
use crate::flow::{ConnState, Counters, EndReason, FlowRecord, NameSource};
use crate::proto::tls::{ClientHello, ServerHello, TlsHandshake, Version};
use crate::proto::x509::{Certificate, Fields};
use crate::time::CaptureTime;
use serde_json::{Map, Value, json};
use std::sync::Arc;

pub(crate) fn packet(frame: u64) -> PacketRef {
    PacketRef {
        capture: 0,
        frame,
        offset: 24 + frame * 100,
    }
}

/// A flow whose fields vary with `n` as those of real captures do.
pub(crate) fn flow(n: u64) -> FlowRecord {
    let mix = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let [a, b, c, d, ..] = mix.to_be_bytes();
    let digest: Vec<u8> = (0..20)
        .map(|i: u32| (mix.rotate_left(i * 7) & 255) as u8)
        .collect();
    FlowRecord {
        flow_id: FlowId((mix >> 1) as i64),
        first: packet(n * 10 + 1),
        ts: CaptureTime::from_nanos(
            1_700_000_000_000_000_000 + (n * 1_000_003 % 977_000_000) as i64,
        ),
        ts_end: CaptureTime::from_nanos(1_700_000_001_000_000_000 + (n * 1_500_007) as i64),
        src: [10, a % 4, b, c].into(),
        dst: [93, 184, 216, d % 32].into(),
        src_port: 1024 + (mix >> 20) as u16 % 60_000,
        dst_port: if n.is_multiple_of(3) { 53 } else { 443 },
        ip_proto: if n.is_multiple_of(3) { 17 } else { 6 },
        scope: 0,
        service: Some(if n.is_multiple_of(3) { "dns" } else { "ssl" }.into()),
        service_confidence: Some(crate::proto::Confidence::Content),
        orig: Counters {
            bytes: u64::from(a) * 10,
            packets: u64::from(a % 20) + 1,
            ip_bytes: u64::from(a) * 12,
            missed_bytes: 0,
        },
        resp: Counters {
            bytes: u64::from(b) * 100,
            packets: u64::from(b % 20) + 1,
            ip_bytes: u64::from(b) * 104,
            missed_bytes: 0,
        },
        retrans_pkts: 0,
        dup_pkts: 0,
        ooo_pkts: u32::from(c == 0),
        overlap_conflicts: 0,
        conn_state: ConnState::Sf,
        history: "ShADadfF".into(),
        direction_flipped: false,
        tcp_rtt_ns: Some(i64::from(d) * 1_003),
        end_reason: EndReason::Fin,
        link: LinkContext {
            src_mac: Some([2, 0, 0, 0, 0, 1]),
            dst_mac: Some([2, 0, 0, 0, 0, 2]),
            ..LinkContext::default()
        },
        community_id: digest.try_into().unwrap(),
        server_name: Some("www.example.org".into()),
        server_name_source: Some(NameSource::Sni),
        server_name_origin: crate::flow::NameOrigin {
            confidence: Some(1.0),
            ..crate::flow::NameOrigin::default()
        },
        local_orig: true,
        local_resp: false,
        echo: None,
        rhythm: None,
        dst_allowed: Some(n.is_multiple_of(2)),
        entropy: [None, Some(0.5)],
        bytes_encrypted: 100,
        bytes_plaintext: 0,
        files_spanned: Box::default(),
    }
}

pub(crate) fn finding() -> Finding {
    Finding {
        finding_id: "F-ABCDEFGHIJKL".into(),
        ts_first: CaptureTime::from_nanos(5),
        ts_last: CaptureTime::from_nanos(7),
        first: packet(3),
        check_id: "NS-01.tls_version",
        severity: Severity::High,
        baseline: None,
        src: "2001:db8::1".parse().unwrap(),
        dst: "192.0.2.7".parse().unwrap(),
        dst_port: 443,
        destination: "old.example".into(),
        detail: "TLS1.0".into(),
        flow_ids: vec![FlowId(4), FlowId(9)],
        flow_count: 2,
        title: "TLS 1.0 was negotiated".into(),
        explanation: "2 sessions used TLS 1.0.".into(),
        attack_techniques: vec!["T1557"],
        evidence: vec![packet(3), packet(8)],
        prevalence_hosts: 1,
        numbers: crate::finding::Numbers::default(),
    }
}

pub(crate) fn verdict() -> Verdict {
    Verdict {
        control_id: "NS-01".into(),
        check_id: None,
        title: "TLS enforcement".into(),
        requirement: "MUST".into(),
        assurance_levels: vec!["L2".into(), "L3".into()],
        stride: vec!["Tampering".into()],
        aatt: vec!["AATT-E1".into()],
        verdict: VerdictKind::Fail,
        evaluated: 10,
        passed: 4,
        warned: 1,
        failed: 2,
        refused: 1,
        not_observed: 2,
        worst_severity: Some(Severity::High),
        reason: "2 failed".into(),
        example_flow_ids: vec![FlowId(4)],
    }
}

pub(crate) fn coverage() -> CoverageRow {
    CoverageRow {
        capture: 0,
        check_id: "NS-01.tls_version",
        passed: 4,
        warned: 1,
        failed: 2,
        refused: 1,
        not_observed: 2,
        reason: "no ServerHello".into(),
        bytes_affected: 4_096,
        example_flow_ids: vec![FlowId(9)],
    }
}

fn written<R: Row>(rows: Vec<R>) -> Vec<u8> {
    let meta = FileMeta {
        tool_version: "0.1.0".into(),
        policy_sha256: "00".repeat(32),
    };
    let mut writer = TableWriter::<R, Vec<u8>>::new(Vec::new(), &meta).unwrap();
    for row in rows {
        writer.push(row).unwrap();
    }
    writer.finish().unwrap().0
}

fn read_back(bytes: &[u8]) -> Vec<Map<String, Value>> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    read::all_rows(file.path()).unwrap()
}

#[track_caller]
fn holds(row: &Map<String, Value>, expected: Value) {
    for (column, value) in expected.as_object().unwrap() {
        assert_eq!(row.get(column), Some(value), "{column}");
    }
}

#[test]
fn a_flow_comes_back_as_it_went_in() {
    let mut row = flow(0);
    row.flow_id = FlowId(77);
    row.ts = CaptureTime::from_nanos(1_000_000_001);
    row.ts_end = CaptureTime::from_nanos(3_000_000_004);
    row.src = "::ffff:10.0.0.1".parse().unwrap();
    row.dst = "2001:db8::5".parse().unwrap();
    row.orig.bytes = u64::MAX;
    row.community_id = [0; 20];
    row.server_name = None;
    row.server_name_source = None;
    row.link.vlan_ids = vec![100, 4094];
    row.link.tunnels = vec![
        Tunnel {
            kind: "vxlan",
            src: Some("192.0.2.1".parse().unwrap()),
            dst: Some("192.0.2.2".parse().unwrap()),
            id: Some(7),
        },
        Tunnel {
            kind: "mpls",
            src: None,
            dst: None,
            id: None,
        },
    ];
    let rows = read_back(&written(vec![row]));
    let [row] = rows.as_slice() else {
        panic!("one row")
    };
    holds(
        row,
        json!({
            "flow_id": 77, "ts": 1_000_000_001, "duration_ns": 2_000_000_003,
            "src_ip": "10.0.0.1", "dst_ip": "2001:db8::5", "ip_version": 4,
            "orig_bytes": i64::MAX, "conn_state": "SF", "history": "ShADadfF",
            "community_id": "1:AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            "server_name": null, "server_name_source": null, "destination": "2001:db8::5",
            "src_mac": "02:00:00:00:00:01", "vlan_ids": [100, 4094], "proto": "udp",
            "tunnel": [
                {"type": "vxlan", "src_ip": "192.0.2.1", "dst_ip": "192.0.2.2", "id": 7},
                {"type": "mpls", "src_ip": null, "dst_ip": null, "id": null},
            ],
            "files_spanned": [0], "first_frame": 1, "first_offset": 124,
        }),
    );
}

#[test]
fn an_empty_table_is_a_table() {
    assert!(read_back(&written::<FlowRecord>(Vec::new())).is_empty());
    assert!(read_back(&written::<Finding>(Vec::new())).is_empty());
}

#[test]
fn a_handshake_comes_back_with_its_checks() {
    let handshake = TlsHandshake {
        ts: CaptureTime::from_nanos(9),
        first: packet(4),
        transport: "starttls-smtp".into(),
        client: Some(Arc::new(ClientHello {
            version: 0x0303,
            ciphers: vec![0x002f, 0x1301],
            server_name: Some("mail.example".into()),
            alpn: vec!["h2".into()],
            ..ClientHello::default()
        })),
        server: Some(Arc::new(ServerHello {
            version: 0x0303,
            cipher: 0x002f,
            ..ServerHello::default()
        })),
        version: Some(Version(0x0303)),
        history: "CS".into(),
        ..TlsHandshake::default()
    };
    let outcome = Outcome {
        check_id: "NS-01.cipher_suite",
        status: Status::Failed,
        severity: Severity::High,
        detail: "TLS_RSA_WITH_AES_128_CBC_SHA".into(),
        title: None,
        reason: "denied by *CBC*".into(),
        amount: None,
        lists: None,
        at: None,
    };
    let mut row = TlsRow::new(&flow(1), handshake, vec![outcome]);
    row.cipher_class = Some("denied");
    let silent = TlsRow::new(&flow(2), TlsHandshake::default(), Vec::new());
    let rows = read_back(&written(vec![row, silent]));
    let [silent, row] = rows.as_slice() else {
        panic!("two rows")
    };
    holds(
        row,
        json!({
            "version": "TLS1.2", "version_num": 0x0303, "cipher": "TLS_RSA_WITH_AES_128_CBC_SHA",
            "client_versions": [0x0303], "client_ciphers": [0x002f, 0x1301], "client_alpn": ["h2"],
            "transport": "starttls-smtp", "starttls_protocol": "smtp", "cipher_class": "denied",
            "server_name": "mail.example", "server_name_is_outer": false, "ech": "none",
            "checks_failed": ["NS-01.cipher_suite"], "destination": "www.example.org",
            "checks": [{"check_id": "NS-01.cipher_suite", "outcome": "failed", "severity": "high",
                "detail": "TLS_RSA_WITH_AES_128_CBC_SHA", "reason": "denied by *CBC*"}],
            "leaf_fingerprint": null, "chain_fingerprints": [], "fallback_scsv": false,
        }),
    );
    // What was not seen is null, not empty and not false.
    holds(
        silent,
        json!({
            "version": null, "cipher": null, "client_ciphers": null, "client_alpn": null, "ech": null,
            "server_name_is_outer": null, "fallback_scsv": null, "checks": [], "cipher_class": null,
        }),
    );
}

#[test]
fn findings_verdicts_and_coverage_come_back_as_they_went_in() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: Vec<u8>| {
        std::fs::write(dir.path().join(format!("{name}.parquet")), bytes).unwrap();
    };
    let mut check = verdict();
    check.check_id = Some("NS-01.tls_version".into());
    check.verdict = VerdictKind::NotObserved;
    check.worst_severity = None;
    put("findings", written(vec![finding()]));
    put("verdicts", written(vec![verdict(), check.clone()]));
    put("coverage", written(vec![coverage()]));
    assert_eq!(read::findings(dir.path()).unwrap(), [finding()]);
    assert_eq!(read::verdicts(dir.path()).unwrap(), [verdict(), check]);
    assert_eq!(read::coverage(dir.path()).unwrap(), [coverage()]);
}

#[test]
fn rows_are_sorted_by_time_within_a_row_group_and_equal_ones_keep_their_order() {
    let anomaly = |ts: i64, detail: &str| Anomaly {
        kind: AnomalyKind::TcpGap,
        flow_id: None,
        ts: CaptureTime::from_nanos(ts),
        first: packet(1),
        last: packet(1),
        count: 1,
        detail: detail.to_owned().into(),
    };
    let rows = vec![
        anomaly(3, "c"),
        anomaly(1, "a"),
        anomaly(3, "d"),
        anomaly(2, "b"),
    ];
    let details: Vec<Value> = read_back(&written(rows))
        .into_iter()
        .map(|mut row| row.remove("detail").unwrap())
        .collect();
    assert_eq!(details, ["a", "b", "c", "d"]);
}

#[test]
fn bytes_do_not_depend_on_the_number_of_threads() {
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| written((0..70_000).map(flow).collect()))
    };
    let one = with(1);
    assert!(one == with(2), "2 threads");
    assert!(one == with(8), "8 threads");
}

#[test]
fn heavy_rows_end_a_row_group_early() {
    let heavy = |n: u64| {
        let mut row = flow(n);
        row.server_name = Some("d".repeat(1 << 20).into());
        row
    };
    let meta = FileMeta::default();
    let mut writer = TableWriter::<FlowRecord, Vec<u8>>::new(Vec::new(), &meta).unwrap();
    for n in 0..40 {
        writer.push(heavy(n)).unwrap();
        assert!(writer.rows() == n + 1);
    }
    let (bytes, rows) = writer.finish().unwrap();
    assert_eq!(rows, 40);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let reader = parquet::file::serialized_reader::SerializedFileReader::new(
        std::fs::File::open(file.path()).unwrap(),
    )
    .unwrap();
    use parquet::file::reader::FileReader as _;
    // 16 MiB hold 15 such rows and a bit, so a group ends with the 16th.
    assert_eq!(reader.metadata().num_row_groups(), 3);
}

#[test]
fn metadata_names_schema_version_policy_and_every_columns_class() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), written(vec![flow(1)])).unwrap();
    let pairs = read::metadata(file.path()).unwrap();
    let has = |key: &str, value: &str| pairs.iter().any(|(k, v)| k == key && v == value);
    assert!(has("nsforensics.schema", "1"));
    assert!(has("nsforensics.table", "flows"));
    assert!(has("nsforensics.tool_version", "0.1.0"));
    assert!(has("nsforensics.policy_sha256", &"00".repeat(32)));
    assert!(has("classification.src_ip", "identifier"));
    assert!(has("classification.server_name", "content"));
    assert!(has("classification.orig_bytes", "derived"));
    let columns = FlowRecord::columns().len();
    let classes = pairs
        .iter()
        .filter(|(k, _)| k.starts_with("classification."));
    assert_eq!(classes.count(), columns);
}

fn certificate(first_byte: u8, der_len: usize) -> Arc<Certificate> {
    Arc::new(Certificate {
        fingerprint: [first_byte; 32],
        fingerprint_sha1: [first_byte; 20],
        der: vec![first_byte; der_len].into(),
        fields: Ok(Box::new(Fields {
            subject: format!("CN=host{first_byte}"),
            version: 3,
            san_dns: vec!["a.example".into()],
            ..Fields::default()
        })),
    })
}

#[test]
fn a_certificate_is_one_row_however_often_it_is_seen() {
    let mut book = CertificateBook::new(10);
    let seen = [
        (5, "b.example", Role::Intermediate),
        (3, "a.example", Role::Leaf),
        (9, "b.example", Role::Leaf),
    ];
    for (ts, host, role) in seen {
        book.note(&certificate(1, 10), CaptureTime::from_nanos(ts), host, role);
    }
    let rows = read_back(&written(book.into_rows().collect()));
    let [row] = rows.as_slice() else {
        panic!("one row")
    };
    holds(
        row,
        json!({
            "fingerprint": "01".repeat(32), "first_seen": 3, "last_seen": 9, "seen_count": 3,
            "hosts": ["a.example", "b.example"], "role": "leaf", "der_len": 10, "der": "01".repeat(10),
            "subject": "CN=host1", "san_dns": ["a.example"], "parse_error": null, "is_ca": null,
            "spki_sha256_b64": "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        }),
    );
}

#[test]
fn which_certificates_the_budget_leaves_out_does_not_depend_on_their_order() {
    let kept = |order: &[u8]| {
        let mut book = CertificateBook::new(3);
        for &byte in order {
            book.note(
                &certificate(byte, 10),
                CaptureTime::from_nanos(0),
                "h",
                Role::Leaf,
            );
        }
        let dropped = book.dropped();
        let kept: Vec<u8> = book
            .into_rows()
            .map(|row| row.certificate.fingerprint[0])
            .collect();
        (kept, dropped)
    };
    let expected = (vec![1, 2, 3], 4);
    assert_eq!(kept(&[1, 2, 3, 4, 5, 5, 4]), expected);
    assert_eq!(kept(&[5, 4, 5, 4, 3, 2, 1]), expected);
    assert_eq!(kept(&[4, 1, 5, 2, 5, 3, 4]), expected);
}

#[test]
fn hosts_of_a_certificate_are_capped() {
    let mut book = CertificateBook::new(3);
    for n in 0..500 {
        let host = format!("h{n:03}");
        book.note(
            &certificate(1, 10),
            CaptureTime::from_nanos(0),
            &host,
            Role::Leaf,
        );
    }
    let row = book.into_rows().next().unwrap();
    assert_eq!(row.hosts.len(), certificates::MAX_HOSTS);
    assert_eq!(row.hosts.last().map(|host| &**host), Some("h099"));
    assert_eq!(row.seen_count, 500);
}
