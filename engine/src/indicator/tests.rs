//! What readers make of files, and look-ups of what they give.

use super::*;

fn set(text: &str) -> Set {
    let mut set = Set::new(1_000);
    set.add_bytes("feed", text.as_bytes());
    set
}

/// Kinds and values of a file, sorted.
#[track_caller]
fn read_as(text: &str, expected: &[(&str, &str)]) -> FileSummary {
    let set = set(text);
    let mut found: Vec<(String, String)> = (0..set.len())
        .filter_map(|place| set.get(u32::try_from(place).ok()?))
        .map(|one| (one.kind.name().to_owned(), one.value.to_string()))
        .collect();
    found.sort();
    let mut expected: Vec<(String, String)> = expected
        .iter()
        .map(|(kind, value)| ((*kind).to_owned(), (*value).to_owned()))
        .collect();
    expected.sort();
    assert_eq!(found, expected, "{:?}", set.files());
    set.files()[0].clone()
}

const MD5: &str = "0123456789abcdef0123456789abcdef";
const SHA1: &str = "0123456789abcdef0123456789abcdef01234567";
const SHA256: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[test]
fn plain_lists_are_told_by_what_values_look_like() {
    let summary = read_as(
        "# a feed\n\n192.0.2.7\n198.51.100.0/24  # a network\n2001:DB8::1\nevil[.]example\n\
         hxxps://Evil.example/a?b=secret#x\n0.0.0.0 ads.example\nja3:0123456789ABCDEF0123456789abcdef\n\
         t13d1516h2_8daaf6152771_b186095e22b6\nserial:00:AB:CD:EF:01\n192.0.2.9:8443\n*.wild.example\n",
        &[
            ("address", "192.0.2.7"),
            ("network", "198.51.100.0/24"),
            ("address", "2001:db8::1"),
            ("domain", "evil.example"),
            ("url", "https://evil.example/a?b=<6>"),
            ("domain", "ads.example"),
            ("ja3", MD5),
            ("ja4", "t13d1516h2_8daaf6152771_b186095e22b6"),
            ("certificate_serial", "abcdef01"),
            ("address", "192.0.2.9"),
            ("domain", "wild.example"),
        ],
    );
    assert_eq!((summary.format, summary.indicators), ("list", 11));
    assert_eq!(summary.problem_count, 0);
    read_as(MD5, &[("file_hash", MD5), ("ja3", MD5), ("ja3s", MD5)]);
    read_as(SHA1, &[("file_hash", SHA1), ("certificate", SHA1)]);
    read_as(SHA256, &[("file_hash", SHA256), ("certificate", SHA256)]);
}

#[test]
fn what_is_no_indicator_is_told_with_its_line_and_the_rest_counts() {
    let summary = read_as(
        "evil.example\nlocalhost\n10.0.0.0/33\nno value here\n0.0.0.0/0\n300.1.2.3\nxn--bcher-kva.example\nb\u{fc}cher.example\n",
        &[
            ("domain", "evil.example"),
            ("domain", "xn--bcher-kva.example"),
        ],
    );
    let lines: Vec<u32> = summary
        .problems
        .iter()
        .map(|problem| problem.line)
        .collect();
    assert_eq!(lines, [2, 3, 4, 5, 6, 8]);
    assert!(summary.told()[0].starts_with("feed:2: "), "{summary:?}");
    let many = "localhost\n".repeat(100);
    let summary = read_as(&many, &[]);
    assert_eq!((summary.problem_count, summary.problems.len()), (100, 20));
    assert!(summary.told()[20].contains("80 more"));
}

#[test]
fn csv_is_read_by_its_header() {
    let summary = read_as(
        "uuid,event_id,category,type,value,comment,to_ids\n\
         u-1,1,Network,ip-dst,192.0.2.7,\"a, \"\"b\"\"\nand c\",1\n\
         u-2,1,Network,domain|ip,evil.example|192.0.2.8,,1\n\
         u-3,1,Network,domain,context.example,,0\n\
         u-4,1,Payload,filename,x.exe,,1\n\
         u-5,1,Network,ip-dst|port,192.0.2.9|443,,1\n",
        &[
            ("address", "192.0.2.7"),
            ("domain", "evil.example"),
            ("address", "192.0.2.8"),
            ("address", "192.0.2.9"),
        ],
    );
    assert_eq!((summary.format, summary.skipped), ("csv", 2));
    assert_eq!((summary.indicators, summary.problem_count), (3, 0));
    let set = set("value,type\r\n192.0.2.7,ip\r\n\"evil.example\",domain\r\nnothing,domain\r\n");
    assert_eq!((set.len(), set.files()[0].problems[0].line), (2, 4));
    // A header in a comment, a column named by its kind.
    read_as(
        "# from somebody\n# first_seen,md5,name\n2026-01-01,0123456789abcdef0123456789abcdef,x\n",
        &[("file_hash", MD5)],
    );
}

