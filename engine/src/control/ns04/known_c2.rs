//! What command-and-control frameworks leave behind when nobody changes their
//! defaults: certificates by fingerprint, serial number and name, TLS
//! fingerprints, forms of DNS names. From `rules/c2.tsv`, each with its source.
//! A JA3 alone is shared with ordinary programs and never more than `info`.

use super::subjects::{Subjects, say_left_out};
use super::{
    Behaviour, Columns, Detector, Found, Judgement, NameId, Numbers, Rows, Scene, Tally, Trail,
};
use crate::control::{Meta, Severity, Wants};
use crate::policy::Policy;
use foldhash::quality::RandomState;
use hashbrown::HashMap;
use serde_json::json;

pub(super) struct KnownC2;

static META: Meta = Meta {
    id: "NS-04.known_c2",
    title: "Constant of a command-and-control framework",
    severity: Severity::Critical,
    attack: &["T1071.001", "T1573", "T1071.004"],
    wants: Wants::Tables,
    observable_with: "handshakes with their certificates; DNS questions",
    source: "rules/c2.tsv",
};

/// One line of the list.
#[derive(Clone, Copy, Debug)]
struct Constant {
    kind: &'static str,
    value: &'static str,
    severity: Severity,
    name: &'static str,
    source: &'static str,
}

fn constants() -> Vec<Constant> {
    let list = include_str!("../../../../rules/c2.tsv");
    let lines = list.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(constant).collect()
}

fn constant(line: &'static str) -> Option<Constant> {
    let mut fields = line.split('\t');
    let (kind, value) = (fields.next()?, fields.next()?);
    let severity = match fields.next()? {
        "info" => Severity::Info,
        "low" => Severity::Low,
        "medium" => Severity::Medium,
        "high" => Severity::High,
        "critical" => Severity::Critical,
        _ => return None,
    };
    Some(Constant {
        kind,
        value,
        severity,
        name: fields.next()?,
        source: fields.next()?,
    })
}

impl Behaviour for KnownC2 {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn start(&self, policy: &Policy) -> Result<Box<dyn Detector>, &'static str> {
        Ok(Box::new(Looking {
            constants: constants(),
            subjects: Subjects::new(policy),
            ..Looking::default()
        }))
    }
}

/// Source, destination, port, constant.
type Key = (NameId, NameId, u16, usize);

#[derive(Debug)]
struct Subject {
    dst: NameId,
    trail: Trail,
}

#[derive(Debug, Default)]
struct Looking {
    constants: Vec<Constant>,
    is_fed: bool,
    /// Certificates that a constant names, by fingerprint.
    certificates: HashMap<NameId, usize, RandomState>,
    subjects: Subjects<Key, Subject>,
    tally: Tally,
}

impl Detector for Looking {
    fn next(&mut self, _scene: &Scene<'_>) -> &'static [Columns] {
        if std::mem::replace(&mut self.is_fed, true) {
            return &[];
        }
        // Certificates come before the handshakes that carry them.
        &[
            Columns {
                table: "certificates",
                plain: &["serial", "subject_cn", "issuer_cn"],
                names: &["fingerprint"],
            },
            Columns {
                table: "tls_handshakes",
                plain: &["dst_port"],
                names: &[
                    "src_ip",
                    "dst_ip",
                    "destination",
                    "leaf_fingerprint",
                    "ja3",
                    "ja3s",
                ],
            },
            Columns {
                table: "dns_queries",
                plain: &["query", "dst_port"],
                names: &["src_ip", "dst_ip"],
            },
        ]
    }

    fn feed(&mut self, rows: &Rows<'_>) {
        match rows.table() {
            "certificates" => self.certificates(rows),
            "tls_handshakes" => self.handshakes(rows),
            _ => self.names(rows),
        }
    }

    fn judge(self: Box<Self>, scene: &Scene<'_>) -> Judgement {
        let mut judgement = Judgement {
            tally: self.tally,
            ..Judgement::default()
        };
        let mut hosts: HashMap<usize, Vec<NameId>, RandomState> = HashMap::default();
        for &(src, _, _, index) in self.subjects.map.keys() {
            let hosts = hosts.entry(index).or_default();
            if !hosts.contains(&src) && hosts.len() < 1_024 {
                hosts.push(src);
            }
        }
        for ((src, to, port, index), subject) in self.subjects.map {
            let Some(constant) = self.constants.get(index) else {
                continue;
            };
            let (src, dst) = (scene.names.text(src), scene.names.text(subject.dst));
            let Some((src, dst)) = src.parse().ok().zip(dst.parse().ok()) else {
                continue;
            };
            let against: &[&str] = match constant.kind {
                "ja3" => &["ordinary programs have the same fingerprint"],
                _ => &[],
            };
            judgement.found.push(Found {
                severity: constant.severity,
                baseline: None,
                src,
                dst,
                dst_port: port,
                destination: scene.names.text(to).to_owned(),
                detail: constant.name.to_owned(),
                explanation: format!("{} ({} {})", constant.name, constant.kind, constant.value),
                trail: subject.trail,
                prevalence_hosts: hosts
                    .get(&index)
                    .map_or(1, |hosts| u32::try_from(hosts.len()).unwrap_or(u32::MAX)),
                numbers: Numbers {
                    evidence: Some(
                        json!({
                            "kind": constant.kind,
                            "value": constant.value,
                            "source": constant.source,
                            "against": against,
                        })
                        .to_string(),
                    ),
                    ..Numbers::default()
                },
            });
        }
        say_left_out(
            &mut judgement,
            self.subjects.left_out,
            "matches beyond it were left out",
        );
        judgement
    }
}

impl Looking {
    fn find(&self, kind: &str, value: &str) -> Option<usize> {
        self.constants
            .iter()
            .position(|known| known.kind == kind && known.value.eq_ignore_ascii_case(value))
    }

