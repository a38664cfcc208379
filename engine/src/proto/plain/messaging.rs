//! MQTT (OASIS MQTT 3.1.1 and 5.0) and AMQP (0-9-1; OASIS AMQP 1.0): what a
//! client logs in with. Other brokers' greetings are named elsewhere.

use super::PlaintextFacts;
use super::reader::{Frame, Frames, Measure, Next, Reader, Role, Scene, Upgrade};
use super::registry::{Look, Match};
use super::text::{be16, be32, magic, sasl_plain_raw_secret_len};
use crate::proto::{Cx, Want};

/// CONNECT: type 1, remaining length, then the protocol's name.
pub(super) fn probe_mqtt(look: &Look<'_>) -> Match {
    let Some((0x10, rest)) = look.bytes.split_first().map(|(first, rest)| (*first, rest)) else {
        return if look.bytes.is_empty() {
            Match::NeedMore
        } else {
            Match::No
        };
    };
    let Some((len, rest)) = variable_length(rest) else {
        return if rest.len() < 4 {
            Match::NeedMore
        } else {
            Match::No
        };
    };
    if len < 10 {
        return Match::No;
    }
    for name in [&b"\0\x04MQTT"[..], b"\0\x06MQIsdp"] {
        match magic(rest, name) {
            Some(false) => {}
            found => return Match::magic(found, Role::Client),
        }
    }
    Match::No
}

/// MQTT's reader.
pub(super) fn open_mqtt() -> Box<dyn Reader> {
    Box::new(Mqtt::default())
}

#[derive(Debug, Default)]
struct Mqtt {
    client: Frames,
}

impl Reader for Mqtt {
    fn data(&mut self, scene: &mut Scene<'_, '_>, from: Role, bytes: &[u8]) -> Next {
        if from == Role::Server {
            return Next::NOTHING;
        }
        let mut rest = bytes;
        match self.client.next(&mut rest, 4096, measure_mqtt) {
            Frame::Message(message) => {
                mqtt_connect(scene, &message);
                // One CONNECT to a connection (MQTT-3.1.0-2).
                Next::NOTHING
            }
            Frame::Want(want) => Next::Want(want),
            Frame::Lost => Next::NOTHING,
        }
    }

    fn gap(&mut self, _from: Role, _len: u64) -> Want {
        Want::Nothing
    }

    fn heap_bytes(&self) -> usize {
        self.client.heap_bytes()
    }
}

fn measure_mqtt(bytes: &[u8]) -> Measure {
    match bytes.split_first() {
        None => Measure::Short,
        Some((_, rest)) => match variable_length(rest) {
            Some((len, after)) => Measure::Len(u64::from(len) + (bytes.len() - after.len()) as u64),
            None if rest.len() < 4 => Measure::Short,
            None => Measure::Bad,
        },
    }
}

/// Seven bits to a byte, at most four bytes (MQTT 3.1.1 §2.2.3).
fn variable_length(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let mut value = 0_u32;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= u32::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(index + 1..)?));
        }
    }
    None
}

/// §3.1: name, level, flags, keep alive, [properties,] client id, [will,] [user,] [password].
fn mqtt_connect(scene: &mut Scene<'_, '_>, message: &[u8]) -> Option<()> {
    let (_, rest) = variable_length(message.get(1..)?)?;
    let (_, rest) = string(rest)?;
    let [level, flags, _, _, rest @ ..] = rest else {
        return None;
    };
    let has = |flag: u8| flags & flag != 0;
    let properties = |rest| {
        if *level == 5 {
            let (len, rest) = variable_length(rest)?;
            rest.get(usize::try_from(len).ok()?..)
        } else {
            Some(rest)
        }
    };
    let (_, mut rest) = string(properties(rest)?)?;
    if has(0x04) {
        rest = string(properties(rest)?)?.1;
        rest = string(rest)?.1;
    }
    if has(0x80) {
        rest = string(rest)?.1;
    }
    if has(0x40) {
        // A long password need not be whole here.
        match string(rest) {
            Some((secret, _)) => scene.login("mqtt_password", None, secret),
            None => scene.credential("mqtt_password", usize::from(be16(rest, 0)?)),
        }
    }
    Some(())
}

