//! `monitoring.network.alerts.destinations`: where alerts go, checked as far
//! as a policy can be without the environment that its URLs may name.
//!
//! Syslog is RFC 5424: over the local socket (no `url`), `udp://` (RFC 5426),
//! `tcp://` (RFC 6587) or `tls://` (RFC 5425). A webhook is `https://`;
//! plain `http://` is for this machine alone. Nothing here opens a socket.

use serde::{Deserialize, Serialize};

/// One place that alerts go to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AlertDestination {
    /// Which kind.
    #[serde(rename = "type")]
    pub kind: AlertKind,
    /// Syslog facility.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facility: Option<String>,
    /// Address; `${NAME}` is taken from the environment when an alert is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// Kinds of alert destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// RFC 5424.
    Syslog,
    /// JSON by POST.
    Webhook,
}

impl AlertKind {
    /// As the policy names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Syslog => "syslog",
            Self::Webhook => "webhook",
        }
    }
}

/// Facilities by the names that systems use (RFC 5424 §6.2.1). `security` is
/// code 4, as is `auth`.
const FACILITIES: [(&str, u8); 26] = [
    ("kern", 0),
    ("user", 1),
    ("mail", 2),
    ("daemon", 3),
    ("security", 4),
    ("auth", 4),
    ("syslog", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("cron", 9),
    ("authpriv", 10),
    ("ftp", 11),
    ("ntp", 12),
    ("audit", 13),
    ("alert", 14),
    ("clock", 15),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
    ("default", 4),
];

impl AlertDestination {
    /// The facility's code; `security` where none is named.
    pub fn facility_code(&self) -> Option<u8> {
        let name = self.facility.as_deref().unwrap_or("default");
        FACILITIES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, code)| *code)
    }

    /// What is wrong with it: the key below `destinations`, and why.
    pub(super) fn problem(&self) -> Option<(&'static str, String)> {
        const URL: &str = "monitoring.network.alerts.destinations.url";
        const FACILITY: &str = "monitoring.network.alerts.destinations.facility";
        let facility = self.facility.as_deref();
        if self.facility_code().is_none() || facility == Some("default") {
            let known: Vec<&str> = FACILITIES
                .iter()
                .map(|(name, _)| *name)
                .filter(|name| *name != "default")
                .collect();
            return Some((
                FACILITY,
                format!("is no syslog facility; known: {}", known.join(", ")),
            ));
        }
        let Some(url) = &self.url else {
            return (self.kind == AlertKind::Webhook)
                .then(|| (URL, "a webhook needs a url".to_owned()));
        };
        if self.kind == AlertKind::Webhook && facility.is_some() {
            return Some((FACILITY, "is for syslog; a webhook has none".to_owned()));
        }
        match variables(url) {
            Err(why) => Some((URL, why)),
            // What the environment holds is told when an alert is sent.
            Ok(names) if !names.is_empty() => None,
            Ok(_) => Address::parse(self.kind, url).err().map(|why| (URL, why)),
        }
    }
}

/// The names of the environment's variables in a URL.
///
/// # Errors
///
/// For `${` without an end, and for names that no variable has.
pub fn variables(url: &str) -> Result<Vec<&str>, String> {
    let mut names = Vec::new();
    let mut rest = url;
    while let Some((_, after)) = rest.split_once("${") {
        let Some((name, end)) = after.split_once('}') else {
            return Err("holds ${ without }".to_owned());
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if name.is_empty()
            || name.starts_with(|first: char| first.is_ascii_digit())
            || !name.bytes().all(plain)
        {
            return Err(format!("names no variable of the environment: ${{{name}}}"));
        }
        if name == "SECRET_KEY" {
            return Err("SECRET_KEY is the sealing key and never leaves".to_owned());
        }
        names.push(name);
        rest = end;
    }
    Ok(names)
}

/// The URL with its variables filled in.
///
/// # Errors
///
/// When one is not set; the message names it and shows nothing of any value.
pub fn expand(url: &str, environment: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    variables(url)?;
    let mut out = String::new();
    let mut rest = url;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let (name, end) = after.split_once('}').unwrap_or((after, ""));
        match environment(name) {
            Some(value) if !value.is_empty() => out.push_str(&value),
            _ => return Err(format!("the environment has no {name}")),
        }
        rest = end;
    }
    out.push_str(rest);
    Ok(out)
}

