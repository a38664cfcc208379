//! A destination of the policy as something that alerts can be handed to.

use super::message::Header;
use super::{syslog, webhook};
use nsforensics_engine::policy::{Address, AlertDestination, AlertKind, expand};
use nsforensics_engine::seal::JournalKey;
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// How long a connection may take to come about.
pub const CONNECT: Duration = Duration::from_secs(5);

/// An alert on its way.
#[derive(Clone, Debug)]
pub struct Letter {
    /// When it was queued.
    pub time: String,
    /// The bytes of the alert.
    pub text: String,
}

impl Letter {
    /// The alert as a value.
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// Its idempotency key.
    pub fn id(&self) -> String {
        let value = self.value();
        let id = value.get("id").and_then(Value::as_str);
        id.unwrap_or_default().to_owned()
    }
}

/// What became of letters that were handed over together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Confirmed as far as the protocol confirms.
    Delivered(String),
    /// Not, or nobody knows; worth another try, after this long if the peer said so.
    Later(String, Option<Duration>),
    /// The peer does not want this one.
    Refused(String),
}

/// Takes letters to one destination.
pub trait Channel: Send {
    /// Most letters that are confirmed together.
    fn lot(&self) -> usize;
    /// Hands over some, at most a lot.
    fn send(&mut self, letters: &[Letter]) -> Sent;
}

/// The name by which journals and reports tell a destination: it shows nothing
/// of a URL, which may hold a token.
pub fn name(index: usize, destination: &AlertDestination) -> String {
    format!("{}-{}", destination.kind.name(), index + 1)
}

/// What all channels share.
#[derive(Clone)]
pub struct Means {
    tls: Result<(Arc<ClientConfig>, Arc<Vec<ureq::tls::Certificate<'static>>>), String>,
    host: String,
    answer: Duration,
}

impl Means {
    /// Reads the system's roots (`SSL_CERT_FILE` and `SSL_CERT_DIR` count).
    /// `answer`: how long a peer may keep us waiting once connected.
    pub fn gather(answer: Duration) -> Self {
        let loaded = rustls_native_certs::load_native_certs();
        let tls = tls_config(&loaded.certs).map_err(|why| {
            let first = loaded.errors.first().map(ToString::to_string);
            format!("{why}{}", first.map_or(String::new(), |e| format!(": {e}")))
        });
        let host = rustix::system::uname();
        Self {
            tls,
            host: host.nodename().to_string_lossy().into_owned(),
            answer,
        }
    }

    /// The channel for a destination.
    ///
    /// # Errors
    ///
    /// In words that show nothing of the URL.
    pub fn channel(
        &self,
        destination: &AlertDestination,
        key: &Arc<JournalKey>,
    ) -> Result<Box<dyn Channel>, String> {
        let url = match (&destination.url, destination.kind) {
            (Some(url), _) => expand(url, |name| std::env::var(name).ok())?,
            (None, AlertKind::Syslog) => "unix:///dev/log".to_owned(),
            (None, AlertKind::Webhook) => return Err("a webhook needs a url".to_owned()),
        };
        let address =
            Address::parse(destination.kind, &url).map_err(|why| format!("its url {why}"))?;
        if let Address::Http(url) = address {
            let (_, roots) = self.tls.clone()?;
            let webhook = webhook::Webhook::new(url, roots, Arc::clone(key), self.answer);
            return Ok(Box::new(webhook));
        }
        let tls = match &address {
            Address::Tls(..) => Some(self.tls.clone()?.0),
            _ => None,
        };
        let facility = destination.facility_code().unwrap_or(4);
        Ok(Box::new(syslog::Syslog::new(
            address,
            facility,
            self.host.clone(),
            tls,
            self.answer,
        )))
    }
}

fn tls_config(
    certs: &[CertificateDer<'static>],
) -> Result<(Arc<ClientConfig>, Arc<Vec<ureq::tls::Certificate<'static>>>), String> {
    let mut roots = rustls::RootCertStore::empty();
    // A bundle may hold what no verifier reads; the rest of it counts.
    let (_, _) = roots.add_parsable_certificates(certs.iter().cloned());
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let for_http = certs
        .iter()
        .map(|cert| ureq::tls::Certificate::from_der(cert).to_owned())
        .collect();
    Ok((Arc::new(config), Arc::new(for_http)))
}

/// The cryptography of TLS: ring, which the engine uses as well.
pub fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A syslog message of a letter.
pub fn syslog_text(letter: &Letter, facility: u8, host: &str, limit: usize) -> String {
    super::message::syslog(
        &letter.value(),
        &Header {
            facility,
            time: &letter.time,
            host,
            limit,
        },
    )
}

/// An error of the system in words, without what it was about.
pub fn said(error: &std::io::Error) -> String {
    use std::io::ErrorKind as Kind;
    match error.kind() {
        Kind::TimedOut | Kind::WouldBlock => "timed out".to_owned(),
        Kind::ConnectionRefused => "connection refused".to_owned(),
        Kind::ConnectionReset | Kind::BrokenPipe | Kind::ConnectionAborted => {
            "the peer broke the connection off".to_owned()
        }
        _ => error.to_string(),
    }
}
