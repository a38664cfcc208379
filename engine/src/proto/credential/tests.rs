//! Secrets of every class, however the stream is cut, and what only looks like one.

use super::*;
use std::collections::BTreeSet;

const WORD: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const HEX: &[u8] = b"0123456789abcdef";

/// Letters of an alphabet by chance, the same for the same seed.
fn letters(seed: u64, len: usize, alphabet: &[u8]) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..len)
        .map(|_| char::from(alphabet[usize::try_from(next() >> 33).unwrap() % alphabet.len()]))
        .collect()
}

fn base62(mut value: u32) -> String {
    let mut out = [b'0'; 6];
    for place in out.iter_mut().rev() {
        *place = WORD[(value % 62) as usize];
        value /= 62;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Table-driven, unlike the program's.
fn crc32(bytes: &[u8]) -> u32 {
    let table: Vec<u32> = (0..256_u32)
        .map(|n| {
            (0..8).fold(n, |c, _| {
                if c & 1 == 1 {
                    0xedb8_8320 ^ c >> 1
                } else {
                    c >> 1
                }
            })
        })
        .collect();
    !bytes.iter().fold(u32::MAX, |c, b| {
        table[((c ^ u32::from(*b)) & 0xff) as usize] ^ c >> 8
    })
}

fn url64(bytes: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// A secret of each class, as its maker makes them.
fn samples() -> Vec<(&'static str, String)> {
    let w = |seed, len| letters(seed, len, WORD);
    let h = |seed, len| letters(seed, len, HEX);
    let github = |prefix: &str, seed| {
        let random = letters(seed, 30, WORD);
        let check = base62(crc32(random.as_bytes()));
        format!("{prefix}{random}{check}")
    };
    let base32 = |seed, len| letters(seed, len, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567");
    let upper = |seed, len| letters(seed, len, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789");
    let digits = |seed, len| letters(seed, len, b"123456789");
    let jwt = format!(
        "{}.{}.{}",
        url64(r#"{"alg":"RS256","typ":"JWT"}"#),
        url64(r#"{"sub":"17","exp":1700000000}"#),
        w(1, 86)
    );
    let lines: Vec<String> = (0..12).map(|n| w(100 + n, 64)).collect();
    let pem = format!(
        "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----",
        lines.join("\n")
    );
    vec![
        ("aws_access_key", format!("AKIA{}", base32(2, 16))),
        ("aws_access_key", format!("ASIA{}", base32(3, 16))),
        ("azure_storage_key", format!("{}==", w(4, 86))),
        ("google_api_key", format!("AIza{}", w(5, 35))),
        ("google_oauth_token", format!("ya29.{}", w(6, 120))),
        ("google_client_secret", format!("GOCSPX-{}", w(7, 28))),
        ("digitalocean_token", format!("dop_v1_{}", h(8, 64))),
        ("databricks_token", format!("dapi{}", h(9, 32))),
        ("supabase_token", format!("sbp_{}", h(10, 40))),
        ("vault_token", format!("hvs.{}", w(11, 24))),
        ("grafana_token", format!("glsa_{}_{}", w(12, 32), h(13, 8))),
        ("newrelic_key", format!("NRAK-{}", upper(14, 27))),
        ("sentry_token", format!("sntryu_{}", h(15, 64))),
        ("github_token", github("ghp_", 16)),
        ("github_token", github("gho_", 17)),
        ("github_token", github("ghs_", 18)),
        (
            "github_token",
            format!("github_pat_{}_{}", w(19, 22), w(20, 59)),
        ),
        ("gitlab_token", format!("glpat-{}", w(21, 20))),
        ("npm_token", format!("npm_{}", w(22, 36))),
        ("pypi_token", format!("pypi-AgEIcHlwaS5vcmc{}", w(23, 120))),
        ("rubygems_key", format!("rubygems_{}", h(24, 48))),
        ("docker_token", format!("dckr_pat_{}", w(25, 27))),
        (
            "slack_token",
            format!("xoxb-{}-{}-{}", digits(26, 12), digits(27, 12), w(28, 24)),
        ),
        (
            "slack_webhook",
            format!(
                "/services/T{}/B{}/{}",
                upper(29, 8),
                upper(30, 10),
                w(31, 24)
            ),
        ),
        (
            "discord_webhook",
            format!("/api/webhooks/{}/{}", digits(32, 18), w(33, 68)),
        ),
        ("stripe_key", format!("sk_live_{}", w(34, 24))),
        ("sendgrid_key", format!("SG.{}.{}", w(35, 22), w(36, 43))),
        ("shopify_token", format!("shpat_{}", h(37, 32))),
        ("postman_key", format!("PMAK-{}-{}", h(38, 24), h(39, 34))),
        ("linear_key", format!("lin_api_{}", w(40, 40))),
        ("notion_token", format!("ntn_{}", w(41, 46))),
        ("anthropic_key", format!("sk-ant-api03-{}AA", w(42, 93))),
        (
            "openai_key",
            format!("sk-proj-{}T3BlbkFJ{}", w(43, 74), w(44, 74)),
        ),
        ("openrouter_key", format!("sk-or-v1-{}", h(45, 64))),
        ("llm_key", format!("sk-{}", h(46, 32))),
        ("groq_key", format!("gsk_{}", w(47, 52))),
        ("xai_key", format!("xai-{}", w(48, 80))),
        ("perplexity_key", format!("pplx-{}", w(49, 48))),
        (
            "huggingface_token",
            format!("hf_{}", letters(50, 34, &WORD[10..])),
        ),
        ("replicate_token", format!("r8_{}", w(51, 37))),
        ("age_key", format!("AGE-SECRET-KEY-1{}", upper(52, 58))),
        ("jwt", jwt),
        ("private_key", pem),
    ]
}

/// What a scan tells of a stream cut into pieces of a size.
fn scanned(stream: &[u8], size: usize) -> BTreeSet<(String, &'static str)> {
    let (mut scan, mut found) = (Scan::default(), BTreeSet::new());
    let mut tell = |secret: &[u8], class| {
        found.insert((String::from_utf8_lossy(secret).into_owned(), class));
    };
    for piece in stream.chunks(size) {
        scan.push(shapes(), piece, &mut tell);
        assert!(scan.heap_bytes() < 40 << 10);
    }
    scan.end(shapes(), &mut tell);
    found
}

#[track_caller]
fn finds(text: &str, expected: &[(&str, &'static str)]) {
    let expected: BTreeSet<_> = expected
        .iter()
        .map(|(s, c)| ((*s).to_owned(), *c))
        .collect();
    for size in [usize::MAX, 1, 2, 3, 7, 16, 31, 33, 64, 1_000] {
        let found = scanned(text.as_bytes(), size.min(text.len().max(1)));
        assert_eq!(found, expected, "in pieces of {size}: {text}");
    }
}

#[test]
fn every_rule_is_read_and_documented() {
    let file = include_str!("../../../../rules/secrets.tsv");
    let rules: Vec<&str> = file
        .lines()
        .filter(|line| !line.starts_with('#') && !line.starts_with("class\t"))
        .collect();
    assert_eq!(shapes().len(), rules.len());
    for rule in rules {
        let columns: Vec<&str> = rule.split('\t').collect();
        assert_eq!(columns.len(), 6, "{rule}");
        let least = columns[1].trim_matches(['|', '~']).len();
        assert!((3..=31).contains(&least), "{rule}");
        assert!(columns[5].ends_with('.'), "{rule}");
    }
}

#[test]
fn secrets_of_every_class_are_found_however_they_are_cut() {
    let mut seen = BTreeSet::new();
    for (class, secret) in samples() {
        seen.insert(class);
        let text = match class {
            "azure_storage_key" => {
                format!("x;AccountName=a;AccountKey={secret};EndpointSuffix=core")
            }
            _ => format!("prose before \"{secret}\", and behind"),
        };
        finds(&text, &[(&secret, class)]);
        // At the very end of a stream, too.
        if !matches!(class, "azure_storage_key") {
            finds(&format!("token {secret}"), &[(&secret, class)]);
        }
    }
    let rest: Vec<_> = shapes()
        .classes()
        .into_iter()
        .filter(|class| !seen.contains(class))
        .collect();
    // Those that have cases of their own.
    let own = [
        "atlassian_token",
        "aws_secret_key",
        "figma_token",
        "fly_token",
        "langsmith_key",
        "mailgun_key",
        "nvidia_key",
        "square_token",
        "telegram_token",
        "terraform_token",
        "url_password",
    ];
    assert_eq!(rest, own);
}

#[test]
fn secrets_behind_a_name_or_within_an_address() {
    let key = letters(60, 40, WORD);
    finds(
        &format!("aws_secret_access_key = {key}\n"),
        &[(&key, "aws_secret_key")],
    );
    finds(
        &format!("\"SecretAccessKey\": \"{key}\","),
        &[(&key, "aws_secret_key")],
    );
    finds(
        &format!("<SecretAccessKey>{key}</SecretAccessKey>"),
        &[(&key, "aws_secret_key")],
    );
    finds(&format!("SecretAccessKey is not {key}"), &[]);
    finds(
        "db: postgres://app:hunter2@db.internal:5432/x",
        &[("hunter2", "url_password")],
    );
    finds("postgres://app:${PASSWORD}@db/x postgres://app@db/x", &[]);
    finds(
        "see https://example.org/a@b and http://user:password@host",
        &[],
    );
    let bot = letters(61, 33, WORD);
    finds(
        &format!("/bot123456789:AA{bot}/getMe"),
        &[(&format!(":AA{bot}"), "telegram_token")],
    );
    let more = [
        (
            "atlassian_token",
            format!("ATATT3{}=A1B2C3D4", letters(71, 180, WORD)),
        ),
        ("figma_token", format!("figd_{}", letters(62, 40, WORD))),
        ("fly_token", format!("fm2_{}", letters(63, 200, WORD))),
        (
            "langsmith_key",
            format!("lsv2_pt_{}_{}", letters(64, 32, HEX), letters(65, 10, HEX)),
        ),
        ("mailgun_key", format!("key-{}", letters(66, 32, HEX))),
        ("nvidia_key", format!("nvapi-{}", letters(67, 64, WORD))),
        ("square_token", format!("sq0csp-{}", letters(68, 43, WORD))),
    ];
    for (class, secret) in more {
        finds(&format!("k={secret}&x=1"), &[(&secret, class)]);
    }
    let terraform = format!(".atlasv1.{}", letters(69, 67, WORD));
    finds(
        &format!("credentials abcdefgh12{terraform}\n"),
        &[(&terraform, "terraform_token")],
    );
}

#[test]
fn what_only_looks_like_a_secret_is_none() {
    let github = samples()
        .into_iter()
        .find(|(class, _)| *class == "github_token")
        .unwrap()
        .1;
    let mut wrong = github.clone().into_bytes();
    wrong[10] = if wrong[10] == b'a' { b'b' } else { b'a' };
    let wrong = String::from_utf8(wrong).unwrap();
    let key = letters(70, 16, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567");
    let md5 = letters(74, 32, HEX);
    for text in [
        wrong,
        format!("{github}x"),
        // Part of a longer run of the letters that base32 has.
        format!("MAKIA{key}"),
        // Ends of words, with a digest behind: files and jobs are named so.
        format!("/task-{md5} disk-{md5} /monkey-{md5} hotkey-{md5} /cloudapi{md5}"),
        // Within the base64 of something else.
        format!("q9{}AIza{}", letters(72, 12, WORD), letters(73, 35, WORD)),
        "AKIAIOSFODNN7EXAMPLE".to_owned(),
        format!("AKIA{}", "A".repeat(16)),
        "sk-learn-contrib-and-other-long-names-of-packages-that-go-on".to_owned(),
        "eyJhbGciOiJub3QganNvbg.eyJzdWIi.x".to_owned(),
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----".to_owned(),
        "-----BEGIN PRIVATE KEY-----".to_owned(),
        "xoxb-your-token-goes-here-and-here-and-here-now".to_owned(),
        format!("AIza{}", "x".repeat(35)),
        "hf_".to_owned(),
    ] {
        finds(&text, &[]);
    }
    // Escapes are no words.
    finds(&format!("a\\n{github}"), &[(&github, "github_token")]);
    finds(&format!("a%3D{github}"), &[(&github, "github_token")]);
}

#[test]
fn secrets_leave_as_little_as_they_may() {
    let redactor = Redactor::unkeyed();
    let token = redactor.token(b"0123456789abcdef");
    assert_eq!((token.len, token.last4), (16, Some(*b"cdef")));
    assert_eq!(redactor.token(b"0123456789abcde").last4, None);
    assert_eq!(redactor.password(b"0123456789abcdef").last4, None);
    assert_eq!(redactor.password(b"0123456789abcdef").hash, token.hash);
    assert_ne!(redactor.user(b"0123456789abcdef"), token.hash);
    assert_eq!(redactor.token(b"0123456789abc\xff\xff\xff").last4, None);
}

#[test]
fn texts_are_shown_without_their_secrets() {
    let (_, github) = samples()
        .into_iter()
        .find(|(class, _)| *class == "github_token")
        .unwrap();
    let random = letters(80, 32, WORD);
    for (text, expected) in [
        (
            format!("nginx {github} x"),
            "nginx <github_token:40> x".to_owned(),
        ),
        (format!("/a/{random}/b"), "/a/<32>/b".to_owned()),
        (
            "Apache/2.4.57 (Debian) OpenSSL/3.0.11".to_owned(),
            "Apache/2.4.57 (Debian) OpenSSL/3.0.11".to_owned(),
        ),
        (
            "Mozilla/5.0 AppleWebKit/537.36".to_owned(),
            "Mozilla/5.0 AppleWebKit/537.36".to_owned(),
        ),
        (
            "/WindowsUpdateAgent10ClientDownloads2/x".to_owned(),
            "/WindowsUpdateAgent10ClientDownloads2/x".to_owned(),
        ),
        (
            "/550e8400-e29b-41d4-a716-446655440000".to_owned(),
            "/550e8400-e29b-41d4-a716-446655440000".to_owned(),
        ),
        (
            "/MFEwTzBNMEswSTAJBgUrDgMCGgUABBQ50otx%2Fh0Ztl%2Bz8SiPI7wEWVxDlQQUTiJUIBiV5uNu"
                .to_owned(),
            "/MFEwTzBNMEswSTAJBgUrDgMCGgUABBQ50otx%2Fh0Ztl%2Bz8SiPI7wEWVxDlQQUTiJUIBiV5uNu"
                .to_owned(),
        ),
        ("".to_owned(), String::new()),
    ] {
        assert_eq!(redact(&text), expected);
        assert_eq!(&*redacted(text.as_bytes()), expected.as_bytes());
    }
}

/// What is glued to a word in front of it is found and hidden as if it stood alone.
#[test]
fn tokens_glued_to_letters_are_found_and_hidden() {
    for (class, secret) in samples() {
        // Those that only their name in front tells, and ends of words with a digest behind.
        if matches!(class, "azure_storage_key" | "databricks_token" | "llm_key") {
            continue;
        }
        for before in ["/bot", "/x/apiToken", "/a_", "?k=v9", "ver1"] {
            let text = format!("{before}{secret}/sendMessage");
            let mut found = scanned(text.as_bytes(), 7);
            found.extend(scanned(text.as_bytes(), text.len()));
            // Some go on with a slash.
            let told = found
                .iter()
                .any(|(told, of)| *of == class && told.starts_with(&secret));
            let goes_on = matches!(class, "slack_webhook" | "discord_webhook");
            assert!(told || goes_on, "{text}: {found:?}");
            let shown = redact(&text);
            let body = &secret[secret.len() / 2..];
            assert!(!shown.contains(body), "{text}: {shown}");
        }
    }
}

/// A server undoes what a path escapes: what it then says is hidden as well.
#[test]
fn what_is_escaped_is_hidden_too() {
    let slack = samples()
        .into_iter()
        .find(|(class, _)| *class == "slack_token")
        .unwrap()
        .1;
    let escaped = slack.replace('-', "%2D");
    assert_eq!(
        redact(&format!("/a/{escaped}/b%20c")),
        format!("/a/<slack_token:{}>/b%20c", escaped.len())
    );
    assert_eq!(redact("/a%2Fb%zz%"), "/a%2Fb%zz%");
    // And what no rule knows, but chance alone mixes so.
    let random = "R7kQ2mXv9LpB4tZs1WcY8nHd";
    let all: String = random.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let one = format!("R7kQ2mXv9LpB%34{}", &random[13..]);
    for escaped in [all, one, format!("%52{}", &random[1..])] {
        assert_eq!(
            redact(&format!("/a/{escaped}/b%20c")),
            format!("/a/<{}>/b%20c", escaped.len())
        );
    }
}

/// Beginnings beyond those that are followed at a time hide nothing: the newest of
/// a rule is followed, and of what was not, nothing is shown.
#[test]
fn beginnings_in_front_hide_no_secret() {
    let key = letters(2, 16, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567");
    let aws = format!("AKIA{key}");
    for times in [1, 2, 3, 5, 30] {
        let text = format!("/{}x{aws}/y", "AKIA".repeat(times));
        finds(&text, &[(&aws, "aws_access_key")]);
        assert!(!redact(&text).contains(&key), "{text}");
    }
}

/// What documents put in a secret's place is told of as none, and not shown: who
/// names a key like one gains nothing by it. So it is with what goes on too long.
#[test]
fn placeholders_are_no_findings_and_not_shown() {
    let github = samples()
        .into_iter()
        .find(|(class, _)| *class == "github_token")
        .unwrap()
        .1;
    let letters = letters(50, 34, &WORD[10..]);
    for (text, shown) in [
        (
            "/AKIAIOSFODNN7EXAMPLE/x".to_owned(),
            "/<aws_access_key:20>/x".to_owned(),
        ),
        (
            "u postgres://app:changeme@db/x".to_owned(),
            "u postgres://app:<url_password:8>@db/x".to_owned(),
        ),
        (format!("{github}session"), "<github_token:47>".to_owned()),
        (
            format!("hf_{letters}session"),
            "<huggingface_token:44>".to_owned(),
        ),
        // Words are none.
        (
            "/sk-learn-and-other-long-names-of-packages-that-go-on-and-on".to_owned(),
            String::new(),
        ),
    ] {
        finds(&text, &[]);
        let shown = if shown.is_empty() { &text } else { &shown };
        assert_eq!(redact(&text), **shown);
    }
}

/// RFC 7519 section 6.1: the last part of an unsecured token is empty. Its full
/// stop is part of it, one behind a signed token ends the sentence.
#[test]
fn an_unsecured_token_keeps_its_full_stop() {
    let head = url64(r#"{"alg":"none","typ":"JWT"}"#);
    let body = url64(r#"{"sub":"17","exp":1700000000}"#);
    let signed = url64("a signature of some length, for what it is worth");
    for (written, whole) in [
        (format!("{head}.{body}."), format!("{head}.{body}.")),
        (
            format!("{head}.{body}.{signed}."),
            format!("{head}.{body}.{signed}"),
        ),
    ] {
        let found = scanned(format!("token {written} was sent").as_bytes(), 7);
        assert_eq!(found, BTreeSet::from([(whole, "jwt")]), "{written}");
    }
}

/// Beginnings of rules, and what keeps candidates open or makes them fail late.
fn pieces() -> Vec<String> {
    let file = include_str!("../../../../rules/secrets.tsv");
    let rules = file
        .lines()
        .filter(|line| !line.starts_with('#') && !line.starts_with("class\t"));
    let mut pieces: Vec<String> = rules
        .filter_map(|rule| rule.split('\t').nth(1))
        .map(|prefix| prefix.trim_matches(['|', '~']).to_owned())
        .collect();
    let more = [
        "-",
        "--",
        ".",
        "..",
        "_",
        " ",
        "\n",
        "/",
        ":",
        "@",
        "=",
        "\"",
        "\\n",
        "%3D",
        "1",
        "a",
        "B2",
        "-----BEGIN PRIVATE KEY-----",
        "-----END PRIVATE KEY-----",
        "-----END ",
        "-----",
        "RSA PRIVATE KEY",
        "eyJhbGciOiJub25lIn0",
        "T3BlbkFJ",
        "x9Y-w8_V",
        "00000000",
        "user:pw@",
    ];
    pieces.extend(more.map(str::to_owned));
    pieces.extend(samples().into_iter().map(|(_, secret)| secret));
    pieces
}

static PIECES: std::sync::OnceLock<Vec<String>> = std::sync::OnceLock::new();

/// What a scan tells of a stream cut at places, in its order, and the bytes that it looked at.
fn told(stream: &[u8], mut cuts: impl FnMut() -> usize) -> (Vec<(String, &'static str)>, u64) {
    let (mut scan, mut found) = (Scan::default(), Vec::new());
    let mut tell = |secret: &[u8], class| {
        found.push((String::from_utf8_lossy(secret).into_owned(), class));
    };
    work::taken();
    let mut rest = stream;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(cuts().clamp(1, rest.len()));
        scan.push(shapes(), piece, &mut tell);
        assert!(scan.heap_bytes() < 80 << 10);
        rest = after;
    }
    scan.end(shapes(), &mut tell);
    (found, work::taken())
}

/// However a stream is made of beginnings, and however it is cut, no byte is
/// looked at more often than this: by each of the few candidates at a time, and
/// once more where their tests ask for it.
const LOOKS: u64 = 24;

#[test]
fn beginnings_that_overlap_cost_no_more_than_others() {
    let mut worst = (0, String::new());
    for piece in pieces() {
        for (filler, size, len) in [
            ("", usize::MAX, 18 << 10),
            ("-", usize::MAX, 18 << 10),
            ("-", 100, 18 << 10),
            (".", 1_460, 12 << 10),
            ("-1aB.", usize::MAX, 12 << 10),
            (" ", 1, 300),
        ] {
            let unit = format!("{piece}{filler}");
            let stream = unit.repeat(len / unit.len() + 1);
            let (_, looked) = told(stream.as_bytes(), || size);
            let looks = looked / stream.len() as u64;
            if looks > worst.0 {
                worst = (looks, format!("{unit:?} in pieces of {size}"));
            }
        }
    }
    assert!(worst.0 <= LOOKS, "{} looks at a byte: {}", worst.0, worst.1);
}

proptest::proptest! {
    #[test]
    fn any_split_tells_the_same_for_a_bounded_price(
        parts in proptest::collection::vec(0_usize..1_000, 1..40),
        repeats in 1_usize..8,
        cuts in proptest::collection::vec(1_usize..60, 1..20),
    ) {
        let pieces = PIECES.get_or_init(pieces);
        let stream: String = parts
            .iter()
            .map(|part| pieces[part % pieces.len()].as_str())
            .collect::<String>()
            .repeat(repeats);
        let whole = told(stream.as_bytes(), || usize::MAX);
        let mut number = 0;
        let cut = told(stream.as_bytes(), || {
            number += 1;
            cuts[number % cuts.len()]
        });
        let bytes = told(stream.as_bytes(), || 1);
        proptest::prop_assert_eq!(&whole.0, &cut.0);
        proptest::prop_assert_eq!(&whole.0, &bytes.0);
        for (_, looked) in [whole, cut, bytes] {
            proptest::prop_assert!(looked <= LOOKS * stream.len() as u64 + 4_096, "{} looks at a byte", looked / stream.len() as u64);
        }
    }
}

/// Candidates begin in the order of the ends of their beginnings, which is that
/// of their starts as long as none stands within another.
#[test]
fn no_beginning_stands_within_another() {
    let file = include_str!("../../../../rules/secrets.tsv");
    let rules = file
        .lines()
        .filter(|line| !line.starts_with('#') && !line.starts_with("class\t"));
    for rule in rules {
        let prefix = rule.split('\t').nth(1).unwrap().trim_matches(['|', '~']);
        let within = &prefix.as_bytes()[1..];
        assert_eq!(shapes().next(within, 0), None, "{prefix}");
    }
}

/// Behind a name that asks for one, anything may be a secret: none is shown.
#[test]
fn texts_are_shown_without_what_their_names_ask_for() {
    for (text, expected) in [
        ("bot/1 (password=hunter2)", "bot/1 (password=<7>)"),
        ("x token=abc; y", "x token=<3>; y"),
        ("PWD=a", "PWD=<1>"),
        ("x password: hunter2, y", "x password: <7>, y"),
        ("{\"password\": \"hunter 2\"}", "{\"password\": \"<8>\"}"),
        (
            "{\\\"password\\\": \\\"hunter 2\\\"}",
            "{\\\"password\\\": \\\"<9>\"}",
        ),
        ("a db.password = 'x y' b", "a db.password = '<3>' b"),
        ("HTTP X_API_KEY=k9 x", "HTTP X_API_KEY=<2> x"),
        ("x-api-key: k9", "x-api-key: <2>"),
        ("user[password]=x", "user[password]=<1>"),
        ("/a/password%3Dhunter2", "/a/password%3D<7>"),
        ("nginx Bearer abcdefgh x", "nginx Bearer <8> x"),
        ("a basic dXNlcjpwYXNz", "a basic <12>"),
        ("password=h\u{fc}nter&x=1", "password=<7>&x=1"),
        ("accept\npassword=x\nhost", "accept\npassword=<1>\nhost"),
        // What asks for none, or has none.
        ("rv:109.0) Gecko", "rv:109.0) Gecko"),
        ("https://h/token", "https://h/token"),
        ("max-age=31536000; a", "max-age=31536000; a"),
        ("a token= b", "a token= <1>"),
        ("token=<6>&b=<2>", "token=<6>&b=<2>"),
        ("Basic auth", "Basic auth"),
    ] {
        assert_eq!(redact(text), expected);
        assert_eq!(&*redacted(text.as_bytes()), expected.as_bytes());
    }
}

/// Requests for OCSP stay as they are, wherever they stand among other segments.
#[test]
fn each_segment_is_looked_at_once() {
    let request = "MFEwTzBNMEswSTAJBgUrDgMCGgUABBQ50otx%2Fh0Ztl%2Bz8SiPI7wEWVxDlQQUTiJUIBiV5uNu";
    let random = letters(80, 32, WORD);
    let text = format!("/{random}/{request}/{random}.{random}/{request}");
    assert_eq!(
        redact(&text),
        format!("/<32>/{request}/<32>.<32>/{request}")
    );
}
