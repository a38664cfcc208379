//! Conversations in HTTP, from RFC 9112 and its companions.

use super::super::StartTls;
use super::super::testing::{
    Case, Turn, c, client_hello, deliver, http_of, s, stream, talk, with_rows, with_session,
};
use super::{HttpTransaction, Text};
use crate::anomaly::AnomalyLog;
use crate::proto::Direction::{Orig, Resp};
use crate::proto::Want;

pub(in super::super) fn cases() -> Vec<Case> {
    vec![
        stream(
            "get",
            "http",
            vec![
                c("GET /a?b=c HTTP/1.1\r\nHost: Example.com:8080\r\n\r\n"),
                s("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
            ],
        ),
        stream(
            "HTTP/0.9",
            "http",
            vec![c("GET /x?password=abc\r\n\r\n"), s("<html>GET / HTTP/1.1\r\n\r\n")],
        )
        .credentials("http_query_secret:3"),
        stream(
            "basic and bearer",
            "http",
            vec![
                c("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n"),
                s("HTTP/1.1 204 No Content\r\n\r\n"),
                c("GET / HTTP/1.1\r\nHost: a\r\nauthorization: bearer abcdef\r\nX-API-Key: 1234\r\n\r\n"),
                s("HTTP/1.1 204 No Content\r\n\r\n"),
            ],
        )
        .credentials("http_basic:11 http_bearer:6 http_api_key:4"),
        stream(
            "cookies that suggest a session",
            "http",
            vec![c("GET / HTTP/1.1\r\nCookie: theme=dark; PHPSESSID=abcd; lang=en\r\n\r\n")],
        )
        .credentials("cookie:4"),
        stream(
            "a form",
            "http",
            vec![
                c("POST /login HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 29\r\n\r\nuser=me&password=a%41c&go=yes"),
                s("HTTP/1.1 302 Found\r\nLocation: /home\r\nContent-Length: 0\r\n\r\n"),
            ],
        )
        .credentials("http_form_password:3"),
        stream(
            "digest in a request of a proxy",
            "http",
            vec![c("GET http://a.example/ HTTP/1.0\r\nProxy-Authorization: Digest username=x\r\n\r\n")],
        )
        .credentials("http_digest:10"),
        stream(
            "secret in a query",
            "http",
            vec![c("GET /x?access_token=12345&y=1 HTTP/1.1\r\n\r\n")],
        )
        .credentials("http_query_secret:5"),
        stream(
            "tunnel",
            "http,ssl",
            vec![
                c("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n"),
                s("HTTP/1.1 200 Connection established\r\n\r\n"),
                c(client_hello()),
            ],
        ),
        stream(
            "upgrade to TLS within HTTP",
            "http,ssl",
            vec![
                c("OPTIONS * HTTP/1.1\r\nHost: a\r\nUpgrade: TLS/1.0\r\nConnection: Upgrade\r\n\r\n"),
                s("HTTP/1.1 101 Switching Protocols\r\nUpgrade: TLS/1.0, HTTP/1.1\r\nConnection: Upgrade\r\n\r\n"),
                c(client_hello()),
            ],
        )
        .starttls(StartTls::Taken),
        stream(
            "websocket",
            "http,websocket",
            vec![
                c("GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n"),
                s("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"),
                s(b"\x81\x05hello"),
                c(b"\x81\x85\x01\x02\x03\x04abcde"),
            ],
        ),
        stream(
            "http/2 with prior knowledge",
            "http",
            vec![
                c("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
                s(b"\0\0\0\x04\0\0\0\0\0"),
            ],
        ),
        stream(
            "http/2 whose server speaks first",
            "http",
            vec![
                s(b"\0\0\0\x04\0\0\0\0\0"),
                c("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
            ],
        ),
        stream(
            "a response whose request is not in the capture",
            "http",
            vec![s("HTTP/1.0 404 Not Found\r\n\r\nnothing here")],
        ),
    ]
}

#[track_caller]
fn exchanges(case: &Case) -> Vec<String> {
    let facts = case.run().plaintext.expect("recognised");
    assert_eq!(facts.http_exchanges, facts.http.len() as u64);
    let shown = facts.http.iter().map(|exchange| {
        let location = exchange
            .location
            .as_ref()
            .map(|target| format!(" -> {}|{}", target.scheme, target.host))
            .unwrap_or_default();
        format!(
            "{} {} {} {}{location}",
            exchange.method,
            exchange.host.as_deref().unwrap_or("-"),
            exchange.path,
            exchange
                .status
                .map_or("-".to_owned(), |status| status.to_string()),
        )
    });
    shown.collect()
}

#[test]
fn answers_find_their_requests() {
    let pipelined = stream(
        "pipelined",
        "http",
        vec![
            c(
                "HEAD /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nPOST http://B.example:81/3?q HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET /4 HTTP/1.1\r\n\r\n",
            ),
            s(
                "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nTrailer: x\r\n\r\n",
            ),
            s(
                "HTTP/1.1 301 Moved\r\nLocation: HTTPS://Other.example:443/3\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 302 Found\r\nLocation: //x.example/4\r\nContent-Length: 0\r\n\r\n",
            ),
        ],
    );
    assert_eq!(
        exchanges(&pipelined),
        [
            "HEAD a /1 200",
            "GET a /2 200",
            "POST b.example /3 301 -> https|other.example",
            "GET - /4 302 -> |x.example",
        ]
    );
}

#[test]
fn hosts_and_paths_are_cut_to_what_is_needed() {
    let case = stream(
        "hosts",
        "http",
        vec![c(
            "GET /p?secret#f HTTP/1.1\r\nHost: [2001:DB8::1]:80\r\n\r\nCONNECT u:p@H.example:443 HTTP/1.1\r\n\r\n",
        )],
    );
    assert_eq!(
        exchanges(&case),
        ["GET 2001:db8::1 /p -", "CONNECT h.example  -"]
    );
    let long = format!(
        "GET /{} HTTP/1.1\r\nHost: {}\r\n\r\n",
        "p".repeat(9_000),
        "h".repeat(900)
    );
    let facts = talk(&[c(long)]).plaintext.expect("recognised");
    let exchange = &facts.http[0];
    assert_eq!(
        (exchange.path.len(), exchange.host.as_ref().map(String::len)),
        (1024, Some(255))
    );
}

#[test]
fn bodies_are_passed_over_and_counted() {
    let facts = with_session((40_000, 80), |session, cx| {
        assert_eq!(
            session.data(cx, Orig, b"GET / HTTP/1.1\r\n\r\n"),
            Want::Bytes
        );
        let head =
            b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 1000000\r\n\r\nabc";
        assert_eq!(session.data(cx, Resp, head), Want::Skip(999_996));
        session.skipped(Resp, 900_000);
        // The last 99,997 bytes of the body are missing; its reader hears of the last.
        assert_eq!(session.gap(cx, Resp, 1), Want::Bytes);
        assert_eq!(
            session.data(cx, Orig, b"GET /2 HTTP/1.1\r\n\r\n"),
            Want::Bytes
        );
        assert_eq!(
            session.data(
                cx,
                Resp,
                b"HTTP/1.1 404 No\r\nContent-Type: image/png\r\n\r\nuntil the end"
            ),
            Want::Nothing
        );
        session.skipped(Resp, 5);
    });
    let plain = facts.plaintext.expect("recognised");
    let statuses: Vec<_> = plain.http.iter().map(|exchange| exchange.status).collect();
    assert_eq!(statuses, [Some(200), Some(404)]);
    assert_eq!(facts.bytes_plaintext[1], 72 + 900_000 + 44 + 13 + 5);
}

#[test]
fn a_gap_costs_the_status_and_nothing_else() {
    let facts = with_session((40_000, 80), |session, cx| {
        session.data(cx, Orig, b"GET /1 HTTP/1.1\r\n\r\n");
        session.gap(cx, Resp, 700);
        session.data(cx, Resp, b"middle of a body");
        session.data(cx, Orig, b"GET /2 HTTP/1.1\r\n\r\n");
        session.data(cx, Resp, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    let statuses: Vec<_> = facts
        .plaintext
        .expect("recognised")
        .http
        .iter()
        .map(|exchange| exchange.status)
        .collect();
    assert_eq!(statuses, [None, Some(200)]);
}

#[test]
fn a_capture_may_begin_within_a_body() {
    let facts = talk(&[
        s("middle of a page that was asked for earlier"),
        c("GET /next HTTP/1.1\r\nHost: a\r\n\r\n"),
        s("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ]);
    assert_eq!(facts.service.as_deref(), Some("http"));
    assert_eq!(
        facts.plaintext.expect("recognised").http[0].status,
        Some(200)
    );
}

#[test]
fn exchanges_and_heads_are_bounded() {
    let many = "GET / HTTP/1.1\r\n\r\n".repeat(3_000);
    let facts = talk(&[c(many)]).plaintext.expect("recognised");
    assert_eq!((facts.http.len(), facts.http_exchanges), (256, 3_000));
    let endless = format!("GET / HTTP/1.1\r\n{}", "x: y\r\n".repeat(20_000));
    let facts = talk(&[c(endless)]).plaintext.expect("recognised");
    assert_eq!(facts.http_exchanges, 0);
}

/// What a conversation comes to, cut into pieces of at most `size` bytes.
pub(super) fn transactions(turns: &[Turn], size: usize) -> (Vec<HttpTransaction>, AnomalyLog) {
    let (_, rows, anomalies) = with_rows((40_000, 80), |session, cx| {
        let mut skip = [Some(0_u64); 2];
        for (direction, bytes) in turns {
            for piece in bytes.chunks(size) {
                deliver(session, cx, *direction, piece, &mut skip[direction.index()]);
            }
        }
    });
    (http_of(rows), anomalies)
}

fn shown(tx: &HttpTransaction) -> String {
    let text = |text| tx.text(text).unwrap_or("-").to_owned();
    let mut out = format!(
        "{} {} {}{} {} {}+{} {}+{}",
        tx.depth,
        text(Text::Method),
        text(Text::Host),
        text(Text::Path),
        tx.status.unwrap_or_default(),
        tx.request.header_bytes,
        tx.request.body_bytes,
        tx.response.header_bytes,
        tx.response.body_bytes,
    );
    for (name, text) in [
        (" ?", Text::Query),
        (" rpc=", Text::RpcMethod),
        (" model=", Text::Model),
    ] {
        if let Some(text) = tx.text(text) {
            out += &format!("{name}{text}");
        }
    }
    if let Some(stream) = tx.stream_id {
        out += &format!(" s{stream}");
    }
    if let Some(status) = tx.grpc_status {
        out += &format!(" grpc={status}");
    }
    if let Some(protocol) = tx.text(Text::UpgradedTo) {
        out += &format!(" -> {protocol}");
    }
    for credential in &tx.credentials {
        out += &format!(" {}:{}", credential.class, credential.len);
    }
    let oddities: Vec<_> = tx.oddities.names().collect();
    if !oddities.is_empty() {
        out += &format!(" [{}]", oddities.join(" "));
    }
    out
}

/// However the streams are cut, the transactions are these.
#[track_caller]
pub(super) fn come_to(turns: &[Turn], expected: &[&str]) {
    for size in [usize::MAX, 1_000, 17, 3, 2, 1] {
        let shown: Vec<_> = transactions(turns, size).0.iter().map(shown).collect();
        assert_eq!(shown, expected, "in pieces of {size}");
    }
}

#[test]
fn a_transaction_has_sizes_and_texts() {
    come_to(
        &[
            c("POST /a?k=secret&x HTTP/1.1\r\nHost: A.example:81\r\nContent-Length: 3\r\n\r\nabc"),
            s(
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n2;x=y\r\nef\r\n0\r\nX: y\r\n\r\n",
            ),
            c("HEAD /b HTTP/1.1\r\nHost: a\r\n\r\nGET /c HTTP/1.1\r\nHost: a\r\n\r\n"),
            s(
                "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nHTTP/1.1 206 Partial Content\r\nContent-Length: 2\r\n\r\nok",
            ),
            c("GET /d HTTP/1.1\r\nHost: a\r\n\r\n"),
            s("HTTP/1.1 200 OK\r\n\r\nuntil the end"),
        ],
        &[
            "1 POST a.example/a 201 70+3 52+6 ?k=<6>&<1>",
            "2 HEAD a/b 200 29+0 39+0",
            "3 GET a/c 206 28+0 51+2",
            "4 GET a/d 200 28+0 19+13",
        ],
    );
}

#[test]
fn what_is_missing_is_said() {
    come_to(
        &[c("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")],
        &["1 GET a/1 0 28+0 0+0"],
    );
    come_to(
        &[s("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")],
        &["1 - -- 200 0+0 38+3 [body_short request_not_captured]"],
    );
    come_to(
        &[
            c("POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc"),
            s("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"),
        ],
        &["1 POST a/1 413 50+3 45+0 [body_short]"],
    );
}

#[test]
fn ambiguous_messages_are_anomalies() {
    #[track_caller]
    fn ambiguous(request: &str, expected: &[&str]) {
        let turns = [c(request)];
        come_to(&turns, expected);
        let (_, anomalies) = transactions(&turns, usize::MAX);
        assert!(anomalies.has(crate::anomaly::AnomalyKind::HttpAmbiguous));
    }
    ambiguous(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        &["1 POST a/ 0 75+0 0+0 [content_length_and_chunked]"],
    );
    ambiguous(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1 \nx\r\n0\r\n\r\n",
        &["1 POST a/ 0 56+1 0+0 [chunk_size_odd]"],
    );
    ambiguous(
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        &["1 GET a/ 0 36+0 0+0 [host_ambiguous]"],
    );
}

#[test]
fn json_gives_methods_models_and_lengths_of_passwords() {
    let json = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"password":"abcd"}}"#;
    let rpc = format!(
        "POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{json}",
        json.len()
    );
    come_to(
        &[
            c(rpc),
            s("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"),
        ],
        &["1 POST a/mcp 202 83+75 44+0 rpc=tools/call http_json_secret:4"],
    );
    let body = format!(r#"{{"messages":"{}","model":"m-1"}}"#, "x".repeat(5_000));
    let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut zipped, body.as_bytes()).unwrap();
    let zipped = zipped.finish().unwrap();
    let mut request = format!(
        "POST /v1/chat HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        zipped.len()
    )
    .into_bytes();
    let head = request.len();
    request.extend(&zipped);
    let expected = format!("1 POST a/v1/chat 0 {head}+{} 0+0 model=m-1", zipped.len());
    come_to(&[c(request)], &[&expected]);
}

#[test]
fn a_bomb_in_a_request_is_named() {
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut bomb, &vec![b' '; 20 << 20]).unwrap();
    let bomb = bomb.finish().unwrap();
    let mut request = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        bomb.len()
    )
    .into_bytes();
    request.extend(&bomb);
    let (rows, anomalies) = transactions(&[c(request)], 1_460);
    assert!(anomalies.has(crate::anomaly::AnomalyKind::HttpBomb));
    assert_eq!(
        rows[0].oddities.names().collect::<Vec<_>>(),
        ["decompression_bomb"]
    );
}

/// Behind megabytes of what compresses to a half, far beyond what is kept of it.
#[test]
fn secrets_deep_in_a_compressed_body_are_found() {
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use std::io::Write as _;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut text = String::new();
    while text.len() < 1 << 20 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.push_str(&format!("{state:016x}\n"));
    }
    text.push_str("aws AKIAO2GPDFQKSOYCO5BU end");
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
    zlib.write_all(text.as_bytes()).unwrap();
    let mut deflate = DeflateEncoder::new(Vec::new(), Compression::fast());
    deflate.write_all(text.as_bytes()).unwrap();
    for (coding, body) in [
        ("gzip", gzip.finish().unwrap()),
        ("deflate", zlib.finish().unwrap()),
        ("deflate", deflate.finish().unwrap()),
    ] {
        assert!(body.len() > 256 << 10);
        for media_type in ["text/plain", "application/json"] {
            let head = format!(
                "Content-Type: {media_type}\r\nContent-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            let request = [
                format!("POST /x HTTP/1.1\r\nHost: a\r\n{head}").as_bytes(),
                &body,
            ]
            .concat();
            let answer = [format!("HTTP/1.1 200 OK\r\n{head}").as_bytes(), &body].concat();
            let turns = [c(request), s(answer)];
            let pieces: Vec<Turn> = turns
                .iter()
                .flat_map(|(from, bytes)| bytes.chunks(1_460).map(|piece| (*from, piece.to_vec())))
                .collect();
            let facts = talk(&pieces).plaintext.expect("recognised");
            let found: Vec<_> = facts
                .credentials
                .iter()
                .map(|one| (one.class, one.len, one.count))
                .collect();
            assert_eq!(found, [("aws_access_key", 20, 2)], "{coding} {media_type}");
        }
    }
}

#[test]
fn transactions_of_a_flow_are_bounded() {
    let turns: Vec<Turn> = (0..600)
        .map(|_| c("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
        .collect();
    let (rows, anomalies) = transactions(&turns, usize::MAX);
    assert!(anomalies.has(crate::anomaly::AnomalyKind::HttpLimit));
    assert_eq!(rows.len(), 600);
}

/// What bad framing costs does not depend on where segments end.
#[test]
fn bad_chunks_are_read_alike_for_any_split() {
    let long = |byte: &str| byte.repeat(5_000);
    let cases = [
        (
            "no line end behind a chunk",
            "3\r\nabc*3;x\r\n0\r\n\r\n".to_owned(),
            false,
        ),
        (
            "one odd byte behind a chunk",
            "3\r\nabc*\n2\r\nab\r\n0\r\n\r\n".to_owned(),
            true,
        ),
        ("LF alone", "3\r\nabc\n0\r\n\r\n".to_owned(), true),
        (
            "a size too long",
            format!("3;{}\r\nabc\r\n0\r\n\r\n", long("x")),
            false,
        ),
        (
            "a long trailer",
            format!("0\r\nHost: {}\r\n\r\n", long("x")),
            true,
        ),
        (
            "a trailer behind blanks",
            format!("0\r\n{}x\r\n\r\n", long(" ")),
            true,
        ),
    ];
    for (name, body, is_whole) in cases {
        let turns = [c(format!(
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{body}"
        ))];
        let (whole, anomalies) = transactions(&turns, usize::MAX);
        assert_eq!(whole.len(), 1, "{name}");
        assert_eq!(whole[0].request.whole, is_whole, "{name}");
        let lost = anomalies.has(crate::anomaly::AnomalyKind::AppMalformed);
        assert_eq!(lost, !is_whole, "{name}");
        for size in [1, 2, 3, 7, 100, 4_097] {
            assert_eq!(
                transactions(&turns, size).0,
                whole,
                "{name}, pieces of {size}"
            );
        }
    }
}

/// OCSP responses, lists and certificates are told by what they are, not by
/// what their sender says alone.
#[test]
fn what_certificates_are_judged_by_is_known_by_type_and_content() {
    let status = include_bytes!("../../../../../samples/certificates/unit/ocsp-good.der").to_vec();
    let signed = include_bytes!("../../../../../samples/certificates/unit/crl.der").to_vec();
    let longer = [&signed[..], b"x"].concat();
    let sequence = |inner: &[u8]| [&[0x30, 0x81, inner.len() as u8], inner].concat();
    let page_as_status = sequence(&[&[0x0a, 1, 0][..], &[b'p'; 140]].concat());
    let page_as_list = sequence(&[&[0x30, 0x81, 137][..], &[b'p'; 137]].concat());
    let (ocsp, crl, cert) = (
        "application/ocsp-response",
        "application/pkix-crl",
        "application/pkix-cert",
    );
    for (name, kind, body, expected) in [
        ("a response", ocsp, &status, true),
        ("a list", crl, &signed, true),
        ("a list for a certificate", cert, &signed, false),
        ("a page behind a status", ocsp, &page_as_status, false),
        ("a page where a list is", crl, &page_as_list, false),
        ("a list for a response", ocsp, &signed, false),
        ("a response for a list", crl, &status, false),
        ("more than it says", crl, &longer, false),
        ("a page", crl, &b"<html>".to_vec(), false),
        ("another type", "text/html", &status, false),
    ] {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let turns = [
            c("GET /x HTTP/1.1\r\nHost: a\r\n\r\n"),
            s([head.as_bytes(), body].concat()),
        ];
        let facts = talk(&turns).plaintext.expect("plaintext");
        assert_eq!(facts.http[0].pki, expected, "{name}");
    }
}

/// An upload is one, whatever its answer says to be.
#[test]
fn only_what_asks_for_the_status_of_certificates_is_answered_by_it() {
    let answer = |kind: &str, body: &[u8]| {
        let length = body.len();
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n");
        s([head.as_bytes(), body].concat())
    };
    let list = include_bytes!("../../../../../samples/certificates/unit/crl.der");
    let ocsp = || answer("application/ocsp-response", b"0\x03\n\x01\x06");
    let crl = || answer("application/pkix-crl", list);
    let in_body = "POST /\r\nContent-Type: application/ocsp-request";
    for (name, head, length, answer, expected) in [
        ("asked in the path", "GET /MEU", 0, ocsp(), true),
        ("asked in the body", in_body, 80, ocsp(), true),
        ("a list", "GET /root.crl", 0, crl(), true),
        ("an upload", "POST /", 80, ocsp(), false),
        ("an upload for a list", "POST /", 80, crl(), false),
        ("a list is not asked for so", in_body, 80, crl(), false),
        ("too long a question", in_body, 70_000, ocsp(), false),
        ("a body that nobody reads", "GET /MEU", 80, ocsp(), false),
        ("another method", "PUT /x", 80, ocsp(), false),
    ] {
        let (line, fields) = head.split_once("\r\n").unwrap_or((head, "X: y"));
        let body = "q".repeat(length);
        let request = format!(
            "{line} HTTP/1.1\r\nHost: a\r\n{fields}\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        let facts = talk(&[c(request), answer]).plaintext.expect("plaintext");
        assert_eq!(facts.http[0].pki, expected, "{name}");
    }
}

/// Many serve revocation lists as bytes of no type: a list is known by all of
/// its bytes, and nothing else is.
#[test]
fn a_list_of_no_type_is_known_by_its_content() {
    let list: &[u8] = include_bytes!("../../../../../samples/certificates/unit/crl.der");
    let behind = [list, b"x"].concat();
    let mut other_algorithm = list.to_vec();
    let algorithm = [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3];
    for at in 0..list.len() - algorithm.len() {
        if list[at..].starts_with(&algorithm) {
            other_algorithm[at + 7] = 0x7f;
        }
    }
    assert_ne!(list, &other_algorithm[..]);
    // A byte behind the signature, within the outermost SEQUENCE.
    let mut within = [list, &[5, 0]].concat();
    assert_eq!(within[1], 0x82, "a length of two bytes");
    let len = u16::from_be_bytes([within[2], within[3]]) + 2;
    within[2..4].copy_from_slice(&len.to_be_bytes());
    let hollow = [&[0x30, 0x81, 140, 0x30, 0x81, 137][..], &[0; 137]].concat();
    let octets = "Content-Type: application/octet-stream\r\n";
    for (name, kind, body, expected) in [
        ("bytes", octets, list, true),
        ("no type", "", list, true),
        ("a page's type", "Content-Type: text/html\r\n", list, false),
        ("more behind it", octets, &behind, false),
        ("more within it", octets, &within, false),
        ("an unknown signature", octets, &other_algorithm, false),
        ("the shape alone", octets, &hollow, false),
        ("cut off", octets, &list[..list.len() - 1], false),
        ("a page", "", b"<html>", false),
        ("nothing", octets, b"", false),
    ] {
        let whole = format!("{kind}Content-Length: {}\r\n\r\n", body.len());
        let chunked = format!(
            "{kind}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n",
            body.len()
        );
        let end: &[u8] = if body.is_empty() {
            b"\r\n"
        } else {
            b"\r\n0\r\n\r\n"
        };
        for (head, end) in [(whole, &b""[..]), (chunked, end)] {
            let head = format!("HTTP/1.1 200 OK\r\n{head}");
            let turns = [
                c("GET /x.crl HTTP/1.1\r\nHost: a\r\n\r\n"),
                s([head.as_bytes(), body, end].concat()),
            ];
            for size in [1, 7, usize::MAX] {
                let (told, _) = transactions(&turns, size);
                assert_eq!(told[0].is_pki, expected, "{name}, pieces of {size}: {head}");
            }
        }
    }
}

proptest::proptest! {
    #[test]
    fn any_split_gives_the_same_transactions(
        noise in proptest::collection::vec(0_usize..8, 1..12),
        size in 1_usize..40,
    ) {
        const PIECES: &[&str] = &[
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST /x HTTP/1.1\r\nContent-Length: 5\r\n\r\nabcde",
            "POST /y HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            "GET /h HTTP/1.0\n\n",
            "POST /z HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nab",
            "PUT /f HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 8\r\n\r\npwd=abcd",
            "GET /%00 HTTP/1.1\r\nX : y\r\n z\r\n\r\n",
            "POST /j HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{\"model\":\"m\"}",
        ];
        let client: String = noise.iter().filter_map(|&at| PIECES.get(at)).copied().collect();
        let server = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".repeat(noise.len());
        let turns = [c(client), s(server)];
        let whole = transactions(&turns, usize::MAX).0;
        proptest::prop_assert_eq!(transactions(&turns, size).0, whole);
    }
}
