//! What was odd or damaged in a capture, as facts without judgement.
//!
//! Repeats of one kind in one place (a flow, or a file) fold into one row with
//! a count, so that hostile input cannot make this table larger than the
//! number of flows times the number of kinds.

use crate::evidence::{FlowId, PacketRef};
use crate::time::CaptureTime;
use std::borrow::Cow;

macro_rules! anomaly_kinds {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $layer:literal;)+) => {
        /// The registered kinds of anomaly.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum AnomalyKind { $($(#[doc = $doc])+ $variant,)+ }

        impl AnomalyKind {
            /// Every kind, in the order of its declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name that tables use.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The layer that noticed: `capture`, `link`, `network`,
            /// `transport`, `tls`, `x509`, `app` or `engine`.
            pub const fn layer(self) -> &'static str {
                match self { $(Self::$variant => $layer,)+ }
            }

            /// One sentence for the documentation.
            pub const fn doc(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc,)+),)+ }
            }
        }
    };
}

anomaly_kinds! {
    /// The file ends inside a record.
    CaptureTruncated = "capture_truncated", "capture";
    /// Bytes between two records were no record; the reader found the next one.
    CaptureResync = "capture_resync", "capture";
    /// A record claims a length that its surroundings contradict.
    RecordLengthLies = "record_length_lies", "capture";
    /// A pcapng block is damaged or inconsistent.
    BlockMalformed = "block_malformed", "capture";
    /// Compressed input is damaged or inflates beyond the limit.
    CompressionDamaged = "compression_damaged", "capture";
    /// The file shrank, or could not be read, while it was analysed.
    CaptureUnreadable = "capture_unreadable", "capture";
    /// A packet is older than the one before it.
    TimestampBackwards = "timestamp_backwards", "capture";
    /// A link-layer header is cut or inconsistent.
    LinkMalformed = "link_malformed", "link";
    /// An IP header is cut or inconsistent.
    IpMalformed = "ip_malformed", "network";
    /// A checksum that could be checked is wrong.
    ChecksumBad = "checksum_bad", "network";
    /// Fragments of one datagram overlap; the first bytes were kept.
    IpFragmentOverlap = "ip_fragment_overlap", "network";
    /// A fragment is impossible (beyond 65,535 bytes, length not a multiple of eight).
    IpFragmentMalformed = "ip_fragment_malformed", "network";
    /// Fragments of a datagram never became whole.
    IpFragmentIncomplete = "ip_fragment_incomplete", "network";
    /// Tunnels nest deeper than the limit.
    TunnelTooDeep = "tunnel_too_deep", "network";
    /// A transport header is cut or inconsistent.
    TransportMalformed = "transport_malformed", "transport";
    /// Two segments carry different bytes for the same place; the first were kept.
    TcpOverlapConflict = "tcp_overlap_conflict", "transport";
    /// Bytes that the receiver acknowledged are not in the capture.
    TcpGap = "tcp_gap", "transport";
    /// A segment carries data after FIN, or flags that do not go together.
    TcpFlagsOdd = "tcp_flags_odd", "transport";
    /// Segments that arrived early exceeded the budget; bytes were given up as a gap.
    TcpReassemblyLimit = "tcp_reassembly_limit", "transport";
    /// A segment or an acknowledgement lies megabytes ahead of its stream, and nothing else speaks for it; left out.
    TcpFarAhead = "tcp_far_ahead", "transport";
    /// A TLS record is malformed.
    TlsRecordMalformed = "tls_record_malformed", "tls";
    /// A TLS handshake message is malformed, too long, or out of order.
    TlsHandshakeMalformed = "tls_handshake_malformed", "tls";
    /// A QUIC packet is malformed, or does not decrypt with its public keys.
    QuicPacketMalformed = "quic_packet_malformed", "tls";
    /// Records do not open with the secrets that a key log gives for their session.
    DecryptionFailed = "decryption_failed", "tls";
    /// Lines of a key log, or of a Decryption Secrets Block, are no secrets.
    KeyLogMalformed = "keylog_malformed", "tls";
    /// A key log holds more secrets than the limit; the rest is not used.
    KeyLogLimit = "keylog_limit", "tls";
    /// No secret of the key logs belongs to a connection of the captures: they
    /// are of other sessions, or the starts of these are missing.
    KeyLogUnmatched = "keylog_unmatched", "tls";
    /// A certificate does not parse as DER X.509.
    X509DerInvalid = "x509_der_invalid", "x509";
    /// A certificate is longer than the limit, or a chain has more than the limit.
    X509Limit = "x509_limit", "x509";
    /// An application message is malformed.
    AppMalformed = "app_malformed", "app";
    /// Two readers of an HTTP message may see different ones: how requests are smuggled.
    HttpAmbiguous = "http_ambiguous", "app";
    /// More HTTP transactions, or longer heads or compressed bodies, than the limits allow; the rest is not read.
    HttpLimit = "http_limit", "app";
    /// A body that inflates beyond every measure.
    HttpBomb = "http_bomb", "app";
    /// Frames or header blocks of HTTP/2 that are none.
    Http2Malformed = "http2_malformed", "app";
    /// What HTTP/2 headers refer to lies outside the capture; they are told as far as they are known.
    Http2StateUnknown = "http2_state_unknown", "app";
    /// One end gave an HTTP/2 connection up for an error (GOAWAY).
    Http2Goaway = "http2_goaway", "app";
    /// HTTP/2 streams reset as soon as they are asked for, hundreds a second.
    Http2RapidReset = "http2_rapid_reset", "app";
    /// A header block of HTTP/2 that goes on without end.
    Http2ContinuationFlood = "http2_continuation_flood", "app";
    /// HTTP/2 frames that carry nothing, hundreds a second.
    Http2Flood = "http2_flood", "app";
    /// A few bytes of HTTP/2 that stand for headers beyond every measure.
    HpackBomb = "hpack_bomb", "app";
    /// More beginnings of secrets overlap than are followed: `credentials` may lack one.
    SecretsPassedOver = "secrets_passed_over", "app";
    /// A budget was reached; the oldest state was given up early.
    LimitEvicted = "limit_evicted", "engine";
    /// A parser or check failed inside; its flow has no further facts.
    InternalError = "internal_error", "engine";
}

