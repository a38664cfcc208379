//! Syslog: RFC 5424 messages over the local socket, UDP (RFC 5426), TCP with
//! octet counting (RFC 6587 §3.4.1), TLS (RFC 5425).
//!
//! Syslog confirms nothing. Over TCP and TLS the next best is used: a lot of
//! messages is one connection, we close our side when all are written, and the
//! collector closing its side without a reset says that it read to the end.
//! Anything else counts as not delivered. Over UDP only an unreachable port
//! shows (RFC 1122 §4.1.3.3), and a message that arrives nowhere does not.

use super::channel::{CONNECT, Channel, Letter, Sent, said, syslog_text};
use nsforensics_engine::policy::Address;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// RFC 5426 §3.2: receivers should take 2,048 bytes.
const DATAGRAM: usize = 2_048;
/// RFC 5425 §4.3.1: receivers should take 8,192.
const STREAM: usize = 8_192;
/// Messages in one connection.
const LOT: usize = 64;
/// Addresses of a name that are tried.
const ADDRESSES: usize = 4;
/// How long an unreachable port has to show itself.
const UNREACHABLE: Duration = Duration::from_millis(50);

/// A syslog collector.
pub struct Syslog {
    address: Address,
    facility: u8,
    host: String,
    tls: Option<Arc<ClientConfig>>,
    answer: Duration,
}

impl Syslog {
    /// One that is reached at this address.
    pub fn new(
        address: Address,
        facility: u8,
        host: String,
        tls: Option<Arc<ClientConfig>>,
        answer: Duration,
    ) -> Self {
        Self {
            address,
            facility,
            host,
            tls,
            answer,
        }
    }

    fn text(&self, letter: &Letter, limit: usize) -> String {
        syslog_text(letter, self.facility, &self.host, limit)
    }

    fn try_send(&self, letters: &[Letter]) -> io::Result<String> {
        match &self.address {
            Address::Local(path) => self.local(path, letters),
            Address::Udp(host, port) => self.udp(host, *port, letters),
            Address::Tcp(host, port) => {
                let mut stream = self.connect(host, *port)?;
                stream.write_all(&self.frames(letters))?;
                stream.shutdown(Shutdown::Write)?;
                until_closed(&mut stream, self.answer)?;
                Ok("read to the end by the collector".to_owned())
            }
            Address::Tls(host, port) => self.over_tls(host, *port, letters),
            Address::Http(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// `MSG-LEN SP SYSLOG-MSG`, one after the other.
    fn frames(&self, letters: &[Letter]) -> Vec<u8> {
        let mut out = Vec::new();
        for letter in letters {
            let text = self.text(letter, STREAM);
            out.extend_from_slice(format!("{} {text}", text.len()).as_bytes());
        }
        out
    }

    fn over_tls(&self, host: &str, port: u16, letters: &[Letter]) -> io::Result<String> {
        let config = self.tls.clone().ok_or_else(|| io::Error::other("no TLS"))?;
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| io::Error::other("the host is no name that a certificate can hold"))?;
        let connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, self.connect(host, port)?);
        stream.write_all(&self.frames(letters))?;
        stream.conn.send_close_notify();
        stream.flush()?;
        stream.sock.shutdown(Shutdown::Write)?;
        // A collector that closes TCP without closing TLS has read all the same.
        match until_closed(&mut stream, self.answer) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            other => other?,
        }
        Ok("read to the end by the collector, over TLS".to_owned())
    }

    fn connect(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in resolve(host, port)? {
            match TcpStream::connect_timeout(&address, CONNECT) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(self.answer))?;
                    stream.set_write_timeout(Some(self.answer))?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn udp(&self, host: &str, port: u16, letters: &[Letter]) -> io::Result<String> {
        let address = resolve(host, port)?
            .into_iter()
            .next()
            .ok_or(io::ErrorKind::NotFound)?;
        let own: SocketAddr = if address.is_ipv4() {
            ([0, 0, 0, 0], 0).into()
        } else {
            (std::net::Ipv6Addr::UNSPECIFIED, 0).into()
        };
        let socket = UdpSocket::bind(own)?;
        socket.connect(address)?;
        for letter in letters {
            socket.send(self.text(letter, DATAGRAM).as_bytes())?;
        }
        socket.set_read_timeout(Some(UNREACHABLE))?;
        match socket.recv(&mut [0; 1]) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Err(error),
            _ => Ok("sent by UDP, which confirms nothing".to_owned()),
        }
    }

    fn local(&self, path: &str, letters: &[Letter]) -> io::Result<String> {
        let socket = UnixDatagram::unbound()?;
        match socket.connect(path) {
            Ok(()) => {
                socket.set_write_timeout(Some(self.answer))?;
                for letter in letters {
                    socket.send(self.text(letter, STREAM).as_bytes())?;
                }
            }
            // A few systems listen with a stream there, messages ending in NUL.
            Err(error) if error.raw_os_error() == Some(libc::EPROTOTYPE) => {
                let mut stream = UnixStream::connect(path)?;
                stream.set_write_timeout(Some(self.answer))?;
                for letter in letters {
                    stream.write_all(self.text(letter, STREAM).as_bytes())?;
                    stream.write_all(b"\0")?;
                }
            }
            Err(error) => return Err(error),
        }
        Ok("taken by the local socket".to_owned())
    }
}

impl Channel for Syslog {
    fn lot(&self) -> usize {
        match self.address {
            Address::Tcp(..) | Address::Tls(..) => LOT,
            _ => 1,
        }
    }

    fn send(&mut self, letters: &[Letter]) -> Sent {
        match self.try_send(letters) {
            Ok(how) => Sent::Delivered(how),
            // A socket of this machine is no secret, unlike a URL with a token.
            Err(error) => match &self.address {
                Address::Local(path) => Sent::Later(format!("{path}: {}", said(&error)), None),
                _ => Sent::Later(said(&error), None),
            },
        }
    }
}

fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok((host, port).to_socket_addrs()?.take(ADDRESSES).collect())
}

/// Reads, and throws away, until the peer closes.
fn until_closed(stream: &mut impl Read, answer: Duration) -> io::Result<()> {
    let end = Instant::now() + answer;
    let mut buffer = [0; 512];
    while stream.read(&mut buffer)? > 0 {
        if Instant::now() > end {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
    Ok(())
}