/// A string after its length of two bytes.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let len = usize::from(be16(bytes, 0)?);
    bytes.get(2..)?.split_at_checked(len)
}

/// `AMQP` and four bytes of version.
pub(super) fn probe_amqp(look: &Look<'_>) -> Match {
    match magic(look.bytes, b"AMQP") {
        Some(true) => match look.bytes.get(4..8) {
            None => Match::NeedMore,
            // 0-9-1; 0-8 and 0-9 and 0-10; 1.0 plain, after TLS, with SASL.
            Some([0, 0, 9, 1] | [1, 1, 0 | 8 | 9, _] | [0 | 2 | 3, 1, 0, 0]) => {
                Match::Yes(Role::Client)
            }
            Some(_) => Match::No,
        },
        found => Match::magic(found, Role::Client),
    }
}

/// AMQP's reader.
pub(super) fn open_amqp() -> Box<dyn Reader> {
    Box::new(Amqp::default())
}

const AMQP_HEADER: usize = 8;
/// Protocol id 2: TLS follows (AMQP 1.0 §5.2.1).
const AMQP_TLS: &[u8] = b"AMQP\x02\x01\x00\x00";

#[derive(Debug, Default)]
struct Amqp {
    upgrade: Upgrade,
    sides: [Frames; 2],
    /// 1.0 has other frames than 0-9-1.
    is_one: bool,
    /// The login was seen.
    done: bool,
}

impl Reader for Amqp {
    fn data(&mut self, scene: &mut Scene<'_, '_>, from: Role, bytes: &[u8]) -> Next {
        if self.done {
            return Next::NOTHING;
        }
        let mut rest = bytes;
        loop {
            let is_one = self.is_one;
            let frames = &mut self.sides[from.index()];
            match frames.next(&mut rest, 4096, |bytes| measure_amqp(bytes, is_one)) {
                Frame::Message(message) if message.starts_with(b"AMQP") => {
                    self.is_one = message.get(5..8) == Some(&[1, 0, 0]);
                    let wants_tls = &*message == AMQP_TLS;
                    match from {
                        Role::Client => self.upgrade.asked |= wants_tls,
                        Role::Server if self.upgrade.asked && wants_tls => {
                            self.upgrade.accepted = true;
                            return Next::Tls {
                                after: bytes.len() - rest.len(),
                                transport: "starttls-amqp",
                            };
                        }
                        Role::Server => self.upgrade.refused |= self.upgrade.asked,
                    }
                }
                Frame::Message(message) => {
                    if from == Role::Client {
                        let secret = if is_one {
                            sasl_init(&message)
                        } else {
                            start_ok(&message)
                        };
                        if let Some((class, len)) = secret {
                            scene.credential(class, len);
                            self.done = true;
                            return Next::NOTHING;
                        }
                    }
                }
                Frame::Want(want) => return Next::Want(want),
                Frame::Lost => return Next::NOTHING,
            }
        }
    }

    fn gap(&mut self, from: Role, _len: u64) -> Want {
        self.sides[from.index()].gap()
    }

    fn end(&mut self, _cx: &mut Cx<'_>, facts: &mut PlaintextFacts) {
        facts.starttls = self.upgrade.verdict();
    }

    fn heap_bytes(&self) -> usize {
        self.sides.iter().map(Frames::heap_bytes).sum()
    }
}

fn measure_amqp(bytes: &[u8], is_one: bool) -> Measure {
    match magic(bytes, b"AMQP") {
        Some(true) => return Measure::Len(AMQP_HEADER as u64),
        None => return Measure::Short,
        Some(false) => {}
    }
    // 1.0: size with itself; 0-9-1: type, channel, size, payload, end.
    let (at, extra) = if is_one { (0, 0) } else { (3, 8) };
    match be32(bytes, at) {
        None => Measure::Short,
        Some(len) if is_one && len < 8 => Measure::Bad,
        Some(_) if !is_one && !matches!(bytes.first(), Some(1..=3 | 8)) => Measure::Bad,
        Some(len) => Measure::Len(u64::from(len) + extra),
    }
}

