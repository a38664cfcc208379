//! Each check on transactions written down: violated, passed, refused, not observed.

use super::behaviour::Behaviour;
use crate::control::{audit_http, testing};
use crate::flow::FlowHead;
use crate::policy::Policy;
use crate::proto::credential::Redactor;
use crate::proto::plain::http::HttpTransaction;
use crate::proto::plain::testing::{c, h2_begin, h2_message, http_of, s, talk_rows};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

fn flow() -> FlowHead {
    let flow = testing::flow(1, 0);
    FlowHead {
        flow_id: flow.flow_id,
        first: flow.first,
        src: flow.src,
        dst: flow.dst,
        src_port: flow.src_port,
        dst_port: flow.dst_port,
        ip_proto: 6,
        scope: 0,
    }
}

/// The transaction of a request and its answer; none for no answer.
#[track_caller]
fn transaction(request: &str, answer: Option<&str>) -> HttpTransaction {
    let mut turns = vec![c(request.replace('\n', "\r\n"))];
    turns.extend(answer.map(|answer| s(answer.replace('\n', "\r\n"))));
    let mut rows = http_of(talk_rows(&turns)).into_iter();
    let mut tx = rows.next().expect("a transaction");
    tx.ts = testing::at(0);
    tx
}

/// What one check says: `status detail` of each outcome.
#[track_caller]
fn says(check: &str, policy: &Policy, tx: &HttpTransaction) -> Vec<String> {
    let mut outcomes = audit_http(policy, &flow(), tx).1;
    let seen = Behaviour::default().observe(policy, &flow(), tx, false);
    outcomes.extend(seen.outcomes);
    shown(check, &outcomes)
}

fn shown(check: &str, outcomes: &[crate::control::Outcome]) -> Vec<String> {
    let id = format!("NS-03.{check}");
    outcomes
        .iter()
        .filter(|outcome| outcome.check_id == id)
        .map(|outcome| {
            format!("{} {}", outcome.status.name(), outcome.detail)
                .trim()
                .to_owned()
        })
        .collect()
}

/// The same in HTTP/2.
#[track_caller]
fn in_http2(request: &str, answer: &str) -> HttpTransaction {
    let (client, server) = h2_begin();
    let rows = talk_rows(&[
        c([client, h2_message(request)].concat()),
        s([server, h2_message(answer)].concat()),
    ]);
    let mut tx = http_of(rows).into_iter().next().expect("a transaction");
    assert_eq!(tx.stream_id, Some(1));
    tx.ts = testing::at(0);
    tx
}

#[track_caller]
fn is(check: &str, request: &str, answer: &str, expected: &[&str]) {
    let policy = Policy::built_in();
    let tx = transaction(request, Some(answer));
    assert_eq!(says(check, &policy, &tx), expected, "{request}");
    let tx = in_http2(request, answer);
    assert_eq!(says(check, &policy, &tx), expected, "HTTP/2: {request}");
}

const OK: &str = "HTTP/1.1 200 OK\nContent-Length: 0\n\n";
const NO: &str = "HTTP/1.1 401 Unauthorized\nContent-Length: 0\n\n";

#[test]
fn auth_missing() {
    is(
        "auth_missing",
        "GET /api/x HTTP/1.1\nHost: a\n\n",
        OK,
        &["failed GET /api/x"],
    );
    is(
        "auth_missing",
        "GET /api/x HTTP/1.1\nHost: a\n\n",
        NO,
        &["refused GET /api/x"],
    );
    is(
        "auth_missing",
        "GET /api/x HTTP/1.1\nHost: a\nAuthorization: Bearer abc\n\n",
        OK,
        &["passed"],
    );
    is(
        "auth_missing",
        "GET /api/x HTTP/1.1\nHost: a\nX-API-Key: abc\n\n",
        OK,
        &["passed"],
    );
    is(
        "auth_missing",
        "GET /api/x HTTP/1.1\nHost: a\nAuthorization: Basic YTpi\n\n",
        OK,
        &["failed GET /api/x"],
    );
    is(
        "auth_missing",
        "OPTIONS /api/x HTTP/1.1\nHost: a\n\n",
        OK,
        &[],
    );
    // A page for browsers is no API.
    is(
        "auth_missing",
        "GET /index.html HTTP/1.1\nHost: a\n\n",
        OK,
        &[],
    );
    let tx = transaction("GET /api/x HTTP/1.1\nHost: a\n\n", None);
    assert_eq!(
        says("auth_missing", &Policy::built_in(), &tx),
        ["not_observed"]
    );
}

