//! SIP (RFC 3261) over TCP and UDP, and RTSP (RFC 2326, RFC 7826): messages in
//! the manner of HTTP, of which only credentials are read.

use super::reader::{Next, Reader, Role, Scene};
use super::registry::{Look, Match};
use super::talk::{After, Talk, TalkReader};
use super::text::{first_line, is_beginning_of, split_at_byte, split_word};
use crate::proto::Want;

/// `METHOD sip:… SIP/2.0`, or `SIP/2.0 status`.
pub(super) fn probe_sip(look: &Look<'_>) -> Match {
    probe(
        look.bytes,
        b"SIP/2.0",
        &[b"sip:", b"sips:", b"tel:", b"urn:"],
    )
}

/// `METHOD rtsp://… RTSP/1.0`, or `RTSP/1.0 status`.
pub(super) fn probe_rtsp(look: &Look<'_>) -> Match {
    match probe(
        look.bytes,
        b"RTSP/1.0",
        &[b"rtsp:", b"rtspu:", b"rtsps:", b"*"],
    ) {
        Match::No => probe(look.bytes, b"RTSP/2.0", &[b"rtsp:", b"rtsps:", b"*"]),
        found => found,
    }
}

fn probe(bytes: &[u8], version: &[u8], schemes: &[&[u8]]) -> Match {
    if is_beginning_of(bytes, version) {
        return Match::NeedMore;
    }
    if let Some(rest) = bytes.strip_prefix(version) {
        return match rest {
            [] => Match::NeedMore,
            [b' ', rest @ ..] => {
                let digits = rest.iter().take(3).all(u8::is_ascii_digit);
                match (digits, rest.len() >= 3) {
                    (false, _) => Match::No,
                    (true, true) => Match::Yes(Role::Server),
                    (true, false) => Match::NeedMore,
                }
            }
            _ => Match::No,
        };
    }
    let method = bytes
        .iter()
        .take_while(|byte| byte.is_ascii_uppercase() || **byte == b'_')
        .count();
    if method > 16 {
        return Match::No;
    }
    let target = match bytes.get(method..) {
        None | Some([]) => return Match::NeedMore,
        Some([b' ', target @ ..]) if method >= 3 => target,
        Some(_) => return Match::No,
    };
    let named = schemes
        .iter()
        .any(|scheme| super::text::starts_with_any_case(target, scheme));
    if !named {
        let begins = schemes.iter().any(|scheme| {
            target.len() < scheme.len() && super::text::starts_with_any_case(scheme, target)
        });
        return if begins { Match::NeedMore } else { Match::No };
    }
    match first_line(bytes) {
        Some(line) => Match::when(line.ends_with(version), Role::Client),
        None if bytes.len() < 2048 => Match::NeedMore,
        None => Match::No,
    }
}

/// SIP's reader for streams.
pub(super) fn open_sip() -> Box<dyn Reader> {
    TalkReader::<Messages<true>>::open()
}

/// RTSP's reader.
pub(super) fn open_rtsp() -> Box<dyn Reader> {
    TalkReader::<Messages<false>>::open()
}

/// SIP's reader for datagrams.
pub(super) fn open_sip_datagram() -> Box<dyn Reader> {
    Box::new(SipDatagrams)
}

#[derive(Debug, Default)]
struct Messages<const SIP: bool>;

impl<const SIP: bool> Talk for Messages<SIP> {
    const TRANSPORT: &'static str = "tcp";

    fn client(&mut self, scene: &mut Scene<'_, '_>, line: &[u8]) -> After {
        header_line(scene, line, SIP);
        After::Line
    }

    fn server(&mut self, scene: &mut Scene<'_, '_>, line: &[u8]) -> After {
        header_line(scene, line, SIP);
        After::Line
    }
}

#[derive(Debug)]
struct SipDatagrams;

impl Reader for SipDatagrams {
    fn data(&mut self, scene: &mut Scene<'_, '_>, _from: Role, bytes: &[u8]) -> Next {
        for line in bytes.split(|byte| *byte == b'\n') {
            header_line(scene, line, true);
        }
        Next::BYTES
    }

    fn gap(&mut self, _from: Role, _len: u64) -> Want {
        Want::Bytes
    }
}

fn header_line(scene: &mut Scene<'_, '_>, line: &[u8], sip: bool) {
    let Some((name, value)) = split_at_byte(line, b':') else {
        return;
    };
    let name = name.trim_ascii();
    if !name.eq_ignore_ascii_case(b"authorization")
        && !name.eq_ignore_ascii_case(b"proxy-authorization")
    {
        return;
    }
    let (scheme, token) = split_word(value);
    if scheme.eq_ignore_ascii_case(b"Basic") {
        let class = if sip { "sip_basic" } else { "rtsp_basic" };
        scene.basic(class, token);
    } else if scheme.eq_ignore_ascii_case(b"Digest") {
        let class = if sip { "sip_digest" } else { "rtsp_digest" };
        scene.login(class, None, token);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::testing::{Case, c, datagrams, s, stream};

    pub(in super::super) fn cases() -> Vec<Case> {
        let register = || {
            c(
                "REGISTER sip:a.example SIP/2.0\r\nVia: SIP/2.0/UDP x\r\nAuthorization: Digest username=me\r\n\r\n",
            )
        };
        vec![
            stream(
                "sip over tcp",
                "sip",
                vec![register(), s("SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n")],
            )
            .credentials("sip_digest:11"),
            datagrams(
                "sip",
                "sip",
                5060,
                vec![register(), s("SIP/2.0 100 Trying\r\n\r\n")],
            )
            .credentials("sip_digest:11"),
            stream(
                "rtsp",
                "rtsp",
                vec![
                    c("OPTIONS rtsp://a.example/x RTSP/1.0\r\nCSeq: 1\r\n\r\n"),
                    s("RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\n\r\n"),
                    c("DESCRIBE rtsp://a.example/x RTSP/1.0\r\nAuthorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n"),
                ],
            )
            .credentials("rtsp_basic:11"),
        ]
    }
}
