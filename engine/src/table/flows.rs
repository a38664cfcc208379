//! `flows`: one row per flow, with Zeek's counters, states and orientation.

use super::column::{self as col, Column, Layout, signed, signed32};
use super::writer::Row;
use crate::flow::FlowRecord;
use crate::proto::destination;
use crate::proto::dns::suffix::registered;
use arrow_schema::DataType;
use std::net::IpAddr;

impl Row for FlowRecord {
    const TABLE: &'static str = "flows";
    const DOC: &'static str = "One row per flow: a TCP connection, or datagrams between two ends \
        with no longer pause than the policy's time-out. Source is the originator, as Zeek decides it.";
    const GROUP_ROWS: usize = 1 << 15;

    fn columns() -> Vec<Column<Self>> {
        // Counters are small and close to each other: differences take a third of
        // the time of a dictionary. Ports and protocols repeat: dictionaries.
        vec![
            col::int32(
                ("capture", "row of `captures`", "File that holds the first packet."),
                |f: &Self| signed32(f.first.capture),
            ),
            col::int64(
                ("flow_id", "", "Identifier of the flow in every table: positive, the same for every run over the same packets."),
                |f: &Self| f.flow_id.0,
            )
            .layout(Layout::Raw),
            col::time(("ts", "ns", "First packet."), |f: &Self| f.ts),
            col::int64(
                ("first_frame", "", "Number of the first packet in its file, from 1."),
                |f: &Self| signed(f.first.frame),
            )
            .layout(Layout::Delta),
            col::int64(
                ("first_offset", "byte", "Place of the first packet's record in its file, in the decompressed stream where the file is compressed."),
                |f: &Self| signed(f.first.offset),
            )
            .layout(Layout::Delta),
            col::time(("ts_end", "ns", "Latest packet."), |f: &Self| f.ts_end),
            col::int64(
                ("duration_ns", "ns", "From the first to the latest packet."),
                |f: &Self| f.ts_end.nanos_since(f.ts),
            ).layout(Layout::Delta),
            col::address(("src_ip", "RFC 5952", "Originator."), |f: &Self| f.src),
            col::address(("dst_ip", "RFC 5952", "Responder."), |f: &Self| f.dst),
            col::int32(
                ("src_port", "", "Originator's port; for ICMP the type."),
                |f: &Self| i32::from(f.src_port),
            )
            .layout(Layout::Delta),
            col::int32(
                ("dst_port", "", "Responder's port; for ICMP the code."),
                |f: &Self| i32::from(f.dst_port),
            ),
            col::int8(("ip_version", "", "4 or 6."), |f: &Self| match f.src.to_canonical() {
                IpAddr::V4(_) => 4,
                IpAddr::V6(_) => 6,
            }),
            col::int16(
                ("ip_proto", "IANA", "IP protocol number of the transport."),
                |f: &Self| i16::from(f.ip_proto),
            ),
            col::text_opt(
                ("proto", "", "Name of the transport: `tcp`, `udp`, `icmp`, `icmp6`, `sctp` and the like; null for a number without a name here."),
                |f: &Self| proto_name(f.ip_proto),
            ),
            col::text_opt(
                ("service", "", "What was recognised, as Zeek names it (`ssl`, `http`, `dns`), outermost first, joined by `,`."),
                |f: &Self| f.service.as_deref(),
            ),
            col::text_opt(
                ("service_confidence", "", "`dpi` by content, `port` by the port alone."),
                |f: &Self| f.service_confidence.map(|c| c.name()),
            ),
            col::int64(
                ("orig_bytes", "byte", "Payload that the originator sent; for TCP from sequence numbers."),
                |f: &Self| signed(f.orig.bytes),
            ).layout(Layout::Delta),
            col::int64(
                ("resp_bytes", "byte", "Payload that the responder sent."),
                |f: &Self| signed(f.resp.bytes),
            ).layout(Layout::Delta),
            col::int64(("orig_pkts", "", "Packets of the originator."), |f: &Self| {
                signed(f.orig.packets)
            }).layout(Layout::Delta),
            col::int64(("resp_pkts", "", "Packets of the responder."), |f: &Self| {
                signed(f.resp.packets)
            }).layout(Layout::Delta),
            col::int64(
                ("orig_ip_bytes", "byte", "IP headers and payload of the originator."),
                |f: &Self| signed(f.orig.ip_bytes),
            ).layout(Layout::Delta),
            col::int64(
                ("resp_ip_bytes", "byte", "IP headers and payload of the responder."),
                |f: &Self| signed(f.resp.ip_bytes),
            ).layout(Layout::Delta),
            col::int64(
                ("missed_bytes_orig", "byte", "Payload of the originator that is not in the capture."),
                |f: &Self| signed(f.orig.missed_bytes),
            ).layout(Layout::Delta),
            col::int64(
                ("missed_bytes_resp", "byte", "Payload of the responder that is not in the capture."),
                |f: &Self| signed(f.resp.missed_bytes),
            ).layout(Layout::Delta),
            col::int32(
                ("retrans_pkts", "", "Retransmitted segments, both directions."),
                |f: &Self| signed32(f.retrans_pkts),
            ).layout(Layout::Delta),
            col::int32(
                ("dup_pkts", "", "Exact copies of the packet before: an artefact of capturing."),
                |f: &Self| signed32(f.dup_pkts),
            ).layout(Layout::Delta),
            col::int32(("ooo_pkts", "", "Segments out of order."), |f: &Self| {
                signed32(f.ooo_pkts)
            }).layout(Layout::Delta),
            col::int32(
                ("overlap_conflicts", "", "Overlaps whose bytes differ; the first were kept."),
                |f: &Self| signed32(f.overlap_conflicts),
            ).layout(Layout::Delta),
            col::text(
                ("conn_state", "Zeek", "`S0`, `S1`, `SF`, `REJ`, `RSTO` and so on."),
                |f: &Self| f.conn_state.name(),
            ),
            col::text(
                ("history", "Zeek", "What happened, one letter each; upper case is the originator."),
                |f: &Self| f.history.as_str(),
            ),
            col::boolean(
                ("direction_flipped", "", "Source and destination were turned from those of the first packet (Zeek's `^`)."),
                |f: &Self| f.direction_flipped,
            ),
            col::int64_opt(
                ("tcp_rtt_ns", "ns", "From SYN to SYN-ACK."),
                |f: &Self| f.tcp_rtt_ns,
            )
            .layout(Layout::Delta),
            col::text(
                ("end_reason", "", "Why the row was written: `fin`, `rst`, `timeout`, `eof`, `evicted`, `reused`."),
                |f: &Self| f.end_reason.name(),
            ),
            col::list_int32(
                ("vlan_ids", "IEEE 802.1Q", "VLANs of the first packet, outermost first."),
                false,
                |f: &Self, put| {
                    f.link.vlan_ids.iter().for_each(|&id| put(i32::from(id)));
                    true
                },
            ),
            tunnel_column(),
            mac_column(
                ("src_mac", "", "Source of the first packet's outermost frame."),
                |f| f.link.src_mac,
            ),
            mac_column(
                ("dst_mac", "", "Destination of the first packet's outermost frame."),
                |f| f.link.dst_mac,
            ),
            col::text_written(
                ("community_id", "v1", "Community ID, for joins with other tools."),
                false,
                |f: &Self, out| {
                    put_community_id(out, &f.community_id);
                    true
                },
            )
            .layout(Layout::Raw)
            .identifier(),
            col::text_opt(
                ("server_name", "", "Name of its destination: what the flow itself said, else how its address was known; lower case, in A-labels."),
                |f: &Self| f.server_name.as_deref(),
            )
            .content(),
            col::text_opt(
                ("server_name_source", "", "Where it stood: `sni`, `http_host`; `dns`: the latest answer before the flow began, to a question of the same client, else of any other; `nrb`: the capture file itself."),
                |f: &Self| f.server_name_source.map(|s| s.name()),
            ),
            col::float32_opt(
                ("server_name_confidence", "0 to 1", "1 SNI, 0.95 HTTP Host; from DNS 0.9 the client's own question, 0.6 when it knew the address by several names, 0.5 and 0.3 likewise for another client's; 0.2 the capture file."),
                |f: &Self| f.server_name_origin.confidence,
            ),
            col::int64_opt(
                ("server_name_age_ns", "ns", "For a name from DNS: from its answer to the flow's first packet."),
                |f: &Self| f.server_name_origin.age_ns,
            ).layout(Layout::Plain),
            col::int64_opt(
                ("server_name_flow_id", "", "For a name from DNS: the flow in `dns_queries` whose answer gave it."),
                |f: &Self| f.server_name_origin.flow.map(|id| id.0),
            ).layout(Layout::Plain),
            col::text_written(
                ("etld1", "", "Registered domain of the name: public suffix and one label more."),
                true,
                |f: &Self, out| {
                    let domain = f.server_name.as_deref().and_then(registered);
                    out.push_str(domain.unwrap_or_default());
                    domain.is_some()
                },
            )
            .content(),
            col::text_written(
                ("destination", "", "What findings are grouped by: the name, else the address."),
                false,
                |f: &Self, out| {
                    match f.server_name.as_deref() {
                        Some(name) => out.push_str(name),
                        None => col::put_address(out, f.dst),
                    }
                    true
                },
            )
            .content(),
            col::text_opt(
                ("destination_class", "", "Which service of those that agents talk to its name is, by `rules/destinations.tsv`: `llm`, `mcp`, `package_registry`, `code_host`, `search_api`; null for any other."),
                |f: &Self| f.server_name.as_deref().and_then(destination::of_name),
            ),
            col::boolean_opt(
                ("dst_allowed", "", "The policy's allowlist names the destination; null without a list."),
                |f: &Self| f.dst_allowed,
            ),
            col::float32_opt(
                ("entropy_orig", "0 to 1", "Shannon entropy of the first 4 KiB that the originator sent, bits per byte by 8; null under 1 KiB, for protocols that encrypt by design, for infrastructure (DNS and the like), and for HTTP, whose bodies `http_transactions` measures."),
                |f: &Self| f.entropy[0],
            ),
            col::float32_opt(
                ("entropy_resp", "0 to 1", "The same of the responder."),
                |f: &Self| f.entropy[1],
            ),
            col::boolean(
                ("local_orig", "", "The originator lies in the policy's local networks."),
                |f: &Self| f.local_orig,
            ),
            col::boolean(
                ("local_resp", "", "The responder lies in the policy's local networks."),
                |f: &Self| f.local_resp,
            ),
            col::int64(
                ("bytes_encrypted", "byte", "Payload seen to be encrypted, both directions."),
                |f: &Self| signed(f.bytes_encrypted),
            ).layout(Layout::Delta),
            col::int64(
                ("bytes_plaintext", "byte", "Payload seen to be readable, both directions."),
                |f: &Self| signed(f.bytes_plaintext),
            ).layout(Layout::Delta),
            col::int64(
                ("bytes_unknown", "byte", "Payload of which neither can be said."),
                |f: &Self| {
                    let all = f.orig.bytes.saturating_add(f.resp.bytes);
                    signed(all.saturating_sub(f.bytes_encrypted).saturating_sub(f.bytes_plaintext))
                },
            ).layout(Layout::Delta),
            col::int64_opt(
                ("icmp_unlike", "", "Echo replies whose payload is not that of the request with the same identifier and number; null for all but echo flows, as in the next columns."),
                |f: &Self| f.echo.as_ref().map(|echo| signed(echo.unlike)),
            ),
            col::int64_opt(
                ("icmp_unasked", "", "Echo replies to none of the latest eight requests, once there was one."),
                |f: &Self| f.echo.as_ref().map(|echo| signed(echo.unasked)),
            ),
            col::int64_opt(
                ("icmp_varied", "", "Echo messages that differ from the latest four unlike ones in their direction, in the 32 bytes behind room for a time stamp."),
                |f: &Self| f.echo.as_ref().map(|echo| signed(echo.varied)),
            ),
            col::int32_opt(
                ("icmp_largest", "byte", "Largest payload of an echo message."),
                |f: &Self| f.echo.as_ref().map(|echo| signed32(echo.largest)),
            ),
            col::text_opt(
                ("icmp_mark", "", "What ordinary echo messages never carry: `ptunnel` (its magic number), `ip_packet`."),
                |f: &Self| f.echo.as_ref().and_then(|echo| echo.mark).map(|mark| mark.name()),
            ),
            col::int64_opt(
                ("icmp_marked", "", "Echo messages with such a mark."),
                |f: &Self| f.echo.as_ref().map(|echo| signed(echo.marked)),
            ),
            col::int64_opt(
                ("beats", "", "Gaps between heartbeats: payload of one side after a second of silence, from the flow's sixth minute on, of the side whose gaps are more alike; null where there are none, as in the next columns."),
                |f: &Self| f.rhythm.map(|rhythm| i64::from(rhythm.gaps)),
            ),
            col::text_opt(
                ("beat_side", "", "Who sends them: `orig`, `resp`."),
                |f: &Self| f.rhythm.map(|rhythm| rhythm.side_name()),
            ),
            col::int64_opt(
                ("beat_gap_ns", "ns", "Middle of the band of gaps, half an octave wide at most, that holds most of them; a sixteenth off at most where all are equal."),
                |f: &Self| f.rhythm.map(|rhythm| rhythm.gap_ns),
            ),
            col::float32_opt(
                ("beat_share", "0 to 1", "Share of the gaps within that band in which both sides sent 4 KiB of payload at most; of a long flow, the latest hours weigh most."),
                |f: &Self| f.rhythm.map(|rhythm| rhythm.share),
            ),
            col::list_int32(
                ("files_spanned", "rows of `captures`", "Files in which the flow has packets, ascending, at most 32."),
                false,
                |f: &Self, put| {
                    if f.files_spanned.is_empty() {
                        put(signed32(f.first.capture));
                    }
                    f.files_spanned.iter().for_each(|&file| put(signed32(file)));
                    true
                },
            ),
        ]
    }