#[test]
fn grpc_refuses_with_status_200() {
    let call = "POST /pkg.Service/Call HTTP/1.1\nHost: a\nContent-Type: application/grpc\n\n";
    let policy = Policy::built_in();
    for (status, expected) in [
        ("0", "failed POST /pkg.Service/Call"),
        ("16", "refused POST /pkg.Service/Call"),
        ("7", "refused POST /pkg.Service/Call"),
    ] {
        let answer =
            format!("HTTP/1.1 200 OK\nContent-Type: application/grpc\ngrpc-status: {status}\n\n");
        let tx = in_http2(call, &answer);
        assert_eq!(says("auth_missing", &policy, &tx), [expected], "{status}");
    }
    // RESOURCE_EXHAUSTED: over a rate, or too large.
    let answer = "HTTP/1.1 200 OK\nContent-Type: application/grpc\ngrpc-status: 8\n\n";
    let mut tx = in_http2(call, answer);
    assert_eq!(tx.outcome(), Some(429));
    tx.request.body_bytes = 11 << 20;
    assert_eq!(
        says("request_size", &policy, &tx),
        ["refused POST /pkg.Service/Call"]
    );
}

#[test]
fn endpoints_of_the_policy_say_what_an_api_is() {
    let policy = Policy::from_yaml("api:\n  endpoints: ['*.a.example/x/*', ':81']\n", "p").unwrap();
    for (request, expected) in [
        ("GET /x/1 HTTP/1.1\nHost: b.a.example\n\n", 1),
        ("GET /y/1 HTTP/1.1\nHost: b.a.example\n\n", 0),
        ("GET /api/1 HTTP/1.1\nHost: a.example\n\n", 0),
    ] {
        let tx = transaction(request, Some(OK));
        assert_eq!(
            says("auth_missing", &policy, &tx).len(),
            expected,
            "{request}"
        );
    }
}

#[test]
fn credentials() {
    let basic = "GET / HTTP/1.1\nHost: a\nAuthorization: Basic YTpi\n\n";
    // What tells secrets apart is the keyed hash of each: here of a password.
    let secret = |text: &str| {
        let hash = Redactor::unkeyed().password(text.as_bytes()).hash.short();
        format!("failed secret {hash:016x}")
    };
    is("credential_plaintext", basic, OK, &[&secret("b")]);
    // The same in two places is one.
    is(
        "credential_plaintext",
        "GET /?password=b HTTP/1.1\nHost: a\nAuthorization: Basic YTpi\n\n",
        OK,
        &[&secret("b")],
    );
    // Also where there is no API.
    is(
        "credential_plaintext",
        "GET / HTTP/1.1\nHost: a\nCookie: SESSIONID=x\n\n",
        OK,
        &[&secret("x")],
    );
    is(
        "credential_plaintext",
        "GET /api HTTP/1.1\nHost: a\n\n",
        OK,
        &["passed"],
    );
    let mut tx = transaction(basic, Some(OK));
    tx.decrypted = true;
    assert_eq!(
        says("credential_plaintext", &Policy::built_in(), &tx),
        ["passed"]
    );
    let orphan = http_of(talk_rows(&[s(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n",
    )]));
    let tx = &orphan[0];
    assert_eq!(
        says("credential_plaintext", &Policy::built_in(), tx),
        ["not_observed"]
    );
    assert_eq!(
        says("credential_in_url", &Policy::built_in(), tx),
        ["not_observed"]
    );
    is(
        "credential_in_url",
        "GET /api?api_key=abc HTTP/1.1\nHost: a\n\n",
        OK,
        &["failed api_key"],
    );
    is(
        "credential_in_url",
        "GET /account/reset/f3K9s0Qx7LmZ2pVbA HTTP/1.1\nHost: a\n\n",
        OK,
        &["failed reset"],
    );
    is(
        "credential_in_url",
        "GET http://u:p@a/api HTTP/1.1\nHost: a\n\n",
        OK,
        &["failed user information"],
    );
    is(
        "credential_in_url",
        "GET /api?page=1 HTTP/1.1\nHost: a\n\n",
        OK,
        &["passed"],
    );
}

