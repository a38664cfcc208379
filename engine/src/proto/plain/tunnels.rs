//! What carries other protocols: SOCKS 4 and 5 (RFC 1928, RFC 1929) and the
//! PROXY protocol (haproxy, proxy-protocol.txt). What is inside is recognised
//! anew once the tunnel stands.

use super::reader::{Next, Reader, Role, Scene, append_wiping};
use super::registry::{Look, Match};
use super::text::{be16, first_line, magic};
use crate::proto::Want;
use zeroize::Zeroizing;

/// SOCKS 5: a list of methods, answered by one of them.
pub(super) fn probe_socks5(look: &Look<'_>) -> Match {
    let (bytes, role, other) = match (look.bytes.first(), look.other.first()) {
        (Some(5), None | Some(5)) => (look.bytes, Role::Client, look.other),
        (None, _) => return Match::NeedMore,
        _ => return Match::No,
    };
    // The client's list is `05 n methods`; a server's answer has two bytes.
    let Some(&count) = bytes.get(1) else {
        return Match::NeedMore;
    };
    let Some(methods) = bytes.get(2..2 + usize::from(count)) else {
        return Match::when_cut((1..=8).contains(&count) && bytes.len() < 10);
    };
    if count == 0 || count > 8 || methods.iter().any(|method| *method > 9) {
        return Match::No;
    }
    match other {
        [] | [5] => Match::NeedMore,
        [5, chosen, ..] if *chosen == 0xff || methods.contains(chosen) => Match::Yes(role),
        _ => Match::No,
    }
}

/// SOCKS 4: a request, answered by eight bytes that begin with `00 5a`.
pub(super) fn probe_socks4(look: &Look<'_>) -> Match {
    let bytes = look.bytes;
    match bytes {
        [] | [4] => return Match::NeedMore,
        [4, 1 | 2, ..] => {}
        _ => return Match::No,
    }
    let Some(user) = bytes.get(8..) else {
        return Match::NeedMore;
    };
    if !user.contains(&0) {
        return Match::when_cut(user.len() <= 64 && user.iter().all(u8::is_ascii_graphic));
    }
    match look.other {
        [] | [0] => Match::NeedMore,
        [0, 0x5a..=0x5d, ..] => Match::Yes(Role::Client),
        _ => Match::No,
    }
}

/// The reader of both.
pub(super) fn open_socks() -> Box<dyn Reader> {
    Box::new(Socks::default())
}

/// Longest beginning that is put together: user, password and name of 255 bytes each.
const MAX_KEPT: usize = 1024;

#[derive(Debug, Default)]
struct Socks {
    kept: [Zeroizing<Vec<u8>>; 2],
    step: Step,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Step {
    #[default]
    Greeting,
    Chosen(u8),
    Authenticating,
    Requested,
    Requesting,
    Four,
    Refused,
}

impl Reader for Socks {
    fn data(&mut self, scene: &mut Scene<'_, '_>, from: Role, bytes: &[u8]) -> Next {
        let kept = &mut self.kept[from.index()];
        let before = kept.len();
        let room = MAX_KEPT.saturating_sub(before);
        append_wiping(kept, bytes.get(..room).unwrap_or(bytes));
        loop {
            let whole = std::mem::take(&mut self.kept[from.index()]);
            match self.step(scene, from, &whole) {
                Taken::Some(len) => {
                    let left = whole.get(len..).unwrap_or_default();
                    append_wiping(&mut self.kept[from.index()], left);
                    if left.is_empty() {
                        return Next::BYTES;
                    }
                }
                Taken::None => {
                    let is_full = whole.len() >= MAX_KEPT;
                    self.kept[from.index()] = whole;
                    return if is_full || self.step == Step::Refused {
                        Next::NOTHING
                    } else {
                        Next::BYTES
                    };
                }
                Taken::Tunnel(len) => {
                    // What was kept of these bytes ends where `bytes` ends, unless there was no room.
                    let left = whole.len().saturating_sub(len);
                    let kept_of_these = bytes.len().min(room);
                    return Next::Tunnel {
                        after: kept_of_these.saturating_sub(left),
                        transport: "socks",
                    };
                }
            }
        }
    }

    fn gap(&mut self, _from: Role, _len: u64) -> Want {
        Want::Nothing
    }

