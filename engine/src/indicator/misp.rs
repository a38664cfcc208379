//! MISP exports: events with their attributes and objects, as the JSON of an
//! event, of a search (`response`), or a list of either.
//!
//! Attributes that are not meant for detection (`to_ids` false) and kinds that
//! no table shows are counted and left out.

use super::value::{self, by_name};
use super::{Entry, Sink, json_problem, lines_of_ids};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(untagged)]
enum Export {
    Wrapped { response: Response },
    One(Item),
    Many(Vec<Item>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Response {
    Events(Vec<Item>),
    Attributes {
        #[serde(rename = "Attribute", default)]
        attributes: Vec<Attribute>,
    },
}

/// An event in its wrapping or without, or an attribute.
#[derive(Deserialize)]
struct Item {
    #[serde(rename = "Event")]
    event: Option<Event>,
    #[serde(flatten)]
    bare: Event,
}

#[derive(Default, Deserialize)]
struct Event {
    #[serde(default)]
    info: Option<String>,
    #[serde(rename = "Attribute", default)]
    attributes: Vec<Attribute>,
    #[serde(rename = "Object", default)]
    objects: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    #[serde(rename = "Attribute", default)]
    attributes: Vec<Attribute>,
}

#[derive(Deserialize)]
struct Attribute {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    value: Option<String>,
    #[serde(default)]
    uuid: Option<String>,
    #[serde(default)]
    comment: Option<String>,
    #[serde(default)]
    to_ids: Option<Flag>,
    #[serde(default)]
    deleted: Option<Flag>,
}

/// `true`, `1` or `"1"`, as versions and exports differ.
#[derive(Deserialize)]
#[serde(untagged)]
enum Flag {
    Truth(bool),
    Number(i64),
    Text(String),
}

impl Flag {
    fn is_set(&self) -> bool {
        match self {
            Self::Truth(truth) => *truth,
            Self::Number(number) => *number != 0,
            Self::Text(text) => !matches!(text.as_str(), "" | "0" | "false"),
        }
    }
}

pub(super) fn read(text: &str, sink: &mut Sink<'_>) {
    let export: Export = match serde_json::from_str(text) {
        Ok(export) => export,
        Err(error) => {
            let (line, message) = json_problem(&error);
            return sink.problem(
                line,
                format!("{message}; expected a STIX bundle or a MISP event"),
            );
        }
    };
    let lines = lines_of_ids(text);
    let mut take = |info: Option<&str>, attribute: &Attribute| {
        let is_meant = attribute.to_ids.as_ref().is_none_or(Flag::is_set);
        let is_deleted = attribute.deleted.as_ref().is_some_and(Flag::is_set);
        let (Some(value), true) = (&attribute.value, is_meant && !is_deleted) else {
            return sink.skip();
        };
        let uuid = attribute.uuid.as_deref();
        let comment = attribute.comment.as_deref().filter(|text| !text.is_empty());
        let entry = Entry {
            line: uuid.and_then(|uuid| lines.get(uuid).copied()).unwrap_or(1),
            id: uuid,
            name: info.or(comment),
            ..Entry::default()
        };
        self::value(&entry, &attribute.kind, value, sink);
    };
    let mut event = |event: &Event| {
        let info = event.info.as_deref();
        let inside = event.objects.iter().flat_map(|object| &object.attributes);
        event
            .attributes
            .iter()
            .chain(inside)
            .for_each(|attribute| take(info, attribute));
    };
    let mut item = |item: &Item| {
        if let Some(wrapped) = &item.event {
            event(wrapped);
        }
        event(&item.bare);
    };
    match &export {
        Export::Wrapped {
            response: Response::Events(items),
        }
        | Export::Many(items) => items.iter().for_each(item),
        Export::Wrapped {
            response: Response::Attributes { attributes },
        } => attributes
            .iter()
            .for_each(|attribute| take(None, attribute)),
        Export::One(one) => item(one),
    }
}

/// One attribute: its type may name two things, as `ip-dst|port` does.
pub(super) fn value(entry: &Entry<'_>, kind: &str, text: &str, sink: &mut Sink<'_>) {
    if let Some(parsed) = by_name(kind, text) {
        return sink.take(entry, parsed);
    }
    let Some((first, second)) = kind.split_once('|') else {
        return sink.skip();
    };
    // `|` parts the values; some write the port behind a colon.
    let (left, right) = text
        .split_once('|')
        .or_else(|| text.rsplit_once(':'))
        .unwrap_or((text, ""));
    let parsed = match (first, second) {
        ("ip-dst" | "ip-src" | "hostname" | "domain", "port") => {
            let one = value::address(left).or_else(|_| value::domain(left));
            match (one, right.parse::<u16>()) {
                (Ok(one), Ok(port)) if port > 0 => Ok(vec![one.at_port(port)]),
                (Err(why), _) => Err(why),
                _ => Err(format!("`{}` is no port", value::shown(right))),
            }
        }
        ("domain", "ip") => {
            value::domain(left).and_then(|name| Ok(vec![name, value::address(right)?]))
        }
        ("filename", "md5" | "sha1" | "sha256") => value::file(right).map(|one| vec![one]),
        _ => return sink.skip(),
    };
    sink.take(entry, parsed);
}
