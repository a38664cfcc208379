//! `captures` and `captures_interfaces`: what was read. The input's digest
//! stands here once, since it is only known when the file has been read to its end.

use super::column::{self as col, Column, signed, signed32};
use super::writer::Row;
use crate::capture::{CaptureSummary, InterfaceSummary};
use arrow_schema::DataType;

/// One input file.
#[derive(Clone, Debug)]
pub struct CaptureRow {
    /// Row number, from 0: what `capture` refers to in every table.
    pub capture: u32,
    /// What was read.
    pub summary: CaptureSummary,
}

/// One interface of an input file.
#[derive(Clone, Debug)]
pub struct InterfaceRow {
    /// The file's row in `captures`.
    pub capture: u32,
    /// Number of the interface in its file, from 0.
    pub interface: u32,
    /// What the file says of it.
    pub summary: InterfaceSummary,
}

impl Row for CaptureRow {
    const TABLE: &'static str = "captures";
    const DOC: &'static str = "One row per input file, in the order of the set.";
    const GROUP_ROWS: usize = 1 << 14;

    fn columns() -> Vec<Column<Self>> {
        vec![
            col::int32(
                (
                    "capture",
                    "",
                    "Row number, from 0: what `capture` means in every table.",
                ),
                |r: &Self| signed32(r.capture),
            ),
            col::text(("path", "", "As given on the command line."), |r: &Self| {
                &r.summary.path
            })
            .identifier(),
            col::text(
                (
                    "file_name",
                    "",
                    "Last part of `path`; `-` for standard input.",
                ),
                |r: &Self| &r.summary.file_name,
            )
            .identifier(),
            col::int64(("size_bytes", "byte", "Size as stored."), |r: &Self| {
                signed(r.summary.size_bytes)
            }),
            col::int64(
                (
                    "size_uncompressed_bytes",
                    "byte",
                    "Size after decompression.",
                ),
                |r: &Self| signed(r.summary.size_uncompressed_bytes),
            ),
            col::text_written(
                (
                    "sha256",
                    "hex",
                    "Digest of the file as stored; null when the run was told not to hash.",
                ),
                true,
                |r: &Self, out| {
                    let digest = r.summary.sha256.as_ref();
                    digest
                        .inspect(|digest| col::put_hex(out, *digest))
                        .is_some()
                },
            ),
            col::text(
                ("format", "", "`pcap`, `pcapng`, with `+gz` or `+zst`."),
                |r: &Self| &r.summary.format,
            ),
            col::list_int32(
                ("link_types", "LINKTYPE", "Link types, ascending."),
                false,
                |r: &Self, put| {
                    r.summary
                        .link_types
                        .iter()
                        .for_each(|&link| put(i32::from(link)));
                    true
                },
            ),
            col::int32_opt(
                ("snaplen", "byte", "Largest snapshot length."),
                |r: &Self| r.summary.snaplen.map(signed32),
            ),
            col::text(
                ("ts_precision", "", "`us`, `ns`, or the finest of several."),
                |r: &Self| &r.summary.ts_precision,
            ),
            col::int64(("packets", "", "Packets read."), |r: &Self| {
                signed(r.summary.packets)
            }),
            col::int64(
                (
                    "packets_truncated",
                    "",
                    "Of these: cut by the snapshot length.",
                ),
                |r: &Self| signed(r.summary.packets_truncated),
            ),
            col::int64(
                (
                    "packets_malformed",
                    "",
                    "Of these: headers cut or inconsistent.",
                ),
                |r: &Self| signed(r.summary.packets_malformed),
            ),
            col::int64(
                (
                    "packets_unsupported",
                    "",
                    "Of these: a link type or protocol that is not decoded.",
                ),
                |r: &Self| signed(r.summary.packets_unsupported),
            ),
            undecoded_column(),
            col::int64(("bytes_captured", "byte", "Captured bytes."), |r: &Self| {
                signed(r.summary.bytes_captured)
            }),
            col::int64(("bytes_wire", "byte", "Bytes on the wire."), |r: &Self| {
                signed(r.summary.bytes_wire)
            }),
            col::int64(
                (
                    "bytes_skipped",
                    "byte",
                    "Bytes of the file that are no record.",
                ),
                |r: &Self| signed(r.summary.bytes_skipped),
            ),
            col::time_opt(("ts_first", "ns", "Earliest packet."), |r: &Self| {
                r.summary.ts_first
            }),
            col::time_opt(("ts_last", "ns", "Latest packet."), |r: &Self| {
                r.summary.ts_last
            }),
            col::int64_opt(
                (
                    "time_span_ns",
                    "ns",
                    "From the earliest to the latest packet.",
                ),
                |r: &Self| Some(r.summary.ts_last?.nanos_since(r.summary.ts_first?)),
            ),
            col::int64(
                (
                    "time_backward_steps",
                    "",
                    "Packets older than the one before.",
                ),
                |r: &Self| signed(r.summary.time_backward_steps),
            ),
            col::int32(("sections", "", "pcapng sections."), |r: &Self| {
                signed32(r.summary.sections)
            }),
            col::int32(("interfaces", "", "Interfaces."), |r: &Self| {
                i32::try_from(r.summary.interfaces.len()).unwrap_or(i32::MAX)
            }),
            col::int32(
                ("dsb_secrets", "", "Decryption Secrets Blocks."),
                |r: &Self| signed32(r.summary.dsb_secrets),
            ),
            col::int32(("comments", "", "Comments."), |r: &Self| {
                signed32(r.summary.comments)
            }),
            col::text_opt(
                ("capture_app", "", "Application that wrote the file."),
                |r: &Self| r.summary.capture_app.as_deref(),
            )
            .content(),
            col::text_opt(("capture_os", "", "Its operating system."), |r: &Self| {
                r.summary.capture_os.as_deref()
            })
            .content(),
            col::text_opt(("capture_hw", "", "Its hardware."), |r: &Self| {
                r.summary.capture_hw.as_deref()
            })
            .content(),
            col::float64_opt(
                (
                    "checksum_bad_ratio",
                    "ratio",
                    "Wrong checksums of those that could be checked: high where the capturing host left them to its network card.",
                ),
                |r: &Self| r.summary.checksum_bad_ratio,
            ),
            col::int32(
                ("order_in_set", "", "Place in the order of the set."),
                |r: &Self| signed32(r.summary.order_in_set),
            ),
            col::text_opt(
                ("error", "", "Why the file, or its rest, could not be read."),
                |r: &Self| r.summary.error.as_deref(),
            ),
        ]
    }