/// Where an alert is sent, of a URL that holds no variables any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// The local syslog socket.
    Local(String),
    /// A syslog collector by UDP.
    Udp(String, u16),
    /// By TCP, with octet counting.
    Tcp(String, u16),
    /// By TLS.
    Tls(String, u16),
    /// A webhook: the whole URL.
    Http(String),
}

impl Address {
    /// Reads a URL, or the local socket's absence of one.
    ///
    /// # Errors
    ///
    /// In words that repeat nothing of the URL: it may hold a token.
    pub fn parse(kind: AlertKind, url: &str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").ok_or("is no URL: it has no scheme")?;
        let scheme = scheme.to_ascii_lowercase();
        if url.len() > 2_048 || url.chars().any(|c| c.is_control() || c == ' ') {
            return Err("is no URL: too long, or holds spaces or control characters".to_owned());
        }
        match kind {
            AlertKind::Webhook => {
                let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
                if authority.contains('@') {
                    return Err("holds a user name or password; use a token in the path or query, from the environment".to_owned());
                }
                let (host, _) = host_port(authority, 443)?;
                match scheme.as_str() {
                    "https" => Ok(Self::Http(url.to_owned())),
                    "http" if is_this_machine(&host) => Ok(Self::Http(url.to_owned())),
                    "http" => {
                        Err("must be https: alerts do not cross a network in the clear".to_owned())
                    }
                    _ => Err("a webhook's url begins with https://".to_owned()),
                }
            }
            AlertKind::Syslog => {
                if scheme == "unix" {
                    return if rest.starts_with('/') {
                        Ok(Self::Local(rest.to_owned()))
                    } else {
                        Err("names no socket: unix:///dev/log".to_owned())
                    };
                }
                let authority = rest.strip_suffix('/').unwrap_or(rest);
                if authority.contains(['/', '?', '#', '@']) {
                    return Err("a syslog url is scheme://host:port and no more".to_owned());
                }
                // RFC 5426 §3.3, RFC 6587 (as rsyslog's and syslog-ng's manuals
                // have it), RFC 5425 §4.1.
                match scheme.as_str() {
                    "udp" => host_port(authority, 514).map(|(host, port)| Self::Udp(host, port)),
                    "tcp" => host_port(authority, 601).map(|(host, port)| Self::Tcp(host, port)),
                    "tls" => host_port(authority, 6_514).map(|(host, port)| Self::Tls(host, port)),
                    _ => {
                        Err("a syslog url begins with unix://, udp://, tcp:// or tls://".to_owned())
                    }
                }
            }
        }
    }
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`.
fn host_port(authority: &str, default: u16) -> Result<(String, u16), String> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or("an IPv6 address lacks its ]")?;
            host.parse::<std::net::Ipv6Addr>()
                .map_err(|_| "holds no IPv6 address between [ and ]")?;
            match after.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if after.is_empty() => (host, None),
                None => return Err("has something else than a port after ]".to_owned()),
            }
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    if host.is_empty() || host.len() > 255 {
        return Err("names no host".to_owned());
    }
    let port = match port {
        None => default,
        Some(port) => port
            .parse()
            .ok()
            .filter(|&port| port > 0)
            .ok_or("has a port that is no number from 1 to 65535")?,
    };
    Ok((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destination(kind: AlertKind, url: Option<&str>, facility: Option<&str>) -> AlertDestination {
        AlertDestination {
            kind,
            facility: facility.map(str::to_owned),
            url: url.map(str::to_owned),
        }
    }

    #[track_caller]
    fn good(kind: AlertKind, url: &str, expected: Address) {
        assert_eq!(Address::parse(kind, url), Ok(expected), "{url}");
        assert_eq!(destination(kind, Some(url), None).problem(), None, "{url}");
    }

    #[track_caller]
    fn bad(kind: AlertKind, url: Option<&str>, facility: Option<&str>, word: &str) {
        let problem = destination(kind, url, facility).problem();
        let (_, message) = problem.expect("a problem");
        assert!(message.contains(word), "{message}");
    }

    #[test]
    fn urls_say_where_alerts_go() {
        use AlertKind::{Syslog, Webhook};
        good(Syslog, "unix:///dev/log", Address::Local("/dev/log".into()));
        good(
            Syslog,
            "udp://log.example",
            Address::Udp("log.example".into(), 514),
        );
        good(
            Syslog,
            "tcp://10.0.0.1:10514",
            Address::Tcp("10.0.0.1".into(), 10_514),
        );
        good(
            Syslog,
            "tls://[2001:db8::1]",
            Address::Tls("2001:db8::1".into(), 6_514),
        );
        good(
            Syslog,
            "tls://[2001:db8::1]:7000/",
            Address::Tls("2001:db8::1".into(), 7_000),
        );
        let hook = "https://hooks.example/a?b=c";
        good(Webhook, hook, Address::Http(hook.into()));
        let local = "http://127.0.0.1:8080/";
        good(Webhook, local, Address::Http(local.into()));
    }

    #[test]
    fn what_cannot_be_sent_to_is_refused_in_the_policy() {
        use AlertKind::{Syslog, Webhook};
        bad(Webhook, None, None, "needs a url");
        bad(Webhook, Some("http://hooks.example/"), None, "https");
        bad(Webhook, Some("ftp://hooks.example/"), None, "https://");
        bad(
            Webhook,
            Some("https://u:p@hooks.example/"),
            None,
            "password",
        );
        bad(Webhook, Some("https:///x"), None, "no host");
        bad(Webhook, Some("https://a/"), Some("security"), "syslog");
        bad(Webhook, Some("hooks.example"), None, "scheme");
        bad(Webhook, Some("https://a\nb/"), None, "control");
        bad(Webhook, Some("${}"), None, "variable");
        bad(Webhook, Some("https://${A"), None, "without }");
        bad(
            Webhook,
            Some("https://a/${SECRET_KEY}"),
            None,
            "never leaves",
        );
        bad(Syslog, Some("tcp://a:0"), None, "port");
        bad(Syslog, Some("tcp://a:99999"), None, "port");
        bad(Syslog, Some("tcp://a/b"), None, "no more");
        bad(Syslog, Some("http://a"), None, "udp://");
        bad(Syslog, Some("unix://dev/log"), None, "socket");
        bad(Syslog, None, Some("secure"), "security");
        bad(Syslog, None, Some("default"), "security");
    }

    #[test]
    fn security_is_facility_four() {
        let code = |facility| destination(AlertKind::Syslog, None, facility).facility_code();
        assert_eq!(code(None), Some(4));
        assert_eq!(code(Some("security")), Some(4));
        assert_eq!(code(Some("auth")), Some(4));
        assert_eq!(code(Some("local7")), Some(23));
    }

    #[test]
    fn variables_are_filled_in_and_never_shown() {
        let environment =
            |name: &str| (name == "ALERT_WEBHOOK_URL").then(|| "https://h/t0ken".to_owned());
        assert_eq!(
            expand("${ALERT_WEBHOOK_URL}", environment),
            Ok("https://h/t0ken".to_owned())
        );
        assert_eq!(
            expand("${ALERT_WEBHOOK_URL}/x", environment),
            Ok("https://h/t0ken/x".to_owned())
        );
        assert_eq!(
            expand("https://h/", environment),
            Ok("https://h/".to_owned())
        );
        let error = expand("${ALERT_WEBHOOK_URL}/${OTHER}", environment).unwrap_err();
        assert!(
            error.contains("OTHER") && !error.contains("t0ken"),
            "{error}"
        );
        let hidden = Address::parse(AlertKind::Webhook, "http://h.example/t0ken").unwrap_err();
        assert!(!hidden.contains("t0ken"), "{hidden}");
    }
}