    fn heap_bytes(&self) -> usize {
        self.kept.iter().map(|kept| kept.capacity()).sum()
    }
}

enum Taken {
    Some(usize),
    None,
    Tunnel(usize),
}

impl Socks {
    fn step(&mut self, scene: &mut Scene<'_, '_>, from: Role, bytes: &[u8]) -> Taken {
        let (step, taken) = match (from, self.step, bytes) {
            (Role::Client, Step::Greeting, [4, _, ..]) => {
                match bytes
                    .get(8..)
                    .and_then(|user| user.iter().position(|byte| *byte == 0))
                {
                    // 4a: an address 0.0.0.x, and a name after the user's.
                    Some(end) => (Step::Four, Taken::Some(8 + end + 1)),
                    None => return Taken::None,
                }
            }
            (Role::Client, Step::Four, bytes) => (Step::Four, Taken::Some(bytes.len())),
            (Role::Server, Step::Four, [_, code, ..]) if bytes.len() >= 8 => {
                if *code == 0x5a {
                    return Taken::Tunnel(8);
                }
                (Step::Refused, Taken::None)
            }
            (Role::Client, Step::Greeting, [5, count, ..]) => {
                let len = 2 + usize::from(*count);
                if bytes.len() < len {
                    return Taken::None;
                }
                (Step::Greeting, Taken::Some(len))
            }
            (Role::Server, Step::Greeting, [5, method, ..]) => {
                let step = match method {
                    0xff => Step::Refused,
                    method => Step::Chosen(*method),
                };
                (step, Taken::Some(2))
            }
            // RFC 1929: 01 len user len password.
            (Role::Client, Step::Chosen(2), [1, user, ..]) => {
                let at = 2 + usize::from(*user);
                let Some(&len) = bytes.get(at) else {
                    return Taken::None;
                };
                let len = usize::from(len);
                let Some(secret) = bytes.get(at + 1..at + 1 + len) else {
                    return Taken::None;
                };
                let user = bytes.get(2..at).map(|user| scene.cx.redactor.user(user));
                scene.login("socks5_password", user, secret);
                (Step::Authenticating, Taken::Some(at + 1 + len))
            }
            (Role::Server, Step::Authenticating, [1, status, ..]) => {
                let step = if *status == 0 {
                    Step::Requesting
                } else {
                    Step::Refused
                };
                (step, Taken::Some(2))
            }
            (Role::Client, Step::Chosen(_) | Step::Requesting, [5, ..]) => match address_end(bytes)
            {
                Some(end) => (Step::Requested, Taken::Some(end)),
                None => return Taken::None,
            },
            (Role::Server, Step::Requested, [5, code, ..]) => match address_end(bytes) {
                Some(end) if *code == 0 => return Taken::Tunnel(end),
                Some(_) => (Step::Refused, Taken::None),
                None => return Taken::None,
            },
            _ => return Taken::None,
        };
        self.step = step;
        taken
    }
}

/// Where `05 code 00 type address port` ends.
fn address_end(bytes: &[u8]) -> Option<usize> {
    let len = match bytes.get(3)? {
        1 => 4,
        4 => 16,
        3 => 1 + usize::from(*bytes.get(4)?),
        _ => return None,
    };
    let end = 4 + len + 2;
    (bytes.len() >= end).then_some(end)
}

const PROXY2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// `PROXY TCP4 …` or the signature of version 2.
pub(super) fn probe_proxy(look: &Look<'_>) -> Match {
    for signature in [&b"PROXY TCP"[..], b"PROXY UNKNOWN", PROXY2] {
        match magic(look.bytes, signature) {
            Some(false) => {}
            found => return Match::magic(found, Role::Client),
        }
    }
    Match::No
}

/// The PROXY protocol's reader.
pub(super) fn open_proxy() -> Box<dyn Reader> {
    Box::new(Proxy::default())
}

#[derive(Debug, Default)]
struct Proxy {
    kept: Vec<u8>,
}

impl Reader for Proxy {
    fn data(&mut self, _scene: &mut Scene<'_, '_>, _from: Role, bytes: &[u8]) -> Next {
        let before = self.kept.len();
        self.kept.extend(bytes.iter().take(MAX_KEPT));
        let end = match magic(&self.kept, PROXY2) {
            Some(true) => be16(&self.kept, 14).map(|len| 16 + usize::from(len)),
            Some(false) => first_line(&self.kept).map(|line| line.len() + 2),
            None => None,
        };
        match end {
            Some(end) if end <= before + bytes.len() => Next::Tunnel {
                after: end.saturating_sub(before),
                transport: "tcp",
            },
            _ if self.kept.len() > MAX_KEPT => Next::NOTHING,
            _ => Next::BYTES,
        }
    }

    fn gap(&mut self, _from: Role, _len: u64) -> Want {
        Want::Nothing
    }

    fn heap_bytes(&self) -> usize {
        self.kept.capacity()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::testing::{Case, c, client_hello, hex, s, stream};

    pub(in super::super) fn cases() -> Vec<Case> {
        let ask = || c(hex("05 01 00 03 09 612e6578616d706c65 01bb"));
        let granted = || s(hex("05 00 00 01 0a000001 1234"));
        vec![
            stream(
                "socks 5 with a password, TLS inside",
                "socks,ssl",
                vec![
                    c(hex("05 02 00 02")),
                    s(hex("05 02")),
                    c(hex("01 02 6d65 06 736563726574")),
                    s(hex("01 00")),
                    ask(),
                    granted(),
                    c(client_hello()),
                ],
            )
            .credentials("socks5_password:6"),
            stream(
                "socks 5, http inside",
                "socks,http",
                vec![
                    c(hex("05 01 00")),
                    s(hex("05 00")),
                    ask(),
                    granted(),
                    c("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer abc\r\n\r\n"),
                ],
            )
            .credentials("http_bearer:3"),
            stream(
                "socks 4",
                "socks,ssl",
                vec![
                    c(hex("04 01 01bb 0a000001 6d6500")),
                    s(hex("00 5a 0000 00000000")),
                    c(client_hello()),
                ],
            ),
            stream(
                "socks 4 without a user, http inside",
                "socks,http",
                vec![
                    c(hex("04 01 0050 5db8d877 00")),
                    s(hex("00 5a 0050 5db8d877")),
                    c("GET / HTTP/1.1\r\n\r\n"),
                ],
            ),
            stream(
                "proxy protocol",
                "proxy,ssl",
                vec![c([
                    &b"PROXY TCP4 10.0.0.1 10.0.0.2 1234 443\r\n"[..],
                    &client_hello(),
                ]
                .concat())],
            ),
            stream(
                "proxy protocol 2",
                "proxy,http",
                vec![c([
                    super::PROXY2,
                    &hex("21 11 000c 0a000001 0a000002 04d2 0050"),
                    b"GET / HTTP/1.0\r\n\r\n",
                ]
                .concat())],
            ),
        ]
    }
}
