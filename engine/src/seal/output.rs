//! All tables of a run at once: what the conductor pushes rows into.

use super::file::HashedFile;
use super::folder::RunFolder;
use super::key::Key;
use crate::anomaly::Anomaly;
use crate::capture::CaptureSummary;
use crate::error::Result;
use crate::finding::{CoverageRow, Finding, Judged, Verdict};
use crate::flow::FlowRecord;
use crate::table::{
    CaptureRow, CertificateRow, CredentialRow, DnsRow, FileMeta, HttpRow, InterfaceRow, Row,
    TableWriter, TlsRow,
};

type Writer<R> = TableWriter<R, HashedFile>;

/// The tables of facts of a run while they are written, and the [`Ledger`] that
/// stays open beyond them. Rows arrive in an order that depends on the input
/// alone; then so do the files.
#[derive(Debug)]
pub struct OutputSet {
    flows: Writer<FlowRecord>,
    tls: Writer<TlsRow>,
    dns: Writer<DnsRow>,
    credentials: Writer<CredentialRow>,
    certificates: Writer<CertificateRow>,
    http: Writer<HttpRow>,
    ledger: Ledger,
}

/// The tables that are written last: what was read, what was odd, what it amounts to.
#[derive(Debug)]
pub struct Ledger {
    captures: Writer<CaptureRow>,
    interfaces: Writer<InterfaceRow>,
    findings: Writer<Finding>,
    anomalies: Writer<Anomaly>,
    coverage: Writer<CoverageRow>,
    verdicts: Writer<Verdict>,
    facts: RowCounts,
}

fn writer<R: Row>(folder: &RunFolder, key: &Key, meta: &FileMeta) -> Result<Writer<R>> {
    let name = format!("{}.parquet", R::TABLE);
    TableWriter::new(folder.create_file(&name, key)?, meta)
}

fn close<R: Row>(writer: Writer<R>, folder: &mut RunFolder) -> Result<()> {
    let (file, rows) = writer.finish()?;
    let finished = file.finish(Some(R::TABLE), rows)?;
    folder.add(finished);
    Ok(())
}

impl OutputSet {
    /// Creates every table's file in the run folder.
    ///
    /// # Errors
    ///
    /// When one cannot be created.
    pub fn create(folder: &RunFolder, key: &Key, meta: &FileMeta) -> Result<Self> {
        Ok(Self {
            flows: writer(folder, key, meta)?,
            tls: writer(folder, key, meta)?,
            dns: writer(folder, key, meta)?,
            credentials: writer(folder, key, meta)?,
            certificates: writer(folder, key, meta)?,
            http: writer(folder, key, meta)?,
            ledger: Ledger {
                captures: writer(folder, key, meta)?,
                interfaces: writer(folder, key, meta)?,
                findings: writer(folder, key, meta)?,
                anomalies: writer(folder, key, meta)?,
                coverage: writer(folder, key, meta)?,
                verdicts: writer(folder, key, meta)?,
                facts: RowCounts::default(),
            },
        })
    }

    /// A finished flow.
    ///
    /// # Errors
    ///
    /// This and all below: when the table cannot be written.
    pub fn push_flow(&mut self, row: FlowRecord) -> Result<()> {
        self.flows.push(row)
    }

    /// A handshake.
    pub fn push_tls(&mut self, row: TlsRow) -> Result<()> {
        self.tls.push(row)
    }

    /// A DNS question with its answer.
    pub fn push_dns(&mut self, row: DnsRow) -> Result<()> {
        self.dns.push(row)
    }

    /// A credential in the clear.
    pub fn push_credential(&mut self, row: CredentialRow) -> Result<()> {
        self.credentials.push(row)
    }

    /// A certificate; see [`crate::table::CertificateBook`].
    pub fn push_certificate(&mut self, row: CertificateRow) -> Result<()> {
        self.certificates.push(row)
    }

    /// An HTTP transaction.
    pub fn push_http(&mut self, row: HttpRow) -> Result<()> {
        self.http.push(row)
    }

