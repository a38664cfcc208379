//! `docs/tables.md`, from the columns themselves.

use super::column::Column;
use super::writer::{Row, SCHEMA_VERSION};
use super::{CaptureRow, CertificateRow, CredentialRow, DnsRow, HttpRow, InterfaceRow, TlsRow};
use crate::anomaly::{Anomaly, AnomalyKind};
use crate::finding::{CoverageRow, Finding, Verdict};
use crate::flow::FlowRecord;
use arrow_schema::{DataType, TimeUnit};
use std::fmt::Write as _;

/// The page about every table and column.
pub fn markdown() -> String {
    let mut out = format!(
        "# Tables\n\n\
        Generated from the columns in `engine/src/table`; change them there. Schema version {SCHEMA_VERSION}.\n\n\
        Every run folder holds one Parquet file per table, `<table>.parquet`: ZSTD level 1, rows sorted by time \
        within each row group, page index and statistics on. Null means \"not observed\", never 0 or \"-\". \
        Sizes are bytes, durations nanoseconds, times `TIMESTAMP(NANOS, UTC)`, addresses text by RFC 5952 \
        (IPv4-mapped as IPv4). Counters are signed 64-bit and stop at 2^63 - 1.\n\n\
        The same input under the same policy and version gives the same bytes: key-value metadata holds \
        `nsforensics.schema`, `nsforensics.table`, `nsforensics.tool_version`, `nsforensics.policy_sha256` and, for \
        every column, `classification.<column>`:\n\n\
        - `derived`: counted, measured or judged by the engine;\n\
        - `identifier`: names a host, device, service, user or file;\n\
        - `content`: text or bytes chosen by whoever sent them: escape before printing.\n"
    );
    table::<CaptureRow>(&mut out);
    table::<InterfaceRow>(&mut out);
    table::<FlowRecord>(&mut out);
    table::<TlsRow>(&mut out);
    table::<DnsRow>(&mut out);
    table::<CredentialRow>(&mut out);
    table::<CertificateRow>(&mut out);
    table::<HttpRow>(&mut out);
    table::<Finding>(&mut out);
    table::<Anomaly>(&mut out);
    kinds(&mut out);
    table::<CoverageRow>(&mut out);
    table::<Verdict>(&mut out);
    out.push_str(LEFT_OUT);
    out
}

/// Columns that other tools have for the same rows, and why they are not here.
const LEFT_OUT: &str = "\n## What is not here, and why\n\n\
    | table | column of other tools | why, and where to look instead |\n|---|---|---|\n\
    | `http_transactions` | file id, digests of bodies | Bodies are measured while they pass and never kept; to hash \
    each would cost as much as all the rest. `request_body_bytes`, `request_entropy` and `base64_max_run_bytes` tell what there is of one. |\n\
    | `http_transactions` | who the client is, for rate limits | It is the flow's source, `src_ip`: a key of another kind \
    would need the policy of one's servers. |\n\
    | `http_transactions` | flow that followed a redirect to `https` | Not known when the row is written; \
    `NS-01.http_upgrade` looks for it over the whole run and names the flows. |\n\
    | `http_transactions` | whether a token's signature holds | No capture shows the key: `jwt_state` says `unverified`, never that it is good. |\n\
    | `http_transactions` | requests of HTTP/3 | Not read, also where QUIC is opened by a key log: its flow says `quic` alone. |\n\
    | `http_transactions` | `scheme` of most rows | HTTP/1 states it in absolute targets alone. |\n\
    | `http_transactions` | `rpc_method`, `model` from events | Requests are read for them, answers are not. |\n\
    | `dns_queries` | flows to the addresses that were answered | The row is written before these begin: \
    `flows.server_name_flow_id` points back to the answer. |\n\
    | `dns_queries` | score of a tunnel | One question proves nothing: `NS-04.dns_tunneling` scores a domain over the whole run, in `findings`. |\n\
    | `dns_queries` | authority and additional records | Counted in `answer_bytes`; EDNS is read of them. |\n\
    | `dns_queries` | DNS within TLS, HTTPS or QUIC without secrets | Only named, as `service` of its flow. |\n";

fn table<R: Row>(out: &mut String) {
    let _ = write!(
        out,
        "\n## `{}`\n\n{}\n\n| column | type | unit | null | class | meaning |\n|---|---|---|---|---|---|\n",
        R::TABLE,
        R::DOC
    );
    for column in R::columns() {
        let Column {
            name,
            unit,
            doc,
            class,
            ty,
            nullable,
            ..
        } = &column;
        let _ = writeln!(
            out,
            "| `{name}` | {} | {unit} | {} | {} | {doc} |",
            type_name(ty),
            if *nullable { "yes" } else { "" },
            class.name()
        );
    }
}

fn kinds(out: &mut String) {
    out.push_str("\nKinds of anomaly:\n\n| kind | layer | meaning |\n|---|---|---|\n");
    for kind in AnomalyKind::ALL {
        let _ = writeln!(
            out,
            "| `{}` | {} | {} |",
            kind.name(),
            kind.layer(),
            kind.doc().trim()
        );
    }
}

fn type_name(ty: &DataType) -> String {
    match ty {
        DataType::Utf8 => "utf8".to_owned(),
        DataType::Boolean => "bool".to_owned(),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => "timestamp".to_owned(),
        DataType::List(element) => format!("list<{}>", type_name(element.data_type())),
        DataType::Struct(fields) => {
            let fields: Vec<_> = fields
                .iter()
                .map(|field| format!("{} {}", field.name(), type_name(field.data_type())))
                .collect();
            format!("struct<{}>", fields.join(", "))
        }
        other => other.to_string().to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_page_in_the_repository_is_the_generated_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/tables.md");
        let generated = markdown();
        if std::env::var_os("NSF_BLESS").is_some() {
            std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs")).unwrap();
            std::fs::write(path, &generated).unwrap();
        }
        let stored = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            stored == generated,
            "docs/tables.md differs from the columns; NSF_BLESS=1 writes it anew"
        );
    }

    #[track_caller]
    fn is_well_named<R: Row>() {
        let mut names = BTreeSet::new();
        for column in R::columns() {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            assert!(column.name.chars().all(plain), "{}", column.name);
            assert!(names.insert(column.name), "{} twice", column.name);
            assert!(
                !column.doc.contains('|') && !column.doc.is_empty(),
                "{}",
                column.name
            );
        }
    }

    #[test]
    fn columns_are_flat_snake_case_unique_and_documented() {
        is_well_named::<CaptureRow>();
        is_well_named::<InterfaceRow>();
        is_well_named::<FlowRecord>();
        is_well_named::<TlsRow>();
        is_well_named::<DnsRow>();
        is_well_named::<CredentialRow>();
        is_well_named::<CertificateRow>();
        is_well_named::<Finding>();
        is_well_named::<Anomaly>();
        is_well_named::<CoverageRow>();
        is_well_named::<Verdict>();
    }
}
