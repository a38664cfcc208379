//! Receivers of alerts, real ones on loopback: HTTP, syslog over TCP, UDP, TLS
//! and a socket in a folder. What they keep is what arrived.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What arrived, shared with the thread that receives.
pub type Kept<T> = Arc<Mutex<Vec<T>>>;

/// One POST.
#[derive(Clone, Debug)]
pub struct Post {
    pub key: String,
    pub signature: String,
    pub body: String,
    /// What it was answered with.
    pub status: u16,
}

/// A webhook's receiver. `answer` gets the number of the request, from 0.
pub fn http(
    port: u16,
    answer: impl Fn(usize) -> (u16, Duration) + Send + 'static,
) -> (u16, Kept<Post>) {
    let server = tiny_http::Server::http(("127.0.0.1", port)).expect("a server");
    let port = server.server_addr().to_ip().expect("an address").port();
    let kept: Kept<Post> = Kept::default();
    let keep = Arc::clone(&kept);
    std::thread::spawn(move || {
        for (number, mut request) in server.incoming_requests().enumerate() {
            let header = |name: &'static str| {
                let found = request.headers().iter().find(|h| h.field.equiv(name));
                found.map_or(String::new(), |h| h.value.to_string())
            };
            let (key, signature) = (header("Idempotency-Key"), header("X-Nsforensics-Signature"));
            let mut body = String::new();
            drop(request.as_reader().read_to_string(&mut body));
            let (status, delay) = answer(number);
            keep.lock().expect("unpoisoned").push(Post {
                key,
                signature,
                body,
                status,
            });
            std::thread::sleep(delay);
            drop(request.respond(tiny_http::Response::empty(status)));
        }
    });
    (port, kept)
}

/// Different idempotency keys that were answered with success, and how often each.
pub fn accepted(posts: &Kept<Post>) -> BTreeMap<String, usize> {
    let mut by_key = BTreeMap::new();
    for post in posts.lock().expect("unpoisoned").iter() {
        if (200..300).contains(&post.status) {
            *by_key.entry(post.key.clone()).or_default() += 1;
        }
    }
    by_key
}

/// Frames of RFC 6587 §3.4.1, by a reader written for this test.
fn frames(mut bytes: &[u8]) -> Vec<String> {
    let mut out = Vec::new();
    while !bytes.is_empty() {
        let space = bytes.iter().position(|&b| b == b' ').expect("a length");
        let length: usize = std::str::from_utf8(&bytes[..space])
            .expect("digits")
            .parse()
            .expect("a number");
        let message = &bytes[space + 1..space + 1 + length];
        out.push(String::from_utf8(message.to_vec()).expect("UTF-8"));
        bytes = &bytes[space + 1 + length..];
    }
    out
}

/// A syslog collector over TCP.
pub fn tcp() -> (u16, Kept<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let kept: Kept<String> = Kept::default();
    let keep = Arc::clone(&kept);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut bytes = Vec::new();
            if stream.read_to_end(&mut bytes).is_ok() {
                keep.lock().expect("unpoisoned").extend(frames(&bytes));
            }
        }
    });
    (port, kept)
}

/// One over TLS, and its certificate as PEM.
pub fn tls() -> (u16, Kept<String>, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let pem = made.cert.pem();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der())
        .expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a configuration");
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let kept: Kept<String> = Kept::default();
    let keep = Arc::clone(&kept);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection =
                rustls::ServerConnection::new(Arc::clone(&config)).expect("a connection");
            let mut stream = rustls::StreamOwned::new(connection, stream);
            let mut bytes = Vec::new();
            if stream.read_to_end(&mut bytes).is_ok() {
                keep.lock().expect("unpoisoned").extend(frames(&bytes));
                stream.conn.send_close_notify();
                drop(stream.flush());
            }
        }
    });
    (port, kept, pem)
}

/// One over UDP.
pub fn udp() -> (u16, Kept<String>) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = socket.local_addr().expect("bound").port();
    let kept: Kept<String> = Kept::default();
    let keep = Arc::clone(&kept);
    std::thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        while let Ok(length) = socket.recv(&mut buffer) {
            let text = String::from_utf8(buffer[..length].to_vec()).expect("UTF-8");
            keep.lock().expect("unpoisoned").push(text);
        }
    });
    (port, kept)
}

/// A local socket, as /dev/log is.
pub fn local(path: &Path) -> Kept<String> {
    let socket = UnixDatagram::bind(path).expect("a socket");
    let kept: Kept<String> = Kept::default();
    let keep = Arc::clone(&kept);
    std::thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        while let Ok(length) = socket.recv(&mut buffer) {
            let text = String::from_utf8(buffer[..length].to_vec()).expect("UTF-8");
            keep.lock().expect("unpoisoned").push(text);
        }
    });
    kept
}

/// Waits until something holds, for at most ten seconds.
#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A port on which nobody listens.
pub fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound").port()
}
