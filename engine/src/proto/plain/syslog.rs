//! Syslog: RFC 5424 and RFC 3164 messages, over UDP, and over TCP with octet
//! counting or line ends (RFC 6587). No answer, no credential of its own.

use super::reader::Role;
use super::registry::{Look, Match};
use super::text::is_text;

const MONTHS: [&[u8]; 12] = [
    b"Jan ", b"Feb ", b"Mar ", b"Apr ", b"May ", b"Jun ", b"Jul ", b"Aug ", b"Sep ", b"Oct ",
    b"Nov ", b"Dec ",
];

/// A priority and a time, perhaps after a count of octets.
pub(super) fn probe_stream(look: &Look<'_>) -> Match {
    let digits = look
        .bytes
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    match look.bytes.get(digits..) {
        None | Some([]) if digits <= 5 => Match::NeedMore,
        Some([b' ', message @ ..]) if (2..=5).contains(&digits) => probe_message(message),
        Some(_) if digits == 0 => probe_message(look.bytes),
        _ => Match::No,
    }
}

/// A priority and a time; on its own port a priority is enough.
pub(super) fn probe_datagram(look: &Look<'_>) -> Match {
    match probe_message(look.bytes) {
        Match::Yes(role) => Match::Yes(role),
        _ => {
            let rest = priority(look.bytes);
            let text = rest.is_some_and(|rest| is_text(rest.trim_ascii_end()));
            Match::when(look.on_port(514) && text, Role::Client)
        }
    }
}

fn probe_message(bytes: &[u8]) -> Match {
    let Some(rest) = priority(bytes) else {
        let cut = bytes.len() < 5
            && match bytes.split_first() {
                None => true,
                Some((b'<', digits)) => digits.iter().all(u8::is_ascii_digit),
                Some(_) => false,
            };
        return if cut { Match::NeedMore } else { Match::No };
    };
    // RFC 5424: version, then a time of RFC 3339 or a dash; RFC 3164: `Oct 11 …`.
    if let Some(rest) = rest.strip_prefix(b"1 ") {
        return match rest {
            [] => Match::NeedMore,
            [b'-', b' ', ..] => Match::Yes(Role::Client),
            [b'-'] => Match::NeedMore,
            rest => {
                let shape = b"dddd-dd-ddT";
                let fits = rest.iter().zip(shape).all(|(byte, shape)| match shape {
                    b'd' => byte.is_ascii_digit(),
                    other => byte == other,
                });
                match (fits, rest.len() >= shape.len()) {
                    (false, _) => Match::No,
                    (true, true) => Match::Yes(Role::Client),
                    (true, false) => Match::NeedMore,
                }
            }
        };
    }
    if rest.len() < 4 {
        let begins = MONTHS.iter().any(|month| month.starts_with(rest)) || b"1 ".starts_with(rest);
        return if begins { Match::NeedMore } else { Match::No };
    }
    Match::when(
        MONTHS.iter().any(|month| rest.starts_with(month)),
        Role::Client,
    )
}

/// What follows `<0>` to `<191>`.
fn priority(bytes: &[u8]) -> Option<&[u8]> {
    let rest = bytes.strip_prefix(b"<")?;
    let end = rest.iter().take(4).position(|byte| *byte == b'>')?;
    let value = super::text::decimal(rest.get(..end)?)?;
    (value <= 191).then(|| rest.get(end + 1..)).flatten()
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::testing::{Case, c, datagrams, stream};

    pub(in super::super) fn cases() -> Vec<Case> {
        // Examples of RFC 5424 §6.5 and RFC 3164 §5.4.
        let new =
            "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - 'su root' failed";
        let old = "<34>Oct 11 22:14:15 mymachine su: 'su root' failed\n";
        vec![
            stream("syslog: lines", "syslog", vec![c(old)]),
            stream(
                "syslog: counted",
                "syslog",
                vec![c(format!("{} {new}", new.len()))],
            ),
            datagrams("syslog: new", "syslog", 5514, vec![c(new)]),
            datagrams("syslog: old", "syslog", 514, vec![c(old)]),
            datagrams("syslog: without time", "syslog", 514, vec![c("<14>hello")]),
        ]
    }
}
