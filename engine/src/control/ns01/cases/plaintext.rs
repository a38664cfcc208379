//! What is said outside TLS.

use super::{Case, Expected, Input, NOT_OBSERVED, PASSED, failed, refused, warned};
use crate::control::Severity::{Critical, High, Info, Low, Medium};
use crate::control::testing::{http, plain, tls13, with_credential};
use crate::proto::plain::{PlaintextFacts, StartTls};
use crate::proto::tls::TlsHandshake;

const PLAINTEXT: &str = "NS-01.plaintext";
const DNS: &str = "NS-01.dns_plaintext";
const UPGRADE: &str = "NS-01.http_upgrade";
const STARTTLS: &str = "NS-01.starttls";

const NOT_REQUIRED: &str = "network: {tls: {required: false}}";
const NO_UPGRADE: &str = "network: {tls: {upgrade_insecure: {enabled: false}}}";
const QUIET_UPGRADE: &str = "network: {tls: {upgrade_insecure: {log_upgrades: false}}}";

/// Status, and where a redirect leads.
type Answered = (Option<u16>, Option<(&'static str, &'static str)>);
/// A redirect to HTTPS on the host that the tests ask for.
const SENT_ON: Answered = (Some(301), Some(("https", "a.example")));
const SERVED: Answered = (Some(200), None);
const UNSEEN: Answered = (None, None);

fn case(
    check: &'static str,
    name: &'static str,
    policy: &'static str,
    facts: PlaintextFacts,
    expected: &[Expected],
) -> Case {
    Case {
        check,
        name,
        policy,
        input: Input::Plain(facts),
        expected: expected.to_vec(),
    }
}

fn over_tls(check: &'static str, name: &'static str, input: Input, expected: Expected) -> Case {
    Case {
        check,
        name,
        policy: "",
        input,
        expected: vec![expected],
    }
}

fn upgradable(state: StartTls) -> PlaintextFacts {
    PlaintextFacts {
        starttls: Some(state),
        ..plain("smtp")
    }
}

fn dns(messages: u64) -> PlaintextFacts {
    PlaintextFacts {
        infrastructure: true,
        dns_messages: messages,
        ..plain("dns")
    }
}

/// Exchanges whose answers are OCSP responses and the like.
fn about_certificates(answers: &[Answered]) -> PlaintextFacts {
    let mut facts = http("a.example", answers);
    for exchange in &mut facts.http {
        exchange.pki = exchange.status == Some(200);
    }
    facts
}

fn unfinished() -> TlsHandshake {
    TlsHandshake {
        established: false,
        ..tls13()
    }
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = of_plaintext();
    cases.extend(of_http_upgrade());
    cases.extend(of_starttls());
    cases.extend([
        case(DNS, "two messages", "", dns(2), &[warned(Info, "dns")]),
        case(DNS, "no whole message", "", dns(0), &[NOT_OBSERVED]),
        case(
            DNS,
            "other infrastructure",
            "",
            PlaintextFacts {
                infrastructure: true,
                ..plain("ntp")
            },
            &[],
        ),
        over_tls(DNS, "DNS over TLS", Input::TlsOn(853, tls13()), PASSED),
        Case {
            expected: Vec::new(),
            ..over_tls(DNS, "TLS for something else", Input::Tls(tls13()), PASSED)
        },
    ]);
    cases
}

fn of_plaintext() -> Vec<Case> {
    let telnet = || plain("telnet");
    let ftp = || with_credential(plain("ftp"), "ftp_password");
    let no_tls = |infrastructure, encrypted| PlaintextFacts {
        infrastructure,
        encrypted,
        ..plain("ntp")
    };
    vec![
        case(PLAINTEXT, "telnet", "", telnet(), &[failed(High, "telnet")]),
        case(
            PLAINTEXT,
            "a password",
            "",
            ftp(),
            &[failed(Critical, "ftp")],
        ),
        case(
            PLAINTEXT,
            "not required",
            NOT_REQUIRED,
            telnet(),
            &[warned(Info, "telnet")],
        ),
        case(
            PLAINTEXT,
            "not required, a password",
            NOT_REQUIRED,
            ftp(),
            &[failed(Critical, "ftp")],
        ),
        case(PLAINTEXT, "infrastructure", "", no_tls(true, false), &[]),
        case(
            PLAINTEXT,
            "encrypted by itself",
            "",
            no_tls(false, true),
            &[],
        ),
        case(
            PLAINTEXT,
            "upgraded by STARTTLS",
            "",
            upgradable(StartTls::Taken),
            &[PASSED],
        ),
        case(
            PLAINTEXT,
            "a password before STARTTLS",
            "",
            with_credential(upgradable(StartTls::Taken), "smtp_auth_plain"),
            &[failed(Critical, "smtp")],
        ),
        case(
            PLAINTEXT,
            "STARTTLS not taken",
            "",
            upgradable(StartTls::OfferedNotTaken),
            &[failed(High, "smtp")],
        ),
        case(
            PLAINTEXT,
            "HTTP served",
            "",
            http("a.example", &[SERVED]),
            &[failed(High, "http")],
        ),
        case(
            PLAINTEXT,
            "status of certificates, as it is meant to be",
            "",
            about_certificates(&[SERVED, SERVED]),
            &[],
        ),
        case(
            PLAINTEXT,
            "HTTP only sent on",
            "",
            http("a.example", &[SENT_ON, SENT_ON]),
            &[],
        ),
        case(
            PLAINTEXT,
            "HTTP sent on, then served",
            "",
            http("a.example", &[SENT_ON, SERVED]),
            &[failed(High, "http")],
        ),
        case(
            PLAINTEXT,
            "a cookie to a redirect",
            "",
            with_credential(http("a.example", &[SENT_ON]), "cookie"),
            &[failed(Critical, "http")],
        ),
        case(
            PLAINTEXT,
            "more exchanges than are kept",
            "",
            PlaintextFacts {
                http_exchanges: 300,
                ..http("a.example", &[SENT_ON])
            },
            &[failed(High, "http")],
        ),
        case(
            PLAINTEXT,
            "upgrade required",
            "",
            http("a.example", &[(Some(426), None)]),
            &[refused("http")],
        ),
        case(
            PLAINTEXT,
            "upgrades not wanted",
            NO_UPGRADE,
            http("a.example", &[SENT_ON]),
            &[failed(High, "http")],
        ),
        over_tls(PLAINTEXT, "TLS", Input::Tls(tls13()), PASSED),
        over_tls(
            PLAINTEXT,
            "TLS that did not complete",
            Input::Tls(unfinished()),
            NOT_OBSERVED,
        ),
    ]
}

