//! Rows of `flows` and `dns_queries` straight as tables, with the columns that
//! detectors read: what a week of captures would have become.

use arrow_array::builder::{
    BooleanBuilder, Float32Builder, Int16Builder, Int32Builder, Int64Builder, StringBuilder,
    TimestampNanosecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch};
use nsforensics_engine::flow::Rhythm;
use nsforensics_engine::proto::dns::{dga, suffix};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use std::fs::File;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

/// A connection.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    pub ts_ns: i64,
    pub duration_ns: i64,
    pub src: u32,
    pub dst: u32,
    /// Number of its name among the world's names; none for an address alone.
    pub name: Option<u32>,
    pub port: u16,
    pub udp: bool,
    pub up: u64,
    pub down: u64,
    pub state: &'static str,
    pub service: &'static str,
    pub rhythm: Option<Rhythm>,
}

/// A DNS question with its answer.
#[derive(Clone, Debug)]
pub struct Question {
    pub ts_ns: i64,
    pub src: u32,
    pub name: String,
    pub qtype: u16,
    pub rcode: u16,
    pub answer_bytes: u32,
}

/// The resolver of every world.
pub const RESOLVER: u32 = 0x0a00_0035;
/// Rows of a group.
const GROUP: usize = 1 << 17;

/// Writes rows as they come, sorted by time within a group.
pub struct Tables {
    flows: ArrowWriter<File>,
    questions: ArrowWriter<File>,
    waiting: Vec<Flow>,
    asked: Vec<Question>,
    next: i64,
    pub rows: u64,
    pub question_rows: u64,
}

fn properties() -> WriterProperties {
    let zstd = ZstdLevel::try_new(1).unwrap_or_default();
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(zstd))
        .set_max_row_group_row_count(Some(GROUP))
        .build()
}