    fn sort_key(&self) -> (i64, i64) {
        (self.ts.as_nanos(), self.flow_id.0)
    }

    fn heap_bytes(&self) -> usize {
        self.server_name.as_deref().map_or(0, str::len)
            + self.link.vlan_ids.len() * 2
            + self.link.tunnels.len() * size_of::<crate::decode::Tunnel>()
            + self.files_spanned.len() * 4
            + self
                .echo
                .as_ref()
                .map_or(0, |echo| size_of_val(echo.as_ref()))
    }
}

/// The transport's name, where it has one that analysts use.
pub fn proto_name(ip_proto: u8) -> Option<&'static str> {
    Some(match ip_proto {
        1 => "icmp",
        2 => "igmp",
        6 => "tcp",
        17 => "udp",
        33 => "dccp",
        47 => "gre",
        50 => "esp",
        51 => "ah",
        58 => "icmp6",
        88 => "eigrp",
        89 => "ospf",
        103 => "pim",
        112 => "vrrp",
        132 => "sctp",
        136 => "udplite",
        _ => return None,
    })
}

fn tunnel_column() -> Column<FlowRecord> {
    let fields = [
        ("type", DataType::Utf8, false),
        ("src_ip", DataType::Utf8, true),
        ("dst_ip", DataType::Utf8, true),
        ("id", DataType::Int64, true),
    ];
    let head = (
        "tunnel",
        "",
        "Encapsulations of the first packet, outermost first; `id` is the VNI, key, TEID, label or session.",
    );
    col::records(head, false, &fields, |row: &FlowRecord, items| {
        for layer in &row.link.tunnels {
            items.text(layer.kind);
            for address in [layer.src, layer.dst] {
                match address {
                    Some(address) => items.address(address),
                    None => items.null(),
                }
            }
            match layer.id {
                Some(id) => items.number(i64::from(id)),
                None => items.null(),
            }
        }
        true
    })
    .identifier()
}

