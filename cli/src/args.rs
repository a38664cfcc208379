//! What the command line takes: one type per command, documented where it is
//! declared, since `--help` is made from these comments.
//!
//! No option takes a secret, only names of files that hold one.

mod groups;

pub use groups::{
    ColorChoice, Common, Json, Known, LogFormat, LogLevel, NewRun, Safety, SealingKey,
    VerifyingKeys,
};

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use groups::severity;
use nsforensics_engine::control::Severity;
use std::path::PathBuf;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "nsforensics",
    version,
    long_version = crate::version::LONG,
    about = "Offline capture forensics with sealed results",
    long_about = "Reads packet captures, says what happened in them, judges it by the network \
                  security controls, and seals the evidence. The analysis opens no \
                  network connection; nothing leaves this machine but alerts to destinations \
                  that the policy names.",
    after_help = TOP_HELP,
    max_term_width = 100,
    arg_required_else_help = true,
    subcommand_required = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// What every command takes.
    #[command(flatten)]
    pub common: Common,
}

const TOP_HELP: &str = "\
Environment:
  SECRET_KEY   the key that seals and verifies, at least 32 bytes; --key-file comes first
  NO_COLOR     when set and not empty, output has no colours

Exit codes:
  0  done
  1  done, and what was asked not to be is there: a failed control, a finding, a broken seal
  2  it could not be done: usage, policy, key, no readable input
  130, 143  interrupted (Ctrl-C, SIGTERM); nothing was sealed

Examples:
  nsforensics key new nsforensics.key
  nsforensics analyze capture.pcapng --key-file nsforensics.key
  nsforensics findings nsforensics-out/RUN --key-file nsforensics.key --severity high
  nsforensics audit nsforensics-out/RUN --key-file nsforensics.key --level L2";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Analyse captures into a new, sealed run folder
    #[command(
        long_about = "Reads captures (pcap, pcapng, either compressed with gzip or zstd; files, folders, \
                  or - for standard input) as one logical capture in time order, and writes tables, \
                  findings and verdicts into a new folder that is sealed with your key."
    )]
    Analyze(Analyze),
    /// Check the seals of runs: what is intact and what is not
    #[command(
        long_about = "Recomputes every seal of a run: the manifest, every file, and every row group of \
                  every table. Names what was changed, removed or added. Give every key that may \
                  have sealed the runs: each manifest names the one it needs."
    )]
    Verify(Verify),
    /// Judge a sealed run by the controls
    #[command(
        long_about = "Verifies the seal of a run, then prints the verdict of every selected control and \
                  check. A control fails when a violation of severity medium or higher was seen (the \
                  policy can move that line); what the capture cannot show is not observed, which is \
                  neither a pass nor a failure."
    )]
    Audit(Audit),
    /// List the findings of a run, each with its reason, numbers and evidence
    #[command(
        long_about = "Verifies the seal of a run, then lists its findings, worst first: what was found, why it is \
                      a finding, what was measured, and where it stands in the captures (file, frame and byte \
                      offset). Frames are numbered as Wireshark numbers them, from 1 in each file."
    )]
    Findings(Findings),
    /// Report what a run shows: the cryptography in use, as CSV or CycloneDX
    Report(Report),
    /// Write, check or show the policy
    #[command(subcommand, arg_required_else_help = true)]
    Policy(Policy),
    /// Make a key, or name one
    #[command(subcommand, arg_required_else_help = true)]
    Key(Key),
    /// Seal a run again under a new key, keeping the old seal
    #[command(
        long_about = "Verifies a run with its old key, then adds a seal under the new one. Both seals are \
                  kept, so the run can be verified with either key. A run whose seal is broken is \
                  not sealed again."
    )]
    Reseal(Reseal),
    /// Judge an old run again from its tables, by another policy or with indicators
    #[command(
        long_about = "Verifies a run, then judges it again from its tables alone, into a new sealed folder that \
                      names the old one. The captures are not needed and not touched. Network behaviour (NS-04), \
                      TLS versions, suites and pins are judged anew; other outcomes of NS-01 to NS-03 are carried over \
                      where the policy leaves what they ask as it was, and what only the capture can answer is not observed. Alerts are sent only where \
                      --policy names destinations."
    )]
    Rescore(Rescore),
    /// Look for indicators in past runs
    #[command(
        long_about = "Verifies runs, then looks for every indicator in every table: addresses, networks, names, \
                      URLs, digests, TLS fingerprints, certificates. Writes nothing; `rescore --indicators` \
                      seals what it finds."
    )]
    Match(Match),
    /// Deliver alerts that could not be delivered, or say which those are
    #[command(subcommand, arg_required_else_help = true)]
    Alerts(Alerts),
    /// Print a completion script for a shell
    Completions(Completions),
}

