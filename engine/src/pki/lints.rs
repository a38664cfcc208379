//! What a certificate itself breaks of RFC 5280's profile and the CA/Browser
//! Forum's rules of its day, by the names that zlint gives these rules, on which
//! analysts join. Facts for the `certificates` table; verdicts do not rest on them.

use super::cert::Cert;
use super::der::days_from_civil;
use super::sig::{Hash, Key, bits};

/// Seconds since 1970 of midnight.
const fn midnight(year: i64, month: i64, day: i64) -> i64 {
    days_from_civil(year, month, day) * 86_400
}

/// Names of the rules that `cert` breaks, sorted; `server` when it was shown as
/// a server's own.
pub fn lints(cert: &Cert, server: bool) -> Vec<&'static str> {
    let mut found = Vec::new();
    let mut note = |broken: bool, name: &'static str| {
        if broken {
            found.push(name);
        }
    };
    let ext = &cert.ext;
    let is_ca = cert.is_ca();
    let root = is_ca && cert.self_issued();
    note(cert.version != 3, "e_invalid_certificate_version");
    note(
        cert.not_after < cert.not_before,
        "e_validity_time_not_positive",
    );
    let serial = cert.serial();
    let sign_or_zero =
        serial.first().is_some_and(|first| first & 0x80 != 0) || serial.iter().all(|&b| b == 0);
    note(sign_or_zero, "e_serial_number_not_positive");
    note(serial.len() > 20, "e_serial_number_longer_than_20_octets");
    if let Key::Rsa { modulus, exponent } = &cert.key {
        note(bits(modulus) < 2_048, "e_rsa_mod_less_than_2048_bits");
        let even = exponent.last().is_none_or(|last| last & 1 == 0);
        note(even, "e_rsa_public_exponent_not_odd");
        note(**exponent == [1], "e_rsa_public_exponent_too_small");
    }
    // Baseline Requirements §7.1.3: none from 2016 on; roots sign themselves as they like.
    let sha1 = cert.sig_alg.hash() == Some(Hash::Sha1) && !root;
    note(
        sha1 && cert.not_before >= midnight(2016, 1, 1),
        "e_sub_cert_or_sub_ca_using_sha1",
    );
    note(
        ext.aki.is_none() && !root,
        "e_ext_authority_key_identifier_missing",
    );
    note(
        ext.aki.as_ref().is_some_and(|aki| aki.critical),
        "e_ext_authority_key_identifier_critical",
    );
    note(
        ext.ski.as_ref().is_some_and(|(_, critical)| *critical),
        "e_ext_subject_key_identifier_critical",
    );
    note(ext.aia_critical, "e_ext_aia_marked_critical");
    note(
        ext.constraints
            .as_ref()
            .is_some_and(|(_, critical)| !critical),
        "e_ext_name_constraints_not_critical",
    );
    if is_ca {
        note(cert.subject().len() <= 2, "e_ca_subject_field_empty");
        note(ext.ski.is_none(), "e_ext_subject_key_identifier_missing_ca");
        note(
            ext.basic.is_some_and(|basic| !basic.critical),
            "e_basic_constraints_not_critical",
        );
        note(ext.key_usage.is_none(), "e_ca_key_usage_missing");
    } else if server {
        note(ext.san.is_none(), "e_ext_san_missing");
        note(ext.ext_key_usage.is_none(), "e_sub_cert_eku_missing");
        // Both ends count (RFC 5280 §4.1.2.5); the CA/Browser Forum's ballots
        // 193 and SC22's precursor at Apple, by the day of issue.
        let seconds = cert
            .not_after
            .saturating_sub(cert.not_before)
            .saturating_add(1);
        let longer = |days: i64| seconds > days * 86_400;
        let issued = |from, before| (from..before).contains(&cert.not_before);
        let (since_193, since_398) = (midnight(2018, 3, 1), midnight(2020, 9, 1));
        note(
            issued(midnight(2015, 4, 1), since_193) && longer(1_187),
            "e_sub_cert_valid_time_longer_than_39_months",
        );
        note(
            issued(since_193, i64::MAX) && longer(825),
            "e_sub_cert_valid_time_longer_than_825_days",
        );
        note(
            issued(since_398, i64::MAX) && longer(398),
            "e_tls_server_cert_valid_time_longer_than_398_days",
        );
    }
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAF: &str = include_str!("../../../samples/pki/rsa.pem");
    const WEAK: &str = include_str!("../../../samples/pki/weak.pem");

    fn cert(pem: &str) -> Cert {
        let der = super::super::pem_certificates(pem).next().unwrap();
        Cert::parse(&der.into()).unwrap()
    }

    #[track_caller]
    fn broken(cert: &Cert, server: bool, expected: &[&str]) {
        assert_eq!(lints(cert, server), expected, "{}", cert.label);
    }

    /// `samples/pki/make.sh`: the leaf breaks nothing; the weak one has 1024 bits,
    /// SHA-1, and no purpose.
    #[test]
    fn rules_are_named_that_a_certificate_breaks() {
        broken(&cert(LEAF), true, &[]);
        broken(
            &cert(WEAK),
            true,
            &[
                "e_rsa_mod_less_than_2048_bits",
                "e_sub_cert_eku_missing",
                "e_sub_cert_or_sub_ca_using_sha1",
            ],
        );
    }

    /// A day over the limit of each time, both ends counted.
    #[test]
    fn validity_is_judged_by_the_day_of_issue() {
        let mut leaf = cert(LEAF);
        let mut lasting = |issued, days: i64, expected: &[&str]| {
            leaf.not_before = issued;
            leaf.not_after = issued + days * 86_400 - 1;
            broken(&leaf, true, expected);
        };
        lasting(midnight(2014, 1, 1), 3_650, &[]);
        lasting(midnight(2016, 1, 1), 1_187, &[]);
        lasting(
            midnight(2016, 1, 1),
            1_188,
            &["e_sub_cert_valid_time_longer_than_39_months"],
        );
        lasting(midnight(2019, 1, 1), 825, &[]);
        lasting(
            midnight(2019, 1, 1),
            826,
            &["e_sub_cert_valid_time_longer_than_825_days"],
        );
        lasting(midnight(2021, 1, 1), 398, &[]);
        lasting(
            midnight(2021, 1, 1),
            399,
            &["e_tls_server_cert_valid_time_longer_than_398_days"],
        );
    }
}