#[test]
fn sizes_and_types() {
    let policy = Policy::from_yaml(
        "api:\n  input_validation:\n    max_request_size_mb: 0.00001\n    max_header_size_kb: 0.25\n",
        "p",
    )
    .unwrap();
    let body = "POST /api HTTP/1.1\nHost: a\nContent-Type: application/json\nContent-Length: 11\n\n[1,2,3,4,5]";
    let long = format!("GET /api HTTP/1.1\nHost: a\nX: {}\n\n", "x".repeat(300));
    let answer = |status: u16| format!("HTTP/1.1 {status} X\nContent-Length: 0\n\n");
    let check = |check: &str, request: &str, status: u16| {
        says(check, &policy, &transaction(request, Some(&answer(status))))
    };
    assert_eq!(check("request_size", body, 200), ["failed POST /api"]);
    assert_eq!(check("request_size", body, 413), ["refused POST /api"]);
    assert_eq!(
        says("request_size", &policy, &transaction(body, None)),
        ["not_observed"]
    );
    assert_eq!(
        check("request_size", "GET /api HTTP/1.1\nHost: a\n\n", 200),
        ["passed"]
    );
    assert_eq!(check("header_size", &long, 200), ["warned GET /api"]);
    assert_eq!(check("header_size", &long, 431), ["refused GET /api"]);
    for (status, expected) in [(200, "warned GET /api"), (431, "refused GET /api")] {
        let tx = in_http2(&long, &answer(status));
        assert_eq!(says("header_size", &policy, &tx), [expected], "HTTP/2");
    }
    for (status, expected) in [(200, "failed POST /api"), (413, "refused POST /api")] {
        let tx = in_http2(body, &answer(status));
        assert_eq!(says("request_size", &policy, &tx), [expected], "HTTP/2");
    }
    assert_eq!(
        says("header_size", &policy, &transaction(&long, None)),
        ["not_observed"]
    );
    assert_eq!(
        check("header_size", "GET /api HTTP/1.1\nHost: a\n\n", 200),
        ["passed"]
    );
    assert_eq!(check("content_type", body, 200), ["passed"]);
    let xml = "POST /api HTTP/1.1\nHost: a\nContent-Type: text/xml\nContent-Length: 4\n\n<a/>";
    assert_eq!(check("content_type", xml, 201), ["warned text/xml"]);
    assert_eq!(check("content_type", xml, 415), ["refused text/xml"]);
    assert_eq!(
        says("content_type", &policy, &transaction(xml, None)),
        ["not_observed"]
    );
}

