//! The seeds of the fuzz targets for HTTP and DNS: they are what they say they
//! are, and the targets' invariant holds for each of their beginnings.

use nsforensics_tests::{dns, dns_rows, http, http_rows, seeds};

#[test]
fn seeds_give_rows() {
    let [first, second, names] = &seeds()[..] else {
        panic!("three seeds");
    };
    // The request that every conversation begins with, a call, and an upgrade.
    assert_eq!(http_rows(first), (3, true));
    // Three requests, one of them reset, and a push.
    assert_eq!(http_rows(second), (4, true));
    // The question that every conversation begins with, and another.
    assert_eq!(dns_rows(names), (2, true));
}

#[test]
fn beginnings_of_seeds_hold() {
    for seed in seeds() {
        for len in 0..=seed.len() {
            http(&seed[..len]);
            dns(&seed[..len]);
        }
    }
}