/// `analyze`.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 done; 1 done, and --fail-on found something; 2 nothing could be analysed.

Examples:
  nsforensics analyze capture.pcapng --key-file nsforensics.key
  nsforensics analyze monday/ tuesday/ --policy policy.yaml --out results
  tcpdump -w - -c 1000 | SECRET_KEY=... nsforensics analyze - --fail-on high
  nsforensics analyze capture.pcap --json | jq '.verdicts[] | select(.verdict == \"fail\")'")]
pub struct Analyze {
    /// Captures: files, folders, or - for standard input
    #[arg(required = true, value_name = "CAPTURE", value_hint = ValueHint::AnyPath)]
    pub captures: Vec<PathBuf>,

    /// Policy to judge by [default: the built-in one]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Policy and indicators")]
    pub policy: Option<PathBuf>,
    /// What is known to be bad.
    #[command(flatten)]
    pub known: Known,
    /// Rules of your own, SQL over the tables or Sigma: files or folders of YAML; may be
    /// repeated. A broken rule is told with file and line, the others run (docs/rules.md;
    /// needs nsforensics-sql)
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath, help_heading = "Policy and indicators")]
    pub rules: Vec<PathBuf>,
    /// The key that seals the run.
    #[command(flatten)]
    pub key: SealingKey,
    /// Roots to trust: mozilla-at-capture, mozilla (of today), system, or a PEM file or folder
    #[arg(long, value_name = "STORE", default_value = "mozilla-at-capture", value_hint = ValueHint::AnyPath, help_heading = "Trust and secrets")]
    pub trust_store: String,

    /// Key log to decrypt TLS with (SSLKEYLOGFILE format); may be repeated. Secrets inside
    /// pcapng files are found by themselves
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Trust and secrets")]
    pub keylog: Vec<PathBuf>,
    /// Revocation list of a CA, PEM or DER; may be given several times
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Trust and secrets")]
    pub crl: Vec<PathBuf>,
    /// Transparency logs beyond the built-in ones: a log_list.json, or public keys in PEM
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Trust and secrets")]
    pub ct_logs: Vec<PathBuf>,

    /// Where the run goes.
    #[command(flatten)]
    pub results: NewRun,

    /// Worker threads [default: one per core]; results do not depend on it
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024), help_heading = "Resources")]
    pub threads: Option<u16>,
    /// Do not hash the inputs; the run is marked as unhashed and is no evidence
    #[arg(long, help_heading = "Resources")]
    pub no_hash: bool,
    /// What the command may do.
    #[command(flatten)]
    pub safety: Safety,
    /// Bytes read at a time, with K or M; for tests, results do not depend on it
    #[arg(long, value_name = "BYTES", value_parser = byte_size, hide = true)]
    pub chunk_size: Option<usize>,
}

/// `rescore`.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 done; 1 done, and --fail-on found something, or the run's seal is broken; 2 it could
not be done (no such run, no key for it).

Examples:
  nsforensics rescore nsforensics-out/RUN --policy stricter.yaml --key-file nsforensics.key
  nsforensics rescore nsforensics-out/RUN --indicators feed.stix.json --fail-on high")]
pub struct Rescore {
    /// Run folder
    #[arg(value_name = "RUN", value_hint = ValueHint::DirPath)]
    pub run: PathBuf,
    /// Policy to judge by [default: the one of the run]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Policy and indicators")]
    pub policy: Option<PathBuf>,
    /// What is known to be bad.
    #[command(flatten)]
    pub known: Known,
    /// Rules of your own, SQL over the tables or Sigma: files or folders of YAML; may be
    /// repeated. A broken rule is told with file and line, the others run (docs/rules.md;
    /// needs nsforensics-sql)
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath, help_heading = "Policy and indicators")]
    pub rules: Vec<PathBuf>,
    /// The key that seals the new run, and verifies the old one unless told otherwise.
    #[command(flatten)]
    pub key: SealingKey,
    /// File that holds a key the old run is sealed with; may be repeated [default: the sealing key]
    #[arg(long = "old-key-file", value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Key")]
    pub old_key_files: Vec<PathBuf>,

    /// Where the run goes.
    #[command(flatten)]
    pub results: NewRun,
    /// What the command may do.
    #[command(flatten)]
    pub safety: Safety,
}

/// `match`.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 nothing was found; 1 something was, or a seal is broken; 2 it could not be done
(no such run, no key for it, no usable indicator).