    fn certificates(&mut self, rows: &Rows<'_>) {
        let fingerprint = rows.ids("fingerprint");
        let (serial, subject) = (rows.texts("serial"), rows.texts("subject_cn"));
        let issuer = rows.texts("issuer_cn");
        for row in 0..rows.len() {
            let id = fingerprint.get(row);
            let by_print = self.find("cert_sha256", rows.names().text(id));
            let plain = serial.get(row).map(|serial| serial.trim_start_matches('0'));
            let by_serial = || plain.and_then(|serial| self.find("cert_serial", serial));
            let by_subject = || subject.get(row).and_then(|name| self.find("cert_cn", name));
            let by_issuer = || issuer.get(row).and_then(|name| self.find("cert_cn", name));
            let found = by_print
                .or_else(by_serial)
                .or_else(by_subject)
                .or_else(by_issuer);
            if let Some(index) = found.filter(|_| id.is_some()) {
                self.certificates.insert(id, index);
            }
        }
    }

    fn handshakes(&mut self, rows: &Rows<'_>) {
        let (src, dst, to) = (
            rows.ids("src_ip"),
            rows.ids("dst_ip"),
            rows.ids("destination"),
        );
        let (leaf, port) = (rows.ids("leaf_fingerprint"), rows.ints("dst_port"));
        let (ja3, ja3s) = (rows.ids("ja3"), rows.ids("ja3s"));
        // A batch has few different fingerprints: each is looked up once.
        let mut known: HashMap<(NameId, NameId), Option<usize>, RandomState> = HashMap::default();
        for row in 0..rows.len() {
            let by_leaf = self.certificates.get(&leaf.get(row)).copied();
            let pair = (ja3.get(row), ja3s.get(row));
            let by_print = match known.get(&pair) {
                Some(found) => *found,
                None => {
                    let (client, server) = (rows.names().text(pair.0), rows.names().text(pair.1));
                    let both = format!("{client},{server}");
                    let found = self
                        .find("ja3_ja3s", &both)
                        .or_else(|| self.find("ja3", client));
                    known.insert(pair, found);
                    found
                }
            };
            match by_leaf.or(by_print) {
                Some(index) => {
                    let port = u16::try_from(port.or_zero(row)).unwrap_or_default();
                    let key = (src.get(row), to.get(row), port, index);
                    self.note(key, dst.get(row), rows, row);
                }
                None => self.tally.pass(rows.places().capture(row)),
            }
        }
    }

    fn names(&mut self, rows: &Rows<'_>) {
        let (src, server) = (rows.ids("src_ip"), rows.ids("dst_ip"));
        let (query, port) = (rows.texts("query"), rows.ints("dst_port"));
        let forms: Vec<usize> = (0..self.constants.len())
            .filter(|&index| {
                self.constants
                    .get(index)
                    .is_some_and(|known| known.kind == "dns_form")
            })
            .collect();
        for row in 0..rows.len() {
            let Some(name) = query.get(row) else { continue };
            let found = forms.iter().copied().find(|&index| {
                self.constants
                    .get(index)
                    .is_some_and(|known| has_form(name, known.value))
            });
            if let Some(index) = found {
                let port = u16::try_from(port.or_zero(row)).unwrap_or_default();
                let key = (src.get(row), server.get(row), port, index);
                self.note(key, server.get(row), rows, row);
            }
        }
    }

