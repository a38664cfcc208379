//! Which column a field of a log is. Names are those of Sigma's taxonomy
//! (sigmahq.io, appendix "taxonomy") and of Zeek's logs, without regard to case.

use super::value::quoted;

/// The kind of log that a rule is about, and so its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Log {
    Dns,
    Http,
    Flows,
    Tls,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// As `Text`; an address.
    Address,
    Number,
    Truth,
    /// A text that `x` stands for, for each item of a list.
    Items,
    /// A path or URL without its query, which no table holds.
    Uri,
}

/// A field: what it holds, and SQL expressions for it, of which one must fit.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) sql: Vec<&'static str>,
}

impl Log {
    /// The column of a field.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub(super) fn field(self, name: &str) -> Result<Field, String> {
        let plain = name.to_ascii_lowercase().replace('.', "_");
        let column = self.shared(&plain).or_else(|| self.own(&plain));
        let (kind, sql) = column.ok_or_else(|| {
            let why = match (self, plain.as_str()) {
                (Self::Http, "c-uri-query" | "cs-uri-query" | "cs-cookie") => {
                    "values of queries and cookies stand in no table"
                }
                _ => "no column holds that",
            };
            why.to_owned()
        })?;
        Ok(Field {
            name: name.to_owned(),
            kind,
            sql,
        })
    }

    fn shared(self, name: &str) -> Option<(Kind, Vec<&'static str>)> {
        let (kind, sql) = match name {
            "src_ip" | "c-ip" | "id_orig_h" | "source_ip" => (Kind::Address, "src_ip"),
            "dst_ip" | "id_resp_h" | "destination_ip" => (Kind::Address, "dst_ip"),
            "src_port" | "id_orig_p" | "source_port" => (Kind::Number, "src_port"),
            "dst_port" | "id_resp_p" | "destination_port" => (Kind::Number, "dst_port"),
            _ => return None,
        };
        Some((kind, vec![sql]))
    }

    fn own(self, name: &str) -> Option<(Kind, Vec<&'static str>)> {
        let one = |kind, sql| Some((kind, vec![sql]));
        match self {
            Self::Dns => match name {
                "query" | "qname" | "question_name" => one(Kind::Text, "query"),
                "record_type" | "qtype_name" => one(Kind::Text, "qtype_name"),
                "answer" | "answers" => one(
                    Kind::Items,
                    "(SELECT value ->> 'data' AS x FROM json_each(answers))",
                ),
                "qtype" => one(Kind::Number, "qtype"),
                "rcode" => one(Kind::Number, "rcode"),
                "rcode_name" | "response_code" => one(Kind::Text, "rcode_name"),
                "parent_domain" => one(Kind::Text, "etld1"),
                "subdomain" => one(Kind::Text, "subdomain"),
                "question_length" => one(Kind::Number, "query_len"),
                "proto" => one(Kind::Text, "transport"),
                "rejected" => one(Kind::Truth, "rejected"),
                "aa" => one(Kind::Truth, "aa"),
                "tc" => one(Kind::Truth, "tc"),
                "rd" => one(Kind::Truth, "rd"),
                "ra" => one(Kind::Truth, "ra"),
                _ => None,
            },
            Self::Http => match name {
                "c-uri" | "cs-uri" | "uri" => Some((
                    Kind::Uri,
                    vec![
                        "path",
                        "iif(plaintext, 'http://', 'https://') || host || path",
                    ],
                )),
                "c-uri-stem" | "cs-uri-stem" | "uri_path" => one(Kind::Uri, "path"),
                // What stands behind the last dot.
                "c-uri-extension" => one(
                    Kind::Uri,
                    "iif(instr(path, '.'), replace(path, rtrim(path, replace(path, '.', '')), ''), NULL)",
                ),
                "cs-host" | "r-dns" | "host" => one(Kind::Text, "host"),
                "cs-method" | "method" => one(Kind::Text, "method"),
                "c-useragent" | "cs-user-agent" | "cs-useragent" | "user_agent" => {
                    one(Kind::Text, "user_agent")
                }
                "cs-referrer" | "cs-referer" | "referrer" => one(Kind::Uri, "referrer"),
                "cs-version" | "version" => one(Kind::Text, "http_version"),
                "sc-status" | "status_code" => one(Kind::Number, "response_status"),
                "status_msg" => one(Kind::Text, "response_msg"),
                "cs-bytes" => one(Kind::Number, "request_header_bytes + request_body_bytes"),
                "sc-bytes" => one(Kind::Number, "response_header_bytes + response_body_bytes"),
                "request_body_len" => one(Kind::Number, "request_body_bytes"),
                "response_body_len" => one(Kind::Number, "response_body_bytes"),
                "resp_mime_types" | "sc-content-type" => one(Kind::Text, "response_content_type"),
                "orig_mime_types" | "cs-content-type" => one(Kind::Text, "request_content_type"),
                _ => None,
            },
            Self::Flows => match name {
                "proto" | "protocol" => one(Kind::Text, "proto"),
                "service" => one(Kind::Text, "service"),
                "conn_state" => one(Kind::Text, "conn_state"),
                "history" => one(Kind::Text, "history"),
                "orig_bytes" | "bytes_out" => one(Kind::Number, "orig_bytes"),
                "resp_bytes" | "bytes_in" => one(Kind::Number, "resp_bytes"),
                "orig_pkts" => one(Kind::Number, "orig_pkts"),
                "resp_pkts" => one(Kind::Number, "resp_pkts"),
                "orig_ip_bytes" => one(Kind::Number, "orig_ip_bytes"),
                "resp_ip_bytes" => one(Kind::Number, "resp_ip_bytes"),
                "duration" => one(Kind::Number, "duration_ns / 1e9"),
                "local_orig" => one(Kind::Truth, "local_orig"),
                "local_resp" => one(Kind::Truth, "local_resp"),
                "dst_host" | "destination_hostname" => one(Kind::Text, "server_name"),
                "action" => Some((Kind::Text, vec![LET_THROUGH[0], LET_THROUGH[1]])),
                "blocked" => one(Kind::Truth, BLOCKED),
                _ => None,
            },
            Self::Tls => match name {
                "server_name" => one(Kind::Text, "server_name"),
                "version" => one(Kind::Text, ZEEK_VERSION),
                "cipher" => one(Kind::Text, "cipher"),
                "curve" => one(Kind::Text, "curve"),
                "ja3" => one(Kind::Text, "ja3"),
                "ja3s" => one(Kind::Text, "ja3s"),
                "ja4" => one(Kind::Text, "ja4"),
                "next_protocol" => one(Kind::Text, "next_protocol"),
                "last_alert" => one(Kind::Text, "last_alert"),
                "ssl_history" => one(Kind::Text, "ssl_history"),
                "established" => one(Kind::Truth, "established"),
                "resumed" => one(Kind::Truth, "resumed"),
                _ => None,
            },
        }
    }

    /// The query for rows that fit. `wanted` is an expression.
    pub(super) fn query(self, title: &str, wanted: &str) -> String {
        let (table, destination, said) = match self {
            Self::Dns => ("dns_queries", "coalesce(etld1, query)", "query"),
            Self::Http => (
                "http_transactions",
                "host",
                "method || ' ' || coalesce(host, dst_ip) || coalesce(path, '')",
            ),
            Self::Flows => ("flows", "destination", "coalesce(service, proto)"),
            Self::Tls => ("tls_handshakes", "destination", "coalesce(ja4, version)"),
        };
        let title = quoted(title);
        format!(
            "SELECT src_ip, dst_ip, dst_port, {destination} AS destination, flow_id, capture, ts, \
             first_frame, first_offset, {title} || coalesce(' (' || {said} || ')', '') AS \
             explanation FROM {table} WHERE {wanted}"
        )
    }
}

/// A connection in which both sides took part was let through; of others nobody
/// can say what a firewall did.
const LET_THROUGH: [&str; 2] = [
    "CASE WHEN conn_state IN ('S1', 'S2', 'S3', 'SF', 'RSTO', 'RSTR') THEN 'accept' END",
    "CASE WHEN conn_state IN ('S1', 'S2', 'S3', 'SF', 'RSTO', 'RSTR') THEN 'forward' END",
];
const BLOCKED: &str = "CASE WHEN conn_state IN ('S1', 'S2', 'S3', 'SF', 'RSTO', 'RSTR') THEN 0 END";
/// As Zeek writes versions.
const ZEEK_VERSION: &str = "CASE version_num WHEN 2 THEN 'SSLv2' WHEN 768 THEN 'SSLv3' \
     WHEN 769 THEN 'TLSv10' WHEN 770 THEN 'TLSv11' WHEN 771 THEN 'TLSv12' WHEN 772 THEN 'TLSv13' END";