#[test]
fn cookies_and_protective_headers() {
    let get = "GET /api HTTP/1.1\nHost: a\n\n";
    let with = |headers: &str| format!("HTTP/1.1 200 OK\nContent-Length: 0\n{headers}\n");
    is(
        "cookie",
        get,
        &with("Set-Cookie: sid=1; Path=/\n"),
        &["warned sid Secure, HttpOnly, SameSite"],
    );
    is(
        "cookie",
        get,
        &with("Set-Cookie: sid=1; secure; HttpOnly; SameSite=Lax\n"),
        &["passed"],
    );
    is("cookie", get, &with("Set-Cookie: theme=dark\n"), &[]);
    let all = "X-Content-Type-Options: nosniff\nX-Frame-Options: deny\nX-XSS-Protection: 1;mode=block\nStrict-Transport-Security: max-age=63072000; includeSubDomains; preload\nContent-Security-Policy: default-src 'none'; frame-ancestors 'none'\n";
    is("security_headers", get, &with(all), &["passed"]);
    let over_tls = |answer: &str| {
        let mut tx = transaction(get, Some(answer));
        tx.decrypted = true;
        says("security_headers", &Policy::built_in(), &tx)
    };
    assert_eq!(over_tls(&with(all)), ["passed"]);
    let weak = all.replace("63072000", "60").replace("nosniff", "sniff");
    assert_eq!(
        over_tls(&with(&weak)),
        [
            "warned Strict-Transport-Security different",
            "warned X-Content-Type-Options different",
        ]
    );
    assert_eq!(over_tls(OK).len(), 5);
    // In plaintext it must be ignored (RFC 6797 section 8.1): nobody is asked for it.
    is(
        "security_headers",
        get,
        &with(&weak),
        &["warned X-Content-Type-Options different"],
    );
    let tx = transaction(get, Some(OK));
    assert_eq!(says("security_headers", &Policy::built_in(), &tx).len(), 4);
    let only = "api:\n  response_headers:\n    Strict-Transport-Security: max-age=1\n";
    let only = Policy::from_yaml(only, "test").unwrap();
    assert_eq!(says("security_headers", &only, &tx), [""; 0]);
}

