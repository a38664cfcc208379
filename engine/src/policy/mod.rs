//! What a run is judged by: read once from YAML, checked, then passed by
//! reference to whoever needs it.

/// Budgets and time-outs: `limits` in the policy. Times are packet time.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Certificates in one chain.
    pub chain_certificates: usize,
    /// Different certificates kept for the `certificates` table.
    pub max_certificates: usize,
    /// Different findings kept.
    pub max_findings: usize,
    /// Tunnels inside tunnels.
    pub tunnel_depth: u8,
    /// Bytes that a compressed capture may inflate to, as a multiple of its size.
    pub decompression_ratio: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_flows: 262_144,
            tcp_idle_seconds: 3_600,
            tcp_attempt_seconds: 60,
            tcp_close_seconds: 10,
            udp_idle_seconds: 180,
            icmp_idle_seconds: 60,
            reassembly_flow_bytes: 1 << 20,
            reassembly_total_bytes: 32 << 20,
            parser_total_bytes: 64 << 20,
            fragment_bytes: 8 << 20,
            fragment_seconds: 30,
            tls_handshake_bytes: 128 << 10,
            chain_certificates: 32,
            max_certificates: 65_536,
            max_findings: 65_536,
            tunnel_depth: 8,
            decompression_ratio: 1_000,
        }
    }
}

/// Everything that a run is judged by.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Budgets and time-outs.
    pub limits: Limits,
}