impl Tables {
    /// New tables in a folder.
    pub fn create(folder: &Path) -> Result<Self, String> {
        let open = |name: &str, batch: RecordBatch| {
            let path = folder.join(name);
            let file =
                File::create(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            ArrowWriter::try_new(file, batch.schema(), Some(properties())).map_err(text)
        };
        Ok(Self {
            flows: open("flows.parquet", flows(&[], &[], 0)?)?,
            questions: open("dns_queries.parquet", questions(&[], 0)?)?,
            waiting: Vec::with_capacity(GROUP),
            asked: Vec::new(),
            next: 1,
            rows: 0,
            question_rows: 0,
        })
    }

    /// Takes a connection.
    pub fn flow(&mut self, names: &[String], flow: Flow) -> Result<(), String> {
        self.waiting.push(flow);
        if self.waiting.len() >= GROUP {
            self.write_flows(names)
        } else {
            Ok(())
        }
    }

    /// Takes a question.
    pub fn question(&mut self, question: Question) -> Result<(), String> {
        self.asked.push(question);
        if self.asked.len() >= GROUP {
            self.write_questions()
        } else {
            Ok(())
        }
    }

    fn write_flows(&mut self, names: &[String]) -> Result<(), String> {
        self.waiting
            .sort_by_key(|flow| (flow.ts_ns, flow.src, flow.dst));
        let batch = flows(&self.waiting, names, self.next)?;
        self.next += self.waiting.len() as i64;
        self.rows += self.waiting.len() as u64;
        self.waiting.clear();
        self.flows.write(&batch).map_err(text)
    }

    fn write_questions(&mut self) -> Result<(), String> {
        self.asked
            .sort_by(|a, b| (a.ts_ns, a.src, &a.name).cmp(&(b.ts_ns, b.src, &b.name)));
        let batch = questions(&self.asked, self.next)?;
        self.next += self.asked.len() as i64;
        self.question_rows += self.asked.len() as u64;
        self.asked.clear();
        self.questions.write(&batch).map_err(text)
    }

    /// Writes the rest.
    pub fn finish(mut self, names: &[String]) -> Result<(u64, u64), String> {
        self.write_flows(names)?;
        self.write_questions()?;
        self.flows.close().map_err(text)?;
        self.questions.close().map_err(text)?;
        Ok((self.rows, self.question_rows))
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn address(number: u32) -> String {
    Ipv4Addr::from(number).to_string()
}

fn is_local(number: u32) -> bool {
    number >> 24 == 10
}

fn place(
    columns: &mut Vec<(&'static str, ArrayRef)>,
    times: impl Iterator<Item = i64>,
    first: i64,
) {
    let mut ts = TimestampNanosecondBuilder::new().with_timezone("UTC");
    let (mut capture, mut id) = (Int32Builder::new(), Int64Builder::new());
    let (mut frame, mut offset) = (Int64Builder::new(), Int64Builder::new());
    for (time, number) in times.zip(first..) {
        ts.append_value(time);
        capture.append_value(0);
        id.append_value(number);
        frame.append_value(number);
        offset.append_value(number * 100);
    }
    columns.push(("capture", Arc::new(capture.finish())));
    columns.push(("flow_id", Arc::new(id.finish())));
    columns.push(("ts", Arc::new(ts.finish())));
    columns.push(("first_frame", Arc::new(frame.finish())));
    columns.push(("first_offset", Arc::new(offset.finish())));
}

fn flows(rows: &[Flow], names: &[String], first: i64) -> Result<RecordBatch, String> {
    let mut columns: Vec<(&str, ArrayRef)> = Vec::new();
    place(&mut columns, rows.iter().map(|row| row.ts_ns), first);
    let mut ints = |name, get: &dyn Fn(&Flow) -> i64| {
        let mut column = Int64Builder::with_capacity(rows.len());
        rows.iter().for_each(|row| column.append_value(get(row)));
        columns.push((name, Arc::new(column.finish()) as ArrayRef));
    };
    // Packets of at most 1,400 bytes, and the handshake's.
    let packets = |bytes: u64| (bytes / 1_400 + 4) as i64;
    ints("duration_ns", &|row| row.duration_ns);
    ints("orig_bytes", &|row| row.up as i64);
    ints("resp_bytes", &|row| row.down as i64);
    ints("orig_pkts", &|row| packets(row.up));
    ints("resp_pkts", &|row| packets(row.down));
    ints("orig_ip_bytes", &|row| row.up as i64 + 40 * packets(row.up));
    ints("resp_ip_bytes", &|row| {
        row.down as i64 + 40 * packets(row.down)
    });
    let mut optional = |name, get: &dyn Fn(&Rhythm) -> i64| {
        let mut column = Int64Builder::with_capacity(rows.len());
        let values = rows.iter().map(|row| row.rhythm.as_ref().map(get));
        values.for_each(|value| column.append_option(value));
        columns.push((name, Arc::new(column.finish()) as ArrayRef));
    };
    optional("beats", &|rhythm| i64::from(rhythm.gaps));
    optional("beat_gap_ns", &|rhythm| rhythm.gap_ns);
    let mut shares = Float32Builder::new();
    rows.iter()
        .for_each(|row| shares.append_option(row.rhythm.map(|rhythm| rhythm.share)));
    columns.push(("beat_share", Arc::new(shares.finish())));
    let mut ts_end = TimestampNanosecondBuilder::new().with_timezone("UTC");
    rows.iter()
        .for_each(|row| ts_end.append_value(row.ts_ns + row.duration_ns));
    columns.push(("ts_end", Arc::new(ts_end.finish())));
    let mut words = |name, get: &dyn Fn(&Flow) -> Option<String>| {
        let mut column = StringBuilder::new();
        rows.iter().for_each(|row| column.append_option(get(row)));
        columns.push((name, Arc::new(column.finish()) as ArrayRef));
    };
    let named = |row: &Flow| row.name.and_then(|name| names.get(name as usize)).cloned();
    words("src_ip", &|row| Some(address(row.src)));
    words("dst_ip", &|row| Some(address(row.dst)));
    words("proto", &|row| {
        Some(if row.udp { "udp" } else { "tcp" }.to_owned())
    });
    words("service", &|row| {
        Some(row.service.to_owned()).filter(|service| !service.is_empty())
    });
    words("beat_side", &|row| {
        row.rhythm.map(|rhythm| rhythm.side_name().to_owned())
    });
    words("conn_state", &|row| Some(row.state.to_owned()));
    words("server_name", &named);
    words("server_name_source", &|row| {
        row.name.map(|_| "sni".to_owned())
    });
    words("destination", &|row| {
        named(row).or_else(|| Some(address(row.dst)))
    });
    let mut ports = [Int32Builder::new(), Int32Builder::new()];
    let mut proto = Int16Builder::new();
    let mut local = [BooleanBuilder::new(), BooleanBuilder::new()];
    for row in rows {
        ports[0].append_value(40_000);
        ports[1].append_value(i32::from(row.port));
        proto.append_value(if row.udp { 17 } else { 6 });
        local[0].append_value(is_local(row.src));
        local[1].append_value(is_local(row.dst));
    }
    let [mut src_port, mut dst_port] = ports;
    let [mut orig, mut resp] = local;
    columns.push(("src_port", Arc::new(src_port.finish())));
    columns.push(("dst_port", Arc::new(dst_port.finish())));
    columns.push(("ip_proto", Arc::new(proto.finish())));
    columns.push(("local_orig", Arc::new(orig.finish())));
    columns.push(("local_resp", Arc::new(resp.finish())));
    RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    )
    .map_err(text)
}

fn questions(rows: &[Question], first: i64) -> Result<RecordBatch, String> {
    let mut columns: Vec<(&str, ArrayRef)> = Vec::new();
    place(&mut columns, rows.iter().map(|row| row.ts_ns), first);
    let mut texts = [
        StringBuilder::new(),
        StringBuilder::new(),
        StringBuilder::new(),
        StringBuilder::new(),
        StringBuilder::new(),
        StringBuilder::new(),
    ];
    let mut numbers: [Int32Builder; 6] = std::array::from_fn(|_| Int32Builder::new());
    let mut score = Float32Builder::new();
    let mut unanswered = BooleanBuilder::new();
    for row in rows {
        let domain = suffix::registered(&row.name);
        let below = domain.and_then(|domain| {
            let before = row.name.get(..row.name.len() - domain.len())?;
            before.strip_suffix('.')
        });
        let values = [
            Some(address(row.src)),
            Some(address(RESOLVER)),
            Some("udp".to_owned()),
            Some(row.name.clone()),
            domain.map(str::to_owned),
            below.map(str::to_owned),
        ];
        for (column, value) in texts.iter_mut().zip(values) {
            column.append_option(value);
        }
        let longest = row.name.split('.').map(str::len).max().unwrap_or_default();
        let values = [
            53,
            row.name.len() as i32,
            longest as i32,
            i32::from(row.qtype),
            i32::from(row.rcode),
            row.answer_bytes as i32,
        ];
        for (column, value) in numbers.iter_mut().zip(values) {
            column.append_value(value);
        }
        score.append_option(domain.and_then(dga::score));
        unanswered.append_value(false);
    }
    let names = [
        "src_ip",
        "dst_ip",
        "transport",
        "query",
        "etld1",
        "subdomain",
    ];
    for (name, mut column) in names.into_iter().zip(texts) {
        columns.push((name, Arc::new(column.finish())));
    }
    let names = [
        "dst_port",
        "query_len",
        "max_label_len",
        "qtype",
        "rcode",
        "answer_bytes",
    ];
    for (name, mut column) in names.into_iter().zip(numbers) {
        columns.push((name, Arc::new(column.finish())));
    }
    columns.push(("dga_score", Arc::new(score.finish())));
    columns.push(("unanswered", Arc::new(unanswered.finish())));
    RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    )
    .map_err(text)
}