#[test]
fn tokens() {
    let now = testing::at(0).as_nanos() / 1_000_000_000;
    let request = |alg: &str, claims: &str| {
        let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{alg}"}}"#));
        let claims = URL_SAFE_NO_PAD.encode(claims);
        format!("GET /api HTTP/1.1\nHost: a\nAuthorization: Bearer {header}.{claims}.c2ln\n\n")
    };
    let (iat, soon, past) = (now - 60, now + 600, now - 10);
    let valid = format!(r#"{{"iat":{iat},"exp":{soon}}}"#);
    is("jwt", &request("RS256", &valid), OK, &["passed"]);
    is("jwt", &request("none", &valid), OK, &["failed alg none"]);
    is("jwt", &request("HS256", &valid), OK, &["failed alg HS256"]);
    is("jwt", &request("HS256", &valid), NO, &["refused alg HS256"]);
    is("jwt", &request("RS256", "{}"), OK, &["failed no exp"]);
    is(
        "jwt",
        &request("RS256", &format!(r#"{{"exp":{past}}}"#)),
        OK,
        &["failed expired"],
    );
    is(
        "jwt",
        &request("RS256", &format!(r#"{{"exp":{past}}}"#)),
        NO,
        &["refused expired"],
    );
    is(
        "jwt",
        &request(
            "RS256",
            &format!(r#"{{"iat":{iat},"exp":{}}}"#, iat + 3_601),
        ),
        OK,
        &["failed lifetime"],
    );
    is(
        "jwt",
        &request(
            "RS256",
            &format!(r#"{{"iat":{iat},"exp":{}}}"#, iat + 3_600),
        ),
        OK,
        &["passed"],
    );
    let tx = transaction(&request("none", &valid), None);
    assert_eq!(says("jwt", &Policy::built_in(), &tx), ["not_observed"]);
}

/// What a check says of requests with these answers, one after the other.
#[track_caller]
fn in_turn(check: &str, turns: &[(&str, Option<&str>)]) -> Vec<String> {
    let (policy, mut behaviour) = (Policy::built_in(), Behaviour::default());
    turns
        .iter()
        .flat_map(|(request, answer)| {
            let tx = transaction(request, *answer);
            shown(
                check,
                &behaviour.observe(&policy, &flow(), &tx, false).outcomes,
            )
        })
        .collect()
}

#[test]
fn credentials_over_time() {
    const FORBIDDEN: &str = "HTTP/1.1 403 Forbidden\nContent-Length: 0\n\n";
    let one = "GET /api/1 HTTP/1.1\nHost: a\nAuthorization: Bearer one\n\n";
    let two = "GET /api/1 HTTP/1.1\nHost: a\nAuthorization: Bearer two\n\n";
    let invalid = "invalid_credential_accepted";
    assert_eq!(
        in_turn(
            invalid,
            &[
                (one, Some(NO)),
                (two, Some(OK)),
                (one, Some(OK)),
                (one, None)
            ]
        ),
        [
            "refused GET /api/{id}",
            "passed",
            "failed GET /api/{id}",
            "not_observed"
        ]
    );
    let malformed = "GET /api/1 HTTP/1.1\nHost: a\nAuthorization: Bearer eyJhbGciOiJub25lIn0.x\n\n";
    assert_eq!(
        in_turn(invalid, &[(malformed, Some(OK))]),
        ["failed GET /api/{id}"]
    );
    assert_eq!(
        in_turn(
            "authorization",
            &[
                (one, Some(FORBIDDEN)),
                (one, Some(OK)),
                (two, Some(OK)),
                (two, None)
            ]
        ),
        [
            "refused GET /api/{id}",
            "failed GET /api/{id}",
            "passed",
            "not_observed"
        ]
    );
    let admin = "GET /api/admin/users HTTP/1.1\nHost: a\n\n";
    assert_eq!(
        in_turn("authorization", &[(admin, Some(OK)), (admin, Some(NO))]),
        [
            "failed GET /api/admin/users",
            "refused GET /api/admin/users"
        ]
    );
}

/// Whether requests at these milliseconds should be denied.
#[track_caller]
fn denied(policy: &Policy, path: &str, millis: impl IntoIterator<Item = i64>) -> String {
    let mut behaviour = Behaviour::default();
    let mut tx = transaction(&format!("GET {path} HTTP/1.1\nHost: a\n\n"), Some(OK));
    millis
        .into_iter()
        .map(|at| {
            tx.ts = crate::time::CaptureTime::from_nanos(at * 1_000_000);
            match behaviour.observe(policy, &flow(), &tx, false).should_deny {
                Some(true) => 'x',
                Some(false) => '.',
                None => '?',
            }
        })
        .collect()
}

#[test]
fn the_bucket_is_as_configured() {
    let policy = Policy::built_in();
    // Ten at once; then one a second.
    let mut times = vec![0; 12];
    times.extend([999, 1_000, 1_001, 2_001]);
    assert_eq!(denied(&policy, "/api/x", times), "..........xxx.x.");
    // Ten a minute: one in six seconds, and the default's burst.
    let mut times = vec![0; 11];
    times.extend([5_999, 6_000, 12_000]);
    assert_eq!(denied(&policy, "/api/v1/execute", times), "..........xx..");
    // A thousand an hour, however slowly.
    let slow = denied(&policy, "/api/x", (0..1_003).map(|n| n * 3_000));
    assert_eq!(slow.find('x'), Some(1_000));
    let limits = "api:\n  rate_limiting:\n    default: {requests_per_hour: 2}\n    endpoints: {}\n";
    let policy = Policy::from_yaml(limits, "p").unwrap();
    assert_eq!(
        denied(&policy, "/api/x", [0, 1, 2, 3_600_000, 3_600_001]),
        "..x.."
    );
}

#[test]
fn a_limit_that_bites_is_evidence() {
    const MANY: &str = "HTTP/1.1 429 Too Many Requests\nContent-Length: 0\n\n";
    let get = "GET /api/x HTTP/1.1\nHost: a\n\n";
    let mut turns = vec![(get, Some(OK)); 10];
    turns.extend([(get, Some(MANY)), (get, Some(OK)), (get, None)]);
    let said = in_turn("rate_limit", &turns);
    assert_eq!(
        said[9..],
        ["passed", "refused /api/x", "failed /api/x", "not_observed"]
    );
}
