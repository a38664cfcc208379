use crate::rule::Rules;

fn rule(logsource: &str, detection: &str) -> Rules {
    let text = format!(
        "title: It's a test\nid: 4153A907-2451-4e4f-a578-c52bb6881432\nlevel: high\n\
         tags: [attack.exfiltration, attack.t1048.003, cve.2021-1]\nlogsource: {logsource}\n\
         detection:\n{detection}\n"
    );
    Rules::parse("some/net_dns.yml", text.as_bytes())
}

/// The condition of the query that comes of it.
#[track_caller]
fn wants(logsource: &str, detection: &str, expected: &str) {
    let rules = rule(logsource, detection);
    assert!(rules.problems.is_empty(), "{detection}: {rules:?}");
    let (_, wanted) = rules.rules[0]
        .query
        .split_once(" WHERE ")
        .expect("a condition");
    assert_eq!(wanted, expected, "{detection}");
}

/// Refused, in this line of the rule, by these words.
#[track_caller]
fn refuses(logsource: &str, detection: &str, line: u64, words: &str) {
    let rules = rule(logsource, detection);
    assert!(rules.rules.is_empty(), "{detection}: {rules:?}");
    let problem = rules.problems[0].to_string();
    let place = format!("some/net_dns.yml:{line}: ");
    assert!(problem.starts_with(&place), "{problem}");
    assert!(problem.contains(words), "{problem}");
}

const DNS: &str = "{category: dns}";

#[test]
fn a_rule_keeps_its_name_severity_and_techniques() {
    let rules = rule(DNS, "  s: {query: a}\n  condition: s");
    let rule = &rules.rules[0];
    assert_eq!(rule.check_id, "RULE.4153a907-2451-4e4f-a578-c52bb6881432");
    assert_eq!(
        (rule.text.as_str(), rule.severity.name()),
        ("It's a test", "high")
    );
    assert_eq!((&rule.attack[..], rule.line), (&["T1048.003"][..], 1));
    assert!(rule.query.contains("FROM dns_queries"), "{}", rule.query);
    assert!(rule.query.contains("'It''s a test'"), "{}", rule.query);
    let unnamed =
        "title: T\nlogsource: {category: firewall}\ndetection: {s: {dst_port: 23}, condition: s}\n";
    let rules = Rules::parse("My Rule.yml", unnamed.as_bytes());
    assert_eq!(rules.rules[0].check_id, "RULE.my_rule", "{rules:?}");
    assert_eq!(rules.rules[0].severity.name(), "medium");
}