Examples:
  nsforensics match nsforensics-out/RUN --indicators feed.csv --key-file nsforensics.key
  nsforensics match nsforensics-out --indicators misp.json --indicators bad-names.txt --json")]
pub struct Match {
    /// Run folders, or folders that hold them
    #[arg(required = true, value_name = "RUN|DIR", value_hint = ValueHint::DirPath)]
    pub runs: Vec<PathBuf>,
    /// Indicators to look for (list, CSV, STIX 2.1, MISP); may be repeated
    #[arg(long, required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub indicators: Vec<PathBuf>,
    /// Keys to verify with.
    #[command(flatten)]
    pub keys: VerifyingKeys,
    /// As a document or as text.
    #[command(flatten)]
    pub json: Json,
    /// What the command may do.
    #[command(flatten)]
    pub safety: Safety,
}

/// `alerts …`.
#[derive(Debug, Subcommand)]
pub enum Alerts {
    /// Deliver what runs still owe to the destinations of their policy
    #[command(
        long_about = "Sends every alert of these runs that was not delivered yet: of their journals \
                      (RUN.alerts.jsonl beside each run), or, of a run that was cut off before it had one, of \
                      its findings. The destinations are those of the policy that is sealed into the \
                      run. Runs made with --no-alerts, or judged again without --policy, owe nothing.",
        after_help = "\
Exit codes: 0 nothing is owed any more; 1 something still is, or a seal or journal is broken;
2 it could not be done (no such run, no key for it).

Examples:
  nsforensics alerts deliver nsforensics-out/RUN --key-file nsforensics.key
  ALERT_WEBHOOK_URL=... nsforensics alerts deliver nsforensics-out --key-file nsforensics.key"
    )]
    Deliver {
        /// Whose alerts.
        #[command(flatten)]
        runs: AlertRuns,
        /// How long a receiver may take to answer
        #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=300), help_heading = "Delivery")]
        timeout: u16,
    },
    /// Say what was delivered and what is owed, sending nothing
    #[command(after_help = "\
Exit codes: 0 nothing is owed; 1 something is, or a seal or journal is broken; 2 it could not be
read (no such run, no key for it).

Example:
  nsforensics alerts status nsforensics-out --key-file nsforensics.key")]
    Status(AlertRuns),
    /// Write the key by which a webhook's receiver checks signatures into a new file
    #[command(
        name = "signing-key",
        after_help = "\
The key is derived from the sealing key for this use alone: whoever holds it can check and make
signatures of alerts, and can seal nothing.

Example:
  nsforensics alerts signing-key webhook.key --key-file nsforensics.key"
    )]
    SigningKey {
        /// File to write; must not exist
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// The key that it is derived from.
        #[command(flatten)]
        key: SealingKey,
    },
    /// The process that delivers; started by the others
    #[command(hide = true)]
    Helper,
}

/// Runs whose alerts are meant.
#[derive(Debug, Args)]
pub struct AlertRuns {
    /// Run folders, or folders that hold them
    #[arg(required = true, value_name = "RUN|DIR", value_hint = ValueHint::DirPath)]
    pub runs: Vec<PathBuf>,
    /// Keys that sealed the runs.
    #[command(flatten)]
    pub keys: VerifyingKeys,
    /// As a document or as text.
    #[command(flatten)]
    pub json: Json,
    /// What the command may do.
    #[command(flatten)]
    pub safety: Safety,
}

/// `verify`.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 everything is intact; 1 a seal is broken; 2 it could not be checked
(no such run, no key for it).

