//! Budgets and time-outs: `limits` in the policy. Each default has its source.

use serde::{Deserialize, Serialize};

/// Budgets and time-outs. Times are packet time.
///
/// Reaching one never ends a run: the oldest state is given up, an anomaly is
/// recorded, and what depended on it is `not_observed`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Open flows over all shards.
    pub max_flows: usize,
    /// Seconds after which an idle established TCP flow ends.
    pub tcp_idle_seconds: i64,
    /// Seconds after which a TCP flow ends that never got beyond its first SYN.
    pub tcp_attempt_seconds: i64,
    /// Seconds that a closed TCP flow is kept to recognise stragglers.
    pub tcp_close_seconds: i64,
    /// Seconds after which an idle UDP (or other datagram) flow ends.
    pub udp_idle_seconds: i64,
    /// Seconds after which an idle ICMP flow ends.
    pub icmp_idle_seconds: i64,
    /// Bytes of early segments kept for one direction of a flow.
    pub reassembly_flow_bytes: usize,
    /// Bytes of early segments kept over all flows.
    pub reassembly_total_bytes: usize,
    /// Bytes that parsers hold over all flows.
    pub parser_total_bytes: usize,
    /// Bytes of IP fragments kept.
    pub fragment_bytes: usize,
    /// Seconds after which an unfinished datagram is given up.
    pub fragment_seconds: i64,
    /// Longest TLS handshake message, bytes.
    pub tls_handshake_bytes: usize,
    /// Secrets of key logs.
    pub keylog_secrets: usize,
    /// Certificates in one chain.
    pub chain_certificates: usize,
    /// TLS sessions that later ones may resume.
    pub tls_sessions: usize,
    /// Flows that wait for certificates from the rest of the capture.
    pub waiting_flows: usize,
    /// Different certificates kept for the `certificates` table.
    pub max_certificates: usize,
    /// Different findings kept.
    pub max_findings: usize,
    /// HTTP transactions of one flow.
    pub http_transactions: u64,
    /// HTTP requests of one flow that wait for their answer.
    pub http_waiting: usize,
    /// HTTP/2 streams of one flow that are open at once.
    pub http2_streams: usize,
    /// Bytes held of one direction's header table (HTTP/2).
    pub http2_table_bytes: usize,
    /// Longest head of an HTTP message, bytes.
    pub http_head_bytes: usize,
    /// Bytes of a form, or of a compressed body, that are read for its fields; of one
    /// under brotli or zstd, also those that are looked through for secrets.
    pub http_body_bytes: u64,
    /// Bytes that one byte of an HTTP body may inflate to.
    pub http_body_ratio: u64,
    /// Bytes of an inflated body (gzip, deflate) that are looked through for secrets.
    pub http_inflated_bytes: u64,
    /// Longest OCSP response, revocation list or certificate fetched over HTTP
    /// that is read, bytes.
    pub pki_body_bytes: usize,
    /// HTTP transactions that are put in the order of time at once.
    pub http_ordered: usize,
    /// Clients, endpoints and credentials that are told apart by what they did.
    pub api_subjects: usize,
    /// Different hosts and names that the detectors of NS-04 tell apart.
    pub behaviour_names: usize,
    /// Subjects (pairs of hosts and the like) that each of them keeps.
    pub behaviour_subjects: usize,
    /// Indicators of threat intelligence.
    pub indicators: usize,
    /// Connections whose times are held at once to see how regular they are.
    pub behaviour_events: usize,
    /// DNS questions of one flow that wait for an answer.
    pub dns_waiting: usize,
    /// Seconds after which a DNS question counts as unanswered.
    pub dns_answer_seconds: i64,
    /// Bytes of answers kept of one DNS response.
    pub dns_answer_bytes: usize,
    /// Addresses, by client and for all together, whose names from DNS are remembered.
    pub dns_names: usize,
    /// Tunnels inside tunnels.
    pub tunnel_depth: u8,
    /// Bytes that a compressed capture may inflate to, as a multiple of its size.
    pub decompression_ratio: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // 4,096 per shard; about 0.5 KiB each.
            max_flows: 262_144,
            // Linux probes an idle connection after two hours (tcp_keepalive_time);
            // half of that tells a dead flow from a quiet one in most captures.
            tcp_idle_seconds: 3_600,
            // Linux gives a connection attempt up after about two minutes, but
            // says so by silence after its last SYN at 63 seconds.
            tcp_attempt_seconds: 60,
            // Enough for retransmissions of the last segments (RFC 6298).
            tcp_close_seconds: 10,
            // Linux conntrack's time-out for UDP streams is 120 s, browsers keep
            // QUIC alive for 30 s; DNS servers may answer late.
            udp_idle_seconds: 180,
            // As in Zeek.
            icmp_idle_seconds: 60,
            // The largest receive window without scaling is 64 KiB; 16 of them.
            reassembly_flow_bytes: 1 << 20,
            reassembly_total_bytes: 32 << 20,
            parser_total_bytes: 64 << 20,
            fragment_bytes: 8 << 20,
            // RFC 791 §3.2 and Linux (ipfrag_time).
            fragment_seconds: 30,
            // OpenSSL accepts certificate lists up to 100 KiB (max_cert_list).
            tls_handshake_bytes: 128 << 10,
            // Five for a TLS 1.3 session, about 200 bytes each.
            keylog_secrets: 1 << 20,
            chain_certificates: 32,
            // About 200 bytes each beside the certificates, which they share.
            tls_sessions: 131_072,
            // About 4 KiB each.
            waiting_flows: 8_192,
            max_certificates: 65_536,
            max_findings: 65_536,
            // A day of a request every 100 ms over one connection.
            http_transactions: 1_000_000,
            // Browsers pipeline none, nginx keeps a connection for 1,000 requests
            // in all (keepalive_requests).
            http_waiting: 256,
            // nginx lets 128 be open, Go 250, Envoy recommends 100.
            http2_streams: 1_024,
            // Browsers allow 64 KiB, all else the 4 KiB of RFC 9113.
            http2_table_bytes: 64 << 10,
            // Apache takes 100 lines of 8 KiB; all others have it or less.
            http_head_bytes: 64 << 10,
            http_body_bytes: 64 << 10,
            // Text compresses to a twentieth; DEFLATE cannot exceed 1,032 to one.
            http_body_ratio: 100,
            // Requests to APIs and their answers are far below.
            http_inflated_bytes: 16 << 20,
            // Most revocation lists are far below; the largest have some ten MiB.
            pki_body_bytes: 1 << 20,
            http_ordered: 16_384,
            // Each takes up to 1.3 KiB, most a tenth of it.
            api_subjects: 16_384,
            // About 32 bytes each; a week of two thousand hosts has a million.
            behaviour_names: 1_835_008,
            // Some 20 bytes each in the detectors that look at every pair; as many as
            // a hash table of two million places holds.
            behaviour_subjects: 1_835_008,
            // Some 200 bytes each; the largest public lists have some 100,000.
            indicators: 1_000_000,
            // 40 bytes each.
            behaviour_events: 33_554_432,
            // A client asks a few at a time; between two resolvers that share one
            // port some hundred may be open.
            dns_waiting: 256,
            // BIND gives up after at most 30 seconds (resolver-query-timeout).
            dns_answer_seconds: 30,
            // The largest that fits a stream's message is 64 KiB; a quarter of it
            // holds every answer but those of zone transfers and tunnels.
            dns_answer_bytes: 16 << 10,
            // About 250 bytes each.
            dns_names: 65_536,
            tunnel_depth: 8,
            // DEFLATE cannot exceed 1,032 to one.
            decompression_ratio: 1_000,
        }
    }
}