    fn note(&mut self, key: Key, dst: NameId, rows: &Rows<'_>, row: usize) {
        if !key.0.is_some() || !key.1.is_some() {
            return;
        }
        let Some(subject) = self.subjects.entry(key, || Subject {
            dst,
            trail: Trail::keeping(64),
        }) else {
            return;
        };
        subject.trail.push(rows.places().get(row));
    }
}

/// Whether a name begins with labels of a form: `A` stands for a letter, `0`
/// for a digit, everything else for itself; more labels must follow.
fn has_form(name: &str, form: &str) -> bool {
    let mut labels = name.split('.');
    let fits = |label: &str, form: &str| {
        label.len() == form.len()
            && label
                .bytes()
                .zip(form.bytes())
                .all(|(byte, form)| match form {
                    b'A' => byte.is_ascii_alphabetic(),
                    b'0' => byte.is_ascii_digit(),
                    form => byte == form,
                })
    };
    let begins = form
        .split('.')
        .all(|form| labels.next().is_some_and(|label| fits(label, form)));
    begins && labels.next().is_some()
}

#[cfg(test)]
mod tests {
    use super::super::tables_by_hand::{asked, ints, judge_asked, places, texts, write};
    use super::super::testing::judge_folder;
    use super::*;

    #[test]
    fn every_line_of_the_list_is_whole() {
        let list = include_str!("../../../../rules/c2.tsv");
        let lines = list.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(constants().len(), lines);
        for known in constants() {
            let kinds = [
                "cert_sha256",
                "cert_serial",
                "cert_cn",
                "ja3_ja3s",
                "ja3",
                "dns_form",
            ];
            assert!(kinds.contains(&known.kind), "{known:?}");
            assert!(
                known.kind != "ja3" || known.severity == Severity::Info,
                "{known:?}"
            );
        }
    }

    /// One handshake with this certificate and these fingerprints.
    fn handshake(serial: &str, cn: &str, ja3: &str, ja3s: &str) -> Vec<(Severity, String)> {
        let folder = tempfile::tempdir().unwrap();
        let one = |text| texts(std::iter::once(Some(text)));
        let mut columns = places(&[0]);
        columns.extend([
            ("fingerprint", one("ab")),
            ("serial", one(serial)),
            ("subject_cn", one(cn)),
            ("issuer_cn", one("somebody")),
        ]);
        write(folder.path(), "certificates", columns);
        let mut columns = places(&[0]);
        columns.extend([
            ("src_ip", one("10.0.0.5")),
            ("dst_ip", one("198.51.100.7")),
            ("dst_port", ints(std::iter::once(Some(443)))),
            ("destination", one("198.51.100.7")),
            ("leaf_fingerprint", one("ab")),
            ("ja3", one(ja3)),
            ("ja3s", one(ja3s)),
        ]);
        write(folder.path(), "tls_handshakes", columns);
        let judged = judge_folder(&KnownC2, &Policy::built_in(), folder.path());
        judged
            .found
            .into_iter()
            .map(|found| (found.severity, found.detail))
            .collect()
    }

    #[test]
    fn certificates_are_known_by_serial_and_name() {
        let by_serial = handshake("08BB00EE", "x", "", "");
        assert_eq!(by_serial.len(), 1);
        assert_eq!(by_serial[0].0, Severity::Critical);
        let by_name = handshake("01", "AsyncRAT Server", "", "");
        assert!(by_name[0].1.starts_with("AsyncRAT"), "{by_name:?}");
        assert_eq!(handshake("08bb00ef", "x", "", ""), []);
    }

    #[test]
    fn a_client_alone_is_information() {
        let ja3 = "72a589da586844d7f0818ce684948eea";
        assert_eq!(handshake("01", "x", ja3, "f")[0].0, Severity::Info);
        assert_eq!(
            handshake("01", "x", ja3, "b742b407517bac9536a77a7b0fee28e9")[0].0,
            Severity::Low
        );
    }

    #[test]
    fn names_have_a_form() {
        for (name, expected) in [
            ("aaa.stage.12345678.example.com", true),
            ("aaa.stage.12345678", false),
            ("aaaa.stage.12345678.example.com", false),
            ("aaa.stage.1234567a.example.com", false),
            ("www.example.com", false),
        ] {
            assert_eq!(has_form(name, "AAA.stage.00000000"), expected, "{name}");
            let found = judge_asked(&KnownC2, &Policy::built_in(), &[asked(name)]).found;
            assert_eq!(found.len(), usize::from(expected), "{name}");
        }
    }
}