    fn sort_key(&self) -> (i64, i64) {
        (i64::from(self.capture), 0)
    }

    fn heap_bytes(&self) -> usize {
        let texts = [
            &self.summary.capture_app,
            &self.summary.capture_os,
            &self.summary.capture_hw,
        ];
        let texts = texts.into_iter().flatten().map(String::len).sum::<usize>();
        self.summary.path.len() + self.summary.interfaces.len() * 64 + texts
    }
}

impl Row for InterfaceRow {
    const TABLE: &'static str = "captures_interfaces";
    const DOC: &'static str = "One row per interface of an input file; a pcap has one.";
    const GROUP_ROWS: usize = 1 << 14;

    fn columns() -> Vec<Column<Self>> {
        vec![
            col::int32(("capture", "row of `captures`", "The file."), |r: &Self| {
                signed32(r.capture)
            }),
            col::int32(
                (
                    "interface",
                    "",
                    "Number over all sections of the file, from 0.",
                ),
                |r: &Self| signed32(r.interface),
            ),
            col::text_opt(("name", "", "if_name."), |r: &Self| {
                r.summary.name.as_deref()
            })
            .content(),
            col::text_opt(("description", "", "if_description."), |r: &Self| {
                r.summary.description.as_deref()
            })
            .content(),
            col::int32(("link_type", "LINKTYPE", "Link type."), |r: &Self| {
                i32::from(r.summary.link_type)
            }),
            col::int32(
                ("snaplen", "byte", "Snapshot length; 0 for unlimited."),
                |r: &Self| signed32(r.summary.snaplen),
            ),
            col::text(
                (
                    "ts_resolution",
                    "s",
                    "Length of a tick, as a power: `10^-6`.",
                ),
                |r: &Self| &r.summary.ts_resolution,
            ),
            col::int64(
                ("ts_offset", "s", "Added to every time stamp."),
                |r: &Self| r.summary.ts_offset,
            ),
            col::int64(("packets", "", "Packets."), |r: &Self| {
                signed(r.summary.packets)
            }),
        ]
    }

    fn sort_key(&self) -> (i64, i64) {
        (i64::from(self.capture), i64::from(self.interface))
    }

    fn heap_bytes(&self) -> usize {
        let texts = [&self.summary.name, &self.summary.description];
        texts.into_iter().flatten().map(String::len).sum()
    }
}

fn undecoded_column() -> Column<CaptureRow> {
    let fields = [
        ("reason", DataType::Utf8, false),
        ("count", DataType::Int64, false),
    ];
    let head = (
        "undecoded",
        "",
        "What was not decoded, by reason, and how often: layers of packets, of which each may give several.",
    );
    col::records(head, false, &fields, |row: &CaptureRow, items| {
        for (reason, count) in &row.summary.undecoded {
            items.text(reason);
            items.number(signed(*count));
        }
        true
    })
}