    /// An anomaly.
    pub fn push_anomaly(&mut self, row: Anomaly) -> Result<()> {
        self.ledger.push_anomaly(row)
    }

    /// Rows of the tables that grow with the capture so far.
    pub fn row_counts(&self) -> RowCounts {
        RowCounts {
            flows: self.flows.rows(),
            tls_handshakes: self.tls.rows(),
            dns_queries: self.dns.rows(),
            certificates: self.certificates.rows(),
            anomalies: self.ledger.anomalies.rows(),
        }
    }

    /// All facts have been pushed: writes what is left of them, so that they can
    /// be read, and takes their files into the folder's seal.
    pub fn close_facts(self, folder: &mut RunFolder) -> Result<Ledger> {
        let facts = self.row_counts();
        close(self.flows, folder)?;
        close(self.tls, folder)?;
        close(self.dns, folder)?;
        close(self.credentials, folder)?;
        close(self.certificates, folder)?;
        close(self.http, folder)?;
        Ok(Ledger {
            facts,
            ..self.ledger
        })
    }
}

impl Ledger {
    /// One input file, with its interfaces.
    ///
    /// # Errors
    ///
    /// This and all below: when the table cannot be written.
    pub fn push_capture(&mut self, capture: u32, summary: CaptureSummary) -> Result<()> {
        for (interface, row) in (0..).zip(&summary.interfaces) {
            self.interfaces.push(InterfaceRow {
                capture,
                interface,
                summary: row.clone(),
            })?;
        }
        self.captures.push(CaptureRow { capture, summary })
    }

    /// The findings, in the order in which they shall stand.
    pub fn push_findings(&mut self, rows: &[Finding]) -> Result<()> {
        self.findings.push_all(rows)
    }

    /// An anomaly.
    pub fn push_anomaly(&mut self, row: Anomaly) -> Result<()> {
        self.anomalies.push(row)
    }

    /// A row of the coverage.
    pub fn push_coverage(&mut self, row: CoverageRow) -> Result<()> {
        self.coverage.push(row)
    }

    /// A verdict.
    pub fn push_verdict(&mut self, row: Verdict) -> Result<()> {
        self.verdicts.push(row)
    }

    /// Writes what a run amounts to, and nothing else, into a folder.
    pub fn write_judgement(
        folder: &mut RunFolder,
        key: &Key,
        meta: &FileMeta,
        judged: &Judged,
    ) -> Result<()> {
        let mut findings: Writer<Finding> = writer(folder, key, meta)?;
        for row in &judged.findings {
            findings.push(row.clone())?;
        }
        close(findings, folder)?;
        let mut coverage: Writer<CoverageRow> = writer(folder, key, meta)?;
        for row in &judged.coverage {
            coverage.push(row.clone())?;
        }
        close(coverage, folder)?;
        let mut verdicts: Writer<Verdict> = writer(folder, key, meta)?;
        for row in &judged.verdicts {
            verdicts.push(row.clone())?;
        }
        close(verdicts, folder)
    }

    /// Rows of the tables that grow with the capture.
    pub fn row_counts(&self) -> RowCounts {
        RowCounts {
            anomalies: self.anomalies.rows(),
            ..self.facts
        }
    }

    /// Writes what is left and takes every file into the folder's seal.
    pub fn finish(self, folder: &mut RunFolder) -> Result<()> {
        close(self.captures, folder)?;
        close(self.interfaces, folder)?;
        close(self.findings, folder)?;
        close(self.anomalies, folder)?;
        close(self.coverage, folder)?;
        close(self.verdicts, folder)
    }
}

/// Rows written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowCounts {
    /// Of `flows`.
    pub flows: u64,
    /// Of `tls_handshakes`.
    pub tls_handshakes: u64,
    /// Of `dns_queries`.
    pub dns_queries: u64,
    /// Of `certificates`.
    pub certificates: u64,
    /// Of `anomalies`.
    pub anomalies: u64,
}
