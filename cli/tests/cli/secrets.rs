//! Two hundred secrets and some more, planted in plaintext protocols: each is found, and not
//! one of their bytes is anywhere in what a run leaves or says.

use crate::capture::Capture;
use crate::support::{KEY, Place};
use nsforensics_engine::seal::Key;
use nsforensics_engine::table::read::all_rows;
use std::collections::{BTreeMap, BTreeSet};

const WORD: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const HEX: &[u8] = b"0123456789abcdef";
const UPPER: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const BASE64: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL64: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Letters by chance, the same in every run of the tests.
struct Chance(u64);

impl Chance {
    fn letters(&mut self, len: usize, alphabet: &[u8]) -> String {
        let mut next = || {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 >> 33).expect("31 bits")
        };
        (0..len)
            .map(|_| char::from(alphabet[next() % alphabet.len()]))
            .collect()
    }
}

/// RFC 4648 §4 and §5, without padding.
fn base64(bytes: &[u8], alphabet: &[u8]) -> String {
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let word = three
            .iter()
            .fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
        let word = word << (8 * (3 - three.len()));
        for digit in 0..=three.len() {
            out.push(char::from(
                alphabet[(word >> (18 - 6 * digit) & 63) as usize],
            ));
        }
    }
    out
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 {
                0xedb8_8320 ^ crc >> 1
            } else {
                crc >> 1
            }
        })
    })
}

/// A token of GitHub's: its last six characters are a checksum of the thirty before.
fn github(prefix: &str, chance: &mut Chance) -> String {
    let random = chance.letters(30, WORD);
    let mut crc = crc32(random.as_bytes());
    let mut check = [b'0'; 6];
    for place in check.iter_mut().rev() {
        *place = WORD[(crc % 62) as usize];
        crc /= 62;
    }
    format!("{prefix}{random}{}", String::from_utf8_lossy(&check))
}

/// The kinds that are known by their look.
const SHAPES: [&str; 31] = [
    "aws_access_key",
    "google_api_key",
    "google_oauth_token",
    "google_client_secret",
    "digitalocean_token",
    "databricks_token",
    "supabase_token",
    "vault_token",
    "grafana_token",
    "newrelic_key",
    "sentry_token",
    "github_token",
    "github_token/oauth",
    "github_token/fine",
    "gitlab_token",
    "npm_token",
    "pypi_token",
    "rubygems_key",
    "docker_token",
    "slack_token",
    "stripe_key",
    "sendgrid_key",
    "shopify_token",
    "linear_key",
    "anthropic_key",
    "openai_key",
    "groq_key",
    "huggingface_token",
    "jwt",
    "private_key",
    "url_password",
];