/// Connection.StartOk (class 10, method 11): properties, mechanism, response.
fn start_ok(frame: &[u8]) -> Option<(&'static str, usize)> {
    let method = frame.get(7..)?;
    if (be16(method, 0)?, be16(method, 2)?) != (10, 11) {
        return None;
    }
    let properties = usize::try_from(be32(method, 4)?).ok()?;
    let rest = method.get(8usize.checked_add(properties)?..)?;
    let (&len, rest) = rest.split_first()?;
    let (mechanism, rest) = rest.split_at_checked(usize::from(len))?;
    let len = usize::try_from(be32(rest, 0)?).ok()?;
    let response = rest.get(4..)?;
    let response = response.get(..len).unwrap_or(response);
    match mechanism {
        b"PLAIN" => Some(("amqp_plain", sasl_plain_raw_secret_len(response))),
        // A table with LOGIN and PASSWORD; the whole is the secret's bound.
        b"AMQPLAIN" => {
            let at = response
                .windows(9)
                .position(|window| window == b"PASSWORDS")?;
            let len = be32(response, at + 9)?;
            Some(("amqp_amqplain", usize::try_from(len).ok()?))
        }
        _ => None,
    }
}

/// sasl-init (descriptor 0x41): mechanism as a symbol, initial response as binary.
fn sasl_init(frame: &[u8]) -> Option<(&'static str, usize)> {
    const PLAIN: &[u8] = b"\xa3\x05PLAIN";
    let at = frame
        .windows(PLAIN.len())
        .position(|window| window == PLAIN)?;
    let [0xa0, len, response @ ..] = frame.get(at + PLAIN.len()..)? else {
        return None;
    };
    let response = response.get(..usize::from(*len))?;
    Some(("amqp_plain", sasl_plain_raw_secret_len(response)))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::StartTls;
    use super::super::testing::{Case, c, client_hello, hex, s, stream};

    pub(in super::super) fn cases() -> Vec<Case> {
        let start_ok = || {
            c(hex(
                "01 0000 00000020 000a 000b 00000000 05 504c41494e 00000009 00 6d65 00 776f726473 05 656e5f5553 ce",
            ))
        };
        vec![
            // Will topic "w", message "x", user "me", password "secret".
            stream(
                "mqtt: password",
                "mqtt",
                vec![
                    c(hex("10 21 0004 4d515454 04 c6 003c 0003 616263 0001 77 0001 78 0002 6d65 0006 736563726574")),
                    s(hex("20020000")),
                ],
            )
            .credentials("mqtt_password:6"),
            stream(
                "mqtt 5: password, no user",
                "mqtt",
                vec![c(hex("10 17 0004 4d515454 05 42 003c 00 0000 0008 7365637265743132"))],
            )
            .credentials("mqtt_password:8"),
            stream(
                "mqtt: nobody logs in",
                "mqtt",
                vec![c(hex("10 0e 0006 4d5149736470 03 02 003c 0000"))],
            ),
            stream(
                "amqp 0-9-1",
                "amqp",
                vec![c(b"AMQP\0\0\x09\x01"), s(hex("01 0000 00000004 000a000a ce")), start_ok()],
            )
            .credentials("amqp_plain:5"),
            stream(
                "amqp 1.0 with sasl",
                "amqp",
                vec![
                    c(b"AMQP\x03\x01\0\0"),
                    s(b"AMQP\x03\x01\0\0"),
                    c(hex("00000020 02 01 0000 00 53 41 c0 13 02 a3 05 504c41494e a0 09 00 6d65 00 776f726473")),
                ],
            )
            .credentials("amqp_plain:5"),
            stream(
                "amqp 1.0: taken",
                "amqp,ssl",
                vec![
                    c(b"AMQP\x02\x01\0\0"),
                    s(b"AMQP\x02\x01\0\0"),
                    c(client_hello()),
                ],
            )
            .starttls(StartTls::Taken),
            stream(
                "amqp 1.0: refused",
                "amqp",
                vec![c(b"AMQP\x02\x01\0\0"), s(b"AMQP\0\x01\0\0")],
            )
            .starttls(StartTls::Refused),
        ]
    }
}
