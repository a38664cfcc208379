//! TLS handshakes as a browser and a web server write them, TLS 1.2 (RFC 5246) with the chain in
//! the clear and TLS 1.3 (RFC 8446). The keys and signatures are noise: nobody is to decrypt it.

use crate::wire::Random;

/// Leaves of each kind in `data`, which `data/make-chains.sh` made.
pub const LEAVES: usize = 12;
/// Most bytes of content in a record (RFC 8446, section 5.1).
pub const RECORD: usize = 16_384;

static RSA: &[u8] = include_bytes!("../data/rsa.der");
static ECDSA: &[u8] = include_bytes!("../data/ecdsa.der");

/// How a server proves itself, and so the protocol's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// TLS 1.2, ECDHE, an RSA chain.
    Tls12Rsa,
    /// TLS 1.2, ECDHE, an ECDSA chain.
    Tls12Ecdsa,
    /// TLS 1.3; the chain is encrypted.
    Tls13,
}

/// What the two sides send in turn before any data, each flight a run of records.
#[derive(Debug, Clone)]
pub struct Handshake {
    /// `(from the server, bytes)` in the order of sending.
    pub flights: Vec<(bool, Vec<u8>)>,
}

/// A handshake in which everything that differs between connections comes from `random`.
pub fn handshake(variant: Variant, leaf: usize, name: &str, random: &mut Random) -> Handshake {
    let session = noise(random, 32);
    let hello = record(22, &client_hello(variant, name, &session, random));
    let mut server = Vec::new();
    let mut client = Vec::new();
    let change = record(20, &[1]);
    if variant == Variant::Tls13 {
        server.extend(record(22, &server_hello(variant, &session, random)));
        server.extend_from_slice(&change);
        // Extensions, chain, proof and Finished, as one encrypted record.
        server.extend(record(23, &noise(random, 2900)));
        client.extend_from_slice(&change);
        client.extend(record(23, &noise(random, 53)));
        let flights = vec![(false, hello), (true, server), (false, client)];
        return Handshake { flights };
    }
    server.extend(record(22, &server_hello(variant, &session, random)));
    server.extend(record(22, &certificate(variant, leaf)));
    server.extend(record(22, &server_key_exchange(variant, random)));
    server.extend(record(22, &message(14, &[])));
    client.extend(record(
        22,
        &message(16, &with_length_8(&public_key(random))),
    ));
    client.extend_from_slice(&change);
    client.extend(record(22, &noise(random, 40)));
    let mut ticket = vec![0, 0, 0x1c, 0x20];
    ticket.extend(with_length_16(&noise(random, 176)));
    let mut finished = record(22, &message(4, &ticket));
    finished.extend_from_slice(&change);
    finished.extend(record(22, &noise(random, 40)));
    Handshake {
        flights: vec![
            (false, hello),
            (true, server),
            (false, client),
            (true, finished),
        ],
    }
}

/// The header of a record with application data (RFC 8446, section 5.1).
pub fn data_header(length: usize) -> [u8; 5] {
    let length = (length as u16).to_be_bytes();
    [23, 3, 3, length[0], length[1]]
}

/// The DER certificates of `bundle`: the CA first, then the leaves.
fn certificates(mut bundle: &'static [u8]) -> Vec<&'static [u8]> {
    let mut found = Vec::new();
    // All of them have the long form of the length with two bytes, as the tests show.
    while bundle.len() > 4 {
        let length = 4 + usize::from(u16::from_be_bytes([bundle[2], bundle[3]]));
        let (one, rest) = bundle.split_at(length);
        found.push(one);
        bundle = rest;
    }
    found
}

/// The CAs that issued the chains: a client of these servers trusts them.
pub fn roots() -> [&'static [u8]; 2] {
    [RSA, ECDSA].map(|bundle| certificates(bundle)[0])
}

fn certificate(variant: Variant, leaf: usize) -> Vec<u8> {
    let all = certificates(if variant == Variant::Tls12Rsa {
        RSA
    } else {
        ECDSA
    });
    let mut list = with_length_24(all[1 + leaf % LEAVES]);
    list.extend(with_length_24(all[0]));
    message(11, &with_length_24(&list))
}

fn client_hello(variant: Variant, name: &str, session: &[u8], random: &mut Random) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend(noise(random, 32));
    body.extend(with_length_8(session));
    let suites: &[u16] = &[
        0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8,
    ];
    let offered = if variant == Variant::Tls13 {
        suites
    } else {
        &suites[3..]
    };
    body.extend(with_length_16(&words(offered)));
    body.extend_from_slice(&[1, 0]);

    let mut host = vec![0];
    host.extend(with_length_16(name.as_bytes()));
    let mut extensions = extension(0, &with_length_16(&host));
    extensions.extend(extension(23, &[]));
    extensions.extend(extension(0xff01, &[0]));
    extensions.extend(extension(10, &with_length_16(&words(&[0x1d, 0x17, 0x18]))));
    extensions.extend(extension(11, &[1, 0]));
    extensions.extend(extension(35, &[]));
    extensions.extend(extension(16, &with_length_16(b"\x02h2\x08http/1.1")));
    extensions.extend(extension(5, &[1, 0, 0, 0, 0]));
    let algorithms = [
        0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601,
    ];
    extensions.extend(extension(13, &with_length_16(&words(&algorithms))));
    if variant == Variant::Tls13 {
        extensions.extend(extension(43, &with_length_8(&words(&[0x0304, 0x0303]))));
        extensions.extend(extension(45, &[1, 1]));
        let mut share = vec![0, 0x1d];
        share.extend(with_length_16(&noise(random, 32)));
        extensions.extend(extension(51, &with_length_16(&share)));
        // Filled up to 512 bytes (RFC 7685).
        let padding = 508_usize.saturating_sub(body.len() + 2 + extensions.len() + 4);
        extensions.extend(extension(21, &vec![0; padding]));
    }
    body.extend(with_length_16(&extensions));
    message(1, &body)
}

