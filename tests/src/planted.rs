//! A secret of every rule of `rules/secrets.tsv`, in every place of an HTTP
//! conversation that a table quotes: alone, glued to a word, and where the text is
//! cut. Nothing of it may stand anywhere in the run folder, however it is encoded.

use crate::behaviour::Capture;
use crate::runs::{self, How, text};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use std::collections::BTreeSet;

const WORD: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Letters by chance, the same for the same seed.
fn letters(seed: u64, len: usize, alphabet: &str) -> String {
    let alphabet = alphabet.as_bytes();
    let mut state = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as usize
    };
    (0..len)
        .map(|_| char::from(alphabet[next() % alphabet.len()]))
        .collect()
}

/// The six letters that follow a token of GitHub's.
fn checksum(random: &str) -> String {
    let mut crc = flate2::Crc::new();
    crc.update(random.as_bytes());
    let mut value = crc.sum() as usize;
    let mut out = vec![0; 6];
    for place in out.iter_mut().rev() {
        *place = WORD.as_bytes()[value % 62];
        value /= 62;
    }
    String::from_utf8(out).expect("letters")
}

/// One rule's secret: class, whether it may be glued to a word, what is sent, and
/// what of it must not be seen.
struct Planted {
    class: &'static str,
    glued: bool,
    sent: String,
    hidden: String,
}

/// A secret of each rule that fits into a line.
fn planted() -> Vec<Planted> {
    let rules = include_str!("../../rules/secrets.tsv");
    let rules = rules
        .lines()
        .filter(|line| !line.starts_with('#') && !line.starts_with("class\t"));
    let mut all = Vec::new();
    for (seed, rule) in (0_u64..).map(|n| n * 10).zip(rules) {
        let columns: Vec<&'static str> = rule.split('\t').collect();
        let &[class, prefix, chars, length, test, _] = &columns[..] else {
            panic!("{rule}");
        };
        let glued = !prefix.starts_with('|');
        let prefix = prefix.trim_start_matches('|');
        let named = prefix.ends_with('~');
        let prefix = prefix.trim_end_matches('~');
        let least: usize = length
            .split('-')
            .next()
            .unwrap_or_default()
            .parse()
            .expect("a length");
        let alphabet = match chars {
            "hex" | "hex-" => "0123456789abcdef",
            "base32" => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567",
            "base36" => "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
            _ => WORD,
        };
        let body = least - if named { 0 } else { prefix.len() };
        let random = |len| letters(seed, len, alphabet);
        let body = match test {
            "crc62" => {
                let random = random(30);
                let check = checksum(&random);
                random + &check
            }
            "alpha" => letters(seed, body, &WORD[10..]),
            "openai" => random(20) + "T3BlbkFJ" + &letters(seed + 1, 40, WORD),
            "slack" => format!("908172635408-{}", random(30)),
            "slack_hook" => format!("0A1B2C3D4/B0A1B2C3D4E/{}", random(24)),
            "discord_hook" => format!("908172635408172635/{}", random(68)),
            "sendgrid" => format!("{}.{}", random(22), letters(seed + 1, 43, WORD)),
            "jwt" => format!(
                "hbGciOiJSUzI1NiJ9.{}.{}",
                URL_SAFE_NO_PAD.encode(format!("{{\"sub\":\"{}\"}}", random(20))),
                letters(seed + 1, 86, WORD)
            ),
            "userinfo" => format!("app:{}@db.internal", random(24)),
            // Lines of its own.
            "pem" => continue,
            _ => random(body),
        };
        let sent = match (named, prefix) {
            (true, _) => format!("{prefix}={body}"),
            // Behind the number of a bot.
            (_, ":AA") => format!("123456789{prefix}{body}"),
            _ => format!("{prefix}{body}"),
        };
        let secret = if test == "userinfo" {
            &random(24)
        } else {
            &body
        };
        // The last four may be shown.
        let end = secret.len() - 4;
        let hidden = secret[end.saturating_sub(12)..end].to_owned();
        all.push(Planted {
            class,
            glued,
            sent,
            hidden,
        });
    }
    all
}

