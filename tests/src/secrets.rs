//! Every secret that is told of in the public captures, judged by hand from what
//! the protocol says there: the passwords and sessions of people who recorded
//! themselves are true, everything else is a false alarm.

use crate::public::{self, text};
use crate::runs::{self, How};
use std::collections::BTreeMap;

/// Capture, class, name of the place, rows, whether they are secrets, and what they are.
type Judged = (
    &'static str,
    &'static str,
    &'static str,
    u64,
    bool,
    &'static str,
);

const JUDGED: &[Judged] = &[
    (
        "broken/suricata-verify/ftp/ftp-too-long-command/ftp-too-long-command.pcap",
        "ftp_password",
        "",
        1,
        true,
        "PASS behind USER",
    ),
    (
        "broken/suricata-verify/mqtt-events-invalid-qos/input.pcap",
        "mqtt_password",
        "",
        1,
        true,
        "the password of a CONNECT",
    ),
    (
        "certs/suricata-verify/base64-decode-5885/input.pcap",
        "cookie",
        "phpsessid",
        3,
        true,
        "a session of PHP, set once and sent twice (two flows)",
    ),
    (
        "malware_c2/nDPI/default/WebattackSQLinj.pcap",
        "cookie",
        "phpsessid",
        9,
        true,
        "the attacker's session, in nine flows",
    ),
    (
        "malware_c2/nDPI/default/emotet.pcap",
        "smtp_auth_login",
        "",
        1,
        true,
        "the answer to `Password:` of AUTH LOGIN",
    ),
    (
        "malware_c2/zeek-agenttesla-detector/a30789ce-1e1c-4f96-a097-78c34b9fb612.pcap",
        "smtp_auth_login",
        "",
        1,
        true,
        "the answer to `Password:` of AUTH LOGIN",
    ),
    (
        "malware_c2/zeek-agenttesla-detector/db9f075c-7879-4957-923a-f79fac957a2d.pcap",
        "smtp_auth_login",
        "",
        1,
        true,
        "the answer to `Password:` of AUTH LOGIN",
    ),
    (
        "malware_c2/zeek-agenttesla-detector/f9421792-7d2c-47d3-90e0-07eb54ae12fa.pcap",
        "ftp_password",
        "",
        3,
        true,
        "PASS behind USER, in three connections",
    ),
    (
        "other/nDPI/default/sip.pcap",
        "sip_digest",
        "",
        12,
        true,
        "Authorization: Digest of REGISTER, each with a response of its own",
    ),
    (
        "other/suricata-verify/irc/input.pcap",
        "irc_password",
        "",
        1,
        true,
        "PASS of a bot before NICK and USER",
    ),
    (
        "starttls/nDPI/default/imap.pcap",
        "imap_login",
        "",
        1,
        true,
        "LOGIN with user and password",
    ),
    (
        "starttls/suricata-verify/detect-ftp/ftp-active-dynamic_port-02/ftp-active-dynamic_port.pcap",
        "ftp_password",
        "",
        1,
        true,
        "PASS behind USER",
    ),
    (
        "starttls/suricata-verify/smtp-long-DATA-line/input.pcap",
        "smtp_auth_login",
        "",
        1,
        true,
        "the answer to `Password:` of AUTH LOGIN",
    ),
    (
        "tcp_reassembly/zeek/http/zero-length-bodies-with-drops.pcap",
        "cookie",
        "_sid",
        1,
        false,
        "the number of a visitor that a counter gave, no session: it opens nothing",
    ),
    (
        "tls/suricata-verify/mqtt-events-missing-connect/input.pcap",
        "http_basic",
        "authorization",
        1,
        true,
        "user and password of a management page",
    ),
];

/// Most false alarms over all captures.
const MAX_FALSE: u64 = 1;

#[test]
fn secrets_told_of_in_public_captures_are_secrets() {
    let Some(folder) = public::folder("secrets_told_of_in_public_captures_are_secrets") else {
        return;
    };
    let out = tempfile::tempdir().expect("a folder for runs");
    let mut told: BTreeMap<(String, String, String), u64> = BTreeMap::new();
    let (mut captures, mut bytes) = (0_u64, 0_u64);
    for truth in public::truth(&folder) {
        let path = text(&truth, "path").to_owned();
        let Ok(report) = runs::run(&folder.join(&path), out.path(), &How::default()) else {
            continue;
        };
        captures += 1;
        bytes += public::number(&truth, "bytes_captured");
        for row in runs::table(&report.folder, "credentials") {
            let key = |column| runs::text(&row, column).to_owned();
            let place = (path.clone(), key("class"), key("name"));
            *told.entry(place).or_default() += 1;
        }
        std::fs::remove_dir_all(&report.folder).expect("the run folder can be removed");
    }
    let known: BTreeMap<_, _> = JUDGED
        .iter()
        .map(|(path, class, name, count, is_true, what)| {
            let place = ((*path).to_owned(), (*class).to_owned(), (*name).to_owned());
            (place, (*count, *is_true, *what))
        })
        .collect();
    let mut classes: BTreeMap<&str, [u64; 2]> = BTreeMap::new();
    let mut problems = Vec::new();
    for (place, count) in &told {
        match known.get(place) {
            Some((expected, is_true, _)) if expected == count => {
                classes.entry(&place.1).or_default()[usize::from(!is_true)] += count;
            }
            _ => {
                // What nobody looked at is false until somebody did.
                classes.entry(&place.1).or_default()[1] += count;
                problems.push(format!(
                    "{place:?}: {count} rows, judged {:?}",
                    known.get(place)
                ));
            }
        }
    }
    problems.extend(
        known
            .keys()
            .filter(|place| !told.contains_key(*place))
            .map(|place| format!("{place:?}: not told of any more")),
    );
    for (class, [right, wrong]) in &classes {
        println!("secrets {class}: {right} true, {wrong} false");
    }
    for (path, class, name, count, is_true, what) in JUDGED {
        let is_true = if *is_true { "true" } else { "FALSE" };
        println!("    {is_true} {count} {class} {name:?} {path}: {what}");
    }
    let wrong: u64 = classes.values().map(|[_, wrong]| wrong).sum();
    println!("secrets: {wrong} false of {captures} captures and {bytes} bytes");
    assert!(problems.is_empty(), "{problems:#?}");
    assert!(wrong <= MAX_FALSE, "{wrong} false alarms");
}