#[test]
fn values_become_tests_that_are_true_or_false() {
    for (detection, expected) in [
        (
            "  s: {query: 'a.b'}\n  condition: s",
            "((query) LIKE 'a.b' ESCAPE '\\') IS TRUE",
        ),
        (
            "  s: {query: \"o'b\"}\n  condition: s",
            "((query) LIKE 'o''b' ESCAPE '\\') IS TRUE",
        ),
        (
            "  s: {'query|contains': '==.'}\n  condition: s",
            "((query) LIKE '%==.%' ESCAPE '\\') IS TRUE",
        ),
        (
            "  s: {'query|startswith': 'a_b'}\n  condition: s",
            "((query) LIKE 'a\\_b%' ESCAPE '\\') IS TRUE",
        ),
        (
            "  s: {'query|endswith': '100%'}\n  condition: s",
            "((query) LIKE '%100\\%' ESCAPE '\\') IS TRUE",
        ),
        (
            "  s: {query: 'a*b?c\\*d\\\\'}\n  condition: s",
            "((query) LIKE 'a%b_c*d\\\\' ESCAPE '\\') IS TRUE",
        ),
        (
            "  s: {'query|cased|contains': '[A]*'}\n  condition: s",
            "((query) GLOB '*[[]A]**') IS TRUE",
        ),
        (
            "  s: {'query|re': '^[a-z]+$'}\n  condition: s",
            "matches(query, '^[a-z]+$') IS TRUE",
        ),
        (
            "  s: {'query|re|i': 'x'}\n  condition: s",
            "matches(query, '(?i)x') IS TRUE",
        ),
        (
            "  s: {'src_ip|cidr': '10.0.0.0/8'}\n  condition: s",
            "in_network(src_ip, '10.0.0.0/8') IS TRUE",
        ),
        (
            "  s: {dst_port: [53, '5353']}\n  condition: s",
            "(((dst_port) = 53) IS TRUE OR ((dst_port) = 5353) IS TRUE)",
        ),
        (
            "  s: {'question_length|gte': 50}\n  condition: s",
            "((query_len) >= 50) IS TRUE",
        ),
        ("  s: {query: null}\n  condition: s", "(query) IS NULL"),
        (
            "  s: {query: ''}\n  condition: s",
            "coalesce(query, '') = ''",
        ),
        (
            "  s: {'query|exists': false}\n  condition: s",
            "(query) IS NULL",
        ),
        (
            "  s: {rejected: true}\n  condition: s",
            "((rejected) = 1) IS TRUE",
        ),
        (
            "  s: {'query|contains|all': [a, b]}\n  condition: s",
            "(((query) LIKE '%a%' ESCAPE '\\') IS TRUE AND ((query) LIKE '%b%' ESCAPE '\\') IS TRUE)",
        ),
        (
            "  s: {answer: 'x'}\n  condition: s",
            "EXISTS (SELECT 1 FROM (SELECT value ->> 'data' AS x FROM json_each(answers)) WHERE ((x) LIKE 'x' ESCAPE '\\') IS TRUE)",
        ),
    ] {
        wants(DNS, detection, expected);
    }
}

#[test]
fn conditions_join_selections() {
    let three = "  a1: {rd: true}\n  a2: {ra: true}\n  _b: {aa: true}\n";
    let (a1, a2, b) = (
        "((rd) = 1) IS TRUE",
        "((ra) = 1) IS TRUE",
        "((aa) = 1) IS TRUE",
    );
    for (condition, expected) in [
        ("a1 and a2 or _b", format!("(({a1} AND {a2}) OR {b})")),
        (
            "a1 and (a2 OR not _b)",
            format!("({a1} AND (({a2} OR NOT ({b}))))"),
        ),
        ("1 of a*", format!("({a1} OR {a2})")),
        ("all of them", format!("({a1} AND {a2})")),
        (
            "any of _b and not all of a*",
            format!("({b} AND NOT (({a1} AND {a2})))"),
        ),
        ("[a1, a2]", format!("({a1} OR {a2})")),
    ] {
        wants(DNS, &format!("{three}  condition: {condition}"), &expected);
    }
    // A list of maps: one of them.
    let list = "  s:\n    - {rd: true, ra: true}\n    - {aa: true}\n  condition: s";
    wants(DNS, list, &format!("(({a2} AND {a1}) OR {b})"));
    for (condition, words) in [
        ("a1 and", "ends too early"),
        ("a3", "no selection \"a3\""),
        ("2 of a*", "neither `1 of`"),
        ("1 of c*", "no selection is called"),
        ("(a1", "not closed"),
        ("a1 a2", "not expected"),
        ("a1 | count() > 5", "write it as SQL"),
    ] {
        refuses(
            DNS,
            &format!("{three}  condition: '{condition}'"),
            10,
            words,
        );
    }
    let deep = format!("{}a1", "not ".repeat(100));
    refuses(DNS, &format!("{three}  condition: {deep}"), 10, "nested");
}

