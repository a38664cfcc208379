//! The policy's shape: one struct for each mapping of the YAML, with its
//! defaults. What no capture can answer is still checked for its type, since
//! a policy is shared with whatever enforces it.

use super::alerts::AlertDestination;
use super::limits::Limits;
use super::values::{Cidr, Pin, SuitePattern, TlsVersion};
use crate::control::Severity;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

macro_rules! mapping {
    ($(#[doc = $doc:literal])+ $name:ident {
        $($(#[doc = $field_doc:literal])+ $field:ident $(as $yaml:literal)?: $ty:ty = $default:expr,)*
    }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $($(#[doc = $field_doc])+ $(#[serde(rename = $yaml)])? pub $field: $ty,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }
    };
}

fn patterns(names: &[&str]) -> Vec<SuitePattern> {
    names
        .iter()
        .filter_map(|name| SuitePattern::try_from((*name).to_owned()).ok())
        .collect()
}

fn networks(names: &[&str]) -> Vec<Cidr> {
    names
        .iter()
        .filter_map(|name| Cidr::try_from((*name).to_owned()).ok())
        .collect()
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

mapping! {
    /// `network`.
    Network {
        /// TLS enforcement: NS-01.
        tls: Tls = Tls::default(),
        /// Certificate validation: NS-02.
        certificates: Certificates = Certificates::default(),
    }
}

mapping! {
    /// `network.tls`.
    Tls {
        /// Whether NS-01 is judged at all.
        enabled: bool = true,
        /// No fallback to plaintext.
        required: bool = true,
        /// Versions below fail.
        min_version: TlsVersion = TlsVersion(0x0303),
        /// What both sides should settle on where they can.
        preferred_version: TlsVersion = TlsVersion(0x0304),
        /// Suites of TLS 1.2 and below.
        cipher_suites: CipherSuites = CipherSuites::default(),
        /// Suites of TLS 1.3.
        tls13_suites: Vec<SuitePattern> = patterns(&[
            "TLS_AES_256_GCM_SHA384",
            "TLS_AES_128_GCM_SHA256",
            "TLS_CHACHA20_POLY1305_SHA256",
        ]),
        /// HTTP that is sent on to HTTPS.
        upgrade_insecure: UpgradeInsecure = UpgradeInsecure::default(),
    }
}

mapping! {
    /// `network.tls.cipher_suites`: denied before allowed.
    CipherSuites {
        /// Suites that may be negotiated.
        allowed: Vec<SuitePattern> = patterns(&[
            "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        ]),
        /// Patterns that must not be.
        denied: Vec<SuitePattern> = patterns(&[
            "*CBC*", "*RC4*", "*3DES*", "*NULL*", "*EXPORT*", "*DES*", "*MD5*",
        ]),
    }
}

mapping! {
    /// `network.tls.upgrade_insecure`.
    UpgradeInsecure {
        /// Whether a redirect to HTTPS counts as an upgrade.
        enabled: bool = true,
        /// Whether upgrades are listed.
        log_upgrades: bool = true,
    }
}

mapping! {
    /// `network.certificates`.
    Certificates {
        /// What is checked.
        validation: Validation = Validation::default(),
        /// Trusted roots.
        trust_store: TrustStore = TrustStore::default(),
        /// Public-key pins.
        pinning: Pinning = Pinning::default(),
        /// Certificate transparency.
        certificate_transparency: Transparency = Transparency::default(),
        /// What is worth a warning.
        warn_on: Vec<WarnOn> =
            vec![WarnOn::SelfSigned, WarnOn::ExpiringSoon, WarnOn::WeakSignature],
    }
}

mapping! {
    /// `network.certificates.validation`.
    Validation {
        /// Whether NS-02 is judged at all.
        enabled: bool = true,
        /// Path to a trusted root.
        verify_chain: bool = true,
        /// Name against the certificate.
        verify_hostname: bool = true,
        /// Validity at packet time.
        check_expiration: bool = true,
        /// Staples and CRLs.
        check_revocation: bool = true,
    }
}

mapping! {
    /// `network.certificates.trust_store`.
    TrustStore {
        /// Whether the system's (or the built-in) roots are trusted.
        use_system: bool = true,
        /// Further certificates.
        additional_certs: Vec<AdditionalCert> = Vec::new(),
    }
}

/// A certificate that the policy trusts.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AdditionalCert {
    /// Its file.
    pub path: String,
    /// What it is for.
    #[serde(default)]
    pub purpose: String,
}

mapping! {
    /// `network.certificates.pinning`.
    Pinning {
        /// Whether pins are checked.
        enabled: bool = true,
        /// Pins by host.
        pins: Vec<HostPins> = Vec::new(),
    }
}

/// The pins of one host.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HostPins {
    /// The host.
    pub host: String,
    /// Any of these may match.
    pub pins: Vec<Pin>,
    /// Whether names below it are pinned as well.
    #[serde(default)]
    pub include_subdomains: bool,
}

mapping! {
    /// `network.certificates.certificate_transparency`.
    Transparency {
        /// Whether it is checked.
        enabled: bool = true,
        /// Whether timestamps must be there; as a number, how many.
        require_scts: Required = Required::Flag(true),
    }
}

/// Yes or no, or how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Required {
    /// Yes (at least one) or no.
    Flag(bool),
    /// At least so many.
    Count(u8),
}

/// What `warn_on` may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WarnOn {
    /// Self-signed certificates.
    SelfSigned,
    /// Less than 30 days left.
    ExpiringSoon,
    /// MD2, MD5 or SHA-1 signatures.
    WeakSignature,
}

mapping! {
    /// `api`: NS-03.
    Api {
        /// Hosts, ports and path patterns that are APIs; empty to recognise them.
        endpoints: Vec<String> = Vec::new(),
        /// Who must say who they are, and how.
        authentication: Authentication = Authentication::default(),
        /// Who may do what; no capture can answer this.
        authorization: Authorization = Authorization::default(),
        /// How often.
        rate_limiting: RateLimiting = RateLimiting::default(),
        /// What may be sent.
        input_validation: InputValidation = InputValidation::default(),
        /// Headers that every answer must have.
        response_headers: BTreeMap<String, String> = [
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "DENY"),
            ("X-XSS-Protection", "1; mode=block"),
            ("Strict-Transport-Security", "max-age=31536000; includeSubDomains"),
            ("Content-Security-Policy", "default-src 'none'"),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect(),
    }
}

mapping! {
    /// `api.authentication`.
    Authentication {
        /// Whether a credential is required.
        required: bool = true,
        /// Accepted ways.
        methods: Vec<Method> = vec![
            Method {
                kind: MethodKind::BearerToken,
                header: "Authorization".to_owned(),
                format: Some("Bearer {token}".to_owned()),
            },
            Method { kind: MethodKind::ApiKey, header: "X-API-Key".to_owned(), format: None },
        ],
        /// Rules for tokens.
        tokens: Tokens = Tokens::default(),
    }
}

/// One way to authenticate.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Method {
    /// Which kind.
    #[serde(rename = "type")]
    pub kind: MethodKind,
    /// The header that carries it.
    pub header: String,
    /// What the header looks like.
    #[serde(default)]
    pub format: Option<String>,
}

/// Kinds of credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MethodKind {
    /// RFC 6750.
    BearerToken,
    /// A key in a header.
    ApiKey,
}

mapping! {
    /// `api.authentication.tokens`.
    Tokens {
        /// JWS algorithm (RFC 7518).
        algorithm: String = "RS256".to_owned(),
        /// Longest lifetime.
        expiration_seconds: u64 = 3_600,
        /// Whether refresh is offered; no capture can answer this.
        refresh_enabled: bool = true,
    }
}

mapping! {
    /// `api.authorization`.
    Authorization {
        /// Whether there is any.
        enabled: bool = true,
        /// What decides.
        policy_engine: String = "rbac".to_owned(),
        /// Whether what is not allowed is denied.
        default_deny: bool = true,
    }
}

mapping! {
    /// `api.rate_limiting`.
    RateLimiting {
        /// Whether limits are checked.
        enabled: bool = true,
        /// Where no endpoint has its own.
        default_limit as "default": RateLimit = RateLimit {
            requests_per_minute: Some(60),
            requests_per_hour: Some(1_000),
            burst: Some(10),
        },
        /// By path; what is left out is inherited.
        endpoints: BTreeMap<String, RateLimit> = [(
            "/api/v1/execute".to_owned(),
            RateLimit { requests_per_minute: Some(10), ..RateLimit::default() },
        )]
        .into(),
    }
}

mapping! {
    /// A token bucket.
    RateLimit {
        /// Refill per minute.
        requests_per_minute: Option<u32> = None,
        /// Refill per hour.
        requests_per_hour: Option<u32> = None,
        /// Size of the bucket.
        burst: Option<u32> = None,
    }
}

mapping! {
    /// `api.input_validation`.
    InputValidation {
        /// Largest body, MB of 1,048,576 bytes.
        max_request_size_mb: f64 = 10.0,
        /// Largest header section, KB of 1,024 bytes.
        max_header_size_kb: f64 = 8.0,
        /// Media types.
        content_types: ContentTypes = ContentTypes::default(),
        /// Whether headers are cleaned; no capture can answer this.
        sanitize_headers: bool = true,
    }
}

mapping! {
    /// `api.input_validation.content_types`.
    ContentTypes {
        /// Accepted media types.
        allowed: Vec<String> = texts(&["application/json", "multipart/form-data"]),
    }
}

mapping! {
    /// `monitoring`.
    Monitoring {
        /// NS-04.
        network: NetworkMonitoring = NetworkMonitoring::default(),
    }
}

mapping! {
    /// `monitoring.network`.
    NetworkMonitoring {
        /// Whether NS-04 is judged at all.
        enabled: bool = true,
        /// How the captures were made.
        capture: CaptureStatement = CaptureStatement::default(),
        /// Where traffic may go.
        destinations: Destinations = Destinations::default(),
        /// How much.
        volume: Volume = Volume::default(),
        /// What it may look like.
        patterns: Patterns = Patterns::default(),
        /// Who is told.
        alerts: Alerts = Alerts::default(),
    }
}

mapping! {
    /// `monitoring.network.capture`: a statement about how files were made; never applied to them.
    CaptureStatement {
        /// Whether traffic is captured.
        enabled: bool = true,
        /// Where.
        interface: String = "any".to_owned(),
        /// What was let through.
        bpf_filter: String = String::new(),
        /// How long captures are kept.
        retention_hours: u32 = 168,
    }
}

mapping! {
    /// `monitoring.network.destinations`.
    Destinations {
        /// Whether all destinations are tracked.
        track_all: bool = true,
        /// Names and addresses that traffic may go to; `None` for no list.
        allowlist: Option<Vec<String>> = None,
        /// Whether others are findings.
        alert_on_unknown: bool = true,
        /// Networks that are one's own: RFC 1918, 3927, 4193, 4291, 6598, and loopback.
        local_networks: Vec<Cidr> = networks(&[
            "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
            "192.168.0.0/16", "::1/128", "fc00::/7", "fe80::/10",
        ]),
        /// Whether local destinations count as destinations.
        alert_on_local: bool = true,
    }
}

mapping! {
    /// `monitoring.network.volume`.
    Volume {
        /// Whether bytes are counted by destination.
        track_per_destination: bool = true,
        /// Whether what is received counts as well as what is sent.
        both_directions: bool = false,
        /// From where on it is a finding.
        alert_thresholds: VolumeThresholds = VolumeThresholds::default(),
    }
}

mapping! {
    /// `monitoring.network.volume.alert_thresholds`, MB of 1,048,576 bytes.
    VolumeThresholds {
        /// In one request or connection.
        single_request_mb: f64 = 10.0,
        /// In any hour.
        hourly_total_mb: f64 = 100.0,
        /// In any day.
        daily_total_mb: f64 = 500.0,
    }
}

mapping! {
    /// `monitoring.network.patterns`.
    Patterns {
        /// Of exfiltration.
        exfiltration: Vec<ExfiltrationPattern> = vec![
            ExfiltrationPattern {
                pattern: ExfiltrationKind::Base64EncodedLargePayload,
                description: "Large base64-encoded payload".to_owned(),
                threshold_kb: Some(50.0),
                ..ExfiltrationPattern::default()
            },
            ExfiltrationPattern {
                pattern: ExfiltrationKind::DnsTunneling,
                description: "Data in DNS queries".to_owned(),
                query_length_threshold: Some(50),
                ..ExfiltrationPattern::default()
            },
            ExfiltrationPattern {
                pattern: ExfiltrationKind::HighEntropyPayload,
                description: "Encrypted or compressed payload".to_owned(),
                entropy_threshold: Some(0.9),
                ..ExfiltrationPattern::default()
            },
        ],
        /// Of command and control.
        command_and_control: Vec<C2Pattern> = vec![
            C2Pattern {
                pattern: C2Kind::PeriodicBeaconing,
                description: "Regular connections to one destination".to_owned(),
                interval_variance_threshold: Some(0.1),
                key: Some(BeaconKey::default()),
                explained: Some(Explained::default()),
            },
            C2Pattern {
                pattern: C2Kind::DomainGeneration,
                description: "Generated domain names".to_owned(),
                interval_variance_threshold: None,
                key: None,
                explained: None,
            },
        ],
    }
}

/// One pattern of exfiltration.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ExfiltrationPattern {
    /// Which.
    pub pattern: ExfiltrationKind,
    /// In words.
    #[serde(default)]
    pub description: String,
    /// KB of 1,024 bytes in one request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold_kb: Option<f64>,
    /// Characters of a query name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_length_threshold: Option<u32>,
    /// Shannon entropy, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entropy_threshold: Option<f64>,
}

