//! `credentials`: secrets that crossed the wire where they could be read, each
//! once for its flow and place, as what may be told of them.

use super::column::{self as col, Column, Layout, signed, signed32};
use super::writer::Row;
use crate::flow::FlowHead;
use crate::proto::plain::CredentialSeen;

/// A secret in a flow.
#[derive(Clone, Debug)]
pub struct CredentialRow {
    /// Its flow.
    pub flow: FlowHead,
    /// What the flow spoke.
    pub protocol: &'static str,
    /// The secret, as it left its reader.
    pub seen: CredentialSeen,
}

impl Row for CredentialRow {
    const TABLE: &'static str = "credentials";
    const DOC: &'static str = "One row per secret that crossed the wire in the clear, flow and place, however often \
        it was repeated there (at most 256 of one flow). Neither secrets nor users stand in it: keyed hashes under the run's key \
        (HMAC-SHA-256, see the page on the seal) tell equal ones, within a run and across runs under the same key. With another \
        key, or after a rotation of keys, they differ.";
    const GROUP_ROWS: usize = 1 << 15;

    fn columns() -> Vec<Column<Self>> {
        vec![
            col::int32(
                ("capture", "row of `captures`", "File in which it was seen first."),
                |row: &Self| signed32(row.seen.packet.capture),
            ),
            col::int64(("flow_id", "", "The flow."), |row: &Self| row.flow.flow_id.0)
                .layout(Layout::Plain),
            col::time(("ts", "ns", "When it was seen first."), |row: &Self| row.seen.ts),
            col::int64(
                ("first_frame", "", "Number of that packet in its file, from 1."),
                |row: &Self| signed(row.seen.packet.frame),
            )
            .layout(Layout::Delta),
            col::int64(
                ("first_offset", "byte", "Place of that packet's record in its file."),
                |row: &Self| signed(row.seen.packet.offset),
            )
            .layout(Layout::Delta),
            col::time(("ts_last", "ns", "When it was seen last."), |row: &Self| {
                row.seen.ts_last
            }),
            col::int64(("count", "", "How often it was seen there."), |row: &Self| {
                signed(row.seen.count)
            })
            .layout(Layout::Delta),
            col::address(("src_ip", "RFC 5952", "Originator of the flow."), |row: &Self| {
                row.flow.src
            }),
            col::address(("dst_ip", "RFC 5952", "Responder of the flow."), |row: &Self| {
                row.flow.dst
            }),
            col::int32(("dst_port", "", "Responder's port."), |row: &Self| {
                i32::from(row.flow.dst_port)
            }),
            col::text(("protocol", "", "What the flow spoke."), |row: &Self| row.protocol),
            col::text(
                ("class", "", "Kind of credential by its place (`http_basic`, `ftp_password`), else by its look (`github_token`)."),
                |row: &Self| row.seen.class,
            ),
            col::text_opt(
                ("shape", "", "What it looks like, by `rules/secrets.tsv`: `jwt`, `aws_access_key`, `openai_key` and so on."),
                |row: &Self| row.seen.shape,
            ),
            col::text(
                ("place", "", "Where it stood: `login`, `header`, `cookie`, `set_cookie`, `query`, `path`, `form`, `json`, or `payload` elsewhere."),
                |row: &Self| row.seen.place.name(),
            ),
            col::text_opt(
                ("name", "", "Name of the header, cookie, parameter or field, lower case."),
                |row: &Self| row.seen.name.as_deref(),
            )
            .content(),
            col::int32(("length", "byte", "Length of the secret, decoded."), |row: &Self| {
                signed32(row.seen.len)
            }),
            col::text_written(
                ("last4", "", "Its last four characters: of tokens and keys of at least 16, never of passwords."),
                true,
                |row: &Self, out| put_last4(out, row.seen.last4),
            )
            .content(),
            col::text_written(
                ("hash", "hex", "Keyed hash of the secret, 128 bits; null where only its length passed the reader."),
                true,
                |row: &Self, out| {
                    let hash = row.seen.hash;
                    if let Some(hash) = hash {
                        col::put_hex(out, &hash.0);
                    }
                    hash.is_some()
                },
            )
            .layout(Layout::Plain),
            col::text_written(
                ("user_hash", "hex", "Keyed hash of the user that came with it, in a domain of its own."),
                true,
                |row: &Self, out| {
                    let user = row.seen.user;
                    if let Some(user) = user {
                        col::put_hex(out, &user.0);
                    }
                    user.is_some()
                },
            )
            .layout(Layout::Plain),
        ]
    }

    fn sort_key(&self) -> (i64, i64) {
        (self.seen.ts.as_nanos(), self.flow.flow_id.0)
    }

    fn heap_bytes(&self) -> usize {
        self.seen.name.as_deref().map_or(0, str::len)
    }
}

/// Appends the last four characters of a secret.
pub(super) fn put_last4(out: &mut String, last4: Option<[u8; 4]>) -> bool {
    let Some(last4) = last4 else { return false };
    out.extend(last4.iter().map(|byte| char::from(*byte)));
    true
}
