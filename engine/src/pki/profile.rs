//! What RFC 5280's profile and the CA/Browser Forum's rules forbid, and
//! clients let pass: worth a warning, never a reason to call a chain untrusted.

use super::cert::Cert;
use super::der::days_from_civil;
use super::names::GeneralName;
use super::path::{Fault, Kind};
use super::sig::{Key, bits};
use std::sync::Arc;

/// Longest validity of a server's certificate in days, by when it was issued
/// (CA/Browser Forum ballots 193, SC22's precursor at the browsers, SC081).
const LONGEST: [(i64, i64, i64, i64); 6] = [
    (2015, 4, 1, 1_187),
    (2018, 3, 1, 825),
    (2020, 9, 1, 398),
    (2026, 3, 15, 200),
    (2027, 3, 15, 100),
    (2029, 3, 15, 47),
];

pub(super) fn inspect(path: &[Arc<Cert>], anchored: bool, public: bool, faults: &mut Vec<Fault>) {
    let last = path.len().saturating_sub(1);
    for (at, cert) in path.iter().enumerate() {
        let mut note = |text: &str| {
            faults.push(Fault {
                kind: Kind::Profile,
                fingerprint: cert.fingerprint,
                text: format!("`{}` {text}", cert.label),
            });
        };
        let is_anchor = anchored && at == last;
        identifiers(cert, at, is_anchor, &mut note);
        serial(cert.serial(), &mut note);
        if cert.subject().len() <= 2 && at > 0 {
            note("is a CA without a name");
        }
        if cert.issuer().len() <= 2 {
            note("names no issuer");
        }
        if cert.ext.aia_critical {
            note("has a critical authorityInfoAccess");
        }
        if let Some(basic) = cert.ext.basic {
            if basic.ca && !basic.critical {
                note("has basicConstraints that are not critical");
            }
            if !basic.ca && basic.path_len.is_some() {
                note("has a path length although it is no CA");
            }
        }
        if cert
            .ext
            .constraints
            .as_ref()
            .is_some_and(|(_, critical)| !critical)
        {
            note("has name constraints that are not critical");
        }
        if let Key::Rsa { modulus, .. } = &cert.key
            && !bits(modulus).is_multiple_of(8)
        {
            note("has an RSA key whose bits are no multiple of 8");
        }
        if at == 0 {
            leaf(cert, path.len() == 1, public, &mut note);
        }
        if is_anchor && at > 0 && cert.ext.ext_key_usage.is_some() {
            note("is a root with extKeyUsage");
        }
    }
}

fn identifiers(cert: &Cert, at: usize, is_anchor: bool, note: &mut impl FnMut(&str)) {
    let own_root = cert.self_issued();
    match &cert.ext.aki {
        None if !own_root && cert.version == 3 => note("has no authorityKeyIdentifier"),
        Some(aki) => {
            if aki.critical {
                note("has a critical authorityKeyIdentifier");
            }
            if own_root && at > 0 {
                let differs = match (&aki.key_id, &cert.ext.ski) {
                    (Some(id), Some((ski, _))) => id != ski,
                    (Some(_), None) => false,
                    (None, _) => true,
                };
                if differs || aki.issuer_or_serial {
                    note("is a root whose authorityKeyIdentifier is not its own key's");
                }
            }
        }
        None => {}
    }
    match &cert.ext.ski {
        Some((_, true)) => note("has a critical subjectKeyIdentifier"),
        None if at > 0 && cert.version == 3 => {
            let _ = is_anchor;
            note("is a CA without subjectKeyIdentifier");
        }
        _ => {}
    }
}

/// RFC 5280 §4.1.2.2: positive, at most 20 octets.
fn serial(content: &[u8], note: &mut impl FnMut(&str)) {
    if content.first().is_some_and(|first| first & 0x80 != 0) {
        note("has a negative serial number");
    } else if content.iter().all(|&byte| byte == 0) {
        note("has the serial number 0");
    }
    if content.len() > 20 {
        note("has a serial number of more than 20 octets");
    }
}

fn leaf(cert: &Cert, alone: bool, public: bool, note: &mut impl FnMut(&str)) {
    match &cert.ext.san {
        Some((names, critical)) => {
            let nameless = cert.subject().len() <= 2;
            if nameless && !critical {
                note("has no subject, and alternative names that are not critical");
            } else if !nameless && *critical {
                note("has a subject, and alternative names that are critical");
            }
            let odd = names.iter().any(|name| match name {
                GeneralName::Dns(host) => {
                    !super::names::is_host(host, super::names::Wildcard::Leftmost)
                }
                GeneralName::Ip(bytes) => !matches!(bytes.len(), 4 | 16),
                _ => false,
            });
            // A common name that looks like a host or an address must be one of
            // them, letter by letter (Baseline Requirements §7.1.4.3).
            let cn = super::names::common_name(cert.subject());
            let cn = cn.filter(|cn| cn.contains(['.', ':']) && !cn.contains(' '));
            if let Some(cn) = cn
                && !names.iter().any(|name| match name {
                    GeneralName::Dns(host) => host.eq_ignore_ascii_case(cn.as_bytes()),
                    GeneralName::Ip(bytes) => super::ip_text(bytes) == Some(cn.clone()),
                    _ => false,
                })
            {
                note("has a common name that is none of its alternative names");
            }
            if odd {
                note("has an alternative name that is no host name or address");
            }
        }
        None => note("has no alternative names"),
    }
    if cert.ext.constraints.is_some() {
        note("has name constraints although it is no CA");
    }
    if cert.is_ca() && !alone {
        note("is a CA's certificate, used by a server");
    }
    match cert.ext.ext_key_usage {
        Some(usage) if usage.critical => note("has a critical extKeyUsage"),
        Some(usage) if usage.any => note("is for any use (anyExtendedKeyUsage)"),
        _ => {}
    }
    if !public {
        return;
    }
    if cert.ext.ext_key_usage.is_none() {
        note("does not say that it is for servers (extKeyUsage)");
    }
    let longest = LONGEST
        .iter()
        .rev()
        .find(|(year, month, day, _)| {
            cert.not_before >= days_from_civil(*year, *month, *day).saturating_mul(86_400)
        })
        .map(|(.., days)| *days);
    // Both ends count (RFC 5280 §4.1.2.5).
    let seconds = cert
        .not_after
        .saturating_sub(cert.not_before)
        .saturating_add(1);
    if let Some(days) = longest
        && seconds > days.saturating_mul(86_400)
    {
        let is = seconds / 86_400;
        note(&format!(
            "is valid for {is} days; when it was issued, {days} were allowed"
        ));
    }
}