/// Patterns of exfiltration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ExfiltrationKind {
    /// Also known as `base64_exfiltration`.
    #[default]
    #[serde(alias = "base64_exfiltration")]
    Base64EncodedLargePayload,
    /// Data in DNS queries.
    DnsTunneling,
    /// Payload without structure.
    HighEntropyPayload,
}

/// One pattern of command and control.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct C2Pattern {
    /// Which.
    pub pattern: C2Kind,
    /// In words.
    #[serde(default)]
    pub description: String,
    /// Coefficient of variation of the gaps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_variance_threshold: Option<f64>,
    /// Whose connections make one series.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<BeaconKey>,
    /// What becomes of a finding of the literal rule that is explained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explained: Option<Explained>,
}

/// What becomes of a finding of the literal rule that strong evidence explains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Explained {
    /// It stays open, with what argues against it beside it.
    #[default]
    Open,
    /// It is kept as suppressed, with the reason.
    Suppressed,
}

/// Whose connections make one series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BeaconKey {
    /// Those of one source to one port of a destination.
    #[default]
    SourceDestinationPort,
    /// Those of all sources to a destination.
    Destination,
}

/// Patterns of command and control.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum C2Kind {
    /// Regular connections.
    PeriodicBeaconing,
    /// Generated names.
    DomainGeneration,
}

mapping! {
    /// `monitoring.network.alerts`.
    Alerts {
        /// Where alerts go.
        destinations: Vec<AlertDestination> = Vec::new(),
    }
}

mapping! {
    /// `verdicts`.
    Verdicts {
        /// Findings of this severity and above fail their control.
        fail_at: Severity = Severity::Medium,
    }
}

mapping! {
    /// The whole policy.
    Shape {
        /// NS-01 and NS-02.
        network: Network = Network::default(),
        /// NS-03.
        api: Api = Api::default(),
        /// NS-04.
        monitoring: Monitoring = Monitoring::default(),
        /// From where on a control fails.
        verdicts: Verdicts = Verdicts::default(),
        /// Budgets and time-outs.
        limits: Limits = Limits::default(),
    }
}