#[test]
fn quoted_line_breaks_count_as_lines() {
    let set = set("value,comment\nevil.example,\"two\nlines\"\nlocalhost,x\n");
    let problem = &set.files()[0].problems[0];
    assert_eq!(problem.line, 4, "{problem:?}");
    assert_eq!(set.get(0).map(|one| one.origins[0].line), Some(2));
}

fn bundle(pattern: &str) -> String {
    serde_json::json!({
        "type": "bundle",
        "id": "bundle--00000000-0000-4000-8000-000000000000",
        "objects": [{
            "type": "indicator", "spec_version": "2.1",
            "id": "indicator--11111111-1111-4111-8111-111111111111",
            "name": "C2 of something", "pattern_type": "stix", "confidence": 85,
            "valid_until": "2024-01-02T03:04:05.000Z", "pattern": pattern,
        }],
    })
    .to_string()
}

#[test]
fn stix_patterns_of_single_comparisons_are_taken() {
    let summary = read_as(
        &bundle(
            "[ipv4-addr:value = '192.0.2.7' OR domain-name:value IN ('a.example', 'b.example')] OR \
             [file:hashes.'SHA-256' = '0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef'] OR \
             [x509-certificate:serial_number = '00:ab:cd:ef:01'] OR [url:value = 'http://a.example/it\\'s'] OR \
             [ipv4-addr:value ISSUBSET '198.51.100.0/24'] OR [network-traffic:dst_ref.value = '2001:db8::1']",
        ),
        &[
            ("address", "192.0.2.7"),
            ("address", "2001:db8::1"),
            ("certificate_serial", "abcdef01"),
            ("domain", "a.example"),
            ("domain", "b.example"),
            ("file_hash", SHA256),
            ("network", "198.51.100.0/24"),
            ("url", "http://a.example/it's"),
        ],
    );
    assert_eq!((summary.format, summary.indicators), ("stix", 1));
    let set = set(&bundle("[domain-name:value = 'evil.example']"));
    let origin = &set.get(0).expect("one").origins[0];
    assert_eq!(
        origin.id.as_deref(),
        Some("indicator--11111111-1111-4111-8111-111111111111")
    );
    assert_eq!(
        (origin.name.as_deref(), origin.confidence),
        (Some("C2 of something"), Some(85))
    );
    let until = origin.valid_until.expect("a time").to_string();
    assert_eq!(until, "2024-01-02T03:04:05.000000000Z");
}

#[test]
fn stix_patterns_of_several_things_at_once_are_told() {
    for (pattern, word) in [
        (
            "[ipv4-addr:value = '192.0.2.7' AND domain-name:value = 'a.example']",
            "AND",
        ),
        (
            "[ipv4-addr:value = '192.0.2.7'] FOLLOWEDBY [url:value = 'http://a.example/']",
            "FOLLOWEDBY",
        ),
        ("[ipv4-addr:value = '192.0.2.7", "without an end"),
        ("[domain-name:value LIKE '%.example']", "LIKE"),
        ("", "no whole comparison"),
        ("[domain-name:value = 'localhost']", "single label"),
    ] {
        let summary = read_as(&bundle(pattern), &[]);
        assert!(summary.problems[0].message.contains(word), "{summary:?}");
    }
    let summary = read_as(&bundle("[process:name = 'x.exe']"), &[]);
    assert_eq!((summary.skipped, summary.problem_count), (1, 0));
    let summary = read_as("{\"type\": \"bundle\", \"objects\": [}", &[]);
    assert_eq!(summary.problem_count, 1);
}

#[test]
fn misp_exports_are_read_in_their_forms() {
    let event = "{\"info\": \"Campaign\", \"Attribute\": [\n\
        {\"type\": \"ip-dst|port\", \"value\": \"192.0.2.9|443\", \"to_ids\": true,\n\
         \"uuid\": \"11111111-1111-4111-8111-111111111111\"},\n\
        {\"type\": \"domain\", \"value\": \"context.example\", \"to_ids\": false},\n\
        {\"type\": \"comment\", \"value\": \"words\", \"to_ids\": true}],\n\
        \"Object\": [{\"Attribute\": [{\"type\": \"x509-fingerprint-sha1\",\n\
         \"value\": \"0123456789abcdef0123456789abcdef01234567\", \"to_ids\": \"1\"}]}]}";
    let expected = [("address", "192.0.2.9"), ("certificate", SHA1)];
    for text in [
        format!("{{\"Event\": {event}}}"),
        format!("{{\"response\": [{{\"Event\": {event}}}]}}"),
        format!("[{{\"Event\": {event}}}]"),
        event.to_owned(),
    ] {
        let summary = read_as(&text, &expected);
        assert_eq!((summary.format, summary.skipped), ("misp", 2), "{text}");
    }
    let set = set(&format!("{{\"Event\": {event}}}"));
    let one = set.get(0).expect("one");
    assert_eq!((one.port, one.origins[0].line), (Some(443), 3));
    assert_eq!(one.origins[0].name.as_deref(), Some("Campaign"));
    let attributes = "{\"response\": {\"Attribute\": [{\"type\": \"md5\", \"value\": \"0123456789abcdef0123456789abcdef\"}]}}";
    read_as(attributes, &[("file_hash", MD5)]);
}

