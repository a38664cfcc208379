//! Services whose regular connections are known and harmless by themselves. A
//! finding that meets one is kept, with the reason, as suppressed: never dropped.

/// Why a series is explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// In words, as `findings.suppressed_by` has it.
    pub(crate) reason: &'static str,
}

/// Names and what is below them, whose clients poll by design.
const POLLED: [(&str, &str); 20] = [
    ("archive.ubuntu.com", "package mirror"),
    ("captive.apple.com", "connectivity check of the system"),
    ("clients3.google.com", "connectivity check of the system"),
    (
        "connectivity-check.ubuntu.com",
        "connectivity check of the system",
    ),
    (
        "connectivitycheck.gstatic.com",
        "connectivity check of the system",
    ),
    ("ctldl.windowsupdate.com", "trust list update of the system"),
    ("deb.debian.org", "package mirror"),
    (
        "detectportal.firefox.com",
        "connectivity check of the browser",
    ),
    ("download.windowsupdate.com", "update of the system"),
    ("dns.msftncsi.com", "connectivity check of the system"),
    ("mirrors.fedoraproject.org", "package mirror"),
    ("nmcheck.gnome.org", "connectivity check of the system"),
    (
        "network-test.debian.org",
        "connectivity check of the system",
    ),
    ("ocsp.apple.com", "certificate status"),
    ("ocsp.digicert.com", "certificate status"),
    ("o.lencr.org", "certificate status"),
    ("security.debian.org", "package mirror"),
    ("security.ubuntu.com", "package mirror"),
    (
        "www.msftconnecttest.com",
        "connectivity check of the system",
    ),
    ("www.msftncsi.com", "connectivity check of the system"),
];

/// Names and what is below them, to which clients hold a connection for messages.
const PUSHED: [&str; 5] = [
    "mtalk.google.com",
    "notify.windows.com",
    "push.apple.com",
    "push.services.mozilla.com",
    "wns.windows.com",
];

/// Whether a destination sends messages over connections that stay.
pub(crate) fn is_push(destination: &str) -> bool {
    PUSHED.iter().any(|name| is_at(destination, name))
}

/// Whether a destination is a name or lies below it.
fn is_at(destination: &str, name: &str) -> bool {
    let rest = destination.strip_suffix(name);
    rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// What a regular series to this destination, port and service is known as.
pub(crate) fn known_periodic(
    destination: &str,
    port: u16,
    udp: bool,
    service: &str,
) -> Option<Known> {
    let known = |reason| Some(Known { reason });
    match (udp, port, service) {
        // By its content too: a port alone is no proof.
        (true, 123, "ntp") => return known("known periodic service: NTP keeps clocks by polling"),
        (_, 53, "dns") => {
            return known(
                "known periodic service: DNS; what is asked is judged by dns_tunneling and domain_generation",
            );
        }
        (true, 67 | 547, "dhcp") => return known("known periodic service: DHCP renews its leases"),
        (true, 137 | 138, _) => return known("known periodic service: NetBIOS announces itself"),
        (true, 161 | 162, "snmp") => return known("known periodic service: SNMP polls by design"),
        _ => {}
    }
    let polled = POLLED.iter().find(|(name, _)| is_at(destination, name));
    polled.map(|(_, what)| Known {
        reason: match *what {
            "package mirror" => "known periodic service: package mirror",
            "certificate status" => "known periodic service: certificate status",
            "update of the system" | "trust list update of the system" => {
                "known periodic service: update of the system"
            }
            _ => "known periodic service: connectivity check",
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_known_by_port_and_content() {
        let known = |to, port, udp, service| known_periodic(to, port, udp, service).is_some();
        assert!(known("192.0.2.1", 123, true, "ntp"));
        assert!(!known("192.0.2.1", 123, true, ""));
        assert!(!known("192.0.2.1", 123, false, "ntp"));
        assert!(known("192.0.2.1", 53, true, "dns"));
        assert!(!known("192.0.2.1", 443, false, "ssl"));
        assert!(known("deb.debian.org", 80, false, "http"));
        assert!(known("a.deb.debian.org", 80, false, "http"));
        assert!(!known("notdeb.debian.org.example", 80, false, "http"));
        assert!(!known("xdeb.debian.org", 80, false, "http"));
        assert!(is_push("mtalk.google.com") && is_push("12-courier.push.apple.com"));
        assert!(!is_push("xmtalk.google.com") && !is_push("push.example"));
    }
}