fn of_http_upgrade() -> Vec<Case> {
    let elsewhere = (Some(302), Some(("https", "other.example")));
    let plain_redirect = (Some(302), Some(("http", "a.example")));
    let relative = (Some(302), Some(("", "")));
    vec![
        case(
            UPGRADE,
            "sent on",
            "",
            http("a.example", &[SENT_ON]),
            &[warned(Low, "a.example upgraded")],
        ),
        case(
            UPGRADE,
            "sent on, not to be logged",
            QUIET_UPGRADE,
            http("a.example", &[SENT_ON]),
            &[PASSED],
        ),
        case(
            UPGRADE,
            "sent on, upgrades not wanted",
            NO_UPGRADE,
            http("a.example", &[SENT_ON]),
            &[failed(High, "a.example served")],
        ),
        case(
            UPGRADE,
            "served",
            "",
            http("a.example", &[SERVED]),
            &[failed(High, "a.example served")],
        ),
        case(
            UPGRADE,
            "status of certificates",
            "",
            about_certificates(&[SERVED, SERVED]),
            &[warned(Info, "a.example pki")],
        ),
        case(
            UPGRADE,
            "status of certificates, and an error",
            "",
            about_certificates(&[SERVED, (Some(404), None)]),
            &[
                warned(Info, "a.example pki"),
                failed(High, "a.example served"),
            ],
        ),
        case(
            UPGRADE,
            "served, TLS not required",
            NOT_REQUIRED,
            http("a.example", &[SERVED]),
            &[warned(Info, "a.example served")],
        ),
        case(
            UPGRADE,
            "sent on to another host",
            "",
            http("a.example", &[elsewhere]),
            &[failed(High, "a.example served")],
        ),
        case(
            UPGRADE,
            "sent on in plaintext",
            "",
            http("a.example", &[plain_redirect]),
            &[failed(High, "a.example served")],
        ),
        case(
            UPGRADE,
            "a relative redirect",
            "",
            http("a.example", &[relative]),
            &[failed(High, "a.example served")],
        ),
        case(
            UPGRADE,
            "some sent on, some served, one unanswered",
            "",
            http("a.example", &[SENT_ON, SERVED, SERVED, UNSEEN]),
            &[
                warned(Low, "a.example upgraded"),
                failed(High, "a.example served"),
                NOT_OBSERVED,
            ],
        ),
        case(
            UPGRADE,
            "refused",
            "",
            http("a.example", &[(Some(426), None)]),
            &[refused("a.example")],
        ),
        case(
            UPGRADE,
            "no answer captured",
            "",
            http("a.example", &[UNSEEN]),
            &[NOT_OBSERVED],
        ),
        case(UPGRADE, "not HTTP", "", plain("telnet"), &[]),
    ]
}

fn of_starttls() -> Vec<Case> {
    vec![
        case(
            STARTTLS,
            "not taken",
            "",
            upgradable(StartTls::OfferedNotTaken),
            &[failed(Medium, "smtp: offered, not taken")],
        ),
        case(
            STARTTLS,
            "refused by the server",
            "",
            upgradable(StartTls::Refused),
            &[failed(Medium, "smtp: refused")],
        ),
        case(
            STARTTLS,
            "stripped",
            "",
            upgradable(StartTls::Stripped),
            &[failed(Medium, "smtp: stripped")],
        ),
        case(
            STARTTLS,
            "taken",
            "",
            upgradable(StartTls::Taken),
            &[PASSED],
        ),
        case(
            STARTTLS,
            "never offered",
            "",
            upgradable(StartTls::NotOffered),
            &[NOT_OBSERVED],
        ),
        case(STARTTLS, "a protocol without it", "", plain("telnet"), &[]),
    ]
}
