//! What must hold of a secret besides its letters: checksums, structure, and
//! enough variety to be no placeholder.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::ops::Range;
use zeroize::Zeroizing;

/// The tests that `rules/secrets.tsv` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Test {
    /// Nothing but no placeholder.
    Nothing,
    /// Letters and digits, of some variety.
    Mixed,
    /// At least one digit, of some variety.
    Digits,
    /// Some variety.
    Alpha,
    /// Ends with a checksum of what comes before.
    Crc62,
    Aws,
    OpenAi,
    Slack,
    SlackHook,
    DiscordHook,
    SendGrid,
    Jwt,
    Pem,
    Userinfo,
}

/// What ends a block of PEM (RFC 7468 §2).
pub(super) const PEM_END: &[u8] = b"-----END ";

impl Test {
    pub(super) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "-" => Self::Nothing,
            "mixed" => Self::Mixed,
            "digits" => Self::Digits,
            "alpha" => Self::Alpha,
            "crc62" => Self::Crc62,
            "aws" => Self::Aws,
            "openai" => Self::OpenAi,
            "slack" => Self::Slack,
            "slack_hook" => Self::SlackHook,
            "discord_hook" => Self::DiscordHook,
            "sendgrid" => Self::SendGrid,
            "jwt" => Self::Jwt,
            "pem" => Self::Pem,
            "userinfo" => Self::Userinfo,
            _ => return None,
        })
    }

    /// Whether it holds of nothing that chance made: checksums and marks.
    pub(super) const fn is_telling(self) -> bool {
        matches!(
            self,
            Self::Crc62
                | Self::OpenAi
                | Self::Slack
                | Self::SlackHook
                | Self::DiscordHook
                | Self::SendGrid
        )
    }

    /// Whether the full stop at the end is part of it: an unsecured JSON Web
    /// Token has an empty signature (RFC 7519 §6.1).
    pub(super) fn ends_with_stop(self, whole: &[u8]) -> bool {
        self == Self::Jwt
            && whole.ends_with(b".")
            && !whole.ends_with(b"..")
            && whole.iter().filter(|byte| **byte == b'.').count() == 2
    }

    /// Whether it holds, and which part of `secret` is the secret itself.
    /// `behind` is what follows the prefix. Placeholders are no secrets; `hides` takes
    /// them for some.
    pub(super) fn holds(self, secret: &[u8], behind: &[u8], hides: bool) -> Option<Range<usize>> {
        let whole = 0..secret.len();
        let has = |class: fn(&u8) -> bool| behind.iter().any(class);
        let is_real = |bytes: &[u8]| hides || !is_placeholder(bytes);
        let varied = |least: f32| entropy(behind) >= least && is_real(behind);
        let holds = match self {
            Self::Nothing => varied(2.0),
            Self::Mixed => has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic) && varied(3.0),
            Self::Digits => has(u8::is_ascii_digit) && varied(2.5),
            Self::Alpha => varied(3.5),
            Self::Crc62 => crc62(behind) && is_real(behind),
            Self::Aws => varied(2.5),
            Self::OpenAi => memchr::memmem::find(secret, b"T3BlbkFJ").is_some() && varied(3.0),
            Self::Slack => {
                let groups = behind.split(|byte| *byte == b'-');
                let numbers =
                    |group: &&[u8]| group.len() >= 9 && group.iter().all(u8::is_ascii_digit);
                groups.filter(numbers).count() >= 1 && varied(3.0)
            }
            Self::SlackHook => {
                let mut parts = secret.split(|byte| *byte == b'/').skip(2);
                let mut id = |first| {
                    parts.next().is_some_and(|part: &[u8]| {
                        part.first() == Some(&first)
                            && part.len() >= 9
                            && part
                                .iter()
                                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
                    })
                };
                id(b'T')
                    && id(b'B')
                    && parts
                        .next()
                        .is_some_and(|key| key.len() == 24 && entropy(key) >= 3.0)
            }
            Self::DiscordHook => {
                let mut parts = behind.split(|byte| *byte == b'/');
                let number = parts.next().unwrap_or_default();
                (17..=20).contains(&number.len())
                    && number.iter().all(u8::is_ascii_digit)
                    && parts
                        .next()
                        .is_some_and(|key| key.len() >= 60 && entropy(key) >= 4.0)
            }
            Self::SendGrid => {
                let lens: Vec<usize> = behind
                    .split(|byte| *byte == b'.')
                    .map(<[u8]>::len)
                    .collect();
                lens == [22, 43] && varied(3.5)
            }
            Self::Jwt => jwt(secret),
            Self::Pem => return pem(secret).then_some(whole),
            Self::Userinfo => return userinfo(secret, hides),
        };
        holds.then_some(whole)
    }
}