#[test]
fn every_category_has_its_table() {
    for (logsource, field, table) in [
        ("{category: dns}", "query", "dns_queries"),
        ("{product: zeek, service: dns}", "answers", "dns_queries"),
        ("{category: proxy}", "c-useragent", "http_transactions"),
        ("{category: webserver}", "cs-uri-stem", "http_transactions"),
        (
            "{product: zeek, service: http}",
            "id.orig_h",
            "http_transactions",
        ),
        ("{category: firewall}", "blocked", "flows"),
        ("{product: zeek, service: conn}", "id_resp_p", "flows"),
        ("{product: zeek, service: ssl}", "ja3", "tls_handshakes"),
    ] {
        let value = match field {
            "blocked" => "false",
            "id_resp_p" => "4",
            _ => "x",
        };
        let rules = rule(
            logsource,
            &format!("  s: {{{field}: {value}}}\n  condition: s"),
        );
        assert!(rules.problems.is_empty(), "{rules:?}");
        assert!(
            rules.rules[0]
                .query
                .contains(&format!("FROM {table} WHERE "))
        );
    }
    for logsource in [
        "{product: windows, category: dns_query}",
        "{product: zeek, service: kerberos}",
        "{category: firewall, product: fortinet}",
    ] {
        refuses(
            logsource,
            "  s: {query: x}\n  condition: s",
            5,
            "no table holds that",
        );
    }
}

#[test]
fn what_has_no_translation_is_told_with_its_line() {
    let proxy = "{category: proxy}";
    for (logsource, detection, line, words) in [
        (
            DNS,
            "  s:\n    Z|contains: x\n  condition: s",
            8,
            "no column holds that",
        ),
        (
            DNS,
            "  s:\n    query|base64: x\n  condition: s",
            8,
            "\"base64\" is not translated",
        ),
        (
            DNS,
            "  s:\n    query|re|contains: x\n  condition: s",
            8,
            "exclude each other",
        ),
        (
            DNS,
            "  s:\n    src_ip|cidr: x\n  condition: s",
            8,
            "no network",
        ),
        (
            DNS,
            "  s:\n    query|cidr: 10.0.0.0/8\n  condition: s",
            8,
            "no address",
        ),
        (DNS, "  s:\n    query|gt: 5\n  condition: s", 8, "no number"),
        (
            DNS,
            "  s:\n    dst_port: http\n  condition: s",
            8,
            "holds a number",
        ),
        (
            DNS,
            "  keywords:\n    - evil\n  condition: keywords",
            7,
            "no table holds whole lines",
        ),
        (
            DNS,
            "  s: {query: x}\n  timeframe: 5m\n  condition: s",
            8,
            "write it as SQL",
        ),
        (DNS, "  s: {query: x}", 1, "condition"),
        (
            proxy,
            "  s:\n    c-uri|contains: '\\?cmd='\n  condition: s",
            8,
            "the query of a URL",
        ),
        (
            proxy,
            "  s:\n    cs-uri-query: x\n  condition: s",
            8,
            "values of queries",
        ),
        (
            proxy,
            "  s:\n    cs-cookie: x\n  condition: s",
            8,
            "values of queries and cookies",
        ),
    ] {
        refuses(logsource, detection, line, words);
    }
    let correlation = "title: C\ncorrelation: {type: event_count}\n";
    let rules = Rules::parse("c.yml", correlation.as_bytes());
    assert!(
        rules.problems[0]
            .to_string()
            .starts_with("c.yml:2: correlation"),
        "{rules:?}"
    );
}

/// Thousands of values stay within the depth of an expression that SQLite takes.
#[test]
fn long_lists_become_shallow_trees() {
    let values: Vec<String> = (0..5_000).map(|n| format!("n{n}")).collect();
    let rules = rule(
        DNS,
        &format!("  s: {{query: [{}]}}\n  condition: s", values.join(", ")),
    );
    let query = &rules.rules[0].query;
    let (mut depth, mut deepest) = (0_i32, 0);
    for c in query.chars() {
        depth += i32::from(c == '(') - i32::from(c == ')');
        deepest = deepest.max(depth);
    }
    assert!(deepest < 20, "{deepest}");
}

/// What a short file may become is bounded, and told with its line.
#[test]
fn a_condition_that_repeats_large_selections_is_refused() {
    let values: Vec<String> = (0..2_000).map(|n| format!("n{n}")).collect();
    let detection = format!(
        "  s: {{query: [{}]}}\n  condition: {}",
        values.join(", "),
        vec!["s"; 500].join(" or ")
    );
    refuses(DNS, &detection, 8, "bytes of SQL");
}
