//! XMPP (RFC 6120): STARTTLS (§5), SASL PLAIN (§6), and the password of the
//! older jabber:iq:auth (XEP-0078). Read tag by tag, without an XML parser.

use super::reader::{Reader, Role, Scene, Upgrade};
use super::registry::{Look, Match};
use super::talk::{After, Talk, TalkReader};
use super::text::{contains_any_case, decoded, is_beginning_of};

/// `<stream:stream`, perhaps after an XML declaration.
pub(super) fn probe(look: &Look<'_>) -> Match {
    const OPENING: &[u8] = b"<stream:stream";
    let mut bytes = look.bytes;
    if is_beginning_of(bytes, b"<?xml ") {
        return Match::NeedMore;
    }
    if bytes.starts_with(b"<?xml ") {
        let Some(end) = memchr::memchr(b'>', bytes) else {
            return if bytes.len() < 128 {
                Match::NeedMore
            } else {
                Match::No
            };
        };
        bytes = bytes.get(end + 1..).unwrap_or_default().trim_ascii_start();
    }
    if is_beginning_of(bytes, OPENING) {
        return Match::NeedMore;
    }
    if !bytes.starts_with(OPENING) {
        return Match::No;
    }
    // Which side it is shows in who is asked: a client names whom it wants.
    let Some(end) = memchr::memchr(b'>', bytes) else {
        return if bytes.len() < 1024 {
            Match::NeedMore
        } else {
            Match::No
        };
    };
    let tag = bytes.get(..end).unwrap_or_default();
    let is_server = contains_any_case(tag, b" id=");
    Match::Yes(if is_server {
        Role::Server
    } else {
        Role::Client
    })
}

/// The reader.
pub(super) fn open() -> Box<dyn Reader> {
    TalkReader::<Xmpp>::open()
}

#[derive(Debug, Default)]
struct Xmpp {
    upgrade: Upgrade,
    /// What the text that follows is.
    text: Text,
    /// Within the server's features; whether starttls was there.
    features: Option<bool>,
    asking: bool,
}

#[derive(Debug, Default, Clone, Copy)]
enum Text {
    #[default]
    Other,
    SaslPlain,
    Password,
}

impl Talk for Xmpp {
    const TRANSPORT: &'static str = "starttls-xmpp";
    const DELIMITER: u8 = b'>';

    fn client(&mut self, scene: &mut Scene<'_, '_>, line: &[u8]) -> After {
        let (text, tag) = text_and_tag(line);
        match std::mem::take(&mut self.text) {
            Text::Other => {}
            Text::SaslPlain => {
                let text = text.trim_ascii();
                match decoded(text) {
                    Some(message) => scene.sasl_plain("xmpp_sasl_plain", &message),
                    None => scene.login("xmpp_sasl_plain", None, text),
                }
            }
            Text::Password => scene.login("xmpp_password", None, text.trim_ascii()),
        }
        match name(tag) {
            b"starttls" => {
                self.upgrade.asked = true;
                self.asking = true;
            }
            b"auth" => {
                self.upgrade.went_on = true;
                if contains_any_case(tag, b"PLAIN") && !tag.ends_with(b"/") {
                    self.text = Text::SaslPlain;
                }
            }
            b"password" if !tag.ends_with(b"/") => {
                self.upgrade.went_on = true;
                self.text = Text::Password;
            }
            b"message" | b"presence" => self.upgrade.went_on = true,
            _ => {}
        }
        After::Line
    }

    fn server(&mut self, _scene: &mut Scene<'_, '_>, line: &[u8]) -> After {
        let (_, tag) = text_and_tag(line);
        match name(tag) {
            b"stream:features" | b"features" => self.features = Some(false),
            b"starttls" => {
                if let Some(listed) = &mut self.features {
                    *listed = true;
                }
            }
            b"/stream:features" | b"/features" => {
                let listed = self.features.take().unwrap_or(false);
                self.upgrade.offered = Some(listed || self.upgrade.offered == Some(true));
            }
            b"proceed" if self.asking => return After::Tls,
            b"failure" if self.asking => {
                self.asking = false;
                self.upgrade.refused = true;
            }
            _ => {}
        }
        After::Line
    }

    fn upgrade(&mut self) -> Option<&mut Upgrade> {
        Some(&mut self.upgrade)
    }
}

/// What stands before the last `<`, and what after it.
fn text_and_tag(line: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memrchr(b'<', line) {
        Some(at) => (
            line.get(..at).unwrap_or_default(),
            line.get(at + 1..).unwrap_or_default(),
        ),
        None => (line, &[]),
    }
}

/// A tag's name.
fn name(tag: &[u8]) -> &[u8] {
    let end = tag
        .iter()
        .skip(1)
        .position(|byte| byte.is_ascii_whitespace() || *byte == b'/')
        .map_or(tag.len(), |at| at + 1);
    tag.get(..end).unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::StartTls;
    use super::super::testing::{Case, c, client_hello, s, stream};

    pub(in super::super) fn cases() -> Vec<Case> {
        let open = || {
            c(
                "<?xml version='1.0'?><stream:stream to='a.example' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>",
            )
        };
        let opened = || "<?xml version='1.0'?><stream:stream from='a.example' id='x1' xmlns='jabber:client' version='1.0'>";
        let offer = || {
            s(format!(
                "{}<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>",
                opened()
            ))
        };
        let none = || {
            s(format!(
                "{}<stream:features><mechanisms><mechanism>PLAIN</mechanism></mechanisms></stream:features>",
                opened()
            ))
        };
        let auth = || {
            c(
                "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AHRpbQB0YW5zdGFhZnRhbnN0YWFm</auth>",
            )
        };
        let ask = || c("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
        vec![
            stream("xmpp: sasl plain", "xmpp", vec![open(), none(), auth()])
                .credentials("xmpp_sasl_plain:16")
                .starttls(StartTls::NotOffered),
            stream("xmpp: not taken", "xmpp", vec![open(), offer(), auth()])
                .credentials("xmpp_sasl_plain:16")
                .starttls(StartTls::OfferedNotTaken),
            stream(
                "xmpp: taken",
                "xmpp,ssl",
                vec![
                    open(),
                    offer(),
                    ask(),
                    s("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
                    c(client_hello()),
                ],
            )
            .starttls(StartTls::Taken),
            stream(
                "xmpp: refused",
                "xmpp",
                vec![
                    open(),
                    offer(),
                    ask(),
                    s("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>"),
                ],
            )
            .starttls(StartTls::Refused),
            stream(
                "xmpp: the older password",
                "xmpp",
                vec![
                    open(),
                    c("<iq type='set'><query xmlns='jabber:iq:auth'><username>me</username><password>secret</password></query></iq>"),
                ],
            )
            .credentials("xmpp_password:6"),
        ]
    }
}