fn server_hello(variant: Variant, session: &[u8], random: &mut Random) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend(noise(random, 32));
    if variant == Variant::Tls13 {
        body.extend(with_length_8(session));
    } else {
        body.extend(with_length_8(&noise(random, 32)));
    }
    let suite: u16 = match variant {
        Variant::Tls12Rsa => 0xc02f,
        Variant::Tls12Ecdsa => 0xc02b,
        Variant::Tls13 => 0x1301,
    };
    body.extend_from_slice(&suite.to_be_bytes());
    body.push(0);
    let extensions = if variant == Variant::Tls13 {
        let mut share = vec![0, 0x1d];
        share.extend(with_length_16(&noise(random, 32)));
        [extension(51, &share), extension(43, &[3, 4])].concat()
    } else {
        [
            extension(23, &[]),
            extension(0xff01, &[0]),
            extension(11, &[1, 0]),
            extension(35, &[]),
            extension(16, &with_length_16(b"\x02h2")),
        ]
        .concat()
    };
    body.extend(with_length_16(&extensions));
    message(2, &body)
}

/// X25519 parameters and a signature (RFC 8422, section 5.4).
fn server_key_exchange(variant: Variant, random: &mut Random) -> Vec<u8> {
    let mut body = vec![3, 0, 0x1d];
    body.extend(with_length_8(&public_key(random)));
    if variant == Variant::Tls12Rsa {
        body.extend_from_slice(&[8, 4]);
        body.extend(with_length_16(&noise(random, 256)));
    } else {
        body.extend_from_slice(&[4, 3]);
        let mut signature = vec![0x30, 68];
        for _ in 0..2 {
            signature.extend_from_slice(&[2, 32]);
            let mut number = noise(random, 32);
            number[0] = number[0] & 0x7f | 0x40;
            signature.extend(number);
        }
        body.extend(with_length_16(&signature));
    }
    message(12, &body)
}

fn public_key(random: &mut Random) -> Vec<u8> {
    noise(random, 32)
}

fn noise(random: &mut Random, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    random.fill(&mut bytes);
    bytes
}

fn words(values: &[u16]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_be_bytes())
        .collect()
}

fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &with_length_16(body)].concat()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &with_length_24(body)].concat()
}

/// One record; a first ClientHello may say 3.1 there, a server looks at neither.
fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3][..], &with_length_16(body)].concat()
}

fn with_length_8(body: &[u8]) -> Vec<u8> {
    [&[body.len() as u8][..], body].concat()
}

fn with_length_16(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u16).to_be_bytes()[..], body].concat()
}

fn with_length_24(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes()[1..], body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bundle_is_a_ca_and_its_leaves() {
        for bundle in [RSA, ECDSA] {
            let all = certificates(bundle);
            assert_eq!(all.len(), 1 + LEAVES);
            assert!(all.iter().all(|one| one.starts_with(&[0x30, 0x82])));
            assert_eq!(all.concat(), bundle);
        }
    }

    #[test]
    fn the_records_of_every_flight_fill_it() {
        for variant in [Variant::Tls12Rsa, Variant::Tls12Ecdsa, Variant::Tls13] {
            let made = handshake(variant, 3, "a.bench.example", &mut Random::new(1));
            for (_, flight) in &made.flights {
                let mut rest = flight.as_slice();
                while !rest.is_empty() {
                    let length = usize::from(u16::from_be_bytes([rest[3], rest[4]]));
                    assert!(matches!(rest[0], 20..=23));
                    rest = &rest[5 + length..];
                }
            }
        }
    }
}