/// Request and answer with a text in every place that may hold it.
fn conversation(secret: &str, word: &str, cut: bool) -> (Vec<u8>, Vec<u8>) {
    // What is kept of a text ends within the secret.
    let fill = |most: usize| match cut {
        true => format!("{} ", "w".repeat(most - 1 - secret.len() / 2 - word.len())),
        false => String::new(),
    };
    let t = format!("{word}{secret}");
    // As a name, behind which none can stand.
    let token: String = t
        .rsplit_once('=')
        .map_or(&*t, |(_, value)| value)
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c))
        .collect();
    // Where it has to stand behind something: a word, or what ends one.
    let behind = if word.is_empty() { "a-" } else { "a" };
    let dotted = |most| fill(most).replace(' ', ".");
    let body = format!(
        "{{\"jsonrpc\":\"2.0\",\"method\":\"{}{t}\",\"model\":\"{}{t}\",\"params\":{{\"x\":\"{t}\"}}}}",
        fill(128.max(secret.len())),
        fill(128.max(secret.len())),
    );
    let jwt = [
        format!("{{\"alg\":\"{}{t}\"}}", fill(128.max(secret.len()))),
        format!(
            "{{\"iss\":\"{}{t}\",\"sub\":\"{t}\"}}",
            fill(128.max(secret.len()))
        ),
    ]
    .map(|part| URL_SAFE_NO_PAD.encode(part))
    .join(".");
    let request = format!(
        "POST /{}{t}/x;p={t}?{t}=1&a={t}&{t} HTTP/1.1\r\n\
         Host: {}{token}.example\r\n\
         User-Agent: {}{t}\r\n\
         Referer: https://r.example/{}{t}?{t}\r\n\
         Origin: https://{}{t}\r\n\
         X-{token}: 1\r\n\
         X-Odd: {t}\r\n\
         {token}: {t}\r\n\
         Cookie: {token}=1; sid={t}; {behind}{token}session=2\r\n\
         Authorization: {token} x\r\n\
         Proxy-Authorization: Bearer {jwt}.c2ln\r\n\
         X-Api-Key: {t}\r\n\
         Content-Type: application/json; {t}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        dotted(1024.max(secret.len())),
        dotted(255.max(secret.len())),
        fill(256.max(secret.len())),
        dotted(512.max(secret.len())),
        dotted(255.max(secret.len())),
        body.len(),
    );
    let answer = format!(
        "HTTP/1.1 302 {}{t}\r\n\
         Server: {}{t}\r\n\
         Location: https://l.example/{}{t}?{t}\r\n\
         Content-Security-Policy: {}{t}\r\n\
         Strict-Transport-Security: {t}\r\n\
         Set-Cookie: {token}=1; SameSite={t}; Path={t}\r\n\
         Set-Cookie: {behind}{token}session=1\r\n\
         {token}: {t}\r\n\
         Content-Type: text/{token}\r\n\
         Content-Length: 0\r\n\r\n",
        fill(128.max(secret.len())),
        fill(128.max(secret.len())),
        dotted(512.max(secret.len())),
        fill(256.max(secret.len())),
    );
    (request.into_bytes(), answer.into_bytes())
}

/// How a text may stand in a file.
fn spellings(text: &str) -> Vec<String> {
    let bytes = text.as_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let percent: String = bytes.iter().map(|byte| format!("%{byte:02X}")).collect();
    let mut all = vec![
        text.to_owned(),
        text.to_ascii_lowercase(),
        hex.to_uppercase(),
        hex,
        percent.to_lowercase(),
        percent,
    ];
    // Wherever it begins among the bytes that are encoded, whole groups stay the same.
    for skipped in 0..3 {
        let whole = &bytes[skipped..];
        let whole = &whole[..whole.len() / 3 * 3];
        all.push(STANDARD.encode(whole));
        all.push(URL_SAFE_NO_PAD.encode(whole));
    }
    all
}

#[test]
fn secrets_in_every_place_stand_nowhere_in_a_run() {
    let planted = planted();
    assert!(planted.len() > 60);
    let mut capture = Capture::new();
    let mut at = 1_700_000_000;
    for secret in &planted {
        for (word, cut) in [("", false), ("bot", false), ("", true)] {
            if !word.is_empty() && !secret.glued {
                continue;
            }
            let (request, answer) = conversation(&secret.sent, word, cut);
            capture.connection(at, 7, 80, &request, &answer);
            at += 10;
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("planted.pcap");
    std::fs::write(&path, capture.bytes()).expect("a capture");
    let report = runs::run(&path, &folder.path().join("out"), &How::default()).expect("a run");
    // What the files say, and what they hold once they are unpacked.
    let mut said = String::new();
    for entry in std::fs::read_dir(&report.folder).expect("the run folder") {
        let path = entry.expect("an entry").path();
        let bytes = std::fs::read(&path).expect("a file");
        said.push_str(&String::from_utf8_lossy(&bytes));
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        if path.extension().is_some_and(|end| end == "parquet") {
            for row in runs::table(&report.folder, &stem) {
                for value in row.values() {
                    said.push_str(&value.to_string());
                    said.push('\n');
                }
            }
        }
    }
    let transactions = runs::table(&report.folder, "http_transactions");
    assert!(transactions.len() > 2 * planted.len());
    assert!(said.contains("POST"), "the tables were read");
    let told: BTreeSet<String> = runs::table(&report.folder, "credentials")
        .iter()
        .flat_map(|row| [text(row, "class").to_owned(), text(row, "shape").to_owned()])
        .collect();
    let mut problems = Vec::new();
    for secret in &planted {
        if !told.contains(secret.class) {
            problems.push(format!("{}: not told of: {}", secret.class, secret.sent));
        }
        for spelling in spellings(&secret.hidden) {
            if let Some(at) = said.find(&spelling) {
                let from = (0..=at.saturating_sub(60))
                    .rev()
                    .find(|at| said.is_char_boundary(*at));
                let around: String = said[from.unwrap_or(0)..].chars().take(160).collect();
                problems.push(format!("{} as {spelling}: {around}", secret.class));
            }
        }
    }
    println!(
        "planted: {} secrets, {} requests",
        planted.len(),
        transactions.len()
    );
    assert!(
        problems.is_empty(),
        "{}:\n{}",
        problems.len(),
        problems.join("\n")
    );
}