/// Shannon entropy, bits per byte.
pub(super) fn entropy(bytes: &[u8]) -> f32 {
    let mut counts = [0_u32; 256];
    for byte in bytes {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count = count.saturating_add(1);
        }
    }
    let all = bytes.len().max(1) as f64;
    let bits: f64 = counts
        .iter()
        .filter(|count| **count > 0)
        .map(|&count| {
            let share = f64::from(count) / all;
            -share * share.log2()
        })
        .sum();
    bits as f32
}

/// What documents put where a secret would stand.
pub(super) fn is_placeholder(bytes: &[u8]) -> bool {
    const WORDS: &[&[u8]] = &[
        b"example",
        b"xxxxx",
        b"placeholder",
        b"your",
        b"00000000",
        b"12345678",
        b"abcdefgh",
        b"redacted",
        b"dummy",
        b"changeme",
    ];
    WORDS.iter().any(|word| {
        bytes
            .windows(word.len())
            .any(|window| window.eq_ignore_ascii_case(word))
    })
}

/// The last six letters, in base 62 (digits, capitals, small letters), are the
/// CRC-32 of those before.
fn crc62(behind: &[u8]) -> bool {
    let Some((random, check)) = behind.split_last_chunk::<6>() else {
        return false;
    };
    let stated = check.iter().try_fold(0_u64, |value, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'A'..=b'Z' => byte - b'A' + 10,
            b'a'..=b'z' => byte - b'a' + 36,
            _ => return None,
        };
        Some(value * 62 + u64::from(digit))
    });
    stated == Some(u64::from(crc32(random)))
}

/// CRC-32 (ISO 3309), bit by bit: asked for few bytes, and seldom.
fn crc32(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0xedb8_8320;
    let crc = bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            let carry = (crc & 1).wrapping_neg() & POLYNOMIAL;
            crc >> 1 ^ carry
        })
    });
    !crc
}

/// RFC 7515 §3.1 (three parts) or RFC 7516 §3.1 (five), or a token whose empty
/// signature was cut off; the head is JSON with `alg`.
fn jwt(token: &[u8]) -> bool {
    let mut parts = token.split(|byte| *byte == b'.');
    let (Some(head), Some(second)) = (parts.next(), parts.next()) else {
        return false;
    };
    let json = |part: &[u8]| {
        let mut out = Zeroizing::new(Vec::with_capacity(part.len()));
        URL_SAFE_NO_PAD.decode_vec(part, &mut out).ok()?;
        serde_json::from_slice::<serde::de::IgnoredAny>(&out).ok()?;
        Some(out)
    };
    let names_algorithm = head.len() <= 2048
        && json(head).is_some_and(|head| memchr::memmem::find(&head, b"\"alg\"").is_some());
    match parts.count() {
        0 => names_algorithm && json(second).is_some(),
        1 => names_algorithm && !second.is_empty(),
        3 => names_algorithm,
        _ => false,
    }
}

/// A private key that is whole, or enough of one to matter.
fn pem(block: &[u8]) -> bool {
    let head = block.get(..64).unwrap_or(block);
    let Some(at) = memchr::memmem::find(head, b"PRIVATE KEY") else {
        return false;
    };
    let body = block.get(at.saturating_add(11)..).unwrap_or_default();
    let letters = body
        .iter()
        .filter(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='))
        .count();
    letters >= 64 && entropy(body) >= 3.5 && memchr::memmem::find(body, PEM_END).is_some()
}

/// The password of `://user:password@host`.
fn userinfo(text: &[u8], hides: bool) -> Option<Range<usize>> {
    let at = memchr::memrchr(b'@', text)?;
    let user = text.get(3..at)?;
    let colon = memchr::memchr(b':', user)?.checked_add(4)?;
    let password = text.get(colon..at)?;
    let known: &[&[u8]] = &[b"password", b"pass", b"passwd", b"pwd", b"secret", b"pw"];
    let host = text.get(at.checked_add(1)?..)?;
    let is_named = known
        .iter()
        .any(|known| password.eq_ignore_ascii_case(known));
    let is_masked = password
        .iter()
        .all(|byte| matches!(byte, b'*' | b'x' | b'X' | b'.'));
    (!password.is_empty()
        && host
            .first()
            .is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'[')
        && (hides || !is_named && !is_masked && !is_placeholder(password))
        // A token is told of as what it is.
        && super::shapes::shape_of(password).is_none())
    .then_some(colon..at)
}