Examples:
  nsforensics verify nsforensics-out/RUN --key-file nsforensics.key
  nsforensics verify nsforensics-out/* --key-file old.key --key-file new.key --json")]
pub struct Verify {
    /// Run folders
    #[arg(required = true, value_name = "RUN", value_hint = ValueHint::DirPath)]
    pub runs: Vec<PathBuf>,
    /// Keys to verify with.
    #[command(flatten)]
    pub keys: VerifyingKeys,
    /// As a document or as text.
    #[command(flatten)]
    pub json: Json,
    /// What the command may do.
    #[command(flatten)]
    pub safety: Safety,
    /// Print only what is not intact
    #[arg(short, long, help_heading = "Results")]
    pub quiet: bool,
}

/// `audit`.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 no selected control fails; 1 one fails, or the run's seal is broken; 2 it could
not be audited (no such run, no key for it, nothing selected).

Examples:
  nsforensics audit nsforensics-out/RUN --key-file nsforensics.key
  nsforensics audit nsforensics-out/RUN --level L2 --format junit > controls.xml
  nsforensics audit nsforensics-out/RUN --check NS-01.tls_version --check NS-01.plaintext")]
pub struct Audit {
    /// Run folder
    #[arg(value_name = "RUN", value_hint = ValueHint::DirPath)]
    pub run: PathBuf,
    /// Only the controls that this assurance level requires count; others are listed
    #[arg(long, value_name = "LEVEL", help_heading = "Selection")]
    pub level: Option<Level>,
    /// Only this control or check, such as NS-01 or NS-01.tls_version; may be repeated
    #[arg(
        long = "check",
        visible_alias = "control",
        value_name = "ID",
        help_heading = "Selection"
    )]
    pub checks: Vec<String>,
    /// Keys to verify with.
    #[command(flatten)]
    pub keys: VerifyingKeys,
    /// How the verdicts are printed
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "text",
        help_heading = "Results"
    )]
    pub format: AuditFormat,
    /// What the command may do.
    #[command(flatten)]
    pub safety: Safety,
}

/// `findings`.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 done, whether or not there are findings; 1 the run's seal is broken, and nothing was
listed; 2 it could not be done (no such run, no key for it, an unknown control, check or id).

Examples:
  nsforensics findings nsforensics-out/RUN --key-file nsforensics.key
  nsforensics findings nsforensics-out/RUN --check NS-04 --severity medium
  nsforensics findings nsforensics-out/RUN --host 10.20.0.7 --csv > findings.csv
  nsforensics findings nsforensics-out/RUN --json | jq '.findings[].explanation'
  nsforensics findings nsforensics-out/RUN --anomalies")]
pub struct Findings {
    /// Run folder
    #[arg(value_name = "RUN", value_hint = ValueHint::DirPath)]
    pub run: PathBuf,
    /// Only of this control, check or rule: NS-04, NS-01.tls_version, RULE.ID; may be repeated
    #[arg(
        long = "check",
        visible_alias = "control",
        value_name = "ID",
        help_heading = "Selection"
    )]
    pub checks: Vec<String>,
    /// Only of this severity or worse
    #[arg(long, value_name = "SEVERITY", value_parser = severity(), help_heading = "Selection")]
    pub severity: Option<Severity>,
    /// Only with this address or name at either end
    #[arg(long, value_name = "HOST", help_heading = "Selection")]
    pub host: Option<String>,
    /// Only this finding; may be repeated
    #[arg(long = "id", value_name = "F-ID", help_heading = "Selection")]
    pub ids: Vec<String>,
    /// Also what was suppressed, each with its reason
    #[arg(long, help_heading = "Selection")]
    pub suppressed: bool,
    /// Instead of findings, what was odd or damaged in the captures and their flows
    #[arg(
        long,
        conflicts_with_all = ["checks", "severity", "host", "ids", "suppressed", "csv"],
        help_heading = "Selection"
    )]
    pub anomalies: bool,
    /// Keys to verify with.
    #[command(flatten)]
    pub keys: VerifyingKeys,
    /// As a document or as text.
    #[command(flatten)]
    pub json: Json,
    /// Print a table for spreadsheets, one line for each finding
    #[arg(long, conflicts_with = "json", help_heading = "Results")]
    pub csv: bool,
    /// What the command may do.
    #[command(flatten)]
    pub safety: Safety,
}

/// `report`.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 done; 1 the run's seal is broken, and nothing was reported; 2 it could not be
reported (no such run, no key for it).

Examples:
  nsforensics report nsforensics-out/RUN --crypto > inventory.csv
  nsforensics report nsforensics-out/RUN --crypto --format cyclonedx > cbom.json")]
pub struct Report {
    /// Run folder
    #[arg(value_name = "RUN", value_hint = ValueHint::DirPath)]
    pub run: PathBuf,
    /// The inventory of cryptography: versions, suites, groups, signatures, certificates
    #[arg(long, required = true, help_heading = "Selection")]
    pub crypto: bool,
    /// Keys to verify with.
    #[command(flatten)]
    pub keys: VerifyingKeys,
    /// How the inventory is printed
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "csv",
        help_heading = "Results"
    )]
    pub format: ReportFormat,
    /// What the command may do.
    #[command(flatten)]
    pub safety: Safety,
}

/// How an inventory is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// One row for each asset
    Csv,
    /// Cryptographic bill of materials, CycloneDX 1.6 as JSON
    Cyclonedx,
}

/// Assurance levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Level {
    /// Requires none of these controls
    #[value(name = "L1", alias = "l1")]
    L1,
    /// The controls that L2 requires; traffic analysis (NS-04) is listed only
    #[value(name = "L2", alias = "l2")]
    L2,
    /// All controls
    #[value(name = "L3", alias = "l3")]
    L3,
}

impl Level {
    /// As results name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::L1 => "L1",
            Self::L2 => "L2",
            Self::L3 => "L3",
        }
    }
}

/// How an audit is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AuditFormat {
    /// A table for people
    Text,
    /// One JSON document
    Json,
    /// JUnit XML, as build servers read it
    Junit,
}

/// `policy …`.
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Write an example policy, ready to edit; never overwrites a file
    #[command(after_help = "\
Examples:
  nsforensics policy init
  nsforensics policy init strict.yaml")]
    Init {
        /// File to write
        #[arg(default_value = "nsforensics-policy.yaml", value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
    /// Say whether a policy can be used, and what is wrong with it
    #[command(after_help = "\
Exit codes: 0 usable; 2 not usable.

Example:
  nsforensics policy check strict.yaml")]
    Check {
        /// Policy file
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
    /// Print a policy with every default filled in
    #[command(after_help = "\
Examples:
  nsforensics policy show
  nsforensics policy show strict.yaml")]
    Show {
        /// Policy file [default: the built-in policy]
        #[arg(value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
    },
}

/// `key …`.
#[derive(Debug, Subcommand)]
pub enum Key {
    /// Write a new random key into a new file that only you can read
    #[command(after_help = "\
The file holds 32 random bytes in base64, as `openssl rand -base64 32` makes them. Keep it:
without it, what it sealed cannot be verified any more.

Example:
  nsforensics key new nsforensics.key")]
    New {
        /// File to write; must not exist
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
    /// Print the id of a key, which reveals nothing about it
    #[command(after_help = "\
Every manifest names the id of the key that sealed it.

Examples:
  nsforensics key id nsforensics.key
  SECRET_KEY=... nsforensics key id")]
    Id {
        /// File that holds the key [default: the environment's SECRET_KEY]
        #[arg(value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
    },
}

/// `reseal`.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 sealed again; 1 the old seal is broken; 2 it could not be done.

Example:
  nsforensics key new 2027.key
  nsforensics reseal nsforensics-out/RUN --old-key-file 2026.key --key-file 2027.key")]
pub struct Reseal {
    /// Run folder
    #[arg(value_name = "RUN", value_hint = ValueHint::DirPath)]
    pub run: PathBuf,
    /// What the command may do.
    #[command(flatten)]
    pub safety: Safety,
    /// File that holds the new key [default: the environment's SECRET_KEY]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Keys")]
    pub key_file: Option<PathBuf>,
    /// File that holds a key the run is sealed with; may be repeated [default: SECRET_KEY]
    #[arg(long = "old-key-file", value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Keys")]
    pub old_key_files: Vec<PathBuf>,
}

/// `completions`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nsforensics completions bash > ~/.local/share/bash-completion/completions/nsforensics
  nsforensics completions zsh > \"${fpath[1]}/_nsforensics\"")]
pub struct Completions {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// Reads `4096`, `64K` or `16M`; binary units, at least one byte.
fn byte_size(text: &str) -> Result<usize, String> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (text.get(..text.len() - 1), 1 << 10),
        Some(b'M' | b'm') => (text.get(..text.len() - 1), 1 << 20),
        _ => (Some(text), 1),
    };
    digits
        .and_then(|digits| digits.parse::<usize>().ok())
        .and_then(|number| number.checked_mul(unit))
        .filter(|&bytes| bytes > 0)
        .ok_or_else(|| "a number of bytes, such as 65536, 64K or 16M".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[track_caller]
    fn size(text: &str, bytes: Option<usize>) {
        assert_eq!(byte_size(text).ok(), bytes, "{text}");
    }

    #[test]
    fn sizes_take_binary_units() {
        size("65536", Some(65_536));
        size("64K", Some(65_536));
        size("16m", Some(16 << 20));
        size("0", None);
        size("K", None);
        size("", None);
        size("1G", None);
        size("99999999999999999M", None);
        size("\u{1f600}K", None);
    }

    #[test]
    fn severities_are_the_engines() {
        let parsed = Cli::try_parse_from(["nsforensics", "analyze", "-", "--fail-on", "high"]);
        let Ok(Cli {
            command: Command::Analyze(analyze),
            ..
        }) = parsed
        else {
            panic!("not parsed: {parsed:?}");
        };
        assert_eq!(analyze.results.fail_on, Some(Severity::High));
    }
}