fn shape(kind: &str, chance: &mut Chance) -> String {
    match kind {
        "aws_access_key" => format!("AKIA{}", chance.letters(16, UPPER)),
        "google_api_key" => format!("AIza{}", chance.letters(35, WORD)),
        "google_oauth_token" => format!("ya29.{}", chance.letters(120, WORD)),
        "google_client_secret" => format!("GOCSPX-{}", chance.letters(28, WORD)),
        "digitalocean_token" => format!("dop_v1_{}", chance.letters(64, HEX)),
        "databricks_token" => format!("dapi{}", chance.letters(32, HEX)),
        "supabase_token" => format!("sbp_{}", chance.letters(40, HEX)),
        "vault_token" => format!("hvs.{}", chance.letters(24, WORD)),
        "grafana_token" => format!(
            "glsa_{}_{}",
            chance.letters(32, WORD),
            chance.letters(8, HEX)
        ),
        "newrelic_key" => format!("NRAK-{}", chance.letters(27, UPPER)),
        "sentry_token" => format!("sntryu_{}", chance.letters(64, HEX)),
        "github_token" => github("ghp_", chance),
        "github_token/oauth" => github("gho_", chance),
        "github_token/fine" => {
            format!(
                "github_pat_{}_{}",
                chance.letters(22, WORD),
                chance.letters(59, WORD)
            )
        }
        "gitlab_token" => format!("glpat-{}", chance.letters(20, WORD)),
        "npm_token" => format!("npm_{}", chance.letters(36, WORD)),
        "pypi_token" => format!("pypi-AgEIcHlwaS5vcmc{}", chance.letters(120, WORD)),
        "rubygems_key" => format!("rubygems_{}", chance.letters(48, HEX)),
        "docker_token" => format!("dckr_pat_{}", chance.letters(27, WORD)),
        "slack_token" => format!(
            "xoxb-{}-{}-{}",
            chance.letters(12, b"123456789"),
            chance.letters(12, b"123456789"),
            chance.letters(24, WORD)
        ),
        "stripe_key" => format!("sk_live_{}", chance.letters(24, WORD)),
        "sendgrid_key" => format!(
            "SG.{}.{}",
            chance.letters(22, WORD),
            chance.letters(43, WORD)
        ),
        "shopify_token" => format!("shpat_{}", chance.letters(32, HEX)),
        "linear_key" => format!("lin_api_{}", chance.letters(40, WORD)),
        "anthropic_key" => format!("sk-ant-api03-{}AA", chance.letters(93, WORD)),
        "openai_key" => {
            format!(
                "sk-proj-{}T3BlbkFJ{}",
                chance.letters(74, WORD),
                chance.letters(74, WORD)
            )
        }
        "groq_key" => format!("gsk_{}", chance.letters(52, WORD)),
        "huggingface_token" => format!("hf_{}", chance.letters(34, &WORD[10..])),
        "jwt" => {
            let claims = format!(
                r#"{{"sub":"{}","exp":1700003600}}"#,
                chance.letters(8, WORD)
            );
            format!(
                "{}.{}.{}",
                base64(br#"{"alg":"RS256","typ":"JWT"}"#, URL64),
                base64(claims.as_bytes(), URL64),
                chance.letters(86, WORD)
            )
        }
        "private_key" => {
            let lines: Vec<String> = (0..6).map(|_| chance.letters(64, BASE64)).collect();
            format!(
                "-----BEGIN PRIVATE KEY-----\\n{}\\n-----END PRIVATE KEY-----",
                lines.join("\\n")
            )
        }
        "url_password" => chance.letters(14, WORD),
        other => panic!("{other}"),
    }
}

/// What a client and a server say, in turns.
type Talk = Vec<(bool, Vec<u8>)>;

fn talk(turns: &[(bool, String)]) -> Talk {
    turns
        .iter()
        .map(|(client, text)| (*client, text.clone().into_bytes()))
        .collect()
}

fn exchange(request: String, answer: String) -> Talk {
    talk(&[(true, request), (false, answer)])
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

fn with_body(head: &str, media_type: &str, body: &str) -> String {
    format!(
        "{head}\r\nHost: h.example\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A secret known by its look, in one of many places.
fn by_look(kind: &str, secret: &str, place: usize) -> Talk {
    let get = |header: String| {
        exchange(
            format!("GET /x HTTP/1.1\r\nHost: h.example\r\n{header}\r\n\r\n"),
            OK.to_owned(),
        )
    };
    let shown = match kind {
        "url_password" => format!("postgres://app:{secret}@db.example/x"),
        _ => secret.to_owned(),
    };
    // A key of several lines, or one with an address around it, is no header.
    let place = match kind {
        "private_key" | "url_password" => [0, 1, 6, 0][place % 4],
        _ => place % 10,
    };
    let json = format!("{{\"note\": \"{shown}\", \"n\": 1}}");
    match place {
        0 => exchange(
            "GET /x HTTP/1.1\r\nHost: h.example\r\n\r\n".to_owned(),
            with_body("HTTP/1.1 200 OK", "application/json", &json),
        ),
        1 => exchange(
            with_body("POST /x HTTP/1.1", "application/json", &json),
            OK.to_owned(),
        ),
        2 => get(format!("X-Custom: {shown}")),
        3 => exchange(
            "GET /x HTTP/1.1\r\nHost: h.example\r\n\r\n".to_owned(),
            format!("HTTP/1.1 200 OK\r\nServer: x {shown}\r\nContent-Length: 0\r\n\r\n"),
        ),
        4 => exchange(
            "GET /x HTTP/1.1\r\nHost: h.example\r\n\r\n".to_owned(),
            format!("HTTP/1.1 200 {shown}\r\nContent-Length: 0\r\n\r\n"),
        ),
        5 => exchange(
            "GET /x HTTP/1.1\r\nHost: h.example\r\n\r\n".to_owned(),
            format!("HTTP/1.1 302 Found\r\nLocation: /y/{shown}\r\nContent-Length: 0\r\n\r\n"),
        ),
        6 => {
            let answer = with_body("HTTP/1.1 200 OK", "text/plain", &shown);
            // The middle of the secret lies across a border of segments.
            let (first, second) = answer.split_at(answer.len() - shown.len() / 2);
            talk(&[
                (
                    true,
                    "GET /x HTTP/1.1\r\nHost: h.example\r\n\r\n".to_owned(),
                ),
                (false, first.to_owned()),
                (false, second.to_owned()),
            ])
        }
        7 => get(format!("Referer: http://h.example/{shown}")),
        8 => get(format!("User-Agent: agent {shown}")),
        _ => talk(&[
            (true, "NICK a\r\nUSER a 0 * :a\r\n".to_owned()),
            (false, ":s 001 a :hi\r\n".to_owned()),
            (true, format!("PRIVMSG #c :take {shown} and go\r\n")),
        ]),
    }
}

/// The kinds that are known by where they stand.
const PLACES: [&str; 19] = [
    "ftp_password",
    "smtp_auth_plain",
    "imap_login",
    "pop3_password",
    "telnet_password",
    "ldap_simple_bind",
    "irc_password",
    "nntp_password",
    "http_basic",
    "http_bearer",
    "http_api_key",
    "http_query_secret",
    "http_query_secret/likely",
    "cookie",
    "cookie/set",
    "http_form_password",
    "http_json_secret",
    "http_authorization",
    "http_path_secret",
];

fn by_place(kind: &str, secret: &str) -> Talk {
    let get = |target: &str, header: String| {
        exchange(
            format!("GET {target} HTTP/1.1\r\nHost: h.example\r\n{header}\r\n"),
            OK.to_owned(),
        )
    };
    let said = |turns: &[(bool, &str)]| {
        turns
            .iter()
            .map(|(client, text)| (*client, text.as_bytes().to_vec()))
            .collect()
    };
    match kind {
        "ftp_password" => said(&[
            (false, "220 FTP ready\r\n"),
            (true, "USER u\r\n"),
            (false, "331 go on\r\n"),
            (true, &format!("PASS {secret}\r\n")),
            (false, "230 in\r\n"),
        ]),
        "smtp_auth_plain" => said(&[
            (false, "220 h ESMTP\r\n"),
            (true, "EHLO c\r\n"),
            (false, "250-h\r\n250 AUTH PLAIN\r\n"),
            (
                true,
                &format!(
                    "AUTH PLAIN {}\r\n",
                    base64(format!("\0u\0{secret}").as_bytes(), BASE64)
                ),
            ),
            (false, "235 in\r\n"),
        ]),
        "imap_login" => said(&[
            (false, "* OK IMAP4rev1 ready\r\n"),
            (true, &format!("a1 LOGIN u {secret}\r\n")),
            (false, "a1 OK in\r\n"),
        ]),
        "pop3_password" => said(&[
            (false, "+OK POP3 ready\r\n"),
            (true, "USER u\r\n"),
            (false, "+OK\r\n"),
            (true, &format!("PASS {secret}\r\n")),
            (false, "+OK in\r\n"),
        ]),
        "telnet_password" => vec![
            (false, b"\xff\xfd\x18\xff\xfd\x20".to_vec()),
            (true, b"\xff\xfb\x18\xff\xfc\x20".to_vec()),
            (false, b"login: ".to_vec()),
            (true, b"u\r\n".to_vec()),
            (false, b"Password: ".to_vec()),
            (true, format!("{secret}\r\n").into_bytes()),
            (false, b"$ ".to_vec()),
        ],
        "ldap_simple_bind" => {
            let short = |len: usize| u8::try_from(len).expect("short");
            let mut bind = vec![2, 1, 3, 4, 4];
            bind.extend(b"cn=u");
            bind.extend([0x80, short(secret.len())]);
            bind.extend(secret.as_bytes());
            let mut message = vec![2, 1, 1, 0x60, short(bind.len())];
            message.extend(bind);
            let mut whole = vec![0x30, short(message.len())];
            whole.extend(message);
            vec![
                (true, whole),
                (
                    false,
                    vec![0x30, 12, 2, 1, 1, 0x61, 7, 10, 1, 0, 4, 0, 4, 0],
                ),
            ]
        }
        "irc_password" => said(&[
            (
                true,
                &format!("PASS {secret}\r\nNICK a\r\nUSER a 0 * :a\r\n"),
            ),
            (false, ":s 001 a :hi\r\n"),
        ]),
        "nntp_password" => said(&[
            (false, "200 news server ready\r\n"),
            (true, "AUTHINFO USER u\r\n"),
            (false, "381 go on\r\n"),
            (true, &format!("AUTHINFO PASS {secret}\r\n")),
            (false, "281 in\r\n"),
        ]),
        "http_basic" => get(
            "/x",
            format!(
                "Authorization: Basic {}\r\n",
                base64(format!("u:{secret}").as_bytes(), BASE64)
            ),
        ),
        "http_bearer" => get("/x", format!("Authorization: Bearer {secret}\r\n")),
        "http_api_key" => get("/x", format!("X-API-Key: {secret}\r\n")),
        "http_query_secret" => get(&format!("/x?api_key={secret}"), String::new()),
        "http_query_secret/likely" => get(&format!("/x?token={secret}"), String::new()),
        "cookie" => get("/x", format!("Cookie: a=b; SESSIONID={secret}\r\n")),
        "cookie/set" => exchange(
            "GET /x HTTP/1.1\r\nHost: h.example\r\n\r\n".to_owned(),
            format!(
                "HTTP/1.1 200 OK\r\nSet-Cookie: sid={secret}; Path=/\r\nContent-Length: 0\r\n\r\n"
            ),
        ),
        "http_form_password" => exchange(
            with_body(
                "POST /x HTTP/1.1",
                "application/x-www-form-urlencoded",
                &format!("user=u&password={secret}"),
            ),
            OK.to_owned(),
        ),
        "http_json_secret" => exchange(
            with_body(
                "POST /x HTTP/1.1",
                "application/json",
                &format!("{{\"user\":\"u\",\"password\":\"{secret}\"}}"),
            ),
            OK.to_owned(),
        ),
        "http_authorization" => get("/x", format!("Authorization: {secret}\r\n")),
        "http_path_secret" => get(&format!("/account/reset/{secret}"), String::new()),
        other => panic!("{other}"),
    }
}

/// A frame of HTTP/2 (RFC 9113 §4.1) on stream 1, or on none.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("short");
    let [_, a, b, c] = len.to_be_bytes();
    [&[a, b, c, kind, flags, 0, 0, 0, stream], payload].concat()
}

/// A literal header that no table keeps (RFC 7541 §6.2.2), as it stands.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut out = vec![0];
    for text in [name, value] {
        let mut len = text.len();
        if len < 127 {
            out.push(u8::try_from(len).expect("short"));
        } else {
            out.push(127);
            len -= 127;
            while len > 127 {
                out.push(0x80 | u8::try_from(len & 127).expect("seven bits"));
                len >>= 7;
            }
            out.push(u8::try_from(len).expect("seven bits"));
        }
        out.extend(text.as_bytes());
    }
    out
}

/// A request of HTTP/2 in which the secret lies across a border of frames, in a
/// header or in the body.
fn by_frames(secret: &str, in_header: bool) -> Talk {
    let half = secret.len() / 2;
    let mut client = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    client.extend(frame(4, 0, 0, &[]));
    // :scheme http, :path /, :authority.
    let mut block = vec![if in_header { 0x82 } else { 0x83 }, 0x86, 0x84, 0x41, 9];
    block.extend(b"h.example");
    if in_header {
        block.extend(literal("x-custom", secret));
        let (first, second) = block.split_at(block.len() - half);
        client.extend(frame(1, 1, 1, first));
        client.extend(frame(9, 4, 1, second));
    } else {
        block.extend(literal("content-type", "text/plain"));
        let body = format!("take {secret} and go");
        let (first, second) = body.split_at(5 + half);
        client.extend(frame(1, 4, 1, &block));
        client.extend(frame(0, 0, 1, first.as_bytes()));
        client.extend(frame(0, 1, 1, second.as_bytes()));
    }
    let answer = [frame(4, 0, 0, &[]), frame(1, 5, 1, &[0x88])].concat();
    vec![(true, client), (false, answer)]
}

/// A body under a coding, in blocks that are stored as they are: the secret lies
/// across their border, and so nowhere in the bytes of the connection.
fn by_coding(coding: &str, secret: &str, of_request: bool) -> Talk {
    let body = format!("take {secret} and go").into_bytes();
    let halves = body.split_at(5 + secret.len() / 2);
    let len = |half: &[u8]| u16::try_from(half.len()).expect("short");
    let mut packed = Vec::new();
    if coding == "gzip" {
        // RFC 1952 §2.3, RFC 1951 §3.2.4.
        packed.extend([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
        for (last, half) in [(0, halves.0), (1, halves.1)] {
            packed.push(last);
            packed.extend(len(half).to_le_bytes());
            packed.extend((!len(half)).to_le_bytes());
            packed.extend(half);
        }
        packed.extend(crc32(&body).to_le_bytes());
        packed.extend(u32::from(len(&body)).to_le_bytes());
    } else {
        // RFC 7932 §9.1 and §9.2: a window of 16 bits; blocks of which each is not the
        // last, has a length of four nibbles and is not compressed; and an empty last one.
        for (number, half) in [halves.0, halves.1].into_iter().enumerate() {
            let before = u32::from(number == 0);
            let head = u32::from(len(half) - 1) << 3 | 1 << 19;
            let bytes = (head << before).to_le_bytes();
            packed.extend(&bytes[..3]);
            packed.extend(half);
        }
        packed.push(3);
    }
    let head = |start: &str| {
        let head = format!(
            "{start}\r\nHost: h.example\r\nContent-Type: text/plain\r\nContent-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n",
            packed.len()
        );
        [head.as_bytes(), &packed].concat()
    };
    if of_request {
        vec![
            (true, head("POST /x HTTP/1.1")),
            (false, OK.as_bytes().to_vec()),
        ]
    } else {
        let get = "GET /x HTTP/1.1\r\nHost: h.example\r\n\r\n";
        vec![
            (true, get.as_bytes().to_vec()),
            (false, head("HTTP/1.1 200 OK")),
        ]
    }
}

/// The port that the protocol is used to.
fn port(kind: &str) -> u16 {
    match kind {
        "ftp_password" => 21,
        "smtp_auth_plain" => 25,
        "imap_login" => 143,
        "pop3_password" => 110,
        "telnet_password" => 23,
        "ldap_simple_bind" => 389,
        "irc_password" => 6667,
        "nntp_password" => 119,
        _ => 80,
    }
}

/// A key of several lines counts without its line ends.
fn counted(secret: &str) -> String {
    secret.replace("\\n", "").replace(' ', "")
}

#[test]
fn two_hundred_planted_secrets_are_found_and_stand_nowhere() {
    let mut chance = Chance(0x5eed_5eed_5eed_5eed);
    let mut planted: Vec<(&str, String, Talk)> = Vec::new();
    for round in 0..4 {
        for (number, kind) in SHAPES.into_iter().enumerate() {
            let secret = shape(kind, &mut chance);
            let talk = by_look(kind, &secret, number + 3 * round);
            planted.push((kind, secret, talk));
        }
        for kind in PLACES {
            let secret = chance.letters(17 + round, WORD);
            let talk = by_place(kind, &secret);
            planted.push((kind, secret, talk));
        }
    }
    assert_eq!(planted.len(), 200);
    // And where the bytes of the connection do not show them.
    for (number, kind) in SHAPES.into_iter().enumerate() {
        let secret = shape(kind, &mut chance);
        if matches!(kind, "private_key" | "url_password") {
            continue;
        }
        let talk = match number % 6 {
            0 => by_frames(&secret, true),
            1 => by_frames(&secret, false),
            2 => by_coding("gzip", &secret, true),
            3 => by_coding("gzip", &secret, false),
            4 => by_coding("br", &secret, true),
            _ => by_coding("br", &secret, false),
        };
        planted.push((kind, secret, talk));
    }
    assert_eq!(planted.len(), 229);
    let mut capture = Capture::new();
    for (number, (kind, _, talk)) in (0_u16..).zip(&planted) {
        let turns: Vec<(bool, &[u8])> = talk
            .iter()
            .map(|(client, text)| (*client, &text[..]))
            .collect();
        let client = ([10, 0, 0, 1], 20_000 + number);
        capture = capture.conversation(client, ([192, 0, 2, 7], port(kind)), &turns);
    }
    let place = Place::new();
    place.write("planted.pcap", capture.bytes());
    let ended = place
        .run_keyed(&[
            "analyze",
            "planted.pcap",
            "--out",
            "out",
            "--log-level",
            "trace",
        ])
        .code(0);
    let folder = place.run_folder("out");

    // Each is found, by its keyed hash, as what it is.
    let key = Key::from_secret(KEY.as_bytes()).expect("long enough");
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in all_rows(&folder.join("credentials.parquet")).expect("rows") {
        let text = |column: &str| {
            row.get(column)
                .and_then(|value| value.as_str())
                .unwrap_or_default()
                .to_owned()
        };
        let classes = found.entry(text("hash")).or_default();
        classes.extend([text("class"), text("shape")]);
    }
    let mut missed = Vec::new();
    for (kind, secret, _) in &planted {
        let class = kind.split('/').next().unwrap_or_default();
        let hash = key.redact("secret", counted(secret).as_bytes());
        if !found
            .get(&hash)
            .is_some_and(|classes| classes.contains(class))
        {
            missed.push(*kind);
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");

    // What a run leaves and says, with the tables unpacked.
    let mut leavings: Vec<(String, String)> = vec![
        ("stdout".to_owned(), ended.stdout),
        ("stderr".to_owned(), ended.stderr),
    ];
    for entry in std::fs::read_dir(&folder).expect("the run folder") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        if name.ends_with(".parquet") {
            let rows = all_rows(&path).expect("rows");
            leavings.push((format!("{name}, unpacked"), format!("{rows:?}")));
        }
        let bytes = std::fs::read(&path).expect("readable");
        leavings.push((name, searchable(&bytes)));
    }
    assert!(leavings.len() > 20);
    for (kind, secret, _) in &planted {
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        let whole = base64(secret.as_bytes(), BASE64);
        let forms = [
            secret.clone(),
            secret.to_ascii_lowercase(),
            counted(secret),
            hex.to_ascii_uppercase(),
            hex,
            // Without the last digits, which depend on what follows.
            whole[..whole.len() - 2].to_owned(),
        ];
        for (name, bytes) in &leavings {
            for form in &forms {
                assert!(!bytes.contains(form), "{kind} stands in {name}");
            }
        }
    }
}

/// Bytes as the characters of the same numbers, which can be searched.
fn searchable(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}