/// One kind of oddity in one place, with how often it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anomaly {
    /// What kind.
    pub kind: AnomalyKind,
    /// The flow, where the oddity belongs to one.
    pub flow_id: Option<FlowId>,
    /// Packet time of the first.
    pub ts: CaptureTime,
    /// The packet in which it was first seen.
    pub first: PacketRef,
    /// The packet in which it was last seen.
    pub last: PacketRef,
    /// How often.
    pub count: u64,
    /// What was wrong with the first, in words. Bytes from the capture are
    /// escaped by whoever prints this, not here.
    pub detail: Cow<'static, str>,
}

/// How often something was seen, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeats {
    /// The packet in which it was first seen.
    pub first: PacketRef,
    /// The packet in which it was last seen.
    pub last: PacketRef,
    /// How often.
    pub count: u64,
}

/// Collects anomalies of one place (a flow, or a file), folding repeats.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnomalyLog {
    rows: Vec<Anomaly>,
}

impl AnomalyLog {
    /// Notes one oddity; `detail` is called only for the first of its kind.
    pub fn note<D: Into<Cow<'static, str>>>(
        &mut self,
        kind: AnomalyKind,
        ts: CaptureTime,
        at: PacketRef,
        detail: impl FnOnce() -> D,
    ) {
        if let Some(row) = self.rows.iter_mut().find(|row| row.kind == kind) {
            row.count = row.count.saturating_add(1);
            row.last = at;
            return;
        }
        let detail = detail().into();
        if self.rows.capacity() == 0 {
            // Most flows that are odd at all are so in one way.
            self.rows.reserve_exact(1);
        }
        self.rows.push(Anomaly {
            kind,
            flow_id: None,
            ts,
            first: at,
            last: at,
            count: 1,
            detail,
        });
    }

    /// Notes what was seen several times. Those of one log come in packet order.
    pub fn note_repeats(
        &mut self,
        kind: AnomalyKind,
        ts: CaptureTime,
        repeats: Repeats,
        detail: impl FnOnce() -> String,
    ) {
        self.note(kind, ts, repeats.first, detail);
        if let Some(row) = self.rows.iter_mut().find(|row| row.kind == kind) {
            row.last = repeats.last;
            row.count = row.count.saturating_add(repeats.count.saturating_sub(1));
        }
    }

    /// Whether nothing was noted.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The rows, in the order in which their kinds first appeared.
    pub fn rows(&self) -> &[Anomaly] {
        &self.rows
    }

    /// Whether this kind was noted.
    pub fn has(&self, kind: AnomalyKind) -> bool {
        self.rows.iter().any(|row| row.kind == kind)
    }

    /// Takes the rows out, naming the flow they belong to.
    pub fn into_rows(self, flow_id: Option<FlowId>) -> Vec<Anomaly> {
        let mut rows = self.rows;
        for row in &mut rows {
            row.flow_id = flow_id;
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_of_a_kind_fold_into_one_row() {
        let mut log = AnomalyLog::default();
        for frame in 1..=3 {
            let at = PacketRef {
                capture: 0,
                frame,
                offset: frame * 100,
            };
            log.note(AnomalyKind::TcpGap, CaptureTime::from_nanos(0), at, || {
                format!("gap {frame}")
            });
        }
        let [row] = log.rows() else {
            panic!("one row, not {:?}", log.rows())
        };
        assert_eq!((row.count, row.first.frame, row.last.frame), (3, 1, 3));
        assert_eq!(&*row.detail, "gap 1");
    }

    #[test]
    fn names_are_unique() {
        let names: std::collections::BTreeSet<_> =
            AnomalyKind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), AnomalyKind::ALL.len());
    }
}
