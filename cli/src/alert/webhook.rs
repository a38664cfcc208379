//! Webhooks: one POST of JSON for each alert, signed, with an idempotency key.
//!
//! TLS is verified against the system's roots; redirects are not followed,
//! since a signed alert is for the host that the policy names.

use super::channel::{CONNECT, Channel, Letter, Sent, provider};
use nsforensics_engine::seal::JournalKey;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

/// Longest wait that a receiver may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Bytes of an answer that are read.
const MOST_READ: u64 = 64 << 10;

/// A receiver of alerts over HTTP.
pub struct Webhook {
    agent: Agent,
    url: String,
    key: Arc<JournalKey>,
}

impl Webhook {
    /// The one behind this URL.
    pub fn new(
        url: String,
        roots: Arc<Vec<Certificate<'static>>>,
        key: Arc<JournalKey>,
        answer: Duration,
    ) -> Self {
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(provider())
            .root_certs(RootCerts::Specific(roots))
            .build();
        let agent = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(answer))
            .user_agent(concat!("nsforensics/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Self { agent, url, key }
    }

    fn post(&self, letter: &Letter) -> Result<(u16, Option<Duration>), ureq::Error> {
        let seconds = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let mut response = self
            .agent
            .post(&self.url)
            .header("Content-Type", "application/json")
            .header("Idempotency-Key", letter.id())
            .header(
                "X-Nsforensics-Signature",
                signature(&self.key, seconds, &letter.text),
            )
            .send(letter.text.as_str())?;
        let wait = response
            .headers()
            .get("retry-after")
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(|seconds| Duration::from_secs(seconds).min(LONGEST_WAIT));
        // Read, so that the connection serves the next alert; what it says is not kept.
        let body = response.body_mut().with_config().limit(MOST_READ);
        drop(body.read_to_vec());
        Ok((response.status().as_u16(), wait))
    }
}

/// `t=<seconds>,k=<key id>,v1=<HMAC-SHA-256 of "<seconds>.<body>">`: the time is
/// signed as well, so that a receiver can refuse what is played back later.
pub fn signature(key: &JournalKey, seconds: u64, body: &str) -> String {
    let mac = key.sign(format!("{seconds}.{body}").as_bytes());
    format!("t={seconds},k={},v1={mac}", key.id())
}

impl Channel for Webhook {
    fn lot(&self) -> usize {
        1
    }

    fn send(&mut self, letters: &[Letter]) -> Sent {
        let mut last = Sent::Delivered("nothing to send".to_owned());
        for letter in letters {
            last = match self.post(letter) {
                Ok((status, wait)) => judged(status, wait),
                Err(ureq::Error::RedirectFailed) => {
                    Sent::Refused("sent elsewhere by a redirect, which is not followed".to_owned())
                }
                Err(error) => Sent::Later(without_url(&error), None),
            };
            if !matches!(last, Sent::Delivered(_)) {
                break;
            }
        }
        last
    }
}

/// What a status says of another try (RFC 9110 §15; 409 of a receiver that is
/// still busy with the same key, 425 of RFC 8470, 429 of RFC 6585).
fn judged(status: u16, wait: Option<Duration>) -> Sent {
    let told = format!("HTTP {status}");
    match status {
        200..=299 => Sent::Delivered(told),
        408 | 409 | 425 | 429 | 500..=599 => Sent::Later(told, wait),
        _ => Sent::Refused(told),
    }
}

/// An error in words; the URL may hold a token and is not among them.
fn without_url(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => super::channel::said(error),
        ureq::Error::Timeout(_) => "timed out".to_owned(),
        ureq::Error::HostNotFound => "the host is not known".to_owned(),
        ureq::Error::ConnectionFailed => "no connection".to_owned(),
        ureq::Error::BadUri(_) => "the url is not valid".to_owned(),
        ureq::Error::Rustls(error) => format!("TLS: {error}"),
        ureq::Error::Tls(why) => format!("TLS: {why}"),
        ureq::Error::Protocol(error) => format!("HTTP: {error}"),
        _ => "the request failed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nsforensics_engine::seal::Key;

    #[test]
    fn statuses_say_whether_to_try_again() {
        for good in [200, 201, 202, 204] {
            assert!(matches!(judged(good, None), Sent::Delivered(_)));
        }
        for busy in [408, 409, 425, 429, 500, 502, 503, 504] {
            assert!(matches!(judged(busy, None), Sent::Later(_, _)), "{busy}");
        }
        for never in [301, 302, 307, 400, 401, 403, 404, 410, 413, 422] {
            assert!(matches!(judged(never, None), Sent::Refused(_)), "{never}");
        }
    }

    #[test]
    fn the_signature_is_an_hmac_over_time_and_body() {
        // Computed with Python:
        // prk = hmac(32 zeros, b"k" * 32); key = hmac(prk, b"nsforensics/v1/alert-signature\x01")
        // hmac(key, b"1700000000.{}")
        let key = JournalKey::of(&Key::from_secret(&[b'k'; 32]).expect("a key"));
        assert_eq!(
            signature(&key, 1_700_000_000, "{}"),
            format!(
                "t=1700000000,k={},v1=9ce4cb94897e5e25183974805f7c855afd8085dd730c49617f9e155473008370",
                key.id()
            )
        );
    }
}