fn mac_column(head: col::Head, get: fn(&FlowRecord) -> Option<[u8; 6]>) -> Column<FlowRecord> {
    col::text_written(head, true, move |row, out| {
        let Some(mac) = get(row) else { return false };
        for (index, byte) in mac.into_iter().enumerate() {
            if index > 0 {
                out.push(':');
            }
            col::put_hex(out, &[byte]);
        }
        true
    })
    .identifier()
}

/// Standard base64 of 20 bytes by hand: a fifth of the time of the general
/// encoder, for a text that differs in every row.
fn put_community_id(out: &mut String, digest: &[u8; 20]) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    // 20 bytes are 28 digits, of which the last is padding.
    let mut text = [b'='; 28];
    for (three, four) in digest.chunks(3).zip(text.chunks_mut(4)) {
        let mut word = [0_u8; 4];
        for (to, from) in word.iter_mut().skip(1).zip(three) {
            *to = *from;
        }
        let word = u32::from_be_bytes(word);
        let shifts = [18, 12, 6, 0].into_iter().take(three.len() + 1);
        for (digit, shift) in four.iter_mut().zip(shifts) {
            *digit = DIGITS[(word >> shift & 63) as usize];
        }
    }
    out.push_str("1:");
    out.push_str(std::str::from_utf8(&text).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;

    #[test]
    fn community_ids_are_standard_base64() {
        for seed in 0..=255_u8 {
            let digest: [u8; 20] =
                std::array::from_fn(|i| seed.wrapping_mul(31).wrapping_add(i as u8 * 13));
            let mut out = String::new();
            put_community_id(&mut out, &digest);
            let expected = base64::engine::general_purpose::STANDARD.encode(digest);
            assert_eq!(out, format!("1:{expected}"));
        }
    }
}