#[track_caller]
fn looks(text: &str, sort: Sort, of_table: &str, expected: usize) {
    let set = set(text);
    let mut found = 0;
    set.look(sort, of_table, |_| found += 1);
    assert_eq!(found, expected, "{text:?} in {of_table}");
}

#[test]
fn names_match_what_is_below_them_and_nothing_beside() {
    looks("evil.example", Sort::Host, "evil.example", 1);
    looks("evil.example", Sort::Host, "A.B.evil.example.", 1);
    looks("evil.example", Sort::Host, "*.evil.example", 1);
    looks("evil.example", Sort::Host, "notevil.example", 0);
    looks("evil.example", Sort::Host, "evil.example.org", 0);
    looks("www.evil.example", Sort::Host, "evil.example", 0);
    // Below a public suffix anybody may register: the name alone counts.
    looks("github.io", Sort::Host, "github.io", 1);
    looks("github.io", Sort::Host, "somebody.github.io", 0);
}

#[test]
fn addresses_match_themselves_and_their_networks() {
    looks("192.0.2.7", Sort::Host, "192.0.2.7", 1);
    looks("192.0.2.7", Sort::Host, "192.0.2.70", 0);
    looks("192.0.2.0/25\n192.0.2.0/24", Sort::Host, "192.0.2.7", 2);
    looks("192.0.2.0/25\n192.0.2.0/24", Sort::Host, "192.0.2.200", 1);
    looks("2001:db8::/32", Sort::Host, "2001:db8:1::9", 1);
    looks("2001:db8::/32", Sort::Host, "2001:db9::9", 0);
    looks("::ffff:192.0.2.7", Sort::Host, "192.0.2.7", 1);
    looks("serial:abcdef01", Sort::Serial, "00abcdef01", 1);
    looks(SHA1, Sort::Certificate, SHA1, 1);
    looks(SHA1, Sort::Key, SHA1, 0);
}

#[test]
fn urls_match_as_far_as_tables_show_them() {
    let set = set("http://evil.example:8080/gate.php?id=4711&x=\nhttps://other.example");
    let count = |port, scheme: &str, host: &str, path: &str, query: Option<&str>| {
        let mut found = 0;
        set.look_url((scheme, host, port), path, query, |_| found += 1);
        found
    };
    let shown = shown_uri_of("/gate.php", Some("id=1234&x="));
    assert_eq!(
        count(8_080, "http", "evil.example", &shown.0, shown.1.as_deref()),
        1
    );
    assert_eq!(
        count(80, "http", "evil.example", &shown.0, shown.1.as_deref()),
        0
    );
    assert_eq!(count(8_080, "http", "evil.example", "/gate.php", None), 0);
    assert_eq!(count(443, "https", "other.example", "/", None), 1);
}

fn shown_uri_of(path: &str, query: Option<&str>) -> (String, Option<String>) {
    crate::proto::plain::http::shown_uri(path.as_bytes(), query.map(str::as_bytes))
}

#[test]
fn the_same_value_twice_is_one_indicator_with_both_places() {
    let mut set = Set::new(1_000);
    set.add_bytes("one", b"evil.example\n");
    set.add_bytes("two", b"# x\nEVIL.example\n");
    assert_eq!(set.len(), 1);
    let origins: Vec<_> = set
        .get(0)
        .expect("one")
        .origins
        .iter()
        .map(|o| (o.file, o.line))
        .collect();
    assert_eq!(origins, [(0, 1), (1, 2)]);
}

#[test]
fn the_limit_holds_and_is_told() {
    let mut set = Set::new(2);
    let summary = set
        .add_bytes("feed", b"a.example\nb.example\nc.example\na.example\n")
        .clone();
    assert_eq!((set.len(), summary.problem_count), (2, 1));
    assert!(summary.problems[0].message.contains("limits.indicators"));
}

proptest::proptest! {
    #[test]
    fn no_text_is_too_much(text in ".{0,400}") {
        set(&text);
    }

    #[test]
    fn no_json_is_too_much(text in "[\\[\\]{}\",:a-zA-Z0-9'=() -]{0,300}") {
        set(&format!("{{\"type\": \"bundle\", {text}"));
        set(&bundle(&text));
        set(&format!("[{text}"));
    }
}
